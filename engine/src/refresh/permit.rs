//! The right to read tables and to hold states, and the lock that keeps other processes from the same work.

use std::sync::Arc;

use limno_sql::lake::Lake;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::store::Lock;

/// Of so few bytes the states are small, and they do not keep all cores busy.
const SMALL: u64 = 16 << 20;

/// A place among the few monitors that read their tables at once, and the monitor's lock. Both are taken when they are
/// first needed, so that monitors that find nothing new wait for nobody and hold nobody up. Whoever had to wait looks
/// again at what there is to do.
#[derive(Debug)]
pub struct ReadPermit {
    readers: Arc<Semaphore>,
    share: u32,
    lake: Arc<Lake>,
    lock_at: String,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    place: Option<OwnedSemaphorePermit>,
    lock: Option<Lock>,
}

impl ReadPermit {
    /// A place of this share of `readers` and the lock on a file, not taken yet. What is small takes one place alone.
    #[must_use]
    pub fn new(readers: Arc<Semaphore>, share: u32, lake: Arc<Lake>, lock_at: &str) -> Self {
        Self { readers, share, lake, lock_at: lock_at.to_owned(), taken: Mutex::default() }
    }

    /// Takes the place, unless it was taken before, and the lock. So many bytes are to be read, about. Whether that took a
    /// while in which others may have done something.
    pub async fn take(&self, bytes: u64) -> bool {
        let mut taken = self.taken.lock().await;
        let mut has_waited = false;
        if taken.place.is_none() {
            let share = if bytes <= SMALL { 1 } else { self.share };
            let readers = || Arc::clone(&self.readers);
            taken.place = match readers().try_acquire_many_owned(share) {
                Ok(place) => Some(place),
                Err(_) => {
                    has_waited = true;
                    // Nobody closes the semaphore; if somebody did, it would be to let all in.
                    readers().acquire_many_owned(share).await.ok()
                }
            };
        }
        self.take_lock(&mut taken).await || has_waited
    }

    /// Takes the lock alone, unless it was taken before. Whether that took a while.
    pub async fn lock(&self) -> bool {
        self.take_lock(&mut *self.taken.lock().await).await
    }

    async fn take_lock(&self, taken: &mut Taken) -> bool {
        if taken.lock.is_some() {
            return false;
        }
        let lock = Lock::acquire(&self.lake, &self.lock_at).await;
        let has_waited = lock.has_waited();
        taken.lock = Some(lock);
        has_waited
    }

    /// Gives the place back and keeps the lock.
    pub async fn leave(&self) {
        self.taken.lock().await.place = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use limno_sql::session::{self, SessionOptions};

    use super::*;

    #[tokio::test]
    async fn one_who_reads_much_reads_alone_and_several_read_little() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::of(&session::context(&SessionOptions::default()).unwrap()).unwrap();
        let readers = Arc::new(Semaphore::new(2));
        let permit = |name: &str| {
            let lock_at = folder.path().join(name).display().to_string();
            ReadPermit::new(Arc::clone(&readers), 2, Arc::clone(&lake), &lock_at)
        };
        let (one, two, much) = (permit("one"), permit("two"), permit("much"));
        assert!(!one.take(1).await && !two.take(SMALL).await && !one.take(u64::MAX).await);
        assert!(much.take(u64::MAX).now_or_never().is_none(), "it waits for both");
        one.leave().await;
        drop(two);
        assert!(!much.take(u64::MAX).await && readers.available_permits() == 0);
        assert!(!one.lock().await, "it has kept its lock");
        drop(much);
        assert_eq!(readers.available_permits(), 2);
    }

    #[tokio::test]
    async fn who_waited_for_the_lock_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::of(&session::context(&SessionOptions::default()).unwrap()).unwrap();
        let readers = Arc::new(Semaphore::new(4));
        let lock_at = folder.path().join("lock").display().to_string();
        let permit = || ReadPermit::new(Arc::clone(&readers), 1, Arc::clone(&lake), &lock_at);
        let (first, second) = (permit(), permit());
        assert!(!first.lock().await);
        let (has_waited, ()) = futures::join!(second.lock(), async { drop(first) });
        assert!(has_waited && !second.lock().await);
    }
}

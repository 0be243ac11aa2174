//! The right to read tables and to hold states.

use std::sync::Arc;

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Of so few bytes the states are small, and they do not keep all cores busy.
const SMALL: u64 = 16 << 20;

/// A place among the few monitors that read their tables at once. It is taken when it is first needed, so that those which
/// find nothing new wait for nobody, and held until this is dropped.
#[derive(Debug)]
pub struct ReadPermit {
    readers: Arc<Semaphore>,
    share: u32,
    taken: OnceCell<Option<OwnedSemaphorePermit>>,
}

impl ReadPermit {
    /// A place of this share of `readers`, not taken yet. What is small takes one alone.
    #[must_use]
    pub fn new(readers: Arc<Semaphore>, share: u32) -> Self {
        Self { readers, share, taken: OnceCell::new() }
    }

    /// Waits for the place, unless it was taken before. So many bytes are to be read, about.
    pub async fn take(&self, bytes: u64) {
        let share = if bytes <= SMALL { 1 } else { self.share };
        // Nobody closes the semaphore; if somebody did, it would be to let all in.
        let take = || async { Arc::clone(&self.readers).acquire_many_owned(share).await.ok() };
        self.taken.get_or_init(take).await;
    }
}

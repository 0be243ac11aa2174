//! What ends, and is renewed before it does: tokens and temporary credentials.
//!
//! Whoever asks is answered with what is held. Once it is due, one of those who ask renews it, while the others go on with
//! the old one; a renewal that fails is tried again a little later, and does no harm as long as the old one holds. Only
//! where nothing holds does everybody wait for the one renewal, and all who waited are told if it fails.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is renewed before it ends, and why it was not.
pub(super) struct Renewed<T, E> {
    held: Mutex<Option<Held<T>>>,
    /// Whoever has it renews.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Last<E>>,
}

/// How the last renewal ended that somebody had to wait for.
struct Last<E> {
    /// How many have ended.
    ended: u64,
    failure: Option<E>,
}

/// Something new.
pub(super) struct Fresh<T> {
    pub(super) value: T,
    /// How long it holds; `None` for ever.
    pub(super) life: Option<Duration>,
}

struct Held<T> {
    value: Arc<T>,
    since: Instant,
    due: Option<Instant>,
    end: Option<Instant>,
}

/// It is renewed so long before its end, or a tenth of its life if that is longer; of a short life, half.
const MARGIN: Duration = Duration::from_secs(300);
/// What is younger is not renewed because somebody was refused.
const JUST_NOW: Duration = Duration::from_secs(10);
/// The longest wait after a renewal that failed.
const AGAIN: Duration = Duration::from_secs(30);
/// The longest that one who could go on with the old one waits for the new one.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

impl<T, E> Default for Renewed<T, E> {
    fn default() -> Self {
        let last = Mutex::new(Last { ended: 0, failure: None });
        Self { held: Mutex::new(None), turn: tokio::sync::Mutex::new(()), last }
    }
}

/// How long before its end something is renewed.
fn margin(life: Duration) -> Duration {
    MARGIN.max(life / 10).min(life / 2)
}

impl<T: Send + Sync, E: Display + Clone + Send> Renewed<T, E> {
    /// What holds now.
    pub(super) async fn get<F, R>(&self, now: impl Fn() -> Instant + Send + Sync, renew: F) -> Result<Arc<T>, E>
    where
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<Fresh<T>, E>> + Send,
    {
        let Some((old, is_due)) = self.holding(now()) else {
            let ended = self.last().ended;
            let _turn = self.turn.lock().await;
            if let Some((renewed, _)) = self.holding(now()) {
                return Ok(renewed);
            }
            // One that ended while this one waited has spent all patience there is.
            if let Some(failure) = self.failed_since(ended) {
                return Err(failure);
            }
            let renewed = renew().await;
            let mut last = self.last();
            last.ended += 1;
            last.failure = renewed.as_ref().err().cloned();
            drop(last);
            return Ok(self.hold(renewed?, now()));
        };
        let Some(_turn) = is_due.then(|| self.turn.try_lock().ok()).flatten() else { return Ok(old) };
        // It may have been renewed since we looked.
        if let Some((renewed, false)) = self.holding(now()) {
            return Ok(renewed);
        }
        let left = self.left(now());
        match tokio::time::timeout(LONGEST_WAIT.min(left / 2), renew()).await {
            Ok(Ok(fresh)) => Ok(self.hold(fresh, now())),
            failed => {
                let error = match failed {
                    Ok(Err(error)) => crate::secret::redact(&error.to_string()).into_owned(),
                    _ => "it took too long".to_owned(),
                };
                tracing::warn!(
                    error,
                    seconds_left = left.as_secs(),
                    "a credential was not renewed, and will be tried again"
                );
                self.postpone(now());
                Ok(old)
            }
        }
    }

    /// What is held is no longer used, unless it is another than `refused` by now.
    pub(super) fn forget(&self, refused: &Arc<T>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.value, refused)) {
            *held = None;
        }
    }

    /// What is held was refused before its end, and is no longer used; whether another may be had. What came just now is not
    /// what was refused: whoever asked first has had it renewed.
    pub(super) fn take_back(&self, now: Instant) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|held| now.saturating_duration_since(held.since) >= JUST_NOW);
        true
    }

    fn last(&self) -> MutexGuard<'_, Last<E>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the last renewal failed, if it ended after so many others.
    fn failed_since(&self, ended: u64) -> Option<E> {
        let last = self.last();
        last.failure.as_ref().filter(|_| last.ended > ended).cloned()
    }

    /// What still holds, and whether it is due.
    fn holding(&self, now: Instant) -> Option<(Arc<T>, bool)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref().filter(|held| held.end.is_none_or(|end| now < end))?;
        Some((Arc::clone(&held.value), held.due.is_some_and(|due| now >= due)))
    }

    fn left(&self, now: Instant) -> Duration {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().and_then(|held| held.end).map_or(Duration::MAX, |end| end.saturating_duration_since(now))
    }

    fn hold(&self, fresh: Fresh<T>, now: Instant) -> Arc<T> {
        let value = Arc::new(fresh.value);
        let end = fresh.life.and_then(|life| now.checked_add(life));
        let due = fresh.life.and_then(|life| now.checked_add(life.saturating_sub(margin(life))));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Held { value: Arc::clone(&value), since: now, due, end });
        value
    }

    fn postpone(&self, now: Instant) {
        let again = AGAIN.min(self.left(now) / 4);
        if let Some(held) = self.held.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            held.due = now.checked_add(again);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A clock that stands where it is put, in seconds.
    struct Fake {
        start: Instant,
        seconds: AtomicU64,
        renewals: AtomicU64,
        renewed: Renewed<u64, String>,
    }

    impl Fake {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, seconds: AtomicU64::new(0), renewals: AtomicU64::new(0), renewed: Renewed::default() }
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
        }

        /// The number of the renewal that is held, or the error.
        async fn at(&self, seconds: u64, fails: bool) -> Result<u64, String> {
            self.seconds.store(seconds, Ordering::Relaxed);
            let renew = || async {
                tokio::task::yield_now().await;
                let value = self.renewals.fetch_add(1, Ordering::Relaxed) + 1;
                if fails { Err("no".to_owned()) } else { Ok(Fresh { value, life: Some(HOUR) }) }
            };
            Ok(*self.renewed.get(|| self.now(), renew).await?)
        }
    }

    #[test]
    fn a_margin_is_some_minutes_a_tenth_or_half() {
        assert_eq!(margin(HOUR), Duration::from_secs(360));
        assert_eq!(margin(Duration::from_secs(1200)), MARGIN);
        assert_eq!(margin(Duration::from_secs(10)), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn it_is_renewed_before_its_end_and_not_sooner() {
        let fake = Fake::new();
        assert_eq!(fake.at(0, false).await, Ok(1));
        assert_eq!(fake.at(3600 - 361, false).await, Ok(1));
        assert_eq!(fake.at(3600 - 360, false).await, Ok(2));
        assert_eq!(fake.at(3601, false).await, Ok(2));
        assert_eq!(fake.renewals.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failed_renewal_harms_only_when_nothing_holds_anymore() {
        let fake = Fake::new();
        assert_eq!(fake.at(0, true).await, Err("no".to_owned()));
        assert_eq!(fake.at(1, false).await, Ok(2));
        assert_eq!(fake.at(3300, true).await, Ok(2), "the old one still holds");
        let tried = fake.renewals.load(Ordering::Relaxed);
        assert_eq!(fake.at(3310, true).await, Ok(2));
        assert_eq!(fake.renewals.load(Ordering::Relaxed), tried, "not at once again");
        assert_eq!(fake.at(3331, true).await, Ok(2));
        assert_eq!(fake.renewals.load(Ordering::Relaxed), tried + 1, "but soon");
        assert_eq!(fake.at(3602, true).await, Err("no".to_owned()), "it has ended");
        assert!(fake.at(3603, false).await.is_ok());
    }

    #[tokio::test]
    async fn one_renews_while_the_others_go_on_or_wait() {
        let fake = Fake::new();
        let all = || futures::future::join_all((0..8).map(|_| fake.at(0, false)));
        assert!(all().await.iter().all(|value| *value == Ok(1)), "all wait for the first");
        fake.seconds.store(3300, Ordering::Relaxed);
        let later = futures::future::join_all((0..8).map(|_| fake.at(3300, false))).await;
        assert_eq!(later.iter().filter(|value| **value == Ok(2)).count(), 1, "{later:?}");
        assert_eq!(fake.renewals.load(Ordering::Relaxed), 2);
        assert_eq!(fake.at(3300, false).await, Ok(2));
    }

    #[tokio::test]
    async fn a_renewal_that_fails_is_told_to_all_who_waited_for_it_and_to_nobody_else() {
        let fake = Fake::new();
        let told = futures::future::join_all((0..8).map(|_| fake.at(0, true))).await;
        assert!(told.iter().all(|told| *told == Err("no".to_owned())), "{told:?}");
        assert_eq!(fake.renewals.load(Ordering::Relaxed), 1, "each spends no patience of its own");
        assert_eq!(fake.at(0, true).await, Err("no".to_owned()));
        assert_eq!(fake.renewals.load(Ordering::Relaxed), 2, "who asks later asks anew");
        assert_eq!(fake.at(0, false).await, Ok(3));
    }

    #[tokio::test]
    async fn what_is_refused_is_forgotten_once() {
        let fake = Fake::new();
        fake.at(0, false).await.unwrap();
        let (first, _) = fake.renewed.holding(fake.now()).unwrap();
        fake.renewed.forget(&first);
        assert_eq!(fake.at(0, false).await, Ok(2));
        fake.renewed.forget(&first);
        assert_eq!(fake.at(0, false).await, Ok(2), "another is held by now");
    }
}

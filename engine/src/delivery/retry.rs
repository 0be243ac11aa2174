//! The few short retries inside one delivery. Longer outages are the next run's business.

use std::{future::Future, time::Duration};

use backon::Retryable;

use super::DeliveryError;

/// How often and after what pauses an attempt is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause before each retry; their number is the number of retries.
    pub delays: Vec<Duration>,
    /// The longest pause that a receiver may ask for. One that asks for more is left to the next run.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    /// Two retries, after half a second and after two; at most 30 s when the receiver asks for it.
    fn default() -> Self {
        Self { delays: vec![Duration::from_millis(500), Duration::from_secs(2)], longest_wait: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// As often as the default, without pauses: for tests.
    #[must_use]
    pub fn immediate() -> Self {
        Self { delays: vec![Duration::ZERO; 2], longest_wait: Duration::ZERO }
    }

    /// Runs `attempt` until it succeeds, fails for good, or the retries are used up.
    pub(crate) async fn run<T, Fut, F>(&self, what: &str, attempt: F) -> Result<T, DeliveryError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, DeliveryError>>,
    {
        attempt
            .retry(self.delays.clone().into_iter())
            .when(DeliveryError::is_retryable)
            .adjust(|error, delay| self.pause(error, delay))
            .notify(|error, delay| {
                tracing::debug!(target: "limno::delivery", %error, ?delay, "{what}: trying again");
            })
            .await
    }

    /// The pause before the next attempt; `None` ends it.
    fn pause(&self, error: &DeliveryError, delay: Option<Duration>) -> Option<Duration> {
        let delay = delay?;
        match error.retry_after() {
            // Coming back before the time that the receiver asked for would only cost it more.
            Some(asked) if asked > self.longest_wait => None,
            Some(asked) => Some(asked.max(delay)),
            None => Some(delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn busy(retry_after: Option<u64>) -> DeliveryError {
        DeliveryError::Refused {
            target: "h:1".into(),
            status: "429".into(),
            reason: "busy".into(),
            retryable: true,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_wait_that_the_receiver_asks_for_is_kept_up_to_the_bound() {
        let policy = RetryPolicy::default();
        let half = Some(Duration::from_millis(500));
        assert_eq!(policy.pause(&busy(None), half), half);
        assert_eq!(policy.pause(&busy(Some(7)), half), Some(Duration::from_secs(7)));
        assert_eq!(policy.pause(&busy(Some(0)), half), half);
        assert_eq!(policy.pause(&busy(Some(31)), half), None);
        assert_eq!(policy.pause(&busy(Some(7)), None), None);
    }

    #[tokio::test]
    async fn only_what_can_help_is_repeated() {
        let calls = Cell::new(0);
        let count = |error: fn() -> DeliveryError| {
            calls.set(0);
            let calls = &calls;
            move || {
                calls.set(calls.get() + 1);
                async move { Err::<(), _>(error()) }
            }
        };
        let policy = RetryPolicy::immediate();
        policy.run("t", count(|| busy(None))).await.expect_err("stays busy");
        assert_eq!(calls.get(), 3);
        policy
            .run("t", count(|| DeliveryError::Login { target: "h:1".into(), user: None, reason: "no".into() }))
            .await
            .expect_err("stays refused");
        assert_eq!(calls.get(), 1);
    }
}

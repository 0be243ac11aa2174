//! How time passes between two tries.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

/// Waits; tests put one here whose time passes at once.
#[async_trait]
pub(super) trait Timer: Debug + Send + Sync {
    /// Time since the timer was made.
    fn now(&self) -> Duration;
    /// Comes back after so long.
    async fn sleep(&self, time: Duration);
}

/// The time of the machine.
#[derive(Debug)]
pub(super) struct Machine(Instant);

impl Machine {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

#[async_trait]
impl Timer for Machine {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Time that stands where a test puts it.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Hand(tokio::sync::watch::Sender<Duration>);

#[cfg(test)]
impl Hand {
    /// So much time passes.
    pub(super) fn turn(&self, time: Duration) {
        self.0.send_modify(|now| *now += time);
    }
}

#[cfg(test)]
#[async_trait]
impl Timer for Hand {
    fn now(&self) -> Duration {
        *self.0.borrow()
    }

    async fn sleep(&self, time: Duration) {
        let end = self.now() + time;
        self.0.subscribe().wait_for(|now| *now >= end).await.ok();
    }
}

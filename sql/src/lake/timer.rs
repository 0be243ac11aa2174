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

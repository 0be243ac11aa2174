//! Whoever was slower with a commit waits a while before the next attempt, longer each time and never as long as the
//! others: without that, writers that met once meet again, and the more there are the more of their work is in vain.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder, Sleeper, TokioSleeper};

use crate::{Error, Result};

/// The shortest pause: about what a commit takes.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause, before as much again is added by chance.
const LONGEST: Duration = Duration::from_secs(1);
/// Pauses, about a minute in all. Where others were faster as often, something else is wrong.
const MOST: usize = 50;

/// The attempts of one writer at one commit.
#[derive(Debug)]
pub struct Turns {
    pauses: ExponentialBackoff,
    attempts: u32,
}

impl Turns {
    /// None was in vain yet.
    #[must_use]
    pub fn new() -> Self {
        Self::at_most(MOST)
    }

    fn at_most(most: usize) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(SHORTEST)
            .with_max_delay(LONGEST)
            .with_max_times(most);
        Self { pauses: pauses.build(), attempts: 0 }
    }

    /// After another writer of `table` was faster: waits until it is worth another attempt.
    ///
    /// # Errors
    /// [`Error::Contended`] when it was in vain too often.
    pub async fn wait(&mut self, table: &str) -> Result<()> {
        self.attempts += 1;
        let Some(pause) = self.pauses.next() else {
            return Err(Error::Contended { table: table.to_owned(), attempts: self.attempts });
        };
        tracing::debug!(table, attempts = self.attempts, ?pause, "another writer was faster");
        TokioSleeper.sleep(pause).await;
        Ok(())
    }

    /// Attempts that were in vain.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_and_end() {
        let pauses: Vec<_> = Turns::new().pauses.collect();
        assert_eq!(pauses.len(), MOST);
        assert!(pauses.iter().all(|pause| (SHORTEST..=2 * LONGEST).contains(pause)), "{pauses:?}");
        assert!(pauses[..5].is_sorted(), "{pauses:?}");
        // Two that met once do not meet again.
        assert_ne!(pauses, Turns::new().pauses.collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_is_never_first_is_told_so() {
        let mut turns = Turns::at_most(2);
        for attempts in 1..=2 {
            turns.wait("t").await.unwrap();
            assert_eq!(turns.attempts(), attempts);
        }
        let error = turns.wait("t").await.unwrap_err();
        assert!(matches!(&error, Error::Contended { table, attempts: 3 } if table == "t"), "{error}");
    }
}

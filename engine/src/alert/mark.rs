//! Up to where the rules of a monitor have been evaluated: the marker in the log of `alerts`.

use datafusion::prelude::SessionContext;
use sha2::{Digest, Sha256};

use crate::Result;
use crate::monitor::{BoundMonitor, Places};
use crate::store::OwnTable;

/// What an evaluation was made from: equal marks, equal findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationMark {
    profile: i64,
    drift: i64,
    rules: i64,
}

impl EvaluationMark {
    /// The mark of an evaluation now.
    ///
    /// # Errors
    /// When a metric table does not open.
    pub async fn of(context: &SessionContext, monitor: &BoundMonitor, places: &Places) -> Result<Self> {
        let version = |table: &OwnTable| table.version().and_then(|version| i64::try_from(version).ok()).unwrap_or(-1);
        let (profile, drift) =
            futures::try_join!(OwnTable::open(context, &places.profile), OwnTable::open(context, &places.drift))?;
        // A table that was removed and made again counts from 0.
        let ids = [profile.id(), drift.id()];
        let rules = format!("{ids:?} {:?}", monitor.config.rules);
        let digest = Sha256::digest(rules.as_bytes());
        let rules = digest.iter().take(8).fold(0, |number: i64, &byte| number << 8 | i64::from(byte));
        Ok(Self { profile: version(&profile), drift: version(&drift), rules })
    }

    fn ids(monitor: &str) -> [String; 3] {
        ["profile", "drift", "rules"].map(|part| format!("limno/{monitor}/{part}"))
    }

    /// As transactions of the commit that records what was found.
    #[must_use]
    pub fn transactions(&self, monitor: &str) -> Vec<(String, i64)> {
        Self::ids(monitor).into_iter().zip([self.profile, self.drift, self.rules]).collect()
    }

    /// Whether the table of alerts has this mark.
    ///
    /// # Errors
    /// When its log does not read.
    pub async fn is_in(&self, alerts: &OwnTable, monitor: &str) -> Result<bool> {
        for (id, value) in self.transactions(monitor) {
            if alerts.transaction(&id).await? != Some(value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

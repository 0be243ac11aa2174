//! A configured monitor bound to real tables: columns found, slices parsed, types known.

mod bind;
mod bound;
mod columns;
mod definition;
mod metric;
mod payload;
mod quality;

pub use bind::bind;
pub use bound::{BaselineColumn, BoundBaseline, BoundColumn, BoundMonitor, QUALITY, QUARANTINE};
pub use metric::BoundMetric;

use crate::config::MonitorConfig;

/// The most rows of a ledger's window that are kept of those that could not be parsed.
pub(crate) const QUARANTINE_LIMIT: u32 = 10_000;
/// Name of the table of alerts, one for each output.
const ALERTS: &str = "alerts";
/// Name of the table of refreshes, one for each output.
const REFRESHES: &str = "refreshes";

/// Where a monitor's tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The profile metrics.
    pub profile: String,
    /// The drift metrics.
    pub drift: String,
    /// The states that both are made from.
    pub ledger: String,
    /// Alerts of all monitors with this output.
    pub alerts: String,
    /// Refreshes of all monitors with this output.
    pub refreshes: String,
    /// The rows of a log of requests that could not be parsed.
    pub quarantine: String,
    /// The file that a process locks while it refreshes the monitor.
    pub lock: String,
}

impl Places {
    /// The places of `monitor`.
    #[must_use]
    pub fn of(monitor: &MonitorConfig) -> Self {
        let output = monitor.output.value.trim_end_matches('/');
        let name = &monitor.name;
        // Tables of a catalog are in a schema, `uc://catalog.schema`, and not in a folder.
        let separator = if output.starts_with("uc://") { '.' } else { '/' };
        let table = |table: &str| format!("{output}{separator}{table}");
        Self {
            profile: table(&format!("{name}_profile_metrics")),
            drift: table(&format!("{name}_drift_metrics")),
            ledger: table(&format!("{name}_ledger")),
            alerts: table(ALERTS),
            refreshes: table(REFRESHES),
            quarantine: table(&format!("{name}_quarantine")),
            // A schema holds no files, so there is none to lock; see [`crate::store::Lock`].
            lock: format!("{output}/.{name}.lock"),
        }
    }

    /// The tables under the names that queries use.
    #[must_use]
    pub fn named(&self, monitor: &MonitorConfig) -> Vec<(String, String)> {
        let mut named = vec![
            (format!("{}_profile_metrics", monitor.name), self.profile.clone()),
            (format!("{}_drift_metrics", monitor.name), self.drift.clone()),
            (format!("{}_ledger", monitor.name), self.ledger.clone()),
            (ALERTS.to_owned(), self.alerts.clone()),
            (REFRESHES.to_owned(), self.refreshes.clone()),
        ];
        if monitor.kind.is_payload() {
            named.push((format!("{}_quarantine", monitor.name), self.quarantine.clone()));
        }
        named
    }
}

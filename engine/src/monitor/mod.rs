//! A configured monitor bound to real tables: columns found, slices parsed, types known.

mod bind;

pub use bind::{BaselineColumn, BoundBaseline, BoundColumn, BoundMonitor, bind};

use crate::config::MonitorConfig;

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
    /// Alerts of all monitors with this output.
    pub alerts: String,
    /// Refreshes of all monitors with this output.
    pub refreshes: String,
}

impl Places {
    /// The places of `monitor`.
    #[must_use]
    pub fn of(monitor: &MonitorConfig) -> Self {
        let output = monitor.output.value.trim_end_matches('/');
        let name = &monitor.name;
        Self {
            profile: format!("{output}/{name}_profile_metrics"),
            drift: format!("{output}/{name}_drift_metrics"),
            alerts: format!("{output}/{ALERTS}"),
            refreshes: format!("{output}/{REFRESHES}"),
        }
    }

    /// The tables under the names that queries use.
    #[must_use]
    pub fn named(&self, monitor: &MonitorConfig) -> [(String, String); 4] {
        [
            (format!("{}_profile_metrics", monitor.name), self.profile.clone()),
            (format!("{}_drift_metrics", monitor.name), self.drift.clone()),
            (ALERTS.to_owned(), self.alerts.clone()),
            (REFRESHES.to_owned(), self.refreshes.clone()),
        ]
    }
}

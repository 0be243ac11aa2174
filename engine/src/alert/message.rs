//! What an alert says, before it is rendered for a reader or a machine.
//!
//! One message per monitor, refresh and notifier. The types serialise to the JSON that webhooks carry;
//! reading that JSON back gives an equal message, so it can be kept until it is delivered.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::wire;
use crate::config::{Against, Condition, Severity};

/// Everything that one notifier is told about one refresh of one monitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertMessage {
    /// Stable over retries; ASCII letters, digits, `-` and `_`, at most 64 characters.
    pub id: String,
    /// The monitor's name.
    pub monitor: String,
    /// The primary table, as configured.
    pub table: String,
    /// The worst severity among the breaches.
    #[serde(with = "wire::text")]
    pub severity: Severity,
    /// When the alert was decided (the refresh's clock); the mail's date.
    pub created_at: DateTime<Utc>,
    /// The monitor's time zone, in which windows are shown.
    #[serde(with = "wire::text")]
    pub timezone: Tz,
    /// Worst first.
    pub breaches: Vec<Breach>,
    /// Older windows that broke a rule too and were only recorded.
    pub historical: usize,
    /// Names of the triggers that this refresh calls.
    pub triggered: Vec<String>,
    /// Name and URI of each metric table.
    #[serde(with = "wire::metric_tables")]
    pub metric_tables: Vec<(String, String)>,
    /// A `limno sql "…"` line that shows more.
    pub sql_hint: String,
}

/// One rule broken by one column in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// The alert's id in the `alerts` table.
    pub alert_id: String,
    /// The rule's name.
    pub rule: String,
    /// The rule's severity.
    #[serde(with = "wire::text")]
    pub severity: Severity,
    /// The metric table's column that the rule looks at, dotted for fields of structs.
    pub metric: String,
    /// What the value must not be.
    #[serde(with = "wire::condition")]
    pub condition: Condition,
    /// What the window was compared with.
    #[serde(with = "wire::text")]
    pub against: Against,
    /// The monitored column.
    pub column: String,
    /// Slice key and value; `None` for the whole table.
    #[serde(with = "wire::slice")]
    pub slice: Option<(String, String)>,
    /// The model that made the rows, where the monitor tells models apart.
    pub model_id: Option<String>,
    /// The window's length as configured: `1 week`.
    pub granularity: String,
    /// The window, half open.
    #[serde(with = "wire::window")]
    pub window: (DateTime<Utc>, DateTime<Utc>),
    /// The window that it was compared with, where that is not the baseline.
    #[serde(with = "wire::optional_window")]
    pub window_cmp: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The metric's value.
    #[serde(with = "wire::number")]
    pub value: f64,
    /// Certified error of `value`, where the metric has one.
    pub error: Option<f64>,
    /// How many of the windows looked at broke the rule.
    pub breached: u32,
    /// How many windows the rule looked at.
    pub looked_at: u32,
    /// Rows in the window.
    pub count: i64,
    /// Rows on the other side of the comparison.
    pub count_before: Option<i64>,
    /// Statistic (a column of the profile table), its value before, its value now.
    #[serde(with = "wire::before_after")]
    pub before_after: Vec<(String, Option<f64>, Option<f64>)>,
    /// The bins that moved most, worst first, at most five.
    pub bins: Vec<BinShare>,
}

/// One bin's part in a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinShare {
    /// The bin's range, category, or `null`.
    pub label: String,
    /// Share of the rows before, in 0..=1.
    pub before: f64,
    /// Share of the rows now, in 0..=1.
    pub now: f64,
    /// The bin's summand in the metric.
    pub contribution: f64,
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::{TimeDelta, TimeZone};

    use super::*;

    /// A weekly breach of the flights' departure delay, everything filled in.
    pub(crate) fn breach() -> Breach {
        let day = |day| Utc.with_ymd_and_hms(2013, 12, day, 5, 0, 0).unwrap();
        Breach {
            alert_id: "a1".into(),
            rule: "psi".into(),
            severity: Severity::Critical,
            metric: "population_stability_index".into(),
            condition: Condition::Above(0.2),
            against: Against::Consecutive,
            column: "dep_delay".into(),
            slice: Some(("origin".into(), "JFK".into())),
            model_id: Some("jan".into()),
            granularity: "1 week".into(),
            window: (day(23), day(30)),
            window_cmp: Some((day(16), day(23))),
            value: 0.431_234,
            error: Some(0.000_98),
            breached: 2,
            looked_at: 5,
            count: 6_123,
            count_before: Some(27_004),
            before_after: vec![("avg".into(), Some(10.0126), Some(14.25)), ("percent_null".into(), Some(3.06), None)],
            bins: vec![BinShare { label: "[-43, -7)".into(), before: 0.1003, now: 0.2214, contribution: 0.0958 }],
        }
    }

    pub(crate) fn message() -> AlertMessage {
        AlertMessage {
            id: "0f1e2d3c".into(),
            monitor: "flights".into(),
            table: "/data/flights".into(),
            severity: Severity::Critical,
            created_at: Utc.with_ymd_and_hms(2013, 12, 30, 7, 0, 1).unwrap() + TimeDelta::milliseconds(5),
            timezone: chrono_tz::America::New_York,
            breaches: vec![breach()],
            historical: 12,
            triggered: vec!["retrain".into()],
            metric_tables: vec![("flights_drift_metrics".into(), "/out/drift".into())],
            sql_hint: "limno sql \"SELECT 1\"".into(),
        }
    }

    #[test]
    fn a_message_reads_back_from_its_json_unchanged() {
        let mut message = message();
        let mut odd = breach();
        odd.value = f64::INFINITY;
        odd.slice = None;
        odd.window_cmp = None;
        odd.condition = Condition::Outside(-1.0, 1.0);
        odd.severity = Severity::Info;
        odd.against = Against::Baseline;
        message.breaches.push(odd);
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<AlertMessage>(&json).unwrap(), message);
    }

    #[test]
    fn json_has_names_for_everything() {
        let json = serde_json::to_value(message()).unwrap();
        assert_eq!(json["severity"], "critical");
        assert_eq!(json["timezone"], "America/New_York");
        let breach = &json["breaches"][0];
        assert_eq!(breach["condition"]["above"], 0.2);
        assert_eq!(breach["against"], "CONSECUTIVE");
        assert_eq!(breach["window"]["start"], "2013-12-23T05:00:00Z");
        assert_eq!(breach["slice"]["key"], "origin");
        assert_eq!(breach["before_after"][0]["statistic"], "avg");
        assert_eq!(json["metric_tables"][0]["uri"], "/out/drift");
    }
}

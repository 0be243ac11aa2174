//! Which windows break which rules.
//!
//! A rule looks at complete windows. A window *breaks* it if the metric's value there meets the condition, at least
//! `min_count` rows stand behind it, and, for a rule with `significance`, the p-value of the metric's test is not above
//! that (a window without one breaks nothing); the rule *fires* for a window that breaks it if, with the windows just
//! before, at least `breaches` of the last `windows` do. Windows without rows break nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::Array;
use chrono::{DateTime, Utc};
use limno_metrics::schema::{ALL_MODELS, LOG_TYPE_INPUT};
use limno_sql::window::{Calendar, Granularity, Window};

use super::rows::{Observation, Rows};
use crate::Result;
use crate::config::RuleConfig;
use crate::refresh::is_complete;

/// A rule that fired for a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule's position among the monitor's.
    pub rule: usize,
    /// Which rows.
    pub observation: Observation,
    /// The row of the metric table.
    pub row: usize,
    /// The metric's value.
    pub value: f64,
    /// How many of the windows looked at broke the rule.
    pub breached: u32,
    /// How many windows the rule looked at.
    pub looked_at: u32,
    /// Whether the window is the newest complete one of its length.
    pub is_newest: bool,
}

/// What rules are evaluated on.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// Rows of the profile table.
    pub profile: &'a Rows,
    /// Rows of the drift table.
    pub drift: &'a Rows,
    /// Time zone and start of weeks.
    pub calendar: Calendar,
    /// How long after its end a window is still incomplete.
    pub grace: Duration,
    /// Now.
    pub now: DateTime<Utc>,
}

/// All firings of all rules, old windows included.
///
/// # Errors
/// When a metric table lacks a column that a rule names.
pub fn evaluate(rules: &[RuleConfig], on: &Evaluation<'_>) -> Result<Vec<Finding>> {
    let newest = newest_windows(on);
    let mut findings = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        evaluate_rule(index, rule, on, &newest, &mut findings)?;
    }
    Ok(findings)
}

/// Start of the newest complete window of each length.
fn newest_windows(on: &Evaluation<'_>) -> BTreeMap<Option<String>, i64> {
    let mut newest = BTreeMap::new();
    for row in (0..on.profile.len()).filter(|&row| on.profile.kind(row) == LOG_TYPE_INPUT) {
        let observation = on.profile.observation(row);
        if let Some((start, end)) = observation.window
            && is_complete(&Window { start, end }, on.grace, on.now)
        {
            let latest = newest.entry(observation.granularity).or_insert(start);
            *latest = start.max(*latest);
        }
    }
    newest
}

/// One value of a series.
#[derive(Debug, Clone, Copy)]
struct Point {
    row: usize,
    start: i64,
    end: i64,
    value: Option<f64>,
    is_significant: bool,
    count: f64,
}

fn evaluate_rule(
    index: usize,
    rule: &RuleConfig,
    on: &Evaluation<'_>,
    newest: &BTreeMap<Option<String>, i64>,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let (rows, kind) =
        if rule.is_on_drift { (on.drift, rule.against.to_string()) } else { (on.profile, LOG_TYPE_INPUT.to_owned()) };
    let values = rows.numbers(&rule.metric.value)?;
    let counts = rows.numbers("count")?;
    let p_values = match rule.significance {
        Some(_) => rule.p_values().iter().map(|name| rows.numbers(name)).collect::<Result<Vec<_>>>()?,
        None => Vec::new(),
    };
    let is_significant = |row: usize| {
        rule.significance.is_none_or(|alpha| {
            let p_value = p_values.iter().find(|values| values.is_valid(row)).map(|values| values.value(row));
            p_value.is_some_and(|p_value| p_value <= alpha)
        })
    };
    let only = rule.granularity.as_ref().map(|granularity| granularity.value.to_string());
    let lone = windows_of_one_model(rows, &kind);
    let mut series: BTreeMap<Observation, Vec<Point>> = BTreeMap::new();
    for row in (0..rows.len()).filter(|&row| rows.kind(row) == kind) {
        let observation = rows.observation(row);
        let is_wanted = rule.covers(&observation.column)
            && (rule.slices || observation.slice.is_none())
            && (only.is_none() || observation.granularity == only);
        let Some((start, end)) = observation.window.filter(|_| is_wanted) else { continue };
        if !is_complete(&Window { start, end }, on.grace, on.now) {
            continue;
        }
        let is_of_one_model = observation.model.as_deref().is_some_and(|model| model != ALL_MODELS);
        if is_of_one_model && lone.contains(&(observation.granularity.clone(), start)) {
            // With one model in the window its row repeats the one over all models.
            continue;
        }
        let value = values.is_valid(row).then(|| values.value(row));
        let point = Point { row, start, end, value, is_significant: is_significant(row), count: counts.value(row) };
        series.entry(Observation { window: None, ..observation }).or_default().push(point);
    }
    for (observation, mut points) in series {
        points.sort_unstable_by_key(|point| point.start);
        let granularity = observation.granularity.as_ref().and_then(|text| text.parse::<Granularity>().ok());
        #[expect(clippy::cast_precision_loss, reason = "row counts are exact doubles")]
        let min_count = rule.min_count as f64;
        let is_broken = |at: usize| {
            let point = points[at];
            let previous = match granularity {
                // The window just before, which does not overlap it.
                Some(length) => {
                    let window = Window { start: point.start, end: point.end };
                    on.calendar.previous(length, &window).and_then(|before| {
                        let at = points.binary_search_by_key(&before.start, |point| point.start).ok()?;
                        Some(points[at])
                    })
                }
                // Snapshots follow no calendar and have just the one before.
                None => at.checked_sub(1).map(|before| points[before]),
            };
            let previous = previous.and_then(|before| before.value);
            point.count >= min_count
                && point.is_significant
                && point.value.is_some_and(|value| rule.condition.is_breached(value, previous))
        };
        let broken: Vec<bool> = (0..points.len()).map(is_broken).collect();
        for (at, point) in points.iter().enumerate().filter(|&(at, _)| broken[at]) {
            let from = match granularity {
                Some(length) => first_looked_at(&on.calendar, length, point, rule.windows),
                // Snapshots follow no calendar: the last ones that there are.
                None => points[(at + 1).saturating_sub(rule.windows as usize)].start,
            };
            let recent = (0..=at).rev().take_while(|&before| points[before].start >= from);
            let (looked_at, breached) = recent
                .fold((0u32, 0u32), |(looked, breached), before| (looked + 1, breached + u32::from(broken[before])));
            if breached < rule.breaches {
                continue;
            }
            let observation = Observation { window: Some((point.start, point.end)), ..observation.clone() };
            let is_newest = newest.get(&observation.granularity) == Some(&point.start);
            let value = point.value.unwrap_or_default();
            findings.push(Finding { rule: index, observation, row: point.row, value, breached, looked_at, is_newest });
        }
    }
    Ok(())
}

/// The windows in which only one model has rows.
fn windows_of_one_model(rows: &Rows, kind: &str) -> BTreeSet<(Option<String>, i64)> {
    let mut models: BTreeMap<(Option<String>, i64), BTreeSet<Option<String>>> = BTreeMap::new();
    for row in (0..rows.len()).filter(|&row| rows.kind(row) == kind) {
        let observation = rows.observation(row);
        if let Some((start, _)) = observation.window.filter(|_| observation.model.as_deref() != Some(ALL_MODELS)) {
            models.entry((observation.granularity, start)).or_default().insert(observation.model);
        }
    }
    models.into_iter().filter(|(_, models)| models.len() == 1).map(|(window, _)| window).collect()
}

/// Start of the first of the last `windows` windows that end with `point`'s; windows that slide are a step apart.
fn first_looked_at(calendar: &Calendar, length: Granularity, point: &Point, windows: u32) -> i64 {
    let mut window = Window { start: point.start, end: point.end };
    for _ in 1..windows {
        match calendar.step_before(length, &window) {
            Some(before) => window = before,
            None => break,
        }
    }
    window.start
}

#[cfg(test)]
mod tests {
    use limno_metrics::column::ColumnKind;
    use limno_metrics::drift::{ColumnDrift, KolmogorovSmirnov, Test};
    use limno_metrics::profile::ColumnProfile;
    use limno_metrics::schema::{DRIFT_BASELINE, Shape, drift_schema, profile_schema};

    use super::*;
    use crate::config::{Config, ProcessEnv};
    use crate::refresh::{DriftRow, drift_batch, profile_batch};

    fn drift_row(column: &str, drift: ColumnDrift) -> DriftRow {
        DriftRow {
            window: Some(Window { start: 0, end: 86_400_000_000 }),
            window_cmp: None,
            drift_type: DRIFT_BASELINE,
            granularity: Some("1 day".to_owned()),
            monitor_version: 0,
            slice: None,
            model: None,
            model_cmp: None,
            column: column.to_owned(),
            data_type: Some("double".to_owned()),
            kind: Some(ColumnKind::Numeric),
            current: ColumnProfile { count: 100, ..ColumnProfile::default() },
            comparison: ColumnProfile::default(),
            drift,
            sides: None,
            non_null_delta: None,
            window_complete: Some(true),
        }
    }

    /// The columns for which a rule fires, whose lines these are.
    fn firing(rule: &str, rows: &[DriftRow]) -> Vec<String> {
        let text = format!(
            "[monitor.m]\ntable = \"t\"\noutput = \"o\"\nbaseline = \"b\"\n\
             time_series = {{ timestamp = \"t\", granularities = [\"1 day\"] }}\n\
             [[monitor.m.rule]]\nname = \"r\"\n{rule}\n"
        );
        let config = Config::parse(&text, "limno.toml", &ProcessEnv).unwrap();
        let drift = drift_batch(&drift_schema(&Shape::default()), rows, 0).unwrap();
        let profile = profile_batch(&profile_schema(&Shape::default()), &[], 0).unwrap();
        let on = Evaluation {
            profile: &Rows::new(profile, "log_type", None).unwrap(),
            drift: &Rows::new(drift, "drift_type", None).unwrap(),
            calendar: Calendar { timezone: chrono_tz::UTC, week_start: chrono::Weekday::Mon, offset_minutes: 0 },
            grace: Duration::ZERO,
            now: DateTime::from_timestamp(1_000_000, 0).unwrap(),
        };
        let findings = evaluate(&config.monitors[0].rules, &on).unwrap();
        findings.into_iter().map(|finding| finding.observation.column).collect()
    }

    #[test]
    fn a_rule_with_significance_wants_a_difference_that_is_large_and_no_chance() {
        let ks = |statistic, pvalue| {
            let ks = KolmogorovSmirnov { statistic, error: 0.0, pvalue };
            ColumnDrift { ks: Some(ks), ..ColumnDrift::default() }
        };
        let rows = [
            drift_row("large and sure", ks(0.3, 1e-9)),
            drift_row("just so", ks(0.3, 0.01)),
            drift_row("large by chance", ks(0.3, 0.2)),
            drift_row("sure and small", ks(0.01, 1e-9)),
            drift_row("unknown", ColumnDrift::default()),
        ];
        let rule = "metric = \"ks_test.statistic\"\nabove = 0.1\n";
        assert_eq!(firing(rule, &rows), ["just so", "large and sure", "large by chance"]);
        assert_eq!(firing(&format!("{rule}significance = 0.01"), &rows), ["just so", "large and sure"]);
    }

    #[test]
    fn where_a_column_has_no_chi_squared_test_that_of_the_index_counts() {
        let drift = |chi_squared: Option<f64>, psi_pvalue| ColumnDrift {
            hellinger: Some(0.5),
            chi_squared: chi_squared.map(|pvalue| Test { statistic: 1.0, pvalue }),
            psi_pvalue,
            ..ColumnDrift::default()
        };
        let rows = [
            drift_row("a category", drift(Some(1e-4), Some(0.9))),
            drift_row("a category by chance", drift(Some(0.9), Some(1e-4))),
            drift_row("a number", drift(None, Some(1e-4))),
            drift_row("a number by chance", drift(None, Some(0.9))),
            drift_row("without a test", drift(None, None)),
        ];
        let rule = "metric = \"hellinger_distance\"\nabove = 0.1\nsignificance = 0.01";
        assert_eq!(firing(rule, &rows), ["a category", "a number"]);
    }
}

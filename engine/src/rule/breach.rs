//! A firing told in full: what moved, from what to what, and where in the distribution.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use chrono::{DateTime, Utc};
use limno_metrics::schema::{ALL_MODELS, DRIFT_CONSECUTIVE, LOG_TYPE_BASELINE, LOG_TYPE_INPUT};

use super::evaluate::{Evaluation, Finding};
use super::rows::{Observation, Rows};
use crate::Result;
use crate::alert::{BinShare, Breach};
use crate::config::{Against, RuleConfig};

/// The statistics shown before and after, where both sides have them.
const SHOWN: [&str; 8] = ["avg", "stddev", "median", "min", "max", "percent_null", "percent_zeros", "distinct_count"];
/// Bins shown with a breach.
const SHOWN_BINS: usize = 5;

/// Tells each finding, in the same order; `alert_ids` are theirs.
///
/// # Errors
/// When a metric table lacks a column.
pub fn describe(
    findings: &[Finding],
    alert_ids: &[String],
    rules: &[RuleConfig],
    on: &Evaluation<'_>,
) -> Result<Vec<Breach>> {
    let profiles = Profiles::new(on.profile)?;
    let drifts = Drifts::new(on.drift)?;
    Ok(findings
        .iter()
        .zip(alert_ids)
        .map(|(finding, alert_id)| {
            let rule = &rules[finding.rule];
            let now = &finding.observation;
            let (before, window_cmp) = if rule.is_on_drift {
                drifts.comparison(finding.row, now)
            } else {
                let before = profiles.previous(on, now);
                let window = before.as_ref().and_then(|(_, key)| key.window);
                (before, window)
            };
            let before_row = before.as_ref().and_then(|(log_type, key)| profiles.row(log_type, key));
            let now_row = profiles.row(LOG_TYPE_INPUT, now);
            Breach {
                alert_id: alert_id.clone(),
                rule: rule.name.clone(),
                severity: rule.severity,
                metric: rule.metric.value.clone(),
                condition: rule.condition,
                // A metric of one window is told beside the window before.
                against: if rule.is_on_drift { rule.against } else { Against::Consecutive },
                column: now.column.clone(),
                slice: now.slice.clone().map(|(key, value)| (key, value.unwrap_or_else(|| "NULL".to_owned()))),
                // `*` stands for all models: no one made these rows.
                model_id: now.model.clone().filter(|model| model != ALL_MODELS),
                granularity: now.granularity.clone().unwrap_or_else(|| "snapshot".to_owned()),
                window: now.window.map(instants).unwrap_or_default(),
                window_cmp: window_cmp.map(instants),
                value: finding.value,
                error: drifts.error(rule, finding.row),
                breached: finding.breached,
                looked_at: finding.looked_at,
                count: now_row.map_or(0, |row| profiles.count(row)),
                count_before: before_row.map(|row| profiles.count(row)),
                before_after: profiles.before_after(before_row, now_row),
                bins: if rule.is_on_drift { drifts.bins(finding.row) } else { Vec::new() },
            }
        })
        .collect())
}

fn instants((start, end): (i64, i64)) -> (DateTime<Utc>, DateTime<Utc>) {
    let at = |micros| DateTime::from_timestamp_micros(micros).unwrap_or_default();
    (at(start), at(end))
}

/// The log type of a profile row, and what it is about.
type ProfileKey = (&'static str, Observation);
/// A statistic, its value before, its value now.
type BeforeAfter = (String, Option<f64>, Option<f64>);

/// The profile rows, found by what they are about.
struct Profiles {
    index: HashMap<(String, Observation), usize>,
    counts: Float64Array,
    shown: Vec<(&'static str, Float64Array)>,
}

impl Profiles {
    fn new(rows: &Rows) -> Result<Self> {
        // Snapshots write their baseline's rows anew each time: the latest count.
        let written = rows.numbers("refreshed_at")?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&a, &b| written.value(a).total_cmp(&written.value(b)));
        let index = order.into_iter().map(|row| ((rows.kind(row).to_owned(), rows.observation(row)), row)).collect();
        let shown = SHOWN.iter().map(|&name| Ok((name, rows.numbers(name)?))).collect::<Result<_>>()?;
        Ok(Self { index, counts: rows.numbers("count")?, shown })
    }

    fn row(&self, log_type: &str, observation: &Observation) -> Option<usize> {
        self.index.get(&(log_type.to_owned(), observation.clone())).copied()
    }

    #[expect(clippy::cast_possible_truncation, reason = "a row count")]
    fn count(&self, row: usize) -> i64 {
        self.counts.value(row) as i64
    }

    fn previous(&self, on: &Evaluation<'_>, now: &Observation) -> Option<(&'static str, Observation)> {
        let (start, end) = now.window?;
        let length = now.granularity.as_ref()?.parse().ok()?;
        let before = on.calendar.previous(length, &limno_sql::window::Window { start, end })?;
        Some((LOG_TYPE_INPUT, Observation { window: Some((before.start, before.end)), ..now.clone() }))
    }

    fn before_after(&self, before: Option<usize>, now: Option<usize>) -> Vec<BeforeAfter> {
        self.shown
            .iter()
            .filter_map(|(name, values)| {
                let at = |row: Option<usize>| row.filter(|&row| values.is_valid(row)).map(|row| values.value(row));
                let (before, now) = (at(before), at(now));
                (before.is_some() || now.is_some()).then(|| ((*name).to_owned(), before, now))
            })
            .collect()
    }
}

/// What drift rows add to a breach.
struct Drifts<'a> {
    rows: &'a Rows,
    windows: Vec<Option<(i64, i64)>>,
    models: arrow::array::StringArray,
    ks_error: Float64Array,
}

impl<'a> Drifts<'a> {
    fn new(rows: &'a Rows) -> Result<Self> {
        Ok(Self {
            rows,
            windows: rows.comparison_windows()?,
            models: rows.texts("model_id_cmp")?,
            ks_error: rows.numbers("ks_error")?,
        })
    }

    /// The profile row that a drift row compares with, and its window.
    fn comparison(&self, row: usize, now: &Observation) -> (Option<ProfileKey>, Option<(i64, i64)>) {
        let model = now
            .model
            .as_ref()
            .map(|own| if self.models.is_valid(row) { self.models.value(row).to_owned() } else { own.clone() });
        if self.rows.kind(row) == DRIFT_CONSECUTIVE {
            let window = self.windows[row];
            (Some((LOG_TYPE_INPUT, Observation { window, model, ..now.clone() })), window)
        } else {
            (Some((LOG_TYPE_BASELINE, Observation { window: None, granularity: None, model, ..now.clone() })), None)
        }
    }

    fn error(&self, rule: &RuleConfig, row: usize) -> Option<f64> {
        (rule.metric.value == "ks_test.statistic" && self.ks_error.is_valid(row)).then(|| self.ks_error.value(row))
    }

    fn bins(&self, row: usize) -> Vec<BinShare> {
        self.read_bins(row).unwrap_or_default()
    }

    fn read_bins(&self, row: usize) -> Option<Vec<BinShare>> {
        let bins = self.rows.column("psi_bins")?.as_list_opt::<i32>()?;
        if bins.is_null(row) {
            return None;
        }
        let bins = bins.value(row);
        let bins = bins.as_struct_opt()?;
        let labels = arrow::compute::cast(bins.column_by_name("bin")?, &arrow::datatypes::DataType::Utf8).ok()?;
        let number = |name: &str| Some(bins.column_by_name(name)?.as_primitive_opt::<Float64Type>()?.clone());
        let (before, now, contribution) = (number("share_cmp")?, number("share")?, number("contribution")?);
        let mut shares: Vec<BinShare> = (0..bins.len())
            .map(|at| BinShare {
                label: labels.as_string::<i32>().value(at).to_owned(),
                before: before.value(at),
                now: now.value(at),
                contribution: contribution.value(at),
            })
            .collect();
        shares.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        shares.truncate(SHOWN_BINS);
        Some(shares)
    }
}

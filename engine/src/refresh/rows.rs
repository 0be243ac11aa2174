//! From the states of cells to rows of both metric tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use chrono::{DateTime, Utc};
use limno_metrics::drift::{self, ColumnDrift, DriftOptions};
use limno_metrics::profile::{ColumnProfile, FrozenColumn};
use limno_metrics::quality::fairness;
use limno_metrics::schema::{
    ALL_MODELS, DRIFT_BASELINE, DRIFT_CONSECUTIVE, LOG_TYPE_BASELINE, LOG_TYPE_INPUT, TABLE_COLUMN,
};
use limno_sql::plan::SliceOf;
use limno_sql::window::Granularity;
use rayon::prelude::*;

use super::cells::{CellKey, ModelKey, Outline, States, SubjectStates};
use super::drift_rows::DriftRow;
use super::is_complete;
use super::profile_rows::ProfileRow;
use crate::Result;
use crate::config::MetricKind;
use crate::monitor::{BaselineColumn, BoundBaseline, BoundMetric, BoundMonitor};

/// Bins written with a row: thousands of categories explain nothing.
const WRITTEN_BINS: usize = 20;

/// Lays out rows of a monitor.
#[derive(Debug)]
pub(super) struct RowMaker<'a> {
    /// The monitor.
    pub(super) monitor: &'a BoundMonitor,
    /// When the rows are written.
    pub(super) now: DateTime<Utc>,
    /// Counts the configurations of the monitor.
    pub(super) monitor_version: i64,
    /// The lengths of the windows.
    pub(super) granularities: Vec<Granularity>,
}

/// A cell: what it covers, and what is known of it.
pub(super) type Cell<'a> = (&'a CellKey, &'a Outline);

/// Of each cell, the columns that have values, as positions among the monitor's columns. `None` where a column's states
/// lack.
#[derive(Debug, Default)]
pub(super) struct Presence(BTreeMap<CellKey, Vec<Option<bool>>>);

impl Presence {
    /// Notes the columns from `first` on.
    pub(super) fn note(&mut self, key: &CellKey, first: usize, states: &States) {
        let known = self.0.entry(key.clone()).or_default();
        known.resize(known.len().max(first + states.len()), None);
        for (at, state) in states.iter().enumerate() {
            known[first + at] = state.column.as_deref().map(has_values);
        }
    }

    fn of(&self, key: &CellKey) -> &[Option<bool>] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

const fn has_values(column: &FrozenColumn) -> bool {
    let counts = column.state().counts();
    counts.rows > counts.nulls
}

impl RowMaker<'_> {
    fn granularity(&self, key: &CellKey) -> Option<String> {
        self.granularities.get(key.granularity).map(ToString::to_string)
    }

    fn slice(&self, slice: &Option<SliceOf>) -> Option<(String, Option<String>)> {
        slice.as_ref().map(|slice| (self.monitor.slices[slice.expression].key.clone(), slice.value.clone()))
    }

    fn model(&self, model: &ModelKey) -> Option<String> {
        match model {
            ModelKey::All => Some(ALL_MODELS.to_owned()),
            ModelKey::Id(id) => id.clone(),
        }
    }

    /// The row of a cell's table, of the monitored one or of the baseline.
    fn profile_table(&self, cell: Cell<'_>, is_baseline: bool) -> ProfileRow {
        let (key, outline) = cell;
        let source = match &self.monitor.baseline {
            Some(baseline) if is_baseline => &baseline.source,
            _ => &self.monitor.source,
        };
        let window = (!is_baseline).then_some(outline.window);
        ProfileRow {
            window,
            log_type: if is_baseline { LOG_TYPE_BASELINE } else { LOG_TYPE_INPUT },
            commit_version: source.version.delta(),
            monitor_version: self.monitor_version,
            granularity: if is_baseline { None } else { self.granularity(key) },
            slice: self.slice(&key.slice),
            model: self.model(&key.model),
            column: TABLE_COLUMN.to_owned(),
            data_type: None,
            profile: ColumnProfile { count: outline.rows, ..ColumnProfile::default() },
            non_null_columns: None,
            quality: None,
            fairness: None,
            custom: Vec::new(),
            window_complete: window.map(|window| is_complete(&window, self.monitor.config.grace, self.now)),
        }
    }

    /// The profile rows of a cell's columns from `first` on.
    pub(super) fn profile(
        &self,
        cell: Cell<'_>,
        is_baseline: bool,
        first: usize,
        states: &States,
        rows: &mut Vec<ProfileRow>,
    ) {
        let table = self.profile_table(cell, is_baseline);
        // Columns have nothing to do with each other, so all cores make their rows, which stay in order.
        rows.par_extend(self.monitor.columns[first..].par_iter().zip(states).filter_map(|(column, state)| {
            let own = state.column.as_ref()?;
            Some(ProfileRow {
                column: column.name.clone(),
                data_type: Some(column.data_type.clone()),
                profile: own.profile(),
                custom: self.aggregates(&column.name, state),
                ..table.clone()
            })
        }));
    }

    /// The values of the custom metrics on the row of a column or of the table, as the profile table has them; those that
    /// are derived from others come with the rows as a batch.
    fn aggregates(&self, column: &str, states: &SubjectStates) -> Vec<Option<ArrayRef>> {
        let of_table = self.monitor.metrics.iter().filter(|metric| metric.kind != MetricKind::Drift);
        let value = |metric: &BoundMetric| {
            metric.aggregate(column, &states.parts).unwrap_or_else(|error| {
                // As a query would: one row without a value costs no other row its own.
                tracing::warn!(%error, metric = metric.field.name(), column, "a metric has no value");
                None
            })
        };
        of_table.map(value).collect()
    }

    /// The profile row of the table, once all columns of its cell have been seen. `others` are the states of the rows for
    /// which a predicate that cuts this cell does not hold.
    #[must_use]
    pub(super) fn profile_of_table(
        &self,
        cell: Cell<'_>,
        is_baseline: bool,
        presence: &Presence,
        (states, others): (Option<&SubjectStates>, Option<&SubjectStates>),
    ) -> ProfileRow {
        let columns = self.monitor.columns.iter().zip(presence.of(cell.0));
        let non_null = columns.filter(|(_, has_values)| **has_values == Some(true));
        let non_null_columns = non_null.map(|(column, _)| column.name.clone()).collect();
        let quality = states.and_then(|states| states.quality.as_ref());
        let others = others.and_then(|states| states.quality.as_ref());
        let numbers = quality.map(|state| Arc::new(state.quality()));
        let mut row = self.profile_table(cell, is_baseline);
        row.profile.reason = numbers.as_ref().and_then(|numbers| numbers.reason.clone());
        if is_baseline && row.profile.reason.is_none() {
            row.profile.reason = self.monitor.baseline.as_ref().and_then(BoundBaseline::why_lacking);
        }
        ProfileRow {
            non_null_columns: Some(non_null_columns),
            fairness: quality.zip(others).and_then(|(protected, others)| fairness(protected, others)).map(Arc::new),
            quality: numbers,
            custom: states.map(|states| self.aggregates(TABLE_COLUMN, states)).unwrap_or_default(),
            ..row
        }
    }

    fn drift_table(&self, cell: Cell<'_>, comparison: Cell<'_>, is_baseline: bool) -> DriftRow {
        let ((key, now), (before_key, before)) = (cell, comparison);
        DriftRow {
            window: Some(now.window),
            window_cmp: (!is_baseline).then_some(before.window),
            drift_type: if is_baseline { DRIFT_BASELINE } else { DRIFT_CONSECUTIVE },
            granularity: self.granularity(key),
            monitor_version: self.monitor_version,
            slice: self.slice(&key.slice),
            model: self.model(&key.model),
            model_cmp: self.model(&before_key.model),
            column: TABLE_COLUMN.to_owned(),
            data_type: None,
            kind: None,
            current: ColumnProfile { count: now.rows, ..ColumnProfile::default() },
            comparison: ColumnProfile { count: before.rows, ..ColumnProfile::default() },
            drift: ColumnDrift::default(),
            sides: None,
            non_null_delta: None,
            window_complete: Some(is_complete(&now.window, self.monitor.config.grace, self.now)),
        }
    }

    /// The drift rows of a cell's columns from `first` on against another cell's.
    ///
    /// # Errors
    /// When states do not compare.
    pub(super) fn drift(
        &self,
        cell: Cell<'_>,
        comparison: Cell<'_>,
        is_baseline: bool,
        first: usize,
        (now, before): (&States, Option<&States>),
        rows: &mut Vec<DriftRow>,
    ) -> Result<()> {
        let table = self.drift_table(cell, comparison, is_baseline);
        let options = DriftOptions { bins: self.monitor.config.bins.clone(), ..DriftOptions::default() };
        let columns = self.monitor.columns[first..].par_iter().zip(now).enumerate();
        let made: Result<Vec<Option<DriftRow>>> = columns
            .map(|(at, (column, now_states))| {
                let before_states = before.and_then(|before| before.get(at));
                let before_column = before_states.and_then(|before| before.column.as_deref());
                let reason = if is_baseline { self.why_not_compared(first + at) } else { None };
                let (Some(now), true) = (now_states.column.as_deref(), before_column.is_some() || reason.is_some())
                else {
                    return Ok(None);
                };
                let sides = self.compares().then(|| {
                    let side = |cell: Cell<'_>, is_baseline: bool, states: Option<&SubjectStates>| ProfileRow {
                        column: column.name.clone(),
                        data_type: Some(column.data_type.clone()),
                        profile: states.and_then(|states| Some(states.column.as_ref()?.profile())).unwrap_or_default(),
                        custom: states.map(|states| self.aggregates(&column.name, states)).unwrap_or_default(),
                        ..self.profile_table(cell, is_baseline)
                    };
                    Box::new((side(cell, false, Some(now_states)), side(comparison, is_baseline, before_states)))
                });
                let drift = match before_column {
                    Some(before) => compare_columns(before, now, &options)?,
                    None => ColumnDrift { reason, ..ColumnDrift::default() },
                };
                Ok(Some(DriftRow {
                    column: column.name.clone(),
                    data_type: Some(column.data_type.clone()),
                    kind: Some(column.options.kind),
                    current: now.summary().clone(),
                    comparison: before_column.map_or_else(
                        || ColumnProfile { count: table.comparison.count, ..ColumnProfile::default() },
                        |before| before.summary().clone(),
                    ),
                    drift,
                    sides,
                    ..table.clone()
                }))
            })
            .collect();
        rows.extend(made?.into_iter().flatten());
        Ok(())
    }

    /// The drift row of the table, once all columns of both cells have been seen.
    #[must_use]
    pub(super) fn drift_of_table(
        &self,
        cell: Cell<'_>,
        comparison: Cell<'_>,
        is_baseline: bool,
        (now, before): (&Presence, &Presence),
        sides: Option<(ProfileRow, ProfileRow)>,
    ) -> DriftRow {
        let pairs = now.of(cell.0).iter().zip(before.of(comparison.0));
        let (added, missing) = pairs
            .filter_map(|(now, before)| Some(((*now)?, (*before)?)))
            .fold((0, 0), |(added, missing), (now, before)| {
                (added + i32::from(now && !before), missing + i32::from(before && !now))
            });
        let baseline = self.monitor.baseline.as_ref().filter(|_| is_baseline);
        let reason = baseline.and_then(BoundBaseline::why_lacking);
        DriftRow {
            drift: ColumnDrift { reason, ..ColumnDrift::default() },
            non_null_delta: Some((added, missing)),
            sides: sides.map(Box::new),
            ..self.drift_table(cell, comparison, is_baseline)
        }
    }

    /// Whether metrics compare rows of the profile table.
    #[must_use]
    pub(super) fn compares(&self) -> bool {
        self.monitor.metrics.iter().any(|metric| metric.kind == MetricKind::Drift)
    }

    fn why_not_compared(&self, index: usize) -> Option<String> {
        match self.monitor.baseline.as_ref()?.columns.get(index)? {
            BaselineColumn::Same => None,
            BaselineColumn::Missing => Some("the baseline has no such column".to_owned()),
            BaselineColumn::Changed { data_type } => Some(format!("the baseline's column has type {data_type}")),
        }
    }
}

/// The comparison with at most [`WRITTEN_BINS`] bins, those that contribute most.
pub(crate) fn compare_columns(
    comparison: &FrozenColumn,
    current: &FrozenColumn,
    options: &DriftOptions,
) -> Result<ColumnDrift> {
    let mut drift = drift::compare(comparison, current, options)?;
    if drift.psi_bins.len() > WRITTEN_BINS {
        drift.psi_bins.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        drift.psi_bins.truncate(WRITTEN_BINS);
    }
    Ok(drift)
}

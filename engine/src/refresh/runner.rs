//! The steps of a refresh: run the plans, merge, compare, write down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use limno_metrics::drift::{self, ColumnDrift, DriftOptions};
use limno_metrics::profile::{ColumnProfile, FrozenColumn};
use limno_metrics::schema::{
    ALL_MODELS, DRIFT_BASELINE, DRIFT_CONSECUTIVE, LOG_TYPE_BASELINE, LOG_TYPE_INPUT, TABLE_COLUMN, drift_schema,
    profile_schema,
};
use limno_sql::executor::PlanExecutor;
use limno_sql::plan::{SliceOf, StateQuery, StateRow};
use limno_sql::window::{Granularity, Window};

use super::assemble::{Cell, CellKey, ModelKey, assemble, assemble_whole};
use super::drift_rows::{DriftRow, drift_batch};
use super::log::RefreshRow;
use super::profile_rows::{ProfileRow, profile_batch};
use crate::monitor::{BaselineColumn, BoundMonitor};
use crate::progress::Progress;
use crate::{Error, Result};

/// The rows of both metric tables.
#[derive(Debug, Clone)]
pub struct MetricRows {
    /// Rows of the profile table.
    pub profile: RecordBatch,
    /// Rows of the drift table.
    pub drift: RecordBatch,
}

impl MetricRows {
    /// These rows with the windows that have ended since they were written marked complete; `None` if every mark is
    /// right.
    ///
    /// # Errors
    /// When the rows are not of metric tables.
    pub fn completed(&self, grace: Duration, now: DateTime<Utc>) -> Result<Option<Self>> {
        let (profile, drift) = (remarked(&self.profile, grace, now)?, remarked(&self.drift, grace, now)?);
        if profile.is_none() && drift.is_none() {
            return Ok(None);
        }
        let or = |marked: Option<RecordBatch>, before: &RecordBatch| marked.unwrap_or_else(|| before.clone());
        Ok(Some(Self { profile: or(profile, &self.profile), drift: or(drift, &self.drift) }))
    }

    /// Whether these are the rows that the refresh of `row` wrote: a table that got rows from it holds none that are
    /// newer or all older.
    #[must_use]
    pub fn are_of(&self, row: &RefreshRow) -> bool {
        let is_of = |batch: &RecordBatch, count: i64| {
            let times = batch.column_by_name("refreshed_at").and_then(|times| times.as_primitive_opt());
            let latest = times.and_then(arrow::compute::max::<TimestampMicrosecondType>);
            if count > 0 {
                latest == Some(row.refreshed_at)
            } else {
                latest.is_none_or(|latest| latest < row.refreshed_at)
            }
        };
        is_of(&self.profile, row.profile_rows) && is_of(&self.drift, row.drift_rows)
    }
}

/// The batch with right marks; `None` if it has them.
fn remarked(batch: &RecordBatch, grace: Duration, now: DateTime<Utc>) -> Result<Option<RecordBatch>> {
    let schema = batch.schema();
    let (Ok(index), Some(windows)) = (
        schema.index_of("window_complete"),
        batch.column_by_name("window").and_then(|windows| windows.as_struct_opt()),
    ) else {
        return Ok(None);
    };
    let Some(ends) = windows.column_by_name("end").and_then(|ends| ends.as_primitive_opt::<TimestampMicrosecondType>())
    else {
        return Ok(None);
    };
    let before = batch.column(index).as_boolean();
    let marks: BooleanArray = (0..batch.num_rows())
        .map(|row| {
            let end = ends.value(row);
            before.is_valid(row).then(|| is_complete(&Window { start: end, end }, grace, now))
        })
        .collect();
    if marks == *before {
        return Ok(None);
    }
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new(marks);
    Ok(Some(RecordBatch::try_new(schema, columns)?))
}

/// What a refresh made, and what it saw on the way.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The rows.
    pub rows: MetricRows,
    /// Rows read from the monitored table.
    pub rows_read: u64,
    /// Of those, rows whose timestamp is null or does not parse: they are in no window.
    pub rows_without_window: u64,
    /// Windows over all granularities.
    pub windows: usize,
}

/// Bins written with a row: thousands of categories explain nothing.
const WRITTEN_BINS: usize = 20;

/// Reads the tables of `monitor` and makes all rows of its metric tables.
///
/// # Errors
/// When a plan fails, or states do not merge.
pub async fn refresh(
    monitor: &BoundMonitor,
    executor: &dyn PlanExecutor,
    now: DateTime<Utc>,
    monitor_version: i64,
    progress: &Progress,
) -> Result<Refreshed> {
    progress.stage("reading", &monitor.source.uri);
    let rows = measure(&monitor.query(), monitor.config.max_slices, executor).await?;
    let baseline_rows = match monitor.baseline_query() {
        Some(query) => {
            progress.stage("reading", &query.source.uri);
            measure(&query, monitor.config.max_slices, executor).await?
        }
        None => Vec::new(),
    };
    progress.stage("measuring", &monitor.config.name);
    let has_models = monitor.model_id().is_some();
    let granularities = monitor.granularities();
    let instant = Window { start: now.timestamp_micros(), end: now.timestamp_micros() };
    let cells = if granularities.is_empty() {
        assemble_whole(&rows, instant, &monitor.slices, has_models)?
    } else {
        assemble(&rows, &granularities, &monitor.calendar(), &monitor.slices, has_models)?
    };
    let baseline = baseline_cells(monitor, &baseline_rows, instant)?;
    let writer = Writer { monitor, now, monitor_version, granularities };
    let mut drift_rows = Vec::new();
    for (key, cell) in cells.iter().filter(|(_, cell)| cell.is_shown) {
        writer.consecutive(&cells, key, cell, &mut drift_rows)?;
        writer.against_baseline(&baseline, key, cell, &mut drift_rows)?;
    }
    let mut profile_rows = Vec::new();
    for (key, cell) in cells.iter().filter(|(_, cell)| cell.is_shown) {
        writer.profile(Some(key), &key.slice, &key.model, cell, &mut profile_rows);
    }
    for ((slice, model), cell) in baseline.iter().filter(|(_, cell)| cell.is_shown) {
        writer.profile(None, slice, model, cell, &mut profile_rows);
    }
    let model_id = monitor.model_id();
    let refreshed_at = now.timestamp_micros();
    let read = |row: &&StateRow| row.slice.is_none();
    let mut starts: Vec<_> = cells.keys().map(|key| (key.granularity, key.start)).collect();
    starts.dedup();
    Ok(Refreshed {
        rows: MetricRows {
            profile: profile_batch(&profile_schema(model_id), &profile_rows, refreshed_at)?,
            drift: drift_batch(&drift_schema(model_id), &drift_rows, refreshed_at)?,
        },
        rows_read: rows.iter().filter(read).map(|row| row.rows).sum(),
        rows_without_window: rows.iter().filter(read).filter(|row| row.window.is_none()).map(|row| row.rows).sum(),
        windows: starts.len(),
    })
}

/// Runs a query whose slices are few enough.
async fn measure(query: &StateQuery, max_slices: usize, executor: &dyn PlanExecutor) -> Result<Vec<StateRow>> {
    for slice in query.slices.iter().filter(|slice| !slice.is_predicate) {
        if query.count_slices(executor, slice, max_slices).await? > max_slices {
            return Err(Error::TooManySlices { key: slice.key.clone(), limit: max_slices });
        }
    }
    Ok(query.run(executor).await?)
}

type Baseline = BTreeMap<(Option<SliceOf>, ModelKey), Cell>;

/// The baseline's cells under the monitor's numbering of columns and slices.
fn baseline_cells(monitor: &BoundMonitor, rows: &[StateRow], instant: Window) -> Result<Baseline> {
    let Some(baseline) = &monitor.baseline else { return Ok(BTreeMap::new()) };
    let slices: Vec<_> = baseline.slices.iter().map(|(_, slice)| slice.clone()).collect();
    let cells = assemble_whole(rows, instant, &slices, baseline.model.is_some())?;
    Ok(cells
        .into_iter()
        .map(|(key, cell)| {
            let slice = key.slice.map(|slice| SliceOf { expression: baseline.slices[slice.expression].0, ..slice });
            ((slice, key.model), cell)
        })
        .collect())
}

struct Writer<'a> {
    monitor: &'a BoundMonitor,
    now: DateTime<Utc>,
    monitor_version: i64,
    granularities: Vec<Granularity>,
}

impl Writer<'_> {
    fn granularity(&self, key: &CellKey) -> Option<String> {
        self.granularities.get(key.granularity).map(ToString::to_string)
    }

    fn is_complete(&self, window: &Window) -> bool {
        is_complete(window, self.monitor.config.grace, self.now)
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

    /// The rows of a cell: one for the table, one for each column.
    fn profile(
        &self,
        key: Option<&CellKey>,
        slice: &Option<SliceOf>,
        model: &ModelKey,
        cell: &Cell,
        rows: &mut Vec<ProfileRow>,
    ) {
        let source = match (key, &self.monitor.baseline) {
            (None, Some(baseline)) => &baseline.source,
            _ => &self.monitor.source,
        };
        let table = ProfileRow {
            window: key.map(|_| cell.window),
            log_type: if key.is_some() { LOG_TYPE_INPUT } else { LOG_TYPE_BASELINE },
            commit_version: source.version.delta(),
            monitor_version: self.monitor_version,
            granularity: key.and_then(|key| self.granularity(key)),
            slice: self.slice(slice),
            model: self.model(model),
            column: TABLE_COLUMN.to_owned(),
            data_type: None,
            profile: ColumnProfile { count: cell.rows, ..ColumnProfile::default() },
            non_null_columns: None,
            window_complete: key.map(|_| self.is_complete(&cell.window)),
        };
        let columns: Vec<_> = if key.is_some() {
            self.monitor.columns.iter().collect()
        } else {
            self.compared_columns().map(|(column, _)| column).collect()
        };
        let non_null = columns.iter().zip(&cell.columns).filter(|(_, frozen)| has_values(frozen));
        let non_null_columns = non_null.map(|(column, _)| column.name.clone()).collect();
        rows.push(ProfileRow { non_null_columns: Some(non_null_columns), ..table.clone() });
        rows.extend(columns.into_iter().zip(&cell.columns).map(|(column, frozen)| ProfileRow {
            column: column.name.clone(),
            data_type: Some(column.data_type.clone()),
            profile: frozen.profile(),
            ..table.clone()
        }));
    }

    /// The columns that the baseline can be compared on, with their position in a baseline cell.
    fn compared_columns(&self) -> impl Iterator<Item = (&crate::monitor::BoundColumn, usize)> {
        let found = self.monitor.baseline.as_ref().map_or(&[][..], |baseline| &baseline.columns);
        let same = self.monitor.columns.iter().zip(found).filter(|(_, found)| **found == BaselineColumn::Same);
        same.enumerate().map(|(position, (column, _))| (column, position))
    }

    fn consecutive(
        &self,
        cells: &BTreeMap<CellKey, Cell>,
        key: &CellKey,
        cell: &Cell,
        rows: &mut Vec<DriftRow>,
    ) -> Result<()> {
        let Some(granularity) = self.granularities.get(key.granularity) else { return Ok(()) };
        let Some(before) = self.monitor.calendar().previous(*granularity, &cell.window) else { return Ok(()) };
        let Some(previous) = cells.get(&CellKey { start: before.start, ..key.clone() }) else { return Ok(()) };
        let table = DriftRow {
            window_cmp: Some(previous.window),
            drift_type: DRIFT_CONSECUTIVE,
            model_cmp: self.model(&key.model),
            ..self.table_row(key, cell, previous)
        };
        let pairs = self.monitor.columns.iter().zip(previous.columns.iter().map(Some));
        self.compare(&table, pairs, cell, rows)
    }

    fn against_baseline(
        &self,
        baseline: &Baseline,
        key: &CellKey,
        cell: &Cell,
        rows: &mut Vec<DriftRow>,
    ) -> Result<()> {
        // A model that the baseline has not seen is compared with all of it; the row names whose rows were used.
        let own = (key.slice.clone(), key.model.clone());
        let all = (key.slice.clone(), ModelKey::All);
        let Some((used, comparison)) = baseline.get_key_value(&own).or_else(|| baseline.get_key_value(&all)) else {
            return Ok(());
        };
        let table = DriftRow {
            window_cmp: None,
            drift_type: DRIFT_BASELINE,
            model_cmp: self.model(&used.1),
            ..self.table_row(key, cell, comparison)
        };
        let mut position = 0;
        let found = self.monitor.baseline.as_ref().map_or(&[][..], |baseline| &baseline.columns);
        let pairs = self.monitor.columns.iter().zip(found.iter().map(|found| {
            (*found == BaselineColumn::Same).then(|| {
                position += 1;
                &comparison.columns[position - 1]
            })
        }));
        let pairs: Vec<_> = pairs.collect();
        self.compare(&table, pairs.into_iter(), cell, rows)
    }

    fn table_row(&self, key: &CellKey, cell: &Cell, comparison: &Cell) -> DriftRow {
        DriftRow {
            window: Some(cell.window),
            window_cmp: None,
            drift_type: DRIFT_BASELINE,
            granularity: self.granularity(key),
            monitor_version: self.monitor_version,
            slice: self.slice(&key.slice),
            model: self.model(&key.model),
            model_cmp: None,
            column: TABLE_COLUMN.to_owned(),
            data_type: None,
            kind: None,
            current: ColumnProfile { count: cell.rows, ..ColumnProfile::default() },
            comparison: ColumnProfile { count: comparison.rows, ..ColumnProfile::default() },
            drift: ColumnDrift::default(),
            non_null_delta: None,
            window_complete: Some(self.is_complete(&cell.window)),
        }
    }

    /// One row for the table and one for each column of `pairs`, which are the comparison's columns.
    fn compare<'b>(
        &self,
        table: &DriftRow,
        pairs: impl Iterator<Item = (&'b crate::monitor::BoundColumn, Option<&'b FrozenColumn>)> + Clone,
        cell: &Cell,
        rows: &mut Vec<DriftRow>,
    ) -> Result<()> {
        let gained = pairs
            .clone()
            .zip(&cell.columns)
            .filter_map(|((_, before), now)| Some((has_values(before?), has_values(now))));
        let (added, missing) = gained.fold((0, 0), |(added, missing), (before, now)| {
            (added + i32::from(now && !before), missing + i32::from(before && !now))
        });
        rows.push(DriftRow { non_null_delta: Some((added, missing)), ..table.clone() });
        let options = DriftOptions { bins: self.monitor.config.bins.clone(), ..DriftOptions::default() };
        for (index, ((column, before), now)) in pairs.zip(&cell.columns).enumerate() {
            let drift = match before {
                Some(before) => compare_columns(before, now, &options)?,
                None => ColumnDrift { reason: self.why_not_compared(index), ..ColumnDrift::default() },
            };
            rows.push(DriftRow {
                column: column.name.clone(),
                data_type: Some(column.data_type.clone()),
                kind: Some(column.options.kind),
                current: light_profile(now),
                comparison: before.map_or_else(
                    || ColumnProfile { count: table.comparison.count, ..ColumnProfile::default() },
                    light_profile,
                ),
                drift,
                ..table.clone()
            });
        }
        Ok(())
    }

    fn why_not_compared(&self, index: usize) -> Option<String> {
        match self.monitor.baseline.as_ref()?.columns.get(index)? {
            BaselineColumn::Same => None,
            BaselineColumn::Missing => Some("the baseline has no such column".to_owned()),
            BaselineColumn::Changed { data_type } => Some(format!("the baseline's column has type {data_type}")),
        }
    }
}

/// Whether a window has ended, grace included.
#[must_use]
pub(crate) fn is_complete(window: &Window, grace: Duration, now: DateTime<Utc>) -> bool {
    let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
    window.end.saturating_add(grace) <= now.timestamp_micros()
}

fn has_values(column: &FrozenColumn) -> bool {
    let counts = column.state().counts();
    counts.rows > counts.nulls
}

/// What drift rows need of a profile: no quantile vector, no items.
fn light_profile(column: &FrozenColumn) -> ColumnProfile {
    let mut profile = column.profile();
    profile.quantiles = None;
    profile.frequent_items = None;
    profile
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

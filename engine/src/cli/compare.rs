//! `limno compare`: drift of two tables or files.
//!
//! Each row holds the drift table's columns and, under `reference` and `current`, the profile table's columns of both
//! sides.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use limno_metrics::binning::Bins;
use limno_metrics::drift::{ColumnDrift, DriftOptions};
use limno_metrics::profile::ColumnProfile;
use limno_metrics::schema::{DRIFT_BASELINE, Shape, drift_schema, profile_schema};
use limno_sql::lake::LakeOptions;

use super::Outcome;
use super::args::{CompareArgs, FailOn, LookArgs};
use super::files::{Measured, Table, output_error};
use super::output::{Format, TableOptions, terminal_width, write_batches};
use super::profile::without;
use crate::refresh::{DriftRow, ProfileRow, compare_columns, drift_batch, profile_batch};
use crate::{Error, Result};

/// Columns that say nothing of two files compared once.
const WITHOUT_MEANING: [&str; 10] = [
    "window",
    "window_cmp",
    "drift_type",
    "granularity",
    "monitor_version",
    "slice_key",
    "slice_value",
    "model_id_cmp",
    "window_complete",
    "refreshed_at",
];
/// Columns that a table for reading leaves out; `jensen_shannon_distance` holds what `js_distance` does, and more.
const TOO_WIDE: [&str; 10] = [
    "reference",
    "current",
    "psi_bins",
    "js_distance",
    "ks_critical_value",
    "wasserstein_lower",
    "wasserstein_upper",
    "cramer_von_mises_lower",
    "cramer_von_mises_upper",
    "psi_critical_value",
];
/// The same of the profiles inside.
const WITHOUT_MEANING_INSIDE: [&str; 11] = [
    "window",
    "log_type",
    "logging_table_commit_version",
    "monitor_version",
    "granularity",
    "slice_key",
    "slice_value",
    "column_name",
    "non_null_columns",
    "window_complete",
    "refreshed_at",
];

pub(super) async fn execute(args: &CompareArgs, lake: &LakeOptions, out: &mut dyn Write) -> Result<Outcome> {
    // Side by side: what of one is done on a single core overlaps with the other.
    let (reference, current) =
        tokio::try_join!(measure(&args.reference, &args.look, lake), measure(&args.current, &args.look, lake))?;
    let batch = compare(&reference, &current, args.bins)?;
    let is_passed = match &args.fail_on {
        Some(limit) => passes(&batch, limit)?,
        None => false,
    };
    // A terminal has no room for profiles and bins in a row; the other formats have all.
    let shown = if args.format == Format::Table { without(&batch, &TOO_WIDE)? } else { batch };
    let options = TableOptions { width: terminal_width(), hide_empty: true };
    write_batches(out, args.format, &shown.schema(), &[shown], options).map_err(output_error)?;
    Ok(if is_passed { Outcome::Fired } else { Outcome::Done })
}

/// Measures a table in a task of its own.
async fn measure(uri: &str, look: &LookArgs, lake: &LakeOptions) -> Result<Table> {
    let (uri, look, lake) = (uri.to_owned(), look.clone(), lake.clone());
    let task = tokio::spawn(async move { Table::measure(&uri, &look, &lake).await });
    task.await.map_err(|error| Error::Usage { message: format!("the measurement stopped: {error}") })?
}

/// One row for each column of either table, in the order of the current one, then what only the reference has.
fn compare(reference: &Table, current: &Table, bins: u16) -> Result<RecordBatch> {
    let options = DriftOptions { bins: Bins::Count(bins), ..DriftOptions::default() };
    let (mut drifts, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for now in &current.columns {
        let old = reference.columns.iter().find(|column| column.name == now.name);
        let drift = match old {
            None => because("the reference has no such column"),
            Some(old) if old.kind != now.kind => because(&format!("the reference's column has type {}", old.data_type)),
            Some(old) => compare_columns(&old.state, &now.state, &options)?,
        };
        drifts.push(row(now, old, reference, current, drift));
        before.push(profile(old));
        after.push(profile(Some(now)));
    }
    for old in &reference.columns {
        if current.columns.iter().all(|column| column.name != old.name) {
            let mut gone = row(old, Some(old), reference, current, because("the current table has no such column"));
            gone.current = ColumnProfile { count: current.rows, ..ColumnProfile::default() };
            drifts.push(gone);
            before.push(profile(Some(old)));
            after.push(profile(None));
        }
    }
    let drift = without(&drift_batch(&drift_schema(&Shape::default()), &drifts, 0)?, &WITHOUT_MEANING)?;
    let (mut fields, mut columns) = (drift.schema().fields().to_vec(), drift.columns().to_vec());
    for (name, profiles) in [("reference", before), ("current", after)] {
        let side = side(&profiles)?;
        fields.push(Arc::new(Field::new(name, side.data_type().clone(), true)));
        columns.push(side);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn because(reason: &str) -> ColumnDrift {
    ColumnDrift { reason: Some(reason.to_owned()), ..ColumnDrift::default() }
}

fn row(now: &Measured, old: Option<&Measured>, reference: &Table, current: &Table, drift: ColumnDrift) -> DriftRow {
    let absent = |rows: u64| ColumnProfile { count: rows, ..ColumnProfile::default() };
    DriftRow {
        window: None,
        window_cmp: None,
        drift_type: DRIFT_BASELINE,
        granularity: None,
        monitor_version: 0,
        slice: None,
        model: None,
        model_cmp: None,
        column: now.name.clone(),
        data_type: Some(now.data_type.clone()),
        kind: Some(now.kind),
        current: if current.columns.iter().any(|column| column.name == now.name) {
            now.state.profile()
        } else {
            absent(current.rows)
        },
        comparison: old.map_or_else(|| absent(reference.rows), |old| old.state.profile()),
        drift,
        sides: None,
        non_null_delta: None,
        window_complete: None,
    }
}

/// The profile row of one side, or none if the side lacks the column.
fn profile(column: Option<&Measured>) -> Option<ProfileRow> {
    let column = column?;
    Some(ProfileRow {
        data_type: Some(column.data_type.clone()),
        ..ProfileRow::bare(&column.name, column.state.profile())
    })
}

fn side(profiles: &[Option<ProfileRow>]) -> Result<ArrayRef> {
    let absent = ProfileRow::bare("", ColumnProfile::default());
    let rows: Vec<ProfileRow> = profiles.iter().map(|row| row.clone().unwrap_or_else(|| absent.clone())).collect();
    let batch = without(&profile_batch(&profile_schema(&Shape::default()), &rows, 0)?, &WITHOUT_MEANING_INSIDE)?;
    let present = profiles.iter().map(Option::is_some).collect();
    Ok(Arc::new(StructArray::new(batch.schema().fields().clone(), batch.columns().to_vec(), Some(present))))
}

/// Whether the metric of any column passes the limit.
fn passes(batch: &RecordBatch, limit: &FailOn) -> Result<bool> {
    let mut path = limit.metric.split('.');
    let mut values: Option<ArrayRef> = path.next().and_then(|name| batch.column_by_name(name)).cloned();
    for field in path {
        values = values.and_then(|values| values.as_struct_opt()?.column_by_name(field).cloned());
    }
    let Some(values) = values else { return Ok(false) };
    let values = arrow::compute::cast(&values, &DataType::Float64)?;
    Ok(values.as_primitive::<Float64Type>().iter().flatten().any(|value| limit.is_passed_by(value)))
}

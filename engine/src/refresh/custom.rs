//! Rows of the metric tables with the columns of custom metrics.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use limno_metrics::schema::{Shape, profile_schema};

use super::drift_rows::{DriftRow, drift_batch};
use super::profile_rows::{ProfileRow, profile_batch};
use crate::Result;
use crate::config::MetricKind;
use crate::monitor::BoundMonitor;

/// The rows of the profile table under its schema, metrics that are derived from others included.
///
/// # Errors
/// When the schema does not fit the rows, which would be a defect.
pub(super) fn profile_rows(monitor: &BoundMonitor, rows: &[ProfileRow], refreshed_at: i64) -> Result<RecordBatch> {
    let bare = Shape { profile: Vec::new(), drift: Vec::new(), ..monitor.shape() };
    let mut batch = profile_batch(&profile_schema(&bare), rows, refreshed_at)?;
    let columns: Vec<&str> = rows.iter().map(|row| row.column.as_str()).collect();
    let metrics = monitor.metrics.iter().filter(|metric| metric.kind != MetricKind::Drift);
    for (position, metric) in metrics.enumerate() {
        let values = match metric.kind {
            MetricKind::Derived => metric.derive(&batch, &columns)?,
            MetricKind::Aggregate | MetricKind::Drift => {
                let none = new_null_array(metric.field.data_type(), 1);
                let values: Vec<&dyn Array> = rows
                    .iter()
                    .map(|row| row.custom.get(position).and_then(Option::as_ref).unwrap_or(&none).as_ref())
                    .collect();
                joined(&values, &none)?
            }
        };
        batch = with_column(&batch, Arc::clone(&metric.field), values)?;
    }
    Ok(batch)
}

/// The rows of the drift table under its schema.
///
/// # Errors
/// As [`profile_rows`].
pub(super) fn drift_rows(
    monitor: &BoundMonitor,
    schema: &SchemaRef,
    rows: &[DriftRow],
    refreshed_at: i64,
) -> Result<RecordBatch> {
    let metrics: Vec<_> = monitor.metrics.iter().filter(|metric| metric.kind == MetricKind::Drift).collect();
    if metrics.is_empty() {
        return drift_batch(schema, rows, refreshed_at);
    }
    let own = schema.fields().len() - metrics.len();
    let bare: SchemaRef = Arc::new(Schema::new(schema.fields()[..own].to_vec()));
    let mut batch = drift_batch(&bare, rows, refreshed_at)?;
    let columns: Vec<&str> = rows.iter().map(|row| row.column.as_str()).collect();
    let side = |of: fn(&(ProfileRow, ProfileRow)) -> &ProfileRow| -> Result<RecordBatch> {
        let side = |row: &DriftRow| match &row.sides {
            Some(sides) => of(sides).clone(),
            None => ProfileRow::bare(&row.column, limno_metrics::profile::ColumnProfile::default()),
        };
        profile_rows(monitor, &rows.iter().map(side).collect::<Vec<_>>(), refreshed_at)
    };
    let (current, base) = (side(|sides| &sides.0)?, side(|sides| &sides.1)?);
    for metric in metrics {
        let values = metric.compare(&current, &base, &columns)?;
        batch = with_column(&batch, Arc::clone(&metric.field), values)?;
    }
    Ok(batch)
}

fn joined(values: &[&dyn Array], none: &ArrayRef) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(none.slice(0, 0));
    }
    Ok(arrow::compute::concat(values)?)
}

fn with_column(batch: &RecordBatch, field: arrow::datatypes::FieldRef, values: ArrayRef) -> Result<RecordBatch> {
    let fields: Vec<_> = batch.schema().fields().iter().cloned().chain([field]).collect();
    let columns = batch.columns().iter().cloned().chain([values]).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

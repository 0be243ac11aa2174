//! The table `refreshes`: one row for each refresh, and with it the version up to which a monitor has been processed.
//!
//! The row is written last. A refresh that was cut off has left none, so the next one does all of it again; it writes
//! the same rows, and alerts are found once by their ids.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use limno_metrics::schema::timestamp;

use crate::{Error, Result};

/// One refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefreshRow {
    /// The monitor.
    pub monitor: String,
    /// When, in microseconds.
    pub refreshed_at: i64,
    /// Delta version of the monitored table; `None` for files.
    pub commit_version: Option<i64>,
    /// What was read: the table's identity and version, or the files.
    pub source_version: String,
    /// The same of the baseline.
    pub baseline_version: Option<String>,
    /// Digest of everything in the configuration that metric rows depend on.
    pub config_digest: String,
    /// Counts the configurations of the monitor, from 0.
    pub monitor_version: i64,
    /// Rows read.
    pub rows: i64,
    /// Rows whose timestamp is null or does not parse.
    pub rows_without_window: i64,
    /// Windows.
    pub windows: i64,
    /// Rows of the profile table.
    pub profile_rows: i64,
    /// Rows of the drift table.
    pub drift_rows: i64,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    let bigint = |name: &str| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        string("monitor"),
        Field::new("refreshed_at", timestamp(), true),
        bigint("commit_version"),
        string("source_version"),
        string("baseline_version"),
        string("config_digest"),
        bigint("monitor_version"),
        bigint("rows"),
        bigint("rows_without_window"),
        bigint("windows"),
        bigint("profile_rows"),
        bigint("drift_rows"),
    ]))
});

impl RefreshRow {
    /// The row as a batch.
    ///
    /// # Errors
    /// When it does not fit the schema, which would be a defect.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let string = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let bigint = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        let columns = vec![
            string(Some(&self.monitor)),
            Arc::new(TimestampMicrosecondArray::from(vec![self.refreshed_at]).with_timezone("UTC")),
            bigint(self.commit_version),
            string(Some(&self.source_version)),
            string(self.baseline_version.as_deref()),
            string(Some(&self.config_digest)),
            bigint(Some(self.monitor_version)),
            bigint(Some(self.rows)),
            bigint(Some(self.rows_without_window)),
            bigint(Some(self.windows)),
            bigint(Some(self.profile_rows)),
            bigint(Some(self.drift_rows)),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
    }

    /// The latest row of `monitor`.
    ///
    /// # Errors
    /// When the table is not of this shape.
    pub fn latest(batch: &RecordBatch, monitor: &str) -> Result<Option<Self>> {
        let typed = |name: &str, data_type: &DataType| -> Result<ArrayRef> {
            let values = batch.column_by_name(name).ok_or_else(|| Error::Usage {
                message: format!("the table of refreshes has no column {name}: it was not written by limno"),
            })?;
            Ok(arrow::compute::cast(values, data_type)?)
        };
        let string = |name: &str| typed(name, &DataType::Utf8);
        let bigint = |name: &str| typed(name, &DataType::Int64);
        let (monitors, times) = (string("monitor")?, typed("refreshed_at", &timestamp())?);
        let (monitors, times) = (monitors.as_string::<i32>(), times.as_primitive::<TimestampMicrosecondType>());
        let versions = bigint("monitor_version")?;
        let versions = versions.as_primitive::<Int64Type>();
        let own = (0..batch.num_rows()).filter(|&row| monitors.value(row) == monitor);
        let Some(row) = own.max_by_key(|&row| (times.value(row), versions.value(row))) else { return Ok(None) };
        let text = |name: &str| -> Result<Option<String>> {
            let values = string(name)?;
            let values = values.as_string::<i32>();
            Ok(values.is_valid(row).then(|| values.value(row).to_owned()))
        };
        let number = |name: &str| -> Result<Option<i64>> {
            let values = bigint(name)?;
            let values = values.as_primitive::<Int64Type>();
            Ok(values.is_valid(row).then(|| values.value(row)))
        };
        Ok(Some(Self {
            monitor: monitor.to_owned(),
            refreshed_at: times.value(row),
            commit_version: number("commit_version")?,
            source_version: text("source_version")?.unwrap_or_default(),
            baseline_version: text("baseline_version")?,
            config_digest: text("config_digest")?.unwrap_or_default(),
            monitor_version: versions.value(row),
            rows: number("rows")?.unwrap_or(0),
            rows_without_window: number("rows_without_window")?.unwrap_or(0),
            windows: number("windows")?.unwrap_or(0),
            profile_rows: number("profile_rows")?.unwrap_or(0),
            drift_rows: number("drift_rows")?.unwrap_or(0),
        }))
    }
}

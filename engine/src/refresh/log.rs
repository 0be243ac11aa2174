//! The table `refreshes`: one row for each refresh that changed something or failed.
//!
//! It is for people. What a refresh starts from stands in the ledger, so a row that was never written costs nothing.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use limno_metrics::schema::timestamp;
use limno_sql::secret::redact;

use crate::Result;

/// One refresh.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RefreshRow {
    /// The monitor.
    pub monitor: String,
    /// When, in microseconds.
    pub refreshed_at: i64,
    /// `ok`, `partial` if some columns or windows could not be read and are tried again, or `failed`.
    pub result: &'static str,
    /// `incremental` or `full`; `None` if it failed before that was known.
    pub mode: Option<&'static str>,
    /// Why a full one.
    pub reason: Option<String>,
    /// Delta version of the monitored table that was processed before; `None` on a first refresh and for files.
    pub from_version: Option<i64>,
    /// Delta version of the monitored table; `None` for files.
    pub commit_version: Option<i64>,
    /// Version of the ledger that holds the states.
    pub ledger_version: Option<i64>,
    /// Counts the configurations of the monitor, from 0.
    pub monitor_version: i64,
    /// Data files read, of the monitored table and the baseline.
    pub files_read: i64,
    /// Their size.
    pub bytes_read: i64,
    /// Rows read of the monitored table.
    pub rows: i64,
    /// Of those, rows whose timestamp is null or does not parse.
    pub rows_without_window: i64,
    /// Of those, rows in windows that were complete before.
    pub late_rows: i64,
    /// Rows that came for windows whose states had been dropped: they change nothing any more.
    pub rows_before_retention: i64,
    /// Requests of a log whose status is not looked at.
    pub filtered_rows: i64,
    /// Requests of a log that repeat another.
    pub duplicate_rows: i64,
    /// Requests of a log, or rows of one, that could not be parsed.
    pub malformed_rows: i64,
    /// Windows whose rows were written.
    pub windows: i64,
    /// Rows written to the profile table.
    pub profile_rows: i64,
    /// Rows written to the drift table.
    pub drift_rows: i64,
    /// How long it took.
    pub stages: Stages,
    /// Why it failed, or what could not be read.
    pub error: Option<String>,
}

/// Seconds by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stages {
    /// To find what to read.
    pub planning: f64,
    /// To read it.
    pub reading: f64,
    /// To merge it into the ledger.
    pub merging: f64,
    /// To write the metric tables.
    pub measuring: f64,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    let bigint = |name: &str| Field::new(name, DataType::Int64, true);
    let double = |name: &str| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        string("monitor"),
        Field::new("refreshed_at", timestamp(), true),
        string("result"),
        string("mode"),
        string("reason"),
        bigint("from_version"),
        bigint("commit_version"),
        bigint("ledger_version"),
        bigint("monitor_version"),
        bigint("files_read"),
        bigint("bytes_read"),
        bigint("rows"),
        bigint("rows_without_window"),
        bigint("late_rows"),
        bigint("rows_before_retention"),
        bigint("filtered_rows"),
        bigint("duplicate_rows"),
        bigint("malformed_rows"),
        bigint("windows"),
        bigint("profile_rows"),
        bigint("drift_rows"),
        double("planning_seconds"),
        double("reading_seconds"),
        double("merging_seconds"),
        double("measuring_seconds"),
        string("error"),
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
        let double = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
        let columns = vec![
            string(Some(&self.monitor)),
            Arc::new(TimestampMicrosecondArray::from(vec![self.refreshed_at]).with_timezone("UTC")),
            string(Some(self.result)),
            string(self.mode),
            string(self.reason.as_deref()),
            bigint(self.from_version),
            bigint(self.commit_version),
            bigint(self.ledger_version),
            bigint(Some(self.monitor_version)),
            bigint(Some(self.files_read)),
            bigint(Some(self.bytes_read)),
            bigint(Some(self.rows)),
            bigint(Some(self.rows_without_window)),
            bigint(Some(self.late_rows)),
            bigint(Some(self.rows_before_retention)),
            bigint(Some(self.filtered_rows)),
            bigint(Some(self.duplicate_rows)),
            bigint(Some(self.malformed_rows)),
            bigint(Some(self.windows)),
            bigint(Some(self.profile_rows)),
            bigint(Some(self.drift_rows)),
            double(self.stages.planning),
            double(self.stages.reading),
            double(self.stages.merging),
            double(self.stages.measuring),
            string(self.error.as_deref().map(redact).as_deref()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
    }
}

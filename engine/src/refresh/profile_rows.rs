//! Rows of `<monitor>_profile_metrics` as an Arrow batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int32Array, Int64Array, Int64Builder, ListBuilder,
    RecordBatch, StringArray, StringBuilder, StructArray, StructBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use limno_metrics::profile::ColumnProfile;
use limno_metrics::quality::{Fairness, Quality};
use limno_metrics::schema::{LOG_TYPE_INPUT, item_fields, window_fields};
use limno_sql::window::Window;

use super::quality_rows::quality_column;
use crate::Result;

/// One row.
#[derive(Debug, Clone)]
pub struct ProfileRow {
    /// The window; `None` for rows over the baseline.
    pub window: Option<Window>,
    /// `INPUT` or `BASELINE`.
    pub log_type: &'static str,
    /// Delta version of the table that was read.
    pub commit_version: Option<u64>,
    /// Version of the monitor's configuration.
    pub monitor_version: i64,
    /// Length of the window.
    pub granularity: Option<String>,
    /// Slice key and value.
    pub slice: Option<(String, Option<String>)>,
    /// Model id, or `*` for all.
    pub model: Option<String>,
    /// The column, or `:table`.
    pub column: String,
    /// Spark's name of its type; `None` for `:table`.
    pub data_type: Option<String>,
    /// Its numbers; of `:table`, only the count.
    pub profile: ColumnProfile,
    /// Columns with at least one value; only for `:table`.
    pub non_null_columns: Option<Vec<String>>,
    /// How good the model's predictions are; only for `:table`.
    pub quality: Option<Arc<Quality>>,
    /// How they are for the rows of a predicate beside all others; only for `:table`.
    pub fairness: Option<Arc<Fairness>>,
    /// The values of custom metrics, each a single one, in the order of their columns.
    pub custom: Vec<Option<ArrayRef>>,
    /// Whether the window had ended, grace included, when the row was written.
    pub window_complete: Option<bool>,
}

impl ProfileRow {
    /// A row of no monitor: a column, or `:table`, and its numbers.
    #[must_use]
    pub fn bare(column: &str, profile: ColumnProfile) -> Self {
        Self {
            window: None,
            log_type: LOG_TYPE_INPUT,
            commit_version: None,
            monitor_version: 0,
            granularity: None,
            slice: None,
            model: None,
            column: column.to_owned(),
            data_type: None,
            profile,
            non_null_columns: None,
            quality: None,
            fairness: None,
            custom: Vec::new(),
            window_complete: None,
        }
    }
}

/// The rows under `schema`, which [`profile_schema`](limno_metrics::schema::profile_schema) made.
///
/// # Errors
/// When the schema names a column that rows do not have, which would be a defect.
pub fn profile_batch(schema: &SchemaRef, rows: &[ProfileRow], refreshed_at: i64) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| profile_column(field, rows, refreshed_at)).collect::<Vec<_>>();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn profile_column(field: &Field, rows: &[ProfileRow], refreshed_at: i64) -> ArrayRef {
    let is_column = |row: &&ProfileRow| row.data_type.is_some();
    let double = |of: &dyn Fn(&ColumnProfile) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(&row.profile)).collect::<Float64Array>())
    };
    let bigint = |of: &dyn Fn(&ColumnProfile) -> Option<u64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(&row.profile).map(signed)).collect::<Int64Array>())
    };
    match field.name().as_str() {
        "window" => windows(rows.iter().map(|row| row.window)),
        "log_type" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.log_type))),
        "logging_table_commit_version" => Arc::new(
            rows.iter().map(|row| row.commit_version.and_then(|v| i32::try_from(v).ok())).collect::<Int32Array>(),
        ),
        "monitor_version" => Arc::new(rows.iter().map(|row| Some(row.monitor_version)).collect::<Int64Array>()),
        "granularity" => strings(rows.iter().map(|row| row.granularity.as_deref())),
        "slice_key" => strings(rows.iter().map(|row| row.slice.as_ref().map(|slice| slice.0.as_str()))),
        "slice_value" => strings(rows.iter().map(|row| row.slice.as_ref().and_then(|slice| slice.1.as_deref()))),
        "column_name" => strings(rows.iter().map(|row| Some(row.column.as_str()))),
        "count" => bigint(&|profile| Some(profile.count)),
        "data_type" => strings(rows.iter().map(|row| row.data_type.as_deref())),
        "num_nulls" => Arc::new(
            rows.iter()
                .map(|row| Some(row).filter(is_column).map(|r| signed(r.profile.num_nulls)))
                .collect::<Int64Array>(),
        ),
        "avg" => double(&|profile| profile.avg),
        "quantiles" => quantiles(rows),
        "min" => double(&|profile| profile.min),
        "max" => double(&|profile| profile.max),
        "stddev" => double(&|profile| profile.stddev),
        "num_zeros" => bigint(&|profile| profile.num_zeros),
        "num_nan" => bigint(&|profile| profile.num_nan),
        "min_length" => double(&|profile| profile.min_length),
        "max_length" => double(&|profile| profile.max_length),
        "avg_length" => double(&|profile| profile.avg_length),
        "non_null_columns" => string_lists(rows.iter().map(|row| row.non_null_columns.as_deref())),
        "frequent_items" => frequent_items(rows),
        "median" => double(&ColumnProfile::median),
        "distinct_count" => bigint(&|profile| profile.distinct_count),
        "percent_nan" => double(&ColumnProfile::percent_nan),
        "percent_null" => Arc::new(
            rows.iter()
                .map(|row| Some(row).filter(is_column).and_then(|r| r.profile.percent_null()))
                .collect::<Float64Array>(),
        ),
        "percent_zeros" => double(&ColumnProfile::percent_zeros),
        "percent_distinct" => double(&ColumnProfile::percent_distinct),
        "num_infinite" => bigint(&|profile| profile.num_infinite),
        "distinct_is_exact" => Arc::new(rows.iter().map(|row| row.profile.distinct_is_exact).collect::<BooleanArray>()),
        "level" => Arc::new(rows.iter().map(|row| row.profile.level.map(i32::from)).collect::<Int32Array>()),
        "quantile_error" => double(&|profile| profile.quantile_error),
        "skewness" => double(&|profile| Some(profile.skewness?.value)),
        "skewness_error" => double(&|profile| Some(profile.skewness?.error())),
        "window_complete" => Arc::new(rows.iter().map(|row| row.window_complete).collect::<BooleanArray>()),
        "reason" => strings(rows.iter().map(|row| row.profile.reason.as_deref())),
        "refreshed_at" => timestamps(rows.iter().map(|_| Some(refreshed_at))),
        name => quality_column(name, rows).unwrap_or_else(|| {
            // The only name left is the user's, of the model column.
            strings(rows.iter().map(|row| row.model.as_deref()))
        }),
    }
}

/// Counts are below 2⁶³ on any machine.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn strings<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn timestamps(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

pub(super) fn windows(values: impl Iterator<Item = Option<Window>> + Clone) -> ArrayRef {
    let starts = timestamps(values.clone().map(|window| window.map(|window| window.start)));
    let ends = timestamps(values.clone().map(|window| window.map(|window| window.end)));
    let present: NullBuffer = values.map(|window| window.is_some()).collect();
    Arc::new(StructArray::new(window_fields(), vec![starts, ends], Some(present)))
}

fn string_lists<'a>(values: impl Iterator<Item = Option<&'a [String]>>) -> ArrayRef {
    let element = Field::new("element", DataType::Utf8, true);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(element);
    for value in values {
        for item in value.unwrap_or_default() {
            builder.values().append_value(item);
        }
        builder.append(value.is_some());
    }
    Arc::new(builder.finish())
}

fn quantiles(rows: &[ProfileRow]) -> ArrayRef {
    let element = Field::new("element", DataType::Float64, true);
    let mut builder = ListBuilder::new(Float64Builder::new()).with_field(element);
    for row in rows {
        let quantiles = row.profile.quantiles.as_deref();
        builder.values().append_slice(quantiles.unwrap_or_default());
        builder.append(quantiles.is_some());
    }
    Arc::new(builder.finish())
}

fn frequent_items(rows: &[ProfileRow]) -> ArrayRef {
    let fields = item_fields();
    let element = Field::new("element", DataType::Struct(fields.clone()), true);
    let mut builder = ListBuilder::new(StructBuilder::from_fields(fields, 0)).with_field(element);
    for row in rows {
        let items = row.profile.frequent_items.as_deref();
        for (item, count) in items.unwrap_or_default() {
            let fields = builder.values();
            if let Some(text) = fields.field_builder::<StringBuilder>(0) {
                text.append_value(item);
            }
            if let Some(number) = fields.field_builder::<Int64Builder>(1) {
                number.append_value(signed(*count));
            }
            fields.append(true);
        }
        builder.append(items.is_some());
    }
    Arc::new(builder.finish())
}

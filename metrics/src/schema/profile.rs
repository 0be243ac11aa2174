//! `<monitor>_profile_metrics`: one row for each window, model, slice and column.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Shape, item_fields, list_of, timestamp, window_fields};

/// The numeric columns that a rule may name.
pub const PROFILE_METRICS: &[&str] = &[
    "count",
    "num_nulls",
    "avg",
    "min",
    "max",
    "stddev",
    "num_zeros",
    "num_nan",
    "min_length",
    "max_length",
    "avg_length",
    "median",
    "distinct_count",
    "percent_nan",
    "percent_null",
    "percent_zeros",
    "percent_distinct",
    "num_infinite",
    "skewness",
    "skewness_error",
    "quantile_error",
];

/// The schema of a monitor's table.
#[must_use]
pub fn profile_schema(shape: &Shape) -> SchemaRef {
    let double = |name: &str| Field::new(name, DataType::Float64, true);
    let bigint = |name: &str| Field::new(name, DataType::Int64, true);
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    let mut fields = vec![
        Field::new("window", DataType::Struct(window_fields()), true),
        string("log_type"),
        Field::new("logging_table_commit_version", DataType::Int32, true),
        bigint("monitor_version"),
        string("granularity"),
        string("slice_key"),
        string("slice_value"),
        string("column_name"),
        bigint("count"),
        string("data_type"),
        bigint("num_nulls"),
        double("avg"),
        Field::new("quantiles", list_of(DataType::Float64), true),
        double("min"),
        double("max"),
        double("stddev"),
        bigint("num_zeros"),
        bigint("num_nan"),
        double("min_length"),
        double("max_length"),
        double("avg_length"),
        Field::new("non_null_columns", list_of(DataType::Utf8), true),
        Field::new("frequent_items", list_of(DataType::Struct(item_fields())), true),
        double("median"),
        bigint("distinct_count"),
        double("percent_nan"),
        double("percent_null"),
        double("percent_zeros"),
        double("percent_distinct"),
    ];
    fields.extend(shape.model_id.as_deref().map(string));
    fields.extend(shape.quality.into_iter().flat_map(super::QualityColumns::fields));
    fields.extend([
        // Ours.
        bigint("num_infinite"),
        Field::new("distinct_is_exact", DataType::Boolean, true),
        Field::new("level", DataType::Int32, true),
        double("quantile_error"),
        double("skewness"),
        double("skewness_error"),
        Field::new("window_complete", DataType::Boolean, true),
        string("reason"),
        Field::new("refreshed_at", timestamp(), true),
    ]);
    fields.extend(shape.quality.into_iter().flat_map(super::QualityColumns::own_fields));
    fields.extend(shape.profile.iter().map(|field| field.as_ref().clone()));
    Arc::new(Schema::new(fields))
}

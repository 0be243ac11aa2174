//! Names and Arrow types of the metric tables.
//!
//! The columns that Databricks' tables have keep their names, types and meaning; ours stand after them. Each
//! constant is the only home of its string.

mod drift;
mod profile;
mod quality;

pub use drift::{DRIFT_METRICS, drift_schema};
pub use profile::{PROFILE_METRICS, profile_schema};
pub use quality::{QualityColumns, class_score_fields, confusion_fields, map_entries};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};

/// The pseudo column that stands for the table as a whole.
pub const TABLE_COLUMN: &str = ":table";
/// The model id of rows over all models.
pub const ALL_MODELS: &str = "*";
/// Log type of rows over the monitored table.
pub const LOG_TYPE_INPUT: &str = "INPUT";
/// Log type of rows over the baseline table.
pub const LOG_TYPE_BASELINE: &str = "BASELINE";
/// Drift against the window just before.
pub const DRIFT_CONSECUTIVE: &str = "CONSECUTIVE";
/// Drift against the baseline table.
pub const DRIFT_BASELINE: &str = "BASELINE";

/// What of the metric tables' columns hangs on the monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// The user's name of the model column of an inference log.
    pub model_id: Option<String>,
    /// The columns of model quality, where there are labels to tell it.
    pub quality: Option<QualityColumns>,
    /// The columns of custom metrics in the profile table.
    pub profile: Vec<FieldRef>,
    /// The columns of custom metrics in the drift table.
    pub drift: Vec<FieldRef>,
}

impl Shape {
    /// The shape of a table with this model column and nothing else of its own.
    #[must_use]
    pub fn of_model(model_id: Option<&str>) -> Self {
        Self { model_id: model_id.map(str::to_owned), ..Self::default() }
    }
}

/// A timestamp as Delta has it: microseconds, in UTC.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `struct<start, end>`, half open.
#[must_use]
pub fn window_fields() -> Fields {
    Fields::from(vec![Field::new("start", timestamp(), true), Field::new("end", timestamp(), true)])
}

/// `struct<statistic, pvalue>`.
#[must_use]
pub fn test_fields() -> Fields {
    Fields::from(vec![Field::new("statistic", DataType::Float64, true), Field::new("pvalue", DataType::Float64, true)])
}

/// An item of `frequent_items`.
#[must_use]
pub fn item_fields() -> Fields {
    Fields::from(vec![Field::new("item", DataType::Utf8, true), Field::new("count", DataType::Int64, true)])
}

/// An item of `psi_bins`: the bin, the shares of both sides and its part of the index.
#[must_use]
pub fn bin_fields() -> Fields {
    Fields::from(vec![
        Field::new("bin", DataType::Utf8, true),
        Field::new("share_cmp", DataType::Float64, true),
        Field::new("share", DataType::Float64, true),
        Field::new("contribution", DataType::Float64, true),
    ])
}

/// `struct<added, missing>` of column counts.
#[must_use]
pub fn non_null_delta_fields() -> Fields {
    Fields::from(vec![Field::new("added", DataType::Int32, true), Field::new("missing", DataType::Int32, true)])
}

fn list_of(item: DataType) -> DataType {
    DataType::List(std::sync::Arc::new(Field::new("element", item, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_a_numeric_column_of_its_table() {
        let shape = Shape::of_model(Some("model"));
        let classes = Shape { quality: Some(QualityColumns::Classification), ..shape.clone() };
        let numbers = Shape { quality: Some(QualityColumns::Regression), ..shape.clone() };
        let with = |quality: QualityColumns| [PROFILE_METRICS, quality.metrics()].concat();
        for (schema, metrics) in [
            (profile_schema(&shape), PROFILE_METRICS.to_vec()),
            (profile_schema(&classes), with(QualityColumns::Classification)),
            (profile_schema(&numbers), with(QualityColumns::Regression)),
            (drift_schema(&shape), DRIFT_METRICS.to_vec()),
        ] {
            for metric in &metrics {
                let (column, field) = metric.split_once('.').map_or((*metric, None), |(c, f)| (c, Some(f)));
                let mut data_type = schema.field_with_name(column).unwrap().data_type().clone();
                if let (DataType::Struct(fields), Some(field)) = (&data_type, field) {
                    data_type = fields.find(field).unwrap().1.data_type().clone();
                }
                assert!(data_type.is_numeric(), "{metric}");
            }
            for field in schema.fields().iter().filter(|field| field.data_type() == &DataType::Float64) {
                assert!(metrics.contains(&field.name().as_str()), "a rule cannot name {}", field.name());
            }
        }
    }
}

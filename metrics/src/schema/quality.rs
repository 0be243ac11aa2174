//! The columns of model quality in the profile table. They are filled on the rows of the table as a whole.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::list_of;

/// Which columns of model quality a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QualityColumns {
    /// Those of predicted classes.
    Classification,
    /// Those of predicted numbers.
    Regression,
}

impl QualityColumns {
    /// The columns that Databricks' table has.
    pub(super) fn fields(self) -> Vec<Field> {
        match self {
            Self::Classification => vec![
                double("accuracy_score"),
                Field::new("confusion_matrix", list_of(DataType::Struct(confusion_fields())), true),
                scores("precision"),
                scores("recall"),
                scores("f1_score"),
                scores("roc_auc_score"),
                double("log_loss"),
                by_class("predictive_parity"),
                by_class("predictive_equality"),
                by_class("equal_opportunity"),
                by_class("statistical_parity"),
            ],
            Self::Regression => vec![
                double("mean_squared_error"),
                double("root_mean_squared_error"),
                double("mean_average_error"),
                double("mean_absolute_percentage_error"),
                double("r2_score"),
            ],
        }
    }

    /// Ours.
    pub(super) fn own_fields(self) -> Vec<Field> {
        let counts = ["labeled_count", "evaluated_count"].map(|name| Field::new(name, DataType::Int64, true));
        let own = match self {
            Self::Classification => vec![
                scores("roc_auc_error"),
                double("brier_score"),
                double("calibration_error"),
                by_class("predictive_parity_ratio"),
                by_class("predictive_equality_ratio"),
                by_class("equal_opportunity_ratio"),
                by_class("statistical_parity_ratio"),
            ],
            Self::Regression => {
                vec![double("median_absolute_error"), double("median_absolute_error_bound"), double("mean_error")]
            }
        };
        counts.into_iter().chain(own).collect()
    }

    /// The numeric columns that a rule may name.
    #[must_use]
    pub const fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::Classification => &[
                "accuracy_score",
                "precision.macro",
                "precision.weighted",
                "recall.macro",
                "recall.weighted",
                "f1_score.macro",
                "f1_score.weighted",
                "roc_auc_score.macro",
                "roc_auc_score.weighted",
                "log_loss",
                "labeled_count",
                "evaluated_count",
                "roc_auc_error.macro",
                "roc_auc_error.weighted",
                "brier_score",
                "calibration_error",
            ],
            Self::Regression => &[
                "mean_squared_error",
                "root_mean_squared_error",
                "mean_average_error",
                "mean_absolute_percentage_error",
                "r2_score",
                "labeled_count",
                "evaluated_count",
                "median_absolute_error",
                "median_absolute_error_bound",
                "mean_error",
            ],
        }
    }
}

fn double(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

fn scores(name: &str) -> Field {
    Field::new(name, DataType::Struct(class_score_fields()), true)
}

fn by_class(name: &str) -> Field {
    Field::new(name, DataType::Map(Arc::new(map_entries()), false), true)
}

/// The entries of `map<string, double>`.
#[must_use]
pub fn map_entries() -> Field {
    let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Float64, true)];
    Field::new("key_value", DataType::Struct(Fields::from(fields)), false)
}

/// `struct<one_vs_all: map<string, double>, macro, weighted>`.
#[must_use]
pub fn class_score_fields() -> Fields {
    Fields::from(vec![by_class("one_vs_all"), double("macro"), double("weighted")])
}

/// An item of `confusion_matrix`.
#[must_use]
pub fn confusion_fields() -> Fields {
    Fields::from(vec![
        Field::new("prediction", DataType::Utf8, true),
        Field::new("label", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ])
}

//! The columns of model quality of `<monitor>_profile_metrics` as Arrow arrays.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Float64Builder, Int64Array, Int64Builder, ListBuilder, MapBuilder, MapFieldNames,
    StringBuilder, StructArray, StructBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use limno_metrics::quality::{ClassScores, Fairness, Parity, Quality};
use limno_metrics::schema::{class_score_fields, confusion_fields};

use super::profile_rows::{ProfileRow, signed};

type Numbers = [(String, f64)];

/// A column of model quality; `None` if no such column has this name.
pub(super) fn quality_column(name: &str, rows: &[ProfileRow]) -> Option<ArrayRef> {
    let double = |of: fn(&Quality) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(row.quality.as_ref()?)).collect::<Float64Array>())
    };
    let bigint = |of: fn(&Quality) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(signed(of(row.quality.as_ref()?)))).collect::<Int64Array>())
    };
    let scores = |of: fn(&Quality) -> Option<&ClassScores>| {
        class_scores(rows.iter().map(|row| row.quality.as_ref().and_then(|quality| of(quality))))
    };
    let parity = |of: fn(&Fairness) -> &Parity, is_ratio: bool| {
        maps(rows.iter().map(|row| {
            let parity = of(row.fairness.as_ref()?);
            Some(if is_ratio { parity.ratio.as_slice() } else { parity.difference.as_slice() })
        }))
    };
    Some(match name {
        "accuracy_score" => double(|quality| quality.accuracy),
        "confusion_matrix" => confusion(rows),
        "precision" => scores(|quality| quality.precision.as_ref()),
        "recall" => scores(|quality| quality.recall.as_ref()),
        "f1_score" => scores(|quality| quality.f1.as_ref()),
        "roc_auc_score" => scores(|quality| quality.roc_auc.as_ref()),
        "roc_auc_error" => scores(|quality| quality.roc_auc_error.as_ref()),
        "log_loss" => double(|quality| quality.log_loss),
        "brier_score" => double(|quality| quality.brier_score),
        "calibration_error" => double(|quality| quality.calibration_error),
        "predictive_parity" => parity(|fairness| &fairness.predictive_parity, false),
        "predictive_equality" => parity(|fairness| &fairness.predictive_equality, false),
        "equal_opportunity" => parity(|fairness| &fairness.equal_opportunity, false),
        "statistical_parity" => parity(|fairness| &fairness.statistical_parity, false),
        "predictive_parity_ratio" => parity(|fairness| &fairness.predictive_parity, true),
        "predictive_equality_ratio" => parity(|fairness| &fairness.predictive_equality, true),
        "equal_opportunity_ratio" => parity(|fairness| &fairness.equal_opportunity, true),
        "statistical_parity_ratio" => parity(|fairness| &fairness.statistical_parity, true),
        "mean_squared_error" => double(|quality| quality.mse),
        "root_mean_squared_error" => double(|quality| quality.rmse),
        "mean_average_error" => double(|quality| quality.mae),
        "mean_absolute_percentage_error" => double(|quality| quality.mape),
        "r2_score" => double(|quality| quality.r2),
        "median_absolute_error" => double(|quality| quality.median_absolute_error),
        "median_absolute_error_bound" => double(|quality| quality.median_absolute_error_error),
        "mean_error" => double(|quality| quality.mean_error),
        "labeled_count" => bigint(|quality| quality.labeled),
        "evaluated_count" => bigint(|quality| quality.evaluated),
        _ => return None,
    })
}

fn class_scores<'a>(values: impl Iterator<Item = Option<&'a ClassScores>> + Clone) -> ArrayRef {
    let by_class = maps(values.clone().map(|scores| scores.map(|scores| scores.one_vs_all.as_slice())));
    let means = values.clone().map(|scores| scores?.macro_avg).collect::<Float64Array>();
    let weighted = values.clone().map(|scores| scores?.weighted).collect::<Float64Array>();
    let present: NullBuffer = values.map(|scores| scores.is_some()).collect();
    let columns: Vec<ArrayRef> = vec![by_class, Arc::new(means), Arc::new(weighted)];
    Arc::new(StructArray::new(class_score_fields(), columns, Some(present)))
}

fn maps<'a>(values: impl Iterator<Item = Option<&'a Numbers>>) -> ArrayRef {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), Float64Builder::new());
    for numbers in values {
        for (class, number) in numbers.unwrap_or_default() {
            builder.keys().append_value(class);
            builder.values().append_value(*number);
        }
        // Each key has a value, so the two builders never differ in length.
        builder.append(numbers.is_some()).unwrap_or_default();
    }
    Arc::new(builder.finish())
}

fn confusion(rows: &[ProfileRow]) -> ArrayRef {
    let fields = confusion_fields();
    let element = Field::new("element", DataType::Struct(fields.clone()), true);
    let mut builder = ListBuilder::new(StructBuilder::from_fields(fields, 0)).with_field(element);
    for row in rows {
        let cells = row.quality.as_ref().and_then(|quality| quality.confusion.as_ref());
        for (prediction, label, count) in cells.into_iter().flatten() {
            let fields = builder.values();
            for (at, text) in [prediction, label].into_iter().enumerate() {
                if let Some(cell) = fields.field_builder::<StringBuilder>(at) {
                    cell.append_value(text);
                }
            }
            if let Some(number) = fields.field_builder::<Int64Builder>(2) {
                number.append_value(signed(*count));
            }
            fields.append(true);
        }
        builder.append(cells.is_some());
    }
    Arc::new(builder.finish())
}

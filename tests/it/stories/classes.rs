//! Classes are the same whatever type they are stored in.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use serde_json::json;

use crate::support_run::{Place, instant, numbers, table, texts, times};

#[test]
fn a_class_that_is_a_double_meets_the_integer() {
    let place = Place::new();
    let integers = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let rows = |label: ArrayRef| {
        table([
            ("at", times((0..4).map(|_| instant("2024-05-01T12:00:00Z")))),
            ("model", texts(["m"; 4])),
            ("prediction", numbers([1.0, 0.0, 1.0, 2.5])),
            ("label", label),
        ])
    };
    place.parquet("now.parquet", &rows(integers(&[1, 0, 0, 7])));
    place.parquet("before.parquet", &rows(numbers([1.0, 0.0, 0.0, 7.0])));
    place.configure(
        r#"
[monitor.m]
table    = "~/now.parquet"
output   = "~/out"
baseline = "~/before.parquet"
[monitor.m.inference_log]
timestamp     = "at"
granularities = ["1 day"]
model_id      = "model"
prediction    = "prediction"
label         = "label"
problem_type  = "classification"
"#,
    );
    place.refresh();
    let row = place.row(
        "SELECT population_stability_index AS psi, unseen_share, tv_distance AS tv FROM m_drift_metrics \
         WHERE column_name = 'label' AND drift_type = 'BASELINE' AND model = '*'",
    );
    assert_eq!(row, json!({ "psi": 0.0, "unseen_share": 0.0, "tv": 0.0 }));
    let items = place.row(
        "SELECT frequent_items[0].item AS item FROM m_profile_metrics \
         WHERE column_name = 'prediction' AND log_type = 'INPUT' AND model = '*'",
    );
    assert_eq!(items["item"], "1");
    let table = place.row("SELECT accuracy_score AS a FROM m_profile_metrics WHERE column_name = ':table' AND log_type = 'INPUT' AND model = '*'");
    assert_eq!(table["a"], 0.5);
}

/// Accuracy, recall of the class `true` or `1`, and the reason, of four predictions and their labels.
fn judged(prediction: ArrayRef, label: ArrayRef) -> serde_json::Value {
    let place = Place::new();
    let rows = table([
        ("at", times((0..4).map(|_| instant("2024-05-01T12:00:00Z")))),
        ("model", texts(["m"; 4])),
        ("prediction", prediction),
        ("label", label),
    ]);
    place.parquet("now.parquet", &rows);
    place.configure(
        "[monitor.m]\ntable = \"~/now.parquet\"\noutput = \"~/out\"\n[monitor.m.inference_log]\ntimestamp = \"at\"\n\
         granularities = [\"1 day\"]\nmodel_id = \"model\"\nprediction = \"prediction\"\nlabel = \"label\"\n\
         problem_type = \"classification\"\n",
    );
    place.refresh();
    place.row(
        "SELECT accuracy_score AS accuracy, recall.macro AS recall, evaluated_count AS n, reason FROM m_profile_metrics \
         WHERE column_name = ':table' AND model = '*'",
    )
}

#[test]
fn zero_and_one_are_false_and_true() {
    let booleans = || -> ArrayRef { Arc::new(BooleanArray::from(vec![true, false, false, true])) };
    let integers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 0, 1, 1])) };
    let right = json!({ "accuracy": 0.75, "recall": 0.75, "n": 4, "reason": null });
    assert_eq!(judged(integers(), booleans()), right);
    assert_eq!(judged(numbers([1.0, 0.0, 1.0, 1.0]), booleans()), right);
    let turned = judged(booleans(), integers());
    assert_eq!((&turned["accuracy"], &turned["reason"]), (&json!(0.75), &json!(null)));
    // What is neither is a class of its own, and NaN is none.
    let other = judged(numbers([1.0, 0.5, f64::NAN, 1.0]), booleans());
    assert_eq!((&other["n"], &other["accuracy"]), (&json!(3), &json!(2.0 / 3.0)));
}

#[test]
fn classes_that_never_meet_are_told() {
    let label = texts(["yes", "no", "no", "yes"]);
    let row = judged(numbers([1.0, 0.0, 1.0, 1.0]), label);
    assert_eq!((&row["accuracy"], &row["n"]), (&json!(0.0), &json!(4)));
    assert_eq!(row["reason"], "no class is both predicted and a label, so none can be right");
}

//! Classes are the same whatever type they are stored in.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
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

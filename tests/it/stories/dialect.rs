//! `limno sql` with queries as people have them for Databricks' metric tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use chrono::TimeDelta;
use serde_json::json;

use super::around;
use crate::support_run::{Place, instant, numbers, table, times};

/// Five days of predictions of two models, in columns of mixed case.
fn predictions() -> RecordBatch {
    let start = instant("2024-01-01T00:00:00Z");
    let at = (0..600).map(|row| start + TimeDelta::minutes(row * 12));
    let models = (0..600).map(|row| Some(if row % 3 == 0 { "2" } else { "1" }));
    let models: ArrayRef = Arc::new(models.collect::<StringArray>());
    table([
        ("at", times(at)),
        ("Model_Version", models),
        ("Predicted", numbers(around(0.0))),
        ("actual", numbers(around(1.0))),
    ])
}

#[test]
fn queries_for_databricks_tables_run_as_they_are() {
    let place = Place::new();
    place.parquet("t.parquet", &predictions());
    place.configure(
        r#"
[monitor.Loans]
table  = "~/t.parquet"
output = "~/out"
slices = ["Predicted > 30"]
[monitor.Loans.inference_log]
timestamp     = "at"
granularities = ["1 day"]
model_id      = "Model_Version"
prediction    = "Predicted"
problem_type  = "regression"
"#,
    );
    place.refresh();
    let row = place.row(
        r#"SELECT model_version, window.start AS day, quantiles[500] AS middle, Median, size(Quantiles) AS points,
             num_nulls / count AS share
           FROM main.ml.loans_profile_metrics
           WHERE column_name = "Predicted" AND slice_key IS NULL AND log_type = "INPUT" AND Model_Version != "*"
             AND window.end <= current_timestamp()
           ORDER BY window DESC, Model_Version DESC LIMIT 1"#,
    );
    let expected = json!({
        "Model_Version": "2", "day": "2024-01-05T00:00:00Z", "middle": 27.0, "median": 27.0, "points": 1001, "share": 0.0
    });
    assert_eq!(row, expected);
    let rows = place.sql(
        "SELECT `slice_value`, count(*) AS windows FROM `main`.`ml`.`Loans_profile_metrics` \
         WHERE slice_key = \"Predicted > 30\" AND column_name = \":table\" AND Model_Version = \"*\" \
         GROUP BY slice_value ORDER BY slice_value",
    );
    assert_eq!(rows, [json!({ "slice_value": "false", "windows": 5 }), json!({ "slice_value": "true", "windows": 5 })]);
    // What is not there is named, with what is.
    let ran = place.limno(&["sql", "SELECT avgg FROM main.ml.loans_profile_metrics"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("avgg") && ran.err.contains("hint: tables are"), "{}", ran.err);
    let ran = place.limno(&["sql", "DELETE FROM main.ml.loans_profile_metrics"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("DML not supported"), "{}", ran.err);
}

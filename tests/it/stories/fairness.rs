//! Whether a model treats groups alike, against fractions by hand, and slices that are small or of nulls.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support_run::{Place, instant, table, times};

/// Rows of one sex, given as hits, false alarms, misses and correct refusals, of which each third is of model 2.
type Group = (Option<&'static str>, [usize; 4]);

fn decisions(groups: &[Group]) -> RecordBatch {
    let mut cells: Vec<(Option<&str>, &str, &str)> = Vec::new();
    for (sex, counts) in groups {
        for (pair, count) in [("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")].into_iter().zip(counts) {
            cells.extend(vec![(*sex, pair.0, pair.1); *count]);
        }
    }
    let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let start = instant("2024-01-01T00:00:00Z");
    let models = (0..cells.len()).map(|row| Some(if row % 3 == 0 { "2" } else { "1" }));
    table([
        ("at", times((0..cells.len()).map(|row| start + TimeDelta::seconds(row.try_into().unwrap())))),
        ("sex", texts(cells.iter().map(|cell| cell.0).collect())),
        ("predicted", texts(cells.iter().map(|cell| Some(cell.1)).collect())),
        ("actual", texts(cells.iter().map(|cell| Some(cell.2)).collect())),
        ("model", texts(models.collect())),
    ])
}

fn monitored(groups: &[Group], min_slice_size: u64) -> Place {
    let place = Place::new();
    place.parquet("t.parquet", &decisions(groups));
    place.configure(&format!(
        r#"
[monitor.m]
table    = "~/t.parquet"
output   = "~/out"
slices   = ["sex = 'f'", "sex"]
min_slice_size = {min_slice_size}
[monitor.m.inference_log]
timestamp     = "at"
granularities = ["1 day"]
model_id      = "model"
prediction    = "predicted"
label         = "actual"
problem_type  = "classification"
"#
    ));
    place.refresh();
    place
}

const PARITIES: [&str; 4] = ["predictive_parity", "predictive_equality", "equal_opportunity", "statistical_parity"];

/// Predicted to be of a class, labelled so, both, and all rows.
struct Rates([f64; 4]);

impl Rates {
    fn of([hits, alarms, misses, refusals]: [usize; 4], is_yes: bool) -> Self {
        let [hits, alarms, misses, refusals] = [hits, alarms, misses, refusals].map(|count| count as f64);
        if is_yes { Self([hits, alarms, misses, refusals]) } else { Self([refusals, misses, alarms, hits]) }
    }

    /// Precision, false positive rate, recall, and the share of such predictions.
    fn of_parity(&self, parity: &str) -> f64 {
        let [hits, alarms, misses, refusals] = self.0;
        match parity {
            "predictive_parity" => hits / (hits + alarms),
            "predictive_equality" => alarms / (alarms + refusals),
            "equal_opportunity" => hits / (hits + misses),
            _ => (hits + alarms) / (hits + alarms + misses + refusals),
        }
    }
}

/// The differences and ratios of both classes.
fn check_parities(row: &Value, protected: [usize; 4], others: [usize; 4]) {
    for parity in PARITIES {
        for (class, is_yes) in [("yes", true), ("no", false)] {
            let [ours, theirs] = [protected, others].map(|counts| Rates::of(counts, is_yes).of_parity(parity));
            for (found, expected) in
                [(&row[parity][class], ours - theirs), (&row[format!("{parity}_ratio")][class], ours / theirs)]
            {
                let number = found.as_f64().unwrap_or_else(|| panic!("{parity} {class}: {row}"));
                assert!((number - expected).abs() < 1e-15, "{parity} {class}: {number}, expected {expected}");
            }
        }
    }
}

fn slices(place: &Place) -> Vec<Value> {
    let columns: Vec<String> = PARITIES.iter().map(|parity| format!("{parity}, {parity}_ratio")).collect();
    place.sql(&format!(
        "SELECT slice_key, slice_value, count, accuracy_score, {} FROM m_profile_metrics \
         WHERE column_name = ':table' AND model = '*' ORDER BY slice_key, slice_value",
        columns.join(", ")
    ))
}

const WOMEN: [usize; 4] = [3, 1, 2, 4];
const MEN: [usize; 4] = [4, 2, 1, 2];

#[test]
fn a_protected_group_is_compared_with_the_others_by_difference_and_ratio() {
    let place = monitored(&[(Some("f"), WOMEN), (Some("m"), MEN), (None, [2, 1, 1, 0])], 0);
    let rows = slices(&place);
    let seen: Vec<_> = rows.iter().map(|row| (&row["slice_key"], &row["slice_value"], &row["count"])).collect();
    let (by_value, by_predicate) = (json!("sex"), json!("sex = 'f'"));
    let [female, male, yes, no] = ["f", "m", "true", "false"].map(|value| json!(value));
    // Spark sorts nulls first; rows whose sex is not known are neither women nor others.
    assert_eq!(
        seen,
        [
            (&Value::Null, &Value::Null, &json!(23)),
            (&by_value, &Value::Null, &json!(4)),
            (&by_value, &female, &json!(10)),
            (&by_value, &male, &json!(9)),
            (&by_predicate, &Value::Null, &json!(4)),
            (&by_predicate, &no, &json!(9)),
            (&by_predicate, &yes, &json!(10)),
        ]
    );
    for row in &rows {
        if row["slice_key"] == by_predicate && row["slice_value"] == yes {
            check_parities(row, WOMEN, MEN);
        } else {
            for parity in PARITIES {
                assert_eq!((&row[parity], &row[format!("{parity}_ratio")]), (&Value::Null, &Value::Null), "{row}");
            }
        }
        // All of them have the quality of their own rows.
        assert!(row["accuracy_score"].is_number(), "{row}");
    }
    assert_eq!((&rows[2]["accuracy_score"], &rows[1]["accuracy_score"]), (&json!(0.7), &json!(0.5)));
    // Single models have rows of their own beside the one over all.
    let models = place.sql(
        "SELECT model, count FROM m_profile_metrics \
         WHERE column_name = ':table' AND slice_key = 'sex = ''f''' AND slice_value = 'true' ORDER BY model",
    );
    let of = |model: &str, count: u64| json!({ "model": model, "count": count });
    assert_eq!(models, [of("*", 10), of("1", 6), of("2", 4)]);
}

#[test]
fn small_slices_have_no_rows_and_still_stand_beside_a_large_one() {
    // Only women are many enough to be shown; what they are compared with is the same.
    let place = monitored(&[(Some("f"), WOMEN), (Some("m"), MEN)], 10);
    let rows = slices(&place);
    let seen: Vec<_> = rows.iter().map(|row| (row["slice_value"].as_str(), row["count"].as_u64())).collect();
    assert_eq!(seen, [(None, Some(19)), (Some("f"), Some(10)), (Some("true"), Some(10))]);
    check_parities(&rows[2], WOMEN, MEN);
    // Neither side is: only the whole is left.
    let place = monitored(&[(Some("f"), WOMEN), (Some("m"), MEN)], 11);
    let rows = slices(&place);
    assert_eq!((rows.len(), &rows[0]["count"], &rows[0]["predictive_parity"]), (1, &json!(19), &Value::Null));
}

#[test]
fn rates_that_do_not_exist_have_no_entry() {
    // Nobody among the men was ever refused, and no man should have been.
    let place = monitored(&[(Some("f"), WOMEN), (Some("m"), [5, 0, 0, 0])], 0);
    let rows = slices(&place);
    let row = rows.iter().find(|row| row["slice_value"] == "true").unwrap();
    // Of the men no one is labelled or predicted "no": that class has no precision and no recall, and "yes" no false
    // positives to divide by.
    let keys = |name: &str| row[name].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((keys("predictive_parity"), keys("equal_opportunity")), (vec!["yes"], vec!["yes"]), "{row}");
    assert_eq!((keys("predictive_equality"), keys("predictive_equality_ratio")), (vec!["no"], vec![]), "{row}");
    assert_eq!(
        (keys("statistical_parity"), keys("statistical_parity_ratio")),
        (vec!["no", "yes"], vec!["yes"]),
        "{row}"
    );
    assert_eq!(row["statistical_parity"]["yes"].as_f64(), Some(0.4 - 1.0));
}

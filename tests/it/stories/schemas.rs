//! The metric tables' columns: as other readers of Delta see them, and those that no other story is about, by hand.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::TimeDelta;
use limno_metrics::schema::{QualityColumns, Shape, drift_schema, profile_schema};
use serde_json::{Value, json};

use crate::support_run::{Place, instant, table, times};

/// The type of a column as a Delta log names it.
fn delta_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Float64 => json!("double"),
        DataType::Int64 => json!("long"),
        DataType::Int32 => json!("integer"),
        DataType::Utf8 => json!("string"),
        DataType::Boolean => json!("boolean"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| delta_field(field.name(), field.data_type())).collect();
            json!({ "type": "struct", "fields": fields })
        }
        DataType::List(item) => {
            json!({ "type": "array", "elementType": delta_type(item.data_type()), "containsNull": true })
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(entry) = entries.data_type() else { panic!("{entries} are no entries") };
            let [key, value] = [0, 1].map(|at| delta_type(entry[at].data_type()));
            json!({ "type": "map", "keyType": key, "valueType": value, "valueContainsNull": true })
        }
        other => panic!("{other} is in no metric table"),
    }
}

fn delta_field(name: &str, data_type: &DataType) -> Value {
    json!({ "name": name, "type": delta_type(data_type), "nullable": true, "metadata": {} })
}

/// The metric tables in a folder have exactly the columns that the schema says, as any reader of Delta sees them.
pub(super) fn check_schemas(place: &Place, folder: &str, name: &str, shape: &Shape) {
    let schemas = [
        (format!("{name}_profile_metrics"), profile_schema(shape)),
        (format!("{name}_drift_metrics"), drift_schema(shape)),
    ];
    for (table, schema) in schemas {
        let log = place.path(&format!("{folder}/{table}/_delta_log/{:020}.json", 0));
        let log = std::fs::read_to_string(log).unwrap();
        let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let metadata = actions.into_iter().find_map(|action| action.get("metaData").cloned()).unwrap();
        let written: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let expected: Vec<_> =
            schema.fields().iter().map(|field| delta_field(field.name(), field.data_type())).collect();
        assert_eq!(written["fields"], json!(expected), "{table}");
    }
}

/// Four rows of one day of January 2024: `x` and `y` with these values, and a model.
fn rows(day: i64, model: &str, x: [Option<f64>; 4], y: [Option<f64>; 4]) -> RecordBatch {
    let start = instant("2024-01-01T06:00:00Z") + TimeDelta::days(day - 1);
    let numbers =
        |values: [Option<f64>; 4]| -> ArrayRef { Arc::new(values.into_iter().collect::<arrow::array::Float64Array>()) };
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; 4])) };
    table([
        ("at", times((0..4).map(|hour| start + TimeDelta::hours(hour)))),
        ("x", numbers(x)),
        ("y", numbers(y)),
        ("guess", texts("yes")),
        ("truth", texts("yes")),
        ("version", texts(model)),
    ])
}

fn configure(place: &Place, of_kind: &str) {
    place.configure(&format!(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\nbaseline = \"~/before.parquet\"\n{of_kind}"
    ));
}

const LOG: &str =
    "[monitor.m.inference_log]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]\nmodel_id = \"version\"\n";

#[test]
fn tables_have_the_columns_of_their_kind_of_monitor() {
    let own = |name: &str, data_type: DataType| Arc::new(Field::new(name, data_type, true));
    let shapes = [
        ("[monitor.m.snapshot]\n".to_owned(), Shape::default()),
        (
            "[monitor.m.time_series]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]\n\
             [[monitor.m.metric]]\nname = \"total\"\nkind = \"aggregate\"\ndefinition = \"sum(x)\"\n\
             [[monitor.m.metric]]\nname = \"last\"\nkind = \"aggregate\"\ntype = \"timestamp\"\ndefinition = \"max(at)\"\n\
             [[monitor.m.metric]]\nname = \"more\"\nkind = \"drift\"\ntype = \"boolean\"\n\
             definition = \"{{current_df}}.total > {{base_df}}.total\"\n"
                .to_owned(),
            Shape {
                profile: vec![own("total", DataType::Float64), own("last", limno_metrics::schema::timestamp())],
                drift: vec![own("more", DataType::Boolean)],
                ..Shape::default()
            },
        ),
        (
            format!("{LOG}prediction = \"guess\"\nlabel = \"truth\"\nproblem_type = \"classification\"\n"),
            Shape { quality: Some(QualityColumns::Classification), ..Shape::of_model(Some("version")) },
        ),
        (
            format!("{LOG}prediction = \"x\"\nlabel = \"y\"\nproblem_type = \"regression\"\n"),
            Shape { quality: Some(QualityColumns::Regression), ..Shape::of_model(Some("version")) },
        ),
        // Without labels there is no quality to tell.
        (format!("{LOG}prediction = \"x\"\nproblem_type = \"regression\"\n"), Shape::of_model(Some("version"))),
    ];
    for (of_kind, shape) in shapes {
        let place = Place::new();
        place.parquet("before.parquet", &rows(9, "1", [Some(1.0); 4], [Some(2.0); 4]));
        place.delta("t", &rows(1, "1", [Some(1.0); 4], [Some(2.0); 4]));
        configure(&place, &of_kind);
        place.refresh();
        check_schemas(&place, "out", "m", &shape);
    }
}

#[test]
fn counts_percentages_and_their_differences_are_those_by_hand() {
    let (nan, none) = (Some(f64::NAN), None);
    let place = Place::new();
    place.parquet("before.parquet", &rows(9, "1", [Some(0.0), Some(0.0), Some(0.0), Some(4.0)], [Some(1.0); 4]));
    // The first day has no y, the second has it back and a model that the baseline has not seen.
    place.delta("t", &rows(1, "1", [Some(0.0), Some(2.0), Some(4.0), nan], [none; 4]));
    place.delta("t", &rows(2, "2", [Some(0.0), Some(-0.0), Some(3.0), none], [Some(1.0), Some(1.0), none, none]));
    configure(&place, &format!("{LOG}prediction = \"guess\"\nproblem_type = \"classification\"\n"));
    let refreshed = place.refresh();
    let all = "slice_key IS NULL AND version = '*'";
    let profile = place.sql(&format!(
        "SELECT window.start AS start, column_name, log_type, logging_table_commit_version AS commit, num_nulls, num_nan, \
           num_zeros, percent_null, percent_nan, percent_zeros, percent_distinct, avg, refreshed_at IS NOT NULL AS is_timed \
         FROM m_profile_metrics WHERE {all} AND column_name IN ('x', 'y') ORDER BY window.start, column_name"
    ));
    let row = |start: Value, column: &str, commit: Value, counts: [i64; 3], percents: [f64; 4], avg: Option<f64>| {
        json!({
            "start": start, "column_name": column, "log_type": if start.is_null() { "BASELINE" } else { "INPUT" },
            "commit": commit, "num_nulls": counts[0], "num_nan": counts[1], "num_zeros": counts[2],
            "percent_null": percents[0], "percent_nan": percents[1], "percent_zeros": percents[2],
            "percent_distinct": percents[3], "avg": avg, "is_timed": true,
        })
    };
    let (first, second) = (json!("2024-01-01T00:00:00Z"), json!("2024-01-02T00:00:00Z"));
    let expected = [
        row(Value::Null, "x", Value::Null, [0, 0, 3], [0.0, 0.0, 75.0, 50.0], Some(1.0)),
        row(Value::Null, "y", Value::Null, [0, 0, 0], [0.0, 0.0, 0.0, 25.0], Some(1.0)),
        row(first.clone(), "x", json!(1), [0, 1, 1], [0.0, 25.0, 25.0, 75.0], Some(2.0)),
        row(first.clone(), "y", json!(1), [4, 0, 0], [100.0, 0.0, 0.0, 0.0], None),
        row(second.clone(), "x", json!(1), [1, 0, 2], [25.0, 0.0, 50.0, 50.0], Some(1.0)),
        row(second.clone(), "y", json!(1), [2, 0, 0], [50.0, 0.0, 0.0, 25.0], Some(1.0)),
    ];
    assert_eq!(profile, expected);
    let columns = place.sql(&format!(
        "SELECT non_null_columns AS names FROM m_profile_metrics WHERE {all} AND column_name = ':table' ORDER BY window.start"
    ));
    let names = |names: &[&str]| json!({ "names": names });
    assert_eq!(
        columns,
        [names(&["x", "y", "guess", "truth"]), names(&["x", "guess", "truth"]), names(&["x", "y", "guess", "truth"])]
    );

    let drift = |column: &str, drift_type: &str, start: &Value| {
        place.row(&format!(
            "SELECT count_delta, avg_delta, percent_null_delta AS nulls, percent_zeros_delta AS zeros, \
               percent_distinct_delta AS distincts, non_null_columns_delta AS changed, model_id_cmp AS model \
             FROM m_drift_metrics WHERE {all} AND column_name = '{column}' AND drift_type = '{drift_type}' \
               AND window.start = '{}'",
            start.as_str().unwrap()
        ))
    };
    let expected = json!({
        "count_delta": 0, "avg_delta": -1.0, "nulls": 25.0, "zeros": 25.0, "distincts": -25.0, "changed": null, "model": "*"
    });
    assert_eq!(drift("x", "CONSECUTIVE", &second), expected);
    assert_eq!(drift("x", "BASELINE", &first)["avg_delta"], 1.0);
    assert_eq!(drift(":table", "CONSECUTIVE", &second)["changed"], json!({ "added": 1, "missing": 0 }));
    assert_eq!(drift(":table", "BASELINE", &first)["changed"], json!({ "added": 0, "missing": 1 }));
    assert_eq!(drift(":table", "BASELINE", &second)["changed"], json!({ "added": 0, "missing": 0 }));
    let models = place.sql(
        "SELECT version, model_id_cmp FROM m_drift_metrics \
         WHERE slice_key IS NULL AND version <> '*' AND column_name = 'x' AND drift_type = 'BASELINE' ORDER BY version",
    );
    let pair = |model: &str, other: &str| json!({ "version": model, "model_id_cmp": other });
    assert_eq!(models, [pair("1", "1"), pair("2", "*")]);

    // Rows that a refresh did not touch stay as they were.
    place.delta("t", &rows(3, "2", [Some(1.0); 4], [none; 4]));
    place.refresh();
    let marks = place.sql(&format!(
        "SELECT logging_table_commit_version AS commit, count(DISTINCT refreshed_at) AS times FROM m_profile_metrics \
         WHERE {all} AND log_type = 'INPUT' AND column_name = 'x' GROUP BY 1 ORDER BY 1"
    ));
    assert_eq!(marks, [json!({ "commit": 1, "times": 1 }), json!({ "commit": 2, "times": 1 })], "{refreshed}");
}

//! Columns that are more than one number or text: structs, lists, maps, bytes, decimals, dates, and times with a zone and
//! without.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int64Array, ListArray, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::incremental::same_as_full;
use crate::support_run::{Place, instant, table, times};

/// 120 rows of one day of January 2024. Every tenth `a` is null, as is every fourth `a.b`.
fn rows(day: i64) -> RecordBatch {
    let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day - 1);
    let b: ArrayRef = Arc::new((0..120i64).map(|row| (row % 4 != 0).then_some(row + day)).collect::<Int64Array>());
    let d: ArrayRef = Arc::new((0..120).map(|row| Some(["u", "v", "w"][row % 3])).collect::<StringArray>());
    let c: ArrayRef =
        Arc::new(StructArray::new(Fields::from(vec![Field::new("d", DataType::Utf8, true)]), vec![d], None));
    let fields = vec![Field::new("b", DataType::Int64, true), Field::new("c", c.data_type().clone(), true)];
    let valid: NullBuffer = (0..120).map(|row| row % 10 != 0).collect();
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..120usize).map(|row| (row % 5 != 0).then(|| vec![Some(1); row % 4])),
    );
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in 0..120 {
        for key in 0..row % 3 {
            map.keys().append_value(format!("k{key}"));
            map.values().append_value("v");
        }
        map.append(row % 6 != 1).unwrap();
    }
    let bytes: BinaryArray = (0..120usize).map(|row| (row % 8 != 0).then(|| vec![0u8; row % 7])).collect();
    let price =
        Decimal128Array::from_iter_values((0..120i128).map(|row| row * 25)).with_precision_and_scale(10, 2).unwrap();
    let stamps = || (0..120).map(|row| (start + TimeDelta::minutes(row)).timestamp_micros());
    table([
        ("at", times((0..120).map(|row| start + TimeDelta::minutes(row)))),
        ("a", Arc::new(StructArray::new(Fields::from(fields), vec![b, c], Some(valid))) as ArrayRef),
        ("list", Arc::new(list)),
        ("map", Arc::new(map.finish())),
        ("bytes", Arc::new(bytes)),
        ("price", Arc::new(price)),
        ("born", Arc::new(Date32Array::from_iter_values(0..120))),
        ("local", Arc::new(TimestampMicrosecondArray::from_iter_values(stamps()))),
        ("moment", Arc::new(TimestampMicrosecondArray::from_iter_values(stamps()).with_timezone("UTC"))),
    ])
}

fn configure(place: &Place, lines: &str) {
    place.configure(&format!(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n{lines}\n\
         [monitor.m.time_series]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]\n"
    ));
}

fn columns(place: &Place) -> Vec<String> {
    let rows = place.sql("SELECT DISTINCT column_name FROM m_profile_metrics ORDER BY 1");
    rows.iter().map(|row| row["column_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn fields_of_structs_and_lengths_of_collections_are_profiled() {
    let place = Place::new();
    for day in 1..=3 {
        place.delta("t", &rows(day));
    }
    configure(&place, "slices = [\"a.b > 60\"]");
    place.refresh();
    place.delta("t", &rows(4));
    assert_eq!(place.refresh()["mode"], "incremental");
    let names = [":table", "a", "a.b", "a.c", "a.c.d", "born", "bytes", "list", "local", "map", "moment", "price"];
    assert_eq!(columns(&place), names);

    let of = |column: &str| {
        place.row(&format!(
            "SELECT * FROM m_profile_metrics WHERE column_name = '{column}' AND slice_key IS NULL \
             AND window.start = '2024-01-02'"
        ))
    };
    let numbers = |row: &Value, keys: &[&str]| keys.iter().map(|key| row[key].as_f64()).collect::<Vec<_>>();
    let a = of("a");
    assert_eq!((&a["count"], &a["num_nulls"], &a["avg"]), (&json!(120), &json!(12), &Value::Null));
    // Within a null struct there is no value: of every twenty rows, 0, 4, 8, 10, 12 and 16 have none.
    let b = of("a.b");
    let present: Vec<i64> = (0..120).filter(|row| row % 4 != 0 && row % 10 != 0).map(|row| row + 2).collect();
    let mean = present.iter().sum::<i64>() as f64 / present.len() as f64;
    assert_eq!((&b["count"], &b["num_nulls"], &b["data_type"]), (&json!(120), &json!(36), &json!("bigint")));
    assert_eq!(numbers(&b, &["min", "max", "avg"]), [Some(3.0), Some(121.0), Some(mean)]);
    let d = of("a.c.d");
    assert_eq!((&d["num_nulls"], &d["distinct_count"], &d["data_type"]), (&json!(12), &json!(3), &json!("string")));

    // Lengths, over what is not null.
    let lengths = |present: &dyn Fn(usize) -> Option<usize>| {
        let lengths: Vec<usize> = (0..120).filter_map(present).collect();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let extreme = |length: Option<&usize>| length.map(|&length| length as f64);
        (json!(120 - lengths.len()), [extreme(lengths.iter().min()), extreme(lengths.iter().max()), Some(mean)])
    };
    for (column, (nulls, expected)) in [
        ("list", lengths(&|row| (row % 5 != 0).then_some(row % 4))),
        ("map", lengths(&|row| (row % 6 != 1).then_some(row % 3))),
        ("bytes", lengths(&|row| (row % 8 != 0).then_some(row % 7))),
    ] {
        let row = of(column);
        assert_eq!(numbers(&row, &["min_length", "max_length", "avg_length"]), expected, "{column}");
        assert_eq!(
            (&row["num_nulls"], &row["avg"], &row["distinct_count"]),
            (&nulls, &Value::Null, &Value::Null),
            "{column}"
        );
    }

    let price = of("price");
    assert_eq!(numbers(&price, &["min", "max", "avg", "median"]), [Some(0.0), Some(29.75), Some(14.875), Some(14.75)]);
    assert_eq!(price["data_type"], "decimal(10,2)");
    // Seconds since the epoch. What has no zone is taken as UTC.
    let born = of("born");
    assert_eq!(
        (numbers(&born, &["min", "max"]), &born["avg"]),
        (vec![Some(0.0), Some(119.0 * 86_400.0)], &Value::Null)
    );
    let first = instant("2024-01-02T01:00:00Z").timestamp() as f64;
    for column in ["local", "moment"] {
        assert_eq!(numbers(&of(column), &["min", "max"]), [Some(first), Some(first + 119.0 * 60.0)], "{column}");
    }

    // A predicate over a field is a slice; rows where it is null are one of their own.
    let slices = place.sql(
        "SELECT slice_value, count FROM m_profile_metrics WHERE column_name = ':table' AND slice_key = 'a.b > 60' \
         AND window.start = '2024-01-02' ORDER BY slice_value",
    );
    let above = present.iter().filter(|&&value| value > 60).count();
    let slice = |value: Option<&str>, count: usize| json!({ "slice_value": value, "count": count });
    assert_eq!(slices, [slice(None, 36), slice(Some("false"), 84 - above), slice(Some("true"), above)]);

    // Fields drift as columns do; lengths have no distance.
    let drift = place.sql(
        "SELECT column_name, ks_test.statistic AS ks, js_distance AS js, avg_delta, count_delta FROM m_drift_metrics \
         WHERE column_name IN ('a.b', 'a.c.d', 'list') AND slice_key IS NULL AND window.start = '2024-01-02' ORDER BY 1",
    );
    assert_eq!((drift[0]["avg_delta"].as_f64(), drift[0]["ks"].is_number()), (Some(1.0), true));
    assert_eq!((&drift[1]["js"], &drift[1]["ks"]), (&json!(0.0), &Value::Null));
    assert_eq!((&drift[2]["js"], &drift[2]["ks"], &drift[2]["count_delta"]), (&Value::Null, &Value::Null, &json!(0)));
    same_as_full(&place);
}

#[test]
fn single_fields_are_chosen_and_left_out_by_their_path() {
    let place = Place::new();
    place.delta("t", &rows(1));
    configure(&place, "columns = { include = [\"a.b\"] }");
    place.refresh();
    assert_eq!(columns(&place), [":table", "a.b"]);
    configure(&place, "columns = { include = [\"a\", \"price\"], exclude = [\"a.c\"] }");
    place.refresh();
    // With a struct go its fields.
    assert_eq!(columns(&place), [":table", "a", "a.b", "price"]);
    configure(&place, "columns = { include = [\"a.c\"] }");
    place.refresh();
    assert_eq!(columns(&place), [":table", "a.c", "a.c.d"]);
    same_as_full(&place);
    configure(&place, "columns = { include = [\"a.x\"] }");
    place.limno(&["run"]).fails(2, &["limno.toml:4", "a.x"]);
    configure(&place, "columns = { include = [\"a.b\"] }");
    let rules = "[[monitor.m.rule]]\nname = \"nulls\"\nmetric = \"percent_null\"\nabove = 20\ncolumns = [\"a.b\"]\n";
    let text = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    place.configure(&(text + rules));
    place.refresh();
    let alert = place.row("SELECT column_name, value FROM alerts WHERE kind = 'breach'");
    assert_eq!(alert, json!({ "column_name": "a.b", "value": 30.0 }));
}

#[test]
fn metrics_of_users_stand_on_fields_and_name_them() {
    let place = Place::new();
    (1..=2).for_each(|day| drop(place.delta("t", &rows(day))));
    configure(&place, "");
    let metric = |name: &str, columns: &str, definition: &str| {
        format!(
            "[[monitor.m.metric]]\nname = \"{name}\"\nkind = \"aggregate\"\ncolumns = [\"{columns}\"]\n\
             definition = \"{definition}\"\n"
        )
    };
    let text = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    let metrics = [metric("total", "a.b", "sum({{input_column}})"), metric("twice", ":table", "sum(a.b * 2)")].concat();
    place.configure(&(text + &metrics));
    place.refresh();
    let value = |column: &str, of: &str| {
        let row = place.row(&format!(
            "SELECT {column} AS value FROM m_profile_metrics WHERE column_name = '{of}' AND window.start = '2024-01-02'"
        ));
        row["value"].as_f64()
    };
    let total = (0..120).filter(|row| row % 4 != 0 && row % 10 != 0).map(|row| row + 2).sum::<i64>() as f64;
    assert_eq!((value("total", "a.b"), value("twice", ":table")), (Some(total), Some(2.0 * total)));
}

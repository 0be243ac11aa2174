//! Metrics of the user's own, and whether a model treats groups alike: against DataFusion and against fractions by hand.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimeUnit;
use chrono::TimeDelta;
use datafusion::prelude::SessionContext;
use serde_json::{Map, Value, json};

use super::incremental::same_as_full;
use crate::support_run::{Place, instant, table, times};

/// 301 rows of one day of January 2024, of two models, in groups `a`, `b` and none.
fn rows(day: i64) -> RecordBatch {
    let start = instant("2024-01-01T00:30:00Z") + TimeDelta::days(day - 1);
    let number = |row: i64, factor: i64| (row * factor + day * 31) % 97;
    let doubles = |factor: i64, absent: i64| -> ArrayRef {
        let values = (0..301).map(|row| (row % absent != 3).then(|| number(row, factor) as f64 * 0.25));
        Arc::new(values.collect::<arrow::array::Float64Array>())
    };
    let texts =
        |of: fn(i64) -> Option<&'static str>| -> ArrayRef { Arc::new((0..301).map(of).collect::<StringArray>()) };
    table([
        ("at", times((0..301).map(|row| start + TimeDelta::minutes(row * 4)))),
        ("x_1", doubles(37, 7)),
        ("x_2", doubles(61, 1000)),
        ("kind", texts(|row| [Some("a"), Some("b"), None, Some("a")][usize::try_from(row % 4).unwrap()])),
        ("guess", doubles(13, 1000)),
        ("truth", doubles(17, 11)),
        ("version", texts(|row| Some(if row % 3 == 0 { "2" } else { "1" }))),
    ])
}

const AGGREGATES: &[(&str, &str, &str, &str)] = &[
    ("mean_product", "double", ":table", "avg(x_1 * x_2)"),
    ("together", "double", ":table", "corr(x_1, x_2)"),
    ("kinds", "bigint", ":table", "count(distinct kind)"),
    ("newest", "timestamp", ":table", "max(at)"),
    ("is_any_big", "boolean", ":table", "bool_or(x_1 > 23.9)"),
    ("miss", "double", ":table", "avg(abs({{prediction_col}} - {{label_col}}))"),
    ("share_of_a", "double", ":table", "count_if(kind = 'a') / count(*)"),
    ("weighted", "double", ":table", "sum(x_1 * x_2) / sum(x_2)"),
    ("total", "double", "x_*", "sum({{input_column}})"),
    ("middle", "double", "x_*", "median({{input_column}})"),
    ("values_seen", "int", "x_*", "count(distinct `{{input_column}}`)"),
];

/// A monitor with the metrics, and more.
fn configure(place: &Place, lines: &str, metrics: &[(&str, &str, &str, &str)]) {
    let mut text = format!(
        r#"
[monitor.m]
table    = "~/t"
output   = "~/out"
baseline = "~/before.parquet"
slices   = ["kind", "x_2 > 10"]
{lines}
[monitor.m.inference_log]
timestamp     = "at"
granularities = ["1 day"]
model_id      = "version"
prediction    = "guess"
label         = "truth"
problem_type  = "regression"
[[monitor.m.metric]]
name       = "variation"
kind       = "derived"
columns    = ["x_1", "x_2"]
definition = "stddev / nullif(avg, 0)"
[[monitor.m.metric]]
name       = "per_row"
kind       = "derived"
columns    = ["x_1"]
definition = "total / count"
[[monitor.m.metric]]
name       = "verdict"
kind       = "derived"
type       = "string"
columns    = ["x_2"]
definition = "CASE WHEN per_row IS NULL AND total > 1000 THEN 'much' ELSE 'little' END"
[[monitor.m.metric]]
name       = "growth"
kind       = "drift"
columns    = ["x*"]
definition = "{{{{current_df}}}}.total / {{{{base_df}}}}.total"
[[monitor.m.metric]]
name       = "product_moved"
kind       = "drift"
definition = "{{{{current_df}}}}.mean_product - {{{{base_df}}}}.mean_product"
"#
    );
    for (name, data_type, column, definition) in metrics {
        text.push_str(&format!(
            "[[monitor.m.metric]]\nname = \"{name}\"\nkind = \"aggregate\"\ntype = \"{data_type}\"\n\
             columns = [\"{column}\"]\ndefinition = \"{definition}\"\n"
        ));
    }
    place.configure(&text);
}

/// What DataFusion says of the rows that a condition selects.
fn oracle(rows: &[RecordBatch], condition: &str) -> Map<String, Value> {
    let sums = "sum(x_1) AS total_x_1, sum(x_2) AS total_x_2, median(x_1) AS middle_x_1, median(x_2) AS middle_x_2, \
                count(distinct x_1) AS values_seen_x_1, count(distinct x_2) AS values_seen_x_2, \
                stddev_samp(x_1) / avg(x_1) AS variation_x_1, stddev_samp(x_2) / avg(x_2) AS variation_x_2, \
                sum(x_1) / count(*) AS per_row_x_1, \
                CASE WHEN sum(x_2) > 1000 THEN 'much' ELSE 'little' END AS verdict_x_2";
    let query = format!(
        "SELECT avg(x_1 * x_2) AS mean_product, corr(x_1, x_2) AS together, count(distinct kind) AS kinds, \
           max(at) AS newest, bool_or(x_1 > 23.9) AS is_any_big, avg(abs(guess - truth)) AS miss, \
           count(*) FILTER (WHERE kind = 'a') / cast(count(*) AS double) AS share_of_a, \
           sum(x_1 * x_2) / sum(x_2) AS weighted, {sums} FROM t WHERE {condition}"
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = runtime.block_on(async {
        let context = SessionContext::new();
        let table = datafusion::datasource::MemTable::try_new(rows[0].schema(), vec![rows.to_vec()]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        context.sql(&query).await.unwrap().collect().await.unwrap()
    });
    let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(batch.num_rows(), 1);
    let mut found = Map::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let text = arrow::util::display::array_value_to_string(column, 0).unwrap();
        let value = match column.data_type() {
            arrow::datatypes::DataType::Boolean => json!(text == "true"),
            arrow::datatypes::DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let micros = column.as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().value(0);
                json!(
                    chrono::DateTime::from_timestamp_micros(micros)
                        .unwrap()
                        .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                )
            }
            arrow::datatypes::DataType::Utf8 => json!(text),
            _ => serde_json::from_str(&text).unwrap(),
        };
        found.insert(field.name().clone(), value);
    }
    found
}

#[track_caller]
fn same(ours: &Value, theirs: &Value, at: &str) {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-3), "{at}: {a}, expected {b}"),
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

/// The metrics of the rows that a condition selects, in the table and by DataFusion.
fn check(place: &Place, rows: &[RecordBatch], of_row: &str, of_data: &str) {
    let expected = oracle(rows, of_data);
    let found = place.sql(&format!("SELECT * FROM m_profile_metrics WHERE {of_row}"));
    let of = |column: &str| found.iter().find(|row| row["column_name"] == column).unwrap_or_else(|| panic!("{of_row}"));
    for (name, value) in &expected {
        let (metric, column) = match name.split_once("_x_") {
            Some((metric, column)) => (metric, format!("x_{column}")),
            None => (name.as_str(), ":table".to_owned()),
        };
        same(&of(&column)[metric], value, &format!("{name} where {of_data}"));
    }
    // A metric stands where it was asked for, and nowhere else.
    assert_eq!(
        (&of("guess")["total"], &of("x_2")["per_row"], &of("x_1")["together"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(of(":table")["middle"], Value::Null);
}

#[test]
fn metrics_of_users_are_what_a_query_over_the_rows_says() {
    let place = Place::new();
    place.parquet("before.parquet", &rows(9));
    configure(&place, "", AGGREGATES);
    let days = [rows(1), rows(2), rows(3)];
    for day in &days {
        place.delta("t", day);
        place.refresh();
    }
    // Late rows.
    place.delta("t", &rows(2).slice(0, 100));
    assert_eq!(place.refresh()["mode"], "incremental");
    let days = [days.to_vec(), vec![rows(2).slice(0, 100)]].concat();
    let within = |day: u32| {
        format!("at >= timestamp '2024-01-{day:02}T00:00:00Z' AND at < timestamp '2024-01-{:02}T00:00:00Z'", day + 1)
    };
    for day in 1..=3 {
        let window = format!("log_type = 'INPUT' AND window.start = '2024-01-{day:02}'");
        for (of_row, of_data) in [
            ("slice_key IS NULL AND version = '*'", "true"),
            ("slice_key IS NULL AND version = '1'", "version = '1'"),
            ("slice_key = 'kind' AND slice_value = 'a' AND version = '2'", "kind = 'a' AND version = '2'"),
            ("slice_key = 'kind' AND slice_value IS NULL AND version = '*'", "kind IS NULL"),
            ("slice_key = 'x_2 > 10' AND slice_value = 'false' AND version = '*'", "NOT x_2 > 10"),
        ] {
            check(&place, &days, &format!("{window} AND {of_row}"), &format!("{} AND {of_data}", within(day)));
        }
    }
    check(&place, &[rows(9)], "log_type = 'BASELINE' AND slice_key IS NULL AND version = '*'", "true");

    // Drift metrics have both sides of the comparison.
    let (first, second, before) = (oracle(&days, &within(1)), oracle(&days, &within(2)), oracle(&[rows(9)], "true"));
    let number = |of: &Map<String, Value>, name: &str| of[name].as_f64().unwrap();
    for (drift_type, base) in [("CONSECUTIVE", &first), ("BASELINE", &before)] {
        let rows = place.sql(&format!(
            "SELECT column_name, growth, product_moved FROM m_drift_metrics WHERE drift_type = '{drift_type}' \
             AND window.start = '2024-01-02' AND slice_key IS NULL AND version = '*' ORDER BY column_name"
        ));
        for row in &rows {
            let (growth, moved) = match row["column_name"].as_str().unwrap() {
                ":table" => (Value::Null, json!(number(&second, "mean_product") - number(base, "mean_product"))),
                "x_1" => (json!(number(&second, "total_x_1") / number(base, "total_x_1")), Value::Null),
                "x_2" => (json!(number(&second, "total_x_2") / number(base, "total_x_2")), Value::Null),
                _ => (Value::Null, Value::Null),
            };
            same(&row["growth"], &growth, &row.to_string());
            same(&row["product_moved"], &moved, &row.to_string());
        }
        assert_eq!(rows.len(), 6, "{rows:?}");
    }
    same_as_full(&place);
}

#[test]
fn a_metric_that_is_defined_anew_has_its_new_value_everywhere() {
    let place = Place::new();
    place.parquet("before.parquet", &rows(9));
    (1..=2).for_each(|day| drop(place.delta("t", &rows(day))));
    configure(&place, "", AGGREGATES);
    place.refresh();
    let mut metrics = AGGREGATES.to_vec();
    metrics[0].3 = "avg(x_1 + x_2)";
    metrics.remove(1);
    metrics.push(("least", "double", "x_1", "min({{input_column}} * 2)"));
    configure(&place, "", &metrics);
    assert_eq!(place.refresh()["monitor_version"], 1);
    let all = "log_type = 'INPUT' AND slice_key IS NULL AND version = '*' AND window.start = '2024-01-01'";
    let found =
        place.row(&format!("SELECT mean_product FROM m_profile_metrics WHERE {all} AND column_name = ':table'"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = runtime.block_on(async {
        let context = SessionContext::new();
        context.register_batch("t", rows(1)).unwrap();
        context.sql("SELECT avg(x_1 + x_2) FROM t").await.unwrap().collect().await.unwrap()
    });
    let expected = arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap();
    same(&found["mean_product"], &serde_json::from_str(&expected).unwrap(), "mean_product");
    let least = place.row(&format!("SELECT least, min FROM m_profile_metrics WHERE {all} AND column_name = 'x_1'"));
    assert_eq!(least["least"].as_f64(), least["min"].as_f64().map(|min| 2.0 * min));
    same_as_full(&place);
    let columns = place.limno(&["sql", "SELECT together FROM m_profile_metrics"]);
    assert_eq!(columns.code, 2, "the metric that went has no column: {}", columns.out);
}

#[test]
fn wrong_metrics_are_all_told_at_once_and_nothing_is_written() {
    let place = Place::new();
    place.parquet("before.parquet", &rows(9));
    place.delta("t", &rows(1));
    // What the file alone shows.
    let metric = |name: &'static str, definition: &'static str| (name, "double", ":table", definition);
    configure(&place, "", &[metric("avg", "avg(x_1)"), metric("two words", "avg(x_1)"), metric("growth", "avg(x_1)")]);
    let ran = place.limno(&["run"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for part in ["`avg`", "`growth`", "is already a metric", "of their own", "letters, digits and underscores"] {
        assert!(ran.err.contains(part), "{part} is not in {}", ran.err);
    }
    // What the table shows, each with its line.
    let wrong: &[(&str, &str, &str, &str, &str)] = &[
        ("m_1", "double", ":table", "avg(x_3)", "x_3"),
        ("m_2", "double", ":table", "avg({{input_column}})", "input_column has no meaning here"),
        ("m_3", "double", ":table", "avg({{prediction}})", "there is no variable prediction"),
        ("m_4", "double", ":table", "x_1 + 1", "x_1"),
        ("m_5", "double", ":table", "avg(x_1) + x_2", "x_2"),
        ("m_6", "double", ":table", "sum(random())", "random"),
        ("m_7", "double", ":table", "array_agg(x_1)", "array_agg"),
        ("m_8", "double", ":table", "avg(kind)", "avg"),
        ("m_9", "double", ":table", "(SELECT max(x_1) FROM t)", "quer"),
        ("m_10", "double", "y_*", "avg({{input_column}})", "y_*"),
        ("m_11", "double", ":table", "avg(x_1", "does not parse"),
        ("m_12", "date", ":table", "bool_or(x_1 > 1)", "which is no"),
    ];
    let metrics: Vec<_> =
        wrong.iter().map(|(name, kind, column, definition, _)| (*name, *kind, *column, *definition)).collect();
    configure(&place, "", &[AGGREGATES, &metrics].concat());
    let ran = place.limno(&["run"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let text = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    for (name, _, _, _, part) in wrong {
        let line = text.lines().position(|line| line == format!("name = \"{name}\"")).unwrap() + 1;
        // The definition stands four lines below the name, the columns three.
        let told = ran.err.lines().find(|told| {
            told.contains(&format!("limno.toml:{}:", line + 4)) || told.contains(&format!("limno.toml:{}:", line + 3))
        });
        let told = told.unwrap_or_else(|| panic!("nothing of {name}, line {line}: {}", ran.err));
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(place.files("out").is_empty());
}

#[test]
fn rules_look_at_metrics_of_users() {
    let place = Place::new();
    place.parquet("before.parquet", &rows(9));
    (1..=3).for_each(|day| drop(place.delta("t", &rows(day))));
    configure(&place, "", AGGREGATES);
    place.refresh();
    let value = |column: &str, table: &str, day: u32, more: &str| {
        let row = place.row(&format!(
            "SELECT {column} AS value FROM m_{table}_metrics WHERE column_name = ':table' AND slice_key IS NULL \
             AND version = '*' AND window.start = '2024-01-{day:02}' {more}"
        ));
        row["value"].as_f64().unwrap()
    };
    // Thresholds between what the second and the third day have.
    let (second, third) = (value("mean_product", "profile", 2, ""), value("mean_product", "profile", 3, ""));
    let side = if third > second { "above" } else { "below" };
    let moved = value("product_moved", "drift", 3, "AND drift_type = 'CONSECUTIVE'");
    let rules = format!(
        r#"
[[monitor.m.rule]]
name    = "product"
metric  = "mean_product"
{side}  = {:?}
columns = [":table"]
[[monitor.m.rule]]
name    = "moved"
metric  = "product_moved"
outside = [{:?}, {:?}]
columns = [":table"]
against = "CONSECUTIVE"
"#,
        second.midpoint(third),
        -moved.abs() * 0.99,
        moved.abs() * 0.99
    );
    let text = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    place.configure(&(text + &rules));
    place.refresh();
    let newest = place.sql(
        "SELECT DISTINCT rule, status, value FROM alerts WHERE kind = 'breach' AND window.start = '2024-01-03' \
         AND model_id IS NULL AND slice_key IS NULL ORDER BY rule",
    );
    let breach = |rule: &str, value: f64| json!({ "rule": rule, "status": "new", "value": value });
    assert_eq!(newest, [breach("moved", moved), breach("product", third)]);
    let second = "SELECT count(*) AS n FROM alerts WHERE rule = 'product' AND window.start = '2024-01-02' \
                  AND model_id IS NULL AND slice_key IS NULL";
    assert_eq!(place.row(second)["n"], 0);
    // A misspelt one is named with what is near.
    let text = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    place.configure(&text.replace("metric  = \"mean_product\"", "metric  = \"mean_produkt\""));
    place.limno(&["run"]).fails(2, &["mean_produkt", "mean_product"]);
}

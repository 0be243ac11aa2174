//! Logs of requests: their layouts, where their columns come from, and configurations that do not hold.

use serde_json::{Value, json};

use super::calls::{Call, gateway, legacy, request, response};
use super::change::delete;
use super::payload::{SCHEMA, monitor, same_as_full};
use crate::bad_input::refused_once;
use crate::support_run::{Place, instant, numbers, table, times};

/// Calls of a day with these columns, five minutes from one to the next.
fn calls(day: u32, columns: &[&str], rows: &[Vec<Value>]) -> Vec<Call> {
    let start = instant(&format!("2024-03-{day:02}T10:00:00Z"));
    let call = |(index, row): (usize, &Vec<Value>)| Call {
        id: format!("r{day}-{index}"),
        at: Some(start + chrono::TimeDelta::minutes(5 * index as i64)),
        status: 200,
        request: Some(request(index, columns, std::slice::from_ref(row))),
        response: Some(response(&[index as f64])),
        codes: Vec::new(),
        model: "7",
    };
    rows.iter().enumerate().map(call).collect()
}

/// Names and types of the columns that are profiled, without those that every log has.
fn columns(place: &Place) -> Vec<String> {
    let rows = place.sql(
        "SELECT DISTINCT column_name, data_type FROM m_profile_metrics WHERE column_name NOT IN (':table', \
         'status_code', 'sampling_fraction', 'execution_duration_ms', 'requester') ORDER BY column_name",
    );
    rows.iter()
        .map(|row| format!("{} {}", row["column_name"].as_str().unwrap(), row["data_type"].as_str().unwrap()))
        .collect()
}

fn reasons(place: &Place) -> Vec<Value> {
    let rows = place.sql("SELECT request_id, reason FROM m_quarantine ORDER BY request_id");
    rows.iter().map(|row| json!([row["request_id"], row["reason"]])).collect()
}

fn pairs(values: impl IntoIterator<Item = Value>) -> Vec<Vec<Value>> {
    values.into_iter().map(|a| vec![a, json!("x")]).collect()
}

#[test]
fn the_older_layout_tells_the_same() {
    let place = Place::new();
    place.configure(&monitor(SCHEMA));
    let mut log = calls(4, &["a", "b"], &pairs((0..8).map(|a| json!(a))));
    log[1].model = "8";
    // Repeats the first one a millisecond later; the last millisecond of the day, and the first of the next.
    let mut again = log[0].clone();
    again.at = again.at.map(|at| at + chrono::TimeDelta::milliseconds(1));
    again.request = Some(request(0, &["a", "b"], &pairs([json!(100)])));
    log[2].at = Some(instant("2024-03-04T23:59:59.999Z"));
    log[3].at = Some(instant("2024-03-05T00:00:00Z"));
    log[4].status = 429;
    log[5].request = Some("{".to_owned());
    place.delta("t", &legacy(&log));
    place.refresh();
    place.delta("t", &legacy(&[again]));
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!(plan["anew"], json!([["2024-03-04T00:00:00+00:00", "2024-03-05T00:00:00+00:00"]]));
    let report = place.refresh();
    let counts = ["rows", "filtered_rows", "duplicate_rows", "malformed_rows"].map(|key| report[key].as_i64().unwrap());
    assert_eq!(counts, [5, 1, 1, 1]);
    let rows = place.sql(
        "SELECT window.start AS day, model_id, count, avg FROM m_profile_metrics WHERE column_name = 'a' \
         ORDER BY day, model_id",
    );
    let row = |day: u32, model: &str, count: u32, avg: f64| json!({ "day": format!("2024-03-{day:02}T00:00:00Z"), "model_id": model, "count": count, "avg": avg });
    // 0, 1, 2, 6 and 7 on the first day, the 1 of another model.
    let expected = [row(4, "*", 5, 3.2), row(4, "limit_7", 4, 3.75), row(4, "limit_8", 1, 1.0)];
    assert_eq!(rows, [&expected[..], &[row(5, "*", 1, 3.0), row(5, "limit_7", 1, 3.0)]].concat());
    assert_eq!(reasons(&place).len(), 1);
    same_as_full(&place);
    // One of the two goes, and the other counts.
    assert_eq!(delete(&place, "t", "databricks_request_id = 'r4-0' AND request LIKE '%[[0,%'"), Some(1));
    place.refresh();
    let greatest =
        place.row("SELECT max FROM m_profile_metrics WHERE column_name = 'a' AND model_id = '*' AND count = 5");
    assert_eq!(greatest["max"], 100.0);
    same_as_full(&place);
}

#[test]
fn columns_that_were_found_stay_until_others_are_said() {
    let place = Place::new();
    place.configure(&monitor(""));
    place.delta("t", &gateway(&calls(4, &["a", "b"], &pairs((0..12).map(|a| json!(a))))));
    place.refresh();
    assert_eq!(columns(&place), ["a bigint", "b string", "prediction double"]);
    // A column more, a column less, and another type.
    let rows = |value: &dyn Fn(i32) -> Value| (0..12).map(|row| vec![value(row), json!(row)]).collect::<Vec<_>>();
    place.delta("t", &gateway(&calls(5, &["a", "c"], &rows(&|row| json!(row)))));
    place.delta("t", &gateway(&calls(6, &["a", "b"], &rows(&|_| json!("text")))));
    let report = place.refresh();
    assert_eq!(
        (&report["mode"], &report["rows"], &report["malformed_rows"]),
        (&json!("incremental"), &json!(12), &json!(12))
    );
    assert_eq!(columns(&place), ["a bigint", "b string", "prediction double"]);
    let nulls = place.sql(
        "SELECT num_nulls FROM m_profile_metrics WHERE column_name = 'b' AND model_id = '*' ORDER BY window.start",
    );
    assert_eq!(nulls, [json!({ "num_nulls": 0 }), json!({ "num_nulls": 12 })]);
    let refused = reasons(&place);
    assert_eq!(refused.len(), 12);
    assert_eq!(refused[0], json!(["r6-0", "column `a`: text where bigint is expected, in row 0"]));
    same_as_full(&place);
    assert_eq!(columns(&place), ["a bigint", "b string", "prediction double"]);

    place.configure(&monitor("schema = { a = \"string\", c = \"double\" }\npredictions = { prediction = \"double\" }"));
    let report = place.refresh();
    assert_eq!(
        (&report["mode"], &report["reason"]),
        (&json!("full"), &json!("how rows find their window or model has changed"))
    );
    assert_eq!(columns(&place), ["a string", "c double", "prediction double"]);
    assert_eq!(reasons(&place), Vec::<Value>::new());
    // What was said is kept too when it is no longer said.
    place.configure(&monitor(""));
    assert_eq!(place.refresh()["refreshed"], false);
    same_as_full(&place);
    assert_eq!(columns(&place), ["a string", "c double", "prediction double"]);
}

#[test]
fn the_signature_of_a_model_says_the_columns() {
    let place = Place::new();
    let model = limno_fixtures::paths::data_dir().join("mlflow/limit_regressor.MLmodel");
    std::fs::copy(model, place.path("MLmodel")).unwrap();
    place.configure(&monitor("signature = \"~/MLmodel\""));
    let names = ["age", "income", "utilization", "is_new"];
    let rows: Vec<Vec<Value>> =
        (0..12).map(|row| vec![json!(20 + row), json!(1000.5), json!(0.25), json!(row % 2)]).collect();
    place.delta("t", &gateway(&calls(4, &names, &rows)));
    assert_eq!(place.refresh()["rows"], 12);
    assert_eq!(
        columns(&place),
        ["age double", "income double", "is_new double", "prediction double", "utilization double"]
    );
    // A list of values in the order of the signature, and one that is too short.
    let mut more = calls(5, &names, &rows[..2]);
    more[0].request = Some("{\"instances\": [[99, 1, 2, 3]]}".to_owned());
    more[1].request = Some("{\"instances\": [[99, 1, 2]]}".to_owned());
    place.delta("t", &gateway(&more));
    place.refresh();
    let age = place.row(
        "SELECT count, avg FROM m_profile_metrics WHERE column_name = 'age' AND model_id = '*' \
         AND window.start = '2024-03-05T00:00:00Z'",
    );
    assert_eq!(age, json!({ "count": 1, "avg": 99.0 }));
    assert_eq!(reasons(&place), [json!(["r5-1", "row 0 has 3 values for 4 columns"])]);
    same_as_full(&place);
}

/// Rows that are lists, with these values.
fn lists(day: u32, rows: &[Value]) -> Vec<Call> {
    let mut calls = calls(day, &["a"], &rows.iter().map(|_| vec![json!(0)]).collect::<Vec<_>>());
    for (call, row) in calls.iter_mut().zip(rows) {
        call.request = Some(json!({ "instances": [row] }).to_string());
    }
    calls
}

/// The means of the columns of all models, by the start of the window.
fn means(place: &Place) -> Vec<Value> {
    let rows = place.sql(
        "SELECT column_name, avg FROM m_profile_metrics WHERE model_id = '*' AND column_name IN ('income', 'age', \
         'prediction', 'certainty') ORDER BY window.start, column_name",
    );
    rows.iter().map(|row| json!([row["column_name"], row["avg"]])).collect()
}

#[test]
fn rows_that_are_lists_have_their_values_in_the_order_in_which_the_columns_are_written() {
    let place = Place::new();
    let columns = "schema = { income = \"double\", age = \"double\" }\n\
                   predictions = { prediction = \"double\", certainty = \"double\" }";
    place.configure(&monitor(columns));
    let mut log = lists(4, &[json!([50000, 30]), json!([70000, 50])]);
    log.iter_mut().for_each(|call| call.response = Some("{\"predictions\": [[7, 0.5]]}".to_owned()));
    place.delta("t", &gateway(&log));
    let report = place.refresh();
    assert_eq!((&report["rows"], &report["malformed_rows"]), (&json!(2), &json!(0)));
    let expected = [("age", 40.0), ("certainty", 0.5), ("income", 60000.0), ("prediction", 7.0)];
    assert_eq!(means(&place), expected.map(|(name, mean)| json!([name, mean])));
    same_as_full(&place);

    // An overlay that says one of them again would put it last.
    std::fs::write(place.path("limno.dev.toml"), "[monitor.m.inference_log]\nschema = { income = \"bigint\" }\n")
        .unwrap();
    place
        .limno(&["--env", "dev", "check"])
        .fails(2, &["limno.dev.toml:2", "schema.income", "order is not known", "hint: "]);
}

#[test]
fn columns_that_were_found_get_an_order_when_they_are_said() {
    let place = Place::new();
    place.configure(&monitor(""));
    place.delta("t", &gateway(&calls(4, &["income", "age"], &[vec![json!(1.5), json!(2.5)]])));
    place.refresh();
    place.delta("t", &gateway(&lists(5, &[json!([50000, 30])])));
    assert_eq!(place.refresh()["malformed_rows"], 1);
    assert_eq!(reasons(&place).len(), 1);
    // The same names and types, and the positions of the values.
    let columns = "schema = { income = \"double\", age = \"double\" }\npredictions = { prediction = \"double\" }";
    place.configure(&monitor(columns));
    let report = place.refresh();
    assert_eq!(report["reason"], "how rows find their window or model has changed");
    assert_eq!(reasons(&place), Vec::<Value>::new());
    let expected =
        [("age", 2.5), ("income", 1.5), ("prediction", 0.0), ("age", 30.0), ("income", 50000.0), ("prediction", 0.0)];
    assert_eq!(means(&place), expected.map(|(name, mean)| json!([name, mean])));
    same_as_full(&place);
}

#[test]
fn what_does_not_hold_is_told_once_and_nothing_is_written() {
    let place = Place::new();
    place.delta("t", &gateway(&calls(4, &["a", "b"], &pairs((0..3).map(|a| json!(a))))));
    let refused = |lines: &str, line: usize, parts: &[&str]| refused_once(&place, &monitor(lines), line, parts);
    refused(
        "signature = \"~/nowhere/MLmodel\"",
        8,
        &["inference_log.signature", "cannot read", "nowhere/MLmodel", "hint: "],
    );
    std::fs::write(place.path("MLmodel"), "flavors: {}\n").unwrap();
    refused("signature = \"~/MLmodel\"", 8, &["inference_log.signature", "the MLmodel has no signature"]);
    let predictions = "predictions = { prediction = \"double\" }";
    refused(
        &format!("schema = {{ a = \"dubble\" }}\n{predictions}"),
        8,
        &["schema.a", "column `a`: \"dubble\" is not a type, write one such as double"],
    );
    refused(
        "schema = { a = \"double\" }\npredictions = { prediction = \"map<\" }",
        9,
        &["predictions.prediction", "\"map<\" is not a type"],
    );
    refused("schema = { a = \"double\" }", 8, &["schema", "predictions are missing", "hint: add predictions"]);
    refused(predictions, 8, &["predictions", "those of requests, schema, are missing"]);
    refused(&format!("schema = {{}}\n{predictions}"), 8, &["schema", "is empty"]);
    refused(&format!("{SCHEMA}\nsignature = \"~/MLmodel\""), 10, &["signature", "a second time"]);
    refused("status_codes = [42]", 8, &["status_codes[0]", "42"]);
    refused("status_codes = []", 8, &["status_codes", "is empty"]);
    refused(
        &format!("{SCHEMA}\nprediction = \"predicton\""),
        10,
        &["no column \"predicton\"", "hint: did you mean `prediction`?"],
    );
    let roles = "timestamp = \"request_time\"\nmodel_id = \"served_entity_id\"\nprediction = \"status_code\"\n";
    let of_rows = |format: &str| {
        let keys = format!("status_codes = [200]\n{roles}");
        monitor(&keys).replace("format = \"payload\"", format)
    };
    let parts = ["inference_log.status_codes", "has a meaning only with format = \"payload\""];
    refused_once(&place, &of_rows("format = \"rows\""), 8, &parts);
    refused_once(&place, &of_rows(""), 8, &parts);
    let misspelt = monitor("").replace("\"payload\"", "\"paylod\"");
    refused_once(&place, &misspelt, 5, &["inference_log.format", "paylod", "`payload`"]);

    // No payload table, one whose column has another type, and one without a payload that unpacks.
    let at = ["2024-03-04T00:00:00Z"].map(instant);
    place.parquet("other.parquet", &table([("request_time", times(at)), ("a", numbers([1.0]))]));
    let parts = ["m.table", "lacks them", "`databricks_request_id`", "hint: remove format = \"payload\""];
    refused_once(&place, &monitor("").replace("~/t", "~/other.parquet"), 2, &parts);
    place.parquet("plain.parquet", &table([("at", times(at)), ("a", numbers([1.0]))]));
    let parts = ["m.table", "it is not a payload table", "gateway layout", "legacy layout"];
    refused_once(&place, &monitor("").replace("~/t", "~/plain.parquet"), 2, &parts);
    let mut broken = calls(4, &["a", "b"], &pairs([json!(1)]));
    broken[0].request = Some("{".to_owned());
    place.parquet("broken.parquet", &gateway(&broken));
    let parts = ["m.table", "no payload unpacks, so their columns are not known"];
    refused_once(&place, &monitor("").replace("~/t", "~/broken.parquet"), 2, &parts);
}

#[test]
fn what_is_in_quarantine_is_there_once_whichever_windows_are_made_anew() {
    let place = Place::new();
    place.configure(&monitor(SCHEMA));
    // Days far apart, whose windows are not stored together.
    let broken = |day: u32, ids: std::ops::Range<usize>| {
        let mut log = calls(day, &["a", "b"], &pairs((0..ids.end).map(|a| json!(a))));
        log.iter_mut().for_each(|call| call.request = Some("{".to_owned()));
        gateway(&log[ids])
    };
    [4, 13, 24].into_iter().for_each(|day| drop(place.delta("t", &broken(day, 0..2))));
    place.refresh();
    let ids = || reasons(&place).iter().map(|row| row[0].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(), ["r13-0", "r13-1", "r24-0", "r24-1", "r4-0", "r4-1"]);
    place.delta("t", &broken(13, 2..3));
    place.refresh();
    assert_eq!(ids(), ["r13-0", "r13-1", "r13-2", "r24-0", "r24-1", "r4-0", "r4-1"]);
    assert_eq!(delete(&place, "t", "databricks_request_id = 'r24-0'"), Some(1));
    place.refresh();
    assert_eq!(ids(), ["r13-0", "r13-1", "r13-2", "r24-1", "r4-0", "r4-1"]);
    same_as_full(&place);
}

#[test]
fn other_statuses_are_looked_at_when_they_are_asked_for() {
    let place = Place::new();
    let mut log = calls(4, &["a", "b"], &pairs((0..4).map(|a| json!(a))));
    log[0].status = 418;
    log[1].status = 201;
    // The same request twice, failed first: only where failures are looked at is the second one a repetition.
    log[3].id = log[0].id.clone();
    place.delta("t", &gateway(&log));
    let counts = |lines: &str| {
        place.configure(&monitor(&format!("{SCHEMA}\n{lines}")));
        let report = place.refresh();
        ["rows", "filtered_rows", "duplicate_rows"].map(|key| report[key].as_i64().unwrap())
    };
    assert_eq!(counts(""), [3, 1, 0]);
    assert_eq!(counts("status_codes = [200]"), [2, 2, 0]);
    assert_eq!(counts("status_codes = [200, 418]"), [2, 1, 1]);
    same_as_full(&place);
}

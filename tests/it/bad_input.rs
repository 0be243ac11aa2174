//! What `limno` says of configurations and data that do not hold, and what it does not do then.
//!
//! A configuration at fault stops everything before anything is written. Data at fault cost only the numbers that they
//! touch: the rest goes on, and the gap is told.

use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use serde_json::{Value, json};

use crate::support_run::{Place, Ran, instant, numbers, table, texts, times};

/// Ten rows in one day.
fn rows() -> RecordBatch {
    let at = (0..10).map(|minute| instant("2024-01-01T12:00:00Z") + chrono::TimeDelta::minutes(minute));
    table([("time", times(at)), ("x", numbers((0..10).map(f64::from)))])
}

/// A monitor of a table, with further keys of the monitor.
fn monitor(name: &str, at: &str, more: &str) -> String {
    format!(
        r#"
[monitor.{name}]
table  = "~/{at}"
output = "~/out"
{more}
[monitor.{name}.time_series]
timestamp     = "time"
granularities = ["1 day"]
"#
    )
}

/// Runs a configuration that does not hold: exit code 2, one message, nothing written. Gives the message.
#[track_caller]
fn refused(place: &Place, config: &str, parts: &[&str]) -> String {
    place.configure(config);
    // A check finds what a run finds.
    place.limno(&["check"]).fails(2, parts);
    let ran = place.limno(&["run"]).fails(2, parts);
    untouched(place, &ran);
    ran.err
}

#[track_caller]
fn untouched(place: &Place, ran: &Ran) {
    assert_eq!(ran.out, "");
    assert!(!place.path("out").exists(), "something was written: {:?}", place.files("out"));
}

/// Nothing was written but that the refresh failed, and why.
#[track_caller]
fn only_recorded(place: &Place, ran: &Ran, error: &str) {
    assert_eq!(ran.out, "");
    let written = place.files("out").into_iter().map(|(path, _)| path);
    let elsewhere: Vec<_> =
        written.filter(|path| !path.starts_with(place.path("out/refreshes")) && !path.ends_with(".m.lock")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let rows = place.sql("SELECT result, rows, error FROM refreshes");
    for row in rows {
        assert_eq!((&row["result"], &row["rows"]), (&json!("failed"), &json!(0)));
        assert!(row["error"].as_str().unwrap().contains(error), "{row}");
    }
}

/// The number of problems in a message: each has a line of its own that names the file.
fn problems(message: &str) -> usize {
    message.lines().filter(|line| line.trim_start_matches("error: ").starts_with("limno.toml:")).count()
}

/// One problem, at this line, with this key.
#[track_caller]
pub(crate) fn refused_once(place: &Place, config: &str, line: usize, parts: &[&str]) {
    let message = refused(place, config, parts);
    assert_eq!(problems(&message), 1, "{message}");
    assert!(message.starts_with(&format!("error: limno.toml:{line}: ")), "{message}");
}

fn with_table() -> Place {
    let place = Place::new();
    place.parquet("t.parquet", &rows());
    place
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let place = with_table();
    let config = monitor("m", "t.parquet", "slcies = [\"x > 1\"]");
    let parts = ["monitor.m.slcies", "unknown key `slcies`", "hint: did you mean `slices`?"];
    refused_once(&place, &config, 5, &parts);
    let config = monitor("m", "t.parquet", "").replace("granularities", "granularites");
    let parts = ["monitor.m.time_series.granularites", "hint: did you mean `granularities`?"];
    refused_once(&place, &config, 8, &parts);
}

#[test]
fn an_unknown_column_names_the_nearest_one() {
    let place = with_table();
    let config = monitor("m", "t.parquet", "").replace("\"time\"", "\"tiem\"");
    let parts = ["monitor.m.time_series.timestamp", "no column \"tiem\"", "hint: did you mean `time`?"];
    refused_once(&place, &config, 7, &parts);
    let config = monitor("m", "t.parquet", "columns = { exclude = [\"y\"] }");
    refused_once(&place, &config, 5, &["monitor.m.columns.exclude[0]", "no column \"y\"", "hint: "]);
    for (columns, key, said) in [
        ("exact = [\"tiem\"]", "exact[0]", "no column \"tiem\"\n  hint: did you mean `time`?"),
        ("exact = [\"tim_*\"]", "exact[0]", "no column that fits \"tim_*\"\n  hint: did you mean `time`?"),
        ("max_buckets = { xx = 64 }", "max_buckets.xx", "no column \"xx\"\n  hint: did you mean `x`?"),
        ("max_buckets = { \"y*\" = 64 }", "max_buckets.\"y*\"", "no column that fits \"y*\"\n  hint: "),
    ] {
        let config = monitor("m", "t.parquet", &format!("columns = {{ {columns} }}"));
        refused_once(&place, &config, 5, &[&format!("monitor.m.columns.{key}: the table has {said}")]);
    }
    let config = monitor("m", "t.parquet", "slices = [\"z > 1\"]");
    refused_once(&place, &config, 5, &["monitor.m.slices[0]", "z"]);
    let rule = "[[monitor.m.rule]]\nname = \"r\"\nmetric = \"avg\"\nabove = 1\ncolumns = [\"xx\"]\n";
    let config = monitor("m", "t.parquet", "") + rule;
    refused_once(&place, &config, 13, &["monitor.m.rule[0].columns[0]", "no column \"xx\"", "hint: "]);
}

#[test]
fn a_slice_is_one_expression_over_the_columns() {
    let place = with_table();
    for (slice, said) in [
        ("x > (SELECT 1)", "subquer"),
        ("x IN (SELECT x FROM m)", "subquer"),
        ("EXISTS (SELECT 1)", "subquer"),
        ("x >", ""),
        ("x > 1; DROP TABLE t", ""),
        ("x > 1, x > 2", ""),
        ("sum(x) > 1", "sum"),
        ("nosuch(x)", "nosuch"),
        ("random() > 0.5", "random"),
        ("", ""),
    ] {
        let config = monitor("m", "t.parquet", &format!("slices = [\"{slice}\"]"));
        refused_once(&place, &config, 5, &["monitor.m.slices[0]: ", said]);
    }
}

#[test]
fn a_table_that_is_not_there_is_named() {
    let place = with_table();
    let parts = ["monitor.m.table", "there is nothing at ", "/nowhere"];
    refused_once(&place, &monitor("m", "nowhere", ""), 3, &parts);
    let config = monitor("m", "t.parquet", "baseline = \"~/gone.parquet\"");
    refused_once(&place, &config, 5, &["monitor.m.baseline", "there is nothing at ", "/gone.parquet"]);
    let config = monitor("m", "t.parquet", "").replace("~/t.parquet", "hdfs://host/t");
    refused_once(&place, &config, 3, &["monitor.m.table", "hdfs:// is no place that tables are read from"]);
}

#[test]
fn a_folder_that_is_no_table_is_named() {
    let place = with_table();
    std::fs::create_dir(place.path("folder")).unwrap();
    let parts = ["monitor.m.table", "/folder is not a table", "expected a Delta table"];
    refused_once(&place, &monitor("m", "folder", ""), 3, &parts);
    std::fs::write(place.path("folder/notes.txt"), "no table").unwrap();
    refused_once(&place, &monitor("m", "folder", ""), 3, &parts);
    refused_once(&place, &monitor("m", "folder/notes.txt", ""), 3, &["notes.txt is not a table"]);
}

#[test]
fn a_delta_log_that_does_not_read_is_named() {
    let place = with_table();
    std::fs::create_dir_all(place.path("torn/_delta_log")).unwrap();
    place.configure(&monitor("m", "torn", ""));
    let ran = place.limno(&["run"]).fails(1, &["/torn"]);
    only_recorded(&place, &ran, "/torn");
    std::fs::write(place.path("torn/_delta_log/00000000000000000000.json"), "{\"metaData\":").unwrap();
    let ran = place.limno(&["run"]).fails(1, &["/torn"]);
    only_recorded(&place, &ran, "/torn");
}

/// Cuts a file in half.
fn halve(place: &Place, name: &str) {
    let file = std::fs::OpenOptions::new().write(true).open(place.path(name)).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
}

/// Overwrites the data of a Parquet file and leaves its footer as it is.
fn scribble(place: &Place, name: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).open(place.path(name)).unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    file.write_all(&[0xff; 120]).unwrap();
}

#[test]
fn a_file_cut_in_half_is_named() {
    let place = with_table();
    halve(&place, "t.parquet");
    place.configure(&monitor("m", "t.parquet", ""));
    let ran = place.limno(&["run"]).fails(1, &["/t.parquet"]);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    only_recorded(&place, &ran, "/t.parquet");
    std::fs::remove_dir_all(place.path("out")).unwrap();
    place.limno(&["check"]).fails(1, &["/t.parquet"]);
    for command in ["compare", "profile"] {
        let path = place.at("t.parquet");
        let arguments = if command == "compare" { vec![command, &path, &path] } else { vec![command, &path] };
        let ran = place.limno(&arguments).fails(1, &["/t.parquet"]);
        untouched(&place, &ran);
    }
    // One that is no Parquet, and one of no bytes at all.
    std::fs::write(place.path("t.parquet"), "time,x\n1,2\n").unwrap();
    let ran = place.limno(&["run"]).fails(1, &["/t.parquet"]);
    only_recorded(&place, &ran, "/t.parquet");
    std::fs::remove_dir_all(place.path("out")).unwrap();
    std::fs::write(place.path("t.parquet"), "").unwrap();
    refused_once(&place, &monitor("m", "t.parquet", ""), 3, &["monitor.m.table", "/t.parquet is not a table"]);
}

#[test]
fn data_that_break_while_they_are_read_are_named() {
    let place = with_table();
    scribble(&place, "t.parquet");
    place.configure(&monitor("m", "t.parquet", ""));
    let ran = place.limno(&["run"]).fails(1, &["/t.parquet"]);
    only_recorded(&place, &ran, "/t.parquet");
}

#[test]
fn a_secret_that_is_not_set_is_named_and_others_are_not_shown() {
    let mut place = with_table();
    place.set("LIMNO_STORY_SET", "hunter2");
    let config = monitor("m", "t.parquet", "")
        + r#"
[notifier.oncall]
kind     = "email"
smtp     = "smtps://mail.example.com"
username = "limno"
password = { env = "LIMNO_STORY_PASSWORD" }
from     = "limno@example.com"
to       = ["oncall@example.com"]
[trigger.retrain]
kind   = "databricks_job"
host   = "https://adb-1.azuredatabricks.net"
job_id = 42
token  = { env = "LIMNO_STORY_SET" }
"#;
    let parts = ["notifier.oncall.password", "environment variable `LIMNO_STORY_PASSWORD` is not set"];
    let message = refused(&place, &config, &parts);
    assert_eq!(problems(&message), 1, "{message}");
    assert!(!message.contains("hunter2"));
    let literal = config.replace("{ env = \"LIMNO_STORY_PASSWORD\" }", "\"hunter2\"");
    let message = refused(&place, &literal, &["notifier.oncall.password", "never written in the configuration"]);
    assert!(!message.contains("hunter2"));
}

#[test]
fn all_problems_are_told_at_once() {
    let place = with_table();
    // Of the configuration alone.
    let config = monitor("m", "t.parquet", "slcies = []\ntimezone = \"Europe/Berln\"")
        + r#"
[[monitor.m.rule]]
name    = "r"
metric  = "psi"
above   = 0.2
notify  = ["oncal"]
[notifier.oncall]
kind     = "email"
smtp     = "smtps://mail.example.com"
username = "limno"
password = { env = "LIMNO_STORY_PASSWORD" }
from     = "limno@example.com"
to       = []
"#;
    let parts = [
        "unknown key `slcies`",
        "did you mean `Europe/Berlin`?",
        "did you mean `population_stability_index`?",
        "did you mean `oncall`?",
        "`LIMNO_STORY_PASSWORD` is not set",
        "notifier.oncall.to",
    ];
    assert_eq!(problems(&refused(&place, &config, &parts)), 6);
    // Of the tables, over all monitors.
    let config = monitor("m", "t.parquet", "slices = [\"x >\", \"y > 1\"]\ncolumns = { exclude = [\"z\"] }")
        + &monitor("n", "nowhere", "baseline = \"~/nothing\"")
        + &monitor("fine", "t.parquet", "");
    let parts = [
        "monitor.m.slices[0]",
        "monitor.m.slices[1]",
        "monitor.m.columns.exclude[0]",
        "monitor.n.table",
        "monitor.n.baseline",
    ];
    assert_eq!(problems(&refused(&place, &config, &parts)), 5);
}

#[test]
fn a_configuration_that_is_not_there_or_is_not_toml_is_named() {
    let place = with_table();
    let ran = place.limno(&["run"]).fails(2, &["limno.toml"]);
    untouched(&place, &ran);
    refused_once(&place, "[monitor.m\n", 1, &[]);
    refused(&place, "", &["monitor"]);
}

#[test]
fn timestamps_that_do_not_parse_are_counted_and_the_rest_goes_on() {
    let place = Place::new();
    let csv = "time,x\n2024-01-01T10:00:00Z,1\nyesterday,2\n,3\n2024-01-01 11:00:00,4\n2024-13-01T00:00:00Z,5\n2024-01-02T00:00:00+01:00,6\n";
    std::fs::write(place.path("t.csv"), csv).unwrap();
    place.configure(&monitor("csv", "t.csv", ""));
    let report = place.refresh();
    assert_eq!(
        (&report["rows"], &report["rows_without_window"], &report["windows"]),
        (&json!(6), &json!(3), &json!(1))
    );
    let row = place.row("SELECT rows, rows_without_window FROM refreshes");
    assert_eq!(row, json!({ "rows": 6, "rows_without_window": 3 }));
    let row = place.row("SELECT count, avg FROM csv_profile_metrics WHERE column_name = 'x'");
    assert_eq!(row["count"], 3);
    assert_eq!(row["avg"].as_f64(), Some(11.0 / 3.0));
}

#[test]
fn text_timestamps_of_which_none_parses_leave_no_window() {
    let place = Place::new();
    place.parquet("t.parquet", &table([("time", texts(["soon", "later"])), ("x", numbers([1.0, 2.0]))]));
    place.configure(&monitor("m", "t.parquet", ""));
    let report = place.refresh();
    assert_eq!(
        (&report["rows"], &report["rows_without_window"], &report["windows"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(place.refresh()["refreshed"], false);
    // A column that cannot say when is a mistake in the configuration.
    let place = with_table();
    let config = monitor("m", "t.parquet", "").replace("\"time\"", "\"x\"");
    refused_once(&place, &config, 7, &["monitor.m.time_series.timestamp", "Float64"]);
}

#[test]
fn columns_without_values_have_rows_that_say_so() {
    let place = Place::new();
    let nothing = |length: usize| {
        table([
            ("time", times((0..length).map(|_| instant("2024-01-01T12:00:00Z")))),
            ("x", numbers((0..10).map(f64::from))),
            ("number", Arc::new(Float64Array::new_null(length)) as _),
            ("whole", Arc::new(Int64Array::new_null(length)) as _),
            ("text", Arc::new(StringArray::new_null(length)) as _),
            ("void", Arc::new(NullArray::new(length)) as _),
        ])
    };
    place.parquet("t.parquet", &nothing(10));
    place.configure(&monitor("m", "t.parquet", "baseline = \"~/t.parquet\""));
    place.refresh();
    let profiles = place.sql(
        "SELECT column_name, count, num_nulls, percent_null, avg, stddev, median, min, reason FROM m_profile_metrics \
         WHERE log_type = 'INPUT' AND column_name <> ':table' ORDER BY column_name",
    );
    assert_eq!(profiles.len(), 5, "{profiles:?}");
    for row in &profiles {
        assert_eq!(row["count"], 10);
        if row["column_name"] == "x" {
            assert_eq!((&row["num_nulls"], &row["avg"], &row["reason"]), (&json!(0), &json!(4.5), &Value::Null));
            continue;
        }
        assert_eq!((&row["num_nulls"], &row["percent_null"]), (&json!(10), &json!(100.0)), "{row}");
        for empty in ["avg", "stddev", "median", "min"] {
            assert_eq!(row[empty], Value::Null, "{empty}: {row}");
        }
        assert!(row["reason"].is_string(), "{row}");
    }
    let drifts = place.sql(
        "SELECT column_name, ks_test.statistic AS ks, wasserstein_distance AS w, reason FROM m_drift_metrics \
         WHERE column_name <> ':table' ORDER BY column_name",
    );
    assert_eq!(drifts.len(), 5, "{drifts:?}");
    for row in drifts.iter().filter(|row| row["column_name"] != "x") {
        assert_eq!((&row["ks"], &row["w"]), (&Value::Null, &Value::Null), "{row}");
        assert!(row["reason"].is_string(), "{row}");
    }
    let x = drifts.iter().find(|row| row["column_name"] == "x").unwrap();
    assert_eq!((&x["ks"], &x["w"], &x["reason"]), (&json!(0.0), &json!(0.0), &Value::Null));
}

#[test]
fn lists_have_their_lengths_and_a_drift_row_that_says_why_no_more() {
    let place = Place::new();
    let item = |item: Option<i32>| Some(vec![item]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([item(Some(1)), None, item(None)]);
    let at = times((0..3).map(|_| instant("2024-01-01T12:00:00Z")));
    let rows = table([("time", at), ("lists", Arc::new(lists) as _), ("x", numbers([1.0, 2.0, 3.0]))]);
    place.parquet("t.parquet", &rows);
    place.configure(&monitor("m", "t.parquet", "baseline = \"~/t.parquet\""));
    place.refresh();
    let row = place.row(
        "SELECT count, num_nulls, avg, distinct_count, max_length FROM m_profile_metrics \
         WHERE column_name = 'lists' AND log_type = 'INPUT'",
    );
    assert_eq!((&row["count"], &row["num_nulls"]), (&json!(3), &json!(1)));
    assert_eq!((&row["avg"], &row["distinct_count"]), (&Value::Null, &Value::Null));
    assert_eq!(row["max_length"], 1.0);
    let row = place.row("SELECT count, percent_null_delta, reason FROM m_drift_metrics WHERE column_name = 'lists'");
    assert_eq!((&row["count"], &row["percent_null_delta"]), (&json!(3), &json!(0.0)));
    assert!(row["reason"].is_string(), "{row}");
    let ks = place.row("SELECT ks_test.statistic AS ks FROM m_drift_metrics WHERE column_name = 'x'");
    assert_eq!(ks["ks"], 0.0);
}

#[test]
fn a_column_whose_type_changed_costs_only_its_own_comparison() {
    let place = with_table();
    let before = table([("x", texts(["1", "2"])), ("gone", numbers([1.0, 2.0]))]);
    place.parquet("before.parquet", &before);
    let now = table([
        ("time", times([instant("2024-01-01T12:00:00Z"), instant("2024-01-01T13:00:00Z")])),
        ("x", numbers([1.0, 2.0])),
        ("fresh", numbers([1.0, 2.0])),
    ]);
    place.parquet("t.parquet", &now);
    let rule = "[[monitor.m.rule]]\nname = \"r\"\nmetric = \"population_stability_index\"\nabove = 0.0\n";
    place.configure(&(monitor("m", "t.parquet", "baseline = \"~/before.parquet\"") + rule));
    let report = place.refresh();
    assert_eq!(report["new_breaches"], 0);
    let rows = place.sql(
        "SELECT column_name, data_type, population_stability_index AS psi, count, reason FROM m_drift_metrics \
         WHERE drift_type = 'BASELINE' AND column_name <> ':table' ORDER BY column_name",
    );
    let row = |column: &str, reason: &str| json!({ "column_name": column, "data_type": "double", "psi": null, "count": 2, "reason": reason });
    assert_eq!(
        rows,
        [row("fresh", "the baseline has no such column"), row("x", "the baseline's column has type string")]
    );
    let profiled = place.row("SELECT avg FROM m_profile_metrics WHERE column_name = 'x' AND log_type = 'INPUT'");
    assert_eq!(profiled["avg"], 1.5);

    // The same of a metric over it, and of that metric only.
    let metric = |name: &str, of: &str| {
        format!(
            "[[monitor.m.metric]]\nname = \"{name}\"\nkind = \"aggregate\"\ncolumns = [\":table\"]\ntype = \"double\"\n\
             definition = \"{of}\"\n"
        )
    };
    let metrics = metric("mean", "avg(x)") + &metric("rows", "count(*)");
    place.configure(&(monitor("m", "t.parquet", "baseline = \"~/before.parquet\"") + &metrics));
    place.refresh();
    let rows =
        place.sql("SELECT log_type, mean, rows FROM m_profile_metrics WHERE column_name = ':table' ORDER BY log_type");
    let row = |of: &str, mean: Option<f64>| json!({ "log_type": of, "mean": mean, "rows": 2.0 });
    assert_eq!(rows, [row("BASELINE", None), row("INPUT", Some(1.5))]);
    let reason = "SELECT reason FROM m_drift_metrics WHERE drift_type = 'BASELINE' AND column_name = ':table'";
    assert_eq!(place.row(reason)["reason"], "the baseline lacks the columns, or their types, for: mean");
}

#[test]
fn a_baseline_whose_label_is_text_has_no_model_quality() {
    let place = Place::new();
    let columns = |label| {
        table([
            ("time", times([instant("2024-01-01T12:00:00Z"), instant("2024-01-01T13:00:00Z")])),
            ("model", texts(["a", "a"])),
            ("predicted", numbers([1.0, 2.0])),
            ("actual", label),
        ])
    };
    place.parquet("t.parquet", &columns(numbers([1.0, 3.0])));
    place.parquet("before.parquet", &columns(texts(["1", "NA"])));
    place.configure(
        "[monitor.m]\ntable = \"~/t.parquet\"\noutput = \"~/out\"\nbaseline = \"~/before.parquet\"\n\
         [monitor.m.inference_log]\ntimestamp = \"time\"\ngranularities = [\"1 day\"]\nmodel_id = \"model\"\n\
         prediction = \"predicted\"\nlabel = \"actual\"\nproblem_type = \"regression\"\n",
    );
    assert_eq!(place.refresh()["result"], "ok");
    let rows = place.sql(
        "SELECT log_type, mean_squared_error AS mse, reason FROM m_profile_metrics WHERE column_name = ':table' \
         AND model = '*' ORDER BY log_type",
    );
    let reason = "the baseline lacks the columns, or their types, for: model quality";
    assert_eq!(
        rows,
        [
            json!({ "log_type": "BASELINE", "mse": null, "reason": reason }),
            json!({ "log_type": "INPUT", "mse": 0.5, "reason": null }),
        ]
    );
    // The other columns are compared.
    let compared = place
        .row("SELECT ks_test.statistic AS ks FROM m_drift_metrics WHERE column_name = 'predicted' AND model = '*'");
    assert_eq!(compared["ks"], 0.0);
}

#[test]
fn a_table_whose_column_changes_its_type_is_measured_anew() {
    let place = with_table();
    place.configure(&monitor("m", "t.parquet", ""));
    assert_eq!(place.refresh()["monitor_version"], 0);
    // One window and no baseline: there is nothing to compare, and nothing new either.
    assert_eq!(place.refresh()["refreshed"], false);
    let at = (0..10).map(|_| instant("2024-01-01T12:00:00Z"));
    std::fs::remove_file(place.path("t.parquet")).unwrap();
    place.parquet("t.parquet", &table([("time", times(at)), ("x", texts(["a"; 10]))]));
    let report = place.refresh();
    assert_eq!((&report["refreshed"], &report["monitor_version"]), (&json!(true), &json!(1)));
    let row =
        place.row("SELECT data_type, avg, distinct_count, avg_length FROM m_profile_metrics WHERE column_name = 'x'");
    assert_eq!(row, json!({ "data_type": "string", "avg": null, "distinct_count": 1, "avg_length": 1.0 }));
}

#[test]
fn an_empty_table_is_told_and_hurts_nobody() {
    let place = with_table();
    place.parquet("empty.parquet", &rows().slice(0, 0));
    let rule = |name: &str| {
        format!("[[monitor.{name}.rule]]\nname = \"r\"\nmetric = \"population_stability_index\"\nabove = 0.0\n")
    };
    let snapshot = "[monitor.still]\ntable = \"~/empty.parquet\"\noutput = \"~/out\"\n\
                    baseline = \"~/t.parquet\"\n[monitor.still.snapshot]\n";
    let config = [
        monitor("series", "empty.parquet", "baseline = \"~/t.parquet\"\nslices = [\"x > 1\"]"),
        rule("series"),
        monitor("against", "t.parquet", "baseline = \"~/empty.parquet\"\nslices = [\"x > 1\"]"),
        rule("against"),
        snapshot.to_owned(),
        rule("still"),
    ];
    place.configure(&config.concat());
    let reports = place.limno(&["run"]).fine().reports();
    let told: Vec<_> = reports.iter().map(|report| (report["rows"].clone(), report["new_breaches"].clone())).collect();
    assert_eq!(told, [(json!(0), json!(0)), (json!(10), json!(0)), (json!(0), json!(0))]);
    assert_eq!((&reports[0]["windows"], &reports[1]["windows"]), (&json!(0), &json!(1)));
    let counts = place.row("SELECT count(*) AS rows FROM series_profile_metrics WHERE log_type = 'INPUT'");
    assert_eq!(counts["rows"], 0);
    let again = place.limno(&["run"]).fine().reports();
    assert!(again.iter().all(|report| report["refreshed"] == false), "{again:?}");
    // The commands without configuration.
    let (empty, full) = (place.at("empty.parquet"), place.at("t.parquet"));
    for pair in [[&empty, &full], [&full, &empty], [&empty, &empty]] {
        let ran = place.limno(&["compare", pair[0], pair[1], "--format", "json"]).fine();
        let rows: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
        let x = rows.iter().find(|row| row["column_name"] == "x").unwrap();
        assert_eq!(x["ks_test"]["statistic"], Value::Null);
        assert!(x["reason"].is_string(), "{x}");
    }
    place.limno(&["profile", &empty]).fine();
}

#[test]
fn nan_and_infinities_are_counted_and_cost_no_other_number() {
    let place = Place::new();
    let at = || times((0..6).map(|_| instant("2024-01-01T12:00:00Z")));
    let infinite = [1.0, 2.0, f64::INFINITY, f64::NEG_INFINITY, 3.0, f64::NAN];
    let nan = [1.0, 2.0, f64::NAN, 3.0, f64::NAN, 0.0];
    let columns = |x: [f64; 6], y: [f64; 6]| {
        table([("time", at()), ("x", numbers(x)), ("y", numbers(y)), ("fine", numbers(around()))])
    };
    place.parquet("t.parquet", &columns(infinite, nan));
    place.parquet("before.parquet", &columns([1.0; 6], [1.0; 6]));
    place.configure(&monitor("m", "t.parquet", "baseline = \"~/before.parquet\""));
    place.refresh();
    let profiles = place.sql(
        "SELECT column_name, count, num_nulls, num_nan, num_infinite, num_zeros, avg, stddev, median, reason \
         FROM m_profile_metrics WHERE log_type = 'INPUT' AND column_name <> ':table' ORDER BY column_name",
    );
    let [fine, x, y] = profiles.as_slice() else { panic!("{profiles:?}") };
    assert_eq!((&fine["avg"], &fine["reason"]), (&json!(2.5), &Value::Null));
    assert_eq!(
        (&x["num_nan"], &x["num_infinite"], &x["num_nulls"], &x["count"]),
        (&json!(1), &json!(2), &json!(0), &json!(6))
    );
    assert_eq!((&x["avg"], &x["stddev"], &x["median"]), (&Value::Null, &Value::Null, &json!(2.0)));
    assert!(x["reason"].as_str().unwrap().contains("infinit"), "{x}");
    assert_eq!((&y["num_nan"], &y["num_infinite"], &y["num_zeros"]), (&json!(2), &json!(0), &json!(1)));
    assert_eq!((&y["avg"], &y["median"], &y["reason"]), (&json!(1.5), &json!(1.0), &Value::Null));
    let x = place.row(
        "SELECT ks_test.statistic AS ks, wasserstein_distance AS w, reason FROM m_drift_metrics WHERE column_name = 'x'",
    );
    // Of five values two lie above 1 besides the infinite one, and one below.
    assert_eq!((&x["ks"], &x["w"]), (&json!(0.6), &Value::Null));
    assert!(x["reason"].as_str().unwrap().contains("infinit"), "{x}");
}

fn around() -> [f64; 6] {
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
}

#[test]
fn one_broken_table_costs_the_other_monitors_nothing() {
    for damage in [halve, scribble] {
        let place = with_table();
        place.parquet("broken.parquet", &rows());
        damage(&place, "broken.parquet");
        place.configure(&(monitor("broken", "broken.parquet", "") + &monitor("sound", "t.parquet", "")));
        let ran = place.limno(&["run"]).fails(1, &["broken", "/broken.parquet"]);
        let reports = ran.reports();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert_eq!((&reports[0]["monitor"], &reports[0]["refreshed"]), (&json!("sound"), &json!(true)));
        let results = place.sql("SELECT monitor, result FROM refreshes ORDER BY monitor");
        let result = |monitor: &str, result: &str| json!({ "monitor": monitor, "result": result });
        assert_eq!(results, [result("broken", "failed"), result("sound", "ok")]);
        assert!(!place.path("out/broken_profile_metrics").exists());
        // Mended, it is refreshed, and the other has nothing new.
        std::fs::remove_file(place.path("broken.parquet")).unwrap();
        place.parquet("broken.parquet", &rows());
        let reports = place.limno(&["run"]).fine().reports();
        let refreshed: Vec<_> = reports.iter().map(|report| report["refreshed"].clone()).collect();
        assert_eq!(refreshed, [true, false]);
    }
}

#[test]
fn a_query_that_would_change_something_is_refused() {
    let place = with_table();
    place.configure(&monitor("m", "t.parquet", ""));
    place.limno(&["sql", "SELECT * FROM m_profile_metrics"]).fails(2, &["call limno run first"]);
    place.refresh();
    let before = place.files("out");
    for query in [
        "DROP TABLE alerts",
        "DELETE FROM refreshes",
        "COPY refreshes TO 'x.csv'",
        "CREATE TABLE a AS SELECT 1",
        "SELECT nosuch FROM refreshes",
    ] {
        place.limno(&["sql", query]).fails(2, &[]);
    }
    assert_eq!(place.files("out"), before);
    assert!(!place.path("x.csv").exists());
    let null = place.row("SELECT commit_version FROM refreshes");
    assert!(null["commit_version"].is_null());
}

//! What a refresh reads: new files, dirty windows, and nothing that the ledger knows already.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{day, numbers_of};
use crate::support_run::{Place, instant, numbers, table, times};

/// A monitor of days of `t` with more lines.
pub(super) fn monitor(granularities: &str, lines: &str) -> String {
    format!(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n{lines}\n\
         [monitor.m.time_series]\ntimestamp = \"at\"\ngranularities = [{granularities}]\n"
    )
}

pub(super) fn with_days(days: std::ops::RangeInclusive<i64>) -> Place {
    let place = Place::new();
    for number in days {
        place.delta("t", &day(number, number as f64));
    }
    place.configure(&monitor("\"1 day\"", ""));
    place
}

fn read(report: &Value) -> (i64, i64, i64) {
    let number = |key: &str| report[key].as_i64().unwrap();
    (number("files_read"), number("rows"), number("windows"))
}

/// That the metric tables are those of a refresh from nothing.
#[track_caller]
pub(super) fn same_as_full(place: &Place) {
    let tables = || ["m_profile_metrics", "m_drift_metrics"].map(|table| numbers_of(place, table));
    let incremental = tables();
    let ledger = states(place);
    let report = place.limno(&["run", "--full-refresh"]).fine().reports().remove(0);
    assert_eq!((&report["mode"], &report["reason"]), (&json!("full"), &json!("it was asked for")));
    assert_eq!(incremental, tables());
    assert_eq!(ledger, states(place));
}

pub(super) fn states(place: &Place) -> Vec<Value> {
    place.sql(
        "SELECT window_start, unit, model_id, slice_key, slice_value, column_name, definition, rows, \
         encode(state, 'hex') AS state, checksum FROM m_ledger WHERE log_type <> 'WATERMARK' \
         ORDER BY log_type, window_start, model_id, slice_key, slice_value, column_name",
    )
}

#[test]
pub(super) fn a_refresh_reads_the_files_that_are_new_and_no_other() {
    let place = with_days(1..=5);
    let report = place.refresh();
    assert_eq!((read(&report), &report["mode"]), ((5, 3000, 5), &json!("full")));
    let report = place.refresh();
    assert_eq!(report["refreshed"], false);
    place.delta("t", &day(6, 6.0));
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!((&plan["mode"], &plan["files"], &plan["anew"]), (&json!("incremental"), &json!(1), &json!([])));
    assert_eq!(plan["parts"][0]["what"], "files that were added");
    let report = place.refresh();
    assert_eq!((read(&report), &report["mode"]), ((1, 600, 1), &json!("incremental")));
    assert_eq!((&report["from_version"], &report["commit_version"]), (&json!(4), &json!(5)));
    // Its own window, and, as the one before, the next one's comparison.
    place.delta("t", &day(3, 100.0));
    let report = place.refresh();
    assert_eq!((read(&report), &report["late_rows"]), ((1, 600, 1), &json!(600)));
    let counts = place.sql("SELECT count FROM m_profile_metrics WHERE column_name = ':table' ORDER BY window.start");
    assert_eq!(counts, [600, 600, 1200, 600, 600, 600].map(|count| json!({ "count": count })));
    let log = place.sql("SELECT result, mode, files_read, rows, late_rows FROM refreshes ORDER BY ledger_version");
    let row = |mode: &str, files: i64, rows: i64, late: i64| json!({ "result": "ok", "mode": mode, "files_read": files, "rows": rows, "late_rows": late });
    assert_eq!(log, [row("full", 5, 3000, 0), row("incremental", 1, 600, 600), row("incremental", 1, 600, 600)]);
    same_as_full(&place);
}

#[test]
fn a_longer_granularity_is_merged_from_the_ledger() {
    for (before, after) in [("\"1 day\"", "\"1 day\", \"1 week\""), ("\"1 month\"", "\"1 month\", \"1 week\"")] {
        let place = with_days(1..=12);
        place.configure(&monitor(before, ""));
        place.refresh();
        place.configure(&monitor(after, ""));
        let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
        assert_eq!((&plan["mode"], &plan["files"]), (&json!("incremental"), &json!(0)));
        let report = place.refresh();
        assert_eq!((&report["files_read"], &report["monitor_version"]), (&json!(0), &json!(1)));
        let weeks = place.sql(
            "SELECT count FROM m_profile_metrics WHERE column_name = 'x' AND granularity = '1 week' \
             ORDER BY window.start",
        );
        assert_eq!(weeks, [4200, 3000].map(|count| json!({ "count": count })));
        same_as_full(&place);
        // Without the shorter one nothing is read either, and its rows go.
        place.configure(&monitor("\"1 week\"", ""));
        assert_eq!(place.refresh()["files_read"], 0);
        assert_eq!(place.row("SELECT count(DISTINCT granularity) AS n FROM m_profile_metrics")["n"], 1);
        same_as_full(&place);
    }
}

#[test]
fn shorter_windows_than_the_ledgers_need_the_table() {
    let place = with_days(1..=3);
    place.configure(&monitor("\"1 hour\", \"1 day\"", ""));
    place.refresh();
    place.configure(&monitor("\"1 day\"", ""));
    assert_eq!(place.refresh()["files_read"], 0, "hours are merged to days");
    same_as_full(&place);
    place.configure(&monitor("\"1 hour\"", ""));
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!((&plan["mode"], &plan["files"]), (&json!("full"), &json!(3)));
    assert!(plan["reason"].as_str().unwrap().contains("finer than those of the ledger"), "{plan}");
    assert_eq!(place.refresh()["files_read"], 3);
}

#[test]
pub(super) fn a_new_column_or_slice_is_read_alone() {
    let place = Place::new();
    let rows = |day: i64| {
        let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day);
        let value = |factor: f64| numbers((0..50).map(move |row| f64::from(row) * factor));
        let at = times((0..50).map(|second| start + TimeDelta::seconds(second)));
        table([("at", at), ("x", value(1.0)), ("y", value(2.0)), ("z", value(-1.0))])
    };
    (0..3).for_each(|day| drop(place.delta("t", &rows(day))));
    let configured = |columns: &str, slices: &str| {
        place.configure(&monitor("\"1 day\"", &format!("columns = {{ include = [{columns}] }}\nslices = [{slices}]")));
        place.limno(&["run", "--plan"]).fine().reports().remove(0)
    };
    configured("\"x\"", "");
    place.refresh();
    let plan = configured("\"x\", \"y\"", "");
    assert_eq!((&plan["parts"][0]["columns"], &plan["parts"][0]["what"]), (&json!(["y"]), &json!("new columns: y")));
    assert_eq!(plan["parts"].as_array().unwrap().len(), 1);
    place.refresh();
    same_as_full(&place);
    let plan = configured("\"x\", \"y\"", "\"x > 10\"");
    assert_eq!((&plan["parts"][0]["slices"], &plan["parts"][0]["files"]), (&json!(["x > 10"]), &json!(3)));
    place.refresh();
    same_as_full(&place);
    // Both at once, and new rows with them.
    place.delta("t", &rows(3));
    let plan = configured("\"x\", \"z\"", "\"x > 10\", \"y > 3\"");
    let parts: Vec<_> = plan["parts"].as_array().unwrap().iter().map(|part| part["what"].as_str().unwrap()).collect();
    assert_eq!(parts, ["files that were added", "new columns: z", "new slices: y > 3"]);
    place.refresh();
    same_as_full(&place);
    // Less of both is not read at all.
    let plan = configured("\"x\"", "");
    assert_eq!((&plan["mode"], &plan["files"]), (&json!("incremental"), &json!(0)));
    place.refresh();
    same_as_full(&place);
    // Rules need nothing but rows.
    place.configure(
        &(monitor("\"1 day\"", "columns = { include = [\"x\"] }")
            + "[[monitor.m.rule]]\nname = \"r\"\nmetric = \"count\"\nabove = 1e9\n"),
    );
    assert_eq!(place.limno(&["run", "--plan"]).fine().reports()[0]["mode"], "nothing");
}

#[test]
fn states_take_the_memory_they_may_and_come_to_the_same() {
    let place = Place::new();
    let names: Vec<String> = (0..20).map(|column| format!("c{column}")).collect();
    let rows = |day: i64| {
        let at =
            times((0..400).map(|second| {
                instant("2024-01-01T00:00:00Z") + TimeDelta::days(day) + TimeDelta::seconds(second * 60)
            }));
        let value =
            |column: usize| numbers((0..400).map(move |row| f64::from(row * 7919 % 400).powi(2) + column as f64));
        let values = names.iter().enumerate().map(|(column, name)| (name.as_str(), value(column)));
        table([("at", at)].into_iter().chain(values))
    };
    (0..8).for_each(|day| drop(place.delta("t", &rows(day))));
    let configured = |memory: &str| {
        place.configure(&monitor("\"1 hour\", \"1 day\"", &format!("slices = [\"c0 > 100\"]\nmemory = \"{memory}\"")));
    };
    configured("4 GiB");
    place.refresh();
    let tables = || ["m_profile_metrics", "m_drift_metrics"].map(|table| numbers_of(&place, table));
    let (roomy, ledger) = (tables(), states(&place));
    configured("16 MiB");
    let report = &place.limno(&["run", "--full-refresh"]).fine().reports()[0];
    assert_eq!(report["monitor_version"], 0, "memory is no part of what is measured");
    assert!(roomy == tables() && ledger == states(&place));
}

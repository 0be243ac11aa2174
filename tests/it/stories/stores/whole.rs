//! What is told of stores only: the main job from one end to the other, snapshots, and tables without a monitor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::change::{delete, update};
use super::super::{Timed, around, day, mail_folder};
use crate::histories::lake::Lake;
use crate::support_run::{Place, components, instant, numbers, table, texts, times};

const ROWS: i64 = 40;

/// The job as it is asked for: a log of two models with late labels, a baseline, slices, a rule, a mail and a webhook.
pub(super) fn monitor(name: &str) -> String {
    format!(
        r#"
[monitor.{name}]
table    = "~/t"
output   = "~/out"
baseline = "~/baseline.parquet"
slices   = ["kind"]
[monitor.{name}.inference_log]
timestamp     = "at"
granularities = ["1 day"]
model_id      = "model"
prediction    = "predicted"
problem_type  = "regression"
labels        = {{ table = "~/labels", on = ["id"], label = "actual" }}
[[monitor.{name}.rule]]
name    = "high"
metric  = "max"
columns = ["x"]
above   = 50
notify = ["oncall", "chat"]
"#
    )
}

pub(super) fn notifiers(chat: &str) -> String {
    format!("{}\n[notifier.chat]\nkind = \"webhook\"\nurl = \"{chat}\"\n", mail_folder())
}

fn ids(day: i64) -> ArrayRef {
    Arc::new((ROWS * (day - 1)..ROWS * day).collect::<Int64Array>())
}

/// Rows of a day of January 2024, whose values are so much higher.
pub(super) fn rows(day: i64, shift: f64) -> RecordBatch {
    let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day - 1);
    table([
        ("id", ids(day)),
        ("at", times((0..ROWS).map(|minute| start + TimeDelta::minutes(minute)))),
        ("model", texts((0..ROWS).map(|row| if row % 4 == 0 { "old" } else { "new" }))),
        ("kind", texts((0..ROWS).map(|row| if row % 3 == 0 { "é" } else { "b" }))),
        ("x", numbers((0..ROWS).map(|row| row as f64 / 7.0 + shift))),
        ("predicted", numbers((0..ROWS).map(|row| row as f64))),
    ])
}

pub(super) fn labels(day: i64) -> RecordBatch {
    table([("id", ids(day)), ("actual", numbers((0..ROWS).map(|row| row as f64 + 0.1 * (row % 3) as f64)))])
}

/// Three days, labels of two, and a baseline.
pub(super) fn write_first(place: &Place) {
    (1..=3).for_each(|day| drop(place.delta("t", &rows(day, 0.0))));
    (1..=2).for_each(|day| drop(place.delta("labels", &labels(day))));
    place.parquet("baseline.parquet", &rows(1, 0.0));
}

/// What others do to the tables: rows that come late, that go, that change, that take the place of others.
pub(super) fn change_all(place: &Place) {
    place.delta("t", &rows(2, 1.0));
    place.delta("labels", &labels(3));
    assert_eq!(delete(place, "t", "id BETWEEN 5 AND 9"), Some(5));
    assert_eq!(update(place, "labels", "id = 41", ("actual", "actual + 7.0")), 1);
}

/// How often a path of the recorder was posted to.
fn posts(log: &str, path: &str) -> usize {
    let text = std::fs::read_to_string(log).unwrap();
    let calls = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    calls.filter(|call| call["path"] == path && call["method"] == "POST").count()
}

fn mode(report: &Value) -> (&Value, &Value) {
    (&report["mode"], &report["new_breaches"])
}

pub(super) fn from_the_first_refresh_to_the_last_mail() {
    let Some([recorder, log]) = components(["LIMNO_TEST_RECORDER", "LIMNO_TEST_RECORDER_LOG"]) else { return };
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let hook = format!("/hook/200/stores-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let place = Place::new();
    write_first(&place);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.configure(&(monitor("m") + &notifiers(&format!("http://{nobody}/"))));
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!((&plan["mode"], &plan["files"]), (&json!("full"), &json!(4)));
    assert!(place.files("out").is_empty(), "a plan writes nothing");
    assert_eq!(mode(&place.refresh()), (&json!("full"), &json!(0)));
    assert_eq!(place.refresh()["refreshed"], false);

    // A day that is far from the baseline, while the chat is not there.
    place.delta("t", &rows(4, 100.0));
    let ran = place.limno(&["run", "--fail-on-alert"]).fails(1, &["notifier chat", "the next run tries again"]);
    let report = ran.reports().remove(0);
    assert_eq!(report["mode"], "incremental");
    assert!(report["new_breaches"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(place.mails("mail").len(), 1);
    let pending = "SELECT count(*) AS n FROM alerts WHERE status IN ('failed', 'delivered')";
    assert_eq!(place.row(pending)["n"], 2);
    // It is there again; the mail was sent.
    place.configure(&(monitor("m") + &notifiers(&format!("{recorder}{hook}"))));
    let report = place.refresh();
    assert_eq!((&report["refreshed"], report["deliveries"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!((posts(&log, &hook), place.mails("mail").len()), (1, 1));
    let report = place.refresh();
    assert_eq!((&report["refreshed"], &report["deliveries"]), (&json!(false), &json!([])));

    change_all(&place);
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!(plan["mode"], "incremental", "{plan}");
    assert_eq!(mode(&place.refresh()).0, "incremental");
    // What is written over all that was there.
    let lake = Lake::at(&place.path("t"));
    tokio::runtime::Runtime::new().unwrap().block_on(lake.overwrite(rows(2, 3.0))).unwrap();
    place.refresh();
    let days = place.row("SELECT count(DISTINCT window.start) AS n FROM m_profile_metrics WHERE granularity = '1 day'");
    assert_eq!(days["n"], 1);
    assert_eq!((posts(&log, &hook), place.mails("mail").len()), (1, 1), "nothing is told twice");
}

pub(super) fn a_snapshot_is_kept_and_old_files_go() {
    let place = Place::new();
    place.delta("t", &day(1, 1.0));
    place.configure(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\nretention = { files = \"1h\" }\n[monitor.m.snapshot]\n",
    );
    let times = ["2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z", "2024-02-03T00:00:00Z"];
    let timed = Timed::new(&place, times[0]);
    for (number, at) in (2..).zip(times) {
        place.delta("t", &day(number, 1.0));
        // What was there is known.
        assert_eq!(timed.run_at(at).refreshed.unwrap().rows, if number == 2 { 1200 } else { 600 });
        assert!(timed.run_at(at).refreshed.is_none());
    }
    let windows =
        place.sql("SELECT window.start AS at, count FROM m_profile_metrics WHERE column_name = 'x' ORDER BY 1");
    let wanted = times.iter().zip([1200, 1800, 2400]).map(|(at, count)| json!({ "at": at, "count": count }));
    assert_eq!(windows, wanted.collect::<Vec<_>>());
    // A file that no commit names, and that is old enough for the machine's clock or not: `limno` says the same.
    let reports = place.limno(&["vacuum", "--dry-run"]).fine().reports();
    assert_eq!(place.limno(&["vacuum"]).fine().reports()[0]["files"], reports[0]["files"]);
    assert!(timed.run_at(times[2]).refreshed.is_none());
}

pub(super) fn tables_are_compared_and_profiled_where_they_lie() {
    let place = Place::new();
    place.configure("");
    let rows = |centre: f64| table([("x", numbers(around(centre)))]);
    place.delta("before", &rows(0.0));
    (0..2).for_each(|_| drop(place.delta("now", &rows(30.0))));
    place.parquet("now.parquet", &rows(30.0));
    // What is shown are the bits of every number.
    let shown = |arguments: &[&str]| {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--format", "json"]);
        let text = place.limno(&arguments).fine().out;
        text.replace(&place.uri(""), "~/")
    };
    let (before, now, file) = (place.uri("before"), place.uri("now"), place.uri("now.parquet"));
    let texts = [shown(&["compare", &before, &now]), shown(&["compare", &before, &file]), shown(&["profile", &now])];
    let on_disk = ["before", "now", "now.parquet"].map(|name| place.at(name));
    let [before_too, now_too, file_too] = on_disk.each_ref().map(String::as_str);
    let here = |arguments: &[&str]| shown(arguments).replace(&place.at(""), "~/");
    assert_eq!(texts[0], here(&["compare", before_too, now_too]));
    assert_eq!(texts[1], here(&["compare", before_too, file_too]));
    assert_eq!(texts[2], here(&["profile", now_too]));
    let rows: Vec<Value> = serde_json::from_str(&texts[0]).unwrap();
    assert_eq!(rows[0]["current"]["count"], 1200);
    assert!(rows[0]["population_stability_index"].as_f64().unwrap() > 0.2);
    let limit = ["compare", &before, &now, "--fail-on", "population_stability_index > 0.2"];
    assert_eq!(place.limno(&limit).code, 3);
}

//! Windows: where they are cut, when they are complete, and what comes late.

use serde_json::json;

use super::{Timed, around, daily, day, found, mail_folder};
use crate::support_run::{Place, instant, numbers, table, times};

#[test]
fn days_and_weeks_follow_the_time_zone_and_the_start_of_the_week() {
    let place = Place::new();
    // New York changes its clocks on Sunday, 2024-03-10.
    let at = [
        "2024-03-10T04:59:59.999999Z", // Saturday, 23:59:59 in New York
        "2024-03-10T05:00:00Z",        // Sunday
        "2024-03-11T03:59:59Z",        // still Sunday, of 23 hours
        "2024-03-11T04:00:00Z",        // Monday
        "2024-03-17T03:59:59Z",        // Saturday
        "2024-03-17T04:00:00Z",        // Sunday
    ];
    place
        .parquet("t.parquet", &table([("at", times(at.map(instant))), ("x", numbers([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))]));
    place.configure(
        r#"
[monitor.sales]
table      = "~/t.parquet"
output     = "~/out"
timezone   = "America/New_York"
week_start = "sunday"
[monitor.sales.time_series]
timestamp     = "at"
granularities = ["1 day", "1 week"]
"#,
    );
    let report = place.refresh();
    assert_eq!((&report["rows"], &report["windows"]), (&json!(6), &json!(8)));
    let windows = place.sql(
        "SELECT granularity, window.start AS start, window.end AS end, count, avg FROM sales_profile_metrics \
         WHERE column_name = 'x' ORDER BY granularity, start",
    );
    let read: Vec<_> = windows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("granularity"), text("start"), text("end"), row["count"].as_i64().unwrap(), row["avg"].as_f64())
        })
        .collect();
    let window = |length: &str, start: &str, end: &str, count, avg| {
        (length.to_owned(), format!("2024-03-{start}:00:00Z"), format!("2024-03-{end}:00:00Z"), count, Some(avg))
    };
    assert_eq!(
        read,
        [
            window("1 day", "09T05", "10T05", 1, 1.0),
            window("1 day", "10T05", "11T04", 2, 2.5),
            window("1 day", "11T04", "12T04", 1, 4.0),
            window("1 day", "16T04", "17T04", 1, 5.0),
            window("1 day", "17T04", "18T04", 1, 6.0),
            window("1 week", "03T05", "10T05", 1, 1.0),
            window("1 week", "10T05", "17T04", 4, 3.5),
            window("1 week", "17T04", "24T04", 1, 6.0),
        ]
    );
    // Without a baseline, each window is compared with the one just before it, and with no other.
    let pairs = place.sql(
        "SELECT window.start AS start, window_cmp.start AS before FROM sales_drift_metrics \
         WHERE column_name = 'x' AND granularity = '1 day' AND drift_type = 'CONSECUTIVE' ORDER BY 1",
    );
    let pair = |start: &str, before: &str| json!({ "start": format!("2024-03-{start}:00:00Z"), "before": format!("2024-03-{before}:00:00Z") });
    assert_eq!(pairs, [pair("10T05", "09T05"), pair("11T04", "10T05"), pair("17T04", "16T04")]);
}

#[test]
fn each_change_of_a_snapshot_is_a_window_of_its_own() {
    let place = Place::new();
    let write = |name: &str, centre: f64| place.parquet(name, &table([("x", numbers(around(centre)))]));
    write("before.parquet", 0.0);
    write("t.parquet", 0.0);
    place.configure(&format!(
        r#"
[monitor.stock]
table    = "~/t.parquet"
output   = "~/out"
baseline = "~/before.parquet"
[monitor.stock.snapshot]
[[monitor.stock.rule]]
name   = "shift"
metric = "ks_test.statistic"
above  = 0.1
notify = ["oncall"]
{}"#,
        mail_folder()
    ));
    let report = place.refresh();
    assert_eq!((&report["windows"], &report["new_breaches"]), (&json!(1), &json!(0)));
    assert_eq!(place.refresh()["refreshed"], false);
    assert!(place.mails("mail").is_empty());
    std::fs::remove_file(place.path("t.parquet")).unwrap();
    write("t.parquet", 1000.0);
    let report = place.refresh();
    assert_eq!((&report["new_breaches"], &report["historical_breaches"]), (&json!(1), &json!(0)));
    let [mail] = place.mails("mail").try_into().unwrap();
    assert!(mail.text.contains("1. x: ks_test.statistic 1 "), "{}", mail.text);
    let profiles = place.sql(
        "SELECT window.start = window.end AS is_instant, granularity, min, window_complete FROM stock_profile_metrics \
         WHERE column_name = 'x' AND log_type = 'INPUT' ORDER BY window.start",
    );
    let profile = |min| json!({ "is_instant": true, "granularity": null, "min": min, "window_complete": true });
    assert_eq!(profiles, [profile(0.0), profile(1000.0)]);
    let before = place.files("out");
    assert_eq!(place.refresh()["deliveries"], json!([]));
    assert_eq!(place.files("out"), before);
}

#[test]
fn a_window_that_becomes_complete_without_new_data_is_told_then() {
    let place = Place::new();
    daily(&place);
    for (number, centre) in [(2, 0.0), (3, 500.0), (4, 0.0), (5, 1000.0)] {
        place.delta("t", &day(number, centre));
    }
    let timed = Timed::new(&place, "2024-01-05T12:00:00Z");
    let completeness = || {
        place.sql(
            "SELECT window_complete FROM daily_profile_metrics \
             WHERE column_name = 'x' AND log_type = 'INPUT' ORDER BY window.start",
        )
    };
    let marks = |newest: bool| [true, true, true, newest].map(|mark| json!({ "window_complete": mark }));
    let report = timed.run_at("2024-01-05T12:00:00Z");
    assert!(report.refreshed.is_some());
    assert_eq!(found(&report), (0, 1, 0), "the day is not over, and the 3rd is history");
    assert_eq!(completeness(), marks(false));
    let report = timed.run_at("2024-01-06T00:59:59Z");
    assert!(report.refreshed.is_none());
    assert_eq!(found(&report), (0, 0, 0), "the grace is not over");
    assert!(place.mails("mail").is_empty());

    let report = timed.run_at("2024-01-06T01:00:00Z");
    let row = report.refreshed.as_ref().expect("the marks changed");
    assert_eq!((row.files_read, row.rows, row.windows), (0, 0, 1), "no data were added");
    assert_eq!(found(&report), (1, 0, 1));
    let [mail] = place.mails("mail").try_into().unwrap();
    assert!(mail.text.contains("2024-01-05 00:00 UTC to 2024-01-06 00:00 UTC (1 day)"), "{}", mail.text);
    assert_eq!(mail.header("Date"), "Sat, 06 Jan 2024 01:00:00 +0000");
    assert_eq!(completeness(), marks(true));
    assert_eq!(found(&timed.run_at("2024-01-06T02:00:00Z")), (0, 0, 0));
    // An engine of its own, as after a restart, knows it too.
    assert_eq!(found(&Timed::new(&place, "2024-01-07T00:00:00Z").run_at("2024-01-08T00:00:00Z")), (0, 0, 0));
    assert_eq!(place.mails("mail").len(), 1);
}

#[test]
fn late_rows_correct_their_window_and_are_recorded_as_history() {
    let place = Place::new();
    daily(&place);
    for (number, centre) in [(2, 0.0), (3, 0.0), (4, 1000.0)] {
        place.delta("t", &day(number, centre));
    }
    let timed = Timed::new(&place, "2024-01-05T12:00:00Z");
    assert_eq!(found(&timed.run_at("2024-01-05T12:00:00Z")), (1, 0, 1));
    place.delta("t", &day(2, 2000.0));
    let report = timed.run_at("2024-01-05T13:00:00Z");
    assert!(report.refreshed.is_some());
    assert_eq!(found(&report), (0, 1, 0));
    assert_eq!(place.mails("mail").len(), 1);
    let late = place.row(
        "SELECT status, window.start AS start, count FROM alerts WHERE kind = 'breach' AND window.start < '2024-01-04'",
    );
    assert_eq!(late, json!({ "status": "historical", "start": "2024-01-02T00:00:00Z", "count": 1200 }));
    let corrected = place
        .row("SELECT count, max FROM daily_profile_metrics WHERE column_name = 'x' AND window.start = '2024-01-02'");
    assert_eq!(corrected, json!({ "count": 1200, "max": 2059.0 }));
    assert_eq!(found(&timed.run_at("2024-01-05T14:00:00Z")), (0, 0, 0));
    // More rows for the newest window, whose breach is known.
    place.delta("t", &day(4, 1000.0));
    let report = timed.run_at("2024-01-05T15:00:00Z");
    assert!(report.refreshed.is_some());
    assert_eq!(found(&report), (0, 0, 0));
    assert_eq!(place.mails("mail").len(), 1);
}

#[test]
fn new_files_of_a_folder_are_seen_by_an_engine_that_stays() {
    let place = Place::new();
    daily(&place);
    std::fs::create_dir(place.path("t")).unwrap();
    place.parquet("t/2.parquet", &day(2, 0.0));
    let timed = Timed::new(&place, "2024-01-04T12:00:00Z");
    let read = |report: limno_engine::engine::Report| report.refreshed.map(|row| (row.rows, row.windows));
    assert_eq!(read(timed.run_at("2024-01-04T12:00:00Z")), Some((600, 1)));
    assert_eq!(read(timed.run_at("2024-01-04T13:00:00Z")), None);
    place.parquet("t/3.parquet", &day(3, 1000.0));
    let report = timed.run_at("2024-01-04T14:00:00Z");
    assert_eq!(found(&report), (1, 0, 1));
    assert_eq!(read(report), Some((1200, 2)));
    // A file that is written anew, with other values, and one that is gone.
    std::fs::remove_file(place.path("t/2.parquet")).unwrap();
    place.parquet("t/3.parquet", &day(3, 0.0).slice(0, 300));
    assert_eq!(read(timed.run_at("2024-01-04T15:00:00Z")), Some((300, 1)));
    let row = place.row("SELECT max, count FROM daily_profile_metrics WHERE column_name = 'x' AND log_type = 'INPUT'");
    assert_eq!(row, json!({ "max": 59.0, "count": 300 }));
}

//! Windows: where they are cut, when they are complete, and what comes late.

use serde_json::{Value, json};

use super::incremental::{monitor, same_as_full, states, with_days};
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

/// Starts of the windows of one length, as days of January, with what a column says there.
fn starts(place: &Place, monitor: &str, granularity: &str, what: &str) -> Vec<(i64, Value)> {
    let rows = place.sql(&format!(
        "SELECT window.start AS start, {what} AS it FROM {monitor}_profile_metrics \
         WHERE column_name = 'x' AND granularity = '{granularity}' AND log_type = 'INPUT' ORDER BY start"
    ));
    rows.iter().map(|row| (day_of(&row["start"]), row["it"].clone())).collect()
}

fn day_of(start: &Value) -> i64 {
    1 + (instant(start.as_str().unwrap()) - instant("2024-01-01T00:00:00Z")).num_days()
}

#[test]
fn sliding_windows_are_merges_of_the_days_that_they_share() {
    let place = with_days(1..=6);
    place.configure(&monitor("\"1 day\", \"3 days every 1 day\"", ""));
    let report = place.refresh();
    assert_eq!((&report["files_read"], &report["rows"], &report["windows"]), (&json!(6), &json!(3600), &json!(14)));
    let counts = |expected: &[(i64, i64)]| {
        let expected: Vec<_> = expected.iter().map(|&(day, count)| (day, json!(count))).collect();
        assert_eq!(starts(&place, "m", "3 days every 1 day", "count"), expected);
    };
    counts(&[(-1, 600), (0, 1200), (1, 1800), (2, 1800), (3, 1800), (4, 1800), (5, 1200), (6, 600)]);
    // Each is compared with the one that ends where it starts.
    let pairs = place.sql(
        "SELECT window.start AS start, window_cmp.start AS before, window_cmp.end = window.start AS touches \
         FROM m_drift_metrics WHERE column_name = 'x' AND granularity = '3 days every 1 day' ORDER BY 1",
    );
    let pairs: Vec<_> =
        pairs.iter().map(|row| (day_of(&row["start"]), day_of(&row["before"]), row["touches"].clone())).collect();
    assert_eq!(pairs, [(2, -1), (3, 0), (4, 1), (5, 2), (6, 3)].map(|(now, before)| (now, before, json!(true))));
    // A day more is a file more, and three windows that hold it beside its own.
    place.delta("t", &day(7, 7.0));
    let report = place.refresh();
    assert_eq!((&report["files_read"], &report["windows"]), (&json!(1), &json!(4)));
    counts(&[(-1, 600), (0, 1200), (1, 1800), (2, 1800), (3, 1800), (4, 1800), (5, 1800), (6, 1200), (7, 600)]);
    same_as_full(&place);
    place.delta("t", &day(3, 100.0));
    let report = place.refresh();
    assert_eq!((&report["files_read"], &report["windows"]), (&json!(1), &json!(4)));
    same_as_full(&place);
    // Another step is merged from what is stored.
    place.configure(&monitor("\"4 days every 2 days\", \"2 weeks every 1 week\"", ""));
    let report = place.refresh();
    assert_eq!((&report["files_read"], &report["mode"]), (&json!(0), &json!("incremental")));
    assert!(starts(&place, "m", "3 days every 1 day", "count").is_empty());
    same_as_full(&place);
}

#[test]
fn rules_go_through_sliding_windows_step_by_step_and_look_back_without_overlap() {
    for (rule, breaches) in [
        // Of the windows of the 2nd, 3rd and 4th, the last two have a day of the new values, or two.
        ("above = 500.0\nbreaches = 2\nwindows = 3", 1),
        ("above = 500.0\nbreaches = 3\nwindows = 3", 0),
        // From the window of the 1st to that of the 4th by 2000, from the 3rd to the 4th by half of it.
        ("change_above = 1500.0", 1),
        ("change_above = 2500.0", 0),
    ] {
        let place = Place::new();
        for number in 1..=6 {
            place.delta("t", &day(number, if number < 5 { 0.0 } else { 3000.0 }));
        }
        let rule = format!(
            "[[monitor.m.rule]]\nname = \"r\"\nmetric = \"avg\"\ncolumns = [\"x\"]\nnotify = [\"oncall\"]\n{rule}\n{}",
            mail_folder()
        );
        place.configure(&format!("{}{rule}", monitor("\"3 days every 1 day\"", "")));
        let timed = Timed::new(&place, "2024-01-07T00:00:00Z");
        assert_eq!(found(&timed.run_at("2024-01-07T00:00:00Z")).0, breaches, "{rule}");
        let complete = starts(&place, "m", "3 days every 1 day", "window_complete");
        let expected: Vec<_> = (-1..=6).map(|day| (day, json!(day <= 4))).collect();
        assert_eq!(complete, expected, "a window is complete once its end has passed");
        if breaches == 1 {
            let [mail] = place.mails("mail").try_into().unwrap();
            assert!(
                mail.text.contains("2024-01-04 00:00 UTC to 2024-01-07 00:00 UTC (3 days every 1 day)"),
                "{}",
                mail.text
            );
        }
    }
}

#[test]
fn days_that_begin_at_six_have_23_or_25_hours_when_the_clocks_change() {
    let place = Place::new();
    let at = [
        "2024-03-10T09:59:59Z", // Sunday, 05:59:59 in New York: still Saturday's day, of 23 hours
        "2024-03-10T10:00:00Z", // Sunday, 06:00
        "2024-11-03T10:59:59Z", // Sunday, 05:59:59: still Saturday's day, of 25 hours
        "2024-11-03T11:00:00Z", // Sunday, 06:00
    ];
    place.parquet("t.parquet", &table([("at", times(at.map(instant))), ("x", numbers([1.0, 2.0, 3.0, 4.0]))]));
    let configure = |offset: &str| {
        place.configure(&format!(
            r#"
[monitor.shifts]
table      = "~/t.parquet"
output     = "~/out"
timezone   = "America/New_York"
week_start = "sunday"
{offset}
[monitor.shifts.time_series]
timestamp     = "at"
granularities = ["1 day", "1 week", "12 hours"]
"#
        ));
    };
    configure("offset = \"6h\"");
    place.refresh();
    let windows = || {
        let rows = place.sql(
            "SELECT granularity, window.start AS start, window.end AS end, avg FROM shifts_profile_metrics \
             WHERE column_name = 'x' ORDER BY granularity, start",
        );
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let line = |row: &Value| {
            format!("{}: {} {} {}", text(row, "granularity"), text(row, "start"), text(row, "end"), row["avg"])
        };
        rows.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        windows(),
        [
            "1 day: 2024-03-09T11:00:00Z 2024-03-10T10:00:00Z 1.0",
            "1 day: 2024-03-10T10:00:00Z 2024-03-11T10:00:00Z 2.0",
            "1 day: 2024-11-02T10:00:00Z 2024-11-03T11:00:00Z 3.0",
            "1 day: 2024-11-03T11:00:00Z 2024-11-04T11:00:00Z 4.0",
            "1 week: 2024-03-03T11:00:00Z 2024-03-10T10:00:00Z 1.0",
            "1 week: 2024-03-10T10:00:00Z 2024-03-17T10:00:00Z 2.0",
            "1 week: 2024-10-27T10:00:00Z 2024-11-03T11:00:00Z 3.0",
            "1 week: 2024-11-03T11:00:00Z 2024-11-10T11:00:00Z 4.0",
            "12 hours: 2024-03-09T23:00:00Z 2024-03-10T10:00:00Z 1.0",
            "12 hours: 2024-03-10T10:00:00Z 2024-03-10T22:00:00Z 2.0",
            "12 hours: 2024-11-02T22:00:00Z 2024-11-03T11:00:00Z 3.0",
            "12 hours: 2024-11-03T11:00:00Z 2024-11-03T23:00:00Z 4.0",
        ]
    );
    // Stored states are of other days then.
    configure("");
    let report = place.refresh();
    let why = "how rows find their window or model has changed";
    assert_eq!((&report["mode"], &report["reason"]), (&json!("full"), &json!(why)));
    assert_eq!(windows()[0], "1 day: 2024-03-10T05:00:00Z 2024-03-11T04:00:00Z 1.5");
}

#[test]
fn a_refresh_of_all_looks_back_only_so_far() {
    let place = with_days(1..=14);
    // A file with both.
    let rows = [day(15, 15.0), day(16, 16.0)];
    place.delta("t", &arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap());
    for number in 17..=20 {
        place.delta("t", &day(number, number as f64));
    }
    place.configure(&monitor("\"1 day\", \"1 week\"", "lookback = \"5days\""));
    let timed = Timed::new(&place, "2024-01-21T00:00:00Z");
    let days = |what: &str| starts(&place, "m", "1 day", what).into_iter().map(|(day, _)| day).collect::<Vec<_>>();
    let row = timed.run_at("2024-01-21T00:00:00Z").refreshed.unwrap();
    assert_eq!((row.mode, row.rows, row.rows_before_retention, row.windows), (Some("full"), 3000, 9000, 5));
    assert_eq!(row.files_read, 6, "five with rows of these days, and one of them once more for what it has of before");
    assert_eq!(days("count"), [16, 17, 18, 19, 20]);
    assert!(starts(&place, "m", "1 week", "count").is_empty(), "the week of the 15th began before");
    // What comes for older days later is counted as well.
    place.delta("t", &day(3, 3.0));
    place.delta("t", &day(21, 21.0));
    let row = timed.run_at("2024-01-22T12:00:00Z").refreshed.unwrap();
    assert_eq!((row.mode, row.rows, row.rows_before_retention), (Some("incremental"), 600, 600));
    assert_eq!(days("count"), [16, 17, 18, 19, 20, 21]);
    assert_eq!(states(&place).len(), 12, "a count and a column for each day");
    // All anew, two days later: the 17th at noon lies in a window that began before. Rows that are there stay.
    let report = timed.run_all_at("2024-01-22T12:00:00Z");
    let row = report.refreshed.unwrap();
    assert_eq!((row.mode, row.rows, row.rows_before_retention), (Some("full"), 2400, 16 * 600 + 1200));
    assert_eq!(days("count"), [16, 17, 18, 19, 20, 21]);
    assert_eq!(states(&place).len(), 8);
    // A monitor without it makes them all.
    place.configure(&monitor("\"1 day\"", ""));
    let timed = Timed::new(&place, "2024-01-22T12:00:00Z");
    let row = timed.run_all_at("2024-01-22T12:00:00Z").refreshed.unwrap();
    assert_eq!((row.rows, row.rows_before_retention, row.windows), (22 * 600, 0, 21));
}

#[test]
fn files_without_a_log_are_read_and_what_is_too_old_is_counted() {
    let place = Place::new();
    std::fs::create_dir(place.path("t")).unwrap();
    for number in 1..=4 {
        place.parquet(&format!("t/{number}.parquet"), &day(number, 0.0));
    }
    place.configure(&monitor("\"1 day\"", "lookback = \"36h\""));
    let row = Timed::new(&place, "2024-01-05T00:00:00Z").run_at("2024-01-05T00:00:00Z").refreshed.unwrap();
    assert_eq!((row.rows, row.rows_before_retention, row.windows), (600, 1800, 1));
}

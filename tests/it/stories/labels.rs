//! Labels that come later, in a table of their own: which windows they change, and that nothing else is read for them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::calls::{Call, gateway, request, response};
use super::change::{cut_log, delete, optimize, update, vacuum};
use super::incremental::same_as_full;
use super::payload;
use crate::bad_input::refused_once;
use crate::histories::lake::Lake;
use crate::support_run::{Place, instant, numbers, table, texts, times};

const ROWS: i64 = 40;

/// A log of rows with labels, and more keys of theirs.
fn monitor(more: &str) -> String {
    format!(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n[monitor.m.inference_log]\ntimestamp = \"at\"\n\
         granularities = [\"1 day\"]\nmodel_id = \"model\"\nprediction = \"predicted\"\n\
         problem_type = \"regression\"\n\
         labels = {{ table = \"~/labels\", on = [\"id\"], label = \"actual\"{more} }}\n"
    )
}

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// Rows of a day from 1 on, whose ids go on from those of the day before.
fn rows(day: i64) -> RecordBatch {
    let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day - 1);
    let ids = || ROWS * (day - 1)..ROWS * day;
    table([
        ("id", integers(ids())),
        ("at", times((0..ROWS).map(|minute| start + TimeDelta::minutes(minute)))),
        ("model", texts((0..ROWS).map(|row| if row % 4 == 0 { "old" } else { "new" }))),
        ("predicted", numbers(ids().map(|id| id as f64))),
    ])
}

/// Labels of ids, so many hours after the start of the year.
fn labels(labels: impl IntoIterator<Item = (i64, f64, i64)>) -> RecordBatch {
    let labels: Vec<_> = labels.into_iter().collect();
    let told = labels.iter().map(|label| instant("2024-01-01T00:00:00Z") + TimeDelta::hours(label.2));
    table([
        ("id", integers(labels.iter().map(|label| label.0))),
        ("actual", numbers(labels.iter().map(|label| label.1))),
        ("told_at", times(told)),
    ])
}

/// The label of every row of a day: one more than what was predicted.
fn of_day(day: i64) -> RecordBatch {
    labels((ROWS * (day - 1)..ROWS * day).map(|id| (id, id as f64 + 1.0, 0)))
}

/// Four days of rows, and labels of the first.
fn place() -> Place {
    let place = Place::new();
    place.configure(&monitor(""));
    (1..=4).for_each(|day| drop(place.delta("t", &rows(day))));
    place.delta("labels", &of_day(1));
    place
}

/// Rows that have a label and the mean squared error of each day.
fn quality(place: &Place) -> Vec<(i64, Option<f64>)> {
    let rows = place.sql(
        "SELECT labeled_count, CAST(mean_squared_error AS STRING) AS mse FROM m_profile_metrics \
         WHERE column_name = ':table' AND model = '*' ORDER BY window.start",
    );
    rows.iter()
        .map(|row| (row["labeled_count"].as_i64().unwrap(), row["mse"].as_str().map(|mse| mse.parse().unwrap())))
        .collect()
}

/// The days that the next refresh makes anew, by its plan.
fn anew(place: &Place) -> Vec<u32> {
    let plan = place.limno(&["run", "--plan"]).fine().reports().remove(0);
    assert_eq!(plan["mode"], "incremental", "{plan}");
    let day = |at: &Value| at.as_str().unwrap()[8..10].parse::<u32>().unwrap();
    let spans = plan["anew"].as_array().unwrap().iter();
    spans.flat_map(|span| day(&span[0])..day(&span[1])).collect()
}

/// Refreshes what the plan says, and nothing else; then as if from nothing.
#[track_caller]
fn refresh(place: &Place, days: &[u32]) {
    assert_eq!(anew(place), days);
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["windows"]), (&json!("incremental"), &json!(days.len())));
    assert_eq!((&report["files_read"], &report["rows"]), (&json!(days.len()), &json!(days.len() as i64 * ROWS)));
    let log = place.row("SELECT windows FROM refreshes ORDER BY ledger_version DESC, refreshed_at DESC LIMIT 1");
    assert_eq!(log["windows"], report["windows"]);
    same_as_full(place);
    assert_eq!(place.refresh()["refreshed"], false);
}

/// All is read, and why.
#[track_caller]
fn refresh_all(place: &Place, reason: &str) {
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["reason"]), (&json!("full"), &json!(reason)));
    same_as_full(place);
    assert_eq!(place.refresh()["refreshed"], false);
}

/// A day whose rows all have the label that was predicted less one.
fn whole() -> (i64, Option<f64>) {
    (ROWS, Some(1.0))
}

fn none() -> (i64, Option<f64>) {
    (0, None)
}

#[test]
fn labels_change_the_windows_of_their_rows_and_no_other() {
    let place = place();
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["windows"]), (&json!("full"), &json!(4)));
    assert_eq!(quality(&place), [whole(), none(), none(), none()]);

    place.delta("labels", &of_day(2));
    refresh(&place, &[2]);
    assert_eq!(quality(&place), [whole(), whole(), none(), none()]);
    // The first of the third day, and the last of the fourth.
    place.delta("labels", &labels([(80, 83.0, 0), (159, 161.0, 0)]));
    refresh(&place, &[3, 4]);
    assert_eq!(quality(&place)[2..], [(1, Some(9.0)), (1, Some(4.0))]);
    // Labels of rows that nobody has, nulls, and files that are joined change nothing.
    place.delta("labels", &labels([(10_000, 1.0, 0)]));
    refresh(&place, &[]);
    assert!(optimize(&place, "labels") >= 4);
    refresh(&place, &[]);

    // Updated in the file that holds them all.
    assert_eq!(update(&place, "labels", "id = 45", ("actual", "actual + 4.0")), 1);
    refresh(&place, &[2]);
    assert_eq!(quality(&place)[1], (ROWS, Some((39.0 + 25.0) / 40.0)));
    assert_eq!(update(&place, "labels", "id = 0", ("actual", "NULL")), 1);
    refresh(&place, &[1]);
    assert_eq!(quality(&place)[0], (39, Some(1.0)));
    assert_eq!(delete(&place, "labels", "id BETWEEN 75 AND 80"), Some(6));
    refresh(&place, &[2, 3]);
    assert_eq!(quality(&place)[1..3], [(35, Some((34.0 + 25.0) / 35.0)), none()]);
    // Of both models in a window each has its own.
    let of_models = place.sql(
        "SELECT model, labeled_count FROM m_profile_metrics WHERE column_name = ':table' \
         AND window.start = '2024-01-02T00:00:00Z' ORDER BY model",
    );
    let row = |model: &str, count: i64| json!({ "model": model, "labeled_count": count });
    assert_eq!(of_models, [row("*", 35), row("new", 26), row("old", 9)]);
}

#[test]
pub(super) fn rows_find_the_labels_that_were_there_before_them() {
    let place = place();
    place.delta("labels", &of_day(5));
    place.refresh();
    place.delta("t", &rows(5));
    assert_eq!(anew(&place), Vec::<u32>::new());
    let report = place.refresh();
    assert_eq!((&report["rows"], &report["windows"]), (&json!(ROWS), &json!(1)));
    assert_eq!(quality(&place)[4], whole());
    same_as_full(&place);
    // Rows and their labels at once, labels of other rows, and rows that go.
    place.delta("t", &rows(6));
    place.delta("labels", &of_day(6));
    place.delta("labels", &of_day(2));
    assert_eq!(delete(&place, "t", "id = 130"), Some(1));
    assert_eq!(anew(&place), [2, 4, 6]);
    let report = place.refresh();
    assert_eq!((&report["rows"], &report["windows"]), (&json!(3 * ROWS - 1), &json!(3)));
    assert_eq!(quality(&place), [whole(), whole(), none(), none(), whole(), whole()]);
    same_as_full(&place);
    assert_eq!(place.refresh()["refreshed"], false);
}

#[test]
fn what_is_told_twice_is_unknown_unless_the_newest_counts() {
    let place = place();
    place.refresh();
    // The same again, another one, and two of a row that had none.
    place.delta("labels", &labels([(1, 2.0, 5), (2, 100.0, 5), (50, 53.0, 1), (50, 55.0, 2)]));
    refresh(&place, &[1, 2]);
    assert_eq!(quality(&place)[..2], [(39, Some(1.0)), none()]);
    assert_eq!(delete(&place, "labels", "actual = 53.0"), Some(1));
    refresh(&place, &[2]);
    assert_eq!(quality(&place)[1], (1, Some(25.0)));

    place.configure(&monitor(", latest_by = \"told_at\""));
    refresh_all(&place, "how rows find their window or model has changed");
    let squared = 98.0 * 98.0;
    assert_eq!(quality(&place)[..2], [(ROWS, Some((39.0 + squared) / 40.0)), (1, Some(25.0))]);
    // An older one changes nothing, a newer one does, and of equally new ones the greatest counts.
    place.delta("labels", &labels([(50, 1.0, 0)]));
    refresh(&place, &[2]);
    assert_eq!(quality(&place)[1], (1, Some(25.0)));
    place.delta("labels", &labels([(50, 52.0, 3), (51, 52.0, 1), (51, 55.0, 1)]));
    refresh(&place, &[2]);
    assert_eq!(quality(&place)[1], (2, Some((4.0 + 16.0) / 2.0)));
    // When the newest goes, the one before counts again.
    assert_eq!(delete(&place, "labels", "actual = 52.0 AND id = 50"), Some(1));
    refresh(&place, &[2]);
    assert_eq!(quality(&place)[1], (2, Some((25.0 + 16.0) / 2.0)));
    // It is told at another time, and is no longer the newest.
    let early = ("told_at", "arrow_cast('2023-12-31T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')");
    assert_eq!(update(&place, "labels", "actual = 55.0 AND id = 50", early), 1);
    refresh(&place, &[2]);
    assert_eq!(quality(&place)[1], (2, Some((49.0 * 49.0 + 16.0) / 2.0)));
}

#[test]
fn what_is_told_in_two_ways_is_unknown_in_any_order_and_with_any_number() {
    for is_turned in [false, true] {
        let place = place();
        let mut told =
            vec![(40, f64::NAN), (40, 5.0), (41, 5.0), (41, f64::NAN), (41, 7.0), (42, f64::NAN), (42, f64::NAN)];
        told.extend([(43, f64::NEG_INFINITY), (44, 1.0), (44, f64::NEG_INFINITY), (45, 46.0)]);
        if is_turned {
            told.reverse();
        }
        place.delta("labels", &labels(told.into_iter().map(|(id, label)| (id, label, 0))));
        place.refresh();
        // Those of 42, 43 and 45 are known; the first is NaN, with which nothing is compared.
        let row = place.row(
            "SELECT labeled_count FROM m_profile_metrics WHERE column_name = ':table' AND model = '*' \
             AND window.start = '2024-01-02T00:00:00Z'",
        );
        assert_eq!(row["labeled_count"], 2, "turned: {is_turned}");
        let label = place.row(
            "SELECT count - num_nulls AS known, num_nan FROM m_profile_metrics WHERE column_name = 'actual' \
             AND model = '*' AND window.start = '2024-01-02T00:00:00Z'",
        );
        assert_eq!(label, json!({ "known": 3, "num_nan": 1 }), "turned: {is_turned}");
    }
}

#[test]
fn a_table_of_labels_that_cannot_be_followed_is_read_anew() {
    let place = place();
    place.refresh();
    // Made again: the versions begin at 0, and those of before say nothing.
    fs::remove_dir_all(place.path("labels")).unwrap();
    place.delta("labels", &of_day(3));
    refresh_all(&place, "the table of labels is another one than before");
    assert_eq!(quality(&place), [none(), none(), whole(), none()]);
    // Its files are gone, which the new version does not need.
    assert_eq!(update(&place, "labels", "id = 80", ("actual", "1.0")), 1);
    assert_eq!(vacuum(&place, "labels"), 1);
    refresh_all(&place, "the table of labels no longer has the files that were read");
    assert_eq!(quality(&place)[2], (ROWS, Some((39.0 + 79.0 * 79.0) / 40.0)));
    // Its log is cut before the newest version.
    place.delta("labels", &of_day(4));
    cut_log(&place, "labels");
    refresh_all(&place, "the table of labels no longer has the version that was read");
    assert_eq!(quality(&place)[3], whole());

    // A file has no versions.
    place.parquet("labels.parquet", &of_day(1));
    let of_file = monitor("").replace("~/labels", "~/labels.parquet");
    place.configure(&of_file);
    refresh_all(&place, "how rows find their window or model has changed");
    assert_eq!(quality(&place), [whole(), none(), none(), none()]);
    fs::remove_file(place.path("labels.parquet")).unwrap();
    place.parquet("labels.parquet", &of_day(2));
    refresh_all(&place, "the table of labels has other files");
    assert_eq!(quality(&place), [none(), whole(), none(), none()]);
    // Without labels there is no quality.
    place.configure(&monitor("").lines().filter(|line| !line.starts_with("labels")).collect::<Vec<_>>().join("\n"));
    assert_eq!(place.refresh()["mode"], "full");
    let columns = place.row("SELECT * FROM m_profile_metrics WHERE column_name = ':table' AND model = '*' LIMIT 1");
    assert!(columns.get("labeled_count").is_none_or(Value::is_null), "{columns}");
}

#[test]
fn keys_may_have_other_names_and_be_several() {
    let place = place();
    let names = |on: &str| monitor("").replace("[\"id\"]", on).replace("~/labels", "~/facts");
    let told = table([
        ("request", integers([0, 1, 41, 43])),
        ("served", texts(["old", "old", "new", "new"])),
        ("actual", numbers([1.0, 2.0, 42.0, 44.0])),
    ]);
    place.delta("facts", &told);
    place.configure(&names("{ id = \"request\" }"));
    place.refresh();
    assert_eq!(quality(&place), [(2, Some(1.0)), (2, Some(1.0)), none(), none()]);
    place.configure(&names("{ id = \"request\", model = \"served\" }"));
    refresh_all(&place, "how rows find their window or model has changed");
    assert_eq!(quality(&place), [(1, Some(1.0)), (2, Some(1.0)), none(), none()]);
    // The key of one, and the model of another.
    assert_eq!(update(&place, "facts", "request = 1", ("served", "'new'")), 1);
    assert_eq!(update(&place, "facts", "request = 43", ("request", "44")), 1);
    refresh(&place, &[1, 2]);
    assert_eq!(quality(&place), [(2, Some(1.0)), (1, Some(1.0)), none(), none()]);
}

#[test]
fn a_column_that_takes_the_name_of_a_key_or_a_label_is_another() {
    let place = place();
    let lake = |name: &str| Lake::at(&place.path(name));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let swap = |name: &str, one: &str, other: &str| runtime.block_on(lake(name).swap_names(one, other)).unwrap();
    let told = table([
        ("id", integers([0, 1, 41])),
        ("other", integers([2, 3, 50])),
        ("actual", numbers([1.0, 2.0, 42.0])),
        ("guess", numbers([3.0, 4.0, 44.0])),
    ]);
    place.delta("facts", &told);
    place.delta(
        "mapped",
        &table(
            rows(1)
                .schema()
                .fields()
                .iter()
                .zip(rows(1).columns())
                .map(|(field, values)| (field.name().as_str(), Arc::clone(values)))
                .chain([("twin", integers((0..ROWS).map(|id| id + 1)))]),
        ),
    );
    for name in ["facts", "mapped"] {
        runtime.block_on(lake(name).map_columns()).unwrap();
    }
    place.configure(&monitor("").replace("~/labels", "~/facts").replace("~/t\"", "~/mapped\""));
    place.refresh();
    assert_eq!(quality(&place), [(2, Some(1.0))]);
    let reason = "how rows find their window or model has changed";
    // No row changed, and yet each swap makes other pairs, or other labels.
    swap("mapped", "id", "twin");
    refresh_all(&place, reason);
    assert_eq!(quality(&place), [(1, Some(4.0))]);
    swap("facts", "id", "other");
    refresh_all(&place, reason);
    assert_eq!(quality(&place), [(2, Some(0.0))]);
    swap("facts", "actual", "guess");
    refresh_all(&place, reason);
    assert_eq!(quality(&place), [(2, Some(4.0))]);
}

#[test]
fn rows_of_a_log_of_requests_get_their_labels_by_row() {
    let place = Place::new();
    place.configure(&payload::monitor(&format!(
        "{}\nlabels = {{ table = \"~/labels\", on = {{ row_id = \"row\" }}, label = \"actual\" }}",
        payload::SCHEMA
    )));
    let call = |day: i64, index: i64| Call {
        id: format!("r{day}-{index}"),
        at: Some(instant("2024-01-01T01:00:00Z") + TimeDelta::days(day - 1) + TimeDelta::minutes(index)),
        status: 200,
        request: Some(request(
            usize::try_from(index).unwrap(),
            &["a", "b"],
            &[vec![json!(1), json!("x")], vec![json!(2), json!("y")]],
        )),
        response: Some(response(&[1.0, 2.0])),
        codes: Vec::new(),
        model: "7",
    };
    let mut calls: Vec<Call> = (1..=3).flat_map(|day| (0..10).map(move |index| call(day, index))).collect();
    calls[5].request = Some("{".to_owned());
    calls.push(call(1, 3));
    place.delta("t", &gateway(&calls));
    let told = |rows: &[(&str, f64)]| {
        table([("row", texts(rows.iter().map(|row| row.0))), ("actual", numbers(rows.iter().map(|row| row.1)))])
    };
    // Of one that is repeated, and of one that is in the quarantine.
    place.delta("labels", &told(&[("r1-3:0", 2.0), ("r1-5:0", 2.0)]));
    place.refresh();
    let quality = || {
        let rows = place.sql(
            "SELECT count, labeled_count, mean_squared_error AS mse FROM m_profile_metrics \
             WHERE column_name = ':table' AND model_id = '*' ORDER BY window.start",
        );
        rows.iter().map(|row| json!([row["count"], row["labeled_count"], row["mse"]])).collect::<Vec<_>>()
    };
    assert_eq!(quality(), [json!([18, 1, 1.0]), json!([20, 0, null]), json!([20, 0, null])]);
    place.delta("labels", &told(&[("r3-0:1", 5.0), ("r3-9:0", 2.0)]));
    assert_eq!(anew(&place), [3]);
    place.refresh();
    assert_eq!(quality(), [json!([18, 1, 1.0]), json!([20, 0, null]), json!([20, 2, 5.0])]);
    payload::same_as_full(&place);
    // A request that is repeated, and a label, in one refresh.
    place.delta("t", &gateway(&[call(2, 4)]));
    place.delta("labels", &told(&[("r1-0:0", 1.0)]));
    assert_eq!(anew(&place), [1, 2]);
    place.refresh();
    assert_eq!(quality(), [json!([18, 2, 0.5]), json!([20, 0, null]), json!([20, 2, 5.0])]);
    payload::same_as_full(&place);
}

#[test]
fn labels_that_do_not_fit_are_told_once_and_nothing_is_written() {
    let place = place();
    place.parquet("text.parquet", &table([("id", texts(["1"])), ("actual", texts(["2"]))]));
    place.parquet("named.parquet", &table([("id", integers([1])), ("predicted", numbers([1.0]))]));
    let line = "{ table = \"~/labels\", on = [\"id\"], label = \"actual\" }";
    let refused = |labels: &str, parts: &[&str]| {
        refused_once(&place, &monitor("").replace(line, labels), 10, parts);
    };
    let cases: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("{ table = \"~/nowhere\", on = [\"id\"], label = \"actual\" }", &["labels.table", "nowhere"][..]),
        (
            "{ table = \"~/labels\", on = { di = \"id\" }, label = \"actual\" }",
            &["labels.on.di", "the table has no column \"di\"", "hint: did you mean `id`?"],
        ),
        (
            "{ table = \"~/labels\", on = { id = \"idd\" }, label = \"actual\" }",
            &["labels.on.id", "the table of labels has no column \"idd\"", "hint: did you mean `id`?"],
        ),
        (
            "{ table = \"~/labels\", on = [\"id\"], label = \"actul\" }",
            &["labels.label", "the table of labels has no column \"actul\"", "hint: did you mean `actual`?"],
        ),
        (
            "{ table = \"~/labels\", on = [\"id\"], label = \"actual\", latest_by = \"told\" }",
            &["labels.latest_by", "the table of labels has no column \"told\"", "hint: did you mean `told_at`?"],
        ),
        (
            "{ table = \"~/text.parquet\", on = [\"id\"], label = \"actual\" }",
            &["labels.on[0]", "column \"id\" has type bigint, that of the labels string"],
        ),
        (
            "{ table = \"~/text.parquet\", on = { model = \"id\" }, label = \"actual\" }",
            &["labels.label", "column \"actual\" has type string, but a regression needs numbers"],
        ),
        (
            "{ table = \"~/named.parquet\", on = [\"id\"], label = \"predicted\" }",
            &[
                "labels.label",
                "has a column \"predicted\" of its own",
                "hint: give the column of the labels another name",
            ],
        ),
        ("{ table = \"~/labels\", on = [], label = \"actual\" }", &["labels.on", "is empty"]),
        ("{ table = \"~/labels\", on = [\"id\"] }", &["labels", "label"]),
        (
            "{ table = \"~/labels\", on = [\"id\"], label = \"actual\", lastest_by = \"told_at\" }",
            &["labels.lastest_by", "unknown key", "hint: did you mean `latest_by`?"],
        ),
    ]);
    for (labels, parts) in cases {
        refused(labels, parts);
    }
    // Both kinds of labels.
    let both = monitor("") + "label = \"predicted\"\n";
    refused_once(&place, &both, 10, &["inference_log.labels", "and from monitor.m.inference_log.label in line 11"]);
}

/// The one data file of a commit to `t`.
fn file_of(place: &Place, version: u64) -> std::path::PathBuf {
    let commit = fs::read_to_string(place.path(&format!("t/_delta_log/{version:020}.json"))).unwrap();
    let mut actions = commit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let path = actions.find_map(|action| Some(action["add"]["path"].as_str()?.to_owned())).unwrap();
    place.path("t").join(path)
}

#[test]
fn labels_come_where_a_file_of_rows_does_not_read() {
    let place = place();
    place.refresh();
    let (missing, aside) = (file_of(&place, 2), place.path("aside"));
    fs::rename(&missing, &aside).unwrap();
    place.delta("labels", &of_day(2));
    place.delta("labels", &of_day(3));
    for _ in 0..2 {
        let ran =
            place.limno(&["run"]).fails(1, &[missing.file_name().unwrap().to_str().unwrap(), "stay as they were"]);
        let report = &ran.reports()[0];
        assert_eq!((&report["result"], &report["mode"]), (&json!("partial"), &json!("incremental")));
        assert_eq!(quality(&place), [whole(), whole(), none(), none()]);
    }
    // More labels while it is still not there.
    place.delta("labels", &of_day(4));
    place.limno(&["run"]).fails(1, &["stay as they were"]);
    assert_eq!(quality(&place), [whole(), whole(), none(), whole()]);
    fs::rename(&aside, &missing).unwrap();
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["files_read"]), (&json!("incremental"), &json!(1)));
    assert_eq!(quality(&place), [whole(); 4]);
    same_as_full(&place);
}

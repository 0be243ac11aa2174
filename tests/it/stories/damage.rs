//! What breaks between two refreshes: logs, files, the ledger, the disk.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use chrono::TimeDelta;
use parquet::file::reader::FileReader;
use serde_json::{Value, json};

use super::calls::{Call, gateway, request, response};
use super::incremental::{monitor, same_as_full, states, with_days};
use super::{day, numbers_of, payload};
use crate::support_run::{Place, instant, numbers, table, times};

/// The data file that a commit added to `t`.
fn file_of(place: &Place, version: u64) -> PathBuf {
    let commit = fs::read_to_string(place.path(&format!("t/_delta_log/{version:020}.json"))).unwrap();
    let actions = commit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let path = actions.filter_map(|action| Some(action["add"]["path"].as_str()?.to_owned())).next().unwrap();
    place.path("t").join(path)
}

fn files_of(place: &Place, folder: &str) -> Vec<PathBuf> {
    let is_data = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    place.files(folder).into_iter().map(|(path, _)| path).filter(is_data).collect()
}

#[test]
pub(super) fn a_log_that_no_longer_reaches_back_is_said_and_all_is_read() {
    let place = with_days(1..=2);
    place.refresh();
    (3..=5).for_each(|number| drop(place.delta("t", &day(number, 1.0))));
    // As a writer that cleans up: a checkpoint, and the commits before it are gone.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = url::Url::from_directory_path(place.path("t")).unwrap();
        let table = deltalake::open_table(url).await.unwrap();
        deltalake::checkpoints::create_checkpoint(&table, None).await.unwrap();
    });
    (0..=3).for_each(|version| fs::remove_file(place.path(&format!("t/_delta_log/{version:020}.json"))).unwrap());
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["files_read"]), (&json!("full"), &json!(5)));
    assert_eq!(report["reason"], "the log no longer holds version 2");
    assert_eq!(place.row("SELECT reason FROM refreshes WHERE from_version IS NOT NULL")["reason"], report["reason"]);
    same_as_full(&place);
}

#[test]
pub(super) fn a_file_that_is_missing_costs_its_windows_until_it_is_there_again() {
    let place = with_days(1..=3);
    place.refresh();
    let before = numbers_of(&place, "m_profile_metrics");
    place.delta("t", &day(4, 1.0));
    place.delta("t", &day(5, 1.0));
    let missing = file_of(&place, 3);
    let aside = place.path("aside");
    fs::rename(&missing, &aside).unwrap();
    for attempt in 0..2 {
        let ran =
            place.limno(&["run"]).fails(1, &[missing.file_name().unwrap().to_str().unwrap(), "stay as they were"]);
        let report = &ran.reports()[0];
        assert_eq!(report["result"], "partial", "{report}");
        let windows = place.row("SELECT count(*) AS n FROM m_profile_metrics WHERE column_name = 'x'");
        assert_eq!(windows["n"], 4, "the fifth day is there, the fourth is not; attempt {attempt}");
    }
    let kept = numbers_of(&place, "m_profile_metrics");
    assert!(before.iter().all(|row| kept.contains(row)));
    fs::rename(&aside, &missing).unwrap();
    let report = place.refresh();
    assert_eq!((&report["result"], &report["files_read"]), (&json!("ok"), &json!(1)));
    same_as_full(&place);
    assert_eq!(place.refresh()["refreshed"], false);
}

#[test]
fn a_table_that_went_back_is_read_anew() {
    let place = with_days(1..=3);
    place.refresh();
    let backup = place.path("backup");
    fs::copy(place.path("t/_delta_log/00000000000000000002.json"), &backup).unwrap();
    fs::remove_file(place.path("t/_delta_log/00000000000000000002.json")).unwrap();
    let report = place.refresh();
    assert_eq!(report["reason"], "the table went back from version 2 to 1");
    assert_eq!(place.row("SELECT count(*) AS n FROM m_profile_metrics WHERE column_name = 'x'")["n"], 2);
    same_as_full(&place);
}

#[test]
fn windows_that_wait_for_their_file_outlive_another_configuration() {
    let place = with_days(1..=3);
    place.configure(&monitor("\"1 hour\", \"1 day\"", ""));
    place.refresh();
    place.delta("t", &day(2, 50.0));
    let missing = file_of(&place, 3);
    let aside = place.path("aside");
    fs::rename(&missing, &aside).unwrap();
    // The ledger's windows grow, so all of its rows are written anew.
    place.configure(&monitor("\"1 day\"", ""));
    place.limno(&["run"]).fails(1, &["stay as they were"]);
    let days = "SELECT count FROM m_profile_metrics WHERE column_name = 'x' ORDER BY window.start";
    assert_eq!(place.sql(days), [600, 600, 600].map(|count| json!({ "count": count })));
    fs::rename(&aside, &missing).unwrap();
    place.refresh();
    assert_eq!(place.sql(days), [600, 1200, 600].map(|count| json!({ "count": count })));
    same_as_full(&place);
}

#[test]
pub(super) fn a_column_that_does_not_read_costs_no_other() {
    let place = Place::new();
    let rows = |day: i64| {
        let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day);
        let value = |factor: f64| numbers((0..500).map(move |row| f64::from(row) * factor));
        let at = times((0..500).map(|second| start + TimeDelta::seconds(second)));
        table([("at", at), ("x", value(1.0)), ("y", value(0.37))])
    };
    (0..3).for_each(|day| drop(place.delta("t", &rows(day))));
    place.configure(&monitor("\"1 day\"", ""));
    // The pages of `y` in one file are overwritten; its footer is whole.
    let damaged = file_of(&place, 1);
    let whole = fs::read(&damaged).unwrap();
    let (start, length) = {
        let reader = parquet::file::reader::SerializedFileReader::new(fs::File::open(&damaged).unwrap()).unwrap();
        reader.metadata().row_group(0).column(2).byte_range()
    };
    let mut file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    file.seek(SeekFrom::Start(start)).unwrap();
    file.write_all(&vec![0xff; usize::try_from(length).unwrap()]).unwrap();
    let ran = place.limno(&["run"]).fails(1, &["column y is left out"]);
    assert_eq!(ran.reports()[0]["result"], "partial");
    let columns = |table: &str| place.sql(&format!("SELECT DISTINCT column_name AS c FROM {table} ORDER BY 1"));
    assert_eq!(columns("m_profile_metrics"), [json!({ "c": ":table" }), json!({ "c": "x" })]);
    assert_eq!(place.row("SELECT count(*) AS n FROM m_profile_metrics WHERE column_name = 'x'")["n"], 3);
    place.limno(&["run"]).fails(1, &["column y is left out"]);
    fs::write(&damaged, whole).unwrap();
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!(plan["parts"][0]["what"], "new columns: y");
    assert_eq!(place.refresh()["result"], "ok");
    assert_eq!(columns("m_profile_metrics").len(), 3);
    same_as_full(&place);
}

/// Requests of a day, each with one row.
fn requests(day: u32, ids: &[&str]) -> Vec<Call> {
    let call = |(index, id): (usize, &&str)| Call {
        id: (*id).to_owned(),
        at: Some(instant(&format!("2024-03-{day:02}T10:00:00Z")) + TimeDelta::minutes(index as i64)),
        status: 200,
        request: Some(request(index, &["a", "b"], &[vec![json!(f64::from(day)), json!("x")]])),
        response: Some(response(&[1.0])),
        codes: Vec::new(),
        model: "v1",
    };
    ids.iter().enumerate().map(call).collect()
}

/// The days of a log of requests that have rows, and how many.
fn counts_of_days(place: &Place) -> Vec<(String, u64)> {
    let rows = place.sql(
        "SELECT window.start AS day, count FROM m_profile_metrics WHERE column_name = 'a' AND model_id = '*' ORDER BY day",
    );
    rows.iter().map(|row| (row["day"].as_str().unwrap()[8..10].to_owned(), row["count"].as_u64().unwrap())).collect()
}

fn days(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(day, count)| ((*day).to_owned(), *count)).collect()
}

#[test]
fn a_request_in_two_files_counts_once_where_a_third_does_not_read() {
    let place = Place::new();
    place.configure(&payload::monitor(payload::SCHEMA));
    place.delta("t", &gateway(&requests(1, &["r1", "r2"])));
    place.delta("t", &gateway(&requests(1, &["r1", "r3", "r3"])));
    place.delta("t", &gateway(&requests(5, &["r5"])));
    let (missing, aside) = (file_of(&place, 2), place.path("aside"));
    fs::rename(&missing, &aside).unwrap();
    for attempt in 0..2 {
        let ran = place.limno(&["run"]).fails(1, &[missing.file_name().unwrap().to_str().unwrap()]);
        let report = &ran.reports()[0];
        assert_eq!(report["result"], "partial", "{report}");
        if attempt == 0 {
            assert_eq!((&report["rows"], &report["duplicate_rows"]), (&json!(3), &json!(2)));
        }
        assert_eq!(counts_of_days(&place), days(&[("01", 3)]));
    }
    fs::rename(&aside, &missing).unwrap();
    place.refresh();
    assert_eq!(counts_of_days(&place), days(&[("01", 3), ("05", 1)]));
    payload::same_as_full(&place);
    assert_eq!(place.refresh()["refreshed"], false);
}

#[test]
fn a_file_of_a_log_that_is_missing_costs_its_windows_and_no_other() {
    let place = Place::new();
    place.configure(&payload::monitor(payload::SCHEMA));
    (1..=3).for_each(|day| drop(place.delta("t", &gateway(&requests(day, &["r1", "r2"])))));
    place.refresh();
    // New calls of a day whose old ones are not to be had, some of them logged again, and of a day that is new.
    let (missing, aside) = (file_of(&place, 1), place.path("aside"));
    fs::rename(&missing, &aside).unwrap();
    place.delta("t", &gateway(&[requests(2, &["r2", "r3"]), requests(3, &["r2", "r3"])].concat()));
    place.delta("t", &gateway(&requests(4, &["r1"])));
    for _ in 0..2 {
        let ran =
            place.limno(&["run"]).fails(1, &[missing.file_name().unwrap().to_str().unwrap(), "stay as they were"]);
        assert_eq!(ran.reports()[0]["result"], "partial");
        assert_eq!(counts_of_days(&place), days(&[("01", 2), ("02", 2), ("03", 3), ("04", 1)]));
    }
    fs::rename(&aside, &missing).unwrap();
    let report = place.refresh();
    assert_eq!((&report["result"], &report["mode"]), (&json!("ok"), &json!("incremental")));
    assert_eq!(counts_of_days(&place), days(&[("01", 2), ("02", 3), ("03", 3), ("04", 1)]));
    payload::same_as_full(&place);
    assert_eq!(place.refresh()["refreshed"], false);
}

#[test]
pub(super) fn a_damaged_ledger_is_made_anew() {
    let damage: [fn(&PathBuf); 3] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, "no parquet").unwrap(),
        |file| {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[40..middle].fill(0x5a);
            fs::write(file, bytes).unwrap();
        },
    ];
    for damage in damage {
        let place = with_days(1..=3);
        place.refresh();
        files_of(&place, "out/m_ledger").iter().for_each(damage);
        place.delta("t", &day(4, 1.0));
        let report = place.refresh();
        assert_eq!((&report["mode"], &report["files_read"]), (&json!("full"), &json!(4)));
        assert!(report["reason"].as_str().unwrap().starts_with("the ledger does not read"), "{report}");
        same_as_full(&place);
    }
}

#[test]
pub(super) fn a_damaged_metric_table_is_made_anew_from_the_ledger() {
    let place = with_days(1..=3);
    place.refresh();
    files_of(&place, "out/m_profile_metrics").iter().for_each(|file| fs::remove_file(file).unwrap());
    place.delta("t", &day(3, 3.0));
    assert_eq!(place.refresh()["files_read"], 1);
    same_as_full(&place);
}

#[test]
fn a_disk_that_is_full_leaves_all_as_it_was() {
    // Smallest first: what cannot be written is another file each time.
    for kilobytes in [0, 4, 8, 12, 16, 24] {
        let place = with_days(1..=3);
        let limno = |limit: &str| place.shell(&format!("trap '' XFSZ; {limit} limno run"));
        assert_eq!(limno("").code, 0);
        let (rows, ledger) = (numbers_of(&place, "m_profile_metrics"), states(&place));
        place.delta("t", &day(4, 4.0));
        let ran = limno(&format!("ulimit -f {};", kilobytes * 2));
        if ran.code == 0 {
            continue;
        }
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains("too large"), "{}", ran.err);
        // Each table is one that was there before or one that is whole.
        let (rows_now, ledger_now) = (numbers_of(&place, "m_profile_metrics"), states(&place));
        assert!(rows_now == rows || rows_now.len() == rows.len() + 2, "{kilobytes}");
        assert!(ledger_now == ledger || ledger_now.len() == ledger.len() + 2, "{kilobytes}");
        place.refresh();
        same_as_full(&place);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let place = with_days(1..=2);
    fs::write(place.path("file"), "not a folder").unwrap();
    place.configure(&monitor("\"1 day\"", "").replace("~/out", "~/file/out"));
    place.limno(&["run"]).fails(1, &["/file/out"]);
    place.configure(&monitor("\"1 day\"", ""));
    place.refresh();
    // The superuser may write everywhere.
    let frozen = place.path("out/m_profile_metrics");
    let mut permissions = fs::metadata(&frozen).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&frozen, permissions).unwrap();
    place.delta("t", &day(3, 3.0));
    if fs::write(frozen.join("probe"), "").is_err() {
        place.limno(&["run"]).fails(1, &["m_profile_metrics"]);
    } else {
        fs::remove_file(frozen.join("probe")).unwrap();
    }
    let _ = std::process::Command::new("chmod").arg("u+w").arg(&frozen).status().unwrap();
    place.limno(&["run"]).fine();
    same_as_full(&place);
}

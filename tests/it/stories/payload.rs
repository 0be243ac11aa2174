//! A log of requests, day by day: what is measured of it, what is not and why, against a count of our own.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::calls::{Call, gateway, request, response};
use super::change::{delete, optimize, update};
use super::incremental::states;
use super::numbers_of;
use crate::support_run::{Place, instant};

pub(super) const SCHEMA: &str =
    "schema = { a = \"double\", b = \"string\" }\npredictions = { prediction = \"double\" }";

/// A monitor of days of the log `t`.
pub(super) fn monitor(lines: &str) -> String {
    format!(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n[monitor.m.inference_log]\nformat = \"payload\"\n\
         granularities = [\"1 day\"]\nproblem_type = \"regression\"\n{lines}\n"
    )
}

/// That all that follows from the log is what a refresh from nothing makes of it.
#[track_caller]
pub(super) fn same_as_full(place: &Place) {
    let before = all(place);
    let report = place.limno(&["run", "--full-refresh"]).fine().reports().remove(0);
    assert_eq!((&report["mode"], &report["reason"]), (&json!("full"), &json!("it was asked for")));
    assert_eq!(before, all(place));
}

fn all(place: &Place) -> (Vec<Value>, [Vec<String>; 3]) {
    (states(place), ["profile_metrics", "drift_metrics", "quarantine"].map(|of| numbers_of(place, &format!("m_{of}"))))
}

/// What a call comes to, if it is looked at and repeats no other.
#[derive(Debug, Clone)]
enum Outcome {
    /// Rows: the value of `a`, half the prediction; or the position of one that does not fit, and why.
    Rows(Vec<Result<f64, (usize, String)>>),
    Refused(&'static str),
}

type Told = (Call, Outcome);

fn start(day: i64) -> DateTime<Utc> {
    instant("2024-03-04T00:00:00Z") + TimeDelta::days(day)
}

/// A call with one row.
fn single((id, at): (&str, DateTime<Utc>), model: &'static str, a: f64) -> Told {
    let call = Call {
        id: id.to_owned(),
        at: Some(at),
        status: 200,
        request: Some(request(0, &["a", "b"], &[vec![json!(a), json!("x")]])),
        response: Some(response(&[a * 2.0])),
        codes: Vec::new(),
        model,
    };
    (call, Outcome::Rows(vec![Ok(a)]))
}

/// A call of a day: all shapes and all faults come round.
fn told(day: i64, index: usize) -> Told {
    let at = start(day) + TimeDelta::minutes(7 * index as i64);
    let id = format!("r{day}-{index}");
    let values: Vec<f64> = (0..=index % 3).map(|row| index as f64 + row as f64 / 4.0 + day as f64).collect();
    let mut rows: Vec<Vec<Value>> = values.iter().map(|a| vec![json!(a), json!(["x", "y"][index % 2])]).collect();
    let mut outcome: Vec<_> = values.iter().map(|&a| Ok(a)).collect();
    if index % 47 == 11 {
        let last = rows.len() - 1;
        rows[last][0] = json!("oops");
        outcome[last] = Err((last, format!("column `a`: text where double is expected, in row {last}")));
    }
    let predictions: Vec<f64> = values.iter().map(|a| a * 2.0).collect();
    let model = if index.is_multiple_of(3) { "v1" } else { "v2" };
    let (mut call, mut outcome) = (single((&id, at), model, 0.0).0, Outcome::Rows(outcome));
    call.request = Some(request(index, &["a", "b"], &rows));
    call.response = Some(response(&predictions));
    // One in twenty is broken.
    if index % 20 == 7 {
        let (request, broken, reason) = match index / 20 % 3 {
            0 => (true, "{\"inputs\": {\"a\": [1", "request: no valid JSON: EOF while parsing a list at byte 19"),
            1 => (true, "<html>too many requests</html>", "request: no valid JSON: expected value at byte 0"),
            _ => (false, "{\"predictions\": [1, 2, 3, 4, 5]}", "the request has 3 rows, the response 5 predictions"),
        };
        *(if request { &mut call.request } else { &mut call.response }) = Some(broken.to_owned());
        outcome = Outcome::Refused(reason);
    }
    if index % 67 == 17 {
        (call.request, call.codes) = (None, vec!["MAX_REQUEST_SIZE_EXCEEDED"]);
        outcome = Outcome::Refused("the request is null (MAX_REQUEST_SIZE_EXCEEDED)");
    }
    if index % 67 == 18 {
        (call.response, call.codes) = (None, vec!["MAX_RESPONSE_SIZE_EXCEEDED", "TIMEOUT"]);
        outcome = Outcome::Refused("the response is null (MAX_RESPONSE_SIZE_EXCEEDED, TIMEOUT)");
    }
    if index % 40 == 13 {
        (call.status, call.response) = (400, Some("{\"error_code\": \"BAD_REQUEST\"}".to_owned()));
    }
    if index % 40 == 23 {
        (call.status, call.request, call.response) = (503, None, None);
    }
    (call, outcome)
}

fn at_other_time((call, outcome): &Told, minutes: i64) -> Told {
    (Call { at: call.at.map(|at| at + TimeDelta::minutes(minutes)), ..call.clone() }, outcome.clone())
}

/// The commits of three days, with what the log has more than once.
fn commits() -> Vec<Vec<Told>> {
    let mut commits: Vec<Vec<Told>> = (0..3).map(|day| (0..200).map(|index| told(day, index)).collect()).collect();
    for (day, commit) in commits.iter_mut().enumerate() {
        for index in 0..200 {
            let (id, at) = (format!("r{day}-{index}"), commit[index].0.at.unwrap());
            let other = |minutes| single((&id, at + TimeDelta::minutes(minutes)), "v2", 1e6);
            match index % 25 {
                // As it was, with other contents, with other contents and earlier.
                3 => commit.push(commit[index].clone()),
                4 => commit.push(other(1)),
                6 => commit.push(other(-1)),
                _ => {}
            }
            // Tried again after it failed.
            if commit[index].0.status == 503 {
                commit.push(other(2));
            }
        }
    }
    let first = commits[0].clone();
    // In a later commit: in their own day, and in the day after.
    commits[1].extend(first[30..35].iter().cloned());
    commits[1].extend(first[40..45].iter().map(|call| at_other_time(call, 24 * 60)));
    // Earlier than what was counted.
    commits[2].push(single(("r0-50", first[50].0.at.unwrap() - TimeDelta::minutes(1)), "v1", 1e6));
    commits
}

/// What should become of some calls.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    /// Values of `a` by day and model, `*` of all.
    values: BTreeMap<(String, String), Vec<f64>>,
    /// Time, id, position, reason.
    quarantine: Vec<(String, String, Option<usize>, String)>,
    filtered: usize,
    duplicates: usize,
    rows: usize,
}

fn expected<'a>(calls: impl IntoIterator<Item = &'a Told>) -> Expected {
    let mut expected = Expected::default();
    let mut by_key: BTreeMap<(String, String), Vec<&Told>> = BTreeMap::new();
    for told in calls {
        if (200..300).contains(&told.0.status) {
            let day = told.0.at.unwrap().format("%Y-%m-%dT00:00:00Z").to_string();
            by_key.entry((day, told.0.id.clone())).or_default().push(told);
        } else {
            expected.filtered += 1;
        }
    }
    for ((day, id), mut calls) in by_key {
        calls.sort_by_key(|(call, _)| (call.at, call.status, call.request.clone(), call.response.clone()));
        expected.duplicates += calls.len() - 1;
        let (call, outcome) = calls[0];
        let time = call.at.unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        match outcome {
            Outcome::Refused(reason) => {
                expected.quarantine.push((time, id, None, (*reason).to_owned()));
            }
            Outcome::Rows(rows) => {
                for row in rows {
                    match row {
                        Ok(a) => {
                            expected.rows += 1;
                            for model in [call.model, "*"] {
                                expected.values.entry((day.clone(), model.to_owned())).or_default().push(*a);
                            }
                        }
                        Err((position, reason)) => {
                            expected.quarantine.push((time.clone(), id.clone(), Some(*position), reason.clone()));
                        }
                    }
                }
            }
        }
    }
    expected.quarantine.sort();
    expected
}

/// That the tables say what is expected.
#[track_caller]
fn as_expected(place: &Place, expected: &Expected) {
    let rows = place.sql(
        "SELECT window.start AS day, model_id, column_name, count, num_nulls, CAST(min AS STRING) AS least, \
         CAST(max AS STRING) AS greatest, CAST(avg AS STRING) AS mean FROM m_profile_metrics \
         WHERE column_name IN ('a', 'prediction') AND slice_key IS NULL ORDER BY column_name, day, model_id",
    );
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let number = |row: &Value, key: &str| text(row, key).parse::<f64>().unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let numbers = ["least", "greatest", "mean"].map(|key| number(row, key).to_bits());
            let counts = (row["count"].as_u64().unwrap(), row["num_nulls"].as_u64().unwrap());
            (text(row, "column_name"), (text(row, "day"), text(row, "model_id")), counts, numbers)
        })
        .collect();
    let mut wanted = Vec::new();
    for (column, factor) in [("a", 1.0), ("prediction", 2.0)] {
        for (key, values) in &expected.values {
            // Quarters of whole numbers: nothing is rounded but the quotient.
            let values: Vec<f64> = values.iter().map(|a| a * factor).collect();
            let (sum, count) = (values.iter().sum::<f64>(), values.len());
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let numbers = [least, greatest, sum / count as f64].map(f64::to_bits);
            wanted.push((column.to_owned(), key.clone(), (count as u64, 0), numbers));
        }
    }
    assert_eq!(found, wanted);
    assert_eq!(quarantine(place), expected.quarantine);
}

fn quarantine(place: &Place) -> Vec<(String, String, Option<usize>, String)> {
    let rows = place.sql("SELECT * FROM m_quarantine");
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| {
            assert_eq!(row["count"], 1, "{row}");
            let position = row["position"].as_u64().map(|position| usize::try_from(position).unwrap());
            (text(row, "request_time"), text(row, "request_id"), position, text(row, "reason"))
        })
        .collect();
    found.sort();
    found
}

fn write(place: &Place, calls: &[Told]) {
    let calls: Vec<Call> = calls.iter().map(|(call, _)| call.clone()).collect();
    place.delta("t", &gateway(&calls));
}

/// The counts of a refresh of calls.
fn counts(report: &Value) -> (u64, u64, u64, u64) {
    let count = |key: &str| report[key].as_u64().unwrap();
    (count("rows"), count("filtered_rows"), count("duplicate_rows"), count("malformed_rows"))
}

fn counts_of(expected: &Expected) -> (u64, u64, u64, u64) {
    let Expected { rows, filtered, duplicates, quarantine, .. } = expected;
    (*rows as u64, *filtered as u64, *duplicates as u64, quarantine.len() as u64)
}

#[test]
pub(super) fn every_call_is_counted_where_it_belongs_whenever_it_was_logged() {
    let place = Place::new();
    place.configure(&monitor(SCHEMA));
    let commits = commits();
    for number in 0..3 {
        write(&place, &commits[number]);
        let report = place.refresh();
        let so_far = || commits[..=number].iter().flatten();
        as_expected(&place, &expected(so_far()));
        // What is repeated in a day is counted anew with it; the rest is read once.
        let days = [&[0][..], &[0, 1], &[0, 2]][number];
        let is_read =
            |(call, _): &&Told| days.iter().any(|&day| call.at.unwrap().date_naive() == start(day).date_naive());
        assert_eq!(counts(&report), counts_of(&expected(so_far().filter(is_read))), "commit {number}");
        assert_eq!(report["windows"], days.len(), "commit {number}");
        let log = place.row(&format!(
            "SELECT mode, rows, filtered_rows, duplicate_rows, malformed_rows FROM refreshes WHERE commit_version = {number}"
        ));
        assert_eq!(counts(&log), counts(&report));
        assert_eq!(log["mode"], if number == 0 { "full" } else { "incremental" });
    }
    same_as_full(&place);
    assert_eq!(place.refresh()["refreshed"], false);
    // The faults are all there.
    let all = expected(commits.iter().flatten());
    let reasons: std::collections::BTreeSet<_> = all.quarantine.iter().map(|row| row.3.as_str()).collect();
    assert_eq!(reasons.len(), 8, "{reasons:?}");
    assert!(all.duplicates > 70 && all.filtered == 36, "{} {}", all.duplicates, all.filtered);

    // In one commit and the other way round it is the same log.
    let other = Place::new();
    other.configure(&monitor(SCHEMA));
    let calls: Vec<Told> = commits.iter().flatten().rev().cloned().collect();
    write(&other, &calls);
    let report = other.refresh();
    assert_eq!(counts(&report), counts_of(&all));
    assert!(self::all(&place) == self::all(&other), "the order of the log decides");
}

#[test]
fn a_request_that_goes_or_is_mended_leaves_the_quarantine() {
    let place = Place::new();
    place.configure(&monitor(SCHEMA));
    let mut calls: Vec<Told> = (0..60).map(|index| told(0, index)).collect();
    let mut second: Vec<Told> = (0..60).map(|index| told(1, index)).collect();
    write(&place, &calls);
    write(&place, &second);
    place.refresh();
    let tables = || all(&place);
    let before = tables();
    assert_eq!(optimize(&place, "t"), 2);
    let report = place.refresh();
    assert_eq!((&report["files_read"], &report["windows"]), (&json!(0), &json!(0)));
    assert!(tables() == before, "files that were joined changed numbers");
    assert_eq!(place.refresh()["refreshed"], false);

    // One that is broken, one whose row does not fit, and one that is good.
    for id in ["r0-7", "r0-11", "r0-12"] {
        assert_eq!(delete(&place, "t", &format!("databricks_request_id = '{id}'")), Some(1));
        calls.retain(|(call, _)| call.id != id);
    }
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert_eq!(plan["mode"], "incremental", "{plan}");
    place.refresh();
    let all_calls = |first: &[Told], second: &[Told]| expected(first.iter().chain(second));
    as_expected(&place, &all_calls(&calls, &second));
    assert!(!quarantine(&place).iter().any(|row| row.1 == "r0-7" || row.1 == "r0-11"));
    same_as_full(&place);

    // Mended in place.
    let good = request(2, &["a", "b"], &[vec![json!(8.0), json!("x")], vec![json!(8.25), json!("x")]]);
    let value = format!("'{good}'");
    assert_eq!(update(&place, "t", "databricks_request_id = 'r1-7'", ("request", &value)), 1);
    let mended = second.iter_mut().find(|(call, _)| call.id == "r1-7").unwrap();
    mended.1 = Outcome::Rows(vec![Ok(8.0), Ok(8.25)]);
    place.refresh();
    as_expected(&place, &all_calls(&calls, &second));
    same_as_full(&place);

    // And the whole of a day.
    delete(&place, "t", "request_time >= '2024-03-05T00:00:00Z'");
    place.refresh();
    as_expected(&place, &all_calls(&calls, &[]));
    same_as_full(&place);
    delete(&place, "t", "true");
    place.refresh();
    assert_eq!(quarantine(&place), []);
    assert_eq!(place.row("SELECT count(*) AS n FROM m_profile_metrics")["n"], 0);
    same_as_full(&place);
}

#[test]
fn calls_without_a_time_are_in_no_window_and_can_be_quarantined() {
    let place = Place::new();
    place.configure(&monitor(SCHEMA));
    let mut calls: Vec<Told> = (0..10).map(|index| told(0, index)).collect();
    for index in [1, 2, 7] {
        calls[index].0.at = None;
    }
    write(&place, &calls);
    let report = place.refresh();
    assert_eq!((&report["rows_without_window"], &report["malformed_rows"]), (&json!(2 + 3), &json!(1)));
    let row = place.row("SELECT request_time, request_id, position, excerpt FROM m_quarantine");
    let excerpt = "{\"inputs\": {\"a\": [1";
    assert_eq!(row, json!({ "request_time": null, "request_id": "r0-7", "position": null, "excerpt": excerpt }));
    assert_eq!(delete(&place, "t", "databricks_request_id = 'r0-7'"), Some(1));
    place.refresh();
    assert_eq!(quarantine(&place), []);
    same_as_full(&place);
}

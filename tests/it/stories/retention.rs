//! What `limno vacuum` drops, what stays, and what other programs do to our tables meanwhile.

use std::fs;

use chrono::TimeDelta;
use limno_engine::refresh::Vacuumed;
use serde_json::{Value, json};

use super::incremental::{monitor, same_as_full, states, with_days};
use super::{Timed, day, numbers_of};
use crate::support_run::{Place, instant};

const NOW: &str = "2024-01-21T00:00:00Z";
const KEEPS: &str = "retention = { states = \"10days\", files = \"1h\" }";

fn vacuum(timed: &Timed<'_>, is_dry: bool) -> limno_engine::Result<Vacuumed> {
    let monitor = &timed.engine.config().monitors[0];
    timed.does(async {
        let bound = timed.engine.bind(monitor).await?;
        timed.engine.vacuum(&bound, is_dry).await
    })
}

/// Twenty days and their weeks, of which the states since the 8th are left.
fn vacuumed() -> Place {
    let place = with_days(1..=20);
    place.configure(&monitor("\"1 day\", \"1 week\"", KEEPS));
    let timed = Timed::new(&place, NOW);
    timed.run_at(NOW);
    vacuum(&timed, false).unwrap();
    place
}

/// Rows of a day in the profile table.
fn count(place: &Place, day: i64) -> Value {
    let start = instant("2024-01-01T00:00:00Z") + TimeDelta::days(day - 1);
    let rows = place.sql(&format!(
        "SELECT count FROM m_profile_metrics WHERE column_name = 'x' AND granularity = '1 day' \
         AND window.start = '{}'",
        start.to_rfc3339()
    ));
    assert!(rows.len() <= 1, "{rows:?}");
    rows.first().map_or(Value::Null, |row| row["count"].clone())
}

/// Joins all files of a table, as its owner may.
fn compact(place: &Place, name: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = url::Url::from_directory_path(place.path(name)).unwrap();
        deltalake::open_table(url).await.unwrap().optimize().await.unwrap();
    });
}

#[test]
pub(super) fn states_that_are_too_old_go_and_their_rows_stay() {
    let place = with_days(1..=20);
    let lines = "retention = { states = \"10days\", files = \"1h\" }";
    place.configure(&monitor("\"1 day\", \"1 week\"", lines));
    let timed = Timed::new(&place, "2024-01-21T00:00:00Z");
    timed.run_at("2024-01-21T00:00:00Z");
    let before = numbers_of(&place, "m_profile_metrics");
    let vacuum = |is_dry: bool| vacuum(&timed, is_dry).unwrap();
    let would = vacuum(true);
    // The 11th lies in the week of the 8th, which keeps all its days.
    assert_eq!(would.states_from, Some(instant("2024-01-08T00:00:00Z")));
    assert_eq!(states(&place).len(), 40, "a count and a column for each day");
    assert_eq!(vacuum(false).states, would.states);
    assert_eq!(states(&place).len(), 26);
    assert_eq!(numbers_of(&place, "m_profile_metrics"), before);
    assert_eq!(vacuum(false).states, 0);
    // Rows that come for a window whose states are gone are counted and change nothing.
    place.delta("t", &day(2, 2000.0));
    place.delta("t", &day(12, 2000.0));
    let report = timed.run_at("2024-01-21T00:00:00Z").refreshed.unwrap();
    assert_eq!((report.rows, report.rows_before_retention, report.windows), (600, 600, 2));
    let count = |day: i64| count(&place, day);
    assert_eq!((count(2), count(12)), (json!(600), json!(1200)));
    // Another configuration makes the rows anew that it can.
    place.configure(&monitor("\"1 day\", \"1 week\"", &format!("{lines}\nbins = 5")));
    let timed = Timed::new(&place, "2024-01-21T00:00:00Z");
    timed.run_at("2024-01-21T00:00:00Z");
    assert_eq!((count(2), count(12)), (json!(600), json!(1200)));
    let versions = place.sql("SELECT DISTINCT monitor_version AS v FROM m_profile_metrics ORDER BY 1");
    assert_eq!(versions, [json!({ "v": 0 }), json!({ "v": 1 })]);
}

#[test]
fn states_that_the_metric_tables_do_not_show_yet_are_not_dropped() {
    let place = with_days(1..=20);
    place.configure(&monitor("\"1 day\"", KEEPS));
    let timed = Timed::new(&place, NOW);
    timed.run_at(NOW);
    place.delta("t", &day(3, 3.0));
    timed.run_at(NOW);
    // As if the run had been cut off after the commit of the ledger.
    for table in ["m_profile_metrics", "m_drift_metrics"] {
        let log = place.path(&format!("out/{table}/_delta_log"));
        let newest = log.read_dir().unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
        fs::remove_file(newest).unwrap();
    }
    let refused = vacuum(&timed, false).unwrap_err().to_string();
    assert!(refused.contains("call limno run first"), "{refused}");
    assert_eq!(count(&place, 3), 600);
    timed.run_at(NOW);
    assert_eq!(count(&place, 3), 1200);
    vacuum(&timed, false).unwrap();
    assert_eq!(count(&place, 3), 1200);
}

#[test]
pub(super) fn a_ledger_that_is_lost_costs_no_row_that_cannot_be_made_anew() {
    for damage in ["out/m_ledger", "out/m_ledger/_delta_log"] {
        let place = vacuumed();
        // The table itself no longer has its first days.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let url = url::Url::from_directory_path(place.path("t")).unwrap();
            let table = deltalake::open_table(url).await.unwrap();
            table.delete().with_predicate("at < '2024-01-06T00:00:00Z'").await.unwrap();
        });
        fs::remove_dir_all(place.path(damage)).unwrap();
        let report = Timed::new(&place, NOW).run_at(NOW).refreshed.unwrap();
        // The 6th and 7th are counted from the log.
        assert_eq!((report.mode, report.files_read, report.rows_before_retention), (Some("full"), 13, 1200));
        assert_eq!((count(&place, 2), count(&place, 12)), (json!(600), json!(600)), "{damage}");
        assert_eq!(states(&place).len(), 26);
        // Asked for, it is what the table has, and nothing else.
        place.limno(&["run", "--full-refresh"]).fine();
        assert_eq!((count(&place, 2), count(&place, 12)), (Value::Null, json!(600)));
    }
}

#[test]
fn a_length_that_goes_takes_the_rows_with_it_that_could_be_made_anew() {
    let place = vacuumed();
    place.configure(&monitor("\"1 day\"", KEEPS));
    Timed::new(&place, NOW).run_at(NOW);
    let weeks = place
        .sql("SELECT DISTINCT window.start AS start FROM m_profile_metrics WHERE granularity = '1 week' ORDER BY 1");
    assert_eq!(weeks, [json!({ "start": "2024-01-01T00:00:00Z" })]);
}

#[test]
fn tables_that_another_program_joined_are_laid_out_again() {
    let tables = ["m_ledger", "m_profile_metrics", "m_drift_metrics"];
    let place = with_days(1..=20);
    place.configure(&monitor("\"1 day\", \"1 week\"", ""));
    place.refresh();
    tables.iter().for_each(|table| compact(&place, &format!("out/{table}")));
    place.delta("t", &day(21, 1.0));
    assert_eq!(place.refresh()["files_read"], 1);
    same_as_full(&place);
    // Also where some states are gone.
    let place = vacuumed();
    tables.iter().for_each(|table| compact(&place, &format!("out/{table}")));
    let timed = Timed::new(&place, NOW);
    timed.run_at(NOW);
    assert_eq!(vacuum(&timed, false).unwrap().states, 0);
    assert_eq!(states(&place).len(), 26);
    place.delta("t", &day(12, 1.0));
    let report = timed.run_at(NOW).refreshed.unwrap();
    assert_eq!((report.mode, report.files_read), (Some("incremental"), 1));
    assert_eq!((count(&place, 2), count(&place, 12), count(&place, 13)), (json!(600), json!(1200), json!(600)));
    assert!(timed.run_at(NOW).refreshed.is_none());
}

#[test]
fn a_snapshot_whose_rows_were_joined_is_not_written_again() {
    let place = Place::new();
    place.delta("t", &day(1, 1.0));
    place.configure("[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n[monitor.m.snapshot]\n");
    place.refresh();
    place.delta("t", &day(2, 1.0));
    place.refresh();
    let rows = numbers_of(&place, "m_profile_metrics");
    compact(&place, "out/m_profile_metrics");
    assert_eq!(place.refresh()["refreshed"], false);
    assert_eq!(numbers_of(&place, "m_profile_metrics"), rows);
}

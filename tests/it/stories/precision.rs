//! How finely distributions are kept, by monitor, by column and on the command line, and the level that tells.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support_run::{Place, instant, numbers, table, times};

/// More distinct values than the default allows.
const ROWS: u32 = 20_000;

fn place() -> Place {
    let place = Place::new();
    let start = instant("2024-01-01T00:00:00Z");
    let at = || times((0..ROWS).map(|row| start + chrono::TimeDelta::milliseconds(i64::from(row))));
    let values = || numbers((1..=ROWS).map(|row| f64::from(row).sqrt()));
    let names = ["price", "amount", "id_a", "id_b"];
    let columns = names.map(|name| (name, values()));
    place.parquet("t.parquet", &table([("at", at()), ("seen", at())].into_iter().chain(columns)));
    place
}

fn configure(place: &Place, keys: &str) {
    place.configure(&format!(
        "[monitor.m]\ntable = \"~/t.parquet\"\noutput = \"~/out\"\nbaseline = \"~/t.parquet\"\n{keys}\n\
         [monitor.m.time_series]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]\n"
    ));
}

/// The level of each column that has one.
fn levels(rows: &[Value]) -> BTreeMap<&str, i64> {
    rows.iter().filter_map(|row| Some((row["column_name"].as_str()?, row["level"].as_i64()?))).collect()
}

fn profile(place: &Place) -> Vec<Value> {
    place.sql("SELECT column_name, level FROM m_profile_metrics WHERE log_type = 'INPUT'")
}

#[test]
fn columns_are_kept_as_finely_as_each_is_asked_to_be() {
    let place = place();
    let columns = "columns = { exact = [\"price\"], max_buckets = { \"id_*\" = 64, id_b = 16 } }";
    configure(&place, columns);
    assert_eq!(place.refresh()["refreshed"], true);
    let rows = profile(&place);
    let level = levels(&rows);
    assert_eq!(level["price"], 0);
    assert!(0 < level["amount"] && level["amount"] < level["id_a"] && level["id_a"] < level["id_b"], "{level:?}");
    assert!(level["seen"] > 0, "{level:?}");
    // A pair is compared at the coarser level of its two sides, which here are alike; times have no distance.
    let rows = place.sql("SELECT column_name, level FROM m_drift_metrics WHERE drift_type = 'BASELINE'");
    let numeric = level.iter().filter(|(column, _)| **column != "seen");
    assert_eq!(levels(&rows), numeric.map(|(column, level)| (*column, *level)).collect());

    assert_eq!(place.refresh()["refreshed"], false);
    configure(&place, &columns.replace("64", "128"));
    assert_eq!(place.refresh()["refreshed"], true);
    let rows = profile(&place);
    let finer = levels(&rows);
    assert!(finer["id_a"] < level["id_a"], "{finer:?}");
    assert_eq!((finer["amount"], finer["id_b"]), (level["amount"], level["id_b"]));
}

#[test]
fn a_column_of_an_exact_monitor_has_a_limit_of_its_own() {
    let place = place();
    configure(&place, "precision = \"exact\"\ncolumns = { max_buckets = { \"id_*\" = 64 } }");
    place.refresh();
    let rows = profile(&place);
    let level = levels(&rows);
    assert_eq!((level["price"], level["amount"], level["seen"]), (0, 0, 0));
    assert!(level["id_a"] > 0 && level["id_a"] == level["id_b"], "{level:?}");
}

#[test]
fn columns_that_two_patterns_fit_are_refused_before_anything_is_written() {
    let place = place();
    configure(&place, "columns = { exact = [\"*ce\"], max_buckets = { \"id_*\" = 64, \"*_b\" = 16, \"pr*\" = 32 } }");
    let parts = [
        "a second limit of `id_b` beside monitor.m.columns.max_buckets.",
        "\n  hint: add its full name, which wins over patterns: \"id_b\" = N",
        "monitor.m.columns.max_buckets.\"pr*\": `price` has no limit according to `*ce` of monitor.m.columns.exact[0] in line 5",
    ];
    for command in ["check", "run"] {
        place.limno(&[command]).fails(2, &parts);
    }
    assert_eq!(place.files("out"), []);
}

#[test]
fn one_look_at_a_file_takes_a_limit_too() {
    let place = place();
    let rows = |flags: &[&str]| {
        let ran = place.limno(&[&["profile", "t.parquet", "--format", "json"], flags].concat()).fine();
        serde_json::from_str::<Vec<Value>>(&ran.out).unwrap()
    };
    let [exact, fine, default, coarse] =
        [&["--precision", "exact"][..], &["--max-buckets", "16384"], &[], &["--max-buckets", "64"]].map(|flags| {
            let rows = rows(flags);
            levels(&rows)["amount"]
        });
    assert_eq!(exact, 0);
    assert!(0 < fine && fine < default && default < coarse, "{fine} {default} {coarse}");
    let flags = ["compare", "t.parquet", "t.parquet", "--precision", "exact", "--max-buckets", "64"];
    place.limno(&flags).fails(2, &["'--max-buckets <N>' cannot be used with '--precision exact'"]);
}

//! Tables whose logs other writers wrote, and what only other writers write into a log.

use std::path::Path;

use serde_json::{Value, json};

use super::incremental::states;
use crate::support_run::Place;

fn snapshot(place: &Place, lines: &str) {
    place.configure(&format!("[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n{lines}[monitor.m.snapshot]\n"));
}

/// A table of others without its log, and the commits of that.
fn unpack(place: &Place, name: &str) -> Vec<String> {
    let from = limno_fixtures::paths::data_dir().join("delta").join(name);
    copy(&from, &place.path("t"));
    let log = place.path("t/_delta_log");
    let commits = (0..).map(|version| log.join(format!("{version:020}.json"))).take_while(|path| path.exists());
    let commits: Vec<String> = commits.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    commits
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn commit(place: &Place, version: usize, actions: &str) {
    std::fs::write(place.path(&format!("t/_delta_log/{version:020}.json")), actions).unwrap();
}

#[test]
fn a_log_of_databricks_is_followed_commit_by_commit() {
    let place = Place::new();
    let commits = unpack(&place, "cdf-table-with-cdc-and-dvs");
    assert_eq!(commits.len(), 26);
    snapshot(&place, "slices = [\"id % 2\"]\n");
    for (version, actions) in commits.iter().enumerate() {
        commit(&place, version, actions);
        let report = place.refresh();
        let is_operation = |name: &str| actions.contains(&format!("\"operation\":\"{name}\""));
        if is_operation("OPTIMIZE") {
            assert_eq!((&report["files_read"], &report["profile_rows"]), (&json!(0), &json!(0)), "{version}");
        } else if is_operation("WRITE") {
            assert_eq!((&report["mode"], &report["files_read"]), (&json!("incremental"), &json!(1)), "{version}");
        } else if version > 0 {
            // Without a time nothing tells which rows went.
            assert_eq!(report["mode"], "full", "{version}");
            assert!(report["reason"].as_str().unwrap().starts_with("rows went with the file"), "{report}");
        }
        if version % 6 == 1 {
            let incremental = states(&place);
            place.limno(&["run", "--full-refresh"]).fine();
            assert_eq!(incremental, states(&place), "{version}");
        }
    }
    let newest = "SELECT count FROM m_profile_metrics WHERE column_name = ':table' AND slice_key IS NULL \
                  ORDER BY window.start DESC LIMIT 1";
    assert_eq!(place.row(newest)["count"], rows(&place));
}

/// The rows that the table has by another way.
fn rows(place: &Place) -> Value {
    let ran = place.limno(&["profile", &place.at("t"), "--format", "json"]).fine();
    let rows: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    rows.into_iter().find(|row| row["column_name"] == ":table").unwrap()["count"].clone()
}

#[test]
fn rows_that_a_deletion_vector_took_are_not_counted() {
    let place = Place::new();
    let commits = unpack(&place, "table-with-dv-small");
    snapshot(&place, "");
    let newest = || {
        place.row(
            "SELECT count, min, max FROM m_profile_metrics WHERE column_name = 'value' \
             ORDER BY window.start DESC LIMIT 1",
        )
    };
    commit(&place, 0, &commits[0]);
    place.refresh();
    assert_eq!(newest(), json!({ "count": 10, "min": 0.0, "max": 9.0 }));
    commit(&place, 1, &commits[1]);
    place.refresh();
    assert_eq!(newest(), json!({ "count": 8, "min": 1.0, "max": 8.0 }));
}

#[test]
fn a_renamed_column_is_another_and_one_that_takes_its_name_is_too() {
    let place = Place::new();
    let commits = unpack(&place, "table_with_column_mapping");
    commit(&place, 0, &commits[0]);
    snapshot(&place, "");
    place.refresh();
    let metadata = commits[0].lines().find(|line| line.contains("\"metaData\"")).unwrap();
    // As ALTER TABLE … RENAME COLUMN does it: the name changes, what is stored does not.
    let swapped = metadata
        .replace("Super Name", "~")
        .replace("Company Very Short", "Super Name")
        .replace('~', "Company Very Short");
    // Partition columns are named too, and were swapped with the rest.
    commit(&place, 1, &swapped);
    let plan = &place.limno(&["run", "--plan"]).fine().reports()[0];
    assert!(plan["files"].as_u64().unwrap() > 0, "both names stand for other columns now: {plan}");
    place.refresh();
    let values = |column: &str| {
        place.row(&format!(
            "SELECT distinct_count FROM m_profile_metrics WHERE column_name = '{column}' ORDER BY window.start DESC LIMIT 1"
        ))["distinct_count"].clone()
    };
    assert_eq!((values("Super Name"), values("Company Very Short")), (json!(2), json!(5)));
    let incremental = states(&place);
    place.limno(&["run", "--full-refresh"]).fine();
    assert_eq!(incremental, states(&place));
}

#[test]
fn a_table_with_a_feature_that_cannot_be_read_is_refused_by_its_name() {
    let place = Place::new();
    let commits = unpack(&place, "table-with-dv-small");
    commit(&place, 0, &commits[0]);
    snapshot(&place, "");
    place.refresh();
    let before = place.files("out/m_ledger");
    let features = r#"["deletionVectors","typeWidening"]"#;
    commit(
        &place,
        1,
        &format!(
            r#"{{"protocol":{{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":{features},"writerFeatures":{features}}}}}"#
        ),
    );
    let ran = place.limno(&["run"]).fails(1, &["typeWidening", "/t"]);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert_eq!(place.files("out/m_ledger"), before);
}

#[test]
fn a_checkpoint_in_sidecars_stands_for_the_commits_that_are_gone() {
    let place = Place::new();
    copy(&limno_fixtures::paths::data_dir().join("delta/checkpoint-v2-table"), &place.path("t"));
    let log = |version: usize| place.path(&format!("t/_delta_log/{version:020}.json"));
    // What a writer's clean-up leaves: nothing before the newest checkpoint. The last commit is yet to come.
    (0..8).for_each(|version| std::fs::remove_file(log(version)).unwrap());
    let last = std::fs::read_to_string(log(9)).unwrap();
    std::fs::remove_file(log(9)).unwrap();
    place.configure(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n\
         [monitor.m.time_series]\ntimestamp = \"created_at\"\ngranularities = [\"1 day\"]\n",
    );
    let ids =
        || place.row("SELECT count, min, max, distinct_count AS ids FROM m_profile_metrics WHERE column_name = 'id'");
    let report = place.refresh();
    assert_eq!((&report["commit_version"], &report["rows"]), (&json!(8), &json!(43)), "{report}");
    assert_eq!(ids(), json!({ "count": 43, "min": 1.0, "max": 43.0, "ids": 43 }));
    commit(&place, 9, &last);
    let report = place.refresh();
    assert_eq!(
        (&report["mode"], &report["files_read"], &report["rows"]),
        (&json!("incremental"), &json!(1), &json!(1))
    );
    assert_eq!(ids(), json!({ "count": 44, "min": 1.0, "max": 44.0, "ids": 44 }));
    let incremental = states(&place);
    place.limno(&["run", "--full-refresh"]).fine();
    assert_eq!(incremental, states(&place));
}

#[test]
fn a_table_with_clustering_and_row_tracking_is_read_and_followed() {
    let place = Place::new();
    let commits = unpack(&place, "table_with_liquid_clustering");
    commit(&place, 0, &commits[0]);
    snapshot(&place, "");
    place.refresh();
    let newest = || {
        place.row(
            "SELECT count, min, max FROM m_profile_metrics WHERE column_name = 'id' ORDER BY window.start DESC LIMIT 1",
        )
    };
    assert_eq!(newest(), json!({ "count": 10, "min": 0.0, "max": 9.0 }));
    // A file goes, as with a delete of the greatest id.
    let actions = commits[0].lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let added = actions.filter_map(|action| action.get("add").cloned()).collect::<Vec<_>>();
    let gone = added.iter().find(|add| add["stats"].as_str().unwrap().contains("\"maxValues\":{\"id\":9}")).unwrap();
    let remove = json!({ "remove": {
        "path": gone["path"], "dataChange": true, "deletionTimestamp": 1_700_000_000_000_i64,
        "extendedFileMetadata": true, "partitionValues": {}, "size": gone["size"]
    }});
    commit(&place, 1, &remove.to_string());
    place.refresh();
    assert_eq!(newest(), json!({ "count": 9, "min": 0.0, "max": 8.0 }));
}

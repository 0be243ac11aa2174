//! Programs of others read our tables where they lie, and agree with us on every value.

use std::path::Path;
use std::process::Command;

use limno_engine::store;
use serde_json::Value;

use super::super::Timed;
use super::whole::{change_all, monitor, notifiers, rows, write_first};
use super::{Service, Shelf};
use crate::support::write_parquet;
use crate::support_run::{Place, components};
use crate::support_store::tell;

const NOW: &str = "2024-03-01T00:00:00Z";

/// Tables of all kinds that were written over several times.
fn write_tables(place: &Place) {
    write_first(place);
    // Nobody is told: the recorder may be none.
    let quiet = monitor("m").replace("notify = [\"oncall\", \"chat\"]\n", "notify = [\"oncall\"]\n");
    place.configure(&(quiet + &notifiers("http://127.0.0.1:9/")));
    place.refresh();
    place.delta("t", &rows(4, 100.0));
    place.refresh();
    change_all(place);
    place.refresh();
}

/// What we read of the tables of `out`, as files of their names.
fn read_ours(place: &Place, names: &[String], folder: &Path) {
    let timed = Timed::new(place, NOW);
    for name in names {
        let uri = place.uri(&format!("out/{name}"));
        let batch = timed.does(store::read(timed.engine.context(), &uri)).unwrap().unwrap();
        write_parquet(&folder.join(format!("{name}.parquet")), &batch);
    }
}

fn all_agree() {
    let [python] = components(["LIMNO_TEST_READERS"]).unwrap();
    let place = Place::new();
    write_tables(&place);
    let entries = place.path("out").read_dir().unwrap().map(Result::unwrap);
    let tables = entries.filter(|entry| entry.path().join("_delta_log").is_dir());
    let mut names: Vec<String> = tables.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["alerts", "m_drift_metrics", "m_ledger", "m_profile_metrics", "refreshes"]);
    let ours = tempfile::tempdir().unwrap();
    read_ours(&place, &names, ours.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("components/read_tables.py");
    let output = Command::new(python)
        .arg(script)
        .args([&place.uri("out"), &place.at("out"), ours.path().to_str().unwrap()])
        .env("READ_TABLES_OPTIONS", place.shelf().map_or("{}".to_owned(), |shelf| shelf.options.to_string()))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    for name in &names {
        let told = &told[name];
        assert!(told["rows"].as_u64().unwrap() > 0, "{name}: {told}");
        let readers: Vec<_> = told["readers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for reader in ["deltalake", "polars", "chdb", "limnograph"] {
            assert!(readers.contains(&reader), "{name} was not read by {reader}: {readers:?}");
        }
    }
}

fn agree_in(service: Service) {
    if Shelf::new(service).is_some() && components(["LIMNO_TEST_READERS"]).is_some() {
        tell(Some(service), all_agree);
    }
}

#[test]
fn readers_of_others_agree_with_us_in_azure() {
    agree_in(Service::AzureByKey);
}

#[test]
fn readers_of_others_agree_with_us_by_a_signature() {
    agree_in(Service::AzureBySas);
}

#[test]
fn readers_of_others_agree_with_us_in_s3() {
    agree_in(Service::S3);
}

#[test]
fn readers_of_others_agree_with_us_on_disk() {
    if components(["LIMNO_TEST_READERS"]).is_some() {
        tell(None, all_agree);
    }
}

//! One `limno.toml` and an overlay: what runs in `dev` reads what production reads, writes elsewhere, and tells nobody.

use serde_json::json;

use super::{day, job, mail_folder, numbers_of};
use crate::support_block::Service;
use crate::support_run::{Place, called, components};
use crate::support_store::{Shelf, tell};

const MONITOR: &str = r#"
[monitor.m]
table    = "~/prod/t"
output   = "~/prod/out"
baseline = "~/prod/baseline.parquet"
[monitor.m.time_series]
timestamp = "at"
granularities = ["1 day"]
[[monitor.m.rule]]
name    = "high"
metric  = "max"
columns = ["x"]
above   = 50
notify  = ["oncall"]
trigger = ["retrain"]
"#;

/// Production, which was refreshed once and told what it found.
fn production(recorder: &str) -> Place {
    let mut place = Place::new();
    std::fs::create_dir_all(place.path("prod")).unwrap();
    place.delta("prod/t", &day(1, 1.0));
    place.delta("prod/t", &day(2, 100.0));
    place.parquet("prod/baseline.parquet", &day(1, 0.0));
    place.configure(&format!("{MONITOR}{}{}", mail_folder(), job(recorder, 7)));
    place.set("DATABRICKS_TOKEN", "dapi-of-this-test");
    place
}

fn only_dev_is_written(place: &mut Place, log: &str) {
    let report = place.refresh();
    assert_eq!((&report["new_breaches"], place.mails("mail").len()), (&json!(1), 1));
    let (before, calls) = (place.files("prod"), called(log, "m").len());
    let mails = place.mails("mail").len();

    place.overlay("dev", "[environment]\noutput = \"~/Größe 1/dev\"\n[monitor.m]\nslices = [\"x > 50\"]\n");
    let check = place.limno(&["--env", "dev", "check"]).fine();
    let first =
        format!("environment dev: all but {} is read-only, and nobody is told or called", place.uri("Größe 1/dev"));
    assert!(check.out.starts_with(&first), "{}", check.out);
    assert!(place.files("Größe 1").is_empty(), "a check writes nothing");

    let report = place.limno(&["--env", "dev", "run"]).fine().reports().remove(0);
    assert_eq!((&report["mode"], &report["new_breaches"]), (&json!("full"), &json!(2)), "{report}");
    assert_eq!(place.files("prod"), before);
    assert!(!place.files("Größe 1/dev").is_empty());
    assert_eq!((place.mails("mail").len(), called(log, "m").len()), (mails, calls), "nobody is told or called");

    // The variable says the same as the flag, for each command.
    place.set("LIMNO_ENV", "dev");
    assert_eq!(place.refresh()["refreshed"], false);
    let alerts = place.row(
        "SELECT count(*) FILTER (WHERE status = 'new') AS breaches, count(*) FILTER (WHERE status = 'suppressed') AS suppressed, \
         count(*) FILTER (WHERE status IN ('pending', 'delivered', 'failed')) AS sent FROM alerts",
    );
    assert_eq!(alerts, json!({ "breaches": 2, "suppressed": 2, "sent": 0 }));
    let slices = place.row("SELECT count(DISTINCT slice_key) AS n FROM m_profile_metrics")["n"].clone();
    assert_eq!(slices, 1);
    place.limno(&["vacuum"]).fine();
    let dev = numbers_of(place, "m_profile_metrics");
    assert_eq!(place.files("prod"), before);

    place.set("LIMNO_ENV", "");
    let prod = numbers_of(place, "m_profile_metrics");
    assert_eq!(place.row("SELECT count(slice_key) AS n FROM m_profile_metrics")["n"], 0);
    assert!(prod.iter().all(|row| dev.contains(row)), "what production measures is measured in dev alike");
    assert!(dev.len() > prod.len());
    assert_eq!(place.refresh()["refreshed"], false, "production is as it was");
}

fn production_cannot_be_written(place: &mut Place) {
    let files = place.files("prod");
    for (overlay, says) in [
        // Where production writes, above, and within.
        (
            "[environment]\noutput = \"~/prod/out\"\n",
            "is an output of limno.toml, which this environment must not change",
        ),
        ("[environment]\noutput = \"~/prod\"\n", "is an output of limno.toml"),
        ("[environment]\noutput = \"~/dev\"\n[monitor.m]\noutput = \"~/prod/out/m\"\n", "is an output of limno.toml"),
        ("[environment]\noutput = \"~/prod/t/dev\"\n", "is a table of limno.toml"),
        ("[environment]\ndeliver = false\n", "is not written in this environment"),
    ] {
        place.overlay("dev", overlay);
        let ran = place.limno(&["--env", "dev", "run"]);
        assert!(ran.code != 0 && ran.err.contains(says), "{overlay}: {} {}", ran.code, ran.err);
        assert_eq!(place.files("prod"), files, "{overlay}");
        assert!(place.files("dev").is_empty(), "{overlay}");
    }
}

fn told() {
    let Some([recorder, log]) = components(["LIMNO_TEST_RECORDER", "LIMNO_TEST_RECORDER_LOG"]) else { return };
    let mut place = production(&recorder);
    production_cannot_be_written(&mut place);
    only_dev_is_written(&mut place, &log);
}

#[test]
fn dev_reads_production_and_writes_elsewhere() {
    told();
}

#[test]
fn dev_reads_production_and_writes_elsewhere_in_a_store() {
    if Shelf::new(Service::AzureByKey).is_some() {
        tell(Some(Service::AzureByKey), told);
    }
}

#[test]
fn an_environment_that_is_not_there_is_named() {
    let Some([recorder]) = components(["LIMNO_TEST_RECORDER"]) else { return };
    let place = production(&recorder);
    place.overlay("staging", "[environment]\noutput = \"~/staging\"\n");
    for command in ["run", "check"] {
        place.limno(&["--env", "stagin", command]).fails(2, &["limno.stagin.toml", "staging"]);
        place.limno(&["--env", "../prod", command]).fails(2, &["../prod"]);
    }
    assert!(place.files("prod/out").is_empty() && place.files("staging").is_empty());
}

//! `limno run --profile` says where the time went.

use serde_json::json;

use super::day;
use crate::support_run::Place;

#[test]
fn a_run_says_where_its_time_went() {
    let place = Place::new();
    place.delta("t", &day(1, 1.0));
    place.configure(
        "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n[monitor.m.time_series]\ntimestamp = \"at\"\n\
         granularities = [\"1 day\"]\n",
    );
    let stages = ["list", "read", "decode", "group", "observe", "merge", "drift", "write"];
    let lines = place.limno(&["run", "--profile"]).fine().reports();
    let [report, profile] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(report["refreshed"], true);
    let seconds = |stage: &str| profile["stage_seconds"][stage].as_f64().unwrap_or_else(|| panic!("{profile}"));
    assert_eq!(profile["stage_seconds"].as_object().unwrap().len(), stages.len());
    for stage in stages {
        assert!(seconds(stage) > 0.0, "{stage}: {profile}");
    }
    assert!(profile["elapsed_seconds"].as_f64().unwrap() > seconds("list"));

    // Where nothing is new, nothing is read.
    let lines = place.limno(&["run", "--profile"]).fine().reports();
    assert_eq!(lines[0]["refreshed"], false);
    for stage in ["decode", "group", "observe", "merge", "write"] {
        assert_eq!(lines[1]["stage_seconds"][stage], json!(0.0), "{stage}: {}", lines[1]);
    }
    place.limno(&["run", "--profile", "--plan"]).fails(2, &["--plan"]);
}

//! A table of a million rows as Databricks wrote it: how many rows each week and each state have. It is not kept here, for
//! its rows are for non-commercial use only; who has it names its folder in `LIMNO_TEST_COVID`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::golden;
use crate::support_run::{Place, components};

#[test]
fn a_million_rows_with_times_as_text_are_counted_by_week_and_state() {
    let Some([folder]) = components(["LIMNO_TEST_COVID"]) else { return };
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden("covid.json")).unwrap()).unwrap();
    let (table, weeks) = (&golden["table"], golden["weeks"].as_array().unwrap());
    let place = Place::new();
    place.configure(&format!(
        "[monitor.cases]\ntable = {folder:?}\noutput = \"~/out\"\nslices = [\"state\"]\n\
         [monitor.cases.time_series]\ntimestamp = \"date\"\ngranularities = [\"1 week\"]\n"
    ));
    let report = place.refresh();
    let seen = ["rows", "windows", "rows_without_window"].map(|key| report[key].clone());
    assert_eq!(seen, [table["rows"].clone(), table["weeks"].clone(), json!(0)], "{report}");

    let counted = place.sql(
        "SELECT window.start AS start, window.end AS end, \
           max(CASE WHEN column_name = ':table' THEN count END) AS count, \
           max(CASE WHEN column_name = 'state' THEN distinct_count END) AS states, \
           max(CASE WHEN column_name = 'fips' THEN num_nulls END) AS null_fips, \
           max(CASE WHEN column_name = 'deaths' THEN num_nulls END) AS null_deaths \
         FROM cases_profile_metrics WHERE slice_key IS NULL GROUP BY 1, 2 ORDER BY 1",
    );
    let expected: Vec<Value> = weeks
        .iter()
        .map(|week| {
            let mut week = week.clone();
            week.as_object_mut().unwrap().remove("slices").unwrap();
            week
        })
        .collect();
    assert_eq!(counted, expected);

    let slices = place.sql(
        "SELECT window.start AS start, slice_value, count FROM cases_profile_metrics \
         WHERE slice_key = 'state' AND column_name = ':table'",
    );
    let mut by_week: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for row in &slices {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let earlier = by_week.entry(text("start")).or_default().insert(text("slice_value"), row["count"].clone());
        assert_eq!(earlier, None, "{row}");
    }
    for week in weeks {
        let found = &by_week[week["start"].as_str().unwrap()];
        assert_eq!(json!(found.len()), week["states"], "{week}");
        assert_eq!(found.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), week["count"]);
        for (state, count) in week["slices"].as_object().unwrap() {
            assert_eq!(found.get(state).unwrap_or(&json!(0)), count, "{state} {week}");
        }
    }
    assert_eq!(place.refresh()["refreshed"], false);
}

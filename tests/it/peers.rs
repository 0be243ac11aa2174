//! The cases in which drift tools are known to fail, through `limno compare`.
//!
//! A comparison of eight public tools recorded the right numbers (`truth` in `fixtures/golden/peers.json`); our own
//! plain oracle agrees with them on files of the same laws. The verdict is an alarm if KS > 0.05 or PSI > 0.2.
#![cfg(test)]

use limno_fixtures::{Shift, Table};

use crate::support::{Json, Rows, compare, golden, golden_json, write_parquet};

/// How far a number may be from the truth.
const NEAR: f64 = 0.05;

struct Verdict {
    ks: bool,
    psi: bool,
}

fn verdict(row: &Json) -> Verdict {
    let above = |path: &str, limit: f64| row.at(path).as_f64().is_some_and(|value| value > limit);
    Verdict { ks: above("ks_test.statistic", 0.05), psi: above("population_stability_index", 0.2) }
}

fn run(case: &Json, flags: &[&str]) -> Rows {
    let file = |side: &str| golden(case.at(side).as_str().expect("a file"));
    compare(&file("reference"), &file("current"), flags)
}

/// Recorded truths have three decimals and some are 0.000: half of the last one is their own doubt.
fn assert_near(of: &str, ours: f64, truth: f64) {
    assert!(
        (ours - truth).abs() <= NEAR * truth.abs() + if truth < 0.01 { 5e-4 } else { 0.0 },
        "{of}: {ours}, the truth is {truth}"
    );
}

fn assert_case(case: &Json, row: &Json) {
    let name = case.at("name").as_str().expect("a name");
    let verdict = verdict(row);
    let by = |metric: &str| case.at("alarm_by").items().iter().any(|item| item.as_str() == Some(metric));
    assert_eq!((verdict.ks, verdict.psi), (by("ks"), by("psi")), "{name}");
    assert_eq!(case.at("alarm"), &Json::Bool(verdict.ks || verdict.psi), "{name}");
    for (ours, theirs) in [("ks_test.statistic", "ks"), ("population_stability_index", "psi")] {
        if let Some(truth) = case.at("truth").at(theirs).as_f64() {
            assert_near(&format!("{name}: {theirs}"), row.number(ours), truth);
        }
    }
    if let Some(truth) = case.at("truth.w_over_sd").as_f64() {
        let ours = row.number("wasserstein_distance") / row.number("reference.stddev");
        assert_near(&format!("{name}: W/sd"), ours, truth);
    }
    // The oracle has every number of these very files.
    let oracle = [
        ("ks_test.statistic", "ks"),
        ("population_stability_index", "psi"),
        ("wasserstein_distance", "wasserstein"),
        ("unseen_share", "unseen_share"),
    ];
    for (ours, theirs) in oracle {
        let (ours, truth) = (row.at(ours).as_f64(), case.at("oracle").at(theirs).as_f64());
        assert_eq!(ours.is_some(), truth.is_some(), "{name}: {theirs}");
        if let (Some(ours), Some(truth)) = (ours, truth) {
            assert!((ours - truth).abs() <= NEAR * truth.abs(), "{name}: {theirs} {ours}, the oracle has {truth}");
        }
    }
}

#[test]
fn every_case_has_its_verdict_and_its_numbers() {
    for flags in [&[][..], &["--precision", "exact"]] {
        for case in golden_json("peers.json").at("cases").items() {
            let rows = run(case, flags);
            assert_case(case, rows.column(case.at("column").as_str().expect("a column")));
        }
    }
}

#[test]
fn exact_numbers_are_those_of_the_oracle() {
    for case in golden_json("peers.json").at("cases").items() {
        let (rows, name) = (run(case, &["--precision", "exact"]), case.at("name").as_str());
        let row = rows.column(case.at("column").as_str().expect("a column"));
        let numbers = [
            ("ks_test.statistic", "ks"),
            ("ks_test.pvalue", "ks_pvalue"),
            ("population_stability_index", "psi"),
            ("wasserstein_distance", "wasserstein"),
            ("chi_squared_test.pvalue", "chi_squared_pvalue"),
            ("unseen_share", "unseen_share"),
        ];
        for (ours, theirs) in numbers {
            let (ours, truth) = (row.at(ours).as_f64(), case.at("oracle").at(theirs).as_f64());
            assert_eq!(ours.is_some(), truth.is_some(), "{name:?}: {theirs}");
            if let (Some(ours), Some(truth)) = (ours, truth) {
                assert!((ours - truth).abs() <= 1e-6 * truth, "{name:?}: {theirs} {ours}, the oracle has {truth}");
            }
        }
    }
}

/// Other tools lose the whole report on a column that is null on one side.
#[test]
fn a_column_of_nulls_alarms_and_costs_no_other_column() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = ["reference.parquet", "current.parquet"].map(|name| dir.path().join(name));
    let tables = [Table::new(1, 20_000), Table::new(2, 20_000).shift("normal", Shift::Nulls(1.0))];
    for (file, table) in files.iter().zip(&tables) {
        write_parquet(file, &table.batch().expect("columns of one length"));
    }
    let rows = compare(&files[0], &files[1], &[]);
    assert_eq!(rows.0.len(), 8);
    for row in &rows.0 {
        let name = row.at("column_name").as_str().expect("a name");
        let verdict = verdict(row);
        match name {
            "normal" => {
                assert!(verdict.psi);
                assert_eq!(row.at("reason").as_str(), Some("the current side has no value"));
                assert_eq!(row.at("current.reason").as_str(), Some("all values are null"));
                assert_eq!(row.at("current.num_nulls"), row.at("current.count"));
                assert!(row.number("reference.avg").is_finite());
            }
            // Times have no distances.
            "at" => assert!(row.number("current.distinct_count") > 19_999.0),
            _ => {
                assert!(!verdict.ks && !verdict.psi, "{name}");
                assert_eq!(row.at("reason"), &Json::Null, "{name}");
                assert!(row.number("population_stability_index") >= 0.0, "{name}");
                assert!(row.at("ks_test").members().len() + row.at("chi_squared_test").members().len() == 2, "{name}");
            }
        }
    }
}

#[test]
fn a_hundred_quiet_columns_stay_quiet() {
    let truth = golden_json("peers.json");
    let quiet = truth.at("quiet");
    for flags in [&[][..], &["--precision", "exact"]] {
        let rows = run(quiet, flags);
        assert_eq!(rows.0.len().to_string(), quiet.at("columns").as_number());
        let greatest = |path: &str| rows.0.iter().map(|row| row.number(path)).fold(0.0, f64::max);
        let alarms = rows.0.iter().map(verdict).filter(|verdict| verdict.ks || verdict.psi).count();
        assert_eq!(alarms.to_string(), quiet.at("alarming_columns").as_number());
        assert!((greatest("ks_test.statistic") - quiet.number("greatest_ks")).abs() <= 1e-9);
        assert!((greatest("population_stability_index") - quiet.number("greatest_psi")).abs() <= 1e-9);
    }
}

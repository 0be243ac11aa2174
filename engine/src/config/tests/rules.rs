//! Rules, their conditions and words.

use super::*;

#[test]
fn rules_are_checked() {
    for (lines, expected) in [
        (
            "",
            "8: monitor.m.rule[0]: has no condition\n  hint: add one of above = x, below = x, outside = [a, b], change_above = x",
        ),
        (
            "above = 1\nbelow = 0",
            "12: monitor.m.rule[0].below: a second condition beside monitor.m.rule[0].above in line 11\n  hint: write one rule for each condition",
        ),
        ("above = \"1\"", "11: monitor.m.rule[0].above: expected a number, found a string"),
        ("above = inf", "11: monitor.m.rule[0].above: expected a finite decimal number"),
        (
            "outside = [1]",
            "11: monitor.m.rule[0].outside: expected two numbers, found 1\n  hint: write outside = [a, b]",
        ),
        (
            "outside = [2, 1]",
            "11: monitor.m.rule[0].outside: the range [2, 1] is empty\n  hint: write outside = [1, 2]",
        ),
        (
            "change_above = -1",
            "11: monitor.m.rule[0].change_above: a change is never below zero, so every one would be a breach",
        ),
        (
            "above = 1\nbreaches = 2",
            "12: monitor.m.rule[0].breaches: 2 breaches cannot be among 1 windows\n  hint: set windows = 2 or more",
        ),
        ("above = 1\nwindows = 0", "12: monitor.m.rule[0].windows: expected an integer from 1 to 10000, found 0"),
        (
            "above = 1\nseverity = \"crit\"",
            "12: monitor.m.rule[0].severity: `crit` is none of info, warning, critical\n  hint: did you mean `critical`?",
        ),
        (
            "above = 1\nagainst = \"baseline\"",
            "12: monitor.m.rule[0].against: `baseline` is none of BASELINE, CONSECUTIVE\n  hint: did you mean `BASELINE`?",
        ),
        (
            "above = 1\nagainst = \"BASELINE\"",
            "12: monitor.m.rule[0].against: monitor `m` has no baseline\n  hint: add baseline = \"…\" to the monitor, or compare with CONSECUTIVE",
        ),
        (
            "above = 1\ngranularity = \"1 hour\"",
            "12: monitor.m.rule[0].granularity: `1 hour` is not a granularity of monitor `m`\n  hint: valid names: 1 day, 1 week",
        ),
        ("above = 1\nslices = \"no\"", "12: monitor.m.rule[0].slices: expected true or false, found a string"),
        ("above = 1\ncolumns = []", "12: monitor.m.rule[0].columns: is empty, so the rule would look at no column"),
        (
            "above = 1\nsignificance = 1",
            "12: monitor.m.rule[0].significance: 1 is not between 0 and 1\n  hint: write the greatest p-value of a breach, such as significance = 0.01",
        ),
        ("above = 1\nsignificance = \"1 %\"", "12: monitor.m.rule[0].significance: expected a number, found a string"),
        (
            "above = 1\nsignificance = 0.01",
            "12: monitor.m.rule[0].significance: no test belongs to metric `avg`\n  hint: remove significance, or use one of js_distance, ks_test.statistic, wasserstein_distance, population_stability_index, chi_squared_test.statistic, tv_distance, l_infinity_distance, jensen_shannon_distance, wasserstein_lower, wasserstein_upper, wasserstein_normalized, cramer_von_mises_test.statistic, hellinger_distance, kl_divergence, cramers_v",
        ),
        (
            "above = 1\ntrigger = [\"x\"]",
            "12: monitor.m.rule[0].trigger[0]: there is no trigger `x`\n  hint: add a table [trigger.x]",
        ),
    ] {
        assert_problems(&rule_with(lines), &[&format!("limno.toml:{expected}")]);
    }
    assert_problems(
        &rule_with("above = 1").replace("\"avg\"", "\"ks_test\""),
        &[
            "limno.toml:10: monitor.m.rule[0].metric: there is no numeric metric `ks_test`",
            "  hint: name one of its fields: `ks_test.statistic`, `ks_test.pvalue`",
        ],
    );
    assert_problems(
        &rule_with("above = 1\nsignificance = 0.05").replace("\"avg\"", "\"psi_pvalue\""),
        &[
            "limno.toml:12: monitor.m.rule[0].significance: metric `psi_pvalue` is a p-value itself",
            "  hint: write below = 0.05 without significance",
        ],
    );
}

#[test]
fn conditions_are_shown_and_judged() {
    let outside = Condition::Outside(-1.0, 2.5);
    for (condition, shown) in [
        (Condition::Above(0.2), "above 0.2"),
        (Condition::Below(3.0), "below 3"),
        (outside, "outside [-1, 2.5]"),
        (Condition::ChangeAbove(0.5), "change above 0.5"),
    ] {
        assert_eq!(condition.to_string(), shown);
        assert!(!condition.is_breached(f64::NAN, Some(0.0)));
        assert!(!condition.is_breached(f64::NAN, None));
    }
    assert!(Condition::Above(0.2).is_breached(0.21, None));
    assert!(!Condition::Above(0.2).is_breached(0.2, None));
    assert!(Condition::Below(0.2).is_breached(0.19, None));
    assert!(outside.is_breached(-1.5, None) && outside.is_breached(3.0, None));
    assert!(!outside.is_breached(2.5, None) && !outside.is_breached(-1.0, None));
    let change = Condition::ChangeAbove(0.5);
    assert!(change.is_breached(1.0, Some(2.0)) && change.is_breached(2.0, Some(1.0)));
    assert!(!change.is_breached(1.0, Some(1.5)) && !change.is_breached(1.0, None));
    assert!(!change.is_breached(1.0, Some(f64::NAN)));
    assert!(!change.is_breached(f64::INFINITY, Some(f64::INFINITY)));
}

#[test]
fn words_are_ordered_shown_and_parsed() {
    assert!(Severity::Info < Severity::Warning && Severity::Warning < Severity::Critical);
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        assert_eq!(severity.to_string().parse(), Ok(severity));
    }
    for against in [Against::Baseline, Against::Consecutive] {
        assert_eq!(against.to_string().parse(), Ok(against));
    }
    let error = "loud".parse::<Severity>().expect_err("no severity");
    assert_eq!(error.to_string(), "`loud` is none of info, warning, critical");
}

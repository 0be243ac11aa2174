//! Whole files: good ones in full, and all problems of a bad one at once.

use super::*;

#[test]
fn the_example_of_the_manual_is_read_in_full() {
    let config = parse(EXAMPLE).expect("the example is right");
    assert_eq!(config.file, "limno.toml");
    let [monitor] = config.monitors.as_slice() else {
        panic!("one monitor");
    };
    assert_eq!((monitor.name.as_str(), monitor.line), ("flights", 1));
    assert_eq!(
        monitor.table,
        Located {
            value: "abfss://ml@account.dfs.core.windows.net/inference/flights".to_owned(),
            line: 2,
            key: "monitor.flights.table".to_owned(),
            overlay: None,
        }
    );
    assert_eq!(monitor.baseline.as_ref().map(|b| b.line), Some(4));
    assert!(!monitor.columns.is_included("request_id"));
    assert!(monitor.columns.is_included("origin"));
    assert_eq!(monitor.slices[1].value, "distance > 1000");
    assert_eq!(monitor.slices[1].key, "monitor.flights.slices[1]");
    assert_eq!(monitor.max_slices, 1000);
    assert_eq!(monitor.timezone, chrono_tz::UTC);
    assert_eq!(monitor.week_start, chrono::Weekday::Mon);
    assert_eq!(monitor.grace, Duration::from_secs(7200));
    assert_eq!(monitor.precision, Precision::Bounded { max_buckets: 4096 });
    assert_eq!(monitor.bins, limno_metrics::binning::Bins::Count(10));
    let MonitorKind::InferenceLog {
        timestamp,
        granularities,
        model_id,
        prediction,
        label,
        prediction_proba,
        problem_type,
        ..
    } = &monitor.kind
    else {
        panic!("an inference log");
    };
    assert_eq!((timestamp.value.as_str(), timestamp.line), ("time_hour", 11));
    assert_eq!(granularities[0].value.to_string(), "1 day");
    assert_eq!(model_id.value, "model_version");
    assert_eq!(prediction.value, "predicted_delay");
    assert_eq!(label.as_ref().map(|l| l.value.as_str()), Some("arr_delay"));
    assert_eq!(prediction_proba.as_ref().map(|p| p.columns()[0].line), Some(16));
    assert_eq!(*problem_type, ProblemType::Regression);

    let [rule] = monitor.rules.as_slice() else {
        panic!("one rule");
    };
    assert_eq!((rule.name.as_str(), rule.line), ("psi", 19));
    assert_eq!(rule.metric.value, "population_stability_index");
    assert_eq!(rule.metric.key, "monitor.flights.rule[0].metric");
    assert!(rule.is_on_drift && rule.covers("anything"));
    assert_eq!(rule.condition, Condition::Above(0.2));
    assert_eq!(rule.against, Against::Baseline);
    assert_eq!((rule.breaches, rule.windows, rule.min_count), (2, 5, 500));
    assert_eq!(rule.severity, Severity::Critical);
    assert!(rule.slices && rule.granularity.is_none());
    assert_eq!(rule.notify[0].value, "oncall");
    assert_eq!(rule.trigger[0].line, 30);

    let NotifierConfig::Email(email) = &config.notifiers["oncall"] else {
        panic!("an e-mail");
    };
    assert_eq!(email.smtp, SmtpUrl::StartTls { host: "mail.example.com".to_owned(), port: 587 });
    assert_eq!(email.username.as_deref(), Some("limno"));
    assert_eq!(email.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(email.to, ["ml-oncall@example.com"]);

    let TriggerConfig::DatabricksJob(job) = &config.triggers["retrain"] else {
        panic!("a job");
    };
    assert_eq!(job.host.as_str(), "https://adb-1.azuredatabricks.net/");
    assert_eq!((job.job_id, job.cooldown), (42, Duration::from_secs(86400)));
    assert_eq!(job.timeout, Duration::from_secs(30));

    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("dapi-123"));
}

#[test]
fn every_other_key_is_read() {
    let text = r#"
[monitor.m]
table = "t"
output = "o"
columns = { include = ["a*", "b"], exclude = ["ab"], categorical = ["b"] }
max_slices = 7
timezone = "Europe/Rome"
week_start = "sunday"
precision = "exact"
bins = [0, 1.5, 2e3]
snapshot = {}
[[monitor.m.rule]]
name = "range"
metric = "ks_test.statistic"
outside = [-1, 1]
significance = 0.01
severity = "info"
slices = false
columns = ["a*"]
notify = ["hook", "files"]
trigger = ["local"]

[monitor.n]
table = "t"
output = "o"
max_buckets = 16
[monitor.n.time_series]
timestamp = "ts"
granularities = ["30 minutes", "2 weeks"]
[[monitor.n.rule]]
name = "jump"
metric = "percent_null"
change_above = 5
granularity = "2 weeks"

[notifier.hook]
kind = "webhook"
url = { env = "HOOK" }
headers = { X-Team = "ml", Authorization = { env = "DATABRICKS_TOKEN" } }
timeout = "3s"

[notifier.files]
kind = "email"
smtp = "file:out/mail"
from = "a@example.com"
to = ["Böb <b@example.com>", "c@example.com"]

[trigger.local]
kind = "command"
command = ["retrain", "--now", ""]
timeout = "1h"
"#;
    let config = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    let (m, n) = (&config.monitors[0], &config.monitors[1]);
    assert!(m.columns.is_included("ax") && m.columns.is_included("b"));
    assert!(!m.columns.is_included("ab") && !m.columns.is_included("c"));
    assert!(m.columns.is_categorical("b") && !m.columns.is_categorical("a"));
    assert_eq!(m.max_slices, 7);
    assert_eq!(m.timezone, chrono_tz::Europe::Rome);
    assert_eq!(m.week_start, chrono::Weekday::Sun);
    assert_eq!(m.precision, Precision::Exact);
    assert_eq!(m.bins, limno_metrics::binning::Bins::Edges(vec![0.0, 1.5, 2000.0]));
    assert!(matches!(m.kind, MonitorKind::Snapshot));
    assert_eq!(m.rules[0].condition, Condition::Outside(-1.0, 1.0));
    assert_eq!(m.rules[0].significance, Some(0.01));
    assert_eq!(m.rules[0].p_values(), ["ks_test.pvalue"]);
    assert!(n.rules[0].significance.is_none() && n.rules[0].p_values().is_empty());
    assert_eq!(m.rules[0].against, Against::Consecutive);
    assert!(!m.rules[0].slices && m.rules[0].covers("ab") && !m.rules[0].covers("b"));
    assert_eq!(n.precision, Precision::Bounded { max_buckets: 16 });
    assert_eq!(n.kind.granularities().len(), 2);
    assert!(!n.rules[0].is_on_drift);
    assert_eq!(n.rules[0].columns[0].value, "*");
    assert!(n.rules[0].granularity.is_some());

    let NotifierConfig::Webhook(hook) = &config.notifiers["hook"] else {
        panic!("a webhook");
    };
    assert_eq!(hook.target(), "https://hooks.example.com");
    assert_eq!(hook.url.path(), "/services/T0/s3cret");
    assert_eq!(hook.headers["x-team"], HeaderValue::Plain("ml".to_owned()));
    assert_eq!(hook.headers["authorization"].expose(), "dapi-123");
    let shown = format!("{hook:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("dapi"), "{shown}");
    let NotifierConfig::Email(files) = &config.notifiers["files"] else {
        panic!("an e-mail");
    };
    assert_eq!(files.smtp, SmtpUrl::File { dir: "out/mail".into() });
    let TriggerConfig::Command(local) = &config.triggers["local"] else {
        panic!("a command");
    };
    assert_eq!(local.command, ["retrain", "--now", ""]);
    assert_eq!(local.timeout, Duration::from_secs(3600));
}

#[test]
fn several_problems_come_at_once_and_by_line() {
    let text = EXAMPLE
        .replace("grace ", "grase ")
        .replace("0 0 * * * *", "0 * * * *")
        .replace("population_stability_index", "psi")
        .replace("[\"oncall\"]", "[\"onkall\"]")
        .replace("SMTP_PASSWORD", "SMTP_PASSWROD")
        .replace("job_id = 42", "job_id = \"42\"");
    assert_problems(
        &text,
        &[
            "limno.toml:7: monitor.flights.schedule: a schedule has six fields, this one has 5",
            "  hint: put the seconds first: \"0 0 * * * *\"",
            "limno.toml:8: monitor.flights.grase: unknown key `grase`",
            "  hint: did you mean `grace`?",
            "limno.toml:21: monitor.flights.rule[0].metric: there is no numeric metric `psi`",
            "  hint: did you mean `population_stability_index`?",
            "limno.toml:29: monitor.flights.rule[0].notify[0]: there is no notifier `onkall`",
            "  hint: did you mean `oncall`?",
            "limno.toml:36: notifier.oncall.password.env: environment variable `SMTP_PASSWROD` is not set",
            "  hint: set SMTP_PASSWROD where limno runs, or use { file = \"…\" }",
            "limno.toml:43: trigger.retrain.job_id: expected an integer from 1 to 9223372036854775807, found a string",
        ],
    );
}

#[test]
fn text_that_is_not_toml_is_a_problem_with_its_line() {
    for (text, line) in [
        ("[monitor.m]\ntable = \n", 2),
        ("[monitor.m]\ntable = \"x\noutput = \"o\"\n", 2),
        ("[monitor.m\n", 1),
        ("[monitor.m]\ntable = \"a\"\ntable = \"b\"\n", 3),
    ] {
        let found = parse(text).expect_err("not TOML");
        assert_eq!((found.0[0].line, found.0[0].key.as_str()), (line, ""), "{found}");
    }
}

#[test]
fn a_file_is_loaded_or_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limno.toml");
    let missing = Config::load(&path, &env()).expect_err("no file");
    assert!(matches!(missing, LoadError::Read { .. }));
    assert!(missing.to_string().contains("limno.toml"));
    std::fs::write(&path, EXAMPLE).expect("a file");
    let config = Config::load(&path, &env()).expect("right");
    assert_eq!(config.file, path.to_string_lossy());
    assert!(config.monitor("flights").is_some() && config.monitor("x").is_none());
    std::fs::write(&path, "x = 1").expect("a file");
    assert!(matches!(Config::load(&path, &env()), Err(LoadError::Problems(_))));
}

//! Whole files: good ones in full, and each kind of bad one with its file, line, key, message and hint.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const EXAMPLE: &str = r#"[monitor.flights]
table    = "abfss://ml@account.dfs.core.windows.net/inference/flights"
output   = "abfss://ml@account.dfs.core.windows.net/monitoring"
baseline = "abfss://ml@account.dfs.core.windows.net/training/flights"
columns  = { exclude = ["request_id"] }
slices   = ["origin", "distance > 1000"]
schedule = "0 0 * * * *"
grace    = "2h"

[monitor.flights.inference_log]        # or: time_series, or: snapshot
timestamp     = "time_hour"
granularities = ["1 day"]
model_id      = "model_version"
prediction    = "predicted_delay"
label         = "arr_delay"            # optional
prediction_proba = "proba"             # optional
problem_type  = "regression"           # or classification

[[monitor.flights.rule]]
name      = "psi"
metric    = "population_stability_index"
above     = 0.2
columns   = ["*"]
against   = "BASELINE"
breaches  = 2
windows   = 5
min_count = 500
severity  = "critical"
notify    = ["oncall"]
trigger   = ["retrain"]

[notifier.oncall]
kind = "email"
smtp = "smtp+starttls://mail.example.com:587"
username = "limno"
password = { env = "SMTP_PASSWORD" }
from = "Limnograph <limno@example.com>"
to   = ["ml-oncall@example.com"]

[trigger.retrain]
kind = "databricks_job"
host = "https://adb-1.azuredatabricks.net"
job_id = 42
token = { env = "DATABRICKS_TOKEN" }
cooldown = "24h"
"#;

fn env() -> BTreeMap<String, String> {
    [
        ("SMTP_PASSWORD", "hunter2"),
        ("DATABRICKS_TOKEN", "dapi-123"),
        ("HOOK", "https://hooks.example.com/services/T0/s3cret"),
        ("EMPTY", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, "limno.toml", &env())
}

/// The problems of a text, as the user sees them.
fn problems(text: &str) -> String {
    parse(text).expect_err("must be refused").to_string()
}

/// A right monitor with a line more (line 4) in its table.
fn monitor_with(line: &str) -> String {
    format!(
        "[monitor.m]\ntable = \"t\"\noutput = \"o\"\n{line}\n[monitor.m.time_series]\ntimestamp = \"ts\"\ngranularities = [\"1 day\", \"1 week\"]\n"
    )
}

/// A right monitor with one rule, whose table starts in line 8 and whose further lines follow from line 11.
fn rule_with(lines: &str) -> String {
    format!("{}[[monitor.m.rule]]\nname = \"r\"\nmetric = \"avg\"\n{lines}\n", monitor_with(""))
}

/// A right monitor, and a table of a notifier or trigger that starts in line 8.
fn beside(lines: &str) -> String {
    format!("{}{lines}\n", monitor_with(""))
}

fn email_with(lines: &str) -> String {
    beside(&format!("[notifier.n]\nkind = \"email\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n{lines}"))
}

#[track_caller]
fn assert_problems(text: &str, expected: &[&str]) {
    assert_eq!(problems(text), expected.join("\n"));
}

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
fn unknown_keys_are_named_with_the_nearest_valid_one() {
    assert_problems(
        "monitors = 1\n",
        &["limno.toml:1: monitors: unknown key `monitors`", "  hint: did you mean `monitor`?"],
    );
    assert_problems(
        &monitor_with("zzz = 1").replace("timestamp", "timestmp"),
        &[
            "limno.toml:4: monitor.m.zzz: unknown key `zzz`",
            "  hint: valid names: table, output, baseline, columns, slices, max_slices, min_slice_size, timezone, schedule, week_start, offset, grace, lookback, memory, retention, precision, max_buckets, bins, snapshot, time_series, inference_log, metric, rule",
            "limno.toml:6: monitor.m.time_series.timestmp: unknown key `timestmp`",
            "  hint: did you mean `timestamp`?",
        ],
    );
    assert_problems(
        &rule_with("above = 1\ncolums = [\"a\"]"),
        &["limno.toml:12: monitor.m.rule[0].colums: unknown key `colums`", "  hint: did you mean `columns`?"],
    );
    assert_problems(
        &monitor_with("columns = { exlude = [\"a\"] }"),
        &["limno.toml:4: monitor.m.columns.exlude: unknown key `exlude`", "  hint: did you mean `exclude`?"],
    );
    assert_problems(
        &monitor_with("columns = { max_bucket = { a = 64 } }"),
        &[
            "limno.toml:4: monitor.m.columns.max_bucket: unknown key `max_bucket`",
            "  hint: did you mean `max_buckets`?",
        ],
    );
    assert_problems(
        &monitor_with("").replace("time_series]", "timeseries]"),
        &["limno.toml:5: monitor.m.timeseries: unknown key `timeseries`", "  hint: did you mean `time_series`?"],
    );
    assert_problems(
        &monitor_with("snapshot = { every = 1 }")
            .replace("[monitor.m.time_series]\n", "[notifier.n]\nkind=\"webhook\"\nurl=\"https://a.b\"\n"),
        &[
            "limno.toml:4: monitor.m.snapshot.every: unknown key `every`",
            "limno.toml:8: notifier.n.timestamp: unknown key `timestamp`",
            "  hint: valid names: kind, url, headers, ca_file, timeout",
            "limno.toml:9: notifier.n.granularities: unknown key `granularities`",
            "  hint: valid names: kind, url, headers, ca_file, timeout",
        ],
    );
}

#[test]
fn missing_keys_say_what_is_expected() {
    assert_problems("", &["limno.toml:1: monitor: is missing, expected a table [monitor.NAME]"]);
    assert_problems(
        "\n[monitor.m]\n",
        &[
            "limno.toml:2: monitor.m: has none of snapshot, time_series, inference_log, expected exactly one",
            "  hint: add a table [monitor.m.time_series]",
            "limno.toml:2: monitor.m.table: is missing, expected the table to watch: a URI or a path",
            "limno.toml:2: monitor.m.output: is missing, expected the folder of the metric tables: a URI or a path",
        ],
    );
    assert_problems(
        &beside("[notifier.n]\nfoo = 1"),
        &["limno.toml:8: notifier.n.kind: is missing, expected \"email\" or \"webhook\""],
    );
}

#[test]
fn wrong_types_are_named_with_what_was_expected() {
    for (line, expected) in [
        (
            "slices = \"origin\"",
            "slices: expected an array of strings, found a string\n  hint: write slices = [\"origin\"]",
        ),
        ("slices = [1]", "slices[0]: expected a string, found an integer"),
        ("slices = [\" \"]", "slices[0]: is empty"),
        ("slices = [\"a\", \"a\"]", "slices[1]: `a` is given twice, first as monitor.m.slices[0]"),
        ("baseline = 1.5", "baseline: expected a string, found a float"),
        ("columns = [\"a\"]", "columns: expected a table, found an array"),
        ("columns = { include = [] }", "columns.include: is empty, so no column would be looked at"),
        (
            "columns = { exact = \"a\" }",
            "columns.exact: expected an array of strings, found a string\n  hint: write exact = [\"a\"]",
        ),
        (
            "columns = { exact = [\"a\", \"a\"] }",
            "columns.exact[1]: `a` is given twice, first as monitor.m.columns.exact[0]",
        ),
        (
            "columns = { max_buckets = 64 }",
            "columns.max_buckets: expected a table, found an integer\n  hint: write max_buckets = { \"COLUMN\" = 64 }, or without `columns` for all of them",
        ),
        (
            "columns = { max_buckets = { \"id_*\" = 15 } }",
            "columns.max_buckets.\"id_*\": expected an integer from 16 to 1048576, found 15",
        ),
        (
            "columns = { max_buckets = { a = 1048577 } }",
            "columns.max_buckets.a: expected an integer from 16 to 1048576, found 1048577",
        ),
        (
            "columns = { max_buckets = { a = \"64\" } }",
            "columns.max_buckets.a: expected an integer from 16 to 1048576, found a string",
        ),
        ("columns = { max_buckets = { \" \" = 64 } }", "columns.max_buckets.\" \": names no column"),
        ("max_slices = 0", "max_slices: expected an integer from 1 to 1000000, found 0"),
        (
            "max_slices = 99999999999999999999",
            "max_slices: expected an integer from 1 to 1000000, found 99999999999999999999",
        ),
        (
            "grace = 2",
            "grace: expected a duration, found an integer\n  hint: write a duration such as \"30s\", \"15m\", \"2h\" or \"1day\"",
        ),
        (
            "grace = \"2 moons\"",
            "grace: `2 moons` is not a duration\n  hint: write a duration such as \"30s\", \"15m\", \"2h\" or \"1day\"",
        ),
        ("precision = \"exakt\"", "precision: `exakt` is none of bounded, exact\n  hint: did you mean `exact`?"),
        ("max_buckets = 8", "max_buckets: expected an integer from 16 to 1048576, found 8"),
        ("bins = 1", "bins: expected an integer from 2 to 1000, found 1"),
        ("bins = []", "bins: expected 1 to 999 edges, found 0"),
        ("bins = [1, 1]", "bins[1]: edges must increase, but 1 follows 1"),
        ("bins = [1, nan]", "bins[1]: expected a finite decimal number"),
        (
            "week_start = \"mondy\"",
            "week_start: `mondy` is none of monday, tuesday, wednesday, thursday, friday, saturday, sunday\n  hint: did you mean `monday`?",
        ),
        ("rule = 1", "rule: expected an array of tables, found an integer\n  hint: write [[monitor.m.rule]]"),
    ] {
        assert_problems(&monitor_with(line), &[&format!("limno.toml:4: monitor.m.{expected}")]);
    }
    assert_problems(
        &monitor_with("precision = \"exact\"\nmax_buckets = 64"),
        &["limno.toml:5: monitor.m.max_buckets: has no meaning with precision = \"exact\""],
    );
    assert_problems(
        "monitor = 3",
        &["limno.toml:1: monitor: expected tables with names, found an integer\n  hint: write [monitor.NAME]"],
    );
}

#[test]
fn columns_have_limits_of_their_own() {
    let columns = "columns = { exact = [\"price\", \"qty_*\"], max_buckets = { amount = 65536, \"a*\" = 256 } }";
    for (precision, others) in [
        ("", Precision::Bounded { max_buckets: 4096 }),
        ("max_buckets = 64", Precision::Bounded { max_buckets: 64 }),
        ("precision = \"exact\"", Precision::Exact),
    ] {
        let config = parse(&monitor_with(&format!("{columns}\n{precision}"))).expect("right");
        let monitor = &config.monitors[0];
        for (column, expected) in [
            ("price", Precision::Exact),
            ("qty_sold", Precision::Exact),
            ("amount", Precision::Bounded { max_buckets: 65536 }),
            ("age", Precision::Bounded { max_buckets: 256 }),
            ("prices", others),
        ] {
            assert_eq!(monitor.columns.precision(column, monitor.precision), expected, "{column} with {precision:?}");
        }
        assert_eq!(monitor.columns.contradictions(&["price", "qty_sold", "amount", "age"], "limno.toml"), []);
    }
}

#[test]
fn a_limit_and_none_for_the_same_columns_contradict_each_other() {
    for (exact, limited, key, message) in [
        ("price", "price", "price", "`price` has no limit according to `price`"),
        ("qty_*", "qty_sold", "qty_sold", "`qty_sold` has no limit according to `qty_*`"),
        ("qty_sold", "qty_*", "\"qty_*\"", "`qty_sold` has no limit according to `qty_sold`"),
        ("qty_*", "q*", "\"q*\"", "`qty_*` has no limit according to `qty_*`"),
        ("*", "*_sold", "\"*_sold\"", "`*_sold` has no limit according to `*`"),
    ] {
        let columns = format!("exact = [\"other\", \"{exact}\"]\n[monitor.m.columns.max_buckets]\n\"{limited}\" = 64");
        assert_problems(
            &beside(&format!("[monitor.m.columns]\n{columns}")),
            &[
                &format!(
                    "limno.toml:11: monitor.m.columns.max_buckets.{key}: {message} of monitor.m.columns.exact[1] in line 9"
                ),
                "  hint: leave one of the two out",
            ],
        );
    }
}

#[test]
fn contradictions_are_told_once_for_each_pair_of_entries() {
    let contradictions = |columns: &str, names: &[&str]| {
        let config = parse(&monitor_with(&format!("columns = {{ {columns} }}"))).expect("right");
        Problems(config.monitors[0].columns.contradictions(names, "limno.toml")).to_string()
    };
    let names = ["id", "id_a_sold", "id_b_sold"];
    assert_eq!(
        contradictions("exact = [\"id_*\"], max_buckets = { \"*_sold\" = 64 }", &names),
        "limno.toml:4: monitor.m.columns.max_buckets.\"*_sold\": `id_a_sold` has no limit according to `id_*` of \
         monitor.m.columns.exact[0] in line 4\n  hint: leave one of the two out"
    );
    let two = "\"*_sold\" = 64, \"id_*\" = 64";
    assert_eq!(
        contradictions(&format!("max_buckets = {{ {two} }}"), &names),
        "limno.toml:4: monitor.m.columns.max_buckets.\"id_*\": a second limit of `id_a_sold` beside \
         monitor.m.columns.max_buckets.\"*_sold\" in line 4\n  hint: add its full name, which wins over patterns: \
         \"id_a_sold\" = N"
    );
    // Only columns that are there count, and a full name settles it.
    assert_eq!(contradictions(&format!("max_buckets = {{ {two} }}"), &["id", "id_a", "sold"]), "");
    assert_eq!(contradictions(&format!("max_buckets = {{ {two}, id_a_sold = 16 }}"), &names[..2]), "");
}

#[test]
fn schedules_and_time_zones_are_checked() {
    for (line, expected) in [
        ("schedule = \"61 0 * * * *\"", "schedule: `61 0 * * * *` is not a schedule: number out of bounds"),
        ("schedule = \"* * * * * * *\"", "schedule: a schedule has six fields, this one has 7"),
        ("schedule = \"0 0 * * * wat\"", "schedule: `0 0 * * * wat` is not a schedule: "),
        (
            "timezone = \"Europe/Roma\"",
            "timezone: `Europe/Roma` is not an IANA time zone\n  hint: did you mean `Europe/Rome`?",
        ),
        (
            "timezone = \"europe/rome\"",
            "timezone: `europe/rome` is not an IANA time zone\n  hint: did you mean `Europe/Rome`?",
        ),
        (
            "timezone = \"Middle Earth\"",
            "timezone: `Middle Earth` is not an IANA time zone\n  hint: the nearest valid name is `",
        ),
    ] {
        let shown = problems(&monitor_with(line));
        let expected = format!("limno.toml:4: monitor.m.{expected}");
        assert!(shown.starts_with(&expected), "{shown}\n{expected}");
    }
    assert!(parse(&monitor_with("schedule = \"@hourly\"")).is_ok());
    assert!(parse(&monitor_with("schedule = \"0 30 6 * * MON-FRI\"")).is_ok());
}

#[test]
fn granularities_and_kinds_are_checked() {
    let text = monitor_with("").replace("1 week", "1 fortnight");
    let shown = problems(&text);
    assert!(shown.starts_with("limno.toml:7: monitor.m.time_series.granularities[1]: "), "{shown}");
    assert!(shown.contains("fortnight") && shown.contains("\"2 weeks\""), "{shown}");
    assert_problems(
        &monitor_with("").replace("1 week", "1 day"),
        &["limno.toml:7: monitor.m.time_series.granularities[1]: `1 day` is given twice"],
    );
    assert_problems(
        &monitor_with("").replace("[\"1 day\", \"1 week\"]", "[]"),
        &["limno.toml:7: monitor.m.time_series.granularities: is empty, expected at least one granularity"],
    );
    assert_problems(
        &monitor_with("snapshot = {}"),
        &[
            "limno.toml:5: monitor.m.time_series: a second kind beside monitor.m.snapshot in line 4, expected exactly one",
        ],
    );
    assert_problems(
        &beside(
            "[monitor.i]\ntable=\"t\"\noutput=\"o\"\n[monitor.i.inference_log]\ntimestamp=\"t\"\ngranularities=[\"1 day\"]\nprediction=\"p\"\nproblem_type=\"regresion\"",
        ),
        &[
            "limno.toml:11: monitor.i.inference_log.model_id: is missing, expected the column that says which model",
            "limno.toml:15: monitor.i.inference_log.problem_type: `regresion` is none of regression, classification",
            "  hint: did you mean `regression`?",
        ],
    );
}

#[test]
fn names_are_checked() {
    assert_problems(
        &monitor_with("").replace("monitor.m", "monitor.\"my table\""),
        &[
            "limno.toml:1: monitor.\"my table\": the name of a monitor has letters, digits and underscores only, for it names tables",
            "  hint: write [monitor.my_table]",
        ],
    );
    assert_problems(
        &beside("[monitor.M]\ntable=\"t\"\noutput=\"o\"\nsnapshot={}"),
        &[
            "limno.toml:8: monitor.M: differs from monitor `m` in letter case only",
            "  hint: choose another name: both would name the same tables",
        ],
    );
    assert_problems(
        &rule_with("above = 1\n[[monitor.m.rule]]\nname = \"r\"\nmetric = \"avg\"\nbelow = 1"),
        &["limno.toml:13: monitor.m.rule[1].name: `r` is already the name of the rule in line 9"],
    );
    let shown = problems(&beside("[notifier.a]\n[notifier.a]"));
    assert!(shown.starts_with("limno.toml:9: duplicate key `a`"), "{shown}");
}

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
fn secrets_are_references_and_their_values_never_show() {
    let token = |token: &str| {
        beside(&format!("[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b\"\njob_id = 1\ntoken = {token}"))
    };
    for (text, expected) in [
        (
            "\"dapi-literal\"",
            "token: a secret is never written in the configuration itself\n  hint: write token = { env = \"T_TOKEN\" } or { file = \"…\" }",
        ),
        (
            "7",
            "token: expected a reference to a secret, found an integer\n  hint: write token = { env = \"T_TOKEN\" } or { file = \"…\" }",
        ),
        ("{}", "token: says neither `env` nor `file`\n  hint: write token = { env = \"T_TOKEN\" } or { file = \"…\" }"),
        ("{ env = \"A\", file = \"b\" }", "token: both `env` and `file` are given, expected one of them"),
        (
            "{ env = \"NOPE\" }",
            "token.env: environment variable `NOPE` is not set\n  hint: set NOPE where limno runs, or use { file = \"…\" }",
        ),
        ("{ env = \"EMPTY\" }", "token.env: environment variable `EMPTY` is empty"),
        (
            "{ env = \"dapi-literal\" }",
            "token.env: is not the name of an environment variable\n  hint: name the variable that holds the secret: letters, digits and underscores",
        ),
    ] {
        let text = token(text);
        assert_problems(&text, &[&format!("limno.toml:12: trigger.t.{expected}")]);
        assert!(!problems(&text).contains("dapi"));
    }
    let shown = problems(&token("{ file = \"no/such/file\" }"));
    assert!(
        shown.starts_with("limno.toml:12: trigger.t.token.file: cannot read secret file `no/such/file`: "),
        "{shown}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "from-a-file\r\n").expect("a file");
    let config = parse(&token(&format!("{{ file = {path:?} }}"))).expect("right");
    let TriggerConfig::DatabricksJob(job) = &config.triggers["t"] else {
        panic!("a job");
    };
    assert_eq!(job.token.expose(), "from-a-file");
    assert_eq!(format!("{:?}", job.token), "***");

    std::fs::write(&path, "two\nlines").expect("a file");
    let shown = problems(&token(&format!("{{ file = {path:?} }}")));
    assert!(shown.contains("it is no token") && !shown.contains("lines"), "{shown}");
}

#[test]
fn mail_notifiers_are_checked() {
    for (lines, expected) in [
        (
            "smtp = \"http://x\"",
            "12: notifier.n.smtp: is not the address of a mail server\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"mail.example.com\"",
            "12: notifier.n.smtp: is not the address of a mail server\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"smtps://limno:pw@mail\"",
            "12: notifier.n.smtp: an address holds no user name or password\n  hint: use username = \"…\" and password = { env = \"…\" }",
        ),
        (
            "smtp = \"smtps://mail/x\"",
            "12: notifier.n.smtp: nothing may follow the host and port of a mail server\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"file://host/x\"",
            "12: notifier.n.smtp: a file: address names no host\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"smtps://mail\"\nusername = \"u\"",
            "13: notifier.n.username: a user name without a password\n  hint: add password = { env = \"…\" }, or leave both out",
        ),
        (
            "smtp = \"smtps://mail\"\npassword = { env = \"SMTP_PASSWORD\" }",
            "13: notifier.n.password: a password without a user name\n  hint: add username = \"…\", or leave both out",
        ),
        (
            "smtp = \"smtp://mail\"\nusername = \"u\"\npassword = { env = \"SMTP_PASSWORD\" }",
            "12: notifier.n.smtp: a login over smtp:// would cross the network unencrypted\n  hint: use smtp+starttls:// or smtps://",
        ),
        (
            "smtp = \"file:x\"\nusername = \"u\"\npassword = { env = \"SMTP_PASSWORD\" }",
            "13: notifier.n.username: a folder takes no login",
        ),
        (
            "smtp = \"smtps://mail\"\nca_file = \"no/such.pem\"",
            "13: notifier.n.ca_file: there is no file `no/such.pem`\n  hint: name a PEM file with the certificates to trust",
        ),
    ] {
        assert_problems(&email_with(lines), &[&format!("limno.toml:{expected}")]);
    }
    for bad in
        ["nobody", "a@b@c", "a@example.com, b@example.com", "a@example.com\\nBcc: x@example.com", "A <a@example.com"]
    {
        let text =
            email_with("smtp = \"file:x\"").replace("\"b@example.com\"", &format!("\"ok@example.com\",\n  \"{bad}\""));
        let shown = problems(&text);
        assert!(shown.starts_with("limno.toml:12: notifier.n.to[1]: "), "{shown}");
        assert!(shown.contains("is not a mail address"), "{shown}");
    }
    assert_problems(
        &email_with("smtp = \"file:x\"").replace("[\"b@example.com\"]", "[]"),
        &["limno.toml:11: notifier.n.to: is empty, expected at least one address"],
    );
}

#[test]
fn smtp_addresses_have_default_ports_and_a_login_is_fine_on_loopback() {
    let smtp = |text: &str| {
        let config = parse(&email_with(text)).unwrap_or_else(|problems| panic!("{problems}"));
        match &config.notifiers["n"] {
            NotifierConfig::Email(email) => email.smtp.clone(),
            NotifierConfig::Webhook(_) => panic!("an e-mail"),
        }
    };
    let host = |host: &str| host.to_owned();
    let login = "username = \"u\"\npassword = { env = \"SMTP_PASSWORD\" }";
    for (text, expected) in [
        ("smtp = \"smtps://mail\"".to_owned(), SmtpUrl::Tls { host: host("mail"), port: 465 }),
        ("smtp = \"smtp+starttls://mail\"".to_owned(), SmtpUrl::StartTls { host: host("mail"), port: 587 }),
        ("smtp = \"smtp://mail:2525\"".to_owned(), SmtpUrl::Plain { host: host("mail"), port: 2525 }),
        (format!("smtp = \"smtp://127.0.0.1\"\n{login}"), SmtpUrl::Plain { host: host("127.0.0.1"), port: 25 }),
        (format!("smtp = \"smtp://[::1]:25\"\n{login}"), SmtpUrl::Plain { host: host("::1"), port: 25 }),
        (format!("smtp = \"smtp://localhost\"\n{login}"), SmtpUrl::Plain { host: host("localhost"), port: 25 }),
        ("smtp = \"file:///var/mail\"".to_owned(), SmtpUrl::File { dir: "/var/mail".into() }),
    ] {
        assert_eq!(smtp(&text), expected);
    }
}

#[test]
fn webhooks_and_triggers_are_checked() {
    for (lines, expected) in [
        (
            "[notifier.n]\nkind = \"webhok\"",
            "9: notifier.n.kind: `webhok` is none of email, webhook\n  hint: did you mean `webhook`?",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"http://example.com/k3y\"",
            "10: notifier.n.url: http:// is allowed to this machine only, since it is readable on the way\n  hint: write https://…",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"ftp://example.com/k3y\"",
            "10: notifier.n.url: is not a web address\n  hint: write https://HOST/PATH",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://u:k3y@example.com\"",
            "10: notifier.n.url: an address holds no user name or password\n  hint: use a header or token = { env = \"…\" }",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\ntimeout = \"0s\"",
            "11: notifier.n.timeout: a timeout of zero would let nothing finish",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { \"a b\" = \"x\" }",
            "11: notifier.n.headers.\"a b\": `a b` cannot be the name of a header",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { X = \"a\\nb\" }",
            "11: notifier.n.headers.X: cannot be sent as a header: only visible ASCII characters and spaces",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { Host = \"x\" }",
            "11: notifier.n.headers.Host: host is set by limno itself",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { Authorization = \"Bearer k3y\" }",
            "11: notifier.n.headers.Authorization: a secret is never written in the configuration itself\n  hint: write Authorization = { env = \"N_AUTHORIZATION\" } or { file = \"…\" }",
        ),
        (
            "[trigger.t]\nkind = \"command\"\ncommand = \"rm -rf x\"",
            "10: trigger.t.command: expected an array of strings, found a string\n  hint: no shell reads it: write [\"program\", \"argument\"]",
        ),
        ("[trigger.t]\nkind = \"command\"\ncommand = []", "10: trigger.t.command: names no program"),
        ("[trigger.t]\nkind = \"command\"\ncommand = [\"\"]", "10: trigger.t.command[0]: is empty"),
        (
            "[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b/x\"\njob_id = 1\ntoken = { env = \"DATABRICKS_TOKEN\" }",
            "10: trigger.t.host: nothing may follow the host of a workspace\n  hint: write https://a.b",
        ),
        (
            "[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b\"\njob_id = 0\ntoken = { env = \"DATABRICKS_TOKEN\" }",
            "11: trigger.t.job_id: expected an integer from 1 to 9223372036854775807, found 0",
        ),
        (
            "[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b\"\njob_id = 1\ntoken = { env = \"DATABRICKS_TOKEN\" }\nparameters = { a = 1 }",
            "13: trigger.t.parameters.a: expected a string, found an integer",
        ),
    ] {
        let text = beside(lines);
        assert_problems(&text, &[&format!("limno.toml:{expected}")]);
        assert!(!problems(&text).contains("k3y"));
    }
    for url in ["http://localhost:1/x", "http://127.0.0.1:1", "http://[::1]:1"] {
        let text = beside(&format!("[notifier.n]\nkind = \"webhook\"\nurl = \"{url}\""));
        assert!(parse(&text).is_ok(), "{url}");
    }
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

#[test]
fn windows_can_slide_begin_later_and_be_looked_back_on_only_so_far() {
    let text = monitor_with("offset = \"5h 30m\"\nlookback = \"90days\"").replace("1 week", "1 week every 24 hours");
    let config = parse(&text).expect("right");
    let monitor = &config.monitors[0];
    assert_eq!(monitor.offset_minutes, 330);
    assert_eq!(monitor.lookback, Some(Duration::from_secs(90 * 86_400)));
    let granularities: Vec<_> = monitor.kind.granularities().iter().map(|g| g.value.to_string()).collect();
    assert_eq!(granularities, ["1 day", "7 days every 1 day"]);
    let plain = parse(&monitor_with("")).expect("right");
    assert_eq!((plain.monitors[0].offset_minutes, plain.monitors[0].lookback), (0, None));
    for (line, refused) in [
        ("offset = \"1day\"", "monitor.m.offset: an offset is less than a day, in whole minutes"),
        ("offset = \"90s\"", "monitor.m.offset: an offset is less than a day, in whole minutes"),
        ("offset = 6", "monitor.m.offset: expected a duration, found an integer"),
        ("lookback = \"0s\"", "monitor.m.lookback: a lookback of zero would leave out every window"),
    ] {
        let problems = problems(&monitor_with(line));
        assert!(problems.contains(refused), "{problems}");
    }
    for (granularity, refused) in [
        ("7 days every 2 days", "the length of a window must be a multiple of its step"),
        ("1 month every 1 day", "the length of a window must be a multiple of its step"),
        ("1 day every 1 minute", "has 1440 steps, a window has 366 at most"),
        ("7 days every day", "`7 days every day` is not a granularity\n  hint: write \"7 days every 1 day\""),
        ("24 hours every 1 day", "`1 day` is given twice"),
    ] {
        let problems = problems(&monitor_with("").replace("1 week", granularity));
        assert!(problems.contains(refused), "{problems}");
    }
    let snapshot = "[monitor.m]\ntable = \"t\"\noutput = \"o\"\noffset = \"1h\"\nlookback = \"1day\"\nsnapshot = {}";
    assert_eq!(problems(snapshot).matches("a snapshot has no windows of time").count(), 2);
}

#[test]
fn monitors_are_selected_by_name() {
    let text = beside("[monitor.other]\ntable = \"t\"\noutput = \"o\"\nsnapshot = {}");
    let config = parse(&text).expect("right");
    let select = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let selected = config.select(&names)?;
        Ok::<_, UnknownMonitor>(selected.iter().map(|m| m.name.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(select(&[]), Ok(vec!["m", "other"]));
    assert_eq!(select(&["other", "m", "other"]), Ok(vec!["m", "other"]));
    let error = select(&["m", "othr"]).expect_err("unknown");
    assert_eq!(error.to_string(), "there is no monitor `othr` in `limno.toml`\n  hint: did you mean `other`?");
    assert_eq!(error.hint.as_deref(), Some("did you mean `other`?"));
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

#[test]
fn sizes_and_retention_are_read_and_checked() {
    let text = |lines: &str| {
        format!(
            "[monitor.m]\ntable = \"t\"\noutput = \"o\"\n\
             time_series = {{ timestamp = \"t\", granularities = [\"1 day\"] }}\n{lines}\n"
        )
    };
    let parse = |lines: &str| Config::parse(&text(lines), "limno.toml", &ProcessEnv);
    let config =
        parse("memory = \"64 MiB\"\nretention = { states = \"90days\", rows = \"2years\", files = \"1day\" }").unwrap();
    let monitor = &config.monitors[0];
    assert_eq!(monitor.memory, 64 << 20);
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(monitor.retention.states(), Some(days(90)));
    assert_eq!(monitor.retention.files, days(1));
    let default = &parse("").unwrap().monitors[0];
    assert_eq!((default.memory, default.retention), (2 << 30, Retention::default()));
    let rows_alone = &parse("retention = { rows = \"30days\" }").unwrap().monitors[0];
    assert_eq!(rows_alone.retention.states(), Some(days(30)), "states go with their rows");
    for (lines, message) in [
        ("memory = 5", "expected a size"),
        ("memory = \"much\"", "is not a size"),
        ("memory = \"1 MiB\"", "expected at least 16.0 MiB"),
        ("retention = { states = \"60days\", rows = \"30days\" }", "longer than the rows"),
        ("retention = { files = \"5m\" }", "may still be read"),
        ("retention = { state = \"5m\" }", "unknown key `state`"),
    ] {
        let problems = parse(lines).unwrap_err().to_string();
        assert!(problems.contains(message), "{lines}: {problems}");
    }
    let snapshot = "[monitor.m]\ntable = \"t\"\noutput = \"o\"\nsnapshot = {}\nretention = { rows = \"9days\" }\n";
    let problems = Config::parse(snapshot, "limno.toml", &ProcessEnv).unwrap_err().to_string();
    assert!(problems.contains("no windows that grow old"), "{problems}");
}

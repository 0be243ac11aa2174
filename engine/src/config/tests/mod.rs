//! What is read, and each kind of what is refused, with its file, line, key, message and hint. Here is what the rooms share.

mod deliveries;
mod keys;
mod monitors;
mod overlays;
mod rules;
mod stores;
mod whole;

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

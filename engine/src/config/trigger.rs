//! Triggers: what is started when a rule fires, such as a retraining job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::place::{read_ca_file, read_http};
use super::raw::{Section, Value, choice};
use super::secret::{Env, Secret, read_secret};

/// One `[trigger.NAME]`.
#[derive(Debug, Clone)]
pub enum TriggerConfig {
    /// `kind = "databricks_job"`
    DatabricksJob(DatabricksJobConfig),
    /// `kind = "command"`
    Command(CommandConfig),
}

impl TriggerConfig {
    /// The name by which rules know it.
    pub fn name(&self) -> &str {
        match self {
            Self::DatabricksJob(job) => &job.name,
            Self::Command(command) => &command.name,
        }
    }

    /// The line of its table.
    pub fn line(&self) -> usize {
        match self {
            Self::DatabricksJob(job) => job.line,
            Self::Command(command) => command.line,
        }
    }

    /// The least time between two calls.
    pub fn cooldown(&self) -> Duration {
        match self {
            Self::DatabricksJob(job) => job.cooldown,
            Self::Command(command) => command.cooldown,
        }
    }
}

/// Starts a Databricks job with `run-now`.
#[derive(Debug, Clone)]
pub struct DatabricksJobConfig {
    /// The name by which rules know it.
    pub name: String,
    /// The line of its table.
    pub line: usize,
    /// The workspace: `https`, or `http` to this machine; no path.
    pub host: Url,
    /// The job; positive.
    pub job_id: i64,
    /// The bearer token; valid as a header.
    pub token: Secret,
    /// The least time between two calls; zero if there is none.
    pub cooldown: Duration,
    /// PEM file of additional trusted root certificates.
    pub ca_file: Option<PathBuf>,
    /// For the whole request; above zero.
    pub timeout: Duration,
    /// Job parameters beside those that limno gives.
    pub parameters: BTreeMap<String, String>,
}

/// Starts a program on this machine.
#[derive(Debug, Clone)]
pub struct CommandConfig {
    /// The name by which rules know it.
    pub name: String,
    /// The line of its table.
    pub line: usize,
    /// The program and its arguments, at least one word; no shell looks at them.
    pub command: Vec<String>,
    /// The least time between two calls; zero if there is none.
    pub cooldown: Duration,
    /// The program is ended after this time; above zero.
    pub timeout: Duration,
}

#[derive(Clone, Copy)]
enum Kind {
    DatabricksJob,
    Command,
}

const KINDS: &[(&str, Kind)] = &[("databricks_job", Kind::DatabricksJob), ("command", Kind::Command)];

pub(super) fn read_trigger(name: &str, value: &Value<'_>, env: &dyn Env) -> Option<TriggerConfig> {
    let mut section = value.section()?;
    let kind = section.require("kind", "\"databricks_job\" or \"command\"").and_then(|kind| choice(&kind, KINDS));
    match kind {
        None => {
            section.abandon();
            None
        }
        Some(Kind::DatabricksJob) => read_databricks_job(name, section, env).map(TriggerConfig::DatabricksJob),
        Some(Kind::Command) => read_command(name, section).map(TriggerConfig::Command),
    }
}

fn read_databricks_job(name: &str, mut section: Section<'_>, env: &dyn Env) -> Option<DatabricksJobConfig> {
    let line = section.at.line;
    let host = section
        .require("host", "the workspace, such as https://adb-1.azuredatabricks.net")
        .and_then(|value| read_host(&value));
    let job_id = section.require("job_id", "the number of the job").and_then(|value| value.integer(1..=i64::MAX));
    let token = section
        .require("token", "{ env = \"DATABRICKS_TOKEN\" } or { file = \"…\" }")
        .and_then(|value| read_token(name, &value, env));
    let cooldown = section.take("cooldown").and_then(|value| value.duration());
    let ca_file = section.take("ca_file").and_then(|value| read_ca_file(&value));
    let timeout = section.take("timeout").and_then(|value| value.timeout());
    let parameters = section.take("parameters").and_then(|value| value.section()).map(read_parameters);
    section.finish();
    Some(DatabricksJobConfig {
        name: name.to_owned(),
        line,
        host: host?,
        job_id: job_id?,
        token: token?,
        cooldown: cooldown.unwrap_or_default(),
        ca_file,
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
        parameters: parameters.unwrap_or_default(),
    })
}

fn read_host(value: &Value<'_>) -> Option<Url> {
    let url = read_http(value, &value.text()?.value)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        value.report(
            "nothing may follow the host of a workspace",
            Some(format!("write {}", url.origin().ascii_serialization())),
        );
        return None;
    }
    Some(url)
}

fn read_token(owner: &str, value: &Value<'_>, env: &dyn Env) -> Option<Secret> {
    let token = read_secret(value, owner, env)?;
    if !token.expose().bytes().all(|b| b.is_ascii_graphic()) {
        value.report("holds something else than visible ASCII characters, so it is no token", None);
        return None;
    }
    Some(token)
}

fn read_parameters(section: Section<'_>) -> BTreeMap<String, String> {
    let entries = section.into_entries().into_iter();
    entries.filter_map(|(name, value)| Some((name.to_owned(), value.string()?))).collect()
}

fn read_command(name: &str, mut section: Section<'_>) -> Option<CommandConfig> {
    let line = section.at.line;
    let command = section
        .require("command", "the program and its arguments, as an array of strings")
        .and_then(|value| read_words(&value));
    let cooldown = section.take("cooldown").and_then(|value| value.duration());
    let timeout = section.take("timeout").and_then(|value| value.timeout());
    section.finish();
    Some(CommandConfig {
        name: name.to_owned(),
        line,
        command: command?,
        cooldown: cooldown.unwrap_or_default(),
        timeout: timeout.unwrap_or(Duration::from_secs(600)),
    })
}

/// Arguments may be empty or given twice; the program may not be empty.
fn read_words(value: &Value<'_>) -> Option<Vec<String>> {
    if value.as_str().is_some() {
        value
            .wrong_type("an array of strings", Some("no shell reads it: write [\"program\", \"argument\"]".to_owned()));
        return None;
    }
    let items = value.items("an array of strings")?;
    let Some(program) = items.first() else {
        value.report("names no program", None);
        return None;
    };
    program.text()?;
    items.iter().map(Value::string).collect()
}

//! `limno.toml`: from text to validated types.
//!
//! Reading is strict. An unknown key, a wrong type, a name that refers to nothing or a secret that is not set is a
//! [`Problem`] with file, line, key and the nearest valid name, and all problems are reported at once. A [`Config`] can
//! only exist without any. What needs the tables themselves (a column that is missing, a slice expression) is checked
//! later, which is why such values are [`Located`].

mod columns;
mod glob;
mod kind;
mod labels;
mod log;
mod metric;
mod monitor;
mod notifier;
mod place;
mod problem;
mod raw;
mod retention;
mod rule;
mod secret;
mod significance;
mod trigger;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::columns::{ColumnLimit, ColumnSelection, Precision};
pub use self::glob::{glob_matches, is_glob};
pub use self::kind::{MonitorKind, Probabilities, ProblemType};
pub use self::labels::LabelsConfig;
pub use self::log::{LogFormat, PayloadConfig, TypedColumns};
pub use self::metric::{MetricConfig, MetricKind, Roles};
pub use self::monitor::MonitorConfig;
pub use self::notifier::{EmailConfig, HeaderValue, NotifierConfig, WebhookConfig};
pub use self::place::SmtpUrl;
pub use self::problem::{Problem, Problems, name_hint, nearest, quoted};
pub use self::retention::Retention;
pub(crate) use self::rule::unknown_metric;
pub use self::rule::{Against, Condition, RuleConfig, Severity, UnknownWord};
pub use self::secret::{Env, ProcessEnv, Secret};
pub use self::trigger::{CommandConfig, DatabricksJobConfig, TriggerConfig};

use self::monitor::{Known, read_monitor};
use self::notifier::read_notifier;
use self::raw::{Section, Sink, Value};
use self::trigger::read_trigger;

/// A whole configuration, free of problems.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file as the user named it, for messages.
    pub file: String,
    /// At least one, in the order of the file.
    pub monitors: Vec<MonitorConfig>,
    /// By name.
    pub notifiers: BTreeMap<String, NotifierConfig>,
    /// By name.
    pub triggers: BTreeMap<String, TriggerConfig>,
}

/// A configured value and the line it stands on, so that problems found later (a column that the table lacks) can name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its line, counted from 1.
    pub line: usize,
    /// Its full dotted key.
    pub key: String,
}

impl<T> Located<T> {
    /// A problem with this value in the configuration file `file`.
    pub fn problem(&self, file: &str, message: impl Into<String>, hint: Option<String>) -> Problem {
        Problem { file: file.to_owned(), line: self.line, key: self.key.clone(), message: message.into(), hint }
    }
}

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read configuration {}: {source}", quoted(&.path.to_string_lossy()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was read and is at fault.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// A name that was asked for and that no monitor has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no monitor {} in {}{}", quoted(.name), quoted(.file), .hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default())]
pub struct UnknownMonitor {
    /// The name.
    pub name: String,
    /// The configuration file.
    pub file: String,
    /// Which one may have been meant.
    pub hint: Option<String>,
}

impl Config {
    /// Reads a configuration from the text of a file; `file` is how messages call it.
    ///
    /// Secrets are fetched from `env` and from files at once, so that one that is not set is among the problems.
    ///
    /// # Errors
    ///
    /// All problems of the text, by line. None of them shows a secret.
    pub fn parse(text: &str, file: &str, env: &dyn Env) -> Result<Self, Problems> {
        let sink = Sink::new(text, file);
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What was recovered is a guess; checking it further would blame keys that are right.
            for error in &errors {
                let span = error.span().unwrap_or_default();
                let mut message = error.message().to_owned();
                // Only a key is repeated: any other text may be a secret.
                if message == "duplicate key"
                    && let Some(key) = text.get(span.clone())
                {
                    message = format!("{message} {}", quoted(key));
                }
                sink.report(sink.line_of(span.start), "", message, None);
            }
            return Err(sink.into_result().err().unwrap_or_default());
        }
        let root = Section::new(&sink, String::new(), 1, document.get_ref());
        let config = read_document(root, file, env);
        sink.into_result()?;
        Ok(config)
    }

    /// Reads a configuration file, see [`Config::parse`].
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] if the file cannot be read, [`LoadError::Problems`] if it is at fault.
    pub fn load(path: &Path, env: &dyn Env) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(&text, &path.to_string_lossy(), env)?)
    }

    /// The monitor of this name.
    pub fn monitor(&self, name: &str) -> Option<&MonitorConfig> {
        self.monitors.iter().find(|monitor| monitor.name == name)
    }

    /// The monitors of these names in the order of the file, each once; all of them if no name is given.
    ///
    /// # Errors
    ///
    /// The first name that is no monitor's, with the nearest one that is.
    pub fn select(&self, names: &[String]) -> Result<Vec<&MonitorConfig>, UnknownMonitor> {
        if let Some(unknown) = names.iter().find(|name| self.monitor(name).is_none()) {
            let known: Vec<&str> = self.monitors.iter().map(|m| m.name.as_str()).collect();
            return Err(UnknownMonitor {
                name: unknown.clone(),
                file: self.file.clone(),
                hint: name_hint(unknown, &known),
            });
        }
        let is_selected = |monitor: &&MonitorConfig| names.is_empty() || names.contains(&monitor.name);
        Ok(self.monitors.iter().filter(is_selected).collect())
    }
}

fn read_document(mut root: Section<'_>, file: &str, env: &dyn Env) -> Config {
    let monitors = named_tables(root.require("monitor", "a table [monitor.NAME]"));
    let notifiers = named_tables(root.take("notifier"));
    let triggers = named_tables(root.take("trigger"));
    root.finish();
    check_case(&monitors);

    let notifier_names: Vec<&str> = notifiers.iter().map(|(name, _)| *name).collect();
    let trigger_names: Vec<&str> = triggers.iter().map(|(name, _)| *name).collect();
    let known = Known { notifiers: &notifier_names, triggers: &trigger_names };
    Config {
        file: file.to_owned(),
        monitors: monitors.iter().filter_map(|(name, value)| read_monitor(name, value, &known)).collect(),
        notifiers: notifiers
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), read_notifier(name, value, env)?)))
            .collect(),
        triggers: triggers
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), read_trigger(name, value, env)?)))
            .collect(),
    }
}

/// The tables `[monitor.NAME]`, `[notifier.NAME]` or `[trigger.NAME]`, by line.
fn named_tables(value: Option<Value<'_>>) -> Vec<(&str, Value<'_>)> {
    let Some(value) = value else {
        return Vec::new();
    };
    let form = format!("[{}.NAME]", value.key);
    if !value.is_table() {
        value.wrong_type("tables with names", Some(format!("write {form}")));
        return Vec::new();
    }
    let entries = value.section().map(Section::into_entries).unwrap_or_default();
    if entries.is_empty() {
        value.report("holds nothing", Some(format!("write a table {form}")));
    }
    for (name, entry) in &entries {
        if name.trim().is_empty() || name.contains(char::is_control) {
            entry.report("a name is not empty and has no control characters", None);
        }
    }
    entries
}

/// SQL compares the names of tables without regard to case, and so do some file systems.
fn check_case(monitors: &[(&str, Value<'_>)]) {
    for (index, (name, value)) in monitors.iter().enumerate() {
        let before = &monitors[..index];
        if let Some((first, _)) = before.iter().find(|(first, _)| first.eq_ignore_ascii_case(name)) {
            value.report(
                format!("differs from monitor {} in letter case only", quoted(first)),
                Some("choose another name: both would name the same tables".to_owned()),
            );
        }
    }
}

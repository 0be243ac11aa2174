//! `limno.toml`: from text to validated types.
//!
//! Reading is strict. An unknown key, a wrong type, a name that refers to nothing or a secret that is not set is a
//! [`Problem`] with file, line, key and the nearest valid name, and all problems are reported at once. A [`Config`] can
//! only exist without any. What needs the tables themselves (a column that is missing, a slice expression) is checked
//! later, which is why such values are [`Located`].

mod columns;
mod environment;
mod glob;
mod kind;
mod labels;
mod log;
mod metric;
mod monitor;
mod notifier;
mod overlay;
mod place;
mod problem;
mod raw;
mod retention;
mod rule;
mod secret;
mod significance;
mod store;
mod trigger;
mod uri;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limno_sql::lake::StoreOptions;
use toml::de::DeTable;

pub use self::columns::{ColumnLimit, ColumnSelection, Precision};
pub use self::glob::{glob_matches, is_glob};
pub use self::kind::{MonitorKind, Probabilities, ProblemType};
pub use self::labels::LabelsConfig;
pub use self::log::{LogFormat, PayloadConfig, TypedColumns};
pub use self::metric::{MetricConfig, MetricKind, Roles};
pub use self::monitor::MonitorConfig;
pub use self::notifier::{EmailConfig, HeaderValue, NotifierConfig, WebhookConfig};
pub use self::overlay::{ConfigText, Overlay, overlay_path};
pub use self::place::SmtpUrl;
pub use self::problem::{Problem, Problems, name_hint, nearest, quoted};
pub use self::retention::Retention;
pub(crate) use self::rule::unknown_metric;
pub use self::rule::{Against, Condition, RuleConfig, Severity, UnknownWord};
pub use self::secret::{Env, ProcessEnv, Secret};
pub use self::trigger::{CommandConfig, DatabricksJobConfig, TriggerConfig};

use self::environment::{Kept, kept, read_environment};
use self::monitor::{Known, read_monitor};
use self::notifier::read_notifier;
use self::raw::{Section, Sink, Value};
use self::store::read_stores;
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
    /// How places are reached, in the order of the file.
    pub stores: Vec<StoreOptions>,
    /// The environment whose overlay was laid over the file.
    pub environment: Option<String>,
    /// Whether notifiers and triggers are called. If not, none is configured here.
    pub deliver: bool,
    /// Below which places anything may be changed; `None` for everywhere.
    pub writable: Option<Vec<String>>,
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
    /// The overlay that it stands in, if it does not stand in the configuration itself.
    pub overlay: Option<Arc<str>>,
}

impl<T> Located<T> {
    /// A problem with this value, which stands in the configuration file `file` or in its overlay.
    pub fn problem(&self, file: &str, message: impl Into<String>, hint: Option<String>) -> Problem {
        let file = self.overlay.as_deref().unwrap_or(file).to_owned();
        Problem { file, line: self.line, key: self.key.clone(), message: message.into(), hint }
    }

    /// `line 3`, and of which file if it is the overlay.
    pub(crate) fn stands(&self) -> String {
        match &self.overlay {
            None => format!("line {}", self.line),
            Some(file) => format!("line {} of {file}", self.line),
        }
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
    /// An environment that has no overlay.
    #[error(
        "environment {environment} has no overlay: cannot read {}: {source}{}",
        quoted(&.path.to_string_lossy()),
        .hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default()
    )]
    Overlay {
        /// The environment that was asked for.
        environment: String,
        /// Where its overlay would be.
        path: PathBuf,
        /// Which one may have been meant.
        hint: Option<String>,
        /// Why it does not read.
        source: std::io::Error,
    },
    /// What is no name of an environment.
    #[error("{} is not the name of an environment: letters, digits, - and _ only", quoted(.name))]
    Environment {
        /// What was asked for.
        name: String,
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
        Self::parse_laid(ConfigText { text, file }, None, env)
    }

    /// As [`Config::parse`], with an overlay over it.
    ///
    /// # Errors
    ///
    /// All problems of both texts.
    pub fn parse_laid(base: ConfigText<'_>, overlay: Option<Overlay<'_>>, env: &dyn Env) -> Result<Self, Problems> {
        let sink = sink_of(base, overlay);
        let Some((document, kept)) = document(&sink, base, overlay) else {
            return Err(sink.into_result().err().unwrap_or_default());
        };
        let root = Section::new(&sink, String::new(), sink.at(0), &document);
        let environment = overlay.map(|overlay| overlay.environment.to_owned());
        let config = Self { environment, ..read_document(root, base.file, &kept, env) };
        sink.into_result()?;
        Ok(config)
    }

    /// Reads a configuration file, see [`Config::parse`].
    ///
    /// # Errors
    ///
    /// As [`Config::load_laid`].
    pub fn load(path: &Path, env: &dyn Env) -> Result<Self, LoadError> {
        Self::load_laid(path, None, env)
    }

    /// Reads a configuration file and lays `limno.ENVIRONMENT.toml` over it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] or [`LoadError::Overlay`] if a file cannot be read, [`LoadError::Problems`] if it is at
    /// fault, [`LoadError::Environment`] for what is no name of an environment.
    pub fn load_laid(path: &Path, environment: Option<&str>, env: &dyn Env) -> Result<Self, LoadError> {
        with_texts(path, environment, |base, overlay| Self::parse_laid(base, overlay, env))
    }

    /// The `[store.NAME]` blocks of a configuration file and its overlay; whatever else they hold does not matter.
    ///
    /// # Errors
    ///
    /// As [`Config::load_laid`], for the blocks alone.
    pub fn load_stores(path: &Path, environment: Option<&str>, env: &dyn Env) -> Result<Vec<StoreOptions>, LoadError> {
        with_texts(path, environment, |base, overlay| {
            let sink = sink_of(base, overlay);
            let Some((document, _)) = document(&sink, base, overlay) else {
                return Err(sink.into_result().err().unwrap_or_default());
            };
            let mut root = Section::new(&sink, String::new(), sink.at(0), &document);
            let stores = read_stores(&named_tables(root.take("store")), env);
            sink.into_result()?;
            Ok(stores)
        })
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

/// Reads both texts and hands them on.
fn with_texts<T>(
    path: &Path,
    environment: Option<&str>,
    read: impl FnOnce(ConfigText<'_>, Option<Overlay<'_>>) -> Result<T, Problems>,
) -> Result<T, LoadError> {
    let overlay = match environment {
        None => None,
        Some(environment) => {
            let path = overlay_path(path, environment)?;
            Some((environment, path))
        }
    };
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let file = path.to_string_lossy();
    let base = ConfigText { text: &text, file: &file };
    let Some((environment, over)) = overlay else { return Ok(read(base, None)?) };
    let text = std::fs::read_to_string(&over).map_err(|source| LoadError::Overlay {
        environment: environment.to_owned(),
        path: over.clone(),
        hint: overlay::environment_hint(path, environment),
        source,
    })?;
    let file = over.to_string_lossy();
    let overlay = Overlay { environment, text: ConfigText { text: &text, file: &file } };
    Ok(read(base, Some(overlay))?)
}

fn sink_of(base: ConfigText<'_>, overlay: Option<Overlay<'_>>) -> Sink {
    let texts: Vec<(&str, &str)> =
        std::iter::once(base).chain(overlay.map(|over| over.text)).map(|text| (text.text, text.file)).collect();
    Sink::new(&texts)
}

/// The texts as one document, and the places of the configuration as it is without the overlay; nothing if a text is not
/// TOML, which is reported.
fn document<'a>(sink: &Sink, base: ConfigText<'a>, overlay: Option<Overlay<'a>>) -> Option<(DeTable<'a>, Vec<Kept>)> {
    let document = overlay::parse(sink, base.text, 0);
    let Some(over) = overlay else { return Some((document?, Vec::new())) };
    let over = overlay::parse(sink, over.text.text, 1);
    let (mut document, over) = (document?, over?);
    let kept = kept(&document);
    overlay::lay(over, &mut document);
    Some((document, kept))
}

fn read_document(mut root: Section<'_>, file: &str, kept: &[Kept], env: &dyn Env) -> Config {
    let monitors = named_tables(root.require("monitor", "a table [monitor.NAME]"));
    let notifiers = named_tables(root.take("notifier"));
    let triggers = named_tables(root.take("trigger"));
    let stores = named_tables(root.take("store"));
    let environment_value = root.take("environment");
    root.finish();
    check_case(&monitors);

    let environment = environment_value.as_ref().and_then(read_environment);
    let notifier_names: Vec<&str> = notifiers.iter().map(|(name, _)| *name).collect();
    let trigger_names: Vec<&str> = triggers.iter().map(|(name, _)| *name).collect();
    let known = Known { notifiers: &notifier_names, triggers: &trigger_names, environment: environment.as_ref() };
    let monitors: Vec<MonitorConfig> =
        monitors.iter().filter_map(|(name, value)| read_monitor(name, value, &known)).collect();
    let outputs: Vec<&Located<String>> = monitors.iter().map(|monitor| &monitor.output).collect();
    let writable = match (&environment, &environment_value) {
        (Some(environment), Some(value)) => Some(environment.writable(&outputs, kept, value)),
        _ => None,
    };
    let deliver = environment.as_ref().is_none_or(|environment| environment.deliver);
    let stores = read_stores(&stores, env);
    if let Some((_, value)) = notifiers.first().or(triggers.first()) {
        value.sink.spare_secrets(!deliver);
    }
    let notifiers: BTreeMap<_, _> = notifiers
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), read_notifier(name, value, env)?)))
        .collect();
    let triggers: BTreeMap<_, _> = triggers
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), read_trigger(name, value, env)?)))
        .collect();
    Config {
        file: file.to_owned(),
        monitors,
        // Whom nobody knows, nobody can call.
        notifiers: if deliver { notifiers } else { BTreeMap::new() },
        triggers: if deliver { triggers } else { BTreeMap::new() },
        stores,
        environment: None,
        deliver,
        writable,
    }
}

/// The tables `[monitor.NAME]`, `[notifier.NAME]`, `[trigger.NAME]` or `[store.NAME]`, by line.
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

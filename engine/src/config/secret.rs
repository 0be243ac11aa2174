//! Secrets: they come from the environment or from a file, never from the configuration itself, and never show.

use std::collections::BTreeMap;

pub use limno_sql::secret::Secret;

use super::problem::quoted;
use super::raw::{Value, last_part};

/// Where `{ env = "NAME" }` is looked up: the process environment, or a map in tests and embedded uses.
pub trait Env {
    /// The value of a variable, or nothing if it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Reads `{ env = "NAME" }` or `{ file = "path" }`. `owner` is the name of the notifier, trigger or store, for hints.
pub(super) fn read_secret(value: &Value<'_>, owner: &str, env: &dyn Env) -> Option<Secret> {
    read_reference(value, owner, env).map(Secret::new)
}

/// As [`read_secret`], of what may be shown.
pub(super) fn read_reference(value: &Value<'_>, owner: &str, env: &dyn Env) -> Option<String> {
    if value.as_str().is_some() {
        value.report("a secret is never written in the configuration itself", Some(reference_hint(value, owner)));
        return None;
    }
    if !value.is_table() {
        value.wrong_type("a reference to a secret", Some(reference_hint(value, owner)));
        return None;
    }
    let mut section = value.section()?;
    let variable = section.take("env");
    let file = section.take("file");
    section.finish();
    match (variable, file) {
        (Some(variable), None) => from_variable(&variable, env),
        (None, Some(file)) => from_file(&file),
        (Some(_), Some(_)) => {
            value.report("both `env` and `file` are given, expected one of them", None);
            None
        }
        (None, None) => {
            value.report("says neither `env` nor `file`", Some(reference_hint(value, owner)));
            None
        }
    }
}

fn from_variable(value: &Value<'_>, env: &dyn Env) -> Option<String> {
    let name = value.text()?.value;
    if !is_variable_name(&name) {
        // Not repeated in the message: it may be the secret, put in the wrong place.
        value.report(
            "is not the name of an environment variable",
            Some("name the variable that holds the secret: letters, digits and underscores".to_owned()),
        );
        return None;
    }
    match env.var(&name) {
        Some(secret) if !secret.trim().is_empty() => Some(secret),
        Some(_) => {
            value.report_absent(format!("environment variable {} is empty", quoted(&name)), None);
            None
        }
        None => {
            value.report_absent(
                format!("environment variable {} is not set", quoted(&name)),
                Some(format!("set {name} where limno runs, or use {{ file = \"…\" }}")),
            );
            None
        }
    }
}

fn from_file(value: &Value<'_>) -> Option<String> {
    let path = value.text()?.value;
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let secret = text.trim_end_matches(['\r', '\n']);
            if secret.trim().is_empty() {
                value.report_absent(format!("secret file {} is empty", quoted(&path)), None);
                return None;
            }
            Some(secret.to_owned())
        }
        Err(error) => {
            value.report_absent(format!("cannot read secret file {}: {error}", quoted(&path)), None);
            None
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn reference_hint(value: &Value<'_>, owner: &str) -> String {
    let key = last_part(&value.key);
    let variable: String = format!("{owner}_{}", key.trim_matches('"'))
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    format!("write {key} = {{ env = \"{variable}\" }} or {{ file = \"…\" }}")
}

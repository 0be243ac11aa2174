//! Overlays: `limno.NAME.toml`, laid over `limno.toml` where limno runs in the environment of that name.
//!
//! Tables are joined key by key; everything else, lists of rules included, is replaced. So is a reference to a secret,
//! which comes from one place. Values keep their places, so that every problem names the file and line that it is in.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::LoadError;
use super::problem::{name_hint, quoted};
use super::raw::Sink;

/// The text of a file and how messages call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigText<'a> {
    /// The text.
    pub text: &'a str,
    /// The file as the user named it.
    pub file: &'a str,
}

/// An overlay and the environment that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlay<'a> {
    /// The name of the environment.
    pub environment: &'a str,
    /// What is laid over the configuration.
    pub text: ConfigText<'a>,
}

/// Parses the `index`-th text of a document; nothing if it is not TOML, which is reported.
pub(super) fn parse<'a>(sink: &Sink, text: &'a str, index: usize) -> Option<DeTable<'a>> {
    let start = sink.start_of(index);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(shifted(document.into_inner(), start));
    }
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
        sink.report(sink.at(start + span.start), "", message, None);
    }
    None
}

/// The table as if its text began at this offset.
fn shifted(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = |span: std::ops::Range<usize>| span.start + by..span.end + by;
    table
        .into_iter()
        .map(|(key, value)| {
            let (at, value_at) = (moved(key.span()), moved(value.span()));
            (Spanned::new(at, key.into_inner()), Spanned::new(value_at, shifted_value(value.into_inner(), by)))
        })
        .collect()
}

fn shifted_value(value: DeValue<'_>, by: usize) -> DeValue<'_> {
    match value {
        DeValue::Table(table) => DeValue::Table(shifted(table, by)),
        DeValue::Array(items) => DeValue::Array(
            items
                .into_iter()
                .map(|item| {
                    let span = item.span();
                    Spanned::new(span.start + by..span.end + by, shifted_value(item.into_inner(), by))
                })
                .collect(),
        ),
        other => other,
    }
}

/// Lays one table over another.
pub(super) fn lay<'a>(over: DeTable<'a>, base: &mut DeTable<'a>) {
    for (key, value) in over {
        if let (Some(known), DeValue::Table(table)) = (base.get_mut(&key), value.get_ref())
            && let DeValue::Table(known) = known.get_mut()
            && !is_reference(table)
        {
            if let DeValue::Table(table) = value.into_inner() {
                lay(table, known);
            }
            continue;
        }
        // First away: a key that is there keeps the place of its first spelling.
        base.remove(&key);
        base.insert(key, value);
    }
}

/// Whether a table is `{ env = "…" }` or `{ file = "…" }`.
fn is_reference(table: &DeTable<'_>) -> bool {
    let names = |(key, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
        matches!(key.get_ref().as_ref(), "env" | "file") && value.get_ref().as_str().is_some()
    };
    !table.is_empty() && table.iter().all(names)
}

/// Where the overlay for an environment is: beside the configuration.
///
/// # Errors
/// [`LoadError::Environment`] when that is no name for one.
pub fn overlay_path(config: &Path, environment: &str) -> Result<PathBuf, LoadError> {
    let is_name =
        !environment.is_empty() && environment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !is_name {
        return Err(LoadError::Environment { name: environment.to_owned() });
    }
    Ok(config.with_file_name(format!("limno.{environment}.toml")))
}

/// Which environment may have been meant by one that has no overlay.
pub(super) fn environment_hint(config: &Path, environment: &str) -> Option<String> {
    let folder = config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut known: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("limno.")?.strip_suffix(".toml")?.to_owned()))
        .collect();
    known.sort();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    name_hint(environment, &known)
}

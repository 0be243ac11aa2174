//! How long states, rows and files are kept: what `limno vacuum` goes by.

use std::time::Duration;

use super::raw::Value;

/// Readers and refreshes that began before a file was replaced may still need it.
const SHORTEST_FILES: Duration = Duration::from_secs(3600);
/// As other programs that write Delta tables.
const DEFAULT_FILES: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long what is kept, counted back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The states of windows that began earlier are dropped. Their rows stay, and can no longer be made anew.
    pub states: Option<Duration>,
    /// The rows of windows that began earlier are dropped, and their states with them.
    pub rows: Option<Duration>,
    /// Files that were replaced longer ago are deleted.
    pub files: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { states: None, rows: None, files: DEFAULT_FILES }
    }
}

impl Retention {
    /// How long states are kept: no longer than the rows that are made from them.
    #[must_use]
    pub fn states(&self) -> Option<Duration> {
        self.states.into_iter().chain(self.rows).min()
    }
}

pub(super) fn read_retention(value: &Value<'_>) -> Option<Retention> {
    let mut section = value.section()?;
    let (states, rows, files) = (section.take("states"), section.take("rows"), section.take("files"));
    section.finish();
    let states_for = states.as_ref().and_then(Value::timeout);
    let rows_for = rows.as_ref().and_then(Value::timeout);
    let files_for = files.as_ref().and_then(Value::duration);
    if let (Some(value), Some(states), Some(rows)) = (&states, states_for, rows_for)
        && states > rows
    {
        value.report("states would be kept longer than the rows that are made from them", None);
    }
    if let (Some(value), Some(length)) = (&files, files_for)
        && length < SHORTEST_FILES
    {
        value.report("files that were just replaced may still be read", Some("write at least \"1h\"".to_owned()));
    }
    Some(Retention { states: states_for, rows: rows_for, files: files_for.unwrap_or(DEFAULT_FILES) })
}

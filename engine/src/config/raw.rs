//! Reads a TOML document whose every value knows its line and its full key, and collects what is wrong instead of stopping.
//!
//! serde stops at the first error and loses the lines of values that it accepted; a user wants all problems at once,
//! and a column that turns out to be missing later must still be reported at its line. So the readers of `config` walk
//! the parsed document through [`Section`] (a table) and [`Value`], which report to one [`Sink`]. A section remembers
//! which keys it was asked for: those are its valid keys, and the others are reported when it is finished.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::Located;
use super::problem::{Problem, Problems, name_hint, nearest, quoted};

/// Where something stands: in which file, and in which line of it, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    /// 0 for the configuration itself, 1 for the overlay.
    file: usize,
    pub(super) line: usize,
}

/// One file of a document.
struct File {
    name: Arc<str>,
    /// The offset of its first byte in the document: texts count on, one after the other.
    start: usize,
    /// The byte offset in its text at which each line starts.
    line_starts: Vec<usize>,
}

/// Where the readers of one document leave the problems that they find.
pub(super) struct Sink {
    files: Vec<File>,
    problems: RefCell<Vec<(At, Problem)>>,
    /// Whether it is a problem that a secret is not to be had.
    needs_secrets: Cell<bool>,
}

impl Sink {
    /// For a document of these texts, each with the name of its file.
    pub(super) fn new(texts: &[(&str, &str)]) -> Self {
        let mut start = 0;
        let mut files = Vec::new();
        for (text, name) in texts {
            let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
            let line_starts = std::iter::once(0).chain(after_breaks).collect();
            files.push(File { name: Arc::from(*name), start, line_starts });
            // One more, so that the end of a text is not the start of the next.
            start += text.len() + 1;
        }
        Self { files, problems: RefCell::default(), needs_secrets: Cell::new(true) }
    }

    /// The offset in the document of the first byte of a file.
    pub(super) fn start_of(&self, file: usize) -> usize {
        self.files.get(file).map_or(0, |file| file.start)
    }

    /// Where a byte of the document stands.
    pub(super) fn at(&self, offset: usize) -> At {
        let file = self.files.partition_point(|file| file.start <= offset).saturating_sub(1);
        let line = self
            .files
            .get(file)
            .map_or(1, |file| file.line_starts.partition_point(|&start| file.start + start <= offset));
        At { file, line }
    }

    /// The overlay's name, if that is where something stands.
    pub(super) fn overlay(&self, at: At) -> Option<Arc<str>> {
        let file = self.files.get(at.file).filter(|_| at.file > 0)?;
        Some(Arc::clone(&file.name))
    }

    pub(super) fn report(&self, at: At, key: &str, message: impl Into<String>, hint: Option<String>) {
        let problem = Problem {
            file: self.files.get(at.file).map(|file| file.name.to_string()).unwrap_or_default(),
            line: at.line,
            key: key.to_owned(),
            message: message.into(),
            hint,
        };
        self.problems.borrow_mut().push((at, problem));
    }

    /// Reports a value whose place is known by now as a [`Located`] only.
    pub(super) fn report_located<T>(&self, at: &Located<T>, message: impl Into<String>, hint: Option<String>) {
        self.report(At { file: usize::from(at.overlay.is_some()), line: at.line }, &at.key, message, hint);
    }

    /// From now on a secret that is not to be had is no problem: nobody will use it.
    pub(super) fn spare_secrets(&self, are_spared: bool) {
        self.needs_secrets.set(!are_spared);
    }

    /// The problems by file and line; those of one line stay in the order in which they were found.
    pub(super) fn into_result(self) -> Result<(), Problems> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|(at, _)| *at);
        Err(Problems(problems.into_iter().map(|(_, problem)| problem).collect()))
    }
}

/// One TOML table on its way into a validated type.
pub(super) struct Section<'a> {
    pub(super) sink: &'a Sink,
    /// The full dotted key of the table; empty for the document itself.
    pub(super) key: String,
    pub(super) at: At,
    entries: Vec<(&'a str, Value<'a>)>,
    asked: Vec<&'static str>,
    taken: Vec<&'static str>,
    missing: Vec<(&'static str, &'static str)>,
}

impl<'a> Section<'a> {
    pub(super) fn new(sink: &'a Sink, key: String, at: At, table: &'a DeTable<'a>) -> Self {
        let entries = table
            .iter()
            .map(|(name, value)| {
                let value = Value {
                    sink,
                    key: join(&key, name.get_ref()),
                    at: sink.at(name.span().start),
                    offset: name.span().start,
                    raw: value.get_ref(),
                };
                (name.get_ref().as_ref(), value)
            })
            .collect();
        Self { sink, key, at, entries, asked: Vec::new(), taken: Vec::new(), missing: Vec::new() }
    }

    /// The value of a key that may be there. From now on the key counts as valid in this table.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.asked.push(name);
        let value = self.entries.iter().find(|(key, _)| *key == name)?.1.clone();
        self.taken.push(name);
        Some(value)
    }

    /// The value of a key that must be there; `expected` says what it holds, for the message of [`Section::finish`].
    pub(super) fn require(&mut self, name: &'static str, expected: &'static str) -> Option<Value<'a>> {
        let value = self.take(name);
        if value.is_none() {
            self.missing.push((name, expected));
        }
        value
    }

    /// The names of the keys that stand in the table.
    pub(super) fn names(&self) -> Vec<&'a str> {
        self.entries.iter().map(|(name, _)| *name).collect()
    }

    /// The entries of a table whose keys the user chooses freely, in the order in which they are written.
    pub(super) fn into_entries(self) -> Vec<(&'a str, Value<'a>)> {
        let mut entries = self.entries;
        entries.sort_by_key(|(_, value)| value.offset);
        entries
    }

    /// Reports the table as a whole.
    pub(super) fn report(&self, message: impl Into<String>, hint: Option<String>) {
        self.sink.report(self.at, &self.key, message, hint);
    }

    /// Reports each key that nobody asked for, with the nearest one that is valid here, and each required key that is
    /// missing, unless it is the one that a misspelt key meant.
    pub(super) fn finish(self) {
        let mut meant = Vec::new();
        for (name, value) in &self.entries {
            if self.taken.contains(name) {
                continue;
            }
            // A key that is already there is hardly the one that was meant.
            let free = self.asked.iter().copied();
            let near = nearest(name, free.filter(|asked| !self.taken.contains(asked)));
            meant.extend(near);
            let hint =
                near.map(|near| format!("did you mean {}?", quoted(near))).or_else(|| name_hint(name, &self.asked));
            value.report(format!("unknown key {}", quoted(name)), hint);
        }
        for (name, expected) in &self.missing {
            if !meant.contains(name) {
                let key = join(&self.key, name);
                let message = format!("is missing, expected {expected}");
                self.sink.report(self.at, &key, message, None);
            }
        }
    }

    /// A value that nobody wrote, as if it stood under `name` in this table.
    pub(super) fn implied(&self, name: &str, value: &str) -> Located<String> {
        Located {
            value: value.to_owned(),
            line: self.at.line,
            key: join(&self.key, name),
            overlay: self.sink.overlay(self.at),
        }
    }

    /// Reports nothing but missing keys: for a table of which it is not known what may stand in it.
    pub(super) fn abandon(mut self) {
        self.entries.clear();
        self.finish();
    }
}

/// One TOML value with its line and its full key.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) sink: &'a Sink,
    pub(super) key: String,
    pub(super) at: At,
    /// The byte of the document at which it, or its key, starts: it tells apart what stands in one line.
    offset: usize,
    raw: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn report(&self, message: impl Into<String>, hint: Option<String>) {
        self.sink.report(self.at, &self.key, message, hint);
    }

    pub(super) fn located<T>(&self, value: T) -> Located<T> {
        Located { value, line: self.at.line, key: self.key.clone(), overlay: self.sink.overlay(self.at) }
    }

    /// Reports that a secret is not to be had, where that matters.
    pub(super) fn report_absent(&self, message: impl Into<String>, hint: Option<String>) {
        if self.sink.needs_secrets.get() {
            self.report(message, hint);
        }
    }

    /// Whether it stands in the overlay.
    pub(super) const fn is_of_overlay(&self) -> bool {
        self.at.file > 0
    }

    /// `line 3`, and of which file where there are two.
    pub(super) fn stands(&self) -> String {
        match self.sink.files.as_slice() {
            [] | [_] => format!("line {}", self.at.line),
            files => {
                let name = files.get(self.at.file).map(|file| file.name.as_ref()).unwrap_or_default();
                format!("line {} of {name}", self.at.line)
            }
        }
    }

    /// Reports that the value has another type than expected. The value itself is not shown: it may be a secret.
    pub(super) fn wrong_type(&self, expected: &str, hint: Option<String>) {
        self.report(format!("expected {expected}, found {}", self.kind()), hint);
    }

    pub(super) fn as_str(&self) -> Option<&'a str> {
        self.raw.as_str()
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.raw, DeValue::Table(_))
    }

    pub(super) fn is_array(&self) -> bool {
        matches!(self.raw, DeValue::Array(_))
    }

    pub(super) fn string(&self) -> Option<String> {
        let text = self.raw.as_str();
        if text.is_none() {
            self.wrong_type("a string", None);
        }
        text.map(str::to_owned)
    }

    /// A string with something in it.
    pub(super) fn text(&self) -> Option<Located<String>> {
        let text = self.string()?;
        if text.trim().is_empty() {
            self.report("is empty", None);
            return None;
        }
        Some(self.located(text))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let flag = self.raw.as_bool();
        if flag.is_none() {
            self.wrong_type("true or false", None);
        }
        flag
    }

    pub(super) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        let Some(digits) = self.raw.as_integer() else {
            self.wrong_type(&expected(), None);
            return None;
        };
        let value = i64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .and_then(|value| T::try_from(value).ok())
            .filter(|value| range.contains(value));
        if value.is_none() {
            self.report(format!("expected {}, found {digits}", expected()), None);
        }
        value
    }

    /// A finite number, written as an integer or as a float.
    pub(super) fn number(&self) -> Option<f64> {
        let value = match self.raw {
            DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str().parse().ok(),
            DeValue::Float(digits) => digits.as_str().parse::<f64>().ok(),
            _ => {
                self.wrong_type("a number", None);
                return None;
            }
        };
        let value = value.filter(|value: &f64| value.is_finite());
        if value.is_none() {
            self.report("expected a finite decimal number", None);
        }
        value
    }

    /// A length of time such as `"2h"` or `"1day 12h"`.
    pub(super) fn duration(&self) -> Option<Duration> {
        let example = || Some("write a duration such as \"30s\", \"15m\", \"2h\" or \"1day\"".to_owned());
        let Some(text) = self.raw.as_str() else {
            self.wrong_type("a duration", example());
            return None;
        };
        let duration = humantime::parse_duration(text).ok();
        if duration.is_none() {
            self.report(format!("{} is not a duration", quoted(text)), example());
        }
        duration
    }

    /// A size such as `"512 MiB"`, in bytes.
    pub(super) fn bytes(&self, least: u64) -> Option<u64> {
        let example = || Some("write a size such as \"512 MiB\" or \"4 GiB\"".to_owned());
        let Some(text) = self.raw.as_str() else {
            self.wrong_type("a size", example());
            return None;
        };
        let Ok(size) = text.parse::<bytesize::ByteSize>() else {
            self.report(format!("{} is not a size", quoted(text)), example());
            return None;
        };
        if size.as_u64() < least {
            self.report(format!("expected at least {}, found {}", bytesize::ByteSize(least), quoted(text)), None);
            return None;
        }
        Some(size.as_u64())
    }

    /// A length of time above zero.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let timeout = self.duration()?;
        if timeout.is_zero() {
            self.report("a timeout of zero would let nothing finish", None);
            return None;
        }
        Some(timeout)
    }

    pub(super) fn items(&self, expected: &str) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.raw else {
            let hint = self.raw.as_str().map(|text| format!("write {} = [{text:?}]", last_part(&self.key)));
            self.wrong_type(expected, hint);
            return None;
        };
        let items = array.iter().enumerate().map(|(index, item)| Self {
            sink: self.sink,
            key: format!("{}[{index}]", self.key),
            at: self.sink.at(item.span().start),
            offset: item.span().start,
            raw: item.get_ref(),
        });
        Some(items.collect())
    }

    /// An array of strings, each with something in it and none given twice.
    ///
    /// The array is `Some` even when some of its strings are at fault, so that its good ones can be looked at further.
    pub(super) fn texts(&self) -> Option<Vec<Located<String>>> {
        let mut texts: Vec<Located<String>> = Vec::new();
        for item in self.items("an array of strings")? {
            let Some(text) = item.text() else { continue };
            if let Some(first) = texts.iter().find(|known| known.value == text.value) {
                item.report(format!("{} is given twice, first as {}", quoted(&text.value), first.key), None);
            } else {
                texts.push(text);
            }
        }
        Some(texts)
    }

    /// As [`Value::texts`], with at least one string.
    pub(super) fn some_texts(&self, empty: &str) -> Option<Vec<Located<String>>> {
        if matches!(self.raw, DeValue::Array(array) if array.is_empty()) {
            self.report(empty, None);
            return None;
        }
        self.texts()
    }

    pub(super) fn section(&self) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.raw else {
            self.wrong_type("a table", None);
            return None;
        };
        Some(Section::new(self.sink, self.key.clone(), self.at, table))
    }

    /// The string under `name` in a table, whether or not the table is otherwise right.
    pub(super) fn declared_name(&self) -> Option<Located<String>> {
        let DeValue::Table(table) = self.raw else {
            return None;
        };
        let (key, value) = table.get_key_value("name")?;
        let at = self.sink.at(key.span().start);
        Some(Located {
            value: value.get_ref().as_str()?.to_owned(),
            line: at.line,
            key: join(&self.key, "name"),
            overlay: self.sink.overlay(at),
        })
    }

    fn kind(&self) -> &'static str {
        match self.raw {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }
}

/// One of several fixed words, with the nearest one as the hint where it is none of them.
pub(super) fn choice<T: Copy>(value: &Value<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let Some(text) = value.as_str() else {
        value.wrong_type("a string", Some(format!("valid names: {}", names.join(", "))));
        return None;
    };
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        value.report(format!("{} is none of {}", quoted(text), names.join(", ")), name_hint(text, &names));
    }
    found.map(|(_, meaning)| *meaning)
}

/// `parent.name`, with quotes around a name that TOML would want quoted.
pub(super) fn join(parent: &str, name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if is_bare { name.to_owned() } else { format!("{name:?}") };
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// The key without its parents.
pub(super) fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

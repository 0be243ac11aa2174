//! Columns: which are looked at, as what, and how finely their distributions are kept.

use std::ops::RangeInclusive;

use super::Located;
use super::glob::glob_matches;
use super::problem::{Problem, quoted};
use super::raw::{Section, Value, choice};

/// The buckets that a limit may allow.
const MAX_BUCKETS: RangeInclusive<u32> = 16..=1_048_576;

/// Which columns of a table are looked at and how, by names or patterns with `*`.
#[derive(Debug, Clone, Default)]
pub struct ColumnSelection {
    /// If given, the only ones.
    pub include: Option<Vec<Located<String>>>,
    /// Never these.
    pub exclude: Vec<Located<String>>,
    /// Numbers and booleans that are profiled as categories.
    pub categorical: Vec<Located<String>>,
    /// Kept without a limit, whatever the precision of the monitor.
    pub exact: Vec<Located<String>>,
    /// Kept within limits of their own, whatever the precision of the monitor.
    pub max_buckets: Vec<ColumnLimit>,
}

/// How many buckets the state of some columns may have.
#[derive(Debug, Clone)]
pub struct ColumnLimit {
    /// A name or a pattern.
    pub columns: Located<String>,
    /// 16 to 1,048,576.
    pub max_buckets: u32,
}

impl ColumnLimit {
    fn fits(&self, column: &str) -> bool {
        glob_matches(&self.columns.value, column)
    }
}

impl ColumnSelection {
    /// Whether the column is looked at.
    pub fn is_included(&self, column: &str) -> bool {
        let included = self.include.as_ref();
        included.is_none_or(|patterns| any_matches(patterns, column)) && !any_matches(&self.exclude, column)
    }

    /// Whether the column is declared to hold categories.
    pub fn is_categorical(&self, column: &str) -> bool {
        any_matches(&self.categorical, column)
    }

    /// How finely the distribution of the column is kept in a monitor of this precision. A limit under the column's
    /// full name wins over one under a pattern; whatever else would be in doubt is among the [`Self::contradictions`].
    pub fn precision(&self, column: &str, monitor: Precision) -> Precision {
        if any_matches(&self.exact, column) {
            return Precision::Exact;
        }
        let named = self.max_buckets.iter().find(|limit| limit.columns.value == column);
        let limit = named.or_else(|| self.max_buckets.iter().find(|limit| limit.fits(column)));
        limit.map_or(monitor, |limit| Precision::Bounded { max_buckets: limit.max_buckets })
    }

    /// What is said twice of one of `columns`, once for each pair of entries: a limit and none, or two limits under
    /// patterns. Limits that `exact` contradicts whatever the columns are have been refused when the file was read.
    pub fn contradictions(&self, columns: &[&str], file: &str) -> Vec<Problem> {
        let is_named = |column: &str| self.max_buckets.iter().any(|limit| limit.columns.value == column);
        let first_that = |fits: &dyn Fn(&str) -> bool| columns.iter().copied().find(|column| fits(column));
        let mut problems = Vec::new();
        for (index, limit) in self.max_buckets.iter().enumerate() {
            for exact in &self.exact {
                if let Some(column) = first_that(&|column| limit.fits(column) && glob_matches(&exact.value, column)) {
                    let (message, hint) = limited_and_exact(column, exact);
                    problems.push(limit.columns.problem(file, message, Some(hint)));
                }
            }
            for other in &self.max_buckets[..index] {
                let is_in_doubt = |column: &str| limit.fits(column) && other.fits(column) && !is_named(column);
                if let Some(column) = first_that(&is_in_doubt) {
                    let (key, stands) = (&other.columns.key, other.columns.stands());
                    let message = format!("a second limit of {} beside {key} in {stands}", quoted(column));
                    let hint = format!("add its full name, which wins over patterns: {column:?} = N");
                    problems.push(limit.columns.problem(file, message, Some(hint)));
                }
            }
        }
        problems
    }
}

/// What is wrong with a limit of `column`, which `exact` says has none, and the way out.
fn limited_and_exact(column: &str, exact: &Located<String>) -> (String, String) {
    let (value, key, stands) = (&exact.value, &exact.key, exact.stands());
    let message = format!("{} has no limit according to {} of {key} in {stands}", quoted(column), quoted(value));
    (message, "leave one of the two out".to_owned())
}

fn any_matches(patterns: &[Located<String>], column: &str) -> bool {
    patterns.iter().any(|pattern| glob_matches(&pattern.value, column))
}

/// How finely the distribution of a column is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// In at most this many buckets, 16 to 1,048,576.
    Bounded {
        /// The most buckets of one state.
        max_buckets: u32,
    },
    /// Every distinct value, whatever the memory.
    Exact,
}

impl Default for Precision {
    fn default() -> Self {
        Self::Bounded { max_buckets: 4096 }
    }
}

pub(super) fn read_columns(mut section: Section<'_>) -> ColumnSelection {
    let include =
        section.take("include").and_then(|value| value.some_texts("is empty, so no column would be looked at"));
    let exclude = section.take("exclude").and_then(|value| value.texts());
    let categorical = section.take("categorical").and_then(|value| value.texts());
    let exact = section.take("exact").and_then(|value| value.texts()).unwrap_or_default();
    let limits = section.take("max_buckets").map(|value| read_limits(&value, &exact));
    section.finish();
    ColumnSelection {
        include,
        exclude: exclude.unwrap_or_default(),
        categorical: categorical.unwrap_or_default(),
        exact,
        max_buckets: limits.unwrap_or_default(),
    }
}

fn read_limits(value: &Value<'_>, exact: &[Located<String>]) -> Vec<ColumnLimit> {
    if !value.is_table() {
        let hint = "write max_buckets = { \"COLUMN\" = 64 }, or without `columns` for all of them";
        value.wrong_type("a table", Some(hint.to_owned()));
        return Vec::new();
    }
    let entries = value.section().map(Section::into_entries).unwrap_or_default();
    let mut limits = Vec::new();
    for (name, value) in entries {
        if name.trim().is_empty() {
            value.report("names no column", None);
            continue;
        }
        for exact in exact {
            // A pattern that fits another pattern as a text fits whatever that one fits.
            let narrower = if glob_matches(name, &exact.value) {
                &exact.value
            } else if glob_matches(&exact.value, name) {
                name
            } else {
                continue;
            };
            let (message, hint) = limited_and_exact(narrower, exact);
            value.report(message, Some(hint));
        }
        let max_buckets = value.integer(MAX_BUCKETS);
        limits.extend(
            max_buckets.map(|max_buckets| ColumnLimit { columns: value.located(name.to_owned()), max_buckets }),
        );
    }
    limits
}

pub(super) fn read_precision(section: &mut Section<'_>) -> Precision {
    let is_exact = section.take("precision").and_then(|value| choice(&value, &[("bounded", false), ("exact", true)]));
    let value = section.take("max_buckets");
    if is_exact == Some(true) {
        if let Some(value) = value {
            value.report("has no meaning with precision = \"exact\"", None);
        }
        return Precision::Exact;
    }
    let max_buckets = value.and_then(|value| value.integer(MAX_BUCKETS));
    max_buckets.map_or_else(Precision::default, |max_buckets| Precision::Bounded { max_buckets })
}

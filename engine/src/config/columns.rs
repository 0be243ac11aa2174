//! Columns: which are looked at, as what, and how finely their distributions are kept.

use super::Located;
use super::glob::glob_matches;
use super::raw::{Section, choice};

/// Which columns of a table are looked at, by names or patterns with `*`.
#[derive(Debug, Clone, Default)]
pub struct ColumnSelection {
    /// If given, the only ones.
    pub include: Option<Vec<Located<String>>>,
    /// Never these.
    pub exclude: Vec<Located<String>>,
    /// Numbers and booleans that are profiled as categories.
    pub categorical: Vec<Located<String>>,
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
}

fn any_matches(patterns: &[Located<String>], column: &str) -> bool {
    patterns.iter().any(|pattern| glob_matches(&pattern.value, column))
}

/// How finely the distribution of a numeric column is kept.
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
    section.finish();
    ColumnSelection { include, exclude: exclude.unwrap_or_default(), categorical: categorical.unwrap_or_default() }
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
    let max_buckets = value.and_then(|value| value.integer(16..=1_048_576));
    max_buckets.map_or_else(Precision::default, |max_buckets| Precision::Bounded { max_buckets })
}

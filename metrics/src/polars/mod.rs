//! Polars data frames in, profiles and drifts as data frames out (feature `polars`).
//!
//! ```
//! use limno_metrics::polars::{FrameOptions, drift};
//! use polars::prelude::{IntoLazy, PolarsError, df};
//!
//! let january = df!("fare" => [1.0, 2.0, 3.0, 4.0], "city" => ["Oslo", "Rome", "Oslo", "Rome"])?;
//! let july = df!("fare" => [3.0, 4.0, 5.0, 6.0], "city" => ["Oslo", "Rome", "Oslo", "Nice"])?;
//! // Frames and queries in any mixture; of a query only those columns are computed that both sides have.
//! let moved = drift(&january, july.lazy(), &FrameOptions::default())?;
//! assert_eq!(moved.column("ks_test_statistic")?.f64()?.get(0), Some(0.5));
//! assert_eq!(moved.column("unseen_share")?.f64()?.get(1), Some(0.25));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The states are bit for bit those of the same values in Arrow arrays, so they can be merged with states of any
//! other origin. Doubles are read where they lie, chunk by chunk; other numbers are converted a block at a time;
//! strings are counted where they lie, categoricals by their keys.
//!
//! | Polars type | kind |
//! |---|---|
//! | integers, floats, decimals | numeric |
//! | strings, booleans, categoricals, enums | categorical |
//! | dates, datetimes of any unit and zone | temporal |
//! | all others: lists, binaries, times, durations, … | counts only, with a `reason` |
//!
//! The frames have the columns of the [metric tables](crate::schema) under their names and in their order, without
//! those of windows, slices and models. A structure is flattened: `ks_test.statistic` is `ks_test_statistic`, so that
//! `col("ks_test_statistic")` needs no detour. `quantiles` is a list; lists of structures (`frequent_items`,
//! `psi_bins`) are left out. `data_type` is Polars' name of the type.

mod rows;
mod series;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use polars::prelude::{Column, DataFrame, LazyFrame, PlSmallStr, PolarsError, SchemaRef, by_name};

use self::rows::{DriftRow, ProfileRow, drift_frame, profile_frame};
pub use self::series::state;
use crate::column::{ColumnKind, ColumnOptions};
use crate::drift::{self, ColumnDrift, DriftOptions};
use crate::profile::FrozenColumn;
use crate::{Error, Result};

impl From<PolarsError> for Error {
    fn from(error: PolarsError) -> Self {
        Self::invalid_argument(format!("polars: {error}"))
    }
}

/// What is kept of all columns, and how pairs of them are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameOptions {
    /// Buckets of a histogram, and categories counted one by one; `u32::MAX` for no limit.
    pub max_buckets: u32,
    /// Up to this many distinct values their number is exact.
    pub exact_distinct: u32,
    /// How a pair is compared.
    pub drift: DriftOptions,
}

impl Default for FrameOptions {
    /// The limits of [`ColumnOptions::new`].
    fn default() -> Self {
        let ColumnOptions { max_buckets, exact_distinct, .. } = ColumnOptions::new(ColumnKind::Opaque);
        Self { max_buckets, exact_distinct, drift: DriftOptions::default() }
    }
}

impl FrameOptions {
    /// No limit at all: every number is exact, for memory in proportion to the distinct values.
    #[must_use]
    pub fn exact() -> Self {
        Self { max_buckets: u32::MAX, exact_distinct: u32::MAX, ..Self::default() }
    }

    pub(crate) const fn column(&self, kind: ColumnKind) -> ColumnOptions {
        ColumnOptions { kind, max_buckets: self.max_buckets, exact_distinct: self.exact_distinct }
    }
}

/// What columns can be taken from: a data frame, or a query that gives one.
pub trait IntoFrame {
    /// Names and types of the columns, without their values.
    ///
    /// # Errors
    /// When the query is not valid.
    fn schema(&mut self) -> Result<SchemaRef>;

    /// The columns of these names. A query computes no others.
    ///
    /// # Errors
    /// When there is no such column, or the query fails.
    fn take(self, names: &[PlSmallStr]) -> Result<DataFrame>;
}

impl IntoFrame for &DataFrame {
    fn schema(&mut self) -> Result<SchemaRef> {
        Ok(Arc::clone(DataFrame::schema(self)))
    }

    fn take(self, names: &[PlSmallStr]) -> Result<DataFrame> {
        Ok(self.select(names.iter().cloned())?)
    }
}

impl IntoFrame for DataFrame {
    fn schema(&mut self) -> Result<SchemaRef> {
        IntoFrame::schema(&mut &*self)
    }

    fn take(self, names: &[PlSmallStr]) -> Result<DataFrame> {
        IntoFrame::take(&self, names)
    }
}

impl IntoFrame for LazyFrame {
    fn schema(&mut self) -> Result<SchemaRef> {
        Ok(self.collect_schema()?)
    }

    fn take(self, names: &[PlSmallStr]) -> Result<DataFrame> {
        if names.is_empty() {
            return Ok(DataFrame::empty());
        }
        // Not `col`: a name may look like a pattern.
        Ok(self.select([by_name(names.iter().cloned(), true, false).as_expr()]).collect()?)
    }
}

/// One row for each column of `frame`: the numbers of the profile metrics.
///
/// A column without statistics has a row with its `reason`, and costs no other column anything.
///
/// # Errors
/// When a query is not valid or fails.
pub fn profile(mut frame: impl IntoFrame, options: &FrameOptions) -> Result<DataFrame> {
    let names: Vec<PlSmallStr> = frame.schema()?.iter_names_cloned().collect();
    let frame = frame.take(&names)?;
    let rows: Vec<ProfileRow> = frame
        .columns()
        .iter()
        .map(|column| ProfileRow {
            column: column.name().clone(),
            data_type: column.dtype().to_string(),
            profile: frozen(column, options).map(|column| column.profile()),
        })
        .collect();
    profile_frame(&rows)
}

/// One row for each column of either frame, in the order of `current`, then what only `baseline` has: the distances
/// of `current` from `baseline`.
///
/// Columns that cannot be compared (the other frame lacks it, has one of another kind, the type has no statistics)
/// have a row with their `reason`, and cost no other column anything.
///
/// # Errors
/// When a query is not valid or fails.
pub fn drift(mut baseline: impl IntoFrame, mut current: impl IntoFrame, options: &FrameOptions) -> Result<DataFrame> {
    let (old, new) = (baseline.schema()?, current.schema()?);
    let shared: Vec<PlSmallStr> = new.iter_names().filter(|name| old.contains(name)).cloned().collect();
    let (baseline, current) = (baseline.take(&shared)?, current.take(&shared)?);
    let mut rows = Vec::with_capacity(new.len());
    for (name, data_type) in new.iter() {
        rows.push(if old.contains(name) {
            compare(baseline.column(name)?, current.column(name)?, options)
        } else {
            absent(name, data_type.to_string(), "the baseline has no such column")
        });
    }
    for (name, data_type) in old.iter().filter(|(name, _)| !new.contains(name)) {
        rows.push(absent(name, data_type.to_string(), "the current frame has no such column"));
    }
    drift_frame(&rows)
}

fn compare(baseline: &Column, current: &Column, options: &FrameOptions) -> DriftRow {
    let mut row = DriftRow {
        column: current.name().clone(),
        data_type: current.dtype().to_string(),
        kind: None,
        baseline: None,
        current: None,
        drift: ColumnDrift::default(),
    };
    let compared = frozen(baseline, options).and_then(|baseline| {
        let current = frozen(current, options)?;
        row.kind = Some(current.state().kind());
        (row.baseline, row.current) = (Some(baseline.profile()), Some(current.profile()));
        drift::compare(&baseline, &current, &options.drift)
    });
    row.drift = compared.unwrap_or_else(|error| because(error.to_string()));
    row
}

fn absent(name: &PlSmallStr, data_type: String, reason: &str) -> DriftRow {
    let drift = because(reason.to_owned());
    DriftRow { column: name.clone(), data_type, kind: None, baseline: None, current: None, drift }
}

fn because(reason: String) -> ColumnDrift {
    ColumnDrift { reason: Some(reason), ..ColumnDrift::default() }
}

fn frozen(column: &Column, options: &FrameOptions) -> Result<FrozenColumn> {
    Ok(state(column.as_materialized_series(), options)?.freeze())
}

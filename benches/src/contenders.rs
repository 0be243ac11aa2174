//! What `kernels` measures over one Arrow column: ours, and plain loops and kernels to compare with.
//!
//! The calls into `limno-metrics` stand here and in [`crate::summaries`], and nowhere else.

use arrow::array::{Array, Float64Array};
use arrow::buffer::NullBuffer;
use limno_metrics::Result;
use limno_metrics::column::{ColumnGroups, ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::state::codec::Writer;
use limno_metrics::state::{Counts, ExactSums, MergeableState};

/// Buckets at most, as columns have them by default.
pub const MAX_BUCKETS: u32 = 4096;
/// Rows of a batch, as a query engine hands them over.
pub const BATCH: usize = 8192;

/// The column in batches.
#[must_use]
pub fn batches(column: &Float64Array) -> Vec<Float64Array> {
    (0..column.len()).step_by(BATCH).map(|from| column.slice(from, BATCH.min(column.len() - from))).collect()
}

/// Arrow's least and greatest value.
#[must_use]
pub fn arrow_extrema(column: &Float64Array) -> (Option<f64>, Option<f64>) {
    (arrow::compute::min(column), arrow::compute::max(column))
}

/// The sum by a loop.
#[must_use]
pub fn naive_sum(column: &Float64Array) -> f64 {
    let mut sum = 0.0;
    each(column, |value| sum += value);
    sum
}

/// What a loop without care for rounding keeps: rows, zeros, NaN, extrema, Σx and Σx².
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Naive {
    counts: [u64; 3],
    extrema: [f64; 2],
    sums: [f64; 2],
}

/// All of [`Naive`] in one loop.
#[must_use]
pub fn naive_numbers(column: &Float64Array) -> Naive {
    let (mut zeros, mut nan) = (0u64, 0u64);
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut sum, mut squares) = (0.0, 0.0);
    each(column, |value| {
        if value.is_nan() {
            nan += 1;
            return;
        }
        zeros += u64::from(value == 0.0);
        if value < least {
            least = value;
        }
        if value > greatest {
            greatest = value;
        }
        sum += value;
        squares += value * value;
    });
    Naive { counts: [column.len() as u64, zeros, nan], extrema: [least, greatest], sums: [sum, squares] }
}

/// Calls `visit` for every value that is not null, as one would write it.
#[inline(always)]
fn each(column: &Float64Array, mut visit: impl FnMut(f64)) {
    match column.nulls() {
        None => column.values().iter().for_each(|&value| visit(value)),
        Some(nulls) => {
            for (row, &value) in column.values().iter().enumerate() {
                if nulls.is_valid(row) {
                    visit(value);
                }
            }
        }
    }
}

/// Sorts the values.
pub fn sort(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Our exact sums of values of which none is null.
#[must_use]
pub fn exact_sums(values: &[f64]) -> ExactSums {
    let mut sums = ExactSums::default();
    sums.observe_slice(values);
    sums
}

/// Our full numeric state with its counts: extrema, exact sums, histogram.
#[derive(Debug, Clone)]
pub struct Numbers {
    counts: Counts,
    numbers: limno_metrics::state::Numbers,
}

impl Numbers {
    /// Nothing seen yet.
    #[must_use]
    pub fn empty(max_buckets: u32) -> Self {
        Self { counts: Counts::default(), numbers: limno_metrics::state::Numbers::empty(max_buckets) }
    }

    /// Adds values; those that are not valid are null.
    pub fn observe(&mut self, values: &[f64], validity: Option<&NullBuffer>) {
        self.numbers.observe(values, validity, &mut self.counts);
    }

    /// Merges.
    ///
    /// # Errors
    /// As [`MergeableState::merge`].
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.counts.merge(&other.counts)?;
        self.numbers.merge(&other.numbers)
    }

    /// The encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.counts.encode(&mut out);
        self.numbers.encode(&mut out);
        out.finish()
    }

    /// Bytes held on the heap, about.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.numbers.heap_size()
    }
}

/// An empty numeric state, with the limits of a monitor.
#[must_use]
pub fn empty_numbers() -> Numbers {
    Numbers::empty(MAX_BUCKETS)
}

/// An empty state of a numeric column, with the limits of a monitor.
#[must_use]
pub fn empty_column() -> ColumnState {
    ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric))
}

/// Our full numeric state of some batches.
#[must_use]
pub fn numbers_of(batches: &[Float64Array]) -> Numbers {
    let mut numbers = empty_numbers();
    for batch in batches {
        numbers.observe(batch.values(), batch.nulls());
    }
    numbers
}

/// Our state of a column in some batches, with its number of distinct values.
///
/// # Errors
/// As [`ColumnState::observe`].
pub fn column_state(batches: &[Float64Array]) -> Result<ColumnState> {
    let mut state = empty_column();
    batches.iter().try_for_each(|batch| state.observe(batch))?;
    Ok(state)
}

/// The states of so many groups, to which the rows of every batch belong in turn.
///
/// # Errors
/// As [`ColumnGroups::observe`].
pub fn column_groups(batches: &[Float64Array], groups: usize) -> Result<ColumnGroups> {
    let mut states = ColumnGroups::new(ColumnOptions::new(ColumnKind::Numeric));
    states.resize(groups);
    for batch in batches {
        let of_rows: Vec<usize> = (0..batch.len()).map(|row| row % groups).collect();
        states.observe(batch, &of_rows)?;
    }
    Ok(states)
}

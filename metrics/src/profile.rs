//! The numbers that one column state answers.

mod aggregate;
mod skewness;

use std::sync::OnceLock;

pub use self::aggregate::Aggregate;
use self::skewness::{Known, skewness};
use crate::Certified;
use crate::column::{ColumnKind, ColumnState, NumericColumn, Values};
use crate::state::{Buckets, ExactSums, Lengths};

/// Points of the quantile vector: i/1000 for i in 0..=1000, so the median has index 500.
pub const QUANTILES: u32 = 1001;
/// Most frequent items listed.
pub const FREQUENT_ITEMS: usize = 100;
/// Temporal states count microseconds; metric tables show seconds.
const MICROS: f64 = 1e6;

/// A finished state: what profiles and comparisons are read from. Sorting is done once.
#[derive(Debug)]
pub struct FrozenColumn {
    state: ColumnState,
    sums: OnceLock<ExactSums>,
    summary: OnceLock<ColumnProfile>,
}

/// The numbers of one column over one set of rows; `None` where a number does not apply or cannot be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnProfile {
    /// Rows, nulls included.
    pub count: u64,
    /// Rows whose value is null.
    pub num_nulls: u64,
    /// Mean, rounded once.
    pub avg: Option<f64>,
    /// Quantiles at i/1000 (lower empirical quantiles).
    pub quantiles: Option<Vec<f64>>,
    /// Least value; seconds since the epoch for times.
    pub min: Option<f64>,
    /// Greatest value; seconds since the epoch for times.
    pub max: Option<f64>,
    /// Sample standard deviation, rounded once.
    pub stddev: Option<f64>,
    /// Values equal to zero.
    pub num_zeros: Option<u64>,
    /// NaN values.
    pub num_nan: Option<u64>,
    /// Values +∞ or −∞.
    pub num_infinite: Option<u64>,
    /// Least length: of strings in characters, of bytes in bytes, of lists in elements, of maps in entries.
    pub min_length: Option<f64>,
    /// Greatest length, in the same unit.
    pub max_length: Option<f64>,
    /// Mean length, in the same unit.
    pub avg_length: Option<f64>,
    /// Most frequent items with their counts.
    pub frequent_items: Option<Vec<(String, u64)>>,
    /// Number of distinct values.
    pub distinct_count: Option<u64>,
    /// Whether `distinct_count` is exact (else an estimate with a standard error of 1.6 %).
    pub distinct_is_exact: Option<bool>,
    /// Level of the histogram: 0 means that quantiles are exact.
    pub level: Option<u8>,
    /// Certified relative error of the quantiles: see [`quantile_error`].
    pub quantile_error: Option<f64>,
    /// Skewness of the population, with its bounds.
    pub skewness: Option<Certified>,
    /// Why numbers are missing that this kind of column usually has.
    pub reason: Option<String>,
}

impl ColumnProfile {
    /// The median.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.quantiles.as_ref()?.get(QUANTILES as usize / 2).copied()
    }

    /// Nulls in percent of rows (0–100).
    #[must_use]
    pub fn percent_null(&self) -> Option<f64> {
        self.percent(Some(self.num_nulls))
    }

    /// NaN values in percent of rows.
    #[must_use]
    pub fn percent_nan(&self) -> Option<f64> {
        self.percent(self.num_nan)
    }

    /// Zeros in percent of rows.
    #[must_use]
    pub fn percent_zeros(&self) -> Option<f64> {
        self.percent(self.num_zeros)
    }

    /// Distinct values in percent of rows.
    #[must_use]
    pub fn percent_distinct(&self) -> Option<f64> {
        self.percent(self.distinct_count)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 rows are not met")]
    fn percent(&self, part: Option<u64>) -> Option<f64> {
        (self.count > 0).then_some(())?;
        Some(part? as f64 / self.count as f64 * 100.0)
    }
}

/// The relative error of quantiles at a level: each lies within so many parts of the true one, or of the least normal
/// double where that is less.
///
/// Both lie in one bucket. Up to level 52 its 2^level keys are of one power of two, hence at most 2^(level − 52) apart
/// in parts of either; above it the bucket spans 2^(level − 52) powers of two. At level 0 there is no error.
///
/// ```
/// use limno_metrics::profile::quantile_error;
///
/// assert_eq!(quantile_error(0), 0.0);
/// assert_eq!(quantile_error(42), 1.0 / 1024.0);
/// ```
#[must_use]
pub fn quantile_error(level: u8) -> f64 {
    match level {
        0 => 0.0,
        1..=52 => 2f64.powi(i32::from(level) - 52),
        _ => 2f64.powf(2f64.powi(i32::from(level) - 52)) - 1.0,
    }
}

impl ColumnState {
    /// The finished form, from which profiles and drifts are read.
    #[must_use]
    pub fn freeze(mut self) -> FrozenColumn {
        if let Values::Numeric(column) | Values::Temporal(column) = &mut self.values {
            column.sort();
        }
        FrozenColumn { state: self, sums: OnceLock::new(), summary: OnceLock::new() }
    }
}

impl FrozenColumn {
    /// The state.
    #[must_use]
    pub const fn state(&self) -> &ColumnState {
        &self.state
    }

    /// The histogram's buckets in order; `None` for columns without one.
    #[must_use]
    pub fn buckets(&self) -> Option<&Buckets> {
        match &self.state.values {
            Values::Numeric(column) | Values::Temporal(column) => column.histogram().sorted(),
            Values::Category(_) | Values::Opaque | Values::Length(_) => None,
        }
    }

    /// The sums of the column, which an exact histogram has to be asked for.
    fn sums(&self, column: &NumericColumn) -> &ExactSums {
        self.sums.get_or_init(|| column.sums())
    }

    /// The mean, rounded once; `None` where it has none.
    pub(crate) fn mean(&self) -> Option<f64> {
        match &self.state.values {
            Values::Numeric(column) if self.state.counts().infinities == 0 => self.sums(column).mean(),
            _ => None,
        }
    }

    /// The least and the greatest value; `None` where there are none.
    pub(crate) fn extrema(&self) -> Option<(f64, f64)> {
        match &self.state.values {
            Values::Numeric(column) => column.histogram().min().zip(column.histogram().max()),
            _ => None,
        }
    }

    /// The skewness, of finite values with a standard deviation.
    fn skewness(&self, deviation: Option<f64>) -> Option<Certified> {
        let (least, greatest) = self.extrema()?;
        skewness(self.buckets()?, Known { mean: self.mean()?, deviation: deviation?, least, greatest })
    }

    /// The numbers of the column.
    #[must_use]
    pub fn profile(&self) -> ColumnProfile {
        let mut profile = self.summary().clone();
        match &self.state.values {
            Values::Numeric(_) => profile.quantiles = self.quantiles(1.0),
            Values::Temporal(_) => profile.quantiles = self.quantiles(MICROS),
            Values::Category(column) => {
                let items = column.categories.frequent_items(FREQUENT_ITEMS);
                if items.is_empty() && column.categories.total() > 0 {
                    let distinct = column.categories.distinct().0;
                    profile.reason =
                        Some(format!("{distinct} categories, none of which is provably among the most frequent"));
                } else {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    profile.frequent_items =
                        Some(items.into_iter().map(|item| (text(item.value), item.count)).collect());
                }
            }
            Values::Length(_) | Values::Opaque => {}
        }
        profile
    }

    /// The numbers of the column but its quantiles and frequent items, computed once: what comparisons show of both sides.
    #[must_use]
    pub fn summary(&self) -> &ColumnProfile {
        self.summary.get_or_init(|| self.summarize())
    }

    fn summarize(&self) -> ColumnProfile {
        let counts = self.state.counts();
        let mut profile = ColumnProfile { count: counts.rows, num_nulls: counts.nulls, ..ColumnProfile::default() };
        match &self.state.values {
            Values::Numeric(column) => {
                profile.num_zeros = Some(counts.zeros);
                profile.num_nan = Some(counts.nan);
                profile.num_infinite = Some(counts.infinities);
                profile.min = column.histogram().min();
                profile.max = column.histogram().max();
                self.describe_order(&mut profile, column.distinct());
                if counts.infinities == 0 {
                    let sums = self.sums(column);
                    profile.avg = sums.mean();
                    profile.stddev = sums.standard_deviation();
                    profile.skewness = self.skewness(profile.stddev);
                    if profile.stddev.is_some_and(f64::is_infinite) {
                        profile.stddev = None;
                        profile.reason = Some("the standard deviation is beyond the greatest double".to_owned());
                    }
                } else {
                    profile.reason = Some(format!(
                        "{} infinite values: no mean, standard deviation or Wasserstein distance",
                        counts.infinities
                    ));
                }
            }
            Values::Temporal(column) => {
                profile.min = column.histogram().min().map(|micros| micros / MICROS);
                profile.max = column.histogram().max().map(|micros| micros / MICROS);
                self.describe_order(&mut profile, column.distinct());
            }
            Values::Category(column) => {
                describe_lengths(&mut profile, column.categories.lengths());
                let (distinct, exact) = column.categories.distinct();
                profile.distinct_count = Some(distinct);
                profile.distinct_is_exact = Some(exact);
            }
            Values::Length(lengths) => describe_lengths(&mut profile, lengths),
            Values::Opaque => profile.reason = Some("this type has no statistics beyond counts".to_owned()),
        }
        if counts.rows > 0 && counts.nulls == counts.rows {
            profile.reason = Some("all values are null".to_owned());
        } else if self.state.kind() == ColumnKind::Numeric && counts.rows > 0 && counts.values() == 0 {
            profile.reason = Some("no value is a number: all are null or NaN".to_owned());
        }
        profile
    }

    fn quantiles(&self, scale: f64) -> Option<Vec<f64>> {
        let quantiles = self.buckets()?.quantiles(QUANTILES)?;
        Some(quantiles.into_iter().map(|value| value / scale).collect())
    }

    fn describe_order(&self, profile: &mut ColumnProfile, distinct: (u64, bool)) {
        profile.distinct_count = Some(distinct.0);
        profile.distinct_is_exact = Some(distinct.1);
        if let Some(buckets) = self.buckets() {
            profile.level = Some(buckets.level());
            // A bucket of several powers of two may hold infinities beside numbers.
            let is_endless = buckets.level() > 52 && self.state.counts().infinities > 0;
            profile.quantile_error = (!is_endless).then(|| quantile_error(buckets.level()));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths are small")]
fn describe_lengths(profile: &mut ColumnProfile, lengths: &Lengths) {
    profile.min_length = lengths.min().map(|length| length as f64);
    profile.max_length = lengths.max().map(|length| length as f64);
    profile.avg_length = lengths.mean();
}

//! The answers of SQL's aggregate functions that follow from one column state.

use super::FrozenColumn;
use crate::column::Values;
use crate::state::Buckets;

/// What is asked of a column. Nulls are left out of all but the rows. NaN is a value where values are counted, as in SQL,
/// and left out of the rest, as it is out of the profile's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// Rows, nulls included.
    Rows,
    /// Values that are not null, NaN included.
    Count,
    /// The sum, rounded once; none of infinite values.
    Sum,
    /// What that rounding took away, rounded once.
    SumRest,
    /// The mean, rounded once; none of infinite values.
    Mean,
    /// The least value; of times in microseconds.
    Min,
    /// The greatest value; of times in microseconds.
    Max,
    /// The variance, rounded once.
    Variance {
        /// Whether the denominator is n and not n − 1.
        of_population: bool,
    },
    /// The number of distinct values.
    Distinct,
    /// The quantile at a share between 0 and 1, between two neighbours in proportion, as SQL's `percentile_cont`. Of a
    /// state with a limit within the error of its quantiles.
    Quantile(f64),
}

impl FrozenColumn {
    /// The answer; `None` where there is none, as of a sum of no values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 rows are not met")]
    pub fn aggregate(&self, asked: Aggregate) -> Option<f64> {
        let counts = self.state.counts();
        let numbers = match &self.state.values {
            Values::Numeric(column) | Values::Temporal(column) => Some(column),
            Values::Category(_) | Values::Length(_) | Values::Opaque => None,
        };
        let finite = || numbers.filter(|_| counts.infinities == 0).map(|column| self.sums(column));
        match asked {
            Aggregate::Rows => Some(counts.rows as f64),
            Aggregate::Count => Some((counts.rows - counts.nulls) as f64),
            Aggregate::Sum => finite()?.total(),
            Aggregate::SumRest => finite()?.total_rest(),
            Aggregate::Mean => finite()?.mean(),
            Aggregate::Variance { of_population: true } => finite()?.population_variance(),
            Aggregate::Variance { of_population: false } => finite()?.variance(),
            Aggregate::Min => numbers?.histogram().min(),
            Aggregate::Max => numbers?.histogram().max(),
            Aggregate::Distinct => Some(match &self.state.values {
                Values::Category(column) => column.categories.distinct().0 as f64,
                _ => numbers?.distinct().0 as f64,
            }),
            Aggregate::Quantile(share) => quantile(self.buckets()?, share),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks are below 2^53, and not negative"
)]
fn quantile(buckets: &Buckets, share: f64) -> Option<f64> {
    let last = buckets.total().checked_sub(1)?;
    let rank = share.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (rank.floor(), rank - rank.floor());
    let (low, high) = (at_rank(buckets, below as u64)?, at_rank(buckets, (below as u64 + 1).min(last))?);
    Some(if part > 0.0 { low + (high - low) * part } else { low })
}

/// The value of a rank from 0 on: that of its bucket.
fn at_rank(buckets: &Buckets, rank: u64) -> Option<f64> {
    let mut seen = 0;
    buckets.as_slice().iter().find_map(|bucket| {
        seen += bucket.count;
        (rank < seen).then(|| bucket.least())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ColumnState;

    fn of(values: &[f64], asked: Aggregate) -> Option<f64> {
        ColumnState::of_numbers(values).freeze().aggregate(asked)
    }

    #[test]
    fn answers_are_those_of_sql() {
        let values = [1.0, 2.0, 4.0, 8.0, f64::NAN];
        assert_eq!(of(&values, Aggregate::Sum), Some(15.0));
        assert_eq!(of(&values, Aggregate::SumRest), Some(0.0));
        assert_eq!(of(&[1e16, 1.0, 0.5], Aggregate::SumRest), Some(-0.5));
        assert_eq!(of(&values, Aggregate::Count), Some(5.0));
        assert_eq!(of(&values, Aggregate::Mean), Some(3.75));
        assert_eq!(of(&values, Aggregate::Min), Some(1.0));
        assert_eq!(of(&values, Aggregate::Quantile(0.5)), Some(3.0));
        assert_eq!(of(&values, Aggregate::Quantile(0.25)), Some(1.75));
        assert_eq!(of(&values, Aggregate::Quantile(1.0)), Some(8.0));
        assert_eq!(of(&values, Aggregate::Variance { of_population: true }), Some(7.1875));
        assert_eq!(of(&[3.0], Aggregate::Variance { of_population: true }), Some(0.0));
        assert_eq!(of(&[3.0], Aggregate::Variance { of_population: false }), None);
        assert_eq!(of(&[3.0, 3.0], Aggregate::Distinct), Some(1.0));
        assert_eq!(of(&[], Aggregate::Sum), None);
        assert_eq!(of(&[f64::INFINITY], Aggregate::Sum), None);
        assert_eq!(of(&[f64::INFINITY], Aggregate::SumRest), None);
        assert_eq!(of(&[1e308, 1e308, -1e308], Aggregate::Sum), Some(1e308));
    }
}

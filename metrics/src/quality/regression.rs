//! Predictions and labels that are numbers.
//!
//! With e = prediction − label over the n rows that have both, each e rounded once and all sums exact:
//!
//! | number | definition |
//! |---|---|
//! | `mse`, `rmse` | Σe²/n and its root, each rounded once |
//! | `mae` | Σ\|e\|/n |
//! | `mape` | Σ \|e\|/max(\|label\|, ε) / n, with ε = 2⁻⁵² |
//! | `r2` | 1 − Σe² / Σ(label − mean label)², formed exactly and rounded once; not of constant labels |
//! | `median_absolute_error` | the median of \|e\|, the mean of the two in the middle of an even number, from a histogram |
//! | `mean_error` | Σe/n |
//!
//! Source: `sklearn.metrics`, whose r² of constant labels is 1 or 0 by convention; here it is not told.
//!
//! Numbers beyond 2⁵³ are read as the nearest double. A row whose error is no finite double (an infinite value, or a
//! difference beyond the greatest double) makes all these numbers unknown, and the reason says how many there are.

use num_bigint::BigInt;

use super::answers::Quality;
use crate::rounding::ratio;
use crate::state::codec::{Reader, Writer};
use crate::state::{Buckets, ExactSums, Histogram, MergeableState};
use crate::{Certified, Error, Result};

/// Buckets of the histogram of absolute errors.
const BUCKETS: u32 = 4096;

/// The state of errors.
#[derive(Debug, Clone)]
pub(super) struct RegressionState {
    /// Evaluated rows whose error is no finite double; they are in nothing else.
    infinite: u64,
    /// Rows whose percentage error is beyond the greatest double; they are in all sums but its own.
    infinite_share: u64,
    errors: ExactSums,
    magnitudes: ExactSums,
    shares: ExactSums,
    labels: ExactSums,
    absolute: Histogram,
}

impl RegressionState {
    /// Nothing seen yet.
    pub(super) fn empty() -> Self {
        Self {
            infinite: 0,
            infinite_share: 0,
            errors: ExactSums::default(),
            magnitudes: ExactSums::default(),
            shares: ExactSums::default(),
            labels: ExactSums::default(),
            absolute: Histogram::empty(BUCKETS),
        }
    }

    /// Adds rows that have a prediction and a label; neither is NaN.
    pub(super) fn observe(&mut self, predictions: &[f64], labels: &[f64]) {
        let mut errors = Vec::with_capacity(labels.len());
        let mut known = Vec::with_capacity(labels.len());
        let mut shares = Vec::with_capacity(labels.len());
        for (&prediction, &label) in predictions.iter().zip(labels) {
            let error = prediction - label;
            if !error.is_finite() {
                self.infinite += 1;
                continue;
            }
            errors.push(error);
            known.push(label);
            let share = error.abs() / label.abs().max(f64::EPSILON);
            if share.is_finite() {
                shares.push(share);
            } else {
                self.infinite_share += 1;
            }
        }
        self.errors.observe_slice(&errors);
        self.labels.observe_slice(&known);
        self.shares.observe_slice(&shares);
        errors.iter_mut().for_each(|error| *error = error.abs());
        self.magnitudes.observe_slice(&errors);
        self.absolute.observe_slice(&errors);
    }

    /// Fills in the numbers.
    pub(super) fn answer(&self, quality: &mut Quality) {
        if self.infinite > 0 {
            quality.note(&format!("{} rows whose error is infinite: no numbers of errors", self.infinite));
            return;
        }
        let mut beyond = Vec::new();
        let mut finite = |name, number: Option<f64>| {
            let is_beyond = number.is_some_and(f64::is_infinite);
            beyond.extend(is_beyond.then_some(name));
            number.filter(|_| !is_beyond)
        };
        quality.mse = finite("mean squared error", self.errors.mean_square());
        quality.rmse = finite("root mean squared error", self.errors.root_mean_square());
        quality.mae = finite("mean absolute error", self.magnitudes.mean());
        quality.mean_error = finite("mean error", self.errors.mean());
        let shares = if self.infinite_share == 0 { self.shares.mean() } else { Some(f64::INFINITY) };
        quality.mape = finite("mean absolute percentage error", shares);
        match self.r2() {
            Some(r2) => quality.r2 = finite("r²", Some(r2)),
            None if self.errors.count() > 0 => quality.note("all labels are the same: no r²"),
            None => {}
        }
        if let Some(median) = median(&self.absolute.buckets()) {
            quality.median_absolute_error = Some(median.value);
            quality.median_absolute_error_error = Some(median.error());
        }
        if !beyond.is_empty() {
            quality.note(&format!("beyond the greatest double: {}", beyond.join(", ")));
        }
    }

    /// 1 − nΣe² / (nΣy² − (Σy)²); `None` if the labels do not differ.
    fn r2(&self) -> Option<f64> {
        let (sum, squares) = self.labels.exact();
        let spread = squares * self.labels.count() - &sum * &sum;
        let residual: BigInt = self.errors.exact().1 * self.errors.count();
        let denominator = spread.to_biguint().filter(|spread| spread.bits() > 0)?;
        Some(ratio(&(spread - residual), &denominator, 0))
    }

    /// Adds the rows of another state; both together are counted in 64 bits.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        self.infinite += other.infinite;
        self.infinite_share += other.infinite_share;
        self.errors.merge(&other.errors)?;
        self.magnitudes.merge(&other.magnitudes)?;
        self.shares.merge(&other.shares)?;
        self.labels.merge(&other.labels)?;
        self.absolute.merge(&other.absolute)
    }

    /// Infinite errors, infinite percentage errors; the sums of errors, their magnitudes, percentage errors and labels;
    /// the histogram of magnitudes.
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(self.infinite);
        out.varint(self.infinite_share);
        for sums in [&self.errors, &self.magnitudes, &self.shares, &self.labels] {
            sums.encode(out);
        }
        self.absolute.encode(out);
    }

    /// Reads the state of so many evaluated rows.
    pub(super) fn decode(input: &mut Reader<'_>, evaluated: u64) -> Result<Self> {
        let (infinite, infinite_share) = (input.varint()?, input.varint()?);
        let mut sums = || ExactSums::decode(input);
        let (errors, magnitudes, shares, labels) = (sums()?, sums()?, sums()?, sums()?);
        let absolute = Histogram::decode(input)?;
        let state = Self { infinite, infinite_share, errors, magnitudes, shares, labels, absolute };
        let known = evaluated.checked_sub(infinite);
        let counts = [state.errors.count(), state.magnitudes.count(), state.labels.count(), state.absolute.total()];
        let adds_up = counts.iter().all(|&count| Some(count) == known)
            && state.shares.count().checked_add(infinite_share) == known
            && state.absolute.limit() == BUCKETS
            && state.absolute.min().is_none_or(|least| least >= 0.0)
            && state.absolute.max().is_none_or(f64::is_finite);
        if adds_up { Ok(state) } else { Err(Error::invalid_data("the errors of a state are out of shape")) }
    }

    /// Bytes held on the heap.
    pub(super) fn heap_size(&self) -> usize {
        let sums = [&self.errors, &self.magnitudes, &self.shares, &self.labels];
        sums.iter().map(|sums| sums.heap_size()).sum::<usize>() + self.absolute.heap_size()
    }
}

/// The mean of the values of ranks ⌈n/2⌉ and ⌊n/2⌋ + 1, with the bounds that their buckets give.
fn median(buckets: &Buckets) -> Option<Certified> {
    let n = buckets.total();
    let at = |rank: u64| {
        let mut below = 0u64;
        buckets.as_slice().iter().find(|bucket| {
            below += bucket.count;
            rank <= below
        })
    };
    let (low, high) = (at(n.div_ceil(2).max(1))?, at(n / 2 + 1)?);
    // Halves first: the sum of two doubles may be none.
    let mean = |a: f64, b: f64| if a.to_bits() == b.to_bits() { a } else { a / 2.0 + b / 2.0 };
    let (lower, upper) = (mean(low.least(), high.least()), mean(low.greatest(), high.greatest()));
    Some(Certified::new(mean(lower, upper), lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(predictions: &[f64], labels: &[f64]) -> Quality {
        let mut state = RegressionState::empty();
        state.observe(predictions, labels);
        let mut quality = Quality::default();
        state.answer(&mut quality);
        quality
    }

    #[test]
    fn by_hand() {
        let quality = quality(&[2.0, 4.0, 3.0, 0.0], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((quality.mse, quality.rmse), (Some(21.0 / 4.0), Some(5.25f64.sqrt())));
        assert_eq!((quality.mae, quality.mean_error), (Some(7.0 / 4.0), Some(-1.0 / 4.0)));
        assert_eq!((quality.mape, quality.r2), (Some(3.0 / 4.0), Some(1.0 - 21.0 / 5.0)));
        assert_eq!((quality.median_absolute_error, quality.median_absolute_error_error), (Some(1.5), Some(0.0)));
        assert_eq!(quality.reason, None);
    }

    #[test]
    fn what_cannot_be_told_says_why() {
        let infinite = quality(&[1.0, f64::INFINITY], &[1.0, f64::INFINITY]);
        assert_eq!((infinite.mse, infinite.median_absolute_error), (None, None));
        assert!(infinite.reason.unwrap().starts_with("1 rows whose error is infinite"));
        let constant = quality(&[1.0, 2.0], &[1.0, 1.0]);
        assert_eq!((constant.r2, constant.mse), (None, Some(0.5)));
        assert!(constant.reason.unwrap().contains("no r²"));
        let huge = quality(&[1e300, 0.0], &[0.0, 1.0]);
        assert_eq!((huge.mse, huge.mape), (None, None));
        assert_eq!(huge.mae, Some(5e299));
        let reason = huge.reason.unwrap();
        assert!(reason.contains("mean squared error, mean absolute percentage error"), "{reason}");
        let nothing = quality(&[], &[]);
        assert_eq!(nothing, Quality::default());
    }
}

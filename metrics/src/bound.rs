//! A number that is published with bounds.
//!
//! States keep some things exactly and some only to a bucket. What is read from the latter comes as an estimate
//! between two numbers that are computed, rounding included: the true number lies between them, whatever the data.

/// An estimate and the interval that holds the true number for certain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certified {
    /// What is published: an estimate within the bounds.
    pub value: f64,
    /// The true number is not below this.
    pub lower: f64,
    /// The true number is not above this; infinite where nothing bounds it.
    pub upper: f64,
}

/// Sums of positive terms by [`Compensated`], each a few operations on exact counts, are right to this part of them.
const ROUNDING: f64 = 1.0 / (1u64 << 48) as f64;

impl Certified {
    /// The estimate, moved into the bounds where it lies outside.
    #[must_use]
    pub(crate) fn new(estimate: f64, lower: f64, upper: f64) -> Self {
        Self { value: estimate.max(lower).min(upper), lower, upper }
    }

    /// The true number is no further from `value` than this.
    #[must_use]
    pub fn error(&self) -> f64 {
        (self.value - self.lower).max(self.upper - self.value)
    }
}

/// A lower bound of the exact sum whose rounded value is `sum`, not below zero.
pub(crate) fn rounded_down(sum: f64) -> f64 {
    let sum = sum.min(f64::MAX);
    (sum - sum * ROUNDING - f64::MIN_POSITIVE).max(0.0)
}

/// An upper bound of the exact sum whose rounded value is `sum`. Nothing but zeros adds up to zero.
pub(crate) fn rounded_up(sum: f64) -> f64 {
    if sum > 0.0 { sum + sum * ROUNDING + f64::MIN_POSITIVE } else { 0.0 }
}

/// Neumaier's sum: the terms differ widely in size. Source: A. Neumaier, *Rundungsfehleranalyse einiger Verfahren zur
/// Summation endlicher Summen*, Z. Angew. Math. Mech. 54 (1974).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Compensated {
    sum: f64,
    rest: f64,
}

impl Compensated {
    pub(crate) fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        self.rest += if self.sum.abs() >= term.abs() { (self.sum - sum) + term } else { (term - sum) + self.sum };
        self.sum = sum;
    }

    /// Infinite if the sum is beyond the greatest double.
    pub(crate) fn total(&self) -> f64 {
        let total = self.sum + self.rest;
        if total.is_nan() { f64::INFINITY } else { total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "no rounding is met")]
    fn an_estimate_outside_is_moved_to_the_nearer_bound() {
        let certified = Certified::new(7.0, 1.0, 5.0);
        assert_eq!((certified.value, certified.error()), (5.0, 4.0));
        assert_eq!(Certified::new(0.0, 1.0, f64::INFINITY).value, 1.0);
    }

    #[test]
    fn rounding_is_outwards_and_nothing_stays_nothing() {
        assert!(rounded_down(1.0) < 1.0 && rounded_up(1.0) > 1.0 && rounded_up(5e-324) > 5e-324);
        assert_eq!((rounded_down(0.0).to_bits(), rounded_up(0.0).to_bits()), (0, 0));
        let mut sum = Compensated::default();
        [1e16, 1.0, -1e16].into_iter().for_each(|term| sum.add(term));
        assert_eq!(sum.total().to_bits(), 1f64.to_bits());
    }
}

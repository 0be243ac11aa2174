//! Wasserstein distance in interquartile ranges of the baseline.
//!
//! `W₁ / (Q₃ − Q₁)` has no unit, so columns of different units can be compared, and neither tails nor outliers of the
//! baseline change it as they do a standard deviation. The quartiles are lower empirical quantiles of the baseline's
//! own histogram: exact at level 0, else within a bucket of the true ones, and no bounds are computed for the ratio.
//! Source: the distance as in [`wasserstein`](super::wasserstein()); the range as a measure of spread, F. Galton,
//! *Natural Inheritance* (1889).

use crate::state::Buckets;

/// A distance in units of the baseline's interquartile range; `None` if that is zero or beyond the greatest double.
///
/// ```
/// use limno_metrics::drift::wasserstein_normalized;
/// use limno_metrics::state::Histogram;
///
/// let mut baseline = Histogram::empty(4096);
/// (1..=8).for_each(|value| baseline.observe(f64::from(value)));
/// // Lower empirical quartiles of 1 … 8 are 2 and 6.
/// assert_eq!(wasserstein_normalized(3.0, &baseline.buckets()), Some(0.75));
/// ```
#[must_use]
pub fn wasserstein_normalized(distance: f64, baseline: &Buckets) -> Option<f64> {
    let quartiles = baseline.quantiles(5)?;
    let range = quartiles.get(3)? - quartiles.get(1)?;
    let normalized = distance / range;
    (range > 0.0 && range.is_finite() && normalized.is_finite()).then_some(normalized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Histogram;

    #[test]
    fn a_baseline_without_range_has_no_unit() {
        let of = |values: &[f64]| {
            let mut histogram = Histogram::empty(16);
            values.iter().for_each(|&value| histogram.observe(value));
            wasserstein_normalized(1.0, &histogram.buckets())
        };
        assert_eq!(of(&[3.0, 3.0, 3.0]), None);
        assert_eq!(of(&[]), None);
    }
}

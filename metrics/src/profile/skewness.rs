//! Skewness of a population, with a certified bound.
//!
//! `g₁ = m₃/m₂^1.5` with the moments `mₖ = Σ(x − μ)ᵏ/n`, without a correction for bias. At level 0 the values are
//! known: deviations are taken from the double nearest to the mean and then corrected by their own mean, so that
//! nothing cancels however far from zero the values lie. Above it μ and m₂ are still those of the exact sums, and
//! since (x − μ)³ rises with x, the ends of the buckets bound m₃; the estimate spreads the values evenly over their
//! bucket, whose mean of (x − μ)³ is `(A + B)(A² + B²)/4` between deviations A and B.
//! Source: R. A. Fisher, *Moments and product moments of sampling distributions*, Proc. London Math. Soc. 30 (1930).

use crate::bound::{Certified, Compensated};
use crate::state::Buckets;

/// Rounding of a deviation's cube and of σ³, in parts of it, several times over.
const ROUNDING: f64 = 1.0 / (1u64 << 46) as f64;
/// Cubes of scaled deviations neither overflow nor vanish between these.
const LARGE: f64 = 1e290;
const SMALL: f64 = 1e-290;

/// What is known exactly of the values behind the buckets; all are finite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) mean: f64,
    /// The sample standard deviation.
    pub(super) deviation: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

/// The skewness; `None` if there are fewer than two values or all are one and the same.
pub(super) fn skewness(buckets: &Buckets, known: Known) -> Option<Certified> {
    if buckets.total() < 2 || known.least >= known.greatest {
        return None;
    }
    // Skewness knows no unit: a power of two as the unit keeps squares and cubes in range and changes no digit.
    let widest = known.least.abs().max(known.greatest.abs());
    let unit = if widest > LARGE {
        2f64.powi(-8)
    } else if widest < SMALL {
        2f64.powi(600)
    } else {
        1.0
    };
    let known = Known {
        mean: known.mean * unit,
        deviation: known.deviation * unit,
        least: known.least * unit,
        greatest: known.greatest * unit,
    };
    let certified = if buckets.level() == 0 { exact(buckets, known, unit) } else { coarse(buckets, known, unit) };
    certified.filter(|skewness| skewness.value.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn exact(buckets: &Buckets, known: Known, unit: f64) -> Option<Certified> {
    let total = buckets.total() as f64;
    let values = || buckets.as_slice().iter().map(|bucket| (bucket.least() * unit, bucket.count as f64));
    // Deviations as parts of the greatest one.
    let span = (known.greatest - known.mean).max(known.mean - known.least);
    let mut rest = Compensated::default();
    values().for_each(|(value, count)| rest.add(count * ((value - known.mean) / span)));
    let rest = rest.total() / total;
    let (mut squares, mut cubes) = (Compensated::default(), Compensated::default());
    for (value, count) in values() {
        let deviation = (value - known.mean) / span - rest;
        squares.add(count * deviation * deviation);
        cubes.add(count * deviation * deviation * deviation);
    }
    let value = cubes.total() / total / (squares.total() / total).powf(1.5);
    Some(Certified { value, lower: value, upper: value })
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn coarse(buckets: &Buckets, known: Known, unit: f64) -> Option<Certified> {
    let total = buckets.total() as f64;
    let sigma = known.deviation * ((total - 1.0) / total).sqrt();
    if !sigma.is_normal() {
        return None;
    }
    let (mut estimate, mut lower, mut upper, mut size) =
        (Compensated::default(), Compensated::default(), Compensated::default(), Compensated::default());
    for bucket in buckets.as_slice() {
        let count = bucket.count as f64;
        let (least, greatest) =
            ((bucket.least() * unit).max(known.least), (bucket.greatest() * unit).min(known.greatest));
        let (a, b) = ((least - known.mean) / sigma, (greatest - known.mean) / sigma);
        estimate.add(count * ((a + b) * (a * a + b * b) / 4.0));
        // The true mean lies between the neighbours of the rounded one.
        let (a, b) = ((least - known.mean.next_up()) / sigma, (greatest - known.mean.next_down()) / sigma);
        lower.add(count * a * a * a);
        upper.add(count * b * b * b);
        size.add(count * a.abs().max(b.abs()).powi(3));
    }
    let slack = size.total() / total * ROUNDING;
    let bounds = (lower.total() / total - slack, upper.total() / total + slack);
    (bounds.0.is_finite() && bounds.1.is_finite()).then(|| Certified::new(estimate.total() / total, bounds.0, bounds.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Histogram;

    fn of(values: &[f64], limit: u32) -> Option<Certified> {
        let mut histogram = Histogram::empty(limit);
        values.iter().for_each(|&value| histogram.observe(value));
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let n = values.len() as f64;
        let mean = values.iter().map(|value| value / n).sum::<f64>();
        let spread: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let known = Known {
            mean,
            deviation: (spread / (n - 1.0)).sqrt(),
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        skewness(&histogram.buckets(), known)
    }

    /// Of −1, −1, 2: m₂ = 2 and m₃ = 2, whatever the unit and the place.
    #[test]
    fn by_hand_at_any_scale_and_place() {
        for (unit, place) in [(1.0, 0.0), (2.0, 1e16), (1e-320, 0.0), (5e307, 0.0), (1.0, -7e15)] {
            let values = [-1.0, -1.0, 2.0].map(|value| value * unit + place);
            let skewness = of(&values, 16).unwrap();
            assert!((skewness.value - 0.5f64.sqrt()).abs() < 1e-3, "{unit}, {place}: {skewness:?}");
            assert!(skewness.error() <= 0.0);
        }
    }

    #[test]
    fn what_has_no_spread_has_no_skewness() {
        assert_eq!(of(&[4.0, 4.0, 4.0], 16), None);
        assert_eq!(of(&[4.0], 16), None);
    }

    #[test]
    fn a_coarse_side_bounds_the_exact_skewness() {
        let values: Vec<f64> = (1..3000).map(|i| 1000.0 / f64::from(i)).collect();
        let (exact, coarse) = (of(&values, u32::MAX).unwrap(), of(&values, 256).unwrap());
        assert!(coarse.lower <= exact.value && exact.value <= coarse.upper, "{exact:?}, {coarse:?}");
        assert!(coarse.error() < 0.05 * exact.value, "{exact:?}, {coarse:?}");
        let mirrored: Vec<f64> = values.iter().map(|value| -value).collect();
        assert!((of(&mirrored, u32::MAX).unwrap().value + exact.value).abs() < 1e-9);
    }
}

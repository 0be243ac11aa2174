//! Area under the receiver operating characteristic, from two histograms of scores.
//!
//! The share of pairs (a row of the class, a row of another) in which the first has the higher score; equal scores count
//! half: U / (n₁·n₀) of the Mann–Whitney statistic, which is the area under the trapezoidal curve. Source: J. A. Hanley,
//! B. J. McNeil, *The meaning and use of the area under a receiver operating characteristic (ROC) curve*, Radiology 143
//! (1982); `sklearn.metrics.roc_auc_score`.
//!
//! Buckets of different cells are in order, so their pairs are known. Of a cell that both sides hold, pairs are known if
//! both hold one value there; else they lie anywhere between all lost and all won, and count half in the estimate. That
//! gives the certified interval. Where both histograms are exact it has no width, and the area is rounded once.

use num_bigint::{BigInt, BigUint};

use crate::Certified;
use crate::rounding::ratio;
use crate::state::{Bucket, Histogram};

/// The area with its bounds; `None` if a side is empty.
pub(super) fn area(of_class: &Histogram, of_others: &Histogram) -> Option<Certified> {
    if of_class.total() == 0 || of_others.total() == 0 {
        return None;
    }
    let (left, right) = (of_class.buckets(), of_others.buckets());
    let level = left.level().max(right.level());
    let (left, right) = (left.at_level(level), right.at_level(level));
    // All sums are of half pairs. Both totals are parts of one count of 64 bits, so there are less than 2^127.
    let (mut won, mut unknown) = (0u128, 0u128);
    let mut others = right.as_slice().iter().peekable();
    let mut below = 0u128;
    for bucket in left.as_slice() {
        while let Some(other) = others.next_if(|other| other.cell < bucket.cell) {
            below += u128::from(other.count);
        }
        won += 2 * u128::from(bucket.count) * below;
        if let Some(other) = others.peek().filter(|other| other.cell == bucket.cell) {
            let pairs = u128::from(bucket.count) * u128::from(other.count);
            match order(bucket, other) {
                Some(halves) => won += halves * pairs,
                None => unknown += 2 * pairs,
            }
        }
    }
    let pairs = BigUint::from(2 * u128::from(of_class.total()) * u128::from(of_others.total()));
    let share = |halves: u128| ratio(&BigInt::from(halves), &pairs, 0);
    if unknown == 0 {
        let exact = share(won);
        return Some(Certified::new(exact, exact, exact));
    }
    // Outwards, so that the rounding is within the bounds too.
    let (lower, upper) = (share(won).next_down().max(0.0), share(won + unknown).next_up().min(1.0));
    Some(Certified::new(share(won + unknown / 2), lower, upper))
}

/// What each pair of two buckets of one cell counts, in halves; `None` if that is not known.
fn order(bucket: &Bucket, other: &Bucket) -> Option<u128> {
    if bucket.is_atom() && other.is_atom() && bucket.least().to_bits() == other.least().to_bits() {
        Some(1)
    } else if other.is_below(bucket) {
        Some(2)
    } else {
        bucket.is_below(other).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use limno_fixtures::SplitMix64;

    use super::*;

    fn histogram(scores: &[f64], limit: u32) -> Histogram {
        let mut histogram = Histogram::empty(limit);
        histogram.observe_slice(scores);
        histogram
    }

    /// Pair by pair.
    #[expect(clippy::cast_precision_loss, reason = "small")]
    fn by_pairs(of_class: &[f64], of_others: &[f64]) -> f64 {
        let pair = |(a, b): (&f64, &f64)| 1.0 + f64::from(u8::from(a > b)) - f64::from(u8::from(a < b));
        let halves: f64 = of_class.iter().flat_map(|a| of_others.iter().map(move |b| pair((a, b)))).sum();
        halves / (2 * of_class.len() * of_others.len()) as f64
    }

    #[test]
    fn by_hand() {
        let (of_class, of_others) = (histogram(&[0.9, 0.5, 0.5], 64), histogram(&[0.5, 0.1], 64));
        let area = area(&of_class, &of_others).unwrap();
        assert_eq!((area.value, area.lower, area.upper), (5.0 / 6.0, 5.0 / 6.0, 5.0 / 6.0));
        let nothing = histogram(&[], 64);
        assert!(super::area(&of_class, &nothing).is_none() && super::area(&nothing, &of_class).is_none());
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small")]
    fn the_interval_holds_the_area_of_all_pairs() {
        let mut widest = 0f64;
        for seed in 0..60 {
            let rng = &mut SplitMix64::new(seed);
            let steps = [10, 1000, 1 << 40][usize::try_from(seed % 3).unwrap()];
            let mut scores = |n: u64, shift: f64| -> Vec<f64> {
                (0..n).map(|_| (rng.below(steps) as f64 / steps as f64).powf(shift)).collect()
            };
            let (of_class, of_others) = (scores(300, 0.7), scores(200, 1.3));
            let truth = by_pairs(&of_class, &of_others);
            for (limit, other) in [(16, 16), (16, 4096), (64, 32), (4096, 4096)] {
                let area = area(&histogram(&of_class, limit), &histogram(&of_others, other)).unwrap();
                assert!(area.lower <= truth && truth <= area.upper, "{area:?} of {truth}");
                assert!(area.lower <= area.value && area.value <= area.upper, "{area:?}");
                if limit == 4096 {
                    assert!(area.error() == 0.0 && (area.value - truth).abs() < 1e-14, "{area:?} of {truth}");
                }
                widest = widest.max(area.error());
            }
        }
        assert!(widest > 1e-3, "some were coarse");
    }
}

//! The two-sample Kolmogorov–Smirnov distance by other means than ours: exactly, by sorting, and estimated from KLL.

use datasketches::common::SearchCriteria;
use datasketches::kll::{KllFloat, KllSketch};
use limno_metrics::drift::{self, KolmogorovSmirnov};
use limno_metrics::state::Histogram;

/// `sup|F − G|` of two sorted samples, neither of them empty.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the distance is rounded here, once")]
pub fn exact(left: &[f64], right: &[f64]) -> f64 {
    let (n, m) = (left.len(), right.len());
    let (mut i, mut j, mut greatest) = (0, 0, 0u128);
    while i < n && j < m {
        let at = left[i].min(right[j]);
        while i < n && left[i] <= at {
            i += 1;
        }
        while j < m && right[j] <= at {
            j += 1;
        }
        greatest = greatest.max((i as u128 * m as u128).abs_diff(j as u128 * n as u128));
    }
    greatest as f64 / (n as u128 * m as u128) as f64
}

/// Ours, with its certified error; `None` if a side is empty.
#[must_use]
pub fn certified(left: &Histogram, right: &Histogram) -> Option<KolmogorovSmirnov> {
    let (left, right) = (left.buckets(), right.buckets());
    let level = left.level().max(right.level());
    drift::kolmogorov_smirnov(&left.at_level(level), &right.at_level(level))
}

/// The greatest difference of the estimated ranks, at quantiles of either side as close as its retained items; 0 if a
/// side is empty. The sketch does not show the items themselves.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "thousands of items")]
pub fn from_kll(left: &KllSketch<KllFloat<f64>>, right: &KllSketch<KllFloat<f64>>) -> f64 {
    let (left, right) = (left.sorted_view(), right.sorted_view());
    let mut greatest = 0.0f64;
    for side in [&left, &right] {
        let steps = 2 * side.len();
        let ranks: Vec<f64> = (0..=steps).map(|step| step as f64 / steps.max(1) as f64).collect();
        for item in side.quantiles(&ranks, SearchCriteria::Inclusive).ok().flatten().unwrap_or_default() {
            let rank = |view: &datasketches::kll::SortedView<_>| view.rank(&item, SearchCriteria::Inclusive);
            if let (Some(f), Some(g)) = (rank(&left), rank(&right)) {
                greatest = greatest.max((f - g).abs());
            }
        }
    }
    greatest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_by_hand() {
        assert!((exact(&[1.0, 2.0, 3.0, 4.0], &[3.0, 4.0, 5.0, 6.0]) - 0.5).abs() < 1e-15);
        assert!(exact(&[1.0, 1.0, 2.0], &[1.0, 1.0, 2.0]).abs() < 1e-15);
    }

    #[test]
    fn a_sketch_of_few_values_is_exact() {
        let sketch = |values: &[f64]| {
            let mut sketch = KllSketch::new(200).unwrap();
            values.iter().for_each(|&value| sketch.update(KllFloat::<f64>::new(value).unwrap()));
            sketch
        };
        let distance = from_kll(&sketch(&[1.0, 2.0, 3.0, 4.0]), &sketch(&[3.0, 4.0, 5.0, 6.0]));
        assert!((distance - 0.5).abs() < 1e-12, "{distance}");
    }
}

//! Two-sample χ² test over categories.
//!
//! Pearson's statistic of the 2 × k contingency table of both sides over the union of categories, without Yates's
//! correction, with k − 1 degrees of freedom. Both sides are samples: treating the baseline as exact would be too
//! eager by the factor 1 + m/n. Source: K. Pearson, *On the probability that two independent distributions of
//! frequency are really samples from the same population*, Biometrika 8 (1911).

use super::{Test, totals};
use crate::distribution;

/// The test over paired counts; `None` if a side is empty. One category alone gives statistic 0 and p-value 1.
///
/// ```
/// use limno_metrics::drift::chi_squared;
///
/// let test = chi_squared([(30, 10), (20, 40)].into_iter()).unwrap();
/// assert!((test.statistic - 16.666_667).abs() < 1e-6 && test.pvalue < 1e-4);
/// ```
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
pub fn chi_squared<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<Test> {
    let (left, right) = totals(cells.clone())?;
    let total = left + right;
    let (mut statistic, mut used) = (0.0, 0u32);
    for (a, b) in cells.filter(|&(a, b)| a > 0 || b > 0) {
        used += 1;
        let both = a as f64 + b as f64;
        let (expected_a, expected_b) = (both * left / total, both * right / total);
        statistic += (a as f64 - expected_a).powi(2) / expected_a + (b as f64 - expected_b).powi(2) / expected_b;
    }
    let pvalue = if used < 2 { 1.0 } else { distribution::chi_squared_sf(statistic, f64::from(used - 1)) };
    Some(Test { statistic, pvalue })
}

//! Kullback–Leibler divergence of the current values from the baseline, in nats.
//!
//! `KL(current ‖ baseline) = Σ q·ln(q/p)` over categories, or over the bins of a numeric column without those of nulls
//! and NaN. A cell that the baseline never had counts as half a value, p = 0.5/n, without renormalising: so the number
//! is finite, and the larger the baseline without such values, the more they weigh. Shares of the baseline then add up to
//! more than 1, so the sum can lie below zero, by at most half a value's share for each such cell; it is then 0. Along a
//! mixture of the baseline with anything it never falls: the sum is convex and starts at 0. Exact over exact counts; approximate over categories
//! that are counted per hash bucket.
//! Source: S. Kullback and R. Leibler, *On information and sufficiency*, Ann. Math. Stat. 22 (1951).

use super::{shares, totals};

/// What a cell without values of the baseline counts as, in values.
const UNSEEN: f64 = 0.5;

/// The divergence over paired counts, baseline first; `None` if a side is empty.
///
/// ```
/// use limno_metrics::drift::kullback_leibler;
///
/// let divergence = kullback_leibler([(50, 75), (50, 25)].into_iter()).unwrap();
/// assert!((divergence - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-15);
/// ```
pub fn kullback_leibler<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    let unseen = UNSEEN / totals(cells.clone())?.0;
    let sum: f64 =
        shares(cells)?.filter(|&(_, q)| q > 0.0).map(|(p, q)| q * (q / if p > 0.0 { p } else { unseen }).ln()).sum();
    Some(sum.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_zero_and_an_empty_side_says_nothing() {
        assert_eq!(kullback_leibler([(1, 2), (3, 6)].into_iter()), Some(0.0));
        assert_eq!(kullback_leibler([(0, 0), (0, 9)].into_iter()), None);
        assert_eq!(kullback_leibler([(9, 0)].into_iter()), None);
    }

    #[test]
    fn a_cell_that_the_baseline_never_had_is_half_a_value() {
        let divergence = kullback_leibler([(10, 8), (0, 2)].into_iter()).unwrap();
        assert!((divergence - (0.8 * 0.8f64.ln() + 0.2 * 4f64.ln())).abs() < 1e-15, "{divergence}");
        // One value in a million is less than the half value of ten that it is measured by.
        assert_eq!(kullback_leibler([(10, 999_999), (0, 1)].into_iter()), Some(0.0));
    }
}

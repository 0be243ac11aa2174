//! Cramér's V between the side and the category, in `[0, 1]`.
//!
//! `V = √(χ²/(N·min(r − 1, c − 1)))` of the contingency table behind the χ² test. That has two rows, so `V = √(χ²/N)`
//! with N the values of both sides. Unlike χ² it does not grow with the number of rows of the tables. Without a
//! correction for bias: samples of one distribution with k categories have V near `√((k − 1)/N)`. Exact over exact
//! counts; approximate over categories that are counted per hash bucket.
//! Source: H. Cramér, *Mathematical Methods of Statistics* (1946), section 21.9.

use super::{chi_squared, totals};

/// V over paired counts; `None` if a side is empty. One category alone gives 0.
///
/// ```
/// use limno_metrics::drift::cramers_v;
///
/// // χ² = 40·(20·15 − 5·0)²/(25·15·20·20) = 24.
/// let v = cramers_v([(20, 5), (0, 15)].into_iter()).unwrap();
/// assert!((v - (24.0f64 / 40.0).sqrt()).abs() < 1e-15);
/// ```
pub fn cramers_v<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    let (left, right) = totals(cells.clone())?;
    let test = chi_squared(cells)?;
    Some((test.statistic / (left + right)).clamp(0.0, 1.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_zero_and_disjoint_is_one() {
        assert_eq!(cramers_v([(1, 2), (3, 6)].into_iter()), Some(0.0));
        assert_eq!(cramers_v([(5, 0), (0, 9)].into_iter()), Some(1.0));
        assert_eq!(cramers_v([(4, 9)].into_iter()), Some(0.0));
        assert_eq!(cramers_v([(0, 0), (0, 9)].into_iter()), None);
    }
}

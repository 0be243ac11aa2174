//! Total variation, L∞ and the share of unseen categories.

use super::shares;

/// The three over paired counts:
///
/// ```
/// use limno_metrics::drift::{l_infinity, total_variation, unseen_share};
///
/// let cells = || [(50, 25), (50, 25), (0, 50)].into_iter();
/// assert_eq!(total_variation(cells()), Some(0.5));
/// assert_eq!(l_infinity(cells()), Some(0.5));
/// assert_eq!(unseen_share(cells()), Some(0.5));
/// ```
///
/// ½ Σ|p − q| over cells, in `[0, 1]`; `None` if a side is empty.
pub fn total_variation<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    Some(shares(cells)?.map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0)
}

/// max|p − q| over cells, in `[0, 1]`; `None` if a side is empty.
pub fn l_infinity<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    Some(shares(cells)?.map(|(p, q)| (p - q).abs()).fold(0.0, f64::max))
}

/// Σq over the cells that the baseline (the left side) never had; `None` if a side is empty.
pub fn unseen_share<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    let (unseen, total) = cells.clone().fold((0u64, 0u64), |(unseen, total), (left, right)| {
        (unseen + if left == 0 { right } else { 0 }, total + right)
    });
    super::totals(cells)?;
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
    Some(unseen as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let cells = || [(50u64, 10u64), (50, 60), (0, 30)].into_iter();
        assert!((total_variation(cells()).unwrap() - 0.4).abs() < 1e-15);
        assert!((l_infinity(cells()).unwrap() - 0.4).abs() < 1e-15);
        assert!((unseen_share(cells()).unwrap() - 0.3).abs() < 1e-15);
        assert_eq!(total_variation([(0, 3), (0, 4)].into_iter()), None);
    }
}

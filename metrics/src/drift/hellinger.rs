//! Hellinger distance, in `[0, 1]`.
//!
//! `√(1 − Σ√(pq))` over categories, or over the bins of a numeric column without those of nulls and NaN; computed as
//! `√(½ Σ(√p − √q)²)`, which is the same and does not cancel near zero. Exact over exact counts; over categories that
//! are counted per hash bucket it is a lower bound, since merging cells never raises it.
//! Source: E. Hellinger, *Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen*,
//! J. reine angew. Math. 136 (1909).

use super::shares;

/// The distance over paired counts; `None` if a side is empty.
///
/// ```
/// use limno_metrics::drift::hellinger;
///
/// // Half of each side in a cell that both have: √(1 − ½).
/// let distance = hellinger([(1, 1), (1, 0), (0, 1)].into_iter()).unwrap();
/// assert!((distance - 0.5f64.sqrt()).abs() < 1e-15);
/// ```
pub fn hellinger<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    let half: f64 = shares(cells)?.map(|(p, q)| 0.5 * (p.sqrt() - q.sqrt()).powi(2)).sum();
    Some(half.clamp(0.0, 1.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_zero_and_disjoint_is_one() {
        assert_eq!(hellinger([(1, 2), (3, 6)].into_iter()), Some(0.0));
        assert_eq!(hellinger([(5, 0), (0, 9)].into_iter()), Some(1.0));
        assert_eq!(hellinger([(0, 0), (0, 9)].into_iter()), None);
    }
}

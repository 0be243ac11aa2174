//! Jensen–Shannon distance.
//!
//! The square root of the divergence in base 2, hence a metric in `[0, 1]`:
//! `√(½ Σ p·log₂(p/m) + ½ Σ q·log₂(q/m))` with `m = (p + q)/2`.
//! Source: J. Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37 (1991), eq. 4.1;
//! D. Endres and J. Schindelin, *A new metric for probability distributions*, ibid. 49 (2003).

use super::shares;

/// The distance over paired counts; `None` if a side is empty.
///
/// ```
/// use limno_metrics::drift::jensen_shannon;
///
/// assert_eq!(jensen_shannon([(3, 0), (0, 8)].into_iter()), Some(1.0));
/// ```
pub fn jensen_shannon<I: Iterator<Item = (u64, u64)> + Clone>(cells: I) -> Option<f64> {
    let divergence: f64 = shares(cells)?
        .map(|(p, q)| {
            let middle = f64::midpoint(p, q);
            half_term(p, middle) + half_term(q, middle)
        })
        .sum();
    Some(divergence.clamp(0.0, 1.0).sqrt())
}

fn half_term(p: f64, middle: f64) -> f64 {
    if p > 0.0 { 0.5 * p * (p / middle).log2() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_zero_and_disjoint_is_one() {
        assert_eq!(jensen_shannon([(1, 2), (3, 6)].into_iter()), Some(0.0));
        assert_eq!(jensen_shannon([(5, 0), (0, 9)].into_iter()), Some(1.0));
        assert_eq!(jensen_shannon([(0, 0), (0, 9)].into_iter()), None);
    }
}

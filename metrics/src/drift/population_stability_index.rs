//! Population stability index.
//!
//! `Σ (q − p)·ln(q/p)` over bins, with `p` the baseline's and `q` the current shares of *all* rows; a share below
//! [`PROPORTION_FLOOR`] is raised to it, without renormalising. It is the symmetrised Kullback–Leibler divergence.
//! Source: N. Siddiqi, *Credit Risk Scorecards* (2006); H. Jeffreys, *An invariant form for the prior probability*
//! (1946).
//!
//! Between samples of n and m rows of one distribution over B bins the index is about `(1/n + 1/m)·χ²` with B − 1
//! degrees of freedom, which gives it a p-value and a critical value that know the sizes: 0.2 is a lot of a million
//! rows and nothing of fifty. The bins are all in which a row occurs, those of nulls and NaN included. Where expected
//! counts are small, or [`PROPORTION_FLOOR`] is met, both are rough. Source: B. Yurdakul, *Statistical Properties of
//! Population Stability Index*, Western Michigan University (2018).

use crate::binning::Bin;
use crate::distribution;

/// The least share that enters the logarithm.
pub const PROPORTION_FLOOR: f64 = 1e-4;

/// One bin of the index.
#[derive(Debug, Clone, PartialEq)]
pub struct BinContribution {
    /// What the bin holds.
    pub label: String,
    /// Share of the baseline's rows.
    pub baseline: f64,
    /// Share of the current rows.
    pub current: f64,
    /// The bin's part of the index; the parts add up to it.
    pub contribution: f64,
}

/// The index and its bins; `None` if a side has no rows.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
pub fn population_stability_index(bins: &[Bin]) -> (Option<f64>, Vec<BinContribution>) {
    let Some((left, right)) = super::totals(bins.iter().map(super::counts_of)) else {
        return (None, Vec::new());
    };
    let bins: Vec<BinContribution> = bins
        .iter()
        .map(|bin| {
            let (baseline, current) = (bin.baseline as f64 / left, bin.current as f64 / right);
            let (p, q) = (baseline.max(PROPORTION_FLOOR), current.max(PROPORTION_FLOOR));
            let contribution = (q - p) * (q / p).ln();
            BinContribution { label: bin.label.clone(), baseline, current, contribution }
        })
        .collect();
    (Some(bins.iter().map(|bin| bin.contribution).sum()), bins)
}

/// The probability of an index at least as large between samples of `n` and `m` rows of one distribution over `bins`
/// bins; `None` without rows. One bin alone has index 0 and p-value 1.
#[must_use]
pub fn population_stability_index_pvalue(index: f64, bins: usize, n: u64, m: u64) -> Option<f64> {
    let (unit, degrees) = law(bins, n, m)?;
    Some(if degrees > 0.0 { distribution::chi_squared_sf(index / unit, degrees) } else { 1.0 })
}

/// The index that samples of `n` and `m` rows of one distribution over `bins` bins pass with probability `alpha`;
/// `None` without rows, or if `alpha` is not between 0 and 1. One bin alone has 0.
///
/// ```
/// use limno_metrics::drift::population_stability_index_critical_value;
///
/// // The upper 5 % point of χ² with nine degrees of freedom is 16.919.
/// let critical = population_stability_index_critical_value(0.05, 10, 1000, 500).unwrap();
/// assert!((critical - 16.918_977_6 * 3.0 / 1000.0).abs() < 1e-9);
/// ```
#[must_use]
pub fn population_stability_index_critical_value(alpha: f64, bins: usize, n: u64, m: u64) -> Option<f64> {
    let (unit, degrees) = law(bins, n, m).filter(|_| alpha > 0.0 && alpha < 1.0)?;
    Some(if degrees > 0.0 { unit * distribution::chi_squared_critical_value(alpha, degrees) } else { 0.0 })
}

/// 1/n + 1/m, and the degrees of freedom.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn law(bins: usize, n: u64, m: u64) -> Option<(f64, f64)> {
    (n > 0 && m > 0).then(|| (1.0 / n as f64 + 1.0 / m as f64, bins.saturating_sub(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_critical_value_has_its_probability_as_p_value() {
        for (alpha, bins, n, m) in [(0.05, 10, 1000, 500), (0.001, 2, 30, 7), (0.5, 300, 1_000_000, 1_000_000)] {
            let critical = population_stability_index_critical_value(alpha, bins, n, m).unwrap();
            let pvalue = population_stability_index_pvalue(critical, bins, n, m).unwrap();
            assert!((pvalue - alpha).abs() < 1e-9 * alpha, "{alpha}: {pvalue}");
        }
    }

    #[test]
    fn what_cannot_move_is_never_significant() {
        assert_eq!(population_stability_index_pvalue(0.0, 1, 10, 10), Some(1.0));
        assert_eq!(population_stability_index_critical_value(0.05, 1, 10, 10), Some(0.0));
        assert_eq!(population_stability_index_pvalue(0.1, 5, 0, 10), None);
        assert_eq!(population_stability_index_critical_value(1.0, 5, 10, 10), None);
    }
}

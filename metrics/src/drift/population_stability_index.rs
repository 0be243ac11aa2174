//! Population stability index.
//!
//! `Σ (q − p)·ln(q/p)` over bins, with `p` the baseline's and `q` the current shares of *all* rows; a share below
//! [`PROPORTION_FLOOR`] is raised to it, without renormalising. It is the symmetrised Kullback–Leibler divergence.
//! Source: N. Siddiqi, *Credit Risk Scorecards* (2006); H. Jeffreys, *An invariant form for the prior probability*
//! (1946).

use crate::binning::Bin;

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

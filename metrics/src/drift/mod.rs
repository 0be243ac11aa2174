//! The numbers that two column states answer: how far the current values are from the baseline's.
//!
//! Each statistic has a file of its own with its definition and source. [`compare`] computes all that apply.

mod chi_squared;
mod jensen_shannon;
mod kolmogorov_smirnov;
mod population_stability_index;
mod total_variation;
mod wasserstein;

pub use chi_squared::chi_squared;
pub use jensen_shannon::jensen_shannon;
pub use kolmogorov_smirnov::{KolmogorovSmirnov, kolmogorov_smirnov};
pub use population_stability_index::{BinContribution, PROPORTION_FLOOR, population_stability_index};
pub use total_variation::{l_infinity, total_variation, unseen_share};
pub use wasserstein::wasserstein;

use crate::binning::{self, Bin, Bins};
use crate::column::{ColumnKind, Values};
use crate::profile::FrozenColumn;
use crate::state::categories::Pairing;
use crate::{Error, Result};

/// How a pair is compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DriftOptions {
    /// The bins of numeric columns for PSI and the binned Jensen–Shannon distance.
    pub bins: Bins,
}

/// A statistic and the probability of one at least as large under equal distributions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The statistic.
    pub statistic: f64,
    /// Its p-value.
    pub pvalue: f64,
}

/// The distances of one column between a baseline and the current values; `None` where one does not apply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnDrift {
    /// Two-sample Kolmogorov–Smirnov, with its certified error (numeric).
    pub ks: Option<KolmogorovSmirnov>,
    /// First-order Wasserstein distance in the column's units (numeric).
    pub wasserstein: Option<f64>,
    /// Population stability index (numeric and categorical).
    pub psi: Option<f64>,
    /// The bins behind `psi` with their parts of it.
    pub psi_bins: Vec<BinContribution>,
    /// Jensen–Shannon distance over categories, or over the bins of a numeric column.
    pub js: Option<f64>,
    /// Two-sample χ² (categorical).
    pub chi_squared: Option<Test>,
    /// Total variation distance (categorical).
    pub tv: Option<f64>,
    /// L∞ distance (categorical).
    pub l_infinity: Option<f64>,
    /// Share of the current values whose category the baseline never had (categorical).
    pub unseen_share: Option<f64>,
    /// The level at which a numeric pair was compared.
    pub level: Option<u8>,
    /// Whether categories were too many to count one by one: `tv` and `js` are then lower bounds, the rest
    /// approximate.
    pub is_approximate: Option<bool>,
    /// Why numbers are missing that this kind of column usually has.
    pub reason: Option<String>,
}

/// Compares the current values of a column with those of a baseline.
///
/// # Errors
/// [`Incompatible`](crate::ErrorKind::Incompatible) when the two are of different kinds.
pub fn compare(baseline: &FrozenColumn, current: &FrozenColumn, options: &DriftOptions) -> Result<ColumnDrift> {
    let (left, right) = (baseline.state(), current.state());
    if left.kind() != right.kind() {
        return Err(Error::incompatible(format!(
            "the baseline's column is {}, the current one {}",
            left.kind(),
            right.kind()
        )));
    }
    let mut drift = match (&left.values, &right.values) {
        (Values::Category(left_values), Values::Category(right_values)) => {
            let pairing = left_values.categories.pair(&right_values.categories);
            compare_categories(baseline, current, &pairing)
        }
        _ if left.kind() == ColumnKind::Numeric => compare_numbers(baseline, current, options),
        (Values::Opaque, _) => ColumnDrift {
            reason: Some("this type has no statistics beyond counts".to_owned()),
            ..ColumnDrift::default()
        },
        _ => ColumnDrift::default(),
    };
    if matches!(left.kind(), ColumnKind::Numeric | ColumnKind::Categorical) {
        let empty = |side: &FrozenColumn| side.state().counts().values() == 0;
        let why = match (empty(baseline), empty(current)) {
            (true, true) => Some("neither side has a value"),
            (true, false) => Some("the comparison side has no value"),
            (false, true) => Some("the current side has no value"),
            (false, false) => None,
        };
        if let Some(why) = why {
            drift.reason = Some(why.to_owned());
        }
    }
    Ok(drift)
}

fn compare_numbers(baseline: &FrozenColumn, current: &FrozenColumn, options: &DriftOptions) -> ColumnDrift {
    let (Some(left), Some(right)) = (baseline.buckets(), current.buckets()) else {
        return ColumnDrift::default();
    };
    let level = left.level().max(right.level());
    let (left, right) = (left.clone().at_level(level), right.clone().at_level(level));
    let mut drift = ColumnDrift { level: Some(level), ..ColumnDrift::default() };
    let ordered = binning::numeric(&left, &right, &options.bins);
    drift.ks = kolmogorov_smirnov(&left, &right);
    drift.js = jensen_shannon(ordered.iter().map(counts_of));
    let infinities = baseline.state().counts().infinities + current.state().counts().infinities;
    if infinities == 0 {
        drift.wasserstein = wasserstein(&left, &right);
        if drift.wasserstein.is_some_and(f64::is_infinite) {
            drift.wasserstein = None;
            drift.reason = Some("the Wasserstein distance is beyond the greatest double".to_owned());
        }
    } else {
        drift.reason = Some(format!("{infinities} infinite values: no Wasserstein distance"));
    }
    (drift.psi, drift.psi_bins) = psi_with_missing(ordered, baseline, current);
    drift
}

fn compare_categories(baseline: &FrozenColumn, current: &FrozenColumn, pairing: &Pairing) -> ColumnDrift {
    let cells = || pairing.cells.iter().map(|cell| (cell.left, cell.right));
    let bins = pairing
        .cells
        .iter()
        .map(|cell| Bin {
            label: cell.category.as_ref().map_or_else(
                || "other categories".to_owned(),
                |category| String::from_utf8_lossy(category).into_owned(),
            ),
            baseline: cell.left,
            current: cell.right,
        })
        .collect();
    let (psi, psi_bins) = psi_with_missing(bins, baseline, current);
    ColumnDrift {
        psi,
        psi_bins,
        js: jensen_shannon(cells()),
        chi_squared: chi_squared(cells()),
        tv: total_variation(cells()),
        l_infinity: l_infinity(cells()),
        unseen_share: unseen_share(cells()),
        is_approximate: Some(!pairing.exact),
        ..ColumnDrift::default()
    }
}

/// PSI over the bins, with nulls and NaN as bins of their own.
fn psi_with_missing(
    mut bins: Vec<Bin>,
    baseline: &FrozenColumn,
    current: &FrozenColumn,
) -> (Option<f64>, Vec<BinContribution>) {
    let (left, right) = (baseline.state().counts(), current.state().counts());
    for (label, left, right) in [("null", left.nulls, right.nulls), ("NaN", left.nan, right.nan)] {
        if left > 0 || right > 0 {
            bins.push(Bin { label: label.to_owned(), baseline: left, current: right });
        }
    }
    population_stability_index(&bins)
}

const fn counts_of(bin: &Bin) -> (u64, u64) {
    (bin.baseline, bin.current)
}

/// Sums both sides of paired counts; `None` if one is empty.
fn totals(pairs: impl Iterator<Item = (u64, u64)>) -> Option<(f64, f64)> {
    let (left, right) = pairs.fold((0u64, 0u64), |(left, right), pair| (left + pair.0, right + pair.1));
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
    (left > 0 && right > 0).then_some((left as f64, right as f64))
}

/// Shares of both sides; `None` if one is empty.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn shares<I>(pairs: I) -> Option<impl Iterator<Item = (f64, f64)>>
where
    I: Iterator<Item = (u64, u64)> + Clone,
{
    let (left, right) = totals(pairs.clone())?;
    Some(pairs.map(move |pair| (pair.0 as f64 / left, pair.1 as f64 / right)))
}

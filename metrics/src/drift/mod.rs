//! The numbers that two column states answer: how far the current values are from the baseline's.
//!
//! Each statistic has a file of its own with its definition and source. [`compare`] computes all that apply.

mod chi_squared;
mod cramer_von_mises;
mod cramers_v;
mod hellinger;
mod jensen_shannon;
mod kolmogorov_smirnov;
mod kullback_leibler;
mod population_stability_index;
mod total_variation;
mod wasserstein;
mod wasserstein_normalized;

pub use chi_squared::chi_squared;
pub use cramer_von_mises::{CramerVonMises, cramer_von_mises};
pub use cramers_v::cramers_v;
pub use hellinger::hellinger;
pub use jensen_shannon::jensen_shannon;
pub use kolmogorov_smirnov::{KolmogorovSmirnov, kolmogorov_smirnov, kolmogorov_smirnov_critical_value};
pub use kullback_leibler::kullback_leibler;
pub use population_stability_index::{
    BinContribution, PROPORTION_FLOOR, population_stability_index, population_stability_index_critical_value,
    population_stability_index_pvalue,
};
pub use total_variation::{l_infinity, total_variation, unseen_share};
pub use wasserstein::{NumericSide, wasserstein};
pub use wasserstein_normalized::wasserstein_normalized;

use std::borrow::Cow;

use crate::binning::{self, Bin, Bins};
use crate::column::{ColumnKind, Values};
use crate::profile::FrozenColumn;
use crate::state::Buckets;
use crate::state::categories::Pairing;
use crate::{Certified, Error, Result};

/// How a pair is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftOptions {
    /// The bins of numeric columns: of PSI, the Jensen–Shannon and Hellinger distances and the Kullback–Leibler
    /// divergence.
    pub bins: Bins,
    /// The probability with which equal distributions pass a critical value, between 0 and 1.
    pub alpha: f64,
}

impl Default for DriftOptions {
    fn default() -> Self {
        Self { bins: Bins::default(), alpha: 0.05 }
    }
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
    /// The Kolmogorov–Smirnov distance that equal distributions pass with probability alpha (numeric).
    pub ks_critical_value: Option<f64>,
    /// First-order Wasserstein distance in the column's units, with its bounds (numeric).
    pub wasserstein: Option<Certified>,
    /// The same in units of the baseline's interquartile range (numeric).
    pub wasserstein_normalized: Option<f64>,
    /// Two-sample Cramér–von Mises, with the bounds of its statistic (numeric).
    pub cramer_von_mises: Option<CramerVonMises>,
    /// Population stability index (numeric and categorical).
    pub psi: Option<f64>,
    /// Its p-value (numeric and categorical).
    pub psi_pvalue: Option<f64>,
    /// The index that equal distributions pass with probability alpha (numeric and categorical).
    pub psi_critical_value: Option<f64>,
    /// The bins behind `psi` with their parts of it.
    pub psi_bins: Vec<BinContribution>,
    /// Jensen–Shannon distance over categories, or over the bins of a numeric column.
    pub js: Option<f64>,
    /// Hellinger distance over the same (numeric and categorical).
    pub hellinger: Option<f64>,
    /// Kullback–Leibler divergence of the current values from the baseline over the same, in nats.
    pub kullback_leibler: Option<f64>,
    /// Two-sample χ² (categorical).
    pub chi_squared: Option<Test>,
    /// Cramér's V (categorical).
    pub cramers_v: Option<f64>,
    /// Total variation distance (categorical).
    pub tv: Option<f64>,
    /// L∞ distance (categorical).
    pub l_infinity: Option<f64>,
    /// Share of the current values whose category the baseline never had (categorical).
    pub unseen_share: Option<f64>,
    /// The level at which a numeric pair was compared.
    pub level: Option<u8>,
    /// Whether categories were too many to count one by one: `tv`, `js` and `hellinger` are then lower bounds,
    /// the rest approximate.
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
            compare_categories(baseline, current, &pairing, options)
        }
        _ if left.kind() == ColumnKind::Numeric => compare_numbers(baseline, current, options),
        (Values::Opaque, _) => ColumnDrift {
            reason: Some("this type has no statistics beyond counts".to_owned()),
            ..ColumnDrift::default()
        },
        (Values::Length(_), _) => ColumnDrift {
            reason: Some("only the lengths of these values are known: no distances".to_owned()),
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
    let (left, right) = (at_level(left, level), at_level(right, level));
    let mut drift = ColumnDrift { level: Some(level), ..ColumnDrift::default() };
    let ordered = binning::numeric(&left, &right, &options.bins);
    drift.ks = kolmogorov_smirnov(&left, &right);
    drift.ks_critical_value = kolmogorov_smirnov_critical_value(options.alpha, left.total(), right.total());
    drift.cramer_von_mises = cramer_von_mises(&left, &right);
    let cells = || ordered.iter().map(counts_of);
    drift.js = jensen_shannon(cells());
    drift.hellinger = hellinger(cells());
    drift.kullback_leibler = kullback_leibler(cells());
    let infinities = baseline.state().counts().infinities + current.state().counts().infinities;
    if infinities == 0 {
        drift.wasserstein = wasserstein(numeric_side(baseline, &left), numeric_side(current, &right));
        if drift.wasserstein.is_some_and(|distance| distance.value.is_infinite()) {
            drift.wasserstein = None;
            drift.reason = Some("the Wasserstein distance is beyond the greatest double".to_owned());
        }
        if let Some(distance) = drift.wasserstein {
            // Quartiles of the baseline are those of its own profile, not of the level of the pair.
            let own = baseline.buckets().unwrap_or(&left);
            drift.wasserstein_normalized = wasserstein_normalized(distance.value, own);
            if drift.wasserstein_normalized.is_none() {
                let why = "the comparison's interquartile range is 0 or out of all proportion";
                drift.reason = Some(format!("{why}: no normalised Wasserstein distance"));
            }
        }
    } else {
        drift.reason = Some(format!("{infinities} infinite values: no Wasserstein distance"));
    }
    add_stability(&mut drift, ordered, baseline, current, options);
    drift
}

fn at_level(buckets: &Buckets, level: u8) -> Cow<'_, Buckets> {
    if buckets.level() == level { Cow::Borrowed(buckets) } else { Cow::Owned(buckets.clone().at_level(level)) }
}

fn numeric_side<'a>(column: &FrozenColumn, buckets: &'a Buckets) -> NumericSide<'a> {
    let (least, greatest) = column.extrema().unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    NumericSide { buckets, mean: column.mean(), least, greatest }
}

fn compare_categories(
    baseline: &FrozenColumn,
    current: &FrozenColumn,
    pairing: &Pairing,
    options: &DriftOptions,
) -> ColumnDrift {
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
    let mut drift = ColumnDrift {
        js: jensen_shannon(cells()),
        hellinger: hellinger(cells()),
        kullback_leibler: kullback_leibler(cells()),
        chi_squared: chi_squared(cells()),
        cramers_v: cramers_v(cells()),
        tv: total_variation(cells()),
        l_infinity: l_infinity(cells()),
        unseen_share: unseen_share(cells()),
        is_approximate: Some(!pairing.exact),
        ..ColumnDrift::default()
    };
    add_stability(&mut drift, bins, baseline, current, options);
    drift
}

/// PSI over the bins, with nulls and NaN as bins of their own, and what it means at these sizes.
fn add_stability(
    drift: &mut ColumnDrift,
    mut bins: Vec<Bin>,
    baseline: &FrozenColumn,
    current: &FrozenColumn,
    options: &DriftOptions,
) {
    let (left, right) = (baseline.state().counts(), current.state().counts());
    for (label, left, right) in [("null", left.nulls, right.nulls), ("NaN", left.nan, right.nan)] {
        if left > 0 || right > 0 {
            bins.push(Bin { label: label.to_owned(), baseline: left, current: right });
        }
    }
    (drift.psi, drift.psi_bins) = population_stability_index(&bins);
    if let Some(index) = drift.psi {
        let occurring = bins.iter().filter(|bin| bin.baseline > 0 || bin.current > 0).count();
        let (n, m) = bins.iter().fold((0, 0), |(n, m), bin| (n + bin.baseline, m + bin.current));
        drift.psi_pvalue = population_stability_index_pvalue(index, occurring, n, m);
        drift.psi_critical_value = population_stability_index_critical_value(options.alpha, occurring, n, m);
    }
}

const fn counts_of(bin: &Bin) -> (u64, u64) {
    (bin.baseline, bin.current)
}

/// Two sizes, of which counts are shares.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    n: u64,
    m: u64,
    /// Their product, if no numerator overflows with it.
    product: Option<f64>,
}

impl Sizes {
    #[expect(clippy::cast_precision_loss, reason = "the difference is rounded here, once")]
    fn of(n: u64, m: u64) -> Self {
        let product = n.checked_mul(m).and_then(|product| i64::try_from(product).ok());
        Self { n, m, product: product.map(|product| product as f64) }
    }

    /// f/n − g/m, from the exact numerator f·m − g·n: right to a few units in the last place, also where they nearly agree.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "the difference is rounded here, once")]
    fn difference(&self, f: u64, g: u64) -> f64 {
        let Some(product) = self.product else { return self.wide_difference(f, g) };
        // No part is greater than its whole, so nothing overflows. Signed integers become doubles in one step.
        let difference = (f * self.m).cast_signed() - (g * self.n).cast_signed();
        difference as f64 / product
    }

    #[cold]
    #[expect(clippy::cast_precision_loss, reason = "the difference is rounded here, once")]
    fn wide_difference(&self, f: u64, g: u64) -> f64 {
        let (left, right) = (u128::from(f) * u128::from(self.m), u128::from(g) * u128::from(self.n));
        let share = left.abs_diff(right) as f64 / (u128::from(self.n) * u128::from(self.m)) as f64;
        if left < right { -share } else { share }
    }
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

//! Distances: certified where states are coarse, right where they are exact, and never falling along a mixture.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::drift::{self, ColumnDrift, DriftOptions};
use limno_metrics::profile::FrozenColumn;
use num_bigint::BigInt;
use proptest::{collection::vec, prelude::*};

use crate::values::{finite_numbers, limits, numbers, tame_numbers};

const NO_LIMIT: u32 = u32::MAX;

fn of_numbers(values: &[f64], limit: u32) -> FrozenColumn {
    let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let options = ColumnOptions { max_buckets: limit, ..ColumnOptions::new(ColumnKind::Numeric) };
    ColumnState::of(&array, &options).unwrap().freeze()
}

fn of_levels(levels: &[u32], limit: u32) -> FrozenColumn {
    let array: ArrayRef = Arc::new(StringArray::from_iter_values(levels.iter().map(|level| format!("level {level}"))));
    let options = ColumnOptions { max_buckets: limit, ..ColumnOptions::new(ColumnKind::Categorical) };
    ColumnState::of(&array, &options).unwrap().freeze()
}

fn compare(baseline: &FrozenColumn, current: &FrozenColumn) -> ColumnDrift {
    drift::compare(baseline, current, &DriftOptions::default()).unwrap()
}

/// How often each value occurs on either side, in order.
fn counts<T: Ord + Clone>(left: &[T], right: &[T]) -> Vec<(T, u64, u64)> {
    let mut counts: BTreeMap<T, (u64, u64)> = BTreeMap::new();
    left.iter().for_each(|value| counts.entry(value.clone()).or_default().0 += 1);
    right.iter().for_each(|value| counts.entry(value.clone()).or_default().1 += 1);
    counts.into_iter().map(|(value, (left, right))| (value, left, right)).collect()
}

/// A double with the order of numbers; −0.0 is 0.0.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl Number {
    fn all(values: &[f64]) -> Vec<Self> {
        values.iter().map(|value| Self(value + 0.0)).collect()
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn share(count: u64, total: u64) -> f64 {
    count as f64 / total as f64
}

/// sup|F − G| as a fraction of n·m, and ∫|F − G|.
fn plain_distances(left: &[f64], right: &[f64]) -> (f64, f64) {
    let (n, m) = (left.len() as u64, right.len() as u64);
    let (mut f, mut g, mut greatest, mut area, mut before) = (0, 0, 0, 0.0, None);
    for (Number(value), a, b) in counts(&Number::all(left), &Number::all(right)) {
        if let Some(before) = before {
            area += (share(f, n) - share(g, m)).abs() * (value - before);
        }
        (f, g, before) = (f + a, g + b, Some(value));
        greatest = greatest.max((f * m).abs_diff(g * n));
    }
    (share(greatest, n * m), area)
}

/// The bins of the baseline's deciles, as the definition has them, counted value by value.
fn plain_bins(left: &[f64], right: &[f64]) -> Vec<(u64, u64)> {
    let mut ordered = Number::all(left);
    ordered.sort_unstable();
    let n = ordered.len();
    let own: Vec<Number> = ordered.chunk_by(Number::eq).filter(|run| run.len() * 10 > n).map(|run| run[0]).collect();
    let mut edges: Vec<Number> = (1..10).map(|i| ordered[(i * n).div_ceil(10) - 1]).collect();
    edges.dedup();
    let mut bins = vec![(0, 0); edges.len() + 1 + own.len()];
    for (value, a, b) in counts(&Number::all(left), &Number::all(right)) {
        let index = match own.binary_search(&value) {
            Ok(index) => edges.len() + 1 + index,
            Err(_) => edges.partition_point(|edge| *edge < value),
        };
        bins[index].0 += a;
        bins[index].1 += b;
    }
    bins
}

fn shares(cells: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let (n, m) = cells.iter().fold((0, 0), |(n, m), cell| (n + cell.0, m + cell.1));
    cells.iter().map(|cell| (share(cell.0, n), share(cell.1, m))).collect()
}

fn plain_psi(cells: &[(u64, u64)]) -> f64 {
    let present = cells.iter().zip(shares(cells)).filter(|(cell, _)| **cell != (0, 0));
    present.map(|(_, (p, q))| (p.max(1e-4), q.max(1e-4))).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

fn plain_js(cells: &[(u64, u64)]) -> f64 {
    let half = |p: f64, q: f64| if p > 0.0 { p / 2.0 * (2.0 * p / (p + q)).log2() } else { 0.0 };
    shares(cells).into_iter().map(|(p, q)| half(p, q) + half(q, p)).sum::<f64>().max(0.0).sqrt()
}

fn plain_hellinger_squared(cells: &[(u64, u64)]) -> f64 {
    (1.0 - shares(cells).into_iter().map(|(p, q)| (p * q).sqrt()).sum::<f64>()).max(0.0)
}

fn plain_kl(cells: &[(u64, u64)]) -> f64 {
    let half = 0.5 / cells.iter().map(|cell| share(cell.0, 1)).sum::<f64>();
    let term = |(p, q): (f64, f64)| if q > 0.0 { q * (q / if p > 0.0 { p } else { half }).ln() } else { 0.0 };
    shares(cells).into_iter().map(term).sum::<f64>().max(0.0)
}

/// T by its definition, value by value.
fn plain_cramer_von_mises(left: &[f64], right: &[f64]) -> f64 {
    let (n, m) = (left.len() as u64, right.len() as u64);
    let (mut f, mut g, mut sum) = (0, 0, 0.0);
    for (_, a, b) in counts(&Number::all(left), &Number::all(right)) {
        (f, g) = (f + a, g + b);
        sum += share(a + b, 1) * share((f * m).abs_diff(g * n), n * m).powi(2);
    }
    share(n * m, (n + m) * (n + m)) * sum
}

/// A finite double in units of 2⁻¹⁰⁷⁴.
fn units(value: f64) -> BigInt {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    let magnitude =
        if exponent == 0 { BigInt::from(fraction) } else { BigInt::from(fraction | 1 << 52) << (exponent - 1) };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// n·m·W₁ in units of 2⁻¹⁰⁷⁴, without any rounding.
fn exact_wasserstein(left: &[f64], right: &[f64]) -> BigInt {
    let (n, m) = (left.len() as u64, right.len() as u64);
    let (mut f, mut g, mut area, mut before) = (0, 0, BigInt::from(0), None);
    for (Number(value), a, b) in counts(&Number::all(left), &Number::all(right)) {
        if let Some(before) = before {
            area += (units(value) - units(before)) * (f * m).abs_diff(g * n);
        }
        (f, g, before) = (f + a, g + b, Some(value));
    }
    area
}

/// Third moment and the second's, both around the mean and times nᵏ, without any rounding; in units of 2⁻¹⁰⁷⁴.
fn exact_moments(values: &[f64]) -> (BigInt, BigInt) {
    let n = BigInt::from(values.len());
    let sum: BigInt = values.iter().map(|&value| units(value)).sum();
    let deviations = values.iter().map(|&value| &n * units(value) - &sum);
    deviations.fold((BigInt::from(0), BigInt::from(0)), |(cubes, squares), deviation| {
        let square = &deviation * &deviation;
        (cubes + &square * deviation, squares + square)
    })
}

/// The ratio of two whole numbers, to some 60 bits.
fn ratio(numerator: &BigInt, denominator: &BigInt) -> f64 {
    let as_parts = |value: &BigInt| {
        let shift = value.bits().saturating_sub(62);
        let leading: i64 = (value >> shift).try_into().unwrap();
        (leading, i64::try_from(shift).unwrap())
    };
    let ((top, up), (bottom, down)) = (as_parts(numerator), as_parts(denominator));
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small exponents of near numbers")]
    let (quotient, power) = (top as f64 / bottom as f64, (up - down) as i32);
    quotient * 2f64.powi(power)
}

fn plain_tv(cells: &[(u64, u64)]) -> f64 {
    shares(cells).into_iter().map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
}

fn near(ours: Option<f64>, truth: f64, what: &str) -> Result<(), TestCaseError> {
    let ours = ours.ok_or_else(|| TestCaseError::fail(format!("no {what}")))?;
    // Distances near zero are differences of shares: their errors are absolute.
    prop_assert!((ours - truth).abs() <= 1e-9 * truth.abs() + 1e-12, "{what}: {ours}, not {truth}");
    Ok(())
}

/// The square root of the divergence amplifies what is lost near zero.
fn near_js(ours: Option<f64>, truth: f64) -> Result<(), TestCaseError> {
    near(ours.map(|js| js * js), truth * truth, "JS²")
}

/// λ·m values of `to` and the rest of `from`, each value of either with the weight that it has there.
fn mixture<T: Clone>(from: &[T], to: &[T], step: usize, steps: usize) -> Vec<T> {
    let repeat = |values: &[T], times: usize| -> Vec<T> {
        values.iter().flat_map(|value| std::iter::repeat_n(value.clone(), times)).collect()
    };
    [repeat(from, (steps - step) * to.len()), repeat(to, step * from.len())].concat()
}

const STEPS: usize = 5;

/// A distance and its name.
type Named = (&'static str, fn(&ColumnDrift) -> Option<f64>);

/// The distances of the mixtures from the baseline must not fall.
fn assert_rising(drifts: &[ColumnDrift], distances: &[Named]) -> Result<(), TestCaseError> {
    for (name, distance) in distances {
        for pair in drifts.windows(2) {
            let (before, after) = (distance(&pair[0]), distance(&pair[1]));
            let (Some(before), Some(after)) = (before, after) else {
                return Err(TestCaseError::fail(format!("no {name}")));
            };
            prop_assert!(after >= before - 1e-9 * before.abs() - 1e-12, "{name} falls from {before} to {after}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::cases(400))]

    /// The interval is certified, whatever the limits of the two sides.
    #[test]
    fn the_interval_holds_the_exact_distance(
        left in numbers(),
        right in numbers(),
        limits in (limits(), limits()),
        blend in 0..3u8,
    ) {
        // Pairs of one family share buckets, which is where it is hard.
        let right = match blend {
            0 => right,
            1 => left.iter().rev().step_by(2).map(|value| value * 1.0001 + 0.5).collect(),
            _ => left.iter().step_by(3).chain(right.iter().step_by(5)).copied().collect(),
        };
        prop_assume!(right.iter().all(|value| !value.is_nan()));
        let drift = compare(&of_numbers(&left, limits.0), &of_numbers(&right, limits.1));
        let Some(ks) = drift.ks else {
            prop_assert!(left.is_empty() || right.is_empty());
            return Ok(());
        };
        let (truth, _) = plain_distances(&left, &right);
        prop_assert!(ks.statistic <= truth + 1e-12 && truth <= ks.statistic + ks.error + 1e-12, "{truth} is not in {ks:?}");
        prop_assert!(drift.level != Some(0) || ks.error <= 0.0, "{ks:?}");
        prop_assert!((0.0..=1.0).contains(&ks.pvalue));
    }

    /// The exact distance lies within the bounds, and so does the one that is published.
    #[test]
    fn the_bounds_hold_the_exact_wasserstein_distance(
        left in prop_oneof![finite_numbers(), tame_numbers()],
        right in prop_oneof![finite_numbers(), tame_numbers()],
        limits in (limits(), limits()),
        blend in 0..4u8,
    ) {
        let right: Vec<f64> = match blend {
            0 => right,
            // All move the same way, where the means alone tell the distance.
            1 => left.iter().map(|value| value + value.abs() * 0.001 + 0.25).filter(|value| value.is_finite()).collect(),
            2 => left.iter().rev().step_by(2).map(|value| value * 1.0001 + 0.5).filter(|v| v.is_finite()).collect(),
            _ => left.iter().step_by(3).chain(right.iter().step_by(5)).copied().collect(),
        };
        let drift = compare(&of_numbers(&left, limits.0), &of_numbers(&right, limits.1));
        let Some(distance) = drift.wasserstein else { return Ok(()) };
        prop_assert!(distance.lower <= distance.value && distance.value <= distance.upper, "{distance:?}");
        let truth = exact_wasserstein(&left, &right);
        let pairs = BigInt::from(left.len()) * right.len();
        prop_assert!(units(distance.lower) * &pairs <= truth, "{distance:?}");
        prop_assert!(distance.upper.is_infinite() || truth <= units(distance.upper) * &pairs, "{distance:?}");
        let is_narrow = distance.upper.is_infinite() || distance.error() <= 1e-13 * distance.value + 1e-300;
        prop_assert!(drift.level != Some(0) || is_narrow, "{distance:?}");
    }

    #[test]
    fn the_bounds_hold_the_exact_cramer_von_mises(
        left in numbers(),
        right in numbers(),
        limits in (limits(), limits()),
        blend in any::<bool>(),
    ) {
        let right = if blend { left.iter().step_by(3).chain(right.iter().step_by(5)).copied().collect() } else { right };
        let drift = compare(&of_numbers(&left, limits.0), &of_numbers(&right, limits.1));
        let Some(test) = drift.cramer_von_mises else {
            prop_assert!(left.is_empty() || right.is_empty());
            return Ok(());
        };
        let (truth, bounds) = (plain_cramer_von_mises(&left, &right), test.statistic);
        let slack = 1e-11 * truth + 1e-14;
        prop_assert!(bounds.lower <= truth + slack && truth <= bounds.upper + slack, "{truth} is not in {bounds:?}");
        prop_assert!(drift.level != Some(0) || (bounds.value - truth).abs() <= slack, "{truth}, {bounds:?}");
        prop_assert!((0.0..=1.0).contains(&test.pvalue));
    }

    /// Skewness and quantiles within their published error.
    #[test]
    fn profiles_hold_their_certificates(values in prop_oneof![finite_numbers(), tame_numbers()], limit in limits()) {
        let profile = of_numbers(&values, limit).profile();
        if let Some(skewness) = profile.skewness {
            let (cubes, squares) = exact_moments(&values);
            let n = share(values.len() as u64, 1);
            // (Σd³)²/(Σd²)³·n is the square of the skewness.
            let truth = (ratio(&(&cubes * &cubes), &(&squares * &squares * &squares)) * n).sqrt();
            let truth = if cubes < BigInt::from(0) { -truth } else { truth };
            let slack = 1e-9 * truth.abs() + 1e-9;
            prop_assert!((skewness.value - truth).abs() <= skewness.error() + slack, "{truth}, {skewness:?}");
            prop_assert!(profile.level != Some(0) || skewness.error() <= 0.0);
        }
        let Some(quantiles) = profile.quantiles else { return Ok(()) };
        let mut ordered = Number::all(&values);
        ordered.sort_unstable();
        for (index, ours) in quantiles.iter().enumerate() {
            let Number(truth) = ordered[(index * ordered.len()).div_ceil(1000).max(1) - 1];
            let allowed = profile.quantile_error.unwrap() * truth.abs().max(f64::MIN_POSITIVE);
            prop_assert!((ours - truth).abs() <= allowed, "{ours}, not {truth}");
        }
    }

    #[test]
    fn exact_states_give_the_defined_numbers(left in tame_numbers(), right in tame_numbers()) {
        let drift = compare(&of_numbers(&left, NO_LIMIT), &of_numbers(&right, NO_LIMIT));
        let (ks, wasserstein) = plain_distances(&left, &right);
        let bins = plain_bins(&left, &right);
        prop_assert_eq!(drift.level, Some(0));
        near(drift.ks.map(|ks| ks.statistic), ks, "KS")?;
        near(drift.wasserstein.map(|distance| distance.value), wasserstein, "W₁")?;
        near(drift.psi, plain_psi(&bins), "PSI")?;
        near_js(drift.js, plain_js(&bins))?;
        near(drift.hellinger.map(|distance| distance * distance), plain_hellinger_squared(&bins), "Hellinger²")?;
        near(drift.kullback_leibler, plain_kl(&bins), "KL")?;
        let mut ordered = Number::all(&left);
        ordered.sort_unstable();
        let range = ordered[(ordered.len() * 3).div_ceil(4) - 1].0 - ordered[ordered.len().div_ceil(4) - 1].0;
        if range > 0.0 {
            near(drift.wasserstein_normalized, wasserstein / range, "W₁ by the interquartile range")?;
        } else {
            prop_assert_eq!(drift.wasserstein_normalized, None);
            prop_assert!(drift.reason.is_some());
        }
    }

    #[test]
    fn categories_give_the_defined_numbers(left in vec(0..60u32, 1..400), right in vec(0..90u32, 1..400)) {
        let drift = compare(&of_levels(&left, NO_LIMIT), &of_levels(&right, NO_LIMIT));
        let cells: Vec<(u64, u64)> = counts(&left, &right).into_iter().map(|(_, a, b)| (a, b)).collect();
        let (n, m) = (left.len() as u64, right.len() as u64);
        let statistic: f64 = cells
            .iter()
            .flat_map(|&(a, b)| [(a, share((a + b) * n, n + m)), (b, share((a + b) * m, n + m))])
            .map(|(seen, expected)| (share(seen, 1) - expected).powi(2) / expected)
            .sum();
        let unseen: u64 = cells.iter().filter(|cell| cell.0 == 0).map(|cell| cell.1).sum();
        near(drift.tv, plain_tv(&cells), "TV")?;
        near(drift.l_infinity, shares(&cells).iter().map(|(p, q)| (p - q).abs()).fold(0.0, f64::max), "L∞")?;
        near(drift.psi, plain_psi(&cells), "PSI")?;
        near_js(drift.js, plain_js(&cells))?;
        near(drift.hellinger.map(|distance| distance * distance), plain_hellinger_squared(&cells), "Hellinger²")?;
        near(drift.kullback_leibler, plain_kl(&cells), "KL")?;
        near(drift.cramers_v.map(|v| v * v), statistic / share(n + m, 1), "V²")?;
        near(drift.unseen_share, share(unseen, m), "unseen share")?;
        near(drift.chi_squared.map(|test| test.statistic), statistic, "χ²")?;
    }

    /// Of too many categories, total variation, Jensen–Shannon and Hellinger are lower bounds.
    #[test]
    fn coarse_categories_give_lower_bounds(
        left in vec(0..3000u32, 1..1500),
        right in vec(0..4000u32, 1..1500),
        limits in (limits(), limits()),
    ) {
        let drift = compare(&of_levels(&left, limits.0), &of_levels(&right, limits.1));
        let cells: Vec<(u64, u64)> = counts(&left, &right).into_iter().map(|(_, a, b)| (a, b)).collect();
        let (tv, js) = (drift.tv.unwrap(), drift.js.unwrap());
        prop_assert!(tv <= plain_tv(&cells) + 1e-9, "{tv} of {}", plain_tv(&cells));
        prop_assert!(js <= plain_js(&cells) + 1e-6, "{js} of {}", plain_js(&cells));
        let hellinger = drift.hellinger.unwrap();
        prop_assert!(hellinger.powi(2) <= plain_hellinger_squared(&cells) + 1e-9, "{hellinger}");
        if drift.is_approximate == Some(false) {
            near(drift.tv, plain_tv(&cells), "TV")?;
        }
    }

    /// Along the mixture (1 − λ)P + λQ at fixed size no distance falls as λ grows.
    #[test]
    fn mixtures_of_numbers(from in vec(-20..20i32, 1..30), to in vec(-30..60i32, 1..30), scale in 1..1000u32) {
        let number = |values: &[i32]| -> Vec<f64> {
            values.iter().map(|&value| f64::from(value) / 3.0 * f64::from(scale)).collect()
        };
        let (from, to) = (number(&from), number(&to));
        let baseline = of_numbers(&mixture(&from, &to, 0, STEPS), NO_LIMIT);
        let drifts: Vec<ColumnDrift> =
            (0..=STEPS).map(|step| compare(&baseline, &of_numbers(&mixture(&from, &to, step, STEPS), NO_LIMIT))).collect();
        assert_rising(&drifts, &[
            ("KS", |drift| drift.ks.map(|ks| ks.statistic)),
            ("W₁", |drift| drift.wasserstein.map(|distance| distance.value)),
            ("the lower bound of W₁", |drift| drift.wasserstein.map(|distance| distance.lower)),
            ("T", |drift| drift.cramer_von_mises.map(|test| test.statistic.value)),
            ("PSI", |drift| drift.psi),
            ("JS", |drift| drift.js.map(|js| js * js)),
            ("Hellinger", |drift| drift.hellinger.map(|distance| distance * distance)),
            ("KL", |drift| drift.kullback_leibler),
        ])?;
        prop_assert!(drifts.windows(2).all(|pair| pair[1].ks.unwrap().pvalue <= pair[0].ks.unwrap().pvalue * (1.0 + 1e-9)));
    }

    /// The same of coarse states, while the set of values stays the same (λ below 1), and so the level.
    #[test]
    fn mixtures_of_many_numbers(
        from in vec(0..100_000u32, 20..60),
        to in vec(0..200_000u32, 20..60),
        limit in prop::sample::select(vec![16u32, 20]),
    ) {
        let number = |values: &[u32]| -> Vec<f64> { values.iter().map(|&value| f64::from(value) * 0.37 + 50.0).collect() };
        let (from, to) = (number(&from), number(&to));
        let baseline = of_numbers(&mixture(&from, &to, 0, STEPS), limit);
        let drifts: Vec<ColumnDrift> =
            (1..STEPS).map(|step| compare(&baseline, &of_numbers(&mixture(&from, &to, step, STEPS), limit))).collect();
        assert_rising(&drifts, &[
            ("KS", |drift| drift.ks.map(|ks| ks.statistic)),
            ("W₁", |drift| drift.wasserstein.map(|distance| distance.value)),
            ("the lower bound of W₁", |drift| drift.wasserstein.map(|distance| distance.lower)),
            ("T", |drift| drift.cramer_von_mises.map(|test| test.statistic.value)),
            ("PSI", |drift| drift.psi),
            ("JS", |drift| drift.js.map(|js| js * js)),
            ("Hellinger", |drift| drift.hellinger.map(|distance| distance * distance)),
            ("KL", |drift| drift.kullback_leibler),
        ])?;
    }

    #[test]
    fn mixtures_of_categories(
        from in vec(0..40u32, 1..25),
        to in vec(0..60u32, 1..25),
        limit in prop::sample::select(vec![16u32, NO_LIMIT]),
    ) {
        let baseline = of_levels(&mixture(&from, &to, 0, STEPS), limit);
        // With a limit, the set of levels must stay the same for the partition to stay the same.
        let last = if limit == NO_LIMIT { STEPS } else { STEPS - 1 };
        let drifts: Vec<ColumnDrift> =
            (1..=last).map(|step| compare(&baseline, &of_levels(&mixture(&from, &to, step, STEPS), limit))).collect();
        assert_rising(&drifts, &[
            ("TV", |drift| drift.tv),
            ("L∞", |drift| drift.l_infinity),
            ("JS", |drift| drift.js.map(|js| js * js)),
            ("PSI", |drift| drift.psi),
            ("χ²", |drift| drift.chi_squared.map(|test| test.statistic)),
            ("V", |drift| drift.cramers_v.map(|v| v * v)),
            ("Hellinger", |drift| drift.hellinger.map(|distance| distance * distance)),
            ("KL", |drift| drift.kullback_leibler),
        ])?;
    }

    /// A distance is a number or absent, also of columns from one end of the doubles to the other.
    #[test]
    fn distances_are_numbers_or_absent(left in numbers(), right in numbers(), limit in limits()) {
        let drift = compare(&of_numbers(&left, limit), &of_numbers(&right, limit));
        let w = drift.wasserstein;
        let t = drift.cramer_von_mises;
        let all = [
            w.map(|distance| distance.value),
            w.map(|distance| distance.lower),
            drift.wasserstein_normalized,
            t.map(|test| test.statistic.value),
            t.map(|test| test.statistic.upper),
            t.map(|test| test.pvalue),
            drift.psi,
            drift.psi_pvalue,
            drift.psi_critical_value,
            drift.js,
            drift.hellinger,
            drift.kullback_leibler,
            drift.ks.map(|ks| ks.pvalue),
            drift.ks_critical_value,
        ];
        prop_assert!(all.into_iter().flatten().all(|distance| distance.is_finite() && distance >= 0.0), "{all:?}");
        let bounded = [drift.hellinger, drift.psi_pvalue, t.map(|test| test.pvalue)];
        prop_assert!(bounded.into_iter().flatten().all(|number| number <= 1.0), "{bounded:?}");
    }

    /// A side against itself has not moved.
    #[test]
    fn nothing_moves_from_itself(values in numbers(), limit in limits()) {
        let column = of_numbers(&values, limit);
        let drift = compare(&column, &column);
        let distances = [
            drift.psi,
            drift.js,
            drift.hellinger,
            drift.kullback_leibler,
            drift.ks.map(|ks| ks.statistic),
            drift.wasserstein.map(|distance| distance.value),
            drift.wasserstein.map(|distance| distance.lower),
            drift.wasserstein_normalized,
            drift.cramer_von_mises.map(|test| test.statistic.value),
        ];
        prop_assert!(drift.psi_pvalue.is_none_or(|pvalue| pvalue > 0.999_999), "{drift:?}");
        for distance in distances.into_iter().flatten() {
            prop_assert!(distance <= 1e-9, "{drift:?}");
        }
    }
}

/// Between neighbours further apart than the greatest double, the area cannot be told; it must not become NaN.
#[test]
fn from_one_end_of_the_doubles_to_the_other() {
    let ends = [f64::MIN, f64::MAX];
    for (left, right) in [(&ends[..], &ends[..]), (&ends[..1], &ends[1..]), (&ends[..], &ends[1..])] {
        let drift = compare(&of_numbers(left, 16), &of_numbers(right, 16));
        assert!(drift.wasserstein.is_none_or(|distance| distance.value.is_finite()), "{left:?} {right:?}: {drift:?}");
        assert!(drift.wasserstein.is_some() || drift.reason.is_some(), "{left:?} {right:?}: {drift:?}");
    }
}

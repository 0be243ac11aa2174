//! `limno compare` against numbers of scipy, numpy and exact arithmetic.
//!
//! The files and the numbers lie in `fixtures/golden`, with the scripts that made them and the definitions. Larger
//! tables, whose distributions do not fit in 4,096 buckets, are generated here and compared with plain sorting.
#![cfg(test)]

use std::{cmp::Ordering, sync::Arc};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use limno_fixtures::{Shift, SplitMix64, columns};

use crate::support::{Json, compare, golden, golden_json, write_parquet};

/// Where a sum of a few thousand terms in doubles may end.
const RELATIVE: f64 = 1e-6;
/// Of more bins than this, the worst are written.
const WRITTEN_BINS: usize = 20;

#[test]
fn mixed_columns_bounded() {
    assert_golden(&[]);
}

#[test]
fn mixed_columns_exact() {
    assert_golden(&["--precision", "exact"]);
}

fn assert_golden(flags: &[&str]) {
    let truth = golden_json("mixed.json");
    let file = |side: &str| golden(truth.at(side).as_str().expect("a file"));
    let rows = compare(&file("reference"), &file("current"), flags);
    let columns = truth.at("columns").members();
    assert_eq!(rows.0.len(), columns.len());
    for (name, column) in columns {
        let row = rows.column(name);
        for side in ["reference", "current"] {
            assert_profile(&format!("{name}, {side}"), row.at(side), column.at(side));
        }
        assert_drift(name, row, column.at("drift"));
    }
}

/// Counts, extrema, quantiles and distinct values are equal; means and deviations to the bit.
fn assert_profile(of: &str, ours: &Json, truth: &Json) {
    // Nothing in these files is large enough to be approximate.
    assert!(matches!(ours.at("level").as_f64(), None | Some(0.0)), "{of}");
    let equal = [
        "count",
        "num_nulls",
        "num_nan",
        "num_infinite",
        "num_zeros",
        "min",
        "max",
        "distinct_count",
        "avg",
        "stddev",
        "min_length",
        "max_length",
        "avg_length",
    ];
    for name in equal {
        assert_equal(&format!("{of}: {name}"), ours.at(name), truth.at(name));
    }
    for name in ["avg", "stddev", "avg_length"] {
        // The bits are written apart, in case a reader of the decimal number is careless: ours must not be.
        let bits = ours.at(name).as_f64().map(|value| format!("{:#018x}", value.to_bits()));
        assert_eq!(bits.as_deref(), truth.at(&format!("{name}_bits")).as_str(), "{of}: {name}");
    }
    let (skewness, truth_of) = (ours.at("skewness").as_f64(), truth.at("skewness").as_f64());
    assert_eq!(skewness.is_some(), truth_of.is_some(), "{of}: skewness");
    if let (Some(skewness), Some(truth)) = (skewness, truth_of) {
        assert!((skewness - truth).abs() <= 1e-9 * truth.abs() + 1e-12, "{of}: skewness {skewness}, not {truth}");
        assert!(ours.number("skewness_error").abs() <= 0.0, "{of}: level 0 leaves no doubt");
    }
    let quantiles = ours.at("quantiles").items();
    if truth.at("quantiles").members().is_empty() {
        assert!(quantiles.is_empty(), "{of}");
    }
    for (permille, quantile) in truth.at("quantiles").members() {
        assert_eq!(quantiles.len(), 1001, "{of}");
        let index: usize = permille.parse().expect("an index");
        assert_equal(&format!("{of}: quantile {permille}"), &quantiles[index], quantile);
    }
    assert_eq!(ours.at("distinct_is_exact"), &Json::Bool(true), "{of}");
}

/// Distances within their published error, or to rounding where there is none.
fn assert_drift(of: &str, row: &Json, truth: &Json) {
    let numbers = [
        ("ks_test.pvalue", "ks_pvalue"),
        ("cramer_von_mises_test.statistic", "cramer_von_mises_statistic"),
        ("wasserstein_normalized", "wasserstein_normalized"),
        ("psi_pvalue", "psi_pvalue"),
        ("psi_critical_value", "psi_critical_value"),
        ("hellinger_distance", "hellinger_distance"),
        ("kl_divergence", "kl_divergence"),
        ("cramers_v", "cramers_v"),
        ("wasserstein_distance", "wasserstein_distance"),
        ("population_stability_index", "population_stability_index"),
        ("jensen_shannon_distance", "jensen_shannon_distance"),
        ("chi_squared_test.statistic", "chi_squared_statistic"),
        ("chi_squared_test.pvalue", "chi_squared_pvalue"),
        ("cramer_von_mises_test.pvalue", "cramer_von_mises_pvalue"),
        ("ks_critical_value", "ks_critical_value"),
        ("tv_distance", "tv_distance"),
        ("l_infinity_distance", "l_infinity_distance"),
        ("unseen_share", "unseen_share"),
    ];
    for (name, theirs) in numbers {
        let (ours, truth) = (row.at(name).as_f64(), truth.at(theirs).as_f64());
        assert_eq!(ours.is_some(), truth.is_some(), "{of}: {name}");
        if let (Some(ours), Some(truth)) = (ours, truth) {
            assert_close(&format!("{of}: {name}"), ours, truth, RELATIVE);
        }
    }
    if let Some(distance) = truth.at("wasserstein_distance").as_f64() {
        let (lower, upper) = (row.number("wasserstein_lower"), row.number("wasserstein_upper"));
        let doubt = RELATIVE * distance + f64::MIN_POSITIVE;
        assert!(lower <= distance + doubt && distance <= upper + doubt, "{of}: {distance}, [{lower}, {upper}]");
        assert!(upper - lower <= 1e-12 * distance + f64::MIN_POSITIVE * 8.0, "{of}: level 0 leaves no doubt");
    }
    let statistic = row.at("ks_test.statistic").as_f64();
    assert_eq!(statistic.is_some(), truth.at("ks_statistic").as_f64().is_some(), "{of}");
    if let Some(statistic) = statistic {
        assert_equal(&format!("{of}: level"), row.at("level"), &Json::Number("0".to_owned()));
        let distance = (statistic - truth.number("ks_statistic")).abs();
        assert!(distance <= row.number("ks_error") + 1e-12, "{of}: off by {distance}");
        assert!(row.number("ks_error").abs() <= 0.0, "{of}: level 0 leaves no doubt");
    }
    // The compatible column has categories only.
    let js =
        if truth.at("kind").as_str() == Some("categorical") { row.at("jensen_shannon_distance") } else { &Json::Null };
    assert_equal(&format!("{of}: js_distance"), row.at("js_distance"), js);
    if let Some(psi) = row.at("population_stability_index").as_f64() {
        let bins = row.at("psi_bins").items();
        let parts: f64 = bins.iter().map(|bin| bin.number("contribution")).sum();
        let is_sum = (parts - psi).abs() <= 1e-12 * psi.max(1.0);
        assert!(is_sum || (bins.len() == WRITTEN_BINS && parts < psi), "{of}: {parts} of {psi}");
    }
}

/// Equal numbers, bit by bit but for the sign of zero. JSON has no infinities: ours are null.
fn assert_equal(of: &str, ours: &Json, truth: &Json) {
    let truth = truth.as_f64().filter(|number| number.is_finite());
    assert_eq!(
        ours.as_f64().map(|number| (number + 0.0).to_bits()),
        truth.map(|number| (number + 0.0).to_bits()),
        "{of}: {ours:?}, not {truth:?}"
    );
}

fn assert_close(of: &str, ours: f64, truth: f64, relative: f64) {
    assert!((ours - truth).abs() <= relative * truth.abs() + f64::MIN_POSITIVE, "{of}: {ours}, not {truth}");
}

const ROWS: usize = 200_000;
/// The widest certified interval of a smooth column.
const WIDEST: f64 = 0.003;

/// Columns that do not fit in the buckets: smooth ones over many scales, across zero, far from zero, and with ties.
fn large(seed: u64, shift: f64) -> RecordBatch {
    let root = SplitMix64::new(seed);
    let shifts = [Shift::Mean(shift)];
    let normal = |name: &str, centre, spread| columns::normal(&root.stream(name), ROWS, centre, spread, &shifts);
    let columns: [(&str, ArrayRef); 6] = [
        ("normal", Arc::new(normal("normal", 10.0, 2.0))),
        ("across_zero", Arc::new(normal("across_zero", 0.0, 1.0))),
        ("lognormal", Arc::new(columns::log_normal(&root.stream("lognormal"), ROWS, 0.0, 2.0, &shifts))),
        ("thousandths", Arc::new(normal("thousandths", 5.0, 3.0).unary::<_, Float64Type>(|x| (x * 1e3).round() / 1e3))),
        // Spikes of equal values in a smooth neighbourhood.
        ("zeros", Arc::new(columns::zero_inflated(&root.stream("zeros"), ROWS, 0.6, &[Shift::Mean(shift / 4.0)]))),
        ("epoch", Arc::new(normal("epoch", 1.7e9, 2.6e6).unary::<_, Int64Type>(whole))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch")]
fn whole(value: f64) -> i64 {
    value as i64
}

#[test]
fn large_columns_hold_their_certificates() {
    let dir = tempfile::tempdir().expect("a folder");
    let tables = [large(1, 0.0), large(2, 0.03)];
    let files = ["reference.parquet", "current.parquet"].map(|name| dir.path().join(name));
    for (file, table) in files.iter().zip(&tables) {
        write_parquet(file, table);
    }
    let bounded = compare(&files[0], &files[1], &[]);
    let exact = compare(&files[0], &files[1], &["--precision", "exact"]);
    for name in tables[0].schema().fields().iter().map(|field| field.name()) {
        let sides = tables.each_ref().map(|table| Sorted::of(&table[name.as_str()]));
        let truth = sides[0].distance(&sides[1]);
        let (coarse, fine) = (bounded.column(name), exact.column(name));
        assert!(coarse.number("level") > 0.0, "{name}: this test is about what does not fit");
        let (statistic, error) = (coarse.number("ks_test.statistic"), coarse.number("ks_error"));
        assert!(
            statistic <= truth + 1e-12 && truth <= statistic + error + 1e-12,
            "{name}: {truth} is not in {statistic} + {error}"
        );
        assert!(error <= WIDEST, "{name}: {error}");
        assert!(truth - statistic <= 2e-4, "{name}: {statistic} of {truth}");
        assert!(fine.number("level").abs() <= 0.0 && fine.number("ks_error").abs() <= 0.0, "{name}");
        assert_close(name, fine.number("ks_test.statistic"), truth, 1e-12);
        for (side, sorted) in ["reference", "current"].into_iter().zip(&sides) {
            let distinct = format!("{side}.distinct_count");
            for row in [coarse, fine] {
                assert_close(name, row.number(&distinct), sorted.distinct(), 0.0);
                assert_eq!(row.at(&format!("{side}.distinct_is_exact")), &Json::Bool(true), "{name}");
            }
            let [skewness, truth] = [coarse, fine].map(|row| row.number(&format!("{side}.skewness")));
            let error = coarse.number(&format!("{side}.skewness_error"));
            assert!((skewness - truth).abs() <= error + 1e-9, "{name}: skewness {skewness} ± {error}, exact {truth}");
            assert!((skewness - truth).abs() <= 0.01 * truth.abs() + 1e-3, "{name}: skewness {skewness} of {truth}");
            // What does not come from the histogram is the same, bit for bit.
            for same in ["count", "min", "max", "avg", "stddev", "num_zeros"].map(|number| format!("{side}.{number}")) {
                assert_eq!(coarse.at(&same), fine.at(&same), "{name}: {same}");
            }
        }
        for (lower, upper, number) in [
            ("wasserstein_lower", "wasserstein_upper", "wasserstein_distance"),
            ("cramer_von_mises_lower", "cramer_von_mises_upper", "cramer_von_mises_test.statistic"),
        ] {
            let (lower, upper, truth) = (coarse.number(lower), coarse.number(upper), fine.number(number));
            assert!(
                lower <= truth * (1.0 + 1e-9) && truth <= upper * (1.0 + 1e-9),
                "{name}: {truth}, [{lower}, {upper}]"
            );
        }
        // Bins cut at bucket edges are a hair off the ideal quantiles, and within a bucket values are spread evenly.
        for near in [
            "population_stability_index",
            "wasserstein_distance",
            "wasserstein_normalized",
            "jensen_shannon_distance",
            "hellinger_distance",
            "kl_divergence",
            "cramer_von_mises_test.statistic",
        ] {
            let (ours, truth) = (coarse.number(near), fine.number(near));
            assert!((ours - truth).abs() <= 0.02 * truth + 1e-6, "{name}: {near} {ours}, exact {truth}");
        }
    }
}

/// A column by plain sorting.
struct Sorted(Vec<f64>);

impl Sorted {
    fn of(array: &ArrayRef) -> Self {
        let mut values = match array.as_primitive_opt::<Float64Type>() {
            Some(values) => values.values().to_vec(),
            None => array.as_primitive::<Int64Type>().unary::<_, Float64Type>(as_double).values().to_vec(),
        };
        // −0.0 and 0.0 are one value.
        values.iter_mut().for_each(|value| *value += 0.0);
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    fn distinct(&self) -> f64 {
        let count = self.0.chunk_by(|a, b| a.total_cmp(b) == Ordering::Equal).count();
        count as f64
    }

    /// sup|F − G|, the counts compared as integers.
    fn distance(&self, other: &Self) -> f64 {
        let (n, m) = (self.0.len(), other.0.len());
        let (mut i, mut j, mut greatest) = (0, 0, 0);
        while i < n && j < m {
            let value = self.0[i].min(other.0[j]);
            i += self.0[i..].iter().take_while(|x| x.total_cmp(&value) == Ordering::Equal).count();
            j += other.0[j..].iter().take_while(|x| x.total_cmp(&value) == Ordering::Equal).count();
            greatest = greatest.max((i * m).abs_diff(j * n));
        }
        greatest as f64 / (n * m) as f64
    }
}

fn as_double(value: i64) -> f64 {
    value as f64
}

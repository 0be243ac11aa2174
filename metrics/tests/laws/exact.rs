//! What single states answer, against arithmetic in whole numbers and plain sorting.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::state::{Bucket, Categories, ExactSums, Histogram, Lengths};
use num_bigint::{BigInt, BigUint, Sign};
use proptest::prelude::*;

use crate::values::{finite_numbers, integers, limits, numbers, strings};

/// A finite double in units of 2⁻¹⁰⁷⁴; an infinite one as 2¹⁰²⁴, whose lower neighbour is the greatest double.
fn units(value: f64) -> BigInt {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    let magnitude =
        if exponent == 0 { BigUint::from(fraction) } else { BigUint::from(fraction | 1 << 52) << (exponent - 1) };
    BigInt::from_biguint(if value < 0.0 { Sign::Minus } else { Sign::Plus }, magnitude)
}

/// Twice the middles between `rounded` and its neighbours, in units of 2⁻¹⁰⁷⁴.
fn middles(rounded: f64) -> (BigInt, BigInt) {
    (units(rounded) + units(rounded.next_down()), units(rounded) + units(rounded.next_up()))
}

/// Whether `rounded` is the double nearest to something that lies so to its two middles, the even one of a tie.
fn is_nearest(rounded: f64, to_lower: std::cmp::Ordering, to_upper: std::cmp::Ordering) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let is_even = rounded.to_bits() & 1 == 0;
    let above = to_lower == Greater || (to_lower == Equal && is_even);
    let below = to_upper == Less || (to_upper == Equal && is_even);
    above && (below || rounded.is_infinite())
}

/// Σx and Σx² as whole numbers.
fn whole_sums(values: &[f64]) -> (BigInt, BigInt) {
    values.iter().fold((BigInt::from(0), BigInt::from(0)), |(sum, squares), &value| {
        let value = units(value);
        let square = &value * &value;
        (sum + value, squares + square)
    })
}

fn key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|value| value + 0.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

proptest! {
    #![proptest_config(crate::cases(600))]

    #[test]
    fn moments_are_rounded_once(values in finite_numbers()) {
        let mut state = ExactSums::default();
        state.observe_slice(&values);
        let (sum, squares) = whole_sums(&values);
        let n = BigInt::from(values.len());
        prop_assert_eq!(state.count(), values.len() as u64);
        prop_assert_eq!(state.mean().is_some(), !values.is_empty());
        if let Some(mean) = state.mean() {
            let (lower, upper) = middles(mean);
            let twice: BigInt = &sum * 2;
            prop_assert!(is_nearest(mean, twice.cmp(&(lower * &n)), twice.cmp(&(upper * &n))), "mean {mean:e}");
        }
        prop_assert_eq!(state.variance().is_some(), values.len() > 1);
        if let (Some(variance), Some(deviation)) = (state.variance(), state.standard_deviation()) {
            // Both over n(n − 1), in units of 2⁻²¹⁴⁸.
            let spread = &n * squares - &sum * &sum;
            let denominator = &n * (&n - 1);
            let (lower, upper) = middles(variance);
            let scaled: BigInt = &spread * 2;
            let unit = 1074u32;
            prop_assert!(
                is_nearest(
                    variance,
                    scaled.cmp(&((lower << unit) * &denominator)),
                    scaled.cmp(&((upper << unit) * &denominator))
                ),
                "variance {variance:e}"
            );
            let (lower, upper) = middles(deviation);
            let scaled: BigInt = spread * 4;
            // The middle below zero is negative and must not become positive by its square.
            let square = |middle: BigInt| if middle.sign() == Sign::Minus { -(&middle * &middle) } else { &middle * &middle };
            prop_assert!(
                is_nearest(
                    deviation,
                    scaled.cmp(&(square(lower) * &denominator)),
                    scaled.cmp(&(square(upper) * &denominator))
                ),
                "standard deviation {deviation:e}"
            );
        }
    }

    #[test]
    fn lengths_are_exact(values in proptest::collection::vec((0..1u64 << 50, 1..1u64 << 40), 1..60)) {
        let mut state = Lengths::default();
        values.iter().for_each(|&(length, times)| state.observe(length, times));
        prop_assert_eq!(state.min(), values.iter().map(|value| value.0).min());
        prop_assert_eq!(state.max(), values.iter().map(|value| value.0).max());
        let total: BigInt = values.iter().map(|&(length, times)| BigInt::from(length) * times).sum();
        let count: BigInt = values.iter().map(|value| BigInt::from(value.1)).sum();
        let mean = state.mean().unwrap();
        let (lower, upper) = middles(mean);
        let twice: BigInt = (total << 1074u32) * 2;
        prop_assert!(is_nearest(mean, twice.cmp(&(lower * &count)), twice.cmp(&(upper * &count))));
    }

    #[test]
    fn buckets_are_those_of_the_least_level_that_fits(values in numbers(), limit in limits()) {
        let mut state = Histogram::empty(limit);
        values.iter().for_each(|&value| state.observe(value));
        let occupied = |level: u8| values.iter().map(|&value| key(value) >> level).collect::<HashSet<u64>>().len();
        let level = (0..64).find(|&level| occupied(level) <= limit as usize).unwrap();
        let mut naive: BTreeMap<u64, (u64, f64, f64)> = BTreeMap::new();
        for value in sorted(&values) {
            let (count, _, greatest) = naive.entry(key(value) >> level).or_insert((0, value, value));
            *count += 1;
            *greatest = value;
        }
        let buckets = state.buckets();
        prop_assert_eq!((buckets.level(), buckets.total()), (level, values.len() as u64));
        prop_assert_eq!(state.is_exact(), level == 0);
        prop_assert_eq!(buckets.as_slice().len(), naive.len());
        for (bucket, (cell, (count, least, greatest))) in buckets.as_slice().iter().zip(&naive) {
            prop_assert_eq!((bucket.cell, bucket.count), (*cell, *count));
            // An atom is its value; other buckets hold theirs, and end where their cell does.
            let is_atom = least.total_cmp(greatest).is_eq();
            prop_assert_eq!(bucket.is_atom(), is_atom);
            let (lower, upper) = (bucket.least(), bucket.greatest());
            prop_assert!(lower <= *least && *greatest <= upper, "{bucket:?} of {least}..{greatest}");
            prop_assert!(!is_atom || (lower.total_cmp(least).is_eq() && upper.total_cmp(greatest).is_eq()));
            prop_assert!(is_atom || [least, greatest].into_iter().all(|&end| key(end) >> level == *cell));
        }
        // The ends of the whole are known.
        let ends = |first: Option<f64>, last: Option<f64>| (first.map(f64::to_bits), last.map(f64::to_bits));
        let ours = ends(buckets.as_slice().first().map(Bucket::least), buckets.as_slice().last().map(Bucket::greatest));
        let ordered = sorted(&values);
        prop_assert_eq!(ours, ends(ordered.first().copied(), ordered.last().copied()));
        prop_assert_eq!(ours, ends(state.min(), state.max()));
    }

    /// Exact at level 0; above it, in the bucket of the true one.
    #[test]
    fn quantiles_are_of_the_right_rank(values in numbers(), limit in limits(), points in 2..40u32) {
        let mut state = Histogram::empty(limit);
        values.iter().for_each(|&value| state.observe(value));
        let buckets = state.buckets();
        let Some(quantiles) = buckets.quantiles(points) else {
            prop_assert!(values.is_empty());
            return Ok(());
        };
        prop_assert_eq!(quantiles.len(), points as usize);
        prop_assert!(quantiles.is_sorted_by(|a, b| a <= b), "{quantiles:?}");
        let ordered = sorted(&values);
        for (i, &ours) in quantiles.iter().enumerate() {
            let truth = ordered[(i * ordered.len()).div_ceil(points as usize - 1).max(1) - 1];
            let bucket = buckets.as_slice().iter().find(|b| b.cell == key(truth) >> buckets.level()).unwrap();
            prop_assert!(bucket.least() <= ours && ours <= bucket.greatest(), "{ours} for {truth}");
            prop_assert!(buckets.level() > 0 || ours.total_cmp(&truth).is_eq(), "{ours} for {truth}");
        }
    }

    /// Also where doubles do not tell integers apart, whichever batch brought the first such one.
    #[test]
    fn distinct_integers(values in integers(), limit in limits(), batch in 1..300usize) {
        let options = ColumnOptions { max_buckets: limit, ..ColumnOptions::new(ColumnKind::Numeric) };
        let mut state = ColumnState::empty(&options.with_exact_distinct());
        for batch in values.chunks(batch) {
            state.observe(&Int64Array::from(batch.to_vec()))?;
        }
        let profile = state.freeze().profile();
        let truth = values.iter().collect::<HashSet<_>>().len() as u64;
        prop_assert_eq!((profile.distinct_count, profile.distinct_is_exact), (Some(truth), Some(true)));
        prop_assert_eq!(profile.num_zeros, Some(values.iter().filter(|value| **value == 0).count() as u64));
    }

    #[test]
    fn distinct_numbers(values in numbers(), limit in limits()) {
        let array: ArrayRef = Arc::new(Float64Array::from(values.clone()));
        let truth = values.iter().map(|&value| key(value)).collect::<HashSet<_>>().len() as u64;
        let options = ColumnOptions { max_buckets: limit, ..ColumnOptions::new(ColumnKind::Numeric) };
        let exact = ColumnState::of(&array, &options.with_exact_distinct())?.freeze().profile();
        prop_assert_eq!((exact.distinct_count, exact.distinct_is_exact), (Some(truth), Some(true)));
        let bounded = ColumnState::of(&array, &ColumnOptions { exact_distinct: 16, ..options })?.freeze().profile();
        let count = bounded.distinct_count.unwrap();
        if bounded.distinct_is_exact == Some(true) {
            prop_assert_eq!(count, truth);
        } else {
            // Few values leave most registers empty, where the estimate is as good as a hash table's.
            prop_assert!(count.abs_diff(truth) * 20 <= truth.max(60), "{count} of {truth}");
        }
    }

    /// What is listed are the most frequent ones, with their counts, none left out.
    #[test]
    fn frequent_items_are_the_most_frequent(values in strings(), limit in prop_oneof![Just(1u32), limits()], top in 1..12usize) {
        let mut state = Categories::empty(limit, 0);
        values.iter().for_each(|value| state.observe(value.as_bytes(), None, 1));
        let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
        values.iter().for_each(|value| *counts.entry(value.as_bytes()).or_insert(0) += 1);
        let mut ordered: Vec<(&[u8], u64)> = counts.iter().map(|(&value, &count)| (value, count)).collect();
        ordered.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let items = state.frequent_items(top);
        prop_assert!(items.len() <= top);
        prop_assert!(!state.is_exact() || items.len() == top.min(ordered.len()));
        for (item, truth) in items.iter().zip(&ordered) {
            prop_assert_eq!((&item.value[..], item.count), *truth);
        }
        prop_assert_eq!(state.is_exact(), counts.len() <= limit as usize);
        prop_assert_eq!(state.distinct(), (counts.len() as u64, counts.len() <= 4096));
    }

    #[test]
    fn counts_and_extrema(values in numbers(), nan in 0..5usize, nulls in 0..5usize) {
        let missing = std::iter::repeat_n(None, nulls).chain(std::iter::repeat_n(Some(f64::NAN), nan));
        let array: Float64Array = values.iter().copied().map(Some).chain(missing).collect();
        let mut state = ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric));
        state.observe(&array)?;
        let (frozen, ordered) = (state.freeze(), sorted(&values));
        let profile = frozen.profile();
        let infinite = values.iter().filter(|value| value.is_infinite()).count() as u64;
        prop_assert_eq!(profile.count, array.values().len() as u64);
        prop_assert_eq!((profile.num_nulls, profile.num_nan), (nulls as u64, Some(nan as u64)));
        prop_assert_eq!(profile.num_infinite, Some(infinite));
        prop_assert_eq!((profile.min, profile.max), (ordered.first().copied(), ordered.last().copied()));
        prop_assert_eq!(profile.avg.is_some(), infinite == 0 && !values.is_empty());
        prop_assert!(infinite == 0 || profile.reason.is_some());
    }

    #[test]
    fn string_lengths_are_in_characters(values in strings()) {
        let mut state = ColumnState::empty(&ColumnOptions::new(ColumnKind::Categorical));
        state.observe(&StringArray::from(values.clone()))?;
        let profile = state.freeze().profile();
        let lengths = || values.iter().map(|value| u32::try_from(value.chars().count()).unwrap());
        prop_assert_eq!(profile.min_length, lengths().min().map(f64::from));
        prop_assert_eq!(profile.max_length, lengths().max().map(f64::from));
    }
}

//! Each state by itself: the laws, for several limits and families of values.

use limno_metrics::state::{Categories, Distinct, ExactSums, Extrema, Histogram, Lengths};
use proptest::prelude::*;

use crate::laws::{Mergeable, assert_laws, assert_mixed};
use crate::values::{finite_numbers, limits, numbers, strings};

fn observe_numbers(state: &mut Histogram, values: &[f64]) {
    values.iter().for_each(|&value| state.observe(value));
}

fn observe_bits(state: &mut Distinct, values: &[f64]) {
    values.iter().for_each(|&value| state.observe(value.to_bits()));
}

fn observe_strings(state: &mut Categories, values: &[String]) {
    for value in values {
        state.observe(value.as_bytes(), Some(value.chars().count() as u64), 1);
    }
}

proptest! {
    #![proptest_config(crate::cases(400))]

    #[test]
    fn extrema(values in numbers(), seed: u64) {
        let observe = |state: &mut Extrema, values: &[f64]| values.iter().for_each(|&value| state.observe(value));
        assert_laws(&Extrema::default(), observe, &values, seed)?;
    }

    #[test]
    fn sums(values in finite_numbers(), seed: u64) {
        let one_by_one = |state: &mut ExactSums, values: &[f64]| values.iter().for_each(|&value| state.observe(value));
        assert_laws(&ExactSums::default(), one_by_one, &values, seed)?;
        let slices =
            |state: &mut ExactSums, values: &[f64]| state.observe_slice(values);
        assert_laws(&ExactSums::default(), slices, &values, seed)?;
    }

    #[test]
    fn histogram(values in numbers(), limit in limits(), seed: u64) {
        assert_laws(&Histogram::empty(limit), observe_numbers, &values, seed)?;
    }

    #[test]
    fn distinct(values in numbers(), limit in limits(), seed: u64) {
        assert_laws(&Distinct::empty(limit), observe_bits, &values, seed)?;
    }

    #[test]
    fn lengths(values in proptest::collection::vec((0..1u64 << 40, 1..1000u64), 0..60), seed: u64) {
        let observe = |state: &mut Lengths, values: &[(u64, u64)]| {
            values.iter().for_each(|&(length, times)| state.observe(length, times));
        };
        assert_laws(&Lengths::default(), observe, &values, seed)?;
    }

    #[test]
    fn categories(values in strings(), limit in prop_oneof![Just(1u32), limits()], seed: u64) {
        assert_laws(&Categories::empty(limit, 0), observe_strings, &values, seed)?;
    }

    #[test]
    fn histograms_of_two_limits(values in numbers(), left in limits(), right in limits()) {
        let empty = Histogram::empty;
        assert_mixed([&empty(left), &empty(right)], &empty(left.min(right)), observe_numbers, &values)?;
    }

    #[test]
    fn distinct_counts_of_two_limits(values in numbers(), left in limits(), right in limits()) {
        let empty = Distinct::empty;
        assert_mixed([&empty(left), &empty(right)], &empty(left.min(right)), observe_bits, &values)?;
    }

    #[test]
    fn categories_of_two_limits(values in strings(), left in limits(), right in limits()) {
        let empty = |limit| Categories::empty(limit, 0);
        assert_mixed([&empty(left), &empty(right)], &empty(left.min(right)), observe_strings, &values)?;
    }

    /// Multiples are sums, also beyond what 64 bits of a square's multiple can hold.
    #[test]
    fn multiples(value in crate::values::any_number().prop_filter("infinite", |x| x.is_finite()), cut: u64, rest: u64) {
        let (a, b) = (cut >> 1, rest >> 1);
        let of = |times: u64| {
            let mut state = ExactSums::default();
            state.observe_times(value, times);
            state
        };
        prop_assert_eq!(of(a).merged(&of(b))?.bytes(), of(a + b).bytes());
        let mut few = ExactSums::default();
        (0..a % 50).for_each(|_| few.observe(value));
        prop_assert_eq!(few.bytes(), of(a % 50).bytes());
    }
}

/// Limits of distinct values differ too. The side with the smaller one is still exact, so it has no counter yet.
#[test]
fn categories_of_two_limits_of_distinct_values() {
    let levels: Vec<String> = (0..3000).map(|level| format!("level {level}")).collect();
    let (few, many) = levels.split_at(10);
    let of = |limit: u32, levels: &[String]| {
        let mut state = Categories::empty(16, limit);
        observe_strings(&mut state, levels);
        state
    };
    let (left, right) = (of(4096, few), of(10_000, many));
    let expected = of(4096, &levels).bytes();
    assert!(left.clone().merged(&right).unwrap().bytes() == expected, "the smaller limit first");
    assert!(right.merged(&left).unwrap().bytes() == expected, "the smaller limit second");
}

//! Each state by itself: the laws, for several limits and families of values.

use limno_metrics::state::{
    Categories, Counts, Distinct, ExactSums, Extrema, Histogram, ItemSample, Lengths, MergeableState, Numbers,
};
use proptest::prelude::*;

use crate::laws::{Mergeable, mergeable_state_laws};
use crate::values::{any_number, finite_numbers, limits, numbers, numbers_and_nan, strings};

fn observe_bits(state: &mut Distinct, values: &[f64]) {
    values.iter().for_each(|&value| state.observe(value.to_bits()));
}

fn observe_strings(state: &mut Categories, values: &[String]) {
    for value in values {
        state.observe(value.as_bytes(), Some(value.chars().count() as u64), 1);
    }
}

mergeable_state_laws!(mod counts {
    cases: 80,
    limits: Just(()),
    values: numbers_and_nan(),
    empty: |()| Counts::default(),
    observe: |state, values| Numbers::empty(16).observe(values, None, state),
});

mergeable_state_laws!(mod extrema {
    cases: 80,
    limits: Just(()),
    values: numbers(),
    empty: |()| Extrema::default(),
    observe: |state, values| values.iter().for_each(|&value| state.observe(value)),
});

mergeable_state_laws!(mod exact_sums {
    cases: 150,
    limits: Just(()),
    values: finite_numbers(),
    empty: |()| ExactSums::default(),
    // One by one they go another way than in slices.
    observe: |state, values| match values {
        [value] => state.observe(*value),
        _ => state.observe_slice(values),
    },
});

mergeable_state_laws!(mod histogram {
    cases: 150,
    limits: limits(),
    values: numbers(),
    empty: |&limit| Histogram::empty(limit),
    observe: |state, values| state.observe_slice(values),
    least: |&left, &right| left.min(right),
});

mergeable_state_laws!(mod the_numbers_of_a_column {
    cases: 150,
    limits: limits(),
    values: numbers_and_nan(),
    empty: |&limit| Numbers::empty(limit),
    observe: |state, values| state.observe(values, None, &mut Counts::default()),
    least: |&left, &right| left.min(right),
});

mergeable_state_laws!(mod distinct {
    cases: 150,
    limits: limits(),
    values: numbers(),
    empty: |&limit| Distinct::empty(limit),
    observe: observe_bits,
    least: |&left, &right| left.min(right),
});

mergeable_state_laws!(mod sample {
    cases: 100,
    limits: prop_oneof![Just(1u32), Just(7), limits()],
    values: strings(),
    empty: |&limit| ItemSample::empty(limit),
    observe: |state, values| values.iter().for_each(|value| state.observe(value.as_bytes(), 1)),
    least: |&left, &right| left.min(right),
});

mergeable_state_laws!(mod lengths {
    cases: 100,
    limits: Just(()),
    values: proptest::collection::vec((0..1u64 << 40, 0..1000u64), 0..60),
    empty: |()| Lengths::default(),
    observe: |state, values| values.iter().for_each(|&(length, times)| state.observe(length, times)),
});

mergeable_state_laws!(
    /// Categories at their own limit; that of distinct values plays no part below 4,096.
    mod categories {
        cases: 150,
        limits: prop_oneof![Just(1u32), limits()],
        values: strings(),
        empty: |&limit| Categories::empty(limit, 0),
        observe: observe_strings,
        least: |&left, &right| left.min(right),
    }
);

proptest! {
    #![proptest_config(crate::cases(150))]

    /// Multiples are sums, also beyond what 64 bits of a square's multiple can hold.
    #[test]
    fn multiples(value in any_number().prop_filter("infinite", |x| x.is_finite()), cut: u64, rest: u64) {
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

    /// Doubled so often, counts leave the 32 bits of counters, and nothing else changes.
    #[test]
    fn a_histogram_merged_with_itself_has_the_same_buckets(values in numbers(), limit in limits(), seed: u64) {
        let mut histogram = Histogram::empty(limit);
        histogram.observe_slice(&values);
        let once = histogram.buckets();
        let doublings = 28 + seed % 8;
        for turn in 0..doublings {
            let other = histogram.clone();
            histogram = if seed >> turn & 1 == 1 { Mergeable::read(&histogram.bytes())? } else { histogram };
            histogram = histogram.merged(&other)?;
        }
        let often = histogram.buckets();
        prop_assert_eq!((often.level(), often.total()), (once.level(), once.total() << doublings));
        for (often, once) in often.as_slice().iter().zip(once.as_slice()) {
            prop_assert_eq!((often.cell, often.count), (once.cell, once.count << doublings));
        }
        prop_assert_eq!(often.as_slice().len(), once.as_slice().len());
    }

    /// The sums that an exact histogram answers are those of its values, as are those beside a coarse one.
    #[test]
    fn the_sums_of_numbers_are_those_of_their_values(values in finite_numbers(), limit in limits()) {
        let mut numbers = Numbers::empty(limit);
        numbers.observe(&values, None, &mut Counts::default());
        let mut sums = ExactSums::default();
        sums.observe_slice(&values);
        prop_assert_eq!(numbers.sums().bytes(), sums.bytes());
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

/// A count that goes beyond 64 bits is refused, in whatever state it stands.
#[test]
fn counts_beyond_64_bits_are_refused() {
    let mut counts = Counts { rows: u64::MAX, ..Counts::default() };
    let one = Counts { rows: 1, ..Counts::default() };
    assert!(counts.merge(&one).is_err());
    let mut sums = ExactSums::default();
    sums.observe_times(1.0, u64::MAX);
    assert!(sums.clone().merged(&sums).is_err());
    let mut categories = Categories::empty(16, 16);
    categories.observe(b"a", Some(1), u64::MAX);
    assert!(categories.clone().merged(&categories).is_err());
}

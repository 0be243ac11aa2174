//! Families of values on which states behave differently.

use limno_fixtures::SplitMix64;
use proptest::{collection::vec, prelude::*};

/// Longer than the histogram's list of keys and than the short slices of the sums, now and then.
const LENGTHS: [std::ops::Range<usize>; 4] = [0..8, 0..60, 400..700, 1500..2500];

fn many<S: Strategy + Clone + 'static>(one: S) -> BoxedStrategy<Vec<S::Value>>
where
    S::Value: 'static,
{
    let [tiny, small, middle, large] = LENGTHS;
    prop_oneof![
        3 => vec(one.clone(), tiny),
        4 => vec(one.clone(), small),
        2 => vec(one.clone(), middle),
        1 => vec(one, large),
    ]
    .boxed()
}

/// Any double but NaN, all exponents alike.
pub(crate) fn any_number() -> impl Strategy<Value = f64> + Clone {
    any::<u64>().prop_map(f64::from_bits).prop_filter("NaN", |value| !value.is_nan())
}

/// Values that are easily got wrong.
pub(crate) fn special_number() -> impl Strategy<Value = f64> + Clone {
    prop::sample::select(vec![
        f64::NEG_INFINITY,
        f64::MIN,
        -1e16,
        -1.0,
        -f64::MIN_POSITIVE,
        -5e-324,
        -0.0,
        0.0,
        5e-324,
        1e-310,
        f64::MIN_POSITIVE,
        1.0,
        1.0 + f64::EPSILON,
        9_007_199_254_740_992.0,
        1e16,
        1e300,
        f64::MAX,
        f64::INFINITY,
    ])
}

/// Numbers of one family: no NaN, infinities among them.
pub(crate) fn numbers() -> BoxedStrategy<Vec<f64>> {
    prop_oneof![
        many((-5..5i32).prop_map(f64::from)),
        many(any_number()),
        many(special_number()),
        // Neighbours far from zero, where single doubles are units apart.
        many((0..3000i32).prop_map(|step| 1e16 + f64::from(step) * 2.0)),
        // A smooth column of one scale, and one with a spike in it.
        many((0..1_000_000u32).prop_map(|step| f64::from(step) * 0.37 - 1e5)),
        many(prop_oneof![Just(0.0), (0..10_000u32).prop_map(|step| f64::from(step) / 7.0)]),
        many(prop_oneof![(-3..3i32).prop_map(f64::from), any_number(), special_number()]),
    ]
    .boxed()
}

/// Numbers without infinities.
pub(crate) fn finite_numbers() -> BoxedStrategy<Vec<f64>> {
    numbers().prop_map(|values| values.into_iter().filter(|value| value.is_finite()).collect()).boxed()
}

/// Some numbers become NaN, of several bit patterns.
pub(crate) fn with_nan(values: Vec<f64>, seed: u64) -> Vec<f64> {
    let mut rng = SplitMix64::new(!seed);
    let share = if rng.chance(0.3) { 0.1 } else { 0.0 };
    let nan = |rng: &mut SplitMix64| f64::from_bits(f64::NAN.to_bits() | rng.below(9) | (rng.below(2) << 63));
    values.into_iter().map(|value| if rng.chance(share) { nan(&mut rng) } else { value }).collect()
}

/// Numbers of one family, and NaN among them.
pub(crate) fn numbers_and_nan() -> impl Strategy<Value = Vec<f64>> {
    (numbers(), any::<u64>()).prop_map(|(values, seed)| with_nan(values, seed))
}

/// Numbers of which distances have a meaning: they neither overflow nor vanish.
pub(crate) fn tame_numbers() -> BoxedStrategy<Vec<f64>> {
    prop_oneof![
        vec((-5..5i32).prop_map(f64::from), 1..200),
        vec((0..100_000i32).prop_map(|step| f64::from(step) * 0.01 - 300.0), 1..900),
        vec(prop_oneof![Just(0.0), (1..10_000u32).prop_map(|step| f64::from(step) / 7.0)], 1..900),
        vec((0..2048i32, 1..1000u32).prop_map(|(e, m)| f64::from(m) * 2f64.powi(e % 60 - 30)), 1..300),
    ]
    .boxed()
}

/// Integers, some of which doubles do not tell apart.
pub(crate) fn integers() -> BoxedStrategy<Vec<i64>> {
    let beyond = (-40..40i64).prop_flat_map(|step| {
        prop::sample::select(vec![(1 << 53) + step, -(1 << 53) + step, i64::MAX - step.abs(), i64::MIN + step.abs()])
    });
    prop_oneof![
        many(-5..5i64),
        many(beyond.clone()),
        many(prop_oneof![-100..100i64, beyond, any::<i64>()]),
        many(any::<i64>()),
    ]
    .boxed()
}

/// Strings of few or many categories.
pub(crate) fn strings() -> BoxedStrategy<Vec<String>> {
    let few = prop::sample::select(vec!["", "a", "b", "Zürich", "東京", "a\u{0}b"]).prop_map(str::to_owned);
    prop_oneof![
        many(few.clone()),
        many((0..40u32).prop_map(|level| format!("level {level}"))),
        many(prop_oneof![few, (0..5000u32).prop_map(|level| format!("l{level}"))]),
    ]
    .boxed()
}

/// Limits of buckets and of categories, from the least to more than most cases reach.
pub(crate) fn limits() -> impl Strategy<Value = u32> + Clone {
    prop::sample::select(vec![16u32, 20, 64, 4096])
}

/// Cuts `values` at random into at most eight pieces, each shuffled, some of them empty.
pub(crate) fn pieces<T: Clone>(values: &[T], rng: &mut SplitMix64) -> Vec<Vec<T>> {
    let count = rng.below(8) + 1;
    let mut pieces = vec![Vec::new(); index(count)];
    for value in values {
        pieces[index(rng.below(count))].push(value.clone());
    }
    for piece in &mut pieces {
        rng.shuffle(piece);
    }
    pieces
}

#[expect(clippy::cast_possible_truncation, reason = "small")]
pub(crate) fn index(value: u64) -> usize {
    value as usize
}

//! The laws themselves, for anything that merges and encodes, and the macro that makes a test of each.

use std::fmt::Debug;

use limno_fixtures::SplitMix64;
use limno_metrics::state::MergeableState;
use limno_metrics::state::codec::{self, Reader, VERSION, Writer};
use limno_metrics::{ErrorKind, Result};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use crate::values::{index, pieces};

/// Makes a module of tests, one for each law that a state keeps.
///
/// `limits` and `values` are strategies; `values` yields vectors. `empty` is the empty state of a limit, and `observe`
/// adds a slice of values to a state. With `least`, the smaller of two limits, states of different limits must merge
/// too: to the state of the smaller one.
///
/// ```ignore
/// mergeable_state_laws!(mod histogram {
///     cases: 200,
///     limits: limits(),
///     values: numbers(),
///     empty: |&limit| Histogram::empty(limit),
///     observe: |state, values| state.observe_slice(values),
///     least: |&left, &right| left.min(right),
/// });
/// ```
macro_rules! mergeable_state_laws {
    (
        $(#[$about:meta])*
        mod $name:ident {
            cases: $cases:expr,
            limits: $limits:expr,
            values: $values:expr,
            empty: $empty:expr,
            observe: $observe:expr,
            $(least: $least:expr,)?
        }
    ) => {
        $(#[$about])*
        mod $name {
            use super::*;
            use crate::laws::{self, Sample};

            $crate::laws::mergeable_state_laws!(@each ($cases, $limits, $values, $empty, $observe)
                the_empty_state_is_the_identity
                merging_is_commutative
                merging_is_associative
                bits_are_the_same_however_values_are_cut_and_ordered
                encoding_and_decoding_change_nothing
                damaged_bytes_are_refused_or_hold_together
                heap_size_goes_with_what_is_held
            );

            $(#[test]
            fn states_of_two_limits_merge_to_the_smaller_one() {
                laws::check_two_limits($cases, $limits, $values, $empty, $observe, $least);
            })?
        }
    };
    // Each law is a test of the same name.
    (@each $args:tt $($law:ident)+) => {
        $($crate::laws::mergeable_state_laws!(@test $args $law);)+
    };
    (@test ($cases:expr, $limits:expr, $values:expr, $empty:expr, $observe:expr) $law:ident) => {
        #[test]
        fn $law() {
            laws::check($cases, $limits, $values, $empty, $observe, Sample::$law);
        }
    };
}
pub(crate) use mergeable_state_laws;

/// What the laws speak of: single states, and the product of states of a column.
pub(crate) trait Mergeable: Clone + Debug {
    fn merged(self, other: &Self) -> Result<Self>;
    fn bytes(&self) -> Vec<u8>;
    fn read(bytes: &[u8]) -> Result<Self>;
    fn heap(&self) -> usize;

    /// Whatever else has to hold of a state, wherever its bytes came from.
    fn assert_holds(&self) -> TestCaseResult {
        Ok(())
    }
}

impl<S: MergeableState> Mergeable for S {
    fn merged(mut self, other: &Self) -> Result<Self> {
        self.merge(other).map(|()| self)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.encode(&mut out);
        out.finish()
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let payload = codec::open(bytes)?;
        let mut input = Reader::new(&payload);
        let state = Self::decode(&mut input)?;
        input.end().map(|()| state)
    }

    fn heap(&self) -> usize {
        self.heap_size()
    }
}

/// A multiset to try a law on.
pub(crate) struct Sample<S, V> {
    empty: S,
    observe: fn(&mut S, &[V]),
    values: Vec<V>,
    seed: u64,
}

/// Tries a law on so many samples.
pub(crate) fn check<L: Debug, S, V: Debug>(
    cases: u32,
    limits: impl Strategy<Value = L>,
    values: impl Strategy<Value = Vec<V>>,
    empty: fn(&L) -> S,
    observe: fn(&mut S, &[V]),
    law: fn(&Sample<S, V>) -> TestCaseResult,
) {
    let samples = (limits, values, any::<u64>());
    let result = TestRunner::new(crate::cases(cases))
        .run(&samples, |(limit, values, seed)| law(&Sample { empty: empty(&limit), observe, values, seed }));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Checks that states of different limits merge to that of the smaller one, whichever comes first.
pub(crate) fn check_two_limits<L: Debug, S: Mergeable, V: Debug>(
    cases: u32,
    limits: impl Strategy<Value = L> + Clone,
    values: impl Strategy<Value = Vec<V>>,
    empty: fn(&L) -> S,
    observe: fn(&mut S, &[V]),
    least: fn(&L, &L) -> L,
) {
    let samples = (limits.clone(), limits, values);
    let result = TestRunner::new(crate::cases(cases)).run(&samples, |(left, right, values)| {
        let of = |limit: &L, values: &[V]| {
            let mut state = empty(limit);
            observe(&mut state, values);
            state
        };
        let expected = of(&least(&left, &right), &values).bytes();
        let (head, tail) = values.split_at(values.len() / 3);
        let (left, right) = (of(&left, head), of(&right, tail));
        same(&left.clone().merged(&right)?.bytes(), &expected, "left first")?;
        same(&right.merged(&left)?.bytes(), &expected, "right first")
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

impl<S: Mergeable, V: Clone> Sample<S, V> {
    fn of(&self, values: &[V]) -> S {
        let mut state = self.empty.clone();
        (self.observe)(&mut state, values);
        state
    }

    fn whole(&self) -> S {
        self.of(&self.values)
    }

    /// The same chance in every law: a sample fails alike whenever it is tried.
    fn rng(&self) -> SplitMix64 {
        SplitMix64::new(self.seed)
    }

    /// At most eight states of parts of the values.
    fn states(&self, rng: &mut SplitMix64) -> Vec<S> {
        pieces(&self.values, rng).iter().map(|piece| self.of(piece)).collect()
    }

    /// Three states of parts of the values.
    fn three(&self) -> [S; 3] {
        let rng = &mut self.rng();
        let mut parts = [const { Vec::new() }; 3];
        self.values.iter().for_each(|value| parts[index(rng.below(3))].push(value.clone()));
        parts.map(|part| self.of(&part))
    }

    pub(crate) fn the_empty_state_is_the_identity(&self) -> TestCaseResult {
        let whole = self.whole();
        let expected = whole.bytes();
        same(&self.empty.clone().merged(&whole)?.bytes(), &expected, "into nothing")?;
        same(&whole.merged(&self.empty)?.bytes(), &expected, "with nothing")
    }

    pub(crate) fn merging_is_commutative(&self) -> TestCaseResult {
        let [a, b, _] = self.three();
        let ab = a.clone().merged(&b)?.bytes();
        same(&b.merged(&a)?.bytes(), &ab, "the other way round")
    }

    pub(crate) fn merging_is_associative(&self) -> TestCaseResult {
        let [a, b, c] = self.three();
        let left = a.clone().merged(&b)?.merged(&c)?.bytes();
        same(&a.merged(&b.merged(&c)?)?.bytes(), &left, "the right pair first")?;
        same(&left, &self.whole().bytes(), "at once")
    }

    /// Any order, value by value and in runs; any cut and any tree of merges, some pieces through their bytes.
    pub(crate) fn bits_are_the_same_however_values_are_cut_and_ordered(&self) -> TestCaseResult {
        let rng = &mut self.rng();
        let expected = self.whole().bytes();
        let mut shuffled = self.values.clone();
        rng.shuffle(&mut shuffled);
        let mut single = self.empty.clone();
        shuffled.iter().for_each(|value| (self.observe)(&mut single, std::slice::from_ref(value)));
        same(&single.bytes(), &expected, "one by one")?;
        let mut runs = self.empty.clone();
        shuffled.chunks(index(rng.below(700)) + 1).for_each(|run| (self.observe)(&mut runs, run));
        same(&runs.bytes(), &expected, "in runs")?;
        let mut states = self.states(rng);
        while states.len() > 1 {
            let from = states.swap_remove(index(rng.below(states.len() as u64)));
            let from = if rng.chance(0.3) { S::read(&from.bytes())? } else { from };
            let into = index(rng.below(states.len() as u64));
            let merged = states.swap_remove(into).merged(&from)?;
            states.push(merged);
        }
        same(&states.remove(0).bytes(), &expected, "cut and merged")
    }

    /// What was decoded encodes the same, and takes values and states as the original does.
    pub(crate) fn encoding_and_decoding_change_nothing(&self) -> TestCaseResult {
        let whole = self.whole();
        let expected = whole.bytes();
        same(&whole.bytes(), &expected, "again")?;
        same(&S::read(&expected)?.bytes(), &expected, "decoded")?;
        same(&S::read(&frame(&codec::open(&expected)?))?.bytes(), &expected, "decoded from a frame without zstd")?;
        let (left, right) = self.values.split_at(self.values.len() / 2);
        let mut resumed = S::read(&self.of(left).bytes())?;
        (self.observe)(&mut resumed, right);
        same(&resumed.bytes(), &expected, "resumed")?;
        let merged = S::read(&self.of(left).bytes())?.merged(&S::read(&self.of(right).bytes())?)?;
        same(&merged.bytes(), &expected, "merged of two decoded ones")
    }

    /// Damage that a state does not notice makes another state; it never panics.
    pub(crate) fn damaged_bytes_are_refused_or_hold_together(&self) -> TestCaseResult {
        let rng = &mut self.rng();
        let bytes = self.whole().bytes();
        let whole = codec::open(&bytes)?;
        let mut payload = whole.clone();
        for _ in 0..=rng.below(3) {
            if payload.is_empty() {
                break;
            }
            let at = index(rng.below(payload.len() as u64));
            match rng.below(5) {
                0 => payload[at] ^= 1 << rng.below(8),
                1 => payload[at] = byte(rng.below(256)),
                2 => drop(payload.remove(at)),
                3 => payload.insert(at, 0xff),
                _ => payload.truncate(at.max(1)),
            }
        }
        assert_refused_or_holds::<S>(&frame(&payload))?;
        let random: Vec<u8> = (0..rng.below(200)).map(|_| byte(rng.below(256))).collect();
        assert_refused_or_holds::<S>(&frame(&random))?;
        assert_refused_or_holds::<S>(&random)?;

        let mut more = whole.clone();
        more.push(byte(rng.below(256)));
        prop_assert!(S::read(&frame(&more)).is_err(), "followed by more");
        let cut = index(rng.below(whole.len() as u64));
        prop_assert!(S::read(&frame(&whole[..cut])).is_err(), "the payload cut at {cut} of {}", whole.len());
        let mut frame = bytes;
        let at = index(rng.below(frame.len() as u64));
        frame[at] ^= 1 << rng.below(8);
        assert_refused_or_holds::<S>(&frame)?;
        frame[at] = 0;
        assert_refused_or_holds::<S>(&frame)?;
        frame.truncate(at);
        prop_assert!(S::read(&frame).is_err(), "cut short");
        Ok(())
    }

    /// The heap is no more than a multiple of what is encoded, and after decoding, when nothing is left for later, enough
    /// for it.
    pub(crate) fn heap_size_goes_with_what_is_held(&self) -> TestCaseResult {
        let whole = self.whole();
        let bytes = whole.bytes();
        let payload = codec::open(&bytes)?.len();
        let decoded = S::read(&bytes)?.heap();
        prop_assert!(payload <= 64 + 2 * (decoded + size_of::<S>()), "decoded: {decoded} bytes hold {payload}");
        for (heap, what) in [(decoded, "decoded"), (whole.heap(), "observed")] {
            prop_assert!(heap <= MOST_HEAP + 64 * payload, "{what}: {heap} bytes for {payload}");
        }
        Ok(())
    }
}

/// What a state may hold whatever it has seen: lists of arrivals, tables with room to spare.
const MOST_HEAP: usize = 1 << 18;

/// A frame around `payload`, not compressed.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'L', b'M', VERSION, 0];
    let mut length = payload.len() as u64;
    while length >= 0x80 {
        frame.push(byte(length) | 0x80);
        length >>= 7;
    }
    frame.push(byte(length));
    frame.extend_from_slice(payload);
    frame
}

/// Whatever decodes can be encoded, decoded once more and merged; all else is refused as what it is.
pub(crate) fn assert_refused_or_holds<S: Mergeable>(bytes: &[u8]) -> TestCaseResult {
    let state = match S::read(bytes) {
        Ok(state) => state,
        Err(error) => {
            prop_assert_eq!(error.kind(), ErrorKind::InvalidData);
            return Ok(());
        }
    };
    let encoded = state.bytes();
    same(&S::read(&encoded)?.bytes(), &encoded, "decoded once more")?;
    // Twice as many may be too many.
    if let Ok(twice) = state.clone().merged(&state) {
        let encoded = twice.bytes();
        same(&S::read(&encoded)?.bytes(), &encoded, "merged with itself and decoded")?;
    }
    state.assert_holds()
}

/// Bytes are long; where they differ is enough.
fn same(ours: &[u8], expected: &[u8], what: &str) -> TestCaseResult {
    let at = ours.iter().zip(expected).position(|(a, b)| a != b);
    prop_assert!(ours == expected, "{what}: differs at {at:?}, lengths {} and {}", ours.len(), expected.len());
    Ok(())
}

fn byte(value: u64) -> u8 {
    u8::try_from(value & 0xff).unwrap()
}

//! The laws themselves, for anything that merges and encodes.

use std::fmt::Debug;

use limno_fixtures::SplitMix64;
use limno_metrics::Result;
use limno_metrics::column::ColumnState;
use limno_metrics::state::MergeableState;
use limno_metrics::state::codec::{self, Reader, Writer};
use proptest::prelude::*;

use crate::values::{index, pieces};

/// What the laws speak of: single states, and the product of states of a column.
pub(crate) trait Mergeable: Clone + Debug {
    fn merged(self, other: &Self) -> Result<Self>;
    fn bytes(&self) -> Vec<u8>;
    fn read(bytes: &[u8]) -> Result<Self>;
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
}

/// A column's state has the same methods, but is no [`MergeableState`].
#[derive(Debug, Clone)]
pub(crate) struct Column(pub(crate) ColumnState);

impl Mergeable for Column {
    fn merged(mut self, other: &Self) -> Result<Self> {
        self.0.merge(&other.0).map(|()| self)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        ColumnState::decode(bytes).map(Self)
    }
}

/// Bytes are long; where they differ is enough.
fn same(ours: &[u8], expected: &[u8], what: &str) -> Result<(), TestCaseError> {
    let at = ours.iter().zip(expected).position(|(a, b)| a != b);
    prop_assert!(ours == expected, "{what}: differs at {at:?}, lengths {} and {}", ours.len(), expected.len());
    Ok(())
}

/// Checks every law on one multiset: `observe` adds some values to a state.
pub(crate) fn assert_laws<S: Mergeable, V: Clone>(
    empty: &S,
    observe: impl Fn(&mut S, &[V]),
    values: &[V],
    seed: u64,
) -> Result<(), TestCaseError> {
    let rng = &mut SplitMix64::new(seed);
    let of = |values: &[V]| {
        let mut state = empty.clone();
        observe(&mut state, values);
        state
    };
    let whole = of(values);
    let expected = whole.bytes();

    // Encoding twice is no different, and what was decoded encodes the same and goes on the same.
    same(&whole.bytes(), &expected, "again")?;
    let decoded = S::read(&expected)?;
    same(&decoded.bytes(), &expected, "decoded")?;

    // The empty state is the identity.
    same(&whole.clone().merged(empty)?.bytes(), &expected, "with nothing")?;
    same(&empty.clone().merged(&whole)?.bytes(), &expected, "into nothing")?;

    // Any order, value by value and in runs.
    let mut shuffled = values.to_vec();
    rng.shuffle(&mut shuffled);
    let mut single = empty.clone();
    shuffled.iter().for_each(|value| observe(&mut single, std::slice::from_ref(value)));
    same(&single.bytes(), &expected, "one by one")?;
    let mut runs = empty.clone();
    shuffled.chunks(index(rng.below(700)) + 1).for_each(|run| observe(&mut runs, run));
    same(&runs.bytes(), &expected, "in runs")?;

    // Any cut, any tree of merges; some pieces go through their bytes.
    let mut states: Vec<S> = pieces(values, rng).iter().map(|piece| of(piece)).collect();
    if let [a, b, c, ..] = &states[..] {
        let ab = a.clone().merged(b)?;
        same(&ab.bytes(), &b.clone().merged(a)?.bytes(), "commutative")?;
        let right = a.clone().merged(&b.clone().merged(c)?)?;
        same(&ab.merged(c)?.bytes(), &right.bytes(), "associative")?;
    }
    while states.len() > 1 {
        let from = states.swap_remove(index(rng.below(states.len() as u64)));
        let from = if rng.chance(0.3) { S::read(&from.bytes())? } else { from };
        let into = index(rng.below(states.len() as u64));
        let merged = states.swap_remove(into).merged(&from)?;
        states.push(merged);
    }
    same(&states.remove(0).bytes(), &expected, "cut and merged")?;

    // A decoded state takes values and states as the original does.
    let (left, right) = values.split_at(values.len() / 2);
    let mut resumed = S::read(&of(left).bytes())?;
    observe(&mut resumed, right);
    same(&resumed.bytes(), &expected, "resumed")?;
    Ok(())
}

/// Checks that states of different limits merge to that of the smaller one, whichever comes first.
pub(crate) fn assert_mixed<S: Mergeable, V>(
    empties: [&S; 2],
    least: &S,
    observe: impl Fn(&mut S, &[V]),
    values: &[V],
) -> Result<(), TestCaseError> {
    let of = |empty: &S, values: &[V]| {
        let mut state = empty.clone();
        observe(&mut state, values);
        state
    };
    let (left, right) = values.split_at(values.len() / 3);
    let (left, right) = (of(empties[0], left), of(empties[1], right));
    let expected = of(least, values).bytes();
    same(&left.clone().merged(&right)?.bytes(), &expected, "left first")?;
    same(&right.merged(&left)?.bytes(), &expected, "right first")?;
    Ok(())
}

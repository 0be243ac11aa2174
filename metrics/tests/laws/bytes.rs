//! Bytes that no state wrote are refused, or make a state that holds together; nothing panics.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use limno_fixtures::SplitMix64;
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::drift::{self, DriftOptions};
use limno_metrics::state::codec::{self, VERSION, Writer};
use limno_metrics::state::{Counts, Distinct, ExactSums, Extrema, Histogram, MergeableState};
use limno_metrics::{ErrorKind, Result};
use proptest::prelude::*;

use crate::values::{index, integers, numbers, strings};

/// A frame around `payload`, not compressed.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'L', b'M', VERSION, 0];
    let mut length = payload.len();
    while length >= 0x80 {
        frame.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    frame.push(u8::try_from(length).unwrap());
    frame.extend_from_slice(payload);
    frame
}

/// Whatever decodes can be encoded, asked, compared and merged with nothing.
fn assert_holds(bytes: &[u8]) -> Result<(), TestCaseError> {
    let state = match ColumnState::decode(bytes) {
        Ok(state) => state,
        Err(error) => {
            prop_assert_eq!(error.kind(), ErrorKind::InvalidData);
            return Ok(());
        }
    };
    let encoded = state.encode();
    prop_assert!(ColumnState::decode(&encoded)?.encode() == encoded, "encodes otherwise when decoded once more");
    let empty = ColumnState::empty(&ColumnOptions::exact(state.kind()));
    let mut merged = empty.clone();
    merged.merge(&state)?;
    let (frozen, nothing) = (state.freeze(), empty.freeze());
    let profile = frozen.profile();
    for number in [profile.min, profile.max, profile.avg, profile.median()].into_iter().flatten() {
        prop_assert!(!number.is_nan(), "{profile:?}");
    }
    drift::compare(&frozen, &frozen, &DriftOptions::default())?;
    drift::compare(&frozen, &nothing, &DriftOptions::default())?;
    drift::compare(&nothing, &frozen, &DriftOptions::default())?;
    Ok(())
}

fn encoded() -> BoxedStrategy<Vec<u8>> {
    let of = |array: &dyn Array, kind: ColumnKind, limit: u32| {
        let mut state = ColumnState::empty(&ColumnOptions { kind, max_buckets: limit, exact_distinct: limit });
        state.observe(array).unwrap();
        state.encode()
    };
    let limit = prop::sample::select(vec![16u32, 64, 4096]);
    prop_oneof![
        (numbers(), limit.clone()).prop_map(move |(v, l)| of(&Float64Array::from(v), ColumnKind::Numeric, l)),
        (integers(), limit.clone()).prop_map(move |(v, l)| of(&Int64Array::from(v), ColumnKind::Numeric, l)),
        (integers(), limit.clone()).prop_map(move |(v, l)| of(
            &TimestampMicrosecondArray::from(v),
            ColumnKind::Temporal,
            l
        )),
        (strings(), limit).prop_map(move |(v, l)| of(&StringArray::from(v), ColumnKind::Categorical, l)),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(crate::cases(1500))]

    #[test]
    fn arbitrary(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..6u8) {
        assert_holds(&bytes)?;
        assert_holds(&frame(&bytes))?;
        // With a kind and plausible counts in front, more of it is read.
        let head = [kind, 100, 3, 2, 5, 0];
        assert_holds(&frame(&[&head, &bytes[..]].concat()))?;
    }

    #[test]
    fn damaged(bytes in encoded(), seed: u64) {
        let rng = &mut SplitMix64::new(seed);
        let mut payload = codec::open(&bytes)?;
        prop_assert!(ColumnState::decode(&frame(&payload))?.encode() == bytes, "compression is no part of the state");
        for _ in 0..=rng.below(3) {
            let at = index(rng.below(payload.len() as u64));
            match rng.below(5) {
                0 => payload[at] ^= 1 << rng.below(8),
                1 => payload[at] = u8::try_from(rng.below(256)).unwrap(),
                2 => drop(payload.remove(at)),
                3 => payload.insert(at, 0xff),
                _ => payload.truncate(at.max(1)),
            }
            if payload.is_empty() {
                break;
            }
        }
        assert_holds(&frame(&payload))?;
        let mut frame = bytes;
        let at = index(rng.below(frame.len() as u64));
        frame[at] ^= 1 << rng.below(8);
        assert_holds(&frame)?;
        frame.truncate(at);
        prop_assert!(ColumnState::decode(&frame).is_err(), "cut short");
    }

    #[test]
    fn followed_by_more(bytes in encoded(), more: u8) {
        let mut payload = codec::open(&bytes)?;
        payload.push(more);
        prop_assert!(ColumnState::decode(&frame(&payload)).is_err());
    }
}

#[test]
fn another_version_is_named() {
    let array: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let mut bytes = ColumnState::of(&array, &ColumnOptions::new(ColumnKind::Numeric)).unwrap().encode();
    bytes[2] = VERSION + 1;
    let error = ColumnState::decode(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains(&format!("version {}", VERSION + 1)), "{error}");
}

/// Keys beyond those of the infinities are NaN, which has no place in an order.
#[test]
fn keys_that_are_no_numbers_are_refused() {
    for (limit, nan) in [(16, 1u64), (16, 40), (4096, 3)] {
        let mut histogram = Histogram::empty(limit);
        (0..nan).for_each(|payload| histogram.observe(f64::from_bits(f64::NAN.to_bits() + (payload << 44))));
        let mut out = Writer::default();
        out.byte(1);
        Counts { rows: nan, ..Counts::default() }.encode(&mut out);
        Extrema::default().encode(&mut out);
        ExactSums::default().encode(&mut out);
        histogram.encode(&mut out);
        out.varint(4096);
        out.byte(u8::from(!histogram.is_exact()));
        if !histogram.is_exact() {
            Distinct::empty(4096).encode(&mut out);
        }
        let decoded = ColumnState::decode(&out.finish());
        assert!(decoded.is_err(), "{nan} NaN in a histogram of {limit}: {:?}", decoded.unwrap().freeze().profile());
    }
    let mut extrema = Extrema::default();
    extrema.observe(f64::NAN);
    let mut out = Writer::default();
    extrema.encode(&mut out);
    let payload = codec::open(&out.finish()).unwrap();
    assert!(Extrema::decode(&mut codec::Reader::new(&payload)).is_err(), "a NaN as extremum");
}

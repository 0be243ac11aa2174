//! Bytes that no state wrote are refused, or make a state that holds together; nothing panics.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use limno_metrics::ErrorKind;
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::drift::{self, DriftOptions};
use limno_metrics::state::codec::{self, VERSION, Writer};
use limno_metrics::state::{Extrema, MergeableState};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::columns::Column;
use crate::laws::{assert_refused_or_holds, frame};
use crate::quality::Model;

/// Whatever was decoded can be asked, compared and merged with nothing.
pub(crate) fn assert_answers(state: &ColumnState) -> TestCaseResult {
    let empty = ColumnState::empty(&ColumnOptions::exact(state.kind()));
    let mut merged = empty.clone();
    merged.merge(state)?;
    let (frozen, nothing) = (state.clone().freeze(), empty.freeze());
    let profile = frozen.profile();
    for number in [profile.min, profile.max, profile.avg, profile.median()].into_iter().flatten() {
        prop_assert!(!number.is_nan(), "{profile:?}");
    }
    drift::compare(&frozen, &frozen, &DriftOptions::default())?;
    drift::compare(&frozen, &nothing, &DriftOptions::default())?;
    drift::compare(&nothing, &frozen, &DriftOptions::default())?;
    Ok(())
}

proptest! {
    #![proptest_config(crate::cases(1500))]

    #[test]
    fn arbitrary(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..7u8) {
        assert_refused_or_holds::<Column>(&bytes)?;
        assert_refused_or_holds::<Column>(&frame(&bytes))?;
        // With a kind and plausible counts in front, more of it is read.
        let head = [kind, 100, 3, 2, 5, 0];
        assert_refused_or_holds::<Column>(&frame(&[&head, &bytes[..]].concat()))?;
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

/// What the fuzz targets were given and found is no news to anybody: see `fuzz/run`.
#[test]
fn every_input_of_the_corpus_is_refused_or_holds_together() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let inputs = |target: &str| {
        let files = std::fs::read_dir(corpus.join(target)).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let assert_all = |parts: &[&[u8]], path: &Path| {
        for part in parts {
            for bytes in [part.to_vec(), frame(part)] {
                let columns = assert_refused_or_holds::<Column>(&bytes);
                let models = assert_refused_or_holds::<Model>(&bytes);
                columns.and(models).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
    };
    let decode = inputs("decode");
    assert!(decode.len() > 20, "{} inputs", decode.len());
    decode.iter().for_each(|(input, path)| assert_all(&[input], path));
    for (input, path) in inputs("merge") {
        let Some((&cut, rest)) = input.split_first_chunk() else { continue };
        let (left, right) = rest.split_at(usize::from(u16::from_le_bytes(cut)).min(rest.len()));
        assert_all(&[left, right], &path);
        let read = |part: &[u8]| ColumnState::decode(part).or_else(|_| ColumnState::decode(&frame(part)));
        if let (Ok(left), Ok(right)) = (read(left), read(right)) {
            let (mut there, mut back) = (left.clone(), right.clone());
            let (first, second) = (there.merge(&right), back.merge(&left));
            assert_eq!(first.is_ok(), second.is_ok(), "{}: {first:?}, {second:?}", path.display());
            assert!(first.is_err() || there.encode() == back.encode(), "{}", path.display());
        }
    }
}

/// The payload of a column of so many rows, and of one value with this key.
fn column_of(rows: u64, key: u64) -> Vec<u8> {
    let mut out = Writer::default();
    [rows, 0, 0, 0, 0].into_iter().for_each(|count| out.varint(count));
    let (limit, level, buckets, step_shift) = (16, 0, 1, 0);
    out.varint(limit);
    out.byte(level);
    out.varint(buckets);
    out.fixed(key);
    out.varint(step_shift);
    // A column of bit lengths, not compressed: that of the count. It is one, which takes no bits below the highest.
    [0, 1].into_iter().for_each(|byte| out.byte(byte));
    out.slice(&[]);
    let (exact_distinct, flags) = (4096, 0);
    out.varint(exact_distinct);
    out.byte(flags);
    let column = codec::open(&out.finish()).unwrap();
    [&[1], &column[..]].concat()
}

/// A merge that fails changes nothing, because counts of rows are the first to be too many.
#[test]
fn more_values_than_rows_are_refused() {
    let zero = 1 << 63;
    let read = |rows: u64| ColumnState::decode(&frame(&column_of(rows, zero)));
    assert!(read(0).is_err());
    let (mut most, one) = (read(u64::MAX).unwrap(), read(1).unwrap());
    let before = most.encode();
    assert_eq!(most.merge(&one).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(most.encode() == before);
}

/// Keys beyond those of the infinities are NaN, which has no place in an order.
#[test]
fn keys_that_are_no_numbers_are_refused() {
    let (least, greatest) = (!f64::NEG_INFINITY.to_bits(), f64::INFINITY.to_bits() | 1 << 63);
    for (key, is_number) in [(least, true), (greatest, true), (least - 1, false), (greatest + 1, false), (0, false)] {
        let decoded = ColumnState::decode(&frame(&column_of(1, key)));
        assert_eq!(decoded.is_ok(), is_number, "{key:#x}: {decoded:?}");
    }
    let mut extrema = Extrema::default();
    extrema.observe(f64::NAN);
    let mut out = Writer::default();
    extrema.encode(&mut out);
    let payload = codec::open(&out.finish()).unwrap();
    assert!(Extrema::decode(&mut codec::Reader::new(&payload)).is_err(), "a NaN as extremum");
}

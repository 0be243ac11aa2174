//! What must hold of any bytes that are read as a state.

use limno_metrics::column::ColumnState;
use limno_metrics::drift::{self, DriftOptions};
use limno_metrics::quality::{QualityState, fairness};
use limno_metrics::state::codec::VERSION;

/// The state that `input` holds: as it stands or, so that a mutation need not know lengths, as the payload of a frame.
#[must_use]
pub fn read(input: &[u8]) -> Option<ColumnState> {
    ColumnState::decode(input).or_else(|_| ColumnState::decode(&frame(input))).ok()
}

/// A frame around `payload`, not compressed.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'L', b'M', VERSION, 0];
    let mut length = payload.len();
    while length >= 0x80 {
        frame.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    frame.push(length as u8);
    frame.extend_from_slice(payload);
    frame
}

/// Checks that the encoding of `state` is read again, to a state of the same bytes, and that it can be asked.
///
/// # Panics
/// When it does not hold: that is what the fuzzer looks for.
pub fn assert_holds(state: &ColumnState, what: &str) {
    let bytes = state.encode();
    match ColumnState::decode(&bytes) {
        Ok(again) => assert!(again.encode() == bytes, "{what}: encodes otherwise when decoded once more"),
        Err(error) => panic!("{what}: its own encoding is refused: {error}"),
    }
    let profile = state.clone().freeze().profile();
    for number in [profile.min, profile.max, profile.avg, profile.median()].into_iter().flatten() {
        assert!(!number.is_nan(), "{what}: {profile:?}");
    }
}

/// Merges `other` into a copy of `state`, which has to hold then. `None` if that is refused, which must change nothing.
///
/// # Panics
/// When it does not hold.
#[must_use]
pub fn merged(state: &ColumnState, other: &ColumnState) -> Option<ColumnState> {
    let mut merged = state.clone();
    if merged.merge(other).is_ok() {
        assert_holds(&merged, "merged");
        return Some(merged);
    }
    assert!(merged.encode() == state.encode(), "a merge that fails has changed the state");
    None
}

/// Checks that two states can be compared, if they are of one kind.
///
/// # Panics
/// When that panics, or is refused.
pub fn assert_compares(left: &ColumnState, right: &ColumnState) {
    if left.kind() == right.kind() {
        let (left, right) = (left.clone().freeze(), right.clone().freeze());
        if let Err(error) = drift::compare(&left, &right, &DriftOptions::default()) {
            panic!("states of one kind do not compare: {error}");
        }
    }
}

/// The state of model quality that `input` holds, as [`read`] does.
#[must_use]
pub fn read_quality(input: &[u8]) -> Option<QualityState> {
    QualityState::decode(input).or_else(|_| QualityState::decode(&frame(input))).ok()
}

/// Checks that the encoding of `state` is read again, to a state of the same bytes, that it can be asked, and that it
/// merges with itself, or is left alone.
///
/// # Panics
/// When it does not hold.
pub fn assert_quality_holds(state: &QualityState) {
    let bytes = state.encode();
    match QualityState::decode(&bytes) {
        Ok(again) => assert!(again.encode() == bytes, "encodes otherwise when decoded once more"),
        Err(error) => panic!("its own encoding is refused: {error}"),
    }
    let quality = state.quality();
    for number in [quality.accuracy, quality.log_loss, quality.mse, quality.r2].into_iter().flatten() {
        assert!(!number.is_nan(), "{quality:?}");
    }
    let mut twice = state.clone();
    if twice.merge(state).is_err() {
        assert!(twice.encode() == bytes, "a merge that fails has changed the state");
    } else if let Err(error) = QualityState::decode(&twice.encode()) {
        panic!("what was merged is refused: {error}");
    }
    assert_eq!(fairness(state, &twice).is_some(), quality.confusion.is_some());
}

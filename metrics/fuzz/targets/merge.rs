//! Two inputs, cut where the first two bytes say: whichever comes first, merging ends alike, and they compare.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limno_metrics_fuzz::{assert_compares, merged, read};

fuzz_target!(|input: &[u8]| {
    let Some((&cut, rest)) = input.split_first_chunk() else { return };
    let (left, right) = rest.split_at(usize::from(u16::from_le_bytes(cut)).min(rest.len()));
    let (Some(left), Some(right)) = (read(left), read(right)) else { return };
    let (there, back) = (merged(&left, &right), merged(&right, &left));
    assert_eq!(there.is_some(), back.is_some(), "only one order is refused");
    if let (Some(there), Some(back)) = (there, back) {
        assert!(there.encode() == back.encode(), "merging is not commutative");
    }
    assert_compares(&left, &right);
});

//! Arbitrary bytes: refused, or a state that can be encoded, asked, merged and compared.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limno_metrics_fuzz::{assert_compares, assert_holds, merged, read};

fuzz_target!(|input: &[u8]| {
    let Some(state) = read(input) else { return };
    assert_holds(&state, "decoded");
    if let Some(twice) = merged(&state, &state) {
        assert_compares(&state, &twice);
    }
});

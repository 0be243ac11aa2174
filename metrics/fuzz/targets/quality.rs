//! Arbitrary bytes: refused, or a state of model quality that can be encoded, asked, merged and compared.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limno_metrics_fuzz::{assert_quality_holds, read_quality};

fuzz_target!(|input: &[u8]| {
    if let Some(state) = read_quality(input) {
        assert_quality_holds(&state);
    }
});

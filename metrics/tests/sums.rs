//! Mean and standard deviation of a million values each of the sorts that break running sums, to the last bit.
//!
//! The values are made from seeded integers by operations that round at most once, here and in
//! `fixtures/golden/make_sums.py`, whose sums are exact integers.
#![cfg(test)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use limno_fixtures::SplitMix64;
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use serde_json::Value;

/// One value of this case.
#[expect(clippy::cast_precision_loss, reason = "integers that are doubles")]
fn draw(case: &str, rng: &mut SplitMix64) -> f64 {
    match case {
        "epoch_seconds" => {
            let seconds = 1_700_000_000 + rng.below(2_592_000);
            (seconds * 1_000_000 + rng.below(1_000_000)) as f64 / 1e6
        }
        "offset_1e16" => (10_000_000_000_000_000 + 2 * rng.below(16)) as f64,
        "wide" => spread(rng, 1023 - 997, 2 * 997),
        "tiny" => spread(rng, 1023 - 698, 150),
        "cents" => rng.below(10_000_000) as f64 / 100.0,
        other => panic!("{other}: no such case"),
    }
}

/// A double of either sign with a full mantissa and one of `exponents` biased exponents from `low` on.
fn spread(rng: &mut SplitMix64, low: u64, exponents: u64) -> f64 {
    let word = rng.next_u64();
    let exponent = low + rng.below(exponents);
    f64::from_bits((word >> 63 << 63) | (exponent << 52) | (word & ((1 << 52) - 1)))
}

fn bits(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[test]
fn a_million_values_to_the_last_bit() {
    let text = std::fs::read_to_string(limno_fixtures::paths::golden_dir().join("sums.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let rows = document["table"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let case = row["case"].as_str().unwrap();
        let mut rng = SplitMix64::new(row["seed"].as_u64().unwrap());
        let values: Vec<f64> = (0..row["rows"].as_u64().unwrap()).map(|_| draw(case, &mut rng)).collect();
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        let state = ColumnState::of(&array, &ColumnOptions::new(ColumnKind::Numeric)).unwrap();
        let profile = state.freeze().profile();
        let (avg, stddev) = (profile.avg.unwrap(), profile.stddev.unwrap());
        assert_eq!(avg.to_bits(), bits(&row["avg_bits"]), "{case}: mean {avg:e}, not {}", row["avg"]);
        assert_eq!(stddev.to_bits(), bits(&row["stddev_bits"]), "{case}: deviation {stddev:e}, not {}", row["stddev"]);
    }
}

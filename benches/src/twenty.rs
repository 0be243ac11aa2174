//! The table of twenty columns that the whole program is measured on.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use limno_fixtures::{Shift, SplitMix64, columns};

/// Twenty columns: eight continuous, four of few values, four integers, three of categories, one of flags.
///
/// # Errors
/// When the columns make no batch, which would be a defect.
pub fn batch(seed: u64, rows: usize, shift: &[Shift]) -> Result<RecordBatch, ArrowError> {
    let rng = |column: &str| SplitMix64::new(seed).stream(column);
    let mut named: Vec<(String, ArrayRef)> = Vec::new();
    for index in 0..4 {
        let name = format!("normal_{index}");
        named.push((name.clone(), Arc::new(columns::normal(&rng(&name), rows, 10.0, 3.0, shift))));
        let name = format!("log_normal_{index}");
        named.push((name.clone(), Arc::new(columns::log_normal(&rng(&name), rows, 0.0, 2.0, shift))));
        let name = format!("zero_inflated_{index}");
        named.push((name.clone(), Arc::new(columns::zero_inflated(&rng(&name), rows, 0.6, &[]))));
        let name = format!("integer_{index}");
        named.push((name.clone(), Arc::new(columns::integers(&rng(&name), rows, 0, 2000, shift))));
    }
    let levels = [("red", 5.0), ("green", 3.0), ("blue", 2.0)];
    named.push(("colour".to_owned(), Arc::new(columns::categories(&rng("colour"), rows, &levels, &[]))));
    named.push(("shop".to_owned(), Arc::new(columns::zipf(&rng("shop"), rows, 300, 1.1, &[]))));
    named.push(("product".to_owned(), Arc::new(columns::zipf(&rng("product"), rows, 3000, 1.2, &[]))));
    named.push(("flag".to_owned(), Arc::new(columns::flags(&rng("flag"), rows, 0.3, &[]))));
    RecordBatch::try_from_iter(named)
}

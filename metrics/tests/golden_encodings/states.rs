//! The states of the files: every kind of column, and every form that a state takes.
//!
//! Their values are whole numbers, or made from them by operations that round at most once.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use limno_fixtures::SplitMix64;
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::quality::{QualityOptions, QualityState, Scores};

use ColumnKind::{Categorical, Length, Numeric, Opaque, Temporal};

/// The states by name of their file.
pub(crate) fn all() -> Vec<(&'static str, ColumnState)> {
    vec![
        ("numeric_empty", ColumnState::empty(&ColumnOptions::new(Numeric))),
        ("numeric_special", of(numbers(special()), ColumnOptions::new(Numeric))),
        ("numeric_list", of(numbers(draw(1, 40, 1000)), ColumnOptions::new(Numeric))),
        ("numeric_table", of(numbers(draw(2, 9000, 200)), ColumnOptions::new(Numeric))),
        ("numeric_exact", of(numbers(draw(3, 600, 1 << 40)), ColumnOptions::exact(Numeric))),
        ("numeric_coarse", of(numbers(draw(4, 3000, 1 << 40)), with(Numeric, 64, 16))),
        ("numeric_coarse_distinct_list", of(numbers(draw(5, 300, 1 << 40)), with(Numeric, 20, 4096))),
        ("numeric_atoms", of(numbers(spiked()), with(Numeric, 32, 16))),
        ("numeric_wide_integers", of(wide_integers(), ColumnOptions::new(Numeric))),
        ("numeric_wide_coarse", of(wide_integers(), with(Numeric, 16, 10))),
        ("numeric_decimals", of(decimals(), ColumnOptions::new(Numeric))),
        ("numeric_merged", merged()),
        ("temporal_micros", of(micros(), ColumnOptions::new(Temporal))),
        ("temporal_coarse", of(micros(), with(Temporal, 16, 16))),
        ("temporal_nanos", of(nanos(), ColumnOptions::new(Temporal))),
        ("temporal_dates", of(dates(), ColumnOptions::new(Temporal))),
        ("categorical_empty", ColumnState::empty(&ColumnOptions::new(Categorical))),
        ("categorical_exact", of(strings(6, 300, 20), ColumnOptions::new(Categorical))),
        ("categorical_over_limit", of(strings(7, 900, 400), with(Categorical, 16, 4096))),
        ("categorical_estimated", of(strings(8, 9000, 1 << 30), with(Categorical, 16, 4096))),
        ("categorical_booleans", of(booleans(), ColumnOptions::new(Categorical))),
        ("categorical_integers", of(wide_integers(), ColumnOptions::new(Categorical))),
        ("length_empty", ColumnState::empty(&ColumnOptions::new(Length))),
        ("length_bytes", of(bytes(), ColumnOptions::new(Length))),
        ("opaque_empty", ColumnState::empty(&ColumnOptions::new(Opaque))),
        ("opaque", of(binary(), ColumnOptions::new(Opaque))),
    ]
}

/// The states of model quality by name of their file.
pub(crate) fn models() -> Vec<(&'static str, QualityState)> {
    let positive = Scores::Positive { class: "class 1".to_owned() };
    let each = Scores::PerClass((0..5).map(|class| format!("class {class}")).collect());
    let crowd: Vec<u64> = (0..1300).collect();
    vec![
        ("quality_classes_empty", classes(Scores::None, &[])),
        ("quality_classes", classes(Scores::None, &draw_classes(20, 400, 5))),
        ("quality_classes_too_many", classes(Scores::None, &crowd)),
        ("quality_scores", classes(positive.clone(), &draw_classes(21, 60, 2))),
        ("quality_scores_coarse", classes(positive, &draw_classes(22, 9000, 2))),
        ("quality_scores_of_each", classes(each, &draw_classes(23, 200, 6))),
        ("quality_numbers_empty", errors(&[], &[])),
        ("quality_numbers", errors(&draw(24, 100, 1000), &draw(25, 100, 1000))),
        ("quality_numbers_coarse", errors(&draw(26, 9000, 1 << 40), &draw(27, 9000, 1 << 40))),
        ("quality_numbers_special", errors(&special(), &[vec![Some(1e-300)], special()].concat()[..12])),
    ]
}

fn draw_classes(seed: u64, count: u32, classes: u64) -> Vec<u64> {
    let rng = &mut SplitMix64::new(seed);
    (0..count).map(|_| rng.below(classes)).collect()
}

/// Labels are these; every third prediction is another one, some of both are null. Scores are whole numbers over 2²⁰.
fn classes(scores: Scores, labels: &[u64]) -> QualityState {
    let options = QualityOptions::Classification { scores };
    let rng = &mut SplitMix64::new(labels.len() as u64);
    let name = |class: u64, every: usize, row: usize| (row % every != 5).then(|| format!("class {class}"));
    let label = StringArray::from_iter(labels.iter().enumerate().map(|(row, &class)| name(class, 17, row)));
    let wrong = |row: usize| u64::from(row.is_multiple_of(3));
    let predicted =
        StringArray::from_iter(labels.iter().enumerate().map(|(row, &class)| name(class + wrong(row), 13, row)));
    let score = |rng: &mut SplitMix64| f64::from(u32::try_from(rng.below((1 << 20) + 1)).unwrap()) / f64::from(1 << 20);
    let columns: Vec<ArrayRef> = (0..options.score_arrays())
        .map(|_| -> ArrayRef { Arc::new(Float64Array::from_iter_values(labels.iter().map(|_| score(rng)))) })
        .collect();
    let mut state = QualityState::empty(&options);
    state.observe(&predicted, &label, &columns).unwrap();
    state
}

fn errors(predictions: &[Option<f64>], labels: &[Option<f64>]) -> QualityState {
    let mut state = QualityState::empty(&QualityOptions::Regression);
    state.observe(&numbers(predictions.to_vec()), &numbers(labels.to_vec()), &[]).unwrap();
    state
}

fn with(kind: ColumnKind, max_buckets: u32, exact_distinct: u32) -> ColumnOptions {
    ColumnOptions { kind, max_buckets, exact_distinct }
}

#[expect(clippy::needless_pass_by_value, reason = "reads as a table")]
fn of(array: ArrayRef, options: ColumnOptions) -> ColumnState {
    ColumnState::of(&array, &options).unwrap()
}

fn numbers(values: Vec<Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

/// Numbers below `range` in steps of an eighth, with nulls.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn draw(seed: u64, count: u32, range: u64) -> Vec<Option<f64>> {
    let rng = &mut SplitMix64::new(seed);
    (0..count).map(|row| (row % 11 != 5).then(|| (rng.below(range) as f64 - range as f64 / 4.0) / 8.0)).collect()
}

fn special() -> Vec<Option<f64>> {
    let least = f64::from_bits(1);
    let values = [0.0, -0.0, least, -least, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN];
    values.into_iter().map(Some).chain([None, None]).collect()
}

/// Half of the values are zero, a tenth are one other value, the rest lie close together.
fn spiked() -> Vec<Option<f64>> {
    let rng = &mut SplitMix64::new(9);
    let value = |row: u32, rng: &mut SplitMix64| match row % 10 {
        0..5 => 0.0,
        5 => 1e9,
        _ => 1e3 + f64::from(u32::try_from(rng.below(1 << 20)).unwrap()) / 4096.0,
    };
    (0..2000).map(|row| Some(value(row, rng))).collect()
}

/// Neighbours that share their doubles.
fn wide_integers() -> ArrayRef {
    let wide = |step: i64| [step, (1 << 53) + step, i64::MAX - step, i64::MIN + step];
    Arc::new(Int64Array::from_iter_values((0..25).flat_map(wide)))
}

fn decimals() -> ArrayRef {
    let values = (0..60).map(|step| i128::from(step) * if step % 2 == 0 { 7 } else { 1_000_000_000_000_000_000_000 });
    Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(38, 3).unwrap())
}

/// An exact state into which a coarse one of other limits was merged.
fn merged() -> ColumnState {
    let mut state = of(numbers(draw(10, 50, 1 << 20)), ColumnOptions::new(Numeric));
    state.merge(&of(numbers(draw(11, 500, 1 << 20)), with(Numeric, 30, 100))).unwrap();
    state
}

fn micros() -> ArrayRef {
    let rng = &mut SplitMix64::new(12);
    let micros =
        |rng: &mut SplitMix64| 1_356_998_400_000_000 + i64::try_from(rng.below(31_536_000)).unwrap() * 1_000_000;
    let values: Vec<Option<i64>> = (0..200).map(|row| (row % 7 != 3).then(|| micros(rng))).collect();
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn nanos() -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values((0..80).map(|step| 1_356_998_400_000_000_000 + step * 250)))
}

fn dates() -> ArrayRef {
    Arc::new(Date32Array::from_iter_values((0..365).map(|day| 15_706 + day * day % 97)))
}

/// Levels of which the first are frequent, with nulls.
fn strings(seed: u64, count: u32, levels: u64) -> ArrayRef {
    let rng = &mut SplitMix64::new(seed);
    let level = |rng: &mut SplitMix64| {
        let below = if rng.below(3) == 0 { 3 } else { levels };
        format!("Straße {}", rng.below(below))
    };
    Arc::new(StringArray::from_iter((0..count).map(|row| (row % 13 != 1).then(|| level(rng)))))
}

fn booleans() -> ArrayRef {
    Arc::new(BooleanArray::from_iter((0..50).map(|row| (row % 5 != 0).then_some(row % 3 == 0))))
}

fn bytes() -> ArrayRef {
    let value = |row: usize| vec![0u8; row * row % 31];
    Arc::new(BinaryArray::from_iter((0..200).map(|row| (row % 9 != 2).then(|| value(row)))))
}

fn binary() -> ArrayRef {
    Arc::new(BinaryArray::from_iter((0..50u8).map(|row| (row % 4 != 0).then_some([row]))))
}

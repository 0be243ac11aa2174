//! Work whose instructions are counted: kernels, states and what is read from them, each on the same values in every run.
//!
//! `bench-instructions NAME` makes ready and does the work once, within [`measured`], which `benches/instructions.py` names
//! to the counter; without a name it lists the names.

use std::hint::black_box;
use std::process::ExitCode;

use arrow::array::{ArrayRef, StringArray};
use limno_benches::arguments::{Failure, finish};
use limno_benches::contenders::column_state;
use limno_benches::data::{Distribution, Side};
use limno_fixtures::{SplitMix64, columns};
use limno_metrics::column::{ColumnGroups, ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::drift::{DriftOptions, compare};

/// Values of a column that is observed.
const ROWS: usize = 1 << 18;
/// Values of each of many states.
const FEW: usize = 10_000;
/// Rows of a batch.
const BATCH: usize = 1 << 15;

/// Work that is ready to be done.
type Work = Box<dyn FnOnce() -> Result<(), Failure>>;

/// Makes work ready.
type Ready = fn() -> Result<Work, Failure>;

const WORKS: [(&str, Ready); 10] = [
    ("observe-normal", || observe(Distribution::Normal)),
    ("observe-prices", || observe(Distribution::Prices)),
    ("observe-integers", || observe(Distribution::Integers)),
    ("observe-nulls", || observe(Distribution::Nulls)),
    ("observe-text", observe_text),
    ("observe-by-group", observe_by_group),
    ("encode", encode),
    ("merge", merge),
    ("profile", profile),
    ("drift", drift),
];

fn main() -> ExitCode {
    finish(run())
}

fn run() -> Result<(), Failure> {
    let Some(name) = std::env::args().nth(1) else {
        WORKS.iter().for_each(|(name, _)| limno_benches::harness::say(name));
        return Ok(());
    };
    let (_, ready) = WORKS.iter().find(|(known, _)| *known == name).ok_or("no work has this name")?;
    measured(ready()?)
}

/// All that is counted runs below here.
#[inline(never)]
fn measured(work: Work) -> Result<(), Failure> {
    work()
}

fn column(distribution: Distribution, side: Side, rows: usize) -> Result<ColumnState, Failure> {
    Ok(column_state(&[distribution.column(side, rows)])?)
}

fn observe(distribution: Distribution) -> Result<Work, Failure> {
    let values = distribution.column(Side::Baseline, ROWS);
    let batches: Vec<_> = (0..ROWS).step_by(BATCH).map(|from| values.slice(from, BATCH)).collect();
    Ok(Box::new(move || {
        black_box(column_state(&batches)?);
        Ok(())
    }))
}

/// The batches into as many groups as there are, row by row in turn.
fn grouped(batches: Vec<ArrayRef>, kind: ColumnKind, groups: usize) -> Work {
    let of_rows: Vec<usize> = (0..BATCH).map(|row| row % groups).collect();
    Box::new(move || {
        let mut states = ColumnGroups::new(ColumnOptions::new(kind));
        states.resize(groups);
        for batch in &batches {
            states.observe(batch.as_ref(), &of_rows)?;
        }
        black_box(states.into_states());
        Ok(())
    })
}

fn observe_text() -> Result<Work, Failure> {
    let text: StringArray = columns::zipf(&SplitMix64::new(1), ROWS, 300, 1.1, &[]);
    let batches =
        (0..ROWS).step_by(BATCH).map(|from| text.slice(from, BATCH)).map(|batch| std::sync::Arc::new(batch) as _);
    Ok(grouped(batches.collect(), ColumnKind::Categorical, 1))
}

fn observe_by_group() -> Result<Work, Failure> {
    let values = Distribution::Normal.column(Side::Baseline, ROWS);
    let batches =
        (0..ROWS).step_by(BATCH).map(|from| values.slice(from, BATCH)).map(|batch| std::sync::Arc::new(batch) as _);
    Ok(grouped(batches.collect(), ColumnKind::Numeric, 5))
}

fn encode() -> Result<Work, Failure> {
    let state = column(Distribution::Normal, Side::Baseline, FEW)?;
    Ok(Box::new(move || {
        black_box(state.encode());
        Ok(())
    }))
}

fn merge() -> Result<Work, Failure> {
    let sides = [Side::Baseline, Side::Shifted];
    let encoded: Vec<Vec<u8>> = sides
        .iter()
        .map(|&side| Ok(column(Distribution::Normal, side, FEW)?.encode()))
        .collect::<Result<_, Failure>>()?;
    Ok(Box::new(move || {
        let [left, right] = &encoded[..] else { return Err("there are two sides".into()) };
        let mut merged = ColumnState::decode(left)?;
        merged.merge(&ColumnState::decode(right)?)?;
        black_box(merged);
        Ok(())
    }))
}

fn profile() -> Result<Work, Failure> {
    let state = column(Distribution::Normal, Side::Baseline, ROWS)?;
    Ok(Box::new(move || {
        black_box(state.freeze().profile());
        Ok(())
    }))
}

fn drift() -> Result<Work, Failure> {
    let before = column(Distribution::Normal, Side::Baseline, ROWS)?.freeze();
    let now = column(Distribution::Normal, Side::Shifted, ROWS)?.freeze();
    Ok(Box::new(move || {
        black_box(compare(&before, &now, &DriftOptions::default())?);
        Ok(())
    }))
}

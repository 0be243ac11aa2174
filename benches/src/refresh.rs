//! Tables for refreshes, which `benches/refresh.sh` runs and measures as whole processes.
//!
//! `bench-refresh DIR FIRST_DAY DAYS ROWS` appends days to a Delta table, each of so many rows, in a commit and a file of
//! its own. Twenty columns and a time; the values are those of a million rows, in another order each day.
//!
//! `bench-refresh wide DIR COLUMNS DAYS ROWS` does so with many numeric columns and a segment of ten values.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use deltalake::DeltaTableBuilder;
use deltalake::protocol::SaveMode;
use limno_benches::twenty::batch;
use limno_fixtures::SplitMix64;
use url::Url;

const POOL: usize = 1_000_000;
const MICROS_A_DAY: i64 = 86_400_000_000;
/// 2024-01-01.
const FIRST_DAY: i64 = 19_723;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["wide", folder, columns, days, rows] => wide(Path::new(folder), columns, days, rows),
        [folder, first, days, rows] => append(Path::new(folder), first, days, rows),
        _ => Err("usage: bench-refresh DIR FIRST_DAY DAYS ROWS | bench-refresh wide DIR COLUMNS DAYS ROWS".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a benchmark's own message")]
fn report(message: &str) {
    eprintln!("{message}");
}

fn append(folder: &Path, first: &str, days: &str, rows: &str) -> Result<(), Failure> {
    let (first, days, rows): (i64, i64, usize) = (first.parse()?, days.parse()?, rows.parse()?);
    let pool = batch(1, POOL, &[])?;
    write(folder, (first..first + days).map(|day| of_day(&pool, day, rows)))
}

fn wide(folder: &Path, columns: &str, days: &str, rows: &str) -> Result<(), Failure> {
    let (columns, days, rows): (usize, i64, usize) = (columns.parse()?, days.parse()?, rows.parse()?);
    // Twice the rows of a day, so that each column of each day can begin elsewhere.
    let pool = batch(1, 2 * rows, &[])?;
    let numeric: Vec<&ArrayRef> =
        pool.columns().iter().filter(|values| values.data_type() == &DataType::Float64).collect();
    let day = |day: i64| -> Result<RecordBatch, Failure> {
        let mut rng = SplitMix64::new(day.unsigned_abs());
        let segments: StringArray = (0..rows).map(|row| Some(format!("segment {}", row % 10))).collect();
        let mut named: Vec<(String, ArrayRef)> =
            vec![("at".to_owned(), times(day, rows)?), ("segment".to_owned(), Arc::new(segments))];
        for column in 0..columns {
            let values = numeric[column % numeric.len()].slice(rng.index(rows), rows);
            named.push((format!("c{column}"), values));
        }
        Ok(RecordBatch::try_from_iter(named)?)
    };
    write(folder, (0..days).map(day))
}

/// Appends each batch in a commit of its own.
fn write(folder: &Path, batches: impl Iterator<Item = Result<RecordBatch, Failure>>) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let url = Url::from_directory_path(folder.canonicalize()?).map_err(|()| "no folder")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        for batch in batches {
            let builder = DeltaTableBuilder::from_url(url.clone())?;
            let table = if folder.join("_delta_log").exists() { builder.load().await? } else { builder.build()? };
            table.write([batch?]).with_save_mode(SaveMode::Append).await?;
        }
        Ok(())
    })
}

fn times(day: i64, rows: usize) -> Result<ArrayRef, Failure> {
    let step = MICROS_A_DAY / i64::try_from(rows.max(1))?;
    let start = (FIRST_DAY + day) * MICROS_A_DAY;
    let at: TimestampMicrosecondArray = (0..i64::try_from(rows)?).map(|row| Some(start + row * step)).collect();
    Ok(Arc::new(at.with_timezone("UTC")))
}

/// Rows of the pool in an order of the day's own, spread evenly over the day.
fn of_day(pool: &RecordBatch, day: i64, rows: usize) -> Result<RecordBatch, Failure> {
    let mut rng = SplitMix64::new(day.unsigned_abs());
    let picked: UInt32Array = (0..rows).map(|_| u32::try_from(rng.below(POOL as u64)).ok()).collect();
    let mut columns: Vec<(String, ArrayRef)> = vec![("at".to_owned(), times(day, rows)?)];
    for (field, values) in pool.schema().fields().iter().zip(pool.columns()) {
        columns.push((field.name().clone(), take(values, &picked, None)?));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

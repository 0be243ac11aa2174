//! `limno compare` against the decode floor, as whole processes.
//!
//! `bench-compare generate DIR ROWS` writes two Parquet files of 20 columns, `bench-compare generate-wide DIR ROWS
//! COLUMNS` of any number; `bench-compare scan A B` reads and decodes every column of both through the session that
//! refreshes use, and drops the batches. `benches/compare.sh` runs both against `limno compare` on the same files,
//! `benches/peers.sh` against other programs too.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use limno_benches::arguments::{Failure, finish};
use limno_benches::twenty::batch;
use limno_fixtures::{Shift, SplitMix64};
use limno_sql::session::{self, SessionOptions};
use limno_sql::source::Source;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Values that are drawn at once, so that a large table need not fit into memory: a million rows of twenty columns.
const DRAWN_VALUES: usize = 20_000_000;

/// As `limno` has it, so that the floor stands on the same ground.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["generate", folder, rows] => generate(Path::new(folder), rows),
        ["generate-wide", folder, rows, columns] => generate_wide(Path::new(folder), rows, columns),
        ["scan", files @ ..] if !files.is_empty() => scan(files),
        _ => Err("usage: bench-compare generate DIR ROWS | bench-compare generate-wide DIR ROWS COLUMNS | \
                  bench-compare scan FILE…"
            .into()),
    };
    finish(result)
}

fn generate(folder: &Path, rows: &str) -> Result<(), Failure> {
    write_sides(folder, rows.parse()?, DRAWN_VALUES / 20, batch)
}

fn generate_wide(folder: &Path, rows: &str, columns: &str) -> Result<(), Failure> {
    let columns: usize = columns.parse()?;
    let drawn = (DRAWN_VALUES / columns.max(1)).max(1);
    write_sides(folder, rows.parse()?, drawn, |seed, rows, shift| wide(seed, rows, columns, shift))
}

/// The twenty columns again and again, each drawn anew: `normal_0` of the first twenty is `normal_0_0`.
fn wide(seed: u64, rows: usize, columns: usize, shift: &[Shift]) -> Result<RecordBatch, ArrowError> {
    let mut named: Vec<(String, ArrayRef)> = Vec::with_capacity(columns);
    let mut number = 0;
    while named.len() < columns {
        let seed = SplitMix64::new(seed).stream(&format!("twenty {number}")).next_u64();
        let twenty = batch(seed, rows, shift)?;
        let missing = columns - named.len();
        for (field, values) in twenty.schema().fields().iter().zip(twenty.columns()).take(missing) {
            named.push((format!("{}_{number}", field.name()), Arc::clone(values)));
        }
        number += 1;
    }
    RecordBatch::try_from_iter(named)
}

/// Writes the two files, `drawn` rows at a time. A table is drawn from a seed, for so many rows, with the side's shift.
fn write_sides(
    folder: &Path,
    rows: usize,
    drawn: usize,
    table: impl Fn(u64, usize, &[Shift]) -> Result<RecordBatch, ArrowError>,
) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (name, first_seed, shift) in [("a.parquet", 1, &[][..]), ("b.parquet", 2, &[Shift::Mean(0.1)][..])] {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(131_072))
            .build();
        let (mut seed, mut left) = (first_seed, rows);
        let mut batch = table(seed, left.min(drawn), shift)?;
        let mut writer = ArrowWriter::try_new(File::create(folder.join(name))?, batch.schema(), Some(properties))?;
        loop {
            writer.write(&batch)?;
            left -= batch.num_rows();
            if left == 0 {
                break;
            }
            // One side has the odd seeds, the other the even ones.
            seed += 2;
            batch = table(seed, left.min(drawn), shift)?;
        }
        writer.close()?;
    }
    Ok(())
}

/// Decodes every column of every file; says how many bytes that were, so that a floor that skips work is noticed.
fn scan(files: &[&str]) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut rows, mut bytes) = (0usize, 0usize);
        for file in files {
            let context = session::context(&SessionOptions::default())?;
            let source = Source::open(&context, file).await?;
            let streams = context.read_table(source.provider)?.execute_stream_partitioned().await?;
            let tasks = streams.into_iter().map(|stream| {
                tokio::spawn(async move {
                    stream
                        .try_fold((0usize, 0usize), |(rows, bytes), batch| async move {
                            Ok((rows + batch.num_rows(), bytes + batch.get_array_memory_size()))
                        })
                        .await
                })
            });
            for done in futures::future::try_join_all(tasks).await? {
                let (more_rows, more_bytes) = done?;
                rows += more_rows;
                bytes += more_bytes;
            }
        }
        if bytes < rows {
            return Err(format!("{rows} rows decoded to {bytes} bytes only: this is no floor").into());
        }
        Ok(())
    })
}

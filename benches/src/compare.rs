//! `limno compare` against the decode floor, as whole processes.
//!
//! `bench-compare generate DIR ROWS` writes two Parquet files of 20 columns; `bench-compare scan A B` reads and decodes
//! every column of both through the session that refreshes use, and drops the batches. `benches/compare.sh` runs both
//! against `limno compare` on the same files.

use futures::TryStreamExt;
use limno_benches::arguments::{Failure, finish};
use limno_benches::twenty::batch;
use limno_fixtures::Shift;
use limno_sql::session::{self, SessionOptions};
use limno_sql::source::Source;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["generate", folder, rows] => generate(Path::new(folder), rows),
        ["scan", files @ ..] if !files.is_empty() => scan(files),
        _ => Err("usage: bench-compare generate DIR ROWS | bench-compare scan FILE…".into()),
    };
    finish(result)
}

fn generate(folder: &Path, rows: &str) -> Result<(), Failure> {
    let rows: usize = rows.parse()?;
    std::fs::create_dir_all(folder)?;
    for (name, seed, shift) in [("a.parquet", 1, &[][..]), ("b.parquet", 2, &[Shift::Mean(0.1)][..])] {
        let batch = batch(seed, rows, shift)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(131_072))
            .build();
        let mut writer = ArrowWriter::try_new(File::create(folder.join(name))?, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
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

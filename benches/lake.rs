//! A refresh over a store where each request takes its time and some go wrong, against the same store without faults.
//!
//! `cargo bench -p limno-benches --bench lake -- [--rows N] [--rounds N]`, where N is how many rows a file has and how often
//! it is refreshed each way. Needs the query engine, so it is a long build; as the time is that of waiting, `--profile dev`
//! says the same of many requests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::util::pretty::pretty_format_batches;
use deltalake::DeltaTableBuilder;
use deltalake::protocol::SaveMode;
use limno_benches::arguments::{Arguments, Failure};
use limno_benches::harness::say;
use limno_engine::clock::FixedClock;
use limno_engine::config::Config;
use limno_engine::engine::Engine;
use limno_engine::progress::Progress;
use limno_engine::store;
use limno_fixtures::SplitMix64;
use limno_sql::lake::faults::{Fault, Faults};
use limno_sql::lake::{LakeOptions, Layer};
use limno_sql::session::{self, SessionOptions};
use url::Url;

const FILES: i64 = 200;
/// Files of a day.
const FILES_A_DAY: i64 = 10;
const COLUMNS: usize = 20;
const LATENCY: Duration = Duration::from_millis(100);
/// Requests of a thousand that go wrong.
const RATE: u64 = 50;
/// What services have now and then. The time that a stuck connection takes until it is given up is not in it: it is what
/// `timeout` says, 30 s if nothing else.
const FAULTS: &[Fault] =
    &[Fault::Reset, Fault::Lost, Fault::Broken, Fault::Throttled(Duration::from_secs(1)), Fault::Reset];
const HOUR: i64 = 3_600_000_000;
/// 2024-01-01.
const START: i64 = 19_723 * 24 * HOUR;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::read()?;
    let (rows, rounds) = (arguments.rows.unwrap_or(5_000), arguments.rounds.unwrap_or(3));
    let folder = std::env::temp_dir().join(format!("limnograph-lake-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        write(&folder.join("t"), rows).await?;
        compare(&folder, rounds).await
    });
    std::fs::remove_dir_all(&folder)?;
    outcome
}

/// Appends files, each in a commit of its own.
async fn write(folder: &Path, rows: usize) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let url = Url::from_directory_path(folder).map_err(|()| "no folder")?;
    let mut table = DeltaTableBuilder::from_url(url)?.build()?;
    for file in 0..FILES {
        let mut rng = SplitMix64::new(file.unsigned_abs());
        let start = START + (file / FILES_A_DAY * 24 + file % FILES_A_DAY * 2) * HOUR;
        let at: TimestampMicrosecondArray =
            (0..rows).map(|row| Some(start + i64::try_from(row).unwrap_or(0))).collect();
        let mut columns: Vec<(String, ArrayRef)> = vec![("at".to_owned(), Arc::new(at.with_timezone("UTC")))];
        for column in 0..COLUMNS {
            let values: Float64Array = (0..rows).map(|_| Some(rng.uniform())).collect();
            columns.push((format!("c{column}"), Arc::new(values)));
        }
        table = table.write([RecordBatch::try_from_iter(columns)?]).with_save_mode(SaveMode::Append).await?;
    }
    Ok(())
}

/// How long a refresh took, and what was asked.
struct Run {
    seconds: f64,
    requests: u64,
    faults: u64,
    /// All of the profile, as text.
    profile: String,
}

async fn refresh(folder: &Path, output: &str, faults: &Faults) -> Result<Run, Failure> {
    let mut text = String::new();
    let place = folder.display();
    writeln!(text, "[monitor.m]\ntable = \"{place}/t\"\noutput = \"{place}/{output}\"")?;
    writeln!(text, "[monitor.m.time_series]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]")?;
    let config = Config::parse(&text, "limno.toml", &BTreeMap::new())?;
    let lake = LakeOptions { layer: Some(Arc::new(faults.clone()) as Arc<dyn Layer>), ..LakeOptions::default() };
    let options = SessionOptions { lake, ..SessionOptions::default() };
    let now = chrono::DateTime::from_timestamp_micros(START + 40 * 24 * HOUR).ok_or("no time")?;
    let engine = Engine::new(config, Arc::new(FixedClock::at(now)), Progress::hidden(), &options)?;
    let start = Instant::now();
    let bound = engine.bind(engine.config().monitors.first().ok_or("no monitor")?).await?;
    let report = Box::pin(engine.run(&bound, false)).await?;
    let seconds = start.elapsed().as_secs_f64();
    let row = report.refreshed.ok_or("nothing was refreshed")?;
    if row.files_read != FILES {
        return Err(format!("{} files were read, not {FILES}", row.files_read).into());
    }
    let (requests, faults) = faults.counted();
    let context = session::context(&SessionOptions::default())?;
    let profile = store::read(&context, &format!("{place}/{output}/m_profile_metrics")).await?.ok_or("no profile")?;
    let columns: Vec<usize> =
        (0..profile.num_columns()).filter(|&index| profile.schema().field(index).name() != "refreshed_at").collect();
    let profile = pretty_format_batches(&[profile.project(&columns)?])?.to_string();
    let mut lines: Vec<&str> = profile.lines().collect();
    lines.sort_unstable();
    Ok(Run { seconds, requests, faults, profile: lines.join("\n") })
}

async fn compare(folder: &Path, rounds: usize) -> Result<(), Failure> {
    say("| round | store | seconds | requests | of them failed | ratio |\n|---|---|---|---|---|---|");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let well = Faults::new(|_| None).with_latency(LATENCY);
        let well = refresh(folder, &format!("well_{round}"), &well).await?;
        let seed = u64::try_from(round)?;
        let faulty = Faults::seeded(seed, RATE, FAULTS).with_latency(LATENCY);
        let faulty = refresh(folder, &format!("faulty_{round}"), &faulty).await?;
        if well.profile != faulty.profile {
            return Err("the numbers are not the same".into());
        }
        let ratio = faulty.seconds / well.seconds;
        ratios.push(ratio);
        say(&format!("| {round} | 100 ms | {:.2} | {} | {} | ×1 |", well.seconds, well.requests, well.faults));
        say(&format!(
            "| {round} | 100 ms, 5 % fail | {:.2} | {} | {} | ×{ratio:.2} |",
            faulty.seconds, faulty.requests, faulty.faults
        ));
    }
    ratios.sort_by(f64::total_cmp);
    say(&format!("\nmedian ×{:.2}", ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)));
    Ok(())
}

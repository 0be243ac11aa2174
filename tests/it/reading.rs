//! What is asked of a store: how many bytes, in how many requests, and how many of them one after the other.
#![cfg(test)]

mod watched;
mod writers;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat_batches, max, min};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, TimeDelta};
use deltalake::DeltaTableBuilder;
use futures::TryStreamExt;
use limno_engine::clock::FixedClock;
use limno_engine::config::Config;
use limno_engine::engine::{Engine, Report};
use limno_engine::progress::Progress;
use limno_sql::lake::LakeOptions;
use limno_sql::session::SessionOptions;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use url::Url;

use crate::stories::numbers_of;
use crate::support_run::{Place, instant, numbers, table, times};
use watched::{Requests, Watch};

/// An engine whose requests are watched.
struct Reader {
    engine: Engine,
    watch: Watch,
    runtime: tokio::runtime::Runtime,
}

impl Reader {
    fn new(place: &Place, latency: Duration) -> Self {
        Self::with_room(place, latency, None)
    }

    /// With so much memory for what is read ahead or shared.
    fn with_room(place: &Place, latency: Duration, held: Option<u64>) -> Self {
        let watch = Watch::new(latency);
        let lake = LakeOptions { layer: Some(Arc::new(watch.clone())), held, ..LakeOptions::default() };
        let options = SessionOptions { partitions: Some(2), lake, ..SessionOptions::default() };
        let clock = Arc::new(FixedClock::at(instant("2024-03-01T00:00:00Z")));
        let config = Config::load(&place.path("limno.toml"), &BTreeMap::new()).unwrap();
        let engine = Engine::new(config, clock, Progress::hidden(), &options).unwrap();
        Self { engine, watch, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    /// One run of all monitors, as the program does it, and what it asked for.
    fn run(&self) -> (Vec<Report>, Requests) {
        self.watch.take();
        let reports = self.runtime.block_on(Box::pin(async {
            let monitors: Vec<_> = self.engine.config().monitors.iter().collect();
            let bound = self.engine.bind_all(&monitors).await.unwrap();
            let bound: Vec<_> = bound.into_iter().map(|(_, bound)| bound.unwrap()).collect();
            let ran: Vec<_> = self.engine.run_all(bound, false).unwrap().try_collect().await.unwrap();
            ran.into_iter().map(|(_, report)| report.unwrap()).collect()
        }));
        (reports, self.watch.take())
    }
}

/// Numbers that do not compress.
fn noise(seed: u64, rows: u64) -> ArrayRef {
    let mixed = |row: u64| {
        let mut bits = (seed << 32 | row).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits ^= bits >> 29;
        bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits >> 11) as f64
    };
    numbers((0..rows).map(mixed))
}

/// A day of a table with a time and so many other columns.
fn wide(day: i64, rows: u64, columns: u64) -> RecordBatch {
    let start = instant("2024-01-01T00:00:00Z") + TimeDelta::days(day - 1);
    let step = TimeDelta::days(1) / i32::try_from(rows).unwrap();
    let at = times((0..rows).map(|row| start + step * i32::try_from(row).unwrap()));
    let names: Vec<String> = (1..columns).map(|column| format!("c{column}")).collect();
    let others = names.iter().zip(1..).map(|(name, seed)| (name.as_str(), noise(seed * 1000 + day as u64, rows)));
    table([("at", at)].into_iter().chain(others))
}

fn monitor(name: &str, columns: &[&str]) -> String {
    let mut text = format!("[monitor.{name}]\ntable = \"~/t\"\noutput = \"~/out_{name}\"\n");
    writeln!(text, "columns.include = {columns:?}").unwrap();
    writeln!(text, "[monitor.{name}.time_series]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]").unwrap();
    text
}

/// The size of the data files of a table.
fn size(place: &Place, name: &str) -> u64 {
    let is_data = |path: &std::path::Path| path.extension().is_some_and(|ending| ending == "parquet");
    place.files(name).into_iter().filter(|(path, _)| is_data(path)).map(|(_, size)| size).sum()
}

/// Three of 200 columns are read, and little else.
#[test]
fn few_columns_of_a_wide_table_are_few_of_its_bytes() {
    let place = Place::new();
    for day in 1..=3 {
        place.delta("t", &wide(day, 4000, 200));
    }
    place.configure(&monitor("m", &["c7", "c150"]));
    let reader = Reader::new(&place, Duration::ZERO);
    let (reports, requests) = reader.run();
    assert_eq!(reports[0].refreshed.as_ref().unwrap().rows, 12_000);
    let (read, all) = (requests.of_data("t"), size(&place, "t"));
    println!("{} of {all} bytes in {} requests", read.bytes(), read.count());
    assert!(read.bytes() * 20 < all, "{} of {all} bytes were read", read.bytes());
}

/// Files of the table in one commit, of so many rows each but for the last; how many they are.
fn write_files(place: &Place, rows: &RecordBatch, rows_a_file: usize) -> usize {
    let folder = place.path("t");
    std::fs::create_dir_all(&folder).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let table = DeltaTableBuilder::from_url(Url::from_directory_path(&folder).unwrap()).unwrap().build().unwrap();
        let write = table.write([rows.clone()]).with_write_batch_size(rows_a_file);
        write.with_target_file_size(NonZeroU64::new(1)).await.unwrap();
    });
    place.files("t").iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "parquet")).count()
}

/// One more commit, of one action.
fn commit(place: &Place, action: &Value) {
    let log = place.files("t/_delta_log").into_iter();
    let versions = log.filter(|(path, _)| path.extension().is_some_and(|ending| ending == "json")).count();
    std::fs::write(place.path(&format!("t/_delta_log/{versions:020}.json")), action.to_string()).unwrap();
}

/// One more file of the table, as another writer may have written it; the action that added it.
fn add_file(place: &Place, name: &str, rows: &RecordBatch, properties: WriterProperties) -> Value {
    let path = place.path(&format!("t/{name}"));
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    let at = rows.column_by_name("at").unwrap().as_primitive::<TimestampMicrosecondType>();
    let text = |micros: Option<i64>| DateTime::from_timestamp_micros(micros.unwrap()).unwrap().to_rfc3339();
    let stats = json!({
        "numRecords": rows.num_rows(),
        "minValues": { "at": text(min(at)) },
        "maxValues": { "at": text(max(at)) },
        "nullCount": { "at": 0 },
    });
    let add = json!({
        "path": name, "partitionValues": {}, "size": path.metadata().unwrap().len(),
        "modificationTime": 1_704_067_200_000_i64, "dataChange": true, "stats": stats.to_string(),
    });
    commit(place, &json!({ "add": add }));
    add
}

/// A request takes its time; 200 of them one after the other would take 200 times that.
#[test]
fn many_small_files_are_a_few_round_trips() {
    let place = Place::new();
    let files = write_files(&place, &wide(1, 20_000, 5), 100);
    place.configure(&monitor("m", &["c1", "c2", "c3", "c4"]));
    let reader = Reader::new(&place, Duration::from_millis(20));
    let (reports, requests) = reader.run();
    let row = reports[0].refreshed.as_ref().unwrap();
    assert_eq!((row.rows, row.files_read), (20_000, files as i64));
    let of_data = requests.of_data("t");
    println!(
        "{} requests, depth {}; of data {}, depth {}",
        requests.count(),
        requests.depth(),
        of_data.count(),
        of_data.depth()
    );
    // One request a file: what is that small is read as a whole.
    assert_eq!((of_data.count(), of_data.files()), (files, files));
    assert!(of_data.depth() <= 12, "{} round trips", of_data.depth());
    assert!(requests.depth() <= 60, "{} round trips in all", requests.depth());
}

/// Each commit of a log is asked for once, and not after the one before.
#[test]
fn a_long_log_is_a_few_round_trips() {
    let place = Place::new();
    place.delta("t", &wide(1, 100, 3));
    place.configure(&monitor("m", &["c1", "c2"]));
    Reader::new(&place, Duration::ZERO).run();
    for day in 2..=50 {
        add_file(&place, &format!("{day}.parquet"), &wide(day, 100, 3), WriterProperties::builder().build());
    }
    let reader = Reader::new(&place, Duration::from_millis(20));
    let (reports, requests) = reader.run();
    let row = reports[0].refreshed.as_ref().unwrap();
    assert_eq!((row.mode, row.rows), (Some("incremental"), 4900));
    let commits = requests.iter().filter(|request| request.what == "get" && request.path.contains("/t/_delta_log/0"));
    let commits = commits.count();
    println!("{} commits read, depth {} of {} requests", commits, requests.depth(), requests.count());
    assert_eq!(commits, 50);
    assert!(requests.depth() <= 100, "{} round trips", requests.depth());
}

/// Files that are not small: first their ends, then the columns that are wanted, of several at once.
#[test]
fn large_files_are_read_side_by_side() {
    let place = Place::new();
    let files = write_files(&place, &wide(1, 60_000, 30), 1500);
    place.configure(&monitor("m", &["c1", "c25"]));
    let reader = Reader::new(&place, Duration::from_millis(20));
    let (reports, requests) = reader.run();
    assert_eq!(reports[0].refreshed.as_ref().unwrap().files_read, files as i64);
    let of_data = requests.of_data("t");
    println!(
        "of data {}, depth {}, {} of {} bytes",
        of_data.count(),
        of_data.depth(),
        of_data.bytes(),
        size(&place, "t")
    );
    // The end, and each of three columns.
    assert!(of_data.count() <= files * 4, "{} requests", of_data.count());
    assert!(of_data.depth() <= 12, "{} round trips", of_data.depth());
}

/// Windows that are read anew are looked for in no row group that cannot hold them.
#[test]
fn a_window_is_read_from_the_row_groups_that_can_hold_it() {
    let place = Place::new();
    let days: Vec<_> = (1..=10).map(|day| wide(day, 2000, 10)).collect();
    let all = concat_batches(&days[0].schema(), &days).unwrap();
    place.delta("t", &wide(11, 100, 10));
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(2000)).build();
    add_file(&place, "all.parquet", &all, groups.clone());
    // A file of one day, which is deleted again: the day is dirty then.
    let add = add_file(&place, "five.parquet", &wide(5, 500, 10), groups);
    place.configure(&monitor("m", &["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"]));
    Reader::new(&place, Duration::ZERO).run();
    commit(
        &place,
        &json!({ "remove": {
            "path": add["path"], "deletionTimestamp": 1_704_067_200_000_i64, "dataChange": true,
            "extendedFileMetadata": true, "partitionValues": {}, "size": add["size"], "stats": add["stats"],
        }}),
    );
    let reader = Reader::new(&place, Duration::ZERO);
    let (reports, requests) = reader.run();
    let row = reports[0].refreshed.as_ref().unwrap();
    assert_eq!((row.mode, row.rows, row.windows), (Some("incremental"), 2000, 1));
    let (read, all) = (requests.of_data("t"), size(&place, "t"));
    // One of ten row groups, and the end of the file.
    assert!(read.bytes() * 5 < all, "{} of {all} bytes", read.bytes());
}

/// The places in which a file's footer was asked for.
fn ends(place: &Place, requests: &Requests) -> usize {
    let sizes: BTreeMap<String, u64> =
        place.files("t").into_iter().map(|(path, size)| (path.to_str().unwrap().to_owned(), size)).collect();
    let is_end = |request: &&watched::Request| sizes.get(&request.path) == Some(&(request.from + request.bytes));
    requests.iter().filter(is_end).count()
}

/// What several monitors of a table want of its files is read once, and each has the numbers that it has alone.
#[test]
fn monitors_of_one_table_share_what_is_read() {
    let place = Place::new();
    let files = write_files(&place, &wide(1, 60_000, 30), 6000);
    let of = [("a", ["c1", "c2", "c3"]), ("b", ["c2", "c3", "c4"]), ("c", ["c1", "c3", "c4"])];
    let alone: Vec<_> = of
        .iter()
        .map(|(name, columns)| {
            place.configure(&monitor(name, columns));
            Reader::new(&place, Duration::from_millis(5)).run();
            let numbers = numbers_of(&place, &format!("{name}_profile_metrics"));
            std::fs::remove_dir_all(place.path(&format!("out_{name}"))).unwrap();
            numbers
        })
        .collect();
    place.configure(&monitor("u", &["c1", "c2", "c3", "c4"]));
    let (_, of_union) = Reader::new(&place, Duration::from_millis(5)).run();
    let all: String = of.iter().map(|(name, columns)| monitor(name, columns)).collect();
    place.configure(&all);
    let (_, together) = Reader::new(&place, Duration::from_millis(5)).run();
    for ((name, _), alone) in of.iter().zip(alone) {
        assert_eq!(numbers_of(&place, &format!("{name}_profile_metrics")), alone, "{name}");
    }
    let (one, three) = (of_union.of_data("t"), together.of_data("t"));
    println!("{} bytes for one, {} for three", one.bytes(), three.bytes());
    assert!(three.bytes() * 10 <= one.bytes() * 11, "{} bytes for one, {} for three", one.bytes(), three.bytes());
    assert_eq!(ends(&place, &three), files, "each footer is read once");
}

/// Monitors that do not run at once still share footers.
#[test]
fn a_footer_is_read_once_for_all_monitors() {
    let place = Place::new();
    let files = write_files(&place, &wide(1, 30_000, 30), 6000);
    place.configure(&format!("{}{}", monitor("a", &["c1"]), monitor("b", &["c2"])));
    let reader = Reader::new(&place, Duration::ZERO);
    let mut read = Vec::new();
    for monitor in &reader.engine.config().monitors {
        reader.watch.take();
        reader.runtime.block_on(Box::pin(async {
            let bound = reader.engine.bind(monitor).await.unwrap();
            assert_eq!(reader.engine.run(&bound, false).await.unwrap().refreshed.unwrap().rows, 30_000);
        }));
        read.push(ends(&place, &reader.watch.take().of_data("t")));
    }
    // Two streams that begin with halves of one file may both ask for its footer; whoever comes later asks for none.
    assert!((files..=2 * files).contains(&read[0]) && read[1] == 0, "{read:?} footers of {files} files");
}

/// Too little memory costs requests, and one monitor that fails costs the others nothing.
#[test]
fn sharing_without_room_or_with_a_monitor_that_fails_changes_no_number() {
    let place = Place::new();
    write_files(&place, &wide(1, 30_000, 30), 3000);
    place.configure(&monitor("a", &["c1", "c2"]));
    Reader::new(&place, Duration::ZERO).run();
    let alone = numbers_of(&place, "a_profile_metrics");
    let fine = format!("{}{}", monitor("a", &["c1", "c2"]), monitor("b", &["c1", "c2"]));
    // Slices by a number that never repeats are more than are allowed.
    let failing =
        monitor("c", &["c1"]).replace("[monitor.c.time", "max_slices = 5\nslices = [\"c3\"]\n[monitor.c.time");
    place.configure(&format!("{fine}{failing}"));
    for held in [0, 200_000, 1 << 30] {
        for name in ["a", "b", "c"] {
            // There is none of the first run.
            drop(std::fs::remove_dir_all(place.path(&format!("out_{name}"))));
        }
        let reader = Reader::with_room(&place, Duration::from_millis(1), Some(held));
        let ran = reader.runtime.block_on(Box::pin(async {
            let monitors: Vec<_> = reader.engine.config().monitors.iter().collect();
            let bound = reader.engine.bind_all(&monitors).await.unwrap();
            let bound: Vec<_> = bound.into_iter().map(|(_, bound)| bound.unwrap()).collect();
            let ran = reader.engine.run_all(bound, false).unwrap();
            ran.try_collect::<Vec<_>>().await.unwrap()
        }));
        assert_eq!(ran.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(ran[0].1.is_ok() && ran[1].1.is_ok());
        assert!(ran[2].1.as_ref().unwrap_err().to_string().contains("c3"), "{:?}", ran[2]);
        for name in ["a", "b"] {
            assert_eq!(numbers_of(&place, &format!("{name}_profile_metrics")), alone, "{name} with {held} bytes");
        }
    }
}

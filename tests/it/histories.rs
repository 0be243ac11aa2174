//! Random histories of a Delta table: whatever happened to it, and whenever a refresh looked, the metric tables and the
//! ledger are those of a refresh from nothing, bit for bit.
//!
//! `LIMNO_HISTORIES=N` runs N more seeds from `LIMNO_FIRST_SEED` on; `LIMNO_HISTORY_SEED=S` runs one and tells its steps.

mod compare;
mod operation;
mod source;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::Mutex;

use chrono::TimeDelta;
use limno_engine::clock::FixedClock;
use limno_engine::config::Config;
use limno_engine::engine::{Engine, Report};
use limno_engine::progress::Progress;
use limno_fixtures::rng::SplitMix64 as Rng;
use limno_sql::session::SessionOptions;

use crate::support_run::{Place, instant};
use compare::{Exempt, assert_same};
use operation::Operation;
use source::{Shape, TimeKind};

/// Seeds of the ordinary run, split over the tests below.
const SEEDS: u64 = 40;
const COMMITS: u64 = 30;

/// What the long runs count.
static TALLY: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

fn count(what: &str) {
    *TALLY.lock().unwrap().entry(what.to_owned()).or_default() += 1;
}

/// What a monitor says of the table, which changes now and then.
#[derive(Debug, Clone)]
struct Monitor {
    is_inference_log: bool,
    granularities: Vec<&'static str>,
    slices: Vec<&'static str>,
    excluded: Vec<&'static str>,
    baseline: Option<&'static str>,
    timezone: &'static str,
    bins: u32,
    grace: &'static str,
}

const GRANULARITIES: [&[&str]; 6] = [
    &["1 day"],
    &["1 day", "1 week"],
    &["1 hour"],
    &["1 month"],
    &["6 hours", "1 day"],
    &["30 minutes", "1 day", "1 month"],
];
const SLICES: [&str; 3] = ["kind", "y > 0.5", "n % 3"];

impl Monitor {
    fn random(rng: &mut Rng) -> Self {
        let pick = |rng: &mut Rng, of: &[&'static str]| of[rng.index(of.len())];
        let granularities = GRANULARITIES[rng.index(GRANULARITIES.len())].to_vec();
        let slices = SLICES.into_iter().filter(|_| rng.chance(0.35)).collect();
        Self {
            is_inference_log: rng.chance(0.5),
            granularities,
            slices,
            excluded: vec!["id"],
            baseline: [None, Some("before.parquet"), Some("before")][rng.index(3)],
            timezone: pick(rng, &["UTC", "Europe/Berlin", "Asia/Kolkata"]),
            bins: 10,
            grace: "0s",
        }
    }

    /// Another configuration, of the same monitor.
    fn change(&mut self, rng: &mut Rng) -> String {
        match rng.below(6) {
            0 => self.granularities = GRANULARITIES[rng.index(GRANULARITIES.len())].to_vec(),
            1 => {
                let slice = SLICES[rng.index(SLICES.len())];
                if self.slices.contains(&slice) {
                    self.slices.retain(|known| *known != slice);
                } else {
                    self.slices.push(slice);
                }
            }
            2 => {
                let column = ["n", "y", "kind"][rng.index(3)];
                if self.excluded.contains(&column) {
                    self.excluded.retain(|known| *known != column);
                } else {
                    self.excluded.push(column);
                }
            }
            3 => self.bins = [5, 7, 10, 12][rng.index(4)],
            4 => self.grace = ["0s", "1h", "36h"][rng.index(3)],
            _ => self.baseline = [None, Some("before.parquet"), Some("before")][rng.index(3)],
        }
        format!("configure {self:?}")
    }

    fn configure(&self, place: &Place, output: &str) -> Config {
        let list = |items: &[&str]| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ");
        let baseline = self.baseline.map(|name| format!("baseline = \"~/{name}\"\n")).unwrap_or_default();
        let kind = if self.is_inference_log {
            "[monitor.m.inference_log]\nmodel_id = \"model\"\nprediction = \"y\"\nproblem_type = \"regression\"\n"
        } else {
            "[monitor.m.time_series]\n"
        };
        place.configure(&format!(
            "[monitor.m]\ntable = \"~/t\"\noutput = \"~/{output}\"\n{baseline}slices = [{}]\n\
             columns = {{ exclude = [{}] }}\ntimezone = {:?}\nbins = {}\ngrace = {:?}\n{kind}\
             timestamp = \"at\"\ngranularities = [{}]\n",
            list(&self.slices),
            list(&self.excluded),
            self.timezone,
            self.bins,
            self.grace,
            list(&self.granularities)
        ));
        Config::load(&place.path("limno.toml"), &BTreeMap::new()).unwrap()
    }
}

struct History {
    seed: u64,
    place: Place,
    rng: Rng,
    shape: Shape,
    monitor: Monitor,
    clock: Arc<FixedClock>,
    runtime: tokio::runtime::Runtime,
    steps: String,
    is_told: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed).stream("history");
        let shape = Shape::random(&mut rng);
        let monitor = Monitor::random(&mut rng);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Arc::new(FixedClock::at(instant("2024-01-20T12:00:00Z")));
        let is_told = env::var("LIMNO_HISTORY_SEED").is_ok();
        let (place, steps) = (Place::new(), String::new());
        Self { seed, place, rng, shape, monitor, clock, runtime, steps, is_told }
    }

    fn tell(&mut self, step: &str) {
        if self.is_told {
            eprintln!("seed {}: {step}", self.seed);
        }
        writeln!(self.steps, "  {step}").unwrap();
    }

    fn refresh(&self, output: &str, full: bool) -> Report {
        let config = self.monitor.configure(&self.place, output);
        let partitions = Some(1 + (self.seed % 3) as usize);
        let options = SessionOptions { partitions };
        let engine = Engine::new(config, Arc::<FixedClock>::clone(&self.clock), Progress::hidden(), &options);
        let report = self.runtime.block_on(Box::pin(async {
            let bound = engine.bind(&engine.config().monitors[0]).await?;
            engine.run(&bound, full).await
        }));
        report.unwrap_or_else(|error| panic!("seed {}: {error}\n{}", self.seed, self.steps))
    }

    /// The table's history, with refreshes here and there, against one refresh from nothing.
    fn run(mut self, is_clock_moving: bool) {
        count("histories");
        self.shape.write_baselines(&self.place, &mut self.rng, &self.runtime);
        let first = Operation::Append { day: 0, rows: 40 };
        self.operate(first);
        let commits = 3 + self.rng.below(COMMITS - 3);
        for _ in 0..commits {
            let operation = Operation::random(&mut self.rng);
            self.operate(operation);
            if self.monitor.baseline == Some("before") && self.rng.chance(0.1) {
                self.shape.move_baseline(&self.place, &mut self.rng, &self.runtime);
                self.tell("the baseline moves");
            }
            if self.rng.chance(0.08) {
                let step = self.monitor.change(&mut self.rng);
                count("configurations");
                self.tell(&step);
            }
            if self.rng.chance(0.35) {
                if is_clock_moving {
                    let hours = self.rng.below(60) as i64;
                    let now = limno_engine::clock::Clock::now(&*self.clock) + TimeDelta::hours(hours);
                    self.clock.set(now);
                }
                self.look();
            }
        }
        self.look();
        self.refresh("full", true);
        let exempt = if is_clock_moving { Exempt::TimeOfWriting } else { Exempt::Nothing };
        assert_same(&self.place, &self.runtime, exempt, &format!("seed {}:\n{}", self.seed, self.steps));
    }

    fn operate(&mut self, operation: Operation) {
        let shape = self.shape.clone();
        let result = operation.run(&self.place.path("t"), &shape, &mut self.rng, &self.runtime);
        match result {
            Ok(()) => count(operation.name()),
            // Not every writer can do everything to every table; the table is then as it was.
            Err(error) => {
                count(&format!("{} refused", operation.name()));
                self.tell(&format!("refused: {error}"));
            }
        }
        self.tell(&format!("{operation:?}"));
    }

    fn look(&mut self) {
        // Now and then from nothing in between, into the same tables.
        let full = self.rng.chance(0.05);
        let report = self.refresh("incremental", full);
        count("refreshes");
        let row = report.refreshed.as_ref();
        count(&format!("refreshes: {}", row.and_then(|row| row.mode).unwrap_or("nothing")));
        let told = row.map(|row| (row.mode, row.reason.clone(), row.files_read, row.rows, row.windows));
        self.tell(&format!("refresh, full = {full}: {told:?}"));
    }
}

fn histories(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        History::new(seed).run(seed % 4 == 3);
    }
}

#[test]
fn histories_come_to_what_a_refresh_from_nothing_comes_to() {
    histories((0..SEEDS).step_by(2));
}

#[test]
fn other_histories_do_too() {
    histories((1..SEEDS).step_by(2));
}

#[test]
fn more_histories_if_someone_asks_for_them() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    if let Some(seed) = number("LIMNO_HISTORY_SEED") {
        return History::new(seed).run(seed % 4 == 3);
    }
    let Some(histories_asked) = number("LIMNO_HISTORIES") else { return };
    let first = number("LIMNO_FIRST_SEED").unwrap_or(SEEDS);
    // Two at once: the machine's cores are what bounds them.
    std::thread::scope(|scope| {
        for lane in 0..2 {
            scope.spawn(move || histories((first + lane..first + histories_asked).step_by(2)));
        }
    });
    println!("seeds {first} to {}: {:#?}", first + histories_asked - 1, TALLY.lock().unwrap());
}

#[test]
fn the_operations_do_what_they_say() {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rng = Rng::new(1);
    let shape = Shape { time: TimeKind::Instant, partition: None };
    let path = place.path("t");
    let mut run = |operation: Operation| operation.run(&path, &shape, &mut rng, &runtime).unwrap();
    let rows = || source::count(&path, &runtime);
    run(Operation::Append { day: 0, rows: 50 });
    assert_eq!(rows(), 50);
    run(Operation::Append { day: 1, rows: 50 });
    run(Operation::Optimise);
    assert_eq!((rows(), source::files(&path, &runtime)), (100, 1));
    run(Operation::DeletionVector { rows: 7 });
    assert_eq!((rows(), source::files(&path, &runtime)), (93, 1));
    run(Operation::DeletionVector { rows: 4 });
    assert_eq!(rows(), 89);
    run(Operation::StripStatistics);
    assert_eq!(rows(), 89);
}

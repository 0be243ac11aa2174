//! One history: steps and refreshes in turn, and at the end one full refresh beside them, which must say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::prelude::{col, lit};
use limno_engine::clock::FixedClock;
use limno_engine::config::Config;
use limno_engine::engine::Engine;
use limno_engine::monitor::BoundMonitor;
use limno_engine::progress::Progress;
use limno_engine::store;
use limno_fixtures::SplitMix64;
use limno_sql::lake::faults::{Fault, Faults};
use limno_sql::lake::{LakeOptions, Layer, Limits};
use limno_sql::session::{self, SessionOptions};
use parquet::arrow::ArrowWriter;

use super::alike::{Cell, Logical, difference};
use super::lake::{Lake, Outcome};
use super::rows::{DAY, Face, RowMaker};
use super::steps::{ANEW, STEPS};
use super::tally::Tally;
use super::told::Told;
use super::watch::{LABELS, NAME, Watch};
use super::world::{Steps, World};

/// What happens to the requests of the incremental refreshes in histories with a store that is not well.
const FAULTS: &[Fault] =
    &[Fault::Reset, Fault::Lost, Fault::Lost, Fault::Broken, Fault::Stuck, Fault::Throttled(Duration::from_millis(2))];
/// Columns that say which refresh wrote a row, not what it says.
const WHICH_REFRESH: [&str; 2] = ["logging_table_commit_version", "monitor_version"];

struct History<'a> {
    folder: &'a Path,
    rng: SplitMix64,
    world: World,
    base: Lake,
    base_maker: RowMaker,
    told: Told,
    watch: Watch,
    clock: Arc<FixedClock>,
    now: DateTime<Utc>,
    /// Whether the clock stands from the first refresh to the last.
    stands: bool,
    /// The engine of the last refresh, which may go on.
    engine: Option<Engine>,
    /// Around the disk of the incremental refreshes, which are then read and written as in a store.
    faults: Option<Faults>,
    tally: Tally,
}

/// Plays the history of a seed in `folder`; what went wrong is the error.
pub(crate) async fn play(folder: &Path, seed: u64, steps: Steps) -> Outcome<Tally> {
    let mut history = Box::pin(History::begin(folder, seed, steps)).await?;
    let commits = 1 + if history.rng.chance(0.4) { history.rng.below(6) } else { history.rng.below(30) };
    let often = [0.2, 0.5, 0.9][history.rng.index(3)];
    for _ in 0..commits {
        Box::pin(history.step()).await?;
        if history.rng.chance(0.04) {
            Box::pin(history.tend()).await?;
        }
        if history.rng.chance(often) {
            let full = history.rng.chance(0.03);
            let is_late = history.rng.chance(0.1);
            Box::pin(history.refresh(full, is_late)).await?;
        }
    }
    Box::pin(history.refresh(false, false)).await?;
    if history.rng.chance(0.15) {
        Box::pin(history.be_overtaken()).await?;
    }
    Box::pin(history.judge()).await?;
    Ok(history.tally)
}

impl<'a> History<'a> {
    async fn begin(folder: &'a Path, seed: u64, steps: Steps) -> Outcome<Self> {
        let root = SplitMix64::new(seed);
        let mut rng = root.stream("history");
        let world = World::new(&folder.join("t"), seed, steps).await?;
        let watch = Watch::draw(&mut root.stream("watch"));
        let stands = rng.chance(0.6);
        let days = if stands { 4 + i64::try_from(rng.below(36))? } else { 4 };
        let now = DateTime::from_timestamp_micros((world.first_day + days) * DAY + DAY / 3).unwrap();
        let base_maker = RowMaker { rng: root.stream("baseline"), next_id: 0, ..world.maker.clone() };
        let base = Lake::at(&folder.join("baseline"));
        let clock = Arc::new(FixedClock::at(now));
        let tally = Tally::of_one();
        let mut draws = root.stream("faults");
        // Of a thousand requests, some or many; none is reading as in a store that is well.
        let faults = draws.chance(0.5).then(|| faults(seed, [0, 20, 50, 150][draws.index(4)]));
        let told = Told::begin(folder, root.stream("labels"), world.maker.next_id).await?;
        let mut history =
            Self { folder, rng, world, base, base_maker, told, watch, clock, now, stands, engine: None, faults, tally };
        let rows = history.baseline_rows();
        history.base.create(rows.clone(), &[], &[]).await?;
        history.write_baseline_file(&rows)?;
        history.world.say(format!("the clock {} at {now}", if stands { "stands" } else { "starts" }));
        history.world.say(format!("watch: {:?}", history.watch));
        history.world.say(format!("faults: {:?}", history.faults));
        Ok(history)
    }

    /// Rows of the days before, sometimes with a column less, or one of another type.
    fn baseline_rows(&mut self) -> RecordBatch {
        let count = 30 + self.rng.below(100);
        let rows = self.base_maker.rows(count, self.world.first_day - 10..self.world.first_day);
        let batch = self.base_maker.batch(&rows);
        let schema = batch.schema();
        let is_thin = self.base_maker.is_odd;
        let columns =
            schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !is_thin || field.name() != "opt");
        let columns = columns.map(|(field, column)| {
            let is_other = is_thin && field.name() == "flat" && self.base_maker.face == Face::Text;
            let column: ArrayRef = if is_other { cast(column, &DataType::Utf8).unwrap() } else { Arc::clone(column) };
            (field.name().clone(), column, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn write_baseline_file(&self, rows: &RecordBatch) -> Outcome<()> {
        let path = self.folder.join("baseline.parquet");
        let mut writer = ArrowWriter::try_new(std::fs::File::create(path)?, rows.schema(), None)?;
        writer.write(rows)?;
        writer.close()?;
        Ok(())
    }

    async fn step(&mut self) -> Outcome<()> {
        if self.rng.chance(0.08) {
            let what = self.watch.change(&mut self.rng);
            self.world.say(format!("watch with other {what}: {:?}", self.watch));
            self.engine = None;
            self.tally.count("configuration changed");
        }
        if self.rng.chance(0.06) {
            self.move_baseline().await?;
            self.tally.count("baseline moved");
        }
        if self.watch.has_told_labels() && self.told.rng.chance(0.4) {
            self.tell().await?;
        }
        self.commit().await
    }

    /// Changes labels, and now and then where they come from.
    async fn tell(&mut self) -> Outcome<()> {
        let what = self.told.change(self.world.maker.next_id).await?;
        self.world.say(format!("labels: {what}"));
        self.tally.count("labels changed");
        if self.told.rng.chance(0.1) {
            self.watch.labels = LABELS[self.told.rng.index(LABELS.len())];
            self.world.say(format!("watch with labels: {:?}", self.watch.labels));
            self.engine = None;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Outcome<()> {
        let weights = STEPS.map(|(_, weight)| weight);
        loop {
            let step = if self.rng.chance(0.005) { ANEW } else { STEPS[self.world.rng.weighted(&weights)].0 };
            if Box::pin(self.world.take(step)).await? {
                self.tally.count(step);
                return Ok(());
            }
        }
    }

    async fn move_baseline(&mut self) -> Outcome<()> {
        let rows = self.baseline_rows();
        if !self.watch.has_delta_baseline() {
            self.world.say("write the file of the baseline anew");
            return self.write_baseline_file(&rows);
        }
        let what = ["append", "optimise", "delete", "overwrite"][self.rng.index(4)];
        self.world.say(format!("baseline: {what}"));
        match what {
            "append" => self.base.append(rows).await,
            "optimise" => self.base.optimize(None).await,
            "delete" => self.base.delete(Some((col("id") % lit(4_i64)).eq(lit(1_i64)))).await,
            _ => self.base.overwrite(rows).await,
        }
    }

    fn engine(&mut self, output: &str) -> Outcome<Engine> {
        let config = Config::parse(&self.watch.text(self.folder, output), "limno.toml", &BTreeMap::new())?;
        let mut options = SessionOptions { partitions: Some(1 + self.rng.index(3)), ..SessionOptions::default() };
        if let Some(faults) = self.faults.clone().filter(|_| output == "a") {
            options.lake = LakeOptions { layer: Some(Arc::new(faults) as Arc<dyn Layer>), ..LakeOptions::default() };
        }
        let clock = Arc::<FixedClock>::clone(&self.clock);
        Ok(Engine::new(config, clock, Progress::hidden(), &options)?)
    }

    /// Refreshes; if it is late, the tables change between its opening and its reading them.
    async fn refresh(&mut self, full: bool, is_late: bool) -> Outcome<()> {
        self.wait()?;
        // One that goes on may remember too much, a new one too little.
        let engine = match self.engine.take().filter(|_| self.rng.chance(0.6)) {
            Some(engine) => engine,
            None => self.engine("a")?,
        };
        let bound = engine.bind(&engine.config().monitors[0]).await?;
        if is_late {
            self.world.say("a refresh has opened its tables, and then:");
            Box::pin(self.commit()).await?;
        }
        self.run(&engine, &bound, full).await?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Lets time pass, if the clock does not stand. Clocks are also put back.
    fn wait(&mut self) -> Outcome<()> {
        if !self.stands {
            let hours = [-7, 0, 0, 1, 5, 24, 24, 100][self.rng.index(8)] + i64::try_from(self.rng.below(12))?;
            self.now += TimeDelta::hours(hours) + TimeDelta::seconds(1);
            self.clock.set(self.now);
        }
        Ok(())
    }

    async fn run(&mut self, engine: &Engine, bound: &BoundMonitor, full: bool) -> Outcome<()> {
        self.world.say(format!("{} at {}", if full { "REFRESH IN FULL" } else { "REFRESH" }, self.now));
        let report = Box::pin(engine.run(bound, full)).await?;
        let row = report.refreshed.as_ref();
        let how = row.map_or("nothing to do".to_owned(), |row| {
            let mode = row.mode.unwrap_or("without mode");
            row.reason.as_ref().map_or(mode.to_owned(), |reason| format!("{mode}: {reason}"))
        });
        if let Some(row) = row {
            self.world.say(format!("  {how}: {} files, {} rows, {} windows", row.files_read, row.rows, row.windows));
            // What it could not read was there.
            if row.result != "ok" {
                return Err(format!("{row:?}").into());
            }
        }
        self.tally.count_refresh(&how);
        if let Some(faults) = &self.faults {
            self.tally.count(if faults.counted().1 == 0 { "read as a store" } else { "a store with faults" });
        }
        Ok(())
    }

    /// A refresh that opened its tables before others did more must take nothing back.
    async fn be_overtaken(&mut self) -> Outcome<()> {
        let engine = self.engine("a")?;
        let bound = engine.bind(&engine.config().monitors[0]).await?;
        self.world.say("a refresh has opened its tables, and then:");
        self.commit().await?;
        self.refresh(false, false).await?;
        self.world.say("the one that was overtaken:");
        self.tally.count("overtaken");
        self.run(&engine, &bound, false).await
    }

    /// What others do to our own tables.
    async fn tend(&mut self) -> Outcome<()> {
        let names = ["ledger", "profile_metrics", "drift_metrics"];
        let table = self.folder.join("a").join(format!("{NAME}_{}", names[self.rng.index(3)]));
        if !table.join("_delta_log").exists() {
            return Ok(());
        }
        let what = ["compact", "checkpoint", "cut the log", "drop"][self.rng.index(4)];
        self.world.say(format!("{what}: {}", table.display()));
        self.tally.count("our own table tended");
        let table = Lake::at(&table);
        match what {
            "compact" => table.optimize(None).await?,
            "drop" => std::fs::remove_dir_all(&table.folder)?,
            _ => {
                let version = table.checkpoint().await?;
                if what == "cut the log" {
                    table.cut_log_before(version);
                }
            }
        }
        Ok(())
    }

    /// The full refresh beside the last one, and all that must be equal.
    async fn judge(&mut self) -> Outcome<()> {
        let engine = self.engine("b")?;
        let bound = engine.bind(&engine.config().monitors[0]).await?;
        Box::pin(engine.run(&bound, true)).await?;
        let mut ignored = WHICH_REFRESH.to_vec();
        if !self.stands {
            ignored.push("refreshed_at");
        }
        let mut differences = Vec::new();
        for table in [format!("{NAME}_profile_metrics"), format!("{NAME}_drift_metrics"), format!("{NAME}_ledger")] {
            let [ours, full] = [self.rows("a", &table, &ignored).await?, self.rows("b", &table, &ignored).await?];
            self.tally.rows += full.len();
            let found = difference(&ours, &full, ["the incremental one", "the full one"]);
            differences.extend(found.map(|found| format!("{table}: {found}")));
        }
        let [ours, full] = [self.breaches("a").await?, self.breaches("b").await?];
        if ours.len() != ours.iter().collect::<BTreeSet<_>>().len() {
            differences.push(format!("alerts: a breach is there twice: {ours:?}"));
        }
        let missed: Vec<_> = full.iter().filter(|id| !ours.contains(id)).collect();
        if !missed.is_empty() {
            differences.push(format!("alerts: breaches that the incremental refreshes did not find: {missed:?}"));
        }
        self.tally.breaches += full.len();
        if !differences.is_empty() {
            return Err(differences.join("\n").into());
        }
        self.idle().await
    }

    /// Nothing is new, so nothing is done.
    async fn idle(&mut self) -> Outcome<()> {
        // Without a ledger the last refresh is told by its time, which is that of all of them.
        if self.stands && self.read("a", &format!("{NAME}_ledger")).await?.is_none() {
            return Ok(());
        }
        let before = files_in(&self.folder.join("a"));
        let engine = self.engine("a")?;
        let bound = engine.bind(&engine.config().monitors[0]).await?;
        let report = Box::pin(engine.run(&bound, false)).await?;
        if let Some(row) = report.refreshed {
            return Err(format!("nothing was new, and yet it refreshed: {row:?}").into());
        }
        let after = files_in(&self.folder.join("a"));
        if before != after {
            let new: Vec<_> = after.difference(&before).collect();
            return Err(format!("nothing was new, and yet it wrote {new:?}").into());
        }
        Ok(())
    }

    async fn rows(&self, output: &str, table: &str, ignored: &[&str]) -> Outcome<Logical> {
        let batch = self.read(output, table).await?;
        let rows = Logical::of(batch.as_ref(), ignored);
        // Bookkeeping, of which two ways to the same numbers may differ.
        Ok(rows.only("log_type", |log_type| *log_type != Cell::Text("WATERMARK".to_owned())))
    }

    async fn breaches(&self, output: &str) -> Outcome<Vec<String>> {
        let Some(batch) = self.read(output, "alerts").await? else { return Ok(Vec::new()) };
        let [ids, kinds] = ["alert_id", "kind"].map(|name| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8));
        let (ids, kinds) = (ids?, kinds?);
        let rows = ids.as_string::<i32>().iter().zip(kinds.as_string::<i32>());
        Ok(rows.filter(|(_, kind)| *kind == Some("breach")).filter_map(|(id, _)| Some(id?.to_owned())).collect())
    }

    async fn read(&self, output: &str, table: &str) -> Outcome<Option<RecordBatch>> {
        let uri = self.folder.join(output).join(table);
        Ok(store::read(&session::context(&SessionOptions::default())?, uri.to_str().unwrap()).await?)
    }
}

/// So many faults of a thousand requests, and a patience that is made for them.
fn faults(seed: u64, rate: u64) -> Faults {
    let limits = Limits { first_pause: Duration::from_micros(100), ..Limits::default() };
    Faults::seeded(seed, rate, FAULTS).with_limits(limits)
}

/// Path and size of each file below a folder.
fn files_in(folder: &Path) -> BTreeSet<(std::path::PathBuf, u64)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = folder.read_dir() else { continue };
        for entry in entries.map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert((entry.path(), metadata.len()));
            }
        }
    }
    found
}

//! The refresh protocol: plan, read, commit the ledger, write the metric tables; from the start again where another
//! writer was faster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use datafusion::prelude::SessionContext;
use limno_sql::executor::PlanExecutor;
use limno_sql::lake::Lake;
use limno_sql::source::{Source, SourceVersion};
use limno_sql::watch::Stage;
use limno_sql::window::{Granularity, unit};

use super::changed::{STATES_FROM, clock_of};
use super::log::{RefreshRow, Stages};
use super::metrics::{MetricWriter, RowCounts};
use super::permit::ReadPermit;
use super::plan::{Mode, RefreshPlan, logged_time};
use super::quarantine;
use super::read::{Completeness, Reader, Seen};
use super::rows::RowMaker;
use super::size::largest;
use super::spool::Spool;
use super::touched::Looking;
use super::update::{Committed, Touched, Update};
use crate::ledger::{Ledger, TableMark};
use crate::monitor::{BoundMonitor, Places};
use crate::progress::Progress;
use crate::store::OwnTable;
use crate::{Error, Result};

/// Attempts after which files that are missing are the table's own trouble, however fast it moves on.
const LAST_LOOK: u32 = 2;

/// One refresh of one monitor at one version of its tables.
pub struct Refresh<'a> {
    /// For reading.
    pub context: &'a SessionContext,
    /// Runs the scans.
    pub executor: &'a dyn PlanExecutor,
    /// The monitor, bound to its tables.
    pub monitor: &'a BoundMonitor,
    /// Where its metric tables are.
    pub places: &'a Places,
    /// Now.
    pub now: DateTime<Utc>,
    /// Whether tables that are older than what was made from them are taken as they are: opened again, they were so.
    pub insists: bool,
    /// How often it was tried before.
    pub attempt: u32,
    /// Needed before data files or states are read.
    pub permit: &'a ReadPermit,
    /// Tells a person.
    pub progress: &'a Progress,
}

impl std::fmt::Debug for Refresh<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresh").field("monitor", &self.monitor.config.name).finish_non_exhaustive()
    }
}

/// What came of a refresh.
#[derive(Debug, Clone, PartialEq)]
pub enum Refreshed {
    /// Nothing was new, and nothing was written.
    Nothing,
    /// Something was written.
    Done(Box<RefreshRow>),
    /// It had to wait for its turn, and has it now: others may have done something meanwhile, so begin again.
    Waited,
    /// Another writer was faster, or has seen a newer version of the tables: open them and begin again.
    Overtaken,
}

/// The id under which tables keep how far a monitor has come.
#[must_use]
pub(crate) fn application_of(monitor: &str) -> String {
    format!("limno/{monitor}")
}

impl Refresh<'_> {
    /// What a refresh would read, now.
    ///
    /// # Errors
    /// When a log does not read.
    pub async fn plan(&self, full: bool) -> Result<RefreshPlan> {
        let asked = full.then(|| "it was asked for".to_owned());
        let (ledger, reason) = self.ledger(asked).await?;
        let states_from = self.full_from(&ledger, full).await?;
        RefreshPlan::make(self.looking(), self.monitor, &ledger, reason, states_from).await
    }

    /// From when on a refresh that makes all states anew makes them. Someone who asks for all gets all that the table has,
    /// in the place of what was there, as far as the monitor looks back.
    async fn full_from(&self, ledger: &Ledger, is_asked: bool) -> Result<Option<i64>> {
        let kept = if is_asked { None } else { self.states_from(ledger).await? };
        Ok(kept.max(self.lookback_from()))
    }

    /// The start of the first window of the ledger's that did not begin before the monitor looks back to.
    fn lookback_from(&self) -> Option<i64> {
        let age = TimeDelta::from_std(self.monitor.config.lookback?).ok()?;
        let from = self.now.checked_sub_signed(age)?.timestamp_micros();
        let window = self.monitor.calendar().window_of(self.unit()?, from)?;
        Some(if window.start == from { from } else { window.end })
    }

    /// From when on windows have states, as the ledger says or, where it is lost, the metric tables.
    async fn states_from(&self, ledger: &Ledger) -> Result<Option<i64>> {
        if let Some(watermark) = &ledger.watermark {
            return Ok(watermark.states_from);
        }
        let mut from = None;
        for uri in [&self.places.profile, &self.places.drift] {
            let table = OwnTable::open(self.context, uri).await?;
            from = from.max(table.property(STATES_FROM).and_then(|from| from.parse::<i64>().ok()));
        }
        Ok(from)
    }

    /// The ledger, and why all of it is to be made anew.
    async fn ledger(&self, full: Option<String>) -> Result<(Ledger, Option<String>)> {
        if full.is_some() {
            return Ok((Ledger::open_to_replace(self.context, &self.places.ledger).await?, full));
        }
        match Ledger::open(self.context, &self.places.ledger).await {
            Ok(ledger) => Ok((ledger, None)),
            Err(error @ Error::Ledger { .. }) => {
                Ok((Ledger::open_to_replace(self.context, &self.places.ledger).await?, Some(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// Refreshes. A ledger that turns out to be damaged is made anew from the tables.
    ///
    /// # Errors
    /// When a table does not read or cannot be written; what was written before holds.
    pub async fn run(&self, full: bool) -> Result<Refreshed> {
        let asked = full.then(|| "it was asked for".to_owned());
        match self.attempt(asked, full).await {
            Err(error @ Error::Ledger { .. }) => self.attempt(Some(error.to_string()), full).await,
            result => result,
        }
    }

    async fn attempt(&self, full: Option<String>, is_asked: bool) -> Result<Refreshed> {
        let mut stages = Stages::default();
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f64();
        self.progress.stage("planning", &self.monitor.config.name);
        let (ledger, reason) = self.ledger(full).await?;
        if !self.insists && self.is_behind(&ledger) {
            return Ok(Refreshed::Overtaken);
        }
        let states_from = self.full_from(&ledger, is_asked).await?;
        // Which stored rows others changed, only their tables tell, and all of them may be read for that.
        let is_changed_by_others = self.monitor.labels.is_some() || self.monitor.source.payload().is_some();
        if is_changed_by_others && self.permit.take(u64::MAX).await {
            return Ok(Refreshed::Waited);
        }
        let mut plan = RefreshPlan::make(self.looking(), self.monitor, &ledger, reason, states_from).await?;
        let config = self.monitor.metrics_definition();
        let monitor_version = match ledger.configuration() {
            Some((version, digest)) if digest == config => version,
            Some((version, _)) => version + 1,
            None => 0,
        };
        stages.planning = lap();
        let watch = Arc::clone(Lake::of(self.context)?.watch());
        watch.add(Stage::List, Duration::from_secs_f64(stages.planning));
        let mut seen = Seen::default();
        let mut committed = None;
        let mut trouble = None;
        if plan.is_due {
            if self.permit.take(plan.weight().saturating_add(ledger.table.bytes())).await {
                return Ok(Refreshed::Waited);
            }
            let mut spool =
                Spool::new(self.unit(), usize::try_from(self.monitor.config.memory / 4).unwrap_or(usize::MAX));
            // In place of states that are there nothing is put that is known to be less.
            let isolates = plan.mode == Mode::Incremental || ledger.table.version().is_none();
            let read = self.reader(&ledger, isolates).await?.run(&plan, &mut spool).await;
            let fails = read.as_ref().map_or(true, |(_, found)| found.describe().is_some());
            // Files go when a table moves on; what another version does not have is no damage.
            if fails && self.attempt < LAST_LOOK && self.has_moved().await {
                return Ok(Refreshed::Overtaken);
            }
            let found;
            (seen, found) = read?;
            seen.rows_before_retention += plan.rows_left_out;
            plan.leave_out(&found, ledger.watermark.as_ref());
            trouble = found.describe();
            stages.reading = lap();
            self.progress.stage("merging", &self.places.ledger);
            let update = Update {
                context: self.context,
                watch: &watch,
                ledger: &ledger,
                plan: &plan,
                calendar: self.monitor.calendar(),
                max_slices: self.monitor.config.max_slices,
                predicates: self
                    .monitor
                    .slices
                    .iter()
                    .filter(|slice| slice.is_predicate)
                    .map(|slice| slice.key.as_str())
                    .collect(),
                config: (config.clone(), monitor_version),
                application: application_of(&self.monitor.config.name),
            };
            let Some(done) = update.commit(spool).await? else { return Ok(Refreshed::Overtaken) };
            committed = Some(done);
            stages.merging = lap();
        }
        let before = ledger.table.version();
        let ledger = match &committed {
            Some(_) => Ledger::open(self.context, &self.places.ledger).await?,
            None => ledger,
        };
        if let Some(Committed { version, .. }) = &committed
            && ledger.table.version() != Some(*version)
        {
            return Ok(Refreshed::Overtaken);
        }
        if self.monitor.source.payload().is_some()
            && !quarantine::write(
                self.context,
                &ledger,
                &self.places.quarantine,
                &application_of(&self.monitor.config.name),
            )
            .await?
        {
            return Ok(Refreshed::Overtaken);
        }
        let ours = committed.as_ref().map(|done| (before, &done.touched));
        let Some(counts) = self.measure(&ledger, ours, config, monitor_version).await? else {
            return Ok(Refreshed::Overtaken);
        };
        stages.measuring = lap();
        if committed.is_none() && counts == RowCounts::default() {
            return Ok(Refreshed::Nothing);
        }
        let mut row = self.row(&plan, &ledger, seen, counts, stages, monitor_version);
        if trouble.is_some() {
            row.result = "partial";
            row.error = trouble;
        }
        Ok(Refreshed::Done(Box::new(row)))
    }

    /// Whether the ledger was made from a later version of a table, or from another table in its place, than the one that
    /// is open here.
    fn is_behind(&self, ledger: &Ledger) -> bool {
        let is_behind = |mark: &TableMark, source: &Source| match &source.version {
            SourceVersion::Delta { table_id, version } => {
                mark.table_id.as_ref() != Some(table_id) || mark.version > Some(*version)
            }
            SourceVersion::Files { .. } => false,
        };
        let Some(watermark) = &ledger.watermark else { return false };
        let baseline = watermark.baseline.as_ref().zip(self.monitor.baseline.as_ref());
        is_behind(&watermark.source, &self.monitor.source)
            || baseline.is_some_and(|(mark, baseline)| is_behind(&mark.table, &baseline.source))
            || watermark
                .labels
                .as_ref()
                .zip(self.monitor.labels.as_ref())
                .is_some_and(|(mark, labels)| is_behind(mark, labels))
    }

    /// Whether a table has got another version since it was opened.
    async fn has_moved(&self) -> bool {
        let baseline = self.monitor.baseline.as_ref().map(|baseline| &baseline.source);
        let sources = [Some(&self.monitor.source), baseline, self.monitor.labels.as_ref()];
        for table in sources.into_iter().flatten().filter_map(|source| source.delta.as_ref()) {
            if table.get_latest_version().await.is_ok_and(|latest| Some(latest) != table.version()) {
                return true;
            }
        }
        false
    }

    const fn looking(&self) -> Looking<'_> {
        Looking { context: self.context, executor: self.executor }
    }

    fn unit(&self) -> Option<Granularity> {
        self.monitor.config.kind.timestamp().map(|_| unit(&self.monitor.granularities()))
    }

    async fn reader(&self, ledger: &Ledger, isolates: bool) -> Result<Reader<'_>> {
        let config = &self.monitor.config;
        let last = match ledger.table.version() {
            Some(_) => {
                let profile = OwnTable::open(self.context, &self.places.profile).await?;
                profile.transaction(&clock_of(&application_of(&config.name))).await?
            }
            None => None,
        };
        let completeness = self.unit().map(|unit| Completeness {
            calendar: self.monitor.calendar(),
            unit,
            grace: config.grace,
            last: last.and_then(DateTime::from_timestamp_micros),
        });
        Ok(Reader {
            executor: self.executor,
            max_slices: config.max_slices,
            memory: config.memory / 2,
            completeness,
            time: logged_time(self.monitor),
            isolates,
            has_states: ledger.watermark.is_some(),
            progress: self.progress,
        })
    }

    async fn measure(
        &self,
        ledger: &Ledger,
        ours: Option<(Option<u64>, &Touched)>,
        config: String,
        monitor_version: i64,
    ) -> Result<Option<RowCounts>> {
        let states_from = ledger.watermark.as_ref().and_then(|watermark| watermark.states_from);
        let writer = MetricWriter {
            context: self.context,
            watch: Arc::clone(Lake::of(self.context)?.watch()),
            ledger,
            ours,
            maker: RowMaker {
                monitor: self.monitor,
                now: self.now,
                monitor_version,
                granularities: self.monitor.granularities(),
            },
            places: self.places,
            application: application_of(&self.monitor.config.name),
            config,
            remakes: false,
            insists: self.insists,
            largest: largest(self.monitor),
            memory: self.monitor.config.memory,
            permit: self.permit,
            progress: self.progress,
        };
        match writer.write().await {
            // Its rows follow from the ledger, but for those whose states were dropped.
            Err(Error::MetricTable { .. }) if states_from.is_none() => {
                MetricWriter { remakes: true, ..writer }.write().await
            }
            result => result,
        }
    }

    fn row(
        &self,
        plan: &RefreshPlan,
        ledger: &Ledger,
        seen: Seen,
        counts: RowCounts,
        stages: Stages,
        monitor_version: i64,
    ) -> RefreshRow {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (files, bytes) = if plan.is_due { plan.totals() } else { (0, 0) };
        let (mode, reason) = match &plan.mode {
            Mode::Incremental => ("incremental", None),
            Mode::Full { reason } => ("full", Some(reason.clone())),
        };
        RefreshRow {
            monitor: self.monitor.config.name.clone(),
            refreshed_at: self.now.timestamp_micros(),
            result: "ok",
            mode: Some(mode),
            reason,
            from_version: plan.from.map(count),
            commit_version: self.monitor.source.version.delta().map(count),
            ledger_version: ledger.table.version().map(count),
            monitor_version,
            files_read: count(files as u64),
            bytes_read: count(bytes),
            rows: count(seen.rows),
            rows_without_window: count(seen.rows_without_window),
            late_rows: count(seen.late_rows),
            rows_before_retention: count(seen.rows_before_retention),
            filtered_rows: count(seen.rows_of_other_status),
            duplicate_rows: count(seen.duplicates),
            malformed_rows: count(seen.malformed),
            windows: count(counts.windows),
            profile_rows: count(counts.profile),
            drift_rows: count(counts.drift),
            stages,
            error: None,
        }
    }
}

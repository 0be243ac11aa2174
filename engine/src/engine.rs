//! The loop: refresh a monitor, evaluate its rules, record, deliver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::common::DataFusionError;
use datafusion::common::runtime::SpawnedTask;
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt, TryStreamExt};
use limno_sql::executor::LocalExecutor;
use limno_sql::lake::{Lake, Sharing};
use limno_sql::session::{self, SessionOptions};
use limno_sql::source::SourceVersion;
use limno_sql::watch::{Stage, Watch};
use tokio::sync::Semaphore;

use crate::alert::event::{self, Event, Log};
use crate::alert::mark::EvaluationMark;
use crate::alert::outbox::{self, Attempt, Batch};
use crate::clock::Clock;
use crate::config::{Config, MonitorConfig};
use crate::monitor::{BoundMonitor, Places, bind};
use crate::progress::Progress;
use crate::refresh::{ReadPermit, Refresh, RefreshPlan, RefreshRow, Refreshed, Vacuum, Vacuumed};
use crate::rule::{Evaluation, Rows, describe, evaluate};
use crate::store::{self, Changes, Lock, OwnTable, Turns};
use crate::{Error, Result};

/// Monitors that read at once: those of one table in a store, each of which keeps to its own `memory`, or of little data.
const TOGETHER: u32 = 4;
/// Monitors whose tables are opened at once, and that are looked at for what is new.
const AT_ONCE: usize = 8;
/// Bytes of rows that are kept for the next monitor, of each table, and for how many tables.
const LARGEST_KEPT: usize = 32 << 20;
const TABLES_KEPT: usize = 4;
/// The least memory for footers, and for what is read ahead.
const LEAST_SHARE: u64 = 16 << 20;

/// A configuration that can be run.
#[derive(Clone)]
pub struct Engine {
    config: Arc<Config>,
    context: SessionContext,
    clock: Arc<dyn Clock>,
    progress: Progress,
    /// As many as monitors that may read their tables at once.
    readers: Arc<Semaphore>,
    /// The rows of tables of alerts, for the next monitor of the same.
    alerts: Arc<Mutex<HashMap<String, AlertRows>>>,
}

/// All rows of a table of alerts at one version.
#[derive(Debug)]
struct AlertRows {
    table_id: String,
    version: u64,
    rows: RecordBatch,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What came of running one monitor.
#[derive(Debug, Clone)]
pub struct Report {
    /// The monitor.
    pub monitor: String,
    /// Where its tables are.
    pub places: Places,
    /// The refresh; `None` if there was nothing new.
    pub refreshed: Option<RefreshRow>,
    /// Breaches of the newest complete windows that were not known before.
    pub new_breaches: usize,
    /// Breaches of older windows that were not known before.
    pub historical_breaches: usize,
    /// Deliveries of this run, those of earlier runs' leftovers included.
    pub attempts: Vec<Attempt>,
}

impl Report {
    /// Deliveries that failed, one line each.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let failed = |attempt: &Attempt| {
            let what = if attempt.is_call { "trigger" } else { "notifier" };
            Some(format!("{what} {}: {}", attempt.target, attempt.outcome.as_ref().err()?))
        };
        self.attempts.iter().filter_map(failed).collect()
    }
}

impl Engine {
    /// An engine over `config`. Its stores and what it lets be changed come before those of `options`.
    ///
    /// # Errors
    /// When the session cannot be set up.
    pub fn new(config: Config, clock: Arc<dyn Clock>, progress: Progress, options: &SessionOptions) -> Result<Self> {
        let mut options = options.clone();
        options.lake.stores.splice(0..0, config.stores.iter().cloned());
        options.lake.writable = config.writable.clone().or(options.lake.writable);
        // Beside the states, for footers and for what is read ahead: an eighth each of what a monitor may take.
        if let Some(memory) = config.monitors.iter().map(|monitor| monitor.memory).max() {
            let share = (memory / 8).max(LEAST_SHARE);
            options.lake.held.get_or_insert(share);
            options.footers.get_or_insert(usize::try_from(share).unwrap_or(usize::MAX));
        }
        let (context, readers) = (session::context(&options)?, Arc::new(Semaphore::new(TOGETHER as usize)));
        Ok(Self { config: Arc::new(config), context, clock, progress, readers, alerts: Arc::default() })
    }

    /// The session in which tables are read and written, over the stores of the configuration.
    #[must_use]
    pub const fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Where the time of this engine's runs went.
    ///
    /// # Errors
    /// When the session has no lake, which would be a defect.
    pub fn watch(&self) -> Result<Arc<Watch>> {
        Ok(Arc::clone(Lake::of(&self.context)?.watch()))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Opens the tables of a monitor and checks what the configuration says of them, changing nothing.
    ///
    /// # Errors
    /// As [`bind`].
    pub async fn bind(&self, monitor: &MonitorConfig) -> Result<BoundMonitor> {
        let watch = Arc::clone(Lake::of(&self.context)?.watch());
        watch.wait(Stage::List, Box::pin(bind(&self.context, monitor, &self.config.file))).await
    }

    /// Binds all monitors, so that every problem is known before anything is written.
    ///
    /// # Errors
    /// [`Error::Config`] with the problems of all monitors. A table that does not open is no problem of the
    /// configuration and comes in that monitor's place of the answer.
    pub async fn bind_all(&self, monitors: &[&MonitorConfig]) -> Result<Vec<(String, Result<BoundMonitor>)>> {
        let mut problems = Vec::new();
        let mut bound = Vec::new();
        // On all cores: logs are short, and reading them is more work than waiting for them.
        let bind = |monitor: &&MonitorConfig| {
            let (engine, monitor) = (self.clone(), (*monitor).clone());
            SpawnedTask::spawn(async move {
                let result = engine.bind(&monitor).await;
                (monitor.name, result)
            })
        };
        let mut results =
            std::pin::pin!(futures::stream::iter(monitors).map(bind).map(SpawnedTask::join_unwind).buffered(AT_ONCE));
        while let Some(result) = results.next().await {
            match result.map_err(unfinished)? {
                (_, Err(Error::Config(found))) => problems.extend(found.0),
                (name, result) => bound.push((name, result)),
            }
        }
        if problems.is_empty() { Ok(bound) } else { Err(crate::config::Problems(problems).into()) }
    }

    /// What a run of this monitor would read; nothing is read or written yet but logs.
    ///
    /// # Errors
    /// When a log does not read.
    pub async fn plan(&self, monitor: &BoundMonitor, full_refresh: bool) -> Result<RefreshPlan> {
        let places = Places::of(&monitor.config);
        let executor = LocalExecutor::new(self.context.clone());
        let permit = self.permit_for(&places, false)?;
        self.refresh_of(monitor, &places, &executor, &permit).plan(full_refresh).await
    }

    fn refresh_of<'a>(
        &'a self,
        monitor: &'a BoundMonitor,
        places: &'a Places,
        executor: &'a LocalExecutor,
        permit: &'a ReadPermit,
    ) -> Refresh<'a> {
        let (context, now, progress) = (&self.context, self.clock.now(), &self.progress);
        Refresh { context, executor, monitor, places, now, insists: false, attempt: 0, permit, progress }
    }

    /// A scan of much data is alone, for its states may take all of `memory`, but that those of one table in a store are
    /// run together.
    fn permit_for(&self, places: &Places, is_of_group: bool) -> Result<ReadPermit> {
        let (readers, share) = (Arc::clone(&self.readers), if is_of_group { 1 } else { TOGETHER });
        Ok(ReadPermit::new(readers, share, Lake::of(&self.context)?, &places.lock))
    }

    /// Runs one bound monitor: refreshes it by what changed in its tables or its configuration, evaluates its rules,
    /// records what they found and delivers what is due.
    ///
    /// # Errors
    /// When reading or writing a table fails; the table `refreshes` then says so too. Deliveries that fail are no error
    /// here: see [`Report::failures`].
    pub async fn run(&self, monitor: &BoundMonitor, full_refresh: bool) -> Result<Report> {
        self.run_as(monitor, full_refresh, false).await
    }

    async fn run_as(&self, monitor: &BoundMonitor, full_refresh: bool, is_of_group: bool) -> Result<Report> {
        let places = Places::of(&monitor.config);
        let tables = places.named(&monitor.config);
        let tables: Vec<&str> = tables.iter().map(|(_, uri)| uri.as_str()).collect();
        Lake::of(&self.context)?.check_created(&tables).await?;
        // Without its lock others would only do the same work again; what is right does not hang on it.
        let permit = self.permit_for(&places, is_of_group)?;
        let refreshed = match self.refresh(monitor, &places, &permit, full_refresh).await {
            Ok(refreshed) => refreshed,
            Err(error) => {
                self.record_failure(&monitor.config.name, &error).await;
                return Err(error);
            }
        };
        if let Some(row) = &refreshed {
            store::append(&self.context, &places.refreshes, row.to_batch()?).await?;
        }
        let report = self.alert(monitor, &places, &permit, self.clock.now()).await?;
        Ok(Report { refreshed, ..report })
    }

    /// Runs monitors as [`Engine::run`] does, several at once, and answers with their names in the order in which they are
    /// given, but that those of one table in a store, which read many of the same bytes, come together: these are then
    /// fetched once. One that fails takes nothing from the rest but what it read for them. Those that read much do so one
    /// after the other, and no more than a few are begun before the first has ended.
    ///
    /// # Errors
    /// Those of each monitor come with its name; one of the whole, when the session has no lake or a run is cut off.
    pub fn run_all(
        &self,
        monitors: Vec<BoundMonitor>,
        full_refresh: bool,
    ) -> Result<impl Stream<Item = Result<(String, Result<Report>)>> + use<>> {
        let lake = Lake::of(&self.context)?;
        let mut groups: Vec<Vec<BoundMonitor>> = Vec::new();
        for monitor in monitors {
            let place = &monitor.source.place;
            let is_same = |group: &&mut Vec<BoundMonitor>| {
                group.first().is_some_and(|first| first.source.place.url() == place.url())
            };
            match groups.iter_mut().find(is_same).filter(|_| lake.is_remote(place)) {
                Some(group) => group.push(monitor),
                None => groups.push(vec![monitor]),
            }
        }
        let (engine, lake) = (self.clone(), Arc::clone(&lake));
        let monitors = groups.into_iter().flat_map(move |group| {
            let shared = (group.len() > 1).then(|| Arc::new(lake.share()));
            group.into_iter().map(move |monitor| (monitor, shared.clone()))
        });
        let run = move |(monitor, shared): (BoundMonitor, Option<Arc<Sharing>>)| {
            let engine = engine.clone();
            SpawnedTask::spawn(async move {
                let result = Box::pin(engine.run_as(&monitor, full_refresh, shared.is_some())).await;
                drop(shared);
                (monitor.config.name, result)
            })
        };
        let results = futures::stream::iter(monitors).map(run).map(SpawnedTask::join_unwind).buffered(AT_ONCE);
        Ok(results.map(|result| result.map_err(unfinished)))
    }

    async fn refresh(
        &self,
        monitor: &BoundMonitor,
        places: &Places,
        permit: &ReadPermit,
        full: bool,
    ) -> Result<Option<RefreshRow>> {
        let executor = LocalExecutor::new(self.context.clone());
        let mut reopened;
        let mut monitor = monitor;
        let mut insists = false;
        let mut turns = Turns::new();
        loop {
            let refresh = self.refresh_of(monitor, places, &executor, permit);
            let refresh = Refresh { insists, attempt: turns.attempts(), ..refresh };
            match Box::pin(refresh.run(full)).await? {
                Refreshed::Nothing => return Ok(None),
                Refreshed::Done(row) => return Ok(Some(*row)),
                Refreshed::Waited => {}
                Refreshed::Overtaken => {
                    turns.wait(&places.ledger).await?;
                    let before = versions(monitor);
                    reopened = self.bind(&monitor.config).await?;
                    monitor = &reopened;
                    // The same tables as before: what was made from them later than they are was made from others.
                    insists = versions(monitor) == before;
                }
            }
        }
    }

    /// Drops the states, rows and files of a monitor that its retention does not keep; if `is_dry`, only says what would
    /// go.
    ///
    /// # Errors
    /// When a table does not read or cannot be written; what was dropped before is dropped.
    pub async fn vacuum(&self, monitor: &BoundMonitor, is_dry: bool) -> Result<Vacuumed> {
        let places = Places::of(&monitor.config);
        let lock =
            if is_dry { None } else { Some(Lock::acquire(Lake::of(&self.context)?.as_ref(), &places.lock).await) };
        if lock.as_ref().is_some_and(Lock::is_contended) {
            // Files of a refresh that is under way are named by no commit yet.
            let message = format!("monitor {} is being refreshed; vacuum later", monitor.config.name);
            return Err(Error::Usage { message });
        }
        Vacuum { context: &self.context, monitor, places: &places, now: self.clock.now(), is_dry }.run().await
    }

    /// Writes down that the refresh of a monitor failed. Where even that cannot be written, the error itself tells.
    pub async fn record_failure(&self, monitor: &str, error: &Error) {
        let Some(config) = self.config.monitor(monitor) else { return };
        let row = RefreshRow {
            monitor: monitor.to_owned(),
            refreshed_at: self.clock.now().timestamp_micros(),
            result: "failed",
            error: Some(error.to_string()),
            ..RefreshRow::default()
        };
        if let Ok(batch) = row.to_batch()
            && let Err(error) = store::append(&self.context, &Places::of(config).refreshes, batch).await
        {
            tracing::warn!(%error, "the failure could not be recorded");
        }
    }

    /// Evaluates the rules, if the rows that they look at or the rules themselves changed since that was done last, and
    /// delivers what is due.
    async fn alert(
        &self,
        monitor: &BoundMonitor,
        places: &Places,
        permit: &ReadPermit,
        now: DateTime<Utc>,
    ) -> Result<Report> {
        let name = &monitor.config.name;
        let (mut new_breaches, mut historical_breaches) = (0, 0);
        let mut turns = Turns::new();
        let log = loop {
            let alerts = OwnTable::open(&self.context, &places.alerts).await?;
            let known = self.read_log(&alerts, name).await?;
            let mark = EvaluationMark::of(&self.context, monitor, places).await?;
            let is_evaluated = mark.is_in(&alerts, name).await?;
            if is_evaluated && known.pending.is_empty() {
                break known;
            }
            // Two who deliver at once would send twice.
            if permit.lock().await {
                continue;
            }
            if is_evaluated {
                break known;
            }
            // What is evaluated was written by this run mostly, which then has its place.
            if permit.take(u64::MAX).await {
                continue;
            }
            let events = self.evaluate(monitor, places, &known, now).await?;
            let count = |status| {
                events.iter().filter(|event| event.kind == event::Kind::Breach && event.status == status).count()
            };
            let counts = (count(event::Status::New), count(event::Status::Historical));
            // One commit, on top of what was known: a breach is never recorded twice, nor without what is to be sent
            // about it.
            let mut writer = alerts.writer(&event::SCHEMA)?;
            if !events.is_empty() {
                writer.write(event::to_batch(&events)?).await?;
            }
            let changes = Changes {
                added: writer.finish(None).await?,
                transactions: mark.transactions(name),
                ..Changes::default()
            };
            if alerts.commit(&event::SCHEMA, changes).await?.is_some() {
                (new_breaches, historical_breaches) = counts;
                break match events.is_empty() {
                    true => known,
                    false => self.read_log(&OwnTable::open(&self.context, &places.alerts).await?, name).await?,
                };
            }
            turns.wait(&places.alerts).await?;
        };
        // Whoever waits to read need not wait for a mail server.
        permit.leave().await;
        self.progress.stage("delivering for", name);
        let (settled, attempts) = outbox::deliver(&self.config, name, log.pending, now).await;
        if !settled.is_empty() {
            store::append(&self.context, &places.alerts, event::to_batch(&settled)?).await?;
        }
        Ok(Report {
            monitor: name.clone(),
            places: places.clone(),
            refreshed: None,
            new_breaches,
            historical_breaches,
            attempts,
        })
    }

    /// The events that the rules of a monitor add to the log.
    async fn evaluate(
        &self,
        monitor: &BoundMonitor,
        places: &Places,
        log: &Log,
        now: DateTime<Utc>,
    ) -> Result<Vec<Event>> {
        self.progress.stage("evaluating rules of", &monitor.config.name);
        let name = &monitor.config.name;
        let rules = &monitor.config.rules;
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        // Vectors and lists, which make up most of a table, are no metric of a rule.
        let without = ["quantiles", "frequent_items", "non_null_columns"];
        let (profile, drift) = futures::try_join!(
            store::read_without(&self.context, &places.profile, &without),
            store::read_without(&self.context, &places.drift, &without),
        )?;
        let (Some(profile), Some(drift)) = (profile, drift) else {
            return Ok(Vec::new());
        };
        let profile = Rows::new(profile, "log_type", monitor.model_id())?;
        let drift = Rows::new(drift, "drift_type", monitor.model_id())?;
        let calendar = monitor.calendar();
        let on = Evaluation { profile: &profile, drift: &drift, calendar, grace: monitor.config.grace, now };
        let findings = evaluate(rules, &on)?;
        let ids: Vec<String> =
            findings.iter().map(|finding| outbox::alert_id(name, &rules[finding.rule].name, finding)).collect();
        let breaches = describe(&findings, &ids, rules, &on)?;
        let breaches =
            breaches.into_iter().zip(&findings).map(|(breach, finding)| (breach, finding.is_newest)).collect();
        let batch = Batch { config: &self.config, monitor: &monitor.config, places, now };
        batch.events(breaches, log)
    }

    async fn read_log(&self, alerts: &OwnTable, monitor: &str) -> Result<Log> {
        let (Some(table_id), Some(version)) = (alerts.id(), alerts.version()) else { return Ok(Log::default()) };
        let known = || self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&AlertRows| known.table_id == table_id && known.version == version;
        if let Some(rows) = known().get(alerts.uri()).filter(same).map(|known| known.rows.clone()) {
            return Log::read(&rows, monitor);
        }
        let files = alerts.files().iter().map(|file| file.add.clone()).collect();
        let Some(rows) = alerts.read(&self.context, files, None, None).await? else { return Ok(Log::default()) };
        let schema = rows.schema();
        let batches: Vec<_> = rows.try_collect().await?;
        let rows = arrow::compute::concat_batches(&schema, &batches)?;
        let log = Log::read(&rows, monitor);
        if rows.get_array_memory_size() <= LARGEST_KEPT {
            let mut known = known();
            if known.len() >= TABLES_KEPT {
                known.clear();
            }
            known.insert(alerts.uri().to_owned(), AlertRows { table_id: table_id.to_owned(), version, rows });
        }
        log
    }
}

/// A task that ended without an answer.
fn unfinished(error: tokio::task::JoinError) -> Error {
    limno_sql::Error::from(DataFusionError::ExecutionJoin(Box::new(error))).into()
}

/// The versions at which the tables of a monitor are open.
fn versions(monitor: &BoundMonitor) -> Vec<Option<SourceVersion>> {
    let baseline = monitor.baseline.as_ref().map(|baseline| &baseline.source);
    [Some(&monitor.source), baseline, monitor.labels.as_ref()]
        .into_iter()
        .map(|source| source.map(|source| source.version.clone()))
        .collect()
}

//! The loop: refresh a monitor, evaluate its rules, record, deliver.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use limno_sql::executor::LocalExecutor;
use limno_sql::session::{self, SessionOptions};
use sha2::{Digest, Sha256};

use crate::alert::event::{self, Log};
use crate::alert::outbox::{self, Attempt, Batch};
use crate::clock::Clock;
use crate::config::{Config, MonitorConfig, MonitorKind};
use crate::monitor::{BaselineColumn, BoundMonitor, Places, bind};
use crate::progress::Progress;
use crate::refresh::{MetricRows, RefreshRow, refresh};
use crate::rule::{Evaluation, Rows, describe, evaluate};
use crate::store::{self, Mode};
use crate::{Error, Result};

/// A configuration that can be run.
#[derive(Clone)]
pub struct Engine {
    config: Config,
    context: SessionContext,
    clock: Arc<dyn Clock>,
    progress: Progress,
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
    /// An engine over `config`.
    #[must_use]
    pub fn new(config: Config, clock: Arc<dyn Clock>, progress: Progress, options: &SessionOptions) -> Self {
        Self { config, context: session::context(options), clock, progress }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Opens the tables of a monitor and checks what the configuration says of them, changing nothing.
    ///
    /// # Errors
    /// As [`bind`].
    pub async fn bind(&self, monitor: &MonitorConfig) -> Result<BoundMonitor> {
        bind(&self.context, monitor, &self.config.file).await
    }

    /// Binds all monitors, so that every problem is known before anything is written.
    ///
    /// # Errors
    /// [`Error::Config`] with the problems of all monitors. A table that does not open is no problem of the
    /// configuration and comes in that monitor's place of the answer.
    pub async fn bind_all(&self, monitors: &[&MonitorConfig]) -> Result<Vec<(String, Result<BoundMonitor>)>> {
        let mut problems = Vec::new();
        let mut bound = Vec::new();
        for monitor in monitors {
            match self.bind(monitor).await {
                Err(Error::Config(found)) => problems.extend(found.0),
                result => bound.push((monitor.name.clone(), result)),
            }
        }
        if problems.is_empty() { Ok(bound) } else { Err(crate::config::Problems(problems).into()) }
    }

    /// Runs one bound monitor: refreshes it if its tables or its configuration changed, evaluates its rules, records
    /// what they found and delivers what is due.
    ///
    /// # Errors
    /// When reading or writing a table fails. Deliveries that fail are no error here: see [`Report::failures`].
    pub async fn run(&self, monitor: &BoundMonitor, full_refresh: bool) -> Result<Report> {
        let places = Places::of(&monitor.config);
        let now = self.clock.now();
        let digest = config_digest(monitor);
        let last = match store::read(&self.context, &places.refreshes).await? {
            Some(batch) => RefreshRow::latest(&batch, &monitor.config.name)?,
            None => None,
        };
        let source_version = monitor.source.version.to_string();
        let baseline_version = monitor.baseline.as_ref().map(|baseline| baseline.source.version.to_string());
        let is_current = last.as_ref().is_some_and(|last| {
            last.source_version == source_version
                && last.baseline_version == baseline_version
                && last.config_digest == digest
        });
        let monitor_version = match &last {
            Some(last) if last.config_digest == digest => last.monitor_version,
            Some(last) => last.monitor_version + 1,
            None => 0,
        };
        let stored = match &last {
            Some(last) if is_current && !full_refresh => {
                // Rows of a refresh that was cut off before its own row was written are not those of the last one.
                self.stored_rows(&places).await?.filter(|rows| rows.are_of(last))
            }
            _ => None,
        };
        let (rows, refreshed) = match stored {
            Some(rows) => {
                let rows = match rows.completed(monitor.config.grace, now)? {
                    Some(marked) => {
                        store::write(&places.profile, marked.profile.clone(), Mode::Replace).await?;
                        store::write(&places.drift, marked.drift.clone(), Mode::Replace).await?;
                        marked
                    }
                    None => rows,
                };
                (rows, None)
            }
            None => {
                let executor = LocalExecutor::new(self.context.clone());
                let made = refresh(monitor, &executor, now, monitor_version, &self.progress).await?;
                self.progress.stage("writing", &places.profile);
                // A snapshot has one window, its own instant: earlier ones stay. Windows of time are made anew.
                let mode =
                    if matches!(monitor.config.kind, MonitorKind::Snapshot) { Mode::Append } else { Mode::Replace };
                store::write(&places.profile, made.rows.profile.clone(), mode).await?;
                store::write(&places.drift, made.rows.drift.clone(), mode).await?;
                let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                let row = RefreshRow {
                    monitor: monitor.config.name.clone(),
                    refreshed_at: now.timestamp_micros(),
                    commit_version: monitor.source.version.delta().map(count),
                    source_version,
                    baseline_version,
                    config_digest: digest,
                    monitor_version,
                    rows: count(made.rows_read),
                    rows_without_window: count(made.rows_without_window),
                    windows: count(made.windows as u64),
                    profile_rows: count(made.rows.profile.num_rows() as u64),
                    drift_rows: count(made.rows.drift.num_rows() as u64),
                };
                // Rules over snapshots look back at earlier ones, which stand in the tables only.
                let rows = match mode {
                    Mode::Append => self.stored_rows(&places).await?.unwrap_or(made.rows),
                    Mode::Replace => made.rows,
                };
                (rows, Some(row))
            }
        };
        let mut report = self.alert(monitor, &places, rows, now).await?;
        if let Some(row) = refreshed {
            store::write(&places.refreshes, row.to_batch()?, Mode::Append).await?;
            report.refreshed = Some(row);
        }
        Ok(report)
    }

    async fn stored_rows(&self, places: &Places) -> Result<Option<MetricRows>> {
        let profile = store::read(&self.context, &places.profile).await?;
        let drift = store::read(&self.context, &places.drift).await?;
        Ok(profile.zip(drift).map(|(profile, drift)| MetricRows { profile, drift }))
    }

    async fn alert(
        &self,
        monitor: &BoundMonitor,
        places: &Places,
        rows: MetricRows,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Report> {
        self.progress.stage("evaluating rules of", &monitor.config.name);
        let name = &monitor.config.name;
        let rules = &monitor.config.rules;
        let profile = Rows::new(rows.profile, "log_type", monitor.model_id())?;
        let drift = Rows::new(rows.drift, "drift_type", monitor.model_id())?;
        let calendar = monitor.calendar();
        let on = Evaluation { profile: &profile, drift: &drift, calendar, grace: monitor.config.grace, now };
        let findings = evaluate(rules, &on)?;
        let ids: Vec<String> =
            findings.iter().map(|finding| outbox::alert_id(name, &rules[finding.rule].name, finding)).collect();
        let log = self.read_log(places, name).await?;
        let breaches = describe(&findings, &ids, rules, &on)?;
        let breaches =
            breaches.into_iter().zip(&findings).map(|(breach, finding)| (breach, finding.is_newest)).collect();
        let batch = Batch { config: &self.config, monitor: &monitor.config, places, now };
        let events = batch.events(breaches, &log)?;
        let count =
            |status| events.iter().filter(|event| event.kind == event::Kind::Breach && event.status == status).count();
        let (new_breaches, historical_breaches) = (count(event::Status::New), count(event::Status::Historical));
        if !events.is_empty() {
            // One commit: a breach is never recorded without what is to be sent about it.
            store::write(&places.alerts, event::to_batch(&events)?, Mode::Append).await?;
        }
        let log = if events.is_empty() { log } else { self.read_log(places, name).await? };
        self.progress.stage("delivering for", name);
        let (settled, attempts) = outbox::deliver(&self.config, name, log.pending, now).await;
        if !settled.is_empty() {
            store::write(&places.alerts, event::to_batch(&settled)?, Mode::Append).await?;
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

    async fn read_log(&self, places: &Places, monitor: &str) -> Result<Log> {
        match store::read(&self.context, &places.alerts).await? {
            Some(batch) => Log::read(&batch, monitor),
            None => Ok(Log::default()),
        }
    }
}

/// A digest of everything that metric rows depend on: rules, notifiers and places may change without a new refresh.
fn config_digest(monitor: &BoundMonitor) -> String {
    let config = &monitor.config;
    let mut hash = Sha256::new();
    let mut part = |text: String| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(config.table.value.clone());
    part(format!("{:?}", config.baseline.as_ref().map(|baseline| &baseline.value)));
    part(format!("{:?} {:?} {:?}", config.timezone, config.week_start, config.grace));
    part(format!("{:?} {:?} {}", config.precision, config.bins, config.max_slices));
    part(format!("{:?}", config.kind.timestamp().map(|column| &column.value)));
    part(format!("{:?}", monitor.model_id()));
    for granularity in monitor.granularities() {
        part(granularity.to_string());
    }
    for slice in &monitor.slices {
        part(slice.key.clone());
    }
    for column in &monitor.columns {
        part(format!("{} {} {:?}", column.name, column.data_type, column.options));
    }
    for column in monitor.baseline.iter().flat_map(|baseline| &baseline.columns) {
        part(match column {
            BaselineColumn::Same => "same".to_owned(),
            BaselineColumn::Missing => "missing".to_owned(),
            BaselineColumn::Changed { data_type } => format!("changed {data_type}"),
        });
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

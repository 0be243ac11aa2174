//! Where the time of a run goes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, filter::FilterExec};

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Opens tables, and finds out from their logs what to read.
    List,
    /// Waits for bytes of data files.
    Read,
    /// Turns them into columns.
    Decode,
    /// Finds the windows, models and slices of rows, and their groups.
    Group,
    /// Adds values to states.
    Observe,
    /// Encodes states, and merges them with others.
    Merge,
    /// Makes rows of metrics from states: profiles and drift.
    Measure,
    /// Writes files, and commits.
    Write,
}

impl Stage {
    /// All, in the order in which they come.
    pub const ALL: [Self; 8] =
        [Self::List, Self::Read, Self::Decode, Self::Group, Self::Observe, Self::Merge, Self::Measure, Self::Write];

    /// Its name, as `limno run --profile` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Group => "group",
            Self::Observe => "observe",
            Self::Merge => "merge",
            Self::Measure => "drift",
            Self::Write => "write",
        }
    }
}

/// Adds up, by stage, the time of all that runs in a session. Work that is done at once counts as often as it is done, so
/// the sum can be more than the time that passed; what nobody measures, such as exchanging rows between cores, is in none.
#[derive(Debug, Default)]
pub struct Watch {
    nanos: [AtomicU64; Stage::ALL.len()],
}

impl Watch {
    /// Adds time to a stage.
    pub fn add(&self, stage: Stage, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos[stage as usize].fetch_add(nanos, Ordering::Relaxed);
    }

    /// Measures what a closure does.
    pub fn run<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    /// Measures a future from its first step to its end, pauses included.
    pub async fn wait<F: Future>(&self, stage: Stage, work: F) -> F::Output {
        let start = Instant::now();
        let result = work.await;
        self.add(stage, start.elapsed());
        result
    }

    /// The time of a stage so far.
    #[must_use]
    pub fn time(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.nanos[stage as usize].load(Ordering::Relaxed))
    }

    /// Adds what the operators of a plan that has run have measured.
    fn add_plan(&self, plan: &dyn ExecutionPlan) {
        if let Some(metrics) = plan.metrics() {
            let time = |name: &str| time_of(&metrics, name);
            let own = || Duration::from_nanos(metrics.elapsed_compute().unwrap_or(0) as u64);
            if plan.downcast_ref::<DataSourceExec>().is_some() {
                self.add(Stage::Decode, time("time_elapsed_processing"));
            } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
                let (keys, arguments) = (time("time_calculating_group_ids"), time("aggregate_arguments_time"));
                let encoding = time("emitting_time");
                // What remains: the time that is named so is, of some streams, counted again with each aggregate.
                let values = own().saturating_sub(keys + arguments + encoding);
                match aggregate.mode().input_mode() {
                    AggregateInputMode::Raw => {
                        self.add(Stage::Group, keys + arguments);
                        self.add(Stage::Observe, values);
                        self.add(Stage::Merge, encoding);
                    }
                    AggregateInputMode::Partial => self.add(Stage::Merge, own()),
                }
            } else if plan.downcast_ref::<RepartitionExec>().is_some() {
                self.add(Stage::Merge, time("repartition_time"));
            } else if plan.downcast_ref::<ProjectionExec>().is_some() || plan.downcast_ref::<FilterExec>().is_some() {
                self.add(Stage::Group, own());
            }
        }
        plan.children().into_iter().for_each(|child| self.add_plan(child.as_ref()));
    }
}

fn time_of(metrics: &MetricsSet, name: &str) -> Duration {
    let nanos = metrics.sum(|metric| matches!(metric.value(), MetricValue::Time { name: known, .. } if known == name));
    Duration::from_nanos(nanos.map_or(0, |nanos| nanos.as_usize() as u64))
}

/// Adds the times of a plan to a watch when its last stream is dropped.
pub(crate) struct Watched {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) watch: Arc<Watch>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.add_plan(self.plan.as_ref());
    }
}

//! Scans of remote files do not wait for one file after the other.
//!
//! A scan whose files lie in a store where each request takes its time is read by more streams than there are cores, and
//! the ends of its files, where their footers are, come ahead of it; of small files all. Both are bounded in memory. What
//! is read follows from the plan alone, and states do not depend on the order in which rows come.

use std::collections::HashSet;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use object_store::path::Path;
use url::Url;

use crate::lake::Lake;

/// The end of a file that holds its footer, nearly always: that of 200 columns in several row groups.
pub(crate) const TAIL: u64 = 64 << 10;
/// Files up to this size are read as a whole: to leave something out takes longer.
const WHOLE: u64 = 128 << 10;
/// Ends of files on their way at once.
const AT_ONCE: usize = 32;
/// The most streams that read one scan.
const MOST_STREAMS: u64 = 16;
/// Bytes of files that are open at once, about.
const OPEN_BYTES: u64 = 256 << 20;

/// Finds the scans of remote files in a physical plan.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    lake: Arc<Lake>,
}

impl ReadAhead {
    pub(crate) const fn new(lake: Arc<Lake>) -> Self {
        Self { lake }
    }

    fn rewrite(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if plan.name() == "DeltaScanExec" || plan.downcast_ref::<DataSourceExec>().is_some() {
            return self.ahead(plan, config);
        }
        let children: Vec<_> = plan.children().into_iter().cloned().collect();
        let rewritten =
            children.iter().map(|child| self.rewrite(Arc::clone(child), config)).collect::<Result<Vec<_>>>()?;
        if children.iter().zip(&rewritten).all(|(before, after)| Arc::ptr_eq(before, after)) {
            return Ok(plan);
        }
        let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        plan.replace_children(rewritten, keep)
    }

    /// A scan, read ahead and by more streams if its files are remote.
    fn ahead(&self, scan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let mut files = Vec::new();
        self.files(scan.as_ref(), &mut files);
        if files.is_empty() {
            return Ok(scan);
        }
        let partitions = scan.output_partitioning().partition_count();
        let mut config = config.clone();
        config.optimizer.repartition_file_min_size = 0;
        let streams = streams(&files, partitions);
        let wider = match scan.output_ordering() {
            None if streams > partitions => scan.repartitioned(streams, &config)?,
            _ => None,
        };
        let scan = wider.unwrap_or(scan);
        let mut files = Vec::new();
        self.files(scan.as_ref(), &mut files);
        let scan: Arc<dyn ExecutionPlan> = Arc::new(ReadAheadExec::new(scan, Arc::clone(&self.lake), files));
        if scan.output_partitioning().partition_count() == partitions {
            return Ok(scan);
        }
        // What follows has states for each of its streams, so it has as many as before.
        Ok(match partitions {
            1 => Arc::new(CoalescePartitionsExec::new(scan)),
            _ => Arc::new(RepartitionExec::try_new(scan, Partitioning::RoundRobinBatch(partitions))?),
        })
    }

    /// The remote Parquet files of a scan, in the order in which it takes them.
    fn files(&self, plan: &dyn ExecutionPlan, files: &mut Vec<RemoteFile>) {
        if let Some(source) = plan.downcast_ref::<DataSourceExec>()
            && let Some((config, _)) = source.downcast_to_file_source::<ParquetSource>()
        {
            self.files_of(config, files);
        }
        plan.children().into_iter().for_each(|child| self.files(child.as_ref(), files));
    }

    fn files_of(&self, config: &FileScanConfig, files: &mut Vec<RemoteFile>) {
        let url: &Url = config.object_store_url.as_ref();
        let groups = &config.file_groups;
        let longest = groups.iter().map(|group| group.len()).max().unwrap_or(0);
        let in_turn = (0..longest).flat_map(|at| groups.iter().filter_map(move |group| group.iter().nth(at)));
        // Several streams can read parts of one file.
        let mut known = HashSet::new();
        for file in in_turn {
            let path = &file.object_meta.location;
            if known.insert(path) && self.lake.remote(url, path).is_some() {
                files.push(RemoteFile { store: url.clone(), path: path.clone(), size: file.object_meta.size });
            }
        }
    }
}

/// So many streams that not too many bytes of files are open at once.
fn streams(files: &[RemoteFile], least: usize) -> usize {
    let size: u64 = files.iter().map(|file| file.size).sum();
    let average = (size / files.len().max(1) as u64).max(1);
    let most = (OPEN_BYTES / average).min(MOST_STREAMS).min(files.len() as u64);
    usize::try_from(most).unwrap_or(least).max(least)
}

impl PhysicalOptimizerRule for ReadAhead {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        self.rewrite(plan, config)
    }

    fn name(&self) -> &str {
        "limno_read_ahead"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RemoteFile {
    store: Url,
    path: Path,
    size: u64,
}

/// A scan whose files are read ahead as soon as one of its streams is asked for.
struct ReadAheadExec {
    scan: Arc<dyn ExecutionPlan>,
    lake: Arc<Lake>,
    files: Arc<Vec<RemoteFile>>,
    running: Mutex<Option<Arc<Running>>>,
}

impl ReadAheadExec {
    fn new(scan: Arc<dyn ExecutionPlan>, lake: Arc<Lake>, files: Vec<RemoteFile>) -> Self {
        Self { scan, lake, files: Arc::new(files), running: Mutex::default() }
    }

    /// What is on its way; it ends with the last stream.
    fn run(&self, context: &TaskContext) -> Arc<Running> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_ref() {
            return Arc::clone(running);
        }
        let footers = context.runtime_env().cache_manager.get_file_metadata_cache();
        let mut ranges = Vec::new();
        for file in self.files.iter() {
            let is_whole = file.size <= WHOLE;
            // Another scan may have read its footer.
            if file.size > 0
                && (is_whole || !footers.contains_key(&file.path))
                && let Some(store) = self.lake.remote(&file.store, &file.path)
            {
                let range = if is_whole { 0 } else { file.size - TAIL }..file.size;
                store.announce(&file.path, range.clone());
                ranges.push((store, file.path.clone(), range));
            }
        }
        let task = SpawnedTask::spawn(async move {
            futures::stream::iter(ranges)
                .map(|(store, path, range)| async move { store.read_ahead(&path, range).await })
                .buffer_unordered(AT_ONCE)
                .collect::<()>()
                .await;
        });
        let now = Arc::new(Running { _task: task, lake: Arc::clone(&self.lake), files: Arc::clone(&self.files) });
        *running = Some(Arc::clone(&now));
        now
    }
}

/// Ends the reading ahead of a scan, and forgets what of it was not wanted.
struct Running {
    _task: SpawnedTask<()>,
    lake: Arc<Lake>,
    files: Arc<Vec<RemoteFile>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for file in self.files.iter() {
            if let Some(store) = self.lake.remote(&file.store, &file.path) {
                store.leave(&file.path);
            }
        }
    }
}

impl Debug for ReadAheadExec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAheadExec").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl DisplayAs for ReadAheadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ReadAheadExec: files={}", self.files.len())
    }
}

impl ExecutionPlan for ReadAheadExec {
    fn name(&self) -> &str {
        "ReadAheadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.scan]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn for<'a> FnMut(&'a Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = children.pop().unwrap_or_else(|| Arc::clone(&self.scan));
        Ok(Arc::new(Self {
            scan,
            lake: Arc::clone(&self.lake),
            files: Arc::clone(&self.files),
            running: Mutex::default(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let running = self.run(&context);
        let stream = self.scan.execute(partition, context)?;
        let schema = stream.schema();
        let stream = stream.map(move |batch| {
            let _running = &running;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

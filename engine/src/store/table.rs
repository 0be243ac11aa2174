//! A Delta table of ours at the version that was read, and the one way to commit to it.
//!
//! Rows lie in files by *group*: a tag of each file names a part of the table that is replaced as one. A commit
//! removes whole files and adds others, exactly on top of the version that was read; whoever was slower is told so and
//! reads again. So two writers never lose or double a row, whatever they do at the same moment.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitData, CommitProperties, TableReference, TransactionError};
use deltalake::kernel::{Action, Add, Metadata, MetadataExt, Protocol, Remove, StructType, Transaction, new_metadata};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use limno_sql::lake::{Access, Lake, Place};
use limno_sql::source::{LogFound, TableFiles, TableLog, active_files, is_blank};
use limno_sql::watch::Stage;
use serde_json::json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::bare::Bare;
use super::file::FileWriter;
use crate::{Error, Result};

/// Commits between two checkpoints.
const CHECKPOINT_INTERVAL: u64 = 10;
/// The tag of a file that names its group.
pub(super) const GROUP: &str = "limno.group";

/// A table of ours at one version; or the place of one that was never written.
#[derive(Debug)]
pub struct OwnTable {
    uri: String,
    place: Place,
    known: Known,
    files: Vec<OwnFile>,
    /// Whether another program created the table, with columns of its own, and nobody has written to it yet. It is then
    /// as good as not there, but for its first commits, on top of which ours come.
    is_blank: bool,
    /// The same of a table that was created without columns, which does not even load.
    bare: Option<Bare>,
}

/// What is known of a table.
#[derive(Debug)]
enum Known {
    /// It is not there.
    Nothing,
    /// What its log says, for that is all that it takes to read it and to commit to it; as delta-rs has it, once that is
    /// asked for.
    Log(Box<TableLog>, OnceCell<DeltaTable>),
    /// All of it, for other programs made it a table that asks for more.
    Table(Box<DeltaTable>),
}

/// An active file.
#[derive(Debug, Clone)]
pub struct OwnFile {
    /// The part of the table that it belongs to; `None` if another program wrote the file or joined it with others.
    pub group: Option<String>,
    /// What the log says of it.
    pub add: Add,
}

/// What a commit does.
#[derive(Debug, Default)]
pub struct Changes {
    /// Files that go.
    pub removed: Vec<Add>,
    /// Files that come, from [`FileWriter::finish`].
    pub added: Vec<Add>,
    /// How far applications have come, by id.
    pub transactions: Vec<(String, i64)>,
    /// Properties of the table that take these values.
    pub properties: BTreeMap<&'static str, String>,
    /// Whether the files that come hold the rows of those that go, and no row changes.
    pub rearranges: bool,
}

impl OwnTable {
    /// Opens the table at `uri` at its newest version. Nothing is created.
    ///
    /// # Errors
    /// When a table is there but does not open.
    pub async fn open(context: &SessionContext, uri: &str) -> Result<Self> {
        let place = Lake::of(context)?.locate(uri, Access::Write).await?;
        let known = Known::Nothing;
        let mut own = Self { uri: uri.to_owned(), place, known, files: Vec::new(), is_blank: false, bare: None };
        let of_group = |add: Add| {
            let group = add.tags.as_ref().and_then(|tags| tags.get(GROUP).cloned().flatten());
            OwnFile { group, add }
        };
        match TableLog::find(context, &own.place).await? {
            LogFound::Nothing => {}
            LogFound::Plain(mut log) => {
                own.files = std::mem::take(&mut log.files).into_iter().map(of_group).collect();
                own.is_blank = log.is_blank;
                own.known = Known::Log(log, OnceCell::new());
            }
            LogFound::Other if !own.place.has_commits().await? => {}
            LogFound::Other => {
                let unreadable = |error| limno_sql::Error::of_delta(uri, error);
                let table = match own.place.delta().map_err(unreadable)?.load().await {
                    Ok(table) => table,
                    Err(error) => {
                        own.bare = Box::pin(Bare::find(&own.place)).await;
                        return if own.bare.is_some() { Ok(own) } else { Err(unreadable(error).into()) };
                    }
                };
                table.update_datafusion_session(&context.state()).map_err(unreadable)?;
                own.files = active_files(&table).map_err(unreadable)?.into_iter().map(of_group).collect();
                own.is_blank = Box::pin(is_blank(&table)).await.map_err(unreadable)?;
                own.known = Known::Table(Box::new(table));
            }
        }
        Ok(own)
    }

    fn log_store(&self) -> Result<LogStoreRef, DeltaTableError> {
        match &self.known {
            Known::Table(table) => Ok(table.log_store()),
            Known::Nothing | Known::Log(..) => Ok(self.place.delta()?.build()?.log_store()),
        }
    }

    fn failed(&self, source: DeltaTableError) -> Error {
        Error::of_write(&self.uri, source)
    }

    /// Its location.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The version that was read; `None` if it was never written.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.newest().filter(|_| !self.is_blank)
    }

    /// The version that was read, whoever wrote it.
    fn newest(&self) -> Option<u64> {
        match &self.known {
            Known::Nothing => None,
            Known::Log(log, _) => Some(log.version),
            Known::Table(table) => table.version(),
        }
    }

    /// The active files.
    #[must_use]
    pub fn files(&self) -> &[OwnFile] {
        &self.files
    }

    /// The size of the active files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| u64::try_from(file.add.size).unwrap_or_default()).sum()
    }

    /// The schema; `None` if it was never written.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        match &self.known {
            _ if self.is_blank => None,
            Known::Nothing => None,
            Known::Log(log, _) => Some(Arc::clone(&log.schema)),
            Known::Table(table) => Some(table.snapshot().ok()?.snapshot().arrow_schema()),
        }
    }

    /// The table as delta-rs has it, at the version that was read; `None` if it is not there.
    ///
    /// # Errors
    /// When it does not open.
    pub async fn delta(&self) -> Result<Option<&DeltaTable>> {
        let unreadable = |error| limno_sql::Error::of_delta(&self.uri, error);
        match &self.known {
            Known::Nothing => Ok(None),
            Known::Log(log, table) => {
                let load = || async { self.place.delta()?.with_version(log.version).load().await };
                Ok(Some(table.get_or_try_init(load).await.map_err(unreadable)?))
            }
            Known::Table(table) => Ok(Some(table)),
        }
    }

    /// What a commit goes on top of.
    fn base(&self) -> Option<&Metadata> {
        match &self.known {
            Known::Nothing => None,
            Known::Log(log, _) => Some(&log.metadata),
            Known::Table(table) => Some(table.snapshot().ok()?.metadata()),
        }
    }

    /// The table's own id: another for a table that was removed and created again.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        Some(self.base().filter(|_| !self.is_blank)?.id())
    }

    /// A property of the table.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        self.base().filter(|_| !self.is_blank)?.configuration().get(key).map(String::as_str)
    }

    /// How far an application has come.
    ///
    /// # Errors
    /// When the log does not read.
    pub async fn transaction(&self, id: &str) -> Result<Option<i64>> {
        match &self.known {
            _ if self.is_blank => Ok(None),
            Known::Nothing => Ok(None),
            Known::Log(log, _) => Ok(log.transaction(id)),
            Known::Table(table) => {
                let unreadable = |error| limno_sql::Error::of_delta(&self.uri, error);
                let state = table.snapshot().map_err(unreadable)?;
                let at = state.transaction_version(table.log_store().as_ref(), id).await;
                Ok(at.map_err(unreadable)?)
            }
        }
    }

    /// The groups of the files that the commits later than `since`, up to `until`, added or removed; `None` if the log no
    /// longer tells.
    pub async fn groups_changed(&self, since: u64, until: u64) -> Option<Vec<String>> {
        let mut groups = Vec::new();
        if since >= until {
            return Some(groups);
        }
        let log_store = self.log_store().ok()?;
        for version in since + 1..=until {
            let commit = log_store.read_commit_entry(version).await.ok()??;
            for action in deltalake::logstore::get_actions(version, &commit).ok()? {
                let tags = match action {
                    Action::Add(add) => add.tags,
                    Action::Remove(remove) => remove.tags,
                    _ => continue,
                };
                groups.push(tags?.remove(GROUP)??);
            }
        }
        groups.sort_unstable();
        groups.dedup();
        Some(groups)
    }

    /// Streams rows of some of its files: those that `filter` holds for, and these columns of them, or all.
    ///
    /// # Errors
    /// When the scan cannot be set up; later errors come with the stream.
    pub async fn read(
        &self,
        context: &SessionContext,
        files: Vec<Add>,
        filter: Option<Expr>,
        columns: Option<&[&str]>,
    ) -> Result<Option<SendableRecordBatchStream>> {
        if files.is_empty() {
            return Ok(None);
        }
        let provider: Arc<dyn TableProvider> = match &self.known {
            Known::Nothing => return Ok(None),
            Known::Log(log, _) => Arc::new(TableFiles::new(&self.place, Arc::clone(&log.schema), &files)?),
            Known::Table(table) => table.table_provider().with_adds(files).await?,
        };
        let mut rows = context.read_table(provider)?;
        if let Some(filter) = filter {
            rows = rows.filter(filter)?;
        }
        if let Some(columns) = columns {
            rows = rows.select_columns(columns)?;
        }
        Ok(Some(rows.execute_stream().await?))
    }

    /// A writer of files that a later [`OwnTable::commit`] makes part of the table.
    ///
    /// # Errors
    /// [`Error::Write`] when the place cannot be one of a table.
    pub fn writer(&self, schema: &SchemaRef) -> Result<FileWriter> {
        let log_store = self.log_store().map_err(|error| self.failed(error))?;
        Ok(FileWriter::new(self.uri.clone(), log_store.object_store(None), schema, Arc::clone(self.place.watch())))
    }

    /// Commits on top of the version that was read and answers the new version; `None` if another writer was faster,
    /// and nothing was changed. A table that is not there yet is created by the same commit.
    ///
    /// # Errors
    /// [`Error::Write`]; the table is then as it was.
    pub async fn commit(&self, schema: &SchemaRef, changes: Changes) -> Result<Option<u64>> {
        let failed = |source| self.failed(source);
        if let Some(bare) = &self.bare {
            let Some(table) = Box::pin(bare.with_columns(&self.place, schema)).await.map_err(failed)? else {
                return Ok(None);
            };
            let (uri, place, known) = (self.uri.clone(), self.place.clone(), Known::Table(Box::new(table)));
            let own = Self { uri, place, known, files: Vec::new(), is_blank: true, bare: None };
            return Box::pin(own.commit(schema, changes)).await;
        }
        let log_store = self.log_store().map_err(failed)?;
        let operation = if changes.rearranges {
            DeltaOperation::Optimize { predicate: None, target_size: super::join::SMALL }
        } else {
            let mode = if changes.removed.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
            DeltaOperation::Write { mode, partition_by: None, predicate: None }
        };
        let data_change = !changes.rearranges;
        let mut actions = self.description(schema, &changes.properties).map_err(failed)?;
        actions.extend(changes.removed.into_iter().map(|add| Action::Remove(removal(add, data_change))));
        actions.extend(changes.added.into_iter().map(|add| Action::Add(Add { data_change, ..add })));
        let transactions =
            changes.transactions.into_iter().map(|(id, at)| Transaction::new(id, at)).collect::<Vec<_>>();
        let commit = async {
            let Known::Table(table) = &self.known else {
                if let Known::Log(log, _) = &self.known
                    && !log.is_there(&self.place).await?
                {
                    // A commit after one that is gone would be the end of the log, or of the next table's.
                    return Err(DeltaTableError::VersionAlreadyExists(log.version));
                }
                let version = self.newest().map_or(0, |version| version + 1);
                let data = CommitData::new(actions, operation, HashMap::new(), transactions);
                let bytes = CommitOrBytes::LogBytes(data.get_bytes()?);
                log_store.write_commit_entry(version, bytes, Uuid::new_v4()).await?;
                return Ok(version);
            };
            let properties = CommitProperties::default()
                // The version that was read or none: what is written was made from it.
                .with_max_retries(0)
                // What follows a commit must not make it look failed; see `checkpoint`.
                .with_create_checkpoint(false)
                .with_cleanup_expired_logs(Some(false))
                .with_application_transactions(transactions);
            // Whether the table asks for something of its writers is looked at here.
            let base = table.snapshot()?.snapshot() as &dyn TableReference;
            let commit = CommitBuilder::from(properties).with_actions(actions).build(Some(base), log_store, operation);
            Ok(commit.await?.version())
        };
        match self.place.watch().wait(Stage::Write, Box::pin(commit)).await {
            Ok(version) => {
                self.checkpoint(version).await;
                Ok(Some(version))
            }
            Err(
                DeltaTableError::VersionAlreadyExists(_)
                | DeltaTableError::Transaction {
                    source: TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_),
                },
            ) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes a checkpoint now and then, so that the table opens fast. Without it, it opens all the same.
    async fn checkpoint(&self, version: u64) {
        if !version.is_multiple_of(CHECKPOINT_INTERVAL) || version == 0 {
            return;
        }
        let write = async {
            let table = self.place.delta()?.with_version(version).load().await?;
            deltalake::checkpoints::create_checkpoint(&table, None).await
        };
        if let Err(error) = write.await {
            tracing::warn!(%error, table = self.uri, version, "no checkpoint could be written");
        }
    }

    /// The actions that say what the table is: all of a new one, and of another what has changed.
    fn description(
        &self,
        schema: &SchemaRef,
        properties: &BTreeMap<&'static str, String>,
    ) -> Result<Vec<Action>, DeltaTableError> {
        let schema: StructType = schema.as_ref().try_into_kernel()?;
        let Some(before) = self.base() else {
            let protocol: Protocol = serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))?;
            let metadata = new_metadata(&schema, std::iter::empty::<String>(), properties)?;
            return Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)]);
        };
        let mut metadata: Metadata = if self.is_blank { unpartitioned(before)? } else { before.clone() };
        if before.parse_schema()? != schema {
            metadata = metadata.with_schema(&schema)?;
        }
        for (key, value) in properties {
            if before.configuration().get(*key) != Some(value) {
                metadata = metadata.add_config_key((*key).to_owned(), value.clone())?;
            }
        }
        Ok(if metadata == *before { Vec::new() } else { vec![Action::Metadata(metadata)] })
    }
}

/// The same description of a table whose files are not laid out by columns, as ours are not.
fn unpartitioned(metadata: &Metadata) -> Result<Metadata, DeltaTableError> {
    let mut text = serde_json::to_value(metadata)?;
    text["partitionColumns"] = json!([]);
    Ok(serde_json::from_value(text)?)
}

fn removal(add: Add, data_change: bool) -> Remove {
    Remove {
        path: add.path,
        data_change,
        deletion_timestamp: Some(crate::clock::machine_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::new()),
        size: Some(add.size),
        tags: add.tags,
        deletion_vector: add.deletion_vector,
        ..Remove::default()
    }
}

//! A Delta table of ours at the version that was read, and the one way to commit to it.
//!
//! Rows lie in files by *group*: a tag of each file names a part of the table that is replaced as one. A commit
//! removes whole files and adds others, exactly on top of the version that was read; whoever was slower is told so and
//! reads again. So two writers never lose or double a row, whatever they do at the same moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, Metadata, MetadataExt, Protocol, Remove, StructType, Transaction, new_metadata};
use deltalake::logstore::LogStoreRef;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use limno_sql::lake::{Access, Lake, Place};
use limno_sql::source::{active_files, is_blank};
use limno_sql::watch::Stage;
use serde_json::json;

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
    table: Option<DeltaTable>,
    files: Vec<OwnFile>,
    /// Whether another program created the table, with columns of its own, and nobody has written to it yet. It is then
    /// as good as not there, but for its first commits, on top of which ours come.
    is_blank: bool,
    /// The same of a table that was created without columns, which does not even load.
    bare: Option<Bare>,
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
        let mut own = Self { uri: uri.to_owned(), place, table: None, files: Vec::new(), is_blank: false, bare: None };
        if own.place.has_commits().await? {
            let unreadable = |error| limno_sql::Error::of_delta(uri, error);
            let table = match own.place.delta().map_err(unreadable)?.load().await {
                Ok(table) => table,
                Err(error) => {
                    own.bare = Box::pin(Bare::find(&own.place)).await;
                    return if own.bare.is_some() { Ok(own) } else { Err(unreadable(error).into()) };
                }
            };
            table.update_datafusion_session(&context.state()).map_err(unreadable)?;
            let group = |add: &Add| add.tags.as_ref().and_then(|tags| tags.get(GROUP).cloned().flatten());
            let files = active_files(&table).map_err(unreadable)?;
            own.files = files.into_iter().map(|add| OwnFile { group: group(&add), add }).collect();
            own.is_blank = Box::pin(is_blank(&table)).await.map_err(unreadable)?;
            own.table = Some(table);
        }
        Ok(own)
    }

    fn log_store(&self) -> Result<LogStoreRef, DeltaTableError> {
        match &self.table {
            Some(table) => Ok(table.log_store()),
            None => Ok(self.place.delta()?.build()?.log_store()),
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
        self.table.as_ref().filter(|_| !self.is_blank).and_then(DeltaTable::version)
    }

    /// The active files.
    #[must_use]
    pub fn files(&self) -> &[OwnFile] {
        &self.files
    }

    /// The schema; `None` if it was never written.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        Some(self.state()?.snapshot().arrow_schema())
    }

    /// The table as delta-rs has it.
    #[must_use]
    pub const fn delta(&self) -> Option<&DeltaTable> {
        self.table.as_ref()
    }

    /// What was written; `None` if nothing was.
    fn state(&self) -> Option<&DeltaTableState> {
        self.base().filter(|_| !self.is_blank)
    }

    /// What a commit goes on top of.
    fn base(&self) -> Option<&DeltaTableState> {
        self.table.as_ref().and_then(|table| table.snapshot().ok())
    }

    /// The table's own id: another for a table that was removed and created again.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        Some(self.state()?.metadata().id())
    }

    /// A property of the table.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        self.state()?.metadata().configuration().get(key).map(String::as_str)
    }

    /// How far an application has come.
    ///
    /// # Errors
    /// When the log does not read.
    pub async fn transaction(&self, id: &str) -> Result<Option<i64>> {
        let (Some(table), Some(state)) = (&self.table, self.state()) else { return Ok(None) };
        let unreadable = |error| limno_sql::Error::of_delta(&self.uri, error);
        Ok(state.transaction_version(table.log_store().as_ref(), id).await.map_err(unreadable)?)
    }

    /// The groups of the files that the commits later than `since`, up to `until`, added or removed; `None` if the log no
    /// longer tells.
    pub async fn groups_changed(&self, since: u64, until: u64) -> Option<Vec<String>> {
        let table = self.table.as_ref()?;
        let mut groups = Vec::new();
        for version in since + 1..=until {
            let commit = table.log_store().read_commit_entry(version).await.ok()??;
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
        let Some(table) = self.table.as_ref().filter(|_| !files.is_empty()) else { return Ok(None) };
        let provider = table.table_provider().with_adds(files).await?;
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
            let (uri, place) = (self.uri.clone(), self.place.clone());
            let own = Self { uri, place, table: Some(table), files: Vec::new(), is_blank: true, bare: None };
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
        let transactions = changes.transactions.into_iter();
        let properties = CommitProperties::default()
            // The version that was read or none: what is written was made from it.
            .with_max_retries(0)
            // What follows a commit must not make it look failed; see `checkpoint`.
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(transactions.map(|(id, at)| Transaction::new(id, at)).collect());
        let reference =
            self.base().map(|state| state.snapshot() as &dyn deltalake::kernel::transaction::TableReference);
        let commit = CommitBuilder::from(properties).with_actions(actions).build(reference, log_store, operation);
        match self.place.watch().wait(Stage::Write, commit.into_future()).await {
            Ok(done) => {
                self.checkpoint(done.version()).await;
                Ok(Some(done.version()))
            }
            Err(DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_),
            }) => Ok(None),
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
        let Some(state) = self.base() else {
            let protocol: Protocol = serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))?;
            let metadata = new_metadata(&schema, std::iter::empty::<String>(), properties)?;
            return Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)]);
        };
        let before = state.metadata();
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

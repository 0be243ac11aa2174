//! What the log of a plain Delta table says at its newest version, read as it stands.
//!
//! A refresh opens a dozen of our own tables, most of them only to see how far they have come. Their logs are a few short
//! commits after a checkpoint. A table that asks more of its readers (features, deletion vectors, mapped columns,
//! partitions, other kinds of checkpoints) is for delta-rs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Action, Add, Metadata, Protocol};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use crate::Result;
use crate::lake::{Lake, Place};

/// Commits that are fetched at once.
const AT_ONCE: usize = 8;
/// Checkpoints of fewer bytes are read faster than they are kept.
const KEPT_FROM: u64 = 32 << 10;
/// Checkpoints that are kept.
const KEPT: usize = 16;
/// What we read of a checkpoint.
const ACTIONS: [&str; 4] = ["add", "metaData", "protocol", "txn"];

/// A plain table at its newest version.
#[derive(Debug, Clone)]
pub struct TableLog {
    /// The version.
    pub version: u64,
    /// What the table is.
    pub metadata: Metadata,
    /// Its columns.
    pub schema: SchemaRef,
    /// The active files, the newest first.
    pub files: Vec<Add>,
    transactions: Transactions,
    /// Whether the newest commit says that it creates the table or gives it its columns, and no file is there: nobody has
    /// written to it yet.
    pub is_blank: bool,
}

/// How far applications have come, by id: as a checkpoint has it, and as later commits do.
#[derive(Debug, Clone, Default)]
struct Transactions {
    checkpoint: Arc<HashMap<String, i64>>,
    later: HashMap<String, i64>,
}

/// Checkpoints of one session, as far as they are large. The log of a table that thousands of monitors share says of each
/// how far it has come, and each of them opens it.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints(Mutex<VecDeque<(ObjectMeta, Arc<Replay>)>>);

impl Checkpoints {
    /// The checkpoint that a listing shows, if it was read before and is the same.
    fn find(&self, meta: &ObjectMeta) -> Option<Arc<Replay>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == meta)?;
        let found = kept.remove(at)?;
        let replay = Arc::clone(&found.1);
        kept.push_front(found);
        Some(replay)
    }

    fn keep(&self, meta: ObjectMeta, replay: Arc<Replay>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| known.location != meta.location);
        kept.push_front((meta, replay));
        kept.truncate(KEPT);
    }
}

/// What a log is.
#[derive(Debug)]
pub enum LogFound {
    /// There is none.
    Nothing,
    /// That of a plain table.
    Plain(Box<TableLog>),
    /// One that asks for more, or that is damaged.
    Other,
}

/// The file that says where the newest checkpoint is.
#[derive(Deserialize)]
struct LastCheckpoint {
    version: u64,
}

/// The files of a log from its newest checkpoint on.
#[derive(Default)]
struct Listing {
    commits: HashMap<u64, Path>,
    checkpoint: Option<(u64, ObjectMeta)>,
    /// Whether a checkpoint of another kind is there.
    has_others: bool,
}

impl Listing {
    fn add(&mut self, file: ObjectMeta) {
        let name = file.location.filename().unwrap_or_default();
        let Some((number, rest)) = name.split_at_checked(20) else { return };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        let Ok(version) = number.parse::<u64>() else { return };
        match rest {
            ".json" => {
                self.commits.insert(version, file.location);
            }
            ".checkpoint.parquet" => {
                if self.checkpoint.as_ref().is_none_or(|(newest, _)| *newest < version) {
                    self.checkpoint = Some((version, file));
                }
            }
            _ => self.has_others |= rest.starts_with(".checkpoint."),
        }
    }

    /// The newest version, and the commits that lead to it from the checkpoint; `None` if one of them is missing.
    fn commits(&self) -> Option<(u64, Vec<(u64, Path)>)> {
        let after = self.checkpoint.as_ref().map(|(version, _)| *version);
        let newest = self.commits.keys().copied().max().max(after)?;
        let from = after.map_or(0, |version| version + 1);
        let commits = (from..=newest).map(|version| Some((version, self.commits.get(&version)?.clone())));
        Some((newest, commits.collect::<Option<Vec<_>>>()?))
    }
}

impl TableLog {
    /// Reads the log of the table at `place`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(lake: &Lake, place: &Place) -> Result<LogFound> {
        match read(lake.checkpoints(), place).await {
            Ok(found) => Ok(found),
            // What was listed is gone: a log that is being cleaned up, or a table that is made anew.
            Err(StoreError::NotFound { .. }) => Ok(LogFound::Other),
            Err(error) => Err(place.failed(error)),
        }
    }

    /// How far an application has come.
    #[must_use]
    pub fn transaction(&self, id: &str) -> Option<i64> {
        self.transactions.later.get(id).or_else(|| self.transactions.checkpoint.get(id)).copied()
    }
}

async fn read(checkpoints: &Checkpoints, place: &Place) -> Result<LogFound, StoreError> {
    let (store, folder) = (place.store(), place.path().clone().join("_delta_log"));
    let Some(listing) = list(store.as_ref(), &folder).await? else { return Ok(LogFound::Other) };
    if listing.commits.is_empty() && listing.checkpoint.is_none() && !listing.has_others {
        return Ok(LogFound::Nothing);
    }
    let Some((newest, commits)) = listing.commits() else { return Ok(LogFound::Other) };
    let fetch = |(version, path): (u64, Path)| async move { Ok((version, store.get(&path).await?.bytes().await?)) };
    let commits = futures::stream::iter(commits).map(fetch).buffered(AT_ONCE);
    let commits: Vec<(u64, Bytes)> = commits.try_collect::<Vec<_>>().await.map_err(|error: StoreError| error)?;
    let mut replay = match listing.checkpoint {
        None => Replay::default(),
        Some((_, meta)) => match checkpoint(checkpoints, store.as_ref(), meta).await? {
            Some(replay) => replay.as_ref().clone(),
            None => return Ok(LogFound::Other),
        },
    };
    for (version, bytes) in commits {
        let Ok(actions) = deltalake::logstore::get_actions(version, &bytes) else { return Ok(LogFound::Other) };
        replay.apply(actions);
    }
    Ok(replay.into_log(newest).map_or(LogFound::Other, |log| LogFound::Plain(Box::new(log))))
}

/// The files from the newest checkpoint on; `None` if what says where that is does not read.
async fn list(store: &dyn ObjectStore, folder: &Path) -> Result<Option<Listing>, StoreError> {
    let hint = match store.get(&folder.clone().join("_last_checkpoint")).await {
        Ok(found) => match serde_json::from_slice::<LastCheckpoint>(&found.bytes().await?) {
            Ok(hint) => Some(hint.version),
            Err(_) => return Ok(None),
        },
        // Who may not list is told of nothing that is missing, but that it must not be read.
        Err(StoreError::NotFound { .. } | StoreError::PermissionDenied { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut names = match hint {
        // A name without an ending comes before all that have one.
        Some(version) => store.list_with_offset(Some(folder), &folder.clone().join(format!("{version:020}"))),
        None => store.list(Some(folder)),
    };
    let mut listing = Listing::default();
    while let Some(found) = names.try_next().await? {
        listing.add(found);
    }
    let is_there = hint.is_none_or(|hint| listing.checkpoint.as_ref().is_some_and(|(version, _)| *version >= hint));
    Ok(is_there.then_some(listing))
}

/// A checkpoint in one file; `None` if it is no such.
async fn checkpoint(
    checkpoints: &Checkpoints,
    store: &dyn ObjectStore,
    meta: ObjectMeta,
) -> Result<Option<Arc<Replay>>, StoreError> {
    if let Some(kept) = checkpoints.find(&meta) {
        return Ok(Some(kept));
    }
    let Some(actions) = actions_of(store.get(&meta.location).await?.bytes().await?) else { return Ok(None) };
    let mut replay = Replay::default();
    replay.apply(actions);
    replay.transactions.checkpoint = Arc::new(std::mem::take(&mut replay.transactions.later));
    let replay = Arc::new(replay);
    if meta.size >= KEPT_FROM {
        checkpoints.keep(meta, Arc::clone(&replay));
    }
    Ok(Some(replay))
}

/// The actions of a checkpoint; `None` if it does not read.
fn actions_of(bytes: Bytes) -> Option<Vec<Action>> {
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes).ok()?;
    let columns = file.parquet_schema().root_schema().get_fields().iter().enumerate();
    let wanted = columns.filter(|(_, column)| ACTIONS.contains(&column.name())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(file.parquet_schema(), wanted.collect::<Vec<_>>());
    let mut lines = Vec::new();
    // A row is an action as a commit has it, under the name of its kind.
    let mut writer = LineDelimitedWriter::new(&mut lines);
    for batch in file.with_projection(mask).build().ok()? {
        writer.write(&batch.ok()?).ok()?;
    }
    writer.finish().ok()?;
    drop(writer);
    let actions = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && *line != b"{}");
    actions.map(|line| serde_json::from_slice(line).ok()).collect()
}

/// A log as far as it has been read.
#[derive(Debug, Clone, Default)]
struct Replay {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    files: Vec<Option<Add>>,
    by_path: HashMap<String, usize>,
    transactions: Transactions,
    operation: Option<String>,
}

impl Replay {
    /// Adds the actions of a checkpoint, or of a commit.
    fn apply(&mut self, actions: Vec<Action>) {
        self.operation = None;
        for action in actions {
            match action {
                Action::Protocol(protocol) => self.protocol = Some(protocol),
                Action::Metadata(metadata) => self.metadata = Some(metadata),
                Action::Txn(transaction) => {
                    self.transactions.later.insert(transaction.app_id, transaction.version);
                }
                Action::Add(add) => {
                    self.remove(&add.path);
                    self.by_path.insert(add.path.clone(), self.files.len());
                    self.files.push(Some(add));
                }
                Action::Remove(remove) => self.remove(&remove.path),
                Action::CommitInfo(info) => self.operation = info.operation,
                _ => {}
            }
        }
    }

    fn remove(&mut self, path: &str) {
        if let Some(index) = self.by_path.remove(path) {
            self.files[index] = None;
        }
    }

    /// What the log says; `None` if the table is no plain one.
    fn into_log(self, version: u64) -> Option<TableLog> {
        let (protocol, metadata) = (self.protocol?, self.metadata?);
        let files: Vec<Add> = self.files.into_iter().rev().flatten().collect();
        let schema = metadata.parse_schema().ok()?;
        let is_on = |key: &str| metadata.configuration().get(key).is_some_and(|value| value != "false");
        let has_rules = schema.fields().any(|field| field.metadata().contains_key("delta.invariants"));
        let is_plain = protocol.min_reader_version() == 1
            && protocol.min_writer_version() <= 2
            && metadata.partition_columns().is_empty()
            && !is_on("delta.appendOnly")
            && !is_on("delta.columnMapping.mode")
            && !has_rules
            && schema.fields().next().is_some()
            && files.iter().all(is_plain_file);
        if !is_plain {
            return None;
        }
        let is_creation =
            self.operation.is_some_and(|operation| operation.starts_with("CREATE") || operation == "ADD COLUMNS");
        let schema = Arc::new((&schema).try_into_arrow().ok()?);
        let is_blank = files.is_empty() && is_creation;
        Some(TableLog { version, metadata, schema, files, transactions: self.transactions, is_blank })
    }
}

/// Whether a file lies below its table, under a name that needs no decoding, with all its rows.
fn is_plain_file(add: &Add) -> bool {
    let is_plain_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte);
    add.deletion_vector.is_none() && !add.path.starts_with('/') && add.path.bytes().all(is_plain_name)
}

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
use datafusion::prelude::SessionContext;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Action, Add, Metadata, Protocol};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use super::delta::is_creation;
use crate::Result;
use crate::lake::Place;

/// Commits that are fetched at once.
const AT_ONCE: usize = 8;
/// Checkpoints of fewer bytes are read faster than they are kept.
const KEPT_FROM: u64 = 32 << 10;
/// Larger ones are not kept.
const KEPT_UP_TO: u64 = 4 << 20;
/// Checkpoints that are kept.
const KEPT: usize = 16;
/// What we read of a checkpoint; of one that says more in other files nothing is read.
const ACTIONS: [&str; 5] = ["add", "metaData", "protocol", "sidecar", "txn"];

/// A plain table at its newest version.
#[derive(Debug, Clone)]
pub struct TableLog {
    /// The version.
    pub version: u64,
    /// What the table is.
    pub metadata: Metadata,
    /// The newest commit, or the checkpoint in its place, as a listing showed it.
    pub newest: ObjectMeta,
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
pub(crate) struct Checkpoints(Mutex<VecDeque<(String, ObjectMeta, Arc<Replay>)>>);

impl Checkpoints {
    /// The checkpoint that a listing of the table at `url` shows, if it was read before and is the same.
    fn find(&self, url: &str, meta: &ObjectMeta) -> Option<Arc<Replay>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(table, known, _)| table == url && known == meta)?;
        let found = kept.remove(at)?;
        let replay = Arc::clone(&found.2);
        kept.push_front(found);
        Some(replay)
    }

    fn keep(&self, url: &str, meta: ObjectMeta, replay: Arc<Replay>) {
        // Times of object stores are whole seconds, in which a table can be made again.
        if meta.e_tag.is_none() || !(KEPT_FROM..=KEPT_UP_TO).contains(&meta.size) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(table, _, _)| table != url);
        kept.push_front((url.to_owned(), meta, replay));
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
    commits: HashMap<u64, ObjectMeta>,
    checkpoint: Option<(u64, ObjectMeta)>,
    /// Whether a checkpoint of another kind is there.
    has_others: bool,
}

/// The newest version with its file, and the commits that lead to it from the checkpoint.
struct LogPath {
    version: u64,
    newest: ObjectMeta,
    commits: Vec<(u64, Path)>,
}

impl Listing {
    fn add(&mut self, folder: &Path, file: ObjectMeta) {
        let name = file.location.filename().unwrap_or_default();
        // What somebody has put aside in folders of its own is no part of the log.
        if file.location != folder.clone().join(name) {
            return;
        }
        let Some((number, rest)) = name.split_at_checked(20) else { return };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        let Ok(version) = number.parse::<u64>() else { return };
        match rest {
            ".json" => {
                self.commits.insert(version, file);
            }
            ".checkpoint.parquet" => {
                if self.checkpoint.as_ref().is_none_or(|(newest, _)| *newest < version) {
                    self.checkpoint = Some((version, file));
                }
            }
            _ => self.has_others |= rest.starts_with(".checkpoint."),
        }
    }

    /// The way to the newest version; `None` if a commit is missing.
    fn path(&self) -> Option<LogPath> {
        let after = self.checkpoint.as_ref().map(|(version, _)| *version);
        let newest = self.commits.keys().copied().max().max(after)?;
        let from = after.map_or(0, |version| version + 1);
        let commits = (from..=newest).map(|version| Some((version, self.commits.get(&version)?.location.clone())));
        let checkpoint = self.checkpoint.as_ref().map(|(_, file)| file);
        let file = self.commits.get(&newest).or(checkpoint)?.clone();
        Some(LogPath { version: newest, newest: file, commits: commits.collect::<Option<Vec<_>>>()? })
    }
}

impl TableLog {
    /// Reads the log of the table at `place`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(context: &SessionContext, place: &Place) -> Result<LogFound> {
        let checkpoints = context.copied_config().get_extension::<Checkpoints>().unwrap_or_default();
        match read(&checkpoints, place).await {
            Ok(found) => Ok(found),
            // What was listed is gone: a log that is being cleaned up, or a table that is made anew.
            Err(StoreError::NotFound { .. }) => Ok(LogFound::Other),
            Err(error) => Err(place.failed(error)),
        }
    }

    /// Whether the newest commit is the one that was read: a table that was dropped, or made again, has another or none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_there(&self, place: &Place) -> Result<bool, StoreError> {
        match place.store().head(&self.newest.location).await {
            Ok(found) if place.on_disk().is_some() => Ok(found == self.newest),
            // Listings of stores may know fractions of a second, and write tags otherwise.
            Ok(found) => Ok(found.size == self.newest.size
                && found.last_modified.timestamp() == self.newest.last_modified.timestamp()),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
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
    let Some(LogPath { version, newest, commits }) = listing.path() else { return Ok(LogFound::Other) };
    let fetch = |(version, path): (u64, Path)| async move {
        Ok::<_, StoreError>((version, store.get(&path).await?.bytes().await?))
    };
    let commits: Vec<(u64, Bytes)> = futures::stream::iter(commits).map(fetch).buffered(AT_ONCE).try_collect().await?;
    let mut replay = match listing.checkpoint {
        None => Replay::default(),
        Some((_, meta)) => match checkpoint(checkpoints, place, meta).await? {
            Some(replay) => replay.as_ref().clone(),
            None => return Ok(LogFound::Other),
        },
    };
    for (version, bytes) in commits {
        let Ok(actions) = deltalake::logstore::get_actions(version, &bytes) else { return Ok(LogFound::Other) };
        replay.apply(actions);
    }
    Ok(replay.into_log(version, newest).map_or(LogFound::Other, |log| LogFound::Plain(Box::new(log))))
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
        listing.add(folder, found);
    }
    let is_there = hint.is_none_or(|hint| listing.checkpoint.as_ref().is_some_and(|(version, _)| *version >= hint));
    Ok(is_there.then_some(listing))
}

/// A checkpoint in one file; `None` if it is no such.
async fn checkpoint(
    checkpoints: &Checkpoints,
    place: &Place,
    meta: ObjectMeta,
) -> Result<Option<Arc<Replay>>, StoreError> {
    let url = place.url().as_str();
    if let Some(kept) = checkpoints.find(url, &meta) {
        return Ok(Some(kept));
    }
    let Some(actions) = actions_of(place.store().get(&meta.location).await?.bytes().await?) else { return Ok(None) };
    let mut replay = Replay::default();
    replay.apply(actions);
    replay.has_commits = false;
    replay.transactions.checkpoint = Arc::new(std::mem::take(&mut replay.transactions.later));
    let replay = Arc::new(replay);
    checkpoints.keep(url, meta, Arc::clone(&replay));
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
    /// Whether a commit came after the checkpoint.
    has_commits: bool,
    /// Whether files have rows that do not count.
    has_deletion_vectors: bool,
}

impl Replay {
    /// Adds the actions of a checkpoint, or of a commit.
    fn apply(&mut self, actions: Vec<Action>) {
        self.operation = None;
        self.has_commits = true;
        for action in actions {
            match action {
                Action::Protocol(protocol) => self.protocol = Some(protocol),
                Action::Metadata(metadata) => self.metadata = Some(metadata),
                Action::Txn(transaction) => {
                    self.transactions.later.insert(transaction.app_id, transaction.version);
                }
                Action::Add(add) => {
                    self.has_deletion_vectors |= add.deletion_vector.is_some();
                    self.remove(&add.path);
                    self.by_path.insert(add.path.clone(), self.files.len());
                    self.files.push(Some(add));
                }
                Action::Remove(remove) => {
                    self.has_deletion_vectors |= remove.deletion_vector.is_some();
                    self.remove(&remove.path);
                }
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
    fn into_log(self, version: u64, newest: ObjectMeta) -> Option<TableLog> {
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
            && !self.has_deletion_vectors
            // What the newest commit of a table without files did, a checkpoint does not tell.
            && (self.has_commits || !files.is_empty())
            && files.iter().all(is_plain_file);
        if !is_plain {
            return None;
        }
        let schema = Arc::new((&schema).try_into_arrow().ok()?);
        let is_blank = files.is_empty() && self.operation.is_some_and(|operation| is_creation(&operation));
        let transactions = self.transactions;
        Some(TableLog { version, newest, metadata, schema, files, transactions, is_blank })
    }
}

/// Whether a file lies below its table, under a name that needs no decoding.
fn is_plain_file(add: &Add) -> bool {
    let is_plain_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte);
    !add.path.starts_with('/') && add.path.bytes().all(is_plain_name)
}

//! What the log of a plain Delta table says at its newest version, read as it stands.
//!
//! A refresh opens a dozen of our own tables, most of them only to see how far they have come. Their logs are a few short
//! commits after a checkpoint. A table that asks more of its readers (features, deletion vectors, mapped columns,
//! partitions, other kinds of checkpoints) is for delta-rs.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Action, Add, Metadata, Protocol};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use crate::Result;
use crate::lake::Place;

/// Commits that are fetched at once.
const AT_ONCE: usize = 8;
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
    /// How far applications have come, by id.
    pub transactions: HashMap<String, i64>,
    /// Whether the newest commit says that it creates the table or gives it its columns, and no file is there: nobody has
    /// written to it yet.
    pub is_blank: bool,
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
    checkpoint: Option<(u64, Path)>,
    /// Whether a checkpoint of another kind is there.
    has_others: bool,
}

impl Listing {
    fn add(&mut self, path: Path) {
        let name = path.filename().unwrap_or_default();
        let Some((number, rest)) = name.split_at_checked(20) else { return };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        let Ok(version) = number.parse::<u64>() else { return };
        match rest {
            ".json" => {
                self.commits.insert(version, path);
            }
            ".checkpoint.parquet" => {
                if self.checkpoint.as_ref().is_none_or(|(newest, _)| *newest < version) {
                    self.checkpoint = Some((version, path));
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
    pub async fn find(place: &Place) -> Result<LogFound> {
        match read(place).await {
            Ok(found) => Ok(found),
            // What was listed is gone: a log that is being cleaned up, or a table that is made anew.
            Err(StoreError::NotFound { .. }) => Ok(LogFound::Other),
            Err(error) => Err(place.failed(error)),
        }
    }
}

async fn read(place: &Place) -> Result<LogFound, StoreError> {
    let (store, folder) = (place.store(), place.path().clone().join("_delta_log"));
    let Some(listing) = list(store.as_ref(), &folder).await? else { return Ok(LogFound::Other) };
    if listing.commits.is_empty() && listing.checkpoint.is_none() && !listing.has_others {
        return Ok(LogFound::Nothing);
    }
    let Some((newest, commits)) = listing.commits() else { return Ok(LogFound::Other) };
    let fetch = |(version, path): (u64, Path)| async move { Ok((version, store.get(&path).await?.bytes().await?)) };
    let commits = futures::stream::iter(commits).map(fetch).buffered(AT_ONCE);
    let commits: Vec<(u64, Bytes)> = commits.try_collect::<Vec<_>>().await.map_err(|error: StoreError| error)?;
    let mut replay = Replay::default();
    if let Some((_, path)) = &listing.checkpoint {
        let Some(actions) = checkpoint(store.get(path).await?.bytes().await?) else { return Ok(LogFound::Other) };
        replay.apply(actions);
    }
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
        listing.add(found.location);
    }
    let is_there = hint.is_none_or(|hint| listing.checkpoint.as_ref().is_some_and(|(version, _)| *version >= hint));
    Ok(is_there.then_some(listing))
}

/// The actions of a checkpoint in one file; `None` if it is no such.
fn checkpoint(bytes: Bytes) -> Option<Vec<Action>> {
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
#[derive(Default)]
struct Replay {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    files: Vec<Option<Add>>,
    by_path: HashMap<String, usize>,
    transactions: HashMap<String, i64>,
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
                    self.transactions.insert(transaction.app_id, transaction.version);
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
        let schema = std::sync::Arc::new((&schema).try_into_arrow().ok()?);
        let is_blank = files.is_empty() && is_creation;
        Some(TableLog { version, metadata, schema, files, transactions: self.transactions, is_blank })
    }
}

/// Whether a file lies below its table, under a name that needs no decoding, with all its rows.
fn is_plain_file(add: &Add) -> bool {
    let is_plain_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte);
    add.deletion_vector.is_none() && !add.path.starts_with('/') && add.path.bytes().all(is_plain_name)
}

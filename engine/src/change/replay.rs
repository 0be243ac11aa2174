//! From the commits since a version to the rows to read.
//!
//! Rows come with files that were added as changes of data. Where a file with rows that were known was removed,
//! rewritten, or got another deletion vector, the windows that it covers are *dirty*: their rows are read anew from
//! whatever files hold them now, and the new files' rows are taken only outside of them. Commits that say they change
//! no data (compaction, statistics) move rows between files and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::kernel::{Action, Add, DeletionVectorDescriptor, Remove};
use futures::StreamExt;
use limno_sql::source::{Source, SourceVersion, active_files};
use limno_sql::window::Spans;

use super::extent::LoggedTime;
use crate::Result;
use crate::ledger::TableMark;

/// Commits that are on their way at once.
const COMMITS_AT_ONCE: usize = 16;

/// What became of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeSet {
    /// No row came or went.
    Nothing,
    /// Rows came and went.
    Rows {
        /// Active files whose rows outside of the dirty windows are new.
        added: Vec<Add>,
        /// The windows whose rows are to be read anew.
        dirty: Spans,
    },
    /// All of it is to be read.
    Everything {
        /// Why, for the log of refreshes.
        reason: String,
    },
}

impl ChangeSet {
    fn everything(reason: impl Into<String>) -> Self {
        Self::Everything { reason: reason.into() }
    }
}

/// What became of the table behind `source` since `since`. `time` is how its rows find their windows; without one, rows
/// that went make everything be read.
///
/// # Errors
/// When the log does not list the active files.
pub async fn change_set(source: &Source, since: &TableMark, time: Option<&LoggedTime>) -> Result<ChangeSet> {
    let (SourceVersion::Delta { table_id, version }, Some(table)) = (&source.version, &source.delta) else {
        let is_same = TableMark::of(source)? == *since;
        return Ok(if is_same { ChangeSet::Nothing } else { ChangeSet::everything("the files are others now") });
    };
    let Some(before) = since.version.filter(|_| since.table_id.as_ref() == Some(table_id)) else {
        return Ok(ChangeSet::everything("the table is another than before"));
    };
    if before == *version {
        return Ok(ChangeSet::Nothing);
    }
    if before > *version {
        return Ok(ChangeSet::everything(format!("the table went back from version {before} to {version}")));
    }
    let unreadable = |error| limno_sql::Error::Delta { uri: source.uri.clone(), source: Box::new(error) };
    let active = active_files(table).map_err(unreadable)?;
    let mut replay = Replay::new(table, before, time);
    let mut result = replay.run(*version).await;
    // Some writers add a file once more that is there, with other statistics: its rows are no new ones. It shows in
    // the number of files, so the old ones are listed only then.
    let expected = since.files.map(|files| files + replay.added.len() - replay.removed);
    if result.is_ok() && expected != Some(active.len()) {
        replay = Replay::new(table, before, time);
        result = match replay.list_known().await {
            Ok(()) => replay.run(*version).await,
            Err(reason) => Err(reason),
        };
    }
    Ok(match result {
        Ok(dirty) => replay.finish(active, dirty),
        Err(reason) => ChangeSet::everything(reason),
    })
}

/// A file with its deletion vector: one that gets another vector is another file.
type FileKey = (String, Option<String>);

fn key(path: &str, vector: Option<&DeletionVectorDescriptor>) -> FileKey {
    let id = |vector: &DeletionVectorDescriptor| {
        format!("{:?} {} {:?}", vector.storage_type, vector.path_or_inline_dv, vector.offset)
    };
    (path.to_owned(), vector.map(id))
}

struct Replay<'a> {
    table: &'a DeltaTable,
    before: u64,
    time: Option<&'a LoggedTime>,
    /// The files that were active before, once someone asked.
    known: Option<HashMap<FileKey, Add>>,
    /// Of those, the ones that were removed since.
    gone: HashSet<FileKey>,
    /// All files that commits since then named as added.
    seen: HashMap<FileKey, Add>,
    /// Of those, the ones that are active and were not before.
    added: HashSet<FileKey>,
    /// Of those, the ones that brought rows.
    fresh: HashSet<FileKey>,
    /// Files that were active before and are no longer.
    removed: usize,
}

impl<'a> Replay<'a> {
    fn new(table: &'a DeltaTable, before: u64, time: Option<&'a LoggedTime>) -> Self {
        let (known, gone, seen, added, fresh) = Default::default();
        Self { table, before, time, known, gone, seen, added, fresh, removed: 0 }
    }

    /// The dirty windows; an error is why everything has to be read.
    async fn run(&mut self, version: u64) -> Result<Spans, String> {
        let mut dirty = Spans::none();
        let log = self.table.log_store();
        let commits = futures::stream::iter(self.before + 1..=version)
            .map(|version| {
                let log = Arc::clone(&log);
                async move { (version, log.read_commit_entry(version).await) }
            })
            .buffered(COMMITS_AT_ONCE);
        let mut commits = std::pin::pin!(commits);
        while let Some((version, commit)) = commits.next().await {
            let unreadable = |error| format!("the log of version {version} does not read: {error}");
            let commit = commit.map_err(unreadable)?;
            let commit = commit.ok_or_else(|| format!("the log no longer holds version {version}"))?;
            let mut added = Vec::new();
            for action in deltalake::logstore::get_actions(version, &commit).map_err(unreadable)? {
                match action {
                    Action::Add(add) => added.push(add),
                    // Removals first: a file that a commit removes and adds has got another deletion vector.
                    Action::Remove(remove) => self.remove(&remove, &mut dirty).await?,
                    _ => {}
                }
            }
            added.into_iter().for_each(|add| self.add(add));
        }
        Ok(dirty)
    }

    async fn remove(&mut self, remove: &Remove, dirty: &mut Spans) -> Result<(), String> {
        let file = key(&remove.path, remove.deletion_vector.as_ref());
        let was_fresh = self.fresh.remove(&file);
        if !self.added.remove(&file) && self.gone.insert(file.clone()) {
            self.removed += 1;
        }
        // New rows that were moved before anyone read them lie somewhere in the files of their windows.
        if remove.data_change || was_fresh {
            let path = &remove.path;
            let time = self.time.ok_or_else(|| format!("rows went with the file {path}"))?;
            if !self.seen.contains_key(&file) {
                self.list_known().await?;
            }
            let add = self.seen.get(&file).or_else(|| self.known.as_ref()?.get(&file));
            dirty.extend(&add.and_then(|add| time.extent(add)).ok_or_else(|| {
                format!("the file {path} was removed, and the log does not say which times it covers")
            })?);
        }
        Ok(())
    }

    fn add(&mut self, add: Add) {
        let file = key(&add.path, add.deletion_vector.as_ref());
        let was_known =
            self.known.as_ref().is_some_and(|known| known.contains_key(&file)) && !self.gone.contains(&file);
        if !was_known && self.added.insert(file.clone()) && add.data_change {
            self.fresh.insert(file.clone());
        }
        self.seen.insert(file, add);
    }

    /// Lists the files that were active before.
    async fn list_known(&mut self) -> Result<(), String> {
        if self.known.is_some() {
            return Ok(());
        }
        let failed = |error| format!("version {} of the table does not open: {error}", self.before);
        let mut table = DeltaTable::new(self.table.log_store());
        table.load_version(self.before).await.map_err(failed)?;
        let files = active_files(&table).map_err(failed)?;
        self.known = Some(files.into_iter().map(|add| (key(&add.path, add.deletion_vector.as_ref()), add)).collect());
        Ok(())
    }

    fn finish(self, active: Vec<Add>, dirty: Spans) -> ChangeSet {
        let is_fresh = |add: &Add| self.fresh.contains(&key(&add.path, add.deletion_vector.as_ref()));
        let added: Vec<Add> = active.into_iter().filter(is_fresh).collect();
        if added.len() != self.fresh.len() {
            return ChangeSet::everything("the log names files as added that the table does not have");
        }
        if added.is_empty() && dirty.is_empty() {
            return ChangeSet::Nothing;
        }
        // What lies in dirty windows alone is read with them.
        let is_read = |add: &Add| {
            let extent = self.time.and_then(|time| time.extent(add));
            extent.is_none_or(|extent| !dirty.covers(&extent))
        };
        ChangeSet::Rows { added: added.into_iter().filter(is_read).collect(), dirty }
    }
}

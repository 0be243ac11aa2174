//! Commits of Delta logs, which every opening of a table reads twice and the next opening again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, ObjectMeta};

/// Bytes of all that are kept.
const LIMIT: u64 = 32 << 20;
/// Commits that listings have shown and that are remembered: some megabytes.
const LISTED: usize = 1 << 15;
/// Larger ones are not kept.
pub(super) const LARGEST: u64 = 4 << 20;

/// Commits of one store, kept as long as listings show them as they were. A log is listed before it is read, so a table
/// that was dropped and made again is seen.
#[derive(Debug, Default)]
pub(super) struct Commits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    listed: HashMap<Path, ObjectMeta>,
    kept: HashMap<Path, Commit>,
    bytes: u64,
}

/// A commit as it was read.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) meta: ObjectMeta,
    pub(super) attributes: Attributes,
    pub(super) bytes: Bytes,
}

/// Whether a path is that of a commit.
pub(super) fn is_commit(path: &Path) -> bool {
    let is_in_log = path.parts().rev().nth(1).is_some_and(|folder| folder.as_ref() == "_delta_log");
    let number = path.filename().and_then(|name| name.strip_suffix(".json"));
    is_in_log && number.is_some_and(|number| number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Commits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A listing shows a file.
    pub(super) fn list(&self, meta: &ObjectMeta) {
        if is_commit(&meta.location) {
            self.lock().list(meta, LISTED);
        }
    }

    /// A commit as the last listing shows it.
    pub(super) fn find(&self, path: &Path) -> Option<Commit> {
        let state = self.lock();
        let commit = state.kept.get(path)?;
        is_same(state.listed.get(path)?, &commit.meta).then(|| commit.clone())
    }

    /// Keeps a commit that was read.
    pub(super) fn keep(&self, commit: Commit) {
        let mut state = self.lock();
        let path = commit.meta.location.clone();
        let size = commit.bytes.len() as u64;
        if !state.listed.get(&path).is_some_and(|listed| is_same(listed, &commit.meta)) {
            return;
        }
        if state.bytes + size > LIMIT {
            state.kept.clear();
            state.bytes = 0;
        }
        state.bytes += size;
        if let Some(before) = state.kept.insert(path, commit) {
            state.bytes -= before.bytes.len() as u64;
        }
    }

    /// Something is put in the place of a commit, or it is deleted.
    pub(super) fn forget(&self, path: &Path) {
        let mut state = self.lock();
        state.listed.remove(path);
        if let Some(before) = state.kept.remove(path) {
            state.bytes -= before.bytes.len() as u64;
        }
    }
}

impl State {
    /// Remembers what a listing shows. Of too many, those stay whose commits are kept; who reads another asks the store.
    fn list(&mut self, meta: &ObjectMeta, limit: usize) {
        if self.listed.len() >= limit && !self.listed.contains_key(&meta.location) {
            self.listed.retain(|path, _| self.kept.contains_key(path));
            if self.listed.len() >= limit {
                *self = Self::default();
            }
        }
        self.listed.insert(meta.location.clone(), meta.clone());
    }
}

/// Whether a file is as it was listed. Listings and answers quote tags differently.
fn is_same(listed: &ObjectMeta, read: &ObjectMeta) -> bool {
    let tags = |meta: &ObjectMeta| meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
    let is_same_tag = match (tags(listed), tags(read)) {
        (Some(listed), Some(read)) => listed == read,
        // Times of object stores are whole seconds, in which a table can be made again.
        _ => false,
    };
    listed.size == read.size && is_same_tag
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn meta(tag: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            location: Path::from("t/_delta_log/00000000000000000003.json"),
            last_modified: DateTime::UNIX_EPOCH,
            size: 3,
            e_tag: tag.map(str::to_owned),
            version: None,
        }
    }

    fn commit(tag: &str) -> Commit {
        Commit { meta: meta(Some(tag)), attributes: Attributes::default(), bytes: Bytes::from_static(b"{}\n") }
    }

    #[test]
    fn a_commit_is_kept_as_long_as_listings_show_the_same() {
        let (commits, path) = (Commits::default(), meta(None).location);
        commits.keep(commit("\"a\""));
        assert!(commits.find(&path).is_none(), "no listing showed it");
        commits.list(&meta(Some("a")));
        commits.keep(commit("\"a\""));
        assert!(commits.find(&path).is_some());
        commits.list(&meta(Some("b")));
        assert!(commits.find(&path).is_none(), "it is another now");
        commits.keep(commit("\"a\""));
        commits.list(&meta(None));
        assert!(commits.find(&path).is_none(), "nothing tells whether it is the same");
        commits.list(&meta(Some("a")));
        assert!(commits.find(&path).is_some());
        commits.forget(&path);
        assert!(commits.find(&path).is_none() && commits.lock().bytes == 0);
    }

    #[test]
    fn of_too_many_that_are_listed_those_stay_that_are_kept() {
        let at = |number: u32| {
            let location = Path::from(format!("t/_delta_log/{number:020}.json"));
            ObjectMeta { location, ..meta(Some("a")) }
        };
        let kept = |number: u32| Commit { meta: at(number), ..commit("a") };
        let commits = Commits::default();
        let list = |number: u32| commits.lock().list(&at(number), 3);
        for number in 0..3 {
            list(number);
        }
        commits.keep(kept(1));
        list(2);
        assert_eq!(commits.lock().listed.len(), 3, "one of them is known");
        list(3);
        assert!(commits.find(&at(1).location).is_some());
        assert_eq!(commits.lock().listed.len(), 2);
        commits.keep(kept(3));
        list(4);
        commits.keep(kept(4));
        list(5);
        assert!(commits.find(&at(4).location).is_none(), "all of them are kept");
        let state = commits.lock();
        assert_eq!((state.listed.len(), state.bytes), (1, 0));
    }

    #[test]
    fn commits_are_told_by_their_names() {
        assert!(is_commit(&meta(None).location));
        for other in [
            "t/_delta_log/_last_checkpoint",
            "t/_delta_log/00000000000000000003.checkpoint.parquet",
            "t/00000000000000000003.json",
            "t/_delta_log/3.json",
        ] {
            assert!(!is_commit(&Path::from(other)), "{other}");
        }
    }
}

//! Bytes that were read ahead, or that several scans want, kept for a while.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use object_store::Error;
use object_store::path::Path;
use tokio::sync::Notify;

/// What a request comes to that several wait for: its failure is that of all of them.
pub(super) type Came = Result<Bytes, Arc<Error>>;

/// A request that several wait for. Whoever waits drives it, so that none hangs on another that gave up.
pub(super) type Pending = Shared<BoxFuture<'static, Came>>;

/// The bytes that are kept unless told otherwise.
pub(super) const DEFAULT_LIMIT: u64 = 256 << 20;

/// Bytes of files, kept for readers that come soon.
///
/// Blocks that were read ahead stay until somebody has read from them, and are then the first to go; nothing else is ever
/// waited for. That it is full costs requests, never an answer.
pub(super) struct Held {
    state: Mutex<State>,
    /// Tells those who read ahead that there may be room.
    room: Notify,
    limit: u64,
}

#[derive(Default)]
struct State {
    files: HashMap<Key, Vec<Block>>,
    /// What is to be read ahead of files, and was not asked for yet.
    announced: HashMap<Key, Range<u64>>,
    bytes: u64,
    /// Grows with each look, so that the block that was looked at longest ago is known.
    tick: u64,
    /// Runs whose scans are likely to want the same bytes.
    shares: usize,
}

/// The store's authority and the path.
type Key = (Arc<str>, Path);

struct Block {
    range: Range<u64>,
    pending: Pending,
    /// When it was looked at; `None` as long as it is ahead of its reader.
    seen: Option<u64>,
}

/// As long as it is there, what is read is kept for others.
#[derive(Debug)]
pub struct Sharing(Arc<Held>);

impl Drop for Sharing {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.shares -= 1;
        if state.shares == 0 {
            state.forget_everything();
        }
        drop(state);
        self.0.room.notify_waiters();
    }
}

impl Debug for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Held {
    pub(super) fn new(limit: u64) -> Self {
        Self { state: Mutex::default(), room: Notify::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what is read is kept for others, until the answer is dropped.
    pub(super) fn share(self: &Arc<Self>) -> Sharing {
        self.lock().shares += 1;
        Sharing(Arc::clone(self))
    }

    pub(super) fn is_shared(&self) -> bool {
        self.lock().shares > 0
    }

    /// The block that holds all of a range, or will.
    pub(super) fn find(&self, authority: &Arc<str>, path: &Path, range: &Range<u64>) -> Option<(u64, Pending)> {
        let mut state = self.lock();
        state.tick += 1;
        let tick = state.tick;
        let blocks = state.files.get_mut(&(Arc::clone(authority), path.clone()))?;
        let block = blocks.iter_mut().find(|block| block.range.start <= range.start && range.end <= block.range.end)?;
        let was_ahead = block.seen.replace(tick).is_none();
        let found = (block.range.start, block.pending.clone());
        drop(state);
        if was_ahead {
            self.room.notify_waiters();
        }
        Some(found)
    }

    /// Keeps a block, if there is room. One that is ahead of its reader does not take the place of another such.
    pub(super) fn keep(
        &self,
        authority: &Arc<str>,
        path: &Path,
        range: Range<u64>,
        is_ahead: bool,
        pending: BoxFuture<'static, Came>,
    ) -> Option<Pending> {
        self.lock().keep((Arc::clone(authority), path.clone()), range, is_ahead, pending, self.limit)
    }

    /// A range is going to be read; whoever needs some of it first asks for all of it.
    pub(super) fn announce(&self, authority: &Arc<str>, path: &Path, range: Range<u64>) {
        let mut state = self.lock();
        let key = (Arc::clone(authority), path.clone());
        let is_held = |block: &Block| block.range.start <= range.start && range.end <= block.range.end;
        if !state.files.get(&key).is_some_and(|blocks| blocks.iter().any(is_held)) {
            state.announced.insert(key, range);
        }
    }

    /// Asks for what was announced of a file, if `range` is within it and nobody asked yet: where it begins, and the bytes.
    /// Where there is no room each asks for what he needs.
    pub(super) fn ask_announced(
        &self,
        authority: &Arc<str>,
        path: &Path,
        range: &Range<u64>,
        is_ahead: bool,
        request: impl FnOnce(Range<u64>) -> BoxFuture<'static, Came>,
    ) -> Option<(u64, Pending)> {
        let mut state = self.lock();
        let key = (Arc::clone(authority), path.clone());
        let announced = state.announced.get(&key)?;
        if range.start < announced.start || announced.end < range.end {
            return None;
        }
        let announced = state.announced.remove(&key)?;
        let start = announced.start;
        Some((start, state.keep(key, announced.clone(), is_ahead, request(announced), self.limit)?))
    }

    /// Waits until there is room for so many bytes; at once if there can never be.
    pub(super) async fn wait_for_room(&self, size: u64) {
        loop {
            let notified = self.room.notified();
            let mut notified = std::pin::pin!(notified);
            // Before the look, so that no change is missed in between.
            notified.as_mut().enable();
            if size > self.limit || self.lock().make_room(size, self.limit) {
                return;
            }
            notified.await;
        }
    }

    /// Nothing of a file is ahead of its reader any more, for what is read of it is over or fails. Shared bytes stay as long
    /// as there is room.
    pub(super) fn leave(&self, authority: &Arc<str>, path: &Path) {
        let mut state = self.lock();
        let key = (Arc::clone(authority), path.clone());
        state.announced.remove(&key);
        if state.shares == 0 {
            state.remove(&key, |_| true);
        } else {
            state.tick += 1;
            let tick = state.tick;
            for block in state.files.get_mut(&key).into_iter().flatten() {
                block.seen.get_or_insert(tick);
            }
        }
        drop(state);
        self.room.notify_waiters();
    }

    /// Forgets a file, for something else is put in its place.
    pub(super) fn forget(&self, authority: &Arc<str>, path: &Path) {
        let mut state = self.lock();
        let key = (Arc::clone(authority), path.clone());
        state.announced.remove(&key);
        state.remove(&key, |_| true);
        drop(state);
        self.room.notify_waiters();
    }

    /// Forgets one block, whose request failed.
    pub(super) fn forget_block(&self, authority: &Arc<str>, path: &Path, start: u64) {
        self.lock().remove(&(Arc::clone(authority), path.clone()), |block| block.range.start == start);
    }
}

impl State {
    fn keep(
        &mut self,
        key: Key,
        range: Range<u64>,
        is_ahead: bool,
        pending: BoxFuture<'static, Came>,
        limit: u64,
    ) -> Option<Pending> {
        let size = range.end - range.start;
        if !self.make_room(size, limit) {
            return None;
        }
        self.tick += 1;
        let seen = if is_ahead { None } else { Some(self.tick) };
        let pending = pending.shared();
        self.files.entry(key).or_default().push(Block { range, pending: pending.clone(), seen });
        self.bytes += size;
        Some(pending)
    }

    fn remove(&mut self, key: &Key, is_wanted: impl Fn(&Block) -> bool) {
        let Some(blocks) = self.files.get_mut(key) else { return };
        let before: u64 = blocks.iter().map(Block::size).sum();
        blocks.retain(|block| !is_wanted(block));
        let after: u64 = blocks.iter().map(Block::size).sum();
        if blocks.is_empty() {
            self.files.remove(key);
        }
        self.bytes -= before - after;
    }

    /// Forgets all bytes, also those that are ahead of a reader who may not come: one who comes asks for himself.
    fn forget_everything(&mut self) {
        self.files.clear();
        self.bytes = 0;
    }

    /// Makes room by dropping what was read, longest ago first.
    fn make_room(&mut self, size: u64, limit: u64) -> bool {
        while self.bytes + size > limit {
            let seen = self.files.iter().flat_map(|(key, blocks)| {
                blocks.iter().filter_map(move |block| Some((block.seen?, key, block.range.start)))
            });
            let Some((_, key, start)) = seen.min_by_key(|(seen, ..)| *seen) else { return false };
            let key = key.clone();
            self.remove(&key, |block| block.range.start == start && block.seen.is_some());
        }
        true
    }
}

impl Block {
    const fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> BoxFuture<'static, Came> {
        async move { Ok(Bytes::from(vec![7; size])) }.boxed()
    }

    #[tokio::test]
    async fn what_is_ahead_of_its_reader_stays_and_what_was_read_goes_first() {
        let (held, store) = (Arc::new(Held::new(100)), Arc::from("s3://b"));
        let [a, b, c] = ["a", "b", "c"].map(Path::from);
        assert!(held.keep(&store, &a, 0..60, true, bytes(60)).is_some());
        assert!(held.keep(&store, &b, 0..60, true, bytes(60)).is_none(), "nobody has read a yet");
        assert_eq!(held.find(&store, &a, &(10..61)).map(|found| found.0), None, "not all of it is there");
        let (start, pending) = held.find(&store, &a, &(10..60)).unwrap();
        assert_eq!((start, pending.await.unwrap().len()), (0, 60));
        assert!(held.keep(&store, &b, 0..60, true, bytes(60)).is_some() && held.find(&store, &a, &(0..1)).is_none());
        let waiter = {
            let held = Arc::clone(&held);
            tokio::spawn(async move { held.wait_for_room(60).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        let _found = held.find(&store, &b, &(0..1));
        waiter.await.unwrap();
        assert!(held.keep(&store, &c, 0..101, true, bytes(101)).is_none(), "it can never fit");
    }

    #[test]
    fn what_is_announced_is_asked_for_once() {
        let (held, store, path) = (Held::new(100), Arc::from("s3://b"), Path::from("a"));
        held.announce(&store, &path, 50..100);
        let ask =
            |range: Range<u64>| held.ask_announced(&store, &path, &range, true, |_| bytes(50)).map(|found| found.0);
        assert_eq!((ask(40..60), ask(92..100), ask(92..100)), (None, Some(50), None));
        assert_eq!(held.find(&store, &path, &(92..100)).map(|found| found.0), Some(50));
    }

    #[tokio::test]
    async fn shared_bytes_go_when_nobody_shares_any_more() {
        let (held, store) = (Arc::new(Held::new(100)), Arc::from("s3://b"));
        let path = Path::from("a");
        let (one, two) = (held.share(), held.share());
        assert!(held.keep(&store, &path, 0..60, false, bytes(60)).is_some());
        drop(one);
        assert!(held.find(&store, &path, &(0..1)).is_some());
        drop(two);
        assert!(held.find(&store, &path, &(0..1)).is_none() && !held.is_shared());
    }

    #[tokio::test]
    async fn bytes_ahead_of_a_scan_that_ends_early_make_room_and_go_with_the_last_who_shares() {
        let (held, store) = (Arc::new(Held::new(100)), Arc::from("s3://b"));
        let [a, b, c] = ["a", "b", "c"].map(Path::from);
        let shared = held.share();
        assert!(held.keep(&store, &a, 0..60, true, bytes(60)).is_some());
        held.leave(&store, &a);
        assert!(held.find(&store, &a, &(0..1)).is_some(), "another scan may want them");
        assert!(held.keep(&store, &b, 0..60, true, bytes(60)).is_some(), "nobody waits for them any more");
        held.wait_for_room(40).await;
        assert!(held.keep(&store, &c, 0..40, true, bytes(40)).is_some());
        drop(shared);
        let state = held.lock();
        assert!(state.files.is_empty() && state.bytes == 0);
    }

    #[test]
    fn what_is_replaced_is_forgotten_though_it_is_shared() {
        let (held, store, path) = (Arc::new(Held::new(100)), Arc::from("s3://b"), Path::from("a"));
        let _shared = held.share();
        assert!(held.keep(&store, &path, 0..60, false, bytes(60)).is_some());
        held.announce(&store, &path, 60..90);
        held.forget(&store, &path);
        assert!(held.find(&store, &path, &(0..1)).is_none());
        assert!(held.ask_announced(&store, &path, &(60..90), false, |_| bytes(30)).is_none());
        assert_eq!(held.lock().bytes, 0);
    }
}

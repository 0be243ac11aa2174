//! Counts of cells at one level: a dense window where most values lie, a sparse table for the rest.

use super::buckets::{Bucket, Buckets};
use super::level::{halve, occupied};
use super::sparse::Sparse;
use super::window::{FOLDS, Window};
use crate::kernel::CELLS;
use crate::key::{ZERO_KEY, key_of, value_of};

/// Counts in counters stay below this, so that as many more can be added without a look at each.
const CHECK_EVERY: u64 = 1 << 30;
/// Values looked at to place the window.
const SAMPLE: usize = 128;

/// Counts of cells at one level.
#[derive(Debug, Clone)]
pub(super) struct Table {
    level: u8,
    window: Window,
    sparse: Sparse,
    /// Zeros, which are counted apart.
    zeros: u64,
    /// Counts that were too large for counters, by a key of their cell.
    spilled: Vec<(u64, u64)>,
    /// Cells in use but that of zero.
    used: u32,
    /// Values since counters were last checked.
    unchecked: u64,
}

impl Table {
    /// Nothing, at `level`, with a window placed where `sample` lies. `limit` is how many cells are expected.
    fn new(level: u8, limit: u32, sample: &[f64]) -> Self {
        let most = (limit as usize).saturating_add(limit as usize / 4).saturating_add(1);
        Self {
            level,
            window: Window::new(level, limit, sample),
            sparse: Sparse::new(level, most),
            zeros: 0,
            spilled: Vec::new(),
            used: 0,
            unchecked: 0,
        }
    }

    /// A table of these values at `level`, none of them zero, and so many zeros.
    pub(super) fn of(level: u8, limit: u32, values: &[f64], zeros: u64) -> Self {
        let step = values.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<f64> = values.iter().step_by(step).copied().collect();
        let mut table = Self::new(level, limit, &sample);
        table.observe(values, 0);
        table.zeros = zeros;
        table
    }

    /// A table of these buckets, which stand at its level.
    pub(super) fn of_buckets(limit: u32, buckets: &Buckets) -> Self {
        let sample = weighted(buckets.as_slice().iter().map(|bucket| (bucket.key(), bucket.count)));
        let mut table = Self::new(buckets.level(), limit, &sample);
        for bucket in buckets.as_slice() {
            table.add(bucket.key(), bucket.count, bucket.is_atom());
        }
        table.ripen();
        table
    }

    /// The same values at the smallest level at which at most `limit` cells are in use; `None` if that is further than
    /// the window can be folded.
    ///
    /// What [`Self::buckets`] and [`Self::of_buckets`] do together, without putting all cells in order.
    pub(super) fn folded(&self, limit: u32) -> Option<Self> {
        if self.level == 0 || self.window.is_empty() {
            return None;
        }
        let mut maps = self.window.occupied();
        let mut outside: Vec<u64> = Vec::new();
        for entry in self.sparse.entries() {
            match self.window.place(value_of(entry.key)) {
                Some(place) => self.window.mark(&mut maps, place),
                None => outside.push(entry.key),
            }
        }
        outside.extend((self.zeros > 0).then_some(ZERO_KEY));
        outside.sort_unstable();
        let mut level = self.level;
        while occupied(&maps, &outside, level) > limit as usize {
            // A window's ends are multiples of the widest cell, so no cell of it joins one outside.
            level += 1;
            if level > self.level + FOLDS {
                return None;
            }
            maps.iter_mut().for_each(halve);
        }
        let cells = self.window.cells();
        let dense = cells.iter().map(|(_, cell)| (cell.key, u64::from(cell.count)));
        let counts: Vec<(u64, u64)> =
            dense.chain(self.sparse.entries().map(|entry| (entry.key, u64::from(entry.count)))).collect();
        let sample = weighted(counts.iter().copied());
        let mut folded = Self::new(level, limit, &sample);
        folded.zeros = self.zeros;
        folded.unchecked = self.unchecked;
        folded.spilled.clone_from(&self.spilled);
        for (_, cell) in cells {
            folded.add(cell.key, u64::from(cell.count), cell.is_atom);
        }
        for entry in self.sparse.entries() {
            folded.add(entry.key, u64::from(entry.count), !entry.is_mixed);
        }
        folded.ripen();
        Some(folded)
    }

    pub(super) const fn level(&self) -> u8 {
        self.level
    }

    /// Cells in use.
    pub(super) fn used(&self) -> u32 {
        // Zero is counted apart from tiny numbers in its cell, which no window covers.
        self.used + u32::from(self.zeros > 0 && self.sparse.find(ZERO_KEY).is_none())
    }

    /// Adds values, none of them NaN; so many are zero.
    pub(super) fn observe(&mut self, values: &[f64], zeros: u64) {
        self.zeros += zeros;
        let mut missed = [0u16; CELLS];
        for chunk in values.chunks(CELLS) {
            self.check(chunk.len() as u64);
            let misses = if !self.window.is_empty() {
                let (misses, fresh) = self.window.observe(chunk, zeros > 0, &mut missed);
                self.used += fresh;
                misses
            } else if self.level == 0 {
                self.sparse.count_at_home(chunk, &mut missed)
            } else {
                missed.iter_mut().zip(0..).for_each(|(place, index)| *place = index);
                chunk.len()
            };
            for &index in &missed[..misses] {
                let value = chunk[usize::from(index)];
                if value == 0.0 {
                    continue;
                }
                if self.window.is_empty() && self.level == 0 {
                    let (slot, is_new) = self.sparse.slot(key_of(value));
                    self.used += u32::from(is_new);
                    self.sparse.add(slot, 1);
                } else {
                    self.add_sparse(key_of(value), 1, true);
                }
            }
        }
        self.ripen();
    }

    /// Adds `count` values of the cell of `key`: all of them that key's if `is_atom`, else different ones.
    pub(super) fn add(&mut self, key: u64, count: u64, is_atom: bool) {
        if key == ZERO_KEY && is_atom {
            self.zeros += count;
            return;
        }
        let small = u32::try_from(count).ok().filter(|&small| u64::from(small) < CHECK_EVERY);
        let small = small.unwrap_or_else(|| {
            self.spilled.push((key, count - 1));
            1
        });
        self.check(u64::from(small));
        if let Some(place) = self.window.place(value_of(key))
            && let Some(is_fresh) = self.window.add(place, key, small, is_atom)
        {
            self.used += u32::from(is_fresh);
        } else {
            self.add_sparse(key, small, is_atom);
        }
    }

    /// Adds values of a cell that the window does not count.
    fn add_sparse(&mut self, key: u64, count: u32, is_atom: bool) {
        let place = self.window.place(value_of(key));
        if place.is_none()
            && let Some(slot) = self.sparse.find(key)
        {
            // The common case of values that are far from the rest.
            self.sparse.add(slot, count);
            if !is_atom || self.sparse.differs(slot, key) {
                self.sparse.set_mixed(slot);
            }
            return;
        }
        if let Some(place) = place
            && let Some(is_fresh) = self.window.add(place, key, count, is_atom)
        {
            // It has become mixed since it was looked at.
            self.used += u32::from(is_fresh);
            return;
        }
        if let (false, Some(place), None) = (is_atom, place, self.sparse.find(key)) {
            self.window.set_mixed(place, count);
            self.used += 1;
            return;
        }
        let (slot, is_new) = self.sparse.slot(key);
        self.used += u32::from(is_new);
        self.sparse.add(slot, count);
        if !is_atom || self.sparse.differs(slot, key) {
            match place {
                // The cell has come to hold different values: into the window with it.
                Some(place) => {
                    self.window.set_mixed(place, self.sparse.count(slot));
                    self.sparse.remove(slot);
                }
                None => self.sparse.set_mixed(slot),
            }
        }
    }

    /// Makes the window mature when it is time.
    fn ripen(&mut self) {
        if self.window.is_ripe(self.used) {
            for atom in self.window.mature() {
                let (slot, _) = self.sparse.slot(atom.key);
                self.sparse.add(slot, atom.count);
            }
        }
    }

    /// Before `more` values come: moves large counts away, so that no counter can overflow.
    #[inline]
    fn check(&mut self, more: u64) {
        self.unchecked += more;
        if self.unchecked >= CHECK_EVERY {
            self.spilled.append(&mut self.window.drain());
            self.spilled.append(&mut self.sparse.drain());
            self.unchecked = more;
        }
    }

    /// The canonical form at the table's level.
    pub(super) fn buckets(&self, ends: (u64, u64)) -> Buckets {
        let level = self.level;
        let bucket = |key: u64, count: u32, is_atom: bool| {
            let count = u64::from(count);
            if is_atom { Bucket::atom(key, count, level) } else { Bucket::mixed(key >> level, count, level) }
        };
        let mut rest: Vec<Bucket> =
            self.sparse.entries().map(|entry| bucket(entry.key, entry.count, !entry.is_mixed)).collect();
        rest.extend((self.zeros > 0).then(|| Bucket::atom(ZERO_KEY, self.zeros, level)));
        rest.sort_unstable_by_key(Bucket::key);
        let mut rest = rest.into_iter().peekable();
        let mut sorted = Vec::with_capacity(self.used as usize + 1);
        for (_, cell) in self.window.cells() {
            let dense = bucket(cell.key, cell.count, cell.is_atom);
            while let Some(before) = rest.next_if(|bucket| bucket.key() < dense.key()) {
                sorted.push(before);
            }
            sorted.push(dense);
        }
        sorted.extend(rest);
        for &(key, count) in &self.spilled {
            if let Ok(found) = sorted.binary_search_by_key(&(key >> level), |bucket| bucket.cell) {
                sorted[found].count += count;
            }
        }
        Buckets::of(level, sorted, ends)
    }

    pub(super) fn heap_size(&self) -> usize {
        self.window.heap_size() + self.sparse.heap_size() + self.spilled.capacity() * size_of::<(u64, u64)>()
    }
}

/// Values of some cells, evenly by count.
fn weighted(cells: impl Iterator<Item = (u64, u64)> + Clone) -> Vec<f64> {
    let total: u64 = cells.clone().map(|(_, count)| count).sum();
    let step = (total / SAMPLE as u64).max(1);
    let mut sample = Vec::with_capacity(SAMPLE + 1);
    let mut left = 0;
    for (key, mut count) in cells {
        while count > left {
            count -= left;
            left = step;
            sample.push(value_of(key));
        }
        left -= count;
    }
    sample
}

//! Counts of cells at one level: a dense window of counters where most values lie, a sparse table for the rest.
//!
//! Above level 0 the window counts cells that hold different values; a cell with one value so far is in the sparse table,
//! which keeps that value's key. So an update of a cell that is in common use is an index and an increment, and the
//! rare rest is looked up. At level 0 every cell holds one value, so the window counts them all; there its cells are as
//! wide as the trailing zeros that the values have in common, which makes integers dense.

use super::buckets::{Bucket, Buckets};
use super::sparse::Sparse;
use crate::kernel::{self, CELLS, Span, Spans, Tier};
use crate::key::{ZERO_KEY, key_of, value_of};

const MAGNITUDE: u64 = u64::MAX >> 1;
/// Counts in counters stay below this, so that as many more can be added without a look at each.
const CHECK_EVERY: u64 = 1 << 30;
/// Beyond this level a cell is an octave or more; few of them exist.
const MAX_WINDOW_LEVEL: u8 = 51;
/// Values looked at to place the window.
const SAMPLE: usize = 128;

/// Counts of cells at one level.
#[derive(Debug, Clone)]
pub(super) struct Table {
    level: u8,
    spans: Spans,
    /// A counter for each place of the window. Those for what lies outside stay 0; those for zeros only have to differ
    /// from that.
    counters: Vec<u32>,
    /// Zeros, which are counted apart.
    zeros: u64,
    sparse: Sparse,
    /// Counts that were too large for counters, by a key of their cell.
    spilled: Vec<(u64, u64)>,
    /// Cells in use but that of zero.
    used: u32,
    /// Values since counters were last checked.
    unchecked: u64,
}

impl Table {
    /// Nothing, at `level`, with a window placed where `sample` lies. `limit` is how many cells are expected.
    pub(super) fn new(level: u8, limit: u32, sample: &[f64]) -> Self {
        let most = (limit as usize).saturating_add(limit as usize / 4).saturating_add(1);
        let spans = place_window(level, limit, sample);
        let counters = vec![0; spans.places() as usize];
        Self {
            level,
            spans,
            counters,
            zeros: 0,
            sparse: Sparse::new(level, most),
            spilled: Vec::new(),
            used: 0,
            unchecked: 0,
        }
    }

    /// A table of these values at `level`.
    pub(super) fn of(level: u8, limit: u32, values: &[f64]) -> Self {
        let mut table = Self::new(level, limit, &sample(values));
        let zeros = values.iter().filter(|&&value| value == 0.0).count() as u64;
        if level == 0 {
            table.observe(values, zeros);
        } else {
            table.fill(values, zeros);
        }
        table
    }

    /// A table of these buckets, brought to `level`.
    pub(super) fn of_buckets(level: u8, limit: u32, buckets: &Buckets) -> Self {
        let step = buckets.as_slice().len().div_ceil(SAMPLE).max(1);
        let mut sample: Vec<f64> = buckets.as_slice().iter().step_by(step).map(Bucket::least).collect();
        sample.extend(buckets.as_slice().last().map(Bucket::least));
        let mut table = Self::new(level, limit, &sample);
        for bucket in buckets.as_slice() {
            table.add(bucket.key(), bucket.count, bucket.is_atom());
        }
        table
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
        if self.spans.is_empty() {
            for chunk in values.chunks(CELLS) {
                self.check(chunk.len() as u64);
                if self.level == 0 {
                    let misses = self.sparse.count_at_home(chunk, &mut missed);
                    let others = missed[..misses].iter().map(|&index| chunk[usize::from(index)]);
                    others.filter(|&value| value != 0.0).for_each(|value| self.add_value(value));
                } else {
                    chunk.iter().filter(|&&value| value != 0.0).for_each(|&value| self.add_value(value));
                }
            }
            return;
        }
        let tier = Tier::best();
        let mut places = [0; CELLS];
        let first_zero = self.spans.zeros() as usize;
        for chunk in values.chunks(CELLS) {
            self.check(chunk.len() as u64);
            kernel::cells(tier, chunk, &self.spans, zeros > 0, &mut places);
            let mut misses = 0;
            let counters = &mut self.counters[..];
            counters[first_zero..].fill(1);
            for (index, &place) in (0u16..).zip(&places[..chunk.len()]) {
                let counter = &mut counters[place as usize];
                if *counter != 0 {
                    *counter += 1;
                } else {
                    missed[misses] = index;
                    misses += 1;
                }
            }
            for &index in &missed[..misses] {
                self.add_value(chunk[usize::from(index)]);
            }
        }
    }

    /// Adds one value but zero to its cell, whatever that holds.
    #[inline]
    fn add_value(&mut self, value: f64) {
        let place = self.spans.place(value);
        if self.spans.is_cell(place) {
            let counter = &mut self.counters[place as usize];
            if *counter != 0 || self.level == 0 {
                self.used += u32::from(*counter == 0);
                *counter += 1;
                return;
            }
        }
        let key = key_of(value);
        let (slot, is_new) = self.sparse.slot(key);
        if is_new {
            self.sparse.set_count(slot, 1);
            self.used += 1;
            return;
        }
        let count = self.sparse.count(slot) + 1;
        self.sparse.set_count(slot, count);
        if self.sparse.differs(slot, key) {
            self.mix(slot, place, count);
        }
    }

    /// A cell has come to hold different values: into the window with it, if it has a place there.
    fn mix(&mut self, slot: usize, place: u32, count: u32) {
        if self.spans.is_cell(place) {
            self.counters[place as usize] = count;
            self.sparse.remove(slot);
        } else {
            self.sparse.set_mixed(slot);
        }
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
        let place = self.spans.place(value_of(key));
        let has_place = self.spans.is_cell(place);
        if has_place && (self.counters[place as usize] != 0 || self.level == 0) {
            self.used += u32::from(self.counters[place as usize] == 0);
            self.counters[place as usize] += small;
            return;
        }
        if has_place && !is_atom && self.sparse.find(key).is_none() {
            self.used += 1;
            self.counters[place as usize] = small;
            return;
        }
        let (slot, is_new) = self.sparse.slot(key);
        self.used += u32::from(is_new);
        let count = self.sparse.count(slot) + small;
        self.sparse.set_count(slot, count);
        if !is_atom || self.sparse.differs(slot, key) {
            self.mix(slot, place, count);
        }
    }

    /// Fills an empty table above level 0: one pass to count cells, then those of one value are moved.
    fn fill(&mut self, values: &[f64], zeros: u64) {
        self.zeros += zeros;
        self.unchecked += values.len() as u64;
        let tier = Tier::best();
        let mut places = [0; CELLS];
        // The position of a cell's first value, and whether others differ from it.
        let (mut first, mut differs) = (vec![0u32; self.counters.len()], vec![false; self.counters.len()]);
        let mut position = 0;
        for chunk in values.chunks(CELLS) {
            kernel::cells(tier, chunk, &self.spans, zeros > 0, &mut places);
            for (&place, value) in places.iter().zip(chunk) {
                let place = place as usize;
                let counter = &mut self.counters[place];
                first[place] = if *counter == 0 { position } else { first[place] };
                differs[place] |= values[first[place] as usize].to_bits() != value.to_bits();
                *counter += 1;
                position += 1;
            }
        }
        // What was counted outside is looked up one by one.
        let mut outside = 0;
        for place in [self.spans.negative.len, self.spans.zeros() - 1] {
            outside += std::mem::take(&mut self.counters[place as usize]);
        }
        self.counters[self.spans.zeros() as usize..].fill(0);
        let occupied = self.counters.iter().filter(|&&counter| counter != 0).count();
        self.used = u32::try_from(occupied).unwrap_or(u32::MAX);
        let is_atom = |place: &usize| self.counters[*place] != 0 && !differs[*place];
        let atoms: Vec<usize> = (0..self.counters.len()).filter(is_atom).collect();
        self.sparse.reserve(atoms.len() + outside as usize);
        for place in atoms {
            let (slot, _) = self.sparse.slot(key_of(values[first[place] as usize]));
            self.sparse.set_count(slot, std::mem::take(&mut self.counters[place]));
        }
        if outside > 0 {
            let is_outside = |value: &&f64| **value != 0.0 && !self.spans.is_cell(self.spans.place(**value));
            let outside: Vec<f64> = values.iter().filter(is_outside).copied().collect();
            outside.into_iter().for_each(|value| self.add_value(value));
        }
    }

    /// Before `more` values come: moves large counts away, so that no counter can overflow.
    #[inline]
    fn check(&mut self, more: u64) {
        self.unchecked += more;
        if self.unchecked >= CHECK_EVERY {
            self.spill();
            self.unchecked = more;
        }
    }

    #[cold]
    fn spill(&mut self) {
        // One is left in every cell, so that it stays in use.
        for place in 0..self.spans.zeros() {
            let count = self.counters[place as usize];
            if count > 1 {
                self.spilled.push((self.key_at(place), u64::from(count - 1)));
                self.counters[place as usize] = 1;
            }
        }
        let entries: Vec<_> = self.sparse.entries().collect();
        for entry in entries.into_iter().filter(|entry| entry.count > 1) {
            let (slot, _) = self.sparse.slot(entry.key);
            self.spilled.push((entry.key, u64::from(entry.count - 1)));
            self.sparse.set_count(slot, 1);
        }
    }

    /// The least key of the cell at a place of the window.
    fn key_at(&self, place: u32) -> u64 {
        let Spans { shift, negative, positive, .. } = self.spans;
        if place < negative.len {
            // Keys of negative numbers fall as their magnitudes rise; the cell's greatest magnitude has its least key.
            let greatest = ((negative.base + u64::from(place)) << shift) | ((1 << shift) - 1);
            let greatest = if self.level == 0 { greatest >> shift << shift } else { greatest };
            MAGNITUDE - greatest
        } else {
            ZERO_KEY | ((positive.base + u64::from(place - self.spans.first_positive())) << shift)
        }
    }

    /// The canonical form at the table's level.
    pub(super) fn buckets(&self, ends: (u64, u64)) -> Buckets {
        let level = self.level;
        let bucket = |key: u64, count: u32, is_mixed: bool| {
            let count = u64::from(count);
            if is_mixed { Bucket::mixed(key >> level, count, level) } else { Bucket::atom(key, count, level) }
        };
        let mut sparse: Vec<Bucket> =
            self.sparse.entries().map(|entry| bucket(entry.key, entry.count, entry.is_mixed)).collect();
        sparse.sort_unstable_by_key(Bucket::key);
        let Spans { negative, .. } = self.spans;
        let zero = self.spans.zeros();
        // Negative numbers from the greatest magnitude down, zero, positive ones; the places outside are empty.
        let places = (0..negative.len).rev().chain(std::iter::once(zero)).chain(self.spans.first_positive()..zero);
        let mut sorted = Vec::with_capacity(self.used as usize + 1);
        let mut rest = sparse.into_iter().peekable();
        for place in places {
            let dense = match self.counters[place as usize] {
                _ if place == zero && self.zeros > 0 => Bucket::atom(ZERO_KEY, self.zeros, level),
                count if place != zero && count > 0 => bucket(self.key_at(place), count, level > 0),
                _ => continue,
            };
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
        self.counters.capacity() * size_of::<u32>()
            + self.sparse.heap_size()
            + self.spilled.capacity() * size_of::<(u64, u64)>()
    }
}

/// Some of the values, evenly.
fn sample(values: &[f64]) -> Vec<f64> {
    values.iter().step_by(values.len().div_ceil(SAMPLE).max(1)).copied().collect()
}

/// Where a window of at most twice `limit` counters covers most of the sample.
fn place_window(level: u8, limit: u32, sample: &[f64]) -> Spans {
    let finite = || sample.iter().map(|value| value.to_bits()).filter(|bits| is_finite_nonzero(*bits));
    let shift = if level == 0 {
        finite().map(|bits| (bits & MAGNITUDE).trailing_zeros()).min().unwrap_or(0)
    } else {
        u32::from(level)
    };
    if level > MAX_WINDOW_LEVEL {
        return Spans::default();
    }
    let forbidden = if level == 0 { (1 << shift) - 1 } else { 0 };
    let mut sides = [Vec::new(), Vec::new()];
    for bits in finite() {
        sides[usize::from(bits.cast_signed() >= 0)].push((bits & MAGNITUDE) >> shift);
    }
    let budget = u64::from(limit.saturating_mul(2).min(1 << 20));
    let both = if sides.iter().all(|side| !side.is_empty()) { budget / 2 } else { budget };
    let [negative, positive] = sides.map(|mut side| {
        side.sort_unstable();
        let (Some(&least), Some(&greatest)) = (side.first(), side.last()) else { return Span::default() };
        // A margin on either side: what comes later spreads further than a sample.
        let margin = (greatest - least) / 2 + (1 << 6);
        let last = (MAGNITUDE.wrapping_sub(1 << 52) >> shift).min(greatest.saturating_add(margin));
        let first = least.saturating_sub(margin).max(1);
        let len = both.min(last.saturating_sub(first) + 1);
        // Around the median, but not beyond the ends.
        let median = side[side.len() / 2];
        let base = median.saturating_sub(len / 2).clamp(first, (last + 1).saturating_sub(len).max(first));
        Span { base, len: u32::try_from(len).unwrap_or(0) }
    });
    let spans = Spans { shift, forbidden, negative, positive };
    if level == 0 && !is_dense(&spans, limit, sample) { Spans::default() } else { spans }
}

/// Whether a window of exact values is worth its counters: most of the sample lies in it.
fn is_dense(spans: &Spans, limit: u32, sample: &[f64]) -> bool {
    let inside = sample.iter().filter(|&&value| value == 0.0 || spans.is_cell(spans.place(value))).count();
    inside * 10 >= sample.len() * 9 && spans.places() <= limit.saturating_mul(2)
}

const fn is_finite_nonzero(bits: u64) -> bool {
    let magnitude = bits & MAGNITUDE;
    magnitude != 0 && magnitude < 0x7ff0 << 48
}

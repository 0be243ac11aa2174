//! Cells far apart, and cells that hold one value: an open-addressing table of keys.

use crate::kernel::CELLS;
use crate::key::key_of;

/// Set in the count of a cell that holds different values; its key then stands for the cell.
const MIXED: u32 = 1 << 31;
/// A cell that has moved away. Its key still stands in the way of probes.
const GONE: u32 = MIXED;
/// The multiplier of a multiplicative hash: 2⁶⁴ over the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A cell in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) count: u32,
    pub(super) is_mixed: bool,
}

/// A set of cells at one level, with counts below 2³¹.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    level: u8,
    /// Most entries that there can be, so that the last growth does not overshoot.
    most: usize,
    keys: Vec<u64>,
    counts: Vec<u32>,
    /// Slots that are not free.
    used: usize,
    /// Of these, slots whose cell is gone.
    gone: usize,
}

impl Sparse {
    /// Nothing, at a level. Not more than `most` entries are expected.
    pub(super) fn new(level: u8, most: usize) -> Self {
        Self { level, most, ..Self::default() }
    }

    /// Where the search for a cell begins: at the first of two slots.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "below the number of slots")]
    const fn home(cell: u64, pairs: u64) -> usize {
        ((((cell.wrapping_mul(MULTIPLIER) >> 32) * pairs) >> 32) << 1) as usize
    }

    /// Counts the values that stand in one of the first two slots where they may, in a table of level 0, and writes the
    /// positions of the others; how many.
    pub(super) fn count_at_home(&mut self, values: &[f64], others: &mut [u16; CELLS]) -> usize {
        let pairs = self.keys.len() as u64 / 2;
        let mut rest = 0;
        let values = &values[..values.len().min(CELLS)];
        for (index, &value) in (0u16..).zip(values) {
            let key = key_of(value);
            let home = Self::home(key, pairs);
            // Which of the two it is cannot be foretold, so nothing branches on that. A free slot has key 0, which is no
            // number's.
            let slot = home + usize::from(self.keys.get(home + 1) == Some(&key));
            if self.keys.get(slot) == Some(&key) {
                self.counts[slot] += 1;
            } else {
                others[rest] = index;
                rest += 1;
            }
        }
        rest
    }

    /// The slot of the cell of `key`, or the free slot where it belongs. The table must not be empty.
    #[inline]
    fn probe(&self, key: u64) -> Result<usize, usize> {
        let cell = key >> self.level;
        let mut slot = Self::home(cell, self.keys.len() as u64 / 2);
        loop {
            let count = self.counts[slot];
            if count == 0 {
                return Err(slot);
            }
            if self.keys[slot] >> self.level == cell && count != GONE {
                return Ok(slot);
            }
            slot += 1;
            if slot == self.keys.len() {
                slot = 0;
            }
        }
    }

    /// The slot of the cell of `key`, if there is one.
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        if self.keys.is_empty() { None } else { self.probe(key).ok() }
    }

    /// The slot of the cell of `key`, which is made if there is none. Whether it was.
    #[inline]
    pub(super) fn slot(&mut self, key: u64) -> (usize, bool) {
        if self.keys.is_empty() {
            self.grow(16);
        }
        match self.probe(key) {
            Ok(slot) => (slot, false),
            Err(slot) => {
                // At most four fifths of the slots are in use.
                let slot = if (self.used + 1) * 5 > self.keys.len() * 4 {
                    // Some times what is there, but no more than can come. At level 0 nearly all values are looked up here.
                    let here = self.used - self.gone + 1;
                    let times = if self.level == 0 { 4 } else { 2 };
                    self.grow((times * here).min(self.most * 5 / 4 + 2).max(here * 11 / 8).max(16));
                    self.probe(key).unwrap_or_else(|slot| slot)
                } else {
                    slot
                };
                self.used += 1;
                self.keys[slot] = key;
                (slot, true)
            }
        }
    }

    /// The count word of a slot, without the mark.
    #[inline]
    pub(super) fn count(&self, slot: usize) -> u32 {
        self.counts[slot] & !MIXED
    }

    /// Adds to the count of a slot.
    #[inline]
    pub(super) fn add(&mut self, slot: usize, count: u32) {
        self.counts[slot] += count;
    }

    /// Whether the cell holds other values than `key`.
    #[inline]
    pub(super) fn differs(&self, slot: usize, key: u64) -> bool {
        self.counts[slot] & MIXED != 0 || self.keys[slot] != key
    }

    /// Marks a cell as holding different values.
    pub(super) fn set_mixed(&mut self, slot: usize) {
        self.counts[slot] |= MIXED;
    }

    /// Takes a cell away.
    pub(super) fn remove(&mut self, slot: usize) {
        self.counts[slot] = GONE;
        self.gone += 1;
    }

    /// Leaves one in every cell; what was taken.
    pub(super) fn drain(&mut self) -> Vec<(u64, u64)> {
        let mut drained = Vec::new();
        for (&key, count) in self.keys.iter().zip(&mut self.counts) {
            let number = *count & !MIXED;
            if number > 1 {
                drained.push((key, u64::from(number - 1)));
                *count -= number - 1;
            }
        }
        drained
    }

    /// The cells, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let slots = self.keys.iter().zip(&self.counts).filter(|&(_, &count)| count & !MIXED != 0);
        slots.map(|(&key, &count)| Entry { key, count: count & !MIXED, is_mixed: count & MIXED != 0 })
    }

    fn grow(&mut self, slots: usize) {
        let slots = slots.next_multiple_of(2);
        let (level, most) = (self.level, self.most);
        let empty = Self { level, most, keys: vec![0; slots], counts: vec![0; slots], used: 0, gone: 0 };
        let old = std::mem::replace(self, empty);
        for (&key, &count) in old.keys.iter().zip(&old.counts) {
            if count & !MIXED != 0 {
                let slot = self.probe(key).unwrap_or_else(|slot| slot);
                self.keys[slot] = key;
                self.counts[slot] = count;
                self.used += 1;
            }
        }
    }

    pub(super) fn heap_size(&self) -> usize {
        self.keys.capacity() * size_of::<u64>() + self.counts.capacity() * size_of::<u32>()
    }
}

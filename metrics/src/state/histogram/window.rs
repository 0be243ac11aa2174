//! The dense part of a table: a counter for each of many neighbouring cells.
//!
//! At level 0 every cell holds one value, and its cells are as wide as the trailing zeros that the values have in common,
//! which makes integers dense. Above level 0 a cell may hold one value (an *atom*) or several. A *young* window, of which
//! many cells are empty or atoms, keeps the atoms' keys beside the counters. When few are left it *matures*: the atoms
//! move to the sparse table, and the window counts mixed cells only, with an index and an increment.

use crate::kernel::{self, CELLS, Span, Spans, Tier};
use crate::key::{ZERO_KEY, key_of};

const MAGNITUDE: u64 = u64::MAX >> 1;
/// Beyond this level a cell is an octave or more; few of them exist.
const MAX_LEVEL: u8 = 51;
/// A window is calm while at most one in so many values meets an atom or an empty cell.
const CALM: usize = 64;
/// Marks the counter of an atom.
const ATOM: u32 = 1 << 31;
/// Windows begin and end at multiples of this, so that their cells can be joined so many times by pairs.
const ALIGNED: u64 = 1 << FOLDS;
pub(super) const FOLDS: u8 = 6;

/// Counters of neighbouring cells at one level.
#[derive(Debug, Clone)]
pub(super) struct Window {
    level: u8,
    spans: Spans,
    /// A counter for each place. Those for what lies outside stay 0; those for zeros only have to differ from that.
    counters: Vec<u32>,
    /// While young, the key of each cell that is an atom.
    atoms: Option<Vec<u64>>,
    /// Cells that are atoms while young.
    lone: u32,
    /// While young, whether the last values hardly ever met an atom or an empty cell.
    is_calm: bool,
}

/// A cell of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// The value of an atom; else the least key of the cell.
    pub(super) key: u64,
    pub(super) count: u32,
    pub(super) is_atom: bool,
}

impl Window {
    /// A window at `level` where `sample` lies, for a table of about `limit` cells.
    pub(super) fn new(level: u8, limit: u32, sample: &[f64]) -> Self {
        let spans = place(level, limit, sample);
        let places = spans.places() as usize;
        let is_young = level > 0 && !spans.is_empty();
        Self {
            level,
            spans,
            counters: vec![0; places],
            atoms: is_young.then(|| vec![0; places]),
            lone: 0,
            is_calm: false,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The place of a value's cell, if it has one.
    #[inline]
    pub(super) fn place(&self, value: f64) -> Option<u32> {
        let place = self.spans.place(value);
        self.spans.is_cell(place).then_some(place)
    }

    /// Counts at most [`CELLS`] values, none of them NaN, but those whose positions it writes to `missed`. How many these
    /// are, and how many cells came into use.
    pub(super) fn observe(&mut self, values: &[f64], has_zeros: bool, missed: &mut [u16; CELLS]) -> (usize, u32) {
        let mut places = [0; CELLS];
        kernel::cells(Tier::best(), values, &self.spans, has_zeros, &mut places);
        let zeros = self.spans.zeros() as usize;
        self.counters[zeros..].fill(1);
        let places = &places[..values.len().min(CELLS)];
        if self.atoms.is_some() {
            return self.observe_young(values, places, missed);
        }
        let (mut misses, mut fresh) = (0, 0);
        let counters = &mut self.counters[..];
        for (index, &place) in (0u16..).zip(places) {
            let counter = &mut counters[place as usize];
            if *counter != 0 {
                *counter += 1;
            } else if self.level == 0 && self.spans.is_cell(place) {
                *counter = 1;
                fresh += 1;
            } else {
                missed[misses] = index;
                misses += 1;
            }
        }
        (misses, fresh)
    }

    /// Cells come into use, gain values and become mixed in no order that could be foretold, so nothing branches on which it
    /// is: every value takes the same steps.
    fn observe_young(&mut self, values: &[f64], places: &[u32], missed: &mut [u16; CELLS]) -> (usize, u32) {
        let Some(atoms) = self.atoms.as_mut() else { return (0, 0) };
        let (counters, atoms) = (&mut self.counters[..], &mut atoms[..]);
        let outside = [self.spans.negative.len, self.spans.zeros() - 1];
        let (mut misses, mut fresh, mut mixed, mut settled) = (0, 0, 0, 0);
        for (index, (&place, &value)) in (0u16..).zip(places.iter().zip(values)) {
            let key = key_of(value);
            let (counter, atom) = (&mut counters[place as usize], &mut atoms[place as usize]);
            let is_outside = (place == outside[0]) | (place == outside[1]);
            let is_fresh = (*counter == 0) & !is_outside;
            let is_broken = (*counter & ATOM != 0) & (*atom != key);
            *counter = (*counter & !(u32::from(is_broken) << 31)) + 1;
            *counter |= u32::from(is_fresh) << 31;
            *atom = if is_fresh { key } else { *atom };
            fresh += u32::from(is_fresh);
            mixed += u32::from(is_broken);
            settled += u32::from(*counter & ATOM == 0);
            missed[misses & (CELLS - 1)] = index;
            misses += usize::from(is_outside);
        }
        outside.into_iter().for_each(|place| counters[place as usize] = 0);
        self.lone = self.lone + fresh - mixed;
        self.is_calm = values.len() >= CALM && (settled - mixed) as usize * CALM >= values.len() * (CALM - 1);
        (misses, fresh)
    }

    /// Adds values of one key to a cell of a young window that is no mixed one.
    #[inline]
    fn count_lone(&mut self, place: u32, key: u64, count: u32) {
        let counter = &mut self.counters[place as usize];
        let Some(atom) = self.atoms.as_mut().map(|atoms| &mut atoms[place as usize]) else { return };
        if *counter == 0 {
            *atom = key;
            *counter = ATOM | count;
            self.lone += 1;
        } else if *atom == key {
            *counter += count;
        } else {
            *counter = (*counter & !ATOM) + count;
            self.lone -= 1;
        }
    }

    /// Adds values of a cell, all of one key if `is_atom`; `None` if they belong into the sparse table, else whether the
    /// cell came into use.
    pub(super) fn add(&mut self, place: u32, key: u64, count: u32, is_atom: bool) -> Option<bool> {
        let counter = &mut self.counters[place as usize];
        let is_fresh = *counter == 0;
        if self.level == 0 || (1..ATOM).contains(counter) {
            *counter += count;
        } else if !is_atom {
            // Whatever the cell holds, it is mixed now.
            if self.atoms.is_none() && is_fresh {
                return None;
            }
            self.lone -= u32::from(!is_fresh);
            *counter = (*counter & !ATOM) + count;
        } else if self.atoms.is_some() {
            self.count_lone(place, key, count);
        } else {
            return None;
        }
        Some(is_fresh)
    }

    /// Sets the count of a cell that holds different values.
    pub(super) fn set_mixed(&mut self, place: u32, count: u32) {
        self.counters[place as usize] = count;
    }

    /// Whether a young window has few atoms left among so many cells in use, or values hardly ever meet those that are left.
    pub(super) const fn is_ripe(&self, used: u32) -> bool {
        self.atoms.is_some() && (self.lone < used / 8 || (self.is_calm && self.lone < used / 3))
    }

    /// Makes the window mature; its atoms.
    pub(super) fn mature(&mut self) -> Vec<Cell> {
        let atoms: Vec<Cell> = self.cells().into_iter().map(|(_, cell)| cell).filter(|cell| cell.is_atom).collect();
        self.counters.iter_mut().filter(|counter| **counter & ATOM != 0).for_each(|counter| *counter = 0);
        self.atoms = None;
        self.lone = 0;
        atoms
    }

    /// The cells in use, by ascending key, with their places.
    pub(super) fn cells(&self) -> Vec<(u32, Cell)> {
        let mut cells = Vec::with_capacity(self.counters.len() / 2);
        let mut add = |place: u32| {
            let counter = self.counters[place as usize];
            if counter != 0 {
                let atom = self.atoms.as_ref().filter(|_| counter & ATOM != 0).map(|atoms| atoms[place as usize]);
                let key = atom.unwrap_or_else(|| self.key_at(place));
                let is_atom = self.level == 0 || atom.is_some();
                cells.push((place, Cell { key, count: counter & !ATOM, is_atom }));
            }
        };
        // Negative numbers from the greatest magnitude down.
        (0..self.spans.negative.len).rev().for_each(&mut add);
        (self.spans.first_positive()..self.spans.zeros() - 1).for_each(&mut add);
        cells
    }

    /// Leaves one in every cell, so that it stays in use; what was taken.
    pub(super) fn drain(&mut self) -> Vec<(u64, u64)> {
        let mut drained = self.cells();
        drained.retain(|(_, cell)| cell.count > 1);
        for (place, cell) in &drained {
            self.counters[*place as usize] -= cell.count - 1;
        }
        drained.into_iter().map(|(_, cell)| (cell.key, u64::from(cell.count - 1))).collect()
    }

    /// A bit for each cell in use, for both spans.
    pub(super) fn occupied(&self) -> [Vec<u64>; 2] {
        let Spans { negative, positive, .. } = self.spans;
        let first = self.spans.first_positive() as usize;
        [0..negative.len as usize, first..first + positive.len as usize].map(|places| {
            let word = |cells: &[u32]| (0..).zip(cells).fold(0, |word, (bit, &n)| word | u64::from(n != 0) << bit);
            self.counters[places].chunks(64).map(word).collect()
        })
    }

    /// Marks the cell at a place as in use.
    pub(super) fn mark(&self, maps: &mut [Vec<u64>; 2], place: u32) {
        let (side, place) =
            if place < self.spans.negative.len { (0, place) } else { (1, place - self.spans.first_positive()) };
        maps[side][place as usize / 64] |= 1 << (place % 64);
    }

    /// The least key of the cell at a place.
    fn key_at(&self, place: u32) -> u64 {
        let Spans { shift, negative, positive, .. } = self.spans;
        if place < negative.len {
            // Keys of negative numbers fall as their magnitudes rise: a cell's greatest magnitude has its least key.
            let least = (negative.base + u64::from(place)) << shift;
            MAGNITUDE - if self.level == 0 { least } else { least | ((1 << shift) - 1) }
        } else {
            ZERO_KEY | ((positive.base + u64::from(place - self.spans.first_positive())) << shift)
        }
    }

    pub(super) fn heap_size(&self) -> usize {
        self.counters.capacity() * size_of::<u32>()
            + self.atoms.as_ref().map_or(0, |atoms| atoms.capacity() * size_of::<u64>())
    }
}

/// Where a window of at most one and a half times `limit` counters covers most of the sample.
fn place(level: u8, limit: u32, sample: &[f64]) -> Spans {
    let finite = || sample.iter().map(|value| value.to_bits()).filter(|bits| is_finite_nonzero(*bits));
    let shift = if level == 0 {
        finite().map(|bits| (bits & MAGNITUDE).trailing_zeros()).min().unwrap_or(0)
    } else {
        u32::from(level)
    };
    if level > MAX_LEVEL {
        return Spans::default();
    }
    let mut sides = [Vec::new(), Vec::new()];
    for bits in finite() {
        sides[usize::from(bits.cast_signed() >= 0)].push((bits & MAGNITUDE) >> shift);
    }
    let budget = u64::from(limit.saturating_add(limit / 2).min(1 << 20));
    let both = if sides.iter().all(|side| !side.is_empty()) { budget / 2 } else { budget };
    let [negative, positive] = sides.map(|mut side| {
        side.sort_unstable();
        let (Some(&least), Some(&greatest)) = (side.first(), side.last()) else { return Span::default() };
        // A margin on either side: what comes later spreads further than a sample.
        let margin = (greatest - least) / 2 + ALIGNED;
        let (first, last) = (least.saturating_sub(margin), greatest.saturating_add(margin));
        let len = both.min(last - first + 1).next_multiple_of(ALIGNED);
        // Around the median, but not beyond the ends; the cell of zero is in no window.
        let median = side[side.len() / 2];
        let base = median.saturating_sub(len / 2).clamp(first, (last + 1).saturating_sub(len).max(first));
        Span { base: (base / ALIGNED * ALIGNED).max(ALIGNED), len: u32::try_from(len).unwrap_or(0) }
    });
    let forbidden = if level == 0 { (1 << shift) - 1 } else { 0 };
    let spans = Spans { shift, forbidden, negative, positive };
    // At level 0 a window is worth its counters only if nearly all of the sample lies in it.
    let inside = sample.iter().filter(|&&value| value == 0.0 || spans.is_cell(spans.place(value))).count();
    if level == 0 && inside * 10 < sample.len() * 9 { Spans::default() } else { spans }
}

const fn is_finite_nonzero(bits: u64) -> bool {
    let magnitude = bits & MAGNITUDE;
    magnitude != 0 && magnitude < 0x7ff0 << 48
}

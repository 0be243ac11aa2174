//! The nested-key histogram: exact while few distinct values occur, then coarser by halves.
//!
//! A finite double becomes a 64-bit key of the same order. At *level* t the histogram counts keys `key >> t`, so
//! level t+1 is exactly level t with neighbouring pairs merged. The state keeps counts at the smallest level at
//! which at most `limit` distinct keys occur. Occupancy only grows as values arrive and only shrinks as the level
//! rises, so the final level, and with it the whole state, depends on the multiset of values alone: not on their
//! order, nor on how they were cut into pieces.
//!
//! At level 0 it is the exact multiset. Above it, the empirical distribution function is still exact at every
//! edge of a bucket, from which [`crate::drift`] derives certified intervals. Every bucket keeps its least and
//! greatest key.
//!
//! Kin: OpenTelemetry's exponential histograms (perfect subsetting), UDDSketch (uniform collapse, arXiv
//! 2004.08604), HdrHistogram. Those collapse on a fixed schedule or from one end; here the data decide.

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::key::{is_key, key_of, value_of};
use crate::{Error, Result};

/// Limits below this are raised to it: at level 60 no more than 16 keys exist, so every limit can be met.
const MIN_LIMIT: u32 = 16;
/// Up to this many values (and no more than the limit, so that a list is always exact) the state is the list of
/// their keys: pushing is the cheapest way to count few values.
const LIST: usize = 512;

/// Counts of keys at one level.
#[derive(Debug, Clone)]
pub struct Histogram {
    limit: u32,
    total: u64,
    repr: Repr,
}

#[derive(Debug, Clone)]
enum Repr {
    /// The keys themselves, in order of arrival.
    List(Vec<u64>),
    Table(Table),
}

/// One bucket: the keys `least..=greatest` of one cell at the histogram's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The cell: the keys' common `key >> level`.
    pub cell: u64,
    /// How many values fell into it.
    pub count: u64,
    least: u64,
    greatest: u64,
}

impl Bucket {
    /// The least value in the bucket.
    #[must_use]
    pub fn least(&self) -> f64 {
        value_of(self.least)
    }

    /// The greatest value in the bucket.
    #[must_use]
    pub fn greatest(&self) -> f64 {
        value_of(self.greatest)
    }

    /// Whether all values of the bucket are one and the same.
    #[must_use]
    pub const fn is_atom(&self) -> bool {
        self.least == self.greatest
    }

    /// Whether all values of `self` lie below all of `other`.
    pub(crate) const fn is_below(&self, other: &Self) -> bool {
        self.greatest < other.least
    }
}

impl Histogram {
    /// Nothing seen yet. At most `limit` buckets are kept (at least 16); `u32::MAX` keeps every distinct value.
    #[must_use]
    pub fn empty(limit: u32) -> Self {
        Self { limit: limit.max(MIN_LIMIT), total: 0, repr: Repr::List(Vec::new()) }
    }

    /// Adds one value, which must not be NaN.
    #[inline]
    pub fn observe(&mut self, value: f64) {
        self.observe_key(key_of(value));
    }

    #[inline(always)]
    pub(crate) fn observe_key(&mut self, key: u64) {
        self.total += 1;
        match &mut self.repr {
            Repr::Table(table) => table.add(self.limit, Bucket { cell: 0, count: 1, least: key, greatest: key }),
            Repr::List(keys) => {
                keys.push(key);
                if keys.len() >= LIST.min(self.limit as usize) {
                    self.tabulate();
                }
            }
        }
    }

    /// Adds the values whose keys are `keys`.
    pub(crate) fn observe_keys(&mut self, keys: &[u64]) {
        let mut rest = keys;
        if let Repr::List(list) = &mut self.repr {
            let capacity = LIST.min(self.limit as usize);
            let (head, tail) = keys.split_at(capacity.saturating_sub(list.len()).min(keys.len()));
            list.extend_from_slice(head);
            self.total += head.len() as u64;
            if list.len() >= capacity {
                self.tabulate();
            }
            rest = tail;
        }
        if let Repr::Table(table) = &mut self.repr {
            self.total += rest.len() as u64;
            for &key in rest {
                table.add(self.limit, Bucket { cell: 0, count: 1, least: key, greatest: key });
            }
        }
    }

    #[cold]
    fn tabulate(&mut self) {
        if let Repr::List(keys) = &self.repr {
            let mut table = Table::new();
            for &key in keys {
                table.add(self.limit, Bucket { cell: 0, count: 1, least: key, greatest: key });
            }
            self.repr = Repr::Table(table);
        }
    }

    /// The number of values.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether the state is still the exact multiset.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        match &self.repr {
            Repr::List(_) => true,
            Repr::Table(table) => table.level == 0,
        }
    }

    /// The keys that were there when the histogram left level 0, once: the last moment at which they are known
    /// one by one. Whoever counts distinct values takes them over.
    pub(crate) fn take_departed(&mut self) -> Option<Vec<u64>> {
        match &mut self.repr {
            Repr::List(_) => None,
            Repr::Table(table) => table.departed.take(),
        }
    }

    /// The distinct keys, for as long as the histogram is exact.
    pub(crate) fn distinct_keys(&self) -> impl Iterator<Item = u64> {
        self.buckets().buckets.into_iter().map(|bucket| bucket.least)
    }

    /// The canonical form: the level and the buckets in order.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        match &self.repr {
            Repr::List(keys) => {
                let mut keys = keys.clone();
                keys.sort_unstable();
                let buckets = keys
                    .chunk_by(|a, b| a == b)
                    .map(|run| Bucket { cell: run[0], count: run.len() as u64, least: run[0], greatest: run[0] })
                    .collect();
                Buckets { level: 0, total: self.total, buckets }
            }
            Repr::Table(table) => {
                let mut buckets: Vec<Bucket> = table.slots.iter().filter(|slot| slot.count > 0).copied().collect();
                buckets.sort_unstable_by_key(|bucket| bucket.cell);
                Buckets { level: table.level, total: self.total, buckets }
            }
        }
    }

    fn merge_buckets(&mut self, buckets: &[Bucket], level: u8) {
        self.tabulate();
        if let Repr::Table(table) = &mut self.repr {
            if level > table.level {
                table.raise(level);
            }
            for bucket in buckets {
                table.add(self.limit, *bucket);
                self.total += bucket.count;
            }
        }
    }
}

impl MergeableState for Histogram {
    /// Brings both to the coarser level, adds, and coarsens while over the limit (the smaller of the two).
    fn merge(&mut self, other: &Self) -> Result<()> {
        // No bucket holds more than the total.
        Error::sum(self.total, other.total)?;
        if other.limit < self.limit {
            // Under the old limit the list becomes a table at level 0, which then departs with all its keys.
            if matches!(&self.repr, Repr::List(keys) if keys.len() >= other.limit as usize) {
                self.tabulate();
            }
            self.limit = other.limit;
            if let Repr::Table(table) = &mut self.repr {
                table.fit(self.limit);
            }
        }
        match &other.repr {
            Repr::List(keys) => self.observe_keys(keys),
            Repr::Table(table) => {
                self.tabulate();
                if let Repr::Table(ours) = &mut self.repr
                    && ours.shift > table.shift
                {
                    // In table order slots come sorted by hash. A smaller table would be filled from one end, each
                    // insertion behind a longer run, in quadratic time.
                    ours.rebuild(ours.level, 64 - table.shift);
                }
                // Slots in table order: the result is the same in any order.
                let used: Vec<Bucket> = table.slots.iter().filter(|slot| slot.count > 0).copied().collect();
                self.merge_buckets(&used, table.level);
            }
        }
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        let canonical = self.buckets();
        out.varint(u64::from(self.limit));
        out.byte(canonical.level);
        out.varint(canonical.buckets.len() as u64);
        let mut previous = 0;
        for bucket in &canonical.buckets {
            out.varint(bucket.cell - previous);
            previous = bucket.cell;
            out.varint(bucket.count);
            if canonical.level > 0 {
                out.varint(bucket.least - (bucket.cell << canonical.level));
                out.varint(bucket.greatest - bucket.least);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let invalid = || Error::invalid_data("a histogram is out of shape");
        let limit = u32::try_from(input.varint()?).map_err(|_| invalid())?;
        let level = input.byte()?;
        let length = input.count()?;
        if limit < MIN_LIMIT || level > 60 || length > limit as usize {
            return Err(invalid());
        }
        let mut buckets = Vec::with_capacity(length);
        let mut cell = 0u64;
        let mut total = 0u64;
        for index in 0..length {
            let step = input.varint()?;
            cell = cell.checked_add(step).filter(|&cell| cell <= u64::MAX >> level).ok_or_else(invalid)?;
            let count = input.varint()?;
            if count == 0 || (index > 0 && step == 0) {
                return Err(invalid());
            }
            total = total.checked_add(count).ok_or_else(invalid)?;
            let (mut least, mut greatest) = (cell << level, cell << level);
            if level > 0 {
                least = least.checked_add(input.varint()?).ok_or_else(invalid)?;
                greatest = least.checked_add(input.varint()?).ok_or_else(invalid)?;
                if greatest >> level != cell {
                    return Err(invalid());
                }
            }
            if !is_key(least) || !is_key(greatest) {
                return Err(invalid());
            }
            buckets.push(Bucket { cell, count, least, greatest });
        }
        let mut histogram = Self::empty(limit);
        if level == 0 && total < LIST.min(limit as usize) as u64 {
            let keys = buckets
                .iter()
                .flat_map(|bucket| std::iter::repeat_n(bucket.least, usize::try_from(bucket.count).unwrap_or(0)))
                .collect();
            histogram.repr = Repr::List(keys);
            histogram.total = total;
        } else {
            histogram.merge_buckets(&buckets, level);
        }
        Ok(histogram)
    }

    fn heap_size(&self) -> usize {
        match &self.repr {
            Repr::List(keys) => keys.capacity() * size_of::<u64>(),
            Repr::Table(table) => table.slots.capacity() * size_of::<Bucket>(),
        }
    }
}

/// Open addressing over a power of two of slots, by a multiplicative hash of the cell.
#[derive(Debug, Clone)]
struct Table {
    level: u8,
    used: u32,
    shift: u32,
    slots: Vec<Bucket>,
    /// The cells at the moment of leaving level 0.
    departed: Option<Vec<u64>>,
}

const FREE: Bucket = Bucket { cell: 0, count: 0, least: u64::MAX, greatest: 0 };

impl Table {
    fn new() -> Self {
        Self::with_bits(0, 8)
    }

    fn with_bits(level: u8, bits: u32) -> Self {
        Self { level, used: 0, shift: 64 - bits, slots: vec![FREE; 1 << bits], departed: None }
    }

    /// Adds a bucket of any finer level; its cell is computed here.
    #[inline(always)]
    fn add(&mut self, limit: u32, mut bucket: Bucket) {
        bucket.cell = bucket.least >> self.level;
        if self.insert(bucket) {
            self.grown(limit);
        }
    }

    /// Whether the cell is new.
    #[inline(always)]
    fn insert(&mut self, bucket: Bucket) -> bool {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "shifted down to the table's bits")]
        let mut at = (bucket.cell.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let slot = &mut self.slots[at & mask];
            if slot.cell == bucket.cell && slot.count > 0 {
                slot.count += bucket.count;
                if bucket.least < slot.least {
                    slot.least = bucket.least;
                }
                if bucket.greatest > slot.greatest {
                    slot.greatest = bucket.greatest;
                }
                return false;
            }
            if slot.count == 0 {
                *slot = bucket;
                self.used += 1;
                return true;
            }
            at += 1;
        }
    }

    #[cold]
    fn grown(&mut self, limit: u32) {
        if self.used > limit {
            self.fit(limit);
        } else if self.used as usize * 4 > self.slots.len() * 3 {
            self.rebuild(self.level, 64 - self.shift + 1);
        }
    }

    /// Raises the level to the smallest at which at most `limit` cells are in use.
    fn fit(&mut self, limit: u32) {
        if self.used <= limit {
            return;
        }
        let mut cells: Vec<u64> = self.slots.iter().filter(|slot| slot.count > 0).map(|slot| slot.cell).collect();
        cells.sort_unstable();
        let level = self.level + levels_to_fit(&cells, limit);
        self.raise(level);
    }

    fn raise(&mut self, level: u8) {
        self.rebuild(level, 64 - self.shift);
    }

    fn rebuild(&mut self, level: u8, bits: u32) {
        let mut old = std::mem::replace(self, Self::with_bits(level, bits));
        self.departed = if old.level == 0 && level > 0 {
            Some(old.slots.iter().filter(|slot| slot.count > 0).map(|slot| slot.cell).collect())
        } else {
            old.departed.take()
        };
        for bucket in old.slots.into_iter().filter(|slot| slot.count > 0) {
            self.insert(Bucket { cell: bucket.least >> level, ..bucket });
        }
    }
}

/// How many times sorted distinct `cells` must be halved until at most `limit` remain.
fn levels_to_fit(cells: &[u64], limit: u32) -> u8 {
    // Two neighbours fall together once their highest differing bit has been shifted out.
    let mut joins = [0usize; 65];
    for pair in cells.windows(2) {
        joins[64 - (pair[0] ^ pair[1]).leading_zeros() as usize] += 1;
    }
    let mut left = cells.len();
    for (level, joined) in (0u8..).zip(joins) {
        left -= joined;
        if left <= limit as usize {
            return level;
        }
    }
    64
}

/// The buckets of a histogram in order, at one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    level: u8,
    total: u64,
    buckets: Vec<Bucket>,
}

impl Buckets {
    /// The level: how many low bits of the keys were dropped. At 0 the buckets are the exact multiset.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// The number of values.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The buckets, by ascending value.
    #[must_use]
    pub fn as_slice(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The same values at a coarser level (a finer one cannot be had and leaves them as they are).
    #[must_use]
    pub fn at_level(mut self, level: u8) -> Self {
        if level <= self.level {
            return self;
        }
        let mut coarser: Vec<Bucket> = Vec::with_capacity(self.buckets.len());
        for bucket in self.buckets {
            let cell = bucket.least >> level;
            match coarser.last_mut() {
                Some(last) if last.cell == cell => {
                    last.count += bucket.count;
                    last.greatest = bucket.greatest;
                }
                _ => coarser.push(Bucket { cell, ..bucket }),
            }
        }
        self.level = level;
        self.buckets = coarser;
        self
    }

    /// The lower empirical quantiles at `i / (points − 1)` for `i` in `0..points`: the value of rank ⌈q·n⌉, at
    /// least 1. Exact at level 0; within a wider bucket the rank is interpolated between its least and its
    /// greatest value, so the error is at most the bucket's width.
    #[must_use]
    pub fn quantiles(&self, points: u32) -> Option<Vec<f64>> {
        if self.total == 0 || points < 2 {
            return None;
        }
        let last = u128::from(points - 1);
        let mut quantiles = Vec::with_capacity(points as usize);
        let mut buckets = self.buckets.iter();
        let mut bucket = buckets.next()?;
        let mut before = 0u64;
        for i in 0..u128::from(points) {
            #[expect(clippy::cast_possible_truncation, reason = "at most the total")]
            let rank = ((u128::from(self.total) * i).div_ceil(last) as u64).max(1);
            while rank > before + bucket.count {
                before += bucket.count;
                bucket = buckets.next()?;
            }
            quantiles.push(value_at(bucket, rank - before));
        }
        Some(quantiles)
    }
}

/// The value of rank `rank` (from 1) within a bucket.
#[expect(clippy::cast_precision_loss, reason = "an interpolation")]
fn value_at(bucket: &Bucket, rank: u64) -> f64 {
    let (least, greatest) = (bucket.least(), bucket.greatest());
    if rank <= 1 || bucket.is_atom() {
        return least;
    }
    if rank >= bucket.count {
        return greatest;
    }
    let width = greatest - least;
    if width.is_infinite() {
        // Nothing lies evenly between a number and infinity.
        return least;
    }
    // In this form every rounding keeps the order, so a higher rank never has a lower value.
    let part = (rank - 1) as f64 / (bucket.count - 1) as f64;
    (least + width * part).min(greatest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(histogram: &Histogram) -> Vec<u8> {
        let mut out = Writer::default();
        histogram.encode(&mut out);
        out.finish().unwrap()
    }

    fn of(values: impl IntoIterator<Item = f64>, limit: u32) -> Histogram {
        let mut histogram = Histogram::empty(limit);
        for value in values {
            histogram.observe(value);
        }
        histogram
    }

    #[test]
    fn exact_until_the_limit() {
        let histogram = of((0..10_000).map(|i| f64::from(i % 100)), 100);
        let buckets = histogram.buckets();
        assert_eq!(buckets.level(), 0);
        assert!(buckets.as_slice().iter().all(|bucket| bucket.count == 100 && bucket.is_atom()));
        assert!(of((0..10_000).map(|i| f64::from(i % 101)), 100).buckets().level() > 0);
    }

    #[test]
    fn the_level_is_the_smallest_that_fits() {
        for (n, limit) in [(300, 16), (700, 20), (5000, 64), (20_000, 4096)] {
            let values: Vec<f64> = (0..n).map(|i| f64::from(i) * 0.37 - 100.0).collect();
            let mut naive = of(values.iter().copied(), u32::MAX).buckets();
            assert_eq!(naive.level(), 0);
            while naive.as_slice().len() > limit as usize {
                let level = naive.level() + 1;
                naive = naive.at_level(level);
            }
            assert_eq!(of(values, limit).buckets(), naive);
        }
    }

    #[test]
    fn list_and_table_forms_encode_alike() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 7) * 1.3).collect();
        let small = of(values.iter().copied(), 4096);
        let mut large = of(values.iter().copied(), 4096);
        large.tabulate();
        assert_eq!(encoded(&small), encoded(&large));
        let tight = of((0..400).map(f64::from), 16);
        let mut table = of((0..400).map(f64::from), 16);
        table.tabulate();
        assert_eq!(encoded(&tight), encoded(&table));
        assert!(!tight.is_exact());
    }

    #[test]
    fn quantiles_of_an_exact_multiset() {
        let quantiles = of((1..=10).map(f64::from), 4096).buckets().quantiles(11).unwrap();
        assert_eq!(quantiles, [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
    }

    #[test]
    fn quantiles_within_a_narrow_or_endless_bucket_stay_in_order() {
        let one = 1.0f64;
        let next = one.next_up();
        for (least, greatest) in [(one, next), (f64::MAX, f64::INFINITY), (f64::NEG_INFINITY, f64::MIN)] {
            let bucket = Bucket { cell: 0, count: 50, least: key_of(least), greatest: key_of(greatest) };
            let values: Vec<f64> = (1..=50).map(|rank| value_at(&bucket, rank)).collect();
            assert!(values.is_sorted(), "{values:?}");
            assert!(values[0].total_cmp(&least).is_eq() && values[49].total_cmp(&greatest).is_eq(), "{values:?}");
        }
    }

    #[test]
    fn decode_restores_the_state() {
        for (n, limit) in [(0, 16), (10, 16), (1000, 4096), (100_000, 512)] {
            let histogram = of((0..n).map(|i| (f64::from(i) * 0.7).sin()), limit);
            let bytes = encoded(&histogram);
            let payload = super::super::codec::open(&bytes).unwrap();
            let mut reader = Reader::new(&payload);
            let decoded = Histogram::decode(&mut reader).unwrap();
            reader.end().unwrap();
            assert_eq!(encoded(&decoded), bytes);
            assert_eq!(decoded.total(), histogram.total());
        }
    }
}

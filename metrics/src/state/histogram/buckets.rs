//! The canonical form of a histogram: its buckets in order.

use std::iter::Peekable;

use crate::key::value_of;

/// One bucket: the values of one cell at the histogram's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The cell: the keys' common `key >> level`.
    pub cell: u64,
    /// How many values fell into it.
    pub count: u64,
    pub(super) least: u64,
    pub(super) greatest: u64,
}

impl Bucket {
    /// The bucket of one value.
    pub(super) const fn atom(key: u64, count: u64, level: u8) -> Self {
        Self { cell: key >> level, count, least: key, greatest: key }
    }

    /// A bucket of which only the cell is known.
    pub(super) const fn mixed(cell: u64, count: u64, level: u8) -> Self {
        let least = cell << level;
        Self { cell, count, least, greatest: least | ((1 << level) - 1) }
    }

    /// No value of the bucket lies below. Of an atom, the value itself; else the lower edge of the bucket, in the first
    /// bucket of a histogram the least value.
    #[must_use]
    pub fn least(&self) -> f64 {
        value_of(self.least)
    }

    /// No value of the bucket lies above. Of an atom, the value itself; else the upper edge of the bucket, in the last
    /// bucket of a histogram the greatest value.
    #[must_use]
    pub fn greatest(&self) -> f64 {
        value_of(self.greatest)
    }

    /// Whether all values of the bucket are one and the same.
    #[must_use]
    pub const fn is_atom(&self) -> bool {
        self.least == self.greatest
    }

    /// Whether all values of `self` surely lie below all of `other`.
    pub(crate) const fn is_below(&self, other: &Self) -> bool {
        self.greatest < other.least
    }

    /// The key that stands for the values.
    pub(super) const fn key(&self) -> u64 {
        self.least
    }

    /// The same values at this level, which is no finer.
    const fn at_level(&self, level: u8) -> Self {
        if self.is_atom() {
            Self::atom(self.least, self.count, level)
        } else {
            Self::mixed(self.least >> level, self.count, level)
        }
    }

    /// Adds the values of another bucket of the same cell.
    pub(super) const fn absorb(&mut self, other: &Self, level: u8) {
        let count = self.count + other.count;
        let is_same = self.is_atom() && other.is_atom() && self.least == other.least;
        *self = if is_same { Self { count, ..*self } } else { Self::mixed(self.cell, count, level) };
    }
}

/// The buckets of a histogram in order, at one level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    pub(super) level: u8,
    pub(super) total: u64,
    pub(super) buckets: Vec<Bucket>,
}

impl Buckets {
    /// Sorted buckets of one level, those of the same cell next to each other; `ends` are the least and greatest key.
    pub(super) fn of(level: u8, sorted: impl IntoIterator<Item = Bucket>, ends: (u64, u64)) -> Self {
        let sorted = sorted.into_iter();
        let mut buckets: Vec<Bucket> = Vec::with_capacity(sorted.size_hint().0);
        let mut total = 0;
        for bucket in sorted {
            total += bucket.count;
            match buckets.last_mut() {
                Some(last) if last.cell == bucket.cell => last.absorb(&bucket, level),
                _ => buckets.push(bucket),
            }
        }
        let mut buckets = Self { level, total, buckets };
        buckets.end_at(ends);
        buckets
    }

    /// The ends are known to the bit. A mixed bucket stays one: it holds two values at least.
    pub(super) fn end_at(&mut self, ends: (u64, u64)) {
        if let Some(first) = self.buckets.first_mut().filter(|first| !first.is_atom()) {
            first.least = ends.0;
        }
        if let Some(last) = self.buckets.last_mut().filter(|last| !last.is_atom()) {
            last.greatest = ends.1;
        }
    }

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

    /// The least and the greatest key.
    pub(super) fn ends(&self) -> (u64, u64) {
        match (self.buckets.first(), self.buckets.last()) {
            (Some(first), Some(last)) => (first.least, last.greatest),
            _ => (u64::MAX, 0),
        }
    }

    /// The same values at a coarser level (a finer one cannot be had and leaves them as they are).
    #[must_use]
    pub fn at_level(self, level: u8) -> Self {
        if level <= self.level {
            return self;
        }
        let ends = self.ends();
        Self::of(level, self.buckets.into_iter().map(|bucket| bucket.at_level(level)), ends)
    }

    fn coarser(&self, level: u8) -> impl Iterator<Item = Bucket> {
        self.buckets.iter().map(move |bucket| bucket.at_level(level))
    }

    /// The values of both, at the coarser level of the two.
    pub(super) fn merged(&self, other: &Self) -> Self {
        let level = self.level.max(other.level);
        let (ours, theirs) = (self.ends(), other.ends());
        let ends = (ours.0.min(theirs.0), ours.1.max(theirs.1));
        Self::of(level, Merged { left: self.coarser(level).peekable(), right: other.coarser(level).peekable() }, ends)
    }

    /// Bytes held on the heap.
    pub(super) const fn heap_size(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
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

/// Two runs of buckets in order as one.
struct Merged<I: Iterator<Item = Bucket>> {
    left: Peekable<I>,
    right: Peekable<I>,
}

impl<I: Iterator<Item = Bucket>> Iterator for Merged<I> {
    type Item = Bucket;

    fn next(&mut self) -> Option<Bucket> {
        match (self.left.peek(), self.right.peek()) {
            (Some(left), Some(right)) if left.cell > right.cell => self.right.next(),
            (None, _) => self.right.next(),
            _ => self.left.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.size_hint().0.max(self.right.size_hint().0), None)
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
    use crate::key::key_of;

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
    fn two_atoms_make_a_mixed_bucket() {
        let keys = [key_of(1.0), key_of(1.0f64.next_up()), key_of(3.0)];
        let exact = Buckets::of(0, keys.map(|key| Bucket::atom(key, 2, 0)), (keys[0], keys[2]));
        let coarse = exact.at_level(4);
        assert_eq!(coarse.as_slice().iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [4, 2]);
        assert!(!coarse.as_slice()[0].is_atom() && coarse.as_slice()[1].is_atom());
        // The first bucket begins at the least value, and ends at its edge.
        assert_eq!(coarse.as_slice()[0].least().to_bits(), 1.0f64.to_bits());
        assert_eq!(coarse.as_slice()[0].greatest, keys[0] | 15);
    }
}

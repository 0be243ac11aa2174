//! Counts of categories: exact up to a limit, then hash buckets plus the exact counts of a nested sample.
//!
//! A category is *kept* while the top bits of its hash are zero: at depth d the top d bits. The state keeps exact
//! counts of the kept categories at the smallest depth at which at most `limit` distinct ones are kept. Depth 0
//! keeps all, so the state is then the exact multiset. Beside them, above depth 0, the counts of *all* values per
//! hash bucket are kept: they add up, so they are exact too. Both parts depend on the multiset alone, which
//! Misra–Gries or space-saving summaries do not.
//!
//! Two states at the same depth share one partition of all possible categories: each kept category by itself, and
//! each hash bucket without its kept categories. Distances on a coarser partition never exceed the true ones, so
//! total variation and Jensen–Shannon become lower bounds.
//!
//! Unit: values. Error: none up to the limit; beyond it total variation and Jensen–Shannon are bounds from below. Kin: the
//! adaptive sampling of M. Wegman (P. Flajolet, *On adaptive sampling*, Computing 34 (1990)).
//!
//! ```
//! use limno_metrics::state::Categories;
//!
//! let mut colours = Categories::empty(4096, 4096);
//! colours.observe(b"red", Some(3), 2);
//! colours.observe(b"blue", Some(4), 1);
//! assert_eq!((colours.total(), colours.distinct()), (3, (2, true)));
//! assert_eq!(colours.frequent_items(1)[0].value, b"red");
//! ```

use hashbrown::HashMap;
use twox_hash::XxHash3_64;

use super::codec::{Reader, Writer};
use super::distinct::Distinct;
use super::{Lengths, MergeableState};
use crate::{Error, Result};

/// Hash buckets of a state that is not exact.
const HASH_BUCKETS: usize = 1024;
/// The distinct counter of a state that is not exact starts as an estimate at once above this many.
const EXACT_DISTINCT: u32 = 4096;

/// Counts of categories, their lengths and their number.
#[derive(Debug, Clone)]
pub struct Categories {
    limit: u32,
    distinct_limit: u32,
    total: u64,
    lengths: Lengths,
    depth: u8,
    kept: HashMap<Box<[u8]>, u64>,
    overflow: Option<Box<Overflow>>,
}

/// What a state above depth 0 knows of all its values.
#[derive(Debug, Clone)]
struct Overflow {
    hashed: Vec<u64>,
    distinct: Distinct,
}

/// A category and how often it occurred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The category's bytes (UTF-8 text for string columns).
    pub value: Vec<u8>,
    /// How many values.
    pub count: u64,
}

/// The stable 64-bit hash behind depth and buckets (XXH3 with seed 0).
pub(crate) fn hash(value: &[u8]) -> u64 {
    XxHash3_64::oneshot(value)
}

/// The bucket of a hash: its low bits, so that it says nothing about the depth, which looks at the high ones.
#[expect(clippy::cast_possible_truncation, reason = "masked to the number of buckets")]
const fn bucket_of(hash: u64) -> usize {
    hash as usize & (HASH_BUCKETS - 1)
}

const fn is_kept(hash: u64, depth: u8) -> bool {
    depth == 0 || hash.leading_zeros() >= depth as u32
}

impl Categories {
    /// Nothing seen yet. Exact up to `limit` categories; their number exact up to `distinct_limit`.
    #[must_use]
    pub fn empty(limit: u32, distinct_limit: u32) -> Self {
        Self {
            limit: limit.max(1),
            distinct_limit: distinct_limit.max(EXACT_DISTINCT),
            total: 0,
            lengths: Lengths::default(),
            depth: 0,
            kept: HashMap::new(),
            overflow: None,
        }
    }

    /// Adds `times` values of the category `value`, which is `length` characters long; `None` for categories that
    /// are no strings and have no length.
    pub fn observe(&mut self, value: &[u8], length: Option<u64>, times: u64) {
        if times > 0 {
            if let Some(length) = length {
                self.lengths.observe(length, times);
            }
            self.add(value, times);
        }
    }

    fn add(&mut self, value: &[u8], times: u64) {
        self.total += times;
        if let Some(overflow) = &mut self.overflow {
            let hash = hash(value);
            overflow.hashed[bucket_of(hash)] += times;
            overflow.distinct.observe(hash);
            if !is_kept(hash, self.depth) {
                return;
            }
        }
        if let Some(count) = self.kept.get_mut(value) {
            *count += times;
            return;
        }
        self.kept.insert(value.into(), times);
        if self.kept.len() > self.limit as usize {
            self.deepen();
        }
    }

    #[cold]
    fn deepen(&mut self) {
        let kept = &self.kept;
        let distinct_limit = self.distinct_limit;
        self.overflow.get_or_insert_with(|| {
            let mut overflow = Overflow { hashed: vec![0; HASH_BUCKETS], distinct: Distinct::empty(distinct_limit) };
            for (value, &count) in kept {
                let hash = hash(value);
                overflow.hashed[bucket_of(hash)] += count;
                overflow.distinct.observe(hash);
            }
            Box::new(overflow)
        });
        while self.kept.len() > self.limit as usize {
            self.depth += 1;
            let depth = self.depth;
            self.kept.retain(|value, _| is_kept(hash(value), depth));
        }
    }

    /// Brings the counter of distinct categories down to the state's own limit.
    fn limit_distinct(&mut self) {
        if let Some(overflow) = &mut self.overflow {
            overflow.distinct.limit_to(self.distinct_limit);
        }
    }

    fn at_depth(mut self, depth: u8) -> Self {
        if depth > self.depth {
            self.depth = depth;
            self.kept.retain(|value, _| is_kept(hash(value), depth));
        }
        self
    }

    /// Whether every category is counted by itself.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.depth == 0
    }

    /// The number of values.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The lengths of the values.
    #[must_use]
    pub const fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// The number of distinct categories, and whether it is exact.
    #[must_use]
    pub fn distinct(&self) -> (u64, bool) {
        match &self.overflow {
            None => (self.kept.len() as u64, true),
            Some(overflow) => (overflow.distinct.count(), overflow.distinct.is_exact()),
        }
    }

    /// The most frequent categories, at most `top`, ties in byte order.
    ///
    /// Of a state that is not exact, those kept categories that provably belong to them: every category that was
    /// not kept has at most the rest of its hash bucket, so a kept one above all rests is among the most frequent.
    #[must_use]
    pub fn frequent_items(&self, top: usize) -> Vec<Item> {
        let rest = self.rests().into_iter().max().unwrap_or(0);
        let mut items: Vec<(&[u8], u64)> =
            self.kept.iter().map(|(value, &count)| (&value[..], count)).filter(|&(_, count)| count > rest).collect();
        items.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        items.truncate(top);
        items.into_iter().map(|(value, count)| Item { value: value.to_vec(), count }).collect()
    }

    /// Values of each hash bucket that are not of a kept category; empty when the state is exact.
    fn rests(&self) -> Vec<u64> {
        let Some(overflow) = &self.overflow else { return Vec::new() };
        let mut rests = overflow.hashed.clone();
        for (value, count) in &self.kept {
            rests[bucket_of(hash(value))] -= count;
        }
        rests
    }

    /// The cells of the finest partition that both states share, with the counts of each, in a stable order:
    /// kept categories by their bytes, then the rests of the hash buckets.
    #[must_use]
    pub fn pair<'a>(&'a self, other: &'a Self) -> Pairing {
        let depth = self.depth.max(other.depth);
        let left = Side::new(self, depth);
        let right = Side::new(other, depth);
        let mut names: Vec<&[u8]> = left.kept.keys().copied().chain(right.kept.keys().copied()).collect();
        names.sort_unstable();
        names.dedup();
        let mut cells: Vec<PairedCell> = names
            .into_iter()
            .map(|name| PairedCell {
                category: Some(name.to_vec()),
                left: left.kept.get(name).copied().unwrap_or(0),
                right: right.kept.get(name).copied().unwrap_or(0),
            })
            .collect();
        for (&left, &right) in left.rests.iter().zip(&right.rests) {
            if left > 0 || right > 0 {
                cells.push(PairedCell { category: None, left, right });
            }
        }
        Pairing { exact: depth == 0, left: self.total, right: other.total, cells }
    }
}

/// One state brought to a depth.
struct Side<'a> {
    kept: HashMap<&'a [u8], u64>,
    rests: Vec<u64>,
}

impl<'a> Side<'a> {
    fn new(state: &'a Categories, depth: u8) -> Self {
        let mut rests = match &state.overflow {
            Some(overflow) => overflow.hashed.clone(),
            None => vec![0; if depth == 0 { 0 } else { HASH_BUCKETS }],
        };
        let mut kept = HashMap::with_capacity(state.kept.len());
        for (value, &count) in &state.kept {
            if depth == 0 {
                kept.insert(&value[..], count);
                continue;
            }
            let hash = hash(value);
            let stays = is_kept(hash, depth);
            if stays {
                kept.insert(&value[..], count);
            }
            let rest = &mut rests[bucket_of(hash)];
            // A state with buckets has counted the category there; one without has not.
            match (state.overflow.is_some(), stays) {
                (true, true) => *rest -= count,
                (false, false) => *rest += count,
                _ => {}
            }
        }
        Self { kept, rests }
    }
}

/// Two states over one shared partition.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// Whether every cell is one category.
    pub exact: bool,
    /// Values on the left.
    pub left: u64,
    /// Values on the right.
    pub right: u64,
    /// The cells, in a stable order.
    pub cells: Vec<PairedCell>,
}

/// One cell of a [`Pairing`].
#[derive(Debug, Clone)]
pub struct PairedCell {
    /// The category, or `None` for the rest of a hash bucket.
    pub category: Option<Vec<u8>>,
    /// Its values on the left.
    pub left: u64,
    /// Its values on the right.
    pub right: u64,
}

impl MergeableState for Categories {
    fn merge(&mut self, other: &Self) -> Result<()> {
        // No category and no bucket holds more than the total.
        Error::sum(self.total, other.total)?;
        self.limit = self.limit.min(other.limit);
        self.distinct_limit = self.distinct_limit.min(other.distinct_limit);
        self.lengths.merge(&other.lengths)?;
        let Some(theirs) = &other.overflow else {
            for (value, &count) in &other.kept {
                self.add(value, count);
            }
            if self.kept.len() > self.limit as usize {
                self.deepen();
            }
            self.limit_distinct();
            return Ok(());
        };
        if self.overflow.is_none() {
            // Their buckets hold their kept categories already, so ours must be opened before adding.
            let mut opened = std::mem::replace(self, Self::empty(1, 0));
            opened.deepen();
            *self = opened;
        }
        if other.depth > self.depth {
            let opened = std::mem::replace(self, Self::empty(1, 0));
            *self = opened.at_depth(other.depth);
        }
        if let Some(ours) = &mut self.overflow {
            for (our, their) in ours.hashed.iter_mut().zip(&theirs.hashed) {
                *our += their;
            }
            ours.distinct.merge(&theirs.distinct)?;
        }
        for (value, &count) in &other.kept {
            if is_kept(hash(value), self.depth) {
                *self.kept.entry(value.clone()).or_insert(0) += count;
            }
        }
        self.total += other.total;
        if self.kept.len() > self.limit as usize {
            self.deepen();
        }
        self.limit_distinct();
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.limit));
        out.varint(u64::from(self.distinct_limit));
        out.varint(self.total);
        self.lengths.encode(out);
        out.byte(self.depth);
        out.varint(self.kept.len() as u64);
        let mut kept: Vec<(&Box<[u8]>, &u64)> = self.kept.iter().collect();
        kept.sort_unstable();
        for (value, count) in kept {
            out.slice(value);
            out.varint(*count);
        }
        if let Some(overflow) = &self.overflow {
            for &count in &overflow.hashed {
                out.varint(count);
            }
            overflow.distinct.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let invalid = || Error::invalid_data("category counts are out of shape");
        let limit = u32::try_from(input.varint()?).map_err(|_| invalid())?;
        let distinct_limit = u32::try_from(input.varint()?).map_err(|_| invalid())?;
        let total = input.varint()?;
        let lengths = Lengths::decode(input)?;
        let depth = input.byte()?;
        let length = input.count()?;
        if limit == 0 || depth > 64 || length > limit as usize || lengths.count() > total {
            return Err(invalid());
        }
        let mut kept: HashMap<Box<[u8]>, u64> = HashMap::with_capacity(length);
        let mut counted = 0u64;
        for _ in 0..length {
            let value = input.slice()?;
            let count = input.varint()?;
            counted = counted.checked_add(count).ok_or_else(invalid)?;
            if count == 0 || !is_kept(hash(value), depth) || kept.insert(value.into(), count).is_some() {
                return Err(invalid());
            }
        }
        let overflow = if depth == 0 {
            None
        } else {
            let mut hashed = vec![0; HASH_BUCKETS];
            let mut sum = 0u64;
            for count in &mut hashed {
                *count = input.varint()?;
                sum = sum.checked_add(*count).ok_or_else(invalid)?;
            }
            let mut rests = hashed.clone();
            for (value, count) in &kept {
                let rest = &mut rests[bucket_of(hash(value))];
                *rest = rest.checked_sub(*count).ok_or_else(invalid)?;
            }
            counted = sum;
            Some(Box::new(Overflow { hashed, distinct: Distinct::decode(input)? }))
        };
        if counted != total {
            return Err(invalid());
        }
        Ok(Self { limit, distinct_limit, total, lengths, depth, kept, overflow })
    }

    fn heap_size(&self) -> usize {
        let kept: usize = self.kept.keys().map(|value| value.len()).sum();
        let overflow = self
            .overflow
            .as_ref()
            .map_or(0, |o| size_of::<Overflow>() + o.hashed.capacity() * size_of::<u64>() + o.distinct.heap_size());
        self.kept.allocation_size() + kept + overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(state: &Categories) -> Vec<u8> {
        let mut out = Writer::default();
        state.encode(&mut out);
        out.finish()
    }

    fn of(values: &[String], limit: u32) -> Categories {
        let mut state = Categories::empty(limit, 0);
        for value in values {
            state.observe(value.as_bytes(), Some(value.chars().count() as u64), 1);
        }
        state
    }

    #[test]
    fn splits_and_orders_do_not_matter() {
        let values: Vec<String> = (0..3000u64).map(|i| format!("level {}", (i * i) % 977)).collect();
        let mut backwards = values.clone();
        backwards.reverse();
        for limit in [1, 10, 100, 500, 5000] {
            let whole = of(&values, limit);
            assert_eq!(encoded(&whole), encoded(&of(&backwards, limit)));
            for cut in [0, 1, 50, 1500, 2999] {
                let mut left = of(&values[..cut], limit);
                left.merge(&of(&values[cut..], limit)).unwrap();
                assert_eq!(encoded(&whole), encoded(&left), "limit {limit} cut {cut}");
            }
            let bytes = encoded(&whole);
            let payload = super::super::codec::open(&bytes).unwrap();
            assert_eq!(encoded(&Categories::decode(&mut Reader::new(&payload)).unwrap()), bytes);
        }
    }

    #[test]
    fn pairing_keeps_every_value_and_proves_its_items() {
        let left: Vec<String> = (0..5000u64).map(|i| format!("a{}", i % 1000)).collect();
        let right: Vec<String> =
            (0..7000u64).map(|i| if i % 2 == 0 { "hot".into() } else { format!("a{}", i % 1700) }).collect();
        for (left_limit, right_limit) in [(64, 64), (64, 5000), (5000, 64), (5000, 5000)] {
            let (left, right) = (of(&left, left_limit), of(&right, right_limit));
            let pairing = left.pair(&right);
            assert_eq!(pairing.cells.iter().map(|cell| cell.left).sum::<u64>(), 5000);
            assert_eq!(pairing.cells.iter().map(|cell| cell.right).sum::<u64>(), 7000);
            assert_eq!(pairing.exact, left_limit == 5000 && right_limit == 5000);
            for item in right.frequent_items(3).iter().filter(|item| item.count > 100) {
                assert_eq!((item.value.as_slice(), item.count), (&b"hot"[..], 3500));
            }
        }
    }
}

//! A bounded sample of items, the same whatever the order in which they came.
//!
//! Items are ordered by a hash of their bytes, and the first ones in that order are kept, each with how often it came:
//! an item that is not among the first of a part is not among the first of the whole, so parts can be merged. Up to
//! the limit every item is kept. The number of items is exact however many there are.
//!
//! Unit: items. Error: none in the count; beyond the limit the items are a uniform sample of the distinct ones.
//! Source: bottom-k sampling, Cohen and Kaplan, *Summarizing data using bottom-k sketches*, 2007.
//!
//! ```
//! use limno_metrics::state::ItemSample;
//!
//! let mut sample = ItemSample::empty(2);
//! for item in ["a", "b", "a", "c"] {
//!     sample.observe(item.as_bytes(), 1);
//! }
//! assert_eq!((sample.total(), sample.items().count()), (4, 2));
//! ```

use std::collections::BTreeMap;
use std::hash::Hasher;

use twox_hash::XxHash3_64;

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::{Error, Result};

/// Items with their counts, at most so many different ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSample {
    limit: u32,
    total: u64,
    /// By hash, and by content where hashes are equal.
    kept: BTreeMap<(u64, Box<[u8]>), u64>,
    bytes: usize,
}

fn hash_of(item: &[u8]) -> u64 {
    let mut hash = XxHash3_64::with_seed(0);
    hash.write(item);
    hash.finish()
}

impl ItemSample {
    /// Nothing seen yet. At most `limit` different items are kept (at least one).
    #[must_use]
    pub fn empty(limit: u32) -> Self {
        Self { limit: limit.max(1), total: 0, kept: BTreeMap::new(), bytes: 0 }
    }

    /// Adds an item that came `times` times.
    pub fn observe(&mut self, item: &[u8], times: u64) {
        if times > 0 {
            self.total = self.total.saturating_add(times);
            self.keep(hash_of(item), item, times);
        }
    }

    fn keep(&mut self, hash: u64, item: &[u8], times: u64) {
        let is_full = self.kept.len() >= self.limit as usize;
        if is_full
            && self.kept.last_key_value().is_some_and(|((last, bytes), _)| (*last, bytes.as_ref()) < (hash, item))
        {
            return;
        }
        let count = self.kept.entry((hash, item.into())).or_insert_with(|| {
            self.bytes += item.len();
            0
        });
        *count = count.saturating_add(times);
        self.trim();
    }

    fn trim(&mut self) {
        while self.kept.len() > self.limit as usize {
            if let Some(((_, item), _)) = self.kept.pop_last() {
                self.bytes -= item.len();
            }
        }
    }

    /// The number of items seen.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether every item that was seen is kept.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.kept.values().fold(0, |sum: u64, count| sum.saturating_add(*count)) == self.total
    }

    /// The items kept, with their counts, in no order that means anything.
    pub fn items(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.kept.iter().map(|((_, item), count)| (item.as_ref(), *count))
    }
}

impl MergeableState for ItemSample {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.total = Error::sum(self.total, other.total)?;
        self.limit = self.limit.min(other.limit);
        self.trim();
        for ((hash, item), &count) in &other.kept {
            self.keep(*hash, item, count);
        }
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.limit));
        out.varint(self.total);
        out.varint(self.kept.len() as u64);
        for ((_, item), count) in &self.kept {
            out.slice(item);
            out.varint(*count);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let limit = u32::try_from(input.varint()?).ok().filter(|&limit| limit > 0);
        let limit = limit.ok_or_else(|| Error::invalid_data("the limit of a sample does not fit"))?;
        let mut sample = Self { total: input.varint()?, ..Self::empty(limit) };
        let count = input.count()?;
        let mut left = sample.total;
        for _ in 0..count {
            let item = input.slice()?;
            let times = input.varint()?;
            let rest = left.checked_sub(times).filter(|_| times > 0);
            left = rest.ok_or_else(|| Error::invalid_data("a sample holds more items than it counts"))?;
            let key = (hash_of(item), Box::from(item));
            if sample.kept.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Error::invalid_data("the items of a sample are out of order"));
            }
            sample.bytes += item.len();
            sample.kept.insert(key, times);
        }
        if sample.kept.len() > limit as usize || (sample.kept.len() < limit as usize && left > 0) {
            return Err(Error::invalid_data("a sample does not keep what it should"));
        }
        Ok(sample)
    }

    fn heap_size(&self) -> usize {
        self.bytes + self.kept.len() * size_of::<((u64, Box<[u8]>), u64)>()
    }
}

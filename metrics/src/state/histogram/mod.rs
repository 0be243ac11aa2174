//! The nested-key histogram: exact while few distinct values occur, then coarser by halves.
//!
//! A finite double becomes a 64-bit key of the same order. At *level* t the histogram counts keys `key >> t`, so
//! level t+1 is exactly level t with neighbouring pairs merged. The state keeps counts at the smallest level at
//! which at most `limit` distinct keys occur. Occupancy only grows as values arrive and only shrinks as the level
//! rises, so the final level, and with it the whole state, depends on the multiset of values alone: not on their
//! order, nor on how they were cut into pieces.
//!
//! At level 0 it is the exact multiset. Above it, the empirical distribution function is still exact at every
//! edge of a bucket, from which [`crate::drift`] derives certified intervals. A bucket also knows whether it holds
//! one value only (an *atom*), and then which: a value that many rows share is told apart from a crowd.
//!
//! Kin: OpenTelemetry's exponential histograms (perfect subsetting), UDDSketch (uniform collapse, arXiv
//! 2004.08604), HdrHistogram. Those collapse on a fixed schedule or from one end; here the data decide.
//!
//! Unit: the column's own. Error: of quantiles at most one bucket, a part of 2^(level − 52) of the value; of distances the
//! interval that comes with them; at level 0 none.
//!
//! ```
//! use limno_metrics::state::Histogram;
//!
//! let mut histogram = Histogram::empty(4096);
//! histogram.observe_slice(&[3.0, 1.0, 2.0, 2.0]);
//! let buckets = histogram.buckets();
//! assert_eq!((buckets.level(), buckets.as_slice().len()), (0, 3));
//! assert_eq!(buckets.quantiles(3), Some(vec![1.0, 2.0, 3.0]));
//! ```

mod buckets;
mod codec;
mod level;
mod sparse;
mod table;
mod window;

use std::borrow::Cow;

pub use buckets::{Bucket, Buckets};

use super::codec::{Reader, Writer};
use super::{ExactSums, MergeableState};
use crate::kernel::{Scan, Tier, scan};
use crate::key::{ZERO_KEY, key_of};
use crate::{Error, Result};
use table::Table;

/// Limits below this are raised to it: at level 60 no more than 16 keys exist, so every limit can be met.
const MIN_LIMIT: u32 = 16;
/// Up to this many values (and no more than four times the limit) the state is their list: nothing is cheaper than to
/// append, and the level is then found once, of many values.
const LIST: usize = 16_384 - OBSERVED;
/// Values between two looks at the limit while the state is exact.
pub(crate) const OBSERVED: usize = 2048;

/// Counts of keys at one level.
#[derive(Debug, Clone)]
pub struct Histogram {
    limit: u32,
    total: u64,
    /// The least and the greatest key.
    ends: (u64, u64),
    repr: Repr,
    /// Whether somebody wants the values that were there when the level left 0, and until they are taken, these.
    hands_over: bool,
    departed: Option<Departed>,
}

#[derive(Debug, Clone)]
enum Repr {
    /// The values themselves, in order of arrival, but zeros: those are counted apart, for many columns are full of them.
    List {
        values: Vec<f64>,
        zeros: u64,
    },
    Table(Box<Table>),
    /// The canonical form: what is read and merged, not observed.
    Sorted(Buckets),
}

/// The multiset of a histogram at its last exact moment.
#[derive(Debug, Clone)]
pub(crate) enum Departed {
    /// One by one, but zeros.
    Values { values: Vec<f64>, zeros: u64 },
    /// With counts.
    Buckets(Buckets),
}

impl Departed {
    /// The exact sums of the finite values.
    pub(crate) fn sums(&self) -> ExactSums {
        let mut sums = ExactSums::default();
        match self {
            Self::Values { values, zeros } => {
                sums.observe_slice(values);
                sums.observe_times(0.0, *zeros);
            }
            Self::Buckets(buckets) => {
                let mut single = Vec::new();
                for bucket in buckets.as_slice().iter().filter(|bucket| bucket.least().is_finite()) {
                    if bucket.count == 1 {
                        single.push(bucket.least());
                    } else {
                        sums.observe_times(bucket.least(), bucket.count);
                    }
                }
                sums.observe_slice(&single);
            }
        }
        sums
    }

    /// The values, each at least once.
    pub(crate) fn values(&self) -> Cow<'_, [f64]> {
        match self {
            Self::Values { values, zeros: 0 } => Cow::Borrowed(values),
            Self::Values { values, .. } => values.iter().copied().chain([0.0]).collect(),
            Self::Buckets(buckets) => buckets.as_slice().iter().map(Bucket::least).collect(),
        }
    }
}

impl Histogram {
    /// Nothing seen yet. At most `limit` buckets are kept (at least 16); `u32::MAX` keeps every distinct value.
    #[must_use]
    pub fn empty(limit: u32) -> Self {
        let limit = limit.max(MIN_LIMIT);
        let repr = Repr::List { values: Vec::new(), zeros: 0 };
        Self { limit, total: 0, ends: (u64::MAX, 0), repr, hands_over: false, departed: None }
    }

    /// From now on keeps the values that are there when the level leaves 0 for [`Self::take_departed`].
    pub(crate) fn handing_over(mut self) -> Self {
        self.hands_over = true;
        self
    }

    /// Adds one value; NaN is left out.
    #[inline]
    pub fn observe(&mut self, value: f64) {
        self.observe_slice(&[value]);
    }

    /// Adds values; NaN are left out.
    pub fn observe_slice(&mut self, values: &[f64]) {
        for chunk in values.chunks(OBSERVED) {
            let scan = scan(Tier::best(), chunk);
            if scan.nan == 0 {
                self.observe_scanned(chunk, &scan);
            } else {
                let numbers: Vec<f64> = chunk.iter().copied().filter(|value| !value.is_nan()).collect();
                self.observe_scanned(&numbers, &scan);
            }
        }
    }

    /// Adds values without NaN, which `scan` has seen. If the level leaves 0 with them, all of them are in what departs.
    pub(crate) fn observe_scanned(&mut self, values: &[f64], scan: &Scan) {
        if values.is_empty() {
            return;
        }
        self.unsort();
        self.total += values.len() as u64;
        self.ends = (self.ends.0.min(key_of(scan.least)), self.ends.1.max(key_of(scan.greatest)));
        if let Repr::Table(table) = &mut self.repr
            && scan.least.to_bits() == scan.greatest.to_bits()
        {
            // One value all along.
            table.add(key_of(scan.least), values.len() as u64, true);
            self.fit_loosely();
            return;
        }
        match &mut self.repr {
            Repr::List { values: list, zeros } => {
                *zeros += scan.zeros;
                if list.len() >= LIST / 4 && list.len() + values.len() > list.capacity() {
                    // At once to the full length, of which only what is used is ever touched.
                    list.reserve_exact((LIST + OBSERVED).saturating_sub(list.len()).max(values.len()));
                }
                if scan.zeros == 0 {
                    list.extend_from_slice(values);
                } else {
                    list.extend(values.iter().filter(|&&value| value != 0.0));
                }
                if list.len() >= LIST.min(4 * self.limit as usize) {
                    self.tabulate();
                }
            }
            Repr::Table(table) => {
                table.observe(values, scan.zeros);
                self.fit_loosely();
            }
            Repr::Sorted(_) => {}
        }
    }

    /// Adds `times` values that are all `value`, which must not be NaN.
    pub(crate) fn observe_times(&mut self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        self.unsort();
        if value != 0.0 && times < OBSERVED as u64 && matches!(self.repr, Repr::List { .. }) {
            return self.observe_slice(&vec![value; usize::try_from(times).unwrap_or(0)]);
        }
        let key = key_of(value);
        self.total += times;
        self.ends = (self.ends.0.min(key), self.ends.1.max(key));
        if let (true, Repr::List { zeros, .. }) = (value == 0.0, &mut self.repr) {
            *zeros += times;
            return;
        }
        self.start_table();
        if let Repr::Table(table) = &mut self.repr {
            table.add(key, times, true);
        }
        self.fit_loosely();
    }

    /// Adds zeros, and leaves the limit for later.
    fn add_zeros(&mut self, times: u64) {
        if times > 0 {
            self.unsort();
            self.total += times;
            self.ends = (self.ends.0.min(ZERO_KEY), self.ends.1.max(ZERO_KEY));
            match &mut self.repr {
                Repr::List { zeros, .. } => *zeros += times,
                Repr::Table(table) => table.add(ZERO_KEY, times, true),
                Repr::Sorted(_) => {}
            }
        }
    }

    /// Makes a table of the list, at the level that it needs.
    fn tabulate(&mut self) {
        let Repr::List { values, zeros } = &mut self.repr else { return };
        let (values, zeros) = (std::mem::take(values), *zeros);
        // The level of the values without zero, which may still lack the cell that zero takes.
        let level = level::level_of_values(&values, self.limit);
        self.repr = Repr::Table(Box::new(Table::of(level.unwrap_or(0), self.limit, &values, zeros)));
        if level.is_some() {
            self.departed = self.hands_over.then_some(Departed::Values { values, zeros });
        }
        self.fit();
    }

    /// Coarsens a table that is well above the limit: a quarter more cells are let in, so that coarsening is rare.
    fn fit_loosely(&mut self) {
        if let Repr::Table(table) = &self.repr
            && table.used() > self.limit.saturating_add(self.limit / 4)
        {
            self.fit();
        }
    }

    /// Raises the level of a table to the smallest at which at most `limit` cells are in use.
    fn fit(&mut self) {
        if let Repr::Table(table) = &self.repr
            && table.used() > self.limit
        {
            if let Some(folded) = table.folded(self.limit) {
                self.repr = Repr::Table(Box::new(folded));
                return;
            }
            let buckets = table.buckets(self.ends);
            let level = level::level_of_buckets(buckets.as_slice(), table.level(), self.limit);
            self.raise(buckets, level);
        }
    }

    /// Replaces the table by one of the same values, `buckets`, at `level`.
    fn raise(&mut self, buckets: Buckets, level: u8) {
        if level > buckets.level() {
            let coarser = buckets.clone().at_level(level);
            self.repr = Repr::Table(Box::new(Table::of_buckets(self.limit, &coarser)));
            if buckets.level() == 0 && self.hands_over {
                self.departed = Some(Departed::Buckets(buckets));
            }
        }
    }

    /// Brings the state to its canonical level, which updates may leave for later.
    pub(crate) fn settle(&mut self) {
        if self.is_settled() {
            return;
        }
        if let Repr::Sorted(buckets) = &mut self.repr {
            let buckets = std::mem::take(buckets);
            return self.become_sorted(buckets);
        }
        self.tabulate();
        self.fit();
    }

    /// Whether the state stands at its canonical level.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.repr {
            Repr::List { values, zeros } => values.len() + usize::from(*zeros > 0) <= self.limit as usize,
            Repr::Table(table) => table.used() <= self.limit,
            // A merge may have lowered the limit.
            Repr::Sorted(buckets) => buckets.as_slice().len() <= self.limit as usize,
        }
    }

    fn settled(&self) -> Cow<'_, Self> {
        if self.is_settled() {
            return Cow::Borrowed(self);
        }
        let mut settled = self.clone();
        settled.settle();
        Cow::Owned(settled)
    }

    /// The most buckets that are kept.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The number of values.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The least value; `None` if nothing was seen.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        (self.total > 0).then(|| crate::key::value_of(self.ends.0))
    }

    /// The greatest value; `None` if nothing was seen.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        (self.total > 0).then(|| crate::key::value_of(self.ends.1))
    }

    /// Whether the state is the exact multiset.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match &self.settled().repr {
            Repr::List { .. } => true,
            Repr::Table(table) => table.level() == 0,
            Repr::Sorted(buckets) => buckets.level() == 0,
        }
    }

    /// The multiset at the last exact moment, once: whoever keeps what a coarse histogram cannot tell takes it over.
    /// Only the settled state has left level 0 for good.
    pub(crate) fn take_departed(&mut self) -> Option<Departed> {
        self.departed.take()
    }

    /// The canonical form: the level and the buckets in order.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        self.settled().present_buckets()
    }

    /// The buckets at the level at which they stand, which for an exact state that has not been settled is 0, whatever
    /// the limit.
    pub(crate) fn present_buckets(&self) -> Buckets {
        match &self.repr {
            Repr::List { values, zeros } => {
                let mut atoms: Vec<Bucket> = values.iter().map(|&value| Bucket::atom(key_of(value), 1, 0)).collect();
                atoms.extend((*zeros > 0).then(|| Bucket::atom(ZERO_KEY, *zeros, 0)));
                atoms.sort_unstable_by_key(Bucket::key);
                Buckets::of(0, atoms, self.ends)
            }
            Repr::Table(table) => table.buckets(self.ends),
            Repr::Sorted(buckets) => buckets.clone(),
        }
    }

    /// Brings the state to its canonical form, and keeps it in that: for one that will be read, or merged with others.
    pub(crate) fn sort(&mut self) {
        self.settle();
        if !matches!(self.repr, Repr::Sorted(_)) {
            self.repr = Repr::Sorted(self.present_buckets());
        }
    }

    /// The canonical form of a state that has been sorted.
    pub(crate) const fn sorted(&self) -> Option<&Buckets> {
        match &self.repr {
            Repr::Sorted(buckets) => Some(buckets),
            Repr::List { .. } | Repr::Table(_) => None,
        }
    }

    /// Takes the canonical form into one that values can be added to.
    fn unsort(&mut self) {
        let Repr::Sorted(buckets) = &self.repr else { return };
        let zeros = buckets.as_slice().iter().find(|bucket| bucket.key() == ZERO_KEY).map_or(0, |bucket| bucket.count);
        let is_short = buckets.level() == 0 && buckets.total() - zeros < u64::from(self.limit).min(LIST as u64 / 4);
        self.repr = if is_short {
            let mut values = Vec::new();
            for bucket in buckets.as_slice().iter().filter(|bucket| bucket.key() != ZERO_KEY) {
                values.resize(values.len() + usize::try_from(bucket.count).unwrap_or(0), bucket.least());
            }
            Repr::List { values, zeros }
        } else {
            Repr::Table(Box::new(Table::of_buckets(self.limit, buckets)))
        };
    }

    /// Becomes these buckets, at the level that they need.
    fn become_sorted(&mut self, buckets: Buckets) {
        (self.total, self.ends) = (buckets.total(), buckets.ends());
        if buckets.as_slice().len() <= self.limit as usize {
            self.repr = Repr::Sorted(buckets);
            return;
        }
        let level = level::level_of_buckets(buckets.as_slice(), buckets.level(), self.limit);
        if buckets.level() == 0 && self.hands_over {
            self.departed = Some(Departed::Buckets(buckets.clone()));
        }
        self.repr = Repr::Sorted(buckets.at_level(level));
    }

    /// Merges with a state that is sorted, without a table of either.
    fn merge_sorted(&mut self, theirs: &Buckets) {
        if self.total == 0 {
            return self.become_sorted(theirs.clone());
        }
        let ours = match std::mem::replace(&mut self.repr, Repr::List { values: Vec::new(), zeros: 0 }) {
            Repr::Sorted(ours) => ours,
            other => {
                self.repr = other;
                self.present_buckets()
            }
        };
        let merged = ours.merged(theirs);
        // As of a table that is raised: what was exact until now departs.
        if ours.level() == 0 && theirs.level() > 0 && self.hands_over {
            self.departed = Some(Departed::Buckets(ours));
        }
        self.become_sorted(merged);
    }

    /// Adds buckets of any level.
    fn add_buckets(&mut self, buckets: &Buckets) {
        let ends = buckets.ends();
        self.start_table();
        if let Repr::Table(table) = &self.repr
            && buckets.level() > table.level()
        {
            let ours = table.buckets(self.ends);
            self.raise(ours, buckets.level());
        }
        self.ends = (self.ends.0.min(ends.0), self.ends.1.max(ends.1));
        self.total += buckets.total();
        if let Repr::Table(table) = &mut self.repr {
            for bucket in buckets.as_slice() {
                table.add(bucket.key(), bucket.count, bucket.is_atom());
            }
        }
        self.fit_loosely();
    }

    /// Makes an exact table of the list, whatever its length.
    fn start_table(&mut self) {
        self.unsort();
        if let Repr::List { values, zeros } = &self.repr {
            self.repr = Repr::Table(Box::new(Table::of(0, self.limit, values, *zeros)));
        }
    }
}

impl MergeableState for Histogram {
    /// Brings both to the coarser level, adds, and coarsens while over the limit (the smaller of the two).
    fn merge(&mut self, other: &Self) -> Result<()> {
        // No bucket holds more than the total.
        Error::sum(self.total, other.total)?;
        self.limit = self.limit.min(other.limit);
        match &other.repr {
            Repr::List { values, zeros } => {
                // Without a look at the limit in between, so that what departs is all of both or nothing of it.
                self.add_zeros(*zeros);
                self.observe_scanned(values, &scan(Tier::best(), values));
                self.fit_loosely();
            }
            Repr::Table(table) => {
                let theirs = table.buckets(other.ends);
                if self.total == 0 {
                    (self.total, self.ends, self.repr) = (other.total, other.ends, other.repr.clone());
                } else {
                    self.add_buckets(&theirs);
                }
            }
            Repr::Sorted(theirs) => match &self.repr {
                Repr::Table(_) if self.total > 0 => self.add_buckets(theirs),
                // Of much against little, and that again and again, a table is not copied.
                Repr::Sorted(ours) if ours.as_slice().len() > LIST.max(4 * theirs.as_slice().len()) => {
                    self.add_buckets(theirs);
                }
                _ => self.merge_sorted(theirs),
            },
        }
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        match self.sorted().filter(|_| self.is_settled()) {
            Some(buckets) => codec::encode(self.limit, buckets, out),
            None => codec::encode(self.limit, &self.buckets(), out),
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let (limit, buckets) = codec::decode(input)?;
        let mut histogram = Self::empty(limit);
        histogram.total = buckets.total();
        histogram.ends = buckets.ends();
        histogram.repr = Repr::Sorted(buckets);
        Ok(histogram)
    }

    fn heap_size(&self) -> usize {
        match &self.repr {
            Repr::List { values, .. } => values.capacity() * size_of::<f64>(),
            Repr::Table(table) => size_of::<Table>() + table.heap_size(),
            Repr::Sorted(buckets) => buckets.heap_size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(histogram: &Histogram) -> Vec<u8> {
        let mut out = Writer::default();
        histogram.encode(&mut out);
        out.finish()
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

    /// What was decoded is merged in order, what was observed by tables and lists: it comes to the same.
    #[test]
    fn sorted_states_merge_as_others_do() {
        let numbers = |n: i32, scale: f64| (0..n).map(move |i| (f64::from(i) * 0.7).sin() * scale).collect::<Vec<_>>();
        let counts = |n: i32, m: i32| (0..n).map(move |i| f64::from(i % m) - 3.0).collect::<Vec<_>>();
        let sides = [vec![], counts(9, 3), counts(5000, 12), numbers(30, 1.0), numbers(9000, 1e3), numbers(2000, 1e-9)];
        let decoded = |values: &[f64], limit| {
            let payload = super::super::codec::open(&encoded(&of(values.iter().copied(), limit))).unwrap();
            Histogram::decode(&mut Reader::new(&payload)).unwrap()
        };
        for (left, right) in sides.iter().flat_map(|left| sides.iter().map(move |right| (left, right))) {
            for (limit, other_limit) in [(16, 16), (64, 4096), (4096, 64)] {
                let all = of(left.iter().chain(right).copied(), limit.min(other_limit));
                let mut both = decoded(left, limit);
                both.merge(&decoded(right, other_limit)).unwrap();
                assert_eq!(encoded(&both), encoded(&all));
                let mut both = of(left.iter().copied(), limit);
                both.merge(&decoded(right, other_limit)).unwrap();
                assert_eq!(encoded(&both), encoded(&all));
                let mut lowered = decoded(left, limit);
                lowered.merge(&Histogram::empty(other_limit)).unwrap();
                assert_eq!(encoded(&lowered), encoded(&of(left.iter().copied(), limit.min(other_limit))));
                let mut both = decoded(left, limit);
                both.observe_slice(right);
                assert_eq!(encoded(&both), encoded(&of(left.iter().chain(right).copied(), limit)));
            }
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

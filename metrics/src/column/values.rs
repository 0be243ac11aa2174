//! The states of the values of one column: numbers and times, or categories.

use super::ColumnOptions;
use crate::key::key_of;
use crate::state::codec::{Reader, Writer};
use crate::state::distinct::spread;
use crate::state::{Categories, Counts, Distinct, ExactSums, Extrema, Histogram, MergeableState, SumScratch};
use crate::{Error, Result};

/// Integers beyond this are not all doubles, so their doubles do not tell them apart.
pub(crate) const EXACT_INTEGERS: u64 = 1 << 53;
/// Decimal fractions of more digits than fifteen may share a double.
pub(crate) const EXACT_FRACTIONS: u64 = 1_000_000_000_000_000;

/// The states of a numeric or temporal column.
#[derive(Debug, Clone)]
pub struct NumericColumn {
    pub(crate) extrema: Extrema,
    pub(crate) sums: ExactSums,
    pub(crate) histogram: Histogram,
    exact_distinct: u32,
    /// Integers occurred that doubles do not tell apart.
    wide: bool,
    /// Present exactly if the histogram alone cannot tell how many distinct values there are: it left level 0, or
    /// `wide` is set. It has then seen every value.
    distinct: Option<Distinct>,
}

/// Reusable space for [`NumericColumn::observe_values`].
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    sums: SumScratch,
    keys: Vec<u64>,
}

impl NumericColumn {
    pub(super) fn empty(options: &ColumnOptions) -> Self {
        Self {
            extrema: Extrema::default(),
            sums: ExactSums::default(),
            histogram: Histogram::empty(options.max_buckets),
            exact_distinct: options.exact_distinct,
            wide: false,
            distinct: None,
        }
    }

    /// Adds non-null values.
    pub(crate) fn observe_values(&mut self, values: &[f64], counts: &mut Counts, scratch: &mut Scratch) {
        self.observe_doubles(values, counts, scratch);
        self.open_distinct();
        self.observe_distinct(scratch.keys.iter().copied());
    }

    fn observe_doubles(&mut self, values: &[f64], counts: &mut Counts, scratch: &mut Scratch) {
        scratch.keys.clear();
        let (mut zeros, mut infinities) = (0u64, 0u64);
        for &value in values {
            if value.is_nan() {
                continue;
            }
            zeros += u64::from(value == 0.0);
            infinities += u64::from(value.is_infinite());
            let key = key_of(value);
            self.extrema.observe_key(key);
            scratch.keys.push(key);
        }
        counts.zeros += zeros;
        counts.infinities += infinities;
        counts.nan += (values.len() - scratch.keys.len()) as u64;
        self.sums.observe_slice(values, &mut scratch.sums);
        self.histogram.observe_keys(&scratch.keys);
    }

    /// Opens the distinct counter if the histogram has just left level 0.
    fn open_distinct(&mut self) {
        if let Some(departed) = self.histogram.take_departed() {
            let limit = self.exact_distinct;
            let distinct = self.distinct.get_or_insert_with(|| Distinct::empty(limit));
            if !self.wide {
                departed.into_iter().for_each(|key| distinct.observe(key));
            }
        }
    }

    fn observe_distinct(&mut self, keys: impl Iterator<Item = u64>) {
        if let Some(distinct) = &mut self.distinct {
            keys.for_each(|key| distinct.observe(key));
        }
    }

    /// Adds non-null numbers of which some may share their doubles with others: `raw` are all of them as integers,
    /// `values` their doubles, and `is_wide` tells which integers their doubles do not identify.
    pub(crate) fn observe_wide(
        &mut self,
        raw: &[i128],
        is_wide: impl Fn(i128) -> bool,
        values: &[f64],
        counts: &mut Counts,
        scratch: &mut Scratch,
    ) {
        // What the state becomes must depend on its own values, not on those of its neighbours in the batch.
        if !raw.iter().any(|&raw| is_wide(raw)) && self.distinct.is_none() {
            self.observe_values(values, counts, scratch);
            return;
        }
        // Open the counter first: what the histogram holds so far are values that doubles do tell apart.
        self.wide |= raw.iter().any(|&raw| is_wide(raw));
        let mut distinct = self.distinct.take().unwrap_or_else(|| {
            let mut distinct = Distinct::empty(self.exact_distinct);
            self.histogram.distinct_keys().for_each(|key| distinct.observe(key));
            distinct
        });
        for (&raw, &value) in raw.iter().zip(values) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fingerprint of the bits")]
            let bits = (raw as u64) ^ spread((raw >> 64) as u64 ^ 0x5bd1_e995);
            distinct.observe(if is_wide(raw) { spread(bits) } else { key_of(value) });
        }
        self.distinct = Some(distinct);
        self.observe_doubles(values, counts, scratch);
        self.open_distinct();
    }

    /// Number of distinct values, and whether it is exact.
    #[must_use]
    pub fn distinct(&self) -> (u64, bool) {
        match &self.distinct {
            Some(distinct) => (distinct.count(), distinct.is_exact()),
            None => (self.histogram.buckets().as_slice().len() as u64, true),
        }
    }
}

impl MergeableState for NumericColumn {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.extrema.merge(&other.extrema)?;
        self.sums.merge(&other.sums)?;
        self.exact_distinct = self.exact_distinct.min(other.exact_distinct);
        if other.wide && self.distinct.is_none() {
            let mut distinct = Distinct::empty(self.exact_distinct);
            self.histogram.distinct_keys().for_each(|key| distinct.observe(key));
            self.distinct = Some(distinct);
        }
        self.wide |= other.wide;
        self.histogram.merge(&other.histogram)?;
        self.open_distinct();
        match (&mut self.distinct, &other.distinct) {
            (Some(ours), Some(theirs)) => ours.merge(theirs)?,
            (Some(_), None) => self.observe_distinct(other.histogram.distinct_keys()),
            (None, _) => {}
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.limit_to(self.exact_distinct);
        }
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        self.extrema.encode(out);
        self.sums.encode(out);
        self.histogram.encode(out);
        out.varint(u64::from(self.exact_distinct));
        out.byte(u8::from(self.wide) << 1 | u8::from(self.distinct.is_some()));
        if let Some(distinct) = &self.distinct {
            distinct.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let extrema = Extrema::decode(input)?;
        let sums = ExactSums::decode(input)?;
        let histogram = Histogram::decode(input)?;
        let exact_distinct =
            u32::try_from(input.varint()?).map_err(|_| Error::invalid_data("a distinct limit does not fit"))?;
        let flags = input.byte()?;
        let distinct = if flags & 1 == 1 { Some(Distinct::decode(input)?) } else { None };
        let wide = flags & 2 == 2;
        if flags > 3 || distinct.is_some() != (wide || !histogram.is_exact()) {
            return Err(Error::invalid_data("a state's distinct counter is out of place"));
        }
        Ok(Self { extrema, sums, histogram, exact_distinct, wide, distinct })
    }

    fn heap_size(&self) -> usize {
        self.sums.heap_size() + self.histogram.heap_size() + self.distinct.as_ref().map_or(0, Distinct::heap_size)
    }
}

/// The states of a categorical column.
#[derive(Debug, Clone)]
pub struct CategoryColumn {
    pub(crate) categories: Categories,
}

impl CategoryColumn {
    pub(super) fn empty(options: &ColumnOptions) -> Self {
        Self { categories: Categories::empty(options.max_buckets, options.exact_distinct) }
    }
}

impl MergeableState for CategoryColumn {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.categories.merge(&other.categories)
    }

    fn encode(&self, out: &mut Writer) {
        self.categories.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { categories: Categories::decode(input)? })
    }

    fn heap_size(&self) -> usize {
        self.categories.heap_size()
    }
}

//! The states of the values of one column: numbers and times, or categories.

use arrow::buffer::NullBuffer;

use super::ColumnOptions;
use crate::kernel::spread;
use crate::key::key_of;
use crate::state::codec::{Reader, Writer};
use crate::state::histogram::Departed;
use crate::state::numbers::for_valid;
use crate::state::{Categories, Counts, Distinct, ExactSums, Histogram, MergeableState, Numbers};
use crate::{Error, Result};

/// Integers beyond this are not all doubles, so their doubles do not tell them apart.
pub(crate) const EXACT_INTEGERS: u64 = 1 << 53;
/// Decimal fractions of more digits than fifteen may share a double.
pub(crate) const EXACT_FRACTIONS: u64 = 1_000_000_000_000_000;

/// The states of a numeric or temporal column.
#[derive(Debug, Clone)]
pub struct NumericColumn {
    numbers: Numbers,
    exact_distinct: u32,
    /// Integers occurred that doubles do not tell apart.
    wide: bool,
    /// Present exactly if the histogram alone cannot tell how many distinct values there are: it left level 0, or
    /// `wide` is set. It has then seen every value.
    distinct: Option<Distinct>,
}

impl NumericColumn {
    pub(super) fn empty(options: &ColumnOptions) -> Self {
        Self {
            numbers: Numbers::empty(options.max_buckets),
            exact_distinct: options.exact_distinct,
            wide: false,
            distinct: None,
        }
    }

    /// The histogram of the values.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram {
        self.numbers.histogram()
    }

    /// The exact sums of the finite values.
    #[must_use]
    pub fn sums(&self) -> ExactSums {
        self.numbers.sums()
    }

    /// Adds non-null values, and to `counts` the special ones among them.
    pub(crate) fn observe_values(&mut self, values: &[f64], counts: &mut Counts) {
        let limits = self.limits();
        let distinct = &mut self.distinct;
        self.numbers.observe_chunks(values, counts, |chunk, departed| match (distinct.as_mut(), departed) {
            (Some(distinct), _) => distinct.observe_numbers(chunk),
            // What departs holds the chunk already.
            (None, Some(departed)) => *distinct = Some(opened(departed, limits)),
            (None, None) => {}
        });
    }

    /// Adds `times` values that are all `value`, and to `counts` what is special about them.
    pub(crate) fn observe_times(&mut self, value: f64, times: u64, counts: &mut Counts) {
        let departed = self.numbers.observe_times(value, times, counts);
        match &mut self.distinct {
            Some(distinct) if !value.is_nan() => distinct.observe_numbers(&[value]),
            Some(_) => {}
            None => self.open_departed(departed.as_ref()),
        }
    }

    /// Adds the values that are not null, and to `counts` the special ones among them.
    pub(crate) fn observe_valid(&mut self, values: &[f64], validity: Option<&NullBuffer>, counts: &mut Counts) {
        for_valid(values, validity, |run| self.observe_values(run, counts));
    }

    /// Adds non-null numbers of which some may share their doubles with others: `raw` are all of them as integers,
    /// `values` their doubles, and `is_wide` tells which integers their doubles do not identify.
    pub(crate) fn observe_wide(
        &mut self,
        raw: &[i128],
        is_wide: impl Fn(i128) -> bool,
        values: &[f64],
        counts: &mut Counts,
    ) {
        // What the state becomes must depend on its own values, not on those of its neighbours in the batch.
        if !raw.iter().any(|&raw| is_wide(raw)) && self.distinct.is_none() {
            self.observe_values(values, counts);
            return;
        }
        // Open the counter first: what the histogram holds so far are values that doubles do tell apart.
        self.wide |= raw.iter().any(|&raw| is_wide(raw));
        self.open_distinct();
        if let Some(distinct) = &mut self.distinct {
            for (&raw, &value) in raw.iter().zip(values) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a fingerprint of the bits"
                )]
                let bits = (raw as u64) ^ spread((raw >> 64) as u64 ^ 0x5bd1_e995);
                distinct.observe(if is_wide(raw) { spread(bits) } else { key_of(value) });
            }
        }
        self.numbers.observe_chunks(values, counts, |_, _| ());
    }

    /// Opens the distinct counter with the values of the histogram, which must be exact.
    fn open_distinct(&mut self) {
        if self.distinct.is_none() {
            let mut distinct = Distinct::empty(self.exact_distinct);
            distinct.observe_numbers(&Departed::Buckets(self.numbers.histogram().present_buckets()).values());
            self.distinct = Some(distinct);
        }
    }

    /// Of buckets and of distinct values.
    const fn limits(&self) -> (u32, u32) {
        (self.histogram().limit(), self.exact_distinct)
    }

    fn open_departed(&mut self, departed: Option<&Departed>) {
        if let (None, Some(departed)) = (&self.distinct, departed) {
            self.distinct = Some(opened(departed, self.limits()));
        }
    }

    /// Brings the state to its canonical form, which updates may leave for later.
    pub(crate) fn settle(&mut self) {
        let departed = self.numbers.settle();
        self.open_departed(departed.as_ref());
    }

    /// The same, and keeps the histogram in it: for a state that will only be read.
    pub(crate) fn sort(&mut self) {
        self.settle();
        self.numbers.sort();
    }

    /// Number of distinct values, and whether it is exact.
    #[must_use]
    pub fn distinct(&self) -> (u64, bool) {
        match &self.distinct {
            Some(distinct) => (distinct.count(), distinct.is_exact()),
            None if self.histogram().is_settled() => (self.histogram().buckets().as_slice().len() as u64, true),
            None => {
                let mut settled = self.clone();
                settled.settle();
                settled.distinct()
            }
        }
    }
}

/// A distinct counter of what has departed from a histogram of so many buckets.
fn opened(departed: &Departed, (max_buckets, exact_distinct): (u32, u32)) -> Distinct {
    // A histogram leaves level 0 when it has more distinct values than buckets.
    let is_beyond = exact_distinct <= max_buckets;
    let mut distinct = if is_beyond { Distinct::beyond(exact_distinct) } else { Distinct::empty(exact_distinct) };
    distinct.observe_numbers(&departed.values());
    distinct
}

impl MergeableState for NumericColumn {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.exact_distinct = self.exact_distinct.min(other.exact_distinct);
        if other.wide {
            self.open_distinct();
        }
        self.wide |= other.wide;
        let departed = self.numbers.merge_with(&other.numbers)?;
        self.open_departed(departed.as_ref());
        if let Some(ours) = &mut self.distinct {
            match &other.distinct {
                Some(theirs) => ours.merge(theirs)?,
                None => {
                    let theirs = Departed::Buckets(other.histogram().present_buckets());
                    ours.observe_numbers(&theirs.values());
                }
            }
            ours.limit_to(self.exact_distinct);
        }
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        if !self.histogram().is_settled() {
            let mut settled = self.clone();
            settled.settle();
            return settled.encode(out);
        }
        self.numbers.encode(out);
        out.varint(u64::from(self.exact_distinct));
        out.byte(u8::from(self.wide) << 1 | u8::from(self.distinct.is_some()));
        if let Some(distinct) = &self.distinct {
            distinct.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let numbers = Numbers::decode(input)?;
        let exact_distinct =
            u32::try_from(input.varint()?).map_err(|_| Error::invalid_data("a distinct limit does not fit"))?;
        let flags = input.byte()?;
        let distinct = if flags & 1 == 1 { Some(Distinct::decode(input)?) } else { None };
        let wide = flags & 2 == 2;
        if flags > 3 || distinct.is_some() != (wide || numbers.is_open()) {
            return Err(Error::invalid_data("a state's distinct counter is out of place"));
        }
        Ok(Self { numbers, exact_distinct, wide, distinct })
    }

    fn heap_size(&self) -> usize {
        self.numbers.heap_size() + self.distinct.as_ref().map_or(0, Distinct::heap_size)
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

//! The product of states that a column of a given kind needs, and its one encoding.

pub(crate) mod arrays;
mod groups;
mod kind;
mod lengths;
pub(crate) mod sorter;
mod strings;
mod values;

pub use groups::ColumnGroups;
pub use kind::{ColumnKind, ColumnOptions, spark_type_name};
#[cfg(feature = "polars")]
pub(crate) use values::EXACT_INTEGERS;
pub use values::{CategoryColumn, NumericColumn};

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;

use crate::state::codec::{self, Reader, Writer};
use crate::state::{Counts, Lengths, MergeableState};
use crate::{Error, Result};

/// The state of one column over one set of rows.
#[derive(Debug, Clone)]
pub struct ColumnState {
    pub(crate) counts: Counts,
    pub(crate) values: Values,
}

/// What is known of the values, by kind.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    Numeric(Box<NumericColumn>),
    Category(Box<CategoryColumn>),
    Temporal(Box<NumericColumn>),
    /// Presence only.
    Opaque,
    Length(Box<Lengths>),
}

impl ColumnState {
    /// Nothing seen yet.
    #[must_use]
    pub fn empty(options: &ColumnOptions) -> Self {
        let values = match options.kind {
            ColumnKind::Numeric => Values::Numeric(Box::new(NumericColumn::empty(options))),
            ColumnKind::Temporal => Values::Temporal(Box::new(NumericColumn::empty(options))),
            ColumnKind::Categorical => Values::Category(Box::new(CategoryColumn::empty(options))),
            ColumnKind::Opaque => Values::Opaque,
            ColumnKind::Length => Values::Length(Box::default()),
        };
        Self { counts: Counts::default(), values }
    }

    /// The kind of the column.
    #[must_use]
    pub const fn kind(&self) -> ColumnKind {
        match self.values {
            Values::Numeric(_) => ColumnKind::Numeric,
            Values::Category(_) => ColumnKind::Categorical,
            Values::Temporal(_) => ColumnKind::Temporal,
            Values::Opaque => ColumnKind::Opaque,
            Values::Length(_) => ColumnKind::Length,
        }
    }

    /// The counts of the column.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Adds all values of `array`.
    ///
    /// # Errors
    /// When the array's type does not fit the column's kind.
    pub fn observe(&mut self, array: &dyn Array) -> Result<()> {
        let mut groups = ColumnGroups::around(self);
        let result = groups.observe_all(array, 0);
        // The state comes back whatever happened: values that are refused change nothing.
        if let Some(state) = groups.into_states().pop() {
            *self = state;
        }
        result
    }

    /// The state of numbers, with the default limits.
    ///
    /// ```
    /// use limno_metrics::ColumnState;
    ///
    /// let profile = ColumnState::of_numbers(&[3.0, 1.0, f64::NAN]).freeze().profile();
    /// assert_eq!((profile.avg, profile.max, profile.num_nan), (Some(2.0), Some(3.0), Some(1)));
    /// ```
    #[must_use]
    pub fn of_numbers(values: &[f64]) -> Self {
        let mut column = NumericColumn::empty(&ColumnOptions::new(ColumnKind::Numeric));
        let mut counts = Counts { rows: values.len() as u64, ..Counts::default() };
        column.observe_values(values, &mut counts);
        Self { counts, values: Values::Numeric(Box::new(column)) }
    }

    /// The state of categories, with the default limits.
    ///
    /// ```
    /// use limno_metrics::ColumnState;
    ///
    /// let profile = ColumnState::of_categories(["red", "blue", "red"]).freeze().profile();
    /// assert_eq!(profile.frequent_items.unwrap()[0], ("red".to_owned(), 2));
    /// ```
    #[must_use]
    pub fn of_categories<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut column = CategoryColumn::empty(&ColumnOptions::new(ColumnKind::Categorical));
        let mut counts = Counts::default();
        for value in values {
            counts.rows += 1;
            column.categories.observe(value.as_bytes(), Some(value.chars().count() as u64), 1);
        }
        Self { counts, values: Values::Category(Box::new(column)) }
    }

    /// Adds numbers without building an array: those that `validity` marks as null count as such.
    ///
    /// # Errors
    /// When the column is not numeric, or `validity` has another length.
    pub fn observe_numbers(&mut self, values: &[f64], validity: Option<&NullBuffer>) -> Result<()> {
        if let Some(validity) = validity.filter(|validity| validity.len() != values.len()) {
            return Err(Error::invalid_argument(format!(
                "{} values, but {} marks of nulls",
                values.len(),
                validity.len()
            )));
        }
        let Values::Numeric(column) = &mut self.values else {
            return Err(Error::invalid_argument(format!("numbers do not fit a {} column", self.kind())));
        };
        self.counts.rows += values.len() as u64;
        self.counts.nulls += validity.map_or(0, |validity| validity.null_count() as u64);
        column.observe_valid(values, validity, &mut self.counts);
        Ok(())
    }

    /// Builds the state of one whole array.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn of(array: &ArrayRef, options: &ColumnOptions) -> Result<Self> {
        let mut state = Self::empty(options);
        state.observe(array)?;
        Ok(state)
    }

    /// The encoding: bit for bit the same for the same multiset of values, however it was cut up.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.byte(self.kind().code());
        self.counts.encode(&mut out);
        match &self.values {
            Values::Numeric(column) | Values::Temporal(column) => column.encode(&mut out),
            Values::Category(column) => column.encode(&mut out),
            Values::Length(lengths) => lengths.encode(&mut out),
            Values::Opaque => {}
        }
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`InvalidData`](crate::ErrorKind::InvalidData) on any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::of_payload(&codec::open(bytes)?)
    }

    /// Reads what is in the frame.
    pub(crate) fn of_payload(payload: &[u8]) -> Result<Self> {
        let mut input = Reader::new(payload);
        let kind = ColumnKind::from_code(input.byte()?)?;
        let counts = Counts::decode(&mut input)?;
        let values = match kind {
            ColumnKind::Numeric => Values::Numeric(Box::new(NumericColumn::decode(&mut input)?)),
            ColumnKind::Temporal => Values::Temporal(Box::new(NumericColumn::decode(&mut input)?)),
            ColumnKind::Categorical => Values::Category(Box::new(CategoryColumn::decode(&mut input)?)),
            ColumnKind::Opaque => Values::Opaque,
            ColumnKind::Length => Values::Length(Box::new(Lengths::decode(&mut input)?)),
        };
        input.end()?;
        let held = match &values {
            Values::Numeric(column) | Values::Temporal(column) => column.histogram().total(),
            Values::Category(column) => column.categories.total(),
            Values::Length(lengths) => lengths.count(),
            Values::Opaque => 0,
        };
        // With that, rows are the first count to leave 64 bits when states are merged.
        if held > counts.values() {
            return Err(Error::invalid_data(format!("a state holds {held} values, but counts {}", counts.values())));
        }
        Ok(Self { counts, values })
    }

    /// Adds the values that `other` summarises. A merge that fails changes nothing.
    ///
    /// # Errors
    /// [`Incompatible`](crate::ErrorKind::Incompatible) when the kinds differ, and
    /// [`InvalidData`](crate::ErrorKind::InvalidData) when there are more rows than 64 bits count.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut counts = self.counts;
        counts.merge(&other.counts)?;
        match (&mut self.values, &other.values) {
            (Values::Numeric(ours), Values::Numeric(theirs)) | (Values::Temporal(ours), Values::Temporal(theirs)) => {
                ours.merge(theirs)?;
            }
            (Values::Category(ours), Values::Category(theirs)) => ours.merge(theirs)?,
            (Values::Opaque, Values::Opaque) => {}
            (Values::Length(ours), Values::Length(theirs)) => ours.merge(theirs)?,
            _ => {
                return Err(Error::incompatible(format!(
                    "a {} column cannot be merged with a {} one",
                    self.kind(),
                    other.kind()
                )));
            }
        }
        self.counts = counts;
        Ok(())
    }

    /// Bytes held on the heap: what its allocations have asked for.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        match &self.values {
            Values::Numeric(column) | Values::Temporal(column) => size_of::<NumericColumn>() + column.heap_size(),
            Values::Category(column) => size_of::<CategoryColumn>() + column.heap_size(),
            Values::Length(_) => size_of::<Lengths>(),
            Values::Opaque => 0,
        }
    }
}

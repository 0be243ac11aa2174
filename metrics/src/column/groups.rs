//! Many states of one column at once: the rows of a batch go to the states of their groups.
//!
//! Within a batch the rows are first brought together by group (a counting sort over the groups that occur), so
//! that every state sees one contiguous slice and its tables stay in the cache. Strings are interned once for all
//! groups and counted as numbers; when the interner has grown too large the counts move into the states.

use arrow::array::{Array, AsArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};

use super::arrays::{Runs, cast_to, unfit, wide_integers};
use super::lengths::lengths_of;
use super::sorter::Sorted;
use super::strings::Strings;
use super::values::EXACT_INTEGERS;
use super::{ColumnKind, ColumnOptions, ColumnState, Values};
use crate::{Error, Result};

/// The states of one column for groups `0..len`.
#[derive(Debug)]
pub struct ColumnGroups {
    options: ColumnOptions,
    states: Vec<ColumnState>,
    strings: Strings,
}

impl ColumnGroups {
    /// No groups yet.
    #[must_use]
    pub fn new(options: ColumnOptions) -> Self {
        Self { options, states: Vec::new(), strings: Strings::default() }
    }

    /// One group with the state taken out of `state`.
    pub(super) fn around(state: &mut ColumnState) -> Self {
        let mut groups = Self::new(ColumnOptions::new(state.kind()));
        groups.states.push(std::mem::replace(state, ColumnState::empty(&ColumnOptions::new(ColumnKind::Opaque))));
        groups.strings.resize(1);
        groups
    }

    /// The number of groups.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there are no groups.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Makes sure that the groups `0..len` exist.
    pub fn resize(&mut self, len: usize) {
        if len > self.states.len() {
            self.states.resize_with(len, || ColumnState::empty(&self.options));
            self.strings.resize(len);
        }
    }

    /// Adds row `i` of `array` to group `groups[i]`; rows of group `usize::MAX` are left out. Groups must exist.
    ///
    /// # Errors
    /// When the array's type does not fit the kind, the lengths differ, or a group does not exist.
    pub fn observe(&mut self, array: &dyn Array, groups: &[usize]) -> Result<()> {
        if array.len() != groups.len() {
            return Err(Error::invalid_argument(format!("{} values for {} groups", array.len(), groups.len())));
        }
        let sorted = Sorted::of(groups, self.states.len()).ok_or_else(no_such_group)?;
        self.observe_sorted(array, &sorted)
    }

    /// Adds all rows of `array` to one group, which must exist.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn observe_all(&mut self, array: &dyn Array, group: usize) -> Result<()> {
        self.observe_sorted(array, &Sorted::all(group, array.len()))
    }

    fn observe_sorted(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        if sorted.greatest().is_some_and(|group| group >= self.states.len()) {
            return Err(no_such_group());
        }
        let Some(kind) = self.states.first().map(ColumnState::kind) else { return Ok(()) };
        let natural = ColumnKind::of(array.data_type());
        match kind {
            ColumnKind::Numeric if natural != kind => return Err(unfit(array, "a number")),
            ColumnKind::Temporal if natural != kind => return Err(unfit(array, "a time")),
            ColumnKind::Length if natural != kind => return Err(unfit(array, "bytes, a list or a map")),
            ColumnKind::Categorical if !ColumnKind::can_be_categorical(array.data_type()) => {
                return Err(unfit(array, "a category"));
            }
            _ => {}
        }
        // Dictionary and null arrays have logical nulls that the physical bitmap does not show.
        let nulls = array.logical_nulls();
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        if let Some(group) = sorted.only() {
            let counts = &mut self.states[group].counts;
            counts.rows += array.len() as u64;
            counts.nulls += nulls.as_ref().map_or(0, NullBuffer::null_count) as u64;
        } else {
            for (group, rows) in sorted.rows() {
                let counts = &mut self.states[group].counts;
                counts.rows += rows.clone().count() as u64;
                if let Some(nulls) = &nulls {
                    counts.nulls += rows.filter(|&row| nulls.is_null(row)).count() as u64;
                }
            }
        }
        self.observe_as(kind, array, sorted)
    }

    fn observe_as(&mut self, kind: ColumnKind, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        match kind {
            ColumnKind::Numeric => self.observe_numbers(array, sorted),
            ColumnKind::Temporal => self.observe_times(array, sorted),
            ColumnKind::Categorical => {
                if self.strings.observe(array, sorted)? {
                    self.settle();
                }
                Ok(())
            }
            ColumnKind::Length => self.observe_lengths(array, sorted),
            ColumnKind::Opaque => Ok(()),
        }
    }

    fn observe_lengths(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        let all = lengths_of(array)?;
        for (group, rows) in sorted.rows() {
            if let Values::Length(lengths) = &mut self.states[group].values {
                rows.filter_map(|row| all[row]).for_each(|length| lengths.observe(length, 1));
            }
        }
        Ok(())
    }

    fn observe_numbers(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        if let DataType::RunEndEncoded(_, field) = array.data_type() {
            return match Runs::of(array).zip(sorted.only()) {
                Some((runs, group)) if wide_integers(&runs.values)?.is_none() => self.observe_runs(&runs, group),
                _ => self.observe_numbers(&cast_to(array, field.data_type())?, sorted),
            };
        }
        if let DataType::Dictionary(_, values) = array.data_type() {
            let plain = cast_to(array, values)?;
            return self.observe_numbers(&plain, sorted);
        }
        if let Some((raw, exact)) = wide_integers(array)? {
            let doubles = cast_to(array, &DataType::Float64)?;
            self.observe_wide(doubles.as_primitive(), &raw, |raw| raw.unsigned_abs() > u128::from(exact), sorted);
            return Ok(());
        }
        let values = cast_to(array, &DataType::Float64)?;
        self.observe_doubles(values.as_primitive(), sorted);
        Ok(())
    }

    /// Each run of a number is added once.
    fn observe_runs(&mut self, runs: &Runs, group: usize) -> Result<()> {
        let values = cast_to(&runs.values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let state = &mut self.states[group];
        if let Values::Numeric(column) = &mut state.values {
            for &(position, length) in runs.runs.iter().filter(|(position, _)| values.is_valid(*position)) {
                column.observe_times(values.value(position), length, &mut state.counts);
            }
        }
        Ok(())
    }

    fn observe_times(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        if let DataType::RunEndEncoded(_, field) = array.data_type() {
            return self.observe_times(&cast_to(array, field.data_type())?, sorted);
        }
        if let DataType::Dictionary(_, values) = array.data_type() {
            let plain = cast_to(array, values)?;
            return self.observe_times(&plain, sorted);
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        if matches!(array.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
            return self.observe_nanoseconds(array, sorted);
        }
        let values = match array.data_type() {
            DataType::Timestamp(..) => {
                // The instant, whatever zone it is shown in.
                let bare = cast_to(array, &DataType::Int64)?;
                let unit = match array.data_type() {
                    DataType::Timestamp(unit, _) => *unit,
                    _ => TimeUnit::Microsecond,
                };
                cast_to(&cast_to(&bare, &DataType::Timestamp(unit, None))?, &micros)?
            }
            DataType::Date32 | DataType::Date64 => cast_to(array, &micros)?,
            _ => return Err(unfit(array, "a time")),
        };
        let micros = values.as_primitive::<TimestampMicrosecondType>();
        #[expect(clippy::cast_precision_loss, reason = "those that are not exact doubles are counted one by one")]
        let values: Float64Array = micros.unary(|micros| micros as f64);
        let is_far = |micros: i128| micros.unsigned_abs() > u128::from(EXACT_INTEGERS);
        if micros.iter().flatten().any(|micros| is_far(i128::from(micros))) {
            let raw: Vec<i128> = micros.iter().map(|micros| i128::from(micros.unwrap_or(0))).collect();
            self.observe_wide(&values, &raw, is_far, sorted);
        } else {
            self.observe_doubles(&values, sorted);
        }
        Ok(())
    }

    /// Nanoseconds are measured in whole microseconds, but counted one by one.
    fn observe_nanoseconds(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        let nanos = cast_to(array, &DataType::Int64)?;
        let nanos = nanos.as_primitive::<Int64Type>();
        #[expect(clippy::cast_precision_loss, reason = "microseconds until the year 2255 are exact doubles")]
        let micros: Float64Array = nanos.unary(|nanos| nanos.div_euclid(1000) as f64);
        let is_fine = |nanos: i128| nanos % 1000 != 0;
        if nanos.iter().flatten().any(|nanos| is_fine(i128::from(nanos))) {
            let raw: Vec<i128> = nanos.iter().map(|nanos| i128::from(nanos.unwrap_or(0))).collect();
            self.observe_wide(&micros, &raw, is_fine, sorted);
        } else {
            self.observe_doubles(&micros, sorted);
        }
        Ok(())
    }

    fn observe_doubles(&mut self, values: &Float64Array, sorted: &Sorted) {
        let states = &mut self.states;
        if let Some(group) = sorted.only() {
            let state = &mut states[group];
            if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
                column.observe_valid(values.values(), values.nulls(), &mut state.counts);
            }
            return;
        }
        let gathered = sorted.gather_valid(values.values(), values.nulls());
        for (group, range) in gathered.runs() {
            let state = &mut states[group];
            if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
                column.observe_values(&gathered.values()[range], &mut state.counts);
            }
        }
    }

    /// The rare way for numbers that doubles do not tell apart.
    fn observe_wide(&mut self, values: &Float64Array, raw: &[i128], is_wide: impl Fn(i128) -> bool, sorted: &Sorted) {
        let raw = sorted.gather_valid(raw, values.nulls());
        let values = sorted.gather_valid(values.values(), values.nulls());
        for (group, range) in values.runs() {
            let state = &mut self.states[group];
            if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
                let (raw, values) = (&raw.values()[range.clone()], &values.values()[range]);
                column.observe_wide(raw, &is_wide, values, &mut state.counts);
            }
        }
    }

    /// Moves all counts of strings into the states.
    fn settle(&mut self) {
        self.strings.settle(self.states.iter_mut().map(|state| match &mut state.values {
            Values::Category(column) => Some(&mut column.categories),
            _ => None,
        }));
    }

    /// Merges `state` into group `group`.
    ///
    /// # Errors
    /// As [`ColumnState::merge`].
    pub fn merge(&mut self, group: usize, state: &ColumnState) -> Result<()> {
        match self.states.get_mut(group) {
            Some(ours) => ours.merge(state),
            None => Err(Error::invalid_argument("a state belongs to a group that does not exist")),
        }
    }

    /// Takes the states of the first `count` groups, in order; the rest move up.
    pub fn take(&mut self, count: usize) -> Vec<ColumnState> {
        self.settle();
        let count = count.min(self.states.len());
        self.strings.drop_first(count);
        self.states.drain(..count).collect()
    }

    /// All states, in the order of their groups.
    #[must_use]
    pub fn into_states(mut self) -> Vec<ColumnState> {
        let count = self.states.len();
        self.take(count)
    }

    /// Bytes held on the heap, about.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        let states: usize = self.states.iter().map(|state| size_of::<ColumnState>() + state.heap_size()).sum();
        states + self.strings.heap_size()
    }
}

fn no_such_group() -> Error {
    Error::invalid_argument("a row belongs to a group that does not exist")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::Field;

    use super::*;

    fn run_ends(ends: DataType, values: DataType) -> DataType {
        let field = |name, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
        DataType::RunEndEncoded(field("run_ends", ends, false), field("values", values, true))
    }

    fn encoded(array: &ArrayRef, groups: &[usize]) -> Vec<Vec<u8>> {
        let kind = ColumnKind::of(array.data_type());
        let mut states = ColumnGroups::new(ColumnOptions { max_buckets: 64, ..ColumnOptions::new(kind) });
        states.resize(2);
        states.observe(array, groups).unwrap();
        states.into_states().iter().map(ColumnState::encode).collect()
    }

    /// How values are stored says nothing about them: runs, slices of runs, and runs that groups cut.
    #[test]
    fn runs_are_their_values() {
        let runs = |row: usize| row / 7 % 90;
        let numbers: ArrayRef = Arc::new(
            (0..5000).map(|row| (runs(row) % 11 != 3).then(|| runs(row) as f64 * 0.1)).collect::<Float64Array>(),
        );
        let wide: ArrayRef = Arc::new((0..500).map(|row| Some((1i64 << 54) + row / 9)).collect::<Int64Array>());
        let strings: ArrayRef = Arc::new(
            (0..5000).map(|row| (runs(row) % 5 != 1).then(|| format!("level {}", runs(row)))).collect::<StringArray>(),
        );
        for plain in [numbers, wide, strings] {
            for ends in [DataType::Int16, DataType::Int32, DataType::Int64] {
                let encoding = run_ends(ends, plain.data_type().clone());
                let packed = cast(&plain, &encoding).unwrap();
                for (from, length) in [(0, plain.len()), (3, 40), (10, 400)] {
                    let (plain, packed) = (plain.slice(from, length), packed.slice(from, length));
                    let in_turn: Vec<usize> = (0..length).map(|row| row % 2).collect();
                    for groups in [vec![0; length], in_turn] {
                        assert!(encoded(&packed, &groups) == encoded(&plain, &groups), "{encoding} {from} {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_constant_is_counted_at_once_and_alike() {
        for value in [0.0, -0.0, 1.5, f64::INFINITY, f64::NAN, 1e300] {
            let constant: ArrayRef = Arc::new(Float64Array::from(vec![value; 30_000]));
            let packed = cast(&constant, &run_ends(DataType::Int32, DataType::Float64)).unwrap();
            let others: ArrayRef = Arc::new((0..9000).map(|row| Some(f64::from(row) * 0.37)).collect::<Float64Array>());
            let of = |arrays: &[&ArrayRef]| {
                let mut state = ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric));
                arrays.iter().for_each(|array| state.observe(array.as_ref()).unwrap());
                state.encode()
            };
            let mut one_by_one = ColumnState::decode(&of(&[&others])).unwrap();
            (0..3000).for_each(|_| one_by_one.observe_numbers(&[value; 10], None).unwrap());
            for arrays in [[&others, &constant], [&constant, &others], [&others, &packed], [&packed, &others]] {
                assert!(of(&arrays) == one_by_one.encode(), "{value}");
            }
        }
    }
}

//! Many states of one column at once: the rows of a batch go to the states of their groups.
//!
//! Within a batch the rows are first brought together by group (a counting sort over the groups that occur), so
//! that every state sees one contiguous slice and its tables stay in the cache. Strings are interned once for all
//! groups and counted as numbers; when the interner has grown too large the counts move into the states.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type, i256,
};
use hashbrown::HashTable;

use super::values::{EXACT_FRACTIONS, EXACT_INTEGERS};
use super::{ColumnKind, ColumnOptions, ColumnState, Values};
use crate::state::categories;
use crate::{Error, Result};

/// Strings that the interner holds before the counts move into the states.
const INTERNED: usize = 1 << 16;

/// The states of one column for groups `0..len`.
#[derive(Debug)]
pub struct ColumnGroups {
    options: ColumnOptions,
    states: Vec<ColumnState>,
    sorter: Sorter,
    interner: Interner,
    /// Whether the categories are strings, which have lengths.
    has_lengths: bool,
    /// Counts of interned strings per group, moved into the states when asked for.
    pending: Vec<hashbrown::HashMap<u32, u64>>,
}

impl ColumnGroups {
    /// No groups yet.
    #[must_use]
    pub fn new(options: ColumnOptions) -> Self {
        Self {
            options,
            states: Vec::new(),
            sorter: Sorter::default(),
            interner: Interner::default(),
            has_lengths: false,
            pending: Vec::new(),
        }
    }

    /// One group with the state taken out of `state`.
    pub(super) fn around(state: &mut ColumnState) -> Self {
        let mut groups = Self::new(ColumnOptions::new(state.kind()));
        groups.states.push(std::mem::replace(state, ColumnState::empty(&ColumnOptions::new(ColumnKind::Opaque))));
        groups.pending.push(hashbrown::HashMap::new());
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
            self.pending.resize_with(len, hashbrown::HashMap::new);
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
        if groups.iter().any(|&group| group != usize::MAX && group >= self.states.len()) {
            return Err(Error::invalid_argument("a row belongs to a group that does not exist"));
        }
        let Some(kind) = self.states.first().map(ColumnState::kind) else { return Ok(()) };
        let natural = ColumnKind::of(array.data_type());
        match kind {
            ColumnKind::Numeric if natural != kind => return Err(unfit(array, "a number")),
            ColumnKind::Temporal if natural != kind => return Err(unfit(array, "a time")),
            ColumnKind::Categorical if !ColumnKind::can_be_categorical(array.data_type()) => {
                return Err(unfit(array, "a category"));
            }
            _ => {}
        }
        // Dictionary and null arrays have logical nulls that the physical bitmap does not show.
        let nulls = array.logical_nulls();
        if let Some(group) = only_group(groups) {
            let counts = &mut self.states[group].counts;
            counts.rows += array.len() as u64;
            counts.nulls += nulls.as_ref().map_or(0, NullBuffer::null_count) as u64;
            return self.observe_as(kind, array, groups);
        }
        for (row, &group) in groups.iter().enumerate() {
            if group != usize::MAX {
                let counts = &mut self.states[group].counts;
                counts.rows += 1;
                counts.nulls += u64::from(nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)));
            }
        }
        self.observe_as(kind, array, groups)
    }

    fn observe_as(&mut self, kind: ColumnKind, array: &dyn Array, groups: &[usize]) -> Result<()> {
        match kind {
            ColumnKind::Numeric => self.observe_numbers(array, groups),
            ColumnKind::Temporal => self.observe_times(array, groups),
            ColumnKind::Categorical => self.observe_categories(array, groups),
            ColumnKind::Opaque => Ok(()),
        }
    }

    fn observe_numbers(&mut self, array: &dyn Array, groups: &[usize]) -> Result<()> {
        if let DataType::Dictionary(_, values) = array.data_type() {
            let plain = cast_to(array, values)?;
            return self.observe_numbers(&plain, groups);
        }
        if let Some((raw, exact)) = wide_integers(array)? {
            let doubles = cast_to(array, &DataType::Float64)?;
            self.observe_wide(doubles.as_primitive(), &raw, |raw| raw.unsigned_abs() > u128::from(exact), groups);
            return Ok(());
        }
        let values = cast_to(array, &DataType::Float64)?;
        self.observe_doubles(values.as_primitive(), groups);
        Ok(())
    }

    fn observe_times(&mut self, array: &dyn Array, groups: &[usize]) -> Result<()> {
        if let DataType::Dictionary(_, values) = array.data_type() {
            let plain = cast_to(array, values)?;
            return self.observe_times(&plain, groups);
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        if matches!(array.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
            return self.observe_nanoseconds(array, groups);
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
            self.observe_wide(&values, &raw, is_far, groups);
        } else {
            self.observe_doubles(&values, groups);
        }
        Ok(())
    }

    /// Nanoseconds are measured in whole microseconds, but counted one by one.
    fn observe_nanoseconds(&mut self, array: &dyn Array, groups: &[usize]) -> Result<()> {
        let nanos = cast_to(array, &DataType::Int64)?;
        let nanos = nanos.as_primitive::<Int64Type>();
        #[expect(clippy::cast_precision_loss, reason = "microseconds until the year 2255 are exact doubles")]
        let micros: Float64Array = nanos.unary(|nanos| nanos.div_euclid(1000) as f64);
        let is_fine = |nanos: i128| nanos % 1000 != 0;
        if nanos.iter().flatten().any(|nanos| is_fine(i128::from(nanos))) {
            let raw: Vec<i128> = nanos.iter().map(|nanos| i128::from(nanos.unwrap_or(0))).collect();
            self.observe_wide(&micros, &raw, is_fine, groups);
        } else {
            self.observe_doubles(&micros, groups);
        }
        Ok(())
    }

    fn observe_doubles(&mut self, values: &Float64Array, groups: &[usize]) {
        let states = &mut self.states;
        if let Some(group) = only_group(groups) {
            let state = &mut states[group];
            if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
                column.observe_valid(values.values(), values.nulls(), &mut state.counts);
            }
            return;
        }
        self.sorter.sort(groups, |row| values.is_valid(row));
        let gathered = self.sorter.gather(values.values());
        for (group, range) in self.sorter.runs() {
            let state = &mut states[group];
            if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
                column.observe_values(&gathered[range], &mut state.counts);
            }
        }
    }

    /// The rare way for numbers that doubles do not tell apart.
    fn observe_wide(&mut self, values: &Float64Array, raw: &[i128], is_wide: impl Fn(i128) -> bool, groups: &[usize]) {
        self.sorter.sort(groups, |row| values.is_valid(row));
        let values = self.sorter.gather(values.values());
        let raw = self.sorter.gather(raw);
        for (group, range) in self.sorter.runs() {
            let state = &mut self.states[group];
            if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
                let (raw, values) = (&raw[range.clone()], &values[range]);
                column.observe_wide(raw, &is_wide, values, &mut state.counts);
            }
        }
    }

    fn observe_categories(&mut self, array: &dyn Array, groups: &[usize]) -> Result<()> {
        self.has_lengths = is_text(array.data_type());
        if let DataType::Dictionary(..) = array.data_type() {
            // Each key is interned once; rows count numbers.
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                // Every row is null, and there is no value that a key could be brought into the range of.
                return Ok(());
            }
            let values = text(dictionary.values().as_ref())?;
            let ids: Vec<Option<u32>> =
                (0..values.len()).map(|at| values.is_valid(at).then(|| self.interner.id(values.value(at)))).collect();
            let keys = dictionary.normalized_keys();
            for (row, &group) in groups.iter().enumerate() {
                if group != usize::MAX
                    && dictionary.keys().is_valid(row)
                    && let Some(id) = ids[keys[row]]
                {
                    *self.pending[group].entry(id).or_insert(0) += 1;
                }
            }
        } else {
            let values = text(array)?;
            for (row, &group) in groups.iter().enumerate() {
                if group != usize::MAX && values.is_valid(row) {
                    let id = self.interner.id(values.value(row));
                    *self.pending[group].entry(id).or_insert(0) += 1;
                }
            }
        }
        if self.interner.strings.len() > INTERNED {
            self.settle();
        }
        Ok(())
    }

    /// Moves all pending counts into the states.
    fn settle(&mut self) {
        for (state, pending) in self.states.iter_mut().zip(&mut self.pending) {
            if let Values::Category(column) = &mut state.values {
                for (id, count) in pending.drain() {
                    let string = &self.interner.strings[id as usize];
                    let length = self.has_lengths.then(|| string.chars().count() as u64);
                    column.categories.observe(string.as_bytes(), length, count);
                }
            }
        }
        self.interner = Interner::default();
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
        self.pending.drain(..count);
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
        let pending: usize = self.pending.iter().map(hashbrown::HashMap::allocation_size).sum();
        states + pending + self.interner.bytes
    }
}

/// The group of all rows, if they have one in common.
fn only_group(groups: &[usize]) -> Option<usize> {
    let first = *groups.first().filter(|&&group| group != usize::MAX)?;
    groups.iter().all(|&group| group == first).then_some(first)
}

/// Whether the array holds numbers that doubles do not tell apart, and then the digits of all of them, with zeros at
/// nulls, and the magnitude up to which they are exact.
fn wide_integers(array: &dyn Array) -> Result<Option<(Vec<i128>, u64)>> {
    let all = |values: Vec<i128>, exact: u64| {
        let is_wide = values.iter().any(|value| value.unsigned_abs() > u128::from(exact));
        is_wide.then_some((values, exact))
    };
    Ok(match array.data_type() {
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            let is_wide = values.iter().flatten().any(|value| value.unsigned_abs() > EXACT_INTEGERS);
            is_wide.then(|| (values.iter().map(|value| i128::from(value.unwrap_or(0))).collect(), EXACT_INTEGERS))
        }
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>();
            let is_wide = values.iter().flatten().any(|value| value > EXACT_INTEGERS);
            is_wide.then(|| (values.iter().map(|value| i128::from(value.unwrap_or(0))).collect(), EXACT_INTEGERS))
        }
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            let values = cast_to(array, &DataType::Decimal128(38, *scale))?;
            let values = values.as_primitive::<Decimal128Type>();
            let exact = if *scale == 0 { EXACT_INTEGERS } else { EXACT_FRACTIONS };
            all(values.iter().map(|value| value.unwrap_or(0)).collect(), exact)
        }
        DataType::Decimal256(_, scale) => {
            let values = array.as_primitive::<Decimal256Type>();
            let exact = if *scale == 0 { EXACT_INTEGERS } else { EXACT_FRACTIONS };
            // What does not fit in 128 bits is told apart by its hash, above everything that does.
            let digits = |value: i256| {
                value.to_i128().unwrap_or_else(|| i128::from(categories::hash(&value.to_le_bytes())) | (1 << 120))
            };
            all(values.iter().map(|value| value.map_or(0, digits)).collect(), exact)
        }
        _ => None,
    })
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The text that identifies each value.
fn text(array: &dyn Array) -> Result<StringArray> {
    Ok(cast_to(array, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn cast_to(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == &DataType::Null {
        return Ok(new_null_array(to, array.len()));
    }
    cast(array, to).map_err(|error| {
        Error::invalid_argument(format!("values of type {} cannot be read as {to}: {error}", array.data_type()))
    })
}

fn unfit(array: &dyn Array, wanted: &str) -> Error {
    Error::invalid_argument(format!("expected {wanted}, found values of type {}", array.data_type()))
}

/// Brings the rows of a batch together by group.
#[derive(Debug, Default)]
struct Sorter {
    /// Rows by group; within a group in their order.
    rows: Vec<u32>,
    /// The groups that occur, with the end of their rows.
    ends: Vec<(usize, usize)>,
    /// For each group its position in `ends`, or `u32::MAX`.
    position: Vec<u32>,
}

impl Sorter {
    fn sort(&mut self, groups: &[usize], is_wanted: impl Fn(usize) -> bool) {
        for &(group, _) in &self.ends {
            self.position[group] = u32::MAX;
        }
        self.ends.clear();
        let mut wanted = 0;
        for (row, &group) in groups.iter().enumerate() {
            if group == usize::MAX || !is_wanted(row) {
                continue;
            }
            if group >= self.position.len() {
                self.position.resize(group + 1, u32::MAX);
            }
            if self.position[group] == u32::MAX {
                #[expect(clippy::cast_possible_truncation, reason = "no batch has 2^32 groups")]
                let at = self.ends.len() as u32;
                self.position[group] = at;
                self.ends.push((group, 0));
            }
            self.ends[self.position[group] as usize].1 += 1;
            wanted += 1;
        }
        // Counts become starts, and starts become ends as the rows are placed.
        let mut start = 0;
        for (_, count) in &mut self.ends {
            start += std::mem::replace(count, start);
        }
        self.rows.clear();
        self.rows.resize(wanted, 0);
        for (row, &group) in groups.iter().enumerate() {
            if group != usize::MAX && is_wanted(row) {
                let next = &mut self.ends[self.position[group] as usize].1;
                #[expect(clippy::cast_possible_truncation, reason = "no batch has 2^32 rows")]
                let row = row as u32;
                self.rows[*next] = row;
                *next += 1;
            }
        }
    }

    fn gather<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.rows.iter().map(|&row| values[row as usize]).collect()
    }

    fn runs(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        self.ends.iter().scan(0, |start, &(group, end)| Some((group, std::mem::replace(start, end)..end)))
    }
}

/// Strings as numbers in order of arrival.
#[derive(Debug, Default)]
struct Interner {
    table: HashTable<u32>,
    strings: Vec<Box<str>>,
    bytes: usize,
}

impl Interner {
    fn id(&mut self, string: &str) -> u32 {
        let strings = &mut self.strings;
        let hash = categories::hash(string.as_bytes());
        let entry = self.table.entry(
            hash,
            |&id| *strings[id as usize] == *string,
            |&id| categories::hash(strings[id as usize].as_bytes()),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => *found.get(),
            hashbrown::hash_table::Entry::Vacant(free) => {
                #[expect(clippy::cast_possible_truncation, reason = "the interner is emptied long before")]
                let id = strings.len() as u32;
                free.insert(id);
                self.bytes += string.len() + 24;
                strings.push(string.into());
                id
            }
        }
    }
}

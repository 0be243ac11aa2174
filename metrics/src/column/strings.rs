//! Strings counted as numbers: each is looked up once a batch, or once a dictionary, and numbers are counted.

use arrow::array::{Array, ArrayAccessor, AsArray};
use arrow::datatypes::DataType;
use hashbrown::{HashMap, HashTable};

use super::arrays::{Runs, cast_to, is_text};
use super::sorter::Sorted;
use crate::Result;
use crate::state::{Categories, categories};

/// Strings that the interner holds before the counts move into the states.
const INTERNED: usize = 1 << 16;

/// Counts of strings per group that are not in the states yet.
#[derive(Debug, Default)]
pub(super) struct Strings {
    interner: Interner,
    /// Whether the categories are strings, which have lengths.
    has_lengths: bool,
    pending: Vec<HashMap<u32, u64>>,
    /// Reused: how often each string occurs among the rows of a group, and which do.
    counts: Vec<u64>,
    counted: Vec<u32>,
}

impl Strings {
    /// Makes sure that the groups `0..len` exist.
    pub(super) fn resize(&mut self, len: usize) {
        if len > self.pending.len() {
            self.pending.resize_with(len, HashMap::new);
        }
    }

    /// Counts the rows of an array that can be categories. Whether the counts should move into the states.
    pub(super) fn observe(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<bool> {
        self.has_lengths = is_text(array.data_type());
        if let Some(Runs { values, runs }) = Runs::of(array) {
            let ids = self.ids(values.as_ref())?;
            if let Some(group) = sorted.only() {
                for (position, length) in runs {
                    self.add(group, ids[position], length);
                }
            } else {
                let of = |(position, length)| std::iter::repeat_n(ids[position], usize::try_from(length).unwrap_or(0));
                self.count(&runs.into_iter().flat_map(of).collect::<Vec<_>>(), sorted);
            }
        } else if let DataType::Dictionary(..) = array.data_type() {
            self.observe_dictionary(array, sorted)?;
        } else {
            let ids = self.ids(array)?;
            self.count(&ids, sorted);
        }
        Ok(self.interner.strings.len() > INTERNED)
    }

    /// Each entry of a dictionary is looked up once; rows count keys.
    fn observe_dictionary(&mut self, array: &dyn Array, sorted: &Sorted) -> Result<()> {
        let dictionary = array.as_any_dictionary();
        if dictionary.values().is_empty() {
            // Every row is null, and there is no value that a key could be brought into the range of.
            return Ok(());
        }
        let ids = self.ids(dictionary.values().as_ref())?;
        let nulls = dictionary.keys().nulls();
        let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        let keys = dictionary.normalized_keys().into_iter().enumerate();
        let ids: Vec<_> = keys.map(|(row, key)| ids[key].filter(|_| is_valid(row))).collect();
        self.count(&ids, sorted);
        Ok(())
    }

    fn add(&mut self, group: usize, id: Option<u32>, times: u64) {
        if let Some(id) = id {
            *self.pending[group].entry(id).or_insert(0) += times;
        }
    }

    /// Adds a row of each string to its group. Numbers are small, so counting them is an index and an increment.
    fn count(&mut self, ids: &[Option<u32>], sorted: &Sorted) {
        self.counts.resize(self.interner.strings.len(), 0);
        for (group, rows) in sorted.rows() {
            for id in rows.filter_map(|row| ids[row]) {
                let count = &mut self.counts[id as usize];
                if *count == 0 {
                    self.counted.push(id);
                }
                *count += 1;
            }
            for id in self.counted.drain(..) {
                *self.pending[group].entry(id).or_insert(0) += std::mem::take(&mut self.counts[id as usize]);
            }
        }
    }

    /// The numbers of all strings of an array; `None` for nulls.
    fn ids(&mut self, array: &dyn Array) -> Result<Vec<Option<u32>>> {
        Ok(match array.data_type() {
            DataType::Utf8 => self.ids_of(array.as_string::<i32>()),
            DataType::LargeUtf8 => self.ids_of(array.as_string::<i64>()),
            DataType::Utf8View => self.ids_of(array.as_string_view()),
            // Whatever else can be a category has a text form that identifies it.
            _ => self.ids_of(cast_to(array, &DataType::Utf8)?.as_string::<i32>()),
        })
    }

    fn ids_of<'a, A>(&mut self, strings: &'a A) -> Vec<Option<u32>>
    where
        &'a A: ArrayAccessor<Item = &'a str>,
    {
        (0..Array::len(&strings))
            .map(|row| Array::is_valid(&strings, row).then(|| self.interner.id(ArrayAccessor::value(&strings, row))))
            .collect()
    }

    /// Moves the counts of the groups into their states.
    pub(super) fn settle<'a>(&mut self, states: impl Iterator<Item = Option<&'a mut Categories>>) {
        for (state, pending) in states.zip(&mut self.pending) {
            let Some(state) = state else { continue };
            for (id, count) in pending.drain() {
                let string = &self.interner.strings[id as usize];
                let length = self.has_lengths.then(|| string.chars().count() as u64);
                state.observe(string.as_bytes(), length, count);
            }
        }
        self.interner = Interner::default();
        self.counts.clear();
    }

    /// Forgets the first groups, which have been settled.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.pending.drain(..count);
    }

    pub(super) fn heap_size(&self) -> usize {
        let pending: usize = self.pending.iter().map(HashMap::allocation_size).sum();
        pending + self.interner.bytes + self.counts.capacity() * size_of::<u64>()
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

//! Strings counted as numbers: each is looked up once a batch, or once a dictionary, and numbers are counted.

use arrow::array::{Array, ArrayAccessor, AsArray, BooleanArray, GenericStringArray, OffsetSizeTrait};
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
            DataType::Utf8 => self.ids_of_bytes(array.as_string::<i32>()),
            DataType::LargeUtf8 => self.ids_of_bytes(array.as_string::<i64>()),
            DataType::Utf8View => self.ids_of(array.as_string_view()),
            DataType::Boolean => self.ids_of_flags(array.as_boolean()),
            // Whatever else can be a category has a text form that identifies it.
            _ => self.ids_of_bytes(cast_to(array, &DataType::Utf8)?.as_string::<i32>()),
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

    /// Strings that lie one after the other: short ones are looked up as numbers.
    fn ids_of_bytes<O: OffsetSizeTrait>(&mut self, strings: &GenericStringArray<O>) -> Vec<Option<u32>> {
        let (offsets, bytes) = (strings.value_offsets(), strings.value_data());
        // Of few strings, the table would cost more than it saves.
        let is_long = strings.len() >= ShortTable::LEAST;
        let id = |row: usize| {
            let (start, end) = (offsets[row].as_usize(), offsets[row + 1].as_usize());
            match Short::of(bytes, start, end).filter(|_| is_long) {
                Some(short) => self.interner.id_of_short(short, || strings.value(row)),
                None => self.interner.id(strings.value(row)),
            }
        };
        match strings.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => (0..strings.len()).map(id).map(Some).collect(),
            Some(nulls) => {
                let mut id = id;
                (0..strings.len()).map(|row| nulls.is_valid(row).then(|| id(row))).collect()
            }
        }
    }

    fn ids_of_flags(&mut self, flags: &BooleanArray) -> Vec<Option<u32>> {
        let has = |flag| flags.iter().any(|value| value == Some(flag));
        // Only what occurs becomes a string.
        let ids = [(false, "false"), (true, "true")].map(|(flag, text)| has(flag).then(|| self.interner.id(text)));
        flags.iter().map(|flag| flag.and_then(|flag| ids[usize::from(flag)])).collect()
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
        pending + self.interner.heap_size() + self.counts.capacity() * size_of::<u64>()
    }
}

/// Bytes of a short string, and its length in the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Short(u128);

impl Short {
    const LONGEST: usize = 15;

    /// The bytes between two places, if they are few and as many as a number has can be read at once.
    #[inline]
    fn of(bytes: &[u8], start: usize, end: usize) -> Option<Self> {
        let length = end - start;
        let head = bytes.get(start..)?.first_chunk::<16>().filter(|_| length <= Self::LONGEST)?;
        let kept = u128::from_le_bytes(*head) & ((1 << (8 * length)) - 1);
        Some(Self(kept | (length as u128) << 120))
    }

    /// Where its search begins in a table of so many slots, a power of two.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the upper and the lower half")]
    const fn home(self, slots: usize) -> usize {
        // The upper half by itself first, so that no bytes of it cancel those of the lower.
        let upper = ((self.0 >> 64) as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (self.0 as u64 ^ upper.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - slots.trailing_zeros())) as usize
    }
}

/// Short strings and their numbers, with their bytes in the table itself, so that looking one up follows no pointer.
#[derive(Debug, Default)]
struct ShortTable {
    /// A power of two of them, or none; of those that are free the string has a length that none has.
    slots: Vec<(Short, u32)>,
    used: usize,
}

impl ShortTable {
    const FREE: Short = Short(u128::MAX);
    /// The fewest slots.
    const LEAST: usize = 1024;
    /// Most strings: with more the table would leave the cache.
    const MOST: usize = 8192;

    /// Slots that are looked at: strings whose homes are crowded are found elsewhere.
    const PROBES: usize = 16;

    /// The slots where a string may be.
    #[inline]
    fn slots_of(&self, short: Short) -> impl Iterator<Item = usize> + use<> {
        let (home, last) = (short.home(self.slots.len()), self.slots.len() - 1);
        (0..Self::PROBES).map(move |step| (home + step) & last)
    }

    /// The number of a string. There must be slots.
    #[inline]
    fn find(&self, short: Short) -> Option<u32> {
        let (found, id) = self.slots[short.home(self.slots.len())];
        if found == short { Some(id) } else { self.find_further(short, found) }
    }

    fn find_further(&self, short: Short, mut found: Short) -> Option<u32> {
        let mut slots = self.slots_of(short).skip(1);
        while found != Self::FREE {
            let id;
            (found, id) = self.slots[slots.next()?];
            if found == short {
                return Some(id);
            }
        }
        None
    }

    /// Puts a string into a free slot, if there is one where it may be; whether there is.
    fn put(&mut self, short: Short, id: u32) -> bool {
        let free = self.slots_of(short).find(|&slot| self.slots[slot].0 == Self::FREE);
        if let Some(slot) = free {
            self.slots[slot] = (short, id);
        }
        free.is_some()
    }

    /// Adds a string that is not there, unless there are too many.
    #[cold]
    fn add(&mut self, short: Short, id: u32) {
        if self.used == Self::MOST {
            return;
        }
        if 2 * (self.used + 1) > self.slots.len() {
            let slots = (2 * self.slots.len()).max(Self::LEAST);
            for (short, id) in std::mem::replace(&mut self.slots, vec![(Self::FREE, 0); slots]) {
                if short != Self::FREE {
                    self.put(short, id);
                }
            }
        }
        self.used += usize::from(self.put(short, id));
    }
}

/// Strings as numbers in order of arrival.
#[derive(Debug, Default)]
struct Interner {
    table: HashTable<u32>,
    strings: Vec<Box<str>>,
    bytes: usize,
    short: ShortTable,
}

impl Interner {
    #[inline]
    fn id_of_short<'a>(&mut self, short: Short, string: impl FnOnce() -> &'a str) -> u32 {
        if !self.short.slots.is_empty()
            && let Some(id) = self.short.find(short)
        {
            return id;
        }
        let id = self.id(string());
        self.short.add(short, id);
        id
    }

    const fn heap_size(&self) -> usize {
        self.bytes + self.short.slots.capacity() * size_of::<(Short, u32)>()
    }

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

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    /// More short strings than the table takes, and long ones between them, all keep their numbers.
    #[test]
    fn every_string_keeps_its_number() {
        let names: Vec<String> = (0..3 * ShortTable::MOST)
            .map(|at| match at % 7 {
                0 => format!("one that is rather long {at}"),
                // Halves that a weak mixture would bring to one place.
                1 => format!("item{:04}{:04}", at % 10_000, at % 10_000),
                _ => format!("{at:x}"),
            })
            .collect();
        let mut strings = Strings::default();
        let mut known: HashMap<String, u32> = HashMap::new();
        for round in 0..4 {
            let rows: Vec<&str> =
                (0..60_000).map(|row| names[(row * (31 + round) + row / 5) % names.len()].as_str()).collect();
            let ids = strings.ids(&StringArray::from(rows.clone())).unwrap();
            for (row, id) in rows.into_iter().zip(ids) {
                assert_eq!(Some(*known.entry(row.to_owned()).or_insert(id.unwrap())), id, "{row}");
            }
        }
        let mut numbers: Vec<u32> = known.values().copied().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..u32::try_from(known.len()).unwrap()).collect::<Vec<_>>());
        assert!(strings.interner.short.used > ShortTable::MOST / 2, "{}", strings.interner.short.used);
    }
}

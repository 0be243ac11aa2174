//! Counts of (prediction, label): exact up to a number of classes.
//!
//! Up to [`MAX_CLASSES`] distinct classes, predictions and labels together, every pair that occurs is counted. With one
//! more all pairs are given up and only the fact is kept. The number of distinct classes only grows as rows arrive, so
//! what is kept depends on the multiset of rows alone. How many rows there are and how many are correct is counted
//! apart, by the state around this one.
//!
//! Unit: rows. Error: none; beyond the limit there is no answer. Memory goes with the pairs that occur, at most a
//! million.

use hashbrown::{HashMap, HashTable, hash_table::Entry};

use super::answers::MAX_CLASSES;
use crate::state::categories::hash;
use crate::state::codec::{Reader, Writer};
use crate::{Error, Result};

/// Texts as numbers in order of arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    table: HashTable<u32>,
    texts: Vec<Box<str>>,
}

impl Names {
    /// The number of a text, which is remembered if it is new.
    pub(super) fn id(&mut self, text: &str) -> u32 {
        let texts = &mut self.texts;
        let is_same = |&id: &u32| *texts[id as usize] == *text;
        match self.table.entry(hash(text.as_bytes()), is_same, |&id| hash(texts[id as usize].as_bytes())) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => {
                #[expect(clippy::cast_possible_truncation, reason = "no batch has 2^32 rows")]
                let id = texts.len() as u32;
                free.insert(id);
                texts.push(text.into());
                id
            }
        }
    }

    /// The number of a text that is known.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.table.find(hash(text.as_bytes()), |&id| *self.texts[id as usize] == *text).copied()
    }

    /// The text of a number.
    pub(super) fn text(&self, id: u32) -> &str {
        &self.texts[id as usize]
    }

    /// How many texts there are.
    pub(super) const fn len(&self) -> usize {
        self.texts.len()
    }

    /// Bytes held on the heap.
    pub(super) fn heap_size(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.len()).sum();
        self.table.allocation_size() + self.texts.capacity() * size_of::<Box<str>>() + texts
    }
}

/// Counts of pairs of classes.
#[derive(Debug, Clone, Default)]
pub(super) struct Confusion {
    names: Names,
    /// By prediction and label.
    counts: HashMap<(u32, u32), u64>,
    /// More classes occurred than are counted one by one.
    is_over: bool,
}

/// A confusion matrix in the order of its classes.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The classes in byte order of their texts.
    pub(super) classes: Vec<String>,
    /// The cells that are not zero: prediction, label, rows; in order.
    pub(super) cells: Vec<(u32, u32, u64)>,
}

/// One class against all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OneVsAll {
    /// Rows that are predicted to be of the class.
    pub(super) predicted: u64,
    /// Rows that are of the class.
    pub(super) labeled: u64,
    /// Rows that are both.
    pub(super) hits: u64,
}

impl Table {
    /// Each class against all others, in the order of the classes.
    pub(super) fn one_vs_all(&self) -> Vec<OneVsAll> {
        let mut classes = vec![OneVsAll::default(); self.classes.len()];
        for &(prediction, label, count) in &self.cells {
            classes[prediction as usize].predicted += count;
            classes[label as usize].labeled += count;
            if prediction == label {
                classes[label as usize].hits += count;
            }
        }
        classes
    }
}

impl Confusion {
    /// Adds `times` rows.
    pub(super) fn add(&mut self, prediction: &str, label: &str, times: u64) {
        if self.is_over {
            return;
        }
        let pair = (self.names.id(prediction), self.names.id(label));
        *self.counts.entry(pair).or_insert(0) += times;
        if self.names.len() > MAX_CLASSES {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        *self = Self { is_over: true, ..Self::default() };
    }

    /// The matrix; `None` with more classes than are counted.
    pub(super) fn table(&self) -> Option<Table> {
        if self.is_over {
            return None;
        }
        let mut order: Vec<u32> = (0u32..).take(self.names.len()).collect();
        order.sort_unstable_by_key(|&id| self.names.text(id));
        let mut rank = vec![0; order.len()];
        (0u32..).zip(&order).for_each(|(place, &id)| rank[id as usize] = place);
        let mut cells: Vec<(u32, u32, u64)> = self
            .counts
            .iter()
            .map(|(&(prediction, label), &count)| (rank[prediction as usize], rank[label as usize], count))
            .collect();
        cells.sort_unstable();
        Some(Table { classes: order.into_iter().map(|id| self.names.text(id).to_owned()).collect(), cells })
    }

    /// Adds the rows of another matrix.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.is_over {
            self.give_up();
        }
        for (&(prediction, label), &count) in &other.counts {
            self.add(other.names.text(prediction), other.names.text(label), count);
        }
    }

    /// Whether classes are too many; else their number and texts in order, the number of cells and these, row by row: the
    /// step from the last cell's place and the count.
    pub(super) fn encode(&self, out: &mut Writer) {
        let Some(table) = self.table() else {
            out.byte(1);
            return;
        };
        out.byte(0);
        out.varint(table.classes.len() as u64);
        table.classes.iter().for_each(|class| out.slice(class.as_bytes()));
        out.varint(table.cells.len() as u64);
        let mut next = 0;
        for (prediction, label, count) in table.cells {
            let place = u64::from(prediction) * table.classes.len() as u64 + u64::from(label);
            out.varint(place - next);
            out.varint(count);
            next = place + 1;
        }
    }

    /// Reads a matrix of so many rows, and so many correct ones.
    pub(super) fn decode(input: &mut Reader<'_>, evaluated: u64, correct: u64) -> Result<Self> {
        let invalid = || Error::invalid_data("a confusion matrix is out of shape");
        match input.byte()? {
            0 => {}
            1 => return Ok(Self { is_over: true, ..Self::default() }),
            _ => return Err(invalid()),
        }
        let classes = input.count()?;
        if classes > MAX_CLASSES {
            return Err(invalid());
        }
        let mut confusion = Self::default();
        for place in 0..classes {
            let text = std::str::from_utf8(input.slice()?).map_err(|_| invalid())?;
            if place > 0 && confusion.names.texts[place - 1].as_ref() >= text {
                return Err(invalid());
            }
            confusion.names.id(text);
        }
        let cells = input.count()?;
        let mut occurs = vec![false; classes];
        let (mut next, mut total, mut hits) = (0u64, 0u64, 0u64);
        for _ in 0..cells {
            let place = next.checked_add(input.varint()?).ok_or_else(invalid)?;
            next = place.checked_add(1).ok_or_else(invalid)?;
            let split = usize::try_from(place).ok().zip((classes > 0).then_some(classes));
            let (prediction, label) = split.map(|(place, n)| (place / n, place % n)).ok_or_else(invalid)?;
            let count = input.varint()?;
            if prediction >= classes || count == 0 {
                return Err(invalid());
            }
            total = total.checked_add(count).ok_or_else(invalid)?;
            hits += if prediction == label { count } else { 0 };
            (occurs[prediction], occurs[label]) = (true, true);
            #[expect(clippy::cast_possible_truncation, reason = "at most a thousand classes")]
            confusion.counts.insert((prediction as u32, label as u32), count);
        }
        if total != evaluated || hits != correct || occurs.contains(&false) {
            return Err(invalid());
        }
        Ok(confusion)
    }

    /// Bytes held on the heap.
    pub(super) fn heap_size(&self) -> usize {
        self.names.heap_size() + self.counts.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_class_too_many_is_given_up_in_any_order() {
        let of = |classes: &mut dyn Iterator<Item = usize>| {
            let mut confusion = Confusion::default();
            classes.for_each(|class| confusion.add(&format!("c{class}"), "c0", 1));
            confusion
        };
        assert_eq!(of(&mut (0..MAX_CLASSES)).table().unwrap().classes.len(), MAX_CLASSES);
        assert!(of(&mut (0..=MAX_CLASSES)).table().is_none());
        assert!(of(&mut (0..=MAX_CLASSES).rev()).table().is_none());
        let (mut left, right) = (of(&mut (0..600)), of(&mut (500..=MAX_CLASSES)));
        left.merge(&right);
        assert!(left.table().is_none() && left.heap_size() == 0);
        let mut few = of(&mut (0..3));
        few.merge(&left);
        assert!(few.table().is_none(), "what was given up stays so");
    }

    #[test]
    fn classes_against_the_rest_by_hand() {
        let mut confusion = Confusion::default();
        for (prediction, label, times) in [("b", "a", 2), ("a", "a", 5), ("b", "b", 1), ("c", "b", 4)] {
            confusion.add(prediction, label, times);
        }
        let table = confusion.table().unwrap();
        assert_eq!(table.classes, ["a", "b", "c"]);
        assert_eq!(table.cells, [(0, 0, 5), (1, 0, 2), (1, 1, 1), (2, 1, 4)]);
        let expected =
            [(5, 7, 5), (3, 5, 1), (4, 0, 0)].map(|(predicted, labeled, hits)| OneVsAll { predicted, labeled, hits });
        assert_eq!(table.one_vs_all(), expected);
    }
}

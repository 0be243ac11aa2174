//! The rows of a batch, brought together by group.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use arrow::buffer::NullBuffer;

thread_local! {
    /// The columns of a batch come one after the other with the same groups, so these are sorted once for all of them.
    static LAST: RefCell<Rc<Sorted>> = RefCell::default();
}

/// Rows, or groups, of which so many are kept for the next column.
const KEPT: usize = 1 << 20;

/// The rows of a batch by group, within a group in their order; rows of group `usize::MAX` are left out.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// What is sorted.
    groups: Vec<usize>,
    rows: Vec<u32>,
    /// The groups that occur, with the end of their rows.
    ends: Vec<(usize, usize)>,
    /// Whether `rows` are all rows in their order.
    in_place: bool,
    /// For each group its position in `ends`, or `u32::MAX`.
    position: Vec<u32>,
}

/// Values by group.
#[derive(Debug)]
pub(crate) struct Gathered<'a, T: Clone> {
    values: Cow<'a, [T]>,
    ends: Cow<'a, [(usize, usize)]>,
}

impl Sorted {
    /// The rows that belong to `groups`; `None` if one belongs to none of the `known` groups.
    pub(crate) fn of(groups: &[usize], known: usize) -> Option<Rc<Self>> {
        LAST.with_borrow_mut(|last| {
            if last.groups == groups {
                let fits = last.greatest().is_none_or(|group| group < known);
                return fits.then(|| Rc::clone(last));
            }
            // Before room is made for as many.
            if groups.iter().any(|&group| group != usize::MAX && group >= known) {
                return None;
            }
            let mut sorted = Rc::try_unwrap(std::mem::take(last)).unwrap_or_default();
            sorted.sort(groups);
            let sorted = Rc::new(sorted);
            if groups.len().max(sorted.position.len()) <= KEPT {
                *last = Rc::clone(&sorted);
            }
            Some(sorted)
        })
    }

    /// So many rows, all of one group.
    pub(crate) fn all(group: usize, rows: usize) -> Self {
        let ends = if rows == 0 { Vec::new() } else { vec![(group, rows)] };
        Self { ends, in_place: true, ..Self::default() }
    }

    /// A counting sort over the groups that occur.
    fn sort(&mut self, groups: &[usize]) {
        for &(group, _) in &self.ends {
            self.position[group] = u32::MAX;
        }
        self.ends.clear();
        self.groups.clear();
        self.groups.extend_from_slice(groups);
        self.in_place = true;
        let (mut wanted, mut before) = (0, usize::MAX);
        for &group in groups {
            if group == usize::MAX {
                self.in_place = false;
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
            } else {
                self.in_place &= group == before;
            }
            self.ends[self.position[group] as usize].1 += 1;
            before = group;
            wanted += 1;
        }
        if self.in_place {
            let mut end = 0;
            for (_, count) in &mut self.ends {
                end += *count;
                *count = end;
            }
            return;
        }
        // Counts become starts, and starts become ends as the rows are placed.
        let mut start = 0;
        for (_, count) in &mut self.ends {
            start += std::mem::replace(count, start);
        }
        self.rows.clear();
        self.rows.resize(wanted, 0);
        for (row, &group) in groups.iter().enumerate() {
            if group != usize::MAX {
                let next = &mut self.ends[self.position[group] as usize].1;
                #[expect(clippy::cast_possible_truncation, reason = "no batch has 2^32 rows")]
                let row = row as u32;
                self.rows[*next] = row;
                *next += 1;
            }
        }
    }

    /// The group of all rows, if they have one in common.
    pub(crate) fn only(&self) -> Option<usize> {
        let [(group, _)] = self.ends[..] else { return None };
        self.in_place.then_some(group)
    }

    /// The greatest group.
    pub(crate) fn greatest(&self) -> Option<usize> {
        self.ends.iter().map(|&(group, _)| group).max()
    }

    /// The groups that occur, each with the rows that it has.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = usize> + Clone)> {
        let row = |at: usize| if self.in_place { at } else { self.rows[at] as usize };
        runs(&self.ends).map(move |(group, range)| (group, range.map(row)))
    }

    /// The values of all rows that have a group.
    pub(crate) fn gather<'a, T: Copy>(&'a self, values: &'a [T]) -> Gathered<'a, T> {
        let values = if self.in_place {
            Cow::Borrowed(values)
        } else {
            Cow::Owned(self.rows.iter().map(|&row| values[row as usize]).collect())
        };
        Gathered { values, ends: Cow::Borrowed(&self.ends) }
    }

    /// The same of those that are not null.
    pub(crate) fn gather_valid<'a, T: Copy>(&'a self, values: &'a [T], nulls: Option<&NullBuffer>) -> Gathered<'a, T> {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else { return self.gather(values) };
        let mut gathered = Vec::with_capacity(values.len() - nulls.null_count());
        let mut ends = Vec::with_capacity(self.ends.len());
        for (group, rows) in self.rows() {
            gathered.extend(rows.filter(|&row| nulls.is_valid(row)).map(|row| values[row]));
            ends.push((group, gathered.len()));
        }
        Gathered { values: Cow::Owned(gathered), ends: Cow::Owned(ends) }
    }
}

impl<T: Clone> Gathered<'_, T> {
    /// All values.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    /// The groups that occur, each with the place of its values; there may be none.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        runs(&self.ends)
    }
}

fn runs(ends: &[(usize, usize)]) -> impl Iterator<Item = (usize, Range<usize>)> {
    ends.iter().scan(0, |start, &(group, end)| Some((group, std::mem::replace(start, end)..end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each group's values, in order of first occurrence.
    fn by_group(groups: &[usize], nulls: Option<&NullBuffer>) -> Vec<(usize, Vec<usize>)> {
        let values: Vec<usize> = (0..groups.len()).collect();
        let sorted = Sorted::of(groups, 10).unwrap();
        let gathered = sorted.gather_valid(&values, nulls);
        gathered.runs().map(|(group, range)| (group, gathered.values()[range].to_vec())).collect()
    }

    #[test]
    fn rows_come_together_by_group_in_their_order() {
        assert_eq!(by_group(&[3, 1, 3, usize::MAX, 1], None), [(3, vec![0, 2]), (1, vec![1, 4])]);
        assert_eq!(by_group(&[2, 2, 0, 0, 0], None), [(2, vec![0, 1]), (0, vec![2, 3, 4])]);
        assert_eq!(by_group(&[], None), []);
        let nulls = NullBuffer::from(vec![true, false, true, true, false]);
        assert_eq!(by_group(&[3, 1, 3, 1, 1], Some(&nulls)), [(3, vec![0, 2]), (1, vec![3])]);
        assert_eq!(by_group(&[1; 5], Some(&nulls)), [(1, vec![0, 2, 3])]);
    }

    #[test]
    fn one_group_is_one_only_if_all_rows_have_it() {
        assert_eq!(Sorted::of(&[4, 4, 4], 10).unwrap().only(), Some(4));
        assert_eq!(Sorted::of(&[4, usize::MAX, 4], 10).unwrap().only(), None);
        assert_eq!(Sorted::of(&[usize::MAX], 10).unwrap().only(), None);
        assert_eq!(
            (Sorted::of(&[4, 5], 10).unwrap().only(), Sorted::of(&[4, 5, 1], 10).unwrap().greatest()),
            (None, Some(5))
        );
        assert_eq!(Sorted::of(&[], 10).unwrap().greatest(), None);
    }

    #[test]
    fn a_group_that_does_not_exist_is_refused_before_room_is_made_for_it() {
        assert!(Sorted::of(&[0, usize::MAX - 1], 10).is_none() && Sorted::of(&[10], 10).is_none());
        assert!(Sorted::of(&[7], 10).is_some() && Sorted::of(&[7], 7).is_none());
    }

    #[test]
    fn what_was_sorted_before_is_not_sorted_again() {
        let groups = [1, 0, 1];
        let first = Sorted::of(&groups, 10).unwrap();
        assert!(Rc::ptr_eq(&first, &Sorted::of(&[1, 0, 1], 10).unwrap()));
        let other = Sorted::of(&[0, 0, 1], 10).unwrap();
        // Whoever still holds the first keeps it.
        assert!(!Rc::ptr_eq(&first, &other) && first.rows().count() == 2);
        assert_eq!(first.gather(&[7, 8, 9]).values(), [7, 9, 8]);
        assert_eq!(other.gather(&[7, 8, 9]).values(), [7, 8, 9]);
    }
}

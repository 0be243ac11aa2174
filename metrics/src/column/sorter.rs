//! The rows of a batch, brought together by group.

/// Brings the rows of a batch together by group: a counting sort over the groups that occur.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    /// Rows by group; within a group in their order.
    rows: Vec<u32>,
    /// The groups that occur, with the end of their rows.
    ends: Vec<(usize, usize)>,
    /// For each group its position in `ends`, or `u32::MAX`.
    position: Vec<u32>,
}

impl Sorter {
    pub(crate) fn sort(&mut self, groups: &[usize], is_wanted: impl Fn(usize) -> bool) {
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

    pub(crate) fn gather<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.rows.iter().map(|&row| values[row as usize]).collect()
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        self.ends.iter().scan(0, |start, &(group, end)| Some((group, std::mem::replace(start, end)..end)))
    }
}

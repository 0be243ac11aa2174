//! What was played, counted.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

/// Counts over some histories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) histories: usize,
    /// By what they had to do.
    refreshes: BTreeMap<String, usize>,
    /// Rows of the full refreshes at the end, which were compared.
    pub(crate) rows: usize,
    /// Breaches in them.
    pub(crate) breaches: usize,
    steps: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { histories: 0, refreshes: BTreeMap::new(), rows: 0, breaches: 0, steps: BTreeMap::new() }
    }

    /// A history that has not begun.
    pub(crate) fn of_one() -> Self {
        Self { histories: 1, ..Self::new() }
    }

    pub(crate) fn count(&mut self, step: &'static str) {
        *self.steps.entry(step).or_default() += 1;
    }

    /// Counts a refresh by what it had to do, whichever file or version made it so.
    pub(crate) fn count_refresh(&mut self, how: &str) {
        let is_name = |word: &&str| word.contains(['/', '.']) || word.chars().any(|c| c.is_ascii_digit());
        let words: Vec<_> = how.split(' ').map(|word| if is_name(&word) { "…" } else { word }).collect();
        *self.refreshes.entry(words.join(" ")).or_default() += 1;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.rows += other.rows;
        self.breaches += other.breaches;
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
        for (how, count) in other.refreshes {
            *self.refreshes.entry(how).or_default() += count;
        }
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { histories, refreshes, rows, breaches, steps } = self;
        writeln!(f, "{histories} histories; {rows} rows and {breaches} breaches compared at their ends")?;
        writeln!(f, "{:6} steps", steps.values().sum::<usize>())?;
        steps.iter().try_for_each(|(step, count)| writeln!(f, "  {count:6} {step}"))?;
        writeln!(f, "{:6} refreshes", refreshes.values().sum::<usize>())?;
        refreshes.iter().try_for_each(|(how, count)| writeln!(f, "  {count:6} {how}"))
    }
}

//! What was played, counted.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

/// Counts over some histories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) histories: usize,
    pub(crate) refreshes: usize,
    pub(crate) full_refreshes: usize,
    /// Rows of the full refreshes at the end, which were compared.
    pub(crate) rows: usize,
    /// Breaches in them.
    pub(crate) breaches: usize,
    pub(crate) steps: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { histories: 0, refreshes: 0, full_refreshes: 0, rows: 0, breaches: 0, steps: BTreeMap::new() }
    }

    pub(crate) fn count(&mut self, step: &'static str) {
        *self.steps.entry(step).or_default() += 1;
    }

    pub(crate) fn count_refresh(&mut self, full: bool) {
        self.refreshes += usize::from(!full);
        self.full_refreshes += usize::from(full);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.refreshes += other.refreshes;
        self.full_refreshes += other.full_refreshes;
        self.rows += other.rows;
        self.breaches += other.breaches;
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { histories, refreshes, full_refreshes, rows, breaches, steps } = self;
        let all: usize = steps.values().sum();
        writeln!(
            f,
            "{histories} histories of {all} steps, {refreshes} incremental refreshes, {full_refreshes} full ones"
        )?;
        writeln!(f, "between them; {rows} rows and {breaches} breaches compared")?;
        steps.iter().try_for_each(|(step, count)| writeln!(f, "  {count:6} {step}"))
    }
}

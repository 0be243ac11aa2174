//! Which rows are to be written, by group of files, and from which cells they are made.

use std::collections::{BTreeMap, BTreeSet};

use deltalake::kernel::Add;
use limno_sql::window::{Granularity, Spans};

use super::cells::{CellKey, ModelKey, Outline};
use super::metrics::{BASELINE, Baseline, KEPT, MetricWriter, Output};
use super::rows::Cell;
use crate::store::Grouping;

/// Rows of one group of files.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) profile: Vec<CellKey>,
    pub(super) baseline: Vec<CellKey>,
    pub(super) consecutive: Vec<(CellKey, CellKey)>,
}

impl Target {
    /// All cells whose states are needed for that.
    pub(super) fn cells(&self) -> BTreeSet<CellKey> {
        let pairs = self.consecutive.iter().flat_map(|(now, before)| [now, before]);
        self.profile.iter().chain(&self.baseline).chain(pairs).cloned().collect()
    }
}

impl MetricWriter<'_> {
    /// Whether rows over a window are written to one of the tables.
    pub(super) fn is_written(&self, granularity: usize, start: i64, profile: &Output, drift: &Output) -> bool {
        let Some(&length) = self.maker.granularities.get(granularity) else { return false };
        let window = self.maker.monitor.calendar().window_of(length, start);
        window.is_some_and(|window| profile.changed.window(window, false) || drift.changed.window(window, false))
    }

    /// What is to be written, by group of files; groups of which rows only go are among them.
    pub(super) fn targets(
        &self,
        outline: &BTreeMap<CellKey, Outline>,
        baseline: &Baseline,
        profile: &Output,
        drift: &Output,
    ) -> BTreeMap<String, Target> {
        let calendar = self.maker.monitor.calendar();
        let mut targets: BTreeMap<String, Target> = BTreeMap::new();
        let groupings: Vec<Grouping> = self.maker.granularities.iter().map(|&length| Grouping::of(length)).collect();
        for output in [profile, drift] {
            // Of lengths that are no longer configured, the rows go.
            let groups = output.written.table.files().iter().filter_map(|file| file.group.as_ref());
            let is_of_none = |group: &&String| {
                groupings.iter().all(|grouping| grouping.parse(group).is_none())
                    && ![BASELINE, KEPT].contains(&group.as_str())
            };
            if output.changed.baseline() && output.needed.is_none() {
                for group in groups.filter(is_of_none) {
                    targets.entry(group.clone()).or_default();
                }
            }
        }
        for (position, &length) in self.maker.granularities.iter().enumerate() {
            let grouping = Grouping::of(length);
            for output in [profile, drift] {
                for file in output.written.table.files() {
                    if let Some(group) = &file.group
                        && let Some(index) = grouping.parse(group)
                        && output.changed.meets(&grouping, index, output.needed.as_ref())
                    {
                        targets.entry(group.clone()).or_default();
                    }
                }
            }
            for (key, cell) in outline.iter().filter(|(key, cell)| key.granularity == position && cell.is_shown) {
                let before = calendar.previous(length, &cell.window);
                let before = before.map(|before| (before, CellKey { start: before.start, ..key.clone() }));
                let before = before.filter(|(_, key)| outline.contains_key(key));
                let is_profiled = profile.changed.window(cell.window, false);
                let is_compared = drift.changed.window(cell.window, true) && self.comparison(baseline, key).is_some();
                let follows =
                    before.as_ref().is_some_and(|(before, _)| drift.changed.consecutive(cell.window, *before));
                if !(is_profiled || is_compared || follows) {
                    continue;
                }
                let target = targets.entry(grouping.name(grouping.index(key.start))).or_default();
                if is_profiled {
                    target.profile.push(key.clone());
                }
                if is_compared {
                    target.baseline.push(key.clone());
                }
                if let Some((_, before)) = before.filter(|_| follows) {
                    target.consecutive.push((key.clone(), before));
                }
            }
        }
        targets
    }

    /// The cell of the baseline that a cell is compared with: the same model's, or, for a model that the baseline has
    /// not seen, that of all models.
    pub(super) fn comparison<'b>(&self, baseline: &'b Baseline, key: &CellKey) -> Option<Cell<'b>> {
        let of = |model: &ModelKey| {
            let start = self.layout().instant.start;
            CellKey { granularity: 0, start, slice: key.slice.clone(), model: model.clone() }
        };
        let own = baseline.outline.get_key_value(&of(&key.model));
        own.or_else(|| baseline.outline.get_key_value(&of(&ModelKey::All)))
    }

    /// The files of the ledger that hold the states of these cells.
    pub(super) fn files_of(&self, cells: &BTreeSet<CellKey>, within: &Spans) -> Vec<Add> {
        let mut spans = Spans::none();
        let calendar = self.maker.monitor.calendar();
        for key in cells {
            let length: Option<&Granularity> = self.maker.granularities.get(key.granularity);
            match length.and_then(|&length| calendar.window_of(length, key.start)) {
                Some(window) => spans.insert(window),
                None => return self.ledger.files_within(within),
            }
        }
        self.ledger.files_within(&spans)
    }
}

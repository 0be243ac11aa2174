//! Rows of the tables themselves, `:table`: model quality, fairness, and metrics of the whole table.

use std::collections::{BTreeMap, BTreeSet};

use deltalake::kernel::Add;
use limno_sql::plan::SliceOf;

use super::cells::{CellKey, Outline, States, Subject, SubjectStates};
use super::drift_rows::DriftRow;
use super::metrics::{Baseline, MetricWriter, Output};
use super::profile_rows::ProfileRow;
use super::rows::{Cell, Presence};
use super::size::state_size;
use super::targets::Target;
use crate::Result;
use crate::ledger::Role;
use crate::store::FileWriter;

/// What the rows of tables are made from, beside their states.
pub(super) struct Tables<'a> {
    pub(super) outline: &'a BTreeMap<CellKey, Outline>,
    pub(super) baseline: &'a Baseline,
    /// Of the monitored table's cells.
    pub(super) presence: &'a Presence,
    /// The files of the ledger with the states.
    pub(super) files: &'a [Add],
}

impl MetricWriter<'_> {
    /// For rows for which a predicate holds, the cell of those for which it does not.
    fn others_of(&self, key: &CellKey) -> Option<CellKey> {
        let slice = key.slice.as_ref().filter(|slice| slice.value.as_deref() == Some("true"))?;
        let is_predicate = self.maker.monitor.slices.get(slice.expression)?.is_predicate;
        let others = SliceOf { expression: slice.expression, value: Some("false".to_owned()) };
        is_predicate.then(|| CellKey { slice: Some(others), ..key.clone() })
    }

    /// The states of a table's row, and of the rows for which its predicate does not hold.
    fn sides_of<'s>(
        &self,
        states: &'s BTreeMap<CellKey, States>,
        key: &CellKey,
    ) -> (Option<&'s SubjectStates>, Option<&'s SubjectStates>) {
        let of = |key: &CellKey| states.get(key).and_then(|states| states.first());
        (of(key), self.others_of(key).and_then(|others| of(&others)))
    }

    /// The states of the tables of some cells, and of those that they are treated fairly beside or not, as far as their
    /// rows hang on any.
    async fn tables(&self, role: Role, files: &[Add], cells: Vec<&CellKey>) -> Result<BTreeMap<CellKey, States>> {
        let subject = Subject { column: None, parts: self.maker.monitor.parts_of(None) };
        let mut wanted = BTreeSet::new();
        for key in cells {
            wanted.extend(self.others_of(key));
            wanted.insert(key.clone());
        }
        if subject.parts.is_empty() || wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let layout = if role == Role::Baseline { self.baseline_layout() } else { self.layout() };
        self.states(role, layout, files.to_vec(), &wanted, std::slice::from_ref(&subject)).await
    }

    /// The cells in pieces whose states fit in memory.
    fn pieces<'k, T>(
        &self,
        cells: &'k [T],
        outline: &BTreeMap<CellKey, Outline>,
        key: impl Fn(&T) -> &CellKey,
    ) -> Vec<&'k [T]> {
        let names = self.maker.monitor.parts_of(None);
        let measures = self.maker.monitor.measures();
        let measures: Vec<_> = measures.iter().filter(|measure| names.contains(&measure.name.as_str())).collect();
        let room = self.memory / 4;
        let (mut pieces, mut start, mut taken) = (Vec::new(), 0, 0_u64);
        for (at, cell) in cells.iter().enumerate() {
            let rows = outline.get(key(cell)).map_or(0, |cell| cell.rows);
            // Its own, those beside it, and those that it is compared with.
            let size = measures.iter().map(|measure| state_size(rows, measure)).sum::<u64>().saturating_mul(4);
            if at > start && taken.saturating_add(size) > room {
                pieces.push(&cells[start..at]);
                (start, taken) = (at, 0);
            }
            taken = taken.saturating_add(size);
        }
        pieces.push(&cells[start..]);
        pieces
    }

    /// The profile rows of the baseline's tables.
    pub(super) async fn baseline_tables(
        &self,
        outline: &BTreeMap<CellKey, Outline>,
        cells: &BTreeSet<CellKey>,
        presence: &Presence,
        writer: &mut FileWriter,
        profile: &mut Output,
    ) -> Result<()> {
        let files = self.ledger.files(|group| group == crate::ledger::BASELINE);
        let cells: Vec<&CellKey> = cells.iter().collect();
        for piece in self.pieces(&cells, outline, |key| key) {
            let states = self.tables(Role::Baseline, &files, piece.to_vec()).await?;
            let row = |key: &&CellKey| {
                let cell = outline.get_key_value(*key)?;
                Some(self.maker.profile_of_table(cell, true, presence, self.sides_of(&states, key)))
            };
            let rows: Vec<ProfileRow> = piece.iter().filter_map(row).collect();
            self.write_profile(&rows, writer, profile).await?;
        }
        Ok(())
    }

    /// The rows of the tables of one group of files.
    pub(super) async fn table_rows(
        &self,
        of: &Tables<'_>,
        target: &Target,
        (profile_writer, drift_writer): (&mut FileWriter, &mut FileWriter),
        (profile, drift): (&mut Output, &mut Output),
    ) -> Result<()> {
        let cell = |key: &'_ CellKey| of.outline.get_key_value(key);
        for piece in self.pieces(&target.profile, of.outline, |key| key) {
            let states = self.tables(Role::Input, of.files, piece.iter().collect()).await?;
            let row = |key: &CellKey| {
                Some(self.maker.profile_of_table(cell(key)?, false, of.presence, self.sides_of(&states, key)))
            };
            let rows: Vec<ProfileRow> = piece.iter().filter_map(row).collect();
            self.write_profile(&rows, profile_writer, profile).await?;
        }
        // Each row with what it is compared with, and whether that is the baseline.
        let consecutive =
            target.consecutive.iter().filter_map(|(key, before)| Some((cell(key)?, cell(before)?, false)));
        let against =
            target.baseline.iter().filter_map(|key| Some((cell(key)?, self.comparison(of.baseline, key)?, true)));
        let pairs: Vec<(Cell<'_>, Cell<'_>, bool)> = consecutive.chain(against).collect();
        for piece in self.pieces(&pairs, of.outline, |(now, _, _)| now.0) {
            let compares = self.maker.compares();
            let (mut own, mut theirs) = (Vec::new(), Vec::new());
            for (now, before, is_baseline) in piece.iter().filter(|_| compares) {
                own.push(now.0);
                if *is_baseline { theirs.push(before.0) } else { own.push(before.0) }
            }
            let states = self.tables(Role::Input, of.files, own).await?;
            let files = self.ledger.files(|group| group == crate::ledger::BASELINE);
            let of_baseline = self.tables(Role::Baseline, &files, theirs).await?;
            let row = |&(now, before, is_baseline): &(Cell<'_>, Cell<'_>, bool)| {
                let presence = if is_baseline { &of.baseline.presence } else { of.presence };
                let of_before = if is_baseline { &of_baseline } else { &states };
                let sides = compares.then(|| {
                    let (ours, theirs) = (self.sides_of(&states, now.0), self.sides_of(of_before, before.0));
                    (
                        self.maker.profile_of_table(now, false, of.presence, ours),
                        self.maker.profile_of_table(before, is_baseline, presence, theirs),
                    )
                });
                self.maker.drift_of_table(now, before, is_baseline, (of.presence, presence), sides)
            };
            let rows: Vec<DriftRow> = piece.iter().map(row).collect();
            self.write_drift(&rows, drift_writer, drift).await?;
        }
        Ok(())
    }
}

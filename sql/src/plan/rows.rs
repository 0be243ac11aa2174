//! The rows that a plan yields.

use std::collections::BTreeMap;

use limno_metrics::MeasureState;
use rayon::prelude::*;

use super::measure::Measure;
use crate::Result;
use crate::payload::Outcome;

/// All states over one group of rows.
#[derive(Debug, Clone)]
pub struct StateRow {
    /// Start of the window in microseconds; `None` for rows whose timestamp is null or does not parse.
    pub window: Option<i64>,
    /// The model id; `None` if the query has no model column, or for rows whose model id is null.
    pub model: Option<String>,
    /// The slice; `None` for all rows.
    pub slice: Option<SliceOf>,
    /// Of a log of requests, why the rows are not measured; `None` for those that are.
    pub outcome: Option<Outcome>,
    /// Rows.
    pub rows: u64,
    /// One state for each measure of the query.
    pub states: Vec<MeasureState>,
}

/// The same with encoded states, as they travel and are stored.
#[derive(Debug, Clone)]
pub struct EncodedRow {
    /// Start of the window in microseconds; `None` for rows whose timestamp is null or does not parse.
    pub window: Option<i64>,
    /// The model id; `None` if the query has no model column, or for rows whose model id is null.
    pub model: Option<String>,
    /// The slice; `None` for all rows.
    pub slice: Option<SliceOf>,
    /// Of a log of requests, why the rows are not measured; `None` for those that are.
    pub outcome: Option<Outcome>,
    /// Rows, each as often as it counts.
    pub rows: u64,
    /// Rows as they stand in the table.
    pub logged: u64,
    /// One state for each measure of the query, as [`MeasureState::encode`] writes it.
    pub states: Vec<Vec<u8>>,
}

impl EncodedRow {
    /// # Errors
    /// When a state does not decode, which would be a defect.
    pub fn decode(&self) -> Result<StateRow> {
        let states = self.states.iter().map(|state| MeasureState::decode(state)).collect::<Result<_, _>>()?;
        Ok(StateRow {
            window: self.window,
            model: self.model.clone(),
            slice: self.slice.clone(),
            outcome: self.outcome,
            rows: self.rows,
            states,
        })
    }

    /// Makes of each row `times` rows.
    pub(super) fn repeat(&mut self, times: u64, measures: &[Measure]) -> Result<()> {
        self.rows = self.rows.saturating_mul(times);
        for (state, measure) in self.states.iter_mut().zip(measures) {
            *state = MeasureState::decode(state)?.repeated(times, measure.options.empty())?.encode();
        }
        Ok(())
    }
}

/// One value of one slice expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceOf {
    /// The expression's position in the query.
    pub expression: usize,
    /// Its value; `None` is the slice of the rows where it is null.
    pub value: Option<String>,
}

/// The rows over everything, merged from the parts of the first slice expression.
#[derive(Default)]
pub(super) struct Whole {
    /// The groups, each with its position.
    groups: BTreeMap<GroupKey, usize>,
    /// Rows of each group, as they count and as they stand in the table.
    rows: Vec<(u64, u64)>,
    /// For each measure the states of all groups: measures have nothing to do with each other, so all cores merge them.
    states: Vec<Vec<Option<MeasureState>>>,
}

/// Window, model and outcome.
type GroupKey = (Option<i64>, Option<String>, Option<Outcome>);

impl Whole {
    pub(super) fn new(measures: usize) -> Self {
        Self { states: vec![Vec::new(); measures], ..Self::default() }
    }

    /// Adds those of the rows that are parts.
    pub(super) fn add(&mut self, rows: &[EncodedRow]) -> Result<()> {
        let is_part = |row: &&EncodedRow| row.slice.as_ref().is_some_and(|slice| slice.expression == 0);
        let mut parts = Vec::new();
        for part in rows.iter().filter(is_part) {
            let next = self.rows.len();
            let group = *self.groups.entry((part.window, part.model.clone(), part.outcome)).or_insert(next);
            self.rows.resize(next.max(group + 1), (0, 0));
            self.rows[group].0 += part.rows;
            self.rows[group].1 += part.logged;
            parts.push((group, part));
        }
        let groups = self.rows.len();
        self.states.par_iter_mut().enumerate().try_for_each(|(measure, states)| {
            states.resize(groups, None);
            for &(group, part) in &parts {
                let state = MeasureState::decode(&part.states[measure])?;
                match &mut states[group] {
                    Some(merged) => merged.merge(&state)?,
                    none => *none = Some(state),
                }
            }
            Ok(())
        })
    }

    pub(super) fn into_rows(self) -> Vec<EncodedRow> {
        let encode = |states: Vec<Option<MeasureState>>| -> Vec<Vec<u8>> {
            states.into_iter().map(|state| state.map_or_else(Vec::new, |state| state.encode())).collect()
        };
        let mut encoded: Vec<Vec<Vec<u8>>> = self.states.into_par_iter().map(encode).collect();
        let row = |((window, model, outcome), group): (GroupKey, usize)| {
            let (rows, logged) = self.rows[group];
            let states = encoded.iter_mut().map(|states| std::mem::take(&mut states[group])).collect();
            EncodedRow { window, model, slice: None, outcome, rows, logged, states }
        };
        self.groups.into_iter().map(row).collect()
    }
}

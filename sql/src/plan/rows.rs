//! The rows that a plan yields.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use limno_metrics::MeasureState;

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

    fn encode(row: &StateRow, logged: u64) -> Self {
        Self {
            logged,
            window: row.window,
            model: row.model.clone(),
            slice: row.slice.clone(),
            outcome: row.outcome,
            rows: row.rows,
            states: row.states.iter().map(MeasureState::encode).collect(),
        }
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
    rows: BTreeMap<GroupKey, (u64, u64, Vec<MeasureState>)>,
}

/// Window, model and outcome.
type GroupKey = (Option<i64>, Option<String>, Option<Outcome>);

impl Whole {
    pub(super) fn add(&mut self, part: &EncodedRow) -> Result<()> {
        if part.slice.as_ref().is_none_or(|slice| slice.expression != 0) {
            return Ok(());
        }
        let logged = part.logged;
        let part = part.decode()?;
        match self.rows.entry((part.window, part.model, part.outcome)) {
            Entry::Vacant(entry) => {
                entry.insert((part.rows, logged, part.states));
            }
            Entry::Occupied(mut entry) => {
                let (rows, known, states) = entry.get_mut();
                *rows += part.rows;
                *known += logged;
                for (ours, theirs) in states.iter_mut().zip(&part.states) {
                    ours.merge(theirs)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn into_rows(self) -> Vec<EncodedRow> {
        let row = |((window, model, outcome), (rows, logged, states))| {
            EncodedRow::encode(&StateRow { window, model, slice: None, outcome, rows, states }, logged)
        };
        self.rows.into_iter().map(row).collect()
    }
}

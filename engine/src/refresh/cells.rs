//! From states at the finest windows to states by window: merges, never another look at the data.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limno_metrics::profile::FrozenColumn;
use limno_metrics::quality::QualityState;
use limno_metrics::{ColumnState, MeasureState};
use limno_sql::expression::SliceExpression;
use limno_sql::plan::SliceOf;
use limno_sql::window::{Calendar, Granularity, Window};
use rayon::prelude::*;

use crate::Result;
use crate::ledger::{LedgerKey, LedgerRow};

/// Slices of a window that become rows, per expression that is not a predicate.
const TOP_SLICES: usize = 100;

/// States that are decoded before they are merged: enough for all cores, and little beside those that are kept.
const DECODED_AT_ONCE: usize = 256;

/// Which rows of the table a cell covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellKey {
    /// Position among the monitor's granularities.
    pub(super) granularity: usize,
    /// Start of the window.
    pub(super) start: i64,
    /// The slice; `None` for all rows.
    pub(super) slice: Option<SliceOf>,
    /// The model.
    pub(super) model: ModelKey,
}

/// Whose predictions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ModelKey {
    /// All models' (the only one of a monitor without a model column).
    All,
    /// One model's; `None` for rows whose model id is null.
    Id(Option<String>),
}

/// What is known of a cell before its states are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outline {
    /// The window.
    pub(super) window: Window,
    /// Rows.
    pub(super) rows: u64,
    /// Whether the cell becomes rows: all do but slices that are small, or beyond the most frequent of their window,
    /// which are kept for others to be compared with.
    pub(super) is_shown: bool,
}

/// The frozen states of a cell's subjects, in the order in which they were asked for.
pub(super) type States = Vec<SubjectStates>;

/// What one row of the profile table is made from: of a column, or of the table as a whole.
#[derive(Debug, Default)]
pub(super) struct SubjectStates {
    /// The state of the column; none of the table, and where it lacks.
    pub(super) column: Option<Arc<FrozenColumn>>,
    /// The state of model quality; of the table only.
    pub(super) quality: Option<QualityState>,
    /// The states of custom metrics, by name.
    pub(super) parts: BTreeMap<String, Arc<FrozenColumn>>,
}

/// A row of the profile table, and the states that it hangs on.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The column; `None` for the table as a whole.
    pub(super) column: Option<&'a str>,
    /// The names of all other states.
    pub(super) parts: Vec<&'a str>,
}

impl<'a> Subject<'a> {
    /// The names of all its states.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.column.into_iter().chain(self.parts.iter().copied())
    }
}

/// How stored windows, slices and models become cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    /// The lengths of the windows; none for a table without a time.
    pub(super) granularities: &'a [Granularity],
    /// Where windows are cut.
    pub(super) calendar: Calendar,
    /// The one window of a table without a time.
    pub(super) instant: Window,
    /// The slice expressions; a cell names them by position.
    pub(super) slices: &'a [SliceExpression],
    /// Whether models have cells of their own.
    pub(super) has_models: bool,
    /// Slices of a window with fewer rows are not shown.
    pub(super) min_slice_size: u64,
}

/// The windows that hold a stored one, each with the position of its granularity, by the start of the stored one: many
/// keys share it.
type Windows = BTreeMap<i64, Vec<(usize, Window)>>;

impl Layout<'_> {
    fn windows<'w>(&self, start: i64, known: &'w mut Windows) -> &'w [(usize, Window)] {
        known.entry(start).or_insert_with(|| {
            let of = |(at, &length)| self.calendar.windows_of(length, start).map(move |window| (at, window));
            self.granularities.iter().enumerate().flat_map(of).collect()
        })
    }

    /// The cells that hold the rows of a key: for each granularity and choice of models at most one, or, where windows
    /// slide, as many as they have steps.
    fn cells(&self, key: &LedgerKey, known: &mut Windows) -> Vec<(CellKey, Window)> {
        let slice = match &key.slice {
            None => None,
            Some((slice, value)) => {
                let Some(expression) = self.slices.iter().position(|known| known.key == *slice) else {
                    return Vec::new();
                };
                Some(SliceOf { expression, value: value.clone() })
            }
        };
        let whole = [(0, self.instant)];
        let windows = if self.granularities.is_empty() {
            &whole
        } else {
            let Some(start) = key.window else { return Vec::new() };
            self.windows(start, known)
        };
        let mut cells = Vec::with_capacity(windows.len() * 2);
        for &(granularity, window) in windows {
            let cell = |model| CellKey { granularity, start: window.start, slice: slice.clone(), model };
            cells.push((cell(ModelKey::All), window));
            if self.has_models {
                cells.push((cell(ModelKey::Id(key.model.clone())), window));
            }
        }
        cells
    }

    /// The cells of counts of rows, with the most frequent values of each slice expression marked.
    #[must_use]
    pub(super) fn outline(&self, counts: &[LedgerRow]) -> BTreeMap<CellKey, Outline> {
        let mut cells: BTreeMap<CellKey, Outline> = BTreeMap::new();
        let mut known = Windows::new();
        for count in counts {
            for (key, window) in self.cells(&count.key, &mut known) {
                cells.entry(key).or_insert(Outline { window, rows: 0, is_shown: true }).rows += count.rows;
            }
        }
        self.hide_rare(&mut cells);
        cells
    }

    /// Hides all but the most frequent values of each expression in each window, ties by value.
    fn hide_rare(&self, cells: &mut BTreeMap<CellKey, Outline>) {
        let mut ranked: BTreeMap<_, Vec<(Reverse<u64>, Option<String>)>> = BTreeMap::new();
        for (key, cell) in cells.iter().filter(|(key, _)| key.model == ModelKey::All) {
            if let Some(slice) = key.slice.as_ref().filter(|slice| !self.slices[slice.expression].is_predicate) {
                let at = (key.granularity, key.start, slice.expression);
                ranked.entry(at).or_default().push((Reverse(cell.rows), slice.value.clone()));
            }
        }
        let rare: BTreeSet<_> = ranked
            .into_iter()
            .flat_map(|(at, mut values)| {
                values.sort_unstable();
                values.into_iter().skip(TOP_SLICES).map(move |(_, value)| (at, value))
            })
            .collect();
        for (key, cell) in cells.iter_mut() {
            if let Some(slice) = &key.slice {
                let at = (key.granularity, key.start, slice.expression);
                cell.is_shown = cell.rows >= self.min_slice_size && !rare.contains(&(at, slice.value.clone()));
            }
        }
    }
}

/// Merges stored states into those of some cells.
#[derive(Debug)]
pub(super) struct Merger<'a> {
    layout: Layout<'a>,
    wanted: &'a BTreeSet<CellKey>,
    subjects: &'a [Subject<'a>],
    /// Each state by name: more than one subject can want it.
    names: BTreeMap<&'a str, usize>,
    windows: Windows,
    /// For each name the states of all cells: names have nothing to do with each other, so all cores merge them.
    states: Vec<BTreeMap<CellKey, MeasureState>>,
}

impl<'a> Merger<'a> {
    /// A merger for these cells and subjects.
    pub(super) fn new(layout: Layout<'a>, wanted: &'a BTreeSet<CellKey>, subjects: &'a [Subject<'a>]) -> Self {
        let mut names = BTreeMap::new();
        for name in subjects.iter().flat_map(Subject::names) {
            let next = names.len();
            names.entry(name).or_insert(next);
        }
        let states = vec![BTreeMap::new(); names.len()];
        Self { layout, wanted, subjects, names, windows: Windows::new(), states }
    }

    /// Adds stored states; those of other cells or subjects are passed over.
    ///
    /// # Errors
    /// When a state does not decode or merge.
    pub(super) fn add(&mut self, rows: &[LedgerRow]) -> Result<()> {
        rows.chunks(DECODED_AT_ONCE).try_for_each(|rows| self.add_some(rows))
    }

    fn add_some(&mut self, rows: &[LedgerRow]) -> Result<()> {
        let mut wanted: Vec<(usize, Vec<CellKey>, &[u8])> = Vec::with_capacity(rows.len());
        for row in rows {
            let (Some(name), Some(encoded)) = (&row.key.column, &row.state) else { continue };
            let Some(&position) = self.names.get(name.as_str()) else { continue };
            let cells = self.layout.cells(&row.key, &mut self.windows).into_iter().map(|(key, _)| key);
            let cells: Vec<CellKey> = cells.filter(|key| self.wanted.contains(key)).collect();
            if !cells.is_empty() {
                wanted.push((position, cells, encoded));
            }
        }
        let decoded: Vec<_> = wanted
            .into_par_iter()
            .map(|(position, cells, encoded)| Ok((position, cells, MeasureState::decode(encoded)?)))
            .collect::<Result<_>>()?;
        let mut of_names: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(self.names.len()).collect();
        for (position, cells, state) in decoded {
            of_names[position].push((cells, state));
        }
        self.states.par_iter_mut().zip(of_names).try_for_each(|(merged, states)| {
            for (mut cells, state) in states {
                let last = cells.pop();
                for key in cells {
                    merge_into(merged, key, state.clone())?;
                }
                last.map_or(Ok(()), |key| merge_into(merged, key, state))?;
            }
            Ok(())
        })
    }

    /// The frozen states of all cells that have any.
    #[must_use]
    pub(super) fn freeze(self) -> BTreeMap<CellKey, States> {
        let (subjects, names) = (self.subjects, self.names);
        let freeze = |states: Vec<Option<MeasureState>>| -> States {
            let mut columns: Vec<Option<Arc<FrozenColumn>>> = Vec::with_capacity(states.len());
            let mut quality = None;
            for state in states {
                columns.push(match state {
                    Some(MeasureState::Column(column)) => Some(Arc::new(ColumnState::freeze(column))),
                    Some(MeasureState::Quality(state)) => {
                        quality = Some(*state);
                        None
                    }
                    Some(MeasureState::Sample(_)) | None => None,
                });
            }
            let column = |name: &str| names.get(name).and_then(|&at| columns[at].clone());
            let of = |subject: &Subject<'_>| SubjectStates {
                column: subject.column.and_then(column),
                quality: if subject.column.is_none() { quality.take() } else { None },
                parts: subject.parts.iter().filter_map(|name| Some(((*name).to_owned(), column(name)?))).collect(),
            };
            let mut of = of;
            subjects.iter().map(&mut of).collect()
        };
        let mut cells: BTreeMap<CellKey, Vec<Option<MeasureState>>> = BTreeMap::new();
        for (position, states) in self.states.into_iter().enumerate() {
            for (key, state) in states {
                cells.entry(key).or_insert_with(|| vec![None; names.len()])[position] = Some(state);
            }
        }
        cells.into_iter().collect::<Vec<_>>().into_par_iter().map(|(key, states)| (key, freeze(states))).collect()
    }
}

fn merge_into(merged: &mut BTreeMap<CellKey, MeasureState>, key: CellKey, state: MeasureState) -> Result<()> {
    match merged.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(state);
        }
        Entry::Occupied(mut entry) => entry.get_mut().merge(&state)?,
    }
    Ok(())
}

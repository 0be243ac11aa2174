//! From states at the finest windows to states by window: merges, never another look at the data.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use limno_metrics::column::ColumnState;
use limno_metrics::profile::FrozenColumn;
use limno_sql::expression::SliceExpression;
use limno_sql::plan::SliceOf;
use limno_sql::window::{Calendar, Granularity, Window};

use crate::Result;
use crate::ledger::{LedgerKey, LedgerRow};

/// Slices of a window that become rows, per expression that is not a predicate.
const TOP_SLICES: usize = 100;

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
    /// Whether the cell becomes rows: all do but slices beyond the most frequent of their window, which are kept for
    /// others to be compared with.
    pub(super) is_shown: bool,
}

/// The frozen states of a cell's columns, in the order in which they were asked for; a column can lack.
pub(super) type States = Vec<Option<FrozenColumn>>;

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
                cell.is_shown = !rare.contains(&(at, slice.value.clone()));
            }
        }
    }
}

/// Merges stored states into those of some cells.
#[derive(Debug)]
pub(super) struct Merger<'a> {
    layout: Layout<'a>,
    wanted: &'a BTreeSet<CellKey>,
    columns: BTreeMap<&'a str, usize>,
    windows: Windows,
    states: BTreeMap<CellKey, Vec<Option<ColumnState>>>,
}

impl<'a> Merger<'a> {
    /// A merger for these cells and columns.
    pub(super) fn new(
        layout: Layout<'a>,
        wanted: &'a BTreeSet<CellKey>,
        columns: impl Iterator<Item = &'a str>,
    ) -> Self {
        let columns = columns.enumerate().map(|(position, name)| (name, position)).collect();
        Self { layout, wanted, columns, windows: Windows::new(), states: BTreeMap::new() }
    }

    /// Adds a stored state; one of other cells or columns is passed over.
    ///
    /// # Errors
    /// When the state does not decode or merge.
    pub(super) fn add(&mut self, row: &LedgerRow) -> Result<()> {
        let (Some(column), Some(encoded)) = (&row.key.column, &row.state) else { return Ok(()) };
        let Some(&position) = self.columns.get(column.as_str()) else { return Ok(()) };
        let cells = self.layout.cells(&row.key, &mut self.windows);
        let mut cells = cells.into_iter().map(|(key, _)| key).filter(|key| self.wanted.contains(key)).peekable();
        if cells.peek().is_none() {
            return Ok(());
        }
        let state = ColumnState::decode(encoded)?;
        for key in cells {
            let states = self.states.entry(key).or_insert_with(|| vec![None; self.columns.len()]);
            match &mut states[position] {
                Some(merged) => merged.merge(&state)?,
                none => *none = Some(state.clone()),
            }
        }
        Ok(())
    }

    /// The frozen states of all cells that have any.
    #[must_use]
    pub(super) fn freeze(self) -> BTreeMap<CellKey, States> {
        let freeze =
            |states: Vec<Option<ColumnState>>| states.into_iter().map(|state| state.map(ColumnState::freeze)).collect();
        self.states.into_iter().map(|(key, states)| (key, freeze(states))).collect()
    }
}

//! From states at the finest unit to states by window: merges, never another look at the data.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use limno_metrics::column::ColumnState;
use limno_metrics::profile::FrozenColumn;
use limno_sql::expression::SliceExpression;
use limno_sql::plan::{SliceOf, StateRow};
use limno_sql::window::{Calendar, Granularity, Window};

use crate::Result;

/// Slices of a window that become rows, per expression that is not a predicate.
const TOP_SLICES: usize = 100;

/// Which rows of the table a cell covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey {
    /// Position among the monitor's granularities.
    pub granularity: usize,
    /// Start of the window.
    pub start: i64,
    /// The slice; `None` for all rows.
    pub slice: Option<SliceOf>,
    /// The model.
    pub model: ModelKey,
}

/// Whose predictions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelKey {
    /// All models' (the only one of a monitor without a model column).
    All,
    /// One model's; `None` for rows whose model id is null.
    Id(Option<String>),
}

/// The frozen states of all columns over the rows of a key.
#[derive(Debug)]
pub struct Cell {
    /// The window.
    pub window: Window,
    /// Rows.
    pub rows: u64,
    /// One for each column.
    pub columns: Vec<FrozenColumn>,
    /// Whether the cell becomes rows: all do but slices beyond the most frequent of their window, which are kept for
    /// others to be compared with.
    pub is_shown: bool,
}

struct Merging {
    window: Window,
    is_shown: bool,
    rows: u64,
    states: Vec<ColumnState>,
}

impl Merging {
    fn add(&mut self, row: &StateRow) -> Result<()> {
        self.rows += row.rows;
        for (ours, theirs) in self.states.iter_mut().zip(&row.states) {
            ours.merge(theirs)?;
        }
        Ok(())
    }

    fn freeze(self) -> Cell {
        let columns = self.states.into_iter().map(ColumnState::freeze).collect();
        Cell { window: self.window, rows: self.rows, columns, is_shown: self.is_shown }
    }
}

/// Merges rows by unit into cells by window; rows without a window are left out.
///
/// # Errors
/// When states do not merge.
pub fn assemble(
    rows: &[StateRow],
    granularities: &[Granularity],
    calendar: &Calendar,
    slices: &[SliceExpression],
    has_models: bool,
) -> Result<BTreeMap<CellKey, Cell>> {
    let mut merging: BTreeMap<CellKey, Merging> = BTreeMap::new();
    for (granularity, &length) in granularities.iter().enumerate() {
        for row in rows {
            let Some(window) = row.window.and_then(|instant| calendar.window_of(length, instant)) else { continue };
            for model in models(row, has_models) {
                let key = CellKey { granularity, start: window.start, slice: row.slice.clone(), model };
                add(&mut merging, key, window, row)?;
            }
        }
    }
    hide_rare(&mut merging, slices);
    Ok(freeze(merging))
}

/// Merges all rows into one window's cells, for tables without a time.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_whole(
    rows: &[StateRow],
    window: Window,
    slices: &[SliceExpression],
    has_models: bool,
) -> Result<BTreeMap<CellKey, Cell>> {
    let mut merging = BTreeMap::new();
    for row in rows {
        for model in models(row, has_models) {
            let key = CellKey { granularity: 0, start: window.start, slice: row.slice.clone(), model };
            add(&mut merging, key, window, row)?;
        }
    }
    hide_rare(&mut merging, slices);
    Ok(freeze(merging))
}

fn models(row: &StateRow, has_models: bool) -> impl Iterator<Item = ModelKey> {
    let own = has_models.then(|| ModelKey::Id(row.model.clone()));
    [Some(ModelKey::All), own].into_iter().flatten()
}

fn add(merging: &mut BTreeMap<CellKey, Merging>, key: CellKey, window: Window, row: &StateRow) -> Result<()> {
    match merging.get_mut(&key) {
        Some(cell) => cell.add(row),
        None => {
            merging.insert(key, Merging { window, is_shown: true, rows: row.rows, states: row.states.clone() });
            Ok(())
        }
    }
}

fn freeze(merging: BTreeMap<CellKey, Merging>) -> BTreeMap<CellKey, Cell> {
    merging.into_iter().map(|(key, cell)| (key, cell.freeze())).collect()
}

/// Hides all but the most frequent values of each expression in each window, ties by value.
fn hide_rare(merging: &mut BTreeMap<CellKey, Merging>, slices: &[SliceExpression]) {
    let mut ranked: BTreeMap<_, Vec<(Reverse<u64>, Option<String>)>> = BTreeMap::new();
    for (key, cell) in merging.iter().filter(|(key, _)| key.model == ModelKey::All) {
        if let Some(slice) = key.slice.as_ref().filter(|slice| !slices[slice.expression].is_predicate) {
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
    for (key, cell) in merging.iter_mut() {
        if let Some(slice) = &key.slice {
            let at = (key.granularity, key.start, slice.expression);
            cell.is_shown = !rare.contains(&(at, slice.value.clone()));
        }
    }
}

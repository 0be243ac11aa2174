//! The columns of one side, request or response, filled row by row or column by column.

use std::collections::{HashMap, HashSet};

use jiter::Peek;

use super::column::{Column, Misfit};
use super::json::{Fault, Json, describe, excerpt};
use super::schema::{PayloadSchema, PayloadType, ScalarType, Side};

/// How many keys of an object are remembered by their order.
const REMEMBERED: usize = 4096;

/// The most values that one side of a call may unpack to, absent ones included, so that a text of three bytes a row and a
/// schema of many columns do not take the memory of all others.
pub(super) const MOST_CELLS: usize = 1 << 20;

/// A row that is refused while those beside it pass.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its position in the batch.
    pub(super) row: usize,
    pub(super) reason: String,
    pub(super) excerpt: String,
}

/// The columns of one side.
///
/// All have the same length between two payloads. What is read of a payload is taken back as a whole with
/// [`reset`](Self::reset).
#[derive(Debug)]
pub(super) struct Rows {
    side: Side,
    pub(super) columns: Vec<Column>,
    names: Vec<String>,
    types: Vec<PayloadType>,
    keys: HashMap<String, usize>,
    /// The keys of objects in the order in which they came first, for rows mostly have theirs in one order.
    seen: Vec<(String, Option<usize>)>,
    /// Columns by position; empty if no order is known.
    positions: Vec<usize>,
    /// The names of the last `dataframe_split`, and the column of each; none while they are being read.
    header: (Vec<String>, Vec<Option<usize>>),
    /// Where the payload that is read begins.
    base: usize,
    /// Rows of it that are refused, no row twice, in no order.
    pub(super) refused: Vec<Refusal>,
    /// Values under keys that no column has.
    pub(super) ignored: u64,
}

impl Rows {
    pub(super) fn new(schema: &PayloadSchema, side: Side) -> Self {
        let mut rows = Self {
            side,
            columns: Vec::new(),
            names: Vec::new(),
            types: Vec::new(),
            keys: HashMap::new(),
            seen: Vec::new(),
            positions: Vec::new(),
            header: (Vec::new(), Vec::new()),
            base: 0,
            refused: Vec::new(),
            ignored: 0,
        };
        let mut positions = Vec::new();
        for (index, column) in schema.side(side).enumerate() {
            rows.columns.push(Column::new(column.data_type));
            rows.names.push(column.name.clone());
            rows.types.push(column.data_type);
            if let Some(key) = &column.key {
                rows.keys.insert(key.clone(), index);
            }
            if let Some(position) = column.position {
                positions.push((position, index));
            }
        }
        positions.sort_unstable();
        rows.positions = positions.into_iter().map(|(_, index)| index).collect();
        rows
    }

    /// Begins the next payload.
    pub(super) fn begin(&mut self) {
        self.base = self.columns.first().map_or(0, Column::len);
        self.refused.clear();
    }

    /// Forgets what was read of the payload.
    pub(super) fn reset(&mut self) {
        let base = self.base;
        self.columns.iter_mut().for_each(|column| column.truncate(base));
        self.refused.clear();
    }

    /// Ends the payload with this many rows.
    pub(super) fn pad(&mut self, rows: usize) {
        let len = self.base + rows;
        self.columns.iter_mut().for_each(|column| column.pad(len));
    }

    /// Makes all values of a row null.
    pub(super) fn clear(&mut self, row: usize) {
        let row = self.base + row;
        self.columns.iter_mut().for_each(|column| column.clear(row));
    }

    /// The one column, if there is just one.
    fn is_sole(&self) -> bool {
        self.columns.len() == 1
    }

    /// Whether rows are values without a key.
    fn is_keyless(&self) -> bool {
        self.keys.is_empty()
    }

    /// The column of the key that stands at a place in its object.
    fn column_of(&mut self, place: usize, key: &str) -> Option<usize> {
        if let Some((seen, column)) = self.seen.get(place)
            && seen == key
        {
            return *column;
        }
        let column = self.keys.get(key).copied();
        if place == self.seen.len() && place < REMEMBERED {
            self.seen.push((key.to_owned(), column));
        }
        column
    }

    /// The number of rows after one more.
    fn after(&self, rows: usize) -> Result<usize, Fault> {
        let (rows, columns) = (rows + 1, self.columns.len());
        if rows.saturating_mul(columns) > MOST_CELLS {
            let side = self.side;
            return Err(Fault(format!("the {side} has more than {} rows of {columns} columns", rows - 1)));
        }
        Ok(rows)
    }

    fn refuse(&mut self, row: usize, reason: String, text: &str) {
        if self.refused.last().is_some_and(|last| last.row == row) {
            return;
        }
        self.refused.push(Refusal { row, reason, excerpt: excerpt(text).to_owned() });
    }

    /// Reads a value into a column. A value that does not fit refuses the row.
    #[inline]
    fn cell(&mut self, json: &mut Json<'_>, peek: Peek, column: usize, row: usize) -> Result<(), Fault> {
        let Some(values) = self.columns.get_mut(column) else {
            json.skip(peek)?;
            return Ok(());
        };
        match values.read(json, peek)? {
            None => Ok(()),
            Some(misfit) => {
                self.misfit(&misfit, column, row);
                Ok(())
            }
        }
    }

    #[cold]
    fn misfit(&mut self, misfit: &Misfit, column: usize, row: usize) {
        if let (Some(name), Some(data_type)) = (self.names.get(column), self.types.get(column)) {
            let reason = format!("column `{name}`: {} where {data_type} is expected, in row {row}", misfit.found);
            self.refuse(row, reason, &misfit.excerpt);
        }
    }

    /// Reads an array of rows and answers how many.
    pub(super) fn read_rows(&mut self, json: &mut Json<'_>) -> Result<usize, Fault> {
        let mut rows = 0;
        let mut item = json.array()?;
        while let Some(peek) = item {
            self.read_row(json, peek, rows)?;
            rows = self.after(rows)?;
            item = json.item()?;
        }
        Ok(rows)
    }

    /// Reads one row: an object by its keys, a list by positions, or the value of the one column.
    pub(super) fn read_row(&mut self, json: &mut Json<'_>, peek: Peek, row: usize) -> Result<(), Fault> {
        match peek {
            Peek::Object if !self.is_keyless() => return self.read_object(json, row),
            Peek::Array if !self.takes_arrays() => {
                return self.read_list(json, row);
            }
            Peek::Object if !self.takes_json() => {
                let reason = format!("row {row} is an object, and the columns of the {} have no keys", self.side);
                self.refuse(row, reason, json.skip(peek)?);
            }
            _ if self.is_sole() => self.cell(json, peek, 0, row)?,
            _ => {
                let reason = format!("row {row} is {}, {} values are expected", describe(peek), self.columns.len());
                self.refuse(row, reason, json.skip(peek)?);
            }
        }
        self.pad(row + 1);
        Ok(())
    }

    /// Whether a row that is a list is the value of the one column, not the values of the columns by position.
    fn takes_arrays(&self) -> bool {
        matches!(self.types.as_slice(), [PayloadType::List(_)]) || (self.is_keyless() && self.takes_json())
    }

    /// Whether the one column takes any value as text.
    fn takes_json(&self) -> bool {
        matches!(self.types.as_slice(), [PayloadType::Scalar(ScalarType::Text)])
    }

    fn read_object(&mut self, json: &mut Json<'_>, row: usize) -> Result<(), Fault> {
        let (start, at) = (json.position(), self.base + row);
        let (mut place, mut found) = (0, 0);
        let mut twice = None;
        let mut column = json.object()?.map(|key| self.column_of(place, key));
        while let Some(known) = column {
            let peek = json.peek()?;
            match known {
                Some(index) if self.columns.get(index).is_some_and(|values| values.len() == at) => {
                    self.cell(json, peek, index, row)?;
                    found += 1;
                }
                Some(index) => {
                    json.skip(peek)?;
                    twice = twice.or(Some(index));
                }
                None => {
                    json.skip(peek)?;
                    self.ignored += 1;
                }
            }
            place += 1;
            column = json.key()?.map(|key| self.column_of(place, key));
        }
        if let Some(name) = twice.and_then(|index| self.names.get(index)) {
            let reason = format!("column `{name}` comes twice in row {row}");
            self.refuse(row, reason, json.since(start));
        }
        if found < self.columns.len() {
            self.pad(row + 1);
        }
        Ok(())
    }

    fn read_list(&mut self, json: &mut Json<'_>, row: usize) -> Result<(), Fault> {
        let start = json.position();
        let mut values = 0;
        let mut item = json.array()?;
        while let Some(peek) = item {
            match self.positions.get(values) {
                Some(&column) => self.cell(json, peek, column, row)?,
                None => {
                    json.skip(peek)?;
                }
            }
            values += 1;
            item = json.item()?;
        }
        if self.positions.is_empty() {
            let reason = format!("row {row} is a list, and the order of the columns of the {} is not known", self.side);
            self.refuse(row, reason, json.since(start));
        } else if values != self.positions.len() {
            let reason = format!("row {row} has {values} values for {} columns", self.positions.len());
            self.refuse(row, reason, json.since(start));
        }
        self.pad(row + 1);
        Ok(())
    }

    /// Reads an object of arrays, one a column, or of single values, which are one row. Answers how many rows.
    pub(super) fn read_columns(&mut self, json: &mut Json<'_>, what: &str) -> Result<usize, Fault> {
        if self.is_keyless() {
            self.read_row(json, Peek::Object, 0)?;
            return Ok(1);
        }
        // The first key's column and length, and whether it has an array.
        let mut first: Option<(Option<usize>, usize, bool)> = None;
        let mut place = 0;
        let mut key = json.object()?.map(|key| self.column_of(place, key));
        while let Some(column) = key {
            let taken = column.and_then(|index| self.columns.get(index)).is_some_and(|values| values.len() > self.base);
            if taken {
                return Err(Fault(format!("{} comes twice in `{what}`", self.named(column))));
            }
            let peek = json.peek()?;
            let is_array = peek == Peek::Array;
            let mut rows = 0;
            let mut value = if is_array { json.array()? } else { Some(peek) };
            while let Some(peek) = value {
                match column {
                    Some(column) => self.cell(json, peek, column, rows)?,
                    None => {
                        json.skip(peek)?;
                        self.ignored += 1;
                    }
                }
                rows = self.after(rows)?;
                value = if is_array { json.item()? } else { None };
            }
            match first {
                None => first = Some((column, rows, is_array)),
                Some((other, _, was_array)) if was_array != is_array => {
                    let (this, other) = (self.named(column), self.named(other));
                    return Err(Fault(format!("of {this} and {other} in `{what}` only one is an array")));
                }
                Some((other, others, _)) if others != rows => {
                    let (this, other) = (self.named(column), self.named(other));
                    return Err(Fault(format!(
                        "the arrays of `{what}` differ in length: {others} in {other}, {rows} in {this}"
                    )));
                }
                Some(_) => {}
            }
            place += 1;
            key = json.key()?.map(|key| self.column_of(place, key));
        }
        // By columns a row can be refused more than once; the first column in the text has its say.
        self.refused.sort_by_key(|refusal| refusal.row);
        self.refused.dedup_by_key(|refusal| refusal.row);
        let rows = first.map_or(0, |(_, rows, _)| rows);
        self.pad(rows);
        Ok(rows)
    }

    fn named(&self, column: Option<usize>) -> String {
        let name = column.and_then(|index| self.names.get(index));
        name.map_or_else(|| "a key without a column".to_owned(), |name| format!("`{name}`"))
    }

    /// Reads the names of the columns of `dataframe_split`. pandas numbers columns that have none: such a number is a
    /// name too. Callers mostly send the same names again.
    pub(super) fn read_names(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let (names, columns) = &mut self.header;
        let mut place = 0;
        let mut item = json.array()?;
        while let Some(peek) = item {
            let name = match peek {
                Peek::String => json.string()?,
                peek if peek.is_num() => json.skip(peek)?,
                peek => return Err(Fault(format!("a name in `columns` is {}, text is expected", describe(peek)))),
            };
            if names.get(place).is_none_or(|known| known != name) {
                columns.clear();
                names.truncate(place);
                names.push(name.to_owned());
            }
            place += 1;
            item = json.item()?;
        }
        if names.len() > place {
            columns.clear();
            names.truncate(place);
        }
        if columns.len() != place {
            // Callers choose the names, and how many: they are looked at once each.
            let mut taken = HashSet::with_capacity(place);
            if let Some(name) = names.iter().find(|name| !taken.insert(name.as_str())) {
                let fault = Fault(format!("`columns` has `{}` twice", excerpt(name)));
                columns.clear();
                return Err(fault);
            }
            *columns = names.iter().map(|name| self.keys.get(name).copied()).collect();
            // One value without a key is the one column, whatever the caller calls it.
            if let ([column], true, 1) = (columns.as_mut_slice(), self.keys.is_empty(), self.columns.len()) {
                *column = Some(0);
            }
        }
        Ok(())
    }

    /// Reads an array of rows whose values stand in the order of the names that were [read](Self::read_names).
    pub(super) fn read_split(&mut self, json: &mut Json<'_>) -> Result<usize, Fault> {
        let columns = std::mem::take(&mut self.header.1);
        let rows = self.read_split_rows(json, &columns);
        self.header.1 = columns;
        rows
    }

    fn read_split_rows(&mut self, json: &mut Json<'_>, columns: &[Option<usize>]) -> Result<usize, Fault> {
        let is_partial = columns.iter().flatten().count() < self.columns.len();
        let mut rows = 0;
        let mut item = json.array()?;
        while let Some(peek) = item {
            if peek == Peek::Array {
                self.read_split_row(json, columns, rows, is_partial)?;
            } else {
                let reason = format!("row {rows} of `data` is {}, a list is expected", describe(peek));
                self.refuse(rows, reason, json.skip(peek)?);
                self.pad(rows + 1);
            }
            rows = self.after(rows)?;
            item = json.item()?;
        }
        Ok(rows)
    }

    fn read_split_row(
        &mut self,
        json: &mut Json<'_>,
        columns: &[Option<usize>],
        row: usize,
        is_partial: bool,
    ) -> Result<(), Fault> {
        let start = json.position();
        let mut values = 0;
        let mut item = json.array()?;
        while let Some(peek) = item {
            match columns.get(values) {
                Some(Some(column)) => self.cell(json, peek, *column, row)?,
                unknown => {
                    json.skip(peek)?;
                    self.ignored += u64::from(unknown.is_some());
                }
            }
            values += 1;
            item = json.item()?;
        }
        if values != columns.len() {
            let reason = format!("row {row} of `data` has {values} values for {} columns", columns.len());
            self.refuse(row, reason, json.since(start));
        }
        if is_partial || values != columns.len() {
            self.pad(row + 1);
        }
        Ok(())
    }
}

//! Rows of the ledger: one state of one column over the rows of one window, model and slice.

use std::hash::Hasher;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use limno_metrics::MeasureState;
use limno_metrics::schema::{LOG_TYPE_BASELINE, LOG_TYPE_INPUT, TABLE_COLUMN, timestamp};
use twox_hash::XxHash3_64;

use crate::{Error, Result};

/// The log type of the one row that says how far the ledger has come.
const WATERMARK: &str = "WATERMARK";

/// Which table a state is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The monitored table.
    Input,
    /// The baseline.
    Baseline,
    /// None: the row holds the [`Watermark`](super::Watermark).
    Watermark,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Input => LOG_TYPE_INPUT,
            Self::Baseline => LOG_TYPE_BASELINE,
            Self::Watermark => WATERMARK,
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Input, Self::Baseline, Self::Watermark].into_iter().find(|role| role.name() == name)
    }
}

/// What a row is about. The order is that of the rows in a file: a reader of some columns finds them together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerKey {
    /// The table.
    pub role: Role,
    /// The column, or another measure; `None` counts the rows.
    pub column: Option<String>,
    /// Start of the window of the ledger's unit, in microseconds; `None` for tables without a time, and for the count
    /// of the rows that are in no window.
    pub window: Option<i64>,
    /// The model id; `None` without a model column, and for rows whose model id is null.
    pub model: Option<String>,
    /// Slice key and value; `None` for all rows.
    pub slice: Option<(String, Option<String>)>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// What it is about.
    pub key: LedgerKey,
    /// Digest of the definitions of column and slice.
    pub definition: String,
    /// The rows that the state is over.
    pub rows: u64,
    /// The encoded state; none in a count of rows.
    pub state: Option<Vec<u8>>,
}

impl LedgerRow {
    /// Adds the rows of `other`, which is about the same.
    ///
    /// # Errors
    /// When a state does not decode or merge.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.rows += other.rows;
        if let (Some(ours), Some(theirs)) = (&mut self.state, &other.state) {
            let mut state = MeasureState::decode(ours)?;
            state.merge(&MeasureState::decode(theirs)?)?;
            *ours = state.encode();
        }
        Ok(())
    }

    /// Bytes that the row takes in memory, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let slice = self.key.slice.as_ref().map_or(0, |(key, value)| key.len() + text(value));
        let texts = text(&self.key.column) + text(&self.key.model) + slice + self.definition.len();
        size_of::<Self>() + texts + self.state.as_ref().map_or(0, Vec::len)
    }

    /// Tells a row that was damaged on its way.
    fn checksum(&self) -> i64 {
        let mut hash = XxHash3_64::with_seed(0);
        let mut part = |bytes: Option<&[u8]>| {
            hash.write(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            hash.write(bytes.unwrap_or_default());
        };
        let LedgerKey { role, column, window, model, slice } = &self.key;
        part(Some(role.name().as_bytes()));
        part(column.as_deref().map(str::as_bytes));
        part(window.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
        part(model.as_deref().map(str::as_bytes));
        part(slice.as_ref().map(|(key, _)| key.as_bytes()));
        part(slice.as_ref().and_then(|(_, value)| value.as_deref().map(str::as_bytes)));
        part(Some(self.definition.as_bytes()));
        part(Some(&self.rows.to_le_bytes()));
        part(self.state.as_deref());
        hash.finish().cast_signed()
    }
}

/// The schema of the table.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        string("log_type"),
        Field::new("window_start", timestamp(), true),
        string("unit"),
        string("model_id"),
        string("slice_key"),
        string("slice_value"),
        string("column_name"),
        string("definition"),
        Field::new("rows", DataType::Int64, true),
        Field::new("state", DataType::Binary, true),
        Field::new("checksum", DataType::Int64, true),
    ]))
});

/// The rows as a batch of [`SCHEMA`]; `unit` is the length of the ledger's windows.
///
/// # Errors
/// When the batch does not fit the schema, which would be a defect.
pub fn to_batch(rows: &[LedgerRow], unit: &str) -> Result<RecordBatch> {
    let text =
        |of: fn(&LedgerRow) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let mut states = BinaryBuilder::new();
    rows.iter().for_each(|row| states.append_option(row.state.as_deref()));
    let windows = rows.iter().map(|row| row.key.window).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let counts = rows.iter().map(|row| i64::try_from(row.rows).ok()).collect::<Int64Array>();
    let checksums = rows.iter().map(|row| Some(row.checksum())).collect::<Int64Array>();
    let units = rows.iter().map(|row| (row.key.role == Role::Input).then_some(unit)).collect::<StringArray>();
    let columns = vec![
        text(|row| Some(row.key.role.name())),
        Arc::new(windows),
        Arc::new(units),
        text(|row| row.key.model.as_deref()),
        text(|row| row.key.slice.as_ref().map(|slice| slice.0.as_str())),
        text(|row| row.key.slice.as_ref().and_then(|slice| slice.1.as_deref())),
        text(|row| Some(row.key.column.as_deref().unwrap_or(TABLE_COLUMN))),
        text(|row| Some(&row.definition)),
        Arc::new(counts),
        Arc::new(states.finish()),
        Arc::new(checksums),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// Reads a batch of the table.
///
/// # Errors
/// [`Error::Ledger`] when the batch is of another shape, or when a row is not as it was written.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<LedgerRow>> {
    let typed = |name: &str, data_type: &DataType| -> Result<ArrayRef> {
        let values = batch.column_by_name(name).ok_or_else(|| damaged(format!("it has no column {name}")))?;
        cast(values, data_type).map_err(|error| damaged(error.to_string()))
    };
    let text = |name: &str| Ok::<_, Error>(typed(name, &DataType::Utf8)?.as_string::<i32>().clone());
    let (roles, models, columns) = (text("log_type")?, text("model_id")?, text("column_name")?);
    let (keys, values, definitions) = (text("slice_key")?, text("slice_value")?, text("definition")?);
    let windows = typed("window_start", &timestamp())?;
    let windows = windows.as_primitive::<TimestampMicrosecondType>();
    let (counts, checksums) = (typed("rows", &DataType::Int64)?, typed("checksum", &DataType::Int64)?);
    let (counts, checksums) = (counts.as_primitive::<Int64Type>(), checksums.as_primitive::<Int64Type>());
    let states = typed("state", &DataType::Binary)?;
    let states = states.as_binary::<i32>();
    let at = |values: &StringArray, row: usize| values.is_valid(row).then(|| values.value(row).to_owned());
    (0..batch.num_rows())
        .map(|row| {
            let role = Role::of(roles.value(row)).ok_or_else(|| damaged("a row has no known log_type".to_owned()))?;
            let read = LedgerRow {
                key: LedgerKey {
                    role,
                    column: at(&columns, row).filter(|column| column != TABLE_COLUMN),
                    window: windows.is_valid(row).then(|| windows.value(row)),
                    model: at(&models, row),
                    slice: at(&keys, row).map(|key| (key, at(&values, row))),
                },
                definition: definitions.value(row).to_owned(),
                rows: u64::try_from(counts.value(row)).unwrap_or(0),
                state: states.is_valid(row).then(|| states.value(row).to_vec()),
            };
            if read.checksum() == checksums.value(row) {
                Ok(read)
            } else {
                Err(damaged("the checksum of a row is wrong".to_owned()))
            }
        })
        .collect()
}

fn damaged(message: String) -> Error {
    Error::Ledger { message }
}

#[cfg(test)]
mod tests {
    use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};

    use super::*;

    fn row(column: Option<&str>, window: Option<i64>) -> LedgerRow {
        let state = ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric)).encode();
        LedgerRow {
            key: LedgerKey {
                role: Role::Input,
                column: column.map(str::to_owned),
                window,
                model: Some("m".to_owned()),
                slice: Some(("a > 1".to_owned(), None)),
            },
            definition: "d".to_owned(),
            rows: 7,
            state: column.map(|_| state),
        }
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let rows = [row(None, Some(-5)), row(Some("x"), Some(0)), row(Some("y"), None)];
        let batch = to_batch(&rows, "1 day, UTC").unwrap();
        assert_eq!(from_batch(&batch).unwrap(), rows);
    }

    #[test]
    fn a_row_that_was_changed_is_noticed() {
        let batch = to_batch(&[row(Some("x"), Some(0))], "1 day, UTC").unwrap();
        for column in 0..batch.num_columns() {
            // Neither is read back.
            if ["unit"].contains(&batch.schema().field(column).name().as_str()) {
                continue;
            }
            let mut columns = batch.columns().to_vec();
            let is_null = batch.column(column).null_count() > 0;
            columns[column] = if is_null {
                Arc::new(StringArray::from(vec!["other"]))
            } else {
                arrow::array::new_null_array(batch.column(column).data_type(), 1)
            };
            let changed = RecordBatch::try_new(batch.schema(), columns).unwrap();
            assert!(from_batch(&changed).is_err(), "{}", batch.schema().field(column).name());
        }
    }
}

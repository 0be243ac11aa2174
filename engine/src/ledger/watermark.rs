//! How far a ledger has come, and of what its states are.

use std::collections::BTreeMap;

use deltalake::DeltaTable;
use limno_sql::source::{Source, SourceVersion};
use limno_sql::window::{Spans, Window};
use serde::{Deserialize, Serialize};

use super::row::{LedgerKey, LedgerRow, Role};
use crate::{Error, Result};

/// Raised when states or keys change their meaning: older ledgers are then computed anew.
const FORMAT: u32 = 2;

/// What a ledger holds: which versions of which tables, and under which definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Of the states and keys.
    pub format: u32,
    /// Digest of what every row depends on: how rows find their window and model.
    pub scope: String,
    /// Length of the ledger's windows, as a granularity; empty for a table without a time.
    pub unit: String,
    /// The monitored table.
    pub source: TableMark,
    /// The table of labels.
    pub labels: Option<TableMark>,
    /// The columns of a log of requests, as they were found or told when it was first read.
    pub payload_schema: Option<String>,
    /// The baseline.
    pub baseline: Option<BaselineMark>,
    /// Digests of the columns that have states in all windows, by name.
    pub columns: BTreeMap<String, String>,
    /// Digests of the slice expressions that have states in all windows, by key.
    pub slices: BTreeMap<String, String>,
    /// No fewer than the values that a slice expression has, by key.
    pub slice_values: BTreeMap<String, usize>,
    /// Parts of time whose files could not be read: they are as they were before, and tried again.
    pub pending: Vec<(i64, i64)>,
    /// Whether that holds for the count of the rows without a window.
    pub pending_without_window: bool,
    /// The states of windows that began before were dropped, in microseconds.
    pub states_from: Option<i64>,
}

/// A version of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMark {
    /// A Delta table's own id.
    pub table_id: Option<String>,
    /// A Delta table's version.
    pub version: Option<u64>,
    /// How many active files it had.
    pub files: Option<usize>,
    /// The files, where there is no Delta table.
    pub listing: Option<String>,
}

/// What the ledger knows of the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineMark {
    /// The version.
    pub table: TableMark,
    /// Digest of the columns, slices and model column that its states are of.
    pub definition: String,
}

impl TableMark {
    /// The version at which `source` was opened.
    ///
    /// # Errors
    /// When the log does not list the active files.
    pub fn of(source: &Source) -> Result<Self> {
        let none = Self { table_id: None, version: None, files: None, listing: None };
        match &source.version {
            SourceVersion::Delta { table_id, version } => {
                let unreadable = |error| limno_sql::Error::Delta { uri: source.uri.clone(), source: Box::new(error) };
                let files = source.delta.as_deref().map(DeltaTable::snapshot).transpose().map_err(unreadable)?;
                let files = files.map(|snapshot| snapshot.log_data().num_files());
                Ok(Self { table_id: Some(table_id.clone()), version: Some(*version), files, ..none })
            }
            SourceVersion::Files { listing } => Ok(Self { listing: Some(listing.clone()), ..none }),
        }
    }
}

impl Watermark {
    /// A mark of these versions, without columns, slices or anything pending.
    #[must_use]
    pub fn new(scope: String, unit: String, source: TableMark) -> Self {
        Self {
            format: FORMAT,
            scope,
            unit,
            source,
            labels: None,
            payload_schema: None,
            baseline: None,
            columns: BTreeMap::new(),
            slices: BTreeMap::new(),
            slice_values: BTreeMap::new(),
            pending: Vec::new(),
            pending_without_window: false,
            states_from: None,
        }
    }

    /// The parts of time that are still to be read.
    #[must_use]
    pub fn pending_spans(&self) -> Spans {
        let mut spans = if self.pending_without_window { Spans::without_time() } else { Spans::none() };
        for &(start, end) in &self.pending {
            spans.insert(Window { start, end });
        }
        spans
    }

    /// Notes what is still to be read.
    pub fn set_pending(&mut self, spans: &Spans) {
        self.pending = spans.spans().iter().map(|span| (span.start, span.end)).collect();
        self.pending_without_window = spans.has_rows_without_time();
    }

    /// The row of the ledger that holds it.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which would be a defect.
    pub fn to_row(&self) -> Result<LedgerRow> {
        let state = serde_json::to_vec(self).map_err(|error| Error::Ledger { message: error.to_string() })?;
        Ok(LedgerRow {
            key: LedgerKey { role: Role::Watermark, column: None, window: None, model: None, slice: None },
            definition: String::new(),
            rows: 0,
            state: Some(state),
        })
    }

    /// Reads it from its row.
    ///
    /// # Errors
    /// [`Error::Ledger`] when another version wrote it.
    pub fn of_row(row: &LedgerRow) -> Result<Self> {
        let other = |message| Error::Ledger { message };
        let state = row.state.as_deref().unwrap_or_default();
        let value: serde_json::Value = serde_json::from_slice(state).map_err(|error| other(error.to_string()))?;
        if value["format"].as_u64() > Some(u64::from(FORMAT)) {
            let message =
                "the ledger was written by a newer version of limno; use that, or remove the ledger".to_owned();
            return Err(Error::Usage { message });
        }
        if value["format"] != FORMAT {
            return Err(other(format!("its format is {}, this version writes {FORMAT}", value["format"])));
        }
        serde_json::from_value(value).map_err(|error| other(error.to_string()))
    }
}

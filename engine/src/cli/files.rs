//! What `compare` and `profile` share: one table or file as one state a column, without any configuration.

use std::sync::Arc;

use limno_metrics::column::{ColumnKind, ColumnOptions, spark_type_name};
use limno_metrics::profile::FrozenColumn;
use limno_sql::executor::LocalExecutor;
use limno_sql::plan::{StateQuery, Within};
use limno_sql::session::{self, SessionOptions};
use limno_sql::source::Source;

use super::args::LookArgs;
use crate::config::{Precision, is_glob, name_hint};
use crate::{Error, Result};

/// A column of a table, measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) data_type: String,
    pub(super) kind: ColumnKind,
    pub(super) state: Arc<FrozenColumn>,
}

/// A table, measured.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) source: Source,
    pub(super) rows: u64,
    pub(super) columns: Vec<Measured>,
}

impl Table {
    /// Reads and measures the table at `uri`.
    pub(super) async fn measure(uri: &str, look: &LookArgs) -> Result<Self> {
        let context = session::context(&SessionOptions::default());
        let source = Source::open(&context, uri).await.map_err(as_usage)?;
        let schema = source.schema();
        let selection = look.selection();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        for wanted in selection.include.iter().flatten().chain(&selection.categorical) {
            if !is_glob(&wanted.value) && !names.contains(&wanted.value.as_str()) {
                let hint = name_hint(&wanted.value, &names).map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                return Err(Error::Usage {
                    message: format!("{}: {uri} has no column {:?}{hint}", wanted.key, wanted.value),
                });
            }
        }
        let columns: Vec<(String, String, ColumnOptions)> = schema
            .fields()
            .iter()
            .filter(|field| selection.is_included(field.name()))
            .map(|field| {
                let categorical =
                    selection.is_categorical(field.name()) && ColumnKind::can_be_categorical(field.data_type());
                let kind = if categorical { ColumnKind::Categorical } else { ColumnKind::of(field.data_type()) };
                let options = match look.precision.0 {
                    // One look at two files can afford what a ledger of thousands of states cannot.
                    Precision::Bounded { max_buckets } => {
                        ColumnOptions { max_buckets, ..ColumnOptions::new(kind) }.with_exact_distinct()
                    }
                    Precision::Exact => ColumnOptions::exact(kind),
                };
                (field.name().clone(), spark_type_name(field.data_type()), options)
            })
            .collect();
        if columns.is_empty() {
            return Err(Error::Usage { message: format!("{uri} has no column to look at") });
        }
        let query = StateQuery {
            source: source.clone(),
            time: None,
            model: None,
            slices: Vec::new(),
            columns: columns.iter().map(|(name, _, options)| (name.clone(), *options)).collect(),
            within: Within::Everything,
            with_whole: true,
        };
        // An empty table yields no group at all: its states are empty.
        let row = query.run(&LocalExecutor::new(context)).await?.pop();
        let (rows, states) = match row {
            Some(row) => (row.rows, row.states),
            None => {
                let empty = |(_, _, options): &(String, String, ColumnOptions)| {
                    limno_metrics::column::ColumnState::empty(options)
                };
                (0, columns.iter().map(empty).collect())
            }
        };
        let columns = columns
            .into_iter()
            .zip(states)
            .map(|((name, data_type, options), state)| {
                Ok(Measured { name, data_type, kind: options.kind, state: Arc::new(state.freeze()) })
            })
            .collect::<Result<_>>()?;
        Ok(Self { source, rows, columns })
    }
}

/// A location that is not there or no table is a mistake in the call.
fn as_usage(error: limno_sql::Error) -> Error {
    match error {
        limno_sql::Error::NotFound { .. }
        | limno_sql::Error::NotATable { .. }
        | limno_sql::Error::Unsupported { .. } => Error::Usage { message: error.to_string() },
        other => other.into(),
    }
}

/// Failures to print: a closed pipe keeps its kind, so that the caller can end quietly.
pub(super) fn output_error(error: super::output::OutputError) -> Error {
    match error {
        super::output::OutputError::Write(error) => Error::Io(error),
        other => Error::Usage { message: other.to_string() },
    }
}

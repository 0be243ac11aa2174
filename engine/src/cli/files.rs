//! What `compare` and `profile` share: one table or file as one state a column, by the `[store]` blocks of a configuration alone.

use std::sync::Arc;

use limno_metrics::column::{ColumnKind, ColumnOptions, spark_type_name};
use limno_metrics::profile::FrozenColumn;
use limno_sql::executor::LocalExecutor;
use limno_sql::lake::LakeOptions;
use limno_sql::plan::{Measure, StateQuery, Within, leaves};
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
    pub(super) async fn measure(uri: &str, look: &LookArgs, lake: &LakeOptions) -> Result<Self> {
        let context = session::context(&SessionOptions { lake: lake.clone(), ..SessionOptions::default() })?;
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
        let leaves = schema.fields().iter().filter(|field| selection.is_included(field.name())).flat_map(|field| {
            // A column of the very name of a field is the one that is meant.
            let is_free = |path: &Vec<String>| path.len() == 1 || schema.field_with_name(&path.join(".")).is_err();
            leaves(field.name(), field.data_type()).into_iter().filter(move |(path, _)| is_free(path))
        });
        let columns: Vec<(Measure, String, ColumnOptions)> = leaves
            .map(|(path, data_type)| {
                let name = path.join(".");
                let categorical = selection.is_categorical(&name) && ColumnKind::can_be_categorical(&data_type);
                let kind = if categorical { ColumnKind::Categorical } else { ColumnKind::of(&data_type) };
                let options = match look.precision.0 {
                    // One look at two files can afford what a ledger of thousands of states cannot.
                    Precision::Bounded { max_buckets } => {
                        ColumnOptions { max_buckets, ..ColumnOptions::new(kind) }.with_exact_distinct()
                    }
                    Precision::Exact => ColumnOptions::exact(kind),
                };
                (Measure::of_column(&name, &path, options), spark_type_name(&data_type), options)
            })
            .collect();
        if columns.is_empty() {
            return Err(Error::Usage { message: format!("{uri} has no column to look at") });
        }
        let query = StateQuery {
            source: source.clone(),
            time: None,
            model: None,
            sampling_fraction: None,
            slices: Vec::new(),
            measures: columns.iter().map(|(measure, _, _)| measure.clone()).collect(),
            within: Within::Everything,
            with_whole: true,
        };
        // An empty table yields no group at all: its states are empty.
        let row = query.run(&LocalExecutor::new(context)).await?.pop();
        let (rows, states) = match row {
            Some(row) => (row.rows, row.states),
            None => {
                let empty = |(measure, _, _): &(Measure, String, ColumnOptions)| measure.options.empty();
                (0, columns.iter().map(empty).collect())
            }
        };
        let columns = columns
            .into_iter()
            .zip(states)
            .filter_map(|((measure, data_type, options), state)| {
                let state = Arc::new(state.into_column()?.freeze());
                Some(Measured { name: measure.name, data_type, kind: options.kind, state })
            })
            .collect();
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

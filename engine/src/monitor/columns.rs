//! Which columns are profiled, and what their states keep.

use arrow::datatypes::{DataType, Schema};
use limno_metrics::column::{ColumnKind, ColumnOptions, spark_type_name};
use limno_sql::plan::leaves;

use super::bound::BoundColumn;
use crate::config::{Located, MonitorConfig, MonitorKind, Precision, ProblemType, glob_matches};

/// The columns of a log of requests that tell one from another, and say nothing of many.
const REQUEST_KEYS: [&str; 3] = ["request_id", "client_request_id", "row_id"];

/// Those selected, less the ones that only say when and by whom. A field of a struct is also selected with its struct.
pub(super) fn is_profiled(config: &MonitorConfig, column: &str) -> bool {
    // The timestamp and the model id are keys of every row; they are profiled only when asked for by name.
    let mut roles = [config.kind.timestamp(), config.kind.model_id()].into_iter().flatten();
    let is_key = roles.any(|role| role.value == column) || (config.kind.is_payload() && REQUEST_KEYS.contains(&column));
    config.columns.is_included(column) && (config.columns.include.is_some() || !is_key)
}

/// The profiled columns: those of the table in its order, each struct before its fields.
pub(super) fn select_columns(config: &MonitorConfig, schema: &Schema) -> Vec<BoundColumn> {
    let is_hidden = |name: &str| name.starts_with("__") && config.kind.is_payload();
    let mut columns: Vec<BoundColumn> = Vec::new();
    for field in schema.fields().iter().filter(|field| !is_hidden(field.name())) {
        let is_whole = is_profiled(config, field.name());
        for (path, data_type) in leaves(field.name(), field.data_type()) {
            let name = path.join(".");
            // A column of this very name is the one that it means.
            let is_taken = path.len() > 1 && schema.field_with_name(&name).is_ok();
            let is_selected = if path.len() == 1 { is_whole } else { is_profiled_field(config, &path, is_whole) };
            if is_selected && !is_taken {
                let options = column_options(config, &name, &data_type);
                let is_class = is_class(config, &name);
                columns.push(BoundColumn { name, path, data_type: spark_type_name(&data_type), options, is_class });
            }
        }
    }
    columns
}

/// Whether a field of a struct is profiled: with the struct that it is in, unless one of the two is left out.
fn is_profiled_field(config: &MonitorConfig, path: &[String], is_whole: bool) -> bool {
    let around: Vec<String> = (1..=path.len()).map(|depth| path[..depth].join(".")).collect();
    let is_any = |patterns: &[Located<String>], names: &[String]| {
        names.iter().any(|name| patterns.iter().any(|pattern| glob_matches(&pattern.value, name)))
    };
    let is_asked_for = is_whole || config.columns.include.as_ref().is_some_and(|include| is_any(include, &around[1..]));
    is_asked_for && !is_any(&config.columns.exclude, &around)
}

/// The type of a column, or of a field within one.
pub(super) fn type_at(schema: &Schema, path: &[String]) -> Option<DataType> {
    let (column, fields) = path.split_first()?;
    let mut data_type = schema.field_with_name(column).ok()?.data_type().clone();
    for field in fields {
        let DataType::Struct(children) = data_type else { return None };
        data_type = children.find(field)?.1.data_type().clone();
    }
    Some(data_type)
}

/// Whether a column holds the classes of a classification, predicted or true.
fn is_class(config: &MonitorConfig, name: &str) -> bool {
    match &config.kind {
        MonitorKind::InferenceLog { prediction, problem_type: ProblemType::Classification, .. } => {
            prediction.value == name || config.kind.label().is_some_and(|label| label.value == name)
        }
        _ => false,
    }
}

pub(super) fn column_options(config: &MonitorConfig, name: &str, data_type: &DataType) -> ColumnOptions {
    let is_categorical =
        (is_class(config, name) || config.columns.is_categorical(name)) && ColumnKind::can_be_categorical(data_type);
    let kind = if is_categorical { ColumnKind::Categorical } else { ColumnKind::of(data_type) };
    match config.columns.precision(name, config.precision) {
        Precision::Bounded { max_buckets } => ColumnOptions { max_buckets, ..ColumnOptions::new(kind) },
        Precision::Exact => ColumnOptions::exact(kind),
    }
}

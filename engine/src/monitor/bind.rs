//! Binding: all problems of a configuration with its tables, found before anything is computed or written.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use limno_metrics::column::{ColumnKind, spark_type_name};
use limno_metrics::schema::{Shape, drift_schema, profile_schema};
use limno_sql::expression::{SliceExpression, parse_slice};
use limno_sql::functions::to_instant;
use limno_sql::plan::{Measure, leaves};
use limno_sql::source::{LabelJoin, Source, View};

use super::bound::{BaselineColumn, BoundBaseline, BoundColumn, BoundMonitor};
use super::columns::{column_options, is_profiled, select_columns, type_at};
use super::metric::{Binding, bind_metrics};
use super::payload::unpack;
use super::quality::bind_quality;
use crate::config::{
    Against, LabelsConfig, Located, MonitorConfig, MonitorKind, Probabilities, Problem, Problems, Roles, RuleConfig,
    glob_matches, is_glob, name_hint,
};
use crate::{Error, Result};

/// Opens the tables of `config` and checks everything that it says about them.
///
/// # Errors
/// [`Error::Config`] with all problems at once; other errors when a table does not open.
pub async fn bind(context: &SessionContext, config: &MonitorConfig, file: &str) -> Result<BoundMonitor> {
    let mut problems = Vec::new();
    let source = open(context, &config.table, file, &mut problems).await?;
    let baseline = match &config.baseline {
        Some(baseline) => open(context, baseline, file, &mut problems).await?,
        None => None,
    };
    let labels = match labels_of(config) {
        Some(labels) => open(context, &labels.table, file, &mut problems).await?,
        None => None,
    };
    let Some(mut source) = source else { return Err(Problems(problems).into()) };
    if let Some(payload) = config.kind.payload() {
        source = unpack(context, source, config, payload, file, &mut problems).await?;
        if source.payload().is_none() {
            return Err(Problems(problems).into());
        }
    }
    if let (Some(config), Some(labels)) = (labels_of(config), &labels) {
        source = with_labels(source, labels, config, file, &mut problems)?;
    }
    let schema = source.schema();
    check_roles(config, file, &schema, &mut problems);
    check_timestamp(config, file, &schema, &mut problems);
    check_weight(config, file, &schema, &mut problems);
    check_selection(config, file, &schema, &mut problems);
    check_limits(config, file, &schema, &mut problems);
    check_names(config, file, &schema, &mut problems);
    let slices = parse_slices(context, config, file, &schema, &mut problems)?;
    let columns = select_columns(config, &schema);
    if columns.is_empty() && problems.is_empty() {
        problems.push(config.table.problem(
            file,
            "no column is left to profile",
            Some("see columns.include and columns.exclude".to_owned()),
        ));
    }
    let has_roles = problems.is_empty();
    let quality = if has_roles { bind_quality(config, file, &schema, &mut problems) } else { None };
    let metrics = {
        let shape = Shape {
            quality: config.kind.quality(),
            ..Shape::of_model(config.kind.model_id().map(|column| column.value.as_str()))
        };
        let binding = Binding {
            context,
            file,
            schema: &DFSchema::try_from(schema.as_ref().clone())?,
            columns: &columns,
            shape: &shape,
            roles: &roles(config),
        };
        bind_metrics(&config.metrics, &binding, &mut problems)
    };
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    let mut monitor =
        BoundMonitor { config: config.clone(), source, labels, baseline: None, columns, quality, metrics, slices };
    if let Some(source) = baseline {
        monitor.baseline = Some(bind_baseline(context, &monitor, source)?);
    }
    Ok(monitor)
}

const fn labels_of(config: &MonitorConfig) -> Option<&LabelsConfig> {
    match &config.kind {
        MonitorKind::InferenceLog { labels, .. } => labels.as_ref(),
        MonitorKind::Snapshot | MonitorKind::TimeSeries { .. } => None,
    }
}

/// The columns that definitions of metrics can name by their role.
fn roles(config: &MonitorConfig) -> Roles {
    let mut roles = Roles::default();
    let mut add = |name, column: Option<&Located<String>>| {
        roles.columns.extend(column.map(|column| (name, column.value.clone())));
    };
    add("timestamp_col", config.kind.timestamp());
    add("model_id_col", config.kind.model_id());
    add("label_col", config.kind.label());
    if let MonitorKind::InferenceLog { prediction, .. } = &config.kind {
        add("prediction_col", Some(prediction));
    }
    roles
}

/// The source with the labels of another table joined to its rows.
fn with_labels(
    source: Source,
    labels: &Source,
    config: &LabelsConfig,
    file: &str,
    problems: &mut Vec<Problem>,
) -> Result<Source> {
    let before = problems.len();
    let (rows, told) = (source.schema(), labels.schema());
    for (column, other) in &config.on {
        check_column(column, file, &rows, problems);
        let named = Located { value: other.clone(), ..column.clone() };
        check_label_column(&named, file, &told, problems);
        if let (Ok(ours), Ok(theirs)) = (rows.field_with_name(&column.value), told.field_with_name(other)) {
            let (ours, theirs) = (ours.data_type(), theirs.data_type());
            let is_alike = (ours.is_string() && theirs.is_string())
                || (ours.is_numeric() && theirs.is_numeric())
                || spark_type_name(ours) == spark_type_name(theirs);
            if !is_alike {
                let message = format!(
                    "column {:?} has type {}, that of the labels {}: no value of one is a value of the other",
                    column.value,
                    spark_type_name(ours),
                    spark_type_name(theirs)
                );
                problems.push(column.problem(file, message, None));
            }
        }
    }
    check_label_column(&config.label, file, &told, problems);
    if let Some(latest_by) = &config.latest_by {
        check_label_column(latest_by, file, &told, problems);
    }
    if rows.field_with_name(&config.label.value).is_ok() {
        let message = format!("the monitored table has a column {:?} of its own", config.label.value);
        let hint = "give the column of the labels another name, in a view of their table".to_owned();
        problems.push(config.label.problem(file, message, Some(hint)));
    }
    if problems.len() > before {
        return Ok(source);
    }
    let join = LabelJoin {
        labels: labels.clone(),
        on: config.on.iter().map(|(column, other)| (column.value.clone(), other.clone())).collect(),
        label: config.label.value.clone(),
        latest_by: config.latest_by.as_ref().map(|column| column.value.clone()),
    };
    Ok(source.with_view(View::Labels(Arc::new(join)))?)
}

fn check_label_column(column: &Located<String>, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    if schema.field_with_name(&column.value).is_err() {
        let message = format!("the table of labels has no column {:?}", column.value);
        problems.push(column.problem(file, message, nearest(schema, &column.value)));
    }
}

async fn open(
    context: &SessionContext,
    location: &Located<String>,
    file: &str,
    problems: &mut Vec<Problem>,
) -> Result<Option<Source>> {
    match Source::open(context, &location.value).await {
        Ok(source) => Ok(Some(source)),
        Err(
            error @ (limno_sql::Error::NotFound { .. }
            | limno_sql::Error::NotATable { .. }
            | limno_sql::Error::Unsupported { .. }),
        ) => {
            problems.push(location.problem(file, error.to_string(), None));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn nearest(schema: &Schema, name: &str) -> Option<String> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    name_hint(name, &names)
}

fn check_column(column: &Located<String>, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    if schema.field_with_name(&column.value).is_err() {
        let message = format!("the table has no column {:?}", column.value);
        problems.push(column.problem(file, message, nearest(schema, &column.value)));
    }
}

fn check_roles(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    if let Some(timestamp) = config.kind.timestamp() {
        check_column(timestamp, file, schema, problems);
    }
    if let MonitorKind::InferenceLog { model_id, prediction, label, prediction_proba, sampling_fraction, .. } =
        &config.kind
    {
        let scores = prediction_proba.iter().flat_map(Probabilities::columns);
        for column in [Some(model_id), Some(prediction), label.as_ref(), sampling_fraction.as_ref()]
            .into_iter()
            .flatten()
            .chain(scores)
        {
            check_column(column, file, schema, problems);
        }
    }
}

fn check_weight(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let Some(column) = config.kind.sampling_fraction() else { return };
    let Ok(field) = schema.field_with_name(&column.value) else { return };
    if !field.data_type().is_numeric() {
        let data_type = spark_type_name(field.data_type());
        let message = format!("column {:?} has type {data_type}, but a share is a number", column.value);
        problems.push(column.problem(file, message, None));
    }
    for rule in config.rules.iter().filter(|rule| rule.significance.is_some()) {
        let message = "a rule with significance takes p-values, which do not know that rows count more than once";
        let hint = format!("remove significance, or {}", column.key);
        problems.push(rule.metric.problem(file, message, Some(hint)));
    }
}

fn check_timestamp(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let Some(timestamp) = config.kind.timestamp() else { return };
    let Ok(field) = schema.field_with_name(&timestamp.value) else { return };
    let probe = datafusion::logical_expr::lit(0);
    if let Err(error) = to_instant(probe, field.data_type(), config.timezone) {
        problems.push(timestamp.problem(file, error.message().into_owned(), None));
    }
}

/// What the configuration asks of the metric tables and they cannot give.
fn check_names(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    for field in schema.fields().iter().filter(|field| field.name().starts_with(':')) {
        if is_profiled(config, field.name()) {
            let message = format!(
                "column {:?} begins with a colon, as the names do that the metric tables have for themselves",
                field.name()
            );
            let hint = format!("leave it out: columns.exclude = [{:?}]", field.name());
            problems.push(config.table.problem(file, message, Some(hint)));
        }
    }
    if let Some(model) = config.kind.model_id() {
        let shape = Shape { quality: config.kind.quality(), ..Shape::default() };
        let is_taken = |schema: SchemaRef| schema.field_with_name(&model.value).is_ok();
        if is_taken(profile_schema(&shape)) || is_taken(drift_schema(&shape)) {
            let message = format!("the metric tables have a column {:?} of their own", model.value);
            let hint = "give the model column another name, in a view of the table".to_owned();
            problems.push(model.problem(file, message, Some(hint)));
        }
    }
    if matches!(config.kind, MonitorKind::Snapshot) {
        let is_consecutive = |rule: &&RuleConfig| rule.is_on_drift && rule.against == Against::Consecutive;
        for rule in config.rules.iter().filter(is_consecutive) {
            let message = "a snapshot has no window before it to compare with";
            let hint = "set a baseline, and against = \"BASELINE\"".to_owned();
            problems.push(rule.metric.problem(file, message, Some(hint)));
        }
    }
}

/// The columns that can be profiled, fields of structs by their dotted paths.
fn paths(schema: &Schema) -> Vec<(String, DataType)> {
    let fields = schema.fields().iter().flat_map(|field| leaves(field.name(), field.data_type()));
    fields.map(|(path, data_type)| (path.join("."), data_type)).collect()
}

fn check_path(column: &Located<String>, file: &str, paths: &[(String, DataType)], problems: &mut Vec<Problem>) {
    if !paths.iter().any(|(name, _)| *name == column.value) {
        let names: Vec<&str> = paths.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("the table has no column {:?}", column.value);
        problems.push(column.problem(file, message, name_hint(&column.value, &names)));
    }
}

fn check_selection(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let selection = &config.columns;
    let paths = paths(schema);
    let named = selection.include.iter().flatten().chain(&selection.exclude).chain(&selection.categorical);
    for column in named.filter(|column| !is_glob(&column.value)) {
        check_path(column, file, &paths, problems);
    }
    for column in selection.categorical.iter().filter(|column| !is_glob(&column.value)) {
        if let Some((_, data_type)) = paths.iter().find(|(name, _)| *name == column.value)
            && !ColumnKind::can_be_categorical(data_type)
        {
            let message =
                format!("column {:?} has type {}, which has no categories", column.value, spark_type_name(data_type));
            problems.push(column.problem(file, message, None));
        }
    }
    for rule in &config.rules {
        for column in rule.columns.iter().filter(|column| !is_glob(&column.value) && column.value != ":table") {
            check_path(column, file, &paths, problems);
        }
    }
}

/// What is said of how finely single columns are kept.
fn check_limits(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let paths = paths(schema);
    let limits = config.columns.max_buckets.iter().map(|limit| &limit.columns);
    for columns in config.columns.exact.iter().chain(limits) {
        if is_glob(&columns.value) {
            if !paths.iter().any(|(name, _)| glob_matches(&columns.value, name)) {
                let message = format!("the table has no column that fits {:?}", columns.value);
                problems.push(columns.problem(file, message, nearest(schema, &columns.value.replace('*', ""))));
            }
            continue;
        }
        check_path(columns, file, &paths, problems);
        if let Some((_, data_type)) = paths.iter().find(|(name, _)| *name == columns.value)
            && matches!(ColumnKind::of(data_type), ColumnKind::Opaque | ColumnKind::Length)
        {
            let data_type = spark_type_name(data_type);
            let message = format!("column {:?} has type {data_type}, which has no distribution", columns.value);
            problems.push(columns.problem(file, message, None));
        }
    }
    let columns = select_columns(config, schema);
    let profiled: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    problems.extend(config.columns.contradictions(&profiled, file));
}

fn parse_slices(
    context: &SessionContext,
    config: &MonitorConfig,
    file: &str,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> Result<Vec<SliceExpression>> {
    let columns = DFSchema::try_from(schema.clone())?;
    let mut parsed = Vec::new();
    for slice in &config.slices {
        match parse_slice(context, &slice.value, &columns) {
            Ok(expression) => parsed.push(expression),
            Err(error) => {
                let hint = error.unknown().and_then(|(name, valid)| {
                    let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
                    name_hint(name, &valid)
                });
                problems.push(slice.problem(file, error.to_string(), hint));
            }
        }
    }
    Ok(parsed)
}

/// A baseline is taken as far as it goes: columns, slices and metrics that it lacks are left out of the comparison, and
/// the drift rows say so.
fn bind_baseline(context: &SessionContext, monitor: &BoundMonitor, source: Source) -> Result<BoundBaseline> {
    let (config, schema) = (&monitor.config, source.schema());
    let found: Vec<BaselineColumn> =
        monitor.columns.iter().map(|column| baseline_column(config, column, &schema)).collect();
    let fields = DFSchema::try_from(schema.as_ref().clone())?;
    let slices = config
        .slices
        .iter()
        .enumerate()
        .filter_map(|(index, slice)| Some((index, parse_slice(context, &slice.value, &fields).ok()?)))
        .collect();
    let model =
        config.kind.model_id().map(|column| column.value.clone()).filter(|name| schema.field_with_name(name).is_ok());
    let same = |name: &str| {
        let at = monitor.columns.iter().position(|column| column.name == name);
        at.map(|at| found[at] == BaselineColumn::Same)
    };
    let holds = |measure: &Measure| {
        same(&measure.name).unwrap_or_else(|| {
            // Anything else holds where all that it is over is there, can be planned, and has a type that it takes.
            let type_of = |input: &Expr| {
                let planned = context.create_physical_expr(input.clone(), &fields).ok()?;
                planned.data_type(&schema).ok()
            };
            let types: Option<Vec<DataType>> = measure.inputs.iter().map(type_of).collect();
            measure.name != super::QUARANTINE && types.is_some_and(|types| measure.options.takes(&types))
        })
    };
    // A class can be of another type here.
    let as_here = |measure: Measure| match monitor.columns.iter().find(|column| column.name == measure.name) {
        Some(column) => {
            let data_type = type_at(&schema, &column.path).map(|data_type| spark_type_name(&data_type));
            column.measure_of(&data_type.unwrap_or_default())
        }
        None => measure,
    };
    let (held, lacked): (Vec<Measure>, Vec<Measure>) = monitor.measures().into_iter().partition(holds);
    let lacks = |name: &str| lacked.iter().any(|measure| measure.name == name);
    let of_metrics = monitor.metrics.iter().filter(|metric| metric.parts().any(|part| lacks(&part.name)));
    let of_metrics = of_metrics.map(|metric| metric.field.name().clone());
    let lacking = lacks(super::QUALITY).then(|| "model quality".to_owned()).into_iter().chain(of_metrics).collect();
    let measures = held.into_iter().map(as_here).collect();
    Ok(BoundBaseline { source, columns: found, measures, lacking, slices, model })
}

fn baseline_column(config: &MonitorConfig, column: &BoundColumn, schema: &Schema) -> BaselineColumn {
    let Some(data_type) = type_at(schema, &column.path) else { return BaselineColumn::Missing };
    if column_options(config, &column.name, &data_type) == column.options {
        BaselineColumn::Same
    } else {
        BaselineColumn::Changed { data_type: spark_type_name(&data_type) }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Config(Problems(vec![problem]))
    }
}

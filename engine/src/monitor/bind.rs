//! Binding: all problems of a configuration with its tables, found before anything is computed or written.

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use limno_metrics::column::{ColumnKind, ColumnOptions, spark_type_name};
use limno_metrics::schema::{drift_schema, profile_schema};
use limno_sql::expression::{SliceExpression, parse_slice};
use limno_sql::functions::to_instant;
use limno_sql::plan::{StateQuery, TimeColumn, Within};
use limno_sql::source::Source;
use limno_sql::window::{Calendar, Granularity, unit};

use crate::config::{
    Against, Located, MonitorConfig, MonitorKind, Precision, Problem, ProblemType, Problems, RuleConfig, glob_matches,
    is_glob, name_hint,
};
use crate::{Error, Result};

/// A monitor and its tables.
#[derive(Debug, Clone)]
pub struct BoundMonitor {
    /// The configuration.
    pub config: MonitorConfig,
    /// The monitored table, at the version to read.
    pub source: Source,
    /// The baseline.
    pub baseline: Option<BoundBaseline>,
    /// The columns to profile, in the table's order.
    pub columns: Vec<BoundColumn>,
    /// The slicing expressions.
    pub slices: Vec<SliceExpression>,
}

/// One profiled column.
#[derive(Debug, Clone)]
pub struct BoundColumn {
    /// Its name.
    pub name: String,
    /// Spark's name of its type.
    pub data_type: String,
    /// What its state keeps.
    pub options: ColumnOptions,
}

/// The baseline and what of it can be compared.
#[derive(Debug, Clone)]
pub struct BoundBaseline {
    /// The table, at the version to read.
    pub source: Source,
    /// For each profiled column, what the baseline has.
    pub columns: Vec<BaselineColumn>,
    /// The slicing expressions that hold on the baseline, by their position in the monitor.
    pub slices: Vec<(usize, SliceExpression)>,
    /// The model column, if the baseline has it.
    pub model: Option<String>,
}

/// What the baseline has of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineColumn {
    /// The same kind of column.
    Same,
    /// Nothing.
    Missing,
    /// A column of another kind.
    Changed {
        /// Spark's name of the baseline's type.
        data_type: String,
    },
}

impl BoundMonitor {
    /// Time zone, start of weeks and of days.
    #[must_use]
    pub const fn calendar(&self) -> Calendar {
        let MonitorConfig { timezone, week_start, offset_minutes, .. } = self.config;
        Calendar { timezone, week_start, offset_minutes }
    }

    /// The lengths of the windows.
    #[must_use]
    pub fn granularities(&self) -> Vec<Granularity> {
        self.config.kind.granularities().iter().map(|granularity| granularity.value).collect()
    }

    /// The model column.
    #[must_use]
    pub fn model_id(&self) -> Option<&str> {
        self.config.kind.model_id().map(|column| column.value.as_str())
    }

    /// What a refresh reads from the monitored table.
    #[must_use]
    pub fn query(&self) -> StateQuery {
        let time = self.config.kind.timestamp().map(|column| TimeColumn {
            column: column.value.clone(),
            calendar: self.calendar(),
            unit: unit(&self.granularities()),
        });
        StateQuery {
            source: self.source.clone(),
            time,
            model: self.model_id().map(str::to_owned),
            slices: self.slices.clone(),
            columns: self.columns.iter().map(|column| (column.name.clone(), column.options)).collect(),
            within: Within::Everything,
            with_whole: true,
        }
    }

    /// What a refresh reads from the baseline.
    #[must_use]
    pub fn baseline_query(&self) -> Option<StateQuery> {
        let baseline = self.baseline.as_ref()?;
        let columns = self
            .columns
            .iter()
            .zip(&baseline.columns)
            .filter(|(_, found)| **found == BaselineColumn::Same)
            .map(|(column, _)| (column.name.clone(), column.options))
            .collect();
        Some(StateQuery {
            source: baseline.source.clone(),
            time: None,
            model: baseline.model.clone(),
            slices: baseline.slices.iter().map(|(_, slice)| slice.clone()).collect(),
            columns,
            within: Within::Everything,
            with_whole: true,
        })
    }
}

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
    let Some(source) = source else { return Err(Problems(problems).into()) };
    let schema = source.schema();
    check_roles(config, file, &schema, &mut problems);
    check_timestamp(config, file, &schema, &mut problems);
    check_selection(config, file, &schema, &mut problems);
    check_limits(config, file, &schema, &mut problems);
    check_names(config, file, &mut problems);
    let slices = parse_slices(context, config, file, &schema, &mut problems)?;
    let columns = select_columns(config, &schema);
    if columns.is_empty() && problems.is_empty() {
        problems.push(config.table.problem(
            file,
            "no column is left to profile",
            Some("see columns.include and columns.exclude".to_owned()),
        ));
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    let baseline = match baseline {
        Some(source) => Some(bind_baseline(context, config, source, &columns, slices.len())?),
        None => None,
    };
    Ok(BoundMonitor { config: config.clone(), source, baseline, columns, slices })
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
    if let MonitorKind::InferenceLog { model_id, prediction, label, prediction_proba, .. } = &config.kind {
        for column in
            [Some(model_id), Some(prediction), label.as_ref(), prediction_proba.as_ref()].into_iter().flatten()
        {
            check_column(column, file, schema, problems);
        }
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
fn check_names(config: &MonitorConfig, file: &str, problems: &mut Vec<Problem>) {
    if let Some(model) = config.kind.model_id() {
        let is_taken = |schema: SchemaRef| schema.field_with_name(&model.value).is_ok();
        if is_taken(profile_schema(None)) || is_taken(drift_schema(None)) {
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

fn check_selection(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let selection = &config.columns;
    let named = selection.include.iter().flatten().chain(&selection.exclude).chain(&selection.categorical);
    for column in named.filter(|column| !is_glob(&column.value)) {
        check_column(column, file, schema, problems);
    }
    for column in selection.categorical.iter().filter(|column| !is_glob(&column.value)) {
        if let Ok(field) = schema.field_with_name(&column.value)
            && !ColumnKind::can_be_categorical(field.data_type())
        {
            let message = format!(
                "column {:?} has type {}, which has no categories",
                column.value,
                spark_type_name(field.data_type())
            );
            problems.push(column.problem(file, message, None));
        }
    }
    for rule in &config.rules {
        for column in rule.columns.iter().filter(|column| !is_glob(&column.value) && column.value != ":table") {
            check_column(column, file, schema, problems);
        }
    }
}

/// What is said of how finely single columns are kept.
fn check_limits(config: &MonitorConfig, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let limits = config.columns.max_buckets.iter().map(|limit| &limit.columns);
    for columns in config.columns.exact.iter().chain(limits) {
        if is_glob(&columns.value) {
            if !schema.fields().iter().any(|field| glob_matches(&columns.value, field.name())) {
                let message = format!("the table has no column that fits {:?}", columns.value);
                problems.push(columns.problem(file, message, nearest(schema, &columns.value.replace('*', ""))));
            }
            continue;
        }
        check_column(columns, file, schema, problems);
        if let Ok(field) = schema.field_with_name(&columns.value)
            && matches!(ColumnKind::of(field.data_type()), ColumnKind::Opaque | ColumnKind::Length)
        {
            let data_type = spark_type_name(field.data_type());
            let message = format!("column {:?} has type {data_type}, which has no distribution", columns.value);
            problems.push(columns.problem(file, message, None));
        }
    }
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let profiled: Vec<&str> = names.filter(|name| is_profiled(config, name)).collect();
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

/// Those selected, less the ones that only say when and by whom.
fn is_profiled(config: &MonitorConfig, column: &str) -> bool {
    // The timestamp and the model id are keys of every row; they are profiled only when asked for by name.
    let mut roles = [config.kind.timestamp(), config.kind.model_id()].into_iter().flatten();
    config.columns.is_included(column) && (config.columns.include.is_some() || roles.all(|role| role.value != column))
}

/// The profiled columns.
fn select_columns(config: &MonitorConfig, schema: &Schema) -> Vec<BoundColumn> {
    schema
        .fields()
        .iter()
        .filter(|field| is_profiled(config, field.name()))
        .map(|field| BoundColumn {
            name: field.name().clone(),
            data_type: spark_type_name(field.data_type()),
            options: column_options(config, field.name(), field.data_type()),
        })
        .collect()
}

fn column_options(config: &MonitorConfig, name: &str, data_type: &DataType) -> ColumnOptions {
    let is_class = match &config.kind {
        MonitorKind::InferenceLog { prediction, label, problem_type: ProblemType::Classification, .. } => {
            prediction.value == name || label.as_ref().is_some_and(|label| label.value == name)
        }
        _ => false,
    };
    let is_categorical = (is_class || config.columns.is_categorical(name)) && ColumnKind::can_be_categorical(data_type);
    let kind = if is_categorical { ColumnKind::Categorical } else { ColumnKind::of(data_type) };
    match config.columns.precision(name, config.precision) {
        Precision::Bounded { max_buckets } => ColumnOptions { max_buckets, ..ColumnOptions::new(kind) },
        Precision::Exact => ColumnOptions::exact(kind),
    }
}

/// A baseline is taken as far as it goes: columns and slices that it lacks are left out of the comparison, and the
/// drift rows say so.
fn bind_baseline(
    context: &SessionContext,
    config: &MonitorConfig,
    source: Source,
    columns: &[BoundColumn],
    slices: usize,
) -> Result<BoundBaseline> {
    let schema = source.schema();
    let found = columns
        .iter()
        .map(|column| match schema.field_with_name(&column.name) {
            Err(_) => BaselineColumn::Missing,
            Ok(field) => {
                if column_options(config, &column.name, field.data_type()) == column.options {
                    BaselineColumn::Same
                } else {
                    BaselineColumn::Changed { data_type: spark_type_name(field.data_type()) }
                }
            }
        })
        .collect();
    let fields = DFSchema::try_from(schema.as_ref().clone())?;
    let slices = config.slices[..slices]
        .iter()
        .enumerate()
        .filter_map(|(index, slice)| Some((index, parse_slice(context, &slice.value, &fields).ok()?)))
        .collect();
    let model =
        config.kind.model_id().map(|column| column.value.clone()).filter(|name| schema.field_with_name(name).is_ok());
    Ok(BoundBaseline { source, columns: found, slices, model })
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Config(Problems(vec![problem]))
    }
}

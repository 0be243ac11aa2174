//! The one logical plan of a refresh, and the rows of states that it yields.
//!
//! `scan → window, model, slices → GROUP BY … column_state(column), …`. Every slice expression is a grouping set of
//! its own. The whole table is not one: each expression cuts it into parts, so the whole is the merge of the parts
//! of the first, and no value is observed twice for it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::common::{Column, DFSchema, ScalarValue, exec_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::functions::string::expr_fn::concat;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, grouping_set, lit, when};
use futures::TryStreamExt;
use limno_metrics::column::{ColumnOptions, ColumnState};

use crate::executor::PlanExecutor;
use crate::expression::SliceExpression;
use crate::functions::{column_state, to_instant, window_start};
use crate::source::Source;
use crate::window::{Calendar, Granularity};
use crate::{Error, Result};

const WINDOW: &str = "__window";
const MODEL: &str = "__model";
const ROWS: &str = "__rows";

/// What a refresh reads from one table.
#[derive(Debug, Clone)]
pub struct StateQuery {
    /// The table.
    pub source: Source,
    /// The timestamp column and how it is cut; `None` for one window over everything.
    pub time: Option<TimeColumn>,
    /// The model id column.
    pub model: Option<String>,
    /// Slicing expressions.
    pub slices: Vec<SliceExpression>,
    /// The columns to profile.
    pub columns: Vec<(String, ColumnOptions)>,
}

/// How rows find their window.
#[derive(Debug, Clone)]
pub struct TimeColumn {
    /// The column.
    pub column: String,
    /// Time zone and start of weeks.
    pub calendar: Calendar,
    /// The length of the windows.
    pub unit: Granularity,
}

/// The states of all columns over one group of rows.
#[derive(Debug, Clone)]
pub struct StateRow {
    /// Start of the window in microseconds; `None` for rows whose timestamp is null or does not parse.
    pub window: Option<i64>,
    /// The model id; `None` if the query has no model column, or for rows whose model id is null.
    pub model: Option<String>,
    /// The slice; `None` for all rows.
    pub slice: Option<SliceOf>,
    /// Rows.
    pub rows: u64,
    /// One state for each column of the query.
    pub states: Vec<ColumnState>,
}

/// One value of one slice expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceOf {
    /// The expression's position in the query.
    pub expression: usize,
    /// Its value; `None` is the slice of the rows where it is null.
    pub value: Option<String>,
}

impl StateQuery {
    /// The plan.
    ///
    /// # Errors
    /// When a column is not there, or has a type that its role does not allow.
    pub fn plan(&self) -> Result<LogicalPlan> {
        let scan = LogicalPlanBuilder::scan("source", provider_as_source(Arc::clone(&self.source.provider)), None)?;
        let schema = scan.schema().as_ref().clone();
        let mut keys = vec![self.window_key(&schema)?.alias(WINDOW)];
        let mut base = vec![ident(WINDOW)];
        if let Some(model) = &self.model {
            keys.push(cast(column(&schema, model)?, DataType::Utf8).alias(MODEL));
            base.push(ident(MODEL));
        }
        for (index, slice) in self.slices.iter().enumerate() {
            keys.push(tagged(slice)?.alias(slice_name(index)));
        }
        let mut projected = keys;
        for (index, (name, _)) in self.columns.iter().enumerate() {
            projected.push(column(&schema, name)?.alias(value_name(index)));
        }
        let mut aggregates = vec![count_all().alias(ROWS)];
        for (index, (_, options)) in self.columns.iter().enumerate() {
            let state = column_state(*options).call(vec![ident(&value_name(index))]);
            aggregates.push(state.alias(state_name(index)));
        }
        let groups = if self.slices.is_empty() {
            base
        } else {
            let set = |index| base.iter().cloned().chain([ident(&slice_name(index))]).collect();
            vec![grouping_set((0..self.slices.len()).map(set).collect())]
        };
        Ok(scan.project(projected)?.aggregate(groups, aggregates)?.build()?)
    }

    /// How many values a slicing expression has, counted no further than one beyond `limit`. Reads only the columns
    /// of the expression, so that one with too many is refused before a state is built for each.
    ///
    /// # Errors
    /// When the plan fails.
    pub async fn count_slices(
        &self,
        executor: &dyn PlanExecutor,
        slice: &SliceExpression,
        limit: usize,
    ) -> Result<usize> {
        let scan = LogicalPlanBuilder::scan("source", provider_as_source(Arc::clone(&self.source.provider)), None)?;
        let values = scan.project([tagged(slice)?.alias(slice_name(0))])?.distinct()?.limit(0, Some(limit + 1))?;
        let stream = executor.execute(values.build()?).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| self.unreadable(error))?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    fn window_key(&self, schema: &DFSchema) -> Result<Expr> {
        let Some(time) = &self.time else {
            return Ok(lit(ScalarValue::TimestampMicrosecond(Some(0), Some("UTC".into()))));
        };
        let field = schema.field_with_unqualified_name(&time.column)?;
        let instant = to_instant(column(schema, &time.column)?, field.data_type(), time.calendar.timezone)?;
        Ok(window_start(time.calendar, time.unit).call(vec![instant]))
    }

    /// Runs the plan and reads its rows, in no particular order. The whole table comes once for each window and
    /// model, beside its slices.
    ///
    /// # Errors
    /// When the plan fails while running.
    pub async fn run(&self, executor: &dyn PlanExecutor) -> Result<Vec<StateRow>> {
        let stream = executor.execute(self.plan()?).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| self.unreadable(error))?;
        let mut rows = Vec::new();
        for batch in &batches {
            self.read(batch, &mut rows)?;
        }
        if self.slices.is_empty() { Ok(rows) } else { with_whole(rows) }
    }

    /// Failures while running are failures of the data: name the table.
    fn unreadable(&self, source: datafusion::error::DataFusionError) -> Error {
        Error::Unreadable { uri: self.source.uri.clone(), source: Box::new(source) }
    }

    fn read(&self, batch: &RecordBatch, rows: &mut Vec<StateRow>) -> Result<()> {
        let windows = typed(batch, WINDOW)?;
        let windows = windows.as_primitive::<TimestampMicrosecondType>();
        let models = self.model.is_some().then(|| text(batch, MODEL)).transpose()?;
        let slices = (0..self.slices.len()).map(|index| text(batch, &slice_name(index))).collect::<Result<Vec<_>>>()?;
        let counts = typed(batch, ROWS)?;
        let counts = counts.as_primitive::<Int64Type>();
        let states = (0..self.columns.len())
            .map(|index| {
                Ok(arrow::compute::cast(typed(batch, &state_name(index))?, &DataType::Binary)
                    .map_err(|e| exec_datafusion_err!("{e}"))?)
            })
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let slice =
                slices.iter().enumerate().find(|(_, values)| values.is_valid(row)).map(|(expression, values)| {
                    let value = values.as_string::<i32>().value(row).strip_prefix('=').map(str::to_owned);
                    SliceOf { expression, value }
                });
            let decoded = states
                .iter()
                .zip(&self.columns)
                .map(|(states, (_, options))| {
                    let states = states.as_binary::<i32>();
                    if states.is_null(row) {
                        Ok(ColumnState::empty(options))
                    } else {
                        Ok(ColumnState::decode(states.value(row))?)
                    }
                })
                .collect::<Result<Vec<_>>>()?;
            rows.push(StateRow {
                window: windows.is_valid(row).then(|| windows.value(row)),
                model: models
                    .as_ref()
                    .filter(|models| models.is_valid(row))
                    .map(|models| models.as_string::<i32>().value(row).to_owned()),
                slice,
                rows: u64::try_from(counts.value(row)).unwrap_or(0),
                states: decoded,
            });
        }
        Ok(())
    }
}

/// Adds the rows over everything, merged from the parts of the first slice expression.
fn with_whole(mut rows: Vec<StateRow>) -> Result<Vec<StateRow>> {
    let mut parts: Vec<&StateRow> =
        rows.iter().filter(|row| row.slice.as_ref().is_some_and(|slice| slice.expression == 0)).collect();
    parts.sort_by(|a, b| (a.window, &a.model).cmp(&(b.window, &b.model)));
    let mut whole: Vec<StateRow> = Vec::new();
    for part in parts {
        match whole.last_mut() {
            Some(last) if last.window == part.window && last.model == part.model => {
                last.rows += part.rows;
                for (ours, theirs) in last.states.iter_mut().zip(&part.states) {
                    ours.merge(theirs)?;
                }
            }
            _ => whole.push(StateRow { slice: None, ..part.clone() }),
        }
    }
    rows.append(&mut whole);
    Ok(rows)
}

/// The value of a slice as text. A tag before it keeps the null slice apart from a grouping set that leaves the column
/// out.
fn tagged(slice: &SliceExpression) -> Result<Expr> {
    let value = cast(slice.expr.clone(), DataType::Utf8);
    Ok(when(slice.expr.clone().is_null(), lit("-")).otherwise(concat(vec![lit("="), value]))?)
}

fn ident(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// A column of the table by its exact name, whatever characters it has.
fn column(schema: &DFSchema, name: &str) -> Result<Expr> {
    let (qualifier, field) = schema.qualified_field_with_unqualified_name(name)?;
    Ok(Expr::Column(Column::new(qualifier.cloned(), field.name())))
}

fn slice_name(index: usize) -> String {
    format!("__slice_{index}")
}

fn value_name(index: usize) -> String {
    format!("__value_{index}")
}

fn state_name(index: usize) -> String {
    format!("__state_{index}")
}

fn typed<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    let column = batch.column_by_name(name);
    Ok(column.map(AsRef::as_ref).ok_or_else(|| exec_datafusion_err!("the plan yields no column {name}"))?)
}

fn text(batch: &RecordBatch, name: &str) -> Result<arrow::array::ArrayRef> {
    Ok(arrow::compute::cast(typed(batch, name)?, &DataType::Utf8).map_err(|error| exec_datafusion_err!("{error}"))?)
}

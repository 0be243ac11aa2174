//! The one logical plan of a refresh, and the rows of states that it yields.
//!
//! `scan → window, model, slices → GROUP BY … state(columns), …`. Every slice expression is a grouping set of
//! its own. The whole table is not one: each expression cuts it into parts, so the whole is the merge of the parts
//! of the first, and no value is observed twice for it. A query can leave out spans of time, or read nothing else.

mod measure;
mod rows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType, UInt64Type};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::common::{Column, DFSchema, ScalarValue, exec_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, grouping_set, lit, when,
};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::executor::PlanExecutor;
use crate::expression::SliceExpression;
use crate::functions::{measure_state, to_instant, window_start};
use crate::payload::Outcome;
use crate::source::Source;
use crate::window::{Calendar, Granularity, Spans};
use crate::{Error, Result};

pub use measure::{Measure, MeasureOptions, field_of, leaves};
use rows::Whole;
pub use rows::{EncodedRow, SliceOf, StateRow};

const WINDOW: &str = "__window";
const MODEL: &str = "__model";
const ROWS: &str = "__rows";
const WEIGHT: &str = "__weight";
/// The least share of rows that is believed.
const LEAST_FRACTION: f64 = 1e-6;
/// The column of a log's view that says what became of a row.
const OUTCOME: &str = "__outcome";

/// What a refresh reads from one table.
#[derive(Debug, Clone)]
pub struct StateQuery {
    /// The table.
    pub source: Source,
    /// The timestamp column and how it is cut; `None` for one window over everything.
    pub time: Option<TimeColumn>,
    /// The model id column.
    pub model: Option<String>,
    /// The column of the share of rows that were logged, whose inverse says how often a row counts.
    pub sampling_fraction: Option<String>,
    /// Slicing expressions.
    pub slices: Vec<SliceExpression>,
    /// The states that are wanted of each group.
    pub measures: Vec<Measure>,
    /// Which rows.
    pub within: Within,
    /// Whether the states over all rows are wanted beside those of the slices.
    pub with_whole: bool,
}

/// Which rows of a table a query reads; only tables with a time have parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Within {
    /// All.
    #[default]
    Everything,
    /// Those of these spans.
    Only(Spans),
    /// Those of no such span.
    Except(Spans),
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

impl StateQuery {
    /// The plan.
    ///
    /// # Errors
    /// When a column is not there, or has a type that its role does not allow.
    pub fn plan(&self) -> Result<LogicalPlan> {
        let scan = self.scan()?;
        let schema = scan.schema().as_ref().clone();
        let (mut keys, mut base) = (Vec::new(), Vec::new());
        // Rows of one group need no look at their groups. Without measures the plan only counts, and then rows are counted,
        // not believed to be as many as files say.
        let is_one_group = self.time.is_none()
            && self.model.is_none()
            && self.sampling_fraction.is_none()
            && self.slices.is_empty()
            && !self.has_outcomes()
            && !self.measures.is_empty();
        if !is_one_group {
            keys.push(self.window_key(&schema)?.alias(WINDOW));
            base.push(ident(WINDOW));
        }
        if let Some(model) = &self.model {
            keys.push(cast(column(&schema, model)?, DataType::Utf8).alias(MODEL));
            base.push(ident(MODEL));
        }
        if self.has_outcomes() {
            keys.push(column(&schema, OUTCOME)?.alias(OUTCOME));
            base.push(ident(OUTCOME));
        }
        if let Some(fraction) = &self.sampling_fraction {
            keys.push(weight(column(&schema, fraction)?)?.alias(WEIGHT));
            base.push(ident(WEIGHT));
        }
        for (index, slice) in self.slices.iter().enumerate() {
            keys.push(slice_key(slice, &schema)?.alias(slice_name(index)));
        }
        let mut projected = keys;
        let mut aggregates = vec![count_all().alias(ROWS)];
        for (index, measure) in self.measures.iter().enumerate() {
            let mut inputs = Vec::with_capacity(measure.inputs.len());
            for (position, input) in measure.inputs.iter().enumerate() {
                let name = value_name(index, position);
                projected.push(input.clone().alias(&name));
                inputs.push(ident(&name));
            }
            aggregates.push(measure_state(measure.options.clone()).call(inputs).alias(state_name(index)));
        }
        let set = |index| -> Vec<Expr> { base.iter().cloned().chain([ident(&slice_name(index))]).collect() };
        let groups = match self.slices.len() {
            0 => base,
            1 => set(0),
            count => vec![grouping_set((0..count).map(set).collect())],
        };
        Ok(scan.project(projected)?.aggregate(groups, aggregates)?.build()?)
    }

    /// Whether the table is a log of which not every row is measured.
    fn has_outcomes(&self) -> bool {
        self.source.has_outcomes()
    }

    /// The rows that are read.
    fn scan(&self) -> Result<LogicalPlanBuilder> {
        let scan = LogicalPlanBuilder::scan("source", provider_as_source(Arc::clone(&self.source.provider)), None)?;
        let (spans, is_wanted) = match &self.within {
            Within::Everything => return Ok(scan),
            Within::Only(spans) => (spans, true),
            Within::Except(spans) => (spans, false),
        };
        let Some(instant) = self.instant(scan.schema())? else {
            return Err(exec_datafusion_err!("rows without a time have no spans").into());
        };
        let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let within = spans
            .spans()
            .iter()
            .map(|span| instant.clone().gt_eq(at(span.start)).and(instant.clone().lt(at(span.end))))
            .reduce(Expr::or)
            .unwrap_or_else(|| lit(false));
        let (dated, undated) = if is_wanted {
            (within, spans.has_rows_without_time())
        } else {
            (Expr::Not(Box::new(within)), !spans.has_rows_without_time())
        };
        let condition = if undated { instant.is_null().or(dated) } else { instant.is_not_null().and(dated) };
        Ok(scan.filter(condition)?)
    }

    /// How many values a slicing expression has in the rows that have a window, counted no further than one beyond
    /// `limit`. Reads only the columns of the expression, so that one with too many is refused before a state is built
    /// for each.
    ///
    /// # Errors
    /// When the plan fails.
    pub async fn count_slices(
        &self,
        executor: &dyn PlanExecutor,
        slice: &SliceExpression,
        limit: usize,
    ) -> Result<usize> {
        let mut scan = self.scan()?;
        if let Some(instant) = self.instant(scan.schema())? {
            scan = scan.filter(instant.is_not_null())?;
        }
        if self.has_outcomes() {
            let outcome = column(scan.schema(), OUTCOME)?;
            scan = scan.filter(outcome.is_null())?;
        }
        let key = slice_key(slice, scan.schema())?.alias(slice_name(0));
        let values = scan.project([key])?.distinct()?.limit(0, Some(limit + 1))?;
        let stream = executor.execute(values.build()?).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| self.unreadable(error))?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    /// When a row happened, for tables that say so.
    fn instant(&self, schema: &DFSchema) -> Result<Option<Expr>> {
        let Some(time) = &self.time else { return Ok(None) };
        let field = schema.field_with_unqualified_name(&time.column)?;
        Ok(Some(to_instant(column(schema, &time.column)?, field.data_type(), time.calendar.timezone)?))
    }

    fn window_key(&self, schema: &DFSchema) -> Result<Expr> {
        let (Some(time), Some(instant)) = (&self.time, self.instant(schema)?) else {
            return Ok(lit(ScalarValue::TimestampMicrosecond(Some(0), Some("UTC".into()))));
        };
        Ok(window_start(time.calendar, time.unit).call(vec![instant]))
    }

    /// Runs the plan and reads its rows, in no particular order. The whole table comes once for each window and
    /// model, beside its slices.
    ///
    /// # Errors
    /// When the plan fails while running.
    pub async fn run(&self, executor: &dyn PlanExecutor) -> Result<Vec<StateRow>> {
        let mut batches = std::pin::pin!(self.stream(executor).await?);
        let mut rows = Vec::new();
        while let Some(batch) = batches.next().await {
            for row in batch? {
                rows.push(row.decode()?);
            }
        }
        Ok(rows)
    }

    /// Runs the plan and hands out its rows a batch at a time, in no particular order, with encoded states. Rows over
    /// the whole table come last.
    ///
    /// # Errors
    /// When the plan cannot be made; later errors come with the stream.
    pub async fn stream(
        &self,
        executor: &dyn PlanExecutor,
    ) -> Result<impl Stream<Item = Result<Vec<EncodedRow>>> + use<'_>> {
        let batches = executor.execute(self.plan()?).await?;
        // The whole is merged from parts, so it is known only once all of them have been seen.
        let merges_whole = self.with_whole && !self.slices.is_empty();
        let state = (batches, merges_whole.then(|| Whole::new(self.measures.len())));
        Ok(futures::stream::try_unfold(state, move |(mut batches, mut whole)| async move {
            match batches.next().await {
                Some(batch) => {
                    let batch = batch.map_err(|error| self.unreadable(error))?;
                    let mut rows = Vec::with_capacity(batch.num_rows());
                    self.read(&batch, &mut rows)?;
                    if let Some(whole) = &mut whole {
                        whole.add(&rows)?;
                    }
                    Ok(Some((rows, (batches, whole))))
                }
                None => Ok(whole.take().map(|whole| (whole.into_rows(), (batches, None)))),
            }
        }))
    }

    /// Failures while running are failures of the data, unless the store says otherwise: name the table.
    fn unreadable(&self, source: datafusion::error::DataFusionError) -> Error {
        Error::of_files(&self.source.uri, source)
    }

    /// The slice expression that a row is a part of, by the number of its grouping set: a bit for each key that the set
    /// leaves out, the last key's lowest.
    fn expression_of(&self, set: Option<u64>) -> Option<usize> {
        let last = self.slices.len().checked_sub(1)?;
        Some(set.map_or(0, |set| last.saturating_sub((!set).trailing_zeros() as usize)))
    }

    fn read(&self, batch: &RecordBatch, rows: &mut Vec<EncodedRow>) -> Result<()> {
        let windows = batch.column_by_name(WINDOW).map(|windows| windows.as_primitive::<TimestampMicrosecondType>());
        let models = self.model.is_some().then(|| text(batch, MODEL)).transpose()?;
        let slices = (0..self.slices.len()).map(|index| text(batch, &slice_name(index))).collect::<Result<Vec<_>>>()?;
        let weights = self.sampling_fraction.is_some().then(|| typed(batch, WEIGHT)).transpose()?;
        let weights = weights.map(|weights| weights.as_primitive::<Int64Type>());
        let outcomes = self.has_outcomes().then(|| text(batch, OUTCOME)).transpose()?;
        let counts = typed(batch, ROWS)?;
        let counts = counts.as_primitive::<Int64Type>();
        let states = (0..self.measures.len())
            .map(|index| {
                Ok(arrow::compute::cast(typed(batch, &state_name(index))?, &DataType::Binary)
                    .map_err(|e| exec_datafusion_err!("{e}"))?)
            })
            .collect::<Result<Vec<_>>>()?;
        let sets = match self.slices.len() {
            0 | 1 => None,
            _ => Some(cast_array(typed(batch, Aggregate::INTERNAL_GROUPING_ID)?, &DataType::UInt64)?),
        };
        let sets = sets.as_ref().map(|sets| sets.as_primitive::<UInt64Type>());
        for row in 0..batch.num_rows() {
            let slice = self.expression_of(sets.map(|sets| sets.value(row))).map(|expression| {
                let values = slices[expression].as_string::<i32>();
                SliceOf { expression, value: values.is_valid(row).then(|| values.value(row).to_owned()) }
            });
            let encoded = states
                .iter()
                .zip(&self.measures)
                .map(|(states, measure)| {
                    let states = states.as_binary::<i32>();
                    if states.is_null(row) { measure.options.empty().encode() } else { states.value(row).to_vec() }
                })
                .collect();
            let logged = u64::try_from(counts.value(row)).unwrap_or(0);
            // Only a plan without groups has a row for no rows.
            if logged == 0 {
                continue;
            }
            let times = weights.map_or(1, |weights| u64::try_from(weights.value(row)).unwrap_or(1));
            let mut read = EncodedRow {
                window: windows.map_or(Some(0), |windows| windows.is_valid(row).then(|| windows.value(row))),
                model: models
                    .as_ref()
                    .filter(|models| models.is_valid(row))
                    .map(|models| models.as_string::<i32>().value(row).to_owned()),
                slice,
                outcome: outcomes
                    .as_ref()
                    .filter(|outcomes| outcomes.is_valid(row))
                    .map(|outcomes| Outcome::of(outcomes.as_string::<i32>().value(row))),
                rows: logged,
                logged,
                states: encoded,
            };
            if times > 1 && read.outcome.is_none() {
                read.repeat(times, &self.measures)?;
            }
            rows.push(read);
        }
        Ok(())
    }
}

/// The value by which a slice groups. It becomes text once a group, not once a row.
fn slice_key(slice: &SliceExpression, schema: &DFSchema) -> Result<Expr> {
    Ok(match slice.expr.get_type(schema)? {
        DataType::Dictionary(_, values) => cast(slice.expr.clone(), *values),
        // Zeros of both signs have texts of their own, NaN of all kinds one.
        data_type if data_type.is_floating() => cast(slice.expr.clone(), DataType::Utf8),
        _ => slice.expr.clone(),
    })
}

/// How often a row counts: the inverse of the share of rows that were logged, rounded to a whole number; once where the
/// share is none.
fn weight(fraction: Expr) -> Result<Expr> {
    let fraction = cast(fraction, DataType::Float64);
    let is_share = fraction.clone().gt_eq(lit(LEAST_FRACTION)).and(fraction.clone().lt_eq(lit(1.0)));
    let times = datafusion::functions::math::expr_fn::round(vec![lit(1.0) / fraction]);
    Ok(when(is_share, cast(times, DataType::Int64)).otherwise(lit(1_i64))?)
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

fn value_name(measure: usize, input: usize) -> String {
    format!("__value_{measure}_{input}")
}

fn state_name(index: usize) -> String {
    format!("__state_{index}")
}

fn typed<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    let column = batch.column_by_name(name);
    Ok(column.map(AsRef::as_ref).ok_or_else(|| exec_datafusion_err!("the plan yields no column {name}"))?)
}

fn text(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    cast_array(typed(batch, name)?, &DataType::Utf8)
}

/// As a query casts: what has no value of that type is an error.
fn cast_array(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(array, to, &DEFAULT_CAST_OPTIONS).map_err(|error| exec_datafusion_err!("{error}"))?)
}

//! Custom metrics bound to their tables: parsed, typed, and evaluated.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use limno_metrics::profile::FrozenColumn;
use limno_metrics::schema::{Shape, TABLE_COLUMN, profile_schema};
use limno_sql::expression::{AggregateExpression, AggregatePart, ExpressionError, parse_aggregate, parse_scalar};
use limno_sql::plan::{Measure, MeasureOptions};

use super::bound::BoundColumn;
use super::definition::digest;
use crate::Result;
use crate::config::{MetricConfig, MetricKind, Problem, Roles, glob_matches, is_glob, name_hint};

/// A custom metric.
#[derive(Debug, Clone)]
pub struct BoundMetric {
    /// Its column in the metric table.
    pub field: FieldRef,
    /// What it is computed from.
    pub kind: MetricKind,
    /// Its definitions, by the column on whose rows it stands; `:table` for the row of the table.
    definitions: BTreeMap<String, Definition>,
}

#[derive(Debug, Clone)]
struct Definition {
    text: String,
    /// The states that an aggregate is made from.
    parts: Vec<(Measure, AggregatePart)>,
    value: Arc<dyn PhysicalExpr>,
    /// The columns that `value` is over.
    inputs: SchemaRef,
}

impl BoundMetric {
    /// All states that it is made from.
    pub fn parts(&self) -> impl Iterator<Item = &Measure> {
        self.definitions.values().flat_map(|definition| &definition.parts).map(|(measure, _)| measure)
    }

    /// Those of the row of a column, or of the table.
    pub fn parts_on(&self, column: Option<&str>) -> impl Iterator<Item = &Measure> {
        let definition = self.definitions.get(column.unwrap_or(TABLE_COLUMN));
        definition.into_iter().flat_map(|definition| &definition.parts).map(|(measure, _)| measure)
    }

    /// Whether it stands on the rows of a column.
    #[must_use]
    pub fn is_on(&self, column: &str) -> bool {
        self.definitions.contains_key(column)
    }

    /// What its values depend on beside states.
    #[must_use]
    pub fn description(&self) -> String {
        let definitions: Vec<_> =
            self.definitions.iter().map(|(column, definition)| (column, &definition.text)).collect();
        format!("{} {:?} {:?}", self.field, self.kind, definitions)
    }

    /// The value of an aggregate on the row of a column, a single one; null where it has none.
    ///
    /// # Errors
    /// When the expression fails, as a cast that the user wrote can.
    pub fn aggregate(&self, column: &str, states: &BTreeMap<String, Arc<FrozenColumn>>) -> Result<Option<ArrayRef>> {
        let Some(definition) = self.definitions.get(column).filter(|_| self.kind == MetricKind::Aggregate) else {
            return Ok(None);
        };
        let answers = definition
            .parts
            .iter()
            .map(|(measure, part)| Ok(part.answers([states.get(&measure.name).map(AsRef::as_ref)].into_iter())?));
        let answers = answers.collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&definition.inputs), answers)?;
        self.evaluate(definition, &batch).map(Some)
    }

    /// The values of a metric that is derived from other columns of the profile table, one for each row of `rows`. Rows of
    /// columns on which it does not stand, and rows that fail, have none.
    ///
    /// # Errors
    /// When the rows lack a column, which would be a defect.
    pub fn derive(&self, rows: &RecordBatch, columns: &[&str]) -> Result<ArrayRef> {
        self.over(rows, columns)
    }

    /// The values of a drift metric, one for each pair of rows of the profile table.
    ///
    /// # Errors
    /// As [`Self::derive`].
    pub fn compare(&self, current: &RecordBatch, base: &RecordBatch, columns: &[&str]) -> Result<ArrayRef> {
        let side = |batch: &RecordBatch| -> ArrayRef { Arc::new(StructArray::from(batch.clone())) };
        let sides = vec![side(current), side(base)];
        self.over(&RecordBatch::try_new(sides_of(&current.schema()), sides)?, columns)
    }

    /// The value on each row, by the definition for its column.
    fn over(&self, rows: &RecordBatch, columns: &[&str]) -> Result<ArrayRef> {
        let none = arrow::array::new_null_array(self.field.data_type(), 1);
        let mut values: Vec<ArrayRef> = vec![none];
        let mut texts: Vec<&str> = vec![""];
        let mut places = Vec::with_capacity(columns.len());
        for (row, column) in columns.iter().enumerate() {
            let Some(definition) = self.definitions.get(*column) else {
                places.push((0, 0));
                continue;
            };
            // Equal definitions, as most columns have, are evaluated once for all rows.
            let known = texts.iter().position(|text| *text == definition.text).filter(|&at| at > 0);
            let at = match known {
                Some(at) => at,
                None => {
                    values.push(self.evaluate_on(definition, rows)?);
                    texts.push(&definition.text);
                    values.len() - 1
                }
            };
            places.push((at, row));
        }
        let values: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(arrow::compute::interleave(&values, &places)?)
    }

    /// The values over rows of the columns that the definition was bound to; none where it fails.
    fn evaluate_on(&self, definition: &Definition, rows: &RecordBatch) -> Result<ArrayRef> {
        let columns = definition.inputs.fields().iter().map(|field| {
            let column = rows.column_by_name(field.name()).cloned();
            column.unwrap_or_else(|| arrow::array::new_null_array(field.data_type(), rows.num_rows()))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&definition.inputs), columns.collect(), &options)?;
        if let Ok(values) = self.evaluate(definition, &rows) {
            return Ok(values);
        }
        // A row that fails, as by a cast, costs no other row its value.
        let one = |row: usize| {
            self.evaluate(definition, &rows.slice(row, 1)).unwrap_or_else(|error| {
                tracing::warn!(%error, metric = self.field.name(), "a metric has no value on a row");
                arrow::array::new_null_array(self.field.data_type(), 1)
            })
        };
        let values: Vec<ArrayRef> = (0..rows.num_rows()).map(one).collect();
        let values: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(arrow::compute::concat(&values)?)
    }

    fn evaluate(&self, definition: &Definition, batch: &RecordBatch) -> Result<ArrayRef> {
        let values = definition.value.evaluate(batch)?.into_array(batch.num_rows())?;
        // What does not fit the column's type has no value there, as in Spark.
        let values =
            cast_with_options(&values, self.field.data_type(), &CastOptions { safe: true, ..CastOptions::default() })?;
        let Some(doubles) = arrow::array::AsArray::as_primitive_opt::<arrow::datatypes::Float64Type>(&values) else {
            return Ok(values);
        };
        let finite: Float64Array = doubles.iter().map(|value| value.filter(|value| value.is_finite())).collect();
        Ok(Arc::new(finite))
    }
}

/// What metrics are bound to.
pub(super) struct Binding<'a> {
    pub(super) context: &'a SessionContext,
    pub(super) file: &'a str,
    /// The columns of the table that is read.
    pub(super) schema: &'a DFSchema,
    /// The profiled columns.
    pub(super) columns: &'a [BoundColumn],
    /// The shape of the metric tables without custom metrics.
    pub(super) shape: &'a Shape,
    pub(super) roles: &'a Roles,
}

/// Binds the metrics of a monitor and reports what is wrong with them.
pub(super) fn bind_metrics(
    metrics: &[MetricConfig],
    binding: &Binding<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<BoundMetric> {
    let mut bound: Vec<BoundMetric> = Vec::new();
    // Aggregates first: a derived one may name any of them, and a drift metric any of both.
    let by_kind = [MetricKind::Aggregate, MetricKind::Derived, MetricKind::Drift];
    let in_order = by_kind.iter().flat_map(|kind| metrics.iter().filter(move |metric| metric.kind == *kind));
    for metric in in_order {
        let known = Shape {
            profile: bound
                .iter()
                .filter(|known| known.kind != MetricKind::Drift)
                .map(|known| Arc::clone(&known.field))
                .collect(),
            ..binding.shape.clone()
        };
        if known.model_id.as_deref() == Some(metric.name.value.as_str()) {
            let message = "the metric tables have the model column under this name".to_owned();
            problems.push(metric.name.problem(binding.file, message, None));
            continue;
        }
        let mut definitions = BTreeMap::new();
        for column in covered(metric, binding, problems) {
            match definition(metric, &column, binding, &known) {
                Ok(definition) => {
                    definitions.insert(column, definition);
                }
                Err(problem) => {
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            }
        }
        let field = Arc::new(Field::new(&metric.name.value, metric.data_type.clone(), true));
        bound.push(BoundMetric { field, kind: metric.kind, definitions });
    }
    bound
}

/// The columns on whose rows a metric stands.
fn covered(metric: &MetricConfig, binding: &Binding<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut covered: Vec<String> = Vec::new();
    for pattern in &metric.columns {
        let profiled: Vec<&str> = binding.columns.iter().map(|column| column.name.as_str()).collect();
        let fits = profiled.iter().filter(|name| glob_matches(&pattern.value, name)).map(|name| (*name).to_owned());
        let fits: Vec<String> =
            if pattern.value == TABLE_COLUMN { vec![TABLE_COLUMN.to_owned()] } else { fits.collect() };
        if fits.is_empty() {
            let what = if is_glob(&pattern.value) { "no profiled column fits" } else { "no profiled column is named" };
            let hint = name_hint(&pattern.value, &profiled);
            problems.push(pattern.problem(binding.file, format!("{what} {:?}", pattern.value), hint));
        }
        covered.extend(fits);
    }
    covered.sort_unstable();
    covered.dedup();
    covered
}

fn definition(
    metric: &MetricConfig,
    column: &str,
    binding: &Binding<'_>,
    known: &Shape,
) -> std::result::Result<Definition, Problem> {
    let problem = |message: String, hint: Option<String>| metric.definition.problem(binding.file, message, hint);
    let path = binding.columns.iter().find(|known| known.name == column).map_or(&[][..], |known| &known.path);
    let text = metric.definition_for(path, binding.roles).map_err(|message| problem(message, None))?;
    let refused = |error: ExpressionError| {
        let hint = error.unknown().and_then(|(name, valid)| {
            let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
            name_hint(name, &valid)
        });
        problem(error.to_string(), hint)
    };
    let unplanned = |error: datafusion::error::DataFusionError| problem(error.to_string(), None);
    let (expr, inputs, parts) = match metric.kind {
        MetricKind::Aggregate => {
            let AggregateExpression { parts, value } =
                parse_aggregate(binding.context, &text, binding.schema).map_err(refused)?;
            let fields: Vec<Field> = parts
                .iter()
                .enumerate()
                .map(|(at, part)| Field::new(AggregateExpression::part_name(at), part.data_type.clone(), true))
                .collect();
            let measure = |part: &AggregatePart| Measure {
                name: format!(":part/{}", digest([part.input.to_string(), format!("{:?}", part.options)])),
                inputs: vec![part.input.clone()],
                options: MeasureOptions::Column(part.options),
            };
            let parts = parts.into_iter().map(|part| (measure(&part), part)).collect();
            (value, Arc::new(Schema::new(fields)), parts)
        }
        MetricKind::Derived => {
            let inputs = profile_schema(known);
            let schema = DFSchema::try_from(inputs.as_ref().clone()).map_err(unplanned)?;
            (parse_scalar(binding.context, &text, &schema).map_err(refused)?.0, inputs, Vec::new())
        }
        MetricKind::Drift => {
            let inputs = sides_of(&profile_schema(known));
            let schema = DFSchema::try_from(inputs.as_ref().clone()).map_err(unplanned)?;
            (parse_scalar(binding.context, &text, &schema).map_err(refused)?.0, inputs, Vec::new())
        }
    };
    let schema = DFSchema::try_from(inputs.as_ref().clone()).map_err(unplanned)?;
    let value = binding.context.create_physical_expr(expr, &schema).map_err(unplanned)?;
    let yields = value.data_type(&inputs).map_err(unplanned)?;
    if !arrow::compute::can_cast_types(&yields, &metric.data_type) {
        let message = format!("the expression yields {yields}, which is no {}", metric.data_type);
        return Err(problem(message, None));
    }
    Ok(Definition { text, parts, value, inputs })
}

/// Both sides of a comparison, each a row of the profile table.
fn sides_of(profile: &SchemaRef) -> SchemaRef {
    let side = |name: &str| Field::new(name, DataType::Struct(Fields::from(profile.fields().to_vec())), true);
    Arc::new(Schema::new(vec![side("current_df"), side("base_df")]))
}

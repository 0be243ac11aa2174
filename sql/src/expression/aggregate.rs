//! Aggregate expressions of custom metrics: SQL over aggregate functions, taken apart into mergeable states.
//!
//! `sum(a * b) / sum(b)` becomes two parts, each the state of one expression over the rows, and a scalar expression over
//! their answers. Every aggregate function that is taken follows from states that can be merged, so a metric is as
//! incremental as a column: nothing is ever aggregated again because other rows came. Functions that depend on the
//! order of the rows (`first_value`, `array_agg`, …) are refused.
//!
//! Numbers are doubles throughout, as in Spark: `count(*) / 2` is no integer division. NULL is left out, and so is NaN, but
//! for `count`, which counts it as SQL does.

use arrow::array::{ArrayRef, Float64Array, TimestampMicrosecondArray};
use arrow::compute::cast as cast_array;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit, when};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName};
use limno_metrics::column::{ColumnKind, ColumnOptions, spark_type_name};
use limno_metrics::profile::{Aggregate, FrozenColumn};

use super::error::plan_error;
use super::pair::{self, Digits, Factor, Of};
use super::{Allows, ExpressionError, check, check_casts, plan};

/// The aggregate functions that metrics have.
pub const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "var_samp",
    "var_pop",
    "stddev_samp",
    "stddev_pop",
    "median",
    "percentile_cont",
    "approx_percentile_cont",
    "approx_median",
    "approx_distinct",
    "bool_and",
    "bool_or",
    "covar_samp",
    "covar_pop",
    "corr",
];

/// Sums and extrema need no distribution.
const FEWEST_BUCKETS: u32 = 16;

/// An expression over aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateExpression {
    /// The states that it is made from.
    pub parts: Vec<AggregatePart>,
    /// The value, over columns that [`AggregateExpression::part_name`] names.
    pub value: Expr,
}

/// One state, and what is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregatePart {
    /// What the state is over, columns without a qualifier.
    pub input: Expr,
    /// What it keeps.
    pub options: ColumnOptions,
    /// What is asked.
    pub asked: Aggregate,
    /// The type of the answer: double, boolean, a date or a timestamp.
    pub data_type: DataType,
}

impl AggregateExpression {
    /// The name of a part's answer in [`AggregateExpression::value`].
    #[must_use]
    pub fn part_name(position: usize) -> String {
        format!("__part_{position}")
    }
}

impl AggregatePart {
    /// The answers of some states as an array of the part's type; `None` where a state lacks.
    ///
    /// # Errors
    /// When a time is out of range.
    pub fn answers<'a>(&self, states: impl Iterator<Item = Option<&'a FrozenColumn>>) -> crate::Result<ArrayRef> {
        let answers = states.map(|state| state?.aggregate(self.asked).filter(|answer| answer.is_finite()));
        let array: ArrayRef = match &self.data_type {
            DataType::Float64 => std::sync::Arc::new(answers.collect::<Float64Array>()),
            DataType::Boolean => {
                std::sync::Arc::new(answers.map(|answer| Some(answer? > 0.0)).collect::<arrow::array::BooleanArray>())
            }
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                #[expect(clippy::cast_possible_truncation, reason = "microseconds are whole, and within range")]
                let micros: TimestampMicrosecondArray = answers.map(|answer| Some(answer? as i64)).collect();
                let zone = match &self.data_type {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                let micros: ArrayRef = std::sync::Arc::new(micros.with_timezone_opt(zone));
                cast_array(&micros, &self.data_type).map_err(DataFusionError::from)?
            }
            other => {
                let error = DataFusionError::Plan(format!("a metric cannot have the type {other}"));
                return Err(error.into());
            }
        };
        Ok(array)
    }
}

/// Reads exactly one SQL expression over aggregates of the columns of `schema`.
///
/// # Errors
/// For everything else; see [`ExpressionError`].
pub fn parse_aggregate(
    context: &SessionContext,
    text: &str,
    schema: &DFSchema,
) -> Result<AggregateExpression, ExpressionError> {
    let expr = plan(context, text, schema, Allows::Aggregates)?;
    let mut parts = Parts { schema, parts: Vec::new(), refused: None };
    let value = expr
        .transform_down(|expr| {
            let Expr::AggregateFunction(_) = &expr else { return Ok(Transformed::no(expr)) };
            match parts.take_apart(&expr) {
                Ok(value) => Ok(Transformed::new(value, true, TreeNodeRecursion::Jump)),
                Err(error) => {
                    parts.refused.get_or_insert(error);
                    Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop))
                }
            }
        })
        .map_err(|error| plan_error(&error))?
        .data;
    if let Some(error) = parts.refused {
        return Err(error);
    }
    check(&value)?;
    let is_part = |name: &str| name.starts_with("__part_");
    if let Some(column) = value.column_refs().into_iter().find(|column| !is_part(&column.name)) {
        return Err(ExpressionError::OutsideAggregate { column: column.name.clone() });
    }
    if parts.parts.is_empty() {
        return Err(ExpressionError::NoAggregate);
    }
    Ok(AggregateExpression { parts: parts.parts, value })
}

/// Writes Spark's names of aggregate functions as ours.
pub(super) fn translate(call: &mut Function) {
    let name = super::function_name(&call.name);
    if name == "count_if"
        && let FunctionArguments::List(list) = &mut call.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))] = list.args.as_slice()
        && call.filter.is_none()
    {
        call.filter = Some(Box::new(condition.clone()));
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
        call.name = ObjectName::from(vec![Ident::new("count")]);
        return;
    }
    let ours = match name.as_str() {
        "variance" => "var_samp",
        "std" => "stddev_samp",
        "percentile" => "percentile_cont",
        "percentile_approx" | "approx_percentile" => "approx_percentile_cont",
        "approx_count_distinct" => "approx_distinct",
        "every" => "bool_and",
        _ => return,
    };
    call.name = ObjectName::from(vec![Ident::new(ours)]);
}

struct Parts<'a> {
    schema: &'a DFSchema,
    parts: Vec<AggregatePart>,
    refused: Option<ExpressionError>,
}

impl Parts<'_> {
    /// The place of a part's answer; equal parts share one.
    fn part(&mut self, input: Expr, options: ColumnOptions, asked: Aggregate, data_type: DataType) -> Expr {
        let part = AggregatePart { input, options, asked, data_type };
        let position = self.parts.iter().position(|known| *known == part).unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        });
        Expr::Column(Column::new_unqualified(AggregateExpression::part_name(position)))
    }

    fn take_apart(&mut self, call: &Expr) -> Result<Expr, ExpressionError> {
        let Expr::AggregateFunction(call) = call else { return Err(ExpressionError::NoAggregate) };
        let function = call.func.name().to_owned();
        let form =
            |problem: &str| ExpressionError::AggregateForm { function: function.clone(), problem: problem.to_owned() };
        let parameters = &call.params;
        if parameters.null_treatment.is_some() {
            return Err(form("leaves nulls out in any case"));
        }
        let is_ordered = function.starts_with("percentile") || function.starts_with("approx_percentile");
        if !parameters.order_by.is_empty() && !is_ordered {
            return Err(form("takes no ORDER BY: no metric depends on the order of rows"));
        }
        for input in parameters.args.iter().chain(parameters.filter.as_deref()) {
            check(input)?;
            check_casts(input, self.schema)?;
        }
        let filtered = |input: Expr| match &parameters.filter {
            None => Ok(input),
            Some(filter) => when(filter.as_ref().clone(), input).end().map_err(|error| plan_error(&error)),
        };
        if parameters.distinct && function != "count" {
            return Err(form("takes no DISTINCT"));
        }
        let arguments = parameters.args.as_slice();
        match (function.as_str(), arguments) {
            ("count", [argument]) if parameters.distinct => self.distinct(filtered(argument.clone())?, &form, true),
            ("approx_distinct", [argument]) => self.distinct(filtered(argument.clone())?, &form, false),
            // `count(*)` comes as a count of a constant.
            ("count", [argument]) => {
                let input = filtered(argument.clone())?;
                Ok(self.part(input, ColumnOptions::new(ColumnKind::Opaque), Aggregate::Count, DataType::Float64))
            }
            ("sum", [argument]) => self.number(filtered(argument.clone())?, Aggregate::Sum, &form),
            ("avg", [argument]) => self.number(filtered(argument.clone())?, Aggregate::Mean, &form),
            ("var" | "var_samp", [argument]) => {
                self.number(filtered(argument.clone())?, Aggregate::Variance { of_population: false }, &form)
            }
            ("var_pop", [argument]) => {
                self.number(filtered(argument.clone())?, Aggregate::Variance { of_population: true }, &form)
            }
            ("stddev" | "stddev_samp", [argument]) => {
                let variance =
                    self.number(filtered(argument.clone())?, Aggregate::Variance { of_population: false }, &form)?;
                Ok(datafusion::functions::math::expr_fn::sqrt(variance))
            }
            ("stddev_pop", [argument]) => {
                let variance =
                    self.number(filtered(argument.clone())?, Aggregate::Variance { of_population: true }, &form)?;
                Ok(datafusion::functions::math::expr_fn::sqrt(variance))
            }
            ("min", [argument]) => self.extremum(filtered(argument.clone())?, Aggregate::Min, &form),
            ("max", [argument]) => self.extremum(filtered(argument.clone())?, Aggregate::Max, &form),
            ("bool_and", [argument]) => self.truth(filtered(argument.clone())?, Aggregate::Min, &form),
            ("bool_or", [argument]) => self.truth(filtered(argument.clone())?, Aggregate::Max, &form),
            ("median", [argument]) => self.quantile(filtered(argument.clone())?, 0.5, true, &form),
            ("approx_median", [argument]) => self.quantile(filtered(argument.clone())?, 0.5, false, &form),
            ("percentile_cont" | "approx_percentile_cont", [argument, share, ..]) => {
                let share = match share {
                    Expr::Literal(value, _) => value.cast_to(&DataType::Float64).ok(),
                    _ => None,
                };
                let Some(ScalarValue::Float64(Some(share))) = share.filter(|_| arguments.len() == 2) else {
                    return Err(form("takes a column and a constant between 0 and 1"));
                };
                if !(0.0..=1.0).contains(&share) {
                    return Err(form("takes a share between 0 and 1"));
                }
                let is_descending = parameters.order_by.first().is_some_and(|order| !order.asc);
                let share = if is_descending { 1.0 - share } else { share };
                self.quantile(filtered(argument.clone())?, share, function == "percentile_cont", &form)
            }
            ("covar_pop" | "covar_samp" | "corr", [x, y]) => {
                let (x, y) = (filtered(x.clone())?, filtered(y.clone())?);
                self.pair(&function, x, y, &form)
            }
            _ => Err(ExpressionError::UnknownAggregate { function }),
        }
    }

    fn type_of(&self, input: &Expr) -> Result<DataType, ExpressionError> {
        // Operands of different types are made to fit later; what comes out is known all the same.
        input.get_type(self.schema).map_err(|error| plan_error(&error))
    }

    fn as_double(&self, input: Expr, form: &dyn Fn(&str) -> ExpressionError) -> Result<Expr, ExpressionError> {
        match self.type_of(&input)? {
            DataType::Float64 => Ok(input),
            data_type if data_type.is_numeric() || data_type == DataType::Null => Ok(cast(input, DataType::Float64)),
            DataType::Boolean => Ok(cast(cast(input, DataType::Int32), DataType::Float64)),
            data_type => Err(form(&format!("needs numbers, not {}", spark_type_name(&data_type)))),
        }
    }

    fn number(
        &mut self,
        input: Expr,
        asked: Aggregate,
        form: &dyn Fn(&str) -> ExpressionError,
    ) -> Result<Expr, ExpressionError> {
        let input = self.as_double(input, form)?;
        let options = ColumnOptions { max_buckets: FEWEST_BUCKETS, ..ColumnOptions::new(ColumnKind::Numeric) };
        Ok(self.part(input, options, asked, DataType::Float64))
    }

    fn extremum(
        &mut self,
        input: Expr,
        asked: Aggregate,
        form: &dyn Fn(&str) -> ExpressionError,
    ) -> Result<Expr, ExpressionError> {
        let data_type = self.type_of(&input)?;
        match ColumnKind::of(&data_type) {
            ColumnKind::Temporal => {
                let options = ColumnOptions { max_buckets: FEWEST_BUCKETS, ..ColumnOptions::new(ColumnKind::Temporal) };
                let data_type = match data_type {
                    DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
                    other => other,
                };
                Ok(self.part(input, options, asked, data_type))
            }
            ColumnKind::Numeric => self.number(input, asked, form),
            _ if data_type == DataType::Boolean => self.truth(input, asked, form),
            _ => Err(form(&format!("needs numbers or times, not {}", spark_type_name(&data_type)))),
        }
    }

    fn truth(
        &mut self,
        input: Expr,
        asked: Aggregate,
        form: &dyn Fn(&str) -> ExpressionError,
    ) -> Result<Expr, ExpressionError> {
        if self.type_of(&input)? != DataType::Boolean {
            return Err(form("needs a condition"));
        }
        let options = ColumnOptions { max_buckets: FEWEST_BUCKETS, ..ColumnOptions::new(ColumnKind::Numeric) };
        let input = cast(cast(input, DataType::Int32), DataType::Float64);
        Ok(self.part(input, options, asked, DataType::Boolean))
    }

    fn quantile(
        &mut self,
        input: Expr,
        share: f64,
        is_exact: bool,
        form: &dyn Fn(&str) -> ExpressionError,
    ) -> Result<Expr, ExpressionError> {
        let input = self.as_double(input, form)?;
        let options = ColumnOptions::new(ColumnKind::Numeric);
        let options = if is_exact { ColumnOptions { max_buckets: u32::MAX, ..options } } else { options };
        Ok(self.part(input, options, Aggregate::Quantile(share), DataType::Float64))
    }

    fn distinct(
        &mut self,
        input: Expr,
        form: &dyn Fn(&str) -> ExpressionError,
        is_exact: bool,
    ) -> Result<Expr, ExpressionError> {
        let data_type = self.type_of(&input)?;
        let kind = ColumnKind::of(&data_type);
        if !matches!(kind, ColumnKind::Numeric | ColumnKind::Categorical | ColumnKind::Temporal) {
            return Err(form(&format!("cannot tell values of type {} apart", spark_type_name(&data_type))));
        }
        let options = ColumnOptions { max_buckets: FEWEST_BUCKETS, ..ColumnOptions::new(kind) };
        let options = if is_exact { options.with_exact_distinct() } else { options };
        Ok(self.part(input, options, Aggregate::Distinct, DataType::Float64))
    }

    /// Covariance and correlation of the rows in which both are numbers, from exact sums; see [`super::pair`].
    fn pair(
        &mut self,
        function: &str,
        x: Expr,
        y: Expr,
        form: &dyn Fn(&str) -> ExpressionError,
    ) -> Result<Expr, ExpressionError> {
        let (x, y) = (self.as_paired(x, form)?, self.as_paired(y, form)?);
        let of_population = function != "covar_samp";
        let covariance = self.covariance((&x, &y), [Factor::X, Factor::Y], of_population, form)?;
        if function != "corr" {
            return Ok(covariance);
        }
        let mut variance = |factor: Factor| match self.type_of(if factor == Factor::X { &x } else { &y })? {
            // Sums of squares are exact as they are.
            DataType::Float64 => {
                let values = pair::term(Of::One(factor), Digits::High, &x, &y);
                self.number(values, Aggregate::Variance { of_population }, form)
            }
            _ => self.covariance((&x, &y), [factor, factor], of_population, form),
        };
        let (of_x, of_y) = (variance(Factor::X)?, variance(Factor::Y)?);
        Ok(pair::correlation(covariance, of_x, of_y))
    }

    /// The covariance of two of a pair, or of one with itself.
    fn covariance(
        &mut self,
        (x, y): (&Expr, &Expr),
        [a, b]: [Factor; 2],
        of_population: bool,
        form: &dyn Fn(&str) -> ExpressionError,
    ) -> Result<Expr, ExpressionError> {
        let count = self.number(pair::term(Of::One(Factor::X), Digits::High, x, y), Aggregate::Count, form)?;
        let mut sums = vec![count];
        for of in [Of::One(a), Of::One(b), Of::Product(a, b)] {
            let digits: &[Digits] = match of {
                Of::One(factor) if self.type_of(if factor == Factor::X { x } else { y })? == DataType::Float64 => {
                    &[Digits::High]
                }
                _ => &[Digits::High, Digits::Low],
            };
            for &digits in digits {
                let values = pair::term(of, digits, x, y);
                sums.push(self.number(values.clone(), Aggregate::Sum, form)?);
                sums.push(self.number(values, Aggregate::SumRest, form)?);
            }
            if digits.len() == 1 {
                sums.extend([lit(0.0), lit(0.0)]);
            }
        }
        Ok(pair::covariance(of_population, sums))
    }

    /// A number that loses none of its digits: integers of 64 bits stay what they are.
    fn as_paired(&self, input: Expr, form: &dyn Fn(&str) -> ExpressionError) -> Result<Expr, ExpressionError> {
        match self.type_of(&input)? {
            DataType::Int64 | DataType::UInt64 => Ok(input),
            _ => self.as_double(input, form),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
    use arrow::compute::cast as cast_array;
    use limno_metrics::ColumnState;

    use super::*;

    fn batch() -> RecordBatch {
        let numbers: Float64Array =
            (0..500).map(|row| (row % 7 != 3).then(|| f64::from(row * 37 % 101) * 0.25 - 3.0)).collect();
        let others: Int64Array = (0..500i64).map(|row| (row % 11 != 5).then_some(row * row % 23)).collect();
        let flags: BooleanArray = (0..500).map(|row| (row % 5 != 0).then_some(row % 3 == 0)).collect();
        let texts: StringArray = (0..500).map(|row| (row % 4 != 0).then(|| format!("t{}", row % 9))).collect();
        let times: TimestampMicrosecondArray = (0..500i64).map(|row| Some(row * 1_000_003)).collect();
        let columns: [(&str, ArrayRef); 5] = [
            ("x", Arc::new(numbers)),
            ("n", Arc::new(others)),
            ("flag", Arc::new(flags)),
            ("text", Arc::new(texts)),
            ("at", Arc::new(times.with_timezone("UTC"))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// The value of an expression from states over two halves of the rows, merged.
    fn from_states(context: &SessionContext, text: &str, batch: &RecordBatch) -> ArrayRef {
        let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
        let parsed = parse_aggregate(context, text, &schema).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (fields, answers): (Vec<_>, Vec<ArrayRef>) = parsed
            .parts
            .iter()
            .enumerate()
            .map(|(position, part)| {
                let input = context.create_physical_expr(part.input.clone(), &schema).unwrap();
                let values = input.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap();
                let mut state = ColumnState::empty(&part.options);
                state.observe(&values.slice(300, 200)).unwrap();
                let mut first = ColumnState::empty(&part.options);
                first.observe(&values.slice(0, 300)).unwrap();
                state.merge(&first).unwrap();
                let frozen = state.freeze();
                let name = AggregateExpression::part_name(position);
                let field = arrow::datatypes::Field::new(name, part.data_type.clone(), true);
                (field, part.answers(std::iter::once(Some(&frozen))).unwrap())
            })
            .unzip();
        let parts = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), answers).unwrap();
        let schema = DFSchema::try_from(parts.schema().as_ref().clone()).unwrap();
        let value = context.create_physical_expr(parsed.value, &schema).unwrap();
        value.evaluate(&parts).unwrap().into_array(1).unwrap()
    }

    #[tokio::test]
    async fn states_answer_what_a_query_over_the_rows_does() {
        let context = SessionContext::new();
        let batch = batch();
        context.register_batch("rows", batch.clone()).unwrap();
        for (ours, sql) in [
            ("avg(x * x)", None),
            ("avg(`x` * `x`)", Some("avg(x * x)")),
            ("sum(x * n) / sum(n)", Some("sum(x * CASE WHEN true THEN n END) / CAST(sum(n) AS DOUBLE)")),
            ("count(*)", None),
            ("count(text) / count(*)", Some("CAST(count(text) AS DOUBLE) / count(*)")),
            ("count(DISTINCT text) + count(DISTINCT n)", None),
            ("approx_count_distinct(text)", Some("count(DISTINCT text)")),
            ("count_if(x > 2)", Some("count(*) FILTER (WHERE x > 2)")),
            ("avg(x) FILTER (WHERE flag)", None),
            ("min(x) + max(n)", None),
            ("max(at)", None),
            ("stddev(x) / sqrt(count(x))", None),
            ("var_pop(x) - variance(n)", Some("var_pop(x) - var_samp(n)")),
            ("stddev_pop(n)", None),
            ("median(x)", None),
            ("percentile_cont(x, 0.9)", None),
            ("percentile(n, 0.25)", Some("percentile_cont(CAST(n AS DOUBLE), 0.25)")),
            ("bool_and(x < 1000)", None),
            ("every(flag)", Some("bool_and(flag)")),
            ("bool_or(flag)", None),
            ("corr(x, n)", None),
            ("covar_samp(x, n) + covar_pop(x, n)", None),
            ("CASE WHEN count(*) > 10 THEN sum(n) ELSE 0 END", None),
            ("upper('a') || cast(round(avg(x), 2) AS varchar)", None),
        ] {
            let found = from_states(&context, ours, &batch);
            let query = format!("SELECT {} AS v FROM rows", sql.unwrap_or(ours));
            let expected = context.sql(&query).await.unwrap().collect().await.unwrap();
            let expected = expected[0].column(0);
            match found.data_type() {
                DataType::Float64 => {
                    let expected = cast_array(expected, &DataType::Float64).unwrap();
                    let (found, expected) = (
                        found.as_primitive::<arrow::datatypes::Float64Type>().value(0),
                        expected.as_primitive::<arrow::datatypes::Float64Type>().value(0),
                    );
                    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{ours}: {found} {expected}");
                }
                _ => {
                    let text = |array: &ArrayRef| cast_array(array, &DataType::Utf8).unwrap();
                    assert_eq!(text(&found).as_string::<i32>(), text(expected).as_string::<i32>(), "{ours}");
                }
            }
        }
    }

    /// Covariance and both variances of the population, in integers, of values around an origin.
    fn exact(x: &[i128], y: &[i128]) -> (f64, f64, f64) {
        let n = x.len() as i128;
        let (origin_x, origin_y) = (x[0], y[0]);
        let sum = |of: &dyn Fn(i128, i128) -> i128| -> i128 {
            x.iter().zip(y).map(|(x, y)| of(x - origin_x, y - origin_y)).sum()
        };
        let (of_x, of_y) = (sum(&|x, _| x), sum(&|_, y| y));
        let over = |value: i128| value as f64 / (n * n) as f64;
        (
            over(n * sum(&|x, y| x * y) - of_x * of_y),
            over(n * sum(&|x, _| x * x) - of_x * of_x),
            over(n * sum(&|_, y| y * y) - of_y * of_y),
        )
    }

    fn double(array: &ArrayRef) -> Option<f64> {
        let values = array.as_primitive::<arrow::datatypes::Float64Type>();
        values.is_valid(0).then(|| values.value(0))
    }

    #[test]
    fn pairs_far_from_zero_keep_their_covariance() {
        let context = SessionContext::new();
        // Nanoseconds of seconds that follow each other, odd ones and such as doubles hold; small numbers beside them.
        let start = 1_700_000_000_000_000_001_i64;
        let odd: Vec<i64> = (0..500).map(|row| start + row * 1_000_000_007).collect();
        let even: Vec<i64> = odd.iter().map(|at| at / 4096 * 4096).collect();
        let ends: Vec<i64> =
            odd.iter().enumerate().map(|(row, at)| at + 3 + (row as i64 * 37 % 101) * 999_999_937).collect();
        let small: Vec<i64> = (0..500).map(|row| row * 7 % 23 + row / 40).collect();
        let wide = |values: &[i64]| values.iter().map(|&value| i128::from(value)).collect::<Vec<_>>();
        let doubles = |values: &[i64]| Arc::new(values.iter().map(|&value| value as f64).collect::<Float64Array>());
        let integers = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec()));
        let cases: [(&[i64], ArrayRef, &[i64], ArrayRef); 5] = [
            (&odd, integers(&odd), &small, doubles(&small)),
            (&even, doubles(&even), &small, integers(&small)),
            (&odd, integers(&odd), &ends, integers(&ends)),
            (&even, doubles(&even), &ends, integers(&ends)),
            (&small, doubles(&small), &small, doubles(&small)),
        ];
        for (case, (x, x_values, y, y_values)) in cases.into_iter().enumerate() {
            let batch = RecordBatch::try_from_iter([("x", x_values), ("y", y_values)]).unwrap();
            let (covariance, of_x, of_y) = exact(&wide(x), &wide(y));
            for (text, expected) in [
                ("covar_pop(x, y)", covariance),
                ("covar_pop(y, x)", covariance),
                ("covar_samp(x, y)", covariance * 500.0 / 499.0),
                ("corr(x, y)", covariance / (of_x.sqrt() * of_y.sqrt())),
            ] {
                let found = double(&from_states(&context, text, &batch)).unwrap();
                assert!((found / expected - 1.0).abs() < 1e-9, "{text} of case {case}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_pair_counts_where_both_are_numbers() {
        let context = SessionContext::new();
        let numbers = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        let of = |text: &str, x: ArrayRef, y: ArrayRef| {
            // Two halves are merged, so the rows come often enough for both.
            let batch = RecordBatch::try_from_iter([("x", x), ("y", y)]).unwrap();
            let batch = arrow::compute::concat_batches(&batch.schema(), std::iter::repeat_n(&batch, 500)).unwrap();
            double(&from_states(&context, text, &batch.slice(0, 500)))
        };
        let (x, y) = (numbers(&[1.0, 2.0, 3.0, f64::NAN]), numbers(&[1.0, 2.0, 3.0, 100.0]));
        assert_eq!(of("corr(x, y)", Arc::clone(&x), Arc::clone(&y)), Some(1.0));
        assert_eq!(of("corr(y, x)", Arc::clone(&x), Arc::clone(&y)), Some(1.0));
        assert_eq!(of("covar_pop(x, y)", Arc::clone(&x), Arc::clone(&y)), of("var_pop(x)", Arc::clone(&x), y));
        let one: ArrayRef = Arc::new(Int64Array::from(vec![1_700_000_000_000_000_001; 4]));
        assert_eq!(of("corr(x, y)", one, x), None);
        let endless = numbers(&[1.0, 2.0, f64::INFINITY, 0.0]);
        assert_eq!(of("covar_samp(x, y)", Arc::clone(&endless), numbers(&[0.0, 1.0, 0.0, 1.0])), None);
        assert_eq!(of("corr(x, y)", numbers(&[1e200, 2e200, 3e200, 4e200]), endless), None);
        let none: ArrayRef = Arc::new(Float64Array::from(vec![None::<f64>; 4]));
        assert_eq!(of("corr(x, y)", none, numbers(&[1.0, 2.0, 3.0, 4.0])), None);
    }

    #[test]
    fn what_no_states_answer_is_refused_by_name() {
        let context = SessionContext::new();
        let schema = DFSchema::try_from(batch().schema().as_ref().clone()).unwrap();
        for (text, says) in [
            ("first_value(x)", "first_value is no aggregate of a metric"),
            ("array_agg(x)", "array_agg is no aggregate of a metric"),
            ("sum(DISTINCT x)", "sum takes no DISTINCT"),
            ("sum(text)", "sum"),
            ("min(text)", "min needs numbers or times, not string"),
            ("bool_and(x)", "bool_and"),
            ("x + 1", "stands outside of an aggregate function"),
            ("avg(x) + n", "stands outside of an aggregate function"),
            ("1 + 1", "aggregates nothing"),
            ("avg(avg(x))", "avg"),
            ("avg(random())", "random"),
            ("sum(x) OVER ()", "window function"),
            ("avg((SELECT 1))", "subquery"),
            ("percentile_cont(x, n)", "percentile_cont takes"),
            ("percentile_cont(x, 2)", "percentile_cont takes a share between 0 and 1"),
            ("avg(y)", "no column \"y\""),
            ("avg(x), sum(x)", "more text after it"),
        ] {
            let error = parse_aggregate(&context, text, &schema).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}

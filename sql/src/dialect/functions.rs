//! Spark's functions in terms of DataFusion's.
//!
//! Functions that both have under one name with one meaning are not named here.

use std::ops::ControlFlow;

use datafusion::common::{plan_datafusion_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, NullTreatment, ObjectName, OrderByExpr, OrderByOptions, Query, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::pattern;

/// Functions of a row: name, number of arguments, and what they are, with `__0`, `__1`, … for the arguments.
const SCALARS: &[(&str, usize, &str)] = &[
    // Arrays and maps.
    ("size", 1, "CAST(cardinality(__0) AS INT)"),
    ("array_size", 1, "CAST(cardinality(__0) AS INT)"),
    ("get", 2, "__0[__1]"),
    ("explode", 1, "unnest(__0)"),
    ("map_contains_key", 2, "array_has(map_keys(__0), __1)"),
    // Numbers.
    ("if", 3, "CASE WHEN __0 THEN __1 ELSE __2 END"),
    ("iff", 3, "CASE WHEN __0 THEN __1 ELSE __2 END"),
    ("isnull", 1, "__0 IS NULL"),
    ("isnotnull", 1, "__0 IS NOT NULL"),
    ("zeroifnull", 1, "coalesce(__0, 0)"),
    ("nullifzero", 1, "nullif(__0, 0)"),
    ("try_divide", 2, "CAST(__0 AS DOUBLE) / nullif(CAST(__1 AS DOUBLE), CAST(0 AS DOUBLE))"),
    ("log", 1, "ln(__0)"),
    ("rand", 0, "random()"),
    // Casts.
    ("int", 1, "CAST(__0 AS INT)"),
    ("bigint", 1, "CAST(__0 AS BIGINT)"),
    ("float", 1, "CAST(__0 AS REAL)"),
    ("double", 1, "CAST(__0 AS DOUBLE)"),
    ("string", 1, "CAST(__0 AS VARCHAR)"),
    ("boolean", 1, "CAST(__0 AS BOOLEAN)"),
    ("date", 1, "CAST(__0 AS DATE)"),
    ("timestamp", 1, "to_timestamp(__0)"),
    // Times.
    ("date_add", 2, "CAST(CAST(CAST(__0 AS DATE) AS INT) + CAST(__1 AS INT) AS DATE)"),
    ("dateadd", 2, "CAST(CAST(CAST(__0 AS DATE) AS INT) + CAST(__1 AS INT) AS DATE)"),
    ("date_sub", 2, "CAST(CAST(CAST(__0 AS DATE) AS INT) - CAST(__1 AS INT) AS DATE)"),
    ("datediff", 2, "CAST(CAST(__0 AS DATE) AS INT) - CAST(CAST(__1 AS DATE) AS INT)"),
    ("date_diff", 2, "CAST(CAST(__0 AS DATE) AS INT) - CAST(CAST(__1 AS DATE) AS INT)"),
    ("year", 1, "date_part('year', __0)"),
    ("quarter", 1, "date_part('quarter', __0)"),
    ("month", 1, "date_part('month', __0)"),
    ("weekofyear", 1, "date_part('week', __0)"),
    ("day", 1, "date_part('day', __0)"),
    ("dayofmonth", 1, "date_part('day', __0)"),
    ("dayofyear", 1, "date_part('doy', __0)"),
    ("dayofweek", 1, "date_part('dow', __0) + 1"),
    ("hour", 1, "date_part('hour', __0)"),
    ("minute", 1, "date_part('minute', __0)"),
    ("second", 1, "date_part('second', __0)"),
    ("unix_timestamp", 0, "to_unixtime(now())"),
    ("unix_timestamp", 1, "to_unixtime(__0)"),
];

/// Functions that go by another name, with the same arguments; of a row, and of many.
const RENAMED: &[(&str, &str)] = &[
    ("array", "make_array"),
    ("std", "stddev"),
    ("variance", "var_samp"),
    ("any", "bool_or"),
    ("some", "bool_or"),
    ("every", "bool_and"),
    ("percentile", "percentile_cont"),
    ("percentile_approx", "approx_percentile_cont"),
    ("approx_percentile", "approx_percentile_cont"),
];

/// Units that times can be added in.
const UNITS: &[&str] = &["SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR"];

/// Rewrites a call whose arguments have been rewritten; everything else stays.
///
/// # Errors
/// For arguments that the functions here do not take.
pub(super) fn rewrite(expr: &mut SqlExpr) -> Result<()> {
    let SqlExpr::Function(call) = expr else { return Ok(()) };
    let Some(name) = name_of(call) else { return Ok(()) };
    if let Some((_, ours)) = RENAMED.iter().find(|(theirs, _)| *theirs == name) {
        rename(call, ours);
        return Ok(());
    }
    let Some(arguments) = arguments(call) else { return Ok(()) };
    let is_plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
    if is_plain
        && let Some((_, _, text)) =
            SCALARS.iter().find(|(theirs, count, _)| *theirs == name && *count == arguments.len())
    {
        *expr = template(text, &arguments)?;
        return Ok(());
    }
    if is_plain && let Some(call) = of_times(&name, &arguments)? {
        *expr = call;
        return Ok(());
    }
    of_groups(&name, &arguments, call)
}

/// Functions of times whose form depends on what they are given.
fn of_times(name: &str, arguments: &[SqlExpr]) -> Result<Option<SqlExpr>> {
    match (name, arguments) {
        ("dateadd" | "timestampadd" | "date_add", [SqlExpr::Identifier(unit), count, time]) => {
            let unit = unit.value.to_uppercase();
            if !UNITS.contains(&unit.as_str()) {
                return plan_err!("{name} does not take the unit {unit}, but {}", UNITS.join(", "));
            }
            let text = format!("__1 + CAST(concat(CAST(__0 AS VARCHAR), ' {unit}') AS INTERVAL)");
            template(&text, &[count.clone(), time.clone()]).map(Some)
        }
        ("date_format", [time, format]) => {
            Ok(Some(template("to_char(__0, __1)", &[time.clone(), patterned(name, format)?])?))
        }
        ("to_timestamp" | "to_date", [text, format]) => {
            let format = patterned(name, format)?;
            template(&format!("{name}(__0, __1)"), &[text.clone(), format]).map(Some)
        }
        _ => Ok(None),
    }
}

/// Spark's pattern as DataFusion's; only one that is written out can be read. One that is DataFusion's stays.
fn patterned(name: &str, format: &SqlExpr) -> Result<SqlExpr> {
    let SqlExpr::Value(value) = format else {
        return plan_err!("{name} takes a pattern that is written out, such as 'yyyy-MM-dd', not {format}");
    };
    match &value.value {
        Value::SingleQuotedString(text) if text.contains('%') => Ok(format.clone()),
        Value::SingleQuotedString(text) => {
            Ok(SqlExpr::Value(Value::SingleQuotedString(pattern::translate(text)?).into()))
        }
        other => plan_err!("{name} takes a pattern such as 'yyyy-MM-dd', not {other}"),
    }
}

/// Functions of many rows, which can stand over a window or a filter.
fn of_groups(name: &str, arguments: &[SqlExpr], call: &mut Function) -> Result<()> {
    match (name, arguments) {
        ("count_if", [condition]) => {
            rename(call, "count");
            give(call, template("CASE WHEN __0 THEN 1 END", std::slice::from_ref(condition))?, Vec::new());
        }
        ("first" | "last" | "first_value" | "last_value", [value, is_without_nulls]) => {
            let is_without_nulls = match is_without_nulls {
                SqlExpr::Value(value) => matches!(value.value, Value::Boolean(true)),
                other => return plan_err!("{name} takes true or false, whether nulls are passed over, not {other}"),
            };
            call.null_treatment = is_without_nulls.then_some(NullTreatment::IgnoreNulls);
            rename(call, if name.starts_with("first") { "first_value" } else { "last_value" });
            give(call, value.clone(), Vec::new());
        }
        ("first", [_]) => rename(call, "first_value"),
        ("last", [_]) => rename(call, "last_value"),
        ("max_by" | "min_by", [value, by]) => {
            let options = OrderByOptions { asc: Some(name == "min_by"), nulls_first: Some(false) };
            let order = OrderByExpr { expr: by.clone(), options, with_fill: None };
            rename(call, "first_value");
            give(call, value.clone(), vec![FunctionArgumentClause::OrderBy(vec![order])]);
        }
        ("collect_list" | "collect_set", [value]) if call.over.is_none() => {
            let not_null = template("__0 IS NOT NULL", std::slice::from_ref(value))?;
            call.filter = Some(Box::new(match call.filter.take() {
                Some(filter) => template("__0 AND __1", &[*filter, not_null])?,
                None => not_null,
            }));
            rename(call, "array_agg");
            give(call, value.clone(), Vec::new());
            if let (FunctionArguments::List(list), "collect_set") = (&mut call.args, name) {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The one argument of a call of `name`.
pub(super) fn only_argument(call: &SqlExpr, name: &str) -> Option<SqlExpr> {
    let SqlExpr::Function(call) = call else { return None };
    let mut arguments = arguments(call).filter(|arguments| arguments.len() == 1)?;
    name_of(call).filter(|called| called == name).and_then(|_| arguments.pop())
}

fn name_of(call: &Function) -> Option<String> {
    match call.name.0.as_slice() {
        [only] => only.as_ident().filter(|name| name.quote_style.is_none()).map(|name| name.value.to_lowercase()),
        _ => None,
    }
}

/// The arguments, if they are nothing but expressions.
fn arguments(call: &Function) -> Option<Vec<SqlExpr>> {
    let FunctionArguments::List(list) = &call.args else { return None };
    let is_plain = list.duplicate_treatment.is_none() && list.clauses.is_empty();
    let of = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(of).collect::<Option<_>>().filter(|_| is_plain)
}

fn rename(call: &mut Function, name: &str) {
    call.name = ObjectName::from(vec![Ident::new(name)]);
}

fn give(call: &mut Function, argument: SqlExpr, clauses: Vec<FunctionArgumentClause>) {
    if let FunctionArguments::List(list) = &mut call.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))];
        list.clauses = clauses;
    }
}

/// The expression that `text` is with `__0`, `__1`, … replaced.
pub(super) fn template(text: &str, arguments: &[SqlExpr]) -> Result<SqlExpr> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_expr());
    let mut expr = parsed.map_err(unreadable)?;
    match expr.visit(&mut Fill(arguments)) {
        ControlFlow::Continue(()) => Ok(expr),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A query out of the text of one.
pub(super) fn query(text: &str) -> Result<Query> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    parsed.map(|query| *query).map_err(unreadable)
}

fn unreadable(error: ParserError) -> DataFusionError {
    DataFusionError::SQL(Box::new(error), None)
}

struct Fill<'a>(&'a [SqlExpr]);

impl VisitorMut for Fill<'_> {
    type Break = DataFusionError;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<DataFusionError> {
        let SqlExpr::Identifier(name) = expr else { return ControlFlow::Continue(()) };
        let Some(position) = name.value.strip_prefix("__") else { return ControlFlow::Continue(()) };
        match position.parse::<usize>().ok().and_then(|position| self.0.get(position)) {
            Some(argument) => {
                *expr = argument.clone();
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(plan_datafusion_err!("{name} stands for no argument")),
        }
    }
}

//! Slicing expressions: one scalar SQL expression over a table's columns and nothing else.
//!
//! The text is the only code that a configuration holds, so it is looked at twice: as syntax, where every name must
//! be a column's or a scalar function's, and as the planned expression, which must depend on nothing but the row.

mod aggregate;
mod error;
mod pair;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr as SqlExpr, ExprWithAlias, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Query, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token};
use limno_metrics::column::spark_type_name;

pub use aggregate::{AGGREGATES, AggregateExpression, AggregatePart, parse_aggregate};
pub use error::{ExpressionError, Position};
use error::{plan_error, syntax_error};

/// The most characters that an expression may have.
pub const MAX_LENGTH: usize = 4_000;

/// The most operations that may hang on each other, as in `a + b + c`. Plans walk down every level of an expression,
/// some of the ways on the stack.
pub const MAX_DEPTH: usize = 128;

/// An expression whose values cut a table into slices.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceExpression {
    /// The text as the user wrote it, the slices' key in the metric tables.
    pub key: String,
    /// The expression, over the table's columns without a qualifier.
    pub expr: Expr,
    /// Whether its values are true and false.
    pub is_predicate: bool,
}

/// Reads exactly one scalar SQL expression over the columns of `schema`.
///
/// Names are matched to columns as they are written and, where none is, without regard to case, as long as only one
/// fits. Other than in standard SQL this holds for quoted names too, whose quotes are double ones or backticks.
/// The expression fails at run time where SQL's functions do; `try_cast` is the cast that does not.
///
/// # Errors
/// For everything else than such an expression; see [`ExpressionError`].
pub fn parse_slice(
    context: &SessionContext,
    text: &str,
    schema: &DFSchema,
) -> Result<SliceExpression, ExpressionError> {
    let expr = plan(context, text, schema, Allows::Rows)?;
    let data_type = type_of(context, &expr, schema)?;
    if !is_text(&data_type) {
        return Err(ExpressionError::ResultType { data_type: spark_type_name(&data_type) });
    }
    Ok(SliceExpression { key: text.to_owned(), expr, is_predicate: data_type == DataType::Boolean })
}

/// Reads exactly one scalar SQL expression over the columns of `schema`, of whatever type, and that type.
///
/// # Errors
/// As [`parse_slice`], but for the type.
pub fn parse_scalar(
    context: &SessionContext,
    text: &str,
    schema: &DFSchema,
) -> Result<(Expr, DataType), ExpressionError> {
    let expr = plan(context, text, schema, Allows::Rows)?;
    let data_type = type_of(context, &expr, schema)?;
    Ok((expr, data_type))
}

/// What an expression runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allows {
    /// One row at a time.
    Rows,
    /// Many rows, through aggregate functions.
    Aggregates,
}

fn plan(context: &SessionContext, text: &str, schema: &DFSchema, allows: Allows) -> Result<Expr, ExpressionError> {
    let mut syntax = parse(text)?;
    let state = context.state();
    let mut names = Names { state: &state, schema, allows, fields: Vec::new(), depth: 0 };
    if let ControlFlow::Break(error) = syntax.visit(&mut names) {
        return Err(error);
    }
    let aliased = ExprWithAlias { expr: syntax, alias: None };
    let expr = state.create_logical_expr_from_sql_expr(aliased, schema).map_err(|error| plan_error(&error))?;
    let expr = expr.unalias_nested().data;
    if allows == Allows::Rows {
        check(&expr)?;
        if expr.column_refs().is_empty() {
            return Err(ExpressionError::Constant);
        }
    }
    Ok(expr)
}

/// The type of a scalar expression.
fn type_of(context: &SessionContext, expr: &Expr, schema: &DFSchema) -> Result<DataType, ExpressionError> {
    // The physical expression is where types have been made to fit.
    let data_type = context
        .create_physical_expr(expr.clone(), schema)
        .and_then(|physical| physical.data_type(schema.as_arrow()))
        .map_err(|error| plan_error(&error))?;
    check_casts(expr, schema)?;
    Ok(data_type)
}

fn parse(text: &str) -> Result<SqlExpr, ExpressionError> {
    if text.trim().is_empty() {
        return Err(ExpressionError::Empty);
    }
    let length = text.chars().count();
    if length > MAX_LENGTH {
        return Err(ExpressionError::TooLong { length });
    }
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(syntax_error)?;
    // With wildcards, so that they can be refused by name.
    let syntax = parser.parse_wildcard_expr().map_err(syntax_error)?;
    let next = parser.peek_token();
    if next.token == Token::EOF {
        Ok(syntax)
    } else {
        Err(ExpressionError::Trailing { found: next.token.to_string(), position: next.span.start.into() })
    }
}

fn is_text(data_type: &DataType) -> bool {
    // Bytes are not always text, and would fail only once there are some that are not.
    !data_type.is_nested() && spark_type_name(data_type) != "binary" && can_cast_types(data_type, &DataType::Utf8)
}

/// Refuses what syntax cannot tell, and once more what it can.
fn check(expr: &Expr) -> Result<(), ExpressionError> {
    let mut refused = None;
    let mut see = |expr: &Expr| {
        refused = match expr {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some(ExpressionError::Volatile { function: call.func.name().to_owned() })
            }
            Expr::AggregateFunction(call) => Some(ExpressionError::Aggregate { function: call.func.name().to_owned() }),
            Expr::GroupingSet(_) => Some(ExpressionError::Aggregate { function: "a grouping set".to_owned() }),
            Expr::WindowFunction(call) => Some(ExpressionError::Window { function: call.fun.name().to_owned() }),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::ScalarSubquery(_) => {
                Some(ExpressionError::Subquery)
            }
            Expr::OuterReferenceColumn(..) => Some(ExpressionError::Subquery),
            Expr::Placeholder(placeholder) => Some(ExpressionError::Placeholder { name: placeholder.id.clone() }),
            Expr::ScalarVariable(_, names) => Some(ExpressionError::Variable { name: names.join(".") }),
            _ => None,
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    };
    expr.apply(&mut see).map_err(|error| plan_error(&error))?;
    refused.map_or(Ok(()), Err)
}

/// Refuses casts that the planner adds and that would fail only while running: of text in a column to anything else,
/// and of a constant that does not parse. Those that the user wrote are the user's.
fn check_casts(expr: &Expr, schema: &DFSchema) -> Result<(), ExpressionError> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    let mut written = Vec::new();
    expr.apply(|expr| {
        if matches!(expr, Expr::Cast(_)) {
            // As it will be found again: the planner may change what is cast.
            written.push(simplifier.coerce(expr.clone(), schema)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|error| plan_error(&error))?;
    let mut refused = None;
    let see = |at: &Expr| {
        let Expr::Cast(cast) = at else { return Ok(TreeNodeRecursion::Continue) };
        let data_type = cast.field.data_type();
        if let Expr::Literal(value, _) = cast.expr.as_ref() {
            value.cast_to(data_type)?;
        } else if cast.expr.get_type(schema)?.is_string() && !data_type.is_string() && !written.contains(at) {
            let data_type = spark_type_name(data_type);
            refused = Some(ExpressionError::ImplicitCast { text: cast.expr.human_display().to_string(), data_type });
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    };
    let coerced = simplifier.coerce(expr.clone(), schema);
    coerced.and_then(|coerced| coerced.apply(see)).map_err(|error| plan_error(&error))?;
    refused.map_or(Ok(()), Err)
}

/// Walks over the syntax, refuses what is no scalar expression, and writes every column's name as the table has it.
struct Names<'a> {
    state: &'a SessionState,
    schema: &'a DFSchema,
    allows: Allows,
    /// Where names stand that are fields of a value, not columns.
    fields: Vec<Span>,
    depth: usize,
}

impl VisitorMut for Names<'_> {
    type Break = ExpressionError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<ExpressionError> {
        ControlFlow::Break(ExpressionError::Subquery)
    }

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<ExpressionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return ControlFlow::Break(ExpressionError::TooDeep);
        }
        if let (Allows::Aggregates, SqlExpr::Function(call)) = (self.allows, &mut *expr) {
            aggregate::translate(call);
        }
        let seen = match expr {
            SqlExpr::Identifier(name) => self.column(name).map(|_| ()),
            SqlExpr::CompoundIdentifier(names) => self.path(names),
            SqlExpr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Dot(SqlExpr::Identifier(field)) = access {
                        self.fields.push(field.span);
                    }
                }
                Ok(())
            }
            SqlExpr::Wildcard(_) | SqlExpr::QualifiedWildcard(..) => Err(ExpressionError::Wildcard),
            SqlExpr::Value(value) => match &value.value {
                Value::Placeholder(name) => Err(ExpressionError::Placeholder { name: name.clone() }),
                _ => Ok(()),
            },
            SqlExpr::Function(call) => match self.keyword(call) {
                Some(column) => {
                    *expr = SqlExpr::Identifier(column);
                    Ok(())
                }
                None => self.function(call),
            },
            _ => Ok(()),
        };
        match seen {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, _: &mut SqlExpr) -> ControlFlow<ExpressionError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Names<'_> {
    fn column(&self, name: &mut Ident) -> Result<Option<&FieldRef>, ExpressionError> {
        if self.fields.contains(&name.span) {
            return Ok(None);
        }
        if name.quote_style.is_none() && name.value.starts_with('@') {
            return Err(ExpressionError::Variable { name: name.value.clone() });
        }
        find(name, self.schema.fields()).map(Some)
    }

    /// A column and the fields of structs within it.
    fn path(&self, names: &mut [Ident]) -> Result<(), ExpressionError> {
        let Some((first, rest)) = names.split_first_mut() else { return Ok(()) };
        let mut within = self.column(first)?;
        for name in rest {
            let Some(DataType::Struct(fields)) = within.map(|field| field.data_type()) else { break };
            within = Some(find(name, fields)?);
        }
        Ok(())
    }

    /// The column that a name without parentheses means where the parser takes it for a function, such as `user`.
    fn keyword(&self, call: &Function) -> Option<Ident> {
        let [name] = call.name.0.as_slice() else { return None };
        let mut name = name.as_ident()?.clone();
        let is_bare = call.args == FunctionArguments::None;
        (is_bare && find(&mut name, self.schema.fields()).is_ok()).then_some(name)
    }

    fn function(&self, call: &Function) -> Result<(), ExpressionError> {
        let function = function_name(&call.name);
        if call.over.is_some() || call.null_treatment.is_some() {
            return Err(ExpressionError::Window { function });
        }
        if self.allows == Allows::Aggregates && self.state.aggregate_functions().contains_key(&function) {
            // What kind of call it is shows once it is planned.
            return match &call.args {
                FunctionArguments::Subquery(_) => Err(ExpressionError::Subquery),
                _ => Ok(()),
            };
        }
        if !self.state.scalar_functions().contains_key(&function) {
            return Err(self.no_scalar(function));
        }
        let is_list = match &call.args {
            FunctionArguments::None => true,
            FunctionArguments::Subquery(_) => return Err(ExpressionError::Subquery),
            FunctionArguments::List(list) => {
                if list.args.iter().any(is_wildcard) {
                    return Err(ExpressionError::Wildcard);
                }
                list.duplicate_treatment.is_none() && list.clauses.is_empty()
            }
        };
        let is_plain = call.filter.is_none() && call.within_group.is_empty();
        if !is_list || !is_plain || call.parameters != FunctionArguments::None {
            return Err(ExpressionError::Aggregate { function });
        }
        Ok(())
    }

    fn no_scalar(&self, function: String) -> ExpressionError {
        if self.state.aggregate_functions().contains_key(&function) {
            ExpressionError::Aggregate { function }
        } else if self.state.window_functions().contains_key(&function) {
            ExpressionError::Window { function }
        } else {
            let mut functions: Vec<String> = self.state.scalar_functions().keys().cloned().collect();
            functions.sort_unstable();
            ExpressionError::UnknownFunction { function, functions }
        }
    }
}

const fn is_wildcard(argument: &FunctionArg) -> bool {
    let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) = argument;
    !matches!(arg, FunctionArgExpr::Expr(_))
}

fn function_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [one] => match one.as_ident() {
            Some(ident) if ident.quote_style.is_some() => ident.value.clone(),
            Some(ident) => ident.value.to_lowercase(),
            None => name.to_string(),
        },
        _ => name.to_string(),
    }
}

/// The field that `name` means; `name` becomes the field's own, quoted so that nobody changes its case.
fn find<'a>(
    name: &mut Ident,
    fields: impl IntoIterator<Item = &'a FieldRef> + Copy,
) -> Result<&'a FieldRef, ExpressionError> {
    let folded = name.value.to_lowercase();
    let exact = fields.into_iter().find(|field| field.name() == &name.value);
    let similar: Vec<_> = fields.into_iter().filter(|field| field.name().to_lowercase() == folded).collect();
    let field = match (exact, similar.as_slice()) {
        (Some(field), _) | (None, &[field]) => field,
        (None, []) => {
            return Err(ExpressionError::UnknownColumn {
                column: name.value.clone(),
                is_quoted: name.quote_style == Some('"'),
                columns: fields.into_iter().map(|field| field.name().clone()).collect(),
            });
        }
        (None, several) => {
            return Err(ExpressionError::AmbiguousColumn {
                column: name.value.clone(),
                columns: several.iter().map(|field| field.name().clone()).collect(),
            });
        }
    };
    name.value.clone_from(field.name());
    name.quote_style = Some('"');
    Ok(field)
}

#[cfg(test)]
mod tests;

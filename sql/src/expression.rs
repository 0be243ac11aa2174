//! Slicing expressions: exactly one scalar SQL expression over the columns of one table, and nothing else.
//!
//! What a user writes here runs in the refresh, so it may compute but not reach anywhere: no subquery, no aggregate, no
//! function whose answer depends on when it is asked. Column names match exactly first, then in any letter case if that
//! is unambiguous, as users of case-insensitive engines write them; names with other characters stand in double quotes
//! or backticks.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{
    self, Expr as SqlExpr, ExprWithAlias, Ident, Value, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

/// Longer texts are no slicing expressions.
const LONGEST: usize = 4_000;

/// A slicing expression over the columns of a table.
#[derive(Debug, Clone)]
pub struct SliceExpression {
    /// The text as the user wrote it.
    pub key: String,
    /// The expression.
    pub expr: Expr,
    /// Whether it is a predicate: its slices are `true` and `false` (and null).
    pub is_predicate: bool,
}

/// Why a text is no slicing expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// Too long.
    #[error("the expression has {length} characters, more than {LONGEST}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Not SQL.
    #[error("the expression does not parse: {message}")]
    Syntax {
        /// What the parser says, with the position.
        message: String,
    },
    /// Something after the expression.
    #[error("one expression is expected, but {found} follows it")]
    Trailing {
        /// The next token.
        found: String,
    },
    /// A part that is not allowed.
    #[error("{what} is not allowed in a slice expression")]
    NotAllowed {
        /// Which.
        what: String,
    },
    /// A column that the table does not have.
    #[error("the table has no column {column:?}")]
    UnknownColumn {
        /// The name as written.
        column: String,
    },
    /// A name that fits several columns but for the letter case.
    #[error("{column:?} fits several columns: {}; put the exact name in double quotes", .candidates.join(", "))]
    AmbiguousColumn {
        /// The name as written.
        column: String,
        /// The columns.
        candidates: Vec<String>,
    },
    /// An expression that has no type, or calls what does not exist.
    #[error("the expression does not hold: {message}")]
    Invalid {
        /// Why.
        message: String,
    },
    /// A type whose values cannot name slices.
    #[error("the expression has type {data_type}, whose values cannot name slices")]
    Type {
        /// The type.
        data_type: String,
    },
}

impl ExpressionError {
    /// The unknown column, for a hint.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::UnknownColumn { column } => Some(column),
            _ => None,
        }
    }
}

fn not_allowed(what: impl Into<String>) -> ExpressionError {
    ExpressionError::NotAllowed { what: what.into() }
}

/// Reads one slicing expression over the columns of `schema`.
///
/// # Errors
/// [`ExpressionError`], each with its own message.
pub fn parse_slice(
    context: &SessionContext,
    text: &str,
    schema: &DFSchema,
) -> Result<SliceExpression, ExpressionError> {
    let mut sql = parse(text)?;
    refuse_sql(&sql)?;
    resolve_columns(&mut sql, schema)?;
    let sql = ExprWithAlias { expr: sql, alias: None };
    let invalid =
        |error: datafusion::error::DataFusionError| ExpressionError::Invalid { message: error.strip_backtrace() };
    let expr = context.state().create_logical_expr_from_sql_expr(sql, schema).map_err(invalid)?;
    refuse(&expr)?;
    let data_type = expr.get_type(schema).map_err(invalid)?;
    if data_type.is_nested() || data_type.is_binary() {
        return Err(ExpressionError::Type { data_type: data_type.to_string() });
    }
    Ok(SliceExpression { key: text.to_owned(), is_predicate: data_type == DataType::Boolean, expr })
}

fn parse(text: &str) -> Result<SqlExpr, ExpressionError> {
    let length = text.chars().count();
    if length > LONGEST {
        return Err(ExpressionError::TooLong { length });
    }
    let syntax = |error: datafusion::sql::sqlparser::parser::ParserError| ExpressionError::Syntax {
        message: error.to_string().trim_start_matches("sql parser error: ").to_owned(),
    };
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(syntax)?;
    let expr = parser.parse_expr().map_err(syntax)?;
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        token => Err(ExpressionError::Trailing { found: format!("{:?}", token.to_string()) }),
    }
}

/// Refuses what can be told from the text alone, before any name is looked up.
fn refuse_sql(sql: &SqlExpr) -> Result<(), ExpressionError> {
    let found = visit_expressions(sql, |expr| {
        let what = match expr {
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => "a subquery",
            SqlExpr::AnyOp { .. } | SqlExpr::AllOp { .. } => "ANY and ALL",
            SqlExpr::Wildcard(_) | SqlExpr::QualifiedWildcard(..) => "*",
            SqlExpr::Value(value) if matches!(value.value, Value::Placeholder(_)) => "a placeholder",
            SqlExpr::Identifier(name) if name.value.starts_with('@') => "a variable",
            SqlExpr::Function(call) if call.over.is_some() => "a window function",
            SqlExpr::Function(ast::Function { args: ast::FunctionArguments::Subquery(_), .. }) => "a subquery",
            SqlExpr::Lambda(_) => "a lambda",
            _ => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(what)
    });
    match found {
        ControlFlow::Break(what) => Err(not_allowed(what)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Puts the table's own spelling of each column in place of the user's, quoted so that nothing changes it again.
fn resolve_columns(sql: &mut SqlExpr, schema: &DFSchema) -> Result<(), ExpressionError> {
    let found = visit_expressions_mut(sql, |expr| {
        let name = match expr {
            SqlExpr::Identifier(name) => name,
            SqlExpr::CompoundIdentifier(names) => match names.first_mut() {
                Some(name) => name,
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        match column_of(name, schema) {
            Ok(column) => {
                *name = Ident::with_quote('"', column);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match found {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn column_of(name: &Ident, schema: &DFSchema) -> Result<String, ExpressionError> {
    let written = &name.value;
    let columns = || schema.fields().iter().map(|field| field.name());
    if columns().any(|column| column == written) {
        return Ok(written.clone());
    }
    if name.quote_style.is_some() {
        return Err(ExpressionError::UnknownColumn { column: written.clone() });
    }
    let candidates: Vec<String> =
        columns().filter(|column| column.to_lowercase() == written.to_lowercase()).cloned().collect();
    match candidates.as_slice() {
        [] => Err(ExpressionError::UnknownColumn { column: written.clone() }),
        [column] => Ok(column.clone()),
        _ => Err(ExpressionError::AmbiguousColumn { column: written.clone(), candidates }),
    }
}

/// Refuses what only names that were looked up can tell: aggregates, and functions of the moment.
fn refuse(expr: &Expr) -> Result<(), ExpressionError> {
    let mut refused = None;
    let walked = expr.apply(|part| {
        let what = match part {
            Expr::AggregateFunction(call) => Some(format!("the aggregate {}", call.func.name())),
            Expr::WindowFunction(call) => Some(format!("the window function {}", call.fun.name())),
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => Some("a subquery".to_owned()),
            Expr::Placeholder(_) => Some("a placeholder".to_owned()),
            Expr::ScalarVariable(..) => Some("a variable".to_owned()),
            Expr::Unnest(_) => Some("unnest".to_owned()),
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some(format!("the function {}, whose answer depends on when it is asked,", call.func.name()))
            }
            _ => None,
        };
        Ok(match what {
            Some(what) => {
                refused = Some(what);
                TreeNodeRecursion::Stop
            }
            None => TreeNodeRecursion::Continue,
        })
    });
    match (refused, walked) {
        (Some(what), _) => Err(not_allowed(what)),
        (None, Err(error)) => Err(ExpressionError::Invalid { message: error.strip_backtrace() }),
        (None, Ok(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::session::{self, SessionOptions};

    fn slice(text: &str) -> Result<SliceExpression, ExpressionError> {
        let fields = vec![
            Field::new("origin", DataType::Utf8, true),
            Field::new("distance", DataType::Int32, true),
            Field::new("DayOfWeek", DataType::Int32, true),
            Field::new("air time", DataType::Float64, true),
            Field::new("Twin", DataType::Int32, true),
            Field::new("twin", DataType::Int32, true),
            Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
        ];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        parse_slice(&session::context(&SessionOptions::default()), text, &schema)
    }

    #[test]
    fn expressions_and_predicates() {
        for text in ["origin", "DayOfWeek", "dayofweek", "\"air time\"", "`air time`", "twin", "upper(origin)"] {
            assert!(!slice(text).unwrap().is_predicate, "{text}");
        }
        for text in
            ["distance > 1000", "Distance > 1000", "origin IN ('JFK', 'LGA')", "origin LIKE 'J%'", "`air time` IS NULL"]
        {
            assert!(slice(text).unwrap().is_predicate, "{text}");
        }
        assert_eq!(slice("CASE WHEN distance > 1000 THEN 'far' ELSE 'near' END").unwrap().key.len(), 52);
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (text, part) in [
            ("distance >", "does not parse"),
            ("", "does not parse"),
            ("distance > 1; drop table x", "follows"),
            ("origin, distance", "follows"),
            ("(SELECT 1)", "a subquery"),
            ("EXISTS (SELECT 1)", "a subquery"),
            ("origin IN (SELECT origin FROM t)", "a subquery"),
            ("sum(distance)", "the aggregate sum"),
            ("row_number() OVER ()", "a window function"),
            ("$1", "a placeholder"),
            ("random() > 0.5", "random"),
            ("now() > '2020-01-01'", "now"),
            ("origon", "no column \"origon\""),
            ("\"Origin\"", "no column \"Origin\""),
            ("TWIN", "fits several"),
            ("tags", "cannot name slices"),
            ("no_such_function(origin)", "does not hold"),
            ("read_parquet('x')", "does not hold"),
            ("*", "does not parse"),
        ] {
            let error = slice(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(slice(&format!("origin = '{}'", "x".repeat(5000))).unwrap_err().to_string().contains("more than 4000"));
        assert_eq!(slice("origon = 'a'").unwrap_err().column(), Some("origon"));
    }
}

//! Queries written for Databricks' metric tables, in Spark's dialect of SQL, for DataFusion's planner.
//!
//! The parsed query is rewritten before it is planned; the text is never touched. Where the two dialects read the same
//! text differently, Spark's reading holds:
//!
//! | text | reading |
//! |---|---|
//! | `quantiles[500]`, `get(quantiles, 500)` | counted from 0; `element_at(quantiles, 501)` from 1, as in both |
//! | `f1_score.one_vs_all["1"]` | the value of the key `'1'` |
//! | `Model_Version` | a column without regard to case, as long as only one fits |
//! | `"INPUT"` | the column of exactly that name; where there is none, the text `'INPUT'` |
//! | `main.ml.flights_drift_metrics` | the metric table `flights_drift_metrics`, with backticks or without |
//! | `count / 2` | a double, NULL where the divisor is 0 |
//! | `ORDER BY avg DESC` | nulls last; ascending, nulls first |
//! | `size(a)`, `count_if(c)`, `try_divide(a, b)`, … | see [`functions`] |
//! | `LATERAL VIEW explode(frequent_items) t AS item` | a row for each element |
//!
//! Slices such as `a[1:2]` are none of Spark's and stay as DataFusion has them. What neither knows is refused by the
//! planner, which names the function or column nearest to it.

mod element_at;
mod functions;
mod lateral;
mod names;
mod pattern;
mod planner;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ObjectName, Statement as SqlStatement, VisitMut, VisitorMut};

use self::names::Names;

/// Plans a query in Spark's dialect over the tables of `context`.
///
/// # Errors
/// When it does not parse or plan, or is more than `options` allow.
pub(crate) async fn plan(context: &SessionContext, sql: &str, options: &SQLOptions) -> Result<DataFrame> {
    let state = state(context)?;
    let dialect = state.config_options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(sql, &dialect)?;
    if let Some(syntax) = syntax_of(&mut statement) {
        rewrite(syntax, &state).await?;
    }
    let plan = state.statement_to_plan(statement).await?;
    options.verify_plan(&plan)?;
    Ok(DataFrame::new(state, plan))
}

/// The session with what the planner has to know of the dialect. Tables are shared with `context`.
fn state(context: &SessionContext) -> Result<SessionState> {
    let state = context.state();
    let mut planners = vec![Arc::new(planner::SparkPlanner) as _];
    planners.extend(state.expr_planners().iter().cloned());
    let mut config = state.config().clone().with_create_default_catalog_and_schema(false);
    config.options_mut().sql_parser.default_null_ordering = "nulls_min".to_owned();
    let mut state =
        SessionStateBuilder::new_from_existing(state).with_config(config).with_expr_planners(planners).build();
    state.register_udf(Arc::new(element_at::element_at()))?;
    Ok(state)
}

fn syntax_of(statement: &mut Statement) -> Option<&mut SqlStatement> {
    match statement {
        Statement::Statement(syntax) => Some(syntax),
        Statement::Explain(explain) => syntax_of(&mut explain.statement),
        // None of them is a query.
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    }
}

async fn rewrite(syntax: &mut SqlStatement, state: &SessionState) -> Result<()> {
    let views = lateral::rewrite(syntax)?;
    let names = Names::of(syntax, state, views).await?;
    match syntax.visit(&mut Rewrite { names, fields: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Names on the way down, so that whole paths are seen before their parts; functions on the way up, when their
/// arguments are as they will be.
struct Rewrite {
    names: Names,
    /// Where names stand that are fields of a value, not columns.
    fields: Vec<datafusion::sql::sqlparser::tokenizer::Span>,
}

impl VisitorMut for Rewrite {
    type Break = DataFusionError;

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<DataFusionError> {
        self.names.table(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<DataFusionError> {
        match expr {
            SqlExpr::Identifier(name) if self.fields.contains(&name.span) => {}
            SqlExpr::Identifier(_) => self.names.value(expr),
            SqlExpr::CompoundIdentifier(path) => {
                self.names.path(path);
                if let [only] = path.as_slice() {
                    *expr = SqlExpr::Identifier(only.clone());
                }
            }
            SqlExpr::CompoundFieldAccess { root, access_chain } => {
                self.fields.extend(self.names.accesses(root, access_chain));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<DataFusionError> {
        match functions::rewrite(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

//! stand-in
use datafusion::{common::DFSchema, logical_expr::ExprSchemable, prelude::*};
/// x
#[derive(Debug, Clone)]
pub struct SliceExpression {
    /// x
    pub key: String,
    /// x
    pub expr: Expr,
    /// x
    pub is_predicate: bool,
}
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ExpressionError {
    /// x
    pub c: Option<String>,
}
impl ExpressionError {
    /// x
    pub fn column(&self) -> Option<&str> {
        self.c.as_deref()
    }
}
/// x
pub fn parse_slice(c: &SessionContext, t: &str, s: &DFSchema) -> Result<SliceExpression, ExpressionError> {
    let e = c.parse_sql_expr(t, s).map_err(|_| ExpressionError { c: None })?;
    let p = e.get_type(s).map_err(|_| ExpressionError { c: None })? == arrow::datatypes::DataType::Boolean;
    Ok(SliceExpression { key: t.to_owned(), expr: e, is_predicate: p })
}

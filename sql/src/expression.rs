//! stand-in
use datafusion::{common::DFSchema, prelude::*};
#[derive(Debug, Clone)]
pub struct SliceExpression {
    pub key: String,
    pub expr: Expr,
    pub is_predicate: bool,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ExpressionError {
    pub c: Option<String>,
}
impl ExpressionError {
    pub fn column(&self) -> Option<&str> {
        self.c.as_deref()
    }
}
pub fn parse_slice(_c: &SessionContext, _t: &str, _s: &DFSchema) -> Result<SliceExpression, ExpressionError> {
    Err(ExpressionError { c: None })
}

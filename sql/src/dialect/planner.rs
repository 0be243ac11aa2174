//! What depends on types: where elements of arrays are counted from, and what dividing two integers gives.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions::expr_fn::nullif;
use datafusion::functions_nested::expr_fn::array_element;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, cast, lit, when};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Asked before DataFusion's own planners.
#[derive(Debug)]
pub(super) struct SparkPlanner;

impl ExprPlanner for SparkPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_integer = |side: &Expr| side.get_type(schema).is_ok_and(|data_type| data_type.is_integer());
        if expr.op == BinaryOperator::Divide && is_integer(&expr.left) && is_integer(&expr.right) {
            let divisor = nullif(cast(expr.right, DataType::Float64), lit(0.0));
            return Ok(PlannerResult::Planned(cast(expr.left, DataType::Float64) / divisor));
        }
        Ok(PlannerResult::Original(expr))
    }

    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListIndex { key } = &access.field_access else {
            return Ok(PlannerResult::Original(access));
        };
        let is_list = matches!(
            access.expr.get_type(schema)?,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)
        );
        if !is_list {
            return Ok(PlannerResult::Original(access));
        }
        let index = cast(key.as_ref().clone(), DataType::Int64);
        let element = match key.as_ref() {
            Expr::Literal(ScalarValue::Int64(Some(at)), _) if *at >= 0 => array_element(access.expr, lit(at + 1)),
            Expr::Literal(value, _) if !value.data_type().is_integer() => {
                return plan_err!("an element of an array is named by a whole number, not by {value}");
            }
            // DataFusion counts negative ones from the end; in Spark nothing is there.
            _ => when(index.clone().gt_eq(lit(0_i64)), array_element(access.expr, index + lit(1_i64))).end()?,
        };
        Ok(PlannerResult::Planned(element))
    }
}

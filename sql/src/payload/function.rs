//! `limno_payload_rows(status, request, response, codes, is_duplicate)`: a payload as the list of its rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::layout::is_text;
use super::schema::PayloadSchema;
use super::unpack::{Outcome, Unpacker, list_field, row_fields};

const NAME: &str = "limno_payload_rows";

/// Whether a plan unpacks payloads, in the views that it reads too.
///
/// # Errors
/// When the plan cannot be walked, which would be a defect.
pub fn unpacks(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(view) = scan.source.get_logical_plan()
        {
            found |= unpacks(&view)?;
        }
        node.apply_expressions(|expr| {
            let is_ours = |expr: &Expr| Ok(matches!(expr, Expr::ScalarFunction(call) if call.func.name() == NAME));
            found |= expr.exists(is_ours)?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// The function from status (Int32), request, response, error codes (text of any layout) and whether the row is a
/// duplicate (Boolean) to the list of rows, as [`Unpacker`] makes it.
pub(super) fn payload_rows(schema: Arc<PayloadSchema>, statuses: Statuses) -> ScalarUDF {
    let signature = Signature::any(5, Volatility::Immutable);
    ScalarUDF::new_from_impl(PayloadRows { schema, statuses, signature })
}

/// Statuses that are kept, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Statuses(Arc<[u16]>);

impl Statuses {
    pub(super) fn new(statuses: &[u16]) -> Self {
        let mut statuses = statuses.to_vec();
        statuses.sort_unstable();
        statuses.dedup();
        Self(statuses.into())
    }

    /// Whether rows of a status are kept. Those without one are not.
    pub(super) fn keep(&self, status: Option<i32>) -> bool {
        status.and_then(|status| u16::try_from(status).ok()).is_some_and(|status| self.0.binary_search(&status).is_ok())
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PayloadRows {
    schema: Arc<PayloadSchema>,
    statuses: Statuses,
    signature: Signature,
}

impl ScalarUDFImpl for PayloadRows {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Int32, request, response, codes, DataType::Boolean]
                if is_text(request) && is_text(response) && is_text(codes) =>
            {
                Ok(DataType::List(list_field(row_fields(&self.schema))))
            }
            _ => plan_err!(
                "limno_payload_rows takes a status, a request, a response, error codes and a flag, not {arguments:?}"
            ),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [status, request, response, codes, duplicate] = arrays.as_slice() else {
            return Err(exec_datafusion_err!("limno_payload_rows got {} arguments", arrays.len()));
        };
        let status = status.as_primitive_opt::<Int32Type>().ok_or_else(|| exec_datafusion_err!("no status"))?;
        let duplicate = duplicate.as_boolean_opt().ok_or_else(|| exec_datafusion_err!("no flag"))?;
        let texts = [Texts::new(request)?, Texts::new(response)?, Texts::new(codes)?];
        // A constant comes as one value.
        let at = |array: &dyn Array, row: usize| if array.len() == rows { row } else { 0 };
        let mut unpacker = Unpacker::new(&self.schema);
        for row in 0..rows {
            let [request, response, codes] = &texts;
            if !self.statuses.keep(value(status, at(status, row))) {
                unpacker.push_outcome(Outcome::Status);
            } else if flag(duplicate, at(duplicate, row)) {
                unpacker.push_outcome(Outcome::Duplicate);
            } else {
                unpacker.push(
                    request.get(at(request.array(), row)),
                    response.get(at(response.array(), row)),
                    codes.get(at(codes.array(), row)),
                );
            }
        }
        Ok(ColumnarValue::Array(Arc::new(unpacker.finish()?.rows)))
    }
}

fn value(values: &Int32Array, row: usize) -> Option<i32> {
    (row < values.len() && values.is_valid(row)).then(|| values.value(row))
}

fn flag(values: &BooleanArray, row: usize) -> bool {
    row < values.len() && values.is_valid(row) && values.value(row)
}

/// Texts in any of Arrow's layouts.
pub(super) enum Texts<'a> {
    Small(&'a arrow::array::StringArray),
    Large(&'a arrow::array::LargeStringArray),
    View(&'a arrow::array::StringViewArray),
}

impl<'a> Texts<'a> {
    pub(super) fn new(values: &'a ArrayRef) -> Result<Self> {
        match values.data_type() {
            DataType::Utf8 => Ok(Self::Small(values.as_string())),
            DataType::LargeUtf8 => Ok(Self::Large(values.as_string())),
            DataType::Utf8View => Ok(Self::View(values.as_string_view())),
            other => Err(exec_datafusion_err!("expected text, got {other}")),
        }
    }

    fn array(&self) -> &'a dyn Array {
        match self {
            Self::Small(values) => *values,
            Self::Large(values) => *values,
            Self::View(values) => *values,
        }
    }

    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        let values = self.array();
        if row >= values.len() || values.is_null(row) {
            return None;
        }
        Some(match self {
            Self::Small(values) => values.value(row),
            Self::Large(values) => values.value(row),
            Self::View(values) => values.value(row),
        })
    }
}

//! Rows that do not unpack, each described as one text, so that they can be kept beside the states.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde::{Deserialize, Serialize};

use super::unpack::Outcome;
use super::view::ident;
use crate::{Error, Result};

/// A row of a payload table that does not unpack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuarantinedRow {
    /// When the request came, in microseconds.
    pub request_time: Option<i64>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The row's position in the request's batch; `None` where the whole request is at fault.
    pub position: Option<i32>,
    /// What is wrong.
    pub reason: String,
    /// The beginning of the text at fault.
    pub excerpt: Option<String>,
}

impl QuarantinedRow {
    /// Reads the text that [`quarantined`] makes.
    ///
    /// # Errors
    /// On any other text.
    pub fn of_text(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).map_err(|error| Error::Payload { message: error.to_string() })
    }
}

/// Over the columns of an unpacked table: the description of a row that is malformed, null for any other.
#[must_use]
pub fn quarantined() -> Expr {
    let function = ScalarUDF::new_from_impl(Quarantined { signature: Signature::any(6, Volatility::Immutable) });
    let columns = ["__outcome", "request_time", "request_id", "__position", "__reason", "__excerpt"];
    function.call(columns.map(ident).to_vec())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quarantined {
    signature: Signature,
}

impl ScalarUDFImpl for Quarantined {
    fn name(&self) -> &'static str {
        "limno_quarantined"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [outcome, time, id, position, reason, excerpt] = arrays.as_slice() else {
            return Err(exec_datafusion_err!("limno_quarantined got {} arguments", arrays.len()));
        };
        let texts = [outcome, id, reason, excerpt].map(|array| arrow::compute::cast(array, &DataType::Utf8));
        let [outcome, id, reason, excerpt] = texts;
        let (outcome, id, reason, excerpt) = (outcome?, id?, reason?, excerpt?);
        let (outcome, id, reason, excerpt) =
            (outcome.as_string::<i32>(), id.as_string::<i32>(), reason.as_string::<i32>(), excerpt.as_string::<i32>());
        let time = time.as_primitive_opt::<TimestampMicrosecondType>();
        let position = position.as_primitive_opt::<Int32Type>();
        let (Some(time), Some(position)) = (time, position) else {
            return Err(exec_datafusion_err!("limno_quarantined got other types than a view has"));
        };
        let text = |values: &arrow::array::StringArray, row| values.is_valid(row).then(|| values.value(row).to_owned());
        let mut items = StringBuilder::new();
        for row in 0..arguments.number_rows {
            if outcome.is_null(row) || outcome.value(row) != Outcome::Malformed.as_str() {
                items.append_null();
                continue;
            }
            let item = QuarantinedRow {
                request_time: time.is_valid(row).then(|| time.value(row)),
                request_id: text(id, row),
                position: position.is_valid(row).then(|| position.value(row)),
                reason: text(reason, row).unwrap_or_default(),
                excerpt: text(excerpt, row),
            };
            items.append_value(serde_json::to_string(&item).map_err(|error| exec_datafusion_err!("{error}"))?);
        }
        Ok(ColumnarValue::Array(Arc::new(items.finish())))
    }
}

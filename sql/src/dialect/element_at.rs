//! `element_at(array, position)`, counted from 1, or from the end if negative, and `element_at(map, key)`.
//!
//! DataFusion's function of that name takes maps alone, and gives back an array.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions_nested::extract::array_element_udf;
use datafusion::functions_nested::map_extract::map_extract_udf;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

pub(super) fn element_at() -> ScalarUDF {
    ScalarUDF::new_from_impl(ElementAt { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ElementAt {
    signature: Signature,
}

impl ElementAt {
    /// What the keys of a map and its values are.
    fn entry(entries: &DataType) -> Option<(&FieldRef, &FieldRef)> {
        match entries {
            DataType::Struct(fields) => fields.first().zip(fields.get(1)),
            _ => None,
        }
    }
}

impl ScalarUDFImpl for ElementAt {
    fn name(&self) -> &'static str {
        "element_at"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [DataType::Map(entries, _), _] => match Self::entry(entries.data_type()) {
                Some((key, _)) => Ok(vec![arguments[0].clone(), key.data_type().clone()]),
                None => plan_err!("element_at takes a map of keys and values"),
            },
            [DataType::List(_) | DataType::LargeList(_), position] if position.is_integer() => {
                Ok(vec![arguments[0].clone(), DataType::Int64])
            }
            [DataType::FixedSizeList(item, _), position] if position.is_integer() => {
                Ok(vec![DataType::List(Arc::clone(item)), DataType::Int64])
            }
            _ => {
                let given: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                plan_err!(
                    "element_at takes an array and a whole number, or a map and a key, not {}; write CAST(… AS INT) \
                     around a position that was divided",
                    given.join(" and ")
                )
            }
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(DataType::List(item) | DataType::LargeList(item)) => Ok(item.data_type().clone()),
            Some(DataType::Map(entries, _)) => match Self::entry(entries.data_type()) {
                Some((_, value)) => Ok(value.data_type().clone()),
                None => plan_err!("element_at takes a map of keys and values"),
            },
            other => plan_err!("element_at takes an array or a map, not {other:?}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !matches!(arguments.args.first().map(ColumnarValue::data_type), Some(DataType::Map(_, _))) {
            return array_element_udf().invoke_with_args(arguments);
        }
        // The values under a key are an array of one, or of a null.
        let value = Arc::clone(&arguments.return_field);
        let values = Arc::new(Field::new(
            "values",
            DataType::List(Arc::new(Field::new_list_field(value.data_type().clone(), true))),
            true,
        ));
        let found = map_extract_udf()
            .invoke_with_args(ScalarFunctionArgs { return_field: Arc::clone(&values), ..arguments.clone() })?;
        let one = ColumnarValue::Scalar(ScalarValue::Int64(Some(1)));
        let position = Arc::new(Field::new("position", DataType::Int64, false));
        array_element_udf().invoke_with_args(ScalarFunctionArgs {
            args: vec![found, one],
            arg_fields: vec![values, position],
            ..arguments
        })
    }
}

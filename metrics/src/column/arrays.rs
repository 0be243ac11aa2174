//! Arrow arrays as what the states take: doubles, wide integers, runs.

use arrow::array::{Array, ArrayRef, AsArray, RunArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, RunEndIndexType, UInt64Type, i256,
};

use super::values::{EXACT_FRACTIONS, EXACT_INTEGERS};
use crate::state::categories;
use crate::{Error, Result};

/// A run-end encoded array as its values and the runs of them: a position and a length each.
pub(crate) struct Runs {
    pub(crate) values: ArrayRef,
    pub(crate) runs: Vec<(usize, u64)>,
}

impl Runs {
    /// The runs of an array that is run-end encoded.
    pub(crate) fn of(array: &dyn Array) -> Option<Self> {
        let DataType::RunEndEncoded(ends, _) = array.data_type() else { return None };
        match ends.data_type() {
            DataType::Int16 => Self::of_type::<Int16Type>(array),
            DataType::Int32 => Self::of_type::<Int32Type>(array),
            _ => Self::of_type::<Int64Type>(array),
        }
    }

    fn of_type<R: RunEndIndexType>(array: &dyn Array) -> Option<Self> {
        let array = array.as_any().downcast_ref::<RunArray<R>>()?;
        let ends = array.run_ends();
        let first = if array.is_empty() { 0 } else { ends.get_start_physical_index() };
        let mut start = 0;
        let runs = ends
            .sliced_values()
            .enumerate()
            .map(|(index, end)| {
                let end = arrow::datatypes::ArrowNativeType::as_usize(end);
                (first + index, (end - std::mem::replace(&mut start, end)) as u64)
            })
            .collect();
        Some(Self { values: ArrayRef::clone(array.values()), runs })
    }
}

/// Whether the array holds numbers that doubles do not tell apart, and then the digits of all of them, with zeros at
/// nulls, and the magnitude up to which they are exact.
pub(crate) fn wide_integers(array: &dyn Array) -> Result<Option<(Vec<i128>, u64)>> {
    let all = |values: Vec<i128>, exact: u64| {
        let is_wide = values.iter().any(|value| value.unsigned_abs() > u128::from(exact));
        is_wide.then_some((values, exact))
    };
    Ok(match array.data_type() {
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            let is_wide = values.iter().flatten().any(|value| value.unsigned_abs() > EXACT_INTEGERS);
            is_wide.then(|| (values.iter().map(|value| i128::from(value.unwrap_or(0))).collect(), EXACT_INTEGERS))
        }
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>();
            let is_wide = values.iter().flatten().any(|value| value > EXACT_INTEGERS);
            is_wide.then(|| (values.iter().map(|value| i128::from(value.unwrap_or(0))).collect(), EXACT_INTEGERS))
        }
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            let values = cast_to(array, &DataType::Decimal128(38, *scale))?;
            let values = values.as_primitive::<Decimal128Type>();
            let exact = if *scale == 0 { EXACT_INTEGERS } else { EXACT_FRACTIONS };
            all(values.iter().map(|value| value.unwrap_or(0)).collect(), exact)
        }
        DataType::Decimal256(_, scale) => {
            let values = array.as_primitive::<Decimal256Type>();
            let exact = if *scale == 0 { EXACT_INTEGERS } else { EXACT_FRACTIONS };
            // What does not fit in 128 bits is told apart by its hash, above everything that does.
            let digits = |value: i256| {
                value.to_i128().unwrap_or_else(|| i128::from(categories::hash(&value.to_le_bytes())) | (1 << 120))
            };
            all(values.iter().map(|value| value.map_or(0, digits)).collect(), exact)
        }
        _ => None,
    })
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        DataType::RunEndEncoded(_, values) => is_text(values.data_type()),
        _ => false,
    }
}

pub(crate) fn cast_to(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == &DataType::Null {
        return Ok(new_null_array(to, array.len()));
    }
    cast(array, to).map_err(|error| {
        Error::invalid_argument(format!("values of type {} cannot be read as {to}: {error}", array.data_type()))
    })
}

pub(crate) fn unfit(array: &dyn Array, wanted: &str) -> Error {
    Error::invalid_argument(format!("expected {wanted}, found values of type {}", array.data_type()))
}

//! The values of one column as they come out of JSON, and the Arrow array of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, GenericListArray, Int64Array, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use jiter::Peek;

use super::json::{Fault, Json, compact, describe, excerpt};
use super::schema::{PayloadType, ScalarType};

/// The greatest double up to which every whole number is one.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A value that does not fit its column.
#[derive(Debug)]
pub(super) struct Misfit {
    /// What it is, in words.
    pub(super) found: &'static str,
    /// The start of its text.
    pub(super) excerpt: String,
}

impl Misfit {
    /// In a box, for results are handed on for every value, and most hold none.
    #[cold]
    fn new(found: &'static str, text: &str) -> Box<Self> {
        Box::new(Self { found, excerpt: excerpt(text).to_owned() })
    }
}

#[derive(Debug)]
pub(super) struct Column {
    valid: Vec<bool>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    /// The bytes of all, and where each ends.
    Text(Vec<u8>, Vec<usize>),
    /// The items of all, where each list ends, and the items' type.
    List(Box<Column>, Vec<usize>, ScalarType),
}

impl Column {
    pub(super) fn new(data_type: PayloadType) -> Self {
        let scalar = |item| match item {
            ScalarType::Boolean => Values::Boolean(Vec::new()),
            ScalarType::Int64 => Values::Int64(Vec::new()),
            ScalarType::Float64 => Values::Float64(Vec::new()),
            ScalarType::Text => Values::Text(Vec::new(), Vec::new()),
        };
        let values = match data_type {
            PayloadType::Scalar(item) => scalar(item),
            PayloadType::List(item) => {
                Values::List(Box::new(Self { valid: Vec::new(), values: scalar(item) }), Vec::new(), item)
            }
        };
        Self { valid: Vec::new(), values }
    }

    /// The number of values, nulls among them.
    pub(super) const fn len(&self) -> usize {
        self.valid.len()
    }

    /// Appends nulls up to a length.
    pub(super) fn pad(&mut self, len: usize) {
        if len <= self.valid.len() {
            return;
        }
        self.valid.resize(len, false);
        match &mut self.values {
            Values::Boolean(values) => values.resize(len, false),
            Values::Int64(values) => values.resize(len, 0),
            Values::Float64(values) => values.resize(len, 0.0),
            Values::Text(bytes, ends) => ends.resize(len, bytes.len()),
            Values::List(items, ends, _) => ends.resize(len, items.len()),
        }
    }

    /// Forgets the values from a length on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.valid.truncate(len);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int64(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Text(bytes, ends) => {
                ends.truncate(len);
                bytes.truncate(ends.last().copied().unwrap_or(0));
            }
            Values::List(items, ends, _) => {
                ends.truncate(len);
                items.truncate(ends.last().copied().unwrap_or(0));
            }
        }
    }

    /// Makes a value null.
    pub(super) fn clear(&mut self, row: usize) {
        if let Some(valid) = self.valid.get_mut(row) {
            *valid = false;
        }
    }

    /// Appends the next value of `json`; null, and why, if it does not fit.
    #[inline]
    pub(super) fn read(&mut self, json: &mut Json<'_>, peek: Peek) -> Result<Option<Box<Misfit>>, Fault> {
        if peek == Peek::Null {
            json.null()?;
            self.pad(self.len() + 1);
            return Ok(None);
        }
        let misfit = match &mut self.values {
            Values::Float64(values) if peek.is_num() => {
                let start = json.position();
                let value = json.double(peek)?;
                // A literal infinity is meant, a number that is too large for a double is not.
                if value.is_infinite() && !json.since(start).ends_with("Infinity") {
                    Some(Misfit::new("a number out of range", json.since(start)))
                } else {
                    values.push(value);
                    None
                }
            }
            Values::Int64(values) if peek.is_num() => match whole(json, peek)? {
                Ok(value) => {
                    values.push(value);
                    None
                }
                Err(misfit) => Some(misfit),
            },
            Values::Text(bytes, ends) => {
                if peek == Peek::String {
                    bytes.extend_from_slice(json.string()?.as_bytes());
                } else {
                    compact(json.skip(peek)?, bytes);
                }
                ends.push(bytes.len());
                None
            }
            Values::Boolean(values) if matches!(peek, Peek::True | Peek::False) => {
                values.push(json.boolean(peek)?);
                None
            }
            Values::List(items, ends, _) if peek == Peek::Array => {
                let start = items.len();
                let mut misfit = None;
                let mut item = json.array()?;
                while let Some(peek) = item {
                    misfit = misfit.or(items.read(json, peek)?);
                    item = json.item()?;
                }
                if misfit.is_some() {
                    items.truncate(start);
                } else {
                    ends.push(items.len());
                }
                misfit
            }
            _ => Some(Misfit::new(describe(peek), json.skip(peek)?)),
        };
        if misfit.is_some() {
            self.pad(self.len() + 1);
        } else {
            self.valid.push(true);
        }
        Ok(misfit)
    }

    /// The array of all values.
    ///
    /// # Errors
    /// When texts or lists are longer in all than their offsets can tell.
    pub(super) fn finish(self) -> Result<ArrayRef> {
        let nulls = Some(NullBuffer::new(BooleanBuffer::from(self.valid))).filter(|nulls| nulls.null_count() > 0);
        Ok(match self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Text(bytes, ends) => {
                Arc::new(StringArray::try_new(offsets(&ends)?, Buffer::from_vec(bytes), nulls)?)
            }
            Values::List(items, ends, item) => {
                Arc::new(GenericListArray::<i32>::try_new(item.field(), offsets(&ends)?, items.finish()?, nulls)?)
            }
        })
    }
}

/// Offsets of Arrow from where each value ends.
pub(super) fn offsets(ends: &[usize]) -> Result<OffsetBuffer<i32>> {
    let offsets =
        std::iter::once(Ok(0)).chain(ends.iter().map(|&end| i32::try_from(end))).collect::<Result<Vec<_>, _>>();
    let offsets = offsets.map_err(|_| exec_datafusion_err!("the payloads of one batch hold more than 2 GiB"))?;
    Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}

/// A whole number; `1.0` and `1e3` are, as pandas writes columns that once had a null.
fn whole(json: &mut Json<'_>, peek: Peek) -> Result<Result<i64, Box<Misfit>>, Fault> {
    if let Some(value) = json.whole(peek) {
        return Ok(Ok(value));
    }
    let start = json.position();
    let value = json.double(peek)?;
    let text = json.since(start);
    // The parser's whole numbers end with eighteen digits.
    if let Ok(value) = text.parse() {
        return Ok(Ok(value));
    }
    if !value.is_finite() || !text.contains(['.', 'e', 'E']) {
        let found = if value.is_finite() { "a number out of range" } else { "no whole number" };
        return Ok(Err(Misfit::new(found, text)));
    }
    if value.fract() != 0.0 {
        return Ok(Err(Misfit::new("no whole number", text)));
    }
    if value.abs() > LARGEST_WHOLE {
        return Ok(Err(Misfit::new("a number out of range", text)));
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within 2⁵³")]
    Ok(Ok(value as i64))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;

    fn read(data_type: &str, text: &str) -> (ArrayRef, Option<Box<Misfit>>) {
        let mut column = Column::new(data_type.parse().unwrap());
        let mut json = Json::new(text, Vec::new());
        let peek = json.peek().unwrap();
        let misfit = column.read(&mut json, peek).unwrap();
        json.finish().unwrap();
        assert_eq!(column.len(), 1);
        (column.finish().unwrap(), misfit)
    }

    fn found(data_type: &str, text: &str) -> Option<&'static str> {
        let (array, misfit) = read(data_type, text);
        assert_eq!(array.is_null(0), misfit.is_some());
        misfit.map(|misfit| misfit.found)
    }

    #[test]
    fn doubles_are_the_nearest_and_may_be_nan() {
        for text in ["0.1", "1", "-0.0", "1e308", "0.30000000000000004", "123456789012345678901234567890", "4.9e-324"] {
            let (array, _) = read("double", text);
            let value = array.as_primitive::<Float64Type>().value(0);
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        assert!(read("double", "NaN").0.as_primitive::<Float64Type>().value(0).is_nan());
        let infinite = read("double", "-Infinity").0.as_primitive::<Float64Type>().value(0);
        assert!(infinite.is_infinite() && infinite.is_sign_negative());
        assert_eq!(found("double", "1e999"), Some("a number out of range"));
        assert_eq!(found("double", "\"1\""), Some("text"));
        assert_eq!(found("double", "true"), Some("a boolean"));
        assert_eq!(found("double", "[1]"), Some("a list"));
    }

    #[test]
    fn whole_numbers_are_whole_and_fit() {
        for (text, expected) in [
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("1.0", 1),
            ("1e3", 1000),
            ("-0", 0),
        ] {
            let (array, misfit) = read("bigint", text);
            assert!(misfit.is_none(), "{text}");
            assert_eq!(array.as_primitive::<Int64Type>().value(0), expected, "{text}");
        }
        assert_eq!(found("bigint", "1.5"), Some("no whole number"));
        assert_eq!(found("bigint", "NaN"), Some("no whole number"));
        assert_eq!(found("bigint", "9223372036854775808"), Some("a number out of range"));
        assert_eq!(found("bigint", "1e30"), Some("a number out of range"));
        assert_eq!(found("bigint", "\"7\""), Some("text"));
    }

    #[test]
    fn text_takes_any_value_as_its_json() {
        for (text, expected) in [
            ("\"a\\u00e4\\n\"", "aä\n"),
            ("12", "12"),
            ("99999999999999999999", "99999999999999999999"),
            ("{\"a\": [1, 2]}", "{\"a\":[1,2]}"),
            ("true", "true"),
        ] {
            let (array, misfit) = read("string", text);
            assert!(misfit.is_none());
            assert_eq!(array.as_string::<i32>().value(0), expected);
        }
    }

    #[test]
    fn a_list_fits_as_a_whole_or_not_at_all() {
        let (array, misfit) = read("array<bigint>", "[1, null, 3]");
        assert!(misfit.is_none());
        let items = array.as_list::<i32>().value(0);
        assert_eq!(items.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
        let (array, misfit) = read("array<bigint>", "[1, \"x\", 3]");
        assert!(array.is_null(0));
        assert_eq!(misfit.unwrap().excerpt, "\"x\"");
        assert_eq!(found("array<bigint>", "1"), Some("a number"));
        assert_eq!(found("array<double>", "[[1.0]]"), Some("a list"));
    }
}

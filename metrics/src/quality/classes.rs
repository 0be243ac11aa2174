//! Predictions and labels as classes: each distinct value of a batch becomes a text once, and a number from then on.
//!
//! A class is a text. Strings are as they are; booleans are `true` and `false`; integers are decimal; other numbers have
//! the shortest decimal form that reads back as the same number of their own width, without a fraction if they are
//! whole: 1.0 and 1 are one class, as are −0.0 and 0. Decimals lose the zeros at their end likewise. NaN and null are no
//! class. Dates and times have Arrow's text.

use std::fmt::Display;

use arrow::array::{Array, ArrayAccessor, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use hashbrown::HashMap;

use super::confusion::Names;
use crate::Result;
use crate::column::arrays::{Runs, cast_to, unfit};

/// The number of a row without a class.
pub(super) const NO_CLASS: u32 = u32::MAX;

/// The number of each row's class, or [`NO_CLASS`].
///
/// # Errors
/// When the type has no classes.
pub(super) fn class_ids(array: &dyn Array, names: &mut Names) -> Result<Vec<u32>> {
    if let Some(Runs { values, runs }) = Runs::of(array) {
        let ids = class_ids(&values, names)?;
        let run = |&(position, length): &(usize, u64)| {
            std::iter::repeat_n(ids[position], usize::try_from(length).unwrap_or(0))
        };
        return Ok(runs.iter().flat_map(run).collect());
    }
    Ok(match array.data_type() {
        DataType::Null => vec![NO_CLASS; array.len()],
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = class_ids(dictionary.values().as_ref(), names)?;
            if values.is_empty() {
                return Ok(vec![NO_CLASS; array.len()]);
            }
            let nulls = dictionary.keys().nulls();
            let keys = dictionary.normalized_keys().into_iter().enumerate();
            keys.map(|(row, key)| if nulls.is_none_or(|nulls| nulls.is_valid(row)) { values[key] } else { NO_CLASS })
                .collect()
        }
        DataType::Utf8 => of_texts(array.as_string::<i32>(), names, as_it_is),
        DataType::LargeUtf8 => of_texts(array.as_string::<i64>(), names, as_it_is),
        DataType::Utf8View => of_texts(array.as_string_view(), names, as_it_is),
        DataType::Boolean => {
            let mut ids = [None; 2];
            let name = |value: bool| if value { "true" } else { "false" };
            let id = |value| *ids[usize::from(value)].get_or_insert_with(|| names.id(name(value)));
            array.as_boolean().iter().map(with_none(id)).collect()
        }
        DataType::UInt64 => of_numbers(array.as_primitive::<UInt64Type>(), names, |value| Some((value, value))),
        data_type if data_type.is_integer() => {
            let integers = cast_to(array, &DataType::Int64)?;
            of_numbers(integers.as_primitive::<Int64Type>(), names, |value| Some((value.cast_unsigned(), value)))
        }
        // Adding 0 turns −0 into +0.
        DataType::Float64 => of_numbers(array.as_primitive::<Float64Type>(), names, |value| {
            (!value.is_nan()).then_some(((value + 0.0).to_bits(), value + 0.0))
        }),
        DataType::Float32 | DataType::Float16 => {
            let narrow = cast_to(array, &DataType::Float32)?;
            of_numbers(narrow.as_primitive::<Float32Type>(), names, |value| {
                (!value.is_nan()).then_some((u64::from((value + 0.0).to_bits()), value + 0.0))
            })
        }
        data_type if data_type.is_decimal() => {
            let texts = cast_to(array, &DataType::Utf8)?;
            of_texts(texts.as_string::<i32>(), names, without_end_zeros)
        }
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            let texts = cast_to(array, &DataType::Utf8)?;
            of_texts(texts.as_string::<i32>(), names, as_it_is)
        }
        _ => return Err(unfit(array, "a class")),
    })
}

fn with_none<T>(mut id: impl FnMut(T) -> u32) -> impl FnMut(Option<T>) -> u32 {
    move |value| value.map_or(NO_CLASS, &mut id)
}

const fn as_it_is(text: &str) -> &str {
    text
}

/// 1.50 is 1.5, and 1.00 is 1.
fn without_end_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn of_texts<'a, A>(texts: &'a A, names: &mut Names, form: fn(&str) -> &str) -> Vec<u32>
where
    &'a A: ArrayAccessor<Item = &'a str>,
{
    let id = |row| {
        if Array::is_valid(&texts, row) { names.id(form(ArrayAccessor::value(&texts, row))) } else { NO_CLASS }
    };
    (0..Array::len(&texts)).map(id).collect()
}

/// The classes of numbers: `split` gives the bits that tell one from another, and what is shown of it.
fn of_numbers<T, N>(
    array: &PrimitiveArray<T>,
    names: &mut Names,
    split: impl Fn(T::Native) -> Option<(u64, N)>,
) -> Vec<u32>
where
    T: ArrowPrimitiveType,
    N: Display,
{
    let mut known: HashMap<u64, u32> = HashMap::new();
    // Runs of one value are common.
    let mut last = None;
    let id = |value| {
        let Some((bits, shown)) = split(value) else { return NO_CLASS };
        if let Some((_, id)) = last.filter(|&(same, _)| same == bits) {
            return id;
        }
        let id = *known.entry(bits).or_insert_with(|| names.id(&shown.to_string()));
        last = Some((bits, id));
        id
    };
    array.iter().map(with_none(id)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array, StringArray,
        UInt64Array, new_null_array,
    };
    use arrow::compute::cast;
    use arrow::datatypes::Field;

    use super::*;

    fn texts(array: &dyn Array) -> Vec<String> {
        let mut names = Names::default();
        let ids = class_ids(array, &mut names).unwrap();
        ids.into_iter().map(|id| if id == NO_CLASS { "—".to_owned() } else { names.text(id).to_owned() }).collect()
    }

    #[test]
    fn one_class_has_one_text_whatever_its_type() {
        let doubles = vec![Some(1.0), Some(-0.0), Some(0.1), Some(f64::NAN), None, Some(1e17), Some(f64::INFINITY)];
        let expected = ["1", "0", "0.1", "—", "—", "100000000000000000", "inf"];
        assert_eq!(texts(&Float64Array::from(doubles)), expected);
        assert_eq!(texts(&Float32Array::from(vec![0.1, 1.0, 16_777_216.0])), ["0.1", "1", "16777216"]);
        assert_eq!(texts(&Int64Array::from(vec![Some(i64::MIN), None, Some(-1)])), ["-9223372036854775808", "—", "-1"]);
        assert_eq!(texts(&UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
        assert_eq!(texts(&BooleanArray::from(vec![Some(true), None, Some(false)])), ["true", "—", "false"]);
        let decimals = Decimal128Array::from(vec![100, -150, 0, 1000]).with_precision_and_scale(9, 2).unwrap();
        assert_eq!(texts(&decimals), ["1", "-1.5", "0", "10"]);
        assert_eq!(texts(&StringArray::from(vec![Some("1.0"), Some(""), None])), ["1.0", "", "—"]);
        assert_eq!(texts(&new_null_array(&DataType::Null, 2)), ["—", "—"]);
        let binary = class_ids(&BinaryArray::from(vec![&b"a"[..]]), &mut Names::default());
        assert!(binary.unwrap_err().to_string().contains("expected a class"));
    }

    #[test]
    fn layouts_do_not_matter() {
        let field = |name, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
        let run_ends = |values: DataType| {
            DataType::RunEndEncoded(field("run_ends", DataType::Int32, false), field("values", values, true))
        };
        let dictionary = |values: DataType| DataType::Dictionary(Box::new(DataType::Int16), Box::new(values));
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), None, Some("b"), Some("a")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(7), None, Some(-1), Some(7)]));
        for (plain, layouts) in [
            (
                &strings,
                vec![DataType::LargeUtf8, DataType::Utf8View, dictionary(DataType::Utf8), run_ends(DataType::Utf8)],
            ),
            (&numbers, vec![DataType::Int8, DataType::Float64, dictionary(DataType::Int64), run_ends(DataType::Int64)]),
        ] {
            for layout in layouts {
                let other = cast(plain, &layout).unwrap();
                assert_eq!(texts(&other), texts(plain), "{layout}");
                assert_eq!(texts(&other.slice(1, 3)), texts(&plain.slice(1, 3)), "{layout}, sliced");
            }
        }
    }
}

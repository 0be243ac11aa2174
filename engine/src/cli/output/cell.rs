//! One value as the text of a table's cell: short, on one line, harmless to a terminal.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::delivery::visible;

/// Strings are cut after this many characters.
const LONGEST_TEXT: usize = 96;
/// Lists longer than this are cut to their first [`SHOWN_ITEMS`].
const LONGEST_LIST: usize = 5;
const SHOWN_ITEMS: usize = 3;

/// The text of a cell; a null is empty.
pub(super) fn cell_text(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    if array.is_null(row) {
        return Ok(String::new());
    }
    text_of(array, row)
}

/// The text without control characters, which a terminal would obey, and cut.
pub(super) fn escaped(text: &str) -> String {
    visible(text, LONGEST_TEXT)
}

fn text_of(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    if array.is_null(row) {
        return Ok("null".to_owned());
    }
    Ok(match array.data_type() {
        DataType::Float64 => number_text(array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => number_text(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float16 => number_text(array.as_primitive::<Float16Type>().value(row).into()),
        DataType::List(_) => list_text(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list_text(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(_, _) => list_text(&array.as_fixed_size_list().value(row))?,
        DataType::Struct(_) => struct_text(array, row)?,
        DataType::Map(_, _) => map_text(array, row)?,
        DataType::Dictionary(_, values) => {
            let one = cast(&array.slice(row, 1), values)?;
            text_of(&one, 0)?
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array, &options)?;
            escaped(&formatter.value(row).try_to_string()?)
        }
    })
}

fn list_text(items: &ArrayRef) -> Result<String, ArrowError> {
    let shown = if items.len() > LONGEST_LIST { SHOWN_ITEMS } else { items.len() };
    let mut parts = (0..shown).map(|item| text_of(items, item)).collect::<Result<Vec<_>, _>>()?;
    if shown < items.len() {
        parts.push(format!("… {} values", items.len()));
    }
    Ok(format!("[{}]", parts.join(", ")))
}

fn struct_text(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let fields = array.as_struct();
    let names = fields.column_names();
    if names == ["start", "end"] {
        let start = text_of(fields.column(0), row)?;
        let end = text_of(fields.column(1), row)?;
        return Ok(span_text(&start, &end));
    }
    let parts = names
        .iter()
        .zip(fields.columns())
        .map(|(name, column)| Ok(format!("{}: {}", escaped(name), text_of(column, row)?)))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    Ok(format!("{{{}}}", parts.join(", ")))
}

/// A window; days that begin and end at midnight are shown without the time.
fn span_text(start: &str, end: &str) -> String {
    let day = |instant: &str| {
        let midnight = instant.strip_suffix("T00:00:00Z").or_else(|| instant.strip_suffix("T00:00:00"));
        midnight.map(str::to_owned)
    };
    match (day(start), day(end)) {
        (Some(start), Some(end)) => format!("{start} – {end}"),
        _ => format!("{start} – {end}"),
    }
}

fn map_text(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let shown = if entries.len() > LONGEST_LIST { SHOWN_ITEMS } else { entries.len() };
    let mut parts = (0..shown)
        .map(|entry| Ok(format!("{}: {}", text_of(keys, entry)?, text_of(values, entry)?)))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    if shown < entries.len() {
        parts.push(format!("… {} entries", entries.len()));
    }
    Ok(format!("{{{}}}", parts.join(", ")))
}

/// A number with about six significant digits, never fewer than its integer part has.
fn number_text(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    // The exponent after rounding to six digits, which may be one more than before it.
    let scientific = format!("{value:.5e}");
    let exponent: i32 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or_default();
    if value.abs() > 0.0 && !(-5..15).contains(&exponent) {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return format!("{}e{exponent}", without_trailing_zeros(digits));
    }
    let decimals = usize::try_from(5 - exponent).unwrap_or_default();
    let text = format!("{value:.decimals$}");
    match without_trailing_zeros(&text) {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

fn without_trailing_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333"),
            (-2.5, "-2.5"),
            (0.000_012_345_678, "0.0000123457"),
            (1.234_567_89e-6, "1.23457e-6"),
            (999_999.5, "1000000"),
            (336_776.4, "336776"),
            (1_755_850_122.929, "1755850123"),
            (1e15, "1e15"),
            (-1.5e300, "-1.5e300"),
            (9.999_999_9, "10"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number_text(value), text);
        }
    }

    #[test]
    fn windows_of_days_are_short() {
        assert_eq!(span_text("2013-01-07T00:00:00Z", "2013-01-14T00:00:00Z"), "2013-01-07 – 2013-01-14");
        assert_eq!(
            span_text("2013-01-07T00:00:00Z", "2013-01-07T01:00:00Z"),
            "2013-01-07T00:00:00Z – 2013-01-07T01:00:00Z"
        );
    }

    #[test]
    fn texts_are_harmless() {
        assert_eq!(escaped("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(escaped(&"x".repeat(200)).chars().count(), 97);
    }
}

//! The state of a series, without a copy of it.
//!
//! Values go to the states in blocks that stay in the cache. Only those blocks become Arrow arrays whose numbers are
//! not all told apart by doubles: integers beyond 2^53, decimals, times with nanoseconds or after the year 2255.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use hashbrown::HashMap;
use polars::prelude::{ChunkedArray, DataType, PolarsNumericType, Series, StringChunked, TimeUnit};

use super::FrameOptions;
use crate::column::{ColumnKind, ColumnState, EXACT_INTEGERS, Values};
use crate::{Error, Result};

/// Values that are converted together.
const BLOCK: usize = 4096;
/// Distinct strings that are counted before their counts move into the state.
const COUNTED: usize = 1 << 16;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The state of a series: the same, bit for bit, as that of an Arrow array of the same values.
///
/// ```
/// use limno_metrics::polars::{FrameOptions, state};
/// use polars::prelude::{NamedFrom, Series};
///
/// let options = FrameOptions::default();
/// let mut monday = state(&Series::new("fare".into(), [Some(1.0), None, Some(4.0)]), &options)?;
/// monday.merge(&state(&Series::new("fare".into(), [2.0]), &options)?)?;
/// assert_eq!(monday.freeze().profile().median(), Some(2.0));
/// # Ok::<(), limno_metrics::Error>(())
/// ```
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when values cannot be read as their type says.
pub fn state(series: &Series, options: &FrameOptions) -> Result<ColumnState> {
    let mut state = ColumnState::empty(&options.column(kind_of(series.dtype())));
    match series.dtype() {
        DataType::Float64 => doubles(&mut state, series.f64()?)?,
        DataType::Float32 => numbers(&mut state, series.f32()?)?,
        DataType::Float16 => doubles(&mut state, series.cast(&DataType::Float64)?.f64()?)?,
        DataType::Int8 => numbers(&mut state, series.i8()?)?,
        DataType::Int16 => numbers(&mut state, series.i16()?)?,
        DataType::Int32 => numbers(&mut state, series.i32()?)?,
        DataType::UInt8 => numbers(&mut state, series.u8()?)?,
        DataType::UInt16 => numbers(&mut state, series.u16()?)?,
        DataType::UInt32 => numbers(&mut state, series.u32()?)?,
        DataType::Int64 => {
            let is_exact = |value: i64| value.unsigned_abs() <= EXACT_INTEGERS;
            converted(&mut state, series.i64()?, is_exact, double, |block, nulls| {
                Ok(Arc::new(Int64Array::new(block.to_vec().into(), nulls)))
            })?;
        }
        DataType::UInt64 => {
            #[expect(clippy::cast_precision_loss, reason = "exact up to the limit")]
            converted(
                &mut state,
                series.u64()?,
                |value| value <= EXACT_INTEGERS,
                |value| value as f64,
                |block, nulls| Ok(Arc::new(UInt64Array::new(block.to_vec().into(), nulls))),
            )?;
        }
        DataType::Int128 => decimals(&mut state, series.i128()?, 38, 0)?,
        DataType::Decimal(precision, scale) => decimals(&mut state, series.decimal()?.physical(), *precision, *scale)?,
        DataType::Date => {
            let is_exact = |day: i32| i64::from(day).unsigned_abs() <= EXACT_INTEGERS / DAY.unsigned_abs();
            let micros = |day: i32| double(i64::from(day) * DAY);
            converted(&mut state, series.date()?.physical(), is_exact, micros, |block, nulls| {
                Ok(Arc::new(Date32Array::new(block.to_vec().into(), nulls)))
            })?;
        }
        DataType::Datetime(unit, _) => datetimes(&mut state, series.datetime()?.physical(), *unit)?,
        DataType::Boolean => {
            let values = series.bool()?;
            let trues = u64::from(values.sum().unwrap_or(0));
            count_rows(&mut state, series);
            let falses = state.counts.rows - state.counts.nulls - trues;
            categories(&mut state, [("true", trues), ("false", falses)].map(|(text, count)| (text, None, count)));
        }
        DataType::String => {
            count_rows(&mut state, series);
            strings(&mut state, series.str()?);
        }
        DataType::Categorical(_, mapping) | DataType::Enum(_, mapping) => {
            count_rows(&mut state, series);
            // The width of the keys goes by the number of categories.
            let counts = match (series.try_cat8(), series.try_cat16()) {
                (Some(narrow), _) => keys(narrow.physical()),
                (_, Some(middle)) => keys(middle.physical()),
                _ => keys(series.cat32()?.physical()),
            };
            let named = (0u32..).zip(counts).filter_map(|(key, count)| Some((mapping.cat_to_str(key)?, count)));
            categories(&mut state, named.map(measured));
        }
        DataType::Binary => {
            count_rows(&mut state, series);
            let chunks = series.binary()?.downcast_iter();
            lengths(&mut state, chunks.flat_map(|chunk| chunk.non_null_values_iter().map(<[u8]>::len)));
        }
        DataType::List(_) => {
            count_rows(&mut state, series);
            for chunk in series.list()?.downcast_iter() {
                let is_valid = |row: usize| chunk.validity().is_none_or(|bits| bits.get_bit(row));
                let own = chunk.offsets().lengths().enumerate();
                lengths(&mut state, own.filter(|(row, _)| is_valid(*row)).map(|(_, length)| length));
            }
        }
        _ => count_rows(&mut state, series),
    }
    Ok(state)
}

/// As [`ColumnKind::of`] has it for the Arrow types.
fn kind_of(data_type: &DataType) -> ColumnKind {
    match data_type {
        DataType::Boolean | DataType::String | DataType::Categorical(..) | DataType::Enum(..) => {
            ColumnKind::Categorical
        }
        DataType::Date | DataType::Datetime(..) => ColumnKind::Temporal,
        DataType::UInt128 => ColumnKind::Opaque,
        DataType::Binary | DataType::List(_) => ColumnKind::Length,
        other if other.is_primitive_numeric() || other.is_decimal() => ColumnKind::Numeric,
        _ => ColumnKind::Opaque,
    }
}

fn count_rows(state: &mut ColumnState, series: &Series) {
    state.counts.rows += series.len() as u64;
    state.counts.nulls += series.null_count() as u64;
}

/// Doubles, where they lie.
fn doubles(state: &mut ColumnState, values: &ChunkedArray<polars::prelude::Float64Type>) -> Result<()> {
    for chunk in values.downcast_iter() {
        let nulls = chunk.validity().map(|bits| null_buffer(bits.as_slice()));
        state.observe_numbers(chunk.values().as_slice(), nulls.as_ref())?;
    }
    Ok(())
}

/// Numbers that are all doubles.
pub(super) fn numbers<T: PolarsNumericType>(state: &mut ColumnState, values: &ChunkedArray<T>) -> Result<()>
where
    T::Native: Into<f64>,
{
    let mut together = Vec::with_capacity(BLOCK);
    in_blocks(values, |block, nulls| {
        together.clear();
        together.extend(block.iter().map(|&value| value.into()));
        observe(state, &together, nulls.as_ref());
        Ok(())
    })
}

/// Values whose doubles tell them apart where `is_exact`; blocks with others go through `array`.
fn converted<T: PolarsNumericType>(
    state: &mut ColumnState,
    values: &ChunkedArray<T>,
    is_exact: impl Fn(T::Native) -> bool,
    double: impl Fn(T::Native) -> f64,
    array: impl Fn(&[T::Native], Option<NullBuffer>) -> Result<ArrayRef>,
) -> Result<()> {
    let mut together = Vec::with_capacity(BLOCK);
    in_blocks(values, |block, nulls| {
        // What lies under a null can be anything; it may send a block the longer way, to the same state.
        if !block.iter().fold(true, |all, &value| all & is_exact(value)) {
            return state.observe(&array(block, nulls)?);
        }
        together.clear();
        together.extend(block.iter().map(|&value| double(value)));
        observe(state, &together, nulls.as_ref());
        Ok(())
    })
}

fn decimals<T>(state: &mut ColumnState, values: &ChunkedArray<T>, precision: usize, scale: usize) -> Result<()>
where
    T: PolarsNumericType<Native = i128>,
{
    let unfit = || Error::invalid_argument(format!("a decimal of {precision} digits, {scale} of them a fraction"));
    let (precision, scale) = (u8::try_from(precision).map_err(|_| unfit())?, i8::try_from(scale).map_err(|_| unfit())?);
    in_blocks(values, |block, nulls| {
        let array = Decimal128Array::new(block.to_vec().into(), nulls);
        state.observe(&array.with_precision_and_scale(precision, scale).map_err(|_| unfit())?)
    })
}

/// Instants, whatever zone they are shown in.
fn datetimes<T>(state: &mut ColumnState, values: &ChunkedArray<T>, unit: TimeUnit) -> Result<()>
where
    T: PolarsNumericType<Native = i64>,
{
    let raw = |block: &[i64]| ScalarBuffer::from(block.to_vec());
    match unit {
        TimeUnit::Milliseconds => {
            let is_exact = |millis: i64| millis.unsigned_abs() <= EXACT_INTEGERS / 1000;
            converted(
                state,
                values,
                is_exact,
                |millis| double(millis * 1000),
                |block, nulls| Ok(Arc::new(TimestampMillisecondArray::new(raw(block), nulls))),
            )
        }
        TimeUnit::Microseconds => {
            let is_exact = |micros: i64| micros.unsigned_abs() <= EXACT_INTEGERS;
            converted(state, values, is_exact, double, |block, nulls| {
                Ok(Arc::new(TimestampMicrosecondArray::new(raw(block), nulls)))
            })
        }
        TimeUnit::Nanoseconds => converted(
            state,
            values,
            |nanos| nanos % 1000 == 0,
            |nanos| double(nanos / 1000),
            |block, nulls| Ok(Arc::new(TimestampNanosecondArray::new(raw(block), nulls))),
        ),
    }
}

/// Strings, where they lie.
fn strings(state: &mut ColumnState, values: &StringChunked) {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for chunk in values.downcast_iter() {
        for value in chunk.non_null_values_iter() {
            *counts.entry(value).or_insert(0) += 1;
            if counts.len() > COUNTED {
                categories(state, counts.drain().map(measured));
            }
        }
    }
    categories(state, counts.drain().map(measured));
}

fn lengths(state: &mut ColumnState, values: impl Iterator<Item = usize>) {
    if let Values::Length(lengths) = &mut state.values {
        values.for_each(|length| lengths.observe(length as u64, 1));
    }
}

/// How often each key occurs. A key is below the number of categories, so this is less than the categories' own text.
fn keys<T: PolarsNumericType>(values: &ChunkedArray<T>) -> Vec<u64>
where
    T::Native: Into<u32>,
{
    let mut counts = Vec::new();
    for chunk in values.downcast_iter() {
        for key in chunk.non_null_values_iter() {
            let key: u32 = key.into();
            let key = key as usize;
            if key >= counts.len() {
                counts.resize(key + 1, 0);
            }
            counts[key] += 1;
        }
    }
    counts
}

/// A text with its length in characters, and its count.
fn measured((text, count): (&str, u64)) -> (&str, Option<u64>, u64) {
    (text, Some(text.chars().count() as u64), count)
}

fn categories<'a>(state: &mut ColumnState, counts: impl IntoIterator<Item = (&'a str, Option<u64>, u64)>) {
    if let Values::Category(column) = &mut state.values {
        for (text, length, count) in counts {
            column.categories.observe(text.as_bytes(), length, count);
        }
    }
}

/// As [`ColumnState::observe_numbers`], for times too.
fn observe(state: &mut ColumnState, values: &[f64], nulls: Option<&NullBuffer>) {
    state.counts.rows += values.len() as u64;
    state.counts.nulls += nulls.map_or(0, NullBuffer::null_count) as u64;
    if let Values::Numeric(column) | Values::Temporal(column) = &mut state.values {
        column.observe_valid(values, nulls, &mut state.counts);
    }
}

fn in_blocks<T: PolarsNumericType>(
    values: &ChunkedArray<T>,
    mut observe: impl FnMut(&[T::Native], Option<NullBuffer>) -> Result<()>,
) -> Result<()> {
    for chunk in values.downcast_iter() {
        let nulls = chunk.validity().map(|bits| null_buffer(bits.as_slice()));
        let mut at = 0;
        for block in chunk.values().as_slice().chunks(BLOCK) {
            observe(block, nulls.as_ref().map(|nulls| nulls.slice(at, block.len())))?;
            at += block.len();
        }
    }
    Ok(())
}

/// Bytes, offset and length in bits: a copy of the one bit a value has.
fn null_buffer((bytes, offset, len): (&[u8], usize, usize)) -> NullBuffer {
    NullBuffer::new(BooleanBuffer::new(Buffer::from(bytes), offset, len))
}

#[expect(clippy::cast_precision_loss, reason = "only of those that are exact")]
const fn double(value: i64) -> f64 {
    value as f64
}

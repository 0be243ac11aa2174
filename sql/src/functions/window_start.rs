//! `limno_window_start(timestamp)`: the start of the window that an instant lies in, and how a column becomes instants.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, try_cast,
};

use crate::window::{Calendar, Granularity, MICROS_A_DAY, Window, first_instant};

/// The type of instants.
fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The function from an instant to the start of its window: Timestamp(µs), with any zone or none, to
/// Timestamp(µs, UTC). Null for null, and for the instants that [`Calendar::window_of`] has no window for.
#[must_use]
pub fn window_start(calendar: Calendar, granularity: Granularity) -> ScalarUDF {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(WindowStart { calendar, granularity, signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowStart {
    calendar: Calendar,
    granularity: Granularity,
    signature: Signature,
}

impl ScalarUDFImpl for WindowStart {
    fn name(&self) -> &'static str {
        "limno_window_start"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Timestamp(TimeUnit::Microsecond, _)] => Ok(instant_type()),
            _ => plan_err!("limno_window_start takes a timestamp in microseconds, not {arguments:?}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        each(&arguments, |values| {
            let Some(values) = values.as_primitive_opt::<TimestampMicrosecondType>() else {
                return exec_err!("limno_window_start got {}", values.data_type());
            };
            let mut windows = WindowCache::new(self.calendar, self.granularity);
            Ok(values.iter().map(|instant| windows.start_of(instant?)).collect())
        })
    }
}

/// The windows of one batch. Rows mostly follow each other in time, and those that do not still share their windows.
struct WindowCache {
    calendar: Calendar,
    granularity: Granularity,
    last: Window,
    /// Ends by starts.
    seen: BTreeMap<i64, i64>,
}

impl WindowCache {
    const fn new(calendar: Calendar, granularity: Granularity) -> Self {
        Self { calendar, granularity, last: Window { start: 0, end: 0 }, seen: BTreeMap::new() }
    }

    fn start_of(&mut self, instant: i64) -> Option<i64> {
        if !self.last.contains(instant) {
            let seen = self.seen.range(..=instant).next_back().map(|(&start, &end)| Window { start, end });
            self.last = match seen.filter(|window| window.contains(instant)) {
                Some(window) => window,
                None => {
                    let window = self.calendar.window_of(self.granularity, instant)?;
                    self.seen.insert(window.start, window.end);
                    window
                }
            };
        }
        Some(self.last.start)
    }
}

/// An expression that turns a column into instants, Timestamp(µs, UTC).
///
/// | the column's type | how it is read |
/// |---|---|
/// | timestamp with a zone | as it stands |
/// | timestamp without one (Spark's `timestamp_ntz`) | as wall time in UTC |
/// | date | the first instant of the day in `timezone` |
/// | text | ISO 8601; without a zone, as wall time in `timezone`; null if it does not parse |
///
/// Wall time that the clocks skip is the instant after the gap, wall time that comes twice the earlier one. What
/// does not fit into microseconds is null.
///
/// # Errors
/// For columns of other types.
pub fn to_instant(expr: Expr, data_type: &DataType, timezone: Tz) -> Result<Expr> {
    match data_type {
        DataType::Timestamp(..) if *data_type == instant_type() => Ok(expr),
        DataType::Timestamp(..) => Ok(try_cast(expr, instant_type())),
        DataType::Dictionary(_, values) => to_instant(cast(expr, values.as_ref().clone()), values, timezone),
        data_type if Instant::takes(data_type) => {
            let signature = Signature::any(1, Volatility::Immutable);
            Ok(ScalarUDF::new_from_impl(Instant { timezone, signature }).call(vec![expr]))
        }
        other => {
            plan_err!("a column of type {other} does not say when, a timestamp, a date or text in ISO 8601 is needed")
        }
    }
}

/// The function from dates and text to instants.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Instant {
    timezone: Tz,
    signature: Signature,
}

impl Instant {
    const fn takes(data_type: &DataType) -> bool {
        matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Date32 | DataType::Date64
        )
    }

    fn of_days(&self, days: impl Iterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
        let mut last = (None, None);
        days.map(|day| {
            if last.0 != day {
                last = (day, day.and_then(|day| midnight(self.timezone, day)));
            }
            last.1
        })
        .collect()
    }

    fn of_text<'a>(&self, texts: impl Iterator<Item = Option<&'a str>>) -> TimestampMicrosecondArray {
        texts.map(|text| instant_of_text(self.timezone, text?)).collect()
    }
}

impl ScalarUDFImpl for Instant {
    fn name(&self) -> &'static str {
        "limno_instant"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [data_type] if Self::takes(data_type) => Ok(instant_type()),
            _ => plan_err!("limno_instant takes a date or text, not {arguments:?}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        each(&arguments, |values| match values.data_type() {
            DataType::Utf8 => Ok(self.of_text(values.as_string::<i32>().iter())),
            DataType::LargeUtf8 => Ok(self.of_text(values.as_string::<i64>().iter())),
            DataType::Utf8View => Ok(self.of_text(values.as_string_view().iter())),
            DataType::Date32 => {
                Ok(self.of_days(values.as_primitive::<Date32Type>().iter().map(|day| day.map(i64::from))))
            }
            DataType::Date64 => {
                let day = |millis: i64| millis.div_euclid(MICROS_A_DAY / 1000);
                Ok(self.of_days(values.as_primitive::<Date64Type>().iter().map(|millis| millis.map(day))))
            }
            other => exec_err!("limno_instant got {other}"),
        })
    }
}

/// Applies `map` to the one argument, scalar or array.
fn each(
    arguments: &ScalarFunctionArgs,
    map: impl Fn(&dyn Array) -> Result<TimestampMicrosecondArray>,
) -> Result<ColumnarValue> {
    let map = |values: &ArrayRef| -> Result<ArrayRef> { Ok(Arc::new(map(values)?.with_timezone("UTC"))) };
    match arguments.args.as_slice() {
        [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(map(values)?)),
        [ColumnarValue::Scalar(value)] => {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&map(&value.to_array()?)?, 0)?))
        }
        other => exec_err!("expected one argument, got {}", other.len()),
    }
}

/// The first instant of a day, counted from 1970-01-01.
fn midnight(timezone: Tz, day: i64) -> Option<i64> {
    let wall = DateTime::from_timestamp_micros(day.checked_mul(MICROS_A_DAY)?)?;
    first_instant(timezone, wall.naive_utc())
}

/// The instant that a text in ISO 8601 names, with a date and a zone or without.
fn instant_of_text(timezone: Tz, text: &str) -> Option<i64> {
    let text = text.trim();
    let read = string_to_datetime(&Wall, text).ok().or_else(|| string_to_datetime(&Wall, &with_seconds(text)?).ok())?;
    if read.offset().is_zoned { Some(read.timestamp_micros()) } else { first_instant(timezone, read.naive_utc()) }
}

/// `2024-05-01T10:00` and what follows, with the seconds that arrow's parser insists on.
fn with_seconds(text: &str) -> Option<String> {
    let (minutes, rest) = text.split_at_checked("2024-05-01T10:00".len())?;
    let is_short = minutes.as_bytes().get(13) == Some(&b':') && !rest.starts_with(':');
    is_short.then(|| format!("{minutes}:00{rest}"))
}

/// A time zone that only marks whether a parser found one in the text. A wall time without a zone is taken as it
/// stands, so that which instant it is can be decided here: arrow's parser gives up on wall times that come twice.
#[derive(Debug, Clone, Copy)]
struct Wall;

#[derive(Debug, Clone, Copy)]
struct WallOffset {
    is_zoned: bool,
}

impl Offset for WallOffset {
    fn fix(&self) -> FixedOffset {
        Utc.fix()
    }
}

impl TimeZone for Wall {
    type Offset = WallOffset;

    fn from_offset(_: &WallOffset) -> Self {
        Self
    }

    fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<WallOffset> {
        MappedLocalTime::Single(WallOffset { is_zoned: false })
    }

    fn offset_from_local_datetime(&self, _: &NaiveDateTime) -> MappedLocalTime<WallOffset> {
        MappedLocalTime::Single(WallOffset { is_zoned: false })
    }

    fn offset_from_utc_date(&self, _: &NaiveDate) -> WallOffset {
        WallOffset { is_zoned: true }
    }

    fn offset_from_utc_datetime(&self, _: &NaiveDateTime) -> WallOffset {
        WallOffset { is_zoned: true }
    }
}

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
/// Timestamp(µs, UTC). Null for null, and for the instants that [`Calendar::window_of`] has no window for. Of windows
/// that slide it is the last to begin.
#[must_use]
pub fn window_start(calendar: Calendar, granularity: Granularity) -> ScalarUDF {
    // They begin with each step; the steps themselves do not overlap.
    let granularity = granularity.every();
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

/// The instant that a value of a time column stands for, as a table's log writes it among the statistics of a file or as
/// a partition's value: the same that [`to_instant`] finds for the value itself. `None` if the text is no such value.
#[must_use]
pub fn instant_of_logged(text: &str, data_type: &DataType, timezone: Tz) -> Option<i64> {
    match data_type {
        // A log has instants in UTC, with a zone or without.
        DataType::Timestamp(..) => instant_of_text(Tz::UTC, text),
        DataType::Date32 | DataType::Date64 => {
            let date: NaiveDate = text.trim().parse().ok()?;
            first_instant(timezone, date.and_time(chrono::NaiveTime::MIN))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => instant_of_text(timezone, text),
        DataType::Dictionary(_, values) => instant_of_logged(text, values, timezone),
        _ => None,
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

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Date64Array, DictionaryArray, Int64Array, LargeStringArray, RecordBatch, StringArray,
        StringViewArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };
    use arrow::datatypes::{Field, Int32Type};
    use chrono::Weekday;
    use datafusion::common::DFSchema;
    use datafusion::common::config::ConfigOptions;
    use datafusion::logical_expr::lit;
    use datafusion::prelude::{SessionContext, col};

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    /// Evaluates an expression over the one column `c`.
    fn evaluate(expr: Expr, values: ArrayRef) -> TimestampMicrosecondArray {
        let batch = RecordBatch::try_from_iter_with_nullable([("c", values, true)]).unwrap();
        let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
        let physical = SessionContext::new().create_physical_expr(expr, &schema).unwrap();
        let result = physical.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
        assert_eq!(result.data_type(), &instant_type());
        result.as_primitive::<TimestampMicrosecondType>().clone()
    }

    fn instants(values: ArrayRef, timezone: Tz) -> Vec<Option<i64>> {
        let expr = to_instant(col("c"), values.data_type(), timezone).unwrap();
        evaluate(expr, values).iter().collect()
    }

    fn texts(texts: &[&str], timezone: Tz) -> Vec<Option<i64>> {
        instants(Arc::new(StringArray::from(texts.to_vec())), timezone)
    }

    #[test]
    fn starts_are_those_of_the_calendar_in_any_order() {
        for (zone, granularity) in [
            (Tz::UTC, Granularity::Minutes(5)),
            (Tz::Europe__Berlin, Granularity::Hours(1)),
            (Tz::Pacific__Apia, Granularity::Days(1)),
            (Tz::America__New_York, Granularity::Weeks(2)),
            (Tz::Australia__Lord_Howe, Granularity::Months(1)),
        ] {
            let calendar = Calendar { timezone: zone, week_start: Weekday::Sun, offset_minutes: 75 };
            let mut values: Vec<Option<i64>> = (0..3_000_i64)
                .map(|row| Some(at("2011-12-25T00:00:00Z") + row * 7_919 % 3_000 * 1_013_000_007))
                .collect();
            values.extend([None, Some(i64::MAX), Some(i64::MIN), Some(0), Some(-1)]);
            let expected: Vec<_> =
                values.iter().map(|instant| Some(calendar.window_of(granularity, (*instant)?)?.start)).collect();
            for timezone in [None, Some("UTC"), Some("+05:30")] {
                let array = TimestampMicrosecondArray::from(values.clone()).with_timezone_opt(timezone);
                let starts = evaluate(window_start(calendar, granularity).call(vec![col("c")]), Arc::new(array));
                assert_eq!(starts.iter().collect::<Vec<_>>(), expected, "{zone} {granularity}");
            }
        }
    }

    #[test]
    fn functions_are_equal_when_their_calendars_are() {
        let calendar = Calendar { timezone: Tz::UTC, week_start: Weekday::Mon, offset_minutes: 0 };
        let sunday = Calendar { week_start: Weekday::Sun, ..calendar };
        let day = Granularity::Days(1);
        assert_eq!(window_start(calendar, day), window_start(calendar, day));
        assert_ne!(window_start(calendar, day), window_start(sunday, day));
        let later = Calendar { offset_minutes: 60, ..calendar };
        assert_ne!(window_start(calendar, day), window_start(later, day));
        assert_ne!(window_start(calendar, day), window_start(calendar, Granularity::Days(2)));
        assert_eq!(window_start(calendar, day).name(), "limno_window_start");
    }

    #[test]
    fn takes_timestamps_in_microseconds_only() {
        let function = window_start(
            Calendar { timezone: Tz::UTC, week_start: Weekday::Mon, offset_minutes: 0 },
            Granularity::Days(1),
        );
        assert!(function.return_type(&[DataType::Timestamp(TimeUnit::Millisecond, None)]).is_err());
        assert!(function.return_type(&[DataType::Int64]).is_err());
        assert!(function.return_type(&[]).is_err());
    }

    #[test]
    fn a_scalar_stays_one() {
        let function = window_start(
            Calendar { timezone: Tz::UTC, week_start: Weekday::Mon, offset_minutes: 0 },
            Granularity::Days(1),
        );
        for (value, expected) in [(Some(at("2024-05-01T13:00:00Z")), Some(at("2024-05-01T00:00:00Z"))), (None, None)] {
            let result = function.invoke_with_args(ScalarFunctionArgs {
                args: vec![ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(value, None))],
                arg_fields: vec![Arc::new(Field::new("c", DataType::Timestamp(TimeUnit::Microsecond, None), true))],
                number_rows: 3,
                return_field: Arc::new(Field::new("w", instant_type(), true)),
                config_options: Arc::new(ConfigOptions::new()),
            });
            let ColumnarValue::Scalar(start) = result.unwrap() else { panic!("an array") };
            assert_eq!(start, ScalarValue::TimestampMicrosecond(expected, Some("UTC".into())));
        }
    }

    #[test]
    fn timestamps_stand_as_they_are() {
        let second = at("2024-05-01T10:00:00Z") / 1_000_000;
        let expected = vec![Some(second * 1_000_000), None];
        for zone in [None, Some("UTC"), Some("America/New_York"), Some("+05:30")] {
            let arrays: [ArrayRef; 4] = [
                Arc::new(TimestampSecondArray::from(vec![Some(second), None]).with_timezone_opt(zone)),
                Arc::new(TimestampMillisecondArray::from(vec![Some(second * 1_000), None]).with_timezone_opt(zone)),
                Arc::new(TimestampMicrosecondArray::from(vec![Some(second * 1_000_000), None]).with_timezone_opt(zone)),
                Arc::new(
                    TimestampNanosecondArray::from(vec![Some(second * 1_000_000_000), None]).with_timezone_opt(zone),
                ),
            ];
            for array in arrays {
                // Without a zone it is wall time in UTC, whatever the monitor's.
                assert_eq!(instants(array, Tz::Europe__Berlin), expected, "{zone:?}");
            }
        }
        let far = TimestampSecondArray::from(vec![i64::MAX / 10]);
        assert_eq!(instants(Arc::new(far), Tz::UTC), [None], "what does not fit is null, not an error");
    }

    #[test]
    fn dates_begin_at_midnight_in_the_time_zone() {
        let day = 19_844; // 2024-05-01
        let expected = [Some(at("2024-05-01T00:00:00+02:00")), None, Some(at("2024-05-01T00:00:00+02:00"))];
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(day), None, Some(day)]));
        assert_eq!(instants(dates, Tz::Europe__Berlin), expected);
        let millis = i64::from(day) * 86_400_000;
        let dates: ArrayRef = Arc::new(Date64Array::from(vec![Some(millis), None, Some(millis)]));
        assert_eq!(instants(dates, Tz::Europe__Berlin), expected);
        // A midnight that was skipped, and days beyond every calendar.
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![17_839, i32::MAX, i32::MIN]));
        assert_eq!(instants(dates, Tz::America__Sao_Paulo), [Some(at("2018-11-04T01:00:00-02:00")), None, None]);
    }

    #[test]
    fn text_is_read_as_iso_8601() {
        let zoned = [
            "2024-05-01T10:00:00Z",
            "2024-05-01 10:00:00z",
            "2024-05-01T12:00:00+02:00",
            "2024-05-01T12:00:00.000000000+0200",
            "2024-05-01 06:00:00 -04",
            "2024-05-01T10:00Z",
            "2024-05-01T12:00+02:00",
            "  2024-05-01T10:00:00Z\n",
        ];
        let walls = [
            "2024-05-01T12:00:00",
            "2024-05-01 12:00:00",
            "2024-05-01 12:00",
            "2024-05-01T120000",
            "2024-05-01 12:00:00.0",
        ];
        for text in zoned.iter().chain(&walls) {
            assert_eq!(texts(&[text], Tz::Europe__Berlin), [Some(at("2024-05-01T10:00:00Z"))], "{text}");
        }
        assert_eq!(texts(&["2024-05-01"], Tz::Europe__Berlin), [Some(at("2024-05-01T00:00:00+02:00"))]);
        assert_eq!(texts(&["1969-12-31T23:59:59.9999999Z"], Tz::UTC), [Some(-1)], "a part of a microsecond is dropped");
        // Skipped and repeated wall times have an instant too.
        let changes = ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-10-27T02:30:00+01:00"];
        let expected = ["2024-03-31T03:00:00+02:00", "2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"];
        assert_eq!(texts(&changes, Tz::Europe__Berlin), expected.map(|text| Some(at(text))));
    }

    #[test]
    fn text_that_does_not_parse_is_null() {
        for text in [
            "",
            "now",
            "today",
            "2024",
            "2024-13-01",
            "2024-02-30",
            "01.05.2024",
            "05/01/2024",
            "1714557600",
            "2024-05-01T25:00:00",
            "2024-05-01T10:00:00 Mars/Olympus",
            "2024-05-01T10:00:",
            "2024-05-01x10:00:00",
            "2024-05-01T10:0",
            "2024-05-01T10:00:00ü",
            "２０２４-05-01",
            "2024-05-01Tüü:üü",
            "2024-05-01T10:0ü",
            "2024-05-01T10:00ü",
            "9999-99-99T99:99:99.999999999999999999999",
        ] {
            assert_eq!(texts(&[text], Tz::Europe__Berlin), [None], "{text}");
        }
        assert_eq!(instants(Arc::new(StringArray::from(vec![None::<&str>])), Tz::UTC), [None]);
    }

    #[test]
    fn every_kind_of_text_is_read() {
        let text = vec![Some("2024-05-01T10:00:00Z"), None, Some("bad")];
        let expected = [Some(at("2024-05-01T10:00:00Z")), None, None];
        let arrays: [ArrayRef; 4] = [
            Arc::new(StringArray::from(text.clone())),
            Arc::new(LargeStringArray::from(text.clone())),
            Arc::new(StringViewArray::from(text.clone())),
            Arc::new(text.into_iter().collect::<DictionaryArray<Int32Type>>()),
        ];
        for array in arrays {
            assert_eq!(instants(array, Tz::UTC), expected);
        }
        let constant = to_instant(lit("2024-05-01"), &DataType::Utf8, Tz::UTC).unwrap();
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!(evaluate(constant, rows).iter().collect::<Vec<_>>(), [Some(at("2024-05-01T00:00:00Z")); 2]);
    }

    #[test]
    fn other_types_are_refused() {
        for data_type in [
            DataType::Int64,
            DataType::Float64,
            DataType::Boolean,
            DataType::Binary,
            DataType::Time64(TimeUnit::Microsecond),
        ] {
            let error = to_instant(col("c"), &data_type, Tz::UTC).unwrap_err();
            assert!(error.message().contains("a timestamp, a date or text in ISO 8601 is needed"), "{error}");
        }
        let codes = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64));
        assert!(to_instant(col("c"), &codes, Tz::UTC).is_err());
    }
}

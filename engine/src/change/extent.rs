//! Which part of time a file covers, by the statistics that the log has of it.

use arrow::datatypes::DataType;
use deltalake::kernel::Add;
use limno_sql::functions::instant_of_logged;
use limno_sql::window::{Calendar, Granularity, Spans, Window};
use serde_json::Value;

/// Writers may cut the digits after the milliseconds off.
const MICROS_A_MILLI: i64 = 1000;

/// The time column of a table as its log knows it.
#[derive(Debug, Clone)]
pub struct LoggedTime {
    /// The name under which the column's statistics are stored.
    pub column: String,
    /// Its type; integers are milliseconds since the epoch.
    pub data_type: DataType,
    /// Whether files are kept apart by it.
    pub is_partition: bool,
    /// Time zone and start of weeks.
    pub calendar: Calendar,
    /// The length of the ledger's windows.
    pub unit: Granularity,
}

impl LoggedTime {
    /// The windows that the rows of a file can lie in; `None` if the log does not say.
    #[must_use]
    pub fn extent(&self, file: &Add) -> Option<Spans> {
        if self.is_partition {
            return self.extent_of_partition(file.partition_values.get(&self.column)?.as_deref());
        }
        let statistics: Value = serde_json::from_str(file.stats.as_deref()?).ok()?;
        let rows = statistics["numRecords"].as_i64();
        if rows == Some(0) {
            return Some(Spans::none());
        }
        if !matches!(self.data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Int64) {
            // The order of texts is not that of the instants that they name, and long ones are cut.
            return None;
        }
        let nulls = statistics["nullCount"][&self.column].as_i64();
        let mut spans = if nulls == Some(0) { Spans::none() } else { Spans::without_time() };
        let bound = |which: &str| {
            let value = &statistics[which][&self.column];
            match self.data_type {
                DataType::Int64 => value.as_i64()?.checked_mul(MICROS_A_MILLI),
                _ => self.instant(value.as_str()?),
            }
        };
        match (bound("minValues"), bound("maxValues")) {
            (Some(least), Some(greatest)) => {
                let is_cut = greatest % MICROS_A_MILLI == 0 && matches!(self.data_type, DataType::Timestamp(..));
                let greatest = if is_cut { greatest.checked_add(MICROS_A_MILLI - 1)? } else { greatest };
                spans.insert(self.windows(least, greatest)?);
            }
            // All are null.
            _ if rows.is_some() && nulls == rows => {}
            _ => return None,
        }
        Some(spans)
    }

    fn extent_of_partition(&self, value: Option<&str>) -> Option<Spans> {
        let Some(instant) = value.and_then(|value| self.instant(value)) else { return Some(Spans::without_time()) };
        let mut spans = Spans::none();
        spans.insert(self.windows(instant, instant)?);
        Some(spans)
    }

    fn instant(&self, text: &str) -> Option<i64> {
        instant_of_logged(text, &self.data_type, self.calendar.timezone)
    }

    /// From the start of the window of one instant to the end of another's.
    fn windows(&self, from: i64, to: i64) -> Option<Window> {
        let start = self.calendar.window_of(self.unit, from)?.start;
        Some(Window { start, end: self.calendar.window_of(self.unit, to)?.end })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use chrono::{DateTime, Weekday};

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn time(data_type: DataType, is_partition: bool) -> LoggedTime {
        LoggedTime {
            column: "t".to_owned(),
            data_type,
            is_partition,
            calendar: Calendar { timezone: chrono_tz::Europe::Berlin, week_start: Weekday::Mon, offset_minutes: 0 },
            unit: Granularity::Days(1),
        }
    }

    fn instant() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    fn file(statistics: &str) -> Add {
        Add { stats: Some(statistics.to_owned()), ..Add::default() }
    }

    #[track_caller]
    fn expect(time: &LoggedTime, statistics: &str, expected: Option<(&[(&str, &str)], bool)>) {
        let expected = expected.map(|(list, nulls)| {
            let mut spans = if nulls { Spans::without_time() } else { Spans::none() };
            list.iter().for_each(|(start, end)| spans.insert(Window { start: at(start), end: at(end) }));
            spans
        });
        assert_eq!(time.extent(&file(statistics)), expected, "{statistics}");
    }

    #[test]
    fn a_file_covers_whole_windows_of_the_monitors_time_zone() {
        let days = [("2024-01-01T23:00:00Z", "2024-01-03T23:00:00Z")];
        let stats = r#"{"numRecords":3,"minValues":{"t":"2024-01-02T01:00:00.000Z"},"maxValues":{"t":"2024-01-03T22:00:00.123456Z"},"nullCount":{"t":0}}"#;
        expect(&time(instant(), false), stats, Some((&days, false)));
        let stats =
            r#"{"numRecords":3,"minValues":{"t":"2024-01-02"},"maxValues":{"t":"2024-01-03"},"nullCount":{"t":1}}"#;
        expect(&time(DataType::Date32, false), stats, Some((&days, true)));
    }

    #[test]
    fn a_greatest_value_that_was_cut_to_milliseconds_may_be_later() {
        // A window of a day cannot begin within a millisecond, so look at one that ends with the last microsecond.
        let stats = |greatest: &str| {
            format!(
                r#"{{"numRecords":3,"minValues":{{"t":"2024-01-02T01:00:00Z"}},"maxValues":{{"t":"{greatest}"}},"nullCount":{{"t":0}}}}"#
            )
        };
        let one = [("2024-01-01T23:00:00Z", "2024-01-02T23:00:00Z")];
        expect(&time(instant(), false), &stats("2024-01-02T22:59:59.999Z"), Some((&one, false)));
        expect(&time(instant(), false), &stats("2024-01-02T22:59:59.999999Z"), Some((&one, false)));
    }

    #[test]
    fn what_the_log_does_not_say_is_unknown() {
        let time_of = time(instant(), false);
        expect(&time_of, r#"{"numRecords":3}"#, None);
        expect(&time_of, r#"{"numRecords":3,"nullCount":{"t":3}}"#, Some((&[], true)));
        expect(&time_of, r#"{"numRecords":3,"nullCount":{"t":2}}"#, None);
        expect(&time_of, r#"{"numRecords":0}"#, Some((&[], false)));
        expect(&time_of, "{}", None);
        expect(&time_of, "no json", None);
        assert_eq!(time_of.extent(&Add::default()), None);
        let stats =
            r#"{"numRecords":3,"minValues":{"t":"2024-01-02"},"maxValues":{"t":"2024-01-03"},"nullCount":{"t":0}}"#;
        expect(&time(DataType::Utf8, false), stats, None);
    }

    #[test]
    fn the_value_of_a_partition_is_exact() {
        let of = |data_type: DataType, value: Option<&str>| {
            let values = [("t".to_owned(), value.map(str::to_owned))].into();
            time(data_type, true).extent(&Add { partition_values: values, ..Add::default() })
        };
        let mut day = Spans::none();
        day.insert(Window { start: at("2024-01-01T23:00:00Z"), end: at("2024-01-02T23:00:00Z") });
        for (data_type, value) in
            [(DataType::Date32, "2024-01-02"), (instant(), "2024-01-02 05:06:07"), (DataType::Utf8, "2024-01-02T09:00")]
        {
            assert_eq!(of(data_type, Some(value)), Some(day.clone()), "{value}");
        }
        assert_eq!(of(DataType::Date32, None), Some(Spans::without_time()));
        assert_eq!(of(DataType::Utf8, Some("soon")), Some(Spans::without_time()));
        assert_eq!(time(DataType::Date32, true).extent(&Add::default()), None);
    }
}

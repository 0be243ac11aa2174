//! Where windows are cut: a time zone, the day that weeks begin on, and the rules between them.
//!
//! Windows of up to an hour are steps of real time, counted on the wall clock of the offset in force: an hour that
//! the clocks go back over is two windows. Longer ones end where the wall clock first shows their end: a wall time
//! that is skipped counts as the instant after the gap, one that comes twice as the first time. So a day has 23 or
//! 25 hours when the clocks change, and a window that the clocks skip altogether does not exist.

use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Weekday};
use chrono_tz::Tz;

use super::granularity::Granularity;

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_MINUTE: i64 = 60 * MICROS_A_SECOND;
pub(crate) const MICROS_A_DAY: i64 = 24 * 60 * MICROS_A_MINUTE;

/// The longest windows that are steps of real time.
const LONGEST_STEP_MINUTES: u64 = 60;

/// A time zone and the day that weeks begin on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// Days begin at its midnight.
    pub timezone: Tz,
    /// The first day of a week.
    pub week_start: Weekday,
}

/// A span of time, in microseconds since the epoch, UTC. Its end is the start of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first instant.
    pub start: i64,
    /// The first instant that is no longer in it.
    pub end: i64,
}

impl Window {
    /// Whether the instant lies in the window.
    #[must_use]
    pub const fn contains(&self, instant: i64) -> bool {
        self.start <= instant && instant < self.end
    }
}

impl Calendar {
    /// The window that holds an instant, in microseconds since the epoch, UTC. `None` only for instants whose window
    /// is not within the years that `chrono` knows, some 262,000 either way.
    #[must_use]
    pub fn window_of(&self, granularity: Granularity, instant: i64) -> Option<Window> {
        match granularity.minutes() {
            Some(minutes) if minutes <= LONGEST_STEP_MINUTES => self.step_of(minutes, instant),
            _ => self.wall_window_of(granularity, instant),
        }
    }

    /// The window just before, which is not always one length away: days that the clocks skipped do not exist.
    #[must_use]
    pub fn previous(&self, granularity: Granularity, window: &Window) -> Option<Window> {
        self.window_of(granularity, window.start.checked_sub(1)?)
    }

    fn step_of(&self, minutes: u64, instant: i64) -> Option<Window> {
        let length = i64::try_from(minutes).ok()?.checked_mul(MICROS_A_MINUTE)?;
        let offset = self.offset_at(instant)?;
        let wall = instant.checked_add(offset)?;
        let mut start = wall.checked_sub(wall.rem_euclid(length))?.checked_sub(offset)?;
        let mut end = start.checked_add(length)?;
        // Where the clocks change in the middle of a step, it ends there and the next one begins.
        if self.offset_at(start)? != offset {
            start = first_second(start, instant, |at| Some(self.offset_at(at)? == offset))?;
        }
        if self.offset_at(end.checked_sub(1)?)? != offset {
            end = first_second(instant, end, |at| Some(self.offset_at(at)? != offset))?;
        }
        Some(Window { start, end })
    }

    fn wall_window_of(&self, granularity: Granularity, instant: i64) -> Option<Window> {
        let grid = self.grid(granularity)?;
        let wall = instant.checked_add(self.offset_at(instant)?)?;
        let mut index = grid.index_of(wall)?;
        let mut start = first_instant(self.timezone, grid.start_of(index)?)?;
        // After the clocks went back over a border, the wall clock shows the window before for a second time.
        while instant < start {
            index = index.checked_sub(1)?;
            start = first_instant(self.timezone, grid.start_of(index)?)?;
        }
        loop {
            index = index.checked_add(1)?;
            let end = first_instant(self.timezone, grid.start_of(index)?)?;
            if instant < end {
                return Some(Window { start, end });
            }
            start = end;
        }
    }

    fn grid(&self, granularity: Granularity) -> Option<Grid> {
        let days = |count: i64| count.checked_mul(MICROS_A_DAY);
        Some(match granularity {
            Granularity::Minutes(_) | Granularity::Hours(_) => {
                let minutes = i64::try_from(granularity.minutes()?).ok()?;
                Grid::Fixed { origin: 0, length: minutes.checked_mul(MICROS_A_MINUTE)? }
            }
            Granularity::Days(count) => Grid::Fixed { origin: 0, length: days(count.max(1).into())? },
            Granularity::Weeks(count) => {
                // Weeks are counted from the one that holds 1970-01-05, a Monday.
                let origin = 4 - i64::from(Weekday::Mon.days_since(self.week_start));
                Grid::Fixed { origin: days(origin)?, length: days(7 * i64::from(count.max(1)))? }
            }
            Granularity::Months(count) => Grid::Months(count.max(1).into()),
            Granularity::Years(count) => Grid::Months(12 * i64::from(count.max(1))),
        })
    }

    /// Wall time less UTC.
    fn offset_at(&self, instant: i64) -> Option<i64> {
        let utc = DateTime::from_timestamp_micros(instant)?.naive_utc();
        Some(micros_of(&self.timezone.offset_from_utc_datetime(&utc)))
    }
}

/// Where the wall clock of a window's start stands.
enum Grid {
    /// Every `length` from `origin` on, in microseconds of wall time.
    Fixed { origin: i64, length: i64 },
    /// On the first of every so many months from January of the year 0 on.
    Months(i64),
}

impl Grid {
    fn index_of(&self, wall: i64) -> Option<i64> {
        match self {
            Self::Fixed { origin, length } => Some(wall.checked_sub(*origin)?.div_euclid(*length)),
            Self::Months(count) => {
                let date = DateTime::from_timestamp_micros(wall)?;
                Some((i64::from(date.year()) * 12 + i64::from(date.month0())).div_euclid(*count))
            }
        }
    }

    fn start_of(&self, index: i64) -> Option<NaiveDateTime> {
        match self {
            Self::Fixed { origin, length } => {
                let wall = index.checked_mul(*length)?.checked_add(*origin)?;
                Some(DateTime::from_timestamp_micros(wall)?.naive_utc())
            }
            Self::Months(count) => {
                let month = index.checked_mul(*count)?;
                let year = i32::try_from(month.div_euclid(12)).ok()?;
                let month0 = u32::try_from(month.rem_euclid(12)).ok()?;
                Some(NaiveDate::from_ymd_opt(year, month0 + 1, 1)?.and_time(NaiveTime::MIN))
            }
        }
    }
}

/// The first instant, in microseconds, at which the wall clock shows `wall` or later: the earlier of two that show
/// it, the end of the gap where none does.
pub(crate) fn first_instant(timezone: Tz, wall: NaiveDateTime) -> Option<i64> {
    let micros = wall.and_utc().timestamp_micros();
    match timezone.offset_from_local_datetime(&wall) {
        MappedLocalTime::Single(offset) => micros.checked_sub(micros_of(&offset)),
        MappedLocalTime::Ambiguous(one, other) => micros.checked_sub(micros_of(&one).max(micros_of(&other))),
        MappedLocalTime::None => {
            // No offset is as long as a day.
            let (before, after) = (micros.checked_sub(MICROS_A_DAY)?, micros.checked_add(MICROS_A_DAY)?);
            first_second(before, after, |at| {
                let utc = DateTime::from_timestamp_micros(at)?.naive_utc();
                Some(at.checked_add(micros_of(&timezone.offset_from_utc_datetime(&utc)))? >= micros)
            })
        }
    }
}

fn micros_of(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc()) * MICROS_A_SECOND
}

/// The first full second after `before` and up to `after` from which on `holds` does. Clocks change on full seconds.
fn first_second(before: i64, after: i64, holds: impl Fn(i64) -> Option<bool>) -> Option<i64> {
    let (mut low, mut high) = (before.div_euclid(MICROS_A_SECOND), after.div_euclid(MICROS_A_SECOND));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle * MICROS_A_SECOND)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    high.checked_mul(MICROS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::unit;

    const HOUR: i64 = 60 * MICROS_A_MINUTE;

    fn calendar(zone: &str) -> Calendar {
        Calendar { timezone: zone.parse().unwrap(), week_start: Weekday::Mon }
    }

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn window(calendar: &Calendar, granularity: &str, instant: &str) -> (String, String) {
        let window = calendar.window_of(granularity.parse().unwrap(), at(instant)).unwrap();
        (local(calendar, window.start), local(calendar, window.end))
    }

    fn local(calendar: &Calendar, instant: i64) -> String {
        let instant = DateTime::from_timestamp_micros(instant).unwrap().with_timezone(&calendar.timezone);
        instant.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    #[track_caller]
    fn expect(calendar: &Calendar, granularity: &str, instant: &str, start: &str, end: &str) {
        assert_eq!(window(calendar, granularity, instant), (start.to_owned(), end.to_owned()));
    }

    #[test]
    fn cuts_by_the_calendar() {
        let utc = calendar("UTC");
        let now = "2024-02-29T13:47:12Z";
        expect(&utc, "5 minutes", now, "2024-02-29T13:45:00+00:00", "2024-02-29T13:50:00+00:00");
        expect(&utc, "6 hours", now, "2024-02-29T12:00:00+00:00", "2024-02-29T18:00:00+00:00");
        expect(&utc, "1 day", now, "2024-02-29T00:00:00+00:00", "2024-03-01T00:00:00+00:00");
        expect(&utc, "1 week", now, "2024-02-26T00:00:00+00:00", "2024-03-04T00:00:00+00:00");
        expect(&utc, "1 month", now, "2024-02-01T00:00:00+00:00", "2024-03-01T00:00:00+00:00");
        expect(&utc, "3 months", now, "2024-01-01T00:00:00+00:00", "2024-04-01T00:00:00+00:00");
        expect(&utc, "1 year", now, "2024-01-01T00:00:00+00:00", "2025-01-01T00:00:00+00:00");
        expect(&utc, "10 years", now, "2020-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00");
        let before = "1969-12-31T23:59:59Z";
        expect(&utc, "1 day", before, "1969-12-31T00:00:00+00:00", "1970-01-01T00:00:00+00:00");
        expect(&utc, "2 days", before, "1969-12-30T00:00:00+00:00", "1970-01-01T00:00:00+00:00");
        expect(&utc, "2 years", "0001-06-01T00:00:00Z", "0000-01-01T00:00:00+00:00", "0002-01-01T00:00:00+00:00");
    }

    #[test]
    fn half_hour_zones_cut_hours_on_their_own_clock() {
        let kolkata = calendar("Asia/Kolkata");
        let now = "2024-05-01T00:10:00Z";
        expect(&kolkata, "1 hour", now, "2024-05-01T05:00:00+05:30", "2024-05-01T06:00:00+05:30");
        expect(&kolkata, "1 day", now, "2024-05-01T00:00:00+05:30", "2024-05-02T00:00:00+05:30");
    }

    #[test]
    fn weeks_begin_on_the_configured_day() {
        for week_start in
            [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun]
        {
            let calendar = Calendar { timezone: Tz::UTC, week_start };
            let first = calendar.window_of(Granularity::Weeks(1), at("1970-01-05T12:00:00Z")).unwrap();
            assert!(first.contains(at("1970-01-05T00:00:00Z")));
            assert_eq!(DateTime::from_timestamp_micros(first.start).unwrap().weekday(), week_start);
            for weeks in [2, 3, 4] {
                let longer = calendar.window_of(Granularity::Weeks(weeks), at("1970-01-05T12:00:00Z")).unwrap();
                assert_eq!(longer.start, first.start, "counted from the week that holds 1970-01-05");
                assert_eq!(longer.end - longer.start, i64::from(weeks) * 7 * MICROS_A_DAY);
            }
        }
    }

    #[test]
    fn days_have_23_or_25_hours_when_the_clocks_change() {
        let berlin = calendar("Europe/Berlin");
        expect(&berlin, "1 day", "2024-03-31T12:00:00Z", "2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00");
        expect(&berlin, "1 day", "2024-10-27T12:00:00Z", "2024-10-27T00:00:00+02:00", "2024-10-28T00:00:00+01:00");
        // Hours are real ones: 02:00 comes twice.
        expect(&berlin, "1 hour", "2024-10-27T00:30:00Z", "2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00");
        expect(&berlin, "1 hour", "2024-10-27T01:30:00Z", "2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00");
        // Longer windows follow the wall clock: the two hours have three.
        expect(&berlin, "2 hours", "2024-10-27T01:30:00Z", "2024-10-27T02:00:00+02:00", "2024-10-27T04:00:00+01:00");
        expect(&berlin, "2 hours", "2024-03-31T01:30:00Z", "2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00");
    }

    #[test]
    fn an_hour_is_cut_where_the_clocks_go_by_half_an_hour() {
        let lord_howe = calendar("Australia/Lord_Howe");
        expect(&lord_howe, "1 hour", "2024-04-06T15:15:00Z", "2024-04-07T01:30:00+10:30", "2024-04-07T02:00:00+10:30");
        expect(&lord_howe, "1 hour", "2024-10-05T15:40:00Z", "2024-10-06T02:30:00+11:00", "2024-10-06T03:00:00+11:00");
    }

    #[test]
    fn a_midnight_that_is_skipped_or_comes_twice() {
        // At midnight the clocks went to one o'clock.
        let sao_paulo = calendar("America/Sao_Paulo");
        expect(&sao_paulo, "1 day", "2018-11-04T12:00:00Z", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00");
        // One minute after midnight they went back to 23:01 of the day before, which is part of the day begun.
        let toronto = calendar("America/St_Johns");
        expect(&toronto, "1 day", "2006-10-29T03:00:00Z", "2006-10-29T00:00:00-02:30", "2006-10-30T00:00:00-03:30");
    }

    #[test]
    fn a_day_that_was_skipped_does_not_exist() {
        let apia = calendar("Pacific/Apia");
        let day = Granularity::Days(1);
        let last = apia.window_of(day, at("2011-12-30T09:59:59Z")).unwrap();
        let next = apia.window_of(day, at("2011-12-30T10:00:00Z")).unwrap();
        assert_eq!(local(&apia, last.start), "2011-12-29T00:00:00-10:00");
        assert_eq!(local(&apia, next.start), "2011-12-31T00:00:00+14:00");
        assert_eq!(last.end, next.start);
        assert_eq!(apia.previous(day, &next), Some(last));
    }

    #[test]
    fn far_away_is_none_and_never_a_panic() {
        let granularities = ["1 minute", "5 hours", "1 day", "4 weeks", "6 months", "100 years"];
        for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
            for granularity in granularities.map(|text| text.parse().unwrap()) {
                for instant in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
                    assert_eq!(calendar(zone).window_of(granularity, instant), None);
                }
                for instant in (i64::MIN / 4096..i64::MAX / 4096).step_by(1 << 42).map(|step| step * 4096) {
                    let window = calendar(zone).window_of(granularity, instant);
                    assert!(window.is_none_or(|window| window.contains(instant)));
                }
            }
        }
        for granularity in [
            Granularity::Minutes,
            Granularity::Hours,
            Granularity::Days,
            Granularity::Weeks,
            Granularity::Months,
            Granularity::Years,
        ] {
            for count in [0, 5, u32::MAX] {
                let window = calendar("Europe/Berlin").window_of(granularity(count), 0);
                assert!(window.is_none_or(|window| window.contains(0)), "{:?}", granularity(count));
            }
        }
    }

    /// Instants all over the clock changes of two centuries, and any in between.
    fn instants(calendar: &Calendar) -> Vec<i64> {
        let (from, to) = (at("1880-01-01T00:00:00Z"), at("2080-01-01T00:00:00Z"));
        let mut instants = Vec::new();
        let mut before = calendar.offset_at(from).unwrap();
        for day in (from..to).step_by(usize::try_from(MICROS_A_DAY).unwrap()) {
            let offset = calendar.offset_at(day).unwrap();
            if offset != before {
                let change =
                    first_second(day - MICROS_A_DAY, day, |at| Some(calendar.offset_at(at)? == offset)).unwrap();
                instants.extend((-12..12).map(|step| change + step * 37 * MICROS_A_MINUTE));
                instants.extend([change - 1, change, change + 1, change + HOUR - 1, change - HOUR]);
            }
            before = offset;
        }
        // splitmix64: any instants will do, but the same each time.
        let mut state = 0x5eed_u64;
        instants.extend((0..1_000).map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            from + ((mixed ^ (mixed >> 31)) >> 1).cast_signed().rem_euclid(to - from)
        }));
        instants
    }

    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Pacific/Apia",
        "America/St_Johns",
        "America/Sao_Paulo",
        "Asia/Beirut",
    ];

    #[test]
    fn every_instant_lies_in_exactly_one_window() {
        let granularities = [
            "1 minute",
            "7 minutes",
            "30 minutes",
            "45 minutes",
            "1 hour",
            "90 minutes",
            "2 hours",
            "5 hours",
            "36 hours",
            "1 day",
            "3 days",
            "1 week",
            "4 weeks",
            "1 month",
            "6 months",
            "1 year",
            "2 years",
        ];
        for zone in ZONES {
            let calendar = calendar(zone);
            let instants = instants(&calendar);
            for granularity in granularities.map(|text| text.parse().unwrap()) {
                for &instant in &instants {
                    let window = calendar.window_of(granularity, instant).unwrap();
                    assert!(window.contains(instant), "{zone} {granularity} {instant}: {window:?}");
                    assert_eq!(calendar.window_of(granularity, window.start), Some(window), "{zone} {granularity}");
                    assert_eq!(calendar.window_of(granularity, window.end - 1), Some(window), "{zone} {granularity}");
                    let next = calendar.window_of(granularity, window.end).unwrap();
                    assert_eq!(next.start, window.end, "{zone} {granularity}");
                    assert_eq!(calendar.previous(granularity, &next), Some(window), "{zone} {granularity}");
                }
            }
        }
    }

    #[test]
    fn a_unit_window_lies_within_one_window_of_each_length() {
        let sets = [
            &["5 minutes", "1 hour", "1 day"][..],
            &["30 minutes", "45 minutes", "1 week"],
            &["7 minutes", "1 day"],
            &["2 hours", "3 hours"],
            &["4 hours", "6 hours", "1 month"],
            &["36 hours", "1 year"],
            &["1 day", "2 weeks", "3 months"],
            &["90 minutes"],
        ];
        for zone in ZONES {
            let calendar = calendar(zone);
            let instants = instants(&calendar);
            for set in sets {
                let set: Vec<Granularity> = set.iter().map(|text| text.parse().unwrap()).collect();
                for &instant in &instants {
                    let inner = calendar.window_of(unit(&set), instant).unwrap();
                    for &granularity in &set {
                        let outer = calendar.window_of(granularity, instant).unwrap();
                        assert!(
                            outer.start <= inner.start && inner.end <= outer.end,
                            "{zone}: {} at {instant} is not within {granularity}",
                            unit(&set)
                        );
                    }
                }
            }
        }
    }
}

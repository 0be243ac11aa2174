//! Where windows are cut: a time zone, the time of day that days begin at, the day that weeks begin on, and the rules
//! between them.
//!
//! Windows of up to an hour are steps of real time, counted on the wall clock of the offset in force: an hour that
//! the clocks go back over is two windows. Longer ones end where the wall clock first shows their end: a wall time
//! that is skipped counts as the instant after the gap, one that comes twice as the first time. So a day has 23 or
//! 25 hours when the clocks change, and a window that the clocks skip altogether does not exist.
//!
//! With an offset everything is counted from that time of day instead of midnight: a day from six to six, a month from
//! the first at six, and an hour from the offset's minutes on, so that it still lies within one day.
//!
//! Sliding windows are so many steps in a row, and steps are windows as above. One begins with each step.

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Weekday,
};
use chrono_tz::Tz;

use super::granularity::Granularity;

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_MINUTE: i64 = 60 * MICROS_A_SECOND;
pub(crate) const MICROS_A_DAY: i64 = 24 * 60 * MICROS_A_MINUTE;

/// The longest windows that are steps of real time.
const LONGEST_STEP_MINUTES: u64 = 60;

/// A time zone, the day that weeks begin on, and the time that days begin at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// Days begin at its midnight, or later by the offset.
    pub timezone: Tz,
    /// The first day of a week.
    pub week_start: Weekday,
    /// How long after midnight days begin on the wall clock, in minutes; less than a day.
    pub offset_minutes: u16,
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
    /// The window that holds an instant, in microseconds since the epoch, UTC; of sliding ones, which overlap, the last
    /// to begin. `None` only for instants whose window is not within the years that `chrono` knows, some 262,000 either
    /// way.
    #[must_use]
    pub fn window_of(&self, granularity: Granularity, instant: i64) -> Option<Window> {
        let every = granularity.every();
        let mut window = self.step(every, instant)?;
        for _ in 1..granularity.steps() {
            window.end = self.step(every, window.end)?.end;
        }
        Some(window)
    }

    /// All windows that hold an instant, by their start. None where [`Self::window_of`] has none.
    pub fn windows_of(&self, granularity: Granularity, instant: i64) -> impl Iterator<Item = Window> + use<> {
        self.overlapping(granularity, instant).unwrap_or_default().into_iter()
    }

    fn overlapping(&self, granularity: Granularity, instant: i64) -> Option<Vec<Window>> {
        let steps = usize::try_from(granularity.steps()).ok()?;
        let every = granularity.every();
        let middle = self.step(every, instant)?;
        // The ends of the steps that any of them has.
        let mut borders = vec![middle.start];
        for _ in 1..steps {
            borders.push(self.step(every, borders.last()?.checked_sub(1)?)?.start);
        }
        borders.reverse();
        borders.push(middle.end);
        for _ in 1..steps {
            borders.push(self.step(every, *borders.last()?)?.end);
        }
        Some(borders.iter().zip(borders.get(steps..)?).map(|(&start, &end)| Window { start, end }).collect())
    }

    /// The window that ends where this one starts, which is not always one length away: days that the clocks skipped
    /// do not exist. Sliding windows have others between the two, which overlap both.
    #[must_use]
    pub fn previous(&self, granularity: Granularity, window: &Window) -> Option<Window> {
        let mut start = window.start;
        for _ in 0..granularity.steps() {
            start = self.step(granularity.every(), start.checked_sub(1)?)?.start;
        }
        Some(Window { start, end: window.start })
    }

    /// The window that began one step earlier: where windows follow each other, the one before.
    #[must_use]
    pub fn step_before(&self, granularity: Granularity, window: &Window) -> Option<Window> {
        self.window_of(granularity, window.start.checked_sub(1)?)
    }

    /// The window of a length that does not slide.
    fn step(&self, length: Granularity, instant: i64) -> Option<Window> {
        match length.minutes() {
            Some(minutes) if minutes <= LONGEST_STEP_MINUTES => self.step_of(minutes, instant),
            _ => self.wall_window_of(length, instant),
        }
    }

    /// How long after midnight days begin.
    fn day_start(&self) -> i64 {
        i64::from(self.offset_minutes) * MICROS_A_MINUTE
    }

    fn step_of(&self, minutes: u64, instant: i64) -> Option<Window> {
        let length = i64::try_from(minutes).ok()?.checked_mul(MICROS_A_MINUTE)?;
        let offset = self.offset_at(instant)?;
        let wall = instant.checked_add(offset)?;
        let since = wall.checked_sub(self.day_start())?.rem_euclid(length);
        let mut start = wall.checked_sub(since)?.checked_sub(offset)?;
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

    fn grid(&self, length: Granularity) -> Option<Grid> {
        let days = |count: i64| count.checked_mul(MICROS_A_DAY);
        let day_start = self.day_start();
        Some(match length.every() {
            Granularity::Minutes(_) | Granularity::Hours(_) => {
                let minutes = i64::try_from(length.minutes()?).ok()?;
                Grid::Fixed { origin: day_start, length: minutes.checked_mul(MICROS_A_MINUTE)? }
            }
            Granularity::Days(count) => Grid::Fixed { origin: day_start, length: days(count.max(1).into())? },
            Granularity::Weeks(count) => {
                // Weeks are counted from the one that holds 1970-01-05, a Monday.
                let origin = 4 - i64::from(Weekday::Mon.days_since(self.week_start));
                let origin = days(origin)?.checked_add(day_start)?;
                Grid::Fixed { origin, length: days(7 * i64::from(count.max(1)))? }
            }
            Granularity::Months(count) => Grid::Months { day_start, count: count.max(1).into() },
            Granularity::Years(count) => Grid::Months { day_start, count: 12 * i64::from(count.max(1)) },
            // A step never slides itself.
            Granularity::Sliding(_) => return None,
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
    /// On the first of every so many months from January of the year 0 on, so long after midnight.
    Months { day_start: i64, count: i64 },
}

impl Grid {
    fn index_of(&self, wall: i64) -> Option<i64> {
        match self {
            Self::Fixed { origin, length } => Some(wall.checked_sub(*origin)?.div_euclid(*length)),
            Self::Months { day_start, count } => {
                let date = DateTime::from_timestamp_micros(wall.checked_sub(*day_start)?)?;
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
            Self::Months { day_start, count } => {
                let month = index.checked_mul(*count)?;
                let year = i32::try_from(month.div_euclid(12)).ok()?;
                let month0 = u32::try_from(month.rem_euclid(12)).ok()?;
                let midnight = NaiveDate::from_ymd_opt(year, month0 + 1, 1)?.and_time(NaiveTime::MIN);
                midnight.checked_add_signed(TimeDelta::microseconds(*day_start))
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
mod tests;

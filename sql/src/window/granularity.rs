//! The lengths that windows can have.

use std::fmt;
use std::str::FromStr;

const MINUTES_AN_HOUR: u64 = 60;
const MINUTES_A_DAY: u64 = 24 * MINUTES_AN_HOUR;

/// The length of a window, and how often one begins.
///
/// Text is read in one form for each length: `60 minutes` is `1 hour`, `24 hours` is `1 day` and `12 months` is
/// `1 year`, since they are cut at the same instants. `7 days` is not `1 week`: days are counted from 1970-01-01,
/// weeks from the day that the calendar begins them on.
///
/// Windows follow each other, or slide: `7 days every 1 day` is a window of seven days in a row that begins every day.
/// A sliding length is a multiple of its step and is told in the step's unit: `1 day every 1 hour` is
/// `24 hours every 1 hour`, of which a day that the clocks change on may have one more or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// Minutes.
    Minutes(u32),
    /// Hours.
    Hours(u32),
    /// Days in the calendar's time zone, of 23 to 25 hours.
    Days(u32),
    /// Weeks that begin on the calendar's day.
    Weeks(u32),
    /// Calendar months; as read from text their number divides 12.
    Months(u32),
    /// Calendar years, counted from the year 0, so that ten of them are a decade.
    Years(u32),
    /// Windows that overlap.
    Sliding(Sliding),
}

/// Windows of so many steps, of which one begins with each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sliding {
    unit: Unit,
    /// The length of a step, in units.
    every: u32,
    /// The steps of a window, at least two.
    steps: u32,
}

/// What lengths are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

/// The most steps of a sliding window: every state is merged into as many windows.
const MOST_STEPS: u32 = 366;

impl Unit {
    const fn of(self, count: u32) -> Granularity {
        match self {
            Self::Minutes => Granularity::Minutes(count),
            Self::Hours => Granularity::Hours(count),
            Self::Days => Granularity::Days(count),
            Self::Weeks => Granularity::Weeks(count),
            Self::Months => Granularity::Months(count),
            Self::Years => Granularity::Years(count),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Days => "days",
            Self::Weeks => "weeks",
            Self::Months => "months",
            Self::Years => "years",
        }
    }

    /// The greatest number of it: up to a year of what has a fixed length, and a century at most.
    const fn most(self) -> u32 {
        match self {
            Self::Minutes => 527_040,
            Self::Hours => 8_784,
            Self::Days => 366,
            Self::Weeks => 52,
            Self::Months => 12,
            Self::Years => 100,
        }
    }

    /// Its length in minutes or, the second time, in months; units of the one are no multiples of those of the other.
    const fn base(self) -> (u64, bool) {
        match self {
            Self::Minutes => (1, false),
            Self::Hours => (MINUTES_AN_HOUR, false),
            Self::Days => (MINUTES_A_DAY, false),
            Self::Weeks => (7 * MINUTES_A_DAY, false),
            Self::Months => (1, true),
            Self::Years => (12, true),
        }
    }
}

/// A text that is no granularity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseGranularityError {
    /// Not a number and a unit.
    #[error(
        "{text:?} is not a granularity, write a number and minutes, hours, days, weeks, months or years, such as \
         \"30 minutes\", \"1 day\", \"2 weeks\" or \"7 days every 1 day\""
    )]
    Unknown {
        /// What was read.
        text: String,
    },
    /// A number that the unit does not take.
    #[error("{text:?} is out of range, {unit} go from 1 to {most}")]
    OutOfRange {
        /// What was read.
        text: String,
        /// The unit.
        unit: &'static str,
        /// The greatest number of it.
        most: u32,
    },
    /// A number of months that does not divide the year.
    #[error("{text:?} does not divide a year, months come by 1, 2, 3, 4, 6 or 12")]
    Months {
        /// What was read.
        text: String,
    },
    /// A length that is no multiple of the step.
    #[error("{text:?}: the length of a window must be a multiple of its step, as in \"7 days every 1 day\"")]
    Multiple {
        /// What was read.
        text: String,
    },
    /// More steps than a window can have.
    #[error("{text:?} has {steps} steps, a window has {MOST_STEPS} at most")]
    Steps {
        /// What was read.
        text: String,
        /// How many it would be.
        steps: u64,
    },
}

impl Granularity {
    /// How often a window begins: for windows that follow each other, their length.
    #[must_use]
    pub const fn every(self) -> Self {
        match self {
            Self::Sliding(Sliding { unit, every, .. }) => unit.of(every),
            length => length,
        }
    }

    /// How many steps of [`Self::every`] a window has: for windows that follow each other, one.
    #[must_use]
    pub const fn steps(self) -> u32 {
        match self {
            Self::Sliding(Sliding { steps, .. }) => steps,
            _ => 1,
        }
    }

    /// The unit and how many of it a window has.
    const fn parts(self) -> (Unit, u32) {
        match self {
            Self::Minutes(count) => (Unit::Minutes, count),
            Self::Hours(count) => (Unit::Hours, count),
            Self::Days(count) => (Unit::Days, count),
            Self::Weeks(count) => (Unit::Weeks, count),
            Self::Months(count) => (Unit::Months, count),
            Self::Years(count) => (Unit::Years, count),
            Self::Sliding(Sliding { unit, every, steps }) => (unit, every.saturating_mul(steps)),
        }
    }

    /// The step, where it is cut without regard to days. A count of zero is taken for one.
    pub(super) fn minutes(self) -> Option<u64> {
        let (unit, count) = self.every().parts();
        let count = u64::from(count.max(1));
        match unit {
            Unit::Minutes => Some(count),
            Unit::Hours => Some(count * MINUTES_AN_HOUR),
            Unit::Days | Unit::Weeks | Unit::Months | Unit::Years => None,
        }
    }

    /// A length in microseconds that no window of this granularity exceeds, whatever the clocks do.
    #[must_use]
    pub fn longest(self) -> i64 {
        const MICROS_A_DAY: i64 = 86_400_000_000;
        let (unit, count) = self.parts();
        let days = match unit {
            Unit::Minutes | Unit::Hours => {
                let minutes = u64::from(count.max(1)) * unit.base().0;
                let steps = i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(60_000_000);
                // Longer ones follow the wall clock, which can stand still for a day.
                return if minutes <= MINUTES_AN_HOUR { steps } else { steps.saturating_add(MICROS_A_DAY) };
            }
            Unit::Days => 1,
            Unit::Weeks => 7,
            Unit::Months => 31,
            Unit::Years => 366,
        };
        let count = i64::from(count.max(1));
        (days * count + 1).saturating_mul(MICROS_A_DAY)
    }

    /// Of all granularities that are cut at the same instants, the one with the greatest unit.
    fn canonical(self) -> Self {
        match self {
            Self::Minutes(count) if count.is_multiple_of(60) => Self::Hours(count / 60).canonical(),
            Self::Hours(count) if count.is_multiple_of(24) => Self::Days(count / 24),
            Self::Months(12) => Self::Years(1),
            other => other,
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, count) = self.parts();
        let name = if count == 1 { unit.name().trim_end_matches('s') } else { unit.name() };
        write!(f, "{count} {name}")?;
        match self {
            Self::Sliding(_) => write!(f, " every {}", self.every()),
            _ => Ok(()),
        }
    }
}

impl FromStr for Granularity {
    type Err = ParseGranularityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseGranularityError::Unknown { text: text.to_owned() };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [number, unit] => read(number, unit, text),
            [number, unit, every, step_number, step_unit] if every.eq_ignore_ascii_case("every") => {
                let step = read(step_number, step_unit, text)?;
                let (unit, count) = read_parts(number, unit, text)?;
                slide((unit, count), step, text)
            }
            _ => Err(unknown()),
        }
    }
}

fn read(number: &str, unit: &str, text: &str) -> Result<Granularity, ParseGranularityError> {
    let (unit, count) = read_parts(number, unit, text)?;
    if unit == Unit::Months && !12_u32.is_multiple_of(count) {
        return Err(ParseGranularityError::Months { text: text.to_owned() });
    }
    Ok(unit.of(count).canonical())
}

fn read_parts(number: &str, unit: &str, text: &str) -> Result<(Unit, u32), ParseGranularityError> {
    let unknown = || ParseGranularityError::Unknown { text: text.to_owned() };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unknown());
    }
    let unit = unit.to_ascii_lowercase();
    let unit = match unit.strip_suffix('s').unwrap_or(&unit) {
        "minute" => Unit::Minutes,
        "hour" => Unit::Hours,
        "day" => Unit::Days,
        "week" => Unit::Weeks,
        "month" => Unit::Months,
        "year" => Unit::Years,
        _ => return Err(unknown()),
    };
    // Digits that do not fit are a number out of range like any other.
    let count = number.parse().unwrap_or(u32::MAX);
    if count == 0 || count > unit.most() {
        let (unit, most) = (unit.name(), unit.most());
        return Err(ParseGranularityError::OutOfRange { text: text.to_owned(), unit, most });
    }
    Ok((unit, count))
}

fn slide((unit, count): (Unit, u32), step: Granularity, text: &str) -> Result<Granularity, ParseGranularityError> {
    let (step_unit, every) = step.parts();
    let ((length, of_months), (of_step, step_of_months)) = (unit.base(), step_unit.base());
    let (length, of_step) = (length * u64::from(count), of_step * u64::from(every));
    if of_months != step_of_months || !length.is_multiple_of(of_step) {
        return Err(ParseGranularityError::Multiple { text: text.to_owned() });
    }
    let steps = length / of_step;
    match u32::try_from(steps) {
        Ok(1) => Ok(step),
        Ok(steps) if steps <= MOST_STEPS => Ok(Granularity::Sliding(Sliding { unit: step_unit, every, steps })),
        _ => Err(ParseGranularityError::Steps { text: text.to_owned(), steps }),
    }
}

/// The largest length that divides every one of `granularities`, or its step if it slides, and is never coarser than a
/// day: each of its windows lies within, or outside of, every window of each of them.
#[must_use]
pub fn unit(granularities: &[Granularity]) -> Granularity {
    let minutes = granularities
        .iter()
        .map(|granularity| granularity.minutes().unwrap_or(MINUTES_A_DAY))
        .fold(0, greatest_common_divisor);
    let minutes =
        if (1..=MINUTES_A_DAY).contains(&minutes) { minutes } else { greatest_common_divisor(minutes, MINUTES_A_DAY) };
    u32::try_from(minutes).map_or(Granularity::Days(1), |minutes| Granularity::Minutes(minutes).canonical())
}

const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Granularity {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_writes_one_form() {
        for (text, granularity, shown) in [
            ("5 minutes", Granularity::Minutes(5), "5 minutes"),
            ("1 minute", Granularity::Minutes(1), "1 minute"),
            ("30 Minutes", Granularity::Minutes(30), "30 minutes"),
            ("1 minutes", Granularity::Minutes(1), "1 minute"),
            ("90 minutes", Granularity::Minutes(90), "90 minutes"),
            ("60 minutes", Granularity::Hours(1), "1 hour"),
            ("1 HOUR", Granularity::Hours(1), "1 hour"),
            ("36 hours", Granularity::Hours(36), "36 hours"),
            ("48 hours", Granularity::Days(2), "2 days"),
            ("1440 minutes", Granularity::Days(1), "1 day"),
            (" 1  day ", Granularity::Days(1), "1 day"),
            ("7 days", Granularity::Days(7), "7 days"),
            ("1 week", Granularity::Weeks(1), "1 week"),
            ("2 week", Granularity::Weeks(2), "2 weeks"),
            ("3 months", Granularity::Months(3), "3 months"),
            ("12 months", Granularity::Years(1), "1 year"),
            ("10 years", Granularity::Years(10), "10 years"),
            ("1 day every 24 hours", Granularity::Days(1), "1 day"),
            ("7 days every 1 week", Granularity::Weeks(1), "1 week"),
        ] {
            assert_eq!(read(text), granularity, "{text}");
            assert_eq!(granularity.to_string(), shown);
            assert_eq!(read(shown), granularity);
        }
    }

    #[test]
    fn a_sliding_length_is_told_in_the_unit_of_its_step() {
        for (text, every, steps, shown) in [
            ("7 days every 1 day", "1 day", 7, "7 days every 1 day"),
            ("1 week EVERY 1 days", "1 day", 7, "7 days every 1 day"),
            ("2 weeks every 1 week", "1 week", 2, "2 weeks every 1 week"),
            ("1 day every 60 minutes", "1 hour", 24, "24 hours every 1 hour"),
            ("60 minutes every 5 minutes", "5 minutes", 12, "60 minutes every 5 minutes"),
            ("5 months every 1 month", "1 month", 5, "5 months every 1 month"),
            ("1 year every 3 months", "3 months", 4, "12 months every 3 months"),
            ("10 years every 2 years", "2 years", 5, "10 years every 2 years"),
        ] {
            let granularity = read(text);
            assert_eq!((granularity.every(), granularity.steps()), (read(every), steps), "{text}");
            assert_eq!(granularity.to_string(), shown);
            assert_eq!(read(shown), granularity);
        }
        let say = |text: &str| text.parse::<Granularity>().unwrap_err().to_string();
        for text in ["7 days every 2 days", "1 month every 1 day", "1 day every 1 week", "1 year every 1 week"] {
            assert!(say(text).contains("must be a multiple of its step"), "{}", say(text));
        }
        assert_eq!(say("1 day every 1 minute"), "\"1 day every 1 minute\" has 1440 steps, a window has 366 at most");
        assert!(say("7 days each 1 day").contains("is not a granularity"));
        assert!(say("10 months every 5 months").contains("does not divide a year"));
    }

    #[test]
    fn refuses_the_rest_and_says_what_it_takes() {
        let say = |text: &str| text.parse::<Granularity>().unwrap_err().to_string();
        for text in
            ["", "day", "1", "1day", "one day", "-1 day", "+1 day", "1.5 hours", "1 fortnight", "1 days old", "1 dayss"]
        {
            assert!(say(text).contains("is not a granularity, write a number and minutes"), "{}", say(text));
        }
        assert_eq!(say("0 days"), "\"0 days\" is out of range, days go from 1 to 366");
        assert_eq!(say("99999999999 minutes"), "\"99999999999 minutes\" is out of range, minutes go from 1 to 527040");
        assert_eq!(say("53 weeks"), "\"53 weeks\" is out of range, weeks go from 1 to 52");
        assert_eq!(say("13 months"), "\"13 months\" is out of range, months go from 1 to 12");
        assert_eq!(say("5 months"), "\"5 months\" does not divide a year, months come by 1, 2, 3, 4, 6 or 12");
    }

    #[test]
    fn the_unit_divides_all_and_is_at_most_a_day() {
        for (granularities, expected) in [
            (&["1 day"][..], "1 day"),
            (&["1 month", "2 weeks"], "1 day"),
            (&["5 minutes", "1 hour"], "5 minutes"),
            (&["30 minutes", "45 minutes"], "15 minutes"),
            (&["2 hours", "3 hours"], "1 hour"),
            (&["4 hours", "1 week"], "4 hours"),
            (&["7 minutes"], "7 minutes"),
            (&["7 minutes", "1 day"], "1 minute"),
            (&["7 hours", "1 year"], "1 hour"),
            (&["36 hours"], "12 hours"),
            (&["36 hours", "1 day"], "12 hours"),
            (&["1442 minutes"], "2 minutes"),
            (&["7 days every 1 day"], "1 day"),
            (&["1 day every 1 hour", "1 month"], "1 hour"),
            (&["90 minutes every 45 minutes", "1 week every 1 day"], "45 minutes"),
            (&["3 months every 1 month"], "1 day"),
            (&[], "1 day"),
        ] {
            let granularities: Vec<_> = granularities.iter().map(|text| read(text)).collect();
            assert_eq!(unit(&granularities), read(expected), "{granularities:?}");
        }
        assert_eq!(unit(&[Granularity::Minutes(0)]), Granularity::Minutes(1));
    }
}

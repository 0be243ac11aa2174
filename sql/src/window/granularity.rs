//! The lengths that windows can have.

use std::fmt;
use std::str::FromStr;

const MINUTES_AN_HOUR: u64 = 60;
const MINUTES_A_DAY: u64 = 24 * MINUTES_AN_HOUR;

/// The length of a window.
///
/// Text is read in one form for each length: `60 minutes` is `1 hour`, `24 hours` is `1 day` and `12 months` is
/// `1 year`, since they are cut at the same instants. `7 days` is not `1 week`: days are counted from 1970-01-01,
/// weeks from the day that the calendar begins them on.
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
}

/// A text that is no granularity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseGranularityError {
    /// Not a number and a unit.
    #[error(
        "{text:?} is not a granularity, write a number and minutes, hours, days, weeks, months or years, such as \
         \"30 minutes\", \"1 day\" or \"2 weeks\""
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
}

impl Granularity {
    /// The unit's name in the plural, and the number of it.
    const fn parts(self) -> (&'static str, u32) {
        match self {
            Self::Minutes(count) => ("minutes", count),
            Self::Hours(count) => ("hours", count),
            Self::Days(count) => ("days", count),
            Self::Weeks(count) => ("weeks", count),
            Self::Months(count) => ("months", count),
            Self::Years(count) => ("years", count),
        }
    }

    /// The length, where it is cut without regard to days. A count of zero is taken for one.
    pub(super) fn minutes(self) -> Option<u64> {
        let (_, count) = self.parts();
        let count = u64::from(count.max(1));
        match self {
            Self::Minutes(_) => Some(count),
            Self::Hours(_) => Some(count * MINUTES_AN_HOUR),
            Self::Days(_) | Self::Weeks(_) | Self::Months(_) | Self::Years(_) => None,
        }
    }

    /// A length in microseconds that no window of this granularity exceeds, whatever the clocks do.
    #[must_use]
    pub fn longest(self) -> i64 {
        const MICROS_A_DAY: i64 = 86_400_000_000;
        let count = i64::from(self.parts().1.max(1));
        let days = match self {
            Self::Minutes(_) | Self::Hours(_) => {
                let minutes = self.minutes().unwrap_or(MINUTES_A_DAY);
                let steps = i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(60_000_000);
                // Longer ones follow the wall clock, which can stand still for a day.
                return if minutes <= MINUTES_AN_HOUR { steps } else { steps.saturating_add(MICROS_A_DAY) };
            }
            Self::Days(_) => 1,
            Self::Weeks(_) => 7,
            Self::Months(_) => 31,
            Self::Years(_) => 366,
        };
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
        let unit = if count == 1 { unit.trim_end_matches('s') } else { unit };
        write!(f, "{count} {unit}")
    }
}

impl FromStr for Granularity {
    type Err = ParseGranularityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseGranularityError::Unknown { text: text.to_owned() };
        let mut words = text.split_whitespace();
        let (Some(number), Some(unit), None) = (words.next(), words.next(), words.next()) else {
            return Err(unknown());
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unknown());
        }
        let unit = unit.to_ascii_lowercase();
        // Up to a year of what has a fixed length, and a century at most.
        let (make, most): (fn(u32) -> Self, u32) = match unit.strip_suffix('s').unwrap_or(&unit) {
            "minute" => (Self::Minutes, 527_040),
            "hour" => (Self::Hours, 8_784),
            "day" => (Self::Days, 366),
            "week" => (Self::Weeks, 52),
            "month" => (Self::Months, 12),
            "year" => (Self::Years, 100),
            _ => return Err(unknown()),
        };
        // Digits that do not fit are a number out of range like any other.
        let count = number.parse().unwrap_or(u32::MAX);
        if count == 0 || count > most {
            let (unit, _) = make(count).parts();
            return Err(ParseGranularityError::OutOfRange { text: text.to_owned(), unit, most });
        }
        if unit.starts_with("month") && !12_u32.is_multiple_of(count) {
            return Err(ParseGranularityError::Months { text: text.to_owned() });
        }
        Ok(make(count).canonical())
    }
}

/// The largest length that divides every one of `granularities` and is never coarser than a day: each of its windows
/// lies within one window of each of them.
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
        ] {
            assert_eq!(read(text), granularity, "{text}");
            assert_eq!(granularity.to_string(), shown);
            assert_eq!(read(shown), granularity);
        }
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
            (&[], "1 day"),
        ] {
            let granularities: Vec<_> = granularities.iter().map(|text| read(text)).collect();
            assert_eq!(unit(&granularities), read(expected), "{granularities:?}");
        }
        assert_eq!(unit(&[Granularity::Minutes(0)]), Granularity::Minutes(1));
    }
}

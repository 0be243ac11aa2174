//! Numbers, times and names as a reader of an alert sees them.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::config::Condition;

/// `value` with `digits` significant digits, thousands grouped; whole numbers in full.
pub(super) fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = exponent_of(value);
    if !(-4..15).contains(&exponent) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    if value.fract() == 0.0 {
        return group(&format!("{value:.0}"));
    }
    let digits = i32::try_from(digits).unwrap_or(i32::MAX);
    let decimals = usize::try_from(digits.saturating_sub(1 + exponent)).unwrap_or(0);
    let fixed = format!("{value:.decimals$}");
    let trimmed = if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.') } else { &fixed };
    group(trimmed)
}

/// A count in full, thousands grouped.
pub(super) fn whole(count: i64) -> String {
    group(&count.to_string())
}

/// `value` with as many digits, from `digits` on, as show on which side of the limit it is.
pub(super) fn telling(value: f64, condition: Condition, digits: usize) -> String {
    if value.is_finite() {
        for digits in digits..17 {
            let rounded = format!("{value:.*e}", digits.saturating_sub(1)).parse();
            if rounded.is_ok_and(|rounded| sides(rounded, condition) == sides(value, condition)) {
                return number(value, digits);
            }
        }
    }
    value.to_string()
}

/// On which sides of the limits a value lies.
fn sides(value: f64, condition: Condition) -> [Option<std::cmp::Ordering>; 2] {
    match condition {
        Condition::Above(limit) | Condition::Below(limit) => [value.partial_cmp(&limit), None],
        Condition::Outside(low, high) => [value.partial_cmp(&low), value.partial_cmp(&high)],
        // The value is not what is compared with the limit.
        Condition::ChangeAbove(_) => [None, None],
    }
}

/// An error bound with two digits, rounded up so that it stays a bound.
pub(super) fn bound(error: f64) -> String {
    if !error.is_finite() || error <= 0.0 {
        return number(error, 2);
    }
    let exponent = exponent_of(error);
    // 10..=99, and one more where the rounding went down.
    let unit = format!("1e{}", exponent - 1).parse().unwrap_or(1.0);
    let mut tenths = (error / unit).round();
    let shown = |tenths: f64| format!("{tenths:.0}e{}", exponent - 1).parse().unwrap_or(error);
    if shown(tenths) < error {
        tenths += 1.0;
    }
    number(shown(tenths), 2)
}

/// A share as a percentage with one decimal; what is there but too little to show reads `<0.1`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.05 { "<0.1".to_owned() } else { format!("{percent:.1}") }
}

/// A moment in the monitor's time zone, with the zone's abbreviation (clocks go back once a year).
pub(super) fn moment(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string()
}

/// A window in few words: `week of 2013-12-23`, `2013-12`, `5 minutes from …`.
pub(super) fn window(granularity: &str, start: DateTime<Utc>, zone: Tz) -> String {
    let local = start.with_timezone(&zone);
    let (count, unit) = granularity.split_once(' ').unwrap_or(("", ""));
    match (count, unit.trim_end_matches('s')) {
        ("1", "week") => format!("week of {}", local.format("%Y-%m-%d")),
        ("1", "day") => local.format("%Y-%m-%d").to_string(),
        ("1", "month") => local.format("%Y-%m").to_string(),
        ("1", "year") => local.format("%Y").to_string(),
        (_, "day" | "week" | "month" | "year") => {
            format!("{granularity} from {}", local.format("%Y-%m-%d"))
        }
        (_, "minute" | "hour") => format!("{granularity} from {}", moment(start, zone)),
        _ => moment(start, zone),
    }
}

/// The decimal exponent of a finite number other than 0.
fn exponent_of(value: f64) -> i32 {
    let text = format!("{value:e}");
    text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// Puts a comma between groups of three digits before the decimal point.
fn group(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (number, String::new()),
    };
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, digits, shown) in [
            (0.431_234, 4, "0.4312"),
            (0.431_234, 2, "0.43"),
            (27_004.0, 4, "27,004"),
            (-1_234_567.89, 4, "-1,234,568"),
            (1.5, 4, "1.5"),
            (999.96, 4, "1,000"),
            (0.000_012_34, 3, "1.23e-5"),
            (1e18, 2, "1.0e18"),
            (0.0, 4, "0"),
            (-0.0, 4, "0"),
            (f64::NAN, 4, "NaN"),
            (f64::INFINITY, 4, "inf"),
        ] {
            assert_eq!(number(value, digits), shown, "{value}");
        }
    }

    #[test]
    fn a_value_is_shown_on_its_own_side_of_the_limit() {
        assert_eq!(telling(0.2004, Condition::Above(0.2), 2), "0.2004");
        assert_eq!(telling(0.43, Condition::Above(0.2), 2), "0.43");
        assert_eq!(telling(0.9996, Condition::Below(1.0), 2), "0.9996");
        assert_eq!(telling(1.0004, Condition::Outside(0.0, 1.0), 2), "1.0004");
        assert_eq!(telling(0.2004, Condition::ChangeAbove(0.2), 2), "0.2");
        assert_eq!(telling(f64::INFINITY, Condition::Above(0.2), 2), "inf");
    }

    #[test]
    fn a_bound_is_rounded_up() {
        for (error, shown) in [(0.001_01, "0.0011"), (0.001, "0.001"), (0.099_1, "0.1"), (12.01, "13"), (0.0, "0")] {
            assert_eq!(bound(error), shown, "{error}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(percent(0.1234), "12.3");
        assert_eq!(percent(0.0001), "<0.1");
        assert_eq!(percent(0.0), "0.0");
    }

    #[test]
    fn windows_are_named_in_the_monitors_zone() {
        let zone = chrono_tz::America::New_York;
        let start = Utc.with_ymd_and_hms(2013, 12, 23, 5, 0, 0).unwrap();
        for (granularity, shown) in [
            ("1 week", "week of 2013-12-23"),
            ("1 day", "2013-12-23"),
            ("1 month", "2013-12"),
            ("1 year", "2013"),
            ("2 weeks", "2 weeks from 2013-12-23"),
            ("30 minutes", "30 minutes from 2013-12-23 00:00 EST"),
            ("", "2013-12-23 00:00 EST"),
        ] {
            assert_eq!(window(granularity, start, zone), shown);
        }
    }
}

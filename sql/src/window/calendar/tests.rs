//! Windows all over the clock changes of two centuries, and by hand.

use super::*;
use crate::window::unit;

const HOUR: i64 = 60 * MICROS_A_MINUTE;

fn calendar(zone: &str) -> Calendar {
    Calendar { timezone: zone.parse().unwrap(), week_start: Weekday::Mon, offset_minutes: 0 }
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
    for week_start in [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun]
    {
        let calendar = Calendar { timezone: Tz::UTC, week_start, offset_minutes: 0 };
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
            let change = first_second(day - MICROS_A_DAY, day, |at| Some(calendar.offset_at(at)? == offset)).unwrap();
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

/// None, and those that no step of an hour or less divides among them.
const OFFSETS: [u16; 4] = [0, 360, 437, 1439];

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
fn an_offset_moves_the_start_of_days_and_of_all_that_is_made_of_them() {
    let six = Calendar { offset_minutes: 6 * 60, ..calendar("Europe/Berlin") };
    let now = "2024-03-31T03:59:00Z"; // 05:59 on the day of the change.
    expect(&six, "1 day", now, "2024-03-30T06:00:00+01:00", "2024-03-31T06:00:00+02:00");
    expect(&six, "1 week", now, "2024-03-25T06:00:00+01:00", "2024-04-01T06:00:00+02:00");
    expect(&six, "1 month", "2024-04-01T03:59:59Z", "2024-03-01T06:00:00+01:00", "2024-04-01T06:00:00+02:00");
    expect(&six, "1 year", "2024-01-01T04:59:59Z", "2023-01-01T06:00:00+01:00", "2024-01-01T06:00:00+01:00");
    expect(&six, "12 hours", now, "2024-03-30T18:00:00+01:00", "2024-03-31T06:00:00+02:00");
    // A time of day that is skipped counts as the instant after the gap, one that comes twice as the first time.
    let half_past_two = Calendar { offset_minutes: 150, ..six };
    expect(&half_past_two, "1 day", now, "2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00");
    let repeated = "2024-10-27T01:00:00Z";
    expect(&half_past_two, "1 day", repeated, "2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00");
    // An hour lies within one day.
    expect(&half_past_two, "1 hour", now, "2024-03-31T05:30:00+02:00", "2024-03-31T06:30:00+02:00");
    expect(&half_past_two, "5 minutes", now, "2024-03-31T05:55:00+02:00", "2024-03-31T06:00:00+02:00");
}

#[test]
fn sliding_windows_begin_with_each_step_and_hold_so_many() {
    let berlin = calendar("Europe/Berlin");
    let week: Granularity = "7 days every 1 day".parse().unwrap();
    let now = at("2024-04-02T10:00:00Z");
    let windows: Vec<_> = berlin.windows_of(week, now).collect();
    let shown: Vec<_> = windows.iter().map(|w| (local(&berlin, w.start), local(&berlin, w.end))).collect();
    assert_eq!(shown.len(), 7);
    assert_eq!(shown[0], ("2024-03-27T00:00:00+01:00".to_owned(), "2024-04-03T00:00:00+02:00".to_owned()));
    assert_eq!(shown[6], ("2024-04-02T00:00:00+02:00".to_owned(), "2024-04-09T00:00:00+02:00".to_owned()));
    let before = berlin.previous(week, &windows[0]).unwrap();
    assert_eq!(local(&berlin, before.start), "2024-03-20T00:00:00+01:00");
    assert_eq!(before.end, windows[0].start, "no overlap");
    assert_eq!(berlin.step_before(week, &windows[1]), Some(windows[0]));
}

#[test]
fn sliding_windows_are_made_of_their_steps_in_every_zone() {
    for (zone, offset_minutes) in ZONES.into_iter().zip([0, 390].into_iter().cycle()) {
        let calendar = Calendar { offset_minutes, ..calendar(zone) };
        let instants = instants(&calendar);
        for text in [
            "60 minutes every 20 minutes",
            "24 hours every 1 hour",
            "6 hours every 2 hours",
            "3 days every 1 day",
            "2 weeks every 1 week",
            "5 months every 1 month",
        ] {
            let granularity: Granularity = text.parse().unwrap();
            let (every, steps) = (granularity.every(), granularity.steps() as usize);
            for &instant in instants.iter().step_by(7) {
                let windows: Vec<_> = calendar.windows_of(granularity, instant).collect();
                assert_eq!(windows.len(), steps, "{zone} {text} {instant}");
                assert_eq!(windows.last().copied(), calendar.window_of(granularity, instant));
                for (at, window) in windows.iter().enumerate() {
                    assert!(window.contains(instant), "{zone} {text} {instant}");
                    assert!(window.end - window.start <= granularity.longest(), "{zone} {text} {instant}");
                    assert_eq!(calendar.window_of(granularity, window.start), Some(*window));
                    // The steps partition it.
                    let mut end = window.start;
                    for _ in 0..steps {
                        let step = calendar.window_of(every, end).unwrap();
                        assert_eq!(step.start, end);
                        end = step.end;
                    }
                    assert_eq!(end, window.end);
                    let before = calendar.previous(granularity, window).unwrap();
                    assert_eq!(before.end, window.start);
                    assert_eq!(calendar.window_of(granularity, before.start), Some(before));
                    if at > 0 {
                        assert_eq!(calendar.step_before(granularity, window), Some(windows[at - 1]));
                    }
                }
            }
        }
    }
}

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
    for (zone, offset_minutes) in ZONES.into_iter().zip(OFFSETS.into_iter().cycle()) {
        let calendar = Calendar { offset_minutes, ..calendar(zone) };
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
        &["24 hours every 1 hour", "2 days"],
        &["90 minutes every 45 minutes", "3 months every 1 month"],
    ];
    for (zone, offset_minutes) in ZONES.into_iter().zip(OFFSETS.into_iter().cycle()) {
        let calendar = Calendar { offset_minutes, ..calendar(zone) };
        let instants = instants(&calendar);
        for set in sets {
            let set: Vec<Granularity> = set.iter().map(|text| text.parse().unwrap()).collect();
            for &instant in &instants {
                let inner = calendar.window_of(unit(&set), instant).unwrap();
                for &granularity in &set {
                    for outer in calendar.windows_of(granularity, instant) {
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

//! Which windows lie in one file: as many as are worth rewriting for one of them.

use limno_sql::window::{Granularity, Spans, Window};

/// Windows of a group.
const WINDOWS: i64 = 8;
/// The shortest time that a group holds: short windows would make too many files.
const SHORTEST: i64 = 4 * 3_600_000_000;

/// Windows of one length by groups, each with the windows that begin in one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    granularity: Granularity,
    length: i64,
}

impl Grouping {
    /// The groups of windows of this length.
    #[must_use]
    pub fn of(granularity: Granularity) -> Self {
        // One begins with each step.
        Self { granularity, length: granularity.every().longest().saturating_mul(WINDOWS).max(SHORTEST) }
    }

    /// The group of the window that starts then.
    #[must_use]
    pub const fn index(&self, start: i64) -> i64 {
        start.div_euclid(self.length)
    }

    /// The tag of a group's files. Windows of different lengths never share one.
    #[must_use]
    pub fn name(&self, index: i64) -> String {
        format!("{}/{index}", self.granularity)
    }

    /// The group that a tag names, if it is one of these.
    #[must_use]
    pub fn parse(&self, name: &str) -> Option<i64> {
        let (granularity, index) = name.rsplit_once('/')?;
        if granularity == self.granularity.to_string() { index.parse().ok() } else { None }
    }

    /// The time that the windows of a group can cover.
    #[must_use]
    pub fn extent(&self, index: i64) -> Window {
        let start = index.saturating_mul(self.length);
        Window { start, end: start.saturating_add(self.length).saturating_add(self.granularity.longest()) }
    }

    /// Whether a window of the group can lie in these spans.
    #[must_use]
    pub fn overlaps(&self, index: i64, spans: &Spans) -> bool {
        spans.overlaps(self.extent(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_one_group_of_one_length() {
        let (days, hours) = (Grouping::of(Granularity::Days(1)), Grouping::of(Granularity::Hours(1)));
        for index in [-3, 0, 2104] {
            assert_eq!(days.parse(&days.name(index)), Some(index));
            assert_eq!(hours.parse(&days.name(index)), None);
            assert!(days.extent(index).contains(index * days.length));
        }
        assert_eq!(days.parse("baseline"), None);
    }

    #[test]
    fn short_windows_share_a_group_of_some_hours() {
        let minutes = Grouping::of(Granularity::Minutes(5));
        let hour = 3_600_000_000;
        assert_eq!(minutes.index(0), minutes.index(4 * hour - 1));
        assert_ne!(minutes.index(0), minutes.index(4 * hour));
        assert_eq!(minutes.index(-1), -1);
    }

    #[test]
    fn groups_of_sliding_windows_are_as_many_steps_and_reach_as_far_as_the_last() {
        let (days, weeks) = (Grouping::of(Granularity::Days(1)), Grouping::of("7 days every 1 day".parse().unwrap()));
        let day = 86_400_000_000;
        assert_eq!(weeks.index(100 * day), days.index(100 * day));
        assert_eq!(weeks.parse(&weeks.name(5)), Some(5));
        assert_eq!((weeks.parse(&days.name(5)), days.parse(&weeks.name(5))), (None, None));
        let extent = weeks.extent(0);
        assert!(extent.contains(0) && extent.end >= days.length - 1 + 7 * day);
    }
}

//! Parts of time: which rows a refresh reads anew.

use super::Window;

/// Disjoint spans of time in order, and whether the rows without an instant belong to them.
///
/// Instants are microseconds since the epoch, UTC; a span holds its start and not its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans {
    spans: Vec<Window>,
    without_time: bool,
}

impl Spans {
    /// No time at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The rows that have no instant.
    #[must_use]
    pub fn without_time() -> Self {
        Self { spans: Vec::new(), without_time: true }
    }

    /// Whether nothing belongs to them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && !self.without_time
    }

    /// Whether rows without an instant belong to them.
    #[must_use]
    pub const fn has_rows_without_time(&self) -> bool {
        self.without_time
    }

    /// The spans, disjoint and in order; none touches the next.
    #[must_use]
    pub fn spans(&self) -> &[Window] {
        &self.spans
    }

    /// Adds a span; an empty one changes nothing.
    pub fn insert(&mut self, span: Window) {
        if span.start >= span.end {
            return;
        }
        let from = self.spans.partition_point(|other| other.end < span.start);
        let to = self.spans.partition_point(|other| other.start <= span.end);
        let mut joined = span;
        if let Some(touched) = self.spans.get(from..to)
            && let (Some(first), Some(last)) = (touched.first(), touched.last())
        {
            joined = Window { start: first.start.min(span.start), end: last.end.max(span.end) };
        }
        self.spans.splice(from..to, [joined]);
    }

    /// Adds the rows that have no instant.
    pub const fn insert_rows_without_time(&mut self) {
        self.without_time = true;
    }

    /// Adds all that belongs to `other`.
    pub fn extend(&mut self, other: &Self) {
        for &span in &other.spans {
            self.insert(span);
        }
        self.without_time |= other.without_time;
    }

    /// Whether the instant belongs to them; `None` asks for the rows without one.
    #[must_use]
    pub fn contains(&self, instant: Option<i64>) -> bool {
        let Some(instant) = instant else { return self.without_time };
        let after = self.spans.partition_point(|span| span.start <= instant);
        after.checked_sub(1).is_some_and(|at| instant < self.spans[at].end)
    }

    /// Whether any instant of `span` belongs to them.
    #[must_use]
    pub fn overlaps(&self, span: Window) -> bool {
        let at = self.spans.partition_point(|other| other.end <= span.start);
        self.spans.get(at).is_some_and(|other| other.start < span.end)
    }

    /// Whether anything belongs to both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        (self.without_time && other.without_time) || other.spans.iter().any(|&span| self.overlaps(span))
    }

    /// What of them is not before `from`, with the rows without an instant.
    #[must_use]
    pub fn since(&self, from: i64) -> Self {
        let mut since = Self { spans: Vec::new(), without_time: self.without_time };
        for span in &self.spans {
            since.insert(Window { start: span.start.max(from), end: span.end });
        }
        since
    }

    /// Whether all that belongs to `other` belongs to these.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let holds = |span: &Window| {
            let after = self.spans.partition_point(|own| own.start <= span.start);
            after.checked_sub(1).is_some_and(|at| span.end <= self.spans[at].end)
        };
        other.spans.iter().all(holds) && (self.without_time || !other.without_time)
    }

    /// Joins the spans that lie nearest to each other until at most `count` are left: a condition over thousands
    /// of spans costs more than to read what lies between them.
    pub fn coarsen(&mut self, count: usize) {
        while self.spans.len() > count.max(1) {
            let gap = |pair: &[Window]| pair[1].start.saturating_sub(pair[0].end);
            let Some(at) = (0..self.spans.len() - 1).min_by_key(|&at| gap(&self.spans[at..at + 2])) else { return };
            let end = self.spans.remove(at + 1).end;
            self.spans[at].end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(i64, i64)]) -> Spans {
        let mut spans = Spans::none();
        for &(start, end) in list {
            spans.insert(Window { start, end });
        }
        spans
    }

    fn ends(spans: &Spans) -> Vec<(i64, i64)> {
        spans.spans().iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn spans_that_touch_become_one() {
        assert_eq!(ends(&spans(&[(10, 20), (30, 40), (20, 30)])), [(10, 40)]);
        assert_eq!(ends(&spans(&[(30, 40), (10, 20), (5, 5), (1, 3)])), [(1, 3), (10, 20), (30, 40)]);
        assert_eq!(ends(&spans(&[(1, 3), (5, 7), (9, 11), (2, 10)])), [(1, 11)]);
        assert_eq!(ends(&spans(&[(2, 10), (3, 4)])), [(2, 10)]);
    }

    #[test]
    fn an_end_is_not_within() {
        let spans = spans(&[(10, 20), (30, 40)]);
        let within = |instant| spans.contains(Some(instant));
        assert!(!within(9) && within(10) && within(19) && !within(20) && !within(29) && within(39) && !within(40));
        assert!(!spans.contains(None) && Spans::without_time().contains(None));
        let overlaps = |start, end| spans.overlaps(Window { start, end });
        assert!(overlaps(0, 11) && !overlaps(0, 10) && !overlaps(20, 30) && overlaps(19, 20) && overlaps(0, 100));
    }

    #[test]
    fn one_covers_another_if_it_holds_all_of_it() {
        let ours = spans(&[(10, 20), (30, 40)]);
        assert!(
            ours.covers(&Spans::none())
                && ours.covers(&spans(&[(10, 20)]))
                && ours.covers(&spans(&[(31, 39), (12, 13)]))
        );
        assert!(
            !ours.covers(&spans(&[(10, 21)]))
                && !ours.covers(&spans(&[(25, 26)]))
                && !ours.covers(&Spans::without_time())
        );
    }

    #[test]
    fn the_smallest_gaps_go_first() {
        let mut spans = spans(&[(0, 1), (2, 3), (10, 11), (13, 14), (100, 101)]);
        spans.coarsen(3);
        assert_eq!(ends(&spans), [(0, 3), (10, 14), (100, 101)]);
        spans.coarsen(0);
        assert_eq!(ends(&spans), [(0, 101)]);
    }
}

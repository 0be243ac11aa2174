//! How large states become in memory, about: what decides how many are there at once.

use std::collections::BTreeMap;

use limno_metrics::quality::QualityOptions;
use limno_sql::plan::{Measure, MeasureOptions};

use crate::monitor::BoundMonitor;

/// The most bytes that the state of a bounded column takes.
const LARGEST_STATE: u64 = 72 * 1024;
/// The same while it is the list of its values, and so many rows are needed before it is none in any partition.
const LARGEST_LIST: u64 = 144 * 1024;
const ROWS_OF_LISTS: u64 = 1 << 18;
/// The same in order, where a bucket is four numbers.
const LARGEST_SORTED: u64 = 144 * 1024;
/// The least.
const SMALLEST_STATE: u64 = 1024;
/// Bytes of a state for each of its values while they are few.
pub(super) const BYTES_A_VALUE: u64 = 24;
/// States of one group that are in memory at once: those of the partitions, and the one that they are merged to.
pub(super) const COPIES: u64 = 3;
/// Numbers of a score's histogram, on both sides: buckets, or the list that it is at first.
const SCORE_BUCKETS: u64 = 2 * 16_384;
/// Bytes for each pair of classes that occurs.
const BYTES_A_PAIR: u64 = 48;
/// The most pairs that anybody has seen: of three hundred classes, each taken for each other.
const MOST_PAIRS: u64 = 90_000;
/// The description of a row that could not be parsed: its reason, and 200 characters of the text at fault.
const BYTES_AN_ITEM: u64 = 1024;

/// Bytes that a state over so many rows takes in memory, about.
pub(super) fn state_size(rows: u64, measure: &Measure) -> u64 {
    let of_values = SMALLEST_STATE.saturating_add(rows.saturating_mul(BYTES_A_VALUE));
    match &measure.options {
        // One that keeps every value, or nearly so.
        MeasureOptions::Column(_) if !is_bounded(measure) => of_values,
        MeasureOptions::Column(_) | MeasureOptions::Quality(QualityOptions::Regression) if rows < ROWS_OF_LISTS => {
            of_values.min(LARGEST_LIST)
        }
        MeasureOptions::Column(_) | MeasureOptions::Quality(QualityOptions::Regression) => of_values.min(LARGEST_STATE),
        MeasureOptions::Quality(options @ QualityOptions::Classification { .. }) => {
            let scores = options.score_arrays() as u64;
            // Of many classes each has fewer buckets; no row is in more than it has scores.
            let buckets = (scores * SCORE_BUCKETS).min(4 * 65_536 + scores * 128) * 8;
            let of_scores = buckets.min(rows.saturating_mul(scores).saturating_mul(BYTES_A_VALUE));
            SMALLEST_STATE + of_scores + rows.min(MOST_PAIRS) * BYTES_A_PAIR
        }
        MeasureOptions::Sample { limit } => SMALLEST_STATE + rows.min(u64::from(*limit)) * BYTES_AN_ITEM,
    }
}

/// The most bytes that the states of so many groups take together; `None` if they grow with their rows, of which nothing is
/// known.
pub(super) fn largest_of(measure: &Measure, rows: Option<u64>, groups: u64) -> Option<u64> {
    if is_bounded(measure) {
        return Some(groups.saturating_mul(LARGEST_LIST));
    }
    let of_rows = |rows: u64| state_size(rows, measure).saturating_add(groups.saturating_mul(SMALLEST_STATE));
    match &measure.options {
        MeasureOptions::Column(_) => rows.map(of_rows),
        MeasureOptions::Quality(_) | MeasureOptions::Sample { .. } => {
            Some(groups.saturating_mul(state_size(rows.unwrap_or(u64::MAX), measure)))
        }
    }
}

/// Bytes that the same state takes in order, as rows are made from it.
pub(super) fn sorted_size(rows: u64, measure: &Measure) -> u64 {
    let size = state_size(rows, measure).saturating_mul(2);
    if is_bounded(measure) { size.min(LARGEST_SORTED) } else { size }
}

/// Whether no more than some thousand values of a column are kept.
const fn is_bounded(measure: &Measure) -> bool {
    match &measure.options {
        MeasureOptions::Column(options) => options.max_buckets <= 4096 && options.exact_distinct <= 4096,
        MeasureOptions::Quality(_) | MeasureOptions::Sample { .. } => false,
    }
}

/// The states on which the row of a column hangs, of the column for which they can become largest.
pub(super) fn largest(monitor: &BoundMonitor) -> Vec<Measure> {
    /// Enough for every limit to show.
    const ROWS: u64 = 1_000_000;
    let measures: BTreeMap<String, Measure> =
        monitor.measures().into_iter().map(|measure| (measure.name.clone(), measure)).collect();
    let of_column = |name: &str| -> Vec<&Measure> {
        let names = std::iter::once(name).chain(monitor.parts_of(Some(name)));
        names.filter_map(|name| measures.get(name)).collect()
    };
    let columns = monitor.columns.iter().map(|column| of_column(&column.name));
    let largest = columns.max_by_key(|all| all.iter().map(|measure| state_size(ROWS, measure)).sum::<u64>());
    largest.unwrap_or_default().into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_quarantine_is_as_large_as_its_limit() {
        let measure =
            |limit| Measure { name: String::new(), inputs: Vec::new(), options: MeasureOptions::Sample { limit } };
        // A reason and an excerpt of some hundred bytes for each.
        assert!(state_size(1_000_000, &measure(10_000)) >= 10_000 * 500);
        assert_eq!(state_size(1_000_000, &measure(10_000)), state_size(10_000, &measure(10_000)));
        assert!(state_size(0, &measure(10_000)) <= SMALLEST_STATE);
    }
}

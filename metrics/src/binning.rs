//! The bins that a pair of columns shares: cut at the baseline's quantiles, or where the user says.
//!
//! Edges belong to the baseline and stand on edges of histogram buckets, so that the counts of both sides are
//! exact. With `n` ordered values in the baseline and `B` bins:
//!
//! - a value that alone holds more than `n / B` of them is a bin of its own (an *own* bin);
//! - the edges are the lower empirical quantiles of rank ⌈i·n/B⌉ for i = 1 … B−1, without repeats;
//! - the bins are `(e₍ᵢ₋₁₎, eᵢ]` less the own values, the first open below and the last open above.

use crate::state::{Bucket, Buckets};

/// How to cut a numeric column.
#[derive(Debug, Clone, PartialEq)]
pub enum Bins {
    /// This many quantile bins of the baseline.
    Count(u16),
    /// At these values, ascending; each closes the bin below it.
    Edges(Vec<f64>),
}

impl Default for Bins {
    fn default() -> Self {
        Self::Count(10)
    }
}

/// A bin and the values of both sides in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bin {
    /// What the bin holds, for people: `(2.5, 4]`, `= 0`, `> 17`, a category, `null`.
    pub label: String,
    /// Values of the baseline (the comparison side).
    pub baseline: u64,
    /// Values of the current side.
    pub current: u64,
}

/// Both sides counted in the bins of the baseline. The two must be at one level.
#[must_use]
pub fn numeric(baseline: &Buckets, current: &Buckets, bins: &Bins) -> Vec<Bin> {
    let owns = own_values(baseline, bins);
    let edges = edges(baseline, bins);
    let mut result: Vec<Bin> =
        (0..=edges.len()).map(|index| Bin { label: interval_label(&edges, index), baseline: 0, current: 0 }).collect();
    let first_own = result.len();
    result.extend(owns.iter().map(|own| Bin { label: format!("= {}", short(own.least())), baseline: 0, current: 0 }));
    for (buckets, is_baseline) in [(baseline, true), (current, false)] {
        // Buckets, edges and own values ascend, so nothing is looked for twice.
        let (mut edge, mut own) = (0, 0);
        for bucket in buckets.as_slice() {
            own += owns[own..].iter().take_while(|own| own.cell < bucket.cell).count();
            edge += edges[edge..].iter().take_while(|edge| edge.is_passed_by(bucket)).count();
            let is_own = owns.get(own).is_some_and(|own| own.cell == bucket.cell);
            let index = if is_own { first_own + own } else { edge };
            let bin = &mut result[index];
            *(if is_baseline { &mut bin.baseline } else { &mut bin.current }) += bucket.count;
        }
    }
    result.retain(|bin| bin.baseline > 0 || bin.current > 0);
    result
}

/// The upper end of a bin.
enum Edge {
    /// The whole bucket lies below, with everything before it.
    Cell { cell: u64, value: f64 },
    /// A value that the user named.
    Value(f64),
}

impl Edge {
    /// Whether `bucket` lies above the edge.
    fn is_passed_by(&self, bucket: &Bucket) -> bool {
        match self {
            Self::Cell { cell, .. } => bucket.cell > *cell,
            // A bucket across the edge goes where its least value lies.
            Self::Value(value) => bucket.least() > *value,
        }
    }

    const fn value(&self) -> f64 {
        match self {
            Self::Cell { value, .. } | Self::Value(value) => *value,
        }
    }
}

fn edges(baseline: &Buckets, bins: &Bins) -> Vec<Edge> {
    let count = match bins {
        Bins::Edges(values) => return values.iter().map(|&value| Edge::Value(value)).collect(),
        Bins::Count(count) => u128::from((*count).max(1)),
    };
    let total = u128::from(baseline.total());
    let mut edges: Vec<Edge> = Vec::new();
    let mut passed = 0u128;
    let mut buckets = baseline.as_slice().iter().peekable();
    for i in 1..count {
        let rank = (total * i).div_ceil(count);
        while let Some(bucket) = buckets.next_if(|bucket| passed + u128::from(bucket.count) < rank) {
            passed += u128::from(bucket.count);
        }
        let Some(bucket) = buckets.peek() else { break };
        let repeated = matches!(edges.last(), Some(Edge::Cell { cell, .. }) if *cell == bucket.cell);
        if !repeated {
            edges.push(Edge::Cell { cell: bucket.cell, value: bucket.greatest() });
        }
    }
    edges
}

fn own_values(baseline: &Buckets, bins: &Bins) -> Vec<Bucket> {
    let Bins::Count(count) = bins else { return Vec::new() };
    let (total, count) = (u128::from(baseline.total()), u128::from((*count).max(1)));
    baseline
        .as_slice()
        .iter()
        .filter(|bucket| bucket.is_atom() && u128::from(bucket.count) * count > total)
        .copied()
        .collect()
}

fn interval_label(edges: &[Edge], index: usize) -> String {
    let below = index.checked_sub(1).map(|below| edges[below].value());
    match (below, edges.get(index).map(Edge::value)) {
        (None, None) => "any value".to_owned(),
        (None, Some(to)) => format!("<= {}", short(to)),
        (Some(from), None) => format!("> {}", short(from)),
        (Some(from), Some(to)) => {
            let (near, far) = (short(from), short(to));
            // Values that differ only far behind the point are told apart by all their digits.
            if near == far { format!("({from}, {to}]") } else { format!("({near}, {far}]") }
        }
    }
}

/// At most six significant digits: labels are for people.
fn short(value: f64) -> String {
    let plain = format!("{value}");
    if plain.len() <= 8 {
        return plain;
    }
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    if rounded != 0.0 && !(1e-5..1e15).contains(&rounded.abs()) { format!("{rounded:e}") } else { format!("{rounded}") }
}

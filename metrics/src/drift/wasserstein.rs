//! First-order Wasserstein distance, in the column's own units.
//!
//! `W₁ = ∫|F − G|` over the real line, exact for an exact histogram. Above level 0 the gaps between buckets are
//! still exact; within a bucket both functions are taken to rise evenly over the values they hold.
//! Source: L. Vallender, *Calculation of the Wasserstein distance between probability distributions on the line*
//! (1974).

use super::kolmogorov_smirnov::walk;
use crate::state::{Bucket, Buckets};

/// The distance of two histograms at one level without infinite values; `None` if a side is empty.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
pub fn wasserstein(baseline: &Buckets, current: &Buckets) -> Option<f64> {
    let (n, m) = (baseline.total(), current.total());
    if n == 0 || m == 0 {
        return None;
    }
    let (n, m) = (n as f64, m as f64);
    let (mut f, mut g) = (0u64, 0u64);
    let mut before: Option<f64> = None;
    let mut sum = Compensated::default();
    walk(baseline, current, |left, right| {
        let bounds = [left, right].into_iter().flatten();
        let from = bounds.clone().map(Bucket::least).fold(f64::INFINITY, f64::min);
        let to = bounds.map(Bucket::greatest).fold(f64::NEG_INFINITY, f64::max);
        if let Some(before) = before {
            let difference = (f as f64 / n - g as f64 / m).abs();
            // A gap can be wider than the greatest double; where nothing differs it does not count.
            if difference > 0.0 {
                sum.add(difference * (from - before));
            }
        }
        if to > from {
            let start = f as f64 / n - g as f64 / m;
            sum.add(within(start, left.map(|b| (b, n)), right.map(|b| (b, m)), from, to));
        }
        f += left.map_or(0, |bucket| bucket.count);
        g += right.map_or(0, |bucket| bucket.count);
        before = Some(to);
    });
    // Infinite if the distance is beyond the greatest double.
    let total = sum.total();
    Some(if total.is_nan() { f64::INFINITY } else { total })
}

/// ∫|F − G| over `from..to`, where each side rises evenly over its bucket; `start` is F − G at `from`.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn within(start: f64, left: Option<(&Bucket, f64)>, right: Option<(&Bucket, f64)>, from: f64, to: f64) -> f64 {
    let rise = |side: Option<(&Bucket, f64)>, x: f64| {
        side.map_or(0.0, |(bucket, total)| {
            let (least, greatest) = (bucket.least(), bucket.greatest());
            let part = if greatest > least {
                ((x - least) / (greatest - least)).clamp(0.0, 1.0)
            } else {
                if x >= least { 1.0 } else { 0.0 }
            };
            bucket.count as f64 / total * part
        })
    };
    // The difference is linear between the four ends, so each stretch is one or two triangles.
    let mut ends = [from, to, from, to];
    for (index, (bucket, _)) in [left, right].into_iter().flatten().enumerate() {
        ends[2 * index] = bucket.least();
        ends[2 * index + 1] = bucket.greatest();
    }
    ends.sort_unstable_by(f64::total_cmp);
    let mut area = 0.0;
    let mut previous = from;
    let mut at_previous = start + rise(left, from) - rise(right, from);
    for end in ends.into_iter().chain([to]) {
        if end > previous {
            let at_end = start + rise(left, end) - rise(right, end);
            area += segment(at_previous, at_end) * (end - previous);
            (previous, at_previous) = (end, at_end);
        }
    }
    area
}

/// ∫₀¹ |a + (b − a)t| dt.
fn segment(a: f64, b: f64) -> f64 {
    if a * b >= 0.0 { f64::midpoint(a, b).abs() } else { (a * a + b * b) / (2.0 * (a.abs() + b.abs())) }
}

/// Neumaier's sum: the terms differ widely in size.
#[derive(Debug, Default)]
struct Compensated {
    sum: f64,
    rest: f64,
}

impl Compensated {
    fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        self.rest += if self.sum.abs() >= term.abs() { (self.sum - sum) + term } else { (term - sum) + self.sum };
        self.sum = sum;
    }

    fn total(&self) -> f64 {
        self.sum + self.rest
    }
}

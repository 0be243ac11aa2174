//! First-order Wasserstein distance, in the column's own units, with certified bounds.
//!
//! `W₁ = ∫|F − G|` over the real line, exact for an exact histogram. Above level 0 the gaps between buckets are
//! still exact. Within a bucket F and G lie between their values at its edges, which bounds the areas
//! `A⁺ = ∫(F − G)⁺` and `A⁻ = ∫(F − G)⁻`. Their difference S = A⁺ − A⁻ is the current mean less the baseline's, which
//! is known from exact sums, so `W₁ = S + 2A⁻ = 2A⁺ − S` lies in
//! `[max(A⁺ + A⁻, 2A⁺ − S, 2A⁻ + S), min(A⁺ + A⁻, 2A⁺ − S, 2A⁻ + S)]`, with the lower bounds of the areas in the first
//! and the upper ones in the second. Where all values moved the same way, that leaves rounding alone.
//!
//! The estimate takes both functions to rise evenly within a bucket, and is `|S| + 2·min(A⁺, A⁻)` of these. All bounds
//! are rounded outwards, by about 1e-14 of the areas. Source: L. Vallender, *Calculation of the Wasserstein distance
//! between probability distributions on the line* (1974).

use super::kolmogorov_smirnov::walk;
use super::share_difference;
use crate::bound::{Certified, Compensated, rounded_down, rounded_up};
use crate::state::{Bucket, Buckets};

/// If the difference of means is not known better than to this part of the distance, the estimate does without it.
const USELESS_MEANS: f64 = 1.0 / (1 << 20) as f64;

/// One side of a comparison: its histogram, and what is known exactly beside it.
#[derive(Debug, Clone, Copy)]
pub struct NumericSide<'a> {
    /// The histogram, without infinite values.
    pub buckets: &'a Buckets,
    /// The mean, rounded once. Without it bounds are wider.
    pub mean: Option<f64>,
    /// The least value, or anything below.
    pub least: f64,
    /// The greatest value, or anything above.
    pub greatest: f64,
}

impl<'a> From<&'a Buckets> for NumericSide<'a> {
    /// A side of which nothing is known but its histogram.
    fn from(buckets: &'a Buckets) -> Self {
        Self { buckets, mean: None, least: f64::NEG_INFINITY, greatest: f64::INFINITY }
    }
}

impl NumericSide<'_> {
    /// The bounds of a bucket's values: no outermost bucket reaches further than the extrema.
    fn ends(&self, bucket: &Bucket) -> (f64, f64) {
        (bucket.least().max(self.least), bucket.greatest().min(self.greatest))
    }
}

/// The distance of two histograms at one level without infinite values; `None` if a side is empty. The value is
/// infinite if the distance is beyond the greatest double.
///
/// ```
/// use limno_metrics::drift::wasserstein;
/// use limno_metrics::state::Histogram;
///
/// let of = |values: [f64; 3]| {
///     let mut histogram = Histogram::empty(4096);
///     values.into_iter().for_each(|value| histogram.observe(value));
///     histogram.buckets()
/// };
/// let (baseline, current) = (of([1.0, 2.0, 3.0]), of([2.0, 3.0, 7.0]));
/// let distance = wasserstein((&baseline).into(), (&current).into()).unwrap();
/// assert!((distance.value - 2.0).abs() < 1e-12);
/// assert!(distance.lower <= 2.0 && 2.0 <= distance.upper && distance.error() < 1e-12);
/// ```
#[must_use]
pub fn wasserstein(baseline: NumericSide<'_>, current: NumericSide<'_>) -> Option<Certified> {
    let (n, m) = (baseline.buckets.total(), current.buckets.total());
    if n == 0 || m == 0 {
        return None;
    }
    let mut areas = Areas { n, m, above: Area::default(), below: Area::default() };
    let (mut f, mut g) = (0u64, 0u64);
    let mut before: Option<f64> = None;
    walk(baseline.buckets, current.buckets, |left, right| {
        let left = left.map(|bucket| Step::of(bucket, baseline.ends(bucket), f, n));
        let right = right.map(|bucket| Step::of(bucket, current.ends(bucket), g, m));
        let (Some(one), Some(other)) = (left.or(right), right.or(left)) else { return };
        // Each begins before it ends.
        let inner = (one.from.max(other.from), one.to.min(other.to));
        let ends = [one.from.min(other.from), inner.0.min(inner.1), inner.0.max(inner.1), one.to.max(other.to)];
        if let Some(before) = before {
            areas.add_flat(f, g, before, ends[0]);
        }
        let (left, right) = (left.unwrap_or(Step::flat(f)), right.unwrap_or(Step::flat(g)));
        for stretch in ends.windows(2).filter(|stretch| stretch[1] > stretch[0]) {
            areas.add_steep(left, right, stretch[0], stretch[1]);
        }
        (f, g) = (left.after, right.after);
        before = Some(ends[3]);
    });
    let means = baseline.mean.zip(current.mean);
    Some(areas.distance(means, baseline.buckets.level() > 0))
}

/// A distribution function between the ends of a bucket: it rises from `before` to `after`, in values.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: f64,
    to: f64,
    before: u64,
    after: u64,
    /// The share of all values by which it rises.
    rise: f64,
}

impl Step {
    fn of(bucket: &Bucket, (from, to): (f64, f64), before: u64, total: u64) -> Self {
        let after = before + bucket.count;
        Self { from, to, before, after, rise: share_difference((after, total), (before, total)) }
    }

    const fn flat(at: u64) -> Self {
        Self { from: f64::NEG_INFINITY, to: f64::NEG_INFINITY, before: at, after: at, rise: 0.0 }
    }

    /// The least and the greatest that it can be between `from` and `to`, neither of which lies within.
    fn range(&self, from: f64, to: f64) -> (u64, u64) {
        if to <= self.from {
            (self.before, self.before)
        } else if from >= self.to {
            (self.after, self.after)
        } else {
            (self.before, self.after)
        }
    }

    /// The part of the rise that lies below `x`, if it is even.
    fn part(&self, x: f64) -> f64 {
        if x >= self.to {
            return 1.0;
        }
        if x <= self.from {
            return 0.0;
        }
        // Halves: a bucket can be wider than the greatest double.
        let (rise, run) = (x / 2.0 - self.from / 2.0, self.to / 2.0 - self.from / 2.0);
        (rise / run).clamp(0.0, 1.0)
    }
}

/// An area with what is certain of it.
#[derive(Debug, Default)]
struct Area {
    estimate: Compensated,
    lower: Compensated,
    upper: Compensated,
}

/// The areas between the functions: where F lies above G, and where it lies below.
#[derive(Debug)]
struct Areas {
    n: u64,
    m: u64,
    above: Area,
    below: Area,
}

impl Areas {
    /// Between `from` and `to` both functions are flat.
    fn add_flat(&mut self, f: u64, g: u64, from: f64, to: f64) {
        let height = share_difference((f, self.n), (g, self.m));
        let side = if height > 0.0 { &mut self.above } else { &mut self.below };
        let area = area(height.abs(), from, to);
        side.estimate.add(area);
        side.lower.add(area);
        // A product that vanishes is still above zero.
        side.upper.add(if height != 0.0 && to > from { area.max(5e-324) } else { 0.0 });
    }

    /// Between `from` and `to` at least one function may rise.
    fn add_steep(&mut self, left: Step, right: Step, from: f64, to: f64) {
        let (f, g) = (left.range(from, to), right.range(from, to));
        let least = share_difference((f.0, self.n), (g.1, self.m));
        let greatest = share_difference((f.1, self.n), (g.0, self.m));
        let start = share_difference((left.before, self.n), (right.before, self.m));
        let at = |x: f64| start + left.rise * left.part(x) - right.rise * right.part(x);
        let (first, last) = (at(from), at(to));
        self.above.estimate.add(area(positive_part(first, last), from, to));
        self.below.estimate.add(area(positive_part(-first, -last), from, to));
        for (side, least, greatest) in [(&mut self.above, least, greatest), (&mut self.below, -greatest, -least)] {
            if least > 0.0 {
                side.lower.add(area(least, from, to));
            }
            if greatest > 0.0 {
                side.upper.add(area(greatest, from, to).max(5e-324));
            }
        }
    }

    fn distance(&self, means: Option<(f64, f64)>, is_coarse: bool) -> Certified {
        let lower = [&self.above, &self.below].map(|area| rounded_down(area.lower.total()));
        let upper = [&self.above, &self.below].map(|area| rounded_up(area.upper.total()));
        let mut estimate = self.above.estimate.total() + self.below.estimate.total();
        let mut bounds = ((lower[0] + lower[1]).next_down(), sum_up(upper[0], upper[1]));
        if let Some((baseline, current)) = means {
            // Each mean is the double nearest to the true one.
            let least = (current.next_down() - baseline.next_up()).next_down();
            let greatest = (current.next_up() - baseline.next_down()).next_up();
            let from_means = |above: f64, below: f64, least: f64, greatest: f64| {
                ((2.0 * above - greatest).next_down(), (2.0 * below + least).next_down())
            };
            let (from_above, from_below) = from_means(lower[0], lower[1], least, greatest);
            bounds.0 = bounds.0.max(from_above).max(from_below);
            let (to_above, to_below) = ((2.0 * upper[0] - least).next_up(), (2.0 * upper[1] + greatest).next_up());
            bounds.1 = bounds.1.min(to_above).min(to_below);
            if is_coarse && greatest - least <= USELESS_MEANS * estimate {
                let smaller = self.above.estimate.total().min(self.below.estimate.total());
                estimate = (current - baseline).abs() + 2.0 * smaller;
            }
        }
        Certified::new(estimate, bounds.0.max(0.0), bounds.1.max(0.0))
    }
}

/// Rounded up; zero only of zeros.
fn sum_up(a: f64, b: f64) -> f64 {
    if a + b > 0.0 { (a + b).next_up() } else { 0.0 }
}

/// height · (to − from), where the difference alone may be beyond the greatest double.
fn area(height: f64, from: f64, to: f64) -> f64 {
    let width = to - from;
    if width.is_finite() { height * width } else { height * to - height * from }
}

/// ∫₀¹ max(0, a + (b − a)t) dt.
fn positive_part(a: f64, b: f64) -> f64 {
    if a >= 0.0 && b >= 0.0 {
        f64::midpoint(a, b)
    } else if a <= 0.0 && b <= 0.0 {
        0.0
    } else {
        a.max(b).powi(2) / (2.0 * (b - a).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Histogram;

    fn of(values: impl IntoIterator<Item = f64>, limit: u32) -> Buckets {
        let mut histogram = Histogram::empty(limit);
        values.into_iter().for_each(|value| histogram.observe(value));
        histogram.buckets()
    }

    #[test]
    fn by_hand() {
        let distance = wasserstein((&of([0.0, 1.0], 16)).into(), (&of([0.0, 5.0], 16)).into()).unwrap();
        assert!((distance.value - 2.0).abs() < 1e-12 && distance.error() < 1e-12, "{distance:?}");
        assert_eq!(wasserstein((&of([], 16)).into(), (&of([1.0], 16)).into()), None);
        let same = of((0..50).map(f64::from), 4096);
        let still = wasserstein((&same).into(), (&same).into()).unwrap();
        assert_eq!((still.value.to_bits(), still.upper.to_bits()), (0, 0));
    }

    /// All values moved by one: the means alone tell the distance, to rounding.
    #[test]
    fn a_shift_is_certain_also_of_coarse_sides() {
        let values = |shift: f64| (0..2000).map(move |i| 100.0 + f64::from(i) * 0.1 + shift);
        let (before, after) = (of(values(0.0), 64), of(values(1.0), 64));
        let level = before.level().max(after.level());
        let (before, after) = (before.at_level(level), after.at_level(level));
        let side = |buckets, mean| NumericSide { mean: Some(mean), ..NumericSide::from(buckets) };
        let with = wasserstein(side(&before, 199.95), side(&after, 200.95)).unwrap();
        let without = wasserstein((&before).into(), (&after).into()).unwrap();
        assert!(level > 0 && with.lower <= 1.0 && 1.0 <= with.upper, "{with:?}");
        assert!((with.value - 1.0).abs() < 0.01 && with.error() < without.error(), "{with:?}, {without:?}");
    }
}

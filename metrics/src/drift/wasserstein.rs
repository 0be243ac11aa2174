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

use super::Sizes;
use super::kolmogorov_smirnov::walk;
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
    let means = baseline.mean.zip(current.mean);
    let areas = areas(baseline, current, Step::is_as_wide_as)?;
    Some(areas.distance(means, baseline.buckets.level() > 0))
}

/// The areas between the functions, and a short way for pairs of steps for which `is_even` holds.
fn areas(baseline: NumericSide<'_>, current: NumericSide<'_>, is_even: impl Fn(&Step, &Step) -> bool) -> Option<Areas> {
    let (n, m) = (baseline.buckets.total(), current.buckets.total());
    if n == 0 || m == 0 {
        return None;
    }
    let mut areas = Areas { sizes: Sizes::of(n, m), above: Area::default(), below: Area::default() };
    let (of_baseline, of_current) = (Sizes::of(n, n), Sizes::of(m, m));
    let (mut f, mut g) = (0u64, 0u64);
    let mut before: Option<f64> = None;
    walk(baseline.buckets, current.buckets, |left, right| {
        let left = left.map(|bucket| Step::of(bucket, baseline.ends(bucket), f, of_baseline));
        let right = right.map(|bucket| Step::of(bucket, current.ends(bucket), g, of_current));
        let (Some(one), Some(other)) = (left.or(right), right.or(left)) else { return };
        let (left, right) = (left.unwrap_or(Step::flat(f)), right.unwrap_or(Step::flat(g)));
        let first = one.from.min(other.from);
        if let Some(before) = before {
            areas.add_flat(f, g, before, first);
        }
        before = Some(if is_even(&one, &other) {
            areas.add_even(&left, &right, one.from, one.to)
        } else {
            areas.add_uneven(&left, &right, (one.from, one.to), (other.from, other.to))
        });
        (f, g) = (left.after, right.after);
    });
    Some(areas)
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
    fn of(bucket: &Bucket, (from, to): (f64, f64), before: u64, total: Sizes) -> Self {
        let after = before + bucket.count;
        Self { from, to, before, after, rise: total.difference(after, before) }
    }

    const fn flat(at: u64) -> Self {
        Self { from: f64::NEG_INFINITY, to: f64::NEG_INFINITY, before: at, after: at, rise: 0.0 }
    }

    #[expect(clippy::float_cmp, reason = "the same to the bit, as most are")]
    const fn is_as_wide_as(&self, other: &Self) -> bool {
        self.from == other.from && self.to == other.to
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
    sizes: Sizes,
    above: Area,
    below: Area,
}

impl Areas {
    /// Between `from` and `to` both functions are flat.
    fn add_flat(&mut self, f: u64, g: u64, from: f64, to: f64) {
        let height = self.sizes.difference(f, g);
        // Nothing is nothing to a sum.
        if height == 0.0 || to.to_bits() == from.to_bits() {
            return;
        }
        let side = if height > 0.0 { &mut self.above } else { &mut self.below };
        let area = area(height.abs(), from, to);
        side.estimate.add(area);
        side.lower.add(area);
        // A product that vanishes is still above zero.
        side.upper.add(if to > from { area.max(5e-324) } else { 0.0 });
    }

    /// Between `from` and `to` the whole of both steps lies, or of the one that is none at all; answers where they end.
    fn add_even(&mut self, left: &Step, right: &Step, from: f64, to: f64) -> f64 {
        // A bucket that stands for one value has no width.
        if to > from {
            let start = self.sizes.difference(left.before, right.before);
            let last = start + left.rise - right.rise;
            self.add_steep((left.before, left.after), (right.before, right.after), (start, last), from, to);
        }
        to
    }

    /// The same of two steps that begin or end apart.
    fn add_uneven(&mut self, left: &Step, right: &Step, one: (f64, f64), other: (f64, f64)) -> f64 {
        // Each begins before it ends.
        let inner = (one.0.max(other.0), one.1.min(other.1));
        let ends = [one.0.min(other.0), inner.0.min(inner.1), inner.0.max(inner.1), one.1.max(other.1)];
        let start = self.sizes.difference(left.before, right.before);
        let at = |x: f64| start + left.rise * left.part(x) - right.rise * right.part(x);
        for stretch in ends.windows(2).filter(|stretch| stretch[1] > stretch[0]) {
            let (from, to) = (stretch[0], stretch[1]);
            self.add_steep(left.range(from, to), right.range(from, to), (at(from), at(to)), from, to);
        }
        ends[3]
    }

    /// Between `from` and `to` the functions stay within `f` and `g`; their difference goes from `first` to `last`, if they
    /// rise evenly.
    fn add_steep(&mut self, f: (u64, u64), g: (u64, u64), (first, last): (f64, f64), from: f64, to: f64) {
        let least = self.sizes.difference(f.0, g.1);
        let greatest = self.sizes.difference(f.1, g.0);
        if first > 0.0 || last > 0.0 {
            self.above.estimate.add(area(positive_part(first, last), from, to));
        }
        if first < 0.0 || last < 0.0 {
            self.below.estimate.add(area(positive_part(-first, -last), from, to));
        }
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

    /// The short way answers to the bit what the long one does.
    #[test]
    fn steps_of_one_width_are_as_others() {
        let shapes: [fn(u32) -> f64; 4] = [
            |i| f64::from(i * 7919 % 1013) * 0.37 - 100.0,
            |i| (f64::from(i) * 0.7).sin().powi(3) * 1e-3,
            |i| f64::from(i % 17),
            |i| if i % 5 == 0 { 0.0 } else { (f64::from(i * 31 % 4099) * 0.01).exp() },
        ];
        for (left, right) in shapes.iter().flat_map(|left| shapes.iter().map(move |right| (left, right))) {
            for (n, m, limit) in [(3000, 3000, 64), (5000, 700, 300), (40, 9000, 16), (900, 800, 4096)] {
                let (left, right) = (of((0..n).map(left), limit), of((1..m).map(right), limit));
                let level = left.level().max(right.level());
                let (left, right) = (left.at_level(level), right.at_level(level));
                let side = |buckets, least| NumericSide { mean: Some(1.5), least, ..NumericSide::from(buckets) };
                for least in [f64::NEG_INFINITY, left.as_slice()[0].least()] {
                    let (left, right) = (side(&left, least), side(&right, f64::NEG_INFINITY));
                    let long = areas(left, right, |_, _| false).unwrap().distance(Some((1.5, 1.25)), level > 0);
                    let short = areas(left, right, Step::is_as_wide_as).unwrap().distance(Some((1.5, 1.25)), level > 0);
                    let bits = |d: &Certified| [d.value, d.lower, d.upper].map(f64::to_bits);
                    assert_eq!(bits(&short), bits(&long), "{n} {m} {limit}");
                }
            }
        }
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

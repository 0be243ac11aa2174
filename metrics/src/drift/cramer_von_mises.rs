//! Two-sample Cramér–von Mises test, with the certified bounds of its statistic.
//!
//! `T = nm/(n+m)² Σ(F(z) − G(z))²` over all values z of both samples, with the two empirical distribution functions
//! just at z, so that equal values count as one tie. Without ties that is Anderson's statistic by ranks, as scipy's
//! `cramervonmises_2samp` has it. With ties scipy gives midranks to both samples, whose statistic grows with the
//! difference of the sample sizes even between samples of one value: it would call equal columns different. Ours is
//! then 0, and its p-value errs towards equality, as that of Kolmogorov–Smirnov does.
//!
//! Above level 0 the estimate takes each bucket as one tie. F and G are exact at its edges and lie between these
//! within it, which bounds the sum: the true T lies between `lower` and `upper`.
//!
//! The p-value is the limit law's tail at `1/6 + (T − E)/√(45·V)`, where E and V are mean and variance of T under
//! equality, as scipy's `method="asymptotic"` has it. Source: T. W. Anderson, *On the distribution of the two-sample
//! Cramér–von Mises criterion*, Ann. Math. Stat. 33 (1962), eqs. 2, 9, 10 and 14.

use super::Sizes;
use super::kolmogorov_smirnov::walk;
use crate::bound::{Certified, Compensated, rounded_down, rounded_up};
use crate::distribution;
use crate::state::{Bucket, Buckets};

/// The statistic with its bounds, and the p-value of its estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CramerVonMises {
    /// T. At level 0 the bounds leave rounding alone.
    pub statistic: Certified,
    /// p-value of `statistic.value`.
    pub pvalue: f64,
}

/// The test of two histograms at one level; `None` if a side is empty.
///
/// ```
/// use limno_metrics::drift::cramer_von_mises;
/// use limno_metrics::state::Histogram;
///
/// let of = |values: [f64; 2]| {
///     let mut histogram = Histogram::empty(4096);
///     values.into_iter().for_each(|value| histogram.observe(value));
///     histogram.buckets()
/// };
/// // F − G at 1, 2, 3, 4 is ½, 1, ½, 0: T = 4/16 · (¼ + 1 + ¼).
/// let test = cramer_von_mises(&of([1.0, 2.0]), &of([3.0, 4.0])).unwrap();
/// assert!((test.statistic.value - 0.375).abs() < 1e-12);
/// ```
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
pub fn cramer_von_mises(baseline: &Buckets, current: &Buckets) -> Option<CramerVonMises> {
    let (n, m) = (baseline.total(), current.total());
    if n == 0 || m == 0 {
        return None;
    }
    let sizes = Sizes::of(n, m);
    let difference = |f: u64, g: u64| sizes.difference(f, g);
    let mut squares = Squares::default();
    let (mut f, mut g) = (0u64, 0u64);
    walk(baseline, current, |left, right| {
        let (a, b) = (count(left), count(right));
        let (f_after, g_after) = (f + a, g + b);
        let at_edge = difference(f_after, g_after);
        let is_atom = |bucket: Option<&Bucket>| bucket.is_none_or(Bucket::is_atom);
        match (left, right) {
            (Some(first), Some(second)) if first.is_below(second) => {
                let between = difference(f_after, g);
                squares.add(a, between, if first.is_atom() { between } else { difference(f, g) });
                squares.add(b, at_edge, if second.is_atom() { at_edge } else { between });
            }
            (Some(second), Some(first)) if first.is_below(second) => {
                let between = difference(f, g_after);
                squares.add(b, between, if first.is_atom() { between } else { difference(f, g) });
                squares.add(a, at_edge, if second.is_atom() { at_edge } else { between });
            }
            _ if is_atom(left) && is_atom(right) => {
                squares.add(a, at_edge, at_edge);
                squares.add(b, at_edge, at_edge);
            }
            _ => {
                for values in [a, b] {
                    squares.add_between(values, at_edge, difference(f, g_after), difference(f_after, g));
                }
            }
        }
        (f, g) = (f_after, g_after);
    });
    let (n, m) = (n as f64, m as f64);
    let scale = (n / (n + m)) * (m / (n + m));
    let of = |sum: Compensated| scale * sum.total();
    let statistic =
        Certified::new(of(squares.estimate), rounded_down(of(squares.lower)), rounded_up(of(squares.upper)));
    let pvalue = distribution::cramer_von_mises_sf(standardized(statistic.value, n, m));
    Some(CramerVonMises { statistic, pvalue })
}

fn count(bucket: Option<&Bucket>) -> u64 {
    bucket.map_or(0, |bucket| bucket.count)
}

/// Σ(F − G)² with its bounds.
#[derive(Debug, Default)]
struct Squares {
    estimate: Compensated,
    lower: Compensated,
    upper: Compensated,
}

impl Squares {
    /// `values` of one side, at the last of which F − G is `last`, before them `first`.
    fn add(&mut self, values: u64, last: f64, first: f64) {
        self.add_between(values, last, first.min(last), first.max(last));
    }

    /// `values` at which F − G is between `least` and `greatest`, and is taken to be `estimate`.
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
    fn add_between(&mut self, values: u64, estimate: f64, least: f64, greatest: f64) {
        let values = values as f64;
        let nearest = if least > 0.0 {
            least
        } else if greatest < 0.0 {
            greatest
        } else {
            0.0
        };
        self.estimate.add(values * estimate.powi(2));
        self.lower.add(values * nearest.powi(2));
        self.upper.add(values * least.abs().max(greatest.abs()).powi(2));
    }
}

/// T brought to the mean and the variance of the limit law, which are 1/6 and 1/45.
fn standardized(statistic: f64, n: f64, m: f64) -> f64 {
    let total = n + m;
    let mean = (1.0 + 1.0 / total) / 6.0;
    let variance = (1.0 + 1.0 / total) / total * (4.0 * total - 3.0 * (n / m + m / n) - 2.0) / 4.0;
    // Of one value against one, T says nothing.
    if variance > 0.0 { 1.0 / 6.0 + (statistic - mean) / variance.sqrt() } else { 0.0 }
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

    /// Upper points of the table of T. Anderson and D. Darling (1952).
    #[test]
    fn the_limit_law_has_its_known_points() {
        for (x, tail) in [(0.34730, 0.1), (0.46136, 0.05), (0.74346, 0.01), (1.16786, 0.001)] {
            let ours = distribution::cramer_von_mises_sf(x);
            assert!((ours / tail - 1.0).abs() < 1e-4, "{x}: {ours}");
        }
    }

    #[test]
    fn equal_samples_of_any_sizes_have_not_moved() {
        let test = cramer_von_mises(&of([42.0; 3000], 16), &of([42.0; 25], 16)).unwrap();
        assert_eq!((test.statistic.value.to_bits(), test.statistic.upper.to_bits()), (0, 0));
        assert!((test.pvalue - 1.0).abs() < 1e-12);
        assert_eq!(cramer_von_mises(&of([], 16), &of([1.0], 16)), None);
        assert!(cramer_von_mises(&of([1.0], 16), &of([2.0], 16)).unwrap().pvalue <= 1.0);
    }

    #[test]
    fn coarse_sides_bound_the_exact_statistic() {
        let values = |shift: f64| (0..900).map(move |i| f64::from(i * i % 1013) * 0.37 + 100.0 + shift);
        let exact = cramer_von_mises(&of(values(0.0), u32::MAX), &of(values(9.0), u32::MAX)).unwrap().statistic;
        let (before, after) = (of(values(0.0), 256), of(values(9.0), 256));
        let level = before.level().max(after.level());
        let coarse = cramer_von_mises(&before.at_level(level), &after.at_level(level)).unwrap().statistic;
        assert!(level > 0 && coarse.lower <= exact.lower && exact.upper <= coarse.upper, "{exact:?}, {coarse:?}");
        assert!(exact.error() < 1e-10 && coarse.error() < coarse.value, "{exact:?}, {coarse:?}");
    }
}

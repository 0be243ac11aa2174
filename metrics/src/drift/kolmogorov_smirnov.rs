//! Two-sample Kolmogorov–Smirnov distance, with its certified error.
//!
//! `D = sup|F − G|` of the two empirical distribution functions. Both are exact at every edge of a bucket, so D is
//! at least the greatest difference there. Within a bucket that both sides share, the order of their values is not
//! known; the difference there is at most `max(|F_right − G_left|, |G_right − F_left|)`. The interval between the two
//! is certified: the true D lies in it. A bucket whose values are one and the same on both sides adds nothing, and
//! one in which all values of one side lie below all of the other has its inner difference known exactly.
//!
//! The p-value is that of the one-sample two-sided statistic at k = nm/(n+m), rounded half to even and at least 1,
//! as scipy's `ks_2samp(method="asymp")` has it. Source: J. Hodges, *The significance probability of the Smirnov
//! two-sample test*, Arkiv för Matematik 3 (1958). The critical value is of the same distribution.

use std::cell::Cell;

use crate::distribution;
use crate::state::{Bucket, Buckets};

/// The distance, its error and its p-value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The lower end of the certified interval.
    pub statistic: f64,
    /// Width of the interval: the true distance lies in `[statistic, statistic + error]`. Zero at level 0.
    pub error: f64,
    /// p-value of `statistic`.
    pub pvalue: f64,
}

/// The distance of two histograms at one level; `None` if a side is empty.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the distance is rounded here, once")]
pub fn kolmogorov_smirnov(baseline: &Buckets, current: &Buckets) -> Option<KolmogorovSmirnov> {
    let (n, m) = (baseline.total(), current.total());
    if n == 0 || m == 0 {
        return None;
    }
    // Differences are compared as exact integers F·m − G·n over the common denominator n·m.
    let (statistic, error) = if let Some(product) = n.checked_mul(m) {
        let (lower, upper) = interval(baseline, current, |f, g| (f * m).abs_diff(g * n));
        let as_share = |value: u64| value as f64 / product as f64;
        (as_share(lower), as_share(upper.saturating_sub(lower)))
    } else {
        let (n, m) = (u128::from(n), u128::from(m));
        let (lower, upper) = interval(baseline, current, |f, g| (u128::from(f) * m).abs_diff(u128::from(g) * n));
        let as_share = |value: u128| value as f64 / (n * m) as f64;
        (as_share(lower), as_share(upper.saturating_sub(lower)))
    };
    let pvalue = distribution::kolmogorov_sf(statistic, effective_size(n, m));
    Some(KolmogorovSmirnov { statistic, error, pvalue })
}

/// The greatest difference that is sure to occur, and the greatest that may.
fn interval<T: Ord + Default + Copy>(
    baseline: &Buckets,
    current: &Buckets,
    difference: impl Fn(u64, u64) -> T,
) -> (T, T) {
    let (mut lower, mut upper) = (T::default(), T::default());
    let (mut f, mut g) = (0u64, 0u64);
    walk(baseline, current, |left, right| {
        let (f_right, g_right) = (f + count(left), g + count(right));
        let at_edge = difference(f_right, g_right);
        lower = lower.max(at_edge);
        if let (Some(left), Some(right)) = (left, right) {
            let (left_first, right_first) = (difference(f_right, g), difference(f, g_right));
            if left.is_below(right) {
                lower = lower.max(left_first);
            } else if right.is_below(left) {
                lower = lower.max(right_first);
            } else if !(left.is_atom() && right.is_atom()) {
                upper = upper.max(left_first).max(right_first);
            }
        }
        (f, g) = (f_right, g_right);
    });
    (lower, upper)
}

/// The distance that samples of `n` and `m` values of one distribution pass with probability `alpha`; `None` if a
/// sample is empty, or if `alpha` is not between 0 and 1.
///
/// ```
/// use limno_metrics::drift::kolmogorov_smirnov_critical_value;
///
/// // About 1.3581·√((n + m)/(nm)) for large samples.
/// let critical = kolmogorov_smirnov_critical_value(0.05, 20_000, 20_000).unwrap();
/// assert!((critical - 0.013581).abs() < 1e-4);
/// ```
#[must_use]
pub fn kolmogorov_smirnov_critical_value(alpha: f64, n: u64, m: u64) -> Option<f64> {
    (n > 0 && m > 0 && alpha > 0.0 && alpha < 1.0).then(|| critical_value(alpha, effective_size(n, m)))
}

thread_local! {
    /// The last level, size and value: the columns of a window mostly have one size, and an inversion takes milliseconds.
    static LAST: Cell<(f64, u64, f64)> = const { Cell::new((0.0, 0, 0.0)) };
}

fn critical_value(alpha: f64, n: u64) -> f64 {
    let (last_alpha, last_n, value) = LAST.get();
    if last_n == n && last_alpha.to_bits() == alpha.to_bits() {
        return value;
    }
    let value = distribution::kolmogorov_critical_value(alpha, n);
    LAST.set((alpha, n, value));
    value
}

fn count(bucket: Option<&Bucket>) -> u64 {
    bucket.map_or(0, |bucket| bucket.count)
}

/// nm/(n+m), rounded half to even, at least 1.
fn effective_size(n: u64, m: u64) -> u64 {
    let (product, sum) = (u128::from(n) * u128::from(m), u128::from(n) + u128::from(m));
    let (whole, rest) = (product / sum, product % sum);
    let up = match (2 * rest).cmp(&sum) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => whole % 2 == 1,
        std::cmp::Ordering::Less => false,
    };
    u64::try_from(whole + u128::from(up)).unwrap_or(u64::MAX).max(1)
}

/// Calls `visit` for every cell of either side, in order.
pub(super) fn walk<'a>(
    left: &'a Buckets,
    right: &'a Buckets,
    mut visit: impl FnMut(Option<&'a Bucket>, Option<&'a Bucket>),
) {
    debug_assert_eq!(left.level(), right.level(), "the caller brings both to one level");
    let (mut lefts, mut rights) = (left.as_slice().iter().peekable(), right.as_slice().iter().peekable());
    loop {
        let cell = match (lefts.peek(), rights.peek()) {
            (None, None) => return,
            (Some(left), None) => left.cell,
            (None, Some(right)) => right.cell,
            (Some(left), Some(right)) => left.cell.min(right.cell),
        };
        visit(lefts.next_if(|bucket| bucket.cell == cell), rights.next_if(|bucket| bucket.cell == cell));
    }
}

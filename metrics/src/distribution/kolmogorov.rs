//! The two-sided Kolmogorov distribution for a sample of any size.
//!
//! No one formula is accurate and fast everywhere, so the plane of (n, d) is cut, much as R. Simard and P. L'Ecuyer do,
//! *Computing the two-sided Kolmogorov–Smirnov distribution*, J. Stat. Softw. 39(11) (2011):
//!
//! | where | formula | relative error of the tail |
//! |---|---|---|
//! | nd ≤ 1, or nd ≥ n − 1 | closed forms (H. Ruben and J. Gambino 1982) | rounding |
//! | d ≥ ½ | twice the one-sided tail: one side excludes the other | rounding |
//! | n ≤ [`EXACT`], nd² < 4 | the process that stays in its band | below 1e-9 |
//! | n ≤ [`EXACT`], nd² ≥ 4 | twice the one-sided tail | 4e-11, falling with d |
//! | beyond, nd² < 3.2 | the series of Pelz and Good | 4e-7, falling as 1/n² |
//! | beyond, nd² ≥ 3.2 | twice the one-sided tail | 5e-9, falling with d |
//!
//! Twice the one-sided tail counts twice what leaves the band on both sides, a share of exp(−6nd²).

use statrs::function::gamma::ln_gamma;

use super::band::within_band;
use super::invert::tail_point;
use super::pelz_good::pelz_good;
use super::smirnov::one_sided_tail;

/// Up to this size the band is followed step by step, which takes up to a millisecond.
const EXACT: u64 = 1500;

/// P(D ≥ d) for the two-sided statistic of `n` observations; 1 where there are none.
#[must_use]
pub fn kolmogorov_sf(d: f64, n: u64) -> f64 {
    if d.is_nan() {
        return f64::NAN;
    }
    if n == 0 || d <= 0.0 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let size = sample_size(n);
    let steps = size * d;
    // Both sides are exceeded together so rarely from here on that they may be added up.
    let apart = if n <= EXACT { 4.0 } else { 3.2 };
    let tail = if steps <= 0.5 {
        1.0
    } else if d >= 0.5 && steps >= size - 1.0 {
        2.0 * (1.0 - d).powf(size)
    } else if steps <= 1.0 {
        1.0 - (ln_gamma(size + 1.0) - size * size.ln() + size * (2.0 * steps - 1.0).ln()).exp()
    } else if d >= 0.5 || steps * d >= apart {
        2.0 * one_sided_tail(d, n)
    } else if n <= EXACT {
        1.0 - within_band(d, n)
    } else {
        1.0 - pelz_good(d * size.sqrt(), size)
    };
    tail.clamp(0.0, 1.0)
}

/// The critical value of the two-sided statistic of `n` observations: the d with P(D ≥ d) = `alpha`.
///
/// That is the greatest d with no smaller a tail, 1/(2n), for an `alpha` of one or more, and 1 for an `alpha` of zero or
/// less, or without observations. [`kolmogorov_sf`] is inverted to 1e-11 of `alpha`: for n ≤ 100,000 the relative error
/// is below 2e-8 up to an `alpha` of ½, and below 3e-7 up to 0.999. The search starts from the approximation of
/// M. Stephens (*Use of the Kolmogorov–Smirnov, Cramér–von Mises and related statistics without extensive tables*,
/// J. R. Stat. Soc. B 32 (1970)) and takes at most seven tails for n ≥ 50 and an `alpha` from 1e-9 to ½.
#[must_use]
pub fn kolmogorov_critical_value(alpha: f64, n: u64) -> f64 {
    if alpha.is_nan() {
        return f64::NAN;
    }
    if n == 0 || alpha <= 0.0 {
        return 1.0;
    }
    let size = sample_size(n);
    if alpha >= 1.0 {
        return 0.5 / size;
    }
    tail_point(|d| kolmogorov_sf(d, n), alpha, (0.5 / size, 1.0), near_value(alpha, size))
}

/// The critical value as Stephens has it, from the first term of the limit distribution.
fn near_value(alpha: f64, size: f64) -> f64 {
    let root = size.sqrt();
    ((2.0 / alpha).ln() / 2.0).sqrt() / (root + 0.12 + 0.11 / root)
}

#[expect(clippy::cast_precision_loss, reason = "sample sizes beyond 2^53 are not met")]
fn sample_size(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance * expected.abs(), "{got} is not {expected}");
    }

    #[test]
    fn limit_distribution() {
        // 1.35810 is the upper 5 % point of the limit of √n·D.
        close(kolmogorov_sf(1.358_098_64 / 1e4, 100_000_000), 0.05, 1e-3);
        close(kolmogorov_critical_value(0.05, 100_000_000), 1.358_098_64 / 1e4, 1e-4);
    }

    /// Exact ways meet exact ways at nd² = 4, and the series takes over from the band.
    #[test]
    fn neighbouring_methods_agree() {
        for n in [17u64, 50, 141, 500, 1000, EXACT] {
            let d = (4.0 / sample_size(n)).sqrt();
            close(2.0 * one_sided_tail(d, n), 1.0 - within_band(d, n), 1e-9);
        }
        for n in [EXACT, EXACT + 1, 2 * EXACT] {
            let size = sample_size(n);
            for step in 10..120 {
                let z = f64::from(step) * 3.2f64.sqrt() / 120.0;
                close(1.0 - pelz_good(z, size), 1.0 - within_band(z / size.sqrt(), n), 4e-7);
            }
        }
    }

    #[test]
    fn a_tail_never_rises() {
        for n in [1u64, 2, 7, 100, 141, 3000, EXACT, EXACT + 1, 100_000, 10_000_000] {
            let mut before = 1.0;
            for step in 0..400 {
                let d = f64::from(step) * 5.0 / 400.0 / sample_size(n).sqrt();
                let tail = kolmogorov_sf(d.min(1.0), n);
                assert!(tail <= before * (1.0 + 1e-9) + 1e-12, "n {n}, d {d}: {tail} after {before}");
                before = tail;
            }
        }
    }

    #[test]
    fn critical_values_of_one_observation_by_hand() {
        // P(D ≥ d) = 2 − 2d from ½ on.
        for alpha in [0.999, 0.5, 0.05, 1e-6] {
            close(kolmogorov_critical_value(alpha, 1), 1.0 - alpha / 2.0, 1e-11);
        }
        close(kolmogorov_critical_value(1.0, 10), 0.05, 1e-15);
        close(kolmogorov_critical_value(0.0, 10), 1.0, 0.0);
        close(kolmogorov_critical_value(0.05, 0), 1.0, 0.0);
        assert!(kolmogorov_critical_value(f64::NAN, 10).is_nan() && kolmogorov_sf(f64::NAN, 10).is_nan());
    }

    #[test]
    fn a_critical_value_costs_few_tails() {
        for n in [50u64, 300, EXACT, 50_000, 10_000_000] {
            for alpha in [0.5, 0.1, 0.05, 0.01, 1e-3, 1e-6, 1e-9] {
                let calls = std::cell::Cell::new(0);
                let size = sample_size(n);
                let tail = |d: f64| {
                    calls.set(calls.get() + 1);
                    kolmogorov_sf(d, n)
                };
                tail_point(tail, alpha, (0.5 / size, 1.0), near_value(alpha, size));
                assert!(calls.get() <= 7, "n {n}, alpha {alpha}: {}", calls.get());
            }
        }
    }
}

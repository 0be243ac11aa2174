//! The one-sided Kolmogorov distribution: N. Smirnov's sum (1944; R. Miller 1956).

use statrs::function::gamma::ln_gamma;

/// Beyond this exponent a term adds nothing to a sum whose greatest term is one.
const NEGLIGIBLE: f64 = 45.0;
/// Up to this many terms are summed one by one; smooth longer sums are sampled evenly.
const TERMS: u64 = 2048;

/// P(D⁺ ≥ d): Σⱼ C(n,j) (d + j/n)^(j−1) (1 − d − j/n)^(n−j) · d for j up to n(1 − d).
///
/// Each term is a binomial probability times d/(d + j/n), taken from Loader's saddle-point form so that no large
/// logarithms cancel (C. Loader, *Fast and accurate computation of binomial probabilities*, 2000). For large n the
/// terms form a smooth curve that vanishes at both ends, and the trapezoidal rule over every h-th term is exact to
/// rounding.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "indices below n"
)]
pub(super) fn one_sided_tail(d: f64, n: u64) -> f64 {
    let size = n as f64;
    if size * d * d >= 372.0 {
        return 0.0;
    }
    let last = (size * (1.0 - d)).floor() as u64;
    let stride = if size * d > 80.0 { (last / TERMS).max(1) } else { 1 };
    // Terms fall off like exp(−n·d²/(2p(1−p))) to both sides of p = ½: leave out what cannot matter.
    let reach = (0.25 * NEGLIGIBLE / (NEGLIGIBLE + 2.0 * size * d * d)).sqrt().min(0.5);
    let first = if stride > 1 { ((0.5 - d - reach).max(0.0) * size) as u64 } else { 0 };
    let end = if stride > 1 { (((0.5 + reach) * size) as u64).min(last) } else { last };
    let mut sum = 0.0;
    let mut j = first;
    while j <= end {
        sum += one_sided_term(d, size, j as f64);
        j += stride;
    }
    sum * stride as f64
}

fn one_sided_term(d: f64, n: f64, j: f64) -> f64 {
    let p = d + j / n;
    if p >= 1.0 {
        return 0.0;
    }
    if j == 0.0 {
        return (n * (-d).ln_1p()).exp();
    }
    let k = n - j;
    let shift = n * d;
    if k <= shift {
        return 0.0;
    }
    // j·ln(np/j) + k·ln(n(1−p)/k) with np = j + nd and n(1−p) = k − nd.
    let exponent = j * (shift / j).ln_1p() + k * (-shift / k).ln_1p();
    let correction = stirling_error(n) - stirling_error(j) - stirling_error(k);
    (exponent + correction).exp() * (n / (std::f64::consts::TAU * j * k)).sqrt() * d / p
}

/// ln n! − ln(√(2πn)(n/e)ⁿ), for n ≥ 1.
pub(super) fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return ln_gamma(n + 1.0) - (0.5 * (std::f64::consts::TAU * n).ln() + n * n.ln() - n);
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / n
}

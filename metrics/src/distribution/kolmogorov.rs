//! The two-sided Kolmogorov distribution for a sample of any size.
//!
//! No one formula is accurate everywhere, so the plane of (n, d) is cut as R. Simard and P. L'Ecuyer do, *Computing
//! the two-sided Kolmogorov–Smirnov distribution*, J. Stat. Softw. 39(11) (2011):
//! exact ends (Ruben and Gambino), Durbin's matrix (G. Marsaglia, W. Tsang, J. Wang, *Evaluating Kolmogorov's
//! distribution*, J. Stat. Softw. 8(18) (2003)) while it is small, twice the one-sided tail (N. Smirnov; R. Miller)
//! where both sides hardly ever exceed together, and the series of W. Pelz and I. Good (1976) between.

use statrs::function::gamma::ln_gamma;

/// P(D ≥ d) for the two-sided statistic of `n` observations.
#[must_use]
pub fn kolmogorov_sf(d: f64, n: u64) -> f64 {
    if n == 0 || d <= 0.0 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "sample sizes beyond 2^53 are not met")]
    let size = n as f64;
    let steps = size * d;
    let square = steps * d;
    let tail = if steps <= 0.5 {
        1.0
    } else if steps <= 1.0 {
        1.0 - (ln_gamma(size + 1.0) - size * size.ln() + size * (2.0 * steps - 1.0).ln()).exp()
    } else if steps >= size - 1.0 {
        2.0 * (1.0 - d).powf(size)
    } else if d >= 0.5 || square >= if n <= 140 { 4.0 } else { 2.2 } {
        2.0 * one_sided_tail(d, n)
    } else if n <= 140 || (n <= 100_000 && size * d.powf(1.5) <= 1.4) {
        1.0 - durbin_matrix(d, n)
    } else {
        1.0 - pelz_good(d * size.sqrt(), size)
    };
    tail.clamp(0.0, 1.0)
}

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
fn one_sided_tail(d: f64, n: u64) -> f64 {
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
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return ln_gamma(n + 1.0) - (0.5 * (std::f64::consts::TAU * n).ln() + n * n.ln() - n);
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / n
}

/// P(D < d) by the n-th power of Durbin's matrix.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small sizes")]
fn durbin_matrix(d: f64, n: u64) -> f64 {
    let size = n as f64;
    let k = (size * d).floor() as usize + 1;
    let m = 2 * k - 1;
    let h = k as f64 - size * d;
    let mut matrix = Matrix::zero(m);
    for row in 0..m {
        for column in 0..m.min(row + 2) {
            matrix.set(row, column, 1.0);
        }
    }
    for i in 0..m {
        let power = i32::try_from(i + 1).unwrap_or(i32::MAX);
        matrix.add(i, 0, -h.powi(power));
        matrix.add(m - 1, i, -h.powi(i32::try_from(m - i).unwrap_or(i32::MAX)));
    }
    if 2.0 * h - 1.0 > 0.0 {
        matrix.add(m - 1, 0, (2.0 * h - 1.0).powi(i32::try_from(m).unwrap_or(i32::MAX)));
    }
    for row in 0..m {
        for column in 0..m {
            if row + 1 > column {
                for divisor in 1..=(row + 1 - column) {
                    matrix.scale(row, column, 1.0 / divisor as f64);
                }
            }
        }
    }
    let (power, mut exponent) = matrix.power(n);
    let mut result = power.get(k - 1, k - 1);
    for i in 1..=n {
        result *= i as f64 / size;
        if result < 1e-140 {
            result *= 1e140;
            exponent -= 140;
        }
    }
    result * 10f64.powi(exponent)
}

/// A square matrix of positive numbers, times a power of ten kept apart.
struct Matrix {
    size: usize,
    cells: Vec<f64>,
}

impl Matrix {
    fn zero(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size] }
    }

    fn get(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.size + column]
    }

    fn set(&mut self, row: usize, column: usize, value: f64) {
        self.cells[row * self.size + column] = value;
    }

    fn add(&mut self, row: usize, column: usize, value: f64) {
        self.cells[row * self.size + column] += value;
    }

    fn scale(&mut self, row: usize, column: usize, factor: f64) {
        self.cells[row * self.size + column] *= factor;
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = Self::zero(self.size);
        for (row, out) in self.cells.chunks_exact(self.size).zip(product.cells.chunks_exact_mut(self.size)) {
            for (&factor, line) in row.iter().zip(other.cells.chunks_exact(self.size)) {
                for (cell, value) in out.iter_mut().zip(line) {
                    *cell += factor * value;
                }
            }
        }
        product
    }

    /// `self`ⁿ and the power of ten that was taken out of it.
    fn power(&self, n: u64) -> (Self, i32) {
        if n <= 1 {
            return (Self { size: self.size, cells: self.cells.clone() }, 0);
        }
        let (half, exponent) = self.power(n / 2);
        let mut result = half.times(&half);
        let mut exponent = 2 * exponent;
        if n % 2 == 1 {
            result = self.times(&result);
        }
        let middle = self.size / 2;
        if result.get(middle, middle) > 1e140 {
            result.cells.iter_mut().for_each(|cell| *cell *= 1e-140);
            exponent += 140;
        }
        (result, exponent)
    }
}

/// P(√n·D < z) by the first four terms of its expansion in 1/√n.
fn pelz_good(z: f64, n: f64) -> f64 {
    use std::f64::consts::PI;
    let pi2 = PI * PI;
    let (z2, root) = (z * z, (PI / 2.0).sqrt());
    let z4 = z2 * z2;
    let z6 = z4 * z2;
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    // Odd halves: k + ½ for k = 0, 1, …; the sums over all integers are twice these.
    for k in 0..64 {
        let half = f64::from(k) + 0.5;
        let a = pi2 * half * half;
        let weight = (-a / (2.0 * z2)).exp();
        if weight == 0.0 {
            break;
        }
        k0 += weight;
        k1 += 2.0 * (a - z2) * weight;
        k2 += 2.0 * ((6.0 * z6 + 2.0 * z4) + (2.0 * z4 - 5.0 * z2) * a + (1.0 - 2.0 * z2) * a * a) * weight;
        k3 += 2.0
            * (a * a * a * (5.0 - 30.0 * z2) + a * a * (-60.0 * z2 + 212.0 * z4) + a * (135.0 * z4 - 96.0 * z6)
                - (30.0 * z6 + 90.0 * z4 * z4))
            * weight;
    }
    let (mut k2_whole, mut k3_whole) = (0.0, 0.0);
    for k in 1..64 {
        let a = pi2 * f64::from(k) * f64::from(k);
        let weight = (-a / (2.0 * z2)).exp();
        if weight == 0.0 {
            break;
        }
        k2_whole += 2.0 * a * weight;
        k3_whole += 2.0 * (3.0 * a * z2 - a * a) * weight;
    }
    let first = 2.0 * root * 2.0 * k0 / (2.0 * z);
    let second = root * k1 / (6.0 * z4);
    let third = root * k2 / (72.0 * z6 * z) - root * k2_whole / (36.0 * z2 * z);
    let fourth = root * k3 / (6480.0 * z6 * z4) + root * k3_whole / (216.0 * z6);
    first + second / n.sqrt() + third / n + fourth / (n * n.sqrt())
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
    }

    #[test]
    fn neighbouring_methods_agree() {
        for n in [141u64, 200, 500, 1000, 5000] {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let size = n as f64;
            let d = (2.2 / size).sqrt();
            close(2.0 * one_sided_tail(d, n), 1.0 - pelz_good(d * size.sqrt(), size), 2e-4);
            let d = (1.4 / size).powf(2.0 / 3.0);
            close(1.0 - durbin_matrix(d, n), 1.0 - pelz_good(d * size.sqrt(), size), 1e-5);
        }
    }

    #[test]
    fn a_tail_never_rises() {
        for n in [1u64, 2, 7, 100, 141, 3000, 100_000, 10_000_000] {
            let mut before = 1.0;
            for step in 0..400 {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let d = f64::from(step) * 5.0 / 400.0 / (n as f64).sqrt();
                let tail = kolmogorov_sf(d.min(1.0), n);
                assert!(tail <= before * (1.0 + 1e-9) + 1e-12, "n {n}, d {d}: {tail} after {before}");
                before = tail;
            }
        }
    }
}

//! Σx and Σx² of a slice without rounding, in windows of fixed-point integers.
//!
//! Adding 1.5·2⁵²·u to a double below 2⁵¹·u rounds it to a multiple of u, and the low bits of the result *are* that
//! multiple as an integer: the extraction step of S. Rump, T. Ogita, S. Oishi, *Accurate floating-point summation*, SIAM
//! J. Sci. Comput. 31 (2008), and of J. Demmel and H. D. Nguyen, *Fast reproducible floating-point summation*, ARITH 21
//! (2013). The integers of a window are added exactly; what the rounding left over goes to the next window, 50 bits
//! below. A square is the product and its rounding error, a double too (T. Dekker, *A floating-point technique for
//! extending the available precision*, Numer. Math. 18 (1971)), so nothing is lost there either.
//!
//! The sums are exact if no bit of a value lies below the last window, which the exponents of the slice tell.

use super::dispatch::dispatch;
use super::scan::Scan;

/// Most values of a call: times 2⁵⁰, they stay within 63 bits.
pub(crate) const SUMMED: usize = 2048;
/// Bits between windows.
const STEP: i32 = 50;
const SUM_WINDOWS: usize = 2;
/// The windows of squares; slices of few octaves need one fewer.
const SQUARE_WINDOWS: usize = 4;

/// Where the windows of a slice lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// All magnitudes are below 2^(exponent + 1).
    exponent: i32,
    /// Octaves between the greatest and the least magnitude.
    octaves: i32,
}

/// Integers, with the power of two that each counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums {
    /// Parts of Σx.
    pub(crate) sum: [(i64, i32); SUM_WINDOWS],
    /// Parts of Σx².
    pub(crate) squares: [(i64, i32); SQUARE_WINDOWS],
}

impl Windows {
    /// The windows of a slice of finite values, if there are any that hold all its bits.
    pub(crate) fn of(scan: &Scan) -> Option<Self> {
        let exponent = exponent_of(scan.largest());
        let octaves = exponent - exponent_of(scan.smallest);
        // Beyond these the last windows of the squares would leave the range of normal doubles.
        ((-438..=509).contains(&exponent) && octaves <= 47).then_some(Self { exponent, octaves })
    }

    fn unit_of_sum(self, window: usize) -> i32 {
        self.exponent + 1 - STEP * (1 + step(window))
    }

    fn unit_of_squares(self, window: usize) -> i32 {
        2 * (self.exponent + 1) - STEP * (1 + step(window))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "windows are few")]
const fn step(window: usize) -> i32 {
    window as i32
}

/// The exponent of a positive normal double; something below all of those for a subnormal one.
fn exponent_of(magnitude: f64) -> i32 {
    ((magnitude.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// 1.5·2^(52 + unit): adding it rounds to multiples of 2^unit.
fn rounder(unit: i32) -> f64 {
    f64::from_bits((u64::from((unit + 52 + 1023).unsigned_abs()) << 52) | (1 << 51))
}

/// Σx and Σx² of at most [`SUMMED`] finite values, whose windows are `windows`.
pub(crate) fn sums(tier: super::Tier, values: &[f64], windows: Windows) -> Sums {
    debug_assert!(values.len() <= SUMMED);
    let sum_rounders: [f64; SUM_WINDOWS] = std::array::from_fn(|w| rounder(windows.unit_of_sum(w)));
    let square_rounders: [f64; SQUARE_WINDOWS] = std::array::from_fn(|w| rounder(windows.unit_of_squares(w)));
    let mut sums = Sums {
        sum: std::array::from_fn(|w| (0, windows.unit_of_sum(w))),
        squares: std::array::from_fn(|w| (0, windows.unit_of_squares(w))),
    };
    let mut totals = [0; SUM_WINDOWS + SQUARE_WINDOWS];
    // Squares have twice the octaves, and twice the bits.
    if windows.octaves <= 22 {
        three_windows(tier, values, &sum_rounders, &square_rounders, &mut totals);
    } else {
        four_windows(tier, values, &sum_rounders, &square_rounders, &mut totals);
    }
    let (of_sum, of_squares) = totals.split_at(SUM_WINDOWS);
    sums.sum.iter_mut().zip(of_sum).for_each(|(part, &total)| part.0 = total);
    sums.squares.iter_mut().zip(of_squares).for_each(|(part, &total)| part.0 = total);
    sums
}

type Totals = [i64; SUM_WINDOWS + SQUARE_WINDOWS];

dispatch! {
    fn three_windows(values: &[f64], sum: &[f64; SUM_WINDOWS], squares: &[f64; SQUARE_WINDOWS], totals: &mut Totals)
        = three
}

dispatch! {
    fn four_windows(values: &[f64], sum: &[f64; SUM_WINDOWS], squares: &[f64; SQUARE_WINDOWS], totals: &mut Totals)
        = four
}

#[inline(always)]
fn three<const FMA: bool>(
    values: &[f64],
    sum: &[f64; SUM_WINDOWS],
    squares: &[f64; SQUARE_WINDOWS],
    totals: &mut Totals,
) {
    body::<FMA, 3>(values, sum, squares, totals);
}

#[inline(always)]
fn four<const FMA: bool>(
    values: &[f64],
    sum: &[f64; SUM_WINDOWS],
    squares: &[f64; SQUARE_WINDOWS],
    totals: &mut Totals,
) {
    body::<FMA, 4>(values, sum, squares, totals);
}

#[inline(always)]
fn body<const FMA: bool, const WINDOWS: usize>(
    values: &[f64],
    sum: &[f64; SUM_WINDOWS],
    squares: &[f64; SQUARE_WINDOWS],
    totals: &mut Totals,
) {
    let (mut of_sum, mut of_squares) = ([0i64; SUM_WINDOWS], [0i64; WINDOWS]);
    // Integers may be added in any order, so the compiler makes lanes of this loop by itself.
    for &value in values {
        let mut rest = value;
        let mut product = value * value;
        let mut error = product_error::<FMA>(value, product);
        for window in 0..SUM_WINDOWS {
            extract(&mut rest, sum[window], &mut of_sum[window]);
        }
        for window in 0..WINDOWS {
            extract(&mut product, squares[window], &mut of_squares[window]);
            // The error of a product is 53 bits below it: nothing of it reaches the first window.
            if window > 0 {
                extract(&mut error, squares[window], &mut of_squares[window]);
            }
        }
    }
    // Every extraction added the bits of its rounder along with the integer.
    #[expect(clippy::cast_possible_wrap, reason = "a call has few values")]
    let times = values.len() as i64;
    let integer =
        |total: i64, rounder: f64, times: i64| total.wrapping_sub(rounder.to_bits().cast_signed().wrapping_mul(times));
    for window in 0..SUM_WINDOWS {
        totals[window] = integer(of_sum[window], sum[window], times);
    }
    for window in 0..WINDOWS {
        let times = if window > 0 { 2 * times } else { times };
        totals[SUM_WINDOWS + window] = integer(of_squares[window], squares[window], times);
    }
}

/// Moves the multiples of the rounder's unit from `value` into `total`, as an integer.
#[inline(always)]
fn extract(value: &mut f64, rounder: f64, total: &mut i64) {
    let rounded = *value + rounder;
    *total = total.wrapping_add(rounded.to_bits().cast_signed());
    *value -= rounded - rounder;
}

/// x² − `product`, where `product` is x² rounded: exact in either form unless something underflows.
#[inline(always)]
fn product_error<const FMA: bool>(x: f64, product: f64) -> f64 {
    if FMA {
        return x.mul_add(x, -product);
    }
    // Veltkamp's split into two halves of 26 bits.
    let scaled = x * 134_217_729.0;
    let high = scaled - (scaled - x);
    let low = x - high;
    ((high * high - product) + 2.0 * high * low) + low * low
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;

    use super::super::{Tier, naive, scan};
    use super::*;

    /// Both sums as integers, in units of 2⁻²¹⁴⁸.
    fn total(parts: &[(i64, i32)]) -> BigInt {
        parts.iter().map(|&(part, unit)| BigInt::from(part) << (unit + 2148)).sum()
    }

    #[test]
    fn every_tier_sums_exactly() {
        let mut seen = [0; 2];
        for values in naive::families() {
            let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).take(SUMMED).collect();
            let Some(windows) = Windows::of(&scan(Tier::best(), &values)) else { continue };
            seen[usize::from(windows.octaves > 22)] += 1;
            let (sum, squares) = naive::sums(&values);
            for tier in Tier::available() {
                let ours = sums(tier, &values, windows);
                assert_eq!(total(&ours.sum), sum, "{tier:?} Σx of {values:?}");
                assert_eq!(total(&ours.squares), squares, "{tier:?} Σx² of {values:?}");
            }
        }
        assert!(seen.iter().all(|&seen| seen > 10), "both widths are tried: {seen:?}");
    }
}

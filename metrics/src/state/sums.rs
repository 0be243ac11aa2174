//! Σx and Σx² without rounding.
//!
//! Every finite double is an integer times 2⁻¹⁰⁷⁴, and its square an integer times 2⁻²¹⁴⁸, so both sums are
//! integers and adding them is exact whatever the order: a fixed-point superaccumulator (Kulisch; in the form
//! of R. Neal, *Fast exact summation using small and large superaccumulators*, arXiv 1505.05571). The mean is
//! rounded once, and the variance (nΣx² − (Σx)²) / (n(n−1)) is formed exactly and rounded once.
//!
//! A slice is summed by a kernel in a few windows of 64-bit integers, which are carried into the state at the end. Only
//! slices with magnitudes from both ends of the doubles go value by value.
//!
//! Unit: the column's own, and its square. Error: none before the one rounding of an answer.
//!
//! ```
//! use limno_metrics::state::ExactSums;
//!
//! let mut sums = ExactSums::default();
//! sums.observe_slice(&[1e16, 1.0, -1e16]);
//! assert_eq!(sums.mean(), Some(1.0 / 3.0));
//! ```

use num_bigint::{BigInt, BigUint, Sign};

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::kernel::{self, SUMMED, Scan, Tier, Windows};
use crate::rounding;
use crate::{Error, Result};

/// The unit of Σx is the least subnormal, 2 to the minus this.
const UNIT: i32 = 1074;
/// Magnitudes from this part of the greatest on lie in its windows.
const WINDOWED: f64 = 1.0 / (1u64 << 46) as f64;

/// Exact Σx and Σx² of finite values, and their number.
#[derive(Debug, Clone, Default)]
pub struct ExactSums {
    count: u64,
    sum: Fixed,
    squares: Fixed,
}

/// The biased exponent (at least 1) and the signed integer mantissa of a finite double.
#[inline(always)]
fn split(value: f64) -> (usize, i64) {
    let bits = value.to_bits();
    let field = ((bits >> 52) & 0x7ff) as usize;
    let hidden = u64::from(field != 0) << 52;
    let magnitude = ((bits & ((1 << 52) - 1)) | hidden).cast_signed();
    let sign = bits.cast_signed() >> 63;
    (field.max(1), (magnitude ^ sign) - sign)
}

impl ExactSums {
    /// Adds one finite value.
    pub fn observe(&mut self, value: f64) {
        let (exponent, mantissa) = split(value);
        self.count += 1;
        self.add(exponent, i128::from(mantissa), square(mantissa));
    }

    fn add(&mut self, exponent: usize, sum: i128, squares: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "an exponent has eleven bits")]
        let shift = (exponent - 1) as u32;
        self.sum.add(sum.unsigned_abs(), sum < 0, shift);
        self.squares.add(squares, false, 2 * shift);
    }

    /// Adds the finite ones among `values`; skips NaN and infinities.
    pub fn observe_slice(&mut self, values: &[f64]) {
        for chunk in values.chunks(SUMMED) {
            self.observe_scanned(chunk, &kernel::scan(Tier::best(), chunk));
        }
    }

    /// Adds the finite ones among at most [`SUMMED`] values, which `scan` has seen.
    pub(crate) fn observe_scanned(&mut self, values: &[f64], scan: &Scan) {
        if !scan.is_finite() {
            let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let scan = kernel::scan(Tier::best(), &finite);
            self.observe_scanned(&finite, &scan);
        } else if scan.largest() <= 0.0 {
            // Zeros, or nothing.
            self.count += values.len() as u64;
        } else if let Some(windows) = Windows::of(scan) {
            self.count += values.len() as u64;
            let sums = kernel::sums(Tier::best(), values, windows);
            for (part, unit) in sums.sum {
                self.sum.add(part.unsigned_abs().into(), part < 0, (unit + UNIT).unsigned_abs());
            }
            for (part, unit) in sums.squares {
                self.squares.add(part.unsigned_abs().into(), part < 0, (unit + 2 * UNIT).unsigned_abs());
            }
        } else {
            self.observe_wide(values, scan);
        }
    }

    /// The rare slice whose magnitudes are too far apart for windows: what is far below the greatest goes one by one.
    fn observe_wide(&mut self, values: &[f64], scan: &Scan) {
        let least = scan.largest() * WINDOWED;
        let (large, small): (Vec<f64>, Vec<f64>) = values.iter().partition(|value| value.abs() >= least);
        let scan = kernel::scan(Tier::best(), &large);
        if Windows::of(&scan).is_some() {
            self.observe_scanned(&large, &scan);
        } else {
            large.iter().for_each(|&value| self.observe(value));
        }
        small.iter().for_each(|&value| self.observe(value));
    }

    /// Adds `times` times the finite value `value`.
    pub fn observe_times(&mut self, value: f64, times: u64) {
        let (exponent, mantissa) = split(value);
        self.count += times;
        // 53 + 64 bits fit; of the square only 106 + 64 do not, so it goes in two halves.
        self.add(exponent, i128::from(mantissa) * i128::from(times), 0);
        let (high, low) = (u128::from(times >> 20), u128::from(times & 0xf_ffff));
        #[expect(clippy::cast_possible_truncation, reason = "an exponent has eleven bits")]
        let shift = 2 * (exponent - 1) as u32;
        self.squares.add(square(mantissa) * low, false, shift);
        self.squares.add_wide(square(mantissa), high, shift + 20);
    }

    /// The number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The mean, rounded once; `None` if there are no values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| rounding::ratio(&self.sum.to_big(), &self.count.into(), -i64::from(UNIT)))
    }

    /// The sum, rounded once; `None` if there are no values.
    #[must_use]
    pub fn total(&self) -> Option<f64> {
        (self.count > 0).then(|| rounding::ratio(&self.sum.to_big(), &BigUint::from(1u8), -i64::from(UNIT)))
    }

    /// What the rounding of [`total`](Self::total) took away, itself rounded once: both together are the sum to more than
    /// a hundred bits. `None` if there are no values, or if their sum is beyond the doubles.
    #[must_use]
    pub fn total_rest(&self) -> Option<f64> {
        let (exponent, mantissa) = split(self.total().filter(|total| total.is_finite())?);
        let rest = self.sum.to_big() - (BigInt::from(mantissa) << (exponent - 1));
        Some(rounding::ratio(&rest, &BigUint::from(1u8), -i64::from(UNIT)))
    }

    /// The variance of the values themselves (denominator n), rounded once; `None` if there are none.
    #[must_use]
    pub fn population_variance(&self) -> Option<f64> {
        if self.count == 1 {
            return Some(0.0);
        }
        let (numerator, _) = self.variance_parts()?;
        let denominator = BigUint::from(self.count) * self.count;
        Some(rounding::ratio(&numerator.into(), &denominator, -2 * i64::from(UNIT)))
    }

    /// The sample variance (denominator n−1), rounded once; `None` below two values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let (numerator, denominator) = self.variance_parts()?;
        Some(rounding::ratio(&numerator.into(), &denominator, -2 * i64::from(UNIT)))
    }

    /// The sample standard deviation (denominator n−1), rounded once; `None` below two values.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f64> {
        let (numerator, denominator) = self.variance_parts()?;
        Some(rounding::sqrt_ratio(&numerator, &denominator, -2 * i64::from(UNIT)))
    }

    /// The sum, rounded once.
    pub(crate) fn sum(&self) -> f64 {
        rounding::ratio(&self.sum.to_big(), &1u32.into(), -i64::from(UNIT))
    }

    /// The mean of the squares, rounded once; `None` if there are no values.
    pub(crate) fn mean_square(&self) -> Option<f64> {
        let ratio = || rounding::ratio(&self.squares.to_big(), &self.count.into(), -2 * i64::from(UNIT));
        (self.count > 0).then(ratio)
    }

    /// The square root of the mean of the squares, rounded once; `None` if there are no values.
    pub(crate) fn root_mean_square(&self) -> Option<f64> {
        let squares = self.squares.to_big().into_parts().1;
        (self.count > 0).then(|| rounding::sqrt_ratio(&squares, &self.count.into(), -2 * i64::from(UNIT)))
    }

    /// The sum in units of 2⁻¹⁰⁷⁴ and the sum of squares in units of 2⁻²¹⁴⁸.
    pub(crate) fn exact(&self) -> (BigInt, BigInt) {
        (self.sum.to_big(), self.squares.to_big())
    }

    /// nΣx² − (Σx)² and n(n−1).
    fn variance_parts(&self) -> Option<(BigUint, BigUint)> {
        if self.count < 2 {
            return None;
        }
        let sum = self.sum.to_big();
        let spread = self.squares.to_big() * self.count - &sum * &sum;
        let denominator = BigUint::from(self.count) * (self.count - 1);
        Some((spread.into_parts().1, denominator))
    }
}

#[inline(always)]
fn square(mantissa: i64) -> u128 {
    let magnitude = u128::from(mantissa.unsigned_abs());
    magnitude * magnitude
}

impl MergeableState for ExactSums {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.count = Error::sum(self.count, other.count)?;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        out.varint(self.count);
        self.sum.encode(out);
        self.squares.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { count: input.varint()?, sum: Fixed::decode(input)?, squares: Fixed::decode(input)? })
    }

    fn heap_size(&self) -> usize {
        (self.sum.limbs.capacity() + self.squares.limbs.capacity()) * size_of::<i64>()
    }
}

/// Carry after this many additions: each adds less than 2³³ to a limb of 63 bits.
const CARRY_EVERY: u32 = 1 << 28;
/// Bits of the greatest possible sum: 2⁶⁴ squares of 2¹⁰²⁴, over 2⁻²¹⁴⁸.
const MAX_BITS: usize = 2 * 2100 + 64;

/// A wide integer in limbs of 32 bits with room for carries, from the lowest limb in use.
#[derive(Debug, Clone, Default)]
struct Fixed {
    offset: usize,
    limbs: Vec<i64>,
    additions: u32,
}

impl Fixed {
    /// Adds ±`magnitude` · 2^`shift`.
    fn add(&mut self, magnitude: u128, negative: bool, shift: u32) {
        if magnitude == 0 {
            return;
        }
        if self.additions >= CARRY_EVERY {
            *self = Self::from_big(&self.to_big());
        }
        self.additions += 1;
        let first = (shift / 32) as usize;
        self.reserve(first, first + 5);
        let bit = shift % 32;
        let mut rest = magnitude;
        let mut limb = first - self.offset;
        while rest != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are wanted")]
            let digit = u64::from(rest as u32) << bit;
            let (low, high) = ((digit & 0xffff_ffff).cast_signed(), (digit >> 32).cast_signed());
            if negative {
                self.limbs[limb] -= low;
                self.limbs[limb + 1] -= high;
            } else {
                self.limbs[limb] += low;
                self.limbs[limb + 1] += high;
            }
            rest >>= 32;
            limb += 1;
        }
    }

    /// Adds `a · b · 2^shift`, where the product may have more than 128 bits.
    fn add_wide(&mut self, a: u128, b: u128, shift: u32) {
        let mask = (1u128 << 32) - 1;
        for part in 0..4u32 {
            let digit = (a >> (32 * part)) & mask;
            self.add(digit * b, false, shift + 32 * part);
        }
    }

    /// Makes room for limbs `from..to`.
    fn reserve(&mut self, from: usize, to: usize) {
        if self.limbs.is_empty() {
            self.offset = from;
        }
        if from < self.offset {
            let missing = self.offset - from;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = from;
        }
        if self.limbs.len() < to - self.offset {
            self.limbs.resize(to - self.offset, 0);
        }
    }

    fn merge(&mut self, other: &Self) {
        let other = other.to_big();
        if other.sign() != Sign::NoSign {
            *self = Self::from_big(&(self.to_big() + other));
        }
    }

    fn to_big(&self) -> BigInt {
        let mut carry = 0i64;
        let mut digits = Vec::with_capacity(self.limbs.len() + 2);
        for &limb in &self.limbs {
            let total = limb + carry;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low 32 bits are wanted")]
            digits.push(total as u32);
            carry = total >> 32;
        }
        // The rest is a small signed number on top of the unsigned digits.
        let low = BigInt::from(BigUint::new(digits));
        let top = BigInt::from(carry) << (32 * self.limbs.len());
        (low + top) << (32 * self.offset)
    }

    fn from_big(value: &BigInt) -> Self {
        let negative = value.sign() == Sign::Minus;
        let digits = value.magnitude().to_u32_digits();
        let offset = digits.iter().take_while(|&&digit| digit == 0).count();
        let limbs =
            digits[offset..].iter().map(|&digit| if negative { -i64::from(digit) } else { i64::from(digit) }).collect();
        Self { offset, limbs, additions: 1 }
    }

    fn encode(&self, out: &mut Writer) {
        let value = self.to_big();
        let zeros = value.magnitude().trailing_zeros().unwrap_or(0) / 8;
        out.byte(u8::from(value.sign() == Sign::Minus));
        out.varint(zeros);
        let odd: BigUint = value.magnitude() >> (8 * zeros);
        out.slice(&if odd.bits() == 0 { Vec::new() } else { odd.to_bytes_le() });
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let invalid = || Error::invalid_data("an exact sum is out of shape");
        let sign = match input.byte()? {
            0 => Sign::Plus,
            1 => Sign::Minus,
            _ => return Err(invalid()),
        };
        let zeros = usize::try_from(input.varint()?).map_err(|_| invalid())?;
        let bytes = input.slice()?;
        if zeros.saturating_add(bytes.len()) > MAX_BITS / 8 + 8 {
            return Err(invalid());
        }
        Ok(Self::from_big(&(BigInt::from_bytes_le(sign, bytes) << (8 * zeros))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(values: &[f64]) -> ExactSums {
        let mut state = ExactSums::default();
        state.observe_slice(values);
        state
    }

    #[test]
    fn large_offsets_keep_the_variance() {
        let values: Vec<f64> = (0..1000).map(|i| 1e16 + f64::from(i % 3) * 2.0).collect();
        let state = sums(&values);
        let small: Vec<f64> = (0..1000).map(|i| f64::from(i % 3) * 2.0).collect();
        assert_eq!(state.variance(), sums(&small).variance());
        assert_eq!(state.mean(), Some(1e16 + 2.0));
    }

    #[test]
    fn a_sum_and_its_rest_are_the_whole_sum() {
        let state = sums(&[1e16, 0.5, f64::EPSILON / 2.0]);
        assert_eq!((state.total(), state.total_rest()), (Some(1e16), Some(0.5 + f64::EPSILON / 2.0)));
        // Just short of the middle between two doubles.
        let state = sums(&[-1e16, -3.0, 5e-324]);
        assert_eq!((state.total(), state.total_rest()), (Some(-1e16 - 2.0), Some(-1.0)));
        assert_eq!(sums(&[0.5, 0.25]).total_rest(), Some(0.0));
        assert_eq!(sums(&[f64::MAX, f64::MAX]).total_rest(), None);
        assert_eq!(sums(&[]).total_rest(), None);
    }

    #[test]
    fn squares_neither_overflow_nor_vanish() {
        let state = sums(&[1e300, -1e300]);
        assert_eq!(state.mean(), Some(0.0));
        let deviation = state.standard_deviation().unwrap();
        assert!((deviation / 1e300 - 2f64.sqrt()).abs() < 1e-15, "{deviation}");
        assert_eq!(state.variance(), Some(f64::INFINITY));
        assert!(sums(&[1e-300, -1e-300]).standard_deviation().unwrap() > 0.0);
        assert_eq!(sums(&[f64::MAX, f64::MAX]).mean(), Some(f64::MAX));
    }

    #[test]
    fn slices_values_and_multiples_agree() {
        let values: Vec<f64> =
            (0..100).map(|i| f64::from(i - 50) * 1.1f64.powi(i * 7 - 300)).chain([f64::NAN, f64::INFINITY]).collect();
        let slice = sums(&values);
        let mut single = ExactSums::default();
        for &value in values.iter().rev().filter(|v| v.is_finite()) {
            single.observe(value);
        }
        let encode = |state: &ExactSums| {
            let mut out = Writer::default();
            state.encode(&mut out);
            out.finish()
        };
        assert_eq!(encode(&slice), encode(&single));
        let mut times = ExactSums::default();
        times.observe_times(-1.7e100, 3_000_001);
        let mut merged = ExactSums::default();
        merged.observe_times(-1.7e100, 3_000_000);
        merged.merge(&sums(&[-1.7e100])).unwrap();
        assert_eq!(encode(&times), encode(&merged));
    }
}

//! Exact rationals rounded to the nearest double, once.
//!
//! The sums of a column are kept without rounding; the mean, the variance and the standard deviation are the
//! rationals (or square roots of rationals) rounded here, half to even, as IEEE 754 asks of one operation.

use num_bigint::{BigInt, BigUint, Sign};

const MANTISSA_BITS: i64 = 53;
const MIN_EXPONENT: i64 = -1074;

/// `numerator / denominator · 2^exponent`, correctly rounded. `denominator` must not be zero.
pub(crate) fn ratio(numerator: &BigInt, denominator: &BigUint, exponent: i64) -> f64 {
    let magnitude = ratio_unsigned(numerator.magnitude(), denominator, exponent);
    if numerator.sign() == Sign::Minus { -magnitude } else { magnitude }
}

fn ratio_unsigned(numerator: &BigUint, denominator: &BigUint, exponent: i64) -> f64 {
    if numerator.bits() == 0 {
        return 0.0;
    }
    // Bring the quotient to at least 64 bits, so that rounding sees every bit it needs and a sticky one.
    let shift = 65 + bits(denominator) - bits(numerator);
    let (dividend, divisor) = shifted(numerator, denominator, shift);
    let quotient = &dividend / &divisor;
    let sticky = &quotient * &divisor != dividend;
    round(&quotient, sticky, exponent - shift)
}

/// `sqrt(numerator / denominator · 2^exponent)`, correctly rounded.
pub(crate) fn sqrt_ratio(numerator: &BigUint, denominator: &BigUint, exponent: i64) -> f64 {
    if numerator.bits() == 0 {
        return 0.0;
    }
    let mut shift = 131 + bits(denominator) - bits(numerator);
    if (exponent - shift).rem_euclid(2) != 0 {
        shift += 1;
    }
    let (dividend, divisor) = shifted(numerator, denominator, shift);
    let quotient = &dividend / &divisor;
    let root = quotient.sqrt();
    // Inexact if the division or the root left a remainder.
    let sticky = &quotient * &divisor != dividend || &root * &root != quotient;
    round(&root, sticky, (exponent - shift) / 2)
}

fn shifted(numerator: &BigUint, denominator: &BigUint, shift: i64) -> (BigUint, BigUint) {
    if shift >= 0 {
        (numerator << shift.cast_unsigned(), denominator.clone())
    } else {
        (numerator.clone(), denominator << shift.unsigned_abs())
    }
}

fn bits(value: &BigUint) -> i64 {
    i64::try_from(value.bits()).unwrap_or(i64::MAX)
}

/// `mantissa · 2^exponent` (plus a tail below one unit if `sticky`), half to even.
fn round(mantissa: &BigUint, sticky: bool, exponent: i64) -> f64 {
    let length = bits(mantissa);
    // The weight of the last bit that the result keeps: 53 bits, or fewer among the subnormals.
    let unit = (exponent + length - MANTISSA_BITS).max(MIN_EXPONENT);
    let drop = unit - exponent;
    debug_assert!(drop > 0, "callers provide more than 53 bits");
    let drop = drop.unsigned_abs();
    let kept: BigUint = mantissa >> drop;
    let half = drop > 0 && mantissa.bit(drop - 1);
    let below = sticky || mantissa.trailing_zeros().is_some_and(|zeros| zeros + 1 < drop);
    let mut kept = kept.iter_u64_digits().next().unwrap_or(0);
    if half && (below || kept & 1 == 1) {
        kept += 1;
    }
    scale(kept, unit)
}

/// `mantissa · 2^exponent` for a mantissa of at most 53 bits (or exactly 2^53) that needs no rounding.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53: exact")]
    let value = mantissa as f64;
    if exponent > 971 {
        // 2^971 is the unit of the largest doubles.
        return f64::INFINITY;
    }
    if exponent >= -1022 { value * power(exponent) } else { value * power(-1022) * power(exponent + 1022) }
}

/// 2^exponent for exponents of normal doubles; two factors reach the subnormals without a second rounding,
/// since the mantissa was cut to fit.
fn power(exponent: i64) -> f64 {
    let biased = (exponent + 1023).clamp(1, 2046).cast_unsigned();
    f64::from_bits(biased << 52)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "rounding is right to the bit or wrong")]
mod tests {
    use super::*;

    fn big(value: u64) -> BigUint {
        BigUint::from(value)
    }

    #[test]
    fn small_ratios_match_hardware_division() {
        for numerator in [1u64, 2, 3, 7, 10, 12345, (1 << 53) - 1] {
            for denominator in [1u64, 3, 7, 10, 1000, 999_983] {
                #[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
                let expected = numerator as f64 / denominator as f64;
                let got = ratio(&BigInt::from(numerator), &big(denominator), 0);
                assert_eq!(got.to_bits(), expected.to_bits(), "{numerator}/{denominator}");
            }
        }
    }

    #[test]
    fn square_roots_match_hardware() {
        for value in [1u64, 2, 3, 4, 5, 10, 1 << 40, 123_456_789] {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let expected = (value as f64).sqrt();
            assert_eq!(sqrt_ratio(&big(value), &big(1), 0).to_bits(), expected.to_bits());
            assert_eq!(sqrt_ratio(&big(value), &big(1), -4).to_bits(), (expected / 4.0).to_bits());
            assert_eq!(sqrt_ratio(&(big(value) << 1u32), &big(1), -1).to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn subnormals_and_overflow() {
        assert_eq!(ratio(&BigInt::from(1), &big(1), -1074), 5e-324);
        assert_eq!(ratio(&BigInt::from(1), &big(2), -1074), 0.0);
        assert_eq!(ratio(&BigInt::from(3), &big(2), -1074), 1e-323);
        assert_eq!(ratio(&BigInt::from(1), &big(1), 1024), f64::INFINITY);
        assert_eq!(ratio(&BigInt::from(-1), &big(1), 1023), -(2f64.powi(1023)));
        assert_eq!(ratio(&BigInt::from((1u64 << 53) - 1), &big(1), 971), f64::MAX);
    }
}

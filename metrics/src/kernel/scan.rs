//! What a slice holds, at a glance: extrema, zeros, NaN.

use super::Tier;
use super::dispatch::dispatch;

/// The magnitude of an infinity; those of NaN are greater.
const INFINITE: i64 = 0x7ff0 << 48;

/// What a slice holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scan {
    /// The least value that is not NaN; +∞ if there is none.
    pub(crate) least: f64,
    /// The greatest value that is not NaN; −∞ if there is none.
    pub(crate) greatest: f64,
    /// The least magnitude that is not zero; +∞ if there is none.
    pub(crate) smallest: f64,
    /// Values equal to zero, of either sign.
    pub(crate) zeros: u64,
    /// NaN values.
    pub(crate) nan: u64,
}

impl Scan {
    /// Whether every value is finite, so that sums need no care.
    pub(crate) const fn is_finite(&self) -> bool {
        self.nan == 0 && self.greatest < f64::INFINITY && self.least > f64::NEG_INFINITY
    }

    /// The greatest magnitude; 0 if there is no number.
    pub(crate) const fn largest(&self) -> f64 {
        self.greatest.max(-self.least).max(0.0)
    }
}

/// Looks at every value.
pub(crate) fn scan(tier: Tier, values: &[f64]) -> Scan {
    let marks = marks(tier, values);
    if marks.nan > 0 {
        let numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        return Scan { nan: marks.nan.cast_unsigned(), ..scan(tier, &numbers) };
    }
    if values.is_empty() {
        let (least, greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        return Scan { least, greatest, smallest: f64::INFINITY, zeros: 0, nan: 0 };
    }
    let value_of = |ordered: i64| f64::from_bits((ordered ^ ((ordered >> 63) & i64::MAX)).cast_unsigned());
    let is_all_zero = marks.smallest == i64::MAX;
    Scan {
        // Adding +0.0 turns −0.0 into +0.0.
        least: value_of(marks.least) + 0.0,
        greatest: value_of(marks.greatest) + 0.0,
        smallest: if is_all_zero {
            f64::INFINITY
        } else {
            f64::from_bits((marks.smallest ^ i64::MIN).cast_unsigned() + 1)
        },
        zeros: marks.zeros.cast_unsigned(),
        nan: 0,
    }
}

/// A scan in integers, whose order the compiler may change, so that it makes lanes of the loop by itself.
struct Marks {
    /// Doubles as signed integers of the same order, NaN at both ends.
    least: i64,
    greatest: i64,
    /// Magnitudes less one, zero being the greatest, as signed integers of the same order.
    smallest: i64,
    zeros: i64,
    nan: i64,
}

dispatch! {
    fn marks(values: &[f64]) -> Marks = body
}

#[inline(always)]
fn body<const FMA: bool>(values: &[f64]) -> Marks {
    let (mut least, mut greatest, mut smallest, mut zeros, mut nan) = (i64::MAX, i64::MIN, i64::MAX, 0, 0);
    for value in values {
        let bits = value.to_bits().cast_signed();
        let magnitude = bits & i64::MAX;
        let ordered = bits ^ ((bits >> 63) & i64::MAX);
        least = least.min(ordered);
        greatest = greatest.max(ordered);
        smallest = smallest.min(magnitude.wrapping_sub(1) ^ i64::MIN);
        zeros += i64::from(magnitude == 0);
        nan += i64::from(magnitude > INFINITE);
    }
    Marks { least, greatest, smallest, zeros, nan }
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::*;

    #[test]
    fn every_tier_sees_what_a_plain_loop_sees() {
        for values in naive::families() {
            let expected = naive::scan(&values);
            for tier in Tier::available() {
                assert_eq!(scan(tier, &values), expected, "{tier:?} {values:?}");
            }
        }
    }
}

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
    if values.is_empty() {
        let (least, greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        return Scan { least, greatest, smallest: f64::INFINITY, zeros: 0, nan: 0 };
    }
    let ends = ends(tier, values);
    // As integers NaN stand at both ends.
    if ends.greatest > INFINITE || ends.least < !INFINITE {
        let numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        return Scan { nan: (values.len() - numbers.len()) as u64, ..scan(tier, &numbers) };
    }
    let value_of = |ordered: i64| f64::from_bits((ordered ^ ((ordered >> 63) & i64::MAX)).cast_unsigned());
    let mut smallest = f64::from_bits(ends.smallest.cast_unsigned());
    let mut zeros = 0;
    if ends.smallest == 0 {
        let few = zeros_and_smallest(tier, values);
        zeros = few.0.cast_unsigned();
        let is_all_zero = few.1 == i64::MAX;
        smallest = if is_all_zero { f64::INFINITY } else { f64::from_bits((few.1 ^ i64::MIN).cast_unsigned() + 1) };
    }
    // Adding +0.0 turns −0.0 into +0.0.
    Scan { least: value_of(ends.least) + 0.0, greatest: value_of(ends.greatest) + 0.0, smallest, zeros, nan: 0 }
}

/// The ends of a slice in integers, whose order the compiler may change, so that it makes lanes of the loop by itself.
struct Ends {
    /// Doubles as signed integers of the same order.
    least: i64,
    greatest: i64,
    /// The least magnitude, zero among them.
    smallest: i64,
}

dispatch! {
    fn ends(values: &[f64]) -> Ends = ends_body
}

dispatch! {
    /// The number of zeros and the least magnitude of the others less one, as a signed integer of the same order.
    fn zeros_and_smallest(values: &[f64]) -> (i64, i64) = zeros_body
}

#[inline(always)]
fn ends_body<const FMA: bool>(values: &[f64]) -> Ends {
    let (mut least, mut greatest, mut smallest) = (i64::MAX, i64::MIN, i64::MAX);
    for value in values {
        let bits = value.to_bits().cast_signed();
        let ordered = bits ^ ((bits >> 63) & i64::MAX);
        least = least.min(ordered);
        greatest = greatest.max(ordered);
        smallest = smallest.min(bits & i64::MAX);
    }
    Ends { least, greatest, smallest }
}

#[inline(always)]
fn zeros_body<const FMA: bool>(values: &[f64]) -> (i64, i64) {
    let (mut zeros, mut smallest) = (0, i64::MAX);
    for value in values {
        let magnitude = value.to_bits().cast_signed() & i64::MAX;
        zeros += i64::from(magnitude == 0);
        // Zero becomes the greatest.
        smallest = smallest.min(magnitude.wrapping_sub(1) ^ i64::MIN);
    }
    (zeros, smallest)
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

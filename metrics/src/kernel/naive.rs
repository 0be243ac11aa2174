//! Plain loops that say what the kernels mean, and slices on which kernels go wrong.

use limno_fixtures::SplitMix64;
use num_bigint::BigInt;

use super::Scan;

pub(crate) fn scan(values: &[f64]) -> Scan {
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    Scan {
        least: numbers().fold(f64::INFINITY, f64::min) + 0.0,
        greatest: numbers().fold(f64::NEG_INFINITY, f64::max) + 0.0,
        smallest: numbers().map(f64::abs).filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min),
        zeros: numbers().filter(|&value| value == 0.0).count() as u64,
        nan: values.iter().filter(|value| value.is_nan()).count() as u64,
    }
}

/// Σx and Σx² in units of 2⁻²¹⁴⁸.
pub(crate) fn sums(values: &[f64]) -> (BigInt, BigInt) {
    let integer = |value: f64| {
        let bits = value.to_bits();
        let field = (bits >> 52) & 0x7ff;
        let mantissa = (bits & ((1 << 52) - 1)) | (u64::from(field != 0) << 52);
        let magnitude = BigInt::from(mantissa) << (field.max(1) - 1);
        if value < 0.0 { -magnitude } else { magnitude }
    };
    let sum: BigInt = values.iter().map(|&value| integer(value)).sum();
    (sum << 1074, values.iter().map(|&value| integer(value) * integer(value)).sum())
}

/// Slices of every short length, then long ones, of several kinds.
pub(crate) fn families() -> Vec<Vec<f64>> {
    let mut rng = SplitMix64::new(3);
    let mut families = Vec::new();
    let special = [0.0, -0.0, 1.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MAX, 1e16, 0.1];
    for length in (0..40).chain([255, 256, 257, 1000, 2047, 2048, 5000]) {
        let mut many =
            |one: &mut dyn FnMut(&mut SplitMix64) -> f64| -> Vec<f64> { (0..length).map(|_| one(&mut rng)).collect() };
        families.push(many(&mut |rng| rng.uniform()));
        families.push(many(&mut |rng| -1e3 * rng.uniform() - 7.0));
        families.push(many(&mut SplitMix64::normal));
        families.push(many(&mut |rng| rng.normal() * 2f64.powi(rng_exponent(rng, 20))));
        families.push(many(&mut |rng| rng.uniform() * 2f64.powi(rng_exponent(rng, 45))));
        families.push(many(&mut |rng| rng.normal() * 2f64.powi(rng_exponent(rng, 2000) - 1000)));
        families.push(many(&mut |rng| 1.7e9 + rng.uniform() * 1e6));
        families.push(many(&mut |rng| (rng.below(200) as f64) - 100.0));
        families.push(many(&mut |rng| special[rng_exponent(rng, special.len() as u64).unsigned_abs() as usize]));
        families.push(many(&mut |rng| if rng.chance(0.9) { rng.normal() } else { f64::NAN }));
        families.push(many(&mut |rng| f64::from_bits(rng.next_u64())));
    }
    families
}

fn rng_exponent(rng: &mut SplitMix64, below: u64) -> i32 {
    i32::try_from(rng.below(below)).unwrap()
}

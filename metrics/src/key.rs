//! Finite and infinite doubles as unsigned integers of the same order (design: the nested-key histogram).
//!
//! Flipping all bits of negatives and the sign bit of the rest makes the unsigned order of the bit patterns
//! the numeric order of the values. −0.0 becomes +0.0 first, so that equal values have equal keys.

const SIGN: u64 = 1 << 63;
/// The key of zero.
pub(crate) const ZERO_KEY: u64 = SIGN;

/// The key of `value`, which must not be NaN.
#[inline(always)]
pub(crate) fn key_of(value: f64) -> u64 {
    // Adding +0.0 turns −0.0 into +0.0 and leaves every other value alone.
    let bits = (value + 0.0).to_bits();
    let flip = (bits.cast_signed() >> 63).cast_unsigned() | SIGN;
    bits ^ flip
}

/// Whether `key` is the key of a number: NaN has none.
pub(crate) const fn is_key(key: u64) -> bool {
    // −∞ and +∞ are the first and the last.
    key >= !0xfff0_0000_0000_0000 && key <= 0x7ff0_0000_0000_0000 ^ SIGN
}

/// The value whose key is `key`.
#[inline(always)]
pub(crate) fn value_of(key: u64) -> f64 {
    let flip = if key & SIGN == 0 { u64::MAX } else { SIGN };
    f64::from_bits(key ^ flip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_round_trip() {
        let values = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1e16,
            -1.5,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            1.5,
            1e300,
            f64::MAX,
            f64::INFINITY,
        ];
        for pair in values.windows(2) {
            assert!(key_of(pair[0]) < key_of(pair[1]), "{pair:?}");
        }
        for value in values {
            assert_eq!(value_of(key_of(value)).to_bits(), value.to_bits());
        }
        assert_eq!(key_of(-0.0), key_of(0.0));
        assert!(is_key(key_of(f64::INFINITY)) && !is_key(key_of(f64::INFINITY) + 1));
        assert!(is_key(key_of(f64::NEG_INFINITY)) && !is_key(key_of(f64::NEG_INFINITY) - 1));
    }
}

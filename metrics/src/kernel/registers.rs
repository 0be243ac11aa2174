//! The hashes behind a distinct count.

use super::dispatch::dispatch;

/// Most keys of a call.
pub(crate) const HASHES: usize = 256;

/// Spreads the bits of a fingerprint over a word: the finaliser of SplitMix64 (a bijection).
#[inline(always)]
pub(crate) const fn spread(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

dispatch! {
    /// Spreads the keys of at most [`HASHES`] values, none of them NaN.
    pub(crate) fn hashes(values: &[f64], hashes: &mut [u64; HASHES]) = body
}

#[inline(always)]
fn body<const FMA: bool>(values: &[f64], hashes: &mut [u64; HASHES]) {
    for (hash, &value) in hashes.iter_mut().zip(values) {
        *hash = spread(crate::key::key_of(value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tier, naive};
    use super::*;

    #[test]
    fn every_tier_hashes_alike() {
        for values in naive::families() {
            for chunk in values.chunks(HASHES) {
                let expected: Vec<u64> = chunk.iter().map(|&value| spread(crate::key::key_of(value))).collect();
                for tier in Tier::available() {
                    let mut ours = [0; HASHES];
                    hashes(tier, chunk, &mut ours);
                    assert_eq!(ours[..chunk.len()], expected);
                }
            }
        }
    }
}

//! The hashes behind a distinct count, and the registers that they raise.

use super::dispatch::dispatch;

/// Most keys of a call.
pub(crate) const HASHES: usize = 256;
const REGISTER_BITS: u32 = 12;
/// Registers of a distinct count.
pub(crate) const REGISTERS: usize = 1 << REGISTER_BITS;
/// Bits of a hash that are left for its rank.
pub(crate) const RANK_BITS: u32 = 64 - REGISTER_BITS;

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

/// The register of a hash, and its rank: one more than the zeros before the bits that do not name the register, at most 53.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "12 bits, and at most 53")]
pub(crate) const fn rank(hash: u64) -> (usize, u8) {
    let rest = (hash << REGISTER_BITS) | (1 << (REGISTER_BITS - 1));
    ((hash >> RANK_BITS) as usize, rest.leading_zeros() as u8 + 1)
}

dispatch! {
    /// Raises the register of each hash to its rank. Which ones rise cannot be foretold, so nothing branches on it.
    pub(crate) fn raise(hashes: &[u64], registers: &mut [u8; REGISTERS]) = raise_body
}

#[inline(always)]
fn raise_body<const FMA: bool>(hashes: &[u64], registers: &mut [u8; REGISTERS]) {
    for &hash in hashes {
        let (index, rank) = rank(hash);
        let register = &mut registers[index];
        *register = rank.max(*register);
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
                    let (mut naive, mut registers) = ([0; REGISTERS], [0; REGISTERS]);
                    for hash in &expected {
                        let rank = (hash << REGISTER_BITS).leading_zeros().min(RANK_BITS) + 1;
                        let register: &mut u8 = &mut naive[(hash >> RANK_BITS) as usize];
                        *register = (*register).max(u8::try_from(rank).unwrap());
                    }
                    raise(tier, &expected, &mut registers);
                    assert_eq!(registers, naive);
                }
            }
        }
    }
}

//! The smallest level at which few enough cells occur.

use super::buckets::Bucket;
use crate::key::key_of;

const MAGNITUDE: u64 = u64::MAX >> 1;
/// A bitmap of one sign has twice so many cells.
const BITMAP: u64 = 1 << 16;
const WORDS: usize = 1 << 11;
/// So many times neighbouring cells can be joined before they reach beyond the bitmap.
const JOINS: u8 = 16;
/// From this level on a cell is an octave.
const MAX_LEVEL: u8 = 52;
/// Values looked at to place the bitmap.
const SAMPLE: usize = 256;

/// The level at which at most `limit` cells are left of sorted buckets that stand at `level`.
pub(super) fn level_of_buckets(buckets: &[Bucket], level: u8, limit: u32) -> u8 {
    // Two neighbours fall together once their highest differing bit has been shifted out.
    let mut joins = [0usize; 65];
    for pair in buckets.windows(2) {
        joins[64 - (pair[0].cell ^ pair[1].cell).leading_zeros() as usize] += 1;
    }
    let mut left = buckets.len();
    for (more, joined) in (0u8..).zip(joins) {
        left -= joined;
        if left <= limit as usize {
            return level + more;
        }
    }
    64
}

/// The level of values, none of them zero, if they have more than `limit` cells at a level that a bitmap shows, or one that
/// is too fine where joining its cells does not go far enough; `None` if it does not show so many cells.
///
/// The cells of a level where most magnitudes lie are marked in a bitmap, the few others are sorted. If more cells are
/// in use than the limit allows, no finer level is the one, and coarser ones follow by joining neighbouring bits.
pub(super) fn level_of_values(values: &[f64], limit: u32) -> Option<u8> {
    let magnitude = |value: f64| value.to_bits() & MAGNITUDE;
    let mut sample: Vec<u64> =
        values.iter().step_by(values.len().div_ceil(SAMPLE).max(1)).copied().map(magnitude).collect();
    sample.sort_unstable();
    let (low, high) = (*sample.get(sample.len() / 16)?, *sample.last()?);
    let shift = 64 - ((high - low) / BITMAP).leading_zeros();
    // From a multiple of the bitmap's size to another, so that pairs stay pairs, and no cell joins one outside.
    let base = (low >> shift) / BITMAP * BITMAP;
    let mut maps = [vec![0u64; WORDS], vec![0u64; WORDS]];
    let mut outside: Vec<u64> = Vec::new();
    for &value in values {
        let bits = value.to_bits();
        let cell = (magnitude(value) >> shift).wrapping_sub(base);
        if cell < 2 * BITMAP {
            // The index is below the number of words.
            maps[usize::from(bits.cast_signed() < 0)][(cell / 64) as usize] |= 1 << (cell % 64);
        } else {
            outside.push(key_of(value));
        }
    }
    outside.sort_unstable();
    let first = u8::try_from(shift).ok()?;
    if occupied(&maps, &outside, first) <= limit as usize {
        return None;
    }
    // Cells that have been joined so often reach beyond the bitmap, so what is counted holds up to here. The level is then
    // at least this one, and the caller finds it from the table.
    let last = (first + JOINS).min(MAX_LEVEL);
    for level in first + 1..=last {
        maps.iter_mut().for_each(halve);
        if occupied(&maps, &outside, level) <= limit as usize {
            return Some(level);
        }
    }
    Some(last)
}

/// Cells in use: those that are marked, and those of sorted keys which are not.
pub(super) fn occupied(maps: &[Vec<u64>; 2], outside: &[u64], level: u8) -> usize {
    let inside = maps.iter().flatten().map(|word| word.count_ones()).sum::<u32>() as usize;
    let apart = outside.windows(2).filter(|pair| pair[0] >> level != pair[1] >> level).count();
    inside + apart + usize::from(!outside.is_empty())
}

/// Joins neighbouring bits.
pub(super) fn halve(map: &mut Vec<u64>) {
    let half = |word: u64| {
        // Each pair to its lower bit, then the even bits together.
        let mut word = (word | (word >> 1)) & 0x5555_5555_5555_5555;
        for (shift, mask) in [
            (1, 0x3333_3333_3333_3333u64),
            (2, 0x0f0f_0f0f_0f0f_0f0f),
            (4, 0x00ff_00ff_00ff_00ff),
            (8, 0x0000_ffff_0000_ffff),
            (16, 0x0000_0000_ffff_ffff),
        ] {
            word = (word | (word >> shift)) & mask;
        }
        word
    };
    let words = map.len().div_ceil(2);
    for index in 0..words {
        let low = half(map[2 * index]);
        let high = map.get(2 * index + 1).map_or(0, |&word| half(word));
        map[index] = low | (high << 32);
    }
    map.truncate(words);
}

#[cfg(test)]
mod tests {
    use limno_fixtures::SplitMix64;

    use super::*;

    fn by_sorting(values: &[f64], limit: u32) -> u8 {
        let mut keys: Vec<u64> = values.iter().map(|&value| key_of(value)).collect();
        keys.sort_unstable();
        keys.dedup();
        let atoms: Vec<Bucket> = keys.into_iter().map(|key| Bucket::atom(key, 1, 0)).collect();
        level_of_buckets(&atoms, 0, limit)
    }

    #[test]
    fn the_bitmap_is_never_too_coarse_and_seldom_too_fine() {
        let mut rng = SplitMix64::new(11);
        let (mut answers, mut agree) = (0, 0);
        for round in 0..300 {
            let (count, scale) = (rng.below(9000) + 50, 10f64.powi(i32::try_from(rng.below(12)).unwrap() - 6));
            let values: Vec<f64> = (0..count)
                .map(|_| match round % 6 {
                    0 => rng.uniform() * scale,
                    1 => rng.normal() * scale,
                    2 => 1.7e9 + rng.uniform() * 1e7 * scale,
                    3 => rng.normal().exp(),
                    4 => {
                        if rng.chance(0.3) {
                            0.0
                        } else {
                            rng.normal() + 3.0
                        }
                    }
                    _ => f64::from_bits(rng.next_u64() >> 2),
                })
                .collect();
            for limit in [16, 100, 1000, 4096] {
                if let Some(level) = level_of_values(&values, limit) {
                    let truth = by_sorting(&values, limit);
                    assert!(level <= truth, "round {round}, {count} values, limit {limit}: {level}, not {truth}");
                    answers += 1;
                    agree += u32::from(level == truth);
                }
            }
        }
        assert!(answers > 400 && agree * 4 > answers * 3, "{agree} of {answers}");
    }

    /// Values so narrow that cells have to be joined further than the bitmap reaches, beside a crowd that it does not show.
    #[test]
    fn a_narrow_cluster_beside_a_crowd() {
        let mut rng = SplitMix64::new(29);
        for round in 0..400u32 {
            let centre = 1.0 + rng.uniform();
            let span = 60_000 << (round % 5);
            let values: Vec<f64> = (0..1900)
                .map(|_| {
                    if rng.chance(0.93) {
                        f64::from_bits(centre.to_bits() + rng.below(span))
                    } else {
                        centre * (1.0 - 1e-4 * rng.uniform())
                    }
                })
                .collect();
            for limit in [16, 20, 64, 100] {
                if let Some(level) = level_of_values(&values, limit) {
                    let truth = by_sorting(&values, limit);
                    assert!(level <= truth, "round {round}, limit {limit}: {level}, not {truth}");
                }
            }
        }
    }

    #[test]
    fn halves_join_pairs() {
        let mut map = vec![0b1011_0100, 1 << 63, 1];
        halve(&mut map);
        assert_eq!(map, [0b1110 | 1 << 63, 1]);
    }
}

//! The bytes of a histogram.
//!
//! Limit, level, number of buckets; the first cell, the least and greatest key; then three columns side by side, compressed: the bit length of each
//! step between cells, the bit length of each count, and which buckets are atoms. Below their top bits steps, counts and
//! the atoms' keys follow in as many bits as they have: those look random, and nothing would compress them.

use super::super::bits::{BitReader, BitWriter, bit_length};
use super::super::codec::{Reader, Writer};
use super::{Bucket, Buckets, MIN_LIMIT};
use crate::key::is_key;
use crate::{Error, Result};

const MAX_LEVEL: u8 = 60;

pub(super) fn encode(limit: u32, canonical: &Buckets, out: &mut Writer) {
    let (level, buckets) = (canonical.level(), canonical.as_slice());
    out.varint(u64::from(limit));
    out.byte(level);
    out.varint(buckets.len() as u64);
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return };
    out.fixed(first.cell);
    let steps = || buckets.windows(2).map(|pair| pair[1].cell - pair[0].cell);
    let offsets = || buckets.iter().filter(|bucket| bucket.is_atom()).map(|atom| atom.least - (atom.cell << level));
    // Integers have keys with many zeros at the end.
    let step_shift = common_zeros(steps());
    let offset_shift = common_zeros(offsets()).min(u32::from(level));
    out.varint(u64::from(step_shift));
    if level > 0 {
        out.varint(u64::from(offset_shift));
        out.fixed(first.least);
        out.fixed(last.greatest);
    }
    let mut columns = Vec::with_capacity(2 * buckets.len() + buckets.len() / 8 + 1);
    let mut bits = BitWriter::default();
    for step in steps() {
        columns.push(length(step >> step_shift));
        bits.write_below_top(step >> step_shift);
    }
    for bucket in buckets {
        columns.push(length(bucket.count));
        bits.write_below_top(bucket.count);
    }
    if level > 0 {
        let mut atoms = BitWriter::default();
        buckets.iter().for_each(|bucket| atoms.write(u64::from(bucket.is_atom()), 1));
        columns.extend_from_slice(&atoms.finish());
        for offset in offsets() {
            bits.write(offset >> offset_shift, u32::from(level) - offset_shift);
        }
    }
    out.packed(&columns);
    out.slice(&bits.finish());
}

#[expect(clippy::cast_possible_truncation, reason = "at most 64")]
const fn length(value: u64) -> u8 {
    bit_length(value) as u8
}

/// Zero bits at the end of all numbers.
fn common_zeros(numbers: impl Iterator<Item = u64>) -> u32 {
    let all = numbers.fold(0, |all, number| all | number);
    if all == 0 { 0 } else { all.trailing_zeros() }
}

pub(super) fn decode(input: &mut Reader<'_>) -> Result<(u32, Buckets)> {
    let invalid = || Error::invalid_data("a histogram is out of shape");
    let limit = u32::try_from(input.varint()?).map_err(|_| invalid())?;
    let level = input.byte()?;
    let count = usize::try_from(input.varint()?).map_err(|_| invalid())?;
    if limit < MIN_LIMIT || level > MAX_LEVEL || count > limit as usize {
        return Err(invalid());
    }
    if count == 0 {
        return Ok((limit, Buckets { level: 0, total: 0, buckets: Vec::new() }));
    }
    let mut cell = input.fixed()?;
    let step_shift = u32::try_from(input.varint()?).ok().filter(|&shift| shift < 64).ok_or_else(invalid)?;
    let (mut offset_shift, mut ends) = (0, (0, 0));
    if level > 0 {
        offset_shift = u32::try_from(input.varint()?).ok().filter(|&x| x <= u32::from(level)).ok_or_else(invalid)?;
        ends = (input.fixed()?, input.fixed()?);
    }
    let flags = if level > 0 { count.div_ceil(8) } else { 0 };
    let columns = input.packed(count.checked_mul(2).ok_or_else(invalid)? - 1 + flags)?;
    let (steps, columns) = columns.split_at(count - 1);
    let (counts, flags) = columns.split_at(count);
    let mut bits = BitReader::new(input.slice()?);

    let mut cells = Vec::with_capacity(count);
    cells.push(cell);
    for &length in steps {
        let step = bits.read_below_top(u32::from(length))?;
        let step = step.checked_mul(1 << step_shift).filter(|&step| step > 0).ok_or_else(invalid)?;
        cell = cell.checked_add(step).ok_or_else(invalid)?;
        cells.push(cell);
    }
    if cell > u64::MAX >> level {
        return Err(invalid());
    }
    let mut buckets = Vec::with_capacity(count);
    let mut total = 0u64;
    for (cell, &length) in cells.into_iter().zip(counts) {
        let count = bits.read_below_top(u32::from(length))?;
        total = total.checked_add(count).filter(|_| count > 0).ok_or_else(invalid)?;
        let bucket = if level == 0 { Bucket::atom(cell, count, 0) } else { Bucket::mixed(cell, count, level) };
        buckets.push(bucket);
    }
    if level > 0 {
        let mut flags = BitReader::new(flags);
        for bucket in &mut buckets {
            if flags.read(1)? == 1 {
                let offset = bits.read(u32::from(level) - offset_shift)? << offset_shift;
                *bucket = Bucket::atom(bucket.cell << level | offset, bucket.count, level);
            } else if bucket.count < 2 {
                return Err(invalid());
            }
        }
        flags.end()?;
    }
    bits.end()?;
    let mut buckets = Buckets { level, total, buckets };
    if level > 0 {
        // Cells ascend, so there is nothing to bring together.
        buckets.end_at(ends);
    }
    let (first, last) = (buckets.as_slice().first(), buckets.as_slice().last());
    let fits = |bucket: Option<&Bucket>| {
        bucket.is_some_and(|b| is_key(b.least) && is_key(b.greatest) && b.least <= b.greatest)
            && bucket.is_some_and(|b| b.least >> level == b.cell && b.greatest >> level == b.cell)
            // A bucket that is no atom holds two values.
            && bucket.is_some_and(|b| b.count > 1 || b.is_atom())
    };
    if !fits(first) || !fits(last) || (level > 0 && buckets.ends() != ends) {
        return Err(invalid());
    }
    Ok((limit, buckets))
}

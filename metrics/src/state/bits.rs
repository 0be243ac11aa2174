//! Numbers of any width, one after the other, lowest bit first; the last byte is filled up with zeros.

use crate::{Error, Result};

/// Collects bits, lowest first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    filled: u32,
}

impl BitWriter {
    /// Writes the lowest `width` bits of a number that has no others.
    pub(crate) fn write(&mut self, value: u64, width: u32) {
        // Fewer than 64 are pending.
        self.pending |= value << self.filled;
        let filled = self.filled + width;
        if filled < 64 {
            self.filled = filled;
            return;
        }
        self.bytes.extend_from_slice(&self.pending.to_le_bytes());
        // What of the number was beyond the word, if any was.
        self.pending = value.checked_shr(64 - self.filled).unwrap_or(0);
        self.filled = filled - 64;
    }

    /// Writes a number of which the reader knows the length, and so its highest bit.
    pub(crate) fn write_below_top(&mut self, value: u64) {
        let width = bit_length(value).saturating_sub(1);
        self.write(value ^ (u64::from(value != 0) << width), width);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&self.pending.to_le_bytes()[..self.filled.div_ceil(8) as usize]);
        self.bytes
    }
}

/// Bits up to the highest that is set.
pub(crate) const fn bit_length(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Reads what a [`BitWriter`] wrote.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits that have been read.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Reads a number of `width` ≤ 64 bits.
    pub(crate) fn read(&mut self, width: u32) -> Result<u64> {
        let (byte, end) = (self.at / 8, self.at + width as usize);
        // Nearly all are short, and have as many bytes after them as a word.
        if width <= 56
            && let Some(bytes) = self.bytes.get(byte..).and_then(<[u8]>::first_chunk::<8>)
        {
            let value = (u64::from_le_bytes(*bytes) >> (self.at % 8)) & ((1 << width) - 1);
            self.at = end;
            return Ok(value);
        }
        let word = match self.bytes.get(byte..).and_then(<[u8]>::first_chunk::<16>) {
            Some(bytes) => u128::from_le_bytes(*bytes),
            None if end <= 8 * self.bytes.len() => {
                let mut last = [0; 16];
                let rest = self.bytes.get(byte..).unwrap_or_default();
                last[..rest.len()].copy_from_slice(rest);
                u128::from_le_bytes(last)
            }
            None => return Err(Error::invalid_data("the bits of a state are cut short")),
        };
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        #[expect(clippy::cast_possible_truncation, reason = "masked to 64 bits")]
        let value = (word >> (self.at % 8)) as u64 & mask;
        self.at = end;
        Ok(value)
    }

    /// Reads a number of which the length is known, and so its highest bit.
    pub(crate) fn read_below_top(&mut self, length: u32) -> Result<u64> {
        match length {
            0 => Ok(0),
            1..=64 => Ok(self.read(length - 1)? | 1 << (length - 1)),
            _ => Err(Error::invalid_data("a number in a state does not fit in 64 bits")),
        }
    }

    /// Checks that only padding is left.
    pub(crate) fn end(self) -> Result<()> {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let is_padding = match rest {
            [] => true,
            [last] => !self.at.is_multiple_of(8) && last >> (self.at % 8) == 0,
            _ => false,
        };
        if is_padding { Ok(()) } else { Err(Error::invalid_data("too many bits in a state")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_widths_come_back() {
        let numbers: Vec<u64> = (0..64).flat_map(|bit| [1u64 << bit, u64::MAX >> bit, 0]).collect();
        let mut writer = BitWriter::default();
        for &number in &numbers {
            writer.write(number, 64);
            writer.write_below_top(number);
            writer.write(1, 1);
        }
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        for &number in &numbers {
            assert_eq!(reader.read(64).unwrap(), number);
            assert_eq!(reader.read_below_top(bit_length(number)).unwrap(), number);
            assert_eq!(reader.read(1).unwrap(), 1);
        }
        reader.end().unwrap();
        assert!(BitReader::new(&bytes).end().is_err());
        assert!(BitReader::new(&[]).read(1).is_err());
        assert!(BitReader::new(&[]).read_below_top(65).is_err());
    }
}

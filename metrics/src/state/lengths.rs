//! Lengths of values: of strings in characters (Unicode scalar values), of bytes in bytes, of lists in elements, of maps
//! in entries.
//!
//! Unit: as said. Error: none.
//!
//! ```
//! use limno_metrics::state::Lengths;
//!
//! let mut lengths = Lengths::default();
//! lengths.observe(5, 2);
//! lengths.observe(2, 1);
//! assert_eq!((lengths.min(), lengths.max(), lengths.mean()), (Some(2), Some(5), Some(4.0)));
//! ```

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::{Error, Result};

/// The least, greatest and total length of the values seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    count: u64,
    total: u128,
    least: u64,
    greatest: u64,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { count: 0, total: 0, least: u64::MAX, greatest: 0 }
    }
}

impl Lengths {
    /// Adds `times` values of length `length`.
    #[inline]
    pub fn observe(&mut self, length: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.count += times;
        self.total += u128::from(length) * u128::from(times);
        self.least = self.least.min(length);
        self.greatest = self.greatest.max(length);
    }

    /// The number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least length; `None` if nothing was seen.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.least)
    }

    /// The greatest length; `None` if nothing was seen.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.greatest)
    }

    /// The mean length, rounded once; `None` if nothing was seen.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| crate::rounding::ratio(&self.total.into(), &self.count.into(), 0))
    }
}

impl MergeableState for Lengths {
    fn merge(&mut self, other: &Self) -> Result<()> {
        let count = Error::sum(self.count, other.count)?;
        let total = self.total.checked_add(other.total);
        self.total = total.ok_or_else(|| Error::invalid_data("lengths of states exceed 128 bits"))?;
        self.count = count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        out.varint(self.count);
        if self.count > 0 {
            out.slice(&self.total.to_le_bytes());
            out.varint(self.least);
            out.varint(self.greatest);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let count = input.varint()?;
        if count == 0 {
            return Ok(Self::default());
        }
        let total: [u8; 16] =
            input.slice()?.try_into().map_err(|_| Error::invalid_data("a state's total length is not 16 bytes"))?;
        let total = u128::from_le_bytes(total);
        let (least, greatest) = (input.varint()?, input.varint()?);
        let times = |length: u64| u128::from(length) * u128::from(count);
        // With that, totals do not overflow before counts do.
        if least > greatest || total < times(least) || total > times(greatest) {
            return Err(Error::invalid_data("a state's lengths do not add up"));
        }
        Ok(Self { count, total, least, greatest })
    }

    fn heap_size(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_has_no_length() {
        let mut lengths = Lengths::default();
        lengths.observe(7, 0);
        assert_eq!(lengths, Lengths::default());
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let decode = |count: u64, total: u128, least: u64, greatest: u64| {
            let mut out = Writer::default();
            Lengths { count, total, least, greatest }.encode(&mut out);
            let payload = super::super::codec::open(&out.finish()).unwrap();
            Lengths::decode(&mut Reader::new(&payload))
        };
        assert!(decode(3, 9, 2, 4).is_ok());
        assert!(decode(u64::MAX, u128::from(u64::MAX).pow(2), u64::MAX, u64::MAX).is_ok());
        for (count, total, least, greatest) in [(3, 9, 4, 2), (3, 5, 2, 4), (3, 13, 2, 4), (3, u128::MAX, 2, u64::MAX)]
        {
            assert!(decode(count, total, least, greatest).is_err(), "{count} of {least} to {greatest}: {total}");
        }
    }
}

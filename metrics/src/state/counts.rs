//! Counts of rows, nulls and special values: additive, hence exact.

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::Result;

/// Counts of a column, each additive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows, nulls included.
    pub rows: u64,
    /// Rows whose value is null.
    pub nulls: u64,
    /// Values that are NaN (not null).
    pub nan: u64,
    /// Values equal to zero, of either sign.
    pub zeros: u64,
    /// Values that are +∞ or −∞.
    pub infinities: u64,
}

impl Counts {
    /// Values that have a place in an order: neither null nor NaN.
    #[must_use]
    pub const fn values(&self) -> u64 {
        self.rows - self.nulls - self.nan
    }
}

impl MergeableState for Counts {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.nan += other.nan;
        self.zeros += other.zeros;
        self.infinities += other.infinities;
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        for count in [self.rows, self.nulls, self.nan, self.zeros, self.infinities] {
            out.varint(count);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let counts = Self {
            rows: input.varint()?,
            nulls: input.varint()?,
            nan: input.varint()?,
            zeros: input.varint()?,
            infinities: input.varint()?,
        };
        let parts = counts.nulls.checked_add(counts.nan);
        if parts.is_none_or(|parts| parts > counts.rows) {
            return Err(crate::Error::invalid_data("a state counts more nulls than rows"));
        }
        Ok(counts)
    }

    fn heap_size(&self) -> usize {
        0
    }
}

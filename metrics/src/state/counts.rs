//! Counts of rows, nulls and special values: additive, hence exact.
//!
//! Unit: rows. Error: none.
//!
//! ```
//! use limno_metrics::state::{Counts, MergeableState};
//!
//! let mut monday = Counts { rows: 10, nulls: 2, nan: 1, zeros: 3, infinities: 0 };
//! monday.merge(&Counts { rows: 5, ..Counts::default() })?;
//! assert_eq!((monday.rows, monday.values()), (15, 12));
//! # Ok::<(), limno_metrics::Error>(())
//! ```

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::{Error, Result};

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
        // The others are at most the rows.
        self.rows = Error::sum(self.rows, other.rows)?;
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
        let others = [counts.nulls, counts.nan, counts.zeros, counts.infinities];
        let total = others.into_iter().try_fold(0u64, u64::checked_add);
        if total.is_none_or(|total| total > counts.rows) {
            return Err(Error::invalid_data("a state counts more special values than rows"));
        }
        Ok(counts)
    }

    fn heap_size(&self) -> usize {
        0
    }
}

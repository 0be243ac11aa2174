//! The least and the greatest value.
//!
//! Unit: the column's own. Error: none.
//!
//! ```
//! use limno_metrics::state::Extrema;
//!
//! let mut extrema = Extrema::default();
//! [2.5, -1.0, 7.0].into_iter().for_each(|value| extrema.observe(value));
//! assert_eq!((extrema.min(), extrema.max()), (Some(-1.0), Some(7.0)));
//! ```

use super::MergeableState;
use super::codec::{Reader, Writer};
use crate::key::{is_key, key_of, value_of};
use crate::{Error, Result};

/// The least and the greatest of the values seen, by the order of keys (−0.0 and +0.0 are one value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extrema {
    least: u64,
    greatest: u64,
}

impl Default for Extrema {
    fn default() -> Self {
        Self { least: u64::MAX, greatest: 0 }
    }
}

impl Extrema {
    /// Adds a value, which must not be NaN.
    #[inline]
    pub fn observe(&mut self, value: f64) {
        self.observe_key(key_of(value));
    }

    #[inline(always)]
    pub(crate) fn observe_key(&mut self, key: u64) {
        self.least = self.least.min(key);
        self.greatest = self.greatest.max(key);
    }

    /// The least value; `None` if nothing was seen.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        (self.least <= self.greatest).then(|| value_of(self.least))
    }

    /// The greatest value; `None` if nothing was seen.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        (self.least <= self.greatest).then(|| value_of(self.greatest))
    }
}

impl MergeableState for Extrema {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        Ok(())
    }

    fn encode(&self, out: &mut Writer) {
        let seen = self.least <= self.greatest;
        out.byte(u8::from(seen));
        if seen {
            out.fixed(self.least);
            out.fixed(self.greatest);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        if input.byte()? == 0 {
            return Ok(Self::default());
        }
        let extrema = Self { least: input.fixed()?, greatest: input.fixed()? };
        if extrema.least > extrema.greatest || !is_key(extrema.least) || !is_key(extrema.greatest) {
            return Err(Error::invalid_data("a state's minimum and maximum are no numbers in order"));
        }
        Ok(extrema)
    }

    fn heap_size(&self) -> usize {
        0
    }
}

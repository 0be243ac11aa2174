//! The states: summaries of a multiset that can be built in pieces and merged, bit for bit the same.
//!
//! | state | answers |
//! |---|---|
//! | [`Counts`] | rows, nulls, NaN, zeros, infinities |
//! | [`Extrema`] | least and greatest value |
//! | [`ExactSums`] | mean, variance and standard deviation, each rounded once |
//! | [`Histogram`] | quantiles, distances between distributions |
//! | [`Numbers`] | all of these for a column of numbers, but distinct values |
//! | [`Distinct`] | the number of distinct values |
//! | [`Lengths`] | lengths of strings, bytes, lists and maps |
//! | [`Categories`] | counts of categories |
//! | [`ItemSample`] | a bounded sample of items |

mod bits;
pub mod categories;
pub mod codec;
pub mod counts;
pub mod distinct;
pub mod extrema;
pub mod histogram;
pub mod lengths;
pub mod numbers;
pub mod sample;
pub mod sums;

pub use categories::Categories;
pub use counts::Counts;
pub use distinct::Distinct;
pub use extrema::Extrema;
pub use histogram::{Bucket, Buckets, Histogram};
pub use lengths::Lengths;
pub use numbers::Numbers;
pub use sample::ItemSample;
pub use sums::ExactSums;

use crate::Result;
use codec::{Reader, Writer};

/// A summary of a multiset of values that can be built in pieces and combined.
///
/// Every implementation holds these laws, which the tests check: merging is commutative and associative, the
/// empty state is its identity, and the encoding depends on the multiset alone, not on how it was cut up.
pub trait MergeableState: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Adds the values that `other` summarises.
    ///
    /// # Errors
    /// [`Incompatible`](crate::ErrorKind::Incompatible) when the two summarise different kinds of things.
    fn merge(&mut self, other: &Self) -> Result<()>;

    /// Writes the canonical form.
    fn encode(&self, out: &mut Writer);

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`InvalidData`](crate::ErrorKind::InvalidData) on any other bytes; it never panics and allocates no
    /// more than a small multiple of the input and some megabytes.
    fn decode(input: &mut Reader<'_>) -> Result<Self>;

    /// Bytes held on the heap: what its allocations have asked for.
    fn heap_size(&self) -> usize;
}

//! Loops over slices, the same to the bit on every machine.
//!
//! Each kernel is a plain loop over a fixed number of lanes. [`dispatch`] compiles it twice, for the baseline of the
//! target and for AVX2 with FMA, and picks once for each slice. Lanes are constants of the source and every operation
//! is exact or order-free, so both tiers give the same bits; the tests compare them with [`naive`] loops.

mod cells;
mod dispatch;
#[cfg(test)]
mod naive;
mod registers;
mod scan;
mod sums;

pub(crate) use cells::{CELLS, Span, Spans, cells};
pub(crate) use dispatch::Tier;
pub(crate) use registers::{HASHES, RANK_BITS, REGISTERS, hashes, raise, rank, spread};
pub(crate) use scan::{Scan, scan};
pub(crate) use sums::{SUMMED, Windows, sums};

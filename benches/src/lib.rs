//! Benchmarks. Results, with the commands that reproduce them, are in `RESULTS.md` beside this crate.
//!
//! `kernels` and `states` share what is here: seeded [`data`], the [`contenders`] that are compared, the
//! [`smirnov`] distance by other means, and the [`harness`] that measures contenders side by side in one run.

pub mod arguments;
pub mod contenders;
pub mod data;
pub mod harness;
pub mod smirnov;
pub mod summaries;
pub mod twenty;

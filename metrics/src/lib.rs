//! Mergeable, bit-identical summaries of data, and the drift statistics computed from them.
//!
//! A *state* summarises a multiset of values. It can be built in any pieces, in any order, on any number of
//! machines, and merged; its encoding is bit for bit the same whatever the pieces and the order were; and it
//! answers every statistic that Limnograph publishes, exactly or with bounds that are computed, not assumed.
//!
//! From two slices to a drift number:
//!
//! ```
//! use limno_metrics::{ColumnState, drift};
//!
//! let january = ColumnState::of_numbers(&[1.0, 2.0, 3.0, 4.0]).freeze();
//! let july = ColumnState::of_numbers(&[3.0, 4.0, 5.0, 6.0]).freeze();
//! let moved = drift::compare(&january, &july, &drift::DriftOptions::default())?;
//! assert_eq!(moved.ks.unwrap().statistic, 0.5);
//! # Ok::<(), limno_metrics::Error>(())
//! ```
//!
//! Arrow arrays go in batch by batch, and pieces are merged:
//!
//! ```
//! use arrow::array::Float64Array;
//! use limno_metrics::column::{ColumnKind, ColumnOptions};
//! use limno_metrics::ColumnState;
//!
//! let options = ColumnOptions::new(ColumnKind::Numeric);
//! let mut monday = ColumnState::empty(&options);
//! monday.observe(&Float64Array::from(vec![Some(1.0), None, Some(4.0)]))?;
//! let mut tuesday = ColumnState::empty(&options);
//! tuesday.observe(&Float64Array::from(vec![2.0]))?;
//!
//! // Another process may have made these bytes.
//! monday.merge(&ColumnState::decode(&tuesday.encode())?)?;
//! let profile = monday.freeze().profile();
//! assert_eq!((profile.count, profile.num_nulls, profile.median()), (4, 1, Some(2.0)));
//! # Ok::<(), limno_metrics::Error>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`state`] | one mergeable state each: counts, extrema, exact sums, histogram, distinct, lengths, categories |
//! | [`column`](mod@column) | the product of states that a column of a given kind needs, built from Arrow arrays |
//! | [`MeasureState`] | a state of any kind, as a ledger stores it |
//! | [`profile`] | the numbers that one column state answers |
//! | [`drift`] | the numbers that two column states answer |
//! | [`quality`] | the numbers of predictions beside their labels, and the states that answer them |
//! | [`binning`] | the bins that a pair of columns shares |
//! | [`schema`] | names and Arrow types of the metric tables |
//! | [`Certified`] | a number with bounds that hold for certain |
//! | `polars` (feature) | Polars data frames and queries in, profiles and drifts as data frames out |
//! | [`distribution`] | the tails of the distributions behind the p-values |
//!
//! The crate knows Arrow arrays and nothing else: no clock, no file, no async, no query engine.

pub mod binning;
mod bound;
pub mod column;
pub mod distribution;
pub mod drift;
mod error;
mod kernel;
mod key;
mod measure;
#[cfg(feature = "polars")]
pub mod polars;
pub mod profile;
pub mod quality;
mod rounding;
pub mod schema;
pub mod state;

pub use bound::Certified;
pub use column::ColumnState;
pub use error::{Error, ErrorKind, Result};
pub use measure::MeasureState;
pub use quality::QualityState;

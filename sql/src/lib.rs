//! All that is DataFusion: the session, our aggregates, the refresh plan and the catalogue of metric tables.
//!
//! This crate decides how a number is computed in SQL, never when it is computed or whether it is alarming, and
//! it writes no table.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | a session set up the way refreshes and queries need it |
//! | [`source`] | tables and files as DataFusion providers, with the version that was read |
//! | [`window`] | granularities, calendars, windows |
//! | [`expression`] | slicing expressions: one scalar SQL expression and nothing else |
//! | [`functions`] | `numeric_state` and its like, `measure_merge`, `window_start` |
//! | [`payload`] | payload tables of model serving, unpacked to one row a prediction |
//! | [`plan`] | the one logical plan of a refresh, and the rows of states that it yields |
//! | [`executor`] | the seam behind which a plan runs |
//! | [`dialect`] | Spark's SQL for DataFusion's planner |
//! | [`watch`] | where the time of a run goes |
//! | [`catalog`] | metric tables for `limno sql` |

pub mod catalog;
pub mod dialect;
mod error;
pub mod executor;
pub mod expression;
pub mod functions;
pub mod lake;
pub mod payload;
pub mod plan;
mod read_ahead;
pub mod secret;
pub mod session;
pub mod source;
pub mod watch;
pub mod window;

pub use error::{Error, Result};

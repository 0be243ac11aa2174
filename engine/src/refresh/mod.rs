//! One refresh of one monitor: states by window, model and slice, then the rows of both metric tables.
//!
//! The rows are a pure function of the states and the configuration; a refresh writes them and nothing else.

mod assemble;
mod drift_rows;
mod log;
mod profile_rows;
mod runner;

pub use assemble::{Cell, CellKey, ModelKey, assemble, assemble_whole};
pub use drift_rows::{DriftRow, drift_batch};
pub use log::RefreshRow;
pub use profile_rows::{ProfileRow, profile_batch};
pub use runner::{MetricRows, Refreshed, refresh};
pub(crate) use runner::{compare_columns, is_complete};

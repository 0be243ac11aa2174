//! One refresh of one monitor: from what became of its tables to the rows of both metric tables.
//!
//! | module | holds |
//! |---|---|
//! | [`plan`] | what is read, and what of the ledger stays |
//! | [`touched`] | the windows of stored rows that others change: later labels, repeated requests |
//! | [`read`], [`isolate`], [`spool`] | the scans, what of them fails, and their states on the way into the ledger |
//! | [`update`] | the commit of the ledger: the point at which a refresh has happened |
//! | [`changed`], [`targets`], [`cells`], [`rows`], [`metrics`], [`tables`], [`custom`] | from the ledger to the metric tables |
//! | [`run`] | the steps in order, again where another writer was faster |
//! | [`permit`] | who may read now: few monitors hold states at once |
//! | [`quarantine`] | rows that could not be parsed, for a log of requests |
//! | [`log`] | the table `refreshes` |
//! | [`vacuum`] | what is too old goes |

mod cells;
mod changed;
mod custom;
mod drift_rows;
mod isolate;
mod log;
mod metrics;
mod permit;
mod plan;
mod profile_rows;
mod quality_rows;
mod quarantine;
mod read;
mod rows;
mod run;
mod size;
mod spool;
mod tables;
mod targets;
mod touched;
mod update;
mod vacuum;

use std::time::Duration;

use chrono::{DateTime, Utc};
use limno_sql::window::Window;

pub use drift_rows::{DriftRow, drift_batch};
pub(crate) use isolate::is_of_data;
pub use log::{RefreshRow, Stages};
pub use permit::ReadPermit;
pub use plan::{Mode, Part, RefreshPlan, Takes};
pub use profile_rows::{ProfileRow, profile_batch};
pub(crate) use rows::compare_columns;
pub use run::{Refresh, Refreshed};
pub(crate) use vacuum::Vacuum;
pub use vacuum::Vacuumed;

/// Whether a window has ended, grace included.
#[must_use]
pub(crate) fn is_complete(window: &Window, grace: Duration, now: DateTime<Utc>) -> bool {
    let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
    window.end.saturating_add(grace) <= now.timestamp_micros()
}

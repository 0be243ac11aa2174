//! Monitors, refreshes, rules, alerts, triggers, and the command line over them.
//!
//! The only writer of metric tables. It computes no statistic itself: numbers come from `limno-metrics` through the
//! plans of `limno-sql`. The command line is one caller of this library.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | `limno.toml`, read strictly |
//! | [`monitor`] | a configured monitor bound to its tables |
//! | [`refresh`] | states to rows of the metric tables |
//! | [`rule`] | rows to breaches |
//! | [`alert`], [`trigger`] | the log and outbox, notifiers, retraining calls |
//! | [`delivery`] | receipts, failures, short retries and the HTTP client of both |
//! | [`store`] | metric tables as Delta tables |
//! | [`engine`] | the loop over all of them |
//! | [`cli`] | the commands of `limno` |

pub mod alert;
pub mod change;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod engine;
mod error;
pub mod ledger;
pub mod monitor;
pub mod progress;
pub mod refresh;
pub mod rule;
pub mod store;
pub mod trigger;

pub use error::{Error, Result};

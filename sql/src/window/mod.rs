//! Windows of time: how long they are and where they are cut.

mod calendar;
mod granularity;
mod span;

pub use calendar::{Calendar, Window};
pub(crate) use calendar::{MICROS_A_DAY, first_instant};
pub use granularity::{Granularity, ParseGranularityError, Sliding, unit};
pub use span::Spans;

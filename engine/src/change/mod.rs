//! Change sets: what became of a table since the version that was processed last, from its log.

mod extent;
mod replay;

pub use extent::LoggedTime;
pub use replay::{ChangeSet, change_set};

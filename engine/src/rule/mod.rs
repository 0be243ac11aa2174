//! From rows of the metric tables to breaches of the rules.

mod breach;
mod evaluate;
mod rows;

pub use breach::describe;
pub use evaluate::{Evaluation, Finding, evaluate};
pub use rows::{Observation, Rows};

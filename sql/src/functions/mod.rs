//! Our functions. `column_state` builds states from values, `column_merge` merges encoded ones.

mod column_merge;
mod column_state;
mod groups;
mod window_start;

pub use column_merge::column_merge;
pub use column_state::column_state;
pub use window_start::{instant_of_logged, to_instant, window_start};

use datafusion::prelude::SessionContext;
use limno_metrics::column::{ColumnKind, ColumnOptions};

/// Registers what can be called by name in SQL.
///
/// `column_state` takes its options in Rust; under their names the three common kinds are there with defaults.
pub fn register_all(context: &SessionContext) {
    context.register_udaf(column_merge());
    for kind in [ColumnKind::Numeric, ColumnKind::Categorical, ColumnKind::Temporal] {
        context.register_udaf(column_state(ColumnOptions::new(kind)));
    }
}

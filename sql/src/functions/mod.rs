//! Our functions. `numeric_state` and its like build states from values, `measure_merge` merges encoded ones.

mod groups;
mod measure_merge;
mod measure_state;
mod window_start;

pub use measure_merge::measure_merge;
pub use measure_state::measure_state;
pub use window_start::{instant_of_logged, to_instant, window_start};

use datafusion::prelude::SessionContext;
use limno_metrics::column::{ColumnKind, ColumnOptions};

use crate::plan::MeasureOptions;

/// Registers what can be called by name in SQL.
///
/// [`measure_state`] takes its options in Rust; under their names the common kinds of columns are there with defaults.
pub fn register_all(context: &SessionContext) {
    context.register_udaf(measure_merge());
    for kind in [ColumnKind::Numeric, ColumnKind::Categorical, ColumnKind::Temporal] {
        context.register_udaf(measure_state(MeasureOptions::Column(ColumnOptions::new(kind))));
    }
}

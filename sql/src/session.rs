//! A session set up the way refreshes and queries need it.

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::functions;

/// How a session runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionOptions {
    /// Partitions that a plan runs in; `None` for one a core. No number depends on it.
    pub partitions: Option<usize>,
}

/// A context with our functions registered.
#[must_use]
pub fn context(options: &SessionOptions) -> SessionContext {
    let mut config = SessionConfig::new().with_information_schema(true);
    if let Some(partitions) = options.partitions {
        config = config.with_target_partitions(partitions.max(1));
    }
    let settings = config.options_mut();
    // States are worth building before they are exchanged, however many groups there are.
    settings.execution.skip_partial_aggregation_probe_ratio_threshold = 2.0;
    // Strings are interned by our states; views would only be copied once more.
    settings.execution.parquet.schema_force_view_types = false;
    settings.execution.parquet.pushdown_filters = true;
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let context = SessionContext::new_with_state(state);
    functions::register_all(&context);
    context
}

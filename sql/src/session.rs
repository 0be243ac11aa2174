//! A session set up the way refreshes and queries need it.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::lake::{Lake, LakeOptions};
use crate::read_ahead::{ReadAhead, TAIL};
use crate::source::Checkpoints;
use crate::{Result, functions};

/// How a session runs.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Partitions that a plan runs in; `None` for one a core. No number depends on it.
    pub partitions: Option<usize>,
    /// How tables are reached.
    pub lake: LakeOptions,
    /// Bytes that the footers of Parquet files may take, which scans of the same files share; `None` for 256 MiB.
    pub footers: Option<usize>,
}

/// The footers of some thousand files of 200 columns.
const FOOTERS: usize = 256 << 20;

/// A context with our functions registered, that reaches all tables through one [`Lake`].
///
/// # Errors
/// As [`Lake::new`], or when DataFusion's runtime cannot be set up.
pub fn context(options: &SessionOptions) -> Result<SessionContext> {
    let lake = Arc::new(Lake::new(options.lake.clone())?);
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
    // Of a file of its own: half a megabyte, which is asked for otherwise, can be more than all columns that are wanted.
    settings.execution.parquet.metadata_size_hint = usize::try_from(TAIL).ok();
    let runtime = RuntimeEnvBuilder::new()
        .with_metadata_cache_limit(options.footers.unwrap_or(FOOTERS))
        .with_object_store_registry(Arc::clone(&lake) as _)
        .build_arc()?;
    let state = SessionStateBuilder::new()
        .with_config(config.with_extension(Arc::clone(&lake)).with_extension(Arc::<Checkpoints>::default()))
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(ReadAhead::new(lake)))
        .build();
    let context = SessionContext::new_with_state(state);
    functions::register_all(&context);
    Ok(context)
}

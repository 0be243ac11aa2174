//! The seam behind which a plan runs: here today, on a cluster later.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use crate::Result;
use crate::lake::Lake;
use crate::watch::Watched;

/// Runs logical plans over our registered functions.
#[async_trait]
pub trait PlanExecutor: Debug + Send + Sync {
    /// Runs `plan` and streams its rows, in no particular order.
    ///
    /// # Errors
    /// When the plan cannot be made physical; later errors come with the stream.
    async fn execute(&self, plan: LogicalPlan) -> Result<SendableRecordBatchStream>;
}

/// Calls of a model server in one batch. All of a batch unpack together, each to as many rows as its caller sent.
const CALLS_AT_ONCE: usize = 256;

/// Runs plans in this process.
#[derive(Clone)]
pub struct LocalExecutor {
    context: SessionContext,
}

impl Debug for LocalExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalExecutor").finish_non_exhaustive()
    }
}

impl LocalExecutor {
    /// Runs plans in `context`.
    #[must_use]
    pub const fn new(context: SessionContext) -> Self {
        Self { context }
    }
}

#[async_trait]
impl PlanExecutor for LocalExecutor {
    async fn execute(&self, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
        let unpacks = crate::payload::unpacks(&plan)?;
        let mut frame = self.context.execute_logical_plan(plan).await?;
        if unpacks {
            let (mut state, plan) = frame.into_parts();
            let calls = state.config().batch_size().min(CALLS_AT_ONCE);
            *state.config_mut() = state.config().clone().with_batch_size(calls);
            frame = DataFrame::new(state, plan);
        }
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let stream = execute_stream(Arc::clone(&plan), task)?;
        let watched = Watched { plan, watch: Arc::clone(Lake::of(&self.context)?.watch()) };
        let schema = stream.schema();
        let stream = stream.map(move |batch| {
            let _watched = &watched;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

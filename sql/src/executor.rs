//! The seam behind which a plan runs: here today, on a cluster later.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
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

/// Rows of a batch: the states of a group, once they are in the cache, should see some thousand values.
const MOST_ROWS: usize = 32_768;
/// Of texts, which may be long, fewer: their bytes must fit in one array.
const ROWS_OF_TEXT: usize = MOST_ROWS / 2;
/// What a plan of very many columns comes down to, or one of values that can have any size.
const LEAST_ROWS: usize = 8192;
/// Values of a batch, all columns together: those that have been decoded should not push the states out.
const VALUES_AT_ONCE: usize = 1 << 20;

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

/// How many rows a batch should have, by the columns that the plan reads.
fn rows_at_once(plan: &LogicalPlan) -> Result<usize> {
    let mut most = (VALUES_AT_ONCE / plan.schema().fields().len().max(1)).clamp(LEAST_ROWS, MOST_ROWS);
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            for field in scan.projected_schema.fields() {
                most = most.min(match field.data_type() {
                    data_type if data_type.is_string() => ROWS_OF_TEXT,
                    data_type if data_type.is_nested() || data_type.is_binary() => LEAST_ROWS,
                    _ => MOST_ROWS,
                });
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(most)
}

#[async_trait]
impl PlanExecutor for LocalExecutor {
    async fn execute(&self, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
        let unpacks = crate::payload::unpacks(&plan)?;
        let (mut state, plan) = self.context.execute_logical_plan(plan).await?.into_parts();
        let rows = if unpacks { state.config().batch_size().min(CALLS_AT_ONCE) } else { rows_at_once(&plan)? };
        *state.config_mut() = state.config().clone().with_batch_size(rows);
        let frame = DataFrame::new(state, plan);
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

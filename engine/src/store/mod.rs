//! Metric tables as Delta tables: the one place that writes.

mod bare;
mod file;
mod group;
mod join;
mod lock;
mod table;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::prelude::SessionContext;
use deltalake::DeltaTableError;
use deltalake::operations::vacuum::VacuumMode;
use limno_sql::source::Source;

use crate::{Error, Result};

pub use file::FileWriter;
pub use group::Grouping;
pub use join::join_after;
pub use lock::Lock;
pub use table::{Changes, OwnFile, OwnTable};
pub use turns::Turns;

/// Appends `rows` to the table at `uri` in one commit. The table is created if it is not there, and columns that it lacks
/// are added to it. When small files have become many, another commit joins them.
///
/// # Errors
/// [`Error::Write`]; the table is then as it was.
pub async fn append(context: &SessionContext, uri: &str, rows: RecordBatch) -> Result<()> {
    let mut turns = Turns::new();
    loop {
        let table = OwnTable::open(context, uri).await?;
        let schema = match table.schema() {
            None => rows.schema(),
            Some(known) => Arc::new(Schema::try_merge([known.as_ref().clone(), rows.schema().as_ref().clone()])?),
        };
        let mut writer = table.writer(&schema)?;
        writer.write(under(&rows, &schema)?).await?;
        let changes = Changes { added: writer.finish(None).await?, ..Changes::default() };
        if table.commit(&schema, changes).await?.is_some() {
            join_after(context, &table, None).await;
            return Ok(());
        }
        turns.wait(uri).await?;
    }
}

/// The batch under another schema, of the same columns by name; columns that it lacks are null.
///
/// # Errors
/// When a column does not fit.
pub fn under(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &arrow::datatypes::FieldRef| match batch.column_by_name(field.name()) {
        Some(values) if can_cast_types(values.data_type(), field.data_type()) => {
            cast(values, field.data_type()).map_err(Error::from)
        }
        _ => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// All rows of the table at `uri` without some of its columns; `None` if it was never written.
///
/// # Errors
/// When the table is there but does not read.
pub async fn read_without(context: &SessionContext, uri: &str, columns: &[&str]) -> Result<Option<RecordBatch>> {
    let Some(source) = Source::open_own(context, uri).await? else { return Ok(None) };
    let rows = context.read_table(source.provider)?.drop_columns(columns)?;
    let schema = Arc::new(rows.schema().as_arrow().clone());
    Ok(Some(arrow::compute::concat_batches(&schema, &rows.collect().await?)?))
}

/// All rows of the table at `uri`; `None` if it was never written.
///
/// # Errors
/// When the table is there but does not read.
pub async fn read(context: &SessionContext, uri: &str) -> Result<Option<RecordBatch>> {
    let Some(source) = Source::open_own(context, uri).await? else { return Ok(None) };
    let schema = source.schema();
    let batches = context.read_table(source.provider)?.collect().await?;
    Ok(Some(arrow::compute::concat_batches(&schema, &batches)?))
}

/// Deletes the files that commits replaced longer ago than `age`, and those that no commit ever named; answers how many,
/// or how many it would be if `is_dry`.
///
/// # Errors
/// [`Error::Write`].
pub async fn delete_replaced(context: &SessionContext, uri: &str, age: Duration, is_dry: bool) -> Result<u64> {
    let table = OwnTable::open(context, uri).await?;
    let Some(table) = table.delta().await? else { return Ok(0) };
    let failed = |source: DeltaTableError| Error::of_write(uri, source);
    let age = chrono::TimeDelta::from_std(age).map_err(|error| failed(DeltaTableError::generic(error.to_string())))?;
    // How long is the user's to say; the configuration refuses what is too short.
    let vacuum = table.clone().vacuum().with_retention_period(age).with_enforce_retention_duration(false);
    // Files of writers that were cut off are named by no commit.
    let vacuum = vacuum.with_mode(VacuumMode::Full);
    let (table, metrics) = vacuum.with_dry_run(is_dry).await.map_err(failed)?;
    if !is_dry {
        // Commits that checkpoints hold, after a month.
        deltalake::checkpoints::cleanup_metadata(&table, None).await.map_err(failed)?;
    }
    Ok(metrics.files_deleted.len() as u64)
}

//! Metric tables as Delta tables: the one place that writes.

mod group;
mod lock;
mod table;

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use limno_sql::source::{Source, has_commits};
use url::Url;

use crate::{Error, Result};

pub use group::Grouping;
pub use lock::Lock;
pub use table::{Changes, FileWriter, OwnFile, OwnTable};

/// Whether the rows of a table are replaced or added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The new rows take the place of all others, in one commit.
    Replace,
    /// The new rows stand beside the others.
    Append,
}

/// Writes `rows` to the table at `uri`, which is created if it is not there, in one commit.
///
/// # Errors
/// [`Error::Write`]; the table is then as it was.
pub async fn write(uri: &str, rows: RecordBatch, mode: Mode) -> Result<()> {
    let failed = |source: DeltaTableError| Error::Write { table: uri.to_owned(), source: Box::new(source) };
    let table = open_or_new(uri).await.map_err(failed)?;
    let (save, schema) = match mode {
        // A monitor whose model column was renamed writes another schema; old rows are gone with it.
        Mode::Replace => (SaveMode::Overwrite, SchemaMode::Overwrite),
        Mode::Append => (SaveMode::Append, SchemaMode::Merge),
    };
    table.write([rows]).with_save_mode(save).with_schema_mode(schema).await.map_err(failed)?;
    Ok(())
}

async fn open_or_new(uri: &str) -> Result<DeltaTable, DeltaTableError> {
    let path = limno_sql::source::local_path(uri).map_err(|error| DeltaTableError::generic(error.to_string()))?;
    create_folder(&path)?;
    let path = path.canonicalize()?;
    let url = Url::from_directory_path(&path)
        .map_err(|()| DeltaTableError::generic(format!("{} is no folder", path.display())))?;
    let builder = DeltaTableBuilder::from_url(url)?;
    if has_commits(&path) { builder.load().await } else { builder.build() }
}

fn create_folder(path: &Path) -> Result<(), DeltaTableError> {
    std::fs::create_dir_all(path)
        .map_err(|error| DeltaTableError::generic(format!("cannot create {}: {error}", path.display())))
}

/// All rows of the table at `uri` without some of its columns; `None` if it was never written.
///
/// # Errors
/// When the table is there but does not read.
pub async fn read_without(context: &SessionContext, uri: &str, columns: &[&str]) -> Result<Option<RecordBatch>> {
    let Some(source) = Source::open_own(context, uri).await? else { return Ok(None) };
    let rows = context.read_table(source.provider)?.drop_columns(columns)?;
    let schema = std::sync::Arc::new(rows.schema().as_arrow().clone());
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
    let Some(table) = table.delta() else { return Ok(0) };
    let failed = |source: DeltaTableError| Error::Write { table: uri.to_owned(), source: Box::new(source) };
    let age = chrono::TimeDelta::from_std(age).map_err(|error| failed(DeltaTableError::generic(error.to_string())))?;
    // How long is the user's to say; the configuration refuses what is too short.
    let vacuum = table.clone().vacuum().with_retention_period(age).with_enforce_retention_duration(false);
    // Files of writers that were cut off are named by no commit.
    let vacuum = vacuum.with_mode(VacuumMode::Full);
    let (_, metrics) = vacuum.with_dry_run(is_dry).await.map_err(failed)?;
    Ok(metrics.files_deleted.len() as u64)
}

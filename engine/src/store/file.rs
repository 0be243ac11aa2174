//! Files of a table of ours: rows in, Parquet out, and what the log is to say of each.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Add;
use deltalake::{DeltaTableError, ObjectStore, Path};
use limno_sql::watch::{Stage, Watch};
use object_store::ObjectStoreExt;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;
use serde_json::json;
use uuid::Uuid;

use super::table::GROUP;
use crate::{Error, Result};

/// Rows of a row group: few enough that a reader of some columns' rows can skip most of a file.
const ROW_GROUP_ROWS: usize = 4096;
/// A row group that has become so large is closed, however few rows it has.
const LARGEST_ROW_GROUP: usize = 8 << 20;
/// A file that has become so long is closed, and another begun: it is in memory until then.
const LONGEST_FILE: usize = 32 << 20;

/// How rows are written. Doubles and states hardly ever repeat, so that a dictionary of them costs much and saves nothing.
fn properties(schema: &SchemaRef) -> Result<WriterProperties, ParquetError> {
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let is_all_its_own = |column: &ColumnDescPtr| match column.physical_type() {
        Type::DOUBLE => true,
        Type::BYTE_ARRAY => column.logical_type_ref().is_none(),
        _ => false,
    };
    let builder = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    let own = columns.columns().iter().filter(|column| is_all_its_own(column));
    Ok(own.fold(builder, |builder, column| builder.set_column_dictionary_enabled(column.path().clone(), false)).build())
}

/// Writes the files of one group at a time. A file is in its place as a whole or not at all.
#[derive(Debug)]
pub struct FileWriter {
    uri: String,
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    open: Option<ArrowWriter<Vec<u8>>>,
    rows: usize,
    closed: Vec<Add>,
    watch: Arc<Watch>,
}

impl FileWriter {
    pub(super) fn new(uri: String, store: Arc<dyn ObjectStore>, schema: &SchemaRef, watch: Arc<Watch>) -> Self {
        Self { uri, store, schema: Arc::clone(schema), open: None, rows: 0, closed: Vec::new(), watch }
    }

    /// Adds rows of the writer's schema.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let watch = Arc::clone(&self.watch);
        let result = watch.run(Stage::Write, || self.encode(&rows));
        let length = result.map_err(|error| self.failed(error.into()))?;
        if length > LONGEST_FILE { self.close().await } else { Ok(()) }
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<usize, ParquetError> {
        if self.open.is_none() {
            self.open =
                Some(ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(properties(&self.schema)?))?);
        }
        let Some(writer) = &mut self.open else { return Ok(0) };
        writer.write(rows)?;
        self.rows += rows.num_rows();
        if writer.in_progress_size() > LARGEST_ROW_GROUP {
            writer.flush()?;
        }
        Ok(writer.bytes_written() + writer.in_progress_size())
    }

    async fn close(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        let bytes = self.watch.run(Stage::Write, || writer.into_inner());
        let bytes = bytes.map_err(|error| self.failed(error.into()))?;
        let path = format!("part-{}.snappy.parquet", Uuid::new_v4());
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let place = Path::from(path.as_str());
        let put = self.watch.wait(Stage::Write, self.store.put(&place, bytes.into())).await;
        put.map_err(|error| self.failed(error.into()))?;
        self.closed.push(Add {
            path,
            size,
            modification_time: crate::clock::machine_millis(),
            data_change: true,
            stats: Some(json!({ "numRecords": std::mem::take(&mut self.rows) }).to_string()),
            ..Add::default()
        });
        Ok(())
    }

    /// Closes the last file; the answer is to be committed. No rows, no file.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub async fn finish(&mut self, group: Option<&str>) -> Result<Vec<Add>> {
        self.close().await?;
        let mut files = std::mem::take(&mut self.closed);
        if let Some(group) = group {
            for file in &mut files {
                file.tags = Some(HashMap::from([(GROUP.to_owned(), Some(group.to_owned()))]));
            }
        }
        Ok(files)
    }

    fn failed(&self, source: DeltaTableError) -> Error {
        Error::of_write(&self.uri, source)
    }
}

//! Parquet files that are known by name and size, as one table.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::Result as SqlResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use deltalake::kernel::Add;
use object_store::ObjectMeta;

use crate::lake::Place;
use crate::{Error, Result};

/// Files of a table under its schema: columns that a file lacks are null.
pub struct TableFiles {
    schema: SchemaRef,
    location: ListingTableUrl,
    files: Vec<ObjectMeta>,
}

impl Debug for TableFiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableFiles").field("location", &self.location).field("files", &self.files.len()).finish()
    }
}

impl TableFiles {
    /// Some files of the plain Delta table at `place`, of which a [`super::TableLog`] tells. All rows of each are read.
    ///
    /// # Errors
    /// When the place has no URL that a scan could name.
    pub fn new(place: &Place, schema: SchemaRef, files: &[Add]) -> Result<Self> {
        let location =
            ListingTableUrl::try_new(place.folder_url(), None).map_err(|error| Error::of_files(place.uri(), error))?;
        let file = |add: &Add| ObjectMeta {
            location: add.path.split('/').fold(place.path().clone(), |path, part| path.join(part)),
            last_modified: chrono::DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default(),
            size: u64::try_from(add.size).unwrap_or_default(),
            e_tag: None,
            version: None,
        };
        Ok(Self { schema, location, files: files.iter().map(file).collect() })
    }
}

#[async_trait]
impl TableProvider for TableFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> SqlResult<Arc<dyn ExecutionPlan>> {
        let files: FileGroup = self.files.iter().cloned().map(PartitionedFile::new_from_meta).collect();
        let source = Arc::new(ParquetSource::new(Arc::clone(&self.schema)));
        let scan = FileScanConfigBuilder::new(self.location.object_store(), source)
            .with_file_groups(files.split_files(state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        let options = state.default_table_options().parquet;
        ParquetFormat::default().with_options(options).create_physical_plan(state, scan).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> SqlResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

//! The table under change, and what delta-rs does to it. Each method is one commit.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionContext, col};
use deltalake::kernel::{DataType, StructField};
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::write::{SchemaMode, WriteBuilder};
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableBuilder};
use url::Url;

use super::alike::{Logical, difference};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A Delta table in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Lake {
    pub(crate) folder: PathBuf,
}

impl Lake {
    pub(crate) fn at(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { folder: folder.canonicalize().unwrap() }
    }

    fn builder(&self) -> DeltaTableBuilder {
        DeltaTableBuilder::from_url(Url::from_directory_path(&self.folder).unwrap()).unwrap()
    }

    /// The table at its newest version, from the log alone.
    pub(crate) async fn open(&self) -> Outcome<DeltaTable> {
        Ok(self.builder().load().await?)
    }

    pub(crate) async fn version(&self) -> Outcome<u64> {
        Ok(self.open().await?.version().unwrap())
    }

    /// Creates the table with its first rows.
    pub(crate) async fn create(
        &self,
        rows: RecordBatch,
        partitions: &[&str],
        properties: &[(&str, &str)],
    ) -> Outcome<()> {
        let table = self.builder().build()?;
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())));
        let write = table.write([rows]).with_partition_columns(partitions.iter().map(ToString::to_string));
        write.with_configuration(properties.collect::<HashMap<_, _>>()).await?;
        Ok(())
    }

    /// Makes the table go away with its log: the next one here has another id and starts at version 0.
    pub(crate) fn drop_table(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
        std::fs::create_dir(&self.folder).unwrap();
    }

    pub(crate) async fn append(&self, rows: RecordBatch) -> Outcome<()> {
        self.open().await?.write([rows]).with_save_mode(SaveMode::Append).await?;
        Ok(())
    }

    /// Appends one commit of many small files.
    pub(crate) async fn append_files(&self, rows: RecordBatch) -> Outcome<()> {
        let write = self.open().await?.write([rows]).with_save_mode(SaveMode::Append);
        write.with_write_batch_size(16).with_target_file_size(NonZeroU64::new(1)).await?;
        Ok(())
    }

    /// Appends rows that may have columns more, or some less, than the table.
    pub(crate) async fn append_merging(&self, rows: RecordBatch) -> Outcome<()> {
        let write = self.open().await?.write([rows]).with_save_mode(SaveMode::Append);
        write.with_schema_mode(SchemaMode::Merge).await?;
        Ok(())
    }

    pub(crate) async fn overwrite(&self, rows: RecordBatch) -> Outcome<()> {
        self.overwriting(rows).await?.await?;
        Ok(())
    }

    /// Overwrites rows and columns.
    pub(crate) async fn overwrite_schema(&self, rows: RecordBatch) -> Outcome<()> {
        self.overwriting(rows).await?.with_schema_mode(SchemaMode::Overwrite).await?;
        Ok(())
    }

    /// Overwrites the rows of a predicate, which holds for `rows`.
    pub(crate) async fn replace_where(&self, predicate: Expr, rows: RecordBatch) -> Outcome<()> {
        self.overwriting(rows).await?.with_replace_where(predicate).await?;
        Ok(())
    }

    async fn overwriting(&self, rows: RecordBatch) -> Outcome<WriteBuilder> {
        Ok(self.open().await?.write([rows]).with_save_mode(SaveMode::Overwrite))
    }

    /// Deletes the rows of a predicate; all of them for none.
    pub(crate) async fn delete(&self, predicate: Option<Expr>) -> Outcome<()> {
        let delete = self.open().await?.delete();
        match predicate {
            Some(predicate) => delete.with_predicate(predicate).await?,
            None => delete.await?,
        };
        Ok(())
    }

    pub(crate) async fn update(&self, predicate: Option<Expr>, values: Vec<(&str, Expr)>) -> Outcome<()> {
        let mut update = self.open().await?.update();
        if let Some(predicate) = predicate {
            update = update.with_predicate(predicate);
        }
        for (column, value) in values {
            update = update.with_update(column, value);
        }
        update.await?;
        Ok(())
    }

    /// Updates the rows that `rows` has by id, inserts the others, and deletes what of `unmatched` is not among them.
    pub(crate) async fn merge(&self, rows: RecordBatch, unmatched: Option<Expr>) -> Outcome<()> {
        let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        let source = SessionContext::new().read_batch(rows)?;
        let of = |name: &str| Expr::Column(Column::new(Some("source"), name));
        let same_id = Expr::Column(Column::new(Some("target"), "id")).eq(of("id"));
        let mut merge = self.open().await?.merge(source, same_id);
        merge = merge.with_source_alias("source").with_target_alias("target");
        merge = merge.when_matched_update(|update| {
            names.iter().filter(|name| *name != "id").fold(update, |update, name| update.update(name, of(name)))
        })?;
        merge = merge
            .when_not_matched_insert(|insert| names.iter().fold(insert, |insert, name| insert.set(name, of(name))))?;
        if let Some(predicate) = unmatched {
            merge = merge.when_not_matched_by_source_delete(|delete| delete.predicate(predicate))?;
        }
        merge.await?;
        Ok(())
    }

    /// Compacts small files, or puts rows in order; says nothing changed, which must be true.
    pub(crate) async fn optimize(&self, by: Option<&str>) -> Outcome<()> {
        let before = self.rows().await?;
        let optimize = self.open().await?.optimize();
        match by {
            None => optimize.await?,
            Some(column) => optimize.with_type(OptimizeType::ZOrder(vec![column.to_owned()])).await?,
        };
        match difference(&before, &self.rows().await?, ["the table", "the compacted table"]) {
            Some(difference) => Err(format!("delta-rs did not compact well: {difference}").into()),
            None => Ok(()),
        }
    }

    /// All rows, as delta-rs reads them.
    async fn rows(&self) -> Outcome<Logical> {
        let table = self.open().await?;
        let context = SessionContext::new();
        table.update_datafusion_session(&context.state())?;
        let provider = table.table_provider().await?;
        let schema = provider.schema();
        let rows = context.read_table(provider)?.collect().await?;
        Ok(Logical::of(Some(&concat_batches(&schema, &rows)?), &[]))
    }

    pub(crate) async fn restore(&self, version: u64) -> Outcome<()> {
        self.open().await?.restore().with_version_to_restore(version).await?;
        Ok(())
    }

    /// Adds a column without rows.
    pub(crate) async fn add_column(&self, name: &str, data_type: DataType) -> Outcome<()> {
        let field = StructField::new(name, data_type, true);
        self.open().await?.add_columns().with_fields([field]).await?;
        Ok(())
    }

    /// Changes a property that nobody reads.
    pub(crate) async fn set_property(&self, value: &str) -> Outcome<()> {
        let properties = HashMap::from([("limno.note".to_owned(), value.to_owned())]);
        let set = self.open().await?.set_tbl_properties();
        set.with_properties(properties).with_raise_if_not_exists(false).await?;
        Ok(())
    }

    /// Writes a checkpoint of the newest version: no commit, but the log may now be cut before it.
    pub(crate) async fn checkpoint(&self) -> Outcome<u64> {
        let table = self.open().await?;
        deltalake::checkpoints::create_checkpoint(&table, None).await?;
        Ok(table.version().unwrap())
    }

    /// Cuts the log before a checkpoint, as its retention would.
    pub(crate) fn cut_log_before(&self, version: u64) {
        for entry in self.folder.join("_delta_log").read_dir().unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let number = name.split_once('.').and_then(|(number, _)| number.parse::<u64>().ok());
            if number.is_some_and(|number| number < version) {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Rows of the newest version that a predicate holds for, as delta-rs reads them.
    pub(crate) async fn count(&self, predicate: Option<Expr>) -> Outcome<usize> {
        let table = self.open().await?;
        let context = SessionContext::new();
        table.update_datafusion_session(&context.state())?;
        let rows = context.read_table(table.table_provider().await?)?;
        let rows = match predicate {
            Some(predicate) => rows.filter(predicate)?,
            None => rows,
        };
        Ok(rows.select(vec![col("id")])?.count().await?)
    }
}

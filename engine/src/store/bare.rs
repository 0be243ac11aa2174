//! A table that was created without columns, as a catalog wants it for tables that other engines write.

use arrow::datatypes::SchemaRef;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{Metadata, MetadataExt, StructType};
use deltalake::logstore::{CommitOrBytes, LogStore};
use deltalake::{DeltaTable, DeltaTableError};
use limno_sql::lake::Place;
use limno_sql::source::without_columns;
use serde_json::json;
use uuid::Uuid;

/// A table without columns, at its newest version. It does not load, so our rows cannot come in the commit that gives it
/// its columns; they come in the next. A table that was left between the two is one that was created with columns.
#[derive(Debug)]
pub(super) struct Bare {
    version: u64,
    metadata: Metadata,
}

impl Bare {
    /// What is there, if it is that.
    pub(super) async fn find(place: &Place) -> Option<Self> {
        let (version, metadata) = without_columns(place).await.ok().flatten()?;
        Some(Self { version, metadata })
    }

    /// The table with these columns; `None` if another writer was faster.
    pub(super) async fn with_columns(
        &self,
        place: &Place,
        schema: &SchemaRef,
    ) -> Result<Option<DeltaTable>, DeltaTableError> {
        let is_on = |key: &str| self.metadata.configuration().get(key).is_some_and(|value| value == "true");
        if is_on("delta.enableInCommitTimestamps") {
            return Err(DeltaTableError::generic(
                "it was created with in-commit timestamps; create it with TBLPROPERTIES \
                 ('delta.enableInCommitTimestamps' = 'false')",
            ));
        }
        let columns: StructType = schema.as_ref().try_into_kernel()?;
        let metadata = self.metadata.clone().with_schema(&columns)?;
        let commit = [
            json!({ "commitInfo": {
                "timestamp": crate::clock::machine_millis(), "operation": "ADD COLUMNS", "operationParameters": {},
                "engineInfo": concat!("limnograph/", env!("CARGO_PKG_VERSION")),
            } }),
            json!({ "metaData": metadata }),
        ];
        let text = commit.map(|action| action.to_string()).join("\n");
        let (log_store, version) = (place.delta()?.build()?.log_store(), self.version + 1);
        let bytes = CommitOrBytes::LogBytes(text.into_bytes().into());
        match log_store.write_commit_entry(version, bytes, Uuid::new_v4()).await {
            Ok(()) => Ok(Some(place.delta()?.with_version(version).load().await?)),
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use limno_sql::lake::{Access, Lake};
    use limno_sql::session::{SessionOptions, context};

    use super::*;
    use crate::store::{OwnTable, append, read};

    /// A folder with a table as `CREATE TABLE … USING DELTA LOCATION …` leaves it.
    fn created() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let commit = [
            json!({ "commitInfo": { "timestamp": 1, "operation": "CREATE TABLE" } }),
            json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
            json!({ "metaData": {
                "id": "1", "format": { "provider": "parquet", "options": {} }, "partitionColumns": [],
                "schemaString": json!({ "type": "struct", "fields": [] }).to_string(), "configuration": {} } }),
        ];
        std::fs::create_dir(folder.path().join("_delta_log")).unwrap();
        let log = folder.path().join("_delta_log/00000000000000000000.json");
        std::fs::write(log, commit.map(|action| action.to_string()).join("\n")).unwrap();
        folder
    }

    fn rows() -> RecordBatch {
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap()
    }

    #[tokio::test]
    async fn a_table_without_columns_is_as_good_as_none_until_it_is_written() {
        let folder = created();
        let uri = folder.path().to_str().unwrap();
        let context = context(&SessionOptions::default()).unwrap();
        let own = OwnTable::open(&context, uri).await.unwrap();
        assert_eq!((own.version(), own.schema(), own.id()), (None, None, None));
        assert!(read(&context, uri).await.unwrap().is_none());
        append(&context, uri, rows()).await.unwrap();
        assert_eq!(read(&context, uri).await.unwrap(), Some(rows()));
        assert_eq!(OwnTable::open(&context, uri).await.unwrap().version(), Some(2));
    }

    #[tokio::test]
    async fn whoever_is_cut_off_after_the_columns_or_is_slower_does_no_harm() {
        let folder = created();
        let uri = folder.path().to_str().unwrap();
        let context = context(&SessionOptions::default()).unwrap();
        let place = Lake::of(&context).unwrap().locate(uri, Access::Write).await.unwrap();
        let bare = Bare::find(&place).await.unwrap();
        assert!(bare.with_columns(&place, &rows().schema()).await.unwrap().is_some());
        assert!(bare.with_columns(&place, &rows().schema()).await.unwrap().is_none(), "another was faster");
        assert!(Bare::find(&place).await.is_none());
        let own = OwnTable::open(&context, uri).await.unwrap();
        assert_eq!((own.version(), own.schema()), (None, None), "columns alone are nothing");
        assert!(read(&context, uri).await.unwrap().is_none());
        append(&context, uri, rows()).await.unwrap();
        append(&context, uri, rows()).await.unwrap();
        assert_eq!(read(&context, uri).await.unwrap().unwrap().num_rows(), 4);
    }
}

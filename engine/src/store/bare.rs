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

//! Delta tables.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use deltalake::kernel::transaction::{PROTOCOL, TransactionError};
use deltalake::kernel::{Action, Add, Metadata, Protocol};
use deltalake::{DeltaTable, DeltaTableError};

use super::{Source, SourceVersion};
use crate::lake::Place;
use crate::{Error, Result};

pub(super) async fn open(context: &SessionContext, place: Place) -> Result<Source> {
    open_at(context, place, None).await
}

/// Opens a version, or the newest.
pub(super) async fn open_at(context: &SessionContext, place: Place, version: Option<u64>) -> Result<Source> {
    let uri = place.uri().to_owned();
    let failed = |error| Error::of_delta(&uri, error);
    let mut builder = place.delta().map_err(failed)?;
    if let Some(version) = version {
        builder = builder.with_version(version);
    }
    let table = builder.load().await.map_err(failed)?;
    table.update_datafusion_session(&context.state()).map_err(failed)?;
    let snapshot = table.snapshot().map_err(failed)?;
    check_features(&uri, snapshot.protocol())?;
    let version = SourceVersion::Delta {
        table_id: snapshot.metadata().id().to_owned(),
        version: table.version().unwrap_or_default(),
    };
    let provider = table.table_provider().await?;
    let base = Arc::clone(&provider) as Arc<dyn TableProvider>;
    Ok(Source { uri, place, version, base, provider, views: Vec::new(), delta: Some(Arc::new(table)) })
}

/// Refuses a table that asks its readers for more than ours can do, and names what.
fn check_features(uri: &str, protocol: &Protocol) -> Result<()> {
    let Err(TransactionError::UnsupportedTableFeatures(features)) = PROTOCOL.can_read_from_protocol(protocol) else {
        return Ok(());
    };
    // Scans map column names themselves.
    let names = features.iter().map(ToString::to_string);
    let features: Vec<String> = names.filter(|feature| feature != "columnMapping").collect();
    if features.is_empty() {
        return Ok(());
    }
    Err(Error::Features { uri: uri.to_owned(), features: features.join(", ") })
}

/// Whether a table with columns was created, by a statement of SQL or a catalog, and never written: it has no file, and
/// its newest commit says that it creates the table or gives it its columns.
///
/// # Errors
/// When the log does not read.
pub async fn is_blank(table: &DeltaTable) -> Result<bool, DeltaTableError> {
    let Some(version) = table.version().filter(|_| table.snapshot().is_ok_and(|now| now.log_data().num_files() == 0))
    else {
        return Ok(false);
    };
    let Some(commit) = table.log_store().read_commit_entry(version).await? else { return Ok(false) };
    Ok(deltalake::logstore::get_actions(version, &commit)?.into_iter().any(|action| match action {
        Action::CommitInfo(info) => info.operation.is_some_and(|operation| is_creation(&operation)),
        _ => false,
    }))
}

/// Whether a commit of this operation creates a table or gives it its columns.
pub(super) fn is_creation(operation: &str) -> bool {
    operation.starts_with("CREATE") || operation == "ADD COLUMNS"
}

/// The newest version and the description of a table without any column, as `CREATE TABLE … USING DELTA LOCATION …`
/// leaves it; `None` for another. Such a table does not load, since nothing can be read of it.
///
/// # Errors
/// When the log does not read.
pub async fn without_columns(place: &Place) -> Result<Option<(u64, Metadata)>, DeltaTableError> {
    let log_store = place.delta()?.build()?.log_store();
    let newest = log_store.get_latest_version(0).await?;
    let mut found = None;
    for version in 0..=newest {
        // A log that is cut is that of a table with a history.
        let Some(commit) = log_store.read_commit_entry(version).await? else { return Ok(None) };
        for action in deltalake::logstore::get_actions(version, &commit)? {
            match action {
                Action::Metadata(metadata) => found = Some(metadata),
                Action::Add(_) => return Ok(None),
                _ => {}
            }
        }
    }
    let Some(metadata) = found else { return Ok(None) };
    let has_columns = metadata.parse_schema()?.fields().next().is_some();
    Ok((!has_columns).then_some((newest, metadata)))
}

/// The files that make up a table at the version that was loaded, with their statistics, tags and deletion vectors.
///
/// # Errors
/// When the table was not loaded with its files.
pub fn active_files(table: &DeltaTable) -> Result<Vec<Add>, DeltaTableError> {
    let files = table.snapshot()?.log_data();
    // The only way to all that the log says of a file; arrays leave out the tags.
    #[expect(deprecated, reason = "Add actions are what scans and commits take")]
    Ok(files.iter().map(|file| file.add_action()).collect())
}

/// The name under which a column's values and statistics are stored: another one than its own where the table maps
/// names, and one that a renamed column keeps.
#[must_use]
pub fn stored_name(table: &DeltaTable, column: &str) -> String {
    const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
    let schema = table.snapshot().ok().map(|snapshot| snapshot.schema());
    let is_mapped = table.snapshot().is_ok_and(|snapshot| {
        snapshot.metadata().configuration().get("delta.columnMapping.mode").is_some_and(|mode| mode != "none")
    });
    let stored = schema.filter(|_| is_mapped).and_then(|schema| {
        let field = schema.field(column)?;
        Some(field.metadata().get(PHYSICAL_NAME)?.to_string())
    });
    stored.unwrap_or_else(|| column.to_owned())
}

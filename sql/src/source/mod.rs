//! Tables and files as DataFusion providers, with the version that was read.
//!
//! A location is a Delta table, a Parquet or CSV file, or a folder of such files of one kind.

mod delta;
mod files;
mod labels;
mod log;
mod view;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::DeltaTable;
use deltalake::kernel::Add;
use futures::TryStreamExt;

use crate::lake::{Access, Found, Lake, Place, TroubleKind};
use crate::payload::PayloadOptions;
use crate::{Error, Result};

pub use delta::{active_files, is_blank, stored_name, without_columns};
pub use files::TableFiles;
pub use labels::{LabelJoin, read_labels, touched_windows};
pub(crate) use log::Checkpoints;
pub use log::{LogFound, TableLog};
pub use view::View;

/// What is read, at one version.
#[derive(Clone)]
pub struct Source {
    /// The location as the user gave it.
    pub uri: String,
    /// Where that is.
    pub place: Place,
    /// The version that will be read.
    pub version: SourceVersion,
    /// Its rows, through all views.
    pub provider: Arc<dyn TableProvider>,
    /// Its own rows.
    pub base: Arc<dyn TableProvider>,
    /// What is made of the table's own rows, in this order.
    pub views: Vec<View>,
    /// The Delta table at that version; `None` for files.
    pub delta: Option<Arc<DeltaTable>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("uri", &self.uri).field("version", &self.version).finish_non_exhaustive()
    }
}

/// Which data a source holds: equal versions hold equal rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceVersion {
    /// A version of a Delta table.
    Delta {
        /// The table's own id: a table dropped and created again has another.
        table_id: String,
        /// The version.
        version: u64,
    },
    /// Files, told apart by name, size and time of change, in object stores also by tag.
    Files {
        /// One line a file.
        listing: String,
    },
}

impl SourceVersion {
    /// The Delta version, where there is one.
    #[must_use]
    pub const fn delta(&self) -> Option<u64> {
        match self {
            Self::Delta { version, .. } => Some(*version),
            Self::Files { .. } => None,
        }
    }

    /// The size of each file, where the version is one of files.
    #[must_use]
    pub fn sizes(&self) -> Vec<u64> {
        match self {
            Self::Delta { .. } => Vec::new(),
            Self::Files { listing } => listing.lines().map(|line| size_of(line).unwrap_or_default()).collect(),
        }
    }
}

impl std::fmt::Display for SourceVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delta { table_id, version } => write!(f, "delta {table_id} {version}"),
            Self::Files { listing } => f.write_str(listing),
        }
    }
}

impl Source {
    /// Opens what is at `uri`.
    ///
    /// # Errors
    /// When nothing is there, when it is no table, or when it does not open.
    pub async fn open(context: &SessionContext, uri: &str) -> Result<Self> {
        let place = Lake::of(context)?.locate(uri, Access::Read).await?;
        match place.find().await? {
            Found::Nothing => Err(Error::NotFound { uri: uri.to_owned() }),
            Found::Delta => delta::open(context, place).await,
            Found::File => open_files(context, &place, place.ending(), true).await,
            Found::Folder(ending) => open_files(context, &place, ending, false).await,
        }
    }

    /// Opens a table that we write ourselves: a Delta table, or `None` if nothing was ever written there. Folders
    /// and files that a write left behind before its commit are nothing, nor is a table that was only created.
    ///
    /// # Errors
    /// When a table is there but does not open.
    pub async fn open_own(context: &SessionContext, uri: &str) -> Result<Option<Self>> {
        let place = match Lake::of(context)?.locate(uri, Access::Read).await {
            Ok(place) => place,
            // The catalog does not know it yet.
            Err(Error::Access(trouble)) if trouble.kind == TroubleKind::NoTable => return Ok(None),
            Err(error) => return Err(error),
        };
        if !place.has_commits().await? {
            return Ok(None);
        }
        let failed = |error| Error::of_delta(uri, error);
        let source = match delta::open(context, place.clone()).await {
            Ok(source) => source,
            Err(_) if matches!(without_columns(&place).await, Ok(Some(_))) => return Ok(None),
            Err(error) => return Err(error),
        };
        match &source.delta {
            Some(table) if is_blank(table).await.map_err(failed)? => Ok(None),
            _ => Ok(Some(source)),
        }
    }

    /// The same Delta table at an earlier version.
    ///
    /// # Errors
    /// When the log no longer has that version, or when it is no Delta table.
    pub async fn at_version(&self, context: &SessionContext, version: u64) -> Result<Self> {
        delta::open_at(context, self.place.clone(), Some(version)).await
    }

    /// The same table with its rows seen through one more view.
    ///
    /// # Errors
    /// When the view does not fit the table.
    pub fn with_view(mut self, view: View) -> Result<Self> {
        self.provider = view.over(self.provider)?;
        self.views.push(view);
        Ok(self)
    }

    /// The same table, of which only some of the active files are read. Files are told by their path alone; their
    /// deletion vectors are those of the version that was opened.
    ///
    /// # Errors
    /// When it is no Delta table, or when the scan cannot be set up.
    pub async fn of_files(&self, files: Vec<Add>) -> Result<Self> {
        let table = self.delta.as_ref().ok_or_else(|| Error::NotATable {
            uri: self.uri.clone(),
            message: "only the files of a Delta table can be told apart".to_owned(),
        })?;
        let base: Arc<dyn TableProvider> = table.table_provider().with_adds(files).await?;
        let mut provider = Arc::clone(&base);
        for view in &self.views {
            provider = view.over(provider)?;
        }
        Ok(Self { base, provider, ..self.clone() })
    }

    /// Whether the rows are those of a log, of which not every one is measured.
    #[must_use]
    pub fn has_outcomes(&self) -> bool {
        self.payload().is_some()
    }

    /// The columns of a log of requests, as text by which they can be found again; `None` for other tables.
    #[must_use]
    pub fn payload_schema(&self) -> Option<String> {
        serde_json::to_string(&self.payload()?.schema).ok()
    }

    /// How a log of requests is unpacked; `None` for other tables.
    #[must_use]
    pub fn payload(&self) -> Option<&Arc<PayloadOptions>> {
        self.views.iter().find_map(View::payload)
    }

    /// The same rows before one of the views, and those that follow it.
    ///
    /// # Errors
    /// When a view does not fit the table, which would be a defect.
    pub fn before_view(&self, is_end: impl Fn(&View) -> bool) -> Result<Self> {
        let views: Vec<View> = self.views.iter().take_while(|view| !is_end(view)).cloned().collect();
        let mut provider = Arc::clone(&self.base);
        for view in &views {
            provider = view.over(provider)?;
        }
        Ok(Self { provider, views, ..self.clone() })
    }

    /// Of a log, the expression that describes a row that cannot be measured, for a table of such rows.
    #[must_use]
    pub fn refused_items(&self) -> Option<Expr> {
        self.views.iter().find_map(View::refused_items)
    }

    /// What a column is, under its name or any other it had or will have: where a table maps names, another column can
    /// take a name over.
    #[must_use]
    pub fn identity(&self, column: &str) -> String {
        self.delta.as_ref().map_or_else(|| column.to_owned(), |table| stored_name(table, column))
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }
}

async fn open_files(context: &SessionContext, place: &Place, ending: Option<String>, is_file: bool) -> Result<Source> {
    let uri = place.uri();
    let unreadable = |error| Error::of_files(uri, error);
    let format: Arc<dyn FileFormat> = match ending.as_deref() {
        Some("parquet") => Arc::new(ParquetFormat::default()),
        Some("csv") => {
            // All rows, so that a late odd cell makes a column text instead of stopping the run.
            Arc::new(CsvFormat::default().with_has_header(true).with_schema_infer_max_rec(usize::MAX))
        }
        _ => {
            return Err(Error::NotATable {
                uri: uri.to_owned(),
                message: "expected a Delta table, a .parquet or .csv file, or a folder of such files".to_owned(),
            });
        }
    };
    let url = if is_file { place.url().clone() } else { place.folder_url() };
    let location = ListingTableUrl::try_new(url, None).map_err(unreadable)?;
    // A file that was named is read whatever the case of its ending.
    let suffix = match ending {
        Some(ending) if !is_file => format!(".{ending}"),
        _ => String::new(),
    };
    let options = ListingOptions::new(format).with_file_extension(&suffix);
    // A listing from before would hide new files; the one made below is the one that is scanned.
    if let Some(listings) = context.runtime_env().cache_manager.get_list_files_cache() {
        listings.clear();
    }
    let state = context.state();
    let config = ListingTableConfig::new(location.clone())
        .with_listing_options(options)
        .infer_schema(&state)
        .await
        .map_err(unreadable)?;
    let store = context.runtime_env().object_store(&location).map_err(unreadable)?;
    if config.file_schema.as_ref().is_none_or(|schema| schema.fields().is_empty()) {
        return Err(Error::NotATable { uri: uri.to_owned(), message: "it is empty, so it has no columns".to_owned() });
    }
    // A store lists what is below a prefix; a location that is one file lists nothing.
    let listed = location.list_all_files(&state, store.as_ref(), &suffix).await.map_err(unreadable)?;
    let mut files: Vec<_> = listed.map_ok(|file| described(&file, place)).try_collect().await.map_err(unreadable)?;
    files.sort_unstable();
    let provider = Arc::new(ListingTable::try_new(config).map_err(unreadable)?);
    let version = SourceVersion::Files { listing: files.join("\n") };
    Ok(Source {
        uri: uri.to_owned(),
        place: place.clone(),
        version,
        base: Arc::clone(&provider) as _,
        provider,
        views: Vec::new(),
        delta: None,
    })
}

/// A file as it is at the moment: where, size and time. Object stores know times to the second, and so a tag before them.
fn described(file: &object_store::ObjectMeta, place: &Place) -> String {
    let tag = file.e_tag.as_deref().filter(|_| place.on_disk().is_none()).map(|tag| format!("{tag} "));
    let (size, time) = (file.size, file.last_modified.timestamp_micros());
    format!("{} {}{size} {time}", file.location, tag.unwrap_or_default())
}

/// The size that [`described`] says.
fn size_of(line: &str) -> Option<u64> {
    line.rsplit(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use object_store::ObjectMeta;

    use super::*;

    #[test]
    fn a_version_of_files_says_their_sizes_wherever_they_lie() {
        let file = |name: &str, size| ObjectMeta {
            location: name.into(),
            last_modified: DateTime::from_timestamp_micros(1_795_670_436_008_477).unwrap(),
            size,
            e_tag: Some("\"0x8DE2C\"".to_owned()),
            version: None,
        };
        let context = crate::session::context(&crate::session::SessionOptions::default()).unwrap();
        let lake = Lake::of(&context).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for uri in ["/somewhere/t", "abfss://lake@account.dfs.core.windows.net/t"] {
            let place = runtime.block_on(lake.locate(uri, Access::Read)).unwrap();
            let lines = [file("t/a b.parquet", 7), file("t/c.parquet", 12)].map(|file| described(&file, &place));
            assert!(lines[0].starts_with("t/a b.parquet "), "{lines:?}");
            assert_eq!(lines[0].contains("0x8DE2C"), place.on_disk().is_none(), "{lines:?}");
            let version = SourceVersion::Files { listing: lines.join("\n") };
            assert_eq!(version.sizes(), [7, 12], "{lines:?}");
        }
    }
}

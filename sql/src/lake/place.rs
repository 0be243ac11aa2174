//! A location, ready to be read or written.

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;

use deltalake::{DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::location::{Location, Service, container_in_host};
use crate::watch::Watch;
use crate::{Error, Result};

/// A location, ready to be read or written.
#[derive(Clone)]
pub struct Place {
    uri: String,
    service: Service,
    url: Url,
    path: Path,
    store: Arc<dyn ObjectStore>,
    watch: Arc<Watch>,
}

/// What lies at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A folder with the log of a Delta table.
    Delta,
    /// One file.
    File,
    /// A folder of files of this one ending, or of none that we know.
    Folder(Option<String>),
}

impl Debug for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("uri", &self.uri).field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Place {
    pub(super) fn new(uri: &str, location: Location, store: Arc<dyn ObjectStore>, watch: Arc<Watch>) -> Result<Self> {
        let path = Path::from_url_path(location.url.path())
            .map_err(|error| Error::NotATable { uri: uri.to_owned(), message: error.to_string() })?;
        Ok(Self { uri: uri.to_owned(), service: location.service, url: location.url, path, store, watch })
    }

    /// The location as the user gave it.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Its one spelling, without a slash at its end.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Its one spelling as a folder.
    #[must_use]
    pub fn folder_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
        url
    }

    /// The store whose root is the container, bucket, host or disk.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where the time of its session goes.
    #[must_use]
    pub const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Its path in the store.
    #[must_use]
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is on a disk of this machine, and where.
    #[must_use]
    pub fn on_disk(&self) -> Option<PathBuf> {
        if self.service == Service::Disk { self.url.to_file_path().ok() } else { None }
    }

    /// The Delta table there, yet to be loaded.
    ///
    /// # Errors
    /// When its URL has no path that can be a table's.
    pub fn delta(&self) -> Result<DeltaTableBuilder, DeltaTableError> {
        let url = container_in_host(&self.folder_url());
        Ok(DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(Arc::clone(&self.store), url))
    }

    /// Whether a Delta log there has a commit or a checkpoint.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn has_commits(&self) -> Result<bool> {
        let mut names = self.store.list(Some(&self.path.clone().join("_delta_log")));
        while let Some(found) = names.try_next().await.map_err(|error| self.failed(error))? {
            let name = found.location.filename().unwrap_or_default();
            let is_numbered = name.len() > 20 && name.bytes().take(20).all(|byte| byte.is_ascii_digit());
            if is_numbered && (name.ends_with(".json") || name.ends_with(".parquet")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What lies there.
    ///
    /// # Errors
    /// When the store does not answer; [`Error::NotATable`] for a folder of files of several kinds.
    pub async fn find(&self) -> Result<Found> {
        // A disk has folders, empty ones too; a store has names.
        if let Some(path) = self.on_disk() {
            return match () {
                () if path.is_file() => Ok(Found::File),
                () if !path.is_dir() => Ok(Found::Nothing),
                () if path.join("_delta_log").is_dir() => Ok(Found::Delta),
                () => Ok(Found::Folder(self.ending_within().await?.flatten())),
            };
        }
        let is_file_by_name = self.ending().is_some();
        if (is_file_by_name || self.service == Service::Web) && self.is_file().await? {
            return Ok(Found::File);
        }
        if self.service == Service::Web {
            return Ok(Found::Nothing);
        }
        let has_log = super::route::has_any(self.store.as_ref(), &self.path.clone().join("_delta_log")).await;
        if has_log.map_err(|error| self.failed(error))? {
            return Ok(Found::Delta);
        }
        let ending = self.ending_within().await?;
        match ending {
            Some(ending) => Ok(Found::Folder(ending)),
            None if !is_file_by_name && self.is_file().await? => Ok(Found::File),
            None => Ok(Found::Nothing),
        }
    }

    async fn is_file(&self) -> Result<bool> {
        match self.store.head(&self.path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            // An answer to a question for the head alone has no words that say why not.
            Err(
                error @ (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }),
            ) => match self.store.get_range(&self.path, 0..1).await {
                Err(reason) if super::trouble_in(&reason).is_some() => Err(self.failed(reason)),
                _ => Err(self.failed(error)),
            },
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The ending of its name, in small letters, if it is one that we read.
    #[must_use]
    pub fn ending(&self) -> Option<String> {
        let ending = self.path.extension()?.to_ascii_lowercase();
        is_readable(&ending).then_some(ending)
    }

    /// The one kind of files below it; `None` if there is no file at all.
    async fn ending_within(&self) -> Result<Option<Option<String>>> {
        let mut files = self.store.list(Some(&self.path));
        let mut found: Option<Option<String>> = None;
        while let Some(file) = files.try_next().await.map_err(|error| self.failed(error))? {
            let ending = file.location.extension().filter(|ending| is_readable(ending)).map(str::to_owned);
            let known = found.get_or_insert(None);
            match (&known, ending) {
                (Some(before), Some(ending)) if *before != ending => {
                    return Err(Error::NotATable {
                        uri: self.uri.clone(),
                        message: "it holds both .parquet and .csv files".to_owned(),
                    });
                }
                (None, Some(ending)) => *known = Some(ending),
                _ => {}
            }
        }
        Ok(found)
    }

    /// An error of the store as one about this place.
    pub(crate) fn failed(&self, error: object_store::Error) -> Error {
        Error::of_store(&self.uri, error)
    }
}

fn is_readable(ending: &str) -> bool {
    ending == "parquet" || ending == "csv"
}

//! From options to an open store, whichever the service.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use super::client::Skew;
use super::location::Service;
use super::options::StoreOptions;
use super::{azure, gcs, s3, web};
use crate::{Error, Result};

/// A store that is open, and by whom.
pub(super) struct Opened {
    /// Its root is the container, bucket, host or disk.
    pub(super) store: Arc<dyn ObjectStore>,
    /// Who signs in, in words.
    pub(super) sign_in: String,
    /// How far our clock is from the service's.
    pub(super) skew: Skew,
}

/// Opens the container, bucket, host or disk of `url`. Nothing is asked of the service yet.
pub(super) fn open(service: Service, url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    match service {
        Service::Disk => Ok(Opened {
            store: Arc::new(LocalFileSystem::new()),
            sign_in: "the user of this process".to_owned(),
            skew: Skew::default(),
        }),
        Service::Azure => azure::open(url, options, is_configured),
        Service::S3 => s3::open(url, options, is_configured),
        Service::Gcs => gcs::open(url, options, is_configured),
        Service::Web => web::open(url, options),
        Service::Unity => Err(unusable(url, "a table of a catalog has no files of its own")),
    }
}

/// A store that cannot be used as it is configured.
pub(super) fn unusable(url: &Url, message: impl Into<String>) -> Error {
    let message = crate::secret::redact(&message.into()).into_owned();
    Error::Unsupported { uri: super::location::shown(url.as_str()), message }
}

//! From options to an open store, whichever the service.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use url::Url;

use super::client::Skew;
use super::location::Service;
use super::options::StoreOptions;
use super::patience::Renewal;
use super::{azure, gcs, s3, web};
use crate::{Error, Result};

/// A store that is open, and by whom.
pub(super) struct Opened {
    /// Its root is the container, bucket, host or disk.
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store, if parts of uploads can be sent to it by their numbers.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
    /// Who signs in, in words.
    pub(super) sign_in: String,
    /// How far our clock is from the service's.
    pub(super) skew: Skew,
    /// Where credentials are handed out, who is told that they are not taken.
    pub(super) renewal: Option<Renewal>,
}

impl Opened {
    /// The store of a cloud.
    pub(super) fn new<S: ObjectStore + MultipartStore>(store: S, sign_in: String, skew: Skew) -> Self {
        let store = Arc::new(store);
        Self { parts: Some(Arc::clone(&store) as _), store, sign_in, skew, renewal: None }
    }
}

/// Opens the container, bucket, host or disk of `url`. Nothing is asked of the service yet.
pub(super) fn open(service: Service, url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    match service {
        Service::Disk => Ok(Opened {
            store: Arc::new(LocalFileSystem::new()),
            parts: None,
            sign_in: "the user of this process".to_owned(),
            skew: Skew::default(),
            renewal: None,
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

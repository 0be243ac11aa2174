//! The lake: where tables lie, and who signs in there.
//!
//! A [`Lake`] is what a session knows of the world outside. It takes the URI of a table and answers with a [`Place`]: one
//! spelling of it, and a store whose requests are signed by whoever the configuration or the environment names for that
//! URI, tried again while that can help, and explained where it cannot. All reads and writes of all tables go through it:
//! DataFusion finds its stores here ([`ObjectStoreRegistry`]), and Delta tables are opened on them.

mod apart;
mod azure;
mod client;
mod commits;
pub mod faults;
mod gcs;
mod held;
mod location;
mod options;
mod patience;
mod place;
mod probe;
mod provider;
mod reading;
mod renewed;
mod route;
mod rules;
mod s3;
#[cfg(test)]
mod test_server;
mod timer;
mod trouble;
mod unity;
mod web;

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, Once, PoisonError};

use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::prelude::SessionContext;
use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use object_store::ObjectStore;
use url::Url;

use crate::watch::Watch;
use crate::{Error, Result};

pub use client::Transient;
pub use held::Sharing;
pub use location::Service;
pub use options::{Limits, SignIn, StoreOptions};
pub use place::{Found, Place};
pub use trouble::{Access, Trouble, TroubleKind, trouble_in};

use held::Held;
use location::{Location, joined, plain};
use reading::Reading;
use route::Router;
use rules::{Rules, authority};
use unity::Unity;

/// Something around the stores, below all patience: tests put faults there.
pub trait Layer: Send + Sync {
    /// The store of a container, bucket, host or disk with the layer around it.
    fn around(&self, store: Arc<dyn ObjectStore>, authority: &str) -> Arc<dyn ObjectStore>;

    /// The patience with such a store: what is waited for in the world need not be in a test.
    fn limits(&self, limits: Limits) -> Limits {
        limits
    }
}

/// What a lake is made of.
#[derive(Clone, Default)]
pub struct LakeOptions {
    /// How places are reached; the longest URL that a location begins with counts. Elsewhere the environment does.
    pub stores: Vec<StoreOptions>,
    /// Below which locations anything may be changed; `None` for everywhere.
    pub writable: Option<Vec<String>>,
    /// Around the stores. A disk with a layer around it is read as a remote store is.
    pub layer: Option<Arc<dyn Layer>>,
    /// Bytes of files that are kept in memory for readers that come soon; `None` for 256 MiB.
    pub held: Option<u64>,
}

impl Debug for LakeOptions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeOptions")
            .field("stores", &self.stores)
            .field("writable", &self.writable)
            .finish_non_exhaustive()
    }
}

/// Which service a location is of.
///
/// # Errors
/// [`Error::Unsupported`] when it is no location that we know; the message shows no signature or password.
pub fn service_of(uri: &str) -> Result<Service> {
    Ok(location::parse(uri)?.service)
}

/// The service of what the URIs of a store begin with, and its one spelling. A whole scheme, such as `s3://`, is good too.
///
/// # Errors
/// As [`service_of`].
pub fn store_url(url: &str) -> Result<(Service, String)> {
    location::parse_prefix(url)
}

/// Whether a location is a place or lies below it.
///
/// # Errors
/// As [`service_of`], for either.
pub fn lies_below(uri: &str, place: &str) -> Result<bool> {
    Ok(rules::is_below(&plain(&location::parse(uri)?.url), &plain(&location::parse(place)?.url)))
}

/// Where tables lie, and who signs in there.
pub struct Lake {
    rules: Arc<Rules>,
    unity: Unity,
    routers: Mutex<HashMap<String, Arc<Router>>>,
    /// Stores that others registered for schemes that are none of ours.
    registered: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    held: Arc<Held>,
    watch: Arc<Watch>,
}

impl Debug for Lake {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").finish_non_exhaustive()
    }
}

impl Lake {
    /// A lake.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a writable location is none.
    pub fn new(options: LakeOptions) -> Result<Self> {
        register_log_stores();
        // Stores find secrets there by themselves, and libraries log what they do.
        crate::secret::remember_environment();
        let held = Arc::new(Held::new(options.held.unwrap_or(held::DEFAULT_LIMIT)));
        let rules = Rules::new(options.stores, options.writable.as_deref(), options.layer, Arc::clone(&held))?;
        let rules = Arc::new(rules);
        Ok(Self {
            unity: Unity::new(Arc::clone(&rules)),
            rules,
            routers: Mutex::default(),
            registered: Mutex::default(),
            held,
            watch: Arc::default(),
        })
    }

    /// The lake of a session.
    ///
    /// # Errors
    /// When the session was not made by [`crate::session::context`].
    pub fn of(context: &SessionContext) -> Result<Arc<Self>> {
        context.copied_config().get_extension::<Self>().ok_or_else(|| Error::Unsupported {
            uri: "this session".to_owned(),
            message: "it was set up without a lake".to_owned(),
        })
    }

    /// Where a location is. Nothing is asked of an object store yet; a catalog is asked where a table's files are.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is no location that we know, or the way there is not configured right; for a table
    /// of a catalog, [`Error::Access`] when the catalog does not know it or does not hand out credentials for it, and
    /// [`Error::NotATable`] for a view and the like.
    pub async fn locate(&self, uri: &str, access: Access) -> Result<Place> {
        let location = match location::parse(uri)? {
            Location { service: Service::Unity, url } => Box::pin(self.unity.locate(&url, access)).await?,
            location => location,
        };
        // Who signs in is known before the first request, so that what is missing is said at once.
        self.rules.reach(&plain(&location.url))?;
        let store = self.router(&location.url);
        Place::new(uri, location, store, Arc::clone(&self.watch))
    }

    /// Whether the tables at these locations can be written to: where a catalog must know a table first, it does.
    ///
    /// # Errors
    /// One [`Error::Access`] of [`TroubleKind::NoTable`] with the statements that create all tables that are missing; what
    /// else the catalog says of one of them, as [`Lake::locate`].
    pub async fn check_created(&self, uris: &[&str]) -> Result<()> {
        let mut tables = Vec::new();
        for uri in uris {
            if let Ok(Location { service: Service::Unity, url }) = location::parse(uri) {
                tables.push(url);
            }
        }
        Box::pin(self.unity.check_created(&tables)).await
    }

    /// Who signs in for a location, in words: `the account key of [store.lake]`.
    ///
    /// # Errors
    /// As [`Lake::locate`].
    pub fn sign_in(&self, place: &Place) -> Result<String> {
        Ok(self.rules.reach(&plain(place.url()))?.sign_in.clone())
    }

    /// Until the answer is dropped, bytes of remote files that one scan reads are kept for others that want the same ones
    /// soon. The numbers of no scan hang on it, nor does one wait for another.
    #[must_use]
    pub fn share(&self) -> Sharing {
        self.held.share()
    }

    /// Where the time of all that runs in this session goes.
    #[must_use]
    pub const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Whether each request to a place takes its time, as all do but those to a disk.
    #[must_use]
    pub fn is_remote(&self, place: &Place) -> bool {
        self.rules.reach(&plain(place.url())).is_ok_and(|reached| reached.reading.is_some())
    }

    /// The store of a file where each request takes its time; `None` for disks.
    pub(crate) fn remote(&self, store: &Url, path: &object_store::path::Path) -> Option<Arc<Reading>> {
        let reached = self.rules.reach(&joined(authority(store), path.as_ref())).ok()?;
        reached.reading.clone()
    }

    fn router(&self, url: &Url) -> Arc<dyn ObjectStore> {
        let authority = authority(url);
        let mut routers = self.routers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(router) = routers.get(authority) {
            return Arc::clone(router) as _;
        }
        let router = Arc::new(Router::new(authority.to_owned(), Arc::clone(&self.rules), Arc::clone(&self.watch)));
        routers.insert(authority.to_owned(), Arc::clone(&router));
        router
    }
}

/// Containers of one account differ in the user part of the URL only, so DataFusion's own registry would mix them up.
impl ObjectStoreRegistry for Lake {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        if location::TABLE_SCHEMES.contains(&url.scheme()) {
            // What is ours is reached by our rules.
            return None;
        }
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        registered.insert(authority(url).to_owned(), store)
    }

    fn get_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        let url = &location::container_in_user(url);
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner).get(authority(url)).cloned();
        if let Some(store) = registered {
            return Ok(store);
        }
        match url.scheme() {
            "http" | "https" => Ok(self.router(url)),
            scheme if location::TABLE_SCHEMES.contains(&scheme) => Ok(self.router(url)),
            scheme => Err(datafusion::error::DataFusionError::Execution(format!("there is no store for {scheme}://"))),
        }
    }
}

/// Commits to any store are puts that must not replace anything.
#[derive(Debug)]
struct LogStores;

impl LogStoreFactory for LogStores {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

fn register_log_stores() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for scheme in location::TABLE_SCHEMES {
            if let Ok(url) = Url::parse(&format!("{scheme}://")) {
                logstore_factories().insert(url, Arc::new(LogStores));
            }
        }
    });
}

//! Where the tables of a story lie: on disk, or in a store that `tests/run` starts.
//!
//! A story works in a folder. In a store, what lies in the folder is put there before `limno` starts, and what `limno`
//! left there is fetched when it has ended. So a story writes, damages and compares files, while `limno` knows the
//! URIs of the store alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::{Certificate, ClientOptions, ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support_block::{Block, Service};
use crate::support_run::components;

/// Requests of ours at once.
const AT_ONCE: usize = 8;
/// What lies in the folder of a story and is no table.
const NO_TABLES: [&str; 4] = ["limno.toml", "limno.dev.toml", "bin", "mail"];

/// A part of a store that one story has for itself.
pub(crate) struct Shelf {
    /// What the URIs of its tables begin with; ends with a slash.
    pub(crate) base: String,
    /// The `[store.NAME]` block.
    pub(crate) block: String,
    /// The variables that the block names.
    pub(crate) secrets: Vec<(String, String)>,
    /// What delta-rs and those that use it call all this.
    pub(crate) options: Value,
    store: Arc<dyn ObjectStore>,
    below: String,
    known: Mutex<BTreeMap<String, Known>>,
    runtime: Runtime,
}

/// A file that the store and the folder have alike.
struct Known {
    contents: u64,
    tag: Option<String>,
}

impl Shelf {
    /// A new one; `None` where the store was not started.
    pub(crate) fn new(service: Service) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let below = format!("stories-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let block = Block::new(service)?;
        match service {
            Service::S3 => Self::on_s3(&block, below),
            _ => Self::on_azure(&block, below),
        }
    }

    fn on_azure(block: &Block, below: String) -> Option<Self> {
        let [account, key] = components(["LIMNO_TEST_AZURE_ACCOUNT", "LIMNO_TEST_AZURE_KEY"])?;
        let endpoint = block.text_of("endpoint");
        let mut options = json!({ "azure_storage_account_name": account, "azure_storage_endpoint": endpoint });
        match block.service {
            Service::AzureByKey => options["azure_storage_account_key"] = json!(key),
            Service::AzureBySas => options["azure_storage_sas_key"] = json!(block.secret),
            Service::AzureByPrincipal | Service::S3 => {}
        }
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&account)
            .with_access_key(&key)
            .with_container_name("lake")
            .with_endpoint(endpoint.to_owned());
        if block.service == Service::AzureByPrincipal {
            let ca = Certificate::from_pem(&fs::read(block.text_of("ca_file")).unwrap()).unwrap();
            builder = builder.with_client_options(ClientOptions::new().with_root_certificate(ca));
        } else {
            options["azure_allow_http"] = json!("true");
            builder = builder.with_allow_http(true);
        }
        Some(Self::over(Arc::new(builder.build().unwrap()), block, below, options))
    }

    fn on_s3(block: &Block, below: String) -> Option<Self> {
        let [bucket] = components(["LIMNO_TEST_S3_BUCKET"])?;
        let [endpoint, region, id] = ["endpoint", "region", "access_key_id"].map(|key| block.text_of(key));
        let store = AmazonS3Builder::new()
            .with_bucket_name(&bucket)
            .with_endpoint(endpoint)
            .with_region(region)
            .with_access_key_id(id)
            .with_secret_access_key(&block.secret)
            .with_allow_http(true)
            .build();
        let options = json!({
            "aws_endpoint_url": endpoint, "aws_region": region, "aws_access_key_id": id,
            "aws_secret_access_key": block.secret, "aws_allow_http": "true",
        });
        Some(Self::over(Arc::new(store.unwrap()), block, below, options))
    }

    fn over(store: Arc<dyn ObjectStore>, block: &Block, below: String, options: Value) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let base = format!("{}{below}/", block.url);
        let (block, secrets) = (block.to_string(), vec![block.variable()]);
        Self { base, block, secrets, options, store, below, known: Mutex::default(), runtime }
    }

    /// Makes the store what the folder is. Logs come last and in order, so that no reader finds a commit without its
    /// files.
    pub(crate) fn put(&self, folder: &Path) {
        let mut known = self.known.lock().unwrap();
        let mut files = files_in(folder);
        files.retain(|name| !NO_TABLES.contains(&name.split('/').next().unwrap()));
        let here: BTreeSet<_> = files.iter().cloned().collect();
        files.sort_by_key(|name| (name.contains("_delta_log/"), name.clone()));
        self.runtime.block_on(async {
            let gone: Vec<_> = known.keys().filter(|name| !here.contains(*name)).cloned().collect();
            for name in gone {
                self.store.delete(&self.path(&name)).await.unwrap();
                known.remove(&name);
            }
            for name in files {
                let bytes = fs::read(folder.join(&name)).unwrap();
                let contents = digest(&bytes);
                if known.get(&name).is_none_or(|known| known.contents != contents) {
                    let put = self.store.put(&self.path(&name), bytes.into()).await.unwrap();
                    known.insert(name, Known { contents, tag: plain(put.e_tag) });
                }
            }
        });
    }

    /// Makes the folder what the store is.
    pub(crate) fn fetch(&self, folder: &Path) {
        let mut known = self.known.lock().unwrap();
        self.runtime.block_on(async {
            let all: Vec<_> = self.store.list(Some(&self.below.as_str().into())).try_collect().await.unwrap();
            let name_of = |path: &object_store::path::Path| {
                path.as_ref().strip_prefix(&format!("{}/", self.below)).unwrap().to_owned()
            };
            let there: BTreeSet<_> = all.iter().map(|object| name_of(&object.location)).collect();
            let gone: Vec<_> = known.keys().filter(|name| !there.contains(*name)).cloned().collect();
            for name in gone {
                fs::remove_file(folder.join(&name)).unwrap();
                known.remove(&name);
            }
            let is_other = |object: &object_store::ObjectMeta| {
                let known = known.get(&name_of(&object.location));
                known.is_none_or(|known| known.tag != plain(object.e_tag.clone()))
            };
            let other: Vec<_> = all.into_iter().filter(is_other).collect();
            let fetched = futures::stream::iter(other).map(async |object| {
                let bytes = self.store.get(&object.location).await.unwrap().bytes().await.unwrap();
                (name_of(&object.location), bytes, plain(object.e_tag))
            });
            for (name, bytes, tag) in fetched.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
                let file = folder.join(&name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, &bytes).unwrap();
                known.insert(name, Known { contents: digest(&bytes), tag });
            }
        });
    }

    fn path(&self, name: &str) -> object_store::path::Path {
        object_store::path::Path::parse(format!("{}/{name}", self.below)).unwrap()
    }
}

/// Answers to a put and listings quote tags differently.
fn plain(tag: Option<String>) -> Option<String> {
    tag.map(|tag| tag.trim_matches('"').to_owned())
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The names of the files below a folder.
fn files_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in inner.read_dir().unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// A story that is being told on this thread.
#[derive(Default)]
struct Telling {
    service: Option<Service>,
    folders: Vec<Arc<TempDir>>,
}

thread_local! {
    static TELLING: RefCell<Option<Telling>> = const { RefCell::new(None) };
}

/// Tells a story that was written for the disk with all its places in a store, or on disk for `None`; answers the
/// folders of its places.
pub(crate) fn tell(service: Option<Service>, story: fn()) -> Vec<Arc<TempDir>> {
    TELLING.set(Some(Telling { service, folders: Vec::new() }));
    story();
    TELLING.take().unwrap().folders
}

/// The folder of a new place, and the store that its tables lie in, if it is none.
pub(crate) fn new_place() -> (Arc<TempDir>, Option<Shelf>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let service = TELLING.with_borrow_mut(|telling| {
        let telling = telling.as_mut()?;
        telling.folders.push(Arc::clone(&folder));
        telling.service
    });
    let shelf = service.map(|service| Shelf::new(service).expect("a store that was there before"));
    (folder, shelf)
}

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

use crate::support_run::components;

/// Requests of ours at once.
const AT_ONCE: usize = 8;
/// What lies in the folder of a story and is no table.
const NO_TABLES: [&str; 3] = ["limno.toml", "bin", "mail"];

/// A store, and who signs in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    AzureByKey,
    AzureBySas,
    AzureByPrincipal,
    S3,
}

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
        match service {
            Service::S3 => Self::on_s3(below),
            _ => Self::on_azure(service, below),
        }
    }

    fn on_azure(service: Service, below: String) -> Option<Self> {
        let is_principal = service == Service::AzureByPrincipal;
        let endpoint = if is_principal { "LIMNO_TEST_AZURE_OAUTH_ENDPOINT" } else { "LIMNO_TEST_AZURE_ENDPOINT" };
        let [account, key, endpoint] = components(["LIMNO_TEST_AZURE_ACCOUNT", "LIMNO_TEST_AZURE_KEY", endpoint])?;
        let mut options = json!({ "azure_storage_account_name": account, "azure_storage_endpoint": endpoint });
        let (lines, secret) = match service {
            Service::AzureBySas => {
                let [sas] = components(["LIMNO_TEST_AZURE_SAS"])?;
                options["azure_storage_sas_key"] = json!(sas);
                options["azure_allow_http"] = json!("true");
                ("sas_token = { env = \"LAKE_SECRET\" }".to_owned(), sas)
            }
            Service::AzureByPrincipal => {
                let [tenant, client, secret, authority, ca] = components([
                    "LIMNO_TEST_AZURE_TENANT",
                    "LIMNO_TEST_AZURE_CLIENT_ID",
                    "LIMNO_TEST_AZURE_CLIENT_SECRET",
                    "LIMNO_TEST_AZURE_AUTHORITY",
                    "LIMNO_TEST_CA",
                ])?;
                let lines = format!(
                    "tenant_id = \"{tenant}\"\nclient_id = \"{client}\"\n\
                     client_secret = {{ env = \"LAKE_SECRET\" }}\nauthority = \"{authority}\"\nca_file = \"{ca}\""
                );
                (lines, secret)
            }
            _ => {
                options["azure_storage_account_key"] = json!(key);
                options["azure_allow_http"] = json!("true");
                ("account_key = { env = \"LAKE_SECRET\" }".to_owned(), key.clone())
            }
        };
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&account)
            .with_access_key(&key)
            .with_container_name("lake")
            .with_endpoint(endpoint.clone());
        if is_principal {
            let [ca] = components(["LIMNO_TEST_CA"])?;
            let ca = Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
            builder = builder.with_client_options(ClientOptions::new().with_root_certificate(ca));
        } else {
            builder = builder.with_allow_http(true);
        }
        let url = format!("abfss://lake@{account}.dfs.core.windows.net/");
        let block = format!("\n[store.lake]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\n{lines}\n");
        let secrets = vec![("LAKE_SECRET".to_owned(), secret)];
        Some(Self::over(Arc::new(builder.build().unwrap()), &url, below, block, secrets, options))
    }

    fn on_s3(below: String) -> Option<Self> {
        let [bucket, endpoint, id, secret] = components([
            "LIMNO_TEST_S3_BUCKET",
            "LIMNO_TEST_S3_ENDPOINT",
            "LIMNO_TEST_S3_KEY_ID",
            "LIMNO_TEST_S3_SECRET",
        ])?;
        let region = "us-east-1";
        let store = AmazonS3Builder::new()
            .with_bucket_name(&bucket)
            .with_endpoint(endpoint.clone())
            .with_region(region)
            .with_access_key_id(&id)
            .with_secret_access_key(&secret)
            .with_allow_http(true)
            .build();
        let url = format!("s3://{bucket}/");
        let block = format!(
            "\n[store.lake]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\nregion = \"{region}\"\npath_style = true\n\
             access_key_id = \"{id}\"\nsecret_access_key = {{ env = \"LAKE_SECRET\" }}\n"
        );
        let options = json!({
            "aws_endpoint_url": endpoint, "aws_region": region, "aws_access_key_id": id,
            "aws_secret_access_key": secret, "aws_allow_http": "true",
        });
        let secrets = vec![("LAKE_SECRET".to_owned(), secret)];
        Some(Self::over(Arc::new(store.unwrap()), &url, below, block, secrets, options))
    }

    fn over(
        store: Arc<dyn ObjectStore>,
        url: &str,
        below: String,
        block: String,
        secrets: Vec<(String, String)>,
        options: Value,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let base = format!("{url}{below}/");
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

//! A store that notes every request, and answers it after a while.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use limno_sql::lake::Layer;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What was asked of a store.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) what: &'static str,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Where in the file it began.
    pub(crate) from: u64,
    started: Instant,
    ended: Instant,
}

/// Notes all requests of the stores that it stands around.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    latency: Duration,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Watch {
    pub(crate) fn new(latency: Duration) -> Self {
        Self { latency, requests: Arc::default() }
    }

    /// The requests since this was asked last.
    pub(crate) fn take(&self) -> Requests {
        Requests(std::mem::take(&mut *self.requests.lock().unwrap()))
    }
}

impl Layer for Watch {
    fn around(&self, store: Arc<dyn ObjectStore>, _: &str) -> Arc<dyn ObjectStore> {
        Arc::new(Watched { inner: store, watch: self.clone() })
    }
}

#[derive(Debug)]
pub(crate) struct Requests(Vec<Request>);

impl Requests {
    /// Those that read data files of the table in a folder.
    pub(crate) fn of_data(&self, folder: &str) -> Self {
        let is_data = |path: &str| path.ends_with(".parquet") && !path.contains("_delta_log");
        let wanted = |request: &&Request| request.what == "get" && is_data(&request.path);
        let within = format!("/{folder}/");
        Self(self.0.iter().filter(wanted).filter(|request| request.path.contains(&within)).cloned().collect())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|request| request.bytes).sum()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The files that were read from.
    pub(crate) fn files(&self) -> usize {
        self.0.iter().map(|request| &request.path).collect::<std::collections::BTreeSet<_>>().len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.0.iter()
    }

    /// All but those of data files, in their order, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut requests: Vec<&Request> = self.0.iter().collect();
        requests.sort_by_key(|request| request.started);
        let first = requests.first().map(|request| request.started);
        let line = |request: &&Request| {
            let at = first.map_or(0, |first| request.started.duration_since(first).as_millis());
            format!("{at:>5} ms {} {} {}", request.what, request.path, request.bytes)
        };
        requests.iter().filter(|request| !request.path.contains("/t/part-")).map(line).collect()
    }

    /// The most requests of which each began after the one before had ended: round trips that were waited for.
    pub(crate) fn depth(&self) -> usize {
        let mut requests: Vec<&Request> = self.0.iter().collect();
        requests.sort_by_key(|request| request.ended);
        let (mut depth, mut end) = (0, None);
        for request in requests {
            if end.is_none_or(|end| request.started >= end) {
                depth += 1;
                end = Some(request.ended);
            }
        }
        depth
    }
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn ObjectStore>,
    watch: Watch,
}

impl Watched {
    async fn noted<T>(
        &self,
        (what, path): (&'static str, &Path),
        answer: impl Future<Output = Result<T>>,
        extent: impl Fn(&T) -> (u64, u64),
    ) -> Result<T> {
        let started = Instant::now();
        tokio::time::sleep(self.watch.latency).await;
        let answer = answer.await;
        let (from, bytes) = answer.as_ref().map_or((0, 0), extent);
        let request = Request { what, path: format!("/{path}"), bytes, from, started, ended: Instant::now() };
        self.watch.requests.lock().unwrap().push(request);
        answer
    }

    /// A listing, which costs a request before its first answer.
    fn listed(
        &self,
        prefix: Option<&Path>,
        list: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (watch, path) = (self.watch.clone(), prefix.cloned().unwrap_or_default());
        let first = stream::once(async move {
            let started = Instant::now();
            tokio::time::sleep(watch.latency).await;
            let path = format!("/{path}");
            let request = Request { what: "list", path, bytes: 0, from: 0, started, ended: Instant::now() };
            watch.requests.lock().unwrap().push(request);
            stream::empty()
        });
        first.flatten().chain(list).boxed()
    }
}

impl Display for Watched {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

/// Ranges are asked for one by one or joined by the defaults of the trait, as the clients of clouds do it.
#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let size = payload.content_length() as u64;
        self.noted(("put", location), self.inner.put_opts(location, payload, options), |_| (0, size)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let what = if options.head { "head" } else { "get" };
        let extent = |result: &GetResult| match what {
            "head" => (0, 0),
            _ => (result.range.start, result.range.end - result.range.start),
        };
        self.noted((what, location), self.inner.get_opts(location, options), extent).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.noted(("list", &path), self.inner.list_with_delimiter(prefix), |_| (0, 0)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.noted(("copy", to), self.inner.copy_opts(from, to, options), |()| (0, 0)).await
    }
}

//! The store that faults happen to.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{Fault, Faults, Verb};
use crate::lake::client::Transient;

/// A store, and what happens to it.
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
    /// The objects that were put last.
    fresh: Mutex<VecDeque<Path>>,
}

/// So many objects that were put last are not known to a stale listing.
const FRESH: usize = 4;

impl Faulty {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, faults: Faults) -> Self {
        Self { inner, faults, fresh: Mutex::default() }
    }

    /// One request, done or not.
    async fn ask<T>(
        &self,
        (verb, path, from): (Verb, &Path, u64),
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, Option<Fault>)> {
        let fault = self.faults.next(verb, path, from);
        if !self.faults.latency.is_zero() {
            tokio::time::sleep(self.faults.latency).await;
        }
        match fault {
            Some(Fault::Lost) => {
                let outcome = request.await;
                outcome.and_then(|_| Err(passing(verb, path, "the answer was lost", None)))
            }
            None | Some(Fault::Stale) => Ok((request.await?, fault)),
            Some(Fault::Broken) if verb == Verb::Get => Ok((request.await?, fault)),
            Some(Fault::Throttled(wait)) => Err(passing(
                verb,
                path,
                "Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>ServerBusy</Code></Error>",
                Some(wait),
            )),
            Some(Fault::Reset | Fault::Broken) => Err(passing(verb, path, "the connection was reset", None)),
            Some(Fault::Stuck) => Err(passing(verb, path, "nothing came for 30.0 s", None)),
            Some(Fault::Refused) => {
                let source = "401 Unauthorized: <Code>AuthenticationFailed</Code>".into();
                Err(Error::Unauthenticated { path: path.to_string(), source })
            }
        }
    }

    fn note(&self, path: &Path) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.push_back(path.clone());
        if fresh.len() > FRESH {
            fresh.pop_front();
        }
    }

    fn fresh(&self) -> Vec<Path> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn listed(
        &self,
        prefix: Option<&Path>,
        list: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        let fault = self.faults.next(Verb::List, &path, 0);
        let latency = self.faults.latency;
        let fresh = if fault == Some(Fault::Stale) { self.fresh() } else { Vec::new() };
        let list = list.try_filter(move |found| std::future::ready(!fresh.contains(&found.location))).boxed();
        let failure = move || match fault {
            None | Some(Fault::Stale) => None,
            Some(_) => Some(passing(Verb::List, &path, "the connection was reset", None)),
        };
        let first = async move {
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            match failure() {
                None => list,
                // Some of it has come by then.
                Some(error) => list.take(1).chain(stream::once(async { Err(error) })).boxed(),
            }
        };
        stream::once(first).flatten().boxed()
    }
}

fn passing(verb: Verb, path: &Path, what: &str, after: Option<std::time::Duration>) -> Error {
    let transient = Transient { what: format!("{verb:?} of {path}: {what}"), after };
    Error::Generic { store: "faults", source: Box::new(transient) }
}

/// The first half, and then an error.
async fn broken(result: GetResult, path: &Path) -> Result<GetResult> {
    let error = passing(Verb::Get, path, "the connection was reset", None);
    let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
    let bytes: Bytes = result.bytes().await?;
    let half = bytes.slice(..bytes.len() / 2);
    let payload = GetResultPayload::Stream(stream::iter([Ok(half), Err(error)]).boxed());
    Ok(GetResult { payload, meta, range, attributes })
}

impl Debug for Faulty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Display for Faulty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

/// Several ranges are joined and asked for one by one, by the defaults of the trait, as the clients of clouds do it.
#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = async {
            let done = self.inner.put_opts(location, payload, options).await?;
            self.note(location);
            Ok(done)
        };
        Ok(self.ask((Verb::Put, location, 0), put).await?.0)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let start = self.inner.put_multipart_opts(location, options);
        Ok(self.ask((Verb::Other, location, 0), start).await?.0)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let from = options.range.as_ref().map_or(0, |range| match range {
            object_store::GetRange::Bounded(range) => range.start,
            object_store::GetRange::Offset(offset) => *offset,
            object_store::GetRange::Suffix(length) => u64::MAX - length,
        });
        let verb = if options.head { Verb::Head } else { Verb::Get };
        match self.ask((verb, location, from), self.inner.get_opts(location, options)).await? {
            (result, Some(Fault::Broken)) => broken(result, location).await,
            (result, _) => Ok(result),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, faults) = (Arc::clone(&self.inner), self.faults.clone());
        let deleted = locations.then(move |location| {
            let (inner, faults) = (Arc::clone(&inner), faults.clone());
            async move {
                let path = location?;
                let delete = |path: Path| inner.delete_stream(stream::once(async { Ok(path) }).boxed());
                match faults.next(Verb::Delete, &path, 0) {
                    None | Some(Fault::Stale) => {
                        delete(path.clone()).try_collect::<Vec<_>>().await?;
                        Ok(path)
                    }
                    fault => {
                        if fault == Some(Fault::Lost) {
                            delete(path.clone()).try_collect::<Vec<_>>().await?;
                        }
                        Err(passing(Verb::Delete, &path, "the answer was lost", None))
                    }
                }
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let (mut result, fault) = self.ask((Verb::List, &path, 0), self.inner.list_with_delimiter(prefix)).await?;
        if fault == Some(Fault::Stale) {
            let fresh = self.fresh();
            result.objects.retain(|found| !fresh.contains(&found.location));
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask((Verb::Other, to, 0), self.inner.copy_opts(from, to, options)).await.map(|_| ())
    }
}

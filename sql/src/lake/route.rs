//! One store for all that lies in one container, bucket, host or disk, whoever signs in for which part of it.

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::location::joined;
use super::rules::{Reached, Rules};
use crate::watch::{Stage, Watch};

/// Sends each request to the store that the rules name for its path, and refuses to change what is not ours to change.
pub(super) struct Router {
    /// The URL of the container, bucket, host or disk, without a path.
    authority: String,
    rules: Arc<Rules>,
    watch: Arc<Watch>,
}

impl Router {
    pub(super) fn new(authority: String, rules: Arc<Rules>, watch: Arc<Watch>) -> Self {
        Self { authority, rules, watch }
    }

    fn url(&self, path: &Path) -> String {
        joined(&self.authority, path.as_ref())
    }

    fn reached(&self, path: &Path) -> Result<Arc<Reached>> {
        self.rules.reach(&self.url(path)).map_err(|error| generic(&self.authority, error))
    }

    fn store(&self, path: Option<&Path>) -> Result<Arc<dyn ObjectStore>> {
        Ok(Arc::clone(&self.reached(path.unwrap_or(&Path::default()))?.store))
    }

    fn writable(&self, path: &Path) -> Result<Arc<dyn ObjectStore>> {
        self.rules.check_writable(&self.url(path)).map_err(|error| generic(&self.authority, error))?;
        self.store(Some(path))
    }

    /// Waits for bytes of data files; those of logs are part of finding out what to read.
    async fn watched<F: Future>(&self, path: &Path, bytes: F) -> F::Output {
        match path.parts().any(|part| part.as_ref() == "_delta_log") {
            true => bytes.await,
            false => self.watch.wait(Stage::Read, bytes).await,
        }
    }

    fn listed(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match (self.store(prefix), offset) {
            (Ok(store), None) => store.list(prefix),
            (Ok(store), Some(offset)) => {
                // A service that does not know where to start, as Azurite, starts at the first name.
                let after = offset.clone();
                let listed = store.list_with_offset(prefix, offset);
                listed.try_filter(move |found| std::future::ready(found.location > after)).boxed()
            }
            (Err(error), _) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

fn generic(authority: &str, error: crate::Error) -> object_store::Error {
    tracing::debug!(authority, %error, "a store cannot be used");
    object_store::Error::Generic { store: "lake", source: Box::new(error) }
}

impl Debug for Router {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Stores hold credentials, which their own `Debug` would show.
        f.debug_struct("Router").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Display for Router {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

#[async_trait]
impl ObjectStore for Router {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let store = self.writable(location)?;
        if options.mode == PutMode::Create
            && let Some(apart) = &self.reached(location)?.apart
        {
            apart.check(store.as_ref(), location, &self.authority).await?;
        }
        store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.writable(location)?.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let get = self.store(Some(location))?;
        self.watched(location, get.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let get = self.store(Some(location))?;
        self.watched(location, get.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (rules, watch) = (Arc::clone(&self.rules), Arc::clone(&self.watch));
        let router = Self { authority: self.authority.clone(), rules, watch };
        // Stores delete in batches; a batch is of one store, so that a path does not reach another's.
        locations
            .ready_chunks(DELETED_AT_ONCE)
            .flat_map(move |chunk| {
                let mut answers: Vec<BoxStream<'static, Result<Path>>> = Vec::new();
                let mut batches: Vec<(Arc<dyn ObjectStore>, Vec<Path>)> = Vec::new();
                for location in chunk {
                    match location.and_then(|path| Ok((router.writable(&path)?, path))) {
                        Ok((store, path)) => match batches.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &store)) {
                            Some((_, paths)) => paths.push(path),
                            None => batches.push((store, vec![path])),
                        },
                        Err(error) => answers.push(stream::once(async { Err(error) }).boxed()),
                    }
                }
                for (store, paths) in batches {
                    answers.push(store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed()));
                }
                stream::iter(answers).flatten()
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store(prefix)?.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (source, target) = (self.store(Some(from))?, self.writable(to)?);
        if Arc::ptr_eq(&source, &target) {
            return target.copy_opts(from, to, options).await;
        }
        Err(object_store::Error::NotSupported {
            source: format!("{from} and {to} are reached by different credentials").into(),
        })
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (source, target) = (self.writable(from)?, self.writable(to)?);
        if Arc::ptr_eq(&source, &target) {
            return target.rename_opts(from, to, options).await;
        }
        Err(object_store::Error::NotSupported {
            source: format!("{from} and {to} are reached by different credentials").into(),
        })
    }
}

/// The most that one request of any service deletes.
const DELETED_AT_ONCE: usize = 256;

/// Whether anything lies below a path.
pub(super) async fn has_any(store: &dyn ObjectStore, prefix: &Path) -> Result<bool> {
    Ok(store.list(Some(prefix)).try_next().await?.is_some())
}

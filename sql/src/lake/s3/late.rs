//! A bucket that is opened at its first request, as only the AWS configuration knows its region.

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::OnceCell;

use super::chain::Chain;

/// A bucket in the region that the chain names. To load the chain may ask the machine, so it waits for somebody who
/// waits anyway.
#[derive(Clone)]
pub(super) struct Late(Arc<Closed>);

struct Closed {
    builder: AmazonS3Builder,
    chain: Arc<Chain>,
    opened: OnceCell<AmazonS3>,
}

impl Late {
    pub(super) fn new(builder: AmazonS3Builder, chain: Arc<Chain>) -> Self {
        Self(Arc::new(Closed { builder, chain, opened: OnceCell::new() }))
    }

    async fn store(&self) -> Result<&AmazonS3> {
        let Closed { builder, chain, opened } = &*self.0;
        let open = || async {
            let builder = builder.clone();
            match chain.region().await {
                Some(region) => builder.with_region(region).build(),
                None => builder.build(),
            }
        };
        opened.get_or_try_init(open).await
    }

    /// What the store streams, once it is open.
    fn stream<T: Send + 'static>(
        &self,
        open: impl FnOnce(&AmazonS3) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let late = self.clone();
        let streamed = async move {
            match late.store().await {
                Ok(store) => open(store),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        };
        stream::once(streamed).flatten().boxed()
    }
}

impl Debug for Late {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}

impl Display for Late {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket of the AWS configuration")
    }
}

#[async_trait]
impl ObjectStore for Late {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store().await?.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store().await?.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store().await?.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store().await?.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.stream(move |store| store.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.stream(move |store| store.list(prefix.as_ref()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.stream(move |store| store.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store().await?.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store().await?.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store().await?.rename_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Late {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.store().await?.create_multipart(path).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        self.store().await?.put_part(path, id, index, data).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.store().await?.complete_multipart(path, id, parts).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.store().await?.abort_multipart(path, id).await
    }
}

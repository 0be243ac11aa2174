//! What stands around every store: what is tried again, how long, and what an error means for the user.

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::client::Skew;
use super::location::Service;
use super::options::Limits;
use super::trouble::{Access, Explainer};

/// A store whose errors say what to do about them.
pub(super) struct Patience {
    inner: Arc<dyn ObjectStore>,
    explainer: Arc<Explainer>,
    _limits: Limits,
}

impl Patience {
    pub(super) fn around(
        inner: Arc<dyn ObjectStore>,
        service: Service,
        authority: &str,
        sign_in: &str,
        skew: Skew,
        limits: Limits,
    ) -> Self {
        let explainer = Explainer { service, authority: authority.to_owned(), sign_in: sign_in.to_owned(), skew };
        Self { inner, explainer: Arc::new(explainer), _limits: limits }
    }

    fn explain(&self, access: Access, path: &Path) -> impl Fn(object_store::Error) -> object_store::Error + use<> {
        let (explainer, path) = (Arc::clone(&self.explainer), path.clone());
        move |error| explainer.explain(error, access, &path)
    }
}

impl Debug for Patience {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("authority", &self.explainer.authority).finish_non_exhaustive()
    }
}

impl Display for Patience {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explainer.authority)
    }
}

#[async_trait]
impl ObjectStore for Patience {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await.map_err(self.explain(Access::Write, location))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await.map_err(self.explain(Access::Write, location))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await.map_err(self.explain(Access::Read, location))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await.map_err(self.explain(Access::Read, location))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations).map_err(self.explain(Access::Write, &Path::default())).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let explain = self.explain(Access::List, prefix.unwrap_or(&Path::default()));
        self.inner.list(prefix).map_err(explain).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let explain = self.explain(Access::List, prefix.unwrap_or(&Path::default()));
        self.inner.list_with_offset(prefix, offset).map_err(explain).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let explain = self.explain(Access::List, prefix.unwrap_or(&Path::default()));
        self.inner.list_with_delimiter(prefix).await.map_err(explain)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(self.explain(Access::Write, to))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await.map_err(self.explain(Access::Write, to))
    }
}

//! What stands around every store: what is tried again, how long, how many requests there are at once, and what an error
//! means for the user.
//!
//! An operation is tried again here and nowhere below, as a whole, signed anew each time. What may have been done before
//! the answer got lost is looked at before it is done again ([`put`]); what is read or listed goes on where it broke off
//! ([`resumed`]).

mod put;
mod resumed;
#[cfg(test)]
mod tests;
mod tries;
mod upload;

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, coalesce_ranges,
};
use tokio::sync::Semaphore;

use super::location::Service;
use super::options::Limits;
use super::timer::Timer;
use super::trouble::{Access, Explainer};
use tries::{Tries, verdict};

/// Fetches other credentials in place of those that were refused; whether there may be any.
pub(super) type Renewal = Arc<dyn Fn() -> bool + Send + Sync>;

/// A store that is tried again, and whose errors say what to do about them.
pub(super) struct Patience(Arc<Core>);

/// What a store is treated with patience by.
pub(super) struct Core {
    pub(super) inner: Arc<dyn ObjectStore>,
    /// The same store, if parts of an upload can be sent to it by their numbers, and so again.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
    pub(super) renewal: Option<Renewal>,
    pub(super) explainer: Explainer,
    pub(super) limits: Limits,
    pub(super) timer: Arc<dyn Timer>,
    /// One permit for each request that waits for its answer.
    gate: Semaphore,
}

/// What a [`Patience`] is made of.
pub(super) struct Around {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
    pub(super) renewal: Option<Renewal>,
    pub(super) explainer: Explainer,
    pub(super) limits: Limits,
    pub(super) timer: Arc<dyn Timer>,
}

impl Patience {
    pub(super) fn new(around: Around) -> Self {
        let Around { inner, parts, renewal, explainer, limits, timer } = around;
        let gate = Semaphore::new(limits.connections.max(1));
        Self(Arc::new(Core { inner, parts, renewal, explainer, limits, timer, gate }))
    }
}

impl Core {
    fn tries(&self) -> Tries {
        Tries::new(self.limits)
    }

    /// One try, when it is its turn.
    async fn once<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        // A semaphore that nobody closes gives a permit sooner or later.
        let _permit = self.gate.acquire().await.ok();
        request.await
    }

    /// Waits until the next try after `error`.
    ///
    /// # Errors
    /// The error, explained, when there shall be no other try.
    async fn wait(&self, tries: &mut Tries, error: Error, access: Access, path: &Path) -> Result<()> {
        if tries.failed() == 0 && is_refusal(&error) && self.renewal.as_ref().is_some_and(|renew| renew()) {
            // Temporary credentials may be taken back before their end; there is one try with others.
            tracing::debug!(store = self.explainer.authority, %path, "temporary credentials were refused; others are asked for");
            tries.pause(verdict(&error), self.timer.as_ref());
            return Ok(());
        }
        let verdict = verdict(&error);
        let Some(pause) = tries.pause(verdict, self.timer.as_ref()) else {
            let tried = (verdict != tries::Verdict::Final).then(|| tries.tried(self.timer.as_ref()));
            return Err(self.explainer.explain(error, access, path, tried));
        };
        tracing::debug!(
            store = self.explainer.authority,
            %path,
            error = %crate::secret::redact(&error.to_string()),
            failed = tries.failed(),
            ?pause,
            "a request failed and is tried again"
        );
        self.timer.sleep(pause).await;
        Ok(())
    }

    /// Does what may be done twice without harm until it succeeds.
    async fn again<T, R>(&self, access: Access, path: &Path, request: impl Fn() -> R + Send + Sync) -> Result<T>
    where
        R: Future<Output = Result<T>> + Send,
    {
        let mut tries = self.tries();
        loop {
            match self.once(request()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.wait(&mut tries, error, access, path).await?,
            }
        }
    }
}

/// Whether whoever signs in is not taken.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Unauthenticated { .. } | Error::PermissionDenied { .. })
        // S3 says it with a status of its own.
        || error.to_string().contains("ExpiredToken")
}

impl Debug for Patience {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("authority", &self.0.explainer.authority).finish_non_exhaustive()
    }
}

impl Display for Patience {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.explainer.authority)
    }
}

#[async_trait]
impl ObjectStore for Patience {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        put::put(&self.0, location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        upload::start(&self.0, location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        resumed::get(&self.0, location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.0.explainer.service == Service::Disk {
            return self.0.again(Access::Read, location, || self.0.inner.get_ranges(location, ranges)).await;
        }
        // Each request is tried again by itself.
        coalesce_ranges(ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let core = Arc::clone(&self.0);
        let deleted = locations.ready_chunks(DELETED_AT_ONCE).then(move |chunk| {
            let core = Arc::clone(&core);
            async move { futures::stream::iter(delete(&core, chunk).await) }
        });
        deleted.flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        resumed::list(Arc::clone(&self.0), prefix.cloned(), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        resumed::list(Arc::clone(&self.0), prefix.cloned(), Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.0.again(Access::List, &path, || self.0.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = || self.0.inner.copy_opts(from, to, options.clone());
        if options.mode == CopyMode::Overwrite {
            return self.0.again(Access::Write, to, copy).await;
        }
        // Whether a copy that is there is ours would not be known.
        let copied = self.0.once(copy()).await;
        copied.map_err(|error| self.0.explainer.explain(error, Access::Write, to, None))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        // A copy and a deletion: what a second try would find is not known.
        let renamed = self.0.once(self.0.inner.rename_opts(from, to, options)).await;
        renamed.map_err(|error| self.0.explainer.explain(error, Access::Write, to, None))
    }
}

/// The most that one request of any service deletes.
const DELETED_AT_ONCE: usize = 256;

/// Deletes until nothing of it is there; answers what became of each, those that failed last.
async fn delete(core: &Core, chunk: Vec<Result<Path>>) -> Vec<Result<Path>> {
    let (paths, mut answers): (Vec<_>, Vec<_>) = chunk.into_iter().partition(Result::is_ok);
    let mut left: Vec<Path> = paths.into_iter().filter_map(Result::ok).collect();
    let mut tries = core.tries();
    while let Some(first) = left.first().cloned() {
        let request = core.inner.delete_stream(futures::stream::iter(left.clone().into_iter().map(Ok)).boxed());
        let outcome: Vec<Result<Path>> = core.once(async { Ok(request.collect().await) }).await.unwrap_or_default();
        let (mut passing, mut others) = (None, Vec::new());
        for result in outcome {
            match result {
                Ok(path) => {
                    left.retain(|known| *known != path);
                    answers.push(Ok(path));
                }
                // An earlier try deleted it, and its answer got lost.
                Err(Error::NotFound { .. }) if tries.failed() > 0 => {}
                Err(error) if verdict(&error) != tries::Verdict::Final => passing = Some(error),
                Err(error) => others.push(core.explainer.explain(error, Access::Write, &first, None)),
            }
        }
        let failed = !others.is_empty();
        answers.extend(others.into_iter().map(Err));
        let Some(error) = passing else {
            if !failed {
                answers.extend(left.into_iter().map(Ok));
            }
            break;
        };
        if let Err(error) = core.wait(&mut tries, error, Access::Write, &first).await {
            answers.push(Err(error));
            break;
        }
    }
    answers
}

impl Core {
    /// A listing of the store itself.
    fn listed(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match after {
            None => self.inner.list(prefix),
            Some(after) => {
                // A service that does not know where to start, as Azurite, starts at the first name.
                let after = after.clone();
                let listed = self.inner.list_with_offset(prefix, &after);
                listed.try_filter(move |found| std::future::ready(found.location > after)).boxed()
            }
        }
    }
}

//! How Parquet files are read from a store where each request takes its time: few requests, many at once.

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::held::{Held, Pending};

/// Ranges with no more between them are read at once. The clients' own limit, 1 MiB, reads whole files where a few
/// columns of many are wanted; a gap of this size takes less time than a request.
const GAP: u64 = 64 << 10;
/// Requests at once for the ranges of one file.
const AT_ONCE: usize = 16;

/// A store whose Parquet files are read with few requests, from what is held where it can be.
pub(crate) struct Reading {
    inner: Arc<dyn ObjectStore>,
    authority: Arc<str>,
    held: Arc<Held>,
}

impl Reading {
    pub(super) fn around(inner: Arc<dyn ObjectStore>, authority: &str, held: Arc<Held>) -> Self {
        Self { inner, authority: Arc::from(authority), held }
    }

    /// The bytes of a range, if they are held.
    async fn held(&self, path: &Path, range: &Range<u64>) -> Option<Bytes> {
        let found = self.held.find(&self.authority, path, range);
        let (start, pending) = found.or_else(|| self.ask_announced(path, range, false))?;
        let bytes = pending.await;
        let (from, to) = (usize::try_from(range.start - start).ok()?, usize::try_from(range.end - start).ok()?);
        match bytes.filter(|bytes| bytes.len() >= to) {
            Some(bytes) => Some(bytes.slice(from..to)),
            None => {
                self.held.forget_block(&self.authority, path, start);
                None
            }
        }
    }

    /// A range is going to be read, by [`Self::read_ahead`] or by who needs it before.
    pub(crate) fn announce(&self, path: &Path, range: Range<u64>) {
        self.held.announce(&self.authority, path, range);
    }

    /// Fetches what was announced once there is room, unless somebody needed it before.
    pub(crate) async fn read_ahead(&self, path: &Path, range: Range<u64>) {
        self.held.wait_for_room(range.end - range.start).await;
        if let Some((start, pending)) = self.ask_announced(path, &range, true)
            && pending.await.is_none()
        {
            self.held.forget_block(&self.authority, path, start);
        }
    }

    fn ask_announced(&self, path: &Path, range: &Range<u64>, is_ahead: bool) -> Option<(u64, Pending)> {
        let ask = |range| request(Arc::clone(&self.inner), path.clone(), range);
        self.held.ask_announced(&self.authority, path, range, is_ahead, ask)
    }

    /// What was read ahead of a file is not wanted any more.
    pub(crate) fn forget(&self, path: &Path) {
        self.held.forget(&self.authority, path);
    }

    /// The bytes of a range, and for others too if several want them.
    async fn fetch(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        if self.held.is_shared() {
            let request = request(Arc::clone(&self.inner), path.clone(), range.clone());
            if let Some(pending) = self.held.keep(&self.authority, path, range.clone(), false, request) {
                if let Some(bytes) = pending.await {
                    return Ok(bytes);
                }
                self.held.forget_block(&self.authority, path, range.start);
            }
        }
        self.inner.get_range(path, range).await
    }
}

/// A request whose failure says nothing: who needs the bytes asks again, and gets an error of his own.
fn request(store: Arc<dyn ObjectStore>, path: Path, range: Range<u64>) -> BoxFuture<'static, Option<Bytes>> {
    async move { store.get_range(&path, range).await.ok() }.boxed()
}

/// Whether a file is one whose bytes are asked for in ranges.
fn is_parquet(path: &Path) -> bool {
    path.extension() == Some("parquet")
}

/// Ranges in their order, those that are close together as one.
fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

impl Debug for Reading {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Display for Reading {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

#[async_trait]
impl ObjectStore for Reading {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.held.forget(&self.authority, location);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.held.forget(&self.authority, location);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(GetRange::Bounded(range)) = options.range.clone() else {
            return self.inner.get_opts(location, options).await;
        };
        let is_plain = !options.head
            && options.version.is_none()
            && options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none();
        if !is_plain || !is_parquet(location) {
            return self.inner.get_opts(location, options).await;
        }
        let bytes = match self.held(location, &range).await {
            Some(bytes) => bytes,
            None if self.held.is_shared() => self.fetch(location, range.clone()).await?,
            None => return self.inner.get_opts(location, options).await,
        };
        // Readers of ranges look at the bytes alone.
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: range.end,
            e_tag: None,
            version: None,
        };
        let range = range.start..range.start + bytes.len() as u64;
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !is_parquet(location) {
            return self.inner.get_ranges(location, ranges).await;
        }
        let mut answers: Vec<Option<Bytes>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            answers.push(self.held(location, range).await);
        }
        let wanted = |answers: &[Option<Bytes>]| -> Vec<usize> {
            answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(index, _)| index).collect()
        };
        let missing: Vec<Range<u64>> = wanted(&answers).into_iter().map(|index| ranges[index].clone()).collect();
        let fetched: Vec<(Range<u64>, Bytes)> =
            stream::iter(joined(&missing))
                .map(|range| async move {
                    Ok::<_, object_store::Error>((range.clone(), self.fetch(location, range).await?))
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
        for index in wanted(&answers) {
            let range = &ranges[index];
            let of = fetched.iter().find(|(of, _)| of.start <= range.start && range.end <= of.end);
            answers[index] = of.and_then(|(of, bytes)| {
                let from = usize::try_from(range.start - of.start).ok()?;
                let to = usize::try_from(range.end - of.start).ok()?;
                (to <= bytes.len()).then(|| bytes.slice(from..to))
            });
        }
        let too_short = || object_store::Error::Generic {
            store: "lake",
            source: format!("{location} ended before the bytes that its footer names").into(),
        };
        answers.into_iter().map(|answer| answer.ok_or_else(too_short)).collect()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (held, authority) = (Arc::clone(&self.held), Arc::clone(&self.authority));
        self.inner.delete_stream(locations.inspect_ok(move |path| held.forget(&authority, path)).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.held.forget(&self.authority, to);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.held.forget(&self.authority, to);
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_ranges_are_one_request_and_far_ones_are_not() {
        let far = GAP * 3;
        assert_eq!(joined(&[far..far + 10, 0..10, 20..30]), [0..30, far..far + 10]);
        assert_eq!(joined(&[0..10, 10 + GAP..20 + GAP]), std::iter::once(0..20 + GAP).collect::<Vec<_>>());
        assert_eq!(joined(&[0..10, 11 + GAP..20 + GAP]), [0..10, 11 + GAP..20 + GAP]);
        assert_eq!(joined(&[]), []);
    }
}

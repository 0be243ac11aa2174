//! How files are read from a store where each request takes its time: few requests, many at once.

use std::error::Error as StdError;
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
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::commits::{Commit, Commits, LARGEST, is_commit};
use super::held::{Came, Held, Pending};

/// Ranges with no more between them are read at once. The clients' own limit, 1 MiB, reads whole files where a few
/// columns of many are wanted; a gap of this size takes less time than a request.
const GAP: u64 = 64 << 10;
/// Requests at once for the ranges of one file.
const AT_ONCE: usize = 16;

/// A store whose Parquet files and Delta logs are read with few requests, from what is held where it can be.
pub(crate) struct Reading {
    inner: Arc<dyn ObjectStore>,
    authority: Arc<str>,
    held: Arc<Held>,
    commits: Arc<Commits>,
}

impl Reading {
    pub(super) fn around(inner: Arc<dyn ObjectStore>, authority: &str, held: Arc<Held>) -> Self {
        Self { inner, authority: Arc::from(authority), held, commits: Arc::default() }
    }

    /// The bytes of a range, if they are held or on their way. What was tried with all patience fails for all who wait.
    async fn held(&self, path: &Path, range: &Range<u64>) -> Result<Option<Bytes>> {
        let found = self.held.find(&self.authority, path, range);
        let Some((start, pending)) = found.or_else(|| self.ask_announced(path, range, false)) else {
            return Ok(None);
        };
        let came = pending.await;
        let (from, to) = (usize::try_from(range.start - start), usize::try_from(range.end - start));
        if let (Ok(bytes), Ok(from), Ok(to)) = (&came, from, to)
            && bytes.len() >= to
        {
            return Ok(Some(bytes.slice(from..to)));
        }
        self.held.forget_block(&self.authority, path, start);
        came.map(|_| None).map_err(|error| told(&error))
    }

    /// A commit of a log.
    async fn commit(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let commit = match self.commits.find(path) {
            Some(commit) => commit,
            None => {
                let result = self.inner.get_opts(path, options).await?;
                if result.meta.size > LARGEST {
                    return Ok(result);
                }
                let (meta, attributes) = (result.meta.clone(), result.attributes.clone());
                let commit = Commit { meta, attributes, bytes: result.bytes().await? };
                self.commits.keep(commit.clone());
                commit
            }
        };
        let range = 0..commit.bytes.len() as u64;
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(commit.bytes) }).boxed());
        Ok(GetResult { payload, meta: commit.meta, range, attributes: commit.attributes })
    }

    /// Something is about to change at a path.
    fn forget_all(&self, path: &Path) {
        self.held.forget(&self.authority, path);
        self.commits.forget(path);
    }

    /// Notes what a listing shows.
    fn listed(&self, list: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let commits = Arc::clone(&self.commits);
        list.inspect_ok(move |meta| commits.list(meta)).boxed()
    }

    /// A range is going to be read, by [`Self::read_ahead`] or by who needs it before.
    pub(crate) fn announce(&self, path: &Path, range: Range<u64>) {
        self.held.announce(&self.authority, path, range);
    }

    /// Fetches what was announced once there is room, unless somebody needed it before.
    pub(crate) async fn read_ahead(&self, path: &Path, range: Range<u64>) {
        self.held.wait_for_room(range.end - range.start).await;
        if let Some((start, pending)) = self.ask_announced(path, &range, true)
            && pending.await.is_err()
        {
            self.held.forget_block(&self.authority, path, start);
        }
    }

    fn ask_announced(&self, path: &Path, range: &Range<u64>, is_ahead: bool) -> Option<(u64, Pending)> {
        let ask = |range| request(Arc::clone(&self.inner), path.clone(), range);
        self.held.ask_announced(&self.authority, path, range, is_ahead, ask)
    }

    /// What was read ahead of a file is not wanted any more.
    pub(crate) fn leave(&self, path: &Path) {
        self.held.leave(&self.authority, path);
    }

    /// The bytes of a range, and for others too if several want them.
    async fn fetch(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        if self.held.is_shared() {
            let request = request(Arc::clone(&self.inner), path.clone(), range.clone());
            if let Some(pending) = self.held.keep(&self.authority, path, range.clone(), false, request) {
                let came = pending.await;
                if came.is_err() {
                    self.held.forget_block(&self.authority, path, range.start);
                }
                return came.map_err(|error| told(&error));
            }
        }
        self.inner.get_range(path, range).await
    }
}

fn request(store: Arc<dyn ObjectStore>, path: Path, range: Range<u64>) -> BoxFuture<'static, Came> {
    async move { store.get_range(&path, range).await.map_err(Arc::new) }.boxed()
}

/// A failure that others are told too: its causes are the same.
#[derive(Debug)]
struct Told(Arc<Error>);

impl Display for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => write!(f, "{cause}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// The same error for one of those who waited.
fn told(error: &Arc<Error>) -> Error {
    let source = Box::new(Told(Arc::clone(error)));
    match &**error {
        Error::NotFound { path, .. } => Error::NotFound { path: path.clone(), source },
        Error::Precondition { path, .. } => Error::Precondition { path: path.clone(), source },
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path: path.clone(), source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path: path.clone(), source },
        Error::Generic { store, .. } => Error::Generic { store, source },
        _ => Error::Generic { store: "lake", source },
    }
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
        self.forget_all(location);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.forget_all(location);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_plain = !options.head
            && options.version.is_none()
            && options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none();
        if is_plain && options.range.is_none() && is_commit(location) {
            return self.commit(location, options).await;
        }
        let Some(GetRange::Bounded(range)) = options.range.clone() else {
            return self.inner.get_opts(location, options).await;
        };
        if !is_plain || !is_parquet(location) {
            return self.inner.get_opts(location, options).await;
        }
        let bytes = match self.held(location, &range).await? {
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
            answers.push(self.held(location, range).await?);
        }
        let wanted = |answers: &[Option<Bytes>]| -> Vec<usize> {
            answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(index, _)| index).collect()
        };
        let missing: Vec<Range<u64>> = wanted(&answers).into_iter().map(|index| ranges[index].clone()).collect();
        let fetched: Vec<(Range<u64>, Bytes)> = stream::iter(joined(&missing))
            .map(|range| async move { Ok::<_, Error>((range.clone(), self.fetch(location, range).await?)) })
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
        let too_short = || Error::Generic {
            store: "lake",
            source: format!("{location} ended before the bytes that its footer names").into(),
        };
        answers.into_iter().map(|answer| answer.ok_or_else(too_short)).collect()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (held, commits, authority) =
            (Arc::clone(&self.held), Arc::clone(&self.commits), Arc::clone(&self.authority));
        let forget = move |path: &Path| {
            held.forget(&authority, path);
            commits.forget(path);
        };
        self.inner.delete_stream(locations.inspect_ok(forget).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.forget_all(to);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.forget_all(from);
        self.forget_all(to);
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::lake::Layer;
    use crate::lake::faults::{Fault, Faults};

    #[tokio::test]
    async fn a_request_that_fails_fails_for_all_who_wait_for_it_and_is_asked_for_by_none_of_them() {
        let faults = Faults::new(|_| Some(Fault::Refused));
        let inner = faults.around(Arc::new(InMemory::new()), "");
        let held = Arc::new(Held::new(1000));
        let reading = Reading::around(inner, "s3://b", Arc::clone(&held));
        let path = Path::from("t/part.parquet");
        let asked = || faults.counted().0;
        let refused = |error: Error| {
            assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
            assert!(error.to_string().contains("AuthenticationFailed"), "{error}");
        };
        let late = async {
            tokio::task::yield_now().await;
            let source = "401 Unauthorized: <Code>AuthenticationFailed</Code>".into();
            Err(Arc::new(Error::Unauthenticated { path: "t/part.parquet".to_owned(), source }))
        };
        assert!(held.keep(&reading.authority, &path, 0..100, true, late.boxed()).is_some());
        let (first, second) = tokio::join!(reading.get_range(&path, 0..10), reading.get_range(&path, 10..20));
        refused(first.unwrap_err());
        refused(second.unwrap_err());
        assert_eq!(asked(), 0);
        let _shared = held.share();
        refused(reading.get_range(&path, 0..10).await.unwrap_err());
        refused(reading.get_ranges(&path, &[0..10, 20..30]).await.unwrap_err());
        assert_eq!(asked(), 2, "who comes later asks anew, once");
    }

    #[test]
    fn close_ranges_are_one_request_and_far_ones_are_not() {
        let far = GAP * 3;
        assert_eq!(joined(&[far..far + 10, 0..10, 20..30]), [0..30, far..far + 10]);
        let close = joined(&[0..10, 10 + GAP..20 + GAP]);
        assert_eq!((close.len(), close[0].clone()), (1, 0..20 + GAP));
        assert_eq!(joined(&[0..10, 11 + GAP..20 + GAP]), [0..10, 11 + GAP..20 + GAP]);
        assert_eq!(joined(&[]), []);
    }
}

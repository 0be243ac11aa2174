//! What is read or listed piece by piece goes on where it broke off.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, Result};

use super::Core;
use super::tries::Tries;
use crate::lake::location::Service;
use crate::lake::trouble::Access;

/// Gets an object, or the part of it that is asked for.
pub(super) async fn get(core: &Arc<Core>, path: &Path, options: GetOptions) -> Result<GetResult> {
    let mut result = core.again(Access::Read, path, || core.inner.get_opts(path, options.clone())).await?;
    result.payload = match result.payload {
        GetResultPayload::Stream(stream) if !options.head => {
            let broken = Reading {
                core: Arc::clone(core),
                path: path.clone(),
                // What it goes on with is the same object, or an error. A weak tag is no match for any (RFC 9110, 13.1.1).
                same: GetOptions {
                    if_match: result.meta.e_tag.clone().filter(|tag| !tag.starts_with("W/")),
                    version: result.meta.version.clone().or_else(|| options.version.clone()),
                    ..GetOptions::default()
                },
                first: options,
                meta: result.meta.clone(),
                range: result.range.clone(),
                next: result.range.start,
                tries: core.tries(),
                stream,
            };
            GetResultPayload::Stream(broken.go_on())
        }
        payload => payload,
    };
    Ok(result)
}

/// A read under way.
struct Reading {
    core: Arc<Core>,
    path: Path,
    /// Asks for nothing else than the object that was begun, where it has a mark.
    same: GetOptions,
    /// What was asked for at first, and what came.
    first: GetOptions,
    meta: ObjectMeta,
    range: Range<u64>,
    /// The first byte that has not come yet.
    next: u64,
    /// Of what comes after the last byte that came.
    tries: Tries,
    stream: BoxStream<'static, Result<Bytes>>,
}

impl Reading {
    fn go_on(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, |mut reading| async move {
            let bytes = reading.piece().await?;
            Ok(bytes.map(|bytes| (bytes, reading)))
        })
        .boxed()
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let error = match self.stream.try_next().await {
                Ok(Some(bytes)) => {
                    self.next += bytes.len() as u64;
                    self.tries = self.core.tries();
                    return Ok(Some(bytes));
                }
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            // Without a tag or a version, what is there now may be another object; that matters once some of it was given.
            let is_marked = self.same.if_match.is_some() || self.same.version.is_some();
            let options = if is_marked && self.next < self.range.end {
                GetOptions { range: Some(GetRange::Bounded(self.next..self.range.end)), ..self.same.clone() }
            } else if self.next == self.range.start {
                self.first.clone()
            } else {
                return Err(self.core.explainer.explain(error, Access::Read, &self.path, None));
            };
            self.core.wait(&mut self.tries, error, Access::Read, &self.path).await?;
            let (core, path) = (&self.core, &self.path);
            let rest = core.again(Access::Read, path, || core.inner.get_opts(path, options.clone())).await;
            self.stream = match rest {
                Ok(rest) if is_marked || self.is_begun_by(&rest) => rest.into_stream(),
                Ok(_) | Err(Error::Precondition { .. } | Error::NotFound { .. }) => {
                    return Err(Error::Generic {
                        store: "lake",
                        source: format!("{} was replaced while it was read", self.path).into(),
                    });
                }
                Err(error) => return Err(error),
            };
        }
    }

    /// Whether an answer is as the first one, whose size and tag the reader knows.
    fn is_begun_by(&self, again: &GetResult) -> bool {
        let of = |meta: &ObjectMeta| (meta.size, meta.e_tag.clone(), meta.last_modified);
        of(&again.meta) == of(&self.meta) && again.range == self.range
    }
}

/// Lists what lies below a folder, perhaps after a name.
pub(super) fn list(
    core: Arc<Core>,
    prefix: Option<Path>,
    offset: Option<Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let listing = Listing {
        stream: core.listed(prefix.as_ref(), offset.as_ref()),
        tries: core.tries(),
        // A disk lists in no order.
        seen: (core.explainer.service == Service::Disk).then(HashSet::new),
        core,
        prefix,
        last: offset,
    };
    stream::try_unfold(listing, |mut listing| async move {
        let found = listing.next().await?;
        Ok(found.map(|found| (found, listing)))
    })
    .boxed()
}

/// A listing under way.
struct Listing {
    core: Arc<Core>,
    prefix: Option<Path>,
    /// The last name that was listed, or after which it shall begin.
    last: Option<Path>,
    /// The names that were listed, where they come in no order.
    seen: Option<HashSet<Path>>,
    tries: Tries,
    stream: BoxStream<'static, Result<ObjectMeta>>,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        loop {
            // A page is a request, and takes its turn; entries of a page that has come are there at once.
            let error = match self.core.once(self.stream.try_next()).await {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => {
                    self.tries = self.core.tries();
                    let is_new = match &mut self.seen {
                        Some(seen) => seen.insert(found.location.clone()),
                        None => {
                            self.last = Some(found.location.clone());
                            true
                        }
                    };
                    if is_new {
                        return Ok(Some(found));
                    }
                    continue;
                }
                Err(error) => error,
            };
            let path = self.prefix.clone().unwrap_or_default();
            self.core.wait(&mut self.tries, error, Access::List, &path).await?;
            self.stream = self.core.listed(self.prefix.as_ref(), self.last.as_ref());
        }
    }
}

//! Puts, which may have been done when their answer got lost.

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, Result};

use super::{Core, Tries};
use crate::lake::trouble::Access;

/// Puts until it is known to be done, or to be refused. A put that must not replace anything, and finds something after
/// one whose answer got lost, finds perhaps itself: what is there tells.
pub(super) async fn put(core: &Core, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
    let mut tries: Tries = core.tries();
    loop {
        let error = match core.once(core.inner.put_opts(path, payload.clone(), options.clone())).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let is_taken = matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. });
        if is_taken
            && tries.failed() > 0
            && options.mode != PutMode::Overwrite
            && let Some(done) = ours(core, path, &payload).await?
        {
            tracing::debug!(store = core.explainer.authority, %path, "an earlier try had been done");
            return Ok(done);
        }
        core.wait(&mut tries, error, Access::Write, path).await?;
    }
}

/// What is there, if it is what was to be put. What we commit holds names made up at random, so nobody else writes the same.
async fn ours(core: &Core, path: &Path, payload: &PutPayload) -> Result<Option<PutResult>> {
    let there = core
        .again(Access::Read, path, || async {
            let result = core.inner.get(path).await?;
            let meta = result.meta.clone();
            if meta.size != payload.content_length() as u64 {
                return Ok((meta, None));
            }
            Ok((meta, Some(result.bytes().await?)))
        })
        .await;
    let (meta, bytes) = match there {
        Ok(there) => there,
        // Removed again since.
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_ours = bytes.is_some_and(|bytes| {
        let mut rest = &bytes[..];
        payload.iter().all(|part| match rest.strip_prefix(&part[..]) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        })
    });
    Ok(is_ours.then_some(PutResult { e_tag: meta.e_tag, version: meta.version }))
}

//! Uploads in parts, each of which may be sent again.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Error, MultipartId, MultipartUpload, ObjectStoreExt, PutMultipartOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::Core;
use super::tries::{Verdict, verdict};
use crate::lake::trouble::Access;

/// Starts an upload.
pub(super) async fn start(
    core: &Arc<Core>,
    path: &Path,
    options: PutMultipartOptions,
) -> Result<Box<dyn MultipartUpload>> {
    let is_plain = options == PutMultipartOptions::default();
    let Some(parts) = core.parts.clone().filter(|_| is_plain) else {
        return core.again(Access::Write, path, || core.inner.put_multipart_opts(path, options.clone())).await;
    };
    let id = core.again(Access::Write, path, || parts.create_multipart(path)).await?;
    let shared = Shared { core: Arc::clone(core), parts, path: path.clone(), id, sent: Mutex::default() };
    Ok(Box::new(Upload { shared: Arc::new(shared), count: 0, bytes: 0 }))
}

struct Upload {
    shared: Arc<Shared>,
    /// Parts that were begun.
    count: usize,
    /// Their bytes.
    bytes: u64,
}

struct Shared {
    core: Arc<Core>,
    parts: Arc<dyn MultipartStore>,
    path: Path,
    id: MultipartId,
    /// The ids of the parts that have arrived, by number.
    sent: Mutex<Vec<Option<PartId>>>,
}

impl Debug for Upload {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("path", &self.shared.path).field("count", &self.count).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (shared, index) = (Arc::clone(&self.shared), self.count);
        self.count += 1;
        self.bytes += data.content_length() as u64;
        let send = async move {
            let Shared { core, parts, path, id, sent } = &*shared;
            let part = core.again(Access::Write, path, || parts.put_part(path, id, index, data.clone())).await?;
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.len() <= index {
                sent.resize(index + 1, None);
            }
            sent[index] = Some(part);
            Ok(())
        };
        send.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Shared { core, parts, path, id, sent } = &*self.shared;
        let ids: Option<Vec<PartId>> = {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.iter().cloned().collect::<Option<_>>().filter(|ids: &Vec<_>| ids.len() == self.count)
        };
        let ids = ids.ok_or_else(|| Error::Generic {
            store: "lake",
            source: format!("the upload of {path} was to be completed without some of its parts").into(),
        })?;
        let mut tries = core.tries();
        loop {
            let error = match core.once(parts.complete_multipart(path, id, ids.clone())).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // After a try whose answer got lost, what is complete is refused in words of its own: to S3 the upload is gone
            // (404), to Azure its blocks are (400, InvalidBlockList). Names of data files are made up at random, so a file
            // of this name and size is this one.
            if tries.failed() > 0
                && verdict(&error) == Verdict::Final
                && let Ok(meta) = core.again(Access::Read, path, || core.inner.head(path)).await
                && meta.size == self.bytes
            {
                tracing::debug!(store = core.explainer.authority, %path, "an earlier try had been done");
                return Ok(PutResult { e_tag: meta.e_tag, version: meta.version });
            }
            core.wait(&mut tries, error, Access::Write, path).await?;
        }
    }

    async fn abort(&mut self) -> Result<()> {
        let Shared { core, parts, path, id, .. } = &*self.shared;
        let aborted = core.again(Access::Write, path, || parts.abort_multipart(path, id)).await;
        match aborted {
            // An earlier try did it.
            Err(Error::NotFound { .. }) => Ok(()),
            aborted => aborted,
        }
    }
}

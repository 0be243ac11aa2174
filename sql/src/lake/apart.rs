//! Whether a store keeps two writers apart, found out before the first commit to it.
//!
//! A commit is a put that must not replace anything. The clouds promise that; of the many services that speak S3's protocol,
//! some take the condition (`If-None-Match: *`) and do not look at it. Two writers then both believe that they were first.

use object_store::path::{Path, PathPart};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::trouble::{Trouble, TroubleKind};

/// What is known of a store of which nobody promises that it looks at conditions.
#[derive(Debug, Default)]
pub(super) struct Apart(OnceCell<()>);

impl Apart {
    /// Tries it beside the object that is to be made, unless that was done before. What else goes wrong is found, and
    /// better told, by what is to be done next.
    ///
    /// # Errors
    /// A [`Trouble`] of [`TroubleKind::NoConditionalPut`].
    pub(super) async fn check(&self, store: &dyn ObjectStore, object: &Path, authority: &str) -> Result<()> {
        if self.0.initialized() {
            return Ok(());
        }
        let probe = beside(object).join(format!(".limno-probe-{}", Uuid::new_v4().simple()));
        let kept = put_twice(store, &probe).await;
        if let Err(error) = store.delete(&probe).await
            && !matches!(error, StoreError::NotFound { .. })
        {
            tracing::warn!(%error, %probe, "an object that nobody needs stays");
        }
        match kept {
            Ok(true) => drop(self.0.set(())),
            Ok(false) => {
                let source = Box::new(replaced(&format!("{authority}/{object}")));
                return Err(StoreError::Generic { store: "lake", source });
            }
            Err(error) => tracing::debug!(%error, %probe, "whether writers are kept apart could not be tried"),
        }
        Ok(())
    }
}

/// The folder of the object; of one of a log, that of the table.
fn beside(object: &Path) -> Path {
    let parts: Vec<PathPart<'_>> = object.parts().collect();
    let log = parts.iter().rposition(|part| part.as_ref() == "_delta_log");
    parts.into_iter().take(log.unwrap_or(object.parts_count().saturating_sub(1))).collect()
}

/// Puts an object twice that must not be there the second time; answers whether that was refused.
pub(super) async fn put_twice(store: &dyn ObjectStore, object: &Path) -> Result<bool> {
    let create = || PutOptions::from(PutMode::Create);
    store.put_opts(object, PutPayload::from_static(b"first"), create()).await?;
    match store.put_opts(object, PutPayload::from_static(b"second"), create()).await {
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

/// That a store replaced what it was asked not to replace.
pub(super) fn replaced(place: &str) -> Trouble {
    Trouble::new(
        TroubleKind::NoConditionalPut,
        format!(
            "cannot write {place}: the store replaced what it was asked not to replace, so two writers could lose each \
             other's work\n  hint: write to a store that knows conditional writes (If-None-Match), as S3, Azure and GCS do"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashSet;
    use std::sync::Mutex;

    use crate::lake::test_server::Server;
    use crate::lake::{Access, Lake, LakeOptions, SignIn, StoreOptions, trouble_in};
    use crate::secret::Secret;

    /// A bucket of a service that looks at conditions, or does not.
    async fn commit_twice(looks: bool) -> (Vec<String>, [Result<()>; 2]) {
        let there = Mutex::new(HashSet::new());
        let server = Server::start_at(None, move |request| {
            let is_new = request.method != "PUT" || there.lock().unwrap().insert(request.path.clone());
            let is_refused = looks && !is_new && request.headers.contains("if-none-match: *");
            if is_refused {
                (412, "<Error><Code>PreconditionFailed</Code></Error>".to_owned())
            } else {
                (200, String::new())
            }
        });
        let mut options = StoreOptions::new("lake", "s3://models");
        options.endpoint = Some(server.url.clone());
        options.path_style = true;
        let (id, secret) = ("AKIA1".to_owned(), Secret::new("secret/of/the/key"));
        options.sign_in = SignIn::AccessKey { id, secret, session_token: None };
        let lake = Lake::new(LakeOptions { stores: vec![options], ..LakeOptions::default() }).unwrap();
        let place = lake.locate("s3://models/out/t", Access::Write).await.unwrap();
        let mut outcomes = Vec::new();
        for name in ["0.json", "1.json"] {
            let commit = place.path().clone().join("_delta_log").join(name);
            let create = PutOptions::from(PutMode::Create);
            outcomes.push(place.store().put_opts(&commit, PutPayload::from_static(b"{}"), create).await.map(drop));
        }
        let seen = server.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
        (seen, outcomes.try_into().unwrap())
    }

    #[tokio::test]
    async fn a_service_that_looks_at_conditions_is_tried_once() {
        let (seen, outcomes) = commit_twice(true).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let probes = seen.iter().filter(|line| line.starts_with("PUT /models/out/t/.limno-probe-")).count();
        let commits = seen.iter().filter(|line| line.starts_with("PUT /models/out/t/_delta_log/")).count();
        assert_eq!((probes, commits, seen.len()), (2, 2, 5), "{seen:?}");
    }

    #[tokio::test]
    async fn nothing_is_committed_to_a_service_that_does_not() {
        let (seen, outcomes) = commit_twice(false).await;
        assert!(!seen.iter().any(|line| line.contains("_delta_log")), "{seen:?}");
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            let trouble = trouble_in(&error).unwrap();
            assert_eq!(trouble.kind, TroubleKind::NoConditionalPut);
            assert!(trouble.message.starts_with("cannot write s3://models/out/t/_delta_log/"), "{trouble}");
        }
    }
}

//! Amazon's own chain of those who may sign in.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::OnceCell;

use crate::lake::renewed::{Fresh, Renewed};
use crate::secret::Lent;

/// Amazon's own chain: variables, profiles, single sign-on, processes, web identity, containers, machines. It asks a
/// service or starts a process each time, so what it finds is held until shortly before it ends.
pub(super) struct Chain {
    profile: Option<String>,
    loaded: OnceCell<SdkConfig>,
    held: Renewed<AwsCredential, Missing>,
    /// What it found last and before, as requests that were signed before may still be under way.
    found: Mutex<VecDeque<Found>>,
}

/// Why the chain found nothing.
#[derive(Debug, Clone, thiserror::Error)]
enum Missing {
    #[error("it is configured to give no credentials")]
    Nobody,
    #[error("{0}")]
    Failed(#[source] Arc<CredentialsError>),
}

/// A credential, whose secrets show nowhere as long as it is kept.
struct Found {
    credential: Arc<AwsCredential>,
    _lent: Vec<Lent>,
}

/// How many credentials are kept, whether a request is under way with them or not: what a request that ended just now has
/// said of itself may not have been written yet.
const KEPT: usize = 2;
/// How long a credential is used that does not say how long it holds, as Amazon's own clients use it.
const UNSAID: Duration = Duration::from_secs(900);

impl Debug for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Chain {
    pub(super) fn new(profile: Option<String>) -> Self {
        Self { profile, loaded: OnceCell::new(), held: Renewed::default(), found: Mutex::default() }
    }

    /// What was refused is not used again; whether another may be had.
    pub(super) fn take_back(&self) -> bool {
        self.held.take_back(Instant::now())
    }

    /// The region that variables, the profile or the machine name.
    pub(super) async fn region(&self) -> Option<String> {
        self.loaded().await.region().map(|region| region.as_ref().to_owned())
    }

    async fn loaded(&self) -> &SdkConfig {
        let load = || async {
            let mut loader = aws_config::defaults(BehaviorVersion::latest());
            if let Some(profile) = &self.profile {
                loader = loader.profile_name(profile);
            }
            loader.load().await
        };
        self.loaded.get_or_init(load).await
    }

    /// What holds now; `today` is the time by which ends are told.
    async fn credential(
        &self,
        now: impl Fn() -> Instant + Send + Sync,
        today: impl Fn() -> SystemTime + Send,
    ) -> Result<Arc<AwsCredential>, Missing> {
        let renew = || async move {
            let provider = self.loaded().await.credentials_provider().ok_or(Missing::Nobody)?;
            let found = provider.provide_credentials().await.map_err(|error| Missing::Failed(Arc::new(error)))?;
            let value = AwsCredential {
                key_id: found.access_key_id().to_owned(),
                secret_key: found.secret_access_key().to_owned(),
                token: found.session_token().map(str::to_owned),
            };
            Ok(Fresh { value, life: Some(life(found.expiry(), today())) })
        };
        let credential = self.held.get(now, renew).await?;
        self.keep(&credential);
        Ok(credential)
    }

    /// Keeps a credential, and those that requests may still be under way with.
    fn keep(&self, credential: &Arc<AwsCredential>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.iter().any(|known| Arc::ptr_eq(&known.credential, credential)) {
            return;
        }
        let secrets = [Some(credential.secret_key.as_str()), credential.token.as_deref()];
        let lent = secrets.into_iter().flatten().map(Lent::new).collect();
        found.push_back(Found { credential: Arc::clone(credential), _lent: lent });
        let mut older = found.len().saturating_sub(KEPT);
        found.retain(|known| {
            let is_old = older > 0;
            older = older.saturating_sub(1);
            // A request holds the credential that it is signed with until it ends.
            !is_old || Arc::strong_count(&known.credential) > 1
        });
    }
}

fn life(end: Option<SystemTime>, today: SystemTime) -> Duration {
    end.map_or(UNSAID, |end| end.duration_since(today).unwrap_or_default())
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    #[expect(clippy::disallowed_methods, reason = "how long a credential holds is a matter of the real time")]
    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.credential(Instant::now, SystemTime::now).await.map_err(|missing| object_store::Error::Unauthenticated {
            path: "the AWS chain".to_owned(),
            source: Box::new(missing),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_config::Region;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::{SharedCredentialsProvider, future};

    use super::*;
    use crate::secret::redact;

    /// Finds another credential each time, which holds for an hour of a clock that stands where it is put.
    #[derive(Debug, Default)]
    struct Counting {
        asked: AtomicU64,
        seconds: AtomicU64,
    }

    impl Counting {
        fn today(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
        }
    }

    #[derive(Debug)]
    struct Finder(Arc<Counting>);

    impl ProvideCredentials for Finder {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                tokio::task::yield_now().await;
                let number = self.0.asked.fetch_add(1, Ordering::Relaxed) + 1;
                let end = self.0.today() + Duration::from_secs(3600);
                Ok(Credentials::new(format!("ASIA{number}"), "secret-of-the-chain", None, Some(end), "test"))
            })
        }
    }

    /// A chain that has found its configuration.
    pub(in crate::lake::s3) fn found(region: &'static str, key: &str) -> Chain {
        let credentials = Credentials::new(key, "secret-of-the-chain", None, None, "test");
        let provider = SharedCredentialsProvider::new(credentials);
        loaded(SdkConfig::builder().region(Region::new(region)).credentials_provider(provider).build())
    }

    fn loaded(config: SdkConfig) -> Chain {
        Chain { loaded: OnceCell::new_with(Some(config)), ..Chain::new(None) }
    }

    #[tokio::test]
    async fn the_chain_is_asked_again_only_before_what_it_found_ends() {
        let counting = Arc::new(Counting::default());
        let finder = SharedCredentialsProvider::new(Finder(Arc::clone(&counting)));
        let chain = loaded(SdkConfig::builder().credentials_provider(finder).build());
        let start = Instant::now();
        let at = |seconds: u64| {
            counting.seconds.store(seconds, Ordering::Relaxed);
            chain.credential(move || start + Duration::from_secs(seconds), || counting.today())
        };
        let many = futures::future::join_all((0..8).map(|_| at(0))).await;
        assert!(many.iter().all(|found| found.as_ref().unwrap().key_id == "ASIA1"), "{many:?}");
        assert_eq!(at(3000).await.unwrap().key_id, "ASIA1");
        assert_eq!(counting.asked.load(Ordering::Relaxed), 1);
        assert_eq!(at(3600 - 300).await.unwrap().key_id, "ASIA2");
        assert_eq!(at(3601).await.unwrap().key_id, "ASIA2");
    }

    #[test]
    fn what_does_not_say_when_it_ends_is_asked_for_now_and_then() {
        let today = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(life(None, today), UNSAID);
        assert_eq!(life(Some(today + Duration::from_secs(60)), today), Duration::from_secs(60));
        assert_eq!(life(Some(SystemTime::UNIX_EPOCH), today), Duration::ZERO);
    }

    #[test]
    fn what_the_chain_found_shows_nowhere_while_a_request_is_under_way_with_it() {
        let chain = Chain::new(None);
        let found = |number: u32| {
            let credential = Arc::new(AwsCredential {
                key_id: "ASIA".to_owned(),
                secret_key: format!("secret/of+the-chain-{number}-."),
                token: Some(format!("token/of+the-chain-{number}-.")),
            });
            chain.keep(&credential);
            chain.keep(&credential);
            credential
        };
        let shown = |number: u32| {
            redact(&format!("secret/of+the-chain-{number}-. token%2Fof%2bthe-chain-{number}-.")).into_owned()
        };
        let under_way = found(1);
        assert_eq!(shown(1), "*** ***");
        for number in 2..=4 {
            found(number);
        }
        assert_eq!((shown(1), shown(3), shown(4)), ("*** ***".into(), "*** ***".into(), "*** ***".into()));
        assert_eq!(shown(2), "secret/of+the-chain-2-. token%2Fof%2bthe-chain-2-.", "it is used by nobody");
        drop(under_way);
        found(5);
        assert_eq!(shown(1), "secret/of+the-chain-1-. token%2Fof%2bthe-chain-1-.");
        assert_eq!(chain.found.lock().unwrap().len(), KEPT);
    }
}

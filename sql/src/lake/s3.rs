//! Amazon S3 and what speaks its protocol.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider, S3ConditionalPut};
use tokio::sync::OnceCell;
use url::Url;

use super::client::{Connector, Skew, client_options, no_retries};
use super::options::{SignIn, StoreOptions};
use super::provider::{Opened, unusable};
use crate::Result;
use crate::secret::Lent;

/// Opens the bucket of `url`.
pub(super) fn open(url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    let (builder, environment, skew) = unsigned(url, options)?;
    let (builder, sign_in) = match &options.sign_in {
        SignIn::Environment => (builder.with_credentials(Arc::new(Chain::new(None))), of_environment(&environment)),
        SignIn::Profile(name) => (
            builder.with_credentials(Arc::new(Chain::new(Some(name.clone())))),
            format!("profile {name} of the AWS configuration"),
        ),
        SignIn::Anonymous => (builder.with_skip_signature(true), "anonymously".to_owned()),
        SignIn::AccessKey { id, secret, session_token } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
            let builder = match session_token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            };
            (builder, format!("access key {id}"))
        }
        SignIn::AccountKey(_)
        | SignIn::Sas(_)
        | SignIn::ServicePrincipal { .. }
        | SignIn::ManagedIdentity { .. }
        | SignIn::WorkloadIdentity
        | SignIn::AzureCli
        | SignIn::ServiceAccount(_)
        | SignIn::Token(_) => {
            return Err(unusable(url, "its [store] block signs in to another cloud than AWS"));
        }
    };
    let store = builder.build().map_err(|error| unusable(url, error.to_string()))?;
    let sign_in = if is_configured { format!("{sign_in} of [store.{}]", options.name) } else { sign_in };
    Ok(Opened::new(store, sign_in, skew))
}

/// Opens the bucket of `url`, signed by what a catalog hands out.
pub(super) fn open_as(
    url: &Url,
    options: &StoreOptions,
    credentials: AwsCredentialProvider,
    sign_in: String,
) -> Result<Opened> {
    let (builder, _, skew) = unsigned(url, options)?;
    let store = builder.with_credentials(credentials).build().map_err(|error| unusable(url, error.to_string()))?;
    Ok(Opened::new(store, sign_in, skew))
}

/// The bucket of `url` and what the environment says, before anyone signs in.
fn unsigned(url: &Url, options: &StoreOptions) -> Result<(AmazonS3Builder, AmazonS3Builder, Skew)> {
    let environment = AmazonS3Builder::from_env();
    let endpoint = options
        .endpoint
        .as_ref()
        .map(|endpoint| endpoint.as_str().trim_end_matches('/').to_owned())
        .or_else(|| environment.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let region = options.region.clone().or_else(|| environment.get_config_value(&AmazonS3ConfigKey::Region));
    let is_http = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let client = client_options(options, is_http).map_err(|message| unusable(url, message))?;
    let (connector, skew) = Connector::new(options.limits);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(url.host_str().unwrap_or_default())
        .with_client_options(client)
        .with_http_connector(connector)
        .with_retry(no_retries())
        .with_virtual_hosted_style_request(endpoint.is_none() && !options.path_style);
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = builder.with_conditional_put(if options.conditional_put {
        S3ConditionalPut::ETagMatch
    } else {
        // A write that must not replace anything is then refused, not done in the hope that nobody else writes.
        S3ConditionalPut::Disabled
    });
    Ok((builder, environment, skew))
}

/// Whether it is another service than Amazon's, which speaks the same protocol.
pub(super) fn is_foreign(options: &StoreOptions) -> bool {
    let of_environment = || AmazonS3Builder::from_env().get_config_value(&AmazonS3ConfigKey::Endpoint);
    let endpoint = options.endpoint.as_ref().map(Url::to_string).or_else(of_environment);
    let host = endpoint.and_then(|endpoint| Some(Url::parse(&endpoint).ok()?.host_str()?.to_owned()));
    host.is_some_and(|host| ![".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| host.ends_with(end)))
}

/// What the chain will find, in the order in which it looks.
fn of_environment(builder: &AmazonS3Builder) -> String {
    let profile = std::env::var("AWS_PROFILE").ok();
    if let Some(id) = builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId) {
        format!("access key {id} of the environment")
    } else if let Some(profile) = profile {
        format!("profile {profile} of the AWS configuration (AWS_PROFILE)")
    } else if builder.get_config_value(&AmazonS3ConfigKey::WebIdentityTokenFile).is_some() {
        let role = builder.get_config_value(&AmazonS3ConfigKey::RoleArn).unwrap_or_default();
        format!("role {role} by web identity (AWS_WEB_IDENTITY_TOKEN_FILE)")
    } else {
        "whoever the AWS chain finds: the default profile, the role of the container or of the machine".to_owned()
    }
}

/// Amazon's own chain: variables, profiles, single sign-on, processes, web identity, containers, machines. It renews what
/// it gives before it ends.
struct Chain {
    profile: Option<String>,
    loaded: OnceCell<SdkConfig>,
    /// What it found last and before, as requests that were signed before may still be under way.
    found: Mutex<VecDeque<Found>>,
}

/// A credential, whose secrets show nowhere as long as it is kept.
struct Found {
    credential: Arc<AwsCredential>,
    _lent: Vec<Lent>,
}

/// How many credentials are kept.
const KEPT: usize = 2;

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Chain {
    fn new(profile: Option<String>) -> Self {
        Self { profile, loaded: OnceCell::new(), found: Mutex::default() }
    }

    /// The credential, which is the one from before if nothing changed.
    fn keep(&self, credential: AwsCredential) -> Arc<AwsCredential> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.back().filter(|known| *known.credential == credential) {
            return Arc::clone(&known.credential);
        }
        let secrets = [Some(credential.secret_key.as_str()), credential.token.as_deref()];
        let lent = secrets.into_iter().flatten().map(Lent::new).collect();
        let credential = Arc::new(credential);
        found.push_back(Found { credential: Arc::clone(&credential), _lent: lent });
        if found.len() > KEPT {
            found.pop_front();
        }
        credential
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Unauthenticated {
            path: "the AWS chain".to_owned(),
            source,
        };
        let config = self
            .loaded
            .get_or_init(|| async {
                let mut loader = aws_config::defaults(BehaviorVersion::latest());
                if let Some(profile) = &self.profile {
                    loader = loader.profile_name(profile);
                }
                loader.load().await
            })
            .await;
        let provider =
            config.credentials_provider().ok_or_else(|| failed("it is configured to give no credentials".into()))?;
        // The provider of the configuration keeps what it got until shortly before it ends.
        let found = provider.provide_credentials().await.map_err(|error| failed(Box::new(error)))?;
        Ok(self.keep(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::redact;

    #[test]
    fn what_the_chain_finds_shows_nowhere_until_it_has_found_two_others() {
        let chain = Chain::new(None);
        let found = |number: u32| {
            chain.keep(AwsCredential {
                key_id: "ASIA".to_owned(),
                secret_key: format!("secret/of+the-chain-{number}-."),
                token: Some(format!("token/of+the-chain-{number}-.")),
            })
        };
        let shown = |number: u32| {
            redact(&format!("secret/of+the-chain-{number}-. token%2Fof%2bthe-chain-{number}-.")).into_owned()
        };
        let first = found(1);
        assert!(Arc::ptr_eq(&first, &found(1)), "the same is kept once");
        assert_eq!(shown(1), "*** ***");
        found(2);
        assert_eq!((shown(1), shown(2)), ("*** ***".to_owned(), "*** ***".to_owned()));
        found(3);
        assert_eq!(shown(1), "secret/of+the-chain-1-. token%2Fof%2bthe-chain-1-.");
        assert_eq!(shown(3), "*** ***");
    }
}

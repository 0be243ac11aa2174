//! Amazon S3 and what speaks its protocol.

mod chain;
mod late;

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, S3ConditionalPut};
use url::Url;

use super::client::{Connector, Skew, client_options, no_retries};
use super::options::{SignIn, StoreOptions};
use super::patience::Renewal;
use super::provider::{Opened, unusable};
use crate::Result;

use chain::Chain;
use late::Late;

/// Opens the bucket of `url`.
pub(super) fn open(url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    open_in(&AmazonS3Builder::from_env(), url, options, is_configured)
}

/// Opens the bucket of `url` in an environment.
fn open_in(environment: &AmazonS3Builder, url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    let (builder, skew) = unsigned(environment, url, options)?;
    let signs_nothing =
        environment.get_config_value(&AmazonS3ConfigKey::SkipSignature).is_some_and(|flag| flag == "true");
    let named = |who: String| if is_configured { format!("{who} of [store.{}]", options.name) } else { who };
    let by_chain = |builder, profile: Option<&String>, who| {
        open_by(Chain::new(profile.cloned()), builder, named(who), skew.clone()).map_err(|error| unusable(url, error))
    };
    let (builder, who) = match &options.sign_in {
        SignIn::Environment if signs_nothing => {
            (builder.with_skip_signature(true), "anonymously, as the environment says".to_owned())
        }
        SignIn::Environment => return by_chain(builder, None, of_environment(environment)),
        SignIn::Profile(name) => {
            return by_chain(builder, Some(name), format!("profile {name} of the AWS configuration"));
        }
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
    Ok(Opened::new(store, named(who), skew))
}

/// Opens a bucket where the chain signs in; the error is a message.
fn open_by(chain: Chain, builder: AmazonS3Builder, sign_in: String, skew: Skew) -> Result<Opened, String> {
    let chain = Arc::new(chain);
    let builder = builder.with_credentials(Arc::clone(&chain) as _);
    let opened = if builder.get_config_value(&AmazonS3ConfigKey::Region).is_some() {
        Opened::new(builder.build().map_err(|error| error.to_string())?, sign_in, skew)
    } else {
        Opened::new(Late::new(builder, Arc::clone(&chain)), sign_in, skew)
    };
    // What it found is held, so somebody must say when it is not taken.
    let renewal: Renewal = Arc::new(move || chain.take_back());
    Ok(Opened { renewal: Some(renewal), ..opened })
}

/// Opens the bucket of `url`, signed by what a catalog hands out.
pub(super) fn open_as(
    url: &Url,
    options: &StoreOptions,
    credentials: AwsCredentialProvider,
    sign_in: String,
) -> Result<Opened> {
    let (builder, skew) = unsigned(&AmazonS3Builder::from_env(), url, options)?;
    let store = builder.with_credentials(credentials).build().map_err(|error| unusable(url, error.to_string()))?;
    Ok(Opened::new(store, sign_in, skew))
}

/// The bucket of `url` in an environment, before anyone signs in.
fn unsigned(environment: &AmazonS3Builder, url: &Url, options: &StoreOptions) -> Result<(AmazonS3Builder, Skew)> {
    let endpoint = options
        .endpoint
        .as_ref()
        .map(|endpoint| endpoint.as_str().trim_end_matches('/').to_owned())
        .or_else(|| environment.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let region = options.region.clone().or_else(|| environment.get_config_value(&AmazonS3ConfigKey::Region));
    let is_http = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let client = client_options(options, is_http);
    let (connector, skew) = Connector::new(options).map_err(|message| unusable(url, message))?;
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
    Ok((builder, skew))
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

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::lake::test_server::Server;

    /// A store of a bucket at a server that answers with nothing, and its options.
    fn server() -> (Server, StoreOptions, Url) {
        let server = Server::start_at(None, |_| (404, String::new()));
        let mut options = StoreOptions::new("lake", "s3://models");
        options.endpoint = Some(server.url.clone());
        (server, options, Url::parse("s3://models/t").unwrap())
    }

    /// The headers of one request to an open store.
    async fn asked(server: &Server, opened: &Opened) -> String {
        opened.store.get(&"x".into()).await.unwrap_err();
        server.seen().pop().unwrap().headers
    }

    #[tokio::test]
    async fn a_bucket_is_in_the_region_of_the_block_or_else_of_the_aws_configuration() {
        let (server, mut options, url) = server();
        for (of_block, expected) in [(None, "eu-north-1"), (Some("eu-west-3"), "eu-west-3")] {
            options.region = of_block.map(str::to_owned);
            let (builder, skew) = unsigned(&AmazonS3Builder::new(), &url, &options).unwrap();
            let chain = chain::tests::found("eu-north-1", "AKIA1");
            let opened = open_by(chain, builder, "the chain".to_owned(), skew).unwrap();
            let headers = asked(&server, &opened).await;
            assert!(headers.contains("credential=akia1/"), "{headers}");
            assert!(headers.contains(&format!("/{expected}/s3/aws4_request")), "{expected}: {headers}");
            assert!(opened.renewal.is_some_and(|renewal| renewal()), "what it found may be refused");
        }
    }

    #[tokio::test]
    async fn nothing_is_signed_where_the_environment_says_so_unless_a_block_names_somebody() {
        let (server, mut options, url) = server();
        let environment = AmazonS3Builder::new().with_config(AmazonS3ConfigKey::SkipSignature, "true");
        let opened = open_in(&environment, &url, &options, false).unwrap();
        assert_eq!(opened.sign_in, "anonymously, as the environment says");
        assert!(!asked(&server, &opened).await.contains("authorization"));
        let (id, secret) = ("AKIA1".to_owned(), crate::secret::Secret::new("secret-of-the-block"));
        options.sign_in = SignIn::AccessKey { id, secret, session_token: None };
        let opened = open_in(&environment, &url, &options, true).unwrap();
        assert!(asked(&server, &opened).await.contains("credential=akia1/"));
    }
}

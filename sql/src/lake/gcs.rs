//! Google Cloud Storage.

use std::path::PathBuf;

use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder, GoogleConfigKey};
use url::Url;

use super::client::{Connector, Skew, client_options, no_retries};
use super::options::{SignIn, StoreOptions};
use super::provider::{Opened, unusable};
use crate::Result;
use crate::secret::remember_key_file;

/// Opens the bucket of `url`.
pub(super) fn open(url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    let (builder, skew) = unsigned(url, options)?;
    let (builder, sign_in) = match &options.sign_in {
        SignIn::Environment => {
            remember_keys(&builder);
            let sign_in = of_environment(&builder);
            (builder, sign_in)
        }
        SignIn::Anonymous => (builder.with_skip_signature(true), "anonymously".to_owned()),
        SignIn::ServiceAccount(key) => {
            (builder.with_service_account_key(key.expose()), format!("service account{}", email_of(key.expose())))
        }
        SignIn::AccountKey(_)
        | SignIn::Sas(_)
        | SignIn::ServicePrincipal { .. }
        | SignIn::ManagedIdentity { .. }
        | SignIn::WorkloadIdentity
        | SignIn::AzureCli
        | SignIn::AccessKey { .. }
        | SignIn::Profile(_)
        | SignIn::Token(_) => {
            return Err(unusable(url, "its [store] block signs in to another cloud than Google's"));
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
    credentials: GcpCredentialProvider,
    sign_in: String,
) -> Result<Opened> {
    let (builder, skew) = unsigned(url, options)?;
    let store = builder.with_credentials(credentials).build().map_err(|error| unusable(url, error.to_string()))?;
    Ok(Opened::new(store, sign_in, skew))
}

/// The bucket of `url`, before anyone signs in.
fn unsigned(url: &Url, options: &StoreOptions) -> Result<(GoogleCloudStorageBuilder, Skew)> {
    let builder = match options.sign_in {
        SignIn::Environment => GoogleCloudStorageBuilder::from_env(),
        _ => GoogleCloudStorageBuilder::new(),
    };
    let client = client_options(options, options.allows_http());
    let (connector, skew) = Connector::new(options).map_err(|message| unusable(url, message))?;
    let mut builder = builder
        .with_bucket_name(url.host_str().unwrap_or_default())
        .with_client_options(client)
        .with_http_connector(connector)
        .with_retry(no_retries());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
    }
    Ok((builder, skew))
}

/// The address of a service account, which its key names.
fn email_of(key: &str) -> String {
    let email = serde_json::from_str::<serde_json::Value>(key)
        .ok()
        .and_then(|key| Some(key.get("client_email")?.as_str()?.to_owned()));
    email.map(|email| format!(" {email}")).unwrap_or_default()
}

/// The store reads these files by itself; what is in them must not show.
fn remember_keys(builder: &GoogleCloudStorageBuilder) {
    let named = [GoogleConfigKey::ServiceAccount, GoogleConfigKey::ApplicationCredentials];
    let named = named.iter().filter_map(|key| builder.get_config_value(key)).map(PathBuf::from);
    // Where `gcloud auth application-default login` leaves its token.
    let of_gcloud = std::env::var_os("HOME")
        .map(|home| PathBuf::from(home).join(".config/gcloud/application_default_credentials.json"));
    for file in named.chain(of_gcloud) {
        remember_key_file(&file);
    }
}

fn of_environment(builder: &GoogleCloudStorageBuilder) -> String {
    let has = |key| builder.get_config_value(&key).is_some();
    if has(GoogleConfigKey::ServiceAccount) || has(GoogleConfigKey::ServiceAccountKey) {
        "the service account of the environment (GOOGLE_SERVICE_ACCOUNT)".to_owned()
    } else if has(GoogleConfigKey::ApplicationCredentials) {
        "the application default credentials (GOOGLE_APPLICATION_CREDENTIALS)".to_owned()
    } else {
        "the application default credentials: gcloud's, or the service account of the machine".to_owned()
    }
}

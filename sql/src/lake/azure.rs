//! Azure Blob Storage, ADLS Gen2 included.

use object_store::azure::{AzureConfigKey, AzureCredentialProvider, MicrosoftAzureBuilder};
use url::Url;

use super::client::{Connector, Skew, client_options, no_retries};
use super::options::{SignIn, StoreOptions};
use super::provider::{Opened, unusable};
use crate::Result;

/// Opens the container of `url`.
pub(super) fn open(url: &Url, options: &StoreOptions, is_configured: bool) -> Result<Opened> {
    let (mut builder, environment, skew) = unsigned(url, options)?;
    let (builder, sign_in) = match &options.sign_in {
        SignIn::Environment => {
            let sign_in = of_environment(&builder);
            (builder, sign_in)
        }
        SignIn::Anonymous => (builder.with_skip_signature(true), "anonymously".to_owned()),
        SignIn::AccountKey(key) => (builder.with_access_key(key.expose()), "the account key".to_owned()),
        SignIn::Sas(token) => {
            let token = token.expose().trim_start_matches('?');
            let builder = builder.with_config(AzureConfigKey::SasKey, token);
            (builder, format!("a shared access signature{}", until(token)))
        }
        SignIn::ServicePrincipal { client_id, tenant_id: Some(tenant_id), client_secret } => (
            builder.with_client_secret_authorization(client_id, client_secret.expose(), tenant_id),
            format!("service principal {client_id}"),
        ),
        SignIn::ManagedIdentity { client_id } => {
            // Where container jobs and app services ask, which is not where machines do.
            if let Some(endpoint) = environment.get_config_value(&AzureConfigKey::MsiEndpoint) {
                builder = builder.with_msi_endpoint(endpoint);
            }
            match client_id {
                None => (builder, "the managed identity of this machine".to_owned()),
                Some(id) => (builder.with_client_id(id), format!("managed identity {id}")),
            }
        }
        SignIn::WorkloadIdentity => {
            for key in [AzureConfigKey::ClientId, AzureConfigKey::AuthorityId, AzureConfigKey::FederatedTokenFile] {
                let Some(value) = environment.get_config_value(&key) else {
                    return Err(unusable(
                        url,
                        "a workload identity needs AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE, \
                         which the cluster sets",
                    ));
                };
                builder = builder.with_config(key, value);
            }
            let id = builder.get_config_value(&AzureConfigKey::ClientId).unwrap_or_default();
            (builder, format!("workload identity {id}"))
        }
        SignIn::AzureCli => (builder.with_use_azure_cli(true), "whoever is signed in with az login".to_owned()),
        SignIn::ServicePrincipal { tenant_id: None, .. } => {
            return Err(unusable(url, "a service principal of Azure needs a tenant_id"));
        }
        SignIn::AccessKey { .. } | SignIn::Profile(_) | SignIn::ServiceAccount(_) | SignIn::Token(_) => {
            return Err(unusable(url, "its [store] block signs in to another cloud than Azure"));
        }
    };
    let store = builder.build().map_err(|error| unusable(url, error.to_string()))?;
    let sign_in = if is_configured { format!("{sign_in} of [store.{}]", options.name) } else { sign_in };
    Ok(Opened::new(store, sign_in, skew))
}

/// Opens the container of `url`, signed by what a catalog hands out.
pub(super) fn open_as(
    url: &Url,
    options: &StoreOptions,
    credentials: AzureCredentialProvider,
    sign_in: String,
) -> Result<Opened> {
    let (builder, _, skew) = unsigned(url, options)?;
    let store = builder.with_credentials(credentials).build().map_err(|error| unusable(url, error.to_string()))?;
    Ok(Opened::new(store, sign_in, skew))
}

/// The container of `url` and what the environment says, before anyone signs in.
fn unsigned(url: &Url, options: &StoreOptions) -> Result<(MicrosoftAzureBuilder, MicrosoftAzureBuilder, Skew)> {
    let environment = MicrosoftAzureBuilder::from_env();
    // A block says all that there is to say; the environment speaks only where no block does.
    let mut builder = match options.sign_in {
        SignIn::Environment => environment.clone(),
        _ => MicrosoftAzureBuilder::new(),
    };
    let (container, host) = match url.username() {
        // az://container/path: the account is not in it.
        "" => (url.host_str().unwrap_or_default(), None),
        container => (container, url.host_str()),
    };
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    if options.endpoint.is_none()
        && endpoint.is_none()
        && let Some(host) = host
    {
        builder = builder.with_endpoint(endpoint_of(host).ok_or_else(|| {
            unusable(
                url,
                format!(
                    "{host} is no host of a storage account; write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…, or say \
                     endpoint in a [store.NAME] block"
                ),
            )
        })?);
    }
    let account = host
        .and_then(|host| host.split('.').next())
        .map(str::to_owned)
        .or_else(|| account_of(options.endpoint.as_ref()?))
        .or_else(|| environment.get_config_value(&AzureConfigKey::AccountName));
    let is_emulator = is_on(&builder, AzureConfigKey::UseEmulator);
    match &account {
        Some(account) => builder = builder.with_account(account),
        None if is_emulator => {}
        None => {
            return Err(unusable(
                url,
                "it names no storage account; write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…, or set \
                 AZURE_STORAGE_ACCOUNT_NAME",
            ));
        }
    }
    builder = builder.with_container_name(container);
    // The endpoint of the environment, where that speaks: whoever sets it says how it is spoken to.
    let is_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let allows_http = options.allows_http() || is_http || is_emulator;
    let client = client_options(options, allows_http);
    let (connector, skew) = Connector::new(options).map_err(|message| unusable(url, message))?;
    builder = builder.with_client_options(client).with_http_connector(connector).with_retry(no_retries());
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
    }
    if let Some(authority) = &options.authority {
        builder = builder.with_authority_host(authority.as_str().trim_end_matches('/'));
    }
    Ok((builder, environment, skew))
}

/// Where blobs of the account are, whichever cloud it is in: `acc.dfs.core.windows.net`, `acc.dfs.core.usgovcloudapi.net`,
/// `onelake.dfs.fabric.microsoft.com`. Nothing for another host: no credential goes there.
fn endpoint_of(host: &str) -> Option<String> {
    let (account, domain) = host.split_once(".dfs.")?;
    let is_ours = DOMAINS.contains(&domain) && !account.is_empty();
    is_ours.then(|| format!("https://{account}.blob.{domain}"))
}

/// The domains of Azure's clouds, of accounts in a zone of names, and of OneLake.
const DOMAINS: [&str; 5] = [
    "core.windows.net",
    "core.usgovcloudapi.net",
    "core.chinacloudapi.cn",
    "storage.azure.net",
    "fabric.microsoft.com",
];

/// The account at the end of an endpoint such as `http://127.0.0.1:10000/devstoreaccount1`, or at the start of its host.
fn account_of(endpoint: &Url) -> Option<String> {
    let path = endpoint.path().trim_matches('/');
    if path.is_empty() { endpoint.host_str()?.split('.').next().map(str::to_owned) } else { Some(path.to_owned()) }
}

/// When a shared access signature ends, as it says itself.
fn until(token: &str) -> String {
    let end = url::form_urlencoded::parse(token.as_bytes()).find(|(key, _)| key == "se");
    end.map(|(_, end)| format!(" (until {end})")).unwrap_or_default()
}

/// Whether a flag of the environment is set, in the words that stores take.
fn is_on(builder: &MicrosoftAzureBuilder, key: AzureConfigKey) -> bool {
    let flag = builder.get_config_value(&key).map(|flag| flag.to_ascii_lowercase());
    flag.is_some_and(|flag| matches!(flag.as_str(), "1" | "true" | "on" | "yes" | "y"))
}

/// What the store takes from the environment, in the order in which it looks.
fn of_environment(builder: &MicrosoftAzureBuilder) -> String {
    let has = |key| builder.get_config_value(&key).is_some();
    let id = builder.get_config_value(&AzureConfigKey::ClientId).unwrap_or_default();
    let is_set = |key| is_on(builder, key);
    if is_set(AzureConfigKey::SkipSignature) {
        "anonymously, as the environment says".to_owned()
    } else if has(AzureConfigKey::Token) {
        "a bearer token of the environment".to_owned()
    } else if has(AzureConfigKey::AccessKey) {
        "the account key of the environment (AZURE_STORAGE_ACCOUNT_KEY)".to_owned()
    } else if has(AzureConfigKey::ClientId)
        && has(AzureConfigKey::AuthorityId)
        && has(AzureConfigKey::FederatedTokenFile)
    {
        format!("workload identity {id} of the environment (AZURE_FEDERATED_TOKEN_FILE)")
    } else if has(AzureConfigKey::ClientId) && has(AzureConfigKey::AuthorityId) && has(AzureConfigKey::ClientSecret) {
        format!("service principal {id} of the environment (AZURE_CLIENT_SECRET)")
    } else if has(AzureConfigKey::SasKey) {
        "a shared access signature of the environment (AZURE_STORAGE_SAS_TOKEN)".to_owned()
    } else if is_set(AzureConfigKey::UseAzureCli) {
        "whoever is signed in with az login (AZURE_USE_AZURE_CLI)".to_owned()
    } else if is_set(AzureConfigKey::UseEmulator) {
        "the emulator's own key (AZURE_STORAGE_USE_EMULATOR)".to_owned()
    } else if has(AzureConfigKey::ClientId) {
        format!("managed identity {id} of the environment (AZURE_CLIENT_ID)")
    } else {
        "the managed identity of this machine, as the environment names nobody".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_azure_alone_whichever_cloud_it_is() {
        for (host, endpoint) in [
            ("acc.dfs.core.windows.net", Some("https://acc.blob.core.windows.net")),
            ("acc.dfs.core.usgovcloudapi.net", Some("https://acc.blob.core.usgovcloudapi.net")),
            ("acc.dfs.core.chinacloudapi.cn", Some("https://acc.blob.core.chinacloudapi.cn")),
            ("acc.z01.dfs.storage.azure.net", Some("https://acc.z01.blob.storage.azure.net")),
            ("onelake.dfs.fabric.microsoft.com", Some("https://onelake.blob.fabric.microsoft.com")),
            // Typing errors, and what only looks alike.
            ("acc.dfs.core.window.net", None),
            ("acc.core.windows.net", None),
            ("acc.dfs.core.windows.net.example.com", None),
            (".dfs.core.windows.net", None),
            ("acc", None),
        ] {
            assert_eq!(endpoint_of(host).as_deref(), endpoint, "{host}");
        }
    }

    #[test]
    fn a_host_that_is_none_of_azure_is_refused_before_anything_is_sent() {
        let url = Url::parse("abfss://ml@acc.dfs.core.window.net/t").unwrap();
        let options = |endpoint: Option<&str>| StoreOptions {
            sign_in: SignIn::AccountKey(crate::secret::Secret::new("a2V5IG9mIHRoZSBhY2NvdW50")),
            endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
            ..StoreOptions::new("lake", "abfss://ml@acc.dfs.core.window.net")
        };
        let Err(error) = open(&url, &options(None), true) else { panic!("it is opened") };
        assert!(error.to_string().contains("acc.dfs.core.window.net is no host of a storage account"), "{error}");
        assert!(open(&url, &options(Some("https://storage.example.com/acc")), true).is_ok());
    }

    #[test]
    fn what_the_environment_says_is_named() {
        use AzureConfigKey::{ClientId, UseAzureCli};
        let none = MicrosoftAzureBuilder::new;
        assert!(of_environment(&none()).starts_with("the managed identity of this machine"));
        let named = of_environment(&none().with_config(ClientId, "id-1"));
        assert_eq!(named, "managed identity id-1 of the environment (AZURE_CLIENT_ID)");
        for (flag, is_set) in [("true", true), ("1", true), ("Yes", true), ("on", true), ("0", false), ("false", false)]
        {
            let words = of_environment(&none().with_config(UseAzureCli, flag));
            assert_eq!(words.contains("az login"), is_set, "{flag}");
        }
    }
}

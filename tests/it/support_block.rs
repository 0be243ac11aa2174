//! How the stores that `tests/run` starts are reached: a `[store.NAME]` block whose keys a story may change.

use std::fmt;

use crate::support_run::components;

/// A store, and who signs in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    AzureByKey,
    AzureBySas,
    AzureByPrincipal,
    S3,
}

/// A `[store.NAME]` block, whose secret is in a variable.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) service: Service,
    /// What the URIs of its tables begin with; ends with a slash.
    pub(crate) url: String,
    pub(crate) secret: String,
    /// All keys but the url, with their values as TOML has them.
    keys: Vec<(&'static str, String)>,
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

impl Block {
    /// The one that opens the store; `None` where the store was not started.
    pub(crate) fn new(service: Service) -> Option<Self> {
        if service == Service::S3 { Self::of_s3() } else { Self::of_azure(service) }
    }

    fn of_azure(service: Service) -> Option<Self> {
        let is_principal = service == Service::AzureByPrincipal;
        let endpoint = if is_principal { "LIMNO_TEST_AZURE_OAUTH_ENDPOINT" } else { "LIMNO_TEST_AZURE_ENDPOINT" };
        let [account, endpoint] = components(["LIMNO_TEST_AZURE_ACCOUNT", endpoint])?;
        let mut keys = vec![("endpoint", quoted(&endpoint))];
        let secret = match service {
            Service::AzureBySas => {
                let [sas] = components(["LIMNO_TEST_AZURE_SAS"])?;
                keys.push(("sas_token", reference(service)));
                sas
            }
            Service::AzureByPrincipal => {
                let [tenant, client, secret, authority, ca] = components([
                    "LIMNO_TEST_AZURE_TENANT",
                    "LIMNO_TEST_AZURE_CLIENT_ID",
                    "LIMNO_TEST_AZURE_CLIENT_SECRET",
                    "LIMNO_TEST_AZURE_AUTHORITY",
                    "LIMNO_TEST_CA",
                ])?;
                let ids = [("tenant_id", tenant), ("client_id", client), ("authority", authority), ("ca_file", ca)];
                keys.extend(ids.map(|(key, value)| (key, quoted(&value))));
                keys.push(("client_secret", reference(service)));
                secret
            }
            Service::AzureByKey | Service::S3 => {
                let [key] = components(["LIMNO_TEST_AZURE_KEY"])?;
                keys.push(("account_key", reference(service)));
                key
            }
        };
        let url = format!("abfss://lake@{account}.dfs.core.windows.net/");
        Some(Self { service, url, secret, keys })
    }

    fn of_s3() -> Option<Self> {
        let [bucket, endpoint, id, secret] = components([
            "LIMNO_TEST_S3_BUCKET",
            "LIMNO_TEST_S3_ENDPOINT",
            "LIMNO_TEST_S3_KEY_ID",
            "LIMNO_TEST_S3_SECRET",
        ])?;
        let texts = [("endpoint", endpoint.as_str()), ("region", "us-east-1"), ("access_key_id", &id)];
        let mut keys: Vec<_> = texts.map(|(key, value)| (key, quoted(value))).into();
        keys.push(("path_style", "true".to_owned()));
        keys.push(("secret_access_key", reference(Service::S3)));
        Some(Self { service: Service::S3, url: format!("s3://{bucket}/"), secret, keys })
    }

    /// The same with another value of a key, which is a text.
    pub(crate) fn with(mut self, key: &'static str, value: &str) -> Self {
        self = self.without(key);
        self.keys.push((key, quoted(value)));
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(known, _)| *known != key);
        self
    }

    pub(crate) fn with_secret(self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self }
    }

    pub(crate) fn with_url(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// The text of a key that is there.
    pub(crate) fn text_of(&self, key: &str) -> &str {
        let (_, value) = self.keys.iter().find(|(known, _)| *known == key).unwrap_or_else(|| panic!("no {key}"));
        value.trim_matches('"')
    }

    /// The variable that holds its secret.
    pub(crate) fn variable(&self) -> (String, String) {
        (variable_of(self.service).to_owned(), self.secret.clone())
    }
}

const fn variable_of(service: Service) -> &'static str {
    match service {
        Service::S3 => "BUCKET_SECRET",
        _ => "LAKE_SECRET",
    }
}

fn reference(service: Service) -> String {
    format!("{{ env = \"{}\" }}", variable_of(service))
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.service == Service::S3 { "bucket" } else { "lake" };
        write!(f, "\n[store.{name}]\nurl = \"{}\"\n", self.url)?;
        self.keys.iter().try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
    }
}

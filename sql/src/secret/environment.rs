//! Secrets that the configuration does not know of, as those who sign in find them by themselves: in variables of the
//! environment, and in the key files that these name.

use std::path::Path;
use std::sync::Arc;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use super::known;

/// What others than the stores read: the SDK of AWS, identity endpoints of container jobs, Databricks.
const OF_OTHERS: &[&str] = &[
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_SECRET_KEY",
    "AWS_SECURITY_TOKEN",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "AZURE_STORAGE_CONNECTION_STRING",
    "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_PASSWORD",
    "DATABRICKS_TOKEN",
    "GOOGLE_CREDENTIALS",
    "IDENTITY_HEADER",
    "MSI_SECRET",
];

/// Remembers what variables of the environment say that is secret.
pub(crate) fn remember_environment() {
    for (name, value) in std::env::vars_os() {
        // What is not UTF-8, no store takes either.
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        if is_secret(name) || (is_proxy(name) && value.contains('@')) {
            known::remember(&Arc::from(value));
        }
    }
}

/// Remembers a key file as a whole: a store reads it by itself. One that cannot be read it will complain of.
pub(crate) fn remember_key_file(path: &Path) {
    if let Ok(key) = std::fs::read_to_string(path) {
        known::remember(&Arc::from(key));
    }
}

/// Whether a variable holds what must not be shown. Stores take their keys in any case behind the first word, in all
/// spellings that they parse.
fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if name.starts_with("AZURE_") {
        use AzureConfigKey::{AccessKey, ClientSecret, FabricSessionToken, SasKey, Token};
        if matches!(lower.parse(), Ok(AccessKey | ClientSecret | FabricSessionToken | SasKey | Token)) {
            return true;
        }
    } else if name.starts_with("AWS_") {
        use AmazonS3ConfigKey::{SecretAccessKey, Token};
        if matches!(lower.parse(), Ok(SecretAccessKey | Token)) || lower == "aws_sse_customer_key_base64" {
            return true;
        }
    } else if name.starts_with("GOOGLE_") && matches!(lower.parse(), Ok(GoogleConfigKey::ServiceAccountKey)) {
        return true;
    }
    OF_OTHERS.contains(&name)
}

/// Whether a variable names a proxy, whose URL may hold a password.
fn is_proxy(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_secret_in_every_spelling_that_a_store_takes() {
        for name in [
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_CLIENT_SECRET",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_STORAGE_TOKEN",
            "AZURE_STORAGE_CONNECTION_STRING",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_TOKEN",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "DATABRICKS_TOKEN",
            "DATABRICKS_CLIENT_SECRET",
            "IDENTITY_HEADER",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_CLIENT_ID",
            "AZURE_TENANT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_REGION",
            "AWS_PROFILE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "DATABRICKS_HOST",
            "HOME",
            "RUST_LOG",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        assert!(is_proxy("HTTPS_PROXY") && is_proxy("https_proxy") && !is_proxy("PROXY_HOST"));
    }
}

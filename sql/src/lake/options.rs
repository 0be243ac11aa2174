//! How a place is reached: who signs in, at which address, with how much patience.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::secret::Secret;

/// How the tables below one URI are reached.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its name, for messages.
    pub name: String,
    /// What the URIs of its tables begin with: a whole scheme (`s3://`), a container, or a folder in it.
    pub url: String,
    /// Who signs in.
    pub sign_in: SignIn,
    /// The address of the service, if it is not the cloud's.
    pub endpoint: Option<Url>,
    /// Where tokens of a service principal come from, if it is not the cloud's place.
    pub authority: Option<Url>,
    /// Additional trusted root certificates, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Region of a bucket.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of requests (`https://host/bucket/key`) and not in the name of the host.
    pub path_style: bool,
    /// Whether a write can be made to fail if something is there already. Without it nothing is written.
    pub conditional_put: bool,
    /// How much patience.
    pub limits: Limits,
}

impl StoreOptions {
    /// A store of this name for what begins with `url`, reached as the environment says.
    #[must_use]
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            sign_in: SignIn::Environment,
            endpoint: None,
            authority: None,
            ca_file: None,
            region: None,
            path_style: false,
            conditional_put: true,
            limits: Limits::default(),
        }
    }

    /// Whether the request or the token may go over plain HTTP, which the configuration allows to this machine only.
    pub(super) fn allows_http(&self) -> bool {
        [&self.endpoint, &self.authority].into_iter().flatten().any(|url| url.scheme() == "http")
    }
}

/// Who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// Whoever the environment names: variables, profiles, the identity of the machine.
    Environment,
    /// Nobody: the data is public.
    Anonymous,
    /// The key of an Azure storage account.
    AccountKey(Secret),
    /// A shared access signature of Azure, with or without its leading `?`.
    Sas(Secret),
    /// An application of Microsoft Entra with a secret; of Databricks for `uc://`, then without a tenant.
    ServicePrincipal {
        /// Its application id.
        client_id: String,
        /// Its directory; none for `uc://`.
        tenant_id: Option<String>,
        /// Its secret.
        client_secret: Secret,
    },
    /// The managed identity of the Azure machine.
    ManagedIdentity {
        /// Of several, the one with this client id.
        client_id: Option<String>,
    },
    /// The federated token that a cluster puts into a file.
    WorkloadIdentity,
    /// Whoever is signed in with `az login`.
    AzureCli,
    /// A key of AWS.
    AccessKey {
        /// Its id.
        id: String,
        /// Its secret.
        secret: Secret,
        /// Of a temporary key.
        session_token: Option<Secret>,
    },
    /// A profile of the AWS configuration files.
    Profile(String),
    /// The JSON key of a Google service account.
    ServiceAccount(Secret),
    /// A personal access token of Databricks.
    Token(Secret),
}

/// How much patience a store is treated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest that one request may stand still.
    pub timeout: Duration,
    /// The pause after the first try of an operation; each further pause is twice as long, up to ten seconds.
    pub first_pause: Duration,
    /// The longest that an operation is tried again.
    pub retry_budget: Duration,
    /// Requests of one container that wait for an answer at the same time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            first_pause: Duration::from_millis(200),
            retry_budget: Duration::from_secs(180),
            connections: 32,
        }
    }
}

//! Who signs in to a catalog: a token, or whoever can fetch one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::answers::Token;
use super::client::{Answer, Failure, Http, secret_header};
use crate::lake::options::{SignIn, StoreOptions};
use crate::lake::renewed::{Fresh, Renewed};
use crate::secret::{Lent, Secret};

/// Azure Databricks, as Microsoft Entra knows it: the same everywhere.
const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
/// How long a token is used that does not say how long it holds.
const SHORT_LIFE: u64 = 300;

/// Who signs in.
pub(super) enum Signer {
    /// Nobody: the catalog asks for nothing.
    Nobody,
    /// A token that does not end while we run, or that we could not renew.
    Fixed(Secret),
    /// Whoever can fetch a token.
    Fetched(Box<Fetcher>, Renewed<Lent, Failure>),
}

/// A token, for the header of one request.
pub(super) enum Held {
    Fixed(Secret),
    Lent(Arc<Lent>),
}

impl Held {
    pub(super) fn expose(&self) -> &str {
        match self {
            Self::Fixed(secret) => secret.expose(),
            Self::Lent(lent) => lent.expose(),
        }
    }
}

/// Ways to fetch a token.
pub(super) enum Fetcher {
    /// From Databricks itself.
    Databricks { host: Url, client_id: String, client_secret: Secret },
    /// From Microsoft Entra, with a secret or with the token that a cluster put into a file.
    Entra { url: Url, client_id: String, proof: Proof },
    /// From the Azure machine.
    Machine { client_id: Option<String>, http: Http },
    /// From the Azure CLI.
    Cli,
}

/// What an application shows of itself.
pub(super) enum Proof {
    Secret(Secret),
    File(String),
}

impl Signer {
    /// The token for the next request; `None` if it needs none.
    pub(super) async fn token(&self, http: &Http) -> Result<Option<Held>, Failure> {
        match self {
            Self::Nobody => Ok(None),
            Self::Fixed(token) => Ok(Some(Held::Fixed(token.clone()))),
            Self::Fetched(fetcher, tokens) => {
                let token = tokens.get(Instant::now, || fetcher.fetch(http)).await?;
                Ok(Some(Held::Lent(token)))
            }
        }
    }

    /// Whether another token can be had for one that is not taken.
    pub(super) fn forget(&self, token: &Held) -> bool {
        match (self, token) {
            (Self::Fetched(_, tokens), Held::Lent(token)) => {
                tokens.forget(token);
                true
            }
            _ => false,
        }
    }
}

impl Fetcher {
    async fn fetch(&self, http: &Http) -> Result<Fresh<Lent>, Failure> {
        let answer = match self {
            Self::Databricks { host, client_id, client_secret } => {
                let mut url = host.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().extend(["oidc", "v1", "token"]);
                }
                let form = form(&[
                    ("grant_type", "client_credentials"),
                    ("scope", "all-apis"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose()),
                ]);
                http.send(Method::POST, &url, HeaderMap::new(), Some(form)).await
            }
            Self::Entra { url, client_id, proof } => {
                let scope = format!("{DATABRICKS}/.default");
                let mut pairs = vec![
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id.as_str()),
                    ("scope", scope.as_str()),
                ];
                let assertion;
                match proof {
                    Proof::Secret(secret) => pairs.push(("client_secret", secret.expose())),
                    Proof::File(path) => {
                        // The cluster writes a new one now and then.
                        let text = tokio::fs::read_to_string(path).await.map_err(|error| {
                            Failure::Nobody(format!("the federated token cannot be read from {path}: {error}"))
                        })?;
                        assertion = Lent::new(text.trim());
                        pairs.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                        pairs.push(("client_assertion", assertion.expose()));
                    }
                }
                http.send(Method::POST, url, HeaderMap::new(), Some(form(&pairs))).await
            }
            Self::Machine { client_id, http } => of_machine(client_id.as_deref(), http).await,
            Self::Cli => return of_cli().await,
        };
        let answer = answer.map_err(|failure| match failure {
            Failure::Refused(refusal) => Failure::NotSignedIn(refusal),
            other => other,
        })?;
        fresh(answer.read()?, answer.now.timestamp())
    }
}

fn fresh(token: Token, now: i64) -> Result<Fresh<Lent>, Failure> {
    if token.access_token.is_empty() {
        return Err(Failure::Strange("the answer of the token endpoint holds no token".to_owned()));
    }
    let life = Some(Duration::from_secs(token.life(now).unwrap_or(SHORT_LIFE)));
    Ok(Fresh { value: Lent::new(token.access_token), life })
}

fn form(pairs: &[(&str, &str)]) -> (&'static str, String) {
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    ("application/x-www-form-urlencoded", text)
}

/// The token of a machine's managed identity: of a container or an app service if the environment says so, else of a
/// virtual machine.
async fn of_machine(client_id: Option<&str>, http: &Http) -> Result<Answer, Failure> {
    let (endpoint, secret) = (std::env::var("IDENTITY_ENDPOINT").ok(), std::env::var("IDENTITY_HEADER").ok());
    let mut headers = HeaderMap::new();
    let (endpoint, version) = match (endpoint, secret) {
        (Some(endpoint), Some(secret)) => {
            headers.insert(HeaderName::from_static("x-identity-header"), secret_header(&secret)?);
            (endpoint, "2019-08-01")
        }
        _ => {
            headers.insert(HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
            ("http://169.254.169.254/metadata/identity/oauth2/token".to_owned(), "2018-02-01")
        }
    };
    let mut url =
        Url::parse(&endpoint).map_err(|error| Failure::Nobody(format!("IDENTITY_ENDPOINT is no address: {error}")))?;
    url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", DATABRICKS);
    if let Some(id) = client_id {
        url.query_pairs_mut().append_pair("client_id", id);
    }
    http.send(Method::GET, &url, headers, None).await.map_err(|failure| match failure {
        Failure::Unreachable(message) => Failure::Nobody(format!("this machine has no managed identity ({message})")),
        other => other,
    })
}

/// The token of whoever is signed in with the Azure CLI.
async fn of_cli() -> Result<Fresh<Lent>, Failure> {
    let program = if cfg!(windows) { "az.cmd" } else { "az" };
    let run = tokio::process::Command::new(program)
        .args(["account", "get-access-token", "--output", "json", "--resource", DATABRICKS])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(Duration::from_secs(60), run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(Failure::Nobody(format!("the Azure CLI does not run: {error}"))),
        Err(_) => return Err(Failure::Nobody("the Azure CLI gives no answer".to_owned())),
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim().to_owned();
        return Err(Failure::Nobody(format!("nobody is signed in with az login: {line}")));
    }
    let token: Token = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::Nobody("the answer of the Azure CLI is not one of its".to_owned()))?;
    #[expect(clippy::disallowed_methods, reason = "how long a token holds is a matter of the real time")]
    fresh(token, chrono::Utc::now().timestamp())
}

/// Who signs in at `host`, and in words; the error says what is missing.
pub(super) fn signer(host: &Url, options: &StoreOptions, is_configured: bool) -> Result<(Signer, String), String> {
    let fetched = |fetcher| Signer::Fetched(Box::new(fetcher), Renewed::default());
    let of_databricks = |client_id: &str, client_secret: &Secret| {
        let (client_id, client_secret) = (client_id.to_owned(), client_secret.clone());
        fetched(Fetcher::Databricks { host: host.clone(), client_id, client_secret })
    };
    let (signer, sign_in) = match &options.sign_in {
        SignIn::Environment => {
            if let Some(token) = variable("DATABRICKS_TOKEN") {
                (Signer::Fixed(Secret::new(token)), "the token of the environment (DATABRICKS_TOKEN)".to_owned())
            } else if let (Some(id), Some(secret)) =
                (variable("DATABRICKS_CLIENT_ID"), variable("DATABRICKS_CLIENT_SECRET"))
            {
                let words = format!("service principal {id} of the environment (DATABRICKS_CLIENT_SECRET)");
                (of_databricks(&id, &Secret::new(secret)), words)
            } else {
                return Err("nobody is named who signs in to the catalog; set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID \
                            and DATABRICKS_CLIENT_SECRET, or write a [store.NAME] block with url = \"uc://\" and token, \
                            client_id and client_secret, managed_identity, workload_identity or azure_cli"
                    .to_owned());
            }
        }
        SignIn::Anonymous => (Signer::Nobody, "anonymously".to_owned()),
        SignIn::Token(token) => (Signer::Fixed(token.clone()), "the token".to_owned()),
        SignIn::ServicePrincipal { client_id, tenant_id: None, client_secret } => {
            (of_databricks(client_id, client_secret), format!("service principal {client_id}"))
        }
        SignIn::ServicePrincipal { client_id, tenant_id: Some(tenant), client_secret } => {
            let (url, proof) = (entra(options, tenant)?, Proof::Secret(client_secret.clone()));
            let words = format!("service principal {client_id} of Microsoft Entra");
            (fetched(Fetcher::Entra { url, client_id: client_id.clone(), proof }), words)
        }
        SignIn::WorkloadIdentity => {
            let (Some(client_id), Some(tenant), Some(file)) =
                (variable("AZURE_CLIENT_ID"), variable("AZURE_TENANT_ID"), variable("AZURE_FEDERATED_TOKEN_FILE"))
            else {
                return Err("a workload identity needs AZURE_CLIENT_ID, AZURE_TENANT_ID and \
                            AZURE_FEDERATED_TOKEN_FILE, which the cluster sets"
                    .to_owned());
            };
            let (url, words) = (entra(options, &tenant)?, format!("workload identity {client_id}"));
            (fetched(Fetcher::Entra { url, client_id, proof: Proof::File(file) }), words)
        }
        SignIn::ManagedIdentity { client_id } => {
            // Machines give tokens to their own programs over plain HTTP, at an address that leads nowhere else.
            let mut options = options.clone();
            options.limits.timeout = options.limits.timeout.min(Duration::from_secs(10));
            options.limits.retry_budget = options.limits.retry_budget.min(Duration::from_secs(20));
            let http = Http::new(&options, true)?;
            let words = match client_id {
                Some(id) => format!("managed identity {id}"),
                None => "the managed identity of this machine".to_owned(),
            };
            (fetched(Fetcher::Machine { client_id: client_id.clone(), http }), words)
        }
        SignIn::AzureCli => (fetched(Fetcher::Cli), "whoever is signed in with az login".to_owned()),
        SignIn::AccountKey(_)
        | SignIn::Sas(_)
        | SignIn::AccessKey { .. }
        | SignIn::Profile(_)
        | SignIn::ServiceAccount(_) => {
            return Err("its [store] block signs in to a cloud, not to a catalog; write token, or client_id and \
                        client_secret"
                .to_owned());
        }
    };
    Ok((signer, if is_configured { format!("{sign_in} of [store.{}]", options.name) } else { sign_in }))
}

/// Where Microsoft Entra gives tokens to the applications of a directory.
fn entra(options: &StoreOptions, tenant: &str) -> Result<Url, String> {
    let authority = match &options.authority {
        Some(authority) => authority.clone(),
        None => {
            let of_cloud = "https://login.microsoftonline.com".to_owned();
            let text = variable("AZURE_AUTHORITY_HOST").unwrap_or(of_cloud);
            Url::parse(&text).map_err(|error| format!("AZURE_AUTHORITY_HOST is no address: {error}"))?
        }
    };
    let mut url = authority;
    url.path_segments_mut()
        .map_err(|()| "the authority is no address of a web server".to_owned())?
        .pop_if_empty()
        .extend([tenant, "oauth2", "v2.0", "token"]);
    Ok(url)
}

/// A variable of the environment that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

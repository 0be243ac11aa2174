//! Requests to a catalog, and to those who say who we are: tried again while that can help.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequestBody};
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use super::answers::{Credentials, Refusal, TableInfo, TablePage};
use super::name::TableName;
use super::sign_in::Signer;
use crate::lake::client::{Elsewhere, retry_after, small_client, time_of};
use crate::lake::options::{Limits, StoreOptions};
use crate::lake::trouble::{cause, whole};
use crate::secret::redact;

/// What a request came to that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The service says no.
    #[error("{} {}", .0.status, .0.code)]
    Refused(Refusal),
    /// Those who say who we are say no.
    #[error("no token: {} {}", .0.status, .0.code)]
    NotSignedIn(Refusal),
    /// There is nobody who could sign in; the message says what is missing.
    #[error("{0}")]
    Nobody(String),
    /// The host is not there, or does not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// An answer that a catalog does not give.
    #[error("{0}")]
    Strange(String),
}

/// What may be done with the files of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    ReadWrite,
}

impl Operation {
    /// Its word in requests.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::ReadWrite => "READ_WRITE",
        }
    }
}

/// A catalog, and who signs in there.
pub(super) struct Catalog {
    host: Url,
    http: Http,
    signer: Signer,
    /// Who signs in, in words.
    pub(super) sign_in: String,
}

impl Catalog {
    pub(super) const fn new(host: Url, http: Http, signer: Signer, sign_in: String) -> Self {
        Self { host, http, signer, sign_in }
    }

    /// Its address, for messages.
    pub(super) fn host(&self) -> &str {
        self.host.as_str().trim_end_matches('/')
    }

    /// Whether it runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        is_loopback(&self.host)
    }

    /// What the catalog knows of a table, now.
    pub(super) async fn table(&self, name: &TableName) -> Result<TableInfo, Failure> {
        let answer = self.ask(Method::GET, &["tables", &name.to_string()], &[], None).await?;
        answer.read()
    }

    /// The names of the tables of a schema, or the first of many.
    pub(super) async fn tables(&self, name: &TableName) -> Result<Vec<String>, Failure> {
        let query = [
            ("catalog_name", name.catalog.as_str()),
            ("schema_name", name.schema.as_str()),
            ("omit_columns", "true"),
            ("omit_properties", "true"),
        ];
        let page: TablePage = self.ask(Method::GET, &["tables"], &query, None).await?.read()?;
        Ok(page.tables.into_iter().flatten().filter_map(|table| table.name).collect())
    }

    /// Temporary credentials for the files of a table, and how long they hold.
    pub(super) async fn credentials(
        &self,
        table_id: &str,
        operation: Operation,
    ) -> Result<(Credentials, Option<Duration>), Failure> {
        let body = json!({ "table_id": table_id, "operation": operation.word() });
        let answer = self.ask(Method::POST, &["temporary-table-credentials"], &[], Some(body)).await?;
        let credentials: Credentials = answer.read()?;
        let Some(end) = credentials.expiration_time else { return Ok((credentials, None)) };
        // By the catalog's own clock, so that ours may be wrong.
        let life = end.saturating_sub(answer.now.timestamp_millis());
        match u64::try_from(life) {
            Ok(life) if life > 0 => Ok((credentials, Some(Duration::from_millis(life)))),
            _ => Err(Failure::Strange("it handed out credentials that had ended already".to_owned())),
        }
    }

    /// Asks as whoever signs in. A token that is no longer taken is fetched once more.
    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<serde_json::Value>,
    ) -> Result<Answer, Failure> {
        let mut url = self.host.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "2.1", "unity-catalog"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let body = body.map(|body| ("application/json", body.to_string()));
        let mut is_first = true;
        loop {
            let token = self.signer.token(&self.http).await?;
            let mut headers = HeaderMap::new();
            if let Some(token) = &token {
                headers.insert(AUTHORIZATION, secret_header(&format!("Bearer {}", token.expose()))?);
            }
            match self.http.send(method.clone(), &url, headers, body.clone()).await {
                Err(Failure::Refused(Refusal { status: 401, .. }))
                    if is_first && token.as_ref().is_some_and(|token| self.signer.forget(token)) =>
                {
                    is_first = false;
                }
                answer => return answer,
            }
        }
    }
}

/// A header whose value is not shown.
pub(super) fn secret_header(value: &str) -> Result<HeaderValue, Failure> {
    let mut header = HeaderValue::from_str(value)
        .map_err(|_| Failure::Nobody("the credential holds characters that no header can".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Whether a URL leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A successful answer.
pub(super) struct Answer {
    /// The time by the service's clock.
    pub(super) now: DateTime<Utc>,
    body: Bytes,
}

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let mut read = serde_json::Deserializer::from_slice(&self.body);
        // What is in it may be secret, so the error says where, not what.
        T::deserialize(&mut read).map_err(|error| {
            Failure::Strange(format!(
                "its answer is not one of a catalog (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    }
}

/// A client with the patience of the `[store]` block.
#[derive(Debug)]
pub(super) struct Http {
    client: HttpClient,
    limits: Limits,
}

/// How one try ended.
struct Tried {
    failure: Failure,
    retry: Retry,
}

/// Whether to try again.
enum Retry {
    Never,
    Soon,
    After(Duration),
    /// Nobody takes the connection; a service that is started anew is back within seconds.
    Briefly,
}

/// How long a host that takes no connection is tried.
const BRIEFLY: Duration = Duration::from_secs(3);

impl Http {
    /// A client; the error is a message.
    pub(super) fn new(options: &StoreOptions, allows_http: bool) -> Result<Self, String> {
        Ok(Self { client: small_client(options, allows_http)?, limits: options.limits })
    }

    /// Sends a request until it succeeds, is refused for good, or there is no patience left.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<(&'static str, String)>,
    ) -> Result<Answer, Failure> {
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .without_max_times()
            .with_total_delay(Some(self.limits.retry_budget))
            .build();
        let start = Instant::now();
        let tried = (|| self.once(method.clone(), url, headers.clone(), body.clone()))
            .retry(BackoffOf(backoff))
            .when(|tried: &Tried| match tried.retry {
                Retry::Never => false,
                Retry::Briefly => start.elapsed() < BRIEFLY,
                Retry::Soon => start.elapsed() < self.limits.retry_budget,
                Retry::After(wait) => start.elapsed().saturating_add(wait) <= self.limits.retry_budget,
            })
            .adjust(|tried, delay| match tried.retry {
                Retry::After(wait) => delay.map(|delay| delay.max(wait)),
                _ => delay,
            })
            .notify(|tried, delay| {
                tracing::debug!(host = url.host_str(), failure = ?tried.failure, ?delay, "a catalog is asked again");
            });
        tried.await.map_err(|tried| match tried {
            Tried { failure: Failure::Refused(refusal), retry: Retry::After(wait) } => {
                let is_long = start.elapsed().saturating_add(wait) > self.limits.retry_budget;
                Failure::Refused(Refusal { asks: Some(wait).filter(|_| is_long), ..refusal })
            }
            tried => tried.failure,
        })
    }

    async fn once(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<(&'static str, String)>,
    ) -> Result<Answer, Tried> {
        let never = |failure| Tried { failure, retry: Retry::Never };
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(all) = request.headers_mut() {
            *all = headers;
            all.insert(ACCEPT, HeaderValue::from_static("application/json"));
            all.insert(USER_AGENT, HeaderValue::from_static(concat!("limnograph/", env!("CARGO_PKG_VERSION"))));
            if let Some((kind, _)) = &body {
                all.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
        }
        let body = body.map_or_else(HttpRequestBody::empty, |(_, text)| text.into());
        let request = request.body(body).map_err(|error| never(Failure::Strange(error.to_string())))?;
        let response = self.client.execute(request).await.map_err(|error| unreached(url, &error))?;
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|error| unreached(url, &error))?;
        if parts.status.is_success() {
            return Ok(Answer { now: time_of(&parts.headers), body });
        }
        let status = parts.status.as_u16();
        let failure = Failure::Refused(Refusal::of(status, &body));
        let retry = match (status, retry_after(&parts.headers)) {
            (429 | 503, Some(wait)) => Retry::After(wait),
            (408 | 429 | 500 | 502 | 503 | 504, _) => Retry::Soon,
            _ => Retry::Never,
        };
        Err(Tried { failure, retry })
    }
}

/// Backoff that is built already.
#[derive(Debug)]
struct BackoffOf(backon::ExponentialBackoff);

impl BackoffBuilder for BackoffOf {
    type Backoff = backon::ExponentialBackoff;

    fn build(self) -> Self::Backoff {
        self.0
    }
}

/// A request without an answer.
fn unreached(url: &Url, error: &HttpError) -> Tried {
    if let Some(elsewhere) = cause::<Elsewhere>(error) {
        return Tried { failure: Failure::Strange(elsewhere.to_string()), retry: Retry::Never };
    }
    let text = redact(&whole(error)).into_owned();
    let retry = match error.kind() {
        // A host without an address will have none in a minute either.
        HttpErrorKind::Connect if text.contains("dns error") || text.contains("certificate") => Retry::Never,
        HttpErrorKind::Connect => Retry::Briefly,
        HttpErrorKind::Decode => Retry::Never,
        _ => Retry::Soon,
    };
    let host = url.host_str().unwrap_or_default();
    Tried { failure: Failure::Unreachable(format!("{host}: {text}")), retry }
}

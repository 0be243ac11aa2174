//! The HTTP client of all stores.
//!
//! It tries nothing again by itself: one request is one request, and what comes of it is said so that
//! [`super::patience`] can tell whether to send it again.

mod body;
mod connection;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, RetryConfig};
use reqwest_of_stores::Certificate;

use super::options::{Limits, StoreOptions};
use super::timer::Machine;
pub(super) use connection::Elsewhere;
use service::Service;

/// A failure after which the same request may succeed a moment later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Transient {
    /// What happened: the status and the service's own words, or how the connection ended.
    pub what: String,
    /// How long the service asks to be left alone.
    pub after: Option<Duration>,
}

/// Seconds by which the service's clock is ahead of ours, as its last answer said; zero as long as there was none.
#[derive(Debug, Clone, Default)]
pub(super) struct Skew(Arc<AtomicI64>);

impl Skew {
    /// Seconds by which the service's clock is ahead.
    pub(super) fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "signatures are made by the clock of the machine, whatever a test says"
    )]
    fn note(&self, headers: &HeaderMap) {
        if let Some(theirs) = date_of(headers) {
            self.0.store((theirs - Utc::now()).num_seconds(), Ordering::Relaxed);
        }
    }
}

/// Makes the clients of one store.
#[derive(Debug)]
pub(super) struct Connector {
    skew: Skew,
    limits: Limits,
    certificates: Vec<Certificate>,
}

impl Connector {
    /// The connector of a store, and the time of its service; the error is a message.
    pub(super) fn new(options: &StoreOptions) -> Result<(Self, Skew), String> {
        let skew = Skew::default();
        Ok((Self { skew: skew.clone(), limits: options.limits, certificates: certificates(options)? }, skew))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = HttpClient::new(connection::connect(options, &self.certificates)?);
        Ok(HttpClient::new(Service {
            inner,
            skew: self.skew.clone(),
            limits: self.limits,
            timer: Arc::new(Machine::start()),
        }))
    }
}

/// The clients do not try again: they would send a put that may have been done as if it had not, would not know how long
/// the service asks to be left alone, and sign once for all tries.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// What all clients have in common. How long an answer may take is up to the [`Service`].
pub(super) fn client_options(options: &StoreOptions, allows_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allows_http)
        .with_timeout_disabled()
        .with_connect_timeout(options.limits.timeout.min(Duration::from_secs(10)))
        .with_pool_max_idle_per_host(options.limits.connections)
}

/// A client of small answers: one that is not there in time does not come. The error is a message.
pub(super) fn small_client(options: &StoreOptions, allows_http: bool) -> Result<HttpClient, String> {
    let client = client_options(options, allows_http).with_timeout(options.limits.timeout);
    let client = connection::connect(&client, &certificates(options)?).map_err(|error| error.to_string())?;
    Ok(HttpClient::new(client))
}

/// The certificates that are trusted beside the system's; the error is a message.
fn certificates(options: &StoreOptions) -> Result<Vec<Certificate>, String> {
    let Some(path) = &options.ca_file else { return Ok(Vec::new()) };
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Certificate::from_pem_bundle(&text).map_err(|error| format!("{} holds no certificates: {error}", path.display()))
}

/// How long the service asks to be left alone.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = || text("retry-after-ms").or_else(|| text("x-ms-retry-after-ms"))?.parse().ok();
    if let Some(millis) = millis() {
        return Some(Duration::from_millis(millis));
    }
    let text = text(RETRY_AFTER.as_str())?;
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // A moment, by the service's own clock.
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - time_of(headers)).to_std().ok(),
    }
}

/// The time by the service's clock, else by ours.
#[expect(clippy::disallowed_methods, reason = "how long a credential holds is a matter of the real time")]
pub(super) fn time_of(headers: &HeaderMap) -> DateTime<Utc> {
    date_of(headers).unwrap_or_else(Utc::now)
}

fn date_of(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_service_says_how_long_in_three_ways_and_as_long_as_it_likes() {
        let seconds = |pairs: &[_]| retry_after(&headers(pairs)).map(|wait| wait.as_secs_f64());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7.0));
        assert_eq!(seconds(&[("x-ms-retry-after-ms", "250"), ("retry-after", "1")]), Some(0.25));
        let (date, later) = ("Thu, 26 Nov 2026 10:00:00 GMT", "Thu, 26 Nov 2026 10:00:09 GMT");
        assert_eq!(seconds(&[("date", date), ("retry-after", later)]), Some(9.0));
        assert_eq!(seconds(&[("date", later), ("retry-after", date)]), None);
        assert_eq!(seconds(&[("retry-after", "86400")]), Some(86_400.0));
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        assert_eq!(seconds(&[]), None);
    }

    #[test]
    fn the_clock_of_the_service_is_noted() {
        let skew = Skew::default();
        skew.note(&headers(&[("content-length", "0")]));
        assert_eq!(skew.seconds(), 0);
        skew.note(&headers(&[("date", "Wed, 01 Jan 2200 00:00:00 GMT")]));
        assert!(skew.seconds() > 86_400);
    }
}

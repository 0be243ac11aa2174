//! The HTTP client of all stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::{Certificate, ClientOptions, RetryConfig};

use super::options::{Limits, StoreOptions};

/// Seconds by which the service's clock is ahead of ours, as its last answer said; zero as long as there was none.
#[derive(Debug, Clone, Default)]
pub(super) struct Skew(Arc<AtomicI64>);

impl Skew {
    /// Seconds by which the service's clock is ahead.
    pub(super) fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes the clients of one store.
#[derive(Debug)]
pub(super) struct Connector {
    skew: Skew,
}

impl Connector {
    pub(super) fn new() -> (Self, Skew) {
        let skew = Skew::default();
        (Self { skew: skew.clone() }, skew)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let _ = &self.skew;
        ReqwestConnector::default().connect(options)
    }
}

/// What a client tries again by itself: server errors, throttling, connections that break, for as long as the limits say.
pub(super) fn retries(limits: Limits) -> RetryConfig {
    RetryConfig { retry_timeout: limits.retry_budget, ..RetryConfig::default() }
}

/// What all clients have in common; the error is a message.
pub(super) fn client_options(options: &StoreOptions, allows_http: bool) -> Result<ClientOptions, String> {
    let mut client = ClientOptions::new()
        .with_allow_http(allows_http)
        .with_timeout(options.limits.timeout)
        .with_connect_timeout(options.limits.timeout.min(Duration::from_secs(10)))
        .with_pool_max_idle_per_host(options.limits.connections);
    if let Some(path) = &options.ca_file {
        let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let certificates = Certificate::from_pem_bundle(&text)
            .map_err(|error| format!("{} holds no certificates: {error}", path.display()))?;
        for certificate in certificates {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

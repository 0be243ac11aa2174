//! The client below the stores: what `object_store` builds, except that it goes where it was told to go and nowhere else.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::client::ClientConfigKey;
use object_store::{ClientOptions, Error};
use reqwest_of_stores::dns::{Addrs, Name, Resolve, Resolving};
use reqwest_of_stores::redirect::{Attempt, Policy};
use reqwest_of_stores::{Certificate, Client};
use url::Origin;

/// A service that sends requests on to another host. They hold credentials, so they are not sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{from} redirects to {to}, another host, to which nothing is sent")]
pub(in crate::lake) struct Elsewhere {
    pub(in crate::lake) from: String,
    pub(in crate::lake) to: String,
}

/// A client with these options, of which stores ask for some of their own, and these certificates beside the system's.
pub(super) fn connect(options: &ClientOptions, certificates: &[Certificate]) -> object_store::Result<Client> {
    let text = |key| options.get_config_value(&key);
    let time =
        |key| text(key).map(|text| humantime::parse_duration(&text)).transpose().map_err(|error| failed(error.into()));
    let allows_http = text(ClientConfigKey::AllowHttp).is_some_and(|flag| flag == "true");
    let mut builder = Client::builder()
        .user_agent(concat!("limnograph/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(|attempt| match elsewhere(&attempt) {
            Some(elsewhere) => attempt.error(elsewhere),
            None => Policy::default().redirect(attempt),
        }))
        .https_only(!allows_http)
        // Many requests at once are slower over one connection than over many.
        .http1_only()
        // The size of an object is that of the body.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .dns_resolver(Arc::new(Turning::default()));
    if let Some(headers) = options.get_default_headers() {
        builder = builder.default_headers(headers.clone());
    }
    if let Some(timeout) = time(ClientConfigKey::Timeout)? {
        builder = builder.timeout(timeout);
    }
    if let Some(timeout) = time(ClientConfigKey::ConnectTimeout)? {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(most) = text(ClientConfigKey::PoolMaxIdlePerHost).and_then(|most| most.parse().ok()) {
        builder = builder.pool_max_idle_per_host(most);
    }
    for certificate in certificates {
        builder = builder.add_root_certificate(certificate.clone());
    }
    builder.build().map_err(|error| failed(Box::new(error)))
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "HTTP client", source }
}

/// Where a redirect leads, if it leads to another host.
fn elsewhere(attempt: &Attempt<'_>) -> Option<Elsewhere> {
    let (from, to) = (attempt.previous().last()?.origin(), attempt.url().origin());
    (from != to).then(|| Elsewhere { from: shown(&from), to: shown(&to) })
}

fn shown(origin: &Origin) -> String {
    origin.ascii_serialization()
}

/// Looks up names, and begins with another address each time: a service that has several spreads its work so.
#[derive(Debug, Default)]
struct Turning(Arc<AtomicUsize>);

impl Resolve for Turning {
    fn resolve(&self, name: Name) -> Resolving {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let look_up = move || Ok::<_, std::io::Error>((name.as_str(), 0).to_socket_addrs()?.collect::<Vec<_>>());
            let found = tokio::task::spawn_blocking(look_up).await??;
            Ok(Box::new(turned(found, turn).into_iter()) as Addrs)
        })
    }
}

fn turned(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    if let Some(by) = turn.checked_rem(addresses.len()) {
        addresses.rotate_left(by);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use http::Request;
    use object_store::client::{HttpClient, HttpRequestBody};
    use url::Url;

    use super::*;
    use crate::lake::client::client_options;
    use crate::lake::options::StoreOptions;
    use crate::lake::test_server::Server;
    use crate::lake::trouble::{cause, whole};

    fn client(allows_http: bool) -> HttpClient {
        let options = client_options(&StoreOptions::new("lake", "https://"), allows_http);
        HttpClient::new(connect(&options, &[]).unwrap())
    }

    fn post(url: &Url) -> Request<HttpRequestBody> {
        Request::post(url.as_str()).body("secret=1".to_owned().into()).unwrap()
    }

    #[tokio::test]
    async fn a_redirect_is_followed_on_the_same_host_only() {
        let other = Server::start_at(None, |_| (200, "got it".to_owned()));
        let to = other.url.join("x?sig=abc").unwrap().to_string();
        let server = Server::start_at(None, move |request| match request.path.as_str() {
            "/near" => (307, "/here".to_owned()),
            "/far" => (308, to.clone()),
            "/round" => (307, "/round".to_owned()),
            _ => (200, request.body.clone()),
        });
        let ask = |path: &str| {
            let request = post(&server.url.join(path).unwrap());
            let client = client(true);
            async move { client.execute(request).await }
        };
        let near = ask("near").await.unwrap().into_body().bytes().await.unwrap();
        assert_eq!(near, "secret=1", "the same request is sent again");
        let far = ask("far").await.unwrap_err();
        let [from, to] = [&server.url, &other.url].map(|url| url.as_str().trim_end_matches('/').to_owned());
        assert_eq!(cause(&far), Some(&Elsewhere { from, to }), "{far:?}");
        assert_eq!(other.seen().len(), 0);
        let round = whole(&ask("round").await.unwrap_err());
        assert!(round.contains("too many redirects"), "{round}");
    }

    #[tokio::test]
    async fn nothing_is_sent_in_clear_text_unless_that_is_allowed() {
        let server = Server::start_at(None, |_| (200, String::new()));
        assert!(client(false).execute(post(&server.url)).await.is_err());
        assert_eq!(server.seen().len(), 0);
        assert!(client(true).execute(post(&server.url)).await.is_ok());
    }

    #[test]
    fn a_host_with_several_addresses_is_asked_at_each_in_turn() {
        let addresses: Vec<SocketAddr> = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port))).to_vec();
        let first: Vec<u16> = (0..4).map(|turn| turned(addresses.clone(), turn)[0].port()).collect();
        assert_eq!(first, [1, 2, 3, 1]);
        assert_eq!(turned(Vec::new(), 1), []);
    }
}

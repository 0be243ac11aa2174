//! Single files of a web server.

use std::sync::Arc;

use object_store::http::HttpBuilder;
use url::Url;

use super::client::{Connector, client_options, no_retries};
use super::options::{SignIn, StoreOptions};
use super::provider::{Opened, unusable};
use crate::Result;

/// Opens the host of `url`.
pub(super) fn open(url: &Url, options: &StoreOptions) -> Result<Opened> {
    if !matches!(options.sign_in, SignIn::Environment | SignIn::Anonymous) {
        return Err(unusable(url, "nobody signs in to a web server; leave the credential out of its [store] block"));
    }
    let client = client_options(options, url.scheme() == "http");
    let (connector, skew) = Connector::new(options).map_err(|message| unusable(url, message))?;
    let store = HttpBuilder::new()
        .with_url(&url[..url::Position::BeforePath])
        .with_client_options(client)
        .with_http_connector(connector)
        .with_retry(no_retries())
        .build()
        .map_err(|error| unusable(url, error.to_string()))?;
    Ok(Opened { store: Arc::new(store), parts: None, sign_in: "anonymously".to_owned(), skew, renewal: None })
}

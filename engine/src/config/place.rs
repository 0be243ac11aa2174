//! The places that a configuration may send to: web addresses, mail servers, and extra trusted certificates.

use std::path::{Path, PathBuf};

use url::{Host, Url};

use super::problem::quoted;
use super::raw::Value;

/// Where mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmtpUrl {
    /// `smtp://host:25`: not encrypted. With a login only on the loopback interface.
    Plain {
        /// Host name or address, an IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `smtp+starttls://host:587`: encryption is demanded before anything else is said.
    StartTls {
        /// Host name or address, an IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `smtps://host:465`: encrypted from the first byte.
    Tls {
        /// Host name or address, an IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `file:DIR`: each mail becomes a file `.eml` in this folder.
    File {
        /// The folder; relative to the current one, as given.
        dir: PathBuf,
    },
}

impl SmtpUrl {
    /// Whether mail leaves this machine without encryption.
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Plain { host, .. } if !is_loopback_name(host))
    }
}

/// Reads `smtp://`, `smtp+starttls://`, `smtps://` or `file:DIR`. The text is not repeated in messages: it may hold a password.
pub(super) fn read_smtp(value: &Value<'_>) -> Option<SmtpUrl> {
    let forms = || Some("write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER".to_owned());
    let text = value.text()?.value;
    if let Some(dir) = text.strip_prefix("file:") {
        // `file:///var/mail` names the same folder as `file:/var/mail`.
        let dir = match dir.strip_prefix("//") {
            None => dir,
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => {
                value.report("a file: address names no host", forms());
                return None;
            }
        };
        if dir.is_empty() {
            value.report("names no folder", forms());
            return None;
        }
        return Some(SmtpUrl::File { dir: dir.into() });
    }
    let Ok(url) = Url::parse(&text) else {
        value.report("is not the address of a mail server", forms());
        return None;
    };
    if refuses_credentials(value, &url, "username = \"…\" and password = { env = \"…\" }") {
        return None;
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        value.report("nothing may follow the host and port of a mail server", forms());
        return None;
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        value.report("names no host", forms());
        return None;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if url.port() == Some(0) {
        value.report("port 0 cannot be connected to", None);
        return None;
    }
    let port = |default| url.port().unwrap_or(default);
    match url.scheme() {
        "smtp" => Some(SmtpUrl::Plain { host, port: port(25) }),
        "smtp+starttls" => Some(SmtpUrl::StartTls { host, port: port(587) }),
        "smtps" => Some(SmtpUrl::Tls { host, port: port(465) }),
        _ => {
            value.report("is not the address of a mail server", forms());
            None
        }
    }
}

/// Reads an `https://` address, or `http://` to the loopback interface. The text is not repeated in messages: the
/// address of a webhook is often a secret in itself.
pub(super) fn read_http(value: &Value<'_>, text: &str) -> Option<Url> {
    let Ok(url) = Url::parse(text) else {
        value.report("is not a web address", Some("write https://HOST/PATH".to_owned()));
        return None;
    };
    let is_local = match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_local => {}
        "http" => {
            value.report(
                "http:// is allowed to this machine only, since it is readable on the way",
                Some("write https://…".to_owned()),
            );
            return None;
        }
        _ => {
            value.report("is not a web address", Some("write https://HOST/PATH".to_owned()));
            return None;
        }
    }
    if refuses_credentials(value, &url, "a header or token = { env = \"…\" }") {
        return None;
    }
    if url.port() == Some(0) {
        value.report("port 0 cannot be connected to", None);
        return None;
    }
    Some(url)
}

/// Reads a file of additional trusted root certificates, which must be there.
pub(super) fn read_ca_file(value: &Value<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(value.text()?.value);
    if !Path::is_file(&path) {
        value.report(
            format!("there is no file {}", quoted(&path.to_string_lossy())),
            Some("name a PEM file with the certificates to trust".to_owned()),
        );
        return None;
    }
    Some(path)
}

fn refuses_credentials(value: &Value<'_>, url: &Url, way: &str) -> bool {
    let found = !url.username().is_empty() || url.password().is_some();
    if found {
        value.report("an address holds no user name or password", Some(format!("use {way}")));
    }
    found
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

//! The one place where HTTP clients are built, and how their answers become errors.
//!
//! Only configured hosts are called: redirects are never followed. Certificates are checked against the
//! system's roots and, where given, one more file. Errors name `host:port` and never the path or query of
//! an address, which for many webhooks are the secret.

use std::{error::Error, path::Path, time::Duration};

use chrono::DateTime;
use reqwest::{Certificate, Client, Response, StatusCode, header, redirect};
use url::{Host, Url};

use super::DeliveryError;

/// What we call ourselves to servers.
pub const USER_AGENT: &str = concat!("limno/", env!("CARGO_PKG_VERSION"));
/// No server needs longer to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers are read up to here; what we need stands in the first line or object.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Characters of a foreign answer that an error shows.
const LONGEST_REASON: usize = 300;

/// Builds a client for one address.
///
/// Loopback addresses are called directly whatever the proxy variables say; others through the proxy of
/// `HTTPS_PROXY` where one is set.
///
/// # Errors
/// A `ca_file` that cannot be read, or no trusted roots on this system.
pub fn client(address: &Url, ca_file: Option<&Path>, timeout: Duration) -> Result<Client, DeliveryError> {
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .connect_timeout(timeout.min(CONNECT_TIMEOUT))
        .timeout(timeout);
    if is_loopback(address) {
        builder = builder.no_proxy();
    }
    if address.scheme() == "http" {
        // No TLS, so a system without certificates can still reach its own loopback.
        builder = builder.tls_certs_only([]);
    } else if let Some(path) = ca_file {
        let pem = read_ca_file(path)?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| DeliveryError::Invalid {
            target: path.display().to_string(),
            reason: root_cause(&error),
        })?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| DeliveryError::Invalid {
        target: target(address),
        reason: format!(
            "no HTTP client can be built: {}; are the system's CA certificates installed?",
            root_cause(&error)
        ),
    })
}

/// Reads a file of PEM certificates.
pub(crate) fn read_ca_file(path: &Path) -> Result<Vec<u8>, DeliveryError> {
    let pem =
        std::fs::read(path).map_err(|source| DeliveryError::File { path: path.to_owned(), action: "read", source })?;
    if String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        Ok(pem)
    } else {
        Err(DeliveryError::Invalid {
            target: path.display().to_string(),
            reason: "holds no PEM certificate (`-----BEGIN CERTIFICATE-----`)".to_owned(),
        })
    }
}

/// Whether an address is on this machine.
#[must_use]
pub fn is_loopback(address: &Url) -> bool {
    match address.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// `host:port` of an address, as errors name it.
pub(crate) fn target(address: &Url) -> String {
    let host = address.host_str().unwrap_or("?");
    match address.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What it means that a request got no answer.
pub(crate) fn no_answer(address: &Url, limit: Duration, error: &reqwest::Error) -> DeliveryError {
    let target = target(address);
    let reason = root_cause(error);
    if error.is_timeout() {
        DeliveryError::TimedOut { target, limit }
    } else if is_certificate_problem(&reason) {
        DeliveryError::Certificate { target, reason }
    } else if error.is_builder() {
        DeliveryError::Invalid { target, reason }
    } else {
        DeliveryError::Unreachable { target, reason }
    }
}

/// The answer of a server that said no, as an error. `secrets` are struck out of its text.
pub(crate) async fn refused(address: &Url, mut response: Response, secrets: &[&str]) -> DeliveryError {
    let target = target(address);
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let moved_to = response
        .headers()
        .get(header::LOCATION)
        .filter(|_| status.is_redirection())
        .and_then(|location| address.join(location.to_str().ok()?).ok());
    let reason = match moved_to {
        Some(elsewhere) => format!(
            "redirects to {}, and redirects are not followed; configure the address itself",
            self::target(&elsewhere)
        ),
        None => reason(&read(&mut response).await.unwrap_or_default(), secrets),
    };
    if status == StatusCode::UNAUTHORIZED {
        return DeliveryError::Login { target, user: None, reason };
    }
    DeliveryError::Refused {
        target,
        status: status.to_string(),
        reason,
        retryable: status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
        retry_after,
    }
}

/// The body of an answer, up to [`LONGEST_ANSWER`].
pub(crate) async fn read(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= LONGEST_ANSWER {
            body.truncate(LONGEST_ANSWER);
            break;
        }
    }
    Ok(body)
}

/// What a server's answer says, in one short line: `error_code: message` where it has that shape.
pub(crate) fn reason(body: &[u8], secrets: &[&str]) -> String {
    let field =
        |json: &serde_json::Value, name: &str| json.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let text = match serde_json::from_slice(body) {
        Ok(json) => match (field(&json, "error_code"), field(&json, "message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => String::from_utf8_lossy(body).into_owned(),
        },
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    one_line(&text, secrets)
}

/// Foreign text, shortened to one line, with our secrets struck out.
pub(crate) fn one_line(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.is_empty() {
        return "(no text)".to_owned();
    }
    match line.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How long a server asks to be left alone. A date is taken relative to the server's own clock.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = asked.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(asked).ok()?;
    let now = DateTime::parse_from_rfc2822(text(header::DATE)?).ok()?;
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

/// The innermost cause of an error, which is the one that says what happened.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether a root cause is TLS's refusal of the other side's certificate. The libraries between us keep
/// rustls' type to themselves, so its text decides.
pub(crate) fn is_certificate_problem(reason: &str) -> bool {
    reason.starts_with("invalid peer certificate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> header::HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let later = "Wed, 21 Oct 2015 07:28:09 GMT";
        for (pairs, expected) in [
            (vec![(header::RETRY_AFTER, "7")], Some(7)),
            (vec![(header::RETRY_AFTER, later), (header::DATE, date)], Some(9)),
            (vec![(header::RETRY_AFTER, date), (header::DATE, later)], Some(0)),
            (vec![(header::RETRY_AFTER, later)], None),
            (vec![(header::RETRY_AFTER, "soon")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&pairs)), expected.map(Duration::from_secs));
        }
    }

    #[test]
    fn a_reason_is_one_short_line_without_secrets() {
        let body = br#"{"error_code":"PERMISSION_DENIED","message":"token dapi123 may not\nrun"}"#;
        assert_eq!(reason(body, &["dapi123"]), "PERMISSION_DENIED: token *** may not run");
        assert_eq!(reason(b"", &[]), "(no text)");
        assert_eq!(reason("ä".repeat(400).as_bytes(), &[]).chars().count(), LONGEST_REASON + 1);
    }

    #[test]
    fn loopback_is_recognised() {
        for (address, expected) in [
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]/", true),
            ("http://localhost:8/", true),
            ("https://localhost.example.com/", false),
            ("https://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&address.parse().unwrap()), expected);
        }
    }
}

//! Notifiers: who is told of an alert, and how.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use reqwest::header;
use url::Url;

use super::place::{SmtpUrl, read_ca_file, read_http, read_smtp};
use super::problem::{name_hint, quoted};
use super::raw::{Section, Value, choice};
use super::secret::{Env, Secret, read_secret};

/// One `[notifier.NAME]`.
#[derive(Debug, Clone)]
pub enum NotifierConfig {
    /// `kind = "email"`
    Email(EmailConfig),
    /// `kind = "webhook"`
    Webhook(WebhookConfig),
}

impl NotifierConfig {
    /// The name by which rules know it.
    pub fn name(&self) -> &str {
        match self {
            Self::Email(email) => &email.name,
            Self::Webhook(webhook) => &webhook.name,
        }
    }

    /// The line of its table.
    pub fn line(&self) -> usize {
        match self {
            Self::Email(email) => email.line,
            Self::Webhook(webhook) => webhook.line,
        }
    }
}

/// Sends a mail over SMTP, or writes it to a folder.
#[derive(Debug, Clone)]
pub struct EmailConfig {
    /// The name by which rules know it.
    pub name: String,
    /// The line of its table.
    pub line: usize,
    /// The mail server or folder.
    pub smtp: SmtpUrl,
    /// Set together with `password`, never for a folder, and never where the login would travel unencrypted.
    pub username: Option<String>,
    /// Set together with `username`.
    pub password: Option<Secret>,
    /// One mailbox, as `Name <user@host>` or `user@host`.
    pub from: String,
    /// At least one mailbox.
    pub to: Vec<String>,
    /// PEM file of additional trusted root certificates.
    pub ca_file: Option<PathBuf>,
}

/// Posts a JSON document to an address.
#[derive(Clone)]
pub struct WebhookConfig {
    /// The name by which rules know it.
    pub name: String,
    /// The line of its table.
    pub line: usize,
    /// `https`, or `http` to this machine. Its path and query may be a secret; show [`WebhookConfig::target`] instead.
    pub url: Url,
    /// Additional request headers, their names in lowercase, names and values valid for HTTP.
    pub headers: BTreeMap<String, HeaderValue>,
    /// PEM file of additional trusted root certificates.
    pub ca_file: Option<PathBuf>,
    /// For the whole request; above zero.
    pub timeout: Duration,
}

impl WebhookConfig {
    /// Scheme, host and port: the part of the address that may be shown.
    pub fn target(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl Debug for WebhookConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("name", &self.name)
            .field("line", &self.line)
            .field("url", &format_args!("{}/***", self.target()))
            .field("headers", &self.headers)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The value of a request header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// Written in the configuration.
    Plain(String),
    /// From the environment or a file.
    Secret(Secret),
}

impl HeaderValue {
    /// The text to send. That of a secret must reach no log, error, table or mail.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(value) => value,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Email,
    Webhook,
}

const KINDS: &[(&str, Kind)] = &[("email", Kind::Email), ("webhook", Kind::Webhook)];

pub(super) fn read_notifier(name: &str, value: &Value<'_>, env: &dyn Env) -> Option<NotifierConfig> {
    let mut section = value.section()?;
    let kind = section.require("kind", "\"email\" or \"webhook\"").and_then(|kind| choice(&kind, KINDS));
    match kind {
        None => {
            section.abandon();
            None
        }
        Some(Kind::Email) => read_email(name, section, env).map(NotifierConfig::Email),
        Some(Kind::Webhook) => read_webhook(name, section, env).map(NotifierConfig::Webhook),
    }
}

fn read_email(name: &str, mut section: Section<'_>, env: &dyn Env) -> Option<EmailConfig> {
    let line = section.at.line;
    let smtp_value =
        section.require("smtp", "the mail server, such as smtp+starttls://mail.example.com:587, or file:FOLDER");
    let smtp = smtp_value.as_ref().and_then(read_smtp);
    let username_value = section.take("username");
    let username = username_value.as_ref().and_then(Value::text);
    let password_value = section.take("password");
    let password = password_value.as_ref().and_then(|value| read_secret(value, name, env));
    let from = section.require("from", "the sender's address").and_then(|value| read_mailbox(&value));
    let to = section.require("to", "the list of the recipients' addresses").and_then(|value| read_recipients(&value));
    let ca_file = section.take("ca_file").and_then(|value| read_ca_file(&value));

    match (&username_value, &password_value) {
        (Some(username), None) => username.report(
            "a user name without a password",
            Some("add password = { env = \"…\" }, or leave both out".to_owned()),
        ),
        (None, Some(password)) => password
            .report("a password without a user name", Some("add username = \"…\", or leave both out".to_owned())),
        (Some(username), Some(_)) => match &smtp {
            Some(SmtpUrl::File { .. }) => {
                username.report("a folder takes no login", None);
            }
            Some(exposed) if exposed.is_exposed() => {
                if let Some(value) = &smtp_value {
                    value.report(
                        "a login over smtp:// would cross the network unencrypted",
                        Some("use smtp+starttls:// or smtps://".to_owned()),
                    );
                }
            }
            _ => {}
        },
        (None, None) => {}
    }
    section.finish();

    Some(EmailConfig {
        name: name.to_owned(),
        line,
        smtp: smtp?,
        username: username.map(|username| username.value),
        password,
        from: from?,
        to: to?,
        ca_file,
    })
}

fn read_recipients(value: &Value<'_>) -> Option<Vec<String>> {
    let items = value.items("an array of addresses")?;
    if items.is_empty() {
        value.report("is empty, expected at least one address", None);
        return None;
    }
    items.iter().map(read_mailbox).collect()
}

fn read_mailbox(value: &Value<'_>) -> Option<String> {
    let text = value.text()?.value;
    // lettre's parser stops at the end of the first mailbox and ignores what follows, so the end is looked at here.
    let is_one = text.parse::<Mailbox>().is_ok_and(|mailbox| {
        let address = mailbox.email.to_string();
        let end = text.trim_end();
        end.strip_suffix('>').unwrap_or(end).trim_end().ends_with(&address)
    });
    if !is_one || text.contains(char::is_control) {
        value.report(
            format!("{} is not a mail address", quoted(&text)),
            Some("write \"user@example.com\" or \"Name <user@example.com>\"".to_owned()),
        );
        return None;
    }
    Some(text)
}

fn read_webhook(name: &str, mut section: Section<'_>, env: &dyn Env) -> Option<WebhookConfig> {
    let line = section.at.line;
    let url = section.require("url", "the address to post to, or { env = \"…\" }").and_then(|value| {
        // Many chat systems put the secret into the address itself.
        let text =
            if value.is_table() { read_secret(&value, name, env)?.expose().to_owned() } else { value.text()?.value };
        read_http(&value, &text)
    });
    let headers =
        section.take("headers").and_then(|value| value.section()).map(|headers| read_headers(name, headers, env));
    let ca_file = section.take("ca_file").and_then(|value| read_ca_file(&value));
    let timeout = section.take("timeout").and_then(|value| value.timeout());
    section.finish();
    Some(WebhookConfig {
        name: name.to_owned(),
        line,
        url: url?,
        headers: headers.unwrap_or_default(),
        ca_file,
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
    })
}

fn read_headers(owner: &str, section: Section<'_>, env: &dyn Env) -> BTreeMap<String, HeaderValue> {
    let mut headers = BTreeMap::new();
    for (name, value) in section.into_entries() {
        let Ok(header_name) = header::HeaderName::from_bytes(name.as_bytes()) else {
            value.report(format!("{} cannot be the name of a header", quoted(name)), None);
            continue;
        };
        if SET_BY_US.contains(&header_name) {
            value.report(format!("{header_name} is set by limno itself"), None);
            continue;
        }
        let header = if value.is_table() || names_a_secret(header_name.as_str()) {
            read_secret(&value, owner, env).map(HeaderValue::Secret)
        } else {
            value.string().map(HeaderValue::Plain)
        };
        let Some(header) = header else { continue };
        if header::HeaderValue::from_str(header.expose()).is_err() {
            value.report("cannot be sent as a header: only visible ASCII characters and spaces", None);
            continue;
        }
        if headers.insert(header_name.to_string(), header).is_some() {
            value.report(format!("header {header_name} is given twice"), None);
        }
    }
    headers
}

/// Headers that follow from the request itself.
const SET_BY_US: &[header::HeaderName] =
    &[header::CONTENT_LENGTH, header::CONTENT_TYPE, header::HOST, header::TRANSFER_ENCODING, header::CONNECTION];

/// Whether a header by its name carries a credential, so that its value may not stand in the configuration.
fn names_a_secret(header: &str) -> bool {
    const PARTS: &[&str] =
        &["authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "signature"];
    PARTS.iter().any(|part| header.contains(part))
}

/// Checks the names that a rule gives in `notify` or `trigger` against those that are configured.
pub(super) fn known_names(value: &Value<'_>, what: &str, names: &[&str]) -> Vec<super::Located<String>> {
    let given = value.texts().unwrap_or_default();
    for name in &given {
        if !names.contains(&name.value.as_str()) {
            let hint = name_hint(&name.value, names).unwrap_or_else(|| format!("add a table [{what}.{}]", name.value));
            value.sink.report_located(name, format!("there is no {what} {}", quoted(&name.value)), Some(hint));
        }
    }
    given
}

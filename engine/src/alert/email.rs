//! Mail: over SMTP (plain, STARTTLS, implicit TLS; with or without login) or into a folder of `.eml` files.
//!
//! A mail is the same bytes however often it is made: date and Message-ID come from the message, and the
//! MIME boundary is derived from its id.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    address::Envelope,
    message::{
        Mailbox, MultiPart, MultiPartKind, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use sha2::{Digest, Sha256};

use super::{AlertMessage, DeliveryError, Notifier, Receipt, RetryPolicy, render};
use crate::{
    config::{EmailConfig, Secret, SmtpUrl},
    delivery::{http, visible},
};

/// The longest that one attempt may take, from connecting to the last answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The latest date that a mail's header can carry: the end of the year 9999.
const LAST_DATE: i64 = 253_402_300_799;

/// Sends alerts as mail.
pub struct EmailNotifier {
    name: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    user: Option<String>,
    /// To strike it out of what the server says.
    password: Option<Secret>,
    way: Way,
    retry: RetryPolicy,
    timeout: Duration,
}

/// How mail leaves.
enum Way {
    Smtp {
        mailer: AsyncSmtpTransport<Tokio1Executor>,
        /// `host:port`, for messages.
        target: String,
    },
    Folder(PathBuf),
}

impl fmt::Debug for EmailNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the mailer, which holds the password.
        f.debug_struct("EmailNotifier")
            .field("name", &self.name)
            .field("way", &self.destination())
            .finish_non_exhaustive()
    }
}

impl EmailNotifier {
    /// Takes over a configuration. Nothing is reached yet.
    ///
    /// # Errors
    /// A mailbox that is none, a user without password, a `ca_file` that cannot be used.
    pub fn new(config: EmailConfig) -> Result<Self, DeliveryError> {
        let mailbox = |text: &String| {
            text.parse::<Mailbox>().map_err(|error| DeliveryError::Invalid {
                target: format!("notifier `{}`", config.name),
                reason: format!("`{}` is no mailbox: {error}", visible(text, 100)),
            })
        };
        Ok(Self {
            from: mailbox(&config.from)?,
            to: config.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            way: Way::new(&config)?,
            name: config.name,
            user: config.username,
            password: config.password,
            retry: RetryPolicy::default(),
            timeout: TIMEOUT,
        })
    }

    /// Replaces the pauses between attempts.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Replaces the time that one attempt may take (30 s).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The mail as it is sent: bytes for the wire, without its envelope.
    ///
    /// # Errors
    /// An id that cannot stand in a header or a file name, or a date outside 1970–9999.
    pub fn mail(&self, message: &AlertMessage) -> Result<Vec<u8>, DeliveryError> {
        Ok(self.compose(message)?.formatted())
    }

    fn compose(&self, message: &AlertMessage) -> Result<Message, DeliveryError> {
        let invalid = |reason: String| DeliveryError::Invalid { target: format!("notifier `{}`", self.name), reason };
        let id = &message.id;
        // It becomes a Message-ID and a file name.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 64 || !id.chars().all(is_plain) {
            return Err(invalid(format!(
                "`{}` is no message id: 1 to 64 ASCII letters, digits, `-` and `_`",
                visible(id, 100)
            )));
        }
        if !(0..=LAST_DATE).contains(&message.created_at.timestamp()) {
            return Err(invalid(format!("a mail cannot be dated {}", message.created_at)));
        }
        let rendered = render(message)?;
        let mut builder = Message::builder()
            .message_id(Some(format!("<{id}@limnograph>")))
            .date(SystemTime::from(message.created_at))
            .from(self.from.clone())
            .subject(rendered.subject)
            .raw_header(header("X-Limno-Monitor", &message.monitor))
            .raw_header(header("X-Limno-Severity", &message.severity.to_string()))
            // Keeps out-of-office replies away (RFC 3834).
            .raw_header(header("Auto-Submitted", "auto-generated"));
        for mailbox in &self.to {
            builder = builder.to(mailbox.clone());
        }
        let body = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(boundary(id))
            .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(rendered.text))
            .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(rendered.html));
        builder.multipart(body).map_err(|error| invalid(error.to_string()))
    }

    fn destination(&self) -> String {
        match &self.way {
            Way::Smtp { target, .. } => target.clone(),
            Way::Folder(folder) => folder.display().to_string(),
        }
    }

    /// Sends to everyone at once; a server that refuses one recipient refuses the mail, so then each
    /// recipient is tried alone, that one retired address does not silence the others.
    async fn send(
        &self,
        mailer: &AsyncSmtpTransport<Tokio1Executor>,
        target: &str,
        mail: &Message,
    ) -> Result<Receipt, DeliveryError> {
        let bytes = mail.formatted();
        let refusal = match self.attempt(mailer, target, mail.envelope(), &bytes).await {
            Err(error) if self.to.len() > 1 && is_about_a_recipient(&error) => error,
            result => return result,
        };
        let mut receipt = None;
        let mut refused = Vec::new();
        for mailbox in &self.to {
            let envelope = self.envelope_for(&mailbox.email, target)?;
            match self.attempt(mailer, target, &envelope, &bytes).await {
                Ok(taken) => receipt = Some(taken),
                // Better twice to some than never to one.
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    tracing::warn!(target: "limno::delivery", notifier = %self.name, recipient = %mailbox.email, %error, "a recipient is refused");
                    refused.push(format!("{}: {error}", mailbox.email));
                }
            }
        }
        match receipt {
            None => Err(refusal),
            Some(receipt) => {
                Ok(Receipt { detail: format!("{}; not accepted: {}", receipt.detail, refused.join("; ")) })
            }
        }
    }

    fn envelope_for(&self, recipient: &Address, target: &str) -> Result<Envelope, DeliveryError> {
        Envelope::new(Some(self.from.email.clone()), vec![recipient.clone()])
            .map_err(|error| DeliveryError::Invalid { target: target.to_owned(), reason: error.to_string() })
    }

    async fn attempt(
        &self,
        mailer: &AsyncSmtpTransport<Tokio1Executor>,
        target: &str,
        envelope: &Envelope,
        bytes: &[u8],
    ) -> Result<Receipt, DeliveryError> {
        let response = self.retry.run("mail", || self.timed(target, mailer.send_raw(envelope, bytes))).await?;
        let text: Vec<&str> = response.message().collect();
        Ok(Receipt { detail: http::one_line(&format!("{} {}", response.code(), text.join(" ")), &self.secrets()) })
    }

    /// Bounds an exchange with the server; lettre itself bounds only the connecting.
    async fn timed<T>(
        &self,
        target: &str,
        exchange: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, DeliveryError> {
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result.map_err(|error| self.explain(target, &error)),
            Err(_) => Err(DeliveryError::TimedOut { target: target.to_owned(), limit: self.timeout }),
        }
    }

    fn secrets(&self) -> Vec<&str> {
        self.password.iter().map(Secret::expose).filter(|password| !password.is_empty()).collect()
    }

    fn explain(&self, target: &str, error: &lettre::transport::smtp::Error) -> DeliveryError {
        let target = target.to_owned();
        let cause = http::root_cause(error);
        let reason = http::one_line(&cause, &self.secrets());
        if http::is_certificate_problem(&cause) {
            DeliveryError::Certificate { target, reason }
        } else if let Some(code) = error.status() {
            let code = code.to_string();
            // 530, 534, 535, 538: about who we are (RFC 4954).
            if code.starts_with("53") {
                DeliveryError::Login { target, user: self.user.clone(), reason: format!("{code} {reason}") }
            } else {
                DeliveryError::Refused {
                    target,
                    status: code,
                    reason,
                    retryable: error.is_transient(),
                    retry_after: None,
                }
            }
        } else if error.is_timeout() {
            DeliveryError::TimedOut { target, limit: self.timeout }
        } else if error.is_client() || error.is_tls() {
            // No STARTTLS, no login mechanism in common: nothing that time heals.
            DeliveryError::Invalid { target, reason }
        } else if cause.contains("corrupt message") {
            DeliveryError::Invalid {
                target,
                reason: format!(
                    "{reason}: the server does not speak TLS at once on this port; is it one for `smtp+starttls://`?"
                ),
            }
        } else {
            DeliveryError::Unreachable { target, reason }
        }
    }
}

impl Way {
    fn new(config: &EmailConfig) -> Result<Self, DeliveryError> {
        let tls = |host: &String| -> Result<TlsParameters, DeliveryError> {
            let invalid = |error: lettre::transport::smtp::Error| DeliveryError::Invalid {
                target: host.clone(),
                reason: format!("TLS cannot be set up: {}", http::root_cause(&error)),
            };
            let mut parameters = TlsParameters::builder(host.clone());
            if let Some(path) = &config.ca_file {
                let pem = http::read_ca_file(path)?;
                let certificate = Certificate::from_pem(&pem).map_err(invalid)?;
                parameters = parameters.add_root_certificate(certificate);
            }
            parameters.build().map_err(invalid)
        };
        let (host, port, security) = match &config.smtp {
            SmtpUrl::File { dir } => return Ok(Self::Folder(dir.clone())),
            SmtpUrl::Plain { host, port } => (host, *port, Tls::None),
            SmtpUrl::StartTls { host, port } => (host, *port, Tls::Required(tls(host)?)),
            SmtpUrl::Tls { host, port } => (host, *port, Tls::Wrapper(tls(host)?)),
        };
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut mailer = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(security)
            .timeout(Some(TIMEOUT));
        match (&config.username, &config.password) {
            (Some(user), Some(password)) => {
                mailer = mailer.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
            }
            (None, None) => {}
            _ => {
                return Err(DeliveryError::Invalid {
                    target,
                    reason: "a login needs both `username` and `password`".to_owned(),
                });
            }
        }
        Ok(Self::Smtp { mailer: mailer.build(), target })
    }
}

#[async_trait]
impl Notifier for EmailNotifier {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, message: &AlertMessage) -> Result<Receipt, DeliveryError> {
        let mail = self.compose(message)?;
        match &self.way {
            Way::Smtp { mailer, target } => self.send(mailer, target, &mail).await,
            Way::Folder(folder) => {
                let path = write_mail(folder, &message.id, &mail.formatted()).await?;
                Ok(Receipt { detail: path.display().to_string() })
            }
        }
    }

    async fn check(&self) -> Result<String, DeliveryError> {
        match &self.way {
            Way::Smtp { mailer, target } => {
                if self.timed(target, mailer.test_connection()).await? {
                    let login = match &self.user {
                        Some(user) => format!(", login `{user}` accepted"),
                        None => String::new(),
                    };
                    Ok(format!("mail server {target} answers{login}"))
                } else {
                    Err(DeliveryError::Unreachable {
                        target: target.clone(),
                        reason: "it greets us, then hangs up".to_owned(),
                    })
                }
            }
            Way::Folder(folder) => check_folder(folder).await,
        }
    }
}

/// A header whose value is kept on one line and encoded where it is not ASCII.
fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), visible(value, 200))
}

/// `=_` can stand neither in quoted-printable nor in base64, and no line of our text can start with `--`
/// and a hash that its writer would have to guess.
fn boundary(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let hex: String = digest.iter().take(20).map(|b| format!("{b:02x}")).collect();
    format!("limno=_{hex}")
}

/// Whether a refusal can be one recipient's: RFC 5321's replies about mailboxes, and 554.
fn is_about_a_recipient(error: &DeliveryError) -> bool {
    matches!(error, DeliveryError::Refused { status, retryable: false, .. } if status.starts_with("55"))
}

/// Writes a mail under its id: whole or not at all, and the same file when it is delivered again.
async fn write_mail(folder: &Path, id: &str, bytes: &[u8]) -> Result<PathBuf, DeliveryError> {
    tokio::fs::create_dir_all(folder).await.map_err(failed(folder, "created"))?;
    let path = folder.join(format!("{id}.eml"));
    let half = folder.join(format!(".{id}.{}.part", std::process::id()));
    let written = async {
        tokio::fs::write(&half, bytes).await?;
        tokio::fs::rename(&half, &path).await
    }
    .await;
    if let Err(source) = written {
        // Nothing to be done where even this fails: the first error is the one to tell.
        tokio::fs::remove_file(&half).await.ok();
        return Err(failed(&path, "written")(source));
    }
    Ok(path)
}

/// Whether mail could be written: tried in the folder, or where it would be created.
async fn check_folder(folder: &Path) -> Result<String, DeliveryError> {
    let mut place = folder;
    while !tokio::fs::try_exists(place).await.unwrap_or(false) {
        place = match place.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => break,
        };
    }
    let probe = place.join(format!(".limno-check.{}", std::process::id()));
    tokio::fs::write(&probe, b"").await.map_err(failed(place, "written"))?;
    tokio::fs::remove_file(&probe).await.map_err(failed(&probe, "written"))?;
    Ok(if place == folder {
        format!("mail folder {} is writable", folder.display())
    } else {
        format!("mail folder {} can be created", folder.display())
    })
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> DeliveryError {
    let path = path.to_owned();
    move |source| DeliveryError::File { path, action, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::message::tests::message;

    fn notifier(dir: &Path) -> EmailNotifier {
        EmailNotifier::new(EmailConfig {
            name: "oncall".into(),
            line: 1,
            smtp: SmtpUrl::File { dir: dir.to_owned() },
            username: None,
            password: None,
            from: "Limnograph <limno@example.com>".into(),
            to: vec!["a@example.com".into(), "B <b@example.com>".into()],
            ca_file: None,
        })
        .unwrap()
    }

    fn files(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The header lines of a mail, unfolded.
    fn headers(mail: &[u8]) -> Vec<String> {
        let text = String::from_utf8(mail.to_vec()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        unfolded.split("\r\n").map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_folder_gets_the_mail_that_would_be_sent() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("mail/deep");
        let notifier = notifier(&dir);
        let receipt = notifier.notify(&message()).await.unwrap();
        let path = dir.join("0f1e2d3c.eml");
        assert_eq!(receipt.detail, path.display().to_string());
        let written = std::fs::read(&path).unwrap();
        assert_eq!(written, notifier.mail(&message()).unwrap());
        notifier.notify(&message()).await.unwrap();
        assert_eq!(files(&dir), ["0f1e2d3c.eml"]);
    }

    #[tokio::test]
    async fn checking_a_folder_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("mail");
        let said = notifier(&dir).check().await.unwrap();
        assert!(said.ends_with("can be created"), "{said}");
        assert!(files(root.path()).is_empty());
        std::fs::create_dir(&dir).unwrap();
        let said = notifier(&dir).check().await.unwrap();
        assert!(said.ends_with("is writable"), "{said}");
        assert!(files(&dir).is_empty());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let notifier = notifier(&file.join("mail"));
        for error in [notifier.check().await.unwrap_err(), notifier.notify(&message()).await.unwrap_err()] {
            assert!(error.to_string().contains("/file"), "{error}");
            assert!(!error.is_retryable());
        }
    }

    #[test]
    fn the_header_carries_who_when_and_which() {
        let mail = notifier(Path::new("x")).mail(&message()).unwrap();
        let headers = headers(&mail);
        for line in [
            "Message-ID: <0f1e2d3c@limnograph>",
            "Date: Mon, 30 Dec 2013 07:00:01 +0000",
            "From: Limnograph <limno@example.com>",
            "To: a@example.com, B <b@example.com>",
            "X-Limno-Monitor: flights",
            "X-Limno-Severity: critical",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(headers.iter().any(|header| header == line), "{line} is not in {headers:#?}");
        }
        assert!(headers.iter().any(|h| h.starts_with("Content-Type: multipart/alternative")));
        let text = String::from_utf8(mail).unwrap();
        assert!(text.contains("Content-Type: text/plain; charset=utf-8"));
        assert!(text.contains("Content-Type: text/html; charset=utf-8"));
        assert!(text.contains("1. dep_delay: population_stability_index 0.4312 (certified within +0.00098)"));
    }

    #[test]
    fn no_name_reaches_a_header_of_its_own() {
        let mut message = message();
        message.id = "f".repeat(64);
        message.monitor = "x\r\nBcc: all@example.com\r\n\r\nbody".into();
        message.breaches[0].column = format!("ä\nBcc: all@example.com{}", "y".repeat(2_000));
        let mail = notifier(Path::new("x")).mail(&message).unwrap();
        let headers = headers(&mail);
        let names: Vec<_> = headers.iter().map(|header| header.split_once(':').unwrap().0).collect();
        assert_eq!(
            names,
            [
                "Message-ID",
                "Date",
                "From",
                "Subject",
                "X-Limno-Monitor",
                "X-Limno-Severity",
                "Auto-Submitted",
                "To",
                "MIME-Version",
                "Content-Type"
            ]
        );
        let id = "f".repeat(64);
        assert_eq!(headers[0], format!("Message-ID: <{id}@limnograph>"));
        assert!(mail.split(|byte| *byte == b'\n').all(|line| line.len() <= 998));
        assert!(mail.is_ascii());
    }

    #[test]
    fn what_no_mail_can_carry_is_refused() {
        let notifier = notifier(Path::new("x"));
        for id in ["", "../x", "a b", "a\r\nBcc: x", &"f".repeat(65)] {
            let mut message = message();
            message.id = id.into();
            let error = notifier.mail(&message).unwrap_err();
            assert!(error.to_string().contains("is no message id"), "{error}");
        }
        let mut message = message();
        message.created_at = chrono::DateTime::UNIX_EPOCH - chrono::TimeDelta::days(1);
        notifier.mail(&message).unwrap_err();
    }

    #[test]
    fn a_password_shows_nowhere() {
        let notifier = EmailNotifier::new(EmailConfig {
            name: "oncall".into(),
            line: 1,
            smtp: SmtpUrl::Tls { host: "::1".into(), port: 465 },
            username: Some("limno".into()),
            password: Some(Secret::new("hunter2")),
            from: "limno@example.com".into(),
            to: vec!["a@example.com".into()],
            ca_file: None,
        })
        .unwrap();
        let shown = format!("{notifier:?}");
        assert!(shown.contains("[::1]:465"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

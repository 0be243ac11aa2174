//! Alerts: what is said ([`message`]), how it reads ([`render`]) and how it is delivered.
//!
//! A [`Notifier`] delivers one [`AlertMessage`] to one place. Delivery is at least once: a message keeps
//! its id over every attempt, so that the receiving side can recognise a repetition. What is to be
//! delivered, and whether it was, is the caller's book-keeping; a notifier remembers nothing.

pub mod email;
pub mod event;
mod format;
pub mod message;
pub mod outbox;
mod retry;
mod template;
pub mod webhook;
pub(crate) mod wire;

use std::{fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

pub use self::{
    message::{AlertMessage, BinShare, Breach},
    retry::RetryPolicy,
    template::{Rendered, render},
};
use crate::config::NotifierConfig;

/// One place that alerts are delivered to.
#[async_trait]
pub trait Notifier: Debug + Send + Sync {
    /// The name that the configuration gives it.
    fn name(&self) -> &str;

    /// Delivers one message, with a few short retries where they can help.
    ///
    /// # Errors
    /// The last attempt's error. The message may have arrived all the same (a connection can break
    /// after the receiver took it), so a later call can repeat it, with the same id.
    async fn notify(&self, message: &AlertMessage) -> Result<Receipt, DeliveryError>;

    /// Reaches the receiver, and logs in where there is a login, without delivering anything.
    /// Answers one line for people.
    ///
    /// # Errors
    /// What stands in the way of a delivery.
    async fn check(&self) -> Result<String, DeliveryError>;
}

/// What the receiver said when it took a message or a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// One line for people: the path of the file, the server's answer, the number of the run.
    pub detail: String,
}

/// Why a delivery failed. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// No connection, or one that broke.
    #[error("{target} cannot be reached: {reason}")]
    Unreachable {
        /// The receiver, as `host:port`.
        target: String,
        /// What the network said.
        reason: String,
    },
    /// No answer in time.
    #[error("{target} did not answer within {}", humantime::format_duration(*.limit))]
    TimedOut {
        /// The receiver, as `host:port`.
        target: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The receiver's certificate is not to be trusted.
    #[error(
        "the certificate of {target} is refused: {reason}; if its issuer is your own, name its certificate in `ca_file`"
    )]
    Certificate {
        /// The receiver, as `host:port`.
        target: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The receiver does not accept who we say we are.
    #[error("{target} refuses the login{}: {reason}", .user.as_ref().map(|u| format!(" of `{u}`")).unwrap_or_default())]
    Login {
        /// The receiver, as `host:port`.
        target: String,
        /// The configured user, where there is one.
        user: Option<String>,
        /// The receiver's answer.
        reason: String,
    },
    /// The receiver answered, and said no.
    #[error("{target} answers {status}: {reason}")]
    Refused {
        /// The receiver, as `host:port`.
        target: String,
        /// Its status: an SMTP reply code or an HTTP status line.
        status: String,
        /// The rest of its answer, shortened.
        reason: String,
        /// Whether the receiver means "not now" rather than "no".
        retryable: bool,
        /// How long the receiver asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A setting, or the message itself, that cannot be used.
    #[error("{target}: {reason}")]
    Invalid {
        /// The notifier or trigger, or its receiver.
        target: String,
        /// What is wrong and the way out.
        reason: String,
    },
    /// A file or folder that cannot be used.
    #[error("`{}` cannot be {action}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// `read`, `written` or `created`.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command that could not be started, or ended badly.
    #[error("command `{program}` {reason}")]
    Command {
        /// The program, without its arguments (they may hold what is not for logs).
        program: String,
        /// What happened, with the last lines of its standard error.
        reason: String,
    },
}

impl DeliveryError {
    /// Whether the same attempt may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused { retryable, .. } => *retryable,
            Self::Certificate { .. }
            | Self::Login { .. }
            | Self::Invalid { .. }
            | Self::File { .. }
            | Self::Command { .. } => false,
        }
    }

    /// How long the receiver asks to be left alone before the next attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The notifier that a configuration describes. Nothing is reached yet.
///
/// # Errors
/// A `ca_file` that cannot be read, a header or an address that cannot be used.
pub fn build(config: &NotifierConfig) -> Result<Arc<dyn Notifier>, DeliveryError> {
    Ok(match config {
        NotifierConfig::Email(config) => Arc::new(email::EmailNotifier::new(config.clone())?),
        NotifierConfig::Webhook(config) => Arc::new(webhook::WebhookNotifier::new(config.clone())?),
    })
}

/// A line of foreign text for an error: control characters spelled out, at most 200 characters.
pub(crate) fn one_visible_line(text: &str) -> String {
    format::visible(text, 200)
}

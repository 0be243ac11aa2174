//! What sending has in common, whether a message to people or a call of a job: receipts, failures, short retries, HTTP.

pub mod http;
mod retry;
mod visible;

use std::{path::PathBuf, time::Duration};

pub use retry::RetryPolicy;
pub(crate) use visible::visible;

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

//! What an error of a store means for the user, in one message that says what to do.
//!
//! A store answers with a status and a word of its own ([`answer`]). What the word means depends on the service and on
//! who signed in ([`who`]): a missing permission is a role for an identity, and another signature for a signature.

mod answer;
mod azure;
mod entra;
mod gcs;
mod s3;
mod unreachable;
mod who;

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::time::Duration;

use object_store::path::Path;

use super::client::{Elsewhere, Skew};
use super::location::{Service, container_word, shown};
use crate::secret::redact;

use answer::Answer;
use who::{Way, Who};

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Objects were read.
    Read,
    /// The names below a folder were read.
    List,
    /// Something was written or deleted.
    Write,
}

impl Access {
    const fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
        }
    }
}

/// Why a store did not do what it was asked for, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Trouble {
    /// What kind of trouble it is.
    pub kind: TroubleKind,
    /// The whole message: where, who signed in, why not, and a hint.
    pub message: String,
    /// The message for those who meant to write there and were only looking first: more must be granted to them.
    pub(super) to_writers: Option<String>,
}

impl Trouble {
    pub(super) const fn new(kind: TroubleKind, message: String) -> Self {
        Self { kind, message, to_writers: None }
    }
}

/// Kinds of trouble that have a way out of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TroubleKind {
    /// The credential is no credential, or not of this place.
    WrongCredential,
    /// The credential was good once.
    Expired,
    /// The credential is good, but may not do this.
    NotAllowed,
    /// Nobody signed in where somebody must.
    NoCredential,
    /// There is no such container or bucket.
    NoContainer,
    /// There is no such table in a catalog.
    NoTable,
    /// The container or bucket is in another region than the one that was asked.
    WrongRegion,
    /// The name of the host leads nowhere, or nobody answers there.
    Unreachable,
    /// The clocks are too far apart for signatures to hold.
    Clock,
    /// The store cannot keep two writers apart.
    NoConditionalPut,
    /// The service answers, but not with what was asked for, however often it is asked.
    Unavailable,
}

/// Makes messages about one store.
pub(super) struct Explainer {
    pub(super) service: Service,
    /// The URL of the container, bucket or host.
    pub(super) authority: String,
    /// Who signs in, in words.
    pub(super) sign_in: String,
    pub(super) skew: Skew,
}

/// Clocks further apart than this make signatures invalid at every service.
const LARGEST_SKEW: i64 = 240;

/// What was found out about an error.
struct Finding {
    kind: TroubleKind,
    /// What is wrong.
    what: String,
    /// What to do.
    hint: String,
}

impl Finding {
    fn new(kind: TroubleKind, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: hint.into() }
    }
}

/// A request that was tried until there was no patience left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    /// How often it failed.
    pub(super) times: u32,
    /// How long after the first failure the last one came.
    pub(super) time: Duration,
    /// How long the service asks to be left alone, if that is longer than it is tried.
    pub(super) asked: Option<Duration>,
}

/// A request that failed as often, for this reason at last.
fn unavailable(tried: Tried, reason: Option<String>) -> Finding {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let Tried { times, time, asked } = tried;
    let asks = asked.map(|asked| format!(", and asks to be left alone for {} s", asked.as_secs())).unwrap_or_default();
    Finding::new(
        TroubleKind::Unavailable,
        format!("the service fails, {times} times within {:.0} s{asks}{reason}", time.as_secs_f64()),
        "try again later; retry_budget of the [store] block says how long it is tried",
    )
}

/// All that is known of a request that failed.
struct Case<'a> {
    answer: &'a Answer,
    access: Access,
    /// Who signed in, in words.
    sign_in: &'a str,
    who: Who<'a>,
    /// `container` or `bucket`, and its name.
    word: &'static str,
    container: &'a str,
    /// The host, or the storage account, that the URL names; empty if it names none.
    host: &'a str,
    authority: &'a str,
}

impl Explainer {
    /// The error with a [`Trouble`] as its source where one is known; its kind stays what it was where callers look at it.
    /// Of what was tried again, `tried` says how often and how long.
    pub(super) fn explain(
        &self,
        error: object_store::Error,
        access: Access,
        path: &Path,
        tried: Option<Tried>,
    ) -> object_store::Error {
        use object_store::Error;
        if self.service == Service::Disk || trouble_in(&error).is_some() {
            return error;
        }
        let text = redact(&whole(&error)).into_owned();
        let answer = Answer::of(&text);
        // What it answers is said anyway.
        let reason = || answer.said().is_none().then(|| redact(&innermost(&error)).into_owned());
        let found = self.find(&error, &answer, &text, access).or_else(|| Some(unavailable(tried?, reason())));
        let Some(found) = found else { return error };
        let path = path.to_string();
        let place = shown(format!("{}/{path}", self.authority).trim_end_matches('/'));
        let said = answer.said().map(|said| format!(" ({said})")).unwrap_or_default();
        let told = |access: Access, Finding { what, hint, .. }: Finding| {
            format!("cannot {} {place}: {what}{said}\n  hint: {hint}", access.verb())
        };
        let kind = found.kind;
        let to_writers = (kind == TroubleKind::NotAllowed && access != Access::Write)
            .then(|| Some(told(Access::Write, self.find(&error, &answer, &text, Access::Write)?)))
            .flatten();
        let source = Box::new(Trouble { kind, message: told(access, found), to_writers });
        match kind {
            TroubleKind::NotAllowed => Error::PermissionDenied { path, source },
            TroubleKind::WrongCredential | TroubleKind::Expired | TroubleKind::NoCredential => {
                Error::Unauthenticated { path, source }
            }
            _ => Error::Generic { store: "lake", source },
        }
    }

    fn find(&self, error: &object_store::Error, answer: &Answer, text: &str, access: Access) -> Option<Finding> {
        let case = self.case(answer, access);
        if let Some(elsewhere) = cause::<Elsewhere>(error) {
            return Some(unreachable::of_redirect(elsewhere));
        }
        let is_not_implemented = matches!(error, object_store::Error::NotImplemented { .. });
        if is_not_implemented && ["ConditionalPut", "conditional", "put_opts"].iter().any(|word| text.contains(word)) {
            return Some(Finding::new(
                TroubleKind::NoConditionalPut,
                "the store cannot refuse to replace what is there already, so two writers could lose each other's work",
                "write to a store that knows conditional writes (If-None-Match), as S3, Azure and GCS do",
            ));
        }
        if answer.is_refusal() && self.skew.seconds().abs() > LARGEST_SKEW {
            return Some(case.clock(self.skew.seconds()));
        }
        // Those who say who signs in are asked first, and their answers look alike at every service.
        let of_tokens = entra::find(&case).or_else(|| gcs::find_of_tokens(&case));
        let of_service = || match self.service {
            Service::Azure => azure::find(&case),
            Service::S3 => s3::find(&case),
            Service::Gcs => gcs::find(&case),
            Service::Web | Service::Disk | Service::Unity => None,
        };
        of_tokens
            .or_else(of_service)
            .or_else(|| case.by_status())
            .or_else(|| who::find_nobody(&case, text))
            .or_else(|| case.refused_without_answer(error))
            .or_else(|| unreachable::find(&case, text))
    }

    fn case<'a>(&'a self, answer: &'a Answer, access: Access) -> Case<'a> {
        let rest = self.authority.split_once("://").map_or(self.authority.as_str(), |(_, rest)| rest);
        let (container, host) = rest.split_once('@').unwrap_or((rest, ""));
        Case {
            answer,
            access,
            sign_in: &self.sign_in,
            who: Who::of(&self.sign_in),
            word: container_word(self.service),
            container,
            host: if self.service == Service::Web { rest } else { host },
            authority: &self.authority,
        }
    }
}

impl Case<'_> {
    /// The credential is not taken.
    fn wrong(&self, hint: impl Into<String>) -> Finding {
        Finding::new(TroubleKind::WrongCredential, format!("{} is not accepted", self.sign_in), hint)
    }

    fn expired(&self, hint: impl Into<String>) -> Finding {
        Finding::new(TroubleKind::Expired, format!("{} has expired", self.sign_in), hint)
    }

    fn not_allowed(&self, hint: impl Into<String>) -> Finding {
        let what = format!("{} may not {} there", self.sign_in, self.access.verb());
        Finding::new(TroubleKind::NotAllowed, what, hint)
    }

    fn no_container(&self, hint: impl Into<String>) -> Finding {
        let what = format!("there is no {} {}", self.word, self.container);
        Finding::new(TroubleKind::NoContainer, what, hint)
    }

    fn no_credential(&self, hint: impl Into<String>) -> Finding {
        let what = match self.who.way {
            Way::Anonymous => "it is not public, and nobody signs in there".to_owned(),
            _ => format!("nobody could sign in ({})", self.sign_in),
        };
        Finding::new(TroubleKind::NoCredential, what, hint)
    }

    /// By how many seconds the service's clock is ahead; zero if that is not known.
    fn clock(&self, seconds: i64) -> Finding {
        let apart = match seconds {
            0 => "too far".to_owned(),
            _ => format!("{} minutes {}", seconds.abs() / 60, if seconds > 0 { "behind" } else { "ahead" }),
        };
        Finding::new(
            TroubleKind::Clock,
            format!("the clock of this machine is {apart} from the service's, so no signature holds"),
            "set the clock of this machine (NTP)",
        )
    }

    /// A refusal in words that are none of those that we know, or without any.
    fn by_status(&self) -> Option<Finding> {
        match self.answer.status? {
            401 => Some(self.wrong(self.general())),
            403 => Some(self.not_allowed(self.grant())),
            _ => None,
        }
    }

    /// What those who sign in came to by themselves.
    fn refused_without_answer(&self, error: &object_store::Error) -> Option<Finding> {
        match error {
            object_store::Error::Unauthenticated { .. } => Some(self.wrong(self.general())),
            object_store::Error::PermissionDenied { .. } => Some(self.not_allowed(self.grant())),
            _ => None,
        }
    }

    fn general(&self) -> String {
        format!("check that the credential is whole, still valid, and of this account, and set it {}", self.who.place())
    }

    /// What is to be granted.
    fn grant(&self) -> String {
        match self.word {
            "container" => azure::grant(self),
            "bucket" if self.authority.starts_with("s3") => s3::grant(self),
            "bucket" => gcs::grant(self),
            _ => "ask the owner of the place for access".to_owned(),
        }
    }
}

/// The trouble somewhere among an error and its causes.
#[must_use]
pub fn trouble_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Trouble> {
    cause(error)
}

/// The error of a kind somewhere among an error and its causes.
pub(super) fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The cause of all causes of an error.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// An error with all its causes in one text.
pub(super) fn whole(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

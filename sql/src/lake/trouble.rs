//! What an error of a store means for the user, in one message that says what to do.

use std::error::Error as StdError;
use std::time::Duration;

use object_store::path::Path;

use super::client::Skew;
use super::location::{Service, container_word, shown};
use crate::secret::redact;

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

/// Why a store did not do what it was asked for, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Trouble {
    /// What kind of trouble it is.
    pub kind: TroubleKind,
    /// The whole message: where, who signed in, why not, and a hint.
    pub message: String,
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

impl Explainer {
    /// The error with a [`Trouble`] as its source where one is known; its kind stays what it was where callers look at it.
    /// Of what was tried again, `tried` says how often and how long.
    pub(super) fn explain(
        &self,
        error: object_store::Error,
        access: Access,
        path: &Path,
        tried: Option<(u32, Duration)>,
    ) -> object_store::Error {
        use object_store::Error;
        if self.service == Service::Disk || trouble_in(&error).is_some() {
            return error;
        }
        let text = redact(&whole(&error)).into_owned();
        let Some(kind) = self.kind(&error, &text).or(tried.map(|_| TroubleKind::Unavailable)) else { return error };
        let source = Box::new(Trouble { kind, message: self.message(kind, access, path, &text, tried) });
        let path = path.to_string();
        match kind {
            TroubleKind::NotAllowed => Error::PermissionDenied { path, source },
            TroubleKind::WrongCredential | TroubleKind::Expired | TroubleKind::NoCredential => {
                Error::Unauthenticated { path, source }
            }
            _ => Error::Generic { store: "lake", source },
        }
    }

    fn kind(&self, error: &object_store::Error, text: &str) -> Option<TroubleKind> {
        use object_store::Error;
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let is_refused = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
        if (is_refused || says(&["400 Bad Request"]))
            && (says(&["RequestTimeTooSkewed"]) || self.skew.seconds().abs() > LARGEST_SKEW)
        {
            return Some(TroubleKind::Clock);
        }
        if says(&["ContainerNotFound", "NoSuchBucket", "ContainerBeingDeleted", "The specified bucket does not exist"])
        {
            return Some(TroubleKind::NoContainer);
        }
        if matches!(error, Error::NotImplemented { .. }) && says(&["ConditionalPut", "conditional", "put_opts"]) {
            return Some(TroubleKind::NoConditionalPut);
        }
        if says(&["ExpiredToken", "Signature not valid in the specified time frame", "TokenExpired", "AADSTS7000222"])
            || (is_refused && says(&["expired", "Expired"]))
        {
            return Some(TroubleKind::Expired);
        }
        if says(&[
            "AuthorizationPermissionMismatch",
            "AuthorizationFailure",
            "AccessDenied",
            "AuthorizationSourceIPMismatch",
        ]) || says(&[
            "does not have storage.objects",
            "AuthorizationServiceMismatch",
            "AuthorizationResourceTypeMismatch",
        ]) {
            return Some(TroubleKind::NotAllowed);
        }
        if says(&[
            "NoAuthenticationInformation",
            "PublicAccessNotPermitted",
            "no providers in chain",
            "CredentialsNotLoaded",
        ]) || (says(&["169.254.169.254", "metadata.google.internal"]) && !is_refused)
            || says(&["az login", "Azure CLI", "the credential provider was not enabled"])
        {
            return Some(TroubleKind::NoCredential);
        }
        let wrong = [
            "AuthenticationFailed",
            "InvalidAuthenticationInfo",
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "InvalidToken",
            "AADSTS",
            "invalid_client",
            "invalid_grant",
            "unauthorized_client",
        ];
        if says(&wrong) || matches!(error, Error::Unauthenticated { .. }) {
            return Some(TroubleKind::WrongCredential);
        }
        if matches!(error, Error::PermissionDenied { .. }) {
            return Some(TroubleKind::NotAllowed);
        }
        let unreachable = [
            "dns error",
            "Connection refused",
            "tcp connect error",
            "error trying to connect",
            "client error (Connect)",
        ];
        says(&unreachable).then_some(TroubleKind::Unreachable)
    }

    fn message(
        &self,
        kind: TroubleKind,
        access: Access,
        path: &Path,
        text: &str,
        tried: Option<(u32, Duration)>,
    ) -> String {
        let place = shown(&format!("{}/{path}", self.authority));
        let (who, word) = (&self.sign_in, container_word(self.service));
        let container = self.container();
        let verb = match access {
            Access::Read => "read",
            Access::List => "list",
            Access::Write => "write",
        };
        let (what, hint) = match kind {
            TroubleKind::WrongCredential => (
                format!("{who} is not accepted"),
                "check that the credential is whole, still valid, and of this account".to_owned(),
            ),
            TroubleKind::Expired => {
                (format!("{who} has expired"), "issue a new one, and set it where limno runs".to_owned())
            }
            TroubleKind::NotAllowed => (format!("{who} may not {verb} there"), self.role(access)),
            TroubleKind::NoCredential => (format!("nobody could sign in ({who})"), self.ways()),
            TroubleKind::NoContainer => (
                format!("there is no {word} {container}"),
                format!("create the {word} or correct its name; limno never creates one"),
            ),
            TroubleKind::NoTable => ("there is no such table".to_owned(), "check its name".to_owned()),
            TroubleKind::Unreachable => (
                "nobody answers there".to_owned(),
                "check the name of the account or host, the network, and the endpoint of the [store] block".to_owned(),
            ),
            TroubleKind::Clock => (
                format!("the clock of this machine is {} from the service's, so no signature holds", self.apart()),
                "set the clock of this machine (NTP)".to_owned(),
            ),
            TroubleKind::NoConditionalPut => (
                "the store cannot refuse to replace what is there already, so two writers could lose each other's work"
                    .to_owned(),
                "write to a store that knows conditional writes (If-None-Match), as S3, Azure and GCS do".to_owned(),
            ),
            TroubleKind::Unavailable => (
                format!("the service fails{}", in_vain(tried)),
                "try again later; retry_budget of the [store] block says how long it is tried".to_owned(),
            ),
        };
        let reason = reason(text).map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("cannot {verb} {place}: {what}{reason}\n  hint: {hint}")
    }

    fn container(&self) -> &str {
        let rest = self.authority.split_once("://").map_or(self.authority.as_str(), |(_, rest)| rest);
        rest.split('@').next().unwrap_or(rest)
    }

    fn apart(&self) -> String {
        match self.skew.seconds() {
            0 => "too far".to_owned(),
            seconds => format!("{} minutes {}", seconds.abs() / 60, if seconds > 0 { "behind" } else { "ahead" }),
        }
    }

    /// What is to be granted.
    fn role(&self, access: Access) -> String {
        let container = self.container();
        match (self.service, access) {
            (Service::Azure, Access::Write) => format!(
                "grant the role \"Storage Blob Data Contributor\" on container {container} to this identity; a shared \
                 access signature needs the permissions racwdl; a firewall must let this machine in"
            ),
            (Service::Azure, _) => format!(
                "grant the role \"Storage Blob Data Reader\" on container {container} to this identity; a shared access \
                 signature needs the permissions rl; a firewall must let this machine in"
            ),
            (Service::S3, Access::Write) => format!(
                "grant s3:GetObject, s3:PutObject and s3:DeleteObject on arn:aws:s3:::{container}/*, and s3:ListBucket on \
                 arn:aws:s3:::{container}"
            ),
            (Service::S3, _) => format!(
                "grant s3:GetObject on arn:aws:s3:::{container}/* and s3:ListBucket on arn:aws:s3:::{container}"
            ),
            (Service::Gcs, Access::Write) => {
                format!("grant the role \"Storage Object User\" (roles/storage.objectUser) on bucket {container}")
            }
            (Service::Gcs, _) => {
                format!("grant the role \"Storage Object Viewer\" (roles/storage.objectViewer) on bucket {container}")
            }
            (Service::Web | Service::Disk | Service::Unity, _) => "ask the owner of the place for access".to_owned(),
        }
    }

    /// How one can sign in.
    fn ways(&self) -> String {
        let ways = match self.service {
            Service::Azure => {
                "account_key, sas_token, client_secret, managed_identity, workload_identity or azure_cli, or the \
                 variables AZURE_…"
            }
            Service::S3 => "access_key_id and secret_access_key, or profile, or the variables AWS_…",
            Service::Gcs => "service_account, or GOOGLE_APPLICATION_CREDENTIALS",
            Service::Web | Service::Disk | Service::Unity => "a credential",
        };
        format!("say in a [store.NAME] block with url = \"{}\" who signs in: {ways}", self.authority)
    }
}

/// The trouble somewhere among an error and its causes.
#[must_use]
pub fn trouble_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Trouble> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        cause = error.source();
    }
    None
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

fn in_vain(tried: Option<(u32, Duration)>) -> String {
    tried.map(|(times, time)| format!(", {times} times within {:.0} s", time.as_secs_f64())).unwrap_or_default()
}

/// The service's own word for what went wrong, if it used one.
fn reason(text: &str) -> Option<String> {
    let between = |start: &str, end: &str| {
        let rest = &text[text.find(start)? + start.len()..];
        Some(rest[..rest.find(end)?].to_owned())
    };
    let code = between("<Code>", "</Code>");
    let status = between("status code: ", ": ");
    let aad = text.find("AADSTS").map(|at| text[at..].chars().take_while(char::is_ascii_alphanumeric).collect());
    match (aad, code, status) {
        (Some(code), _, _) | (None, Some(code), None) => Some(code),
        (None, Some(code), Some(status)) => Some(format!("{status}, {code}")),
        (None, None, status) => status,
    }
}

//! What Azure Storage means by its words.
//!
//! The words: <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes> and
//! <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>; the sentences that tell an expired
//! signature from a wrong one stand in `AuthenticationErrorDetail`.

use chrono::{DateTime, Utc};

use super::who::{Way, ways};
use super::{Access, Case, Finding, TroubleKind};

const READER: &str = "Storage Blob Data Reader";
const CONTRIBUTOR: &str = "Storage Blob Data Contributor";

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let (container, account) = (case.container, account(case));
    let found = match case.answer.code.as_str() {
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => unauthenticated(case),
        // The emulator has one word for all that is wrong with a signature or a key.
        "AuthorizationFailure" if case.answer.says(&["failed to authenticate"]) => unauthenticated(case),
        "KeyBasedAuthenticationNotPermitted" => Finding::new(
            TroubleKind::NotAllowed,
            format!("{} is not taken, as the storage account {account} takes no keys, nor signatures by a key", case.sign_in),
            format!(
                "let an identity sign in instead: managed_identity, workload_identity, azure_cli, or client_id, tenant_id \
                 and client_secret; it needs the role \"{}\" on container {container}",
                role(case.access),
            ),
        ),
        "AuthorizationFailure" => case.not_allowed(format!(
            "most often it is the firewall of the storage account {account}: let this machine in under Networking, or go \
             by a private endpoint; if it does let it in, {}",
            grant(case)
        )),
        "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions" | "UnauthorizedBlobOverwrite" => {
            case.not_allowed(grant(case))
        }
        "AuthorizationSourceIPMismatch" => case.not_allowed(
            "the signature is for other addresses (sip) than that of this machine, or the address is not let in: issue one \
             for its address",
        ),
        "AuthorizationProtocolMismatch" => {
            case.not_allowed("the signature is for another protocol (spr): issue one for https")
        }
        "AuthorizationServiceMismatch" => {
            case.not_allowed("the signature is for another service (ss): issue one for blobs (ss=b)")
        }
        "AuthorizationResourceTypeMismatch" => case.not_allowed(
            "the signature is for other kinds of things (srt): issue one for containers and objects (srt=co), or one of \
             the container alone",
        ),
        "AccountIsDisabled" => Finding::new(
            TroubleKind::NotAllowed,
            format!("the storage account {account} is disabled"),
            "ask the owner of the subscription, which may have ended or reached its limit",
        ),
        "NoAuthenticationInformation" | "PublicAccessNotPermitted" => case.no_credential(ways(case)),
        // What is not public looks to strangers as if it was not there.
        "ResourceNotFound" if case.who.way == Way::Anonymous => case.no_credential(ways(case)),
        "ContainerNotFound" | "FilesystemNotFound" | "ContainerBeingDeleted" => case.no_container(format!(
            "correct its name, or create it: az storage container create --name {container} --account-name {account} \
             --auth-mode login; limno never creates one"
        )),
        _ => return None,
    };
    Some(found)
}

/// The credential does not hold: its time, its text, or the place that it is for.
fn unauthenticated(case: &Case<'_>) -> Finding {
    let (answer, account) = (case.answer, account(case));
    if answer.says(&["Request date header too old"]) {
        return case.clock(0);
    }
    if let Some(start) = start_to_come(&answer.text) {
        return Finding::new(
            TroubleKind::WrongCredential,
            format!("{} does not hold yet, but from {start} on", case.sign_in),
            "issue one that begins some minutes before now, as clocks differ, and see that the clock of the machine that \
             issues it is right",
        );
    }
    let is_over = answer.says(&[
        "not valid in the specified time frame",
        "not valid in the specified key time frame",
        // One without a start begins now, so its end lies before it.
        "has to be after signed start time",
        "must be after signed start time",
    ]);
    #[expect(clippy::disallowed_methods, reason = "signatures end by the real time, whatever a test says")]
    let now = Utc::now();
    if is_over || case.who.way == Way::Sas && has_ended(case.sign_in, now) {
        return case.expired(format!("{}, and set it {}", signature(case), case.who.place()));
    }
    match case.who.way {
        Way::Sas if answer.code == "AuthorizationFailure" => case.wrong(format!(
            "it has ended, is not whole, or was signed by another key: {}, and set it {}",
            signature(case),
            case.who.place()
        )),
        Way::Sas => case.wrong(format!(
            "it is not whole, or the key that signed it was rotated: copy all that follows the ? of the URL, or {}, and \
             set it {}",
            signature(case),
            case.who.place()
        )),
        Way::AccountKey => case.wrong(format!(
            "it is none of the two keys of the storage account {account}, perhaps as they were rotated: see az storage \
             account keys list --account-name {account}, and set one {}",
            case.who.place()
        )),
        _ if answer.says(&["expired", "Lifetime validation failed"]) => Finding::new(
            TroubleKind::Expired,
            format!("the token of {} has expired", case.sign_in),
            "tokens are renewed before they end, so see that the clock of this machine is right; one that was set as \
             AZURE_STORAGE_TOKEN must be set anew",
        ),
        _ if answer.says(&["Audience", "audience"]) => case.wrong(
            "its token is for another service than Azure Storage: it must be issued for https://storage.azure.com/",
        ),
        _ if answer.says(&["Issuer", "issuer"]) => case.wrong(format!(
            "its token is of another tenant than that of the storage account {account}: correct tenant_id, or sign in \
             with az login --tenant TENANT"
        )),
        _ => case.wrong(case.general()),
    }
}

/// Whether a signature says of itself that its time was over: not every service does.
fn has_ended(sign_in: &str, now: DateTime<Utc>) -> bool {
    let end = sign_in.split_once("(until ").and_then(|(_, rest)| rest.split_once(')'));
    end.and_then(|(end, _)| DateTime::parse_from_rfc3339(end).ok()).is_some_and(|end| end < now)
}

/// What is to be granted for the access.
pub(super) fn grant(case: &Case<'_>) -> String {
    let (container, account, role) = (case.container, account(case), role(case.access));
    match case.who.way {
        Way::Sas => format!("{}, and set it {}", signature(case), case.who.place()),
        Way::AccountKey => format!(
            "a key may do everything, so the storage account {account} itself refuses: see its network rules, locks and \
             immutability"
        ),
        Way::HandedOut => format!(
            "the catalog's storage credential needs the role \"{role}\" on container {container}, and the firewall of the \
             storage account must let this machine in"
        ),
        _ => format!(
            "grant the role \"{role}\" on container {container} to this identity, and wait some minutes until Azure knows \
             it: az role assignment create --role \"{role}\" --assignee {} --scope \"$(az storage account show --name \
             {account} --query id --output tsv)/blobServices/default/containers/{container}\"",
            case.who.id()
        ),
    }
}

/// Which signature is to be issued.
fn signature(case: &Case<'_>) -> String {
    let letters = if case.access == Access::Write { "racwdl" } else { "rl" };
    format!(
        "issue a shared access signature of container {} with the permissions {letters} (az storage container \
         generate-sas)",
        case.container
    )
}

const fn role(access: Access) -> &'static str {
    match access {
        Access::Read | Access::List => READER,
        Access::Write => CONTRIBUTOR,
    }
}

/// The name of the storage account, or what stands in its place where the environment names it.
fn account<'a>(case: &Case<'a>) -> &'a str {
    match case.host.split('.').next() {
        None | Some("") => "ACCOUNT",
        Some(account) => account,
    }
}

/// The start that a signature says of itself, if that has not come yet:
/// `Start [Thu, 01 Jan 2026 00:00:00 GMT] - Expiry […] - Current […]`.
fn start_to_come(text: &str) -> Option<&str> {
    let time = |name: &str| {
        let (_, rest) = text.split_once(&format!("{name} ["))?;
        Some(rest.split_once(']')?.0)
    };
    let instant = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let start = time("tart")?;
    (instant(start)? > instant(time("Current")?)?).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_says_itself_that_its_time_is_over() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        for (words, ended) in [
            ("a shared access signature (until 2026-03-01T11:59:59Z) of [store.lake]", true),
            ("a shared access signature (until 2026-03-01T12:00:00Z) of [store.lake]", false),
            // A date alone, and none at all: it is left to the service.
            ("a shared access signature (until 2026-02-01) of [store.lake]", false),
            ("a shared access signature of [store.lake]", false),
        ] {
            assert_eq!(has_ended(words, now), ended, "{words}");
        }
    }
}

//! What Google Cloud Storage means by its words, and the place where its service accounts get their tokens.
//!
//! The words: <https://cloud.google.com/storage/docs/xml-api/reference-status> and
//! <https://cloud.google.com/storage/docs/json_api/v1/status-codes>.

use super::who::{Way, ways};
use super::{Access, Case, Finding, TroubleKind};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let (answer, bucket) = (case.answer, case.container);
    let found = match answer.code.as_str() {
        "AccessDenied" | "PERMISSION_DENIED" | "AuthenticationRequired" | "UNAUTHENTICATED"
            if case.who.way == Way::Anonymous =>
        {
            case.no_credential(ways(case))
        }
        "AccessDenied" | "PERMISSION_DENIED" => case.not_allowed(grant(case)),
        "AuthenticationRequired" | "UNAUTHENTICATED" | "InvalidSecurity" => case.wrong(case.general()),
        "ExpiredToken" => case.expired("run again, and see that the clock of this machine is right"),
        "NoSuchBucket" => case.no_container(format!(
            "correct its name, or create it: gcloud storage buckets create gs://{bucket}; limno never creates one"
        )),
        "UserProjectMissing" => Finding::new(
            TroubleKind::NotAllowed,
            format!("whoever reads bucket {bucket} must pay for it, and nobody was named who does"),
            "ask the owner of the bucket to switch off \"Requester pays\"",
        ),
        "" if answer.says(&["The specified bucket does not exist"]) => {
            case.no_container("correct its name; limno never creates one")
        }
        _ => return None,
    };
    Some(found)
}

/// What the place says where tokens are had.
pub(super) fn find_of_tokens(case: &Case<'_>) -> Option<Finding> {
    let answer = case.answer;
    let found = match answer.code.as_str() {
        "invalid_grant" if answer.says(&["reasonable timeframe", "short-lived token"]) => case.clock(0),
        "invalid_grant" if answer.says(&["expired or revoked"]) => {
            case.expired("run gcloud auth application-default login where limno runs")
        }
        "invalid_grant" if answer.says(&["account not found"]) => case.wrong(format!(
            "there is no such service account any more: create another, with a key of its own, and set it {}",
            case.who.place()
        )),
        "invalid_grant" if answer.says(&["Invalid JWT Signature"]) => case.wrong(format!(
            "the key was deleted or disabled: create another with gcloud iam service-accounts keys create, and set it {}",
            case.who.place()
        )),
        "invalid_client" | "invalid_grant" | "unauthorized_client" => case.wrong(case.general()),
        _ => return None,
    };
    Some(found)
}

/// What is to be granted for the access.
pub(super) fn grant(case: &Case<'_>) -> String {
    let bucket = case.container;
    let (name, role) = match case.access {
        Access::Write => ("Storage Object User", "roles/storage.objectUser"),
        Access::Read | Access::List => ("Storage Object Viewer", "roles/storage.objectViewer"),
    };
    let member = match (case.who.way, refused(&case.answer.text)) {
        (Way::ServiceAccount(Some(account)), _) | (_, Some(account)) => format!("serviceAccount:{account}"),
        _ => "MEMBER".to_owned(),
    };
    format!(
        "grant the role \"{name}\" on bucket {bucket}: gcloud storage buckets add-iam-policy-binding gs://{bucket} --member \
         {member} --role {role}"
    )
}

/// Who was refused, as the service knows them: `sa@project.iam.gserviceaccount.com does not have …`.
fn refused(text: &str) -> Option<&str> {
    let (before, _) = text.split_once(" does not have ")?;
    before.split_whitespace().next_back().filter(|word| word.ends_with(".gserviceaccount.com"))
}

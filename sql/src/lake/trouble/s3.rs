//! What Amazon S3 means by its words, and those who speak its protocol.
//!
//! The words: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use super::who::{Way, ways};
use super::{Access, Case, Finding, TroubleKind};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let (answer, bucket, place) = (case.answer, case.container, case.who.place());
    if answer.is_bare_redirect {
        return Some(other_region(case));
    }
    let found = match answer.code.as_str() {
        "InvalidAccessKeyId" | "InvalidClientTokenId" => case.wrong(format!(
            "there is no such key: it was deleted or deactivated, or is of another service than the one at this endpoint; \
             set access_key_id and secret_access_key of another {place} (aws iam create-access-key)"
        )),
        "SignatureDoesNotMatch" => case.wrong(format!(
            "the secret is not that of this key: set access_key_id and secret_access_key {place} together, without spaces \
             or line breaks"
        )),
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => case.expired(match case.who.way {
            Way::HandedOut => "run again, and see that the clock of this machine is right".to_owned(),
            Way::AccessKey(_) => format!("it is a temporary one: set another with its session_token {place}"),
            _ => format!("sign in again (aws sso login), or set another {place}"),
        }),
        "InvalidToken" | "InvalidSecurity" => {
            case.wrong(format!("its session token is not of this key: set key, secret and session_token {place} together"))
        }
        "AccessDenied" if case.who.way == Way::Anonymous => case.no_credential(ways(case)),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => case.not_allowed(grant(case)),
        "RequestTimeTooSkewed" => case.clock(0),
        "NoSuchBucket" => case.no_container(format!(
            "correct its name or the endpoint, or create it: aws s3 mb s3://{bucket}; limno never creates one"
        )),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => other_region(case),
        "MissingSecurityHeader" | "MissingAuthenticationToken" => case.no_credential(ways(case)),
        _ => return None,
    };
    Some(found)
}

fn other_region(case: &Case<'_>) -> Finding {
    let (bucket, region) = (case.container, case.answer.region.as_str());
    let (which, value, command) = match region {
        "" => (
            "another region than the one that was asked".to_owned(),
            "REGION",
            format!(" (aws s3api get-bucket-location --bucket {bucket})"),
        ),
        region => (format!("the region {region}"), region, String::new()),
    };
    Finding::new(
        TroubleKind::WrongRegion,
        format!("the bucket {bucket} is in {which}"),
        format!("say region = \"{value}\" in the [store] block of {}, or set AWS_REGION{command}", case.authority),
    )
}

/// What is to be granted for the access.
pub(super) fn grant(case: &Case<'_>) -> String {
    let bucket = case.container;
    if case.answer.says(&["kms:"]) {
        return format!(
            "the objects of bucket {bucket} are encrypted: grant kms:Decrypt, and to writers kms:GenerateDataKey too, on \
             the key that encrypts them"
        );
    }
    let objects =
        if case.access == Access::Write { "s3:GetObject, s3:PutObject and s3:DeleteObject" } else { "s3:GetObject" };
    let to = if case.who.way == Way::HandedOut { " to the role of the catalog's storage credential" } else { "" };
    format!("grant {objects} on arn:aws:s3:::{bucket}/* and s3:ListBucket on arn:aws:s3:::{bucket}{to}")
}

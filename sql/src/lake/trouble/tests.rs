//! What no server tells: nobody was asked, or nobody answered.

use super::*;

fn told(url: &str, sign_in: &str, service: Service, cause: &str) -> (TroubleKind, String) {
    let explainer =
        Explainer { service, authority: url.to_owned(), sign_in: sign_in.to_owned(), skew: Skew::default() };
    let error = object_store::Error::Generic { store: "test", source: cause.into() };
    let error = explainer.explain(error, Access::List, &Path::from("t"), None);
    let trouble = trouble_in(&error).unwrap_or_else(|| panic!("{error}"));
    (trouble.kind, trouble.message.clone())
}

const AZURE: &str = "abfss://ml@acct.dfs.core.windows.net";

#[test]
fn nobody_could_sign_in() {
    let of_azure = |sign_in: &str, cause: &str| told(AZURE, sign_in, Service::Azure, cause);
    let machine = "the managed identity of this machine, as the environment names nobody";
    let (kind, message) = of_azure(
        machine,
        "Error performing token request: Error performing GET http://169.254.169.254/metadata/identity/oauth2/token in 1s - \
         HTTP error: error sending request: client error (Connect): operation timed out",
    );
    assert_eq!(kind, TroubleKind::NoCredential);
    assert_eq!(
        message,
        format!(
            "cannot list {AZURE}/t: nobody could sign in ({machine})\n  hint: say in a [store.NAME] block with url = \
             \"{AZURE}\" who signs in: account_key, sas_token, client_secret, managed_identity, workload_identity or \
             azure_cli, or the variables AZURE_…; anonymous = true if it is public"
        )
    );
    let (kind, message) = of_azure(
        "the managed identity of this machine of [store.lake]",
        r#"Error performing token request: Server returned non-2xx status code: 400 Bad Request: {"error":"invalid_request","error_description":"Identity not found"}"#,
    );
    assert_eq!(kind, TroubleKind::NoCredential);
    assert!(message.contains("hint: assign a managed identity to this machine; if it is user-assigned"), "{message}");
    let (kind, message) = of_azure(
        "whoever is signed in with az login of [store.lake]",
        "'az account get-access-token' command failed: ERROR: Please run 'az login' to setup account.",
    );
    assert_eq!(kind, TroubleKind::NoCredential);
    assert!(message.contains("hint: run az login where limno runs"), "{message}");
    for (cause, hint) in [
        ("no providers in chain provided credentials", "hint: say in a [store.NAME] block with url = \"s3://b\" who"),
        ("profile `x` was not defined", "hint: say in a [store.NAME] block with url = \"s3://b\" who"),
        ("the SSO session has expired or is otherwise invalid", "hint: run aws sso login"),
    ] {
        let (kind, message) = told("s3://b", "profile x of the AWS configuration", Service::S3, cause);
        assert!(kind == TroubleKind::NoCredential && message.contains(hint), "{message}");
    }
}

#[test]
fn tokens_of_google_are_refused() {
    for (description, kind, says) in [
        ("Invalid JWT Signature.", TroubleKind::WrongCredential, "the key was deleted or disabled"),
        ("Invalid grant: account not found", TroubleKind::WrongCredential, "there is no such service account any more"),
        ("Token has been expired or revoked.", TroubleKind::Expired, "gcloud auth application-default login"),
        (
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            TroubleKind::Clock,
            "set the clock of this machine",
        ),
    ] {
        let cause = format!(
            r#"Error performing token request: Server returned non-2xx status code: 400 Bad Request: {{"error":"invalid_grant","error_description":"{description}"}}"#
        );
        let (found, message) = told("gs://b", "service account a@b of [store.g]", Service::Gcs, &cause);
        assert!(found == kind && message.contains(says), "{message}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_no_silence() {
    let (kind, message) = told(
        AZURE,
        "the account key of [store.lake]",
        Service::Azure,
        "Error performing GET https://azurite:10000/a in 1ms - HTTP error: error sending request: client error (Connect): \
         invalid peer certificate: UnknownIssuer",
    );
    assert_eq!(kind, TroubleKind::Unreachable);
    assert_eq!(
        message,
        format!(
            "cannot list {AZURE}/t: the certificate of azurite:10000 is not trusted\n  hint: if it is of an authority of your \
             own, name its PEM file as ca_file in the [store] block; if not, somebody stands in between"
        )
    );
}

#[test]
fn words_of_services_in_paths_mean_nothing() {
    let explainer = Explainer {
        service: Service::Azure,
        authority: AZURE.to_owned(),
        sign_in: "the account key of [store.lake]".to_owned(),
        skew: Skew::default(),
    };
    let cause = "Error performing GET https://acct/ContainerNotFound/AADSTS7000215/dns-error in 1ms - Server returned non-2xx \
                 status code: 503 Service Unavailable: <Code>ServerBusy</Code>";
    let error = object_store::Error::Generic { store: "test", source: cause.into() };
    let error = explainer.explain(error, Access::Read, &Path::from("AuthenticationFailed/expired"), None);
    assert!(trouble_in(&error).is_none(), "{error}");
}

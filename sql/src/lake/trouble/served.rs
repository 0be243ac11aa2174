//! What services answer, each through the true client of its store, and the one message that the user gets for it.
//!
//! Bodies are as the services document them, shortened only where they repeat themselves.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use super::{Access, TroubleKind, trouble_in};
use crate::lake::test_server::Server;
use crate::lake::{Lake, LakeOptions, Place, SignIn, StoreOptions};
use crate::secret::Secret;

use Access::{List, Read, Write};
use TroubleKind::{Clock, Expired, NoContainer, NoCredential, NotAllowed, WrongCredential, WrongRegion};

const SIGNATURE: &str = "c2lnbmF0dXJlIG9mIHRoZSB0ZXN0PQ==";

/// A place, and who signs in there.
fn store(who: &str, server: &Url) -> (StoreOptions, &'static str) {
    let azure = ("abfss://ml@acct.dfs.core.windows.net", "/acct");
    let (url, below) = match who.split('-').next().unwrap() {
        "s3" => ("s3://models", ""),
        "gcs" => ("gs://models", ""),
        _ => azure,
    };
    let mut options = StoreOptions::new("lake", url);
    options.endpoint = Some(server.join(below).unwrap());
    options.authority = Some(server.clone());
    options.limits.retry_budget = Duration::ZERO;
    let gcs_key = r#"{"private_key":"none","private_key_id":"1","client_email":"limno@p.iam.gserviceaccount.com","disable_oauth":true}"#;
    options.sign_in = match who {
        "key" => SignIn::AccountKey(Secret::new("a2V5IG9mIHRoZSBzdG9yYWdlIGFjY291bnQ=")),
        "sas" => SignIn::Sas(Secret::new(format!("sv=2024-11-04&sr=c&sp=rl&se=2026-01-01&sig={SIGNATURE}"))),
        "app" => SignIn::ServicePrincipal {
            client_id: "app-1".to_owned(),
            tenant_id: Some("tenant-1".to_owned()),
            client_secret: Secret::new("secret-of-the-app"),
        },
        "s3" => {
            SignIn::AccessKey { id: "AKIA1".to_owned(), secret: Secret::new("secret/of/the/key"), session_token: None }
        }
        "gcs" => SignIn::ServiceAccount(Secret::new(gcs_key)),
        "anonymous" | "s3-anonymous" | "gcs-anonymous" => SignIn::Anonymous,
        other => panic!("{other}"),
    };
    (options, url)
}

async fn place(who: &str, server: &Server) -> Place {
    let (options, url) = store(who, &server.url);
    let lake = Lake::new(LakeOptions { stores: vec![options], ..LakeOptions::default() }).unwrap();
    lake.locate(&format!("{url}/inference/expired flights"), Write).await.unwrap()
}

/// The trouble of one request that is answered so.
async fn told(who: &str, access: Access, status: u16, body: &str) -> (TroubleKind, String) {
    let body = body.to_owned();
    // Those who have a secret get a token for it, unless it is Entra itself that refuses.
    let is_of_entra = body.contains("AADSTS");
    let server = Server::start_at(None, move |request| {
        if request.path.starts_with("/tenant-1/") && !is_of_entra {
            return (200, r#"{"access_token":"token-of-entra","expires_in":3600}"#.to_owned());
        }
        (status, body.clone())
    });
    let place = place(who, &server).await;
    let (store, path) = (place.store(), place.path());
    let error = match access {
        Read => store.get(path).await.map(drop).unwrap_err(),
        List => store.list(Some(path)).try_next().await.unwrap_err(),
        Write => {
            let payload = PutPayload::from_static(b"{}");
            store.put_opts(path, payload, PutOptions::from(PutMode::Create)).await.map(drop).unwrap_err()
        }
    };
    let trouble =
        trouble_in(&error).unwrap_or_else(|| panic!("{who} {status} {body:?}: {error}", body = server.seen()));
    for secret in [SIGNATURE, "YWNjb3VudA", "secret-of-the-app", "secret/of/the/key", "token-of-entra"] {
        assert!(!trouble.message.contains(secret), "{trouble}");
    }
    (trouble.kind, trouble.message.clone())
}

/// Who asks for what, the answer, and what the user is told.
type Told<'a> = (&'a str, Access, u16, String, TroubleKind, &'a str);

async fn assert_told(cases: &[Told<'_>]) {
    let mut wrong = String::new();
    for (who, access, status, body, kind, message) in cases {
        let (found, said) = told(who, *access, *status, body).await;
        if (found, said.as_str()) != (*kind, *message) {
            wrong.push_str(&format!(
                "{who} {access:?} {status} {body}\n{found:?} instead of {kind:?}\n{said}\ninstead of\n{message}\n\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn of_azure(code: &str, message: &str, detail: &str) -> String {
    let detail = match detail {
        "" => String::new(),
        detail => format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>"),
    };
    format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}\n\
         RequestId:159c33a8-0001-001e-3e4c-f15ade000000\nTime:2026-01-02T08:11:13.7348778Z</Message>{detail}</Error>"
    )
}

fn unauthenticated(detail: &str) -> String {
    of_azure(
        "AuthenticationFailed",
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly \
         including the signature.",
        detail,
    )
}

const NOT_AUTHORIZED: &str = "This request is not authorized to perform this operation";

#[tokio::test]
async fn azure_does_not_accept_who_signs_in() {
    let mac = unauthenticated(
        "The MAC signature found in the HTTP request 'Zm9v+/=' is not the same as any computed signature. Server used \
         following string to sign: 'GET\n\n\nx-ms-date:Fri, 02 Jan 2026 08:11:13 GMT\n/acct/ml\ncomp:list'.",
    );
    let mismatch =
        unauthenticated("Signature did not match. String to sign used was rl\n\n2026-01-01\n/blob/acct/ml\n");
    let over = unauthenticated(
        "Signature not valid in the specified time frame: Start [Wed, 31 Dec 2025 00:00:00 GMT] - Expiry [Thu, 01 Jan 2026 \
         00:00:00 GMT] - Current [Fri, 02 Jan 2026 08:11:13 GMT]",
    );
    let over_without_start = unauthenticated(
        "Signed expiry time [Thu, 01 Jan 2026 00:00:00 GMT] must be after signed start time [Fri, 02 Jan 2026 08:11:13 GMT]",
    );
    let to_come = unauthenticated(
        "Signature not valid in the specified time frame: Start [Sat, 03 Jan 2026 00:00:00 GMT] - Expiry [Sun, 04 Jan 2026 \
         00:00:00 GMT] - Current [Fri, 02 Jan 2026 08:11:13 GMT]",
    );
    let of_emulator = of_azure("AuthorizationFailure", "Server failed to authenticate the request.", "");
    let old = unauthenticated("Request date header too old: 'Fri, 02 Jan 2026 07:11:13 GMT'");
    let issuer = of_azure(
        "InvalidAuthenticationInfo",
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
        "Issuer validation failed. Issuer did not match.",
    );
    let audience = issuer.replace(
        "Issuer validation failed. Issuer did not match.",
        "Audience validation failed. Audience did not match.",
    );
    let lifetime = issuer.replace(
        "Issuer validation failed. Issuer did not match.",
        "Lifetime validation failed. The token is expired.",
    );
    let anonymous = of_azure("NoAuthenticationInformation", "Server failed to authenticate the request.", "");
    let private = of_azure("PublicAccessNotPermitted", "Public access is not permitted on this storage account.", "");
    let hidden = of_azure("ResourceNotFound", "The specified resource does not exist.", "");
    assert_told(&[
        (
            "key", List, 403, mac.clone(), WrongCredential,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: the account key of [store.lake] is \
             not accepted (403 Forbidden, AuthenticationFailed)\n  hint: it is none of the two keys of the storage account \
             acct, perhaps as they were rotated: see az storage account keys list --account-name acct, and set one in \
             [store.lake]",
        ),
        (
            "key", Write, 403, mac, WrongCredential,
            "cannot write abfss://ml@acct.dfs.core.windows.net/inference/expired flights: the account key of [store.lake] is \
             not accepted (403 Forbidden, AuthenticationFailed)\n  hint: it is none of the two keys of the storage account \
             acct, perhaps as they were rotated: see az storage account keys list --account-name acct, and set one in \
             [store.lake]",
        ),
        (
            "sas", Read, 403, mismatch, WrongCredential,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] is not accepted (403 Forbidden, AuthenticationFailed)\n  hint: it is not whole, or \
             the key that signed it was rotated: copy all that follows the ? of the URL, or issue a shared access signature \
             of container ml with the permissions rl (az storage container generate-sas), and set it in [store.lake]",
        ),
        (
            "sas", List, 403, over, Expired,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] has expired (403 Forbidden, AuthenticationFailed)\n  hint: issue a shared access \
             signature of container ml with the permissions rl (az storage container generate-sas), and set it in \
             [store.lake]",
        ),
        (
            "sas", Write, 403, over_without_start, Expired,
            "cannot write abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] has expired (403 Forbidden, AuthenticationFailed)\n  hint: issue a shared access \
             signature of container ml with the permissions racwdl (az storage container generate-sas), and set it in \
             [store.lake]",
        ),
        (
            "sas", Read, 403, to_come, WrongCredential,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] does not hold yet, but from Sat, 03 Jan 2026 00:00:00 GMT on (403 Forbidden, \
             AuthenticationFailed)\n  hint: issue one that begins some minutes before now, as clocks differ, and see that \
             the clock of the machine that issues it is right",
        ),
        (
            "sas", Read, 403, of_emulator, WrongCredential,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] is not accepted (403 Forbidden, AuthorizationFailure)\n  hint: it has ended, is not \
             whole, or was signed by another key: issue a shared access signature of container ml with the permissions rl \
             (az storage container generate-sas), and set it in [store.lake]",
        ),
        (
            "key", Read, 403, old, Clock,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: the clock of this machine is too \
             far from the service's, so no signature holds (403 Forbidden, AuthenticationFailed)\n  hint: set the clock of \
             this machine (NTP)",
        ),
        (
            "app", Read, 401, issuer, WrongCredential,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: service principal app-1 of \
             [store.lake] is not accepted (401 Unauthorized, InvalidAuthenticationInfo)\n  hint: its token is of another \
             tenant than that of the storage account acct: correct tenant_id, or sign in with az login --tenant TENANT",
        ),
        (
            "app", List, 401, audience, WrongCredential,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: service principal app-1 of \
             [store.lake] is not accepted (401 Unauthorized, InvalidAuthenticationInfo)\n  hint: its token is for another \
             service than Azure Storage: it must be issued for https://storage.azure.com/",
        ),
        (
            "app", List, 401, lifetime, Expired,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: the token of service principal app-1 of \
             [store.lake] has expired (401 Unauthorized, InvalidAuthenticationInfo)\n  hint: tokens are renewed before they \
             end, so see that the clock of this machine is right; one that was set as AZURE_STORAGE_TOKEN must be set anew",
        ),
        (
            "anonymous", Read, 401, anonymous, NoCredential,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: it is not public, and nobody \
             signs in there (401 Unauthorized, NoAuthenticationInformation)\n  hint: say in [store.lake] who \
             signs in: account_key, sas_token, client_secret, managed_identity, \
             workload_identity or azure_cli, or the variables AZURE_…",
        ),
        (
            "anonymous", List, 409, private, NoCredential,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: it is not public, and nobody \
             signs in there (409 Conflict, PublicAccessNotPermitted)\n  hint: say in [store.lake] who \
             signs in: account_key, sas_token, client_secret, managed_identity, \
             workload_identity or azure_cli, or the variables AZURE_…",
        ),
        (
            "anonymous", List, 404, hidden, NoCredential,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: it is not public, and nobody \
             signs in there (404 Not Found, ResourceNotFound)\n  hint: say in [store.lake] who \
             signs in: account_key, sas_token, client_secret, managed_identity, \
             workload_identity or azure_cli, or the variables AZURE_…",
        ),
    ])
    .await;
}

#[tokio::test]
async fn azure_does_not_let_them() {
    let mismatch = of_azure("AuthorizationPermissionMismatch", &format!("{NOT_AUTHORIZED} using this permission."), "");
    let firewall = of_azure("AuthorizationFailure", &format!("{NOT_AUTHORIZED}."), "");
    let no_keys = of_azure(
        "KeyBasedAuthenticationNotPermitted",
        "Key based authentication is not permitted on this storage account.",
        "",
    );
    let address =
        of_azure("AuthorizationSourceIPMismatch", &format!("{NOT_AUTHORIZED} using this source IP 203.0.113.7."), "");
    let types =
        of_azure("AuthorizationResourceTypeMismatch", &format!("{NOT_AUTHORIZED} using this resource type."), "");
    let missing = of_azure("ContainerNotFound", "The specified container does not exist.", "");
    assert_told(&[
        (
            "sas", Write, 403, mismatch.clone(), NotAllowed,
            "cannot write abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] may not write there (403 Forbidden, AuthorizationPermissionMismatch)\n  hint: issue a \
             shared access signature of container ml with the permissions racwdl (az storage container generate-sas), and \
             set it in [store.lake]",
        ),
        (
            "app", List, 403, mismatch.clone(), NotAllowed,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: service principal app-1 of \
             [store.lake] may not list there (403 Forbidden, AuthorizationPermissionMismatch)\n  hint: grant the role \
             \"Storage Blob Data Reader\" on container ml to this identity, and wait some minutes until Azure knows it: az \
             role assignment create --role \"Storage Blob Data Reader\" --assignee app-1 --scope \"$(az storage account show \
             --name acct --query id --output tsv)/blobServices/default/containers/ml\"",
        ),
        (
            "app", Write, 403, mismatch, NotAllowed,
            "cannot write abfss://ml@acct.dfs.core.windows.net/inference/expired flights: service principal app-1 of \
             [store.lake] may not write there (403 Forbidden, AuthorizationPermissionMismatch)\n  hint: grant the role \
             \"Storage Blob Data Contributor\" on container ml to this identity, and wait some minutes until Azure knows it: az \
             role assignment create --role \"Storage Blob Data Contributor\" --assignee app-1 --scope \"$(az storage account \
             show --name acct --query id --output tsv)/blobServices/default/containers/ml\"",
        ),
        (
            "app", Read, 403, firewall.clone(), NotAllowed,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: service principal app-1 of \
             [store.lake] may not read there (403 Forbidden, AuthorizationFailure)\n  hint: most often it is the firewall of \
             the storage account acct: let this machine in under Networking, or go by a private endpoint; if it does let it \
             in, grant the role \"Storage Blob Data Reader\" on container ml to this identity, and wait some minutes until \
             Azure knows it: az role assignment create --role \"Storage Blob Data Reader\" --assignee app-1 --scope \"$(az \
             storage account show --name acct --query id --output tsv)/blobServices/default/containers/ml\"",
        ),
        (
            "key", List, 403, no_keys, NotAllowed,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: the account key of [store.lake] is \
             not taken, as the storage account acct takes no keys, nor signatures by a key (403 Forbidden, \
             KeyBasedAuthenticationNotPermitted)\n  hint: let an identity sign in instead: managed_identity, \
             workload_identity, azure_cli, or client_id, tenant_id and client_secret; it needs the role \"Storage Blob Data \
             Reader\" on container ml",
        ),
        (
            "sas", List, 403, address, NotAllowed,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] may not list there (403 Forbidden, AuthorizationSourceIPMismatch)\n  hint: the \
             signature is for other addresses (sip) than that of this machine, or the address is not let in: issue one for \
             its address",
        ),
        (
            "sas", Read, 403, types, NotAllowed,
            "cannot read abfss://ml@acct.dfs.core.windows.net/inference/expired flights: a shared access signature (until \
             2026-01-01) of [store.lake] may not read there (403 Forbidden, AuthorizationResourceTypeMismatch)\n  hint: the \
             signature is for other kinds of things (srt): issue one for containers and objects (srt=co), or one of the \
             container alone",
        ),
        (
            "key", List, 404, missing.clone(), NoContainer,
            "cannot list abfss://ml@acct.dfs.core.windows.net/inference/expired flights: there is no container ml (404 Not \
             Found, ContainerNotFound)\n  hint: correct its name, or create it: az storage container create --name ml \
             --account-name acct --auth-mode login; limno never creates one",
        ),
        (
            "app", Write, 404, missing, NoContainer,
            "cannot write abfss://ml@acct.dfs.core.windows.net/inference/expired flights: there is no container ml (404 Not \
             Found, ContainerNotFound)\n  hint: correct its name, or create it: az storage container create --name ml \
             --account-name acct --auth-mode login; limno never creates one",
        ),
    ])
    .await;
}

fn of_entra(error: &str, description: &str) -> String {
    let more = "Trace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333 Correlation ID: aaaa0000-bb11-2222-33cc-444444dddddd Timestamp: \
                2026-01-02 08:11:13Z";
    format!(r#"{{"error":"{error}","error_description":"{description} {more}","error_codes":[1],"timestamp":"x"}}"#)
}

#[tokio::test]
async fn entra_does_not_know_them() {
    let wrong = of_entra(
        "invalid_client",
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
         value, not the client secret ID, for a secret added to app 'app-1'.",
    );
    let old = of_entra("invalid_client", "AADSTS7000222: The provided client secret keys for app 'app-1' are expired.");
    let unknown = of_entra(
        "unauthorized_client",
        "AADSTS700016: Application with identifier 'app-1' was not found in the directory 'tenant-1'.",
    );
    let tenant = of_entra(
        "invalid_request",
        "AADSTS90002: Tenant 'tenant-1' not found. Check to make sure you have the correct tenant ID.",
    );
    let policy = of_entra("invalid_grant", "AADSTS53003: Access has been blocked by Conditional Access policies.");
    let place = "abfss://ml@acct.dfs.core.windows.net/inference/expired flights";
    let told = |what: &str, hint: &str| format!("cannot list {place}: {what}\n  hint: {hint}");
    let app = "service principal app-1 of [store.lake]";
    let messages = [
        told(
            &format!("{app} is not accepted (AADSTS7000215)"),
            "the secret is none of the application's: set the value of one, not its id, as client_secret in [store.lake]; a \
             new one comes from az ad app credential reset --id app-1 --append",
        ),
        told(
            &format!("the secret of {app} has expired (AADSTS7000222)"),
            "create another (az ad app credential reset --id app-1 --append), and set it as client_secret in [store.lake]; a \
             managed identity needs none",
        ),
        told(
            &format!("{app} is not accepted (AADSTS700016)"),
            "there is no application app-1 in that tenant: correct client_id and tenant_id in [store.lake]",
        ),
        told(
            &format!("{app} is not accepted (AADSTS90002)"),
            "there is no such tenant: correct tenant_id in [store.lake] (az account show --query tenantId)",
        ),
        told(
            &format!("a Conditional Access policy keeps {app} out (AADSTS53003)"),
            "ask those who look after the tenant to let it in from this network",
        ),
    ];
    assert_told(&[
        ("app", List, 401, wrong, WrongCredential, &messages[0]),
        ("app", List, 401, old, Expired, &messages[1]),
        ("app", List, 400, unknown, WrongCredential, &messages[2]),
        ("app", List, 400, tenant, WrongCredential, &messages[3]),
        ("app", List, 400, policy, NotAllowed, &messages[4]),
    ])
    .await;
}

fn of_s3(code: &str, message: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}\
         <RequestId>4442587FB7D0A2F9</RequestId><HostId>host</HostId></Error>"
    )
}

#[tokio::test]
async fn s3_refuses() {
    let unknown = of_s3(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        "<AWSAccessKeyId>AKIA1</AWSAccessKeyId>",
    );
    let secret = of_s3(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        "<AWSAccessKeyId>AKIA1</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256\n20260102T081113Z</StringToSign>",
    );
    let old = of_s3("ExpiredToken", "The provided token has expired.", "<Token-0>IQoJ</Token-0>");
    let denied = of_s3("AccessDenied", "Access Denied", "");
    let kms = of_s3(
        "AccessDenied",
        "User: arn:aws:iam::1:user/limno is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:x:1:key/2",
        "",
    );
    let missing = of_s3("NoSuchBucket", "The specified bucket does not exist", "<BucketName>models</BucketName>");
    let elsewhere = of_s3(
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
        "<Endpoint>models.s3.eu-west-1.amazonaws.com</Endpoint><Bucket>models</Bucket>",
    );
    let region = of_s3(
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed; the region &apos;us-east-1&apos; is wrong; expecting &apos;eu-west-1&apos;",
        "<Region>eu-west-1</Region>",
    );
    let skewed = of_s3(
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
        "<RequestTime>20260102T081113Z</RequestTime><MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>",
    );
    let grants = "grant s3:GetObject on arn:aws:s3:::models/* and s3:ListBucket on arn:aws:s3:::models";
    let read_denied = format!(
        "cannot read s3://models/inference/expired flights: access key AKIA1 of [store.lake] may not read there (403 Forbidden, \
         AccessDenied)\n  hint: {grants}"
    );
    assert_told(&[
        (
            "s3", List, 403, unknown, WrongCredential,
            "cannot list s3://models/inference/expired flights: access key AKIA1 of [store.lake] is not accepted (403 \
             Forbidden, InvalidAccessKeyId)\n  hint: there is no such key: it was deleted or deactivated, or is of another \
             service than the one at this endpoint; set access_key_id and secret_access_key of another in [store.lake] (aws \
             iam create-access-key)",
        ),
        (
            "s3", Write, 403, secret, WrongCredential,
            "cannot write s3://models/inference/expired flights: access key AKIA1 of [store.lake] is not accepted (403 \
             Forbidden, SignatureDoesNotMatch)\n  hint: the secret is not that of this key: set access_key_id and \
             secret_access_key in [store.lake] together, without spaces or line breaks",
        ),
        (
            "s3", Read, 400, old, Expired,
            "cannot read s3://models/inference/expired flights: access key AKIA1 of [store.lake] has expired (400 Bad \
             Request, ExpiredToken)\n  hint: it is a temporary one: set another with its session_token in [store.lake]",
        ),
        ("s3", Read, 403, denied.clone(), NotAllowed, &read_denied),
        (
            "s3", Write, 403, denied.clone(), NotAllowed,
            "cannot write s3://models/inference/expired flights: access key AKIA1 of [store.lake] may not write there (403 \
             Forbidden, AccessDenied)\n  hint: grant s3:GetObject, s3:PutObject and s3:DeleteObject on \
             arn:aws:s3:::models/* and s3:ListBucket on arn:aws:s3:::models",
        ),
        (
            "s3", Read, 403, kms, NotAllowed,
            "cannot read s3://models/inference/expired flights: access key AKIA1 of [store.lake] may not read there (403 \
             Forbidden, AccessDenied)\n  hint: the objects of bucket models are encrypted: grant kms:Decrypt, and to writers \
             kms:GenerateDataKey too, on the key that encrypts them",
        ),
        (
            "s3-anonymous", List, 403, denied, NoCredential,
            "cannot list s3://models/inference/expired flights: it is not public, and nobody signs in there (403 Forbidden, \
             AccessDenied)\n  hint: say in [store.lake] who signs in: access_key_id and secret_access_key, or profile, or the variables AWS_…",
        ),
        (
            "s3", List, 404, missing, NoContainer,
            "cannot list s3://models/inference/expired flights: there is no bucket models (404 Not Found, NoSuchBucket)\n  \
             hint: correct its name or the endpoint, or create it: aws s3 mb s3://models; limno never creates one",
        ),
        (
            "s3", List, 301, elsewhere, WrongRegion,
            "cannot list s3://models/inference/expired flights: the bucket models is in another region than the one that was \
             asked\n  hint: say region = \"REGION\" in the [store] block of s3://models, or set AWS_REGION (aws s3api \
             get-bucket-location --bucket models)",
        ),
        (
            "s3", Read, 400, region, WrongRegion,
            "cannot read s3://models/inference/expired flights: the bucket models is in the region eu-west-1 (400 Bad Request, \
             AuthorizationHeaderMalformed)\n  hint: say region = \"eu-west-1\" in the [store] block of s3://models, or set \
             AWS_REGION",
        ),
        (
            "s3", List, 403, skewed, Clock,
            "cannot list s3://models/inference/expired flights: the clock of this machine is too far from the service's, so no \
             signature holds (403 Forbidden, RequestTimeTooSkewed)\n  hint: set the clock of this machine (NTP)",
        ),
    ])
    .await;
}

#[tokio::test]
async fn google_refuses() {
    let of_gcs = |code: &str, message: &str, details: &str| {
        let details = if details.is_empty() { String::new() } else { format!("<Details>{details}</Details>") };
        format!(
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message>{details}</Error>"
        )
    };
    let denied = of_gcs(
        "AccessDenied",
        "Access denied.",
        "limno@p.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object. \
         Permission 'storage.objects.get' denied on resource (or it may not exist).",
    );
    let unknown = of_gcs("AuthenticationRequired", "Authentication required.", "");
    let missing = of_gcs("NoSuchBucket", "The specified bucket does not exist.", "");
    assert_told(&[
        (
            "gcs", Read, 403, denied.clone(), NotAllowed,
            "cannot read gs://models/inference/expired flights: service account limno@p.iam.gserviceaccount.com of \
             [store.lake] may not read there (403 Forbidden, AccessDenied)\n  hint: grant the role \"Storage Object Viewer\" \
             on bucket models: gcloud storage buckets add-iam-policy-binding gs://models --member \
             serviceAccount:limno@p.iam.gserviceaccount.com --role roles/storage.objectViewer",
        ),
        (
            "gcs", Write, 403, denied, NotAllowed,
            "cannot write gs://models/inference/expired flights: service account limno@p.iam.gserviceaccount.com of \
             [store.lake] may not write there (403 Forbidden, AccessDenied)\n  hint: grant the role \"Storage Object User\" on \
             bucket models: gcloud storage buckets add-iam-policy-binding gs://models --member \
             serviceAccount:limno@p.iam.gserviceaccount.com --role roles/storage.objectUser",
        ),
        (
            "gcs", List, 401, unknown.clone(), WrongCredential,
            "cannot list gs://models/inference/expired flights: service account limno@p.iam.gserviceaccount.com of \
             [store.lake] is not accepted (401 Unauthorized, AuthenticationRequired)\n  hint: check that the credential is \
             whole, still valid, and of this account, and set it in [store.lake]",
        ),
        (
            "gcs-anonymous", Read, 401, unknown, NoCredential,
            "cannot read gs://models/inference/expired flights: it is not public, and nobody signs in there (401 \
             Unauthorized, AuthenticationRequired)\n  hint: say in [store.lake] who signs in: service_account, or GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            "gcs", List, 404, missing, NoContainer,
            "cannot list gs://models/inference/expired flights: there is no bucket models (404 Not Found, NoSuchBucket)\n  \
             hint: correct its name, or create it: gcloud storage buckets create gs://models; limno never creates one",
        ),
    ])
    .await;
}

/// What is asked for by its head alone is refused without a word.
#[tokio::test]
async fn a_refusal_without_a_word_is_asked_for_one() {
    let body =
        unauthenticated("The MAC signature found in the HTTP request 'x' is not the same as any computed signature.");
    let server = Server::start_at(None, move |_| (403, body.clone()));
    let (options, url) = store("key", &server.url);
    let lake = Lake::new(LakeOptions { stores: vec![options], ..LakeOptions::default() }).unwrap();
    let place = lake.locate(&format!("{url}/t.parquet"), Read).await.unwrap();
    let message = place.find().await.unwrap_err().to_string();
    assert!(message.contains("(403 Forbidden, AuthenticationFailed)"), "{message}");
    let methods: Vec<String> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named() {
    let mut options = StoreOptions::new("lake", "abfss://ml@acct.dfs.core.windows.net");
    options.endpoint = Some(Url::parse("http://acct.blob.nowhere.invalid").unwrap());
    options.limits.retry_budget = Duration::ZERO;
    options.sign_in = SignIn::AccountKey(Secret::new("a2V5IG9mIHRoZSBzdG9yYWdlIGFjY291bnQ="));
    let lake = Lake::new(LakeOptions { stores: vec![options], ..LakeOptions::default() }).unwrap();
    let place = lake.locate("abfss://ml@acct.dfs.core.windows.net/t", Read).await.unwrap();
    let error = place.find().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot list abfss://ml@acct.dfs.core.windows.net/t/_delta_log: nobody answers there, as there is no host \
         acct.blob.nowhere.invalid\n  hint: check the name of the storage account and the endpoint, and that this machine \
         can look up names (nslookup acct.blob.nowhere.invalid)"
    );
}

#[tokio::test]
async fn a_host_that_takes_no_connection_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (options, url) = store("s3", &Url::parse(&format!("http://{free}")).unwrap());
    let lake = Lake::new(LakeOptions { stores: vec![options], ..LakeOptions::default() }).unwrap();
    let place = lake.locate(&format!("{url}/t"), Read).await.unwrap();
    let error = place.find().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot list s3://models/t/_delta_log: nobody answers there: {free} takes no connection\n  hint: check the \
             network, its firewalls and proxies, and the endpoint of the [store] block"
        )
    );
}

#[tokio::test]
async fn a_service_that_sends_us_on_to_another_host_is_named_and_not_asked_again() {
    let other = Server::start_at(None, |_| (200, String::new()));
    let to = other.url.to_string();
    let server = Server::start_at(None, move |_| (307, to.clone()));
    let (mut options, url) = store("key", &server.url);
    options.limits.retry_budget = Duration::from_secs(60);
    let lake = Lake::new(LakeOptions { stores: vec![options], ..LakeOptions::default() }).unwrap();
    let place = lake.locate(&format!("{url}/t"), Read).await.unwrap();
    let error = place.store().get(place.path()).await.unwrap_err();
    let trouble = trouble_in(&error).unwrap_or_else(|| panic!("{error:?}"));
    let [from, to] = [&server.url, &other.url].map(|url| url.as_str().trim_end_matches('/'));
    assert_eq!(
        trouble.message,
        format!(
            "cannot read {url}/t: {from} redirects to {to}, another host, to which nothing is sent\n  hint: if that is where \
             it is, write the address there, or the endpoint or region of the [store] block"
        )
    );
    assert_eq!((trouble.kind, server.seen().len(), other.seen().len()), (TroubleKind::Unreachable, 1, 0));
}

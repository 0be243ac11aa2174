//! `[store.NAME]`: who signs in where, and what contradicts itself.

use limno_sql::lake::{Limits, SignIn, StoreOptions};

use super::*;

const KEY: &str = "c29tZSBrZXkgb2YgYW4gYWNjb3VudA==";
const SAS: &str = "?sv=2024-11-04&sr=c&sp=rl&sig=c29tZSBzaWduYXR1cmU%3D";
const SERVICE_ACCOUNT: &str = r#"{"client_email":"limno@p.iam.gserviceaccount.com","private_key":"-----BEGIN…"}"#;

fn secrets() -> BTreeMap<String, String> {
    [
        ("KEY", format!("{KEY}\n")),
        ("SAS", SAS.to_owned()),
        ("SECRET", "secret-of-the-app".to_owned()),
        ("CLIENT", " app-from-env \n".to_owned()),
        ("AWS", "aws/secret".to_owned()),
        ("SESSION", "session-of-aws".to_owned()),
        ("SERVICE_ACCOUNT", SERVICE_ACCOUNT.to_owned()),
        ("TOKEN", "dapi-of-the-test".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A right monitor and, from line 8 on, a block for this URL with these lines.
fn block(url: &str, lines: &str) -> String {
    beside(&format!("[store.lake]\nurl = \"{url}\"\n{lines}"))
}

fn store(url: &str, lines: &str) -> StoreOptions {
    let config = Config::parse(&block(url, lines), "limno.toml", &secrets());
    let mut stores = config.unwrap_or_else(|problems| panic!("{lines}: {problems}")).stores;
    assert_eq!(stores.len(), 1);
    stores.remove(0)
}

#[track_caller]
fn refused(url: &str, lines: &str, expected: &[&str]) {
    let problems =
        Config::parse(&block(url, lines), "limno.toml", &secrets()).expect_err("must be refused").to_string();
    assert_eq!(problems, expected.join("\n"), "{lines}");
    for secret in ["c29tZ", "secret-of-the-app", "aws/secret", "dapi-of"] {
        assert!(!problems.contains(secret), "{problems}");
    }
}

const AZURE: &str = "abfss://ml@account.dfs.core.windows.net/";

#[test]
fn every_way_to_sign_in_is_read() {
    let secret = |text: &str| Secret::new(text);
    let app = |client_id: &str, tenant_id: Option<&str>| SignIn::ServicePrincipal {
        client_id: client_id.to_owned(),
        tenant_id: tenant_id.map(str::to_owned),
        client_secret: secret("secret-of-the-app"),
    };
    let identity = |id: Option<&str>| SignIn::ManagedIdentity { client_id: id.map(str::to_owned) };
    let key = |session: Option<&str>| SignIn::AccessKey {
        id: "AKIA1".to_owned(),
        secret: secret("aws/secret"),
        session_token: session.map(Secret::new),
    };
    for (url, lines, sign_in) in [
        (AZURE, "", SignIn::Environment),
        // A line break at the end is none of the key.
        (AZURE, "account_key = { env = \"KEY\" }", SignIn::AccountKey(secret(KEY))),
        (AZURE, "sas_token = { env = \"SAS\" }", SignIn::Sas(secret(SAS))),
        (
            AZURE,
            "client_id = \"app-1\"\ntenant_id = \"t\"\nclient_secret = { env = \"SECRET\" }",
            app("app-1", Some("t")),
        ),
        (
            AZURE,
            "client_id = { env = \"CLIENT\" }\ntenant_id = \"t\"\nclient_secret = { env = \"SECRET\" }",
            app("app-from-env", Some("t")),
        ),
        (AZURE, "managed_identity = true", identity(None)),
        (AZURE, "managed_identity = true\nclient_id = \"id-1\"", identity(Some("id-1"))),
        (AZURE, "workload_identity = true", SignIn::WorkloadIdentity),
        (AZURE, "azure_cli = true", SignIn::AzureCli),
        (AZURE, "anonymous = true", SignIn::Anonymous),
        // What is not so is as if it was not written.
        (AZURE, "anonymous = false\nazure_cli = true", SignIn::AzureCli),
        ("s3://b", "access_key_id = \"AKIA1\"\nsecret_access_key = { env = \"AWS\" }", key(None)),
        (
            "s3://b",
            "access_key_id = \"AKIA1\"\nsecret_access_key = { env = \"AWS\" }\nsession_token = { env = \"SESSION\" }",
            key(Some("session-of-aws")),
        ),
        ("s3://", "profile = \"team\"", SignIn::Profile("team".to_owned())),
        ("gs://b", "service_account = { env = \"SERVICE_ACCOUNT\" }", SignIn::ServiceAccount(secret(SERVICE_ACCOUNT))),
        ("uc://", "token = { env = \"TOKEN\" }", SignIn::Token(secret("dapi-of-the-test"))),
        ("uc://main", "client_id = \"app-1\"\nclient_secret = { env = \"SECRET\" }", app("app-1", None)),
        (
            "uc://main",
            "client_id = \"app-1\"\ntenant_id = \"t\"\nclient_secret = { env = \"SECRET\" }\n\
             authority = \"https://login.microsoftonline.us\"",
            app("app-1", Some("t")),
        ),
        ("uc://", "anonymous = true", SignIn::Anonymous),
        ("https://example.com/data", "anonymous = true", SignIn::Anonymous),
    ] {
        let store = store(url, lines);
        assert_eq!(store.sign_in, sign_in, "{url} {lines}");
        assert!(!format!("{store:?}").contains("c29tZ"), "{store:?}");
    }
}

#[test]
fn every_other_key_of_a_store_is_read() {
    let lines = "endpoint = \"http://127.0.0.1:9000\"\nregion = \"eu-west-1\"\npath_style = true\nconditional_put = false\n\
                 timeout = \"10s\"\nretry_budget = \"0s\"\nconnections = 8";
    let read = store("s3://b/a/", lines);
    assert_eq!((read.name.as_str(), read.url.as_str()), ("lake", "s3://b/a/"));
    assert_eq!(read.endpoint.as_ref().map(url::Url::as_str), Some("http://127.0.0.1:9000/"));
    assert_eq!(read.region.as_deref(), Some("eu-west-1"));
    assert!(read.path_style && !read.conditional_put);
    let limits =
        Limits { timeout: Duration::from_secs(10), retry_budget: Duration::ZERO, connections: 8, ..Limits::default() };
    assert_eq!(read.limits, limits);
    let plain = store("s3://b", "");
    assert!(!plain.path_style && plain.conditional_put && plain.region.is_none());
    assert_eq!(plain.limits, Limits::default());
    let catalog = store("uc://", "host = \"https://adb-1.azuredatabricks.net\"");
    assert_eq!(catalog.endpoint.as_ref().map(url::Url::as_str), Some("https://adb-1.azuredatabricks.net/"));
    let authority = store(AZURE, "authority = \"https://login.microsoftonline.us\"");
    assert_eq!(authority.authority.as_ref().map(url::Url::as_str), Some("https://login.microsoftonline.us/"));
}

#[test]
fn keys_of_another_service_are_refused_with_those_that_are_meant() {
    refused(
        "s3://b",
        "account_key = { env = \"KEY\" }\nauthority = \"https://a.b\"",
        &[
            "limno.toml:10: store.lake.account_key: is a key of Azure, but url is of S3",
            "limno.toml:11: store.lake.authority: is a key of Azure and Unity Catalog, but url is of S3",
        ],
    );
    refused(
        AZURE,
        "token = { env = \"TOKEN\" }\npath_style = true",
        &[
            "limno.toml:10: store.lake.token: is a key of Unity Catalog, but url is of Azure",
            "  hint: write sas_token, account_key, or client_id, tenant_id and client_secret",
            "limno.toml:11: store.lake.path_style: is a key of S3, but url is of Azure",
        ],
    );
    refused(
        "uc://",
        "endpoint = \"https://a.b\"",
        &[
            "limno.toml:10: store.lake.endpoint: is a key of Azure and S3 and Google Cloud Storage, but url is of Unity Catalog",
            "  hint: write host = \"https://…\", the address of the workspace",
        ],
    );
}

#[test]
fn exactly_one_way_signs_in_and_is_whole() {
    refused(
        AZURE,
        "account_key = { env = \"KEY\" }\nsas_token = { env = \"SAS\" }",
        &[
            "limno.toml:11: store.lake.sas_token: a second way to sign in beside `account_key` in line 10",
            "  hint: keep one of the two",
        ],
    );
    refused(
        AZURE,
        "client_id = \"app-1\"\ntenant_id = \"t\"",
        &[
            "limno.toml:10: store.lake.client_id: signs nobody in by itself",
            "  hint: add client_secret = { env = \"…\" }, or managed_identity = true",
            "limno.toml:11: store.lake.tenant_id: signs nobody in by itself",
            "  hint: add client_id and client_secret = { env = \"…\" }",
        ],
    );
    refused(
        AZURE,
        "client_secret = { env = \"SECRET\" }",
        &[
            "limno.toml:8: store.lake: `client_id` is missing beside `client_secret`",
            "limno.toml:8: store.lake: `tenant_id` is missing beside `client_secret`",
        ],
    );
    refused(
        "s3://b",
        "access_key_id = \"AKIA1\"",
        &["limno.toml:8: store.lake: `secret_access_key` is missing beside `access_key_id`"],
    );
    refused(
        AZURE,
        "workload_identity = true\nclient_id = \"app-1\"",
        &[
            "limno.toml:11: store.lake.client_id: has no meaning for this way to sign in",
            "  hint: the cluster says it: AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE",
        ],
    );
}

#[test]
fn credentials_that_cannot_be_any_are_refused_and_not_shown() {
    refused(
        AZURE,
        "account_key = { env = \"SAS\" }",
        &[
            "limno.toml:10: store.lake.account_key: is not the key of a storage account, which is base64",
            "  hint: take the key alone, not the connection string",
        ],
    );
    refused(
        AZURE,
        "sas_token = { env = \"KEY\" }",
        &[
            "limno.toml:10: store.lake.sas_token: is not a shared access signature, which holds sv=… and sig=…",
            "  hint: take what follows the ? of the URL",
        ],
    );
    refused(
        "gs://b",
        "service_account = { env = \"TOKEN\" }",
        &[
            "limno.toml:10: store.lake.service_account: is not the JSON key of a service account, which holds client_email and private_key",
            "  hint: name the file that the console gave: { file = \"key.json\" }",
        ],
    );
    refused(
        AZURE,
        &format!("account_key = \"{KEY}\""),
        &[
            "limno.toml:10: store.lake.account_key: a secret is never written in the configuration itself",
            "  hint: write account_key = { env = \"LAKE_ACCOUNT_KEY\" } or { file = \"…\" }",
        ],
    );
    refused(
        AZURE,
        "account_key = { env = \"NOPE\" }",
        &[
            "limno.toml:10: store.lake.account_key.env: environment variable `NOPE` is not set",
            "  hint: set NOPE where limno runs, or use { file = \"…\" }",
        ],
    );
}

#[test]
fn limits_and_addresses_of_stores_are_checked() {
    for (line, refused) in [
        ("timeout = \"0s\"", "store.lake.timeout: expected a duration from 1s to 1h"),
        ("retry_budget = \"2h\"", "store.lake.retry_budget: expected a duration from 0s to 1h"),
        ("connections = 0", "store.lake.connections: expected an integer from 1 to 1024"),
        ("endpoint = \"http://example.com\"", "store.lake.endpoint: http:// is allowed to this machine only"),
        ("endpoint = \"https://a:b@example.com\"", "store.lake.endpoint: an address holds no user name or password"),
        ("ca_file = \"no/such.pem\"", "store.lake.ca_file: there is no file `no/such.pem`"),
        ("acount_key = 1", "store.lake.acount_key: unknown key `acount_key`\n  hint: did you mean `account_key`?"),
        ("anonymous = 1", "store.lake.anonymous: expected true or false, found an integer"),
    ] {
        let problems = problems(&block(AZURE, line));
        assert!(problems.contains(refused), "{problems}");
    }
}

#[test]
fn the_url_of_a_store_is_that_of_one_and_of_no_disk() {
    for (url, refused) in [
        ("/mnt/lake", "store.lake.url: a disk needs no [store] block"),
        ("hdfs://cluster", "store.lake.url: "),
        ("s3://b?sig=c29tZSBzaWduYXR1cmU", "store.lake.url: "),
    ] {
        let problems = problems(&block(url, ""));
        assert!(problems.contains(refused) && !problems.contains("c29tZSBz"), "{problems}");
    }
    assert_problems(
        &beside("[store.lake]\nanonymous = true"),
        &["limno.toml:8: store.lake.url: is missing, expected what the URIs of its tables begin with"],
    );
    // In another spelling.
    let twice = block(
        "abfss://ml@Account.dfs.core.windows.net",
        "[store.again]\nurl = \"https://account.blob.core.windows.net/ml/\"",
    );
    assert_problems(
        &twice,
        &[
            "limno.toml:10: store.again: has the url of [store.lake]",
            "  hint: leave one of the two out, or give one a longer url",
        ],
    );
}

//! Stores: how the tables below a URL are reached, and who signs in there.
//!
//! A block names exactly one way to sign in, or none, and the environment's is taken. In an overlay another way takes
//! the place of the one in `limno.toml`, whose keys then do not count.

use std::ops::RangeInclusive;
use std::time::Duration;

use limno_sql::lake::{self, Limits, Service, SignIn, StoreOptions};

use super::place::{read_ca_file, read_http};
use super::problem::quoted;
use super::raw::{Section, Value, last_part};
use super::secret::{Env, Secret, read_reference};

/// Services whose keys differ.
const AZURE: &[Service] = &[Service::Azure];
const S3: &[Service] = &[Service::S3];
const GCS: &[Service] = &[Service::Gcs];
const UNITY: &[Service] = &[Service::Unity];
/// Both sign in by Microsoft Entra.
const ENTRA: &[Service] = &[Service::Azure, Service::Unity];
const STORES: &[Service] = &[Service::Azure, Service::S3, Service::Gcs];
const PUBLIC: &[Service] = &[Service::Azure, Service::S3, Service::Gcs, Service::Web, Service::Unity];

/// A way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AccountKey,
    Sas,
    ServicePrincipal,
    ManagedIdentity,
    WorkloadIdentity,
    AzureCli,
    Anonymous,
    AccessKey,
    Profile,
    ServiceAccount,
    Token,
}

/// A key that says who signs in: the way that it stands for, or none for one that several ways share, and the services
/// that know it.
const SIGN_IN_KEYS: &[(&str, Option<Way>, &[Service])] = &[
    ("account_key", Some(Way::AccountKey), AZURE),
    ("sas_token", Some(Way::Sas), AZURE),
    ("client_secret", Some(Way::ServicePrincipal), ENTRA),
    ("managed_identity", Some(Way::ManagedIdentity), ENTRA),
    ("workload_identity", Some(Way::WorkloadIdentity), ENTRA),
    ("azure_cli", Some(Way::AzureCli), ENTRA),
    ("anonymous", Some(Way::Anonymous), PUBLIC),
    ("access_key_id", Some(Way::AccessKey), S3),
    ("secret_access_key", Some(Way::AccessKey), S3),
    ("session_token", Some(Way::AccessKey), S3),
    ("profile", Some(Way::Profile), S3),
    ("service_account", Some(Way::ServiceAccount), GCS),
    ("token", Some(Way::Token), UNITY),
    ("client_id", None, ENTRA),
    ("tenant_id", None, ENTRA),
];

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const BUDGETS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

pub(super) fn read_stores(values: &[(&str, Value<'_>)], env: &dyn Env) -> Vec<StoreOptions> {
    let mut stores: Vec<StoreOptions> = Vec::new();
    let mut urls: Vec<(String, &str)> = Vec::new();
    for (name, value) in values {
        let Some((options, url)) = read_store(name, value, env) else { continue };
        if let Some((_, first)) = urls.iter().find(|(known, _)| *known == url) {
            value.report(
                format!("has the url of [store.{first}]"),
                Some(if value.is_of_overlay() {
                    format!("to say something else of it here, name the block [store.{first}] too")
                } else {
                    "leave one of the two out, or give one a longer url".to_owned()
                }),
            );
            continue;
        }
        urls.push((url, name));
        stores.push(options);
    }
    stores
}

/// One `[store.NAME]`, and its URL in one spelling.
fn read_store(name: &str, value: &Value<'_>, env: &dyn Env) -> Option<(StoreOptions, String)> {
    let mut section = value.section()?;
    let url = section.require("url", "what the URIs of its tables begin with").and_then(|value| read_url(&value));
    let service = url.as_ref().map(|(_, service, _)| *service);
    let sign_in = read_sign_in(name, &mut section, service, env);
    let mut take = |name: &'static str, services: &[Service]| {
        section.take(name).filter(|value| service.is_none_or(|service| belongs(value, service, services)))
    };
    let address = |value: Value<'_>| read_http(&value, &value.text()?.value);
    let given_endpoint = take("endpoint", STORES);
    let host = take("host", UNITY);
    let authority = take("authority", ENTRA);
    let region = take("region", S3);
    let path_style = take("path_style", S3);
    let conditional_put = take("conditional_put", S3);
    let ca_file = section.take("ca_file").and_then(|value| read_ca_file(&value));
    let timeout = section.take("timeout").and_then(|value| read_duration(&value, &TIMEOUTS));
    let retry_budget = section.take("retry_budget").and_then(|value| read_duration(&value, &BUDGETS));
    let connections = section.take("connections").and_then(|value| value.integer(1..=1024_u32));
    section.finish();

    let (text, _, spelled) = url?;
    let default = Limits::default();
    let options = StoreOptions {
        sign_in: sign_in?,
        endpoint: given_endpoint.or(host).and_then(address),
        authority: authority.and_then(address),
        ca_file,
        region: region.and_then(|value| value.text()).map(|region| region.value),
        path_style: path_style.and_then(|value| value.boolean()).unwrap_or(false),
        conditional_put: conditional_put.and_then(|value| value.boolean()).unwrap_or(true),
        limits: Limits {
            timeout: timeout.unwrap_or(default.timeout),
            retry_budget: retry_budget.unwrap_or(default.retry_budget),
            connections: connections.map_or(default.connections, |connections| connections as usize),
            ..default
        },
        ..StoreOptions::new(name, text)
    };
    Some((options, spelled))
}

/// As it is written, whose it is, and in one spelling.
fn read_url(value: &Value<'_>) -> Option<(String, Service, String)> {
    let text = value.text()?.value;
    match lake::store_url(&text) {
        Ok((Service::Disk, _)) => {
            value.report(
                "a disk needs no [store] block",
                Some("write what URIs of object stores begin with, such as abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/".to_owned()),
            );
            None
        }
        Ok((service, spelled)) => Some((text, service, spelled)),
        Err(limno_sql::Error::Unsupported { message, .. } | limno_sql::Error::NotATable { message, .. }) => {
            value.report(message, None);
            None
        }
        Err(error) => {
            value.report(error.to_string(), None);
            None
        }
    }
}

/// Whether a key means something for this service; if not, that is reported.
fn belongs(value: &Value<'_>, service: Service, services: &[Service]) -> bool {
    let belongs = services.contains(&service);
    if !belongs {
        let names: Vec<&str> = services.iter().map(|service| name_of(*service)).collect();
        value.report(
            format!("is a key of {}, but url is of {}", names.join(" and "), name_of(service)),
            hint_for(last_part(&value.key), service),
        );
    }
    belongs
}

const fn name_of(service: Service) -> &'static str {
    match service {
        Service::Disk => "a disk",
        Service::Azure => "Azure",
        Service::S3 => "S3",
        Service::Gcs => "Google Cloud Storage",
        Service::Web => "a web server",
        Service::Unity => "Unity Catalog",
    }
}

fn hint_for(key: &str, service: Service) -> Option<String> {
    let other = match (key, service) {
        ("endpoint", Service::Unity) => "host = \"https://…\", the address of the workspace",
        ("host", Service::Azure | Service::S3 | Service::Gcs) => "endpoint = \"https://…\"",
        ("token", Service::Azure) => "sas_token, account_key, or client_id, tenant_id and client_secret",
        _ => return None,
    };
    Some(format!("write {other}"))
}

fn read_duration(value: &Value<'_>, range: &RangeInclusive<Duration>) -> Option<Duration> {
    let duration = value.duration()?;
    if !range.contains(&duration) {
        let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        value.report(format!("expected a duration from {least} to {most}"), None);
        return None;
    }
    Some(duration)
}

/// Who signs in; nothing if that is at fault, which is reported.
fn read_sign_in(name: &str, section: &mut Section<'_>, service: Option<Service>, env: &dyn Env) -> Option<SignIn> {
    let mut is_right = true;
    let mut given: Vec<(&str, Option<Way>, Value<'_>)> = Vec::new();
    for &(key, way, services) in SIGN_IN_KEYS {
        let Some(value) = section.take(key) else { continue };
        if service.is_some_and(|service| !belongs(&value, service, services)) {
            is_right = false;
            continue;
        }
        let is_flag =
            matches!(way, Some(Way::ManagedIdentity | Way::WorkloadIdentity | Way::AzureCli | Way::Anonymous));
        match is_flag.then(|| value.boolean()) {
            // What is not so is as if it was not written.
            Some(Some(false)) => {}
            Some(None) => is_right = false,
            Some(Some(true)) | None => given.push((key, way, value)),
        }
    }
    drop_replaced(&mut given);
    let Some((first, way)) = given.iter().find_map(|(key, way, value)| Some(((*key, value), (*way)?))) else {
        for (key, _, value) in &given {
            value.report(
                "signs nobody in by itself",
                Some(match *key {
                    "tenant_id" => "add client_id and client_secret = { env = \"…\" }".to_owned(),
                    _ => "add client_secret = { env = \"…\" }, or managed_identity = true".to_owned(),
                }),
            );
            is_right = false;
        }
        return is_right.then_some(SignIn::Environment);
    };
    for (_, other, value) in &given {
        if other.is_some_and(|other| other != way) {
            value.report(
                format!("a second way to sign in beside {} in {}", quoted(first.0), first.1.stands()),
                Some("keep one of the two".to_owned()),
            );
            is_right = false;
        }
    }
    if !is_right {
        return None;
    }
    Keys { name, section, service, given: &given, env }.sign_in(way)
}

/// A way that the overlay names takes the place of another one with all its keys.
fn drop_replaced(given: &mut Vec<(&str, Option<Way>, Value<'_>)>) {
    let of_overlay = given.iter().find_map(|(_, way, value)| (*way).filter(|_| value.is_of_overlay()));
    let of_base = given.iter().find_map(|(_, way, value)| (*way).filter(|_| !value.is_of_overlay()));
    if of_overlay.is_some() && of_base.is_some() && of_overlay != of_base {
        given.retain(|(_, _, value)| value.is_of_overlay());
    }
}

/// The keys of one way to sign in.
struct Keys<'k, 'a> {
    name: &'k str,
    section: &'k Section<'a>,
    service: Option<Service>,
    given: &'k [(&'k str, Option<Way>, Value<'a>)],
    env: &'k dyn Env,
}

impl<'a> Keys<'_, 'a> {
    fn sign_in(&self, way: Way) -> Option<SignIn> {
        let allowed: &[&str] = match way {
            Way::ServicePrincipal => &["client_id", "tenant_id"],
            Way::ManagedIdentity => &["client_id"],
            _ => &[],
        };
        let mut is_right = true;
        for (key, way_of_key, value) in self.given {
            if way_of_key.is_none() && !allowed.contains(key) {
                let hint = (way == Way::WorkloadIdentity).then(|| {
                    "the cluster says it: AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE".to_owned()
                });
                value.report("has no meaning for this way to sign in", hint);
                is_right = false;
            }
        }
        let sign_in = match way {
            Way::AccountKey => SignIn::AccountKey(self.account_key()?),
            Way::Sas => SignIn::Sas(self.sas()?),
            Way::ServicePrincipal => self.service_principal()?,
            Way::ManagedIdentity => {
                let client_id = match self.value("client_id") {
                    Some(value) => Some(self.shown(value)?),
                    None => None,
                };
                SignIn::ManagedIdentity { client_id }
            }
            Way::WorkloadIdentity => SignIn::WorkloadIdentity,
            Way::AzureCli => SignIn::AzureCli,
            Way::Anonymous => SignIn::Anonymous,
            Way::AccessKey => self.access_key()?,
            Way::Profile => SignIn::Profile(self.value("profile")?.text()?.value),
            Way::ServiceAccount => SignIn::ServiceAccount(self.service_account()?),
            Way::Token => SignIn::Token(self.secret("token")?),
        };
        is_right.then_some(sign_in)
    }

    fn value(&self, key: &str) -> Option<&Value<'a>> {
        self.given.iter().find(|(known, _, _)| *known == key).map(|(_, _, value)| value)
    }

    fn secret(&self, key: &str) -> Option<Secret> {
        // No line may be at its end, as there is after `echo secret > file`.
        let read = read_reference(self.value(key)?, self.name, self.env)?;
        Some(Secret::new(read.trim()))
    }

    /// An id, which is no secret but may come from where secrets come from.
    fn shown(&self, value: &Value<'_>) -> Option<String> {
        if value.is_table() { read_reference(value, self.name, self.env) } else { Some(value.text()?.value) }
            .map(|text| text.trim().to_owned())
    }

    /// The value of a key that must be there.
    fn needed(&self, key: &str, beside: &str) -> Option<&Value<'a>> {
        let value = self.value(key);
        if value.is_none() {
            self.section.report(format!("{} is missing beside {}", quoted(key), quoted(beside)), None);
        }
        value
    }

    fn account_key(&self) -> Option<Secret> {
        let key = self.secret("account_key")?;
        let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        if !key.expose().len().is_multiple_of(4) || !key.expose().bytes().all(is_base64) {
            self.value("account_key")?.report(
                "is not the key of a storage account, which is base64",
                Some("take the key alone, not the connection string".to_owned()),
            );
            return None;
        }
        Some(key)
    }

    fn sas(&self) -> Option<Secret> {
        let token = self.secret("sas_token")?;
        let has = |name: &str| {
            let text = token.expose().trim_start_matches('?');
            text.split('&').any(|pair| pair.split('=').next() == Some(name))
        };
        if token.expose().contains("://") || !has("sig") || !has("sv") {
            self.value("sas_token")?.report(
                "is not a shared access signature, which holds sv=… and sig=…",
                Some("take what follows the ? of the URL".to_owned()),
            );
            return None;
        }
        Some(token)
    }

    fn service_principal(&self) -> Option<SignIn> {
        let client_id = self.needed("client_id", "client_secret").and_then(|value| self.shown(value));
        let is_azure = self.service == Some(Service::Azure);
        let tenant_id = match self.value("tenant_id") {
            Some(value) => Some(self.shown(value)?),
            None if is_azure => {
                self.needed("tenant_id", "client_secret")?;
                None
            }
            None => None,
        };
        let client_secret = self.secret("client_secret");
        Some(SignIn::ServicePrincipal { client_id: client_id?, tenant_id, client_secret: client_secret? })
    }

    fn access_key(&self) -> Option<SignIn> {
        let id = self.needed("access_key_id", "secret_access_key").and_then(|value| self.shown(value));
        let secret = self.needed("secret_access_key", "access_key_id").and_then(|_| self.secret("secret_access_key"));
        let session_token = match self.value("session_token") {
            Some(_) => Some(self.secret("session_token")?),
            None => None,
        };
        Some(SignIn::AccessKey { id: id?, secret: secret?, session_token })
    }

    fn service_account(&self) -> Option<Secret> {
        let key = self.secret("service_account")?;
        let parsed = serde_json::from_str::<serde_json::Value>(key.expose()).ok();
        if parsed.is_none_or(|key| key.get("client_email").is_none() || key.get("private_key").is_none()) {
            self.value("service_account")?.report(
                "is not the JSON key of a service account, which holds client_email and private_key",
                Some("name the file that the console gave: { file = \"key.json\" }".to_owned()),
            );
            return None;
        }
        Some(key)
    }
}

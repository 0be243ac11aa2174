//! Temporary credentials for the files of one table, and stores that sign with them.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::aws::AwsCredential;
use object_store::azure::AzureCredential;
use object_store::gcp::GcpCredential;
use url::Url;

use super::answers::Credentials;
use super::client::{Catalog, Failure, Operation};
use super::name::{TableName, decoded};
use super::trouble::Question;
use crate::lake::location::Service;
use crate::lake::options::StoreOptions;
use crate::lake::patience::Renewal;
use crate::lake::provider::{self, Opened};
use crate::lake::renewed::{Fresh, Renewed};
use crate::lake::{azure, gcs, s3};
use crate::secret::Lent;
use crate::{Error, Result};

/// How long credentials are used that do not say how long they hold.
const SHORT_LIFE: Duration = Duration::from_secs(600);

/// The temporary credentials of a table.
pub(super) struct Vended {
    catalog: Arc<Catalog>,
    pub(super) name: TableName,
    /// The catalog's id of the table: another for one that was dropped and created again.
    pub(super) table_id: String,
    pub(super) operation: Operation,
    held: Renewed<Granted, Failure>,
}

/// What was handed out last.
#[derive(Default)]
struct Granted {
    azure: Option<Arc<AzureCredential>>,
    aws: Option<Arc<AwsCredential>>,
    gcp: Option<Arc<GcpCredential>>,
    /// So that none of it is shown.
    _lent: Vec<Lent>,
}

impl Vended {
    pub(super) fn new(catalog: Arc<Catalog>, name: TableName, table_id: String, operation: Operation) -> Self {
        Self { catalog, name, table_id, operation, held: Renewed::default() }
    }

    /// What holds now; it is renewed before it ends.
    async fn granted(&self) -> Result<Arc<Granted>> {
        let renew = || async {
            let (credentials, life) = self.catalog.credentials(&self.table_id, self.operation).await?;
            tracing::debug!(
                table = %self.name,
                operation = self.operation.word(),
                seconds = life.map(|life| life.as_secs()),
                "the catalog handed out temporary credentials"
            );
            Ok(Fresh { value: Granted::of(credentials), life: Some(life.unwrap_or(SHORT_LIFE)) })
        };
        let held = self.held.get(Instant::now, renew).await;
        held.map_err(|failure: Failure| {
            Question { catalog: &self.catalog, name: &self.name, operation: self.operation }.explain(failure, &[])
        })
    }

    /// Opens the store of the table's files, signed with these credentials.
    pub(super) async fn open(self: &Arc<Self>, service: Service, url: &Url, options: &StoreOptions) -> Result<Opened> {
        // The first one is fetched now, so that what is missing is said at once.
        let granted = self.granted().await?;
        let sign_in = format!(
            "temporary credentials ({}) of {}, from {} for {}",
            self.operation.word(),
            self.name.uri(),
            self.catalog.host(),
            self.catalog.sign_in
        );
        let none = |cloud: &str| Error::Unsupported {
            uri: self.name.uri(),
            message: format!("its files are in {cloud}, but the catalog handed out no credential for that"),
        };
        let opened = match service {
            Service::Azure if granted.azure.is_some() => {
                azure::open_as(url, options, self.provider(|granted| granted.azure.clone()), sign_in)
            }
            Service::S3 if granted.aws.is_some() => {
                s3::open_as(url, options, self.provider(|granted| granted.aws.clone()), sign_in)
            }
            Service::Gcs if granted.gcp.is_some() => {
                gcs::open_as(url, options, self.provider(|granted| granted.gcp.clone()), sign_in)
            }
            Service::Azure => Err(none("Azure")),
            Service::S3 => Err(none("S3")),
            Service::Gcs => Err(none("Google Cloud Storage")),
            // What lies on this machine is the user's to read. Whether the table may be is what the catalog was asked.
            Service::Disk => Ok(Opened { sign_in, ..provider::open(service, url, options, false)? }),
            Service::Web | Service::Unity => Err(Error::Unsupported {
                uri: self.name.uri(),
                message: format!("the catalog says that its files are at {url}, which is no place of tables"),
            }),
        };
        let vended = Arc::clone(self);
        let renewal: Renewal = Arc::new(move || vended.held.take_back(Instant::now()));
        Ok(Opened { renewal: Some(renewal), ..opened? })
    }

    fn provider<C>(self: &Arc<Self>, pick: fn(&Granted) -> Option<Arc<C>>) -> Arc<Provider<C>> {
        Arc::new(Provider { vended: Arc::clone(self), pick })
    }
}

impl Granted {
    fn of(credentials: Credentials) -> Self {
        let mut granted = Self::default();
        if let Some(sas) = credentials.azure_user_delegation_sas.filter(|sas| !sas.sas_token.is_empty()) {
            let pairs = sas.sas_token.trim_start_matches('?').split('&');
            let pairs: Vec<_> = pairs
                .filter_map(|pair| pair.trim().split_once('='))
                .map(|(key, value)| (key.to_owned(), decoded(value)))
                .collect();
            let signatures =
                pairs.iter().filter(|(key, _)| key == "sig").map(|(_, signature)| Lent::new(signature.as_str()));
            granted._lent.extend(signatures);
            granted.azure = Some(Arc::new(AzureCredential::SASToken(pairs)));
        } else if let Some(token) = credentials.azure_aad.filter(|token| !token.aad_token.is_empty()) {
            granted._lent.push(Lent::new(token.aad_token.as_str()));
            granted.azure = Some(Arc::new(AzureCredential::BearerToken(token.aad_token)));
        }
        if let Some(key) = credentials.aws_temp_credentials.filter(|key| !key.access_key_id.is_empty()) {
            granted._lent.push(Lent::new(key.secret_access_key.as_str()));
            granted._lent.extend(key.session_token.as_deref().map(Lent::new));
            granted.aws = Some(Arc::new(AwsCredential {
                key_id: key.access_key_id,
                secret_key: key.secret_access_key,
                token: key.session_token,
            }));
        }
        if let Some(token) = credentials.gcp_oauth_token.filter(|token| !token.oauth_token.is_empty()) {
            granted._lent.push(Lent::new(token.oauth_token.as_str()));
            granted.gcp = Some(Arc::new(GcpCredential { bearer: token.oauth_token }));
        }
        granted
    }
}

/// Gives a store the credential of its cloud.
struct Provider<C> {
    vended: Arc<Vended>,
    pick: fn(&Granted) -> Option<Arc<C>>,
}

impl<C> Debug for Provider<C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("table", &self.vended.name.to_string()).finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: Debug + Send + Sync + 'static> object_store::CredentialProvider for Provider<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Unauthenticated {
            path: self.vended.name.uri(),
            source,
        };
        let granted = self.vended.granted().await.map_err(|error| match error {
            // Bare, so that it is found among the causes.
            Error::Access(trouble) => failed(Box::new(trouble)),
            error => failed(Box::new(error)),
        })?;
        (self.pick)(&granted).ok_or_else(|| failed("the catalog now hands out credentials of another kind".into()))
    }
}

//! Tables of Unity Catalog, `uc://catalog.schema.table`.
//!
//! The catalog is asked where a table's files are and for temporary credentials for them: `READ` for tables that are read,
//! `READ_WRITE` for those that are written. From then on the table is one like any other at its storage location, and its
//! store signs with credentials that are renewed before they end ([`super::renewed`]).
//!
//! The requests are our own, three of them (the table, its credentials, the names of its neighbours), and not those of
//! `deltalake-catalog-unity`, whose models fail as a whole on one value that they do not know: a view of a later kind, a
//! column of type VARIANT, a null where the open-source catalog sends one. It also keeps what it learned of a table for
//! ever, the errors too, so that a table that was dropped and created again stays its old id; it loses the status of
//! answers; it trusts no certificates beside the system's; and signs in by machine or cluster only in parts. The tests
//! here hold it to that, so that it is noticed once it does better.

mod answers;
mod client;
mod name;
mod sign_in;
#[cfg(test)]
mod tests;
mod trouble;
mod vended;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::location::{self, Location, Service, plain, shown};
use super::options::StoreOptions;
use super::rules::Rules;
use super::trouble::{Access, TroubleKind};
use crate::{Error, Result};

use answers::TableInfo;
use client::{Catalog, Failure, Http, Operation, is_loopback};
use name::TableName;
use trouble::Question;
use vended::Vended;

/// How long what a catalog said of a table is taken to be so: about as long as one monitor takes to look at its tables.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// The catalogs of a lake, and what they handed out.
pub(super) struct Unity {
    rules: Arc<Rules>,
    /// By the name of the block; none for the environment.
    catalogs: Mutex<HashMap<Option<String>, Arc<Catalog>>>,
    tables: Mutex<HashMap<TableName, Arc<Table>>>,
    known_for: Duration,
    now: fn() -> Instant,
}

/// What is known of one table. Whoever learns more holds the lock, and the others learn it from them.
type Table = tokio::sync::Mutex<Known>;

#[derive(Default)]
struct Known {
    /// What the catalog said, and when it was asked.
    info: Option<(Instant, TableInfo)>,
    vended: Option<(Url, Arc<Vended>)>,
}

impl Unity {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self { rules, catalogs: Mutex::default(), tables: Mutex::default(), known_for: KNOWN_FOR, now: Instant::now }
    }

    /// Where the files of a table are. The rules know by then how they are reached.
    pub(super) async fn locate(&self, url: &Url, access: Access) -> Result<Location> {
        let name = TableName::of(url)?;
        let operation = match access {
            Access::Read | Access::List => Operation::Read,
            Access::Write => {
                self.rules.check_writable(&name.uri())?;
                Operation::ReadWrite
            }
        };
        let (catalog, options) = self.catalog(&name)?;
        let table = {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(tables.entry(name.clone()).or_default())
        };
        let mut known = table.lock().await;
        let question = Question { catalog: &catalog, name: &name, operation };
        let now = (self.now)();
        let info = match &known.info {
            Some((at, info)) if now.saturating_duration_since(*at) < self.known_for => info.clone(),
            _ => match catalog.table(&name).await {
                Ok(info) => {
                    known.info = Some((now, info.clone()));
                    info
                }
                Err(failure) => {
                    *known = Known::default();
                    return Err(self.explained(&question, failure).await);
                }
            },
        };
        let (table_id, location) = files_of(&question, &info)?;
        if let Some((url, vended)) = &known.vended
            && *url == location.url
            && vended.table_id == table_id
            && (vended.operation == operation || vended.operation == Operation::ReadWrite)
        {
            return Ok(location);
        }
        let vended = Arc::new(Vended::new(Arc::clone(&catalog), name.clone(), table_id, operation));
        // Address, certificates and region are those of the place; who signs in there is the catalog's to say.
        let mut of_place = self
            .rules
            .block(&plain(&location.url))
            .cloned()
            .unwrap_or_else(|| StoreOptions { limits: options.limits, ..StoreOptions::new("environment", "") });
        of_place.sign_in = super::SignIn::Anonymous;
        let opened = vended.open(location.service, &location.url, &of_place).await?;
        let is_writable = operation == Operation::ReadWrite;
        self.rules.hand_out(&location.url, location.service, opened, &of_place, is_writable);
        known.vended = Some((location.url.clone(), vended));
        Ok(location)
    }

    /// That the catalog knows these tables, and that they may be written.
    pub(super) async fn check_created(&self, tables: &[Url]) -> Result<()> {
        let mut missing = Vec::new();
        for url in tables {
            match self.locate(url, Access::Write).await {
                Ok(_) => {}
                Err(Error::Access(trouble)) if trouble.kind == TroubleKind::NoTable => {
                    missing.push(TableName::of(url)?);
                }
                Err(error) => return Err(error),
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(trouble::to_create(&missing)) }
    }

    /// The error for the user; for a table that is not there, with the one that may have been meant.
    async fn explained(&self, question: &Question<'_>, failure: Failure) -> Error {
        let is_missing = matches!(&failure, Failure::Refused(refusal) if matches!(refusal.status, 400 | 404));
        let others = match question.operation {
            Operation::Read if is_missing => question.catalog.tables(question.name).await.unwrap_or_default(),
            _ => Vec::new(),
        };
        question.explain(failure, &others)
    }

    fn catalog(&self, name: &TableName) -> Result<(Arc<Catalog>, StoreOptions)> {
        let uri = name.uri();
        let block = self.rules.block(&uri);
        let options = block.cloned().unwrap_or_else(|| StoreOptions::new("environment", "uc://"));
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = block.map(|block| block.name.clone());
        if let Some(catalog) = catalogs.get(&key) {
            return Ok((Arc::clone(catalog), options));
        }
        let refused = |message: String| Error::Unsupported {
            uri: uri.clone(),
            message: crate::secret::redact(&message).into_owned(),
        };
        let host = host(&options).map_err(refused)?;
        let (signer, sign_in) = sign_in::signer(&host, &options, block.is_some()).map_err(refused)?;
        let http = Http::new(&options, options.allows_http() || host.scheme() == "http").map_err(refused)?;
        let catalog = Arc::new(Catalog::new(host, http, signer, sign_in));
        catalogs.insert(key, Arc::clone(&catalog));
        Ok((catalog, options))
    }
}

/// The address of the catalog.
fn host(options: &StoreOptions) -> Result<Url, String> {
    let host = match &options.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let text = sign_in::variable("DATABRICKS_HOST").ok_or(
                "it is not known where the catalog is; write a [store.NAME] block with url = \"uc://\" and host, or set \
                 DATABRICKS_HOST",
            )?;
            // Some write the bare name of the host.
            let text = if text.contains("://") { text } else { format!("https://{text}") };
            Url::parse(text.trim()).map_err(|error| format!("DATABRICKS_HOST is no address: {error}"))?
        }
    };
    match host.scheme() {
        "https" => Ok(host),
        "http" if is_loopback(&host) => Ok(host),
        _ => Err(format!(
            "the catalog is at {}, which would be asked in clear text; write https://",
            shown(host.as_str())
        )),
    }
}

/// The id of a table and the place of its files, if it is one that we read.
fn files_of(question: &Question<'_>, info: &TableInfo) -> Result<(String, Location)> {
    let uri = question.name.uri();
    let not_a_table = |message: String| Error::NotATable { uri: uri.clone(), message };
    let kind = info.table_type.as_deref().unwrap_or_default();
    let words = kind.to_ascii_lowercase().replace('_', " ");
    let format = info.data_source_format.as_deref().unwrap_or_default();
    match kind {
        "VIEW" | "MATERIALIZED_VIEW" | "METRIC_VIEW" => {
            return Err(not_a_table(format!(
                "it is a {words}, which has no files that an outside engine may read; use a table that it reads, or \
                 write it to a table"
            )));
        }
        "FOREIGN" => {
            return Err(not_a_table(
                "it is a foreign table, whose rows are in another system; write them to a Delta table".to_owned(),
            ));
        }
        _ if kind.ends_with("SHALLOW_CLONE") => {
            return Err(not_a_table(format!(
                "it is a {words}, whose files are another table's; use that one, or a deep clone"
            )));
        }
        _ => {}
    }
    if format != "DELTA" {
        let format = if format.is_empty() { "no known format" } else { format };
        return Err(not_a_table(format!("it is a table of {format}; only Delta tables are read from a catalog")));
    }
    let features = info.properties.iter().flatten();
    for (key, value) in features {
        if ["delta.feature.catalogManaged", "delta.feature.catalogOwned", "delta.feature.catalogOwned-preview"]
            .contains(&key.as_str())
            && value == "supported"
        {
            return Err(Error::Features { uri, features: "catalogManaged (the catalog keeps its commits)".to_owned() });
        }
    }
    let (Some(table_id), Some(place)) = (&info.table_id, &info.storage_location) else {
        return Err(not_a_table("the catalog does not say where its files are".to_owned()));
    };
    // `file:/x` is how Java spells `file:///x`.
    let place = match place.strip_prefix("file:/") {
        Some(path) => format!("file:///{}", path.trim_start_matches('/')),
        None => place.clone(),
    };
    let refused = |message: String| Error::Unsupported { uri: uri.clone(), message };
    if !place.contains("://") {
        return Err(refused(format!("the catalog says that its files are at {place}, which is no location")));
    }
    let location = location::parse(&place)
        .map_err(|error| refused(format!("the catalog says that its files are at {}: {error}", shown(&place))))?;
    match location.service {
        Service::Azure | Service::S3 | Service::Gcs => {}
        // A catalog elsewhere has no say in what is read and written on this machine.
        Service::Disk if question.catalog.is_local() => {}
        Service::Disk => {
            return Err(refused(format!(
                "the catalog says that its files are at {place}, on a disk; only a catalog on this machine may say so"
            )));
        }
        Service::Web | Service::Unity => {
            return Err(refused(format!(
                "the catalog says that its files are at {}, which is no place of tables",
                shown(&place)
            )));
        }
    }
    Ok((table_id.clone(), location))
}

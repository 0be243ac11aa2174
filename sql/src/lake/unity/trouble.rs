//! What a catalog's refusal means for the user, in one message that says what to do.

use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;

use super::answers::Refusal;
use super::client::{Catalog, Failure, Operation};
use super::name::TableName;
use crate::Error;
use crate::lake::trouble::{Trouble, TroubleKind};
use crate::secret::redact;

/// What was asked.
pub(super) struct Question<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) name: &'a TableName,
    pub(super) operation: Operation,
}

/// Names that are less alike are others.
const ALIKE: f64 = 0.6;

impl Question<'_> {
    /// The error for the user. `others` are the tables of the schema, as far as they are known.
    pub(super) fn explain(&self, failure: Failure, others: &[String]) -> Error {
        let (kind, what, hint) = match failure {
            Failure::Refused(refusal) => self.refused(&refusal, others),
            Failure::NotSignedIn(refusal) => (
                TroubleKind::WrongCredential,
                format!("{} is not accepted{}", self.who(), in_words(&refusal)),
                "check that the credential is whole, still valid, and of this workspace".to_owned(),
            ),
            Failure::Nobody(message) => (
                TroubleKind::NoCredential,
                format!("{} could not sign in ({message})", self.who()),
                "say in a [store.NAME] block with url = \"uc://\" who signs in: token, client_id and client_secret, \
                 managed_identity, workload_identity or azure_cli"
                    .to_owned(),
            ),
            Failure::Unreachable(message) => (
                TroubleKind::Unreachable,
                format!("the catalog at {} does not answer ({message})", self.catalog.host()),
                "check the host of the [store] block or DATABRICKS_HOST, and the network".to_owned(),
            ),
            Failure::Strange(message) => (
                TroubleKind::Unreachable,
                format!("{} does not answer as a Unity Catalog does ({message})", self.catalog.host()),
                "check the host of the [store] block or DATABRICKS_HOST; it is the workspace's, without a path"
                    .to_owned(),
            ),
        };
        let verb = match self.operation {
            Operation::Read => "read",
            Operation::ReadWrite => "write",
        };
        let message = format!("cannot {verb} {}: {what}\n  hint: {hint}", self.name.uri());
        Error::Access(Trouble::new(kind, redact(&message).into_owned()))
    }

    fn who(&self) -> &str {
        &self.catalog.sign_in
    }

    fn refused(&self, refusal: &Refusal, others: &[String]) -> (TroubleKind, String, String) {
        let (who, host, said) = (self.who(), self.catalog.host(), in_words(refusal));
        if is_missing(refusal) {
            return (
                TroubleKind::NoTable,
                format!("there is no such table in the catalog{said}"),
                self.instead(others),
            );
        }
        // Databricks says this of an outside engine with 401 and with 403.
        if refusal.says(&[
            "EXTERNAL_ACCESS_DISABLED",
            "EXTERNAL_GENERATE_TABLE_CREDENTIALS_DENIED",
            "external_access_enabled",
        ]) || (refusal.says(&["external"])
            && refusal.says(&["metastore"])
            && refusal.says(&["disabled", "not enabled"]))
        {
            return (
                TroubleKind::NotAllowed,
                format!("the catalog hands out no credentials to engines outside of Databricks{said}"),
                "a metastore admin must switch on \"External data access\" for the metastore (Catalog > Settings > \
                 Metastore)"
                    .to_owned(),
            );
        }
        let is_old = refusal.says(&["expired"]);
        let is_wrong =
            refusal.says(&["Invalid access token", "invalid token", "invalid_token", "Credential was not sent"]);
        match refusal.status {
            401 | 403 if is_old && (refusal.status == 401 || refusal.says(&["token"])) => (
                TroubleKind::Expired,
                format!("{who} has expired{said}"),
                "create a new one, and set it where limno runs; a service principal (client_id and client_secret) gets \
                 new tokens by itself"
                    .to_owned(),
            ),
            401 => (TroubleKind::WrongCredential, format!("{host} does not accept {who}{said}"), wrong()),
            403 if is_wrong => (TroubleKind::WrongCredential, format!("{host} does not accept {who}{said}"), wrong()),
            403 => (TroubleKind::NotAllowed, format!("{who} may not{said}"), self.grants()),
            429 | 500.. => (
                TroubleKind::Unreachable,
                match refusal.asks {
                    Some(asks) => format!(
                        "the catalog at {host} asks to be left alone for {} s ({}){said}",
                        asks.as_secs(),
                        refusal.status
                    ),
                    None => format!("the catalog at {host} fails, however often it is asked ({}){said}", refusal.status),
                },
                "try again later; if it lasts, look at the state of the workspace".to_owned(),
            ),
            404 => (
                TroubleKind::Unreachable,
                format!("{host} does not answer as a Unity Catalog does (404)"),
                "check the host of the [store] block or DATABRICKS_HOST; it is the workspace's, without a path"
                    .to_owned(),
            ),
            // Managed tables, tables with row filters or column masks, and others that outside engines do not get.
            status => (
                TroubleKind::NotAllowed,
                format!("the catalog hands out no credentials for it ({status}){said}"),
                match self.operation {
                    Operation::Read => "outside engines read Delta tables without row filters and column masks",
                    Operation::ReadWrite => {
                        "outside engines write external tables only; create it with a LOCATION of its own"
                    }
                }
                .to_owned(),
            ),
        }
    }

    /// What is to be granted, as statements.
    fn grants(&self) -> String {
        let (schema, table) = (self.name.schema_in_sql(), self.name.in_sql());
        let privileges = match self.operation {
            Operation::Read => "SELECT",
            Operation::ReadWrite => "SELECT, MODIFY",
        };
        format!(
            "grant, as an owner: GRANT USE CATALOG ON CATALOG {}; GRANT USE SCHEMA, EXTERNAL USE SCHEMA ON SCHEMA {schema}; \
             GRANT {privileges} ON TABLE {table}. EXTERNAL USE SCHEMA is for engines outside of Databricks: only the \
             owner of the catalog grants it, and ALL PRIVILEGES does not contain it",
            super::name::in_sql(&self.name.catalog)
        )
    }

    /// What to do about a table that is not there.
    fn instead(&self, others: &[String]) -> String {
        if self.operation == Operation::ReadWrite {
            return format!(
                "engines outside of Databricks create no tables; create it once, below an external location, then run \
                 again: {}",
                creation(self.name)
            );
        }
        let alike = |name: &&String| normalized_levenshtein(name, &self.name.table);
        let nearest = others.iter().map(|name| (alike(&name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
        match nearest {
            Some((alike, name)) if alike >= ALIKE => {
                format!("the nearest name is uc://{}.{}.{name}", self.name.catalog, self.name.schema)
            }
            _ => format!("check the name, and that {} may see it (USE CATALOG, USE SCHEMA, SELECT)", self.who()),
        }
    }
}

/// The error for tables that are to be created before anything can be written to them.
pub(super) fn to_create(tables: &[TableName]) -> Error {
    let (names, statements): (Vec<_>, Vec<_>) =
        tables.iter().map(|name| (name.uri(), format!("    {};", creation(name)))).unzip();
    let message = format!(
        "the catalog does not know {}\n  hint: engines outside of Databricks create no tables; create them once, below an \
         external location, then run again:\n{}",
        names.join(", "),
        statements.join("\n")
    );
    Error::Access(Trouble::new(TroubleKind::NoTable, message))
}

/// The statement that creates a table for us to write to.
fn creation(name: &TableName) -> String {
    format!("CREATE TABLE {} USING DELTA LOCATION '<folder of an external location>/{}'", name.in_sql(), name.table)
}

/// Whether it is the catalog that says that something is not there, and not a web server.
fn is_missing(refusal: &Refusal) -> bool {
    refusal.says(&["DOES_NOT_EXIST", "NOT_FOUND"])
        || (refusal.status == 404 && !refusal.message.is_empty() && !refusal.says(&["ENDPOINT_NOT_FOUND"]))
}

fn wrong() -> String {
    "check that it is whole, not revoked, and of this workspace".to_owned()
}

/// What the service said, in brackets.
fn in_words(refusal: &Refusal) -> String {
    let (code, message) = (refusal.code.as_str(), refusal.message.as_str());
    match (code.is_empty(), message.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(" ({code})"),
        (true, false) => format!(" ({message})"),
        (false, false) => format!(" ({code}: {message})"),
    }
}

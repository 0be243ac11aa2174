//! The places of tables: a URI or a path that can be a table's, for what it is used.

use limno_sql::lake::{self, Service};

use super::Located;
use super::raw::Value;

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A table, or files, to read.
    Table,
    /// The folder of the metric tables.
    Output,
    /// Any folder.
    Folder,
}

/// Reads a URI or a path, and refuses what can never be reached.
pub(super) fn read_uri(value: &Value<'_>, used: Use) -> Option<Located<String>> {
    let uri = value.text()?;
    let service = match lake::service_of(&uri.value) {
        Ok(service) => service,
        Err(limno_sql::Error::Unsupported { message, .. } | limno_sql::Error::NotATable { message, .. }) => {
            value.report(message, None);
            return None;
        }
        Err(error) => {
            value.report(error.to_string(), None);
            return None;
        }
    };
    let parts = || uri.value.trim_start_matches("uc://").trim_end_matches('/').split('.').count();
    let (message, hint) = match (service, used) {
        (Service::Web, Use::Output | Use::Folder) => {
            ("nothing is written to a web server", "write abfss://, s3://, gs://, uc:// or a path")
        }
        (Service::Unity, Use::Table) if parts() != 3 => {
            ("is not the name of a table", "write uc://CATALOG.SCHEMA.TABLE")
        }
        (Service::Unity, Use::Output) if parts() != 2 => {
            ("is not the name of a schema, in which metric tables are", "write uc://CATALOG.SCHEMA")
        }
        _ => return Some(uri),
    };
    value.report(message, Some(hint.to_owned()));
    None
}

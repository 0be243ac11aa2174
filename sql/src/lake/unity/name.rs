//! The name of a table in a catalog.

use std::fmt::{self, Display, Formatter};

use url::Url;

use crate::lake::location::shown;
use crate::{Error, Result};

/// `catalog.schema.table`, in small letters, as catalogs keep names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TableName {
    pub(super) catalog: String,
    pub(super) schema: String,
    pub(super) table: String,
}

impl TableName {
    /// Reads the URL of a table.
    pub(super) fn of(url: &Url) -> Result<Self> {
        let refused = |message: &str| Error::Unsupported { uri: shown(url.as_str()), message: message.to_owned() };
        if !url.path().trim_matches('/').is_empty() || url.port().is_some() || !url.username().is_empty() {
            return Err(refused("a table of a catalog is uc://CATALOG.SCHEMA.TABLE, with nothing before or after it"));
        }
        let host = decoded(url.host_str().unwrap_or_default());
        let parts: Vec<&str> = host.split('.').collect();
        match parts.as_slice() {
            [catalog, schema, table] if parts.iter().all(|part| !part.is_empty()) => {
                Ok(Self { catalog: (*catalog).to_owned(), schema: (*schema).to_owned(), table: (*table).to_owned() })
            }
            _ => Err(refused("a table of a catalog has a name of three parts, uc://CATALOG.SCHEMA.TABLE")),
        }
    }

    /// Its schema with its catalog, as SQL spells it.
    pub(super) fn schema_in_sql(&self) -> String {
        format!("{}.{}", in_sql(&self.catalog), in_sql(&self.schema))
    }

    /// The whole name as SQL spells it.
    pub(super) fn in_sql(&self) -> String {
        format!("{}.{}", self.schema_in_sql(), in_sql(&self.table))
    }

    /// As a location.
    pub(super) fn uri(&self) -> String {
        format!("uc://{self}")
    }
}

impl Display for TableName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

/// A name as SQL spells it: in backticks where it is no plain word.
pub(super) fn in_sql(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

/// A text without its percent encoding. A plus stays what it is.
pub(super) fn decoded(text: &str) -> String {
    let query = format!("_={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(query.as_bytes()).next().map(|(_, text)| text.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::location;

    fn name(uri: &str) -> Result<TableName> {
        TableName::of(&location::parse(uri)?.url)
    }

    #[test]
    fn three_parts_in_small_letters() {
        let found = name("uc://Main.risk-eu.Größe").unwrap();
        assert_eq!(found.to_string(), "main.risk-eu.größe");
        assert_eq!(found.in_sql(), "main.`risk-eu`.`größe`");
        for uri in
            ["uc://main.risk", "uc://main", "uc://a.b.c.d", "uc://a..c", "uc://a.b.c/d", "uc://x@a.b.c", "uc://a.b.c:1"]
        {
            assert!(name(uri).unwrap_err().to_string().contains("uc://CATALOG.SCHEMA.TABLE"), "{uri}");
        }
    }

    #[test]
    fn encoded_text_is_read_and_a_plus_is_a_plus() {
        assert_eq!(decoded("a%2Fb+c%3D&d"), "a/b+c=&d");
    }
}

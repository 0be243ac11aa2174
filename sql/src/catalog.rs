//! Metric tables under their names, for queries.
//!
//! Tables that several outputs hold under one name (`alerts`, `refreshes`) appear as one: the union of all.

use std::collections::BTreeMap;

use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, SessionContext};

use crate::source::Source;
use crate::{Result, dialect};

/// Tables by the name that a query uses; each name may stand for tables at several places.
#[derive(Debug, Clone, Default)]
pub struct MetricTables {
    places: BTreeMap<String, Vec<String>>,
}

impl MetricTables {
    /// Adds the table at `uri` under `name`.
    pub fn add(&mut self, name: impl Into<String>, uri: impl Into<String>) {
        let places = self.places.entry(name.into()).or_default();
        let uri = uri.into();
        if !places.contains(&uri) {
            places.push(uri);
        }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Registers every table that exists; names of tables that were not written yet stay free.
    ///
    /// # Errors
    /// When a table is there but does not open.
    pub async fn register(&self, context: &SessionContext) -> Result<Vec<String>> {
        let mut registered = Vec::new();
        for (name, places) in &self.places {
            let mut union: Option<DataFrame> = None;
            for uri in places {
                let Some(source) = Source::open_own(context, uri).await? else { continue };
                let table = context.read_table(source.provider)?;
                union = Some(match union {
                    None => table,
                    Some(union) => union.union_by_name(table)?,
                });
            }
            if let Some(union) = union {
                context.register_table(name.as_str(), union.into_view())?;
                registered.push(name.clone());
            }
        }
        Ok(registered)
    }
}

/// A read-only query: no DDL, no DML, no statements. What is written for Databricks' metric tables runs as it is; see
/// [`crate::dialect`].
///
/// # Errors
/// When the query does not parse or plan, or would change something.
pub async fn query(context: &SessionContext, sql: &str) -> Result<DataFrame> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    Ok(dialect::plan(context, sql, &options).await?)
}

//! What is made of a table's own rows before they are measured.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;

use super::labels::LabelJoin;
use crate::Result;
use crate::payload::{PayloadOptions, quarantined, unpacked};

/// A view of a table's rows.
#[derive(Debug, Clone)]
pub enum View {
    /// Requests and responses of a model server, unpacked to a row for each prediction.
    Payload(Arc<PayloadOptions>),
    /// With labels from another table.
    Labels(Arc<LabelJoin>),
}

impl std::fmt::Display for View {
    /// What its rows depend on beside the tables' own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Payload(options) => {
                let PayloadOptions { layout, schema, statuses, calendar, unit } = options.as_ref();
                // Keys and positions too: rows that are lists find their columns by them.
                let columns = serde_json::to_string(schema).map_err(|_| std::fmt::Error)?;
                write!(f, "payload {layout:?} {columns} {statuses:?} {calendar:?} {unit}")
            }
            Self::Labels(join) => {
                let LabelJoin { labels, on, label, latest_by } = join.as_ref();
                write!(f, "labels {} {on:?} {label:?} {latest_by:?}", labels.uri)
            }
        }
    }
}

impl View {
    /// The view of the rows of `inner`.
    ///
    /// # Errors
    /// When it does not fit them.
    pub(super) fn over(&self, inner: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        match self {
            Self::Payload(options) => unpacked(inner, options),
            Self::Labels(join) => join.over(&inner),
        }
    }

    /// How a log of requests is unpacked.
    pub(super) const fn payload(&self) -> Option<&Arc<PayloadOptions>> {
        match self {
            Self::Payload(options) => Some(options),
            Self::Labels(_) => None,
        }
    }

    /// Of rows that cannot be measured, the description; null for the others.
    pub(super) fn refused_items(&self) -> Option<Expr> {
        self.payload().map(|_| quarantined())
    }
}

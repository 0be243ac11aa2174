//! What is made of a table's own rows before they are measured.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;

use super::labels::LabelJoin;
use crate::Result;

/// A view of a table's rows.
#[derive(Debug, Clone)]
pub enum View {
    /// With labels from another table.
    Labels(Arc<LabelJoin>),
}

impl std::fmt::Display for View {
    /// What its rows depend on beside the tables' own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
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
            Self::Labels(join) => join.over(inner),
        }
    }

    /// Whether not every row of it is measured.
    pub(super) const fn has_outcomes(&self) -> bool {
        match self {
            Self::Labels(_) => false,
        }
    }

    pub(super) const fn payload_schema(&self) -> Option<String> {
        match self {
            Self::Labels(_) => None,
        }
    }

    pub(super) const fn refused_items(&self) -> Option<Expr> {
        match self {
            Self::Labels(_) => None,
        }
    }
}

//! Labels that come later, in a table of their own.

use super::Located;
use super::raw::Value;
use super::uri::{Use, read_uri};

/// The key `labels` of an inference log: which table tells what was right.
#[derive(Debug, Clone)]
pub struct LabelsConfig {
    /// The table: a URI or a path, as given.
    pub table: Located<String>,
    /// Columns that say which row a label belongs to: the monitored table's, and the one of equal values in the table of
    /// labels. At least one.
    pub on: Vec<(Located<String>, String)>,
    /// The column of the labels.
    pub label: Located<String>,
    /// Of several labels of one row, the one with the greatest value here counts; without it, none does unless all are
    /// equal.
    pub latest_by: Option<Located<String>>,
}

pub(super) fn read_labels(value: &Value<'_>) -> Option<LabelsConfig> {
    let mut section = value.section()?;
    let table =
        section.require("table", "the table of labels: a URI or a path").and_then(|value| read_uri(&value, Use::Table));
    let on =
        section.require("on", "the columns that say which row a label belongs to").and_then(|value| read_on(&value));
    let label = section.require("label", "the column of the labels").and_then(|value| value.text());
    let latest_by = section.take("latest_by").map(|value| value.text());
    section.finish();
    let latest_by = match latest_by {
        None => None,
        Some(column) => Some(column?),
    };
    Some(LabelsConfig { table: table?, on: on?, label: label?, latest_by })
}

/// Names that both tables have, or a table from the one's to the other's.
fn read_on(value: &Value<'_>) -> Option<Vec<(Located<String>, String)>> {
    if value.is_table() {
        let mut pairs = Vec::new();
        for (name, other) in value.section()?.into_entries() {
            pairs.push((other.located(name.to_owned()), other.text()?.value));
        }
        if pairs.is_empty() {
            value.report("is empty, so labels would belong to no row", None);
            return None;
        }
        return Some(pairs);
    }
    let names = value.some_texts("is empty, so labels would belong to no row")?;
    Some(names.into_iter().map(|name| (name.clone(), name.value)).collect())
}

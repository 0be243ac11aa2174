//! Digests of what the states of a monitor depend on: equal digests, equal states of equal rows.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::Expr;
use limno_sql::expression::SliceExpression;
use limno_sql::plan::Measure;
use limno_sql::source::{Source, View};
use sha2::{Digest, Sha256};

use super::{BoundMetric, BoundMonitor};

/// Raised when what the metric tables say of the same states changes: their rows are then made anew.
const FORMULAS: u32 = 1;

/// 16 hexadecimal digits over parts that are told apart from each other.
pub(super) fn digest(parts: impl IntoIterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What a column of a table is: its identity and its type, whatever it is called.
fn column_of(source: &Source, schema: &SchemaRef, name: &str) -> String {
    let data_type = schema.field_with_name(name).map(|field| field.data_type().to_string());
    format!("{} {}", source.identity(name), data_type.unwrap_or_default())
}

/// What the columns are that a view reads of its tables: their names can be swapped, and no row changes.
fn columns_of_view(source: &Source, view: &View) -> Vec<String> {
    match view {
        View::Payload(options) => options.layout.columns().map(|name| source.identity(name)).collect(),
        View::Labels(join) => {
            let ours = join.on.iter().map(|(ours, _)| source.identity(ours));
            let theirs = join.on.iter().map(|(_, theirs)| theirs).chain([&join.label]).chain(&join.latest_by);
            ours.chain(theirs.map(|name| join.labels.identity(name))).collect()
        }
    }
}

/// What a state is over, whatever its columns are called, and what it keeps.
fn measure(source: &Source, schema: &SchemaRef, measure: &Measure) -> String {
    let Measure { name, inputs, options } = measure;
    let columns = inputs.iter().flat_map(Expr::column_refs).map(|column| column_of(source, schema, &column.name));
    let columns: BTreeSet<String> = columns.collect();
    let inputs = inputs.iter().map(ToString::to_string);
    digest([name.clone(), format!("{options:?}")].into_iter().chain(inputs).chain(columns))
}

fn slice(source: &Source, schema: &SchemaRef, slice: &SliceExpression) -> String {
    let mut columns: Vec<String> =
        slice.expr.column_refs().iter().map(|column| column_of(source, schema, &column.name)).collect();
    columns.sort_unstable();
    digest([slice.key.clone(), slice.expr.to_string()].into_iter().chain(columns))
}

impl BoundMonitor {
    /// What every state depends on but the length of the windows: how rows find their window and their model.
    #[must_use]
    pub fn scope(&self) -> String {
        let schema = self.source.schema();
        let role = |name: Option<&str>| name.map(|name| column_of(&self.source, &schema, name)).unwrap_or_default();
        let timestamp = self.config.kind.timestamp().map(|column| column.value.as_str());
        let mut parts = vec![self.config.timezone.to_string(), role(timestamp), role(self.model_id())];
        // Without one the digest is what it was before there were offsets.
        if self.config.offset_minutes > 0 {
            parts.push(format!("offset {}", self.config.offset_minutes));
        }
        if let Some(column) = self.config.kind.sampling_fraction() {
            parts.push(format!("weight {}", role(Some(&column.value))));
        }
        for view in &self.source.views {
            parts.push(view.to_string());
            parts.extend(columns_of_view(&self.source, view));
        }
        digest(parts)
    }

    /// The digest of a state that is kept of all groups.
    #[must_use]
    pub fn measure_definition(&self, of: &Measure) -> String {
        measure(&self.source, &self.source.schema(), of)
    }

    /// The digest of the slices of an expression.
    #[must_use]
    pub fn slice_definition(&self, of: &SliceExpression) -> String {
        slice(&self.source, &self.source.schema(), of)
    }

    /// The digest of all states of the baseline.
    #[must_use]
    pub fn baseline_definition(&self) -> Option<String> {
        let baseline = self.baseline.as_ref()?;
        let (source, schema) = (&baseline.source, baseline.source.schema());
        let columns = baseline.measures.iter().map(|of| measure(source, &schema, of));
        let slices = baseline.slices.iter().map(|(_, of)| slice(source, &schema, of));
        let model = baseline.model.iter().map(|model| column_of(source, &schema, model));
        let uri = source.uri.clone();
        Some(digest(columns.chain(slices).chain(["model".to_owned()]).chain(model).chain([uri])))
    }

    /// The digest of everything that metric rows depend on. Rules, notifiers and places may change without it.
    #[must_use]
    pub fn metrics_definition(&self) -> String {
        let config = &self.config;
        let mut parts = vec![
            FORMULAS.to_string(),
            config.table.value.clone(),
            self.scope(),
            format!("{:?} {:?} {:?}", config.week_start, config.grace, config.bins),
            format!("{:?}", self.model_id()),
            format!("{:?}", self.baseline_definition()),
        ];
        parts.extend(self.granularities().iter().map(ToString::to_string));
        parts.push("slices".to_owned());
        parts.extend(self.slices.iter().map(|of| self.slice_definition(of)));
        parts.push("columns".to_owned());
        parts.extend(self.columns.iter().map(|of| format!("{} {}", of.name, of.data_type)));
        parts.extend(self.measures().iter().map(|of| self.measure_definition(of)));
        parts.push("metrics".to_owned());
        parts.extend(self.metrics.iter().map(BoundMetric::description));
        parts.push(format!("{}", config.min_slice_size));
        parts.extend(self.baseline.iter().flat_map(|baseline| &baseline.columns).map(|found| format!("{found:?}")));
        digest(parts)
    }
}

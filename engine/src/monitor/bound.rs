//! A monitor with its tables: what a refresh reads of them, and which columns its metric tables have.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use limno_metrics::column::ColumnOptions;
use limno_metrics::schema::{Shape, drift_schema, profile_schema};
use limno_sql::expression::SliceExpression;
use limno_sql::plan::{Measure, MeasureOptions, StateQuery, TimeColumn, Within};
use limno_sql::source::Source;
use limno_sql::window::{Calendar, Granularity, unit};

use super::metric::BoundMetric;
use crate::config::{MetricKind, MonitorConfig};

/// The name under which the ledger keeps the state of model quality.
pub const QUALITY: &str = ":quality";
/// The name under which the ledger keeps the rows of a log that could not be parsed.
pub const QUARANTINE: &str = ":quarantine";

/// A monitor and its tables.
#[derive(Debug, Clone)]
pub struct BoundMonitor {
    /// The configuration.
    pub config: MonitorConfig,
    /// The monitored table, at the version to read.
    pub source: Source,
    /// The table of labels, if they come from one, at the version to read.
    pub labels: Option<Source>,
    /// The baseline.
    pub baseline: Option<BoundBaseline>,
    /// The columns to profile, in the table's order.
    pub columns: Vec<BoundColumn>,
    /// The state of model quality, where there are labels.
    pub quality: Option<Measure>,
    /// The metrics of the user, in the order of the file.
    pub metrics: Vec<BoundMetric>,
    /// The slicing expressions.
    pub slices: Vec<SliceExpression>,
}

/// One profiled column, or a field within one.
#[derive(Debug, Clone)]
pub struct BoundColumn {
    /// Its name; of a field, the names on the way to it with dots between them.
    pub name: String,
    /// The column, and the fields on the way.
    pub path: Vec<String>,
    /// Spark's name of its type.
    pub data_type: String,
    /// What its state keeps.
    pub options: ColumnOptions,
    /// Whether its values are the classes of a classification.
    pub is_class: bool,
}

/// The baseline and what of it can be compared.
#[derive(Debug, Clone)]
pub struct BoundBaseline {
    /// The table, at the version to read.
    pub source: Source,
    /// For each profiled column, what the baseline has.
    pub columns: Vec<BaselineColumn>,
    /// The states that can be made of it.
    pub measures: Vec<Measure>,
    /// What cannot be told of it, because it has no column, or one of another type: model quality, and metrics by name.
    pub lacking: Vec<String>,
    /// The slicing expressions that hold on the baseline, by their position in the monitor.
    pub slices: Vec<(usize, SliceExpression)>,
    /// The model column, if the baseline has it.
    pub model: Option<String>,
}

/// What the baseline has of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineColumn {
    /// The same kind of column.
    Same,
    /// Nothing.
    Missing,
    /// A column of another kind.
    Changed {
        /// Spark's name of the baseline's type.
        data_type: String,
    },
}

impl BoundBaseline {
    /// Why the row of the table lacks numbers; `None` if it has them all.
    #[must_use]
    pub fn why_lacking(&self) -> Option<String> {
        let lacking = self.lacking.join(", ");
        (!lacking.is_empty()).then(|| format!("the baseline lacks the columns, or their types, for: {lacking}"))
    }
}

impl BoundColumn {
    /// Its measure.
    #[must_use]
    pub fn measure(&self) -> Measure {
        self.measure_of(&self.data_type)
    }

    /// Its measure in a table where its type has this name of Spark's.
    #[must_use]
    pub fn measure_of(&self, data_type: &str) -> Measure {
        if self.is_class && ["double", "float"].contains(&data_type) {
            Measure::of_classes(&self.name, &self.path, self.options)
        } else {
            Measure::of_column(&self.name, &self.path, self.options)
        }
    }
}

impl BoundMonitor {
    /// Time zone, start of days and start of weeks.
    #[must_use]
    pub const fn calendar(&self) -> Calendar {
        let MonitorConfig { timezone, week_start, offset_minutes, .. } = self.config;
        Calendar { timezone, week_start, offset_minutes }
    }

    /// The lengths of the windows.
    #[must_use]
    pub fn granularities(&self) -> Vec<Granularity> {
        self.config.kind.granularities().iter().map(|granularity| granularity.value).collect()
    }

    /// The model column.
    #[must_use]
    pub fn model_id(&self) -> Option<&str> {
        self.config.kind.model_id().map(|column| column.value.as_str())
    }

    /// All states that are kept of the rows of a group, each under another name.
    #[must_use]
    pub fn measures(&self) -> Vec<Measure> {
        let mut measures: Vec<Measure> = self.columns.iter().map(BoundColumn::measure).collect();
        measures.extend(self.quality.clone());
        for part in self.metrics.iter().flat_map(BoundMetric::parts) {
            if !measures.iter().any(|known| known.name == part.name) {
                measures.push(part.clone());
            }
        }
        measures.extend(self.source.refused_items().map(|items| Measure {
            name: QUARANTINE.to_owned(),
            inputs: vec![items],
            options: MeasureOptions::Sample { limit: super::QUARANTINE_LIMIT },
        }));
        measures
    }

    /// What a refresh reads from the monitored table.
    #[must_use]
    pub fn query(&self) -> StateQuery {
        let time = self.config.kind.timestamp().map(|column| TimeColumn {
            column: column.value.clone(),
            calendar: self.calendar(),
            unit: unit(&self.granularities()),
        });
        StateQuery {
            source: self.source.clone(),
            time,
            model: self.model_id().map(str::to_owned),
            sampling_fraction: self.config.kind.sampling_fraction().map(|column| column.value.clone()),
            slices: self.slices.clone(),
            measures: self.measures(),
            within: Within::Everything,
            with_whole: true,
        }
    }

    /// What a refresh reads from the baseline.
    #[must_use]
    pub fn baseline_query(&self) -> Option<StateQuery> {
        let baseline = self.baseline.as_ref()?;
        Some(StateQuery {
            source: baseline.source.clone(),
            time: None,
            model: baseline.model.clone(),
            sampling_fraction: None,
            slices: baseline.slices.iter().map(|(_, slice)| slice.clone()).collect(),
            measures: baseline.measures.clone(),
            within: Within::Everything,
            with_whole: true,
        })
    }

    /// What of the metric tables' columns hangs on the monitor.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let fields = |is_drift: bool| -> Vec<FieldRef> {
            let of_table = |metric: &&BoundMetric| (metric.kind == MetricKind::Drift) == is_drift;
            self.metrics.iter().filter(of_table).map(|metric| Arc::clone(&metric.field)).collect()
        };
        Shape {
            model_id: self.model_id().map(str::to_owned),
            quality: self.quality.as_ref().and_then(|_| self.config.kind.quality()),
            profile: fields(false),
            drift: fields(true),
        }
    }

    /// The schemas of both metric tables.
    #[must_use]
    pub fn schemas(&self) -> (SchemaRef, SchemaRef) {
        let shape = self.shape();
        (profile_schema(&shape), drift_schema(&shape))
    }

    /// The names of the states on which the row of a column hangs, beside its own; `None` asks for the table's row.
    #[must_use]
    pub fn parts_of(&self, column: Option<&str>) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        if column.is_none() {
            names.extend(self.quality.iter().map(|measure| measure.name.as_str()));
        }
        for part in self.metrics.iter().flat_map(|metric| metric.parts_on(column)) {
            if !names.contains(&part.name.as_str()) {
                names.push(&part.name);
            }
        }
        names
    }
}

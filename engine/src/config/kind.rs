//! The three kinds of monitors, by what is known of the table's rows.

use limno_metrics::schema::QualityColumns;
use limno_sql::window::Granularity;

use super::Located;
use super::labels::{LabelsConfig, read_labels};
use super::log::{LogFormat, MODEL_ID, PREDICTION, PayloadConfig, REQUEST_TIME, read_format};
use super::problem::quoted;
use super::raw::{Section, Value, choice};
use super::rule::read_granularity;

/// What is known of the rows of a watched table.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each monitor, and its fields are matched by name")]
pub enum MonitorKind {
    /// `[monitor.NAME.snapshot]`: nothing; the whole table is looked at anew each time.
    Snapshot,
    /// `[monitor.NAME.time_series]`: when they happened.
    TimeSeries {
        /// The column that says when.
        timestamp: Located<String>,
        /// The lengths of the windows, at least one, all different.
        granularities: Vec<Located<Granularity>>,
    },
    /// `[monitor.NAME.inference_log]`: when they happened and what a model made of them.
    InferenceLog {
        /// The column that says when.
        timestamp: Located<String>,
        /// The lengths of the windows, at least one, all different.
        granularities: Vec<Located<Granularity>>,
        /// The column that says which model.
        model_id: Located<String>,
        /// The column of the model's output.
        prediction: Located<String>,
        /// The column of the truth.
        label: Option<Located<String>>,
        /// The table of labels that come later, in the place of `label`.
        labels: Option<LabelsConfig>,
        /// The columns of the predicted probabilities.
        prediction_proba: Option<Probabilities>,
        /// Of two classes, the one whose probability is predicted.
        positive_class: Option<Located<String>>,
        /// What kind of output it is.
        problem_type: ProblemType,
        /// How the rows are stored.
        format: LogFormat,
        /// The column of the share of requests that were logged, whose inverse says how often a row counts.
        sampling_fraction: Option<Located<String>>,
    },
}

impl MonitorKind {
    /// The lengths of the windows; none for a snapshot.
    pub fn granularities(&self) -> &[Located<Granularity>] {
        match self {
            Self::Snapshot => &[],
            Self::TimeSeries { granularities, .. } | Self::InferenceLog { granularities, .. } => granularities,
        }
    }

    /// The column that says when a row happened; none for a snapshot.
    pub fn timestamp(&self) -> Option<&Located<String>> {
        match self {
            Self::Snapshot => None,
            Self::TimeSeries { timestamp, .. } | Self::InferenceLog { timestamp, .. } => Some(timestamp),
        }
    }

    /// The column of the truth, in the table itself or in that of labels.
    pub fn label(&self) -> Option<&Located<String>> {
        match self {
            Self::InferenceLog { label, labels, .. } => labels.as_ref().map(|labels| &labels.label).or(label.as_ref()),
            Self::Snapshot | Self::TimeSeries { .. } => None,
        }
    }

    /// What is known of the requests of a log that holds them as they came.
    pub const fn payload(&self) -> Option<&PayloadConfig> {
        match self {
            Self::InferenceLog { format: LogFormat::Payload(payload), .. } => Some(payload),
            _ => None,
        }
    }

    /// The column of the share of rows that were logged; of an inference log only.
    pub const fn sampling_fraction(&self) -> Option<&Located<String>> {
        match self {
            Self::InferenceLog { sampling_fraction, .. } => sampling_fraction.as_ref(),
            Self::Snapshot | Self::TimeSeries { .. } => None,
        }
    }

    /// Whether the table is a log of requests as they came.
    pub const fn is_payload(&self) -> bool {
        self.payload().is_some()
    }

    /// The columns of model quality that the profile table has.
    pub fn quality(&self) -> Option<QualityColumns> {
        let Self::InferenceLog { problem_type, .. } = self else { return None };
        self.label()?;
        Some(match problem_type {
            ProblemType::Regression => QualityColumns::Regression,
            ProblemType::Classification => QualityColumns::Classification,
        })
    }

    /// The column that says which model; of an inference log only.
    pub fn model_id(&self) -> Option<&Located<String>> {
        match self {
            Self::InferenceLog { model_id, .. } => Some(model_id),
            Self::Snapshot | Self::TimeSeries { .. } => None,
        }
    }
}

/// Which columns hold the probabilities of which classes.
#[derive(Debug, Clone)]
pub enum Probabilities {
    /// One column: the probability of the positive class, or a map or struct of classes.
    Column(Located<String>),
    /// A column for each class, by the class.
    Classes(Vec<(String, Located<String>)>),
}

impl Probabilities {
    /// The columns.
    pub fn columns(&self) -> Vec<&Located<String>> {
        match self {
            Self::Column(column) => vec![column],
            Self::Classes(classes) => classes.iter().map(|(_, column)| column).collect(),
        }
    }
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemType {
    /// A number.
    Regression,
    /// One of several classes.
    Classification,
}

/// Reads the one table among `snapshot`, `time_series` and `inference_log` that must be there.
pub(super) fn read_kind(section: &mut Section<'_>) -> Option<MonitorKind> {
    let snapshot = section.take("snapshot");
    let time_series = section.take("time_series");
    let inference_log = section.take("inference_log");
    let given: Vec<Value<'_>> = [&snapshot, &time_series, &inference_log].into_iter().flatten().cloned().collect();
    match given.as_slice() {
        [] => {
            if !misspells_a_kind(section) {
                section.report(
                    "has none of snapshot, time_series, inference_log, expected exactly one",
                    Some(format!("add a table [{}.time_series]", section.key)),
                );
            }
            None
        }
        [_] => {
            if let Some(value) = snapshot {
                value.section()?.finish();
                return Some(MonitorKind::Snapshot);
            }
            if let Some(value) = time_series {
                return read_time_series(&value);
            }
            inference_log.and_then(|value| read_inference_log(&value))
        }
        [first, others @ ..] => {
            for other in others {
                other.report(
                    format!("a second kind beside {} in {}, expected exactly one", first.key, first.stands()),
                    None,
                );
            }
            None
        }
    }
}

/// Whether an unknown key of the monitor will be reported with one of the three as its hint.
fn misspells_a_kind(section: &Section<'_>) -> bool {
    section
        .names()
        .iter()
        .any(|name| super::problem::nearest(name, ["snapshot", "time_series", "inference_log"]).is_some())
}

fn read_time_series(value: &Value<'_>) -> Option<MonitorKind> {
    let mut section = value.section()?;
    let timestamp = read_column(&mut section, "timestamp", "the column that says when");
    let granularities = read_granularities(&mut section);
    section.finish();
    Some(MonitorKind::TimeSeries { timestamp: timestamp?, granularities: granularities? })
}

fn read_inference_log(value: &Value<'_>) -> Option<MonitorKind> {
    let mut section = value.section()?;
    let (is_payload, format) = read_format(&mut section);
    let role = |section: &mut Section<'_>, name: &'static str, expected: &'static str, of_payload: &str| {
        if !is_payload {
            return read_column(section, name, expected);
        }
        // The columns of a payload table have names of ours.
        match section.take(name) {
            Some(value) => value.text(),
            None => Some(section.implied(name, of_payload)),
        }
    };
    let timestamp = role(&mut section, "timestamp", "the column that says when", REQUEST_TIME);
    let granularities = read_granularities(&mut section);
    let model_id = role(&mut section, "model_id", "the column that says which model", MODEL_ID);
    let prediction = role(&mut section, "prediction", "the column of the model's output", PREDICTION);
    let label_value = section.take("label");
    let label = label_value.as_ref().and_then(Value::text);
    let labels_value = section.take("labels");
    let labels = labels_value.as_ref().map(read_labels);
    if let (Some(label), Some(labels)) = (&label_value, &labels_value) {
        labels.report(
            format!("labels come from a table of their own, and from {} in {}", label.key, label.stands()),
            Some("leave one of the two out".to_owned()),
        );
    }
    let prediction_proba = section.take("prediction_proba").map(|value| read_probabilities(&value));
    let positive_class = section.take("positive_class").and_then(|value| value.text());
    let problem_type = section.require("problem_type", "\"regression\" or \"classification\"").and_then(|value| {
        let types = [("regression", ProblemType::Regression), ("classification", ProblemType::Classification)];
        choice(&value, &types)
    });
    if let (Some(class), None) = (&positive_class, &prediction_proba) {
        section.sink.report_located(class, "has a meaning only with prediction_proba", None);
    }
    let sampling_fraction = section.take("sampling_fraction").and_then(|value| value.text());
    section.finish();
    Some(MonitorKind::InferenceLog {
        timestamp: timestamp?,
        granularities: granularities?,
        model_id: model_id?,
        prediction: prediction?,
        label,
        labels: match labels {
            None => None,
            Some(labels) => Some(labels?),
        },
        prediction_proba: match prediction_proba {
            None => None,
            Some(probabilities) => Some(probabilities?),
        },
        positive_class,
        problem_type: problem_type?,
        format: format?,
        sampling_fraction,
    })
}

/// A column, or a table from classes to columns.
fn read_probabilities(value: &Value<'_>) -> Option<Probabilities> {
    if !value.is_table() {
        return value.text().map(Probabilities::Column);
    }
    let mut classes = Vec::new();
    for (class, column) in value.section()?.into_entries() {
        classes.push((class.to_owned(), column.text()?));
    }
    if classes.len() < 2 {
        value.report(
            "has fewer than two classes",
            Some("write prediction_proba = \"column\" for the probability of one class".to_owned()),
        );
        return None;
    }
    Some(Probabilities::Classes(classes))
}

fn read_column(section: &mut Section<'_>, name: &'static str, expected: &'static str) -> Option<Located<String>> {
    section.require(name, expected).and_then(|value| value.text())
}

fn read_granularities(section: &mut Section<'_>) -> Option<Vec<Located<Granularity>>> {
    let value = section.require("granularities", "the lengths of the windows, such as [\"1 day\"]")?;
    let items = value.items("an array of granularities")?;
    if items.is_empty() {
        value.report("is empty, expected at least one granularity", None);
        return None;
    }
    let mut granularities: Vec<Located<Granularity>> = Vec::new();
    for item in &items {
        let Some(granularity) = read_granularity(item) else {
            continue;
        };
        let shown = granularity.value.to_string();
        if granularities.iter().any(|known| known.value.to_string() == shown) {
            item.report(format!("{} is given twice", quoted(&shown)), None);
        } else {
            granularities.push(granularity);
        }
    }
    Some(granularities)
}

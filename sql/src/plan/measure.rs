//! What is kept of the rows of a group.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions::math::expr_fn::{abs, floor};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, cast, lit};
use limno_metrics::MeasureState;
use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};
use limno_metrics::quality::{QualityOptions, QualityState};
use limno_metrics::state::ItemSample;

/// A state over one or more expressions of a table's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The name under which a ledger keeps it: the column's, or one that begins with a colon.
    pub name: String,
    /// What it is over, columns without a qualifier.
    pub inputs: Vec<Expr>,
    /// What it keeps.
    pub options: MeasureOptions,
}

/// What a state keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MeasureOptions {
    /// The values of one column.
    Column(ColumnOptions),
    /// Predictions, labels and the scores that the options name, in this order.
    Quality(QualityOptions),
    /// A sample of the texts in one column, at most so many different ones.
    Sample {
        /// The most items that are kept.
        limit: u32,
    },
}

impl Measure {
    /// The measure of a column, or of a field within it.
    #[must_use]
    pub fn of_column(name: &str, path: &[String], options: ColumnOptions) -> Self {
        Self { name: name.to_owned(), inputs: vec![field_of(path)], options: MeasureOptions::Column(options) }
    }

    /// The measure of a column of classes that are floats: a whole number is the class that it is as an integer, so that
    /// predictions that are doubles meet labels that are integers.
    #[must_use]
    pub fn of_classes(name: &str, path: &[String], options: ColumnOptions) -> Self {
        /// Beyond it integers are not all doubles, and no names of classes.
        const LARGEST: f64 = 1e15;
        let value = field_of(path);
        let is_whole = floor(value.clone()).eq(value.clone()).and(abs(value.clone()).lt(lit(LARGEST)));
        let whole = cast(cast(value.clone(), DataType::Int64), DataType::Utf8);
        let other = Some(Box::new(cast(value, DataType::Utf8)));
        let class = Expr::Case(Case::new(None, vec![(Box::new(is_whole), Box::new(whole))], other));
        Self { name: name.to_owned(), inputs: vec![class], options: MeasureOptions::Column(options) }
    }

    /// What the state of a column keeps; `None` for other states.
    #[must_use]
    pub const fn column_options(&self) -> Option<&ColumnOptions> {
        match &self.options {
            MeasureOptions::Column(options) => Some(options),
            MeasureOptions::Quality(_) | MeasureOptions::Sample { .. } => None,
        }
    }
}

impl MeasureOptions {
    /// Whether there is a state of inputs of these types.
    #[must_use]
    pub fn takes(&self, inputs: &[DataType]) -> bool {
        match (self, inputs) {
            (Self::Column(options), [input]) => match options.kind {
                ColumnKind::Categorical => ColumnKind::can_be_categorical(input),
                ColumnKind::Opaque => true,
                kind => ColumnKind::of(input) == kind,
            },
            (Self::Quality(options), [prediction, label, scores @ ..]) => {
                let fits = match options {
                    QualityOptions::Regression => DataType::is_numeric,
                    QualityOptions::Classification { .. } => ColumnKind::can_be_categorical,
                };
                let are_scores = scores.len() == options.score_arrays() && scores.iter().all(DataType::is_numeric);
                fits(prediction) && fits(label) && are_scores
            }
            (Self::Sample { .. }, [input]) => input.is_string(),
            _ => false,
        }
    }

    /// The state of no rows.
    #[must_use]
    pub fn empty(&self) -> MeasureState {
        match self {
            Self::Column(options) => ColumnState::empty(options).into(),
            Self::Quality(options) => QualityState::empty(options).into(),
            Self::Sample { limit } => MeasureState::Sample(ItemSample::empty(*limit)),
        }
    }
}

/// A column by its exact name, and the fields of structs within it.
#[must_use]
pub fn field_of(path: &[String]) -> Expr {
    let Some((column, fields)) = path.split_first() else { return lit(false) };
    let column = Expr::Column(Column::new_unqualified(column));
    fields.iter().fold(column, |value, field| get_field(value, field.as_str()))
}

/// The leaves of a column: itself, or the fields of a struct at any depth, each with its path and type. A struct comes
/// before its fields.
#[must_use]
pub fn leaves(name: &str, data_type: &DataType) -> Vec<(Vec<String>, DataType)> {
    let mut found = vec![(vec![name.to_owned()], data_type.clone())];
    if let DataType::Struct(fields) = data_type {
        for field in fields {
            found.extend(leaves(field.name(), field.data_type()).into_iter().map(|(mut path, data_type)| {
                path.insert(0, name.to_owned());
                (path, data_type)
            }));
        }
    }
    found
}

//! The state of model quality: which expressions are prediction, label and scores.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions::math::expr_fn::isnan;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, cast, lit};
use limno_metrics::column::spark_type_name;
use limno_metrics::quality::{MAX_CLASSES, QualityOptions, Scores};
use limno_sql::plan::{Measure, MeasureOptions, field_of};

use super::bound::QUALITY;
use crate::config::{Located, MonitorConfig, MonitorKind, Probabilities, Problem, ProblemType};

/// The measure of model quality; none without labels.
pub(super) fn bind_quality(
    config: &MonitorConfig,
    file: &str,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> Option<Measure> {
    let MonitorKind::InferenceLog { prediction, prediction_proba, positive_class, problem_type, .. } = &config.kind
    else {
        return None;
    };
    let label = config.kind.label()?;
    let before = problems.len();
    let type_of = |column: &Located<String>| schema.field_with_name(&column.value).ok().map(|field| field.data_type());
    let mut inputs = vec![column(prediction), column(label)];
    let options = match problem_type {
        ProblemType::Regression => {
            for role in [prediction, label] {
                if let Some(data_type) = type_of(role).filter(|data_type| !data_type.is_numeric()) {
                    let message = format!(
                        "column {:?} has type {}, but a regression needs numbers",
                        role.value,
                        spark_type_name(data_type)
                    );
                    let hint = "set problem_type = \"classification\", or name another column".to_owned();
                    problems.push(role.problem(file, message, Some(hint)));
                }
            }
            if let Some(scores) = prediction_proba.as_ref().and_then(|scores| scores.columns().first().copied()) {
                problems.push(scores.problem(file, "a regression has no probabilities", None));
            }
            QualityOptions::Regression
        }
        ProblemType::Classification => {
            for role in [prediction, label] {
                if let Some(data_type) = type_of(role).filter(|data_type| !is_class(data_type)) {
                    let message = format!(
                        "column {:?} has type {}, which has no classes",
                        role.value,
                        spark_type_name(data_type)
                    );
                    problems.push(role.problem(file, message, None));
                }
            }
            if let (Some(of_prediction), Some(of_label)) = (type_of(prediction), type_of(label)) {
                inputs = vec![in_words_of(of_label, column(prediction), of_prediction), column(label)];
            }
            let scores = match prediction_proba {
                None => Scores::None,
                Some(Probabilities::Column(proba)) => scores_of_column(
                    proba,
                    (positive_class.as_ref(), type_of(label)),
                    file,
                    schema,
                    &mut inputs,
                    problems,
                )?,
                Some(Probabilities::Classes(classes)) => {
                    for (_, proba) in classes {
                        check_number(proba, file, schema, problems);
                        inputs.push(column(proba));
                    }
                    Scores::PerClass(classes.iter().map(|(class, _)| class.clone()).collect())
                }
            };
            let options = QualityOptions::Classification { scores };
            if let (Err(error), Some(proba)) = (options.validate(), prediction_proba) {
                let at = proba.columns().first().copied()?;
                problems.push(at.problem(file, error.to_string(), None));
            }
            options
        }
    };
    let measure = Measure { name: QUALITY.to_owned(), inputs, options: MeasureOptions::Quality(options) };
    (problems.len() == before).then_some(measure)
}

fn column(name: &Located<String>) -> Expr {
    field_of(std::slice::from_ref(&name.value))
}

/// Predictions in the words of the labels: where one of them is boolean, 0 and 1 are false and true.
fn in_words_of(label: &DataType, prediction: Expr, data_type: &DataType) -> Expr {
    match (label, data_type) {
        (DataType::Boolean, data_type) if data_type.is_numeric() => {
            let word = |number: i64, word: &str| (Box::new(prediction.clone().eq(lit(number))), Box::new(lit(word)));
            let mut cases = vec![word(0, "false"), word(1, "true")];
            if data_type.is_floating() {
                // No class, as elsewhere.
                cases.push((Box::new(isnan(prediction.clone())), Box::new(lit(ScalarValue::Utf8(None)))));
            }
            let other = Some(Box::new(cast(prediction, DataType::Utf8)));
            Expr::Case(Case::new(None, cases, other))
        }
        (label, DataType::Boolean) if label.is_numeric() => cast(prediction, DataType::Int32),
        _ => prediction,
    }
}

fn is_class(data_type: &DataType) -> bool {
    limno_metrics::column::ColumnKind::can_be_categorical(data_type)
}

fn check_number(proba: &Located<String>, file: &str, schema: &Schema, problems: &mut Vec<Problem>) {
    let Ok(field) = schema.field_with_name(&proba.value) else { return };
    if !field.data_type().is_numeric() {
        let data_type = spark_type_name(field.data_type());
        let message = format!("column {:?} has type {data_type}, but a probability is a number", proba.value);
        problems.push(proba.problem(file, message, None));
    }
}

/// One column: the probability of the positive class, or a struct with a field for each class.
fn scores_of_column(
    proba: &Located<String>,
    (positive, label): (Option<&Located<String>>, Option<&DataType>),
    file: &str,
    schema: &Schema,
    inputs: &mut Vec<Expr>,
    problems: &mut Vec<Problem>,
) -> Option<Scores> {
    let field = schema.field_with_name(&proba.value).ok()?;
    if let DataType::Struct(fields) = field.data_type() {
        if let Some(class) = positive {
            let message = format!("column {:?} has a probability for each class", proba.value);
            problems.push(class.problem(file, message, Some("remove positive_class".to_owned())));
        }
        if fields.len() > MAX_CLASSES || fields.iter().any(|field| !field.data_type().is_numeric()) {
            let message = format!("column {:?} is no struct of at most {MAX_CLASSES} numbers", proba.value);
            problems.push(proba.problem(file, message, None));
            return None;
        }
        inputs.extend(fields.iter().map(|field| get_field(column(proba), field.name().as_str())));
        return Some(Scores::PerClass(fields.iter().map(|field| field.name().clone()).collect()));
    }
    if !field.data_type().is_numeric() {
        let data_type = spark_type_name(field.data_type());
        let message = format!("column {:?} has type {data_type}, which holds no probabilities", proba.value);
        let hint = "name a column of numbers, a struct with a field for each class, or a column for each class: \
                    prediction_proba = { yes = \"p_yes\", no = \"p_no\" }";
        problems.push(proba.problem(file, message, Some(hint.to_owned())));
        return None;
    }
    inputs.push(column(proba));
    let class = match (positive, label) {
        (Some(class), _) => class.value.clone(),
        (None, Some(DataType::Boolean)) => "true".to_owned(),
        // Of labels 0 and 1 everybody means the second.
        (None, Some(data_type)) if data_type.is_numeric() => "1".to_owned(),
        (None, _) => {
            let message = format!("column {:?} holds the probability of one class, but which?", proba.value);
            problems.push(proba.problem(file, message, Some("add positive_class = \"…\"".to_owned())));
            return None;
        }
    };
    Some(Scores::Positive { class })
}

//! The quality of models against scikit-learn's numbers, which `fixtures/golden/make_quality.py` wrote.
#![cfg(test)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use limno_fixtures::SplitMix64;
use limno_metrics::quality::{
    ClassScores, Parity, Quality, QualityGroups, QualityOptions, QualityState, Scores, fairness,
};
use serde_json::Value;

fn document() -> Value {
    let text = std::fs::read_to_string(limno_fixtures::paths::golden_dir().join("quality.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn cases(of: &str) -> Vec<Value> {
    document()[of].as_array().unwrap().clone()
}

fn assert_close(of: &str, ours: Option<f64>, truth: &Value) {
    let (Some(ours), Some(truth)) = (ours, truth.as_f64()) else {
        assert!(ours.is_none() && truth.is_null(), "{of}: {ours:?}, not {truth}");
        return;
    };
    assert!((ours - truth).abs() <= 1e-12 * truth.abs().max(1e-3), "{of}: {ours}, not {truth}");
}

fn assert_pairs(of: &str, ours: &[(String, f64)], truth: &Value) {
    let truth = truth.as_object().unwrap();
    assert_eq!(ours.len(), truth.len(), "{of}: {ours:?}, not {truth:?}");
    assert!(ours.is_sorted_by(|a, b| a.0 < b.0), "{of}: {ours:?}");
    for (class, number) in ours {
        assert_close(&format!("{of} of {class}"), Some(*number), &truth[class]);
    }
}

fn assert_classes(of: &str, ours: Option<&ClassScores>, truth: &Value) {
    let ours = ours.unwrap_or_else(|| panic!("{of}: nothing, not {truth}"));
    assert_pairs(of, &ours.one_vs_all, &truth["one_vs_all"]);
    assert_close(&format!("macro {of}"), ours.macro_avg, &truth["macro"]);
    assert_close(&format!("weighted {of}"), ours.weighted, &truth["weighted"]);
}

fn assert_scores(of: &str, ours: &Quality, truth: &Value) {
    assert_eq!(Some(ours.scored), truth["scored"].as_u64(), "{of}");
    assert_close(&format!("{of}: log loss"), ours.log_loss, &truth["log_loss"]);
    assert_close(&format!("{of}: Brier score"), ours.brier_score, &truth["brier_score"]);
    assert_close(&format!("{of}: calibration error"), ours.calibration_error, &truth["calibration_error"]);
}

fn assert_errors(of: &str, ours: &Quality, truth: &Value) {
    for (name, ours) in [
        ("mse", ours.mse),
        ("rmse", ours.rmse),
        ("mae", ours.mae),
        ("mape", ours.mape),
        ("r2", ours.r2),
        ("mean_error", ours.mean_error),
    ] {
        assert_close(&format!("{of}: {name}"), ours, &truth[name]);
    }
}

/// A whole number over `scale`.
#[expect(clippy::cast_precision_loss, reason = "small")]
fn number(value: &Value, scale: &Value) -> f64 {
    value.as_i64().unwrap() as f64 / scale.as_i64().unwrap() as f64
}

fn texts(values: &Value) -> StringArray {
    values.as_array().unwrap().iter().map(Value::as_str).collect()
}

/// The state of rows that came in pieces, from the last to the first.
fn pieces(options: &QualityOptions, prediction: &ArrayRef, label: &ArrayRef, scores: &[ArrayRef]) -> QualityState {
    let mut whole = QualityState::empty(options);
    for start in (0..label.len()).step_by(97).rev() {
        let length = 97.min(label.len() - start);
        let scores: Vec<ArrayRef> = scores.iter().map(|array| array.slice(start, length)).collect();
        let mut piece = QualityState::empty(options);
        piece.observe(&prediction.slice(start, length), &label.slice(start, length), &scores).unwrap();
        whole.merge(&QualityState::decode(&piece.encode()).unwrap()).unwrap();
    }
    whole
}

#[test]
fn classes_and_their_scores() {
    let cases = cases("classification");
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let of = case["case"].as_str().unwrap();
        let classes: Vec<String> =
            case["classes"].as_array().unwrap().iter().map(|class| class.as_str().unwrap().to_owned()).collect();
        let rows = case["scores"].as_array().unwrap();
        let column = |class: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| number(&row[class], &case["scale"]))))
        };
        let columns: Vec<ArrayRef> = (0..classes.len()).map(column).collect();
        let (prediction, label): (ArrayRef, ArrayRef) =
            (Arc::new(texts(&case["predictions"])), Arc::new(texts(&case["labels"])));
        let scores = match &classes[..] {
            [class] => Scores::Positive { class: class.clone() },
            _ => Scores::PerClass(classes),
        };
        let options = QualityOptions::Classification { scores };
        let mut whole = QualityState::empty(&options);
        whole.observe(&prediction, &label, &columns).unwrap();
        assert!(pieces(&options, &prediction, &label, &columns).encode() == whole.encode(), "{of}");

        let (ours, truth) = (whole.quality(), &case["expected"]);
        assert_eq!(Some(ours.rows), case["rows"].as_u64(), "{of}");
        assert_eq!(
            (Some(ours.labeled), Some(ours.evaluated)),
            (truth["labeled"].as_u64(), truth["evaluated"].as_u64())
        );
        assert_close(&format!("{of}: accuracy"), ours.accuracy, &truth["accuracy"]);
        assert_classes(&format!("{of}: precision"), ours.precision.as_ref(), &truth["precision"]);
        assert_classes(&format!("{of}: recall"), ours.recall.as_ref(), &truth["recall"]);
        assert_classes(&format!("{of}: F1"), ours.f1.as_ref(), &truth["f1"]);
        let confusion: Vec<(String, String, u64)> = serde_json::from_value(truth["confusion"].clone()).unwrap();
        assert_eq!(ours.confusion.as_ref(), Some(&confusion), "{of}");
        assert_classes(&format!("{of}: ROC AUC"), ours.roc_auc.as_ref(), &truth["roc_auc"]);
        let error = ours.roc_auc_error.as_ref().unwrap();
        assert_eq!((error.macro_avg, error.weighted), (Some(0.0), Some(0.0)), "{of}: these are exact");
        assert_scores(of, &ours, truth);
        assert_eq!(ours.reason, None, "{of}");
    }
}

#[test]
fn a_protected_group_beside_the_others() {
    let mut tried = 0;
    for case in cases("classification").iter().filter(|case| !case["protected"].is_null()) {
        let options = QualityOptions::Classification { scores: Scores::None };
        let mut groups = QualityGroups::new(options);
        groups.resize(2);
        let protected = case["protected"].as_array().unwrap();
        let of_row: Vec<usize> = protected.iter().map(|is| usize::from(!is.as_bool().unwrap())).collect();
        groups.observe(&texts(&case["predictions"]), &texts(&case["labels"]), &[], &of_row).unwrap();
        let states = groups.take(2);
        let ours = fairness(&states[0], &states[1]).unwrap();
        for (name, ours) in [
            ("statistical_parity", &ours.statistical_parity),
            ("predictive_parity", &ours.predictive_parity),
            ("predictive_equality", &ours.predictive_equality),
            ("equal_opportunity", &ours.equal_opportunity),
        ] {
            let Parity { difference, ratio } = ours;
            assert_pairs(name, difference, &case["fairness"][name]["difference"]);
            assert_pairs(name, ratio, &case["fairness"][name]["ratio"]);
        }
        tried += 1;
    }
    assert_eq!(tried, 3);
}

#[test]
fn numbers() {
    let cases = cases("regression");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let of = case["case"].as_str().unwrap();
        let column = |name: &str| -> ArrayRef {
            let values = case[name].as_array().unwrap().iter().map(|value| number(value, &case["scale"]));
            Arc::new(Float64Array::from_iter_values(values))
        };
        let (prediction, label) = (column("predictions"), column("labels"));
        let mut whole = QualityState::empty(&QualityOptions::Regression);
        whole.observe(&prediction, &label, &[]).unwrap();
        assert!(pieces(&QualityOptions::Regression, &prediction, &label, &[]).encode() == whole.encode(), "{of}");
        let (ours, truth) = (whole.quality(), &case["expected"]);
        assert_errors(of, &ours, truth);
        assert_close(of, ours.median_absolute_error, &truth["median_absolute_error"]);
        assert_eq!(ours.median_absolute_error_error, Some(0.0), "{of}");
        assert_eq!(ours.reason.is_some(), ours.r2.is_none(), "{of}: {:?}", ours.reason);
    }
}

/// More scores and errors than are counted one by one: what is estimated lies within its certified error.
#[test]
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn many_rows() {
    let cases = cases("many");
    let case = |name: &str| cases.iter().find(|case| case["case"] == name).unwrap();
    let draw = |case: &Value| (SplitMix64::new(case["seed"].as_u64().unwrap()), case["rows"].as_u64().unwrap());

    let (mut rng, rows) = draw(case("many_scores"));
    let rows = (0..rows).map(|_| {
        let label = rng.below(2);
        (label.to_string(), (rng.below(1 << 40) + (label << 39)) as f64 / (3u64 << 39) as f64)
    });
    let (labels, scores): (Vec<String>, Vec<f64>) = rows.unzip();
    let options = QualityOptions::Classification { scores: Scores::Positive { class: "1".to_owned() } };
    let mut state = QualityState::empty(&options);
    let label = StringArray::from(labels);
    state.observe(&label, &label, &[Arc::new(Float64Array::from(scores))]).unwrap();
    let (ours, truth) = (state.quality(), &case("many_scores")["expected"]);
    assert_scores("many scores", &ours, truth);
    let area = ours.roc_auc.unwrap().macro_avg.unwrap();
    let error = ours.roc_auc_error.unwrap().macro_avg.unwrap();
    let off = (area - truth["roc_auc"]["macro"].as_f64().unwrap()).abs();
    assert!(error > 0.0 && error < 1e-3 && off <= error, "area {area} is off by {off:e}, not by {error:e}");
    assert!(off < 1e-5, "{off:e}");

    let (mut rng, rows) = draw(case("many_errors"));
    let rows = (0..rows).map(|_| {
        let label = rng.below(1 << 40) as f64 / (1u64 << 30) as f64;
        (label + (rng.below(1 << 40).cast_signed() - (1 << 39)) as f64 / (1u64 << 38) as f64, label)
    });
    let (predictions, labels): (Vec<f64>, Vec<f64>) = rows.unzip();
    let mut state = QualityState::empty(&QualityOptions::Regression);
    state.observe(&Float64Array::from(predictions), &Float64Array::from(labels), &[]).unwrap();
    let (ours, truth) = (state.quality(), &case("many_errors")["expected"]);
    assert_errors("many errors", &ours, truth);
    let (median, error) = (ours.median_absolute_error.unwrap(), ours.median_absolute_error_error.unwrap());
    let off = (median - truth["median_absolute_error"].as_f64().unwrap()).abs();
    assert!(error > 0.0 && error < 1e-2 && off <= error, "median {median} is off by {off:e}, not by {error:e}");
}

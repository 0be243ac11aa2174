//! Model quality: the laws, for classes with and without scores and for numbers, also through groups.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use limno_fixtures::SplitMix64;
use limno_metrics::quality::{ClassScores, QualityGroups, QualityOptions, QualityState, Scores, fairness};
use limno_metrics::{ErrorKind, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::laws::{Mergeable, assert_refused_or_holds, frame, mergeable_state_laws};
use crate::values::{any_number, index, special_number};

/// The state has the methods of the others, but is no `MergeableState`.
#[derive(Debug, Clone)]
pub(crate) struct Model(QualityState);

/// A prediction, a label, and scores for up to three arrays.
type Row = (Option<String>, Option<String>, [f64; 3]);

/// A prediction and a label that are numbers; NaN for none.
type Pair = (f64, f64);

/// One array of scores each.
fn arrays(rows: &[Row], scores: usize) -> (ArrayRef, ArrayRef, Vec<ArrayRef>) {
    let prediction = StringArray::from_iter(rows.iter().map(|row| row.0.as_ref()));
    let label = StringArray::from_iter(rows.iter().map(|row| row.1.as_ref()));
    let column = |at: usize| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2[at]))) };
    (Arc::new(prediction), Arc::new(label), (0..scores).map(column).collect())
}

impl Model {
    fn empty(options: &QualityOptions) -> Self {
        Self(QualityState::empty(options))
    }

    fn observe(&mut self, rows: &[Row]) {
        let (prediction, label, scores) = arrays(rows, self.0.options().score_arrays());
        self.0.observe(&prediction, &label, &scores).unwrap();
    }

    fn observe_pairs(&mut self, pairs: &[Pair]) {
        let (prediction, label): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        self.0.observe(&Float64Array::from(prediction), &Float64Array::from(label), &[]).unwrap();
    }
}

impl Mergeable for Model {
    fn merged(mut self, other: &Self) -> Result<Self> {
        let before = self.bytes();
        let merged = self.0.merge(&other.0);
        assert!(merged.is_ok() || self.bytes() == before, "a merge that fails changes nothing");
        merged.map(|()| self)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        QualityState::decode(bytes).map(Self)
    }

    fn heap(&self) -> usize {
        self.0.heap_size()
    }

    /// Whatever the bytes were, answers are numbers, shares are shares, and bounds are bounds.
    fn assert_holds(&self) -> TestCaseResult {
        let mut merged = Self::empty(&self.0.options());
        merged.0.merge(&self.0)?;
        prop_assert!(merged.bytes() == self.bytes());
        let quality = self.0.quality();
        prop_assert!(quality.labeled <= quality.rows && quality.evaluated <= quality.labeled);
        prop_assert!(quality.scored <= quality.labeled);
        let shares =
            [quality.precision.as_ref(), quality.recall.as_ref(), quality.f1.as_ref(), quality.roc_auc.as_ref()];
        let of = |scores: &ClassScores| {
            let single: Vec<f64> = scores.one_vs_all.iter().map(|(_, share)| *share).collect();
            [single, scores.macro_avg.into_iter().chain(scores.weighted).collect()].concat()
        };
        for share in shares.into_iter().flatten().flat_map(of).chain(quality.accuracy) {
            prop_assert!((0.0..1.0 + 1e-9).contains(&share), "{quality:?}");
        }
        let numbers = [quality.log_loss, quality.brier_score, quality.calibration_error, quality.mse, quality.rmse];
        let more = [quality.mae, quality.mape, quality.r2, quality.median_absolute_error, quality.mean_error];
        for number in numbers.into_iter().chain(more).flatten() {
            prop_assert!(!number.is_nan(), "{quality:?}");
        }
        let errors = quality.roc_auc_error.iter().flat_map(of).chain(quality.median_absolute_error_error);
        for error in errors {
            prop_assert!(error >= 0.0, "{quality:?}");
        }
        let alike = fairness(&self.0, &merged.0);
        prop_assert_eq!(alike.is_some(), quality.confusion.is_some());
        prop_assert!(alike.is_none_or(|of| of.statistical_parity.difference.iter().all(|(_, rate)| *rate == 0.0)));
        Ok(())
    }
}

fn classes() -> BoxedStrategy<String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "d", ""]).prop_map(str::to_owned),
        1 => (0..40u32).prop_map(|class| format!("class {class}")),
    ]
    .boxed()
}

fn score() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        6 => (0..=20u32).prop_map(|step| f64::from(step) / 20.0),
        6 => (0..1u32 << 30).prop_map(|step| f64::from(step) / f64::from(1u32 << 30)),
        1 => prop::sample::select(vec![0.0, 1.0, 1e-300, f64::EPSILON, f64::NAN]),
    ]
}

/// Rows whose scores are probabilities, or most of them.
fn rows() -> BoxedStrategy<Vec<Row>> {
    let class = || prop::option::weighted(0.9, classes());
    let row = (class(), class(), [score(), score(), score()]);
    let any = || prop_oneof![special_number(), any_number()];
    let wild = (class(), class(), [any(), any(), any()]);
    let crowd = (0..2000u32).prop_map(|class| (Some(format!("c{class}")), Some("a".to_owned()), [0.5, 0.2, 0.3]));
    prop_oneof![
        4 => vec(row.clone(), 0..60),
        2 => vec(row.clone(), 200..900),
        1 => vec(prop_oneof![9 => row, 1 => wild], 0..60),
        // About as many classes as are counted.
        1 => vec(crowd, 1200..1500),
    ]
    .boxed()
}

fn options() -> impl Strategy<Value = QualityOptions> + Clone {
    let classes = || ["a", "b", "c"].map(str::to_owned).to_vec();
    let scores = vec![Scores::None, Scores::Positive { class: "b".to_owned() }, Scores::PerClass(classes())];
    prop::sample::select(scores).prop_map(|scores| QualityOptions::Classification { scores })
}

fn pairs() -> BoxedStrategy<Vec<Pair>> {
    let step = || (-400..400i32).prop_map(|step| f64::from(step) / 8.0);
    let fine = || (0..1u32 << 31).prop_map(|step| f64::from(step) / 1024.0);
    let gaps = prop_oneof![9 => step(), 1 => Just(f64::NAN)];
    prop_oneof![
        3 => vec((step(), step()), 0..60),
        2 => vec((gaps.clone(), gaps), 0..400),
        1 => vec((fine(), fine()), 3000..9000),
        1 => vec((any_number(), special_number()), 0..60),
        1 => vec((step(), Just(3.0)), 0..60),
    ]
    .boxed()
}

mergeable_state_laws!(mod of_classes {
    cases: 100,
    limits: options(),
    values: rows(),
    empty: Model::empty,
    observe: Model::observe,
});

mergeable_state_laws!(mod of_numbers {
    cases: 100,
    limits: Just(QualityOptions::Regression),
    values: pairs(),
    empty: Model::empty,
    observe: Model::observe_pairs,
});

proptest! {
    #![proptest_config(crate::cases(150))]

    /// Groups yield what each would by itself, and rows of no group are left out.
    #[test]
    fn groups(rows in rows(), options in options(), seed: u64) {
        let rng = &mut SplitMix64::new(seed);
        let count = index(rng.below(4)) + 1;
        let (prediction, label, scores) = arrays(&rows, options.score_arrays());
        let member: Vec<usize> = rows.iter().map(|_| index(rng.below(count as u64 + 1))).collect();
        let of: Vec<usize> = member.iter().map(|&at| if at < count { at } else { usize::MAX }).collect();
        let mut groups = QualityGroups::new(options.clone());
        groups.resize(count);
        let batch = index(rng.below(300)) + 1;
        for start in (0..rows.len()).step_by(batch) {
            let length = batch.min(rows.len() - start);
            let cut = |array: &ArrayRef| array.slice(start, length);
            let scores: Vec<ArrayRef> = scores.iter().map(cut).collect();
            groups.observe(&cut(&prediction), &cut(&label), &scores, &of[start..start + length]).unwrap();
        }
        for (group, state) in groups.take(count).iter().enumerate() {
            let own: Vec<Row> =
                rows.iter().zip(&member).filter(|(_, at)| **at == group).map(|(row, _)| row.clone()).collect();
            let mut expected = Model::empty(&options);
            expected.observe(&own);
            prop_assert!(state.encode() == expected.bytes(), "group {group} of {count}");
        }
        prop_assert!(groups.is_empty());
    }
}

proptest! {
    #![proptest_config(crate::cases(1500))]

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..200), kind in 14..19u8, scores in 0..4u8) {
        assert_refused_or_holds::<Model>(&bytes)?;
        assert_refused_or_holds::<Model>(&frame(&bytes))?;
        // With a kind and plausible counts in front, more of it is read.
        assert_refused_or_holds::<Model>(&frame(&[&[kind, 100, 3, 2], &bytes[..]].concat()))?;
        assert_refused_or_holds::<Model>(&frame(&[&[kind, 0, 0, 0, scores, 1, b'a', 0], &bytes[..]].concat()))?;
    }
}

/// What was decoded keeps to its kind and its classes.
#[test]
fn states_that_differ_do_not_merge() {
    let of = |scores: Scores| QualityState::empty(&QualityOptions::Classification { scores });
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let states = [
        QualityState::empty(&QualityOptions::Regression),
        of(Scores::None),
        of(Scores::Positive { class: "a".to_owned() }),
        of(Scores::Positive { class: "b".to_owned() }),
        of(Scores::PerClass(texts(&["a", "b"]))),
        of(Scores::PerClass(texts(&["b", "a"]))),
    ];
    for (i, left) in states.iter().enumerate() {
        for (j, right) in states.iter().enumerate() {
            let merged = left.clone().merge(&QualityState::decode(&right.encode()).unwrap());
            assert_eq!(
                merged.as_ref().err().map(limno_metrics::Error::kind),
                (i != j).then_some(ErrorKind::Incompatible)
            );
        }
    }
}

/// Arrays and options that do not fit are refused, and change nothing.
#[test]
fn what_does_not_fit_is_refused() {
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.25, 0.5]));
    let strings: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let one: ArrayRef = Arc::new(Float64Array::from(vec![0.25]));
    let positive = QualityOptions::Classification { scores: Scores::Positive { class: "a".to_owned() } };
    let assert_refused = |options: &QualityOptions, label: &ArrayRef, scores: &[ArrayRef], message: &str| {
        let mut state = QualityState::empty(options);
        let error = state.observe(&strings, label, scores).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(message), "{error}");
        assert!(state.encode() == QualityState::empty(options).encode());
        assert_eq!(state.options(), *options);
    };
    assert_refused(&QualityOptions::Regression, &numbers, &[], "expected a number, found values of type Utf8");
    assert_refused(&positive, &strings, &[], "0 arrays of scores, expected 1");
    assert_refused(&positive, &strings, &[Arc::clone(&strings)], "expected a number");
    assert_refused(&positive, &strings, &[one], "1 values for 2 groups");
    let per_class = |classes: &[&str]| {
        let classes = classes.iter().map(|class| (*class).to_owned()).collect();
        QualityOptions::Classification { scores: Scores::PerClass(classes) }
    };
    let scores = [Arc::clone(&numbers), Arc::clone(&numbers)];
    assert_refused(&per_class(&["a", "a"]), &strings, &scores, "class \"a\" has two score arrays");
    assert_refused(&per_class(&["a"]), &strings, &scores[..1], "scores of 1 classes");
    let mut groups = QualityGroups::new(positive);
    groups.resize(1);
    assert!(groups.observe(&strings, &strings, &[numbers], &[0, 1]).unwrap_err().to_string().contains("group"));
    assert_eq!(groups.take(1)[0].rows(), 0);
}

/// Hundreds of classes with scores stay cheap, and those without even cheaper.
#[test]
fn three_hundred_classes() {
    let names: Vec<String> = (0..300).map(|class| format!("class {class}")).collect();
    let rng = &mut SplitMix64::new(300);
    let mut with_scores =
        QualityState::empty(&QualityOptions::Classification { scores: Scores::PerClass(names.clone()) });
    let mut without = QualityState::empty(&QualityOptions::Classification { scores: Scores::None });
    let (rows, batch) = (200_000, 8_000);
    for _ in 0..rows / batch {
        let label: Vec<usize> = (0..batch).map(|_| index(rng.below(300))).collect();
        let predicted: Vec<usize> =
            label.iter().map(|&label| if rng.chance(0.6) { label } else { index(rng.below(300)) }).collect();
        // Some weight on every class, most of it on the prediction: different in each row, and one in sum.
        let rest: Vec<f64> = (0..batch).map(|_| 0.2 + rng.below(1 << 20) as f64 / f64::from(1u32 << 21)).collect();
        let column = |class: usize| -> ArrayRef {
            let score = |row: usize| if predicted[row] == class { 1.0 - rest[row] } else { rest[row] / 299.0 };
            Arc::new(Float64Array::from_iter_values((0..batch).map(score)))
        };
        let columns: Vec<ArrayRef> = (0..300).map(column).collect();
        let text = |of: &[usize]| StringArray::from_iter_values(of.iter().map(|&class| &names[class]));
        with_scores.observe(&text(&predicted), &text(&label), &columns).unwrap();
        without.observe(&text(&predicted), &text(&label), &[]).unwrap();
    }
    let (large, small) = (with_scores.heap_size(), without.heap_size());
    assert!(large < 8 << 20, "{large} bytes with scores");
    assert!(small < 3 << 20, "{small} bytes without");
    let (encoded, bare) = (with_scores.encode().len(), without.encode().len());
    assert!(encoded < 2 << 20 && bare < 1 << 20, "{encoded} bytes encoded, {bare} without scores");
    let quality = with_scores.quality();
    let error = quality.roc_auc_error.unwrap().macro_avg.unwrap();
    assert!(error > 0.0 && error < 0.1, "{error}");
    assert_eq!((quality.scored, quality.reason), (200_000, None));
    assert_eq!(quality.roc_auc.unwrap().one_vs_all.len(), 300);
}

//! What a state of model quality answers, and what is asked of it.

use crate::{Error, Result};

/// Above this many classes, numbers that need each of them are refused.
pub const MAX_CLASSES: usize = 1000;

/// Which kind of predictions a state is about, and which scores come with them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum QualityOptions {
    /// Predictions and labels are numbers.
    Regression,
    /// Predictions and labels are classes.
    Classification {
        /// The scores of the classes, if the model gives any.
        scores: Scores,
    },
}

/// The scores of a classifier: which array is the probability of which class.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scores {
    /// No array.
    None,
    /// One array: the probability of this class; every other label is the other class.
    Positive {
        /// The class whose probability the array holds.
        class: String,
    },
    /// One array a class, in this order.
    PerClass(Vec<String>),
}

impl Scores {
    /// The classes that have an array, in the order of the arrays.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::Positive { class } => std::slice::from_ref(class),
            Self::PerClass(classes) => classes,
        }
    }
}

impl QualityOptions {
    /// The number of score arrays that an update takes.
    #[must_use]
    pub fn score_arrays(&self) -> usize {
        match self {
            Self::Regression => 0,
            Self::Classification { scores } => scores.classes().len(),
        }
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for [`Scores::PerClass`] of fewer than two or more than
    /// [`MAX_CLASSES`] classes, or with a class that comes twice.
    pub fn validate(&self) -> Result<()> {
        let Self::Classification { scores: Scores::PerClass(classes) } = self else { return Ok(()) };
        if classes.len() < 2 || classes.len() > MAX_CLASSES {
            return Err(Error::invalid_argument(format!(
                "scores of {} classes, expected 2 to {MAX_CLASSES}; a single array is that of the positive class",
                classes.len()
            )));
        }
        let mut sorted: Vec<&String> = classes.iter().collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::invalid_argument(format!("class {:?} has two score arrays", pair[0]))),
            None => Ok(()),
        }
    }
}

/// One number a class, and their means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassScores {
    /// The number of each class against all others, in the order of the classes' names. A class of which it cannot be
    /// told is left out.
    pub one_vs_all: Vec<(String, f64)>,
    /// Their mean.
    pub macro_avg: Option<f64>,
    /// Their mean, each class weighted by the rows that have it as label.
    pub weighted: Option<f64>,
}

/// The numbers of predictions beside their labels; `None` where one does not apply or cannot be told.
///
/// Counts are of rows. Numbers of classes follow scikit-learn's `sklearn.metrics` function of the same name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    /// All rows.
    pub rows: u64,
    /// Rows with a label: neither null nor NaN.
    pub labeled: u64,
    /// Rows with a label and a prediction.
    pub evaluated: u64,
    /// Rows with a label and numbers in all score arrays: those of `roc_auc`, `log_loss`, `brier_score` and
    /// `calibration_error`. Zero without scores.
    pub scored: u64,
    /// Share of the evaluated rows whose prediction is the label.
    pub accuracy: Option<f64>,
    /// Rows of each (prediction, label) that occurs, in the order of these texts.
    pub confusion: Option<Vec<(String, String, u64)>>,
    /// TP / (TP + FP); 0 for a class that is never predicted.
    pub precision: Option<ClassScores>,
    /// TP / (TP + FN); 0 for a class that is no label.
    pub recall: Option<ClassScores>,
    /// 2·TP / (2·TP + FP + FN).
    pub f1: Option<ClassScores>,
    /// Area under the receiver operating characteristic, of each class with scores against the rest.
    pub roc_auc: Option<ClassScores>,
    /// Certified errors: each number of `roc_auc` is no further from the true one than the number in its place here.
    /// 0 while the scores are counted one by one.
    pub roc_auc_error: Option<ClassScores>,
    /// Mean −ln of the probability given to the label, in nats.
    pub log_loss: Option<f64>,
    /// Mean squared difference of probability and outcome: of the positive class (0–1), or with three classes and more
    /// summed over the classes (0–2).
    pub brier_score: Option<f64>,
    /// Expected calibration error over ten equal bins (0–1).
    pub calibration_error: Option<f64>,
    /// Mean squared error, in squares of the label's unit.
    pub mse: Option<f64>,
    /// Root mean squared error, in the label's unit.
    pub rmse: Option<f64>,
    /// Mean absolute error, in the label's unit.
    pub mae: Option<f64>,
    /// Mean absolute percentage error, as a share (not times 100).
    pub mape: Option<f64>,
    /// Coefficient of determination.
    pub r2: Option<f64>,
    /// Median absolute error, in the label's unit.
    pub median_absolute_error: Option<f64>,
    /// Its certified error: the true median is no further away.
    pub median_absolute_error_error: Option<f64>,
    /// Mean of prediction − label, in the label's unit.
    pub mean_error: Option<f64>,
    /// Why numbers are missing that this kind of model usually has, or are to be read with care.
    pub reason: Option<String>,
}

impl Quality {
    /// Adds a reason to those that are there.
    pub(super) fn note(&mut self, reason: &str) {
        match &mut self.reason {
            Some(reasons) => {
                reasons.push_str("; ");
                reasons.push_str(reason);
            }
            None => self.reason = Some(reason.to_owned()),
        }
    }
}

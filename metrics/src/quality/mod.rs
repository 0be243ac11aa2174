//! How good predictions are, from states that merge: of classes, with scores or without, and of numbers.
//!
//! A state is fed predictions, labels and scores row by row and keeps exact counts, exact sums and histograms. As every
//! state of this crate it can be built in any pieces and any order, depends on the multiset of rows alone, bit for bit, and
//! answers each number exactly or with bounds.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, Float64Array, StringArray};
//! use limno_metrics::quality::{QualityOptions, QualityState, Scores};
//!
//! let options = QualityOptions::Classification { scores: Scores::Positive { class: "late".to_owned() } };
//! let mut state = QualityState::empty(&options);
//! let predicted = StringArray::from(vec!["late", "late", "on time", "on time"]);
//! let label = StringArray::from(vec![Some("late"), Some("on time"), Some("on time"), None]);
//! let score: ArrayRef = Arc::new(Float64Array::from(vec![0.9, 0.6, 0.2, 0.1]));
//! state.observe(&predicted, &label, &[score])?;
//!
//! let quality = QualityState::decode(&state.encode())?.quality();
//! assert_eq!((quality.rows, quality.labeled, quality.accuracy), (4, 3, Some(2.0 / 3.0)));
//! assert_eq!(quality.roc_auc.unwrap().macro_avg, Some(1.0));
//! # Ok::<(), limno_metrics::Error>(())
//! ```
//!
//! The bytes of a state: a frame of [`codec`] whose payload begins with the kind, 16 for classes and 17 for numbers, which
//! no [`ColumnKind`](crate::column::ColumnKind) has; then rows, labelled and evaluated ones, and the parts in the order
//! that their files give.

mod answers;
mod classes;
mod classification;
mod confusion;
mod fairness;
mod groups;
mod ranking;
mod regression;
mod scores;

pub use answers::{ClassScores, MAX_CLASSES, Quality, QualityOptions, Scores};
pub use fairness::{Fairness, Parity, fairness};
pub use groups::QualityGroups;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use crate::state::codec::{self, Reader, Writer};
use crate::{Error, Result};
use classification::ClassificationState;
use regression::RegressionState;

const CLASSIFICATION: u8 = 16;
const REGRESSION: u8 = 17;

/// The state of predictions beside their labels, over one set of rows.
#[derive(Debug, Clone)]
pub struct QualityState {
    rows: u64,
    labeled: u64,
    evaluated: u64,
    values: Values,
}

/// What is known of the rows, by kind.
#[derive(Debug, Clone)]
enum Values {
    Classification(Box<ClassificationState>),
    Regression(Box<RegressionState>),
}

impl QualityState {
    /// Nothing seen yet.
    #[must_use]
    pub fn empty(options: &QualityOptions) -> Self {
        let values = match options {
            QualityOptions::Regression => Values::Regression(Box::new(RegressionState::empty())),
            QualityOptions::Classification { scores } => {
                Values::Classification(Box::new(ClassificationState::empty(&Arc::new(scores.clone()))))
            }
        };
        Self { rows: 0, labeled: 0, evaluated: 0, values }
    }

    /// What the state was made for.
    #[must_use]
    pub fn options(&self) -> QualityOptions {
        match &self.values {
            Values::Regression(_) => QualityOptions::Regression,
            Values::Classification(values) => QualityOptions::Classification { scores: values.scores().clone() },
        }
    }

    /// Whether a frame's payload is that of such a state, by its first byte.
    ///
    /// ```
    /// use limno_metrics::quality::{QualityOptions, QualityState};
    /// use limno_metrics::state::codec;
    ///
    /// let bytes = QualityState::empty(&QualityOptions::Regression).encode();
    /// assert!(QualityState::is_payload(&codec::open(&bytes)?));
    /// # Ok::<(), limno_metrics::Error>(())
    /// ```
    #[must_use]
    pub fn is_payload(payload: &[u8]) -> bool {
        matches!(payload.first(), Some(&(CLASSIFICATION | REGRESSION)))
    }

    /// Rows.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows with a label.
    #[must_use]
    pub const fn labeled(&self) -> u64 {
        self.labeled
    }

    /// Rows with a label and a prediction.
    #[must_use]
    pub const fn evaluated(&self) -> u64 {
        self.evaluated
    }

    /// Adds all rows of the arrays; `scores` are those that the options name.
    ///
    /// # Errors
    /// As [`QualityGroups::observe`].
    pub fn observe(&mut self, prediction: &dyn Array, label: &dyn Array, scores: &[ArrayRef]) -> Result<()> {
        let mut groups = QualityGroups::around(self);
        let result = groups.observe(prediction, label, scores, &vec![0; label.len()]);
        // The state comes back whatever happened: arrays that are refused change nothing.
        if let Some(state) = groups.into_states().pop() {
            *self = state;
        }
        result
    }

    /// The numbers of the state.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let (rows, labeled, evaluated) = (self.rows, self.labeled, self.evaluated);
        let mut quality = Quality { rows, labeled, evaluated, ..Quality::default() };
        if rows > 0 && labeled == 0 {
            quality.note("no row has a label");
        } else if rows > 0 && evaluated == 0 {
            quality.note("no row with a label has a prediction");
        }
        match &self.values {
            Values::Classification(values) => values.answer(evaluated, &mut quality),
            Values::Regression(values) => values.answer(&mut quality),
        }
        quality
    }

    /// The encoding: bit for bit the same for the same multiset of rows, however it was cut up.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.byte(match self.values {
            Values::Classification(_) => CLASSIFICATION,
            Values::Regression(_) => REGRESSION,
        });
        [self.rows, self.labeled, self.evaluated].into_iter().for_each(|count| out.varint(count));
        match &self.values {
            Values::Classification(values) => values.encode(&mut out),
            Values::Regression(values) => values.encode(&mut out),
        }
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`InvalidData`](crate::ErrorKind::InvalidData) on any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let payload = codec::open(bytes)?;
        let mut input = Reader::new(&payload);
        let kind = input.byte()?;
        let (rows, labeled, evaluated) = (input.varint()?, input.varint()?, input.varint()?);
        if labeled > rows || evaluated > labeled {
            return Err(Error::invalid_data("a state has more labels than rows, or more evaluated rows than labels"));
        }
        let values = match kind {
            CLASSIFICATION => {
                Values::Classification(Box::new(ClassificationState::decode(&mut input, labeled, evaluated)?))
            }
            REGRESSION => Values::Regression(Box::new(RegressionState::decode(&mut input, evaluated)?)),
            _ => return Err(Error::invalid_data(format!("a state of kind {kind} is none of model quality"))),
        };
        input.end()?;
        Ok(Self { rows, labeled, evaluated, values })
    }

    /// Adds the rows that `other` summarises. A merge that fails changes nothing.
    ///
    /// # Errors
    /// [`Incompatible`](crate::ErrorKind::Incompatible) when the two are of different kinds or of the scores of different
    /// classes, and [`InvalidData`](crate::ErrorKind::InvalidData) when there are more rows than 64 bits count.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        // All other counts are parts of the rows, so none of them is the first to be too many.
        let rows = Error::sum(self.rows, other.rows)?;
        match (&mut self.values, &other.values) {
            (Values::Classification(ours), Values::Classification(theirs)) => ours.merge(theirs)?,
            (Values::Regression(ours), Values::Regression(theirs)) => ours.merge(theirs)?,
            _ => return Err(Error::incompatible("states of classes and of numbers cannot be merged")),
        }
        self.rows = rows;
        self.labeled += other.labeled;
        self.evaluated += other.evaluated;
        Ok(())
    }

    /// Bytes held on the heap: what its allocations have asked for.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        match &self.values {
            Values::Classification(values) => size_of::<ClassificationState>() + values.heap_size(),
            Values::Regression(values) => size_of::<RegressionState>() + values.heap_size(),
        }
    }
}

//! Predictions and labels that are classes.
//!
//! With TP, FP and FN of a class against all others, over the evaluated rows:
//!
//! | number | definition |
//! |---|---|
//! | `accuracy` | correct / evaluated |
//! | `precision` | TP / (TP + FP), 0 for a class that is never predicted |
//! | `recall` | TP / (TP + FN), 0 for a class that is no label |
//! | `f1` | 2·TP / (2·TP + FP + FN) |
//! | `macro_avg` | mean over the classes that occur, as label or as prediction |
//! | `weighted` | mean weighted by the rows that have the class as label |
//!
//! Source: `sklearn.metrics` with `zero_division=0`. Error: none before the one rounding of each ratio.

use std::sync::Arc;

use hashbrown::HashMap;

use super::answers::{ClassScores, MAX_CLASSES, Quality, QualityOptions, Scores};
use super::classes::NO_CLASS;
use super::confusion::{Confusion, Names, OneVsAll, Table};
use super::scores::{ScoreState, ScoredRows};
use crate::state::codec::{Reader, Writer};
use crate::{Error, Result};

/// The state of classes.
#[derive(Debug, Clone)]
pub(super) struct ClassificationState {
    options: Arc<Scores>,
    correct: u64,
    confusion: Confusion,
    scores: Option<ScoreState>,
}

/// Rows of one group: the numbers of their classes in `names`, and their scores.
#[derive(Debug)]
pub(super) struct ClassRows<'a> {
    pub(super) names: &'a Names,
    pub(super) predictions: &'a [u32],
    pub(super) labels: &'a [u32],
    pub(super) scored: ScoredRows<'a>,
}

/// Up to so many times the rows, cells of a whole matrix are cheaper than a table of those that occur.
const DENSE: usize = 4;

impl ClassificationState {
    /// Nothing seen yet.
    pub(super) fn empty(options: &Arc<Scores>) -> Self {
        let scores = ScoreState::empty(options);
        Self { options: Arc::clone(options), correct: 0, confusion: Confusion::default(), scores }
    }

    /// Which scores there are.
    pub(super) fn scores(&self) -> &Scores {
        &self.options
    }

    /// The confusion matrix; `None` with more classes than are counted.
    pub(super) fn table(&self) -> Option<Table> {
        self.confusion.table()
    }

    /// Adds rows, and says how many have a label, and a prediction too.
    pub(super) fn observe(&mut self, rows: &ClassRows<'_>) -> (u64, u64) {
        let labeled = rows.labels.iter().filter(|&&label| label != NO_CLASS).count();
        let pairs = || rows.predictions.iter().copied().zip(rows.labels.iter().copied());
        let evaluated = || pairs().filter(|&(prediction, label)| prediction != NO_CLASS && label != NO_CLASS);
        let mut count = 0u64;
        let mut add = |(prediction, label): (u32, u32), times: u64| {
            count += times;
            self.correct += if prediction == label { times } else { 0 };
            self.confusion.add(rows.names.text(prediction), rows.names.text(label), times);
        };
        let classes = rows.names.len();
        if classes.saturating_mul(classes) <= DENSE * rows.labels.len() {
            let mut cells = vec![0u64; classes * classes];
            evaluated().for_each(|(prediction, label)| cells[prediction as usize * classes + label as usize] += 1);
            let places = (0u32..).take(classes).flat_map(|p| (0u32..).take(classes).map(move |l| (p, l)));
            places.zip(cells).filter(|&(_, times)| times > 0).for_each(|(pair, times)| add(pair, times));
        } else {
            let mut cells: HashMap<(u32, u32), u64> = HashMap::new();
            evaluated().for_each(|pair| *cells.entry(pair).or_insert(0) += 1);
            cells.into_iter().for_each(|(pair, times)| add(pair, times));
        }
        if let Some(scores) = &mut self.scores {
            scores.observe(&rows.scored, matches!(*self.options, Scores::Positive { .. }));
        }
        (labeled as u64, count)
    }

    /// Fills in the numbers of so many evaluated rows.
    pub(super) fn answer(&self, evaluated: u64, quality: &mut Quality) {
        quality.accuracy = share(self.correct, evaluated);
        if let Some(table) = self.confusion.table().filter(|_| evaluated > 0) {
            let classes = table.one_vs_all();
            if classes.iter().all(|class| class.predicted == 0 || class.labeled == 0) {
                quality.note("no class is both predicted and a label, so none can be right");
            }
            quality.precision = Some(averaged(&table.classes, &classes, |c| (c.hits, c.predicted)));
            quality.recall = Some(averaged(&table.classes, &classes, |c| (c.hits, c.labeled)));
            quality.f1 = Some(averaged(&table.classes, &classes, |c| (2 * c.hits, c.predicted + c.labeled)));
            let text = |class: u32| table.classes[class as usize].clone();
            let cell = |&(prediction, label, count): &(u32, u32, u64)| (text(prediction), text(label), count);
            quality.confusion = Some(table.cells.iter().map(cell).collect());
        } else if evaluated > 0 {
            quality.note(&format!("more than {MAX_CLASSES} classes: no numbers of single classes"));
        }
        if let Some(scores) = &self.scores {
            scores.answer(self.options.classes(), quality);
        }
    }

    /// Adds the rows of another state; both together are counted in 64 bits.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        if self.options != other.options {
            return Err(Error::incompatible("states with the scores of different classes cannot be merged"));
        }
        if let (Some(ours), Some(theirs)) = (&mut self.scores, &other.scores) {
            ours.merge(theirs)?;
        }
        self.correct += other.correct;
        self.confusion.merge(&other.confusion);
        Ok(())
    }

    /// Which scores there are (0 none, 1 of one class, 2 of each) and of which classes; correct rows; the confusion matrix;
    /// the scores, if there are any.
    pub(super) fn encode(&self, out: &mut Writer) {
        match &*self.options {
            Scores::None => out.byte(0),
            Scores::Positive { class } => {
                out.byte(1);
                out.slice(class.as_bytes());
            }
            Scores::PerClass(classes) => {
                out.byte(2);
                out.varint(classes.len() as u64);
                classes.iter().for_each(|class| out.slice(class.as_bytes()));
            }
        }
        out.varint(self.correct);
        self.confusion.encode(out);
        if let Some(scores) = &self.scores {
            scores.encode(out);
        }
    }

    /// Reads the state of so many rows.
    pub(super) fn decode(input: &mut Reader<'_>, labeled: u64, evaluated: u64) -> Result<Self> {
        let invalid = |what: &str| Error::invalid_data(format!("the {what} of a state are out of shape"));
        let text = |input: &mut Reader<'_>| -> Result<String> {
            let text = std::str::from_utf8(input.slice()?).map_err(|_| invalid("classes"))?;
            Ok(text.to_owned())
        };
        let options = match input.byte()? {
            0 => Scores::None,
            1 => Scores::Positive { class: text(input)? },
            2 => {
                let count = input.count()?;
                Scores::PerClass((0..count.min(MAX_CLASSES + 1)).map(|_| text(input)).collect::<Result<_>>()?)
            }
            _ => return Err(invalid("scores")),
        };
        QualityOptions::Classification { scores: options.clone() }.validate().map_err(|_| invalid("classes"))?;
        let correct = input.varint()?;
        if correct > evaluated {
            return Err(invalid("counts"));
        }
        let confusion = Confusion::decode(input, evaluated, correct)?;
        let classes = options.classes().len();
        let scores = if classes > 0 { Some(ScoreState::decode(input, classes, labeled)?) } else { None };
        Ok(Self { options: Arc::new(options), correct, confusion, scores })
    }

    /// Bytes held on the heap; the names of scored classes, which states of one origin share, are not among them.
    pub(super) fn heap_size(&self) -> usize {
        self.confusion.heap_size() + self.scores.as_ref().map_or(0, ScoreState::heap_size)
    }
}

/// A share of rows; `None` of none.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The ratio of each class, 0 where it is not defined, and both means.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn averaged(names: &[String], classes: &[OneVsAll], ratio: impl Fn(&OneVsAll) -> (u64, u64)) -> ClassScores {
    let scores: Vec<f64> = classes
        .iter()
        .map(|class| {
            let (part, whole) = ratio(class);
            share(part, whole).unwrap_or(0.0)
        })
        .collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let rows: u64 = classes.iter().map(|class| class.labeled).sum();
    let weighted: f64 = scores.iter().zip(classes).map(|(score, class)| score * class.labeled as f64).sum();
    ClassScores {
        one_vs_all: names.iter().cloned().zip(scores).collect(),
        macro_avg: Some(mean),
        weighted: Some(weighted / rows as f64),
    }
}

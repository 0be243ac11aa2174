//! What is kept of a classifier's scores, for the numbers that need no decision: ranking, log loss, calibration.
//!
//! A row takes part if it has a label and a number in every score array. Its scores are probabilities if they lie in
//! \[0, 1\]; otherwise it takes part in the ranking only, and the other numbers of the state are refused.
//!
//! Logarithms are those of a Rust port of musl's `log`: the platform's differ in the last bit from one machine to the
//! next, and the sums of a state are the same to the bit everywhere.
//!
//! Unit: nats and probabilities. Error: of the ranking, its interval; sums are exact over terms that are each rounded.

use super::answers::{ClassScores, Quality, Scores};
use super::classes::NO_CLASS;
use super::ranking::area;
use crate::state::codec::{Reader, Writer};
use crate::state::{ExactSums, Histogram, MergeableState};
use crate::{Certified, Error, Result};

/// Bins of the calibration error.
pub(super) const BINS: usize = 10;
/// Scores of a row that add up to one within this are called probabilities of all classes.
const TOLERANCE: f64 = 1e-3;

/// The scores of one class, of the rows that have it as label and of the others.
#[derive(Debug, Clone)]
struct Ranking {
    of_class: Histogram,
    of_others: Histogram,
}

/// The rows of one bin of confidence.
#[derive(Debug, Clone, Default)]
struct Bin {
    hits: u64,
    confidence: ExactSums,
}

/// The state of the scores.
#[derive(Debug, Clone)]
pub(super) struct ScoreState {
    rankings: Vec<Ranking>,
    /// Rows that take part.
    pub(super) scored: u64,
    /// Of these, rows with a score that is no probability.
    improper: u64,
    /// Of those with probabilities: rows whose scores do not add up to one, and rows whose label has no score.
    unbalanced: u64,
    unlisted: u64,
    log_loss: ExactSums,
    brier: ExactSums,
    bins: Vec<Bin>,
}

/// The scores of some rows: `scores[c][row]`, NaN where there is none, and the place of each row's label among the
/// scored classes.
#[derive(Debug)]
pub(super) struct ScoredRows<'a> {
    pub(super) scores: &'a [&'a [f64]],
    pub(super) labels: &'a [Label],
}

/// A label, as the scores know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// The row has none.
    Missing,
    /// A class without scores.
    Unlisted,
    /// The class with this place.
    Class(u32),
}

impl Label {
    /// The label with a number of [`class_ids`](super::classes::class_ids), by the places of all numbers.
    pub(super) fn of(id: u32, places: &[Self]) -> Self {
        if id == NO_CLASS { Self::Missing } else { places[id as usize] }
    }
}

/// Buckets of a histogram of scores. With so many classes a state holds about two megabytes at most, up to a thousand.
fn buckets(classes: usize) -> u32 {
    let share = u32::try_from(65_536 / classes.max(1)).unwrap_or(u32::MAX);
    if classes <= 4 { 4096 } else { (1 << share.max(1).ilog2()).clamp(64, 2048) }
}

/// The bin of a probability: (0.1·i, 0.1·(i+1)], and zero in the first.
fn bin_of(probability: f64) -> usize {
    const EDGES: [f64; BINS - 1] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
    EDGES.iter().map(|&edge| usize::from(edge < probability)).sum()
}

/// −ln of a probability, clipped to [ε, 1−ε] as scikit-learn does.
fn log_loss_of(probability: f64) -> f64 {
    -libm::log(probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON))
}

fn is_probability(score: f64) -> bool {
    (0.0..=1.0).contains(&score)
}

/// Terms of a slice of rows, on their way into the sums.
#[derive(Debug, Default)]
struct Terms {
    log_loss: Vec<f64>,
    brier: Vec<f64>,
    confidence: [Vec<f64>; BINS],
    hits: [u64; BINS],
}

impl Terms {
    fn confident(&mut self, confidence: f64, is_hit: bool) {
        let bin = bin_of(confidence);
        self.confidence[bin].push(confidence);
        self.hits[bin] += u64::from(is_hit);
    }
}

impl ScoreState {
    /// The state of so many score arrays; `None` without any.
    pub(super) fn empty(scores: &Scores) -> Option<Self> {
        let classes = scores.classes().len();
        (classes > 0).then(|| {
            let limit = buckets(classes);
            let ranking = || Ranking { of_class: Histogram::empty(limit), of_others: Histogram::empty(limit) };
            Self {
                rankings: std::iter::repeat_with(ranking).take(classes).collect(),
                scored: 0,
                improper: 0,
                unbalanced: 0,
                unlisted: 0,
                log_loss: ExactSums::default(),
                brier: ExactSums::default(),
                bins: vec![Bin::default(); BINS],
            }
        })
    }

    /// Adds rows: those of a single array are scores of the positive class.
    pub(super) fn observe(&mut self, rows: &ScoredRows<'_>, is_binary: bool) {
        let has_scores = |row: &usize| rows.scores.iter().all(|scores| !scores[*row].is_nan());
        let taking_part: Vec<usize> =
            (0..rows.labels.len()).filter(|&row| rows.labels[row] != Label::Missing).filter(has_scores).collect();
        self.scored += taking_part.len() as u64;
        self.rank(rows, &taking_part);
        let mut terms = Terms::default();
        if is_binary {
            self.judge_binary(rows, &taking_part, &mut terms);
        } else {
            self.judge_classes(rows, &taking_part, &mut terms);
        }
        self.log_loss.observe_slice(&terms.log_loss);
        self.brier.observe_slice(&terms.brier);
        for (bin, (confidence, hits)) in self.bins.iter_mut().zip(terms.confidence.iter().zip(terms.hits)) {
            bin.confidence.observe_slice(confidence);
            bin.hits += hits;
        }
    }

    fn rank(&mut self, rows: &ScoredRows<'_>, taking_part: &[usize]) {
        let (mut of_class, mut of_others) = (Vec::new(), Vec::with_capacity(taking_part.len()));
        for (class, (ranking, scores)) in (0u32..).zip(self.rankings.iter_mut().zip(rows.scores)) {
            of_class.clear();
            of_others.clear();
            for &row in taking_part {
                let side = if rows.labels[row] == Label::Class(class) { &mut of_class } else { &mut of_others };
                side.push(scores[row]);
            }
            ranking.of_class.observe_slice(&of_class);
            ranking.of_others.observe_slice(&of_others);
        }
    }

    /// The positive class's probability against whether the row is of that class.
    fn judge_binary(&mut self, rows: &ScoredRows<'_>, taking_part: &[usize], terms: &mut Terms) {
        let Some(scores) = rows.scores.first() else { return };
        for &row in taking_part {
            let probability = scores[row];
            if !is_probability(probability) {
                self.improper += 1;
                continue;
            }
            let is_positive = rows.labels[row] == Label::Class(0);
            let given = if is_positive { probability } else { 1.0 - probability };
            terms.log_loss.push(log_loss_of(given));
            let off = 1.0 - given;
            terms.brier.push(if is_positive { off * off } else { probability * probability });
            terms.confident(probability, is_positive);
        }
    }

    /// All probabilities of a row against its label; a label without a score was given none.
    fn judge_classes(&mut self, rows: &ScoredRows<'_>, taking_part: &[usize], terms: &mut Terms) {
        for &row in taking_part {
            let (mut sum, mut squares, mut top) = (0.0, 0.0, (f64::NEG_INFINITY, 0u32));
            let mut is_proper = true;
            for (class, scores) in (0u32..).zip(rows.scores) {
                let score = scores[row];
                is_proper &= is_probability(score);
                sum += score;
                let off = if rows.labels[row] == Label::Class(class) { 1.0 - score } else { score };
                squares += off * off;
                if score > top.0 {
                    top = (score, class);
                }
            }
            if !is_proper {
                self.improper += 1;
                continue;
            }
            let given = match rows.labels[row] {
                Label::Class(class) => rows.scores[class as usize][row],
                Label::Unlisted | Label::Missing => {
                    self.unlisted += 1;
                    squares += 1.0;
                    0.0
                }
            };
            self.unbalanced += u64::from((sum - 1.0).abs() > TOLERANCE);
            terms.log_loss.push(log_loss_of(given));
            // Two classes make the same error twice.
            terms.brier.push(if rows.scores.len() == 2 { squares / 2.0 } else { squares });
            terms.confident(top.0, rows.labels[row] == Label::Class(top.1));
        }
    }

    /// Fills in the numbers that the scores answer.
    pub(super) fn answer(&self, classes: &[String], quality: &mut Quality) {
        quality.scored = self.scored;
        self.answer_ranking(classes, quality);
        if self.improper > 0 {
            quality.note(&format!(
                "{} rows with scores outside 0 to 1: no log loss, Brier score or calibration error",
                self.improper
            ));
            return;
        }
        quality.log_loss = self.log_loss.mean();
        quality.brier_score = self.brier.mean();
        quality.calibration_error = self.calibration_error();
        if self.unlisted > 0 {
            quality.note(&format!(
                "{} rows have a label without scores, which counts as given probability 0",
                self.unlisted
            ));
        }
        if self.unbalanced > 0 {
            quality.note(&format!("the scores of {} rows do not add up to 1", self.unbalanced));
        }
    }

    /// Each class against the rest, the mean over classes with rows on both sides, and that weighted by rows of the class.
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
    fn answer_ranking(&self, classes: &[String], quality: &mut Quality) {
        let areas: Vec<(&String, Certified, f64)> = classes
            .iter()
            .zip(&self.rankings)
            .filter_map(|(class, ranking)| {
                let area = area(&ranking.of_class, &ranking.of_others)?;
                Some((class, area, ranking.of_class.total() as f64))
            })
            .collect();
        if areas.is_empty() {
            if self.scored > 0 {
                quality.note("no class with scores has rows on both sides: no ROC AUC");
            }
            return;
        }
        let total: f64 = areas.iter().map(|(_, _, support)| support).sum();
        let scores = |number: fn(&Certified) -> f64| {
            let mut one_vs_all: Vec<(String, f64)> =
                areas.iter().map(|(class, area, _)| ((*class).clone(), number(area))).collect();
            one_vs_all.sort_by(|a, b| a.0.cmp(&b.0));
            let mean: f64 = areas.iter().map(|(_, area, _)| number(area)).sum::<f64>() / areas.len() as f64;
            let weighted = areas.iter().map(|(_, area, support)| number(area) * support).sum::<f64>() / total;
            ClassScores { one_vs_all, macro_avg: Some(mean), weighted: Some(weighted) }
        };
        quality.roc_auc = Some(scores(|area| area.value));
        quality.roc_auc_error = Some(scores(Certified::error));
    }

    /// Σ over bins of |Σ confidence − hits| / n: the mean gap of confidence and accuracy, bins weighted by their rows.
    /// Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, *On calibration of modern neural networks*, ICML 2017, eq. 3; of
    /// one probability, M. P. Naeini, G. Cooper, M. Hauskrecht, AAAI 2015.
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
    fn calibration_error(&self) -> Option<f64> {
        let gap = |bin: &Bin| (bin.confidence.sum() - bin.hits as f64).abs();
        let gaps: f64 = self.bins.iter().map(gap).sum();
        (self.scored > 0).then(|| gaps / self.scored as f64)
    }

    /// Adds the rows of another state of as many classes, whose rows together are counted in 64 bits.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        for (ours, theirs) in self.rankings.iter_mut().zip(&other.rankings) {
            ours.of_class.merge(&theirs.of_class)?;
            ours.of_others.merge(&theirs.of_others)?;
        }
        self.scored += other.scored;
        self.improper += other.improper;
        self.unbalanced += other.unbalanced;
        self.unlisted += other.unlisted;
        self.log_loss.merge(&other.log_loss)?;
        self.brier.merge(&other.brier)?;
        for (ours, theirs) in self.bins.iter_mut().zip(&other.bins) {
            ours.hits += theirs.hits;
            ours.confidence.merge(&theirs.confidence)?;
        }
        Ok(())
    }

    /// The four counts, the sums of log loss and Brier score, hits and confidence of each bin, then the histograms of each
    /// class and of its others.
    pub(super) fn encode(&self, out: &mut Writer) {
        [self.scored, self.improper, self.unbalanced, self.unlisted].into_iter().for_each(|count| out.varint(count));
        self.log_loss.encode(out);
        self.brier.encode(out);
        for bin in &self.bins {
            out.varint(bin.hits);
            bin.confidence.encode(out);
        }
        for ranking in &self.rankings {
            ranking.of_class.encode(out);
            ranking.of_others.encode(out);
        }
    }

    /// Reads the state of these scores, of which there are some, over at most so many rows with a label.
    pub(super) fn decode(input: &mut Reader<'_>, classes: usize, labeled: u64) -> Result<Self> {
        let invalid = || Error::invalid_data("the scores of a state are out of shape");
        let (scored, improper) = (input.varint()?, input.varint()?);
        let (unbalanced, unlisted) = (input.varint()?, input.varint()?);
        let judged = scored.checked_sub(improper).filter(|_| scored <= labeled).ok_or_else(invalid)?;
        let (log_loss, brier) = (ExactSums::decode(input)?, ExactSums::decode(input)?);
        if unbalanced.max(unlisted) > judged || log_loss.count() != judged || brier.count() != judged {
            return Err(invalid());
        }
        let mut bins = Vec::with_capacity(BINS);
        let mut binned = 0u64;
        for _ in 0..BINS {
            let bin = Bin { hits: input.varint()?, confidence: ExactSums::decode(input)? };
            binned = binned.checked_add(bin.confidence.count()).ok_or_else(invalid)?;
            if bin.hits > bin.confidence.count() {
                return Err(invalid());
            }
            bins.push(bin);
        }
        if binned != judged {
            return Err(invalid());
        }
        let mut rankings = Vec::new();
        for _ in 0..classes {
            let ranking = Ranking { of_class: Histogram::decode(input)?, of_others: Histogram::decode(input)? };
            let sides = [&ranking.of_class, &ranking.of_others];
            let total = ranking.of_class.total().checked_add(ranking.of_others.total());
            if total != Some(scored) || sides.iter().any(|side| side.limit() != buckets(classes)) {
                return Err(invalid());
            }
            rankings.push(ranking);
        }
        Ok(Self { rankings, scored, improper, unbalanced, unlisted, log_loss, brier, bins })
    }

    /// Bytes held on the heap.
    pub(super) fn heap_size(&self) -> usize {
        let side = |ranking: &Ranking| ranking.of_class.heap_size() + ranking.of_others.heap_size();
        let rankings: usize = self.rankings.iter().map(side).sum();
        let bins: usize = self.bins.iter().map(|bin| bin.confidence.heap_size()).sum();
        self.rankings.capacity() * size_of::<Ranking>()
            + self.bins.capacity() * size_of::<Bin>()
            + rankings
            + bins
            + self.log_loss.heap_size()
            + self.brier.heap_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_closed_above_and_hold_zero() {
        let bins = [0.0, 5e-324, 0.1, 0.1f64.next_up(), 0.3, 0.9, 0.9f64.next_up(), 1.0].map(bin_of);
        assert_eq!(bins, [0, 0, 0, 1, 2, 8, 9, 9]);
    }

    #[test]
    fn more_classes_get_fewer_buckets() {
        assert_eq!([1, 4, 5, 33, 300, 1000].map(buckets), [4096, 4096, 2048, 1024, 128, 64]);
    }
}

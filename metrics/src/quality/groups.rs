//! Many states of model quality at once: the rows of a batch go to the states of their groups.
//!
//! Within a batch the rows are first brought together by group. Classes are interned once a batch and counted as
//! numbers; a state hears of each pair of classes once a batch.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};

use super::answers::QualityOptions;
use super::classes::class_ids;
use super::classification::ClassRows;
use super::confusion::Names;
use super::scores::{Label, ScoredRows};
use super::{QualityState, Values};
use crate::column::ColumnKind;
use crate::column::arrays::{cast_to, unfit};
use crate::column::sorter::Sorted;
use crate::{Error, Result};

/// The states of model quality for groups `0..len`.
#[derive(Debug)]
pub struct QualityGroups {
    options: QualityOptions,
    /// A copy that all states share.
    empty: QualityState,
    states: Vec<QualityState>,
}

impl QualityGroups {
    /// No groups yet. Options that [`QualityOptions::validate`] refuses are refused by [`Self::observe`].
    #[must_use]
    pub fn new(options: QualityOptions) -> Self {
        let empty = QualityState::empty(&options);
        Self { options, empty, states: Vec::new() }
    }

    /// One group with the state taken out of `state`.
    pub(super) fn around(state: &mut QualityState) -> Self {
        let mut groups = Self::new(state.options());
        groups.states.push(std::mem::replace(state, groups.empty.clone()));
        groups
    }

    /// The number of groups.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there are no groups.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Makes sure that the groups `0..len` exist.
    pub fn resize(&mut self, len: usize) {
        if len > self.states.len() {
            self.states.resize_with(len, || self.empty.clone());
        }
    }

    /// Adds row `i` of the arrays to group `groups[i]`; rows of group `usize::MAX` are left out. Groups must exist.
    ///
    /// `scores` are the arrays that the options name, in their order. Null and NaN are no prediction, no label and no
    /// score. Arrays that are refused change nothing.
    ///
    /// # Errors
    /// When the lengths or the number of score arrays differ from what is expected, a type does not fit, a group does not
    /// exist, or the options are none.
    pub fn observe(
        &mut self,
        prediction: &dyn Array,
        label: &dyn Array,
        scores: &[ArrayRef],
        groups: &[usize],
    ) -> Result<()> {
        self.options.validate()?;
        if scores.len() != self.options.score_arrays() {
            return Err(Error::invalid_argument(format!(
                "{} arrays of scores, expected {}",
                scores.len(),
                self.options.score_arrays()
            )));
        }
        let lengths = [prediction.len(), label.len()].into_iter().chain(scores.iter().map(|array| array.len()));
        if let Some(length) = lengths.into_iter().find(|&length| length != groups.len()) {
            return Err(Error::invalid_argument(format!("{length} values for {} groups", groups.len())));
        }
        let Some(sorted) = Sorted::of(groups, self.states.len()) else {
            return Err(Error::invalid_argument("a row belongs to a group that does not exist"));
        };
        match &self.options {
            QualityOptions::Regression => self.observe_numbers(prediction, label, &sorted),
            QualityOptions::Classification { .. } => self.observe_classes(prediction, label, scores, &sorted),
        }
    }

    fn observe_numbers(&mut self, prediction: &dyn Array, label: &dyn Array, sorted: &Sorted) -> Result<()> {
        let (predictions, labels) = (doubles(prediction)?, doubles(label)?);
        let (predictions, labels) = (sorted.gather(&predictions), sorted.gather(&labels));
        for (group, range) in predictions.runs() {
            let state = &mut self.states[group];
            let (predictions, labels) = (&predictions.values()[range.clone()], &labels.values()[range]);
            state.rows += labels.len() as u64;
            state.labeled += labels.iter().filter(|label| !label.is_nan()).count() as u64;
            let pairs = predictions.iter().copied().zip(labels.iter().copied());
            let (predictions, labels): (Vec<f64>, Vec<f64>) =
                pairs.filter(|(prediction, label)| !prediction.is_nan() && !label.is_nan()).unzip();
            state.evaluated += labels.len() as u64;
            if let Values::Regression(values) = &mut state.values {
                values.observe(&predictions, &labels);
            }
        }
        Ok(())
    }

    fn observe_classes(
        &mut self,
        prediction: &dyn Array,
        label: &dyn Array,
        scores: &[ArrayRef],
        sorted: &Sorted,
    ) -> Result<()> {
        let mut names = Names::default();
        let labels = class_ids(label, &mut names)?;
        let predictions = class_ids(prediction, &mut names)?;
        let scores: Vec<Vec<f64>> = scores.iter().map(|array| doubles(array)).collect::<Result<_>>()?;
        let mut places = vec![Label::Unlisted; names.len()];
        if let QualityOptions::Classification { scores } = &self.options {
            for (place, class) in (0u32..).zip(scores.classes()) {
                if let Some(id) = names.find(class) {
                    places[id as usize] = Label::Class(place);
                }
            }
        }
        let (predictions, labels) = (sorted.gather(&predictions), sorted.gather(&labels));
        let scores: Vec<_> = scores.iter().map(|scores| sorted.gather(scores)).collect();
        for (group, range) in predictions.runs() {
            let state = &mut self.states[group];
            let scores: Vec<&[f64]> = scores.iter().map(|scores| &scores.values()[range.clone()]).collect();
            let (predictions, ids) = (&predictions.values()[range.clone()], &labels.values()[range]);
            let labels: Vec<Label> = ids.iter().map(|&id| Label::of(id, &places)).collect();
            let scored = ScoredRows { scores: &scores, labels: &labels };
            let rows = ClassRows { names: &names, predictions, labels: ids, scored };
            if let Values::Classification(values) = &mut state.values {
                let (labeled, evaluated) = values.observe(&rows);
                state.rows += ids.len() as u64;
                state.labeled += labeled;
                state.evaluated += evaluated;
            }
        }
        Ok(())
    }

    /// Merges `state` into group `group`.
    ///
    /// # Errors
    /// As [`QualityState::merge`].
    pub fn merge(&mut self, group: usize, state: &QualityState) -> Result<()> {
        match self.states.get_mut(group) {
            Some(ours) => ours.merge(state),
            None => Err(Error::invalid_argument("a state belongs to a group that does not exist")),
        }
    }

    /// Takes the states of the first `count` groups, in order; the rest move up.
    pub fn take(&mut self, count: usize) -> Vec<QualityState> {
        let count = count.min(self.states.len());
        self.states.drain(..count).collect()
    }

    /// All states, in the order of their groups.
    #[must_use]
    pub fn into_states(self) -> Vec<QualityState> {
        self.states
    }

    /// Bytes held on the heap, about.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.states.iter().map(|state| size_of::<QualityState>() + state.heap_size()).sum()
    }
}

/// Numbers as doubles, NaN where there is none.
fn doubles(array: &dyn Array) -> Result<Vec<f64>> {
    if array.data_type() != &DataType::Null && ColumnKind::of(array.data_type()) != ColumnKind::Numeric {
        return Err(unfit(array, "a number"));
    }
    let plain = match array.data_type() {
        DataType::Dictionary(_, values) => cast_to(array, values)?,
        DataType::RunEndEncoded(_, values) => cast_to(array, values.data_type())?,
        _ => cast_to(array, &DataType::Float64)?,
    };
    if plain.data_type() != &DataType::Float64 {
        return doubles(&plain);
    }
    let values = plain.as_primitive::<Float64Type>();
    Ok(match values.nulls() {
        None => values.values().to_vec(),
        Some(_) => values.iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
    })
}

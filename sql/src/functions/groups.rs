//! The grouped accumulator of both aggregates, and its one-group form.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use limno_metrics::MeasureState;
use limno_metrics::column::ColumnGroups;
use limno_metrics::quality::QualityGroups;
use limno_metrics::state::{ItemSample, MergeableState};

use crate::plan::MeasureOptions;

/// What the rows of an update hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Values to observe.
    Values(MeasureOptions),
    /// Encoded states to merge.
    States,
}

/// One state for each group.
#[derive(Debug)]
pub(super) struct StateGroups {
    input: Input,
    groups: Groups,
    /// What was handed over by other partitions. Where rows lie by window most groups come from one alone.
    arrived: Vec<Arrived>,
    /// Whether groups have seen rows of their own, so that what arrives is not alone.
    has_observed: bool,
    /// Groups numbered by us, since rows that a filter leaves out must not be observed.
    kept: Vec<usize>,
    /// Recounted every so often: sizes of states are not worth a walk over all of them for each batch.
    size: usize,
    batches: u32,
}

/// The states of one group that other partitions handed over.
#[derive(Debug, Default)]
enum Arrived {
    #[default]
    None,
    /// One, which nobody has to look into: encodings are canonical.
    Alone(Vec<u8>),
    /// Several, merged into the state of the group.
    Merged,
}

#[derive(Debug)]
enum Groups {
    Columns(Box<ColumnGroups>),
    Quality(Box<QualityGroups>),
    Samples {
        limit: u32,
        samples: Vec<ItemSample>,
    },
    /// States of a kind known only once the first has been decoded.
    Merging(Vec<Option<MeasureState>>),
}

impl Groups {
    fn resize(&mut self, total: usize) {
        match self {
            Self::Columns(columns) => columns.resize(total),
            Self::Quality(quality) => quality.resize(total),
            Self::Samples { limit, samples } => {
                if total > samples.len() {
                    samples.resize_with(total, || ItemSample::empty(*limit));
                }
            }
            Self::Merging(merged) => merged.resize(total.max(merged.len()), None),
        }
    }

    /// Adds rows to their groups; those of group `usize::MAX` are left out.
    fn observe(&mut self, values: &[ArrayRef], groups: &[usize]) -> Result<()> {
        match self {
            Self::Columns(columns) => columns.observe(only(values)?, groups).map_err(external),
            Self::Quality(quality) => match values {
                [prediction, label, scores @ ..] => {
                    quality.observe(prediction, label, scores, groups).map_err(external)
                }
                _ => Err(exec_datafusion_err!("the quality of a model needs predictions and labels")),
            },
            Self::Samples { samples, .. } => {
                let items = arrow::compute::cast(only(values)?, &DataType::Utf8)?;
                let items = items.as_string::<i32>();
                for (row, &group) in groups.iter().enumerate().filter(|(row, _)| items.is_valid(*row)) {
                    if let Some(sample) = samples.get_mut(group) {
                        sample.observe(items.value(row).as_bytes(), 1);
                    }
                }
                Ok(())
            }
            Self::Merging(_) => Err(exec_datafusion_err!("states are merged, not observed")),
        }
    }

    fn merge(&mut self, group: usize, state: MeasureState) -> Result<()> {
        let out_of_range = || exec_datafusion_err!("group {group} is out of range");
        match self {
            Self::Columns(columns) => {
                let state = state.into_column().ok_or_else(|| exec_datafusion_err!("not the state of a column"))?;
                columns.merge(group, &state).map_err(external)
            }
            Self::Quality(quality) => match state {
                MeasureState::Quality(state) => quality.merge(group, &state).map_err(external),
                _ => Err(exec_datafusion_err!("not the state of a model's quality")),
            },
            Self::Samples { samples, .. } => match (samples.get_mut(group), state) {
                (Some(ours), MeasureState::Sample(theirs)) => ours.merge(&theirs).map_err(external),
                (None, _) => Err(out_of_range()),
                _ => Err(exec_datafusion_err!("not a sample")),
            },
            Self::Merging(merged) => match merged.get_mut(group).ok_or_else(out_of_range)? {
                Some(ours) => ours.merge(&state).map_err(external),
                none => {
                    *none = Some(state);
                    Ok(())
                }
            },
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Columns(columns) => columns.heap_size(),
            Self::Quality(quality) => quality.heap_size(),
            Self::Samples { samples, .. } => samples.iter().map(MergeableState::heap_size).sum(),
            Self::Merging(states) => states.iter().flatten().map(MeasureState::heap_size).sum(),
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<MeasureState>> {
        match self {
            Self::Columns(columns) => {
                let count = match emit_to {
                    EmitTo::All => columns.len(),
                    EmitTo::First(count) => count,
                };
                columns.take(count).into_iter().map(|state| Some(state.into())).collect()
            }
            Self::Quality(quality) => {
                let count = match emit_to {
                    EmitTo::All => quality.len(),
                    EmitTo::First(count) => count,
                };
                quality.take(count).into_iter().map(|state| Some(state.into())).collect()
            }
            Self::Samples { samples, .. } => {
                emit_to.take_needed(samples).into_iter().map(|sample| Some(MeasureState::Sample(sample))).collect()
            }
            Self::Merging(states) => emit_to.take_needed(states),
        }
    }
}

fn external(error: limno_metrics::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl StateGroups {
    pub(super) fn new(input: Input) -> Self {
        let groups = match &input {
            Input::Values(MeasureOptions::Column(options)) => Groups::Columns(Box::new(ColumnGroups::new(*options))),
            Input::Values(MeasureOptions::Quality(options)) => {
                Groups::Quality(Box::new(QualityGroups::new(options.clone())))
            }
            Input::Values(MeasureOptions::Sample { limit }) => Groups::Samples { limit: *limit, samples: Vec::new() },
            Input::States => Groups::Merging(Vec::new()),
        };
        Self { input, groups, arrived: Vec::new(), has_observed: false, kept: Vec::new(), size: 0, batches: 0 }
    }

    fn observe(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        if self.input == Input::States {
            return self.merge(only(values)?, groups, filter, total);
        }
        self.groups.resize(total);
        self.open_arrived()?;
        self.has_observed = true;
        match filter {
            None => self.groups.observe(values, groups)?,
            Some(filter) => {
                self.kept.clear();
                self.kept.extend(
                    groups.iter().enumerate().map(|(row, &group)| {
                        if filter.is_valid(row) && filter.value(row) { group } else { usize::MAX }
                    }),
                );
                self.groups.observe(values, &self.kept)?;
            }
        }
        self.recount();
        Ok(())
    }

    /// Adds all rows to the first group.
    fn observe_all(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let (Groups::Columns(columns), []) = (&mut self.groups, &self.arrived[..]) {
            columns.observe_all(only(values)?, 0).map_err(external)?;
            self.has_observed = true;
            self.recount();
            return Ok(());
        }
        self.observe(values, &vec![0; only(values)?.len()], None, 1)
    }

    fn merge(
        &mut self,
        values: &dyn Array,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let states = encoded(values)?;
        self.groups.resize(total);
        self.open_arrived()?;
        self.has_observed = true;
        for (row, &group) in groups.iter().enumerate() {
            let is_left_out = filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row));
            if !states.is_null(row) && !is_left_out {
                self.groups.merge(group, MeasureState::decode(states.value(row)).map_err(external)?)?;
            }
        }
        self.recount();
        Ok(())
    }

    /// Merges states of rows that an accumulator like this one has seen.
    fn hand_over(&mut self, values: &dyn Array, groups: &[usize], total: usize) -> Result<()> {
        let states = encoded(values)?;
        self.groups.resize(total);
        self.arrived.resize_with(total.max(self.arrived.len()), Arrived::default);
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            let state = states.value(row);
            self.arrived[group] = match std::mem::take(&mut self.arrived[group]) {
                Arrived::None if !self.has_observed => Arrived::Alone(state.to_vec()),
                Arrived::Alone(first) => {
                    self.groups.merge(group, MeasureState::decode(&first).map_err(external)?)?;
                    self.groups.merge(group, MeasureState::decode(state).map_err(external)?)?;
                    Arrived::Merged
                }
                Arrived::Merged | Arrived::None => {
                    self.groups.merge(group, MeasureState::decode(state).map_err(external)?)?;
                    Arrived::Merged
                }
            };
        }
        self.recount();
        Ok(())
    }

    /// Merges what has arrived alone into the states of its groups, for rows will be added to them.
    fn open_arrived(&mut self) -> Result<()> {
        for (group, arrived) in self.arrived.iter_mut().enumerate() {
            if let Arrived::Alone(state) = std::mem::take(arrived) {
                self.groups.merge(group, MeasureState::decode(&state).map_err(external)?)?;
            }
        }
        self.arrived.clear();
        Ok(())
    }

    fn recount(&mut self) {
        if self.batches.is_power_of_two() || self.batches.is_multiple_of(64) {
            let arrived = self.arrived.iter().map(|arrived| match arrived {
                Arrived::Alone(state) => state.capacity(),
                Arrived::None | Arrived::Merged => 0,
            });
            self.size = self.groups.heap_size() + arrived.sum::<usize>();
        }
        self.batches = self.batches.wrapping_add(1);
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut encoded = BinaryBuilder::new();
        let states = self.groups.take(emit_to);
        let count = states.len().min(self.arrived.len());
        let arrived: Vec<Arrived> = self.arrived.drain(..count).collect();
        let arrived = arrived.into_iter().chain(std::iter::repeat_with(Arrived::default));
        for (state, arrived) in states.into_iter().zip(arrived) {
            match (arrived, state) {
                (Arrived::Alone(state), _) => encoded.append_value(state),
                (_, Some(state)) => encoded.append_value(state.encode()),
                (_, None) => encoded.append_null(),
            }
        }
        self.has_observed &= matches!(emit_to, EmitTo::First(_));
        self.batches = 0;
        self.recount();
        Ok(Arc::new(encoded.finish()))
    }
}

/// The encoded states in an array; DataFusion may hand views of them.
fn encoded(values: &dyn Array) -> Result<BinaryArray> {
    let values = arrow::compute::cast(values, &DataType::Binary)?;
    Ok(values.as_binary::<i32>().clone())
}

fn only(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().ok_or_else(|| exec_datafusion_err!("a state aggregate takes an argument"))
}

impl GroupsAccumulator for StateGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.observe(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.hand_over(only(values)?, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows: Vec<usize> = (0..only(values)?.len()).collect();
        let mut each = Self::new(self.input.clone());
        each.observe(values, &rows, opt_filter, rows.len())?;
        Ok(vec![each.emit(EmitTo::All)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.size
    }
}

/// The same for a query without groups.
#[derive(Debug)]
pub(super) struct OneState {
    groups: StateGroups,
}

impl OneState {
    pub(super) fn new(input: Input) -> Self {
        let mut groups = StateGroups::new(input);
        groups.groups.resize(1);
        Self { groups }
    }

    fn take(&mut self) -> Result<ScalarValue> {
        let emitted = self.groups.emit(EmitTo::All)?;
        // DataFusion may ask again after an evaluation; an emptied group is an empty state.
        let fresh = Self::new(self.groups.input.clone());
        self.groups = fresh.groups;
        ScalarValue::try_from_array(&emitted, 0)
    }
}

impl Accumulator for OneState {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.groups.observe_all(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.take()
    }

    fn size(&self) -> usize {
        self.groups.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.take()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = only(states)?;
        self.groups.hand_over(states, &vec![0; states.len()], 1)
    }
}

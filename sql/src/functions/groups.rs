//! The grouped accumulator of both aggregates, and its one-group form.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use limno_metrics::column::{ColumnGroups, ColumnOptions, ColumnState};

/// What the rows of an update hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Values to observe.
    Values(ColumnOptions),
    /// Encoded states to merge.
    States,
}

/// One column state for each group.
#[derive(Debug)]
pub(super) struct StateGroups {
    input: Input,
    groups: Groups,
    /// Groups numbered by us, since rows that a filter leaves out must not be observed.
    kept: Vec<usize>,
    /// Recounted every so often: sizes of states are not worth a walk over all of them for each batch.
    size: usize,
    batches: u32,
}

#[derive(Debug)]
enum Groups {
    Observing(Box<ColumnGroups>),
    /// States of a kind known only once the first has been decoded.
    Merging(Vec<Option<ColumnState>>),
}

fn external(error: limno_metrics::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl StateGroups {
    pub(super) fn new(input: Input) -> Self {
        let groups = match input {
            Input::Values(options) => Groups::Observing(Box::new(ColumnGroups::new(options))),
            Input::States => Groups::Merging(Vec::new()),
        };
        Self { input, groups, kept: Vec::new(), size: 0, batches: 0 }
    }

    fn observe(
        &mut self,
        values: &dyn Array,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let Groups::Observing(states) = &mut self.groups else {
            return self.merge(values, groups, filter, total);
        };
        states.resize(total);
        match filter {
            None => states.observe(values, groups).map_err(external)?,
            Some(filter) => {
                self.kept.clear();
                self.kept.extend(
                    groups.iter().enumerate().map(|(row, &group)| {
                        if filter.is_valid(row) && filter.value(row) { group } else { usize::MAX }
                    }),
                );
                states.observe(values, &self.kept).map_err(external)?;
            }
        }
        self.recount();
        Ok(())
    }

    fn merge(
        &mut self,
        values: &dyn Array,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let states = encoded(values)?;
        if let Groups::Observing(groups) = &mut self.groups {
            groups.resize(total);
        }
        if let Groups::Merging(merged) = &mut self.groups {
            merged.resize(total.max(merged.len()), None);
        }
        for (row, &group) in groups.iter().enumerate() {
            let is_left_out = filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row));
            if states.is_null(row) || is_left_out {
                continue;
            }
            let state = ColumnState::decode(states.value(row)).map_err(external)?;
            match &mut self.groups {
                Groups::Observing(groups) => groups.merge(group, &state).map_err(external)?,
                Groups::Merging(merged) => match merged.get_mut(group) {
                    Some(Some(ours)) => ours.merge(&state).map_err(external)?,
                    Some(none) => *none = Some(state),
                    None => return Err(exec_datafusion_err!("group {group} is out of range")),
                },
            }
        }
        self.recount();
        Ok(())
    }

    fn recount(&mut self) {
        if self.batches.is_power_of_two() || self.batches.is_multiple_of(64) {
            self.size = match &self.groups {
                Groups::Observing(states) => states.heap_size(),
                Groups::Merging(states) => states.iter().flatten().map(ColumnState::heap_size).sum(),
            };
        }
        self.batches = self.batches.wrapping_add(1);
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states: Vec<Option<ColumnState>> = match &mut self.groups {
            Groups::Observing(states) => {
                let count = match emit_to {
                    EmitTo::All => states.len(),
                    EmitTo::First(count) => count,
                };
                states.take(count).into_iter().map(Some).collect()
            }
            Groups::Merging(states) => emit_to.take_needed(states),
        };
        let mut encoded = BinaryBuilder::new();
        for state in states {
            match state {
                Some(state) => encoded.append_value(state.encode()),
                None => encoded.append_null(),
            }
        }
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
    values.first().ok_or_else(|| exec_datafusion_err!("a state aggregate takes one argument"))
}

impl GroupsAccumulator for StateGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.observe(only(values)?, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.merge(only(values)?, group_indices, None, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = only(values)?;
        let rows: Vec<usize> = (0..values.len()).collect();
        let mut each = Self::new(self.input);
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
        match &mut groups.groups {
            Groups::Observing(states) => states.resize(1),
            Groups::Merging(states) => states.push(None),
        }
        Self { groups }
    }

    fn take(&mut self) -> Result<ScalarValue> {
        let emitted = self.groups.emit(EmitTo::All)?;
        // DataFusion may ask again after an evaluation; an emptied group is an empty state.
        let fresh = Self::new(self.groups.input);
        self.groups = fresh.groups;
        ScalarValue::try_from_array(&emitted, 0)
    }
}

impl Accumulator for OneState {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = only(values)?;
        self.groups.observe(values, &vec![0; values.len()], None, 1)
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
        self.groups.merge(states, &vec![0; states.len()], None, 1)
    }
}

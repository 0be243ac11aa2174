//! `column_state(values)`: the encoded state of a column over the rows of a group.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
    utils::AggregateOrderSensitivity,
};
use limno_metrics::column::{ColumnKind, ColumnOptions};

use super::groups::{Input, OneState, StateGroups};

/// The aggregate for columns of one kind and one set of limits. Its value is Binary, as
/// [`ColumnState::encode`](limno_metrics::column::ColumnState::encode) writes it; an empty group has an empty state.
#[must_use]
pub fn column_state(options: ColumnOptions) -> AggregateUDF {
    AggregateUDF::new_from_impl(ColumnStateFunction {
        name: format!("{}_state", options.kind),
        options,
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ColumnStateFunction {
    name: String,
    options: ColumnOptions,
    signature: Signature,
}

impl AggregateUDFImpl for ColumnStateFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let natural = arguments.first().map_or(ColumnKind::Opaque, ColumnKind::of);
        let fits = match self.options.kind {
            ColumnKind::Categorical => arguments.first().is_some_and(ColumnKind::can_be_categorical),
            ColumnKind::Opaque => true,
            kind => natural == kind,
        };
        if fits {
            Ok(DataType::Binary)
        } else {
            datafusion::common::plan_err!("{} does not take {arguments:?}", self.name)
        }
    }

    fn is_nullable(&self) -> bool {
        true
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneState::new(Input::Values(self.options))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(StateGroups::new(Input::Values(self.options))))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

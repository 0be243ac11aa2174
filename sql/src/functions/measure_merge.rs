//! `measure_merge(states)`: encoded states merged into one.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
    utils::AggregateOrderSensitivity,
};

use super::groups::{Input, OneState, StateGroups};

/// The aggregate. Its value is NULL for a group without states.
#[must_use]
pub fn measure_merge() -> AggregateUDF {
    AggregateUDF::new_from_impl(MeasureMergeFunction {
        signature: Signature::uniform(
            1,
            vec![DataType::Binary, DataType::BinaryView, DataType::LargeBinary],
            Volatility::Immutable,
        ),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MeasureMergeFunction {
    signature: Signature,
}

impl AggregateUDFImpl for MeasureMergeFunction {
    fn name(&self) -> &'static str {
        "measure_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneState::new(Input::States)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(StateGroups::new(Input::States)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

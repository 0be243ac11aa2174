//! `…_state(values, …)`: the encoded state of a measure over the rows of a group.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
    utils::AggregateOrderSensitivity,
};

use super::groups::{Input, OneState, StateGroups};
use crate::plan::MeasureOptions;

/// The aggregate for measures of one kind and one set of limits. Its value is Binary, as
/// [`MeasureState::encode`](limno_metrics::MeasureState::encode) writes it; an empty group has an empty state.
#[must_use]
pub fn measure_state(options: MeasureOptions) -> AggregateUDF {
    let name = match &options {
        MeasureOptions::Column(options) => format!("{}_state", options.kind),
        MeasureOptions::Quality(_) => "quality_state".to_owned(),
        MeasureOptions::Sample { .. } => "sample_state".to_owned(),
    };
    AggregateUDF::new_from_impl(MeasureStateFunction {
        name,
        options,
        signature: Signature::variadic_any(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MeasureStateFunction {
    name: String,
    options: MeasureOptions,
    signature: Signature,
}

impl AggregateUDFImpl for MeasureStateFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if self.options.takes(arguments) {
            Ok(DataType::Binary)
        } else {
            datafusion::common::plan_err!("{} does not take {arguments:?}", self.name)
        }
    }

    fn is_nullable(&self) -> bool {
        true
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneState::new(Input::Values(self.options.clone()))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(StateGroups::new(Input::Values(self.options.clone()))))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

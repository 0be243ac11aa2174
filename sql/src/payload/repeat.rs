//! Calls that the log has more than once.
//!
//! The log is written at least once. Rows of one request id within one window count once. Rows with a status that is
//! not kept, without an id or without a time, are no one's repetition.
//!
//! A row's *key* is a hash of id and window. One aggregate over the narrow columns finds the keys that occur more than
//! once: eight bytes a row, sorted at the end, a fraction of what groups in a hash table take. It stands in the plan as
//! a scalar subquery, which runs once and before the rest, so that rows are told apart where they are scanned, with no
//! join and nothing exchanged. A hash that two ids share costs nothing but a look: among the few rows with such a key
//! the ids themselves decide.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, TimeUnit, TimestampMicrosecondType, UInt64Type};
use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result as PlanResult;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, scalar_subquery,
    utils::AggregateOrderSensitivity,
};
use futures::TryStreamExt;
use twox_hash::XxHash3_64;

use super::function::{Statuses, Texts};
use super::layout::is_text;
use super::view::{PayloadOptions, calls, calls_within, ident};
use crate::executor::PlanExecutor;
use crate::{Error, Result};

const KEY: &str = "__key";
const KEYS: &str = "__keys";
const WINDOW: &str = "__window";

/// The starts of the windows in which `new` files of the payload table at `uri` repeat a call of its `old` ones, in order, in
/// microseconds. Such windows have to be made anew from all their rows: what was counted of them cannot be taken back.
///
/// Two ids with one hash, some 1 in 10¹⁹ pairs, make a window stand here that needs not.
///
/// # Errors
/// When a table does not have the layout of the options; [`Error::Unreadable`] when it does not read.
pub async fn repeated_windows(
    executor: &dyn PlanExecutor,
    uri: &str,
    (new, old): (Arc<dyn TableProvider>, Arc<dyn TableProvider>),
    options: &PayloadOptions,
) -> Result<Vec<i64>> {
    let time = ident("request_time");
    let span = LogicalPlanBuilder::from(calls(Arc::clone(&new), options)?)
        .aggregate(Vec::<Expr>::new(), [min(time.clone()).alias("first"), max(time).alias("last")])?;
    let batches = read(executor, span.build()?, uri).await?;
    let bound = |index: usize| {
        let batch = batches.iter().find(|batch| batch.num_rows() > 0)?;
        let values = batch.columns().get(index)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        values.is_valid(0).then(|| values.value(0))
    };
    // Without a time there is no window, and nothing repeats.
    let (Some(first), Some(last)) = (bound(0), bound(1)) else { return Ok(Vec::new()) };
    let start = options.calendar.window_of(options.unit, first).map_or(first, |window| window.start);
    let end = options.calendar.window_of(options.unit, last).map_or(i64::MAX, |window| window.end);
    let known = keys_of(calls(new, options)?, options, Wanted::All)?;
    let repeated = LogicalPlanBuilder::from(calls_within(old, options, start, end)?)
        .filter(is_among(known, key(options)))?
        .project([options.window().alias(WINDOW)])?
        .distinct()?;
    let mut windows: Vec<i64> = Vec::new();
    for batch in read(executor, repeated.build()?, uri).await? {
        let starts = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>();
        let starts = starts.ok_or_else(|| exec_datafusion_err!("windows have another type"))?;
        windows.extend(starts.iter().flatten());
    }
    windows.sort_unstable();
    windows.dedup();
    Ok(windows)
}

async fn read(executor: &dyn PlanExecutor, plan: LogicalPlan, uri: &str) -> Result<Vec<RecordBatch>> {
    let stream = executor.execute(plan).await?;
    stream.try_collect().await.map_err(|error| Error::of_files(uri, error))
}

/// Whether a call's key is one that `calls` has more than once.
pub(super) fn is_repeated(calls: LogicalPlan, options: &PayloadOptions) -> PlanResult<Expr> {
    Ok(is_among(keys_of(calls, options, Wanted::Repeated)?, key(options)))
}

/// The keys of calls as one value: a sorted list without repetitions.
fn keys_of(calls: LogicalPlan, options: &PayloadOptions, wanted: Wanted) -> PlanResult<Expr> {
    let keys = AggregateUDF::new_from_impl(Keys {
        wanted,
        signature: Signature::exact(vec![DataType::UInt64], Volatility::Immutable),
    });
    let plan = LogicalPlanBuilder::from(calls)
        .project([key(options).alias(KEY)])?
        .aggregate(Vec::<Expr>::new(), [keys.call(vec![ident(KEY)]).alias(KEYS)])?
        .build()?;
    Ok(scalar_subquery(Arc::new(plan)))
}

/// The key of a call.
fn key(options: &PayloadOptions) -> Expr {
    let function = CallKey { statuses: options.kept(), signature: Signature::any(3, Volatility::Immutable) };
    let arguments = vec![ident("request_id"), options.window(), ident("status_code")];
    ScalarUDF::new_from_impl(function).call(arguments)
}

fn is_among(keys: Expr, key: Expr) -> Expr {
    ScalarUDF::new_from_impl(IsAmong { signature: Signature::any(2, Volatility::Immutable) }).call(vec![keys, key])
}

/// `limno_call_key(id, window, status)`: a hash of id and window; null if a call has no other that it could repeat.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CallKey {
    statuses: Statuses,
    signature: Signature,
}

impl ScalarUDFImpl for CallKey {
    fn name(&self) -> &'static str {
        "limno_call_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        match arguments {
            [id, DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Int32] if is_text(id) => Ok(DataType::UInt64),
            _ => plan_err!("limno_call_key takes an id, a window and a status, not {arguments:?}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = arguments
            .args
            .into_iter()
            .map(|argument| argument.into_array(arguments.number_rows))
            .collect::<PlanResult<Vec<_>>>()?;
        let [ids, windows, statuses] = arrays.as_slice() else {
            return Err(exec_datafusion_err!("limno_call_key got {} arguments", arrays.len()));
        };
        let ids = Texts::new(ids)?;
        let windows = windows.as_primitive_opt::<TimestampMicrosecondType>();
        let statuses = statuses.as_primitive_opt::<Int32Type>();
        let (Some(windows), Some(statuses)) = (windows, statuses) else {
            return Err(exec_datafusion_err!("limno_call_key takes an id, a window and a status"));
        };
        let keys = windows.iter().zip(statuses).enumerate().map(|(row, (window, status))| {
            let seed = window?.cast_unsigned();
            let id = ids.get(row).filter(|_| self.statuses.keep(status))?;
            Some(XxHash3_64::oneshot_with_seed(seed, id.as_bytes()))
        });
        Ok(ColumnarValue::Array(Arc::new(keys.collect::<UInt64Array>())))
    }
}

/// `limno_is_among(keys, key)`: whether a sorted list has a key; false for null.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IsAmong {
    signature: Signature,
}

impl ScalarUDFImpl for IsAmong {
    fn name(&self) -> &'static str {
        "limno_is_among"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        match arguments {
            [DataType::List(item), DataType::UInt64] if item.data_type() == &DataType::UInt64 => Ok(DataType::Boolean),
            _ => plan_err!("limno_is_among takes a list of keys and a key, not {arguments:?}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let [lists, keys] = arguments.args.as_slice() else {
            return Err(exec_datafusion_err!("limno_is_among got {} arguments", arguments.args.len()));
        };
        let rows = arguments.number_rows;
        let (keys, is_one) = (keys.to_array(rows)?, matches!(lists, ColumnarValue::Scalar(_)));
        let lists = lists.to_array(if is_one { 1 } else { rows })?;
        let (Some(lists), Some(keys)) = (lists.as_list_opt::<i32>(), keys.as_primitive_opt::<UInt64Type>()) else {
            return Err(exec_datafusion_err!("limno_is_among takes a list of keys and a key"));
        };
        let has = |row: usize, key: u64| {
            let row = if is_one { 0 } else { row };
            lists.is_valid(row) && list_at(lists, row).is_some_and(|list| list.binary_search(&key).is_ok())
        };
        let among = keys.iter().enumerate().map(|(row, key)| Some(key.is_some_and(|key| has(row, key))));
        Ok(ColumnarValue::Array(Arc::new(among.collect::<BooleanArray>())))
    }
}

fn list_at(lists: &ListArray, row: usize) -> Option<&[u64]> {
    let (start, end) = (lists.value_offsets().get(row)?, lists.value_offsets().get(row + 1)?);
    let values = lists.values().as_primitive_opt::<UInt64Type>()?.values();
    values.get(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
}

/// Which keys are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    All,
    Repeated,
}

/// `limno_keys(key)`, `limno_repeated_keys(key)`: the keys that occur, at all or more than once, as a sorted list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Keys {
    wanted: Wanted,
    signature: Signature,
}

impl AggregateUDFImpl for Keys {
    fn name(&self) -> &'static str {
        match self.wanted {
            Wanted::All => "limno_keys",
            Wanted::Repeated => "limno_repeated_keys",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> PlanResult<DataType> {
        Ok(list_type())
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> PlanResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[keys]", arguments.name), list_type(), true))])
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        Ok(Box::new(Collected { wanted: self.wanted, keys: Vec::new() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::UInt64, true))
}

fn list_type() -> DataType {
    DataType::List(item_field())
}

#[derive(Debug)]
struct Collected {
    wanted: Wanted,
    keys: Vec<u64>,
}

impl Collected {
    fn take(&mut self, keys: &ArrayRef) -> PlanResult<()> {
        let keys = keys.as_primitive_opt::<UInt64Type>().ok_or_else(|| exec_datafusion_err!("keys are hashes"))?;
        self.keys.extend(keys.iter().flatten());
        Ok(())
    }
}

fn as_list(keys: Vec<u64>) -> PlanResult<ScalarValue> {
    if i32::try_from(keys.len()).is_err() {
        return Err(exec_datafusion_err!("{} calls are too many to look for repeated ones", keys.len()));
    }
    let offsets = OffsetBuffer::from_lengths([keys.len()]);
    let list = ListArray::try_new(item_field(), offsets, Arc::new(UInt64Array::from(keys)), None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> PlanResult<()> {
        values.first().map_or(Ok(()), |keys| self.take(keys))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> PlanResult<()> {
        let Some(lists) = states.first() else { return Ok(()) };
        let lists = lists.as_list_opt::<i32>().ok_or_else(|| exec_datafusion_err!("states are lists of keys"))?;
        lists.iter().flatten().try_for_each(|keys| self.take(&keys))
    }

    fn state(&mut self) -> PlanResult<Vec<ScalarValue>> {
        Ok(vec![as_list(std::mem::take(&mut self.keys))?])
    }

    fn evaluate(&mut self) -> PlanResult<ScalarValue> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable();
        if self.wanted == Wanted::Repeated {
            keys = keys
                .windows(2)
                .filter_map(|pair| (pair.first() == pair.last()).then(|| pair.first().copied())?)
                .collect();
        }
        keys.dedup();
        as_list(keys)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.keys.capacity() * size_of::<u64>()
    }
}

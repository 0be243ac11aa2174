//! The unpacked table as a plan over the payload table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as PlanResult;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::expr_fn::array_to_string;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, cast, lit, try_cast,
};

use super::function::{Statuses, payload_rows};
use super::layout::Layout;
use super::repeat::is_repeated;
use super::schema::PayloadSchema;
use crate::Result;
use crate::functions::window_start;
use crate::window::{Calendar, Granularity};

/// The columns that say what a call was, in this order before those of its payload.
///
/// | column | type | |
/// |---|---|---|
/// | `request_id` | Utf8 | given by the endpoint |
/// | `client_request_id` | Utf8 | given by the caller |
/// | `row_id` | Utf8 | request id, `:` and position; null where the whole request is at fault |
/// | `request_time` | Timestamp(µs, UTC) | |
/// | `status_code` | Int32 | of HTTP |
/// | `sampling_fraction` | Float64 | |
/// | `execution_duration_ms` | Int64 | of the model |
/// | `model_id` | Utf8 | the served entity; in the legacy layout name, `_` and version |
/// | `requester` | Utf8 | |
pub const META_COLUMNS: [&str; 9] = [
    "request_id",
    "client_request_id",
    "row_id",
    "request_time",
    "status_code",
    "sampling_fraction",
    "execution_duration_ms",
    "model_id",
    "requester",
];

/// The columns that say what became of a row, the last ones: an [`Outcome`](super::Outcome) or null for a good row, the
/// reason if it is malformed, its position in the batch, null where the whole request is at fault, and the first 200
/// characters of the text at fault.
pub const HIDDEN_COLUMNS: [&str; 4] = ["__outcome", "__reason", "__position", "__excerpt"];

const ROWS: &str = "__rows";
const CODES: &str = "__codes";
const DUPLICATE: &str = "__duplicate";
const RANK: &str = "__rank";
/// The columns of a call that its rows repeat.
const CARRIED: [&str; 8] = [
    "request_id",
    "client_request_id",
    "request_time",
    "status_code",
    "sampling_fraction",
    "execution_duration_ms",
    "model_id",
    "requester",
];

/// How a payload table is unpacked.
#[derive(Debug, Clone)]
pub struct PayloadOptions {
    /// Its layout.
    pub layout: Layout,
    /// The columns that come out.
    pub schema: PayloadSchema,
    /// The statuses whose rows are unpacked; the others are one row each with the outcome `status`.
    pub statuses: Vec<u16>,
    /// How windows are cut.
    pub calendar: Calendar,
    /// The windows within which a request id counts once.
    pub unit: Granularity,
}

impl PayloadOptions {
    /// Options that keep the statuses 200 to 299.
    #[must_use]
    pub fn new(layout: Layout, schema: PayloadSchema, calendar: Calendar, unit: Granularity) -> Self {
        Self { layout, schema, statuses: (200..300).collect(), calendar, unit }
    }

    pub(super) fn kept(&self) -> Statuses {
        Statuses::new(&self.statuses)
    }

    /// The start of a call's window.
    pub(super) fn window(&self) -> Expr {
        window_start(self.calendar, self.unit).call(vec![ident("request_time")])
    }
}

/// The table of the rows of a payload table: [`META_COLUMNS`], the columns of the schema, [`HIDDEN_COLUMNS`].
///
/// A call that is refused as a whole is one row without values, and so is one whose status is not kept, which is not
/// parsed, and one that repeats another of its id in its window. Which of those is the first is decided by time, status,
/// request, response and then the other columns, so not by their order in the table. A row that does not fit is refused
/// alone.
///
/// # Errors
/// When the table does not have the layout of the options.
pub fn unpacked(inner: Arc<dyn TableProvider>, options: &PayloadOptions) -> Result<Arc<dyn TableProvider>> {
    let calls = calls(inner, options)?;
    let first = LogicalPlanBuilder::from(calls.clone())
        .filter(is_repeated(narrow(&calls)?, options)?.is_not_true())?
        .project(with_columns([lit(false).alias(DUPLICATE)]))?;
    let plan = first
        .union(repetitions(&calls, options)?)?
        .project(rows(options))?
        .unnest_column(Column::new_unqualified(ROWS))?;
    let plan = plan.project(output(options))?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

pub(super) fn ident(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The columns of a call and its texts.
fn with_columns(more: impl IntoIterator<Item = Expr>) -> Vec<Expr> {
    CARRIED.into_iter().chain(["request", "response", CODES]).map(ident).chain(more).collect()
}

/// What tells which calls are repeated.
fn narrow(calls: &LogicalPlan) -> PlanResult<LogicalPlan> {
    LogicalPlanBuilder::from(calls.clone()).project(["request_id", "request_time", "status_code"].map(ident))?.build()
}

/// The calls whose key occurs more than once, each with whether another goes before it.
fn repetitions(calls: &LogicalPlan, options: &PayloadOptions) -> PlanResult<LogicalPlan> {
    // All columns have a say: calls that are still equal are the same in whatever comes out.
    let order = ["request_time", "status_code", "request", "response"].into_iter().chain(CARRIED).chain([CODES]);
    let order = order.map(|name| Sort::new(ident(name), true, true)).collect();
    let rank = row_number().partition_by(vec![ident("request_id"), options.window()]).order_by(order).build()?;
    LogicalPlanBuilder::from(calls.clone())
        .filter(is_repeated(narrow(calls)?, options)?)?
        .window([rank.alias(RANK)])?
        .project(with_columns([ident(RANK).gt(lit(1_u64)).alias(DUPLICATE)]))?
        .build()
}

/// The calls of a payload table: [`CARRIED`] with their types, request, response and error codes.
pub(super) fn calls(inner: Arc<dyn TableProvider>, options: &PayloadOptions) -> Result<LogicalPlan> {
    calls_where(inner, options, None)
}

/// The calls of a span of time, in microseconds, whose end is left out.
pub(super) fn calls_within(
    inner: Arc<dyn TableProvider>,
    options: &PayloadOptions,
    start: i64,
    end: i64,
) -> Result<LogicalPlan> {
    // A condition on the column as it is stored, which files can be skipped by.
    let time = ident(options.layout.time_column());
    let (from, to) = match options.layout {
        Layout::Gateway => {
            let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
            (at(start), at(end))
        }
        // The first millisecond that is not before the end.
        Layout::Legacy => (lit(start.div_euclid(1000)), lit(end.saturating_add(999).div_euclid(1000))),
    };
    calls_where(inner, options, Some(time.clone().gt_eq(from).and(time.lt(to))))
}

fn calls_where(
    inner: Arc<dyn TableProvider>,
    options: &PayloadOptions,
    condition: Option<Expr>,
) -> Result<LogicalPlan> {
    let schema = inner.schema();
    options.layout.check(&schema)?;
    let mut scan = LogicalPlanBuilder::scan("payload", provider_as_source(inner), None)?;
    if let Some(condition) = condition {
        scan = scan.filter(condition)?;
    }
    Ok(scan.project(call_columns(options.layout, &schema))?.build()?)
}

fn call_columns(layout: Layout, schema: &Schema) -> Vec<Expr> {
    let typed = |name: &str, data_type: DataType| match schema.field_with_name(name) {
        Ok(field) if *field.data_type() == data_type => ident(name),
        Ok(_) => try_cast(ident(name), data_type),
        Err(_) => cast(lit(ScalarValue::Null), data_type),
    };
    let text = |name: &str| typed(name, DataType::Utf8);
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let (time, duration, model) = match layout {
        Layout::Gateway => (typed("request_time", instant), "execution_duration_ms", text("served_entity_id")),
        Layout::Legacy => {
            let millis = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
            let time = try_cast(try_cast(typed("timestamp_ms", DataType::Int64), millis), instant);
            let model = match schema.field_with_name("request_metadata") {
                Ok(_) => {
                    let entry = |key: &str| cast(get_field(ident("request_metadata"), key), DataType::Utf8);
                    let join = |left, right| binary_expr(left, Operator::StringConcat, right);
                    join(join(entry("model_name"), lit("_")), entry("model_version"))
                }
                Err(_) => text("request_metadata"),
            };
            (time, "execution_time_ms", model)
        }
    };
    let codes = match schema.field_with_name("logging_error_codes") {
        Ok(_) => cast(array_to_string(ident("logging_error_codes"), lit(", ")), DataType::Utf8),
        Err(_) => text("logging_error_codes"),
    };
    vec![
        text("databricks_request_id").alias("request_id"),
        text("client_request_id").alias("client_request_id"),
        time.alias("request_time"),
        typed("status_code", DataType::Int32).alias("status_code"),
        typed("sampling_fraction", DataType::Float64).alias("sampling_fraction"),
        typed(duration, DataType::Int64).alias("execution_duration_ms"),
        model.alias("model_id"),
        text("requester").alias("requester"),
        ident("request"),
        ident("response"),
        codes.alias(CODES),
    ]
}

/// The columns of a call, and the list of its rows.
fn rows(options: &PayloadOptions) -> Vec<Expr> {
    let function = payload_rows(Arc::new(options.schema.clone()), options.kept());
    let arguments = ["status_code", "request", "response", CODES, DUPLICATE].map(ident).to_vec();
    CARRIED.into_iter().map(ident).chain([function.call(arguments).alias(ROWS)]).collect()
}

fn output(options: &PayloadOptions) -> Vec<Expr> {
    let part = |name: &str| get_field(ident(ROWS), name).alias(name);
    let position = get_field(ident(ROWS), "__position");
    let meta = META_COLUMNS.into_iter().map(|name| match name {
        "row_id" => {
            let join = |left, right| binary_expr(left, Operator::StringConcat, right);
            join(join(ident("request_id"), lit(":")), cast(position.clone(), DataType::Utf8)).alias(name)
        }
        name => ident(name),
    });
    let payload = options.schema.columns().iter().map(|column| part(&column.name));
    meta.chain(payload).chain(HIDDEN_COLUMNS.into_iter().map(part)).collect()
}

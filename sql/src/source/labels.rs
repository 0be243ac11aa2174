//! Labels from a table of their own, joined to the rows that they belong to.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, TableReference, exec_datafusion_err};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_aggregate::min_max::{max, min};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, when};
use futures::TryStreamExt;

use super::Source;
use crate::executor::PlanExecutor;
use crate::functions::{to_instant, window_start};
use crate::plan::TimeColumn;
use crate::{Error, Result};

const LABEL: &str = "__label";

/// Which table tells the labels of which rows.
#[derive(Debug, Clone)]
pub struct LabelJoin {
    /// The table of labels, at the version to read.
    pub labels: Source,
    /// Columns of equal values: the monitored table's, and that of the labels.
    pub on: Vec<(String, String)>,
    /// The column of the labels, and the name that it has in the view.
    pub label: String,
    /// Of several labels of one row, the one with the greatest value here counts, and of several of those the greatest;
    /// without it, none does unless all are equal.
    pub latest_by: Option<String>,
}

fn ident(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn of_table(table: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(table)), name))
}

fn key_name(position: usize) -> String {
    format!("__key_{position}")
}

fn scan(provider: &Arc<dyn TableProvider>, name: &str) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::clone(provider)), None)?.alias(name)?)
}

impl LabelJoin {
    /// The rows of `inner`, each with its label or none.
    pub(super) fn over(&self, inner: &Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let names: Vec<String> = inner.schema().fields().iter().map(|field| field.name().clone()).collect();
        let rows = scan(inner, "rows")?;
        let labels = LogicalPlanBuilder::from(self.label_of_each_key()?).alias("labels")?.build()?;
        let keys = self.on.iter().enumerate();
        let (left, right): (Vec<Column>, Vec<Column>) = keys
            .map(|(at, (column, _))| {
                let bare = |table: &str, name: &str| Column::new(Some(TableReference::bare(table)), name);
                (bare("rows", column), bare("labels", &key_name(at)))
            })
            .unzip();
        let joined = rows.join(labels, JoinType::Left, (left, right), None)?;
        let own = names.iter().map(|name| of_table("rows", name).alias(name));
        let columns = own.chain([of_table("labels", LABEL).alias(&self.label)]);
        let plan = joined.project(columns.collect::<Vec<_>>())?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    /// At most one label of each key.
    fn label_of_each_key(&self) -> Result<LogicalPlan> {
        let labels = scan(&self.labels.provider, "given")?;
        let keys: Vec<Expr> =
            self.on.iter().enumerate().map(|(at, (_, column))| of_table("given", column).alias(key_name(at))).collect();
        let given = of_table("given", &self.label);
        let mut columns = keys;
        columns.push(given.clone().alias(LABEL));
        columns.extend(self.latest_by.iter().map(|column| of_table("given", column).alias("__latest")));
        let labels = labels.filter(given.is_not_null())?.project(columns)?;
        let keys: Vec<Expr> = (0..self.on.len()).map(|at| ident(&key_name(at))).collect();
        let first = |by: Vec<Sort>| {
            let first = AggregateFunction::new_udf(first_value_udaf(), vec![ident(LABEL)], false, None, by, None);
            Expr::AggregateFunction(first)
        };
        let last = |name: &str| Sort { expr: ident(name), asc: false, nulls_first: false };
        let is_float =
            self.labels.schema().field_with_name(&self.label).is_ok_and(|field| field.data_type().is_floating());
        let kept = if self.latest_by.is_some() {
            vec![first(vec![last("__latest"), last(LABEL)]).alias("__kept")]
        } else if is_float {
            // What `min` and `max` say of NaN hangs on the order of the rows; in the order of a sort it has its place.
            let least = Sort { expr: ident(LABEL), asc: true, nulls_first: false };
            vec![first(vec![least]).alias("__least"), first(vec![last(LABEL)]).alias("__greatest")]
        } else {
            vec![min(ident(LABEL)).alias("__least"), max(ident(LABEL)).alias("__greatest")]
        };
        let grouped = labels.aggregate(keys.clone(), kept)?;
        let label = if self.latest_by.is_some() {
            ident("__kept")
        } else {
            // What is told in two ways is not known.
            when(ident("__least").eq(ident("__greatest")), ident("__least")).end()?
        };
        Ok(grouped.project(keys.into_iter().chain([label.alias(LABEL)]))?.build()?)
    }

    /// What of a table of labels can change the label of a row.
    fn told(&self, labels: &Source) -> Result<LogicalPlanBuilder> {
        let keys = self.on.iter().enumerate().map(|(at, (_, column))| of_table("told", column).alias(key_name(at)));
        let label = [of_table("told", &self.label).alias(LABEL)];
        let latest = self.latest_by.iter().map(|column| of_table("told", column).alias("__latest"));
        let columns: Vec<Expr> = keys.chain(label).chain(latest).collect();
        Ok(scan(&labels.provider, "told")?.project(columns)?)
    }
}

/// Starts of the windows in which rows may have got another label, and whether rows without a time did.
///
/// `gone` and `come` are the files of the table of labels that one version has and the other has not; what both say alike
/// changed nothing. `rows` is the monitored table without labels.
///
/// # Errors
/// [`Error::Unreadable`] when one of the tables does not read; [`read_labels`] tells which.
pub async fn touched_windows(
    executor: &dyn PlanExecutor,
    rows: &Source,
    time: &TimeColumn,
    join: &LabelJoin,
    (gone, come): (&Source, &Source),
) -> Result<Vec<Option<i64>>> {
    let (before, now) = (join.told(gone)?.build()?, join.told(come)?.build()?);
    let lost = LogicalPlanBuilder::except(before.clone(), now.clone(), false)?;
    let new = LogicalPlanBuilder::except(now, before, false)?;
    let keys: Vec<Expr> = (0..join.on.len()).map(|at| ident(&key_name(at))).collect();
    let changed = LogicalPlanBuilder::from(lost).union(new)?.project(keys)?.distinct()?.alias("changed")?.build()?;
    let (left, right): (Vec<Column>, Vec<Column>) = join
        .on
        .iter()
        .enumerate()
        .map(|(at, (column, _))| {
            let bare = |table: &str, name: &str| Column::new(Some(TableReference::bare(table)), name);
            (bare("rows", column), bare("changed", &key_name(at)))
        })
        .unzip();
    let scanned = scan(&rows.provider, "rows")?;
    let data_type = scanned.schema().field_with_unqualified_name(&time.column)?.data_type().clone();
    let instant = to_instant(of_table("rows", &time.column), &data_type, time.calendar.timezone)?;
    let windows = scanned
        .join(changed, JoinType::LeftSemi, (left, right), None)?
        .project([window_start(time.calendar, time.unit).call(vec![instant]).alias("__window")])?
        .distinct()?
        .build()?;
    let failed = |error| Error::of_files(&rows.uri, error);
    let batches: Vec<_> = executor.execute(windows).await?.try_collect().await.map_err(failed)?;
    let mut starts = Vec::new();
    for batch in &batches {
        let windows = batch
            .column(0)
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| exec_datafusion_err!("windows are no timestamps"))?;
        starts.extend((0..windows.len()).map(|row| windows.is_valid(row).then(|| windows.value(row))));
    }
    Ok(starts)
}

/// Reads what some files of a table of labels tell, and nothing else: whether they do.
///
/// # Errors
/// [`Error::Unreadable`] when they do not read.
pub async fn read_labels(executor: &dyn PlanExecutor, join: &LabelJoin, labels: &Source) -> Result<()> {
    let failed = |error| Error::of_files(&labels.uri, error);
    let mut batches = executor.execute(join.told(labels)?.build()?).await?;
    while batches.try_next().await.map_err(failed)?.is_some() {}
    Ok(())
}

//! `limno profile`: profile rows of one table or file.

use std::io::Write;

use limno_metrics::profile::ColumnProfile;
use limno_metrics::schema::{Shape, TABLE_COLUMN, profile_schema};
use limno_sql::lake::LakeOptions;

use super::Outcome;
use super::args::ProfileArgs;
use super::files::Table;
use super::output::{TableOptions, terminal_width, write_batches};
use crate::Result;
use crate::refresh::{ProfileRow, profile_batch};

/// Columns that say nothing of a file looked at once.
const WITHOUT_MEANING: [&str; 8] = [
    "window",
    "log_type",
    "monitor_version",
    "granularity",
    "slice_key",
    "slice_value",
    "window_complete",
    "refreshed_at",
];

pub(super) async fn execute(args: &ProfileArgs, lake: &LakeOptions, out: &mut dyn Write) -> Result<Outcome> {
    let table = Table::measure(&args.table, &args.look, lake).await?;
    let batch = profile_batch(&profile_schema(&Shape::default()), &rows(&table), 0)?;
    let batch = without(&batch, &WITHOUT_MEANING)?;
    let options = TableOptions { width: terminal_width(), hide_empty: true };
    write_batches(out, args.format, &batch.schema(), &[batch], options).map_err(super::files::output_error)?;
    Ok(Outcome::Done)
}

/// One row for the table and one for each column.
pub(super) fn rows(table: &Table) -> Vec<ProfileRow> {
    let count = ColumnProfile { count: table.rows, ..ColumnProfile::default() };
    let whole = ProfileRow { commit_version: table.source.version.delta(), ..ProfileRow::bare(TABLE_COLUMN, count) };
    let non_null = table.columns.iter().filter(|column| {
        let counts = column.state.state().counts();
        counts.rows > counts.nulls
    });
    let non_null_columns = Some(non_null.map(|column| column.name.clone()).collect());
    let columns = table.columns.iter().map(|column| ProfileRow {
        column: column.name.clone(),
        data_type: Some(column.data_type.clone()),
        profile: column.state.profile(),
        ..whole.clone()
    });
    std::iter::once(ProfileRow { non_null_columns, ..whole.clone() }).chain(columns).collect()
}

/// The batch less some columns.
pub(super) fn without(batch: &arrow::array::RecordBatch, names: &[&str]) -> Result<arrow::array::RecordBatch> {
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|&index| !names.contains(&batch.schema().field(index).name().as_str()))
        .collect();
    Ok(batch.project(&kept)?)
}

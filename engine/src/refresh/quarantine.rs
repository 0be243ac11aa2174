//! The table `<monitor>_quarantine`: rows of a log of requests that could not be parsed, from the ledger.
//!
//! As the metric tables, it follows from the ledger: what a window lost or got back, it loses and gets back here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use limno_metrics::MeasureState;
use limno_metrics::schema::timestamp;
use limno_metrics::state::{ItemSample, MergeableState};
use limno_sql::payload::QuarantinedRow;

use super::changed::LEDGER_ID;
use crate::Result;
use crate::ledger::{self, Ledger, WATERMARK};
use crate::monitor::QUARANTINE;
use crate::store::{Changes, OwnTable};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("request_time", timestamp(), true),
        string("request_id"),
        Field::new("position", DataType::Int32, true),
        string("reason"),
        string("excerpt"),
        Field::new("count", DataType::Int64, true),
    ]))
});

/// Brings the table at `uri` up to a version of the ledger; `false` if another writer was faster.
///
/// # Errors
/// When the ledger does not read or the table cannot be written.
pub(super) async fn write(context: &SessionContext, ledger: &Ledger, uri: &str, application: &str) -> Result<bool> {
    let table = OwnTable::open(context, uri).await?;
    let is_of_ledger = table.property(LEDGER_ID).is_some_and(|known| Some(known) == ledger.table.id());
    let written = if is_of_ledger { table.transaction(application).await? } else { None };
    let written = written.and_then(|version| u64::try_from(version).ok());
    let Some(version) = ledger.table.version() else { return Ok(true) };
    if written == Some(version) {
        return Ok(true);
    }
    let is_foreign = table.files().iter().any(|file| file.group.is_none());
    let groups = match written.filter(|&written| written < version && !is_foreign) {
        Some(written) => ledger.table.groups_changed(written, version).await,
        None => None,
    };
    let is_changed = |group: Option<&str>| match (&groups, group) {
        (Some(groups), Some(group)) => groups.iter().any(|changed| changed == group),
        _ => true,
    };
    let stale = table.files().iter().filter(|file| is_changed(file.group.as_deref()));
    let removed: Vec<_> = stale.map(|file| file.add.clone()).collect();
    let mut writer = table.writer(&SCHEMA)?;
    let mut added = Vec::new();
    // One group after the other: the samples of all windows together can be large.
    for group in groups_of(context, ledger, |group| group != WATERMARK && is_changed(Some(group))).await? {
        if let Some(sample) = sample_of(context, ledger, &group).await? {
            writer.write(to_batch(&sample)?).await?;
            added.extend(writer.finish(Some(&group)).await?);
        }
    }
    let changes = Changes {
        removed,
        added,
        transactions: vec![(application.to_owned(), i64::try_from(version).unwrap_or(i64::MAX))],
        properties: BTreeMap::from([(LEDGER_ID, ledger.table.id().unwrap_or_default().to_owned())]),
        rearranges: false,
    };
    Ok(table.commit(&SCHEMA, changes).await?.is_some())
}

/// The groups of the ledger that are wanted. Of files that another program joined the rows tell.
async fn groups_of(
    context: &SessionContext,
    ledger: &Ledger,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<BTreeSet<String>> {
    let groups = ledger.table.files().iter().filter_map(|file| file.group.as_deref());
    let mut groups: BTreeSet<String> = groups.filter(|group| is_wanted(group)).map(str::to_owned).collect();
    let joined = ledger.files(|_| false);
    if !joined.is_empty() {
        let mut rows = std::pin::pin!(ledger.read(context, joined, Some(of_quarantine())).await?);
        while let Some(batch) = rows.next().await {
            let found = batch?.into_iter().map(|row| ledger::group_of(&row.key, ledger.unit()));
            groups.extend(found.filter(|group| is_wanted(group)));
        }
    }
    Ok(groups)
}

/// What a group of windows has in quarantine: they stand together, and each has its own limit.
async fn sample_of(context: &SessionContext, ledger: &Ledger, group: &str) -> Result<Option<ItemSample>> {
    let files = ledger.files(|stored| stored == group);
    let mut sample: Option<ItemSample> = None;
    let mut rows = std::pin::pin!(ledger.read(context, files, Some(of_quarantine())).await?);
    while let Some(batch) = rows.next().await {
        for row in batch? {
            if ledger::group_of(&row.key, ledger.unit()) != group {
                continue;
            }
            let state = row.state.as_deref().map(MeasureState::decode).transpose()?;
            let Some(MeasureState::Sample(of_window)) = state else { continue };
            let of_window = unlimited(&of_window)?;
            match &mut sample {
                Some(sample) => sample.merge(&of_window)?,
                None => sample = Some(of_window),
            }
        }
    }
    Ok(sample)
}

fn of_quarantine() -> Expr {
    col("column_name").eq(lit(QUARANTINE))
}

/// The same items, to which any number can be added.
fn unlimited(sample: &ItemSample) -> Result<ItemSample> {
    let mut all = ItemSample::empty(u32::MAX);
    sample.items().for_each(|(item, count)| all.observe(item, count));
    Ok(all)
}

fn to_batch(sample: &ItemSample) -> Result<RecordBatch> {
    let mut rows =
        sample.items().map(|(item, count)| Ok((QuarantinedRow::of_text(item)?, count))).collect::<Result<Vec<_>>>()?;
    rows.sort_unstable();
    let text = |of: fn(&QuarantinedRow) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(|(row, _)| of(row)).collect::<StringArray>())
    };
    let times = rows.iter().map(|(row, _)| row.request_time).collect::<TimestampMicrosecondArray>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        text(|row| row.request_id.as_deref()),
        Arc::new(rows.iter().map(|(row, _)| row.position).collect::<Int32Array>()),
        text(|row| Some(&row.reason)),
        text(|row| row.excerpt.as_deref()),
        Arc::new(rows.iter().map(|(_, count)| i64::try_from(*count).ok()).collect::<Int64Array>()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

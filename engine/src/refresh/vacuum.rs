//! What is too old goes: states, rows, and files that no version that anyone reads has.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::prelude::SessionContext;
use deltalake::kernel::Add;
use futures::StreamExt;
use limno_sql::window::{Spans, Window};

use super::changed::{STATES_FROM, Written, clock_of, is_current};
use super::run::application_of;
use super::spool::batches;
use crate::ledger::{self, Ledger, Role, SCHEMA, to_batch};
use crate::monitor::{BoundMonitor, Places};
use crate::store::{self, Changes, Grouping, OwnTable, Turns, under};
use crate::{Error, Result};

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// The states of windows that began before are gone, these or earlier ones.
    pub states_from: Option<DateTime<Utc>>,
    /// States that went.
    pub states: u64,
    /// The rows of windows that began before are gone.
    pub rows_from: Option<DateTime<Utc>>,
    /// Rows of both metric tables that went.
    pub rows: u64,
    /// Files that were deleted.
    pub files: u64,
}

/// Drops what the retention of a monitor does not keep.
pub(crate) struct Vacuum<'a> {
    pub(crate) context: &'a SessionContext,
    pub(crate) monitor: &'a BoundMonitor,
    pub(crate) places: &'a Places,
    pub(crate) now: DateTime<Utc>,
    /// Whether nothing is changed.
    pub(crate) is_dry: bool,
}

impl Vacuum<'_> {
    /// # Errors
    /// When a table does not read or cannot be written; what was dropped before is dropped.
    pub(crate) async fn run(&self) -> Result<Vacuumed> {
        let mut vacuumed = Vacuumed::default();
        let retention = &self.monitor.config.retention;
        if !self.monitor.granularities().is_empty() {
            if let Some(from) = retention.states().and_then(|age| self.from(age)) {
                (vacuumed.states_from, vacuumed.states) = self.states(from).await?;
            }
            if let Some(from) = retention.rows.and_then(|age| self.from(age)) {
                let (profile_schema, drift_schema) = self.monitor.schemas();
                vacuumed.rows_from = DateTime::from_timestamp_micros(from);
                vacuumed.rows += self.rows(&self.places.profile, &profile_schema, from).await?;
                vacuumed.rows += self.rows(&self.places.drift, &drift_schema, from).await?;
            }
        }
        let Places { profile, drift, ledger, alerts, refreshes, quarantine, .. } = self.places;
        for uri in [profile, drift, ledger, alerts, refreshes, quarantine] {
            vacuumed.files += store::delete_replaced(self.context, uri, retention.files, self.is_dry).await?;
        }
        Ok(vacuumed)
    }

    /// The start of the earliest window of any length that holds the instant so long ago: what begins before it can go
    /// without any window being cut.
    fn from(&self, age: std::time::Duration) -> Option<i64> {
        let before = (self.now - TimeDelta::from_std(age).ok()?).timestamp_micros();
        let calendar = self.monitor.calendar();
        let first = |length| calendar.windows_of(length, before).next().map(|window| window.start);
        self.monitor.granularities().into_iter().map(first).min().flatten()
    }

    async fn states(&self, from: i64) -> Result<(Option<DateTime<Utc>>, u64)> {
        let mut turns = Turns::new();
        loop {
            let ledger = Ledger::open(self.context, &self.places.ledger).await?;
            let Some(mut watermark) = ledger.watermark.clone() else { return Ok((None, 0)) };
            self.check_current(&ledger).await?;
            let from = watermark.states_from.map_or(from, |before| before.max(from));
            let grouping = ledger.unit().map(Grouping::of);
            let mut old = Spans::none();
            old.insert(Window { start: i64::MIN, end: from });
            let mut changes = Changes::default();
            let mut gone = 0;
            let mut writer = ledger.table.writer(&SCHEMA)?;
            let groups: BTreeMap<Option<String>, Vec<Add>> = groups_of(&ledger.table);
            for (group, files) in groups {
                let index = group.as_deref().and_then(|group| grouping?.parse(group));
                let can_be_old = match (index, grouping) {
                    (Some(index), Some(grouping)) => grouping.overlaps(index, &old),
                    // Only files that another program wrote hold rows of any group.
                    _ => group.is_none(),
                };
                if !can_be_old {
                    continue;
                }
                let mut kept = Vec::new();
                let mut rows = std::pin::pin!(ledger.read(self.context, files.clone(), None).await?);
                let mut gone_here = 0;
                while let Some(rows) = rows.next().await {
                    for row in rows? {
                        let is_old = row.key.role == Role::Input && row.key.window.is_some_and(|start| start < from);
                        if row.key.role == Role::Watermark {
                            // It is written anew below.
                        } else if is_old {
                            gone_here += u64::from(row.state.is_some());
                        } else {
                            kept.push(row);
                        }
                    }
                }
                // A file of no group can hold the watermark, so it goes in any case.
                if gone_here == 0 && group.is_some() {
                    continue;
                }
                gone += gone_here;
                changes.removed.extend(files);
                if !self.is_dry {
                    for rows in batches(&kept) {
                        writer.write(to_batch(rows, &watermark.unit)?).await?;
                    }
                    changes.added.extend(writer.finish(group.as_deref()).await?);
                }
            }
            let at = DateTime::from_timestamp_micros(from);
            if self.is_dry || (gone == 0 && watermark.states_from == Some(from)) {
                return Ok((at, gone));
            }
            watermark.states_from = Some(from);
            let of_watermark =
                ledger.table.files().iter().filter(|file| file.group.as_deref() == Some(ledger::WATERMARK));
            changes.removed.extend(of_watermark.map(|file| file.add.clone()));
            writer.write(to_batch(&[watermark.to_row()?], &watermark.unit)?).await?;
            changes.added.extend(writer.finish(Some(ledger::WATERMARK)).await?);
            if let Some(version) = ledger.table.commit(&SCHEMA, changes).await? {
                let (profile_schema, drift_schema) = self.monitor.schemas();
                let versions = (ledger.table.version(), version);
                self.follow(&self.places.profile, &profile_schema, versions, from).await?;
                self.follow(&self.places.drift, &drift_schema, versions, from).await?;
                return Ok((at, gone));
            }
            turns.wait(&self.places.ledger).await?;
        }
    }

    /// Tells a metric table that was made from the ledger before that it is as well made from the ledger now. One that
    /// is not told is only looked through once more.
    async fn follow(
        &self,
        uri: &str,
        schema: &arrow::datatypes::SchemaRef,
        (before, now): (Option<u64>, u64),
        from: i64,
    ) -> Result<()> {
        let id = application_of(&self.monitor.config.name);
        let table = OwnTable::open(self.context, uri).await?;
        let known = table.transaction(&id).await?.and_then(|version| u64::try_from(version).ok());
        if let (true, Ok(now)) = (known.is_some() && known == before, i64::try_from(now)) {
            let properties = BTreeMap::from([(STATES_FROM, from.to_string())]);
            let changes = Changes { transactions: vec![(id, now)], properties, ..Changes::default() };
            table.commit(schema, changes).await?;
        }
        Ok(())
    }

    /// Refuses to drop states that the metric tables do not show yet.
    async fn check_current(&self, ledger: &Ledger) -> Result<()> {
        let id = application_of(&self.monitor.config.name);
        for uri in [&self.places.profile, &self.places.drift] {
            let table = OwnTable::open(self.context, uri).await?;
            let written = Written::read(table, &id, "", &ledger.table).await?;
            if !is_current(&written, ledger).await {
                let message = format!("{uri} does not show yet what the ledger knows: call limno run first");
                return Err(Error::Usage { message });
            }
        }
        Ok(())
    }

    async fn rows(&self, uri: &str, schema: &arrow::datatypes::SchemaRef, from: i64) -> Result<u64> {
        let application = application_of(&self.monitor.config.name);
        let mut turns = Turns::new();
        loop {
            let table = OwnTable::open(self.context, uri).await?;
            if table.version().is_none() {
                return Ok(0);
            }
            let (mut changes, mut gone) = (Changes::default(), 0);
            let mut writer = table.writer(schema)?;
            for (group, files) in groups_of(&table) {
                let mut gone_here = 0;
                let Some(mut batches) = table.read(self.context, files.clone(), None, None).await? else { continue };
                while let Some(batch) = batches.next().await {
                    let batch = batch?;
                    let staying = begins_from(&batch, from);
                    gone_here += (batch.num_rows() - staying.true_count()) as u64;
                    if !self.is_dry {
                        writer.write(under(&filter_record_batch(&batch, &staying)?, schema)?).await?;
                    }
                }
                let written = writer.finish(group.as_deref()).await?;
                if gone_here > 0 {
                    gone += gone_here;
                    changes.removed.extend(files);
                    changes.added.extend(written);
                }
            }
            if self.is_dry || gone == 0 {
                return Ok(gone);
            }
            // How far the table has come stays as it is.
            let id = application.clone();
            for id in [clock_of(&id), id] {
                if let Some(version) = table.transaction(&id).await? {
                    changes.transactions.push((id, version));
                }
            }
            if table.commit(schema, changes).await?.is_some() {
                return Ok(gone);
            }
            turns.wait(uri).await?;
        }
    }
}

fn groups_of(table: &OwnTable) -> BTreeMap<Option<String>, Vec<Add>> {
    let mut groups: BTreeMap<Option<String>, Vec<Add>> = BTreeMap::new();
    for file in table.files() {
        groups.entry(file.group.clone()).or_default().push(file.add.clone());
    }
    groups
}

/// Which rows of a metric table are of windows that begin then or later, or of none.
fn begins_from(batch: &arrow::record_batch::RecordBatch, from: i64) -> BooleanArray {
    let starts = batch
        .column_by_name("window")
        .and_then(|windows| windows.as_struct_opt()?.column_by_name("start"))
        .and_then(|starts| starts.as_primitive_opt::<TimestampMicrosecondType>());
    let stays = |row: usize| starts.is_none_or(|starts| starts.is_null(row) || starts.value(row) >= from);
    (0..batch.num_rows()).map(|row| Some(stays(row))).collect()
}

//! New states into the ledger: what is stored, less what is dirty or no longer wanted, merged with what was read.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::prelude::SessionContext;
use deltalake::kernel::Add;
use futures::StreamExt;
use limno_sql::watch::{Stage, Watch};
use limno_sql::window::{Calendar, Granularity, Spans, Window};

use super::plan::{Mode, RefreshPlan, Takes};
use super::spool::{Spool, batches, insert};
use crate::ledger::{
    self, CONFIG_DIGEST, Ledger, LedgerKey, LedgerRow, MONITOR_VERSION, Role, SCHEMA, Watermark, rows_of, to_batch,
};
use crate::store::{Changes, FileWriter};
use crate::{Error, Result};

/// A commit of the ledger.
#[derive(Debug)]
pub(super) struct Committed {
    /// The ledger's version.
    pub(super) version: u64,
    /// The windows whose rows changed.
    pub(super) touched: Touched,
}

/// Which windows' states changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Touched {
    /// Every one, or it is not known which.
    All,
    /// These.
    Some {
        /// Windows of the ledger's unit.
        spans: Spans,
        /// Whether the baseline's did.
        baseline: bool,
        /// Whether those of a table without a time did.
        whole: bool,
    },
}

impl Touched {
    /// No window.
    #[must_use]
    pub(super) fn none() -> Self {
        Self::Some { spans: Spans::none(), baseline: false, whole: false }
    }

    /// Adds what `other` says.
    #[must_use]
    pub(super) fn and(self, other: &Self) -> Self {
        match (self, other) {
            (
                Self::Some { mut spans, baseline, whole },
                Self::Some { spans: more, baseline: and_baseline, whole: and_whole },
            ) => {
                spans.extend(more);
                Self::Some { spans, baseline: baseline || *and_baseline, whole: whole || *and_whole }
            }
            _ => Self::All,
        }
    }
}

/// Brings a ledger up to a plan whose scans have been run.
pub(super) struct Update<'a> {
    /// For reading.
    pub(super) context: &'a SessionContext,
    /// Where the time goes.
    pub(super) watch: &'a Watch,
    /// As it was read.
    pub(super) ledger: &'a Ledger,
    /// What was planned.
    pub(super) plan: &'a RefreshPlan,
    /// Time zone and start of weeks.
    pub(super) calendar: Calendar,
    /// The most values that a slice expression may have.
    pub(super) max_slices: usize,
    /// Keys of slice expressions that are predicates, which have no more than three.
    pub(super) predicates: BTreeSet<&'a str>,
    /// Digest of the configuration, and how many came before it.
    pub(super) config: (String, i64),
    /// The id under which the ledger counts the versions of the monitored table.
    pub(super) application: String,
}

struct Written {
    writer: FileWriter,
    unit: String,
    added: Vec<Add>,
}

impl Update<'_> {
    /// Writes and commits; `None` if another writer was faster, and nothing was changed.
    ///
    /// # Errors
    /// [`Error::Ledger`] when stored states do not read; [`Error::TooManySlices`]; when a file cannot be written.
    pub(super) async fn commit(&self, mut spool: Spool) -> Result<Option<Committed>> {
        let unit: Option<Granularity> = self.plan.watermark.unit.parse().ok();
        let watermark = Watermark { slice_values: self.count_slices(&spool).await?, ..self.plan.watermark.clone() };
        let stored = self.ledger.table.files();
        let is_full = matches!(self.plan.mode, Mode::Full { .. });
        let mut touched = self.plan.dirty.clone();
        let mut removed: Vec<Add> = self.ledger.files(|group| group == ledger::WATERMARK);
        let mut written = Written {
            writer: self.ledger.table.writer(&SCHEMA)?,
            unit: self.plan.watermark.unit.clone(),
            added: Vec::new(),
        };
        let is_foreign = stored.iter().any(|file| file.group.is_none());
        let mut kept = spool.empty();
        if is_full {
            removed = stored.iter().map(|file| file.add.clone()).collect();
        } else if self.plan.rewrites || is_foreign {
            // Rows of any group can be anywhere, or go to other groups.
            removed = stored.iter().map(|file| file.add.clone()).collect();
            let mut rows = std::pin::pin!(self.ledger.read(self.context, removed.clone(), None).await?);
            while let Some(batch) = rows.next().await {
                for row in batch? {
                    if let Some(row) = self.kept(row).filter(|row| row.key.role != Role::Watermark) {
                        self.watch.run(Stage::Merge, || kept.add(self.in_unit(row, unit)))?;
                    }
                }
            }
        }
        let reads_stored = removed.len() < stored.len();
        let mut groups = self.groups(&spool);
        groups.extend(kept.groups());
        for group in groups {
            let mut rows = self.watch.run(Stage::Merge, || spool.take(&group))?;
            // Of columns and windows that could not be read as a whole nothing is taken.
            rows.retain(|_, row| self.plan.definitions.wants(row) && !self.is_pending(row));
            let files = if reads_stored { self.ledger.files(|stored| stored == group) } else { Vec::new() };
            rows.keys().filter(|key| key.role == Role::Input).for_each(|key| self.touch(key, unit, &mut touched));
            for row in kept.take(&group)?.into_values() {
                self.watch.run(Stage::Merge, || insert(&mut rows, row))?;
            }
            if !files.is_empty() {
                removed.extend(files.iter().cloned());
                let mut stored = std::pin::pin!(self.ledger.read(self.context, files, None).await?);
                while let Some(batch) = stored.next().await {
                    for row in batch? {
                        if let Some(row) = self.kept(row) {
                            self.watch.run(Stage::Merge, || insert(&mut rows, row))?;
                        }
                    }
                }
            }
            written.group(&group, rows.into_values()).await?;
        }
        written.group(ledger::WATERMARK, std::iter::once(watermark.to_row()?)).await?;
        let whole = unit.is_none() && (is_full || self.plan.reads());
        let touched = if is_full || self.plan.rewrites || self.plan.parts.iter().any(|part| part.takes == Takes::States)
        {
            Touched::All
        } else {
            Touched::Some { spans: touched, baseline: self.plan.replaces_baseline, whole }
        };
        let source_version = watermark.source.version.and_then(|version| i64::try_from(version).ok());
        let changes = Changes {
            removed,
            added: written.added,
            transactions: source_version.map(|version| (self.application.clone(), version)).into_iter().collect(),
            properties: BTreeMap::from([
                (CONFIG_DIGEST, self.config.0.clone()),
                (MONITOR_VERSION, self.config.1.to_string()),
            ]),
            rearranges: false,
        };
        let version = self.ledger.table.commit(&SCHEMA, changes).await?;
        Ok(version.map(|version| Committed { version, touched }))
    }

    /// The groups that change: those of new rows, and those of rows that go.
    fn groups(&self, spool: &Spool) -> BTreeSet<String> {
        let mut groups = spool.groups();
        if matches!(self.plan.mode, Mode::Full { .. }) {
            return groups;
        }
        let grouping = self.ledger.unit().map(crate::store::Grouping::of);
        let goes = |group: &str| match grouping.and_then(|grouping| Some((grouping, grouping.parse(group)?))) {
            Some((grouping, index)) => grouping.overlaps(index, &self.plan.dirty),
            None => {
                (group == ledger::BASELINE && self.plan.replaces_baseline)
                    || (group == ledger::WITHOUT_WINDOW && self.plan.dirty.has_rows_without_time())
            }
        };
        groups
            .extend(self.ledger.table.files().iter().filter_map(|file| file.group.clone()).filter(|group| goes(group)));
        groups
    }

    fn touch(&self, key: &LedgerKey, unit: Option<Granularity>, touched: &mut Spans) {
        if let (Some(start), Some(unit)) = (key.window, unit)
            && !touched.contains(Some(start))
        {
            // A window that the calendar does not have has no end either.
            let window = self.calendar.window_of(unit, start);
            touched.insert(window.unwrap_or(Window { start, end: start.saturating_add(1) }));
        }
    }

    /// The row, if it stays.
    fn kept(&self, row: LedgerRow) -> Option<LedgerRow> {
        let stays = match row.key.role {
            Role::Watermark => true,
            Role::Baseline => !self.plan.replaces_baseline,
            Role::Input => {
                // Without a time there is one window, and it has no start; nothing of it is ever dirty.
                let is_timed = !self.plan.watermark.unit.is_empty();
                let is_dirty = is_timed && self.plan.dirty.contains(row.key.window) && !self.is_pending(&row);
                !is_dirty && self.plan.definitions.wants(&row)
            }
        };
        stays.then_some(row)
    }

    /// Whether a row is of a window that could not be read as a whole.
    fn is_pending(&self, row: &LedgerRow) -> bool {
        let is_timed = !self.plan.watermark.unit.is_empty();
        row.key.role == Role::Input && is_timed && self.plan.pending.contains(row.key.window)
    }

    /// The row under the window of the ledger's unit, which may be longer than it was.
    fn in_unit(&self, mut row: LedgerRow, unit: Option<Granularity>) -> LedgerRow {
        if let (Role::Input, Some(start), Some(unit)) = (row.key.role, row.key.window, unit) {
            row.key.window = Some(self.calendar.window_of(unit, start).map_or(start, |window| window.start));
        }
        row
    }

    /// How many values each slice expression has at most.
    async fn count_slices(&self, spool: &Spool) -> Result<BTreeMap<String, usize>> {
        let mut counts = self.plan.watermark.slice_values.clone();
        let limited = |key: &String| !self.predicates.contains(key.as_str());
        for (key, values) in spool.slice_values().iter().filter(|(key, _)| limited(key)) {
            *counts.entry(key.clone()).or_default() += values.len();
        }
        if counts.values().all(|&count| count <= self.max_slices) {
            return Ok(counts);
        }
        // The same value came more than once: count exactly.
        let mut values = spool.slice_values().clone();
        values.retain(|key, _| limited(key));
        if self.plan.mode == Mode::Incremental {
            let files = self.ledger.files(|_| true);
            let counts = rows_of(Role::Input, Some(&[]));
            let mut rows = std::pin::pin!(self.ledger.read(self.context, files, Some(counts)).await?);
            while let Some(batch) = rows.next().await {
                for row in batch?.into_iter().filter_map(|row| self.kept(row)) {
                    if let Some((key, value)) = row.key.slice.filter(|(key, _)| limited(key)) {
                        values.entry(key).or_default().insert(value);
                    }
                }
            }
        }
        match values.iter().find(|(_, values)| values.len() > self.max_slices) {
            Some((key, _)) => Err(Error::TooManySlices { key: key.clone(), limit: self.max_slices }),
            None => Ok(values.into_iter().map(|(key, values)| (key, values.len())).collect()),
        }
    }
}

impl Written {
    async fn group(&mut self, group: &str, rows: impl Iterator<Item = LedgerRow>) -> Result<()> {
        let rows: Vec<LedgerRow> = rows.collect();
        for rows in batches(&rows) {
            self.writer.write(to_batch(rows, &self.unit)?).await?;
        }
        self.added.extend(self.writer.finish(Some(group)).await?);
        Ok(())
    }
}

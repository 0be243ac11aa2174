//! The metric tables from the ledger: rows of the windows that changed, in the place of those that were there.
//!
//! The rows are a pure function of the ledger and the configuration. Each table says in the commit that wrote its rows
//! which version of the ledger they were made from, so a table that is behind, for whatever reason, is brought up by
//! the next run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt};
use limno_sql::plan::Measure;
use limno_sql::watch::{Stage, Watch};
use limno_sql::window::{Spans, Window};

use super::cells::{CellKey, Layout, Merger, Outline, States, Subject};
use super::changed::{CONFIG_DIGEST, Changed, LEDGER_ID, STATES_FROM, Written, clock_of};
use super::custom::{drift_rows, profile_rows};
use super::drift_rows::DriftRow;
use super::permit::ReadPermit;
use super::profile_rows::ProfileRow;
use super::rows::{Presence, RowMaker};
use super::size::sorted_size;
use super::tables::Tables;
use super::targets::Target;
use super::update::Touched;
use crate::ledger::{Ledger, LedgerRow, Role, rows_of};
use crate::monitor::Places;
use crate::progress::Progress;
use crate::store::{Changes, FileWriter, OwnTable, join_after, under};
use crate::{Error, Result};

/// Rows that are laid out before they are written, about.
const ROWS_AT_ONCE: usize = 512;
/// The part of the memory that states may take at once: beside them are the ledger's rows that they come from, those that are
/// made from them, and what an allocator keeps for later.
const IN_FLIGHT: u64 = 4;
/// The group of the rows over the baseline.
pub(super) const BASELINE: &str = "baseline";
/// The group of rows that can no longer be made anew and that another program moved.
pub(super) const KEPT: &str = "kept";
/// The group of the rows of a table without a time.
const SNAPSHOT: &str = "snapshot";

/// Brings both metric tables up to a version of the ledger.
pub(super) struct MetricWriter<'a> {
    /// Where the time goes.
    pub(super) watch: Arc<Watch>,
    /// For reading.
    pub(super) context: &'a SessionContext,
    /// The states.
    pub(super) ledger: &'a Ledger,
    /// The version of the ledger before the commit of this refresh, if it made one, and what that touched.
    pub(super) ours: Option<(Option<u64>, &'a Touched)>,
    /// Lays the rows out.
    pub(super) maker: RowMaker<'a>,
    /// Where the tables are.
    pub(super) places: &'a Places,
    /// The id under which the tables keep how far they have come.
    pub(super) application: String,
    /// Digest of the configuration.
    pub(super) config: String,
    /// Whether every row is made anew, since a table does not read.
    pub(super) remakes: bool,
    /// Whether a table that is further than the ledger is no sign of another writer any more.
    pub(super) insists: bool,
    /// The states on which the row of a column hangs, of the column for which they can become largest.
    pub(super) largest: Vec<Measure>,
    /// Bytes that states may take in memory, about.
    pub(super) memory: u64,
    /// Needed before states are read.
    pub(super) permit: &'a ReadPermit,
    /// Tells a person.
    pub(super) progress: &'a Progress,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    /// Rows of the profile table.
    pub(super) profile: u64,
    /// Rows of the drift table.
    pub(super) drift: u64,
    /// Windows over all granularities.
    pub(super) windows: u64,
}

/// A table on its way to a commit.
pub(super) struct Output {
    pub(super) written: Written,
    pub(super) changed: Changed,
    schema: SchemaRef,
    pub(super) needed: Option<Spans>,
    removed: Vec<Add>,
    added: Vec<Add>,
    rows: u64,
}

impl Output {
    /// Whether every row of a table with a time is as it should be.
    fn is_up_to_date(&self) -> bool {
        self.changed.is_none() && self.needed.as_ref().is_some_and(Spans::is_empty)
    }

    /// Whether a table without a time gets rows.
    const fn has_changed(&self) -> bool {
        self.changed.whole() || self.changed.baseline()
    }
}

/// The baseline's cells.
pub(super) struct Baseline {
    pub(super) outline: BTreeMap<CellKey, Outline>,
    pub(super) presence: Presence,
}

impl MetricWriter<'_> {
    /// Writes what changed to both tables; `None` if another writer was faster or further, so that all is to be done
    /// again.
    ///
    /// # Errors
    /// When the ledger does not read or a table cannot be written.
    pub(super) async fn write(&self) -> Result<Option<RowCounts>> {
        let (profile_schema, drift_schema) = self.maker.monitor.schemas();
        let (mut profile, mut drift) = futures::try_join!(
            self.output(&self.places.profile, profile_schema),
            self.output(&self.places.drift, drift_schema)
        )?;
        let version = self.ledger.table.version();
        if !self.insists && [&profile, &drift].iter().any(|output| output.written.ledger > version) {
            return Ok(None);
        }
        let is_timed = !self.maker.granularities.is_empty();
        let is_up_to_date = match is_timed {
            true => profile.is_up_to_date() && drift.is_up_to_date(),
            false => !profile.has_changed() && !drift.has_changed(),
        };
        if !is_up_to_date && self.permit.take(self.ledger.table.bytes()).await {
            return Ok(None);
        }
        let windows = if is_up_to_date {
            0
        } else if !is_timed {
            self.snapshot(&mut profile, &mut drift).await?
        } else {
            self.windows(&mut profile, &mut drift).await?
        };
        let counts = RowCounts { profile: profile.rows, drift: drift.rows, windows };
        for output in [profile, drift] {
            if !self.commit(output).await? {
                return Ok(None);
            }
        }
        Ok(Some(counts))
    }

    async fn output(&self, uri: &str, schema: SchemaRef) -> Result<Output> {
        let table = OwnTable::open(self.context, uri).await?;
        let written = Written::read(table, &self.application, &self.config, &self.ledger.table).await?;
        let time = (self.maker.monitor.config.grace, self.maker.now);
        let changed = if self.remakes {
            Changed::everything(self.ledger, time.0)
        } else {
            Changed::since(&written, self.ledger, self.ours, time).await
        };
        let has_baseline = self.maker.monitor.baseline.is_some();
        let calendar = self.maker.monitor.calendar();
        let needed = changed.needed(&self.maker.granularities, &calendar, has_baseline);
        Ok(Output { written, changed, schema, needed, removed: Vec::new(), added: Vec::new(), rows: 0 })
    }

    async fn commit(&self, output: Output) -> Result<bool> {
        let Output { written, changed, schema, removed, added, .. } = output;
        let is_current = written.ledger.is_some() && written.clock.is_some() && written.is_of_config;
        // What was touched and came to no rows is noted all the same, or every run would look again.
        if is_current && removed.is_empty() && added.is_empty() && changed.is_none() {
            return Ok(true);
        }
        let version = self.ledger.table.version().and_then(|version| i64::try_from(version).ok()).unwrap_or(0);
        let changes = Changes {
            removed,
            added,
            transactions: vec![
                (self.application.clone(), version),
                (clock_of(&self.application), self.maker.now.timestamp_micros()),
            ],
            properties: BTreeMap::from([
                (CONFIG_DIGEST, self.config.clone()),
                (LEDGER_ID, self.ledger.table.id().unwrap_or_default().to_owned()),
                (
                    STATES_FROM,
                    self.ledger
                        .watermark
                        .as_ref()
                        .and_then(|mark| mark.states_from)
                        .map_or_else(String::new, |from| from.to_string()),
                ),
            ]),
            rearranges: false,
        };
        let is_done = written.table.commit(&schema, changes).await?.is_some();
        if is_done {
            // Of a table without a time each refresh leaves a file.
            join_after(self.context, &written.table, Some(SNAPSHOT)).await;
        }
        Ok(is_done)
    }

    pub(super) fn layout(&self) -> Layout<'_> {
        let monitor = self.maker.monitor;
        let now = self.maker.now.timestamp_micros();
        Layout {
            granularities: &self.maker.granularities,
            calendar: monitor.calendar(),
            instant: Window { start: now, end: now },
            slices: &monitor.slices,
            has_models: monitor.model_id().is_some(),
            min_slice_size: monitor.config.min_slice_size,
        }
    }

    /// The baseline is one window without a time, whatever the monitored table has.
    pub(super) fn baseline_layout(&self) -> Layout<'_> {
        let has_models = self.maker.monitor.baseline.as_ref().is_some_and(|baseline| baseline.model.is_some());
        Layout { granularities: &[], has_models, ..self.layout() }
    }

    async fn counts(&self, role: Role, files: Vec<Add>) -> Result<Vec<LedgerRow>> {
        let rows = self.ledger.read(self.context, files, Some(rows_of(role, Some(&[])))).await?;
        let rows: Vec<Vec<LedgerRow>> = rows.try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn baseline(&self) -> Result<Baseline> {
        let counts = if self.maker.monitor.baseline.is_some() {
            self.counts(Role::Baseline, self.ledger.files(|group| group == crate::ledger::BASELINE)).await?
        } else {
            Vec::new()
        };
        Ok(Baseline { outline: self.baseline_layout().outline(&counts), presence: Presence::default() })
    }

    /// The subjects of columns, in their order.
    fn columns(&self, range: std::ops::Range<usize>) -> Vec<Subject<'_>> {
        let monitor = self.maker.monitor;
        let subject = |name| Subject { column: Some(name), parts: monitor.parts_of(Some(name)) };
        monitor.columns[range].iter().map(|column| subject(column.name.as_str())).collect()
    }

    /// The states of some cells for some subjects.
    pub(super) async fn states(
        &self,
        role: Role,
        layout: Layout<'_>,
        files: Vec<Add>,
        cells: &BTreeSet<CellKey>,
        subjects: &[Subject<'_>],
    ) -> Result<BTreeMap<CellKey, States>> {
        let names: Vec<&str> = subjects.iter().flat_map(Subject::names).collect();
        let filter = rows_of(role, Some(&names));
        let mut merger = Merger::new(layout, cells, subjects);
        let mut rows = std::pin::pin!(self.ledger.read(self.context, files, Some(filter)).await?);
        while let Some(rows) = rows.next().await {
            let rows = rows?;
            self.watch.run(Stage::Merge, || merger.add(&rows))?;
        }
        Ok(self.watch.run(Stage::Merge, || merger.freeze()))
    }

    /// How many columns may be in memory at once, if the states of one take so many bytes.
    fn columns_at_once(&self, bytes: u64) -> usize {
        let columns = self.maker.monitor.columns.len().max(1);
        usize::try_from(self.memory / IN_FLIGHT / bytes.max(1)).unwrap_or(usize::MAX).clamp(1, columns)
    }

    /// Bytes that the states of one column of these cells take in memory, about: of the column that takes most.
    fn size_of(&self, outline: &BTreeMap<CellKey, Outline>, cells: &BTreeSet<CellKey>) -> u64 {
        let rows = cells.iter().filter_map(|key| outline.get(key)).map(|cell| cell.rows);
        rows.map(|rows| self.largest.iter().map(|measure| sorted_size(rows, measure)).sum::<u64>()).sum()
    }

    /// The one window of a table without a time: rows beside those of earlier refreshes.
    async fn snapshot(&self, profile: &mut Output, drift: &mut Output) -> Result<u64> {
        let (writes_profile, writes_drift) = (profile.has_changed(), drift.has_changed());
        for output in [&mut *profile, &mut *drift] {
            self.earlier_rows_fit(output).await?;
        }
        let files = self.ledger.files(|group| group == crate::ledger::WITHOUT_WINDOW);
        let counts = self.counts(Role::Input, files).await?;
        let outline = self.layout().outline(&counts);
        let mut baseline = self.baseline().await?;
        let shown = || outline.iter().filter(|(_, cell)| cell.is_shown).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let target = Target {
            profile: if writes_profile { shown() } else { Vec::new() },
            baseline: if writes_drift { shown() } else { Vec::new() },
            consecutive: Vec::new(),
        };
        let targets = vec![(SNAPSHOT.to_owned(), target)];
        self.baseline_rows(&baseline, profile).await?;
        self.batch(&outline, &mut baseline, targets, &Spans::none(), profile, drift).await?;
        Ok(u64::from(profile.rows + drift.rows > 0))
    }

    /// Rows of earlier refreshes take the types that columns of custom metrics have now.
    async fn earlier_rows_fit(&self, output: &mut Output) -> Result<()> {
        let table = &output.written.table;
        let Some(before) = table.schema() else { return Ok(()) };
        let is_other = |field: &arrow::datatypes::FieldRef| {
            before.field_with_name(field.name()).is_ok_and(|known| known.data_type() != field.data_type())
        };
        if !self.maker.monitor.metrics.iter().any(|metric| is_other(&metric.field)) {
            return Ok(());
        }
        let files: Vec<Add> = table.files().iter().map(|file| file.add.clone()).collect();
        let mut writer = table.writer(&output.schema)?;
        let unreadable = |message: String| Error::MetricTable { table: table.uri().to_owned(), message };
        if let Some(mut rows) = table.read(self.context, files.clone(), None, None).await? {
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| unreadable(error.to_string()))?;
                writer.write(under(&batch, &output.schema)?).await?;
            }
        }
        output.added.extend(writer.finish(Some(SNAPSHOT)).await?);
        output.removed.extend(files);
        Ok(())
    }

    /// The windows of a table with a time: rows in the place of those that were there.
    async fn windows(&self, profile: &mut Output, drift: &mut Output) -> Result<u64> {
        for output in [&mut *profile, &mut *drift] {
            if output.changed.is_all() {
                output.removed = output.written.table.files().iter().map(|file| file.add.clone()).collect();
            }
        }
        let needed = match (&profile.needed, &drift.needed) {
            (Some(a), Some(b)) => {
                let mut both = a.clone();
                both.extend(b);
                Some(both)
            }
            _ => None,
        };
        let everything = || {
            let mut all = Spans::none();
            all.insert(Window { start: i64::MIN, end: i64::MAX });
            all
        };
        let within = needed.unwrap_or_else(everything);
        let counts = self.counts(Role::Input, self.ledger.files_within(&within)).await?;
        let outline = self.layout().outline(&counts);
        let mut baseline = self.baseline().await?;
        let targets = self.targets(&outline, &baseline, profile, drift);
        let windows: BTreeSet<_> = targets
            .values()
            .flat_map(Target::cells)
            .map(|key| (key.granularity, key.start))
            .filter(|&(granularity, start)| self.is_written(granularity, start, profile, drift))
            .collect();
        self.baseline_rows(&baseline, profile).await?;
        for output in [&mut *profile, &mut *drift] {
            self.foreign_rows_stay(output).await?;
        }
        // As many groups at once as their states fit in memory.
        let room = self.memory / IN_FLIGHT / self.maker.monitor.columns.len().max(1) as u64;
        let mut batch: Vec<(String, Target)> = Vec::new();
        let mut taken = 0;
        for (name, target) in targets {
            let size = self.size_of(&outline, &target.cells());
            if !batch.is_empty() && taken + size > room {
                self.batch(&outline, &mut baseline, std::mem::take(&mut batch), &within, profile, drift).await?;
                taken = 0;
            }
            taken += size;
            batch.push((name, target));
        }
        if !batch.is_empty() {
            self.batch(&outline, &mut baseline, batch, &within, profile, drift).await?;
        }
        Ok(windows.len() as u64)
    }

    /// The rows over the baseline itself.
    async fn baseline_rows(&self, baseline: &Baseline, profile: &mut Output) -> Result<()> {
        if !profile.changed.baseline() {
            return Ok(());
        }
        let of_group = |file: &&crate::store::OwnFile| file.group.as_deref() == Some(BASELINE);
        let stored = profile.written.table.files().iter().filter(of_group).map(|file| file.add.clone());
        let stored: Vec<Add> = stored.filter(|add| !profile.removed.contains(add)).collect();
        profile.removed.extend(stored);
        let shown: BTreeMap<&CellKey, &Outline> = baseline.outline.iter().filter(|(_, cell)| cell.is_shown).collect();
        let cells: BTreeSet<CellKey> = shown.keys().map(|&key| key.clone()).collect();
        let mut writer = profile.written.table.writer(&profile.schema)?;
        let mut presence = Presence::default();
        let columns = self.maker.monitor.columns.len();
        let step = self.columns_at_once(self.size_of(&baseline.outline, &cells));
        for first in (0..columns).step_by(step) {
            let range = first..columns.min(first + step);
            let files = self.ledger.files(|group| group == crate::ledger::BASELINE);
            let subjects = self.columns(range);
            let states = self.states(Role::Baseline, self.baseline_layout(), files, &cells, &subjects).await?;
            let mut rows = Vec::new();
            for (&key, &outline) in &shown {
                if let Some(states) = states.get(key) {
                    presence.note(key, first, states);
                    self.watch.run(Stage::Measure, || {
                        self.maker.profile((key, outline), true, first, states, &mut rows);
                    });
                }
            }
            self.write_profile(&rows, &mut writer, profile).await?;
        }
        self.baseline_tables(&baseline.outline, &cells, &presence, &mut writer, profile).await?;
        profile.added.extend(writer.finish(Some(BASELINE)).await?);
        Ok(())
    }

    pub(super) async fn write_profile(
        &self,
        rows: &[ProfileRow],
        writer: &mut FileWriter,
        output: &mut Output,
    ) -> Result<()> {
        output.rows += rows.len() as u64;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let now = self.maker.now.timestamp_micros();
            let rows = self.watch.run(Stage::Measure, || profile_rows(self.maker.monitor, rows, now))?;
            writer.write(under(&rows, &output.schema)?).await?;
        }
        Ok(())
    }

    pub(super) async fn write_drift(
        &self,
        rows: &[DriftRow],
        writer: &mut FileWriter,
        output: &mut Output,
    ) -> Result<()> {
        output.rows += rows.len() as u64;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let now = self.maker.now.timestamp_micros();
            let rows = self.watch.run(Stage::Measure, || drift_rows(self.maker.monitor, &output.schema, rows, now))?;
            writer.write(rows).await?;
        }
        Ok(())
    }

    /// Writes the rows of some groups, columns in passes if the states of all are too large.
    async fn batch(
        &self,
        outline: &BTreeMap<CellKey, Outline>,
        baseline: &mut Baseline,
        targets: Vec<(String, Target)>,
        within: &Spans,
        profile: &mut Output,
        drift: &mut Output,
    ) -> Result<()> {
        self.progress.stage("measuring", &self.maker.monitor.config.name);
        let cells: BTreeSet<CellKey> = targets.iter().flat_map(|(_, target)| target.cells()).collect();
        let compared: BTreeSet<CellKey> = targets
            .iter()
            .flat_map(|(_, target)| &target.baseline)
            .filter_map(|key| Some(self.comparison(baseline, key)?.0.clone()))
            .collect();
        let files = self.files_of(&cells, within);
        let mut writers = Vec::with_capacity(targets.len());
        for (name, _) in &targets {
            let writer = self.stay(name, profile).await?;
            writers.push((writer, self.stay(name, drift).await?));
        }
        let mut presence = Presence::default();
        let columns = self.maker.monitor.columns.len();
        let step = self.columns_at_once(self.size_of(outline, &cells) + self.size_of(&baseline.outline, &compared));
        for first in (0..columns).step_by(step) {
            if cells.is_empty() {
                break;
            }
            let range = first..columns.min(first + step);
            let subjects = self.columns(range.clone());
            let states = self.states(Role::Input, self.layout(), files.clone(), &cells, &subjects).await?;
            let of_baseline = if compared.is_empty() {
                BTreeMap::new()
            } else {
                let files = self.ledger.files(|group| group == crate::ledger::BASELINE);
                self.states(Role::Baseline, self.baseline_layout(), files, &compared, &subjects).await?
            };
            states.iter().for_each(|(key, states)| presence.note(key, first, states));
            of_baseline.iter().for_each(|(key, states)| baseline.presence.note(key, first, states));
            for ((_, target), (profile_writer, drift_writer)) in targets.iter().zip(&mut writers) {
                // A cell at a time: rows, with their quantiles, can be larger than the states that they are of.
                let mut rows = Vec::new();
                for key in &target.profile {
                    if let (Some(cell), Some(states)) = (outline.get(key), states.get(key)) {
                        self.watch.run(Stage::Measure, || {
                            self.maker.profile((key, cell), false, first, states, &mut rows);
                        });
                    }
                    if rows.len() >= ROWS_AT_ONCE {
                        self.write_profile(&std::mem::take(&mut rows), profile_writer, profile).await?;
                    }
                }
                self.write_profile(&rows, profile_writer, profile).await?;
                let mut rows = Vec::new();
                for (key, before) in &target.consecutive {
                    if let (Some(cell), Some(before_cell), Some(now)) =
                        (outline.get(key), outline.get(before), states.get(key))
                    {
                        let pair = (now, states.get(before));
                        self.watch.run(Stage::Measure, || {
                            self.maker.drift((key, cell), (before, before_cell), false, first, pair, &mut rows)
                        })?;
                    }
                    if rows.len() >= ROWS_AT_ONCE {
                        self.write_drift(&std::mem::take(&mut rows), drift_writer, drift).await?;
                    }
                }
                for key in &target.baseline {
                    if let (Some(cell), Some(comparison), Some(now)) =
                        (outline.get(key), self.comparison(baseline, key), states.get(key))
                    {
                        let pair = (now, of_baseline.get(comparison.0));
                        self.watch.run(Stage::Measure, || {
                            self.maker.drift((key, cell), comparison, true, first, pair, &mut rows)
                        })?;
                    }
                    if rows.len() >= ROWS_AT_ONCE {
                        self.write_drift(&std::mem::take(&mut rows), drift_writer, drift).await?;
                    }
                }
                self.write_drift(&rows, drift_writer, drift).await?;
            }
        }
        for ((name, target), (mut profile_writer, mut drift_writer)) in targets.iter().zip(writers) {
            let tables = Tables { outline, baseline, presence: &presence, files: &files };
            self.table_rows(&tables, target, (&mut profile_writer, &mut drift_writer), (profile, drift)).await?;
            profile.added.extend(profile_writer.finish(Some(name)).await?);
            drift.added.extend(drift_writer.finish(Some(name)).await?);
        }
        Ok(())
    }

    /// Files that another program wrote keep the rows that stay; they are no part of a group.
    async fn foreign_rows_stay(&self, output: &mut Output) -> Result<()> {
        let of_no_group = |file: &&crate::store::OwnFile| file.group.is_none();
        let files: Vec<Add> =
            output.written.table.files().iter().filter(of_no_group).map(|file| file.add.clone()).collect();
        if output.changed.is_all() || files.is_empty() {
            return Ok(());
        }
        let mut writer = output.written.table.writer(&output.schema)?;
        self.copy_staying(files, &mut writer, output).await?;
        output.added.extend(writer.finish(Some(KEPT)).await?);
        Ok(())
    }

    /// A writer of a group's files that holds the rows that stay of those that were there.
    async fn stay(&self, name: &str, output: &mut Output) -> Result<FileWriter> {
        let mut writer = output.written.table.writer(&output.schema)?;
        if name == SNAPSHOT || output.changed.is_all() {
            return Ok(writer);
        }
        let of_group = |file: &&crate::store::OwnFile| file.group.as_deref() == Some(name);
        let files: Vec<Add> =
            output.written.table.files().iter().filter(of_group).map(|file| file.add.clone()).collect();
        self.copy_staying(files, &mut writer, output).await?;
        Ok(writer)
    }

    async fn copy_staying(&self, files: Vec<Add>, writer: &mut FileWriter, output: &mut Output) -> Result<()> {
        let table = &output.written.table;
        let configured: Vec<String> = self.maker.granularities.iter().map(ToString::to_string).collect();
        let unreadable = |message: String| Error::MetricTable { table: table.uri().to_owned(), message };
        if let Some(mut rows) = table.read(self.context, files.clone(), None, None).await? {
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| unreadable(error.to_string()))?;
                let staying = output.changed.staying(&batch, &configured)?;
                let batch = filter_record_batch(&batch, &staying)?;
                writer.write(under(&batch, &output.schema)?).await?;
            }
        }
        output.removed.extend(files);
        Ok(())
    }
}

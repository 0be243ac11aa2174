//! What a refresh will read, and what of the ledger stays: known before anything is read.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use deltalake::kernel::Add;
use limno_metrics::schema::TABLE_COLUMN;
use limno_sql::plan::{StateQuery, Within};
use limno_sql::source::{SourceVersion, active_files, stored_name};
use limno_sql::window::{Granularity, Spans, Window, unit};

use super::isolate::Trouble;
use super::size::BYTES_A_VALUE;
use super::touched::{Looking, Touch};
use crate::change::{ChangeSet, LoggedTime, change_set};
use crate::ledger::{BaselineMark, Ledger, LedgerRow, Role, TableMark, Watermark};
use crate::monitor::BoundMonitor;
use crate::{Error, Result};

/// The most spans that a condition over the time column lists.
const MOST_SPANS: usize = 64;

/// What a refresh does with the ledger.
#[derive(Debug)]
pub struct RefreshPlan {
    /// How.
    pub mode: Mode,
    /// The version that the ledger was made from.
    pub from: Option<u64>,
    /// What is read, in this order.
    pub parts: Vec<Part>,
    /// Rows of windows that are left out, in files of which nothing is read.
    pub rows_left_out: u64,
    /// The windows whose states are made anew.
    pub dirty: Spans,
    /// Of all windows, those that turned out not to be readable: they stay as they are.
    pub pending: Spans,
    /// What of the stored states is wanted, and under which definition.
    pub definitions: Definitions,
    /// Whether stored states have to be looked through for ones that are no longer wanted, or for longer windows.
    pub rewrites: bool,
    /// Whether the baseline's states are made anew, or dropped.
    pub replaces_baseline: bool,
    /// What the ledger holds afterwards, but for the number of slice values.
    pub watermark: Watermark,
    /// Whether the ledger needs a commit at all.
    pub is_due: bool,
}

/// How a refresh comes to its states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// From the stored ones and what changed.
    Incremental,
    /// From the tables alone.
    Full {
        /// Why.
        reason: String,
    },
}

/// One scan.
#[derive(Debug, Clone)]
pub struct Part {
    /// Which table.
    pub role: Role,
    /// Why it is read, for people.
    pub what: String,
    /// What is asked of it.
    pub query: StateQuery,
    /// What becomes of its rows.
    pub takes: Takes,
    /// Whether its rows are ones that no refresh has seen.
    pub is_new: bool,
    /// The files that are read; `None` where the table is no Delta table.
    pub files: Option<Vec<Add>>,
    /// How many files.
    pub file_count: usize,
    /// Their size.
    pub bytes: u64,
}

/// What becomes of the rows of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Their states and their number go into the ledger.
    All,
    /// Their states do: a column that is added later has the rows that others had before.
    States,
    /// They are counted, for people: the states of their windows were dropped.
    Nothing,
}

/// Digests of the columns and slices that a monitor has now.
#[derive(Debug, Clone)]
pub struct Definitions {
    columns: BTreeMap<String, String>,
    slices: BTreeMap<String, String>,
    baseline: Option<String>,
}

impl Definitions {
    fn of(monitor: &BoundMonitor) -> Self {
        let columns = monitor
            .measures()
            .iter()
            .map(|measure| (measure.name.clone(), monitor.measure_definition(measure)))
            .collect();
        let slices = monitor.slices.iter().map(|slice| (slice.key.clone(), monitor.slice_definition(slice))).collect();
        Self { columns, slices, baseline: monitor.baseline_definition() }
    }

    /// The definition of a row with this column (`None`: the count) and slice; `None` if none is wanted.
    #[must_use]
    pub fn definition(&self, role: Role, column: Option<&str>, slice: Option<&str>) -> Option<String> {
        if role == Role::Baseline {
            return self.baseline.clone();
        }
        let column = match column {
            Some(column) => self.columns.get(column)?,
            None => TABLE_COLUMN,
        };
        Some(match slice {
            Some(slice) => format!("{column} {}", self.slices.get(slice)?),
            None => column.to_owned(),
        })
    }

    /// Whether a stored row is of columns and slices as they are now.
    #[must_use]
    pub fn wants(&self, row: &LedgerRow) -> bool {
        let slice = row.key.slice.as_ref().map(|(key, _)| key.as_str());
        self.definition(row.key.role, row.key.column.as_deref(), slice).is_some_and(|now| now == row.definition)
    }
}

impl RefreshPlan {
    /// Plans the refresh of `monitor` over its ledger. A full one is planned where the ledger is of no use, or `full`
    /// says why it is asked for; it then leaves out the windows that began before `states_from`.
    ///
    /// # Errors
    /// When a log does not read.
    pub async fn make(
        looking: Looking<'_>,
        monitor: &BoundMonitor,
        ledger: &Ledger,
        full: Option<String>,
        states_from: Option<i64>,
    ) -> Result<Self> {
        let time = logged_time(monitor);
        let before = ledger.watermark.as_ref();
        let (scope, unit) = (monitor.scope(), time.as_ref().map_or_else(String::new, |time| time.unit.to_string()));
        let reason = match (&full, before) {
            (Some(reason), _) => Some(reason.clone()),
            (None, None) => Some("the first refresh".to_owned()),
            (None, Some(before)) if before.scope != scope => {
                Some("how rows find their window or model has changed".to_owned())
            }
            (None, Some(before)) if !divides(&before.unit, &unit) => {
                Some(format!("windows of {unit} are finer than those of the ledger, {}", before.unit))
            }
            _ => None,
        };
        let changes = match (&reason, before) {
            (None, Some(before)) => change_set(&monitor.source, &before.source, time.as_ref()).await?,
            _ => ChangeSet::Nothing,
        };
        let reason = match (&reason, &changes) {
            (None, ChangeSet::Everything { reason }) => Some(reason.clone()),
            _ => reason,
        };
        // Rows that are there already and whose label or whose twin came later.
        let touched = match (&reason, before) {
            (None, Some(before)) => looking.touched(monitor, before, &changes).await?,
            _ => Touch::Spans(Spans::none()),
        };
        let (reason, touched) = match touched {
            Touch::Everything { reason: why } => (reason.or(Some(why)), Spans::none()),
            Touch::Spans(spans) => (reason, spans),
        };
        let definitions = Definitions::of(monitor);
        let mut plan = Self {
            mode: Mode::Incremental,
            from: before.and_then(|before| before.source.version),
            parts: Vec::new(),
            rows_left_out: 0,
            dirty: Spans::none(),
            pending: Spans::none(),
            rewrites: false,
            replaces_baseline: false,
            watermark: Watermark {
                columns: definitions.columns.clone(),
                slices: definitions.slices.clone(),
                labels: monitor.labels.as_ref().map(TableMark::of).transpose()?,
                payload_schema: monitor.source.payload_schema(),
                ..Watermark::new(scope, unit, TableMark::of(&monitor.source)?)
            },
            definitions,
            is_due: true,
        };
        match (reason, before) {
            (None, Some(before)) => {
                plan.incremental(monitor, before, (changes, touched), (time.as_ref(), states_from)).await?;
            }
            (reason, _) => plan.full(monitor, (time.as_ref(), states_from), reason.unwrap_or_default()).await?,
        }
        plan.baseline(monitor, before).await?;
        if let (Mode::Incremental, Some(before)) = (&plan.mode, before) {
            plan.watermark.slice_values = before.slice_values.clone();
            plan.watermark.slice_values.retain(|key, _| plan.watermark.slices.contains_key(key));
            let config = monitor.metrics_definition();
            let is_same_config = ledger.configuration().is_some_and(|(_, digest)| digest == config);
            plan.is_due = !is_same_config || plan.watermark != *before;
        }
        Ok(plan)
    }

    /// Leaves out what could not be read, so that a later refresh tries it again: columns are then new ones, and windows
    /// pending.
    pub(super) fn leave_out(&mut self, trouble: &Trouble, before: Option<&Watermark>) {
        for column in trouble.columns.keys() {
            self.definitions.columns.remove(column);
            self.watermark.columns.remove(column);
            self.rewrites |= before.is_some_and(|before| before.columns.contains_key(column));
        }
        self.watermark.set_pending(&trouble.spans);
        self.pending = trouble.spans.clone();
        if trouble.baseline.is_some() {
            self.replaces_baseline = false;
            self.watermark.baseline = before.and_then(|before| before.baseline.clone());
        }
    }

    /// Whether any file is read.
    #[must_use]
    pub fn reads(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Files and bytes that are read, parts that read the same ones counted apart.
    #[must_use]
    pub fn totals(&self) -> (usize, u64) {
        self.parts.iter().fold((0, 0), |(files, bytes), part| (files + part.file_count, bytes + part.bytes))
    }

    /// Bytes to be read, about; of very many rows in few bytes as many as if they were stored plainly.
    #[must_use]
    pub(super) fn weight(&self) -> u64 {
        let of = |part: &Part| part.bytes.max(part.most_rows().unwrap_or(0).saturating_mul(BYTES_A_VALUE));
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(of(part)))
    }

    /// All states anew; rows of windows that began before `states_from` stay as they are.
    async fn full(
        &mut self,
        monitor: &BoundMonitor,
        (time, states_from): (Option<&LoggedTime>, Option<i64>),
        reason: String,
    ) -> Result<()> {
        let query = monitor.query();
        self.mode = Mode::Full { reason: reason.clone() };
        self.watermark.states_from = states_from.filter(|_| query.time.is_some());
        let Some(from) = self.watermark.states_from else {
            self.parts.push(Part::new(Role::Input, reason, query, Takes::All, None).await?);
            return Ok(());
        };
        let early = before_instant(from);
        // What the log knows to be early is counted from there; a file that can hold both is read for both.
        let (mut read, mut counted) = (None, None);
        if let (Some(table), Some(time)) = (&monitor.source.delta, time) {
            let unreadable =
                |error| limno_sql::Error::Delta { uri: monitor.source.uri.clone(), source: Box::new(error) };
            let (mut later, mut both) = (Vec::new(), Vec::new());
            for file in active_files(table).map_err(unreadable)? {
                let extent = time.extent(&file);
                if extent.as_ref().is_some_and(|extent| early.covers(extent))
                    && let Some(rows) = rows_of_file(&file)
                {
                    self.rows_left_out += rows;
                    continue;
                }
                if extent.is_none_or(|extent| extent.meets(&early)) {
                    both.push(file.clone());
                }
                later.push(file);
            }
            (read, counted) = (Some(later), Some(both));
        }
        if counted.as_ref().is_none_or(|files| !files.is_empty()) {
            let (measures, slices) = (Vec::new(), Vec::new());
            let query = StateQuery { within: Within::Only(early.clone()), measures, slices, ..query.clone() };
            let what = "rows of windows that are left out".to_owned();
            self.parts.push(Part::new(Role::Input, what, query, Takes::Nothing, counted).await?);
        }
        if read.as_ref().is_none_or(|files| !files.is_empty()) {
            let query = StateQuery { within: Within::Except(early), ..query };
            self.parts.push(Part::new(Role::Input, reason, query, Takes::All, read).await?);
        }
        Ok(())
    }

    async fn incremental(
        &mut self,
        monitor: &BoundMonitor,
        before: &Watermark,
        (changes, touched): (ChangeSet, Spans),
        (time, states_from): (Option<&LoggedTime>, Option<i64>),
    ) -> Result<()> {
        let (is_new_column, is_new_slice) = {
            let Definitions { columns, slices, .. } = &self.definitions;
            let new = |now: &BTreeMap<String, String>, before: &BTreeMap<String, String>| -> Vec<String> {
                let is_new = |(name, digest): &(&String, &String)| before.get(*name) != Some(*digest);
                now.iter().filter(is_new).map(|(name, _)| name.clone()).collect()
            };
            (new(columns, &before.columns), new(slices, &before.slices))
        };
        let is_dropped = |now: &BTreeMap<String, String>, before: &BTreeMap<String, String>| {
            before.iter().any(|(name, digest)| now.get(name) != Some(digest))
        };
        self.rewrites = is_dropped(&self.definitions.columns, &before.columns)
            || is_dropped(&self.definitions.slices, &before.slices)
            || before.unit != self.watermark.unit;
        self.watermark.states_from = before.states_from;
        let query = monitor.query();
        let known_columns = |query: &mut StateQuery| query.measures.retain(|of| !is_new_column.contains(&of.name));
        let known_slices = |query: &mut StateQuery| query.slices.retain(|slice| !is_new_slice.contains(&slice.key));
        if is_new_column.len() == query.measures.len() {
            return self.full(monitor, (time, states_from), "every column is another than before".to_owned()).await;
        }
        let mut known = query.clone();
        known_columns(&mut known);
        known_slices(&mut known);
        let (added, mut dirty) = match changes {
            ChangeSet::Rows { added, dirty } => (added, dirty),
            _ => (Vec::new(), Spans::none()),
        };
        dirty.extend(&touched);
        dirty.extend(&before.pending_spans());
        dirty.coarsen(MOST_SPANS);
        let (dirty, skipped) = match before.states_from {
            Some(from) => (dirty.since(from), Some(Window { start: i64::MIN, end: from })),
            None => (dirty, None),
        };
        if let (Some(span), Some(time)) = (skipped, time) {
            let early = before_instant(span.end);
            let is_early = |file: &&Add| time.extent(file).is_none_or(|extent| extent.meets(&early));
            let files: Vec<Add> = added.iter().filter(is_early).cloned().collect();
            if !files.is_empty() {
                let (measures, slices) = (Vec::new(), Vec::new());
                let query = StateQuery { within: Within::Only(early), measures, slices, ..known.clone() };
                let what = "rows of windows whose states were dropped".to_owned();
                self.parts.push(Part::new(Role::Input, what, query, Takes::Nothing, Some(files)).await?);
            }
        }
        if !added.is_empty() {
            let mut apart = dirty.clone();
            skipped.into_iter().for_each(|span| apart.insert(span));
            let within = if apart.is_empty() { Within::Everything } else { Within::Except(apart) };
            let query = StateQuery { within, ..known.clone() };
            let what = "files that were added".to_owned();
            let part = Part::new(Role::Input, what, query, Takes::All, Some(added)).await?;
            self.parts.push(Part { is_new: true, ..part });
        }
        if !dirty.is_empty() {
            let files = match (&monitor.source.delta, time) {
                (Some(table), Some(time)) => {
                    let unreadable =
                        |error| limno_sql::Error::Delta { uri: monitor.source.uri.clone(), source: Box::new(error) };
                    let files = active_files(table).map_err(unreadable)?;
                    let is_in = |file: &Add| time.extent(file).is_none_or(|extent| extent.meets(&dirty));
                    Some(files.into_iter().filter(is_in).collect())
                }
                _ => None,
            };
            let query = StateQuery { within: Within::Only(dirty.clone()), ..known.clone() };
            let what = "windows that lost rows or had them changed".to_owned();
            if files.as_ref().is_none_or(|files: &Vec<Add>| !files.is_empty()) {
                self.parts.push(Part::new(Role::Input, what, query, Takes::All, files).await?);
            }
        }
        self.dirty = dirty;
        let within = match skipped {
            Some(skipped) => Within::Except(before_instant(skipped.end)),
            None => Within::Everything,
        };
        if !is_new_column.is_empty() {
            let mut query = StateQuery { within: within.clone(), ..query.clone() };
            query.measures.retain(|of| is_new_column.contains(&of.name));
            known_slices(&mut query);
            let what = format!("new columns: {}", is_new_column.join(", "));
            self.parts.push(Part::new(Role::Input, what, query, Takes::States, None).await?);
        }
        if !is_new_slice.is_empty() {
            let mut query = StateQuery { within, with_whole: false, ..query };
            query.slices.retain(|slice| is_new_slice.contains(&slice.key));
            let what = format!("new slices: {}", is_new_slice.join(", "));
            self.parts.push(Part::new(Role::Input, what, query, Takes::All, None).await?);
        }
        Ok(())
    }

    async fn baseline(&mut self, monitor: &BoundMonitor, before: Option<&Watermark>) -> Result<()> {
        let mark = before.filter(|_| self.mode == Mode::Incremental).and_then(|before| before.baseline.as_ref());
        let (Some(baseline), Some(query), Some(definition)) =
            (&monitor.baseline, monitor.baseline_query(), monitor.baseline_definition())
        else {
            self.replaces_baseline = mark.is_some();
            return Ok(());
        };
        self.watermark.baseline =
            Some(BaselineMark { table: TableMark::of(&baseline.source)?, definition: definition.clone() });
        let why = match mark {
            None => "the baseline".to_owned(),
            Some(mark) if mark.definition != definition => "the baseline, of which other columns are wanted".to_owned(),
            Some(mark) => match change_set(&baseline.source, &mark.table, None).await? {
                ChangeSet::Nothing => return Ok(()),
                _ => "the baseline, which has changed".to_owned(),
            },
        };
        self.replaces_baseline = true;
        self.parts.push(Part::new(Role::Baseline, why, query, Takes::All, None).await?);
        Ok(())
    }
}

impl Part {
    async fn new(
        role: Role,
        what: String,
        mut query: StateQuery,
        takes: Takes,
        files: Option<Vec<Add>>,
    ) -> Result<Self> {
        let sizes = |files: &[Add]| files.iter().map(|file| u64::try_from(file.size).unwrap_or(0)).sum();
        let (files, file_count, bytes) = match (&query.source.delta, &query.source.version) {
            (Some(table), _) => {
                let unreadable =
                    |error| limno_sql::Error::Delta { uri: query.source.uri.clone(), source: Box::new(error) };
                let is_selection = files.is_some();
                let files = match files {
                    Some(files) => files,
                    None => active_files(table).map_err(unreadable)?,
                };
                let (count, bytes) = (files.len(), sizes(&files));
                if is_selection {
                    query.source = query.source.of_files(files.clone()).await?;
                }
                (Some(files), count, bytes)
            }
            (None, version @ SourceVersion::Files { .. }) => {
                let sizes = version.sizes();
                (None, sizes.len(), sizes.iter().sum())
            }
            (None, SourceVersion::Delta { .. }) => {
                return Err(Error::Usage { message: format!("{} was opened without its log", query.source.uri) });
            }
        };
        Ok(Self { role, what, query, takes, is_new: false, files, file_count, bytes })
    }

    /// The rows that its files hold by their statistics; `None` if not all have them.
    #[must_use]
    pub fn most_rows(&self) -> Option<u64> {
        self.files.as_ref()?.iter().try_fold(0, |rows: u64, file| {
            let statistics: serde_json::Value = serde_json::from_str(file.stats.as_deref()?).ok()?;
            Some(rows + statistics["numRecords"].as_u64()?)
        })
    }
}

/// The time column of the monitored table as its log knows it.
#[must_use]
pub(super) fn logged_time(monitor: &BoundMonitor) -> Option<LoggedTime> {
    let name = &monitor.config.kind.timestamp()?.value;
    if let Some(payload) = monitor.source.payload() {
        // Requests have a time of their own; of any other the log knows nothing.
        let is_own = name == "request_time";
        let stored = payload.layout.time_column();
        let data_type = monitor.source.base.schema().field_with_name(stored).ok()?.data_type().clone();
        return Some(LoggedTime {
            column: monitor.source.delta.as_ref().map_or_else(|| stored.to_owned(), |table| stored_name(table, stored)),
            data_type: if is_own { data_type } else { DataType::Utf8 },
            is_partition: false,
            calendar: monitor.calendar(),
            unit: unit(&monitor.granularities()),
        });
    }
    let schema = monitor.source.schema();
    let column = monitor.source.delta.as_ref().map_or_else(|| name.clone(), |table| stored_name(table, name));
    let is_partition = monitor.source.delta.as_ref().is_some_and(|table| {
        table.snapshot().is_ok_and(|snapshot| snapshot.metadata().partition_columns().contains(name))
    });
    Some(LoggedTime {
        column,
        data_type: schema.field_with_name(name).ok()?.data_type().clone(),
        is_partition,
        calendar: monitor.calendar(),
        unit: unit(&monitor.granularities()),
    })
}

/// The rows that a file still has, by its statistics.
fn rows_of_file(file: &Add) -> Option<u64> {
    let statistics: serde_json::Value = serde_json::from_str(file.stats.as_deref()?).ok()?;
    let deleted = file.deletion_vector.as_ref().map_or(0, |vector| vector.cardinality);
    statistics["numRecords"].as_u64()?.checked_sub(u64::try_from(deleted).ok()?)
}

/// All time before an instant.
fn before_instant(from: i64) -> Spans {
    let mut spans = Spans::none();
    spans.insert(Window { start: i64::MIN, end: from });
    spans
}

/// Whether windows of the length `fine` lie within those of the length `coarse`, both as text.
fn divides(fine: &str, coarse: &str) -> bool {
    if fine == coarse {
        return true;
    }
    match (fine.parse::<Granularity>(), coarse.parse::<Granularity>()) {
        (Ok(fine), Ok(coarse)) => unit(&[fine, coarse]) == fine,
        _ => false,
    }
}

//! Runs the scans of a plan: from rows of tables to rows of the ledger.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use limno_sql::executor::PlanExecutor;
use limno_sql::expression::SliceExpression;
use limno_sql::payload::Outcome;
use limno_sql::plan::{EncodedRow, Measure, StateQuery};
use limno_sql::window::{Calendar, Granularity, Spans};

use super::isolate::{Trouble, is_of_data};
use super::plan::{Definitions, Part, RefreshPlan, Takes};
use super::size::{BYTES_A_VALUE, COPIES, largest_of, state_size};
use super::spool::Spool;
use crate::change::LoggedTime;
use crate::ledger::{LedgerKey, LedgerRow, Role};
use crate::monitor::QUARANTINE;
use crate::progress::Progress;
use crate::{Error, Result};

/// What was seen while reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Rows of the monitored table.
    pub(super) rows: u64,
    /// Of those, rows whose timestamp is null or does not parse: they are in no window.
    pub(super) rows_without_window: u64,
    /// Of those, rows in windows that had been complete before.
    pub(super) late_rows: u64,
    /// Rows of windows whose states were dropped, which change nothing any more.
    pub(super) rows_before_retention: u64,
    /// Requests of a log whose status is not looked at.
    pub(super) rows_of_other_status: u64,
    /// Requests of a log that repeat another.
    pub(super) duplicates: u64,
    /// Requests of a log, or rows of one, that could not be parsed.
    pub(super) malformed: u64,
}

impl Seen {
    /// Adds what another scan saw.
    pub(super) const fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.rows_without_window += other.rows_without_window;
        self.late_rows += other.late_rows;
        self.rows_before_retention += other.rows_before_retention;
        self.rows_of_other_status += other.rows_of_other_status;
        self.duplicates += other.duplicates;
        self.malformed += other.malformed;
    }
}

/// Runs scans.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// Runs their plans.
    pub(super) executor: &'a dyn PlanExecutor,
    /// The most values that a slice expression may have.
    pub(super) max_slices: usize,
    /// Bytes that states may take in memory, about.
    pub(super) memory: u64,
    /// When windows are complete: how they are cut, how long after their end, and when that was last looked at.
    pub(super) completeness: Option<Completeness>,
    /// How the log tells which windows a file covers.
    pub(super) time: Option<LoggedTime>,
    /// Whether what does not read is left out; if not, it is an error.
    pub(super) isolates: bool,
    /// Whether there are states from before.
    pub(super) has_states: bool,
    /// Tells a person.
    pub(super) progress: &'a Progress,
}

/// What tells a late row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completeness {
    /// Time zone and start of weeks.
    pub(super) calendar: Calendar,
    /// The length of the ledger's windows.
    pub(super) unit: Granularity,
    /// How long after its end a window is still incomplete.
    pub(super) grace: Duration,
    /// The last refresh; rows that came since for windows that were complete then are late.
    pub(super) last: Option<DateTime<Utc>>,
}

impl Completeness {
    fn was_complete(&self, start: i64) -> bool {
        let window = self.calendar.window_of(self.unit, start);
        self.last.zip(window).is_some_and(|(last, window)| super::is_complete(&window, self.grace, last))
    }
}

impl Reader<'_> {
    /// Runs all scans of a plan. What does not read is left out and told.
    ///
    /// # Errors
    /// When nothing of a table reads, or when a slice expression has too many values.
    pub(super) async fn run(&self, plan: &RefreshPlan, spool: &mut Spool) -> Result<(Seen, Trouble)> {
        let (mut seen, mut trouble) = (Seen::default(), Trouble::default());
        let definitions = &plan.definitions;
        // Two at once leave no core idle while one of them waits for its last rows.
        let at_once = if self.have_room(&plan.parts) { 2 } else { 1 };
        for parts in plan.parts.chunks(at_once) {
            let results = match parts {
                [one, other] => {
                    let (empty, and_empty) = (spool.empty(), spool.empty());
                    let both = futures::join!(
                        self.checked_part(one, definitions, empty),
                        self.checked_part(other, definitions, and_empty)
                    );
                    vec![(one, both.0), (other, both.1)]
                }
                [one, ..] => vec![(one, self.checked_part(one, definitions, spool.empty()).await)],
                [] => Vec::new(),
            };
            for (part, result) in results {
                match result {
                    Ok((rows, counted)) => {
                        spool.absorb(rows)?;
                        seen.add(counted);
                    }
                    Err(error @ Error::TooManySlices { .. }) => return Err(error),
                    Err(error) if self.isolates && is_of_data(&error) => {
                        self.rescue(part, error, definitions, (spool, &mut seen, &mut trouble)).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((seen, trouble))
    }

    /// Whether all scans may be run at once, as far as that is known before any of them is: their states and the files that
    /// they read, of which a part is in memory, at worst all, take no more than the monitor may.
    fn have_room(&self, parts: &[Part]) -> bool {
        let sizes = parts.iter().map(|part| {
            largest_size(part, None).map(|states| states.saturating_mul(COPIES).saturating_add(part.bytes))
        });
        // Ours is half of what the monitor may take; what comes after the scans, for which the other half is, is not there yet.
        sizes.sum::<Option<u64>>().is_some_and(|size| size <= self.memory.saturating_mul(2))
    }

    async fn checked_part(&self, part: &Part, definitions: &Definitions, spool: Spool) -> Result<(Spool, Seen)> {
        self.progress.stage("reading", &part.query.source.uri);
        let parts = match self.count_parts(&part.query).await {
            Ok(parts) => Some(parts),
            Err(error @ Error::TooManySlices { .. }) => return Err(error),
            // Whatever does not read is found again, and looked at more closely, when all of it is read.
            Err(_) => None,
        };
        let groups = parts.and_then(|parts| self.most_windows(part)?.checked_mul(parts));
        self.part(part, groups, definitions, spool).await
    }

    /// Into how many parts the slices cut each window, the whole among them, at most.
    async fn count_parts(&self, query: &StateQuery) -> Result<u64> {
        /// Those that hold, those that do not, and those of which neither is known.
        const OF_A_PREDICATE: u64 = 3;
        let count = |slice: &SliceExpression| {
            let slice = slice.clone();
            async move {
                if slice.is_predicate {
                    return Ok(OF_A_PREDICATE);
                }
                let values = query.count_slices(self.executor, &slice, self.max_slices).await?;
                if values > self.max_slices {
                    return Err(Error::TooManySlices { key: slice.key, limit: self.max_slices });
                }
                Ok(values as u64)
            }
        };
        let counts = futures::stream::iter(query.slices.iter().map(count).collect::<Vec<_>>()).buffered(2);
        let counts: Vec<Result<u64>> = counts.collect().await;
        // One that has too many is told before what does not read.
        let (too_many, others): (Vec<_>, Vec<_>) =
            counts.into_iter().partition(|result| matches!(result, Err(Error::TooManySlices { .. })));
        Ok(too_many.into_iter().chain(others).sum::<Result<u64>>()? + 1)
    }

    /// How many windows the rows of a scan can lie in, as far as the log says; one for rows without a time.
    fn most_windows(&self, part: &Part) -> Option<u64> {
        /// More are not counted.
        const MOST: usize = 1 << 16;
        if part.query.model.is_some() || part.query.sampling_fraction.is_some() {
            return None;
        }
        let Some(unit) = part.query.time.as_ref().map(|time| time.unit) else { return Some(1) };
        let time = self.time.as_ref()?;
        let mut covered = Spans::none();
        for file in part.files.as_ref()? {
            covered.extend(&time.extent(file)?);
        }
        let mut windows = 1;
        for span in covered.spans() {
            let mut start = span.start;
            while start < span.end && windows <= MOST {
                start = time.calendar.window_of(unit, start).filter(|window| window.end > start)?.end;
                windows += 1;
            }
        }
        (windows <= MOST).then_some(windows as u64)
    }

    /// Runs one scan, of at most so many groups if that is known, into an empty spool.
    ///
    /// # Errors
    /// When the table does not read.
    pub(super) async fn part(
        &self,
        part: &Part,
        groups: Option<u64>,
        definitions: &Definitions,
        mut spool: Spool,
    ) -> Result<(Spool, Seen)> {
        let mut seen = Seen::default();
        for (pass, measures) in self.passes(part, groups).await?.into_iter().enumerate() {
            let query = StateQuery { measures: measures.to_vec(), ..part.query.clone() };
            let counts = part.takes == Takes::All && pass == 0;
            let mut rows = std::pin::pin!(query.stream(self.executor).await?);
            while let Some(batch) = rows.next().await {
                for row in batch? {
                    if part.takes == Takes::Nothing {
                        seen.rows_before_retention += row.logged;
                        continue;
                    }
                    if counts && part.role == Role::Input {
                        self.note(&row, part.is_new, &mut seen);
                    }
                    spread(row, &query, part.role, counts, definitions, &mut spool)?;
                }
            }
        }
        Ok((spool, seen))
    }

    fn note(&self, row: &EncodedRow, is_new: bool, seen: &mut Seen) {
        if row.slice.is_some() {
            return;
        }
        match row.outcome {
            None => {}
            Some(Outcome::Status) => return seen.rows_of_other_status += row.logged,
            Some(Outcome::Duplicate) => return seen.duplicates += row.logged,
            Some(Outcome::Malformed) => return seen.malformed += row.logged,
        }
        seen.rows += row.logged;
        if self.completeness.is_some() && row.window.is_none() {
            seen.rows_without_window += row.logged;
        }
        if let (Some(completeness), Some(start)) = (&self.completeness, row.window)
            && is_new
            && completeness.was_complete(start)
        {
            seen.late_rows += row.logged;
        }
    }

    /// The measures of a scan in passes, each of as many as there is memory for. Numbers are the same however many there are.
    async fn passes<'p>(&self, part: &'p Part, groups: Option<u64>) -> Result<Vec<&'p [Measure]>> {
        let all = &part.query.measures[..];
        if largest_size(part, groups).is_some_and(|size| size <= self.memory / COPIES) {
            return Ok(vec![all]);
        }
        // Counting the rows of each group reads little, and says how large the states can become.
        let query = StateQuery { measures: Vec::new(), ..part.query.clone() };
        let mut groups = std::pin::pin!(query.stream(self.executor).await?);
        let mut sizes = vec![0_u64; all.len()];
        while let Some(batch) = groups.next().await {
            for row in batch? {
                let is_at_fault = row.outcome == Some(Outcome::Malformed);
                for (size, measure) in sizes.iter_mut().zip(all) {
                    // Of rows that are measured, and of those that are not looked at, nothing goes into quarantine.
                    let rows = if measure.name == QUARANTINE && !is_at_fault { 0 } else { row.rows };
                    *size = size.saturating_add(state_size(rows, measure).saturating_mul(COPIES));
                }
            }
        }
        let mut passes = Vec::new();
        let (mut start, mut taken) = (0, 0_u64);
        for (at, &size) in sizes.iter().enumerate() {
            if at > start && taken.saturating_add(size) > self.memory {
                passes.push(&all[start..at]);
                (start, taken) = (at, 0);
            }
            taken = taken.saturating_add(size);
        }
        // A table of which no column is profiled has rows all the same.
        passes.push(&all[start..]);
        Ok(passes)
    }
}

/// Bytes that the states of a scan can take, once each; `None` if nothing is known of its rows. There are at most so many
/// `groups`, if that is known.
fn largest_size(part: &Part, groups: Option<u64>) -> Option<u64> {
    let query = &part.query;
    // A request is one row to the log, and can be many.
    if query.source.payload().is_some() {
        return None;
    }
    let is_one_group =
        query.time.is_none() && query.model.is_none() && query.sampling_fraction.is_none() && query.slices.is_empty();
    let groups = if is_one_group { Some(1) } else { groups };
    let rows = part.most_rows();
    let times = 1 + query.slices.len() as u64;
    // Each row may be a group of its own.
    let by_rows =
        rows.map(|rows| rows.saturating_mul(BYTES_A_VALUE * times).saturating_mul(query.measures.len() as u64));
    let by_groups = groups.and_then(|groups| {
        let sizes = query
            .measures
            .iter()
            .map(|measure| largest_of(measure, rows.map(|rows| rows.saturating_mul(times)), groups));
        sizes.sum::<Option<u64>>()
    });
    match (by_rows, by_groups) {
        (Some(by_rows), Some(by_groups)) => Some(by_rows.min(by_groups)),
        (one, other) => one.or(other),
    }
}

/// One row of a plan is a row of the ledger for each column, and one for the count.
fn spread(
    row: EncodedRow,
    query: &StateQuery,
    role: Role,
    counts: bool,
    definitions: &Definitions,
    spool: &mut Spool,
) -> Result<()> {
    if row.outcome.is_some() {
        return refuse(&row, query, role, definitions, spool);
    }
    let slice = row.slice.map(|slice| (query.slices[slice.expression].key.clone(), slice.value));
    // A table without a time has one window, which has no start; rows that have no window are only counted.
    let is_timed = query.time.is_some();
    let window = row.window.filter(|_| is_timed);
    let is_dropped = is_timed && window.is_none();
    if is_dropped && slice.is_some() {
        return Ok(());
    }
    let definition = |column: Option<&str>| {
        let slice = slice.as_ref().map(|(key, _)| key.as_str());
        definitions.definition(role, column, slice).ok_or_else(|| Error::Usage {
            message: format!("the states of {} have no definition", column.unwrap_or(":table")),
        })
    };
    let key = |column: Option<&str>| LedgerKey {
        role,
        column: column.map(str::to_owned),
        window,
        model: row.model.clone().filter(|_| !is_dropped),
        slice: slice.clone(),
    };
    if counts {
        spool.add(LedgerRow { key: key(None), definition: definition(None)?, rows: row.rows, state: None })?;
    }
    if is_dropped {
        return Ok(());
    }
    for (measure, state) in query.measures.iter().zip(row.states) {
        // What is refused has no row of its own; of the rows that are measured, nothing is refused.
        if measure.name == QUARANTINE {
            continue;
        }
        let definition = definition(Some(&measure.name))?;
        spool.add(LedgerRow { key: key(Some(&measure.name)), definition, rows: row.rows, state: Some(state) })?;
    }
    Ok(())
}

/// Of the rows that are not measured, those that could not be parsed are kept, whatever slice and model they are of.
fn refuse(
    row: &EncodedRow,
    query: &StateQuery,
    role: Role,
    definitions: &Definitions,
    spool: &mut Spool,
) -> Result<()> {
    if row.outcome != Some(Outcome::Malformed) || row.slice.is_some() {
        return Ok(());
    }
    for (measure, state) in query.measures.iter().zip(&row.states).filter(|(measure, _)| measure.name == QUARANTINE) {
        let Some(definition) = definitions.definition(role, Some(&measure.name), None) else { continue };
        let window = row.window.filter(|_| query.time.is_some());
        let key = LedgerKey { role, column: Some(measure.name.clone()), window, model: None, slice: None };
        spool.add(LedgerRow { key, definition, rows: row.rows, state: Some(state.clone()) })?;
    }
    Ok(())
}

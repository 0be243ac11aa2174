//! Which rows of a metric table are to be written: those of windows whose states changed, and of windows that became
//! complete, since the table was written last.

use std::time::Duration;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use limno_sql::window::{Calendar, Granularity, Spans, Window};

use super::update::Touched;
use crate::ledger::{self, Ledger};
use crate::store::{Grouping, OwnTable};
use crate::{Error, Result};

/// The property of a metric table that says of which configuration its rows are.
pub(super) const CONFIG_DIGEST: &str = "limno.config_digest";
/// The property of a metric table that says from when on its rows can be made anew, in microseconds.
pub(super) const STATES_FROM: &str = "limno.states_from";
/// The property of a metric table that says from which ledger its rows were made.
pub(super) const LEDGER_ID: &str = "limno.ledger_id";

/// How far a metric table has come.
#[derive(Debug)]
pub(super) struct Written {
    /// The table.
    pub(super) table: OwnTable,
    /// The version of the ledger that its rows were made from; `None` if it never had any, or does not say.
    pub(super) ledger: Option<u64>,
    /// When its marks of complete windows were right, in microseconds.
    pub(super) clock: Option<i64>,
    /// Whether its rows are of the configuration that was asked about.
    pub(super) is_of_config: bool,
}

impl Written {
    /// Reads how far `table` has come under the application `id`.
    ///
    /// # Errors
    /// When its log does not read.
    pub(super) async fn read(table: OwnTable, id: &str, config: &str, ledger: &OwnTable) -> Result<Self> {
        // Versions of a ledger that is gone mean nothing.
        let is_of_ledger = table.property(LEDGER_ID).is_some_and(|known| Some(known) == ledger.id());
        let version = if is_of_ledger { table.transaction(id).await? } else { None };
        let clock = table.transaction(&clock_of(id)).await?;
        let is_of_config = table.property(CONFIG_DIGEST) == Some(config);
        Ok(Self { table, ledger: version.and_then(|version| u64::try_from(version).ok()), clock, is_of_config })
    }
}

/// The id under which a metric table keeps the time of its last refresh.
#[must_use]
pub(super) fn clock_of(id: &str) -> String {
    format!("{id}/clock")
}

/// Which rows of a metric table are not as they should be.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    touched: Touched,
    /// Windows whose end and grace lie after the first instant and not after the second have turned complete, or are
    /// no longer, if a clock went back.
    turned: Option<(i64, i64)>,
    /// Windows that began before stay as they are: their states are gone.
    states_from: Option<i64>,
    grace: i64,
}

impl Changed {
    /// What a table that has come as far as `written` lacks. `ours` is the version of the ledger before the commit of
    /// this refresh, if it made one, and what that commit touched.
    pub(super) async fn since(
        written: &Written,
        ledger: &Ledger,
        ours: Option<(Option<u64>, &Touched)>,
        (grace, now): (Duration, DateTime<Utc>),
    ) -> Self {
        let now = now.timestamp_micros();
        let version = ledger.table.version();
        // Rows that another program moved are laid out again; a table without a time only ever gets more.
        let is_foreign = ledger.unit().is_some() && written.table.files().iter().any(|file| file.group.is_none());
        let touched = match (written.ledger, written.clock, version) {
            (Some(at), Some(_), Some(version)) if written.is_of_config && !is_foreign && at <= version => match ours {
                // What others did before us is known only by groups; what we did, exactly.
                Some((Some(before), touched)) if at <= before => touched_by(ledger, at, before).await.and(touched),
                _ => touched_by(ledger, at, version).await,
            },
            _ => Touched::All,
        };
        let turned = written.clock.filter(|&clock| clock != now).map(|clock| (clock.min(now), clock.max(now)));
        Self { touched, turned, ..Self::everything(ledger, grace) }
    }

    /// All that the ledger can make.
    pub(super) fn everything(ledger: &Ledger, grace: Duration) -> Self {
        Self {
            touched: Touched::All,
            turned: None,
            states_from: ledger.watermark.as_ref().and_then(|watermark| watermark.states_from),
            grace: i64::try_from(grace.as_micros()).unwrap_or(i64::MAX),
        }
    }

    /// Whether all rows are to be written, and none is to stay.
    #[must_use]
    pub(super) fn is_all(&self) -> bool {
        self.touched == Touched::All && self.states_from.is_none()
    }

    /// Whether the ledger says nothing that the table does not.
    #[must_use]
    pub(super) fn is_none(&self) -> bool {
        self.touched == Touched::none()
    }

    /// Whether the rows over the baseline changed, and with them all comparisons with it.
    #[must_use]
    pub(super) const fn baseline(&self) -> bool {
        match self.touched {
            Touched::All => true,
            Touched::Some { baseline, .. } => baseline,
        }
    }

    /// Whether the one window of a table without a time did.
    #[must_use]
    pub(super) const fn whole(&self) -> bool {
        match self.touched {
            Touched::All => true,
            Touched::Some { whole, .. } => whole,
        }
    }

    fn can_be_made(&self, window: Window) -> bool {
        self.states_from.is_none_or(|from| window.start >= from)
    }

    fn is_touched(&self, window: Window) -> bool {
        match &self.touched {
            Touched::All => true,
            Touched::Some { spans, .. } => spans.overlaps(window),
        }
    }

    fn has_turned(&self, window: Window) -> bool {
        let complete_from = window.end.saturating_add(self.grace);
        self.turned.is_some_and(|(before, after)| before < complete_from && complete_from <= after)
    }

    /// Whether rows over a window are to be written: profiles, and comparisons with the baseline.
    #[must_use]
    pub(super) fn window(&self, window: Window, is_against_baseline: bool) -> bool {
        let is_changed = self.is_touched(window) || self.has_turned(window) || (is_against_baseline && self.baseline());
        is_changed && self.can_be_made(window)
    }

    /// Whether the comparisons of a window with the one before are to be written.
    #[must_use]
    pub(super) fn consecutive(&self, window: Window, before: Window) -> bool {
        let is_changed = self.is_touched(window) || self.has_turned(window) || self.is_touched(before);
        is_changed && self.can_be_made(window) && self.can_be_made(before)
    }

    /// The time from which states are needed to write what changed; `None` for all there is.
    #[must_use]
    pub(super) fn needed(
        &self,
        granularities: &[Granularity],
        calendar: &Calendar,
        compares_baseline: bool,
    ) -> Option<Spans> {
        let Touched::Some { spans, baseline, .. } = &self.touched else { return None };
        if *baseline && compares_baseline {
            return None;
        }
        let mut needed = Spans::none();
        for &length in granularities {
            for span in spans.spans() {
                needed.insert(around(calendar, length, *span)?);
            }
            if let Some((before, after)) = self.turned {
                let span = Window { start: before.checked_sub(self.grace)?, end: after.checked_sub(self.grace)? };
                // No window of this length ends within most stretches of time.
                let end = calendar.windows_of(length, span.start).map(|window| window.end).min()?;
                if end <= span.end {
                    needed.insert(around(calendar, length, span)?);
                }
            }
        }
        Some(needed)
    }

    /// Whether a group of a table's files can hold rows to be written.
    #[must_use]
    pub(super) fn meets(&self, grouping: &Grouping, index: i64, needed: Option<&Spans>) -> bool {
        needed.is_none_or(|needed| grouping.overlaps(index, needed))
    }

    /// Which rows of a stored batch stay. Those of lengths that are not `configured` any more go, as far as they could be
    /// made anew.
    ///
    /// # Errors
    /// When the batch is not of a metric table.
    pub(super) fn staying(&self, batch: &RecordBatch, configured: &[String]) -> Result<BooleanArray> {
        let missing = |name: &str| Error::Usage { message: format!("a metric table has no column {name}") };
        let windows = |name: &str| -> Result<Vec<Option<Window>>> {
            let column = batch.column_by_name(name).and_then(|column| column.as_struct_opt());
            window_values(column.ok_or_else(|| missing(name))?).ok_or_else(|| missing(name))
        };
        let own = windows("window")?;
        let others = if batch.column_by_name("window_cmp").is_some() { Some(windows("window_cmp")?) } else { None };
        let lengths = batch.column_by_name("granularity").ok_or_else(|| missing("granularity"))?;
        let lengths = cast(lengths, &DataType::Utf8)?;
        let lengths = lengths.as_string::<i32>();
        let is_configured = |row: usize| configured.iter().any(|length| length == lengths.value(row));
        let stays = |row: usize| {
            let Some(window) = own[row] else { return !self.baseline() };
            if !is_configured(row) {
                return !self.can_be_made(window);
            }
            match &others {
                None => !self.window(window, false),
                Some(others) => match others[row] {
                    Some(before) => !self.consecutive(window, before),
                    None => !self.window(window, true),
                },
            }
        };
        Ok((0..batch.num_rows()).map(|row| Some(stays(row))).collect())
    }
}

fn window_values(windows: &StructArray) -> Option<Vec<Option<Window>>> {
    let ends = |name: &str| Some(windows.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?.clone());
    let (starts, ends) = (ends("start")?, ends("end")?);
    let window = |row: usize| Window { start: starts.value(row), end: ends.value(row) };
    Some((0..windows.len()).map(|row| (windows.is_valid(row) && starts.is_valid(row)).then(|| window(row))).collect())
}

/// The windows of this length that meet a span, with those that they are compared with and that are compared with them.
fn around(calendar: &Calendar, length: Granularity, span: Window) -> Option<Window> {
    let first = calendar.windows_of(length, span.start).next()?;
    let last = calendar.window_of(length, span.end.max(span.start.saturating_add(1)).saturating_sub(1))?;
    let before = calendar.previous(length, &first)?;
    Some(Window { start: before.start, end: calendar.window_of(length, last.end)?.end })
}

/// Whether a metric table says all that the ledger knows.
pub(super) async fn is_current(written: &Written, ledger: &Ledger) -> bool {
    match (written.ledger, ledger.table.version()) {
        (Some(at), Some(version)) if at <= version => touched_by(ledger, at, version).await == Touched::none(),
        _ => false,
    }
}

/// What the commits of the ledger later than `since`, up to `until`, touched, by the groups of their files.
async fn touched_by(ledger: &Ledger, since: u64, until: u64) -> Touched {
    let Some(groups) = ledger.table.groups_changed(since, until).await else { return Touched::All };
    let grouping = ledger.unit().map(Grouping::of);
    let mut touched = Touched::none();
    for group in &groups {
        let Touched::Some { spans, baseline, whole } = &mut touched else { return touched };
        match group.as_str() {
            ledger::WATERMARK => {}
            ledger::BASELINE => *baseline = true,
            // Of a table with a time it only counts rows.
            ledger::WITHOUT_WINDOW => *whole |= grouping.is_none(),
            group => match grouping.and_then(|grouping| Some(grouping.extent(grouping.parse(group)?))) {
                Some(extent) => spans.insert(extent),
                None => return Touched::All,
            },
        }
    }
    touched
}

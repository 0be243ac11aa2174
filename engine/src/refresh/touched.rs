//! Windows of rows that are there already and that other rows change: labels that come later, and requests that are
//! logged again.

use std::collections::BTreeSet;

use datafusion::prelude::SessionContext;
use deltalake::kernel::Add;
use limno_sql::executor::PlanExecutor;
use limno_sql::payload::repeated_windows;
use limno_sql::plan::TimeColumn;
use limno_sql::source::{LabelJoin, Source, SourceVersion, View, active_files, read_labels, touched_windows};
use limno_sql::window::{Spans, Window};

use super::plan::logged_time;
use crate::change::{ChangeSet, LoggedTime};
use crate::ledger::{TableMark, Watermark};
use crate::monitor::BoundMonitor;
use crate::refresh::is_of_data;
use crate::{Error, Result};

/// What is needed to look into tables while a refresh is planned.
#[derive(Clone, Copy)]
pub struct Looking<'a> {
    /// For reading.
    pub context: &'a SessionContext,
    /// Runs the scans.
    pub executor: &'a dyn PlanExecutor,
}

impl std::fmt::Debug for Looking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looking").field("executor", &self.executor).finish_non_exhaustive()
    }
}

/// Which windows are to be made anew.
#[derive(Debug)]
pub(super) enum Touch {
    /// These.
    Spans(Spans),
    /// It is not known which.
    Everything {
        /// Why.
        reason: String,
    },
}

impl Looking<'_> {
    /// The windows that a refresh makes anew although their own rows are the same.
    ///
    /// # Errors
    /// When a table does not read.
    pub(super) async fn touched(
        &self,
        monitor: &BoundMonitor,
        before: &Watermark,
        changes: &ChangeSet,
    ) -> Result<Touch> {
        let labels = match (&monitor.labels, &before.labels) {
            (Some(labels), Some(mark)) => self.by_labels(monitor, labels, mark).await?,
            _ => Touch::Spans(Spans::none()),
        };
        let Touch::Spans(mut spans) = labels else { return Ok(labels) };
        match self.by_repetition(monitor, changes).await? {
            Touch::Spans(more) => spans.extend(&more),
            everything @ Touch::Everything { .. } => return Ok(everything),
        }
        Ok(Touch::Spans(spans))
    }

    /// Windows in which files that were added repeat requests of files from before.
    async fn by_repetition(&self, monitor: &BoundMonitor, changes: &ChangeSet) -> Result<Touch> {
        let none = Touch::Spans(Spans::none());
        let (Some(options), ChangeSet::Rows { added, .. }) = (monitor.source.payload(), changes) else {
            return Ok(none);
        };
        let unreadable = |error| limno_sql::Error::Delta { uri: monitor.source.uri.clone(), source: Box::new(error) };
        let Some(table) = monitor.source.delta.as_deref().filter(|_| !added.is_empty()) else { return Ok(none) };
        let is_new: BTreeSet<&str> = added.iter().map(|file| file.path.as_str()).collect();
        let mut old = active_files(table).map_err(unreadable)?;
        old.retain(|file| !is_new.contains(file.path.as_str()));
        let (new, old) = (monitor.source.of_files(added.clone()).await?, monitor.source.of_files(old).await?);
        let tables = (new.base, old.base);
        let starts = repeated_windows(self.executor, &monitor.source.uri, tables, options).await;
        let starts = match starts.map_err(Error::from) {
            Ok(starts) => starts,
            // Which file does not read is found out where it is read. Until then any call may be there already.
            Err(error) if is_of_data(&error) => {
                return Ok(match extent_of(added, logged_time(monitor).as_ref()) {
                    Some(spans) => Touch::Spans(spans),
                    None => Touch::Everything { reason: format!("requests may have been logged again: {error}") },
                });
            }
            Err(error) => return Err(error),
        };
        let query = monitor.query();
        match &query.time {
            Some(time) if time.column == "request_time" => {
                let starts: Vec<Option<i64>> = starts.into_iter().map(Some).collect();
                Ok(Touch::Spans(spans_of(&starts, time)))
            }
            _ if starts.is_empty() => Ok(none),
            _ => Ok(Touch::Everything { reason: "requests were logged again".to_owned() }),
        }
    }

    /// Windows of rows whose labels changed since `mark`.
    async fn by_labels(&self, monitor: &BoundMonitor, labels: &Source, mark: &TableMark) -> Result<Touch> {
        if TableMark::of(labels)? == *mark {
            return Ok(Touch::Spans(Spans::none()));
        }
        let everything = |why: &str| Ok(Touch::Everything { reason: format!("the table of labels {why}") });
        let (SourceVersion::Delta { table_id, .. }, Some(version)) = (&labels.version, mark.version) else {
            return everything("has other files");
        };
        if mark.table_id.as_ref() != Some(table_id) {
            return everything("is another one than before");
        }
        let Ok(then) = labels.at_version(self.context, version).await else {
            return everything("no longer has the version that was read");
        };
        let (gone, come) = differing(&then, labels)?;
        if gone.is_empty() && come.is_empty() {
            return Ok(Touch::Spans(Spans::none()));
        }
        let Some(View::Labels(join)) = monitor.source.views.iter().find(|view| matches!(view, View::Labels(_))) else {
            return everything("is not joined");
        };
        let query = monitor.query();
        let Some(time) = &query.time else { return everything("has changed") };
        let rows = monitor.source.before_view(|view| matches!(view, View::Labels(_)))?;
        let files = (then.of_files(gone).await?, labels.of_files(come).await?);
        let windows = touched_windows(self.executor, &rows, time, join, (&files.0, &files.1)).await;
        let error = match windows.map_err(Error::from) {
            Ok(windows) => return Ok(Touch::Spans(spans_of(&windows, time))),
            Err(error) if is_of_data(&error) => error,
            Err(error) => return Err(error),
        };
        // Files of a version that is gone can be gone too; those of the version that is read cannot be done without.
        match read_labels(self.executor, join, &files.0).await.map_err(Error::from) {
            Err(error) if is_of_data(&error) => return everything("no longer has the files that were read"),
            read => read?,
        }
        read_labels(self.executor, join, &files.1).await?;
        self.by_labels_of_files(monitor, &rows, (join, time), (&files.0, &files.1), error).await
    }

    /// The windows of rows whose labels changed where not every file of rows reads: those of a file that does not are looked
    /// at anew as a whole.
    async fn by_labels_of_files(
        &self,
        monitor: &BoundMonitor,
        rows: &Source,
        (join, time): (&LabelJoin, &TimeColumn),
        labels: (&Source, &Source),
        error: Error,
    ) -> Result<Touch> {
        let Some(table) = rows.delta.as_deref() else { return Err(error) };
        let unreadable = |error| limno_sql::Error::Delta { uri: rows.uri.clone(), source: Box::new(error) };
        let logged = logged_time(monitor);
        let mut spans = Spans::none();
        for file in active_files(table).map_err(unreadable)? {
            let of_file = rows.of_files(vec![file.clone()]).await?;
            match touched_windows(self.executor, &of_file, time, join, labels).await.map_err(Error::from) {
                Ok(windows) => spans.extend(&spans_of(&windows, time)),
                Err(error) if !is_of_data(&error) => return Err(error),
                Err(error) => {
                    let Some(extent) = extent_of(&[file], logged.as_ref()) else { return Err(error) };
                    spans.extend(&extent);
                }
            }
        }
        Ok(Touch::Spans(spans))
    }
}

/// The windows in which rows of these files can lie; `None` if the log does not say.
fn extent_of(files: &[Add], time: Option<&LoggedTime>) -> Option<Spans> {
    let mut spans = Spans::none();
    for file in files {
        spans.extend(&time?.extent(file)?);
    }
    Some(spans)
}

/// The windows of these starts.
fn spans_of(starts: &[Option<i64>], time: &TimeColumn) -> Spans {
    let mut spans = Spans::none();
    for start in starts {
        match start {
            Some(start) => {
                let window = time.calendar.window_of(time.unit, *start);
                spans.insert(window.unwrap_or(Window { start: *start, end: start.saturating_add(1) }));
            }
            None => spans.insert_rows_without_time(),
        }
    }
    spans
}

/// The files that only the one version has, and those that only the other has. A file whose deletion vector is another
/// one is another file.
fn differing(then: &Source, now: &Source) -> Result<(Vec<Add>, Vec<Add>)> {
    let files = |source: &Source| -> Result<Vec<Add>> {
        let unreadable = |error| limno_sql::Error::Delta { uri: source.uri.clone(), source: Box::new(error) };
        let table = source.delta.as_deref();
        Ok(table.map(active_files).transpose().map_err(unreadable)?.unwrap_or_default())
    };
    let name = |file: &Add| {
        let vector = file.deletion_vector.as_ref();
        (file.path.clone(), vector.map(|vector| (vector.path_or_inline_dv.clone(), vector.offset)))
    };
    let (then, now) = (files(then)?, files(now)?);
    let names = |files: &[Add]| files.iter().map(name).collect::<BTreeSet<_>>();
    let (known, current) = (names(&then), names(&now));
    let gone = then.into_iter().filter(|file| !current.contains(&name(file))).collect();
    Ok((gone, now.into_iter().filter(|file| !known.contains(&name(file))).collect()))
}

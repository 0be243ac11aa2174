//! When a scan fails: which files and columns are to blame, and everything else all the same.
//!
//! The files of the scan are read one by one, and the columns of those that fail. States merge to the same whatever
//! pieces they were made of, so what is read this way is what the scan would have read. Only requests that are logged more
//! than once hang together across files.

use std::collections::BTreeMap;

use datafusion::error::DataFusionError;
use deltalake::kernel::Add;
use limno_sql::window::Spans;

use super::plan::{Definitions, Part, Takes};
use super::read::{Reader, Seen};
use super::spool::Spool;
use crate::change::LoggedTime;
use crate::ledger::Role;
use crate::{Error, Result};

/// What could not be read.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Columns, with the first error of each.
    pub(super) columns: BTreeMap<String, String>,
    /// Windows that files cover which do not read.
    pub(super) spans: Spans,
    /// Those files, with their errors.
    pub(super) files: Vec<(String, String)>,
    /// The baseline.
    pub(super) baseline: Option<String>,
}

impl Trouble {
    /// All of it as one text; `None` if there is none.
    #[must_use]
    pub(super) fn describe(&self) -> Option<String> {
        let columns = self.columns.iter().map(|(column, error)| format!("column {column} is left out: {error}"));
        let files =
            self.files.iter().map(|(path, error)| format!("the windows of the file {path} stay as they were: {error}"));
        let baseline = self.baseline.iter().map(|error| format!("the baseline stays as it was: {error}"));
        let lines: Vec<String> = columns.chain(files).chain(baseline).collect();
        if lines.is_empty() { None } else { Some(lines.join("\n")) }
    }
}

/// Whether an error says that data do not read, and not that this machine has no memory or disk left.
pub(crate) fn is_of_data(error: &Error) -> bool {
    let Error::Sql(limno_sql::Error::Unreadable { source, .. }) = error else { return false };
    let text = source.to_string();
    // A file that is not there is the table's fault, any other trouble with files may pass.
    let is_passing = text.contains("(os error ") && !text.contains("(os error 2)");
    !is_passing && !matches!(source.find_root(), DataFusionError::ResourcesExhausted(_))
}

impl Reader<'_> {
    /// Reads what can be read of a part whose scan failed with `error`.
    ///
    /// # Errors
    /// `error` itself, if nothing can be read, or if it cannot be told which windows are lost.
    pub(super) async fn rescue(
        &self,
        part: &Part,
        error: Error,
        definitions: &Definitions,
        (spool, seen, trouble): (&mut Spool, &mut Seen, &mut Trouble),
    ) -> Result<()> {
        if part.role == Role::Baseline {
            trouble.baseline = Some(error.to_string());
            return Ok(());
        }
        let Some(files) = part.files.as_ref().filter(|_| part.query.source.delta.is_some()) else {
            return self.rescue_columns(part, error, definitions, (spool, seen, trouble)).await;
        };
        if part.query.source.payload().is_some() {
            return self.rescue_log(part, files, error, definitions, (spool, seen, trouble)).await;
        }
        let mut is_any_read = false;
        for file in files {
            let alone = self.of_files(part, vec![file.clone()]).await?;
            let result = match self.part(&alone, None, definitions, spool.empty()).await {
                Ok((rows, counted)) => {
                    spool.absorb(rows)?;
                    seen.add(counted);
                    Ok(())
                }
                Err(error) if is_of_data(&error) => {
                    self.rescue_columns(&alone, error, definitions, (spool, seen, trouble)).await
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => is_any_read = true,
                Err(error) if !is_of_data(&error) => return Err(error),
                Err(error) => self.lose(file, error, trouble)?,
            }
        }
        // What is there already is kept; where there is nothing, nothing would be no result.
        if is_any_read || self.has_states { Ok(()) } else { Err(error) }
    }

    /// Of a log of requests the files are told apart only to find those that do not read. A request can stand in several
    /// of the others and counts once, so those are read together.
    async fn rescue_log(
        &self,
        part: &Part,
        files: &[Add],
        error: Error,
        definitions: &Definitions,
        (spool, seen, trouble): (&mut Spool, &mut Seen, &mut Trouble),
    ) -> Result<()> {
        let mut good = Vec::new();
        for file in files {
            let alone = self.of_files(part, vec![file.clone()]).await?;
            let result = match self.part(&alone, None, definitions, spool.empty()).await {
                Ok(_) => Ok(()),
                Err(error) if is_of_data(&error) => {
                    let unused = (&mut spool.empty(), &mut Seen::default(), &mut *trouble);
                    self.rescue_columns(&alone, error, definitions, unused).await
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => good.push(file.clone()),
                Err(error) if !is_of_data(&error) => return Err(error),
                Err(error) => self.lose(file, error, trouble)?,
            }
        }
        if good.is_empty() {
            return if self.has_states { Ok(()) } else { Err(error) };
        }
        let mut together = self.of_files(part, good).await?;
        together.query.measures.retain(|measure| !trouble.columns.contains_key(&measure.name));
        let (rows, counted) = self.part(&together, None, definitions, spool.empty()).await?;
        spool.absorb(rows)?;
        seen.add(counted);
        Ok(())
    }

    /// Leaves the windows of a file as they were.
    ///
    /// # Errors
    /// `error`, if the log does not tell which those are.
    fn lose(&self, file: &Add, error: Error, trouble: &mut Trouble) -> Result<()> {
        let Some(extent) = self.time.as_ref().and_then(|time: &LoggedTime| time.extent(file)) else {
            return Err(error);
        };
        trouble.spans.extend(&extent);
        trouble.files.push((file.path.clone(), error.to_string()));
        Ok(())
    }

    async fn of_files(&self, part: &Part, files: Vec<Add>) -> Result<Part> {
        let mut selected = part.clone();
        selected.query.source = part.query.source.of_files(files.clone()).await?;
        selected.files = Some(files);
        Ok(selected)
    }

    /// Reads the columns of a part one by one. Those that fail are left out of all parts.
    async fn rescue_columns(
        &self,
        part: &Part,
        error: Error,
        definitions: &Definitions,
        (spool, seen, trouble): (&mut Spool, &mut Seen, &mut Trouble),
    ) -> Result<()> {
        let mut keys = part.clone();
        keys.query.measures.clear();
        // Without times, models and slices there is nothing.
        let (rows, counted) = match self.part(&keys, None, definitions, spool.empty()).await {
            Ok(read) => read,
            Err(other) if !is_of_data(&other) => return Err(other),
            Err(_) => return Err(error),
        };
        let mut read = rows;
        let mut failed = BTreeMap::new();
        for measure in &part.query.measures {
            let mut alone = part.clone();
            alone.query.measures = vec![measure.clone()];
            alone.takes = Takes::States;
            match self.part(&alone, None, definitions, spool.empty()).await {
                Ok((rows, _)) => read.absorb(rows)?,
                Err(error) if !is_of_data(&error) => return Err(error),
                Err(error) => {
                    failed.insert(measure.name.clone(), error.to_string());
                }
            }
        }
        // That no column reads is the file's fault; of a column that is new, it can be the column's.
        if part.takes == Takes::All && failed.len() == part.query.measures.len() {
            return Err(error);
        }
        for (column, error) in failed {
            trouble.columns.entry(column).or_insert(error);
        }
        seen.add(counted);
        spool.absorb(read)
    }
}

//! States on their way into the ledger: in memory while there is room, then in files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use limno_sql::window::Granularity;
use tempfile::TempDir;

use crate::Result;
use crate::ledger::{LedgerKey, LedgerRow, Role, from_batch, group_of, to_batch};

/// Rows of a batch in a file.
const BATCH: usize = 1024;

/// New rows of the ledger, by group.
#[derive(Debug)]
pub(super) struct Spool {
    unit: Option<Granularity>,
    limit: usize,
    size: usize,
    held: BTreeMap<String, Vec<LedgerRow>>,
    files: BTreeMap<String, Vec<PathBuf>>,
    folder: Option<TempDir>,
    /// Folders of spools that this one took over.
    others: Vec<TempDir>,
    spilled: usize,
    slice_values: BTreeMap<String, BTreeSet<Option<String>>>,
}

impl Spool {
    /// An empty spool that keeps about `limit` bytes in memory; windows have the length `unit`.
    #[must_use]
    pub(super) fn new(unit: Option<Granularity>, limit: usize) -> Self {
        let (held, files, slice_values, others) = Default::default();
        Self { unit, limit, size: 0, held, files, folder: None, others, spilled: 0, slice_values }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the rows do not fit in memory and a file cannot be written.
    pub(super) fn add(&mut self, row: LedgerRow) -> Result<()> {
        if let (Role::Input, None, Some((key, value))) = (row.key.role, &row.key.column, &row.key.slice) {
            self.slice_values.entry(key.clone()).or_default().insert(value.clone());
        }
        self.size += row.size();
        self.held.entry(group_of(&row.key, self.unit)).or_default().push(row);
        if self.size > self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        if self.folder.is_none() {
            self.folder = Some(TempDir::with_prefix("limno-states-")?);
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        for (group, rows) in std::mem::take(&mut self.held) {
            // Groups have names that are no file names.
            let path = folder.path().join(self.spilled.to_string());
            self.spilled += 1;
            let mut writer: Option<FileWriter<std::fs::File>> = None;
            for rows in rows.chunks(BATCH) {
                let batch = to_batch(rows, "")?;
                if writer.is_none() {
                    writer = Some(FileWriter::try_new(std::fs::File::create(&path)?, &batch.schema())?);
                }
                if let Some(writer) = &mut writer {
                    writer.write(&batch)?;
                }
            }
            if let Some(mut writer) = writer {
                writer.finish()?;
                self.files.entry(group).or_default().push(path);
            }
        }
        self.size = 0;
        Ok(())
    }

    /// A spool like this one, empty.
    #[must_use]
    pub(super) fn empty(&self) -> Self {
        Self::new(self.unit, self.limit)
    }

    /// Takes over all rows of another spool.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn absorb(&mut self, other: Self) -> Result<()> {
        for (group, files) in other.files {
            self.files.entry(group).or_default().extend(files);
        }
        self.others.extend(other.folder.into_iter().chain(other.others));
        for (key, values) in other.slice_values {
            self.slice_values.entry(key).or_default().extend(values);
        }
        for (group, rows) in other.held {
            self.held.entry(group).or_default().extend(rows);
        }
        self.size += other.size;
        if self.size > self.limit { self.spill() } else { Ok(()) }
    }

    /// The groups that have rows.
    #[must_use]
    pub(super) fn groups(&self) -> BTreeSet<String> {
        self.held.keys().chain(self.files.keys()).cloned().collect()
    }

    /// The values of each slice expression, by its key.
    #[must_use]
    pub(super) const fn slice_values(&self) -> &BTreeMap<String, BTreeSet<Option<String>>> {
        &self.slice_values
    }

    /// Takes the rows of a group; those about the same are merged.
    ///
    /// # Errors
    /// When a file does not read, or states do not merge.
    pub(super) fn take(&mut self, group: &str) -> Result<BTreeMap<LedgerKey, LedgerRow>> {
        let mut rows = BTreeMap::new();
        for path in self.files.remove(group).unwrap_or_default() {
            for batch in FileReader::try_new(std::fs::File::open(&path)?, None)? {
                for row in from_batch(&batch?)? {
                    insert(&mut rows, row)?;
                }
            }
            std::fs::remove_file(path)?;
        }
        for row in self.held.remove(group).unwrap_or_default() {
            self.size = self.size.saturating_sub(row.size());
            insert(&mut rows, row)?;
        }
        Ok(rows)
    }
}

/// Adds a row to others, merged with the one about the same.
///
/// # Errors
/// When the states do not merge.
pub(super) fn insert(rows: &mut BTreeMap<LedgerKey, LedgerRow>, row: LedgerRow) -> Result<()> {
    match rows.entry(row.key.clone()) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(row);
        }
        std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(&row)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use limno_metrics::column::{ColumnKind, ColumnOptions, ColumnState};

    use super::*;

    fn row(column: Option<&str>, window: i64, slice: Option<&str>, value: f64) -> LedgerRow {
        let mut state = ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric));
        state.observe_numbers(&[value], None).unwrap();
        LedgerRow {
            key: LedgerKey {
                role: Role::Input,
                column: column.map(str::to_owned),
                window: Some(window),
                model: None,
                slice: slice.map(|value| ("s".to_owned(), Some(value.to_owned()))),
            },
            definition: "d".to_owned(),
            rows: 1,
            state: column.map(|_| state.encode()),
        }
    }

    #[test]
    fn what_was_written_to_files_comes_back_the_same() {
        let day = 86_400_000_000;
        let rows = |spool: &mut Spool| {
            for step in 0..200 {
                let window = step % 40 * day;
                spool.add(row(None, window, Some(if step % 2 == 0 { "a" } else { "b" }), 0.0)).unwrap();
                spool.add(row(Some("x"), window, None, step as f64)).unwrap();
            }
        };
        let (mut held, mut spilled) =
            (Spool::new(Some(Granularity::Days(1)), usize::MAX), Spool::new(Some(Granularity::Days(1)), 4_000));
        rows(&mut held);
        rows(&mut spilled);
        assert!(held.folder.is_none() && spilled.files.len() > 1);
        assert_eq!(held.groups(), spilled.groups());
        assert_eq!(held.slice_values(), spilled.slice_values());
        assert_eq!(held.slice_values()["s"].len(), 2);
        for group in held.groups() {
            let expected = held.take(&group).unwrap();
            assert!(expected.values().any(|row| row.rows > 1));
            assert_eq!(spilled.take(&group).unwrap(), expected);
        }
        assert!(spilled.groups().is_empty());
    }
}

//! Prints rows for people (`table`) and for programs (`json`, `csv`).
//!
//! A table shortens what would not fit; JSON and CSV hold every value in full.

mod cell;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::csv::WriterBuilder as CsvWriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, JsonArray, WriterBuilder as JsonWriterBuilder, make_encoder};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use self::cell::cell_text;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For reading: fits the terminal, shortens long values
    #[default]
    Table,
    /// An array of objects whose keys are the column names; NaN and infinities become null
    Json,
    /// With a header; nested values are JSON text in a cell
    Csv,
}

/// How [`Format::Table`] is laid out.
#[derive(Debug, Clone, Copy, Default)]
pub struct TableOptions {
    /// Columns that do not fit this many characters follow in further tables below; none means no limit.
    pub width: Option<u16>,
    /// Columns without any value are named below the table instead of shown.
    pub hide_empty: bool,
}

/// Why rows could not be printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The output cannot be written to.
    #[error("cannot write the output: {0}")]
    Write(#[source] std::io::Error),
    /// A column has a type that the format cannot hold.
    #[error("cannot print the rows: {0}")]
    Rows(#[source] ArrowError),
}

impl OutputError {
    /// Whether the reader has gone away, as `head` does: nothing to complain about.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl From<std::io::Error> for OutputError {
    fn from(error: std::io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<ArrowError> for OutputError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Write(error),
            other => Self::Rows(other),
        }
    }
}

/// The width of the terminal on standard output, or nothing if that is no terminal.
pub fn terminal_width() -> Option<u16> {
    Table::new().width()
}

/// Prints `batches`, all of this `schema`. Without any rows, JSON is `[]`, and CSV and the table are their header.
///
/// # Errors
///
/// [`OutputError::Write`] if `out` refuses, [`OutputError::Rows`] for a type that the format cannot hold.
pub fn write_batches(
    out: &mut dyn Write,
    format: Format,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: TableOptions,
) -> Result<(), OutputError> {
    match format {
        Format::Table => write_table(out, schema, batches, options)?,
        Format::Json => write_json(out, batches)?,
        Format::Csv => write_csv(out, schema, batches)?,
    }
    Ok(out.flush()?)
}

fn write_json(out: &mut dyn Write, batches: &[RecordBatch]) -> Result<(), OutputError> {
    // The encoder writes NaN and infinities as null, at every depth.
    let mut writer = JsonWriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut *out);
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(writeln!(out)?)
}

fn write_csv(out: &mut dyn Write, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), OutputError> {
    let fields: Vec<Field> = schema.fields().iter().map(|field| flat_field(field)).collect();
    let flat_schema = Arc::new(Schema::new(fields));
    let mut writer = CsvWriterBuilder::new().with_header(true).build(&mut *out);
    // The header comes with the first batch, so that there is one even without rows.
    writer.write(&RecordBatch::new_empty(Arc::clone(&flat_schema)))?;
    for batch in batches {
        let columns = batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(
                |(field, column)| {
                    if field.data_type().is_nested() { json_cells(field, column) } else { Ok(Arc::clone(column)) }
                },
            )
            .collect::<Result<Vec<_>, ArrowError>>()?;
        writer.write(&RecordBatch::try_new(Arc::clone(&flat_schema), columns)?)?;
    }
    Ok(())
}

fn flat_field(field: &Field) -> Field {
    let data_type = if field.data_type().is_nested() { DataType::Utf8 } else { field.data_type().clone() };
    Field::new(field.name(), data_type, true)
}

/// Each value of a nested column as JSON text; a null stays null.
fn json_cells(field: &Arc<Field>, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let mut cells: Vec<Option<String>> = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        if column.is_null(row) {
            cells.push(None);
            continue;
        }
        let mut text = Vec::new();
        encoder.encode(row, &mut text);
        let text = String::from_utf8(text).map_err(|error| ArrowError::JsonError(error.to_string()))?;
        cells.push(Some(text));
    }
    Ok(Arc::new(StringArray::from(cells)))
}

/// One column of a table, ready to be laid out.
struct Column {
    header: String,
    is_number: bool,
    cells: Vec<String>,
    /// The most characters of any cell or of the header, up to [`Column::WIDEST`].
    width: usize,
}

impl Column {
    /// Wider columns are wrapped.
    const WIDEST: usize = 48;

    fn new(index: usize, field: &Field, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let header = cell::escaped(field.name());
        let mut cells = Vec::new();
        for batch in batches {
            let array = batch.column(index);
            for row in 0..array.len() {
                cells.push(cell_text(array, row)?);
            }
        }
        let width =
            cells.iter().chain([&header]).map(|text| text.chars().count()).max().unwrap_or_default().min(Self::WIDEST);
        Ok(Self { header, is_number: field.data_type().is_numeric(), cells, width })
    }
}

fn write_table(
    out: &mut dyn Write,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: TableOptions,
) -> Result<(), OutputError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut shown = Vec::new();
    let mut empty = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let is_empty = batches.iter().all(|batch| batch.column(index).logical_null_count() == batch.num_rows());
        if options.hide_empty && is_empty && rows > 0 {
            empty.push(cell::escaped(field.name()));
        } else {
            shown.push(Column::new(index, field, batches)?);
        }
    }
    // Repeated at the left of each further table, so that its rows can be told apart.
    let key = shown.iter().position(|column| column.header == "column_name").unwrap_or_default();
    for panel in panels(&shown, key, options.width) {
        let columns: Vec<&Column> = panel.into_iter().map(|index| &shown[index]).collect();
        writeln!(out, "{}", lay_out(&columns, rows, options.width))?;
    }
    if !empty.is_empty() {
        writeln!(out, "no value in: {}", empty.join(", "))?;
    }
    let unit = if rows == 1 { "row" } else { "rows" };
    Ok(writeln!(out, "{rows} {unit}")?)
}

/// Divides the columns among tables that fit the width, in their order.
fn panels(columns: &[Column], key: usize, width: Option<u16>) -> Vec<Vec<usize>> {
    if columns.is_empty() {
        return Vec::new();
    }
    let Some(width) = width else {
        return vec![(0..columns.len()).collect()];
    };
    // Each column has a space at both sides and a line after it; one more line is at the left.
    let cost = |index: usize| columns[index].width + 3;
    let room = usize::from(width).saturating_sub(1);
    let mut panels = vec![Vec::new()];
    let mut used = 0;
    for index in 0..columns.len() {
        let last = panels.len() - 1;
        if used + cost(index) <= room || panels[last].is_empty() {
            panels[last].push(index);
            used += cost(index);
        } else if index == key || cost(key) + cost(index) > room {
            panels.push(vec![index]);
            used = cost(index);
        } else {
            panels.push(vec![key, index]);
            used = cost(key) + cost(index);
        }
    }
    panels
}

fn lay_out(columns: &[&Column], rows: usize, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    // The width is the caller's to know; looking at standard output here would make the result depend on it.
    table.force_no_tty();
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    let aligned = |text: &str, column: &Column| {
        let cell = Cell::new(text);
        if column.is_number { cell.set_alignment(CellAlignment::Right) } else { cell }
    };
    table.set_header(columns.iter().map(|column| aligned(&column.header, column)));
    for row in 0..rows {
        table.add_row(columns.iter().map(|column| aligned(&column.cells[row], column)));
    }
    table
}

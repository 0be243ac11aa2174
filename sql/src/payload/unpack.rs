//! The kernel: payloads in, one row for each prediction out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Builder, ListArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;

use super::column::offsets;
use super::json::{Fault, Json, excerpt};
use super::rows::{Refusal, Rows};
use super::schema::{PayloadSchema, Side};
use super::view::HIDDEN_COLUMNS;
use super::{request, response};

/// What became of a row; null for one that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Its status is none of those that are kept. It is not parsed.
    Status,
    /// The log has it again.
    Duplicate,
    /// It does not unpack; `__reason` says why.
    Malformed,
}

impl Outcome {
    /// As `__outcome` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote; any other text is of a row that is not good either.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let known = [Self::Status, Self::Duplicate].into_iter().find(|outcome| outcome.as_str() == text);
        known.unwrap_or(Self::Malformed)
    }
}

/// Unpacks payloads one after the other into one list of rows for each.
///
/// The rows have the columns of the schema and then the four hidden ones. A payload that is refused as a whole is one
/// row of nulls; a row that is refused alone is one row of nulls among the others. Payloads without rows, an empty list
/// answered by an empty list, are an empty list.
#[derive(Debug)]
pub struct Unpacker {
    fields: Fields,
    requests: Rows,
    responses: Rows,
    /// Where the rows of each payload end.
    ends: Vec<usize>,
    outcomes: StringBuilder,
    reasons: StringBuilder,
    positions: Int32Builder,
    excerpts: StringBuilder,
    tape: Vec<u8>,
}

/// What an [`Unpacker`] made.
#[derive(Debug)]
pub struct Unpacked {
    /// A list of rows for each payload.
    pub rows: ListArray,
    /// How many values stood under keys that the schema does not have.
    pub ignored: u64,
}

impl Unpacker {
    /// An unpacker to the columns of `schema`.
    #[must_use]
    pub fn new(schema: &PayloadSchema) -> Self {
        Self {
            fields: row_fields(schema),
            requests: Rows::new(schema, Side::Request),
            responses: Rows::new(schema, Side::Response),
            ends: Vec::new(),
            outcomes: StringBuilder::new(),
            reasons: StringBuilder::new(),
            positions: Int32Builder::new(),
            excerpts: StringBuilder::new(),
            tape: Vec::new(),
        }
    }

    /// Unpacks the next payload. `codes` are the error codes of the log, which says there why it left a text out.
    pub fn push(&mut self, request: Option<&str>, response: Option<&str>, codes: Option<&str>) {
        self.requests.begin();
        self.responses.begin();
        let missing = |side| {
            let codes = codes.filter(|codes| !codes.is_empty()).map_or_else(String::new, |codes| format!(" ({codes})"));
            Fault(format!("the {side} is null{codes}"))
        };
        let read = match (request, response) {
            (None, _) => Err((missing(Side::Request), None)),
            (_, None) => Err((missing(Side::Response), None)),
            (Some(request), Some(response)) => self.read(request, response),
        };
        match read {
            Ok(rows) => self.accept(rows),
            Err((Fault(reason), text)) => {
                self.requests.reset();
                self.responses.reset();
                self.push_one(Some(Outcome::Malformed), Some(&reason), text.map(excerpt));
            }
        }
    }

    /// One row of nulls in the place of a payload that is not looked at.
    pub fn push_outcome(&mut self, outcome: Outcome) {
        self.requests.begin();
        self.responses.begin();
        self.push_one(Some(outcome), None, None);
    }

    fn push_one(&mut self, outcome: Option<Outcome>, reason: Option<&str>, excerpt: Option<&str>) {
        self.requests.pad(1);
        self.responses.pad(1);
        self.outcomes.append_option(outcome.map(Outcome::as_str));
        self.reasons.append_option(reason);
        self.positions.append_null();
        self.excerpts.append_option(excerpt);
        self.end(1);
    }

    fn end(&mut self, rows: usize) {
        self.ends.push(self.ends.last().copied().unwrap_or(0) + rows);
    }

    /// Reads both texts. An error comes with the text at fault.
    fn read<'t>(&mut self, request: &'t str, response: &'t str) -> Result<usize, (Fault, Option<&'t str>)> {
        let mut json = Json::new(request, std::mem::take(&mut self.tape));
        let asked = request::read(&mut json, &mut self.requests);
        self.tape = json.into_tape();
        let asked = asked.map_err(|fault| (within(Side::Request, fault), Some(request)))?;
        let mut json = Json::new(response, std::mem::take(&mut self.tape));
        let answered = response::read(&mut json, &mut self.responses);
        self.tape = json.into_tape();
        let answered = answered.map_err(|fault| (within(Side::Response, fault), Some(response)))?;
        if asked != answered {
            let fault = Fault(format!("the request has {asked} rows, the response {answered} predictions"));
            return Err((fault, Some(response)));
        }
        if i32::try_from(asked).is_err() {
            return Err((Fault(format!("the request has {asked} rows, more than a batch can have")), Some(request)));
        }
        Ok(asked)
    }

    /// Keeps the rows that were read, but for those that are refused.
    fn accept(&mut self, rows: usize) {
        let mut refused = std::mem::take(&mut self.requests.refused);
        refused.append(&mut self.responses.refused);
        // Of a row that is refused on both sides the request is told.
        refused.sort_by_key(|refusal| refusal.row);
        refused.dedup_by_key(|refusal| refusal.row);
        let mut done = 0;
        for Refusal { row, reason, excerpt } in refused {
            self.accept_good(done, row);
            self.requests.clear(row);
            self.responses.clear(row);
            self.outcomes.append_value(Outcome::Malformed.as_str());
            self.reasons.append_value(reason);
            self.excerpts.append_value(excerpt);
            self.append_position(row);
            done = row + 1;
        }
        self.accept_good(done, rows);
        self.end(rows);
    }

    fn accept_good(&mut self, from: usize, to: usize) {
        let rows = to.saturating_sub(from);
        self.outcomes.append_nulls(rows);
        self.reasons.append_nulls(rows);
        self.excerpts.append_nulls(rows);
        (from..to).for_each(|row| self.append_position(row));
    }

    fn append_position(&mut self, row: usize) {
        self.positions.append_option(i32::try_from(row).ok());
    }

    /// What was made.
    ///
    /// # Errors
    /// When it is more than one batch can hold.
    pub fn finish(mut self) -> Result<Unpacked> {
        let columns = self.requests.columns.into_iter().chain(self.responses.columns);
        let mut columns = columns.map(super::column::Column::finish).collect::<Result<Vec<_>>>()?;
        let hidden: [ArrayRef; 4] = [
            Arc::new(self.outcomes.finish()),
            Arc::new(self.reasons.finish()),
            Arc::new(self.positions.finish()),
            Arc::new(self.excerpts.finish()),
        ];
        columns.extend(hidden);
        let len = self.ends.last().copied().unwrap_or(0);
        if columns.iter().any(|column| column.len() != len) {
            return Err(exec_datafusion_err!("the columns of unpacked payloads differ in length, which is a defect"));
        }
        let rows = StructArray::try_new(self.fields.clone(), columns, None)?;
        let rows = ListArray::try_new(list_field(self.fields), offsets(&self.ends)?, Arc::new(rows), None)?;
        Ok(Unpacked { rows, ignored: self.requests.ignored + self.responses.ignored })
    }
}

fn within(side: Side, Fault(reason): Fault) -> Fault {
    if reason.starts_with("the ") { Fault(reason) } else { Fault(format!("{side}: {reason}")) }
}

/// The columns of an unpacked row.
pub(super) fn row_fields(schema: &PayloadSchema) -> Fields {
    let of_schema = schema.columns().iter().map(|column| Field::new(&column.name, column.data_type.data_type(), true));
    let hidden = HIDDEN_COLUMNS.iter().map(|name| {
        let is_position = *name == "__position";
        Field::new(*name, if is_position { DataType::Int32 } else { DataType::Utf8 }, true)
    });
    of_schema.chain(hidden).collect()
}

/// The items of the list of rows.
pub(super) fn list_field(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(fields), true))
}

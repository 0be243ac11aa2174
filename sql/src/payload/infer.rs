//! The schema that samples of requests and responses suggest.
//!
//! What comes out depends on the set of samples alone, not on their order: kinds are joined in a lattice, and columns
//! are ordered by name.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::DataFusionError;
use jiter::Peek;

use super::json::{Fault, Json};
use super::layout::Layout;
use super::request::{Key, Shape, one_of, without_rows};
use super::response::PREDICTIONS;
use super::schema::{Draft, PayloadSchema, PayloadType, ScalarType};
use crate::{Error, Result};

/// What values can be together. Null says nothing, a whole number is a double where others are, and all else that
/// differs is text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Null,
    Boolean,
    Whole,
    Double,
    Text,
    List(Box<Self>),
    /// Objects, and kinds that do not go together: JSON text.
    Json,
}

impl Kind {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Whole, Self::Double) | (Self::Double, Self::Whole) => Self::Double,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.join(*b))),
            (a, b) if a == b => a,
            _ => Self::Json,
        }
    }

    fn scalar(&self) -> Option<ScalarType> {
        match self {
            Self::Boolean => Some(ScalarType::Boolean),
            Self::Whole => Some(ScalarType::Int64),
            Self::Double => Some(ScalarType::Float64),
            Self::Text | Self::Null => Some(ScalarType::Text),
            Self::List(_) | Self::Json => None,
        }
    }

    fn data_type(&self) -> PayloadType {
        match self {
            Self::List(item) => item.scalar().map_or(PayloadType::TEXT, PayloadType::List),
            kind => kind.scalar().map_or(PayloadType::TEXT, PayloadType::Scalar),
        }
    }
}

/// A value of a sample.
#[derive(Debug)]
enum Sample {
    Value(Kind),
    /// Text is kept: among the parts of `dataframe_split` it names columns.
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Sample {
    fn read(json: &mut Json<'_>, peek: Peek, depth: usize) -> Result<Self, Fault> {
        Ok(match peek {
            // Deeper than rows of lists all is text, and only read over.
            Peek::Object if depth >= 4 => {
                json.skip(peek)?;
                Self::Value(Kind::Json)
            }
            Peek::Array if depth >= 6 => {
                json.skip(peek)?;
                Self::Value(Kind::Json)
            }
            Peek::Array => {
                let mut items = Vec::new();
                let mut item = json.array()?;
                while let Some(peek) = item {
                    items.push(Self::read(json, peek, depth + 1)?);
                    item = json.item()?;
                }
                Self::List(items)
            }
            Peek::Object => {
                let mut entries = Vec::new();
                let mut key = json.object()?.map(str::to_owned);
                while let Some(name) = key {
                    let peek = json.peek()?;
                    entries.push((name, Self::read(json, peek, depth + 1)?));
                    key = json.key()?.map(str::to_owned);
                }
                Self::Object(entries)
            }
            Peek::Null => {
                json.null()?;
                Self::Value(Kind::Null)
            }
            Peek::True | Peek::False => {
                json.boolean(peek)?;
                Self::Value(Kind::Boolean)
            }
            Peek::String => Self::Text(json.string()?.to_owned()),
            peek => {
                let start = json.position();
                json.double(peek)?;
                let is_whole = json.since(start).parse::<i64>().is_ok();
                Self::Value(if is_whole { Kind::Whole } else { Kind::Double })
            }
        })
    }

    fn of_text(text: &str) -> Result<Self, Fault> {
        let mut json = Json::new(text, Vec::new());
        let peek = json.peek()?;
        let sample = Self::read(&mut json, peek, 0)?;
        json.finish()?;
        Ok(sample)
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Value(kind) => kind.clone(),
            Self::Text(_) => Kind::Text,
            Self::Object(_) => Kind::Json,
            Self::List(items) => Kind::List(Box::new(items.iter().map(Self::kind).fold(Kind::Null, Kind::join))),
        }
    }
}

/// The columns of one side as far as they are known.
#[derive(Debug, Clone, Default)]
struct Columns {
    keyed: BTreeMap<String, Kind>,
    /// Of rows that are values without keys.
    value: Option<Kind>,
}

impl Columns {
    fn add(&mut self, key: &str, kind: Kind) {
        let known = self.keyed.entry(key.to_owned()).or_default();
        *known = std::mem::take(known).join(kind);
    }

    fn add_value(&mut self, kind: Kind) {
        self.value = Some(self.value.take().unwrap_or_default().join(kind));
    }

    fn join(&mut self, other: Self) {
        other.keyed.into_iter().for_each(|(key, kind)| self.add(&key, kind));
        if let Some(kind) = other.value {
            self.add_value(kind);
        }
    }

    fn rows(&mut self, rows: &[Sample]) -> usize {
        for row in rows {
            match row {
                Sample::Object(entries) => entries.iter().for_each(|(key, value)| self.add(key, value.kind())),
                row => self.add_value(row.kind()),
            }
        }
        rows.len()
    }

    fn columns(&mut self, entries: &[(String, Sample)]) -> Option<usize> {
        let mut lengths = entries.iter().map(|(_, values)| match values {
            Sample::List(items) => Some(items.len()),
            _ => None,
        });
        let first = lengths.next().unwrap_or(Some(0));
        if lengths.any(|length| length != first) {
            return None;
        }
        for (key, values) in entries {
            match values {
                Sample::List(items) => items.iter().for_each(|item| self.add(key, item.kind())),
                value => self.add(key, value.kind()),
            }
        }
        Some(first.unwrap_or(1))
    }

    /// `dataframe_split`; `None` if it is none.
    fn split(&mut self, sample: &Sample) -> Option<usize> {
        let entries = match sample {
            Sample::Object(entries) => entries,
            Sample::List(items) => match items.as_slice() {
                [Sample::Object(entries)] => entries,
                _ => return None,
            },
            Sample::Value(_) | Sample::Text(_) => return None,
        };
        let part = |name: &str| match entries.iter().find(|(key, _)| key == name) {
            Some((_, Sample::List(items))) => Some(items),
            _ => None,
        };
        let names: Option<Vec<&String>> = part("columns")?
            .iter()
            .map(|name| match name {
                Sample::Text(name) => Some(name),
                _ => None,
            })
            .collect();
        let (names, data) = (names?, part("data")?);
        for row in data {
            let Sample::List(values) = row else { return None };
            if values.len() != names.len() {
                return None;
            }
            names.iter().zip(values).for_each(|(name, value)| self.add(name, value.kind()));
        }
        Some(data.len())
    }

    fn drafts(self) -> Vec<Draft> {
        if self.keyed.is_empty() {
            let value = self.value.map(|kind| Draft { key: None, data_type: kind.data_type(), position: Some(0) });
            return value.into_iter().collect();
        }
        let keyed = self.keyed.into_iter();
        keyed.map(|(key, kind)| Draft { key: Some(key), data_type: kind.data_type(), position: None }).collect()
    }
}

/// Samples of requests and responses, and the schema that they suggest.
///
/// A column is boolean, bigint, double or string if all its values are, and a list of one of them if they are lists;
/// whole numbers among others are doubles, nulls alone are strings, and what does not go together is a string too.
/// Payloads that are refused as a whole, and rows of `dataframe_split` of the wrong length with theirs, suggest nothing. Rows that are lists are one column, `input` or `prediction`: their
/// values have no names.
#[derive(Debug, Clone, Default)]
pub struct Inference {
    requests: Columns,
    responses: Columns,
    payloads: u64,
}

impl Inference {
    /// Takes in the rows of a payload table whose status is among `statuses`.
    ///
    /// # Errors
    /// When the batch is not of this layout.
    pub fn observe(&mut self, layout: Layout, statuses: &[u16], batch: &RecordBatch) -> Result<()> {
        layout.check(&batch.schema())?;
        let column = |name: &str, data_type: &DataType| {
            let values = batch
                .column_by_name(name)
                .ok_or_else(|| Error::Payload { message: format!("there is no column `{name}`") })?;
            arrow::compute::cast(values, data_type).map_err(|error| Error::from(DataFusionError::from(error)))
        };
        let (requests, responses) = (column("request", &DataType::Utf8)?, column("response", &DataType::Utf8)?);
        let status = column("status_code", &DataType::Int64)?;
        let status = status.as_primitive::<Int64Type>();
        let texts = requests.as_string::<i32>().iter().zip(responses.as_string::<i32>());
        for (row, texts) in texts.enumerate() {
            let is_kept = status.is_valid(row) && u16::try_from(status.value(row)).is_ok_and(|s| statuses.contains(&s));
            if let (true, (Some(request), Some(response))) = (is_kept, texts) {
                self.observe_payload(request, response);
            }
        }
        Ok(())
    }

    /// Takes in one payload; it suggests nothing if it does not unpack.
    pub fn observe_payload(&mut self, request: &str, response: &str) {
        let (mut requests, mut responses) = (Columns::default(), Columns::default());
        let asked = read_request(request, &mut requests);
        let answered = read_response(response, &mut responses);
        if let (Ok(asked), Ok(answered)) = (asked, answered)
            && asked == answered
        {
            self.requests.join(requests);
            self.responses.join(responses);
            self.payloads += 1;
        }
    }

    /// The schema.
    ///
    /// # Errors
    /// When no payload unpacked.
    pub fn schema(&self) -> Result<PayloadSchema> {
        if self.payloads == 0 {
            return Err(Error::Payload {
                message: "no payload unpacks, so their columns are not known; name the columns, or the model's MLmodel"
                    .to_owned(),
            });
        }
        PayloadSchema::of_drafts(self.requests.clone().drafts(), self.responses.clone().drafts())
    }
}

fn read_request(text: &str, columns: &mut Columns) -> Result<usize, Fault> {
    let Sample::Object(entries) = Sample::of_text(text)? else {
        return Err(Fault("the request is no object".to_owned()));
    };
    let mut found: Option<(Shape, Sample)> = None;
    let mut language = None;
    for (key, sample) in entries {
        match Key::of(&key) {
            Key::Rows(shape) => {
                one_of(found.as_ref().map(|(shape, _)| *shape), shape)?;
                found = Some((shape, sample));
            }
            Key::Language(name) => language = Some(name),
            Key::Other => {}
        }
    }
    let (shape, sample) = found.ok_or_else(|| without_rows(language))?;
    let rows = match (shape, &sample) {
        (Shape::Split, sample) => columns.split(sample),
        (_, Sample::List(rows)) => Some(columns.rows(rows)),
        (Shape::Inputs, Sample::Object(entries)) => columns.columns(entries),
        _ => None,
    };
    rows.ok_or_else(|| Fault(format!("`{}` holds no rows", shape.key())))
}

fn read_response(text: &str, columns: &mut Columns) -> Result<usize, Fault> {
    let Sample::Object(entries) = Sample::of_text(text)? else {
        return Err(Fault("the response is no object".to_owned()));
    };
    let sample = entries.into_iter().find(|(key, _)| key == PREDICTIONS).map(|(_, sample)| sample);
    match sample {
        Some(Sample::List(rows)) => Some(columns.rows(&rows)),
        Some(Sample::Object(entries)) => columns.columns(&entries),
        Some(Sample::Value(Kind::Null)) | None => None,
        Some(value) => {
            columns.add_value(value.kind());
            Some(1)
        }
    }
    .ok_or_else(|| Fault(format!("`{PREDICTIONS}` holds no rows")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(payloads: &[(&str, &str)]) -> Result<String> {
        let read = |payloads: &mut dyn Iterator<Item = &(&str, &str)>| {
            let mut inference = Inference::default();
            payloads.for_each(|(request, response)| inference.observe_payload(request, response));
            inference.schema()
        };
        let schema = read(&mut payloads.iter());
        if let (Ok(forward), Ok(backward)) = (&schema, read(&mut payloads.iter().rev())) {
            assert_eq!(*forward, backward, "the order of samples decides");
        }
        schema.map(|schema| schema.to_string())
    }

    #[test]
    fn columns_are_the_union_by_name_whatever_the_shape() {
        let schema = infer(&[
            (r#"{"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1]]}}"#, r#"{"predictions": [1]}"#),
            (r#"{"dataframe_records": [{"c": null, "a": 2.5}, {"d": true}]}"#, r#"{"predictions": [0.5, null]}"#),
            (r#"{"inputs": {"e": [[1, 2], [3.5]], "a": [1, 2]}}"#, r#"{"predictions": [1, 2]}"#),
            (r#"{"instances": [{"f": {"x": 1}, "b": 7, "g": 99999999999999999999}]}"#, r#"{"predictions": [1]}"#),
        ]);
        assert_eq!(
            schema.unwrap(),
            "a double, b string, c string, d boolean, e array<double>, f string, g double → prediction double"
        );
    }

    #[test]
    fn values_without_keys_are_one_column() {
        let schema = infer(&[
            (r#"{"instances": [[1, 2], [3]]}"#, r#"{"predictions": [[0.1, 0.9], [1, 0]]}"#),
            (r#"{"inputs": [[1]]}"#, r#"{"predictions": [[0.5]], "databricks_output": {"trace": 1}}"#),
        ]);
        assert_eq!(schema.unwrap(), "input array<bigint> → prediction array<double>");
        let schema = infer(&[(r#"{"inputs": [{"a": 1}]}"#, r#"{"predictions": [{"a": 1, "p": "x"}]}"#)]);
        assert_eq!(schema.unwrap(), "a bigint → prediction_a bigint, p string");
        let schema = infer(&[(r#"{"inputs": {"a": [1]}}"#, r#"{"predictions": {"q": [1.5], "p": ["x"]}}"#)]);
        assert_eq!(schema.unwrap(), "a bigint → p string, q double");
    }

    #[test]
    fn what_is_refused_suggests_nothing() {
        let good = (r#"{"inputs": {"a": [1]}}"#, r#"{"predictions": [1]}"#);
        for bad in [
            (r#"{"inputs": {"z": [1]}}"#, "not json"),
            (r#"{"inputs": {"z": [1, 2]}}"#, r#"{"predictions": [1]}"#),
            (r#"{"inputs": {"z": [1], "y": [1, 2]}}"#, r#"{"predictions": [1]}"#),
            (r#"{"messages": [{"z": 1}]}"#, r#"{"choices": []}"#),
            (r#"{"inputs": {"z": [1]}, "instances": [1]}"#, r#"{"predictions": [1]}"#),
        ] {
            assert_eq!(infer(&[good, bad]).unwrap(), "a bigint → prediction bigint", "{bad:?}");
            assert!(infer(&[bad]).unwrap_err().to_string().starts_with("no payload unpacks"));
        }
    }
}

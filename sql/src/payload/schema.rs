//! The columns that a payload unpacks to: names, types, and where in the JSON their values stand.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

use super::view::{HIDDEN_COLUMNS, META_COLUMNS};
use crate::{Error, Result};

/// The name of a column of predictions that have no name of their own.
pub const PREDICTION: &str = "prediction";
/// The name of the one column of requests whose rows are values without a name.
pub const INPUT: &str = "input";

/// The type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScalarType {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits.
    Int64,
    /// A double.
    Float64,
    /// Text: of a string its content, of any other value its JSON without white space.
    Text,
}

/// The type of a payload column. It is written as Spark writes it: `bigint`, `array<double>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PayloadType {
    /// One value a row.
    Scalar(ScalarType),
    /// A list of values a row.
    List(ScalarType),
}

impl PayloadType {
    pub(super) const TEXT: Self = Self::Scalar(ScalarType::Text);

    /// The Arrow type: Boolean, Int64, Float64, Utf8, or a List of one of them.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            Self::Scalar(item) => item.data_type(),
            Self::List(item) => DataType::List(item.field()),
        }
    }

    /// Arrays of what is no plain value become text as a whole.
    fn list_of(item: Self, text: &str) -> Self {
        match item {
            // A text that stands for a nested type: the array around it is JSON text too.
            Self::Scalar(ScalarType::Text) if !is_plain(text) => Self::TEXT,
            Self::Scalar(item) => Self::List(item),
            Self::List(_) => Self::TEXT,
        }
    }
}

impl ScalarType {
    /// The Arrow type.
    #[must_use]
    pub const fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }

    pub(super) fn field(self) -> Arc<Field> {
        Arc::new(Field::new_list_field(self.data_type(), true))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int64 => "bigint",
            Self::Float64 => "double",
            Self::Text => "string",
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(item) => item.fmt(f),
            Self::List(item) => write!(f, "array<{item}>"),
        }
    }
}

/// Spark's name of a type without its parameters, in small letters.
fn head(text: &str) -> String {
    text.split(['(', '<']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether what follows a type's name is what may follow it: nothing, a length or precision in parentheses, or the types
/// that it is made of, and every bracket is closed.
fn has_fitting_parameters(text: &str) -> bool {
    let Some(start) = text.find(['(', '<']) else { return true };
    let mut open = Vec::new();
    for (at, character) in text.char_indices().skip_while(|(at, _)| *at < start) {
        let is_fitting = match character {
            '(' | '<' => {
                open.push(character);
                true
            }
            ')' => open.pop() == Some('('),
            '>' => open.pop() == Some('<'),
            _ => true,
        };
        let is_last = at + character.len_utf8() == text.len();
        if !is_fitting || open.is_empty() != is_last {
            return false;
        }
    }
    let opening = text.get(start..=start);
    match head(text).as_str() {
        "decimal" | "dec" | "numeric" | "varchar" | "char" => opening == Some("("),
        head => !is_plain(head) && head != "variant" && opening == Some("<"),
    }
}

/// Whether a type is one value, and not made of others.
fn is_plain(text: &str) -> bool {
    !matches!(head(text).as_str(), "array" | "struct" | "map" | "variant")
}

impl FromStr for PayloadType {
    type Err = Error;

    /// Reads a Spark type. Dates, timestamps and binary are text in JSON and stay it; decimals are read as doubles;
    /// structs, maps, variants, and arrays of those or of arrays become JSON text.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if !has_fitting_parameters(text) {
            return Err(unknown_type(text));
        }
        let item = match head(text).as_str() {
            "boolean" => ScalarType::Boolean,
            "tinyint" | "byte" | "smallint" | "short" | "int" | "integer" | "bigint" | "long" => ScalarType::Int64,
            "float" | "real" | "double" | "decimal" | "dec" | "numeric" => ScalarType::Float64,
            "string" | "varchar" | "char" | "date" | "timestamp" | "timestamp_ntz" | "timestamp_ltz" | "binary"
            | "struct" | "map" | "variant" => ScalarType::Text,
            "array" => {
                let inner = text.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
                let inner = inner.ok_or_else(|| unknown_type(text))?.trim();
                return Ok(Self::list_of(inner.parse()?, inner));
            }
            _ => return Err(unknown_type(text)),
        };
        Ok(Self::Scalar(item))
    }
}

fn unknown_type(text: &str) -> Error {
    Error::Payload {
        message: format!("{text:?} is not a type, write one such as double, bigint, string or array<double>"),
    }
}

impl From<PayloadType> for String {
    fn from(data_type: PayloadType) -> Self {
        data_type.to_string()
    }
}

impl TryFrom<String> for PayloadType {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Which of the two texts of a payload row holds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    Response,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

/// A column of the unpacked table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadColumn {
    /// Its name in the unpacked table.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: PayloadType,
    /// Where its values stand.
    pub side: Side,
    /// Its key in the JSON; `None` if its values have none: they are the rows, or stand at a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its position among the columns of its side, for rows that are lists; `None` if no order is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

/// The columns that the rows of a payload table unpack to, those of requests first.
///
/// It is made once, [`of_signature`](Self::of_signature) of a model, [`of_columns`](Self::of_columns) that a user
/// named, or by [`Inference`](super::Inference), and then kept: as JSON it reads back to the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct PayloadSchema {
    columns: Vec<PayloadColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    columns: Vec<PayloadColumn>,
}

impl TryFrom<Unchecked> for PayloadSchema {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        Self::checked(unchecked.columns)
    }
}

/// A column before it has a name in the table.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) key: Option<String>,
    pub(super) data_type: PayloadType,
    pub(super) position: Option<usize>,
}

impl PayloadSchema {
    /// The columns, those of requests first.
    #[must_use]
    pub fn columns(&self) -> &[PayloadColumn] {
        &self.columns
    }

    /// The columns of one side.
    pub fn side(&self, side: Side) -> impl Iterator<Item = &PayloadColumn> {
        self.columns.iter().filter(move |column| column.side == side)
    }

    /// The schema of columns that a user named, with Spark's names of their types, in the order in which rows that are
    /// lists hold them. One response column takes predictions without a name too.
    ///
    /// # Errors
    /// When a type is not known, a name comes twice or is empty, or a side has no column.
    pub fn of_columns(requests: &[(&str, &str)], responses: &[(&str, &str)]) -> Result<Self> {
        let drafts = |columns: &[(&str, &str)]| -> Result<Vec<Draft>> {
            columns
                .iter()
                .enumerate()
                .map(|(position, (name, data_type))| {
                    let data_type = data_type
                        .parse()
                        .map_err(|error| Error::Payload { message: format!("column `{name}`: {error}") })?;
                    Ok(Draft { key: Some((*name).to_owned()), data_type, position: Some(position) })
                })
                .collect()
        };
        Self::of_drafts(drafts(requests)?, drafts(responses)?)
    }

    /// Names the columns. A request column with a name of ours is called `request_<name>`. A response column whose name
    /// is ours or a request column's is called `prediction_<name>`. If that is taken too, the prefix comes again.
    pub(super) fn of_drafts(requests: Vec<Draft>, responses: Vec<Draft>) -> Result<Self> {
        let mut taken: BTreeSet<String> =
            META_COLUMNS.iter().chain(&HIDDEN_COLUMNS).map(|name| (*name).to_owned()).collect();
        let mut columns = Vec::with_capacity(requests.len() + responses.len());
        for (side, drafts, prefix, unnamed) in
            [(Side::Request, requests, "request", INPUT), (Side::Response, responses, PREDICTION, PREDICTION)]
        {
            let several = drafts.len() > 1;
            let wanted: Vec<String> = drafts
                .iter()
                .enumerate()
                .map(|(index, draft)| match &draft.key {
                    Some(key) => key.clone(),
                    None if several => format!("{unnamed}_{index}"),
                    None => unnamed.to_owned(),
                })
                .collect();
            let ours: BTreeSet<&String> = wanted.iter().collect();
            if ours.len() < wanted.len() {
                let twice =
                    wanted.iter().enumerate().find(|(index, name)| wanted.iter().take(*index).any(|n| n == *name));
                let name = twice.map_or("", |(_, name)| name);
                return Err(Error::Payload { message: format!("the {side} has the column `{name}` twice") });
            }
            // Who keeps its name goes first, so that a prefix never takes it away.
            let mut names: Vec<Option<String>> =
                wanted.iter().map(|name| (!taken.contains(name)).then(|| name.clone())).collect();
            taken.extend(names.iter().flatten().cloned());
            for (name, wanted) in names.iter_mut().zip(&wanted).filter(|(name, _)| name.is_none()) {
                let mut free = format!("{prefix}_{wanted}");
                while taken.contains(&free) {
                    free = format!("{prefix}_{free}");
                }
                taken.insert(free.clone());
                *name = Some(free);
            }
            for (draft, name) in drafts.into_iter().zip(names.into_iter().flatten()) {
                let Draft { key, data_type, position } = draft;
                columns.push(PayloadColumn { name, data_type, side, key, position });
            }
        }
        Self::checked(columns)
    }

    fn checked(columns: Vec<PayloadColumn>) -> Result<Self> {
        let refused = |message: String| Err(Error::Payload { message });
        if !columns.is_sorted_by_key(|column| column.side) {
            return refused("the columns of requests come before those of responses".to_owned());
        }
        for side in [Side::Request, Side::Response] {
            let of_side: Vec<_> = columns.iter().filter(|column| column.side == side).collect();
            if of_side.is_empty() {
                return refused(format!("the {side} has no columns"));
            }
            let keys: BTreeSet<_> = of_side.iter().filter_map(|column| column.key.as_ref()).collect();
            if keys.len() < of_side.iter().filter(|column| column.key.is_some()).count() {
                return refused(format!("two columns of the {side} have one key"));
            }
            let positions: BTreeSet<_> = of_side.iter().filter_map(|column| column.position).collect();
            let are_in_order = positions.iter().copied().eq(0..of_side.len());
            if !positions.is_empty() && !are_in_order {
                return refused(format!(
                    "the positions of the columns of the {side} are not 0 to {}",
                    of_side.len() - 1
                ));
            }
            if of_side.len() > 1 && of_side.iter().any(|column| column.key.is_none() && column.position.is_none()) {
                return refused(format!("a column of the {side} has neither key nor position"));
            }
        }
        let mut names = BTreeSet::new();
        for column in &columns {
            let name = column.name.as_str();
            if name.is_empty() || !names.insert(name) || META_COLUMNS.contains(&name) || HIDDEN_COLUMNS.contains(&name)
            {
                return refused(format!("`{name}` cannot be the name of a payload column: empty, taken, or ours"));
            }
        }
        Ok(Self { columns })
    }
}

impl fmt::Display for PayloadSchema {
    /// `age double, income double → prediction bigint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, column) in self.columns.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|index| self.columns.get(index));
            f.write_str(match before {
                None => "",
                Some(before) if before.side == column.side => ", ",
                Some(_) => " → ",
            })?;
            write!(f, "{} {}", column.name, column.data_type)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(schema: &PayloadSchema) -> Vec<&str> {
        schema.columns().iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn types_are_those_of_spark() {
        for (text, expected) in [
            ("bigint", "bigint"),
            ("LONG", "bigint"),
            ("int", "bigint"),
            ("float", "double"),
            ("decimal(10,2)", "double"),
            ("boolean", "boolean"),
            ("varchar(20)", "string"),
            ("timestamp", "string"),
            ("binary", "string"),
            ("array<int>", "array<bigint>"),
            ("array< string >", "array<string>"),
            ("array<array<double>>", "string"),
            ("array<struct<a:int>>", "string"),
            ("map<string,int>", "string"),
            ("struct<a:int>", "string"),
        ] {
            let read: PayloadType = text.parse().unwrap();
            assert_eq!(read.to_string(), expected, "{text}");
            assert_eq!(read.to_string().parse::<PayloadType>().unwrap(), read);
        }
        for text in [
            "",
            "number",
            "array",
            "array<",
            "array<number>",
            "map<",
            "map<string,array<int>",
            "struct<a:int>>",
            "double(3)",
            "bigint<string>",
            "decimal(10",
            "decimal<10>",
            "array<int> x",
        ] {
            let error = text.parse::<PayloadType>().unwrap_err().to_string();
            assert!(error.contains("is not a type"), "{text}: {error}");
        }
    }

    #[test]
    fn names_give_way_to_ours_and_to_those_of_requests() {
        let schema = PayloadSchema::of_columns(
            &[("status_code", "int"), ("age", "double"), ("request_status_code", "int"), ("__reason", "string")],
            &[("age", "double"), ("model_id", "string"), ("score", "double")],
        )
        .unwrap();
        assert_eq!(
            names(&schema),
            [
                "request_request_status_code",
                "age",
                "request_status_code",
                "request___reason",
                "prediction_age",
                "prediction_model_id",
                "score"
            ]
        );
        assert_eq!(schema.columns()[4].key.as_deref(), Some("age"));
    }

    #[test]
    fn it_reads_back_from_json_to_the_same() {
        let schema = PayloadSchema::of_columns(&[("a", "double"), ("b", "array<bigint>")], &[("p", "string")]).unwrap();
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(
            json,
            r#"{"columns":[{"name":"a","type":"double","side":"request","key":"a","position":0},{"name":"b","type":"array<bigint>","side":"request","key":"b","position":1},{"name":"p","type":"string","side":"response","key":"p","position":0}]}"#
        );
        assert_eq!(serde_json::from_str::<PayloadSchema>(&json).unwrap(), schema);
        assert_eq!(schema.to_string(), "a double, b array<bigint> → p string");
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let say = |requests: &[(&str, &str)], responses: &[(&str, &str)]| {
            PayloadSchema::of_columns(requests, responses).unwrap_err().to_string()
        };
        assert_eq!(say(&[], &[("p", "double")]), "the request has no columns");
        assert_eq!(say(&[("a", "double")], &[]), "the response has no columns");
        assert_eq!(say(&[("a", "int"), ("a", "int")], &[("p", "int")]), "the request has the column `a` twice");
        assert!(say(&[("a", "money")], &[("p", "int")]).starts_with("column `a`: \"money\" is not a type"));
        let json = r#"{"columns":[{"name":"__outcome","type":"double","side":"request","key":"a"},{"name":"p","type":"double","side":"response"}]}"#;
        assert!(serde_json::from_str::<PayloadSchema>(json).unwrap_err().to_string().contains("`__outcome`"));
    }
}

//! Requests: the four shapes in which a model takes its rows.

use jiter::Peek;

use super::json::{Fault, Json, describe};
use super::rows::Rows;

/// Keys of the bodies that language models take. There is no row in them.
const LANGUAGE: [&str; 3] = ["messages", "prompt", "input"];

/// Which key holds the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Split,
    Records,
    Instances,
    Inputs,
}

impl Shape {
    pub(super) fn of_key(key: &str) -> Option<Self> {
        match key {
            "dataframe_split" => Some(Self::Split),
            "dataframe_records" => Some(Self::Records),
            "instances" => Some(Self::Instances),
            "inputs" => Some(Self::Inputs),
            _ => None,
        }
    }

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Split => "dataframe_split",
            Self::Records => "dataframe_records",
            Self::Instances => "instances",
            Self::Inputs => "inputs",
        }
    }
}

/// What a key at the top of a request is to us.
pub(super) enum Key {
    Rows(Shape),
    /// Of a language model.
    Language(&'static str),
    /// `params`, `client_request_id` and whatever else may stand beside the rows.
    Other,
}

impl Key {
    pub(super) fn of(key: &str) -> Self {
        match Shape::of_key(key) {
            Some(shape) => Self::Rows(shape),
            None => LANGUAGE.iter().find(|name| **name == key).map_or(Self::Other, |name| Self::Language(name)),
        }
    }
}

/// That a request holds just one of the shapes.
pub(super) fn one_of(before: Option<Shape>, shape: Shape) -> Result<(), Fault> {
    match before {
        None => Ok(()),
        Some(before) if before == shape => Err(Fault(format!("the request has `{}` twice", shape.key()))),
        Some(before) => Err(Fault(format!("the request has both `{}` and `{}`", before.key(), shape.key()))),
    }
}

/// Why a request without rows has none.
pub(super) fn without_rows(language: Option<&str>) -> Fault {
    match language {
        Some(key) => Fault(format!("the request has the shape `{key}` of a language model, which holds no rows")),
        None => Fault("the request has none of dataframe_split, dataframe_records, instances and inputs".to_owned()),
    }
}

/// Reads a request and answers how many rows it has.
pub(super) fn read(json: &mut Json<'_>, rows: &mut Rows) -> Result<usize, Fault> {
    let peek = json.peek()?;
    if peek != Peek::Object {
        json.skip(peek)?;
        return Err(Fault(format!("the request is {}, an object is expected", describe(peek))));
    }
    let mut found: Option<(Shape, usize)> = None;
    let mut language = None;
    let mut key = json.object()?.map(Key::of);
    while let Some(this) = key {
        let peek = json.peek()?;
        match this {
            Key::Rows(shape) => {
                one_of(found.map(|(shape, _)| shape), shape)?;
                found = Some((shape, read_shape(json, peek, shape, rows)?));
            }
            Key::Language(name) => {
                json.skip(peek)?;
                language = Some(name);
            }
            Key::Other => {
                json.skip(peek)?;
            }
        }
        key = json.key()?.map(Key::of);
    }
    json.finish()?;
    found.map(|(_, rows)| rows).ok_or_else(|| without_rows(language))
}

fn read_shape(json: &mut Json<'_>, peek: Peek, shape: Shape, rows: &mut Rows) -> Result<usize, Fault> {
    match (shape, peek) {
        (Shape::Split, _) => read_split(json, peek, rows),
        (_, Peek::Array) => rows.read_rows(json),
        (Shape::Inputs, Peek::Object) => rows.read_columns(json, shape.key()),
        _ => Err(unexpected(shape.key(), peek, if shape == Shape::Inputs { "a list or an object" } else { "a list" })),
    }
}

pub(super) fn unexpected(key: &str, peek: Peek, wanted: &str) -> Fault {
    Fault(format!("`{key}` is {}, {wanted} is expected", describe(peek)))
}

/// `{"index": …, "columns": …, "data": …}` in any order; an example of the documentation wraps it in a list.
fn read_split(json: &mut Json<'_>, peek: Peek, rows: &mut Rows) -> Result<usize, Fault> {
    let key = Shape::Split.key();
    if peek != Peek::Array {
        return read_split_object(json, peek, rows);
    }
    let peek = json.array()?.ok_or_else(|| Fault(format!("`{key}` is an empty list, an object is expected")))?;
    let count = read_split_object(json, peek, rows)?;
    match json.item()? {
        None => Ok(count),
        Some(_) => Err(Fault(format!("`{key}` is a list of several objects, one is expected"))),
    }
}

fn read_split_object(json: &mut Json<'_>, peek: Peek, rows: &mut Rows) -> Result<usize, Fault> {
    let key = Shape::Split.key();
    if peek != Peek::Object {
        return Err(unexpected(key, peek, "an object"));
    }
    let twice = |part: &str| Err(Fault(format!("`{key}` has `{part}` twice")));
    let (mut has_names, mut data, mut count) = (false, None, None);
    let mut part = json.object()?.map(Part::of);
    while let Some(this) = part {
        let peek = json.peek()?;
        match this {
            Part::Columns if has_names => return twice("columns"),
            Part::Data if count.is_some() || data.is_some() => return twice("data"),
            Part::Columns if peek != Peek::Array => return Err(unexpected("columns", peek, "a list of names")),
            Part::Columns => {
                rows.read_names(json)?;
                has_names = true;
            }
            Part::Data if peek != Peek::Array => return Err(unexpected("data", peek, "a list")),
            Part::Data if has_names => count = Some(rows.read_split(json)?),
            // Without names the values have no columns yet.
            Part::Data => data = Some(json.skip(peek)?),
            Part::Other => {
                json.skip(peek)?;
            }
        }
        part = json.key()?.map(Part::of);
    }
    match (has_names, data, count) {
        (false, ..) => Err(Fault(format!("`{key}` has no `columns`"))),
        (true, _, Some(count)) => Ok(count),
        (true, Some(data), None) => {
            let mut json = Json::new(data, Vec::new());
            json.peek()?;
            rows.read_split(&mut json)
        }
        (true, None, None) => Err(Fault(format!("`{key}` has no `data`"))),
    }
}

/// A part of `dataframe_split`.
enum Part {
    Columns,
    Data,
    /// The index, which says nothing about the rows.
    Other,
}

impl Part {
    fn of(key: &str) -> Self {
        match key {
            "columns" => Self::Columns,
            "data" => Self::Data,
            _ => Self::Other,
        }
    }
}

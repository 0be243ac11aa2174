//! What several stories share: the program, JSON whose numbers lose no bit, the golden numbers, Parquet files.
#![cfg(test)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;

/// Runs the program with `arguments` in the folder of the tests, without any of our variables.
pub(crate) fn limno(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_limno-under-test"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .expect("the program starts")
}

/// The standard output of a call that must succeed.
pub(crate) fn limno_ok(arguments: &[&str]) -> String {
    let output = limno(arguments);
    assert!(
        output.status.success(),
        "limno {arguments:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The rows of `limno compare --format json`, with more flags.
pub(crate) fn compare(reference: &Path, current: &Path, flags: &[&str]) -> Rows {
    let mut arguments = vec!["compare", text(reference), text(current), "--format", "json"];
    arguments.extend(flags);
    Rows(match Json::parse(&limno_ok(&arguments)) {
        Json::Array(rows) => rows,
        other => panic!("expected an array of rows, found {other:?}"),
    })
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A file among the golden numbers.
pub(crate) fn golden(name: &str) -> PathBuf {
    limno_fixtures::paths::golden_dir().join(name)
}

/// A JSON file among the golden numbers.
pub(crate) fn golden_json(name: &str) -> Json {
    Json::parse(&std::fs::read_to_string(golden(name)).expect("a golden file"))
}

/// Writes `batch` as one Parquet file.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch) {
    let file = File::create(path).expect("a new file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("rows");
    writer.close().expect("a footer");
}

/// Rows that the program printed.
#[derive(Debug)]
pub(crate) struct Rows(pub(crate) Vec<Json>);

impl Rows {
    /// The row of a column.
    pub(crate) fn column(&self, name: &str) -> &Json {
        let row = self.0.iter().find(|row| row.at("column_name").as_str() == Some(name));
        row.unwrap_or_else(|| panic!("no row for {name}"))
    }
}

/// A JSON value whose numbers are kept as they are written: `f64::from_str` rounds them right, which fast JSON
/// parsers do not promise.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Parses a document.
    pub(crate) fn parse(document: &str) -> Self {
        let mut parser = Parser { rest: document };
        let value = parser.value();
        parser.skip_space();
        assert!(parser.rest.is_empty(), "more after the document: {:.40}", parser.rest);
        value
    }

    /// The member at a dotted path; null where there is none.
    pub(crate) fn at(&self, path: &str) -> &Self {
        const NULL: &Json = &Json::Null;
        path.split('.').fold(self, |value, name| match value {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map_or(NULL, |(_, value)| value),
            _ => NULL,
        })
    }

    /// The number, if it is one. The golden files write infinities as strings.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.parse().expect("a number")),
            Self::String(text) if text == "inf" => Some(f64::INFINITY),
            Self::String(text) if text == "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    /// The number at a path that must have one.
    pub(crate) fn number(&self, path: &str) -> f64 {
        self.at(path).as_f64().unwrap_or_else(|| panic!("no number at {path}"))
    }

    /// The number as it is written; empty if it is none.
    pub(crate) fn as_number(&self) -> &str {
        if let Self::Number(number) = self { number } else { "" }
    }

    /// The text, if it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The members of an array.
    pub(crate) fn items(&self) -> &[Self] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    /// The members of an object.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        if let Self::Object(members) = self { members } else { &[] }
    }
}

/// A plain recursive parser. It reads what our program and Python write, and panics on anything else.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) {
        assert!(self.take(token), "expected {token} at {:.40}", self.rest);
    }

    fn value(&mut self) -> Json {
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'{') => Json::Object(self.list("{", "}", |parser| {
                parser.skip_space();
                let key = parser.string();
                parser.expect(":");
                (key, parser.value())
            })),
            Some(b'[') => Json::Array(self.list("[", "]", Self::value)),
            Some(b'"') => Json::String(self.string()),
            _ if self.take("null") => Json::Null,
            _ if self.take("true") => Json::Bool(true),
            _ if self.take("false") => Json::Bool(false),
            _ => Json::Number(self.number().to_owned()),
        }
    }

    fn list<T>(&mut self, open: &str, close: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.expect(open);
        let mut items = Vec::new();
        if !self.take(close) {
            loop {
                items.push(item(self));
                if self.take(close) {
                    break;
                }
                self.expect(",");
            }
        }
        items
    }

    fn number(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        assert!(number.parse::<f64>().is_ok(), "not a number: {:.40}", self.rest);
        self.rest = rest;
        number
    }

    /// Strings have escapes of several kinds, but no digits to lose: serde does them.
    fn string(&mut self) -> String {
        let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let string = strings.next().expect("a string").expect("a string");
        self.rest = &self.rest[strings.byte_offset()..];
        string
    }
}

#[test]
fn numbers_keep_every_bit() {
    let json =
        Json::parse(r#" [ {"a": {"b": -5e-324, "é\n": []}, "c": "x\"\u00e9"}, 17.056356010000002, null, true ] "#);
    let [object, number, Json::Null, Json::Bool(true)] = json.items() else { panic!("{json:?}") };
    assert_eq!(number.as_f64().map(f64::to_bits), Some(17.056_356_010_000_002_f64.to_bits()));
    assert_eq!(object.number("a.b").to_bits(), (-5e-324_f64).to_bits());
    assert_eq!(object.at("c").as_str(), Some("x\"é"));
    assert_eq!(object.at("a.x.y"), &Json::Null);
}

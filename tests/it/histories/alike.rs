//! Whether two tables hold the same rows, bit for bit and in any order, and where they first differ.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};

/// What tells a row of our tables from the others, as far as a table has it.
const KEYS: [&str; 13] = [
    "log_type",
    "drift_type",
    "granularity",
    "window",
    "window_start",
    "unit",
    "window_cmp",
    "model",
    "model_id",
    "slice_key",
    "slice_value",
    "column_name",
    "alert_id",
];
/// Rows that a message shows.
const SHOWN: usize = 5;

/// One value, equal only to the same bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Whole(i128),
    /// The bits of a double.
    Real(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Struct(Vec<(String, Self)>),
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(bits) => write!(f, "{} (bits {bits:x})", f64::from_bits(*bits)),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => {
                write!(f, "{} bytes ", bytes.len())?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::List(items) => {
                f.write_str("[")?;
                items.iter().try_for_each(|item| write!(f, "{item}, "))?;
                f.write_str("]")
            }
            Self::Struct(fields) => {
                f.write_str("{")?;
                fields.iter().try_for_each(|(name, value)| write!(f, "{name}: {value}, "))?;
                f.write_str("}")
            }
        }
    }
}

/// The values of a column.
fn cells(array: &dyn Array) -> Vec<Cell> {
    let each = |of: &dyn Fn(usize) -> Cell| -> Vec<Cell> {
        (0..array.len()).map(|row| if array.is_null(row) { Cell::Null } else { of(row) }).collect()
    };
    let to = |data_type| cast(array, data_type).unwrap();
    match array.data_type() {
        DataType::Null => vec![Cell::Null; array.len()],
        DataType::Boolean => each(&|row| Cell::Bool(array.as_boolean().value(row))),
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>();
            each(&|row| Cell::Whole(values.value(row).into()))
        }
        data_type if data_type.is_integer() || data_type.is_temporal() => {
            let values = to(&DataType::Int64);
            each(&|row| Cell::Whole(values.as_primitive::<Int64Type>().value(row).into()))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            each(&|row| Cell::Real(f64::from(values.value(row)).to_bits()))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            each(&|row| Cell::Real(values.value(row).to_bits()))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values = to(&DataType::Utf8);
            each(&|row| Cell::Text(values.as_string::<i32>().value(row).to_owned()))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = to(&DataType::Binary);
            each(&|row| Cell::Bytes(values.as_binary::<i32>().value(row).to_vec()))
        }
        DataType::List(_) => each(&|row| Cell::List(cells(&array.as_list::<i32>().value(row)))),
        DataType::LargeList(_) => each(&|row| Cell::List(cells(&array.as_list::<i64>().value(row)))),
        DataType::Struct(fields) => {
            let columns: Vec<_> = array.as_struct().columns().iter().map(|column| cells(column)).collect();
            let value = |row: usize| {
                let named =
                    fields.iter().zip(&columns).map(|(field, cells)| (field.name().clone(), cells[row].clone()));
                Cell::Struct(named.collect())
            };
            each(&value)
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            each(&|row| {
                let entries: ArrayRef = Arc::new(maps.value(row));
                Cell::List(cells(&entries))
            })
        }
        DataType::Dictionary(_, values) => cells(&to(values)),
        other => panic!("no cell of type {other}"),
    }
}

/// The rows of a table in a fixed order, with the names of its columns in another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Logical {
    names: Vec<String>,
    types: Vec<DataType>,
    rows: Vec<Vec<Cell>>,
}

impl Logical {
    /// The rows of `batch` without some columns; no rows and no columns for a table that is not there.
    pub(crate) fn of(batch: Option<&RecordBatch>, ignored: &[&str]) -> Self {
        let Some(batch) = batch else { return Self::default() };
        let schema = batch.schema();
        let mut fields: Vec<_> = schema.fields().iter().zip(batch.columns()).collect();
        fields.retain(|(field, _)| !ignored.contains(&field.name().as_str()));
        // Keys first, so that the order of rows is one that is pleasant to read.
        let rank = |name: &str| KEYS.iter().position(|key| *key == name).unwrap_or(KEYS.len());
        fields.sort_by_key(|(field, _)| (rank(field.name()), field.name().clone()));
        let columns: Vec<_> = fields.iter().map(|(_, column)| cells(column)).collect();
        let mut rows: Vec<Vec<Cell>> =
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect();
        rows.sort_unstable();
        Self {
            names: fields.iter().map(|(field, _)| field.name().clone()).collect(),
            types: fields.iter().map(|(field, _)| field.data_type().clone()).collect(),
            rows,
        }
    }

    /// Only the rows whose cell in a column passes.
    pub(crate) fn only(mut self, column: &str, passes: impl Fn(&Cell) -> bool) -> Self {
        if let Some(index) = self.names.iter().position(|name| name == column) {
            self.rows.retain(|row| passes(&row[index]));
        }
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn keys(&self) -> usize {
        self.names.iter().take_while(|name| KEYS.contains(&name.as_str())).count()
    }

    fn labelled(&self, row: &[Cell], columns: std::ops::Range<usize>) -> String {
        let mut text = String::new();
        for index in columns.filter(|index| row[*index] != Cell::Null) {
            write!(text, " {}={}", self.names[index], row[index]).unwrap();
        }
        text
    }
}

/// Where the rows of two tables differ, for people; `None` if they do not.
pub(crate) fn difference(left: &Logical, right: &Logical, called: [&str; 2]) -> Option<String> {
    if left == right {
        return None;
    }
    let mut text = format!("{} rows in {}, {} in {}", left.len(), called[0], right.len(), called[1]);
    if (&left.names, &left.types) != (&right.names, &right.types) {
        // A table that was never written is as good as one without rows.
        if left.names.is_empty() && right.rows.is_empty() || right.names.is_empty() && left.rows.is_empty() {
            return None;
        }
        for (table, name) in [(left, called[0]), (right, called[1])] {
            let columns = table.names.iter().zip(&table.types).map(|(name, data_type)| format!("{name} {data_type}"));
            write!(text, "\n  columns of {name}: {}", columns.collect::<Vec<_>>().join(", ")).unwrap();
        }
        return Some(text);
    }
    let (only_left, only_right) = unmatched(&left.rows, &right.rows);
    let keys = left.keys();
    let mut partners = only_right.clone();
    let mut shown = 0;
    for row in &only_left {
        let partner = partners.iter().position(|other| other[..keys] == row[..keys]);
        let partner = partner.map(|position| partners.remove(position));
        if shown == SHOWN {
            continue;
        }
        shown += 1;
        write!(text, "\n ").unwrap();
        match partner {
            None => write!(text, " only in {}:{}", called[0], left.labelled(row, 0..left.names.len())).unwrap(),
            Some(other) => {
                write!(text, "{}", left.labelled(row, 0..keys)).unwrap();
                for index in (keys..left.names.len()).filter(|index| row[*index] != other[*index]) {
                    let (name, [ours, theirs]) = (&left.names[index], excerpts(&row[index], &other[index]));
                    write!(text, "\n    {name}: {ours} in {}, {theirs} in {}", called[0], called[1]).unwrap();
                }
            }
        }
    }
    for row in partners.iter().take(SHOWN) {
        write!(text, "\n  only in {}:{}", called[1], left.labelled(row, 0..left.names.len())).unwrap();
    }
    write!(
        text,
        "\n  in all {} rows differ in {} and {} in {}",
        only_left.len(),
        called[0],
        only_right.len(),
        called[1]
    )
    .unwrap();
    Some(text)
}

/// The rows of two sorted tables that the other one does not have.
fn unmatched<'a>(left: &'a [Vec<Cell>], right: &'a [Vec<Cell>]) -> (Vec<&'a [Cell]>, Vec<&'a [Cell]>) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let order = match (left.get(i), right.get(j)) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        if order == Ordering::Less {
            ours.push(left[i].as_slice());
        }
        if order == Ordering::Greater {
            theirs.push(right[j].as_slice());
        }
        i += usize::from(order != Ordering::Greater);
        j += usize::from(order != Ordering::Less);
    }
    (ours, theirs)
}

/// Both values around the first character that differs: states have thousands of bytes.
fn excerpts(left: &Cell, right: &Cell) -> [String; 2] {
    let texts = [left.to_string(), right.to_string()].map(|text| text.chars().collect::<Vec<_>>());
    let same = texts[0].iter().zip(&texts[1]).take_while(|(a, b)| a == b).count();
    texts.map(|text| {
        if text.len() <= 160 {
            return text.into_iter().collect();
        }
        let start = same.saturating_sub(60);
        let end = (same + 60).min(text.len());
        let excerpt: String = text[start.min(text.len())..end].iter().collect();
        format!("…{excerpt}… (character {same} of {})", text.len())
    })
}

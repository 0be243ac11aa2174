//! Which statistics a column gets, from its Arrow type and the user's choice.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};

use crate::{Error, Result};

/// The family of statistics that a column gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// Numbers: moments, quantiles, distances between distributions.
    Numeric,
    /// Strings, booleans and whatever the user declared so: counts of categories.
    Categorical,
    /// Dates and timestamps: extrema, quantiles and distinct values, in microseconds since the epoch.
    Temporal,
    /// Types of which only presence is counted.
    Opaque,
    /// Bytes, lists and maps: how long their values are, in bytes, elements or entries.
    Length,
}

impl ColumnKind {
    /// The kind that a column of this type has unless the user says otherwise.
    #[must_use]
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float16
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Numeric,
            DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Categorical,
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::RunEndEncoded(_, values) => Self::of(values.data_type()),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Self::Temporal,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::Map(..) => Self::Length,
            _ => Self::Opaque,
        }
    }

    /// Whether a column of this type can be profiled as categories: it has a text form that identifies a value.
    #[must_use]
    pub fn can_be_categorical(data_type: &DataType) -> bool {
        !matches!(Self::of(data_type), Self::Opaque | Self::Length)
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Numeric => 1,
            Self::Categorical => 2,
            Self::Temporal => 3,
            Self::Opaque => 4,
            Self::Length => 5,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self> {
        match code {
            1 => Ok(Self::Numeric),
            2 => Ok(Self::Categorical),
            3 => Ok(Self::Temporal),
            4 => Ok(Self::Opaque),
            5 => Ok(Self::Length),
            _ => Err(Error::invalid_data(format!("unknown column kind {code} in a state"))),
        }
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::Temporal => "temporal",
            Self::Opaque => "opaque",
            Self::Length => "length",
        })
    }
}

/// What a column's state keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnOptions {
    /// The family of statistics.
    pub kind: ColumnKind,
    /// Buckets of the histogram, and categories counted one by one; `u32::MAX` for no limit.
    pub max_buckets: u32,
    /// Up to this many distinct values their number is exact.
    pub exact_distinct: u32,
}

impl ColumnOptions {
    /// The default limits: 4,096 of each.
    #[must_use]
    pub const fn new(kind: ColumnKind) -> Self {
        Self { kind, max_buckets: 4096, exact_distinct: 4096 }
    }

    /// The number of distinct values stays exact whatever it is, for memory in its proportion.
    #[must_use]
    pub const fn with_exact_distinct(mut self) -> Self {
        self.exact_distinct = u32::MAX;
        self
    }

    /// No limit at all: every number is exact, for memory in proportion to the distinct values.
    #[must_use]
    pub const fn exact(kind: ColumnKind) -> Self {
        Self { kind, max_buckets: u32::MAX, exact_distinct: u32::MAX }
    }
}

/// The name that the metric tables give to a type: that of Spark.
#[must_use]
pub fn spark_type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "int".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::UInt64 => "decimal(20,0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            zone,
        ) => {
            if zone.is_some() {
                "timestamp".to_owned()
            } else {
                "timestamp_ntz".to_owned()
            }
        }
        DataType::Dictionary(_, values) => spark_type_name(values),
        DataType::RunEndEncoded(_, values) => spark_type_name(values.data_type()),
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Map(..) => "map".to_owned(),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => "array".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

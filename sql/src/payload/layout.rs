//! The layouts that payload tables come in: what the log of a serving endpoint calls its columns.

use std::fmt;

use arrow::datatypes::{DataType, Schema};

use crate::{Error, Result};

/// The layout of a payload table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Of endpoints with an AI Gateway: `request_time` is a timestamp, `served_entity_id` says which model answered.
    Gateway,
    /// Of `auto_capture_config`: `timestamp_ms` is a number, `request_metadata` a map that names model and version.
    Legacy,
}

/// Type of column, as a predicate with a name.
type Kind = (&'static str, fn(&DataType) -> bool);

const TEXT: Kind = ("text", is_text);
const TIMESTAMP: Kind = ("a timestamp", |data_type| matches!(data_type, DataType::Timestamp(..)));
const INTEGER: Kind = ("a whole number", DataType::is_integer);
const NUMBER: Kind = ("a number", DataType::is_numeric);
const STATUS: Kind = ("a whole number or text", |data_type| data_type.is_integer() || is_text(data_type));
const TEXTS: Kind = ("a list of texts", |data_type| match data_type {
    DataType::List(item) | DataType::LargeList(item) => is_text(item.data_type()),
    _ => false,
});
const TEXT_MAP: Kind = ("a map of texts", |data_type| match data_type {
    DataType::Map(entries, _) => match entries.data_type() {
        DataType::Struct(fields) => fields.iter().all(|field| is_text(field.data_type())),
        _ => false,
    },
    _ => false,
});

pub(super) const fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

impl Layout {
    /// Which layout a table has.
    ///
    /// # Errors
    /// When it has neither: the message names the columns that lack, or have another type than the layout gives them.
    pub fn detect(schema: &Schema) -> Result<Self> {
        let has_time = |layout: Self| schema.field_with_name(layout.time_column()).is_ok();
        let layout = match (has_time(Self::Gateway), has_time(Self::Legacy)) {
            (true, _) => Self::Gateway,
            (false, true) => Self::Legacy,
            (false, false) => {
                let lacking = |layout: Self| {
                    list(
                        layout
                            .required()
                            .iter()
                            .map(|(name, _)| *name)
                            .filter(|name| schema.field_with_name(name).is_err()),
                    )
                };
                return Err(Error::Payload {
                    message: format!(
                        "it is not a payload table: for the gateway layout it lacks {}, for the legacy layout {}",
                        lacking(Self::Gateway),
                        lacking(Self::Legacy)
                    ),
                });
            }
        };
        layout.check(schema)?;
        Ok(layout)
    }

    /// Whether a table has this layout.
    ///
    /// # Errors
    /// When it does not: the message names the columns that lack, or have another type than the layout gives them.
    pub fn check(self, schema: &Schema) -> Result<()> {
        let lacking =
            list(self.required().iter().map(|(name, _)| *name).filter(|name| schema.field_with_name(name).is_err()));
        if !lacking.is_empty() {
            return Err(Error::Payload {
                message: format!("a payload table of the {self} layout has {lacking} too, this one lacks them"),
            });
        }
        for (name, (wanted, fits)) in self.required().iter().chain(self.optional()) {
            let Ok(field) = schema.field_with_name(name) else { continue };
            if !fits(field.data_type()) {
                return Err(Error::Payload {
                    message: format!(
                        "column `{name}` of a payload table of the {self} layout is {wanted}, here it has type {}",
                        field.data_type()
                    ),
                });
            }
        }
        Ok(())
    }

    /// The column that says when a request came.
    #[must_use]
    pub const fn time_column(self) -> &'static str {
        match self {
            Self::Gateway => "request_time",
            Self::Legacy => "timestamp_ms",
        }
    }

    /// All columns that a table of this layout can have.
    pub fn columns(self) -> impl Iterator<Item = &'static str> {
        self.required().iter().chain(self.optional()).map(|(name, _)| *name)
    }

    const fn required(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::Gateway => &[
                ("databricks_request_id", TEXT),
                ("request_time", TIMESTAMP),
                ("status_code", STATUS),
                ("request", TEXT),
                ("response", TEXT),
            ],
            Self::Legacy => &[
                ("databricks_request_id", TEXT),
                ("timestamp_ms", INTEGER),
                ("status_code", STATUS),
                ("request", TEXT),
                ("response", TEXT),
            ],
        }
    }

    /// Columns that older tables, or copies of tables, do not have. They are null then.
    const fn optional(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::Gateway => &[
                ("client_request_id", TEXT),
                ("sampling_fraction", NUMBER),
                ("execution_duration_ms", NUMBER),
                ("served_entity_id", TEXT),
                ("requester", TEXT),
                ("logging_error_codes", TEXTS),
            ],
            Self::Legacy => &[
                ("client_request_id", TEXT),
                ("sampling_fraction", NUMBER),
                ("execution_time_ms", NUMBER),
                ("request_metadata", TEXT_MAP),
                ("logging_error_codes", TEXTS),
            ],
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "gateway",
            Self::Legacy => "legacy",
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>())
    }

    fn gateway(status: DataType, time: DataType) -> Schema {
        schema(&[
            ("databricks_request_id", DataType::Utf8),
            ("request_time", time),
            ("status_code", status),
            ("request", DataType::Utf8View),
            ("response", DataType::LargeUtf8),
        ])
    }

    #[test]
    fn both_layouts_are_told_apart_with_a_status_of_either_type() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for status in [DataType::Int32, DataType::Utf8] {
            assert_eq!(Layout::detect(&gateway(status, time.clone())).unwrap(), Layout::Gateway);
        }
        let legacy = schema(&[
            ("databricks_request_id", DataType::Utf8),
            ("timestamp_ms", DataType::Int64),
            ("status_code", DataType::Int32),
            ("request", DataType::Utf8),
            ("response", DataType::Utf8),
        ]);
        assert_eq!(Layout::detect(&legacy).unwrap(), Layout::Legacy);
    }

    #[test]
    fn what_lacks_or_has_another_type_is_named() {
        let error = Layout::detect(&schema(&[("request", DataType::Utf8)])).unwrap_err().to_string();
        assert!(error.contains("`request_time`, `status_code`, `response`, for the legacy layout"), "{error}");
        let error = Layout::detect(&schema(&[("timestamp_ms", DataType::Int64)])).unwrap_err().to_string();
        assert!(error.contains("legacy layout has `databricks_request_id`, `status_code`, `request`"), "{error}");
        let error = Layout::detect(&gateway(DataType::Int32, DataType::Utf8)).unwrap_err().to_string();
        assert!(error.contains("column `request_time`") && error.contains("is a timestamp"), "{error}");
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let error = Layout::detect(&gateway(DataType::Float64, time)).unwrap_err().to_string();
        assert!(error.contains("column `status_code`"), "{error}");
    }
}

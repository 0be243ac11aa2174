//! The inference table: one row for each request, with its body, its answer and how it went.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Column of the server's own id of a request: unique, the key for dropping duplicates.
pub const REQUEST_ID: &str = "databricks_request_id";
/// Column of the caller's id of a request, by which late labels are joined.
pub const CLIENT_REQUEST_ID: &str = "client_request_id";
/// Column of the time at which a request arrived.
pub const REQUEST_TIME: &str = "request_time";
/// Column of the model version that answered.
pub const SERVED_ENTITY_ID: &str = "served_entity_id";

/// The schema, in the order of the columns. Times are microseconds in UTC; durations are milliseconds; request and
/// response are JSON text, null where they exceeded the size limit (then `logging_error_codes` says so).
#[must_use]
pub fn schema() -> SchemaRef {
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    let codes = Field::new("element", DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        string(REQUEST_ID),
        Field::new("request_date", DataType::Date32, true),
        string(CLIENT_REQUEST_ID),
        Field::new(REQUEST_TIME, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("status_code", DataType::Int32, true),
        Field::new("sampling_fraction", DataType::Float64, true),
        Field::new("execution_duration_ms", DataType::Int64, true),
        string("request"),
        string("response"),
        Field::new("logging_error_codes", DataType::List(Arc::new(codes)), true),
        string(SERVED_ENTITY_ID),
        string("requester"),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_columns_are_there_once() {
        let schema = schema();
        for name in [REQUEST_ID, CLIENT_REQUEST_ID, REQUEST_TIME, SERVED_ENTITY_ID] {
            assert_eq!(schema.fields().iter().filter(|field| field.name() == name).count(), 1, "{name}");
        }
    }
}

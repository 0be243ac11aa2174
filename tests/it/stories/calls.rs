//! Logs of requests as model serving writes them: the calls, and both layouts of the table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// One call of an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: String,
    /// None is a call without a time.
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) status: i32,
    pub(super) request: Option<String>,
    pub(super) response: Option<String>,
    /// Why the log left a text out.
    pub(super) codes: Vec<&'static str>,
    /// The served version.
    pub(super) model: &'static str,
}

/// The number of shapes that requests come in.
pub(super) const SHAPES: usize = 6;

/// A request whose rows have the same columns, in one of the shapes.
pub(super) fn request(shape: usize, columns: &[&str], rows: &[Vec<Value>]) -> String {
    let records = || -> Vec<Value> {
        let record = |row: &Vec<Value>| {
            let entries = columns.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.clone()));
            Value::Object(entries.collect::<Map<_, _>>())
        };
        rows.iter().map(record).collect()
    };
    let body = match shape % SHAPES {
        0 => json!({ "dataframe_split": { "columns": columns, "data": rows } }),
        1 => {
            let turned = |row: &Vec<Value>| row.iter().rev().cloned().collect::<Vec<_>>();
            let names: Vec<_> = columns.iter().rev().collect();
            let data: Vec<_> = rows.iter().map(turned).collect();
            json!({ "dataframe_split": [{ "index": [0], "columns": names, "data": data }] })
        }
        2 => json!({ "dataframe_records": records() }),
        3 => json!({ "instances": records(), "params": { "a": "no column" } }),
        4 => {
            let column = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>();
            let by_name = columns.iter().enumerate().map(|(at, name)| ((*name).to_owned(), json!(column(at))));
            json!({ "inputs": by_name.collect::<Map<_, _>>() })
        }
        _ => json!({ "inputs": records() }),
    };
    body.to_string()
}

/// A response with a prediction for each row.
pub(super) fn response(predictions: &[f64]) -> String {
    json!({ "predictions": predictions }).to_string()
}

/// The table of an endpoint with an AI Gateway.
pub(super) fn gateway(calls: &[Call]) -> RecordBatch {
    let times: TimestampMicrosecondArray = calls.iter().map(|call| Some(call.at?.timestamp_micros())).collect();
    let mut codes = ListBuilder::new(StringBuilder::new());
    for call in calls {
        call.codes.iter().for_each(|code| codes.values().append_value(code));
        codes.append(true);
    }
    batch([
        ("client_request_id", Arc::new(calls.iter().map(|_| None::<&str>).collect::<StringArray>())),
        ("databricks_request_id", texts(calls, |call| Some(&call.id))),
        ("request_time", Arc::new(times.with_timezone("UTC"))),
        ("status_code", statuses(calls)),
        ("sampling_fraction", Arc::new(calls.iter().map(|_| Some(1.0)).collect::<Float64Array>())),
        ("execution_duration_ms", Arc::new(calls.iter().map(|_| Some(12)).collect::<Int64Array>())),
        ("request", texts(calls, |call| call.request.as_deref())),
        ("response", texts(calls, |call| call.response.as_deref())),
        ("served_entity_id", texts(calls, |call| Some(call.model))),
        ("logging_error_codes", Arc::new(codes.finish())),
        ("requester", texts(calls, |_| Some("ann@example.com"))),
    ])
}

/// The table of `auto_capture_config`.
pub(super) fn legacy(calls: &[Call]) -> RecordBatch {
    let mut metadata = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for call in calls {
        for (key, value) in [("endpoint_name", "limits"), ("model_name", "limit"), ("model_version", call.model)] {
            metadata.keys().append_value(key);
            metadata.values().append_value(value);
        }
        metadata.append(true).unwrap();
    }
    let millis = calls.iter().map(|call| Some(call.at?.timestamp_millis()));
    batch([
        ("databricks_request_id", texts(calls, |call| Some(&call.id))),
        ("timestamp_ms", Arc::new(millis.collect::<Int64Array>())),
        ("status_code", statuses(calls)),
        ("execution_time_ms", Arc::new(calls.iter().map(|_| Some(12)).collect::<Int64Array>())),
        ("request", texts(calls, |call| call.request.as_deref())),
        ("response", texts(calls, |call| call.response.as_deref())),
        ("request_metadata", Arc::new(metadata.finish())),
    ])
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true))).unwrap()
}

fn texts(calls: &[Call], of: impl Fn(&Call) -> Option<&str>) -> ArrayRef {
    Arc::new(calls.iter().map(of).collect::<StringArray>())
}

fn statuses(calls: &[Call]) -> ArrayRef {
    Arc::new(calls.iter().map(|call| Some(call.status)).collect::<Int32Array>())
}

//! How an inference log holds its rows: as they are, or as the requests and responses of a model server.

use super::Located;
use super::raw::{Section, Value};

/// How the rows of an inference log are stored.
#[derive(Debug, Clone)]
pub enum LogFormat {
    /// A row for each prediction, with a column for each value.
    Rows,
    /// A row for each request, whose values are in JSON.
    Payload(PayloadConfig),
}

/// Columns with the Spark names of their types.
pub type TypedColumns = Vec<(Located<String>, String)>;

/// `format = "payload"`: what is known of the requests.
#[derive(Debug, Clone)]
pub struct PayloadConfig {
    /// Columns of requests, and of responses, with their Spark types, if the user says them.
    pub columns: Option<(TypedColumns, TypedColumns)>,
    /// The MLmodel file whose signature says them.
    pub signature: Option<Located<String>>,
    /// The statuses of requests that are looked at; those of success if none are given.
    pub status_codes: Option<Vec<u16>>,
}

/// The columns of a payload table's rows that play a role unless others are named.
pub(super) const REQUEST_TIME: &str = "request_time";
pub(super) const MODEL_ID: &str = "model_id";
pub(super) const PREDICTION: &str = "prediction";

/// Reads `format` and the keys that go with it. Also says whether rows are unpacked, so that other keys can be left out:
/// what is wrong with the format is then not told again as keys that are missing.
pub(super) fn read_format(section: &mut Section<'_>) -> (bool, Option<LogFormat>) {
    let format = section.take("format");
    let keys = ["schema", "predictions", "signature", "status_codes"].map(|name| section.take(name));
    let choices = [("rows", false), ("payload", true)];
    let is_payload = match &format {
        None => false,
        Some(value) => match super::raw::choice(value, &choices) {
            Some(is_payload) => is_payload,
            None => return (true, None),
        },
    };
    if !is_payload {
        for value in keys.iter().flatten() {
            value.report("has a meaning only with format = \"payload\"", None);
        }
        return (false, Some(LogFormat::Rows));
    }
    (true, read_payload(keys).map(LogFormat::Payload))
}

/// Reads what is said of requests and responses.
fn read_payload([columns, predictions, signature, status_codes]: [Option<Value<'_>>; 4]) -> Option<PayloadConfig> {
    if let (Some(_), Some(signature)) = (&columns, &signature) {
        signature.report("says the columns a second time, beside schema", Some("leave one of the two out".to_owned()));
        return None;
    }
    let columns = match (columns, predictions) {
        (None, None) => None,
        (Some(columns), Some(predictions)) => Some((read_columns(&columns)?, read_columns(&predictions)?)),
        (Some(value), None) => {
            let hint = "add predictions = { prediction = \"double\" }, or what the model answers with";
            value.report("says the columns of requests, but predictions are missing", Some(hint.to_owned()));
            return None;
        }
        (None, Some(value)) => {
            value.report("says the columns of responses, but those of requests, schema, are missing", None);
            return None;
        }
    };
    let signature = match signature {
        None => None,
        Some(value) => Some(value.text()?),
    };
    let status_codes = match status_codes {
        None => None,
        Some(value) => Some(read_status_codes(&value)?),
    };
    Some(PayloadConfig { columns, signature, status_codes })
}

/// Columns in the order in which they are written, which is that of the values in rows that are lists.
fn read_columns(value: &Value<'_>) -> Option<TypedColumns> {
    let entries = value.section()?.into_entries();
    if let Some((_, of_overlay)) = entries.iter().find(|(_, value)| value.is_of_overlay())
        && entries.iter().any(|(_, value)| !value.is_of_overlay())
    {
        let message = "adds to columns of another file, so their order is not known";
        let hint = "say all columns in one of the two files, under names that the other does not have";
        of_overlay.report(message, Some(hint.to_owned()));
        return None;
    }
    let mut columns = Vec::new();
    for (name, value) in entries {
        columns.push((value.located(name.to_owned()), value.text()?.value));
    }
    if columns.is_empty() {
        value.report("is empty, so requests would have no column", None);
        return None;
    }
    Some(columns)
}

fn read_status_codes(value: &Value<'_>) -> Option<Vec<u16>> {
    let items = value.items("an array of HTTP statuses, such as [200]")?;
    if items.is_empty() {
        value.report("is empty, so no request would be looked at", None);
        return None;
    }
    items.iter().map(|item| item.integer(100..=599_u16)).collect()
}

//! Logs of requests: how one is unpacked.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use limno_sql::payload::{Inference, Layout, PayloadOptions, PayloadSchema, PayloadType};
use limno_sql::source::{Source, View, active_files};
use limno_sql::window::{Calendar, unit};

use super::Places;
use crate::config::{Located, MonitorConfig, PayloadConfig, Problem, quoted};
use crate::ledger::Ledger;
use crate::{Error, Result};

/// Bytes of files, about, from which columns are found where nobody says them.
const LOOKED_AT: i64 = 64 << 20;

/// The rows of a log's requests and responses.
pub(super) async fn unpack(
    context: &SessionContext,
    source: Source,
    config: &MonitorConfig,
    payload: &PayloadConfig,
    file: &str,
    problems: &mut Vec<Problem>,
) -> Result<Source> {
    let layout = match Layout::detect(&source.schema()) {
        Ok(layout) => layout,
        Err(error) => {
            let hint = "remove format = \"payload\" if its rows are unpacked already".to_owned();
            problems.push(config.table.problem(file, error.to_string(), Some(hint)));
            return Ok(source);
        }
    };
    let statuses = payload.status_codes.clone().unwrap_or_else(|| (200..300).collect());
    let schema = match told(payload, file) {
        Some(Ok(schema)) => schema,
        Some(Err(wrong)) => {
            problems.extend(wrong);
            return Ok(source);
        }
        None => match frozen(context, config).await? {
            Some(schema) => schema,
            None => match infer(context, &source, layout, &statuses).await? {
                Ok(schema) => schema,
                Err(error) => {
                    problems.push(config.table.problem(file, error.to_string(), None));
                    return Ok(source);
                }
            },
        },
    };
    let MonitorConfig { timezone, week_start, offset_minutes, .. } = *config;
    let granularities: Vec<_> = config.kind.granularities().iter().map(|length| length.value).collect();
    let calendar = Calendar { timezone, week_start, offset_minutes };
    let options = PayloadOptions { statuses, ..PayloadOptions::new(layout, schema, calendar, unit(&granularities)) };
    Ok(source.with_view(View::Payload(Arc::new(options)))?)
}

/// The columns that the configuration says, itself or by a signature.
fn told(payload: &PayloadConfig, file: &str) -> Option<std::result::Result<PayloadSchema, Vec<Problem>>> {
    if let Some(signature) = &payload.signature {
        return Some(of_signature(signature, file).map_err(|problem| vec![problem]));
    }
    let (requests, responses) = payload.columns.as_ref()?;
    fn pairs(columns: &[(Located<String>, String)]) -> Vec<(&str, &str)> {
        columns.iter().map(|(name, data_type)| (name.value.as_str(), data_type.as_str())).collect()
    }
    // Each type is told where it stands; what is wrong with all columns together is told at the first.
    let of_type = |(name, data_type): &(Located<String>, String)| {
        let error = data_type.parse::<PayloadType>().err()?;
        Some(name.problem(file, format!("column {}: {error}", quoted(&name.value)), None))
    };
    let wrong: Vec<Problem> = requests.iter().chain(responses).filter_map(of_type).collect();
    if !wrong.is_empty() {
        return Some(Err(wrong));
    }
    let (asked, answered) = (pairs(requests), pairs(responses));
    let at = requests.first().map(|(name, _)| name)?;
    let schema = PayloadSchema::of_columns(&asked, &answered);
    Some(schema.map_err(|error| vec![at.problem(file, error.to_string(), None)]))
}

fn of_signature(path: &Located<String>, file: &str) -> std::result::Result<PayloadSchema, Problem> {
    let text = std::fs::read_to_string(&path.value).map_err(|error| {
        let message = format!("cannot read {}: {error}", quoted(&path.value));
        path.problem(file, message, Some("name the file MLmodel of the model that is served".to_owned()))
    })?;
    PayloadSchema::of_signature(&text).map_err(|error| path.problem(file, error.to_string(), None))
}

/// The columns with which the log was read before: they stay until somebody says others.
async fn frozen(context: &SessionContext, config: &MonitorConfig) -> Result<Option<PayloadSchema>> {
    // Whatever is wrong with it is told where it is refreshed.
    let Ok(ledger) = Ledger::open(context, &Places::of(config).ledger).await else { return Ok(None) };
    let text = ledger.watermark.and_then(|watermark| watermark.payload_schema);
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The columns that the oldest files show.
async fn infer(
    context: &SessionContext,
    source: &Source,
    layout: Layout,
    statuses: &[u16],
) -> Result<limno_sql::Result<PayloadSchema>> {
    let unreadable = |error| limno_sql::Error::Delta { uri: source.uri.clone(), source: Box::new(error) };
    let looked_at = match &source.delta {
        Some(table) => {
            let mut files = active_files(table).map_err(unreadable)?;
            files.sort_by(|a, b| (a.modification_time, &a.path).cmp(&(b.modification_time, &b.path)));
            let mut bytes = 0;
            files.retain(|file| {
                let is_wanted = bytes < LOOKED_AT;
                bytes += file.size;
                is_wanted
            });
            source.of_files(files).await?
        }
        None => source.clone(),
    };
    let rows = context.read_table(Arc::clone(&looked_at.provider))?;
    let rows =
        rows.select_columns(&["databricks_request_id", layout.time_column(), "status_code", "request", "response"])?;
    let mut batches = rows.execute_stream().await?;
    let mut inference = Inference::default();
    let failed = |error| Error::Sql(limno_sql::Error::of_files(&source.uri, error));
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        inference.observe(layout, statuses, &batch)?;
    }
    Ok(inference.schema())
}

//! `limno run --plan`: what a run would read, before it does.

use std::io::Write;

use chrono::DateTime;
use serde_json::{Value, json};

use super::{Outcome, is_interactive};
use crate::config::MonitorConfig;
use crate::engine::Engine;
use crate::refresh::{Mode, Part, RefreshPlan};
use crate::{Error, Result};

pub(super) async fn execute(
    engine: &Engine,
    monitors: &[&MonitorConfig],
    full_refresh: bool,
    out: &mut dyn Write,
) -> Result<Outcome> {
    let mut errors = Vec::new();
    for (name, bound) in engine.bind_all(monitors).await? {
        let plan = match bound {
            Ok(bound) => engine.plan(&bound, full_refresh).await,
            Err(error) => Err(error),
        };
        match plan {
            Ok(plan) if is_interactive() => write!(out, "{}", text(&name, &plan))?,
            Ok(plan) => writeln!(out, "{}", line(&name, &plan))?,
            Err(error) => errors.push((name, error)),
        }
    }
    if errors.len() == 1 && monitors.len() == 1 {
        return Err(errors.remove(0).1);
    }
    if errors.is_empty() { Ok(Outcome::Done) } else { Err(Error::Monitors(errors)) }
}

/// Some lines for people.
fn text(name: &str, plan: &RefreshPlan) -> String {
    let (files, bytes) = plan.totals();
    let mut text = match &plan.mode {
        _ if !plan.is_due => format!("{name}: nothing new\n"),
        Mode::Incremental if !plan.reads() => format!("{name}: reads no data file\n"),
        Mode::Incremental => format!("{name}: reads {files} files of {}\n", bytesize::ByteSize(bytes)),
        Mode::Full { reason } => {
            format!("{name}: reads everything ({reason}), {files} files of {}\n", bytesize::ByteSize(bytes))
        }
    };
    for part in &plan.parts {
        let Part { what, file_count, bytes, query, .. } = part;
        let (uri, columns) = (&query.source.uri, query.measures.len());
        let bytes = bytesize::ByteSize(*bytes);
        text.push_str(&format!("  {uri}: {file_count} files of {bytes}, {columns} columns ({what})\n"));
    }
    for span in spans(plan) {
        text.push_str(&format!("  made anew: {} to {}\n", span[0], span[1]));
    }
    text
}

fn spans(plan: &RefreshPlan) -> Vec<[String; 2]> {
    let at = |micros| DateTime::from_timestamp_micros(micros).map_or_else(|| "…".to_owned(), |at| at.to_rfc3339());
    plan.dirty.spans().iter().map(|span| [at(span.start), at(span.end)]).collect()
}

/// The same as one JSON object.
fn line(name: &str, plan: &RefreshPlan) -> Value {
    let (files, bytes) = plan.totals();
    let (mode, reason) = match &plan.mode {
        _ if !plan.is_due => ("nothing", None),
        Mode::Incremental => ("incremental", None),
        Mode::Full { reason } => ("full", Some(reason)),
    };
    let part = |part: &Part| {
        json!({
            "table": part.query.source.uri,
            "what": part.what,
            "files": part.file_count,
            "bytes": part.bytes,
            "columns": part.query.measures.iter().map(|measure| &measure.name).collect::<Vec<_>>(),
            "slices": part.query.slices.iter().map(|slice| &slice.key).collect::<Vec<_>>(),
        })
    };
    json!({
        "monitor": name,
        "mode": mode,
        "reason": reason,
        "from_version": plan.from,
        "commit_version": plan.watermark.source.version,
        "files": files,
        "bytes": bytes,
        "parts": plan.parts.iter().map(part).collect::<Vec<_>>(),
        "anew": spans(plan),
    })
}

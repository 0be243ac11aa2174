//! `limno run`: refreshes once, evaluates the rules, sends what is due.

use std::io::Write;
use std::time::{Duration, Instant};

use futures::StreamExt;
use limno_sql::secret::redact;
use limno_sql::watch::{Stage, Watch};
use serde_json::{Value, json};

use super::args::RunArgs;
use super::{Outcome, is_interactive, plan};
use crate::config::MonitorConfig;
use crate::engine::{Engine, Report};
use crate::refresh::{RefreshRow, Stages};
use crate::{Error, Result};

pub(super) async fn execute(engine: &Engine, args: &RunArgs, out: &mut dyn Write) -> Result<Outcome> {
    let start = Instant::now();
    let monitors = select(engine, &args.monitors)?;
    let mut errors = Vec::new();
    let mut has_fired = false;
    if args.plan {
        return plan::execute(engine, &monitors, args.full_refresh, out).await;
    }
    let mut bound = Vec::with_capacity(monitors.len());
    for (name, result) in engine.bind_all(&monitors).await? {
        match result {
            Ok(monitor) => bound.push(monitor),
            Err(error) => {
                engine.record_failure(&name, &error).await;
                errors.push((name, error));
            }
        }
    }
    let mut results = std::pin::pin!(engine.run_all(bound, args.full_refresh)?);
    while let Some(result) = results.next().await {
        // One monitor's failure never costs another its refresh.
        let (name, result) = result?;
        match result {
            Ok(report) => {
                has_fired |= report.new_breaches > 0;
                let failures = report.failures();
                print(&report, out)?;
                if let Some(trouble) = report.refreshed.as_ref().and_then(|row| row.error.clone()) {
                    let message = format!("{trouble}\nrecorded in the table refreshes; the next run tries it again");
                    errors.push((name.clone(), Error::Partial { message }));
                }
                if !failures.is_empty() {
                    let lines = failures.join("\n");
                    let message =
                        format!("{lines}\nrecorded in the table alerts; the next run tries again what can be");
                    errors.push((name, Error::Delivery { message }));
                }
            }
            Err(error) => errors.push((name, error)),
        }
    }
    if args.profile {
        let (watch, elapsed) = (engine.watch()?, start.elapsed());
        let text = if is_interactive() {
            stages_table(watch.as_ref(), elapsed)
        } else {
            stages_line(watch.as_ref(), elapsed).to_string()
        };
        writeln!(out, "{text}")?;
    }
    if errors.len() == 1 && monitors.len() == 1 {
        return Err(errors.remove(0).1);
    }
    if !errors.is_empty() {
        return Err(Error::Monitors(errors));
    }
    Ok(if has_fired && args.fail_on_alert { Outcome::Fired } else { Outcome::Done })
}

/// The monitors that the user named, or all.
pub(super) fn select<'a>(engine: &'a Engine, names: &[String]) -> Result<Vec<&'a MonitorConfig>> {
    engine.config().select(names).map_err(|error| Error::Usage { message: error.to_string() })
}

fn print(report: &Report, out: &mut dyn Write) -> Result<()> {
    let text = if is_interactive() { sentence(report) } else { line(report).to_string() };
    // Answers of receivers and errors of libraries may hold anything.
    writeln!(out, "{}", redact(&text))?;
    Ok(())
}

/// Where the time went, for people: the stages, their seconds, and their share of what was measured.
fn stages_table(watch: &Watch, elapsed: Duration) -> String {
    let sum: f64 = Stage::ALL.iter().map(|&stage| watch.time(stage).as_secs_f64()).sum();
    let line = |stage: Stage| {
        let seconds = watch.time(stage).as_secs_f64();
        format!("  {:8} {seconds:9.3} s {:3.0} %\n", stage.name(), 100.0 * seconds / sum.max(f64::MIN_POSITIVE))
    };
    let lines: String = Stage::ALL.into_iter().map(line).collect();
    format!("{:.3} s elapsed; of all cores together:\n{}", elapsed.as_secs_f64(), lines.trim_end_matches('\n'))
}

/// The same as one JSON object.
fn stages_line(watch: &Watch, elapsed: Duration) -> Value {
    let stages = Stage::ALL.iter().map(|&stage| (stage.name().to_owned(), json!(watch.time(stage).as_secs_f64())));
    json!({ "elapsed_seconds": elapsed.as_secs_f64(), "stage_seconds": stages.collect::<serde_json::Map<_, _>>() })
}

/// One line for people.
pub(super) fn sentence(report: &Report) -> String {
    let mut text = match &report.refreshed {
        None => format!("{}: nothing new", report.monitor),
        Some(row) => refreshed(row),
    };
    text.push_str(&format!("; {} new breaches", report.new_breaches));
    if report.historical_breaches > 0 {
        text.push_str(&format!(", {} in older windows recorded", report.historical_breaches));
    }
    for attempt in &report.attempts {
        if let Ok(detail) = &attempt.outcome {
            let verb = if attempt.is_call { "called" } else { "told" };
            text.push_str(&format!("; {verb} {} ({detail})", attempt.target));
        }
    }
    text
}

/// What a refresh did, for people.
fn refreshed(row: &RefreshRow) -> String {
    let mut text = if row.files_read == 0 {
        format!("{}: {} windows, no data file read", row.monitor, row.windows)
    } else {
        let files = if row.files_read == 1 { "file" } else { "files" };
        let bytes = bytesize::ByteSize(u64::try_from(row.bytes_read).unwrap_or(0));
        let (monitor, rows, windows, read) = (&row.monitor, row.rows, row.windows, row.files_read);
        format!("{monitor}: {rows} rows in {windows} windows, from {read} {files} of {bytes}")
    };
    if let (Some("full"), Some(reason)) = (row.mode, &row.reason) {
        text.push_str(&format!(" ({reason})"));
    }
    if row.rows_without_window > 0 {
        text.push_str(&format!(
            " ({} rows have no window: their timestamp is null or does not parse)",
            row.rows_without_window
        ));
    }
    if row.late_rows > 0 {
        text.push_str(&format!(" ({} rows came late)", row.late_rows));
    }
    for (rows, what) in [
        (row.malformed_rows, "could not be parsed, see the quarantine"),
        (row.duplicate_rows, "repeat others"),
        (row.filtered_rows, "have another status"),
    ] {
        if rows > 0 {
            text.push_str(&format!(" ({rows} {what})"));
        }
    }
    if row.rows_before_retention > 0 {
        let rows = row.rows_before_retention;
        text.push_str(&format!(" ({rows} rows came for windows whose states were dropped, and change nothing)"));
    }
    let Stages { planning, reading, merging, measuring } = row.stages;
    text.push_str(&format!(
        ", {} profile and {} drift rows in {:.1} s",
        row.profile_rows,
        row.drift_rows,
        planning + reading + merging + measuring
    ));
    text
}

/// The same as one JSON object.
fn line(report: &Report) -> Value {
    let attempts: Vec<Value> = report
        .attempts
        .iter()
        .map(|attempt| {
            let (is_delivered, detail) = match &attempt.outcome {
                Ok(detail) => (true, detail),
                Err(error) => (false, error),
            };
            json!({
                "target": attempt.target,
                "kind": if attempt.is_call { "trigger" } else { "notifier" },
                "delivered": is_delivered,
                "detail": detail,
            })
        })
        .collect();
    let mut object = json!({
        "monitor": report.monitor,
        "refreshed": report.refreshed.is_some(),
        "new_breaches": report.new_breaches,
        "historical_breaches": report.historical_breaches,
        "deliveries": attempts,
    });
    if let (Some(row), Some(object)) = (&report.refreshed, object.as_object_mut()) {
        let Stages { planning, reading, merging, measuring } = row.stages;
        let details = json!({
            "result": row.result,
            "mode": row.mode,
            "reason": row.reason,
            "from_version": row.from_version,
            "commit_version": row.commit_version,
            "ledger_version": row.ledger_version,
            "monitor_version": row.monitor_version,
            "files_read": row.files_read,
            "bytes_read": row.bytes_read,
            "rows": row.rows,
            "rows_without_window": row.rows_without_window,
            "late_rows": row.late_rows,
            "rows_before_retention": row.rows_before_retention,
            "filtered_rows": row.filtered_rows,
            "duplicate_rows": row.duplicate_rows,
            "malformed_rows": row.malformed_rows,
            "windows": row.windows,
            "profile_rows": row.profile_rows,
            "drift_rows": row.drift_rows,
            "planning_seconds": planning,
            "reading_seconds": reading,
            "merging_seconds": merging,
            "measuring_seconds": measuring,
            "error": row.error,
        });
        object.extend(details.as_object().cloned().unwrap_or_default());
    }
    object
}

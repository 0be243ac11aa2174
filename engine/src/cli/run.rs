//! `limno run`: refreshes once, evaluates the rules, sends what is due.

use std::io::Write;

use serde_json::{Value, json};

use super::args::RunArgs;
use super::{Outcome, is_interactive};
use crate::config::MonitorConfig;
use crate::engine::{Engine, Report};
use crate::{Error, Result};

pub(super) async fn execute(engine: &Engine, args: &RunArgs, out: &mut dyn Write) -> Result<Outcome> {
    let monitors = select(engine, &args.monitors)?;
    let mut errors = Vec::new();
    let mut has_fired = false;
    for (name, bound) in engine.bind_all(&monitors).await? {
        let result = match bound {
            Ok(bound) => engine.run(&bound, args.full_refresh).await,
            Err(error) => Err(error),
        };
        // One monitor's failure never costs another its refresh.
        match result {
            Ok(report) => {
                has_fired |= report.new_breaches > 0;
                let failures = report.failures();
                print(&report, out)?;
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
    if is_interactive() {
        writeln!(out, "{}", sentence(report))?;
    } else {
        writeln!(out, "{}", line(report))?;
    }
    Ok(())
}

/// One line for people.
pub(super) fn sentence(report: &Report) -> String {
    let mut text = match &report.refreshed {
        None => format!("{}: nothing new", report.monitor),
        Some(row) => {
            let mut text = format!("{}: {} rows in {} windows", report.monitor, row.rows, row.windows);
            if row.rows_without_window > 0 {
                text.push_str(&format!(
                    " ({} rows have no window: their timestamp is null or does not parse)",
                    row.rows_without_window
                ));
            }
            text.push_str(&format!(", {} profile and {} drift rows", row.profile_rows, row.drift_rows));
            text
        }
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
        object.insert("commit_version".to_owned(), json!(row.commit_version));
        object.insert("monitor_version".to_owned(), json!(row.monitor_version));
        object.insert("rows".to_owned(), json!(row.rows));
        object.insert("rows_without_window".to_owned(), json!(row.rows_without_window));
        object.insert("windows".to_owned(), json!(row.windows));
        object.insert("profile_rows".to_owned(), json!(row.profile_rows));
        object.insert("drift_rows".to_owned(), json!(row.drift_rows));
    }
    object
}

//! `limno vacuum`: drops what the retention of the monitors does not keep, and says what can then no longer be made anew.

use std::io::Write;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::args::VacuumArgs;
use super::run::select;
use super::{Outcome, is_interactive};
use crate::engine::Engine;
use crate::refresh::Vacuumed;
use crate::{Error, Result};

/// What needs the states of a window.
const NEEDS_STATES: &str =
    "late rows, new columns and slices, other granularities, bins and baselines no longer reach them";

pub(super) async fn execute(engine: &Engine, args: &VacuumArgs, out: &mut dyn Write) -> Result<Outcome> {
    let monitors = select(engine, &args.monitors)?;
    let mut errors = Vec::new();
    for (name, bound) in engine.bind_all(&monitors).await? {
        let vacuumed = match bound {
            Ok(bound) => engine.vacuum(&bound, args.dry_run).await,
            Err(error) => Err(error),
        };
        match vacuumed {
            Ok(vacuumed) if is_interactive() => write!(out, "{}", text(&name, &vacuumed, args.dry_run))?,
            Ok(vacuumed) => writeln!(out, "{}", line(&name, &vacuumed, args.dry_run))?,
            Err(error) => errors.push((name, error)),
        }
    }
    if errors.is_empty() { Ok(Outcome::Done) } else { Err(Error::Monitors(errors)) }
}

/// Some lines for people.
fn text(name: &str, vacuumed: &Vacuumed, is_dry: bool) -> String {
    let Vacuumed { states_from, states, rows_from, rows, files } = vacuumed;
    let verb = if is_dry { "would go" } else { "are gone" };
    let at = |at: &DateTime<Utc>| at.format("%Y-%m-%d %H:%M UTC").to_string();
    let mut text = String::new();
    if let Some(from) = states_from {
        text.push_str(&format!("{name}: {states} states of windows that began before {} {verb}\n", at(from)));
        text.push_str(&format!("  the rows of these windows stay as they are: {NEEDS_STATES}\n"));
        text.push_str("  limno run --full-refresh makes them anew as far as the table itself still has their data\n");
    }
    if let Some(from) = rows_from {
        text.push_str(&format!("{name}: {rows} rows of windows that began before {} {verb}\n", at(from)));
    }
    text.push_str(&format!("{name}: {files} replaced files {verb}\n"));
    text
}

/// The same as one JSON object.
fn line(name: &str, vacuumed: &Vacuumed, is_dry: bool) -> Value {
    let Vacuumed { states_from, states, rows_from, rows, files } = vacuumed;
    let note = states_from.map(|_| NEEDS_STATES);
    json!({
        "monitor": name,
        "dry_run": is_dry,
        "states_from": states_from.map(|at| at.to_rfc3339()),
        "states": states,
        "rows_from": rows_from.map(|at| at.to_rfc3339()),
        "rows": rows,
        "files": files,
        "note": note,
    })
}

//! `limno check`: everything that can be known before a run, changing nothing.

use std::io::Write;

use super::Outcome;
use super::args::CheckArgs;
use super::run::select;
use crate::engine::Engine;
use crate::monitor::BaselineColumn;
use crate::{Error, Result};

pub(super) async fn execute(engine: &Engine, args: &CheckArgs, out: &mut dyn Write) -> Result<Outcome> {
    let monitors = select(engine, &args.monitors)?;
    let mut failures = Vec::new();
    for (name, bound) in engine.bind_all(&monitors).await? {
        match bound {
            Ok(bound) => {
                let columns = bound.columns.len();
                writeln!(
                    out,
                    "monitor {name}: {} opens, {columns} columns, {} slices",
                    bound.source.uri,
                    bound.slices.len()
                )?;
                if let Some(baseline) = &bound.baseline {
                    let compared = baseline.columns.iter().filter(|found| **found == BaselineColumn::Same).count();
                    writeln!(
                        out,
                        "monitor {name}: baseline {} opens, {compared} of {columns} columns compare",
                        baseline.source.uri
                    )?;
                }
            }
            Err(error) => failures.push(format!("monitor {name}: {error}")),
        }
    }
    // Only what the named monitors use, so that one team's outage does not fail another's check.
    let used = |of: &dyn Fn(&crate::config::RuleConfig) -> Vec<String>, name: &str| {
        args.monitors.is_empty()
            || monitors.iter().flat_map(|monitor| &monitor.rules).any(|rule| of(rule).iter().any(|used| used == name))
    };
    let notify = |rule: &crate::config::RuleConfig| rule.notify.iter().map(|name| name.value.clone()).collect();
    let trigger = |rule: &crate::config::RuleConfig| rule.trigger.iter().map(|name| name.value.clone()).collect();
    for (name, config) in engine.config().notifiers.iter().filter(|(name, _)| used(&notify, name)) {
        let answer = match crate::alert::build(config) {
            Ok(notifier) => notifier.check().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => writeln!(out, "notifier {name}: {answer}")?,
            Err(error) => failures.push(format!("notifier {name}: {error}")),
        }
    }
    for (name, config) in engine.config().triggers.iter().filter(|(name, _)| used(&trigger, name)) {
        let answer = match crate::trigger::build(config) {
            Ok(trigger) => trigger.check().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => writeln!(out, "trigger {name}: {answer}")?,
            Err(error) => failures.push(format!("trigger {name}: {error}")),
        }
    }
    if failures.is_empty() { Ok(Outcome::Done) } else { Err(Error::Delivery { message: failures.join("\n") }) }
}

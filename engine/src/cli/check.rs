//! `limno check`: everything that can be known before a run, changing nothing.

use std::io::Write;

use limno_sql::lake::{Access, Lake, Place};
use limno_sql::secret::redact;
use uuid::Uuid;

use super::Outcome;
use super::args::CheckArgs;
use super::run::select;
use crate::config::{MonitorConfig, MonitorKind, Problems, RuleConfig};
use crate::engine::Engine;
use crate::monitor::{BaselineColumn, BoundMonitor, Places};
use crate::{Error, Result};

pub(super) async fn execute(engine: &Engine, args: &CheckArgs, out: &mut dyn Write) -> Result<Outcome> {
    let monitors = select(engine, &args.monitors)?;
    let config = engine.config();
    if let Some(environment) = &config.environment {
        writeln!(out, "environment {environment}: {}", rights(engine))?;
    }
    let mut failures = Failures::default();
    let mut problems = Vec::new();
    for monitor in &monitors {
        let reached = reach(engine, monitor, args.write, &mut failures).await?;
        // What it says of tables that do not answer cannot be checked.
        let bound = if reached.is_whole { engine.bind(monitor).await.map(Some) } else { Ok(None) };
        match bound {
            Ok(None) => {}
            Ok(Some(bound)) => describe(&bound, &reached, out)?,
            Err(Error::Config(found)) => problems.extend(found.0),
            Err(error) => failures.add(&monitor.name, "tables", &reached.places, &error),
        }
        for line in &reached.outputs {
            writeln!(out, "monitor {}: {line}", monitor.name)?;
        }
    }
    let mut others = Vec::new();
    deliveries(engine, args, &monitors, &mut others, out).await?;
    let lines: Vec<String> = failures.lines().into_iter().chain(others).collect();
    match (problems.is_empty(), lines.is_empty()) {
        (true, true) => Ok(Outcome::Done),
        (false, true) => Err(Problems(problems).into()),
        (true, false) => Err(Error::Delivery { message: lines.join("\n") }),
        (false, false) => Err(Error::Delivery { message: format!("{}\n{}", Problems(problems), lines.join("\n")) }),
    }
}

/// What an environment lets happen.
fn rights(engine: &Engine) -> String {
    let config = engine.config();
    let places = match &config.writable {
        Some(places) => format!("all but {} is read-only", places.join(", ")),
        None => "its overlay has no [environment], so everything is as in production".to_owned(),
    };
    if config.deliver { places } else { format!("{places}, and nobody is told or called (deliver = false)") }
}

/// What was found of a monitor's tables before any of them was opened.
#[derive(Default)]
struct Reached {
    /// Whether all tables that are read answered.
    is_whole: bool,
    /// The tables that answered, by what they are, and who signs in there.
    signed_in: Vec<(&'static str, String)>,
    places: Vec<Place>,
    /// What is to be said of the output.
    outputs: Vec<String>,
}

impl Reached {
    fn by(&self, what: &str) -> &str {
        self.signed_in.iter().find(|(known, _)| *known == what).map_or("nobody", |(_, sign_in)| sign_in)
    }
}

/// Asks for something at each place of a monitor.
async fn reach(engine: &Engine, monitor: &MonitorConfig, writes: bool, failures: &mut Failures) -> Result<Reached> {
    let lake = Lake::of(engine.context())?;
    let mut reached = Reached { is_whole: true, ..Reached::default() };
    let labels = match &monitor.kind {
        MonitorKind::InferenceLog { labels, .. } => labels.as_ref().map(|labels| &labels.table),
        MonitorKind::Snapshot | MonitorKind::TimeSeries { .. } => None,
    };
    let tables = [("table", Some(&monitor.table)), ("baseline", monitor.baseline.as_ref()), ("labels", labels)];
    for (what, table) in tables.into_iter().filter_map(|(what, table)| Some((what, table?))) {
        let answer = async {
            let place = lake.locate(&table.value, Access::Read).await?;
            reached.places.push(place.clone());
            reached.signed_in.push((what, lake.sign_in(&place)?));
            place.find().await
        };
        match answer.await {
            // That there is nothing, or no table, is found when it is opened, and said with its line.
            Ok(_) | Err(limno_sql::Error::NotATable { .. }) => {}
            Err(error) => {
                reached.is_whole = false;
                failures.add(&monitor.name, what, &reached.places, &error.into());
            }
        }
    }
    for uri in outputs(monitor) {
        let answer = async {
            let place = lake.locate(&uri, Access::Write).await?;
            reached.places.push(place.clone());
            let sign_in = lake.sign_in(&place)?;
            let entries = place.count_entries().await?;
            if writes {
                place.probe(&format!(".limno-probe-{}", Uuid::new_v4().simple())).await?;
            }
            Ok((sign_in, entries))
        };
        match answer.await {
            Ok((sign_in, entries)) => {
                let there = if entries == 0 { "empty yet" } else { "listed" };
                let written = if writes {
                    "can be written and keeps two writers apart"
                } else {
                    "writing was not tried (limno check --write)"
                };
                reached.outputs.push(format!("output {uri} is {there}, {written} (by {sign_in})"));
            }
            Err(error) => failures.add(&monitor.name, "output", &reached.places, &Error::Sql(error)),
        }
    }
    Ok(reached)
}

/// The places that a monitor writes to: a folder, or the tables of a schema.
fn outputs(monitor: &MonitorConfig) -> Vec<String> {
    if monitor.output.value.starts_with("uc://") {
        return Places::of(monitor).named(monitor).into_iter().map(|(_, uri)| uri).collect();
    }
    vec![monitor.output.value.clone()]
}

fn describe(bound: &BoundMonitor, reached: &Reached, out: &mut dyn Write) -> Result<()> {
    let (name, columns) = (&bound.config.name, bound.columns.len());
    let (uri, slices, by) = (&bound.source.uri, bound.slices.len(), reached.by("table"));
    writeln!(out, "monitor {name}: {uri} opens, {columns} columns, {slices} slices (by {by})")?;
    if let Some(baseline) = &bound.baseline {
        let compared = baseline.columns.iter().filter(|found| **found == BaselineColumn::Same).count();
        let (uri, by) = (&baseline.source.uri, reached.by("baseline"));
        writeln!(out, "monitor {name}: baseline {uri} opens, {compared} of {columns} columns compare (by {by})")?;
    }
    if let Some(labels) = &bound.labels {
        writeln!(out, "monitor {name}: labels {} opens (by {})", labels.uri, reached.by("labels"))?;
    }
    Ok(())
}

/// What failed, each once, however many tables of a store met it.
#[derive(Default)]
struct Failures(Vec<Failure>);

struct Failure {
    /// What makes it the same failure.
    key: String,
    message: String,
    /// The monitors and which of their tables met it.
    met: Vec<(String, Vec<&'static str>)>,
}

impl Failures {
    fn add(&mut self, monitor: &str, what: &'static str, places: &[Place], error: &Error) {
        let message = super::message(error);
        let key = match error {
            Error::Sql(limno_sql::Error::Access(trouble)) => {
                // Of which store it speaks.
                let authority = places.iter().map(Place::authority).find(|place| message.contains(place));
                // Those who read need less than those who write.
                authority.map(|authority| format!("{authority} {:?} {}", trouble.kind, what == "output"))
            }
            _ => None,
        };
        let key = key.unwrap_or_else(|| message.clone());
        let failure = match self.0.iter_mut().position(|known| known.key == key) {
            Some(index) => &mut self.0[index],
            None => {
                self.0.push(Failure { key, message, met: Vec::new() });
                let last = self.0.len() - 1;
                &mut self.0[last]
            }
        };
        match failure.met.iter_mut().find(|(known, _)| known == monitor) {
            Some((_, met)) if !met.contains(&what) => met.push(what),
            Some(_) => {}
            None => failure.met.push((monitor.to_owned(), vec![what])),
        }
    }

    fn lines(&self) -> Vec<String> {
        let met = |failure: &Failure| {
            let monitors = failure.met.iter().map(|(monitor, what)| format!("{monitor} ({})", what.join(", ")));
            monitors.collect::<Vec<_>>().join(", ")
        };
        self.0.iter().map(|failure| format!("monitor {}: {}", met(failure), failure.message)).collect()
    }
}

/// Asks the notifiers and triggers whether they would take what they are sent.
async fn deliveries(
    engine: &Engine,
    args: &CheckArgs,
    monitors: &[&MonitorConfig],
    failures: &mut Vec<String>,
    out: &mut dyn Write,
) -> Result<()> {
    // Only what the named monitors use, so that one team's outage does not fail another's check.
    let used = |of: &dyn Fn(&RuleConfig) -> Vec<String>, name: &str| {
        args.monitors.is_empty()
            || monitors.iter().flat_map(|monitor| &monitor.rules).any(|rule| of(rule).iter().any(|used| used == name))
    };
    let notify = |rule: &RuleConfig| rule.notify.iter().map(|name| name.value.clone()).collect();
    let trigger = |rule: &RuleConfig| rule.trigger.iter().map(|name| name.value.clone()).collect();
    for (name, config) in engine.config().notifiers.iter().filter(|(name, _)| used(&notify, name)) {
        let answer = match crate::alert::build(config) {
            Ok(notifier) => notifier.check().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => writeln!(out, "notifier {name}: {}", redact(&answer))?,
            Err(error) => failures.push(format!("notifier {name}: {error}")),
        }
    }
    for (name, config) in engine.config().triggers.iter().filter(|(name, _)| used(&trigger, name)) {
        let answer = match crate::trigger::build(config) {
            Ok(trigger) => trigger.check().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => writeln!(out, "trigger {name}: {}", redact(&answer))?,
            Err(error) => failures.push(format!("trigger {name}: {error}")),
        }
    }
    Ok(())
}

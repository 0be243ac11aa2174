//! From firings to rows of `alerts`, and from its pending rows to deliveries.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::event::{Event, Kind, Log, Outgoing, Pending, Status};
use super::{AlertMessage, Breach};
use crate::Result;
use crate::config::{Condition, Config, MonitorConfig};
use crate::monitor::Places;
use crate::rule::Finding;
use crate::trigger::{TriggerRequest, idempotency_token};

/// The breach's id: the same for the same rule, rows and window, in every refresh.
#[must_use]
pub fn alert_id(monitor: &str, rule: &str, finding: &Finding) -> String {
    let about = &finding.observation;
    let window = about.window.map(|window| window.0.to_string());
    let (key, value) = about.slice.clone().unzip();
    let parts = [
        Some(monitor),
        Some(rule),
        about.granularity.as_deref(),
        window.as_deref(),
        about.model.as_deref(),
        key.as_deref(),
        value.as_ref().and_then(|value| value.as_deref()),
        Some(about.column.as_str()),
    ];
    digest("limno/alert/1", parts)
}

/// 32 hexadecimal digits over parts that are told apart from each other and from nothing.
fn digest<'a>(label: &str, parts: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut hash = Sha256::new();
    hash.update(label);
    for part in parts {
        hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What a refresh adds to the log.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The monitor.
    pub monitor: &'a MonitorConfig,
    /// Where its tables are.
    pub places: &'a Places,
    /// Now.
    pub now: DateTime<Utc>,
}

impl Batch<'_> {
    /// The rows for breaches that the log does not know yet: one for each, and what is to be sent about those of the
    /// newest complete window. All are to be written in one commit.
    ///
    /// # Errors
    /// When a message cannot be written as JSON, which would be a defect.
    pub fn events(&self, breaches: Vec<(Breach, bool)>, log: &Log) -> Result<Vec<Event>> {
        let name = &self.monitor.name;
        let fresh: Vec<_> =
            breaches.into_iter().filter(|(breach, _)| !log.breaches.contains(&breach.alert_id)).collect();
        let mut newest: Vec<&Breach> =
            fresh.iter().filter(|(_, is_newest)| *is_newest).map(|(breach, _)| breach).collect();
        newest.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| excess(b).total_cmp(&excess(a)))
                .then_with(|| a.alert_id.cmp(&b.alert_id))
        });
        let mut events = Vec::new();
        let mut called = Vec::new();
        for (trigger, breach) in self.triggers(&newest, log) {
            let event = self.call(&trigger, breach, log)?;
            if event.status == Status::Pending {
                called.push(trigger);
            }
            events.push(event);
        }
        for (notifier, breaches) in self.notifications(&newest) {
            let older: HashSet<_> = fresh
                .iter()
                .filter(|(_, is_newest)| !is_newest)
                .filter(|(breach, _)| self.rules_of(breach, |rule| &rule.notify).contains(&notifier))
                .map(|(breach, _)| (&breach.granularity, breach.window))
                .collect();
            let historical = older.len();
            events.push(self.message(&notifier, &breaches, historical, &called)?);
        }
        events.extend(fresh.into_iter().map(|(breach, is_newest)| Event::breach(name, breach, is_newest, self.now)));
        Ok(events)
    }

    fn rules_of(
        &self,
        breach: &Breach,
        of: impl Fn(&crate::config::RuleConfig) -> &Vec<crate::config::Located<String>>,
    ) -> HashSet<String> {
        let rules = self.monitor.rules.iter().filter(|rule| rule.name == breach.rule);
        rules.flat_map(|rule| of(rule).iter().map(|name| name.value.clone())).collect()
    }

    /// For each trigger the worst breach that asks for it, of the windows that it was not called for: one call a
    /// refresh.
    fn triggers<'b>(&self, newest: &[&'b Breach], log: &Log) -> BTreeMap<String, &'b Breach> {
        let mut triggers = BTreeMap::new();
        for breach in newest {
            for trigger in self.rules_of(breach, |rule| &rule.trigger) {
                if !log.calls.contains(&self.call_id(&trigger, breach)) {
                    triggers.entry(trigger).or_insert(*breach);
                }
            }
        }
        triggers
    }

    /// One call for a trigger and a window, whichever rule asks first.
    fn call_id(&self, trigger: &str, breach: &Breach) -> String {
        let start = breach.window.0.timestamp_micros().to_string();
        digest(
            "limno/call/1",
            [Some(self.monitor.name.as_str()), Some(trigger), Some(breach.granularity.as_str()), Some(start.as_str())],
        )
    }

    fn notifications<'b>(&self, newest: &[&'b Breach]) -> BTreeMap<String, Vec<&'b Breach>> {
        let mut notifications: BTreeMap<String, Vec<&Breach>> = BTreeMap::new();
        for breach in newest {
            for notifier in self.rules_of(breach, |rule| &rule.notify) {
                notifications.entry(notifier).or_default().push(breach);
            }
        }
        notifications
    }

    fn call(&self, trigger: &str, breach: &Breach, log: &Log) -> Result<Event> {
        let id = self.call_id(trigger, breach);
        // Two triggers of one rule may start jobs of one workspace, which takes one token for one run.
        let is_alone = self.rules_of(breach, |rule| &rule.trigger).len() == 1;
        let asked_by = if is_alone { breach.rule.clone() } else { format!("{}/{trigger}", breach.rule) };
        let request = TriggerRequest {
            token: idempotency_token(&self.monitor.name, &asked_by, &breach.granularity, breach.window.0),
            monitor: self.monitor.name.clone(),
            table: self.monitor.table.value.clone(),
            rule: breach.rule.clone(),
            column: breach.column.clone(),
            metric: breach.metric.clone(),
            value: breach.value,
            granularity: breach.granularity.clone(),
            window: breach.window,
            model_id: breach.model_id.clone(),
        };
        let cooldown = self.config.triggers.get(trigger).map_or(Duration::ZERO, crate::config::TriggerConfig::cooldown);
        let cooldown = i64::try_from(cooldown.as_micros()).unwrap_or(i64::MAX);
        // A call that still waits for an answer will be the trigger's last one.
        let is_waiting = cooldown > 0 && log.pending.iter().any(|item| item.is_call() && item.target == trigger);
        let is_cooling = is_waiting
            || log
                .last_calls
                .get(trigger)
                .is_some_and(|last| self.now.timestamp_micros() < last.saturating_add(cooldown));
        let status = if is_cooling { Status::Suppressed } else { Status::Pending };
        let mut event = Event::new(&self.monitor.name, &id, Kind::Trigger, status, self.now);
        event.target = Some(trigger.to_owned());
        event.payload = Some(json(&request)?);
        event.detail = is_cooling.then(|| "the trigger is cooling down".to_owned());
        if !self.config.deliver {
            (event.status, event.detail) = (Status::Suppressed, Some(silence(self.config)));
        }
        Ok(event)
    }

    fn message(&self, notifier: &str, breaches: &[&Breach], historical: usize, called: &[String]) -> Result<Event> {
        let name = &self.monitor.name;
        let ids = breaches.iter().map(|breach| Some(breach.alert_id.as_str()));
        let id = digest("limno/message/1", [Some(name.as_str()), Some(notifier)].into_iter().chain(ids));
        let message = AlertMessage {
            id: id.clone(),
            monitor: name.clone(),
            table: self.monitor.table.value.clone(),
            severity: breaches.iter().map(|breach| breach.severity).max().unwrap_or(crate::config::Severity::Info),
            created_at: self.now,
            timezone: self.monitor.timezone,
            breaches: breaches.iter().map(|breach| (*breach).clone()).collect(),
            historical,
            triggered: called.to_vec(),
            metric_tables: self.places.named(self.monitor),
            // The mail is read elsewhere: the file by its whole path.
            sql_hint: sql_hint(&self.file(), self.monitor, breaches.first().map(|breach| breach.column.as_str())),
        };
        let mut event = Event::new(name, &id, Kind::Notification, Status::Pending, self.now);
        event.target = Some(notifier.to_owned());
        event.payload = Some(json(&message)?);
        if !self.config.deliver {
            (event.status, event.detail) = (Status::Suppressed, Some(silence(self.config)));
        }
        Ok(event)
    }

    /// The configuration as an option of the command line names it.
    fn file(&self) -> String {
        let file = absolute(&self.config.file);
        match &self.config.environment {
            Some(environment) => format!("{file} --env {environment}"),
            None => file,
        }
    }
}

/// Why nothing is sent.
fn silence(config: &Config) -> String {
    format!("environment {} sends nothing (deliver = false)", config.environment.as_deref().unwrap_or_default())
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| crate::Error::Usage { message: format!("an alert cannot be written as JSON: {error}") })
}

/// How far a value is beyond its limit, to tell the worst breach; comparable within one rule only.
fn excess(breach: &Breach) -> f64 {
    let relative = |beyond: f64, limit: f64| beyond / limit.abs().max(f64::MIN_POSITIVE);
    match breach.condition {
        Condition::Above(limit) | Condition::ChangeAbove(limit) => relative(breach.value - limit, limit),
        Condition::Below(limit) => relative(limit - breach.value, limit),
        Condition::Outside(low, high) => relative((low - breach.value).max(breach.value - high), high - low),
    }
}

fn absolute(file: &str) -> String {
    std::path::absolute(file).map_or_else(|_| file.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// A command line that shows more of a column.
#[must_use]
pub fn sql_hint(file: &str, monitor: &MonitorConfig, column: Option<&str>) -> String {
    // A name with quotes or control characters is left out rather than quoted for every shell there is.
    let is_plain = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || " _.-:".contains(c));
    let mut filter = String::new();
    if let Some(column) = column.filter(is_plain) {
        filter.push_str(&format!(" AND column_name = '{column}'"));
    }
    let model = monitor.kind.model_id().map(|model| model.value.as_str());
    if let Some(model) = model.filter(|model| model.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
        filter.push_str(&format!(" AND {model} = '*'"));
    }
    format!(
        "limno -c {file} sql \"SELECT window.start AS window_start, column_name, drift_type, \
         population_stability_index AS psi, ks_test.statistic AS ks, wasserstein_distance \
         FROM {}_drift_metrics WHERE slice_key IS NULL{filter} ORDER BY window.start DESC LIMIT 20\"",
        monitor.name
    )
}

/// One attempt to deliver, and what came of it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The notifier or trigger.
    pub target: String,
    /// Whether it is a call of a trigger.
    pub is_call: bool,
    /// The receiver's answer, or why there was none.
    pub outcome: Result<String, String>,
}

/// Delivers everything that is pending, each once; gives the rows that say what came of it. Where the configuration says
/// that nothing is delivered, nothing is, now and later.
pub async fn deliver(
    config: &Config,
    monitor: &str,
    pending: Vec<Pending>,
    now: DateTime<Utc>,
) -> (Vec<Event>, Vec<Attempt>) {
    let (mut events, mut attempts) = (Vec::new(), Vec::new());
    for item in pending {
        let is_call = item.is_call();
        if !config.deliver {
            // Put there when this output was still delivered from; a later run does not send it either.
            let kind = if is_call { Kind::Trigger } else { Kind::Notification };
            let mut event = Event::new(monitor, &item.alert_id, kind, Status::Suppressed, now);
            (event.target, event.detail) = (Some(item.target), Some(silence(config)));
            events.push(event);
            continue;
        }
        let (status, outcome) = match send(config, &item).await {
            Ok(detail) => (Status::Delivered, Ok(detail)),
            Err(Failure::Lasting(why)) => (Status::Abandoned, Err(why)),
            Err(Failure::Passing(why)) => (Status::Failed, Err(why)),
        };
        let kind = if is_call { Kind::Trigger } else { Kind::Notification };
        let mut event = Event::new(monitor, &item.alert_id, kind, status, now);
        event.target = Some(item.target.clone());
        event.detail = Some(outcome.clone().unwrap_or_else(|error| error));
        events.push(event);
        attempts.push(Attempt { target: item.target, is_call, outcome });
    }
    (events, attempts)
}

/// Why something was not delivered.
enum Failure {
    /// The next run tries again.
    Passing(String),
    /// No run ever could; it leaves the outbox, and this is said once.
    Lasting(String),
}

async fn send(config: &Config, item: &Pending) -> Result<String, Failure> {
    let gone = || Err(Failure::Lasting(format!("{} is no longer configured, so this is given up", item.target)));
    let receipt = match &item.what {
        Outgoing::Message(message) => match config.notifiers.get(&item.target) {
            Some(notifier) => match super::build(notifier) {
                Ok(notifier) => notifier.notify(message).await,
                Err(error) => Err(error),
            },
            None => return gone(),
        },
        Outgoing::Call(request) => match config.triggers.get(&item.target) {
            Some(trigger) => match crate::trigger::build(trigger) {
                Ok(trigger) => trigger.fire(request).await,
                Err(error) => Err(error),
            },
            None => return gone(),
        },
        Outgoing::Unreadable { why, .. } => {
            return Err(Failure::Lasting(format!("what was to be sent does not parse, so it is given up: {why}")));
        }
    };
    receipt.map(|receipt| receipt.detail).map_err(|error| Failure::Passing(error.to_string()))
}

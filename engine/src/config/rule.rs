//! Rules: which metric of which columns must stay within which bounds, and what happens when it does not.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use limno_sql::window::{Granularity, ParseGranularityError};

use super::Located;
use super::glob::glob_matches;
use super::notifier::known_names;
use super::problem::{name_hint, quoted};
use super::raw::{Section, Value, choice};
use super::significance::{p_values_of, read_significance};

/// One `[[monitor.NAME.rule]]`.
#[derive(Debug, Clone)]
pub struct RuleConfig {
    /// Unique within its monitor.
    pub name: String,
    /// The line of its table.
    pub line: usize,
    /// A numeric column of the profile or the drift table, dotted where it is a field of a struct.
    pub metric: Located<String>,
    /// Whether the metric stands in the drift table rather than in the profile table.
    pub is_on_drift: bool,
    /// The bounds that are broken by a breach.
    pub condition: Condition,
    /// If there is one: bounds are only broken where the p-value of the metric's test is not above it. Between 0 and 1.
    pub significance: Option<f64>,
    /// The columns that are looked at: names, or patterns with `*`.
    pub columns: Vec<Located<String>>,
    /// What a drift metric, and the change of any metric, is measured from.
    pub against: Against,
    /// How many of the last `windows` windows, the newest among them, must break the bounds. 1 to `windows`.
    pub breaches: u32,
    /// How many windows are looked at, at least 1.
    pub windows: u32,
    /// Windows with fewer rows are passed over.
    pub min_count: u64,
    /// How bad a breach is.
    pub severity: Severity,
    /// The only granularity that is looked at, one of the monitor's; every one if there is none.
    pub granularity: Option<Located<Granularity>>,
    /// Whether slices are looked at beside the whole table.
    pub slices: bool,
    /// Names of configured notifiers.
    pub notify: Vec<Located<String>>,
    /// Names of configured triggers.
    pub trigger: Vec<Located<String>>,
}

impl RuleConfig {
    /// Whether the rule looks at this column.
    pub fn covers(&self, column: &str) -> bool {
        self.columns.iter().any(|pattern| glob_matches(&pattern.value, column))
    }

    /// The columns of the p-values that belong to the metric, the first of which a row has counts; none if no test
    /// belongs to it.
    pub fn p_values(&self) -> &'static [&'static str] {
        p_values_of(&self.metric.value)
    }
}

/// The bounds of a rule. All numbers are finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// Broken by values greater than this.
    Above(f64),
    /// Broken by values less than this.
    Below(f64),
    /// Broken by values less than the first or greater than the second number.
    Outside(f64, f64),
    /// Broken by values that differ from that of the window just before by more than this.
    ChangeAbove(f64),
}

impl Condition {
    /// Whether `value` breaks the bounds. `previous` is the same metric in the window or baseline before it.
    ///
    /// NaN breaks nothing, and neither does a change from or to something unknown.
    pub fn is_breached(&self, value: f64, previous: Option<f64>) -> bool {
        // Each comparison is written so that NaN makes it false.
        match *self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
            Self::Outside(least, greatest) => value < least || value > greatest,
            Self::ChangeAbove(limit) => previous.is_some_and(|previous| (value - previous).abs() > limit),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(limit) => write!(f, "above {limit}"),
            Self::Below(limit) => write!(f, "below {limit}"),
            Self::Outside(least, greatest) => write!(f, "outside [{least}, {greatest}]"),
            Self::ChangeAbove(limit) => write!(f, "change above {limit}"),
        }
    }
}

/// What a window is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Against {
    /// The monitor's baseline table.
    Baseline,
    /// The window just before it.
    Consecutive,
}

impl Display for Against {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Baseline => "BASELINE",
            Self::Consecutive => "CONSECUTIVE",
        })
    }
}

/// How bad a breach is; the greatest is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warning,
    /// Worth waking someone.
    Critical,
}

impl Display for Severity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// A word that is no [`Severity`] or no [`Against`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is none of {expected}", quoted(.found))]
pub struct UnknownWord {
    /// The word.
    pub found: String,
    /// The valid ones, with commas between them.
    pub expected: &'static str,
}

impl FromStr for Severity {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = SEVERITIES.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, severity)| *severity)
            .ok_or(UnknownWord { found: text.to_owned(), expected: "info, warning, critical" })
    }
}

impl FromStr for Against {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = AGAINST.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, against)| *against)
            .ok_or(UnknownWord { found: text.to_owned(), expected: "BASELINE, CONSECUTIVE" })
    }
}

const SEVERITIES: &[(&str, Severity)] =
    &[("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

const AGAINST: &[(&str, Against)] = &[("BASELINE", Against::Baseline), ("CONSECUTIVE", Against::Consecutive)];

/// What the rules of a monitor are checked against.
pub(super) struct RuleContext<'a> {
    pub(super) monitor: &'a str,
    /// The metrics that a rule may name, each with whether it stands in the drift table.
    pub(super) metrics: &'a [(String, bool)],
    pub(super) has_baseline: bool,
    /// Those of the monitor; none for a snapshot, unknown where the monitor's kind could not be read.
    pub(super) granularities: Option<&'a [Located<Granularity>]>,
    pub(super) notifiers: &'a [&'a str],
    pub(super) triggers: &'a [&'a str],
}

pub(super) fn read_rule(value: &Value<'_>, context: &RuleContext<'_>) -> Option<RuleConfig> {
    let mut section = value.section()?;
    let line = section.at.line;
    let name = section.require("name", "a name for the rule").and_then(|value| read_name(&value));
    let metric = section
        .require("metric", "a metric, such as \"population_stability_index\"")
        .and_then(|value| read_metric(&value, context));
    let condition = read_condition(&mut section);
    let significance = match section.take("significance") {
        None => Some(None),
        Some(value) => read_significance(&value, metric.as_ref().map(|(metric, _)| metric.value.as_str())).map(Some),
    };
    let columns = match section.take("columns") {
        None => Some(vec![section_default_columns(&section)]),
        Some(value) => value.some_texts("is empty, so the rule would look at no column"),
    };
    let against = match section.take("against") {
        None if context.has_baseline => Some(Against::Baseline),
        None => Some(Against::Consecutive),
        Some(value) => read_against(&value, context),
    };
    let windows_value = section.take("windows");
    let windows = match &windows_value {
        None => Some(1),
        Some(value) => value.integer(1..=10_000),
    };
    let breaches_value = section.take("breaches");
    let breaches = match &breaches_value {
        None => Some(1),
        Some(value) => value.integer(1..=10_000),
    };
    if let (Some(value), Some(breaches), Some(windows)) = (&breaches_value, breaches, windows)
        && breaches > windows
    {
        value.report(
            format!("{breaches} breaches cannot be among {windows} windows"),
            Some(format!("set windows = {breaches} or more")),
        );
    }
    let min_count = match section.take("min_count") {
        None => Some(0),
        Some(value) => value.integer(0..=u64::from(u32::MAX)),
    };
    let severity = match section.take("severity") {
        None => Some(Severity::Warning),
        Some(value) => choice(&value, SEVERITIES),
    };
    let granularity = section.take("granularity").and_then(|value| read_own_granularity(&value, context));
    let slices = match section.take("slices") {
        None => Some(true),
        Some(value) => value.boolean(),
    };
    let notify = section.take("notify").map(|value| known_names(&value, "notifier", context.notifiers));
    let trigger = section.take("trigger").map(|value| known_names(&value, "trigger", context.triggers));
    section.finish();
    let (metric, is_on_drift) = metric?;
    Some(RuleConfig {
        name: name?,
        line,
        metric,
        is_on_drift,
        condition: condition?,
        significance: significance?,
        columns: columns?,
        against: against?,
        breaches: breaches?,
        windows: windows?,
        min_count: min_count?,
        severity: severity?,
        granularity,
        slices: slices?,
        notify: notify.unwrap_or_default(),
        trigger: trigger.unwrap_or_default(),
    })
}

fn section_default_columns(section: &Section<'_>) -> Located<String> {
    section.implied("columns", "*")
}

/// A name that goes into tables, mails and job parameters.
pub(super) fn read_name(value: &Value<'_>) -> Option<String> {
    let name = value.text()?.value;
    if name.contains(char::is_control) || name.chars().count() > 100 {
        value.report("a name has at most 100 characters and no control characters", None);
        return None;
    }
    Some(name)
}

fn read_metric(value: &Value<'_>, context: &RuleContext<'_>) -> Option<(Located<String>, bool)> {
    let metric = value.text()?;
    let names: Vec<&str> = context.metrics.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(hint) = unknown_metric(&metric.value, &[&names]) {
        value.report(format!("there is no numeric metric {}", quoted(&metric.value)), hint);
        return None;
    }
    let is_on_drift = context.metrics.iter().any(|(name, is_on_drift)| *name == metric.value && *is_on_drift);
    Some((metric, is_on_drift))
}

/// If no list has this metric: the hint that goes with it.
pub(crate) fn unknown_metric(metric: &str, lists: &[&[&str]]) -> Option<Option<String>> {
    let names: Vec<&str> = lists.iter().copied().flatten().copied().collect();
    if names.contains(&metric) {
        return None;
    }
    let prefix = format!("{metric}.");
    let fields: Vec<String> = names.iter().filter(|name| name.starts_with(&prefix)).map(|name| quoted(name)).collect();
    if fields.is_empty() {
        Some(name_hint(metric, &names))
    } else {
        Some(Some(format!("name one of its fields: {}", fields.join(", "))))
    }
}

fn read_condition(section: &mut Section<'_>) -> Option<Condition> {
    let above = section.take("above");
    let below = section.take("below");
    let outside = section.take("outside");
    let change_above = section.take("change_above");
    let given: Vec<&Value<'_>> = [&above, &below, &outside, &change_above].into_iter().flatten().collect();
    match given.as_slice() {
        [] => {
            section.report(
                "has no condition",
                Some("add one of above = x, below = x, outside = [a, b], change_above = x".to_owned()),
            );
            return None;
        }
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                other.report(
                    format!("a second condition beside {} in {}", first.key, first.stands()),
                    Some("write one rule for each condition".to_owned()),
                );
            }
            return None;
        }
    }
    if let Some(value) = above {
        return Some(Condition::Above(value.number()?));
    }
    if let Some(value) = below {
        return Some(Condition::Below(value.number()?));
    }
    if let Some(value) = outside {
        return read_outside(&value);
    }
    let value = change_above?;
    let limit = value.number()?;
    if limit < 0.0 {
        value.report("a change is never below zero, so every one would be a breach", None);
        return None;
    }
    Some(Condition::ChangeAbove(limit))
}

fn read_outside(value: &Value<'_>) -> Option<Condition> {
    let items = value.items("an array of two numbers")?;
    let [least, greatest] = items.as_slice() else {
        value.report(format!("expected two numbers, found {}", items.len()), Some("write outside = [a, b]".to_owned()));
        return None;
    };
    let (least, greatest) = (least.number(), greatest.number());
    let (least, greatest) = (least?, greatest?);
    if least > greatest {
        value.report(
            format!("the range [{least}, {greatest}] is empty"),
            Some(format!("write outside = [{greatest}, {least}]")),
        );
        return None;
    }
    Some(Condition::Outside(least, greatest))
}

fn read_against(value: &Value<'_>, context: &RuleContext<'_>) -> Option<Against> {
    let against = choice(value, AGAINST)?;
    if against == Against::Baseline && !context.has_baseline {
        value.report(
            format!("monitor {} has no baseline", quoted(context.monitor)),
            Some("add baseline = \"…\" to the monitor, or compare with CONSECUTIVE".to_owned()),
        );
        return None;
    }
    Some(against)
}

fn read_own_granularity(value: &Value<'_>, context: &RuleContext<'_>) -> Option<Located<Granularity>> {
    let granularity = read_granularity(value)?;
    let own = context.granularities?;
    let shown = granularity.value.to_string();
    let names: Vec<String> = own.iter().map(|own| own.value.to_string()).collect();
    if !names.contains(&shown) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        value.report(
            format!("{} is not a granularity of monitor {}", quoted(&shown), quoted(context.monitor)),
            name_hint(&shown, &names).or_else(|| Some("a snapshot has none".to_owned())),
        );
        return None;
    }
    Some(granularity)
}

pub(super) fn read_granularity(value: &Value<'_>) -> Option<Located<Granularity>> {
    let text = value.text()?.value;
    let granularity = text.parse::<Granularity>();
    if let Err(error) = &granularity {
        let slides = text.split_whitespace().any(|word| word.eq_ignore_ascii_case("every"));
        let (message, hint) = match error {
            ParseGranularityError::Multiple { .. } => {
                ("the length of a window must be a multiple of its step".to_owned(), "write \"7 days every 1 day\"")
            }
            ParseGranularityError::Steps { .. } => (error.to_string(), "write a longer step"),
            _ if slides => (format!("{} is not a granularity", quoted(&text)), "write \"7 days every 1 day\""),
            _ => (
                format!("{} is not a granularity", quoted(&text)),
                "write \"5 minutes\", \"1 hour\", \"1 day\", \"2 weeks\", \"1 month\" or \"1 year\"",
            ),
        };
        value.report(message, Some(hint.to_owned()));
    }
    granularity.ok().map(|granularity| value.located(granularity))
}

//! Monitors: the watch on one table.

use std::time::Duration;

use chrono::Weekday;
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use limno_metrics::binning::Bins;

use super::Located;
use super::columns::{ColumnSelection, Precision, read_columns, read_precision};
use super::environment::{Environment, read_output};
use super::kind::{MonitorKind, read_kind};
use super::metric::{MetricConfig, names_for_rules, read_metrics};
use super::problem::{name_hint, quoted};
use super::raw::{Value, choice};
use super::retention::{Retention, read_retention};
use super::rule::{RuleConfig, RuleContext, read_rule};
use super::uri::{Use, read_uri};

/// What a refresh may take in memory for its states, unless something else is said.
const DEFAULT_MEMORY: u64 = 2 << 30;
/// The least that makes sense: a state for each partition of the data, and rows on their way.
const SMALLEST_MEMORY: u64 = 16 << 20;

/// One `[monitor.NAME]`.
#[derive(Debug, Clone)]
pub struct MonitorConfig {
    /// Letters, digits and underscores: it names the metric tables.
    pub name: String,
    /// The line of its table.
    pub line: usize,
    /// The watched table: a URI or a path, as given.
    pub table: Located<String>,
    /// The folder of the metric tables: a URI or a path, as given.
    pub output: Located<String>,
    /// The table that windows are compared with.
    pub baseline: Option<Located<String>>,
    /// Which columns are looked at, and how.
    pub columns: ColumnSelection,
    /// SQL expressions, not yet parsed.
    pub slices: Vec<Located<String>>,
    /// The most values that one slice expression may have. 1 to 1,000,000.
    pub max_slices: usize,
    /// Slices of a window with fewer rows have no rows in the metric tables.
    pub min_slice_size: u64,
    /// A valid cron pattern with seconds, read in `timezone`.
    pub schedule: Option<Located<String>>,
    /// Of the windows, the schedule and the mails.
    pub timezone: Tz,
    /// The first day of a window of weeks.
    pub week_start: Weekday,
    /// How long after midnight days begin on the wall clock, and all windows that are made of days: 0 to 1439 minutes.
    pub offset_minutes: u16,
    /// How long after its end a window is still incomplete.
    pub grace: Duration,
    /// How far back a refresh that makes all states anew goes, the first one too; `None` for all that the table has.
    /// Rows that are there of older windows stay.
    pub lookback: Option<Duration>,
    /// Bytes that the states of a refresh may take in memory, about; more go to files, or are made in several passes.
    pub memory: u64,
    /// How long what is kept.
    pub retention: Retention,
    /// How finely the distributions are kept.
    pub precision: Precision,
    /// The bins of the population stability index of numeric columns: 2 to 1000, or 1 to 999 finite, strictly
    /// increasing edges.
    pub bins: Bins,
    /// What is known of the table's rows.
    pub kind: MonitorKind,
    /// Metrics of the user, in the order of the file.
    pub metrics: Vec<MetricConfig>,
    /// In the order of the file.
    pub rules: Vec<RuleConfig>,
}

/// The names that rules may refer to.
pub(super) struct Known<'a> {
    pub(super) notifiers: &'a [&'a str],
    pub(super) triggers: &'a [&'a str],
    pub(super) environment: Option<&'a Environment>,
}

pub(super) fn read_monitor(name: &str, value: &Value<'_>, known: &Known<'_>) -> Option<MonitorConfig> {
    let mut section = value.section()?;
    let line = section.at.line;
    let is_named = check_name(name, value);
    let table =
        section.require("table", "the table to watch: a URI or a path").and_then(|value| read_uri(&value, Use::Table));
    let output = read_output(&mut section, known.environment);
    let baseline_value = section.take("baseline");
    let baseline = baseline_value.as_ref().and_then(|value| read_uri(value, Use::Table));
    let columns = section.take("columns").and_then(|value| value.section()).map(read_columns);
    let slices = section.take("slices").and_then(|value| value.texts());
    let max_slices = section.take("max_slices").and_then(|value| value.integer(1..=1_000_000_u32));
    let min_slice_size = section.take("min_slice_size").and_then(|value| value.integer(0..=u64::from(u32::MAX)));
    let timezone = section.take("timezone").and_then(|value| read_timezone(&value));
    let schedule = section.take("schedule").and_then(|value| read_schedule(&value));
    let week_start = section.take("week_start").and_then(|value| choice(&value, WEEKDAYS));
    let offset_value = section.take("offset");
    let offset_minutes = offset_value.as_ref().and_then(read_offset);
    let grace = section.take("grace").and_then(|value| value.duration());
    let lookback_value = section.take("lookback");
    let lookback = lookback_value.as_ref().and_then(read_lookback);
    let memory = section.take("memory").and_then(|value| value.bytes(SMALLEST_MEMORY));
    let retention_value = section.take("retention");
    let retention = retention_value.as_ref().and_then(read_retention);
    let precision = read_precision(&mut section);
    let bins = section.take("bins").and_then(|value| read_bins(&value));
    let kind = read_kind(&mut section);
    let metrics = section.take("metric").map(|value| read_metrics(&value, name)).unwrap_or_default();
    let metric_names = names_for_rules(kind.as_ref().and_then(MonitorKind::quality), &metrics);
    let context = RuleContext {
        monitor: name,
        metrics: &metric_names,
        has_baseline: baseline_value.is_some(),
        granularities: kind.as_ref().map(MonitorKind::granularities),
        notifiers: known.notifiers,
        triggers: known.triggers,
    };
    if let (Some(MonitorKind::Snapshot), Some(value), Some(retention)) = (&kind, &retention_value, &retention)
        && retention.states().is_some()
    {
        value.report("a snapshot has no windows that grow old: only `files` has a meaning", None);
    }
    if let Some(MonitorKind::Snapshot) = &kind {
        for value in offset_value.iter().chain(&lookback_value) {
            value.report("a snapshot has no windows of time", None);
        }
    }
    let rules = section.take("rule").map(|value| read_rules(&value, &context)).unwrap_or_default();
    section.finish();
    if !is_named {
        return None;
    }
    // A key that is there and at fault has been reported, so the defaults below are never used in its place.
    Some(MonitorConfig {
        name: name.to_owned(),
        line,
        table: table?,
        output: output?,
        baseline,
        columns: columns.unwrap_or_default(),
        slices: slices.unwrap_or_default(),
        max_slices: usize::try_from(max_slices.unwrap_or(1000)).ok()?,
        min_slice_size: min_slice_size.unwrap_or_default(),
        schedule,
        timezone: timezone.unwrap_or(Tz::UTC),
        week_start: week_start.unwrap_or(Weekday::Mon),
        offset_minutes: offset_minutes.unwrap_or_default(),
        grace: grace.unwrap_or_default(),
        lookback,
        memory: memory.unwrap_or(DEFAULT_MEMORY),
        retention: retention.unwrap_or_default(),
        precision,
        bins: bins.unwrap_or_default(),
        kind: kind?,
        metrics,
        rules,
    })
}

fn check_name(name: &str, value: &Value<'_>) -> bool {
    let is_valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_valid {
        let suggestion: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        value.report(
            "the name of a monitor has letters, digits and underscores only, for it names tables",
            (!suggestion.is_empty()).then(|| format!("write [monitor.{suggestion}]")),
        );
    }
    is_valid
}

fn read_timezone(value: &Value<'_>) -> Option<Tz> {
    let text = value.text()?.value;
    let timezone = text.parse::<Tz>().ok();
    if timezone.is_none() {
        let names: Vec<&str> = TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
        value.report(format!("{} is not an IANA time zone", quoted(&text)), name_hint(&text, &names));
    }
    timezone
}

fn read_offset(value: &Value<'_>) -> Option<u16> {
    let offset = value.duration()?;
    let minutes = u16::try_from(offset.as_secs() / 60).ok().filter(|&minutes| minutes < 24 * 60);
    let is_whole = offset.subsec_nanos() == 0 && offset.as_secs().is_multiple_of(60);
    match minutes.filter(|_| is_whole) {
        Some(minutes) => Some(minutes),
        None => {
            let hint = "write the time after midnight at which days begin, such as \"6h\" or \"5h 30m\"";
            value.report("an offset is less than a day, in whole minutes", Some(hint.to_owned()));
            None
        }
    }
}

fn read_lookback(value: &Value<'_>) -> Option<Duration> {
    let lookback = value.duration()?;
    if lookback.is_zero() {
        value.report("a lookback of zero would leave out every window", None);
        return None;
    }
    Some(lookback)
}

fn read_schedule(value: &Value<'_>) -> Option<Located<String>> {
    let pattern = value.text()?;
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    let fields = pattern.value.split_whitespace().count();
    let Err(error) = parser.parse(&pattern.value) else {
        return Some(pattern);
    };
    if fields != 6 && !pattern.value.contains('@') {
        value.report(
            format!("a schedule has six fields, this one has {fields}"),
            Some(if fields == 5 {
                format!("put the seconds first: \"0 {}\"", pattern.value.trim())
            } else {
                "write seconds, minutes, hours, day of month, month, day of week: \"0 0 * * * *\"".to_owned()
            }),
        );
        return None;
    }
    let reason = match &error {
        CronError::InvalidPattern(reason)
        | CronError::IllegalCharacters(reason)
        | CronError::ComponentError(reason) => reason.clone(),
        other => other.to_string(),
    };
    value.report(
        format!("{} is not a schedule: {}", quoted(&pattern.value), as_clause(&reason)),
        Some("write seconds, minutes, hours, day of month, month, day of week: \"0 0 * * * *\"".to_owned()),
    );
    None
}

/// A sentence of a library as the end of a message of ours.
fn as_clause(sentence: &str) -> String {
    let sentence = sentence.trim().trim_end_matches('.');
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

const WEEKDAYS: &[(&str, Weekday)] = &[
    ("monday", Weekday::Mon),
    ("tuesday", Weekday::Tue),
    ("wednesday", Weekday::Wed),
    ("thursday", Weekday::Thu),
    ("friday", Weekday::Fri),
    ("saturday", Weekday::Sat),
    ("sunday", Weekday::Sun),
];

fn read_bins(value: &Value<'_>) -> Option<Bins> {
    if !value.is_array() {
        return value.integer(2..=1000).map(Bins::Count);
    }
    let items = value.items("a number of bins or an array of edges")?;
    if items.is_empty() || items.len() > 999 {
        value.report(format!("expected 1 to 999 edges, found {}", items.len()), None);
        return None;
    }
    let edges: Vec<f64> = items.iter().map(Value::number).collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
    for (index, pair) in edges.windows(2).enumerate() {
        if let [low, high] = pair
            && low >= high
        {
            items[index + 1].report(format!("edges must increase, but {high} follows {low}"), None);
            return None;
        }
    }
    Some(Bins::Edges(edges))
}

fn read_rules(value: &Value<'_>, context: &RuleContext<'_>) -> Vec<RuleConfig> {
    if !value.is_array() {
        value.wrong_type("an array of tables", Some(format!("write [[monitor.{}.rule]]", context.monitor)));
        return Vec::new();
    }
    let mut rules: Vec<RuleConfig> = Vec::new();
    let mut names: Vec<Located<String>> = Vec::new();
    for item in value.items("an array of tables").unwrap_or_default() {
        if let Some(name) = item.declared_name() {
            if let Some(first) = names.iter().find(|known| known.value == name.value) {
                value.sink.report_located(
                    &name,
                    format!("{} is already the name of the rule in line {}", quoted(&name.value), first.line),
                    None,
                );
            } else {
                names.push(name);
            }
        }
        rules.extend(read_rule(&item, context));
    }
    rules
}

//! A message as a mail reads it: subject, plain text and HTML.
//!
//! Everything shown is prepared here as text (numbers rounded, names made visible); the templates only
//! lay it out. The HTML template escapes every value.

use std::collections::HashMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;

use super::{DeliveryError, format};
use crate::{
    alert::message::{AlertMessage, BinShare, Breach},
    config::{Against, Severity},
    delivery::visible,
};

/// Breaches shown in full; the others are counted by column.
const SHOWN_IN_FULL: usize = 20;
/// Columns listed for the breaches that are not shown in full.
const COLUMNS_LISTED: usize = 100;
/// Longest name in a header, in a table's cell, and of a path or a query.
const HEADER_NAME: usize = 60;
const CELL_NAME: usize = 200;
const LINE: usize = 4_000;

/// The three texts of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line, without control characters.
    pub subject: String,
    /// The plain-text part.
    pub text: String,
    /// The HTML part: inline styles, nothing loaded from elsewhere.
    pub html: String,
}

/// Renders a message.
///
/// # Errors
/// Only when a template of ours is wrong.
pub fn render(message: &AlertMessage) -> Result<Rendered, DeliveryError> {
    let view = minijinja::Value::from(Serde(View::new(message)));
    let wrong = |error: minijinja::Error| DeliveryError::Invalid {
        target: "alert template".to_owned(),
        reason: error.to_string(),
    };
    let environment = environment().map_err(wrong)?;
    let fill = |name| environment.get_template(name)?.render(view.clone());
    Ok(Rendered {
        subject: subject(message),
        text: fill("alert.txt").map_err(wrong)?,
        html: fill("alert.html").map_err(wrong)?,
    })
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_auto_escape_callback(
        |name| {
            if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
        },
    );
    // Padding by characters: good enough for a terminal, wrong only for double-width scripts.
    environment.add_filter("left", |text: &str, width: usize| format!("{text:<width$}"));
    environment.add_filter("right", |text: &str, width: usize| format!("{text:>width$}"));
    environment.add_template("alert.txt", include_str!("templates/alert.txt.j2"))?;
    environment.add_template("alert.html", include_str!("templates/alert.html.j2"))?;
    Ok(environment)
}

/// `[limno] critical: flights — population_stability_index of dep_delay 0.43 (above 0.2), week of … (+4 more)`
pub(super) fn subject(message: &AlertMessage) -> String {
    let name = |text: &str| visible(text, HEADER_NAME);
    let start = format!("[limno] {}: {}", message.severity, name(&message.monitor));
    let Some(worst) = message.breaches.first() else {
        return start;
    };
    let slice = worst
        .slice
        .as_ref()
        .map(|(key, value)| format!(" where {}", name(&format!("{key} = {value}"))))
        .unwrap_or_default();
    let more = match message.breaches.len() - 1 {
        0 => String::new(),
        more => format!(" (+{more} more)"),
    };
    format!(
        "{start} — {} of {}{slice} {} ({}), {}{more}",
        name(&worst.metric),
        name(&worst.column),
        format::telling(worst.value, worst.condition, 2),
        worst.condition,
        format::window(&worst.granularity, worst.window.0, message.timezone),
    )
}

/// A message, ready to be laid out: every field is what the reader sees.
#[derive(Serialize)]
struct View {
    severity: String,
    colour: &'static str,
    monitor: String,
    source: String,
    timezone: String,
    headline: String,
    breaches: Vec<BreachView>,
    rest: Option<RestView>,
    historical: usize,
    triggered: Vec<String>,
    metric_tables: Vec<(String, String)>,
    table_width: usize,
    sql_hint: String,
    created_at: String,
    id: String,
}

#[derive(Serialize)]
struct BreachView {
    severity: String,
    colour: &'static str,
    column: String,
    metric: String,
    value: String,
    error: Option<String>,
    condition: String,
    /// Label and text of the lines under the heading.
    facts: Vec<(&'static str, String)>,
    /// Statistic, before, now.
    before_after: Vec<[String; 3]>,
    statistic_width: usize,
    /// Label, share before, share now, contribution.
    bins: Vec<[String; 4]>,
    bin_width: usize,
}

#[derive(Serialize)]
struct RestView {
    breaches: usize,
    columns: Vec<RestColumn>,
    further_columns: usize,
    column_width: usize,
}

#[derive(Serialize)]
struct RestColumn {
    column: String,
    breaches: usize,
    worst: String,
}

impl View {
    fn new(message: &AlertMessage) -> Self {
        let (shown, rest) = message.breaches.split_at(message.breaches.len().min(SHOWN_IN_FULL));
        let cell = |text: &String| visible(text, CELL_NAME);
        let line = |text: &String| visible(text, LINE);
        let metric_tables: Vec<_> = message.metric_tables.iter().map(|(name, uri)| (cell(name), line(uri))).collect();
        Self {
            severity: message.severity.to_string(),
            colour: colour(message.severity),
            monitor: cell(&message.monitor),
            source: line(&message.table),
            timezone: message.timezone.name().to_owned(),
            headline: headline(message),
            breaches: shown.iter().map(|breach| BreachView::new(breach, message)).collect(),
            rest: (!rest.is_empty()).then(|| RestView::new(rest)),
            historical: message.historical,
            triggered: message.triggered.iter().map(cell).collect(),
            table_width: width(metric_tables.iter().map(|(name, _)| name), 0),
            metric_tables,
            sql_hint: line(&message.sql_hint),
            created_at: format::moment(message.created_at, message.timezone),
            id: message.id.clone(),
        }
    }
}

/// How many breaches, in how many columns, when.
fn headline(message: &AlertMessage) -> String {
    let mut columns: Vec<&str> = message.breaches.iter().map(|b| b.column.as_str()).collect();
    columns.sort_unstable();
    columns.dedup();
    let Some(worst) = message.breaches.first() else {
        return "no breach".to_owned();
    };
    format!(
        "{} in {}, {}",
        counted(message.breaches.len(), "breach", "breaches"),
        counted(columns.len(), "column", "columns"),
        format::window(&worst.granularity, worst.window.0, message.timezone)
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl BreachView {
    fn new(breach: &Breach, message: &AlertMessage) -> Self {
        let cell = |text: &str| visible(text, CELL_NAME);
        let zone = message.timezone;
        let span = |(start, end)| format!("{} to {}", format::moment(start, zone), format::moment(end, zone));
        let mut facts = vec![("severity", format!("{}, rule {}", breach.severity, cell(&breach.rule)))];
        if let Some((key, value)) = &breach.slice {
            facts.push(("slice", format!("{} = {}", cell(key), cell(value))));
        }
        if let Some(model) = &breach.model_id {
            facts.push(("model", cell(model)));
        }
        let length =
            if breach.granularity.is_empty() { String::new() } else { format!(" ({})", cell(&breach.granularity)) };
        facts.push(("window", format!("{}{length}", span(breach.window))));
        facts.push((
            "against",
            match (breach.against, breach.window_cmp) {
                (Against::Baseline, _) => "the baseline".to_owned(),
                (Against::Consecutive, Some(before)) => span(before),
                (Against::Consecutive, None) => "the window before".to_owned(),
            },
        ));
        facts.push((
            "windows",
            match breach.looked_at {
                looked_at @ 2.. => {
                    format!("{} of the last {looked_at} broke the rule", breach.breached)
                }
                looked_at => format!("{} of {looked_at} broke the rule", breach.breached),
            },
        ));
        let before_after = before_after(breach);
        let bins: Vec<_> = breach.bins.iter().map(bin).collect();
        Self {
            severity: breach.severity.to_string(),
            colour: colour(breach.severity),
            column: cell(&breach.column),
            metric: cell(&breach.metric),
            value: format::telling(breach.value, breach.condition, 4),
            error: breach.error.map(format::bound),
            condition: breach.condition.to_string(),
            facts,
            statistic_width: width(before_after.iter().map(|row| &row[0]), 8),
            before_after,
            bin_width: width(bins.iter().map(|row| &row[0]), 8),
            bins,
        }
    }
}

/// The counts and statistics of both sides, as the rows of a table.
fn before_after(breach: &Breach) -> Vec<[String; 3]> {
    let missing = || "-".to_owned();
    // Not through f64: a count above 2^53 would lose its last digits.
    let rows = |count: i64| format::whole(count);
    let mut table = vec![["rows".to_owned(), breach.count_before.map_or_else(missing, rows), rows(breach.count)]];
    for (statistic, before, now) in &breach.before_after {
        let shown = |value: Option<f64>| value.map_or_else(missing, |v| format::number(v, 5));
        table.push([visible(statistic, CELL_NAME), shown(*before), shown(*now)]);
    }
    table
}

fn bin(bin: &BinShare) -> [String; 4] {
    [
        visible(&bin.label, HEADER_NAME),
        format::percent(bin.before),
        format::percent(bin.now),
        format::number(bin.contribution, 3),
    ]
}

impl RestView {
    fn new(rest: &[Breach]) -> Self {
        let mut columns: Vec<RestColumn> = Vec::new();
        let mut positions: HashMap<&str, usize> = HashMap::new();
        // The breaches are sorted, so the first one of a column is its worst.
        for breach in rest {
            let position = *positions.entry(&breach.column).or_insert_with(|| {
                columns.push(RestColumn {
                    column: visible(&breach.column, HEADER_NAME),
                    breaches: 0,
                    worst: format!(
                        "{} {} ({})",
                        visible(&breach.metric, HEADER_NAME),
                        format::telling(breach.value, breach.condition, 4),
                        breach.condition
                    ),
                });
                columns.len() - 1
            });
            columns[position].breaches += 1;
        }
        let further_columns = columns.len().saturating_sub(COLUMNS_LISTED);
        columns.truncate(COLUMNS_LISTED);
        Self {
            breaches: rest.len(),
            column_width: width(columns.iter().map(|c| &c.column), 0),
            columns,
            further_columns,
        }
    }
}

/// The widest of some texts in characters, at least `least`.
fn width<'a>(texts: impl Iterator<Item = &'a String>, least: usize) -> usize {
    texts.map(|t| t.chars().count()).max().unwrap_or(0).max(least)
}

/// Dark enough to read on white.
fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#175cd3",
        Severity::Warning => "#93370d",
        Severity::Critical => "#b42318",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::message::tests::{breach, message},
        config::Condition,
    };

    const HOSTILE: &str = "</td><script>alert(1)</script>\r\nBcc: all@example.com\u{202e}";

    #[test]
    fn the_subject_says_what_and_when() {
        let mut message = message();
        message.breaches[0].slice = None;
        message.breaches = vec![message.breaches[0].clone(); 5];
        assert_eq!(
            subject(&message),
            "[limno] critical: flights — population_stability_index of dep_delay 0.43 (above 0.2), \
             week of 2013-12-23 (+4 more)"
        );
        message.breaches = vec![breach()];
        assert!(subject(&message).contains("of dep_delay where origin = JFK 0.43 (above 0.2)"));
        message.breaches.clear();
        assert_eq!(subject(&message), "[limno] critical: flights");
    }

    #[test]
    fn the_text_carries_the_numbers() {
        let text = render(&message()).unwrap().text;
        let expected = r#"CRITICAL: flights, 1 breach in 1 column, week of 2013-12-23

  table      /data/flights
  time zone  America/New_York
  triggers   retrain (called by this refresh)

1. dep_delay: population_stability_index 0.4312 (certified within +0.00098) (above 0.2)
   severity   critical, rule psi
   slice      origin = JFK
   model      jan
   window     2013-12-23 00:00 EST to 2013-12-30 00:00 EST (1 week)
   against    2013-12-16 00:00 EST to 2013-12-23 00:00 EST
   windows    2 of the last 5 broke the rule

                        before            now
   rows                 27,004          6,123
   avg                  10.013          14.25
   percent_null           3.06              -

   bin        before %     now %  contribution
   [-43, -7)      10.0      22.1        0.0958

12 older windows broke a rule too; recorded in the alerts table, not reported one by one.

Metric tables
  flights_drift_metrics  /out/drift

See more
  limno sql "SELECT 1"

"#;
        let (body, signature) = text.split_once("-- \n").unwrap();
        assert_eq!(body, expected);
        assert_eq!(signature, "Limnograph, 2013-12-30 02:00 EST, alert 0f1e2d3c\n");
    }

    #[test]
    fn the_html_carries_the_same_numbers() {
        let html = render(&message()).unwrap().html;
        for shown in [
            "0.4312",
            "certified within +0.00098",
            "above 0.2",
            "27,004",
            "10.013",
            "[-43, -7)",
            "22.1",
            "2 of the last 5 broke the rule",
            "2013-12-23 00:00 EST to 2013-12-30 00:00 EST (1 week)",
            "flights_drift_metrics",
            "&#x2f;out&#x2f;drift",
            "12 older windows",
            "retrain (called by this refresh)",
            "limno sql &quot;SELECT 1&quot;",
        ] {
            assert!(html.contains(shown), "{shown} is not in\n{html}");
        }
        for loaded in ["http:", "https:", "src=", "href=", "url(", "<style", "<script"] {
            assert!(!html.contains(loaded), "{loaded}");
        }
    }

    #[test]
    fn names_arrive_as_text() {
        let mut message = message();
        message.monitor = HOSTILE.into();
        message.table = HOSTILE.into();
        message.triggered = vec![HOSTILE.into()];
        message.metric_tables = vec![(HOSTILE.into(), HOSTILE.into())];
        message.sql_hint = HOSTILE.into();
        let breach = &mut message.breaches[0];
        breach.column = HOSTILE.into();
        breach.rule = HOSTILE.into();
        breach.metric = HOSTILE.into();
        breach.slice = Some((HOSTILE.into(), HOSTILE.into()));
        breach.model_id = Some(HOSTILE.into());
        breach.granularity = HOSTILE.into();
        breach.before_after = vec![(HOSTILE.into(), None, None)];
        breach.bins[0].label = HOSTILE.into();
        message.breaches = vec![message.breaches[0].clone(); SHOWN_IN_FULL + 1];
        let Rendered { subject, text, html } = render(&message).unwrap();
        assert!(!subject.contains(char::is_control), "{subject}");
        assert!(html.contains("&lt;&#x2f;td&gt;&lt;script&gt;alert(1)"));
        assert!(!html.contains("<script"));
        assert!(text.contains(r"</td><script>alert(1)</script>\r\nBcc: all@example.com\u{202e}"));
        for part in [subject, text, html] {
            assert!(!part.contains('\u{202e}'));
            assert!(!part.contains("\nBcc"));
        }
    }

    #[test]
    fn many_breaches_are_counted_by_column() {
        let mut message = message();
        message.breaches = (0..1_000)
            .map(|index| {
                let mut breach = breach();
                breach.column = format!("column_{}", index % 300);
                breach.value = 1_000.0 - f64::from(index);
                breach
            })
            .collect();
        let Rendered { text, html, .. } = render(&message).unwrap();
        assert!(text.starts_with("CRITICAL: flights, 1000 breaches in 300 columns"));
        assert!(text.contains("\n20. column_19: "));
        assert!(!text.contains("\n21. "));
        assert!(text.contains("\n980 more, by column, each with its worst:\n"));
        let line = text.lines().find(|line| line.starts_with("  column_20 ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["column_20", "4", "population_stability_index", "980", "(above", "0.2)"]);
        assert!(text.contains("\n  and 200 further columns\n"));
        // Some mail services cut what is longer.
        assert!(text.len() < 60_000 && html.len() < 100_000, "{}", html.len());
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let mut message = message();
        message.historical = 0;
        message.triggered.clear();
        let breach = &mut message.breaches[0];
        breach.slice = None;
        breach.model_id = None;
        breach.error = None;
        breach.count_before = None;
        breach.bins.clear();
        breach.window_cmp = None;
        breach.against = Against::Baseline;
        breach.condition = Condition::Outside(0.0, 0.25);
        let text = render(&message).unwrap().text;
        assert!(text.contains("population_stability_index 0.4312 (outside [0, 0.25])\n"));
        assert!(text.contains("against    the baseline\n"));
        assert!(text.contains("triggers   none called\n"));
        for absent in ["slice", "model ", "certified", "contribution", "older", "\n\n\n"] {
            assert!(!text.contains(absent), "{absent} is in\n{text}");
        }
    }
}

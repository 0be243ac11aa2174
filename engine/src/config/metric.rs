//! Custom metrics: columns of the metric tables that a user defines in SQL.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use limno_metrics::schema::{DRIFT_METRICS, PROFILE_METRICS, Shape, TABLE_COLUMN, drift_schema, profile_schema};
use minijinja::{Environment, UndefinedBehavior};

use super::Located;
use super::problem::quoted;
use super::raw::{Value, choice};

/// One `[[monitor.NAME.metric]]`.
#[derive(Debug, Clone)]
pub struct MetricConfig {
    /// The name of its column in the metric table.
    pub name: Located<String>,
    /// What it is computed from.
    pub kind: MetricKind,
    /// The columns on whose rows it stands; `:table` for the row of the table as a whole.
    pub columns: Vec<Located<String>>,
    /// SQL with the variables of a template, not yet filled in.
    pub definition: Located<String>,
    /// The type of its column.
    pub data_type: DataType,
}

/// What a custom metric is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// The rows of a group: SQL over aggregate functions.
    Aggregate,
    /// Other columns of the same row of the profile table.
    Derived,
    /// The rows of the profile table on both sides of a comparison.
    Drift,
}

/// The names that a definition can have filled in.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The columns by the name of their variable, such as `prediction_col`.
    pub columns: BTreeMap<&'static str, String>,
}

/// The variables of definitions.
const VARIABLES: &[&str] =
    &["input_column", "prediction_col", "label_col", "model_id_col", "timestamp_col", "current_df", "base_df"];

impl MetricConfig {
    /// The definition for one column, with all variables filled in. `path` is the column, or a field of a struct by the
    /// names that lead to it; of the row of the table it is empty.
    ///
    /// Names stand as they are within backticks that the definition has around the variable, and get backticks where it
    /// has none.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn definition_for(&self, path: &[String], roles: &Roles) -> Result<String, String> {
        let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        if self.kind == MetricKind::Drift {
            values.insert("current_df", vec!["current_df".to_owned()]);
            values.insert("base_df", vec!["base_df".to_owned()]);
        } else {
            if !path.is_empty() {
                values.insert("input_column", path.to_vec());
            }
            values.extend(roles.columns.iter().map(|(name, column)| (*name, vec![column.clone()])));
        }
        render(&self.definition.value, &values)
    }
}

fn render(definition: &str, values: &BTreeMap<&str, Vec<String>>) -> Result<String, String> {
    // Without functions and filters: a definition is filled in, it runs no program.
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Bare variables become quoted names; within backticks a name goes as it is.
    let quoted_name = |variable: &str, path: &[String], is_within: bool| {
        let doubled: Vec<String> = path.iter().map(|name| name.replace('`', "``")).collect();
        let doubled = doubled.join("`.`");
        let is_frame = variable == "current_df" || variable == "base_df";
        if is_within || is_frame { doubled } else { format!("`{doubled}`") }
    };
    let mut text = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        text.push_str(before);
        let is_within = before.ends_with('`');
        let Some(end) = after.find("}}") else { return Err("a variable has no end: }} is missing".to_owned()) };
        let variable = after[2..end].trim();
        // Whatever is more than a name is the template engine's to judge, with names as it needs them.
        let context: BTreeMap<&str, String> =
            values.iter().map(|(name, path)| (*name, quoted_name(name, path, is_within))).collect();
        let filled = environment.render_str(&after[..end + 2], &context).map_err(|error| {
            if VARIABLES.contains(&variable) {
                format!("{variable} has no meaning here")
            } else if values.contains_key(variable) {
                error.to_string()
            } else {
                format!("there is no variable {variable}; there are {}", VARIABLES.join(", "))
            }
        })?;
        text.push_str(&filled);
        rest = &after[end + 2..];
    }
    text.push_str(rest);
    Ok(text)
}

pub(super) fn read_metrics(value: &Value<'_>, monitor: &str) -> Vec<MetricConfig> {
    if !value.is_array() {
        value.wrong_type("an array of tables", Some(format!("write [[monitor.{monitor}.metric]]")));
        return Vec::new();
    }
    let mut metrics: Vec<MetricConfig> = Vec::new();
    for item in value.items("an array of tables").unwrap_or_default() {
        let Some(metric) = read_metric(&item) else { continue };
        if let Some(first) = metrics.iter().find(|known| known.name.value == metric.name.value) {
            let message = format!("{} is already a metric, in line {}", quoted(&metric.name.value), first.name.line);
            item.sink.report_located(&metric.name, message, None);
            continue;
        }
        metrics.push(metric);
    }
    metrics
}

fn read_metric(value: &Value<'_>) -> Option<MetricConfig> {
    let mut section = value.section()?;
    let name = section.require("name", "a name for its column").and_then(|value| read_name(&value));
    let kinds = [("aggregate", MetricKind::Aggregate), ("derived", MetricKind::Derived), ("drift", MetricKind::Drift)];
    let kind =
        section.require("kind", "\"aggregate\", \"derived\" or \"drift\"").and_then(|value| choice(&value, &kinds));
    let columns = match section.take("columns") {
        None => Some(vec![section.implied("columns", TABLE_COLUMN)]),
        Some(value) => value.some_texts("is empty, so the metric would stand nowhere"),
    };
    let definition = section.require("definition", "an SQL expression").and_then(|value| value.text());
    let data_type = match section.take("type") {
        None => Some(DataType::Float64),
        Some(value) => read_type(&value),
    };
    section.finish();
    Some(MetricConfig { name: name?, kind: kind?, columns: columns?, definition: definition?, data_type: data_type? })
}

fn read_name(value: &Value<'_>) -> Option<Located<String>> {
    let name = value.text()?;
    let is_identifier = name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.value.starts_with(|c: char| c.is_ascii_digit())
        && !name.value.starts_with("__");
    if !is_identifier {
        value.report("the name of a metric has letters, digits and underscores only, for it names a column", None);
        return None;
    }
    let quality =
        [limno_metrics::schema::QualityColumns::Classification, limno_metrics::schema::QualityColumns::Regression];
    let is_taken = quality.into_iter().any(|quality| {
        let shape = Shape { quality: Some(quality), ..Shape::default() };
        let has = |name: &str| {
            let is_same = |field: &arrow::datatypes::FieldRef| field.name().eq_ignore_ascii_case(name);
            profile_schema(&shape).fields().iter().any(is_same) || drift_schema(&shape).fields().iter().any(is_same)
        };
        has(&name.value)
    });
    if is_taken {
        value.report(format!("the metric tables have a column {} of their own", quoted(&name.value)), None);
        return None;
    }
    Some(name)
}

/// The types that a metric's column can have, by Spark's names.
fn read_type(value: &Value<'_>) -> Option<DataType> {
    choice(
        value,
        &[("double", 0), ("bigint", 1), ("int", 2), ("boolean", 3), ("string", 4), ("date", 5), ("timestamp", 6)],
    )
    .map(|index| match index {
        0 => DataType::Float64,
        1 => DataType::Int64,
        2 => DataType::Int32,
        3 => DataType::Boolean,
        4 => DataType::Utf8,
        5 => DataType::Date32,
        _ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    })
}

/// The metrics that rules may name: those of both tables, those of model quality, and a monitor's own. Each with
/// whether it stands in the drift table.
pub(super) fn names_for_rules(
    quality: Option<limno_metrics::schema::QualityColumns>,
    metrics: &[MetricConfig],
) -> Vec<(String, bool)> {
    let numeric = metrics.iter().filter(|metric| metric.data_type.is_numeric());
    let fixed = |names: &[&str], is_drift: bool| -> Vec<(String, bool)> {
        names.iter().map(|name| ((*name).to_owned(), is_drift)).collect()
    };
    let mut names = fixed(PROFILE_METRICS, false);
    names.extend(fixed(quality.map_or(&[], |quality| quality.metrics()), false));
    names.extend(fixed(DRIFT_METRICS, true));
    names.extend(numeric.map(|metric| (metric.name.value.clone(), metric.kind == MetricKind::Drift)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(definition: &str) -> Result<String, String> {
        filled_on(&["an `odd` name"], definition)
    }

    fn filled_on(path: &[&str], definition: &str) -> Result<String, String> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let values = BTreeMap::from([
            ("input_column", names(path)),
            ("prediction_col", names(&["p"])),
            ("current_df", names(&["current_df"])),
        ]);
        render(definition, &values)
    }

    #[test]
    fn names_are_quoted_whether_or_not_the_definition_quotes_them() {
        assert_eq!(filled("avg(`{{input_column}}`)").unwrap(), "avg(`an ``odd`` name`)");
        assert_eq!(filled("avg({{ input_column }} - {{prediction_col}})").unwrap(), "avg(`an ``odd`` name` - `p`)");
        assert_eq!(filled("{{current_df}}.m + 1").unwrap(), "current_df.m + 1");
        assert_eq!(filled("sum(x)").unwrap(), "sum(x)");
        // A field of a struct is named by its path.
        assert_eq!(filled_on(&["a", "b.`c"], "avg({{input_column}})").unwrap(), "avg(`a`.`b.``c`)");
        assert_eq!(filled_on(&["a", "b.`c"], "avg(`{{input_column}}`)").unwrap(), "avg(`a`.`b.``c`)");
    }

    #[test]
    fn unknown_variables_are_named() {
        assert!(filled("avg({{input_colum}})").unwrap_err().contains("there is no variable input_colum"));
        assert!(filled("avg({{label_col}})").unwrap_err().contains("label_col has no meaning here"));
        assert!(filled("avg({{input_column)").unwrap_err().contains("}} is missing"));
        // Only what is named is filled in: a definition runs no program.
        assert!(filled("{{ range(10) }}").is_err());
    }
}

//! `[environment]` of an overlay: where its monitors write, and that nothing else is changed and nobody is told.

use limno_sql::lake;

use super::Located;
use super::problem::quoted;
use super::raw::{Section, Value};
use super::uri::{Use, read_uri};

/// What an overlay says of the environment that it is for.
pub(super) struct Environment {
    /// Where the metric tables of all monitors are; `None` if nothing good is said.
    output: Option<Located<String>>,
    is_output_given: bool,
    pub(super) deliver: bool,
    writes: Vec<Located<String>>,
}

pub(super) fn read_environment(value: &Value<'_>) -> Option<Environment> {
    if !value.is_of_overlay() {
        value.report(
            "stands in an overlay only",
            Some("move it to limno.NAME.toml, and run limno --env NAME".to_owned()),
        );
        return None;
    }
    let mut section = value.section()?;
    let output = section.take("output");
    let deliver = section.take("deliver").and_then(|value| value.boolean());
    let writes = section.take("writes").and_then(|value| value.items("an array of places"));
    section.finish();
    Some(Environment {
        is_output_given: output.is_some(),
        output: output.and_then(|output| read_uri(&output, Use::Output)),
        deliver: deliver.unwrap_or(false),
        writes: writes.unwrap_or_default().iter().filter_map(|place| read_uri(place, Use::Folder)).collect(),
    })
}

/// The key `output` of a monitor: its own, or that of its environment.
pub(super) fn read_output(section: &mut Section<'_>, environment: Option<&Environment>) -> Option<Located<String>> {
    const EXPECTED: &str = "the folder of the metric tables: a URI or a path";
    let own = match environment {
        Some(environment) if environment.is_output_given => section.take("output"),
        _ => section.require("output", EXPECTED),
    };
    match (own, environment) {
        (Some(own), Some(environment)) if !own.is_of_overlay() => {
            if !environment.is_output_given {
                own.report(
                    "is not written in this environment",
                    Some("say in the overlay where metric tables go: [environment] output = \"…\"".to_owned()),
                );
            }
            environment.output.clone()
        }
        (Some(own), _) => read_uri(&own, Use::Output),
        (None, environment) => environment?.output.clone(),
    }
}

impl Environment {
    /// All that may be changed. Where `kept`, the outputs of `limno.toml`, lie there, that is reported.
    pub(super) fn writable(&self, outputs: &[&Located<String>], kept: &[String], section: &Value<'_>) -> Vec<String> {
        let mut places: Vec<&Located<String>> = Vec::new();
        for place in outputs.iter().copied().chain(&self.writes) {
            if !places.iter().any(|known| known.value == place.value) {
                places.push(place);
            }
        }
        for place in &places {
            let lies_there = |output: &&String| lake::lies_below(output, &place.value).unwrap_or(false);
            if let Some(output) = kept.iter().find(lies_there) {
                section.sink.report_located(
                    place,
                    format!("{} is an output of limno.toml, which this environment must not change", quoted(output)),
                    Some("name another place".to_owned()),
                );
            }
        }
        places.into_iter().map(|place| place.value.clone()).collect()
    }
}

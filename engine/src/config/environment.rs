//! `[environment]` of an overlay: where its monitors write, and that nothing else is changed and nobody is told.

use limno_sql::lake;
use toml::de::{DeTable, DeValue};

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

/// A place of `limno.toml` that no environment may change.
pub(super) struct Kept {
    uri: String,
    /// What it is, with its article.
    what: &'static str,
}

/// The places of all monitors of `limno.toml`, before anything is laid over it.
pub(super) fn kept(document: &DeTable<'_>) -> Vec<Kept> {
    const PLACES: [(&[&str], &str); 4] = [
        (&["output"], "an output"),
        (&["table"], "a table"),
        (&["baseline"], "a baseline"),
        (&["inference_log", "labels", "table"], "a table of labels"),
    ];
    let monitors = document.get("monitor").and_then(|monitors| monitors.get_ref().as_table());
    let monitors = monitors.into_iter().flat_map(DeTable::iter).map(|(_, monitor)| monitor.get_ref());
    let of = |monitor| PLACES.iter().filter_map(move |(path, what)| Some(Kept { uri: text_at(monitor, path)?, what }));
    monitors.flat_map(of).collect()
}

fn text_at(value: &DeValue<'_>, path: &[&str]) -> Option<String> {
    let member = path.iter().try_fold(value, |value, key| Some(value.as_table()?.get(*key)?.get_ref()))?;
    member.as_str().map(str::to_owned)
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
    /// All that may be changed. Where what `limno.toml` names lies there, or around it, that is reported.
    pub(super) fn writable(&self, outputs: &[&Located<String>], kept: &[Kept], section: &Value<'_>) -> Vec<String> {
        let mut places: Vec<&Located<String>> = Vec::new();
        for place in outputs.iter().copied().chain(&self.writes) {
            if !places.iter().any(|known| known.value == place.value) {
                places.push(place);
            }
        }
        for place in &places {
            let is_below = |uri: &str, other: &str| lake::lies_below(uri, other).unwrap_or(false);
            let meets = |kept: &&Kept| is_below(&kept.uri, &place.value) || is_below(&place.value, &kept.uri);
            if let Some(Kept { uri, what }) = kept.iter().find(meets) {
                section.sink.report_located(
                    place,
                    format!("{} is {what} of limno.toml, which this environment must not change", quoted(uri)),
                    Some("name another place, neither around nor within it".to_owned()),
                );
            }
        }
        places.into_iter().map(|place| place.value.clone()).collect()
    }
}

//! The monitor of a history: drawn at random, and changed now and then.

use std::fmt::Write;
use std::path::Path;

use limno_fixtures::SplitMix64;

use super::told::FOLDER;

/// The monitor's name.
pub(crate) const NAME: &str = "watch";

const GRANULARITIES: [&[&str]; 7] = [
    &["1 hour"],
    &["1 day"],
    &["1 day", "1 week"],
    &["1 month"],
    &["30 minutes", "1 day"],
    &["3 days every 1 day"],
    &["1 week", "12 hours every 4 hours"],
];
const ADDED: [&str; 8] =
    ["1 week", "1 month", "1 day", "2 weeks", "1 hour", "4 hours", "2 days every 12 hours", "2 weeks every 1 week"];
/// When days begin.
const OFFSETS: [&str; 3] = ["0s", "6h", "2h 30m"];
const TIMEZONES: [&str; 3] = ["UTC", "Europe/Berlin", "Asia/Kolkata"];
const SLICES: [&str; 7] = ["kind", "flat > 2", "model", "opt IS NULL", "wide > 0 AND kind = 'a'", "flat", "id % 3"];
const COLUMNS: [&str; 8] = ["id", "wide", "flat", "opt", "score", "kind", "ext*", "day"];
const GRACES: [&str; 3] = ["0s", "6h", "3days"];
/// The last one is the watched table itself.
const BASELINES: [Option<&str>; 4] = [None, Some("baseline.parquet"), Some("baseline"), Some("t")];
/// As many slices as there may be, and as little memory as can be asked for.
const LIMITS: [&str; 3] = ["", "max_slices = 12", "memory = \"16 MiB\""];
/// More values than the hundred that a window shows.
const MANY: &str = "id % 130";
const BINS: [&str; 4] = ["10", "5", "[-5.0, 0.0, 5.0]", "40"];
const PRECISIONS: [&str; 4] = ["", "max_buckets = 16", "max_buckets = 64", "precision = \"exact\""];
const RULES: [&str; 4] = [
    "metric = \"population_stability_index\"\nabove = 0.1",
    "metric = \"percent_null\"\nabove = 20.0\nslices = true",
    "metric = \"ks_test.statistic\"\nabove = 0.2\nbreaches = 2\nwindows = 3",
    "metric = \"avg\"\nchange_above = 0.5",
];

/// A configuration of one monitor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    /// Of an inference log; else of a time series.
    has_models: bool,
    is_classification: bool,
    time: &'static str,
    granularities: Vec<&'static str>,
    slices: Vec<&'static str>,
    /// The baseline's name in the folder.
    baseline: Option<&'static str>,
    timezone: &'static str,
    week_start: &'static str,
    offset: &'static str,
    exclude: Vec<&'static str>,
    include: bool,
    categorical: bool,
    bins: &'static str,
    grace: &'static str,
    precision: &'static str,
    rules: Vec<&'static str>,
    /// Whether there is a slice with more values than a window shows, if there are few windows.
    has_many_slices: bool,
    /// Limits that are kept.
    limits: &'static str,
    /// Where labels come from.
    pub(crate) labels: Labels,
}

/// Where labels come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Labels {
    /// The watched table itself.
    Own,
    /// A table of their own; what is told in two ways is not known.
    Told,
    /// The same; what was told last is.
    ToldLast,
}

/// All of them.
pub(crate) const LABELS: [Labels; 3] = [Labels::Own, Labels::Told, Labels::ToldLast];

impl Watch {
    pub(crate) fn draw(rng: &mut SplitMix64) -> Self {
        let mut watch = Self {
            has_models: rng.chance(0.4),
            is_classification: rng.chance(0.3),
            time: if rng.chance(0.25) { "day" } else { "at" },
            granularities: GRANULARITIES[rng.index(GRANULARITIES.len())].to_vec(),
            slices: Vec::new(),
            baseline: BASELINES[rng.weighted(&[3.0, 3.0, 3.0, 1.0])],
            timezone: TIMEZONES[rng.index(TIMEZONES.len())],
            week_start: if rng.chance(0.3) { "sunday" } else { "monday" },
            offset: OFFSETS[rng.weighted(&[4.0, 1.0, 1.0])],
            exclude: Vec::new(),
            include: rng.chance(0.1),
            categorical: rng.chance(0.3),
            bins: BINS[rng.weighted(&[5.0, 1.0, 1.0, 1.0])],
            grace: GRACES[rng.weighted(&[3.0, 1.0, 1.0])],
            precision: PRECISIONS[rng.weighted(&[4.0, 2.0, 1.0, 1.0])],
            rules: Vec::new(),
            has_many_slices: rng.chance(0.2),
            limits: LIMITS[rng.index(LIMITS.len())],
            labels: Labels::Own,
        };
        if rng.chance(0.5) {
            (0..=rng.index(2)).for_each(|_| toggle(&mut watch.slices, SLICES[rng.index(SLICES.len())]));
        }
        (0..rng.index(3)).for_each(|_| toggle(&mut watch.exclude, COLUMNS[rng.index(COLUMNS.len())]));
        (0..rng.index(3)).for_each(|_| toggle(&mut watch.rules, RULES[rng.index(RULES.len())]));
        watch.labels = LABELS[rng.weighted(&[2.0, 1.0, 1.0])];
        watch
    }

    /// Whether labels come from a table of their own.
    pub(crate) fn has_told_labels(&self) -> bool {
        self.has_models && self.labels != Labels::Own
    }

    /// Changes one thing; says which.
    pub(crate) fn change(&mut self, rng: &mut SplitMix64) -> &'static str {
        let before = self.clone();
        loop {
            let weights = [4.0, 4.0, 3.0, 1.0, 1.0, 2.0, 2.0, 1.5, 1.0, 0.7, 1.0, 0.5, 0.7, 0.5, 0.5, 0.5];
            let what = match rng.weighted(&weights) {
                0 => {
                    toggle(&mut self.granularities, ADDED[rng.index(ADDED.len())]);
                    if self.granularities.is_empty() {
                        self.granularities.push("1 day");
                    }
                    "granularities"
                }
                1 => {
                    toggle(&mut self.slices, SLICES[rng.index(SLICES.len())]);
                    "slices"
                }
                2 => {
                    toggle(&mut self.exclude, COLUMNS[rng.index(COLUMNS.len())]);
                    "excluded columns"
                }
                3 => {
                    self.include = !self.include;
                    "included columns"
                }
                4 => {
                    self.categorical = !self.categorical;
                    "categorical columns"
                }
                5 => {
                    self.bins = BINS[rng.index(BINS.len())];
                    "bins"
                }
                6 => {
                    self.grace = GRACES[rng.index(GRACES.len())];
                    "grace"
                }
                7 => {
                    self.baseline = BASELINES[rng.weighted(&[3.0, 3.0, 3.0, 1.0])];
                    "baseline"
                }
                8 => {
                    self.precision = PRECISIONS[rng.index(PRECISIONS.len())];
                    "precision"
                }
                9 => {
                    self.timezone = TIMEZONES[rng.index(TIMEZONES.len())];
                    "timezone"
                }
                10 => {
                    toggle(&mut self.rules, RULES[rng.index(RULES.len())]);
                    "rules"
                }
                11 => {
                    self.time = if self.time == "at" { "day" } else { "at" };
                    "timestamp"
                }
                12 => {
                    self.week_start = if self.week_start == "sunday" { "monday" } else { "sunday" };
                    "start of the week"
                }
                13 => {
                    self.is_classification = !self.is_classification;
                    "kind of problem"
                }
                14 => {
                    self.offset = OFFSETS[rng.index(OFFSETS.len())];
                    "start of the day"
                }
                _ => {
                    self.has_models = !self.has_models;
                    "kind of monitor"
                }
            };
            if *self != before {
                return what;
            }
        }
    }

    /// The table that the baseline is, if it is one.
    pub(crate) fn has_delta_baseline(&self) -> bool {
        self.baseline == Some("baseline")
    }

    /// The file, for tables in `folder` and an output of this name.
    pub(crate) fn text(&self, folder: &Path, output: &str) -> String {
        let folder = folder.display();
        let mut text = format!("[monitor.{NAME}]\ntable = \"{folder}/t\"\noutput = \"{folder}/{output}\"\n");
        if let Some(baseline) = self.baseline {
            writeln!(text, "baseline = \"{folder}/{baseline}\"").unwrap();
        }
        let Self { timezone, week_start, offset, grace, bins, precision, time, granularities, .. } = self;
        let mut slices = self.slices.clone();
        if self.has_many_slices
            && granularities.iter().all(|length| length.contains("month") || length.contains("week"))
        {
            slices.push(MANY);
        }
        writeln!(text, "timezone = \"{timezone}\"\nweek_start = \"{week_start}\"\ngrace = \"{grace}\"").unwrap();
        writeln!(text, "offset = \"{offset}\"").unwrap();
        writeln!(text, "bins = {bins}\nslices = {slices:?}\n{precision}").unwrap();
        if !(slices.contains(&MANY) && self.limits.contains("max_slices")) {
            writeln!(text, "{}", self.limits).unwrap();
        }
        writeln!(text, "[monitor.{NAME}.columns]").unwrap();
        // A slice of an excluded column is as good as any other.
        if !self.exclude.is_empty() {
            writeln!(text, "exclude = {:?}", self.exclude).unwrap();
        }
        if self.include {
            writeln!(text, "include = [\"wide\", \"flat\", \"kind\", \"ext*\", \"model\", \"at\"]").unwrap();
        }
        if self.categorical {
            writeln!(text, "categorical = [\"flat\"]").unwrap();
        }
        let kind = if self.has_models { "inference_log" } else { "time_series" };
        writeln!(text, "[monitor.{NAME}.{kind}]\ntimestamp = \"{time}\"\ngranularities = {granularities:?}").unwrap();
        if self.has_models {
            let (prediction, label) = if self.is_classification { ("flat", "kind") } else { ("score", "wide") };
            let problem = if self.is_classification { "classification" } else { "regression" };
            writeln!(text, "model_id = \"model\"\nprediction = \"{prediction}\"").unwrap();
            writeln!(text, "problem_type = \"{problem}\"").unwrap();
            let told = if self.is_classification { "class" } else { "fact" };
            let latest = if self.labels == Labels::ToldLast { ", latest_by = \"since\"" } else { "" };
            match self.labels {
                Labels::Own => writeln!(text, "label = \"{label}\"").unwrap(),
                Labels::Told | Labels::ToldLast => writeln!(
                    text,
                    "labels = {{ table = \"{folder}/{FOLDER}\", on = [\"id\"], label = \"{told}\"{latest} }}"
                )
                .unwrap(),
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            // Named by what it says, so that one that comes back is the same.
            let number = RULES.iter().position(|known| known == rule).unwrap_or(index);
            writeln!(text, "[[monitor.{NAME}.rule]]\nname = \"rule {number}\"\n{rule}").unwrap();
        }
        text
    }
}

fn toggle(list: &mut Vec<&'static str>, item: &'static str) {
    match list.iter().position(|known| *known == item) {
        Some(position) => drop(list.remove(position)),
        None => list.push(item),
    }
}

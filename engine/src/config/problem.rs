//! What is wrong in a configuration: the file, the line, the key, and the nearest way out.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::delivery::visible;

/// One thing wrong in the configuration.
///
/// Displayed as `limno.toml:12: monitor.flights.slices[0]: message`, followed by a line `  hint: …` if there is a hint.
/// Neither message nor hint ever holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named by the user.
    pub file: String,
    /// The line of the key or value at fault, counted from 1.
    pub line: usize,
    /// The full dotted key, such as `monitor.flights.rule[0].metric`. Empty if the file is not TOML at all.
    pub key: String,
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong in a configuration, by line. Never empty when it is returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Display for Problems {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value as it is shown inside a message: in backticks, control characters escaped, and cut after 100 characters.
pub fn quoted(value: &str) -> String {
    format!("`{}`", visible(value, 100))
}

/// The candidate that the user most likely meant by `name`, if one is near enough to be worth a hint.
///
/// Besides small typing errors it knows initials (`psi` → `population_stability_index`), the beginning of a longer
/// name (`ks` → `ks_test.statistic`) and other letter cases.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.trim().to_lowercase();
    if wanted.is_empty() {
        return None;
    }
    // Ranked by (kind of likeness, distance); the first of equals wins, so the answer is stable.
    let mut best: Option<((u8, usize), &'a str)> = None;
    for candidate in candidates {
        let folded = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&wanted, &folded);
        let allowed = (wanted.chars().count().max(folded.chars().count()) / 3).max(1);
        let rank = if distance == 0 {
            (0, 0)
        } else if wanted.len() > 1 && wanted == initials(&folded) {
            (1, 0)
        } else if distance <= allowed {
            (2, distance)
        } else if wanted.len() > 1 && folded.starts_with(&wanted) {
            (3, 0)
        } else if wanted.len() > 3 && folded.contains(&wanted) {
            (4, 0)
        } else {
            continue;
        };
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// A hint for a name that is none of `candidates`: the nearest of them, or all of them where none is near.
pub fn name_hint(name: &str, candidates: &[&str]) -> Option<String> {
    /// More names than this are no help in one line.
    const MOST: usize = 40;
    if let Some(near) = nearest(name, candidates.iter().copied()) {
        return Some(format!("did you mean {}?", quoted(near)));
    }
    match candidates {
        [] => None,
        [only] => Some(format!("the only valid name is {}", quoted(only))),
        _ if candidates.len() <= MOST => Some(format!("valid names: {}", candidates.join(", "))),
        _ => candidates
            .iter()
            .copied()
            .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
            .map(|likest| format!("the nearest valid name is {}", quoted(likest))),
    }
}

fn initials(name: &str) -> String {
    name.split(['_', '.']).filter_map(|word| word.chars().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &[&str] =
        &["avg", "js_distance", "ks_test.statistic", "ks_test.pvalue", "population_stability_index"];

    #[test]
    fn nearest_knows_typing_errors_initials_beginnings_and_case() {
        for (typed, meant) in [
            ("popluation_stability_index", "population_stability_index"),
            ("psi", "population_stability_index"),
            ("ks", "ks_test.statistic"),
            ("KS_TEST.pvalue", "ks_test.pvalue"),
            ("js_distanc", "js_distance"),
            ("stability", "population_stability_index"),
        ] {
            assert_eq!(nearest(typed, METRICS.iter().copied()), Some(meant), "{typed}");
        }
        assert_eq!(nearest("", METRICS.iter().copied()), None);
        assert_eq!(nearest("frequency", METRICS.iter().copied()), None);
    }

    #[test]
    fn a_hint_lists_every_name_when_none_is_near() {
        assert_eq!(name_hint("zzzzzz", &["one", "two"]).as_deref(), Some("valid names: one, two"));
        assert_eq!(name_hint("zzzzzz", &["one"]).as_deref(), Some("the only valid name is `one`"));
        assert_eq!(name_hint("zzzzzz", &[]), None);
    }

    #[test]
    fn values_are_shown_without_control_characters_and_cut() {
        assert_eq!(quoted("a\nb\u{1b}[1m"), "`a\\nb\\u{1b}[1m`");
        let shown = quoted(&"x".repeat(500));
        assert_eq!(shown.chars().count(), 103);
    }

    #[test]
    fn problems_display_one_per_line_with_their_hints() {
        let problem = |line, key: &str, hint: Option<&str>| Problem {
            file: "limno.toml".to_owned(),
            line,
            key: key.to_owned(),
            message: "is wrong".to_owned(),
            hint: hint.map(str::to_owned),
        };
        let problems =
            Problems(vec![problem(1, "", None), problem(12, "monitor.flights.slices[0]", Some("do it right"))]);
        assert_eq!(
            problems.to_string(),
            "limno.toml:1: is wrong\nlimno.toml:12: monitor.flights.slices[0]: is wrong\n  hint: do it right"
        );
    }
}

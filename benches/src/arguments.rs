//! The command line of `kernels` and `states`.

use crate::data::Distribution;

/// What a run is asked for; everything may be left out.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    distributions: Vec<String>,
    sections: Vec<String>,
    /// Rows instead of the bench's own numbers of rows.
    pub rows: Option<usize>,
    /// Rounds at most, instead of [`Race::ROUNDS`](crate::harness::Race::ROUNDS).
    pub rounds: Option<usize>,
}

const USAGE: &str = "usage: [--distribution WORD]… [--section WORD]… [--rows N] [--rounds N]";

impl Arguments {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// The usage, if they are not understood.
    pub fn read() -> Result<Self, String> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        // Cargo says `--bench` to every bench.
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match word.as_str() {
                "--distribution" => arguments.distributions.push(value),
                "--section" => arguments.sections.push(value),
                "--rows" => arguments.rows = Some(number(&value)?),
                "--rounds" => arguments.rounds = Some(number(&value)?),
                _ => return Err(USAGE.to_owned()),
            }
        }
        if arguments.distributions().is_empty() {
            let names: Vec<&str> = Distribution::ALL.iter().map(|distribution| distribution.name()).collect();
            return Err(format!("no distribution has such a name; there are {}", names.join(", ")));
        }
        Ok(arguments)
    }

    /// The distributions whose names contain one of the words; all if there are none.
    #[must_use]
    pub fn distributions(&self) -> Vec<Distribution> {
        Distribution::ALL.into_iter().filter(|distribution| wants(&self.distributions, distribution.name())).collect()
    }

    /// As [`distributions`](Self::distributions), but `few` if the user names none: for what takes long.
    #[must_use]
    pub fn distributions_or(&self, few: &[Distribution]) -> Vec<Distribution> {
        if self.distributions.is_empty() { few.to_vec() } else { self.distributions() }
    }

    /// Whether a section of the bench is wanted.
    #[must_use]
    pub fn wants_section(&self, name: &str) -> bool {
        wants(&self.sections, name)
    }
}

fn wants(words: &[String], name: &str) -> bool {
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|&number| number > 0).ok_or_else(|| USAGE.to_owned())
}

/// What stops a program of this crate.
pub type Failure = Box<dyn std::error::Error>;

/// The end of a program: its failure, if there is one, goes to standard error.
#[expect(clippy::print_stderr, reason = "a benchmark's own message")]
#[must_use]
pub fn finish(result: Result<(), Failure>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_filter_and_none_means_all() {
        assert_eq!(parse("--bench").unwrap().distributions().len(), Distribution::ALL.len());
        let arguments = parse("--distribution normal --rows 1000 --section size --bench").unwrap();
        assert_eq!(arguments.distributions(), [Distribution::Normal, Distribution::LogNormal]);
        assert_eq!(arguments.rows, Some(1000));
        assert!(arguments.wants_section("sizes") && !arguments.wants_section("merge"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["--rows", "--rows 0", "--rows many", "--fast yes", "--distribution cauchy"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

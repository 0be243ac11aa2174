//! Contenders measured side by side in one run.
//!
//! Every round runs all contenders once, in an order drawn anew for each round, so that whatever the machine does in
//! the meantime it does to all of them. Reported are the least and the median of the rounds, per value, and the ratio
//! of the least times to that of the reference, which is the first contender. Other processes only ever add time, and
//! more often to what runs long, so that medians of a busy machine do not compare; how far they lie above the least
//! tells how busy it was.

use std::hint::black_box;
use std::time::{Duration, Instant};

use limno_fixtures::SplitMix64;

/// Short measurements are repeated within a round until they take about this long.
const LONG_ENOUGH: Duration = Duration::from_micros(500);

/// One thing to measure.
pub struct Contender<'a> {
    name: String,
    /// Runs so many times; says how long that took without what does not count.
    run: Box<dyn FnMut(u32) -> Duration + 'a>,
}

impl std::fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Contender<'a> {
    /// A function whose result costs nothing to drop.
    pub fn plain<T>(name: impl Into<String>, mut run: impl FnMut() -> T + 'a) -> Self {
        let run = move |times| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(run());
            }
            start.elapsed()
        };
        Self { name: name.into(), run: Box::new(run) }
    }

    /// A function of what `prepare` makes anew each time; neither that nor dropping the result counts.
    pub fn fresh<S, T>(
        name: impl Into<String>,
        mut prepare: impl FnMut() -> S + 'a,
        mut run: impl FnMut(S) -> T + 'a,
    ) -> Self {
        let run = move |times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let prepared = black_box(prepare());
                let start = Instant::now();
                let result = black_box(run(prepared));
                took += start.elapsed();
                drop(result);
            }
            took
        };
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// What was measured of a contender.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Nanoseconds per value in the fastest round.
    pub min: f64,
    /// Nanoseconds per value in the round in the middle.
    pub median: f64,
    /// `min` in units of the reference's.
    pub ratio: f64,
}

/// How long contenders race.
#[derive(Debug, Clone, Copy)]
pub struct Race {
    /// Rounds, after one that warms up.
    pub rounds: usize,
    /// When this has passed, warming up included, no new round is begun after [`FEWEST`](Self::FEWEST).
    pub budget: Duration,
}

impl Race {
    /// Rounds unless the user says otherwise.
    pub const ROUNDS: usize = 15;
    /// Rounds whatever they take.
    pub const FEWEST: usize = 3;

    /// Measures all contenders. `values` is how many values one run of any of them handles.
    #[must_use]
    pub fn run(self, values: usize, contenders: Vec<Contender<'_>>) -> Vec<Outcome> {
        let start = Instant::now();
        let mut lanes: Vec<Lane<'_>> = contenders.into_iter().map(Lane::new).collect();
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        let mut rng = SplitMix64::new(5);
        for round in 0..self.rounds {
            if round >= Self::FEWEST && start.elapsed() > self.budget {
                break;
            }
            rng.shuffle(&mut order);
            for &index in &order {
                lanes[index].measure();
            }
        }
        let mut outcomes: Vec<Outcome> = lanes.into_iter().map(|lane| lane.outcome(values)).collect();
        let reference = outcomes.first().map_or(1.0, |outcome| outcome.min);
        for outcome in &mut outcomes {
            outcome.ratio = outcome.min / reference;
        }
        outcomes
    }
}

struct Lane<'a> {
    contender: Contender<'a>,
    repeats: u32,
    /// Seconds of one run, per round.
    times: Vec<f64>,
}

impl<'a> Lane<'a> {
    /// Warms up, and finds how many repeats a measurement needs.
    fn new(mut contender: Contender<'a>) -> Self {
        let mut repeats = 1;
        while (contender.run)(repeats) < LONG_ENOUGH / 2 && repeats < 1 << 16 {
            repeats *= 2;
        }
        Self { contender, repeats, times: Vec::new() }
    }

    fn measure(&mut self) {
        let took = (self.contender.run)(self.repeats);
        self.times.push(took.as_secs_f64() / f64::from(self.repeats));
    }

    #[expect(clippy::cast_precision_loss, reason = "a number to divide by")]
    fn outcome(self, values: usize) -> Outcome {
        let scale = 1e9 / values as f64;
        let min = self.times.iter().copied().fold(f64::INFINITY, f64::min);
        Outcome { name: self.contender.name, min: min * scale, median: median(self.times) * scale, ratio: 1.0 }
    }
}

/// NaN if there are none.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => numbers[middle],
        _ => numbers[middle - 1].midpoint(numbers[middle]),
    }
}

/// Three significant digits.
#[must_use]
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A Markdown table on standard output.
#[derive(Debug, Clone, Default)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { lines: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// Adds a line.
    pub fn line<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.lines.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a column; the names of its lines must be those of the columns before it.
    pub fn column<const N: usize>(&mut self, heading: &str, cells: [(&str, String); N]) {
        self.lines.resize_with(N + 1, Vec::new);
        self.lines[0].push(heading.to_owned());
        for (line, (name, cell)) in self.lines[1..].iter_mut().zip(cells) {
            if line.is_empty() {
                line.push(name.to_owned());
            }
            line.push(cell);
        }
    }

    /// Prints it under a title.
    pub fn print(&self, title: &str) {
        say(&format!("\n### {title}\n"));
        for (index, line) in self.lines.iter().enumerate() {
            say(&format!("| {} |", line.join(" | ")));
            if index == 0 {
                say(&format!("|{}", "---|".repeat(line.len())));
            }
        }
    }
}

/// Prints one column per distribution and one line per contender: least and median nanoseconds per value, and the ratio
/// to the first contender.
pub fn print_outcomes(title: &str, columns: &[(&str, Vec<Outcome>)]) {
    let Some((_, first)) = columns.first() else { return };
    let mut table =
        Table::new(std::iter::once("min / median ns a value, ratio").chain(columns.iter().map(|(name, _)| *name)));
    for (index, outcome) in first.iter().enumerate() {
        let cells = columns.iter().map(|(_, outcomes)| {
            outcomes.get(index).map_or_else(String::new, |outcome| {
                format!("{} / {} **×{}**", short(outcome.min), short(outcome.median), short(outcome.ratio))
            })
        });
        table.line(std::iter::once(outcome.name.clone()).chain(cells));
    }
    table.print(title);
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "a benchmark's results")]
pub fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn the_first_is_the_reference_and_every_round_runs_all() {
        let (first, second) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let contenders = vec![
            Contender::fresh("first", || (), |()| first.set(first.get() + 1)),
            Contender::fresh("second", || (), |()| second.set(second.get() + 1)),
        ];
        let outcomes = Race { rounds: 3, budget: Duration::ZERO }.run(1, contenders);
        assert_eq!(outcomes.iter().map(|outcome| outcome.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        assert!((outcomes[0].ratio - 1.0).abs() < 1e-12);
        assert!(first.get() > 3 && second.get() > 3);
    }
}

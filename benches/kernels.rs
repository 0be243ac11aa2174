//! One pass over one column: our states against Arrow's kernels, plain loops and a sort, over the same slice.
//!
//! `cargo bench -p limno-benches --no-default-features --bench kernels -- [--distribution WORD] [--rows N]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use arrow::array::{Array, Float64Array};
use limno_benches::arguments::Arguments;
use limno_benches::contenders;
use limno_benches::data::{Side, present};
use limno_benches::harness::{Contender, Outcome, Race, print_outcomes, say};
use limno_benches::summaries::{Failure, histogram};

const KI: usize = 1 << 10;
const SIZES: [usize; 3] = [16 * KI, KI * KI, 8 * KI * KI];

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let arguments = Arguments::read()?;
    let sizes = arguments.rows.map_or_else(|| SIZES.to_vec(), |rows| vec![rows]);
    let most = sizes.iter().copied().max().unwrap_or(0);
    let rounds = arguments.rounds.unwrap_or(Race::ROUNDS);
    let race = Race { rounds, budget: Duration::from_secs(5) };
    let mut results: Vec<Vec<(&str, Vec<Outcome>)>> = vec![Vec::new(); sizes.len()];
    for distribution in arguments.distributions() {
        let column = distribution.column(Side::Baseline, most);
        for (&size, results) in sizes.iter().zip(&mut results) {
            results.push((distribution.name(), measure(race, &column.slice(0, size))));
        }
    }
    for (size, results) in sizes.iter().zip(&results) {
        print_outcomes(&format!("kernels, {size} values"), results);
    }
    say(&format!("\n{rounds} rounds at most; the whole run took {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

fn measure(race: Race, column: &Float64Array) -> Vec<Outcome> {
    // Sums, histogram and sort take no nulls and get the values without them; the others get the column as it is.
    let present = &present(column)[..];
    let (whole, batches) = (std::slice::from_ref(column), &contenders::batches(column)[..]);
    let mut open = contenders::empty_numbers();
    let contenders = vec![
        Contender::plain("arrow sum", || arrow::compute::sum(black_box(column))),
        Contender::plain("loop: sum", || contenders::naive_sum(black_box(column))),
        Contender::plain("arrow min and max", || contenders::arrow_extrema(black_box(column))),
        Contender::plain("loop: counts, extrema, Σx, Σx²", || contenders::naive_numbers(black_box(column))),
        Contender::fresh("exact Σx, Σx²", || (), |()| contenders::exact_sums(black_box(present))),
        Contender::fresh("histogram", histogram, |mut histogram| {
            histogram.observe_slice(black_box(present));
            histogram
        }),
        Contender::fresh("numeric state", || (), |()| contenders::numbers_of(black_box(whole))),
        Contender::fresh("numeric state, in batches", || (), |()| contenders::numbers_of(black_box(batches))),
        Contender::plain("numeric state, values seen before", || {
            open.observe(black_box(column.values()), column.nulls());
        }),
        Contender::fresh("column state, with distinct", || (), |()| contenders::column_state(black_box(whole))),
        Contender::fresh("column state, in batches", || (), |()| contenders::column_state(black_box(batches))),
        Contender::fresh("sort_unstable", || present.to_vec(), contenders::sort),
    ];
    race.run(column.len(), contenders)
}

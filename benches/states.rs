//! Our states against the sketches of Apache DataSketches: updates, sizes, many small states, merging, and the
//! Kolmogorov–Smirnov distance that comes out.
//!
//! `cargo bench -p limno-benches --no-default-features --bench states -- [--section WORD] [--distribution WORD] [--rows N]`

use std::hint::black_box;
use std::slice;
use std::time::{Duration, Instant};

use arrow::array::Float64Array;
use limno_benches::arguments::Arguments;
use limno_benches::contenders::{self, column_groups, column_state, numbers_of};
use limno_benches::data::{Distribution, Side, present};
use limno_benches::harness::{Contender, Outcome, Race, Table, print_outcomes, say, short};
use limno_benches::smirnov;
use limno_benches::summaries::{Failure, Summary, distinct, histogram, hll, kll, req, tdigest};

const ROWS: usize = 1_000_000;
/// States in the sections about many of them.
const STATES: usize = 1000;
/// Values that the many states draw from, in turn: more than a cache holds.
const RING: usize = 4_000_000;
/// Rows of a state up to which the many are also built with their rows mixed, a few of each in a batch.
const MIXED: usize = 1000;
/// What the long sections look at unless asked for more.
const FEW: [Distribution; 2] = [Distribution::Normal, Distribution::Prices];

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let arguments = Arguments::read()?;
    let rows = arguments.rows.unwrap_or(ROWS);
    if arguments.wants_section("updates") {
        updates(&arguments, rows);
    }
    if arguments.wants_section("sizes") {
        sizes(&arguments, rows)?;
    }
    if arguments.wants_section("many") {
        many(&arguments);
    }
    if arguments.wants_section("merge") {
        merge(&arguments)?;
    }
    if arguments.wants_section("smirnov") {
        distances(&arguments, rows)?;
    }
    say(&format!("\nthe whole run took {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

fn race(arguments: &Arguments, seconds: u64) -> Race {
    Race { rounds: arguments.rounds.unwrap_or(Race::ROUNDS), budget: Duration::from_secs(seconds) }
}

/// One summary of `values`, from nothing.
fn update<'a, S: Summary>(name: &str, values: &'a [f64], empty: impl Fn() -> Result<S, Failure> + 'a) -> Contender<'a> {
    Contender::fresh(name, empty, |summary| {
        let mut summary = summary?;
        summary.observe(black_box(values))?;
        Ok::<_, Failure>(summary)
    })
}

fn updates(arguments: &Arguments, rows: usize) {
    let mut columns = Vec::new();
    for distribution in arguments.distributions() {
        let values = &present(&distribution.column(Side::Baseline, rows))[..];
        let contenders = vec![
            update("our histogram", values, || Ok(histogram())),
            update("our numeric state", values, || Ok(contenders::empty_numbers())),
            update("KLL 200", values, || kll(200)),
            update("KLL 2000", values, || kll(2000)),
            update("REQ 12", values, || req(12)),
            update("t-digest 100", values, || tdigest(100)),
            update("t-digest 200", values, || tdigest(200)),
            update("our distinct", values, || Ok(distinct())),
            update("HLL 12", values, hll),
        ];
        columns.push((distribution.name(), race(arguments, 4).run(values.len(), contenders)));
    }
    print_outcomes(&format!("states, updates: one state of {rows} rows, nulls left out"), &columns);
}

fn sizes(arguments: &Arguments, rows: usize) -> Result<(), Failure> {
    let mut table = Table::new(["bytes encoded (on the heap)"]);
    for distribution in arguments.distributions() {
        let column = distribution.column(Side::Baseline, rows);
        let values = &present(&column)[..];
        let state = column_state(slice::from_ref(&column))?;
        table.column(
            distribution.name(),
            [
                ("our histogram", size(histogram(), values)?),
                ("our numeric state", size(contenders::empty_numbers(), values)?),
                ("our column state", format!("{} ({})", state.encode().len(), state.heap_size())),
                ("KLL 200", size(kll(200)?, values)?),
                ("KLL 2000", size(kll(2000)?, values)?),
                ("REQ 12", size(req(12)?, values)?),
                ("t-digest 100", size(tdigest(100)?, values)?),
                ("t-digest 200", size(tdigest(200)?, values)?),
                ("our distinct", size(distinct(), values)?),
                ("HLL 12", size(hll()?, values)?),
            ],
        );
    }
    table.print(&format!("states, sizes at {rows} rows"));
    Ok(())
}

fn size<S: Summary>(mut summary: S, values: &[f64]) -> Result<String, Failure> {
    summary.observe(values)?;
    let encoded = summary.encode()?.len();
    Ok(summary.heap_size().map_or_else(|| encoded.to_string(), |heap| format!("{encoded} ({heap})")))
}

/// Many states of few values each against one state of all of them.
fn many(arguments: &Arguments) {
    for each in [1000, 10_000, 50_000] {
        let mut columns = Vec::new();
        for distribution in arguments.distributions_or(&FEW) {
            let column = distribution.column(Side::Baseline, RING);
            columns.push((distribution.name(), many_of(race(arguments, 6), &column, each)));
        }
        print_outcomes(&format!("states, many: {STATES} states of {each} rows each, or one of as many rows"), &columns);
    }
}

fn many_of(race: Race, column: &Float64Array, each: usize) -> Vec<Outcome> {
    let pieces: Vec<Float64Array> = (0..STATES).map(|index| column.slice(index * each % RING, each)).collect();
    let pieces = &pieces[..];
    let one = || vec![numbers_of(black_box(pieces))];
    let several = || black_box(pieces).iter().map(|piece| numbers_of(slice::from_ref(piece))).collect::<Vec<_>>();
    let encoded = |states: Vec<contenders::Numbers>| {
        let bytes: Vec<_> = states.iter().map(contenders::Numbers::encode).collect();
        (states, bytes)
    };
    let several_columns =
        || black_box(pieces).iter().map(|piece| column_state(slice::from_ref(piece))).collect::<Vec<_>>();
    let mut contenders = vec![
        Contender::fresh("one numeric state", || (), |()| one()),
        Contender::fresh("many numeric states", || (), |()| several()),
        Contender::fresh("one numeric state, encoded", || (), |()| encoded(one())),
        Contender::fresh("many numeric states, encoded", || (), |()| encoded(several())),
        Contender::fresh("one column state", || (), |()| column_state(black_box(pieces))),
        Contender::fresh("many column states", || (), |()| several_columns()),
    ];
    if each <= MIXED {
        let batches = contenders::batches(&column.slice(0, STATES * each));
        let name = "many column states, rows in turn";
        contenders.push(Contender::fresh(name, || (), move |()| column_groups(black_box(&batches), STATES)));
    }
    race.run(STATES * each, contenders)
}

fn merge(arguments: &Arguments) -> Result<(), Failure> {
    for each in [1000, 10_000] {
        let mut columns = Vec::new();
        for distribution in arguments.distributions_or(&FEW) {
            let values = present(&distribution.column(Side::Baseline, STATES * each));
            let pieces: Vec<&[f64]> = values.chunks(values.len().div_ceil(STATES)).collect();
            let contenders = vec![
                merging("our histogram", &pieces, || Ok(histogram()))?,
                merging("our numeric state", &pieces, || Ok(contenders::empty_numbers()))?,
                merging("KLL 200", &pieces, || kll(200))?,
                merging("KLL 2000", &pieces, || kll(2000))?,
                merging("REQ 12", &pieces, || req(12))?,
                merging("t-digest 200", &pieces, || tdigest(200))?,
                merging("our distinct", &pieces, || Ok(distinct()))?,
                merging("HLL 12", &pieces, hll)?,
            ];
            columns.push((distribution.name(), race(arguments, 3).run(pieces.len(), contenders)));
        }
        print_outcomes(&format!("states, merge: ns a state, {STATES} states of {each} rows into one"), &columns);
    }
    Ok(())
}

fn merging<'a, S: Summary + 'a>(
    name: &str,
    pieces: &[&[f64]],
    empty: impl Fn() -> Result<S, Failure> + 'a,
) -> Result<Contender<'a>, Failure> {
    let mut parts = Vec::new();
    for piece in pieces {
        let mut part = empty()?;
        part.observe(piece)?;
        parts.push(part);
    }
    Ok(Contender::fresh(name, empty, move |empty| S::merged(black_box(&parts), empty?)))
}

/// The distance of a sample and one slightly shifted; fails if the exact one lies outside of our certified interval.
fn distances(arguments: &Arguments, rows: usize) -> Result<(), Failure> {
    let mut columns = Vec::new();
    let mut table = Table::new(["two-sample D"]);
    for distribution in arguments.distributions() {
        let [left, right] = [Side::Baseline, Side::Shifted].map(|side| present(&distribution.column(side, rows)));
        let sides = || [left.clone(), right.clone()];
        let ours = [filled(histogram(), &left)?, filled(histogram(), &right)?];
        let sketches = [filled(kll(200)?, &left)?, filled(kll(200)?, &right)?];

        let exact = smirnov::exact(&contenders::sort(left.clone()), &contenders::sort(right.clone()));
        let certified = smirnov::certified(&ours[0], &ours[1]).ok_or("a side is empty")?;
        let upper = certified.statistic + certified.error;
        // One rounding of the sum above.
        if exact < certified.statistic || exact > upper + f64::EPSILON {
            let name = distribution.name();
            return Err(format!("{name}: D = {exact} is outside of [{}, {upper}]", certified.statistic).into());
        }
        let estimate = smirnov::from_kll(&sketches[0], &sketches[1]);
        table.column(
            distribution.name(),
            [
                ("exact, by sorting", format!("{exact:.6}")),
                ("ours: lower end", format!("{:.6}", certified.statistic)),
                ("ours: certified width", format!("{:.6}", certified.error)),
                ("KLL 200: off by", format!("{:.6}", (estimate - exact).abs())),
                ("KLL 200: twice its error at 99 %", short(2.0 * sketches[0].normalized_rank_error())),
            ],
        );
        let contenders = vec![
            Contender::fresh("exact, by sorting both", sides, |[left, right]| {
                let (left, right) = (contenders::sort(left), contenders::sort(right));
                (smirnov::exact(&left, &right), left, right)
            }),
            Contender::fresh(
                "ours, from values",
                || [histogram(), histogram()],
                |[a, b]| {
                    let (a, b) = (filled(a, black_box(&left))?, filled(b, black_box(&right))?);
                    Ok::<_, Failure>((smirnov::certified(&a, &b), a, b))
                },
            ),
            Contender::plain("ours, from states", || smirnov::certified(black_box(&ours[0]), black_box(&ours[1]))),
            Contender::fresh(
                "KLL 200, from values",
                || [kll(200), kll(200)],
                |[a, b]| {
                    let (a, b) = (filled(a?, black_box(&left))?, filled(b?, black_box(&right))?);
                    Ok::<_, Failure>((smirnov::from_kll(&a, &b), a, b))
                },
            ),
            Contender::plain("KLL 200, from states", || {
                smirnov::from_kll(black_box(&sketches[0]), black_box(&sketches[1]))
            }),
        ];
        columns.push((distribution.name(), race(arguments, 3).run(left.len() + right.len(), contenders)));
    }
    table.print(&format!("states, smirnov: {rows} rows a side; every exact D lies in our interval"));
    print_outcomes("states, smirnov: time, values of both sides counted", &columns);
    Ok(())
}

fn filled<S: Summary>(mut summary: S, values: &[f64]) -> Result<S, Failure> {
    summary.observe(values)?;
    Ok(summary)
}

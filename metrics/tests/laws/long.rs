//! Columns long enough to pass through every form of a histogram: list, exact table, young and mature windows.

use limno_fixtures::SplitMix64;
use limno_metrics::ColumnState;
use limno_metrics::state::{Counts, Histogram, Numbers};

use crate::laws::Mergeable;
use crate::values::index;

fn columns(rows: usize) -> Vec<(&'static str, Vec<f64>)> {
    let mut rng = SplitMix64::new(rows as u64);
    let mut column = |name, one: &mut dyn FnMut(&mut SplitMix64) -> f64| {
        (name, (0..rows).map(|_| one(&mut rng)).collect::<Vec<f64>>())
    };
    vec![
        column("uniform", &mut SplitMix64::uniform),
        column("normal", &mut SplitMix64::normal),
        column("log-normal", &mut |rng| (2.0 * rng.normal()).exp()),
        column("mostly zero", &mut |rng| if rng.chance(0.6) { 0.0 } else { -(1.0 - rng.uniform()).ln() }),
        column("two thousand prices", &mut |rng| f64::from(u32::try_from(rng.below(2000)).unwrap()) * 0.37 + 0.99),
        column("many prices", &mut |rng| (rng.uniform().powi(2) * 9000.0).floor() * 0.37 + 0.99),
        column("integers", &mut |rng| (rng.normal() * 3000.0).round()),
        column("seconds", &mut |rng| 1.7e9 + rng.uniform() * 3e7),
        column("two scales", &mut |rng| if rng.chance(0.5) { rng.uniform() } else { 1e12 + rng.uniform() }),
        column("any exponent", &mut |rng| rng.normal() * 2f64.powi(i32::try_from(rng.below(600)).unwrap() - 300)),
        column("with an outlier", &mut |rng| if rng.chance(1e-4) { 1e300 } else { rng.normal() }),
    ]
}

/// The state is the same whatever the pieces, and goes through its bytes on the way.
#[test]
fn long_columns_in_pieces() {
    for rows in [5000, 9000, 20_000, 70_000] {
        for (name, values) in columns(rows) {
            let expected = ColumnState::of_numbers(&values).encode();
            let rng = &mut SplitMix64::new(7);
            for pieces in [2, 3, 8, 50] {
                let mut merged = ColumnState::of_numbers(&[]);
                for piece in values.chunks(rows.div_ceil(pieces)) {
                    let state = ColumnState::of_numbers(piece);
                    let state = if rng.chance(0.5) { ColumnState::decode(&state.encode()).unwrap() } else { state };
                    merged.merge(&state).unwrap();
                }
                assert!(merged.encode() == expected, "{name}, {rows} rows in {pieces} pieces");
            }
            let mut shuffled = values;
            rng.shuffle(&mut shuffled);
            let mut in_runs = ColumnState::of_numbers(&[]);
            for run in shuffled.chunks(index(rng.below(3000)) + 1) {
                in_runs.observe_numbers(run, None).unwrap();
            }
            assert!(in_runs.encode() == expected, "{name}, {rows} rows, shuffled");
        }
    }
}

/// Narrow clusters beside crowds, which a state has to look at more coarsely than it first thought.
#[test]
fn clusters_in_one_slice_and_one_by_one() {
    let mut rng = SplitMix64::new(31);
    for round in 0..60u32 {
        let centre = 1.0 + rng.uniform();
        let values: Vec<f64> = (0..9000u64)
            .map(|row| {
                // Every fourth row is of the cluster, so that samples at even strides see nothing else.
                if row % 4 == 0 || round % 2 == 0 && row % 16 != 1 {
                    f64::from_bits(centre.to_bits() + rng.below(60_000))
                } else {
                    centre * (1.0 - 1e-4 * rng.uniform())
                }
            })
            .collect();
        for limit in [16, 64, 4096] {
            let mut whole = Histogram::empty(limit);
            whole.observe_slice(&values);
            let mut pieces = Histogram::empty(limit);
            values.chunks(700).for_each(|piece| pieces.observe_slice(piece));
            assert!(whole.bytes() == pieces.bytes(), "round {round}, limit {limit}");
        }
    }
}

/// A list that brings zeros and numbers to an exact table that has no room for another value.
#[test]
fn a_list_merged_into_a_full_table_is_summed_whole() {
    let mut full: Vec<f64> = (0..40).map(|row| f64::from(row % 16) + 0.1).collect();
    full.extend([16.1, 17.1, 18.1, 19.1]);
    for list in [vec![0.0, 7.7], vec![0.0], vec![0.0, 0.0, 20.1, 21.1]] {
        let of = |pieces: &[&[f64]]| {
            let (mut numbers, mut counts) = (Numbers::empty(16), Counts::default());
            pieces.iter().for_each(|piece| numbers.observe(piece, None, &mut counts));
            numbers
        };
        let ours = of(&[&full[..40], &full[40..]]).merged(&of(&[&list])).unwrap();
        let all = [full.clone(), list].concat();
        assert_eq!(ours.sums().count(), all.len() as u64);
        assert!(ours.bytes() == of(&[&all]).bytes());
    }
}

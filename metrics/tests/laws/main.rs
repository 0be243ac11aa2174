//! The laws that every state keeps, and the numbers that it answers, against plain oracles, on random data.
//!
//! Runs are reproducible: the seed is fixed. `PROPTEST_CASES=2000` runs more cases of each property (each has its own
//! number otherwise), `PROPTEST_RNG_SEED=7` runs other ones.
#![cfg(test)]

mod bytes;
mod columns;
mod distances;
mod exact;
mod laws;
mod long;
mod quality;
mod states;
mod values;

use proptest::test_runner::{Config, RngSeed};

/// So many cases, unless the environment says otherwise.
fn cases(cases: u32) -> Config {
    let default = Config::default();
    let is_set = |name: &str| std::env::var_os(name).is_some();
    Config {
        cases: if is_set("PROPTEST_CASES") { default.cases } else { cases },
        rng_seed: if is_set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(2013) },
        // A failure prints its smallest input, which then becomes a test by hand.
        failure_persistence: None,
        ..default
    }
}

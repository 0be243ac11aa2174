//! Benchmarks. Results, with the commands that reproduce them, are in `RESULTS.md` beside this crate.

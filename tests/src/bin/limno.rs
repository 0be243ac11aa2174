//! `limno`, built beside the tests that run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    limno_engine::cli::main()
}

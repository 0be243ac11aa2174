//! `limno`: the command line of Limnograph.

use std::process::ExitCode;

fn main() -> ExitCode {
    limno_engine::cli::main()
}

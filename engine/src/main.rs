//! `limno`: the command line of Limnograph.

use std::process::ExitCode;

/// Batches and states come and go by the million; the system's allocator returns each to the kernel, and takes it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    limno_engine::cli::main()
}

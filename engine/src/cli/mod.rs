//! The commands of `limno`: arguments in, library calls, printed results. No logic of its own.

pub mod args;
mod check;
mod compare;
mod demo;
mod files;
mod log;
pub mod output;
mod plan;
mod profile;
mod run;
mod sql;
mod vacuum;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::clock::SystemClock;
use crate::config::{Config, ProcessEnv};
use crate::engine::Engine;
use crate::progress::Progress;
use crate::{Error, Result};
use args::{Args, Command};
use limno_sql::lake::{LakeOptions, Service};
use limno_sql::secret::redact;
use limno_sql::session::SessionOptions;

/// How a command ended, beside errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// A rule fired, or a limit was passed, and the caller asked to be told by the exit code.
    Fired,
}

/// The whole program: parses the process's arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    log::init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    // Commands are large state machines: on the heap they cannot overflow a small stack.
    match runtime.block_on(Box::pin(execute(args))) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Fired) => ExitCode::from(3),
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    if let Error::Io(error) = error
        && error.kind() == std::io::ErrorKind::BrokenPipe
    {
        // Whoever read our output has read enough.
        return ExitCode::SUCCESS;
    }
    let mut stderr = std::io::stderr().lock();
    // Nothing can be said if standard error is gone; the exit code still tells.
    drop(writeln!(stderr, "error: {}", redact(&message(error))));
    ExitCode::from(error.exit_code())
}

/// The message of an error with the messages of its causes that it does not already contain.
fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    // Two layers of one library often name themselves alike.
    text.replace("Parquet error: Parquet error: ", "Parquet error: ")
}

async fn execute(args: Args) -> Result<Outcome> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        Command::Demo(demo) => demo::execute(demo, &mut out).await,
        Command::Check(check) => check::execute(&engine(&args)?, check, &mut out).await,
        Command::Run(run) => Box::pin(run::execute(&engine(&args)?, run, &mut out)).await,
        Command::Vacuum(vacuum) => vacuum::execute(&engine(&args)?, vacuum, &mut out).await,
        Command::Compare(compare) => {
            compare::execute(compare, &lake(&args, &[&compare.reference, &compare.current])?, &mut out).await
        }
        Command::Profile(profile) => profile::execute(profile, &lake(&args, &[&profile.table])?, &mut out).await,
        Command::Sql(sql) => sql::execute(&engine(&args)?, sql, &mut out).await,
    }
}

fn engine(args: &Args) -> Result<Engine> {
    let config = Config::load_laid(&args.config, environment(args).as_deref(), &ProcessEnv)?;
    Engine::new(config, Arc::new(SystemClock), Progress::on_terminal(), &SessionOptions::default())
}

fn environment(args: &Args) -> Option<String> {
    args.environment(std::env::var("LIMNO_ENV").ok())
}

/// How tables are reached without a monitor: by the `[store]` blocks of the configuration, if there is one.
fn lake(args: &Args, uris: &[&str]) -> Result<LakeOptions> {
    let is_on_disk = |uri: &&str| limno_sql::lake::service_of(uri).is_ok_and(|service| service == Service::Disk);
    let environment = environment(args);
    if uris.iter().all(is_on_disk) || (environment.is_none() && !args.config.exists()) {
        return Ok(LakeOptions::default());
    }
    let stores = Config::load_stores(&args.config, environment.as_deref(), &ProcessEnv)?;
    Ok(LakeOptions { stores, ..LakeOptions::default() })
}

/// Whether a person reads standard output.
fn is_interactive() -> bool {
    std::io::stdout().is_terminal()
}

//! Random histories of a table, watched as they go on: whatever happened, the incremental refreshes leave what one full
//! refresh leaves, bit for bit.
//!
//! A seed is a history. `LIMNO_HISTORIES` says how many are played, `LIMNO_FIRST_SEED` where they begin, and
//! `LIMNO_HISTORY_SEED` plays one alone and says each step.

pub(crate) mod alike;
mod hand;
pub(crate) mod lake;
mod mapping;
mod play;
mod proof;
mod rows;
mod steps;
mod tally;
mod told;
mod vectors;
mod watch;
mod world;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use self::play::play;
use self::tally::Tally;
use self::world::Steps;

/// The seeds are dealt out to so many tests, for tests run side by side.
const TESTS: u64 = 4;
const HISTORIES: u64 = 40;
/// Failures that are told in full.
const TOLD: usize = 3;

/// What the tests have played, and how many are done.
static PLAYED: Mutex<(Tally, u64)> = Mutex::new((Tally::new(), 0));

#[test]
fn what_is_refreshed_piece_by_piece_is_what_is_refreshed_at_once() {
    histories(0);
}

#[test]
fn what_is_refreshed_piece_by_piece_is_what_is_refreshed_at_once_2() {
    histories(1);
}

#[test]
fn what_is_refreshed_piece_by_piece_is_what_is_refreshed_at_once_3() {
    histories(2);
}

#[test]
fn what_is_refreshed_piece_by_piece_is_what_is_refreshed_at_once_4() {
    histories(3);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// Says something past the capture of the test harness.
fn tell(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Plays every fourth history.
fn histories(part: u64) {
    if let Some(seed) = number("LIMNO_HISTORY_SEED") {
        if part == 0 {
            let played = one(seed);
            assert!(played.is_ok(), "{}", played.unwrap_err());
        }
        return;
    }
    let first = number("LIMNO_FIRST_SEED").unwrap_or(1);
    let count = number("LIMNO_HISTORIES").unwrap_or(HISTORIES);
    let mut failures = Vec::new();
    let mut tally = Tally::new();
    for seed in (first..first + count).filter(|seed| (seed - first) % TESTS == part) {
        match one(seed) {
            Ok(played) => tally += played,
            Err(failure) => failures.push((seed, failure)),
        }
    }
    let mut played = PLAYED.lock().unwrap();
    played.0 += tally;
    played.1 += 1;
    if played.1 == TESTS {
        tell(&format!("seeds {first} to {}: {}", first + count - 1, played.0));
    }
    drop(played);
    let seeds: Vec<_> = failures.iter().map(|(seed, _)| seed).collect();
    let told: Vec<_> = failures.iter().take(TOLD).map(|(_, failure)| failure.as_str()).collect();
    assert!(failures.is_empty(), "seeds {seeds:?} failed\n{}", told.join("\n\n"));
}

/// Plays one history; tells what went wrong and how it came to that.
fn one(seed: u64) -> Result<Tally, String> {
    let steps = Steps::default();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let played =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(Box::pin(play(folder.path(), seed, Steps::clone(&steps))))));
    let failure = match played {
        Ok(Ok(tally)) => return Ok(tally),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("without words"))
        }
    };
    let steps = steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let steps: Vec<_> = steps.iter().enumerate().map(|(index, step)| format!("  {index:3} {step}\n")).collect();
    Err(format!("LIMNO_HISTORY_SEED={seed}\n{}{failure}", steps.concat()))
}

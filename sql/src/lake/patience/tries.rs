//! Which failures are worth another try, when, and until when.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::lake::client::{Elsewhere, Transient};
use crate::lake::options::Limits;
use crate::lake::timer::Timer;
use crate::lake::trouble::{Tried, cause, whole};

/// What may become of the same request if it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same.
    Final,
    /// It may succeed, not before the time that the service asked for.
    Again(Option<Duration>),
    /// Nobody takes the connection; a service that is started anew is back within seconds.
    Briefly,
}

/// The longest pause that is not asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a host that takes no connection is tried.
const BRIEFLY: Duration = Duration::from_secs(3);

/// What may become of another try.
pub(super) fn verdict(error: &Error) -> Verdict {
    if matches!(
        error,
        Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
            | Error::InvalidPath { .. }
    ) {
        return Verdict::Final;
    }
    if let Some(transient) = cause::<Transient>(error) {
        return Verdict::Again(transient.after);
    }
    if cause::<Elsewhere>(error).is_some() {
        return Verdict::Final;
    }
    if let Some(error) = cause::<HttpError>(error) {
        return of_connection(error);
    }
    // S3 answers some requests with "200 OK" before it knows whether they succeed.
    let text = error.to_string();
    let is_late_error = text.contains("Server returned error response")
        && (text.contains("InternalError") || text.contains("SlowDown"));
    if is_late_error { Verdict::Again(None) } else { Verdict::Final }
}

fn of_connection(error: &HttpError) -> Verdict {
    match error.kind() {
        HttpErrorKind::Timeout | HttpErrorKind::Interrupted | HttpErrorKind::Request => Verdict::Again(None),
        HttpErrorKind::Connect => {
            let text = whole(error);
            // A host without a name or with the wrong certificate will have the same in a minute.
            match ["dns error", "certificate", "Certificate"].iter().any(|word| text.contains(word)) {
                true => Verdict::Final,
                false => Verdict::Briefly,
            }
        }
        HttpErrorKind::Decode => Verdict::Final,
        _ => Verdict::Briefly,
    }
}

/// The tries of one operation.
#[derive(Debug)]
pub(super) struct Tries {
    backoff: ExponentialBackoff,
    budget: Duration,
    /// When the first failed: whoever takes his time before that has tried nothing again.
    since: Option<Duration>,
    /// How many have failed.
    failed: u32,
    /// How long the service asked to be left alone, if that is longer than it may be tried.
    asked: Option<Duration>,
}

impl Tries {
    pub(super) fn new(limits: Limits) -> Self {
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(limits.first_pause)
            .with_max_delay(LONGEST_PAUSE)
            .without_max_times()
            .build();
        Self { backoff, budget: limits.retry_budget, since: None, failed: 0, asked: None }
    }

    /// How long to wait before another try; `None` if there shall be none.
    pub(super) fn pause(&mut self, verdict: Verdict, timer: &dyn Timer) -> Option<Duration> {
        self.failed += 1;
        self.since.get_or_insert_with(|| timer.now());
        let (asked, budget) = match verdict {
            Verdict::Final => return None,
            Verdict::Again(asked) => (asked, self.budget),
            Verdict::Briefly => (None, self.budget.min(BRIEFLY)),
        };
        let left = budget.saturating_sub(self.spent(timer));
        self.asked = asked.filter(|asked| *asked > left);
        let pause = self.backoff.next().unwrap_or(LONGEST_PAUSE).max(asked.unwrap_or_default());
        (pause <= left).then_some(pause)
    }

    /// How often it was tried in vain.
    pub(super) const fn failed(&self) -> u32 {
        self.failed
    }

    /// What became of them, for messages.
    pub(super) fn tried(&self, timer: &dyn Timer) -> Tried {
        Tried { times: self.failed, time: self.spent(timer), asked: self.asked }
    }

    /// Time since the first failed.
    fn spent(&self, timer: &dyn Timer) -> Duration {
        self.since.map_or(Duration::ZERO, |since| timer.now().saturating_sub(since))
    }
}

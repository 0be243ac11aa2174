//! A store that has, when told to, what stores have now and then: for tests and benchmarks.
//!
//! A [`Faults`] stands around a store as a [`Layer`] and asks a plan, for each request, whether it goes wrong and how. What a
//! plan answers depends on the request alone, not on when it comes, so that a history with faults can be played again.

mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use twox_hash::XxHash64;

use super::Layer;
use super::options::Limits;
use store::Faulty;

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// An object, or a part of it.
    Get,
    /// What is known of an object.
    Head,
    /// A put.
    Put,
    /// The names below a folder.
    List,
    /// A deletion of one or several.
    Delete,
    /// A copy, a rename, or the beginning of an upload in parts.
    Other,
}

/// A request, as a plan sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// Of which object or folder.
    pub path: Path,
    /// The first byte that is asked for.
    pub from: u64,
    /// How often the same was asked before.
    pub nth: u64,
}

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The service is busy and asks to be left alone for so long; nothing was done.
    Throttled(Duration),
    /// The connection breaks before anything was done.
    Reset,
    /// It was done, but the answer does not arrive.
    Lost,
    /// What is read breaks off in the middle; everything else as [`Fault::Reset`].
    Broken,
    /// Nothing comes, until the client gives up; nothing was done.
    Stuck,
    /// Whoever signs in is not taken.
    Refused,
    /// A listing does not know yet of what was put lately; everything else goes well.
    Stale,
}

/// Whether a request goes wrong.
type Plan = Arc<dyn Fn(&Request) -> Option<Fault> + Send + Sync>;

/// Stands around stores and lets requests go wrong.
#[derive(Clone)]
pub struct Faults {
    plan: Plan,
    latency: Duration,
    limits: Option<Limits>,
    counts: Arc<Counts>,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Counts {
    /// How often each request came, by its hash.
    asked: Mutex<HashMap<u64, u64>>,
    requests: AtomicU64,
    faults: AtomicU64,
}

impl Faults {
    /// Requests go wrong as the plan says.
    #[must_use]
    pub fn new(plan: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self { plan: Arc::new(plan), latency: Duration::ZERO, limits: None, counts: Arc::default() }
    }

    /// Of a thousand requests, `rate` go wrong in one of the ways of `faults`; which ones hangs on the seed.
    #[must_use]
    pub fn seeded(seed: u64, rate: u64, faults: &'static [Fault]) -> Self {
        Self::new(move |request| {
            let mut hasher = XxHash64::with_seed(seed);
            (request.verb, request.path.as_ref(), request.from, request.nth).hash(&mut hasher);
            let drawn = hasher.finish();
            let index = usize::try_from(drawn / 1000 % faults.len().max(1) as u64).ok()?;
            (drawn % 1000 < rate).then(|| faults.get(index).copied()).flatten()
        })
    }

    /// Each request takes so long before anything is done.
    #[must_use]
    pub const fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// With this patience, in place of that of the store.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// How many requests there were, and how many of them went wrong.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        (self.counts.requests.load(Ordering::Relaxed), self.counts.faults.load(Ordering::Relaxed))
    }

    /// How the next such request goes wrong, if it does.
    fn next(&self, verb: Verb, path: &Path, from: u64) -> Option<Fault> {
        let mut hasher = XxHash64::with_seed(0);
        (verb, path.as_ref(), from).hash(&mut hasher);
        let nth = {
            let mut asked = self.counts.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let count = asked.entry(hasher.finish()).or_default();
            *count += 1;
            *count - 1
        };
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let fault = (self.plan)(&Request { verb, path: path.clone(), from, nth });
        if fault.is_some() {
            self.counts.faults.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }
}

impl Debug for Faults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("latency", &self.latency).field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Layer for Faults {
    fn around(&self, store: Arc<dyn ObjectStore>, _: &str) -> Arc<dyn ObjectStore> {
        Arc::new(Faulty::new(store, self.clone()))
    }

    fn limits(&self, limits: Limits) -> Limits {
        self.limits.unwrap_or(limits)
    }
}

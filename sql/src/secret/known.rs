//! What this process knows to be secret, and one search for all of it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::AhoCorasick;

use super::STARS;
use super::reading::Reading;
use super::spelling::spellings;

static KNOWN: RwLock<Option<Known>> = RwLock::new(None);

#[derive(Default)]
struct Known {
    /// Secrets that are remembered until the process ends.
    kept: HashSet<Arc<str>>,
    /// What is lent, as often as it is.
    lent: Vec<Arc<str>>,
    /// Finds any spelling of any of them; made by the first who asks after a change.
    finder: Option<Arc<Finder>>,
}

enum Finder {
    /// Nothing is known.
    Nothing,
    /// Any spelling of any secret.
    Spellings(AhoCorasick),
    /// There are gigabytes of secrets, which no search can hold; so nothing is shown at all.
    Everything,
}

/// How often an escape may be escaped again: a URL in a URL, JSON in JSON.
const DEPTH: usize = 2;

/// Remembers a secret until the process ends.
pub(super) fn remember(secret: &Arc<str>) {
    change(|known| known.kept.insert(Arc::clone(secret)));
}

/// Remembers a secret until [`let_go`] was called as often as this was.
pub(super) fn hold(secret: &Arc<str>) {
    change(|known| {
        let is_new = !known.lent.contains(secret);
        known.lent.push(Arc::clone(secret));
        is_new
    });
}

pub(super) fn let_go(secret: &Arc<str>) {
    change(|known| {
        let Some(at) = known.lent.iter().position(|lent| lent == secret) else { return false };
        known.lent.swap_remove(at);
        !known.lent.contains(secret)
    });
}

/// Changes what is known; the closure says whether there is now something else to look for.
fn change(change: impl FnOnce(&mut Known) -> bool) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if change(known) {
        known.finder = None;
    }
}

fn finder() -> Arc<Finder> {
    let ready = KNOWN.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|known| known.finder.clone());
    if let Some(finder) = ready {
        return finder;
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    let (kept, lent) = (&known.kept, &known.lent);
    Arc::clone(known.finder.get_or_insert_with(|| {
        let sought: HashSet<String> = kept.iter().chain(lent).flat_map(|secret| spellings(secret)).collect();
        Arc::new(match AhoCorasick::new(&sought) {
            Ok(_) if sought.is_empty() => Finder::Nothing,
            Ok(search) => Finder::Spellings(search),
            Err(_) => Finder::Everything,
        })
    }))
}

/// The text without what is known.
pub(super) fn strike_out(text: &str) -> Cow<'_, str> {
    let finder = finder();
    let search = match finder.as_ref() {
        Finder::Nothing => return Cow::Borrowed(text),
        Finder::Everything => return Cow::Borrowed(STARS),
        Finder::Spellings(search) => search,
    };
    // Secrets may overlap, and each goes as a whole.
    let mut found: Vec<Range<usize>> = search.find_overlapping_iter(text).map(|found| found.range()).collect();
    for reading in Reading::all_of(text, DEPTH) {
        let of_reading = search.find_overlapping_iter(reading.bytes());
        found.extend(of_reading.map(|found| reading.origin(found.range())));
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_by_key(|range| range.start);
    let (mut shown, mut at) = (String::with_capacity(text.len()), 0);
    for range in found {
        if range.start >= at {
            shown.push_str(&text[at..range.start]);
            shown.push_str(STARS);
        }
        at = at.max(range.end);
    }
    shown.push_str(&text[at..]);
    Cow::Owned(shown)
}

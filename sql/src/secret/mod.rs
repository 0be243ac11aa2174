//! Secrets: values that are used and never shown.
//!
//! The process remembers each of them, and [`redact`] strikes them out of text that others made, in whichever spelling
//! they stand there: see `spelling` for what is looked for and `reading` for how a text is read.

mod environment;
mod known;
mod made;
mod reading;
mod spelling;

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

pub(crate) use environment::{remember_environment, remember_key_file};

/// What stands in place of a secret.
const STARS: &str = "***";

/// A password, token or key. `Debug` prints `***` and there is no `Display`. The process remembers every secret, so that
/// [`redact`] can strike it out of text that others made.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value that must not be shown.
    pub fn new(value: impl Into<String>) -> Self {
        let value: Arc<str> = value.into().into();
        known::remember(&value);
        Self(value)
    }

    /// The value itself, for the one call that needs it. Must reach no log, error, table or mail.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// A secret that was handed out for a while. It is struck out of text as long as it is held somewhere, so that a process
/// that gets a new one every hour does not remember all of them.
pub(crate) struct Lent(Arc<str>);

impl Lent {
    /// Wraps a value that must not be shown.
    pub(crate) fn new(value: impl Into<Arc<str>>) -> Self {
        let value: Arc<str> = value.into();
        known::hold(&value);
        Self(value)
    }

    /// The value itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        known::let_go(&self.0);
    }
}

impl Debug for Lent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// The text without any secret that this process knows, and without signatures and tokens as such.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    match known::strike_out(text) {
        Cow::Borrowed(text) => made::strike_out(text),
        Cow::Owned(struck) => match made::strike_out(&struck) {
            Cow::Owned(twice) => Cow::Owned(twice),
            Cow::Borrowed(_) => Cow::Owned(struck),
        },
    }
}

#[cfg(test)]
mod tests;

//! Secrets: values that are used and never shown.

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use regex::Regex;

/// A password, token or key. `Debug` prints `***` and there is no `Display`. The process remembers every secret, so that
/// [`redact`] can strike it out of text that others made.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// What is struck out: a secret as it is, and as it stands in a URL.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Shorter ones are words of ordinary text.
const SHORTEST: usize = 6;

/// Signatures and tokens that were made on the way, which no secret of ours is equal to.
static MADE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let signature = r#"(?i)\b(sig|x-amz-signature|x-amz-security-token|x-goog-signature)=[^&\s"'<>]+"#;
    let header = r"(?i)\b(bearer|sharedkey)\s+[A-Za-z0-9._~+/:=-]{8,}";
    let token = r#"(?i)(access_token|client_secret|client_assertion|refresh_token|session_?token|sas_token)(["']?\s*[:=]\s*["']?)[^"'&\s,}]+"#;
    Regex::new(&format!("{signature}|{header}|{token}")).ok()
});

impl Secret {
    /// Wraps a value that must not be shown.
    pub fn new(value: impl Into<String>) -> Self {
        let value: String = value.into();
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        let encoded = encoded(&value);
        let decoded: String = url::form_urlencoded::parse(value.as_bytes())
            .filter(|(name, _)| name == "sig")
            .map(|(_, signature)| signature.into_owned())
            .collect();
        for text in [value.clone(), encoded, decoded] {
            if text.len() >= SHORTEST && !known.contains(&text) {
                known.push(text);
            }
        }
        // Of two of which one holds the other, the longer goes first.
        known.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(value.into())
    }

    /// The value itself, for the one call that needs it. Must reach no log, error, table or mail.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret that was handed out for a while. It is struck out of text as long as it is held somewhere, so that a process
/// that gets a new one every hour does not remember all of them.
pub(crate) struct Lent(Arc<str>);

/// What is lent, as often as it is.
static LENT: RwLock<Vec<Arc<str>>> = RwLock::new(Vec::new());

impl Lent {
    /// Wraps a value that must not be shown.
    pub(crate) fn new(value: impl Into<Arc<str>>) -> Self {
        let value: Arc<str> = value.into();
        LENT.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&value));
        Self(value)
    }

    /// The value itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut lent = LENT.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = lent.iter().position(|value| *value == self.0) {
            lent.swap_remove(at);
        }
    }
}

impl Debug for Lent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A text as it stands in a URL.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The text without any secret that this process knows, and without signatures and tokens as such.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut result = Cow::Borrowed(text);
    for secret in KNOWN.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if result.contains(secret.as_str()) {
            result = Cow::Owned(result.replace(secret.as_str(), "***"));
        }
    }
    for secret in LENT.read().unwrap_or_else(PoisonError::into_inner).iter() {
        for text in [Cow::Borrowed(&**secret), Cow::Owned(encoded(secret))] {
            if text.len() >= SHORTEST && result.contains(&*text) {
                result = Cow::Owned(result.replace(&*text, "***"));
            }
        }
    }
    let Some(made) = MADE.as_ref() else { return result };
    let replaced = match made.replace_all(&result, |found: &regex::Captures<'_>| {
        let name = (1..=3).find_map(|group| found.get(group)).map_or("", |name| name.as_str());
        if found.get(2).is_some() { format!("{name} ***") } else { format!("{name}=***") }
    }) {
        Cow::Borrowed(_) => return result,
        Cow::Owned(replaced) => replaced,
    };
    Cow::Owned(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("p4ss/w0rd+");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(redact("a p4ss/w0rd+ and p4ss%2Fw0rd%2B"), "a *** and ***");
        assert_eq!(secret.expose(), "p4ss/w0rd+");
    }

    #[test]
    fn what_is_lent_is_remembered_as_long_as_it_is_held() {
        let (first, second) = (Lent::new("l3nt/for+now"), Lent::new("l3nt/for+now"));
        assert_eq!(format!("{first:?}"), "***");
        assert_eq!(redact("a l3nt/for+now, l3nt%2Ffor%2Bnow"), "a ***, ***");
        drop(first);
        assert_eq!(redact(second.expose()), "***", "the other is still held");
        drop(second);
        assert_eq!(redact("l3nt/for+now"), "l3nt/for+now");
    }

    #[test]
    fn what_is_made_on_the_way_goes_too() {
        for (text, shown) in [
            ("GET https://a/b?sv=1&sig=abc%2F1&se=2 failed", "GET https://a/b?sv=1&sig=***&se=2 failed"),
            ("Authorization: Bearer eyJ0eXAi.OiJK.V1Qi", "Authorization: Bearer ***"),
            (r#"{"access_token":"eyJ0","expires_in":3}"#, r#"{"access_token=***","expires_in":3}"#),
        ] {
            assert_eq!(redact(text), shown);
        }
        assert!(matches!(redact("nothing to hide"), Cow::Borrowed(_)));
    }
}

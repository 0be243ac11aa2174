//! Signatures and tokens that were made on the way, which no secret of ours is equal to; they are known by their shape
//! and by their names.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::STARS;

/// Group 1, where there is one, is what stays in front.
static MADE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // Parameters of URLs, also where these stand escaped in a URL or in JSON.
    let front = r"(?:\b|%(?:25)?(?:3f|26)|\\u00(?:3f|26))";
    let names = "(?:sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature)";
    let signature = format!(r"(?i:{front}{names}(?:=|%(?:25)?3d|\\u003d))");
    let header = r"(?i:\b(?:bearer|sharedkey|sharedkeylite)\s+)";
    let basic = r"(?i:\bbasic\s+)";
    // Names of members, parameters and fields, quoted or not, and escaped where JSON stands in JSON.
    let name = r#"(?i:(?:access_?token|client_?secret|client_?assertion|refresh_?token|id_?token|session_?token|sas_?token|secret_?access_?key|account_?key|private_?key)(?:\\?["'])?\s*[:=]\s*(?:Some\()?(?:\\?["'])?)"#;
    let values = [
        format!(r#"({signature})[^&\s"'<>\\,;]+"#),
        format!(r"({header})[A-Za-z0-9._~+/:=-]{{8,}}"),
        format!(r"({basic})[A-Za-z0-9+/]{{16,}}=*"),
        // Hints name such keys with what is to be written there, `{ env = "…" }`.
        format!(r#"({name})[^"'&\s,{{}}\[\]<>()\\…]{{6,}}"#),
        // JSON web tokens, Google's tokens, those of Databricks, keys in PEM.
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*".to_owned(),
        r"\bya29\.[A-Za-z0-9._-]{16,}".to_owned(),
        r"\b(?:dapi|dose|dkea)[0-9a-f]{32}(?:-[0-9])?\b".to_owned(),
        r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))".to_owned(),
    ];
    Regex::new(&values.join("|")).ok()
});

/// The text without what was made on the way.
pub(super) fn strike_out(text: &str) -> Cow<'_, str> {
    let Some(made) = MADE.as_ref() else { return Cow::Borrowed(STARS) };
    made.replace_all(text, |found: &Captures<'_>| {
        let front = found.iter().skip(1).flatten().next().map_or("", |front| front.as_str());
        format!("{front}{STARS}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_on_the_way_goes() {
        for (text, shown) in [
            ("GET https://a/b?sv=1&sig=abc%2F1&se=2 failed", "GET https://a/b?sv=1&sig=***&se=2 failed"),
            ("url=https%3A%2F%2Fa%3Fsig%3Dabc%252F1&x", "url=https%3A%2F%2Fa%3Fsig%3D***&x"),
            (r#"{"url":"https://a?sig\u003dabc\u0026se=2"}"#, r#"{"url":"https://a?sig\u003d***\u0026se=2"}"#),
            (
                "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0123abcd",
                "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=***",
            ),
            ("Authorization: Bearer eyJ0eXAi.OiJK.V1Qi", "Authorization: Bearer ***"),
            ("authorization: SharedKey account:AbC+/=", "authorization: SharedKey ***"),
            ("Basic bGltbm86aHVudGVyMg==", "Basic ***"),
            (r#"{"access_token":"eyJ0abc","expires_in":3}"#, r#"{"access_token":"***","expires_in":3}"#),
            (r#"{\"refresh_token\":\"1//0abcdef\"}"#, r#"{\"refresh_token\":\"***\"}"#),
            (r#"Key { client_secret: Some("abcdefgh") }"#, r#"Key { client_secret: Some("***") }"#),
            ("grant_type=x&client_assertion=abcdefgh&y", "grant_type=x&client_assertion=***&y"),
            ("token eyJ0eXAiOiJK.eyJhdWQiOiJo.c2lnbmF0dXJl of", "token *** of"),
            ("a -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\nb", "a ***\nb"),
        ] {
            assert_eq!(strike_out(text), shown);
        }
    }

    #[test]
    fn what_tells_how_to_sign_in_stays() {
        for text in [
            "nothing to hide",
            r#"write client_secret = { env = "LAKE_CLIENT_SECRET" } or { file = "…" }"#,
            "account_key, sas_token, client_secret, managed_identity",
            "a basic understanding; the bearer of it",
            "add client_id and client_secret = { env = \"…\" }",
        ] {
            assert!(matches!(strike_out(text), Cow::Borrowed(_)), "{text}");
        }
    }
}

//! How a secret is spelled where it may show. Escapes are undone in the text, so here stands what no reading of it finds:
//! base64, and the parts of a secret that are secret alone.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::reading::Reading;

/// Shorter ones are words of ordinary text.
const SHORTEST: usize = 6;
/// Of texts that hold a secret, such as URLs and keys of several lines, shorter parts are ordinary too.
const SHORTEST_PART: usize = 12;

/// All that is looked for because of one secret.
pub(super) fn spellings(secret: &str) -> Vec<String> {
    let mut sought = Vec::new();
    for part in parts(secret) {
        for base64 in base64_of(part.as_bytes()) {
            sought.push(base64);
        }
        if part.contains(' ') {
            // Of forms.
            sought.push(part.replace(' ', "+"));
        }
        sought.push(part);
    }
    sought.retain(|text| text.len() >= SHORTEST);
    sought
}

/// The secret, and what of it is secret alone.
fn parts(secret: &str) -> Vec<String> {
    let mut parts = vec![secret.to_owned()];
    let trimmed = secret.trim();
    if trimmed != secret {
        parts.push(trimmed.to_owned());
    }
    // `Bearer …`, as a header has it.
    if let Some((_, token)) = trimmed.split_once(' ').filter(|(scheme, token)| is_scheme(scheme) && !token.is_empty()) {
        parts.push(token.to_owned());
    }
    parts.extend(signatures(trimmed));
    parts.extend(parts_of_url(trimmed));
    parts.extend(parts_of_json(trimmed));
    parts.extend(parts_of_connection(trimmed));
    let lines: Vec<String> = parts.iter().flat_map(|part| lines_of(part)).collect();
    parts.extend(lines);
    parts
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The signatures of a shared access signature, or of a URL that is signed: without them the rest opens nothing.
fn signatures(secret: &str) -> Vec<String> {
    let query = secret.split_once('?').map_or(secret, |(_, query)| query);
    let mut signatures = Vec::new();
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let is_signature =
            ["sig", "X-Amz-Signature", "X-Goog-Signature"].iter().any(|known| name.eq_ignore_ascii_case(known));
        if is_signature {
            signatures.push(value.to_owned());
            let decoded = url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned());
            signatures.extend(decoded);
        }
    }
    signatures
}

/// Of a URL that is secret as a whole, path and query; others show its host. Of one with a password, that.
fn parts_of_url(secret: &str) -> Vec<String> {
    let Some(url) = url::Url::parse(secret).ok().filter(|url| url.has_host()) else { return Vec::new() };
    let path = url[url::Position::BeforePath..].to_owned();
    let password = url.password().unwrap_or_default().to_owned();
    let mut parts: Vec<String> = [path].into_iter().filter(|path| path.len() >= SHORTEST_PART).collect();
    // As it was meant, too: its escapes are those of the URL.
    let meant = Reading::all_of(&password, 1).into_iter();
    parts.extend(meant.filter_map(|meant| String::from_utf8(meant.bytes().to_vec()).ok()));
    parts.push(password);
    parts
}

/// Members of a JSON key that are secret; the others are names and addresses, which messages show.
fn parts_of_json(secret: &str) -> Vec<String> {
    const SECRET: [&str; 5] = ["private_key", "client_secret", "refresh_token", "access_token", "password"];
    let Ok(Value::Object(key)) = serde_json::from_str(secret) else { return Vec::new() };
    SECRET.iter().filter_map(|name| Some(key.get(*name)?.as_str()?.to_owned())).collect()
}

/// `AccountKey` and `SharedAccessSignature` of a connection string.
fn parts_of_connection(secret: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for pair in secret.split(';') {
        match pair.split_once('=') {
            Some(("AccountKey", key)) => parts.push(key.to_owned()),
            Some(("SharedAccessSignature", signature)) => {
                parts.push(signature.to_owned());
                parts.extend(signatures(signature));
            }
            _ => {}
        }
    }
    parts
}

/// The lines of a key in PEM, and its one line without breaks: logs cut lines, and some write them with other breaks.
fn lines_of(part: &str) -> Vec<String> {
    if !part.starts_with("-----BEGIN") {
        return Vec::new();
    }
    let is_body = |line: &&str| !line.starts_with("-----") && line.len() >= SHORTEST_PART;
    let mut lines: Vec<String> = part.lines().map(str::trim).filter(is_body).map(str::to_owned).collect();
    lines.push(lines.concat());
    lines
}

/// What of the base64 of any bytes that hold these is the same, whatever stands before and after, in both alphabets; and
/// the base64 of these alone to its end.
fn base64_of(bytes: &[u8]) -> Vec<String> {
    let alone = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let mut spellings: Vec<String> = alone.iter().map(|engine| engine.encode(bytes)).collect();
    for before in 0..3_usize {
        let shifted: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
        // Of the first and the last group, what other bytes decide is left out.
        let (start, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for engine in [&STANDARD, &URL_SAFE] {
            let encoded = engine.encode(&shifted);
            spellings.extend(encoded.get(start..end).map(str::to_owned));
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_wherever_the_secret_stands_in_it() {
        let spellings = base64_of(b"hunter2!");
        for before in ["", "a", "ab", "abc", "limno:"] {
            for after in ["", "z", "zz"] {
                let encoded = STANDARD.encode(format!("{before}hunter2!{after}"));
                assert!(spellings.iter().any(|known| encoded.contains(known)), "{before} {after}");
            }
        }
        let other = STANDARD.encode("limno:hunter3!!");
        assert!(!spellings.iter().any(|known| other.contains(known)));
    }

    #[test]
    fn parts_that_are_secret_alone_are_looked_for() {
        let holds = |secret: &str, part: &str| {
            assert!(spellings(secret).iter().any(|known| known == part), "{part} of {secret}");
        };
        holds("?sv=1&sig=a%2Bb%2Fcd%3D&se=2", "a+b/cd=");
        holds("sig=a%2Bb%2Fcd%3D", "a%2Bb%2Fcd%3D");
        holds("https://logic.example.com/run?sig=abcdefg", "abcdefg");
        holds("https://hooks.example.com/services/T0/B1", "/services/T0/B1");
        holds("http://me:p%40ssw0rd@proxy:3128", "p@ssw0rd");
        holds("Bearer token-of-mine", "token-of-mine");
        holds("AccountName=x;AccountKey=a2V5LW9m==;EndpointSuffix=core", "a2V5LW9m==");
        holds("  padded-secret\n", "padded-secret");
        let key = r#"{"client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"}"#;
        holds(key, "MIIEvQIBADANBgkq");
        holds(key, "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC");
        assert!(!spellings(key).iter().any(|known| known == "a@b"));
    }

    #[test]
    fn short_ones_are_words_of_ordinary_text() {
        for secret in ["", "abc", "https://example.com/short"] {
            let spelled = spellings(secret);
            assert!(!spelled.iter().any(|known| ["", "abc", "/short"].contains(&known.as_str())), "{spelled:?}");
        }
    }
}

//! What a service answered, read out of the text of an error: stores tell of it in no other way.

use serde_json::Value;

/// Status, word and sentences of an answer that was no success.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// None if nobody answered, or with a redirect that leads nowhere.
    pub(super) status: Option<u16>,
    /// The status in the words of HTTP.
    reason: String,
    /// The service's own word; empty if it has none.
    pub(super) code: String,
    /// Its sentences, for people.
    pub(super) text: String,
    /// The region that it names.
    pub(super) region: String,
    /// Whether the answer leads elsewhere without saying where.
    pub(super) is_bare_redirect: bool,
}

/// Where a store begins to tell of the answer.
const STATUS: &str = "non-2xx status code: ";
/// Where it tells of one with a good status.
const RESPONSE: &str = "Server returned error response: ";

impl Answer {
    /// Reads an error with all its causes.
    pub(super) fn of(error: &str) -> Self {
        if error.contains("Received redirect without LOCATION") {
            return Self { is_bare_redirect: true, ..Self::default() };
        }
        if let Some((_, rest)) = error.split_once(STATUS) {
            let (status, body) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
            let (number, reason) = status.split_once(' ').unwrap_or((status, ""));
            return Self { status: number.parse().ok(), reason: reason.to_owned(), ..Self::of_body(body) };
        }
        if let Some((_, body)) = error.split_once(RESPONSE) {
            return Self::of_body(body);
        }
        // One of many deletions that were asked for at once.
        match error.split_once(" request failed for key ").and_then(|(_, rest)| rest.rsplit_once(" (code: ")) {
            Some((text, code)) => Self {
                code: code.split(')').next().unwrap_or_default().to_owned(),
                text: text.to_owned(),
                ..Self::default()
            },
            None => Self::default(),
        }
    }

    fn of_body(body: &str) -> Self {
        if let Some(json) = body.find('{').filter(|start| body[..*start].trim_matches('\u{feff}').trim().is_empty()) {
            let mut values = serde_json::Deserializer::from_str(&body[json..]).into_iter::<Value>();
            if let Some(Ok(value)) = values.next() {
                return Self::of_json(&value);
            }
        }
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            let (text, _) = rest.split_once(&format!("</{name}>"))?;
            Some(unescaped(text.trim()))
        };
        let texts = ["Message", "AuthenticationErrorDetail", "Details"].into_iter().filter_map(element);
        Self {
            code: element("Code").unwrap_or_default(),
            text: texts.collect::<Vec<_>>().join("\n"),
            region: element("Region").unwrap_or_default(),
            ..Self::default()
        }
    }

    /// `{"error": "…", "error_description": "…"}` of OAuth, `{"error": {"code", "message"}}` of others.
    fn of_json(value: &Value) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(error) = value.get("error") else { return Self::default() };
        if error.is_object() {
            let code = [error.get("status"), error.get("code")].into_iter().find_map(|code| code?.as_str());
            return Self {
                code: code.unwrap_or_default().to_owned(),
                text: text(error.get("message")),
                ..Self::default()
            };
        }
        let description = text(value.get("error_description"));
        let of_entra = description
            .find("AADSTS")
            .map(|at| description[at..].chars().take_while(char::is_ascii_alphanumeric).collect::<String>());
        Self { code: of_entra.unwrap_or_else(|| text(Some(error))), text: description, ..Self::default() }
    }

    /// Whether the service knows who asks, or what for, and says no.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.status, Some(401 | 403)) || (self.status == Some(400) && !self.code.is_empty())
    }

    /// Whether its sentences hold one of these.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.text.contains(word))
    }

    /// Status and word, for messages; nothing if nobody answered.
    pub(super) fn said(&self) -> Option<String> {
        let status = self.status.map(|status| format!("{status} {}", self.reason).trim().to_owned());
        match (status, self.code.as_str()) {
            // What Entra says has numbers of its own.
            (_, code) if code.starts_with("AADSTS") => Some(code.to_owned()),
            (None, "") => None,
            (None, code) => Some(code.to_owned()),
            (Some(status), "") => Some(status),
            (Some(status), code) => Some(format!("{status}, {code}")),
        }
    }
}

fn unescaped(text: &str) -> String {
    // The ampersand last: what it makes is no escape.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#x27;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, reason: &str, code: &str, text: &str) -> Answer {
        let (reason, code, text) = (reason.to_owned(), code.to_owned(), text.to_owned());
        Answer { status: Some(status), reason, code, text, ..Answer::default() }
    }

    #[test]
    fn answers_of_every_kind_are_read() {
        let before = "Generic MicrosoftAzure error: Error performing list request: Error performing GET \
                      http://a/expired in 2ms - Server returned non-2xx status code: ";
        for (after, expected) in [
            (
                "403 Forbidden: \u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server \
                 failed.\nRequestId:1</Message><AuthenticationErrorDetail>It&apos;s &lt;old&gt;</AuthenticationErrorDetail>\
                 </Error>",
                answer(403, "Forbidden", "AuthenticationFailed", "Server failed.\nRequestId:1\nIt's <old>"),
            ),
            (
                r#"401 Unauthorized: {"error":"invalid_client","error_description":"AADSTS7000215: Invalid."}"#,
                answer(401, "Unauthorized", "AADSTS7000215", "AADSTS7000215: Invalid."),
            ),
            (
                r#"400 Bad Request: {"error":"invalid_grant","error_description":"Bad."}: and more"#,
                answer(400, "Bad Request", "invalid_grant", "Bad."),
            ),
            (
                r#"403 Forbidden: {"error":{"code":403,"message":"No.","status":"PERMISSION_DENIED"}}"#,
                answer(403, "Forbidden", "PERMISSION_DENIED", "No."),
            ),
            (
                r#"404 Not Found: {"error":{"code":"FilesystemNotFound"}}"#,
                answer(404, "Not Found", "FilesystemNotFound", ""),
            ),
            ("403 Forbidden: ", answer(403, "Forbidden", "", "")),
            ("502 Bad Gateway: <html>", answer(502, "Bad Gateway", "", "")),
        ] {
            assert_eq!(Answer::of(&format!("{before}{after}")), expected, "{after}");
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for text in ["", "dns error", "path/AuthenticationFailed/403", "request failed for key"] {
            assert_eq!(Answer::of(text), Answer::default(), "{text}");
        }
        let deleted = "DeleteObjects request failed for key a/b (code: x): Access Denied (code: AccessDenied)";
        assert_eq!(Answer::of(deleted).code, "AccessDenied");
    }

    #[test]
    fn an_answer_is_shown_by_status_and_word() {
        for (text, said) in [
            ("non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>", Some("403 Forbidden, AccessDenied")),
            ("non-2xx status code: 403 Forbidden: ", Some("403 Forbidden")),
            (r#"non-2xx status code: 400 X: {"error":"e","error_description":"AADSTS90002: T"}"#, Some("AADSTS90002")),
            ("Server returned error response: <Code>InternalError</Code>", Some("InternalError")),
            ("no answer", None),
        ] {
            assert_eq!(Answer::of(text).said().as_deref(), said, "{text}");
        }
    }
}

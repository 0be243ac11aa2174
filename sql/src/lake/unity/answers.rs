//! What a catalog answers, read with patience: whatever may be missing, null or of a kind that came later is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// What is known of a table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TableInfo {
    pub(super) table_type: Option<String>,
    pub(super) data_source_format: Option<String>,
    pub(super) storage_location: Option<String>,
    pub(super) table_id: Option<String>,
    pub(super) properties: Option<BTreeMap<String, Value>>,
}

/// A page of the tables of a schema.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TablePage {
    pub(super) tables: Option<Vec<Listed>>,
}

/// A table of a schema.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listed {
    pub(super) name: Option<String>,
}

/// Temporary credentials. No `Debug`: they are secret.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Credentials {
    pub(super) aws_temp_credentials: Option<AwsKey>,
    pub(super) azure_user_delegation_sas: Option<AzureSas>,
    pub(super) azure_aad: Option<AzureToken>,
    pub(super) gcp_oauth_token: Option<GcpToken>,
    /// In milliseconds, by the catalog's clock.
    pub(super) expiration_time: Option<i64>,
}

/// A session key of AWS.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AwsKey {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
}

/// A shared access signature by user delegation.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AzureSas {
    pub(super) sas_token: String,
}

/// A token of Microsoft Entra for the storage.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AzureToken {
    pub(super) aad_token: String,
}

/// An OAuth token of Google.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct GcpToken {
    pub(super) oauth_token: String,
}

/// A token of an OAuth endpoint, or of the Azure CLI. No `Debug`: it is secret.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    #[serde(alias = "accessToken")]
    pub(super) access_token: String,
    /// Seconds; some endpoints write them as text.
    expires_in: Value,
    /// Seconds since 1970.
    expires_on: Value,
}

impl Token {
    /// How long it holds from `now` on, in seconds since 1970.
    pub(super) fn life(&self, now: i64) -> Option<u64> {
        let seconds = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let life = seconds(&self.expires_in).or_else(|| Some(seconds(&self.expires_on)? - now))?;
        u64::try_from(life).ok()
    }
}

/// What a service says when it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Its word for it, with the reasons among the details; empty if it has none.
    pub(super) code: String,
    pub(super) message: String,
    /// How long it asks to be left alone, if that is longer than it is asked again.
    pub(super) asks: Option<Duration>,
}

impl Refusal {
    /// Reads an answer that is no success. Catalogs, Databricks and OAuth endpoints each have a spelling of their own.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else {
            return Self { status, code: String::new(), message: String::new(), asks: None };
        };
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| match answer.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            found.unwrap_or_default()
        };
        let reasons = answer.get("details").and_then(Value::as_array).into_iter().flatten();
        let reasons = reasons.filter_map(|detail| detail.get("reason")?.as_str());
        let mut code = text(&["error_code", "error"]);
        for reason in reasons {
            if reason != code {
                code = format!("{code} {reason}");
            }
        }
        let message = text(&["message", "error_description"]);
        // One line: descriptions of Entra end with lines of ids.
        let message = message.lines().next().unwrap_or_default().trim().to_owned();
        Self { status, code: code.trim().to_owned(), message, asks: None }
    }

    /// Whether its code or message holds one of these words, in any case.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        let text = format!("{} {}", self.code, self.message).to_ascii_lowercase();
        words.iter().any(|word| text.contains(&word.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_every_spelling_are_read() {
        let body = br#"{"error_code":403,"message":"Invalid access token."}"#;
        let refusal = Refusal::of(403, body);
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("403", "Invalid access token."));
        let body = br#"{"error_code":"UNAUTHENTICATED","message":"m","details":[{"reason":"EXTERNAL_DENIED"},{}]}"#;
        assert_eq!(Refusal::of(401, body).code, "UNAUTHENTICATED EXTERNAL_DENIED");
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid.\r\nTrace ID: x"}"#;
        assert_eq!(Refusal::of(401, body).message, "AADSTS7000215: Invalid.");
        assert_eq!(Refusal::of(502, b"<html>").code, "");
    }

    #[test]
    fn tables_of_kinds_to_come_and_with_nulls_are_read() {
        let body = r#"{"table_type":"FOREIGN","columns":null,"properties":null,"comment":null,"new":{"a":1}}"#;
        let table: TableInfo = serde_json::from_str(body).unwrap();
        assert_eq!(table.table_type.as_deref(), Some("FOREIGN"));
    }

    #[test]
    fn lives_of_tokens_are_numbers_texts_or_ends() {
        for (body, life) in [
            (r#"{"access_token":"t","expires_in":3599}"#, Some(3599)),
            (r#"{"access_token":"t","expires_in":"86399","expires_on":"1"}"#, Some(86399)),
            (r#"{"accessToken":"t","expires_on":1600}"#, Some(600)),
            (r#"{"accessToken":"t"}"#, None),
        ] {
            assert_eq!(serde_json::from_str::<Token>(body).unwrap().life(1000), life, "{body}");
        }
    }
}

//! Triggers: what is called when a rule asks for more than a message, above all a retraining job.
//!
//! A call carries a token that is the same for the same monitor, rule and window, so that a call repeated
//! after a crash or a lost answer starts nothing twice where the other side honours tokens.

pub mod command;
pub mod databricks_job;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    alert::{DeliveryError, Receipt},
    config::TriggerConfig,
};

/// The longest token that a receiver takes (Databricks' limit).
pub const LONGEST_TOKEN: usize = 64;

/// Something that can be set going.
#[async_trait]
pub trait Trigger: Debug + Send + Sync {
    /// The name that the configuration gives it.
    fn name(&self) -> &str;

    /// Sets it going.
    ///
    /// # Errors
    /// Why it was not, or why that is not known. A later call must carry the same token.
    async fn fire(&self, request: &TriggerRequest) -> Result<Receipt, DeliveryError>;

    /// Whether it could be set going, found out without doing so. Answers one line for people.
    ///
    /// # Errors
    /// What stands in the way.
    async fn check(&self) -> Result<String, DeliveryError>;
}

/// What a trigger is told: the worst breach that asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerRequest {
    /// From [`idempotency_token`]; at most [`LONGEST_TOKEN`] ASCII characters.
    pub token: String,
    /// The monitor's name.
    pub monitor: String,
    /// The primary table, as configured.
    pub table: String,
    /// The rule's name.
    pub rule: String,
    /// The column that broke the rule most.
    pub column: String,
    /// The metric that the rule looks at.
    pub metric: String,
    /// The metric's value.
    #[serde(with = "crate::alert::wire::number")]
    pub value: f64,
    /// The window's length as configured: `1 week`.
    pub granularity: String,
    /// The window, half open.
    pub window: (DateTime<Utc>, DateTime<Utc>),
    /// The model that made the rows, where the monitor tells models apart.
    pub model_id: Option<String>,
}

impl TriggerRequest {
    /// Everything but the token, as named text: times in UTC after RFC 3339, the value with all its digits.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let mut parameters = vec![
            ("monitor", self.monitor.clone()),
            ("table", self.table.clone()),
            ("rule", self.rule.clone()),
            ("column", self.column.clone()),
            ("metric", self.metric.clone()),
            ("value", self.value.to_string()),
            ("granularity", self.granularity.clone()),
            ("window_start", time(self.window.0)),
            ("window_end", time(self.window.1)),
        ];
        if let Some(model_id) = &self.model_id {
            parameters.push(("model_id", model_id.clone()));
        }
        parameters
    }

    /// The parameters and the token as one JSON object; the value is a number where JSON has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object: Map<String, Value> =
            self.parameters().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if self.value.is_finite() {
            object.insert("value".to_owned(), self.value.into());
        }
        object.insert("token".to_owned(), self.token.clone().into());
        Value::Object(object)
    }
}

/// The token of a monitor's call for one rule and window: 64 characters, `limno-` and 58 hexadecimal
/// digits of a SHA-256 over all of them. It holds neither names nor times in the clear.
#[must_use]
pub fn idempotency_token(monitor: &str, rule: &str, granularity: &str, window_start: DateTime<Utc>) -> String {
    let start = window_start.to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut hash = Sha256::new();
    for part in ["limno/trigger/1", monitor, rule, granularity, &start] {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("limno-{}", &hex[..LONGEST_TOKEN - "limno-".len()])
}

/// The trigger that a configuration describes. Nothing is reached yet.
///
/// # Errors
/// A `ca_file` that cannot be read, an empty command.
pub fn build(config: &TriggerConfig) -> Result<Arc<dyn Trigger>, DeliveryError> {
    Ok(match config {
        TriggerConfig::DatabricksJob(config) => Arc::new(databricks_job::DatabricksJob::new(config.clone())?),
        TriggerConfig::Command(config) => Arc::new(command::Command::new(config.clone())?),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeZone;

    use super::*;

    pub(crate) fn request() -> TriggerRequest {
        let day = |day| Utc.with_ymd_and_hms(2013, 12, day, 5, 0, 0).unwrap();
        TriggerRequest {
            token: idempotency_token("flights", "psi", "1 week", day(23)),
            monitor: "flights".into(),
            table: "/data/flights".into(),
            rule: "psi".into(),
            column: "dep_delay".into(),
            metric: "population_stability_index".into(),
            value: 0.1 + 0.2,
            granularity: "1 week".into(),
            window: (day(23), day(30)),
            model_id: Some("jan".into()),
        }
    }

    #[test]
    fn a_token_never_changes() {
        let start = Utc.with_ymd_and_hms(2013, 12, 23, 5, 0, 0).unwrap();
        let token = idempotency_token("flights", "psi", "1 week", start);
        // sha256 of, each after its length as 8 little-endian bytes: limno/trigger/1, flights, psi,
        // 1 week, 2013-12-23T05:00:00.000000Z
        assert_eq!(token, "limno-150df1e7a4002445b73c1e96a62e66eb5a2720f0cb30aff03286d0fe49");
        assert_eq!(token.len(), LONGEST_TOKEN);
    }

    #[test]
    fn tokens_of_different_calls_differ() {
        let start = Utc.with_ymd_and_hms(2013, 12, 23, 5, 0, 0).unwrap();
        let tokens = [
            idempotency_token("a", "bc", "1 week", start),
            idempotency_token("ab", "c", "1 week", start),
            idempotency_token("a", "bc", "1 day", start),
            idempotency_token("a", "bc", "1 week", start + chrono::TimeDelta::weeks(1)),
        ];
        for (index, token) in tokens.iter().enumerate() {
            assert!(!tokens[..index].contains(token));
        }
    }

    #[test]
    fn parameters_are_text_with_all_digits() {
        let parameters = request().parameters();
        assert!(parameters.contains(&("value", "0.30000000000000004".to_owned())));
        assert!(parameters.contains(&("window_start", "2013-12-23T05:00:00Z".to_owned())));
        assert_eq!(request().to_json()["value"], 0.1 + 0.2);
    }
}

//! Webhooks: one POST of JSON per message.
//!
//! The outer object has the shape of a Databricks SQL alert's notification (event `alert_state_change`),
//! so that receivers written for those take ours; the object `limno` beside it carries the whole message
//! as [`AlertMessage`] serialises.

use std::fmt;

use async_trait::async_trait;
use reqwest::{
    Client,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use url::Url;

use super::{AlertMessage, Breach, DeliveryError, Notifier, Receipt, RetryPolicy, render};
use crate::{
    config::{Condition, HeaderValue as ConfiguredHeader, WebhookConfig},
    delivery::{http, visible},
};

/// Breaches that one call carries; `breach_count` says how many there were.
const BREACHES_CARRIED: usize = 1_000;

/// Posts alerts to a URL.
pub struct WebhookNotifier {
    config: WebhookConfig,
    client: Client,
    headers: HeaderMap,
    retry: RetryPolicy,
}

impl fmt::Debug for WebhookNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path of a webhook's address is often its secret.
        f.debug_struct("WebhookNotifier")
            .field("name", &self.config.name)
            .field("target", &http::target(&self.config.url))
            .finish_non_exhaustive()
    }
}

impl WebhookNotifier {
    /// Takes over a configuration. Nothing is reached yet.
    ///
    /// # Errors
    /// A header that HTTP does not allow, a `ca_file` that cannot be used.
    pub fn new(config: WebhookConfig) -> Result<Self, DeliveryError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let invalid = |reason: &str| DeliveryError::Invalid {
                target: format!("notifier `{}`", config.name),
                reason: format!("header `{}` {reason}", visible(name, 100)),
            };
            let key: HeaderName = name.parse().map_err(|_| invalid("has no valid name"))?;
            let (text, is_secret) = match value {
                ConfiguredHeader::Plain(text) => (text.as_str(), false),
                ConfiguredHeader::Secret(secret) => (secret.expose(), true),
            };
            let mut value = HeaderValue::from_str(text).map_err(|_| invalid("holds a control character"))?;
            value.set_sensitive(is_secret);
            headers.insert(key, value);
        }
        Ok(Self {
            client: http::client(&config.url, config.ca_file.as_deref(), config.timeout)?,
            headers,
            config,
            retry: RetryPolicy::default(),
        })
    }

    /// Replaces the pauses between attempts.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    fn url(&self) -> &Url {
        &self.config.url
    }

    /// What a server may echo and nobody may read: header secrets, and the address beyond its host, which chat
    /// services use as one.
    fn secrets(&self) -> Vec<&str> {
        let values = self.config.headers.values();
        let headers = values.filter_map(|value| match value {
            ConfiguredHeader::Secret(secret) => Some(secret.expose()),
            ConfiguredHeader::Plain(_) => None,
        });
        let tokens = headers.clone().filter_map(|header| header.split_once(' ').map(|(_, token)| token.trim()));
        let url = self.url();
        // Short segments are words such as `hook`, and striking them out would only garble the message.
        let segments = url.path_segments().into_iter().flatten().filter(|segment| segment.len() >= 8);
        let whole = [Some(url.as_str()), Some(url.path()).filter(|path| path.len() >= 8), url.query()];
        headers
            .clone()
            .chain(tokens)
            .chain(whole.into_iter().flatten())
            .chain(segments)
            .filter(|s| !s.is_empty())
            .collect()
    }

    async fn post(&self, id: &str, body: &Value) -> Result<Receipt, DeliveryError> {
        let response = self
            .client
            .post(self.url().clone())
            .headers(self.headers.clone())
            .header("Idempotency-Key", id)
            .json(body)
            .send()
            .await
            .map_err(|error| http::no_answer(self.url(), self.config.timeout, &error))?;
        if response.status().is_success() {
            Ok(Receipt { detail: response.status().to_string() })
        } else {
            Err(http::refused(self.url(), response, &self.secrets()).await)
        }
    }
}

#[async_trait]
impl Notifier for WebhookNotifier {
    fn name(&self) -> &str {
        &self.config.name
    }

    async fn notify(&self, message: &AlertMessage) -> Result<Receipt, DeliveryError> {
        let body = payload(message)?;
        self.retry.run("webhook", || self.post(&message.id, &body)).await
    }

    /// Asks with `HEAD`, which by HTTP's rules changes nothing. Receivers that take only `POST` answer
    /// 404 or 405: they are reached.
    async fn check(&self) -> Result<String, DeliveryError> {
        let response = self
            .client
            .head(self.url().clone())
            .headers(self.headers.clone())
            .send()
            .await
            .map_err(|error| http::no_answer(self.url(), self.config.timeout, &error))?;
        let status = response.status();
        if status == reqwest::StatusCode::UNAUTHORIZED || status.is_server_error() {
            return Err(http::refused(self.url(), response, &self.secrets()).await);
        }
        Ok(format!("webhook {} answers ({status} to HEAD)", http::target(self.url())))
    }
}

/// The JSON that is posted.
fn payload(message: &AlertMessage) -> Result<Value, DeliveryError> {
    let rendered = render(message)?;
    let breach_count = message.breaches.len();
    let mut carried = message.clone();
    carried.breaches.truncate(BREACHES_CARRIED);
    let evaluations: Vec<Value> = carried.breaches.iter().map(evaluation).collect();
    let mut limno = serde_json::to_value(&carried)
        .map_err(|error| DeliveryError::Invalid { target: "alert".to_owned(), reason: error.to_string() })?;
    limno["version"] = json!(1);
    limno["breach_count"] = json!(breach_count);
    Ok(json!({
        "event": "alert_state_change",
        "alert": {
            "title": rendered.subject,
            "description": rendered.text,
            "alert": {
                "id": message.id,
                "name": message.monitor,
                "created_at": message.created_at.timestamp_millis(),
                "query_text": message.sql_hint,
                "custom_summary": rendered.subject,
                "evaluations": evaluations,
            },
        },
        "limno": limno,
    }))
}

/// One breach as a Databricks alert's evaluation.
fn evaluation(breach: &Breach) -> Value {
    let (operator, limit) = match breach.condition {
        Condition::Above(limit) | Condition::ChangeAbove(limit) => ("GREATER_THAN", limit),
        Condition::Below(limit) => ("LESS_THAN", limit),
        Condition::Outside(low, _) if breach.value < low => ("LESS_THAN", low),
        Condition::Outside(_, high) => ("GREATER_THAN", high),
    };
    json!({
        "id": breach.alert_id,
        "source": {
            "name": breach.metric,
            "display": format!("{} of {}", breach.metric, breach.column),
            "aggregation": "AGGREGATION_UNSPECIFIED",
        },
        "comparison_operator": operator,
        "threshold": { "value": { "double_value": limit } },
        "state": "TRIGGERED",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::message::tests::{breach, message};

    #[test]
    fn the_payload_has_the_shape_of_a_databricks_alert() {
        let mut message = message();
        let mut low = breach();
        low.condition = Condition::Outside(0.5, 1.0);
        message.breaches.push(low);
        let json = payload(&message).unwrap();
        assert_eq!(json["event"], "alert_state_change");
        let alert = &json["alert"]["alert"];
        assert_eq!(alert["id"], "0f1e2d3c");
        assert_eq!(alert["name"], "flights");
        assert_eq!(alert["created_at"], 1_388_386_801_005_i64);
        let evaluations = &alert["evaluations"];
        assert_eq!(evaluations[0]["comparison_operator"], "GREATER_THAN");
        assert_eq!(evaluations[0]["threshold"]["value"]["double_value"], 0.2);
        assert_eq!(evaluations[1]["comparison_operator"], "LESS_THAN");
        assert_eq!(evaluations[1]["threshold"]["value"]["double_value"], 0.5);
        assert_eq!(json["limno"]["breaches"][0]["column"], "dep_delay");
        assert_eq!(json["limno"]["breach_count"], 2);
    }

    #[test]
    fn a_payload_is_bounded() {
        let mut message = message();
        message.breaches = vec![breach(); BREACHES_CARRIED + 1];
        let json = payload(&message).unwrap();
        let carried = json["limno"]["breaches"].as_array().unwrap().len();
        assert_eq!(carried, BREACHES_CARRIED);
        assert_eq!(json["limno"]["breach_count"], BREACHES_CARRIED + 1);
    }
}

//! Starts a run of a Databricks job: `POST /api/2.2/jobs/run-now`.
//!
//! Every attempt carries the same idempotency token, for which the service starts one run at most and
//! answers a repeated call with the run that exists.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use url::Url;

use super::{LONGEST_TOKEN, Trigger, TriggerRequest};
use crate::{
    alert::{DeliveryError, Receipt, RetryPolicy},
    config::DatabricksJobConfig,
    delivery::http,
};

/// A job of a Databricks workspace.
#[derive(Debug)]
pub struct DatabricksJob {
    config: DatabricksJobConfig,
    client: Client,
    retry: RetryPolicy,
}

impl DatabricksJob {
    /// Takes over a configuration. Nothing is reached yet.
    ///
    /// # Errors
    /// A `ca_file` that cannot be used.
    pub fn new(config: DatabricksJobConfig) -> Result<Self, DeliveryError> {
        Ok(Self {
            client: http::client(&config.host, config.ca_file.as_deref(), config.timeout)?,
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

    /// The body of a call: the request's parameters, and the configured ones, which win.
    fn body(&self, request: &TriggerRequest) -> Value {
        let mut parameters: BTreeMap<&str, String> = request.parameters().into_iter().collect();
        for (name, value) in &self.config.parameters {
            parameters.insert(name, value.clone());
        }
        json!({
            "job_id": self.config.job_id,
            "idempotency_token": request.token,
            "job_parameters": parameters,
        })
    }

    fn address(&self, path: &str) -> Url {
        let mut address = self.config.host.clone();
        address.set_path(path);
        address
    }

    /// Sends a request and reads the JSON object of a good answer.
    async fn ask(&self, request: RequestBuilder) -> Result<Value, DeliveryError> {
        let host = &self.config.host;
        let lost = |error: reqwest::Error| http::no_answer(host, self.config.timeout, &error);
        let mut response = request.bearer_auth(self.config.token.expose()).send().await.map_err(lost)?;
        if !response.status().is_success() {
            return Err(http::refused(host, response, &[self.config.token.expose()]).await);
        }
        let status = response.status().to_string();
        let body = http::read(&mut response).await.map_err(lost)?;
        serde_json::from_slice(&body).map_err(|_| self.unexpected(status, &body))
    }

    /// A good status with a body that is not the Jobs API's: a login page, a proxy.
    fn unexpected(&self, status: String, body: &[u8]) -> DeliveryError {
        DeliveryError::Refused {
            target: http::target(&self.config.host),
            status,
            reason: format!("this is not the Jobs API's answer: {}", http::reason(body, &[self.config.token.expose()])),
            retryable: false,
            retry_after: None,
        }
    }
}

#[async_trait]
impl Trigger for DatabricksJob {
    fn name(&self) -> &str {
        &self.config.name
    }

    async fn fire(&self, request: &TriggerRequest) -> Result<Receipt, DeliveryError> {
        if request.token.is_empty() || request.token.len() > LONGEST_TOKEN {
            return Err(DeliveryError::Invalid {
                target: format!("trigger `{}`", self.config.name),
                reason: format!(
                    "an idempotency token has 1 to {LONGEST_TOKEN} characters, not {}",
                    request.token.len()
                ),
            });
        }
        let body = self.body(request);
        let answer = self
            .retry
            .run("run-now", || self.ask(self.client.post(self.address("/api/2.2/jobs/run-now")).json(&body)))
            .await?;
        match answer.get("run_id").and_then(Value::as_i64) {
            Some(run_id) => Ok(Receipt { detail: format!("run_id {run_id}") }),
            None => Err(self.unexpected("200 OK".to_owned(), answer.to_string().as_bytes())),
        }
    }

    /// Reads the job: `GET /api/2.2/jobs/get`. That the token may also run it shows only when it does.
    async fn check(&self) -> Result<String, DeliveryError> {
        let mut address = self.address("/api/2.2/jobs/get");
        address.query_pairs_mut().append_pair("job_id", &self.config.job_id.to_string());
        let job = self.ask(self.client.get(address)).await?;
        let name = job
            .pointer("/settings/name")
            .and_then(Value::as_str)
            .map(|name| format!(" `{}`", http::one_line(name, &[])))
            .unwrap_or_default();
        Ok(format!("job {}{name} found on {}", self.config.job_id, http::target(&self.config.host)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config::Secret, trigger::tests::request};

    fn job() -> DatabricksJob {
        DatabricksJob::new(DatabricksJobConfig {
            name: "retrain".into(),
            line: 1,
            host: "http://127.0.0.1:9/".parse().unwrap(),
            job_id: 42,
            token: Secret::new("dapi123"),
            cooldown: Duration::ZERO,
            ca_file: None,
            timeout: Duration::from_secs(1),
            parameters: [("team".to_owned(), "ml".to_owned()), ("rule".to_owned(), "own".to_owned())].into(),
        })
        .unwrap()
    }

    #[test]
    fn the_body_is_what_run_now_takes() {
        let request = request();
        assert_eq!(
            job().body(&request),
            json!({
                "job_id": 42,
                "idempotency_token": request.token,
                "job_parameters": {
                    "monitor": "flights",
                    "table": "/data/flights",
                    "rule": "own",
                    "column": "dep_delay",
                    "metric": "population_stability_index",
                    "value": "0.30000000000000004",
                    "granularity": "1 week",
                    "window_start": "2013-12-23T05:00:00Z",
                    "window_end": "2013-12-30T05:00:00Z",
                    "model_id": "jan",
                    "team": "ml",
                },
            })
        );
    }

    #[tokio::test]
    async fn a_long_token_is_not_sent() {
        let mut request = request();
        request.token.push('x');
        let error = job().fire(&request).await.unwrap_err();
        assert!(error.to_string().contains("1 to 64 characters, not 65"), "{error}");
    }

    #[test]
    fn the_token_does_not_show() {
        assert!(!format!("{:?}", job()).contains("dapi123"));
    }
}

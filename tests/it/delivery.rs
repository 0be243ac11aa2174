//! Mails, webhooks and job calls through real servers, which `tests/run` starts.
//!
//! Without them each test says aloud that it is skipped.
#![cfg(test)]

use std::{collections::BTreeMap, env, path::PathBuf, sync::Arc, time::Duration};

use limno_engine::{
    alert::{
        AlertMessage, Breach, DeliveryError, Notifier, RetryPolicy, email::EmailNotifier, webhook::WebhookNotifier,
    },
    config::{
        Against, Condition, DatabricksJobConfig, EmailConfig, HeaderValue, NotifierConfig, Secret, Severity, SmtpUrl,
        TriggerConfig, WebhookConfig,
    },
    trigger::{self, Trigger, TriggerRequest, databricks_job::DatabricksJob},
};
use serde_json::Value;

/// The values of variables that `tests/run` sets, or a loud skip.
macro_rules! needs {
    ($($variable:ident),+) => {
        [$(
            match env::var(stringify!($variable)) {
                Ok(value) => value,
                Err(_) => {
                    skip(stringify!($variable));
                    return;
                }
            }
        ),+]
    };
}

/// Past the test harness's capture, so that a skip shows also when everything passes.
fn skip(variable: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED {name}: {variable} is not set; run tests/run\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn breach() -> Breach {
    Breach {
        alert_id: "a1".into(),
        rule: "psi".into(),
        severity: Severity::Critical,
        metric: "population_stability_index".into(),
        condition: Condition::Above(0.2),
        against: Against::Baseline,
        column: "größe </td><script>\r\n.\r\nBcc: all@example.com".into(),
        slice: None,
        model_id: None,
        granularity: "1 week".into(),
        window: ("2013-12-23T05:00:00Z".parse().unwrap(), "2013-12-30T05:00:00Z".parse().unwrap()),
        window_cmp: None,
        value: 0.43,
        error: None,
        breached: 1,
        looked_at: 1,
        count: 10,
        count_before: Some(20),
        before_after: Vec::new(),
        bins: Vec::new(),
    }
}

fn message(id: &str) -> AlertMessage {
    AlertMessage {
        id: id.into(),
        monitor: "flights".into(),
        table: "/data/flights".into(),
        severity: Severity::Critical,
        created_at: "2013-12-30T07:00:00Z".parse().unwrap(),
        timezone: "America/New_York".parse().unwrap(),
        breaches: vec![breach()],
        historical: 0,
        triggered: Vec::new(),
        metric_tables: vec![("flights_drift_metrics".into(), "/out/drift".into())],
        sql_hint: "limno sql \"SELECT 1\"".into(),
    }
}

type MakeUrl = fn(String, u16) -> SmtpUrl;
const PLAIN: MakeUrl = |host, port| SmtpUrl::Plain { host, port };
const STARTTLS: MakeUrl = |host, port| SmtpUrl::StartTls { host, port };
const TLS: MakeUrl = |host, port| SmtpUrl::Tls { host, port };

fn mail_to(address: &str, make: MakeUrl, to: &[&str]) -> EmailConfig {
    let (host, port) = address.rsplit_once(':').unwrap();
    EmailConfig {
        name: "oncall".into(),
        line: 1,
        smtp: make(host.into(), port.parse().unwrap()),
        username: None,
        password: None,
        from: "Limnograph <limno@example.com>".into(),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ca_file: None,
    }
}

fn secured(mut config: EmailConfig, ca: &str, user: &str, password: &str) -> EmailConfig {
    config.ca_file = Some(ca.into());
    config.username = Some(user.into());
    config.password = Some(Secret::new(password));
    config
}

fn mailer(config: EmailConfig) -> EmailNotifier {
    EmailNotifier::new(config).unwrap().with_retry(RetryPolicy::immediate())
}

/// Every mail of a Maildir that has this Message-ID.
fn mails(maildir: &str, id: &str) -> Vec<String> {
    let entries = std::fs::read_dir(PathBuf::from(maildir).join("new")).unwrap();
    let read = |path| String::from_utf8(std::fs::read(path).unwrap()).unwrap();
    let marker = format!("Message-ID: <{id}@limnograph>");
    entries.map(|entry| read(entry.unwrap().path())).filter(|mail| mail.contains(&marker)).collect()
}

async fn arrives(notifier: EmailNotifier, maildir: &str, id: &str, to: &str) {
    let said = notifier.check().await.unwrap();
    assert!(said.contains("answers"), "{said}");
    assert!(mails(maildir, id).is_empty(), "the check sent a mail");
    let receipt = notifier.notify(&message(id)).await.unwrap();
    assert_eq!(receipt.detail, "250 2.0.0 message accepted");
    let arrived = mails(maildir, id);
    let sent = String::from_utf8(notifier.mail(&message(id)).unwrap()).unwrap();
    let envelope = format!("X-MailFrom: limno@example.com\r\nX-RcptTo: {to}\r\n");
    // One more line end is the protocol's: it stands before the dot that ends a mail.
    assert!(arrived == [format!("{envelope}{sent}\r\n")], "{arrived:#?}");
}

#[tokio::test]
async fn mail_arrives_over_plain_smtp() {
    let [server, maildir] = needs!(LIMNO_TEST_SMTP_PLAIN, LIMNO_TEST_MAILDIR_PLAIN);
    let notifier = mailer(mail_to(&server, PLAIN, &["a@example.com", "b@example.com"]));
    arrives(notifier, &maildir, "plain", "a@example.com, b@example.com").await;
}

#[tokio::test]
async fn mail_arrives_over_starttls_with_login() {
    let [server, maildir, ca, user, password] = needs!(
        LIMNO_TEST_SMTP_STARTTLS,
        LIMNO_TEST_MAILDIR_STARTTLS,
        LIMNO_TEST_CA,
        LIMNO_TEST_SMTP_USER,
        LIMNO_TEST_SMTP_PASSWORD
    );
    let config = mail_to(&server, STARTTLS, &["a@example.com"]);
    let notifier = mailer(secured(config, &ca, &user, &password));
    arrives(notifier, &maildir, "starttls", "a@example.com").await;
}

#[tokio::test]
async fn mail_arrives_over_implicit_tls_with_login() {
    let [server, maildir, ca, user, password] = needs!(
        LIMNO_TEST_SMTP_TLS,
        LIMNO_TEST_MAILDIR_TLS,
        LIMNO_TEST_CA,
        LIMNO_TEST_SMTP_USER,
        LIMNO_TEST_SMTP_PASSWORD
    );
    let config = mail_to(&server, TLS, &["a@example.com"]);
    let notifier = mailer(secured(config, &ca, &user, &password));
    arrives(notifier, &maildir, "tls", "a@example.com").await;
}

/// What stands in the way of both a check and a delivery; no mail may have arrived.
async fn fails(config: EmailConfig) -> DeliveryError {
    let notifier = mailer(config);
    let checked = notifier.check().await.unwrap_err();
    let sent = notifier.notify(&message("never")).await.unwrap_err();
    assert_eq!(checked.to_string(), sent.to_string());
    sent
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let [starttls, tls, ca, user] =
        needs!(LIMNO_TEST_SMTP_STARTTLS, LIMNO_TEST_SMTP_TLS, LIMNO_TEST_CA, LIMNO_TEST_SMTP_USER);
    for (server, make) in [(starttls, STARTTLS), (tls, TLS)] {
        let config = mail_to(&server, make, &["a@example.com"]);
        let error = fails(secured(config, &ca, &user, "hunter2")).await;
        assert!(matches!(error, DeliveryError::Login { .. }), "{error:?}");
        assert!(!error.is_retryable());
        let text = error.to_string();
        let start = format!("{server} refuses the login of `{user}`: 535 ");
        assert!(text.starts_with(&start), "{text}");
        assert!(!format!("{error:?}{text}").contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn no_login_where_one_is_needed_is_told() {
    let [server, ca] = needs!(LIMNO_TEST_SMTP_STARTTLS, LIMNO_TEST_CA);
    let mut config = mail_to(&server, STARTTLS, &["a@example.com"]);
    config.ca_file = Some(ca.into());
    let error = mailer(config).notify(&message("never")).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Login { .. }), "{error:?}");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_before_the_password_is_sent() {
    let [starttls, tls, user, password] =
        needs!(LIMNO_TEST_SMTP_STARTTLS, LIMNO_TEST_SMTP_TLS, LIMNO_TEST_SMTP_USER, LIMNO_TEST_SMTP_PASSWORD);
    for (server, make) in [(starttls, STARTTLS), (tls, TLS)] {
        let mut config = mail_to(&server, make, &["a@example.com"]);
        config.username = Some(user.clone());
        config.password = Some(Secret::new(password.clone()));
        let error = fails(config).await;
        assert!(matches!(error, DeliveryError::Certificate { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&server) && text.contains("`ca_file`"), "{text}");
    }
}

#[tokio::test]
async fn the_wrong_kind_of_encryption_is_told() {
    let [plain, starttls, ca] = needs!(LIMNO_TEST_SMTP_PLAIN, LIMNO_TEST_SMTP_STARTTLS, LIMNO_TEST_CA);
    let mut config = mail_to(&plain, STARTTLS, &["a@example.com"]);
    config.ca_file = Some(ca.clone().into());
    let text = fails(config).await.to_string();
    assert_eq!(text, format!("{plain}: STARTTLS is not supported on this server"));
    let mut config = mail_to(&starttls, TLS, &["a@example.com"]);
    config.ca_file = Some(ca.into());
    let text = fails(config).await.to_string();
    assert!(text.contains("is it one for `smtp+starttls://`?"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = closed_port();
    let error = fails(mail_to(&format!("127.0.0.1:{port}"), PLAIN, &["a@example.com"])).await;
    assert!(error.is_retryable());
    let text = error.to_string();
    let start = format!("127.0.0.1:{port} cannot be reached: ");
    assert!(text.starts_with(&start) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let notifier = mailer(mail_to(&address, PLAIN, &["a@example.com"])).with_timeout(Duration::from_millis(50));
    let error = notifier.notify(&message("never")).await.unwrap_err();
    assert!(matches!(error, DeliveryError::TimedOut { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{address} did not answer within 50ms"));
}

#[tokio::test]
async fn a_recipient_who_is_refused_does_not_silence_the_others() {
    let [server, maildir] = needs!(LIMNO_TEST_SMTP_PLAIN, LIMNO_TEST_MAILDIR_PLAIN);
    let to = ["refused@example.com", "b@example.com"];
    let receipt = mailer(mail_to(&server, PLAIN, &to)).notify(&message("partly")).await.unwrap();
    assert!(
        receipt.detail.contains("not accepted: refused@example.com")
            && receipt.detail.contains("answers 550: 5.1.1 mailbox unavailable"),
        "{receipt:?}"
    );
    let arrived = mails(&maildir, "partly");
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].contains("X-RcptTo: b@example.com\r\n"));
    let error = mailer(mail_to(&server, PLAIN, &to[..1])).notify(&message("never")).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_server_that_says_not_now_is_asked_again() {
    let [server, maildir] = needs!(LIMNO_TEST_SMTP_PLAIN, LIMNO_TEST_MAILDIR_PLAIN);
    mailer(mail_to(&server, PLAIN, &["busy@example.com"])).notify(&message("later")).await.unwrap();
    assert_eq!(mails(&maildir, "later").len(), 1);
}

/// A port of this machine on which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The recorded calls whose line contains a text.
fn calls(log: &str, marker: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(log).unwrap();
    lines.lines().filter(|line| line.contains(marker)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn webhook(recorder: &str, path: &str) -> WebhookConfig {
    WebhookConfig {
        name: "chat".into(),
        line: 1,
        url: format!("{recorder}/hook{path}").parse().unwrap(),
        headers: BTreeMap::from([
            ("authorization".into(), HeaderValue::Secret(Secret::new("Bearer hunter2"))),
            ("x-team".into(), HeaderValue::Plain("ml".into())),
        ]),
        ca_file: None,
        timeout: Duration::from_secs(10),
    }
}

fn poster(config: WebhookConfig) -> WebhookNotifier {
    WebhookNotifier::new(config).unwrap().with_retry(RetryPolicy::immediate())
}

#[tokio::test]
async fn a_webhook_gets_the_message() {
    let [recorder, log] = needs!(LIMNO_TEST_RECORDER, LIMNO_TEST_RECORDER_LOG);
    let config = NotifierConfig::Webhook(webhook(&recorder, "/200/message"));
    let notifier: Arc<dyn Notifier> = limno_engine::alert::build(&config).unwrap();
    let said = notifier.check().await.unwrap();
    assert!(said.contains("405"), "{said}");
    let receipt = notifier.notify(&message("hooked")).await.unwrap();
    assert_eq!(receipt.detail, "200 OK");
    let calls = calls(&log, "/hook/200/message");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[0]["method"], "HEAD");
    let call = &calls[1];
    assert_eq!(call["method"], "POST");
    assert_eq!(call["headers"]["authorization"], "Bearer hunter2");
    assert_eq!(call["headers"]["x-team"], "ml");
    assert_eq!(call["headers"]["idempotency-key"], "hooked");
    assert_eq!(call["headers"]["content-type"], "application/json");
    assert!(call["headers"]["user-agent"].as_str().unwrap().starts_with("limno/"));
    assert_eq!(call["body"]["event"], "alert_state_change");
    assert_eq!(call["body"]["limno"]["breaches"][0]["column"], breach().column);
    let kept: AlertMessage = serde_json::from_value(call["body"]["limno"].clone()).unwrap();
    assert_eq!(kept, message("hooked"));
}

#[tokio::test]
async fn a_webhook_that_says_no_is_told_without_its_secrets() {
    let [recorder, log] = needs!(LIMNO_TEST_RECORDER, LIMNO_TEST_RECORDER_LOG);
    let host = recorder.trim_start_matches("http://");
    for (path, is_retryable, attempts, expected) in [
        ("/500/no", true, 3, "answers 500 Internal Server Error: you sent authorization ***"),
        ("/404/no", false, 1, "answers 404 Not Found: you sent authorization ***"),
        ("/401/no", false, 1, "refuses the login: you sent authorization ***"),
        ("/302/no", false, 1, "answers 302 Found: redirects to localhost:"),
    ] {
        let notifier = poster(webhook(&recorder, path));
        let error = notifier.notify(&message("refused")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{host} {expected}")), "{text}");
        assert!(!format!("{error:?}{text}{notifier:?}").contains("hunter2"));
        assert!(!text.contains("/hook"), "{text}");
        assert_eq!(error.is_retryable(), is_retryable, "{text}");
        assert_eq!(calls(&log, &format!("/hook{path}")).len(), attempts);
    }
}

#[tokio::test]
async fn a_webhook_that_keeps_silent_is_given_up() {
    let [recorder] = needs!(LIMNO_TEST_RECORDER);
    let mut config = webhook(&recorder, "/silent");
    config.timeout = Duration::from_millis(100);
    let error = poster(config).notify(&message("silent")).await.unwrap_err();
    assert!(matches!(error, DeliveryError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().ends_with("did not answer within 100ms"), "{error}");
}

#[tokio::test]
async fn https_needs_an_authority_that_is_known() {
    let [recorder, ca] = needs!(LIMNO_TEST_RECORDER_TLS, LIMNO_TEST_CA);
    let mut config = webhook(&recorder, "/tls");
    let error = poster(config.clone()).notify(&message("tls")).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Certificate { .. }), "{error:?}");
    assert!(!error.is_retryable());
    config.ca_file = Some(ca.clone().into());
    let receipt = poster(config).notify(&message("tls")).await.unwrap();
    assert_eq!(receipt.detail, "200 OK");
    let mut config = job(&recorder, 42);
    let error = caller(config.clone()).check().await.unwrap_err();
    assert!(matches!(error, DeliveryError::Certificate { .. }), "{error:?}");
    config.ca_file = Some(ca.into());
    caller(config).check().await.unwrap();
}

fn job(recorder: &str, job_id: i64) -> DatabricksJobConfig {
    DatabricksJobConfig {
        name: "retrain".into(),
        line: 1,
        host: recorder.parse().unwrap(),
        job_id,
        token: Secret::new("dapi-hunter2"),
        cooldown: Duration::ZERO,
        ca_file: None,
        timeout: Duration::from_secs(10),
        parameters: BTreeMap::from([("team".into(), "ml".into())]),
    }
}

fn caller(config: DatabricksJobConfig) -> DatabricksJob {
    DatabricksJob::new(config).unwrap().with_retry(RetryPolicy::immediate())
}

fn request(monitor: &str) -> TriggerRequest {
    let window = breach().window;
    TriggerRequest {
        token: trigger::idempotency_token(monitor, "psi", "1 week", window.0),
        monitor: monitor.into(),
        table: "/data/flights".into(),
        rule: "psi".into(),
        column: "größe".into(),
        metric: "population_stability_index".into(),
        value: 0.43,
        granularity: "1 week".into(),
        window,
        model_id: Some("jan".into()),
    }
}

#[tokio::test]
async fn a_job_is_started_once_for_one_token() {
    let [recorder, log] = needs!(LIMNO_TEST_RECORDER, LIMNO_TEST_RECORDER_LOG);
    let config = TriggerConfig::DatabricksJob(job(&recorder, 42));
    let trigger: Arc<dyn Trigger> = trigger::build(&config).unwrap();
    let said = trigger.check().await.unwrap();
    assert!(said.starts_with("job 42 `retrain` found on 127.0.0.1:"), "{said}");
    let request = request("once");
    assert!(calls(&log, &request.token).is_empty(), "the check started it");
    let first = trigger.fire(&request).await.unwrap();
    let second = trigger.fire(&request).await.unwrap();
    assert!(first.detail.starts_with("run_id "), "{first:?}");
    assert_eq!(first, second);
    let calls = calls(&log, &request.token);
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["method"], "POST");
    assert_eq!(calls[0]["path"], "/api/2.2/jobs/run-now");
    assert_eq!(calls[0]["headers"]["authorization"], "Bearer dapi-hunter2");
    assert_eq!(calls[0]["body"], calls[1]["body"]);
    let body = &calls[0]["body"];
    assert_eq!(body["job_id"], 42);
    assert_eq!(body["idempotency_token"], request.token.as_str());
    let parameters = &body["job_parameters"];
    assert_eq!(parameters["column"], "größe");
    assert_eq!(parameters["value"], "0.43");
    assert_eq!(parameters["window_start"], "2013-12-23T05:00:00Z");
    assert_eq!(parameters["model_id"], "jan");
    assert_eq!(parameters["team"], "ml");
}

#[tokio::test]
async fn a_busy_jobs_api_is_asked_again_with_the_same_token() {
    let [recorder, log] = needs!(LIMNO_TEST_RECORDER, LIMNO_TEST_RECORDER_LOG);
    let request = request("busy");
    caller(job(&recorder, 429)).fire(&request).await.unwrap();
    let statuses: Vec<_> = calls(&log, &request.token).iter().map(|call| call["status"].clone()).collect();
    assert_eq!(statuses, [429, 200]);
}

#[tokio::test]
async fn a_jobs_api_that_says_no_is_told_without_the_token() {
    let [recorder, log] = needs!(LIMNO_TEST_RECORDER, LIMNO_TEST_RECORDER_LOG);
    let host = recorder.trim_start_matches("http://");
    for (job_id, is_retryable, attempts, expected) in [
        (500, true, 3, "answers 500 Internal Server Error: INTERNAL_ERROR: something broke on our side"),
        (403, false, 1, "answers 403 Forbidden: PERMISSION_DENIED: the user of *** does not have Manage Run"),
        (401, false, 1, "refuses the login: UNAUTHENTICATED: the access token is invalid"),
        (400, false, 1, "answers 400 Bad Request: INVALID_PARAMETER_VALUE: job 400 does not exist"),
        (302, false, 1, "answers 302 Found: redirects to localhost:"),
        (200, false, 1, "answers 200 OK: this is not the Jobs API's answer: <html>please log in</html>"),
    ] {
        let request = request(&format!("no-{job_id}"));
        let error = caller(job(&recorder, job_id)).fire(&request).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{host} {expected}")), "{text}");
        assert!(!format!("{error:?}{text}").contains("hunter2"));
        assert_eq!(error.is_retryable(), is_retryable, "{text}");
        assert_eq!(calls(&log, &request.token).len(), attempts, "{text}");
    }
    let error = caller(job(&recorder, 403)).check().await.unwrap_err();
    assert!(error.to_string().contains("PERMISSION_DENIED"), "{error}");
}

#[tokio::test]
async fn a_jobs_api_that_is_not_there_or_silent_is_named() {
    let address = format!("http://127.0.0.1:{}", closed_port());
    let error = caller(job(&address, 1)).fire(&request("gone")).await.unwrap_err();
    assert!(error.is_retryable());
    let start = format!("{} cannot be reached: ", &address["http://".len()..]);
    assert!(error.to_string().starts_with(&start), "{error}");
    let [recorder] = needs!(LIMNO_TEST_RECORDER);
    let mut config = job(&recorder, 504);
    config.timeout = Duration::from_millis(100);
    let error = caller(config).fire(&request("silent")).await.unwrap_err();
    assert!(matches!(error, DeliveryError::TimedOut { .. }), "{error:?}");
}

//! No secret shows: not in what is printed, not in the log at its most talkative level, not in a table, however it is
//! spelled, whether signing in goes well or fails.

use std::fs;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde_json::{Value, json};

use super::{day, starttls};
use crate::support_block::{Block, Service};
use crate::support_run::{Place, Ran, components};
use crate::support_store::tell;

/// Ways to undo what a URL, JSON or HTML does to a text, each twice: what is left holds every secret as it is.
fn readings(text: &str) -> Vec<String> {
    let undo = [
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned(),
        |text: &str| text.replace("\\/", "/").replace("\\\"", "\"").replace("\\u0026", "&").replace("\\u003d", "="),
        |text: &str| text.replace("&amp;", "&").replace("&#x2F;", "/").replace("&#x2f;", "/").replace("&#x3D;", "="),
    ];
    let once: Vec<_> = undo.iter().map(|undo| undo(text)).collect();
    let twice = once.iter().flat_map(|text| undo.iter().map(|undo| undo(text)));
    let mut all: Vec<_> = twice.chain([text.to_owned()]).collect();
    all.extend(once.iter().cloned());
    all
}

/// All that may stand in base64, decoded.
fn decoded_runs(text: &str) -> Vec<String> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    // Shorter ones hold no secret of ours.
    let runs = text.split(|c| !is_digit(c)).filter(|run| run.len() >= 12);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));
    let mut decoded = Vec::new();
    for run in runs {
        let run = run.replace('-', "+").replace('_', "/");
        for start in 0..4 {
            // It may begin anywhere in a group of four, of which the last cannot have one digit alone.
            let digits = &run[start..];
            let digits = &digits[..digits.len() - usize::from(digits.len() % 4 == 1)];
            decoded.push(String::from_utf8_lossy(&engine.decode(digits).unwrap()).into_owned());
        }
    }
    decoded
}

/// All that a text says, in every reading of it.
struct Said(Vec<String>);

impl Said {
    fn by(text: &str) -> Self {
        let mut all = readings(text);
        all.push(decoded_runs(text).join("\n"));
        Self(all)
    }

    fn shows(&self, secret: &str) -> bool {
        self.0.iter().any(|reading| reading.contains(secret))
    }
}

/// Of secrets that hold more than what is secret, that; of the others, all.
fn parts(secret: &str) -> Vec<String> {
    let signature = secret.split('&').find_map(|pair| pair.strip_prefix("sig="));
    let meant = signature.map(|sig| percent_encoding::percent_decode_str(sig).decode_utf8().unwrap().into_owned());
    match (signature, meant) {
        (Some(signature), Some(meant)) => vec![signature.to_owned(), meant],
        _ => vec![secret.to_owned()],
    }
}

#[track_caller]
fn assert_silent(text: &str, secrets: &[String], of: &str) {
    let said = Said::by(text);
    for part in secrets.iter().flat_map(|secret| parts(secret)) {
        if said.shows(&part) {
            let line = text.lines().find(|line| Said::by(line).shows(&part));
            panic!("{of} shows a secret: {line:?}");
        }
    }
    // Tokens that were handed out on the way are no secret of ours, and open as much.
    for start in ["eyJ0eXAiOiJKV1Qi", "SharedKey limno"] {
        assert!(!text.contains(start), "{of} shows a token");
    }
}

/// A run at the most talkative level, which really is one.
#[track_caller]
fn assert_silent_at_trace(ran: &Ran, secrets: &[String]) {
    // The client of the store is heard, and the query engine.
    for heard in [" TRACE hyper_util::client", " DEBUG reqwest::connect", " DEBUG datafusion::"] {
        assert!(ran.err.contains(heard), "no {heard} in\n{}", ran.err);
    }
    assert_silent(&ran.err, secrets, "the log");
    assert_silent(&ran.out, secrets, "what is printed");
}

#[test]
fn this_search_finds_what_it_is_for() {
    let secret = "pa+ss/wo=rd&Q~1";
    let escaped = "pa%2Bss%2Fwo%3Drd%26Q~1";
    for text in [
        secret.to_owned(),
        format!("https://host/?a={escaped}&b"),
        format!("url=https%3A%2F%2Fhost%2F%3Fa%3D{}", escaped.replace('%', "%25")),
        r#"{"key":"pa+ss\/wo\u003drd\u0026Q~1"}"#.to_owned(),
        "<b>pa+ss&#x2F;wo&#x3D;rd&amp;Q~1</b>".to_owned(),
        // `x:` and `me:` before it.
        "Basic eDpwYStzcy93bz1yZCZRfjE=".to_owned(),
        "Basic bWU6cGErc3Mvd289cmQmUX4x".to_owned(),
    ] {
        assert!(Said::by(&text).shows(secret), "{text}");
    }
    assert!(!Said::by("a log without it, https://host/?sig=***&eDpwYStzcy93bz1yZCZRfjA=").shows(secret));
    assert_eq!(parts("sv=1&sig=a%2Fb%3D&se=2"), ["a%2Fb%3D", "a/b="]);
}

/// One whose mail, webhook and job have secrets too.
fn configure(place: &mut Place, [smtp, ca, user, recorder]: [&str; 4]) {
    let monitor = "[monitor.m]\ntable = \"~/t\"\noutput = \"~/out\"\n[monitor.m.snapshot]\n[[monitor.m.rule]]\n\
                   name = \"high\"\nmetric = \"max\"\ncolumns = [\"x\"]\nabove = -1000\nnotify = [\"oncall\", \"chat\"]\n\
                   trigger = [\"retrain\"]\n";
    let others = format!(
        "[notifier.chat]\nkind = \"webhook\"\nurl = {{ env = \"CHAT_URL\" }}\n\
         [trigger.retrain]\nkind = \"databricks_job\"\nhost = \"{recorder}\"\njob_id = 7\n\
         token = {{ env = \"DATABRICKS_TOKEN\" }}\n"
    );
    place.configure(&format!("{monitor}{}{others}", starttls(smtp, ca, user)));
    for (variable, value) in deliveries(recorder) {
        place.set(variable, &value);
    }
}

/// Secrets of those who are told and called; the mail server takes another password than this.
fn deliveries(recorder: &str) -> [(&'static str, String); 3] {
    [
        ("SMTP_PASSWORD", "smtp/pass=word+1~".to_owned()),
        ("CHAT_URL", format!("{recorder}/hook/500/T012-b7a1ffd3cc3d4a4fb0d3a1e9")),
        ("DATABRICKS_TOKEN", "dapi0123456789abcdef0123456789abcdef".to_owned()),
    ]
}

/// All commands that reach the store, with everything going wrong in delivery.
fn told_at_trace() {
    let Some([smtp, ca, user, recorder]) =
        components(["LIMNO_TEST_SMTP_STARTTLS", "LIMNO_TEST_CA", "LIMNO_TEST_SMTP_USER", "LIMNO_TEST_RECORDER"])
    else {
        return;
    };
    let mut place = Place::new();
    place.delta("t", &day(1, 1.0));
    configure(&mut place, [&smtp, &ca, &user, &recorder]);
    let mut secrets: Vec<_> = deliveries(&recorder).into_iter().map(|(_, secret)| secret).collect();
    // Of a webhook the host may be shown.
    secrets[1] = secrets[1].strip_prefix(&recorder).unwrap().to_owned();
    secrets.extend(place.shelf().unwrap().secrets.iter().map(|(_, secret)| secret.clone()));
    place.set("RUST_LOG", "trace");
    for command in [
        &["check", "--write"][..],
        &["run"],
        &["run", "--full-refresh"],
        &["sql", "SELECT * FROM refreshes"],
        &["profile", &place.uri("t")],
        &["vacuum", "--dry-run"],
    ] {
        let ran = place.limno(command);
        // The mail server and the chat refuse; all else goes well.
        let is_delivering = matches!(command[0], "check" | "run");
        assert_eq!(ran.code, i32::from(is_delivering), "{command:?}\n{}", last_lines(&ran.err));
        assert_silent_at_trace(&ran, &secrets);
    }
    place.set("RUST_LOG", "off");
    let tables = ["m_profile_metrics", "m_drift_metrics", "refreshes", "alerts"];
    for table in tables {
        let rows: Vec<Value> = place.sql(&format!("SELECT * FROM {table}"));
        assert_silent(&serde_json::to_string(&rows).unwrap(), &secrets, table);
    }
    // What went wrong is told there: the mail, the chat and the job, twice.
    assert_eq!(place.row("SELECT count(detail) AS n FROM alerts WHERE status = 'failed'")["n"], 6);
    for (path, _) in place.files("out") {
        let bytes = fs::read(&path).unwrap();
        assert_silent(&String::from_utf8_lossy(&bytes), &secrets, &path.display().to_string());
    }
}

/// What is printed beside the log, which comes last.
fn last_lines(text: &str) -> String {
    let from = text.find("\nerror: ").or_else(|| text.find("error: ").filter(|at| *at == 0));
    from.map_or(String::new(), |from| text[from..].to_owned())
}

#[test]
fn account_keys_show_nowhere() {
    in_store(Service::AzureByKey);
}

#[test]
fn signatures_show_nowhere() {
    in_store(Service::AzureBySas);
}

#[test]
fn secrets_and_tokens_of_service_principals_show_nowhere() {
    in_store(Service::AzureByPrincipal);
}

#[test]
fn secret_access_keys_show_nowhere() {
    in_store(Service::S3);
}

fn in_store(service: Service) {
    let Some(block) = Block::new(service) else { return };
    tell(Some(service), told_at_trace);
    // One that is wrong is often another's, or one that only lacks a letter.
    let wrong = match service {
        Service::AzureByKey => "dGhpcyBpcyBub3QgdGhlIGtleSBvZiB0aGF0IGFjY291bnQ=".to_owned(),
        Service::AzureBySas => block.secret.replacen("sig=", "sig=A", 1),
        Service::AzureByPrincipal => "8Q~the/wrong+secret=of it".to_owned(),
        Service::S3 => "wrong/secret+of/the+key/0123456789abcdef".to_owned(),
    };
    let block = block.with_secret(&wrong);
    let mut place = Place::new();
    place.delta("t", &day(1, 1.0));
    let there = format!("{}secrets-{}/t", block.url, std::process::id());
    let (variable, secret) = block.variable();
    place.set(&variable, &secret);
    place.set("RUST_LOG", "trace");
    for (table, output) in [(there.as_str(), "~/out"), ("~/t", there.as_str())] {
        let monitor = format!("[monitor.m]\ntable = \"{table}\"\noutput = \"{output}\"\n[monitor.m.snapshot]\n");
        place.configure(&(monitor + &block.to_string()));
        for command in [&["check", "--write"][..], &["run"], &["sql", "SELECT * FROM m_profile_metrics"]] {
            let ran = place.limno(command);
            let reaches_no_store = command[0] == "sql" && output.starts_with("~/");
            assert!(ran.code != 0 || reaches_no_store, "{command:?} {}", last_lines(&ran.err));
            if !reaches_no_store {
                assert_silent_at_trace(&ran, std::slice::from_ref(&secret));
                assert!(ran.err.contains("is not accepted"), "{}", last_lines(&ran.err));
            }
        }
    }
    for (path, _) in place.files("out") {
        let bytes = fs::read(&path).unwrap();
        assert_silent(&String::from_utf8_lossy(&bytes), std::slice::from_ref(&secret), &path.display().to_string());
    }
}

#[test]
fn the_process_of_an_aws_profile_is_asked_once_and_what_it_says_shows_nowhere() {
    let Some(block) = Block::new(Service::S3) else { return };
    let mut place = Place::new();
    place.delta("t", &day(1, 1.0));
    let key = json!({ "Version": 1, "AccessKeyId": block.text_of("access_key_id"), "SecretAccessKey": block.secret });
    let (process, asked) = (place.path("sign-in.sh"), place.path("asked"));
    fs::write(&process, format!("echo asked >> {}\necho '{key}'\n", asked.display())).unwrap();
    let profile = format!("[profile lake]\nregion = us-east-1\ncredential_process = sh {}\n", process.display());
    fs::write(place.path("aws.config"), profile).unwrap();
    place.set("AWS_CONFIG_FILE", &place.at("aws.config"));
    place.set("RUST_LOG", "trace");
    let there = format!("{}secrets-{}/of-profile", block.url, std::process::id());
    let secret = block.secret.clone();
    let block = ["region", "access_key_id", "secret_access_key"].into_iter().fold(block, Block::without);
    let monitor = format!("[monitor.m]\ntable = \"~/t\"\noutput = \"{there}\"\n[monitor.m.snapshot]\n");
    place.configure(&(monitor + &block.with("profile", "lake").to_string()));
    let ran = place.limno(&["run"]);
    assert_eq!(ran.code, 0, "{}", last_lines(&ran.err));
    assert_silent_at_trace(&ran, &[secret]);
    assert_eq!(fs::read_to_string(asked).unwrap(), "asked\n", "not for each request");
}

#[test]
fn what_the_environment_signs_in_with_shows_nowhere() {
    let Some(block) = Block::new(Service::AzureByKey) else { return };
    let [account] = components(["LIMNO_TEST_AZURE_ACCOUNT"]).unwrap();
    let mut place = Place::new();
    place.delta("t", &day(1, 1.0));
    let there = format!("{}secrets-{}/of-environment", block.url, std::process::id());
    place.configure(&format!("[monitor.m]\ntable = \"~/t\"\noutput = \"{there}\"\n[monitor.m.snapshot]\n"));
    place.set("AZURE_STORAGE_ACCOUNT_NAME", &account);
    place.set("AZURE_STORAGE_ENDPOINT", block.text_of("endpoint"));
    place.set("AZURE_STORAGE_ACCOUNT_KEY", &block.secret);
    place.set("RUST_LOG", "trace");
    for command in [&["check"][..], &["run"], &["sql", "SELECT * FROM refreshes"]] {
        let ran = place.limno(command);
        assert_eq!(ran.code, 0, "{}", last_lines(&ran.err));
        assert_silent_at_trace(&ran, std::slice::from_ref(&block.secret));
    }
    let wrong = "dGhpcyBpcyBub3QgdGhlIGtleSBvZiB0aGF0IGFjY291bnQ=".to_owned();
    place.set("AZURE_STORAGE_ACCOUNT_KEY", &wrong);
    let ran = place.limno(&["run"]);
    assert_silent_at_trace(&ran, std::slice::from_ref(&wrong));
    assert!(ran.err.contains("the account key of the environment (AZURE_STORAGE_ACCOUNT_KEY) is not accepted"));
}

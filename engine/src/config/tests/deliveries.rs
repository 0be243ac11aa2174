//! Notifiers, triggers, and the secrets that they need.

use super::*;

#[test]
fn secrets_are_references_and_their_values_never_show() {
    let token = |token: &str| {
        beside(&format!("[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b\"\njob_id = 1\ntoken = {token}"))
    };
    for (text, expected) in [
        (
            "\"dapi-literal\"",
            "token: a secret is never written in the configuration itself\n  hint: write token = { env = \"T_TOKEN\" } or { file = \"…\" }",
        ),
        (
            "7",
            "token: expected a reference to a secret, found an integer\n  hint: write token = { env = \"T_TOKEN\" } or { file = \"…\" }",
        ),
        ("{}", "token: says neither `env` nor `file`\n  hint: write token = { env = \"T_TOKEN\" } or { file = \"…\" }"),
        ("{ env = \"A\", file = \"b\" }", "token: both `env` and `file` are given, expected one of them"),
        (
            "{ env = \"NOPE\" }",
            "token.env: environment variable `NOPE` is not set\n  hint: set NOPE where limno runs, or use { file = \"…\" }",
        ),
        ("{ env = \"EMPTY\" }", "token.env: environment variable `EMPTY` is empty"),
        (
            "{ env = \"dapi-literal\" }",
            "token.env: is not the name of an environment variable\n  hint: name the variable that holds the secret: letters, digits and underscores",
        ),
    ] {
        let text = token(text);
        assert_problems(&text, &[&format!("limno.toml:12: trigger.t.{expected}")]);
        assert!(!problems(&text).contains("dapi"));
    }
    let shown = problems(&token("{ file = \"no/such/file\" }"));
    assert!(
        shown.starts_with("limno.toml:12: trigger.t.token.file: cannot read secret file `no/such/file`: "),
        "{shown}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "from-a-file\r\n").expect("a file");
    let config = parse(&token(&format!("{{ file = {path:?} }}"))).expect("right");
    let TriggerConfig::DatabricksJob(job) = &config.triggers["t"] else {
        panic!("a job");
    };
    assert_eq!(job.token.expose(), "from-a-file");
    assert_eq!(format!("{:?}", job.token), "***");

    std::fs::write(&path, "two\nlines").expect("a file");
    let shown = problems(&token(&format!("{{ file = {path:?} }}")));
    assert!(shown.contains("it is no token") && !shown.contains("lines"), "{shown}");
}

#[test]
fn mail_notifiers_are_checked() {
    for (lines, expected) in [
        (
            "smtp = \"http://x\"",
            "12: notifier.n.smtp: is not the address of a mail server\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"mail.example.com\"",
            "12: notifier.n.smtp: is not the address of a mail server\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"smtps://limno:pw@mail\"",
            "12: notifier.n.smtp: an address holds no user name or password\n  hint: use username = \"…\" and password = { env = \"…\" }",
        ),
        (
            "smtp = \"smtps://mail/x\"",
            "12: notifier.n.smtp: nothing may follow the host and port of a mail server\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"file://host/x\"",
            "12: notifier.n.smtp: a file: address names no host\n  hint: write smtps://HOST:465, smtp+starttls://HOST:587, smtp://HOST:25 or file:FOLDER",
        ),
        (
            "smtp = \"smtps://mail\"\nusername = \"u\"",
            "13: notifier.n.username: a user name without a password\n  hint: add password = { env = \"…\" }, or leave both out",
        ),
        (
            "smtp = \"smtps://mail\"\npassword = { env = \"SMTP_PASSWORD\" }",
            "13: notifier.n.password: a password without a user name\n  hint: add username = \"…\", or leave both out",
        ),
        (
            "smtp = \"smtp://mail\"\nusername = \"u\"\npassword = { env = \"SMTP_PASSWORD\" }",
            "12: notifier.n.smtp: a login over smtp:// would cross the network unencrypted\n  hint: use smtp+starttls:// or smtps://",
        ),
        (
            "smtp = \"file:x\"\nusername = \"u\"\npassword = { env = \"SMTP_PASSWORD\" }",
            "13: notifier.n.username: a folder takes no login",
        ),
        (
            "smtp = \"smtps://mail\"\nca_file = \"no/such.pem\"",
            "13: notifier.n.ca_file: there is no file `no/such.pem`\n  hint: name a PEM file with the certificates to trust",
        ),
    ] {
        assert_problems(&email_with(lines), &[&format!("limno.toml:{expected}")]);
    }
    for bad in
        ["nobody", "a@b@c", "a@example.com, b@example.com", "a@example.com\\nBcc: x@example.com", "A <a@example.com"]
    {
        let text =
            email_with("smtp = \"file:x\"").replace("\"b@example.com\"", &format!("\"ok@example.com\",\n  \"{bad}\""));
        let shown = problems(&text);
        assert!(shown.starts_with("limno.toml:12: notifier.n.to[1]: "), "{shown}");
        assert!(shown.contains("is not a mail address"), "{shown}");
    }
    assert_problems(
        &email_with("smtp = \"file:x\"").replace("[\"b@example.com\"]", "[]"),
        &["limno.toml:11: notifier.n.to: is empty, expected at least one address"],
    );
}

#[test]
fn smtp_addresses_have_default_ports_and_a_login_is_fine_on_loopback() {
    let smtp = |text: &str| {
        let config = parse(&email_with(text)).unwrap_or_else(|problems| panic!("{problems}"));
        match &config.notifiers["n"] {
            NotifierConfig::Email(email) => email.smtp.clone(),
            NotifierConfig::Webhook(_) => panic!("an e-mail"),
        }
    };
    let host = |host: &str| host.to_owned();
    let login = "username = \"u\"\npassword = { env = \"SMTP_PASSWORD\" }";
    for (text, expected) in [
        ("smtp = \"smtps://mail\"".to_owned(), SmtpUrl::Tls { host: host("mail"), port: 465 }),
        ("smtp = \"smtp+starttls://mail\"".to_owned(), SmtpUrl::StartTls { host: host("mail"), port: 587 }),
        ("smtp = \"smtp://mail:2525\"".to_owned(), SmtpUrl::Plain { host: host("mail"), port: 2525 }),
        (format!("smtp = \"smtp://127.0.0.1\"\n{login}"), SmtpUrl::Plain { host: host("127.0.0.1"), port: 25 }),
        (format!("smtp = \"smtp://[::1]:25\"\n{login}"), SmtpUrl::Plain { host: host("::1"), port: 25 }),
        (format!("smtp = \"smtp://localhost\"\n{login}"), SmtpUrl::Plain { host: host("localhost"), port: 25 }),
        ("smtp = \"file:///var/mail\"".to_owned(), SmtpUrl::File { dir: "/var/mail".into() }),
    ] {
        assert_eq!(smtp(&text), expected);
    }
}

#[test]
fn webhooks_and_triggers_are_checked() {
    for (lines, expected) in [
        (
            "[notifier.n]\nkind = \"webhok\"",
            "9: notifier.n.kind: `webhok` is none of email, webhook\n  hint: did you mean `webhook`?",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"http://example.com/k3y\"",
            "10: notifier.n.url: http:// is allowed to this machine only, since it is readable on the way\n  hint: write https://…",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"ftp://example.com/k3y\"",
            "10: notifier.n.url: is not a web address\n  hint: write https://HOST/PATH",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://u:k3y@example.com\"",
            "10: notifier.n.url: an address holds no user name or password\n  hint: use a header or token = { env = \"…\" }",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\ntimeout = \"0s\"",
            "11: notifier.n.timeout: a timeout of zero would let nothing finish",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { \"a b\" = \"x\" }",
            "11: notifier.n.headers.\"a b\": `a b` cannot be the name of a header",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { X = \"a\\nb\" }",
            "11: notifier.n.headers.X: cannot be sent as a header: only visible ASCII characters and spaces",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { Host = \"x\" }",
            "11: notifier.n.headers.Host: host is set by limno itself",
        ),
        (
            "[notifier.n]\nkind = \"webhook\"\nurl = \"https://a.b\"\nheaders = { Authorization = \"Bearer k3y\" }",
            "11: notifier.n.headers.Authorization: a secret is never written in the configuration itself\n  hint: write Authorization = { env = \"N_AUTHORIZATION\" } or { file = \"…\" }",
        ),
        (
            "[trigger.t]\nkind = \"command\"\ncommand = \"rm -rf x\"",
            "10: trigger.t.command: expected an array of strings, found a string\n  hint: no shell reads it: write [\"program\", \"argument\"]",
        ),
        ("[trigger.t]\nkind = \"command\"\ncommand = []", "10: trigger.t.command: names no program"),
        ("[trigger.t]\nkind = \"command\"\ncommand = [\"\"]", "10: trigger.t.command[0]: is empty"),
        (
            "[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b/x\"\njob_id = 1\ntoken = { env = \"DATABRICKS_TOKEN\" }",
            "10: trigger.t.host: nothing may follow the host of a workspace\n  hint: write https://a.b",
        ),
        (
            "[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b\"\njob_id = 0\ntoken = { env = \"DATABRICKS_TOKEN\" }",
            "11: trigger.t.job_id: expected an integer from 1 to 9223372036854775807, found 0",
        ),
        (
            "[trigger.t]\nkind = \"databricks_job\"\nhost = \"https://a.b\"\njob_id = 1\ntoken = { env = \"DATABRICKS_TOKEN\" }\nparameters = { a = 1 }",
            "13: trigger.t.parameters.a: expected a string, found an integer",
        ),
    ] {
        let text = beside(lines);
        assert_problems(&text, &[&format!("limno.toml:{expected}")]);
        assert!(!problems(&text).contains("k3y"));
    }
    for url in ["http://localhost:1/x", "http://127.0.0.1:1", "http://[::1]:1"] {
        let text = beside(&format!("[notifier.n]\nkind = \"webhook\"\nurl = \"{url}\""));
        assert!(parse(&text).is_ok(), "{url}");
    }
}

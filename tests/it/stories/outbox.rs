//! What is to be sent stays recorded until it is sent, and is sent once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Timed, daily, day, found, job, mail_folder, numbers_of, shifted, starttls};
use crate::support_run::{Place, arrived, called, components};

#[test]
fn a_mail_that_could_not_be_sent_is_sent_by_the_next_run() {
    let variables = [
        "LIMNO_TEST_SMTP_STARTTLS",
        "LIMNO_TEST_MAILDIR_STARTTLS",
        "LIMNO_TEST_CA",
        "LIMNO_TEST_SMTP_USER",
        "LIMNO_TEST_SMTP_PASSWORD",
    ];
    let Some([server, maildir, ca, user, password]) = components(variables) else { return };
    let name = "kept_mail";
    let mut place = Place::new();
    place.set("SMTP_PASSWORD", &password);
    let monitor = shifted(&place, name);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    place.configure(&format!("{monitor}{}", starttls(&nobody, &ca, &user)));
    let ran =
        place.limno(&["run"]).fails(1, &["notifier oncall", &nobody, "cannot be reached", "the next run tries again"]);
    assert!(!ran.err.contains(&password) && !ran.out.contains(&password));
    assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
    let [report] = ran.reports().try_into().unwrap();
    assert_eq!((&report["refreshed"], &report["new_breaches"]), (&json!(true), &json!(1)));
    assert_eq!(report["deliveries"][0]["delivered"], false);
    let states = || {
        let rows = place.sql("SELECT status FROM alerts ORDER BY recorded_at, kind, status");
        rows.into_iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(states(), ["failed", "new", "pending"].map(str::to_owned).into());
    let id = place.row("SELECT DISTINCT alert_id FROM alerts WHERE kind = 'notification'");
    // It still cannot be sent; nothing is found again.
    let ran = place.limno(&["run"]).fails(1, &["notifier oncall"]);
    assert_eq!(ran.reports()[0]["new_breaches"], 0);

    place.configure(&format!("{monitor}{}", starttls(&server, &ca, &user)));
    let report = place.refresh();
    assert_eq!((&report["refreshed"], &report["new_breaches"]), (&json!(false), &json!(0)));
    assert_eq!(report["deliveries"].as_array().unwrap().len(), 1);
    let [mail] = arrived(&maildir, name).try_into().unwrap();
    assert_eq!(mail.id(), id["alert_id"]);
    assert!(mail.text.contains("1. x: population_stability_index"), "{}", mail.text);
    assert!(states().contains("delivered"));
    assert_eq!(place.refresh()["deliveries"], json!([]));
    assert_eq!(arrived(&maildir, name).len(), 1);
}

#[test]
fn a_job_that_could_not_be_started_is_started_later_with_the_same_token() {
    let Some([recorder, log]) = components(["LIMNO_TEST_RECORDER", "LIMNO_TEST_RECORDER_LOG"]) else { return };
    for (bad, attempts, said) in [(500, 3, "answers 500"), (403, 1, "answers 403")] {
        let name = format!("kept_job_{bad}");
        let mut place = Place::new();
        place.set("DATABRICKS_TOKEN", "dapi-hunter2");
        let monitor = shifted(&place, &name) + "trigger = [\"retrain\"]\n" + mail_folder();
        place.configure(&format!("{monitor}{}", job(&recorder, bad)));
        let ran = place.limno(&["run"]).fails(1, &["trigger retrain", said, "the next run tries again"]);
        assert!(!ran.err.contains("hunter2") && !ran.out.contains("hunter2"));
        assert_eq!(place.mails("mail").len(), 1, "the mail does not wait for the job");
        let mut calls = called(&log, &name);
        assert_eq!(calls.len(), attempts);
        let states = place.sql("SELECT status FROM alerts WHERE kind = 'trigger' ORDER BY status");
        assert_eq!(states, [json!({ "status": "failed" }), json!({ "status": "pending" })]);

        place.configure(&format!("{monitor}{}", job(&recorder, 42)));
        let report = place.refresh();
        assert_eq!((&report["refreshed"], &report["new_breaches"]), (&json!(false), &json!(0)));
        assert_eq!(report["deliveries"].as_array().unwrap().len(), 1);
        calls = called(&log, &name);
        assert_eq!(calls.len(), attempts + 1);
        let last = &calls[attempts];
        assert_eq!((&last["status"], &last["body"]["job_id"]), (&json!(200), &json!(42)));
        let tokens: BTreeSet<_> = calls.iter().map(|call| call["body"]["idempotency_token"].as_str()).collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(place.refresh()["deliveries"], json!([]));
        assert_eq!((called(&log, &name).len(), place.mails("mail").len()), (attempts + 1, 1));
    }
}

#[test]
pub(super) fn a_trigger_that_cools_down_is_not_called() {
    let place = Place::new();
    daily(&place);
    let config = std::fs::read_to_string(place.path("limno.toml")).unwrap();
    let config = config.replace("notify = [", "trigger = [\"retrain\"]\nnotify = [");
    place.configure(&format!(
        "{config}
[trigger.retrain]
kind     = \"command\"
command  = [\"tee\", \"-a\", \"~/calls.jsonl\"]
cooldown = \"2 days\"
"
    ));
    let calls = || -> Vec<Value> {
        let text = std::fs::read_to_string(place.path("calls.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    place.delta("t", &day(4, 1000.0));
    let timed = Timed::new(&place, "2024-01-05T12:00:00Z");
    assert_eq!(found(&timed.run_at("2024-01-05T12:00:00Z")), (1, 0, 2));
    assert_eq!(calls().len(), 1);
    place.delta("t", &day(5, 1000.0));
    assert_eq!(found(&timed.run_at("2024-01-06T12:00:00Z")), (1, 0, 1), "the mail alone");
    assert_eq!(calls().len(), 1);
    let suppressed = place.row("SELECT status, detail FROM alerts WHERE kind = 'trigger' AND status = 'suppressed'");
    assert_eq!(suppressed["detail"], "the trigger is cooling down");
    // What was suppressed stays so; the next window may call again.
    assert_eq!(found(&timed.run_at("2024-01-06T23:00:00Z")), (0, 0, 0));
    place.delta("t", &day(6, 1000.0));
    assert_eq!(found(&timed.run_at("2024-01-07T12:00:00Z")), (1, 0, 2));
    let calls = calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["window_start"], "2024-01-04T00:00:00Z");
    assert_eq!(calls[1]["window_start"], "2024-01-06T00:00:00Z");
    assert_ne!(calls[0]["token"], calls[1]["token"]);
    let mut triggers: Vec<_> = place
        .mails("mail")
        .iter()
        .map(|mail| (mail.header("Date").to_owned(), mail.text.contains("triggers   none called")))
        .collect();
    triggers.sort();
    let silent: Vec<_> = triggers.into_iter().map(|(_, is_silent)| is_silent).collect();
    // By date: Friday, Saturday, Sunday.
    assert_eq!(silent, [false, true, false]);
}

#[test]
pub(super) fn a_refresh_that_was_cut_off_is_done_again_and_tells_nothing_twice() {
    let place = Place::new();
    let monitor = shifted(&place, "cut") + mail_folder();
    place.configure(&monitor);
    assert_eq!(place.refresh()["new_breaches"], 1);
    let numbers = ["profile", "drift"].map(|kind| numbers_of(&place, &format!("cut_{kind}_metrics")));
    // Metric tables that are gone are made again, from the ledger alone.
    for table in ["cut_drift_metrics", "cut_profile_metrics"] {
        std::fs::remove_dir_all(place.path("out").join(table)).unwrap();
        let report = place.refresh();
        assert_eq!((&report["refreshed"], &report["new_breaches"]), (&json!(true), &json!(0)));
        assert_eq!((&report["files_read"], &report["deliveries"]), (&json!(0), &json!([])));
    }
    // Without its ledger a monitor begins from its tables; the metric tables are told by what they were made from.
    std::fs::remove_dir_all(place.path("out/cut_ledger")).unwrap();
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["new_breaches"]), (&json!("full"), &json!(0)));
    let again = ["profile", "drift"].map(|kind| numbers_of(&place, &format!("cut_{kind}_metrics")));
    assert_eq!(numbers, again);
    assert_eq!(place.refresh()["refreshed"], false);
    assert_eq!(place.mails("mail").len(), 1);
}

#[test]
pub(super) fn two_monitors_share_an_output_folder() {
    let place = Place::new();
    let monitors = shifted(&place, "one") + &shifted(&place, "other");
    place.configure(&(monitors + mail_folder()));
    let reports = place.limno(&["run", "--fail-on-alert"]);
    assert_eq!((reports.code, reports.err.as_str()), (3, ""));
    let names: Vec<_> = reports.reports().iter().map(|report| report["monitor"].clone()).collect();
    assert_eq!(names, ["one", "other"]);
    let mails = place.mails("mail");
    let about: BTreeSet<_> = mails.iter().map(|mail| mail.header("X-Limno-Monitor")).collect();
    assert_eq!((mails.len(), about), (2, BTreeSet::from(["one", "other"])));
    for table in ["alerts", "refreshes"] {
        let monitors = place.sql(&format!("SELECT DISTINCT monitor FROM {table} ORDER BY 1"));
        assert_eq!(monitors, [json!({ "monitor": "one" }), json!({ "monitor": "other" })]);
    }
    // One of them alone; it finds nothing new, and the other is left alone.
    let reports = place.limno(&["run", "other", "--fail-on-alert"]).fine().reports();
    assert_eq!((reports.len(), &reports[0]["refreshed"]), (1, &json!(false)));
    let reports = place.limno(&["run", "other", "--full-refresh"]).fine().reports();
    assert_eq!((&reports[0]["refreshed"], &reports[0]["new_breaches"]), (&json!(true), &json!(0)));
    assert_eq!(place.mails("mail").len(), 2);
    place.limno(&["run", "ohter"]).fails(2, &["there is no monitor `ohter`", "did you mean `other`?"]);
}

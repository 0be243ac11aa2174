//! `limno demo`: what a newcomer sees, and what a second call leaves alone.

use std::path::Path;

use serde_json::Value;

use crate::support_run::{Mail, Place};

/// The rows of the table below a line that starts with this title.
fn rows<'a>(out: &'a str, title: &str) -> Vec<Vec<&'a str>> {
    let (_, below) = out.split_once(title).unwrap_or_else(|| panic!("no {title:?} in:\n{out}"));
    let lines = below.lines().skip(1).take_while(|line| !line.is_empty());
    let cells = lines.filter(|line| line.starts_with('│')).map(|line| {
        let inside = line.trim_matches('│');
        inside.split(['│', '┆']).map(str::trim).collect()
    });
    // Without the header.
    cells.skip(1).collect()
}

/// What follows a label.
fn after<'a>(out: &'a str, label: &str) -> &'a str {
    let line = out.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label:?} in:\n{out}")).trim()
}

#[test]
fn the_demo_shows_the_whole_loop_once() {
    let place = Place::new();
    let first = place.limno(&["demo", "shown"]).fine();
    let out = &first.out;
    assert!(out.starts_with("flights: 336776 rows in 53 windows"), "{out}");
    assert!(out.contains("older windows recorded"), "{out}");

    let moved = rows(out, "The ten columns that moved most");
    assert_eq!(moved.len(), 10, "{out}");
    let psi: Vec<f64> = moved.iter().map(|row| row[2].parse().unwrap()).collect();
    assert!(psi.is_sorted_by(|a, b| a >= b) && psi[0] > 0.2, "{psi:?}");
    assert!(moved.iter().all(|row| row[1].starts_with("2013-")), "{moved:?}");
    assert!(moved.iter().any(|row| row[0] == "predicted_delay"), "{moved:?}");
    assert!(!rows(out, "Alerts of the newest complete week").is_empty(), "{out}");

    // The mail is where the demo says.
    let delivered = rows(out, "Mail and retraining call");
    let [mail_row] = delivered.iter().filter(|row| row[1] == "mail").collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(mail_row[0], "notification");
    assert_eq!(delivered.iter().filter(|row| row[0] == "trigger").count(), 1, "{delivered:?}");
    let folder = after(out, "Mail:");
    assert_eq!(Path::new(folder), place.path("shown/mail").canonicalize().unwrap());
    let [mail] = place.mails("shown/mail").try_into().unwrap();
    check_mail(&mail);

    // So is the call: one line, one object.
    let calls = after(out, "Job calls:");
    let text = std::fs::read_to_string(calls).unwrap();
    let [call] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    let call: Value = serde_json::from_str(call).unwrap();
    assert_eq!((&call["monitor"], &call["granularity"]), (&"flights".into(), &"1 week".into()));
    assert_eq!(call["window_start"], "2013-12-30T00:00:00Z");
    assert!(call["token"].as_str().unwrap().len() <= 64);

    let tables = Path::new(after(out, "Tables (Delta):"));
    for table in ["flights_profile_metrics", "flights_drift_metrics", "alerts", "refreshes"] {
        assert!(tables.join(table).join("_delta_log").is_dir(), "{table}");
    }
    // One commit for each month of model output, in UTC: the last hours of New York's year are in the thirteenth.
    assert_eq!(place.path("shown/flights/_delta_log").read_dir().unwrap().count(), 13);
    let more = out.lines().map(str::trim).find(|line| line.starts_with("limno -c ")).unwrap();
    let more = place.shell(more).fine();
    assert!(more.out.contains("predicted_delay") && more.out.contains("20 rows"), "{}", more.out);

    second_call(&place);
}

fn check_mail(mail: &Mail) {
    assert!(mail.header("Subject").starts_with("[limno] critical: flights — "), "{}", mail.header("Subject"));
    for part in ["2013-12-30", "above 0.2", "rows", "contribution", "flights_drift_metrics", "limno -c "] {
        assert!(mail.text.contains(part), "{part} is not in:\n{}", mail.text);
    }
    assert!(mail.html.contains("<table"));
}

fn second_call(place: &Place) {
    let data = |name: &str| place.files(&format!("shown/{name}"));
    let before = ["flights", "monitoring", "mail", "retraining-calls.jsonl", "limno.toml"].map(data);
    let calls = std::fs::read_to_string(place.path("shown/retraining-calls.jsonl")).unwrap();
    let second = place.limno(&["demo", "shown"]).fine();
    assert!(second.out.starts_with("flights: nothing new"), "{}", second.out);
    assert_eq!(rows(&second.out, "The ten columns that moved most").len(), 10);
    let after = ["flights", "monitoring", "mail", "retraining-calls.jsonl", "limno.toml"].map(data);
    assert_eq!(before, after, "the second call wrote something");
    assert_eq!(std::fs::read_to_string(place.path("shown/retraining-calls.jsonl")).unwrap(), calls);
}

#[test]
fn the_demo_takes_nobodys_folder() {
    let place = Place::new();
    std::fs::create_dir(place.path("mine")).unwrap();
    std::fs::write(place.path("mine/notes.txt"), "mine").unwrap();
    place.limno(&["demo", "mine"]).fails(2, &["/mine", "is not empty"]);
    std::fs::write(place.path("mine/limno.toml"), "[monitor.mine]\n").unwrap();
    place.limno(&["demo", "mine"]).fails(2, &["/mine/limno.toml", "is not a demo's"]);
    assert_eq!(place.files("mine").len(), 2);
    // Something in the way.
    std::fs::write(place.path("file"), "").unwrap();
    let ran = place.limno(&["demo", "file"]);
    assert!(ran.code != 0 && ran.err.contains("file"), "{}", ran.err);
}

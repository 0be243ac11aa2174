//! The flights of 2013, from an inference table to a mail with the numbers and a retraining call.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use limno_engine::trigger::idempotency_token;
use limno_metrics::schema::{QualityColumns, Shape};
use serde_json::{Value, json};

use super::schemas::check_schemas;
use super::{flights_monitor, job, numbers_of, starttls, write_flights};
use crate::support_run::{Mail, Place, arrived, called, components, flights_between, instant};

const WEEK: (&str, &str) = ("2013-12-30T00:00:00Z", "2014-01-06T00:00:00Z");

fn psi_rule(name: &str) -> String {
    format!(
        r#"
[[monitor.{name}.rule]]
name      = "psi"
metric    = "population_stability_index"
above     = 0.2
min_count = 500
severity  = "critical"
notify    = ["oncall"]
trigger   = ["retrain"]
"#
    )
}

/// The values of a numeric column that are there, sorted.
fn sorted(rows: &RecordBatch, column: &str) -> Vec<f64> {
    let values = cast(rows.column_by_name(column).unwrap(), &DataType::Float64).unwrap();
    let mut values: Vec<f64> = values.as_primitive::<Float64Type>().iter().flatten().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The largest distance of the two empirical distribution functions, the slow way.
#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let share = |values: &[f64], at: f64| values.partition_point(|&value| value <= at) as f64 / values.len() as f64;
    a.iter().chain(b).map(|&at| (share(a, at) - share(b, at)).abs()).fold(0.0, f64::max)
}

fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_year_of_flights_becomes_one_mail_and_one_job_run() {
    let variables = [
        "LIMNO_TEST_SMTP_STARTTLS",
        "LIMNO_TEST_MAILDIR_STARTTLS",
        "LIMNO_TEST_CA",
        "LIMNO_TEST_SMTP_USER",
        "LIMNO_TEST_SMTP_PASSWORD",
        "LIMNO_TEST_RECORDER",
        "LIMNO_TEST_RECORDER_LOG",
    ];
    let Some([server, maildir, ca, user, password, recorder, log]) = components(variables) else { return };
    let name = "flights_year";
    let mut place = Place::new();
    place.set("SMTP_PASSWORD", &password);
    place.set("DATABRICKS_TOKEN", "dapi-hunter2");
    write_flights(&place, "flights", 12);
    let monitor = flights_monitor(name, "flights", &psi_rule(name));
    place.configure(&format!("{monitor}{}{}", starttls(&server, &ca, &user), job(&recorder, 42)));
    let checked = place.limno(&["check"]).fine();
    assert!(checked.out.contains("login `alerts` accepted") && checked.out.contains("job 42"), "{}", checked.out);
    assert!(place.files("monitoring").is_empty(), "the check wrote something");
    assert!(arrived(&maildir, name).is_empty() && called(&log, name).is_empty(), "the check sent something");

    let first = place.limno(&["run"]).fine();
    let [report] = first.reports().try_into().unwrap();
    assert_eq!(report["refreshed"], true);
    assert_eq!((&report["rows"], &report["rows_without_window"]), (&json!(336_776), &json!(0)));
    assert_eq!((&report["windows"], &report["commit_version"]), (&json!(53), &json!(11)));
    let breaches = place.sql("SELECT * FROM alerts WHERE kind = 'breach'");
    check_breaches(&breaches, &report);
    let mails = arrived(&maildir, name);
    assert_eq!(mails.len(), 1);
    check_mail(&place, name, &mails[0], &breaches);
    check_call(name, &called(&log, name));
    check_deliveries(&place, &report, &mails[0]);
    for text in [&first.out, &first.err, &mails[0].text, &mails[0].html] {
        assert!(!text.contains(&password) && !text.contains("hunter2"));
    }
    let everything = place.limno(&["sql", "SELECT * FROM alerts", "--format", "csv"]).fine().out;
    assert!(!everything.contains(&password) && !everything.contains("hunter2"));
    let shape = Shape { quality: Some(QualityColumns::Regression), ..Shape::of_model(Some("model_version")) };
    check_schemas(&place, "monitoring", name, &shape);
    check_numbers(&place, name);

    let before = place.files("monitoring");
    let second = place.refresh();
    assert_eq!((&second["refreshed"], &second["deliveries"]), (&json!(false), &json!([])));
    assert_eq!((&second["new_breaches"], &second["historical_breaches"]), (&json!(0), &json!(0)));
    assert_eq!(place.files("monitoring"), before, "a run without anything new wrote something");
    assert_eq!((arrived(&maildir, name).len(), called(&log, name).len()), (1, 1));
    check_history(&mails[0], &breaches);
}

/// New ones in the newest window, historical ones before it.
fn check_breaches(breaches: &[Value], report: &Value) {
    let with = |status: &str| breaches.iter().filter(|breach| breach["status"] == status).collect::<Vec<_>>();
    let (new, historical) = (with("new"), with("historical"));
    assert_eq!(new.len() + historical.len(), breaches.len());
    assert!(!new.is_empty() && !historical.is_empty());
    assert_eq!(report["new_breaches"], new.len());
    assert_eq!(report["historical_breaches"], historical.len());
    assert!(new.iter().all(|breach| breach["window"]["start"] == WEEK.0 && breach["window"]["end"] == WEEK.1));
    assert!(historical.iter().all(|breach| breach["window"]["start"].as_str().unwrap() < WEEK.0));
    for breach in breaches {
        assert!(breach["value"].as_f64().unwrap() > 0.2 && breach["count"].as_i64().unwrap() >= 500, "{breach}");
        assert_eq!(breach["condition"], "above 0.2");
    }
    let ids: BTreeSet<_> = breaches.iter().map(|breach| breach["alert_id"].as_str()).collect();
    assert_eq!(ids.len(), breaches.len());
}

fn check_mail(place: &Place, name: &str, mail: &Mail, breaches: &[Value]) {
    assert_eq!(mail.header("X-MailFrom"), "limno@example.com");
    assert_eq!(mail.header("X-RcptTo"), "oncall@example.com, ml@example.com");
    let subject = mail.header("Subject");
    assert!(subject.starts_with(&format!("[limno] critical: {name} — population_stability_index of ")), "{subject}");
    let new: Vec<_> = breaches.iter().filter(|breach| breach["status"] == "new").collect();
    // The first breach of the mail in full.
    let heading = mail.text.lines().find_map(|line| line.strip_prefix("1. ")).unwrap();
    let (column, rest) = heading.split_once(": ").unwrap();
    let worst = new.iter().max_by(|a, b| a["value"].as_f64().unwrap().total_cmp(&b["value"].as_f64().unwrap()));
    let worst = worst.unwrap();
    assert_eq!(worst["column_name"], column);
    let value = worst["value"].as_f64().unwrap();
    let shown: f64 = rest.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(rest.starts_with("population_stability_index ") && (shown / value - 1.0).abs() < 1e-3, "{rest}: {value}");
    assert!(rest.ends_with("(above 0.2)"), "{rest}");
    let rows = |count: &Value| grouped(count.as_i64().unwrap());
    let told = lines(&mail.text);
    for line in [
        "window 2013-12-30 00:00 UTC to 2014-01-06 00:00 UTC (1 week)".to_owned(),
        "against the baseline".to_owned(),
        "severity critical, rule psi".to_owned(),
        format!("rows {} {}", rows(&worst["count_cmp"]), rows(&worst["count"])),
        "bin before % now % contribution".to_owned(),
        "triggers retrain (called by this refresh)".to_owned(),
        format!("table {}", place.at("flights")),
        format!("{name}_profile_metrics {}", place.at(&format!("monitoring/{name}_profile_metrics"))),
        format!("{name}_drift_metrics {}", place.at(&format!("monitoring/{name}_drift_metrics"))),
        format!("alerts {}", place.at("monitoring/alerts")),
    ] {
        assert!(told.contains(&line), "{line:?} is not in:\n{}", mail.text);
    }
    for breach in &new {
        let column = breach["column_name"].as_str().unwrap();
        assert!(mail.text.contains(column) && mail.html.contains(column), "{column}");
    }
    for part in ["<table", "contribution", "2013-12-30", "above 0.2", "population_stability_index", "limno -c"] {
        assert!(mail.html.contains(part), "{part} is not in the HTML");
    }
    assert!(!mail.html.contains("<script") && !mail.html.contains("http"), "the HTML loads something");
    // The line that shows more does show more.
    let more = place.shell(mail.sql_line()).fine();
    assert!(more.out.contains(column) && more.out.contains("20 rows"), "{}", more.out);
}

/// The mail says how many windows broke a rule before; many columns and slices of one window are one.
fn check_history(mail: &Mail, breaches: &[Value]) {
    let older: BTreeSet<_> = breaches
        .iter()
        .filter(|breach| breach["status"] == "historical")
        .map(|breach| breach["window"]["start"].as_str())
        .collect();
    let sentence = format!("{} older windows broke a rule too", older.len());
    assert!(mail.text.contains(&sentence), "{sentence:?} is not in:\n{}", mail.text);
}

fn check_call(name: &str, calls: &[Value]) {
    assert_eq!(calls.len(), 1, "{calls:?}");
    let call = &calls[0];
    assert_eq!((&call["method"], &call["path"]), (&json!("POST"), &json!("/api/2.2/jobs/run-now")));
    assert_eq!(call["headers"]["authorization"], "Bearer dapi-hunter2");
    let body = &call["body"];
    assert_eq!((&body["job_id"], &call["status"]), (&json!(42), &json!(200)));
    let token = body["idempotency_token"].as_str().unwrap();
    assert!(token.len() <= 64);
    assert_eq!(token, idempotency_token(name, "psi", "1 week", instant(WEEK.0)));
    let parameters = &body["job_parameters"];
    assert_eq!((&parameters["window_start"], &parameters["window_end"]), (&json!(WEEK.0), &json!(WEEK.1)));
    assert_eq!((&parameters["rule"], &parameters["granularity"]), (&json!("psi"), &json!("1 week")));
    assert_eq!(parameters["metric"], "population_stability_index");
    assert!(parameters["value"].as_str().unwrap().parse::<f64>().unwrap() > 0.2);
}

/// The report and the log tell the same deliveries, the mail under its own id.
fn check_deliveries(place: &Place, report: &Value, mail: &Mail) {
    let deliveries = report["deliveries"].as_array().unwrap();
    let told: BTreeSet<_> = deliveries.iter().map(|d| (d["target"].as_str(), d["kind"].as_str())).collect();
    assert_eq!(told, BTreeSet::from([(Some("oncall"), Some("notifier")), (Some("retrain"), Some("trigger"))]));
    assert!(deliveries.iter().all(|delivery| delivery["delivered"] == true), "{deliveries:?}");
    let log =
        place.sql("SELECT kind, target, status, alert_id FROM alerts WHERE kind <> 'breach' ORDER BY kind, status");
    let states: Vec<_> = log.iter().map(|row| (row["target"].as_str(), row["status"].as_str())).collect();
    let [oncall, retrain] = [Some("oncall"), Some("retrain")];
    let [delivered, pending] = [Some("delivered"), Some("pending")];
    assert_eq!(states, [(oncall, delivered), (oncall, pending), (retrain, delivered), (retrain, pending)]);
    assert_eq!((&log[0]["alert_id"], &log[1]["alert_id"]), (&json!(mail.id()), &json!(mail.id())));
    assert_eq!(log[2]["alert_id"], log[3]["alert_id"]);
}

/// What `limno sql` reads of the newest week agrees with the data themselves.
fn check_numbers(place: &Place, name: &str) {
    let (january, week) =
        (flights_between("2013-01-01T00:00:00Z", "2013-02-01T00:00:00Z"), flights_between(WEEK.0, WEEK.1));
    let of_table = format!(
        "slice_key IS NULL AND model_version = '*' AND column_name = 'distance' AND window.start = '{}'",
        WEEK.0
    );
    let drift = place.row(&format!(
        "SELECT window.start AS start, window.end AS end, drift_type, ks_test.statistic AS ks, ks_error, count, count_cmp, \
         window_complete FROM {name}_drift_metrics WHERE {of_table} AND drift_type = 'BASELINE'"
    ));
    assert_eq!((&drift["start"], &drift["end"]), (&json!(WEEK.0), &json!(WEEK.1)));
    assert_eq!(
        (&drift["count"], &drift["count_cmp"], &drift["window_complete"]),
        (&json!(week.num_rows()), &json!(january.num_rows()), &json!(true))
    );
    let ks = kolmogorov_smirnov(&sorted(&january, "distance"), &sorted(&week, "distance"));
    let (told, error) = (drift["ks"].as_f64().unwrap(), drift["ks_error"].as_f64().unwrap());
    assert!(told <= ks + 1e-12 && ks <= told + error + 1e-12, "{ks} is not in {told} + {error}");
    let profile = place.row(&format!(
        "SELECT quantiles[500] AS middle, quantiles[0] AS least, quantiles[1000] AS greatest, median, min, max, count, \
         num_nulls, data_type FROM {name}_profile_metrics WHERE {of_table} AND log_type = 'INPUT'"
    ));
    let distances = sorted(&week, "distance");
    let (least, greatest) = (distances[0], distances[distances.len() - 1]);
    let middle = distances[distances.len().div_ceil(2) - 1];
    for (key, value) in [
        ("middle", middle),
        ("median", middle),
        ("least", least),
        ("min", least),
        ("greatest", greatest),
        ("max", greatest),
    ] {
        assert_eq!(profile[key].as_f64(), Some(value), "{key}");
    }
    assert_eq!((&profile["num_nulls"], &profile["data_type"]), (&json!(0), &json!("int")));
    // The slices cover the table, each expression by itself.
    let slices = place.sql(&format!(
        "SELECT slice_key, slice_value, count FROM {name}_profile_metrics WHERE slice_key IS NOT NULL AND \
         log_type = 'INPUT' AND model_version = '*' AND column_name = ':table' AND window.start = '{}' ORDER BY 1, 2",
        WEEK.0
    ));
    let values: Vec<_> = slices.iter().map(|row| (row["slice_key"].as_str(), row["slice_value"].as_str())).collect();
    let of = |key, value| (Some(key), Some(value));
    let far = "distance > 1000";
    assert_eq!(
        values,
        [of(far, "false"), of(far, "true"), of("origin", "EWR"), of("origin", "JFK"), of("origin", "LGA")]
    );
    let rows = |key: &str| -> i64 {
        slices.iter().filter(|row| row["slice_key"] == key).map(|row| row["count"].as_i64().unwrap()).sum()
    };
    let all = i64::try_from(week.num_rows()).unwrap();
    assert_eq!((rows(far), rows("origin")), (all, all));
    let long = distances.iter().filter(|&&distance| distance > 1000.0).count();
    assert_eq!(slices[1]["count"], long);
    // Both kinds of drift are there.
    let kinds = place.sql(&format!("SELECT DISTINCT drift_type FROM {name}_drift_metrics ORDER BY 1"));
    assert_eq!(kinds, [json!({ "drift_type": "BASELINE" }), json!({ "drift_type": "CONSECUTIVE" })]);
}

#[test]
fn a_parquet_file_and_a_delta_table_of_the_same_rows_give_the_same_numbers() {
    let place = Place::new();
    write_flights(&place, "flights", 2);
    place.parquet("flights.parquet", &flights_between("2013-01-01T00:00:00Z", "2013-03-01T00:00:00Z"));
    let both = flights_monitor("logged", "flights", "") + &flights_monitor("filed", "flights.parquet", "");
    place.configure(&both);
    let reports = place.limno(&["run"]).fine().reports();
    let [logged, filed] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((&logged["monitor"], &filed["monitor"]), (&json!("logged"), &json!("filed")));
    assert_eq!((&logged["commit_version"], &filed["commit_version"]), (&json!(1), &Value::Null));
    assert_eq!(logged["rows"], filed["rows"]);
    for kind in ["profile", "drift"] {
        let [logged, filed] = ["logged", "filed"].map(|name| numbers_of(&place, &format!("{name}_{kind}_metrics")));
        assert!(logged.len() > 100);
        assert!(logged == filed, "{kind} rows differ");
    }
    let refreshed = place.sql("SELECT monitor, rows, windows FROM refreshes ORDER BY monitor");
    assert_eq!(refreshed.len(), 2);
    assert!(refreshed.iter().all(|row| row["rows"] == logged["rows"] && row["windows"] == 9), "{refreshed:?}");
    // Nothing has changed for either; then one of them has new data.
    let again = place.limno(&["run"]).fine().reports();
    assert!(again.iter().all(|report| report["refreshed"] == false), "{again:?}");
    place.delta("flights", &flights_between("2013-03-01T00:00:00Z", "2013-03-04T00:00:00Z"));
    let again = place.limno(&["run"]).fine().reports();
    assert_eq!((&again[0]["refreshed"], &again[1]["refreshed"]), (&json!(true), &json!(false)));
    assert_eq!(place.sql("SELECT monitor FROM refreshes").len(), 3);
}

#[test]
fn columns_are_chosen_and_numbers_can_be_categories() {
    let place = Place::new();
    place.parquet("week.parquet", &flights_between("2013-06-03T00:00:00Z", "2013-06-10T00:00:00Z"));
    place.parquet("january.parquet", &flights_between("2013-01-01T00:00:00Z", "2013-02-01T00:00:00Z"));
    place.configure(
        r#"
[monitor.chosen]
table    = "~/week.parquet"
output   = "~/out"
baseline = "~/january.parquet"
columns  = { exclude = ["*_delay", "tailnum"], categorical = ["flight"] }
[monitor.chosen.time_series]
timestamp     = "time_hour"
granularities = ["1 week"]
"#,
    );
    place.refresh();
    let columns = place.sql("SELECT DISTINCT column_name FROM chosen_drift_metrics ORDER BY 1");
    let columns: Vec<_> = columns.iter().map(|row| row["column_name"].as_str().unwrap()).collect();
    assert_eq!(
        columns,
        [":table", "air_time", "carrier", "dest", "distance", "flight", "model_version", "origin", "sched_dep_time"]
    );
    let flight = place.row(
        "SELECT tv_distance IS NOT NULL AS is_category, ks_test IS NULL OR ks_test.statistic IS NULL AS has_no_ks, \
         data_type FROM chosen_drift_metrics WHERE column_name = 'flight'",
    );
    assert_eq!(flight, json!({ "is_category": true, "has_no_ks": true, "data_type": "int" }));
}

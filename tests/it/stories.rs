//! Whole stories: tables, `limno` as a user calls it, and what arrives in the mail and at the job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimeUnit};
use chrono::TimeDelta;
use limno_engine::clock::FixedClock;
use limno_engine::config::Config;
use limno_engine::engine::{Engine, Report};
use limno_engine::progress::Progress;
use limno_engine::trigger::idempotency_token;
use limno_metrics::schema::{drift_schema, profile_schema};
use limno_sql::session::SessionOptions;
use serde_json::{Value, json};

use crate::support_run::{
    Mail, Place, arrived, called, components, flights, flights_between, instant, numbers, table, times,
};

const WEEK: (&str, &str) = ("2013-12-30T00:00:00Z", "2014-01-06T00:00:00Z");

/// The monitor that the issue asks for: all columns, weekly, two slices, against January.
fn flights_monitor(name: &str, table: &str, rules: &str) -> String {
    format!(
        r#"
[monitor.{name}]
table    = "~/{table}"
output   = "~/monitoring"
baseline = "~/january.parquet"
slices   = ["origin", "distance > 1000"]

[monitor.{name}.inference_log]
timestamp     = "time_hour"
granularities = ["1 week"]
model_id      = "model_version"
prediction    = "predicted_delay"
label         = "arr_delay"
problem_type  = "regression"
{rules}
"#
    )
}

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

fn starttls(server: &str, ca: &str, user: &str) -> String {
    format!(
        r#"
[notifier.oncall]
kind     = "email"
smtp     = "smtp+starttls://{server}"
username = "{user}"
password = {{ env = "SMTP_PASSWORD" }}
from     = "Limnograph <limno@example.com>"
to       = ["oncall@example.com", "ML <ml@example.com>"]
ca_file  = "{ca}"
"#
    )
}

fn mail_folder() -> &'static str {
    "
[notifier.oncall]
kind = \"email\"
smtp = \"file:~/mail\"
from = \"limno@example.com\"
to   = [\"oncall@example.com\"]
"
}

fn job(host: &str, id: i64) -> String {
    format!(
        r#"
[trigger.retrain]
kind   = "databricks_job"
host   = "{host}"
job_id = {id}
token  = {{ env = "DATABRICKS_TOKEN" }}
"#
    )
}

/// January as a file, and the whole year as a Delta table in one commit a month.
fn write_flights(place: &Place, table: &str, months: u32) {
    for month in 1..=months {
        let end = if month == 12 { "2014-02-01".to_owned() } else { format!("2013-{:02}-01", month + 1) };
        let rows = flights_between(&format!("2013-{month:02}-01T00:00:00Z"), &format!("{end}T00:00:00Z"));
        if month == 1 {
            place.parquet("january.parquet", &rows);
        }
        place.delta(table, &rows);
    }
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
    check_schemas(&place, name);
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

/// The type of a column as a Delta log names it.
fn delta_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Float64 => json!("double"),
        DataType::Int64 => json!("long"),
        DataType::Int32 => json!("integer"),
        DataType::Utf8 => json!("string"),
        DataType::Boolean => json!("boolean"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| delta_field(field.name(), field.data_type())).collect();
            json!({ "type": "struct", "fields": fields })
        }
        DataType::List(item) => {
            json!({ "type": "array", "elementType": delta_type(item.data_type()), "containsNull": true })
        }
        other => panic!("{other} is in no metric table"),
    }
}

fn delta_field(name: &str, data_type: &DataType) -> Value {
    json!({ "name": name, "type": delta_type(data_type), "nullable": true, "metadata": {} })
}

/// The metric tables have exactly the columns that the schema says, as any reader of Delta sees them.
fn check_schemas(place: &Place, name: &str) {
    let schemas: [(_, SchemaRef); 2] = [
        (format!("{name}_profile_metrics"), profile_schema(Some("model_version"))),
        (format!("{name}_drift_metrics"), drift_schema(Some("model_version"))),
    ];
    for (table, schema) in schemas {
        let log = place.path(&format!("monitoring/{table}/_delta_log/{:020}.json", 0));
        let log = std::fs::read_to_string(log).unwrap();
        let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let metadata = actions.into_iter().find_map(|action| action.get("metaData").cloned()).unwrap();
        let written: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let expected: Vec<_> =
            schema.fields().iter().map(|field| delta_field(field.name(), field.data_type())).collect();
        assert_eq!(written["fields"], json!(expected), "{table}");
    }
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
        "SELECT quantiles[501] AS middle, quantiles[1] AS least, quantiles[1001] AS greatest, median, min, max, count, \
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

/// Rows of a metric table without what says when and from which version they were made.
fn numbers_of(place: &Place, table: &str) -> Vec<String> {
    let rows = place.sql(&format!("SELECT * FROM {table}")).into_iter().map(|mut row| {
        let row = row.as_object_mut().unwrap();
        row.remove("refreshed_at");
        row.remove("logging_table_commit_version");
        json!(row).to_string()
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
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
fn days_and_weeks_follow_the_time_zone_and_the_start_of_the_week() {
    let place = Place::new();
    // New York changes its clocks on Sunday, 2024-03-10.
    let at = [
        "2024-03-10T04:59:59.999999Z", // Saturday, 23:59:59 in New York
        "2024-03-10T05:00:00Z",        // Sunday
        "2024-03-11T03:59:59Z",        // still Sunday, of 23 hours
        "2024-03-11T04:00:00Z",        // Monday
        "2024-03-17T03:59:59Z",        // Saturday
        "2024-03-17T04:00:00Z",        // Sunday
    ];
    place
        .parquet("t.parquet", &table([("at", times(at.map(instant))), ("x", numbers([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))]));
    place.configure(
        r#"
[monitor.sales]
table      = "~/t.parquet"
output     = "~/out"
timezone   = "America/New_York"
week_start = "sunday"
[monitor.sales.time_series]
timestamp     = "at"
granularities = ["1 day", "1 week"]
"#,
    );
    let report = place.refresh();
    assert_eq!((&report["rows"], &report["windows"]), (&json!(6), &json!(8)));
    let windows = place.sql(
        "SELECT granularity, window.start AS start, window.end AS end, count, avg FROM sales_profile_metrics \
         WHERE column_name = 'x' ORDER BY granularity, start",
    );
    let read: Vec<_> = windows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("granularity"), text("start"), text("end"), row["count"].as_i64().unwrap(), row["avg"].as_f64())
        })
        .collect();
    let window = |length: &str, start: &str, end: &str, count, avg| {
        (length.to_owned(), format!("2024-03-{start}:00:00Z"), format!("2024-03-{end}:00:00Z"), count, Some(avg))
    };
    assert_eq!(
        read,
        [
            window("1 day", "09T05", "10T05", 1, 1.0),
            window("1 day", "10T05", "11T04", 2, 2.5),
            window("1 day", "11T04", "12T04", 1, 4.0),
            window("1 day", "16T04", "17T04", 1, 5.0),
            window("1 day", "17T04", "18T04", 1, 6.0),
            window("1 week", "03T05", "10T05", 1, 1.0),
            window("1 week", "10T05", "17T04", 4, 3.5),
            window("1 week", "17T04", "24T04", 1, 6.0),
        ]
    );
    // Without a baseline, each window is compared with the one just before it, and with no other.
    let pairs = place.sql(
        "SELECT window.start AS start, window_cmp.start AS before FROM sales_drift_metrics \
         WHERE column_name = 'x' AND granularity = '1 day' AND drift_type = 'CONSECUTIVE' ORDER BY 1",
    );
    let pair = |start: &str, before: &str| json!({ "start": format!("2024-03-{start}:00:00Z"), "before": format!("2024-03-{before}:00:00Z") });
    assert_eq!(pairs, [pair("10T05", "09T05"), pair("11T04", "10T05"), pair("17T04", "16T04")]);
}

/// 600 values around `centre`.
fn around(centre: f64) -> Vec<f64> {
    (0..600).map(|index| centre + f64::from(index % 60)).collect()
}

#[test]
fn each_change_of_a_snapshot_is_a_window_of_its_own() {
    let place = Place::new();
    let write = |name: &str, centre: f64| place.parquet(name, &table([("x", numbers(around(centre)))]));
    write("before.parquet", 0.0);
    write("t.parquet", 0.0);
    place.configure(&format!(
        r#"
[monitor.stock]
table    = "~/t.parquet"
output   = "~/out"
baseline = "~/before.parquet"
[monitor.stock.snapshot]
[[monitor.stock.rule]]
name   = "shift"
metric = "ks_test.statistic"
above  = 0.1
notify = ["oncall"]
{}"#,
        mail_folder()
    ));
    let report = place.refresh();
    assert_eq!((&report["windows"], &report["new_breaches"]), (&json!(1), &json!(0)));
    assert_eq!(place.refresh()["refreshed"], false);
    assert!(place.mails("mail").is_empty());
    std::fs::remove_file(place.path("t.parquet")).unwrap();
    write("t.parquet", 1000.0);
    let report = place.refresh();
    assert_eq!((&report["new_breaches"], &report["historical_breaches"]), (&json!(1), &json!(0)));
    let [mail] = place.mails("mail").try_into().unwrap();
    assert!(mail.text.contains("1. x: ks_test.statistic 1 "), "{}", mail.text);
    let profiles = place.sql(
        "SELECT window.start = window.end AS is_instant, granularity, min, window_complete FROM stock_profile_metrics \
         WHERE column_name = 'x' AND log_type = 'INPUT' ORDER BY window.start",
    );
    let profile = |min| json!({ "is_instant": true, "granularity": null, "min": min, "window_complete": true });
    assert_eq!(profiles, [profile(0.0), profile(1000.0)]);
    let before = place.files("out");
    assert_eq!(place.refresh()["deliveries"], json!([]));
    assert_eq!(place.files("out"), before);
}

/// An engine over the configuration of a place, at a time that the test decides.
struct Timed {
    engine: Engine,
    clock: Arc<FixedClock>,
    runtime: tokio::runtime::Runtime,
}

impl Timed {
    fn new(place: &Place, now: &str) -> Self {
        let clock = Arc::new(FixedClock::at(instant(now)));
        let config = Config::load(&place.path("limno.toml"), &BTreeMap::new()).unwrap();
        let options = SessionOptions { partitions: Some(2) };
        let engine = Engine::new(config, Arc::<FixedClock>::clone(&clock), Progress::hidden(), &options);
        Self { engine, clock, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    fn run_at(&self, now: &str) -> Report {
        self.clock.set(instant(now));
        let monitor = &self.engine.config().monitors[0];
        let report = self.runtime.block_on(Box::pin(async {
            let bound = self.engine.bind(monitor).await?;
            self.engine.run(&bound, false).await
        }));
        let report = report.unwrap();
        assert_eq!(report.failures(), Vec::<String>::new());
        report
    }
}

/// New breaches, historical ones, and deliveries of a report.
fn found(report: &Report) -> (usize, usize, usize) {
    (report.new_breaches, report.historical_breaches, report.attempts.len())
}

/// 600 rows of one day of January 2024, an hour after its start.
fn day(day: i64, centre: f64) -> RecordBatch {
    let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day - 1);
    let at = (0..600).map(|second| start + TimeDelta::seconds(second));
    table([("at", times(at)), ("x", numbers(around(centre)))])
}

fn daily(place: &Place) {
    place.parquet("before.parquet", &day(1, 0.0));
    place.configure(&format!(
        r#"
[monitor.daily]
table    = "~/t"
output   = "~/out"
baseline = "~/before.parquet"
grace    = "1h"
[monitor.daily.time_series]
timestamp     = "at"
granularities = ["1 day"]
[[monitor.daily.rule]]
name   = "shift"
metric = "population_stability_index"
above  = 0.2
notify = ["oncall"]
{}"#,
        mail_folder()
    ));
}

#[test]
fn a_window_that_becomes_complete_without_new_data_is_told_then() {
    let place = Place::new();
    daily(&place);
    for (number, centre) in [(2, 0.0), (3, 500.0), (4, 0.0), (5, 1000.0)] {
        place.delta("t", &day(number, centre));
    }
    let timed = Timed::new(&place, "2024-01-05T12:00:00Z");
    let completeness = || {
        place.sql(
            "SELECT window_complete FROM daily_profile_metrics \
             WHERE column_name = 'x' AND log_type = 'INPUT' ORDER BY window.start",
        )
    };
    let marks = |newest: bool| [true, true, true, newest].map(|mark| json!({ "window_complete": mark }));
    let report = timed.run_at("2024-01-05T12:00:00Z");
    assert!(report.refreshed.is_some());
    assert_eq!(found(&report), (0, 1, 0), "the day is not over, and the 3rd is history");
    assert_eq!(completeness(), marks(false));
    let report = timed.run_at("2024-01-06T00:59:59Z");
    assert!(report.refreshed.is_none());
    assert_eq!(found(&report), (0, 0, 0), "the grace is not over");
    assert!(place.mails("mail").is_empty());

    let report = timed.run_at("2024-01-06T01:00:00Z");
    assert!(report.refreshed.is_none(), "no data were added");
    assert_eq!(found(&report), (1, 0, 1));
    let [mail] = place.mails("mail").try_into().unwrap();
    assert!(mail.text.contains("2024-01-05 00:00 UTC to 2024-01-06 00:00 UTC (1 day)"), "{}", mail.text);
    assert_eq!(mail.header("Date"), "Sat, 06 Jan 2024 01:00:00 +0000");
    assert_eq!(completeness(), marks(true));
    assert_eq!(found(&timed.run_at("2024-01-06T02:00:00Z")), (0, 0, 0));
    // An engine of its own, as after a restart, knows it too.
    assert_eq!(found(&Timed::new(&place, "2024-01-07T00:00:00Z").run_at("2024-01-08T00:00:00Z")), (0, 0, 0));
    assert_eq!(place.mails("mail").len(), 1);
}

#[test]
fn late_rows_correct_their_window_and_are_recorded_as_history() {
    let place = Place::new();
    daily(&place);
    for (number, centre) in [(2, 0.0), (3, 0.0), (4, 1000.0)] {
        place.delta("t", &day(number, centre));
    }
    let timed = Timed::new(&place, "2024-01-05T12:00:00Z");
    assert_eq!(found(&timed.run_at("2024-01-05T12:00:00Z")), (1, 0, 1));
    place.delta("t", &day(2, 2000.0));
    let report = timed.run_at("2024-01-05T13:00:00Z");
    assert!(report.refreshed.is_some());
    assert_eq!(found(&report), (0, 1, 0));
    assert_eq!(place.mails("mail").len(), 1);
    let late = place.row(
        "SELECT status, window.start AS start, count FROM alerts WHERE kind = 'breach' AND window.start < '2024-01-04'",
    );
    assert_eq!(late, json!({ "status": "historical", "start": "2024-01-02T00:00:00Z", "count": 1200 }));
    let corrected = place
        .row("SELECT count, max FROM daily_profile_metrics WHERE column_name = 'x' AND window.start = '2024-01-02'");
    assert_eq!(corrected, json!({ "count": 1200, "max": 2059.0 }));
    assert_eq!(found(&timed.run_at("2024-01-05T14:00:00Z")), (0, 0, 0));
    // More rows for the newest window, whose breach is known.
    place.delta("t", &day(4, 1000.0));
    let report = timed.run_at("2024-01-05T15:00:00Z");
    assert!(report.refreshed.is_some());
    assert_eq!(found(&report), (0, 0, 0));
    assert_eq!(place.mails("mail").len(), 1);
}

/// A monitor of a small table whose newest day is far from its baseline.
fn shifted(place: &Place, name: &str) -> String {
    place.parquet("before.parquet", &day(1, 0.0));
    place.parquet("t.parquet", &day(2, 1000.0));
    format!(
        r#"
[monitor.{name}]
table    = "~/t.parquet"
output   = "~/out"
baseline = "~/before.parquet"
[monitor.{name}.time_series]
timestamp     = "at"
granularities = ["1 day"]
[[monitor.{name}.rule]]
name    = "shift"
metric  = "population_stability_index"
above   = 0.2
notify  = ["oncall"]
"#
    )
}

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
fn two_monitors_share_an_output_folder() {
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

#[test]
fn columns_are_chosen_and_numbers_can_be_categories() {
    let place = Place::new();
    let rows = flights();
    assert_eq!(rows.num_rows(), 336_776);
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

//! Whole stories: tables, `limno` as a user calls it, and what arrives in the mail and at the job. Here is what they
//! share: monitors, notifiers and triggers as text, and small tables.

mod calls;
mod change;
mod classes;
mod covid;
mod damage;
mod dialect;
mod environments;
mod fairness;
mod flights;
mod foreign;
mod forms;
mod incremental;
mod labels;
mod metrics;
mod nannyml;
mod nested;
mod outbox;
mod payload;
mod payload_tables;
mod precision;
mod profile;
mod retention;
mod sampling;
mod schemas;
mod secrets;
mod stores;
mod troubles;
mod unity;
mod windows;

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use limno_engine::clock::FixedClock;
use limno_engine::config::Config;
use limno_engine::engine::{Engine, Report};
use limno_engine::progress::Progress;
use limno_sql::session::SessionOptions;
use serde_json::json;

use crate::support_run::{Place, flights_between, instant, numbers, table, times};

/// The monitor that users ask for: all columns, weekly, two slices, against January.
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

pub(crate) fn mail_folder() -> &'static str {
    "
[notifier.oncall]
kind = \"email\"
smtp = \"file:~/mail\"
from = \"limno@example.com\"
to   = [\"oncall@example.com\"]
"
}

pub(crate) fn job(host: &str, id: i64) -> String {
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

/// Rows of a metric table without what says when and from which version they were made.
pub(crate) fn numbers_of(place: &Place, table: &str) -> Vec<String> {
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

/// 600 values around `centre`.
pub(crate) fn around(centre: f64) -> Vec<f64> {
    (0..600).map(|index| centre + f64::from(index % 60)).collect()
}

/// An engine over the configuration of a place, at a time that the test decides.
struct Timed<'p> {
    place: &'p Place,
    engine: Engine,
    clock: Arc<FixedClock>,
    runtime: tokio::runtime::Runtime,
}

impl<'p> Timed<'p> {
    fn new(place: &'p Place, now: &str) -> Self {
        let clock = Arc::new(FixedClock::at(instant(now)));
        let config = Config::load(&place.path("limno.toml"), &place.variables()).unwrap();
        let options = SessionOptions { partitions: Some(2), ..SessionOptions::default() };
        let engine = Engine::new(config, Arc::<FixedClock>::clone(&clock), Progress::hidden(), &options).unwrap();
        Self { place, engine, clock, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    fn run_at(&self, now: &str) -> Report {
        self.refresh_at(now, false)
    }

    /// With all states made anew.
    fn run_all_at(&self, now: &str) -> Report {
        self.refresh_at(now, true)
    }

    fn refresh_at(&self, now: &str, is_full: bool) -> Report {
        self.clock.set(instant(now));
        let monitor = &self.engine.config().monitors[0];
        let report = self.does(async {
            let bound = self.engine.bind(monitor).await?;
            self.engine.run(&bound, is_full).await
        });
        let report = report.unwrap();
        assert_eq!(report.failures(), Vec::<String>::new());
        report
    }

    /// What the engine does with the tables of the place.
    fn does<T>(&self, what: impl Future<Output = T>) -> T {
        self.place.beside_tables(|| self.runtime.block_on(Box::pin(what)))
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

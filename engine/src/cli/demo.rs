//! `limno demo`: the whole loop on real data, without any configuration.
//!
//! The flights of 2013 from New York, with the arrival delay that a small model predicted for each, written as a
//! Delta table month by month as a model would log them, and watched in weekly windows against January.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use chrono::{DateTime, Datelike};
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTableBuilder, DeltaTableError};
use limno_sql::catalog;
use limno_sql::session::SessionOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

use super::Outcome;
use super::args::DemoArgs;
use super::files::output_error;
use super::output::{Format, TableOptions, terminal_width, write_batches};
use super::run::sentence;
use super::sql::tables;
use crate::alert::outbox::sql_hint;
use crate::clock::SystemClock;
use crate::config::{Config, ProcessEnv};
use crate::engine::Engine;
use crate::progress::Progress;
use crate::{Error, Result};

/// The flights; `fixtures/data/README.md` has their provenance.
static FLIGHTS: &[u8] = include_bytes!("../../../fixtures/data/flights.parquet");
/// The first line of a demo's configuration, by which its folder is known again.
const HEADER: &str = "# limno demo: the flights of 2013, watched in weekly windows against January";

pub(super) async fn execute(args: &DemoArgs, out: &mut dyn Write) -> Result<Outcome> {
    let progress = Progress::on_terminal();
    let folder = prepare(&args.dir, &progress).await?;
    let file = folder.join("limno.toml");
    let config = Config::load(&file, &ProcessEnv)?;
    let engine = Engine::new(config, Arc::new(SystemClock), progress.clone(), &SessionOptions::default())?;
    let mut failures = Vec::new();
    for monitor in &engine.config().monitors {
        let bound = engine.bind(monitor).await?;
        let report = engine.run(&bound, false).await?;
        progress.finish();
        writeln!(out, "{}\n", sentence(&report))?;
        failures.extend(report.failures());
    }
    tell(&engine, &folder, &file, out).await?;
    if failures.is_empty() { Ok(Outcome::Done) } else { Err(Error::Delivery { message: failures.join("\n") }) }
}

/// Writes tables and configuration into an empty folder; leaves those of an earlier call as they are.
async fn prepare(folder: &Path, progress: &Progress) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| Error::Usage {
        message: format!("the folder {} cannot be made: {error}; name another one", folder.display()),
    })?;
    let folder = folder.canonicalize()?;
    let file = folder.join("limno.toml");
    if file.exists() {
        let text = std::fs::read_to_string(&file)?;
        if text.lines().next() == Some(HEADER) {
            return Ok(folder);
        }
        return Err(Error::Usage { message: format!("{} is not a demo's; name another folder", file.display()) });
    }
    if folder.read_dir()?.next().is_some() {
        return Err(Error::Usage {
            message: format!(
                "{} is not empty and holds no finished demo; remove it or name another folder",
                folder.display()
            ),
        });
    }
    let flights = read_flights()?;
    for (index, month) in by_month(&flights)?.into_iter().enumerate() {
        progress.stage("writing", &format!("month {} of the flights", index + 1));
        if index == 0 {
            append(&folder.join("flights_january"), month.clone()).await?;
        }
        append(&folder.join("flights"), month).await?;
    }
    // Last, and in one step: a folder with a configuration is a finished one.
    let partial = folder.join("limno.toml.partial");
    std::fs::write(&partial, configuration(&folder))?;
    std::fs::rename(&partial, &file)?;
    Ok(folder)
}

/// Appends to a table as its owner would, with all the statistics that a log can have.
async fn append(path: &Path, rows: RecordBatch) -> Result<()> {
    let failed =
        |source: DeltaTableError| Error::Write { table: path.to_string_lossy().into_owned(), source: Box::new(source) };
    std::fs::create_dir_all(path)?;
    let url =
        Url::from_directory_path(path).map_err(|()| failed(DeltaTableError::generic("the path is not absolute")))?;
    let builder = DeltaTableBuilder::from_url(url).map_err(failed)?;
    let mut table = builder.build().map_err(failed)?;
    if table.verify_deltatable_existence().await.map_err(failed)? {
        table.load().await.map_err(failed)?;
    }
    table.write([rows]).with_save_mode(SaveMode::Append).await.map_err(failed)?;
    Ok(())
}

fn read_flights() -> Result<RecordBatch> {
    let broken =
        |error: &dyn std::fmt::Display| Error::Usage { message: format!("the embedded flights do not read: {error}") };
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(FLIGHTS)).map_err(|error| broken(&error))?;
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(|error| broken(&error))?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The flights, which are in order of time, cut at the ends of months (UTC).
fn by_month(flights: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let times =
        flights.column_by_name("time_hour").and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let Some(times) = times else {
        return Err(Error::Usage { message: "the embedded flights have no time_hour".to_owned() });
    };
    let month = |row: usize| DateTime::from_timestamp_micros(times.value(row)).map(|time| (time.year(), time.month()));
    let mut months = Vec::new();
    let mut start = 0;
    for row in 1..=flights.num_rows() {
        if row == flights.num_rows() || month(row) != month(row - 1) {
            months.push(flights.slice(start, row - start));
            start = row;
        }
    }
    Ok(months)
}

fn configuration(folder: &Path) -> String {
    let quoted = |name: &str| toml::Value::String(folder.join(name).to_string_lossy().into_owned()).to_string();
    let mail = toml::Value::String(format!("file:{}", folder.join("mail").to_string_lossy())).to_string();
    format!(
        r#"{HEADER}

[monitor.flights]
table    = {table}
output   = {output}
baseline = {baseline}
slices   = ["origin", "distance > 1000"]

[monitor.flights.inference_log]
timestamp     = "time_hour"
granularities = ["1 week"]
model_id      = "model_version"
prediction    = "predicted_delay"
label         = "arr_delay"
problem_type  = "regression"

[[monitor.flights.rule]]
name      = "population shift"
metric    = "population_stability_index"
above     = 0.2
against   = "BASELINE"
min_count = 500
severity  = "critical"
notify    = ["mail"]
trigger   = ["retrain"]

[[monitor.flights.rule]]
name      = "distribution"
metric    = "ks_test.statistic"
above     = 0.1
against   = "BASELINE"
breaches  = 2
windows   = 4
min_count = 500
notify    = ["mail"]

[notifier.mail]
kind = "email"
smtp = {mail}
from = "Limnograph <limno@example.com>"
to   = ["ml-oncall@example.com"]

# Stands in for the retraining job: it appends what it is told to a file.
[trigger.retrain]
kind    = "command"
command = ["tee", "-a", {calls}]
"#,
        table = quoted("flights"),
        output = quoted("monitoring"),
        baseline = quoted("flights_january"),
        calls = quoted("retraining-calls.jsonl"),
    )
}

const MOVED: &str = "\
SELECT column_name, window_start AS week, population_stability_index AS psi, ks, \
       CASE WHEN unseen_share > 0 THEN unseen_share END AS unseen_share \
FROM (SELECT column_name, CAST(window.start AS DATE) AS window_start, population_stability_index, \
             ks_test.statistic AS ks, unseen_share, \
             row_number() OVER (PARTITION BY column_name ORDER BY population_stability_index DESC, window.start) AS place \
      FROM flights_drift_metrics \
      WHERE drift_type = 'BASELINE' AND slice_key IS NULL AND model_version = '*' AND count >= 500 \
        AND population_stability_index IS NOT NULL) \
WHERE place = 1 ORDER BY psi DESC LIMIT 10";

const FIRED: &str = "\
SELECT severity, rule, column_name, coalesce(slice_key || ' = ' || slice_value, 'all rows') AS slice, \
       CAST(window.start AS DATE) AS week, value, condition \
FROM alerts WHERE kind = 'breach' AND status = 'new' \
ORDER BY slice_key IS NOT NULL, severity, value DESC LIMIT 12";

const DELIVERED: &str = "\
SELECT kind, target, detail FROM alerts \
WHERE kind <> 'breach' AND status <> 'pending' ORDER BY recorded_at, kind";

/// What moved, what fired, what was sent, and where everything is.
async fn tell(engine: &Engine, folder: &Path, file: &Path, out: &mut dyn Write) -> Result<()> {
    let context = engine.context();
    tables(engine).register(context).await?;
    for (title, query) in [
        ("The ten columns that moved most against January, and their worst week:", MOVED),
        ("Alerts of the newest complete week (older weeks are recorded in the table alerts):", FIRED),
        ("Mail and retraining call:", DELIVERED),
    ] {
        let frame = catalog::query(context, query).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await?;
        writeln!(out, "{title}")?;
        let options = TableOptions { width: terminal_width(), hide_empty: false };
        write_batches(out, Format::Table, &schema, &batches, options).map_err(output_error)?;
        writeln!(out)?;
    }
    writeln!(out, "Tables (Delta): {}", folder.join("monitoring").display())?;
    writeln!(out, "Mail:           {}", folder.join("mail").display())?;
    writeln!(out, "Job calls:      {}", folder.join("retraining-calls.jsonl").display())?;
    writeln!(out, "Configuration:  {}", file.display())?;
    for monitor in &engine.config().monitors {
        writeln!(out, "\nMore:\n  {}", sql_hint(&file.to_string_lossy(), monitor, Some("predicted_delay")))?;
    }
    Ok(())
}

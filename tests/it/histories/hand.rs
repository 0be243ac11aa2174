//! Commits by hand: what the protocol allows, other writers do and delta-rs does not.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, TimestampMicrosecondType};
use chrono::{DateTime, FixedOffset, NaiveDate, SecondsFormat};
use deltalake::kernel::{Action, Add, Remove};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::lake::{Lake, Outcome};
use super::vectors;

/// What the log says of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stats {
    /// Nothing.
    None,
    /// How many there are.
    Count,
    /// Least and greatest values too, of which timestamps are cut to milliseconds, as Spark does.
    Full,
    /// The same, in another time zone.
    Zoned,
    /// Bounds that hold and that no row reaches.
    Wide,
}

/// The time that all commits by hand claim; who cares.
const COMMITTED_AT: i64 = 1_704_067_200_000;

impl Lake {
    /// Writes the next commit.
    pub(crate) async fn commit(&self, operation: &str, actions: &[Value]) -> Outcome<()> {
        let version = self.version().await? + 1;
        let path = self.folder.join(format!("_delta_log/{version:020}.json"));
        let mut file = File::create_new(path)?;
        let info = json!({ "commitInfo": { "timestamp": COMMITTED_AT, "operation": operation } });
        for action in std::iter::once(&info).chain(actions) {
            writeln!(file, "{action}")?;
        }
        Ok(())
    }

    /// The files of a version; of the newest one for none. Their names are random, so they come by their rows.
    pub(crate) async fn files(&self, version: Option<u64>) -> Outcome<Vec<Add>> {
        let mut table = self.open().await?;
        if let Some(version) = version {
            table.load_version(version).await?;
        }
        #[expect(deprecated, reason = "what replaces it has no public way back to an action")]
        let mut files: Vec<_> = table.snapshot()?.log_data().iter().map(|file| file.add_action()).collect();
        let mut keys = HashMap::new();
        for file in &files {
            keys.insert(file.path.clone(), (self.least_id(file)?, self.rows_in(file)?));
        }
        files.sort_by_key(|file| keys[&file.path]);
        Ok(files)
    }

    fn least_id(&self, file: &Add) -> Outcome<Option<i64>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(self.folder.join(&file.path))?)?;
        let only_ids = ProjectionMask::columns(reader.parquet_schema(), ["id"]);
        let mut least = None;
        for batch in reader.with_projection(only_ids).build()? {
            let ids = batch?.column(0).as_primitive::<Int64Type>().iter().flatten().min();
            least = [least, ids].into_iter().flatten().min();
        }
        Ok(least)
    }

    /// Rows in a file, deleted ones included.
    pub(crate) fn rows_in(&self, file: &Add) -> Outcome<usize> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(self.folder.join(&file.path))?)?;
        Ok(usize::try_from(reader.metadata().file_metadata().num_rows())?)
    }

    /// Appends each batch as a file, or as one for each partition, all in one commit.
    pub(crate) async fn append_by_hand(&self, name: &str, batches: &[RecordBatch], stats: Stats) -> Outcome<()> {
        let (partitions, stored) = (self.partitions().await?, self.stored_names().await?);
        let stored_name = |name: &String| stored.get(name).unwrap_or(name).clone();
        let mut actions = Vec::new();
        for batch in batches {
            for (values, rows) in parts(batch, &partitions)? {
                let fields = rows
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| Field::new(stored_name(field.name()), field.data_type().clone(), true))
                    .collect::<Vec<_>>();
                let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.columns().to_vec())?;
                let path = format!("{name}-{}.parquet", actions.len());
                // Groups of few rows: positions in the file are not positions in a group.
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(16)).build();
                std::fs::create_dir_all(self.folder.join(&path).parent().unwrap())?;
                let file = File::create_new(self.folder.join(&path))?;
                let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties))?;
                writer.write(&rows)?;
                writer.close()?;
                let add = Add {
                    size: i64::try_from(self.folder.join(&path).metadata()?.len())?,
                    path,
                    partition_values: values.into_iter().map(|(name, value)| (stored_name(&name), value)).collect(),
                    modification_time: COMMITTED_AT,
                    data_change: true,
                    stats: stats_of(&rows, stats),
                    ..Add::default()
                };
                actions.push(serde_json::to_value(Action::Add(add))?);
            }
        }
        self.commit("WRITE", &actions).await
    }

    /// Deletes rows of a file, by their positions, beside those that were deleted before.
    pub(crate) async fn delete_rows(&self, file: &Add, rows: &BTreeSet<u16>) -> Outcome<()> {
        let mut actions: Vec<Value> = self.with_feature("deletionVectors").await?.into_iter().collect();
        actions.push(removal(file, true, true)?);
        let mut stats: Value = serde_json::from_str(file.stats.as_deref().unwrap_or("{}"))?;
        // What is said of a file with a vector must say of how many rows, and its bounds may be those of deleted ones.
        stats["numRecords"] = json!(self.rows_in(file)?);
        stats["tightBounds"] = json!(false);
        let vector = Some(vectors::inline(rows));
        let add = Add { deletion_vector: vector, data_change: true, stats: Some(stats.to_string()), ..file.clone() };
        actions.push(serde_json::to_value(Action::Add(add))?);
        self.commit("DELETE", &actions).await
    }

    /// The upgrade of the protocol to a feature of readers and writers; none if the table has it.
    pub(crate) async fn with_feature(&self, feature: &str) -> Outcome<Option<Value>> {
        let table = self.open().await?;
        let protocol: Value = serde_json::to_value(table.snapshot()?.protocol())?;
        let features = |key: &str| protocol[key].as_array().cloned().unwrap_or_default();
        let (mut readers, mut writers) = (features("readerFeatures"), features("writerFeatures"));
        if readers.contains(&json!(feature)) {
            return Ok(None);
        }
        // Up to version 6 features come with the version.
        let implied: &[&str] = match protocol["minWriterVersion"].as_i64() {
            Some(2) => &["appendOnly", "invariants"],
            Some(3..=6) => &["appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"],
            _ => &[],
        };
        writers.extend(implied.iter().chain([&feature]).map(|name| json!(name)));
        readers.push(json!(feature));
        Ok(Some(json!({ "protocol": {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": readers,
            "writerFeatures": writers,
        } })))
    }

    /// Removes a file and says the least about it that the protocol allows.
    pub(crate) async fn remove_bare(&self, file: &Add) -> Outcome<()> {
        self.commit("DELETE", &[removal(file, true, false)?]).await
    }

    /// Removes a file that is not there, as if it had been.
    pub(crate) async fn remove_again(&self, file: &Add, data_change: bool) -> Outcome<()> {
        self.commit("DELETE", &[removal(file, data_change, true)?]).await
    }

    /// Adds a file that is already there once more, without its statistics: its rows are there once, as before.
    pub(crate) async fn add_again(&self, file: &Add, data_change: bool) -> Outcome<()> {
        // Beside a vector, how many rows there are must be said.
        let rows = self.rows_in(file)?;
        let stats = file.deletion_vector.is_some().then(|| json!({ "numRecords": rows }).to_string());
        let add = Add { stats, data_change, ..file.clone() };
        self.commit("COMPUTE STATS", &[serde_json::to_value(Action::Add(add))?]).await
    }

    /// A commit without files: an application's own version.
    pub(crate) async fn note_transaction(&self, version: u64) -> Outcome<()> {
        self.commit("STREAMING UPDATE", &[json!({ "txn": { "appId": "somebody", "version": version } })]).await
    }
}

fn removal(file: &Add, data_change: bool, is_extended: bool) -> Outcome<Value> {
    let remove = Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(COMMITTED_AT),
        extended_file_metadata: is_extended.then_some(true),
        partition_values: is_extended.then(|| file.partition_values.clone()),
        size: is_extended.then_some(file.size),
        deletion_vector: file.deletion_vector.clone(),
        ..Remove::default()
    };
    Ok(serde_json::to_value(Action::Remove(remove))?)
}

type PartitionValues = HashMap<String, Option<String>>;

/// The rows of each partition, without the columns that say which.
fn parts(batch: &RecordBatch, partitions: &[String]) -> Outcome<Vec<(PartitionValues, RecordBatch)>> {
    let columns: Vec<_> =
        partitions.iter().map(|name| partition_texts(batch.column_by_name(name).unwrap())).collect::<Outcome<_>>()?;
    let key = |row: usize| -> Vec<Option<String>> { columns.iter().map(|column| column[row].clone()).collect() };
    let keys: BTreeSet<_> = (0..batch.num_rows()).map(key).collect();
    let schema = batch.schema();
    let kept: Vec<_> =
        (0..batch.num_columns()).filter(|index| !partitions.contains(schema.field(*index).name())).collect();
    let mut parts = Vec::new();
    for part in keys {
        let own: BooleanArray = (0..batch.num_rows()).map(|row| Some(key(row) == part)).collect();
        let rows = filter_record_batch(batch, &own)?.project(&kept)?;
        parts.push((partitions.iter().cloned().zip(part).collect(), rows));
    }
    Ok(parts)
}

/// Values as they name partitions.
fn partition_texts(values: &ArrayRef) -> Outcome<Vec<Option<String>>> {
    if let DataType::Timestamp(..) = values.data_type() {
        let text =
            |micros| DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        return Ok(values.as_primitive::<TimestampMicrosecondType>().iter().map(|at| at.map(text)).collect());
    }
    let texts = cast(values, &DataType::Utf8)?;
    // An empty text is no value of a partition.
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(texts.as_string::<i32>().iter().map(text).collect())
}

fn stats_of(rows: &RecordBatch, stats: Stats) -> Option<String> {
    let count = rows.num_rows();
    let (mut least, mut greatest, mut nulls) = (json!({}), json!({}), json!({}));
    if stats == Stats::None {
        return None;
    }
    if stats == Stats::Count {
        return Some(json!({ "numRecords": count }).to_string());
    }
    let slack = i64::from(stats == Stats::Wide);
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        let name = field.name().as_str();
        nulls[name] = json!(values.null_count());
        let bounds = bounds(values, slack, stats == Stats::Zoned);
        if let Some((low, high)) = bounds {
            (least[name], greatest[name]) = (low, high);
        }
    }
    let bounds = json!({
        "numRecords": count,
        "minValues": least,
        "maxValues": greatest,
        "nullCount": nulls,
        "tightBounds": stats != Stats::Wide,
    });
    Some(bounds.to_string())
}

/// Least and greatest value as the log writes them, of the types that matter here.
fn bounds(values: &ArrayRef, slack: i64, is_zoned: bool) -> Option<(Value, Value)> {
    let ends = |values: &mut dyn Iterator<Item = i64>| {
        let values: Vec<i64> = values.collect();
        Some((*values.iter().min()?, *values.iter().max()?))
    };
    match values.data_type() {
        DataType::Int64 => {
            let (low, high) = ends(&mut values.as_primitive::<Int64Type>().iter().flatten())?;
            Some((json!(low - slack), json!(high + slack)))
        }
        DataType::Timestamp(_, zone) => {
            let (low, high) = ends(&mut values.as_primitive::<TimestampMicrosecondType>().iter().flatten())?;
            let text = |micros: i64| {
                let instant = DateTime::from_timestamp_micros(micros).unwrap();
                let text = instant.to_rfc3339_opts(SecondsFormat::Millis, true);
                let elsewhere = FixedOffset::west_opt(7 * 3600).unwrap();
                match zone {
                    Some(_) if is_zoned => {
                        instant.with_timezone(&elsewhere).to_rfc3339_opts(SecondsFormat::Millis, false)
                    }
                    Some(_) => text,
                    None => text.trim_end_matches('Z').to_owned(),
                }
            };
            let hour = 3_600_000_000;
            Some((json!(text(low - 30 * slack * hour)), json!(text(high + 30 * slack * hour))))
        }
        DataType::Date32 => {
            let (low, high) = ends(&mut values.as_primitive::<Date32Type>().iter().flatten().map(i64::from))?;
            let text = |days: i64| {
                let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
                (epoch + chrono::TimeDelta::days(days)).to_string()
            };
            Some((json!(text(low - 2 * slack)), json!(text(high + 2 * slack))))
        }
        DataType::Utf8 => {
            let texts = values.as_string::<i32>();
            let (low, high) = (texts.iter().flatten().min()?, texts.iter().flatten().max()?);
            let high = if slack == 0 { high.to_owned() } else { format!("{high}~") };
            Some((json!(if slack == 0 { low } else { "" }), json!(high)))
        }
        _ => None,
    }
}

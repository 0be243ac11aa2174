//! What can happen to a table: what delta-rs does, and, as commits written by hand, what only other writers do.

use std::path::Path;

use datafusion::prelude::SessionContext;
use deltalake::kernel::transaction::{CommitBuilder, TableReference};
use deltalake::kernel::{Action, Add, DeletionVectorDescriptor, Remove, StorageType};
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaResult, DeltaTable, DeltaTableError};
use limno_fixtures::rng::SplitMix64 as Rng;
use limno_sql::source::active_files;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::source::{Shape, TimeKind, append, open};

/// One commit, or two.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Append { day: i64, rows: usize },
    AppendSeveralFiles { day: i64 },
    AppendAndOptimise { day: i64 },
    AddColumn { day: i64 },
    Delete { predicate: &'static str },
    Update { predicate: &'static str },
    Move { days: i64 },
    Merge { day: i64 },
    Optimise,
    Overwrite { day: i64 },
    OverwriteKind { kind: &'static str, day: i64 },
    Restore { back: u64 },
    StripStatistics,
    DeletionVector { rows: u64 },
}

const PREDICATES: [&str; 6] = ["x = 3", "y > 1.0", "kind = 'a'", "n is null", "at is null", "x > 5 and kind = 'b'"];

impl Operation {
    pub(super) fn random(rng: &mut Rng) -> Self {
        // Days come and go by; late rows land anywhere before.
        let day = rng.below(24) as i64;
        let predicate = PREDICATES[rng.index(PREDICATES.len())];
        let weights = [6.0, 1.0, 1.0, 1.0, 1.5, 1.5, 0.7, 1.5, 1.5, 0.3, 0.7, 0.7, 0.5, 1.5];
        match rng.weighted(&weights) {
            0 => Self::Append { day, rows: 10 + rng.index(60) },
            1 => Self::AppendSeveralFiles { day },
            2 => Self::AppendAndOptimise { day },
            3 => Self::AddColumn { day },
            4 => Self::Delete { predicate },
            5 => Self::Update { predicate },
            6 => Self::Move { days: rng.below(5) as i64 - 2 },
            7 => Self::Merge { day },
            8 => Self::Optimise,
            9 => Self::Overwrite { day },
            10 => Self::OverwriteKind { kind: ["a", "b", "c", "d"][rng.index(4)], day },
            11 => Self::Restore { back: 1 + rng.below(4) },
            12 => Self::StripStatistics,
            _ => Self::DeletionVector { rows: 1 + rng.below(9) },
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::AppendSeveralFiles { .. } => "append of several files",
            Self::AppendAndOptimise { .. } => "append and optimise",
            Self::AddColumn { .. } => "add column",
            Self::Delete { .. } => "delete",
            Self::Update { .. } => "update",
            Self::Move { .. } => "update of the time",
            Self::Merge { .. } => "merge",
            Self::Optimise => "optimise",
            Self::Overwrite { .. } => "overwrite",
            Self::OverwriteKind { .. } => "overwrite by predicate",
            Self::Restore { .. } => "restore",
            Self::StripStatistics => "strip statistics",
            Self::DeletionVector { .. } => "deletion vector",
        }
    }

    /// # Errors
    /// When the writer cannot do it; then nothing was done.
    pub(super) fn run(&self, path: &Path, shape: &Shape, rng: &mut Rng, runtime: &Runtime) -> DeltaResult<()> {
        runtime.block_on(Box::pin(self.execute(path, shape, rng)))
    }

    async fn execute(&self, path: &Path, shape: &Shape, rng: &mut Rng) -> DeltaResult<()> {
        let table = open(path).await?;
        let extra = table.version().is_some() && table.snapshot()?.schema().field("e").is_some();
        match *self {
            Self::Append { day, rows } => append(path, vec![shape.rows(rng, day, rows, extra)], shape).await,
            Self::AppendSeveralFiles { day } => {
                let rows: Vec<_> = (0..4).map(|more| shape.rows(rng, day + more, 15, extra)).collect();
                let one = std::num::NonZeroU64::new(1);
                let write = table.write(rows).with_save_mode(SaveMode::Append).with_target_file_size(one);
                write.with_write_batch_size(15).await.map(drop)
            }
            Self::AppendAndOptimise { day } => {
                append(path, vec![shape.rows(rng, day, 20, extra)], shape).await?;
                open(path).await?.optimize().await.map(drop)
            }
            Self::AddColumn { day } => append(path, vec![shape.rows(rng, day, 20, true)], shape).await,
            Self::Delete { predicate } => table.delete().with_predicate(predicate).await.map(drop),
            Self::Update { predicate } => {
                table.update().with_predicate(predicate).with_update("y", "y * 2.0 + 1.0").await.map(drop)
            }
            Self::Move { days } => {
                let to = match shape.time {
                    TimeKind::Instant => format!("at + interval '{days} days'"),
                    TimeKind::Date => format!("arrow_cast(arrow_cast(at, 'Int32') + {days}, 'Date32')"),
                    TimeKind::Text => format!("concat('2024-01-{:02}', substr(at, 11))", days + 10),
                };
                table.update().with_predicate("x = 2 and at is not null").with_update("at", to).await.map(drop)
            }
            Self::Merge { day } => merge(table, shape, rng, day, extra).await,
            Self::Optimise => table.optimize().await.map(drop),
            Self::Overwrite { day } => {
                let rows = [shape.rows(rng, day, 50, extra), shape.rows(rng, day + 2, 50, extra)];
                table.write(rows).with_save_mode(SaveMode::Overwrite).await.map(drop)
            }
            Self::OverwriteKind { kind, day } => {
                let rows = shape.rows(rng, day, 60, extra);
                let context = SessionContext::new();
                let rows = context
                    .read_batch(rows)?
                    .filter(datafusion::prelude::col("kind").eq(datafusion::prelude::lit(kind)))?;
                let write = table.write(rows.collect().await?).with_save_mode(SaveMode::Overwrite);
                write.with_schema_mode(SchemaMode::Merge).with_replace_where(format!("kind = '{kind}'")).await.map(drop)
            }
            Self::Restore { back } => {
                let version = table.version().unwrap_or(0).saturating_sub(back);
                table.restore().with_version_to_restore(version).await.map(drop)
            }
            Self::StripStatistics => {
                // Some writers add a file once more to say something else of it.
                let files = active_files(&table)?;
                let Some(file) = pick(&files, rng) else { return Ok(()) };
                let data_change = rng.chance(0.5);
                commit(&table, vec![Action::Add(Add { stats: None, data_change, ..file.clone() })]).await
            }
            Self::DeletionVector { rows } => delete_by_vector(&table, rng, rows).await,
        }
    }
}

fn pick<'a>(files: &'a [Add], rng: &mut Rng) -> Option<&'a Add> {
    files.get(rng.index(files.len().max(1)))
}

/// Rows with ids that are there are updated, those with others inserted.
async fn merge(table: DeltaTable, shape: &Shape, rng: &mut Rng, day: i64, extra: bool) -> DeltaResult<()> {
    let context = SessionContext::new();
    let known = context.read_table(table.table_provider().await?)?.limit(0, Some(15))?.collect().await?;
    let mut source = known;
    source.push(shape.rows(rng, day, 15, extra));
    let schema = source[0].schema();
    let source: Vec<_> = source
        .into_iter()
        .map(|batch| {
            let columns = schema.fields().iter().map(|field| {
                let values = batch.column_by_name(field.name()).expect("the same columns");
                arrow::compute::cast(values, field.data_type()).expect("the same types")
            });
            arrow::array::RecordBatch::try_new(std::sync::Arc::clone(&schema), columns.collect())
                .expect("the same rows")
        })
        .collect();
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let merge = table
        .merge(context.read_batches(source)?, "t.id = s.id")
        .with_source_alias("s")
        .with_target_alias("t")
        .when_matched_update(|update| update.update("y", "s.y + 1.0"))?
        .when_not_matched_insert(|insert| {
            columns.iter().fold(insert, |insert, name| insert.set(name.as_str(), format!("s.{name}")))
        })?;
    merge.await.map(drop)
}

async fn commit(table: &DeltaTable, actions: Vec<Action>) -> DeltaResult<()> {
    let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
    // Checked like any commit but for what the writer itself can do.
    let builder = CommitBuilder::default().with_actions(actions);
    let reference: &dyn TableReference = table.snapshot()?.snapshot();
    builder.build(Some(reference), table.log_store(), operation).await.map(drop)
}

/// Appends a commit to the log as it is.
async fn write_commit(table: &DeltaTable, actions: &[Value]) -> DeltaResult<()> {
    let version = table.version().unwrap_or(0) + 1;
    let path = table.table_url().to_file_path().expect("a folder").join(format!("_delta_log/{version:020}.json"));
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    std::fs::write(path, lines.join("\n"))?;
    Ok(())
}

/// Deletes the first so many of some rows of a file by a deletion vector, as Spark and Databricks do.
async fn delete_by_vector(table: &DeltaTable, rng: &mut Rng, rows: u64) -> DeltaResult<()> {
    let files = active_files(table)?;
    let Some(file) = pick(&files, rng) else { return Ok(()) };
    let statistics: Value = serde_json::from_str(file.stats.as_deref().unwrap_or("{}")).unwrap_or_default();
    let Some(held) = statistics["numRecords"].as_u64() else {
        return Err(DeltaTableError::generic("the file does not say how many rows it has"));
    };
    // Rows that the vector before deleted stay deleted: vectors only grow.
    let before = file.deletion_vector.as_ref().map_or(0, |vector| u64::try_from(vector.cardinality).unwrap_or(0));
    let deleted: Vec<u16> =
        (0..(before + rows).min(held)).map(|row| u16::try_from(row).expect("small files")).collect();
    if deleted.len() as u64 == before {
        return Err(DeltaTableError::generic("the file has no rows left"));
    }
    let vector = deletion_vector(&deleted);
    let remove = Remove {
        path: file.path.clone(),
        data_change: true,
        deletion_timestamp: Some(0),
        deletion_vector: file.deletion_vector.clone(),
        ..Remove::default()
    };
    // What was true of the file's values still bounds them.
    let add = Add { deletion_vector: Some(vector), data_change: true, ..file.clone() };
    let mut actions = Vec::new();
    let protocol = table.snapshot()?.protocol();
    if protocol.min_reader_version() < 3 {
        let features = ["deletionVectors"];
        actions.push(json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": features, "writerFeatures": features } }));
    }
    actions.push(json!({ "remove": serde_json::to_value(remove).expect("JSON") }));
    actions.push(json!({ "add": serde_json::to_value(add).expect("JSON") }));
    write_commit(table, &actions).await
}

/// The vector that deletes these rows, in line: a roaring bitmap of 64-bit numbers with one array of 16-bit ones.
fn deletion_vector(rows: &[u16]) -> DeletionVectorDescriptor {
    let mut bytes = Vec::new();
    bytes.extend(1_681_511_377_u32.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(12_346_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend((u16::try_from(rows.len()).expect("few") - 1).to_le_bytes());
    bytes.extend(16_u32.to_le_bytes());
    rows.iter().for_each(|row| bytes.extend(row.to_le_bytes()));
    let size = bytes.len();
    bytes.resize(size.next_multiple_of(4), 0);
    DeletionVectorDescriptor {
        storage_type: StorageType::Inline,
        path_or_inline_dv: z85(&bytes),
        offset: None,
        size_in_bytes: i32::try_from(size).expect("small"),
        cardinality: rows.len() as i64,
    }
}

/// ZeroMQ's base 85.
fn z85(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let mut text = String::new();
    for four in bytes.chunks(4) {
        let number = four.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        for place in (0..5).rev() {
            text.push(char::from(DIGITS[(number / 85_u64.pow(place) % 85) as usize]));
        }
    }
    text
}

//! The table whose history is made up: its shapes, and rows for it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, TimeDelta};
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder};
use limno_fixtures::rng::SplitMix64 as Rng;
use tokio::runtime::Runtime;
use url::Url;

use crate::support_run::{Place, instant};

/// What the time column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeKind {
    Instant,
    Date,
    Text,
}

/// How a table is laid out.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) time: TimeKind,
    pub(super) partition: Option<&'static str>,
}

impl Shape {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let time =
            [TimeKind::Instant, TimeKind::Instant, TimeKind::Instant, TimeKind::Date, TimeKind::Text][rng.index(5)];
        let partition = match (rng.below(4), time) {
            (0, _) => Some("kind"),
            // Instants would make a folder each.
            (1, TimeKind::Date) => Some("at"),
            _ => None,
        };
        Self { time, partition }
    }

    /// Rows of a day, which is counted from the first of January 2024; some have no time.
    pub(super) fn rows(&self, rng: &mut Rng, day: i64, rows: usize, extra: bool) -> RecordBatch {
        let start = instant("2024-01-01T00:00:00Z") + TimeDelta::days(day);
        let instants: Vec<Option<DateTime<_>>> = (0..rows)
            .map(|_| (!rng.chance(0.02)).then(|| start + TimeDelta::microseconds(rng.below(86_400_000_000) as i64)))
            .collect();
        let at: ArrayRef = match self.time {
            TimeKind::Instant => {
                let micros = instants.iter().map(|at| at.map(|at| at.timestamp_micros()));
                Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            TimeKind::Date => {
                let days = instants.iter().map(|at| at.map(|at| i32::try_from(at.timestamp() / 86_400).unwrap()));
                Arc::new(days.collect::<Date32Array>())
            }
            TimeKind::Text => Arc::new(instants.iter().map(|at| at.map(|at| at.to_rfc3339())).collect::<StringArray>()),
        };
        let of = |rng: &mut Rng, names: &[&'static str]| names[rng.index(names.len())];
        let ids: Int64Array = (0..rows).map(|_| Some(rng.below(1 << 40) as i64)).collect();
        let x: Float64Array = (0..rows).map(|_| Some(rng.below(8) as f64)).collect();
        let y: Float64Array = (0..rows).map(|_| Some(rng.normal())).collect();
        let n: Int64Array = (0..rows).map(|_| (!rng.chance(0.2)).then(|| rng.below(10) as i64)).collect();
        let kinds: StringArray = (0..rows).map(|_| Some(of(rng, &["a", "b", "c", "d"]))).collect();
        let models: StringArray = (0..rows).map(|_| (!rng.chance(0.05)).then(|| of(rng, &["m1", "m2"]))).collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("at", at),
            ("id", Arc::new(ids)),
            ("x", Arc::new(x)),
            ("y", Arc::new(y)),
            ("n", Arc::new(n)),
            ("kind", Arc::new(kinds)),
            ("model", Arc::new(models)),
        ];
        if extra {
            let e: Float64Array = (0..rows).map(|_| (!rng.chance(0.3)).then(|| rng.normal().exp())).collect();
            columns.push(("e", Arc::new(e)));
        }
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true)))
            .unwrap()
    }

    /// Both baselines: a file, and a table that can move.
    pub(super) fn write_baselines(&self, place: &Place, rng: &mut Rng, runtime: &Runtime) {
        let rows = self.rows(rng, -30, 150, false);
        place.parquet("before.parquet", &rows);
        runtime.block_on(append(&place.path("before"), vec![rows], self)).unwrap();
    }

    pub(super) fn move_baseline(&self, place: &Place, rng: &mut Rng, runtime: &Runtime) {
        let rows = self.rows(rng, -29, 40, false);
        runtime.block_on(append(&place.path("before"), vec![rows], self)).unwrap();
    }
}

/// The table at a path; one that is not there yet can be written.
pub(super) async fn open(path: &Path) -> DeltaResult<DeltaTable> {
    std::fs::create_dir_all(path)?;
    let builder = DeltaTableBuilder::from_url(Url::from_directory_path(path.canonicalize()?).unwrap())?;
    if path.join("_delta_log").exists() { builder.load().await } else { builder.build() }
}

pub(super) async fn append(path: &Path, rows: Vec<RecordBatch>, shape: &Shape) -> DeltaResult<()> {
    let table = open(path).await?;
    let partitions = shape.partition.filter(|_| table.version().is_none());
    let mut write = table.write(rows).with_save_mode(SaveMode::Append).with_schema_mode(SchemaMode::Merge);
    if let Some(partition) = partitions {
        write = write.with_partition_columns([partition]);
    }
    write.await.map(drop)
}

pub(super) fn count(path: &Path, runtime: &Runtime) -> usize {
    runtime.block_on(async {
        let context = datafusion::prelude::SessionContext::new();
        let source = limno_sql::source::Source::open(&context, path.to_str().unwrap()).await.unwrap();
        context.read_table(source.provider).unwrap().count().await.unwrap()
    })
}

pub(super) fn files(path: &Path, runtime: &Runtime) -> usize {
    runtime.block_on(async { open(path).await.unwrap().snapshot().unwrap().log_data().num_files() })
}

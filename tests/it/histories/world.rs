//! What a history changes: the watched table, its baseline, and the steps that are taken.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use limno_fixtures::SplitMix64;

use super::lake::{Lake, Outcome};
use super::rows::{DAY, Face, Row, RowMaker, schema, with_extra};

/// The steps taken so far, for messages; kept also when a step panics.
pub(crate) type Steps = Arc<Mutex<Vec<String>>>;

/// The tables, and where their history is.
pub(crate) struct World {
    pub(crate) lake: Lake,
    pub(crate) rng: SplitMix64,
    pub(crate) maker: RowMaker,
    pub(crate) partitions: Vec<&'static str>,
    properties: Vec<(&'static str, &'static str)>,
    pub(crate) first_day: i64,
    /// The day after the last one that has rows.
    pub(crate) next_day: i64,
    /// Whether rows may be deleted by vectors.
    pub(crate) may_have_vectors: bool,
    /// Whether the log maps the names of columns. Such a table delta-rs neither compacts nor gives other columns.
    pub(crate) is_mapped: bool,
    /// The deleted rows by vector.
    pub(crate) vectors: HashMap<String, BTreeSet<u16>>,
    /// The oldest version that the log can still tell.
    pub(crate) oldest: u64,
    /// Names of files by hand.
    pub(crate) files: usize,
    pub(crate) steps: Steps,
}

impl World {
    /// A table with its first rows.
    pub(crate) async fn new(folder: &Path, seed: u64, steps: Steps) -> Outcome<Self> {
        let root = SplitMix64::new(seed);
        let mut rng = root.stream("table");
        let face = [Face::Instant, Face::Wall, Face::Text][rng.weighted(&[6.0, 1.5, 2.0])];
        let partitions = [vec![], vec!["kind"], vec!["day"], vec!["day", "kind"], vec!["model"], vec!["at"]];
        let partitions = partitions[rng.weighted(&[5.0, 2.0, 2.5, 0.7, 0.7, 1.0])].clone();
        // January, or the days around the one on which Berlin changes its clocks.
        let first_day = if rng.chance(0.75) { 19_723 } else { 19_806 };
        let mut properties = Vec::new();
        if rng.chance(0.2) {
            properties.push(("delta.dataSkippingNumIndexedCols", ["0", "3", "4"][rng.index(3)]));
        }
        if rng.chance(0.15) {
            properties.push(("delta.checkpointInterval", "4"));
        }
        if rng.chance(0.1) {
            properties.push(("delta.checkpoint.writeStatsAsJson", "false"));
            properties.push(("delta.checkpoint.writeStatsAsStruct", "true"));
        }
        let is_mapped = rng.chance(0.15);
        if rng.chance(0.1) && !is_mapped {
            properties.push(("delta.enableChangeDataFeed", "true"));
        }
        let maker = RowMaker {
            rng: root.stream("rows"),
            face,
            next_id: 0,
            is_odd: rng.chance(0.3),
            is_coarse: partitions.contains(&"at"),
            // Names may be swapped.
            has_empty: !partitions.contains(&"kind") && !partitions.contains(&"model"),
        };
        let may_have_vectors = rng.chance(0.6);
        let mut world = Self {
            lake: Lake::at(folder),
            rng,
            maker,
            partitions,
            properties,
            first_day,
            next_day: first_day + 3,
            may_have_vectors,
            is_mapped,
            vectors: HashMap::new(),
            oldest: 0,
            files: 0,
            steps,
        };
        world.create().await?;
        Ok(world)
    }

    /// Says what the next step is, before it is taken.
    pub(crate) fn say(&self, step: impl Into<String>) {
        self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(step.into());
    }

    pub(crate) async fn create(&mut self) -> Outcome<()> {
        let count = 20 + self.rng.below(150);
        self.say(format!(
            "create: {count} rows, at is {:?}, partitioned by {:?}, {:?}",
            self.maker.face, self.partitions, self.properties
        ));
        let rows = self.maker.rows(count, self.first_day..self.next_day);
        let batch = self.maker.batch(&rows);
        self.lake.create(batch, &self.partitions, &self.properties).await?;
        self.oldest = 0;
        if self.is_mapped {
            self.say("map the names of columns");
            self.lake.map_columns().await?;
            self.oldest = 1;
        }
        Ok(())
    }

    /// A few rows mostly, many sometimes, one seldom.
    pub(crate) fn count(&mut self) -> u64 {
        match self.rng.below(10) {
            0 => 1,
            1 => 100 + self.rng.below(200),
            _ => 3 + self.rng.below(60),
        }
    }

    /// One of the days that may have rows.
    pub(crate) fn some_day(&mut self) -> i64 {
        self.first_day + i64::try_from(self.rng.below(u64::try_from(self.next_day - self.first_day).unwrap())).unwrap()
    }

    /// Days that may have rows, half open.
    pub(crate) fn some_days(&mut self) -> std::ops::Range<i64> {
        let start = self.some_day();
        start..(start + 1 + i64::try_from(self.rng.below(3)).unwrap()).min(self.next_day)
    }

    /// The rows in the columns that the table has now.
    pub(crate) async fn batch(&mut self, rows: &[Row]) -> Outcome<RecordBatch> {
        let batch = self.maker.batch(rows);
        Ok(match self.extra().await? {
            Some(data_type) => with_extra(&batch, &data_type),
            None => batch,
        })
    }

    /// The type of the column that is not always there.
    pub(crate) async fn extra(&self) -> Outcome<Option<DataType>> {
        let table = self.lake.open().await?;
        let schema = table.snapshot()?.snapshot().arrow_schema();
        let data_type = schema.field_with_name("extra").ok().map(|field| field.data_type().clone());
        Ok(data_type.map(|data_type| if data_type == DataType::Utf8View { DataType::Utf8 } else { data_type }))
    }

    pub(crate) fn some_kind(&mut self) -> Option<&'static str> {
        self.maker.kind(&mut self.rng)
    }

    /// An instant as a value of the column `at`.
    pub(crate) fn time(&self, micros: i64) -> Expr {
        lit(match self.maker.face {
            Face::Instant => ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())),
            Face::Wall => ScalarValue::TimestampMicrosecond(Some(micros), None),
            Face::Text => {
                let instant = chrono::DateTime::from_timestamp_micros(micros).unwrap();
                ScalarValue::Utf8(Some(instant.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
            }
        })
    }

    /// Some rows of the table.
    pub(crate) fn predicate(&mut self) -> Expr {
        let modulus = 2 + i64::try_from(self.rng.below(9)).unwrap();
        let ids = i64::try_from(self.rng.below(u64::try_from(self.maker.next_id).unwrap())).unwrap();
        let days = self.some_days();
        match self.rng.below(10) {
            0 | 1 => (col("id") % lit(modulus)).eq(lit(ids % modulus)),
            2 => col("day").eq(date(days.start)),
            3 => col("day").between(date(days.start), date(days.end)),
            4 => match self.some_kind() {
                Some(kind) => col("kind").eq(lit(kind)),
                None => col("kind").is_null(),
            },
            5 => col("flat").gt_eq(lit(2 + i32::try_from(self.rng.below(3)).unwrap())),
            6 => {
                let hour = i64::try_from(self.rng.below(24)).unwrap();
                let from = self.time(days.start * DAY + hour * DAY / 24);
                col("at").gt_eq(from).and(col("at").lt(self.time(days.end * DAY)))
            }
            7 => col("id").between(lit(ids), lit(ids + 30)),
            8 => col("wide").gt(lit(5.0)).and(col("kind").eq(lit("a"))),
            _ => col("at").is_null().and((col("id") % lit(2_i64)).eq(lit(0_i64))),
        }
    }

    /// The columns without the one that is not always there.
    pub(crate) fn plain_schema(&self) -> arrow::datatypes::SchemaRef {
        schema(self.maker.face)
    }
}

pub(crate) fn date(day: i64) -> Expr {
    lit(ScalarValue::Date32(Some(i32::try_from(day).unwrap())))
}

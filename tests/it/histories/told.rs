//! Labels that come later, for rows that are there, that come after them, or that never do.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use limno_fixtures::SplitMix64;

use super::lake::{Lake, Outcome};

/// The folder of the table.
pub(crate) const FOLDER: &str = "told";
const CLASSES: [Option<&str>; 5] = [Some("0"), Some("1"), Some("2"), Some("ü"), None];
const CHANGES: [(&str, f64); 8] = [
    ("append", 8.0),
    ("update", 4.0),
    ("delete", 3.0),
    ("optimise", 2.0),
    ("overwrite", 1.0),
    ("restore", 1.0),
    ("swap names", 1.0),
    ("drop and create anew", 0.3),
];

/// The table of labels.
pub(crate) struct Told {
    lake: Lake,
    pub(crate) rng: SplitMix64,
    is_mapped: bool,
}

impl Told {
    /// A table with the labels of some of the ids below `next`.
    pub(crate) async fn begin(folder: &Path, mut rng: SplitMix64, next: i64) -> Outcome<Self> {
        let is_mapped = rng.chance(0.2);
        let mut told = Self { lake: Lake::at(&folder.join(FOLDER)), rng, is_mapped };
        told.create(next).await?;
        Ok(told)
    }

    async fn create(&mut self, next: i64) -> Outcome<()> {
        let rows = self.rows(next);
        self.lake.create(rows, &[], &[]).await?;
        if self.is_mapped { self.lake.map_columns().await } else { Ok(()) }
    }

    /// Labels of ids, a few of which no row has or has yet; some twice, some without a value.
    fn rows(&mut self, next: i64) -> RecordBatch {
        let rng = &mut self.rng;
        let count = if rng.chance(0.2) { 200 } else { 1 + rng.below(20) };
        let first = if rng.chance(0.5) { 0 } else { rng.below(u64::try_from(next).unwrap() + 1) };
        let span = u64::try_from(next).unwrap() - first + 30;
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let id = i64::try_from(first + rng.below(span)).unwrap();
            columns.0.push((!rng.chance(0.02)).then_some(id));
            columns.1.push(match rng.below(20) {
                0 => None,
                1 => Some(f64::NAN),
                2 => Some(f64::INFINITY),
                // Few values, so that what is told twice is often the same.
                _ => Some(rng.below(3) as f64 - 1.0),
            });
            columns.2.push(CLASSES[rng.index(CLASSES.len())]);
            columns.3.push((!rng.chance(0.1)).then(|| i32::try_from(rng.below(4)).unwrap()));
            columns.4.push(Some(id + 1));
        }
        let columns: [(&str, ArrayRef); 5] = [
            ("id", Arc::new(Int64Array::from(columns.0))),
            ("fact", Arc::new(Float64Array::from(columns.1))),
            ("class", Arc::new(StringArray::from(columns.2))),
            ("since", Arc::new(Int32Array::from(columns.3))),
            ("next", Arc::new(Int64Array::from(columns.4))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true))).unwrap()
    }

    /// Some of the labels.
    fn predicate(&mut self) -> Expr {
        let number = i64::try_from(self.rng.below(7)).unwrap();
        match self.rng.below(3) {
            0 => (col("id") % lit(7_i64)).eq(lit(number)),
            1 => col("fact").eq(lit(number as f64 - 1.0)),
            _ => col("since").gt(lit(2)),
        }
    }

    /// Changes the table; says how. Ids below `next` are those of rows.
    pub(crate) async fn change(&mut self, next: i64) -> Outcome<&'static str> {
        let what = CHANGES[self.rng.weighted(&CHANGES.map(|(_, weight)| weight))].0;
        let rows = self.rows(next);
        let predicate = self.predicate();
        match what {
            // A mapped table delta-rs does not compact.
            "swap names" | "optimise" if (what == "optimise") == self.is_mapped => self.lake.append(rows).await?,
            "append" => self.lake.append(rows).await?,
            "update" => {
                let value: (&str, Expr) = match self.rng.below(3) {
                    0 => ("fact", col("fact") + lit(1.0)),
                    1 => ("since", lit(3)),
                    _ => ("id", col("id") + lit(1_i64)),
                };
                self.lake.update(Some(predicate), vec![value]).await?;
            }
            "delete" => self.lake.delete(Some(predicate)).await?,
            "optimise" => self.lake.optimize(None).await?,
            "overwrite" => self.lake.overwrite(rows).await?,
            "restore" => {
                let version = self.lake.version().await?;
                // A mapped table is not taken back to when its names were not mapped.
                let oldest = u64::from(self.is_mapped);
                if version <= oldest {
                    self.lake.append(rows).await?;
                    return Ok("append");
                }
                self.lake.restore(oldest + self.rng.below(version - oldest)).await?;
            }
            "swap names" => self.lake.swap_names("id", "next").await?,
            _ => {
                self.lake.drop_table();
                self.create(next).await?;
            }
        }
        Ok(what)
    }
}

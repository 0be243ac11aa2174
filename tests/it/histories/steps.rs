//! One step of a history: mostly one commit, at random.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use deltalake::kernel::{Add, DataType as DeltaType};

use super::hand::Stats;
use super::lake::Outcome;
use super::rows::{DAY, Row, with_extra};
use super::world::{World, date};

/// The steps and how often they are taken.
pub(crate) const STEPS: [(&str, f64); 34] = [
    ("append", 14.0),
    ("append late rows", 8.0),
    ("append many files", 4.0),
    ("append by hand", 9.0),
    ("append narrow files", 2.0),
    ("append nothing", 0.7),
    ("append rows without time", 2.0),
    ("append far rows", 0.7),
    ("append and optimise", 3.0),
    ("append and take back", 1.5),
    ("delete", 8.0),
    ("delete all", 0.6),
    ("update", 6.0),
    ("move to another time", 7.0),
    ("merge", 6.0),
    ("merge and delete", 2.0),
    ("optimise", 6.0),
    ("optimise in order", 2.0),
    ("overwrite", 1.5),
    ("overwrite columns too", 1.0),
    ("overwrite where", 5.0),
    ("restore", 5.0),
    ("add a column with rows", 2.0),
    ("add a column alone", 1.5),
    ("delete by vector", 9.0),
    ("remove a file bare", 3.0),
    ("add a file again", 3.0),
    ("remove a file again", 0.7),
    ("swap names", 2.0),
    ("drop a column", 1.5),
    ("change a property", 1.5),
    ("note a transaction", 1.0),
    ("write a checkpoint", 2.0),
    ("cut the log", 1.0),
];

/// What the table is created anew with, seldom.
pub(crate) const ANEW: &str = "drop and create anew";

impl World {
    /// Takes a step; false if there is nothing that it could be done to.
    pub(crate) async fn take(&mut self, step: &'static str) -> Outcome<bool> {
        match step {
            "append" => self.append(0.0).await,
            "append late rows" => self.append(1.0).await,
            "append many files" => self.append_many().await,
            "append by hand" => self.append_hand().await,
            "append nothing" => {
                self.say("append nothing");
                self.append_rows(&[]).await
            }
            "append rows without time" => {
                let count = 1 + self.rng.below(20);
                let rows = self.maker.timeless(count);
                self.say(format!("append {count} rows without time"));
                self.append_rows(&rows).await
            }
            "append far rows" => {
                // The years 1901 and 2150.
                let day = if self.rng.chance(0.5) { -25_200 } else { 65_800 };
                let rows = self.maker.rows(2, day..day + 40);
                self.say(format!("append 2 rows after day {day}"));
                self.append_rows(&rows).await
            }
            "append and optimise" => {
                self.append(0.3).await?;
                self.take_optimise(None).await
            }
            "append and take back" => {
                let version = self.lake.version().await?;
                self.append(0.5).await?;
                self.say(format!("restore version {version}"));
                self.lake.restore(version).await?;
                Ok(true)
            }
            "delete" => {
                let predicate = self.predicate();
                self.say(format!("delete where {predicate}"));
                self.lake.delete(Some(predicate)).await?;
                Ok(true)
            }
            "delete all" => {
                self.say("delete all");
                self.lake.delete(None).await?;
                Ok(true)
            }
            "update" => self.update().await,
            "move to another time" => self.relocate().await,
            "merge" => self.merge(false).await,
            "merge and delete" => self.merge(true).await,
            "optimise" => self.take_optimise(None).await,
            "optimise in order" => self.take_optimise(Some("wide")).await,
            "overwrite" | "overwrite columns too" => self.overwrite(step).await,
            "overwrite where" => self.replace().await,
            "restore" => self.restore().await,
            "add a column with rows" | "add a column alone" => self.add_column(step).await,
            "delete by vector" => self.delete_by_vector().await,
            "remove a file bare" | "add a file again" => self.by_hand(step).await,
            "remove a file again" => self.remove_again().await,
            "append narrow files" => self.append_narrow().await,
            "swap names" | "drop a column" => self.map(step).await,
            "change a property" => {
                self.say("change a property");
                self.lake.set_property(&format!("{}", self.rng.below(1000))).await?;
                Ok(true)
            }
            "note a transaction" => {
                self.say("note a transaction");
                self.lake.note_transaction(self.rng.below(1000)).await?;
                Ok(true)
            }
            "write a checkpoint" | "cut the log" => {
                self.say(step);
                let version = self.lake.checkpoint().await?;
                if step == "cut the log" {
                    self.lake.cut_log_before(version);
                    self.oldest = version;
                }
                Ok(true)
            }
            _ => {
                self.say(step);
                self.lake.drop_table();
                self.create().await?;
                Ok(true)
            }
        }
    }

    async fn append_rows(&mut self, rows: &[Row]) -> Outcome<bool> {
        let batch = self.batch(rows).await?;
        if self.is_mapped {
            self.lake.append(batch).await?;
        } else {
            self.lake.append_merging(batch).await?;
        }
        Ok(true)
    }

    /// New rows, of new days or of some that were there.
    async fn append(&mut self, late: f64) -> Outcome<bool> {
        let count = self.count();
        let days = self.days(late);
        self.say(format!("append {count} rows of days {days:?}"));
        let rows = self.maker.rows(count, days);
        let batch = self.batch(&rows).await?;
        self.lake.append(batch).await?;
        Ok(true)
    }

    fn days(&mut self, late: f64) -> std::ops::Range<i64> {
        if self.rng.chance(late) {
            return self.some_days();
        }
        // A day may be left out, and the last one may get more.
        let start = self.next_day + [-1, 0, 0, 0, 1, 2][self.rng.index(6)];
        self.next_day = (start + 1 + i64::try_from(self.rng.below(2)).unwrap()).max(self.next_day);
        start..self.next_day
    }

    async fn append_many(&mut self) -> Outcome<bool> {
        let days = self.first_day..self.next_day + 1;
        self.next_day += 1;
        let count = 40 + self.rng.below(80);
        self.say(format!("append {count} rows of days {days:?} in many files"));
        let rows = self.maker.rows(count, days);
        let batch = self.batch(&rows).await?;
        self.lake.append_files(batch).await?;
        Ok(true)
    }

    async fn append_hand(&mut self) -> Outcome<bool> {
        let stats = [Stats::None, Stats::Count, Stats::Full, Stats::Zoned, Stats::Wide][self.rng.index(5)];
        let mut batches: Vec<RecordBatch> = Vec::new();
        let files = 1 + self.rng.below(3);
        let mut said = format!("append by hand with statistics {stats:?}:");
        for _ in 0..files {
            let (count, days) = (self.count(), self.days(0.5));
            said.push_str(&format!(" {count} rows of days {days:?},"));
            let rows = self.maker.rows(count, days);
            batches.push(self.batch(&rows).await?);
        }
        self.say(said);
        let name = self.file_name();
        self.lake.append_by_hand(&name, &batches, stats).await?;
        Ok(true)
    }

    fn file_name(&mut self) -> String {
        self.files += 1;
        let style = ["by-hand", "by hand/ü%20", "a=b/by+hand"][self.rng.index(3)];
        format!("{style}-{}", self.files)
    }

    /// Many files, each of a short time.
    async fn append_narrow(&mut self) -> Outcome<bool> {
        let (count, days) = (60 + self.rng.below(120), self.some_day()..self.next_day);
        let mut rows = self.maker.rows(count, days.clone());
        rows.sort_by_key(|row| row.at);
        let each = 1 + self.rng.index(3);
        self.say(format!("append {count} rows of days {days:?} in the order of time, {each} in a file"));
        let batch = self.batch(&rows).await?;
        let starts = (0..batch.num_rows()).step_by(each);
        let batches: Vec<_> = starts.map(|start| batch.slice(start, each.min(batch.num_rows() - start))).collect();
        let name = self.file_name();
        self.lake.append_by_hand(&name, &batches, Stats::Full).await?;
        Ok(true)
    }

    async fn update(&mut self) -> Outcome<bool> {
        let predicate = self.rng.chance(0.95).then(|| self.predicate());
        let values: Vec<(&str, Expr)> = match self.rng.below(5) {
            0 => vec![("wide", col("wide") * lit(2.0) + lit(1.0))],
            1 => vec![("flat", lit(7_i32)), ("opt", lit(ScalarValue::Int64(None)))],
            2 => vec![("kind", lit(self.some_kind().unwrap_or("z")))],
            3 => vec![("model", lit("m2"))],
            // Files are written anew, and nothing changes.
            _ => vec![("flat", col("flat"))],
        };
        self.say(format!("update {} where {}", shown(&values), shown_or_all(predicate.as_ref())));
        self.lake.update(predicate, values).await?;
        Ok(true)
    }

    /// An update of the time itself: rows leave one window for another.
    async fn relocate(&mut self) -> Outcome<bool> {
        let predicate = self.predicate();
        let day = self.some_day();
        let half_hour = i64::try_from(self.rng.below(48)).unwrap();
        let at = self.time(day * DAY + half_hour * DAY / 48);
        let nothing = || lit(ScalarValue::Null);
        let values = match self.rng.below(5) {
            0 => vec![("at", at)],
            1 => vec![("day", date(day))],
            2 => vec![("at", nothing()), ("day", nothing())],
            _ => vec![("at", at), ("day", date(day))],
        };
        self.say(format!("update {} where {predicate}", shown(&values)));
        self.lake.update(Some(predicate), values).await?;
        Ok(true)
    }

    async fn merge(&mut self, deletes: bool) -> Outcome<bool> {
        let days = if self.rng.chance(0.5) { self.some_days() } else { self.first_day..self.next_day };
        let known = u64::try_from(self.maker.next_id).unwrap();
        let count = self.count().min(80);
        let mut rows = self.maker.rows(count, days.clone());
        let ids: BTreeSet<u64> = (0..count / 2).map(|_| self.rng.below(known)).collect();
        for (row, id) in rows.iter_mut().zip(&ids) {
            row.id = i64::try_from(*id).unwrap();
        }
        let unmatched = deletes.then(|| {
            let day = self.some_day();
            let column = |name: &str| Expr::Column(datafusion::common::Column::new(Some("target"), name));
            column("day").eq(date(day)).and((column("id") % lit(3_i64)).eq(lit(0_i64)))
        });
        self.say(format!(
            "merge {count} rows of days {days:?}, ids {ids:?}{}",
            unmatched.as_ref().map_or(String::new(), |predicate| format!(", delete where {predicate}"))
        ));
        let batch = self.batch(&rows).await?;
        self.lake.merge(batch, unmatched).await?;
        Ok(true)
    }

    async fn take_optimise(&mut self, by: Option<&'static str>) -> Outcome<bool> {
        if self.is_mapped {
            return Ok(false);
        }
        self.say(format!("optimise{}", by.map_or(String::new(), |by| format!(" in the order of {by}"))));
        self.lake.optimize(by).await?;
        Ok(true)
    }

    async fn overwrite(&mut self, step: &str) -> Outcome<bool> {
        if self.is_mapped && step != "overwrite" {
            return Ok(false);
        }
        let (count, days) = (self.count() + 20, self.first_day..self.next_day);
        self.say(format!("{step}: {count} rows of days {days:?}"));
        let rows = self.maker.rows(count, days);
        if step == "overwrite" {
            let batch = self.batch(&rows).await?;
            self.lake.overwrite(batch).await?;
        } else {
            let batch = self.maker.batch(&rows);
            assert_eq!(batch.schema(), self.plain_schema());
            self.lake.overwrite_schema(batch).await?;
        }
        Ok(true)
    }

    async fn replace(&mut self) -> Outcome<bool> {
        let count = self.count();
        let days = self.some_days();
        let mut rows = self.maker.rows(count, days.clone());
        let predicate = match self.some_kind().filter(|kind| !kind.is_empty() && self.rng.chance(0.4)) {
            Some(kind) => {
                rows.iter_mut().for_each(|row| row.kind = Some(kind));
                col("kind").eq(lit(kind))
            }
            None => {
                rows.retain(|row| row.day.is_some());
                col("day").gt_eq(date(days.start)).and(col("day").lt(date(days.end)))
            }
        };
        self.say(format!("overwrite where {predicate} with {} rows", rows.len()));
        let batch = self.batch(&rows).await?;
        self.lake.replace_where(predicate, batch).await?;
        Ok(true)
    }

    async fn restore(&mut self) -> Outcome<bool> {
        let newest = self.lake.version().await?;
        if newest <= self.oldest {
            return Ok(false);
        }
        let furthest = if self.rng.chance(0.7) { 4 } else { 30 };
        let back = 1 + self.rng.below(furthest.min(newest - self.oldest));
        self.say(format!("restore version {}", newest - back));
        self.lake.restore(newest - back).await?;
        Ok(true)
    }

    async fn add_column(&mut self, step: &str) -> Outcome<bool> {
        if self.extra().await?.is_some() {
            return Ok(false);
        }
        let types = [DataType::Float64, DataType::Int64, DataType::Utf8, DataType::Boolean];
        let index = self.rng.index(types.len());
        if step == "add a column alone" {
            self.say(format!("add column extra {}", types[index]));
            let delta = [DeltaType::DOUBLE, DeltaType::LONG, DeltaType::STRING, DeltaType::BOOLEAN];
            if self.is_mapped {
                let name = ["double", "long", "string", "boolean"][index];
                self.lake.add_mapped_column("extra", name).await?;
            } else {
                self.lake.add_column("extra", delta[index].clone()).await?;
            }
        } else if self.is_mapped {
            return Ok(false);
        } else {
            let (count, days) = (self.count(), self.days(0.5));
            self.say(format!("append {count} rows of days {days:?} with column extra {}", types[index]));
            let rows = self.maker.rows(count, days);
            let batch = with_extra(&self.maker.batch(&rows), &types[index]);
            self.lake.append_merging(batch).await?;
        }
        Ok(true)
    }

    async fn delete_by_vector(&mut self) -> Outcome<bool> {
        let files = self.lake.files(None).await?;
        if !self.may_have_vectors || files.is_empty() {
            return Ok(false);
        }
        let file = &files[self.rng.index(files.len())];
        let count = self.lake.rows_in(file)?;
        let before = match &file.deletion_vector {
            None => BTreeSet::new(),
            Some(vector) => self.vectors[&vector.path_or_inline_dv].clone(),
        };
        let share = if self.rng.chance(0.05) { 1.0 } else { 0.3 };
        let mut rows = before.clone();
        rows.extend((0..u16::try_from(count)?).filter(|_| self.rng.chance(share)));
        if rows == before {
            return Ok(false);
        }
        self.say(format!("delete by vector {rows:?} of {count} rows of {}", file.path));
        self.lake.delete_rows(file, &rows).await?;
        self.vectors.insert(super::vectors::inline(&rows).path_or_inline_dv, rows);
        Ok(true)
    }

    /// Removes a file that was there some versions ago and is no longer.
    async fn remove_again(&mut self) -> Outcome<bool> {
        let newest = self.lake.version().await?;
        if newest <= self.oldest {
            return Ok(false);
        }
        let version = newest - 1 - self.rng.below((newest - self.oldest).min(5));
        let now = self.lake.files(None).await?;
        let is_gone = |file: &Add| now.iter().all(|other| other.path != file.path);
        let gone: Vec<_> = self.lake.files(Some(version)).await?.into_iter().filter(is_gone).collect();
        if gone.is_empty() {
            return Ok(false);
        }
        let (file, data_change) = (&gone[self.rng.index(gone.len())], self.rng.chance(0.3));
        self.say(format!("remove again, a change of data: {data_change}: {}", file.path));
        self.lake.remove_again(file, data_change).await?;
        Ok(true)
    }

    async fn map(&mut self, step: &str) -> Outcome<bool> {
        if !self.is_mapped {
            return Ok(false);
        }
        if step == "swap names" {
            // All that a monitor says of the one can be said of the other. A column that files are kept apart by keeps
            // its name: delta-rs fails to delete from a table where it has another one than what is stored.
            let is_apart = self.partitions.iter().any(|name| ["kind", "model"].contains(name));
            let [one, other] = [["id", "opt"], ["kind", "model"]][self.rng.index(if is_apart { 1 } else { 2 })];
            self.say(format!("swap the names of {one} and {other}"));
            self.lake.swap_names(one, other).await?;
        } else if self.extra().await?.is_some() {
            self.say("drop column extra");
            self.lake.drop_column("extra").await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    async fn by_hand(&mut self, step: &str) -> Outcome<bool> {
        let files = self.lake.files(None).await?;
        if files.is_empty() {
            return Ok(false);
        }
        let file = &files[self.rng.index(files.len())];
        self.say(format!("{step}: {}", file.path));
        if step == "remove a file bare" {
            self.lake.remove_bare(file).await?;
        } else {
            self.lake.add_again(file, self.rng.chance(0.3)).await?;
        }
        Ok(true)
    }
}

fn shown(values: &[(&str, Expr)]) -> String {
    let each = values.iter().map(|(column, value)| format!("{column} = {value}"));
    each.collect::<Vec<_>>().join(", ")
}

fn shown_or_all(predicate: Option<&Expr>) -> String {
    predicate.map_or("true".to_owned(), ToString::to_string)
}

//! The histories themselves: that steps do what they say, and that a difference is seen.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StructArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::prelude::{col, lit};
use limno_fixtures::SplitMix64;
use limno_sql::session::{self, SessionOptions};
use limno_sql::source::Source;
use tempfile::TempDir;

use super::alike::{Logical, difference};
use super::hand::Stats;
use super::lake::Lake;
use super::rows::{Face, Row, RowMaker};
use crate::support_run::{numbers, table};

/// A table whose rows are known.
struct Known {
    folder: TempDir,
    lake: Lake,
    maker: RowMaker,
    runtime: tokio::runtime::Runtime,
}

const PARTITIONED: [&[&str]; 4] = [&[], &["kind"], &["day", "kind"], &["at"]];

impl Known {
    /// Ids 0 to 59 in three files.
    fn new(face: Face, partitions: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().join("t"));
        let mut maker = RowMaker {
            rng: SplitMix64::new(1),
            face,
            next_id: 0,
            is_odd: true,
            is_coarse: partitions.contains(&"at"),
            has_empty: partitions.is_empty(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let rows = maker.rows(20, 19_723..19_726);
            lake.create(maker.batch(&rows), partitions, &[]).await.unwrap();
            for _ in 0..2 {
                let rows = maker.rows(20, 19_723..19_726);
                lake.append(maker.batch(&rows)).await.unwrap();
            }
        });
        Self { folder, lake, maker, runtime }
    }

    /// Deletes every fourth row of each file, by a vector.
    fn delete_some(&self) -> BTreeSet<i64> {
        self.runtime.block_on(async {
            for file in self.lake.files(None).await.unwrap() {
                let rows = u16::try_from(self.lake.rows_in(&file).unwrap()).unwrap();
                let own = file.deletion_vector.clone();
                self.lake.delete_rows(&file, &(0..rows).step_by(4).collect()).await.unwrap();
                assert_eq!(own, None);
            }
        });
        let left = self.ids();
        assert!(left.len() < 50, "{left:?}");
        left
    }

    /// The ids as the engine reads them; each is there once.
    fn ids(&self) -> BTreeSet<i64> {
        let rows = self.runtime.block_on(async {
            let context = session::context(&SessionOptions::default()).unwrap();
            let source = Source::open(&context, self.lake.folder.to_str().unwrap()).await.unwrap();
            context.read_table(source.provider).unwrap().collect().await.unwrap()
        });
        let ids = |rows: &RecordBatch| {
            let ids = rows.column_by_name("id").unwrap();
            ids.as_primitive::<Int64Type>().values().to_vec()
        };
        let ids: Vec<i64> = rows.iter().flat_map(ids).collect();
        let set: BTreeSet<i64> = ids.iter().copied().collect();
        assert_eq!(set.len(), ids.len(), "a row is there twice");
        set
    }

    fn rows(&mut self, count: u64) -> Vec<Row> {
        self.maker.rows(count, 19_723..19_726)
    }
}

#[test]
fn rows_that_a_vector_deletes_are_gone_for_the_engine() {
    for partitions in PARTITIONED {
        let known = Known::new(Face::Instant, partitions);
        let files = known.runtime.block_on(known.lake.files(None)).unwrap();
        let rows = |file| known.lake.rows_in(file).unwrap();
        assert_eq!(files.iter().map(rows).sum::<usize>(), 60);
        assert_eq!(known.ids(), (0..60).collect());
        known.delete_some();
        let gone: usize = files.iter().map(|file| rows(file).div_ceil(4)).sum();
        assert_eq!(known.ids().len(), 60 - gone);
        // More rows of the same file; the second vector takes the place of the first.
        let file = known.runtime.block_on(known.lake.files(None)).unwrap().remove(0);
        let all = u16::try_from(rows(&file)).unwrap();
        let vector = file.deletion_vector.as_ref().unwrap();
        assert_eq!(usize::try_from(vector.cardinality).unwrap(), usize::from(all).div_ceil(4));
        known.runtime.block_on(known.lake.delete_rows(&file, &(0..all).collect())).unwrap();
        assert_eq!(known.ids().len(), 60 - gone - usize::from(all) + usize::from(all).div_ceil(4));
        // Back to the first one, and to none.
        let version = known.runtime.block_on(known.lake.version()).unwrap();
        known.runtime.block_on(known.lake.restore(version - 1)).unwrap();
        assert_eq!(known.ids().len(), 60 - gone);
        known.runtime.block_on(known.lake.restore(2)).unwrap();
        assert_eq!(known.ids(), (0..60).collect());
    }
}

#[test]
fn positions_of_a_vector_are_those_of_the_file() {
    let mut known = Known::new(Face::Instant, &[]);
    let rows = known.rows(100);
    let batch = known.maker.batch(&rows);
    // Row groups of 16.
    known.runtime.block_on(known.lake.append_by_hand("hand", &[batch], Stats::Full)).unwrap();
    let files = known.runtime.block_on(known.lake.files(None)).unwrap();
    let file = files.iter().find(|file| file.path == "hand-0.parquet").unwrap();
    known.runtime.block_on(known.lake.delete_rows(file, &BTreeSet::from([0, 15, 16, 50, 99]))).unwrap();
    let gone: BTreeSet<i64> = (0..160).collect::<BTreeSet<_>>().difference(&known.ids()).copied().collect();
    assert_eq!(gone, BTreeSet::from([60, 75, 76, 110, 159]));
}

/// All of delta-rs' operations know deletion vectors: what was deleted stays so, and nothing else goes.
#[test]
fn operations_keep_what_vectors_deleted() {
    for (face, partitions) in [Face::Instant, Face::Wall, Face::Text].into_iter().zip(PARTITIONED) {
        let mut known = Known::new(face, partitions);
        let mut left = known.delete_some();
        let run = |known: &Known, operation: std::pin::Pin<Box<dyn Future<Output = super::lake::Outcome<()>>>>| {
            known.runtime.block_on(operation).unwrap();
        };
        let lake = known.lake.clone();
        run(
            &known,
            Box::pin(async move { lake.update(Some(col("id").lt(lit(10_i64))), vec![("flat", lit(9_i32))]).await }),
        );
        assert_eq!(known.ids(), left, "update");
        let lake = known.lake.clone();
        run(&known, Box::pin(async move { lake.delete(Some(col("id").lt(lit(15_i64)))).await }));
        left.retain(|id| *id >= 15);
        assert_eq!(known.ids(), left, "delete");
        let mut rows = known.rows(12);
        (0..6).for_each(|index| rows[index].id = i64::try_from(20 + index).unwrap());
        left.extend(rows.iter().map(|row| row.id));
        let (lake, batch) = (known.lake.clone(), known.maker.batch(&rows));
        run(&known, Box::pin(async move { lake.merge(batch, None).await }));
        assert_eq!(known.ids(), left, "merge");
        known.runtime.block_on(known.lake.optimize(None)).unwrap();
        assert_eq!(known.ids(), left, "optimise");
        let rows = known.rows(7);
        left.extend(rows.iter().map(|row| row.id));
        let batch = known.maker.batch(&rows);
        known.runtime.block_on(known.lake.append(batch)).unwrap();
        assert_eq!(known.ids(), left, "append");
        known.runtime.block_on(known.lake.optimize(Some("wide"))).unwrap();
        assert_eq!(known.ids(), left, "optimise in order");
        let mut rows = known.rows(5);
        rows.iter_mut().for_each(|row| row.kind = Some("a"));
        let is_a = Some(col("kind").eq(lit("a")));
        assert!(known.runtime.block_on(known.lake.count(is_a.clone())).unwrap() > 0);
        let batch = known.maker.batch(&rows);
        known.runtime.block_on(known.lake.replace_where(is_a.clone().unwrap(), batch)).unwrap();
        assert_eq!(known.runtime.block_on(known.lake.count(is_a)).unwrap(), 5, "overwrite where");
        known.runtime.block_on(known.lake.checkpoint()).unwrap();
        let left = known.ids();
        known.runtime.block_on(known.lake.restore(1)).unwrap();
        assert_eq!(known.ids(), (0..40).collect(), "restore");
        let version = known.runtime.block_on(known.lake.version()).unwrap();
        known.runtime.block_on(known.lake.restore(version - 1)).unwrap();
        assert_eq!(known.ids(), left, "restore what was before");
        assert!(known.folder.path().exists());
    }
}

#[test]
fn columns_that_swap_names_swap_their_values() {
    for (partitions, face) in
        [(PARTITIONED[0], Face::Instant), (PARTITIONED[1], Face::Text), (PARTITIONED[3], Face::Wall)]
    {
        let mut known = Known::new(face, partitions);
        let run = known.runtime.handle().clone();
        let lake = known.lake.clone();
        let count = |predicate| run.block_on(known.lake.count(Some(predicate))).unwrap();
        let small = || col("opt").lt(lit(60_i64)).and(col("opt").gt_eq(lit(0_i64)));
        run.block_on(lake.map_columns()).unwrap();
        let before = count(small());
        assert!(before < 10);
        run.block_on(lake.swap_names("id", "opt")).unwrap();
        assert_eq!(count(small()), 60, "the ids are there");
        run.block_on(lake.delete(Some(col("opt").lt(lit(7_i64))))).unwrap();
        run.block_on(lake.update(Some(col("opt").lt(lit(10_i64))), vec![("opt", lit(59_i64))])).unwrap();
        assert_eq!((count(small()), count(col("opt").eq(lit(59_i64)))), (53, 4));
        let rows = known.maker.rows(11, 19_723..19_726);
        let batch = known.maker.batch(&rows);
        run.block_on(lake.append(batch.clone())).unwrap();
        run.block_on(lake.append_by_hand("hand", std::slice::from_ref(&batch), Stats::Full)).unwrap();
        let wanted = rows.iter().filter(|row| row.opt.is_some_and(|opt| (0..60).contains(&opt))).count();
        let count = |predicate| run.block_on(known.lake.count(Some(predicate))).unwrap();
        assert_eq!(count(small()), 53 + 2 * wanted);
        let all = count(lit(true));
        let files = run.block_on(lake.files(None)).unwrap();
        run.block_on(lake.delete_rows(&files[0], &BTreeSet::from([0]))).unwrap();
        assert_eq!((count(lit(true)), count(col("id").eq(lit(70_i64)))), (all - 1, 2));
        run.block_on(lake.merge(batch, None)).unwrap();
        run.block_on(lake.swap_names("id", "opt")).unwrap();
        assert_eq!(count(col("opt").eq(lit(70_i64))), 2);
        // A column that goes and one that comes share nothing but the name.
        run.block_on(lake.drop_column("wide")).unwrap();
        run.block_on(lake.add_mapped_column("wide", "double")).unwrap();
        assert_eq!(count(col("wide").is_not_null()), 0);
    }
}

#[test]
fn commits_by_hand_are_read_as_they_are_meant() {
    for partitions in PARTITIONED {
        for stats in [Stats::None, Stats::Count, Stats::Full, Stats::Zoned, Stats::Wide] {
            for face in [Face::Instant, Face::Wall, Face::Text] {
                let mut known = Known::new(face, partitions);
                let batches = [known.rows(9), known.rows(8)].map(|rows| known.maker.batch(&rows));
                known.runtime.block_on(known.lake.append_by_hand("hand ü%", &batches, stats)).unwrap();
                assert_eq!(known.ids(), (0..77).collect());
                // Of what the log says, nothing hides a row from a reader that trusts it.
                for id in [60_i64, 68, 76] {
                    let found = known.runtime.block_on(known.lake.count(Some(col("id").eq(lit(id)))));
                    assert_eq!(found.unwrap(), 1);
                }
                let files = known.runtime.block_on(known.lake.files(None)).unwrap();
                let by_hand = files.iter().find(|file| file.path.starts_with("hand")).unwrap().clone();
                known.runtime.block_on(known.lake.add_again(&by_hand, true)).unwrap();
                assert_eq!(known.ids(), (0..77).collect());
                let rows = known.lake.rows_in(&by_hand).unwrap();
                known.runtime.block_on(known.lake.remove_bare(&by_hand)).unwrap();
                assert_eq!(known.ids().len(), 77 - rows);
            }
        }
    }
}

#[test]
fn a_log_that_was_cut_is_still_read() {
    let mut known = Known::new(Face::Instant, &["kind"]);
    known.delete_some();
    let left = known.ids();
    let version = known.runtime.block_on(known.lake.checkpoint()).unwrap();
    known.lake.cut_log_before(version);
    assert_eq!(known.ids(), left);
    let rows = known.rows(1);
    let batch = known.maker.batch(&rows);
    known.runtime.block_on(known.lake.append(batch)).unwrap();
    assert_eq!(known.ids().len(), left.len() + 1);
}

/// A table with a cell of each kind that could differ unseen.
fn sample() -> RecordBatch {
    let list =
        ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(0.0), None]), None, Some([Some(1.0); 2])]);
    let inner: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.25, f64::NAN]));
    let nested = StructArray::from(vec![(Arc::new(Field::new("v", DataType::Float64, true)), inner)]);
    table([
        ("column_name", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        ("x", numbers([1.0, 0.0, -3.5])),
        ("list", Arc::new(list)),
        ("nested", Arc::new(nested)),
        ("state", Arc::new(BinaryArray::from_vec(vec![b"ab", b"", b"abc"]))),
    ])
}

fn differs(other: &RecordBatch) -> Option<String> {
    difference(&Logical::of(Some(&sample()), &[]), &Logical::of(Some(other), &[]), ["one", "other"])
}

fn with(name: &str, column: ArrayRef) -> RecordBatch {
    let sample = sample();
    let mut columns = sample.columns().to_vec();
    columns[sample.schema().index_of(name).unwrap()] = column;
    RecordBatch::try_new(sample.schema(), columns).unwrap()
}

#[test]
fn one_bit_is_seen_and_the_order_of_rows_and_columns_is_not() {
    let sample = sample();
    let rows = arrow::array::UInt32Array::from(vec![2, 0, 1]);
    let shuffled = arrow::compute::take_record_batch(&sample, &rows).unwrap().project(&[3, 1, 0, 4, 2]).unwrap();
    assert_eq!(differs(&shuffled), None);
    for (column, name) in [
        (numbers([1.0, -0.0, -3.5]), "x"),
        (numbers([1.0 + f64::EPSILON, 0.0, -3.5]), "x"),
        (Arc::new(BinaryArray::from_vec(vec![b"ab", b"\0", b"abc"])) as ArrayRef, "state"),
        (Arc::new(BinaryArray::from(vec![Some(&b"ab"[..]), None, Some(b"abc")])), "state"),
        (
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
                Some([Some(0.0), None]),
                Some([None, None]),
                Some([Some(1.0); 2]),
            ])),
            "list",
        ),
    ] {
        let found = differs(&with(name, column)).expect("a difference");
        assert!(found.contains(&format!("    {name}: ")), "{found}");
        assert!(found.contains("in all 1 rows differ in one and 1 in other"), "{found}");
    }
}

#[test]
fn a_row_more_or_less_or_twice_is_seen() {
    let sample = sample();
    let found = differs(&sample.slice(0, 2)).expect("a difference");
    assert!(found.starts_with("3 rows in one, 2 in other\n  only in one: column_name=3 "), "{found}");
    let twice = super::rows::joined(&[sample.clone(), sample.slice(1, 1)]);
    let found = differs(&twice).expect("a difference");
    assert!(found.contains("only in other: column_name=2 "), "{found}");
    let renamed = sample
        .schema()
        .fields()
        .iter()
        .map(|field| Field::new(format!("{}_", field.name()), field.data_type().clone(), true))
        .collect::<Vec<_>>();
    let renamed = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(renamed)), sample.columns().to_vec());
    assert!(differs(&renamed.unwrap()).expect("a difference").contains("columns of other: column_name_"));
    // A table that is not there is one without rows.
    let none = Logical::of(None, &[]);
    let empty = Logical::of(Some(&sample.slice(0, 0)), &[]);
    assert_eq!(difference(&none, &empty, ["one", "other"]), None);
    assert!(difference(&none, &Logical::of(Some(&sample), &[]), ["one", "other"]).is_some());
    assert_eq!(sample.column(1).null_count(), 0);
}

//! The same rows give the same bytes: in 1, 2 or 8 partitions, in any order, in one file or in fifty.
#![cfg(test)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
};
use datafusion::common::DFSchema;
use limno_fixtures::{Shift, SplitMix64, Table};
use limno_metrics::column::{ColumnKind, ColumnOptions};
use limno_sql::{
    executor::LocalExecutor,
    expression::parse_slice,
    plan::{Measure, SliceOf, StateQuery, TimeColumn, Within},
    session::{self, SessionOptions},
    source::Source,
    window::Calendar,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::support::{limno_ok, text, write_parquet};

const PARTITIONS: [usize; 3] = [1, 2, 8];
const PIECES: usize = 50;

/// One table in four forms.
struct Forms {
    _dir: TempDir,
    paths: [PathBuf; 4],
}

impl Forms {
    fn of(batch: &RecordBatch, seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let paths =
            ["whole.parquet", "shuffled.parquet", "pieces", "shuffled_pieces"].map(|name| dir.path().join(name));
        let shuffled = shuffled(batch, seed);
        for (rows, whole, pieces) in [(batch, &paths[0], &paths[2]), (&shuffled, &paths[1], &paths[3])] {
            write_parquet(whole, rows);
            std::fs::create_dir(pieces).expect("a new folder");
            for (index, piece) in cut(rows, seed).iter().enumerate() {
                write_parquet(&pieces.join(format!("{index}.parquet")), piece);
            }
        }
        Self { _dir: dir, paths }
    }
}

fn shuffled(batch: &RecordBatch, seed: u64) -> RecordBatch {
    let mut rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).expect("few rows")).collect();
    SplitMix64::new(seed).shuffle(&mut rows);
    take_record_batch(batch, &UInt32Array::from(rows)).expect("rows of the batch")
}

/// Pieces of any length, one of them empty.
fn cut(batch: &RecordBatch, seed: u64) -> Vec<RecordBatch> {
    let mut rng = SplitMix64::new(!seed);
    let rows = batch.num_rows();
    let mut cuts: Vec<usize> =
        (2..PIECES).map(|_| usize::try_from(rng.below(rows as u64)).expect("an index")).chain([0, 0, rows]).collect();
    cuts.sort_unstable();
    let pieces: Vec<RecordBatch> = cuts.windows(2).map(|pair| batch.slice(pair[0], pair[1] - pair[0])).collect();
    assert_eq!(pieces.len(), PIECES);
    pieces
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a file")).expect("Parquet");
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
    concat_batches(&schema, &batches).expect("one schema")
}

/// How a table is asked about.
#[derive(Clone, Copy)]
struct Look {
    exact: bool,
    time: Option<(&'static str, &'static str)>,
    model: Option<&'static str>,
    slices: &'static [&'static str],
}

const WHOLE: Look = Look { exact: false, time: None, model: None, slices: &[] };

/// A group of rows by name, its rows, and the bytes of its states.
type Group = (Option<i64>, Option<String>, Option<SliceOf>, u64, Vec<Vec<u8>>);

/// All groups in a fixed order.
fn states(path: &Path, partitions: usize, look: Look) -> Vec<Group> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Box::pin(async {
        let context =
            session::context(&SessionOptions { partitions: Some(partitions), ..SessionOptions::default() }).unwrap();
        let source = Source::open(&context, text(path)).await.expect("a table");
        let schema = source.schema();
        let over = DFSchema::try_from(schema.as_ref().clone()).expect("a schema");
        let options = |kind| if look.exact { ColumnOptions::exact(kind) } else { ColumnOptions::new(kind) };
        let columns = schema.fields().iter().map(|field| {
            let kind = ColumnKind::of(field.data_type());
            Measure::of_column(field.name(), std::slice::from_ref(field.name()), options(kind))
        });
        let query = StateQuery {
            source,
            time: look.time.map(|(column, unit)| TimeColumn {
                column: column.to_owned(),
                calendar: Calendar {
                    timezone: "America/New_York".parse().expect("a time zone"),
                    week_start: chrono::Weekday::Mon,
                    offset_minutes: 0,
                },
                unit: unit.parse().expect("a granularity"),
            }),
            model: look.model.map(str::to_owned),
            sampling_fraction: None,
            slices: look.slices.iter().map(|slice| parse_slice(&context, slice, &over).expect("a slice")).collect(),
            measures: columns.collect(),
            within: Within::Everything,
            with_whole: true,
        };
        let rows = query.run(&LocalExecutor::new(context)).await.expect("states");
        let mut groups: Vec<Group> = rows
            .into_iter()
            .map(|row| {
                let states = row.states.iter().map(|state| state.encode()).collect();
                (row.window, row.model, row.slice, row.rows, states)
            })
            .collect();
        groups.sort();
        groups
    }))
}

/// One answer, whatever the form and the partitions.
fn assert_invariant(forms: &Forms, look: Look) -> Vec<Group> {
    let expected = states(&forms.paths[0], 1, look);
    for path in &forms.paths {
        for partitions in PARTITIONS {
            let groups = states(path, partitions, look);
            assert_eq!(groups.len(), expected.len(), "{} in {partitions}", path.display());
            for (ours, expected) in groups.iter().zip(&expected) {
                let same = ours.4.iter().zip(&expected.4).map(|(a, b)| a == b).collect::<Vec<_>>();
                assert!(
                    ours == expected,
                    "{} in {partitions}: {:?} {:?}",
                    path.display(),
                    (ours.0, &ours.1, &ours.2, ours.3),
                    same
                );
            }
        }
    }
    expected
}

fn generated(seed: u64) -> RecordBatch {
    let table = Table::new(seed, 60_000).shift("heavy", Shift::Nulls(0.1)).shift("wide", Shift::Nulls(0.02));
    table.batch().expect("columns of one length")
}

#[test]
fn flights() {
    let forms = Forms::of(&read(&limno_fixtures::paths::flights()), 1);
    let whole = assert_invariant(&forms, WHOLE);
    assert_eq!((whole.len(), whole[0].3), (1, 336_776));
}

#[test]
fn flights_by_month_model_and_slice() {
    let forms = Forms::of(&read(&limno_fixtures::paths::flights()), 2);
    let look = Look {
        time: Some(("time_hour", "1 month")),
        model: Some("model_version"),
        slices: &["origin", "distance > 1000"],
        ..WHOLE
    };
    let groups = assert_invariant(&forms, look);
    // The whole comes from the parts of the first expression; those of any other add up to the same.
    let rows = |expression: Option<usize>| -> u64 {
        groups
            .iter()
            .filter(|group| group.2.as_ref().map(|slice| slice.expression) == expression)
            .map(|group| group.3)
            .sum()
    };
    assert_eq!([rows(None), rows(Some(0)), rows(Some(1))], [336_776; 3]);
    let months = states(&forms.paths[0], 2, Look { slices: &[], ..look });
    let merged: Vec<Group> = groups.into_iter().filter(|group| group.2.is_none()).collect();
    assert!(months == merged, "merged from slices, or observed as a whole");
}

#[test]
fn generated_columns_bounded_and_exact() {
    let forms = Forms::of(&generated(3), 3);
    for exact in [false, true] {
        assert_invariant(&forms, Look { exact, ..WHOLE });
        assert_invariant(&forms, Look { exact, slices: &["level", "flag"], ..WHOLE });
    }
}

/// The printed comparison is the same text.
#[test]
fn printed_comparisons() {
    let forms = [Forms::of(&generated(4), 4), Forms::of(&generated(5), 5)];
    let print = |form: usize| {
        let [reference, current] = forms.each_ref().map(|forms| text(&forms.paths[form]));
        limno_ok(&["compare", reference, current, "--format", "json"])
    };
    let expected = print(0);
    for form in 1..4 {
        assert!(print(form) == expected, "{:?}", forms[0].paths[form]);
    }
}

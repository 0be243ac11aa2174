//! Tables compared bit for bit, as sorted rows.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::prelude::SessionContext;
use limno_engine::store;
use tokio::runtime::Runtime;

use crate::support_run::Place;

/// What may differ beside what says which refresh changed a row last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exempt {
    Nothing,
    /// Clocks moved between refreshes.
    TimeOfWriting,
}

/// Asserts that the tables of `incremental` and `full` are the same.
#[track_caller]
pub(super) fn assert_same(place: &Place, runtime: &Runtime, exempt: Exempt, story: &str) {
    for table in ["m_ledger", "m_profile_metrics", "m_drift_metrics"] {
        let mut left_out = vec!["logging_table_commit_version", "monitor_version"];
        if exempt == Exempt::TimeOfWriting {
            left_out.push("refreshed_at");
        }
        let rows = |output: &str| {
            let context = SessionContext::new();
            let uri = place.at(&format!("{output}/{table}"));
            let batch = runtime.block_on(store::read(&context, &uri)).unwrap().unwrap();
            without(&batch, &left_out)
        };
        let (incremental, full) = (rows("incremental"), rows("full"));
        assert_eq!(incremental.schema(), full.schema(), "{table}\n{story}");
        if let Some(difference) = difference(&incremental, &full) {
            panic!("{table}: {difference}\n{story}");
        }
    }
}

/// The batch without some columns, and without the rows that hold book-keeping.
fn without(batch: &RecordBatch, left_out: &[&str]) -> RecordBatch {
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|&column| !left_out.contains(&batch.schema().field(column).name().as_str()))
        .collect();
    let batch = batch.project(&kept).unwrap();
    let Some(types) = batch.column_by_name("log_type") else { return batch };
    let types = arrow::compute::cast(types, &arrow::datatypes::DataType::Utf8).unwrap();
    let types = arrow::array::AsArray::as_string::<i32>(&types);
    let is_state = types.iter().map(|of| Some(of != Some("WATERMARK"))).collect();
    arrow::compute::filter_record_batch(&batch, &is_state).unwrap()
}

/// The first rows that only one of them has; `None` if they hold the same rows.
fn difference(left: &RecordBatch, right: &RecordBatch) -> Option<String> {
    let fields = left.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields).unwrap();
    let count = |batch: &RecordBatch, step: i64, counts: &mut BTreeMap<Vec<u8>, (i64, usize)>| {
        for (at, row) in converter.convert_columns(batch.columns()).unwrap().iter().enumerate() {
            let entry = counts.entry(row.as_ref().to_vec()).or_insert((0, at));
            entry.0 += step;
        }
    };
    let mut counts = BTreeMap::new();
    count(left, 1, &mut counts);
    count(right, -1, &mut counts);
    let of = |wanted: fn(i64) -> bool| -> Vec<usize> {
        counts.values().filter(|(count, _)| wanted(*count)).map(|&(_, at)| at).collect()
    };
    let (only_left, only_right) = (of(|count| count > 0), of(|count| count < 0));
    if only_left.is_empty() && only_right.is_empty() {
        return None;
    }
    let show = |batch: &RecordBatch, rows: &[usize]| {
        let lines = rows.iter().take(3).map(|&row| show_row(batch, row));
        lines.collect::<Vec<_>>().join("\n")
    };
    Some(format!(
        "{} rows of {} only in the incremental one, {} of {} only in the full one\nincremental:\n{}\nfull:\n{}",
        only_left.len(),
        left.num_rows(),
        only_right.len(),
        right.num_rows(),
        show(left, &only_left),
        show(right, &only_right)
    ))
}

fn show_row(batch: &RecordBatch, row: usize) -> String {
    let options = arrow::util::display::FormatOptions::default();
    let schema = batch.schema();
    let cells = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let text = arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
        let short: String = text.chars().take(60).collect();
        format!("{}={short}", field.name())
    });
    cells.filter(|cell| !cell.ends_with('=')).collect::<Vec<_>>().join(" ")
}

#[test]
fn one_changed_bit_is_noticed() {
    let batch = |value: f64| crate::support_run::table([("x", crate::support_run::numbers([1.0, value, 3.0]))]);
    assert_eq!(difference(&batch(2.0), &batch(2.0)), None);
    assert!(difference(&batch(2.0), &batch(f64::from_bits(2.0_f64.to_bits() + 1))).is_some());
    assert!(difference(&batch(0.0), &batch(-0.0)).is_some());
    let shuffled = crate::support_run::table([("x", crate::support_run::numbers([3.0, 2.0, 1.0]))]);
    assert_eq!(difference(&batch(2.0), &shuffled), None);
}

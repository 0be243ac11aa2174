//! The view over payload tables of both layouts: outcomes, repetitions, order, pushing down.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;
use chrono::Weekday;
use chrono_tz::Tz;
use datafusion::catalog::{MemTable, TableProvider};
use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::{Inference, Layout, PayloadOptions, PayloadSchema, repeated_windows, unpacked};
use super::lines;
use crate::executor::{LocalExecutor, PlanExecutor};
use crate::session::{SessionOptions, context};
use crate::window::{Calendar, Granularity};

const HOUR: i64 = 3_600_000_000;
const START: i64 = 1_700_000_000_000_000 / HOUR * HOUR;

/// A call: id, microseconds after [`START`], status, request, response.
type Call = (Option<&'static str>, i64, &'static str, Option<&'static str>, Option<&'static str>);

const ASKED: Option<&str> = Some(r#"{"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}"#);
const ANSWERED: Option<&str> = Some(r#"{"predictions": [0.5, 1.5]}"#);
const OTHER: Option<&str> = Some(r#"{"inputs": {"a": [3]}}"#);
const ONE: Option<&str> = Some(r#"{"predictions": [3]}"#);

const CALLS: [Call; 12] = [
    (Some("r1"), 0, "200", ASKED, ANSWERED),
    // Again, within the hour, with other contents: the earlier one wins.
    (Some("r1"), 5, "200", OTHER, ONE),
    // In another hour it counts again.
    (Some("r1"), HOUR, "200", OTHER, ONE),
    (Some("r2"), 7, "200", OTHER, ONE),
    (Some("r2"), 7, "200", OTHER, ONE),
    (Some("r2"), 7, "200", ASKED, ANSWERED),
    // A failed attempt repeats nothing, and is not parsed.
    (Some("r3"), 1, "500", Some("no json"), None),
    (Some("r3"), 2, "201", OTHER, ONE),
    (None, 3, "200", OTHER, ONE),
    (None, 3, "200", OTHER, ONE),
    (Some("r4"), 4, "200", None, ONE),
    (Some("r5"), 6, "200", OTHER, Some(r#"{"predictions": ["x"]}"#)),
];

fn text(values: impl Iterator<Item = Option<&'static str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn gateway(calls: &[Call], status: &DataType, texts: &DataType) -> RecordBatch {
    let times =
        TimestampMicrosecondArray::from_iter_values(calls.iter().map(|call| START + call.1)).with_timezone("UTC");
    let mut codes = ListBuilder::new(StringBuilder::new());
    for call in calls {
        if call.3.is_none() {
            codes.values().append_value("MAX_REQUEST_SIZE_EXCEEDED");
        }
        codes.append(true);
    }
    let column = |values: ArrayRef| cast(&values, texts).unwrap();
    RecordBatch::try_from_iter_with_nullable([
        ("databricks_request_id", column(text(calls.iter().map(|call| call.0))), true),
        ("client_request_id", column(text(calls.iter().map(|_| None))), true),
        ("request_time", Arc::new(times) as ArrayRef, true),
        ("status_code", cast(&text(calls.iter().map(|call| Some(call.2))), status).unwrap(), true),
        ("sampling_fraction", Arc::new(Float64Array::from(vec![0.5; calls.len()])), true),
        ("execution_duration_ms", Arc::new(Int64Array::from(vec![12; calls.len()])), true),
        ("request", column(text(calls.iter().map(|call| call.3))), true),
        ("response", column(text(calls.iter().map(|call| call.4))), true),
        ("logging_error_codes", Arc::new(codes.finish()), true),
        ("served_entity_id", column(text(calls.iter().map(|_| Some("m-1")))), true),
        ("requester", column(text(calls.iter().map(|_| Some("ann")))), true),
    ])
    .unwrap()
}

fn legacy(calls: &[Call]) -> RecordBatch {
    let mut metadata = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for _ in calls {
        for (key, value) in [("endpoint_name", "e"), ("model_name", "m"), ("model_version", "3")] {
            metadata.keys().append_value(key);
            metadata.values().append_value(value);
        }
        metadata.append(true).unwrap();
    }
    let millis = calls.iter().map(|call| (START + call.1 * 1000).div_euclid(1000));
    RecordBatch::try_from_iter_with_nullable([
        ("databricks_request_id", text(calls.iter().map(|call| call.0)), true),
        ("timestamp_ms", Arc::new(millis.collect::<Int64Array>()) as ArrayRef, true),
        ("status_code", Arc::new(calls.iter().map(|call| call.2.parse::<i32>().ok()).collect::<Int32Array>()), true),
        ("execution_time_ms", Arc::new(Int64Array::from(vec![12; calls.len()])), true),
        ("request", text(calls.iter().map(|call| call.3)), true),
        ("response", text(calls.iter().map(|call| call.4)), true),
        ("request_metadata", Arc::new(metadata.finish()), true),
    ])
    .unwrap()
}

fn options(layout: Layout) -> PayloadOptions {
    let schema = PayloadSchema::of_columns(&[("a", "double")], &[("prediction", "double")]).unwrap();
    let calendar = Calendar { timezone: Tz::UTC, week_start: Weekday::Mon, offset_minutes: 0 };
    PayloadOptions::new(layout, schema, calendar, Granularity::Hours(1))
}

fn provider(partitions: Vec<Vec<RecordBatch>>) -> Arc<dyn TableProvider> {
    let schema = partitions[0][0].schema();
    Arc::new(MemTable::try_new(schema, partitions).unwrap())
}

/// The lines that a query over the view yields, sorted.
fn query(table: Arc<dyn TableProvider>, layout: Layout, sql: &str) -> Vec<String> {
    runtime().block_on(async {
        let context = context(&SessionOptions { partitions: Some(3), ..SessionOptions::default() }).unwrap();
        context.register_table("calls", unpacked(table, &options(layout)).unwrap()).unwrap();
        let mut lines = lines(&context.sql(sql).await.unwrap().collect().await.unwrap());
        lines.sort_unstable();
        lines
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

const SHORT: &str = "SELECT row_id, a, prediction, __outcome, __reason, __position FROM calls";

fn expected() -> Vec<String> {
    let mut rows: Vec<String> = [
        "r1:0|1.0|0.5|-|-|0",
        "r1:1|2.0|1.5|-|-|1",
        "-|-|-|duplicate|-|-",
        "r1:0|3.0|3.0|-|-|0",
        // The request that comes first as text wins.
        "r2:0|1.0|0.5|-|-|0",
        "r2:1|2.0|1.5|-|-|1",
        "-|-|-|duplicate|-|-",
        "-|-|-|duplicate|-|-",
        "-|-|-|status|-|-",
        "r3:0|3.0|3.0|-|-|0",
        "-|3.0|3.0|-|-|0",
        "-|3.0|3.0|-|-|0",
        "-|-|-|malformed|the request is null (MAX_REQUEST_SIZE_EXCEEDED)|-",
        "r5:0|-|-|malformed|column `prediction`: text where double is expected, in row 0|0",
    ]
    .map(str::to_owned)
    .to_vec();
    rows.sort_unstable();
    rows
}

#[test]
fn every_row_has_its_outcome_whatever_the_types_of_texts_and_status() {
    for texts in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        for status in [DataType::Utf8, DataType::Int32, DataType::Int64] {
            let batch = gateway(&CALLS, &status, &texts);
            assert_eq!(Layout::detect(&batch.schema()).unwrap(), Layout::Gateway);
            assert_eq!(query(provider(vec![vec![batch]]), Layout::Gateway, SHORT), expected(), "{texts} {status}");
        }
    }
}

#[test]
fn all_columns_stand_in_their_order_with_their_types() {
    let batch = gateway(&CALLS[..1], &DataType::Int32, &DataType::Utf8View);
    let view = unpacked(provider(vec![vec![batch.clone()]]), &options(Layout::Gateway)).unwrap();
    let schema = view.schema();
    let columns: Vec<_> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    assert_eq!(
        columns,
        [
            "request_id Utf8",
            "client_request_id Utf8",
            "row_id Utf8",
            "request_time Timestamp(µs, \"UTC\")",
            "status_code Int32",
            "sampling_fraction Float64",
            "execution_duration_ms Int64",
            "model_id Utf8",
            "requester Utf8",
            "a Float64",
            "prediction Float64",
            "__outcome Utf8",
            "__reason Utf8",
            "__position Int32",
            "__excerpt Utf8"
        ]
    );
    assert_eq!(
        query(provider(vec![vec![batch]]), Layout::Gateway, "SELECT * FROM calls"),
        [
            "r1|-|r1:0|2023-11-14T22:00:00Z|200|0.5|12|m-1|ann|1.0|0.5|-|-|0|-",
            "r1|-|r1:1|2023-11-14T22:00:00Z|200|0.5|12|m-1|ann|2.0|1.5|-|-|1|-"
        ]
    );
}

#[test]
fn the_legacy_layout_comes_to_the_same_rows() {
    let batch = legacy(&CALLS);
    assert_eq!(Layout::detect(&batch.schema()).unwrap(), Layout::Legacy);
    let rows = query(provider(vec![vec![batch.clone()]]), Layout::Legacy, SHORT);
    // It has no error codes, and the second call of `r1` is an hour of milliseconds later.
    let expected: Vec<String> = expected().iter().map(|row| row.replace(" (MAX_REQUEST_SIZE_EXCEEDED)", "")).collect();
    assert_eq!(rows, expected);
    let meta = query(
        provider(vec![vec![batch]]),
        Layout::Legacy,
        "SELECT request_time, execution_duration_ms, model_id, requester, sampling_fraction FROM calls WHERE row_id = 'r5:0'",
    );
    assert_eq!(meta, ["2023-11-14T22:00:00.006Z|12|m_3|-|-"]);
}

#[test]
fn another_layout_is_refused() {
    let batch = legacy(&CALLS);
    let error = unpacked(provider(vec![vec![batch]]), &options(Layout::Gateway)).unwrap_err().to_string();
    assert!(error.contains("`request_time`"), "{error}");
}

#[test]
fn neither_order_nor_partitions_change_what_comes_out() {
    let batch = gateway(&CALLS, &DataType::Int32, &DataType::Utf8);
    let rows = u32::try_from(CALLS.len()).unwrap();
    let order = Just((0..rows).collect::<Vec<u32>>()).prop_shuffle();
    let cuts = prop::collection::vec(0_usize..3, CALLS.len());
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(
        config,
        prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&(order, cuts), |(order, cuts)| {
        let mut partitions = vec![vec![batch.slice(0, 0)]; 3];
        for (row, partition) in order.into_iter().zip(cuts) {
            partitions[partition].push(take_record_batch(&batch, &UInt32Array::from(vec![row])).unwrap());
        }
        prop_assert_eq!(query(provider(partitions), Layout::Gateway, SHORT), expected());
        Ok(())
    })
    .unwrap();
}

#[test]
fn many_calls_of_which_all_come_twice_count_once() {
    let ids: Vec<String> = (0..20_000).map(|id| format!("id-{id}")).collect();
    let column = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let rows = ids.len();
    let times = TimestampMicrosecondArray::from_iter_values((0..20_000).map(|row| START + row * 1_000_000))
        .with_timezone("UTC");
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("databricks_request_id", column(&ids), true),
        ("request_time", Arc::new(times) as ArrayRef, true),
        ("status_code", Arc::new(Int32Array::from(vec![200; rows])), true),
        ("request", column(&vec![OTHER.unwrap(); rows]), true),
        ("response", column(&vec![ONE.unwrap(); rows]), true),
    ])
    .unwrap();
    let table = provider(vec![vec![batch.clone()], vec![batch.slice(10_000, 10_000), batch.slice(0, 10_000)]]);
    let counts = query(
        table,
        Layout::Gateway,
        "SELECT __outcome, count(*), count(DISTINCT request_id), sum(a) FROM calls GROUP BY 1",
    );
    assert_eq!(counts, ["-|20000|20000|60000.0", "duplicate|20000|20000|-"]);
}

#[test]
fn only_some_calls_are_unpacked_at_once() {
    runtime().block_on(async {
        let context = context(&SessionOptions { partitions: Some(2), ..SessionOptions::default() }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.parquet");
        let calls: Vec<Call> = (0..2_000).map(|at| (None, at, "200", OTHER, ONE)).collect();
        let batch = gateway(&calls, &DataType::Int32, &DataType::Utf8);
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let source = crate::source::Source::open(&context, path.to_str().unwrap()).await.unwrap();
        let unpacked = unpacked(source.provider, &options(Layout::Gateway)).unwrap();
        let executor = LocalExecutor::new(context.clone());
        let plan = |columns: &[&str]| {
            let table = context.read_table(Arc::clone(&unpacked)).unwrap();
            table.select_columns(columns).unwrap().into_optimized_plan().unwrap()
        };
        let sizes = |plan| {
            let executor = &executor;
            async move {
                let batches: Vec<RecordBatch> = executor.execute(plan).await.unwrap().try_collect().await.unwrap();
                batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>()
            }
        };
        // Each call is one row, so the rows of a batch are the calls that were unpacked together.
        let found = sizes(plan(&["a", "prediction"])).await;
        assert_eq!(found.iter().sum::<usize>(), 2_000);
        assert!(found.iter().all(|&rows| rows <= 256), "{found:?}");
        // As a view within a plan that is not optimised yet.
        let view = context.read_table(Arc::clone(&unpacked)).unwrap().select_columns(&["a"]).unwrap();
        let found = sizes(view.logical_plan().clone()).await;
        assert!(found.iter().all(|&rows| rows <= 256), "{found:?}");
    });
}

#[test]
fn conditions_and_columns_reach_the_scan() {
    runtime().block_on(async {
        let context = context(&SessionOptions { partitions: Some(2), ..SessionOptions::default() }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.parquet");
        let batch = gateway(&CALLS, &DataType::Int32, &DataType::Utf8);
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let source = crate::source::Source::open(&context, path.to_str().unwrap()).await.unwrap();
        context.register_table("calls", unpacked(source.provider, &options(Layout::Gateway)).unwrap()).unwrap();
        let sql = "SELECT request_id, a FROM calls WHERE request_time >= TIMESTAMP '2023-11-14T22:30:00Z' AND a > 2";
        let rows = lines(&context.sql(sql).await.unwrap().collect().await.unwrap());
        assert_eq!(rows, ["r1|3.0"]);
        let plan = context.sql(&format!("EXPLAIN {sql}")).await.unwrap().collect().await.unwrap();
        let plan = lines(&plan).join("\n");
        let scans: Vec<&str> = plan.lines().filter(|line| line.contains("DataSourceExec")).collect();
        assert!(scans.iter().any(|scan| scan.contains("predicate=request_time@")), "{plan}");
        // Columns that nobody asked for are not read.
        assert!(scans.iter().all(|scan| !scan.contains("sampling_fraction,") || scan.contains("response")), "{plan}");
    });
}

#[test]
fn windows_that_new_files_repeat_are_found() {
    let old: [Call; 4] = [
        (Some("r1"), 0, "200", ASKED, ANSWERED),
        (Some("r2"), 2 * HOUR, "200", ASKED, ANSWERED),
        (Some("r3"), 3 * HOUR, "500", ASKED, ANSWERED),
        (None, 4 * HOUR, "200", ASKED, ANSWERED),
    ];
    let new: [Call; 5] = [
        (Some("r1"), 5, "200", OTHER, ONE),
        // Not in the same window.
        (Some("r2"), 3 * HOUR, "200", ASKED, ANSWERED),
        // What is not kept is not repeated.
        (Some("r3"), 3 * HOUR, "200", ASKED, ANSWERED),
        (None, 4 * HOUR, "200", ASKED, ANSWERED),
        (Some("r5"), 9 * HOUR, "200", ASKED, ANSWERED),
    ];
    runtime().block_on(async {
        let executor =
            LocalExecutor::new(context(&SessionOptions { partitions: Some(2), ..SessionOptions::default() }).unwrap());
        let table = |calls: &[Call]| provider(vec![vec![gateway(calls, &DataType::Int32, &DataType::Utf8)]]);
        let options = options(Layout::Gateway);
        let windows = |new: &[Call], old: &[Call]| {
            let (new, old) = (table(new), table(old));
            let (executor, options) = (&executor, &options);
            async move { repeated_windows(executor, "log", (new, old), options).await.unwrap() }
        };
        assert_eq!(windows(&new, &old).await, [START]);
        assert_eq!(windows(&new[1..], &old).await, [0_i64; 0]);
        assert_eq!(windows(&new[..0], &old).await, [0_i64; 0]);
        assert_eq!(windows(&old, &old).await, [START, START + 2 * HOUR]);
        let legacy_table = |calls: &[Call]| provider(vec![vec![legacy(calls)]]);
        let legacy_options = super::table::options(Layout::Legacy);
        let tables = (legacy_table(&new[..1]), legacy_table(&old[..1]));
        let found = repeated_windows(&executor, "log", tables, &legacy_options).await;
        assert_eq!(found.unwrap(), [START]);
    });
}

#[test]
fn a_schema_is_inferred_from_batches_of_kept_statuses() {
    let mut inference = Inference::default();
    inference.observe(Layout::Gateway, &[200], &gateway(&CALLS, &DataType::Utf8, &DataType::Utf8View)).unwrap();
    assert_eq!(inference.schema().unwrap().to_string(), "a bigint → prediction string");
    let mut none = Inference::default();
    none.observe(Layout::Gateway, &[500], &gateway(&CALLS, &DataType::Utf8, &DataType::Utf8View)).unwrap();
    assert!(none.schema().is_err());
}

#[test]
fn a_delta_table_of_several_files_unpacks_alike() {
    let folder = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(folder.path()).unwrap();
    let open = || deltalake::DeltaTable::try_from_url(url.clone());
    runtime().block_on(async {
        // Calls that repeat each other stand in different files.
        for row in [0..4, 4..5, 5..12] {
            let rows = gateway(&CALLS[row], &DataType::Int32, &DataType::Utf8);
            open().await.unwrap().write([rows]).await.unwrap();
        }
    });
    let open_source = || {
        runtime().block_on(async {
            let context = context(&SessionOptions { partitions: Some(2), ..SessionOptions::default() }).unwrap();
            crate::source::Source::open(&context, folder.path().to_str().unwrap()).await.unwrap().provider
        })
    };
    assert_eq!(query(open_source(), Layout::Gateway, SHORT), expected());
    let sql = "SELECT request_id, a FROM calls WHERE request_time >= TIMESTAMP '2023-11-14T22:30:00Z' AND a > 2";
    assert_eq!(query(open_source(), Layout::Gateway, sql), ["r1|3.0"]);
}

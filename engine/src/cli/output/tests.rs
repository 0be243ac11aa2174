//! The three formats, on nested, empty, missing and hostile values.

use arrow::array::{
    Float64Array, Float64Builder, Int64Array, ListArray, MapBuilder, StringBuilder, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Float64Type, TimeUnit};

use super::*;

fn batch() -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["dep, \"x\"", "</td>\n\u{1b}[1m"]));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(336_776), None]));
    let averages: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0 / 3.0), Some(f64::NAN)]));
    let quantiles: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some((0..1001).map(|i| Some(f64::from(i))).collect::<Vec<_>>()),
        Some(vec![Some(1.5), None, Some(f64::INFINITY)]),
    ]));
    let instant = |hours: i64| -> ArrayRef {
        let values = TimestampMicrosecondArray::from(vec![Some(1_357_516_800_000_000 + hours * 3_600_000_000); 2]);
        Arc::new(values.with_timezone("UTC"))
    };
    let window: ArrayRef = Arc::new(StructArray::from(vec![
        (field("start", &instant(0)), instant(0)),
        (field("end", &instant(168)), instant(168)),
    ]));
    let statistic: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.25), Some(f64::NAN)]));
    let ks: ArrayRef = Arc::new(StructArray::from(vec![(field("statistic", &statistic), statistic)]));
    let nothing: ArrayRef = Arc::new(Float64Array::from(vec![None, None]));
    RecordBatch::try_from_iter([
        ("window", window),
        ("column_name", names),
        ("count", counts),
        ("avg", averages),
        ("quantiles", quantiles),
        ("ks_test", ks),
        ("stddev", nothing),
    ])
    .expect("a batch")
}

fn field(name: &str, array: &ArrayRef) -> Arc<Field> {
    Arc::new(Field::new(name, array.data_type().clone(), true))
}

fn print(format: Format, batches: &[RecordBatch], options: TableOptions) -> String {
    let mut out = Vec::new();
    write_batches(&mut out, format, &batch().schema(), batches, options).expect("printed");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn json_is_an_array_of_objects_with_nulls() {
    let text = print(Format::Json, &[batch(), batch()], TableOptions::default());
    let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(4));
    let (first, second) = (&rows[0], &rows[1]);
    assert_eq!(first["column_name"], "dep, \"x\"");
    assert_eq!(first["count"], 336_776);
    assert_eq!(first["avg"], 1.0 / 3.0);
    assert_eq!(first["window"]["end"], "2013-01-14T00:00:00Z");
    assert_eq!(first["quantiles"].as_array().map(Vec::len), Some(1001));
    assert_eq!(second["column_name"], "</td>\n\u{1b}[1m");
    for missing in ["count", "avg", "stddev"] {
        assert!(second.as_object().is_some_and(|row| row.contains_key(missing)), "{missing} is written as null");
        assert!(second[missing].is_null());
    }
    assert!(second["quantiles"][2].is_null());
    assert!(second["ks_test"]["statistic"].is_null());
    assert!(text.ends_with("]\n"));
}

#[test]
fn csv_holds_nested_values_as_json_in_a_cell() {
    let text = print(Format::Csv, &[batch()], TableOptions::default());
    let mut lines = text.split_inclusive('\n');
    assert_eq!(lines.next(), Some("window,column_name,count,avg,quantiles,ks_test,stddev\n"));
    assert!(text.contains("\"dep, \"\"x\"\"\",336776,0.3333333333333333,\"[0.0,1.0,2.0"));
    assert!(text.contains(",1000.0]\",\"{\"\"statistic\"\":0.25}\",\n"));
    assert!(text.contains(",,NaN,\"[1.5,null,null]\",\"{\"\"statistic\"\":null}\",\n"), "{text}");
    assert!(text.contains("\"{\"\"start\"\":\"\"2013-01-07T00:00:00Z\"\",\"\"end\"\":"));
}

#[test]
fn a_wide_table_is_one_table_with_shortened_values() {
    let text = print(Format::Table, &[batch()], TableOptions::default());
    assert!(text.contains("2013-01-07 – 2013-01-14"), "{text}");
    assert!(text.contains("[0, 1, 2, … 1001 values]"), "{text}");
    assert!(text.contains("[1.5, null, inf]"), "{text}");
    assert!(text.contains("{statistic: 0.25}"), "{text}");
    assert!(text.contains(" 0.333333 "), "{text}");
    assert!(text.contains("</td>\\n\\u{1b}[1m"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("stddev"));
    assert!(text.ends_with("\n2 rows\n"));
    assert_eq!(text.matches("column_name").count(), 1);
}

#[test]
fn a_narrow_table_is_divided_and_repeats_the_column_name() {
    let options = TableOptions { width: Some(60), hide_empty: true };
    let text = print(Format::Table, &[batch()], options);
    for line in text.lines() {
        assert!(line.chars().count() <= 60, "{line}\n{text}");
    }
    assert!(text.matches("column_name").count() > 1, "{text}");
    assert!(text.contains("no value in: stddev\n"), "{text}");
}

#[test]
fn even_a_hopeless_width_prints_everything() {
    let options = TableOptions { width: Some(10), hide_empty: false };
    let text = print(Format::Table, &[batch()], options);
    assert!(text.ends_with("\n2 rows\n"), "{text}");
}

#[test]
fn no_rows_leave_a_valid_document() {
    let options = TableOptions { width: None, hide_empty: true };
    for batches in [vec![], vec![batch().slice(0, 0)]] {
        assert_eq!(print(Format::Json, &batches, options), "[]\n");
        assert_eq!(print(Format::Csv, &batches, options), "window,column_name,count,avg,quantiles,ks_test,stddev\n");
        let text = print(Format::Table, &batches, options);
        assert!(text.contains("stddev") && text.ends_with("\n0 rows\n"), "{text}");
    }
}

#[test]
fn a_reader_that_went_away_is_told_apart() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for format in [Format::Table, Format::Json, Format::Csv] {
        let error = write_batches(&mut Gone, format, &batch().schema(), &[batch()], TableOptions::default())
            .expect_err("nobody reads");
        assert!(error.is_broken_pipe(), "{format:?}: {error:?}");
    }
}

/// Quality as an inference log has it: values by class, and counts of pairs.
fn quality() -> RecordBatch {
    let mut classes = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for (class, value) in [("a \"b\"", Some(0.25)), ("1", None)] {
        classes.keys().append_value(class);
        classes.values().append_option(value);
    }
    classes.append(true).expect("a map");
    classes.append(false).expect("no map");
    let classes: ArrayRef = Arc::new(classes.finish());
    let average: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
    let scores: ArrayRef = Arc::new(StructArray::from(vec![
        (field("macro", &average), average),
        (field("one_vs_all", &classes), classes),
    ]));
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![7, 1]));
    let cells = StructArray::from(vec![(field("label", &labels), labels), (field("count", &counts), counts)]);
    let item = Arc::new(Field::new_list_field(cells.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([2, 0]);
    let matrix: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(cells), None));
    RecordBatch::try_from_iter([("f1_score", scores), ("confusion_matrix", matrix)]).expect("a batch")
}

#[test]
fn maps_and_structs_in_structs_and_lists_keep_their_shape() {
    let print = |format| {
        let mut out = Vec::new();
        let batch = quality();
        let schema = batch.schema();
        write_batches(&mut out, format, &schema, &[batch], TableOptions::default()).expect("printed");
        String::from_utf8(out).expect("UTF-8")
    };
    let rows: serde_json::Value = serde_json::from_str(&print(Format::Json)).expect("JSON");
    let scores = |row: usize| rows[row]["f1_score"].clone();
    assert_eq!(scores(0), serde_json::json!({ "macro": 0.5, "one_vs_all": { "a \"b\"": 0.25, "1": null } }));
    assert_eq!(scores(1), serde_json::json!({ "macro": null, "one_vs_all": null }));
    let cells = serde_json::json!([{ "label": "a", "count": 7 }, { "label": "b", "count": 1 }]);
    assert_eq!(rows[0]["confusion_matrix"], cells);
    assert_eq!(rows[1]["confusion_matrix"], serde_json::json!([]));
    let csv = print(Format::Csv);
    assert!(csv.contains(r#""{""macro"":0.5,""one_vs_all"":{""a \""b\"""":0.25,""1"":null}}""#), "{csv}");
    assert!(csv.contains(r#","[{""label"":""a"",""count"":7},{""label"":""b"",""count"":1}]""#), "{csv}");
    let table = print(Format::Table);
    assert!(table.contains("{macro: 0.5, one_vs_all: {a \"b\": 0.25, 1: null}}"), "{table}");
    assert!(table.contains("{macro: null, one_vs_all: null}"), "{table}");
    assert!(table.contains("[{label: a, count: 7}, {label: b, count: 1}]"), "{table}");
}

#[test]
fn timestamps_keep_their_unit() {
    let array = TimestampMicrosecondArray::from(vec![1_357_516_800_000_000]);
    assert_eq!(array.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    let array: ArrayRef = Arc::new(array);
    assert_eq!(cell_text(&array, 0).expect("text"), "2013-01-07T00:00:00");
}

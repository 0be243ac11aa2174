//! Every shape of requests and responses, and what is refused of them.

use arrow::array::{Array, AsArray, RecordBatch};

use super::super::{PayloadSchema, Unpacker};
use super::lines;

fn schema(requests: &[(&str, &str)], responses: &[(&str, &str)]) -> PayloadSchema {
    PayloadSchema::of_columns(requests, responses).unwrap()
}

/// Two columns a, b and a prediction.
fn plain() -> PayloadSchema {
    schema(&[("a", "double"), ("b", "string")], &[("prediction", "bigint")])
}

/// The rows of some payloads: columns, outcome, reason, position, excerpt; and how many values were ignored.
fn unpack(schema: &PayloadSchema, payloads: &[(&str, &str)]) -> (Vec<String>, u64) {
    let mut unpacker = Unpacker::new(schema);
    payloads.iter().for_each(|(request, response)| unpacker.push(Some(request), Some(response), None));
    let unpacked = unpacker.finish().unwrap();
    assert_eq!(unpacked.rows.len(), payloads.len());
    let batch = RecordBatch::from(unpacked.rows.values().as_struct());
    (lines(&[batch]), unpacked.ignored)
}

fn rows(schema: &PayloadSchema, request: &str, response: &str) -> Vec<String> {
    unpack(schema, &[(request, response)]).0
}

/// The reason for which the one row is refused that comes out.
fn refusal(request: &str, response: &str) -> String {
    let rows = rows(&plain(), request, response);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let rest = row.strip_prefix("-|-|-|malformed|").unwrap_or_else(|| panic!("{row}"));
    let (reason, excerpt) = rest.split_once("|-|").unwrap();
    assert_eq!(excerpt, request.chars().take(200).collect::<String>(), "{reason}");
    reason.to_owned()
}

const TWO: &str = r#"{"predictions": [7, 8]}"#;
const ONE: &str = r#"{"predictions": [7]}"#;

#[test]
fn all_shapes_of_requests_come_to_the_same_rows() {
    for request in [
        r#"{"dataframe_split": {"index": [0, 1], "columns": ["a", "b"], "data": [[1.5, "x"], [null, "y"]]}}"#,
        r#"{"dataframe_split": [{"columns": ["b", "a"], "data": [["x", 1.5], ["y", null]]}]}"#,
        r#"{"dataframe_split": {"data": [["x", 1.5], ["y", null]], "index": [7, 9], "columns": ["b", "a"]}}"#,
        r#"{"dataframe_records": [{"a": 1.5, "b": "x"}, {"b": "y"}]}"#,
        r#"{"instances": [{"b": "x", "a": 1.5}, {"a": null, "b": "y"}], "params": {"a": [1]}}"#,
        r#"{"client_request_id": "c", "instances": [[1.5, "x"], [null, "y"]]}"#,
        r#"{"inputs": {"b": ["x", "y"], "a": [1.5, null]}}"#,
        r#"{"inputs": [[1.5, "x"], [null, "y"]]}"#,
        "{\"inputs\":[{\"a\":1.5,\"b\":\"x\"},\n{\"b\":\"\\u0079\"}]} \n",
    ] {
        assert_eq!(rows(&plain(), request, TWO), ["1.5|x|7|-|-|0|-", "-|y|8|-|-|1|-"], "{request}");
    }
}

#[test]
fn rows_of_one_value_are_that_value() {
    let one = schema(&[("a", "double")], &[("prediction", "bigint")]);
    for request in [
        r#"{"instances": [1, 2.5]}"#,
        r#"{"inputs": [1, 2.5]}"#,
        r#"{"instances": [[1], [2.5]]}"#,
        r#"{"inputs": {"a": [1, 2.5]}}"#,
        r#"{"dataframe_split": {"columns": ["a"], "data": [[1], [2.5]]}}"#,
    ] {
        assert_eq!(rows(&one, request, TWO), ["1.0|7|-|-|0|-", "2.5|8|-|-|1|-"], "{request}");
    }
    let list = schema(&[("v", "array<double>")], &[("prediction", "array<double>")]);
    for request in [r#"{"instances": [[1, 2], []]}"#, r#"{"inputs": {"v": [[1, 2], []]}}"#] {
        let response = r#"{"predictions": [[0.25, 0.75], null]}"#;
        assert_eq!(rows(&list, request, response), ["[1.0, 2.0]|[0.25, 0.75]|-|-|0|-", "[]|-|-|-|1|-"], "{request}");
    }
}

#[test]
fn one_row_may_stand_alone() {
    let request = r#"{"inputs": {"a": 1, "b": "x"}}"#;
    for response in [r#"{"predictions": 7}"#, r#"{"predictions": {"prediction": 7}}"#, ONE] {
        assert_eq!(rows(&plain(), request, response), ["1.0|x|7|-|-|0|-"], "{response}");
    }
}

#[test]
fn responses_have_values_objects_lists_or_columns() {
    let several = schema(&[("a", "double")], &[("a", "string"), ("p", "double")]);
    let request = r#"{"inputs": [1, 2]}"#;
    for response in [
        r#"{"predictions": [{"a": "u", "p": 0.5}, {"p": 1}]}"#,
        r#"{"predictions": {"p": [0.5, 1], "a": ["u", null]}, "databricks_output": {"trace": {"predictions": 1}}}"#,
        r#"{"predictions": [["u", 0.5], [null, 1]]}"#,
    ] {
        assert_eq!(rows(&several, request, response), ["1.0|u|0.5|-|-|0|-", "2.0|-|1.0|-|-|1|-"], "{response}");
    }
    assert_eq!(several.columns()[1].name, "prediction_a");
}

#[test]
fn a_tensor_without_a_name_is_the_prediction() {
    let model = "signature:\n  inputs: '[{\"type\": \"double\", \"name\": \"a\"}]'\n  outputs: '[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1, 1]}}]'\n";
    let schema = PayloadSchema::of_signature(model).unwrap();
    let request = r#"{"inputs": {"a": [1, 2]}}"#;
    for response in [r#"{"predictions": [[0.5], [1]]}"#, r#"{"predictions": [0.5, 1]}"#] {
        assert_eq!(rows(&schema, request, response), ["1.0|0.5|-|-|0|-", "2.0|1.0|-|-|1|-"]);
    }
    let row = &rows(&schema, request, r#"{"predictions": [{"x": 1}, 2]}"#)[0];
    assert_eq!(row, "-|-|malformed|row 0 is an object, and the columns of the response have no keys|0|{\"x\": 1}");
}

#[test]
fn a_row_that_does_not_fit_is_refused_alone() {
    let types = schema(&[("a", "double"), ("i", "bigint"), ("t", "boolean")], &[("prediction", "double")]);
    let request = r#"{"dataframe_records": [{"a": 1, "i": 1, "t": true}, {"a": "1", "i": 2}, {"i": 1.5}, {"i": 9223372036854775808},
        {"t": 0}, {"a": 1, "a": 2}, 5, {"a": NaN, "i": 2.0}, {"a": 1e999}]}"#;
    let response = r#"{"predictions": [0, 1, 2, 3, 4, 5, 6, -Infinity, 8]}"#;
    assert_eq!(
        rows(&types, request, response),
        [
            "1.0|1|true|0.0|-|-|0|-",
            "-|-|-|-|malformed|column `a`: text where double is expected, in row 1|1|\"1\"",
            "-|-|-|-|malformed|column `i`: no whole number where bigint is expected, in row 2|2|1.5",
            "-|-|-|-|malformed|column `i`: a number out of range where bigint is expected, in row 3|3|9223372036854775808",
            "-|-|-|-|malformed|column `t`: a number where boolean is expected, in row 4|4|0",
            "-|-|-|-|malformed|column `a` comes twice in row 5|5|{\"a\": 1, \"a\": 2}",
            "-|-|-|-|malformed|row 6 is a number, 3 values are expected|6|5",
            "NaN|2|-|-inf|-|-|7|-",
            "-|-|-|-|malformed|column `a`: a number out of range where double is expected, in row 8|8|1e999",
        ]
    );
    // By columns, and on the side of the response, it is the same.
    let rows = rows(&types, r#"{"inputs": {"i": [1, "x", 3], "a": ["y", "z", 1]}}"#, r#"{"predictions": [1, 2, "w"]}"#);
    let reasons: Vec<_> = rows.iter().map(|row| row.split('|').nth(5).unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "column `a`: text where double is expected, in row 0",
            "column `i`: text where bigint is expected, in row 1",
            "column `prediction`: text where double is expected, in row 2"
        ]
    );
}

#[test]
fn lists_of_the_wrong_length_are_refused_alone() {
    let request = r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1], [1, "x"], [1, "x", 2], 4]}}"#;
    let response = r#"{"predictions": [1, 2, 3, 4]}"#;
    assert_eq!(
        rows(&plain(), request, response),
        [
            "-|-|-|malformed|row 0 of `data` has 1 values for 2 columns|0|[1]",
            "1.0|x|2|-|-|1|-",
            "-|-|-|malformed|row 2 of `data` has 3 values for 2 columns|2|[1, \"x\", 2]",
            "-|-|-|malformed|row 3 of `data` is a number, a list is expected|3|4",
        ]
    );
    let row = &rows(&plain(), r#"{"instances": [[1, "x", 2]]}"#, ONE)[0];
    assert_eq!(row, "-|-|-|malformed|row 0 has 3 values for 2 columns|0|[1, \"x\", 2]");
}

#[test]
fn requests_that_are_refused_as_a_whole() {
    for (request, reason) in [
        ("", "request: no valid JSON: EOF while parsing a value at byte 0"),
        ("[1]", "the request is a list, an object is expected"),
        ("\"text\"", "the request is text, an object is expected"),
        ("{}", "the request has none of dataframe_split, dataframe_records, instances and inputs"),
        (r#"{"inputs": [1], "instances": [1]}"#, "the request has both `inputs` and `instances`"),
        (r#"{"inputs": [[1, "x"]], "inputs": [[1, "x"]]}"#, "the request has `inputs` twice"),
        (r#"{"messages": []}"#, "the request has the shape `messages` of a language model, which holds no rows"),
        (r#"{"prompt": "x", "n": 1}"#, "the request has the shape `prompt` of a language model, which holds no rows"),
        (r#"{"inputs": {"a": [1, 2], "b": ["x"]}}"#, "the arrays of `inputs` differ in length: 2 in `a`, 1 in `b`"),
        (r#"{"inputs": {"a": [1], "b": "x"}}"#, "of `b` and `a` in `inputs` only one is an array"),
        (r#"{"inputs": {"a": [1], "a": [2]}}"#, "`a` comes twice in `inputs`"),
        (r#"{"inputs": 5}"#, "`inputs` is a number, a list or an object is expected"),
        (r#"{"instances": {"a": [1]}}"#, "`instances` is an object, a list is expected"),
        (r#"{"dataframe_split": {"data": [[1]]}}"#, "`dataframe_split` has no `columns`"),
        (r#"{"dataframe_split": {"columns": ["a"]}}"#, "`dataframe_split` has no `data`"),
        (r#"{"dataframe_split": {"columns": ["a", "a"], "data": []}}"#, "`columns` has `a` twice"),
        (r#"{"dataframe_split": []}"#, "`dataframe_split` is an empty list, an object is expected"),
        (r#"{"inputs": [[1, "x"]]"#, "no valid JSON: EOF while parsing an object at byte 21"),
        (r#"{"inputs": [[1, "x"],]}"#, "no valid JSON: trailing comma at byte 21"),
        (r#"{"inputs": [[1, "\ud800"]]}"#, "no valid JSON: unexpected end of hex escape at byte 23"),
        (r#"{"inputs": [[1, "x"]]} {}"#, "no valid JSON: trailing characters at byte 23"),
    ] {
        let found = refusal(request, ONE);
        let expected = if reason.starts_with("the ") || reason.starts_with("request: ") {
            reason.to_owned()
        } else {
            format!("request: {reason}")
        };
        assert_eq!(found, expected, "{request}");
    }
}

#[test]
fn responses_that_are_refused_as_a_whole() {
    let request = r#"{"inputs": [[1, "x"]]}"#;
    for (response, reason) in [
        (r#"{"choices": []}"#, "the response has no `predictions`"),
        ("null", "the response is null, an object is expected"),
        (r#"{"predictions": null}"#, "response: `predictions` is null, a value is expected"),
        (r#"{"predictions": [1], "predictions": [1]}"#, "the response has `predictions` twice"),
        (TWO, "the request has 1 rows, the response 2 predictions"),
        (r#"{"predictions": []}"#, "the request has 1 rows, the response 0 predictions"),
        ("{\"predictions\": [1}", "response: no valid JSON: expected `,` or `]` at byte 18"),
    ] {
        let rows = rows(&plain(), request, response);
        assert_eq!(rows, [format!("-|-|-|malformed|{reason}|-|{response}")], "{response}");
    }
}

#[test]
fn a_text_that_is_nested_too_deeply_is_refused_and_harms_nothing() {
    let deep = |levels: usize| format!("{{\"inputs\": [[1, {}{}]]}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(rows(&plain(), &deep(100), ONE).len(), 1);
    let row = &rows(&plain(), &deep(100_000), ONE)[0];
    assert!(row.starts_with("-|-|-|malformed|request: no valid JSON: recursion limit exceeded"), "{row}");
}

#[test]
fn excerpts_are_two_hundred_characters() {
    let request = format!("{{\"inputs\": [1], \"x\": \"{}", "ä".repeat(500));
    let rows = rows(&plain(), &request, ONE);
    assert_eq!(rows[0].rsplit('|').next().unwrap().chars().count(), 200);
}

#[test]
fn unknown_keys_are_counted_and_missing_ones_null() {
    let payloads = [
        (r#"{"dataframe_records": [{"z": {"a": 1}, "a": 1, "y": 2}, {"b": "q"}]}"#, TWO),
        (r#"{"inputs": {"z": [1, 2], "b": ["x", "y"]}}"#, TWO),
        (r#"{"dataframe_split": {"columns": ["a", "z"], "data": [[1, 2], [3, 4]]}}"#, TWO),
    ];
    let (rows, ignored) = unpack(&plain(), &payloads);
    assert_eq!(
        rows,
        ["1.0|-|7|-|-|0|-", "-|q|8|-|-|1|-", "-|x|7|-|-|0|-", "-|y|8|-|-|1|-", "1.0|-|7|-|-|0|-", "3.0|-|8|-|-|1|-"]
    );
    assert_eq!(ignored, 6);
}

#[test]
fn a_refused_payload_leaves_nothing_behind_for_the_next() {
    let lists = schema(&[("a", "array<double>"), ("b", "string")], &[("prediction", "bigint")]);
    let payloads = [
        (r#"{"inputs": [[[1, 2], "x"], [[3], "y"]]}"#, ONE),
        (r#"{"inputs": [[[4], "z"], [["w"], "v"], [[5], "u"]]}"#, r#"{"predictions": [1, 2, 3]}"#),
        (r#"{"inputs": []}"#, r#"{"predictions": []}"#),
        ("{", ONE),
        (r#"{"inputs": [[[6], "t"]]}"#, ONE),
    ];
    let (rows, _) = unpack(&lists, &payloads);
    assert_eq!(
        rows,
        [
            "-|-|-|malformed|the request has 2 rows, the response 1 predictions|-|{\"predictions\": [7]}",
            "[4.0]|z|1|-|-|0|-",
            "-|-|-|malformed|column `a`: text where array<double> is expected, in row 1|1|\"w\"",
            "[5.0]|u|3|-|-|2|-",
            "-|-|-|malformed|request: no valid JSON: EOF while parsing an object at byte 1|-|{",
            "[6.0]|t|7|-|-|0|-",
        ]
    );
}

#[test]
fn texts_that_the_log_left_out_are_malformed_with_its_codes() {
    let mut unpacker = Unpacker::new(&plain());
    unpacker.push(None, Some(ONE), Some("MAX_REQUEST_SIZE_EXCEEDED"));
    unpacker.push(Some("{}"), None, Some(""));
    unpacker.push(None, None, None);
    let rows = unpacker.finish().unwrap().rows;
    let lines = lines(&[RecordBatch::from(rows.values().as_struct())]);
    assert_eq!(
        lines,
        [
            "-|-|-|malformed|the request is null (MAX_REQUEST_SIZE_EXCEEDED)|-|-",
            "-|-|-|malformed|the response is null|-|-",
            "-|-|-|malformed|the request is null|-|-",
        ]
    );
}

#[test]
fn many_names_of_columns_are_looked_at_once_each() {
    // A hundred thousand: in pairs they would take minutes.
    let names: Vec<String> = (0..100_000).map(|name| format!("\"n{name}\"")).collect();
    let request =
        |last: &str| format!(r#"{{"dataframe_split": {{"columns": [{}, {last}], "data": []}}}}"#, names.join(", "));
    let none = r#"{"predictions": []}"#;
    assert_eq!(rows(&plain(), &request("\"a\""), none), [""; 0]);
    assert_eq!(refusal(&request("\"n7\""), none), "request: `columns` has `n7` twice");
    // A list that is refused is not known the next time, nor is the rest of a longer one.
    let (long, short) = (request("\"n7\""), r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"]]}}"#);
    let (found, _) =
        unpack(&plain(), &[(&long, none), (&long, none), (short, ONE), (&request("\"a\""), none), (short, ONE)]);
    let good = found.iter().filter(|row| *row == "1.0|x|7|-|-|0|-").count();
    assert_eq!((found.len(), good), (4, 2), "{found:?}");
}

#[test]
fn long_names_are_cut_in_reasons() {
    let name = "ä".repeat(5_000);
    let request = format!(r#"{{"dataframe_split": {{"columns": ["{name}", "{name}"], "data": []}}}}"#);
    let reason = refusal(&request, ONE);
    assert_eq!(reason, format!("request: `columns` has `{}` twice", "ä".repeat(200)));
}

#[test]
fn a_call_of_too_many_values_is_refused_before_it_takes_their_memory() {
    let columns: Vec<String> = (0..1024).map(|column| format!("c{column}")).collect();
    let columns: Vec<(&str, &str)> = columns.iter().map(|name| (name.as_str(), "double")).collect();
    let wide = schema(&columns, &[("prediction", "bigint")]);
    let of_rows = |(before, row, after): (&str, &str, &str), count: usize| {
        let predictions = vec!["7"; count].join(",");
        let request = format!("{before}{}{after}", vec![row; count].join(","));
        unpack(&wide, &[(&request, &format!(r#"{{"predictions": [{predictions}]}}"#))]).0
    };
    for shape in [
        (r#"{"dataframe_records": ["#, "{}", "]}"),
        (r#"{"dataframe_split": {"columns": ["c0"], "data": ["#, "[1]", "]}}"),
        (r#"{"inputs": {"c0": ["#, "1", "]}}"),
    ] {
        assert_eq!(of_rows(shape, 1024).len(), 1024);
        let refused = of_rows(shape, 1025);
        let [refused] = refused.as_slice() else { panic!("{refused:?}") };
        assert!(refused.contains("malformed|the request has more than 1024 rows of 1024 columns|"), "{refused}");
    }
}

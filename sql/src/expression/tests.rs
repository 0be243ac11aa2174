//! Tests of slicing expressions.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Fields, Schema, TimeUnit};

use super::*;

fn schema() -> DFSchema {
    let point = Fields::from(vec![Field::new("X", DataType::Int64, true), Field::new("y", DataType::Utf8, true)]);
    let fields = vec![
        Field::new("origin", DataType::Utf8, true),
        Field::new("distance", DataType::Int64, true),
        Field::new("DayOfWeek", DataType::Int64, true),
        Field::new("arr delay", DataType::Float64, true),
        Field::new("user", DataType::Utf8, true),
        Field::new("date", DataType::Date32, true),
        Field::new("time.hour", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("a", DataType::Int64, true),
        Field::new("A", DataType::Int64, true),
        Field::new("is_late", DataType::Boolean, true),
        Field::new("Größe", DataType::Float32, true),
        Field::new("point", DataType::Struct(point), true),
        Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
        Field::new("bytes", DataType::Binary, true),
        Field::new("@odd", DataType::Int64, true),
    ];
    DFSchema::try_from(Schema::new(fields)).unwrap()
}

fn read(text: &str) -> Result<SliceExpression, ExpressionError> {
    parse_slice(&SessionContext::new(), text, &schema())
}

fn columns(text: &str) -> Vec<String> {
    let slice = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut names: Vec<_> = slice.expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
    names.sort_unstable();
    names
}

fn say(text: &str) -> String {
    match read(text) {
        Ok(slice) => panic!("{text} was read as {}", slice.expr),
        Err(error) => error.to_string(),
    }
}

fn evaluate(text: &str, columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true)))
            .unwrap();
    let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
    let context = SessionContext::new();
    let slice = parse_slice(&context, text, &schema).unwrap();
    let physical = context.create_physical_expr(slice.expr, &schema).unwrap();
    physical.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap()
}

#[test]
fn predicates_are_told_from_values() {
    for (text, is_predicate) in [
        ("origin", false),
        ("distance > 1000", true),
        ("is_late", true),
        ("origin IN ('JFK', 'LGA') AND distance BETWEEN 1 AND 2", true),
        ("CASE WHEN distance < 500 THEN 'short' ELSE 'long' END", false),
        ("cast(distance AS string)", false),
        ("try_cast(origin AS int) IS NULL", true),
        ("distance % 7", false),
        ("upper(origin) || '-' || \"user\"", false),
        ("date_trunc('month', \"time.hour\")", false),
        ("extract(year FROM date)", false),
        ("date > '2024-01-01'", true),
        ("origin LIKE 'J%'", true),
        ("substring(origin, 1, 1)", false),
        ("array_has(tags, 'x')", true),
        ("origin -- a remark", false),
    ] {
        let slice = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((slice.is_predicate, slice.key.as_str()), (is_predicate, text));
    }
}

#[test]
fn names_are_columns_in_any_case_and_any_quotes() {
    for (text, expected) in [
        ("DayOfWeek", "DayOfWeek"),
        ("dayofweek", "DayOfWeek"),
        ("ORIGIN", "origin"),
        ("`DayOfWeek` = 1", "DayOfWeek"),
        ("`dayofweek` = 1", "DayOfWeek"),
        ("\"DayOfWeek\"", "DayOfWeek"),
        ("`arr delay` > 0", "arr delay"),
        ("\"arr delay\" > 0", "arr delay"),
        ("a", "a"),
        ("A", "A"),
        ("größe", "Größe"),
        ("GRÖSSE IS NULL OR Größe > 1", ""),
        ("user", "user"),
        ("User = 'x'", "user"),
        ("date", "date"),
        ("`time.hour`", "time.hour"),
        ("\"@odd\"", "@odd"),
        ("point.x", "point"),
        ("POINT.X > 3", "point"),
        ("`point`.`y`", "point"),
        ("tags[1]", "tags"),
    ] {
        if expected.is_empty() {
            assert_eq!(read(text).unwrap_err().column(), Some("GRÖSSE"));
        } else {
            assert_eq!(columns(text), [expected], "{text}");
        }
    }
    assert_eq!(columns("CASE WHEN Distance > 1 THEN Origin END"), ["distance", "origin"]);
}

#[test]
fn an_unknown_column_is_named_with_all_that_there_are() {
    let error = read("upper(orign) = 'JFK'").unwrap_err();
    assert_eq!(error.column(), Some("orign"));
    let (name, columns) = error.unknown().unwrap();
    assert_eq!((name, columns.len()), ("orign", 15));
    assert_eq!(error.to_string(), "the table has no column \"orign\"");
    assert_eq!(say("origin = \"JFK\""), "the table has no column \"JFK\", text is written in single quotes");
    assert_eq!(say("flights.origin"), "the table has no column \"flights\"");
    assert_eq!(say("point.z"), "the table has no column \"z\"");
    let wide = DFSchema::try_from(Schema::new(vec![
        Field::new("City", DataType::Utf8, true),
        Field::new("CITY", DataType::Utf8, true),
    ]));
    let error = parse_slice(&SessionContext::new(), "city", &wide.unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "\"city\" may be any of the columns City, CITY, write it as one of them");
}

#[test]
fn syntax_errors_say_where() {
    assert_eq!(say(" "), "the expression is empty, write a column or a condition such as distance > 1000");
    assert_eq!(say("distance >"), "the expression does not parse at its end: expected: an expression, found: EOF");
    assert_eq!(say("distance > )"), "the expression does not parse at character 12: expected: an expression, found: )");
    assert!(say("origin = 'JFK").starts_with("the expression does not parse at character 10: unterminated string"));
    assert!(say("distance\n  > > 1").starts_with("the expression does not parse at line 2, character 5:"));
    assert_eq!(say("origin, distance"), "the expression has more text after it at character 7: \",\"");
    assert_eq!(say("origin; drop table x"), "the expression has more text after it at character 7: \";\"");
    assert_eq!(say("origin AS o"), "the expression has more text after it at character 8: \"AS\"");
    assert_eq!(say("origin FROM x"), "the expression has more text after it at character 8: \"FROM\"");
    assert_eq!(say("SELECT origin"), "the expression has more text after it at character 8: \"origin\"");
    assert_eq!(say(&"x".repeat(4_001)), "the expression has 4001 characters, at most 4000 are read");
    assert!(say(&format!("{}a{}", "(".repeat(1_500), ")".repeat(1_500))).contains("nests too deeply"));
}

#[test]
fn long_chains_never_exhaust_the_stack() {
    let chain = |terms: usize, operator: &str| vec!["a"; terms].join(operator);
    assert!(read(&chain(MAX_DEPTH, "+")).is_ok());
    assert!(read(&vec!["a = 1"; MAX_DEPTH - 1].join(" OR ")).is_ok_and(|slice| slice.is_predicate));
    assert_eq!(read(&chain(MAX_DEPTH + 1, "+")).unwrap_err(), ExpressionError::TooDeep);
    for deep in [chain(2_000, "+"), format!("a{}", "::int".repeat(799)), format!("a{}", " IS NULL".repeat(499))] {
        assert_eq!(read(&deep).unwrap_err(), ExpressionError::TooDeep);
    }
    let many = (0..500).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
    assert!(read(&format!("a IN ({many})")).is_ok_and(|slice| slice.is_predicate));
}

#[test]
fn only_the_row_counts() {
    for text in [
        "(SELECT 1)",
        "(SELECT max(distance) FROM flights)",
        "EXISTS (SELECT 1)",
        "origin IN (SELECT origin FROM airports)",
        "distance > ALL (SELECT 1)",
        "distance > (WITH x AS (SELECT 1) SELECT * FROM x)",
    ] {
        assert_eq!(read(text).unwrap_err(), ExpressionError::Subquery, "{text}");
    }
    for text in [
        "max(distance)",
        "distance > AVG(distance)",
        "count(*)",
        "upper(DISTINCT origin)",
        "abs(a) FILTER (WHERE a > 1)",
    ] {
        assert!(matches!(read(text), Err(ExpressionError::Aggregate { .. })), "{text}: {}", say(text));
    }
    assert_eq!(say("max(distance)"), "a slice cannot aggregate, but max runs over many rows");
    for text in ["row_number() OVER ()", "sum(distance) OVER (ORDER BY a)", "row_number()", "lag(a)"] {
        assert!(matches!(read(text), Err(ExpressionError::Window { .. })), "{text}: {}", say(text));
    }
    for text in ["distance > $1", "distance > ?", "distance > :limit"] {
        assert!(matches!(read(text), Err(ExpressionError::Placeholder { .. })), "{text}: {}", say(text));
    }
    for text in ["distance > @limit", "@@version", "@odd"] {
        assert!(matches!(read(text), Err(ExpressionError::Variable { .. })), "{text}: {}", say(text));
    }
    for text in ["*", "flights.*", "abs(*)"] {
        assert_eq!(read(text).unwrap_err(), ExpressionError::Wildcard, "{text}");
    }
    assert_eq!(say("unnest(tags)"), "there is no function \"unnest\"");
}

#[test]
fn nothing_depends_on_when_it_is_computed() {
    for (text, function) in [
        ("random() < 0.5", "random"),
        ("uuid()", "uuid"),
        ("\"time.hour\" < now()", "now"),
        ("\"time.hour\" < CURRENT_TIMESTAMP", "now"),
        ("date = current_date", "current_date"),
        ("date = current_date()", "current_date"),
        ("date = today()", "current_date"),
        ("current_time IS NULL", "current_time"),
        ("CASE WHEN a > 1 THEN origin ELSE cast(random() AS string) END", "random"),
    ] {
        assert_eq!(read(text).unwrap_err(), ExpressionError::Volatile { function: function.to_owned() }, "{text}");
    }
}

#[test]
fn functions_and_types_must_be_there_and_fit() {
    let error = read("uper(origin)").unwrap_err();
    assert_eq!(error.to_string(), "there is no function \"uper\"");
    let (name, functions) = error.unknown().unwrap();
    assert!(name == "uper" && functions.iter().any(|function| function == "upper"));
    assert_eq!(error.column(), None);
    assert!(say("read_csv('x')").starts_with("there is no function"));
    assert!(say("abs(origin, 1)").starts_with("the expression does not fit the table: "));
    assert!(say("NOT distance").starts_with("the expression does not fit the table: "));
    assert!(!say("abs(origin, 1)").contains('\n'));
    for (text, data_type) in [("point", "struct"), ("tags", "array"), ("bytes", "binary"), ("[a, A]", "array")] {
        assert_eq!(
            say(text),
            format!("the expression yields {data_type}, a slice needs a single value that can be written as text")
        );
    }
    for text in ["1", "'origin'", "true", "1 + 1 = 2", "NULL"] {
        assert_eq!(read(text).unwrap_err(), ExpressionError::Constant, "{text}");
    }
}

#[test]
fn casts_that_would_fail_while_running_are_refused() {
    for text in ["origin > 3", "origin IN (1, 2)", "CASE WHEN Origin = 3 THEN 1 END", "coalesce(origin, 1)"] {
        let expected =
            "the expression takes the text origin for bigint; write try_cast(origin AS bigint) or compare with text";
        assert_eq!(say(text), expected, "{text}");
    }
    assert!(say("distance > 'x'").contains("Cannot cast string 'x'"), "{}", say("distance > 'x'"));
    assert!(say("date > '2024-02-30'").contains("2024-02-30"), "{}", say("date > '2024-02-30'"));
    assert!(say("cast('x' AS int) = a").contains("Cannot cast string 'x'"));
    for text in [
        "distance > '10'",
        "date > '2024-02-29'",
        "distance > 1e3",
        "cast(origin AS bigint) > 3",
        "cast(origin || a AS int) > 3",
        "try_cast(origin AS int) > 3",
        "origin::bigint = 3 AND distance = 1",
        "origin = '3'",
        "\"time.hour\" > '2024-01-01'",
    ] {
        assert!(read(text).is_ok_and(|slice| slice.is_predicate), "{text}");
    }
}

#[test]
fn sql_that_is_not_supported_is_named() {
    assert_eq!(say("origin RLIKE 'x'"), "the expression does not fit the table: RLike is not supported");
    assert_eq!(say("origin COLLATE x"), "the expression does not fit the table: Collate is not supported");
}

#[test]
fn yields_what_it_says() {
    let origin: ArrayRef = Arc::new(StringArray::from(vec![Some("JFK"), Some("LGA"), None]));
    let distance: ArrayRef = Arc::new(Int64Array::from(vec![Some(1_001), Some(1_000), None]));
    let far = evaluate("Distance > 1000", vec![("DISTANCE", Arc::clone(&distance))]);
    assert_eq!(far.as_boolean(), &BooleanArray::from(vec![Some(true), Some(false), None]));
    let text = evaluate(
        "CASE WHEN `the origin` = 'JFK' THEN lower(\"the origin\") ELSE 'other' END",
        vec![("the origin", origin), ("distance", distance)],
    );
    assert_eq!(text.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("jfk"), Some("other"), Some("other")]);
}

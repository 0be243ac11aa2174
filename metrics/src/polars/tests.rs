//! Tests of the frames: Polars' own aggregates as the oracle, and the states of Arrow arrays.
#![expect(clippy::cast_possible_truncation, reason = "the values fit, or may wrap")]

use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int32Array, Int64Array, ListArray, NullArray, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt16Array, UInt64Array,
};
use arrow::datatypes::{Int32Type, Int64Type};
use polars::prelude::{
    Categories, Column, DataType, Expr, FrozenCategories, Int8Chunked, IntoColumn, IntoLazy, NamedFrom, QuantileMethod,
    Series, TimeUnit, TimeZone, UInt16Chunked, col, df, lit,
};

use super::*;
use crate::ColumnState;
use crate::schema::{Shape, drift_schema, profile_schema};

const ROWS: usize = 10_000;

/// Values with nulls among them, more than a block has.
fn sparse<T>(of: impl Fn(i64) -> T) -> Vec<Option<T>> {
    (0..10_000i64).map(|i| (i % 7 != 3).then(|| of(i * i * 31 % 7919 - 2000))).collect()
}

fn series<T, Phantom: ?Sized>(values: T) -> Series
where
    Series: NamedFrom<T, Phantom>,
{
    Series::new("column".into(), values)
}

fn encoded(series: &Series, options: &FrameOptions) -> Vec<u8> {
    state(series, options).unwrap().encode()
}

fn encoded_array(array: &dyn Array, options: &FrameOptions) -> Vec<u8> {
    let mut state = ColumnState::empty(&options.column(ColumnKind::of(array.data_type())));
    state.observe(array).unwrap();
    state.encode()
}

/// The states agree: of the whole, of several chunks, of slices whose bitmaps begin within a byte, with any limits.
fn assert_same(series: &Series, array: &dyn Array) {
    let small = FrameOptions { max_buckets: 50, exact_distinct: 60, ..FrameOptions::default() };
    for options in [FrameOptions::default(), FrameOptions::exact(), small] {
        let whole = encoded_array(array, &options);
        assert!(encoded(series, &options) == whole, "{}", series.dtype());

        let mut chunks = series.slice(0, 13);
        for (from, length) in [(13, 0), (13, 4100), (4113, 1), (4114, ROWS)] {
            chunks.append(&series.slice(from, length)).unwrap();
        }
        assert!(chunks.n_chunks() > 3 && chunks.len() == ROWS);
        assert!(encoded(&chunks, &options) == whole, "{} in chunks", series.dtype());

        let part = encoded_array(array.slice(11, 9001).as_ref(), &options);
        assert!(encoded(&series.slice(11, 9001), &options) == part, "a slice of {}", series.dtype());
        assert!(encoded(&chunks.slice(11, 9001), &options) == part, "a slice of {} in chunks", series.dtype());
    }
}

#[test]
fn numbers_have_the_states_of_arrow_arrays() {
    let odd = |i: i64| match i % 50 {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => -0.0,
        _ => i as f64 * 0.37,
    };
    assert_same(&series(sparse(odd)), &Float64Array::from(sparse(odd)));
    let plain: Vec<f64> = (0..10_000).map(|i| f64::from(i % 977) / 8.0).collect();
    assert_same(&series(&plain), &Float64Array::from(plain));
    assert_same(&series(sparse(|i| i as f32 * 0.1)), &Float32Array::from(sparse(|i| i as f32 * 0.1)));
    assert_same(&series(sparse(|i| i as i32)), &Int32Array::from(sparse(|i| i as i32)));
    assert_same(&series(sparse(|i| i * 12_345)), &Int64Array::from(sparse(|i| i * 12_345)));
    assert_same(&series(sparse(|i| i.unsigned_abs())), &UInt64Array::from(sparse(i64::unsigned_abs)));
}

#[test]
fn integers_that_share_a_double_stay_apart() {
    let wide = |i: i64| if i < 0 { i } else { (1 << 60) + i };
    assert_same(&series(sparse(wide)), &Int64Array::from(sparse(wide)));
    let wide = |i: i64| u64::MAX - i.unsigned_abs();
    assert_same(&series(sparse(wide)), &UInt64Array::from(sparse(wide)));
    let neighbours = series([(1i64 << 60), (1 << 60) + 1]);
    let distinct = state(&neighbours, &FrameOptions::default()).unwrap().freeze().profile().distinct_count;
    assert_eq!(distinct, Some(2));
}

#[test]
fn small_integers_need_no_feature() {
    let mut ours = ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric));
    let bytes = sparse(|i| (i % 100) as i8);
    series::numbers(&mut ours, &bytes.iter().copied().collect::<Int8Chunked>()).unwrap();
    assert!(ours.encode() == encoded_array(&Int8Array::from(bytes), &FrameOptions::default()));
    let mut ours = ColumnState::empty(&ColumnOptions::new(ColumnKind::Numeric));
    let words = sparse(|i| i.unsigned_abs() as u16);
    series::numbers(&mut ours, &words.iter().copied().collect::<UInt16Chunked>()).unwrap();
    assert!(ours.encode() == encoded_array(&UInt16Array::from(words), &FrameOptions::default()));
}

#[test]
fn decimals_have_the_states_of_arrow_arrays() {
    for factor in [1, 1_000_000_000_000_000i128] {
        let digits = sparse(|i| i128::from(i) * factor + i128::from(i % 3));
        let array = Decimal128Array::from(digits.clone());
        let decimals = series(&digits).into_decimal(30, 4).unwrap();
        assert_same(&decimals, &array.clone().with_precision_and_scale(30, 4).unwrap());
        assert_same(&series(&digits), &array.with_precision_and_scale(38, 0).unwrap());
    }
}

#[test]
fn categories_have_the_states_of_arrow_arrays() {
    let flags = sparse(|i| i % 3 == 0);
    assert_same(&series(&flags), &BooleanArray::from(flags));

    let words = sparse(|i| match i % 40 {
        0 => String::new(),
        1 => format!("ein längerer Text, der nicht in einen „View“ passt: {i}"),
        _ => format!("Wort {}", i % 300),
    });
    let text = StringArray::from(words.clone());
    let strings = series(&words);
    assert_same(&strings, &text);

    let names: DictionaryArray<Int32Type> = text.iter().collect();
    let categorical = DataType::from_categories(Categories::global());
    assert_same(&strings.cast(&categorical).unwrap(), &names);
    let mut levels: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
    levels.sort_unstable();
    levels.dedup();
    let levels = FrozenCategories::new(levels).unwrap();
    assert_same(&strings.cast(&DataType::from_frozen_categories(levels)).unwrap(), &names);
    // Few levels have keys of one byte.
    let few = series(sparse(|i| if i % 3 == 0 { "yes" } else { "no" }));
    let levels = FrozenCategories::new(["no", "perhaps", "yes"]).unwrap();
    let answers: DictionaryArray<Int32Type> = few.str().unwrap().iter().collect();
    assert_same(&few.cast(&DataType::from_frozen_categories(levels)).unwrap(), &answers);
}

#[test]
fn many_strings_are_counted_in_parts() {
    let words: Vec<String> = (0..200_000).map(|i| format!("{}", i % 150_000)).collect();
    let options = FrameOptions::default();
    let array = StringArray::from(words.clone());
    assert!(encoded(&series(&words), &options) == encoded_array(&array, &options));
}

#[test]
fn times_have_the_states_of_arrow_arrays() {
    // From before 1970 to after 2255, where microseconds are not all doubles.
    let days = sparse(|i| i as i32 * 30);
    assert_same(&series(&days).cast(&DataType::Date).unwrap(), &Date32Array::from(days));

    for step in [1_000i64, 86_400_123, 40_000_000_007] {
        let ticks = sparse(|i| i * step);
        for zone in [None, Some(TimeZone::UTC)] {
            let of = |unit| series(&ticks).into_datetime(unit, zone.clone());
            let name = zone.as_ref().map(|_| "UTC");
            let millis = TimestampMillisecondArray::from(ticks.clone()).with_timezone_opt(name);
            assert_same(&of(TimeUnit::Milliseconds), &millis);
            let micros = TimestampMicrosecondArray::from(ticks.clone()).with_timezone_opt(name);
            assert_same(&of(TimeUnit::Microseconds), &micros);
            let nanos = TimestampNanosecondArray::from(ticks.clone()).with_timezone_opt(name);
            assert_same(&of(TimeUnit::Nanoseconds), &nanos);
        }
    }
    let far = sparse(|i| i * 900_000_000_000_000);
    let array = TimestampMicrosecondArray::from(far.clone());
    assert_same(&series(far).into_datetime(TimeUnit::Microseconds, None), &array);
}

#[test]
fn lengths_of_bytes_and_lists() {
    let length = |i: i64| usize::try_from(i.rem_euclid(9)).unwrap();
    let bytes: Vec<Option<Vec<u8>>> = sparse(|i| i.to_le_bytes().repeat(2)[..length(i)].to_vec());
    let array = BinaryArray::from_iter(&bytes);
    assert_same(&series(bytes), &array);
    let lists: Vec<Option<Vec<i64>>> = sparse(|i| vec![i; length(i)]);
    let array = ListArray::from_iter_primitive::<Int64Type, _, _>(
        lists.iter().map(|list| list.as_ref().map(|list| list.iter().copied().map(Some))),
    );
    let own: Vec<Option<Series>> = lists.into_iter().map(|list| list.map(series)).collect();
    assert_same(&series(own), &array);
}

#[test]
fn types_without_statistics_are_counted() {
    assert_same(&Series::new_null("column".into(), ROWS), &NullArray::new(ROWS));
}

fn frame(shift: f64) -> DataFrame {
    let when: Vec<Option<i64>> = sparse(|i| i * 3_600_000_123);
    let columns = [
        ("number", series(sparse(|i| i as f64 * 0.37 + shift))),
        ("word", series((0..ROWS).map(|i| format!("level {}", i * i % 11)).collect::<Vec<_>>())),
        ("flag", series((0..ROWS).map(|i| i % 3 == 0).collect::<Vec<_>>())),
        ("integer", series((0..10_000i64).map(|i| i * 7 % 4001).collect::<Vec<_>>())),
        ("day", series(sparse(|i| i as i32)).cast(&DataType::Date).unwrap()),
        ("when", series(when).into_datetime(TimeUnit::Microseconds, Some(TimeZone::UTC))),
    ];
    let columns: Vec<Column> =
        columns.into_iter().map(|(name, series)| series.with_name(name.into()).into_column()).collect();
    DataFrame::new(ROWS, columns).unwrap()
}

fn cell(frame: &DataFrame, column: &str, row: usize) -> Option<f64> {
    frame.column(column).unwrap().get(row).unwrap().try_extract::<f64>().ok()
}

fn reason(frame: &DataFrame, row: usize) -> Option<&str> {
    frame.column("reason").unwrap().str().unwrap().get(row)
}

/// Polars as the oracle: its own aggregates of the same columns.
#[test]
fn a_profile_agrees_with_polars() {
    let frame = frame(0.0);
    let profile = profile(&frame, &FrameOptions::exact()).unwrap();
    let near = |what: &str, row: usize, theirs: f64| {
        let ours = cell(&profile, what, row).unwrap();
        assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{what} of {row}: {ours}, {theirs}");
    };
    for (row, column) in frame.columns().iter().enumerate() {
        let series = column.as_materialized_series();
        near("count", row, series.len() as f64);
        near("num_nulls", row, series.null_count() as f64);
        near("distinct_count", row, series.drop_nulls().n_unique().unwrap() as f64);
        if series.dtype().is_primitive_numeric() {
            near("avg", row, series.mean().unwrap());
            near("stddev", row, series.std(1).unwrap());
        }
        if series.dtype().is_primitive_numeric() || series.dtype().is_temporal() {
            // Times in seconds since the epoch.
            let (numbers, unit) = match series.dtype() {
                DataType::Date => (series.to_physical_repr().into_owned(), 86_400.0),
                DataType::Datetime(..) => (series.to_physical_repr().into_owned(), 1e-6),
                _ => (series.clone(), 1.0),
            };
            near("min", row, numbers.min::<f64>().unwrap().unwrap() * unit);
            near("max", row, numbers.max::<f64>().unwrap().unwrap() * unit);
            // The lower empirical quantile is theirs by this name; 1/8 is exact in both.
            let quantiles = profile.column("quantiles").unwrap().list().unwrap().get_as_series(row).unwrap();
            for eighth in 0..=8u32 {
                let (share, at) = (f64::from(eighth) / 8.0, 125 * eighth as usize);
                let theirs = numbers.quantile_reduce(share, QuantileMethod::Equiprobable).unwrap();
                let theirs = theirs.value().try_extract::<f64>().unwrap() * unit;
                let ours = quantiles.f64().unwrap().get(at).unwrap();
                assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{share} of {row}: {ours}, {theirs}");
            }
        }
    }
}

#[test]
fn a_drift_sees_what_moved_and_nothing_else() {
    let drift = drift(&frame(0.0), frame(400.0), &FrameOptions::default()).unwrap();
    let psi: Vec<Option<f64>> = (0..6).map(|row| cell(&drift, "population_stability_index", row)).collect();
    assert!(psi[0] > Some(0.1), "{psi:?}");
    assert!(psi[1..4].iter().all(|&psi| psi == Some(0.0)) && psi[4..] == [None, None], "{psi:?}");
    let certified = ["wasserstein_lower", "wasserstein_distance", "wasserstein_upper"];
    let certified = certified.map(|name| cell(&drift, name, 0).unwrap());
    assert!(certified.is_sorted() && (certified[1] - 400.0).abs() < 1e-6, "{certified:?}");
    assert_eq!(cell(&drift, "avg_delta", 0).map(f64::round), Some(400.0));
}

#[test]
fn a_query_gives_what_its_frame_gives() {
    let (old, new) = (frame(0.0), frame(1.0));
    let options = FrameOptions::default();
    let eager = profile(&new, &options).unwrap();
    assert!(profile(new.clone().lazy(), &options).unwrap().equals_missing(&eager));
    let eager = drift(&old, &new, &options).unwrap();
    assert!(drift(old.lazy(), new.clone().lazy(), &options).unwrap().equals_missing(&eager));
    let gone = drift(&new, new.clone().lazy().filter(lit(false)), &options).unwrap();
    assert_eq!(reason(&gone, 0), Some("the current side has no value"));
}

/// A column that cannot be computed.
fn broken() -> Expr {
    col("word").strict_cast(DataType::Float64).alias("broken")
}

#[test]
fn of_a_query_only_shared_columns_are_computed() {
    let frame = frame(0.0);
    let options = FrameOptions::default();
    let query = frame.clone().lazy().with_column(broken());
    assert!(profile(query.clone(), &options).is_err());
    let drifts = drift(&frame, query.clone(), &options).unwrap();
    assert_eq!(drifts.height(), 7);
    assert_eq!(cell(&drifts, "ks_test_statistic", 0), Some(0.0));
    assert_eq!(reason(&drifts, 6), Some("the baseline has no such column"));
    let drifts = drift(query, &frame, &options).unwrap();
    assert_eq!(reason(&drifts, 6), Some("the current frame has no such column"));
    assert_eq!(drifts.column("data_type").unwrap().str().unwrap().get(6), Some("f64"));
    let nothing = drift(frame.lazy(), df!("x" => [1]).unwrap().lazy(), &options).unwrap();
    assert_eq!(nothing.height(), 7);
}

#[test]
fn a_column_that_cannot_be_compared_costs_no_other() {
    let lists = Series::new("mixed".into(), [series([1, 2]), series([3])]);
    let numbers = df!("^x.*$" => [1.0, 2.0], "mixed" => [1, 2]).unwrap();
    let mut nested = numbers.clone();
    nested.with_column(lists.into_column()).unwrap();
    let options = FrameOptions::default();
    let profiles = profile(&nested, &options).unwrap();
    assert_eq!(cell(&profiles, "avg", 0), Some(1.5));
    assert_eq!(cell(&profiles, "count", 1), Some(2.0));
    assert_eq!(reason(&profiles, 1), None);
    let drifts = drift(&numbers, nested.lazy(), &options).unwrap();
    assert_eq!(cell(&drifts, "ks_test_statistic", 0), Some(0.0));
    assert_eq!(reason(&drifts, 1), Some("the baseline's column is numeric, the current one length"));
}

#[test]
fn frames_without_columns_have_no_rows() {
    let options = FrameOptions::default();
    assert_eq!(profile(&DataFrame::empty(), &options).unwrap().height(), 0);
    assert_eq!(drift(DataFrame::empty().lazy(), DataFrame::empty(), &options).unwrap().height(), 0);
}

#[test]
fn the_columns_are_those_of_the_metric_tables() {
    // Of windows, slices and models, and lists of structures.
    let others = [
        "window",
        "window_cmp",
        "window_complete",
        "log_type",
        "logging_table_commit_version",
        "monitor_version",
        "granularity",
        "slice_key",
        "slice_value",
        "drift_type",
        "model_id_cmp",
        "refreshed_at",
        "non_null_columns",
        "non_null_columns_delta",
        "frequent_items",
        "psi_bins",
    ];
    let frame = frame(0.0);
    let options = FrameOptions::default();
    for (ours, schema) in [
        (profile(&frame, &options).unwrap(), profile_schema(&Shape::default())),
        (drift(&frame, &frame, &options).unwrap(), drift_schema(&Shape::default())),
    ] {
        let names = schema.fields().iter().filter(|field| !others.contains(&field.name().as_str()));
        let names: Vec<String> = names
            .flat_map(|field| match field.data_type() {
                arrow::datatypes::DataType::Struct(fields) => {
                    fields.iter().map(|part| format!("{}_{}", field.name(), part.name())).collect()
                }
                _ => vec![field.name().clone()],
            })
            .collect();
        assert_eq!(ours.get_column_names_owned(), names);
    }
}

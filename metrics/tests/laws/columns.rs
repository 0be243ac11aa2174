//! Columns of every kind and type, also through groups: the laws, and one encoding for one multiset.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array,
    UInt64Array,
};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Int64Type, i256};
use limno_fixtures::SplitMix64;
use limno_metrics::Result;
use limno_metrics::column::{ColumnGroups, ColumnKind, ColumnOptions, ColumnState};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::laws::{Mergeable, mergeable_state_laws};
use crate::values::{index, integers, limits, numbers, strings, with_nan};

/// A column's state has the methods of the others, but is no `MergeableState`.
#[derive(Debug, Clone)]
pub(crate) struct Column(ColumnState);

impl Column {
    fn empty(options: &ColumnOptions) -> Self {
        Self(ColumnState::empty(options))
    }

    fn observe(&mut self, values: &[Row]) {
        if let Some(Row { array, .. }) = values.first() {
            let wanted: Vec<usize> = values.iter().map(|value| value.row).collect();
            self.0.observe(&rows(array, &wanted)).unwrap();
        }
    }
}

impl Mergeable for Column {
    fn merged(mut self, other: &Self) -> Result<Self> {
        self.0.merge(&other.0).map(|()| self)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        ColumnState::decode(bytes).map(Self)
    }

    fn heap(&self) -> usize {
        self.0.heap_size()
    }

    fn assert_holds(&self) -> TestCaseResult {
        crate::bytes::assert_answers(&self.0)
    }
}

/// A value of a column, where it stands.
#[derive(Clone)]
struct Row {
    array: ArrayRef,
    row: usize,
}

impl Debug for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.array.slice(self.row, 1))
    }
}

/// The values of an array, to be taken apart.
fn values(arrays: BoxedStrategy<ArrayRef>) -> impl Strategy<Value = Vec<Row>> {
    arrays.prop_map(|array| (0..array.len()).map(|row| Row { array: Arc::clone(&array), row }).collect())
}

/// Every fifth value or so becomes null, as the seed has it.
fn with_nulls<T>(values: Vec<T>, seed: u64) -> Vec<Option<T>> {
    let mut rng = SplitMix64::new(seed);
    let share = if rng.chance(0.5) { 0.2 } else { 0.0 };
    values.into_iter().map(|value| (!rng.chance(share)).then_some(value)).collect()
}

fn numeric() -> BoxedStrategy<ArrayRef> {
    let array = |array: ArrayRef| array;
    prop_oneof![
        4 => (numbers(), any::<u64>())
            .prop_map(move |(v, seed)| array(Arc::new(Float64Array::from(with_nulls(with_nan(v, seed), seed))))),
        3 => (integers(), any::<u64>()).prop_map(move |(v, seed)| array(Arc::new(Int64Array::from(with_nulls(v, seed))))),
        1 => integers().prop_map(move |v| {
            array(Arc::new(UInt64Array::from_iter_values(v.into_iter().map(i64::cast_unsigned))))
        }),
        1 => integers().prop_map(move |v| {
            let wide = v.iter().map(|&x| i128::from(x) * if x % 2 == 0 { 1 } else { 1_000_000_000 });
            let decimals = Decimal128Array::from_iter_values(wide).with_precision_and_scale(38, 2);
            array(Arc::new(decimals.unwrap()))
        }),
        1 => integers().prop_map(move |v| {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64));
            cast(&array(Arc::new(Int64Array::from(v))), &dictionary).unwrap()
        }),
        1 => numbers().prop_map(move |v| cast(&array(Arc::new(Float64Array::from(v))), &DataType::Float32).unwrap()),
    ]
    .boxed()
}

fn temporal() -> BoxedStrategy<ArrayRef> {
    let micros = -1_000_000_000_000i64..4_000_000_000_000_000;
    let array = |array: ArrayRef| array;
    prop_oneof![
        (proptest::collection::vec(micros, 0..700), any::<u64>()).prop_map(move |(v, seed)| {
            array(Arc::new(TimestampMicrosecondArray::from(with_nulls(v, seed)).with_timezone("UTC")))
        }),
        // Steps that microseconds do not show, and instants that doubles of microseconds do not.
        (integers(), any::<u64>()).prop_map(move |(v, seed)| {
            array(Arc::new(TimestampNanosecondArray::from(with_nulls(v, seed)).with_timezone("+02:00")))
        }),
        integers().prop_map(move |v| array(Arc::new(TimestampMicrosecondArray::from(v)))),
        proptest::collection::vec(-1000..20_000i32, 0..700).prop_map(move |v| array(Arc::new(Date32Array::from(v)))),
    ]
    .boxed()
}

fn categorical() -> BoxedStrategy<ArrayRef> {
    let array = |array: ArrayRef| array;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let text =
        (strings(), any::<u64>()).prop_map(move |(v, seed)| array(Arc::new(StringArray::from(with_nulls(v, seed)))));
    prop_oneof![
        2 => text.clone(),
        1 => text.prop_map(move |strings| cast(&strings, &dictionary).unwrap()),
        1 => (proptest::collection::vec(any::<bool>(), 0..60), any::<u64>())
            .prop_map(move |(v, seed)| array(Arc::new(BooleanArray::from(with_nulls(v, seed))))),
        1 => integers().prop_map(move |v| array(Arc::new(Int64Array::from(v)))),
    ]
    .boxed()
}

fn opaque() -> BoxedStrategy<ArrayRef> {
    (strings(), any::<u64>())
        .prop_map(|(values, seed)| -> ArrayRef {
            let values = with_nulls(values, seed);
            Arc::new(BinaryArray::from_iter(values.iter().map(|v| v.as_ref().map(String::as_bytes))))
        })
        .boxed()
}

/// Bytes, lists and maps: of each length the same few values.
fn measurable() -> BoxedStrategy<ArrayRef> {
    let item = || Arc::new(Field::new_list_field(DataType::Int64, true));
    let types = vec![
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::List(item()),
        DataType::LargeList(item()),
        DataType::ListView(item()),
        DataType::LargeListView(item()),
    ];
    (proptest::collection::vec(0..40usize, 0..300), prop::sample::select(types), any::<u64>())
        .prop_map(|(lengths, data_type, seed)| {
            let lengths = with_nulls(lengths, seed);
            let plain: ArrayRef =
                if matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) {
                    Arc::new(BinaryArray::from_iter(
                        lengths.iter().map(|length| length.map(|length| vec![7u8; length])),
                    ))
                } else {
                    let list = |length: usize| (0..length as i64).map(Some);
                    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lengths.iter().map(|x| x.map(list))))
                };
            cast(&plain, &data_type).unwrap()
        })
        .boxed()
}

fn options(kind: ColumnKind) -> impl Strategy<Value = ColumnOptions> + Clone {
    (limits(), prop::sample::select(vec![10u32, 300, 4096, u32::MAX]))
        .prop_map(move |(max_buckets, exact_distinct)| ColumnOptions { kind, max_buckets, exact_distinct })
}

fn rows(array: &ArrayRef, rows: &[usize]) -> ArrayRef {
    let rows = UInt32Array::from_iter_values(rows.iter().map(|&row| u32::try_from(row).unwrap()));
    take(array, &rows, None).unwrap()
}

/// The smaller of two columns' limits.
fn least(left: &ColumnOptions, right: &ColumnOptions) -> ColumnOptions {
    ColumnOptions {
        kind: left.kind,
        max_buckets: left.max_buckets.min(right.max_buckets),
        exact_distinct: left.exact_distinct.min(right.exact_distinct),
    }
}

mergeable_state_laws!(mod of_numbers {
    cases: 200,
    limits: options(ColumnKind::Numeric),
    values: values(numeric()),
    empty: Column::empty,
    observe: Column::observe,
    least: least,
});

mergeable_state_laws!(mod of_times {
    cases: 150,
    limits: options(ColumnKind::Temporal),
    values: values(temporal()),
    empty: Column::empty,
    observe: Column::observe,
    least: least,
});

mergeable_state_laws!(mod of_categories {
    cases: 150,
    limits: options(ColumnKind::Categorical),
    values: values(categorical()),
    empty: Column::empty,
    observe: Column::observe,
    least: least,
});

mergeable_state_laws!(mod of_lengths {
    cases: 100,
    limits: options(ColumnKind::Length),
    values: values(measurable()),
    empty: Column::empty,
    observe: Column::observe,
    least: least,
});

mergeable_state_laws!(mod of_anything_else {
    cases: 60,
    limits: options(ColumnKind::Opaque),
    values: values(opaque()),
    empty: Column::empty,
    observe: Column::observe,
    least: least,
});

/// Groups yield what each would by itself.
fn assert_groups(array: &ArrayRef, options: &ColumnOptions, seed: u64) -> Result<(), TestCaseError> {
    let rng = &mut SplitMix64::new(seed.rotate_left(7));
    let count = index(rng.below(5)) + 1;
    // The last number stands for rows that belong to no group.
    let member: Vec<usize> = (0..array.len()).map(|_| index(rng.below(count as u64 + 1))).collect();
    let mut order: Vec<usize> = (0..array.len()).collect();
    rng.shuffle(&mut order);
    let mut groups = ColumnGroups::new(*options);
    let batch = index(rng.below(400)) + 1;
    for (at, wanted) in order.chunks(batch).enumerate() {
        // Groups come into being as rows of theirs arrive.
        groups.resize(if at == 0 { count.div_ceil(2) } else { count });
        let group = |&row: &usize| if member[row] < groups.len() { member[row] } else { usize::MAX };
        let of: Vec<usize> = wanted.iter().map(group).collect();
        groups.observe(&rows(array, wanted), &of).unwrap();
    }
    groups.resize(count);
    let first = &order[..order.len().min(batch)];
    let is_seen = |row: usize, group: usize| group < count.div_ceil(2) || !first.contains(&row);
    // Some are taken early, as an aggregation does that emits its first groups.
    let early = index(rng.below(count as u64 + 1));
    let mut states = groups.take(early);
    states.extend(groups.into_states());
    prop_assert_eq!(states.len(), count);
    for (group, state) in states.iter().enumerate() {
        let of: Vec<usize> = (0..array.len()).filter(|&row| member[row] == group && is_seen(row, group)).collect();
        let expected = ColumnState::of(&rows(array, &of), options)?;
        prop_assert!(state.encode() == expected.encode(), "group {group} of {count}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::cases(300))]

    #[test]
    fn groups_of_numbers(array in numeric(), options in options(ColumnKind::Numeric), seed: u64) {
        assert_groups(&array, &options, seed)?;
    }

    #[test]
    fn groups_of_times(array in temporal(), options in options(ColumnKind::Temporal), seed: u64) {
        assert_groups(&array, &options, seed)?;
    }

    #[test]
    fn groups_of_categories(array in categorical(), options in options(ColumnKind::Categorical), seed: u64) {
        assert_groups(&array, &options, seed)?;
    }

    #[test]
    fn groups_of_lengths(array in measurable(), options in options(ColumnKind::Length), seed: u64) {
        assert_groups(&array, &options, seed)?;
    }

    #[test]
    fn groups_of_anything_else(array in opaque(), options in options(ColumnKind::Opaque), seed: u64) {
        assert_groups(&array, &options, seed)?;
    }

    /// How values are stored says nothing about them.
    #[test]
    fn encodings_of_strings_are_alike(values in strings(), seed: u64, options in options(ColumnKind::Categorical)) {
        let plain: ArrayRef = Arc::new(StringArray::from(with_nulls(values, seed)));
        let expected = ColumnState::of(&plain, &options)?.encode();
        let dictionary = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
        for other in [DataType::LargeUtf8, DataType::Utf8View, dictionary] {
            let other = cast(&plain, &other).unwrap();
            prop_assert!(ColumnState::of(&other, &options)?.encode() == expected, "{}", other.data_type());
        }
    }

    #[test]
    fn widths_of_numbers_are_alike(
        values in proptest::collection::vec(0..100i64, 0..900),
        seed: u64,
        options in options(ColumnKind::Numeric),
    ) {
        let plain: ArrayRef = Arc::new(Int64Array::from(with_nulls(values, seed)));
        let expected = ColumnState::of(&plain, &options)?.encode();
        let types = [
            DataType::Int8,
            DataType::Int32,
            DataType::UInt8,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(20, 3),
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64)),
        ];
        for other in types {
            let other = cast(&plain, &other).unwrap();
            prop_assert!(ColumnState::of(&other, &options)?.encode() == expected, "{}", other.data_type());
        }
    }
}

/// The interner of strings is emptied on the way.
#[test]
fn more_strings_than_are_interned() {
    let values: Vec<String> = (0..90_000u32).map(|i| format!("s{}", i.wrapping_mul(2_654_435_761))).collect();
    let array: ArrayRef = Arc::new(StringArray::from(values));
    for options in [ColumnOptions::new(ColumnKind::Categorical), ColumnOptions::exact(ColumnKind::Categorical)] {
        let whole = ColumnState::of(&array, &options).unwrap();
        let mut pieces = ColumnState::empty(&options);
        for start in (0..array.len()).step_by(7000).rev() {
            pieces.observe(&array.slice(start, 7000.min(array.len() - start))).unwrap();
        }
        assert!(whole.encode() == pieces.encode());
        let count = whole.freeze().profile().distinct_count.unwrap();
        assert!(count.abs_diff(90_000) <= if options.exact_distinct == u32::MAX { 0 } else { 7000 }, "{count}");
    }
}

/// Kinds do not mix, and a column of the wrong type is refused whole.
#[test]
fn what_does_not_fit_is_refused() {
    let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let strings: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let numeric = ColumnOptions::new(ColumnKind::Numeric);
    let mut state = ColumnState::of(&numbers, &numeric).unwrap();
    let before = state.encode();
    let other = ColumnState::of(&strings, &ColumnOptions::new(ColumnKind::Categorical)).unwrap();
    assert!(state.merge(&other).is_err());
    assert!(state.encode() == before, "a merge that fails changes nothing");
    assert!(state.observe(&strings).is_err());
    assert!(state.encode() == before, "values that are refused change nothing");
    let both = concat(&[&*numbers, &*numbers]).unwrap();
    assert!(ColumnGroups::new(numeric).observe(&both, &[0]).is_err(), "lengths differ");
}

/// A count of distinct values that calls itself exact is, also of types that hold more than a double does.
#[test]
fn an_exact_count_is_exact() {
    let seconds = 253_402_300_799_000_000;
    let arrays: [ArrayRef; 4] = [
        Arc::new(TimestampNanosecondArray::from(vec![1, 2, 3])),
        Arc::new(TimestampMicrosecondArray::from(vec![seconds, seconds + 1, seconds + 2])),
        Arc::new(Decimal256Array::from_iter_values([0, 1, 2].map(|step| i256::from_i128((1 << 60) + step)))),
        Arc::new(Decimal128Array::from_iter_values([0, 1, 2].map(|step| (1 << 60) + step))),
    ];
    for array in arrays {
        let options = ColumnOptions::new(ColumnKind::of(array.data_type()));
        let profile = ColumnState::of(&array, &options).unwrap().freeze().profile();
        assert!(
            profile.distinct_count == Some(3) || profile.distinct_is_exact == Some(false),
            "{}: {:?} of 3, and exact",
            array.data_type(),
            profile.distinct_count
        );
    }
}

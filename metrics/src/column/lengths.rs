//! How long the values of an array are: bytes of bytes, elements of lists, entries of maps.

use arrow::array::{Array, AsArray, OffsetSizeTrait};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::arrays::{Runs, unfit};
use crate::Result;

/// The length of each row's value; `None` of nulls.
///
/// # Errors
/// When the type's values have no length, or one that is counted otherwise: strings are categories.
pub(super) fn lengths_of(array: &dyn Array) -> Result<Vec<Option<u64>>> {
    if let Some(Runs { values, runs }) = Runs::of(array) {
        let lengths = lengths_of(&values)?;
        let run = |&(position, length): &(usize, u64)| {
            std::iter::repeat_n(lengths[position], usize::try_from(length).unwrap_or(0))
        };
        return Ok(runs.iter().flat_map(run).collect());
    }
    Ok(match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = lengths_of(dictionary.values().as_ref())?;
            if values.is_empty() {
                return Ok(vec![None; array.len()]);
            }
            let keys = dictionary.normalized_keys().into_iter().map(|key| values[key]);
            valid(keys, dictionary.keys().nulls())
        }
        DataType::Binary => valid(steps(array.as_binary::<i32>().offsets()), array.nulls()),
        DataType::LargeBinary => valid(steps(array.as_binary::<i64>().offsets()), array.nulls()),
        DataType::BinaryView => {
            valid(array.as_binary_view().lengths().map(|length| Some(u64::from(length))), array.nulls())
        }
        DataType::List(_) => valid(steps(array.as_list::<i32>().offsets()), array.nulls()),
        DataType::LargeList(_) => valid(steps(array.as_list::<i64>().offsets()), array.nulls()),
        DataType::Map(..) => valid(steps(array.as_map().offsets()), array.nulls()),
        DataType::ListView(_) => valid(sizes(array.as_list_view::<i32>().sizes()), array.nulls()),
        DataType::LargeListView(_) => valid(sizes(array.as_list_view::<i64>().sizes()), array.nulls()),
        DataType::FixedSizeBinary(length) | DataType::FixedSizeList(_, length) => {
            let length = u64::try_from(*length).ok();
            valid((0..array.len()).map(|_| length), array.nulls())
        }
        _ => return Err(unfit(array, "bytes, a list or a map")),
    })
}

fn valid(lengths: impl Iterator<Item = Option<u64>>, nulls: Option<&NullBuffer>) -> Vec<Option<u64>> {
    match nulls {
        None => lengths.collect(),
        Some(nulls) => lengths.zip(nulls).map(|(length, is_valid)| length.filter(|_| is_valid)).collect(),
    }
}

fn steps<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> impl Iterator<Item = Option<u64>> {
    offsets.lengths().map(|length| Some(length as u64))
}

fn sizes<O: OffsetSizeTrait>(sizes: &[O]) -> impl Iterator<Item = Option<u64>> {
    sizes.iter().map(|size| Some(size.as_usize() as u64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, Int64Array, ListArray, MapArray, StringArray,
        new_null_array,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::compute::cast;
    use arrow::datatypes::{Field, Int64Type};

    use super::*;
    use crate::ColumnState;
    use crate::column::{ColumnKind, ColumnOptions};
    use crate::drift::{DriftOptions, compare};

    const LENGTHS: [Option<u64>; 5] = [Some(2), None, Some(0), Some(15), Some(2)];

    fn assert_lengths(array: &ArrayRef, expected: &[Option<u64>]) {
        assert_eq!(ColumnKind::of(array.data_type()), ColumnKind::Length, "{}", array.data_type());
        assert_eq!(lengths_of(array).unwrap(), expected, "{}", array.data_type());
        assert_eq!(lengths_of(&array.slice(1, 3)).unwrap(), expected[1..4], "a slice of {}", array.data_type());
    }

    #[test]
    fn of_every_layout() {
        let usual = |length: Option<u64>| length.map(|length| usize::try_from(length).unwrap());
        let bytes: ArrayRef =
            Arc::new(BinaryArray::from_iter(LENGTHS.iter().map(|length| usual(*length).map(|n| vec![9u8; n]))));
        let field = |name, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
        let run_ends =
            DataType::RunEndEncoded(field("run_ends", DataType::Int32, false), field("values", DataType::Binary, true));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Binary));
        for layout in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView, dictionary, run_ends] {
            assert_lengths(&cast(&bytes, &layout).unwrap(), &LENGTHS);
        }
        let lists = LENGTHS.iter().map(|length| length.map(|length| (0..length.cast_signed()).map(Some)));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let item = || Arc::new(Field::new_list_field(DataType::Int64, true));
        for layout in [
            DataType::List(item()),
            DataType::LargeList(item()),
            DataType::ListView(item()),
            DataType::LargeListView(item()),
        ] {
            assert_lengths(&cast(&lists, &layout).unwrap(), &LENGTHS);
        }
    }

    #[test]
    fn of_fixed_sizes_and_maps() {
        let fixed = [Some(3), None, Some(3), Some(3), None];
        let bytes = fixed.iter().map(|length| length.map(|_| *b"abc"));
        assert_lengths(
            &(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, 3).unwrap()) as ArrayRef),
            &fixed,
        );
        let lists = fixed.iter().map(|length| length.map(|_| [Some(1), None, Some(2)]));
        assert_lengths(
            &(Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(lists, 3)) as ArrayRef),
            &fixed,
        );
        let keys = Arc::new(StringArray::from_iter_values((0..19).map(|key| key.to_string())));
        let entries = arrow::array::StructArray::from(vec![
            (Arc::new(Field::new("keys", DataType::Utf8, false)), keys as ArrayRef),
            (Arc::new(Field::new("values", DataType::Int64, true)), Arc::new(Int64Array::from(vec![1; 19]))),
        ]);
        let offsets = OffsetBuffer::from_lengths([2, 0, 0, 15, 2]);
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        let nulls = NullBuffer::from(vec![true, false, true, true, true]);
        let maps: ArrayRef = Arc::new(MapArray::new(field, offsets, entries, Some(nulls), false));
        assert_lengths(&maps, &LENGTHS);
    }

    #[test]
    fn a_column_has_lengths_and_no_distances() {
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"ab"[..]), None, Some(b""), Some(b"abcd")]));
        let column =
            || ColumnState::of(&bytes, &ColumnOptions::new(ColumnKind::of(bytes.data_type()))).unwrap().freeze();
        let profile = column().profile();
        assert_eq!((profile.count, profile.num_nulls), (4, 1));
        assert_eq!((profile.min_length, profile.max_length, profile.avg_length), (Some(0.0), Some(4.0), Some(2.0)));
        assert_eq!((profile.reason, profile.distinct_count), (None, None));
        let drift = compare(&column(), &column(), &DriftOptions::default()).unwrap();
        assert_eq!(drift.reason.as_deref(), Some("only the lengths of these values are known: no distances"));
        let nothing = new_null_array(&DataType::Binary, 3);
        let profile = ColumnState::of(&nothing, &ColumnOptions::new(ColumnKind::Length)).unwrap().freeze().profile();
        assert_eq!((profile.min_length, profile.reason.as_deref()), (None, Some("all values are null")));
    }

    #[test]
    fn types_without_a_length_are_refused() {
        let mut state = ColumnState::empty(&ColumnOptions::new(ColumnKind::Length));
        let before = state.encode();
        let error = state.observe(&StringArray::from(vec!["a"])).unwrap_err();
        assert_eq!(error.to_string(), "expected bytes, a list or a map, found values of type Utf8");
        assert!(state.encode() == before);
        for other in [
            DataType::Null,
            DataType::Duration(arrow::datatypes::TimeUnit::Second),
            DataType::Struct(Vec::<Field>::new().into()),
        ] {
            assert_eq!(ColumnKind::of(&other), ColumnKind::Opaque, "{other}");
        }
        assert!(!ColumnKind::can_be_categorical(&DataType::Binary));
    }
}

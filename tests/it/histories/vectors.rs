//! Deletion vectors as the Delta protocol has them in the log: a roaring bitmap of the deleted rows, in Z85.

use std::collections::BTreeSet;

use deltalake::kernel::{DeletionVectorDescriptor, StorageType};

const MAGIC: u32 = 1_681_511_377;
/// Of a bitmap without containers of runs.
const COOKIE: u32 = 12_346;
const DIGITS: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The vector that deletes the rows at these positions of a file.
pub(crate) fn inline(rows: &BTreeSet<u16>) -> DeletionVectorDescriptor {
    let bytes = bitmap_array(rows);
    DeletionVectorDescriptor {
        storage_type: StorageType::Inline,
        size_in_bytes: i32::try_from(bytes.len()).unwrap(),
        path_or_inline_dv: z85(bytes),
        offset: None,
        cardinality: i64::try_from(rows.len()).unwrap(),
    }
}

/// `RoaringBitmapArray`: one bitmap, of one container that lists its values.
fn bitmap_array(rows: &BTreeSet<u16>) -> Vec<u8> {
    assert!((1..=4096).contains(&rows.len()), "another kind of container");
    let mut bytes = Vec::new();
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    // The upper 32 bits of all values.
    bytes.extend(0_u32.to_le_bytes());
    let bitmap = bytes.len();
    bytes.extend(COOKIE.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    // The upper 16 bits of the values of the container, and how many there are beyond one.
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend(u16::try_from(rows.len() - 1).unwrap().to_le_bytes());
    let offset = bytes.len() + 4 - bitmap;
    bytes.extend(u32::try_from(offset).unwrap().to_le_bytes());
    bytes.extend(rows.iter().flat_map(|row| row.to_le_bytes()));
    bytes
}

/// Four bytes become five digits; the last ones are filled up with zeros.
fn z85(mut bytes: Vec<u8>) -> String {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let words = bytes.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap()));
    let digits = words.flat_map(|word| {
        [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1]
            .map(|place| DIGITS[usize::try_from(word / place % 85).unwrap()])
    });
    String::from_utf8(digits.collect()).unwrap()
}

#[test]
fn z85_is_that_of_its_specification() {
    // ZeroMQ RFC 32.
    assert_eq!(z85(vec![0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]), "HelloWorld");
}

#[test]
fn a_vector_is_that_of_the_protocol() {
    // The inline example of the Delta protocol: rows 3, 4, 7, 11, 18 and 29.
    let vector = inline(&BTreeSet::from([3, 4, 7, 11, 18, 29]));
    assert_eq!(vector.path_or_inline_dv, "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L");
    assert_eq!((vector.size_in_bytes, vector.cardinality), (44, 6));
}

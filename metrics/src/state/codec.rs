//! The bytes of a state: little varints in a frame of magic, version and length, compressed when that pays.
//!
//! | bytes | of a frame |
//! |---|---|
//! | 2 | `"LM"` |
//! | 1 | [`VERSION`] |
//! | 1 | flags: 0, or 1 if the payload is a zstd frame; others are refused |
//! | 1–10 | length of the payload before compression, a varint |
//! | rest | the payload: what the states wrote one after the other, without names or padding |
//!
//! A varint has seven bits in each byte, lowest first; all but the last byte have the highest bit set. Whatever has
//! eight bytes is little endian. Each state's own file gives the order of its parts.
//!
//! **What is promised.** There is one version for all states. It is raised when the bytes of any state change, or what
//! they mean: the order of parts, a hash, a rule of which values are kept. Within a version,
//!
//! - what one build writes every other reads, and goes on with;
//! - equal multisets under equal limits encode to equal bytes, on every machine. Where they are compressed, which some
//!   columns within a payload are too, they are those of the zstd that `Cargo.lock` pins: another one may compress the
//!   same otherwise, and reads it all the same.
//!
//! **What is not.** A build reads its own version only and refuses others by name: a summary cannot be told again from
//! another summary, but its values are still in their table.
//!
//! **Foreign bytes** end in an error or in a state that holds together, within a small multiple of memory and some
//! megabytes: no length is believed before as many bytes are there, and what is compressed is short. `tests/golden_encodings` has bytes of each version, `fuzz` looks for bytes
//! that break this.

use std::borrow::Cow;
use std::cell::RefCell;

use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

use crate::{Error, Result};

const MAGIC: [u8; 2] = *b"LM";
/// The version of the encoding of all states. A change of any layout raises it, as [the module](self) says.
pub const VERSION: u8 = 2;
const COMPRESSED: u8 = 1;
/// Shorter payloads are left as they are: zstd's own frame would eat the gain.
const COMPRESS_FROM: usize = 256;
/// Longer ones are mostly fingerprints of single values, which do not compress.
const COMPRESS_UP_TO: usize = 1 << COMPRESS_UP_TO_LOG;
const COMPRESS_UP_TO_LOG: u32 = 18;
/// The level of zstd: the fastest, for what is left to compress is small numbers.
const LEVEL: i32 = 1;
/// Shorter columns of a histogram are left as they are.
const PACK_FROM: usize = 64;
/// Compressed columns hold at most so many times their own bytes, or [`MIN_PACKED`], and at most [`MAX_PACKED`]; longer ones
/// are left as they are.
const MAX_RATIO: usize = 16;
const MIN_PACKED: usize = 1 << 16;
const MAX_PACKED: usize = 1 << 17;
/// No state of a real column comes near; a forged length must not make us allocate without limit.
const MAX_RAW: usize = 1 << 30;

/// Collects the payload of a state.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes an unsigned number in 1–10 bytes, seven bits each.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        self.bytes.push(value as u8);
    }

    /// Writes one byte.
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Writes eight bytes, little endian.
    pub fn fixed(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes a length and that many bytes.
    pub fn slice(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Writes bytes of a known number, compressed if that pays.
    ///
    /// Compression beyond [`MAX_RATIO`] is given away, so that a reader can bound what short input may ask for.
    pub(crate) fn packed(&mut self, raw: &[u8]) {
        let packed = if raw.len() >= PACK_FROM { compress(raw) } else { None };
        match packed.filter(|packed| packed.len() < raw.len() && raw.len() <= most_raw(packed.len())) {
            Some(packed) => {
                self.byte(1);
                self.slice(&packed);
            }
            None => {
                self.byte(0);
                self.bytes.extend_from_slice(raw);
            }
        }
    }

    /// Closes the frame.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let raw = self.bytes;
        let mut frame = Self { bytes: Vec::with_capacity(raw.len().min(COMPRESS_FROM) + 16) };
        frame.bytes.extend_from_slice(&MAGIC);
        frame.bytes.push(VERSION);
        let packed = if (COMPRESS_FROM..=COMPRESS_UP_TO).contains(&raw.len()) {
            compress(&raw).filter(|packed| packed.len() < raw.len())
        } else {
            None
        };
        frame.bytes.push(u8::from(packed.is_some()) * COMPRESSED);
        frame.varint(raw.len() as u64);
        frame.bytes.extend_from_slice(packed.as_deref().unwrap_or(&raw));
        frame.bytes
    }
}

thread_local! {
    /// Making a compressor costs more than compressing a small state.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    /// Nor is a decompressor cheap.
    static DECOMPRESSOR: RefCell<Option<zstd::stream::raw::Decoder<'static>>> = const { RefCell::new(None) };
}

/// The bytes as a zstd frame; `None` if the compressor fails, which it does only for lack of memory.
fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.is_none() {
            *compressor = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        compressor.as_mut()?.compress(raw).ok()
    })
}

/// The `length` bytes that a zstd frame holds.
fn decompress(packed: &[u8], length: usize) -> Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decoder = match decompressor {
            Some(decoder) => decoder,
            None => decompressor.insert(new_decompressor().map_err(does_not_decompress)?),
        };
        decoder.reinit().map_err(does_not_decompress)?;
        // One byte more tells a frame that holds more.
        let mut raw = Vec::with_capacity(length + 1);
        let mut input = InBuffer::around(packed);
        let mut output = OutBuffer::around(&mut raw);
        let is_whole = loop {
            let before = (input.pos(), output.pos());
            match decoder.run(&mut input, &mut output).map_err(does_not_decompress)? {
                0 => break true,
                _ if before == (input.pos(), output.pos()) => break false,
                _ => {}
            }
        };
        if is_whole && input.pos() == packed.len() && raw.len() == length {
            Ok(raw)
        } else {
            Err(Error::invalid_data("a state's length does not match its frame"))
        }
    })
}

fn new_decompressor() -> std::io::Result<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    // A forged window costs nothing, for which zstd would set 128 MiB aside.
    decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(COMPRESS_UP_TO_LOG))?;
    Ok(decoder)
}

/// What so many compressed bytes may hold.
const fn most_raw(packed: usize) -> usize {
    match packed.saturating_mul(MAX_RATIO) {
        raw if raw < MIN_PACKED => MIN_PACKED,
        raw if raw > MAX_PACKED => MAX_PACKED,
        raw => raw,
    }
}

/// Opens a frame and returns its payload.
///
/// # Errors
/// [`InvalidData`](crate::ErrorKind::InvalidData) on anything that [`Writer::finish`] did not write.
pub fn open(frame: &[u8]) -> Result<Vec<u8>> {
    let Some((head, rest)) = frame.split_at_checked(4) else {
        return Err(Error::invalid_data("a state is cut short"));
    };
    if head[..2] != MAGIC {
        return Err(Error::invalid_data("these bytes are not a state"));
    }
    if head[2] != VERSION {
        return Err(Error::invalid_data(format!(
            "state of encoding version {}, but this build reads version {VERSION}",
            head[2]
        )));
    }
    let mut reader = Reader::new(rest);
    let raw_length = reader.length(MAX_RAW)?;
    let payload = reader.rest();
    let raw = match head[3] {
        0 => payload.to_vec(),
        COMPRESSED if raw_length <= COMPRESS_UP_TO => {
            // So little that it may be allocated before it is believed.
            decompress(payload, raw_length)?
        }
        flags => return Err(Error::invalid_data(format!("unknown flags {flags:#x} in a state"))),
    };
    if raw.len() != raw_length {
        return Err(Error::invalid_data("a state's length does not match its frame"));
    }
    Ok(raw)
}

/// Reads a payload.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// At the end of the input, as all methods here.
    pub fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.bytes.split_first().ok_or_else(cut_short)?;
        self.bytes = rest;
        Ok(first)
    }

    /// Reads a number that [`Writer::varint`] wrote.
    ///
    /// # Errors
    /// When it does not end, or does not fit.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::invalid_data("a number in a state does not fit in 64 bits"))
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    /// At the end of the input.
    pub fn fixed(&mut self) -> Result<u64> {
        let (head, rest) = self.bytes.split_first_chunk::<8>().ok_or_else(cut_short)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*head))
    }

    /// Reads a count of things that take at least one byte each, so that it can be trusted for allocation.
    ///
    /// # Errors
    /// When fewer bytes are left than things are announced.
    pub fn count(&mut self) -> Result<usize> {
        let left = self.bytes.len();
        let count = self.length(usize::MAX)?;
        if count > left { Err(cut_short()) } else { Ok(count) }
    }

    fn length(&mut self, limit: usize) -> Result<usize> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|&length| length <= limit)
            .ok_or_else(|| Error::invalid_data("a length in a state is out of range"))
    }

    /// Reads what [`Writer::slice`] wrote.
    ///
    /// # Errors
    /// At the end of the input.
    pub fn slice(&mut self) -> Result<&'a [u8]> {
        let length = self.count()?;
        let (head, rest) = self.bytes.split_at_checked(length).ok_or_else(cut_short)?;
        self.bytes = rest;
        Ok(head)
    }

    /// Reads the `length` bytes that [`Writer::packed`] wrote.
    pub(crate) fn packed(&mut self, length: usize) -> Result<Cow<'a, [u8]>> {
        if self.byte()? == 0 {
            let (head, rest) = self.bytes.split_at_checked(length).ok_or_else(cut_short)?;
            self.bytes = rest;
            return Ok(Cow::Borrowed(head));
        }
        let packed = self.slice()?;
        if length > most_raw(packed.len()) {
            return Err(Error::invalid_data("a state claims to hold more than its bytes can"));
        }
        Ok(Cow::Owned(decompress(packed, length)?))
    }

    const fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(self) -> Result<()> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid_data(format!("{} bytes too many in a state", self.bytes.len())))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn does_not_decompress(error: std::io::Error) -> Error {
    Error::invalid_data(format!("a state does not decompress: {error}"))
}

fn cut_short() -> Error {
    Error::invalid_data("a state is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zstd_frame(window: u8) -> Vec<u8> {
        // Magic, no flags, the window's exponent above 1 KiB in the upper five bits; one last raw block of four bytes.
        let packed = [0x28, 0xb5, 0x2f, 0xfd, 0, window << 3, 0x21, 0, 0, 1, 2, 3, 4];
        [&[b'L', b'M', VERSION, COMPRESSED, 4], &packed[..]].concat()
    }

    #[test]
    fn a_window_larger_than_any_payload_is_refused() {
        let largest = u8::try_from(COMPRESS_UP_TO_LOG - 10).unwrap();
        assert_eq!(open(&zstd_frame(largest)).unwrap(), [1, 2, 3, 4]);
        for window in largest + 1..32 {
            assert!(open(&zstd_frame(window)).is_err(), "2^{}", window + 10);
        }
    }

    #[test]
    fn a_length_that_is_not_that_of_the_payload_is_refused() {
        let mut writer = Writer::default();
        (0..500).for_each(|_| writer.byte(7));
        let frame = writer.finish();
        assert!(frame.len() < 100 && open(&frame).unwrap() == [7; 500]);
        // The length is in the two bytes after the flags.
        assert_eq!(frame[4..6], [0xf4, 0x03]);
        for length in [[0xf3, 0x03], [0xf5, 0x03], [0xe4, 0x00]] {
            let mut forged = frame.clone();
            forged[4..6].copy_from_slice(&length);
            assert!(open(&forged).is_err(), "{length:?}");
        }
    }

    #[test]
    fn varints_beyond_64_bits_are_refused() {
        let nine = [0xff; 9];
        assert_eq!(Reader::new(&[&nine[..], &[1]].concat()).varint().unwrap(), u64::MAX);
        assert!(Reader::new(&[&nine[..], &[2]].concat()).varint().is_err());
        assert!(Reader::new(&[&nine[..], &[0x81, 0]].concat()).varint().is_err());
        assert!(Reader::new(&nine).varint().is_err());
    }
}

//! The bytes of a state: little varints in a frame of magic, version and length, compressed when that pays.
//!
//! Frame: `"LM"`, version (1 byte), flags (1 byte: bit 0 = zstd), raw length (varint), payload.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::{Error, Result};

const MAGIC: [u8; 2] = *b"LM";
/// The version of the encoding of all states. A change of any layout raises it.
pub const VERSION: u8 = 2;
const COMPRESSED: u8 = 1;
/// Shorter payloads are left as they are: zstd's own frame would eat the gain.
const COMPRESS_FROM: usize = 256;
/// Longer ones are mostly fingerprints of single values, which do not compress.
const COMPRESS_UP_TO: usize = 1 << 20;
/// The level of zstd: the fastest, for what is left to compress is small numbers.
const LEVEL: i32 = 1;
/// Shorter columns of a histogram are left as they are.
const PACK_FROM: usize = 64;
/// Compressed columns hold at most so many times their own bytes, or [`MIN_RAW`].
const MAX_RATIO: usize = 16;
const MIN_RAW: usize = 1 << 16;
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

/// What so many compressed bytes may hold.
const fn most_raw(packed: usize) -> usize {
    if packed > MIN_RAW / MAX_RATIO { packed.saturating_mul(MAX_RATIO) } else { MIN_RAW }
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
            // The decompressor grows its buffer as it goes, so a forged length costs nothing by itself.
            let decoder = zstd::stream::read::Decoder::new(payload)
                .map_err(|error| Error::invalid_data(format!("a state does not decompress: {error}")))?;
            let mut raw = Vec::with_capacity(raw_length.min(payload.len().saturating_mul(8)));
            std::io::Read::read_to_end(&mut std::io::Read::take(decoder, raw_length as u64 + 1), &mut raw)
                .map_err(|error| Error::invalid_data(format!("a state does not decompress: {error}")))?;
            raw
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
        let raw = zstd::bulk::decompress(packed, length)
            .map_err(|error| Error::invalid_data(format!("a state does not decompress: {error}")))?;
        if raw.len() == length { Ok(Cow::Owned(raw)) } else { Err(cut_short()) }
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

fn cut_short() -> Error {
    Error::invalid_data("a state is cut short")
}

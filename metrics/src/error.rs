//! The crate's error: a kind that callers match on, and a message that names the thing.

use std::fmt;

/// What went wrong, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that cannot be (a type without statistics, options out of range).
    InvalidArgument,
    /// Bytes that are no encoding of the state that was asked for.
    InvalidData,
    /// Two states that cannot be merged or compared.
    Incompatible,
}

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidArgument, message: message.into() }
    }

    pub(crate) fn invalid_data(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidData, message: message.into() }
    }

    /// The sum of two counts; states of real data never come near the end of 64 bits, forged ones may.
    pub(crate) fn sum(a: u64, b: u64) -> Result<u64> {
        a.checked_add(b).ok_or_else(|| Self::invalid_data("counts of states exceed 64 bits"))
    }

    pub(crate) fn incompatible(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Incompatible, message: message.into() }
    }

    /// The kind to match on.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

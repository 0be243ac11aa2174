//! The crate's error.

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;

use crate::lake::{Trouble, trouble_in};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is there.
    #[error("there is nothing at {uri}")]
    NotFound {
        /// What was asked for.
        uri: String,
    },
    /// Something is there, but it is no table that we read.
    #[error("{uri} is not a table: {message}")]
    NotATable {
        /// What was asked for.
        uri: String,
        /// What was found instead.
        message: String,
    },
    /// A location that this build cannot reach.
    #[error("{uri} cannot be read: {message}")]
    Unsupported {
        /// What was asked for.
        uri: String,
        /// What can be.
        message: String,
    },
    /// A store does not do what it is asked for; the message says where, who signed in, and the way out.
    #[error(transparent)]
    Access(#[from] Trouble),
    /// A place outside of all that may be changed.
    #[error("{uri} is read-only in this environment, which writes below {places} only")]
    ReadOnly {
        /// What was to be changed.
        uri: String,
        /// What may be.
        places: String,
    },
    /// A store that failed for another reason.
    #[error("{uri} cannot be reached: {source}")]
    Store {
        /// What was asked for.
        uri: String,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// A table that is there but does not read.
    #[error("{uri} does not read: {source}")]
    Unreadable {
        /// What was asked for.
        uri: String,
        /// Why.
        source: Box<DataFusionError>,
    },
    /// A Delta table whose log does not read.
    #[error("the Delta table {uri} does not open: {source}")]
    Delta {
        /// What was asked for.
        uri: String,
        /// Why.
        source: Box<DeltaTableError>,
    },
    /// A Delta table that asks its readers for more than this build can do.
    #[error(
        "the Delta table {uri} uses features that this version does not read: {features}; a copy without them can be \
         monitored"
    )]
    Features {
        /// What was asked for.
        uri: String,
        /// Their names.
        features: String,
    },
    /// A payload table, or a description of its columns, that is none.
    #[error("{message}")]
    Payload {
        /// What is wrong with it.
        message: String,
    },
    /// A plan that could not be made or run.
    #[error(transparent)]
    DataFusion(Box<DataFusionError>),
    /// A state that could not be read or merged.
    #[error(transparent)]
    Metrics(#[from] limno_metrics::Error),
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match trouble_in(&error) {
            Some(trouble) => Self::Access(trouble.clone()),
            None => Self::DataFusion(Box::new(error)),
        }
    }
}

impl Error {
    /// The error of opening or reading the Delta table at `uri`.
    #[must_use]
    pub fn of_delta(uri: &str, error: DeltaTableError) -> Self {
        match trouble_in(&error) {
            Some(trouble) => Self::Access(trouble.clone()),
            None => Self::Delta { uri: uri.to_owned(), source: Box::new(error) },
        }
    }

    /// The error of a store when it was asked for what is at `uri`.
    #[must_use]
    pub fn of_store(uri: &str, error: object_store::Error) -> Self {
        match trouble_in(&error) {
            Some(trouble) => Self::Access(trouble.clone()),
            None => Self::Store { uri: uri.to_owned(), source: Box::new(error) },
        }
    }

    /// The error of reading files at `uri`.
    #[must_use]
    pub fn of_files(uri: &str, error: DataFusionError) -> Self {
        match trouble_in(&error) {
            Some(trouble) => Self::Access(trouble.clone()),
            None => Self::Unreadable { uri: uri.to_owned(), source: Box::new(error) },
        }
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

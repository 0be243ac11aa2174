//! The crate's error, and what it means for the exit code.

use limno_sql::lake::TroubleKind;

use crate::config::{LoadError, Problems};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration does not hold.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The configuration does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Reading a table or running a plan failed.
    #[error(transparent)]
    Sql(#[from] limno_sql::Error),
    /// A state could not be read, merged or compared.
    #[error(transparent)]
    Metrics(#[from] limno_metrics::Error),
    /// A batch could not be built.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// A metric table could not be written.
    #[error("cannot write {table}: {source}")]
    Write {
        /// The table's location.
        table: String,
        /// Why.
        source: Box<deltalake::DeltaTableError>,
    },
    /// The ledger of a monitor is damaged, or another version wrote it: what it holds is computed anew.
    #[error("the ledger does not read: {message}")]
    Ledger {
        /// What is wrong with it.
        message: String,
    },
    /// A metric table does not read; it can be made anew from the ledger.
    #[error("the metric table {table} does not read: {message}; remove the table, and the next run makes it anew")]
    MetricTable {
        /// The table's location.
        table: String,
        /// What is wrong with it.
        message: String,
    },
    /// Other writers were faster each time.
    #[error("{table} was changed by other writers {attempts} times while this one wrote; run again")]
    Contended {
        /// The table's location.
        table: String,
        /// How often this one tried.
        attempts: u32,
    },
    /// A slice expression has more values than the monitor allows.
    #[error("slice {key:?} has more values than max_slices = {limit}; slice by something coarser, or raise max_slices")]
    TooManySlices {
        /// The expression.
        key: String,
        /// The limit.
        limit: usize,
    },
    /// The user asked for something that cannot be.
    #[error("{message}")]
    Usage {
        /// What, and the way out.
        message: String,
    },
    /// Columns or windows that could not be read, while others were.
    #[error("{message}")]
    Partial {
        /// One line for each.
        message: String,
    },
    /// Mail, webhooks or jobs that were not delivered; they stay in the outbox.
    #[error("{message}")]
    Delivery {
        /// One line for each.
        message: String,
    },
    /// Several monitors failed, or one did while others went on.
    #[error("{}", .0.iter().map(|(monitor, error)| format!("{monitor}: {error}")).collect::<Vec<_>>().join("\n"))]
    Monitors(Vec<(String, Self)>),
    /// Writing to the terminal or a file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error of writing the table at `table`.
    pub(crate) fn of_write(table: &str, error: deltalake::DeltaTableError) -> Self {
        match limno_sql::lake::trouble_in(&error) {
            Some(trouble) => Self::Sql(trouble.clone().into()),
            None => Self::Write { table: table.to_owned(), source: Box::new(error) },
        }
    }

    /// 2 for what the user can mend in the call or the configuration, 1 for failures while running.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Load(_) | Self::Usage { .. } => 2,
            // What no store could make right: the configuration names another place, or none that we know.
            Self::Sql(limno_sql::Error::ReadOnly { .. } | limno_sql::Error::Unsupported { .. }) => 2,
            Self::Sql(limno_sql::Error::Access(trouble)) if trouble.kind == TroubleKind::NoConditionalPut => 2,
            Self::Monitors(errors) => errors.iter().map(|(_, error)| error.exit_code()).min().unwrap_or(1),
            _ => 1,
        }
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self::Sql(error.into())
    }
}

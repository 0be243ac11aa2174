//! The ledger: a Delta table of encoded states, one for each window, model, slice and column, at the finest windows that
//! a monitor needs. Everything that the metric tables say follows from it and the configuration.
//!
//! | module | holds |
//! |---|---|
//! | [`row`] | a row, and rows as Arrow |
//! | [`watermark`] | up to which version, and of which columns and slices, the rows are |
//! | this | the table: reading, and the files of its groups |

mod row;
mod watermark;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::SessionContext;
use deltalake::kernel::Add;
use futures::{Stream, StreamExt, TryStreamExt};
use limno_metrics::schema::TABLE_COLUMN;
use limno_sql::window::{Granularity, Spans};

pub use row::{LedgerKey, LedgerRow, Role, SCHEMA, from_batch, to_batch};
pub use watermark::{BaselineMark, TableMark, Watermark};

use crate::refresh::is_of_data;
use crate::store::{Grouping, OwnFile, OwnTable};
use crate::{Error, Result};

/// The group of the baseline's states.
pub const BASELINE: &str = "baseline";
/// The group of the watermark.
pub const WATERMARK: &str = "watermark";
/// The group of rows without a window: their count, or all states of a table without a time.
pub const WITHOUT_WINDOW: &str = "none";

/// The property of the table that says of which configuration its newest version is.
pub const CONFIG_DIGEST: &str = "limno.config_digest";
/// The property of the table that counts the configurations of the monitor.
pub const MONITOR_VERSION: &str = "limno.monitor_version";

/// The ledger of a monitor at the version that was read.
#[derive(Debug)]
pub struct Ledger {
    /// The table.
    pub table: OwnTable,
    /// What it holds; `None` if it was never written.
    pub watermark: Option<Watermark>,
}

impl Ledger {
    /// Opens the ledger at `uri`.
    ///
    /// # Errors
    /// [`Error::Ledger`] when the watermark does not read; other errors when the table does not open.
    pub async fn open(context: &SessionContext, uri: &str) -> Result<Self> {
        let table = OwnTable::open(context, uri).await?;
        let mut ledger = Self { table, watermark: None };
        if ledger.table.version().is_some() {
            let files = ledger.files(|group| group == WATERMARK);
            let rows: Vec<Vec<LedgerRow>> =
                ledger.read(context, files, Some(col("log_type").eq(lit("WATERMARK")))).await?.try_collect().await?;
            let mut rows = rows.into_iter().flatten();
            let (Some(row), None) = (rows.next(), rows.next()) else {
                return Err(Error::Ledger { message: "it does not hold one watermark".to_owned() });
            };
            ledger.watermark = Some(Watermark::of_row(&row)?);
        }
        Ok(ledger)
    }

    /// The same ledger, of whose rows nothing is known: all of it will be made anew.
    pub async fn open_to_replace(context: &SessionContext, uri: &str) -> Result<Self> {
        Ok(Self { table: OwnTable::open(context, uri).await?, watermark: None })
    }

    /// How many configurations came before the newest, and that one's digest.
    #[must_use]
    pub fn configuration(&self) -> Option<(i64, &str)> {
        let version = self.table.property(MONITOR_VERSION)?.parse().ok()?;
        Some((version, self.table.property(CONFIG_DIGEST)?))
    }

    /// The length of its windows; `None` for a table without a time.
    #[must_use]
    pub fn unit(&self) -> Option<Granularity> {
        self.watermark.as_ref()?.unit.parse().ok()
    }

    /// The files of some groups, and those that another program wrote, in which rows of any group can be.
    pub fn files(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Add> {
        let of = |file: &&OwnFile| file.group.as_deref().is_none_or(&is_wanted);
        self.table.files().iter().filter(of).map(|file| file.add.clone()).collect()
    }

    /// The files that hold windows within these spans.
    #[must_use]
    pub fn files_within(&self, spans: &Spans) -> Vec<Add> {
        let Some(grouping) = self.unit().map(Grouping::of) else {
            return self.files(|group| group == WITHOUT_WINDOW);
        };
        self.files(|group| match grouping.parse(group) {
            Some(index) => grouping.overlaps(index, spans),
            None => group == WITHOUT_WINDOW && spans.has_rows_without_time(),
        })
    }

    /// Streams the rows of files for which `filter` holds.
    ///
    /// # Errors
    /// [`Error::Ledger`] when they do not read.
    pub async fn read(
        &self,
        context: &SessionContext,
        files: Vec<Add>,
        filter: Option<Expr>,
    ) -> Result<impl Stream<Item = Result<Vec<LedgerRow>>> + use<>> {
        // A machine that is short of memory or handles, or a store that takes no credential, has no damaged ledger.
        let uri = self.table.uri().to_owned();
        let damaged = move |source: DataFusionError| {
            let error = Error::Sql(limno_sql::Error::of_files(&uri, source));
            if is_of_data(&error) { Error::Ledger { message: error.to_string() } } else { error }
        };
        let batches = self.table.read(context, files, filter, None).await?;
        let batches = futures::stream::iter(batches).flatten();
        Ok(batches.map(move |batch| from_batch(&batch.map_err(&damaged)?)))
    }
}

/// The group that a row of the monitored table, of the baseline or of the watermark belongs to.
#[must_use]
pub fn group_of(key: &LedgerKey, unit: Option<Granularity>) -> String {
    match (key.role, key.window, unit) {
        (Role::Watermark, ..) => WATERMARK.to_owned(),
        (Role::Baseline, ..) => BASELINE.to_owned(),
        (Role::Input, Some(start), Some(unit)) => {
            let grouping = Grouping::of(unit);
            grouping.name(grouping.index(start))
        }
        (Role::Input, ..) => WITHOUT_WINDOW.to_owned(),
    }
}

/// Holds for rows of one role and, if columns are given, of those or of the counts of rows.
#[must_use]
pub fn rows_of(role: Role, columns: Option<&[&str]>) -> Expr {
    let name = match role {
        Role::Input => "INPUT",
        Role::Baseline => "BASELINE",
        Role::Watermark => "WATERMARK",
    };
    let of_role = col("log_type").eq(lit(name));
    match columns {
        None => of_role,
        Some(columns) => {
            let names = columns.iter().copied().chain([TABLE_COLUMN]).map(lit).collect();
            of_role.and(col("column_name").in_list(names, false))
        }
    }
}

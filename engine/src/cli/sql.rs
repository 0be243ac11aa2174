//! `limno sql`: queries over the metric tables.

use std::io::Write;

use limno_sql::catalog::{self, MetricTables};

use super::Outcome;
use super::args::SqlArgs;
use super::files::output_error;
use super::output::{TableOptions, terminal_width, write_batches};
use crate::engine::Engine;
use crate::monitor::Places;
use crate::{Error, Result};

pub(super) async fn execute(engine: &Engine, args: &SqlArgs, out: &mut dyn Write) -> Result<Outcome> {
    let tables = tables(engine);
    let context = engine.context();
    let registered = tables.register(context).await?;
    let frame = catalog::query(context, &args.query).await.map_err(|error| Error::Usage {
        message: match registered.as_slice() {
            [] => format!("{error}\n  hint: no metric table was written yet; call limno run first"),
            names => format!("{error}\n  hint: tables are {}", names.join(", ")),
        },
    })?;
    let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await?;
    let options = TableOptions { width: terminal_width(), hide_empty: false };
    write_batches(out, args.format, &schema, &batches, options).map_err(output_error)?;
    Ok(Outcome::Done)
}

/// The metric tables of all monitors.
pub(super) fn tables(engine: &Engine) -> MetricTables {
    let mut tables = MetricTables::default();
    for monitor in &engine.config().monitors {
        for (name, uri) in Places::of(monitor).named(monitor) {
            tables.add(name, uri);
        }
    }
    tables
}

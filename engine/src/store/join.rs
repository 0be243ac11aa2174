//! Small files become one, so that a table that grows by a few rows a refresh does not become slow to open and to read.

use datafusion::prelude::SessionContext;
use deltalake::kernel::Add;
use futures::StreamExt;

use super::table::{Changes, OwnFile, OwnTable};
use super::under;
use crate::{Error, Result};

/// A file of fewer bytes is small.
pub(super) const SMALL: i64 = 1 << 20;
/// So many of them are worth a commit.
const TOGETHER: usize = 32;

/// Joins the small files of a group in a table that has got one more since it was read, once they are many. The commit says
/// that no row changed, so that whoever follows the table sees none twice. Whoever is faster with a commit leaves more for
/// the next time; what was written before is written, whatever becomes of its files.
pub async fn join_after(context: &SessionContext, before: &OwnTable, group: Option<&str>) {
    if small_files(before, group).len() + 1 < TOGETHER {
        return;
    }
    if let Err(error) = join(context, before.uri(), group).await {
        tracing::warn!(%error, table = before.uri(), "small files could not be joined");
    }
}

fn small_files(table: &OwnTable, group: Option<&str>) -> Vec<Add> {
    let is_small = |file: &&OwnFile| file.group.as_deref() == group && file.add.size < SMALL;
    table.files().iter().filter(is_small).map(|file| file.add.clone()).collect()
}

async fn join(context: &SessionContext, uri: &str, group: Option<&str>) -> Result<()> {
    let table = OwnTable::open(context, uri).await?;
    let small = small_files(&table, group);
    let Some(schema) = table.schema().filter(|_| small.len() >= TOGETHER) else { return Ok(()) };
    let mut writer = table.writer(&schema)?;
    if let Some(mut rows) = table.read(context, small.clone(), None, None).await? {
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| Error::from(limno_sql::Error::of_files(uri, error)))?;
            writer.write(under(&batch, &schema)?).await?;
        }
    }
    let changes =
        Changes { removed: small, added: writer.finish(group).await?, rearranges: true, ..Changes::default() };
    table.commit(&schema, changes).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use limno_sql::session::{self, SessionOptions};

    use super::*;
    use crate::store;

    fn row(value: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("value", DataType::Int64, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
    }

    #[tokio::test]
    async fn a_table_that_grows_a_row_at_a_time_has_few_files() {
        let folder = tempfile::tempdir().unwrap();
        let uri = folder.path().join("log").display().to_string();
        let context = session::context(&SessionOptions::default()).unwrap();
        let appended = 2 * TOGETHER as i64 + 5;
        let mut most = 0;
        for value in 0..appended {
            store::append(&context, &uri, row(value)).await.unwrap();
            most = most.max(OwnTable::open(&context, &uri).await.unwrap().files().len());
        }
        assert!(most < TOGETHER, "{most} files at once");
        let rows = store::read(&context, &uri).await.unwrap().unwrap();
        let mut values = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        values.sort_unstable();
        assert_eq!(values, (0..appended).collect::<Vec<_>>());
        // Of each joining the log says that it changed no row.
        let log = folder.path().join("log/_delta_log");
        let mut joined = 0;
        for entry in std::fs::read_dir(log).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(path).unwrap();
                let actions: Vec<serde_json::Value> =
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let removals: Vec<_> = actions.iter().filter_map(|action| action.get("remove")).collect();
                if !removals.is_empty() {
                    joined += 1;
                    let changes = actions.iter().filter_map(|action| action.get("add").or(action.get("remove")));
                    assert!(changes.into_iter().all(|change| change["dataChange"] == false), "{text}");
                }
            }
        }
        assert_eq!(joined, 2);
    }
}

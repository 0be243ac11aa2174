//! What others do to a Delta table after it was written, as SQL says it.

use chrono::TimeDelta;
use deltalake::DeltaTable;
use url::Url;

use crate::support_run::Place;

fn on<T>(place: &Place, name: &str, change: impl AsyncFnOnce(DeltaTable) -> T) -> T {
    let url = Url::from_directory_path(place.path(name)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { change(deltalake::open_table(url).await.unwrap()).await })
}

/// `DELETE FROM name WHERE predicate`; how many rows went, unknown if no file was looked into.
pub(super) fn delete(place: &Place, name: &str, predicate: &str) -> Option<usize> {
    on(place, name, async |table| table.delete().with_predicate(predicate).await.unwrap().1.num_deleted_rows)
}

/// `UPDATE name SET column = value WHERE predicate`; how many rows changed.
pub(super) fn update(place: &Place, name: &str, predicate: &str, (column, value): (&str, &str)) -> usize {
    on(place, name, async |table| {
        let update = table.update().with_predicate(predicate).with_update(column, value);
        update.await.unwrap().1.num_updated_rows
    })
}

/// `OPTIMIZE name`; how many files were joined.
pub(super) fn optimize(place: &Place, name: &str) -> u64 {
    on(place, name, async |table| table.optimize().await.unwrap().1.num_files_removed)
}

/// `VACUUM name RETAIN 0 HOURS`; how many files went.
pub(super) fn vacuum(place: &Place, name: &str) -> usize {
    on(place, name, async |table| {
        let vacuum = table.vacuum().with_retention_period(TimeDelta::zero()).with_enforce_retention_duration(false);
        vacuum.await.unwrap().1.files_deleted.len()
    })
}

/// A checkpoint of the newest version, and the log before it is gone.
pub(super) fn cut_log(place: &Place, name: &str) {
    let newest = on(place, name, async |table| {
        deltalake::checkpoints::create_checkpoint(&table, None).await.unwrap();
        table.version().unwrap()
    });
    for entry in place.path(name).join("_delta_log").read_dir().unwrap().map(Result::unwrap) {
        let file = entry.file_name().into_string().unwrap();
        let version = file.strip_suffix(".json").and_then(|version| version.parse::<u64>().ok());
        if version.is_some_and(|version| version < newest) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

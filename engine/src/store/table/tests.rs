//! Our reader of logs beside delta-rs, and what a commit comes on top of.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use limno_sql::session::{self, SessionOptions};

use super::*;
use crate::store;

fn rows(names: &[&str], value: i64) -> RecordBatch {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    let schema = Schema::new(names.iter().map(field).collect::<Vec<_>>());
    let column = Arc::new(Int64Array::from(vec![value])) as _;
    RecordBatch::try_new(Arc::new(schema), vec![column; names.len()]).unwrap()
}

/// A table of one column that got so many rows, each in a commit of its own.
async fn of_rows(count: i64) -> (tempfile::TempDir, String, SessionContext) {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().join("table").display().to_string();
    let context = session::context(&SessionOptions::default()).unwrap();
    for value in 0..count {
        store::append(&context, &uri, rows(&["a"], value)).await.unwrap();
    }
    (folder, uri, context)
}

async fn replace(table: &OwnTable, group: &str, at: i64) {
    let schema = table.schema().unwrap();
    let mut writer = table.writer(&schema).unwrap();
    writer.write(store::under(&rows(&["a"], at), &schema).unwrap()).await.unwrap();
    let of_group = table.files().iter().filter(|file| file.group.as_deref() == Some(group));
    let changes = Changes {
        removed: of_group.map(|file| file.add.clone()).collect(),
        added: writer.finish(Some(group)).await.unwrap(),
        transactions: vec![(format!("app/{}", at % 3), at)],
        properties: BTreeMap::from([("limno.test", at.to_string())]),
        rearranges: false,
    };
    assert!(table.commit(&schema, changes).await.unwrap().is_some());
}

/// What we read of a log is what delta-rs reads of it, at every version, before and after checkpoints.
#[tokio::test]
async fn a_log_says_to_us_what_it_says_to_delta_rs() {
    let (folder, uri, context) = of_rows(1).await;
    for at in 1..=3 * i64::try_from(CHECKPOINT_INTERVAL).unwrap() {
        if at == 13 {
            store::append(&context, &uri, rows(&["a", "b"], at)).await.unwrap();
        } else {
            let table = OwnTable::open(&context, &uri).await.unwrap();
            replace(&table, ["x", "y", "z"][usize::try_from(at % 3).unwrap()], at).await;
        }
        let own = OwnTable::open(&context, &uri).await.unwrap();
        assert!(matches!(own.known, Known::Log(..)));
        let theirs = own.delta().await.unwrap().unwrap();
        let state = theirs.snapshot().unwrap();
        assert_eq!(own.version(), theirs.version());
        assert_eq!(own.base().unwrap(), state.metadata());
        assert_eq!(own.schema().unwrap(), state.snapshot().arrow_schema());
        let mut files: Vec<_> = own.files().iter().map(|file| format!("{:?}", file.add)).collect();
        let mut expected: Vec<_> = active_files(theirs)
            .unwrap()
            .iter()
            .map(|add| format!("{:?}", Add { data_change: true, ..add.clone() }))
            .collect();
        files.sort_unstable();
        expected.sort_unstable();
        assert_eq!(files, expected, "version {at}");
        for id in ["app/0", "app/1", "app/2", "app/3"] {
            let known = state.transaction_version(theirs.log_store().as_ref(), id).await.unwrap();
            assert_eq!(own.transaction(id).await.unwrap(), known, "{id}");
        }
    }
    // The log before a checkpoint goes, as it does after a month.
    for version in 0..=29 {
        std::fs::remove_file(folder.path().join(format!("table/_delta_log/{version:020}.json"))).unwrap();
    }
    let own = OwnTable::open(&context, &uri).await.unwrap();
    assert!(matches!(own.known, Known::Log(..)));
    assert_eq!((own.version(), own.files().len(), own.property("limno.test")), (Some(30), 5, Some("30")));
    let read = store::read(&context, &uri).await.unwrap().unwrap();
    assert_eq!((read.num_rows(), read.num_columns()), (5, 2));
}

/// A large checkpoint is kept for the next who opens the table, as long as it is the newest.
#[tokio::test]
async fn a_checkpoint_that_is_kept_is_the_newest() {
    let (folder, uri, context) = of_rows(1).await;
    let schema = OwnTable::open(&context, &uri).await.unwrap().schema().unwrap();
    for at in 1..=2 * i64::try_from(CHECKPOINT_INTERVAL).unwrap() + 1 {
        let table = OwnTable::open(&context, &uri).await.unwrap();
        let transactions = (0..2000).map(|id| (format!("application number {id}"), at * 10_000 + id)).collect();
        table.commit(&schema, Changes { transactions, ..Changes::default() }).await.unwrap().unwrap();
        // Twice, so that the second finds what the first has kept.
        for _ in 0..2 {
            let table = OwnTable::open(&context, &uri).await.unwrap();
            assert_eq!(table.transaction("application number 1234").await.unwrap(), Some(at * 10_000 + 1234));
            assert_eq!((table.files().len(), table.transaction("another").await.unwrap()), (1, None));
        }
    }
    let checkpoint = folder.path().join("table/_delta_log/00000000000000000020.checkpoint.parquet");
    assert!(checkpoint.metadata().unwrap().len() > 32 << 10, "or none was kept");
    // Another table in its place, whose log has the same names.
    std::fs::remove_dir_all(folder.path().join("table")).unwrap();
    for at in 0..=20 {
        store::append(&context, &uri, rows(&["a"], at)).await.unwrap();
    }
    let table = OwnTable::open(&context, &uri).await.unwrap();
    assert_eq!((table.version(), table.files().len()), (Some(20), 21));
    assert_eq!(table.transaction("application number 1234").await.unwrap(), None);
}

/// Other programs may make more of a table of ours than we read ourselves.
#[tokio::test]
async fn a_table_that_asks_for_more_is_opened_by_delta_rs() {
    let (_folder, uri, context) = of_rows(1).await;
    let table = OwnTable::open(&context, &uri).await.unwrap();
    let changes =
        Changes { properties: BTreeMap::from([("delta.appendOnly", "true".to_owned())]), ..Changes::default() };
    table.commit(&table.schema().unwrap(), changes).await.unwrap().unwrap();
    let table = OwnTable::open(&context, &uri).await.unwrap();
    assert!(matches!(table.known, Known::Table(_)));
    assert_eq!((table.version(), table.files().len()), (Some(1), 1));
    store::append(&context, &uri, rows(&["a"], 2)).await.unwrap();
    let table = OwnTable::open(&context, &uri).await.unwrap();
    let removed = table.files().iter().map(|file| file.add.clone()).collect();
    let error = table.commit(&table.schema().unwrap(), Changes { removed, ..Changes::default() }).await.unwrap_err();
    assert!(error.to_string().contains("append-only") || format!("{error:?}").contains("AppendOnly"), "{error:?}");
}

/// What somebody has put aside in the folder of the log is no part of it.
#[tokio::test]
async fn a_commit_in_a_folder_of_its_own_is_none() {
    let (folder, uri, context) = of_rows(3).await;
    let log = folder.path().join("table/_delta_log");
    std::fs::create_dir(log.join("aside")).unwrap();
    let name = "00000000000000000002.json";
    std::fs::rename(log.join(name), log.join("aside").join(name)).unwrap();
    let table = OwnTable::open(&context, &uri).await.unwrap();
    assert_eq!((table.version(), table.files().len()), (Some(1), 2));
}

/// A commit on top of a version that is gone would be the end of the log.
#[tokio::test]
async fn a_table_that_was_dropped_meanwhile_is_not_committed_to() {
    let (folder, uri, context) = of_rows(3).await;
    let table = OwnTable::open(&context, &uri).await.unwrap();
    let schema = table.schema().unwrap();
    let changes = || Changes { transactions: vec![("app".to_owned(), 1)], ..Changes::default() };
    std::fs::remove_dir_all(folder.path().join("table")).unwrap();
    assert_eq!(table.commit(&schema, changes()).await.unwrap(), None);
    assert_eq!(OwnTable::open(&context, &uri).await.unwrap().version(), None, "nothing came of it");
    // Another in its place, which has come as far.
    for value in 0..3 {
        store::append(&context, &uri, rows(&["another", "b"], value)).await.unwrap();
    }
    assert_eq!(table.commit(&schema, changes()).await.unwrap(), None);
    assert_eq!(OwnTable::open(&context, &uri).await.unwrap().version(), Some(2));
}

/// A log that is damaged, or of which something is missing, is as bad for us as for delta-rs.
#[tokio::test]
async fn a_damaged_log_is_an_error() {
    for version in [0, 1] {
        let (folder, uri, context) = of_rows(3).await;
        let commit = folder.path().join(format!("table/_delta_log/{version:020}.json"));
        std::fs::write(&commit, "{\"add\":{\"path\":").unwrap();
        assert!(OwnTable::open(&context, &uri).await.is_err(), "version {version} is torn");
        std::fs::remove_file(&commit).unwrap();
        assert!(OwnTable::open(&context, &uri).await.is_err(), "version {version} is gone");
    }
}

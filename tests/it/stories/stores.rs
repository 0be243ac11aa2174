//! The stories of the main job with all their tables in a store: Azure Storage by account key, by signature and by
//! service principal, and S3. Stories that were written for the disk are told there again; some are told only here. Of
//! each the tables that it leaves must be those that it leaves on disk, bit for bit.

mod eight;
mod mixed;
mod readers;
mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use limno_engine::store;
use limno_sql::session::{self, SessionOptions};

use super::{damage, incremental, labels, outbox, payload, retention};
use crate::histories::alike::{Cell, Logical, difference};
use crate::support_block::Service;
use crate::support_store::{Shelf, tell};

/// The tables of one place, by their paths in it.
type Tables = BTreeMap<String, Logical>;
/// Those of the places of a story, in the order in which it made them.
type Left = Vec<Tables>;

/// Columns that hold an instant or a duration, or texts that do.
fn of_the_moment(table: &str) -> &'static [&'static str] {
    if table.ends_with("/refreshes") {
        // Why all is read may be an error, which names the place.
        &[
            "refreshed_at",
            "planning_seconds",
            "reading_seconds",
            "merging_seconds",
            "measuring_seconds",
            "reason",
            "error",
        ]
    } else if table.ends_with("/alerts") {
        &["recorded_at", "payload", "detail"]
    } else {
        &["refreshed_at"]
    }
}

/// The tables below the folders of a place; those of the folder itself are what others wrote.
fn tables_in(place: &Path) -> Tables {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let context = session::context(&SessionOptions::default()).unwrap();
    let folders = place.read_dir().unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let inside = folders.flat_map(|folder| folder.read_dir().unwrap().map(|entry| entry.unwrap().path()));
    let mut tables = Tables::new();
    for path in inside.filter(|path| path.join("_delta_log").is_dir()) {
        let name = path.strip_prefix(place).unwrap().to_str().unwrap().to_owned();
        let batch = runtime.block_on(store::read(&context, path.to_str().unwrap())).unwrap();
        let rows = |ignored: &[&str]| Logical::of(batch.as_ref(), ignored);
        if name.ends_with("_ledger") {
            let of = |role: &'static str| move |cell: &Cell| *cell == Cell::Text(role.to_owned());
            // A baseline is defined by the very file that it is, and the watermark holds ids of tables.
            let of_baseline = rows(&["definition", "checksum"]).only("log_type", of("BASELINE"));
            tables.insert(format!("{name}, baseline"), of_baseline);
            tables.insert(name, rows(&[]).only("log_type", of("INPUT")));
        } else {
            let rows = rows(of_the_moment(&name));
            tables.insert(name, rows);
        }
    }
    tables
}

fn left_by(service: Option<Service>, story: fn()) -> Left {
    tell(service, story).iter().map(|folder| tables_in(folder.path())).collect()
}

/// What a story leaves on disk, where it is told once for all stores.
fn left_on_disk(name: &'static str, story: fn()) -> Arc<OnceLock<Left>> {
    static ON_DISK: Mutex<BTreeMap<&str, Arc<OnceLock<Left>>>> = Mutex::new(BTreeMap::new());
    let cell = Arc::clone(ON_DISK.lock().unwrap().entry(name).or_default());
    cell.get_or_init(|| left_by(None, story));
    cell
}

#[track_caller]
fn assert_alike(left: &Left, right: &Left, called: [&str; 2]) {
    let names = |left: &Left| left.iter().map(|tables| tables.keys().cloned().collect()).collect::<Vec<Vec<_>>>();
    assert_eq!(names(left), names(right));
    for (left, right) in left.iter().zip(right) {
        let differences: Vec<_> = left
            .iter()
            .filter_map(|(name, table)| Some(format!("{name}: {}", difference(table, &right[name], called)?)))
            .collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// A story in a store leaves what it leaves on disk.
fn retell(service: Service, name: &'static str, story: fn()) {
    if Shelf::new(service).is_none() {
        return;
    }
    let there = left_by(Some(service), story);
    let on_disk = left_on_disk(name, story);
    let on_disk = on_disk.get().unwrap();
    // A story may be one without an output, but none is without a place.
    assert!(!on_disk.is_empty(), "{name} tells nothing");
    assert_alike(&there, on_disk, ["the store", "the folder"]);
}

macro_rules! in_store {
    ($module:ident, $service:ident: $($story:path as $name:ident;)*) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $name() {
                retell(Service::$service, stringify!($name), $story);
            })*
        }
    };
}

/// Each way to sign in could have its own trouble, with any story.
macro_rules! in_every_store {
    ($($story:path as $name:ident;)*) => {
        in_store!(azure_by_key, AzureByKey: $($story as $name;)*);
        in_store!(azure_by_signature, AzureBySas: $($story as $name;)*);
        in_store!(azure_by_service_principal, AzureByPrincipal: $($story as $name;)*);
        in_store!(s3, S3: $($story as $name;)*);
    };
}

in_every_store! {
    whole::from_the_first_refresh_to_the_last_mail as from_the_first_refresh_to_the_last_mail;
    whole::a_snapshot_is_kept_and_old_files_go as a_snapshot_is_kept_and_old_files_go;
    whole::tables_are_compared_and_profiled_where_they_lie as tables_are_compared_and_profiled_where_they_lie;
    damage::a_damaged_metric_table_is_made_anew_from_the_ledger as a_damaged_metric_table;
    retention::states_that_are_too_old_go_and_their_rows_stay as old_states_go;
    incremental::a_refresh_reads_the_files_that_are_new_and_no_other as only_new_files_are_read;
    labels::rows_find_the_labels_that_were_there_before_them as labels_find_their_rows;
    payload::every_call_is_counted_where_it_belongs_whenever_it_was_logged as calls_are_counted_where_they_belong;
    outbox::a_trigger_that_cools_down_is_not_called as a_trigger_cools_down;
    outbox::a_refresh_that_was_cut_off_is_done_again_and_tells_nothing_twice as a_refresh_that_was_cut_off;
    outbox::two_monitors_share_an_output_folder as two_monitors_share_a_folder;
    damage::a_file_that_is_missing_costs_its_windows_until_it_is_there_again as a_missing_file;
    damage::a_log_that_no_longer_reaches_back_is_said_and_all_is_read as a_log_that_was_cut;
    damage::a_column_that_does_not_read_costs_no_other as a_damaged_column;
}

/// What makes the ledger anew is the same everywhere, and takes its time.
mod once {
    use super::*;

    in_store!(azure, AzureByKey:
        damage::a_damaged_ledger_is_made_anew as a_damaged_ledger;
        retention::a_ledger_that_is_lost_costs_no_row_that_cannot_be_made_anew as a_lost_ledger;
        incremental::a_new_column_or_slice_is_read_alone as a_new_column_or_slice_is_read_alone;
    );
}

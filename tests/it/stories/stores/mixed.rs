//! One monitor whose tables lie in different stores and on disk.

use std::path::Path;

use super::whole::{labels, monitor, rows, write_first};
use super::{Service, Shelf, Tables, assert_alike, tables_in};
use crate::support_run::Place;

/// A place after two refreshes; `shelves` hold the tables and the output, where they are not on disk.
fn refreshed_twice(shelves: Option<[&Shelf; 2]>) -> Tables {
    let mut place = Place::new();
    let mut config = monitor("m").replace("notify = [\"oncall\", \"chat\"]", "");
    if let Some([tables, output]) = shelves {
        // The baseline stays on disk, the labels lie with the output.
        config = config.replace("~/t\"", &format!("{}t\"", tables.base));
        for name in ["labels", "out"] {
            config = config.replace(&format!("~/{name}\""), &format!("{}{name}\"", output.base));
        }
        config += &format!("{}{}", tables.block, output.block);
        for (variable, secret) in tables.secrets.iter().chain(&output.secrets) {
            place.set(variable, secret);
        }
    }
    place.configure(&config);
    let both = |with: fn(&Shelf, &Path)| shelves.iter().flatten().for_each(|shelf| with(shelf, &place.path("")));
    let refresh = |mode: &str| {
        both(Shelf::put);
        assert_eq!(place.refresh()["mode"], mode);
        if let Some([_, output]) = shelves {
            output.fetch(&place.path(""));
        }
    };
    write_first(&place);
    refresh("full");
    place.delta("t", &rows(4, 100.0));
    place.delta("labels", &labels(3));
    refresh("incremental");
    tables_in(&place.path(""))
}

#[test]
fn tables_may_lie_in_two_stores_and_on_disk() {
    let (Some(azure), Some(s3)) = (Shelf::new(Service::AzureBySas), Shelf::new(Service::S3)) else { return };
    let on_disk = vec![refreshed_twice(None)];
    for shelves in [[&azure, &s3], [&s3, &azure]] {
        assert_alike(&vec![refreshed_twice(Some(shelves))], &on_disk, ["two stores and the disk", "the disk"]);
    }
}

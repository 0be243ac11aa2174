//! Eight processes at once, each with a monitor of its own, and one folder that all of them write to.

use super::whole::{change_all, labels, monitor, notifiers, rows, write_first};
use super::{Service, Shelf, assert_alike, left_by};
use crate::support_run::{Place, Ran, components};

const MONITORS: usize = 8;

fn name(number: usize) -> String {
    format!("m{number}")
}

fn configure(place: &Place, recorder: &str) {
    let monitors: String = (0..MONITORS).map(|number| monitor(&name(number))).collect();
    place.configure(&(monitors + &notifiers(&format!("{recorder}/hook/200/eight"))));
}

/// A folder whose monitors were all refreshed twice, as `refresh_all` does it.
fn refreshed_twice(refresh_all: fn(&Place)) {
    let Some([recorder]) = components(["LIMNO_TEST_RECORDER"]) else { return };
    let place = Place::new();
    write_first(&place);
    configure(&place, &recorder);
    refresh_all(&place);
    place.delta("t", &rows(4, 100.0));
    place.delta("labels", &labels(4));
    change_all(&place);
    refresh_all(&place);
    // Each monitor told its breach once.
    let mut monitors: Vec<_> =
        place.mails("mail").iter().map(|mail| mail.header("X-Limno-Monitor").to_owned()).collect();
    monitors.sort();
    assert_eq!(monitors, (0..MONITORS).map(name).collect::<Vec<_>>());
    let rows =
        place.row("SELECT count(*) AS n, count(DISTINCT monitor) AS monitors FROM refreshes WHERE result = 'ok'");
    assert_eq!((&rows["n"], &rows["monitors"]), (&(2 * MONITORS).into(), &MONITORS.into()));
}

fn one_after_the_other() {
    refreshed_twice(|place| {
        for number in 0..MONITORS {
            place.limno(&["run", &name(number)]).fine();
        }
    });
}

fn all_at_once() {
    refreshed_twice(|place| {
        let running: Vec<_> = (0..MONITORS).map(|number| place.spawn(&["run", &name(number)])).collect();
        let ran: Vec<_> = running.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect();
        place.after();
        ran.into_iter().for_each(|ran| drop(ran.fine()));
    });
}

#[test]
fn eight_processes_lose_nothing_in_one_folder() {
    if Shelf::new(Service::AzureByKey).is_none() {
        return;
    }
    let together = left_by(Some(Service::AzureByKey), all_at_once);
    assert!(together[0].len() >= 3 * MONITORS + 2, "{:?}", together[0].keys());
    assert_alike(&together, &left_by(None, one_after_the_other), ["eight at once", "one after the other on disk"]);
}

//! Runs that are killed, and runs beside each other, leave what undisturbed runs leave.
//!
//! Each test has two places that get the same commits: one is disturbed, its twin is not. All days are long past, so all
//! windows are complete. `LIMNO_KILLS` and `LIMNO_RACES` ask for more than the default, `LIMNO_SEED` for others.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::Read;
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use limno_fixtures::SplitMix64;
use serde_json::Value;

use crate::stories::{around, job, mail_folder};
use crate::support_run::{Place, Ran, called, components, instant, numbers, table, texts, times};

/// What a run commits to, in this order: once to each, to `alerts` again when something was delivered.
const TABLES: [&str; 5] = ["NAME_ledger", "NAME_profile_metrics", "NAME_drift_metrics", "alerts", "refreshes"];
/// The jobs of the disturbed place and of its twin, by which their calls are told apart.
const JOBS: [i64; 2] = [42, 43];

#[test]
fn a_run_that_is_killed_anywhere_is_finished_by_the_next() {
    let Some(mut twins) = Twins::new("killed_at_a_commit") else { return };
    let mut kills = Kills::default();
    while kills.count < asked("LIMNO_KILLS", 20) / 2 {
        let usual = twins.commit();
        kills.several(&mut twins, usual);
        twins.disturbed.limno(&["run"]).fine();
        // Which window was the newest is the same for both, so all is told alike.
        twins.compare(true, &kills.to_string());
    }
    println!("{kills}");
}

#[test]
fn runs_that_are_killed_over_many_commits_are_finished_by_one() {
    let Some(mut twins) = Twins::new("killed_over_commits") else { return };
    let mut kills = Kills::default();
    while kills.count < asked("LIMNO_KILLS", 20).div_ceil(2) {
        for _ in 0..4 {
            let usual = twins.commit();
            kills.several(&mut twins, usual);
        }
        twins.disturbed.limno(&["run"]).fine();
        // What was the newest window of a run that did not get far is now an older one, and told as that.
        twins.compare(false, &kills.to_string());
    }
    println!("{kills}");
}

#[test]
fn a_run_that_was_cut_off_after_any_of_its_commits_is_finished_by_the_next() {
    let Some(mut twins) = Twins::new("cut_off") else { return };
    let mut sent_again = 0;
    for _ in 0..3 {
        let before = twins.commits();
        twins.commit();
        twins.disturbed.refresh();
        let after = twins.commits();
        // In the order in which they were made.
        let made: Vec<_> =
            (0..TABLES.len()).flat_map(|table| (before[table]..after[table]).map(move |at| (table, at))).collect();
        for kept in 1..made.len() {
            // A commit is one file; without the last ones the tables are as a run left them that got no further. A run
            // that only has to deliver writes no row of `refreshes`, so that one may be gone.
            for &(table, version) in &made[kept..] {
                let log = format!("out/{}/_delta_log/{version:020}.json", twins.table(table));
                drop(std::fs::remove_file(twins.disturbed.path(&log)));
            }
            let delivered = twins.disturbed.limno(&["run"]).fine().reports()[0]["deliveries"].as_array().unwrap().len();
            sent_again += delivered;
            twins.compare(true, &format!("{kept} of {made:?}"));
        }
    }
    assert!(sent_again > 0 && twins.calls(JOBS[0]).len() > twins.calls(JOBS[1]).len(), "a call was repeated");
}

#[test]
fn two_runs_at_once_leave_what_one_leaves() {
    raced("raced_by_two", 2);
}

#[test]
fn four_runs_at_once_leave_what_one_leaves() {
    raced("raced_by_four", 4);
}

/// Rounds of one commit and some runs of which none waits for another to be started. In every other round they have no
/// lock, and in every other two the commit comes when half of them have been started.
fn raced(name: &str, racers: usize) {
    let mut continued = None;
    for round in 0..asked("LIMNO_RACES", 5) {
        // Some rounds are the first of their monitor, and the series between them become longer.
        let is_first = round == 0 || round.is_power_of_two();
        let known = continued.take().filter(|_| !is_first);
        let Some(mut twins) = known.or_else(|| Twins::new(&format!("{name}_{round}"))) else { return };
        if is_first {
            twins.append();
        }
        let lock = twins.disturbed.path(&format!("out/.{}.lock", twins.name));
        drop(std::fs::remove_file(&lock));
        drop(std::fs::remove_dir(&lock));
        if round % 2 == 0 {
            // A folder in its place is no file that could be locked.
            std::fs::create_dir_all(&lock).unwrap();
        }
        let early = if round % 4 < 2 { 0 } else { racers / 2 };
        let mut running: Vec<_> = (0..early).map(|_| twins.disturbed.spawn(&["run"])).collect();
        twins.append();
        running.extend((early..racers).map(|_| twins.disturbed.spawn(&["run"])));
        let ended: Vec<_> = running.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect();
        twins.undisturbed.refresh();
        let said: Vec<_> = ended.iter().map(|ran| format!("exit {}: {}{}", ran.code, ran.err, ran.out)).collect();
        let trail = format!("round {round}:\n{}", said.join("\n"));
        assert!(ended.iter().all(|ran| ran.code == 0), "seed {}, {trail}", twins.seed);
        twins.compare(false, &trail);
        continued = Some(twins);
    }
}

/// A number that the environment may ask for.
fn asked(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// A place that is disturbed and one that is not, with the same commits.
struct Twins {
    name: String,
    disturbed: Place,
    undisturbed: Place,
    /// Where the baseline is.
    _shared: Place,
    log: String,
    seed: u64,
    random: SplitMix64,
    days: i64,
}

impl Twins {
    fn new(name: &str) -> Option<Self> {
        let [recorder, log] = components(["LIMNO_TEST_RECORDER", "LIMNO_TEST_RECORDER_LOG"])?;
        // One file for both: states of a baseline are known by its name and time.
        let shared = Place::new();
        let before = shared.parquet("before.parquet", &rows([(0, 0.0)]));
        let place = |id| {
            let mut place = Place::new();
            place.set("DATABRICKS_TOKEN", "dapi-hunter2");
            place.configure(&format!("{}{}{}", monitor(name, &before), mail_folder(), job(&recorder, id)));
            place
        };
        let seed = asked("LIMNO_SEED", 1);
        let [disturbed, undisturbed] = JOBS.map(place);
        let random = SplitMix64::new(seed).stream(name);
        Some(Self { name: name.to_owned(), disturbed, undisturbed, _shared: shared, log, seed, random, days: 0 })
    }

    /// Appends a day to both tables, and sometimes rows that are late for an earlier one.
    fn append(&mut self) {
        self.days += 1;
        // A little different every day, and now and then far away.
        let centre = self.days as f64 / 1e3 + if self.random.chance(0.4) { 1000.0 } else { 0.0 };
        let mut days = vec![(self.days, centre)];
        if self.random.chance(0.3) {
            days.push((1 + self.random.below(self.days.unsigned_abs()) as i64, 0.0));
        }
        let rows = rows(days);
        for place in [&self.disturbed, &self.undisturbed] {
            place.delta("t", &rows);
        }
    }

    /// Appends a day and answers how long it takes the undisturbed place to refresh.
    fn commit(&mut self) -> Duration {
        self.append();
        let start = Instant::now();
        self.undisturbed.refresh();
        start.elapsed()
    }

    /// Asserts that both places have the same numbers, states and breaches, and told each once; if so asked, that they
    /// told the same, as new or as old.
    #[track_caller]
    fn compare(&self, is_told_alike: bool, trail: &str) {
        let (name, about) = (&self.name, format!("seed {}, day {}, {trail}", self.seed, self.days));
        let queries = [
            format!("SELECT * FROM {name}_profile_metrics"),
            format!("SELECT * FROM {name}_drift_metrics"),
            format!(
                "SELECT log_type, window_start, unit, model_id, slice_key, slice_value, column_name, definition, rows, \
                 encode(state, 'hex') AS state, checksum FROM {name}_ledger WHERE log_type <> 'WATERMARK'"
            ),
        ];
        for query in queries {
            let [ours, theirs] = [&self.disturbed, &self.undisturbed].map(|place| sorted(place.sql(&query)));
            assert!(!theirs.is_empty(), "{query}");
            let differ = |a: &[String], b: &[String]| {
                let b: BTreeSet<_> = b.iter().collect();
                // Vectors of a thousand quantiles tell nobody more.
                let rows = a.iter().filter(|row| !b.contains(row)).take(3);
                rows.map(|row| row.chars().take(600).collect()).collect::<Vec<String>>().join("\n")
            };
            assert!(
                ours == theirs,
                "{about}\n{query}\n{} rows, undisturbed {}\nonly here: {}\nonly undisturbed: {}",
                ours.len(),
                theirs.len(),
                differ(&ours, &theirs),
                differ(&theirs, &ours)
            );
        }
        let [ours, theirs] = [&self.disturbed, &self.undisturbed].map(Told::by);
        // As lists: what was found twice, or put into the outbox twice, stands there twice.
        assert_eq!(ours.ids(), theirs.ids(), "{about}");
        let once: BTreeSet<_> = ours.outbox.iter().collect();
        assert_eq!(once.len(), ours.outbox.len(), "{about}: {:?}", ours.outbox);
        assert_eq!(once, ours.delivered.iter().collect(), "{about}");
        let messages = ours.outbox.iter().filter(|(kind, _)| kind == "notification").map(|(_, id)| id.clone());
        assert_eq!(ours.mails, messages.collect(), "{about}");
        // One token for each window, and one run for each token, however often it was called.
        let (mut tokens, mut runs) = (BTreeMap::new(), BTreeMap::new());
        for call in self.calls(JOBS[0]) {
            let parameters = &call["body"]["job_parameters"];
            let window = ["granularity", "window_start"].map(|key| parameters[key].as_str().unwrap().to_owned());
            let token = call["body"]["idempotency_token"].as_str().unwrap().to_owned();
            assert_eq!(tokens.entry(window).or_insert_with(|| token.clone()), &token, "{about}");
            let run = call["answer"]["run_id"].as_i64().unwrap();
            assert_eq!(runs.entry(token).or_insert(run), &run, "{about}");
        }
        let called = ours.outbox.iter().filter(|(kind, _)| kind == "trigger").count();
        assert_eq!(called, tokens.len(), "{about}");
        if is_told_alike {
            assert_eq!((ours.breaches, ours.mails), (theirs.breaches, theirs.mails), "{about}");
            assert_eq!(self.tokens(JOBS[0]), self.tokens(JOBS[1]), "{about}");
        }
    }

    fn tokens(&self, job: i64) -> BTreeSet<String> {
        self.calls(job).into_iter().map(|call| call["body"]["idempotency_token"].to_string()).collect()
    }

    fn calls(&self, job: i64) -> Vec<Value> {
        called(&self.log, &self.name).into_iter().filter(|call| call["body"]["job_id"] == job).collect()
    }

    fn table(&self, table: usize) -> String {
        TABLES[table].replace("NAME", &self.name)
    }

    /// How many commits the tables of the disturbed place have.
    fn commits(&self) -> [usize; 5] {
        std::array::from_fn(|table| {
            let files = self.disturbed.files(&format!("out/{}/_delta_log", self.table(table)));
            files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "json")).count()
        })
    }
}

/// What the table of alerts of a place says, and the mails that are there.
struct Told {
    /// Breaches: id, new or historical, value.
    breaches: Vec<(String, String, String)>,
    /// Messages and calls: kind and id.
    outbox: Vec<(String, String)>,
    delivered: Vec<(String, String)>,
    mails: BTreeSet<String>,
}

impl Told {
    fn by(place: &Place) -> Self {
        let mails = place.mails("mail").iter().map(|mail| mail.id().to_owned()).collect();
        let mut told = Self { breaches: Vec::new(), outbox: Vec::new(), delivered: Vec::new(), mails };
        for row in place.sql("SELECT kind, alert_id, status, value FROM alerts ORDER BY alert_id") {
            let [kind, id, status] = ["kind", "alert_id", "status"].map(|key| row[key].as_str().unwrap().to_owned());
            match status.as_str() {
                _ if kind == "breach" => told.breaches.push((id, status, row["value"].to_string())),
                "pending" => told.outbox.push((kind, id)),
                "delivered" => told.delivered.push((kind, id)),
                other => panic!("{kind} {id} is {other}"),
            }
        }
        told
    }

    fn ids(&self) -> Vec<&str> {
        self.breaches.iter().map(|(id, _, _)| id.as_str()).collect()
    }
}

/// The kills so far.
#[derive(Default)]
struct Kills {
    count: u64,
    /// How many there were by how much the run had committed to each table.
    after: BTreeMap<[usize; 5], u64>,
}

impl Kills {
    /// Kills a few runs in a row; a run that ends before is the last.
    fn several(&mut self, twins: &mut Twins, usual: Duration) {
        for _ in 0..=twins.random.below(4) {
            let before = twins.commits();
            let ran = kill_after(twins.disturbed.spawn(&["run"]), usual.mul_f64(twins.random.uniform()));
            if ran.code != -1 {
                ran.fine();
                return;
            }
            let after = twins.commits();
            self.count += 1;
            *self.after.entry(std::array::from_fn(|table| after[table] - before[table])).or_default() += 1;
        }
    }
}

impl std::fmt::Display for Kills {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} kills; after commits to {TABLES:?}: {:?}", self.count, self.after)
    }
}

/// Kills a process, unless it ends earlier.
fn kill_after(mut child: Child, delay: Duration) -> Ran {
    let mut out = child.stdout.take().unwrap();
    let (ends, ended) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // To its end, which is that of the process.
        out.read_to_end(&mut bytes).unwrap();
        // Nobody listens any more if it was killed.
        let _ = ends.send(());
        bytes
    });
    if ended.recv_timeout(delay).is_err() {
        child.kill().unwrap();
    }
    let mut output = child.wait_with_output().unwrap();
    output.stdout = reader.join().unwrap();
    Ran::of(output)
}

/// Rows without what says when and from which version they were made.
fn sorted(rows: Vec<Value>) -> Vec<String> {
    let rows = rows.into_iter().map(|mut row| {
        let fields = row.as_object_mut().unwrap();
        for field in ["refreshed_at", "logging_table_commit_version", "monitor_version"] {
            fields.remove(field);
        }
        row.to_string()
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

/// 600 rows for each of some days of 2024, around a centre.
fn rows(days: impl IntoIterator<Item = (i64, f64)>) -> RecordBatch {
    let days: Vec<_> = days.into_iter().collect();
    let at = days.iter().flat_map(|(day, _)| {
        let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(*day);
        (0..600).map(move |second| start + TimeDelta::seconds(second))
    });
    let x = days.iter().flat_map(|(_, centre)| around(*centre));
    let kind = (0..600 * days.len()).map(|row| ["a", "b"][row / 60 % 2]);
    table([("at", times(at)), ("x", numbers(x)), ("kind", texts(kind))])
}

/// Whatever breaks a rule of it still does when more rows come, so the breaches do not depend on which commits a
/// refresh sees together.
fn monitor(name: &str, before: &str) -> String {
    format!(
        r#"
[monitor.{name}]
table    = "~/t"
output   = "~/out"
baseline = "{before}"
slices   = ["kind"]
[monitor.{name}.time_series]
timestamp     = "at"
granularities = ["1 day", "1 week"]
[[monitor.{name}.rule]]
name    = "shift"
metric  = "population_stability_index"
above   = 0.2
notify  = ["oncall"]
trigger = ["retrain"]
[[monitor.{name}.rule]]
name    = "rows"
metric  = "count"
above   = 1000
notify  = ["oncall"]
"#
    )
}

//! What the stories share: `limno` as a process in a folder of its own, small tables, and what the components of
//! `tests/run` received.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use deltalake::DeltaTableBuilder;
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::support_store::{Shelf, new_place};

/// The values of variables that `tests/run` sets, or a skip that shows also when everything passes.
pub(crate) fn components<const N: usize>(variables: [&str; N]) -> Option<[String; N]> {
    let values = variables.map(|variable| (variable, env::var(variable).ok()));
    if let Some((missing, _)) = values.iter().find(|(_, value)| value.is_none()) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test").to_owned();
        let is_of_store = ["LIMNO_TEST_AZURE_", "LIMNO_TEST_S3_"].iter().any(|start| missing.starts_with(start));
        let is_required = is_of_store && env::var_os("LIMNO_TEST_REQUIRE_STORES").is_some();
        assert!(!is_required, "{missing} is not set, although the stores were started");
        let line = format!("SKIPPED {name}: {missing} is not set; run tests/run\n");
        // Past the test harness's capture.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    Some(values.map(|(_, value)| value.unwrap()))
}

/// A folder with a `limno.toml`, in which `limno` runs. Its tables lie in it, or in a store: see
/// [`crate::support_store`].
pub(crate) struct Place {
    folder: Arc<TempDir>,
    shelf: Option<Shelf>,
    environment: Vec<(String, String)>,
}

/// What a run of `limno` left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let (folder, shelf) = new_place();
        let environment = shelf.iter().flat_map(|shelf| shelf.secrets.clone()).collect();
        Self { folder, shelf, environment }
    }

    /// The store that its tables lie in; `None` on disk.
    pub(crate) const fn shelf(&self) -> Option<&Shelf> {
        self.shelf.as_ref()
    }

    /// All that was set.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        self.environment.iter().cloned().collect()
    }

    /// Runs what sees the tables where they lie.
    pub(crate) fn beside_tables<T>(&self, run: impl FnOnce() -> T) -> T {
        self.before();
        let result = run();
        self.after();
        result
    }

    fn before(&self) {
        if let Some(shelf) = &self.shelf {
            shelf.put(self.folder.path());
        }
    }

    /// After a process that was spawned has ended.
    pub(crate) fn after(&self) {
        if let Some(shelf) = &self.shelf {
            shelf.fetch(self.folder.path());
        }
    }

    /// Sets a variable for all later runs.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.environment.retain(|(known, _)| known != variable);
        self.environment.push((variable.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a table lies for `limno`.
    pub(crate) fn uri(&self, name: &str) -> String {
        self.shelf.as_ref().map_or_else(|| self.at(name), |shelf| format!("{}{name}", shelf.base))
    }

    /// A path as a location.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes `limno.toml`, in which `~/` stands for this folder; at the start of a key's value it is a place of tables.
    pub(crate) fn configure(&self, text: &str) {
        let mut text = text.to_owned();
        if let Some(shelf) = &self.shelf {
            text = text.replace("= \"~/", &format!("= \"{}", shelf.base));
            // Some write again what they read.
            if !text.contains(&shelf.block) {
                text.push_str(&shelf.block);
            }
        }
        self.write("limno.toml", &text);
    }

    /// Writes what is laid over it in an environment.
    pub(crate) fn overlay(&self, environment: &str, text: &str) {
        let base = self.shelf.as_ref().map_or("~/", |shelf| &shelf.base);
        self.write(&format!("limno.{environment}.toml"), &text.replace("= \"~/", &format!("= \"{base}")));
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text.replace("~/", &format!("{}/", self.folder.path().display()))).unwrap();
    }

    /// `limno` with these arguments, in this folder.
    pub(crate) fn limno(&self, arguments: &[&str]) -> Ran {
        self.limno_in(self.folder.path(), arguments)
    }

    pub(crate) fn limno_in(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limno-under-test"));
        command.args(arguments).current_dir(folder);
        self.run(command)
    }

    /// A line as a user would paste it into a shell that finds `limno`.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let binaries = self.path("bin");
        if !binaries.exists() {
            std::fs::create_dir(&binaries).unwrap();
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_limno-under-test"), binaries.join("limno")).unwrap();
        }
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.folder.path());
        command.env("PATH", format!("{}:{}", binaries.display(), env::var("PATH").unwrap()));
        self.run(command)
    }

    /// `limno` at work: the answer can be waited for or killed.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limno-under-test"));
        command.args(arguments).current_dir(self.folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.before();
        self.surround(&mut command).spawn().unwrap()
    }

    fn run(&self, mut command: Command) -> Ran {
        self.beside_tables(|| Ran::of(self.surround(&mut command).output().unwrap()))
    }

    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_remove("RUST_LOG").envs(self.environment.iter().map(|(name, value)| (name, value)))
    }

    /// The one report of `limno run`, which goes well.
    pub(crate) fn refresh(&self) -> Value {
        let mut reports = self.limno(&["run"]).fine().reports();
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports.remove(0)
    }

    /// The rows of a query over the metric tables.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        let ran = self.limno(&["sql", query, "--format", "json"]).fine();
        serde_json::from_str(&ran.out).unwrap()
    }

    /// The one row of a query.
    pub(crate) fn row(&self, query: &str) -> Value {
        let mut rows = self.sql(query);
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows.remove(0)
    }

    /// Path and size of every file below a folder; none if it is not there.
    pub(crate) fn files(&self, name: &str) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = folder.read_dir() else { continue };
            for entry in entries.map(Result::unwrap) {
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push((entry.path(), metadata.len()));
                }
            }
        }
        found.sort();
        found
    }

    /// The mails in a folder of `.eml` files.
    pub(crate) fn mails(&self, name: &str) -> Vec<Mail> {
        let is_mail = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "eml");
        let files = self.files(name).into_iter().map(|(path, _)| path).filter(is_mail);
        files.map(|path| Mail::parse(&std::fs::read_to_string(path).unwrap())).collect()
    }

    pub(crate) fn parquet(&self, name: &str, rows: &RecordBatch) -> String {
        let file = std::fs::File::create(self.path(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(rows).unwrap();
        writer.close().unwrap();
        self.at(name)
    }

    /// Appends a commit to a Delta table, as another writer does it.
    pub(crate) fn delta(&self, name: &str, rows: &RecordBatch) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let builder = DeltaTableBuilder::from_url(Url::from_directory_path(&path).unwrap()).unwrap();
            let is_there = path.join("_delta_log").exists();
            let table = if is_there { builder.load().await } else { builder.build() };
            let write = table.unwrap().write([rows.clone()]).with_save_mode(SaveMode::Append);
            write.with_schema_mode(SchemaMode::Merge).await.unwrap();
        });
        self.at(name)
    }
}

impl Ran {
    /// What a process that has ended left; its code is -1 if it was killed.
    pub(crate) fn of(output: Output) -> Self {
        let ran = Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }

    /// Asserts that the run went well and had nothing to complain about.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        assert!(self.code == 0 && self.err.is_empty(), "exit {}\n{}\n{}", self.code, self.err, self.out);
        self
    }

    /// Asserts that the run ended with this code and one message that holds all of `parts`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.err, self.out);
        let messages = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(messages, 1, "{}", self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
        self
    }

    /// One report for each line.
    pub(crate) fn reports(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A mail as its reader sees it.
#[derive(Debug)]
pub(crate) struct Mail {
    headers: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) html: String,
}

impl Mail {
    pub(crate) fn parse(mail: &str) -> Self {
        assert!(mail.lines().all(|line| line.len() <= 998), "a line is too long for SMTP");
        let (headers, body) = entity(mail);
        let kind = header(&headers, "Content-Type").unwrap();
        assert!(kind.starts_with("multipart/alternative"), "{kind}");
        let (_, boundary) = kind.split_once("boundary=\"").unwrap();
        let (boundary, _) = boundary.split_once('"').unwrap();
        let (parts, _) = body.split_once(&format!("--{boundary}--")).unwrap();
        let parts: Vec<_> = parts.split(&format!("--{boundary}\r\n")).skip(1).map(entity).collect();
        let kinds: Vec<_> = parts.iter().map(|(headers, _)| header(headers, "Content-Type").unwrap()).collect();
        assert_eq!(kinds, ["text/plain; charset=utf-8", "text/html; charset=utf-8"]);
        let [text, html] = [0, 1].map(|part: usize| decoded(&parts[part].0, parts[part].1));
        Self { headers, text, html }
    }

    /// A header, decoded.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    /// What stands before the `@` of the Message-ID.
    pub(crate) fn id(&self) -> &str {
        self.header("Message-ID").strip_prefix('<').unwrap().strip_suffix("@limnograph>").unwrap()
    }

    /// The command line that the mail offers.
    pub(crate) fn sql_line(&self) -> &str {
        let mut lines = self.text.lines().map(str::trim).filter(|line| line.starts_with("limno "));
        let line = lines.next().expect("a command line");
        assert_eq!(lines.next(), None);
        line
    }
}

/// The mails about a monitor that arrived in a Maildir.
pub(crate) fn arrived(maildir: &str, monitor: &str) -> Vec<Mail> {
    let Ok(entries) = Path::new(maildir).join("new").read_dir() else { return Vec::new() };
    let texts = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let marker = format!("X-Limno-Monitor: {monitor}\r\n");
    texts.filter(|text| text.contains(&marker)).map(|text| Mail::parse(&text)).collect()
}

/// The job calls for a monitor that the recorder got.
pub(crate) fn called(log: &str, monitor: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(log).unwrap();
    let about = lines.lines().filter(|line| line.contains(monitor));
    let calls = about.map(|line| serde_json::from_str::<Value>(line).unwrap());
    calls.filter(|call| call["body"]["job_parameters"]["monitor"] == monitor).collect()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(&found.1)
}

/// Headers, unfolded and decoded, and the body as it is.
fn entity(text: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers = head.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), decoded_words(value))
    });
    (headers.collect(), body)
}

/// A header's encoded words (RFC 2047) as text.
fn decoded_words(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, encoded)) = rest.split_once("=?utf-8?") {
        let (encoding, encoded) = encoded.split_once('?').unwrap();
        let (word, after) = encoded.split_once("?=").unwrap();
        // Space between two encoded words is no part of the text.
        if text.is_empty() || !before.trim().is_empty() {
            text.push_str(before);
        }
        let bytes = match encoding {
            "b" => base64(word),
            "q" => quoted_printable(&word.replace('_', " ")),
            other => panic!("unknown encoding {other}"),
        };
        text.push_str(&String::from_utf8(bytes).unwrap());
        rest = after;
    }
    text + rest
}

fn decoded(headers: &[(String, String)], body: &str) -> String {
    let bytes = match header(headers, "Content-Transfer-Encoding").unwrap() {
        "7bit" => body.as_bytes().to_vec(),
        "base64" => base64(body),
        "quoted-printable" => quoted_printable(body),
        other => panic!("unknown encoding {other}"),
    };
    String::from_utf8(bytes).unwrap()
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let text = text.replace("=\r\n", "");
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn base64(text: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.chars().filter(|c| !c.is_whitespace() && *c != '=') {
        bits = bits << 6 | u32::try_from(digits.find(digit).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

/// An instant from ISO 8601.
pub(crate) fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A timestamp column as Delta has it.
pub(crate) fn times(instants: impl IntoIterator<Item = DateTime<Utc>>) -> ArrayRef {
    let micros = instants.into_iter().map(|instant| instant.timestamp_micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

pub(crate) fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn table<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The flights of 2013.
pub(crate) fn flights() -> &'static RecordBatch {
    static FLIGHTS: OnceLock<RecordBatch> = OnceLock::new();
    FLIGHTS.get_or_init(|| {
        let file = std::fs::File::open(limno_fixtures::paths::flights()).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let schema = Arc::clone(builder.schema());
        let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    })
}

/// The flights of some time, half open.
pub(crate) fn flights_between(start: &str, end: &str) -> RecordBatch {
    let (start, end) = (instant(start).timestamp_micros(), instant(end).timestamp_micros());
    let times = flights().column_by_name("time_hour").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
    let wanted = times.values().iter().map(|&time| Some((start..end).contains(&time))).collect();
    assert_eq!(times.null_count(), 0);
    filter_record_batch(flights(), &wanted).unwrap()
}

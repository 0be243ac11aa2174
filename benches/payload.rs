//! Unpacking of payloads against a bare parse of the same texts with the same parser.
//!
//! `cargo bench -p limno-benches --bench payload -- [--rows N]`, where N is how many rows a request has. Needs the query
//! engine, so it is a long build.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use jiter::{Jiter, JiterResult, Peek};
use limno_benches::arguments::Arguments;
use limno_benches::harness::{Contender, Race, say};
use limno_fixtures::SplitMix64;
use limno_sql::payload::{PayloadSchema, Unpacker};

const COLUMNS: usize = 20;
/// Bytes of text of one run, about.
const BYTES: usize = 20_000_000;
/// Payloads of a batch.
const BATCH: usize = 8192;

#[derive(Debug, Clone, Copy)]
enum Shape {
    Split,
    Records,
    Instances,
    Inputs,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read()?;
    let sizes = arguments.rows.map_or_else(|| vec![1, 10], |rows| vec![rows]);
    let race = Race { rounds: arguments.rounds.unwrap_or(Race::ROUNDS), budget: Duration::from_secs(10) };
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("feature_{column}")).collect();
    let types = ["bigint", "double", "double", "string"];
    let columns: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(types.into_iter().cycle()).collect();
    let schema = PayloadSchema::of_columns(&columns, &[("prediction", "double")])?;
    say("| rows, shape | bare parse, MB/s | unpacked, MB/s | ratio |\n|---|---|---|---|");
    for rows in sizes {
        for shape in [Shape::Split, Shape::Records, Shape::Instances, Shape::Inputs] {
            let payloads = payloads(shape, rows, &names);
            let bytes = payloads.iter().map(|(request, response)| request.len() + response.len()).sum();
            let bare = Contender::plain("bare parse", || parse(black_box(&payloads)));
            let unpacked = Contender::fresh("unpacked", || (), |()| unpack(&schema, black_box(&payloads)));
            // Nanoseconds a byte.
            let outcomes = race.run(bytes, vec![bare, unpacked]);
            let [bare, unpacked] = outcomes.as_slice() else { continue };
            let (bare, speed) = (1e3 / bare.min, 1e3 / unpacked.min);
            say(&format!("| {rows}, {shape:?} | {bare:.0} | {speed:.0} | ×{:.2} |", bare / speed));
        }
    }
    Ok(())
}

fn unpack(schema: &PayloadSchema, payloads: &[(String, String)]) -> Result<usize, Box<dyn Error>> {
    let mut rows = 0;
    for batch in payloads.chunks(BATCH) {
        let mut unpacker = Unpacker::new(schema);
        batch.iter().for_each(|(request, response)| unpacker.push(Some(request), Some(response), None));
        rows += black_box(unpacker.finish()?.rows).values().len();
    }
    Ok(rows)
}

fn parse(payloads: &[(String, String)]) -> JiterResult<(f64, usize)> {
    let (mut sum, mut len, mut tape) = (0.0, 0, Vec::new());
    for text in payloads.iter().flat_map(|(request, response)| [request, response]) {
        let mut json = Jiter::with_tape(text.as_bytes(), tape).with_allow_inf_nan();
        let peek = json.peek()?;
        walk(&mut json, peek, &mut sum, &mut len)?;
        tape = json.into_tape();
    }
    Ok((sum, len))
}

/// Parses every value and keeps a sum, so that none is left out.
fn walk(json: &mut Jiter<'_>, peek: Peek, sum: &mut f64, len: &mut usize) -> JiterResult<()> {
    match peek {
        Peek::Array => {
            let mut item = json.known_array()?;
            while let Some(peek) = item {
                walk(json, peek, sum, len)?;
                item = json.array_step()?;
            }
        }
        Peek::Object => {
            let mut key = json.known_object()?.map(str::len);
            while let Some(read) = key {
                *len += read;
                let peek = json.peek()?;
                walk(json, peek, sum, len)?;
                key = json.next_key()?.map(str::len);
            }
        }
        Peek::String => *len += json.known_str()?.len(),
        Peek::Null => json.known_null()?,
        Peek::True | Peek::False => *len += usize::from(json.known_bool(peek)?),
        peek => *sum += json.known_float(peek)?,
    }
    Ok(())
}

/// Requests of `rows` rows and their responses: whole numbers, short and long doubles, and texts of fifty kinds.
fn payloads(shape: Shape, rows: usize, names: &[String]) -> Vec<(String, String)> {
    let mut rng = SplitMix64::new(7);
    let mut payloads = Vec::new();
    let mut bytes = 0;
    while bytes < BYTES {
        let table: Vec<Vec<String>> =
            (0..rows).map(|_| (0..names.len()).map(|column| value(&mut rng, column)).collect()).collect();
        let list = |values: &Vec<String>| format!("[{}]", values.join(", "));
        let lists = table.iter().map(list).collect::<Vec<_>>().join(", ");
        let request = match shape {
            Shape::Split => {
                let names = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
                format!("{{\"dataframe_split\": {{\"columns\": [{names}], \"data\": [{lists}]}}}}")
            }
            Shape::Records => {
                let objects = table.iter().map(|row| object(names, row.iter().cloned()));
                format!("{{\"dataframe_records\": [{}]}}", objects.collect::<Vec<_>>().join(", "))
            }
            Shape::Instances => format!("{{\"instances\": [{lists}]}}"),
            Shape::Inputs => {
                let column =
                    |index: usize| list(&table.iter().filter_map(|row| row.get(index).cloned()).collect::<Vec<_>>());
                format!("{{\"inputs\": {}}}", object(names, (0..names.len()).map(column)))
            }
        };
        let predictions = (0..rows).map(|_| value(&mut rng, 2)).collect::<Vec<_>>().join(", ");
        let response = format!("{{\"predictions\": [{predictions}]}}");
        bytes += request.len() + response.len();
        payloads.push((request, response));
    }
    payloads
}

fn object(names: &[String], values: impl Iterator<Item = String>) -> String {
    let entries = names.iter().zip(values).map(|(name, value)| format!("\"{name}\": {value}"));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

fn value(rng: &mut SplitMix64, column: usize) -> String {
    match column % 4 {
        0 => format!("{}", rng.next_u64() % 100_000),
        1 => format!("{}.{:06}", rng.next_u64() % 1000, rng.next_u64() % 1_000_000),
        2 => format!("0.{:016}", rng.next_u64() % 10_000_000_000_000_000),
        _ => format!("\"seg{}\"", rng.next_u64() % 50),
    }
}

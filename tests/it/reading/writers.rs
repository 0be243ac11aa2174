//! Parquet files of any writer hold the same numbers.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use serde_json::{Value, json};

use super::{add_file, commit, monitor, wide};
use crate::support_run::Place;

/// The profile of a file by column, without the names of types.
fn profile(place: &Place, path: &str) -> Result<Vec<(String, Value)>, String> {
    let ran = place.limno(&["profile", path, "--format", "json"]);
    if ran.code != 0 {
        return Err(ran.err);
    }
    let rows: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let rows = rows.into_iter().map(|mut row| {
        row.as_object_mut().unwrap().remove("data_type");
        // Names come in the order of the file.
        if let Some(names) = row["non_null_columns"].as_array_mut() {
            names.sort_by_key(ToString::to_string);
        }
        (row["column_name"].as_str().unwrap().to_owned(), row)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(rows)
}

/// What differs between two profiles.
fn difference(one: &[(String, Value)], other: &[(String, Value)]) -> Vec<String> {
    let names = |rows: &[(String, Value)]| rows.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if names(one) != names(other) {
        return vec![format!("columns {:?} and {:?}", names(one), names(other))];
    }
    let cells = one.iter().zip(other).flat_map(|((name, one), (_, other))| {
        let one = one.as_object().unwrap();
        let differs = move |(key, value): &(&String, &Value)| other.get(*key) != Some(*value);
        one.iter().filter(differs).map(move |(key, value)| format!("{name}.{key}: {value} and {}", other[key]))
    });
    cells.collect()
}

fn folder() -> std::path::PathBuf {
    limno_fixtures::paths::data_dir().join("writers")
}

#[test]
fn files_of_any_writer_have_one_profile() {
    let place = Place::new();
    let plain = profile(&place, folder().join("plain.parquet").to_str().unwrap()).unwrap();
    assert_eq!(plain.len(), 9);
    let mut files: Vec<_> = folder().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    files.sort();
    assert!(files.len() > 25, "{files:?}");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        match profile(&place, path.to_str().unwrap()) {
            Ok(rows) if name == "arrow_empty" => {
                assert!(rows.len() == 9 && rows.iter().all(|(_, row)| row["count"] == 0), "{rows:?}");
            }
            Ok(rows) => {
                let difference = difference(&plain, &rows);
                if !difference.is_empty() {
                    wrong.push(format!("{name}: {difference:#?}"));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn plain_rows() -> RecordBatch {
    let file = std::fs::File::open(folder().join("plain.parquet")).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(10_000).build().unwrap();
    reader.next().unwrap().unwrap()
}

/// What no fixture has: LZ4 in the frames of Hadoop, pages of one value, dictionaries that overflow, no statistics at all.
#[test]
fn our_own_writer_in_all_its_ways_has_the_same_profile() {
    let place = Place::new();
    let plain = profile(&place, folder().join("plain.parquet").to_str().unwrap()).unwrap();
    let rows = plain_rows();
    let default = WriterProperties::builder;
    let ways = [
        ("hadoop_lz4", default().set_compression(Compression::LZ4)),
        ("raw_lz4", default().set_compression(Compression::LZ4_RAW)),
        ("tiny_pages", default().set_data_page_row_count_limit(1).set_write_batch_size(1)),
        ("overflowing", default().set_dictionary_page_size_limit(64).set_data_page_row_count_limit(50)),
        ("none", default().set_statistics_enabled(EnabledStatistics::None).set_max_row_group_row_count(Some(90))),
        ("v2", default().set_writer_version(WriterVersion::PARQUET_2_0).set_dictionary_enabled(false)),
        (
            "delta",
            default()
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_dictionary_enabled(false)
                .set_column_encoding("id".into(), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding("x".into(), Encoding::BYTE_STREAM_SPLIT)
                .set_column_encoding("key".into(), Encoding::DELTA_BYTE_ARRAY)
                .set_column_encoding("flag".into(), Encoding::RLE),
        ),
        ("bloom", default().set_bloom_filter_enabled(true)),
    ];
    for (name, properties) in ways {
        let path = place.path(&format!("{name}.parquet"));
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, Arc::clone(rows.schema_ref()), Some(properties.build())).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let found = profile(&place, path.to_str().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(difference(&plain, &found), Vec::<String>::new(), "{name}");
    }
}

/// Statistics that do not cover the values, in the log and in the footer, take no row from a refresh that reads files for
/// the first time: only windows that are read anew are looked for by statistics.
#[test]
fn wrong_statistics_take_no_rows_from_new_files() {
    let place = Place::new();
    place.delta("t", &wide(1, 50, 3));
    let rows = wide(2, 400, 3);
    let add = add_file(&place, "lying.parquet", &rows, WriterProperties::builder().build());
    let path = place.path("t/lying.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = rows.column(0).as_any().downcast_ref::<arrow::array::TimestampMicrosecondArray>().unwrap();
    let (first, last) = (at.value(0), at.value(at.len() - 1));
    // Everywhere in the footer and the page index, the last instant becomes one shortly after the first.
    let (truth, lie) = (last.to_le_bytes(), (first + 1_000_000).to_le_bytes());
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let from = bytes.len() - footer - 2000;
    let mut lies = 0;
    for start in from..bytes.len() - 8 {
        if bytes[start..start + 8] == truth {
            bytes[start..start + 8].copy_from_slice(&lie);
            lies += 1;
        }
    }
    assert!(lies >= 2, "the footer was not found");
    std::fs::write(&path, bytes).unwrap();
    let mut stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    stats["maxValues"]["at"] = stats["minValues"]["at"].clone();
    let mut lying = add;
    lying["stats"] = json!(stats.to_string());
    commit(&place, &json!({ "add": lying }));
    place.configure(&monitor("m", &["c1", "c2"]));
    let report = place.refresh();
    assert_eq!((&report["rows"], &report["windows"]), (&json!(450), &json!(2)), "{report}");
    let count = place.row("SELECT sum(count) AS count FROM m_profile_metrics WHERE column_name = ':table'");
    assert_eq!(count["count"], 450);
}

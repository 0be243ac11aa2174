//! Every way to write where a table lies leads there: the same profile, whichever it is.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use super::day;
use crate::support_block::{Block, Service};
use crate::support_run::{Place, components};
use crate::support_store::tell;

/// What `profile` prints of a location.
fn profile(place: &Place, uri: &str) -> String {
    place.limno(&["profile", uri, "--format", "json"]).fine().out.replace(uri, "URI")
}

fn in_azure() {
    let [account] = components(["LIMNO_TEST_AZURE_ACCOUNT"]).unwrap();
    let block = Block::new(Service::AzureByKey).unwrap();
    let place = Place::new();
    place.delta("t", &day(1, 1.0));
    place.parquet("one.parquet", &day(1, 1.0));
    // Of the last two the block says in which account.
    let bare = block.clone().with_url("az://lake");
    place.configure(&bare.to_string().replace("[store.lake]", "[store.bare]"));
    let host = format!("lake@{account}.dfs.core.windows.net");
    let uri = place.uri("");
    let below = uri.strip_prefix(&block.url).unwrap();
    for name in ["t", "one.parquet"] {
        let wanted = profile(&place, &place.at(name));
        for form in [
            format!("abfss://{host}/{below}{name}"),
            format!("abfs://{host}/{below}{name}/"),
            format!("wasbs://lake@{account}.blob.core.windows.net/{below}{name}"),
            format!("https://{account}.blob.core.windows.net/lake/{below}{name}"),
            format!("https://{account}.dfs.core.windows.net/lake/{below}{name}"),
            format!("az://lake/{below}{name}"),
            format!("adl://lake/{below}{name}"),
        ] {
            assert_eq!(profile(&place, &form), wanted, "{form}");
        }
    }
}

fn in_s3() {
    let place = Place::new();
    place.delta("t", &day(1, 1.0));
    place.configure("");
    let wanted = profile(&place, &place.at("t"));
    let uri = place.uri("t");
    assert_eq!(profile(&place, &uri), wanted);
    assert_eq!(profile(&place, &uri.replace("s3://", "s3a://")), wanted);
}

#[test]
fn tables_of_azure_have_many_names() {
    if Block::new(Service::AzureByKey).is_some() {
        tell(Some(Service::AzureByKey), in_azure);
    }
}

#[test]
fn tables_of_s3_have_two_names() {
    if Block::new(Service::S3).is_some() {
        tell(Some(Service::S3), in_s3);
    }
}

#[test]
fn tables_on_disk_have_paths_and_urls() {
    let place = Place::new();
    place.delta("a b", &day(1, 1.0));
    let path = place.at("a b");
    let wanted = profile(&place, &path);
    for form in
        ["a b".to_owned(), "./a b/".to_owned(), format!("file://{path}"), format!("file://{path}").replace(' ', "%20")]
    {
        assert_eq!(profile(&place, &form), wanted, "{form}");
    }
}

/// A server of one file, which answers for parts of it too; where it listens.
fn served(file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .map(|line| line.to_ascii_lowercase())
                .collect();
            let Some(first) = lines.first() else { continue };
            let (status, part) = if first.contains(" /data/one.parquet ") {
                let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes="));
                match range.map(|range| range.split_once('-').unwrap()) {
                    None => ("200 OK".to_owned(), 0..file.len()),
                    Some((start, end)) => {
                        let end = end.parse().map_or(file.len(), |last: usize| (last + 1).min(file.len()));
                        let range = start.parse().unwrap()..end;
                        let of = format!("content-range: bytes {}-{}/{}", range.start, end - 1, file.len());
                        (format!("206 Partial Content\r\n{of}"), range)
                    }
                }
            } else {
                ("404 Not Found".to_owned(), 0..0)
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nlast-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
                 etag: \"1\"\r\nconnection: close\r\n\r\n",
                part.len()
            );
            let body = if first.starts_with("head ") { &[][..] } else { &file[part] };
            // Who asked may be gone.
            stream.write_all(&[head.as_bytes(), body].concat()).ok();
        }
    });
    format!("http://{address}")
}

#[test]
fn a_file_of_a_web_server_is_read_and_compared() {
    let place = Place::new();
    let path = place.parquet("one.parquet", &day(1, 1.0));
    let host = served(std::fs::read(&path).unwrap());
    let uri = format!("{host}/data/one.parquet");
    assert_eq!(profile(&place, &uri), profile(&place, &path));
    place.limno(&["profile", &format!("{host}/data/other.parquet")]).fails(2, &["there is nothing at"]);

    // Also as the baseline of a monitor whose table lies elsewhere; nothing is written to a web server.
    place.delta("t", &day(2, 1.0));
    let monitor = |output: &str| {
        format!("[monitor.m]\ntable = \"~/t\"\nbaseline = \"{uri}\"\noutput = \"{output}\"\n[monitor.m.snapshot]\n")
    };
    place.configure(&monitor("~/out"));
    place.refresh();
    let row =
        place.row("SELECT ks_test.statistic IS NOT NULL AS compared FROM m_drift_metrics WHERE column_name = 'x'");
    assert_eq!(row["compared"], true);
    place.configure(&monitor(&format!("{host}/out")));
    place.limno(&["run"]).fails(2, &["nothing is written to a web server"]);
}

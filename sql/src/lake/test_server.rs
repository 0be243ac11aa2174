//! A server on this machine that answers as a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use url::Url;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    /// In small letters.
    pub(super) headers: String,
    pub(super) body: String,
}

/// A server on this machine that answers as it is told.
pub(super) struct Server {
    pub(super) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// A server whose clock, if it tells of one, stands at this date. An address with a redirect is where
    /// it leads.
    pub(super) fn start_at(
        date: Option<&'static str>,
        answer: impl Fn(&Seen) -> (u16, String) + Send + 'static,
    ) -> Self {
        let date = date.map(|date| format!("date: {date}\r\n")).unwrap_or_default();
        Self::start_with(format!("{date}retry-after: 0\r\n"), answer)
    }

    /// A server that says the same of itself each time.
    pub(super) fn start_with(says: String, answer: impl Fn(&Seen) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                if reader.read_line(&mut first).unwrap_or(0) == 0 {
                    continue;
                }
                let mut headers = String::new();
                while !headers.ends_with("\r\n\r\n") && reader.read_line(&mut headers).unwrap_or(0) > 2 {}
                let headers = headers.to_ascii_lowercase();
                let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                reader.read_exact(&mut body).unwrap();
                let mut words = first.split(' ').map(str::to_owned);
                let request = Seen {
                    method: words.next().unwrap(),
                    path: words.next().unwrap(),
                    headers,
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                record.lock().unwrap().push(request.clone());
                let (status, text) = answer(&request);
                let length = text.len();
                let is_address = ["/", "http"].iter().any(|start| text.starts_with(start));
                let leads = match status {
                    300..400 if is_address => format!("location: {text}\r\n"),
                    _ => String::new(),
                };
                let tag = if request.method == "PUT" { "etag: \"1\"\r\n" } else { "" };
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{says}{leads}{tag}");
                // What is asked for by its head alone has no body.
                let text = if request.method == "HEAD" { "" } else { &text };
                let answer = format!("{head}connection: close\r\n\r\n{text}");
                // Who asked may be gone.
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { url, seen }
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

//! The console's files, and the events that tell it of changes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::client::Request;
use crate::server::{Server, b};

#[test]
fn the_page_is_served_at_the_root_with_a_strict_policy_and_every_file_beside_it() {
    let server = Server::start();
    let page = server.send(&Request::get("/"));
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with("<!doctype html>"));
    assert_eq!(page.text(), server.send(&Request::get("/index.html")).text());
    for file in cavra_console::files() {
        let answer = server.send(&Request::get(&format!("/{}", file.path)));
        assert_eq!(answer.status, 200, "{}", file.path);
        assert_eq!(answer.body, file.bytes, "{}", file.path);
        assert_eq!(answer.header("content-type").as_deref(), Some(file.content_type));
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            answer.header("x-content-type-options").as_deref(),
            Some("nosniff")
        );
    }
    let api = server.send(&Request::get("/health"));
    let policy = api.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
}

#[test]
fn a_file_that_the_browser_has_costs_no_bytes_and_keeps_the_page_s_policy() {
    let server = Server::start();
    let first = server.send(&Request::get("/assets/app.js"));
    let tag = first.header("etag").expect("a file has a tag");
    let again = server.send(&Request::get("/assets/app.js").header("if-none-match", &tag));
    assert_eq!((again.status, again.body.len()), (304, 0));
    // A browser takes the fields of a 304 over into what it has kept.
    assert_eq!(
        again.header("content-security-policy"),
        first.header("content-security-policy")
    );
}

#[test]
fn files_are_only_read_and_only_those_that_are_there() {
    let server = Server::start();
    let answer = server.send(&Request::new("POST", "/"));
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow").as_deref(), Some("GET, HEAD"));
    for path in [
        "/assets/",
        "/assets/none.js",
        "/assets/../config.js",
        "/assets/%2e%2e/config.js",
    ] {
        let status = server.send(&Request::get(path)).status;
        assert!(matches!(status, 404), "{path}: {status}");
    }
}

/// An open stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(server: &Server, header: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            stream,
            "GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: gzip\r\n{header}\r\n"
        )
        .unwrap();
        Self(BufReader::new(stream))
    }

    /// The value of the next line that begins so.
    fn next(&mut self, name: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.0.read_line(&mut line).unwrap(),
                0,
                "the stream ended before `{name}`"
            );
            if let Some(value) = line.strip_prefix(name) {
                return value.trim().to_owned();
            }
        }
    }
}

#[test]
fn whoever_listens_is_told_of_every_commit() {
    let server = Server::start();
    let mut events = Events::open(&server, "");
    assert_eq!(events.next("content-type: "), "text/event-stream");
    assert_eq!(events.next("id: "), server.position().to_string());
    assert_eq!(events.next("event: "), "position");
    assert_eq!(
        events.next("data: "),
        format!("{{\"position\":{}}}", server.position())
    );
    for _ in 0..2 {
        let answer = server.post(&b("/escalation-plan"), &json!({ "generated_by": "ana" }));
        assert_eq!(answer.status, 200);
        assert_eq!(
            events.next("data: "),
            format!("{{\"position\":{}}}", server.position())
        );
    }
}

#[test]
fn whoever_comes_back_is_told_only_what_is_new() {
    let server = Server::start();
    let known = server.position();
    let mut events = Events::open(&server, &format!("last-event-id: {known}\r\n"));
    events.next("retry: ");
    let answer = server.post(&b("/escalation-plan"), &json!({ "generated_by": "ana" }));
    assert_eq!(answer.status, 200);
    // The first event is the new one: the one that was known is not told again.
    assert_eq!(events.next("id: "), server.position().to_string());
    assert!(server.position() > known);
}

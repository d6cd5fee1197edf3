//! What happens while something else happens.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc::{TryRecvError, channel};

use serde_json::json;

use crate::program::{B, Folder, Serving, cavra, plans, post, quickstart, run};

#[test]
fn readers_answer_while_another_program_imports() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let serving = Serving::start(&["--database", &database, "--import", &quickstart()]);
    let before = serving.get(&format!("{B}/dashboard"))["plan_count"]
        .as_u64()
        .unwrap();
    let mut import = cavra(&["import", "-", "--skip-invalid", "--database", &database])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    let mut said = BufReader::new(import.stderr.take().unwrap()).lines();
    input.write_all(plans(50, 20).as_bytes()).unwrap();
    input.write_all(b"no json\n").unwrap();
    input.flush().unwrap();
    // The refusal is said inside the transaction, which stays open until the input ends.
    assert!(said.next().unwrap().unwrap().contains("refused record 51"));
    for _ in 0..10 {
        let dashboard = serving.get(&format!("{B}/dashboard"));
        assert_eq!(
            dashboard["plan_count"], before,
            "nothing of an import is seen before its end"
        );
        assert!(serving.count("state=outstanding") > 0);
    }
    drop(input);
    assert!(import.wait().unwrap().success());
    assert_eq!(serving.get(&format!("{B}/dashboard"))["plan_count"], before + 50);
}

#[test]
fn an_import_that_is_killed_takes_nothing() {
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    let exported = run(&["export-evidence", "--database", &database]).succeeded().out;
    let mut import = cavra(&["import", "-", "--skip-invalid", "--database", &database])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    let mut said = BufReader::new(import.stderr.take().unwrap()).lines();
    input.write_all(plans(50, 20).as_bytes()).unwrap();
    input.write_all(b"no json\n").unwrap();
    assert!(said.next().unwrap().unwrap().contains("refused record 51"));
    import.kill().unwrap();
    import.wait().unwrap();
    assert_eq!(
        run(&["export-evidence", "--database", &database]).succeeded().out,
        exported
    );
    run(&["check", "--database", &database]).succeeded();
}

#[test]
fn readers_answer_while_the_server_itself_imports() {
    let folder = Folder::new();
    let serving = Serving::start(&["--database", &folder.file("cavra.db"), "--import", &quickstart()]);
    let before = serving.count("action=deliver");
    let (url, body) = (serving.url("/evidence/import"), plans(100, 100).into_bytes());
    let (status, report) = looking_on(
        move || post(&url, "application/x-ndjson", body).unwrap(),
        || {
            let seen = serving.count("action=deliver");
            assert!(
                seen == before || seen == before + 10_000,
                "a part of an import is seen: {seen}"
            );
        },
    );
    assert_eq!(status, 200, "{report}");
    assert_eq!(serving.count("action=deliver"), before + 10_000);
}

#[test]
fn readers_answer_while_a_bulk_runs_and_see_nothing_of_it_before_its_end() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let plans = folder.write("plans.ndjson", plans(100, 100));
    run(&["import", &plans, "--database", &database]).succeeded();
    let serving = Serving::start(&["--database", &database, "--log", "error"]);
    let url = serving.url(&format!("{B}/acknowledgements/bulk"));
    let body = json!({ "filter": { "state": "outstanding" }, "acknowledged_by": "ana@example.org" });
    let outstanding = || serving.count("state=outstanding");
    assert_eq!(outstanding(), 10_000);
    let mut seen = Vec::new();
    let (status, answer) = looking_on(
        move || post(&url, "application/json", body.to_string().into_bytes()).unwrap(),
        || {
            let dashboard = serving.get(&format!("{B}/dashboard"));
            seen.push((
                outstanding(),
                dashboard["acknowledgement_count"].as_u64().unwrap(),
            ));
        },
    );
    assert_eq!(status, 200, "{answer:.300}");
    // Each was answered, the first of them in the middle of it.
    assert_eq!(seen[0], (10_000, 0));
    assert!(
        seen.iter()
            .all(|&(routes, records)| [0, 10_000].contains(&routes) && [0, 10_000].contains(&records)),
        "{seen:?}"
    );
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0 && a.1 <= b.1), "{seen:?}");
    assert_eq!(outstanding(), 0);
}

/// Does something in another thread, and looks on until it has ended; at least once.
fn looking_on<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static, mut look: impl FnMut()) -> T {
    let (answer, answered) = channel();
    let worker = std::thread::spawn(move || answer.send(work()));
    let mut looks = 0;
    let done = loop {
        match answered.try_recv() {
            Ok(done) => break done,
            Err(TryRecvError::Disconnected) => panic!("the worker is gone"),
            Err(TryRecvError::Empty) => {
                look();
                looks += 1;
            }
        }
    };
    worker.join().unwrap().unwrap();
    assert!(looks > 0);
    done
}

#[test]
fn a_stop_finishes_the_request_that_is_in_flight_and_keeps_what_it_did() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let serving = Serving::start(&["--database", &database, "--import", &quickstart()]);
    let outstanding = serving.count("state=outstanding");
    let address = serving.address().to_owned();
    let body =
        json!({ "filter": { "state": "outstanding" }, "acknowledged_by": "ana@example.org" }).to_string();
    let mut request = TcpStream::connect(&address).unwrap();
    write!(
        request,
        "POST {B}/acknowledgements/bulk HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    )
    .unwrap();
    // The server asks for the body: the request is in flight.
    let mut continued = [0; 25];
    request.read_exact(&mut continued).unwrap();
    assert_eq!(&continued, b"HTTP/1.1 100 Continue\r\n\r\n");
    request.write_all(&body.as_bytes()[..10]).unwrap();
    serving.ask_to_stop();
    // The stop has begun when nobody else is let in.
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    request.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (status, log) = serving.ended();
    assert_eq!(status.code(), Some(0), "{log}");

    let serving = Serving::start(&["--database", &database]);
    assert_eq!(serving.count("state=outstanding"), 0);
    assert!(serving.count("state=acknowledged") >= outstanding);
}

#[test]
fn neither_secrets_nor_texts_of_requests_reach_the_log() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let serving = Serving::start(&[
        "--database",
        &database,
        "--import",
        &quickstart(),
        "--log",
        "trace",
    ]);
    let secret = format!("{}_{}", "ghp", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let marks = [
        "note-that-is-nobodys-business",
        "reference-that-is-nobodys-business",
        secret.as_str(),
    ];
    let [note, reference, _] = marks;
    let acknowledge = |notes: &str| {
        let body = json!({ "provider": "slack", "acknowledged_by": "ana", "notes": notes, "external_ref": reference });
        serving
            .post(
                &format!("{B}/checkout-edge-weekly/acknowledgements"),
                &body.to_string(),
            )
            .0
    };
    assert_eq!(acknowledge(note), 200);
    assert_eq!(acknowledge(&secret), 422);
    assert_eq!(
        serving
            .post(
                &format!("{B}/acknowledgements/bulk"),
                &format!("{{\"notes\":\"{note}\",")
            )
            .0,
        422
    );
    let (status, _) = post(
        &serving.url("/evidence/import"),
        "application/x-ndjson",
        format!("{{\"a\":\"{secret}\"}}\n").into(),
    )
    .unwrap();
    assert_eq!(status, 422);
    // In headers and addresses too.
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    write!(
        stream,
        "GET {B}/routes?access_token={secret}&owner={note} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {secret}\r\n\
         x-request-id: {secret}!\r\nconnection: close\r\n\r\n",
        serving.address()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let log = serving.stop();
    assert!(log.contains("answered"), "something is logged: {log}");
    for mark in marks {
        let line = log.lines().find(|line| line.contains(mark));
        assert_eq!(line, None);
    }
}

#[test]
fn each_request_is_one_log_line_that_a_program_can_read() {
    let folder = Folder::new();
    let serving = Serving::start(&["--database", &folder.file("cavra.db"), "--log-format", "json"]);
    serving.get("/health");
    let log = serving.stop();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answered: Vec<&serde_json::Value> = lines
        .iter()
        .filter(|line| line["message"] == "answered")
        .collect();
    assert_eq!(answered.len(), 1, "{log}");
    assert_eq!(answered[0]["status"], 200);
    assert_eq!(answered[0]["span"]["operation"], "health");
    assert!(answered[0]["span"]["request_id"].is_string());
}

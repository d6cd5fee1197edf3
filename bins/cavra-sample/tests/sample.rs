//! The sample, run as people run it.
#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const B: &str = "/runtime/go-pilot/rollback-drill-notifications";

/// A sample under way.
struct Sample {
    child: Child,
    base: String,
    agent: ureq::Agent,
}

impl Sample {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cavra-sample"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .env("TMPDIR", folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .expect("it starts")
            .to_owned();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(2)))
            .build()
            .into();
        Self { child, base, agent }
    }

    /// The status and the body.
    fn ask(&self, path: &str, body: Option<&Value>) -> (u16, String) {
        let url = format!("{}{path}", self.base);
        let answer = match body {
            None => self.agent.get(url).call(),
            Some(body) => self
                .agent
                .post(url)
                .header("content-type", "application/json")
                .send(body.to_string()),
        };
        let mut answer = answer.unwrap();
        let mut text = String::new();
        answer.body_mut().as_reader().read_to_string(&mut text).unwrap();
        (answer.status().as_u16(), text)
    }

    fn get(&self, path: &str) -> Value {
        let (status, text) = self.ask(path, None);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What somebody who tries the service does: look, acknowledge, export, look again, make mistakes.
fn tour() -> Vec<(String, Option<Value>)> {
    let get = |path: &str| (format!("{B}{path}"), None);
    let post = |path: &str, body: Value| (format!("{B}{path}"), Some(body));
    let scope = json!({ "schedule_id": "checkout-edge-weekly", "generated_by": "ana" });
    let filter = json!({ "schedule_id": "checkout-edge-weekly", "state": "outstanding" });
    vec![
        get("/dashboard"),
        get("?limit=50"),
        get("/routes?state=outstanding&limit=500"),
        post(
            "/acknowledgements/bulk",
            json!({ "filter": filter, "acknowledged_by": "ana", "dry_run": true }),
        ),
        post(
            "/acknowledgements/bulk",
            json!({ "filter": filter, "acknowledged_by": "ana" }),
        ),
        post(
            "/mobile-api-biweekly/acknowledgements",
            json!({ "provider": "slack", "acknowledged_by": "ben" }),
        ),
        post("/acknowledgements/audit-package", scope.clone()),
        post("/acknowledgements/audit-package", scope),
        post("/escalation-plan", json!({})),
        post("/acknowledgements/bulk", json!({ "filter": {} })),
        get("/suppression-trends"),
        get("/dashboard"),
        get("?limit=5"),
        ("/console/config".to_owned(), None),
        ("/console/session".to_owned(), None),
        ("/openapi.json".to_owned(), None),
    ]
}

fn answers(sample: &Sample) -> Vec<(String, u16, String)> {
    tour()
        .into_iter()
        .map(|(path, body)| {
            let (status, text) = sample.ask(&path, body.as_ref());
            (path, status, text)
        })
        .collect()
}

#[test]
fn it_starts_with_routes_in_all_five_states_and_some_that_are_breached() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::start(folder.path(), &[]);
    let dashboard = sample.get(&format!("{B}/dashboard"));
    let count = |key: &str| dashboard[key].as_u64().unwrap();
    let states = [
        "outstanding_acknowledgement_count",
        "acknowledged_route_count",
        "escalated_route_count",
        "dismissed_route_count",
        "resolved_route_count",
    ];
    for state in states {
        assert!(count(state) > 0, "{state}");
    }
    assert_eq!(states.into_iter().map(count).sum::<u64>(), count("route_count"));
    // The story is told as of now: some routes are late, others still have time.
    let breached = count("breached_route_count");
    assert!(
        breached > 0
            && breached < count("outstanding_acknowledgement_count") + count("escalated_route_count")
    );
    assert_eq!(sample.get("/console/config")["metadata_mode"], "sample");
}

#[test]
fn with_a_frozen_clock_two_runs_answer_byte_for_byte_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--frozen-clock", "2026-06-01T12:00:00Z"];
    let first = answers(&Sample::start(folder.path(), &arguments));
    let second = answers(&Sample::start(folder.path(), &arguments));
    for (first, second) in first.iter().zip(&second) {
        assert!(
            first == second,
            "{}: {} and {} differ",
            first.0,
            first.1,
            second.1
        );
        let expected = if first.2.starts_with("{\"type\":\"urn:cavra:problem:") {
            400
        } else {
            200
        };
        assert_eq!(first.1, expected, "{}: {:.500}", first.0, first.2);
    }
    let packages: Vec<&String> = first
        .iter()
        .filter(|(path, ..)| path.ends_with("/audit-package"))
        .map(|(.., text)| text)
        .collect();
    assert_eq!(packages.len(), 2);
    assert_eq!(packages[0], packages[1], "the same package twice, byte for byte");
}

#[test]
fn it_writes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::start(folder.path(), &[]);
    for (path, status, text) in answers(&sample) {
        assert!(status < 500, "{path}: {text}");
    }
    // A package of everything, the largest thing that it makes.
    let (status, _) = sample.ask(&format!("{B}/acknowledgements/audit-package"), Some(&json!({})));
    assert_eq!(status, 200);
    drop(sample);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_was_done_is_gone_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let resolve = json!({ "filter": { "state": "outstanding" }, "acknowledged_by": "ana" });
    let outstanding = |sample: &Sample| {
        let page = sample.get(&format!("{B}/routes?state=outstanding&limit=1"));
        page["total"].as_u64().unwrap()
    };
    let sample = Sample::start(folder.path(), &[]);
    let before = outstanding(&sample);
    assert_eq!(
        sample
            .ask(&format!("{B}/acknowledgements/bulk"), Some(&resolve))
            .0,
        200
    );
    assert_eq!(outstanding(&sample), 0);
    drop(sample);
    assert_eq!(outstanding(&Sample::start(folder.path(), &[])), before);
}

#[test]
fn it_listens_on_this_machine_only() {
    let done = Command::new(env!("CARGO_BIN_EXE_cavra-sample"))
        .args(["--listen", "0.0.0.0:0"])
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success());
    assert!(
        said.contains("not a loopback address") && !said.contains("panicked"),
        "{said}"
    );
}

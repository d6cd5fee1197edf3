//! Runs the program and talks to it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

/// The prefix of the operations on drills.
pub(crate) const B: &str = "/runtime/go-pilot/rollback-drill-notifications";

/// A program that does not answer at all ends a test with an error instead of a stalled build.
const STALLED: Duration = Duration::from_mins(3);

pub(crate) fn fixture(path: &str) -> String {
    format!("{}/../../fixtures/{path}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn quickstart() -> String {
    fixture("quickstart.json")
}

/// A published store with three records, as Python's `sqlite3` writes it.
pub(crate) fn published_store() -> String {
    format!(
        "{}/tests/cavra/published-store.sqlite",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// A folder that goes with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path().join(name), content).unwrap();
        self.file(name)
    }

    /// A database with the quickstart data.
    pub(crate) fn quickstart_database(&self, name: &str) -> String {
        let database = self.file(name);
        run(&["import", &quickstart(), "--database", &database]).succeeded();
        database
    }

    /// Every file with its content, sorted.
    pub(crate) fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut content: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
            .collect();
        content.sort();
        content
    }
}

/// The program without anything from the environment of the test run.
pub(crate) fn cavra(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavra"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// What a finished program left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// It ended with this code and said this, and nothing of its inside.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        for text in said {
            assert!(self.err.contains(text), "`{text}` is not in: {}", self.err);
        }
        for text in ["panicked", "RUST_BACKTRACE", "unwrap()", "src/"] {
            assert!(!self.err.contains(text), "{}", self.err);
        }
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap()
    }
}

pub(crate) fn finish(mut command: Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code(),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn run(arguments: &[&str]) -> Done {
    finish(cavra(arguments))
}

/// A client without a memory of connections: servers come and go here.
fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(STALLED))
        .max_idle_connections(0)
        .build()
        .into()
}

/// A server under way.
pub(crate) struct Serving {
    child: Option<Child>,
    errors: Option<JoinHandle<String>>,
    base: String,
    agent: Agent,
}

impl Serving {
    /// `cavra api` on a free port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["api", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::spawn(cavra(&all))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Some(base) = line.trim().strip_prefix("listening on ") else {
            let _ = child.wait();
            panic!("it did not start: {}", errors.join().unwrap());
        };
        Self {
            base: base.to_owned(),
            child: Some(child),
            errors: Some(errors),
            agent: agent(),
        }
    }

    /// The address and port.
    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        let mut answer = self.agent.get(self.url(path)).call().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_vec()
            .unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path)).unwrap()
    }

    /// How many routes a query finds.
    pub(crate) fn count(&self, query: &str) -> u64 {
        self.get(&format!("{B}/routes?{query}&limit=1"))["total"]
            .as_u64()
            .unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        post(&self.url(path), "application/json", body.as_bytes().to_vec()).unwrap()
    }

    /// A `POST` that has to succeed.
    #[track_caller]
    pub(crate) fn done(&self, path: &str, body: &Value) -> Value {
        let (status, text) = self.post(path, &body.to_string());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Waits for its end, and gives what it logged.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.take().unwrap().wait().unwrap();
        (status, self.errors.take().unwrap().join().unwrap())
    }

    /// SIGTERM; it has to end well.
    pub(crate) fn stop(self) -> String {
        self.ask_to_stop();
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A `POST`; none when there was no whole answer.
pub(crate) fn post(url: &str, media: &str, body: Vec<u8>) -> Option<(u16, String)> {
    let mut answer = agent().post(url).header("content-type", media).send(body).ok()?;
    let status = answer.status().as_u16();
    let body = answer
        .body_mut()
        .with_config()
        .limit(u64::MAX)
        .read_to_vec()
        .ok()?;
    Some((status, String::from_utf8(body).unwrap()))
}

/// The status of a `POST` of JSON as soon as it is there; none when none came.
pub(crate) fn status_of(url: &str, body: Vec<u8>) -> Option<u16> {
    let answer = agent()
        .post(url)
        .header("content-type", "application/json")
        .send(body);
    Some(answer.ok()?.status().as_u16())
}

/// Plans with `schedules` times `owners` routes, one record per line.
pub(crate) fn plans(schedules: usize, owners: usize) -> String {
    let mut lines = String::new();
    for schedule in 0..schedules {
        let (schedule_id, plan_id) = (
            format!("schedule-{schedule:03}"),
            format!("gordn-plan-{schedule:03}"),
        );
        let decisions: Vec<Value> = (0..owners)
            .map(|owner| {
                json!({
                    "schedule_id": schedule_id, "provider": "slack", "owner": format!("owner-{owner:03}"),
                    "escalation_owner": "head-of-sre", "acknowledgement_minutes": 60, "action": "deliver", "reason": "due",
                })
            })
            .collect();
        let record = json!({
            "schema_version": "cavra.evidence.metadata.v1", "product": "CAVRA", "session_id": plan_id,
            "created_at": "2026-06-01T12:00:00+00:00", "signer": "release-governance", "decision_count": owners,
            "blocked_count": 0, "approval_required_count": owners,
            "metadata_kind": "go-backend-rollback-drill-notification-plan", "plan_id": plan_id,
            "schedule_id": schedule_id, "alert_level": "warning", "selected_providers": ["slack"],
            "plan": {
                "plan_id": plan_id, "schedule_id": schedule_id, "alert_level": "warning",
                "generated_at": "2026-06-01T12:00:00+00:00", "route_decisions": decisions,
            },
        });
        writeln!(lines, "{record}").unwrap();
    }
    lines
}

/// A small record of a kind that concerns no route.
pub(crate) fn record(number: usize) -> Value {
    json!({
        "schema_version": "cavra.evidence.metadata.v1", "product": "CAVRA",
        "session_id": format!("ppp-record-{number}"), "created_at": "2026-05-01T12:00:00+00:00",
        "metadata_kind": "policy-pack-publication",
    })
}

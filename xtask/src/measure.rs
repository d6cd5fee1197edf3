//! `cargo xtask measure`: size, start, memory and the times of the main operations, on this machine, as a table.
//!
//! It measures the release binary from outside, over HTTP on loopback, against a generated store. Medians of several
//! runs; the machine and the durability mode stand beside the numbers.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::process::{self, Stopwatch};
use crate::workspace::Workspace;

/// Routes of the generated store: 100 schedules, 10 providers, 10 owners.
const ROUTES: usize = 10_000;

/// Runs of each measurement; the table shows the median.
const RUNS: usize = 7;

/// The base of the notification endpoints.
pub(crate) const BASE: &str = "/runtime/go-pilot/rollback-drill-notifications";

/// Builds, generates, measures, prints.
pub fn run(workspace: &Workspace, extra_records: usize, exports: usize) -> anyhow::Result<()> {
    process::run(process::cargo(workspace.root()).args(["build", "--release", "--bins"]))?;
    let folder = workspace.target().join("measure");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove what the last run left")?;
    }
    fs::create_dir_all(&folder)?;
    let program = |name: &str| workspace.target().join("release").join(name);
    let mut table = Table::default();
    for name in ["cavra", "cavra-sample"] {
        let bytes = fs::metadata(program(name))?.len();
        table.row(&format!("size of `{name}`"), &format!("{:.1} MB", mega(bytes)));
    }
    sample(&program("cavra-sample"), &folder, &mut table)?;
    served(&program("cavra"), &folder, extra_records, &mut table)?;
    if exports > 0 {
        releases(&program("cavra"), &folder, exports, &mut table)?;
    }
    println!("\n{}\n", machine()?);
    println!("Durability: SQLite in WAL mode, synchronous=FULL. Medians of {RUNS} runs.\n");
    print!("{}", table.0);
    Ok(())
}

#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, what: &str, value: &str) {
        if self.0.is_empty() {
            self.0.push_str("| what | measured |\n| --- | --- |\n");
        }
        println!("{what}: {value}");
        for part in ["| ", what, " | ", value, " |\n"] {
            self.0.push_str(part);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(crate) fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

pub(crate) fn machine() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("\t: unknown processor");
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!(
        "Machine: {cores} cores,{}, Linux {}.",
        model
            .trim_start_matches(['\t', ' ', ':'])
            .split_whitespace()
            .fold(String::new(), |text, word| text + " " + word),
        kernel.trim()
    ))
}

/// A running program and where it listens.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
    started_in: f64,
}

impl Running {
    pub(crate) fn start(program: &Path, folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let stopwatch = Stopwatch::start();
        let mut child = Command::new(program)
            .current_dir(folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("log.txt"))?)
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let started_in = stopwatch.seconds();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            bail!(
                "the program did not start; see {}",
                folder.join("log.txt").display()
            );
        };
        Ok(Self {
            child,
            address: address.to_owned(),
            started_in,
        })
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in megabytes.
    pub(crate) fn memory(&self, key: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .context("no such line")?;
        let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes / 1000.0)
    }

    /// Sends a request and reads the whole answer: the seconds that took, and the bytes.
    pub(crate) fn send(&self, path: &str, body: Option<&Value>) -> anyhow::Result<(f64, Vec<u8>)> {
        self.send_preferring("return=representation", path, body)
    }

    /// As [`Running::send`], for the form of the answer that is preferred.
    pub(crate) fn send_preferring(
        &self,
        prefer: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(f64, Vec<u8>)> {
        let url = format!("{}{path}", self.address);
        let stopwatch = Stopwatch::start();
        let mut response = match body {
            None => ureq::get(&url).call(),
            Some(body) => ureq::post(&url)
                .header("content-type", "application/json")
                .header("prefer", prefer)
                .send(body.to_string()),
        }
        .with_context(|| format!("{path} failed"))?;
        let mut bytes = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut bytes)?;
        Ok((stopwatch.seconds(), bytes))
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        process::run(Command::new("sh").args(["-c", r#"kill -s TERM "$0""#, &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            bail!("the program ended with {status}")
        }
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(values: Vec<f64>) -> String {
    format!("{:.1} ms", median(values) * 1000.0)
}

fn sample(program: &Path, folder: &Path, table: &mut Table) -> anyhow::Result<()> {
    let mut starts = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..RUNS {
        let running = Running::start(program, folder, &["--listen", "127.0.0.1:0"])?;
        starts.push(running.started_in);
        memory.push(running.memory("VmRSS:")?);
        running.stop()?;
    }
    table.row(
        "start of `cavra-sample`, to its first line (184 records seeded)",
        &milliseconds(starts),
    );
    table.row(
        "idle memory of `cavra-sample`",
        &format!("{:.1} MB", median(memory)),
    );
    Ok(())
}

fn served(program: &Path, folder: &Path, extra_records: usize, table: &mut Table) -> anyhow::Result<()> {
    let database = folder.join("measure.db");
    let database = database.to_str().context("the folder's name is not UTF-8")?;
    let arguments = [
        "api",
        "--listen",
        "127.0.0.1:0",
        "--log",
        "warn",
        "--database",
        database,
    ];
    let running = Running::start(program, folder, &arguments)?;
    table.row(
        "start of `cavra api`, new database",
        &milliseconds(vec![running.started_in]),
    );
    running.stop()?;

    let store = folder.join("routes.ndjson");
    plans(&store, 100)?;
    let stopwatch = Stopwatch::start();
    import(program, &store, database)?;
    table.row(
        &format!("`cavra import` of 100 plans, {ROUTES} routes, process and all"),
        &milliseconds(vec![stopwatch.seconds()]),
    );

    let starts = (0..RUNS).map(|_| {
        let running = Running::start(program, folder, &arguments)?;
        let seconds = running.started_in;
        running.stop()?;
        Ok(seconds)
    });
    table.row(
        &format!("start of `cavra api`, {ROUTES} routes"),
        &milliseconds(starts.collect::<anyhow::Result<_>>()?),
    );

    operations(program, folder, &arguments, "", table)?;
    if extra_records > 0 {
        let extra = folder.join("extra.ndjson");
        foreign(&extra, extra_records)?;
        let stopwatch = Stopwatch::start();
        import(program, &extra, database)?;
        let seconds = stopwatch.seconds();
        table.row(
            &format!("`cavra import` of {extra_records} acknowledgements of an earlier cycle"),
            &format!("{seconds:.1} s"),
        );
        operations(
            program,
            folder,
            &arguments,
            &format!(", {extra_records} more records"),
            table,
        )?;
    }
    Ok(())
}

pub(crate) fn import(program: &Path, store: &Path, database: &str) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command
        .arg("import")
        .arg(store)
        .args(["--database", database])
        .stderr(Stdio::null());
    process::run(&mut command)
}

fn operations(
    program: &Path,
    folder: &Path,
    arguments: &[&str],
    condition: &str,
    table: &mut Table,
) -> anyhow::Result<()> {
    let running = Running::start(program, folder, arguments)?;
    running.send("/health", None)?;
    table.row(
        &format!("idle memory of `cavra api`, {ROUTES} routes{condition}"),
        &format!("{:.1} MB", running.memory("VmRSS:")?),
    );
    let states = ["acknowledged", "escalated", "dismissed"];
    let bulk = format!("{BASE}/acknowledgements/bulk");
    for (count, filter) in [
        (100, json!({ "schedule_id": "schedule-000" })),
        (ROUTES, json!({ "action": "deliver" })),
    ] {
        let mut seconds = Vec::new();
        for run in 0..RUNS {
            let state = states.get(run % states.len()).copied().unwrap_or("acknowledged");
            let body =
                json!({ "acknowledged_by": "measure", "acknowledgement_state": state, "filter": filter });
            let (took, answer) = running.send(&bulk, Some(&body))?;
            let answer: Value = serde_json::from_slice(&answer)?;
            if answer.get("matched_count") != Some(&json!(count)) {
                bail!("the bulk did not select {count} routes");
            }
            seconds.push(took);
        }
        table.row(
            &format!("bulk acknowledgement of {count} routes by filter{condition}"),
            &milliseconds(seconds),
        );
    }
    let mut seconds = Vec::new();
    let mut bytes = 0;
    for _ in 0..RUNS {
        let (took, answer) = running.send(
            &format!("{BASE}/acknowledgements/audit-package"),
            Some(&json!({ "generated_by": "measure" })),
        )?;
        bytes = answer.len();
        seconds.push(took);
    }
    let size = mega(u64::try_from(bytes).unwrap_or_default());
    table.row(
        &format!("audit package of {ROUTES} routes, {size:.1} MB{condition}"),
        &milliseconds(seconds),
    );
    let single = json!({ "acknowledged_by": "measure", "provider": "provider-0", "owner": "owner-0" });
    for (what, path, body) in [
        (
            "one acknowledgement",
            format!("{BASE}/schedule-001/acknowledgements"),
            Some(&single),
        ),
        ("dashboard", format!("{BASE}/dashboard"), None),
        ("first page of routes (50)", format!("{BASE}/routes"), None),
        ("first page of history (50)", BASE.to_owned(), None),
    ] {
        let sent = (0..RUNS * 10).map(|_| running.send(&path, body).map(|(took, _)| took));
        table.row(
            &format!("{what}{condition}"),
            &milliseconds(sent.collect::<anyhow::Result<_>>()?),
        );
    }
    table.row(
        &format!("highest memory of `cavra api` so far{condition}"),
        &format!("{:.1} MB", running.memory("VmHWM:")?),
    );
    running.stop()
}

/// What a release manager and an auditor ask of a store with many exports.
fn releases(program: &Path, folder: &Path, exports: usize, table: &mut Table) -> anyhow::Result<()> {
    let database = folder.join("releases.db");
    let database = database.to_str().context("the folder's name is not UTF-8")?;
    let store = folder.join("releases.ndjson");
    published_exports(&store, exports)?;
    let stopwatch = Stopwatch::start();
    import(program, &store, database)?;
    let of = format!(
        "{exports} exports, {} deliveries, {exports} references",
        exports * 2
    );
    table.row(
        &format!("`cavra import` of {of}"),
        &format!("{:.1} s", stopwatch.seconds()),
    );
    let listen = [
        "api",
        "--listen",
        "127.0.0.1:0",
        "--log",
        "warn",
        "--database",
        database,
    ];
    let running = Running::start(program, folder, &listen)?;
    running.send("/health", None)?;
    table.row(
        &format!("idle memory, {of}"),
        &format!("{:.1} MB", running.memory("VmRSS:")?),
    );
    let base = format!("{BASE}/acknowledgements/audit-delivery");
    let asked = json!({ "generated_by": "measure" });
    let health = format!("{base}/final-reporting-archive-reference-health");
    for (what, path, body) in [
        (
            "retry plan, stored",
            format!("{base}/final-reporting-auditor-export/delivery-retry-plan"),
            Some(&asked),
        ),
        ("archive health, stored", health.clone(), Some(&asked)),
        (
            "archive health, not stored",
            format!("{health}?persist=false"),
            None,
        ),
        ("dashboard", format!("{BASE}/dashboard"), None),
        ("first page of history (50)", BASE.to_owned(), None),
    ] {
        let mut seconds = Vec::new();
        let mut bytes = 0;
        for _ in 0..RUNS {
            let (took, answer) = running.send(&path, body)?;
            bytes = answer.len();
            seconds.push(took);
        }
        let size = mega(u64::try_from(bytes).unwrap_or_default());
        table.row(&format!("{what}, {size:.1} MB; {of}"), &milliseconds(seconds));
    }
    table.row(
        &format!("highest memory, {of}"),
        &format!("{:.1} MB", running.memory("VmHWM:")?),
    );
    running.stop()
}

/// Published exports, each with two failed deliveries and one reference. Every decision and about half of the
/// references need a word: a third has no hash, a fifth no retention.
fn published_exports(path: &Path, count: usize) -> anyhow::Result<()> {
    let reporting = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-";
    let mut out = BufWriter::new(File::create(path)?);
    for number in 0..count {
        let export_id = format!("gordackfinalauditor-{number:07}");
        let release = format!("REL-{}", number / 100);
        let hash = format!("{number:064x}");
        writeln!(
            out,
            "{}",
            json!({
                "metadata_kind": format!("{reporting}auditor-export"), "session_id": export_id, "export_id": export_id,
                "created_at": "2026-05-01T08:00:00+00:00", "signer": "ana@example.org", "export_hash": hash,
                "verification_state": "verified", "release_record_ref": release,
                "verification_id": format!("gordackfinalpacket-{number:07}"),
            })
        )?;
        for (attempt, minute) in [("a", 10), ("b", 40)] {
            let at = format!("2026-05-01T08:{minute}:00+00:00");
            writeln!(
                out,
                "{}",
                json!({
                    "metadata_kind": "release-connector-delivery", "session_id": format!("rcd-{number:07}-{attempt}"),
                    "connector_delivery_source":
                        "go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export",
                    "created_at": at, "event_id": export_id, "export_id": export_id, "delivery_success": false,
                    "providers": ["webhook"], "failed_providers": ["webhook"], "status_codes": [503],
                    "delivery": { "success": false, "deliveries": [{
                        "provider": "webhook", "success": false, "status_code": 503, "attempt_count": 1,
                        "completed_at": at,
                    }] },
                })
            )?;
        }
        writeln!(
            out,
            "{}",
            json!({
                "metadata_kind": format!("{reporting}immutable-archive-reference"),
                "session_id": format!("gordackfinalarchive-{number:07}"), "created_at": "2026-05-01T09:00:00+00:00",
                "export_id": export_id, "archive_ref": format!("worm://archive/{number}"), "legal_hold": false,
                "archive_provider": "operator_archive", "release_record_ref": release,
                "archive_hash": if number % 3 == 0 { "" } else { &hash },
                "retention_until": if number % 5 == 0 { "" } else { "2033-01-01T00:00:00Z" },
            })
        )?;
    }
    Ok(out.flush()?)
}

/// Published plans with 100 routes each.
pub(crate) fn plans(path: &Path, count: usize) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for schedule in 0..count {
        let schedule_id = format!("schedule-{schedule:03}");
        let decisions: Vec<Value> = (0..100)
            .map(|route| {
                json!({
                    "provider": format!("provider-{}", route % 10),
                    "owner": format!("owner-{}", route / 10),
                    "escalation_owner": "head-of-sre",
                    "acknowledgement_minutes": 60,
                    "action": "deliver",
                    "reason": "drill is due",
                })
            })
            .collect();
        let plan = json!({
            "metadata_kind": "go-backend-rollback-drill-notification-plan",
            "session_id": format!("gordn-measure-{schedule:03}"),
            // No two at one time: routes are listed by it, and equal ones by an id that is a digest, at random.
            "created_at": format!("2026-06-01T{:02}:{:02}:{:02}+00:00", 8 + schedule / 3600, schedule / 60 % 60, schedule % 60),
            "schedule_id": schedule_id,
            "plan": { "status": "due_soon", "schedule_id": schedule_id, "route_decisions": decisions },
        });
        writeln!(out, "{plan}")?;
    }
    Ok(out.flush()?)
}

/// Published acknowledgements from before the current cycle: evidence that no view of today needs.
pub(crate) fn foreign(path: &Path, count: usize) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for number in 0..count {
        let schedule_id = format!("schedule-{:03}", number % 100);
        let record = json!({
            "metadata_kind": "go-backend-rollback-drill-notification-ack",
            "session_id": format!("gordack-measure-{number:07}"),
            "created_at": "2026-05-01T08:00:00+00:00",
            "signer": "ana@example.org",
            "schedule_id": schedule_id,
            "plan_id": "gordn-of-an-earlier-cycle",
            "provider": format!("provider-{}", number % 10),
            "acknowledgement_state": "acknowledged",
            "acknowledgement": {
                "schedule_id": schedule_id,
                "plan_id": "gordn-of-an-earlier-cycle",
                "provider": format!("provider-{}", number % 10),
                "acknowledged_by": "ana@example.org",
                "acknowledged_at": "2026-05-01T08:00:00+00:00",
                "acknowledgement_state": "acknowledged",
                "external_ref": "CHG-1",
                "notes": "",
            },
        });
        writeln!(out, "{record}")?;
    }
    Ok(out.flush()?)
}

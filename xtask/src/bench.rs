//! `cargo xtask bench`: this service against its floors, in the same run.
//!
//! The service is the release binary, driven over HTTP on loopback; a floor is bare SQLite doing the same rows, the
//! release build of `crates/storage/examples/floor.rs`. Both take turns on copies of one database.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::measure::{BASE, Running, foreign, import, machine, median, mega, plans};
use crate::process::{self, Stopwatch};
use crate::workspace::Workspace;

mod against;
mod load;
mod plot;

/// How many clients acknowledge at the same time.
const CLIENTS: usize = 64;

/// How often each of them does.
const EACH: usize = 100;

/// How many commits the floor of single acknowledgements does.
const SINGLES: usize = 2_000;

/// How many exports, deliveries and references there are.
const EXPORTS: usize = 100_000;

/// What to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Everything but the load.
    All,
    /// Bulk acknowledgements of growing size.
    Bulk,
    /// Many clients, one acknowledgement each.
    Single,
    /// A package of 100,000 routes.
    Package,
    /// Retry plan and archive health.
    Releases,
    /// The same with 1,000 and with 1,000,000 records.
    Evidence,
    /// The domain's functions alone, with Criterion.
    Domain,
    /// A mixed load, with wrk.
    Load,
}

/// What a ratio is held against.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// There is none for this size.
    None,
    /// The service takes at most so many times as long.
    AtMost(f64),
    /// The service does at least so many times as much.
    AtLeast(f64),
}

/// What the issue asks of a bulk from 10,000 routes on, a package, a retry plan and archive health.
const FLOOR: Goal = Goal::AtMost(1.5);

impl Goal {
    fn told(self, ratio: f64) -> String {
        let (sign, goal, met) = match self {
            Self::None => return "-".to_owned(),
            Self::AtMost(most) => ("≤", most, ratio <= most),
            Self::AtLeast(least) => ("≥", least, ratio >= least),
        };
        format!("{sign} {goal}: {}", if met { "met" } else { "missed" })
    }
}

/// The programs, and where they work.
struct Bench {
    cavra: PathBuf,
    floor: PathBuf,
    folder: PathBuf,
    root: PathBuf,
    rows: String,
    /// Another release of this program, that does the bulks in turn with this one, and what came of it.
    other: Option<PathBuf>,
    against: String,
}

/// Builds, compares, prints.
pub fn run(
    workspace: &Workspace,
    what: What,
    seconds: u64,
    routes: usize,
    other: Option<&Path>,
) -> anyhow::Result<()> {
    let other = other
        .map(Path::canonicalize)
        .transpose()
        .context("the other program")?;
    let cargo = |arguments: &[&str]| process::run(process::cargo(workspace.root()).args(arguments));
    cargo(&["build", "--release", "--bin", "cavra"])?;
    cargo(&["build", "--release", "-p", "cavra-storage", "--example", "floor"])?;
    let folder = workspace.target().join("bench");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove what the last run left")?;
    }
    fs::create_dir_all(&folder)?;
    let release = workspace.target().join("release");
    let mut bench = Bench {
        cavra: release.join("cavra"),
        floor: release.join("examples/floor"),
        folder,
        root: workspace.root().to_owned(),
        rows: String::new(),
        other,
        against: String::new(),
    };
    let wanted = |one: What| what == one || (what == What::All && one != What::Load);
    if wanted(What::Bulk) {
        bench.bulks(routes)?;
    }
    if wanted(What::Single) {
        bench.singles()?;
    }
    if wanted(What::Package) {
        bench.package()?;
    }
    if wanted(What::Releases) {
        bench.releases()?;
    }
    if wanted(What::Evidence) {
        bench.evidence()?;
    }
    if what == What::Load {
        bench.load(seconds)?;
    }
    println!("\n{}", machine()?);
    println!("Durability: SQLite in WAL mode, synchronous=FULL, on both sides.\n");
    print!("{}", bench.rows);
    print!("{}", against::table(bench.other.as_deref(), &bench.against));
    if wanted(What::Domain) {
        cargo(&["bench", "-p", "cavra-domain", "--bench", "domain"])?;
        print!("\n{}", domain(workspace.target())?);
    }
    Ok(())
}

/// Seconds on the wall and on the processor. The second says the same on a machine that has other work.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall: f64,
    processor: f64,
}

/// What a program has spent on a processor, as the kernel counts it; nothing where it does not.
#[derive(Debug, Clone, Copy)]
struct Spent {
    /// Seconds of the threads that are there, to the microsecond.
    threads: f64,
    /// Seconds of all threads, also of those that have ended, to the hundredth.
    whole: f64,
}

impl Spent {
    /// By now.
    fn by(running: &Running) -> Self {
        let process = format!("/proc/{}", running.id());
        let threads = Self::of_threads(running, |_| true);
        let stat = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        // Behind the name in brackets, user and system time are the 12th and 13th field, in hundredths of a second.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        Self {
            threads,
            whole: ticks / 100.0,
        }
    }

    /// Seconds of the threads whose name is wanted, by now.
    fn of_threads(running: &Running, wanted: impl Fn(&str) -> bool) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", running.id()));
        tasks
            .into_iter()
            .flatten()
            .flatten()
            .filter(|task| {
                fs::read_to_string(task.path().join("comm")).is_ok_and(|name| wanted(name.trim_end()))
            })
            .map(|task| Self::of_task(&task.path()))
            .sum()
    }

    /// Seconds of one thread, by now.
    fn of_task(task: &Path) -> f64 {
        let told = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let nanoseconds = told.split(' ').next().and_then(|told| told.parse::<f64>().ok());
        nanoseconds.unwrap_or_default() / 1e9
    }

    /// Seconds from then to now. Idle threads end after a while and take their time with them, so the larger counts.
    fn since(running: &Running, then: Self) -> f64 {
        let now = Self::by(running);
        (now.threads - then.threads)
            .max(now.whole - then.whole - 0.01)
            .max(0.0)
    }
}

/// A number as people write it.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn shown(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

impl Bench {
    fn row(&mut self, what: &str, compared: [&str; 3], goal: &str, notes: &str) {
        if self.rows.is_empty() {
            self.rows.push_str(
                "| what | service | floor | ratio (processor time) | goal | |\n| --- | --- | --- | --- | --- | --- |\n",
            );
        }
        let [service, floor, ratio] = compared;
        let row = format!("| {what} | {service} | {floor} | {ratio} | {goal} | {notes} |\n");
        print!("{row}");
        self.rows.push_str(&row);
    }

    fn compared(&mut self, what: &str, sides: [&[Took]; 2], goal: Goal, notes: &str) -> (f64, f64) {
        let of = |took: &[Took], what: fn(&Took) -> f64| median(took.iter().map(what).collect());
        let [service, floor] = sides;
        let processor = of(service, |took| took.processor) / of(floor, |took| took.processor);
        let (service, floor) = (of(service, |took| took.wall), of(floor, |took| took.wall));
        let ratio = service / floor;
        let told = if processor.is_finite() && processor > 0.0 {
            format!("{ratio:.2} ({processor:.2})")
        } else {
            format!("{ratio:.2}")
        };
        self.row(
            what,
            [&shown(service), &shown(floor), &told],
            &goal.told(ratio),
            notes,
        );
        (service, floor)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A database with so many routes, nothing answered; kept for later comparisons.
    fn database(&self, routes: usize) -> anyhow::Result<PathBuf> {
        let database = self.file(&format!("base-{routes}.db"));
        if !database.exists() {
            let store = self.file("plans.ndjson");
            plans(&store, routes.div_ceil(100))?;
            import(&self.cavra, &store, text(&database)?)?;
        }
        Ok(database)
    }

    fn copy(&self, database: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let copy = self.file(name);
        for suffix in ["", "-wal", "-shm"] {
            let old = self.file(&format!("{name}{suffix}"));
            if old.exists() {
                fs::remove_file(old)?;
            }
        }
        fs::copy(database, &copy)?;
        Ok(copy)
    }

    /// Sends a request; gives what it took and the answer.
    fn asked(running: &Running, path: &str, body: Option<&Value>) -> anyhow::Result<(Took, Vec<u8>)> {
        Self::asked_preferring("return=representation", running, path, body)
    }

    fn asked_preferring(
        prefer: &str,
        running: &Running,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(Took, Vec<u8>)> {
        let spent = Spent::by(running);
        let (wall, answer) = running.send_preferring(prefer, path, body)?;
        let processor = Spent::since(running, spent);
        Ok((Took { wall, processor }, answer))
    }

    fn serve(&self, database: &Path) -> anyhow::Result<Running> {
        self.serve_with(&self.cavra, database)
    }

    fn serve_with(&self, program: &Path, database: &Path) -> anyhow::Result<Running> {
        let arguments = [
            "api",
            "--listen",
            "127.0.0.1:0",
            "--log",
            "warn",
            "--database",
            text(database)?,
        ];
        let running = Running::start(program, &self.folder, &arguments)?;
        running.send(&format!("{BASE}/dashboard"), None)?;
        Ok(running)
    }

    fn floor(&self, arguments: &[&str]) -> anyhow::Result<Took> {
        let output = Command::new(&self.floor)
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run the floor")?;
        if !output.status.success() {
            bail!("the floor failed: {}", arguments.join(" "));
        }
        let told = String::from_utf8(output.stdout)?;
        let (wall, processor) = told.trim().split_once(' ').context("two numbers")?;
        Ok(Took {
            wall: wall.parse()?,
            processor: processor.parse()?,
        })
    }

    fn bulks(&mut self, largest: usize) -> anyhow::Result<()> {
        let mut points = Vec::new();
        for (routes, runs) in [(100, 7), (1_000, 7), (10_000, 7), (100_000, 3), (1_000_000, 1)] {
            if routes > largest {
                continue;
            }
            let base = self.database(routes)?;
            let other = self.other.clone();
            let mut other = other
                .map(|path| against::Against::new(self, &path, routes))
                .transpose()?;
            let (mut service, mut floor, mut short) = (Vec::new(), Vec::new(), Vec::new());
            let (mut memory, mut reads, mut bytes): (f64, f64, usize) = (0.0, 0.0, 0);
            for run in 0..runs * 2 {
                // The answer with everything, and the one without the two long lists, in turn.
                let minimal = run % 2 == 1;
                let served = self.copy(&base, "service.db")?;
                let running = self.serve(&served)?;
                let before = position(&running)?;
                let spent = Spent::by(&running);
                let (wall, size, slowest) = bulk(&running, routes, minimal)?;
                let took = Took {
                    wall,
                    processor: Spent::since(&running, spent),
                };
                memory = memory.max(running.memory("VmHWM:")?);
                reads = reads.max(slowest);
                running.stop()?;
                if minimal {
                    short.push(took);
                } else {
                    service.push(took);
                    bytes = size;
                }
                let target = self.copy(&base, "floor.db")?;
                floor.push(self.floor(&["bulk", text(&served)?, text(&target)?, &before.to_string()])?);
                if let Some(other) = &mut other {
                    other.bulk(self, routes, minimal)?;
                }
            }
            let size = mega(u64::try_from(bytes)?);
            let name = thousands(routes);
            let meanwhile = if reads > 0.0 {
                format!("; slowest read meanwhile {}", shown(reads))
            } else {
                String::new()
            };
            let notes = format!("answer {size:.1} MB; highest memory {memory:.0} MB{meanwhile}");
            let goal = if routes < 10_000 { Goal::None } else { FLOOR };
            let (whole, floored) = self.compared(
                &format!("bulk of {name} by filter"),
                [&service, &floor],
                goal,
                &notes,
            );
            let (brief, _) = self.compared(
                &format!("bulk of {name} by filter, short answer"),
                [&short, &floor],
                Goal::None,
                "`Prefer: return=minimal`",
            );
            if let Some(other) = other {
                self.against += &other.rows(&format!("bulk of {name} by filter"), &service, &short);
            }
            points.push(plot::Point {
                routes,
                whole,
                brief,
                bare: floored,
                memory,
            });
        }
        if points.len() > 2 {
            let path = self.root.join("docs/performance-bulk.svg");
            fs::write(&path, plot::draw(&points))?;
            println!("wrote {}", path.display());
        }
        Ok(())
    }

    fn singles(&mut self) -> anyhow::Result<()> {
        let base = self.database(10_000)?;
        let (mut service, mut floor, mut alone, mut shared) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let per_second = |count: usize, seconds: f64| as_f64(count) / seconds;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // Who else shares the processor: the thread that writes, and the clients.
        let (mut writers, mut askers) = (Vec::new(), Vec::new());
        let is_writer = |name: &str| name == "cavra-writer";
        for _ in 0..3 {
            let served = self.copy(&base, "service.db")?;
            let running = self.serve(&served)?;
            let before = position(&running)?;
            let (spent, written) = (Spent::by(&running), Spent::of_threads(&running, is_writer));
            let (took, asked) = clients(&running.address, CLIENTS, EACH)?;
            ours.push(Spent::since(&running, spent) / as_f64(CLIENTS * EACH));
            writers.push((Spent::of_threads(&running, is_writer) - written) / as_f64(CLIENTS * EACH));
            askers.push(asked / as_f64(CLIENTS * EACH));
            service.push(per_second(CLIENTS * EACH, took));
            alone.push(per_second(EACH, clients(&running.address, 1, EACH)?.0));
            running.stop()?;
            let (source, from) = (text(&served)?, before.to_string());
            let singles = SINGLES.to_string();
            let target = self.copy(&base, "floor.db")?;
            let took = self.floor(&["single", source, text(&target)?, &from, &singles])?;
            floor.push(per_second(SINGLES, took.wall));
            theirs.push(took.processor / as_f64(SINGLES));
            // What no service could pass: the same rows in one transaction, without anybody who asks for them.
            let target = self.copy(&base, "floor.db")?;
            let took = self.floor(&["bulk", source, text(&target)?, &from])?;
            shared.push(per_second(CLIENTS * EACH + EACH, took.wall));
        }
        let (service, floor, alone) = (median(service), median(floor), median(alone));
        let (whole, writer, asker) = (median(ours), median(writers), median(askers));
        let notes = format!(
            "one client alone: {alone:.0} per second; the same rows in one transaction, by bare SQLite: {:.0} per second; \
             processor time for each: writer {:.0} µs, the rest of the service {:.0} µs, its client {:.0} µs",
            median(shared),
            writer * 1e6,
            (whole - writer) * 1e6,
            asker * 1e6
        );
        self.row(
            &format!("single acknowledgements, {CLIENTS} concurrent clients"),
            [
                &format!("{service:.0} per second"),
                &format!("{floor:.0} per second"),
                &format!(
                    "{:.2} times the throughput ({:.2} times the processor time for each)",
                    service / floor,
                    whole / median(theirs)
                ),
            ],
            &Goal::AtLeast(8.0).told(service / floor),
            &notes,
        );
        Ok(())
    }

    fn package(&mut self) -> anyhow::Result<()> {
        let routes = 100_000;
        let base = self.database(routes)?;
        let served = self.copy(&base, "service.db")?;
        let running = self.serve(&served)?;
        bulk(&running, routes, true)?;
        let idle = running.memory("VmHWM:")?;
        let (mut service, mut floor, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..3 {
            let asked = json!({ "generated_by": "bench" });
            let (took, answer) = Self::asked(
                &running,
                &format!("{BASE}/acknowledgements/audit-package"),
                Some(&asked),
            )?;
            service.push(took);
            bytes = answer.len();
            floor.push(self.floor(&["package", text(&served)?])?);
        }
        let notes = format!(
            "{:.1} MB; highest memory {idle:.0} MB before, {:.0} MB after",
            mega(u64::try_from(bytes)?),
            running.memory("VmHWM:")?
        );
        running.stop()?;
        self.compared(
            &format!("package of {} routes", thousands(routes)),
            [&service, &floor],
            FLOOR,
            &notes,
        );
        Ok(())
    }

    fn releases(&mut self) -> anyhow::Result<()> {
        let database = self.file("releases.db");
        let store = self.file("releases.ndjson");
        releases(&store)?;
        import(&self.cavra, &store, text(&database)?)?;
        let running = self.serve(&database)?;
        let reporting = format!("{BASE}/acknowledgements/audit-delivery/final-reporting");
        let plan = format!("{reporting}-auditor-export/delivery-retry-plan");
        let health = format!("{reporting}-archive-reference-health?persist=false");
        let (mut plans, mut short, mut healths, mut deliveries, mut exports, mut written) = (
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
        );
        let idle = running.memory("VmHWM:")?;
        let mut bytes = 0;
        for _ in 0..5 {
            healths.push(Self::asked(&running, &health, None)?.0);
            exports.push(self.floor(&["exports", text(&database)?])?);
        }
        let judged = running.memory("VmHWM:")?;
        for _ in 0..5 {
            let (took, answer) = Self::asked(&running, &plan, Some(&json!({})))?;
            bytes = answer.len();
            plans.push(took);
            let asked = Some(json!({}));
            short.push(Self::asked_preferring("return=minimal", &running, &plan, asked.as_ref())?.0);
            deliveries.push(self.floor(&["deliveries", text(&database)?])?);
        }
        // What is left of a plan without its decisions: its text is digested, packed, made durable, and unpacked again.
        let target = self.file("document.db");
        for _ in 0..5 {
            let target = text(&target)?;
            written.push(self.floor(&["document", text(&database)?, target])?);
        }
        let planned = running.memory("VmHWM:")?;
        running.stop()?;
        let many = thousands(EXPORTS);
        let size = mega(u64::try_from(bytes)?);
        let what = format!("retry plan over {many} failed deliveries");
        let memory =
            format!("answer {size:.1} MB; highest memory {judged:.0} MB before, {planned:.0} MB after");
        self.compared(&what, [&plans, &deliveries], FLOOR, &memory);
        self.compared(
            &format!("{what}, short answer"),
            [&short, &deliveries],
            Goal::None,
            "`Prefer: return=minimal`: the same plan, digested, packed and stored; its record is the answer",
        );
        let both: Vec<Took> = deliveries
            .iter()
            .zip(&written)
            .map(|(read, wrote)| Took {
                wall: read.wall + wrote.wall,
                processor: read.processor + wrote.processor,
            })
            .collect();
        self.compared(
            &format!("{what}, against the floor and its document"),
            [&plans, &both],
            Goal::None,
            "the document digested, packed, stored in one durable transaction, and read again",
        );
        self.compared(
            &format!("archive health over {many} exports"),
            [&healths, &exports],
            FLOOR,
            &format!("not stored; highest memory {idle:.0} MB before, {judged:.0} MB after"),
        );
        Ok(())
    }

    fn evidence(&mut self) -> anyhow::Result<()> {
        let mut served = Vec::new();
        let base = self.database(10_000)?;
        for (records, name) in [(900, "few.db"), (1_000_000, "many.db")] {
            let database = self.copy(&base, name)?;
            let extra = self.file("extra.ndjson");
            foreign(&extra, records)?;
            import(&self.cavra, &extra, text(&database)?)?;
            served.push(self.serve(&database)?);
        }
        let [few, many] = served.as_slice() else {
            bail!("two servers are compared");
        };
        let states = ["acknowledged", "escalated", "dismissed"];
        let asked = |run: usize| {
            let state = states.get(run % 3).copied().unwrap_or("acknowledged");
            json!({ "filter": { "schedule_id": "schedule-007" }, "acknowledged_by": "bench",
                    "acknowledgement_state": state })
        };
        for (what, path, writes) in [
            ("dashboard", format!("{BASE}/dashboard"), false),
            (
                "bulk of 100 routes",
                format!("{BASE}/acknowledgements/bulk"),
                true,
            ),
            ("first page of history", BASE.to_owned(), false),
        ] {
            let (mut slow, mut fast) = (Vec::new(), Vec::new());
            for run in 0..100 {
                let body = writes.then(|| asked(run));
                // In turn, and neither always behind the other: what one leaves in the processor's caches slows the next.
                let mut sides = [(many, &mut slow), (few, &mut fast)];
                if run % 2 == 1 {
                    sides.reverse();
                }
                for (running, took) in sides {
                    took.push(Self::asked(running, &path, body.as_ref())?.0);
                }
            }
            self.compared(
                &format!("{what}, 1,000,000 records against 1,000"),
                [&slow, &fast],
                Goal::AtMost(1.2),
                "",
            );
        }
        served.into_iter().try_for_each(Running::stop)
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the folder's name is not UTF-8")
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

/// Where the log stands: every record of these databases is in the history.
fn position(running: &Running) -> anyhow::Result<u64> {
    let (_, page) = running.send(&format!("{BASE}?limit=1"), None)?;
    let page: Value = serde_json::from_slice(&page)?;
    page.get("total").and_then(Value::as_u64).context("no total")
}

/// Acknowledges every route: seconds, bytes of the answer, and the slowest read meanwhile.
fn bulk(running: &Running, routes: usize, minimal: bool) -> anyhow::Result<(f64, usize, f64)> {
    let done = AtomicBool::new(false);
    let url = format!("{}{BASE}/acknowledgements/bulk", running.address);
    let body =
        json!({ "filter": { "action": "deliver" }, "acknowledged_by": "bench", "external_ref": "CHG-4711" });
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> anyhow::Result<f64> {
            let mut slowest: f64 = 0.0;
            // A small bulk is over before the first read: its own time is not that of a dashboard.
            loop {
                std::thread::park_timeout(Duration::from_millis(50));
                if done.load(Ordering::Relaxed) {
                    return Ok(slowest);
                }
                slowest = slowest.max(running.send(&format!("{BASE}/dashboard"), None)?.0);
            }
        });
        let stopwatch = Stopwatch::start();
        let mut request = ureq::post(&url).header("content-type", "application/json");
        if minimal {
            request = request.header("prefer", "return=minimal");
        }
        let sent = request.send(body.to_string());
        let mut response = sent.context("the bulk failed")?;
        // Counted and thrown away: what a client does with it is its own affair.
        let mut reader_of_answer = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 18];
        let (mut bytes, mut start) = (0, Vec::new());
        loop {
            let read = reader_of_answer.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            if start.len() < 2_000 {
                start.extend_from_slice(buffer.get(..read.min(2_000)).unwrap_or_default());
            }
            bytes += read;
        }
        let took = stopwatch.seconds();
        done.store(true, Ordering::Relaxed);
        let start = String::from_utf8_lossy(&start).into_owned();
        if !start.contains(&format!("\"changed_count\":{routes},")) {
            bail!("the bulk did not change {routes} routes: {start:.300}");
        }
        let slowest = reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        Ok((took, bytes, slowest))
    })
}

/// Acknowledges single routes from many connections; gives the seconds from the first to the last, and those of processor
/// time that the clients themselves have spent.
fn clients(address: &str, clients: usize, each: usize) -> anyhow::Result<(f64, f64)> {
    let host = address.strip_prefix("http://").context("an address")?.to_owned();
    let ready = Arc::new(Barrier::new(clients + 1));
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..clients)
        .map(|_| {
            let (host, ready, next) = (host.clone(), Arc::clone(&ready), Arc::clone(&next));
            std::thread::spawn(move || -> anyhow::Result<f64> {
                let mut stream = BufReader::new(TcpStream::connect(&host)?);
                stream.get_ref().set_nodelay(true)?;
                let this = Path::new("/proc/thread-self");
                ready.wait();
                let spent = Spent::of_task(this);
                for _ in 0..each {
                    acknowledge(&mut stream, &host, next.fetch_add(1, Ordering::Relaxed))?;
                }
                Ok(Spent::of_task(this) - spent)
            })
        })
        .collect();
    ready.wait();
    let stopwatch = Stopwatch::start();
    let mut spent = 0.0;
    for worker in workers {
        spent += worker
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok((stopwatch.seconds(), spent))
}

/// One acknowledgement over a connection that stays open.
fn acknowledge(stream: &mut BufReader<TcpStream>, host: &str, number: usize) -> anyhow::Result<()> {
    let states = ["acknowledged", "escalated", "dismissed"];
    let state = states.get(number / 10_000 % 3).copied().unwrap_or("acknowledged");
    let body = format!(
        r#"{{"provider":"provider-{}","owner":"owner-{}","acknowledged_by":"bench","acknowledgement_state":"{state}"}}"#,
        number % 10,
        number / 10 % 10
    );
    let head = format!(
        "POST {BASE}/schedule-{:03}/acknowledgements HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        number / 100 % 100,
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes())?;
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    if !line.contains(" 200 ") {
        bail!("an acknowledgement was answered with {line}");
    }
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(())
}

/// Exports, each with one failed delivery and one complete reference.
fn releases(path: &Path) -> anyhow::Result<()> {
    let reporting = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-";
    let mut out = std::io::BufWriter::new(fs::File::create(path)?);
    for number in 0..EXPORTS {
        let export = format!("gordackfinalauditor-{number:06}");
        let (release, hash) = (format!("REL-{}", number % 1_000), "ab".repeat(32));
        for record in [
            json!({ "session_id": export, "created_at": "2026-06-01T08:00:00+00:00", "verification_state": "verified",
                    "metadata_kind": format!("{reporting}auditor-export"), "export_hash": hash,
                    "release_record_ref": release }),
            json!({ "session_id": format!("rcd-{number:06}"), "created_at": "2026-06-01T09:00:00+00:00",
                    "metadata_kind": "release-connector-delivery", "event_id": export, "delivery_success": false,
                    "connector_delivery_source":
                        "go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export",
                    "providers": ["jira"], "failed_providers": ["jira"],
                    "delivery": { "deliveries": [{ "provider": "jira", "status_code": 503 }] } }),
            json!({ "session_id": format!("gordackfinalarchive-{number:06}"), "export_id": export,
                    "created_at": "2026-06-01T10:00:00+00:00", "archive_ref": format!("worm://{number}"),
                    "metadata_kind": format!("{reporting}immutable-archive-reference"), "archive_provider": "worm",
                    "archive_hash": hash, "retention_until": "2099-01-01T00:00:00+00:00", "legal_hold": true,
                    "release_record_ref": release }),
        ] {
            writeln!(out, "{record}")?;
        }
    }
    Ok(out.flush()?)
}

/// Criterion's means, per item, as a table: linear when a row hardly changes from left to right.
fn domain(target: &Path) -> anyhow::Result<String> {
    let mut table = String::from(
        "| domain function | 1,000 items | 10,000 items | 100,000 items |\n| --- | --- | --- | --- |\n",
    );
    for name in ["plan", "bulk", "package", "retry", "health"] {
        write!(table, "| {name} |")?;
        for items in [1_000_usize, 10_000, 100_000] {
            let path = target.join(format!("criterion/{name}/{items}/new/estimates.json"));
            let cell = match fs::read(&path) {
                Ok(bytes) => {
                    let estimates: Value = serde_json::from_slice(&bytes)?;
                    let mean = estimates
                        .pointer("/mean/point_estimate")
                        .and_then(Value::as_f64)
                        .context("no mean")?;
                    format!("{:.0} ns per item", mean / as_f64(items))
                }
                Err(_) => "-".to_owned(),
            };
            write!(table, " {cell} |")?;
        }
        table.push('\n');
    }
    Ok(table)
}

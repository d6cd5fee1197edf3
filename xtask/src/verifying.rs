//! `cargo xtask e2e`, second part: the two verifiers of signed packages agree, and ours asks nobody; nor do reports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;

const OTHER_VERIFIER: &str = "docs/verify/cavra_verify.py";
const MOST_LINES: usize = 500;
const EXPECTED: &str = "expected.jsonl";
/// Who changes packages, and writes them where this variable says, in folders of their own.
const TESTS: [&str; 7] = [
    "signed::ten_thousand_changes_of_packages_are_all_found",
    "signed::an_earlier_package_shows_that_nothing_was_rewritten_since",
    "signed::without_a_key_packages_say_that_they_are_unsigned",
    "witnesses::every_change_of_what_witnesses_signed_is_found",
    "forged::whoever_holds_the_key_cannot_hide_anything_of_the_whole_population",
    "odd::records_of_every_odd_form_are_read_by_both_verifiers_as_the_service_reads_them",
    "odd::a_package_from_before_the_rotation_of_a_key_is_compared_whichever_key_is_trusted",
];
const VARIABLE: &str = "CAVRA_MUTATIONS";
/// The folders, what the verifiers are asked there, and how many packages there are at least.
const FOLDERS: [(&str, &[&str], usize); 8] = [
    ("changed", &["--key", "key.pub"], 10_000),
    ("forged", &["--key", "key.pub"], 19),
    ("odd", &["--key", "key.pub"], 10),
    (
        "rotated-1",
        &["--key", "key.pub", "--previous", "earlier.json"],
        2,
    ),
    (
        "rotated-2",
        &["--key", "key.pub", "--previous", "earlier.json"],
        2,
    ),
    (
        "witnessed",
        &[
            "--key",
            "key.pub",
            "--witness",
            "first.pub",
            "--witness",
            "second.pub",
        ],
        3_000,
    ),
    (
        "previous",
        &["--key", "key.pub", "--previous", "earlier.json"],
        10,
    ),
    ("unsigned", &[], 6),
];

/// Asks the other verifier about every package that the tests have changed, and compares what the two say. Gives the
/// folder of the packages of the first test.
pub fn agree(workspace: &Workspace, python: &Path) -> anyhow::Result<PathBuf> {
    let lines = workspace.read(OTHER_VERIFIER)?.lines().count();
    if lines > MOST_LINES {
        bail!("{OTHER_VERIFIER} has {lines} lines; it may have {MOST_LINES}, so that people can read it");
    }
    let folder = workspace.target().join("e2e/mutations");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove what the last run left")?;
    }
    let mut test = workspace.cargo();
    test.args(["test", "--package", "cavra-app", "--test", "app", "--"])
        .args(TESTS)
        .env(VARIABLE, &folder);
    process::run(&mut test)?;
    for (name, asked, least) in FOLDERS {
        compare(workspace, python, &folder.join(name), asked, least)?;
    }
    Ok(folder.join(FOLDERS[0].0))
}

fn compare(
    workspace: &Workspace,
    python: &Path,
    folder: &Path,
    asked: &[&str],
    least: usize,
) -> anyhow::Result<()> {
    let ours = by_package(&fs::read_to_string(folder.join(EXPECTED))?)?;
    // Names, not paths: ten thousand of them fit a command line.
    let mut other = Command::new(python);
    other
        .current_dir(folder)
        .arg(workspace.path(OTHER_VERIFIER))
        .args(asked)
        .arg("--")
        .args(ours.keys());
    let said = other.output().context("cannot run the other verifier")?;
    let failed = ours
        .values()
        .any(|said| said.get("verdict").and_then(Value::as_str) == Some("failed"));
    if said.status.code() != Some(i32::from(failed)) {
        bail!(
            "the other verifier ended with {}: {}",
            said.status,
            String::from_utf8_lossy(&said.stderr)
        );
    }
    let theirs = by_package(&String::from_utf8(said.stdout)?)?;
    if ours.len() < least {
        bail!("only {} packages were made", ours.len());
    }
    for (package, ours) in &ours {
        if theirs.get(package) != Some(ours) {
            let theirs = theirs.get(package).map_or("nothing".to_owned(), Value::to_string);
            bail!("the verifiers disagree about {package}: ours says {ours}, the other {theirs}");
        }
    }
    println!("{} packages: both verifiers say the same of each", ours.len());
    Ok(())
}

fn by_package(lines: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    lines
        .lines()
        .map(|line| {
            let said: Value = serde_json::from_str(line)?;
            let package = said
                .get("package")
                .and_then(Value::as_str)
                .context("a line names no package")?;
            Ok((package.to_owned(), said))
        })
        .collect()
}

/// Verifies and reports a package where there is no network at all, and watches that no connection is even tried.
pub fn alone(workspace: &Workspace, program: &Path, folder: &Path) -> anyhow::Result<()> {
    if !process::succeeds(Command::new("strace").arg("--version")) {
        println!("installing Debian's strace");
        let apt = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
            process::run(command.args(arguments))
        };
        apt(&["update"])?;
        apt(&["install", "--yes", "--no-install-recommends", "strace"])?;
    }
    let key = ["honest-0.json", "--key", "key.pub"];
    alone_with(workspace, program, folder, &[&["verify"], &key[..]].concat())?;
    for format in ["html", "csv", "oscal"] {
        let out = format!("honest-0.{format}");
        let report = ["--format", format, "--out", &out];
        alone_with(
            workspace,
            program,
            folder,
            &[&["report"], &key[..], &report].concat(),
        )?;
    }
    println!("verified and reported without a network; strace saw neither socket nor connect");
    Ok(())
}

fn alone_with(
    workspace: &Workspace,
    program: &Path,
    folder: &Path,
    arguments: &[&str],
) -> anyhow::Result<()> {
    let trace = workspace.target().join("e2e/verify.strace");
    // Without interfaces, and watched.
    let mut lonely = Command::new("unshare");
    lonely
        .args(["--net", "--map-root-user", "strace"])
        .args(["-f", "-e", "trace=network,execve", "-o"])
        .arg(&trace)
        .arg(program)
        .args(arguments)
        .current_dir(folder);
    process::run(&mut lonely).with_context(|| {
        format!(
            "`cavra {}` fails in a network namespace without interfaces",
            arguments.join(" ")
        )
    })?;
    let calls = fs::read_to_string(&trace)?;
    if !calls.contains("execve(") {
        bail!("strace has seen nothing, in {}", trace.display());
    }
    if let Some(call) = calls
        .lines()
        .find(|line| line.contains("connect(") || line.contains("socket("))
    {
        bail!("`cavra {}` touches the network: {call}", arguments.join(" "));
    }
    Ok(())
}

//! `cargo xtask ci`: the steps in order, each with its time, up to the first failure.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::process::{self, Stopwatch};
use crate::step::step;
use crate::workspace::Workspace;
use crate::{fixtures, golden, layers, tidy};

/// How many tests ran, as cargo test counts them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

type Work = fn(&Workspace) -> anyhow::Result<()>;

/// Name, command that repeats it, work.
const BEFORE_TESTS: &[(&str, &str, Work)] = &[
    ("format", "cargo fmt --all", |workspace| {
        process::run(workspace.cargo().args(["fmt", "--all", "--check"]))
    }),
    ("tidy", "cargo xtask tidy", tidy::run),
    ("layers", "cargo xtask layers", layers::run),
    (
        "clippy",
        "cargo clippy --workspace --all-targets -- -D warnings",
        |workspace| {
            process::run(workspace.cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        },
    ),
    (
        "rustdoc",
        "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps",
        |workspace| {
            let mut command = workspace.cargo();
            command
                .env("RUSTDOCFLAGS", "-D warnings")
                .args(["doc", "--workspace", "--no-deps"]);
            process::run(&mut command)
        },
    ),
];

/// After the tests, which have built the program that prints these.
const AFTER_TESTS: &[(&str, &str, Work)] = &[
    ("openapi", "cargo xtask openapi --check", |workspace| {
        golden::openapi(workspace, golden::Build::AsTested, true)
    }),
    ("schemas", "cargo xtask schemas --check", |workspace| {
        golden::schemas(workspace, golden::Build::AsTested, true)
    }),
    ("fixtures", "cargo xtask fixtures --check", |_| {
        fixtures::run(true)
    }),
];

/// Runs every step, and closes with the number of tests.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let whole = Stopwatch::start();
    for (name, again, work) in BEFORE_TESTS {
        step(name, again, || work(workspace))?;
    }
    let count = step("tests", "cargo test --workspace", || test(workspace))?;
    for (name, again, work) in AFTER_TESTS {
        step(name, again, || work(workspace))?;
    }
    println!(
        "\nevery step passed in {:.0} s; tests of the workspace:",
        whole.seconds()
    );
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(())
}

/// `cargo test`, whose output is passed on and counted.
fn test(workspace: &Workspace) -> anyhow::Result<Count> {
    let mut command = workspace.cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    let count = counted(&mut command)?;
    if count.passed == 0 {
        bail!("cargo test passed, but it ran no test");
    }
    if count.ignored > 0 {
        bail!(
            "{} tests are ignored: a test runs, or it is removed",
            count.ignored
        );
    }
    Ok(count)
}

fn counted(command: &mut Command) -> anyhow::Result<Count> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(command)))?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let mut count = Count::default();
    // Bytes, because a failing test may print anything.
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(&line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` ended with {status}", process::describe(command));
    }
    Ok(count)
}

impl Count {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let result = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in result.split("; ") {
            if let Some((number, word)) = part.split_once(' ')
                && let Ok(number) = number.parse::<u64>()
            {
                match word {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Count, counted};

    #[test]
    fn the_results_of_all_test_programs_are_added_up() {
        let script = "
            echo 'running 3 tests'
            echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s'
            echo 'test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s'
        ";
        let count = counted(Command::new("sh").args(["-c", script])).expect("it succeeds");
        assert_eq!(
            count,
            Count {
                passed: 15,
                failed: 0,
                ignored: 1
            }
        );
    }

    #[test]
    fn failing_tests_are_an_error_whatever_they_print() {
        let script = r"printf 'test x ... \377\n'; echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
        let error = counted(Command::new("sh").args(["-c", script])).expect_err("it exits with 101");
        assert!(error.to_string().ends_with("exit status: 101"), "{error}");
    }
}

//! What keeps this repository in order: one module per subcommand of `cargo xtask`.
//!
//! Checks are functions from text to a list of problems, so that they are tested on small texts. The `run` of a module
//! reads the real files, prints, and turns problems into an error.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on its terminal"
)]

pub mod bench;
pub mod ci;
pub mod cli;
pub mod e2e;
pub mod fixtures;
pub mod golden;
pub mod layers;
pub mod measure;
pub mod process;
pub mod step;
pub mod tidy;
pub mod workspace;

/// Turns a list of problems into an error that shows every one of them.
///
/// `remedy` says what to do about them.
pub fn no_problems(problems: &[String], remedy: &str) -> anyhow::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    for problem in problems {
        eprintln!("  {problem}");
    }
    let count = problems.len();
    anyhow::bail!(
        "{count} {}; {remedy}",
        if count == 1 { "problem" } else { "problems" }
    )
}

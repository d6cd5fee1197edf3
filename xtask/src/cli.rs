//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{bench, ci, e2e, fixtures, golden, layers, measure, tidy};

/// The checks and generators of this repository.
///
/// Run `cargo xtask ci` before you hand something in: it is what the gate runs, together with `cargo xtask e2e`. A
/// failing step names the command that repeats it alone.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that needs nothing but cargo: format, rules, lints, documentation, tests, goldens
    ///
    /// Steps, cheapest first, stopping at the first failure: `cargo fmt --check`, `tidy`, `layers`, clippy and rustdoc
    /// with warnings as errors, every test and doctest, then `openapi`, `schemas` and `fixtures` with `--check`.
    Ci,

    /// Which crate may depend on which: the manifests against docs/layers.txt
    ///
    /// Fails on a member that the file does not know, on an arrow that it does not allow, and on an external crate
    /// that it keeps elsewhere. The same check runs as a test. The file explains its own format; a new arrow is a
    /// design decision, so the line that allows it says why.
    Layers,

    /// Small rules about files: inherited lints, repeated bans, sizes, whitespace, links
    ///
    /// Looks at what git tracks and at what it would add. Rules: every member inherits lints, edition and publish; a
    /// nested clippy.toml repeats the root's bans; no file above 500 KB; no unfinished or ignored code; no tabs and no
    /// trailing whitespace in .rs, .md and .toml; every workspace dependency is used; links between the repository's
    /// Markdown files and files resolve; docs/adr/README.md lists every decision.
    Tidy,

    /// Writes docs/openapi.json from `cavra openapi`
    ///
    /// The file is the published interface: read its diff before you commit it.
    Openapi {
        /// Compare with the committed file, write nothing
        #[arg(long)]
        check: bool,
    },

    /// Writes docs/schemas/NAME.json from `cavra schemas`
    ///
    /// One file per document; a file whose document no longer exists is removed.
    Schemas {
        /// Compare with the committed files, write nothing
        #[arg(long)]
        check: bool,
    },

    /// Writes the files under fixtures/
    Fixtures {
        /// Compare with the committed files, write nothing
        #[arg(long)]
        check: bool,
    },

    /// Drives a running, seeded server with Schemathesis: requests made from its own OpenAPI document
    ///
    /// Needs python3 with venv and installs what is missing, saying so: Debian's python3-venv if the machine has none,
    /// and the packages of xtask/e2e/requirements.txt in target/e2e/venv. Then starts `cavra api` on a free port with
    /// a new database and fixtures/quickstart.json, sends the requests, stops the server with SIGTERM and expects exit
    /// code 0. Checks and volume are in xtask/e2e/schemathesis.toml. Nothing is skipped: what is missing is an error.
    ///
    /// After that the tests of xtask/e2e/identity run, against an OpenID provider and with a browser on loopback. They
    /// need npm, chromium and openssl, which are installed from Debian where they are missing, and the packages of
    /// package-lock.json there, in target/e2e/identity.
    E2e {
        /// Test this program instead of building `cavra`
        #[arg(long, value_name = "PATH")]
        program: Option<PathBuf>,

        /// Build `cavra` with the features it has in `cargo test --workspace`, which needs no second build of the
        /// dependencies after `cargo xtask ci`
        #[arg(long, conflicts_with = "program")]
        as_tested: bool,

        /// Use another seed for the requests, to look for what the usual one does not find
        #[arg(long, default_value_t = e2e::SEED)]
        seed: u64,
    },

    /// Pictures of every screen and dialog of the console, in both themes, in screenshots/
    ///
    /// Against `cavra-sample`, in Chromium; needs what the console's part of `e2e` needs. Git ignores the folder. Look at
    /// them after every change of the page: no test sees whether something looks right.
    Screenshots,

    /// How fast the console filters 100,000 routes: the release build, in Chromium
    ///
    /// From the change of a filter to its rows and counts on the screen; fails when the 95th of 100 takes more than 100
    /// ms. Nothing else should run meanwhile. `e2e` runs the same test on a debug build, and only prints.
    Scale,

    /// Measures the release binaries on this machine: size, start, memory, and the times of the main operations
    ///
    /// The table of docs/performance.md. Nothing else should run meanwhile.
    Measure {
        /// Measure again with so many more evidence records in the store
        #[arg(long, default_value_t = 0, value_name = "COUNT")]
        extra_records: usize,

        /// Measure retry plans and archive health over so many exports, with two deliveries and one reference each
        #[arg(long, default_value_t = 0, value_name = "COUNT")]
        exports: usize,
    },

    /// Compares this service with its floors: bare SQLite for the same rows, in the same run
    ///
    /// The tables and the plot of docs/performance.md, which defines each floor. Takes some minutes and some gigabytes
    /// under target/bench; nothing else should run meanwhile. A slow machine fails nothing.
    Bench {
        /// What to compare
        #[arg(value_enum, default_value = "all")]
        what: bench::What,

        /// How long the load lasts, in seconds
        #[arg(long, default_value_t = 600)]
        seconds: u64,

        /// The largest bulk
        #[arg(long, default_value_t = 1_000_000)]
        routes: usize,

        /// Another release binary of `cavra`, of another commit, that does the bulks in turn with this one
        #[arg(long, value_name = "PROGRAM")]
        against: Option<PathBuf>,
    },
}

impl Cli {
    /// Runs the subcommand.
    pub fn run(self) -> anyhow::Result<()> {
        let workspace = Workspace::load()?;
        match self.command {
            Command::Ci => ci::run(&workspace),
            Command::Layers => layers::run(&workspace),
            Command::Tidy => tidy::run(&workspace),
            Command::Openapi { check } => golden::openapi(&workspace, golden::Build::Alone, check),
            Command::Schemas { check } => golden::schemas(&workspace, golden::Build::Alone, check),
            Command::Fixtures { check } => fixtures::run(check),
            Command::Scale => e2e::console::scale(&workspace),
            Command::Screenshots => e2e::console::screenshots(&workspace),
            Command::Measure {
                extra_records,
                exports,
            } => measure::run(&workspace, extra_records, exports),
            Command::Bench {
                what,
                seconds,
                routes,
                against,
            } => bench::run(&workspace, what, seconds, routes, against.as_deref()),
            Command::E2e {
                program,
                as_tested,
                seed,
            } => {
                let server = match program {
                    Some(path) => e2e::Server::Program(path),
                    None if as_tested => e2e::Server::Built(golden::Build::AsTested),
                    None => e2e::Server::Built(golden::Build::Alone),
                };
                e2e::run(&workspace, &server, seed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

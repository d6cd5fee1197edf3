//! `cavra`: serve, import, export, check. Parses arguments, wires the parts, runs.

use std::process::ExitCode;

use clap::Parser as _;

mod api;
mod arguments;
mod evidence;
mod keys;
mod options;
mod report;
mod verify;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            evidence::say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Api(api) => api::run(*api),
        Command::Import(import) => evidence::import(&import),
        Command::ExportEvidence(export) => evidence::export(&export),
        Command::Check(check) => evidence::check(&check),
        Command::Backup(backup) => evidence::backup(&backup),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Cosign(arguments) => keys::cosign(&arguments),
        Command::Openapi => evidence::print_json(cavra_http::openapi::document()),
        Command::Schemas => evidence::print_json(&cavra_http::openapi::schemas()),
        Command::Completions { shell } => arguments::completions(shell),
    }
}

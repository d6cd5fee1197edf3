//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use cavra_domain::time::Timestamp;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Answers for rollback-drill notifications: who was notified, who acknowledged, what is late, and the evidence.
///
/// It sends nothing and holds no credential of a connector: operator-owned systems notify and report back.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "First steps:\n  cavra api --import fixtures/quickstart.json\n  curl -s http://127.0.0.1:8000/runtime/go-pilot/rollback-drill-notifications/dashboard\n\nNo data at hand? `cavra-sample` serves invented data from memory."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the HTTP API; creates the database when it is not there
    Api(Box<Api>),
    /// Take evidence records in the published store's shapes, in one transaction
    #[command(
        after_help = "Shapes: JSON {\"items\": [...]}, a JSON list, one record per line (NDJSON), or the published \
                            SQLite file. Importing the same file again changes nothing.\n\nExit codes: 0 done, 1 records \
                            were refused and nothing was taken, 2 the command failed."
    )]
    Import(Import),
    /// Write evidence records as NDJSON, one per line, lossless
    ExportEvidence(Export),
    /// Check the file, the Merkle log, every digest, and that the state is what the evidence says
    #[command(
        after_help = "Exit codes: 0 everything is as it should be, 1 something is wrong (each finding is named), 2 the \
                            database cannot be read."
    )]
    Check(Check),
    /// Copy the database to a new file, consistently, also while the service runs
    Backup(Backup),
    /// Verify signed audit packages offline: no network, no server, no database
    #[command(
        after_help = "Without --key a package can only be shown to be consistent with itself: whoever made it up could \
                            have signed it with a key of their own. Exit codes: 0 everything that was asked for was \
                            checked and is right, 1 something is wrong (the first wrong element is named), 2 a file \
                            cannot be read."
    )]
    Verify(Verify),
    /// Verify a signed audit package and write a report of it: a page for people, rows, or OSCAL assessment results
    #[command(
        after_help = "The report always says what the verification found; a package that is not verified gives a report that \
                            says so everywhere. What was found is also said on standard error. Exit codes: 0 everything that \
                            was asked for was checked and is right, 1 something is wrong (the report is written all the \
                            same), 2 a file cannot be read or written."
    )]
    Report(Report),
    /// Make, list and rotate signing keys
    #[command(subcommand)]
    Keys(Keys),
    /// Add what witnesses have signed to the evidence log
    Cosign(Cosign),
    /// Print the OpenAPI 3.1 document
    Openapi,
    /// Print the JSON Schemas of all documents
    Schemas,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What `cavra api` may be told on the command line, in the environment, or in a file.
#[derive(Debug, Args)]
pub(crate) struct Api {
    /// Address to listen on; without an identity provider it must be this machine's own. Port 0 picks a free one
    /// [default: 127.0.0.1:8000]
    #[arg(long, env = "CAVRA_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Database file [default: cavra.db]
    #[arg(long, env = "CAVRA_DATABASE", value_name = "FILE")]
    pub(crate) database: Option<PathBuf>,
    /// Import this file before serving; what is there already is left as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) import: Vec<PathBuf>,
    /// Schedule file for plans that bring none; may be given several times
    #[arg(
        long = "schedule",
        env = "CAVRA_GO_ROLLBACK_DRILL_SCHEDULE",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub(crate) schedules: Vec<PathBuf>,
    /// Drill history file
    #[arg(long, env = "CAVRA_GO_ROLLBACK_DRILL_HISTORY", value_name = "FILE")]
    pub(crate) drill_history: Option<PathBuf>,
    /// How far the Go backend pilot is: disabled, shadow, enforce or promoted [default: disabled]
    #[arg(long, env = "CAVRA_GO_BACKEND_MODE", value_name = "MODE")]
    pub(crate) backend_mode: Option<String>,
    /// A drill due within so many days is due soon [default: 14]
    #[arg(long, env = "CAVRA_GO_ROLLBACK_DRILL_DUE_SOON_DAYS", value_name = "DAYS")]
    pub(crate) due_soon_days: Option<f64>,
    /// A last drill within so many days is fresh [default: 90]
    #[arg(long, env = "CAVRA_GO_ROLLBACK_DRILL_MAX_AGE_DAYS", value_name = "DAYS")]
    pub(crate) history_max_age_days: Option<f64>,
    /// Origins that browsers may call from, separated by commas
    #[arg(
        long,
        env = "CAVRA_CORS_ORIGINS",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub(crate) cors_origins: Vec<String>,
    /// Where clients find the API, for `/console/config`
    #[arg(long, env = "CAVRA_PUBLIC_API_BASE_URL", value_name = "URL")]
    pub(crate) public_api_base_url: Option<String>,
    /// Host names that are served beside this machine's own, separated by commas
    #[arg(
        long,
        env = "CAVRA_ALLOWED_HOSTS",
        value_name = "HOSTS",
        value_delimiter = ','
    )]
    pub(crate) allowed_hosts: Vec<String>,
    /// Private key that signs checkpoints and packages, of `cavra keys generate` [default: unsigned]
    #[arg(long, env = "CAVRA_SIGNING_KEY_FILE", value_name = "FILE")]
    pub(crate) signing_key: Option<PathBuf>,
    /// The same from an inherited file descriptor; `CAVRA_SIGNING_KEY` may hold the key's text itself
    #[arg(long, value_name = "NUMBER", conflicts_with = "signing_key")]
    pub(crate) signing_key_fd: Option<u32>,
    /// The keys before it [default: FILE.history beside the signing key]
    #[arg(long, env = "CAVRA_KEY_HISTORY", value_name = "FILE")]
    pub(crate) key_history: Option<PathBuf>,
    /// The OpenID provider whose tokens prove who calls, as a JSON or YAML file
    #[arg(long, env = "CAVRA_APPROVAL_OIDC_CONFIG", value_name = "FILE")]
    pub(crate) oidc_config: Option<OsString>,
    /// Which groups have which rights, as a JSON or YAML file
    #[arg(long, env = "CAVRA_APPROVAL_RBAC_FILE", value_name = "FILE")]
    pub(crate) rbac_file: Option<OsString>,
    /// Let everybody read without a token; writes need one all the same
    #[arg(
        long,
        env = "CAVRA_ANONYMOUS_READ",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(crate) anonymous_read: Option<bool>,
    /// Worker threads [default: the machine's cores]
    #[arg(long, env = "CAVRA_WORKERS", value_name = "COUNT")]
    pub(crate) workers: Option<usize>,
    /// What to log, as in `info` or `warn,cavra_http=debug` [default: info]
    #[arg(long, env = "CAVRA_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How to log [default: text]
    #[arg(long, env = "CAVRA_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// A TOML file with any of these options, by their long names with underscores
    #[arg(long, env = "CAVRA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files to import, together in one transaction; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Database file
    #[arg(long, env = "CAVRA_DATABASE", value_name = "FILE", default_value = "cavra.db")]
    pub(crate) database: PathBuf,
    /// Leave out records that cannot be taken; without it, one of them stops the import
    #[arg(long)]
    pub(crate) skip_invalid: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Only records of this kind
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only records whose own time is not before this RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub(crate) since: Option<Timestamp>,
    /// Database file
    #[arg(long, env = "CAVRA_DATABASE", value_name = "FILE", default_value = "cavra.db")]
    pub(crate) database: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Database file
    #[arg(long, env = "CAVRA_DATABASE", value_name = "FILE", default_value = "cavra.db")]
    pub(crate) database: PathBuf,
    /// A checkpoint that was kept elsewhere: the log has to continue it
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
}

/// Who has to have seen the log.
#[derive(Debug, Args)]
pub(crate) struct Witnesses {
    /// A witness's public key, from somebody other than who gave you the package; the witness has to have seen all
    /// evidence that is in it. May be given several times
    #[arg(long = "witness", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// So many of these witnesses are enough [default: all of them]
    #[arg(long = "witnesses", value_name = "COUNT", requires = "keys")]
    pub(crate) needed: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The packages, as `Accept: application/vnd.dsse+json` gives them; `-` for standard input
    #[arg(required = true, value_name = "PACKAGE")]
    pub(crate) packages: Vec<PathBuf>,
    /// The public key that you trust, from somebody other than who gave you the package
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// An earlier package of the same log: proves that nothing was rewritten since
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) witnesses: Witnesses,
    /// Print one JSON object per package
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The package, as `Accept: application/vnd.dsse+json` gives it; `-` for standard input
    pub(crate) package: PathBuf,
    /// What to write
    #[arg(long)]
    pub(crate) format: ReportFormat,
    /// The public key that you trust, from somebody other than who gave you the package
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// An earlier package of the same log: proves that nothing was rewritten since
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) witnesses: Witnesses,
    /// The report's file; nothing is overwritten [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// What a row of CSV is [default: routes]
    #[arg(long, value_name = "ROWS")]
    pub(crate) rows: Option<ReportRows>,
    /// When the report says that it was made; the same arguments then give the same bytes [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub(crate) made_at: Option<Timestamp>,
}

/// A form of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One page without script, to read, print and keep.
    Html,
    /// Rows for spreadsheets (RFC 4180).
    Csv,
    /// OSCAL assessment results, version 1.1.3, as JSON.
    Oscal,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportRows {
    /// A route, with the acknowledgement that holds its state.
    Routes,
    /// An entry of a route's history.
    Acknowledgements,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make an Ed25519 signing key: FILE (mode 0600), FILE.pub, FILE.history
    Generate {
        /// The new private key's file; nothing is overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The log's name, one per log [default: cavra.log/ and random digits]
        #[arg(long)]
        name: Option<String>,
    },
    /// List the keys of a log, oldest first, from the history beside a key
    List {
        /// The private key's file, or its FILE.history
        file: PathBuf,
    },
    /// Make the next key of a log, endorsed by the present one; the present one stays where it is
    Rotate {
        /// The present private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The new private key's file; nothing is overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Cosign {
    /// A checkpoint of this log with the witnesses' signatures, as a file
    pub(crate) checkpoint: PathBuf,
    /// The log's public key: the checkpoint has to be signed by it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// A witness's public key, as a file; each has to have signed
    #[arg(long = "witness", required = true, value_name = "FILE")]
    pub(crate) witnesses: Vec<PathBuf>,
    /// Database file
    #[arg(long, env = "CAVRA_DATABASE", value_name = "FILE", default_value = "cavra.db")]
    pub(crate) database: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The new file; it must not be there yet
    pub(crate) file: PathBuf,
    /// Database file
    #[arg(long, env = "CAVRA_DATABASE", value_name = "FILE", default_value = "cavra.db")]
    pub(crate) database: PathBuf,
}

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "cavra", &mut script);
    crate::evidence::print(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}

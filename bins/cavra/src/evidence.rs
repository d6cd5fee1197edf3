//! `cavra import`, `export-evidence`, `check`, `backup`, and printing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cavra_app::import::{ImportOptions, ImportProgress, ImportReport, ImportSource, Refusal, sniff};
use cavra_app::system::{SystemClock, SystemIds};
use cavra_app::{App, AppError, Settings};
use cavra_evidence::note::{Checkpoint, Note};
use cavra_storage::published::SQLITE_MAGIC;
use cavra_storage::sqlite::{CheckReport, Finding, SqliteStore};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::arguments::{Backup, Check, Export, Import};

/// Says something to the person, beside the program's output.
pub(crate) fn say(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a program's output. A reader that has had enough (`| head`) is no error.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<ExitCode> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    print(&text)
}

/// The use cases over a store, for commands beside the service.
pub(crate) fn app(store: SqliteStore) -> App {
    App::new(
        Arc::new(store),
        Arc::new(SystemClock),
        Arc::new(SystemIds::default()),
        Settings::default(),
    )
}

pub(crate) fn import(import: &Import) -> anyhow::Result<ExitCode> {
    let sources = open_all(&import.files)?;
    let app = app(SqliteStore::open(&import.database)?);
    take(&app, sources, import.skip_invalid)
}

/// Imports files into a store that is open already.
pub(crate) fn import_into(app: &App, files: &[PathBuf], skip_invalid: bool) -> anyhow::Result<ExitCode> {
    take(app, open_all(files)?, skip_invalid)
}

fn open_all(files: &[PathBuf]) -> anyhow::Result<Vec<ImportSource>> {
    files.iter().map(|file| open(file)).collect()
}

fn open(path: &Path) -> anyhow::Result<ImportSource> {
    if path.as_os_str() == "-" {
        return sniff(Box::new(BufReader::new(io::stdin()))).context("cannot read standard input");
    }
    let cannot = || format!("cannot read `{}`", path.display());
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).with_context(cannot)?);
    if reader.fill_buf().with_context(cannot)?.starts_with(SQLITE_MAGIC) {
        return Ok(ImportSource::PublishedFile(path.to_owned()));
    }
    Ok(ImportSource::Text(Box::new(reader)))
}

fn take(app: &App, sources: Vec<ImportSource>, skip_invalid: bool) -> anyhow::Result<ExitCode> {
    let progress = Watched::new();
    match app.import(sources, ImportOptions { skip_invalid }, Box::new(progress)) {
        Ok(report) => {
            summary(&report);
            Ok(ExitCode::SUCCESS)
        }
        Err(AppError::ImportRefused(report)) => {
            say(&format!(
                "nothing was imported: {} of {} records cannot be taken (each is named above). Mend them, or use \
                 --skip-invalid to leave them out",
                report.refused_count, report.record_count
            ));
            Ok(ExitCode::from(1))
        }
        Err(AppError::ImportUnreadable(problem)) => {
            bail!("nothing was imported: the input cannot be read: {problem}")
        }
        Err(error) => Err(error).context("nothing was imported"),
    }
}

fn summary(report: &ImportReport) {
    say(&format!(
        "{} records read: {} imported, {} there already, {} refused",
        report.record_count, report.imported_count, report.unchanged_count, report.refused_count
    ));
    for (kind, count) in &report.kinds {
        say(&format!(
            "{count:>9}  {}",
            if kind.is_empty() { "(no kind)" } else { kind }
        ));
    }
    if report.repeated_route_count > 0 {
        say(&format!(
            "{} routes were named twice in their plans; the first of each counts",
            report.repeated_route_count
        ));
    }
    if report.orphaned_acknowledgement_count > 0 {
        say(&format!(
            "{} acknowledgements answer no known route; they are kept as evidence",
            report.orphaned_acknowledgement_count
        ));
    }
}

/// Progress for a person at a terminal; refused records for everybody.
struct Watched {
    bar: ProgressBar,
}

impl Watched {
    fn new() -> Self {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} records, {per_sec}, {elapsed}") {
            bar.set_style(style);
        }
        Self { bar }
    }
}

impl ImportProgress for Watched {
    fn read(&mut self, records: u64) {
        self.bar.set_position(records);
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.bar.suspend(|| {
            let key = if refusal.session_id.is_empty() {
                String::new()
            } else {
                format!(" `{}`", refusal.session_id)
            };
            say(&format!(
                "refused record {}{key}: {}",
                refusal.record, refusal.reason
            ));
        });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

pub(crate) fn export(export: &Export) -> anyhow::Result<ExitCode> {
    let app = app(SqliteStore::open_existing(&export.database)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = app.export_evidence(export.kind.as_deref(), export.since, &mut |record| {
        out.write_all(record.json.as_bytes())?;
        out.write_all(b"\n")
    });
    match written.map(|_| out.flush()) {
        Err(AppError::Storage(cavra_storage::StorageError::Input(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error).context("the export is not complete"),
        Ok(flushed) => flushed
            .context("the export is not complete")
            .map(|()| ExitCode::SUCCESS),
    }
}

pub(crate) fn check(check: &Check) -> anyhow::Result<ExitCode> {
    let store = SqliteStore::open_existing(&check.database)?;
    let watched = Watched::new();
    let report = store.check(&mut |position| watched.bar.set_position(position))?;
    drop(watched);
    let mut report = report;
    continues(&app(store), &check.checkpoint, &mut report)?;
    for finding in &report.findings {
        say(&format!("{}: {}", finding.place, finding.problem));
    }
    if let Some(root) = report.log_root {
        say(&format!(
            "the log has {} leaves and the root {root}",
            report.log_size
        ));
    }
    say(&format!(
        "{} records and {} packages checked, {} findings",
        report.record_count,
        report.package_count,
        report.findings.len()
    ));
    Ok(if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Holds the log against checkpoints that were kept elsewhere: whoever can rewrite the whole file can make it fit
/// together, but not make it fit these.
fn continues(app: &App, checkpoints: &[PathBuf], report: &mut CheckReport) -> anyhow::Result<()> {
    for path in checkpoints {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let kept = Note::parse(&text)
            .and_then(|note| Checkpoint::parse(&note.text))
            .with_context(|| format!("`{}` is not a checkpoint", path.display()))?;
        let now = match app.checkpoint(Some(kept.size)) {
            Err(AppError::NoSuchSize { .. }) => None,
            other => Note::parse(&other?)
                .and_then(|note| Checkpoint::parse(&note.text))
                .ok(),
        };
        if now.is_none_or(|now| now.root != kept.root) {
            report.findings.push(Finding {
                place: "log".to_owned(),
                problem: format!(
                    "it does not continue the checkpoint in `{}`: it was rewritten or cut",
                    path.display()
                ),
            });
        }
    }
    Ok(())
}

pub(crate) fn backup(backup: &Backup) -> anyhow::Result<ExitCode> {
    SqliteStore::open_existing(&backup.database)?
        .backup(&backup.file)
        .with_context(|| format!("cannot write `{}`; it must be a new file", backup.file.display()))?;
    say(&format!("copied to `{}`", backup.file.display()));
    Ok(ExitCode::SUCCESS)
}

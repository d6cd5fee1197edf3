//! `cavra report`: reads files, asks nobody, writes a report.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cavra_app::system::SystemClock;
use cavra_domain::time::Clock as _;
use cavra_evidence::verify::{Asked, Trust, Verdict};
use cavra_report::csv::Rows;
use cavra_report::{Input, csv, html, oscal};

use crate::arguments::{Report, ReportFormat, ReportRows};
use crate::evidence::say;
use crate::keys::read_public;
use crate::verify::{read, sentences};

pub(crate) fn run(arguments: &Report) -> anyhow::Result<ExitCode> {
    if arguments.rows.is_some() && arguments.format != ReportFormat::Csv {
        bail!("--rows belongs to --format csv");
    }
    let key = arguments.key.as_deref().map(read_public).transpose()?;
    let previous = arguments.previous.as_deref().map(read).transpose()?;
    let witnesses = arguments.witnesses.read()?;
    let report = cavra_report::Report::of(Input {
        package: read(&arguments.package)?,
        asked: Asked {
            trust: Trust { key: key.as_ref() },
            previous: previous.as_deref(),
            witnesses: &witnesses,
            witnesses_needed: arguments.witnesses.needed,
        },
        made_at: arguments.made_at.unwrap_or_else(|| SystemClock.now()),
    });
    if let Some(path) = &arguments.out {
        to_file(path, |out| written(arguments, &report, out))?;
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        match written(arguments, &report, &mut out).and_then(|()| out.flush()) {
            // A reader that has had enough (`| head`) is no error.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error).context("cannot write the report");
            }
            _ => {}
        }
    }
    let found = report.verification();
    say(sentences(&arguments.package, found).trim_end());
    Ok(if found.verdict == Verdict::Failed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn written(arguments: &Report, report: &cavra_report::Report, out: &mut impl io::Write) -> io::Result<()> {
    match arguments.format {
        ReportFormat::Html => html::write(report, out),
        ReportFormat::Csv => csv::write(
            report,
            match arguments.rows {
                None | Some(ReportRows::Routes) => Rows::Routes,
                Some(ReportRows::Acknowledgements) => Rows::Acknowledgements,
            },
            out,
        ),
        ReportFormat::Oscal => oscal::write(report, out),
    }
}

/// Writes a file that is there whole or not at all. Nothing is overwritten: the path might be the package's.
fn to_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> anyhow::Result<()> {
    let vacant = || {
        if path.symlink_metadata().is_ok() {
            bail!("`{}` is there already: nothing is overwritten", path.display());
        }
        Ok(())
    };
    vacant()?;
    let cannot = || format!("cannot write `{}`", path.display());
    let mut name = path.file_name().with_context(cannot)?.to_owned();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let file = File::options()
        .write(true)
        .create_new(true)
        .open(&part)
        .with_context(|| format!("cannot make `{}`", part.display()))?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let done = write(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| out.get_ref().sync_all())
        .with_context(cannot)
        .and_then(|()| vacant())
        .and_then(|()| fs::rename(&part, path).with_context(cannot));
    if done.is_err() {
        let _ = fs::remove_file(&part);
    }
    done
}

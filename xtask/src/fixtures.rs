//! The files under `fixtures/`: written by this module, compared with what is committed by `--check`.
//!
//! `quickstart.json` is a store as the published system leaves it behind: the demo starts from it, the documentation
//! quotes it, and it is the first thing that somebody imports. Nothing in it is drawn or dated by a clock: the tables in
//! `tables.rs` tell a story as it stands at `FIXTURE_NOW`, and everything else is derived from them.

mod delivery;
mod drills;
mod foreign;
mod release;
mod schedules;
mod tables;
#[cfg(test)]
mod tests;
mod wire;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::workspace::Workspace;

/// The store that the demo starts from.
pub const QUICKSTART: &str = "fixtures/quickstart.json";

/// Writes the fixtures, or with `check` compares them with what is committed.
pub fn run(check: bool) -> anyhow::Result<()> {
    settle(Workspace::load()?.root(), check)
}

/// Writes the files below `root`, or compares them and fails naming the first that differs.
fn settle(root: &Path, check: bool) -> anyhow::Result<()> {
    let files = files()?;
    let mut written = 0;
    for (name, text) in &files {
        let path = root.join(name);
        let found = match fs::read_to_string(&path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        };
        if found.as_ref() == Some(text) {
            continue;
        }
        if check {
            let what = if found.is_some() {
                "differs from what the generator gives"
            } else {
                "is missing"
            };
            bail!("{name} {what}; run `cargo xtask fixtures`, read the diff and commit it");
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder of {name}"))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {name}"))?;
        println!("wrote {name}");
        written += 1;
    }
    if written == 0 {
        println!("all {} fixtures are up to date", files.len());
    }
    Ok(())
}

/// Every file: its path from the root, and its text.
fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    [
        (QUICKSTART, quickstart()),
        (
            "fixtures/schedules/payments-ledger-monthly.json",
            schedules::full(),
        ),
        ("fixtures/schedules/search-index-weekly.json", schedules::simple()),
        ("fixtures/drill-history.json", schedules::drill_history()),
    ]
    .into_iter()
    .map(|(name, mut document)| {
        document.sort_all_objects();
        Ok((name, serde_json::to_string_pretty(&document)? + "\n"))
    })
    .collect()
}

/// The published store: every record, sorted by its id.
fn quickstart() -> Value {
    let drills = drills::Drills::new();
    let mut records = drills.records();
    records.extend(delivery::notifications(&drills));
    records.extend(delivery::audit_packages(&drills));
    records.extend(release::records());
    records.extend(foreign::records());
    records.sort_by_cached_key(|record| wire::text(record, "session_id").to_owned());
    json!({ "items": records })
}

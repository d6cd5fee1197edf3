//! `cavra keys`, `cavra cosign`, and where `cavra api` gets its signing key from.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cavra_app::system::SystemClock;
use cavra_domain::time::Clock as _;
use cavra_evidence::note::{SigningKey, VerifierKey, verify_endorsement};
use cavra_evidence::package::{KeyEntry, KeyHistory, Signer};
use cavra_storage::sqlite::SqliteStore;

use crate::arguments::{Cosign, Keys, Witnesses};
use crate::evidence::{app, print, say};

/// The variable that may hold the private key's text.
const KEY_VARIABLE: &str = "CAVRA_SIGNING_KEY";

/// A private key is not longer than this, in bytes.
const KEY_BYTES: u64 = 4_096;

pub(crate) fn run(keys: &Keys) -> anyhow::Result<ExitCode> {
    match keys {
        Keys::Generate { out, name } => generate(out, name.as_deref()),
        Keys::List { file } => list(file),
        Keys::Rotate { key, out } => rotate(key, out),
    }
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
    Ok(bytes)
}

fn generate(out: &Path, name: Option<&str>) -> anyhow::Result<ExitCode> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => format!("cavra.log/{:016x}", u64::from_be_bytes(random()?)),
    };
    let key = SigningKey::new(&name, &random()?)?;
    keep(out, &key, &KeyHistory::first(&key.verifier()))
}

fn rotate(old: &Path, out: &Path) -> anyhow::Result<ExitCode> {
    let key = read_private(old)?;
    let history = read_history(&beside(old, ".history"))?;
    let signer = Signer::new(key, Some(history))
        .with_context(|| format!("`{}` is not the newest key of its history", old.display()))?;
    let old = signer.key();
    let next = SigningKey::new(old.verifier().name(), &random()?)?;
    let history = signer.history().rotated(old, &next.verifier(), SystemClock.now());
    keep(out, &next, &history)
}

/// Writes a key and what is public of it; the private file first, and none over another.
fn keep(out: &Path, key: &SigningKey, history: &KeyHistory) -> anyhow::Result<ExitCode> {
    let (public, keys) = (beside(out, ".pub"), beside(out, ".history"));
    for file in [out, &public, &keys] {
        if file.exists() {
            bail!("`{}` is there already; nothing is overwritten", file.display());
        }
    }
    write_new(out, 0o600, &format!("{}\n", key.to_private_text()))?;
    write_new(&public, 0o644, &format!("{}\n", key.verifier()))?;
    let mut text = serde_json::to_string_pretty(history.entries())?;
    text.push('\n');
    write_new(&keys, 0o644, &text)?;
    say(&format!("private key, mode 0600: `{}`", out.display()));
    say(&format!(
        "public key, for whoever verifies: `{}`",
        public.display()
    ));
    print(format!("{}\n", key.verifier()).as_bytes())
}

fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(cannot)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(cannot)
}

fn list(file: &Path) -> anyhow::Result<ExitCode> {
    let given = file.extension().is_some_and(|ending| ending == "history");
    let path = if given {
        file.to_owned()
    } else {
        beside(file, ".history")
    };
    let history = read_history(&path)?;
    let mut text = String::new();
    let mut before: Option<&VerifierKey> = None;
    for (entry, key) in history.entries().iter().zip(history.keys()) {
        let said = match (before, &entry.endorsement) {
            (Some(old), Some(note)) => {
                let at = verify_endorsement(note, old, key)?;
                format!("endorsed by {} at {at}", old.key_id())
            }
            _ => "first key".to_owned(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key}  {said}");
        before = Some(key);
    }
    print(text.as_bytes())
}

fn read_history(path: &Path) -> anyhow::Result<KeyHistory> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let entries: Vec<KeyEntry> =
        serde_json::from_str(&text).with_context(|| format!("`{}` is not a key history", path.display()))?;
    KeyHistory::parse(entries).with_context(|| format!("`{}` is not a key history", path.display()))
}

/// Reads a private key; one that others may read is refused, because it is none any more.
fn read_private(path: &Path) -> anyhow::Result<SigningKey> {
    let cannot = || format!("cannot read `{}`", path.display());
    let file = fs::metadata(path).with_context(cannot)?;
    if file.permissions().mode() & 0o077 != 0 {
        bail!(
            "`{}` can be read by others, so it is no private key any more: make another, or `chmod 600` it if you are \
             sure that nobody did",
            path.display()
        );
    }
    parse_private(&fs::read_to_string(path).with_context(cannot)?).with_context(|| {
        format!(
            "`{}` is not a private key of `cavra keys generate`",
            path.display()
        )
    })
}

fn parse_private(text: &str) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::parse(text)?)
}

/// The public key in a file.
pub(crate) fn read_public(path: &Path) -> anyhow::Result<VerifierKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    VerifierKey::parse(&text).with_context(|| format!("`{}` is not a public key", path.display()))
}

/// The public keys of witnesses in these files, each once.
pub(crate) fn read_witnesses(paths: &[PathBuf]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut witnesses: Vec<VerifierKey> = Vec::new();
    for path in paths {
        let key = read_public(path)?;
        if !key.is_witness() {
            bail!("`{}` is a key, and not one of a witness", path.display());
        }
        if witnesses.contains(&key) {
            bail!(
                "`{}` has the key of a witness that was given before",
                path.display()
            );
        }
        witnesses.push(key);
    }
    Ok(witnesses)
}

impl Witnesses {
    /// The keys, if as many are needed as can be there.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<VerifierKey>> {
        let witnesses = read_witnesses(&self.keys)?;
        if self
            .needed
            .is_some_and(|needed| needed == 0 || needed > witnesses.len())
        {
            bail!(
                "--witnesses is a number from 1 to {}, as many as are given with --witness",
                witnesses.len()
            );
        }
        Ok(witnesses)
    }
}

/// What `cavra api` signs with: a file, an inherited descriptor, or the environment.
pub(crate) fn signer(
    file: Option<&Path>,
    descriptor: Option<u32>,
    history: Option<&Path>,
) -> anyhow::Result<Option<Signer>> {
    let in_environment = std::env::var(KEY_VARIABLE)
        .ok()
        .filter(|text| !text.trim().is_empty());
    let key = match (file, descriptor, in_environment) {
        (Some(file), None, None) => read_private(file)?,
        (None, Some(number), None) => {
            let mut text = String::new();
            let read = fs::File::open(format!("/dev/fd/{number}")).and_then(|file| {
                std::io::Read::read_to_string(&mut std::io::Read::take(file, KEY_BYTES), &mut text)
            });
            read.with_context(|| format!("cannot read a signing key from descriptor {number}"))?;
            parse_private(&text).with_context(|| format!("descriptor {number} gives no private key"))?
        }
        (None, None, Some(text)) => {
            parse_private(&text).with_context(|| format!("`{KEY_VARIABLE}` holds no private key"))?
        }
        (None, None, None) => return Ok(None),
        _ => bail!("several signing keys are given; give one: a file, a descriptor, or `{KEY_VARIABLE}`"),
    };
    let beside_file = file
        .map(|file| beside(file, ".history"))
        .filter(|path| path.exists());
    let history = match (history, beside_file) {
        (Some(path), _) => Some(read_history(path)?),
        (None, Some(path)) => Some(read_history(&path)?),
        (None, None) => None,
    };
    let signer = Signer::new(key, history).context("the signing key is not the newest key of its history")?;
    Ok(Some(signer))
}

pub(crate) fn cosign(cosign: &Cosign) -> anyhow::Result<ExitCode> {
    let note = fs::read_to_string(&cosign.checkpoint)
        .with_context(|| format!("cannot read `{}`", cosign.checkpoint.display()))?;
    let witnesses = read_witnesses(&cosign.witnesses)?;
    let app = app(SqliteStore::open_existing(&cosign.database)?);
    let size = app
        .add_cosignatures(&note, &read_public(&cosign.key)?, &witnesses)
        .context("nothing was added")?;
    say(&format!(
        "what {} witnesses have signed is kept for the log of {size}: see /log/checkpoint/{size}; packages that are \
         fetched from now on carry it",
        witnesses.len()
    ));
    Ok(ExitCode::SUCCESS)
}

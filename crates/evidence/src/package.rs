//! The signed audit package: what stands in the payload of its DSSE envelope, and how it is written piece by piece.
//!
//! Everything that is hashed somewhere (the package's text, the records, the leaves) stands in the payload as a JSON
//! text, byte for byte: nobody who checks it has to write JSON as we do. See ADR 0022 and `docs/verify/FORMAT.md`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::note::{NoteError, SigningKey, VerifierKey, verify_endorsement};

/// Schema of the payload.
pub const PACKAGE_SCHEMA: &str = "cavra.signed-audit-package.v1";

/// The payload's type, as the envelope names it.
pub const PAYLOAD_TYPE: &str = "application/vnd.cavra.audit-package+json";

/// The origin of a log that nobody signs.
pub const UNSIGNED_ORIGIN: &str = "cavra.unsigned";

/// A key that has signed for this log, with what its predecessor says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// The public key.
    pub key: String,
    /// The predecessor's endorsement, a signed note; none for the first key.
    pub endorsement: Option<String>,
}

/// The keys of a log, oldest first: each endorsed by the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyHistory {
    entries: Vec<KeyEntry>,
    keys: Vec<VerifierKey>,
}

impl KeyHistory {
    /// The history of a first key.
    pub fn first(key: &VerifierKey) -> Self {
        Self {
            entries: vec![KeyEntry {
                key: key.to_string(),
                endorsement: None,
            }],
            keys: vec![key.clone()],
        }
    }

    /// Takes a history whose every endorsement is right.
    ///
    /// # Errors
    /// [`NoteError`] of the first entry that is wrong.
    pub fn parse(entries: Vec<KeyEntry>) -> Result<Self, NoteError> {
        let mut keys: Vec<VerifierKey> = Vec::new();
        for entry in &entries {
            let key = VerifierKey::parse(&entry.key)?;
            if key.to_string() != entry.key || key.is_witness() {
                return Err(NoteError::Key);
            }
            match (keys.last(), &entry.endorsement) {
                (None, None) => {}
                (Some(old), Some(note)) => {
                    verify_endorsement(note, old, &key)?;
                    // A log keeps its name.
                    if old.name() != key.name() {
                        return Err(NoteError::Name);
                    }
                }
                _ => return Err(NoteError::Note),
            }
            keys.push(key);
        }
        Ok(Self { entries, keys })
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    /// The keys, oldest first.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// The key that signs now.
    pub fn current(&self) -> Option<&VerifierKey> {
        self.keys.last()
    }

    /// The history with one more key, endorsed by the private half of the current one.
    #[must_use]
    pub fn rotated(&self, old: &SigningKey, next: &VerifierKey, at: cavra_domain::time::Timestamp) -> Self {
        let mut rotated = self.clone();
        rotated.entries.push(KeyEntry {
            key: next.to_string(),
            endorsement: Some(old.endorse(next, at)),
        });
        rotated.keys.push(next.clone());
        rotated
    }
}

/// A key to sign with, and its history, whose current key it is.
#[derive(Clone, Debug)]
pub struct Signer {
    key: SigningKey,
    history: KeyHistory,
}

impl Signer {
    /// A key with its history; without one, the key is the first.
    ///
    /// # Errors
    /// [`NoteError::Key`] when the history's current key is another.
    pub fn new(key: SigningKey, history: Option<KeyHistory>) -> Result<Self, NoteError> {
        let history = history.unwrap_or_else(|| KeyHistory::first(&key.verifier()));
        if history.current() == Some(&key.verifier()) {
            Ok(Self { key, history })
        } else {
            Err(NoteError::Key)
        }
    }

    /// The key.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Its history.
    pub const fn history(&self) -> &KeyHistory {
        &self.history
    }
}

/// How far a package can prove that nothing is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every leaf of the log is in it, and with it every route: what is missing shows.
    Whole,
    /// The evidence of the schedules that its routes belong to, each record with its inclusion proof. That none of it is
    /// left out is the signer's word.
    Filtered,
}

/// The scope of a package with these filters (see `FilterNote`): whole when nothing but the action is filtered.
pub fn scope_of(filters: &Map<String, Value>) -> Scope {
    let filtered = filters.iter().any(|(term, value)| {
        term != "action" && term != "cycle" && !value.is_null() && value.as_str() != Some("")
    });
    if filtered { Scope::Filtered } else { Scope::Whole }
}

/// A record with its leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedRecord {
    /// The leaf's bytes.
    pub leaf: String,
    /// The inclusion proof; empty in a whole package, which has all leaves.
    pub proof: Vec<Digest>,
    /// The record's canonical JSON.
    pub record: String,
}

/// A proof that an earlier state of the log is the beginning of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedConsistency {
    /// The earlier size.
    pub size: u64,
    /// The proof.
    pub proof: Vec<Digest>,
}

/// A checkpoint of another size of the log that witnesses have signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedWitnessed {
    /// The checkpoint with the witnesses' lines: a signed note.
    pub checkpoint: String,
    /// The consistency proof between it and the package's own checkpoint, from the smaller to the larger.
    pub proof: Vec<Digest>,
}

/// What the package says it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The package.
    pub audit_id: String,
    /// How far it proves that nothing is left out.
    pub scope: Scope,
    /// SHA-256 of its text.
    pub package_sha256: Digest,
    /// Length of its text in bytes.
    pub package_bytes: u64,
    /// Records in it, its own included.
    pub record_count: u64,
    /// Leaves in it whose records are not.
    pub leaf_count: u64,
    /// Leaves of the log, up to the package's own record.
    pub tree_size: u64,
    /// Root of the log.
    pub root: Digest,
    /// Whether a key has signed it.
    pub signed: bool,
}

/// The payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// [`PACKAGE_SCHEMA`].
    pub schema_version: String,
    /// The package's text: the published JSON shape, byte for byte as stored.
    pub audit_package: String,
    /// Plans and acknowledgements, and last the package's own record; in log order.
    pub records: Vec<PackedRecord>,
    /// In a whole package, the leaves of all other records, in log order.
    pub leaves: Vec<String>,
    /// Earlier sizes of the log for which it is shown that nothing was rewritten.
    pub consistency: Vec<PackedConsistency>,
    /// The log's keys; empty when nobody signs.
    pub keys: Vec<KeyEntry>,
    /// The log's checkpoint at [`Manifest::tree_size`]: a signed note.
    pub checkpoint: String,
    /// Checkpoints of other sizes that witnesses have signed, by size. The member is there only when there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnessed: Vec<PackedWitnessed>,
    /// What is in it.
    pub manifest: Manifest,
}

/// Writes a payload piece by piece, in the order of its methods.
#[derive(Debug)]
pub struct PayloadWriter<W> {
    out: W,
    section: Section,
    /// How many bytes were written.
    bytes: u64,
    record_count: u64,
    leaf_count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Package,
    Records,
    Leaves,
}

impl<W: Write> PayloadWriter<W> {
    /// Begins a payload.
    ///
    /// # Errors
    /// The writer's, as everywhere here.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self {
            out,
            section: Section::Package,
            bytes: 0,
            record_count: 0,
            leaf_count: 0,
        };
        writer.put(&format!(
            "{{\"schema_version\":\"{PACKAGE_SCHEMA}\",\"audit_package\":\""
        ))?;
        Ok(writer)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.out.write_all(text.as_bytes())
    }

    /// A piece of the package's text.
    ///
    /// # Errors
    /// The writer's.
    pub fn package_text(&mut self, piece: &str) -> io::Result<()> {
        let quoted = serde_json::to_string(piece)?;
        self.put(quoted.get(1..quoted.len() - 1).unwrap_or_default())
    }

    fn enter(&mut self, section: Section) -> io::Result<bool> {
        let text = match (self.section, section) {
            (Section::Package, Section::Records) => "\",\"records\":[",
            (Section::Package, Section::Leaves) => "\",\"records\":[],\"leaves\":[",
            (Section::Records, Section::Leaves) => "],\"leaves\":[",
            _ => return Ok(false),
        };
        self.put(text)?;
        self.section = section;
        Ok(true)
    }

    /// The next record.
    ///
    /// # Errors
    /// The writer's.
    pub fn record(&mut self, record: &PackedRecord) -> io::Result<()> {
        if !self.enter(Section::Records)? {
            self.put(",")?;
        }
        self.record_count += 1;
        self.put(&serde_json::to_string(record)?)
    }

    /// The next leaf whose record is not in the package.
    ///
    /// # Errors
    /// The writer's.
    pub fn leaf(&mut self, leaf: &str) -> io::Result<()> {
        if !self.enter(Section::Leaves)? {
            self.put(",")?;
        }
        self.leaf_count += 1;
        self.put(&serde_json::to_string(leaf)?)
    }

    /// Ends the payload; gives the writer back and the payload's length.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(
        mut self,
        consistency: &[PackedConsistency],
        keys: &[KeyEntry],
        checkpoint: &str,
        witnessed: &[PackedWitnessed],
        manifest: impl FnOnce(u64, u64) -> Manifest,
    ) -> io::Result<(W, u64)> {
        self.enter(Section::Leaves)?;
        let manifest = manifest(self.record_count, self.leaf_count);
        self.put(&format!(
            "],\"consistency\":{},\"keys\":{},\"checkpoint\":{}",
            serde_json::to_string(consistency)?,
            serde_json::to_string(keys)?,
            serde_json::to_string(checkpoint)?,
        ))?;
        if !witnessed.is_empty() {
            self.put(&format!(",\"witnessed\":{}", serde_json::to_string(witnessed)?))?;
        }
        self.put(&format!(",\"manifest\":{}}}", serde_json::to_string(&manifest)?))?;
        Ok((self.out, self.bytes))
    }
}

impl Payload {
    /// The payload as its writer writes it.
    ///
    /// # Errors
    /// Never in memory.
    pub fn to_text(&self) -> io::Result<Vec<u8>> {
        let mut writer = PayloadWriter::new(Vec::new())?;
        writer.package_text(&self.audit_package)?;
        for record in &self.records {
            writer.record(record)?;
        }
        for leaf in &self.leaves {
            writer.leaf(leaf)?;
        }
        let (text, _) = writer.finish(
            &self.consistency,
            &self.keys,
            &self.checkpoint,
            &self.witnessed,
            |_, _| self.manifest.clone(),
        )?;
        Ok(text)
    }
}

/// The schedules of a package's routes.
///
/// # Errors
/// When the text is no package.
pub fn schedules(text: impl io::Read) -> serde_json::Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Package {
        routes: Vec<Route>,
    }
    #[derive(Deserialize)]
    struct Route {
        schedule_id: String,
    }
    let package: Package = serde_json::from_reader(text)?;
    Ok(package
        .routes
        .into_iter()
        .map(|route| route.schedule_id)
        .collect())
}

#[cfg(test)]
mod tests {
    use cavra_domain::time::Timestamp;
    use serde_json::json;

    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::new("log", &[byte; 32]).unwrap()
    }

    #[test]
    fn a_history_holds_only_endorsed_keys() {
        let at = Timestamp::EPOCH;
        let first = KeyHistory::first(&key(1).verifier());
        let second = first.rotated(&key(1), &key(2).verifier(), at);
        assert_eq!(KeyHistory::parse(second.entries().to_vec()), Ok(second.clone()));
        let forged = first.rotated(&key(3), &key(2).verifier(), at);
        assert!(KeyHistory::parse(forged.entries().to_vec()).is_err());
        assert!(KeyHistory::parse(second.entries()[1..].to_vec()).is_err());
        let mut bare = second.entries().to_vec();
        bare[1].endorsement = None;
        assert!(KeyHistory::parse(bare).is_err());
        assert!(Signer::new(key(2), Some(second.clone())).is_ok());
        assert!(Signer::new(key(1), Some(second)).is_err());
    }

    #[test]
    fn the_writer_writes_what_serde_writes() {
        let mut payload = Payload {
            schema_version: PACKAGE_SCHEMA.to_owned(),
            audit_package: "{\"a\":\"é\\n\"}".to_owned(),
            records: vec![PackedRecord {
                leaf: "{}".into(),
                proof: vec![Digest::of("x")],
                record: "{\"b\":1}".into(),
            }],
            leaves: vec!["l".into(), "m".into()],
            consistency: vec![PackedConsistency {
                size: 3,
                proof: Vec::new(),
            }],
            keys: Vec::new(),
            checkpoint: "c\n".into(),
            witnessed: vec![PackedWitnessed {
                checkpoint: "w\n".into(),
                proof: vec![Digest::of("z")],
            }],
            manifest: Manifest {
                audit_id: "a".into(),
                scope: Scope::Whole,
                package_sha256: Digest::of("x"),
                package_bytes: 1,
                record_count: 1,
                leaf_count: 2,
                tree_size: 3,
                root: Digest::of("y"),
                signed: false,
            },
        };
        for _ in 0..3 {
            assert_eq!(payload.to_text().unwrap(), serde_json::to_vec(&payload).unwrap());
            if payload.leaves.is_empty() {
                payload.records.clear();
                payload.witnessed.clear();
            }
            payload.leaves.clear();
        }
    }

    #[test]
    fn a_scope_is_whole_when_only_the_action_is_filtered() {
        let of = |filters: Value| scope_of(filters.as_object().unwrap());
        let whole =
            json!({ "schedule_id": "", "owner": "", "action": "deliver", "breached": null, "cycle": "all" });
        assert_eq!(of(whole), Scope::Whole);
        for (term, value) in [
            ("owner", json!("a")),
            ("breached", json!(false)),
            ("state", json!("resolved")),
        ] {
            assert_eq!(of(json!({ term: value })), Scope::Filtered, "{term}");
        }
    }
}

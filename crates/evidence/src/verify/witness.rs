//! The checkpoints that a package carries, and what witnesses have signed under them.

use cavra_domain::time::Timestamp;
use serde::Serialize;

use super::{Asked, CheckName, Failure, OpenRecord, fail, whole};
use crate::merkle::verify_consistency;
use crate::note::{Checkpoint, Note, NoteError, NoteSignature, VerifierKey};
use crate::package::{KeyHistory, UNSIGNED_ORIGIN};
use crate::verify::packed::Packed;

/// How far a witness's clock may be behind the service's, in seconds: a record that is said to be recorded later than
/// a witness saw it has a wrong time.
pub const CLOCK_TOLERANCE_SECONDS: u32 = 300;

/// What a witness has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cosignature {
    /// The witness, by the name and hash of its key.
    pub witness: String,
    /// How many leaves the log had that it saw.
    pub tree_size: u64,
    /// When it saw it; only where that was checked.
    pub cosigned_at: Option<Timestamp>,
    /// Whether it was checked: with the witness's key, given out of band.
    pub checked: bool,
}

/// A checkpoint of the log, signed by its key.
struct Signed {
    note: Note,
    checkpoint: Checkpoint,
}

/// The checkpoints of a package: its own, and those of other sizes that witnesses have signed.
pub(super) struct Checkpoints {
    own: Signed,
    others: Vec<Signed>,
}

fn signed(text: &str, keys: &KeyHistory) -> Result<Signed, String> {
    let note = Note::parse(text).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| error.to_string())?;
    let origin = keys.current().map_or(UNSIGNED_ORIGIN, VerifierKey::name);
    if checkpoint.origin != origin {
        return Err("it is the checkpoint of another log".to_owned());
    }
    if let Some(key) = keys.current() {
        note.verify(key).map_err(|error| error.to_string())?;
    }
    Ok(Signed { note, checkpoint })
}

impl Checkpoints {
    pub(super) fn open(payload: &Packed<'_>, keys: &KeyHistory) -> Result<Self, Failure> {
        let own =
            signed(&payload.checkpoint, keys).map_err(|problem| whole(CheckName::Checkpoint, problem))?;
        let mut checkpoints = Self {
            own,
            others: Vec::new(),
        };
        for (number, packed) in payload.witnessed.iter().enumerate() {
            let wrong =
                |problem: String| fail(CheckName::Checkpoint, format!("witnessed[{number}]"), problem);
            let other = signed(&packed.checkpoint, keys).map_err(wrong)?;
            let (size, own) = (other.checkpoint.size, &checkpoints.own.checkpoint);
            let before = checkpoints.others.last().map_or(0, |last| last.checkpoint.size);
            if size <= before || size == own.size {
                return Err(wrong("it does not stand in its place".to_owned()));
            }
            let (old, new) = if size < own.size {
                (&other.checkpoint, own)
            } else {
                (own, &other.checkpoint)
            };
            verify_consistency(old.size, new.size, &packed.proof, old.root, new.root)
                .map_err(|_| wrong("it is not shown to be of the same log".to_owned()))?;
            checkpoints.others.push(other);
        }
        Ok(checkpoints)
    }

    /// The package's own.
    pub(super) const fn own(&self) -> &Checkpoint {
        &self.own.checkpoint
    }

    /// Everything that is cosigned, and whether the witnesses that were asked for have seen all evidence that is in
    /// the package. `records` are all its records; the last is its own.
    pub(super) fn cosignatures(
        &self,
        asked: &Asked<'_>,
        keys: &KeyHistory,
        records: &[OpenRecord],
    ) -> Result<Vec<Cosignature>, Failure> {
        let evidence = records
            .iter()
            .rev()
            .find(|record| record.leaf.is_route_evidence());
        let newest = evidence.map_or(0, |record| record.leaf.position);
        let mut checked: Vec<Cosignature> = Vec::new();
        let mut missing: Vec<Failure> = Vec::new();
        for witness in asked.witnesses {
            let before = checked.len();
            for signed in self.all() {
                let size = signed.checkpoint.size;
                match signed.note.verify(witness) {
                    Err(NoteError::Unsigned(_)) => {}
                    said => {
                        let wrong = |problem| fail(CheckName::Witnesses, witness.key_id(), problem);
                        let seconds = said.map_err(|error| wrong(error.to_string()))?;
                        let at = plausible(seconds, size, records).map_err(wrong)?;
                        checked.push(Cosignature {
                            witness: witness.key_id(),
                            tree_size: size,
                            cosigned_at: Some(at),
                            checked: true,
                        });
                    }
                }
            }
            let sizes = checked.iter().skip(before).map(|seen| seen.tree_size);
            match sizes.max() {
                Some(size) if size >= newest => {}
                seen => {
                    let problem = match seen {
                        None => "it has signed no checkpoint that is in the package".to_owned(),
                        Some(size) => {
                            format!("it has seen the log of {size} leaves, and record {newest} came later")
                        }
                    };
                    missing.push(fail(CheckName::Witnesses, witness.key_id(), problem));
                }
            }
        }
        let needed = asked.witnesses_needed.unwrap_or(asked.witnesses.len());
        if asked.witnesses.len() - missing.len() < needed {
            return Err(missing
                .into_iter()
                .next()
                .unwrap_or_else(|| whole(CheckName::Witnesses, "fewer were given than are needed")));
        }
        Ok(self.named(keys, &checked))
    }

    fn all(&self) -> impl Iterator<Item = &Signed> {
        std::iter::once(&self.own).chain(&self.others)
    }

    /// Every cosignature in the order of the package, those that were checked and those that were not.
    fn named(&self, keys: &KeyHistory, checked: &[Cosignature]) -> Vec<Cosignature> {
        let mut named = Vec::new();
        for Signed { note, checkpoint } in self.all() {
            let of_log = |line: &NoteSignature| keys.current().is_some_and(|key| line.is_by(key));
            for line in note.signatures.iter().filter(|line| !of_log(line)) {
                let unchecked = Cosignature {
                    witness: line.key_id(),
                    tree_size: checkpoint.size,
                    cosigned_at: None,
                    checked: false,
                };
                let checked = checked.iter().find(|checked| {
                    (&checked.witness, checked.tree_size) == (&unchecked.witness, unchecked.tree_size)
                });
                named.push(checked.cloned().unwrap_or(unchecked));
            }
        }
        named
    }
}

/// The time of a cosignature, when it is one: nobody has seen a record before it was recorded.
fn plausible(seconds: Option<u64>, size: u64, records: &[OpenRecord]) -> Result<Timestamp, String> {
    let micros = seconds
        .and_then(|seconds| i64::try_from(seconds).ok())
        .and_then(|seconds| seconds.checked_mul(1_000_000));
    let at = micros
        .and_then(Timestamp::from_micros)
        .ok_or("its time is none that there is")?;
    let latest = at.plus_micros(i64::from(CLOCK_TOLERANCE_SECONDS) * 1_000_000);
    let early = records
        .iter()
        .take_while(|record| record.leaf.position <= size)
        .find(|record| record.leaf.recorded_at > latest);
    match early {
        None => Ok(at),
        Some(record) => Err(format!(
            "it says that it saw the log at {at}, and record {} says that it was recorded at {}",
            record.leaf.position, record.leaf.recorded_at
        )),
    }
}

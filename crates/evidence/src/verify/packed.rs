//! A payload as it lies in memory: its long texts stay where they are, quoted, until one of them is looked at.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::package::{
    KeyEntry, Manifest, PACKAGE_SCHEMA, PackedConsistency, PackedRecord, PackedWitnessed, PayloadWriter,
};

/// How much of a text is written at once.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Packed<'a> {
    schema_version: String,
    #[serde(borrow)]
    audit_package: &'a RawValue,
    #[serde(borrow)]
    pub(super) records: Vec<RawRecord<'a>>,
    #[serde(borrow)]
    pub(super) leaves: Vec<&'a RawValue>,
    pub(super) consistency: Vec<PackedConsistency>,
    pub(super) keys: Vec<KeyEntry>,
    pub(super) checkpoint: String,
    #[serde(default)]
    pub(super) witnessed: Vec<PackedWitnessed>,
    pub(super) manifest: Manifest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRecord<'a> {
    #[serde(borrow)]
    pub(super) leaf: &'a RawValue,
    pub(super) proof: Vec<Digest>,
    #[serde(borrow)]
    pub(super) record: &'a RawValue,
}

/// The text in a JSON string; `None` when it is something else.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get())
        .ok()
        .map(|Text(text)| text)
}

/// The text in a JSON string of an opened payload, where every one has been read before.
pub(super) fn unquoted(raw: &RawValue) -> Cow<'_, str> {
    text(raw).unwrap_or_default()
}

impl<'a> Packed<'a> {
    /// Reads a payload that is written as a payload is: what is hashed and signed is what was read.
    pub(super) fn open(payload: &'a [u8]) -> Result<Self, &'static str> {
        let packed: Self =
            serde_json::from_slice(payload).map_err(|_| "it is not the JSON of a signed audit package")?;
        let left = packed
            .written(payload)
            .map_err(|_| "it is not written as a signed audit package is")?;
        if !left.is_empty() {
            return Err("it is not written as a signed audit package is");
        }
        if packed.schema_version != PACKAGE_SCHEMA {
            return Err("its schema is not one that is known here");
        }
        Ok(packed)
    }

    /// The package's text.
    pub(super) fn audit_package(&self) -> String {
        unquoted(self.audit_package).into_owned()
    }

    /// Writes the payload as its writer does and holds it against what is there; gives what is left of that.
    fn written<'p>(&self, payload: &'p [u8]) -> io::Result<&'p [u8]> {
        let read = |raw: &RawValue| text(raw).map(Cow::into_owned).ok_or(io::ErrorKind::InvalidData);
        let mut writer = PayloadWriter::new(Same(payload))?;
        if self.schema_version != PACKAGE_SCHEMA {
            // The writer knows one schema. Another one is said to be that, and not to be misspelt.
            return Ok(&[]);
        }
        let package = text(self.audit_package).ok_or(io::ErrorKind::InvalidData)?;
        let mut rest = package.as_ref();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            writer.package_text(piece)?;
            rest = behind;
        }
        for record in &self.records {
            writer.record(&PackedRecord {
                leaf: read(record.leaf)?,
                proof: record.proof.clone(),
                record: read(record.record)?,
            })?;
        }
        for leaf in &self.leaves {
            writer.leaf(&read(leaf)?)?;
        }
        let (Same(left), _) = writer.finish(
            &self.consistency,
            &self.keys,
            &self.checkpoint,
            &self.witnessed,
            |_, _| self.manifest.clone(),
        )?;
        Ok(left)
    }
}

/// A writer that takes nothing but what it expects.
struct Same<'a>(&'a [u8]);

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

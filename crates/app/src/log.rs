//! The evidence log as others read it: checkpoints, tiles, bundles of leaves, and what witnesses sign.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use cavra_evidence::digest::Digest;
use cavra_evidence::merkle;
use cavra_evidence::note::{Checkpoint, Note, NoteError, NoteSignature, VerifierKey};
use cavra_evidence::package::{PackedWitnessed, Signer, UNSIGNED_ORIGIN};
use cavra_evidence::tiles::{
    TILE_WIDTH, TileError, TileNodes, TilePath, parse_tile_path, push_entry, tile_width,
};
use cavra_storage::{LogTiles, ReadTx, StorageError};

use crate::{App, AppError};

/// A tile's error is a storage error, or a tile that is too short: damage either way.
pub(crate) fn damaged(error: TileError<StorageError>) -> StorageError {
    match error {
        TileError::Store(error) => error,
        short @ TileError::Short { .. } => StorageError::Corrupt(short.to_string()),
    }
}

/// The root of the log's first `size` leaves.
pub(crate) fn root(tx: &dyn ReadTx, size: u64) -> Result<Digest, StorageError> {
    merkle::root(&TileNodes(&LogTiles(tx)), size).map_err(damaged)
}

/// Whether what witnesses have signed is told as well. That may be more each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cosigned {
    AsKnown,
    Never,
}

/// The checkpoint at a size, signed when there is a key, with what witnesses have signed under it.
pub(crate) fn checkpoint(
    tx: &dyn ReadTx,
    size: u64,
    signer: Option<&Signer>,
    cosigned: Cosigned,
) -> Result<(Checkpoint, String), StorageError> {
    let key = signer.map(Signer::key);
    let checkpoint = Checkpoint {
        origin: key.map_or_else(
            || UNSIGNED_ORIGIN.to_owned(),
            |key| key.verifier().name().to_owned(),
        ),
        size,
        root: root(tx, size)?,
    };
    let text = checkpoint.text();
    let Some(key) = key else {
        return Ok((checkpoint, text));
    };
    let mut note = key.note(&text);
    if cosigned == Cosigned::Never {
        return Ok((checkpoint, note));
    }
    for line in tx.cosignatures(size)? {
        note.push_str(&line);
        note.push('\n');
    }
    Ok((checkpoint, note))
}

/// The checkpoints of other sizes than `size` that say most about a package: for each witness the first that it has
/// signed when it had seen the package's evidence, which ends at `until`; else the last before.
pub(crate) fn witnessed(
    tx: &dyn ReadTx,
    size: u64,
    until: u64,
    signer: &Signer,
) -> Result<Vec<PackedWitnessed>, StorageError> {
    let mut chosen: BTreeMap<String, u64> = BTreeMap::new();
    tx.visit_cosignatures(&mut |seen, line| {
        if let Ok(line) = NoteSignature::parse(line) {
            let best = chosen.entry(line.key_id()).or_insert(seen);
            if *best < until {
                *best = seen;
            }
        }
    })?;
    let sizes: BTreeSet<u64> = chosen.into_values().collect();
    // Nothing follows from an empty log.
    let others = sizes.into_iter().filter(|seen| *seen != size && *seen > 0);
    others
        .map(|seen| {
            let tiles = LogTiles(tx);
            let (old, new) = (seen.min(size), seen.max(size));
            Ok(PackedWitnessed {
                checkpoint: checkpoint(tx, seen, Some(signer), Cosigned::AsKnown)?.1,
                proof: merkle::consistency_proof(&TileNodes(&tiles), old, new).map_err(damaged)?,
            })
        })
        .collect()
}

/// Why cosignatures cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// The file is no checkpoint, or its signatures are wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint is not one of this log.
    #[error("the checkpoint is not one of this log: {0}")]
    AnotherLog(String),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl App {
    /// The checkpoint of the log as it is, or as it was at a size.
    ///
    /// # Errors
    /// [`AppError::NoSuchSize`] when the log was never that long.
    pub fn checkpoint(&self, size: Option<u64>) -> Result<String, AppError> {
        self.store.as_ref().reading(|tx| {
            let head = tx.head()?.position;
            let size = size.unwrap_or(head);
            if size > head {
                return Err(AppError::NoSuchSize { size, head });
            }
            Ok(checkpoint(tx, size, self.settings.signer.as_deref(), Cosigned::AsKnown)?.1)
        })
    }

    /// A tile or a bundle of leaves, by its path behind `/log/tile/` (C2SP `tlog-tiles`).
    ///
    /// # Errors
    /// [`AppError::Unknown`] for a path that names nothing, also a tile that is not that full yet.
    pub fn log_tile(&self, path: &str) -> Result<Vec<u8>, AppError> {
        let unknown = || AppError::Unknown {
            what: "tile of the log",
            id: path.to_owned(),
        };
        let parsed = parse_tile_path(path).ok_or_else(unknown)?;
        self.store.as_ref().reading(|tx| {
            let size = tx.head()?.position;
            match parsed {
                TilePath::Hashes(tile, width) => {
                    if width > tile_width(tile, size) {
                        return Err(unknown());
                    }
                    let mut bytes = tx.log_tile(tile)?;
                    bytes.truncate(usize::try_from(width).unwrap_or(usize::MAX).saturating_mul(32));
                    Ok(bytes)
                }
                TilePath::Entries(index, width) => {
                    let first = index.checked_mul(TILE_WIDTH).ok_or_else(unknown)?;
                    if first.saturating_add(width) > size {
                        return Err(unknown());
                    }
                    entries(tx, first, width)
                }
            }
        })
    }

    /// Keeps what witnesses have signed under one of this log's checkpoints. `note` is that checkpoint with their
    /// lines, signed by `key`, a key of the log; each witness key has to have signed it. What a witness has signed
    /// first about a size stays: it says most. Gives the checkpoint's size.
    ///
    /// # Errors
    /// [`CosignError`]; nothing is kept then.
    pub fn add_cosignatures(
        &self,
        note: &str,
        key: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<u64, CosignError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        // What witnesses sign has the log's name in it, and the database does not know that.
        if key.is_witness() {
            return Err(NoteError::Key.into());
        }
        note.verify(key)?;
        let ours = self.settings.signer.as_deref().map(Signer::key);
        if key.name() != checkpoint.origin
            || ours.is_some_and(|ours| ours.verifier().name() != checkpoint.origin)
        {
            return Err(CosignError::AnotherLog("its origin is another".to_owned()));
        }
        let mut lines = Vec::new();
        for witness in witnesses {
            if !witness.is_witness() {
                return Err(NoteError::Key.into());
            }
            note.verify(witness)?;
            lines.extend(note.signatures.iter().filter(|line| line.is_by(witness)).cloned());
        }
        let size = checkpoint.size;
        // Nobody asks for this with a key, and it is no evidence.
        self.store.whole().writing(move |tx| {
            let head = tx.state().head()?.position;
            if size > head {
                return Err(CosignError::AnotherLog(format!("the log has only {head} leaves")));
            }
            if root(tx.state(), size)? != checkpoint.root {
                return Err(CosignError::AnotherLog("its root is another".to_owned()));
            }
            let known = tx.state().cosignatures(size)?;
            let known: BTreeSet<String> = known
                .iter()
                .filter_map(|line| Some(NoteSignature::parse(line).ok()?.key_id()))
                .collect();
            for line in lines.iter().filter(|line| !known.contains(&line.key_id())) {
                tx.add_cosignature(size, &line.to_string())?;
            }
            Ok(size)
        })
    }
}

/// A bundle of the leaves `first` to `first + count`.
fn entries(tx: &dyn ReadTx, first: u64, count: u64) -> Result<Vec<u8>, AppError> {
    let through = tx.upgraded_through()?;
    let mut bundle = Vec::new();
    let mut left = count;
    tx.visit_records(first, None, None, &mut |record| {
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        left -= 1;
        if push_entry(&mut bundle, record.leaf(through).text().as_bytes()) {
            Ok(ControlFlow::Continue(()))
        } else {
            Err(StorageError::Corrupt(format!(
                "the leaf of record {} is too long",
                record.position
            )))
        }
    })?;
    Ok(bundle)
}

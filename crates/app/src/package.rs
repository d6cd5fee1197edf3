//! Building, storing and reading audit packages, of any size (contract decisions 6).
//!
//! A package is built from one consistent read, piece by piece into a spool, so that neither memory nor other
//! writers feel its size; then its record and its pieces are stored in one transaction.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{PackageDigest, PackageHeader, PackageInput, PackageRoute, close};
use cavra_domain::evidence::{EvidenceKind, payload};
use cavra_domain::id::AuditId;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_evidence::digest::DigestWriter;
use cavra_storage::{NewRecord, ReadTx, RouteQuery, StorageError, StoredRecord, pack, unpack};
use serde_json::Value;
use tempfile::SpooledTempFile;

use crate::{App, AppError, transaction_time};

/// How much text goes into one piece, in bytes; a piece ends behind the route that fills it.
const PIECE_BYTES: usize = 256 << 10;

/// A stored package: where it is, and what is to be said about it.
#[derive(Debug, Clone)]
pub struct StoredPackage {
    /// Position of its evidence record.
    pub position: u64,
    /// Its evidence record.
    pub metadata: Value,
    /// Who made it; null on imported packages without an actor.
    pub actor: Value,
}

/// One piece of a package's text.
#[derive(Debug)]
pub enum Piece {
    /// Text; more may follow.
    Text(Vec<u8>),
    /// Nothing follows.
    End,
}

impl App {
    /// Builds the package of a scope and stores it. Over the same state, with the same clock and by the same
    /// actor, it is the same package, and the stored one is given.
    ///
    /// # Errors
    /// [`AppError::Storage`] or [`AppError::Spool`]; nothing is stored then.
    pub fn export_package(
        &self,
        filter: RouteFilter,
        cycles: Cycles,
        actor: &Actor,
    ) -> Result<StoredPackage, AppError> {
        let filter = filter.or_deliver();
        let built = self
            .store
            .as_ref()
            .reading(|tx| build(self, tx, &filter, cycles, actor))?;
        let (header, digest, spool) = match built {
            Built::Stored(stored) => return Ok(stored),
            Built::New {
                header,
                digest,
                spool,
            } => (header, digest, spool),
        };
        let at = header.generated_at;
        let metadata = header.record(&digest).into_value();
        self.store.writing(move |tx| {
            // Unchanged when somebody stored the same package meanwhile, or its record came from elsewhere.
            tx.append(&NewRecord {
                value: &metadata,
                recorded_at: at,
                imported: false,
            })?;
            let record = tx.state().record(header.audit_id.as_str())?.ok_or_else(|| {
                StorageError::Corrupt(format!("the package `{}` has no record", header.audit_id))
            })?;
            let stored = stored_package(&record)?;
            if !has_text(tx.state(), &stored)? {
                tx.store_package(
                    stored.position,
                    &mut spool.into_pieces().map_err(AppError::Spool)?,
                )?;
            }
            Ok(stored)
        })
    }

    /// A package by its id.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is none, or when only its record was imported and its text is elsewhere.
    pub fn package(&self, audit_id: &AuditId) -> Result<StoredPackage, AppError> {
        let unknown = |what| AppError::Unknown {
            what,
            id: audit_id.to_string(),
        };
        self.store.as_ref().reading(|tx| {
            let record = tx
                .record(audit_id.as_str())?
                .filter(|record| record.kind == EvidenceKind::AuditPackage)
                .ok_or_else(|| unknown("audit package"))?;
            let stored = stored_package(&record)?;
            if has_text(tx, &stored)? {
                Ok(stored)
            } else {
                Err(unknown("text in this store of the audit package"))
            }
        })
    }

    /// One piece of a package's text, from 0. The pieces, joined, are the same bytes each time. An imported
    /// package is the document inside its record, in one piece.
    ///
    /// # Errors
    /// [`AppError::Storage`] when a piece is damaged.
    pub fn package_piece(&self, package: &StoredPackage, piece: u64) -> Result<Piece, AppError> {
        let stored = self
            .store
            .as_ref()
            .reading(|tx| tx.package_piece(package.position, piece))?;
        if let Some(bytes) = stored {
            return Ok(Piece::Text(unpack(&bytes)?));
        }
        let document = payload(&EvidenceKind::AuditPackage, &package.metadata);
        if piece == 0 && document.get("package_sha256").is_none() {
            return Ok(Piece::Text(serde_json::to_vec(document).unwrap_or_default()));
        }
        Ok(Piece::End)
    }
}

/// Whether a package can be given out: its pieces are stored, or its record holds the whole document, as published
/// ones do.
fn has_text(tx: &dyn ReadTx, package: &StoredPackage) -> Result<bool, StorageError> {
    let document = payload(&EvidenceKind::AuditPackage, &package.metadata);
    Ok(document.get("package_sha256").is_none() || tx.package_piece(package.position, 0)?.is_some())
}

fn metadata_actor(metadata: &Value) -> Value {
    payload(&EvidenceKind::AuditPackage, metadata)
        .get("actor")
        .cloned()
        .unwrap_or(Value::Null)
}

fn stored_package(record: &StoredRecord) -> Result<StoredPackage, AppError> {
    let metadata: Value = serde_json::from_str(&record.json)
        .map_err(|_| StorageError::Corrupt(format!("record {} is not JSON", record.position)))?;
    Ok(StoredPackage {
        position: record.position,
        actor: metadata_actor(&metadata),
        metadata,
    })
}

enum Built {
    Stored(StoredPackage),
    New {
        header: Box<PackageHeader>,
        digest: PackageDigest,
        spool: Spool,
    },
}

fn build(
    app: &App,
    tx: &dyn ReadTx,
    filter: &RouteFilter,
    cycles: Cycles,
    actor: &Actor,
) -> Result<Built, AppError> {
    let at = transaction_time(app.clock.as_ref(), tx)?;
    let header = PackageHeader::new(&PackageInput {
        filter,
        cycles,
        at,
        actor,
        counts: tx.count_routes(filter, cycles, at)?,
        acknowledgement_count: tx.count_acknowledgements(filter, cycles, at)?,
        population: tx.population(filter, cycles, at)?,
        evidence: tx.route_evidence()?,
    });
    if let Some(record) = tx.record(header.audit_id.as_str())? {
        let stored = stored_package(&record)?;
        if has_text(tx, &stored)? {
            return Ok(Built::Stored(stored));
        }
    }
    let mut spool = Spool::new(app.settings.spool_bytes);
    spool.text(header.open().as_bytes()).map_err(AppError::Spool)?;
    let mut first = true;
    let mut failed = None;
    tx.visit_histories(&RouteQuery::all(filter, cycles, at), &mut |tracked, history| {
        let entry = PackageRoute::new(&tracked, history, at);
        let written = spool.entry(&entry, std::mem::take(&mut first));
        Ok(match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })
    })?;
    if let Some(error) = failed {
        return Err(AppError::Spool(error));
    }
    spool.text(close().as_bytes()).map_err(AppError::Spool)?;
    let digest = spool.finish().map_err(AppError::Spool)?;
    Ok(Built::New {
        header: Box::new(header),
        digest,
        spool,
    })
}

/// Compressed pieces on their way into storage: in memory while they are few, then in a temporary file that has
/// no name and goes with the process.
struct Spool {
    file: SpooledTempFile,
    piece: Vec<u8>,
    digest: DigestWriter,
    bytes: u64,
    providers: BTreeSet<String>,
}

impl Spool {
    fn new(memory_bytes: usize) -> Self {
        Self {
            file: SpooledTempFile::new(memory_bytes),
            piece: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8),
            digest: DigestWriter::new(),
            bytes: 0,
            providers: BTreeSet::new(),
        }
    }

    fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(text);
        if self.piece.len() >= PIECE_BYTES {
            self.end_piece()
        } else {
            Ok(())
        }
    }

    fn entry(&mut self, entry: &PackageRoute, first: bool) -> io::Result<()> {
        if !first {
            self.piece.push(b',');
        }
        if !self.providers.contains(entry.provider.as_str()) {
            self.providers.insert(entry.provider.to_string());
        }
        serde_json::to_writer(&mut self.piece, entry)?;
        if self.piece.len() >= PIECE_BYTES {
            self.end_piece()
        } else {
            Ok(())
        }
    }

    fn end_piece(&mut self) -> io::Result<()> {
        self.digest.write_all(&self.piece)?;
        self.bytes += u64::try_from(self.piece.len()).unwrap_or(u64::MAX);
        let packed = pack(&self.piece);
        self.file
            .write_all(&u64::try_from(packed.len()).unwrap_or(u64::MAX).to_le_bytes())?;
        self.file.write_all(&packed)?;
        self.piece.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<PackageDigest> {
        if !self.piece.is_empty() {
            self.end_piece()?;
        }
        let digest = std::mem::take(&mut self.digest).finish();
        Ok(PackageDigest {
            sha256: digest.to_hex(),
            bytes: self.bytes,
            providers: std::mem::take(&mut self.providers).into_iter().collect(),
        })
    }

    fn into_pieces(mut self) -> io::Result<Pieces> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Pieces(self.file))
    }
}

/// The pieces of a spool, in order.
struct Pieces(SpooledTempFile);

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut length = [0; 8];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Err(error) => return Some(Err(error)),
        }
        let mut piece = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX)];
        Some(self.0.read_exact(&mut piece).map(|()| piece))
    }
}

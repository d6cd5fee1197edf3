//! Building, storing and reading audit packages, of any size (contract decisions 6), and the spool that serves every
//! document that may be too large for its record.
//!
//! A package is built from one consistent read, piece by piece into a spool, so that neither memory nor other
//! writers feel its size; then its record and its pieces are stored in one transaction.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{PackageDigest, PackageHeader, PackageInput, PackageRoute, close};
use cavra_domain::evidence::{EvidenceKind, payload, whole_digest};
use cavra_domain::id::AuditId;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_evidence::digest::DigestWriter;
use cavra_storage::{NewRecord, ReadTx, RouteQuery, StorageError, StoredRecord, pack, unpack};
use serde::Serialize;
use serde_json::Value;
use tempfile::SpooledTempFile;

use crate::{App, AppError, transaction_time};

/// How much text goes into one piece, in bytes; a piece ends behind the route that fills it.
const PIECE_BYTES: usize = 256 << 10;

/// A stored document, whole in its record or beside it: where it is, and what is to be said about it.
#[derive(Debug, Clone)]
pub struct StoredDocument {
    /// Its kind.
    pub kind: EvidenceKind,
    /// Position of its evidence record.
    pub position: u64,
    /// Its evidence record.
    pub metadata: Value,
    /// Who made it; null on imported documents without an actor.
    pub actor: Value,
}

/// One piece of a document's text.
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
    ) -> Result<StoredDocument, AppError> {
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
            let stored = stored_document(&record)?;
            if !has_text(tx.state(), &stored)? {
                tx.store_pieces(
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
    /// As [`App::document`].
    pub fn package(&self, audit_id: &AuditId) -> Result<StoredDocument, AppError> {
        self.document(&EvidenceKind::AuditPackage, "audit package", audit_id.as_str())
    }

    /// A document of a kind by its id.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is none, [`AppError::TextElsewhere`] when only its record was imported.
    pub fn document(
        &self,
        kind: &EvidenceKind,
        what: &'static str,
        id: &str,
    ) -> Result<StoredDocument, AppError> {
        let id = || id.to_owned();
        self.store.as_ref().reading(|tx| {
            let record = tx
                .record(&id())?
                .filter(|record| record.kind == *kind)
                .ok_or_else(|| AppError::Unknown { what, id: id() })?;
            let stored = stored_document(&record)?;
            if has_text(tx, &stored)? {
                Ok(stored)
            } else {
                Err(AppError::TextElsewhere { what, id: id() })
            }
        })
    }

    /// One piece of a document's text, from 0. The pieces, joined, are the same bytes each time. A document inside
    /// its record, as imported ones are, is one piece.
    ///
    /// # Errors
    /// [`AppError::Storage`] when a piece is damaged.
    pub fn piece(&self, document: &StoredDocument, piece: u64) -> Result<Piece, AppError> {
        self.store.as_ref().reading(|tx| piece_of(tx, document, piece))
    }
}

/// One piece of a document's text.
pub(crate) fn piece_of(tx: &dyn ReadTx, stored: &StoredDocument, piece: u64) -> Result<Piece, AppError> {
    if let Some(bytes) = tx.piece(stored.position, piece)? {
        return Ok(Piece::Text(unpack(&bytes)?));
    }
    if piece == 0 && whole_digest(&stored.kind, &stored.metadata).is_none() {
        let document = payload(&stored.kind, &stored.metadata);
        return Ok(Piece::Text(serde_json::to_vec(document).unwrap_or_default()));
    }
    Ok(Piece::End)
}

/// Whether a document can be given out: its pieces are stored, or its record holds the whole of it, as published
/// ones do.
pub(crate) fn has_text(tx: &dyn ReadTx, stored: &StoredDocument) -> Result<bool, StorageError> {
    Ok(whole_digest(&stored.kind, &stored.metadata).is_none() || tx.piece(stored.position, 0)?.is_some())
}

pub(crate) fn stored_document(record: &StoredRecord) -> Result<StoredDocument, AppError> {
    let metadata: Value = serde_json::from_str(&record.json)
        .map_err(|_| StorageError::Corrupt(format!("record {} is not JSON", record.position)))?;
    let actor = payload(&record.kind, &metadata).get("actor");
    Ok(StoredDocument {
        kind: record.kind.clone(),
        position: record.position,
        actor: actor.cloned().unwrap_or(Value::Null),
        metadata,
    })
}

enum Built {
    Stored(StoredDocument),
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
        let stored = stored_document(&record)?;
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
        spool.provider(entry.provider.as_str());
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
pub(crate) struct Spool {
    file: SpooledTempFile,
    piece: Vec<u8>,
    digest: DigestWriter,
    bytes: u64,
    providers: BTreeSet<String>,
}

impl Spool {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            file: SpooledTempFile::new(memory_bytes),
            piece: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8),
            digest: DigestWriter::new(),
            bytes: 0,
            providers: BTreeSet::new(),
        }
    }

    pub(crate) fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(text);
        if self.piece.len() >= PIECE_BYTES {
            self.end_piece()
        } else {
            Ok(())
        }
    }

    /// Notes a provider, by which history will find the document.
    fn provider(&mut self, provider: &str) {
        if !self.providers.contains(provider) {
            self.providers.insert(provider.to_owned());
        }
    }

    pub(crate) fn entry(&mut self, entry: &impl Serialize, first: bool) -> io::Result<()> {
        if !first {
            self.piece.push(b',');
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

    pub(crate) fn finish(&mut self) -> io::Result<PackageDigest> {
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

    pub(crate) fn into_pieces(mut self) -> io::Result<Pieces> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Pieces(self.file))
    }
}

/// The pieces of a spool, in order.
pub(crate) struct Pieces(SpooledTempFile);

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

//! Building, storing and reading audit packages, of any size (contract decisions 6), and the spool that serves every
//! document that may be too large for its record.
//!
//! A package is built from one consistent read, piece by piece into a spool, so that neither memory nor other
//! writers feel its size; then its record and its pieces are stored in one transaction.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{PackageDigest, PackageHeader, PackageInput, PackageRoute, close};
use cavra_domain::evidence::{EvidenceKind, payload, whole_digest};
use cavra_domain::id::AuditId;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_domain::time::Timestamp;
use cavra_evidence::verify::MAKING_TOLERANCE_SECONDS;
use cavra_storage::{NewRecord, ReadTx, RouteQuery, StorageError, StoredRecord, WriteTx, unpack};
use serde_json::Value;

use crate::as_of::{AsOf, Moment};
use crate::once::{Keep, record_at};
use crate::spool::{Pieces, Spool};
use crate::text::LongText;
use crate::{App, AppError, transaction_time};

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

impl StoredDocument {
    /// Whether the answer to making it has a short form: its record alone.
    pub fn has_short_answer(&self) -> bool {
        matches!(
            self.kind,
            EvidenceKind::ExportRetryPlan | EvidenceKind::ArchiveHealth
        )
    }
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
    /// [`AppError::Storage`] or [`AppError::Spool`]; nothing is stored then. Busy when others were writing for longer
    /// than [`MAKING_TOLERANCE_SECONDS`] while it was made.
    pub fn export_package(
        &self,
        filter: RouteFilter,
        cycles: Cycles,
        actor: &Actor,
    ) -> Result<StoredDocument, AppError> {
        self.export_package_as_of(filter, cycles, actor, None)
    }

    /// The package of a scope as it was. It is made now and says so, and its routes are those of then.
    ///
    /// # Errors
    /// As [`App::export_package`], and [`AppError::Ahead`] or [`AppError::NoSuchSize`] for what has not been yet.
    pub fn export_package_as_of(
        &self,
        filter: RouteFilter,
        cycles: Cycles,
        actor: &Actor,
        as_of: Option<AsOf>,
    ) -> Result<StoredDocument, AppError> {
        let filter = filter.or_deliver();
        let built = match as_of {
            None => self.store.as_ref().reading(|tx| {
                let at = transaction_time(self.clock.as_ref(), tx)?;
                build(self, tx, &filter, cycles, actor, at, None)
            })?,
            Some(as_of) => {
                let moment = self.moment(as_of)?;
                self.store.as_ref().reading_as_of(moment.position, |tx| {
                    build(self, tx, &filter, cycles, actor, moment.at, Some(moment))
                })?
            }
        };
        let (header, digest, mut pieces) = match built {
            Built::Stored(stored) => {
                return self.writing_and_keeping(
                    move |_| Ok(stored),
                    |stored: &StoredDocument| Ok(Keep::Record(stored.position)),
                );
            }
            Built::New {
                header,
                digest,
                pieces,
            } => (header, digest, pieces),
        };
        let at = header.generated_at;
        let metadata = header.record(&digest).into_value();
        let write = move |tx: &mut dyn WriteTx| {
            let outdated = at.plus_micros(i64::from(MAKING_TOLERANCE_SECONDS) * 1_000_000);
            let newest = tx.state().head()?.recorded_at;
            let known = tx.state().record(header.audit_id.as_str())?.is_some();
            // Nobody could tell it from one that leaves out what came last: no verifier would take it.
            if !known && newest.is_some_and(|newest| newest > outdated) {
                return Err(AppError::Storage(StorageError::Busy));
            }
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
                tx.store_pieces(stored.position, &mut pieces)?;
            }
            Ok(stored)
        };
        self.writing_and_keeping(write, |stored| Ok(Keep::Record(stored.position)))
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

    /// A document's text, in pieces, between two other texts.
    pub fn document_text(&self, document: &StoredDocument, before: String, after: String) -> LongText {
        let text = LongText::default().text(before);
        let text = match whole_digest(&document.kind, &document.metadata) {
            Some(_) => text.beside(document.position),
            None => text.text(payload(&document.kind, &document.metadata).to_string()),
        };
        text.text(after)
    }

    /// The answer to whoever asked for a document to be made: its text, its record, and who made it. `minimal`: the
    /// text is left out, where that is a form of the answer.
    pub fn made_text(&self, document: &StoredDocument, minimal: bool) -> LongText {
        let name = match document.kind {
            EvidenceKind::ExportRetryPlan => "plan",
            EvidenceKind::ArchiveHealth => "health",
            _ => "audit_package",
        };
        let (metadata, actor) = (&document.metadata, &document.actor);
        let last = match document.kind {
            EvidenceKind::ArchiveHealth => "\"persisted\":true".to_owned(),
            _ => format!("\"actor\":{actor}"),
        };
        let rest = format!("\"metadata\":{metadata},{last}}}");
        if minimal && document.has_short_answer() {
            return LongText::default().text(format!("{{{rest}"));
        }
        self.document_text(document, format!("{{\"{name}\":"), format!(",{rest}"))
    }

    /// The document that was recorded at this position.
    ///
    /// # Errors
    /// [`AppError::Storage`] when there is none.
    pub fn recorded_document(&self, position: u64) -> Result<StoredDocument, AppError> {
        self.store
            .reading(|tx| stored_document(&record_at(tx, position)?))
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
        pieces: Pieces,
    },
}

fn build(
    app: &App,
    tx: &dyn ReadTx,
    filter: &RouteFilter,
    cycles: Cycles,
    actor: &Actor,
    at: Timestamp,
    earlier: Option<Moment>,
) -> Result<Built, AppError> {
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
    let header = match earlier {
        None => header,
        Some(moment) => header.of_earlier(moment.position, moment.now),
    };
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
    let mut providers = BTreeSet::new();
    tx.visit_histories(&RouteQuery::all(filter, cycles, at), &mut |tracked, history| {
        let entry = PackageRoute::new(&tracked, history, at);
        if !providers.contains(entry.provider.as_str()) {
            providers.insert(entry.provider.to_string());
        }
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
    let (digest, bytes, pieces) = spool.finish().map_err(AppError::Spool)?;
    Ok(Built::New {
        header: Box::new(header),
        digest: PackageDigest {
            sha256: digest.to_hex(),
            bytes,
            providers: providers.into_iter().collect(),
        },
        pieces,
    })
}

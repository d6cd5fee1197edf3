//! Building, storing and reading audit packages, of any size (contract decisions 6).
//!
//! A package is built from one consistent read, piece by piece into a spool, so that neither memory nor other
//! writers feel its size; then its record and its pieces are stored in one transaction.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{PackageDigest, PackageHeader, PackageInput, PackageRoute, close};
use cavra_domain::evidence::{EvidenceKind, payload};
use cavra_domain::id::AuditId;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_storage::{NewRecord, ReadTx, RouteQuery, StorageError, StoredRecord, WriteTx};
use serde_json::Value;

use crate::once::{Keep, record_at};
use crate::spool::{Pieces, Spool};
use crate::text::LongText;
use crate::{App, AppError, transaction_time};

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
        let (header, digest, mut pieces) = match built {
            Built::Stored(stored) => {
                return self.writing_and_keeping(
                    move |_| Ok(stored),
                    |stored: &StoredPackage| Ok(Keep::Record(stored.position)),
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
                tx.store_pieces(stored.position, &mut pieces)?;
            }
            Ok(stored)
        };
        self.writing_and_keeping(write, |stored| Ok(Keep::Record(stored.position)))
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

    /// A package's text, in pieces, the same bytes each time. An imported package is the document inside its record.
    pub fn package_text(&self, package: &StoredPackage) -> LongText {
        let document = payload(&EvidenceKind::AuditPackage, &package.metadata);
        if document.get("package_sha256").is_none() {
            return LongText::default().text(document.to_string());
        }
        LongText::default().beside(package.position)
    }

    /// The answer to whoever asked for a package to be made: its text, its record, and who made it.
    pub fn package_answer(&self, package: &StoredPackage) -> LongText {
        let (metadata, actor) = (&package.metadata, &package.actor);
        LongText::default()
            .text("{\"audit_package\":")
            .beside(package.position)
            .text(format!(",\"metadata\":{metadata},\"actor\":{actor}}}"))
    }

    /// The package that was recorded at this position.
    ///
    /// # Errors
    /// [`AppError::Storage`] when there is none.
    pub fn recorded_package(&self, position: u64) -> Result<StoredPackage, AppError> {
        self.store.reading(|tx| {
            let record = record_at(tx, position)?;
            stored_package(&record)
        })
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
        pieces: Pieces,
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

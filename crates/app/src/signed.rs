//! The signed package: a stored audit package with the evidence that proves it, in a DSSE envelope (contract
//! decisions 7).
//!
//! It is made from what is stored and holds the log up to the package's own record, so that asking again gives the
//! same bytes, until a witness signs something that says more. It goes through a spool as the package itself does: memory does not feel its size.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use cavra_domain::evidence::{EvidenceKind, HistoryTerm, payload};
use cavra_domain::id::ScheduleId;
use cavra_domain::time::Timestamp;
use cavra_evidence::digest::Digest;
pub use cavra_evidence::dsse::ENVELOPE_TYPE;
use cavra_evidence::dsse::{Base64Pieces, ENVELOPE_OPEN, envelope_close, pae_prefix};
use cavra_evidence::merkle;
use cavra_evidence::package::{
    KeyHistory, Manifest, PAYLOAD_TYPE, PackedConsistency, PackedRecord, PayloadWriter, Scope, Signer,
    schedules, scope_of,
};
use cavra_evidence::tiles::{TileNodes, Tiles};
use cavra_storage::{HistoryCursor, HistoryQuery, LogTiles, ReadTx, StorageError, StoredRecord, unpack};
use serde_json::Value;
use tempfile::SpooledTempFile;

use crate::log::{Cosigned, checkpoint, damaged, witnessed};
use crate::package::StoredDocument;
use crate::{App, AppError};

/// How much of an envelope is given at once, before base64.
const PIECE_BYTES: usize = 192 << 10;

/// For how many earlier packages it is shown, unasked, that the log was not rewritten since.
const EARLIER_PACKAGES: u64 = 16;

/// An envelope on its way out.
#[derive(Debug)]
pub struct SignedPackage {
    spool: SpooledTempFile,
    encoder: Base64Pieces,
    state: State,
    close: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Payload,
    Done,
}

impl SignedPackage {
    /// The next piece of the envelope; `None` behind the last one.
    ///
    /// # Errors
    /// [`AppError::Spool`].
    pub fn next_piece(&mut self) -> Result<Option<String>, AppError> {
        match self.state {
            State::Open => {
                self.state = State::Payload;
                Ok(Some(ENVELOPE_OPEN.to_owned()))
            }
            State::Payload => {
                let mut piece = vec![0; PIECE_BYTES];
                let read = self.spool.read(&mut piece).map_err(AppError::Spool)?;
                piece.truncate(read);
                if read > 0 {
                    return Ok(Some(self.encoder.push(&piece)));
                }
                self.state = State::Done;
                let mut last = std::mem::take(&mut self.encoder).finish();
                last.push_str(&self.close);
                Ok(Some(last))
            }
            State::Done => Ok(None),
        }
    }

    /// The whole envelope.
    ///
    /// # Errors
    /// [`AppError::Spool`].
    pub fn into_text(mut self) -> Result<String, AppError> {
        let mut text = String::new();
        while let Some(piece) = self.next_piece()? {
            text.push_str(&piece);
        }
        Ok(text)
    }
}

impl App {
    /// The id of the key that packages are signed with; none when they are not signed.
    pub fn signing_key_id(&self) -> Option<String> {
        self.settings
            .signer
            .as_deref()
            .map(|signer| signer.key().verifier().key_id())
    }

    /// The signed form of a stored package; unsigned when there is no key. `consistent_with` is the size of an
    /// earlier log for which it has to show that nothing was rewritten since. What witnesses have signed is in it.
    ///
    /// # Errors
    /// [`AppError::NotOurs`] for an imported package, [`AppError::NoSuchSize`], or those of storage.
    pub fn signed_package(
        &self,
        package: &StoredDocument,
        consistent_with: Option<u64>,
    ) -> Result<SignedPackage, AppError> {
        self.sealed(package, consistent_with, Cosigned::AsKnown)
    }

    /// The same without what witnesses have signed, for an answer that has to stay what it is.
    ///
    /// # Errors
    /// Those of [`App::signed_package`].
    pub fn signed_package_for_good(
        &self,
        package: &StoredDocument,
        consistent_with: Option<u64>,
    ) -> Result<SignedPackage, AppError> {
        self.sealed(package, consistent_with, Cosigned::Never)
    }

    fn sealed(
        &self,
        package: &StoredDocument,
        consistent_with: Option<u64>,
        cosigned: Cosigned,
    ) -> Result<SignedPackage, AppError> {
        let signer = self.settings.signer.as_deref();
        let spool = SpooledTempFile::new(self.settings.spool_bytes);
        let (mut spool, bytes) = self
            .store
            .as_ref()
            .reading(|tx| write_payload(tx, package, consistent_with, signer, cosigned, spool))?;
        let signature = signer.map(|signer| sign(signer, &mut spool, bytes)).transpose()?;
        spool.seek(SeekFrom::Start(0)).map_err(AppError::Spool)?;
        let key = signer.map(|signer| signer.key().verifier());
        let close = envelope_close(
            PAYLOAD_TYPE,
            key.as_ref().zip(signature.as_ref().map(<[u8; 64]>::as_slice)),
        );
        Ok(SignedPackage {
            spool,
            encoder: Base64Pieces::default(),
            state: State::Open,
            close,
        })
    }
}

fn sign(signer: &Signer, spool: &mut SpooledTempFile, bytes: u64) -> Result<[u8; 64], AppError> {
    let spool = std::cell::RefCell::new(spool);
    let pass = |take: &mut dyn FnMut(&[u8])| -> io::Result<()> {
        let mut spool = spool.borrow_mut();
        spool.seek(SeekFrom::Start(0))?;
        take(pae_prefix(PAYLOAD_TYPE, bytes).as_bytes());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match spool.read(&mut piece)? {
                0 => return Ok(()),
                read => take(piece.get(..read).unwrap_or_default()),
            }
        }
    };
    signer.key().sign_streamed(pass).map_err(AppError::Spool)
}

/// A package's stored text as one stream.
struct PackageText<'a> {
    tx: &'a dyn ReadTx,
    position: u64,
    next: u64,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for PackageText<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(piece) = self
                .tx
                .piece(self.position, self.next)
                .map_err(io::Error::other)?
            else {
                return Ok(0);
            };
            self.next += 1;
            self.piece = io::Cursor::new(unpack(&piece).map_err(io::Error::other)?);
        }
    }
}

/// What of the log goes into a package.
struct Chosen {
    scope: Scope,
    /// The newest record that the package was made from.
    until: u64,
    /// The package's own record.
    own: u64,
    /// The evidence of a filtered package.
    positions: BTreeSet<u64>,
}

impl Chosen {
    fn holds(&self, record: &StoredRecord) -> bool {
        match self.scope {
            _ if record.position == self.own => true,
            Scope::Whole => {
                record.position <= self.until
                    && matches!(
                        record.kind,
                        EvidenceKind::NotificationPlan
                            | EvidenceKind::NotificationAck
                            | EvidenceKind::AckUndo
                    )
            }
            Scope::Filtered => self.positions.contains(&record.position),
        }
    }
}

fn choose(tx: &dyn ReadTx, package: &StoredDocument) -> Result<Chosen, AppError> {
    let summary = payload(&EvidenceKind::AuditPackage, &package.metadata);
    let name = || {
        let id = summary.get("audit_id").and_then(Value::as_str);
        AppError::NotOurs(id.unwrap_or_default().to_owned())
    };
    let filters = summary.get("filters").and_then(Value::as_object);
    let until = summary
        .get("evidence")
        .and_then(|evidence| evidence.get("log_position"))
        .and_then(Value::as_u64);
    let (Some(filters), Some(until), Some(_)) = (filters, until, summary.get("package_sha256")) else {
        return Err(name());
    };
    let mut chosen = Chosen {
        scope: scope_of(filters),
        until,
        own: package.position,
        positions: BTreeSet::new(),
    };
    if chosen.scope == Scope::Filtered {
        let text = PackageText {
            tx,
            position: package.position,
            next: 0,
            piece: io::Cursor::default(),
        };
        let named = schedules(io::BufReader::new(text)).map_err(|error| AppError::Spool(error.into()))?;
        let named: BTreeSet<ScheduleId> = named
            .iter()
            .filter_map(|schedule| ScheduleId::parse(schedule).ok())
            .collect();
        chosen.positions.extend(tx.evidence_of(&named, until)?);
    }
    Ok(chosen)
}

fn write_payload(
    tx: &dyn ReadTx,
    package: &StoredDocument,
    consistent_with: Option<u64>,
    signer: Option<&Signer>,
    cosigned: Cosigned,
    spool: SpooledTempFile,
) -> Result<(SpooledTempFile, u64), AppError> {
    let size = package.position;
    let tiles = LogTiles(tx);
    let nodes = TileNodes(&tiles);
    let chosen = choose(tx, package)?;
    let imported = tx
        .record(&audit_id(package))?
        .is_none_or(|record| record.imported);
    if imported {
        return Err(AppError::NotOurs(audit_id(package)));
    }
    let mut sizes: BTreeSet<u64> = consistent_with.into_iter().collect();
    if let Some(asked) = consistent_with.filter(|asked| *asked == 0 || *asked > size) {
        return Err(AppError::NoSuchSize {
            size: asked,
            head: size,
        });
    }
    let through = tx.upgraded_through()?;
    let mut writer = PayloadWriter::new(BufWriter::new(spool)).map_err(AppError::Spool)?;
    let mut piece = 0;
    while let Some(bytes) = tx.piece(package.position, piece)? {
        let text = String::from_utf8(unpack(&bytes)?)
            .map_err(|_| StorageError::Corrupt("a stored piece of a package is not UTF-8".to_owned()))?;
        writer.package_text(&text).map_err(AppError::Spool)?;
        piece += 1;
    }
    match chosen.scope {
        Scope::Whole => {
            visit(tx, 0, size, &mut |record| {
                if !chosen.holds(&record) {
                    return Ok(());
                }
                writer.record(&packed(record, through, Vec::new()))
            })?;
            visit(tx, 0, size, &mut |record| {
                if chosen.holds(&record) {
                    return Ok(());
                }
                writer.leaf(&record.leaf(through).text())
            })?;
        }
        Scope::Filtered => {
            for position in chosen.positions.iter().copied().chain([size]) {
                let proof = merkle::inclusion_proof(&nodes, position - 1, size).map_err(damaged)?;
                let mut proof = Some(proof);
                visit(tx, position - 1, position, &mut |record| {
                    writer.record(&packed(record, through, proof.take().unwrap_or_default()))
                })?;
            }
            sizes.extend(earlier_packages(tx, package)?);
        }
    }
    let consistency = consistency(&nodes, sizes, size)?;
    let (said, note) = checkpoint(tx, size, signer, cosigned)?;
    let witnessed = match (signer, cosigned) {
        (Some(signer), Cosigned::AsKnown) => witnessed(tx, size, chosen.until, signer)?,
        _ => Vec::new(),
    };
    let summary = payload(&EvidenceKind::AuditPackage, &package.metadata);
    let digest = summary
        .get("package_sha256")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let package_sha256 = Digest::parse(digest).map_err(|_| AppError::NotOurs(audit_id(package)))?;
    let keys = signer
        .map(Signer::history)
        .map(KeyHistory::entries)
        .unwrap_or_default();
    let (spool, bytes) = writer
        .finish(
            &consistency,
            keys,
            &note,
            &witnessed,
            |record_count, leaf_count| Manifest {
                audit_id: audit_id(package),
                scope: chosen.scope,
                package_sha256,
                package_bytes: summary
                    .get("package_bytes")
                    .and_then(Value::as_u64)
                    .unwrap_or_default(),
                record_count,
                leaf_count,
                tree_size: size,
                root: said.root,
                signed: signer.is_some(),
            },
        )
        .map_err(AppError::Spool)?;
    let mut spool = spool
        .into_inner()
        .map_err(|error| AppError::Spool(error.into_error()))?;
    spool.flush().map_err(AppError::Spool)?;
    Ok((spool, bytes))
}

/// The proofs that the log of each of these sizes is the beginning of the log of `size`.
fn consistency<T: Tiles<Error = StorageError>>(
    nodes: &TileNodes<'_, T>,
    sizes: BTreeSet<u64>,
    size: u64,
) -> Result<Vec<PackedConsistency>, StorageError> {
    let proof = |earlier| {
        let proof = merkle::consistency_proof(nodes, earlier, size).map_err(damaged)?;
        Ok(PackedConsistency { size: earlier, proof })
    };
    sizes.into_iter().map(proof).collect()
}

/// Visits the records from behind `after` up to `until`.
fn visit(
    tx: &dyn ReadTx,
    after: u64,
    until: u64,
    put: &mut dyn FnMut(StoredRecord) -> io::Result<()>,
) -> Result<(), AppError> {
    let mut failed = None;
    tx.visit_records(after, None, None, &mut |record| {
        if record.position > until {
            return Ok(ControlFlow::Break(()));
        }
        Ok(match put(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })
    })?;
    failed.map_or(Ok(()), |error| Err(AppError::Spool(error)))
}

fn packed(record: StoredRecord, upgraded_through: u64, proof: Vec<Digest>) -> PackedRecord {
    PackedRecord {
        leaf: record.leaf(upgraded_through).text(),
        proof,
        record: record.json,
    }
}

/// The sizes of the log at the packages before this one, so that whoever holds one of them can compare.
fn earlier_packages(tx: &dyn ReadTx, package: &StoredDocument) -> Result<Vec<u64>, AppError> {
    let made = package.metadata.get("created_at").and_then(Value::as_str);
    let Some(created_at) = made.and_then(|at| Timestamp::parse(at).ok()) else {
        return Ok(Vec::new());
    };
    let terms = [HistoryTerm::kind(EvidenceKind::AuditPackage.as_str())];
    let records = tx.history(&HistoryQuery {
        terms: &terms,
        after: Some(HistoryCursor {
            created_at,
            position: package.position,
        }),
        offset: 0,
        limit: EARLIER_PACKAGES,
        except: None,
    })?;
    Ok(records
        .into_iter()
        .map(|record| record.position)
        .filter(|position| *position < package.position)
        .collect())
}

fn audit_id(package: &StoredDocument) -> String {
    let id = package.metadata.get("session_id").and_then(Value::as_str);
    id.unwrap_or_default().to_owned()
}

//! What happens to the final auditor export: making it, recording its deliveries, planning what to retry, binding
//! archive references, judging archive health (contract decisions 8, 9).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use cavra_domain::actor::Actor;
use cavra_domain::archive::{
    ArchiveAlert, ArchiveHealth, ArchiveHealthHeader, ArchiveReferenceDocument, ExportFacts, HealthCounts,
    HealthEvidence, HealthInput, HealthPolicy, NewArchiveReference, assess,
};
use cavra_domain::delivery::{DeliveryDocument, DeliveryReport};
use cavra_domain::evidence::{DocumentDigest, EvidenceKind, HistoryTerm, payload};
use cavra_domain::export::{
    AuditorExport, ExportBasis, PACKET_KINDS, PackageFinding, PackageIntegrity, ReleasePacket, unhashed,
};
use cavra_domain::id::{
    ArchiveHealthId, ArchiveReferenceId, AuditId, DeliveryId, ExportId, RetryPlanId, VerificationId,
};
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::record::MAX_RECORD_TEXT_CHARS;
use cavra_domain::retry::{
    RetryCounts, RetryDecision, RetryPlan, RetryPlanHeader, RetryPlanInput, RetryPlanner, RetryPolicy,
};
use cavra_domain::route::{Cycles, FilterTerms, Provider, RouteFilter, StateName};
use cavra_domain::time::Timestamp;
use cavra_evidence::canonical::canonical_value;
use cavra_evidence::digest::{Digest, DigestWriter};
use cavra_storage::{HistoryQuery, ReadTx, RouteQuery, StorageError, StoredRecord, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::as_of::AsOf;
use crate::once::Keep;
use crate::package::{Piece, StoredDocument, has_text, piece_of, stored_document};
use crate::spool::{Elements, Listed, Pieces, Spool};
use crate::text::LongText;
use crate::{App, AppError, append_own, transaction_time};

/// A plan or a report with more elements than this is stored beside its record: history shows records whole, and a
/// page of it should stay a page.
pub const ELEMENTS_IN_RECORD: usize = 200;

/// A request for an export.
#[derive(Debug, Clone)]
pub struct MakeExport {
    /// The release; empty when none is named.
    pub release_record_ref: Text,
    /// The package that it rests on; the newest one when none is named.
    pub audit_id: Option<AuditId>,
    /// Who asks.
    pub actor: Actor,
}

/// An export, and its records.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Exported {
    /// The export.
    #[schemars(with = "AuditorExport")]
    pub export: Value,
    /// Its evidence record.
    pub metadata: Value,
    /// The evidence record of its verification.
    pub verification_metadata: Value,
    /// Whether the same export was there already, resting on the same evidence.
    pub unchanged: bool,
    /// Who asked.
    pub actor: Actor,
}

/// A recorded delivery, and its record.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeliveryRecorded {
    /// Whether the delivery arrived.
    pub success: bool,
    /// The delivery.
    pub delivery: DeliveryDocument,
    /// Its evidence record.
    pub metadata: Value,
    /// Who reported it.
    pub actor: Actor,
}

/// Which export a reference is for.
#[derive(Debug, Clone, Default)]
pub struct ArchivedExport {
    /// This one.
    pub export_id: Option<ExportId>,
    /// Else the newest verified one of this release; else the newest verified one.
    pub release_record_ref: Option<Text>,
}

/// An archive reference, and what it is bound to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ArchiveReferenceRecorded {
    /// The reference.
    pub reference: ArchiveReferenceDocument,
    /// Its evidence record.
    pub metadata: Value,
    /// The export that it is bound to: one of ours, or an imported one as the published system wrote it.
    pub export: Value,
    /// The export's evidence record.
    pub export_metadata: Value,
    /// Who reported it.
    pub actor: Actor,
}

impl App {
    /// Makes and stores an export and its verification; over unchanged evidence it is the export that is there.
    ///
    /// # Errors
    /// [`AppError::Unknown`] for a package that does not exist; nothing is stored then.
    pub fn make_export(&self, command: MakeExport) -> Result<Exported, AppError> {
        // The package may be large, so it is looked at beside other writers. What they wrote meanwhile is seen by its
        // position, and then it is looked at again where nobody writes.
        let (seen, found) = self.store.as_ref().reading(|tx| {
            let at = transaction_time(self.clock.as_ref(), tx)?;
            Ok::<_, AppError>((tx.head()?.position, basis(tx, &command, at)?))
        })?;
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.writing(move |tx| {
            let at = transaction_time(clock.as_ref(), tx.state())?;
            let basis = if tx.state().head()?.position == seen {
                found
            } else {
                basis(tx.state(), &command, at)?
            };
            if let Some(export_id) = tx.state().export_over(&basis.digest())? {
                return stored_export(tx.state(), &export_id, command.actor);
            }
            let mut export = basis.build(
                ExportId::from_uuid(ids.next(at)),
                VerificationId::from_uuid(ids.next(at)),
                at,
                command.actor.clone(),
            );
            let text = canonical_value(&export.unhashed())
                .map_err(|error| StorageError::Canonical(Box::new(error)))?;
            export.export_hash = Digest::of(text.as_bytes()).to_hex();
            let verification_metadata = export.verification.record().into_value();
            append_own(tx, &verification_metadata, at)?;
            let metadata = export.record().into_value();
            append_own(tx, &metadata, at)?;
            Ok(Exported {
                export: serde_json::to_value(&export).unwrap_or(Value::Null),
                metadata,
                verification_metadata,
                unchanged: false,
                actor: command.actor,
            })
        })
    }

    /// The text of an export as an archive should keep it: canonical JSON (RFC 8785) without the export's own hash, so
    /// that SHA-256 of these bytes is its `export_hash`. An imported export is given in the same form, but what its
    /// hash was taken over, only the published system knows.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is no such export.
    pub fn export_text(&self, export_id: &ExportId) -> Result<String, AppError> {
        let export = self.document(&EvidenceKind::AuditorExport, "auditor export", export_id.as_str())?;
        let document = unhashed(payload(&export.kind, &export.metadata).clone());
        Ok(canonical_value(&document).map_err(|error| StorageError::Canonical(Box::new(error)))?)
    }

    /// Records what a connector did with an export.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is no such export; nothing is stored then.
    pub fn record_delivery(
        &self,
        report: DeliveryReport,
        actor: Actor,
    ) -> Result<DeliveryRecorded, AppError> {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.sharing(move |tx| {
            let at = transaction_time(clock.as_ref(), tx.state())?;
            let export = tx
                .state()
                .export(&report.export_id)?
                .ok_or_else(|| unknown_export(&report.export_id))?;
            let delivery_id = DeliveryId::from_uuid(ids.next(at));
            let delivery = DeliveryDocument::new(report.clone(), at, actor.clone());
            let metadata = delivery
                .record(&delivery_id, &export.verification_id, &export.release_record_ref)
                .into_value();
            append_own(tx, &metadata, at)?;
            Ok(DeliveryRecorded {
                success: delivery.success,
                delivery,
                metadata,
                actor: actor.clone(),
            })
        })
    }

    /// Decides every undelivered export and provider, and stores the plan.
    ///
    /// # Errors
    /// [`AppError::Storage`] or [`AppError::Spool`]; nothing is stored then.
    pub fn retry_plan(&self, policy: &RetryPolicy, actor: &Actor) -> Result<StoredDocument, AppError> {
        let (header, decisions) = self.retry_decisions(policy, actor)?;
        let at = header.generated_at;
        match decisions {
            Listed::Few(decisions) => {
                let plan = RetryPlan::new(header, decisions);
                self.store_document(at, plan.record(None).into_value(), None)
            }
            Listed::Many(decisions) => {
                let (digest, pieces) = whole(*decisions, &header.close())?;
                self.store_document(at, header.record(&digest).into_value(), Some(pieces))
            }
        }
    }

    /// What a plan made now would decide; nothing is stored.
    ///
    /// # Errors
    /// As [`App::retry_plan`].
    pub fn retry_preview(&self, policy: &RetryPolicy, actor: &Actor) -> Result<LongText, AppError> {
        let (header, decisions) = self.retry_decisions(policy, actor)?;
        Ok(match decisions {
            Listed::Few(decisions) => LongText::default().text(RetryPlan::new(header, decisions).text()),
            Listed::Many(decisions) => {
                let (_, pieces) = whole(*decisions, &header.close())?;
                LongText::default().spool(Arc::new(Mutex::new(pieces)))
            }
        })
    }

    fn retry_decisions(
        &self,
        policy: &RetryPolicy,
        actor: &Actor,
    ) -> Result<(RetryPlanHeader, Listed<RetryDecision>), AppError> {
        self.store.as_ref().reading(|tx| {
            let at = transaction_time(self.clock.as_ref(), tx)?;
            let mut planner = RetryPlanner::new(policy, at);
            let mut decisions = Elements::new(RetryPlan::OPEN, ELEMENTS_IN_RECORD, self.settings.spool_bytes);
            let mut counts = RetryCounts::default();
            let mut decided = |decision: Option<RetryDecision>| match decision {
                None => Ok(()),
                Some(decision) => {
                    counts.add(&decision);
                    decisions.push(decision)
                }
            };
            let mut written = Ok(());
            tx.visit_deliveries(&mut |attempt| {
                written = decided(planner.attempt(attempt));
                Ok(go_on(written.is_ok()))
            })?;
            written
                .and_then(|()| decided(planner.finish()))
                .map_err(AppError::Spool)?;
            let header = RetryPlanHeader::new(RetryPlanInput {
                retry_plan_id: RetryPlanId::from_uuid(self.ids.next(at)),
                at,
                actor,
                policy,
                counts,
                log_position: tx.head()?.position,
            });
            Ok::<_, AppError>((header, decisions.finish().map_err(AppError::Spool)?))
        })
    }

    /// A stored retry plan by its id.
    ///
    /// # Errors
    /// As [`App::document`].
    pub fn stored_retry_plan(&self, retry_plan_id: &RetryPlanId) -> Result<StoredDocument, AppError> {
        self.document(
            &EvidenceKind::ExportRetryPlan,
            "retry plan",
            retry_plan_id.as_str(),
        )
    }

    /// Binds an archive reference to an existing verified export.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is no such export, [`AppError::ExportNotVerified`],
    /// [`AppError::OtherRelease`]; nothing is stored then.
    pub fn record_archive_reference(
        &self,
        archived: ArchivedExport,
        new: NewArchiveReference,
    ) -> Result<ArchiveReferenceRecorded, AppError> {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.sharing(move |tx| {
            let at = transaction_time(clock.as_ref(), tx.state())?;
            let facts = archived_export(tx.state(), &archived)?;
            let record = tx
                .state()
                .record(facts.export_id.as_str())?
                .ok_or_else(|| unknown_export(&facts.export_id))?;
            let stored = stored_document(&record)?;
            let export = payload(&stored.kind, &stored.metadata).clone();
            let actor = new.actor.clone();
            let reference = ArchiveReferenceDocument::bind(
                new.clone(),
                ArchiveReferenceId::from_uuid(ids.next(at)),
                at,
                &facts,
                &evidence_refs(&export),
            )
            .map_err(|_| AppError::ExportNotVerified(facts.export_id.to_string()))?;
            let metadata = reference.record().into_value();
            append_own(tx, &metadata, at)?;
            Ok(ArchiveReferenceRecorded {
                reference,
                metadata,
                export,
                export_metadata: stored.metadata,
                actor,
            })
        })
    }

    /// Judges the custody of every verified export, as it is or as it was, and stores nothing: the report's text. A
    /// report of an earlier state is the one that was given then, but for its id, which is drawn anew.
    ///
    /// # Errors
    /// [`AppError::Storage`] or [`AppError::Spool`], and [`AppError::Ahead`] or [`AppError::NoSuchSize`] for what has
    /// not been yet.
    pub fn archive_health(
        &self,
        policy: &HealthPolicy,
        actor: &Actor,
        as_of: Option<AsOf>,
    ) -> Result<LongText, AppError> {
        let (header, alerts) = self.judged(policy, actor, as_of)?;
        Ok(match alerts {
            Listed::Few(alerts) => LongText::default().text(ArchiveHealth { alerts, header }.text()),
            Listed::Many(alerts) => {
                let (_, pieces) = whole(*alerts, &header.close())?;
                LongText::default().spool(Arc::new(Mutex::new(pieces)))
            }
        })
    }

    /// Judges the custody of every verified export, and stores the report.
    ///
    /// # Errors
    /// [`AppError::Storage`] or [`AppError::Spool`]; nothing is stored then.
    pub fn record_archive_health(
        &self,
        policy: &HealthPolicy,
        actor: &Actor,
    ) -> Result<StoredDocument, AppError> {
        let (header, alerts) = self.judged(policy, actor, None)?;
        let at = header.generated_at;
        match alerts {
            Listed::Few(alerts) => {
                let health = ArchiveHealth { alerts, header };
                self.store_document(at, health.record(None).into_value(), None)
            }
            Listed::Many(alerts) => {
                let (digest, pieces) = whole(*alerts, &header.close())?;
                self.store_document(at, header.record(&digest).into_value(), Some(pieces))
            }
        }
    }

    /// A report but for its end, which counts its alerts.
    fn judged(
        &self,
        policy: &HealthPolicy,
        actor: &Actor,
        as_of: Option<AsOf>,
    ) -> Result<(ArchiveHealthHeader, Listed<ArchiveAlert>), AppError> {
        self.seen(as_of, |tx, at| {
            let mut counts = HealthCounts::default();
            let mut alerts =
                Elements::new(ArchiveHealth::OPEN, ELEMENTS_IN_RECORD, self.settings.spool_bytes);
            let mut written = Ok(());
            tx.visit_custody(policy.release_record_ref.as_ref(), &mut |custody| {
                let found = assess(custody, policy, at);
                counts.add(custody, policy, &found);
                written = found.into_iter().try_for_each(|alert| alerts.push(alert));
                Ok(go_on(written.is_ok()))
            })?;
            written.map_err(AppError::Spool)?;
            let header = ArchiveHealthHeader::new(HealthInput {
                health_id: ArchiveHealthId::from_uuid(self.ids.next(at)),
                at,
                actor,
                policy,
                counts: &counts,
                evidence: HealthEvidence {
                    log_position: tx.head()?.position,
                },
            });
            Ok((header, alerts.finish().map_err(AppError::Spool)?))
        })
    }

    /// A stored health report by its id.
    ///
    /// # Errors
    /// As [`App::document`].
    pub fn stored_archive_health(&self, health_id: &ArchiveHealthId) -> Result<StoredDocument, AppError> {
        self.document(
            &EvidenceKind::ArchiveHealth,
            "archive health report",
            health_id.as_str(),
        )
    }

    /// Stores a document's record, and beside it its pieces when the record does not hold it whole.
    fn store_document(
        &self,
        at: Timestamp,
        metadata: Value,
        pieces: Option<Pieces>,
    ) -> Result<StoredDocument, AppError> {
        let write = move |tx: &mut dyn WriteTx| {
            let position = append_own(tx, &metadata, at)?;
            if let Some(mut pieces) = pieces {
                tx.store_pieces(position, &mut pieces)?;
            }
            let id = metadata
                .get("session_id")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let record = tx
                .state()
                .record(id)?
                .ok_or_else(|| StorageError::Corrupt(format!("record {position} is not there")))?;
            stored_document(&record)
        };
        self.writing_and_keeping(write, |stored| Ok(Keep::Record(stored.position)))
    }
}

/// Whether a visitor goes on.
const fn go_on(on: bool) -> ControlFlow<()> {
    if on {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

/// A document, with its end behind the text of its elements.
fn whole(mut text: Spool, close: &str) -> Result<(DocumentDigest, Pieces), AppError> {
    text.text(close.as_bytes()).map_err(AppError::Spool)?;
    let (digest, bytes, pieces) = text.finish().map_err(AppError::Spool)?;
    let digest = DocumentDigest {
        sha256: digest.to_hex(),
        bytes,
    };
    Ok((digest, pieces))
}

fn unknown_export(export_id: &ExportId) -> AppError {
    AppError::Unknown {
        what: "auditor export",
        id: export_id.to_string(),
    }
}

/// The export that a reference is for.
fn archived_export(tx: &dyn ReadTx, archived: &ArchivedExport) -> Result<ExportFacts, AppError> {
    let release = archived.release_record_ref.as_ref();
    let Some(export_id) = &archived.export_id else {
        return tx
            .newest_verified_export(release)?
            .ok_or_else(|| AppError::Unknown {
                what: match release {
                    Some(_) => "verified auditor export of the release record",
                    None => "verified auditor export",
                },
                id: release.map(ToString::to_string).unwrap_or_default(),
            });
    };
    let export = tx.export(export_id)?.ok_or_else(|| unknown_export(export_id))?;
    match release {
        Some(release) if *release != export.release_record_ref => Err(AppError::OtherRelease {
            export_id: export_id.to_string(),
            found: export.release_record_ref.to_string(),
        }),
        _ => Ok(export),
    }
}

/// The evidence that an export names as URIs; what is no URI of evidence is not repeated.
fn evidence_refs(export: &Value) -> Vec<Text> {
    export
        .get("public_evidence_refs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter_map(|uri| Text::parse(Field::line("public_evidence_refs", MAX_RECORD_TEXT_CHARS), uri).ok())
        .collect()
}

fn stored_export(tx: &dyn ReadTx, export_id: &ExportId, actor: Actor) -> Result<Exported, AppError> {
    let missing =
        |id: &str| StorageError::Corrupt(format!("the export or verification `{id}` has no record"));
    let record = |id: &str| -> Result<StoredDocument, AppError> {
        stored_document(&tx.record(id)?.ok_or_else(|| missing(id))?)
    };
    let export = record(export_id.as_str())?;
    let verification_id = export
        .metadata
        .get("verification_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Exported {
        export: payload(&export.kind, &export.metadata).clone(),
        verification_metadata: record(verification_id)?.metadata,
        metadata: export.metadata,
        unchanged: true,
        actor,
    })
}

/// Everything that an export rests on, as it is now.
fn basis(tx: &dyn ReadTx, command: &MakeExport, at: Timestamp) -> Result<ExportBasis, AppError> {
    let mut packet = Vec::new();
    for kind in PACKET_KINDS {
        let record = match command.release_record_ref.as_str() {
            "" => None,
            _ => tx.packet_record(&command.release_record_ref, &kind)?,
        };
        packet.push(record.map(|record| stored_document(&record)).transpose()?);
    }
    let [attachment, verification] = packet.as_slice() else {
        return Err(StorageError::Corrupt("a packet has two kinds of records".to_owned()).into());
    };
    let metadata = |document: &Option<StoredDocument>| document.as_ref().map(|found| found.metadata.clone());
    Ok(ExportBasis {
        release_record_ref: command.release_record_ref.clone(),
        package: named_package(tx, command.audit_id.as_ref())?
            .map(|record| finding(tx, &record, at))
            .transpose()?,
        packet: ReleasePacket::read(metadata(attachment).as_ref(), metadata(verification).as_ref())
            .map_err(|error| StorageError::Corrupt(error.to_string()))?,
    })
}

/// The package that an export rests on: the named one, else the newest.
fn named_package(tx: &dyn ReadTx, audit_id: Option<&AuditId>) -> Result<Option<StoredRecord>, AppError> {
    let Some(audit_id) = audit_id else {
        let terms = [HistoryTerm::kind(EvidenceKind::AuditPackage.as_str())];
        let newest = HistoryQuery {
            terms: &terms,
            after: None,
            offset: 0,
            limit: 1,
            except: None,
        };
        return Ok(tx.history(&newest)?.pop());
    };
    tx.record(audit_id.as_str())?
        .filter(|record| record.kind == EvidenceKind::AuditPackage)
        .map(Some)
        .ok_or_else(|| AppError::Unknown {
            what: "audit package",
            id: audit_id.to_string(),
        })
}

/// What a package turns out to be: read whole, and held against its routes as they are now.
fn finding(tx: &dyn ReadTx, record: &StoredRecord, at: Timestamp) -> Result<PackageFinding, AppError> {
    let stored = stored_document(record)?;
    let document = payload(&stored.kind, &stored.metadata);
    let scope = scope(document);
    let read = read_package(tx, &stored)?;
    let recorded = document.get("package_sha256").and_then(Value::as_str);
    let integrity = if !has_text(tx, &stored)? {
        PackageIntegrity::TextElsewhere
    } else if recorded.is_none_or(|recorded| recorded == read.sha256)
        && Digest::of(record.json.as_bytes()) == record.sha256
    {
        PackageIntegrity::Intact
    } else {
        PackageIntegrity::Altered
    };
    let (mut current, mut counts, mut unhandled) = (false, None, 0);
    if let Some((filter, cycles)) = &scope {
        let found = tx.count_routes(filter, *cycles, at)?;
        current = match &read.shown {
            Some(shown) => shown.is_current(tx, filter, *cycles, at)?,
            None => false,
        };
        unhandled = unhandled_breaches(tx, filter, *cycles, at)?;
        counts = Some(found);
    }
    let counts = counts.unwrap_or_default();
    Ok(PackageFinding {
        audit_id: AuditId::parse(&record.session_id)
            .map_err(|error| StorageError::Corrupt(error.to_string()))?,
        generated_at: record.created_at,
        sha256: recorded.map_or(read.sha256, str::to_owned),
        integrity,
        current,
        route_count: counts.route_count,
        outstanding_count: counts.outstanding,
        unhandled_breach_count: unhandled,
    })
}

/// The scope of a package: of one of ours, or of a published one; none when it cannot be read.
fn scope(document: &Value) -> Option<(RouteFilter, Cycles)> {
    let filters = document.get("filters")?;
    let term = |key: &str| filters.get(key).and_then(Value::as_str).unwrap_or_default();
    let filter = RouteFilter::parse(&FilterTerms {
        schedule_id: term("schedule_id"),
        owner: term("owner"),
        provider: term("provider"),
        state: term("state"),
        action: term("action"),
        category: term("category"),
        breached: filters.get("breached").and_then(Value::as_bool),
    });
    let cycles = if term("cycle") == "all" {
        Cycles::All
    } else {
        Cycles::Current
    };
    Some((filter.ok()?.or_deliver(), cycles))
}

/// Routes of a scope that are past their deadline and have no answer.
fn unhandled_breaches(
    tx: &dyn ReadTx,
    filter: &RouteFilter,
    cycles: Cycles,
    at: Timestamp,
) -> Result<u64, AppError> {
    let outside = filter.state.is_some_and(|state| state != StateName::Outstanding)
        || filter.breached.is_some_and(|breached| !breached);
    if outside {
        return Ok(0);
    }
    let unhandled = RouteFilter {
        state: Some(StateName::Outstanding),
        breached: Some(true),
        ..filter.clone()
    };
    Ok(tx.count_routes(&unhandled, cycles, at)?.route_count)
}

/// A package's text, read once.
struct ReadPackage {
    sha256: String,
    /// What it shows of its routes; none when it cannot be read.
    shown: Option<Shown>,
}

/// What a package shows of its routes.
enum Shown {
    /// One of ours: a digest over id, revision and state of each route, in the order of the list.
    Own(Digest),
    /// A published one: the state of each route, by plan, provider and owner.
    Published(BTreeMap<(String, String, String), String>),
}

/// One route in a package, ours or published.
#[derive(Deserialize)]
struct ShownRoute {
    #[serde(default)]
    route_id: String,
    revision: Option<u64>,
    #[serde(default)]
    acknowledgement_state: String,
    #[serde(default)]
    plan_id: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    owner: String,
}

/// Where the list of routes begins in a package's text; within a string, its quotes would have been escaped.
const ROUTES: &[u8] = b"\"routes\":[";

/// Reads a package piece by piece; a piece ends behind a route, so each is read by itself.
fn read_package(tx: &dyn ReadTx, stored: &StoredDocument) -> Result<ReadPackage, AppError> {
    let mut digest = DigestWriter::new();
    let mut own = DigestWriter::new();
    let mut published = BTreeMap::new();
    let mut readable = true;
    let (mut number, mut began) = (0, false);
    while let Piece::Text(text) = piece_of(tx, stored, number)? {
        digest.write_all(&text).map_err(AppError::Spool)?;
        number += 1;
        let mut rest = text.as_slice();
        if !began {
            let Some(start) = rest.windows(ROUTES.len()).position(|window| window == ROUTES) else {
                continue;
            };
            rest = rest.get(start + ROUTES.len()..).unwrap_or_default();
            began = true;
        }
        readable &= read_routes(rest, &mut |route| {
            if let Some(revision) = route.revision {
                return line(&mut own, &route.route_id, revision, &route.acknowledgement_state);
            }
            let provider = Provider::parse(&route.provider).map(|provider| provider.key().to_owned());
            published.insert(
                (route.plan_id, provider.unwrap_or_default(), route.owner),
                route.acknowledgement_state,
            );
            Ok(())
        })?;
    }
    let shown = if published.is_empty() {
        Shown::Own(own.finish())
    } else {
        Shown::Published(published)
    };
    Ok(ReadPackage {
        sha256: digest.finish().to_hex(),
        shown: (readable && began).then_some(shown),
    })
}

/// Reads the routes of one piece; whether it could be read.
fn read_routes(
    mut rest: &[u8],
    each: &mut dyn FnMut(ShownRoute) -> std::io::Result<()>,
) -> Result<bool, AppError> {
    loop {
        match rest.first() {
            Some(b',') => rest = rest.get(1..).unwrap_or_default(),
            Some(b'{') => {}
            // The end of the piece, or of the list.
            None | Some(b']') => return Ok(true),
            Some(_) => return Ok(false),
        }
        if rest.first() != Some(&b'{') {
            continue;
        }
        let mut routes = serde_json::Deserializer::from_slice(rest).into_iter::<ShownRoute>();
        match routes.next() {
            Some(Ok(route)) => {
                rest = rest.get(routes.byte_offset()..).unwrap_or_default();
                each(route).map_err(AppError::Spool)?;
            }
            _ => return Ok(false),
        }
    }
}

/// What a package and the list of routes have in common of a route that has not changed.
fn line(digest: &mut DigestWriter, route_id: &str, revision: u64, state: &str) -> std::io::Result<()> {
    writeln!(digest, "{route_id} {revision} {state}")
}

impl Shown {
    /// Whether the routes of the scope are these, as they are now.
    fn is_current(
        &self,
        tx: &dyn ReadTx,
        filter: &RouteFilter,
        cycles: Cycles,
        at: Timestamp,
    ) -> Result<bool, AppError> {
        let mut own = DigestWriter::new();
        let mut failed = None;
        let mut same = true;
        let mut seen = 0_usize;
        tx.visit_routes(&RouteQuery::all(filter, cycles, at), &mut |tracked| {
            let state = tracked
                .state()
                .map_or(cavra_domain::audit_package::NOT_REQUIRED, StateName::as_str);
            let route = &tracked.route;
            match self {
                Self::Own(_) => {
                    failed = line(&mut own, route.route_id.as_str(), tracked.status.revision, state)
                        .err()
                        .or(failed.take());
                }
                Self::Published(shown) => {
                    let key = (
                        route.plan_id.to_string(),
                        route.provider.key().to_owned(),
                        route.owner.to_string(),
                    );
                    same &= shown.get(&key).is_some_and(|shown| shown == state);
                    seen += 1;
                }
            }
            Ok(if same {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        if let Some(error) = failed {
            return Err(AppError::Spool(error));
        }
        Ok(match self {
            Self::Own(shown) => own.finish() == *shown,
            // A published package also has the routes of earlier cycles, which nobody can answer any more.
            Self::Published(_) => same && seen > 0,
        })
    }
}

//! Exports, deliveries and archive references: what their records change, and how they are read.
//!
//! What a group of deliveries or the custody of an export amounts to is decided by the domain from its rows whenever
//! one arrives, so records may arrive in any order.

use std::ops::ControlFlow;

use cavra_domain::archive::{
    Beside, Custody, CustodySoFar, CustodyStanding, ExportFacts, HealthPolicy, ReferenceFacts, essential,
    standing, standing_with,
};
use cavra_domain::delivery::DeliveryFacts;
use cavra_domain::evidence::EvidenceKind;
use cavra_domain::export::ExportRecordFacts;
use cavra_domain::id::{ArchiveReferenceId, DeliveryId, ExportId};
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::record::{MAX_RECORD_TEXT_CHARS, interpret};
use cavra_domain::retry::{DeliveryAttempt, RetryPolicy, Standing, Undelivered};
use cavra_domain::route::Provider;
use cavra_domain::time::{MICROS_PER_DAY, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::append::{WriteState, Writing, signed};
use super::read::{RECORD, Reading};
use crate::{ReadReleases, ReadTx as _, StorageError, StoredRecord, Visit};

/// How many references on each side of one that comes are looked at before all are.
const BESIDE_REFERENCES: usize = 8;

/// How many references of a verified export are held before those that its judgement does not need are let go.
const GATHERED: usize = 64;

/// Where a reference stands among those of its export: its time, and its position in the log.
type Place = (i64, i64);

/// Why the custody of an export is to be judged anew.
#[derive(Debug, Clone, Copy)]
pub(super) enum Touched {
    /// One reference came, and stands there.
    Once(Place),
    /// The export came, or more than one reference.
    Anew,
}

/// Counter of the archive alerts that last, under the default policy.
const LASTING_ALERTS: &str = "archive_lasting_alerts";

/// What is wrong with a stored value that this service wrote itself.
fn damaged(column: &str) -> StorageError {
    StorageError::Corrupt(format!(
        "a stored export, delivery or reference has an unreadable `{column}`"
    ))
}

/// A text that passed the check when it was recorded.
fn text(row: &Row<'_>, index: usize, name: &'static str) -> Result<Text, StorageError> {
    let raw = row.get_ref(index)?.as_str().map_err(|_| damaged(name))?;
    Text::parse(Field::lines(name, MAX_RECORD_TEXT_CHARS), raw).map_err(|_| damaged(name))
}

/// As [`text`]; a text that was read before is not looked at again.
fn text_like(row: &Row<'_>, index: usize, name: &'static str, known: &Text) -> Result<Text, StorageError> {
    if raw(row, index, name)? == known.as_str() {
        Ok(known.clone())
    } else {
        text(row, index, name)
    }
}

fn time(row: &Row<'_>, index: usize, name: &str) -> Result<Timestamp, StorageError> {
    Timestamp::from_micros(row.get(index)?).ok_or_else(|| damaged(name))
}

fn raw<'a>(row: &'a Row<'_>, index: usize, name: &str) -> Result<&'a str, StorageError> {
    row.get_ref(index)?.as_str().map_err(|_| damaged(name))
}

fn export_id(row: &Row<'_>, index: usize) -> Result<ExportId, StorageError> {
    ExportId::parse(raw(row, index, "export_id")?).map_err(|_| damaged("export_id"))
}

/// The columns of [`export_of`].
const EXPORT: &str =
    "e.export_id, e.generated_at, e.export_hash, e.verified, e.release_record_ref, e.verification_id";

fn export_of(row: &Row<'_>) -> Result<ExportFacts, StorageError> {
    Ok(ExportFacts {
        export_id: export_id(row, 0)?,
        generated_at: time(row, 1, "generated_at")?,
        export_hash: text(row, 2, "export_hash")?,
        verified: row.get(3)?,
        release_record_ref: text(row, 4, "release_record_ref")?,
        verification_id: text(row, 5, "verification_id")?,
    })
}

/// The columns of [`delivery_of`]; what the delivery does not say of its export, the export `e` says.
const DELIVERY: &str = "d.delivery_id, d.export_id, d.provider, d.happened_at, d.success, d.status_code, \
     d.retry_after_seconds, iif(d.verification_id = '', coalesce(e.verification_id, ''), d.verification_id), \
     iif(d.release_record_ref = '', coalesce(e.release_record_ref, ''), d.release_record_ref), \
     e.export_id IS NOT NULL \
     FROM delivery d LEFT JOIN auditor_export e ON e.export_id = d.export_id";

fn delivery_of(row: &Row<'_>, known: &mut Option<Provider>) -> Result<DeliveryAttempt, StorageError> {
    Ok(DeliveryAttempt {
        delivery_id: DeliveryId::parse(raw(row, 0, "delivery_id")?).map_err(|_| damaged("delivery_id"))?,
        export_id: export_id(row, 1)?,
        provider: provider_of(raw(row, 2, "provider")?, known)?,
        at: time(row, 3, "happened_at")?,
        success: row.get(4)?,
        status_code: row.get(5)?,
        retry_after_seconds: row.get(6)?,
        verification_id: text(row, 7, "verification_id")?,
        release_record_ref: text(row, 8, "release_record_ref")?,
        export_known: row.get(9)?,
    })
}

/// The provider of a row. Neighbours mostly have the same, so `known` is the one before.
fn provider_of(raw: &str, known: &mut Option<Provider>) -> Result<Provider, StorageError> {
    if let Some(provider) = known.as_ref().filter(|known| known.as_str() == raw) {
        return Ok(provider.clone());
    }
    let provider = Provider::parse(raw).map_err(|_| damaged("provider"))?;
    Ok(known.insert(provider).clone())
}

/// The columns of [`reference_of`].
const REFERENCE: &str = "r.reference_id, r.archived_at, r.recorded_at, r.position, r.archive_ref, \
     r.archive_provider, r.archive_hash, r.retention_until, r.legal_hold, r.release_record_ref";

/// Texts that references have in common with their export and with each other.
#[derive(Default)]
struct Common {
    hash: Text,
    release: Text,
    provider: Text,
    retention: Text,
}

/// A reference to an export, out of the columns of [`REFERENCE`] from `first`.
fn reference_of(
    row: &Row<'_>,
    first: usize,
    export_id: &ExportId,
    common: &mut Common,
) -> Result<ReferenceFacts, StorageError> {
    common.provider = text_like(row, first + 5, "archive_provider", &common.provider)?;
    common.retention = text_like(row, first + 7, "retention_until", &common.retention)?;
    Ok(ReferenceFacts {
        reference_id: ArchiveReferenceId::parse(raw(row, first, "reference_id")?)
            .map_err(|_| damaged("reference_id"))?,
        export_id: export_id.clone(),
        archived_at: time(row, first + 1, "archived_at")?,
        recorded_at: time(row, first + 2, "recorded_at")?,
        position: row.get(first + 3)?,
        archive_ref: text(row, first + 4, "archive_ref")?,
        archive_provider: common.provider.clone(),
        archive_hash: text_like(row, first + 6, "archive_hash", &common.hash)?,
        retention_until: common.retention.clone(),
        legal_hold: row.get(first + 8)?,
        release_record_ref: text_like(row, first + 9, "release_record_ref", &common.release)?,
    })
}

/// How many columns [`EXPORT`] has.
const EXPORT_COLUMNS: usize = 6;

impl Reading<'_> {
    /// The references to an export, oldest first.
    fn visit_references(
        &self,
        export_id: &ExportId,
        visit: &mut dyn FnMut(ReferenceFacts) -> Visit,
    ) -> Result<ControlFlow<()>, StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {REFERENCE} FROM archive_reference r WHERE r.export_id = ?1 ORDER BY r.effective_at, r.position"
        ))?;
        let mut rows = statement.query([export_id.as_str()])?;
        let mut common = Common::default();
        while let Some(row) = rows.next()? {
            if visit(reference_of(row, 0, export_id, &mut common)?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The references to a verified export: all, or of many no more than the judgement needs.
    fn references_to_verified(&self, export_id: &ExportId) -> Result<Vec<ReferenceFacts>, StorageError> {
        let mut found = Vec::new();
        let mut room = GATHERED;
        let _ends = self.visit_references(export_id, &mut |reference| {
            if found.len() >= room {
                found = essential(std::mem::take(&mut found));
                room = GATHERED.max(2 * found.len());
            }
            found.push(reference);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn verified_custody(
        &self,
        release: Option<&Text>,
        visit: &mut dyn FnMut(&Custody<'_>) -> Visit,
    ) -> Result<ControlFlow<()>, StorageError> {
        let condition = match release {
            Some(_) => "e.verified = 1 AND e.release_record_ref = ?1",
            None => "e.verified = 1 AND ?1 IS NULL",
        };
        // One row per reference, or one for an export without any; those of one export come together.
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {EXPORT}, {REFERENCE} FROM auditor_export e \
             LEFT JOIN archive_reference r ON r.export_id = e.export_id \
             WHERE {condition} ORDER BY e.generated_at DESC, e.export_id DESC"
        ))?;
        let mut rows = statement.query([release.map(Text::as_str)])?;
        let mut export: Option<ExportFacts> = None;
        let mut references = Vec::new();
        // Those of an export come together, but in no order that SQLite promises: of many only so many are taken here.
        let mut many = false;
        let mut common = Common::default();
        let mut judge = |export: &ExportFacts, references: &mut Vec<ReferenceFacts>, many: bool| {
            if many {
                *references = self.references_to_verified(&export.export_id)?;
            }
            visit(&Custody {
                export_id: &export.export_id,
                export: Some(export),
                references,
            })
        };
        while let Some(row) = rows.next()? {
            let next = raw(row, 0, "export_id")?;
            let current = match export.take() {
                Some(current) if current.export_id.as_str() == next => current,
                before => {
                    if let Some(before) = before
                        && judge(&before, &mut references, many)?.is_break()
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                    references.clear();
                    many = false;
                    let export = export_of(row)?;
                    common.hash = export.export_hash.clone();
                    common.release = export.release_record_ref.clone();
                    export
                }
            };
            if references.len() == GATHERED {
                many = true;
            } else if !matches!(row.get_ref(EXPORT_COLUMNS)?, ValueRef::Null) {
                references.push(reference_of(
                    row,
                    EXPORT_COLUMNS,
                    &current.export_id,
                    &mut common,
                )?);
            }
            export = Some(current);
        }
        match export {
            Some(last) => judge(&last, &mut references, many),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// References to exports that are unknown or not verified, by export.
    fn stray_custody(
        &self,
        release: Option<&Text>,
        visit: &mut dyn FnMut(&Custody<'_>) -> Visit,
    ) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT r.export_id FROM archive_reference r \
             LEFT JOIN auditor_export e ON e.export_id = r.export_id \
             WHERE coalesce(e.verified, 0) = 0 AND (?1 IS NULL OR coalesce(e.release_record_ref, r.release_record_ref) = ?1) \
             ORDER BY r.export_id",
        )?;
        let mut rows = statement.query([release.map(Text::as_str)])?;
        while let Some(row) = rows.next()? {
            let id = export_id(row, 0)?;
            let export = self.export(&id)?;
            // Each of them is judged alone.
            let more = self.visit_references(&id, &mut |reference| {
                if export.is_none() && release.is_some_and(|release| reference.release_record_ref != *release)
                {
                    return Ok(ControlFlow::Continue(()));
                }
                visit(&Custody {
                    export_id: &id,
                    export: export.as_ref(),
                    references: &[reference],
                })
            })?;
            if more.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl ReadReleases for Reading<'_> {
    fn export(&self, export_id: &ExportId) -> Result<Option<ExportFacts>, StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {EXPORT} FROM auditor_export e WHERE e.export_id = ?1"
        ))?;
        let mut rows = statement.query([export_id.as_str()])?;
        rows.next()?.map(export_of).transpose()
    }

    fn newest_verified_export(&self, release: Option<&Text>) -> Result<Option<ExportFacts>, StorageError> {
        let mut found = None;
        let condition = match release {
            Some(_) => "e.verified = 1 AND e.release_record_ref = ?1",
            None => "e.verified = 1 AND ?1 IS NULL",
        };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {EXPORT} FROM auditor_export e WHERE {condition} \
             ORDER BY e.generated_at DESC, e.export_id DESC LIMIT 1"
        ))?;
        let mut rows = statement.query([release.map(Text::as_str)])?;
        if let Some(row) = rows.next()? {
            found = Some(export_of(row)?);
        }
        Ok(found)
    }

    fn export_over(&self, evidence_digest: &str) -> Result<Option<ExportId>, StorageError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT export_id FROM auditor_export WHERE evidence_digest = ?1 AND evidence_digest <> '' \
             ORDER BY position LIMIT 1",
        )?;
        let mut rows = statement.query([evidence_digest])?;
        rows.next()?.map(|row| export_id(row, 0)).transpose()
    }

    fn packet_record(
        &self,
        release: &Text,
        kind: &EvidenceKind,
    ) -> Result<Option<StoredRecord>, StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {RECORD} FROM packet p JOIN evidence e ON e.position = p.position \
             WHERE p.release_record_ref = ?1 AND p.kind = ?2 ORDER BY p.created_at DESC, p.position DESC LIMIT 1"
        ))?;
        let mut rows = statement.query([release.as_str(), kind.as_str()])?;
        rows.next()?.map(Self::stored).transpose()
    }

    fn visit_deliveries(&self, visit: &mut dyn FnMut(DeliveryAttempt) -> Visit) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {DELIVERY} ORDER BY d.export_id, d.provider_key, d.happened_at, d.position"
        ))?;
        let mut rows = statement.query([])?;
        let mut provider = None;
        while let Some(row) = rows.next()? {
            if visit(delivery_of(row, &mut provider)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn visit_custody(
        &self,
        release: Option<&Text>,
        visit: &mut dyn FnMut(&Custody<'_>) -> Visit,
    ) -> Result<(), StorageError> {
        if self.verified_custody(release, visit)?.is_continue() {
            self.stray_custody(release, visit)?;
        }
        Ok(())
    }

    fn retryable_now(&self, now: Timestamp) -> Result<u64, StorageError> {
        Ok(self
            .connection
            .prepare_cached("SELECT count(*) FROM undelivered WHERE due_at <= ?1")?
            .query_row([now.micros()], |row| row.get(0))?)
    }

    fn archive_alerts_now(&self, now: Timestamp) -> Result<u64, StorageError> {
        let lasting = self.counter(LASTING_ALERTS)?.unsigned_abs();
        let warned = i64::from(HealthPolicy::default().expiring_within_days).saturating_mul(MICROS_PER_DAY);
        let ending: u64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM custody WHERE retention_until <= ?1")?
            .query_row([now.micros().saturating_add(warned)], |row| row.get(0))?;
        let ahead: u64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM custody WHERE archived_ahead_at > ?1")?
            .query_row([now.micros()], |row| row.get(0))?;
        Ok(lasting + ending + ahead)
    }
}

impl Writing<'_> {
    pub(super) fn export_arrives(
        &mut self,
        position: i64,
        imported: bool,
        facts: &ExportRecordFacts,
    ) -> Result<(), StorageError> {
        let export = &facts.export;
        // What was made elsewhere rests on evidence that nobody here has looked at, whatever it says.
        let digest = if imported {
            ""
        } else {
            facts.evidence_digest.as_str()
        };
        self.connection
            .prepare_cached(
                "INSERT INTO auditor_export (export_id, position, generated_at, release_record_ref, verified, \
                 export_hash, verification_id, evidence_digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                export.export_id.as_str(),
                position,
                export.generated_at.micros(),
                export.release_record_ref.as_str(),
                export.verified,
                export.export_hash.as_str(),
                export.verification_id.as_str(),
                digest,
            ])?;
        self.touched.insert(export.export_id.clone(), Touched::Anew);
        Ok(())
    }

    pub(super) fn deliveries_arrive(
        &mut self,
        position: i64,
        deliveries: &[DeliveryFacts],
    ) -> Result<(), StorageError> {
        for delivery in deliveries {
            self.connection
                .prepare_cached(
                    "INSERT INTO delivery (export_id, provider_key, happened_at, position, delivery_id, provider, \
                     success, status_code, retry_after_seconds, verification_id, release_record_ref) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .execute(params![
                    delivery.export_id.as_str(),
                    delivery.provider.key(),
                    delivery.at.micros(),
                    position,
                    delivery.delivery_id.as_str(),
                    delivery.provider.as_str(),
                    delivery.success,
                    delivery.status_code,
                    delivery.retry_after_seconds,
                    delivery.verification_id.as_str(),
                    delivery.release_record_ref.as_str(),
                ])?;
            self.judge_deliveries(&delivery.export_id, delivery.provider.key())?;
        }
        Ok(())
    }

    /// Decides anew whether a group of deliveries is undelivered, and when it may be tried again. A group with as many
    /// failures on end as the policy allows is given up, however many more there are: only so many are looked at.
    fn judge_deliveries(&self, export_id: &ExportId, provider: &str) -> Result<(), StorageError> {
        let policy = RetryPolicy::default();
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {DELIVERY} WHERE d.export_id = ?1 AND d.provider_key = ?2 \
             ORDER BY d.happened_at DESC, d.position DESC LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![export_id.as_str(), provider, policy.max_retry_attempts()])?;
        let mut newest = Vec::new();
        while let Some(row) = rows.next()? {
            newest.push(delivery_of(row, &mut None)?);
        }
        let group = newest.into_iter().rev().fold(None, Undelivered::fold);
        let Some(group) = group else {
            self.connection
                .prepare_cached("DELETE FROM undelivered WHERE export_id = ?1 AND provider_key = ?2")?
                .execute([export_id.as_str(), provider])?;
            return Ok(());
        };
        let due_at = match policy.standing(&group) {
            Standing::Suppressed(_) => None,
            Standing::DueAt { due_at, .. } => Some(due_at.micros()),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO undelivered (export_id, provider_key, due_at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (export_id, provider_key) DO UPDATE SET due_at = excluded.due_at",
            )?
            .execute(params![export_id.as_str(), provider, due_at])?;
        Ok(())
    }

    pub(super) fn reference_arrives(
        &mut self,
        position: i64,
        reference: &ReferenceFacts,
    ) -> Result<(), StorageError> {
        let effective_at = reference.effective_at().micros();
        self.connection
            .prepare_cached(
                "INSERT INTO archive_reference (export_id, effective_at, position, reference_id, archived_at, \
                 recorded_at, archive_ref, archive_provider, archive_hash, retention_until, legal_hold, \
                 release_record_ref) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                reference.export_id.as_str(),
                effective_at,
                position,
                reference.reference_id.as_str(),
                reference.archived_at.micros(),
                reference.recorded_at.micros(),
                reference.archive_ref.as_str(),
                reference.archive_provider.as_str(),
                reference.archive_hash.as_str(),
                reference.retention_until.as_str(),
                reference.legal_hold,
                reference.release_record_ref.as_str(),
            ])?;
        self.touched
            .entry(reference.export_id.clone())
            .and_modify(|touched| *touched = Touched::Anew)
            .or_insert(Touched::Once((effective_at, position)));
        Ok(())
    }

    /// Judges the custody of every export that the job touched, once each, however many references it brought.
    pub(super) fn judge_touched(&mut self) -> Result<(), StorageError> {
        for (export_id, touched) in std::mem::take(&mut self.touched) {
            let followed = match touched {
                Touched::Once(place) => self.follow_reference(&export_id, place)?,
                Touched::Anew => None,
            };
            let now = match followed {
                Some(now) => now,
                None => self.custody_of(&export_id)?,
            };
            self.keep_custody(&export_id, now)?;
        }
        Ok(())
    }

    /// What follows from one more reference, without a look at more than a few around it.
    fn follow_reference(
        &self,
        export_id: &ExportId,
        place: Place,
    ) -> Result<Option<CustodyStanding>, StorageError> {
        let time = |micros: Option<i64>| micros.and_then(Timestamp::from_micros);
        let kept = self
            .connection
            .prepare_cached(
                "SELECT lasting_alert_count, retention_until, archived_ahead_at FROM custody WHERE export_id = ?1",
            )?
            .query_row([export_id.as_str()], |row| {
                Ok(CustodyStanding {
                    lasting_alerts: row.get(0)?,
                    retention_until: time(row.get(1)?),
                    archived_at_in_future: time(row.get(2)?),
                })
            })
            .optional()?;
        let Some(kept) = kept else { return Ok(None) };
        let (came, _) = self.references_beside(export_id, place, "=", "ASC", 1)?;
        let (before, all_before) =
            self.references_beside(export_id, place, "<", "DESC", BESIDE_REFERENCES)?;
        let (behind, all_behind) = self.references_beside(export_id, place, ">", "ASC", BESIDE_REFERENCES)?;
        let last = if all_behind {
            Vec::new()
        } else {
            self.references_beside(export_id, place, ">", "DESC", 1)?.0
        };
        let Some(reference) = came.first() else {
            return Ok(None);
        };
        let export = self.reading.export(export_id)?;
        let so_far = CustodySoFar {
            export: export.as_ref(),
            standing: kept,
            newest: last.first().or(behind.last()).or(before.first()),
            before: Beside {
                references: &before,
                all: all_before,
            },
            behind: Beside {
                references: &behind,
                all: all_behind,
            },
        };
        Ok(standing_with(&so_far, reference, &HealthPolicy::default()))
    }

    /// References of an export on one side of a place or at it, in an order that is given, and whether they are all.
    fn references_beside(
        &self,
        export_id: &ExportId,
        (effective_at, position): Place,
        side: &str,
        order: &str,
        most: usize,
    ) -> Result<(Vec<ReferenceFacts>, bool), StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {REFERENCE} FROM archive_reference r \
             WHERE r.export_id = ?1 AND (r.effective_at, r.position) {side} (?2, ?3) \
             ORDER BY r.effective_at {order}, r.position {order} LIMIT ?4"
        ))?;
        let mut rows = statement.query(params![export_id.as_str(), effective_at, position, most + 1])?;
        let mut found = Vec::new();
        let mut common = Common::default();
        while let Some(row) = rows.next()? {
            if found.len() == most {
                return Ok((found, false));
            }
            found.push(reference_of(row, 0, export_id, &mut common)?);
        }
        Ok((found, true))
    }

    /// What alerts the custody of an export has under the default policy, from all its references.
    fn custody_of(&self, export_id: &ExportId) -> Result<CustodyStanding, StorageError> {
        let export = self.reading.export(export_id)?;
        let references = if export.as_ref().is_some_and(|export| export.verified) {
            self.reading.references_to_verified(export_id)?
        } else {
            let mut all = Vec::new();
            let _ends = self.reading.visit_references(export_id, &mut |reference| {
                all.push(reference);
                Ok(ControlFlow::Continue(()))
            })?;
            all
        };
        let custody = Custody {
            export_id,
            export: export.as_ref(),
            references: &references,
        };
        Ok(standing(&custody, &HealthPolicy::default()))
    }

    fn keep_custody(&mut self, export_id: &ExportId, now: CustodyStanding) -> Result<(), StorageError> {
        let lasting = i64::try_from(now.lasting_alerts).unwrap_or(i64::MAX);
        let before: Option<i64> = self
            .connection
            .prepare_cached("SELECT lasting_alert_count FROM custody WHERE export_id = ?1")?
            .query_row([export_id.as_str()], |row| row.get(0))
            .optional()?;
        self.connection
            .prepare_cached(
                "INSERT INTO custody (export_id, lasting_alert_count, retention_until, archived_ahead_at) \
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT (export_id) DO UPDATE SET \
                 lasting_alert_count = excluded.lasting_alert_count, retention_until = excluded.retention_until, \
                 archived_ahead_at = excluded.archived_ahead_at",
            )?
            .execute(params![
                export_id.as_str(),
                lasting,
                now.retention_until.map(Timestamp::micros),
                now.archived_at_in_future.map(Timestamp::micros),
            ])?;
        self.count(LASTING_ALERTS, lasting - before.unwrap_or_default());
        Ok(())
    }

    pub(super) fn packet_arrives(
        &mut self,
        position: i64,
        created_at: Timestamp,
        kind: &EvidenceKind,
        release: &Text,
    ) -> Result<(), StorageError> {
        self.connection
            .prepare_cached(
                "INSERT INTO packet (release_record_ref, kind, created_at, position) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                release.as_str(),
                kind.as_str(),
                created_at.micros(),
                position
            ])?;
        Ok(())
    }
}

/// Fills the tables of this file from the evidence of a database that did not have them yet.
pub(super) fn fill(connection: &Connection) -> Result<(), StorageError> {
    let mut state = WriteState::default();
    let mut writing = Writing::begin(connection, &mut state)?;
    for kind in [
        EvidenceKind::AuditorExport,
        EvidenceKind::ConnectorDelivery,
        EvidenceKind::ArchiveReference,
        EvidenceKind::ReleaseAttachment,
        EvidenceKind::PacketVerification,
    ] {
        Reading::new(connection).visit_records(0, Some(kind.as_str()), None, &mut |record| {
            let value = serde_json::from_str(&record.json)
                .map_err(|_| StorageError::Corrupt(format!("record {} is not JSON", record.position)))?;
            let interpreted = interpret(&value, record.recorded_at)?;
            writing.project(
                signed(record.position)?,
                record.recorded_at,
                record.imported,
                &interpreted,
            )?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    writing.finish()
}

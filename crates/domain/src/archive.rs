//! Archive references and archive health: is every verified auditor export kept, unchanged, and for long enough
//! (contract wire 1.12, 1.13, 2.14, 2.15, 3.7, decisions 9).
//!
//! An operator-owned system writes an export into an immutable archive and reports what the archive says about it:
//! that is an [`ArchiveReferenceDocument`]. Nothing is written to an archive here, and nothing is read from one.
//!
//! Health is judged one export at a time: its [`Custody`] is the export and all its references, [`assess`] gives
//! its alerts, [`HealthCounts`] adds them up, [`ArchiveHealth`] is the report. [`standing`] is the same judgement
//! taken apart for an index. Both read one list of findings, so they cannot disagree.
//!
//! ```
//! use cavra_domain::archive::{ArchiveAlertKind, Custody, ExportFacts, HealthPolicy, assess};
//! use cavra_domain::id::ExportId;
//! use cavra_domain::public_safe::Text;
//! use cavra_domain::time::Timestamp;
//!
//! let export = ExportFacts {
//!     export_id: ExportId::parse("gordackfinalauditor-1")?,
//!     generated_at: Timestamp::parse("2026-01-02T03:04:05Z")?,
//!     export_hash: Text::empty(),
//!     verified: true,
//!     release_record_ref: Text::empty(),
//!     verification_id: Text::empty(),
//! };
//! let custody = Custody { export_id: &export.export_id, export: Some(&export), references: &[] };
//! let alerts = assess(&custody, &HealthPolicy::default(), Timestamp::parse("2026-02-01T00:00:00Z")?);
//! assert_eq!(alerts[0].alert_id, ArchiveAlertKind::ArchiveReferenceMissing);
//! assert_eq!(alerts[0].since, export.generated_at);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alert;
mod custody;
mod hash;
mod reference;
mod report;
#[cfg(test)]
mod testing;

pub use alert::{ArchiveAlert, ArchiveAlertKind, Severity};
pub use custody::{
    Beside, Custody, CustodySoFar, CustodyStanding, DEFAULT_EXPIRING_WITHIN_DAYS, ExportFacts, HealthPolicy,
    ReferenceFacts, assess, essential, standing, standing_with,
};
pub use hash::{ArchiveHash, ObservedHash};
pub use reference::{
    ARCHIVE_HASH, ARCHIVE_PROVIDER, ARCHIVE_REF, ARCHIVE_REFERENCE_SCHEMA, ArchiveReferenceDocument,
    ArchiveReferenceError, ArchiveReferenceTerms, DEFAULT_ARCHIVE_PROVIDER, NOTES, NewArchiveReference,
    RETENTION_UNTIL,
};
pub use report::{
    ARCHIVE_HEALTH_SCHEMA, AlertCounts, ArchiveHealth, ArchiveHealthHeader, HealthCounts, HealthEvidence,
    HealthInput,
};

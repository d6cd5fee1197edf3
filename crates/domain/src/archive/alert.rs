//! What can be wrong with the keeping of an export, and what to do about it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::digest::{hex, sha256_of};
use crate::id::ExportId;
use crate::public_safe::Text;
use crate::route::text_enum;
use crate::time::Timestamp;

text_enum! {
    /// How bad an alert is.
    Severity {
        /// The export is not shown to be kept, unchanged and for long enough.
        Critical = "critical",
        /// Something is missing or about to change.
        Warning = "warning",
    }
}

text_enum! {
    /// What an alert is about (contract decisions 9).
    ArchiveAlertKind {
        /// A verified export without any reference.
        ArchiveReferenceMissing = "archive_reference_missing",
        /// The judged reference's hash cannot be read.
        ArchiveHashMalformed = "archive_hash_malformed",
        /// The judged reference's SHA-256 is not the export's.
        ArchiveHashMismatch = "archive_hash_mismatch",
        /// The retention is over.
        RetentionExpired = "retention_expired",
        /// The retention date cannot be read.
        RetentionInvalid = "retention_invalid",
        /// The export was archived for a shorter time than the policy asks for.
        RetentionBelowPolicy = "retention_below_policy",
        /// Two references say what cannot both be true of an immutable archive.
        ReferencesConflict = "references_conflict",
        /// Archived before the export was made.
        ArchivedBeforeExport = "archived_before_export",
        /// The policy asks for a legal hold and there is none.
        LegalHoldMissing = "legal_hold_missing",
        /// No hash was reported.
        ArchiveHashMissing = "archive_hash_missing",
        /// The hash is an MD5 or a SHA-1.
        ArchiveHashWeak = "archive_hash_weak",
        /// No retention date was reported.
        RetentionUntilMissing = "retention_until_missing",
        /// The retention will be over soon.
        RetentionExpiring = "retention_expiring",
        /// A reference to an export that is not known.
        ReferenceOrphaned = "reference_orphaned",
        /// A reference to an export that is not verified.
        ReferenceOfUnverifiedExport = "reference_of_unverified_export",
        /// Archived at a time that has not come yet.
        ArchivedInFuture = "archived_in_future",
    }
}

impl ArchiveAlertKind {
    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::ArchiveReferenceMissing
            | Self::ArchiveHashMalformed
            | Self::ArchiveHashMismatch
            | Self::RetentionExpired
            | Self::RetentionInvalid
            | Self::RetentionBelowPolicy
            | Self::ReferencesConflict
            | Self::ArchivedBeforeExport
            | Self::LegalHoldMissing => Severity::Critical,
            Self::ArchiveHashMissing
            | Self::ArchiveHashWeak
            | Self::RetentionUntilMissing
            | Self::RetentionExpiring
            | Self::ReferenceOrphaned
            | Self::ReferenceOfUnverifiedExport
            | Self::ArchivedInFuture => Severity::Warning,
        }
    }

    /// What is wrong, for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::ArchiveReferenceMissing => "no archive reference names this verified export",
            Self::ArchiveHashMalformed => "the archive's hash is not a SHA-256 in hexadecimal",
            Self::ArchiveHashMismatch => "the archive's SHA-256 is not that of the export",
            Self::RetentionExpired => "the retention date has passed, so the archive may delete the export",
            Self::RetentionInvalid => "the retention date is not an RFC 3339 time",
            Self::RetentionBelowPolicy => "the export was archived for less than the minimum retention",
            Self::ReferencesConflict => {
                "two archive references of this export contradict each other in hash, retention or legal hold"
            }
            Self::ArchivedBeforeExport => "the archive reference is older than the export it names",
            Self::LegalHoldMissing => "the archived export is not under legal hold",
            Self::ArchiveHashMissing => "the archive reference has no hash",
            Self::ArchiveHashWeak => "the archive's hash is an MD5 or SHA-1, which does not identify a file",
            Self::RetentionUntilMissing => "the archive reference has no retention date",
            Self::RetentionExpiring => "the retention date is near",
            Self::ReferenceOrphaned => "the archive reference names an export that is not known here",
            Self::ReferenceOfUnverifiedExport => "the archive reference names an export that is not verified",
            Self::ArchivedInFuture => "the archive reference is dated in the future",
        }
    }

    /// What to do about it, for people: one sentence.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::ArchiveReferenceMissing => {
                "Write the export's bytes to the immutable archive and record a reference with the hash and the \
                 retention date that the archive reports."
            }
            Self::ArchiveHashMalformed => {
                "Read the object's SHA-256 from the archive and record a new reference with it, as `sha256:` and 64 \
                 hexadecimal digits."
            }
            Self::ArchiveHashMismatch => {
                "Fetch the object from the archive and compare it with the export: if the bytes differ, archive the \
                 export again, and in either case record a reference with the SHA-256 that the archive reports."
            }
            Self::RetentionExpired => {
                "Check that the object still exists, extend its retention in the archive, and record a new reference \
                 with the new date."
            }
            Self::RetentionInvalid => {
                "Read the retention date from the archive and record a new reference with it as an RFC 3339 time, such \
                 as 2033-01-01T00:00:00Z."
            }
            Self::RetentionBelowPolicy => {
                "Extend the object's retention in the archive to the minimum, counted from the day on which you record \
                 it, and record a new reference with the new date."
            }
            Self::ReferencesConflict => {
                "Find out from the archive which reference is true and why the other was recorded, and keep the answer \
                 with the release record: references are never erased, so the alert stays as a pointer to it."
            }
            Self::ArchivedBeforeExport => {
                "Check which export the archived object really is, archive this one, and record a new reference to it."
            }
            Self::LegalHoldMissing => {
                "Place the legal hold on the object in the archive and record a new reference that says so."
            }
            Self::ArchiveHashMissing => {
                "Read the object's SHA-256 from the archive and record a new reference with it."
            }
            Self::ArchiveHashWeak => {
                "Have the archive compute a SHA-256 of the object and record a new reference with it."
            }
            Self::RetentionUntilMissing => {
                "Set a retention date on the object in the archive and record a new reference with it."
            }
            Self::RetentionExpiring => {
                "Extend the object's retention in the archive before it ends and record a new reference with the new \
                 date, or decide that the export may go."
            }
            Self::ReferenceOrphaned => {
                "Import the export that the reference names, or find out why the reference was recorded."
            }
            Self::ReferenceOfUnverifiedExport => {
                "Verify the release, make a new export and archive that one: what is archived here proves nothing yet."
            }
            Self::ArchivedInFuture => {
                "Check the clock of the system that recorded the reference and record a new one with the right time."
            }
        }
    }
}

/// One thing that is wrong with the keeping of one export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArchiveAlert {
    /// What it is about; a kind, not an id.
    pub alert_id: ArchiveAlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// The export; the id that the reference names when the export is not known.
    pub export_id: ExportId,
    /// The reference concerned; empty when there is none.
    pub reference_id: String,
    /// The export's release record; the reference's when the export is not known.
    pub release_record_ref: Text,
    /// What is wrong, for people.
    pub message: &'static str,
    /// SHA-256 over export, kind and reference: the same alert has the same fingerprint in every report, and no
    /// other alert of a report has it.
    pub fingerprint: String,
    /// Since when it is wrong.
    pub since: Timestamp,
    /// What to do, for people.
    pub remedy: &'static str,
}

impl ArchiveAlert {
    /// The alert of a kind about an export and, where one is concerned, a reference (else empty).
    pub(super) fn new(
        kind: ArchiveAlertKind,
        export_id: &ExportId,
        reference_id: &str,
        release_record_ref: &Text,
        since: Timestamp,
    ) -> Self {
        Self {
            alert_id: kind,
            severity: kind.severity(),
            export_id: export_id.clone(),
            reference_id: reference_id.to_owned(),
            release_record_ref: release_record_ref.clone(),
            message: kind.message(),
            fingerprint: hex(&sha256_of([
                "archive-alert",
                export_id.as_str(),
                kind.as_str(),
                reference_id,
            ])),
            since,
            remedy: kind.remedy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_nine_critical_kinds_before_seven_warnings_and_each_reads_back() {
        let severities: Vec<_> = ArchiveAlertKind::ALL.iter().map(|kind| kind.severity()).collect();
        let (critical, warning) = severities.split_at(9);
        assert!(critical.iter().all(|severity| *severity == Severity::Critical));
        assert!(warning.iter().all(|severity| *severity == Severity::Warning));
        assert_eq!(warning.len(), 7);
        for kind in ArchiveAlertKind::ALL {
            assert_eq!(ArchiveAlertKind::parse(kind.as_str()), Some(*kind));
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(*severity));
        }
    }

    #[test]
    fn every_kind_has_a_message_and_a_remedy_of_one_sentence_of_its_own() {
        let texts: BTreeSet<_> = ArchiveAlertKind::ALL
            .iter()
            .flat_map(|kind| [kind.message(), kind.remedy()])
            .collect();
        assert_eq!(texts.len(), 32);
        for kind in ArchiveAlertKind::ALL {
            let remedy = kind.remedy();
            assert!(remedy.ends_with('.') && !remedy.contains(". "), "{remedy}");
            assert!(!kind.message().ends_with('.'), "{kind}");
        }
    }

    #[test]
    fn the_page_for_auditors_has_every_kind_with_its_severity_and_remedy() {
        let page = include_str!("../../../../docs/archive-health.md");
        for kind in ArchiveAlertKind::ALL {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{kind}` |")))
                .unwrap_or_else(|| panic!("no row for {kind}"));
            assert!(row.contains(&format!("| {} |", kind.severity())), "{row}");
            assert!(row.ends_with(&format!("| {} |", kind.remedy())), "{row}");
        }
    }
}

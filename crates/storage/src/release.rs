//! What can be read about releases: auditor exports, their deliveries and their archive references.

use cavra_domain::archive::{Custody, ExportFacts};
use cavra_domain::evidence::EvidenceKind;
use cavra_domain::id::ExportId;
use cavra_domain::public_safe::Text;
use cavra_domain::retry::DeliveryAttempt;
use cavra_domain::time::Timestamp;

use crate::{StorageError, StoredRecord, Visit};

/// Reads about releases, over the state of one [`crate::ReadTx`].
pub trait ReadReleases {
    /// An export, verified or not.
    fn export(&self, export_id: &ExportId) -> Result<Option<ExportFacts>, StorageError>;
    /// The newest verified export: of a release, or of all.
    fn newest_verified_export(&self, release: Option<&Text>) -> Result<Option<ExportFacts>, StorageError>;
    /// An export that was made here and rests on the same evidence.
    fn export_over(&self, evidence_digest: &str) -> Result<Option<ExportId>, StorageError>;
    /// The newest document of a kind in the packet of a release that was made elsewhere.
    fn packet_record(
        &self,
        release: &Text,
        kind: &EvidenceKind,
    ) -> Result<Option<StoredRecord>, StorageError>;
    /// Every delivery of every export to every provider, by export, then provider, then time.
    fn visit_deliveries(&self, visit: &mut dyn FnMut(DeliveryAttempt) -> Visit) -> Result<(), StorageError>;
    /// Every verified export with its archive references, newest first, then every export that is unknown or not
    /// verified and has references, with one of them after the other; only what names `release`, if one is given. Of many
    /// references to a verified export it has those that its judgement needs.
    fn visit_custody(
        &self,
        release: Option<&Text>,
        visit: &mut dyn FnMut(&Custody<'_>) -> Visit,
    ) -> Result<(), StorageError>;
    /// How many failed deliveries may be tried again now, by the default policy.
    fn retryable_now(&self, now: Timestamp) -> Result<u64, StorageError>;
    /// How many alerts a health report would have now, by the default policy.
    fn archive_alerts_now(&self, now: Timestamp) -> Result<u64, StorageError>;
}

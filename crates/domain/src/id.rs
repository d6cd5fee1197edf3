//! Ids: the published prefix and a `UUIDv7` (contract decisions 13), opaque to clients.
//!
//! Where two builds over the same input must give the same bytes, the id is derived from that input instead of
//! drawn: [`derived_uuid`]. Imported records keep the ids that they came with, so every id type also takes any
//! public-safe text.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::digest::sha256_of;
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::time::Timestamp;

/// Longest id that is taken from outside, in characters.
pub const MAX_ID_CHARS: usize = 300;

/// Where new ids come from. The domain never draws one by itself.
pub trait IdSource: Send + Sync + fmt::Debug {
    /// A new `UUIDv7` for something that happens at `at`.
    fn next(&self, at: Timestamp) -> Uuid;
}

/// Ids that count up from one: tests, examples and golden files.
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

impl IdSource for SequentialIds {
    fn next(&self, at: Timestamp) -> Uuid {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut random = [0; 10];
        for (target, byte) in random.iter_mut().skip(2).zip(count.to_be_bytes()) {
            *target = byte;
        }
        uuid_v7(at, &random)
    }
}

/// A `UUIDv7` whose time is `at` and whose random bits come from a SHA-256 over `parts`: the same input gives
/// the same id, on any machine and at any later replay.
pub fn derived_uuid(at: Timestamp, parts: &[&str]) -> Uuid {
    let mut random = [0; 10];
    for (target, byte) in random.iter_mut().zip(sha256_of(parts.iter().copied())) {
        *target = byte;
    }
    uuid_v7(at, &random)
}

/// A `UUIDv7` (RFC 9562 5.7) from a time and ten bytes.
pub fn uuid_v7(at: Timestamp, random: &[u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(at.unix_millis(), random).into_uuid()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $field:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Text);

        impl $name {
            /// The prefix of ids that this service gives out.
            pub const PREFIX: &'static str = $prefix;

            /// The id for a drawn or derived UUID.
            pub fn from_uuid(uuid: Uuid) -> Self {
                // A fixed prefix and hexadecimal digits hold nothing that the check could refuse.
                Self(Text::parse(Field::line($field, MAX_ID_CHARS), &format!("{}{uuid}", Self::PREFIX)).unwrap_or_default())
            }

            /// Takes an id from outside as it is.
            ///
            /// # Errors
            /// [`NotPublicSafe`] when it is too long or holds what no document may hold.
            pub fn parse(raw: &str) -> Result<Self, NotPublicSafe> {
                Text::parse(Field::line($field, MAX_ID_CHARS), raw).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

ids! {
    /// A notification plan, and with it a cycle.
    PlanId = "gordn-", "plan_id";
    /// A schedule, named by its owners.
    ScheduleId = "", "schedule_id";
    /// One route of one plan.
    RouteId = "gordroute-", "route_id";
    /// One acknowledgement record.
    AcknowledgementId = "gordack-", "acknowledgement_id";
    /// One bulk acknowledgement.
    BulkId = "gordbulkack-", "bulk_id";
    /// The undo of one acknowledgement.
    UndoId = "gordackundo-", "undo_id";
    /// The undo of one bulk acknowledgement.
    BulkUndoId = "gordbulkundo-", "bulk_undo_id";
    /// One audit package.
    AuditId = "gordackaudit-", "audit_id";
    /// One escalation plan.
    EscalationPlanId = "gordesc-", "plan_id";
    /// One suppression trend.
    TrendId = "gordrtrend-", "trend_id";
    /// One final auditor export.
    ExportId = "gordackfinalauditor-", "export_id";
    /// The verification of one auditor export.
    VerificationId = "gordackfinalpacket-", "verification_id";
    /// One recorded delivery of an auditor export.
    DeliveryId = "rcd-", "delivery_id";
    /// One retry plan of auditor export deliveries.
    RetryPlanId = "gordackfinalaudretry-", "retry_plan_id";
    /// One reference into an immutable archive.
    ArchiveReferenceId = "gordackfinalarchive-", "reference_id";
    /// One archive health report.
    ArchiveHealthId = "gordackfinalarchivehealth-", "health_id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_version_seven_and_depend_on_every_part() {
        let at = Timestamp::parse("2026-01-02T03:04:05Z").unwrap();
        let id = derived_uuid(at, &["a", "bc"]);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id, derived_uuid(at, &["a", "bc"]));
        assert_ne!(id, derived_uuid(at, &["ab", "c"]));
        assert_ne!(id, derived_uuid(at.plus_minutes(1), &["a", "bc"]));
    }

    #[test]
    fn sequential_ids_count_and_sort() {
        let ids = SequentialIds::default();
        let at = Timestamp::EPOCH;
        let (first, second) = (ids.next(at), ids.next(at));
        assert!(first < second);
        assert_eq!(
            PlanId::from_uuid(first).to_string(),
            "gordn-00000000-0000-7000-8000-000000000001"
        );
    }

    #[test]
    fn an_id_from_outside_is_kept_or_refused_but_never_changed() {
        assert_eq!(
            PlanId::parse("gordn-0123456789abcdef").unwrap().as_str(),
            "gordn-0123456789abcdef"
        );
        assert!(PlanId::parse("a\u{0}b").is_err());
        assert!(PlanId::parse(&"x".repeat(MAX_ID_CHARS + 1)).is_err());
    }
}

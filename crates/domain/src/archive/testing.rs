//! Examples and proptest strategies of archive health.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{ArchiveAlertKind, Custody, ExportFacts, HealthPolicy, ReferenceFacts, assess};
use crate::id::{ArchiveReferenceId, ExportId};
use crate::testing::{at, now, text};
use crate::time::{MICROS_PER_DAY, Timestamp};

/// The SHA-256 of every example export, without its name.
pub(super) fn right_hash() -> String {
    "ab".repeat(32)
}

pub(super) fn export_id(id: &str) -> ExportId {
    ExportId::parse(id).unwrap()
}

/// `days` after the example exports are made.
pub(super) fn day(days: i64) -> Timestamp {
    now().plus_micros(days * MICROS_PER_DAY)
}

/// The retention date of complete references.
pub(super) fn until() -> Timestamp {
    at("2033-01-01T00:00:00Z")
}

/// A verified export, made on day 0.
pub(super) fn export(id: &str) -> ExportFacts {
    ExportFacts {
        export_id: export_id(id),
        generated_at: day(0),
        export_hash: text(&right_hash()),
        verified: true,
        release_record_ref: text("REL-2026-01"),
        verification_id: text("gordackfinalpacket-1"),
    }
}

/// A complete reference to the export `e-1`, archived and recorded on day `number`, each to an object of its own.
pub(super) fn reference(number: u64) -> ReferenceFacts {
    let at = day(i64::try_from(number).unwrap());
    ReferenceFacts {
        reference_id: ArchiveReferenceId::parse(&format!("r-{number}")).unwrap(),
        export_id: export_id("e-1"),
        archived_at: at,
        recorded_at: at,
        position: number,
        archive_ref: text(&format!("worm://bucket/obj-{number}")),
        archive_provider: text("external_immutable_store"),
        archive_hash: text(&format!("sha256:{}", right_hash())),
        retention_until: text(&until().to_string()),
        legal_hold: false,
        release_record_ref: text("REL-2026-01"),
    }
}

/// An export, or none, and references: what a [`Custody`] borrows.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) export_id: ExportId,
    pub(super) export: Option<ExportFacts>,
    pub(super) references: Vec<ReferenceFacts>,
}

impl Kept {
    /// The export `e-1` with these references.
    pub(super) fn of(references: impl IntoIterator<Item = ReferenceFacts>) -> Self {
        Self {
            export_id: export_id("e-1"),
            export: Some(export("e-1")),
            references: references.into_iter().collect(),
        }
    }

    pub(super) fn custody(&self) -> Custody<'_> {
        Custody {
            export_id: &self.export_id,
            export: self.export.as_ref(),
            references: &self.references,
        }
    }

    /// Kind and reference of each alert.
    pub(super) fn alerts(&self, policy: &HealthPolicy, now: Timestamp) -> Vec<(ArchiveAlertKind, String)> {
        assess(&self.custody(), policy, now)
            .into_iter()
            .map(|alert| (alert.alert_id, alert.reference_id))
            .collect()
    }

    /// The kinds of its alerts under the default policy.
    pub(super) fn kinds(&self, now: Timestamp) -> Vec<ArchiveAlertKind> {
        self.kinds_under(&HealthPolicy::default(), now)
    }

    pub(super) fn kinds_under(&self, policy: &HealthPolicy, now: Timestamp) -> Vec<ArchiveAlertKind> {
        self.alerts(policy, now)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect()
    }

    /// The same references in the order of these keys.
    pub(super) fn shuffled(&self, keys: &[u32]) -> Self {
        let mut keyed: Vec<_> = keys.iter().cycle().zip(&self.references).collect();
        keyed.sort_by_key(|(key, _)| **key);
        Self {
            references: keyed.into_iter().map(|(_, facts)| facts.clone()).collect(),
            ..self.clone()
        }
    }

    /// Every time at which something can change, and a microsecond to both sides.
    pub(super) fn boundaries(&self, policy: &HealthPolicy) -> Vec<Timestamp> {
        let mut times = vec![Timestamp::MIN, day(0), Timestamp::MAX];
        for facts in &self.references {
            times.push(facts.archived_at);
            if let Ok(until) = Timestamp::parse_published(facts.retention_until.as_str()) {
                times.extend([until, policy.expiring_from(until)]);
            }
        }
        times
            .into_iter()
            .flat_map(|at| [at.plus_micros(-1), at, at.plus_micros(1)])
            .collect()
    }
}

/// Times that often meet: whole days around day 0, give or take a microsecond.
pub(super) fn any_time() -> impl Strategy<Value = Timestamp> {
    (-3_i64..40, -1_i64..=1).prop_map(|(days, micros)| day(days).plus_micros(micros))
}

pub(super) fn any_policy() -> impl Strategy<Value = HealthPolicy> {
    let bounds = (
        option::of(select(vec![0, 1, 10, u32::MAX])),
        select(vec![0, 1, 30, u32::MAX]),
    );
    (
        any::<[bool; 3]>(),
        bounds,
        option::of(select(vec!["REL-1", "REL-2"])),
    )
        .prop_map(
            |([hash, retention, hold], (minimum_retention_days, expiring_within_days), scope)| HealthPolicy {
                require_archive_hash: hash,
                require_retention_until: retention,
                minimum_retention_days,
                expiring_within_days,
                require_legal_hold: hold,
                release_record_ref: scope.map(text),
            },
        )
}

fn any_reference() -> impl Strategy<Value = ReferenceFacts> {
    let hashes = vec![
        String::new(),
        right_hash(),
        format!("SHA256:{}", right_hash().to_uppercase()),
        "cd".repeat(32),
        "a".repeat(32),
        format!("md5:{}", "b".repeat(32)),
        "etag".to_owned(),
    ];
    let retention = prop_oneof![
        2 => any_time().prop_map(|at| at.to_string()),
        1 => select(vec!["", " ", "never", "2033-01-01T00:00:00", "0000-01-01T00:00:00Z"]).prop_map(str::to_owned),
    ];
    (
        (any_time(), any_time()),
        select(hashes),
        retention,
        any::<bool>(),
        select(vec!["", "worm://a", "worm://b"]),
        select(vec!["s3-worm", "S3_Worm", "tape"]),
        select(vec!["REL-1", "REL-2"]),
    )
        .prop_map(
            |((archived_at, recorded_at), hash, until, legal_hold, object, archive, release)| {
                ReferenceFacts {
                    archived_at,
                    recorded_at,
                    archive_ref: text(object),
                    archive_provider: text(archive),
                    archive_hash: text(&hash),
                    retention_until: text(&until),
                    legal_hold,
                    release_record_ref: text(release),
                    ..reference(1)
                }
            },
        )
}

/// A verified, an unverified or an unknown export with up to five references, good and bad.
pub(super) fn any_kept() -> impl Strategy<Value = Kept> {
    let export_facts = (
        any::<bool>(),
        any_time(),
        select(vec!["REL-1", "REL-2"]),
        0..3_usize,
    )
        .prop_map(|(unverified, generated_at, release, hash)| ExportFacts {
            generated_at,
            export_hash: text(&[right_hash(), format!("sha256:{}", right_hash()), "unknown".into()][hash]),
            // Verified ones have the more rules.
            verified: !(unverified && hash == 0),
            release_record_ref: text(release),
            ..export("e-1")
        });
    (option::weighted(0.85, export_facts), vec(any_reference(), 0..6)).prop_map(|(export, references)| Kept {
        export_id: export_id("e-1"),
        export,
        references: (1_u64..)
            .zip(references)
            .map(|(number, facts)| ReferenceFacts {
                reference_id: ArchiveReferenceId::parse(&format!("r-{number}")).unwrap(),
                position: number,
                ..facts
            })
            .collect(),
    })
}

/// Several exports with ids of their own.
pub(super) fn any_keptings() -> impl Strategy<Value = Vec<Kept>> {
    vec(any_kept(), 0..6).prop_map(|keptings| {
        (1..)
            .zip(keptings)
            .map(|(number, mut kept): (u32, Kept)| {
                let id = export_id(&format!("e-{number}"));
                if let Some(export) = &mut kept.export {
                    export.export_id = id.clone();
                }
                for facts in &mut kept.references {
                    facts.export_id = id.clone();
                    facts.reference_id =
                        ArchiveReferenceId::parse(&format!("{number}-{}", facts.reference_id)).unwrap();
                }
                kept.export_id = id;
                kept
            })
            .collect()
    })
}

/// References whose last is complete and none of which contradicts another: a healthy export until
/// [`until`].
pub(super) fn healthy_references() -> impl Strategy<Value = Vec<ReferenceFacts>> {
    let md5 = format!("md5:{}", "c".repeat(32));
    let older = (
        select(vec![String::new(), right_hash(), md5, "etag".to_owned()]),
        select(vec!["", "soon", "2026-01-20T00:00:00Z", "2027-01-01T00:00:00Z"]),
        any::<bool>(),
    );
    (vec(older, 0..4), any::<bool>()).prop_map(|(mut older, one_object)| {
        // An archive can only extend: dates and holds of one object never go back.
        if one_object {
            let mut dates: Vec<_> = older.iter().map(|(_, date, _)| *date).collect();
            dates.sort_unstable();
            let mut holds: Vec<_> = older.iter().map(|(_, _, hold)| *hold).collect();
            holds.sort_unstable();
            for ((facts, date), hold) in older.iter_mut().zip(dates).zip(holds) {
                (facts.1, facts.2) = (date, hold);
            }
        }
        let mut references: Vec<_> = (1..)
            .zip(older)
            .map(|(number, (hash, date, legal_hold))| ReferenceFacts {
                archive_hash: text(&hash),
                retention_until: text(date),
                legal_hold,
                ..reference(number)
            })
            .collect();
        let last = u64::try_from(references.len()).unwrap() + 1;
        references.push(ReferenceFacts {
            legal_hold: true,
            ..reference(last)
        });
        if one_object {
            for facts in &mut references {
                facts.archive_ref = text("worm://bucket/obj");
            }
        }
        references
    })
}

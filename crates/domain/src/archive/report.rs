//! The archive health report (contract wire 1.13).
//!
//! A report may hold 100,000 alerts and more, so it can be written in pieces, like an audit package:
//! [`ArchiveHealth::OPEN`], one [`ArchiveAlert`] after the other with commas between them,
//! [`ArchiveHealthHeader::close`]. The pieces, joined, are one JSON object. What depends on all alerts stands behind
//! them, so that the text can be digested and stored while it is made.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::alert::{ArchiveAlert, ArchiveAlertKind, Severity};
use super::custody::{Custody, HealthPolicy};
use crate::actor::Actor;
use crate::evidence::{DocumentDigest, EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::ArchiveHealthId;
use crate::public_safe::Text;
use crate::route::Level;
use crate::time::Timestamp;

/// Schema of the report.
pub const ARCHIVE_HEALTH_SCHEMA: &str =
    "cavra.go-backend-pilot.rollback-drill-final-reporting-archive-reference-health.v1";

/// The security properties that the report states of itself.
const CONTROLS: [&str; 3] = [
    "public-safe-fields-only",
    "every-verified-export-judged",
    "archive-observed-hash-only",
];

/// Alerts per kind; every kind is there, those without alerts with 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AlertCounts(BTreeMap<ArchiveAlertKind, u64>);

/// An object with one count per kind, all of them required.
impl JsonSchema for AlertCounts {
    fn schema_name() -> Cow<'static, str> {
        "AlertCounts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = ArchiveAlertKind::ALL.iter().map(|kind| kind.as_str());
        let counts: Map<String, Value> = kinds
            .clone()
            .map(|kind| (kind.to_owned(), json!(u64::json_schema(generator))))
            .collect();
        json_schema!({
            "description": "Alerts per kind; every kind is there, those without alerts with 0.",
            "type": "object",
            "properties": counts,
            "required": kinds.collect::<Vec<_>>(),
            "additionalProperties": false
        })
    }
}

impl Default for AlertCounts {
    fn default() -> Self {
        Self(ArchiveAlertKind::ALL.iter().map(|kind| (*kind, 0)).collect())
    }
}

impl AlertCounts {
    /// Counts alerts of a kind.
    pub fn add(&mut self, kind: ArchiveAlertKind, count: u64) {
        *self.0.entry(kind).or_default() += count;
    }

    /// Alerts of a kind.
    pub fn of(&self, kind: ArchiveAlertKind) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// The kinds that have alerts, in their order.
    pub fn occurring(&self) -> impl Iterator<Item = ArchiveAlertKind> {
        self.0
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(kind, _)| *kind)
    }
}

/// Counts over everything that was judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthCounts {
    /// Verified exports in scope.
    pub checked_export_count: u64,
    /// Those with a reference.
    pub archived_export_count: u64,
    /// Those without; with the archived ones they add up to the checked ones.
    pub missing_archive_reference_count: u64,
    /// Alerts.
    pub alert_count: u64,
    /// Critical alerts.
    pub critical_alert_count: u64,
    /// Warnings; with the critical ones they add up to all alerts.
    pub warning_alert_count: u64,
    /// References whose export is not known.
    pub orphaned_reference_count: u64,
    /// References whose export is not verified.
    pub unverified_export_reference_count: u64,
    /// Alerts per kind.
    pub alert_counts: AlertCounts,
}

impl HealthCounts {
    /// Counts one export and its `alerts`, as [`super::assess`] gave them under the same policy.
    pub fn add(&mut self, custody: &Custody<'_>, policy: &HealthPolicy, alerts: &[ArchiveAlert]) {
        if custody.judged(policy).is_some() {
            self.checked_export_count += 1;
            if custody.references.is_empty() {
                self.missing_archive_reference_count += 1;
            } else {
                self.archived_export_count += 1;
            }
        }
        for alert in alerts {
            self.alert_count += 1;
            match alert.severity {
                Severity::Critical => self.critical_alert_count += 1,
                Severity::Warning => self.warning_alert_count += 1,
            }
            self.alert_counts.add(alert.alert_id, 1);
        }
        self.orphaned_reference_count = self.alert_counts.of(ArchiveAlertKind::ReferenceOrphaned);
        self.unverified_export_reference_count = self
            .alert_counts
            .of(ArchiveAlertKind::ReferenceOfUnverifiedExport);
    }

    /// Critical if any alert is, else warning if there is any, else healthy: also when there is nothing to judge.
    pub const fn level(&self) -> Level {
        if self.critical_alert_count > 0 {
            Level::Critical
        } else if self.warning_alert_count > 0 {
            Level::Warning
        } else {
            Level::Healthy
        }
    }
}

/// The evidence that a report was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HealthEvidence {
    /// Sequence number of the newest record that it has seen.
    pub log_position: u64,
}

/// What a report is made from, besides its alerts.
#[derive(Debug, Clone)]
pub struct HealthInput<'a> {
    /// The report's id.
    pub health_id: ArchiveHealthId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: &'a Actor,
    /// The policy that was applied.
    pub policy: &'a HealthPolicy,
    /// The counts.
    pub counts: &'a HealthCounts,
    /// The evidence.
    pub evidence: HealthEvidence,
}

/// Everything of a report but its alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArchiveHealthHeader {
    /// [`ARCHIVE_HEALTH_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This report.
    pub health_id: ArchiveHealthId,
    /// When it was made: the time that retention was held against.
    pub generated_at: Timestamp,
    /// Display name of the actor.
    pub generated_by: Text,
    /// Critical if any alert is, else warning if there is any, else healthy.
    pub alert_level: Level,
    /// Verified exports in scope: every one was judged.
    pub checked_export_count: u64,
    /// Those with a reference.
    pub archived_export_count: u64,
    /// Those without.
    pub missing_archive_reference_count: u64,
    /// Alerts.
    pub alert_count: u64,
    /// Critical alerts.
    pub critical_alert_count: u64,
    /// Warnings.
    pub warning_alert_count: u64,
    /// Alerts per kind; every kind is there.
    pub alert_counts: AlertCounts,
    /// References whose export is not known.
    pub orphaned_reference_count: u64,
    /// References whose export is not verified.
    pub unverified_export_reference_count: u64,
    /// The policy that was applied.
    pub policy: HealthPolicy,
    /// What it was made from.
    pub evidence: HealthEvidence,
    /// Who made it.
    pub actor: Actor,
    /// What to do: once for each kind of alert that occurs, empty when healthy.
    pub recommended_actions: Vec<&'static str>,
    /// Security properties, as labels.
    pub controls: Vec<&'static str>,
}

impl ArchiveHealthHeader {
    /// The header of a report.
    pub fn new(input: HealthInput<'_>) -> Self {
        let counts = input.counts;
        Self {
            schema_version: ARCHIVE_HEALTH_SCHEMA,
            product: PRODUCT,
            health_id: input.health_id,
            generated_at: input.at,
            generated_by: input.actor.actor.clone(),
            alert_level: counts.level(),
            checked_export_count: counts.checked_export_count,
            archived_export_count: counts.archived_export_count,
            missing_archive_reference_count: counts.missing_archive_reference_count,
            alert_count: counts.alert_count,
            critical_alert_count: counts.critical_alert_count,
            warning_alert_count: counts.warning_alert_count,
            alert_counts: counts.alert_counts.clone(),
            orphaned_reference_count: counts.orphaned_reference_count,
            unverified_export_reference_count: counts.unverified_export_reference_count,
            policy: input.policy.clone(),
            evidence: input.evidence,
            actor: input.actor.clone(),
            recommended_actions: counts
                .alert_counts
                .occurring()
                .map(ArchiveAlertKind::remedy)
                .collect(),
            controls: CONTROLS.to_vec(),
        }
    }

    /// The end of the report's text: the end of the list of alerts, and every other member.
    pub fn close(&self) -> String {
        // A struct of texts and numbers always serialises.
        let mut members = serde_json::to_string(self).unwrap_or_default();
        members.replace_range(..members.len().min(1), "],");
        members
    }

    /// The evidence record of a report that is kept elsewhere: all but its alerts, how many are left out, and digest
    /// and size of the whole.
    pub fn record(&self, whole: &DocumentDigest) -> MetadataRecord {
        let mut summary = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Value::Object(members) = &mut summary {
            members.insert("alerts_omitted".into(), json!(self.alert_count));
            members.insert("document_sha256".into(), json!(whole.sha256));
            members.insert("document_bytes".into(), json!(whole.bytes));
        }
        self.record_with(summary)
    }

    fn record_with(&self, document: Value) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::ArchiveHealth,
            session_id: self.health_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: self.checked_export_count,
            blocked_count: self.critical_alert_count,
            approval_required_count: self.alert_count,
            fields: vec![
                ("health_id", json!(self.health_id)),
                ("alert_level", json!(self.alert_level)),
                ("alert_count", json!(self.alert_count)),
                ("critical_alert_count", json!(self.critical_alert_count)),
                ("warning_alert_count", json!(self.warning_alert_count)),
                (
                    "missing_archive_reference_count",
                    json!(self.missing_archive_reference_count),
                ),
            ],
            payload: (EvidenceKind::ArchiveHealth.payload_key(), document),
        }
    }
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "ArchiveHealth")]
pub struct ArchiveHealth {
    /// The alerts.
    pub alerts: Vec<ArchiveAlert>,
    /// Everything but the alerts.
    #[serde(flatten)]
    pub header: ArchiveHealthHeader,
}

impl ArchiveHealth {
    /// The beginning of every report's text, up to the list of alerts.
    pub const OPEN: &'static str = "{\"alerts\":[";

    /// The report's text; the same bytes as its pieces, joined.
    pub fn text(&self) -> String {
        let mut text = Self::OPEN.to_owned();
        for (index, alert) in self.alerts.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(alert).unwrap_or_default());
        }
        text.push_str(&self.header.close());
        text
    }

    /// The evidence record of the report: with the whole document, or, when that is kept elsewhere, as
    /// [`ArchiveHealthHeader::record`] has it.
    pub fn record(&self, whole: Option<&DocumentDigest>) -> MetadataRecord {
        match whole {
            Some(whole) => self.header.record(whole),
            None => self
                .header
                .record_with(serde_json::to_value(self).unwrap_or(Value::Null)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::assess;
    use super::super::testing::{
        Kept, any_keptings, any_policy, any_time, day, export, reference, right_hash, until,
    };
    use super::super::{ArchiveReferenceDocument, ArchiveReferenceTerms, NewArchiveReference};
    use super::*;
    use crate::id::ArchiveReferenceId;
    use crate::testing::{actor, text};

    /// The report over these exports.
    fn report(keptings: &[Kept], policy: &HealthPolicy, now: Timestamp) -> ArchiveHealth {
        let mut counts = HealthCounts::default();
        let mut alerts = Vec::new();
        for kept in keptings {
            let found = assess(&kept.custody(), policy, now);
            counts.add(&kept.custody(), policy, &found);
            alerts.extend(found);
        }
        ArchiveHealth {
            header: ArchiveHealthHeader::new(HealthInput {
                health_id: ArchiveHealthId::parse("gordackfinalarchivehealth-1").unwrap(),
                at: now,
                actor: &actor("ana"),
                policy,
                counts: &counts,
                evidence: HealthEvidence { log_position: 42 },
            }),
            alerts,
        }
    }

    fn default_report(keptings: &[Kept]) -> ArchiveHealth {
        report(keptings, &HealthPolicy::default(), day(10))
    }

    fn digest() -> DocumentDigest {
        DocumentDigest {
            sha256: "ef".repeat(32),
            bytes: 17,
        }
    }

    #[test]
    fn the_walk_from_missing_over_two_warnings_to_healthy() {
        let export = export("e-1");
        let bind = |number, hash: &str, until: &str| {
            let terms = ArchiveReferenceTerms {
                archive_ref: "worm://bucket/obj-1",
                archive_hash: hash,
                retention_until: until,
                ..ArchiveReferenceTerms::default()
            };
            let id = ArchiveReferenceId::parse(&format!("r-{number}")).unwrap();
            let at = day(i64::try_from(number).unwrap());
            let new = NewArchiveReference::parse(&terms, actor("ana")).unwrap();
            ArchiveReferenceDocument::bind(new, id, at, &export, &[])
                .unwrap()
                .facts(at, number)
        };
        let mut kept = Kept::of([]);
        let seen = |kept: &Kept| {
            let report = default_report(std::slice::from_ref(kept));
            let kinds: Vec<_> = report
                .alerts
                .iter()
                .map(|alert| alert.alert_id.as_str())
                .collect();
            (report.header.alert_level, kinds)
        };
        assert_eq!(seen(&kept), (Level::Critical, vec!["archive_reference_missing"]));
        kept.references.push(bind(1, "", ""));
        assert_eq!(
            seen(&kept),
            (
                Level::Warning,
                vec!["archive_hash_missing", "retention_until_missing"]
            )
        );
        kept.references
            .push(bind(2, &right_hash(), "2033-01-01T00:00:00Z"));
        assert_eq!(seen(&kept), (Level::Healthy, Vec::new()));
    }

    #[test]
    fn a_report_over_nothing_is_healthy_and_recommends_nothing() {
        let report = default_report(&[]);
        assert_eq!(report.header.alert_level, Level::Healthy);
        assert_eq!(
            (report.header.checked_export_count, report.header.alert_count),
            (0, 0)
        );
        assert!(report.header.recommended_actions.is_empty());
        let value: Value = serde_json::from_str(&report.text()).unwrap();
        assert_eq!(value["alerts"], json!([]));
        assert_eq!(value["alert_counts"].as_object().unwrap().len(), 16);
    }

    #[test]
    fn a_report_counts_exports_references_and_each_kind() {
        let mut missing = Kept::of([]);
        missing.export_id = super::super::testing::export_id("e-2");
        missing.export = Some(export("e-2"));
        let mut orphan = Kept::of([reference(1), reference(2)]);
        orphan.export = None;
        let mut unverified = Kept::of([reference(3)]);
        unverified.export.as_mut().unwrap().verified = false;
        let mut bare = Kept::of([reference(4)]);
        bare.references[0].archive_hash = Text::empty();
        let keptings = [missing, orphan, unverified, bare, Kept::of([reference(5)])];
        let header = default_report(&keptings).header;
        assert_eq!(
            [
                header.checked_export_count,
                header.archived_export_count,
                header.missing_archive_reference_count,
                header.alert_count,
                header.critical_alert_count,
                header.warning_alert_count,
                header.orphaned_reference_count,
                header.unverified_export_reference_count,
            ],
            [3, 2, 1, 5, 1, 4, 2, 1]
        );
        assert_eq!(header.alert_level, Level::Critical);
        assert_eq!(header.alert_counts.of(ArchiveAlertKind::ArchiveHashMissing), 1);
        assert_eq!(header.alert_counts.of(ArchiveAlertKind::RetentionExpired), 0);
        let expected = [
            ArchiveAlertKind::ArchiveReferenceMissing,
            ArchiveAlertKind::ArchiveHashMissing,
            ArchiveAlertKind::ReferenceOrphaned,
            ArchiveAlertKind::ReferenceOfUnverifiedExport,
        ];
        assert_eq!(header.recommended_actions, expected.map(ArchiveAlertKind::remedy));
    }

    #[test]
    fn an_export_outside_the_scope_is_not_counted() {
        let policy = HealthPolicy {
            release_record_ref: Some(text("REL-other")),
            ..HealthPolicy::default()
        };
        let header = report(&[Kept::of([])], &policy, day(10)).header;
        assert_eq!((header.checked_export_count, header.alert_count), (0, 0));
        assert_eq!(json!(header.policy)["release_record_ref"], "REL-other");
    }

    #[test]
    fn the_report_has_the_published_members_in_the_published_order_behind_the_alerts() {
        let mut kept = Kept::of([reference(1)]);
        kept.references[0].retention_until = Text::empty();
        let report = default_report(&[kept]);
        let remedy = ArchiveAlertKind::RetentionUntilMissing.remedy();
        let expected = format!(
            concat!(
                r#"{{"alerts":[{{"#,
                r#""alert_id":"retention_until_missing","severity":"warning","export_id":"e-1","reference_id":"r-1","#,
                r#""release_record_ref":"REL-2026-01","message":"{message}","fingerprint":"{fingerprint}","#,
                r#""since":"2026-01-03T03:04:05.678901Z","remedy":"{remedy}"}}],"#,
                r#""schema_version":"cavra.go-backend-pilot.rollback-drill-final-reporting-archive-reference-health.v1","#,
                r#""product":"CAVRA","health_id":"gordackfinalarchivehealth-1","#,
                r#""generated_at":"2026-01-12T03:04:05.678901Z","generated_by":"ana","alert_level":"warning","#,
                r#""checked_export_count":1,"archived_export_count":1,"missing_archive_reference_count":0,"#,
                r#""alert_count":1,"critical_alert_count":0,"warning_alert_count":1,"alert_counts":{{"#,
                r#""archive_reference_missing":0,"archive_hash_malformed":0,"archive_hash_mismatch":0,"#,
                r#""retention_expired":0,"retention_invalid":0,"retention_below_policy":0,"references_conflict":0,"#,
                r#""archived_before_export":0,"legal_hold_missing":0,"archive_hash_missing":0,"archive_hash_weak":0,"#,
                r#""retention_until_missing":1,"retention_expiring":0,"reference_orphaned":0,"#,
                r#""reference_of_unverified_export":0,"archived_in_future":0}},"orphaned_reference_count":0,"#,
                r#""unverified_export_reference_count":0,"policy":{{"require_archive_hash":true,"#,
                r#""require_retention_until":true,"minimum_retention_days":null,"expiring_within_days":30,"#,
                r#""require_legal_hold":false,"release_record_ref":null}},"evidence":{{"log_position":42}},"#,
                r#""actor":{{"actor":"ana","subject":"ana","issuer":"local","groups":[],"repository":null,"#,
                r#""verified":false}},"recommended_actions":["{remedy}"],"controls":["public-safe-fields-only","#,
                r#""every-verified-export-judged","archive-observed-hash-only"]}}"#,
            ),
            message = ArchiveAlertKind::RetentionUntilMissing.message(),
            fingerprint = report.alerts[0].fingerprint,
            remedy = remedy,
        );
        assert_eq!(report.text(), expected);
    }

    #[test]
    fn the_fingerprint_of_an_alert_is_what_another_program_computes_from_its_members() {
        // Python: hashlib.sha256 over len(part).to_bytes(8, "big") + part of "archive-alert", "e-1",
        // "archive_reference_missing" and "".
        assert_eq!(
            default_report(&[Kept::of([])]).alerts[0].fingerprint,
            "9025ab28ef662996255d6fef850f4f3ad88b891d93e444c20ffffb056b1939e0"
        );
    }

    #[test]
    fn the_record_holds_the_whole_report_or_says_what_is_left_out() {
        let mut orphan = Kept::of([reference(1)]);
        orphan.export = None;
        let report = default_report(&[Kept::of([]), orphan]);
        let whole = report.record(None).into_value();
        assert_eq!(
            serde_json::to_string(&whole["final_reporting_archive_reference_health"]).unwrap(),
            report.text()
        );
        let expected = [
            ("session_id", json!("gordackfinalarchivehealth-1")),
            ("created_at", json!(day(10))),
            ("signer", json!("ana")),
            ("decision_count", json!(1)),
            ("blocked_count", json!(1)),
            ("approval_required_count", json!(2)),
            ("metadata_kind", json!(EvidenceKind::ArchiveHealth.as_str())),
            ("health_id", json!("gordackfinalarchivehealth-1")),
            ("alert_level", json!("critical")),
            ("alert_count", json!(2)),
            ("critical_alert_count", json!(1)),
            ("warning_alert_count", json!(1)),
            ("missing_archive_reference_count", json!(1)),
        ];
        let short = report.record(Some(&digest())).into_value();
        for (key, value) in expected {
            assert_eq!((&whole[key], &short[key]), (&value, &value), "{key}");
        }
        let summary = &short["final_reporting_archive_reference_health"];
        assert_eq!(summary.get("alerts"), None);
        assert_eq!(
            (
                &summary["alerts_omitted"],
                &summary["document_sha256"],
                &summary["document_bytes"]
            ),
            (&json!(2), &json!("ef".repeat(32)), &json!(17))
        );
        assert_eq!(
            summary["recommended_actions"],
            json!(report.header.recommended_actions)
        );
    }

    #[test]
    fn the_schema_of_a_report_names_exactly_the_members_that_it_has() {
        fn names(object: &Value) -> BTreeSet<&str> {
            object.as_object().unwrap().keys().map(String::as_str).collect()
        }
        let schema = json!(schemars::schema_for!(ArchiveHealth));
        let report = json!(default_report(&[Kept::of([])]));
        assert_eq!(names(&schema["properties"]), names(&report));
        let definitions = &schema["$defs"];
        assert_eq!(
            names(&definitions["AlertCounts"]["properties"]),
            names(&report["alert_counts"])
        );
        assert_eq!(
            names(&definitions["ArchiveAlert"]["properties"]),
            names(&report["alerts"][0])
        );
    }

    proptest! {
        #[test]
        fn the_counts_of_a_report_partition_its_alerts_and_exports(
            keptings in any_keptings(), policy in any_policy(), now in any_time(),
        ) {
            let report = report(&keptings, &policy, now);
            let header = &report.header;
            prop_assert_eq!(header.alert_count, report.alerts.len() as u64);
            prop_assert_eq!(header.critical_alert_count + header.warning_alert_count, header.alert_count);
            let per_kind = |kind| report.alerts.iter().filter(|alert| alert.alert_id == kind).count() as u64;
            let mut total = 0;
            for kind in ArchiveAlertKind::ALL {
                prop_assert_eq!(header.alert_counts.of(*kind), per_kind(*kind));
                total += header.alert_counts.of(*kind);
            }
            prop_assert_eq!(total, header.alert_count);
            prop_assert_eq!(
                header.archived_export_count + header.missing_archive_reference_count,
                header.checked_export_count
            );
            prop_assert_eq!(
                header.missing_archive_reference_count,
                per_kind(ArchiveAlertKind::ArchiveReferenceMissing)
            );
            let judged = keptings.iter().filter(|kept| kept.custody().judged(&policy).is_some()).count();
            prop_assert_eq!(header.checked_export_count, judged as u64);
            let level = if header.critical_alert_count > 0 {
                Level::Critical
            } else if header.alert_count > 0 {
                Level::Warning
            } else {
                Level::Healthy
            };
            prop_assert_eq!(header.alert_level, level);
            prop_assert_eq!(header.recommended_actions.is_empty(), level == Level::Healthy);
        }

        #[test]
        fn fingerprints_are_unique_in_a_report_and_the_same_in_every_report(
            keptings in any_keptings(), policy in any_policy(), now in any_time(), later in any_time(),
        ) {
            let about = |alert: &ArchiveAlert| {
                (alert.export_id.clone(), alert.alert_id, alert.reference_id.clone())
            };
            let (first, second) = (report(&keptings, &policy, now), report(&keptings, &policy, later));
            let distinct: BTreeSet<_> = first.alerts.iter().map(|alert| &alert.fingerprint).collect();
            prop_assert_eq!(distinct.len(), first.alerts.len());
            for one in &first.alerts {
                for other in &second.alerts {
                    prop_assert_eq!(one.fingerprint == other.fingerprint, about(one) == about(other));
                    if about(one) == about(other) {
                        prop_assert_eq!(one.since, other.since);
                    }
                }
            }
        }

        #[test]
        fn the_pieces_of_a_report_joined_are_the_report(
            keptings in any_keptings(), policy in any_policy(), now in any_time(),
        ) {
            let report = report(&keptings, &policy, now);
            prop_assert_eq!(report.text(), serde_json::to_string(&report).unwrap());
        }
    }

    #[test]
    fn the_same_exports_later_have_one_alert_more_when_a_retention_has_ended() {
        let keptings = [Kept::of([reference(1)])];
        let level = |now| {
            report(&keptings, &HealthPolicy::default(), now)
                .header
                .alert_level
        };
        assert_eq!(level(day(10)), Level::Healthy);
        assert_eq!(level(until().plus_micros(-1)), Level::Warning);
        assert_eq!(level(until()), Level::Critical);
    }
}

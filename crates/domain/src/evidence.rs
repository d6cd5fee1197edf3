//! Evidence: the kinds of records, the metadata record that wraps every document (contract wire 1.1), the terms
//! by which history finds a record, and the counters that it adds to.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::route::normalised;
use crate::time::Timestamp;

/// The product name on every document.
pub const PRODUCT: &str = "CAVRA";

/// Schema of the metadata record.
pub const METADATA_SCHEMA: &str = "cavra.evidence.metadata.v1";

/// The start of every kind of this area.
const AREA: &str = "go-backend-rollback-drill-";

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $payload:literal;)*) => {
        /// The kinds of evidence in this service's scope. A record of any other kind is kept as
        /// [`EvidenceKind::Other`] and never interpreted.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EvidenceKind {
            $($(#[$doc])* $variant,)*
            /// Outside this service's scope.
            Other(String),
        }

        impl EvidenceKind {
            /// Every kind in scope.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The kind as `metadata_kind` writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// The kind that a `metadata_kind` names.
            pub fn of(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }

            /// The key of the record under which the document stands.
            pub fn payload_key(&self) -> &'static str {
                match self {
                    $(Self::$variant => $payload,)*
                    Self::Other(_) => "",
                }
            }
        }
    };
}

kinds! {
    /// A plan, and with it a cycle.
    NotificationPlan = "go-backend-rollback-drill-notification-plan", "plan";
    /// One acknowledgement.
    NotificationAck = "go-backend-rollback-drill-notification-ack", "acknowledgement";
    /// A bulk acknowledgement's own record.
    BulkAcknowledgement = "go-backend-rollback-drill-bulk-acknowledgement", "bulk_acknowledgement";
    /// The undo of one acknowledgement.
    AckUndo = "go-backend-rollback-drill-notification-ack-undo", "acknowledgement_undo";
    /// The undo of a bulk acknowledgement: its own record.
    BulkUndo = "go-backend-rollback-drill-bulk-acknowledgement-undo", "bulk_acknowledgement_undo";
    /// An escalation plan.
    EscalationPlan = "go-backend-rollback-drill-notification-escalation-plan", "escalation_plan";
    /// A suppression trend, as the published system stored one at every look.
    SuppressionTrend = "go-backend-rollback-drill-routing-suppression-trend", "routing_suppression_trend";
    /// An audit package.
    AuditPackage = "go-backend-rollback-drill-acknowledgement-audit-package", "acknowledgement_audit_package";
    /// A plan to deliver an audit package.
    AuditDeliveryPlan = "go-backend-rollback-drill-acknowledgement-audit-delivery-plan", "acknowledgement_audit_delivery_plan";
    /// Retry plan of audit deliveries.
    AuditRetryPlan = "go-backend-rollback-drill-acknowledgement-audit-delivery-retry-plan", "acknowledgement_audit_delivery_retry_plan";
    /// Worker run of audit deliveries.
    AuditWorkerRun = "go-backend-rollback-drill-acknowledgement-audit-delivery-worker-run", "acknowledgement_audit_delivery_worker_run";
    /// Executed retry of an audit delivery.
    AuditRetryExecution = "go-backend-rollback-drill-acknowledgement-audit-delivery-retry-execution-record", "retry_execution_record";
    /// Release readiness summary.
    ReadinessSummary = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-readiness-summary", "final_reporting_release_readiness_summary";
    /// Operator runbook export.
    RunbookExport = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-operator-runbook-export", "final_reporting_operator_runbook_export";
    /// Readiness approval decision.
    ReadinessApproval = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-readiness-approval-decision", "final_reporting_release_readiness_approval_decision";
    /// Attachment to a release record.
    ReleaseAttachment = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-record-attachment", "final_reporting_release_record_attachment";
    /// Verification of a closure packet.
    PacketVerification = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-closure-packet-verification", "final_reporting_release_closure_packet_verification";
    /// The final auditor export.
    AuditorExport = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export", "final_reporting_auditor_export";
    /// Retry plan of auditor export deliveries.
    ExportRetryPlan = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export-delivery-retry-plan", "final_reporting_auditor_export_delivery_retry_plan";
    /// Worker run of auditor export deliveries.
    ExportWorkerRun = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export-delivery-retry-worker-run", "final_reporting_auditor_export_delivery_retry_worker_run";
    /// Executed retry of an auditor export delivery.
    ExportRetryExecution = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export-delivery-retry-execution-record", "final_reporting_auditor_export_delivery_retry_execution_record";
    /// Reference into an immutable archive.
    ArchiveReference = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-immutable-archive-reference", "final_reporting_immutable_archive_reference";
    /// Archive health report.
    ArchiveHealth = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-archive-reference-health", "final_reporting_archive_reference_health";
    /// Plan to alert about archive health.
    ArchiveAlertPlan = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-archive-reference-health-alert-plan", "final_reporting_archive_reference_health_alert_plan";
    /// Acknowledgement of an archive health alert.
    ArchiveAlertAck = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-archive-reference-health-alert-ack", "acknowledgement";
    /// What a connector reported about a delivery.
    ConnectorDelivery = "release-connector-delivery", "delivery";
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Delivery source of drill notifications (contract wire 1.10).
pub const SOURCE_NOTIFICATION: &str = "go_backend_rollback_drill_notification";
/// Delivery source of audit packages.
pub const SOURCE_AUDIT: &str = "go_backend_rollback_drill_acknowledgement_audit";
/// Delivery source of final auditor exports.
pub const SOURCE_EXPORT: &str =
    "go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export";
/// Delivery source of archive health alerts.
pub const SOURCE_ARCHIVE_ALERT: &str =
    "go_backend_rollback_drill_acknowledgement_audit_final_reporting_archive_reference_health_alert";

/// A metadata record before it is written (contract wire 1.1): a flat envelope around one document.
///
/// Its text comes from documents, whose every field is public-safe by its type.
#[derive(Debug, Clone)]
pub struct MetadataRecord {
    /// The kind.
    pub kind: EvidenceKind,
    /// The document's id: the key of the record.
    pub session_id: String,
    /// The document's own time.
    pub created_at: Timestamp,
    /// The acting person.
    pub signer: String,
    /// Per kind.
    pub decision_count: u64,
    /// Per kind.
    pub blocked_count: u64,
    /// Per kind.
    pub approval_required_count: u64,
    /// The indexed fields that the kind adds.
    pub fields: Vec<(&'static str, Value)>,
    /// The key of the document, and the document.
    pub payload: (&'static str, Value),
}

impl MetadataRecord {
    /// The record as JSON.
    pub fn into_value(self) -> Value {
        let mut record = Map::new();
        record.insert("schema_version".into(), json!(METADATA_SCHEMA));
        record.insert("product".into(), json!(PRODUCT));
        record.insert("session_id".into(), json!(self.session_id));
        record.insert("created_at".into(), json!(self.created_at));
        record.insert("signer".into(), json!(self.signer));
        record.insert("decision_count".into(), json!(self.decision_count));
        record.insert("blocked_count".into(), json!(self.blocked_count));
        record.insert(
            "approval_required_count".into(),
            json!(self.approval_required_count),
        );
        record.insert("metadata_kind".into(), json!(self.kind.as_str()));
        for (name, value) in self.fields {
            record.insert(name.into(), value);
        }
        let (name, document) = self.payload;
        record.insert(name.into(), document);
        Value::Object(record)
    }
}

/// A text member, if it is a non-empty text.
pub(crate) fn text<'a>(record: &'a Value, key: &str) -> Option<&'a str> {
    record
        .get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// The texts of a list member.
fn texts<'a>(record: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    record
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// By what history finds a record: `name=value`, matched exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryTerm(String);

/// The name of [`HistoryTerm::orphaned`].
const ORPHANED: &str = "orphaned";

impl HistoryTerm {
    /// Every record that history shows.
    pub fn listed() -> Self {
        Self("listed".into())
    }
    /// Records of a kind.
    pub fn kind(kind: &str) -> Self {
        Self(format!("kind={kind}"))
    }
    /// Records about a schedule.
    pub fn schedule(schedule_id: &str) -> Self {
        Self(format!("schedule={schedule_id}"))
    }
    /// Records that name a provider.
    pub fn provider(provider: &str) -> Self {
        Self(format!("provider={}", normalised(provider)))
    }
    /// Records with a derived status: acknowledgement state, else delivery outcome, else level (contract
    /// sandbox-ui 3.2).
    pub fn status(status: &str) -> Self {
        Self(format!("status={}", normalised(status)))
    }
    /// Records of a delivery source, declared or derived (contract wire 3.6, sandbox-ui 3.2).
    pub fn source(source: &str) -> Self {
        Self(format!("source={source}"))
    }
    /// Deliveries that succeeded, or that failed.
    pub fn delivered(success: bool) -> Self {
        Self(format!("delivered={success}"))
    }
    /// Records with a level.
    pub fn level(level: &str) -> Self {
        Self(format!("level={}", normalised(level)))
    }
    /// Records about an audit package.
    pub fn audit(audit_id: &str) -> Self {
        Self(format!("audit={audit_id}"))
    }
    /// Records about a delivery.
    pub fn delivery(delivery_id: &str) -> Self {
        Self(format!("delivery={delivery_id}"))
    }
    /// Undos of a bulk acknowledgement.
    pub fn undo_of_bulk(bulk_id: &str) -> Self {
        Self(format!("undo_of_bulk={bulk_id}"))
    }
    /// Acknowledgements that answer no route. No record carries it: later plans and imports decide, so storage asks
    /// the acknowledgements themselves.
    pub fn orphaned() -> Self {
        Self(ORPHANED.into())
    }
    /// Whether it is [`Self::orphaned`].
    pub fn is_orphaned(&self) -> bool {
        self.0 == ORPHANED
    }
    /// Records with a cadence.
    pub fn cadence(cadence: &str) -> Self {
        Self(format!("cadence={cadence}"))
    }

    /// The term as storage keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The document inside a record; the record itself when there is none.
pub fn payload<'a>(kind: &EvidenceKind, record: &'a Value) -> &'a Value {
    record
        .get(kind.payload_key())
        .filter(|payload| payload.is_object())
        .unwrap_or(record)
}

/// Size and digest of a whole document that its record does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentDigest {
    /// SHA-256 of the text, lower-case hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// SHA-256 of the whole document, as a record says it whose document is stored beside it.
pub fn whole_digest<'a>(kind: &EvidenceKind, record: &'a Value) -> Option<&'a str> {
    let key = match kind {
        EvidenceKind::AuditPackage => "package_sha256",
        EvidenceKind::ExportRetryPlan | EvidenceKind::ArchiveHealth => "document_sha256",
        EvidenceKind::BulkAcknowledgement | EvidenceKind::BulkUndo => "outcomes_sha256",
        _ => return None,
    };
    payload(kind, record).get(key).and_then(Value::as_str)
}

/// Every term by which history finds this record; empty when history does not show it.
pub fn history_terms(kind: &EvidenceKind, record: &Value) -> BTreeSet<HistoryTerm> {
    let mut terms = BTreeSet::new();
    let declared = text(record, "connector_delivery_source");
    let listed = match kind {
        EvidenceKind::SuppressionTrend => false,
        EvidenceKind::ConnectorDelivery => {
            declared.is_some_and(|source| source.starts_with("go_backend_rollback_drill_"))
        }
        other => other.as_str().starts_with(AREA),
    };
    if !listed {
        return terms;
    }
    let payload = payload(kind, record);
    terms.insert(HistoryTerm::listed());
    terms.insert(HistoryTerm::kind(kind.as_str()));
    for schedule in [
        text(record, "schedule_id"),
        text(record, "event_id"),
        record.get("plan").and_then(|plan| text(plan, "schedule_id")),
    ] {
        terms.extend(schedule.map(HistoryTerm::schedule));
    }
    terms.extend(providers(record, payload).map(HistoryTerm::provider));
    terms.insert(HistoryTerm::status(status(record)));
    if let Some(level) = text(record, "alert_level").or_else(|| text(payload, "alert_level")) {
        terms.insert(HistoryTerm::level(level));
    }
    if let Some(success) = delivered(kind, record) {
        terms.insert(HistoryTerm::delivered(success));
        terms.extend(text(record, "session_id").map(HistoryTerm::delivery));
    }
    terms.extend(
        sources(kind, declared)
            .iter()
            .map(|source| HistoryTerm::source(source)),
    );
    for audit in [text(record, "audit_id"), text(payload, "audit_id")] {
        terms.extend(audit.map(HistoryTerm::audit));
    }
    for delivery in [text(record, "delivery_id"), text(record, "event_id")] {
        terms.extend(delivery.map(HistoryTerm::delivery));
    }
    if *kind == EvidenceKind::BulkUndo {
        terms.extend(text(record, "bulk_id").map(HistoryTerm::undo_of_bulk));
    }
    let cadence = text(payload, "cadence").or_else(|| {
        payload
            .get("schedule")
            .and_then(|schedule| text(schedule, "cadence"))
    });
    terms.extend(cadence.map(HistoryTerm::cadence));
    terms
}

/// Every provider that a record names.
fn providers<'a>(record: &'a Value, payload: &'a Value) -> impl Iterator<Item = &'a str> {
    let lists = [
        "selected_providers",
        "acknowledgement_required_providers",
        "providers",
        "failed_providers",
    ];
    let routes = ["routes", "route_decisions"].into_iter().flat_map(|key| {
        payload
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|route| text(route, "provider"))
    });
    text(record, "provider")
        .into_iter()
        .chain(lists.into_iter().flat_map(|key| texts(record, key)))
        .chain(routes)
        .filter(|provider| !provider.trim().is_empty())
}

/// The derived status of a record (contract sandbox-ui 3.2).
fn status(record: &Value) -> &str {
    if let Some(state) = text(record, "acknowledgement_state") {
        return state;
    }
    match record.get("delivery_success").and_then(Value::as_bool) {
        Some(true) => "delivered",
        Some(false) => "delivery_failed",
        None => text(record, "alert_level").unwrap_or("indexed"),
    }
}

/// Whether a delivery record reports success; `None` on any other record. What is not plainly true is a
/// failure.
pub fn delivered(kind: &EvidenceKind, record: &Value) -> Option<bool> {
    (*kind == EvidenceKind::ConnectorDelivery).then(|| {
        record
            .get("delivery_success")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    })
}

/// The delivery sources under which a record is found: the declared one, the one that published clients derive
/// from the kind (sandbox-ui 3.2), and the wider audit source (wire 3.6).
fn sources(kind: &EvidenceKind, declared: Option<&str>) -> Vec<String> {
    if let Some(source) = declared {
        return vec![source.to_owned()];
    }
    let derived = match kind {
        EvidenceKind::AuditPackage
        | EvidenceKind::AuditDeliveryPlan
        | EvidenceKind::AuditRetryPlan
        | EvidenceKind::AuditWorkerRun
        | EvidenceKind::AuditRetryExecution
        | EvidenceKind::ReadinessSummary
        | EvidenceKind::RunbookExport
        | EvidenceKind::ReadinessApproval
        | EvidenceKind::ReleaseAttachment => vec![SOURCE_AUDIT],
        EvidenceKind::PacketVerification
        | EvidenceKind::AuditorExport
        | EvidenceKind::ExportRetryPlan
        | EvidenceKind::ArchiveReference
        | EvidenceKind::ArchiveHealth => vec![SOURCE_AUDIT, SOURCE_EXPORT],
        EvidenceKind::ExportWorkerRun | EvidenceKind::ExportRetryExecution => vec![SOURCE_EXPORT],
        EvidenceKind::ArchiveAlertPlan | EvidenceKind::ArchiveAlertAck => {
            vec![SOURCE_EXPORT, SOURCE_ARCHIVE_ALERT]
        }
        EvidenceKind::NotificationPlan
        | EvidenceKind::NotificationAck
        | EvidenceKind::BulkAcknowledgement
        | EvidenceKind::AckUndo
        | EvidenceKind::BulkUndo
        | EvidenceKind::EscalationPlan
        | EvidenceKind::SuppressionTrend
        | EvidenceKind::ConnectorDelivery => vec![SOURCE_NOTIFICATION],
        EvidenceKind::Other(text) => return foreign_sources(text),
    };
    derived.into_iter().map(str::to_owned).collect()
}

/// The sources of kinds outside this service's scope: the one that published clients derive (sandbox-ui 3.2), and
/// the wider audit source, which has all that is about audit deliveries but the closing reports (wire 3.6).
fn foreign_sources(kind: &str) -> Vec<String> {
    let Some(rest) = kind.strip_prefix("go-backend-rollback-drill-acknowledgement-audit-delivery-") else {
        return vec![SOURCE_NOTIFICATION.to_owned()];
    };
    if rest.starts_with("final-reporting") {
        return vec![SOURCE_NOTIFICATION.to_owned()];
    }
    let families = [
        ("worker-health-alert", "_worker_health_alert"),
        (
            "recovery-escalation-retry-health-alert",
            "_recovery_escalation_retry_health_alert",
        ),
        ("recovery-escalation", "_recovery_escalation"),
        (
            "recovery-executive-report-delivery-retry-health-alert",
            "_recovery_executive_report_delivery_retry_health_alert",
        ),
        ("recovery-executive-report", "_recovery_executive_report"),
        ("retry-ack", ""),
        ("retry-execution-approval", ""),
        ("connector-recovery", ""),
    ];
    let derived = families
        .iter()
        .find(|(start, _)| rest.starts_with(start))
        .map_or_else(
            || SOURCE_NOTIFICATION.to_owned(),
            |(_, suffix)| format!("{SOURCE_AUDIT}{suffix}"),
        );
    vec![SOURCE_AUDIT.to_owned(), derived]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_json, any_record, now};

    const AUDIT_DELIVERY: &str = "go-backend-rollback-drill-acknowledgement-audit-delivery-";

    /// The terms of a record that has these members beside its kind.
    fn terms(kind: &str, members: Value) -> BTreeSet<String> {
        let Value::Object(mut record) = members else {
            panic!("members")
        };
        record.insert("metadata_kind".into(), json!(kind));
        let terms = history_terms(&EvidenceKind::of(kind), &Value::Object(record));
        terms.iter().map(|term| term.as_str().to_owned()).collect()
    }

    /// What the terms of one name say, for a record of this kind.
    fn of(name: &str, kind: &str, members: Value) -> Vec<String> {
        terms(kind, members)
            .iter()
            .filter_map(|term| term.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
            .collect()
    }

    /// A delivery of a source in this area.
    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    fn delivery(source: &str, success: Value) -> Value {
        json!({ "session_id": "rcd-1", "connector_delivery_source": source, "delivery_success": success })
    }

    const DELIVERY: &str = "release-connector-delivery";
    const PLAN: &str = "go-backend-rollback-drill-notification-plan";

    #[test]
    fn every_kind_comes_back_from_its_text_and_no_two_share_it() {
        let mut seen = BTreeSet::new();
        for kind in EvidenceKind::ALL {
            assert!(seen.insert(kind.as_str()), "{kind}");
            assert_eq!(&EvidenceKind::of(kind.as_str()), kind);
            assert_eq!(kind.to_string(), kind.as_str());
            assert!(!kind.payload_key().is_empty(), "{kind}");
        }
        assert_eq!(
            EvidenceKind::of("anything else"),
            EvidenceKind::Other("anything else".into())
        );
        assert_eq!(
            EvidenceKind::Other("anything else".into()).as_str(),
            "anything else"
        );
    }

    #[test]
    fn a_record_has_the_published_envelope_in_the_published_order() {
        let record = MetadataRecord {
            kind: EvidenceKind::EscalationPlan,
            session_id: "gordesc-1".into(),
            created_at: now(),
            signer: "ana".into(),
            decision_count: 3,
            blocked_count: 2,
            approval_required_count: 1,
            fields: vec![("plan_id", json!("gordesc-1"))],
            payload: ("escalation_plan", json!({ "routes": [] })),
        };
        assert_eq!(
            record.into_value().to_string(),
            concat!(
                r#"{"schema_version":"cavra.evidence.metadata.v1","product":"CAVRA","session_id":"gordesc-1","#,
                r#""created_at":"2026-01-02T03:04:05.678901Z","signer":"ana","decision_count":3,"blocked_count":2,"#,
                r#""approval_required_count":1,"#,
                r#""metadata_kind":"go-backend-rollback-drill-notification-escalation-plan","#,
                r#""plan_id":"gordesc-1","escalation_plan":{"routes":[]}}"#,
            )
        );
    }

    #[test]
    fn the_document_is_the_payload_or_else_the_record_itself() {
        let kind = EvidenceKind::NotificationPlan;
        let record = json!({ "plan": { "status": "ready" } });
        assert_eq!(payload(&kind, &record), &json!({ "status": "ready" }));
        for bare in [json!({ "status": "ready" }), json!({ "plan": "gordn-1" })] {
            assert_eq!(payload(&kind, &bare), &bare);
        }
    }

    #[test]
    fn history_lists_every_kind_of_this_area_but_the_stored_trends() {
        for kind in EvidenceKind::ALL {
            let record = delivery(SOURCE_NOTIFICATION, json!(true));
            let terms = history_terms(kind, &record);
            if *kind == EvidenceKind::SuppressionTrend {
                assert!(terms.is_empty());
            } else {
                assert!(terms.contains(&HistoryTerm::listed()), "{kind}");
                assert!(terms.contains(&HistoryTerm::kind(kind.as_str())), "{kind}");
            }
        }
        assert!(!terms(&format!("{AUDIT_DELIVERY}recovery-escalation-plan"), json!({})).is_empty());
        assert!(terms("release-readiness", json!({})).is_empty());
        assert!(terms("", json!({})).is_empty());
    }

    #[test]
    fn history_lists_a_delivery_only_when_its_source_is_of_this_area() {
        assert!(!terms(DELIVERY, delivery(SOURCE_ARCHIVE_ALERT, json!(true))).is_empty());
        assert!(terms(DELIVERY, delivery("release_promotion", json!(true))).is_empty());
        assert!(terms(DELIVERY, json!({ "session_id": "rcd-1" })).is_empty());
    }

    #[test]
    fn a_schedule_finds_by_its_id_by_the_event_and_by_the_plan() {
        let schedules = |members| of("schedule", PLAN, members);
        assert_eq!(schedules(json!({ "schedule_id": "a" })), ["a"]);
        assert_eq!(schedules(json!({ "event_id": "a" })), ["a"]);
        assert_eq!(schedules(json!({ "plan": { "schedule_id": "a" } })), ["a"]);
        assert_eq!(
            schedules(json!({ "schedule_id": "a", "event_id": "b", "plan": { "schedule_id": "c" } })),
            ["a", "b", "c"]
        );
        assert!(schedules(json!({ "schedule_id": "" })).is_empty());
    }

    #[test]
    fn a_provider_finds_in_any_spelling_wherever_the_record_names_it() {
        let members = json!({
            "provider": "Slack", "selected_providers": ["pager-duty"], "providers": ["teams", " "],
            "acknowledgement_required_providers": ["e mail"], "failed_providers": ["SPLUNK", 5],
        });
        assert_eq!(
            of("provider", DELIVERY, {
                let mut members = members;
                members["connector_delivery_source"] = json!(SOURCE_AUDIT);
                members
            }),
            ["e mail", "pager_duty", "slack", "splunk", "teams"]
        );
        assert_eq!(
            HistoryTerm::provider(" Pager-Duty").as_str(),
            "provider=pager_duty"
        );
    }

    #[test]
    fn a_provider_finds_the_documents_whose_routes_have_it() {
        let routes = json!([{ "provider": "Slack" }, { "owner": "ana" }, 5]);
        let cases = [
            (
                "go-backend-rollback-drill-notification-escalation-plan",
                "escalation_plan",
                "routes",
            ),
            (
                "go-backend-rollback-drill-acknowledgement-audit-package",
                "acknowledgement_audit_package",
                "routes",
            ),
            (PLAN, "plan", "route_decisions"),
        ];
        for (kind, payload, list) in cases {
            assert_eq!(
                of("provider", kind, json!({ payload: { list: routes.clone() } })),
                ["slack"],
                "{kind}"
            );
        }
    }

    #[test]
    fn the_status_is_the_state_else_the_delivery_else_the_level_else_indexed() {
        let status = |members| of("status", PLAN, members);
        assert_eq!(
            status(
                json!({ "acknowledgement_state": "Resolved", "delivery_success": false, "alert_level": "critical" })
            ),
            ["resolved"]
        );
        assert_eq!(
            status(json!({ "delivery_success": false, "alert_level": "critical" })),
            ["delivery_failed"]
        );
        assert_eq!(
            status(json!({ "delivery_success": true, "alert_level": "critical" })),
            ["delivered"]
        );
        assert_eq!(
            status(json!({ "delivery_success": "true", "alert_level": "critical" })),
            ["critical"]
        );
        assert_eq!(
            status(json!({ "acknowledgement_state": "", "alert_level": "warning" })),
            ["warning"]
        );
        assert_eq!(status(json!({})), ["indexed"]);
        assert_eq!(
            HistoryTerm::status("Delivery-Failed").as_str(),
            "status=delivery_failed"
        );
    }

    #[test]
    fn only_deliveries_say_whether_they_succeeded_and_anything_but_true_is_a_failure() {
        let delivered = |success| of("delivered", DELIVERY, delivery(SOURCE_AUDIT, success));
        assert_eq!(delivered(json!(true)), ["true"]);
        for failure in [json!(false), json!(null), json!("true"), json!(1)] {
            assert_eq!(delivered(failure), ["false"]);
        }
        assert!(of("delivered", PLAN, json!({ "delivery_success": true })).is_empty());
    }

    #[test]
    fn a_level_an_audit_id_a_delivery_id_and_a_cadence_find_at_the_top_or_in_the_document() {
        let kind = "go-backend-rollback-drill-acknowledgement-audit-delivery-plan";
        let document = json!({ "acknowledgement_audit_delivery_plan": {
            "alert_level": "Critical", "audit_id": "gordackaudit-1", "cadence": "weekly",
        } });
        assert_eq!(of("level", kind, document.clone()), ["critical"]);
        assert_eq!(of("audit", kind, document.clone()), ["gordackaudit-1"]);
        assert_eq!(of("cadence", kind, document), ["weekly"]);
        assert_eq!(
            of("level", kind, json!({ "alert_level": "warning" })),
            ["warning"]
        );
        assert_eq!(
            of("audit", kind, json!({ "audit_id": "gordackaudit-2" })),
            ["gordackaudit-2"]
        );
        assert_eq!(
            of(
                "delivery",
                kind,
                json!({ "delivery_id": "d-1", "event_id": "e-1" })
            ),
            ["d-1", "e-1"]
        );
        let run =
            json!({ "acknowledgement_audit_delivery_worker_run": { "schedule": { "cadence": "daily" } } });
        assert_eq!(
            of("cadence", &format!("{AUDIT_DELIVERY}worker-run"), run),
            ["daily"]
        );
        // A delivery is also found by the id of its own record.
        assert_eq!(
            of("delivery", DELIVERY, delivery(SOURCE_AUDIT, json!(true))),
            ["rcd-1"]
        );
    }

    #[test]
    fn every_kind_has_the_sources_that_clients_derive_and_that_the_published_filter_adds() {
        let none: &[&str] = &[];
        let table: &[(&str, &[&str])] = &[
            ("notification-ack-undo", &[SOURCE_NOTIFICATION]),
            ("bulk-acknowledgement-undo", &[SOURCE_NOTIFICATION]),
            ("notification-plan", &[SOURCE_NOTIFICATION]),
            ("notification-ack", &[SOURCE_NOTIFICATION]),
            ("bulk-acknowledgement", &[SOURCE_NOTIFICATION]),
            ("notification-escalation-plan", &[SOURCE_NOTIFICATION]),
            ("routing-suppression-trend", none),
            ("acknowledgement-audit-package", &[SOURCE_AUDIT]),
            ("acknowledgement-audit-delivery-plan", &[SOURCE_AUDIT]),
            ("acknowledgement-audit-delivery-retry-plan", &[SOURCE_AUDIT]),
            ("acknowledgement-audit-delivery-worker-run", &[SOURCE_AUDIT]),
            (
                "acknowledgement-audit-delivery-retry-execution-record",
                &[SOURCE_AUDIT],
            ),
        ];
        let reporting: &[(&str, &[&str])] = &[
            ("release-readiness-summary", &[SOURCE_AUDIT]),
            ("operator-runbook-export", &[SOURCE_AUDIT]),
            ("release-readiness-approval-decision", &[SOURCE_AUDIT]),
            ("release-record-attachment", &[SOURCE_AUDIT]),
            (
                "release-closure-packet-verification",
                &[SOURCE_AUDIT, SOURCE_EXPORT],
            ),
            ("auditor-export", &[SOURCE_AUDIT, SOURCE_EXPORT]),
            (
                "auditor-export-delivery-retry-plan",
                &[SOURCE_AUDIT, SOURCE_EXPORT],
            ),
            ("auditor-export-delivery-retry-worker-run", &[SOURCE_EXPORT]),
            ("auditor-export-delivery-retry-execution-record", &[SOURCE_EXPORT]),
            ("immutable-archive-reference", &[SOURCE_AUDIT, SOURCE_EXPORT]),
            ("archive-reference-health", &[SOURCE_AUDIT, SOURCE_EXPORT]),
            (
                "archive-reference-health-alert-plan",
                &[SOURCE_ARCHIVE_ALERT, SOURCE_EXPORT],
            ),
            (
                "archive-reference-health-alert-ack",
                &[SOURCE_ARCHIVE_ALERT, SOURCE_EXPORT],
            ),
        ];
        let area = table
            .iter()
            .map(|(kind, sources)| (format!("{AREA}{kind}"), *sources));
        let reports = reporting
            .iter()
            .map(|(kind, sources)| (format!("{AUDIT_DELIVERY}final-reporting-{kind}"), *sources));
        let rows: Vec<_> = area.chain(reports).collect();
        for (kind, sources) in &rows {
            assert!(
                !matches!(EvidenceKind::of(kind), EvidenceKind::Other(_)),
                "{kind}"
            );
            assert_eq!(of("source", kind, json!({})), *sources, "{kind}");
        }
        // Every kind in scope has a row, but for the deliveries, which declare their source.
        assert_eq!(rows.len() + 1, EvidenceKind::ALL.len());
        for source in [
            SOURCE_NOTIFICATION,
            SOURCE_AUDIT,
            SOURCE_EXPORT,
            SOURCE_ARCHIVE_ALERT,
        ] {
            assert_eq!(of("source", DELIVERY, delivery(source, json!(true))), [source]);
        }
    }

    #[test]
    fn kinds_outside_the_scope_have_the_sources_of_their_family() {
        let table = [
            ("retry-ack", ""),
            ("retry-execution-approval-plan", ""),
            ("retry-execution-approval-decision", ""),
            ("connector-recovery-playbook", ""),
            ("connector-recovery-closure", ""),
            ("worker-health-alert-plan", "_worker_health_alert"),
            ("worker-health-alert-ack", "_worker_health_alert"),
            ("recovery-escalation-plan", "_recovery_escalation"),
            ("recovery-escalation-ack", "_recovery_escalation"),
            ("recovery-escalation-retry-health", "_recovery_escalation"),
            (
                "recovery-escalation-retry-health-alert-plan",
                "_recovery_escalation_retry_health_alert",
            ),
            (
                "recovery-escalation-retry-health-alert-delivery-retry-execution-record",
                "_recovery_escalation_retry_health_alert",
            ),
            ("recovery-executive-report", "_recovery_executive_report"),
            (
                "recovery-executive-report-delivery-retry-health",
                "_recovery_executive_report",
            ),
            (
                "recovery-executive-report-delivery-retry-health-alert-ack",
                "_recovery_executive_report_delivery_retry_health_alert",
            ),
        ];
        for (kind, family) in table {
            let expected: BTreeSet<_> = [SOURCE_AUDIT.to_owned(), format!("{SOURCE_AUDIT}{family}")].into();
            let sources = of("source", &format!("{AUDIT_DELIVERY}{kind}"), json!({}));
            assert_eq!(sources.into_iter().collect::<BTreeSet<_>>(), expected, "{kind}");
        }
        let recovery = of(
            "source",
            &format!("{AUDIT_DELIVERY}retry-recovery-report"),
            json!({}),
        );
        assert_eq!(recovery, [SOURCE_AUDIT, SOURCE_NOTIFICATION]);
        // The closing reports are no audit deliveries for either of them.
        for kind in [
            "readiness-bundle",
            "signed-archive-manifest",
            "release-closeout-summary",
        ] {
            let kind = format!("{AUDIT_DELIVERY}final-reporting-{kind}");
            assert_eq!(of("source", &kind, json!({})), [SOURCE_NOTIFICATION], "{kind}");
        }
        assert_eq!(
            of("source", &format!("{AREA}something-new"), json!({})),
            [SOURCE_NOTIFICATION]
        );
    }

    proptest! {
        #[test]
        fn no_record_makes_history_panic_and_what_it_lists_has_one_kind_and_one_status(
            record in prop_oneof![any_record(), any_json()], kind in 0..EvidenceKind::ALL.len(),
        ) {
            let kind = &EvidenceKind::ALL[kind];
            let terms = history_terms(kind, &record);
            let count = |name: &str| terms.iter().filter(|term| term.as_str().starts_with(name)).count();
            let listed = usize::from(!terms.is_empty());
            prop_assert_eq!((count("listed"), count("kind="), count("status=")), (listed, listed, listed));
        }
    }
}

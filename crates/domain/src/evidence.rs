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

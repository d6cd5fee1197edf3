//! The dashboard: counts over everything, kept as evidence arrives (contract wire 4, decisions 13).
//!
//! What a record adds to is decided here, once, when it is recorded; reading the dashboard reads no evidence.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::evidence::{
    EvidenceKind, PRODUCT, SOURCE_ARCHIVE_ALERT, SOURCE_AUDIT, SOURCE_EXPORT, SOURCE_NOTIFICATION, delivered,
    payload, text,
};
use crate::id::{PlanId, ScheduleId};
use crate::public_safe::Text;
use crate::route::{Level, Provider, RouteCounts, TrackedRoute, normalised};
use crate::time::Timestamp;

/// Schema of the dashboard.
pub const DASHBOARD_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-notification-dashboard.v1";

/// How many outstanding routes the dashboard lists; `outstanding_acknowledgement_count` counts them all.
pub const LISTED_OUTSTANDING: usize = 20;

/// How many of the newest history records the dashboard shows.
pub const LATEST_RECORDS: usize = 10;

/// Names of counters that hold a provider of audit deliveries.
const AUDIT_PROVIDER: &str = "acknowledgement_audit_delivery_providers=";

/// A record, with what its counters depend on already read.
struct Counted<'a> {
    kind: &'a EvidenceKind,
    record: &'a Value,
    document: &'a Value,
    source: &'a str,
    success: Option<bool>,
}

impl Counted<'_> {
    fn is(&self, kind: &EvidenceKind) -> bool {
        self.kind == kind
    }
    /// A delivery of a source in this area; `source` empty for any of them.
    fn delivery(&self, source: &str) -> bool {
        self.success.is_some()
            && if source.is_empty() {
                self.source.starts_with(SOURCE_NOTIFICATION_FAMILY)
            } else {
                self.source == source
            }
    }
    fn failed(&self, source: &str) -> bool {
        self.delivery(source) && self.success == Some(false)
    }
    fn says(&self, key: &str, values: &[&str]) -> bool {
        text(self.record, key)
            .or_else(|| text(self.document, key))
            .is_some_and(|value| values.contains(&value))
    }
    /// Dry unless it says that it is not (contract wire 4, rows 102 and 103).
    fn dry(&self) -> bool {
        let said = self
            .record
            .get("dry_run")
            .or_else(|| self.document.get("dry_run"))
            .and_then(Value::as_bool);
        said.unwrap_or(true)
    }
}

/// The start of every delivery source of this area.
const SOURCE_NOTIFICATION_FAMILY: &str = "go_backend_rollback_drill_";

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = |$counted:ident| $rule:expr;)*) => {
        /// How many records of each sort there are. Fields of parts that do not exist here are absent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
        pub struct EvidenceCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl EvidenceCounts {
            /// Reads the counts out of stored counters.
            pub fn of(stored: &BTreeMap<String, u64>) -> Self {
                Self { $($name: stored.get(stringify!($name)).copied().unwrap_or_default(),)* }
            }
        }

        fn add_counters(counted: &Counted<'_>, names: &mut Vec<String>) {
            $({
                let $counted = counted;
                if $rule {
                    names.push(stringify!($name).to_owned());
                }
            })*
        }
    };
}

use EvidenceKind as Kind;

counters! {
    /// Notification plans.
    plan_count = |r| r.is(&Kind::NotificationPlan);
    /// Connector deliveries of this area.
    delivery_count = |r| r.delivery("");
    /// Deliveries of notifications.
    notification_delivery_count = |r| r.delivery(SOURCE_NOTIFICATION);
    /// Deliveries that failed.
    failed_delivery_count = |r| r.failed("");
    /// Acknowledgement records, single and bulk.
    acknowledgement_count = |r| r.is(&Kind::NotificationAck);
    /// Bulk acknowledgements.
    bulk_acknowledgement_count = |r| r.is(&Kind::BulkAcknowledgement);
    /// Undone acknowledgements, single and as part of a bulk.
    acknowledgement_undo_count = |r| r.is(&Kind::AckUndo);
    /// Undone bulk acknowledgements.
    bulk_acknowledgement_undo_count = |r| r.is(&Kind::BulkUndo);
    /// Escalation plans.
    escalation_plan_count = |r| r.is(&Kind::EscalationPlan);
    /// Audit packages.
    acknowledgement_audit_package_count = |r| r.is(&Kind::AuditPackage);
    /// Plans to deliver audit packages.
    acknowledgement_audit_delivery_plan_count = |r| r.is(&Kind::AuditDeliveryPlan);
    /// Deliveries of audit packages.
    acknowledgement_audit_delivery_count = |r| r.delivery(SOURCE_AUDIT);
    /// Of those, failed.
    failed_acknowledgement_audit_delivery_count = |r| r.failed(SOURCE_AUDIT);
    /// Of those, succeeded.
    acknowledgement_audit_delivery_success_count = |r| r.delivery(SOURCE_AUDIT) && r.success == Some(true);
    /// Retry plans of audit deliveries.
    acknowledgement_audit_delivery_retry_plan_count = |r| r.is(&Kind::AuditRetryPlan);
    /// Readiness summaries.
    acknowledgement_audit_delivery_final_reporting_release_readiness_summary_count = |r| r.is(&Kind::ReadinessSummary);
    /// Of those, ready.
    acknowledgement_audit_delivery_final_reporting_release_ready_count =
        |r| r.is(&Kind::ReadinessSummary) && r.says("readiness_state", &["ready"]);
    /// Runbook exports.
    acknowledgement_audit_delivery_final_reporting_operator_runbook_export_count = |r| r.is(&Kind::RunbookExport);
    /// Readiness approval decisions.
    acknowledgement_audit_delivery_final_reporting_release_readiness_approval_decision_count =
        |r| r.is(&Kind::ReadinessApproval);
    /// Of those, approved.
    acknowledgement_audit_delivery_final_reporting_release_readiness_approved_count =
        |r| r.is(&Kind::ReadinessApproval) && r.says("approval_state", &["approved"]);
    /// Attachments to release records.
    acknowledgement_audit_delivery_final_reporting_release_record_attachment_count =
        |r| r.is(&Kind::ReleaseAttachment);
    /// Verifications of closure packets.
    acknowledgement_audit_delivery_final_reporting_release_closure_packet_verification_count =
        |r| r.is(&Kind::PacketVerification);
    /// Of those, verified.
    acknowledgement_audit_delivery_final_reporting_release_closure_packet_verified_count =
        |r| r.is(&Kind::PacketVerification) && r.says("verification_state", &["verified"]);
    /// Final auditor exports.
    acknowledgement_audit_delivery_final_reporting_auditor_export_count = |r| r.is(&Kind::AuditorExport);
    /// Deliveries of auditor exports.
    acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_count = |r| r.delivery(SOURCE_EXPORT);
    /// Of those, failed.
    failed_acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_count = |r| r.failed(SOURCE_EXPORT);
    /// Retry plans of auditor exports.
    acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_plan_count =
        |r| r.is(&Kind::ExportRetryPlan);
    /// Retry worker runs of auditor exports.
    acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_worker_run_count =
        |r| r.is(&Kind::ExportWorkerRun);
    /// Executed retries of auditor exports.
    acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_execution_record_count =
        |r| r.is(&Kind::ExportRetryExecution);
    /// Of those, delivered.
    acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_execution_success_count =
        |r| r.is(&Kind::ExportRetryExecution) && r.says("execution_status", &["delivered"]);
    /// Of those, failed or skipped.
    acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_execution_failed_count =
        |r| r.is(&Kind::ExportRetryExecution) && r.says("execution_status", &["failed", "skipped"]);
    /// Immutable archive references.
    acknowledgement_audit_delivery_final_reporting_immutable_archive_reference_count =
        |r| r.is(&Kind::ArchiveReference);
    /// Archive health reports.
    acknowledgement_audit_delivery_final_reporting_archive_reference_health_count = |r| r.is(&Kind::ArchiveHealth);
    /// Archive alert plans.
    acknowledgement_audit_delivery_final_reporting_archive_reference_health_alert_plan_count =
        |r| r.is(&Kind::ArchiveAlertPlan);
    /// Archive alert acknowledgements.
    acknowledgement_audit_delivery_final_reporting_archive_reference_health_alert_ack_count =
        |r| r.is(&Kind::ArchiveAlertAck);
    /// Deliveries of archive alerts.
    acknowledgement_audit_delivery_final_reporting_archive_reference_health_alert_delivery_count =
        |r| r.delivery(SOURCE_ARCHIVE_ALERT);
    /// Of those, failed.
    failed_acknowledgement_audit_delivery_final_reporting_archive_reference_health_alert_delivery_count =
        |r| r.failed(SOURCE_ARCHIVE_ALERT);
    /// Worker runs of audit deliveries.
    acknowledgement_audit_delivery_worker_run_count = |r| r.is(&Kind::AuditWorkerRun);
    /// Of those, dry.
    acknowledgement_audit_delivery_worker_dry_run_count = |r| r.is(&Kind::AuditWorkerRun) && r.dry();
    /// Of those, live.
    acknowledgement_audit_delivery_worker_executed_count = |r| r.is(&Kind::AuditWorkerRun) && !r.dry();
}

/// The counters that a record adds one to.
pub fn counters(kind: &EvidenceKind, record: &Value) -> Vec<String> {
    let source = text(record, "connector_delivery_source").unwrap_or_default();
    let counted = Counted {
        kind,
        record,
        document: payload(kind, record),
        source,
        success: delivered(kind, record),
    };
    let mut names = Vec::new();
    add_counters(&counted, &mut names);
    if counted.delivery(SOURCE_AUDIT) || counted.is(&Kind::AuditDeliveryPlan) {
        let providers: BTreeSet<String> = ["selected_providers", "providers", "failed_providers"]
            .into_iter()
            .filter_map(|key| record.get(key).and_then(Value::as_array))
            .flatten()
            .filter_map(Value::as_str)
            .map(normalised)
            .filter(|provider| !provider.is_empty())
            .collect();
        names.extend(
            providers
                .into_iter()
                .map(|provider| format!("{AUDIT_PROVIDER}{provider}")),
        );
    }
    names
}

/// One outstanding route on the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutstandingRoute {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The provider.
    pub provider: Provider,
    /// The cycle.
    pub plan_id: PlanId,
    /// The owner.
    pub owner: Text,
    /// When its time is over.
    pub deadline_at: Timestamp,
}

impl OutstandingRoute {
    /// The entry of a route.
    pub fn new(tracked: &TrackedRoute) -> Self {
        let route = &tracked.route;
        Self {
            schedule_id: route.schedule_id.clone(),
            provider: route.provider.clone(),
            plan_id: route.plan_id.clone(),
            owner: route.owner.clone(),
            deadline_at: route.deadline_at(),
        }
    }
}

/// What is true of releases now, by the default policies: not a sum over stored plans and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ReleaseCounts {
    /// Failed deliveries of auditor exports that a retry plan would let be tried again now.
    #[serde(
        rename = "acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retryable_count"
    )]
    pub retryable_delivery_count: u64,
    /// Alerts that an archive health report would have now.
    #[serde(rename = "acknowledgement_audit_delivery_final_reporting_archive_reference_health_alert_count")]
    pub archive_alert_count: u64,
}

/// The dashboard. `R` is a metadata record.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Dashboard<R> {
    /// [`DASHBOARD_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// When it was made.
    pub generated_at: Timestamp,
    /// The level of the current routes.
    pub alert_level: Level,
    /// Counts of records, over all evidence.
    #[serde(flatten)]
    pub evidence: EvidenceCounts,
    /// What is true of releases now.
    #[serde(flatten)]
    pub releases: ReleaseCounts,
    /// Succeeded audit deliveries over all of them, rounded to four digits; null when there is none.
    pub acknowledgement_audit_delivery_success_rate: Option<f64>,
    /// Providers of audit deliveries and their plans, sorted.
    pub acknowledgement_audit_delivery_providers: Vec<String>,
    /// `critical` when an audit delivery failed, else `healthy`.
    pub acknowledgement_audit_delivery_health: Level,
    /// Current routes that wait, or waited, for an acknowledgement. The five state counts add up to it.
    pub route_count: u64,
    /// Routes in this state.
    pub outstanding_acknowledgement_count: u64,
    /// Routes in this state.
    pub acknowledged_route_count: u64,
    /// Routes in this state.
    pub escalated_route_count: u64,
    /// Routes in this state.
    pub dismissed_route_count: u64,
    /// Routes in this state.
    pub resolved_route_count: u64,
    /// Outstanding or escalated routes past their deadline.
    pub breached_route_count: u64,
    /// Current suppressed routes; not part of `route_count`.
    pub suppressed_route_count: u64,
    /// Acknowledgements that answer no known route, as imported records may.
    pub orphaned_acknowledgement_count: u64,
    /// The outstanding routes whose time is over first, at most 20.
    pub outstanding_acknowledgements: Vec<OutstandingRoute>,
    /// How many outstanding routes are not in that list.
    pub outstanding_acknowledgements_omitted: u64,
    /// The ten newest history records.
    pub latest: Vec<R>,
}

impl<R> Dashboard<R> {
    /// The dashboard of counts and lists.
    pub fn new(
        generated_at: Timestamp,
        stored: &BTreeMap<String, u64>,
        releases: ReleaseCounts,
        routes: &RouteCounts,
        orphaned_acknowledgement_count: u64,
        outstanding: Vec<OutstandingRoute>,
        latest: Vec<R>,
    ) -> Self {
        let evidence = EvidenceCounts::of(stored);
        let listed = u64::try_from(outstanding.len()).unwrap_or(u64::MAX);
        Self {
            schema_version: DASHBOARD_SCHEMA,
            product: PRODUCT,
            generated_at,
            alert_level: routes.level(),
            acknowledgement_audit_delivery_success_rate: rate(
                evidence.acknowledgement_audit_delivery_success_count,
                evidence.acknowledgement_audit_delivery_count,
            ),
            acknowledgement_audit_delivery_providers: stored
                .keys()
                .filter_map(|name| name.strip_prefix(AUDIT_PROVIDER))
                .map(str::to_owned)
                .collect(),
            acknowledgement_audit_delivery_health: if evidence.failed_acknowledgement_audit_delivery_count > 0
            {
                Level::Critical
            } else {
                Level::Healthy
            },
            evidence,
            releases,
            route_count: routes.route_count,
            outstanding_acknowledgement_count: routes.outstanding,
            acknowledged_route_count: routes.acknowledged,
            escalated_route_count: routes.escalated,
            dismissed_route_count: routes.dismissed,
            resolved_route_count: routes.resolved,
            breached_route_count: routes.breached,
            suppressed_route_count: routes.suppressed,
            orphaned_acknowledgement_count,
            outstanding_acknowledgements_omitted: routes.outstanding.saturating_sub(listed),
            outstanding_acknowledgements: outstanding,
            latest,
        }
    }
}

/// A share, rounded to four digits; `None` of nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "the share is at most 10,000 ten-thousandths"
)]
fn rate(part: u64, whole: u64) -> Option<f64> {
    if whole == 0 {
        return None;
    }
    let ten_thousandths = (u128::from(part) * 20_000 + u128::from(whole)) / (u128::from(whole) * 2);
    Some(u64::try_from(ten_thousandths).unwrap_or(u64::MAX) as f64 / 10_000.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::{about_now, any_record, any_routes, now, route, tracked};

    /// The start of the counters, and of the kinds, of final reporting.
    const REPORTING: &str = "acknowledgement_audit_delivery_final_reporting_";
    const REPORTING_KIND: &str = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-";

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    fn counted(kind: &str, members: Value) -> BTreeSet<String> {
        let kind = EvidenceKind::of(kind);
        let names = counters(&kind, &members);
        let set: BTreeSet<_> = names.iter().cloned().collect();
        assert_eq!(set.len(), names.len(), "a record adds one to a counter");
        set
    }

    fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(str::to_owned).into()
    }

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    fn delivery(source: &str, success: Value) -> Value {
        json!({ "connector_delivery_source": source, "delivery_success": success })
    }

    const DELIVERY: &str = "release-connector-delivery";
    const WORKER_RUN: &str = "go-backend-rollback-drill-acknowledgement-audit-delivery-worker-run";

    #[test]
    fn every_kind_adds_one_to_the_counter_of_its_name() {
        let area = [
            ("notification-ack-undo", "acknowledgement_undo_count"),
            ("bulk-acknowledgement-undo", "bulk_acknowledgement_undo_count"),
            ("notification-plan", "plan_count"),
            ("notification-ack", "acknowledgement_count"),
            ("bulk-acknowledgement", "bulk_acknowledgement_count"),
            ("notification-escalation-plan", "escalation_plan_count"),
            (
                "acknowledgement-audit-package",
                "acknowledgement_audit_package_count",
            ),
            (
                "acknowledgement-audit-delivery-plan",
                "acknowledgement_audit_delivery_plan_count",
            ),
            (
                "acknowledgement-audit-delivery-retry-plan",
                "acknowledgement_audit_delivery_retry_plan_count",
            ),
        ];
        let reporting = [
            ("release-readiness-summary", "release_readiness_summary_count"),
            ("operator-runbook-export", "operator_runbook_export_count"),
            (
                "release-readiness-approval-decision",
                "release_readiness_approval_decision_count",
            ),
            ("release-record-attachment", "release_record_attachment_count"),
            (
                "release-closure-packet-verification",
                "release_closure_packet_verification_count",
            ),
            ("auditor-export", "auditor_export_count"),
            (
                "auditor-export-delivery-retry-plan",
                "auditor_export_delivery_retry_plan_count",
            ),
            (
                "auditor-export-delivery-retry-worker-run",
                "auditor_export_delivery_retry_worker_run_count",
            ),
            (
                "auditor-export-delivery-retry-execution-record",
                "auditor_export_delivery_retry_execution_record_count",
            ),
            ("immutable-archive-reference", "immutable_archive_reference_count"),
            ("archive-reference-health", "archive_reference_health_count"),
            (
                "archive-reference-health-alert-plan",
                "archive_reference_health_alert_plan_count",
            ),
            (
                "archive-reference-health-alert-ack",
                "archive_reference_health_alert_ack_count",
            ),
        ];
        for (kind, counter) in area {
            assert_eq!(
                counted(&format!("go-backend-rollback-drill-{kind}"), json!({})),
                set([counter]),
                "{kind}"
            );
        }
        for (kind, counter) in reporting {
            let counter = format!("{REPORTING}{counter}");
            assert_eq!(
                counted(&format!("{REPORTING_KIND}{kind}"), json!({})),
                set([counter.as_str()]),
                "{kind}"
            );
        }
        // Worker runs and deliveries have tests of their own; these two have no field on the dashboard.
        let trend = counted("go-backend-rollback-drill-routing-suppression-trend", json!({}));
        let execution = counted(
            "go-backend-rollback-drill-acknowledgement-audit-delivery-retry-execution-record",
            json!({}),
        );
        assert!(trend.is_empty() && execution.is_empty());
        assert_eq!(area.len() + reporting.len() + 4, EvidenceKind::ALL.len());
        assert!(counted("some-other-product", json!({ "delivery_success": false })).is_empty());
    }

    #[test]
    fn a_state_counts_where_the_record_or_its_document_says_it() {
        let cases = [
            (
                "release-readiness-summary",
                "readiness_state",
                "ready",
                "not_ready",
                "release_ready_count",
            ),
            (
                "release-readiness-approval-decision",
                "approval_state",
                "approved",
                "rejected",
                "release_readiness_approved_count",
            ),
            (
                "release-closure-packet-verification",
                "verification_state",
                "verified",
                "incomplete",
                "release_closure_packet_verified_count",
            ),
            (
                "auditor-export-delivery-retry-execution-record",
                "execution_status",
                "delivered",
                "planned",
                "auditor_export_delivery_retry_execution_success_count",
            ),
            (
                "auditor-export-delivery-retry-execution-record",
                "execution_status",
                "skipped",
                "planned",
                "auditor_export_delivery_retry_execution_failed_count",
            ),
            (
                "auditor-export-delivery-retry-execution-record",
                "execution_status",
                "failed",
                "planned",
                "auditor_export_delivery_retry_execution_failed_count",
            ),
        ];
        for (kind, key, yes, no, counter) in cases {
            let (kind, counter) = (format!("{REPORTING_KIND}{kind}"), format!("{REPORTING}{counter}"));
            let payload = EvidenceKind::of(&kind).payload_key();
            assert!(
                counted(&kind, json!({ key: yes })).contains(&counter),
                "{kind} {yes}"
            );
            assert!(
                counted(&kind, json!({ payload: { key: yes } })).contains(&counter),
                "{kind} {yes}"
            );
            assert!(
                !counted(&kind, json!({ key: no })).contains(&counter),
                "{kind} {no}"
            );
            assert!(!counted(PLAN, json!({ key: yes })).contains(&counter), "{kind}");
        }
    }

    const PLAN: &str = "go-backend-rollback-drill-notification-plan";

    #[test]
    fn a_delivery_counts_for_its_source_and_failed_unless_it_plainly_succeeded() {
        let export = format!("{REPORTING}auditor_export_delivery_count");
        let alert = format!("{REPORTING}archive_reference_health_alert_delivery_count");
        let audit = "acknowledgement_audit_delivery_count".to_owned();
        for (source, counter) in [
            (SOURCE_AUDIT, audit),
            (SOURCE_EXPORT, export),
            (SOURCE_ARCHIVE_ALERT, alert),
        ] {
            let mut expected = set(["delivery_count", counter.as_str()]);
            let mut succeeded = expected.clone();
            if source == SOURCE_AUDIT {
                succeeded.insert("acknowledgement_audit_delivery_success_count".into());
            }
            assert_eq!(
                counted(DELIVERY, delivery(source, json!(true))),
                succeeded,
                "{source}"
            );
            expected.extend(["failed_delivery_count".to_owned(), format!("failed_{counter}")]);
            for failure in [json!(false), json!(null), json!("yes")] {
                assert_eq!(counted(DELIVERY, delivery(source, failure)), expected, "{source}");
            }
        }
        assert_eq!(
            counted(DELIVERY, delivery(SOURCE_NOTIFICATION, json!(false))),
            set([
                "delivery_count",
                "notification_delivery_count",
                "failed_delivery_count"
            ])
        );
        // A published source of this area without counters of its own, and one of another area.
        let other = format!("{SOURCE_AUDIT}_worker_health_alert");
        assert_eq!(
            counted(DELIVERY, delivery(&other, json!(true))),
            set(["delivery_count"])
        );
        assert!(counted(DELIVERY, delivery("release_promotion", json!(false))).is_empty());
        assert!(counted(DELIVERY, json!({})).is_empty());
    }

    #[test]
    fn a_worker_run_is_dry_unless_it_says_that_it_is_not() {
        let run = "acknowledgement_audit_delivery_worker_run_count";
        let dry = set([run, "acknowledgement_audit_delivery_worker_dry_run_count"]);
        let live = set([run, "acknowledgement_audit_delivery_worker_executed_count"]);
        for said in [
            json!({}),
            json!({ "dry_run": true }),
            json!({ "dry_run": null }),
            json!({ "dry_run": "false" }),
        ] {
            assert_eq!(counted(WORKER_RUN, said.clone()), dry, "{said}");
        }
        assert_eq!(counted(WORKER_RUN, json!({ "dry_run": false })), live);
        let document = json!({ "acknowledgement_audit_delivery_worker_run": { "dry_run": false } });
        assert_eq!(counted(WORKER_RUN, document), live);
    }

    #[test]
    fn providers_of_audit_deliveries_and_their_plans_are_named_once_in_one_spelling() {
        let mut members = delivery(SOURCE_AUDIT, json!(true));
        members["providers"] = json!(["Slack", "slack", "Pager-Duty", " ", 5]);
        members["failed_providers"] = json!(["splunk"]);
        let plan = json!({ "selected_providers": ["webhook"] });
        let stored: BTreeMap<String, u64> = counted(DELIVERY, members.clone())
            .into_iter()
            .chain(counted(
                "go-backend-rollback-drill-acknowledgement-audit-delivery-plan",
                plan,
            ))
            .map(|name| (name, 1))
            .collect();
        let shown = dashboard(&stored, &RouteCounts::default(), Vec::new());
        assert_eq!(
            shown.acknowledgement_audit_delivery_providers,
            ["pager_duty", "slack", "splunk", "webhook"]
        );
        members["connector_delivery_source"] = json!(SOURCE_EXPORT);
        assert!(
            counted(DELIVERY, members)
                .iter()
                .all(|name| !name.starts_with(AUDIT_PROVIDER))
        );
    }

    fn dashboard(
        stored: &BTreeMap<String, u64>,
        routes: &RouteCounts,
        outstanding: Vec<OutstandingRoute>,
    ) -> Dashboard<Value> {
        Dashboard::new(
            now(),
            stored,
            ReleaseCounts::default(),
            routes,
            0,
            outstanding,
            Vec::new(),
        )
    }

    #[test]
    fn every_counter_is_a_field_of_the_dashboard() {
        let Value::Object(fields) = serde_json::to_value(EvidenceCounts::default()).unwrap() else {
            panic!("an object")
        };
        let stored: BTreeMap<String, u64> = (1..)
            .zip(fields.keys())
            .map(|(n, name)| (name.clone(), n))
            .collect();
        let shown = serde_json::to_value(dashboard(&stored, &RouteCounts::default(), Vec::new())).unwrap();
        for (name, count) in &stored {
            assert_eq!(shown[name], *count, "{name}");
        }
        assert_eq!(EvidenceCounts::of(&BTreeMap::new()), EvidenceCounts::default());
    }

    #[test]
    fn the_success_rate_has_four_digits_and_is_absent_without_deliveries() {
        let rate = |part, whole| json!(super::rate(part, whole));
        assert_eq!(rate(0, 0), Value::Null);
        assert_eq!((rate(0, 3), rate(3, 3)), (json!(0.0), json!(1.0)));
        assert_eq!((rate(1, 3), rate(2, 3)), (json!(0.3333), json!(0.6667)));
        assert_eq!((rate(1, 20_000), rate(1, 20_001)), (json!(0.0001), json!(0.0)));
        assert_eq!(rate(u64::MAX, u64::MAX), json!(1.0));
    }

    #[test]
    fn audit_delivery_is_critical_from_the_first_failure() {
        let health = |failed| {
            let stored = BTreeMap::from([("failed_acknowledgement_audit_delivery_count".to_owned(), failed)]);
            dashboard(&stored, &RouteCounts::default(), Vec::new()).acknowledgement_audit_delivery_health
        };
        assert_eq!((health(0), health(1)), (Level::Healthy, Level::Critical));
    }

    #[test]
    fn outstanding_routes_that_are_not_listed_are_counted() {
        let open = tracked(route("sched-a", "slack", "ana"), &[]);
        let routes = RouteCounts {
            route_count: 3,
            outstanding: 3,
            ..RouteCounts::default()
        };
        let shown = dashboard(&BTreeMap::new(), &routes, vec![OutstandingRoute::new(&open)]);
        assert_eq!(
            (
                shown.outstanding_acknowledgement_count,
                shown.outstanding_acknowledgements_omitted
            ),
            (3, 2)
        );
        assert_eq!(
            serde_json::to_value(&shown.outstanding_acknowledgements).unwrap(),
            json!([{
                "schedule_id": "sched-a", "provider": "slack", "plan_id": "gordn-1", "owner": "ana",
                "deadline_at": "2026-01-02T04:04:05.678901Z",
            }])
        );
    }

    proptest! {
        #[test]
        fn the_states_on_the_dashboard_partition_the_routes_and_give_its_level(
            routes in any_routes(), now in about_now(),
        ) {
            let counts = RouteCounts::of(&routes, now);
            let shown = dashboard(&BTreeMap::new(), &counts, Vec::new());
            prop_assert_eq!(
                shown.outstanding_acknowledgement_count + shown.acknowledged_route_count + shown.escalated_route_count
                    + shown.dismissed_route_count + shown.resolved_route_count,
                shown.route_count
            );
            prop_assert_eq!(shown.route_count + shown.suppressed_route_count, routes.len() as u64);
            prop_assert_eq!((shown.alert_level, shown.breached_route_count), (counts.level(), counts.breached));
        }

        #[test]
        fn no_record_makes_counting_panic_or_counts_twice(record in any_record()) {
            let kind = EvidenceKind::of(record["metadata_kind"].as_str().unwrap_or_default());
            let names = counters(&kind, &record);
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
    }
}

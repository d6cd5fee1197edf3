//! What happens to the final auditor export, seen by whoever calls the use cases.

use std::sync::Arc;

use cavra_app::as_of::AsOf;
use cavra_app::bulk::BulkSelection;
use cavra_app::package::StoredDocument;
use cavra_app::release::{ArchivedExport, ELEMENTS_IN_RECORD, Exported, MakeExport};
use cavra_app::{AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::archive::{ArchiveReferenceTerms, HealthPolicy, NewArchiveReference};
use cavra_domain::bulk::BulkMode;
use cavra_domain::delivery::DeliveryReport;
use cavra_domain::id::{AuditId, ExportId};
use cavra_domain::public_safe::Text;
use cavra_domain::retry::{RetryPolicy, RetryPolicyTerms};
use cavra_domain::route::{Cycles, FilterTerms, Provider};
use cavra_evidence::digest::Digest;
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{Appended, NewRecord, pack};
use serde_json::{Value, json};

use super::support::{
    Service, acknowledge, ana, bulk, deliver, everything, filter, noon, package, package_text, position,
    quickstart_records, record, take, text,
};

fn make(service: &Service, release: &str, audit_id: Option<&str>) -> Result<Exported, AppError> {
    service.app.make_export(MakeExport {
        release_record_ref: text(release),
        audit_id: audit_id.map(|id| AuditId::parse(id).unwrap()),
        actor: ana(),
    })
}

/// The statuses of an export's checks, by id.
fn checks(exported: &Exported) -> Vec<(&str, &str)> {
    exported.export["verification"]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["id"].as_str().unwrap(), check["status"].as_str().unwrap()))
        .collect()
}

fn failed(exported: &Exported) -> Vec<&str> {
    checks(exported)
        .into_iter()
        .filter(|(_, status)| *status == "fail")
        .map(|(id, _)| id)
        .collect()
}

/// Answers everything that is breached, so that an export can be verified.
fn answer_breaches(service: &Service) {
    let breached = filter(FilterTerms {
        breached: Some(true),
        ..FilterTerms::default()
    });
    let selection = BulkSelection::Filter(breached);
    service
        .app
        .bulk(bulk(selection, AckState::Acknowledged, BulkMode::BestEffort))
        .unwrap();
}

/// A service whose newest package stands and whose breached routes are answered.
fn ready() -> Service {
    let service = Service::quickstart();
    answer_breaches(&service);
    package(&service.app, deliver(), Cycles::Current);
    service
}

fn report(export_id: &str, provider: &str, success: bool, code: u16) -> DeliveryReport {
    DeliveryReport {
        export_id: ExportId::parse(export_id).unwrap(),
        provider: Provider::parse(provider).unwrap(),
        success,
        status_code: Some(code),
        attempt_count: 1,
        started_at: None,
        completed_at: noon(),
        error_class: Text::empty(),
        retry_after_seconds: None,
    }
}

fn document(service: &Service, stored: &StoredDocument) -> Value {
    serde_json::from_slice(&package_text(&service.app, stored)).unwrap()
}

fn plan(service: &Service) -> Value {
    let stored = service.app.retry_plan(&RetryPolicy::default(), &ana()).unwrap();
    document(service, &stored)
}

fn health(service: &Service) -> Value {
    health_as_of(service, None)
}

fn health_as_of(service: &Service, as_of: Option<AsOf>) -> Value {
    let text = service
        .app
        .archive_health(&HealthPolicy::default(), &ana(), as_of)
        .unwrap();
    serde_json::from_slice(&text.whole(&service.app).unwrap()).unwrap()
}

fn export_id(exported: &Exported) -> String {
    exported.export["export_id"].as_str().unwrap().to_owned()
}

#[test]
fn an_export_over_a_current_package_is_verified_and_its_hash_is_that_of_the_bytes_to_archive() {
    let service = ready();
    let exported = make(&service, "REL-2026-06", None).unwrap();
    assert!(failed(&exported).is_empty(), "{:?}", checks(&exported));
    assert_eq!(exported.export["verification_state"], "verified");
    assert!(!exported.unchanged);
    let id = ExportId::parse(&export_id(&exported)).unwrap();
    let bytes = service.app.export_text(&id).unwrap();
    assert_eq!(
        exported.export["export_hash"],
        Digest::of(bytes.as_bytes()).to_hex()
    );
    let kept: Value = serde_json::from_str(&bytes).unwrap();
    assert_eq!(kept.get("export_hash"), None);
    assert_eq!(kept["markdown"], exported.export["markdown"]);
    for metadata in [&exported.metadata, &exported.verification_metadata] {
        let id = metadata["session_id"].as_str().unwrap();
        assert!(record(&service.app, id).is_some(), "{id} is not recorded");
    }
}

#[test]
fn the_same_export_is_given_again_until_evidence_changes() {
    let service = ready();
    let first = make(&service, "REL-2026-06", None).unwrap();
    let before = position(&service.app);
    service.clock.forward(1);
    let again = make(&service, "REL-2026-06", None).unwrap();
    assert!(again.unchanged);
    assert_eq!(
        (&again.export["export_id"], &again.export["export_hash"]),
        (&first.export["export_id"], &first.export["export_hash"])
    );
    assert_eq!(
        again.verification_metadata["session_id"],
        first.verification_metadata["session_id"]
    );
    assert_eq!(position(&service.app), before, "nothing was written");
    let other = make(&service, "REL-2026-07", None).unwrap();
    assert!(!other.unchanged);
    assert_ne!(export_id(&other), export_id(&first));
    // A new package is new evidence, although it shows the same routes.
    service.clock.forward(1);
    package(&service.app, deliver(), Cycles::Current);
    let renewed = make(&service, "REL-2026-06", None).unwrap();
    assert!(!renewed.unchanged && export_id(&renewed) != export_id(&first));
}

#[test]
fn an_export_without_a_package_or_without_a_release_is_incomplete_and_recorded() {
    let service = Service::empty();
    let exported = make(&service, "", None).unwrap();
    assert_eq!(exported.export["verification_state"], "incomplete");
    assert_eq!(
        failed(&exported),
        [
            "release_record_ref_present",
            "audit_package_present",
            "audit_package_current",
            "package_integrity",
            "no_unhandled_breach",
        ]
    );
    assert_eq!(exported.metadata["blocked_count"], 5);
    assert_eq!(position(&service.app), 2);
}

#[test]
fn a_named_package_that_does_not_exist_is_refused_and_nothing_is_written() {
    let service = ready();
    let before = position(&service.app);
    for id in ["gordackaudit-none", "gordn-abf463743572640a"] {
        let refused = make(&service, "REL-1", Some(id));
        assert!(matches!(
            refused,
            Err(AppError::Unknown {
                what: "audit package",
                ..
            })
        ));
    }
    assert_eq!(position(&service.app), before);
}

#[test]
fn a_changed_route_makes_the_package_stale_and_one_outside_its_scope_does_not() {
    let service = Service::quickstart();
    answer_breaches(&service);
    let scope = filter(FilterTerms {
        schedule_id: "payments-ledger-monthly",
        ..FilterTerms::default()
    });
    let (stored, _) = package(&service.app, scope, Cycles::Current);
    let audit_id = stored.metadata["audit_id"].as_str().unwrap().to_owned();
    let stale = |service: &Service| {
        let exported = make(service, "REL-1", Some(&audit_id)).unwrap();
        failed(&exported).contains(&"audit_package_current")
    };
    assert!(!stale(&service));
    service.clock.forward(1);
    service
        .app
        .acknowledge(acknowledge(
            "fraud-scoring-monthly",
            "email",
            None,
            AckState::Escalated,
        ))
        .unwrap();
    assert!(!stale(&service), "the route is not in its scope");
    service
        .app
        .acknowledge(acknowledge(
            "payments-ledger-monthly",
            "slack",
            None,
            AckState::Escalated,
        ))
        .unwrap();
    assert!(stale(&service));
}

#[test]
fn a_route_that_leaves_the_scope_of_a_package_makes_it_stale() {
    let service = Service::quickstart();
    answer_breaches(&service);
    let outstanding = filter(FilterTerms {
        state: "outstanding",
        ..FilterTerms::default()
    });
    let (stored, document) = package(&service.app, outstanding.clone(), Cycles::Current);
    assert!(document["route_count"].as_u64().unwrap() > 0);
    let audit_id = stored.metadata["audit_id"].as_str().unwrap().to_owned();
    let fresh = make(&service, "REL-1", Some(&audit_id)).unwrap();
    assert!(failed(&fresh).is_empty(), "{:?}", checks(&fresh));
    assert!(checks(&fresh).contains(&("no_outstanding_routes", "warning")));
    service
        .app
        .bulk(bulk(
            BulkSelection::Filter(outstanding),
            AckState::Resolved,
            BulkMode::Strict,
        ))
        .unwrap();
    let left = make(&service, "REL-1", Some(&audit_id)).unwrap();
    assert_eq!(failed(&left), ["audit_package_current"]);
}

#[test]
fn a_breach_that_nobody_has_answered_stops_an_export_and_an_escalated_one_does_not() {
    let service = Service::quickstart();
    package(&service.app, deliver(), Cycles::Current);
    let exported = make(&service, "REL-1", None).unwrap();
    assert_eq!(failed(&exported), ["no_unhandled_breach"]);
    let breached = filter(FilterTerms {
        breached: Some(true),
        ..FilterTerms::default()
    });
    service
        .app
        .bulk(bulk(
            BulkSelection::Filter(breached),
            AckState::Escalated,
            BulkMode::BestEffort,
        ))
        .unwrap();
    service.clock.forward(1);
    package(&service.app, deliver(), Cycles::Current);
    let exported = make(&service, "REL-1", None).unwrap();
    assert!(failed(&exported).is_empty(), "{:?}", checks(&exported));
}

/// A plan of many routes that nobody has answered and that stay in time.
fn many_routes(count: usize) -> String {
    let routes: Vec<Value> = (0..count)
        .map(|owner| {
            json!({
                "provider": "slack", "owner": format!("owner-{owner}"), "action": "deliver",
                "acknowledgement_minutes": 5_000_000, "reason": "x".repeat(300),
            })
        })
        .collect();
    let plan = json!({
        "session_id": "gordn-big", "created_at": "2026-06-01T11:00:00Z", "schedule_id": "big",
        "metadata_kind": "go-backend-rollback-drill-notification-plan",
        "plan": { "schedule_id": "big", "route_decisions": routes },
    });
    json!({ "items": [plan] }).to_string()
}

#[test]
fn a_package_of_several_pieces_is_read_whole() {
    let service = Service::empty();
    take(&service.app, &many_routes(1_500)).unwrap();
    let (stored, _) = package(&service.app, everything(), Cycles::Current);
    let third = service.app.store().reading(|tx| tx.piece(stored.position, 2));
    assert!(third.unwrap().is_some());
    let exported = make(&service, "REL-1", None).unwrap();
    assert!(failed(&exported).is_empty(), "{:?}", checks(&exported));
    // One of its last routes.
    service
        .app
        .acknowledge(acknowledge(
            "big",
            "slack",
            Some("owner-1"),
            AckState::Acknowledged,
        ))
        .unwrap();
    assert_eq!(
        failed(&make(&service, "REL-1", None).unwrap()),
        ["audit_package_current"]
    );
}

#[test]
fn a_package_whose_text_is_not_the_recorded_one_is_found() {
    let service = ready();
    let (stored, _) = package(&service.app, deliver(), Cycles::Current);
    let text = String::from_utf8(package_text(&service.app, &stored)).unwrap();
    for (id, altered) in [
        ("gordackaudit-same", text.clone()),
        (
            "gordackaudit-changed",
            text.replacen("\"acknowledged\"", "\"acknowledgeD\"", 1),
        ),
        ("gordackaudit-cut", text[..text.len() - 2].to_owned()),
        ("gordackaudit-garbage", "no JSON".to_owned()),
    ] {
        let mut metadata = stored.metadata.clone();
        metadata["session_id"] = json!(id);
        service
            .app
            .store()
            .writing(move |tx| {
                let new = NewRecord {
                    value: &metadata,
                    recorded_at: noon(),
                    imported: false,
                };
                let Appended::Recorded { position, .. } = tx.append(&new)? else {
                    panic!("{id} is there")
                };
                tx.store_pieces(position, &mut std::iter::once(Ok(pack(altered.as_bytes()))))
            })
            .unwrap();
        let exported = make(&service, id, Some(id)).unwrap();
        let intact = !failed(&exported).contains(&"package_integrity");
        assert_eq!(intact, id == "gordackaudit-same", "{id}: {:?}", checks(&exported));
    }
}

#[test]
fn a_package_that_came_without_its_text_cannot_be_relied_on() {
    let service = ready();
    let elsewhere = Service::empty();
    take(&elsewhere.app, &super::support::ndjson(&service.app)).unwrap();
    let exported = make(&elsewhere, "REL-1", None).unwrap();
    assert_eq!(failed(&exported), ["audit_package_current", "package_integrity"]);
}

#[test]
fn a_published_package_is_held_against_the_routes_that_it_shows() {
    let service = Service::empty();
    let routes = json!([{ "provider": "slack", "owner": "ana", "action": "deliver", "acknowledgement_minutes": 5_000 }]);
    let published = |state: &str, id: &str| {
        json!({
            "session_id": id, "created_at": "2026-06-01T11:30:00+00:00",
            "metadata_kind": "go-backend-rollback-drill-acknowledgement-audit-package",
            "acknowledgement_audit_package": {
                "audit_id": id, "filters": { "schedule_id": "", "provider": "", "owner": "" },
                "routes": [
                    { "route_id": "gordroute-x", "schedule_id": "s", "plan_id": "gordn-1", "provider": "Slack",
                      "owner": "ana", "acknowledgement_state": state },
                    { "route_id": "gordroute-y", "schedule_id": "s", "plan_id": "gordn-0", "provider": "slack",
                      "owner": "ana", "acknowledgement_state": "outstanding" },
                ],
            },
        })
    };
    let items = json!({ "items": [
        {
            "session_id": "gordn-1", "created_at": "2026-06-01T11:00:00Z", "schedule_id": "s",
            "metadata_kind": "go-backend-rollback-drill-notification-plan",
            "plan": { "schedule_id": "s", "route_decisions": routes },
        },
        published("outstanding", "gordackaudit-right"),
        published("acknowledged", "gordackaudit-wrong"),
    ] });
    take(&service.app, &items.to_string()).unwrap();
    let right = make(&service, "REL-1", Some("gordackaudit-right")).unwrap();
    assert!(failed(&right).is_empty(), "{:?}", checks(&right));
    let wrong = make(&service, "REL-1", Some("gordackaudit-wrong")).unwrap();
    assert_eq!(failed(&wrong), ["audit_package_current"]);
}

#[test]
fn the_imported_packet_of_a_release_stands_in_the_evidence_index() {
    let service = ready();
    let attachment = quickstart_records()
        .into_iter()
        .find(|record| {
            record["metadata_kind"]
                .as_str()
                .unwrap()
                .ends_with("release-record-attachment")
        })
        .unwrap();
    let release = attachment["release_record_ref"].as_str().unwrap();
    let exported = make(&service, release, None).unwrap();
    let index = exported.export["evidence_index"].as_array().unwrap();
    assert_eq!(index[0]["ref"], attachment["attachment_id"]);
    assert_eq!(index[1]["ref"], attachment["summary_id"]);
    assert_eq!(index[2]["ref"], attachment["approval_decision_id"]);
    assert_eq!(
        exported.export["verification"]["readiness_state"],
        attachment["readiness_state"]
    );
    let uri = format!(
        "go-rollback-drill-final-release-record://{}",
        attachment["attachment_id"].as_str().unwrap()
    );
    assert!(
        exported.export["public_evidence_refs"]
            .as_array()
            .unwrap()
            .contains(&json!(uri))
    );
}

#[test]
fn a_delivery_of_an_unknown_export_is_refused_and_nothing_is_written() {
    let service = ready();
    let before = position(&service.app);
    let refused = service
        .app
        .record_delivery(report("gordackfinalauditor-none", "webhook", true, 200), ana());
    assert!(matches!(
        refused,
        Err(AppError::Unknown {
            what: "auditor export",
            ..
        })
    ));
    assert_eq!(position(&service.app), before);
}

#[test]
fn failed_deliveries_are_planned_and_a_success_empties_the_plan() {
    let service = Service::empty();
    let id = export_id(&make(&service, "REL-1", None).unwrap());
    assert_eq!(plan(&service)["alert_level"], "healthy");
    let send = |provider: &str, success, code| {
        service
            .app
            .record_delivery(report(&id, provider, success, code), ana())
            .unwrap()
    };
    assert!(!send("webhook", false, 503).success);
    send("splunk", false, 404);
    let decisions = |plan: &Value| -> Vec<(String, String, String)> {
        plan["retry_decisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|decision| {
                let text = |key: &str| decision[key].as_str().unwrap().to_owned();
                (text("provider"), text("action"), text("reason_code"))
            })
            .collect()
    };
    let is = |provider: &str, action: &str, reason: &str| {
        (provider.to_owned(), action.to_owned(), reason.to_owned())
    };
    let permanent = is("splunk", "suppress", "permanent_failure");
    assert_eq!(
        decisions(&plan(&service)),
        [permanent.clone(), is("webhook", "wait", "backoff")]
    );
    service.clock.forward(15);
    let due = plan(&service);
    assert_eq!(
        decisions(&due),
        [permanent.clone(), is("webhook", "retry", "eligible")]
    );
    assert_eq!(
        (&due["retryable_count"], &due["alert_level"]),
        (&json!(1), &json!("critical"))
    );
    assert_eq!(due["retry_decisions"][1]["release_record_ref"], "REL-1");
    let dashboard = service.app.dashboard().unwrap();
    assert_eq!(dashboard.releases.retryable_delivery_count, 1);
    assert_eq!(
        dashboard
            .evidence
            .acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_plan_count,
        3,
        "plans are counted, what they decided is not added up"
    );
    let mut arrived = report(&id, "webhook", true, 200);
    arrived.completed_at = noon().plus_minutes(15);
    service.app.record_delivery(arrived, ana()).unwrap();
    assert_eq!(decisions(&plan(&service)), [permanent]);
    assert_eq!(
        service.app.dashboard().unwrap().releases.retryable_delivery_count,
        0
    );
}

#[test]
fn the_policy_of_a_plan_decides_and_is_repeated_in_it() {
    let service = Service::empty();
    let id = export_id(&make(&service, "REL-1", None).unwrap());
    service
        .app
        .record_delivery(report(&id, "webhook", false, 503), ana())
        .unwrap();
    let yes = json!(true);
    let policy = RetryPolicy::parse(&RetryPolicyTerms {
        allow_immediate_retry: Some(&yes),
        ..RetryPolicyTerms::default()
    })
    .unwrap();
    let stored = service.app.retry_plan(&policy, &ana()).unwrap();
    let plan = document(&service, &stored);
    assert_eq!(plan["retry_decisions"][0]["action"], "retry");
    assert_eq!(
        (&plan["allow_immediate_retry"], &plan["base_retry_delay_minutes"]),
        (&json!(true), &json!(0))
    );
    let again = service
        .app
        .stored_retry_plan(
            &cavra_domain::id::RetryPlanId::parse(plan["retry_plan_id"].as_str().unwrap()).unwrap(),
        )
        .unwrap();
    assert_eq!(
        package_text(&service.app, &again),
        package_text(&service.app, &stored)
    );
}

/// Exports from elsewhere, each with a failed delivery and no reference.
fn many_exports(count: usize) -> String {
    let mut items = Vec::new();
    for export in 0..count {
        let id = format!("gordackfinalauditor-{export:05}");
        items.push(json!({
            "session_id": id, "created_at": "2026-06-01T10:00:00Z", "verification_state": "verified",
            "metadata_kind":
                "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export",
        }));
        items.push(json!({
            "session_id": format!("rcd-{export:05}"), "created_at": "2026-06-01T10:00:00Z", "event_id": id,
            "metadata_kind": "release-connector-delivery", "delivery_success": false, "providers": ["webhook"],
            "connector_delivery_source":
                "go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export",
        }));
    }
    json!({ "items": items }).to_string()
}

#[test]
fn a_large_plan_and_a_large_report_are_whole_beside_their_records() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("cavra.db")).unwrap());
    let service = Service::over(store.clone(), Settings::default());
    let count = ELEMENTS_IN_RECORD + 700;
    take(&service.app, &many_exports(count)).unwrap();
    let stored_plan = service.app.retry_plan(&RetryPolicy::default(), &ana()).unwrap();
    let stored_health = service
        .app
        .record_archive_health(&HealthPolicy::default(), &ana())
        .unwrap();
    for (stored, list, omitted, summary) in [
        (
            &stored_plan,
            "retry_decisions",
            "retry_decisions_omitted",
            "final_reporting_auditor_export_delivery_retry_plan",
        ),
        (
            &stored_health,
            "alerts",
            "alerts_omitted",
            "final_reporting_archive_reference_health",
        ),
    ] {
        let text = package_text(&service.app, stored);
        let whole: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(whole[list].as_array().unwrap().len(), count);
        let summary = &stored.metadata[summary];
        assert_eq!(summary.get(list), None);
        assert_eq!(summary[omitted], json!(count));
        assert_eq!(summary["document_sha256"], Digest::of(&text).to_hex());
        assert_eq!(summary["document_bytes"], json!(text.len()));
    }
    assert_eq!(document(&service, &stored_plan)["retryable_count"], json!(count));
    let report = store.check(&mut |_| {}).unwrap();
    assert_eq!((report.findings, report.package_count), (Vec::new(), 2));
}

#[test]
fn a_plan_of_as_many_decisions_as_a_record_holds_is_whole_in_its_record() {
    let service = Service::empty();
    take(&service.app, &many_exports(ELEMENTS_IN_RECORD)).unwrap();
    let stored = service.app.retry_plan(&RetryPolicy::default(), &ana()).unwrap();
    let summary = &stored.metadata["final_reporting_auditor_export_delivery_retry_plan"];
    assert_eq!(
        summary["retry_decisions"].as_array().unwrap().len(),
        ELEMENTS_IN_RECORD
    );
    assert_eq!(document(&service, &stored), *summary);
}

fn reference(archive_hash: &str, retention_until: &str) -> NewArchiveReference {
    let terms = ArchiveReferenceTerms {
        archive_ref: "worm://bucket/export-1",
        archive_hash,
        retention_until,
        ..ArchiveReferenceTerms::default()
    };
    NewArchiveReference::parse(&terms, ana()).unwrap()
}

fn alerts(health: &Value) -> Vec<&str> {
    let alerts = health["alerts"].as_array().unwrap();
    alerts
        .iter()
        .map(|alert| alert["alert_id"].as_str().unwrap())
        .collect()
}

#[test]
fn archive_health_goes_from_critical_over_two_warnings_to_healthy() {
    let service = Service::empty();
    take(&service.app, &many_routes(2)).unwrap();
    package(&service.app, deliver(), Cycles::Current);
    let exported = make(&service, "REL-1", None).unwrap();
    let alerts_now = |service: &Service| service.app.dashboard().unwrap().releases.archive_alert_count;
    let missing = health(&service);
    assert_eq!(
        (alerts(&missing), &missing["alert_level"]),
        (vec!["archive_reference_missing"], &json!("critical"))
    );
    assert_eq!(alerts_now(&service), 1);
    service.clock.forward(1);
    let release = ArchivedExport {
        export_id: None,
        release_record_ref: Some(text("REL-1")),
    };
    let bare = service
        .app
        .record_archive_reference(release.clone(), reference("", ""))
        .unwrap();
    assert_eq!(bare.reference.export_id.to_string(), export_id(&exported));
    assert_eq!(
        bare.reference.archive_hash.as_str(),
        "",
        "a hash is never copied from the export"
    );
    let partly = health(&service);
    assert_eq!(
        (alerts(&partly), &partly["alert_level"]),
        (
            vec!["archive_hash_missing", "retention_until_missing"],
            &json!("warning")
        )
    );
    assert_eq!(alerts_now(&service), 2);
    service.clock.forward(1);
    let hash = exported.export["export_hash"].as_str().unwrap();
    service
        .app
        .record_archive_reference(release, reference(hash, "2033-01-01T00:00:00Z"))
        .unwrap();
    let whole = health(&service);
    assert_eq!(
        (alerts(&whole), &whole["alert_level"]),
        (Vec::new(), &json!("healthy"))
    );
    assert_eq!(alerts_now(&service), 0);
}

/// A report without its id, which is drawn for each.
fn without_id(mut health: Value) -> Value {
    health.as_object_mut().unwrap().shift_remove("health_id").unwrap();
    health
}

#[test]
fn health_as_of_an_earlier_moment_is_what_was_answered_then() {
    let service = Service::empty();
    let mut moments = Vec::new();
    let mut look = |service: &Service| {
        let seen = without_id(health(service));
        moments.push((position(&service.app), service.app.now(), seen));
        service.clock.forward(7);
    };
    take(&service.app, &many_routes(2)).unwrap();
    look(&service);
    package(&service.app, deliver(), Cycles::Current);
    let exported = make(&service, "REL-1", None).unwrap();
    look(&service);
    let archived = || ArchivedExport {
        export_id: None,
        release_record_ref: Some(text("REL-1")),
    };
    let hash = exported.export["export_hash"].as_str().unwrap();
    for (hash, until) in [
        ("", ""),
        (hash, "2033-01-01T00:00:00Z"),
        (hash, "2032-01-01T00:00:00Z"),
    ] {
        service
            .app
            .record_archive_reference(archived(), reference(hash, until))
            .unwrap();
        look(&service);
    }
    // More alerts than a record holds, which go another way; and some that time alone brings.
    take(&service.app, &many_exports(ELEMENTS_IN_RECORD + 1)).unwrap();
    look(&service);
    service.clock.forward(8 * 366 * 24 * 60);
    look(&service);
    let levels: Vec<_> = moments.iter().map(|(_, _, seen)| &seen["alert_level"]).collect();
    assert_eq!(
        levels,
        [
            "healthy", "critical", "warning", "healthy", "critical", "critical", "critical"
        ]
    );
    let kinds = |seen: &Value| seen["alert_counts"].clone();
    assert_ne!(kinds(&moments[5].2), kinds(&moments[6].2));
    let before = position(&service.app);
    for (position, at, seen) in &moments {
        assert_eq!(&without_id(health_as_of(&service, Some(AsOf::Time(*at)))), seen);
        // Of two moments with the same records, a position is that of their newest record's time.
        if seen["generated_at"] != json!(moments[6].1) {
            let again = without_id(health_as_of(&service, Some(AsOf::Position(*position))));
            assert_eq!(again["alerts"], seen["alerts"]);
            assert_eq!(again["evidence"], json!({ "log_position": position }));
        }
    }
    assert_eq!(position(&service.app), before, "looking writes nothing");
    let ahead = AsOf::Time(service.app.now().plus_minutes(1));
    let refused = service
        .app
        .archive_health(&HealthPolicy::default(), &ana(), Some(ahead));
    assert!(matches!(refused, Err(AppError::Ahead(_))));
}

#[test]
fn a_reference_is_bound_to_the_named_the_newest_of_the_release_or_the_newest_verified_export() {
    let service = Service::empty();
    take(&service.app, &many_routes(2)).unwrap();
    let unverified = export_id(&make(&service, "REL-0", None).unwrap());
    package(&service.app, deliver(), Cycles::Current);
    let first = export_id(&make(&service, "REL-1", None).unwrap());
    service.clock.forward(1);
    let second = export_id(&make(&service, "REL-2", None).unwrap());
    let bind = |export: Option<&str>, release: Option<&str>| {
        let archived = ArchivedExport {
            export_id: export.map(|id| ExportId::parse(id).unwrap()),
            release_record_ref: release.map(text),
        };
        service
            .app
            .record_archive_reference(archived, reference("", ""))
            .map(|done| done.reference.export_id.to_string())
    };
    assert_eq!(bind(Some(&first), None).unwrap(), first);
    assert_eq!(bind(Some(&first), Some("REL-1")).unwrap(), first);
    assert_eq!(bind(None, Some("REL-1")).unwrap(), first);
    assert_eq!(bind(None, None).unwrap(), second);
    let before = position(&service.app);
    assert!(
        matches!(bind(Some(&unverified), None), Err(AppError::ExportNotVerified(id)) if id == unverified)
    );
    assert!(
        matches!(bind(Some(&first), Some("REL-2")), Err(AppError::OtherRelease { found, .. }) if found == "REL-1")
    );
    for refused in [
        bind(Some("gordackfinalauditor-none"), None),
        bind(None, Some("REL-0")),
        bind(None, Some("REL-9")),
    ] {
        assert!(matches!(refused, Err(AppError::Unknown { .. })), "{refused:?}");
    }
    assert_eq!(position(&service.app), before);
    let empty = Service::empty()
        .app
        .record_archive_reference(ArchivedExport::default(), reference("", ""));
    assert!(matches!(empty, Err(AppError::Unknown { .. })));
}

#[test]
fn an_export_that_the_published_system_verified_is_a_verified_export_here() {
    let service = Service::quickstart();
    let published = quickstart_records()
        .into_iter()
        .find(|record| {
            record["metadata_kind"]
                .as_str()
                .unwrap()
                .ends_with("auditor-export")
                && record["verification_state"] == "verified"
        })
        .unwrap();
    let id = ExportId::parse(published["export_id"].as_str().unwrap()).unwrap();
    let archived = ArchivedExport {
        export_id: Some(id.clone()),
        release_record_ref: None,
    };
    let bound = service
        .app
        .record_archive_reference(archived, reference("", ""))
        .unwrap();
    assert_eq!(bound.export, published["final_reporting_auditor_export"]);
    assert_eq!(
        bound.reference.export_hash.as_str(),
        published["export_hash"].as_str().unwrap()
    );
    service
        .app
        .record_delivery(report(id.as_str(), "webhook", false, 503), ana())
        .unwrap();
    assert!(service.app.export_text(&id).unwrap().contains(id.as_str()));
}

#[test]
fn a_report_that_is_not_to_be_stored_writes_nothing_and_a_stored_one_is_given_again() {
    let service = Service::quickstart();
    let before = position(&service.app);
    let looked = health(&service);
    assert_eq!(position(&service.app), before);
    let stored = service
        .app
        .record_archive_health(&HealthPolicy::default(), &ana())
        .unwrap();
    assert_eq!(position(&service.app), before + 1);
    let kept = document(&service, &stored);
    assert_eq!(
        kept["alerts"], looked["alerts"],
        "fingerprints and all are stable"
    );
    assert_ne!(kept["health_id"], looked["health_id"]);
    let id = cavra_domain::id::ArchiveHealthId::parse(kept["health_id"].as_str().unwrap()).unwrap();
    let again = service.app.stored_archive_health(&id).unwrap();
    assert_eq!(
        package_text(&service.app, &again),
        package_text(&service.app, &stored)
    );
    assert_eq!(
        kept["alert_count"],
        json!(service.app.dashboard().unwrap().releases.archive_alert_count)
    );
}

#[test]
fn of_an_imported_delivery_only_what_a_retry_needs_is_kept_and_the_report_says_what_was_left_out() {
    let service = Service::empty();
    let delivery = json!({
        "session_id": "rcd-1", "created_at": "2026-06-01T10:00:00Z", "event_id": "gordackfinalauditor-1",
        "metadata_kind": "release-connector-delivery", "delivery_success": false, "providers": ["webhook"],
        "connector_delivery_source":
            "go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export",
        "delivery": { "deliveries": [{
            "provider": "webhook", "success": false, "status_code": 503,
            "request": { "url": "https://user:hunter2@hooks.example.net", "headers": { "authorization": "Bearer abc123def456ghi789" } },
        }] },
    });
    let items = json!({ "items": [delivery] }).to_string();
    let report = take(&service.app, &items).unwrap();
    assert_eq!(report.imported_count, 1);
    assert_eq!(report.left_out["delivery.deliveries[].request"], 1);
    let kept = record(&service.app, "rcd-1").unwrap().json;
    assert!(!kept.contains("hooks.example.net") && !kept.contains("hunter2") && kept.contains("503"));
    let again = take(&service.app, &items).unwrap();
    assert_eq!((again.unchanged_count, again.left_out.len()), (1, 1));
    assert_eq!(plan(&service)["retry_decisions"][0]["export_known"], false);
    assert_eq!(plan(&service)["unknown_export_count"], 1);
}

#[test]
fn a_delivery_that_an_earlier_version_took_whole_is_there_already() {
    let service = Service::empty();
    let delivery = json!({
        "session_id": "rcd-1", "created_at": "2026-06-01T10:00:00Z", "event_id": "e-1",
        "metadata_kind": "release-connector-delivery", "delivery_success": false, "providers": ["webhook"],
        "connector_delivery_source": "go_backend_rollback_drill_notification",
        "delivery": { "deliveries": [{ "provider": "webhook", "request": { "method": "POST" } }] },
    });
    let whole = delivery.clone();
    service
        .app
        .store()
        .writing(move |tx| {
            tx.append(&NewRecord {
                value: &whole,
                recorded_at: noon(),
                imported: true,
            })
        })
        .map(|_| ())
        .unwrap();
    let report = take(&service.app, &json!({ "items": [delivery.clone()] }).to_string()).unwrap();
    assert_eq!((report.unchanged_count, report.refused_count), (1, 0));
    let mut other = delivery;
    other["delivery"]["deliveries"][0]["status_code"] = json!(500);
    let refused = take(&service.app, &json!({ "items": [other] }).to_string());
    assert!(matches!(refused, Err(AppError::ImportRefused(report)) if report.refused_count == 1));
}

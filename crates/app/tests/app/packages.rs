//! Audit packages.

use std::sync::Arc;

use cavra_app::{AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::actor::Actor;
use cavra_domain::id::AuditId;
use cavra_domain::route::{Cycles, FilterTerms};
use cavra_evidence::digest::Digest;
use cavra_storage::sqlite::SqliteStore;
use serde_json::{Value, json};

use super::support::{
    Service, acknowledge, ana, at, deliver, everything, filter, ndjson, package, package_text, position,
    rows, take,
};

fn number(document: &Value, key: &str) -> u64 {
    document[key]
        .as_u64()
        .unwrap_or_else(|| panic!("`{key}` is no number"))
}

#[test]
fn the_same_state_and_clock_give_the_same_package() {
    let service = Service::quickstart();
    let first = service
        .app
        .export_package(everything(), Cycles::Current, &ana())
        .unwrap();
    let text = package_text(&service.app, &first);
    assert_eq!(position(&service.app), 185);
    let again = service
        .app
        .export_package(deliver(), Cycles::Current, &ana())
        .unwrap();
    assert_eq!(position(&service.app), 185, "the stored one is given");
    assert_eq!(
        again.metadata.to_string(),
        first.metadata.to_string(),
        "in the same order as well"
    );
    assert_eq!((again.position, &again.actor), (first.position, &first.actor));
    assert_eq!(package_text(&service.app, &again), text);
    // Another store with the same evidence makes the same bytes.
    let elsewhere = Service::quickstart();
    let there = elsewhere
        .app
        .export_package(everything(), Cycles::Current, &ana())
        .unwrap();
    assert_eq!(package_text(&elsewhere.app, &there), text);
    assert_eq!(there.metadata, first.metadata);
}

#[test]
fn another_scope_actor_time_or_state_gives_another_package() {
    let service = Service::quickstart();
    let mut ids = std::collections::BTreeSet::new();
    let mut made = |scope, cycles, actor: &Actor| {
        let stored = service.app.export_package(scope, cycles, actor).unwrap();
        assert!(ids.insert(stored.metadata["audit_id"].as_str().unwrap().to_owned()));
    };
    made(everything(), Cycles::Current, &ana());
    made(everything(), Cycles::All, &ana());
    made(
        filter(FilterTerms {
            provider: "slack",
            ..FilterTerms::default()
        }),
        Cycles::Current,
        &ana(),
    );
    made(
        everything(),
        Cycles::Current,
        &Actor::local("generated_by", "bo@example.org").unwrap(),
    );
    service.clock.forward(1);
    made(everything(), Cycles::Current, &ana());
    service
        .app
        .acknowledge(acknowledge(
            "payments-ledger-monthly",
            "slack",
            None,
            AckState::Acknowledged,
        ))
        .unwrap();
    made(everything(), Cycles::Current, &ana());
    assert_eq!(position(&service.app), 184 + 6 + 1);
}

#[test]
fn a_stored_package_is_given_again_byte_for_byte() {
    let service = Service::quickstart();
    let stored = service
        .app
        .export_package(everything(), Cycles::All, &ana())
        .unwrap();
    let text = package_text(&service.app, &stored);
    let id = AuditId::parse(stored.metadata["audit_id"].as_str().unwrap()).unwrap();
    // Later, after the state has changed.
    service.clock.forward(60);
    service
        .app
        .acknowledge(acknowledge(
            "payments-ledger-monthly",
            "slack",
            None,
            AckState::Resolved,
        ))
        .unwrap();
    let found = service.app.package(&id).unwrap();
    assert_eq!(package_text(&service.app, &found), text);
    assert_eq!(found.metadata, stored.metadata);
    let summary = &stored.metadata["acknowledgement_audit_package"];
    assert_eq!(summary["package_sha256"], Digest::of(&text).to_hex());
    assert_eq!(number(summary, "package_bytes"), text.len() as u64);
    assert_eq!(found.actor["actor"], "ana@example.org");
    let unknown = service.app.package(&AuditId::parse("gordackaudit-none").unwrap());
    assert!(
        matches!(
            unknown,
            Err(AppError::Unknown {
                what: "audit package",
                ..
            })
        ),
        "{unknown:?}"
    );
    let of_other_kind = service
        .app
        .package(&AuditId::parse("gordn-abf463743572640a").unwrap());
    assert!(
        matches!(of_other_kind, Err(AppError::Unknown { .. })),
        "{of_other_kind:?}"
    );
}

#[test]
fn the_counts_of_a_package_add_up() {
    let service = Service::quickstart();
    let scopes = [
        everything(),
        filter(FilterTerms {
            owner: "platform",
            provider: "jira",
            ..FilterTerms::default()
        }),
        filter(FilterTerms {
            state: "escalated",
            breached: Some(true),
            ..FilterTerms::default()
        }),
        filter(FilterTerms {
            action: "suppress",
            category: "maintenance_window",
            ..FilterTerms::default()
        }),
    ];
    for scope in scopes {
        for cycles in [Cycles::Current, Cycles::All] {
            let (_, document) = package(&service.app, scope.clone(), cycles);
            let routes = document["routes"].as_array().unwrap();
            let of_state = |state: &str| {
                routes
                    .iter()
                    .filter(|route| route["acknowledgement_state"] == state)
                    .count() as u64
            };
            let mut sum = 0;
            for state in [
                "outstanding",
                "acknowledged",
                "escalated",
                "dismissed",
                "resolved",
            ] {
                assert_eq!(
                    number(&document, &format!("{state}_count")),
                    of_state(state),
                    "{state}"
                );
                sum += of_state(state);
            }
            assert_eq!(number(&document, "route_count"), sum);
            assert_eq!(number(&document, "suppressed_count"), of_state("not_required"));
            let breached = routes.iter().filter(|route| route["breached"] == true).count() as u64;
            assert_eq!(number(&document, "breached_count"), breached);
            let population = &document["population"];
            let left_out: u64 = population["left_out"]
                .as_object()
                .unwrap()
                .values()
                .map(|count| count.as_u64().unwrap())
                .sum();
            assert_eq!(number(population, "matched"), routes.len() as u64);
            assert_eq!(
                number(population, "matched") + left_out,
                number(population, "known")
            );
            let known = rows(&service.app, &everything(), cycles).len() as u64;
            assert_eq!(number(population, "known"), known);
            let mut distinct = std::collections::BTreeSet::new();
            for route in routes {
                for answer in route["acknowledgements"].as_array().unwrap() {
                    distinct.insert(answer["acknowledgement_id"].as_str().unwrap());
                }
            }
            assert_eq!(number(&document, "acknowledgement_count"), distinct.len() as u64);
            assert_eq!(document["evidence"]["record_count"], 26 + 95);
        }
    }
}

#[test]
fn a_route_in_a_package_has_its_whole_history_oldest_first() {
    let service = Service::quickstart();
    for said in [
        AckState::Acknowledged,
        AckState::Acknowledged,
        AckState::Escalated,
        AckState::Resolved,
    ] {
        service.clock.forward(1);
        service
            .app
            .acknowledge(acknowledge("payments-ledger-monthly", "slack", None, said))
            .unwrap();
    }
    let (_, document) = package(&service.app, everything(), Cycles::All);
    let mut answered = 0;
    for route in document["routes"].as_array().unwrap() {
        let history = route["acknowledgements"].as_array().unwrap();
        let times: Vec<_> = history
            .iter()
            .map(|entry| at(entry["acknowledged_at"].as_str().unwrap()))
            .collect();
        assert!(times.is_sorted());
        // What stands is the last entry that changed something.
        let stands = history.iter().rev().find(|entry| entry["effect"] == "change");
        let expected = stands.map_or(json!("outstanding"), |entry| {
            entry["acknowledgement_state"].clone()
        });
        if route["route_action"] == "deliver" {
            assert_eq!(route["acknowledgement_state"], expected);
        }
        let id = stands.map_or(json!(""), |entry| entry["acknowledgement_id"].clone());
        assert_eq!(route["acknowledgement_id"], id);
        answered += usize::from(!history.is_empty());
        if route["schedule_id"] == "payments-ledger-monthly"
            && route["plan_id"] == "gordn-abf463743572640a"
            && route["provider"] == "slack"
        {
            let effects: Vec<&str> = history
                .iter()
                .map(|entry| entry["effect"].as_str().unwrap())
                .collect();
            assert_eq!(effects, ["change", "repeat", "change", "change"]);
            assert_eq!(history[0]["issuer"], "local");
            assert_eq!(history[0]["verified"], false);
        }
    }
    assert!(answered > 100);
}

/// A plan with many routes, so that a package has several pieces.
fn large_plan(routes: usize) -> String {
    let decisions: Vec<Value> = (0..routes)
        .map(
            |number| json!({"provider": "slack", "owner": format!("owner-{number:05}"), "action": "deliver"}),
        )
        .collect();
    json!({
        "session_id": "gordn-large",
        "created_at": "2026-06-01T11:00:00Z",
        "metadata_kind": "go-backend-rollback-drill-notification-plan",
        "schedule_id": "large",
        "plan": {"schedule_id": "large", "route_decisions": decisions},
    })
    .to_string()
}

#[test]
fn a_package_that_spills_to_a_file_is_the_one_that_fits_in_memory() {
    let mut texts = Vec::new();
    for spool_bytes in [1, 10_000, usize::MAX] {
        let settings = Settings {
            spool_bytes,
            ..Settings::default()
        };
        let service = Service::over(Arc::new(SqliteStore::in_memory().unwrap()), settings);
        take(&service.app, &large_plan(1_500)).unwrap();
        let (stored, document) = package(&service.app, everything(), Cycles::Current);
        assert_eq!(document["routes"].as_array().unwrap().len(), 1_500);
        let piece = |number| {
            service
                .app
                .store()
                .reading(|tx| tx.piece(stored.position, number))
        };
        let pieces = (0..100)
            .take_while(|number| piece(*number).unwrap().is_some())
            .count();
        assert!(pieces > 2, "{pieces} pieces");
        texts.push(package_text(&service.app, &stored));
    }
    assert!(texts[0] == texts[1] && texts[1] == texts[2]);
}

#[test]
fn an_imported_package_is_the_document_in_its_record() {
    let service = Service::quickstart();
    let id = AuditId::parse("gordackaudit-2f759d2f334d6962").unwrap();
    let stored = service.app.package(&id).unwrap();
    let document: Value = serde_json::from_slice(&package_text(&service.app, &stored)).unwrap();
    assert_eq!(document, stored.metadata["acknowledgement_audit_package"]);
    assert_eq!(document["audit_id"], id.as_str());
}

#[test]
fn a_package_whose_text_is_elsewhere_is_made_again_or_said_to_be_missing() {
    let service = Service::quickstart();
    let original = service
        .app
        .export_package(everything(), Cycles::Current, &ana())
        .unwrap();
    let id = AuditId::parse(original.metadata["audit_id"].as_str().unwrap()).unwrap();
    let elsewhere = Service::empty();
    take(&elsewhere.app, &ndjson(&service.app)).unwrap();
    let missing = elsewhere.app.package(&id);
    assert!(
        matches!(missing, Err(AppError::TextElsewhere { .. })),
        "an empty package is given: {missing:?}"
    );
    // The same state, clock and actor: the same package, and now its text is there.
    let made = elsewhere
        .app
        .export_package(everything(), Cycles::Current, &ana())
        .unwrap();
    assert_eq!(made.metadata, original.metadata);
    assert_eq!(position(&elsewhere.app), position(&service.app));
    assert_eq!(
        package_text(&elsewhere.app, &made),
        package_text(&service.app, &original)
    );
    assert_eq!(
        package_text(&elsewhere.app, &elsewhere.app.package(&id).unwrap()).len(),
        package_text(&service.app, &original).len()
    );
}

#[test]
fn a_store_with_everything_in_it_passes_its_check() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("cavra.db")).unwrap());
    let service = Service::over(store.clone(), Settings::default());
    take(&service.app, &super::support::quickstart_text()).unwrap();
    let selection = cavra_app::bulk::BulkSelection::Filter(everything());
    super::support::bulk_done(
        &service.app,
        super::support::bulk(
            selection,
            AckState::Escalated,
            cavra_domain::bulk::BulkMode::BestEffort,
        ),
    );
    package(&service.app, everything(), Cycles::All);
    service.clock.forward(5);
    package(&service.app, everything(), Cycles::Current);
    let report = store.check(&mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.record_count, report.package_count),
        (position(&service.app), 3)
    );
}

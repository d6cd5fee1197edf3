//! The evidence is all there is: what it is taken into becomes the same.

use cavra_app::bulk::BulkSelection;
use cavra_app::plan::Deliver;
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::BulkMode;
use cavra_domain::evidence::EvidenceKind;
use cavra_domain::route::{Cycles, FilterTerms};
use cavra_domain::schedule::RequestedProviders;
use serde_json::Value;

use super::support::{
    Service, acknowledge, ana, at, bulk, bulk_done, everything, filter, fixture, ndjson, noon, package,
    position, rows, take,
};

/// A service that has lived: imported, answered, planned anew, packaged.
fn lived() -> Service {
    let service = Service::quickstart();
    service.clock.forward(7);
    service
        .app
        .acknowledge(acknowledge(
            "payments-ledger-monthly",
            "slack",
            None,
            AckState::Acknowledged,
        ))
        .unwrap();
    service.clock.forward(7);
    let selection = BulkSelection::Filter(filter(FilterTerms {
        breached: Some(true),
        ..FilterTerms::default()
    }));
    let done = bulk_done(
        &service.app,
        bulk(selection, AckState::Escalated, BulkMode::BestEffort),
    );
    assert!(done.counts.changed_count > 5);
    package(&service.app, everything(), Cycles::Current);
    service.clock.forward(7);
    let schedule: Value =
        serde_json::from_slice(&std::fs::read(fixture("schedules/search-index-weekly.json")).unwrap())
            .unwrap();
    let planned = service
        .app
        .deliver(Deliver {
            schedule: Some(schedule),
            schedule_id: None,
            routing_policy: None,
            requested: RequestedProviders::default(),
            force: true,
            actor: ana(),
        })
        .unwrap();
    assert!(!planned.resent);
    service.clock.forward(7);
    let provider = planned.plan["selected_providers"][0].as_str().unwrap();
    service
        .app
        .acknowledge(acknowledge(
            "search-index-weekly",
            provider,
            None,
            AckState::Resolved,
        ))
        .unwrap();
    service
}

#[test]
fn exported_evidence_gives_the_same_routes_in_an_empty_store() {
    let service = lived();
    let replayed = Service::empty();
    let later = at("2026-06-02T00:00:00Z");
    replayed.clock.set(later);
    let report = take(&replayed.app, &ndjson(&service.app)).unwrap();
    assert_eq!(report.imported_count, position(&service.app));
    service.clock.set(later);
    for cycles in [Cycles::Current, Cycles::All] {
        assert_eq!(
            rows(&replayed.app, &everything(), cycles),
            rows(&service.app, &everything(), cycles)
        );
    }
    let (_, first) = package(&service.app, everything(), Cycles::All);
    let (_, second) = package(&replayed.app, everything(), Cycles::All);
    assert_eq!(
        first["routes"], second["routes"],
        "the histories are the same as well"
    );
    assert_eq!(
        service.app.dashboard().unwrap().evidence,
        replayed.app.dashboard().unwrap().evidence
    );
}

#[test]
fn export_import_export_is_the_same_text() {
    let service = lived();
    let first = ndjson(&service.app);
    let replayed = Service::empty();
    replayed.clock.set(at("2030-01-01T00:00:00Z"));
    take(&replayed.app, &first).unwrap();
    assert_eq!(ndjson(&replayed.app), first);
}

#[test]
fn an_export_may_be_of_one_kind_or_from_a_time_on() {
    let service = lived();
    let export = |kind: Option<&str>, since| {
        let mut found = Vec::new();
        let count = service
            .app
            .export_evidence(kind, since, &mut |record| {
                found.push((record.kind.clone(), record.created_at));
                Ok(())
            })
            .unwrap();
        assert_eq!(count, found.len() as u64);
        found
    };
    let all = export(None, None);
    assert_eq!(all.len() as u64, position(&service.app));
    let plans = export(Some(EvidenceKind::NotificationPlan.as_str()), None);
    assert_eq!(plans.len(), 27);
    let recent = export(None, Some(noon()));
    assert!(!recent.is_empty() && recent.len() < all.len());
    assert!(recent.iter().all(|(_, created_at)| *created_at >= noon()));
    let failed = service
        .app
        .export_evidence(None, None, &mut |_| Err(std::io::ErrorKind::BrokenPipe.into()));
    assert!(failed.is_err());
}

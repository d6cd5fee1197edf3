//! Plans: a schedule becomes routes, and nothing is sent.

use std::io::Write as _;
use std::sync::Arc;

use cavra_app::plan::{Deliver, ScheduleSettings};
use cavra_app::{AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::id::ScheduleId;
use cavra_domain::route::{Cycles, FilterTerms};
use cavra_domain::schedule::{RequestedProviders, ScheduleError};
use cavra_storage::sqlite::SqliteStore;
use serde_json::{Value, json};

use super::support::{
    Service, acknowledge, ana, filter, fixture, noon, position, record, rows, rows_of, states,
};

const LEDGER: &str = "payments-ledger-monthly";

fn schedule() -> Value {
    let file = fixture("schedules/payments-ledger-monthly.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn request(schedule: Option<Value>) -> Deliver {
    Deliver {
        schedule,
        schedule_id: None,
        routing_policy: None,
        requested: RequestedProviders::default(),
        force: false,
        actor: ana(),
    }
}

fn ledger(service: &Service, cycles: Cycles) -> Vec<cavra_app::views::RouteRow> {
    let filter = filter(FilterTerms {
        schedule_id: LEDGER,
        ..FilterTerms::default()
    });
    rows(&service.app, &filter, cycles)
}

#[test]
fn a_schedule_that_is_due_becomes_routes() {
    let service = Service::empty();
    let done = service.app.deliver(request(Some(schedule()))).unwrap();
    assert!(done.success && !done.resent);
    assert_eq!((done.delivery, done.metadata), (None, None), "nothing is sent");
    let rows = ledger(&service, Cycles::Current);
    assert_eq!(rows.len(), done.plan["route_decisions"].as_array().unwrap().len());
    assert_eq!(rows.len(), 11);
    assert!(
        rows.iter()
            .all(|row| row.plan_id.as_str() == done.plan["plan_id"].as_str().unwrap())
    );
    // The owner is away, and the storage is moved.
    let suppressed: Vec<_> = rows
        .iter()
        .filter(|row| row.acknowledgement_state == "not_required")
        .map(|row| row.category.as_str())
        .collect();
    assert_eq!(
        suppressed
            .iter()
            .filter(|category| **category == "owner_calendar")
            .count(),
        2
    );
    assert_eq!(
        suppressed
            .iter()
            .filter(|category| **category == "maintenance_window")
            .count(),
        1
    );
    let stored = record(&service.app, done.plan["plan_id"].as_str().unwrap()).unwrap();
    let stored: Value = serde_json::from_str(&stored.json).unwrap();
    assert_eq!(stored, done.plan_metadata);
}

#[test]
fn the_same_plan_again_is_the_same_plan_and_resets_no_clock() {
    let service = Service::empty();
    let first = service.app.deliver(request(Some(schedule()))).unwrap();
    service
        .app
        .acknowledge(acknowledge(
            LEDGER,
            "slack",
            Some("payments-oncall"),
            AckState::Acknowledged,
        ))
        .unwrap();
    let before = ledger(&service, Cycles::All);
    service.clock.forward(25);
    let again = service.app.deliver(request(Some(schedule()))).unwrap();
    assert!(again.resent && again.success);
    assert_eq!(again.plan, first.plan);
    assert_eq!(again.plan_metadata, first.plan_metadata);
    assert_eq!(position(&service.app), 2);
    service.clock.set(noon());
    assert_eq!(ledger(&service, Cycles::All), before);
}

#[test]
fn a_changed_plan_is_a_new_cycle_that_earlier_answers_do_not_cover() {
    let service = Service::empty();
    service.app.deliver(request(Some(schedule()))).unwrap();
    service
        .app
        .acknowledge(acknowledge(LEDGER, "slack", None, AckState::Resolved))
        .unwrap();
    assert_eq!(
        states(&rows_of(&service.app, LEDGER, "slack")),
        [
            ("identity-team", "not_required"),
            ("payments-oncall", "resolved"),
            ("platform-operations", "resolved")
        ]
    );
    for minutes in [0, 1] {
        // At the same microsecond, too, the later plan is the newer one.
        service.clock.forward(minutes);
        let mut changed = request(Some(schedule()));
        changed.routing_policy = Some(json!({ "owner_routes": [
            {"owners": ["payments-oncall"], "acknowledgement_minutes": 5 + minutes}
        ] }));
        let done = service.app.deliver(changed).unwrap();
        assert!(!done.resent);
        let current = rows_of(&service.app, LEDGER, "slack");
        assert!(
            current
                .iter()
                .all(|row| row.plan_id.as_str() == done.plan["plan_id"].as_str().unwrap())
        );
        assert!(
            current
                .iter()
                .all(|row| ["outstanding", "not_required"].contains(&row.acknowledgement_state))
        );
        service
            .app
            .acknowledge(acknowledge(LEDGER, "slack", None, AckState::Resolved))
            .unwrap();
    }
    let all = ledger(&service, Cycles::All);
    let cycles: std::collections::BTreeSet<&str> = all.iter().map(|row| row.plan_id.as_str()).collect();
    assert_eq!(cycles.len(), 3, "earlier cycles stay");
    assert!(all.iter().filter(|row| row.current).count() < all.len() / 2);
}

#[test]
fn going_back_to_an_earlier_plan_is_a_new_cycle() {
    let service = Service::empty();
    let mut other = request(Some(schedule()));
    other.routing_policy = Some(json!({ "owner_calendars": {} }));
    let first = service.app.deliver(request(Some(schedule()))).unwrap();
    service.clock.forward(1);
    assert!(!service.app.deliver(other).unwrap().resent);
    service.clock.forward(1);
    let third = service.app.deliver(request(Some(schedule()))).unwrap();
    assert!(!third.resent);
    assert_ne!(third.plan["plan_id"], first.plan["plan_id"]);
    assert_eq!(position(&service.app), 3);
}

#[test]
fn an_imported_plan_that_says_the_same_is_not_made_again() {
    let service = Service::empty();
    let first = service.app.deliver(request(Some(schedule()))).unwrap();
    let elsewhere = Service::empty();
    elsewhere.app.import_record(&first.plan_metadata).unwrap();
    elsewhere.clock.forward(30);
    let again = elsewhere.app.deliver(request(Some(schedule()))).unwrap();
    assert!(again.resent);
    assert_eq!(again.plan, first.plan);
}

#[test]
fn what_cannot_be_planned_is_refused_and_nothing_is_stored() {
    let service = Service::empty();
    let refused = service.app.deliver(request(None));
    assert!(matches!(refused, Err(AppError::NoSchedule)), "{refused:?}");
    let mut unknown = request(None);
    unknown.schedule_id = Some(ScheduleId::parse("no-such-schedule").unwrap());
    let refused = service.app.deliver(unknown);
    assert!(
        matches!(refused, Err(AppError::Unknown { what: "configured schedule", ref id }) if id == "no-such-schedule"),
        "{refused:?}"
    );
    let mut fax = request(Some(schedule()));
    fax.requested = RequestedProviders::parse("fax").unwrap();
    let refused = service.app.deliver(fax);
    assert!(
        matches!(
            refused,
            Err(AppError::Schedule(ScheduleError::UnknownProvider { .. }))
        ),
        "{refused:?}"
    );
    let mut misspelt = request(Some(schedule()));
    misspelt.routing_policy = Some(json!({"owner_rutes": {}}));
    let refused = service.app.deliver(misspelt);
    assert!(
        matches!(refused, Err(AppError::Schedule(ScheduleError::UnknownKey { .. }))),
        "{refused:?}"
    );
    let mut nameless = schedule();
    nameless["schedule_id"] = json!(" ");
    let refused = service.app.deliver(request(Some(nameless)));
    assert!(
        matches!(refused, Err(AppError::Schedule(ScheduleError::MissingScheduleId))),
        "{refused:?}"
    );
    assert_eq!(position(&service.app), 0);
}

#[test]
fn a_healthy_schedule_notifies_nobody_unless_it_is_forced() {
    let mut healthy = schedule();
    healthy["next_due_at"] = json!("2026-09-01T00:00:00Z");
    for (force, delivered) in [(false, 0), (true, 8)] {
        let service = Service::empty();
        let mut request = request(Some(healthy.clone()));
        request.force = force;
        service.app.deliver(request).unwrap();
        assert_eq!(service.app.route_counts().unwrap().route_count, delivered);
        assert_eq!(ledger(&service, Cycles::Current).len(), 11);
    }
}

fn configured(files: Vec<std::path::PathBuf>) -> Service {
    let settings = Settings {
        schedules: ScheduleSettings {
            files,
            history: Some(fixture("drill-history.json")),
            ..ScheduleSettings::default()
        },
        ..Settings::default()
    };
    Service::over(Arc::new(SqliteStore::in_memory().unwrap()), settings)
}

#[test]
fn a_configured_schedule_is_found_by_its_id_or_by_being_the_only_one() {
    let (ledger, search) = (
        fixture("schedules/payments-ledger-monthly.json"),
        fixture("schedules/search-index-weekly.json"),
    );
    let only = configured(vec![ledger.clone()]);
    assert_eq!(only.app.deliver(request(None)).unwrap().event_id, LEDGER);
    let several = configured(vec![ledger, search]);
    let refused = several.app.deliver(request(None));
    assert!(
        matches!(refused, Err(AppError::WhichSchedule(ref ids)) if ids == "payments-ledger-monthly, search-index-weekly"),
        "{refused:?}"
    );
    let mut named = request(None);
    named.schedule_id = Some(ScheduleId::parse("search-index-weekly").unwrap());
    assert_eq!(
        several.app.deliver(named).unwrap().event_id,
        "search-index-weekly"
    );
    let report = several.app.schedule_report(None).unwrap();
    assert_eq!(
        report.configured_schedule_ids,
        ["payments-ledger-monthly", "search-index-weekly"]
    );
    assert_eq!(report.report.schedule.schedule_id.as_str(), LEDGER);
    assert!(
        report
            .report
            .rollback_drill_schedule_path
            .as_str()
            .ends_with("payments-ledger-monthly.json")
    );
    assert!(
        !report.report.rollback_drill_schedule_path.as_str().contains('/'),
        "no folder is told"
    );
    let unknown = several
        .app
        .schedule_report(Some(&ScheduleId::parse("none").unwrap()));
    assert!(matches!(unknown, Err(AppError::Unknown { .. })), "{unknown:?}");
}

#[test]
fn a_schedule_file_that_cannot_be_read_is_named_without_its_folder() {
    let mut file = tempfile::NamedTempFile::with_suffix("-broken.json").unwrap();
    file.write_all(b"{\"schedule_id\": ").unwrap();
    let service = configured(vec![file.path().to_owned()]);
    let refused = service.app.deliver(request(None));
    let Err(AppError::ScheduleFile(name)) = &refused else {
        panic!("{refused:?}");
    };
    assert!(name.ends_with("-broken.json") && !name.contains('/'), "{name}");
    let missing = configured(vec!["/no/such/folder/schedule.json".into()]);
    let refused = missing.app.deliver(request(None));
    assert!(
        matches!(refused, Err(AppError::ScheduleFile(ref name)) if name == "schedule.json"),
        "{refused:?}"
    );
}

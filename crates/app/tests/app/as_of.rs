//! The state as it was is what was answered then.

use cavra_app::AppError;
use cavra_app::acknowledge::Undo;
use cavra_app::as_of::AsOf;
use cavra_app::bulk::BulkSelection;
use cavra_app::views::{HistoryFilter, Paging, RoutePage, RouteSort, SummaryBy};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::BulkMode;
use cavra_domain::route::{Cycles, FilterTerms};
use cavra_domain::time::Timestamp;
use cavra_evidence::verify::{Trust, Verdict, verify};
use serde_json::{Value, json};

use super::support::{
    Service, acknowledge, ana, bulk, everything, filter, noon, package, package_text, position,
    quickstart_records, take, text,
};

/// What was answered at one moment.
struct Answered {
    position: u64,
    at: Timestamp,
    routes: Value,
    dashboard: Value,
    summary: Value,
    trend: Value,
    history: Value,
    package: Value,
}

fn page(service: &Service, as_of: Option<AsOf>) -> Result<RoutePage, AppError> {
    let paging = Paging {
        limit: 500,
        ..Paging::default()
    };
    service
        .app
        .routes_as_of(&everything(), Cycles::All, RouteSort::Newest, &paging, as_of)
}

fn summary(service: &Service, as_of: Option<AsOf>) -> Value {
    let by = SummaryBy::Owner;
    json!(
        service
            .app
            .route_summary(&everything(), Cycles::Current, by, 50, as_of)
            .unwrap()
    )
}

fn trend(service: &Service, as_of: Option<AsOf>) -> Value {
    json!(service.app.route_trend(&everything(), 48, 25, as_of).unwrap())
}

fn history(service: &Service, as_of: Option<AsOf>) -> Value {
    let paging = Paging {
        limit: 40,
        ..Paging::default()
    };
    json!(
        service
            .app
            .history_as_of(&HistoryFilter::default(), &paging, as_of)
            .unwrap()
    )
}

fn answered(service: &Service) -> Answered {
    let now = service.app.now();
    Answered {
        position: position(&service.app),
        at: now,
        routes: json!(page(service, None).unwrap()),
        dashboard: json!(service.app.dashboard().unwrap()),
        summary: summary(service, None),
        trend: trend(service, None),
        history: history(service, None),
        package: package(&service.app, everything(), Cycles::Current).1,
    }
}

/// What of a package depends on the state and its time, and not on when and by what it was made.
fn state(package: &Value) -> Value {
    let mut state = package.clone();
    for member in ["audit_id", "generated_at", "as_of"] {
        state.as_object_mut().unwrap().shift_remove(member);
    }
    state
}

#[test]
fn what_was_answered_then_is_answered_again() {
    let service = Service::empty();
    let mut moments = Vec::new();
    let records = quickstart_records();
    for part in records.chunks(60) {
        take(&service.app, &json!({ "items": part }).to_string()).unwrap();
        moments.push(answered(&service));
        service.clock.forward(11);
    }
    let mut newest = None;
    for (schedule, said) in [
        ("fraud-scoring-monthly", AckState::Acknowledged),
        ("fraud-scoring-monthly", AckState::Resolved),
    ] {
        let taken = service
            .app
            .acknowledge(acknowledge(schedule, "email", None, said))
            .unwrap();
        moments.push(answered(&service));
        service.clock.forward(11);
        newest = Some(taken.acknowledgement.acknowledgement_id);
    }
    service
        .app
        .undo(Undo {
            acknowledgement_id: newest.unwrap(),
            reason: text("the wrong change number"),
            actor: ana(),
        })
        .unwrap();
    moments.push(answered(&service));
    service.clock.forward(11);
    let selection = BulkSelection::Filter(filter(FilterTerms {
        state: "outstanding",
        ..FilterTerms::default()
    }));
    service
        .app
        .bulk(bulk(selection, AckState::Escalated, BulkMode::BestEffort))
        .unwrap();
    moments.push(answered(&service));
    service.clock.forward(600);
    for moment in &moments {
        let by_position = AsOf::Position(moment.position);
        // The moment's own package was recorded at the same time, right behind what it shows.
        for as_of in [by_position, AsOf::Time(moment.at)] {
            let seen = json!(page(&service, Some(as_of)).unwrap());
            assert_eq!(seen, moment.routes, "{as_of:?}");
        }
        let dashboard = json!(service.app.dashboard_as_of(Some(by_position)).unwrap());
        assert_eq!(dashboard, moment.dashboard);
        assert_eq!(summary(&service, Some(by_position)), moment.summary);
        assert_eq!(trend(&service, Some(by_position)), moment.trend);
        assert_eq!(history(&service, Some(by_position)), moment.history);
        let stored = service
            .app
            .export_package_as_of(everything(), Cycles::Current, &ana(), Some(by_position))
            .unwrap();
        let text = package_text(&service.app, &stored);
        let package: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(state(&package), state(&moment.package));
        assert_eq!(package["as_of"]["log_position"], json!(moment.position));
        assert_ne!(package["audit_id"], moment.package["audit_id"]);
        assert_eq!(
            package["generated_at"],
            json!(service.app.now()),
            "it was made now"
        );
        let signed = service
            .app
            .signed_package(&stored, None)
            .unwrap()
            .into_text()
            .unwrap();
        let found = verify(signed.as_bytes(), Trust::default());
        assert_eq!((found.verdict, found.failure), (Verdict::ConsistentOnly, None));
    }
}

#[test]
fn what_was_answered_between_two_records_is_answered_again_for_its_time() {
    let service = Service::empty();
    let mut moments = Vec::new();
    for part in quickstart_records().chunks(60) {
        take(&service.app, &json!({ "items": part }).to_string()).unwrap();
        service.clock.forward(3);
        let routes = json!(page(&service, None).unwrap());
        let dashboard = json!(service.app.dashboard().unwrap());
        let at = service.app.now();
        service.clock.forward(1);
        let made = package(&service.app, everything(), Cycles::All).1;
        moments.push((at, routes, dashboard, service.app.now(), made));
        service.clock.forward(700);
    }
    for (at, routes, dashboard, made_at, made) in moments {
        let as_of = Some(AsOf::Time(at));
        assert_eq!(json!(page(&service, as_of).unwrap()), routes);
        assert_eq!(json!(service.app.dashboard_as_of(as_of).unwrap()), dashboard);
        let again = service
            .app
            .export_package_as_of(everything(), Cycles::All, &ana(), Some(AsOf::Time(made_at)))
            .unwrap();
        let again: Value = serde_json::from_slice(&package_text(&service.app, &again)).unwrap();
        assert_eq!(state(&again), state(&made));
    }
}

#[test]
fn what_has_not_been_yet_is_refused() {
    let service = Service::quickstart();
    let ahead = page(&service, Some(AsOf::Time(noon().plus_minutes(1)))).unwrap_err();
    assert!(matches!(ahead, AppError::Ahead(_)));
    for position in [0, 185] {
        let refused = page(&service, Some(AsOf::Position(position))).unwrap_err();
        assert!(matches!(refused, AppError::NoSuchSize { .. }), "{position}");
    }
    // Before the first record there was nothing.
    let before = AsOf::parse("2020-01-01T00:00:00Z").unwrap();
    assert_eq!(page(&service, Some(before)).unwrap().total, 0);
}

#[test]
fn a_moment_is_a_position_or_a_time() {
    assert_eq!(AsOf::parse(" 12 "), Some(AsOf::Position(12)));
    assert_eq!(AsOf::parse("2026-06-01T12:00:00Z"), Some(AsOf::Time(noon())));
    for text in ["yesterday", "-1", "1.5", "2026-06-01", "99999999999999999999"] {
        assert_eq!(AsOf::parse(text), None, "{text}");
    }
}

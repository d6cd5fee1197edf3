//! History, dashboard, escalation plans, trends, and pages.

use std::collections::BTreeMap;

use cavra_app::AppError;
use cavra_app::views::{HistoryFilter, Paging, RouteSort};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::escalation::EscalationPolicy;
use cavra_domain::evidence::{EvidenceKind, HistoryTerm};
use cavra_domain::route::{Cycles, FilterTerms, Level};
use serde_json::Value;

use super::support::{
    Service, acknowledge, ana, deliver, everything, filter, noon, position, quickstart_records, rows, take,
    text,
};

fn page(limit: u64, offset: u64, cursor: Option<String>) -> Paging {
    Paging {
        limit,
        offset,
        cursor,
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item["session_id"].as_str().unwrap())
        .collect()
}

fn escalation(service: &Service) -> String {
    let done = service
        .app
        .escalation_plan(EscalationPolicy::default(), ana())
        .unwrap();
    done.plan.plan_id.to_string()
}

#[test]
fn the_newest_escalation_plan_comes_first_with_the_routes_as_they_are_now() {
    let service = Service::quickstart();
    let older = escalation(&service);
    service.clock.forward(1);
    let newest = escalation(&service);
    service.clock.forward(1);
    service
        .app
        .acknowledge(acknowledge(
            "payments-ledger-monthly",
            "slack",
            None,
            AckState::Resolved,
        ))
        .unwrap();
    service.clock.forward(1);
    let history = service
        .app
        .history(&HistoryFilter::default(), &page(500, 0, None))
        .unwrap();
    assert_eq!(history.total, history.items.len() as u64);
    let first = &history.items[0];
    assert_eq!(
        first["session_id"],
        newest.as_str(),
        "although the acknowledgement is newer"
    );
    let plan = &first["escalation_plan"];
    let counts = service.app.route_counts().unwrap();
    assert_eq!(plan["route_count"], 127);
    assert_eq!(plan["outstanding_count"], counts.outstanding);
    assert_eq!(plan["resolved_count"], 12 + 3);
    assert_eq!(plan["breached_count"], counts.breached);
    let routes = plan["routes"].as_array().unwrap();
    let answered = routes.iter().filter(|route| {
        route["schedule_id"] == "payments-ledger-monthly"
            && route["provider"] == "slack"
            && route["acknowledgement_state"] == "resolved"
    });
    assert_eq!(answered.count(), 3);
    // The record that was stored stays as it was.
    let stored = super::support::record(&service.app, &newest).unwrap();
    let stored: Value = serde_json::from_str(&stored.json).unwrap();
    assert_eq!(stored["escalation_plan"]["resolved_count"], 12);

    let old: Vec<&Value> = history
        .items
        .iter()
        .skip(1)
        .filter(|item| item["metadata_kind"] == EvidenceKind::EscalationPlan.as_str())
        .collect();
    assert_eq!(old.len(), 3, "one of ours and two that were imported");
    for item in old {
        assert_eq!(item["escalation_plan"]["superseded_by"], newest.as_str());
        assert_eq!(item["escalation_plan"]["routes"], Value::Array(Vec::new()));
        if item["session_id"] == older.as_str() {
            assert_eq!(item["escalation_plan"]["routes_omitted"], 127);
        }
    }
    let rest = &history.items[1..];
    assert!(rest.is_sorted_by_key(|item| std::cmp::Reverse(
        item["created_at"].as_str().map(super::support::at_published)
    )));
}

#[test]
fn pages_of_history_join_by_cursor_and_by_offset() {
    let service = Service::quickstart();
    escalation(&service);
    let whole = service
        .app
        .history(&HistoryFilter::default(), &page(500, 0, None))
        .unwrap();
    assert!(whole.next_cursor.is_none());
    for limit in [1, 2, 50, 400] {
        let (mut by_cursor, mut cursor) = (Vec::new(), None);
        loop {
            let part = service
                .app
                .history(&HistoryFilter::default(), &page(limit, 0, cursor))
                .unwrap();
            assert_eq!(part.total, whole.total);
            assert!(part.items.len() as u64 <= limit);
            by_cursor.extend(part.items);
            cursor = part.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(ids(&by_cursor), ids(&whole.items), "by cursor, {limit}");
        let mut by_offset = Vec::new();
        while (by_offset.len() as u64) < whole.total {
            let offset = by_offset.len() as u64;
            let part = service
                .app
                .history(&HistoryFilter::default(), &page(limit, offset, None))
                .unwrap();
            assert!(!part.items.is_empty());
            by_offset.extend(part.items);
        }
        assert_eq!(ids(&by_offset), ids(&whole.items), "by offset, {limit}");
    }
}

#[test]
fn pages_of_history_stay_in_place_while_records_and_escalation_plans_arrive() {
    let service = Service::quickstart();
    escalation(&service);
    let whole = service
        .app
        .history(&HistoryFilter::default(), &page(500, 0, None))
        .unwrap();
    let (mut seen, mut cursor): (Vec<Value>, _) = (Vec::new(), None);
    loop {
        let part = service
            .app
            .history(&HistoryFilter::default(), &page(20, 0, cursor))
            .unwrap();
        seen.extend(part.items);
        cursor = part.next_cursor;
        if cursor.is_none() {
            break;
        }
        service.clock.forward(1);
        escalation(&service);
    }
    assert_eq!(ids(&seen), ids(&whole.items));
}

#[test]
fn history_is_filtered_by_every_term() {
    let service = Service::quickstart();
    let found = |terms: Vec<HistoryTerm>| {
        let page = service
            .app
            .history(&HistoryFilter { terms }, &page(500, 0, None))
            .unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items
    };
    let acks = found(vec![
        HistoryTerm::kind(EvidenceKind::NotificationAck.as_str()),
        HistoryTerm::schedule("payments-ledger-monthly"),
    ]);
    assert_eq!(acks.len(), 11);
    let resolved = found(vec![
        HistoryTerm::status("resolved"),
        HistoryTerm::schedule("payments-ledger-monthly"),
    ]);
    assert_eq!(resolved.len(), 2);
    // A plan is found by the providers of its routes, an escalation plan by its kind only.
    let escalations = found(vec![HistoryTerm::kind(EvidenceKind::EscalationPlan.as_str())]);
    assert_eq!(escalations.len(), 2);
    assert_eq!(
        found(vec![HistoryTerm::schedule("no-such-schedule")]),
        Vec::<Value>::new()
    );
}

#[test]
fn a_cursor_that_was_not_given_out_is_refused() {
    let service = Service::quickstart();
    for cursor in [
        "",
        "x",
        "r1.",
        "h1.1.2",
        "h1.1.2.3.4",
        "h1.a.b.c",
        "r1.99999999999999999999.x",
        "h1.1.-2.3",
    ] {
        let cursor = Some(cursor.to_owned());
        let routes = service.app.routes(
            &everything(),
            Cycles::Current,
            RouteSort::Newest,
            &page(5, 0, cursor.clone()),
        );
        assert!(
            matches!(routes, Err(AppError::BadCursor)),
            "{cursor:?}: {routes:?}"
        );
        let history = service
            .app
            .history(&HistoryFilter::default(), &page(5, 0, cursor.clone()));
        assert!(
            matches!(history, Err(AppError::BadCursor)),
            "{cursor:?}: {history:?}"
        );
    }
}

#[test]
fn pages_of_routes_join_by_cursor_and_by_offset() {
    let service = Service::quickstart();
    for cycles in [Cycles::Current, Cycles::All] {
        let whole = rows(&service.app, &everything(), cycles);
        assert!(whole.is_sorted_by(|a, b| (b.created_at, &b.route_id) < (a.created_at, &a.route_id)));
        let mut by_offset = Vec::new();
        while by_offset.len() < whole.len() {
            let paging = page(7, by_offset.len() as u64, None);
            by_offset.extend(
                service
                    .app
                    .routes(&everything(), cycles, RouteSort::Newest, &paging)
                    .unwrap()
                    .items,
            );
        }
        assert_eq!(by_offset, whole);
    }
}

#[test]
fn the_dashboard_counts_everything() {
    let service = Service::quickstart();
    let dashboard = service.app.dashboard().unwrap();
    let counts = service.app.route_counts().unwrap();
    assert_eq!(dashboard.generated_at, noon());
    assert_eq!(dashboard.alert_level, Level::Critical);
    assert_eq!(dashboard.route_count, 127);
    assert_eq!(
        [
            dashboard.outstanding_acknowledgement_count,
            dashboard.acknowledged_route_count,
            dashboard.escalated_route_count,
            dashboard.dismissed_route_count,
            dashboard.resolved_route_count,
        ],
        [35, 68, 9, 3, 12]
    );
    assert_eq!(dashboard.breached_route_count, 21);
    assert_eq!(dashboard.suppressed_route_count, counts.suppressed);
    let evidence = &dashboard.evidence;
    assert_eq!((evidence.plan_count, evidence.acknowledgement_count), (26, 95));
    assert_eq!(
        (
            evidence.escalation_plan_count,
            evidence.acknowledgement_audit_package_count
        ),
        (2, 3)
    );
    assert_eq!(evidence.bulk_acknowledgement_count, 0);

    let listed = &dashboard.outstanding_acknowledgements;
    assert_eq!(
        (
            listed.len() as u64,
            dashboard.outstanding_acknowledgements_omitted
        ),
        (20, 15)
    );
    assert!(listed.is_sorted_by_key(|route| route.deadline_at));
    assert_eq!(dashboard.latest.len(), 10);
    let mut times: Vec<_> = quickstart_records()
        .iter()
        .filter(|record| {
            record["metadata_kind"]
                .as_str()
                .unwrap()
                .starts_with("go-backend-rollback-drill-")
        })
        .map(|record| super::support::at_published(record["created_at"].as_str().unwrap()))
        .collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let newest = super::support::at_published(dashboard.latest[0]["created_at"].as_str().unwrap());
    assert!(newest >= times[0]);

    // The same evidence again counts once.
    take(&service.app, &super::support::quickstart_text()).unwrap();
    assert_eq!(service.app.dashboard().unwrap(), dashboard);
    escalation(&service);
    assert_eq!(service.app.dashboard().unwrap().evidence.escalation_plan_count, 3);
}

#[test]
fn an_empty_store_is_healthy() {
    let service = Service::empty();
    let dashboard = service.app.dashboard().unwrap();
    assert_eq!(
        (dashboard.alert_level, dashboard.route_count),
        (Level::Healthy, 0)
    );
    assert!(dashboard.latest.is_empty() && dashboard.outstanding_acknowledgements.is_empty());
    assert!(rows(&service.app, &everything(), Cycles::All).is_empty());
    let history = service
        .app
        .history(&HistoryFilter::default(), &page(50, 0, None))
        .unwrap();
    assert_eq!(
        (history.total, history.items.len(), history.next_cursor),
        (0, 0, None)
    );
    service.app.ready().unwrap();
}

#[test]
fn an_escalation_plan_holds_every_current_route_that_waits_or_waited() {
    let service = Service::quickstart();
    let done = service
        .app
        .escalation_plan(EscalationPolicy::default(), ana())
        .unwrap();
    let waiting = rows(&service.app, &deliver(), Cycles::Current);
    assert_eq!((done.plan.route_count, done.plan.breached_count), (127, 21));
    for (row, route) in waiting.iter().zip(&done.plan.routes) {
        assert_eq!(
            (&row.plan_id, &row.provider, &row.owner),
            (&route.plan_id, &route.provider, &route.owner)
        );
        assert_eq!(row.acknowledgement_state, route.acknowledgement_state.as_str());
        assert_eq!(row.breached, route.breached);
    }
    assert_eq!(position(&service.app), 185);
    // Minutes of the policy take the place of the routes' own, for this plan only.
    let strict = EscalationPolicy::parse(Some(1), None).unwrap();
    let done = service.app.escalation_plan(strict, ana()).unwrap();
    assert_eq!(done.plan.breached_count, 35 + 9);
    assert_eq!(service.app.route_counts().unwrap().breached, 21);
}

#[test]
fn a_suppression_trend_counts_and_stores_nothing() {
    let service = Service::quickstart();
    let suppressed = rows(
        &service.app,
        &filter(FilterTerms {
            action: "suppress",
            ..FilterTerms::default()
        }),
        Cycles::All,
    );
    let trend = service.app.suppression_trend(&everything(), text("ana")).unwrap();
    assert_eq!(trend.trend.suppression_event_count, suppressed.len() as u64);
    let mut categories: BTreeMap<String, u64> = BTreeMap::new();
    for row in &suppressed {
        *categories.entry(row.category.to_string()).or_default() += 1;
    }
    assert_eq!(trend.trend.category_counts, categories);
    assert_eq!(trend.trend.latest_events, suppressed[..suppressed.len().min(20)]);
    assert_eq!(trend.metadata, None);
    assert_eq!(position(&service.app), 184);
}

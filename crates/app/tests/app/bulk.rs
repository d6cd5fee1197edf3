//! One answer for many routes.

use std::sync::Arc;

use cavra_app::bulk::BulkSelection;
use cavra_app::views::RouteRow;
use cavra_app::{AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::{BulkMode, ListedRoute, OutcomeReason};
use cavra_domain::id::{PlanId, ScheduleId};
use cavra_domain::route::{Cycles, FilterTerms, Provider, RouteFilter};
use cavra_storage::sqlite::SqliteStore;
use serde_json::Value;

use super::support::{
    Counts, Done, Service, Told, bulk, bulk_done, deliver, everything, filter, listed, plan, position,
    quickstart_text, record, rows, rows_of, states, take, text,
};

fn in_state<'a>(rows: &'a [RouteRow], state: &str) -> Vec<&'a RouteRow> {
    rows.iter()
        .filter(|row| row.acknowledgement_state == state)
        .collect()
}

/// Four outstanding routes and a resolved one.
fn mixed(service: &Service) -> Vec<ListedRoute> {
    let rows = rows(&service.app, &deliver(), Cycles::Current);
    let mut routes: Vec<ListedRoute> = in_state(&rows, "outstanding")
        .into_iter()
        .take(4)
        .map(listed)
        .collect();
    routes.insert(2, listed(in_state(&rows, "resolved")[0]));
    routes
}

fn without_ids(outcomes: &[Told]) -> Vec<Told> {
    outcomes
        .iter()
        .cloned()
        .map(|outcome| Told {
            acknowledgement_id: String::new(),
            ..outcome
        })
        .collect()
}

#[test]
fn a_strict_bulk_with_one_refused_route_writes_nothing_and_names_it() {
    let service = Service::quickstart();
    let before = rows(&service.app, &everything(), Cycles::All);
    let routes = mixed(&service);
    for dry_run in [true, false] {
        let mut command = bulk(
            BulkSelection::Listed(routes.clone()),
            AckState::Acknowledged,
            BulkMode::Strict,
        );
        command.dry_run = dry_run;
        let refused = service.app.bulk(command);
        let Err(AppError::BulkBlocked { counts, blocked }) = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(
            (counts.matched_count, counts.changed_count, counts.refused_count),
            (5, 4, 1)
        );
        assert_eq!(blocked.len(), 1);
        assert_eq!(blocked[0].schedule_id, routes[2].schedule_id);
        assert_eq!(Some(&blocked[0].owner), routes[2].owner.as_ref());
        assert_eq!(blocked[0].reason, OutcomeReason::ResolvedIsFinal);
    }
    assert_eq!(position(&service.app), 184);
    assert_eq!(rows(&service.app, &everything(), Cycles::All), before);
}

#[test]
fn best_effort_changes_the_rest() {
    let service = Service::quickstart();
    let routes = mixed(&service);
    let command = bulk(
        BulkSelection::Listed(routes),
        AckState::Acknowledged,
        BulkMode::BestEffort,
    );
    let done = bulk_done(&service.app, command);
    let outcomes: Vec<&str> = done
        .outcomes
        .iter()
        .map(|outcome| outcome.outcome.as_str())
        .collect();
    assert_eq!(
        outcomes,
        ["changed", "changed", "refused", "changed", "changed"],
        "in the order of the request"
    );
    assert_eq!(position(&service.app), 184 + 4 + 1);
    assert_eq!(service.app.route_counts().unwrap().outstanding, 35 - 4);
    let recorded = done.bulk_metadata.unwrap();
    assert_eq!(recorded["bulk_acknowledgement"]["refused_count"], 1);
    let refused: Vec<&Told> = done
        .outcomes
        .iter()
        .filter(|told| told.outcome == "refused")
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].reason, "resolved_is_final");
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_the_real_one_does() {
    let service = Service::quickstart();
    let selection = BulkSelection::Filter(deliver());
    let mut command = bulk(selection, AckState::Acknowledged, BulkMode::BestEffort);
    command.dry_run = true;
    let before = rows(&service.app, &everything(), Cycles::All);
    let preview = bulk_done(&service.app, command.clone());
    assert_eq!(position(&service.app), 184);
    assert_eq!(rows(&service.app, &everything(), Cycles::All), before);
    assert!(
        preview
            .outcomes
            .iter()
            .all(|outcome| outcome.acknowledgement_id.is_empty())
    );
    assert!(preview.metadata.is_empty() && preview.bulk_metadata.is_none());
    command.dry_run = false;
    let done = bulk_done(&service.app, command);
    let counts = done.counts;
    assert!(
        counts.changed_count > 30 && counts.already_count == 68 && counts.refused_count == 12,
        "{counts:?}"
    );
    assert_eq!(preview.counts, done.counts);
    assert_eq!(preview.outcomes, without_ids(&done.outcomes));
    assert_eq!(preview.acknowledgement_count, done.acknowledgement_count);
}

#[test]
fn the_same_bulk_again_finds_everything_done_and_writes_nothing() {
    let service = Service::quickstart();
    let selection = BulkSelection::Filter(filter(FilterTerms {
        state: "outstanding",
        ..FilterTerms::default()
    }));
    let routes = rows(
        &service.app,
        &filter(FilterTerms {
            state: "outstanding",
            ..FilterTerms::default()
        }),
        Cycles::Current,
    );
    let done = bulk_done(
        &service.app,
        bulk(selection.clone(), AckState::Dismissed, BulkMode::Strict),
    );
    assert_eq!((done.counts.matched_count, done.counts.changed_count), (35, 35));
    let after = position(&service.app);
    assert_eq!(after, 184 + 35 + 1);
    // The same routes, by name.
    let again = BulkSelection::Listed(routes.iter().map(listed).collect());
    let repeated = bulk_done(&service.app, bulk(again, AckState::Dismissed, BulkMode::Strict));
    assert_eq!(
        (repeated.counts.matched_count, repeated.counts.already_count),
        (35, 35)
    );
    assert!(repeated.bulk_metadata.is_none() && repeated.acknowledgements.is_empty());
    // The same filter: nothing is outstanding any more.
    let repeated = bulk_done(
        &service.app,
        bulk(selection, AckState::Dismissed, BulkMode::Strict),
    );
    assert_eq!(repeated.counts, Counts::default());
    assert_eq!(position(&service.app), after);
}

fn assert_one_bulk_record(service: &Service, done: &Done, before: u64) {
    let changed: Vec<&Told> = done
        .outcomes
        .iter()
        .filter(|outcome| outcome.outcome == "changed")
        .collect();
    assert_eq!(done.acknowledgements.len(), changed.len());
    assert_eq!(done.metadata.len(), changed.len());
    for ((document, metadata), outcome) in done.acknowledgements.iter().zip(&done.metadata).zip(changed) {
        assert_eq!(document["acknowledgement_id"], outcome.acknowledgement_id);
        assert_eq!(document["bulk_id"], done.bulk_id);
        assert_eq!(document["owner"], outcome.owner);
        let stored = record(&service.app, &outcome.acknowledgement_id).unwrap();
        let stored: Value = serde_json::from_str(&stored.json).unwrap();
        assert_eq!(&stored, metadata);
        assert_eq!(&stored["acknowledgement"], document);
    }
    let stored = record(&service.app, &done.bulk_id).unwrap();
    assert_eq!(
        stored.kind.as_str(),
        "go-backend-rollback-drill-bulk-acknowledgement"
    );
    let stored: Value = serde_json::from_str(&stored.json).unwrap();
    assert_eq!(Some(&stored), done.bulk_metadata.as_ref());
    assert_eq!(position(&service.app), before + done.counts.changed_count + 1);
}

#[test]
fn one_bulk_record_has_the_id_that_stands_in_each_acknowledgement() {
    let service = Service::quickstart();
    let selection = BulkSelection::Filter(deliver());
    let done = bulk_done(
        &service.app,
        bulk(selection, AckState::Resolved, BulkMode::Strict),
    );
    assert_eq!(done.counts.matched_count, 127);
    assert_eq!(done.counts.changed_count + done.counts.already_count, 127);
    assert_one_bulk_record(&service, &done, 184);
    let recorded = done.bulk_metadata.unwrap();
    assert_eq!(recorded["bulk_acknowledgement"]["filter"]["action"], "deliver");
    assert_eq!(recorded["bulk_acknowledgement"]["listed_count"], Value::Null);
    assert_eq!(service.app.route_counts().unwrap().resolved, 127);
}

/// A schedule of 1,200 routes: more than a bulk reads at a time.
fn large(service: &Service) -> RouteFilter {
    let owners: Vec<String> = (0..300).map(|number| format!("owner-{number}")).collect();
    plan(
        &service.app,
        "large",
        &owners,
        &["slack", "teams", "jira", "email"],
        60,
    );
    filter(FilterTerms {
        schedule_id: "large",
        state: "outstanding",
        ..FilterTerms::default()
    })
}

#[test]
fn a_filter_that_selects_more_than_a_bulk_may_take_is_refused_and_nothing_is_written() {
    for (large_schedule, found) in [(false, 35), (true, 1_200)] {
        for (at_most, fits) in [(found - 1, false), (found, true)] {
            let settings = Settings {
                filtered_routes: at_most,
                ..Settings::default()
            };
            let service = Service::over(Arc::new(SqliteStore::in_memory().unwrap()), settings);
            let selected = if large_schedule {
                large(&service)
            } else {
                take(&service.app, &quickstart_text()).unwrap();
                filter(FilterTerms {
                    state: "outstanding",
                    ..FilterTerms::default()
                })
            };
            let before = position(&service.app);
            let mut command = bulk(
                BulkSelection::Filter(selected),
                AckState::Acknowledged,
                BulkMode::Strict,
            );
            for dry_run in [true, false] {
                command.dry_run = dry_run;
                let done = service.app.bulk(command.clone());
                match done {
                    Ok(_) => assert!(fits),
                    Err(AppError::TooManyRoutes {
                        found: named,
                        at_most,
                    }) => {
                        assert!(!fits);
                        assert_eq!((named, at_most), (found, found - 1));
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            let written = if fits { found + 1 } else { 0 };
            assert_eq!(position(&service.app), before + written);
        }
    }
    assert_eq!(Settings::default().filtered_routes, 1_000_000);
}

#[test]
fn routes_that_are_listed_twice_are_answered_once() {
    let service = Service::quickstart();
    let (ledger, all) = (ScheduleId::parse("payments-ledger-monthly").unwrap(), None);
    let route = |provider: &str, owner: Option<&str>| ListedRoute {
        schedule_id: ledger.clone(),
        provider: Provider::parse(provider).unwrap(),
        owner: owner.map(text),
        plan_id: all.clone(),
        external_ref: None,
        notes: None,
    };
    let listed = vec![
        route("slack", Some("identity-team")),
        route(" SLACK ", Some("identity-team")),
        route("slack", None),
        route("pager_duty", None),
        route("pager-duty", None),
    ];
    let command = bulk(
        BulkSelection::Listed(listed),
        AckState::Resolved,
        BulkMode::BestEffort,
    );
    let done = bulk_done(&service.app, command);
    assert_eq!((done.counts.changed_count, done.counts.not_found_count), (3, 1));
    assert_eq!((done.counts.matched_count, done.repeated_count), (4, 2));
    assert_eq!(done.outcomes[3].reason, "unknown_route");
    assert_one_bulk_record(&service, &done, 184);
    assert!(
        rows_of(&service.app, ledger.as_str(), "slack")
            .iter()
            .all(|row| row.revision == 1)
    );
}

#[test]
fn listed_routes_that_contradict_each_other_stop_the_bulk() {
    let service = Service::quickstart();
    let rows = rows(&service.app, &deliver(), Cycles::Current);
    let mut routes = vec![listed(&rows[0]), listed(&rows[1]), listed(&rows[0])];
    routes[2].notes = Some(text("something else"));
    let refused = service.app.bulk(bulk(
        BulkSelection::Listed(routes),
        AckState::Resolved,
        BulkMode::BestEffort,
    ));
    assert!(matches!(refused, Err(AppError::Contradiction(ref two)) if (two.first, two.second) == (0, 2)));
    assert_eq!(position(&service.app), 184);
}

#[test]
fn a_listed_route_has_its_own_reference_and_notes_before_the_shared_ones() {
    let service = Service::quickstart();
    let rows = rows(&service.app, &deliver(), Cycles::Current);
    let outstanding = in_state(&rows, "outstanding");
    let mut routes = vec![listed(outstanding[0]), listed(outstanding[1])];
    routes[0].notes = Some(text("just this one"));
    let done = bulk_done(
        &service.app,
        bulk(
            BulkSelection::Listed(routes),
            AckState::Escalated,
            BulkMode::Strict,
        ),
    );
    let said: Vec<(&str, &str)> = done
        .acknowledgements
        .iter()
        .map(|document| {
            (
                document["notes"].as_str().unwrap(),
                document["external_ref"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(said, [("just this one", "CHG-2"), ("all of them", "CHG-2")]);
}

#[test]
fn what_cannot_be_found_or_answered_has_its_reason() {
    let service = Service::quickstart();
    let route = |schedule: &str, provider: &str, plan: Option<&str>| ListedRoute {
        schedule_id: ScheduleId::parse(schedule).unwrap(),
        provider: Provider::parse(provider).unwrap(),
        owner: None,
        plan_id: plan.map(|plan| PlanId::parse(plan).unwrap()),
        external_ref: None,
        notes: None,
    };
    let routes = vec![
        route("no-such-schedule", "slack", None),
        route("payments-ledger-monthly", "slack", Some("gordn-98361524ee2bb9f2")),
        route("payments-ledger-monthly", "fax", None),
        route("config-store-quarterly", "teams", None),
        route("payments-ledger-monthly", "slack", Some("gordn-71001ce508d6aad0")),
    ];
    let command = bulk(
        BulkSelection::Listed(routes),
        AckState::Resolved,
        BulkMode::BestEffort,
    );
    let done = bulk_done(&service.app, command);
    let mut reasons: Vec<&str> = done
        .outcomes
        .iter()
        .map(|outcome| outcome.reason.as_str())
        .collect();
    reasons.dedup();
    assert_eq!(
        reasons,
        [
            "unknown_schedule",
            "unknown_plan",
            "unknown_route",
            "suppressed",
            "superseded",
        ]
    );
    assert_eq!(position(&service.app), 184);
    assert_eq!(
        states(&rows_of(&service.app, "config-store-quarterly", "teams")),
        [("platform-operations", "not_required")]
    );
}

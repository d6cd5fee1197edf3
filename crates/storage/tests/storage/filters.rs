//! The filter in SQL means what the domain's matcher means.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use cavra_domain::audit_package::{LeftOut, Population};
use cavra_domain::route::{
    Cycles, FilterTerms, RouteAction, RouteCategory, RouteCounts, RouteFilter, StateName, TrackedRoute,
};
use cavra_domain::time::Timestamp;
use cavra_domain::trend::{StateCounts, Trend};
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{RouteCursor, RouteFacet, RouteKey, RouteOrder, RouteQuery, Store};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::support::{Ack, append, at, in_memory, noon, plan, quickstart, read, routes};

fn start() -> Timestamp {
    at("2026-06-01T08:00:00Z")
}

const KEYS: [RouteKey; 6] = [
    RouteKey::Created,
    RouteKey::Deadline,
    RouteKey::Owner,
    RouteKey::Provider,
    RouteKey::Schedule,
    RouteKey::Urgency,
];

/// What a list in this order rises by.
fn sort_key(key: RouteKey, tracked: &TrackedRoute) -> String {
    let route = &tracked.route;
    let deadline = format!("{:020}", route.deadline_at().micros());
    match key {
        RouteKey::Created => format!("{:020}.{}", route.created_at.micros(), route.route_id),
        RouteKey::Deadline => deadline,
        RouteKey::Owner => route.owner.as_str().to_ascii_lowercase(),
        RouteKey::Provider => route.provider.key().to_owned(),
        RouteKey::Schedule => route.schedule_id.to_string(),
        RouteKey::Urgency => {
            let settled = !tracked.state().is_some_and(StateName::is_open);
            format!("{}.{deadline}", u8::from(settled))
        }
    }
}

/// What a route is called in a group.
type Name = fn(&TrackedRoute) -> String;

const OWNERS: [&str; 5] = ["ana", "Ana-Lead", "ÉQUIPE paiements", "straße_100%", "bo"];
const PROVIDERS: [&str; 4] = ["slack", "Pager-Duty", "jira", "pager_duty"];

fn decisions() -> impl Strategy<Value = Vec<Value>> {
    let one = (
        select(PROVIDERS.to_vec()),
        select(OWNERS.to_vec()),
        option::of(select(OWNERS.to_vec())),
        any::<bool>(),
        0..5_usize,
        1..4_u32,
    )
        .prop_map(|(provider, owner, escalation_owner, deliver, why, minutes)| {
            let window = json!({"window_id": "w1", "reason": "move"});
            json!({
                "provider": provider,
                "owner": owner,
                "escalation_owner": escalation_owner,
                "action": if deliver { "deliver" } else { "suppress" },
                "acknowledgement_minutes": minutes,
                "maintenance_window": if why == 0 { window } else { Value::Null },
                "owner_availability": {"available": why != 1, "reason": "away"},
                "reason": if why == 2 { "the schedule is healthy" } else { "due" },
                "category": if why == 3 { "owner_calendar" } else { "" },
            })
        });
    vec(one, 0..7)
}

fn store() -> impl Strategy<Value = Vec<Value>> {
    let plans = vec((select(vec!["s1", "s2"]), 0..3_u32, decisions()), 1..5);
    let acks = vec(
        (
            select(vec!["s1", "s2"]),
            select(PROVIDERS.to_vec()),
            option::of(select(OWNERS.to_vec())),
            select(vec![
                "acknowledged",
                "dismissed",
                "escalated",
                "escalated",
                "resolved",
            ]),
            0..4_u32,
        ),
        0..8,
    );
    (plans, acks).prop_map(|(plans, acks)| {
        let mut records: Vec<Value> = plans
            .iter()
            .enumerate()
            .map(|(number, (schedule, minute, decisions))| {
                plan(
                    schedule,
                    &format!("plan-{number}"),
                    start().plus_minutes(*minute),
                    decisions,
                )
            })
            .collect();
        records.extend(
            acks.iter()
                .enumerate()
                .map(|(number, (schedule, provider, owner, said, minute))| {
                    Ack {
                        id: &format!("ack-{number}"),
                        schedule,
                        plan: None,
                        provider,
                        owner: *owner,
                        said,
                        at: start().plus_minutes(*minute),
                    }
                    .record()
                }),
        );
        records
    })
}

fn filter() -> impl Strategy<Value = RouteFilter> {
    let names = |all: Vec<&'static str>| prop_oneof![2 => Just(""), 3 => select(all)];
    (
        names(vec!["s1", "s2", "s3"]),
        names(vec![
            "ana", "ANA", "équipe", "ß", "%", "_", "a", "lead", "nobody", "o\u{e9}",
        ]),
        names(vec!["SLACK", "pager-duty", "email", "Jira"]),
        names(StateName::ALL.iter().map(|state| state.as_str()).collect()),
        names(RouteAction::ALL.iter().map(|action| action.as_str()).collect()),
        names(
            RouteCategory::ALL
                .iter()
                .map(|category| category.as_str())
                .collect(),
        ),
        option::weighted(0.4, any::<bool>()),
    )
        .prop_map(
            |(schedule_id, owner, provider, state, action, category, breached)| {
                RouteFilter::parse(&FilterTerms {
                    schedule_id,
                    owner,
                    provider,
                    state,
                    action,
                    category,
                    breached,
                })
                .unwrap()
            },
        )
}

fn ids(routes: &[TrackedRoute]) -> Vec<String> {
    routes
        .iter()
        .map(|tracked| tracked.route.route_id.to_string())
        .collect()
}

/// Holds every reading of the filter against the matcher.
fn agree(store: &SqliteStore, filter: &RouteFilter, cycles: Cycles, now: Timestamp) {
    let mut known = routes(store, &RouteFilter::default(), Cycles::All, now);
    known.retain(|tracked| cycles == Cycles::All || tracked.current);
    let matched: Vec<TrackedRoute> = known
        .iter()
        .filter(|tracked| filter.matches(tracked, now))
        .cloned()
        .collect();
    assert_eq!(
        ids(&routes(store, filter, cycles, now)),
        ids(&matched),
        "{filter:?}"
    );
    assert!(matched.is_sorted_by(|a, b| {
        (b.route.created_at, &b.route.route_id) < (a.route.created_at, &a.route.route_id)
    }));

    let mut left_out = LeftOut::default();
    for tracked in &known {
        if let Some(term) = filter.left_out_by(tracked, now) {
            left_out.add(term, 1);
        }
    }
    let expected = Population {
        known: known.len() as u64,
        matched: matched.len() as u64,
        left_out,
    };
    read(store, |tx| {
        assert_eq!(
            tx.count_routes(filter, cycles, now)?,
            RouteCounts::of(&matched, now),
            "{filter:?}"
        );
        assert_eq!(tx.population(filter, cycles, now)?, expected, "{filter:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(expected.matched + expected.left_out.total(), expected.known);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn the_filter_in_sql_is_the_matcher(
        records in store(),
        filters in vec(filter(), 1..6),
        minute in 0..8_u32,
        beside in -1..=1_i64,
    ) {
        let store = in_memory();
        append(&store, records, noon());
        // Every deadline falls on a whole minute: at it, and a microsecond beside it.
        let now = start().plus_minutes(minute).plus_micros(beside);
        for filter in &filters {
            for cycles in [Cycles::Current, Cycles::All] {
                agree(&store, filter, cycles, now);
            }
        }
    }

    #[test]
    fn pages_by_cursor_join_to_the_whole_list(records in store(), filter in filter(), size in 1..4_u64) {
        let store = in_memory();
        append(&store, records, noon());
        let whole = routes(&store, &filter, Cycles::All, noon());
        let mut joined: Vec<TrackedRoute> = Vec::new();
        loop {
            let after = joined.last().map(|last| RouteCursor {
                created_at: last.route.created_at,
                route_id: last.route.route_id.clone(),
                settled: !last.state().is_some_and(StateName::is_open),
            });
            let before = joined.len();
            let query = RouteQuery {
                after: after.as_ref(),
                limit: Some(size),
                ..RouteQuery::all(&filter, Cycles::All, noon())
            };
            read(&store, |tx| {
                tx.visit_routes(&query, &mut |tracked| {
                    joined.push(tracked);
                    Ok(ControlFlow::Continue(()))
                })
            })
            .unwrap();
            prop_assert!(joined.len() - before <= usize::try_from(size).unwrap());
            if joined.len() == before {
                break;
            }
        }
        prop_assert_eq!(ids(&joined), ids(&whole));
    }

    #[test]
    fn pages_by_cursor_join_in_every_order(records in store(), filter in filter(), size in 1..4_u64) {
        let store = in_memory();
        append(&store, records, noon());
        for key in KEYS {
            for descending in [false, true] {
                let order = RouteOrder { key, descending };
                let page = |after: Option<&RouteCursor>, limit| {
                    let mut found: Vec<TrackedRoute> = Vec::new();
                    let query = RouteQuery { after, order, limit, ..RouteQuery::all(&filter, Cycles::All, noon()) };
                    read(&store, |tx| tx.visit_routes(&query, &mut |tracked| {
                        found.push(tracked);
                        Ok(ControlFlow::Continue(()))
                    })).unwrap();
                    found
                };
                let whole = page(None, None);
                let mut sorted: Vec<String> = whole.iter().map(|tracked| sort_key(key, tracked)).collect();
                if descending {
                    sorted.reverse();
                }
                prop_assert!(sorted.is_sorted(), "{order:?}: {sorted:?}");
                prop_assert_eq!(
                    whole.len(),
                    routes(&store, &filter, Cycles::All, noon()).len()
                );
                let mut joined: Vec<TrackedRoute> = Vec::new();
                loop {
                    let after = joined.last().map(|last| RouteCursor {
                        created_at: last.route.created_at,
                        route_id: last.route.route_id.clone(),
                        settled: !last.state().is_some_and(StateName::is_open),
                    });
                    let next = page(after.as_ref(), Some(size));
                    if next.is_empty() {
                        break;
                    }
                    joined.extend(next);
                }
                prop_assert_eq!(ids(&joined), ids(&whole), "{:?}", order);
            }
        }
    }

    #[test]
    fn a_page_is_its_part_of_the_whole_list_in_every_order(
        records in store(),
        filter in filter(),
        offset in 0..8_u64,
        size in 1..6_u64,
        minute in 0..8_u32,
    ) {
        let store = in_memory();
        append(&store, records, noon());
        let now = start().plus_minutes(minute);
        for cycles in [Cycles::Current, Cycles::All] {
            for key in KEYS {
                for descending in [false, true] {
                    let order = RouteOrder { key, descending };
                    let page = |offset, limit| {
                        let mut found: Vec<TrackedRoute> = Vec::new();
                        let query = RouteQuery { offset, order, limit, ..RouteQuery::all(&filter, cycles, now) };
                        read(&store, |tx| tx.visit_routes(&query, &mut |tracked| {
                            found.push(tracked);
                            Ok(ControlFlow::Continue(()))
                        })).unwrap();
                        ids(&found)
                    };
                    let (from, most) = (usize::try_from(offset).unwrap(), usize::try_from(size).unwrap());
                    let part: Vec<_> = page(0, None).into_iter().skip(from).take(most).collect();
                    prop_assert_eq!(page(offset, Some(size)), part, "{:?}", order);
                }
            }
        }
    }

    #[test]
    fn counts_by_what_routes_have_in_common_add_up(records in store(), filter in filter()) {
        let store = in_memory();
        append(&store, records, noon());
        let found = routes(&store, &filter, Cycles::All, noon());
        let by: [(RouteFacet, Name); 4] = [
            (RouteFacet::Owner, |one| one.route.owner.to_string()),
            (RouteFacet::Provider, |one| one.route.provider.key().to_owned()),
            (RouteFacet::Schedule, |one| one.route.schedule_id.to_string()),
            (RouteFacet::Category, |one| one.route.category.as_str().to_owned()),
        ];
        for (facet, name) in by {
            let mut wanted: BTreeMap<String, RouteCounts> = BTreeMap::new();
            for one in &found {
                let counts = wanted.entry(name(one)).or_default();
                counts.add(one.state(), 1, u64::from(one.breached(noon())));
            }
            let counted = read(&store, |tx| tx.count_routes_by(facet, &filter, Cycles::All, noon())).unwrap();
            prop_assert_eq!(counted, wanted);
        }
    }

    #[test]
    fn courses_end_in_the_states_that_routes_have(records in store()) {
        let store = in_memory();
        append(&store, records, noon());
        let mut trend = Trend::over(noon(), 6, 5);
        let since = trend.begins_at().unwrap();
        read(&store, |tx| tx.visit_courses(&RouteFilter::default(), since, noon(), &mut |course| {
            trend.add(&course);
            Ok(ControlFlow::Continue(()))
        })).unwrap();
        let mut now = read(&store, |tx| tx.count_routes(&RouteFilter::default(), Cycles::Current, noon())).unwrap();
        // A trend is about routes that wait, or waited, for an answer.
        now.suppressed = 0;
        prop_assert_eq!(trend.points().last().unwrap().counts, StateCounts::from(now));
    }

    #[test]
    fn suppressed_routes_are_counted_by_what_they_have_in_common(records in store(), filter in filter()) {
        let store = in_memory();
        append(&store, records, noon());
        let mut suppressed = routes(&store, &filter, Cycles::All, noon());
        suppressed.retain(|tracked| !tracked.route.awaits());
        let by = |name: fn(&TrackedRoute) -> String| {
            let mut counts = BTreeMap::new();
            for tracked in &suppressed {
                *counts.entry(name(tracked)).or_insert(0_u64) += 1;
            }
            counts
        };
        let counts = read(&store, |tx| tx.count_suppressed(&filter, noon())).unwrap();
        prop_assert_eq!(counts.category, by(|tracked| tracked.route.category.as_str().to_owned()));
        prop_assert_eq!(counts.owner, by(|tracked| tracked.route.owner.to_string()));
        prop_assert_eq!(counts.provider, by(|tracked| tracked.route.provider.to_string()));
        prop_assert_eq!(counts.schedule, by(|tracked| tracked.route.schedule_id.to_string()));
    }
}

#[test]
fn a_route_is_breached_from_the_microsecond_of_its_deadline() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let breached = RouteFilter {
        breached: Some(true),
        ..RouteFilter::default()
    };
    let all = routes(&store, &RouteFilter::default(), Cycles::Current, noon());
    let deadlines: std::collections::BTreeSet<Timestamp> =
        all.iter().map(|tracked| tracked.route.deadline_at()).collect();
    for deadline in deadlines {
        let due = |now: Timestamp| {
            agree(&store, &breached, Cycles::Current, now);
            routes(&store, &breached, Cycles::Current, now).len()
        };
        let open = all
            .iter()
            .filter(|tracked| tracked.state().is_some_and(StateName::is_open))
            .filter(|tracked| tracked.route.deadline_at() == deadline)
            .count();
        assert_eq!(due(deadline), due(deadline.plus_micros(-1)) + open, "{deadline}");
        assert_eq!(due(deadline), due(deadline.plus_micros(1)));
    }
}

#[test]
fn outstanding_routes_come_with_the_earliest_deadline_first() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let filter = RouteFilter {
        state: Some(StateName::Outstanding),
        ..RouteFilter::default()
    };
    let mut expected = routes(&store, &filter, Cycles::Current, noon());
    expected.sort_by_key(|tracked| (tracked.route.deadline_at(), tracked.route.route_id.clone()));
    expected.truncate(20);
    let listed = read(&store, |tx| tx.outstanding(20)).unwrap();
    assert_eq!(ids(&listed), ids(&expected));
    assert_eq!(listed, expected);
}

#[test]
fn acknowledgements_are_counted_once_however_many_routes_they_answer() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    for (cycles, filter) in [
        (Cycles::Current, RouteFilter::default()),
        (Cycles::All, RouteFilter::default()),
        (
            Cycles::All,
            RouteFilter::parse(&FilterTerms {
                provider: "slack",
                ..FilterTerms::default()
            })
            .unwrap(),
        ),
    ] {
        let mut distinct = std::collections::BTreeSet::new();
        let counted = read(&store, |tx| {
            tx.visit_histories(&RouteQuery::all(&filter, cycles, noon()), &mut |_, history| {
                distinct.extend(history.into_iter().map(|entry| entry.answer.acknowledgement_id));
                Ok(ControlFlow::Continue(()))
            })?;
            tx.count_acknowledgements(&filter, cycles, noon())
        })
        .unwrap();
        assert_eq!(counted, distinct.len() as u64);
    }
}

#[test]
fn the_routes_of_a_plan_are_found_by_provider_key_and_owner() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    read(&store, |tx| {
        let plan = tx
            .current_plan(&cavra_domain::id::ScheduleId::parse("config-store-quarterly").unwrap())?
            .unwrap();
        let of_all = tx.routes_of(&plan.plan_id, "service_now", None)?;
        assert!(!of_all.is_empty());
        assert!(
            of_all
                .iter()
                .all(|tracked| tracked.route.provider.as_str() == "service-now")
        );
        for tracked in &of_all {
            let one = tx.routes_of(&plan.plan_id, "service_now", Some(&tracked.route.owner))?;
            assert_eq!(one.as_slice(), std::slice::from_ref(tracked));
        }
        assert_eq!(
            tx.routes_of(&plan.plan_id, "service-now", None)?,
            [],
            "keys have no hyphen"
        );
        Ok(())
    })
    .unwrap();
    let nothing: &dyn Store = &in_memory();
    read(nothing, |tx| {
        assert!(
            tx.current_plan(&cavra_domain::id::ScheduleId::parse("s1").unwrap())?
                .is_none()
        );
        assert!(
            tx.plan(&cavra_domain::id::PlanId::parse("p1").unwrap())?
                .is_none()
        );
        Ok(())
    })
    .unwrap();
}

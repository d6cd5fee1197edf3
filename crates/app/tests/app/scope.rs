//! The list, the package and the bulk mean the same routes by the same filter.

use std::sync::LazyLock;

use cavra_app::bulk::BulkSelection;
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::BulkMode;
use cavra_domain::route::{Cycles, FilterTerms, RouteAction, RouteCategory, RouteFilter, StateName};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::support::{Service, bulk, bulk_done, noon, package, position, rows};

/// Packages say nothing about routes, so that one service does for all cases.
static SERVICE: LazyLock<Service> = LazyLock::new(Service::quickstart);

fn filters() -> impl Strategy<Value = RouteFilter> {
    let names = |all: Vec<&'static str>, absent: u32| prop_oneof![absent => Just(""), 2 => select(all)];
    (
        names(
            vec![
                "payments-ledger-monthly",
                "config-store-quarterly",
                "inventory-sync-weekly",
                "audit-log-quarterly",
                "legacy-batch-monthly",
                "none",
            ],
            4,
        ),
        names(
            vec![
                "PLATFORM",
                "head-of",
                "release-governance",
                "o",
                "-team",
                "nobody",
            ],
            3,
        ),
        names(vec!["Slack", "service_now", "jira", "EMAIL", "fax"], 4),
        names(StateName::ALL.iter().map(|state| state.as_str()).collect(), 4),
        names(RouteAction::ALL.iter().map(|action| action.as_str()).collect(), 2),
        names(
            RouteCategory::ALL
                .iter()
                .map(|category| category.as_str())
                .collect(),
            8,
        ),
        option::weighted(0.3, any::<bool>()),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn list_package_and_bulk_name_the_same_routes(filter in filters(), minutes in 0..600_u32, all in any::<bool>()) {
        let app = &SERVICE.app;
        SERVICE.clock.set(noon().plus_minutes(minutes));
        let cycles = if all { Cycles::All } else { Cycles::Current };
        let scope = filter.clone().or_deliver();
        let listed = rows(app, &scope, cycles);

        let (_, document) = package(app, filter.clone(), cycles);
        let entries = document["routes"].as_array().unwrap();
        let ids: Vec<&str> = entries.iter().map(|entry| entry["route_id"].as_str().unwrap()).collect();
        prop_assert!(listed.iter().map(|row| row.route_id.as_str()).eq(ids));
        for (row, entry) in listed.iter().zip(entries) {
            prop_assert_eq!(row.acknowledgement_state, entry["acknowledgement_state"].as_str().unwrap());
            prop_assert_eq!(row.breached, entry["breached"].as_bool().unwrap());
            prop_assert_eq!(row.acknowledged_by.as_str(), entry["acknowledged_by"].as_str().unwrap());
        }
        let number = |value: &Value| value.as_u64().unwrap();
        prop_assert_eq!(number(&document["population"]["matched"]), listed.len() as u64);
        prop_assert_eq!(
            number(&document["route_count"]) + number(&document["suppressed_count"]),
            listed.len() as u64
        );

        let before = position(app);
        let mut command = bulk(BulkSelection::Filter(filter.clone()), AckState::Acknowledged, BulkMode::BestEffort);
        command.dry_run = true;
        let preview = bulk_done(app, command);
        prop_assert_eq!(position(app), before);
        let current = rows(app, &scope, Cycles::Current);
        prop_assert_eq!(preview.counts.matched_count, current.len() as u64);
        for (row, outcome) in current.iter().zip(&preview.outcomes) {
            prop_assert_eq!(
                (row.plan_id.as_str(), row.provider.as_str(), row.owner.as_str()),
                (outcome.plan_id.as_str(), outcome.provider.as_str(), outcome.owner.as_str())
            );
            let previous = if row.acknowledgement_state == "not_required" { "" } else { row.acknowledgement_state };
            prop_assert_eq!(previous, &outcome.previous_state);
        }
    }
}

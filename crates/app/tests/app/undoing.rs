//! Undo: over random schedules of everything that people do to routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cavra_app::AppError;
use cavra_app::acknowledge::Undo;
use cavra_app::bulk::{BulkSelection, UndoBulk};
use cavra_app::views::RouteRow;
use cavra_app::{Settings, acknowledge::Acknowledge};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::{BulkMode, OutcomeReason};
use cavra_domain::id::{AcknowledgementId, BulkId};
use cavra_domain::route::{Cycles, FilterTerms, RouteFilter};
use cavra_storage::sqlite::SqliteStore;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::support::{
    Service, acknowledge, ana, bulk, bulk_done, everything, filter, position, quickstart_text, rows, take,
    text,
};

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Step {
    Acknowledge(usize, AckState, bool),
    Bulk(&'static str, &'static str, AckState),
    /// Undoes the bulk, or the acknowledgement, with this number so far.
    UndoBulk(usize),
    Undo(usize),
}

const SCHEDULES: [&str; 3] = [
    "fraud-scoring-monthly",
    "search-index-weekly",
    "payments-ledger-monthly",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let said = || select(AckState::ALL);
    prop::collection::vec(
        prop_oneof![
            3 => (0..40_usize, said(), any::<bool>()).prop_map(|(route, said, all)| Step::Acknowledge(route, said, all)),
            3 => (select(&SCHEDULES[..]), select(vec!["", "outstanding", "acknowledged"]), said())
                .prop_map(|(schedule, state, said)| Step::Bulk(schedule, state, said)),
            2 => (0..6_usize).prop_map(Step::UndoBulk),
            3 => (0..40_usize).prop_map(Step::Undo),
        ],
        0..14,
    )
}

fn acknowledgement_of(row: &RouteRow, said: AckState, all_owners: bool) -> Acknowledge {
    let owner = (!all_owners).then(|| row.owner.as_str());
    acknowledge(row.schedule_id.as_str(), row.provider.as_str(), owner, said)
}

fn undo_bulk(bulk_id: &str) -> UndoBulk {
    UndoBulk {
        bulk_id: BulkId::parse(bulk_id).unwrap(),
        reason: text("taken by mistake"),
        minimal: false,
        actor: ana(),
    }
}

fn undo(acknowledgement_id: &str) -> Undo {
    Undo {
        acknowledgement_id: AcknowledgementId::parse(acknowledgement_id).unwrap(),
        reason: text("taken by mistake"),
        actor: ana(),
    }
}

fn in_schedule(schedule_id: &str, state: &str) -> RouteFilter {
    filter(FilterTerms {
        schedule_id,
        state,
        ..FilterTerms::default()
    })
}

/// A service over a file, so that its check can be run.
fn in_a_file(folder: &tempfile::TempDir) -> (Service, Arc<SqliteStore>) {
    let store = Arc::new(SqliteStore::open(&folder.path().join("cavra.db")).unwrap());
    let service = Service::over(store.clone(), Settings::default());
    take(&service.app, &quickstart_text()).unwrap();
    (service, store)
}

fn by_route(rows: Vec<RouteRow>) -> BTreeMap<String, RouteRow> {
    rows.into_iter()
        .map(|row| (row.route_id.to_string(), row))
        .collect()
}

fn answer(service: &Service, command: UndoBulk) -> Value {
    let text = service.app.undo_bulk(command).unwrap().text().unwrap();
    serde_json::from_slice(&text.whole(&service.app).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn replaying_the_evidence_gives_what_the_tables_hold_after_any_schedule_of_bulk_acknowledgement_and_undo(
        steps in steps(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (service, store) = in_a_file(&folder);
        let all: Vec<RouteRow> = SCHEDULES
            .iter()
            .flat_map(|schedule| rows(&service.app, &in_schedule(schedule, ""), Cycles::Current))
            .filter(|row| row.acknowledgement_state != "not_required")
            .collect();
        let (mut bulks, mut acknowledgements): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for step in steps {
            service.clock.forward(1);
            let before = by_route(rows(&service.app, &everything(), Cycles::All));
            let stood = position(&service.app);
            let told: Vec<(String, String, String)> = match step {
                Step::Acknowledge(route, said, all_owners) => {
                    let row = &all[route % all.len()];
                    match service.app.acknowledge(acknowledgement_of(row, said, all_owners)) {
                        Ok(done) => {
                            acknowledgements.push(done.acknowledgement.acknowledgement_id.to_string());
                            continue;
                        }
                        Err(AppError::Refused(OutcomeReason::ResolvedIsFinal)) => Vec::new(),
                        Err(other) => panic!("{other:?}"),
                    }
                }
                Step::Bulk(schedule, state, said) => {
                    let selection = BulkSelection::Filter(in_schedule(schedule, state));
                    let done = bulk_done(&service.app, bulk(selection, said, BulkMode::BestEffort));
                    if done.counts.changed_count > 0 {
                        bulks.push(done.bulk_id.clone());
                        acknowledgements.extend(
                            done.outcomes.iter().map(|told| told.acknowledgement_id.clone()).filter(|id| !id.is_empty()),
                        );
                    }
                    continue;
                }
                Step::UndoBulk(number) => {
                    let Some(bulk_id) = bulks.get(number) else { continue };
                    let done = answer(&service, undo_bulk(bulk_id));
                    let outcomes = done["outcomes"].as_array().unwrap();
                    let count = |name: &str| done[name].as_u64().unwrap();
                    prop_assert_eq!(outcomes.len() as u64, count("matched_count"));
                    prop_assert_eq!(
                        count("changed_count") + count("already_count") + count("refused_count"),
                        count("matched_count")
                    );
                    let records = if count("changed_count") == 0 { 0 } else { count("changed_count") + 1 };
                    prop_assert_eq!(position(&service.app), stood + records);
                    outcomes.iter().filter(|told| told["outcome"] == "changed").map(key).collect()
                }
                Step::Undo(number) => {
                    let Some(id) = acknowledgements.get(number) else { continue };
                    match service.app.undo(undo(id)) {
                        Ok(done) => {
                            let routes = serde_json::to_value(&done.routes).unwrap();
                            routes
                                .as_array()
                                .unwrap()
                                .iter()
                                .filter(|told| told["outcome"] == "changed")
                                .map(key)
                                .collect()
                        }
                        Err(AppError::Refused(OutcomeReason::ChangedSince | OutcomeReason::AlreadyUndone)) => Vec::new(),
                        Err(other) => panic!("{other:?}"),
                    }
                }
            };
            // What the answer names has changed, and nothing else has.
            let after = by_route(rows(&service.app, &everything(), Cycles::All));
            let mut changed: Vec<(String, String, String)> = after
                .iter()
                .filter(|(id, row)| before[*id].revision != row.revision)
                .map(|(_, row)| (row.plan_id.to_string(), row.provider.to_string(), row.owner.to_string()))
                .collect();
            let mut told = told;
            changed.sort();
            told.sort();
            prop_assert_eq!(changed, told);
        }
        let report = store.check(&mut |_| {}).unwrap();
        prop_assert_eq!(report.findings, []);
    }
}

/// Plan, provider and owner of an outcome.
fn key(told: &Value) -> (String, String, String) {
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("plan_id"), text("provider"), text("owner"))
}

#[test]
fn an_undo_reverses_what_nobody_has_changed_since_and_names_the_rest() {
    let service = Service::quickstart();
    let schedule = in_schedule("fraud-scoring-monthly", "outstanding");
    let done = bulk_done(
        &service.app,
        bulk(
            BulkSelection::Filter(schedule),
            AckState::Acknowledged,
            BulkMode::Strict,
        ),
    );
    assert_eq!(done.counts.changed_count, 2);
    let first = &done.outcomes[0];
    let since = acknowledge(
        &first.schedule_id,
        &first.provider,
        Some(&first.owner),
        AckState::Escalated,
    );
    let since = service.app.acknowledge(since).unwrap();
    let undone = answer(&service, undo_bulk(&done.bulk_id));
    let told: Vec<(&str, &str, &str)> = undone["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|told| {
            (
                told["outcome"].as_str().unwrap(),
                told["reason"].as_str().unwrap(),
                told["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("refused", "changed_since", "escalated"),
            ("changed", "", "outstanding")
        ]
    );
    // When that change is taken back too, the bulk's own answer stands again, and can be undone.
    let later = service
        .app
        .undo(undo(since.acknowledgement.acknowledgement_id.as_str()))
        .unwrap();
    assert_eq!(
        (later.routes[0].previous_state, later.routes[0].state),
        ("escalated", "acknowledged")
    );
    let again = answer(&service, undo_bulk(&done.bulk_id));
    assert_eq!(
        (&again["changed_count"], &again["already_count"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn an_acknowledgement_of_several_owners_is_undone_where_it_stands() {
    let service = Service::quickstart();
    let (schedule, provider) = ("payments-ledger-monthly", "slack");
    let all = service
        .app
        .acknowledge(acknowledge(schedule, provider, None, AckState::Resolved))
        .unwrap();
    assert!(all.routes.len() > 1);
    let undone = service
        .app
        .undo(undo(all.acknowledgement.acknowledgement_id.as_str()))
        .unwrap();
    let changed = |routes: &[cavra_domain::bulk::RouteOutcome]| {
        routes
            .iter()
            .filter(|told| told.outcome.as_str() == "changed")
            .count()
    };
    assert_eq!(changed(&undone.routes), changed(&all.routes));
    let refused = service
        .app
        .undo(undo(all.acknowledgement.acknowledgement_id.as_str()));
    assert!(
        matches!(refused, Err(AppError::Refused(OutcomeReason::AlreadyUndone))),
        "{refused:?}"
    );
}

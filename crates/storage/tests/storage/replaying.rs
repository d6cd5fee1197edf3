//! The state that an auditor makes from the records alone is the one that the tables hold.

use std::ops::ControlFlow;

use cavra_domain::replay::Replay;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_storage::{RouteQuery, Store};
use serde_json::{Value, json};

use super::support::{Ack, Numbers, append, at, decision, in_memory, log, noon, plan, quickstart, read};

fn assert_same(store: &dyn Store) {
    let mut replay = Replay::default();
    for record in log(store) {
        let value: Value = serde_json::from_str(&record.json).unwrap();
        replay
            .apply(record.position, record.recorded_at, record.imported, &value)
            .unwrap();
    }
    let filter = RouteFilter::default();
    let (stored, evidence) = read(store, |tx| {
        let mut stored = Vec::new();
        tx.visit_histories(
            &RouteQuery::all(&filter, Cycles::All, noon()),
            &mut |tracked, history| {
                stored.push((tracked, history));
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok((stored, tx.route_evidence()?))
    })
    .unwrap();
    let replayed = replay.routes();
    assert_eq!(replayed.len(), stored.len());
    for (replayed, stored) in replayed.iter().zip(&stored) {
        assert_eq!(replayed, stored);
    }
    assert_eq!(replay.record_count(), evidence.record_count);
    assert_eq!(replay.orphan_count(), evidence.orphaned_acknowledgement_count);
}

#[test]
fn the_quickstart_store_replays_to_its_tables() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    assert_same(&store);
}

#[test]
fn ten_thousand_random_operations_replay_to_the_tables() {
    let mut numbers = Numbers(11);
    let mut plans: Vec<(String, String)> = Vec::new();
    let records: Vec<Value> = (0..10_000_u64)
        .map(|number| {
            let schedule = format!("s{}", numbers.below(40));
            let minute = u32::try_from(numbers.below(4_000)).unwrap();
            let when = at("2026-05-30T00:00:00Z").plus_minutes(minute);
            let pick = |numbers: &mut Numbers, from: &[&'static str]| {
                from[usize::try_from(numbers.below(from.len() as u64)).unwrap()]
            };
            if numbers.below(20) == 0 {
                let id = format!("gordn-{number}");
                let decisions: Vec<Value> = (0..=numbers.below(6))
                    .map(|_| {
                        decision(
                            pick(&mut numbers, &["slack", "Pager-Duty", "jira"]),
                            pick(&mut numbers, &["ana", "bo", "cy"]),
                            pick(&mut numbers, &["deliver", "deliver", "suppress"]),
                        )
                    })
                    .collect();
                plans.push((schedule.clone(), id.clone()));
                return plan(&schedule, &id, when, &decisions);
            }
            if numbers.below(6) == 0 {
                // Of one that is there, of one that may come, or of none.
                let undone = match numbers.below(4) {
                    0 => numbers.below(10_000),
                    _ => numbers.below(number + 1),
                };
                return json!({
                    "session_id": format!("gordackundo-{number}"), "schedule_id": schedule, "created_at": when,
                    "metadata_kind": "go-backend-rollback-drill-notification-ack-undo",
                    "acknowledgement_undo": {
                        "acknowledgement_id": format!("gordack-{undone}"), "provider": "slack",
                        "undone_state": "resolved", "undone_by": "ana", "reason": "a mistake",
                    },
                });
            }
            // One that names no plan, one that is there, or one that may come.
            let (schedule, named) = match (numbers.below(4), plans.len()) {
                (0, _) | (_, 0) => (schedule, None),
                (1, _) => (schedule, Some(format!("gordn-{}", numbers.below(10_000)))),
                (_, count) => {
                    let (schedule, id) = plans[usize::try_from(numbers.below(count as u64)).unwrap()].clone();
                    (schedule, Some(id))
                }
            };
            Ack {
                id: &format!("gordack-{number}"),
                schedule: &schedule,
                plan: named.as_deref(),
                provider: pick(&mut numbers, &["slack", "pager_duty", "jira"]),
                owner: [None, Some("ana"), Some("bo")][usize::try_from(numbers.below(3)).unwrap()],
                said: pick(
                    &mut numbers,
                    &[
                        "acknowledged",
                        "escalated",
                        "dismissed",
                        "acknowledged",
                        "resolved",
                    ],
                ),
                at: when,
            }
            .record()
        })
        .collect();
    let store = in_memory();
    append(&store, records, noon());
    assert_same(&store);
}

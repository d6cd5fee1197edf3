//! Previews that bind: whatever two operators do in whatever order, no route changes that its operator did not see.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cavra_app::AppError;
use cavra_app::acknowledge::Undo;
use cavra_app::bulk::{BulkSelection, UndoBulk};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::{BulkMode, OutcomeReason};
use cavra_domain::id::{AcknowledgementId, BulkId};
use cavra_domain::route::{Cycles, FilterTerms, RouteFilter};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Service, acknowledge, ana, bulk, bulk_done, filter, plan, position, rows, text};

const OWNERS: [&str; 3] = ["ana", "ben", "carla"];

/// The terms beside the schedule of one interleaving: everything that a selection may depend on.
#[derive(Debug, Clone, Copy)]
enum Scope {
    All,
    OfAna,
    In(&'static str),
    Breached,
}

impl Scope {
    fn filter(self, schedule_id: &str) -> RouteFilter {
        let terms = FilterTerms {
            schedule_id,
            ..FilterTerms::default()
        };
        filter(match self {
            Self::All => terms,
            Self::OfAna => FilterTerms {
                owner: "ANA",
                ..terms
            },
            Self::In(state) => FilterTerms { state, ..terms },
            Self::Breached => FilterTerms {
                breached: Some(true),
                ..terms
            },
        })
        .or_deliver()
    }
}

/// What one of two operators does, or what happens meanwhile.
#[derive(Debug, Clone)]
enum Step {
    /// Previews what is in scope.
    Look(Scope),
    /// Does to it what was previewed, bound to the preview.
    Commit(AckState),
    /// Answers one route, without a preview.
    Single(usize, AckState),
    /// Takes back the newest bulk, or the newest acknowledgement.
    UndoBulk,
    Undo,
    /// The schedule is planned anew: a new cycle.
    Plan,
    /// Routes become late.
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let said = || select(AckState::ALL);
    let scope = select(vec![
        Scope::All,
        Scope::OfAna,
        Scope::In("outstanding"),
        Scope::In("acknowledged"),
        Scope::Breached,
    ]);
    let step = prop_oneof![
        4 => scope.prop_map(Step::Look),
        5 => said().prop_map(Step::Commit),
        3 => (0..OWNERS.len(), said()).prop_map(|(owner, said)| Step::Single(owner, said)),
        1 => Just(Step::UndoBulk),
        1 => Just(Step::Undo),
        1 => Just(Step::Plan),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec((0..2_usize, step), 2..10)
}

/// A scope that was previewed, its digest, and its routes as they were seen.
type Preview = (Scope, String, BTreeMap<String, u64>);

/// The routes of a scope, each with what an operator sees of it: its cycle and how often it has changed.
fn seen(service: &Service, filter: &RouteFilter) -> BTreeMap<String, u64> {
    rows(&service.app, filter, Cycles::Current)
        .into_iter()
        .map(|row| (row.route_id.to_string(), row.revision))
        .collect()
}

/// All interleavings are on one service, each on a schedule of its own: no one sees another's routes.
static SERVICE: LazyLock<Service> = LazyLock::new(Service::empty);
static SCHEDULES: AtomicU64 = AtomicU64::new(0);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_route_changes_that_its_operator_did_not_see(steps in steps()) {
        let service = &*SERVICE;
        let schedule_id = &format!("schedule-{}", SCHEDULES.fetch_add(1, Ordering::Relaxed));
        plan(&service.app, schedule_id, &OWNERS, &["slack"], 60);
        // What each operator saw last: the scope, its digest, and the routes.
        let mut previews: [Option<Preview>; 2] = [None, None];
        let (mut bulks, mut acknowledgements) = (Vec::new(), Vec::new());
        for (number, (operator, step)) in (1..).zip(steps) {
            match step {
                Step::Look(scope) => {
                    let filter = scope.filter(schedule_id);
                    let mut command =
                        bulk(BulkSelection::Filter(filter.clone()), AckState::Acknowledged, BulkMode::BestEffort);
                    command.dry_run = true;
                    let digest = bulk_done(&service.app, command).selection_digest;
                    previews[operator] = Some((scope, digest, seen(service, &filter)));
                }
                Step::Commit(said) => {
                    let Some((scope, digest, shown)) = &previews[operator] else { continue };
                    let filter = scope.filter(schedule_id);
                    let mut command = bulk(BulkSelection::Filter(filter.clone()), said, BulkMode::BestEffort);
                    command.expected_digest = Some(digest.clone());
                    let before = seen(service, &filter);
                    let stood = position(&service.app);
                    match service.app.bulk(command) {
                        Ok(done) => {
                            prop_assert_eq!(shown, &before, "only what was seen is committed");
                            let done = done.text().unwrap().whole(&service.app).unwrap();
                            let done: super::support::Done = serde_json::from_slice(&done).unwrap();
                            let all = seen(service, &Scope::All.filter(schedule_id));
                            let changed = before.iter().filter(|(id, revision)| all.get(*id) != Some(revision)).count();
                            prop_assert_eq!(done.counts.changed_count, changed as u64);
                            let records = if changed == 0 { 0 } else { changed as u64 + 1 };
                            prop_assert_eq!(position(&service.app), stood + records, "nothing else is written");
                            if changed > 0 {
                                bulks.push(done.bulk_id);
                            }
                            acknowledgements.extend(
                                done.outcomes.into_iter().map(|told| told.acknowledgement_id).filter(|id| !id.is_empty()),
                            );
                        }
                        Err(AppError::SelectionChanged(difference)) => {
                            prop_assert_ne!(shown, &before, "nothing has changed");
                            prop_assert_eq!(position(&service.app), stood);
                            let joined = before.keys().filter(|id| !shown.contains_key(*id)).count();
                            let left = shown.keys().filter(|id| !before.contains_key(*id)).count();
                            let changed = before
                                .iter()
                                .filter(|(id, revision)| shown.get(*id).is_some_and(|shown| shown != *revision))
                                .count();
                            prop_assert_eq!(
                                (difference.joined_count, difference.left_count, difference.changed_count),
                                (Some(joined as u64), Some(left as u64), Some(changed as u64))
                            );
                            prop_assert_eq!(difference.routes.len(), joined + left + changed);
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
                Step::Single(owner, said) => {
                    match service.app.acknowledge(acknowledge(schedule_id, "slack", Some(OWNERS[owner]), said)) {
                        Ok(done) => acknowledgements.push(done.acknowledgement.acknowledgement_id.to_string()),
                        Err(AppError::Refused(OutcomeReason::ResolvedIsFinal)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                Step::UndoBulk => {
                    let Some(bulk_id) = bulks.last() else { continue };
                    let command = UndoBulk {
                        bulk_id: BulkId::parse(bulk_id).unwrap(),
                        reason: text("taken by mistake"),
                        minimal: true,
                        actor: ana(),
                    };
                    service.app.undo_bulk(command).unwrap();
                }
                Step::Undo => {
                    let Some(id) = acknowledgements.pop() else { continue };
                    // What somebody has changed since stays.
                    let _ = service.app.undo(Undo {
                        acknowledgement_id: AcknowledgementId::parse(&id).unwrap(),
                        reason: text("taken by mistake"),
                        actor: ana(),
                    });
                }
                Step::Plan => plan(&service.app, schedule_id, &OWNERS, &["slack"], 60 + number),
                Step::Wait => service.clock.forward(45),
            }
        }
    }
}

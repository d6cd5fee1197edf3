//! State follows from the evidence, not from the order in which it arrives; and it is what a model says that knows
//! nothing of tables.

use std::collections::BTreeMap;

use cavra_domain::record::{AckFacts, PlanFacts, Projection, interpret};
use cavra_domain::route::{Fold, StateName, Transition};
use cavra_domain::time::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;

use super::support::{Ack, Seen, View, append, at, decision, in_memory, noon, plan, read, undo, view};

/// The first minute of the random histories; they end long before [`noon`].
fn start() -> Timestamp {
    at("2026-06-01T08:00:00Z")
}

/// Of what no two tests want the same: how records get their times.
#[derive(Debug, Clone, Copy)]
enum Times {
    /// As drawn: equal ones are likely, and some lie ahead of the recording.
    Drawn,
    /// No two acknowledgements at one time, and none ahead.
    Distinct,
}

#[derive(Debug, Clone)]
struct DrawnPlan {
    schedule: &'static str,
    minute: u32,
    decisions: Vec<(&'static str, &'static str, &'static str)>,
}

#[derive(Debug, Clone)]
struct DrawnAck {
    schedule: &'static str,
    plan: Option<usize>,
    provider: &'static str,
    owner: Option<&'static str>,
    said: &'static str,
    minute: u32,
}

fn plans() -> impl Strategy<Value = Vec<DrawnPlan>> {
    let every: Vec<(&str, &str)> = ["slack", "Pager-Duty"]
        .into_iter()
        .flat_map(|provider| [(provider, "ana"), (provider, "bo")])
        .collect();
    let decisions = subsequence(every, 0..=4).prop_flat_map(|routes| {
        let count = routes.len();
        (
            Just(routes),
            vec(prop_oneof![4 => Just("deliver"), 1 => Just("suppress")], count),
        )
            .prop_map(|(routes, actions)| {
                routes
                    .into_iter()
                    .zip(actions)
                    .map(|((provider, owner), action)| (provider, owner, action))
                    .collect()
            })
    });
    let one =
        (select(vec!["s1", "s2"]), 0..5_u32, decisions).prop_map(|(schedule, minute, decisions)| DrawnPlan {
            schedule,
            minute,
            decisions,
        });
    vec(one, 0..6)
}

fn acks() -> impl Strategy<Value = Vec<DrawnAck>> {
    let one = (
        select(vec!["s1", "s1", "s2", "s3"]),
        // The last number names a plan that there never is.
        option::of(0..7_usize),
        select(vec!["slack", "Slack ", "pager_duty", "PAGER-DUTY", "email"]),
        option::of(select(vec!["ana", "bo", "nobody"])),
        select(vec!["acknowledged", "dismissed", "escalated", "resolved"]),
        0..7_u32,
    )
        .prop_map(|(schedule, plan, provider, owner, said, minute)| DrawnAck {
            schedule,
            plan,
            provider,
            owner,
            said,
            minute,
        });
    vec(one, 0..12)
}

#[derive(Debug, Clone)]
struct DrawnUndo {
    /// Which acknowledgement; some numbers name one that there never is.
    of: usize,
    minute: u32,
}

fn undos() -> impl Strategy<Value = Vec<DrawnUndo>> {
    vec(
        (0..13_usize, 0..8_u32).prop_map(|(of, minute)| DrawnUndo { of, minute }),
        0..6,
    )
}

fn records(plans: &[DrawnPlan], acks: &[DrawnAck], undos: &[DrawnUndo], times: Times) -> Vec<Value> {
    let ids: Vec<String> = (0..7).map(|number| format!("plan-{number}")).collect();
    let mut records: Vec<Value> = plans
        .iter()
        .zip(&ids)
        .map(|(drawn, id)| {
            let decisions: Vec<Value> = drawn
                .decisions
                .iter()
                .map(|(provider, owner, action)| decision(provider, owner, action))
                .collect();
            plan(drawn.schedule, id, start().plus_minutes(drawn.minute), &decisions)
        })
        .collect();
    records.extend(acks.iter().zip(0_i64..).map(|(drawn, number)| {
        let told = start().plus_minutes(drawn.minute);
        let id = format!("ack-{number}");
        Ack {
            id: &id,
            schedule: drawn.schedule,
            plan: drawn.plan.and_then(|plan| ids.get(plan)).map(String::as_str),
            provider: drawn.provider,
            owner: drawn.owner,
            said: drawn.said,
            at: match times {
                Times::Distinct => told.plus_micros(number),
                // Every third minute is one that has not come yet.
                Times::Drawn if drawn.minute == 6 => noon().plus_minutes(drawn.minute),
                Times::Drawn => told,
            },
        }
        .record()
    }));
    records.extend(undos.iter().zip(500_i64..).map(|(drawn, number)| {
        let told = start().plus_minutes(drawn.minute);
        let at = match times {
            Times::Distinct => told.plus_micros(number),
            Times::Drawn => told,
        };
        undo(&format!("undo-{number}"), &format!("ack-{}", drawn.of), at)
    }));
    records
}

/// What the log says, worked out without any table: every route, and how many acknowledgements answer none.
fn model(log: &[Value], recorded_at: Timestamp) -> (View, u64) {
    let mut plans: Vec<PlanFacts> = Vec::new();
    let mut acks: Vec<(Timestamp, usize, AckFacts)> = Vec::new();
    for (position, record) in log.iter().enumerate() {
        match interpret(record, recorded_at).unwrap().projection {
            Projection::Plan(facts) => plans.push(*facts),
            Projection::Acknowledgement(facts) => {
                acks.push((facts.answer.acknowledged_at.min(recorded_at), position, *facts));
            }
            Projection::Export(_)
            | Projection::Deliveries(_)
            | Projection::Reference(_)
            | Projection::Packet(_)
            | Projection::None => {}
        }
    }
    acks.sort_by_key(|(effective_at, position, _)| (*effective_at, *position));
    let newest = |schedule: &str, until: Timestamp| {
        plans
            .iter()
            .filter(|plan| plan.schedule_id.as_str() == schedule && plan.created_at <= until)
            .max_by_key(|plan| (plan.created_at, plan.plan_id.clone()))
            .map(|plan| &plan.plan_id)
    };
    let mut view = View::new();
    let mut answered = vec![false; acks.len()];
    for plan in &plans {
        for route in &plan.routes {
            let mut folded: Fold<String> = Fold::default();
            let mut history: Vec<(String, Transition)> = Vec::new();
            for (number, (effective_at, _, ack)) in acks.iter().enumerate() {
                // An undo answers what the acknowledgement answers that it takes back.
                let named = match &ack.undoes {
                    None => Some((*effective_at, ack)),
                    Some(undone) => acks
                        .iter()
                        .find(|(_, _, other)| {
                            other.undoes.is_none() && other.answer.acknowledgement_id == *undone
                        })
                        .map(|(effective_at, _, ack)| (*effective_at, ack)),
                };
                let Some((since, answered_by)) = named else {
                    continue;
                };
                let covered = match &answered_by.plan_id {
                    Some(named) => (*named == plan.plan_id && answered_by.schedule_id == plan.schedule_id)
                        .then_some(named),
                    None => newest(answered_by.schedule_id.as_str(), since),
                };
                if covered == Some(&plan.plan_id)
                    && answered_by.provider.key() == route.provider.key()
                    && answered_by
                        .owner
                        .as_ref()
                        .is_none_or(|owner| *owner == route.owner)
                    && route.awaits()
                {
                    let id = ack.answer.acknowledgement_id.to_string();
                    let effect = match &ack.undoes {
                        None => folded.acknowledge(id.clone(), ack.answer.said),
                        Some(undone) => folded.undo(&undone.to_string()),
                    };
                    history.push((id, effect));
                    answered[number] = true;
                }
            }
            let key = (
                plan.plan_id.to_string(),
                route.provider.key().to_owned(),
                route.owner.to_string(),
            );
            let seen = Seen {
                current: newest(plan.schedule_id.as_str(), Timestamp::MAX) == Some(&plan.plan_id),
                state: route.awaits().then(|| folded.state()),
                answer: folded.standing().cloned(),
                history,
            };
            view.insert(key, seen);
        }
    }
    let orphans = answered.iter().filter(|answered| !**answered).count();
    (view, orphans.try_into().unwrap())
}

/// The orphans, counted one by one; the count that is kept as they come and go has to say the same.
fn orphans(store: &dyn cavra_storage::Store) -> u64 {
    let counted = read(store, |tx| tx.orphans(0)).unwrap().0;
    assert_eq!(read(store, |tx| tx.orphan_count()).unwrap(), counted);
    counted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_arrival_gives_the_same_routes_and_histories(
        plans in plans(),
        acks in acks(),
        undos in undos(),
        seed in any::<u64>(),
    ) {
        let told = records(&plans, &acks, &undos, Times::Distinct);
        let shuffled = shuffled(told.clone(), seed);
        let (first, second) = (in_memory(), in_memory());
        append(&first, told.clone(), noon());
        for record in shuffled {
            append(&second, vec![record], noon());
        }
        prop_assert_eq!(view(&first), view(&second));
        prop_assert_eq!(orphans(&first), orphans(&second));
        prop_assert_eq!((view(&first), orphans(&first)), model(&told, noon()));
    }

    #[test]
    fn routes_are_what_the_model_says_with_equal_times_and_times_ahead_too(
        plans in plans(),
        acks in acks(),
        undos in undos(),
        seed in any::<u64>(),
    ) {
        let log = shuffled(records(&plans, &acks, &undos, Times::Drawn), seed);
        let store = in_memory();
        append(&store, log.clone(), noon());
        prop_assert_eq!((view(&store), orphans(&store)), model(&log, noon()));
    }
}

/// A permutation that only depends on the seed.
fn shuffled(mut records: Vec<Value>, mut seed: u64) -> Vec<Value> {
    for last in (1..records.len()).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        records.swap(last, usize::try_from(seed >> 33).unwrap() % (last + 1));
    }
    records
}

fn states(view: &View) -> BTreeMap<(&str, &str), StateName> {
    view.iter()
        .filter_map(|((plan, _, owner), seen)| Some(((plan.as_str(), owner.as_str()), seen.state?)))
        .collect()
}

fn ack_of(id: &str, plan: Option<&str>, said: &str, minute: u32) -> Value {
    Ack {
        id,
        schedule: "s1",
        plan,
        provider: "slack",
        owner: None,
        said,
        at: start().plus_minutes(minute),
    }
    .record()
}

fn plan_of(id: &str, minute: u32) -> Value {
    let decisions = [
        decision("slack", "ana", "deliver"),
        decision("slack", "bo", "deliver"),
    ];
    plan("s1", id, start().plus_minutes(minute), &decisions)
}

#[test]
fn an_old_acknowledgement_never_covers_a_new_cycle() {
    let store = in_memory();
    append(
        &store,
        vec![
            plan_of("p1", 0),
            ack_of("open", None, "acknowledged", 5),
            ack_of("named", Some("p1"), "escalated", 20),
            plan_of("p2", 10),
        ],
        noon(),
    );
    let seen = view(&store);
    assert_eq!(
        states(&seen),
        BTreeMap::from([
            (("p1", "ana"), StateName::Escalated),
            (("p1", "bo"), StateName::Escalated),
            (("p2", "ana"), StateName::Outstanding),
            (("p2", "bo"), StateName::Outstanding),
        ])
    );
    assert!(
        seen.iter()
            .all(|((plan, ..), seen)| seen.current == (plan == "p2"))
    );
    // One that leaves the cycle open and is given after the new plan is for the new plan.
    append(&store, vec![ack_of("later", None, "resolved", 10)], noon());
    assert_eq!(states(&view(&store))[&("p2", "bo")], StateName::Resolved);
    assert_eq!(states(&view(&store))[&("p1", "bo")], StateName::Escalated);
}

#[test]
fn an_acknowledgement_moves_to_an_older_plan_that_arrives_late() {
    let store = in_memory();
    append(
        &store,
        vec![plan_of("p1", 0), ack_of("a", None, "resolved", 20)],
        noon(),
    );
    assert_eq!(states(&view(&store))[&("p1", "ana")], StateName::Resolved);
    append(&store, vec![plan_of("p2", 10)], noon());
    let seen = view(&store);
    assert_eq!(states(&seen)[&("p1", "ana")], StateName::Outstanding);
    assert_eq!(states(&seen)[&("p2", "ana")], StateName::Resolved);
    assert!(
        seen[&("p1".to_owned(), "slack".to_owned(), "ana".to_owned())]
            .history
            .is_empty()
    );
}

#[test]
fn an_acknowledgement_dated_ahead_takes_effect_when_it_was_recorded() {
    let store = in_memory();
    let recorded = start().plus_minutes(5);
    append(
        &store,
        vec![plan_of("p1", 0), ack_of("ahead", None, "acknowledged", 60)],
        recorded,
    );
    // A plan made after the recording is not covered, although the acknowledgement says a later time.
    append(&store, vec![plan_of("p2", 30)], noon());
    let seen = view(&store);
    assert_eq!(states(&seen)[&("p1", "ana")], StateName::Acknowledged);
    assert_eq!(states(&seen)[&("p2", "ana")], StateName::Outstanding);
}

#[test]
fn an_acknowledgement_of_a_plan_that_is_not_known_is_an_orphan_until_the_plan_arrives() {
    let store = in_memory();
    append(
        &store,
        vec![plan_of("p1", 0), ack_of("early", Some("p2"), "dismissed", 20)],
        noon(),
    );
    let (count, listed) = read(&store, |tx| tx.orphans(10)).unwrap();
    assert_eq!((count, listed[0].session_id.as_str()), (1, "early"));
    append(&store, vec![plan_of("p2", 10)], noon());
    assert_eq!(orphans(&store), 0);
    assert_eq!(states(&view(&store))[&("p2", "ana")], StateName::Dismissed);
}

#[test]
fn a_revision_grows_with_every_change_and_never_falls() {
    let store = in_memory();
    let revisions = |store: &dyn cavra_storage::Store| -> u64 {
        super::support::routes(
            store,
            &cavra_domain::route::RouteFilter::default(),
            cavra_domain::route::Cycles::All,
            noon(),
        )
        .iter()
        .find(|tracked| tracked.route.owner.as_str() == "ana" && tracked.route.plan_id.as_str() == "p1")
        .map(|tracked| tracked.status.revision)
        .unwrap()
    };
    append(&store, vec![plan_of("p1", 0)], noon());
    let steps = [
        (ack_of("a", None, "acknowledged", 20), 1),
        // The same state again: a second signature, no change.
        (ack_of("b", None, "acknowledged", 21), 1),
        (ack_of("c", None, "escalated", 22), 2),
        // Before all of them, so the state is worked out anew and is the same.
        (ack_of("d", None, "dismissed", 5), 2),
        // A plan in between takes everything but the oldest away.
        (plan_of("p2", 10), 6),
    ];
    for (record, expected) in steps {
        let before = revisions(&store);
        append(&store, vec![record.clone()], noon());
        let after = revisions(&store);
        assert!(after >= before, "{record}");
        assert!(after <= expected, "{record}: {after}");
    }
    assert_eq!(states(&view(&store))[&("p1", "ana")], StateName::Dismissed);
}

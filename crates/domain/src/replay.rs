//! State from evidence alone: every route with its history, from plans and acknowledgements in log order.
//!
//! This is what an auditor has who has the records and no database. Storage does the same with tables, one record
//! at a time; a test holds the two against each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::acknowledgement::HistoryEntry;
use crate::id::{AcknowledgementId, PlanId, ScheduleId};
use crate::record::{AckFacts, PlanFacts, Projection, RecordError, interpret};
use crate::route::{Fold, Route, RouteStatus, StateName, TrackedRoute, Transition};
use crate::time::Timestamp;

/// When an acknowledgement takes effect, then its place in the log: the order of a history.
type Moment = (Timestamp, u64);

/// What the evidence so far says about routes.
///
/// ```
/// use cavra_domain::replay::Replay;
/// use cavra_domain::time::Timestamp;
///
/// let mut replay = Replay::default();
/// let plan = serde_json::json!({
///     "session_id": "gordn-1", "created_at": "2026-06-01T08:00:00Z",
///     "metadata_kind": "go-backend-rollback-drill-notification-plan", "schedule_id": "payments",
///     "plan": { "route_decisions": [{ "provider": "slack", "owner": "ana" }] },
/// });
/// replay.apply(1, Timestamp::parse("2026-06-01T08:00:00Z")?, false, &plan)?;
/// let (route, history) = &replay.routes()[0];
/// assert!(route.current && history.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Replay {
    plans: Vec<Plan>,
    by_id: BTreeMap<PlanId, usize>,
    by_schedule: BTreeMap<ScheduleId, BTreeMap<(Timestamp, PlanId), usize>>,
    acknowledgements: BTreeMap<u64, Acknowledgement>,
    /// Acknowledgements that name a plan which has not come yet.
    early: BTreeMap<(ScheduleId, PlanId), BTreeSet<Moment>>,
    /// Acknowledgements that name no plan.
    floating: BTreeMap<ScheduleId, BTreeSet<Moment>>,
    /// Acknowledgements by their id; undos are not among them.
    places: BTreeMap<AcknowledgementId, u64>,
    /// Undos by what they take back, which may not have come yet.
    undos: BTreeMap<AcknowledgementId, BTreeSet<u64>>,
    record_count: u64,
}

#[derive(Debug)]
struct Plan {
    schedule_id: ScheduleId,
    routes: Vec<Tracked>,
    /// Delivered routes by provider key and owner.
    places: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
}

#[derive(Debug)]
struct Tracked {
    route: Route,
    state: StateName,
    answer: Option<u64>,
    revision: u64,
    history: BTreeMap<Moment, Transition>,
}

#[derive(Debug)]
struct Acknowledgement {
    facts: AckFacts,
    moment: Moment,
    plan: Option<usize>,
    covers: usize,
    /// Where the acknowledgement stands that this undo takes back.
    target: Option<u64>,
}

impl Replay {
    /// Takes the next record of the log. A record that says nothing about routes changes nothing.
    ///
    /// # Errors
    /// [`RecordError`] when the record cannot be understood; nothing was changed then.
    pub fn apply(
        &mut self,
        position: u64,
        recorded_at: Timestamp,
        imported: bool,
        record: &Value,
    ) -> Result<(), RecordError> {
        let interpreted = interpret(record, recorded_at)?;
        let interpreted = if imported {
            interpreted.from_elsewhere()
        } else {
            interpreted
        };
        match interpreted.projection {
            Projection::None
            | Projection::Export(_)
            | Projection::Deliveries(_)
            | Projection::Reference(_)
            | Projection::Packet(_) => return Ok(()),
            Projection::Plan(facts) => self.plan_arrives(*facts),
            Projection::Acknowledgement(facts) => match facts.undoes.clone() {
                None => self.acknowledgement_arrives(position, recorded_at, *facts),
                Some(undone) => self.undo_arrives(position, recorded_at, *facts, undone),
            },
        }
        self.record_count += 1;
        Ok(())
    }

    /// How many records said something about routes.
    pub const fn record_count(&self) -> u64 {
        self.record_count
    }

    /// How many acknowledgements answer no route.
    pub fn orphan_count(&self) -> u64 {
        let orphans = self
            .acknowledgements
            .values()
            .filter(|acknowledgement| acknowledgement.covers == 0);
        u64::try_from(orphans.count()).unwrap_or(u64::MAX)
    }

    /// Every route with its history, newest cycle first and then by route id, both falling: the order of every list.
    pub fn routes(&self) -> Vec<(TrackedRoute, Vec<HistoryEntry>)> {
        self.each_route().collect()
    }

    /// The same, one after the other: for whoever does not need all of them at once.
    pub fn each_route(&self) -> impl Iterator<Item = (TrackedRoute, Vec<HistoryEntry>)> {
        let current: BTreeSet<usize> = self
            .by_schedule
            .values()
            .filter_map(|plans| plans.last_key_value().map(|(_, plan)| *plan))
            .collect();
        let mut routes: Vec<(bool, &Tracked)> = self
            .plans
            .iter()
            .enumerate()
            .map(|(plan, entry)| (current.contains(&plan), entry))
            .flat_map(|(current, entry)| entry.routes.iter().map(move |tracked| (current, tracked)))
            .collect();
        routes.sort_by(|(_, a), (_, b)| {
            let (a, b) = (&a.route, &b.route);
            (b.created_at, &b.route_id).cmp(&(a.created_at, &a.route_id))
        });
        routes
            .into_iter()
            .map(|(current, tracked)| self.seen(tracked, current))
    }

    fn seen(&self, tracked: &Tracked, current: bool) -> (TrackedRoute, Vec<HistoryEntry>) {
        let facts = |position: &u64| {
            self.acknowledgements
                .get(position)
                .map(|acknowledgement| &acknowledgement.facts)
        };
        let history = tracked
            .history
            .iter()
            .filter_map(|((_, position), effect)| {
                let facts = facts(position)?;
                Some(HistoryEntry {
                    answer: facts.answer.clone(),
                    undoes: facts.undoes.clone(),
                    effect: *effect,
                })
            })
            .collect();
        let route = TrackedRoute {
            route: tracked.route.clone(),
            status: RouteStatus {
                answer: tracked
                    .answer
                    .as_ref()
                    .and_then(facts)
                    .map(|facts| facts.answer.clone()),
                revision: tracked.revision,
            },
            current,
        };
        (route, history)
    }

    fn plan_arrives(&mut self, facts: PlanFacts) {
        let at = facts.created_at;
        let plan = self.plans.len();
        let mut places: BTreeMap<String, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        for (index, route) in facts.routes.iter().enumerate() {
            if route.awaits() {
                let owners = places.entry(route.provider.key().to_owned()).or_default();
                owners
                    .entry(route.owner.as_str().to_owned())
                    .or_default()
                    .push(index);
            }
        }
        let siblings = self.by_schedule.entry(facts.schedule_id.clone()).or_default();
        let newer = siblings
            .range((at, facts.plan_id.clone())..)
            .map(|((at, _), _)| *at)
            .next();
        siblings.insert((at, facts.plan_id.clone()), plan);
        self.by_id.insert(facts.plan_id.clone(), plan);
        self.plans.push(Plan {
            schedule_id: facts.schedule_id.clone(),
            routes: facts.routes.into_iter().map(Tracked::new).collect(),
            places,
        });
        // Acknowledgements that came before their plan, by name or by time.
        let named = self
            .early
            .remove(&(facts.schedule_id.clone(), facts.plan_id))
            .unwrap_or_default();
        let open: Vec<Moment> = self
            .floating
            .get(&facts.schedule_id)
            .into_iter()
            .flat_map(|moments| moments.range((at, 0)..))
            .take_while(|(effective_at, _)| newer.is_none_or(|newer| *effective_at < newer))
            .copied()
            .collect();
        for (_, position) in named.into_iter().chain(open) {
            let undos = self.undos_of(position);
            for undo in &undos {
                self.unlink(*undo);
            }
            self.unlink(position);
            self.link(position, plan);
            for undo in undos {
                self.link_undo(undo, position);
            }
        }
    }

    fn acknowledgement_arrives(&mut self, position: u64, recorded_at: Timestamp, facts: AckFacts) {
        let effective_at = facts.answer.acknowledged_at.min(recorded_at);
        let moment = (effective_at, position);
        let plan = match &facts.plan_id {
            Some(plan_id) => self.by_id.get(plan_id).copied().filter(|plan| {
                self.plans
                    .get(*plan)
                    .is_some_and(|plan| plan.schedule_id == facts.schedule_id)
            }),
            None => self.by_schedule.get(&facts.schedule_id).and_then(|plans| {
                let until = plans
                    .iter()
                    .rev()
                    .find(|((created_at, _), _)| *created_at <= effective_at);
                until.map(|(_, plan)| *plan)
            }),
        };
        match (&facts.plan_id, plan) {
            (None, _) => {
                let floating = self.floating.entry(facts.schedule_id.clone()).or_default();
                floating.insert(moment);
            }
            (Some(plan_id), None) => {
                let key = (facts.schedule_id.clone(), plan_id.clone());
                self.early.entry(key).or_default().insert(moment);
            }
            (Some(_), Some(_)) => {}
        }
        self.places
            .insert(facts.answer.acknowledgement_id.clone(), position);
        self.acknowledgements
            .insert(position, Acknowledgement::new(facts, moment));
        if let Some(plan) = plan {
            self.link(position, plan);
        }
        // Undos that came before what they take back.
        for undo in self.undos_of(position) {
            self.link_undo(undo, position);
        }
    }

    /// An undo answers the routes that the acknowledgement answers which it takes back; none while that is not known.
    fn undo_arrives(
        &mut self,
        position: u64,
        recorded_at: Timestamp,
        facts: AckFacts,
        undone: AcknowledgementId,
    ) {
        let moment = (facts.answer.acknowledged_at.min(recorded_at), position);
        self.acknowledgements
            .insert(position, Acknowledgement::new(facts, moment));
        let target = self.places.get(&undone).copied();
        self.undos.entry(undone).or_default().insert(position);
        if let Some(target) = target {
            self.link_undo(position, target);
        }
    }

    /// The undos of an acknowledgement, in the order of the log.
    fn undos_of(&self, position: u64) -> Vec<u64> {
        self.acknowledgements
            .get(&position)
            .and_then(|undone| self.undos.get(&undone.facts.answer.acknowledgement_id))
            .map(|undos| undos.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Puts an undo into the histories in which the acknowledgement stands that it takes back.
    fn link_undo(&mut self, undo: u64, target: u64) {
        let Some((plan, places)) = self.acknowledgements.get(&target).map(|undone| {
            let places = undone.plan.and_then(|plan| self.plans.get(plan));
            (
                undone.plan,
                places.map_or_else(Vec::new, |plan| plan.places_of(&undone.facts)),
            )
        }) else {
            return;
        };
        let Some(entry) = self.acknowledgements.get_mut(&undo) else {
            return;
        };
        (entry.plan, entry.covers, entry.target) = (plan, places.len(), Some(target));
        let moment = entry.moment;
        let Some(plan) = plan.and_then(|plan| self.plans.get_mut(plan)) else {
            return;
        };
        for place in places {
            if let Some(tracked) = plan.routes.get_mut(place) {
                tracked.history.insert(moment, Transition::Stale);
                tracked.fold(&self.acknowledgements);
            }
        }
    }

    /// Puts an acknowledgement into the histories of the routes that it answers in a plan.
    fn link(&mut self, position: u64, plan: usize) {
        let (Some(acknowledgement), Some(entry)) =
            (self.acknowledgements.get_mut(&position), self.plans.get_mut(plan))
        else {
            return;
        };
        let facts = &acknowledgement.facts;
        let places = entry.places_of(facts);
        acknowledgement.plan = Some(plan);
        acknowledgement.covers = places.len();
        let (moment, said) = (acknowledgement.moment, facts.answer.said);
        for place in places {
            let Some(tracked) = entry.routes.get_mut(place) else {
                continue;
            };
            let last = tracked
                .history
                .last_key_value()
                .is_none_or(|(newest, _)| *newest < moment);
            if last {
                let effect = tracked.state.on(said);
                tracked.history.insert(moment, effect);
                if effect == Transition::Change {
                    tracked.state = said.state();
                    tracked.revision += 1;
                    tracked.answer = Some(position);
                }
            } else {
                tracked.history.insert(moment, Transition::Repeat);
                tracked.fold(&self.acknowledgements);
            }
        }
    }

    /// Takes an acknowledgement out of the histories that it stands in.
    fn unlink(&mut self, position: u64) {
        let Some(acknowledgement) = self.acknowledgements.get_mut(&position) else {
            return;
        };
        let (plan, moment) = (acknowledgement.plan.take(), acknowledgement.moment);
        let Some(entry) = plan.and_then(|plan| self.plans.get_mut(plan)) else {
            return;
        };
        for tracked in &mut entry.routes {
            if tracked.history.remove(&moment).is_some() {
                tracked.fold(&self.acknowledgements);
            }
        }
    }
}

impl Plan {
    /// The routes that an acknowledgement answers here.
    fn places_of(&self, facts: &AckFacts) -> Vec<usize> {
        match (self.places.get(facts.provider.key()), &facts.owner) {
            (None, _) => Vec::new(),
            (Some(owners), Some(owner)) => owners.get(owner.as_str()).cloned().unwrap_or_default(),
            (Some(owners), None) => owners.values().flatten().copied().collect(),
        }
    }
}

impl Acknowledgement {
    const fn new(facts: AckFacts, moment: Moment) -> Self {
        Self {
            facts,
            moment,
            plan: None,
            covers: 0,
            target: None,
        }
    }
}

impl Tracked {
    fn new(route: Route) -> Self {
        Self {
            route,
            state: StateName::Outstanding,
            answer: None,
            revision: 0,
            history: BTreeMap::new(),
        }
    }

    /// Decides the state anew from the whole history. The revision only ever grows.
    fn fold(&mut self, acknowledgements: &BTreeMap<u64, Acknowledgement>) {
        let mut folded: Fold<u64> = Fold::default();
        for ((_, position), effect) in &mut self.history {
            let Some(acknowledgement) = acknowledgements.get(position) else {
                continue;
            };
            *effect = match (&acknowledgement.facts.undoes, acknowledgement.target) {
                (None, _) => folded.acknowledge(*position, acknowledgement.facts.answer.said),
                (Some(_), Some(target)) => folded.undo(&target),
                (Some(_), None) => Transition::Stale,
            };
        }
        let (state, answer) = (folded.state(), folded.standing().copied());
        if (state, answer) != (self.state, self.answer) {
            self.revision += 1;
        }
        (self.state, self.answer) = (state, answer);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::at;

    fn plan(id: &str, created_at: &str) -> Value {
        json!({
            "session_id": id, "created_at": created_at, "schedule_id": "s",
            "metadata_kind": "go-backend-rollback-drill-notification-plan",
            "plan": { "route_decisions": [
                { "provider": "slack", "owner": "ana" },
                { "provider": "Slack", "owner": "bo" },
                { "provider": "slack", "owner": "cy", "action": "suppress" },
            ] },
        })
    }

    fn ack(id: &str, plan_id: &str, owner: &str, said: &str, when: &str) -> Value {
        json!({
            "session_id": id, "created_at": when, "schedule_id": "s",
            "metadata_kind": "go-backend-rollback-drill-notification-ack",
            "acknowledgement": { "provider": "slack", "plan_id": plan_id, "owner": owner, "acknowledgement_state": said },
        })
    }

    fn replayed(records: &[Value]) -> Replay {
        let mut replay = Replay::default();
        for (position, record) in (1..).zip(records) {
            replay
                .apply(position, at("2026-07-01T00:00:00Z"), true, record)
                .unwrap();
        }
        replay
    }

    /// Plan, owner, state, revision, effects.
    fn seen(replay: &Replay) -> Vec<String> {
        let mut lines: Vec<String> = replay
            .routes()
            .iter()
            .map(|(tracked, history)| {
                format!(
                    "{} {} {} {} {}",
                    tracked.route.plan_id,
                    tracked.route.owner.as_str(),
                    tracked.state().map_or("-", StateName::as_str),
                    tracked.status.revision,
                    history.len()
                )
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_answer_without_an_owner_is_everybodys_and_suppressed_routes_have_none() {
        let replay = replayed(&[
            plan("p1", "2026-06-01T00:00:00Z"),
            ack("a1", "p1", "", "acknowledged", "2026-06-01T01:00:00Z"),
            ack("a2", "p1", "bo", "resolved", "2026-06-01T02:00:00Z"),
        ]);
        assert_eq!(
            seen(&replay),
            ["p1 ana acknowledged 1 1", "p1 bo resolved 2 2", "p1 cy - 0 0"]
        );
        assert_eq!((replay.record_count(), replay.orphan_count()), (3, 0));
    }

    #[test]
    fn an_answer_may_come_before_its_plan_and_a_floating_one_moves_to_a_plan_in_between() {
        let early = [
            ack("a1", "p1", "ana", "resolved", "2026-06-01T01:00:00Z"),
            ack("a2", "p9", "ana", "resolved", "2026-06-01T01:00:00Z"),
            plan("p1", "2026-06-01T00:00:00Z"),
        ];
        let replay = replayed(&early);
        assert_eq!(replay.orphan_count(), 1);
        assert_eq!(seen(&replay)[0], "p1 ana resolved 1 1");
        let moving = [
            plan("p1", "2026-06-01T00:00:00Z"),
            ack("a1", "", "ana", "resolved", "2026-06-03T00:00:00Z"),
            plan("p2", "2026-06-02T00:00:00Z"),
        ];
        let replay = replayed(&moving);
        let lines = seen(&replay);
        assert!(lines.contains(&"p1 ana outstanding 2 0".to_owned()), "{lines:?}");
        assert!(lines.contains(&"p2 ana resolved 1 1".to_owned()), "{lines:?}");
    }

    #[test]
    fn an_answer_that_belongs_earlier_makes_the_history_fold_anew() {
        let replay = replayed(&[
            plan("p1", "2026-06-01T00:00:00Z"),
            ack("a1", "p1", "ana", "escalated", "2026-06-01T02:00:00Z"),
            ack("a2", "p1", "ana", "resolved", "2026-06-01T01:00:00Z"),
        ]);
        assert_eq!(seen(&replay)[0], "p1 ana resolved 2 2");
        let (_, history) = replay
            .routes()
            .into_iter()
            .find(|(tracked, _)| tracked.route.owner.as_str() == "ana")
            .unwrap();
        let effects: Vec<_> = history.iter().map(|entry| entry.effect).collect();
        assert_eq!(effects, [Transition::Change, Transition::Final]);
    }

    fn undo(id: &str, undone: &str, when: &str) -> Value {
        json!({
            "session_id": id, "created_at": when, "schedule_id": "s",
            "metadata_kind": "go-backend-rollback-drill-notification-ack-undo",
            "acknowledgement_undo": {
                "acknowledgement_id": undone, "provider": "slack", "undone_state": "resolved", "reason": "a mistake",
            },
        })
    }

    #[test]
    fn an_undo_takes_back_what_stands_and_nothing_else_whenever_it_comes() {
        use Transition::{Change, Stale, Undo};

        let (plan, early, late) = (
            plan("p1", "2026-06-01T00:00:00Z"),
            ack("a1", "p1", "ana", "escalated", "2026-06-01T01:00:00Z"),
            ack("a2", "p1", "ana", "resolved", "2026-06-01T02:00:00Z"),
        );
        let stale = undo("u1", "a1", "2026-06-01T03:00:00Z");
        let good = undo("u2", "a2", "2026-06-01T04:00:00Z");
        let orders = [
            [&plan, &early, &late, &stale, &good],
            [&good, &stale, &plan, &late, &early],
            [&early, &good, &late, &stale, &plan],
        ];
        for order in orders {
            let replay = replayed(&order.map(Clone::clone));
            assert_eq!((replay.record_count(), replay.orphan_count()), (5, 0));
            let routes = replay.routes();
            let (tracked, history) = routes
                .iter()
                .find(|(tracked, _)| tracked.route.owner.as_str() == "ana")
                .unwrap();
            assert_eq!(tracked.state(), Some(StateName::Escalated));
            let effects: Vec<_> = history.iter().map(|entry| entry.effect).collect();
            assert_eq!(effects, [Change, Change, Stale, Undo]);
            assert!(history[3].undoes.is_some() && history[1].undoes.is_none());
        }
        let alone = replayed(&[plan, undo("u1", "a1", "2026-06-01T03:00:00Z")]);
        assert_eq!((alone.record_count(), alone.orphan_count()), (2, 1));
    }

    #[test]
    fn a_record_that_cannot_be_understood_changes_nothing() {
        let mut replay = replayed(&[plan("p1", "2026-06-01T00:00:00Z")]);
        let broken =
            json!({ "session_id": "a", "metadata_kind": "go-backend-rollback-drill-notification-ack" });
        assert!(
            replay
                .apply(2, at("2026-07-01T00:00:00Z"), false, &broken)
                .is_err()
        );
        assert_eq!((replay.record_count(), replay.routes().len()), (1, 3));
    }
}

//! State from evidence alone: every route with its history, from plans and acknowledgements in log order.
//!
//! This is what an auditor has who has the records and no database. Storage does the same with tables, one record
//! at a time; a test holds the two against each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::acknowledgement::HistoryEntry;
use crate::id::{PlanId, ScheduleId};
use crate::record::{AckFacts, PlanFacts, Projection, RecordError, interpret};
use crate::route::{Route, RouteStatus, StateName, TrackedRoute, Transition};
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
            Projection::Acknowledgement(facts) => self.acknowledgement_arrives(position, recorded_at, *facts),
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
        let current: BTreeSet<usize> = self
            .by_schedule
            .values()
            .filter_map(|plans| plans.last_key_value().map(|(_, plan)| *plan))
            .collect();
        let mut routes: Vec<_> = self
            .plans
            .iter()
            .enumerate()
            .flat_map(|(plan, entry)| entry.routes.iter().map(move |tracked| (plan, tracked)))
            .map(|(plan, tracked)| self.seen(tracked, current.contains(&plan)))
            .collect();
        routes.sort_by(|(a, _), (b, _)| {
            let key = |tracked: &TrackedRoute| (tracked.route.created_at, tracked.route.route_id.clone());
            key(b).cmp(&key(a))
        });
        routes
    }

    fn seen(&self, tracked: &Tracked, current: bool) -> (TrackedRoute, Vec<HistoryEntry>) {
        let answer = |position: &u64| {
            self.acknowledgements
                .get(position)
                .map(|acknowledgement| acknowledgement.facts.answer.clone())
        };
        let history = tracked
            .history
            .iter()
            .filter_map(|((_, position), effect)| {
                Some(HistoryEntry {
                    answer: answer(position)?,
                    effect: *effect,
                })
            })
            .collect();
        let route = TrackedRoute {
            route: tracked.route.clone(),
            status: RouteStatus {
                answer: tracked.answer.as_ref().and_then(answer),
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
            self.unlink(position);
            self.link(position, plan);
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
        self.acknowledgements.insert(
            position,
            Acknowledgement {
                facts,
                moment,
                plan: None,
                covers: 0,
            },
        );
        if let Some(plan) = plan {
            self.link(position, plan);
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
        let owners = entry.places.get(facts.provider.key());
        let places: Vec<usize> = match (owners, &facts.owner) {
            (None, _) => Vec::new(),
            (Some(owners), Some(owner)) => owners.get(owner.as_str()).cloned().unwrap_or_default(),
            (Some(owners), None) => owners.values().flatten().copied().collect(),
        };
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
        let (mut state, mut answer) = (StateName::Outstanding, None);
        for ((_, position), effect) in &mut self.history {
            let Some(acknowledgement) = acknowledgements.get(position) else {
                continue;
            };
            let said = acknowledgement.facts.answer.said;
            *effect = state.on(said);
            if *effect == Transition::Change {
                state = said.state();
                answer = Some(*position);
            }
        }
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

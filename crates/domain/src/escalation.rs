//! The escalation plan: which routes need somebody now (contract wire 1.15, 3.2).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::actor::Actor;
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::{EscalationPlanId, PlanId, ScheduleId};
use crate::public_safe::Text;
use crate::route::{
    DEFAULT_ACKNOWLEDGEMENT_MINUTES, Level, Provider, RouteCounts, StateName, TrackedRoute, text_enum,
};
use crate::time::Timestamp;

/// Schema of the plan.
pub const ESCALATION_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-notification-escalation-plan.v1";

text_enum! {
    /// What to do about a route (contract wire 3.2).
    RecommendedAction {
        /// Breached: escalate.
        Escalate = "escalate_missed_drill_notification",
        /// Not answered yet, within its time.
        Wait = "wait_for_acknowledgement",
        /// Answered.
        None = "no_action",
    }
}

/// Minutes that replace those of the routes, for one plan: the policy of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EscalationPolicy {
    /// Acknowledgement minutes for every route; none keeps each route's own.
    pub acknowledgement_minutes: Option<u32>,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` must be a whole number of minutes from 1 to 5256000")]
pub struct EscalationPolicyError {
    /// The member of the policy.
    pub field: &'static str,
}

impl EscalationPolicy {
    /// Ten years: more is no deadline.
    pub const MAX_MINUTES: u64 = 5_256_000;

    /// Reads `acknowledgement_minutes`, or else `default_slo.acknowledgement_minutes`.
    ///
    /// # Errors
    /// [`EscalationPolicyError`] when the number is not within 1 to [`EscalationPolicy::MAX_MINUTES`].
    pub fn parse(own: Option<u64>, default_slo: Option<u64>) -> Result<Self, EscalationPolicyError> {
        let check = |field, minutes: Option<u64>| match minutes {
            None => Ok(None),
            Some(minutes) if (1..=Self::MAX_MINUTES).contains(&minutes) => Ok(u32::try_from(minutes).ok()),
            Some(_) => Err(EscalationPolicyError { field }),
        };
        let own = check("acknowledgement_minutes", own)?;
        let default_slo = check("default_slo/acknowledgement_minutes", default_slo)?;
        Ok(Self {
            acknowledgement_minutes: own.or(default_slo),
        })
    }

    /// The route with the policy's minutes in place of its own. Breach is then decided as everywhere.
    #[must_use]
    pub fn applied_to(&self, mut tracked: TrackedRoute) -> TrackedRoute {
        if let Some(minutes) = self.acknowledgement_minutes {
            tracked.route.acknowledgement_minutes = minutes;
        }
        tracked
    }
}

/// One route in an escalation plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EscalationRoute {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The cycle.
    pub plan_id: PlanId,
    /// The provider.
    pub provider: Provider,
    /// The owner.
    pub owner: Text,
    /// Who is told when the owner does not answer.
    pub escalation_owner: Text,
    /// State.
    pub acknowledgement_state: StateName,
    /// Acknowledged or resolved.
    pub acknowledged: bool,
    /// Minutes since the clock began, rounded to hundredths; negative when the plan is dated ahead.
    pub age_minutes: f64,
    /// The minutes that were applied.
    pub acknowledgement_minutes: u32,
    /// Outstanding or escalated, and past the deadline.
    pub breached: bool,
    /// What to do.
    pub recommended_action: RecommendedAction,
}

impl EscalationRoute {
    /// The entry of a route; `None` for a suppressed one.
    pub fn new(tracked: &TrackedRoute, now: Timestamp) -> Option<Self> {
        let state = tracked.state()?;
        let breached = tracked.breached(now);
        let recommended_action = match (breached, state) {
            (true, _) => RecommendedAction::Escalate,
            (false, StateName::Outstanding | StateName::Escalated) => RecommendedAction::Wait,
            (false, StateName::Acknowledged | StateName::Dismissed | StateName::Resolved) => {
                RecommendedAction::None
            }
        };
        let route = &tracked.route;
        Some(Self {
            schedule_id: route.schedule_id.clone(),
            plan_id: route.plan_id.clone(),
            provider: route.provider.clone(),
            owner: route.owner.clone(),
            escalation_owner: route.escalation_owner.clone(),
            acknowledgement_state: state,
            acknowledged: state.is_acknowledged(),
            age_minutes: now.minutes_since(route.created_at),
            acknowledgement_minutes: route.acknowledgement_minutes,
            breached,
            recommended_action,
        })
    }
}

/// The escalation plan over every current route.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EscalationPlan {
    /// [`ESCALATION_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This plan.
    pub plan_id: EscalationPlanId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Display name of the actor.
    pub generated_by: Text,
    /// The level of its routes.
    pub alert_level: Level,
    /// The policy's minutes; 60 when the policy named none and each route kept its own.
    pub acknowledgement_minutes: u32,
    /// Whether the policy's minutes replaced those of the routes.
    pub policy_applied: bool,
    /// Routes. The five state counts add up to it.
    pub route_count: u64,
    /// Routes in this state.
    pub outstanding_count: u64,
    /// Routes in this state.
    pub acknowledged_count: u64,
    /// Routes in this state.
    pub escalated_count: u64,
    /// Routes in this state.
    pub dismissed_count: u64,
    /// Routes in this state.
    pub resolved_count: u64,
    /// Outstanding or escalated routes past their deadline.
    pub breached_count: u64,
    /// The routes.
    pub routes: Vec<EscalationRoute>,
    /// Who made it.
    pub actor: Actor,
}

impl EscalationPlan {
    /// The plan over current routes; suppressed ones are not part of it.
    pub fn build(
        plan_id: EscalationPlanId,
        generated_at: Timestamp,
        actor: Actor,
        policy: EscalationPolicy,
        routes: impl IntoIterator<Item = TrackedRoute>,
    ) -> Self {
        let mut counts = RouteCounts::default();
        let mut entries = Vec::new();
        for tracked in routes {
            let tracked = policy.applied_to(tracked);
            if let Some(entry) = EscalationRoute::new(&tracked, generated_at) {
                counts.add(tracked.state(), 1, u64::from(entry.breached));
                entries.push(entry);
            }
        }
        Self {
            schema_version: ESCALATION_SCHEMA,
            product: PRODUCT,
            plan_id,
            generated_at,
            generated_by: actor.actor.clone(),
            alert_level: counts.level(),
            acknowledgement_minutes: policy
                .acknowledgement_minutes
                .unwrap_or(DEFAULT_ACKNOWLEDGEMENT_MINUTES),
            policy_applied: policy.acknowledgement_minutes.is_some(),
            route_count: counts.route_count,
            outstanding_count: counts.outstanding,
            acknowledged_count: counts.acknowledged,
            escalated_count: counts.escalated,
            dismissed_count: counts.dismissed,
            resolved_count: counts.resolved,
            breached_count: counts.breached,
            routes: entries,
            actor,
        }
    }

    /// The evidence record that holds the document.
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::EscalationPlan,
            session_id: self.plan_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: self.route_count,
            blocked_count: self.breached_count,
            approval_required_count: self.outstanding_count,
            fields: vec![
                ("plan_id", json!(self.plan_id)),
                ("alert_level", json!(self.alert_level)),
            ],
            payload: (
                "escalation_plan",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

/// What history shows of the newest escalation plan: its record, with the routes as they are at `now` (contract
/// decisions 13). `routes` are the current routes, the newest plan's policy still applies.
pub fn shown_now(record: &mut Value, now: Timestamp, routes: impl IntoIterator<Item = TrackedRoute>) {
    let Some(Value::Object(plan)) = record.get_mut(EvidenceKind::EscalationPlan.payload_key()) else {
        return;
    };
    let applied = plan
        .get("policy_applied")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let minutes = plan.get("acknowledgement_minutes").and_then(Value::as_u64);
    let policy = if applied {
        EscalationPolicy::parse(minutes, None).unwrap_or_default()
    } else {
        EscalationPolicy::default()
    };
    let mut counts = RouteCounts::default();
    let mut entries = Vec::new();
    for tracked in routes {
        let tracked = policy.applied_to(tracked);
        if let Some(entry) = EscalationRoute::new(&tracked, now) {
            counts.add(tracked.state(), 1, u64::from(entry.breached));
            entries.push(entry);
        }
    }
    plan.insert("alert_level".into(), json!(counts.level()));
    plan.insert("route_count".into(), json!(counts.route_count));
    plan.insert("outstanding_count".into(), json!(counts.outstanding));
    plan.insert("acknowledged_count".into(), json!(counts.acknowledged));
    plan.insert("escalated_count".into(), json!(counts.escalated));
    plan.insert("dismissed_count".into(), json!(counts.dismissed));
    plan.insert("resolved_count".into(), json!(counts.resolved));
    plan.insert("breached_count".into(), json!(counts.breached));
    plan.insert("routes".into(), json!(entries));
    plan.insert("routes_as_of".into(), json!(now));
    if let Value::Object(record) = record {
        record.insert("alert_level".into(), json!(counts.level()));
    }
}

/// What history shows of an older escalation plan: its record without the routes, which would otherwise stand
/// beside those of the newest one as if they were other routes; the answer says how many are left out.
pub fn shown_superseded(record: &mut Value, newest: &str) {
    let Some(Value::Object(plan)) = record.get_mut(EvidenceKind::EscalationPlan.payload_key()) else {
        return;
    };
    let omitted = plan
        .insert("routes".into(), json!([]))
        .and_then(|routes| routes.as_array().map(Vec::len))
        .unwrap_or_default();
    plan.insert("routes_omitted".into(), json!(omitted));
    plan.insert("superseded_by".into(), json!(newest));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acknowledgement::AckState;
    use crate::record::{Projection, interpret};
    use crate::route::{Route, RouteCategory};
    use crate::testing::{about_now, actor, any_routes, now, route, suppressed, tracked};

    fn id() -> EscalationPlanId {
        EscalationPlanId::parse("gordesc-1").unwrap()
    }

    fn plan(policy: EscalationPolicy, at: Timestamp, routes: Vec<TrackedRoute>) -> EscalationPlan {
        EscalationPlan::build(id(), at, actor("ana"), policy, routes)
    }

    const OWN: EscalationPolicy = EscalationPolicy {
        acknowledgement_minutes: None,
    };

    /// One route in every state, and a suppressed one.
    fn one_in_each_state() -> Vec<TrackedRoute> {
        let open = |over| route("sched-a", over, "ana");
        let mut routes: Vec<_> = [
            AckState::Acknowledged,
            AckState::Dismissed,
            AckState::Escalated,
            AckState::Resolved,
        ]
        .into_iter()
        .map(|said| tracked(open(said.as_str()), &[said]))
        .collect();
        routes.push(tracked(open("nobody"), &[]));
        routes.push(tracked(
            suppressed(open("away"), RouteCategory::OwnerCalendar),
            &[],
        ));
        routes
    }

    /// What the plan recommends for each route, by its state.
    fn recommended(plan: &EscalationPlan) -> Vec<(&str, &str)> {
        plan.routes
            .iter()
            .map(|route| {
                (
                    route.acknowledgement_state.as_str(),
                    route.recommended_action.as_str(),
                )
            })
            .collect()
    }

    #[test]
    fn an_open_route_waits_until_its_deadline_and_is_escalated_from_then_on() {
        let (wait, escalate, none) = (
            "wait_for_acknowledgement",
            "escalate_missed_drill_notification",
            "no_action",
        );
        let deadline = now().plus_minutes(60);
        let before = plan(OWN, deadline.plus_micros(-1), one_in_each_state());
        let after = plan(OWN, deadline, one_in_each_state());
        let expected = |open| {
            [
                ("acknowledged", none),
                ("dismissed", none),
                ("escalated", open),
                ("resolved", none),
                ("outstanding", open),
            ]
        };
        assert_eq!(recommended(&before), expected(wait));
        assert_eq!(recommended(&after), expected(escalate));
        assert_eq!((before.breached_count, after.breached_count), (0, 2));
    }

    #[test]
    fn the_policy_replaces_the_minutes_of_every_route_for_this_plan() {
        let open = vec![tracked(route("sched-a", "slack", "ana"), &[])];
        let at = now().plus_minutes(30);
        let own = plan(OWN, at, open.clone());
        assert_eq!(
            (own.acknowledgement_minutes, own.policy_applied, own.alert_level),
            (60, false, Level::Warning)
        );
        let policy = EscalationPolicy {
            acknowledgement_minutes: Some(30),
        };
        let short = plan(policy, at, open);
        assert_eq!((short.acknowledgement_minutes, short.policy_applied), (30, true));
        assert_eq!(
            (short.routes[0].acknowledgement_minutes, short.routes[0].breached),
            (30, true)
        );
        assert_eq!(short.alert_level, Level::Critical);
    }

    #[test]
    fn a_policy_counts_its_own_minutes_before_the_default_slo_within_ten_years() {
        let parse = EscalationPolicy::parse;
        let minutes = |own, slo| parse(own, slo).map(|policy| policy.acknowledgement_minutes);
        assert_eq!(minutes(None, None), Ok(None));
        assert_eq!(minutes(None, Some(5)), Ok(Some(5)));
        assert_eq!(minutes(Some(9), Some(5)), Ok(Some(9)));
        assert_eq!(minutes(Some(1), None), Ok(Some(1)));
        assert_eq!(
            minutes(Some(EscalationPolicy::MAX_MINUTES), None),
            Ok(Some(5_256_000))
        );
        for wrong in [0, EscalationPolicy::MAX_MINUTES + 1, u64::MAX] {
            let refused = |own, slo| parse(own, slo).unwrap_err().to_string();
            assert_eq!(
                refused(Some(wrong), None),
                "`acknowledgement_minutes` must be a whole number of minutes from 1 to 5256000"
            );
            assert!(
                refused(Some(5), Some(wrong)).starts_with("`default_slo/acknowledgement_minutes` must be")
            );
        }
    }

    #[test]
    fn a_plan_dated_ahead_has_a_negative_age_and_no_breach() {
        let entry = EscalationRoute::new(
            &tracked(route("sched-a", "slack", "ana"), &[]),
            now().plus_micros(-90_000_000),
        );
        let entry = entry.unwrap();
        assert_eq!((json!(entry.age_minutes), entry.breached), (json!(-1.5), false));
    }

    #[test]
    fn the_record_of_a_plan_counts_its_routes_and_says_nothing_about_their_state() {
        let plan = plan(OWN, now().plus_minutes(60), one_in_each_state());
        let record = plan.record().into_value();
        assert_eq!(
            ["decision_count", "blocked_count", "approval_required_count"].map(|key| record[key].as_u64()),
            [Some(5), Some(2), Some(1)]
        );
        assert_eq!(
            record["escalation_plan"]["routes"][4]["recommended_action"],
            "escalate_missed_drill_notification"
        );
        let read = interpret(&record, Timestamp::EPOCH).unwrap();
        assert!(matches!(read.projection, Projection::None));
        assert_eq!(
            (read.kind, read.session_id.as_str()),
            (EvidenceKind::EscalationPlan, "gordesc-1")
        );
    }

    #[test]
    fn the_newest_plan_is_shown_with_the_routes_as_they_are_now() {
        let made = plan(OWN, now(), vec![tracked(route("sched-a", "slack", "ana"), &[])]);
        let mut record = made.record().into_value();
        let later = now().plus_minutes(61);
        let current = vec![
            tracked(route("sched-a", "slack", "ana"), &[AckState::Acknowledged]),
            tracked(route("sched-a", "slack", "ben"), &[]),
        ];
        shown_now(&mut record, later, current.clone());
        let expected = plan(OWN, later, current);
        let shown = &record["escalation_plan"];
        assert_eq!(shown["routes"], json!(expected.routes));
        assert_eq!(
            (&record["alert_level"], &shown["alert_level"]),
            (&json!("critical"), &json!("critical"))
        );
        assert_eq!(
            (&shown["routes_as_of"], &shown["generated_at"]),
            (&json!(later), &json!(now()))
        );
        assert_eq!(
            (&shown["route_count"], &shown["breached_count"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(
            (&record["session_id"], &record["created_at"]),
            (&json!("gordesc-1"), &json!(now()))
        );
    }

    #[test]
    fn the_policy_of_the_newest_plan_still_applies_when_it_is_shown() {
        let policy = EscalationPolicy {
            acknowledgement_minutes: Some(10),
        };
        let open = || vec![tracked(route("sched-a", "slack", "ana"), &[])];
        let mut record = plan(policy, now(), open()).record().into_value();
        shown_now(&mut record, now().plus_minutes(10), open());
        let shown = &record["escalation_plan"]["routes"][0];
        assert_eq!(
            (&shown["acknowledgement_minutes"], &shown["breached"]),
            (&json!(10), &json!(true))
        );
        // A published plan says no such thing: its 60 minutes are a default, each route keeps its own.
        let mut published = json!({ "escalation_plan": { "acknowledgement_minutes": 10, "routes": [] } });
        shown_now(&mut published, now().plus_minutes(10), open());
        assert_eq!(
            published["escalation_plan"]["routes"][0]["acknowledgement_minutes"],
            60
        );
    }

    #[test]
    fn an_older_plan_is_shown_without_its_routes_and_says_how_many_there_were() {
        let mut record = plan(OWN, now(), one_in_each_state()).record().into_value();
        let before: Vec<_> = record["escalation_plan"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        shown_superseded(&mut record, "gordesc-2");
        let shown = &record["escalation_plan"];
        assert_eq!(
            (&shown["routes"], &shown["routes_omitted"]),
            (&json!([]), &json!(5))
        );
        assert_eq!(
            (&shown["superseded_by"], &shown["route_count"]),
            (&json!("gordesc-2"), &json!(5))
        );
        // The published fields keep their order; the new ones stand at the end.
        let after: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            after,
            [before, vec!["routes_omitted".into(), "superseded_by".into()]].concat()
        );
    }

    #[test]
    fn a_record_without_a_plan_is_shown_as_it_is() {
        for record in [
            json!({ "session_id": "s-1" }),
            json!({ "escalation_plan": "gordesc-1" }),
            json!([]),
        ] {
            let (mut now_shown, mut superseded) = (record.clone(), record.clone());
            shown_now(&mut now_shown, now(), one_in_each_state());
            shown_superseded(&mut superseded, "gordesc-2");
            assert_eq!((&now_shown, &superseded), (&record, &record));
        }
        let mut bare = json!({ "escalation_plan": {} });
        shown_superseded(&mut bare, "gordesc-2");
        assert_eq!(bare["escalation_plan"]["routes_omitted"], 0);
    }

    proptest! {
        #[test]
        fn the_states_of_a_plan_partition_its_routes_and_no_suppressed_route_is_in_it(
            routes in any_routes(), minutes in proptest::option::of(1..300_u32), at in about_now(),
        ) {
            let policy = EscalationPolicy { acknowledgement_minutes: minutes };
            let plan = plan(policy, at, routes.clone());
            let awaited: Vec<Route> =
                routes.into_iter().map(|tracked| tracked.route).filter(Route::awaits).collect();
            prop_assert_eq!(plan.routes.len(), awaited.len());
            prop_assert_eq!(plan.route_count, awaited.len() as u64);
            prop_assert_eq!(
                plan.outstanding_count + plan.acknowledged_count + plan.escalated_count + plan.dismissed_count
                    + plan.resolved_count,
                plan.route_count
            );
            let escalated = plan.routes.iter().filter(|route| route.recommended_action == RecommendedAction::Escalate);
            prop_assert_eq!(escalated.count() as u64, plan.breached_count);
            for (entry, route) in plan.routes.iter().zip(&awaited) {
                prop_assert_eq!(entry.acknowledgement_minutes, minutes.unwrap_or(route.acknowledgement_minutes));
                prop_assert_eq!(entry.breached, entry.recommended_action == RecommendedAction::Escalate);
            }
        }
    }
}

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

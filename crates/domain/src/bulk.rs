//! Bulk acknowledgement: a selection of routes, and exactly one outcome for each (contract decisions 5).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::acknowledgement::{AckState, AcknowledgementDocument};
use crate::actor::Actor;
use crate::evidence::{EvidenceKind, MetadataRecord};
use crate::id::{AcknowledgementId, BulkId, PlanId, RouteId, ScheduleId};
use crate::public_safe::Text;
use crate::route::{Provider, StateName, TrackedRoute, Transition, text_enum};
use crate::time::Timestamp;

/// Most routes that one request may list; a filter has no such limit.
pub const MAX_LISTED_ROUTES: usize = 10_000;

/// Schema of the bulk response and of its record.
pub const BULK_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-bulk-acknowledgement.v1";

text_enum! {
    /// What a bulk does about routes that it cannot change.
    BulkMode {
        /// Any refused or unknown route stops the whole bulk, and nothing is written.
        Strict = "strict",
        /// What can be changed is changed; the rest is reported.
        BestEffort = "best_effort",
    }
}

text_enum! {
    /// What a bulk did to one route.
    Outcome {
        /// The state changed.
        Changed = "changed",
        /// The route had that state already; nothing was written.
        Already = "already",
        /// The route may not be changed; the reason says why.
        Refused = "refused",
        /// No such route.
        NotFound = "not_found",
    }
}

text_enum! {
    /// Why a route was not changed.
    OutcomeReason {
        /// It was changed.
        None = "",
        /// It has this state already.
        AlreadyInState = "already_in_state",
        /// Resolved is final; undo is the only way back.
        ResolvedIsFinal = "resolved_is_final",
        /// The route is suppressed and waits for no acknowledgement.
        Suppressed = "suppressed",
        /// A newer plan has begun a new cycle.
        Superseded = "superseded",
        /// No such schedule.
        UnknownSchedule = "unknown_schedule",
        /// The schedule has no such plan.
        UnknownPlan = "unknown_plan",
        /// The cycle has no route for this provider and owner.
        UnknownRoute = "unknown_route",
    }
}

/// One listed route of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRoute {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The provider.
    pub provider: Provider,
    /// The owner; none for every owner of the provider in the cycle.
    pub owner: Option<Text>,
    /// The cycle; none for the current one.
    pub plan_id: Option<PlanId>,
    /// The route's own reference, before the shared one.
    pub external_ref: Option<Text>,
    /// The route's own notes, before the shared ones.
    pub notes: Option<Text>,
}

/// What storage found for one listed route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The routes that it names, suppressed ones included.
    Routes(Vec<TrackedRoute>),
    /// None, and why.
    Nothing(OutcomeReason),
}

/// Two listed routes name the same route with different references or notes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`routes/{first}` and `routes/{second}` name the same route with different references or notes")]
pub struct ConflictingRoutes {
    /// Index of the first.
    pub first: usize,
    /// Index of the second.
    pub second: usize,
}

/// One element of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// A route, with the index of the listed route that named it.
    Route(Box<TrackedRoute>, Option<usize>),
    /// A listed route that names nothing, with its index and the reason.
    Nothing(usize, OutcomeReason),
}

/// The routes that a bulk is about, each once, in the order of the request.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The elements.
    pub elements: Vec<Selected>,
    /// How many listed routes named only routes that an earlier one had named.
    pub repeated: u64,
}

impl Selection {
    /// The selection of a list. `found` holds what storage found, one entry per listed route.
    ///
    /// A listed route without an owner means every owner whose route is delivered; only when none is, the
    /// suppressed ones stand in the selection, to be refused by name.
    ///
    /// # Errors
    /// [`ConflictingRoutes`] when two entries give one route different references or notes.
    pub fn listed(listed: &[ListedRoute], found: Vec<Found>) -> Result<Self, ConflictingRoutes> {
        let mut seen: BTreeMap<RouteId, usize> = BTreeMap::new();
        let mut missing: BTreeMap<(&ScheduleId, &str, Option<&Text>, Option<&PlanId>), usize> = BTreeMap::new();
        let mut selection = Self::default();
        for (index, (item, found)) in listed.iter().zip(found).enumerate() {
            let routes = match found {
                Found::Nothing(reason) => {
                    let key = (&item.schedule_id, item.provider.key(), item.owner.as_ref(), item.plan_id.as_ref());
                    if missing.insert(key, index).is_some() {
                        selection.repeated += 1;
                    } else {
                        selection.elements.push(Selected::Nothing(index, reason));
                    }
                    continue;
                }
                Found::Routes(routes) => routes,
            };
            let any_delivered = routes.iter().any(|tracked| tracked.route.awaits());
            let mut fresh = false;
            for tracked in routes {
                if any_delivered && item.owner.is_none() && !tracked.route.awaits() {
                    continue;
                }
                match seen.get(&tracked.route.route_id) {
                    None => {
                        fresh = true;
                        seen.insert(tracked.route.route_id.clone(), index);
                        selection.elements.push(Selected::Route(Box::new(tracked), Some(index)));
                    }
                    Some(&first) => {
                        let same = listed
                            .get(first)
                            .is_some_and(|other| other.external_ref == item.external_ref && other.notes == item.notes);
                        if !same {
                            return Err(ConflictingRoutes { first, second: index });
                        }
                    }
                }
            }
            if !fresh {
                selection.repeated += 1;
            }
        }
        Ok(selection)
    }

    /// The selection of a filter: routes as storage lists them, each once.
    pub fn filtered(routes: Vec<TrackedRoute>) -> Self {
        Self {
            elements: routes.into_iter().map(|tracked| Selected::Route(Box::new(tracked), None)).collect(),
            repeated: 0,
        }
    }
}

/// What a bulk does to one route: the same transition rule as for a single acknowledgement, and only current
/// routes that wait for an answer.
pub fn decide(tracked: &TrackedRoute, said: AckState) -> (Outcome, OutcomeReason) {
    let Some(state) = tracked.state() else {
        return (Outcome::Refused, OutcomeReason::Suppressed);
    };
    if !tracked.current {
        return (Outcome::Refused, OutcomeReason::Superseded);
    }
    match state.on(said) {
        Transition::Change => (Outcome::Changed, OutcomeReason::None),
        Transition::Repeat => (Outcome::Already, OutcomeReason::AlreadyInState),
        Transition::Final => (Outcome::Refused, OutcomeReason::ResolvedIsFinal),
    }
}

/// The outcome of one route, as the response and the record write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RouteOutcome {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The provider.
    pub provider: Provider,
    /// The owner; empty when a listed route without an owner named nothing.
    pub owner: Text,
    /// The cycle; empty when it is unknown.
    pub plan_id: String,
    /// The state before; empty for a suppressed or unknown route.
    pub previous_state: &'static str,
    /// The state now; empty for a suppressed or unknown route.
    pub state: &'static str,
    /// What was done.
    pub outcome: Outcome,
    /// Why nothing was, if nothing was.
    pub reason: OutcomeReason,
    /// The acknowledgement that changed it; empty when none did, and in a dry run.
    pub acknowledgement_id: String,
}

/// Counts of outcomes; they partition the selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct OutcomeCounts {
    /// Elements of the selection.
    pub matched_count: u64,
    /// Of those, changed.
    pub changed_count: u64,
    /// Of those, in that state already.
    pub already_count: u64,
    /// Of those, refused.
    pub refused_count: u64,
    /// Of those, unknown.
    pub not_found_count: u64,
}

impl OutcomeCounts {
    /// Counts one outcome.
    pub fn add(&mut self, outcome: Outcome) {
        self.matched_count += 1;
        match outcome {
            Outcome::Changed => self.changed_count += 1,
            Outcome::Already => self.already_count += 1,
            Outcome::Refused => self.refused_count += 1,
            Outcome::NotFound => self.not_found_count += 1,
        }
    }
}

/// What a bulk says about every route that it changes.
#[derive(Debug, Clone)]
pub struct BulkAnswer {
    /// This bulk.
    pub bulk_id: BulkId,
    /// What it says.
    pub said: AckState,
    /// Who says it.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// The shared reference.
    pub external_ref: Text,
    /// The shared notes.
    pub notes: Text,
}

/// A decided bulk: nothing is written yet.
#[derive(Debug, Clone)]
pub struct BulkDecision {
    /// One outcome per element of the selection, in its order.
    pub outcomes: Vec<RouteOutcome>,
    /// One acknowledgement per changed route, in the same order.
    pub acknowledgements: Vec<AcknowledgementDocument>,
    /// The counts.
    pub counts: OutcomeCounts,
}

impl BulkDecision {
    /// Whether strict mode has to stop: something is refused or unknown.
    pub const fn is_blocked(&self) -> bool {
        self.counts.refused_count > 0 || self.counts.not_found_count > 0
    }
}

/// Decides a bulk: one outcome per element of the selection, one acknowledgement per changed route.
///
/// `new_id` gives the id of each acknowledgement.
pub fn decide_bulk(
    selection: &Selection,
    listed: &[ListedRoute],
    answer: &BulkAnswer,
    mut new_id: impl FnMut() -> AcknowledgementId,
) -> BulkDecision {
    let mut decision =
        BulkDecision { outcomes: Vec::new(), acknowledgements: Vec::new(), counts: OutcomeCounts::default() };
    for element in &selection.elements {
        let outcome = match element {
            Selected::Nothing(index, reason) => {
                let Some(item) = listed.get(*index) else { continue };
                RouteOutcome {
                    schedule_id: item.schedule_id.clone(),
                    provider: item.provider.clone(),
                    owner: item.owner.clone().unwrap_or_default(),
                    plan_id: item.plan_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                    previous_state: "",
                    state: "",
                    outcome: Outcome::NotFound,
                    reason: *reason,
                    acknowledgement_id: String::new(),
                }
            }
            Selected::Route(tracked, index) => {
                let (outcome, reason) = decide(tracked, answer.said);
                let previous = tracked.state().map_or("", StateName::as_str);
                let mut acknowledgement_id = String::new();
                if outcome == Outcome::Changed {
                    let item = index.and_then(|index| listed.get(index));
                    let document = acknowledgement(tracked, item, answer, new_id());
                    acknowledgement_id = document.acknowledgement_id.to_string();
                    decision.acknowledgements.push(document);
                }
                let route = &tracked.route;
                RouteOutcome {
                    schedule_id: route.schedule_id.clone(),
                    provider: route.provider.clone(),
                    owner: route.owner.clone(),
                    plan_id: route.plan_id.to_string(),
                    previous_state: previous,
                    state: if outcome == Outcome::Changed { answer.said.state().as_str() } else { previous },
                    outcome,
                    reason,
                    acknowledgement_id,
                }
            }
        };
        decision.counts.add(outcome.outcome);
        decision.outcomes.push(outcome);
    }
    decision
}

fn acknowledgement(
    tracked: &TrackedRoute,
    item: Option<&ListedRoute>,
    answer: &BulkAnswer,
    acknowledgement_id: AcknowledgementId,
) -> AcknowledgementDocument {
    let own = |own: Option<&Text>, shared: &Text| own.filter(|text| !text.as_str().is_empty()).unwrap_or(shared).clone();
    AcknowledgementDocument {
        schema_version: crate::acknowledgement::ACKNOWLEDGEMENT_SCHEMA,
        product: crate::evidence::PRODUCT,
        acknowledgement_id,
        schedule_id: tracked.route.schedule_id.clone(),
        plan_id: tracked.route.plan_id.clone(),
        provider: tracked.route.provider.clone(),
        owner: tracked.route.owner.clone(),
        acknowledged_by: answer.actor.actor.clone(),
        acknowledgement_state: answer.said,
        acknowledged_at: answer.at,
        external_ref: own(item.and_then(|item| item.external_ref.as_ref()), &answer.external_ref),
        notes: own(item.and_then(|item| item.notes.as_ref()), &answer.notes),
        actor: answer.actor.clone(),
        bulk_id: Some(answer.bulk_id.clone()),
    }
}

/// The bulk's own record: what was asked, by whom, and what became of it. The changed routes stand in the
/// acknowledgements that carry its id; every other outcome stands here.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BulkDocument {
    /// [`BULK_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This bulk.
    pub bulk_id: BulkId,
    /// What it says.
    pub acknowledgement_state: AckState,
    /// Display name of the actor.
    pub acknowledged_by: Text,
    /// When.
    pub acknowledged_at: Timestamp,
    /// Strict or best effort.
    pub mode: BulkMode,
    /// The filter, when one selected the routes.
    pub filter: Option<crate::audit_package::FilterNote>,
    /// How many routes the request listed, when it listed them.
    pub listed_count: Option<u64>,
    /// The shared reference.
    pub external_ref: Text,
    /// The shared notes.
    pub notes: Text,
    /// The counts.
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// The outcomes that changed nothing.
    pub unchanged: Vec<RouteOutcome>,
    /// Who acted.
    pub actor: Actor,
}

impl BulkDocument {
    /// The evidence record that holds the document.
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::BulkAcknowledgement,
            session_id: self.bulk_id.as_str().to_owned(),
            created_at: self.acknowledged_at,
            signer: self.acknowledged_by.as_str().to_owned(),
            decision_count: self.counts.changed_count,
            blocked_count: self.counts.refused_count + self.counts.not_found_count,
            approval_required_count: 0,
            fields: vec![
                ("bulk_id", json!(self.bulk_id)),
                ("acknowledgement_state", json!(self.acknowledgement_state)),
                ("matched_count", json!(self.counts.matched_count)),
                ("changed_count", json!(self.counts.changed_count)),
            ],
            payload: ("bulk_acknowledgement", serde_json::to_value(self).unwrap_or(Value::Null)),
        }
    }
}

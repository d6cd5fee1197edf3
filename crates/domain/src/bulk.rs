//! Bulk acknowledgement: a selection of routes, and exactly one outcome for each (contract decisions 5).

use std::collections::{BTreeMap, BTreeSet};

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

/// Most routes that one request may list.
pub const MAX_LISTED_ROUTES: usize = 10_000;

/// Most routes that a filter may select (contract decisions 5).
pub const MAX_FILTERED_ROUTES: u64 = 1_000_000;

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
        /// The acknowledgement to undo does not stand: somebody has changed the route since, or it changed nothing.
        ChangedSince = "changed_since",
        /// The acknowledgement was undone before.
        AlreadyUndone = "already_undone",
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
        let mut missing = BTreeSet::new();
        let mut selection = Self::default();
        for (index, (item, found)) in listed.iter().zip(found).enumerate() {
            let nothing = match &found {
                Found::Nothing(reason) => Some(*reason),
                // Each listed route has an outcome, also one that storage knows nothing about.
                Found::Routes(routes) => routes.is_empty().then_some(OutcomeReason::UnknownRoute),
            };
            if let Some(reason) = nothing {
                let (owner, plan_id) = (item.owner.as_ref(), item.plan_id.as_ref());
                if missing.insert((&item.schedule_id, item.provider.key(), owner, plan_id)) {
                    selection.elements.push(Selected::Nothing(index, reason));
                } else {
                    selection.repeated += 1;
                }
                continue;
            }
            let Found::Routes(routes) = found else { continue };
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
                        selection
                            .elements
                            .push(Selected::Route(Box::new(tracked), Some(index)));
                    }
                    Some(&first) => {
                        let same = listed.get(first).is_some_and(|other| {
                            given(other.external_ref.as_ref()) == given(item.external_ref.as_ref())
                                && given(other.notes.as_ref()) == given(item.notes.as_ref())
                        });
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
            elements: routes
                .into_iter()
                .map(|tracked| Selected::Route(Box::new(tracked), None))
                .collect(),
            repeated: 0,
        }
    }
}

/// What a bulk needs to know of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The route.
    pub route_id: RouteId,
    /// When its clock began; with the id it decides the place in the selection.
    pub created_at: Timestamp,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The cycle.
    pub plan_id: PlanId,
    /// The provider.
    pub provider: Provider,
    /// The owner.
    pub owner: Text,
    /// The state; none for a suppressed route.
    pub state: Option<StateName>,
    /// How often the state has changed.
    pub revision: u64,
    /// Whether the route belongs to its schedule's newest plan.
    pub current: bool,
    /// Where storage found it, for the transaction in which it did; none when it came another way.
    pub place: Option<Place>,
}

/// What storage knows of a route beside what it says of it, so that it need not look for it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The engine's own key of the route.
    pub key: i64,
    /// When the newest entry of the route's history takes effect.
    pub newest: Option<Timestamp>,
}

impl From<&TrackedRoute> for Target {
    fn from(tracked: &TrackedRoute) -> Self {
        let route = &tracked.route;
        Self {
            route_id: route.route_id.clone(),
            created_at: route.created_at,
            schedule_id: route.schedule_id.clone(),
            plan_id: route.plan_id.clone(),
            provider: route.provider.clone(),
            owner: route.owner.clone(),
            state: tracked.state(),
            revision: tracked.status.revision,
            current: tracked.current,
            place: None,
        }
    }
}

/// What a bulk does to one route: the same transition rule as for a single acknowledgement, and only current
/// routes that wait for an answer.
pub fn decide(tracked: &TrackedRoute, said: AckState) -> (Outcome, OutcomeReason) {
    decide_in(tracked.state(), tracked.current, said)
}

/// [`decide`], for whoever knows only the state (none: suppressed) and whether the cycle is the current one.
const fn decide_in(state: Option<StateName>, current: bool, said: AckState) -> (Outcome, OutcomeReason) {
    let Some(state) = state else {
        return (Outcome::Refused, OutcomeReason::Suppressed);
    };
    if !current {
        return (Outcome::Refused, OutcomeReason::Superseded);
    }
    outcome_of(state.on(said))
}

/// What a transition is to whoever asked for it.
pub const fn outcome_of(transition: Transition) -> (Outcome, OutcomeReason) {
    match transition {
        Transition::Change | Transition::Undo => (Outcome::Changed, OutcomeReason::None),
        Transition::Repeat => (Outcome::Already, OutcomeReason::AlreadyInState),
        Transition::Final => (Outcome::Refused, OutcomeReason::ResolvedIsFinal),
        Transition::Stale => (Outcome::Refused, OutcomeReason::ChangedSince),
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
    let mut decision = BulkDecision {
        outcomes: Vec::new(),
        acknowledgements: Vec::new(),
        counts: OutcomeCounts::default(),
    };
    for element in &selection.elements {
        let outcome = match element {
            Selected::Nothing(index, reason) => {
                let Some(item) = listed.get(*index) else { continue };
                not_found(item, *reason)
            }
            Selected::Route(tracked, index) => {
                let item = index.and_then(|index| listed.get(index));
                let (outcome, document) =
                    answer_target(&Target::from(tracked.as_ref()), item, answer, &mut new_id);
                decision.acknowledgements.extend(document);
                outcome
            }
        };
        decision.counts.add(outcome.outcome);
        decision.outcomes.push(outcome);
    }
    decision
}

/// The outcome of a listed route that names nothing.
pub fn not_found(item: &ListedRoute, reason: OutcomeReason) -> RouteOutcome {
    RouteOutcome {
        schedule_id: item.schedule_id.clone(),
        provider: item.provider.clone(),
        owner: item.owner.clone().unwrap_or_default(),
        plan_id: item.plan_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        previous_state: "",
        state: "",
        outcome: Outcome::NotFound,
        reason,
        acknowledgement_id: String::new(),
    }
}

/// The outcome of one route, and the acknowledgement that changes it, if one does.
pub fn answer_target(
    target: &Target,
    item: Option<&ListedRoute>,
    answer: &BulkAnswer,
    new_id: &mut impl FnMut() -> AcknowledgementId,
) -> (RouteOutcome, Option<AcknowledgementDocument>) {
    let (outcome, reason) = decide_in(target.state, target.current, answer.said);
    let previous = target.state.map_or("", StateName::as_str);
    let document = (outcome == Outcome::Changed).then(|| acknowledgement(target, item, answer, new_id()));
    let told = RouteOutcome {
        schedule_id: target.schedule_id.clone(),
        provider: target.provider.clone(),
        owner: target.owner.clone(),
        plan_id: target.plan_id.to_string(),
        previous_state: previous,
        state: if outcome == Outcome::Changed {
            answer.said.state().as_str()
        } else {
            previous
        },
        outcome,
        reason,
        acknowledgement_id: document
            .as_ref()
            .map(|document| document.acknowledgement_id.to_string())
            .unwrap_or_default(),
    };
    (told, document)
}

/// A listed route's own reference or notes; an empty text is none.
fn given(own: Option<&Text>) -> Option<&Text> {
    own.filter(|text| !text.as_str().is_empty())
}

fn acknowledgement(
    target: &Target,
    item: Option<&ListedRoute>,
    answer: &BulkAnswer,
    acknowledgement_id: AcknowledgementId,
) -> AcknowledgementDocument {
    let own = |own: Option<&Text>, shared: &Text| given(own).unwrap_or(shared).clone();
    AcknowledgementDocument {
        schema_version: crate::acknowledgement::ACKNOWLEDGEMENT_SCHEMA,
        product: crate::evidence::PRODUCT,
        acknowledgement_id,
        schedule_id: target.schedule_id.clone(),
        plan_id: target.plan_id.clone(),
        provider: target.provider.clone(),
        owner: target.owner.clone(),
        acknowledged_by: answer.actor.actor.clone(),
        acknowledgement_state: answer.said,
        acknowledged_at: answer.at,
        external_ref: own(
            item.and_then(|item| item.external_ref.as_ref()),
            &answer.external_ref,
        ),
        notes: own(item.and_then(|item| item.notes.as_ref()), &answer.notes),
        actor: answer.actor.clone(),
        bulk_id: Some(answer.bulk_id.clone()),
    }
}

/// The bulk's own record: what was asked, by whom, and what became of it. The outcomes, one per route, may be a
/// million: they are stored beside the record, in pieces, and the record holds their digest.
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
    /// How many listed routes named only routes that an earlier one had named.
    pub repeated_count: u64,
    /// What was selected, and at which revisions: see [`crate::preview`].
    pub selection_digest: String,
    /// The digest of the preview that the bulk was bound to, if it was.
    pub expected_digest: Option<String>,
    /// SHA-256 of the list of outcomes, as it is stored beside this record: a JSON array, one outcome per element of
    /// the selection.
    pub outcomes_sha256: String,
    /// Length of that list, in bytes.
    pub outcomes_bytes: u64,
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
            payload: (
                "bulk_acknowledgement",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::acknowledgement::Answer;
    use crate::evidence::whole_digest;
    use crate::id::{IdSource, SequentialIds};
    use crate::record::{Projection, interpret};
    use crate::route::{Route, RouteAction, RouteCategory};
    use crate::testing::{
        OWNERS, PROVIDERS, SCHEDULES, about_now, actor, any_filter, any_routes, now, plan_id, provider,
        route, schedule_id, suppressed, text, tracked,
    };

    fn answer(said: AckState) -> BulkAnswer {
        BulkAnswer {
            bulk_id: BulkId::parse("gordbulkack-1").unwrap(),
            said,
            actor: actor("ana"),
            at: now(),
            external_ref: text("CHG-1"),
            notes: text("shared"),
        }
    }

    fn decided(selection: &Selection, listed: &[ListedRoute], answer: &BulkAnswer) -> BulkDecision {
        let ids = SequentialIds::default();
        decide_bulk(selection, listed, answer, || {
            AcknowledgementId::from_uuid(ids.next(answer.at))
        })
    }

    fn item(over: &str, owner: Option<&str>) -> ListedRoute {
        ListedRoute {
            schedule_id: schedule_id("sched-a"),
            provider: provider(over),
            owner: owner.map(text),
            plan_id: None,
            external_ref: None,
            notes: None,
        }
    }

    fn open(over: &str, owner: &str) -> TrackedRoute {
        tracked(route("sched-a", over, owner), &[])
    }

    fn away(over: &str, owner: &str) -> TrackedRoute {
        let route = suppressed(route("sched-a", over, owner), RouteCategory::OwnerCalendar);
        tracked(route, &[])
    }

    /// Owner of each selected route, or the reason why there is none, with the index in the list.
    fn shown(selection: &Selection) -> Vec<(String, Option<usize>)> {
        selection
            .elements
            .iter()
            .map(|element| match element {
                Selected::Route(tracked, index) => (tracked.route.owner.to_string(), *index),
                Selected::Nothing(index, reason) => (reason.to_string(), Some(*index)),
            })
            .collect()
    }

    #[test]
    fn a_listed_route_without_an_owner_means_the_delivered_owners_only() {
        let found = Found::Routes(vec![
            open("slack", "ana"),
            away("slack", "ben"),
            open("slack", "carla"),
        ]);
        let selection = Selection::listed(&[item("slack", None)], vec![found]).unwrap();
        assert_eq!(
            shown(&selection),
            [("ana".into(), Some(0)), ("carla".into(), Some(0))]
        );
        assert_eq!(selection.repeated, 0);
    }

    #[test]
    fn a_listed_route_that_means_only_suppressed_owners_stays_to_be_refused() {
        let listed = [item("slack", None)];
        let found = Found::Routes(vec![away("slack", "ana"), away("slack", "ben")]);
        let selection = Selection::listed(&listed, vec![found]).unwrap();
        let decision = decided(&selection, &listed, &answer(AckState::Acknowledged));
        assert_eq!(
            (decision.counts.matched_count, decision.counts.refused_count),
            (2, 2)
        );
        for outcome in &decision.outcomes {
            assert_eq!(
                (outcome.outcome, outcome.reason),
                (Outcome::Refused, OutcomeReason::Suppressed)
            );
            assert_eq!((outcome.previous_state, outcome.state), ("", ""));
        }
    }

    #[test]
    fn a_suppressed_route_that_is_listed_by_its_owner_stays_to_be_refused() {
        let listed = [item("slack", Some("ben"))];
        let selection = Selection::listed(&listed, vec![Found::Routes(vec![away("slack", "ben")])]).unwrap();
        assert_eq!(shown(&selection), [("ben".into(), Some(0))]);
    }

    #[test]
    fn routes_that_are_listed_again_are_merged_and_counted() {
        let listed = [
            item("slack", None),
            item("Slack", Some("ana")),
            item("slack", None),
        ];
        let all = vec![open("slack", "ana"), open("slack", "ben")];
        let found = vec![
            Found::Routes(all.clone()),
            Found::Routes(vec![open("slack", "ana")]),
            Found::Routes(all),
        ];
        let selection = Selection::listed(&listed, found).unwrap();
        assert_eq!(
            shown(&selection),
            [("ana".into(), Some(0)), ("ben".into(), Some(0))]
        );
        assert_eq!(selection.repeated, 2);
    }

    #[test]
    fn a_listed_route_that_adds_an_owner_is_no_repetition() {
        let listed = [item("slack", Some("ana")), item("slack", None)];
        let found = vec![
            Found::Routes(vec![open("slack", "ana")]),
            Found::Routes(vec![open("slack", "ana"), open("slack", "ben")]),
        ];
        let selection = Selection::listed(&listed, found).unwrap();
        assert_eq!(
            shown(&selection),
            [("ana".into(), Some(0)), ("ben".into(), Some(1))]
        );
        assert_eq!(selection.repeated, 0);
    }

    #[test]
    fn one_route_with_two_references_or_two_notes_is_an_error_that_names_both_entries() {
        let plain = item("slack", Some("ana"));
        let with_ref = ListedRoute {
            external_ref: Some(text("CHG-2")),
            ..plain.clone()
        };
        let with_notes = ListedRoute {
            notes: Some(text("mine")),
            ..plain.clone()
        };
        for other in [with_ref, with_notes] {
            let listed = [item("slack", Some("ben")), plain.clone(), other];
            let found = vec![
                Found::Routes(vec![open("slack", "ben")]),
                Found::Routes(vec![open("slack", "ana")]),
                Found::Routes(vec![open("slack", "ana")]),
            ];
            let error = Selection::listed(&listed, found).unwrap_err();
            assert_eq!(error, ConflictingRoutes { first: 1, second: 2 });
            assert!(
                error
                    .to_string()
                    .starts_with("`routes/1` and `routes/2` name the same route"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_empty_reference_does_not_contradict_none() {
        let plain = item("slack", Some("ana"));
        let empty = ListedRoute {
            external_ref: Some(Text::empty()),
            notes: Some(Text::empty()),
            ..plain.clone()
        };
        let found = vec![Found::Routes(vec![open("slack", "ana")]); 2];
        assert_eq!(Selection::listed(&[plain, empty], found).unwrap().repeated, 1);
    }

    #[test]
    fn a_listed_route_that_names_nothing_has_one_outcome_however_often_it_is_listed() {
        let listed = [
            item("Pager-Duty", None),
            item("pager_duty", None),
            item("pager_duty", Some("ana")),
            ListedRoute {
                plan_id: Some(plan_id("gordn-9")),
                ..item("pager_duty", Some("ana"))
            },
        ];
        let found = vec![
            Found::Nothing(OutcomeReason::UnknownRoute),
            Found::Nothing(OutcomeReason::UnknownRoute),
            Found::Nothing(OutcomeReason::UnknownRoute),
            Found::Nothing(OutcomeReason::UnknownPlan),
        ];
        let selection = Selection::listed(&listed, found).unwrap();
        let decision = decided(&selection, &listed, &answer(AckState::Resolved));
        assert_eq!((selection.repeated, decision.counts.not_found_count), (1, 3));
        let last = &decision.outcomes[2];
        assert_eq!(
            (last.provider.as_str(), last.owner.as_str()),
            ("pager_duty", "ana")
        );
        assert_eq!(
            (last.plan_id.as_str(), last.reason),
            ("gordn-9", OutcomeReason::UnknownPlan)
        );
        assert_eq!(
            (last.previous_state, last.state, last.acknowledgement_id.as_str()),
            ("", "", "")
        );
        assert!(decision.acknowledgements.is_empty() && decision.is_blocked());
    }

    #[test]
    fn a_listed_route_for_which_storage_has_an_empty_list_is_not_found() {
        let listed = [item("slack", None)];
        let selection = Selection::listed(&listed, vec![Found::Routes(Vec::new())]).unwrap();
        assert_eq!(shown(&selection), [("unknown_route".into(), Some(0))]);
    }

    #[test]
    fn each_route_is_decided_by_action_then_cycle_then_state() {
        use {Outcome as O, OutcomeReason as R};
        let route = route("sched-a", "slack", "ana");
        let after = |said: &[AckState]| tracked(route.clone(), said);
        let superseded = TrackedRoute {
            current: false,
            ..after(&[])
        };
        let gone = TrackedRoute {
            current: false,
            ..away("slack", "ana")
        };
        let cases = [
            (after(&[]), AckState::Acknowledged, O::Changed, R::None),
            (
                after(&[AckState::Escalated]),
                AckState::Escalated,
                O::Already,
                R::AlreadyInState,
            ),
            (
                after(&[AckState::Escalated]),
                AckState::Dismissed,
                O::Changed,
                R::None,
            ),
            (
                after(&[AckState::Resolved]),
                AckState::Resolved,
                O::Already,
                R::AlreadyInState,
            ),
            (
                after(&[AckState::Resolved]),
                AckState::Escalated,
                O::Refused,
                R::ResolvedIsFinal,
            ),
            (superseded, AckState::Acknowledged, O::Refused, R::Superseded),
            (
                away("slack", "ana"),
                AckState::Acknowledged,
                O::Refused,
                R::Suppressed,
            ),
            (gone, AckState::Acknowledged, O::Refused, R::Suppressed),
        ];
        for (tracked, said, outcome, reason) in cases {
            assert_eq!(decide(&tracked, said), (outcome, reason), "{tracked:?} {said}");
        }
    }

    #[test]
    fn a_changed_route_has_the_state_before_and_after_and_the_record_that_changed_it() {
        let selection = Selection::filtered(vec![tracked(
            route("sched-a", "slack", "ana"),
            &[AckState::Escalated],
        )]);
        let decision = decided(&selection, &[], &answer(AckState::Resolved));
        let [outcome] = &decision.outcomes[..] else {
            panic!("one outcome")
        };
        let [document] = &decision.acknowledgements[..] else {
            panic!("one acknowledgement")
        };
        assert_eq!((outcome.previous_state, outcome.state), ("escalated", "resolved"));
        assert_eq!(outcome.acknowledgement_id, document.acknowledgement_id.as_str());
        assert_eq!(document.bulk_id, Some(BulkId::parse("gordbulkack-1").unwrap()));
        assert_eq!(
            (document.owner.as_str(), document.plan_id.as_str()),
            ("ana", "gordn-1")
        );
        assert_eq!(
            (document.external_ref.as_str(), document.notes.as_str()),
            ("CHG-1", "shared")
        );
    }

    #[test]
    fn a_route_keeps_its_own_reference_and_notes_before_the_shared_ones() {
        let own = ListedRoute {
            external_ref: Some(text("CHG-7")),
            notes: Some(text("mine")),
            ..item("slack", Some("ana"))
        };
        let empty = ListedRoute {
            external_ref: Some(Text::empty()),
            ..item("slack", Some("ben"))
        };
        let listed = [own, empty];
        let found = vec![
            Found::Routes(vec![open("slack", "ana")]),
            Found::Routes(vec![open("slack", "ben")]),
        ];
        let selection = Selection::listed(&listed, found).unwrap();
        let decision = decided(&selection, &listed, &answer(AckState::Acknowledged));
        let said: Vec<_> = decision
            .acknowledgements
            .iter()
            .map(|document| (document.external_ref.as_str(), document.notes.as_str()))
            .collect();
        assert_eq!(said, [("CHG-7", "mine"), ("CHG-1", "shared")]);
    }

    #[test]
    fn strict_mode_stops_for_refused_and_unknown_routes_but_not_for_those_in_the_state_already() {
        let blocked = |outcome| {
            let mut counts = OutcomeCounts::default();
            counts.add(outcome);
            BulkDecision {
                outcomes: Vec::new(),
                acknowledgements: Vec::new(),
                counts,
            }
            .is_blocked()
        };
        assert_eq!(
            [
                Outcome::Changed,
                Outcome::Already,
                Outcome::Refused,
                Outcome::NotFound
            ]
            .map(blocked),
            [false, false, true, true]
        );
    }

    #[test]
    fn the_record_of_a_bulk_says_what_became_of_it_and_nothing_about_routes() {
        let selection = Selection::filtered(vec![open("slack", "ana"), away("slack", "ben")]);
        let answer = answer(AckState::Acknowledged);
        let decision = decided(&selection, &[], &answer);
        let document = BulkDocument {
            schema_version: BULK_SCHEMA,
            product: crate::evidence::PRODUCT,
            bulk_id: answer.bulk_id.clone(),
            acknowledgement_state: answer.said,
            acknowledged_by: answer.actor.actor.clone(),
            acknowledged_at: answer.at,
            mode: BulkMode::BestEffort,
            filter: None,
            listed_count: Some(2),
            external_ref: answer.external_ref.clone(),
            notes: answer.notes.clone(),
            counts: decision.counts,
            repeated_count: 0,
            selection_digest: "sha256:00".to_owned(),
            expected_digest: None,
            outcomes_sha256: "ab".to_owned(),
            outcomes_bytes: 12,
            actor: answer.actor.clone(),
        };
        let record = document.record().into_value();
        assert_eq!(
            record["metadata_kind"],
            "go-backend-rollback-drill-bulk-acknowledgement"
        );
        assert_eq!(
            (&record["decision_count"], &record["blocked_count"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(record["bulk_acknowledgement"]["matched_count"], 2);
        assert_eq!(
            whole_digest(&EvidenceKind::BulkAcknowledgement, &record),
            Some("ab")
        );
        let read = interpret(&record, Timestamp::EPOCH).unwrap();
        assert!(matches!(read.projection, Projection::None));
        assert_eq!(
            (read.kind, read.created_at),
            (EvidenceKind::BulkAcknowledgement, now())
        );
    }

    fn states(selection: &Selection) -> Vec<Option<StateName>> {
        routes(selection).iter().map(TrackedRoute::state).collect()
    }

    fn routes(selection: &Selection) -> Vec<TrackedRoute> {
        selection
            .elements
            .iter()
            .filter_map(|element| match element {
                Selected::Route(tracked, _) => Some((**tracked).clone()),
                Selected::Nothing(..) => None,
            })
            .collect()
    }

    /// Applies what a bulk decided, as storage does: by reading the records of its acknowledgements.
    fn applied(mut selection: Selection, decision: &BulkDecision) -> Selection {
        let mut answers = BTreeMap::new();
        for document in &decision.acknowledgements {
            let read = interpret(&document.record().into_value(), Timestamp::EPOCH).unwrap();
            let Projection::Acknowledgement(facts) = read.projection else {
                panic!("an acknowledgement")
            };
            let plan_id = facts.plan_id.unwrap();
            let key = (plan_id, facts.provider.key().to_owned(), facts.owner.unwrap());
            assert!(
                answers.insert(key, facts.answer).is_none(),
                "one acknowledgement per route"
            );
        }
        for element in &mut selection.elements {
            let Selected::Route(tracked, _) = element else {
                continue;
            };
            let route = &tracked.route;
            let key = (
                route.plan_id.clone(),
                route.provider.key().to_owned(),
                route.owner.clone(),
            );
            let answer: Option<Answer> = answers.remove(&key);
            if let Some(answer) = answer {
                tracked.status = std::mem::take(&mut tracked.status).apply(answer).0;
            }
        }
        assert!(
            answers.is_empty(),
            "every acknowledgement answers a selected route"
        );
        selection
    }

    /// What storage finds for a listed route among these.
    fn find(world: &[TrackedRoute], item: &ListedRoute) -> Found {
        let means = |route: &Route| {
            route.schedule_id == item.schedule_id
                && route.provider.key() == item.provider.key()
                && item.owner.as_ref().is_none_or(|owner| *owner == route.owner)
        };
        let found: Vec<_> = world
            .iter()
            .filter(|tracked| means(&tracked.route))
            .cloned()
            .collect();
        if found.is_empty() {
            Found::Nothing(OutcomeReason::UnknownRoute)
        } else {
            Found::Routes(found)
        }
    }

    fn any_item() -> impl Strategy<Value = ListedRoute> {
        (select(SCHEDULES), select(PROVIDERS), option::of(select(OWNERS))).prop_map(
            |(schedule, over, owner)| ListedRoute {
                schedule_id: schedule_id(schedule),
                ..item(over, owner)
            },
        )
    }

    proptest! {
        #[test]
        fn every_selected_route_has_exactly_one_outcome_and_the_counts_partition_them(
            world in any_routes(), filter in any_filter(), said in select(AckState::ALL), now in about_now(),
        ) {
            let routes: Vec<_> = world.into_iter().filter(|tracked| filter.matches(tracked, now)).collect();
            let selection = Selection::filtered(routes.clone());
            let decision = decided(&selection, &[], &answer(said));
            prop_assert_eq!(decision.outcomes.len(), routes.len());
            for (outcome, tracked) in decision.outcomes.iter().zip(&routes) {
                let route = &tracked.route;
                prop_assert_eq!(&outcome.plan_id, route.plan_id.as_str());
                prop_assert_eq!((&outcome.provider, &outcome.owner), (&route.provider, &route.owner));
                prop_assert_eq!(outcome.outcome == Outcome::Changed, outcome.reason == OutcomeReason::None);
                prop_assert_eq!(outcome.outcome == Outcome::Changed, !outcome.acknowledgement_id.is_empty());
                prop_assert_eq!(outcome.outcome == Outcome::Changed, outcome.previous_state != outcome.state);
                prop_assert!(
                    outcome.outcome != Outcome::Changed || tracked.current && route.action == RouteAction::Deliver
                );
            }
            let counts = decision.counts;
            prop_assert_eq!(counts.matched_count, routes.len() as u64);
            prop_assert_eq!(
                counts.changed_count + counts.already_count + counts.refused_count + counts.not_found_count,
                counts.matched_count
            );
            prop_assert_eq!(counts.changed_count, decision.acknowledgements.len() as u64);
        }

        #[test]
        fn a_list_selects_every_route_that_it_names_once_and_every_name_without_a_route_once(
            world in any_routes(), listed in vec(any_item(), 0..12), said in select(AckState::ALL),
        ) {
            let found: Vec<_> = listed.iter().map(|item| find(&world, item)).collect();
            let selection = Selection::listed(&listed, found.clone()).unwrap();
            let selected = routes(&selection);
            let ids: BTreeSet<_> = selected.iter().map(|tracked| &tracked.route.route_id).collect();
            prop_assert_eq!(ids.len(), selected.len());
            for (item, found) in listed.iter().zip(&found) {
                let Found::Routes(found) = found else { continue };
                let mut named = found.iter().filter(|tracked| {
                    item.owner.is_some() || tracked.route.awaits() || !found.iter().any(|one| one.route.awaits())
                });
                prop_assert!(named.all(|tracked| ids.contains(&tracked.route.route_id)));
            }
            prop_assert!(selection.elements.len() - selected.len() <= listed.len());
            let decision = decided(&selection, &listed, &answer(said));
            prop_assert_eq!(decision.outcomes.len(), selection.elements.len());
            prop_assert_eq!(decision.counts.matched_count, selection.elements.len() as u64);
        }

        #[test]
        fn the_same_bulk_again_changes_nothing(world in any_routes(), said in select(AckState::ALL)) {
            let selection = Selection::filtered(world);
            let first = decided(&selection, &[], &answer(said));
            let after = applied(selection, &first);
            let second = decided(&after, &[], &answer(said));
            prop_assert!(second.acknowledgements.is_empty());
            for (first, second) in first.outcomes.iter().zip(&second.outcomes) {
                let expected = match first.outcome {
                    Outcome::Changed | Outcome::Already => Outcome::Already,
                    Outcome::Refused | Outcome::NotFound => first.outcome,
                };
                prop_assert_eq!(second.outcome, expected);
                prop_assert_eq!(second.state, first.state);
            }
        }

        #[test]
        fn no_bulk_after_another_moves_a_resolved_or_suppressed_route(
            world in any_routes(), said in vec(select(AckState::ALL), 0..5),
        ) {
            let mut selection = Selection::filtered(world);
            for said in said {
                let before = states(&selection);
                let decision = decided(&selection, &[], &answer(said));
                selection = applied(selection, &decision);
                for ((before, after), outcome) in before.iter().zip(states(&selection)).zip(&decision.outcomes) {
                    prop_assert_eq!(after.map_or("", StateName::as_str), outcome.state);
                    if matches!(before, None | Some(StateName::Resolved)) {
                        prop_assert_eq!(*before, after);
                    }
                }
            }
        }

        #[test]
        fn deciding_moves_no_route(world in any_routes(), said in select(AckState::ALL)) {
            let selection = Selection::filtered(world.clone());
            let (first, second) = (decided(&selection, &[], &answer(said)), decided(&selection, &[], &answer(said)));
            prop_assert_eq!(first.outcomes, second.outcomes);
            prop_assert_eq!(routes(&selection), world);
        }
    }
}

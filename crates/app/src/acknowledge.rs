//! Acknowledging: one answer, or one answer for many routes.

use std::ops::ControlFlow;
use std::sync::Arc;

use cavra_domain::acknowledgement::{ACKNOWLEDGEMENT_SCHEMA, AckState, AcknowledgementDocument};
use cavra_domain::actor::Actor;
use cavra_domain::audit_package::FilterNote;
use cavra_domain::bulk::{
    BULK_SCHEMA, BulkAnswer, BulkDocument, BulkMode, Found, ListedRoute, MAX_FILTERED_ROUTES, Outcome,
    OutcomeCounts, OutcomeReason, RouteOutcome, Selection, decide_bulk, outcome_of,
};
use cavra_domain::evidence::PRODUCT;
use cavra_domain::id::{AcknowledgementId, BulkId, PlanId, ScheduleId};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Cycles, Provider, RouteFilter, StateName, TrackedRoute};
use cavra_domain::time::Timestamp;
use cavra_storage::{KnownPlan, ReadTx, RouteQuery, StorageError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{App, AppError, append_own, transaction_time};

/// One answer.
#[derive(Debug, Clone)]
pub struct Acknowledge {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The provider.
    pub provider: Provider,
    /// The owner; none for every owner of the provider in the cycle.
    pub owner: Option<Text>,
    /// The cycle; none for the current one.
    pub plan_id: Option<PlanId>,
    /// What is said.
    pub said: AckState,
    /// Ticket or change number.
    pub external_ref: Text,
    /// Free text.
    pub notes: Text,
    /// Who says it.
    pub actor: Actor,
}

/// What one answer did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Acknowledged {
    /// The document.
    pub acknowledgement: AcknowledgementDocument,
    /// The evidence record.
    pub metadata: Value,
    /// What it did to each route that it names.
    pub routes: Vec<RouteOutcome>,
    /// Who answered.
    pub actor: Actor,
}

/// Which routes a bulk is about.
#[derive(Debug, Clone)]
pub enum BulkSelection {
    /// These.
    Listed(Vec<ListedRoute>),
    /// Every current route that the filter means.
    Filter(RouteFilter),
}

/// One answer for many routes.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// Which.
    pub selection: BulkSelection,
    /// What is said.
    pub said: AckState,
    /// Shared reference.
    pub external_ref: Text,
    /// Shared notes.
    pub notes: Text,
    /// What to do about routes that cannot be changed.
    pub mode: BulkMode,
    /// Say what would happen, and write nothing.
    pub dry_run: bool,
    /// Who says it.
    pub actor: Actor,
}

/// What a bulk did, or would do.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BulkDone {
    /// Schema of this answer.
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This bulk; in a dry run nothing is stored under it.
    pub bulk_id: BulkId,
    /// What was said.
    pub acknowledgement_state: AckState,
    /// How many acknowledgements were written, or would be.
    pub acknowledgement_count: u64,
    /// Strict or best effort.
    pub mode: BulkMode,
    /// Whether nothing was written on purpose.
    pub dry_run: bool,
    /// The counts; they partition the selection.
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// How many listed routes named only routes that an earlier one had named.
    pub repeated_count: u64,
    /// One outcome per element of the selection.
    pub outcomes: Vec<RouteOutcome>,
    /// The acknowledgements, one per changed route; empty in a dry run, which gives out no ids.
    pub acknowledgements: Vec<AcknowledgementDocument>,
    /// Their evidence records; empty in a dry run.
    pub metadata: Vec<Value>,
    /// The bulk's own evidence record; null in a dry run and when nothing was changed.
    pub bulk_metadata: Option<Value>,
    /// Who answered.
    pub actor: Actor,
}

impl App {
    /// Records one answer for the routes that it names (contract decisions 3).
    ///
    /// # Errors
    /// [`AppError::Unknown`] for a schedule, plan or route that does not exist, [`AppError::Refused`] when every
    /// named route is suppressed or resolved; nothing is written then.
    pub fn acknowledge(&self, command: Acknowledge) -> Result<Acknowledged, AppError> {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.store.writing(move |tx| {
            let at = transaction_time(clock.as_ref(), tx.state())?;
            let plan = cycle(tx.state(), &command.schedule_id, command.plan_id.as_ref())?;
            let routes =
                tx.state()
                    .routes_of(&plan.plan_id, command.provider.key(), command.owner.as_ref())?;
            let waiting: Vec<&TrackedRoute> =
                routes.iter().filter(|tracked| tracked.route.awaits()).collect();
            if routes.is_empty() {
                return Err(AppError::Unknown {
                    what: "route",
                    id: route_name(&command),
                });
            }
            if waiting.is_empty() {
                return Err(AppError::Refused(OutcomeReason::Suppressed));
            }
            let acknowledgement_id = AcknowledgementId::from_uuid(ids.next(at));
            let outcomes: Vec<RouteOutcome> = waiting
                .iter()
                .filter_map(|tracked| outcome(tracked, command.said, &acknowledgement_id))
                .collect();
            if outcomes.iter().all(|outcome| outcome.outcome == Outcome::Refused) {
                return Err(AppError::Refused(OutcomeReason::ResolvedIsFinal));
            }
            let document = AcknowledgementDocument {
                schema_version: ACKNOWLEDGEMENT_SCHEMA,
                product: PRODUCT,
                acknowledgement_id,
                schedule_id: command.schedule_id,
                plan_id: plan.plan_id,
                provider: command.provider,
                owner: command.owner.unwrap_or_default(),
                acknowledged_by: command.actor.actor.clone(),
                acknowledgement_state: command.said,
                acknowledged_at: at,
                external_ref: command.external_ref,
                notes: command.notes,
                actor: command.actor.clone(),
                bulk_id: None,
            };
            let metadata = document.record().into_value();
            append_own(tx, &metadata, at)?;
            Ok(Acknowledged {
                acknowledgement: document,
                metadata,
                routes: outcomes,
                actor: command.actor,
            })
        })
    }

    /// Records one answer for many routes, all in one transaction (contract decisions 5).
    ///
    /// # Errors
    /// [`AppError::BulkBlocked`] in strict mode when a route is refused or unknown (in a dry run too: it gives the
    /// answer that the real one would give), [`AppError::Contradiction`] when two listed routes contradict each
    /// other; nothing is written then.
    pub fn bulk(&self, command: Bulk) -> Result<BulkDone, AppError> {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        let decide = {
            let ids = Arc::clone(&ids);
            move |tx: &dyn ReadTx, command: &Bulk| -> Result<BulkDone, AppError> {
                let at = transaction_time(clock.as_ref(), tx)?;
                let (listed, selection) = select(tx, &command.selection, at)?;
                let answer = BulkAnswer {
                    bulk_id: BulkId::from_uuid(ids.next(at)),
                    said: command.said,
                    actor: command.actor.clone(),
                    at,
                    external_ref: command.external_ref.clone(),
                    notes: command.notes.clone(),
                };
                let decision = decide_bulk(&selection, listed, &answer, || {
                    AcknowledgementId::from_uuid(ids.next(at))
                });
                if command.mode == BulkMode::Strict && decision.is_blocked() {
                    let blocked = |outcome: &RouteOutcome| {
                        matches!(outcome.outcome, Outcome::Refused | Outcome::NotFound)
                    };
                    return Err(AppError::BulkBlocked {
                        counts: decision.counts,
                        blocked: decision.outcomes.into_iter().filter(blocked).collect(),
                    });
                }
                Ok(BulkDone {
                    schema_version: BULK_SCHEMA,
                    product: PRODUCT,
                    bulk_id: answer.bulk_id,
                    acknowledgement_state: command.said,
                    acknowledgement_count: decision.counts.changed_count,
                    mode: command.mode,
                    dry_run: command.dry_run,
                    counts: decision.counts,
                    repeated_count: selection.repeated,
                    outcomes: decision.outcomes,
                    acknowledgements: decision.acknowledgements,
                    metadata: Vec::new(),
                    bulk_metadata: None,
                    actor: command.actor.clone(),
                })
            }
        };
        if command.dry_run {
            let mut preview = self.store.reading(|tx| decide(tx, &command))?;
            // Ids of records that will never be written would only mislead.
            for outcome in &mut preview.outcomes {
                outcome.acknowledgement_id.clear();
            }
            preview.acknowledgements.clear();
            return Ok(preview);
        }
        self.store.writing(move |tx| {
            let mut done = decide(tx.state(), &command)?;
            let Some(at) = done
                .acknowledgements
                .first()
                .map(|document| document.acknowledged_at)
            else {
                return Ok(done);
            };
            for document in &done.acknowledgements {
                let record = document.record().into_value();
                append_own(tx, &record, at)?;
                done.metadata.push(record);
            }
            let record = bulk_document(&command, &done, at).record().into_value();
            append_own(tx, &record, at)?;
            done.bulk_metadata = Some(record);
            Ok(done)
        })
    }
}

fn bulk_document(command: &Bulk, done: &BulkDone, at: Timestamp) -> BulkDocument {
    let (filter, listed_count) = match &command.selection {
        BulkSelection::Listed(listed) => (None, u64::try_from(listed.len()).ok()),
        BulkSelection::Filter(filter) => (
            Some(FilterNote::of(&filter.clone().or_deliver(), Cycles::Current)),
            None,
        ),
    };
    BulkDocument {
        schema_version: BULK_SCHEMA,
        product: PRODUCT,
        bulk_id: done.bulk_id.clone(),
        acknowledgement_state: command.said,
        acknowledged_by: command.actor.actor.clone(),
        acknowledged_at: at,
        mode: command.mode,
        filter,
        listed_count,
        external_ref: command.external_ref.clone(),
        notes: command.notes.clone(),
        counts: done.counts,
        unchanged: done
            .outcomes
            .iter()
            .filter(|outcome| outcome.outcome != Outcome::Changed)
            .cloned()
            .collect(),
        actor: command.actor.clone(),
    }
}

/// The plan that an answer is for.
fn cycle(tx: &dyn ReadTx, schedule: &ScheduleId, plan: Option<&PlanId>) -> Result<KnownPlan, AppError> {
    match plan {
        Some(plan_id) => tx
            .plan(plan_id)?
            .filter(|known| known.schedule_id == *schedule)
            .ok_or_else(|| AppError::Unknown {
                what: "plan of this schedule",
                id: plan_id.to_string(),
            }),
        None => tx.current_plan(schedule)?.ok_or_else(|| AppError::Unknown {
            what: "schedule",
            id: schedule.to_string(),
        }),
    }
}

fn route_name(command: &Acknowledge) -> String {
    match &command.owner {
        Some(owner) => format!("{}/{}/{owner}", command.schedule_id, command.provider),
        None => format!("{}/{}", command.schedule_id, command.provider),
    }
}

/// What one answer does to one route.
fn outcome(tracked: &TrackedRoute, said: AckState, id: &AcknowledgementId) -> Option<RouteOutcome> {
    let previous = tracked.state()?;
    let (outcome, reason) = outcome_of(previous.on(said));
    let state = if outcome == Outcome::Changed {
        said.state()
    } else {
        previous
    };
    let route = &tracked.route;
    Some(RouteOutcome {
        schedule_id: route.schedule_id.clone(),
        provider: route.provider.clone(),
        owner: route.owner.clone(),
        plan_id: route.plan_id.to_string(),
        previous_state: StateName::as_str(previous),
        state: state.as_str(),
        outcome,
        reason,
        acknowledgement_id: id.to_string(),
    })
}

/// The selection of a bulk, and the listed routes behind it.
fn select<'a>(
    tx: &dyn ReadTx,
    selection: &'a BulkSelection,
    now: Timestamp,
) -> Result<(&'a [ListedRoute], Selection), AppError> {
    match selection {
        BulkSelection::Listed(listed) => {
            let found = listed
                .iter()
                .map(|item| find(tx, item))
                .collect::<Result<_, _>>()?;
            Ok((listed, Selection::listed(listed, found)?))
        }
        BulkSelection::Filter(filter) => {
            let filter = filter.clone().or_deliver();
            let count = tx.count_routes(&filter, Cycles::Current, now)?.total();
            if count > MAX_FILTERED_ROUTES {
                return Err(AppError::TooManyRoutes(count));
            }
            let mut routes = Vec::new();
            tx.visit_routes(&RouteQuery::all(&filter, Cycles::Current, now), &mut |tracked| {
                routes.push(tracked);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok((&[], Selection::filtered(routes)))
        }
    }
}

fn find(tx: &dyn ReadTx, item: &ListedRoute) -> Result<Found, StorageError> {
    let Some(current) = tx.current_plan(&item.schedule_id)? else {
        return Ok(Found::Nothing(OutcomeReason::UnknownSchedule));
    };
    let plan = match &item.plan_id {
        None => current,
        Some(plan_id) => match tx
            .plan(plan_id)?
            .filter(|known| known.schedule_id == item.schedule_id)
        {
            None => return Ok(Found::Nothing(OutcomeReason::UnknownPlan)),
            Some(plan) => plan,
        },
    };
    let routes = tx.routes_of(&plan.plan_id, item.provider.key(), item.owner.as_ref())?;
    Ok(if routes.is_empty() {
        Found::Nothing(OutcomeReason::UnknownRoute)
    } else {
        Found::Routes(routes)
    })
}

//! Acknowledging: one answer, and its undo.

use std::ops::ControlFlow;
use std::sync::Arc;

use cavra_domain::acknowledgement::{ACKNOWLEDGEMENT_SCHEMA, AckState, AcknowledgementDocument};
use cavra_domain::actor::Actor;
use cavra_domain::bulk::{Outcome, OutcomeReason, RouteOutcome, outcome_of};
use cavra_domain::evidence::{EvidenceKind, PRODUCT};
use cavra_domain::id::{AcknowledgementId, PlanId, ScheduleId, UndoId};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Provider, StateName, TrackedRoute};
use cavra_domain::undo::{UndoAnswer, UndoDocument};
use cavra_storage::{KnownPlan, ReadTx, WriteTx};
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

/// The undo of one acknowledgement.
#[derive(Debug, Clone)]
pub struct Undo {
    /// Which.
    pub acknowledgement_id: AcknowledgementId,
    /// Why.
    pub reason: Text,
    /// Who undoes it.
    pub actor: Actor,
}

/// What the undo of one acknowledgement did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Undone {
    /// The document.
    pub undo: UndoDocument,
    /// The evidence record.
    pub metadata: Value,
    /// What it did to each route that the acknowledgement answers.
    pub routes: Vec<RouteOutcome>,
    /// Who undid it.
    pub actor: Actor,
}

impl App {
    /// Records one answer for the routes that it names (contract decisions 3).
    ///
    /// # Errors
    /// [`AppError::Unknown`] for a schedule, plan or route that does not exist, [`AppError::Refused`] when every
    /// named route is suppressed or resolved; nothing is written then.
    pub fn acknowledge(&self, command: Acknowledge) -> Result<Acknowledged, AppError> {
        self.sharing(self.acknowledging(command))
    }

    /// As [`App::acknowledge`]; `end` is given the result when it is durable, and no thread waits for it. It is called
    /// where nobody else can write meanwhile, so it only passes the news on.
    pub fn acknowledge_later(
        &self,
        command: Acknowledge,
        end: impl FnOnce(Result<Acknowledged, AppError>) + Send + 'static,
    ) {
        self.sharing_later(self.acknowledging(command), end);
    }

    fn acknowledging(
        &self,
        command: Acknowledge,
    ) -> impl FnMut(&mut dyn WriteTx) -> Result<Acknowledged, AppError> + Send + 'static {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        move |tx: &mut dyn WriteTx| {
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
                schedule_id: command.schedule_id.clone(),
                plan_id: plan.plan_id,
                provider: command.provider.clone(),
                owner: command.owner.clone().unwrap_or_default(),
                acknowledged_by: command.actor.actor.clone(),
                acknowledgement_state: command.said,
                acknowledged_at: at,
                external_ref: command.external_ref.clone(),
                notes: command.notes.clone(),
                actor: command.actor.clone(),
                bulk_id: None,
            };
            let metadata = document.record().into_value();
            append_own(tx, &metadata, at)?;
            Ok(Acknowledged {
                acknowledgement: document,
                metadata,
                routes: outcomes,
                actor: command.actor.clone(),
            })
        }
    }

    /// Takes back one acknowledgement, on every route on which it is the one that stands.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is no such acknowledgement, [`AppError::UndoIsFinal`] when it is an undo
    /// itself, [`AppError::Refused`] when it stands on no route: somebody has changed them since, or undone it
    /// before. Nothing is written then.
    pub fn undo(&self, command: Undo) -> Result<Undone, AppError> {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.sharing(move |tx| {
            let at = transaction_time(clock.as_ref(), tx.state())?;
            let unknown = || AppError::Unknown {
                what: "acknowledgement",
                id: command.acknowledgement_id.to_string(),
            };
            let record = tx
                .state()
                .record(command.acknowledgement_id.as_str())?
                .ok_or_else(unknown)?;
            match record.kind {
                EvidenceKind::NotificationAck => {}
                EvidenceKind::AckUndo | EvidenceKind::BulkUndo => return Err(AppError::UndoIsFinal),
                _ => return Err(unknown()),
            }
            let mut answered = Vec::new();
            tx.state()
                .visit_undoable(record.position, record.position, &mut |undoable| {
                    answered.push(undoable);
                    Ok(ControlFlow::Continue(()))
                })?;
            let undo_id = UndoId::from_uuid(ids.next(at));
            let routes: Vec<RouteOutcome> = answered
                .iter()
                .map(|undoable| undoable.outcome(undo_id.as_str()))
                .collect();
            let standing = answered
                .iter()
                .zip(&routes)
                .find(|(_, outcome)| outcome.outcome == Outcome::Changed);
            let Some((undoable, _)) = standing else {
                let reason = routes
                    .first()
                    .map_or(OutcomeReason::UnknownRoute, |outcome| outcome.reason);
                return Err(AppError::Refused(reason));
            };
            let answer = UndoAnswer {
                actor: command.actor.clone(),
                at,
                reason: command.reason.clone(),
                bulk_undo_id: None,
            };
            let undo = UndoDocument::of(undoable, undo_id, &answer);
            let metadata = undo.record().into_value();
            append_own(tx, &metadata, at)?;
            Ok(Undone {
                undo,
                metadata,
                routes,
                actor: command.actor.clone(),
            })
        })
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

//! Undo: taking back an acknowledgement, or all that one bulk changed (contract decisions 5).
//!
//! Nothing is erased. An undo is one more entry in the history of every route in which the acknowledgement stands; it
//! takes effect where that acknowledgement is the one that holds the route in its state, and nowhere else:
//! [`crate::route::Fold`] has the rule.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::acknowledgement::{AckState, UNDONE};
use crate::actor::Actor;
use crate::bulk::{Outcome, OutcomeCounts, OutcomeReason, RouteOutcome};
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::{AcknowledgementId, BulkId, BulkUndoId, PlanId, ScheduleId, UndoId};
use crate::public_safe::{Field, Text};
use crate::route::{Provider, StateName};
use crate::time::Timestamp;

/// Schema of [`UndoDocument`].
pub const UNDO_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-notification-ack-undo.v1";

/// Schema of [`BulkUndoDocument`].
pub const BULK_UNDO_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-bulk-acknowledgement-undo.v1";

/// What the reason of an undo may hold.
pub const REASON: Field = Field::lines("reason", 4_000);

/// A route under an acknowledgement that somebody wants to take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoable {
    /// Position of the acknowledgement's record.
    pub position: u64,
    /// The acknowledgement.
    pub acknowledgement_id: AcknowledgementId,
    /// Its schedule.
    pub schedule_id: ScheduleId,
    /// The cycle that it answers.
    pub plan_id: PlanId,
    /// The provider.
    pub provider: Provider,
    /// The owner that the acknowledgement names; none for every owner of the provider.
    pub named_owner: Option<Text>,
    /// What it says.
    pub said: AckState,
    /// The owner of the route.
    pub owner: Text,
    /// The route's state.
    pub state: StateName,
    /// The state without the acknowledgement that stands.
    pub beneath: StateName,
    /// Whether the acknowledgement to undo is the one that stands.
    pub stands: bool,
    /// Whether it was undone before.
    pub undone: bool,
}

impl Undoable {
    /// What an undo does to the route.
    pub fn outcome(&self, undo_id: &str) -> RouteOutcome {
        let (outcome, reason) = if self.undone {
            (Outcome::Already, OutcomeReason::AlreadyUndone)
        } else if self.stands {
            (Outcome::Changed, OutcomeReason::None)
        } else {
            (Outcome::Refused, OutcomeReason::ChangedSince)
        };
        let changed = outcome == Outcome::Changed;
        RouteOutcome {
            schedule_id: self.schedule_id.clone(),
            provider: self.provider.clone(),
            owner: self.owner.clone(),
            plan_id: self.plan_id.to_string(),
            previous_state: self.state.as_str(),
            state: if changed { self.beneath } else { self.state }.as_str(),
            outcome,
            reason,
            acknowledgement_id: if changed {
                undo_id.to_owned()
            } else {
                String::new()
            },
        }
    }
}

/// The undo of one acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "AcknowledgementUndo")]
pub struct UndoDocument {
    /// [`UNDO_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This undo.
    pub undo_id: UndoId,
    /// The acknowledgement that it takes back.
    pub acknowledgement_id: AcknowledgementId,
    /// Its schedule.
    pub schedule_id: ScheduleId,
    /// The cycle that it answers.
    pub plan_id: PlanId,
    /// The provider.
    pub provider: Provider,
    /// The owner that it names; empty for every owner of the provider in the cycle.
    pub owner: Text,
    /// What it said.
    pub undone_state: AckState,
    /// Display name of the actor.
    pub undone_by: Text,
    /// When.
    pub undone_at: Timestamp,
    /// Why.
    pub reason: Text,
    /// Who undid it.
    pub actor: Actor,
    /// The undo of a whole bulk that this is a part of, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk_undo_id: Option<BulkUndoId>,
}

/// Who undoes, when and why.
#[derive(Debug, Clone)]
pub struct UndoAnswer {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Text,
    /// As part of which undo of a bulk.
    pub bulk_undo_id: Option<BulkUndoId>,
}

impl UndoDocument {
    /// The undo of the acknowledgement that stands over this route.
    pub fn of(undoable: &Undoable, undo_id: UndoId, answer: &UndoAnswer) -> Self {
        Self {
            schema_version: UNDO_SCHEMA,
            product: PRODUCT,
            undo_id,
            acknowledgement_id: undoable.acknowledgement_id.clone(),
            schedule_id: undoable.schedule_id.clone(),
            plan_id: undoable.plan_id.clone(),
            provider: undoable.provider.clone(),
            owner: undoable.named_owner.clone().unwrap_or_default(),
            undone_state: undoable.said,
            undone_by: answer.actor.actor.clone(),
            undone_at: answer.at,
            reason: answer.reason.clone(),
            actor: answer.actor.clone(),
            bulk_undo_id: answer.bulk_undo_id.clone(),
        }
    }

    /// The evidence record that holds the document.
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::AckUndo,
            session_id: self.undo_id.as_str().to_owned(),
            created_at: self.undone_at,
            signer: self.undone_by.as_str().to_owned(),
            decision_count: 1,
            blocked_count: 0,
            approval_required_count: 0,
            fields: vec![
                ("undo_id", json!(self.undo_id)),
                ("acknowledgement_id", json!(self.acknowledgement_id)),
                ("schedule_id", json!(self.schedule_id)),
                ("plan_id", json!(self.plan_id)),
                ("provider", json!(self.provider)),
                ("acknowledgement_state", json!(UNDONE)),
            ],
            payload: (
                "acknowledgement_undo",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

/// The undo of a bulk: its own record. The outcomes are stored beside it, as those of the bulk are.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "BulkAcknowledgementUndo")]
pub struct BulkUndoDocument {
    /// [`BULK_UNDO_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This undo.
    pub bulk_undo_id: BulkUndoId,
    /// The bulk that it takes back.
    pub bulk_id: BulkId,
    /// Display name of the actor.
    pub undone_by: Text,
    /// When.
    pub undone_at: Timestamp,
    /// Why.
    pub reason: Text,
    /// The counts, over what the bulk changed.
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// SHA-256 of the list of outcomes, as it is stored beside this record: a JSON array.
    pub outcomes_sha256: String,
    /// Length of that list, in bytes.
    pub outcomes_bytes: u64,
    /// Who acted.
    pub actor: Actor,
}

impl BulkUndoDocument {
    /// The evidence record that holds the document.
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::BulkUndo,
            session_id: self.bulk_undo_id.as_str().to_owned(),
            created_at: self.undone_at,
            signer: self.undone_by.as_str().to_owned(),
            decision_count: self.counts.changed_count,
            blocked_count: self.counts.refused_count,
            approval_required_count: 0,
            fields: vec![
                ("bulk_undo_id", json!(self.bulk_undo_id)),
                ("bulk_id", json!(self.bulk_id)),
                ("acknowledgement_state", json!(UNDONE)),
                ("matched_count", json!(self.counts.matched_count)),
                ("changed_count", json!(self.counts.changed_count)),
            ],
            payload: (
                "bulk_acknowledgement_undo",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

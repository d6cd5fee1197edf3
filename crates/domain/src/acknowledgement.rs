//! Acknowledgements: what people answer, and the document that keeps it (contract wire 1.5, decisions 3).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::evidence::{
    EvidenceKind, HistoryTerm, METADATA_SCHEMA, MetadataRecord, PRODUCT, SOURCE_NOTIFICATION,
};
use crate::id::{AcknowledgementId, BulkId, PlanId, ScheduleId};
use crate::public_safe::{Field, Text};
use crate::record::AckFacts;
use crate::route::{Provider, StateName, Transition, text_enum};
use crate::time::Timestamp;

/// What the notes of an acknowledgement may hold.
pub const NOTES: Field = Field::lines("notes", 4_000);

/// What the external reference of an acknowledgement may hold: a ticket or change number.
pub const EXTERNAL_REF: Field = Field::line("external_ref", 500);

/// How an undo stands where acknowledgements have their state.
pub const UNDONE: &str = "undone";

/// Schema of [`AcknowledgementDocument`].
pub const ACKNOWLEDGEMENT_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-notification-ack.v1";

text_enum! {
    /// What an acknowledgement says (contract wire 1.5).
    AckState {
        /// Taken note of.
        Acknowledged = "acknowledged",
        /// Needs no answer.
        Dismissed = "dismissed",
        /// Passed on.
        Escalated = "escalated",
        /// Done.
        Resolved = "resolved",
    }
}

impl AckState {
    /// The state of a route in which this answer stands.
    pub const fn state(self) -> StateName {
        match self {
            Self::Acknowledged => StateName::Acknowledged,
            Self::Dismissed => StateName::Dismissed,
            Self::Escalated => StateName::Escalated,
            Self::Resolved => StateName::Resolved,
        }
    }
}

/// One answer as a route's history keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The record that says so.
    pub acknowledgement_id: AcknowledgementId,
    /// What it says.
    pub said: AckState,
    /// Who said it, for display.
    pub acknowledged_by: Text,
    /// When.
    pub acknowledged_at: Timestamp,
    /// Ticket or change number.
    pub external_ref: Text,
    /// Free text.
    pub notes: Text,
    /// Who vouches for the subject; empty on imported records without an actor.
    pub issuer: Text,
    /// The subject within the issuer; empty on imported records without an actor.
    pub subject: Text,
    /// Whether a token proved the actor.
    pub verified: bool,
}

/// One entry of a route's history: an answer or an undo, and what it did to this route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The answer. For an undo: who undid when, the reason as its notes, and what the undone acknowledgement said.
    pub answer: Answer,
    /// The acknowledgement that an undo takes back; none for an answer.
    pub undoes: Option<AcknowledgementId>,
    /// Its effect on the route.
    pub effect: Transition,
}

/// The acknowledgement document: one person's answer for the routes that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AcknowledgementDocument {
    /// [`ACKNOWLEDGEMENT_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This record.
    pub acknowledgement_id: AcknowledgementId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The cycle that the answer is for.
    pub plan_id: PlanId,
    /// The provider, as it was named.
    pub provider: Provider,
    /// The owner whose route is answered; empty for every owner of the provider in the cycle.
    pub owner: Text,
    /// Display name of the actor.
    pub acknowledged_by: Text,
    /// What the answer says.
    pub acknowledgement_state: AckState,
    /// When it was recorded.
    pub acknowledged_at: Timestamp,
    /// Ticket or change number; empty when none was given.
    pub external_ref: Text,
    /// Free text; empty when none was given.
    pub notes: Text,
    /// Who answered.
    pub actor: Actor,
    /// The bulk that this answer was part of, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk_id: Option<BulkId>,
}

impl AcknowledgementDocument {
    /// The evidence record that holds the document (contract wire 1.1).
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::NotificationAck,
            session_id: self.acknowledgement_id.as_str().to_owned(),
            created_at: self.acknowledged_at,
            signer: self.acknowledged_by.as_str().to_owned(),
            decision_count: 1,
            blocked_count: 0,
            approval_required_count: 0,
            fields: vec![
                ("acknowledgement_id", json!(self.acknowledgement_id)),
                ("schedule_id", json!(self.schedule_id)),
                ("plan_id", json!(self.plan_id)),
                ("provider", json!(self.provider)),
                ("acknowledgement_state", json!(self.acknowledgement_state)),
            ],
            payload: (
                "acknowledgement",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

/// An acknowledgement of a bulk, ready to be stored: its record as canonical JSON, and what that record says, without
/// the way through a JSON value and back. A bulk writes up to a million of them.
///
/// It says nothing of its own: [`crate::record::interpret`] over the record gives the same, and whoever stores it in a
/// debug build holds the two against each other.
#[derive(Debug, Clone)]
pub struct PreparedAcknowledgement {
    /// The record, canonical (RFC 8785).
    pub json: String,
    /// What it says.
    pub facts: AckFacts,
    /// Its own time.
    pub created_at: Timestamp,
    /// How history finds it.
    pub terms: [HistoryTerm; 6],
}

/// What all acknowledgements of one bulk share.
#[derive(Debug, Clone)]
pub struct Preparation {
    actor: Box<RawValue>,
    status: HistoryTerm,
    kind: HistoryTerm,
    listed: HistoryTerm,
    source: HistoryTerm,
    schedule: Option<(ScheduleId, HistoryTerm)>,
    provider: Option<(Provider, HistoryTerm)>,
}

impl Preparation {
    /// `actor` is the actor's canonical JSON.
    pub fn new(said: AckState, actor: Box<RawValue>) -> Self {
        Self {
            actor,
            status: HistoryTerm::status(said.as_str()),
            kind: HistoryTerm::kind(NOTIFICATION_ACK),
            listed: HistoryTerm::listed(),
            source: HistoryTerm::source(SOURCE_NOTIFICATION),
            schedule: None,
            provider: None,
        }
    }

    /// Prepares one acknowledgement, which names its cycle and its owner.
    pub fn prepare(&mut self, document: &AcknowledgementDocument) -> PreparedAcknowledgement {
        // Routes of one schedule stand together, so its term is the one of the route before.
        let schedule = match &self.schedule {
            Some((same, term)) if *same == document.schedule_id => term.clone(),
            _ => {
                let term = HistoryTerm::schedule(document.schedule_id.as_str());
                self.schedule = Some((document.schedule_id.clone(), term.clone()));
                term
            }
        };
        let provider = match &self.provider {
            Some((same, term)) if *same == document.provider => term.clone(),
            _ => {
                let term = HistoryTerm::provider(document.provider.as_str());
                self.provider = Some((document.provider.clone(), term.clone()));
                term
            }
        };
        let actor = &document.actor;
        PreparedAcknowledgement {
            json: serde_json::to_string(&SortedRecord::of(document, &self.actor)).unwrap_or_default(),
            created_at: document.acknowledged_at,
            terms: [
                self.kind.clone(),
                self.listed.clone(),
                provider,
                schedule,
                self.source.clone(),
                self.status.clone(),
            ],
            facts: AckFacts {
                schedule_id: document.schedule_id.clone(),
                plan_id: Some(document.plan_id.clone()),
                provider: document.provider.clone(),
                owner: Some(document.owner.clone()),
                undoes: None,
                answer: Answer {
                    acknowledgement_id: document.acknowledgement_id.clone(),
                    said: document.acknowledgement_state,
                    acknowledged_by: document.acknowledged_by.clone(),
                    acknowledged_at: document.acknowledged_at,
                    external_ref: document.external_ref.clone(),
                    notes: document.notes.clone(),
                    issuer: actor.issuer.clone(),
                    subject: actor.subject.clone(),
                    verified: actor.verified,
                },
            },
        }
    }
}

/// The kind of the record.
const NOTIFICATION_ACK: &str = "go-backend-rollback-drill-notification-ack";

/// [`AcknowledgementDocument::record`] with its keys in canonical order.
#[derive(Serialize)]
struct SortedRecord<'a> {
    acknowledgement: SortedDocument<'a>,
    acknowledgement_id: &'a AcknowledgementId,
    acknowledgement_state: AckState,
    approval_required_count: u64,
    blocked_count: u64,
    created_at: Timestamp,
    decision_count: u64,
    metadata_kind: &'static str,
    plan_id: &'a PlanId,
    product: &'static str,
    provider: &'a Provider,
    schedule_id: &'a ScheduleId,
    schema_version: &'static str,
    session_id: &'a AcknowledgementId,
    signer: &'a Text,
}

/// [`AcknowledgementDocument`] with its keys in canonical order.
#[derive(Serialize)]
struct SortedDocument<'a> {
    acknowledged_at: Timestamp,
    acknowledged_by: &'a Text,
    acknowledgement_id: &'a AcknowledgementId,
    acknowledgement_state: AckState,
    actor: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    bulk_id: Option<&'a BulkId>,
    external_ref: &'a Text,
    notes: &'a Text,
    owner: &'a Text,
    plan_id: &'a PlanId,
    product: &'static str,
    provider: &'a Provider,
    schedule_id: &'a ScheduleId,
    schema_version: &'static str,
}

impl<'a> SortedRecord<'a> {
    fn of(document: &'a AcknowledgementDocument, actor: &'a RawValue) -> Self {
        Self {
            acknowledgement: SortedDocument {
                acknowledged_at: document.acknowledged_at,
                acknowledged_by: &document.acknowledged_by,
                acknowledgement_id: &document.acknowledgement_id,
                acknowledgement_state: document.acknowledgement_state,
                actor,
                bulk_id: document.bulk_id.as_ref(),
                external_ref: &document.external_ref,
                notes: &document.notes,
                owner: &document.owner,
                plan_id: &document.plan_id,
                product: document.product,
                provider: &document.provider,
                schedule_id: &document.schedule_id,
                schema_version: document.schema_version,
            },
            acknowledgement_id: &document.acknowledgement_id,
            acknowledgement_state: document.acknowledgement_state,
            approval_required_count: 0,
            blocked_count: 0,
            created_at: document.acknowledged_at,
            decision_count: 1,
            metadata_kind: NOTIFICATION_ACK,
            plan_id: &document.plan_id,
            product: PRODUCT,
            provider: &document.provider,
            schedule_id: &document.schedule_id,
            schema_version: METADATA_SCHEMA,
            session_id: &document.acknowledgement_id,
            signer: &document.acknowledged_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{actor, now, plan_id, provider, schedule_id, text};

    fn document(bulk_id: Option<BulkId>) -> AcknowledgementDocument {
        AcknowledgementDocument {
            schema_version: ACKNOWLEDGEMENT_SCHEMA,
            product: crate::evidence::PRODUCT,
            acknowledgement_id: AcknowledgementId::parse("gordack-1").unwrap(),
            schedule_id: schedule_id("sched-a"),
            plan_id: plan_id("gordn-1"),
            provider: provider(" Pager-Duty "),
            owner: text("ana"),
            acknowledged_by: text("ben"),
            acknowledgement_state: AckState::Dismissed,
            acknowledged_at: now(),
            external_ref: text("CHG-1"),
            notes: text("not ours"),
            actor: actor("ben"),
            bulk_id,
        }
    }

    #[test]
    fn the_record_of_an_acknowledgement_has_the_published_fields_in_the_published_order() {
        let record = document(None).record().into_value();
        let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "schema_version",
                "product",
                "session_id",
                "created_at",
                "signer",
                "decision_count",
                "blocked_count",
                "approval_required_count",
                "metadata_kind",
                "acknowledgement_id",
                "schedule_id",
                "plan_id",
                "provider",
                "acknowledgement_state",
                "acknowledgement",
            ]
        );
        assert_eq!(
            (&record["session_id"], &record["signer"]),
            (&json!("gordack-1"), &json!("ben"))
        );
        assert_eq!(
            (&record["provider"], &record["decision_count"]),
            (&json!("Pager-Duty"), &json!(1))
        );
        assert_eq!(record["acknowledgement_state"], "dismissed");
    }

    #[test]
    fn the_document_names_its_bulk_only_when_there_is_one() {
        let single = json!(document(None));
        assert_eq!(single.get("bulk_id"), None);
        assert_eq!(
            single["schema_version"],
            "cavra.go-backend-pilot.rollback-drill-notification-ack.v1"
        );
        let bulk = BulkId::parse("gordbulkack-1").unwrap();
        assert_eq!(json!(document(Some(bulk)))["bulk_id"], "gordbulkack-1");
    }

    #[test]
    fn notes_may_have_lines_and_a_reference_may_not() {
        assert!(Text::parse(NOTES, "first\nsecond").is_ok());
        assert!(Text::parse(EXTERNAL_REF, "CHG-1\nCHG-2").is_err());
        assert!(Text::parse(NOTES, &"x".repeat(4_000)).is_ok());
        assert!(Text::parse(NOTES, &"x".repeat(4_001)).is_err());
        assert!(Text::parse(EXTERNAL_REF, &"x".repeat(501)).is_err());
    }
}

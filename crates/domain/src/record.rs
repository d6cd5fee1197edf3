//! Reading a metadata record back: what a plan or an acknowledgement in evidence says about routes, and what an
//! auditor export, a delivery or an archive reference says about exports.
//!
//! Own records and imported ones take the same way, so replaying the evidence gives the state that the tables
//! hold. Reading is lenient about what is not needed (contract decisions 4) and strict about what is: a record
//! that cannot be understood is refused with the reason, never half taken.

use std::num::IntErrorKind;

use serde_json::Value;
use thiserror::Error;

use crate::acknowledgement::{AckState, Answer};
use crate::archive::ReferenceFacts;
use crate::delivery::{DeliveryFacts, delivery_facts};
use crate::evidence::{EvidenceKind, HistoryTerm, history_terms, payload, text};
use crate::export::{ExportRecordFacts, export_facts};
use crate::id::{AcknowledgementId, ArchiveReferenceId, ExportId, MAX_ID_CHARS, PlanId, ScheduleId};
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::route::{
    DEFAULT_ACKNOWLEDGEMENT_MINUTES, DEFAULT_OWNER, Provider, Route, RouteAction, RouteCategory, WindowNote,
};
use crate::schedule::{category, content_key};
use crate::time::Timestamp;

/// Longest single text inside an imported record, in characters.
pub const MAX_RECORD_TEXT_CHARS: usize = 100_000;

/// Why a record cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The record is not a JSON object.
    #[error("the record is not a JSON object")]
    NotAnObject,
    /// Something that the record needs is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Something has a value that means nothing here.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The member, as a path.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A text is not public-safe.
    #[error(transparent)]
    NotPublicSafe(#[from] NotPublicSafe),
}

impl RecordError {
    fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// What a record says.
#[derive(Debug, Clone)]
pub struct Interpreted {
    /// The key of the record.
    pub session_id: String,
    /// Its kind.
    pub kind: EvidenceKind,
    /// Its own time, by which history is ordered. A record outside this service's scope that has none is
    /// ordered by the time at which it was recorded.
    pub created_at: Timestamp,
    /// How history finds it.
    pub terms: Vec<HistoryTerm>,
    /// What state follows from it.
    pub projection: Projection,
}

impl Interpreted {
    /// The same, for a record that came from elsewhere: whatever it claims, nobody here has verified its actor.
    #[must_use]
    pub fn from_elsewhere(mut self) -> Self {
        if let Projection::Acknowledgement(facts) = &mut self.projection {
            facts.answer.verified = false;
        }
        self
    }
}

/// What state follows from a record.
#[derive(Debug, Clone)]
pub enum Projection {
    /// A new cycle.
    Plan(Box<PlanFacts>),
    /// An answer.
    Acknowledgement(Box<AckFacts>),
    /// An auditor export.
    Export(Box<ExportRecordFacts>),
    /// Deliveries of an auditor export, one per provider.
    Deliveries(Vec<DeliveryFacts>),
    /// A reference into an archive.
    Reference(Box<ReferenceFacts>),
    /// A document of the packet of the release that it names.
    Packet(Text),
    /// Nothing.
    None,
}

/// A plan, as far as routes depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFacts {
    /// The cycle.
    pub plan_id: PlanId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// When the clock of its routes began: the plan's own time, or when it was recorded if that is earlier.
    pub created_at: Timestamp,
    /// Equal for plans that say the same: see [`content_key`].
    pub content_key: [u8; 32],
    /// One per provider and owner.
    pub routes: Vec<Route>,
    /// How often a provider and owner came again; the first one counts.
    pub repeated_routes: usize,
}

/// An acknowledgement, as far as routes depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckFacts {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The cycle; none on published records that leave it open: then the schedule's newest plan at that time.
    pub plan_id: Option<PlanId>,
    /// The provider.
    pub provider: Provider,
    /// The owner; none for every owner of the provider in the cycle.
    pub owner: Option<Text>,
    /// The answer; of an undo, see [`crate::acknowledgement::HistoryEntry`].
    pub answer: Answer,
    /// The acknowledgement that this takes back, when it is an undo. It then answers the routes that the undone
    /// acknowledgement answers, whatever else it names.
    pub undoes: Option<AcknowledgementId>,
}

/// Reads a record. `recorded_at` is when this service took it.
///
/// # Errors
/// [`RecordError`] naming the member that is missing or wrong.
pub fn interpret(record: &Value, recorded_at: Timestamp) -> Result<Interpreted, RecordError> {
    if !record.is_object() {
        return Err(RecordError::NotAnObject);
    }
    let session_id = text(record, "session_id").ok_or(RecordError::Missing("session_id"))?;
    let session_id = Text::parse(Field::line("session_id", MAX_ID_CHARS), session_id)?
        .as_str()
        .to_owned();
    let kind = match record.get("metadata_kind") {
        None | Some(Value::Null) => EvidenceKind::Other(String::new()),
        Some(Value::String(kind)) => {
            Text::parse(Field::line("metadata_kind", MAX_ID_CHARS), kind)?;
            EvidenceKind::of(kind)
        }
        Some(_) => return Err(RecordError::invalid("metadata_kind", "is not a text")),
    };
    let document = payload(&kind, record);
    let created_at = match record_time(record, document)? {
        Some(at) => at,
        None if matches!(kind, EvidenceKind::Other(_)) => recorded_at,
        None => return Err(RecordError::Missing("created_at")),
    };
    let projection = match kind {
        EvidenceKind::NotificationPlan => {
            // A clock cannot have begun after the plan was recorded: a plan dated ahead would otherwise stay the
            // newest of its schedule until then, and hide every cycle that begins meanwhile.
            let began_at = created_at.min(recorded_at);
            Projection::Plan(Box::new(plan_facts(record, document, &session_id, began_at)?))
        }
        EvidenceKind::NotificationAck => {
            Projection::Acknowledgement(Box::new(ack_facts(record, document, &session_id, created_at)?))
        }
        EvidenceKind::AckUndo => {
            Projection::Acknowledgement(Box::new(undo_facts(record, document, &session_id, created_at)?))
        }
        EvidenceKind::AuditorExport => {
            Projection::Export(Box::new(export_facts(record, created_at.min(recorded_at))?))
        }
        EvidenceKind::ConnectorDelivery => match delivery_facts(record, created_at.min(recorded_at))? {
            facts if facts.is_empty() => Projection::None,
            facts => Projection::Deliveries(facts),
        },
        EvidenceKind::ArchiveReference => {
            let known = (created_at, recorded_at);
            Projection::Reference(Box::new(reference_facts(record, document, &session_id, known)?))
        }
        EvidenceKind::ReleaseAttachment | EvidenceKind::PacketVerification => {
            match either(record, document, "release_record_ref") {
                Some(release) => Projection::Packet(line("release_record_ref", release)?),
                None => Projection::None,
            }
        }
        _ => Projection::None,
    };
    let terms = history_terms(&kind, record).into_iter().collect();
    Ok(Interpreted {
        session_id,
        kind,
        created_at,
        terms,
        projection,
    })
}

/// The record's own time.
fn record_time(record: &Value, document: &Value) -> Result<Option<Timestamp>, RecordError> {
    let candidates = [
        ("created_at", record.get("created_at")),
        ("generated_at", document.get("generated_at")),
        ("acknowledged_at", document.get("acknowledged_at")),
    ];
    for (field, value) in candidates {
        match value {
            None | Some(Value::Null) => {}
            Some(Value::String(at)) if at.is_empty() => {}
            Some(Value::String(at)) => {
                return Timestamp::parse_published(at)
                    .map(Some)
                    .map_err(|error| RecordError::invalid(field, format!("is {error}")));
            }
            Some(_) => return Err(RecordError::invalid(field, "is not a text")),
        }
    }
    Ok(None)
}

/// The first non-empty text among members of the record and of its document.
fn either<'a>(record: &'a Value, document: &'a Value, key: &str) -> Option<&'a str> {
    text(record, key).or_else(|| text(document, key))
}

/// A member that says something: neither null nor an empty text.
fn named<'a>(holder: &'a Value, key: &str) -> Option<&'a Value> {
    holder
        .get(key)
        .filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn schedule_id(record: &Value, document: &Value) -> Result<ScheduleId, RecordError> {
    let id = either(record, document, "schedule_id")
        .map(str::trim)
        .unwrap_or_default();
    if id.is_empty() {
        return Err(RecordError::Missing("schedule_id"));
    }
    Ok(ScheduleId::parse(id)?)
}

fn line(name: &'static str, raw: &str) -> Result<Text, NotPublicSafe> {
    Text::parse(Field::lines(name, MAX_RECORD_TEXT_CHARS), raw)
}

fn ack_facts(
    record: &Value,
    document: &Value,
    session_id: &str,
    created_at: Timestamp,
) -> Result<AckFacts, RecordError> {
    let provider = Provider::parse(either(document, record, "provider").unwrap_or_default())?;
    if provider.is_empty() {
        return Err(RecordError::Missing("provider"));
    }
    let said =
        match named(document, "acknowledgement_state").or_else(|| named(record, "acknowledgement_state")) {
            None => AckState::Acknowledged,
            Some(state) => state.as_str().and_then(AckState::parse).ok_or_else(|| {
                RecordError::invalid(
                    "acknowledgement_state",
                    "is none of acknowledged, dismissed, escalated, resolved",
                )
            })?,
        };
    let actor = document.get("actor").unwrap_or(&Value::Null);
    let acknowledged_at = match text(document, "acknowledged_at") {
        None => created_at,
        Some(at) => Timestamp::parse_published(at)
            .map_err(|error| RecordError::invalid("acknowledged_at", format!("is {error}")))?,
    };
    let owner = text(document, "owner")
        .map(|owner| line("owner", owner))
        .transpose()?;
    let plan_id = either(document, record, "plan_id")
        .map(PlanId::parse)
        .transpose()?;
    Ok(AckFacts {
        schedule_id: schedule_id(record, document)?,
        plan_id,
        provider,
        owner,
        undoes: None,
        answer: Answer {
            acknowledgement_id: AcknowledgementId::parse(session_id)?,
            said,
            acknowledged_by: line(
                "acknowledged_by",
                either(document, record, "acknowledged_by")
                    .or_else(|| text(record, "signer"))
                    .unwrap_or_default(),
            )?,
            acknowledged_at,
            external_ref: line("external_ref", text(document, "external_ref").unwrap_or_default())?,
            notes: line("notes", text(document, "notes").unwrap_or_default())?,
            issuer: line("issuer", text(actor, "issuer").unwrap_or_default())?,
            subject: line("subject", text(actor, "subject").unwrap_or_default())?,
            verified: actor.get("verified").and_then(Value::as_bool).unwrap_or(false),
        },
    })
}

/// An undo. It is our own kind, so what it needs has to be there.
fn undo_facts(
    record: &Value,
    document: &Value,
    session_id: &str,
    created_at: Timestamp,
) -> Result<AckFacts, RecordError> {
    let provider = Provider::parse(text(document, "provider").unwrap_or_default())?;
    if provider.is_empty() {
        return Err(RecordError::Missing("provider"));
    }
    let undoes = text(document, "acknowledgement_id").ok_or(RecordError::Missing("acknowledgement_id"))?;
    let said = text(document, "undone_state")
        .and_then(AckState::parse)
        .ok_or_else(|| {
            RecordError::invalid(
                "undone_state",
                "is none of acknowledged, dismissed, escalated, resolved",
            )
        })?;
    let actor = document.get("actor").unwrap_or(&Value::Null);
    let undone_at = match text(document, "undone_at") {
        None => created_at,
        Some(at) => Timestamp::parse_published(at)
            .map_err(|error| RecordError::invalid("undone_at", format!("is {error}")))?,
    };
    Ok(AckFacts {
        schedule_id: schedule_id(record, document)?,
        plan_id: text(document, "plan_id").map(PlanId::parse).transpose()?,
        provider,
        owner: text(document, "owner")
            .map(|owner| line("owner", owner))
            .transpose()?,
        answer: Answer {
            acknowledgement_id: AcknowledgementId::parse(session_id)?,
            said,
            acknowledged_by: line("undone_by", text(document, "undone_by").unwrap_or_default())?,
            acknowledged_at: undone_at,
            external_ref: Text::default(),
            notes: line("reason", text(document, "reason").unwrap_or_default())?,
            issuer: line("issuer", text(actor, "issuer").unwrap_or_default())?,
            subject: line("subject", text(actor, "subject").unwrap_or_default())?,
            verified: actor.get("verified").and_then(Value::as_bool).unwrap_or(false),
        },
        undoes: Some(AcknowledgementId::parse(undoes)?),
    })
}

/// What a reference says, as it says it: what cannot be read in it is for archive health to report. Which place it has
/// in the log is not known here.
fn reference_facts(
    record: &Value,
    document: &Value,
    session_id: &str,
    (created_at, recorded_at): (Timestamp, Timestamp),
) -> Result<ReferenceFacts, RecordError> {
    let archived_at = match text(document, "archived_at") {
        None => created_at,
        Some(at) => Timestamp::parse_published(at)
            .map_err(|error| RecordError::invalid("archived_at", format!("is {error}")))?,
    };
    let said = |name: &'static str| line(name, either(record, document, name).unwrap_or_default());
    let held = |holder: &Value| holder.get("legal_hold").and_then(Value::as_bool);
    Ok(ReferenceFacts {
        reference_id: ArchiveReferenceId::parse(session_id)?,
        // A reference that names no export is an orphan under the empty name.
        export_id: ExportId::parse(either(record, document, "export_id").unwrap_or_default())?,
        archived_at,
        recorded_at,
        position: 0,
        archive_ref: said("archive_ref")?,
        archive_provider: said("archive_provider")?,
        archive_hash: said("archive_hash")?,
        retention_until: said("retention_until")?,
        // Held only where envelope and document do not contradict each other.
        legal_hold: match (held(record), held(document)) {
            (None, None) => false,
            (one, other) => one.unwrap_or(true) && other.unwrap_or(true),
        },
        release_record_ref: said("release_record_ref")?,
    })
}

fn plan_facts(
    record: &Value,
    document: &Value,
    session_id: &str,
    created_at: Timestamp,
) -> Result<PlanFacts, RecordError> {
    let plan_id = PlanId::parse(session_id)?;
    let schedule_id = schedule_id(record, document)?;
    let next_due_at = text(document, "next_due_at").unwrap_or_default();
    let plan = PlanContext {
        plan_id: &plan_id,
        schedule_id: &schedule_id,
        created_at,
        alert_level: line(
            "alert_level",
            either(record, document, "alert_level").unwrap_or("unknown"),
        )?,
        next_due_at: line("next_due_at", next_due_at)?,
    };
    let mut routes = Vec::new();
    match document.get("route_decisions") {
        Some(Value::Array(decisions)) => {
            for (index, decision) in decisions.iter().enumerate() {
                routes.push(plan.decision(index, decision)?);
            }
        }
        None | Some(Value::Null) => plan.fallback(record, document, &mut routes)?,
        Some(_) => return Err(RecordError::invalid("plan.route_decisions", "is not a list")),
    }
    let all = routes.len();
    let mut seen = std::collections::BTreeSet::new();
    routes.retain(|route| seen.insert(route.route_id.clone()));
    let status = text(document, "status").unwrap_or_default();
    Ok(PlanFacts {
        content_key: content_key(schedule_id.as_str(), status, next_due_at, &routes),
        repeated_routes: all - routes.len(),
        plan_id,
        schedule_id,
        created_at,
        routes,
    })
}

/// What every route of a plan takes from the plan.
struct PlanContext<'a> {
    plan_id: &'a PlanId,
    schedule_id: &'a ScheduleId,
    created_at: Timestamp,
    alert_level: Text,
    next_due_at: Text,
}

impl PlanContext<'_> {
    /// A route out of a route decision (contract wire 1.4).
    fn decision(&self, index: usize, decision: &Value) -> Result<Route, RecordError> {
        let at = |key: &str| format!("plan.route_decisions[{index}].{key}");
        let provider = Provider::parse(text(decision, "provider").unwrap_or_default())?;
        if provider.is_empty() {
            return Err(RecordError::invalid(at("provider"), "is missing"));
        }
        let owner = line("owner", text(decision, "owner").unwrap_or(DEFAULT_OWNER))?;
        let action = match named(decision, "action") {
            None => RouteAction::Deliver,
            Some(action) => action
                .as_str()
                .and_then(RouteAction::parse)
                .ok_or_else(|| RecordError::invalid(at("action"), "is neither deliver nor suppress"))?,
        };
        let window = decision
            .get("maintenance_window")
            .filter(|window| window.is_object());
        let availability = decision.get("owner_availability").unwrap_or(&Value::Null);
        let owner_available = availability
            .get("available")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let reason = text(decision, "reason").unwrap_or_default();
        let own = text(decision, "category").and_then(RouteCategory::parse);
        let escalation_owner = text(decision, "escalation_owner")
            .map(|owner| line("escalation_owner", owner))
            .transpose()?;
        Ok(Route {
            route_id: Route::id_for(self.plan_id, self.created_at, &provider, &owner),
            plan_id: self.plan_id.clone(),
            schedule_id: self.schedule_id.clone(),
            created_at: self.created_at,
            alert_level: self.alert_level.clone(),
            provider,
            escalation_owner: escalation_owner.unwrap_or_else(|| owner.clone()),
            owner,
            action,
            category: category(action, window.is_some(), owner_available, reason, own),
            reason: line("reason", reason)?,
            acknowledgement_minutes: minutes(decision.get("acknowledgement_minutes"))
                .ok_or_else(|| RecordError::invalid(at("acknowledgement_minutes"), "is too large"))?,
            maintenance_window: window
                .map(|window| -> Result<WindowNote, NotPublicSafe> {
                    Ok(WindowNote {
                        window_id: line(
                            "window_id",
                            text(window, "window_id").unwrap_or("maintenance-window"),
                        )?,
                        reason: line("reason", text(window, "reason").unwrap_or_default())?,
                    })
                })
                .transpose()?,
            owner_available,
            owner_availability_reason: line("reason", text(availability, "reason").unwrap_or_default())?,
            next_due_at: self.next_due_at.clone(),
        })
    }

    /// One route per acknowledgement-required provider, for plans without route decisions (contract wire 3.2).
    fn fallback(&self, record: &Value, document: &Value, routes: &mut Vec<Route>) -> Result<(), RecordError> {
        let list = |holder: &Value, key: &str| -> Vec<String> {
            holder
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let mut providers = list(record, "acknowledgement_required_providers");
        if providers.is_empty() {
            providers = list(document, "acknowledgement_required_providers");
        }
        let owners = list(document, "owners");
        let owner = if owners.is_empty() {
            DEFAULT_OWNER.to_owned()
        } else {
            owners.join(", ")
        };
        for (index, provider) in providers.iter().enumerate() {
            let decision = serde_json::json!({ "provider": provider, "owner": owner });
            routes.push(self.decision(index, &decision)?);
        }
        Ok(())
    }
}

/// Acknowledgement minutes as the published system reads them (contract wire 3.1, step 6): what is no positive
/// number is 60. `None` when the number is beyond any calendar.
fn minutes(value: Option<&Value>) -> Option<u32> {
    let whole = match value {
        Some(Value::Number(number)) => number.as_i64().or_else(|| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the published rule truncates; the cast saturates"
            )]
            number.as_f64().map(|float| float as i64)
        }),
        Some(Value::String(text)) => match text.trim().parse::<i64>() {
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(i64::MAX),
            parsed => parsed.ok(),
        },
        _ => None,
    };
    match whole {
        Some(whole) if whole > 0 => u32::try_from(whole).ok(),
        _ => Some(DEFAULT_ACKNOWLEDGEMENT_MINUTES),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::route::StateName;
    use crate::testing::{
        any_acknowledgement, any_json, any_plan, any_record, at, now, provider, text as named_text,
    };

    /// A time at which nothing in these records happened.
    const RECORDED: Timestamp = Timestamp::MAX;

    /// A published plan with one route decision.
    fn plan() -> Value {
        json!({
            "metadata_kind": "go-backend-rollback-drill-notification-plan",
            "session_id": "gordn-0123456789abcdef",
            "created_at": "2026-01-02T03:04:05.678901+00:00",
            "schedule_id": "sched-a",
            "alert_level": "warning",
            "plan": {
                "schedule_id": "sched-a", "generated_at": "2026-01-02T03:04:05.678901+00:00", "status": "due_soon",
                "next_due_at": "2026-01-09T00:00:00+00:00",
                "route_decisions": [{
                    "provider": "Slack", "owner": "ana", "escalation_owner": "lead", "action": "deliver",
                    "reason": "due", "acknowledgement_minutes": 15, "maintenance_window": null,
                    "owner_availability": { "available": true, "reason": "on call" },
                }],
            },
        })
    }

    /// A published acknowledgement.
    fn acknowledgement() -> Value {
        json!({
            "metadata_kind": "go-backend-rollback-drill-notification-ack",
            "session_id": "gordack-7e1312fd6a00c0cd",
            "created_at": "2026-01-02T03:04:05.678901+00:00",
            "signer": "ana@example.org",
            "schedule_id": "sched-a", "plan_id": "", "provider": "Slack", "acknowledgement_state": "escalated",
            "acknowledgement": {
                "acknowledgement_id": "gordack-7e1312fd6a00c0cd", "schedule_id": "sched-a", "plan_id": "",
                "provider": "Slack", "acknowledged_by": "ana@example.org", "acknowledgement_state": "escalated",
                "acknowledged_at": "2026-01-02T03:04:05.678901+00:00", "external_ref": "CHG-1", "notes": "seen",
            },
        })
    }

    fn plan_of(record: &Value) -> PlanFacts {
        match interpret(record, RECORDED).unwrap().projection {
            Projection::Plan(facts) => *facts,
            other => panic!("not a plan: {other:?}"),
        }
    }

    fn ack_of(record: &Value) -> AckFacts {
        match interpret(record, RECORDED).unwrap().projection {
            Projection::Acknowledgement(facts) => *facts,
            other => panic!("not an acknowledgement: {other:?}"),
        }
    }

    fn refused(record: &Value) -> String {
        interpret(record, RECORDED).unwrap_err().to_string()
    }

    /// The record with one member of its only route decision set, or removed by null.
    fn decision(key: &str, value: Value) -> Value {
        let mut record = plan();
        record["plan"]["route_decisions"][0][key] = value;
        record
    }

    /// The record with a member removed from it and from its document.
    fn without(mut record: Value, key: &str) -> Value {
        for holder in ["", "/plan", "/acknowledgement"] {
            if let Some(Value::Object(members)) = record.pointer_mut(holder) {
                members.remove(key);
            }
        }
        record
    }

    #[test]
    fn the_clock_of_a_plan_dated_ahead_begins_when_it_was_recorded() {
        let recorded_at = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let read = interpret(&plan(), recorded_at).unwrap();
        assert_eq!(
            read.created_at.to_string(),
            "2026-01-02T03:04:05.678901Z",
            "the record keeps its own time"
        );
        let Projection::Plan(facts) = read.projection else {
            panic!("not a plan")
        };
        assert_eq!(facts.created_at, recorded_at);
        assert!(facts.routes.iter().all(|route| route.created_at == recorded_at));
    }

    #[test]
    fn nobody_here_has_verified_the_actor_of_a_record_from_elsewhere() {
        let mut record = acknowledgement();
        record["acknowledgement"]["actor"] =
            json!({ "issuer": "https://idp.example.org", "subject": "u-17", "verified": true });
        let verified = |read: Interpreted| match read.projection {
            Projection::Acknowledgement(facts) => facts.answer.verified,
            other => panic!("not an acknowledgement: {other:?}"),
        };
        assert!(verified(interpret(&record, RECORDED).unwrap()));
        assert!(!verified(interpret(&record, RECORDED).unwrap().from_elsewhere()));
    }

    #[test]
    fn a_published_plan_is_read_whole() {
        let facts = plan_of(&plan());
        assert_eq!(facts.plan_id.as_str(), "gordn-0123456789abcdef");
        assert_eq!((facts.schedule_id.as_str(), facts.created_at), ("sched-a", now()));
        let [route] = &facts.routes[..] else {
            panic!("one route")
        };
        assert_eq!((route.provider.as_str(), route.owner.as_str()), ("Slack", "ana"));
        assert_eq!(
            (route.escalation_owner.as_str(), route.acknowledgement_minutes),
            ("lead", 15)
        );
        assert_eq!(
            (route.action, route.category),
            (RouteAction::Deliver, RouteCategory::Deliver)
        );
        assert_eq!(
            (route.alert_level.as_str(), route.next_due_at.as_str()),
            ("warning", "2026-01-09T00:00:00+00:00")
        );
        assert_eq!(
            (route.owner_available, route.owner_availability_reason.as_str()),
            (true, "on call")
        );
        assert_eq!(route.created_at, now());
        assert_eq!(
            route.route_id,
            Route::id_for(&facts.plan_id, now(), &provider("slack"), &named_text("ana"))
        );
    }

    #[test]
    fn a_published_acknowledgement_is_read_whole() {
        let facts = ack_of(&acknowledgement());
        assert_eq!(
            (facts.schedule_id.as_str(), facts.provider.key()),
            ("sched-a", "slack")
        );
        assert_eq!((facts.plan_id, facts.owner), (None, None));
        let answer = facts.answer;
        assert_eq!(answer.acknowledgement_id.as_str(), "gordack-7e1312fd6a00c0cd");
        assert_eq!(
            (answer.said, answer.acknowledged_at),
            (AckState::Escalated, now())
        );
        assert_eq!(
            (answer.acknowledged_by.as_str(), answer.external_ref.as_str()),
            ("ana@example.org", "CHG-1")
        );
        assert_eq!(
            (
                answer.notes.as_str(),
                answer.issuer.as_str(),
                answer.subject.as_str()
            ),
            ("seen", "", "")
        );
        assert!(!answer.verified);
    }

    #[test]
    fn a_record_that_is_no_object_is_refused() {
        for record in [json!(null), json!([]), json!("plan"), json!(1), json!(true)] {
            assert_eq!(refused(&record), "the record is not a JSON object");
        }
    }

    #[test]
    fn a_record_needs_a_short_public_safe_session_id() {
        let with = |session_id: Value| {
            let mut record = plan();
            record["session_id"] = session_id;
            refused(&record)
        };
        for missing in [json!(null), json!(""), json!(7), json!(["a"])] {
            assert_eq!(with(missing), "`session_id` is missing");
        }
        assert_eq!(refused(&without(plan(), "session_id")), "`session_id` is missing");
        assert!(with(json!("x".repeat(MAX_ID_CHARS + 1))).contains("too long"));
        assert!(with(json!("a\nb")).contains("`session_id` is not public-safe"));
        let secret = with(json!("password=hunter2"));
        assert!(
            secret.contains("`session_id` is not public-safe") && !secret.contains("hunter2"),
            "{secret}"
        );
        let mut longest = plan();
        longest["session_id"] = json!("x".repeat(MAX_ID_CHARS));
        assert_eq!(plan_of(&longest).plan_id.as_str().len(), MAX_ID_CHARS);
    }

    #[test]
    fn a_record_of_an_unknown_kind_is_kept_and_not_interpreted() {
        let record = json!({ "session_id": "s-1", "metadata_kind": "some-other-product", "plan": { "schedule_id": 5 } });
        let read = interpret(&record, now()).unwrap();
        assert_eq!(read.kind, EvidenceKind::Other("some-other-product".into()));
        assert!(matches!(read.projection, Projection::None));
        assert!(read.terms.is_empty());
        assert_eq!((read.session_id.as_str(), read.created_at), ("s-1", now()));
        for kind in [json!(null), json!("")] {
            let read = interpret(&json!({ "session_id": "s-1", "metadata_kind": kind }), now()).unwrap();
            assert_eq!(read.kind, EvidenceKind::Other(String::new()));
        }
    }

    #[test]
    fn an_undo_names_what_it_takes_back_and_needs_it() {
        let record = json!({
            "session_id": "gordackundo-1", "created_at": "2026-01-02T03:04:05Z", "schedule_id": "sched-a",
            "metadata_kind": "go-backend-rollback-drill-notification-ack-undo",
            "acknowledgement_undo": {
                "acknowledgement_id": "gordack-1", "plan_id": "gordn-1", "provider": "Slack", "owner": "ana",
                "undone_state": "escalated", "undone_by": "ben", "undone_at": "2026-01-02T03:04:05Z",
                "reason": "a mistake", "actor": { "issuer": "local", "subject": "ben", "verified": false },
            },
        });
        let facts = ack_of(&record);
        assert_eq!(
            facts.undoes.as_ref().map(AcknowledgementId::as_str),
            Some("gordack-1")
        );
        let answer = &facts.answer;
        assert_eq!(
            (answer.said, answer.notes.as_str()),
            (AckState::Escalated, "a mistake")
        );
        assert_eq!(
            (answer.acknowledged_by.as_str(), answer.subject.as_str()),
            ("ben", "ben")
        );
        for (member, problem) in [
            ("acknowledgement_id", "`acknowledgement_id` is missing"),
            ("provider", "`provider` is missing"),
            (
                "undone_state",
                "`undone_state` is none of acknowledged, dismissed, escalated, resolved",
            ),
        ] {
            let mut spoilt = record.clone();
            spoilt["acknowledgement_undo"][member] = json!("");
            assert_eq!(refused(&spoilt), problem);
        }
    }

    #[test]
    fn a_kind_that_is_no_text_or_too_long_is_refused() {
        let with = |kind: Value| refused(&json!({ "session_id": "s-1", "metadata_kind": kind }));
        assert_eq!(with(json!(5)), "`metadata_kind` is not a text");
        assert!(with(json!("x".repeat(MAX_ID_CHARS + 1))).contains("too long"));
    }

    #[test]
    fn a_kind_in_scope_from_which_no_state_follows_has_no_projection() {
        for kind in EvidenceKind::ALL {
            if matches!(
                kind,
                EvidenceKind::NotificationPlan
                    | EvidenceKind::NotificationAck
                    | EvidenceKind::AckUndo
                    | EvidenceKind::AuditorExport
                    | EvidenceKind::ArchiveReference
            ) {
                continue;
            }
            let record = json!({
                "session_id": "s-1", "metadata_kind": kind.as_str(), "created_at": "2026-01-02T03:04:05Z",
            });
            let read = interpret(&record, RECORDED).unwrap();
            assert!(matches!(read.projection, Projection::None), "{kind}");
            assert_eq!(&read.kind, kind);
        }
    }

    const REPORTING: &str = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-";

    #[test]
    fn an_export_is_verified_only_where_envelope_and_document_agree() {
        let read = |envelope: Value, document: Value| {
            let record = json!({
                "session_id": "gordackfinalauditor-1", "created_at": "2026-01-02T03:04:05Z",
                "metadata_kind": format!("{REPORTING}auditor-export"), "verification_state": envelope,
                "export_hash": "ab", "release_record_ref": "REL-1",
                "final_reporting_auditor_export": { "verification_state": document, "verification_id": "v-1" },
            });
            match interpret(&record, RECORDED).unwrap().projection {
                Projection::Export(facts) => facts.export,
                other => panic!("{other:?}"),
            }
        };
        assert!(read(json!("verified"), json!("verified")).verified);
        assert!(read(json!("verified"), json!(null)).verified);
        assert!(read(json!(null), json!("verified")).verified);
        for (envelope, document) in [
            (json!("verified"), json!("incomplete")),
            (json!("incomplete"), json!("verified")),
            (json!(null), json!(null)),
            (json!("VERIFIED"), json!("verified")),
        ] {
            assert!(!read(envelope, document).verified);
        }
        let export = read(json!("verified"), json!("verified"));
        assert_eq!(
            (
                export.export_id.as_str(),
                export.export_hash.as_str(),
                export.release_record_ref.as_str(),
                export.verification_id.as_str()
            ),
            ("gordackfinalauditor-1", "ab", "REL-1", "v-1")
        );
    }

    #[test]
    fn an_export_dated_ahead_was_made_when_it_was_recorded() {
        let record = json!({
            "session_id": "gordackfinalauditor-1", "created_at": "2999-01-01T00:00:00Z",
            "metadata_kind": format!("{REPORTING}auditor-export"),
        });
        let Projection::Export(facts) = interpret(&record, now()).unwrap().projection else {
            panic!("an export")
        };
        assert_eq!(facts.export.generated_at, now());
    }

    #[test]
    fn a_reference_is_read_as_it_stands_and_is_held_only_where_nothing_contradicts_it() {
        let read = |envelope: Value, document: Value| {
            let record = json!({
                "session_id": "gordackfinalarchive-1", "created_at": "2026-01-02T03:04:05Z",
                "metadata_kind": format!("{REPORTING}immutable-archive-reference"), "legal_hold": envelope,
                "retention_until": "not a date", "archive_hash": " md5:00 ",
                "final_reporting_immutable_archive_reference": {
                    "export_id": "gordackfinalauditor-1", "archived_at": "2999-01-01T00:00:00Z",
                    "archive_ref": "worm://a", "archive_provider": "vault", "legal_hold": document,
                },
            });
            match interpret(&record, now()).unwrap().projection {
                Projection::Reference(facts) => facts,
                other => panic!("{other:?}"),
            }
        };
        let facts = read(json!(true), json!(true));
        assert_eq!(
            (facts.retention_until.as_str(), facts.archive_hash.as_str()),
            ("not a date", " md5:00 ")
        );
        assert_eq!(facts.archived_at.to_string(), "2999-01-01T00:00:00.000000Z");
        assert_eq!((facts.recorded_at, facts.effective_at()), (now(), now()));
        assert_eq!(facts.export_id.as_str(), "gordackfinalauditor-1");
        let held = [
            (json!(true), json!(true)),
            (json!(null), json!(true)),
            (json!(true), json!(null)),
        ];
        assert!(held.into_iter().all(|(one, other)| read(one, other).legal_hold));
        let loose = [
            (json!(true), json!(false)),
            (json!(false), json!(true)),
            (json!(null), json!(null)),
            (json!("true"), json!("true")),
        ];
        assert!(loose.into_iter().all(|(one, other)| !read(one, other).legal_hold));
    }

    #[test]
    fn a_document_of_a_packet_names_its_release() {
        for kind in ["release-record-attachment", "release-closure-packet-verification"] {
            let record = json!({
                "session_id": "p-1", "created_at": "2026-01-02T03:04:05Z", "release_record_ref": "REL-1",
                "metadata_kind": format!("{REPORTING}{kind}"),
            });
            let read = interpret(&record, RECORDED).unwrap();
            assert!(matches!(read.projection, Projection::Packet(release) if release.as_str() == "REL-1"));
        }
    }

    #[test]
    fn a_time_may_be_naive_or_have_any_offset_and_may_stand_in_the_document() {
        let with = |created_at: Value| {
            let mut record = plan();
            record["created_at"] = created_at;
            interpret(&record, RECORDED).map(|read| read.created_at)
        };
        for written in [
            "2026-01-02T03:04:05.678901",
            "2026-01-02 03:04:05.678901",
            "2026-01-02T04:04:05.678901+01:00",
        ] {
            assert_eq!(with(json!(written)), Ok(now()), "{written}");
        }
        // Nothing at the top: the document's own time.
        for nothing in [json!(null), json!("")] {
            assert_eq!(with(nothing), Ok(now()));
        }
        assert_eq!(
            with(json!("yesterday")).unwrap_err().to_string(),
            "`created_at` is not an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z"
        );
        assert_eq!(
            with(json!(5)).unwrap_err().to_string(),
            "`created_at` is not a text"
        );
    }

    #[test]
    fn a_record_in_scope_without_any_time_is_refused() {
        let mut record = without(plan(), "created_at");
        assert_eq!(plan_of(&record).created_at, now());
        record = without(record, "generated_at");
        assert_eq!(refused(&record), "`created_at` is missing");
        let answered = without(acknowledgement(), "created_at");
        assert_eq!(ack_of(&answered).answer.acknowledged_at, now());
        assert_eq!(
            refused(&without(answered, "acknowledged_at")),
            "`created_at` is missing"
        );
    }

    #[test]
    fn a_plan_without_route_decisions_has_one_route_per_required_provider_with_the_owners_joined() {
        let mut record = without(plan(), "route_decisions");
        record["acknowledgement_required_providers"] = json!(["slack", "teams", "Slack"]);
        record["plan"]["owners"] = json!(["ana", "ben"]);
        let facts = plan_of(&record);
        let routes: Vec<_> = facts
            .routes
            .iter()
            .map(|route| (route.provider.as_str(), route.owner.as_str()))
            .collect();
        assert_eq!(routes, [("slack", "ana, ben"), ("teams", "ana, ben")]);
        assert_eq!(facts.repeated_routes, 1);
        for route in &facts.routes {
            assert_eq!(
                (route.action, route.acknowledgement_minutes),
                (RouteAction::Deliver, 60)
            );
            assert_eq!(route.escalation_owner.as_str(), "ana, ben");
        }
    }

    #[test]
    fn the_required_providers_may_stand_in_the_document_and_the_owners_may_be_missing() {
        let mut record = without(plan(), "route_decisions");
        record["plan"]["route_decisions"] = Value::Null;
        record["plan"]["acknowledgement_required_providers"] = json!(["slack"]);
        let facts = plan_of(&record);
        assert_eq!(facts.routes[0].owner.as_str(), DEFAULT_OWNER);
        // Without required providers nobody has to acknowledge.
        assert!(
            plan_of(&without(record, "acknowledgement_required_providers"))
                .routes
                .is_empty()
        );
    }

    #[test]
    fn route_decisions_that_are_no_list_are_refused() {
        let mut record = plan();
        record["plan"]["route_decisions"] = json!({ "provider": "slack" });
        assert_eq!(refused(&record), "`plan.route_decisions` is not a list");
    }

    #[test]
    fn a_decision_without_owner_is_for_the_default_owner_who_also_escalates() {
        for nothing in [json!(null), json!("")] {
            let mut record = decision("owner", nothing);
            record["plan"]["route_decisions"][0]["escalation_owner"] = Value::Null;
            let route = &plan_of(&record).routes[0];
            assert_eq!(
                (route.owner.as_str(), route.escalation_owner.as_str()),
                (DEFAULT_OWNER, DEFAULT_OWNER)
            );
        }
    }

    #[test]
    fn a_decision_without_provider_is_refused_with_its_place() {
        for nothing in [json!(null), json!(""), json!("  "), json!(5)] {
            assert_eq!(
                refused(&decision("provider", nothing.clone())),
                "`plan.route_decisions[0].provider` is missing",
                "{nothing}"
            );
        }
        let mut record = plan();
        record["plan"]["route_decisions"] = json!(["slack"]);
        assert_eq!(refused(&record), "`plan.route_decisions[0].provider` is missing");
    }

    #[test]
    fn a_decision_without_action_delivers_and_an_unknown_action_is_refused() {
        for nothing in [json!(null), json!("")] {
            assert_eq!(
                plan_of(&decision("action", nothing)).routes[0].action,
                RouteAction::Deliver
            );
        }
        assert_eq!(
            plan_of(&decision("action", json!(" Suppress"))).routes[0].action,
            RouteAction::Suppress
        );
        for unknown in [json!("postpone"), json!(1), json!(["suppress"])] {
            assert_eq!(
                refused(&decision("action", unknown)),
                "`plan.route_decisions[0].action` is neither deliver nor suppress"
            );
        }
    }

    #[test]
    fn a_missing_category_follows_from_window_then_calendar_then_reason() {
        let of = |window: Value, available: bool, reason: &str, own: &str| {
            let mut record = decision("action", json!("suppress"));
            let decision = &mut record["plan"]["route_decisions"][0];
            decision["maintenance_window"] = window;
            decision["owner_availability"]["available"] = json!(available);
            decision["reason"] = json!(reason);
            decision["category"] = json!(own);
            plan_of(&record).routes[0].category
        };
        let window = json!({ "window_id": "mw-1", "reason": "upgrade" });
        assert_eq!(
            of(window.clone(), false, "Healthy", ""),
            RouteCategory::MaintenanceWindow
        );
        assert_eq!(
            of(Value::Null, false, "Healthy", ""),
            RouteCategory::OwnerCalendar
        );
        assert_eq!(
            of(Value::Null, true, "schedule is Healthy", ""),
            RouteCategory::HealthySchedule
        );
        assert_eq!(
            of(Value::Null, true, "", "owner-calendar"),
            RouteCategory::OwnerCalendar
        );
        assert_eq!(of(Value::Null, true, "", "deliver"), RouteCategory::Other);
        assert_eq!(of(Value::Null, true, "", "holiday"), RouteCategory::Other);
        assert_eq!(of(json!("mw-1"), true, "", ""), RouteCategory::Other);
        // A delivered route is never in a suppression category.
        assert_eq!(
            plan_of(&decision("maintenance_window", window)).routes[0].category,
            RouteCategory::Deliver
        );
    }

    #[test]
    fn a_window_without_id_has_the_published_one() {
        let window_of = |window| {
            plan_of(&decision("maintenance_window", window)).routes[0]
                .maintenance_window
                .clone()
        };
        let note = |window_id, reason| {
            Some(WindowNote {
                window_id: named_text(window_id),
                reason: named_text(reason),
            })
        };
        assert_eq!(window_of(json!({})), note("maintenance-window", ""));
        assert_eq!(
            window_of(json!({ "window_id": "mw-1", "reason": "upgrade" })),
            note("mw-1", "upgrade")
        );
        assert_eq!(window_of(Value::Null), None);
    }

    #[test]
    fn an_owner_without_calendar_is_available() {
        let route = &plan_of(&decision("owner_availability", Value::Null)).routes[0];
        assert_eq!(
            (route.owner_available, route.owner_availability_reason.as_str()),
            (true, "")
        );
        let route = &plan_of(&decision("owner_availability", json!({ "available": false }))).routes[0];
        assert!(!route.owner_available);
    }

    #[test]
    fn minutes_are_read_as_the_published_system_reads_them() {
        let cases = [
            (json!(15), 15),
            (json!(15.9), 15),
            (json!("15"), 15),
            (json!(" 15 "), 15),
            (json!(u32::MAX), u32::MAX),
            (json!("soon"), 60),
            (json!("15.5"), 60),
            (json!(0), 60),
            (json!(0.5), 60),
            (json!(-5), 60),
            (json!("-99999999999999999999"), 60),
            (json!(""), 60),
            (json!(null), 60),
            (json!([15]), 60),
            (json!({}), 60),
        ];
        for (written, minutes) in cases {
            let facts = plan_of(&decision("acknowledgement_minutes", written.clone()));
            assert_eq!(facts.routes[0].acknowledgement_minutes, minutes, "{written}");
        }
        let mut missing = plan();
        missing["plan"]["route_decisions"] = json!([{ "provider": "slack" }]);
        assert_eq!(plan_of(&missing).routes[0].acknowledgement_minutes, 60);
    }

    #[test]
    fn minutes_beyond_any_calendar_are_refused_and_never_taken_for_a_shorter_time() {
        for huge in [
            json!(u64::from(u32::MAX) + 1),
            json!(u64::MAX),
            json!(1e300),
            json!("4294967296"),
            json!("99999999999999999999"),
        ] {
            assert_eq!(
                refused(&decision("acknowledgement_minutes", huge.clone())),
                "`plan.route_decisions[0].acknowledgement_minutes` is too large",
                "{huge}"
            );
        }
    }

    #[test]
    fn of_two_decisions_about_one_route_the_first_counts() {
        let mut record = plan();
        record["plan"]["route_decisions"] = json!([
            { "provider": "Pager-Duty", "owner": "ana", "acknowledgement_minutes": 5 },
            { "provider": "pager_duty", "owner": "ana", "acknowledgement_minutes": 90 },
            { "provider": "pager_duty", "owner": "Ana" },
        ]);
        let facts = plan_of(&record);
        assert_eq!((facts.routes.len(), facts.repeated_routes), (2, 1));
        assert_eq!(facts.routes[0].acknowledgement_minutes, 5);
    }

    #[test]
    fn a_plan_or_acknowledgement_without_schedule_is_refused() {
        for record in [plan(), acknowledgement()] {
            let mut record = without(record, "schedule_id");
            assert_eq!(refused(&record), "`schedule_id` is missing");
            record["schedule_id"] = json!("  ");
            assert_eq!(refused(&record), "`schedule_id` is missing");
            record["schedule_id"] = json!(" sched-a ");
            assert!(interpret(&record, RECORDED).is_ok());
        }
    }

    #[test]
    fn an_acknowledgement_for_no_plan_in_particular_leaves_the_cycle_open() {
        for nothing in [json!(null), json!("")] {
            let mut record = acknowledgement();
            record["plan_id"] = nothing.clone();
            record["acknowledgement"]["plan_id"] = nothing;
            assert_eq!(ack_of(&record).plan_id, None);
        }
        let mut record = acknowledgement();
        record["acknowledgement"]["plan_id"] = json!("gordn-1");
        assert_eq!(ack_of(&record).plan_id.unwrap().as_str(), "gordn-1");
    }

    #[test]
    fn an_acknowledgement_for_no_owner_in_particular_means_every_owner() {
        let mut record = acknowledgement();
        record["acknowledgement"]["owner"] = json!("");
        assert_eq!(ack_of(&record).owner, None);
        record["acknowledgement"]["owner"] = json!("ana");
        assert_eq!(ack_of(&record).owner, Some(named_text("ana")));
    }

    #[test]
    fn an_acknowledgement_without_provider_is_refused() {
        assert_eq!(
            refused(&without(acknowledgement(), "provider")),
            "`provider` is missing"
        );
        let mut record = acknowledgement();
        record["acknowledgement"]["provider"] = json!("  ");
        assert_eq!(refused(&record), "`provider` is missing");
    }

    #[test]
    fn a_missing_state_is_acknowledged_and_an_unknown_one_is_refused() {
        let missing = without(acknowledgement(), "acknowledgement_state");
        assert_eq!(ack_of(&missing).answer.said.state(), StateName::Acknowledged);
        for (written, said) in [
            (" Resolved", AckState::Resolved),
            ("ESCALATED", AckState::Escalated),
        ] {
            let mut record = acknowledgement();
            record["acknowledgement"]["acknowledgement_state"] = json!(written);
            assert_eq!(ack_of(&record).answer.said, said);
        }
        for unknown in [
            json!("outstanding"),
            json!("closed"),
            json!(5),
            json!(false),
            json!(["resolved"]),
        ] {
            let mut record = acknowledgement();
            record["acknowledgement"]["acknowledgement_state"] = unknown.clone();
            assert_eq!(
                refused(&record),
                "`acknowledgement_state` is none of acknowledged, dismissed, escalated, resolved",
                "{unknown}"
            );
        }
    }

    #[test]
    fn the_signer_acknowledged_when_the_document_does_not_say_who_did() {
        assert_eq!(
            ack_of(&without(acknowledgement(), "acknowledged_by"))
                .answer
                .acknowledged_by
                .as_str(),
            "ana@example.org"
        );
        let nobody = without(without(acknowledgement(), "acknowledged_by"), "signer");
        assert_eq!(ack_of(&nobody).answer.acknowledged_by.as_str(), "");
    }

    #[test]
    fn an_acknowledgement_counts_from_its_own_time() {
        let mut record = acknowledgement();
        record["acknowledgement"]["acknowledged_at"] = json!("2026-01-01T00:00:00");
        let facts = ack_of(&record);
        assert_eq!(facts.answer.acknowledged_at, at("2026-01-01T00:00:00Z"));
        record["acknowledgement"]["acknowledged_at"] = json!("yesterday");
        assert!(refused(&record).starts_with("`acknowledged_at` is not an RFC 3339 time"));
    }

    #[test]
    fn a_text_that_is_not_public_safe_refuses_the_record_without_showing_it() {
        let mut record = acknowledgement();
        record["acknowledgement"]["notes"] = json!("fixed with password=hunter2");
        let error = refused(&record);
        assert!(
            error.contains("`notes` is not public-safe") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_document_without_its_envelope_is_read_from_the_record_itself() {
        let mut record = plan();
        let Value::Object(document) = record["plan"].take() else {
            panic!("a document")
        };
        for (key, value) in document {
            record[key] = value;
        }
        assert_eq!(plan_of(&record), plan_of(&plan()));
    }

    proptest! {
        #[test]
        fn the_record_of_an_acknowledgement_gives_back_what_went_in(document in any_acknowledgement()) {
            let read = interpret(&document.record().into_value(), RECORDED).unwrap();
            prop_assert_eq!(read.kind, EvidenceKind::NotificationAck);
            prop_assert_eq!(&read.session_id, document.acknowledgement_id.as_str());
            prop_assert_eq!(read.created_at, document.acknowledged_at);
            let Projection::Acknowledgement(facts) = read.projection else {
                return Err(TestCaseError::fail("not an acknowledgement"));
            };
            let expected = AckFacts {
                schedule_id: document.schedule_id,
                plan_id: Some(document.plan_id),
                provider: document.provider,
                owner: Some(document.owner).filter(|owner| !owner.as_str().is_empty()),
                undoes: None,
                answer: Answer {
                    acknowledgement_id: document.acknowledgement_id,
                    said: document.acknowledgement_state,
                    acknowledged_by: document.acknowledged_by,
                    acknowledged_at: document.acknowledged_at,
                    external_ref: document.external_ref,
                    notes: document.notes,
                    issuer: document.actor.issuer,
                    subject: document.actor.subject,
                    verified: document.actor.verified,
                },
            };
            prop_assert_eq!(*facts, expected);
        }

        #[test]
        fn the_record_of_a_plan_gives_back_its_routes_and_its_content_key(plan in any_plan()) {
            let facts = plan_of(&plan.record().into_value());
            prop_assert_eq!(&facts.routes, &plan.routes());
            prop_assert_eq!((&facts.plan_id, &facts.schedule_id), (&plan.plan_id, &plan.schedule_id));
            prop_assert_eq!((facts.created_at, facts.repeated_routes), (plan.generated_at, 0));
            let key = content_key("sched-a", plan.status.as_str(), plan.next_due_at.as_str(), &plan.routes());
            prop_assert_eq!(facts.content_key, key);
        }

        #[test]
        fn no_json_makes_reading_panic(record in any_json()) {
            let _ = interpret(&record, now());
        }

        #[test]
        fn what_is_read_from_any_record_is_whole(record in any_record()) {
            let Ok(read) = interpret(&record, now()) else { return Ok(()) };
            prop_assert_eq!(Some(read.session_id.as_str()), record["session_id"].as_str());
            match read.projection {
                Projection::Plan(facts) => {
                    let ids: std::collections::BTreeSet<_> =
                        facts.routes.iter().map(|route| &route.route_id).collect();
                    prop_assert_eq!(ids.len(), facts.routes.len());
                    for route in &facts.routes {
                        prop_assert!(!route.provider.is_empty() && route.acknowledgement_minutes > 0);
                        prop_assert_eq!(route.awaits(), route.category == RouteCategory::Deliver);
                    }
                }
                Projection::Acknowledgement(facts) => {
                    prop_assert!(!facts.provider.is_empty() && !facts.schedule_id.as_str().is_empty());
                }
                Projection::Export(_)
                | Projection::Deliveries(_)
                | Projection::Reference(_)
                | Projection::Packet(_)
                | Projection::None => {}
            }
        }
    }
}

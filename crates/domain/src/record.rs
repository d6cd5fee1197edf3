//! Reading a metadata record back: what a plan or an acknowledgement in evidence says about routes.
//!
//! Own records and imported ones take the same way, so replaying the evidence gives the state that the tables
//! hold. Reading is lenient about what is not needed (contract decisions 4) and strict about what is: a record
//! that cannot be understood is refused with the reason, never half taken.

use serde_json::Value;
use thiserror::Error;

use crate::acknowledgement::{AckState, Answer};
use crate::evidence::{EvidenceKind, HistoryTerm, history_terms, payload, text};
use crate::id::{AcknowledgementId, MAX_ID_CHARS, PlanId, ScheduleId};
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
        Self::Invalid { field: field.into(), problem: problem.into() }
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
    /// What it says about routes.
    pub projection: Projection,
}

/// What a record says about routes.
#[derive(Debug, Clone)]
pub enum Projection {
    /// A new cycle.
    Plan(Box<PlanFacts>),
    /// An answer.
    Acknowledgement(Box<AckFacts>),
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
    /// When the clock of its routes began.
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
    /// The answer.
    pub answer: Answer,
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
    let session_id = Text::parse(Field::line("session_id", MAX_ID_CHARS), session_id)?.as_str().to_owned();
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
        EvidenceKind::NotificationPlan => Projection::Plan(Box::new(plan_facts(record, document, &session_id, created_at)?)),
        EvidenceKind::NotificationAck => {
            Projection::Acknowledgement(Box::new(ack_facts(record, document, &session_id, created_at)?))
        }
        _ => Projection::None,
    };
    let terms = history_terms(&kind, record).into_iter().collect();
    Ok(Interpreted { session_id, kind, created_at, terms, projection })
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

fn schedule_id(record: &Value, document: &Value) -> Result<ScheduleId, RecordError> {
    let id = either(record, document, "schedule_id").map(str::trim).unwrap_or_default();
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
    let said = match either(document, record, "acknowledgement_state") {
        None => AckState::Acknowledged,
        Some(state) => AckState::parse(state)
            .ok_or_else(|| RecordError::invalid("acknowledgement_state", "is none of acknowledged, dismissed, escalated, resolved"))?,
    };
    let actor = document.get("actor").unwrap_or(&Value::Null);
    let acknowledged_at = match text(document, "acknowledged_at") {
        None => created_at,
        Some(at) => Timestamp::parse_published(at)
            .map_err(|error| RecordError::invalid("acknowledged_at", format!("is {error}")))?,
    };
    let owner = text(document, "owner").map(|owner| line("owner", owner)).transpose()?;
    let plan_id = either(document, record, "plan_id").map(PlanId::parse).transpose()?;
    Ok(AckFacts {
        schedule_id: schedule_id(record, document)?,
        plan_id,
        provider,
        owner,
        answer: Answer {
            acknowledgement_id: AcknowledgementId::parse(session_id)?,
            said,
            acknowledged_by: line("acknowledged_by", either(document, record, "acknowledged_by").or_else(|| text(record, "signer")).unwrap_or_default())?,
            acknowledged_at,
            external_ref: line("external_ref", text(document, "external_ref").unwrap_or_default())?,
            notes: line("notes", text(document, "notes").unwrap_or_default())?,
            issuer: line("issuer", text(actor, "issuer").unwrap_or_default())?,
            subject: line("subject", text(actor, "subject").unwrap_or_default())?,
            verified: actor.get("verified").and_then(Value::as_bool).unwrap_or(false),
        },
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
        alert_level: line("alert_level", either(record, document, "alert_level").unwrap_or("unknown"))?,
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
        let provider = text(decision, "provider").ok_or_else(|| RecordError::invalid(at("provider"), "is missing"))?;
        let owner = line("owner", text(decision, "owner").unwrap_or(DEFAULT_OWNER))?;
        let action = match text(decision, "action") {
            None => RouteAction::Deliver,
            Some(action) => RouteAction::parse(action)
                .ok_or_else(|| RecordError::invalid(at("action"), "is neither deliver nor suppress"))?,
        };
        let window = decision.get("maintenance_window").filter(|window| window.is_object());
        let availability = decision.get("owner_availability").unwrap_or(&Value::Null);
        let owner_available = availability.get("available").and_then(Value::as_bool).unwrap_or(true);
        let reason = text(decision, "reason").unwrap_or_default();
        let own = text(decision, "category").and_then(RouteCategory::parse);
        let escalation_owner = text(decision, "escalation_owner").map(|owner| line("escalation_owner", owner)).transpose()?;
        let provider = Provider::parse(provider)?;
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
                        window_id: line("window_id", text(window, "window_id").unwrap_or("maintenance-window"))?,
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
            holder.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut providers = list(record, "acknowledgement_required_providers");
        if providers.is_empty() {
            providers = list(document, "acknowledgement_required_providers");
        }
        let owners = list(document, "owners");
        let owner = if owners.is_empty() { DEFAULT_OWNER.to_owned() } else { owners.join(", ") };
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
            #[expect(clippy::cast_possible_truncation, reason = "the published rule truncates; the cast saturates")]
            number.as_f64().map(|float| float as i64)
        }),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match whole {
        Some(whole) if whole > 0 => u32::try_from(whole).ok(),
        _ => Some(DEFAULT_ACKNOWLEDGEMENT_MINUTES),
    }
}

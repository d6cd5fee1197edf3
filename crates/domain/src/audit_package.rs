//! The audit package: every route of a scope, its state, and its whole history (contract wire 1.7, decisions 6).
//!
//! A package may hold a million routes, so it is written in pieces: [`PackageHeader::open`], one
//! [`PackageRoute`] after the other, [`close`]. The pieces, joined, are one JSON object.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::acknowledgement::{AckState, HistoryEntry};
use crate::actor::Actor;
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::{AcknowledgementId, AuditId, PlanId, RouteId, ScheduleId, derived_uuid};
use crate::public_safe::Text;
use crate::route::{
    Cycles, FilterTerm, Level, Provider, RouteAction, RouteCategory, RouteCounts, RouteFilter, StateName,
    TrackedRoute, Transition,
};
use crate::time::Timestamp;

/// Schema of the package.
pub const PACKAGE_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-acknowledgement-audit-package.v1";

/// What [`TrackedRoute::state`] is written as for a suppressed route.
pub const NOT_REQUIRED: &str = "not_required";

/// The security properties that the package states of itself.
const CONTROLS: [&str; 4] = [
    "public-safe-fields-only",
    "append-only-evidence",
    "complete-scope-no-window",
    "actor-recorded-per-acknowledgement",
];

/// A filter as documents keep it: every term, empty where none was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FilterNote {
    /// Exact schedule.
    pub schedule_id: String,
    /// Provider, as it was named.
    pub provider: String,
    /// Part of the owner's name, lower case.
    pub owner: String,
    /// State.
    pub state: String,
    /// Action.
    pub action: String,
    /// Category.
    pub category: String,
    /// Breached or not; null when the term was not given.
    pub breached: Option<bool>,
    /// `current`, or `all` for earlier cycles as well.
    pub cycle: String,
}

impl FilterNote {
    /// The note of a filter.
    pub fn of(filter: &RouteFilter, cycles: Cycles) -> Self {
        Self {
            schedule_id: filter
                .schedule_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            provider: filter
                .provider
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            owner: filter.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: filter.state.map(|v| v.as_str().to_owned()).unwrap_or_default(),
            action: filter.action.map(|v| v.as_str().to_owned()).unwrap_or_default(),
            category: filter.category.map(|v| v.as_str().to_owned()).unwrap_or_default(),
            breached: filter.breached,
            cycle: match cycles {
                Cycles::Current => "current".to_owned(),
                Cycles::All => "all".to_owned(),
            },
        }
    }
}

/// How many routes there were, and how many each term of the filter left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Population {
    /// Routes known in the cycles that the package speaks of, suppressed ones included.
    pub known: u64,
    /// Routes in the package.
    pub matched: u64,
    /// Routes left out, each under the first term that leaves it out; with `matched` they add up to `known`.
    pub left_out: LeftOut,
}

/// Routes left out, per term of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct LeftOut {
    /// By schedule.
    pub schedule_id: u64,
    /// By owner.
    pub owner: u64,
    /// By provider.
    pub provider: u64,
    /// By state.
    pub state: u64,
    /// By action.
    pub action: u64,
    /// By category.
    pub category: u64,
    /// By breach.
    pub breached: u64,
}

impl LeftOut {
    /// Counts routes under one term.
    pub fn add(&mut self, term: FilterTerm, count: u64) {
        let slot = match term {
            FilterTerm::ScheduleId => &mut self.schedule_id,
            FilterTerm::Owner => &mut self.owner,
            FilterTerm::Provider => &mut self.provider,
            FilterTerm::State => &mut self.state,
            FilterTerm::Action => &mut self.action,
            FilterTerm::Category => &mut self.category,
            FilterTerm::Breached => &mut self.breached,
        };
        *slot += count;
    }

    /// All routes left out.
    pub const fn total(&self) -> u64 {
        self.schedule_id
            + self.owner
            + self.provider
            + self.state
            + self.action
            + self.category
            + self.breached
    }
}

/// The evidence that a package was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EvidencePosition {
    /// How many records say something about routes: plans and acknowledgements.
    pub record_count: u64,
    /// Sequence number of the newest of them; 0 when there is none. Later records that say nothing about routes
    /// (packages, exports) do not move it, so the same state gives the same package.
    pub log_position: u64,
    /// Acknowledgements that answer no known route, as imported records may: they are kept as evidence and stand
    /// in no route's history.
    pub orphaned_acknowledgement_count: u64,
}

/// The software that made a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Software {
    /// Name.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
}

/// What a package is built from, besides its routes.
#[derive(Debug, Clone)]
pub struct PackageInput<'a> {
    /// The filter, its default action already set.
    pub filter: &'a RouteFilter,
    /// Which cycles.
    pub cycles: Cycles,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: &'a Actor,
    /// Counts over the routes of the scope.
    pub counts: RouteCounts,
    /// Distinct acknowledgement records behind these routes.
    pub acknowledgement_count: u64,
    /// Population.
    pub population: Population,
    /// Evidence.
    pub evidence: EvidencePosition,
}

/// Everything of a package but its routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PackageHeader {
    /// [`PACKAGE_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This package: derived from its scope, time, actor and evidence, so that building it twice over the same
    /// state with the same clock gives the same package.
    pub audit_id: AuditId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Display name of the actor.
    pub generated_by: Text,
    /// Its scope.
    pub filters: FilterNote,
    /// Routes that wait, or waited, for an acknowledgement. The five state counts add up to it.
    pub route_count: u64,
    /// Distinct acknowledgement records in the routes' histories.
    pub acknowledgement_count: u64,
    /// Routes in this state.
    pub acknowledged_count: u64,
    /// Routes in this state.
    pub resolved_count: u64,
    /// Routes in this state.
    pub escalated_count: u64,
    /// Routes in this state.
    pub dismissed_count: u64,
    /// Routes in this state.
    pub outstanding_count: u64,
    /// Outstanding or escalated routes past their deadline.
    pub breached_count: u64,
    /// Suppressed routes in the package; none of the five states, not part of `route_count`.
    pub suppressed_count: u64,
    /// The level of these routes.
    pub alert_level: Level,
    /// Known, matched, left out.
    pub population: Population,
    /// What it was made from.
    pub evidence: EvidencePosition,
    /// Who made it.
    pub actor: Actor,
    /// What made it.
    pub software: Software,
    /// Security properties, as labels.
    pub controls: Vec<&'static str>,
}

impl PackageHeader {
    /// The header of a package.
    pub fn new(input: &PackageInput<'_>) -> Self {
        let filters = FilterNote::of(input.filter, input.cycles);
        let scope = serde_json::to_string(&filters).unwrap_or_default();
        let position = input.evidence.log_position.to_string();
        let audit_id = AuditId::from_uuid(derived_uuid(
            input.at,
            &[
                "audit-package",
                &scope,
                &input.at.to_string(),
                input.actor.issuer.as_str(),
                input.actor.subject.as_str(),
                input.actor.actor.as_str(),
                &position,
                env!("CARGO_PKG_VERSION"),
            ],
        ));
        let counts = &input.counts;
        Self {
            schema_version: PACKAGE_SCHEMA,
            product: PRODUCT,
            audit_id,
            generated_at: input.at,
            generated_by: input.actor.actor.clone(),
            filters,
            route_count: counts.route_count,
            acknowledgement_count: input.acknowledgement_count,
            acknowledged_count: counts.acknowledged,
            resolved_count: counts.resolved,
            escalated_count: counts.escalated,
            dismissed_count: counts.dismissed,
            outstanding_count: counts.outstanding,
            breached_count: counts.breached,
            suppressed_count: counts.suppressed,
            alert_level: counts.level(),
            population: input.population.clone(),
            evidence: input.evidence,
            actor: input.actor.clone(),
            software: Software {
                name: "cavra",
                version: env!("CARGO_PKG_VERSION"),
            },
            controls: CONTROLS.to_vec(),
        }
    }

    /// The beginning of the package's text: every member but the routes, and the opening of their list.
    pub fn open(&self) -> String {
        // A struct of texts and numbers always serialises.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.pop();
        text.push_str(",\"routes\":[");
        text
    }

    /// The evidence record of a package: its header as the document's summary, and where the whole is.
    pub fn record(&self, whole: &PackageDigest) -> MetadataRecord {
        let mut summary = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Value::Object(members) = &mut summary {
            members.insert("package_sha256".into(), json!(whole.sha256));
            members.insert("package_bytes".into(), json!(whole.bytes));
        }
        MetadataRecord {
            kind: EvidenceKind::AuditPackage,
            session_id: self.audit_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: self.route_count,
            blocked_count: self.outstanding_count + self.escalated_count,
            approval_required_count: self.outstanding_count,
            fields: vec![
                ("audit_id", json!(self.audit_id)),
                ("alert_level", json!(self.alert_level)),
                ("route_count", json!(self.route_count)),
                ("acknowledgement_count", json!(self.acknowledgement_count)),
                ("outstanding_count", json!(self.outstanding_count)),
            ],
            payload: ("acknowledgement_audit_package", summary),
        }
    }
}

/// The end of the package's text.
pub const fn close() -> &'static str {
    "]}"
}

/// Size and digest of a whole package text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDigest {
    /// SHA-256 of the text, lower-case hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// One entry of a route's history in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PackageAcknowledgement {
    /// The record.
    pub acknowledgement_id: AcknowledgementId,
    /// What it says.
    pub acknowledgement_state: AckState,
    /// Display name of the actor.
    pub acknowledged_by: Text,
    /// When.
    pub acknowledged_at: Timestamp,
    /// Ticket or change number.
    pub external_ref: Text,
    /// Free text.
    pub notes: Text,
    /// Who vouches for the subject; empty on imported records without an actor.
    pub issuer: Text,
    /// The subject within the issuer.
    pub subject: Text,
    /// Whether a token proved the actor.
    pub verified: bool,
    /// What the acknowledgement did to this route.
    pub effect: Transition,
}

/// One route in a package.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PackageRoute {
    /// The route.
    pub route_id: RouteId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The cycle.
    pub plan_id: PlanId,
    /// The provider.
    pub provider: Provider,
    /// The owner.
    pub owner: Text,
    /// Who hears of it when the owner does not answer.
    pub escalation_owner: Text,
    /// Delivered or suppressed.
    pub route_action: RouteAction,
    /// Why.
    pub category: RouteCategory,
    /// When the clock began.
    pub route_created_at: Timestamp,
    /// State, or `not_required` on a suppressed route.
    pub acknowledgement_state: &'static str,
    /// Acknowledged or resolved.
    pub acknowledged: bool,
    /// Who gave the answer that stands; empty when none does.
    pub acknowledged_by: Text,
    /// When; empty when none stands.
    pub acknowledged_at: String,
    /// Its reference.
    pub external_ref: Text,
    /// Its notes.
    pub notes: Text,
    /// Its record; empty when none stands.
    pub acknowledgement_id: String,
    /// Outstanding or escalated, and past the deadline.
    pub breached: bool,
    /// Minutes since the clock began, rounded to hundredths.
    pub age_minutes: f64,
    /// How long the owner has.
    pub acknowledgement_minutes: u32,
    /// How often the state has changed.
    pub revision: u64,
    /// The whole history, oldest first.
    pub acknowledgements: Vec<PackageAcknowledgement>,
}

impl PackageRoute {
    /// The entry of a route.
    pub fn new(tracked: &TrackedRoute, history: Vec<HistoryEntry>, now: Timestamp) -> Self {
        let route = &tracked.route;
        let answer = tracked.status.answer.as_ref();
        Self {
            route_id: route.route_id.clone(),
            schedule_id: route.schedule_id.clone(),
            plan_id: route.plan_id.clone(),
            provider: route.provider.clone(),
            owner: route.owner.clone(),
            escalation_owner: route.escalation_owner.clone(),
            route_action: route.action,
            category: route.category,
            route_created_at: route.created_at,
            acknowledgement_state: tracked.state().map_or(NOT_REQUIRED, StateName::as_str),
            acknowledged: tracked.state().is_some_and(StateName::is_acknowledged),
            acknowledged_by: answer
                .map(|answer| answer.acknowledged_by.clone())
                .unwrap_or_default(),
            acknowledged_at: answer
                .map(|answer| answer.acknowledged_at.to_string())
                .unwrap_or_default(),
            external_ref: answer
                .map(|answer| answer.external_ref.clone())
                .unwrap_or_default(),
            notes: answer.map(|answer| answer.notes.clone()).unwrap_or_default(),
            acknowledgement_id: answer
                .map(|answer| answer.acknowledgement_id.to_string())
                .unwrap_or_default(),
            breached: tracked.breached(now),
            age_minutes: now.minutes_since(route.created_at),
            acknowledgement_minutes: route.acknowledgement_minutes,
            revision: tracked.status.revision,
            acknowledgements: history.into_iter().map(PackageAcknowledgement::new).collect(),
        }
    }
}

impl PackageAcknowledgement {
    fn new(entry: HistoryEntry) -> Self {
        let HistoryEntry { answer, effect } = entry;
        Self {
            acknowledgement_id: answer.acknowledgement_id,
            acknowledgement_state: answer.said,
            acknowledged_by: answer.acknowledged_by,
            acknowledged_at: answer.acknowledged_at,
            external_ref: answer.external_ref,
            notes: answer.notes,
            issuer: answer.issuer,
            subject: answer.subject,
            verified: answer.verified,
            effect,
        }
    }
}

/// The shape of a whole package, for schemas; packages are written in pieces.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "AuditPackage")]
pub struct AuditPackage {
    /// Everything but the routes.
    #[serde(flatten)]
    pub header: PackageHeader,
    /// The routes, newest cycle first.
    pub routes: Vec<PackageRoute>,
}

impl AuditPackage {
    /// A package of routes in memory: for embedding without storage.
    pub fn text(&self) -> String {
        let mut text = self.header.open();
        for (index, route) in self.routes.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(route).unwrap_or_default());
        }
        text.push_str(close());
        text
    }
}

//! The audit package: every route of a scope, its state, and its whole history (contract wire 1.7, decisions 6).
//!
//! A package may hold a million routes, so it is written in pieces: [`PackageHeader::open`], one
//! [`PackageRoute`] after the other, [`close`]. The pieces, joined, are one JSON object.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::acknowledgement::{HistoryEntry, UNDONE};
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
                ("providers", json!(whole.providers)),
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
    /// The providers of its routes, sorted, each once: by them history finds the package.
    pub providers: Vec<String>,
}

/// One entry of a route's history in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PackageAcknowledgement {
    /// The record; of an undo, the undo's.
    pub acknowledgement_id: AcknowledgementId,
    /// What it says; `undone` for an undo.
    pub acknowledgement_state: &'static str,
    /// The acknowledgement that an undo takes back; empty for an acknowledgement.
    pub undoes: String,
    /// Display name of the actor.
    pub acknowledged_by: Text,
    /// When.
    pub acknowledged_at: Timestamp,
    /// Ticket or change number.
    pub external_ref: Text,
    /// Free text; the reason of an undo.
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
        let HistoryEntry {
            answer,
            undoes,
            effect,
        } = entry;
        Self {
            acknowledgement_id: answer.acknowledgement_id,
            acknowledgement_state: match undoes {
                None => answer.said.as_str(),
                Some(_) => UNDONE,
            },
            undoes: undoes.map(|id| id.to_string()).unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::acknowledgement::AckState;
    use crate::record::{Projection, interpret};
    use crate::route::{FilterTerms, Route};
    use crate::testing::{about_now, actor, answer, any_filter, any_routes, now, route, suppressed, tracked};

    fn filter(terms: &FilterTerms<'_>) -> RouteFilter {
        RouteFilter::parse(terms).unwrap()
    }

    fn position(log_position: u64) -> EvidencePosition {
        EvidencePosition {
            record_count: 3,
            log_position,
            orphaned_acknowledgement_count: 0,
        }
    }

    fn header(
        filter: &RouteFilter,
        cycles: Cycles,
        at: Timestamp,
        by: &str,
        log_position: u64,
    ) -> PackageHeader {
        PackageHeader::new(&PackageInput {
            filter,
            cycles,
            at,
            actor: &actor(by),
            counts: RouteCounts::default(),
            acknowledgement_count: 0,
            population: Population {
                known: 0,
                matched: 0,
                left_out: LeftOut::default(),
            },
            evidence: position(log_position),
        })
    }

    /// The package of the matching routes, each with one entry of history per revision.
    fn package(routes: &[TrackedRoute], filter: &RouteFilter, now: Timestamp) -> AuditPackage {
        let mut left_out = LeftOut::default();
        let mut matching = Vec::new();
        for tracked in routes {
            match filter.left_out_by(tracked, now) {
                Some(term) => left_out.add(term, 1),
                None => matching.push(tracked.clone()),
            }
        }
        let count = |count: usize| u64::try_from(count).unwrap();
        let header = PackageHeader::new(&PackageInput {
            filter,
            cycles: Cycles::All,
            at: now,
            actor: &actor("ana"),
            counts: RouteCounts::of(&matching, now),
            acknowledgement_count: 0,
            population: Population {
                known: count(routes.len()),
                matched: count(matching.len()),
                left_out,
            },
            evidence: position(1),
        });
        let entry = |tracked: &TrackedRoute| {
            let history = tracked
                .status
                .answer
                .iter()
                .map(|answer| HistoryEntry {
                    answer: answer.clone(),
                    undoes: None,
                    effect: Transition::Change,
                })
                .collect();
            PackageRoute::new(tracked, history, now)
        };
        AuditPackage {
            header,
            routes: matching.iter().map(entry).collect(),
        }
    }

    #[test]
    fn the_id_of_a_package_is_the_same_for_the_same_scope_time_actor_and_evidence() {
        let scope = filter(&FilterTerms {
            provider: "slack",
            ..FilterTerms::default()
        });
        let first = header(&scope, Cycles::Current, now(), "ana", 7);
        assert_eq!(first, header(&scope, Cycles::Current, now(), "ana", 7));
        assert!(first.audit_id.as_str().starts_with("gordackaudit-"));
        let owner = filter(&FilterTerms {
            provider: "slack",
            owner: "ana",
            ..FilterTerms::default()
        });
        let others = [
            header(&owner, Cycles::Current, now(), "ana", 7),
            header(&scope, Cycles::All, now(), "ana", 7),
            header(&scope, Cycles::Current, now().plus_micros(1), "ana", 7),
            header(&scope, Cycles::Current, now(), "ben", 7),
            header(&scope, Cycles::Current, now(), "ana", 8),
        ];
        let ids: BTreeSet<_> = others
            .iter()
            .chain([&first])
            .map(|header| &header.audit_id)
            .collect();
        assert_eq!(ids.len(), 6);
    }

    #[test]
    fn the_id_of_a_package_depends_on_who_vouches_for_the_actor() {
        let id = |actor: &Actor| {
            let input = PackageInput {
                filter: &RouteFilter::default(),
                cycles: Cycles::Current,
                at: now(),
                actor,
                counts: RouteCounts::default(),
                acknowledgement_count: 0,
                population: Population {
                    known: 0,
                    matched: 0,
                    left_out: LeftOut::default(),
                },
                evidence: position(1),
            };
            PackageHeader::new(&input).audit_id
        };
        let local = actor("ana");
        let issuer = crate::testing::text("https://idp.example");
        assert_ne!(
            id(&local),
            id(&Actor {
                issuer,
                ..local.clone()
            })
        );
        assert_ne!(
            id(&local),
            id(&Actor {
                subject: crate::testing::text("u-1"),
                ..local.clone()
            })
        );
    }

    #[test]
    fn the_note_of_a_filter_has_every_term_and_is_empty_where_none_was_given() {
        let note = FilterNote::of(&RouteFilter::default(), Cycles::Current);
        assert_eq!(
            json!(note),
            json!({
                "schedule_id": "", "provider": "", "owner": "", "state": "", "action": "", "category": "",
                "breached": null, "cycle": "current",
            })
        );
        let full = filter(&FilterTerms {
            schedule_id: "sched-a",
            owner: "ANA",
            provider: "Pager-Duty",
            state: "resolved",
            action: "deliver",
            category: "deliver",
            breached: Some(false),
        });
        assert_eq!(
            json!(FilterNote::of(&full, Cycles::All)),
            json!({
                "schedule_id": "sched-a", "provider": "Pager-Duty", "owner": "ana", "state": "resolved",
                "action": "deliver", "category": "deliver", "breached": false, "cycle": "all",
            })
        );
    }

    #[test]
    fn each_filter_term_has_a_count_of_its_own() {
        let mut left_out = LeftOut::default();
        for (count, term) in (1..).zip(FilterTerm::ALL) {
            left_out.add(*term, count);
        }
        let written = json!(left_out);
        for (count, term) in (1..).zip(FilterTerm::ALL) {
            assert_eq!(written[term.as_str()], json!(count), "{term}");
        }
        assert_eq!(left_out.total(), 28);
    }

    #[test]
    fn a_route_shows_its_answer_and_its_whole_history() {
        let tracked = tracked(
            route("sched-a", "slack", "ana"),
            &[AckState::Escalated, AckState::Resolved],
        );
        let history = vec![
            HistoryEntry {
                answer: answer(AckState::Escalated, 1),
                undoes: None,
                effect: Transition::Change,
            },
            HistoryEntry {
                answer: answer(AckState::Resolved, 2),
                undoes: None,
                effect: Transition::Change,
            },
            HistoryEntry {
                answer: answer(AckState::Resolved, 3),
                undoes: None,
                effect: Transition::Repeat,
            },
        ];
        let entry = json!(PackageRoute::new(&tracked, history, now().plus_minutes(90)));
        assert_eq!(
            (&entry["acknowledgement_state"], &entry["acknowledged"]),
            (&json!("resolved"), &json!(true))
        );
        assert_eq!(
            (&entry["acknowledged_by"], &entry["external_ref"]),
            (&json!("person 2"), &json!("CHG-2"))
        );
        assert_eq!(
            entry["acknowledgement_id"],
            entry["acknowledgements"][1]["acknowledgement_id"]
        );
        assert_eq!(
            (&entry["breached"], &entry["age_minutes"], &entry["revision"]),
            (&json!(false), &json!(90.0), &json!(2))
        );
        let effects: Vec<_> = entry["acknowledgements"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["effect"].clone())
            .collect();
        assert_eq!(effects, ["change", "change", "repeat"]);
        assert_eq!(entry["acknowledgements"][2]["verified"], false);
    }

    #[test]
    fn an_outstanding_route_has_no_answer_and_a_suppressed_one_needs_none() {
        let late = now().plus_minutes(60);
        let open = json!(PackageRoute::new(
            &tracked(route("sched-a", "slack", "ana"), &[]),
            Vec::new(),
            late
        ));
        assert_eq!(
            (&open["acknowledgement_state"], &open["breached"]),
            (&json!("outstanding"), &json!(true))
        );
        for empty in [
            "acknowledged_by",
            "acknowledged_at",
            "external_ref",
            "notes",
            "acknowledgement_id",
        ] {
            assert_eq!(open[empty], "", "{empty}");
        }
        let away: Route = suppressed(route("sched-a", "slack", "ana"), RouteCategory::OwnerCalendar);
        let away = json!(PackageRoute::new(&tracked(away, &[]), Vec::new(), late));
        assert_eq!(
            (&away["acknowledgement_state"], &away["acknowledged"]),
            (&json!(NOT_REQUIRED), &json!(false))
        );
        assert_eq!(
            (&away["route_action"], &away["breached"]),
            (&json!("suppress"), &json!(false))
        );
    }

    #[test]
    fn a_package_without_routes_is_a_whole_document_too() {
        let package = AuditPackage {
            header: header(&RouteFilter::default(), Cycles::Current, now(), "ana", 0),
            routes: Vec::new(),
        };
        let value: Value = serde_json::from_str(&package.text()).unwrap();
        assert_eq!(
            (&value["routes"], &value["alert_level"]),
            (&json!([]), &json!("healthy"))
        );
        assert_eq!(value["product"], "CAVRA");
    }

    #[test]
    fn the_record_of_a_package_holds_its_summary_and_where_the_whole_is() {
        let routes = [
            tracked(route("sched-a", "slack", "ana"), &[]),
            tracked(route("sched-a", "slack", "ben"), &[AckState::Escalated]),
        ];
        let package = package(&routes, &RouteFilter::default(), now());
        let whole = PackageDigest {
            sha256: "ab".repeat(32),
            bytes: 17,
            providers: vec!["Slack".into()],
        };
        let record = package.header.record(&whole).into_value();
        let terms = crate::evidence::history_terms(&EvidenceKind::AuditPackage, &record);
        assert!(terms.contains(&crate::evidence::HistoryTerm::provider("slack")));
        assert_eq!(record["session_id"], json!(package.header.audit_id));
        assert_eq!(
            ["decision_count", "blocked_count", "approval_required_count"].map(|key| record[key].as_u64()),
            [Some(2), Some(2), Some(1)]
        );
        let summary = &record["acknowledgement_audit_package"];
        assert_eq!(
            (&summary["package_sha256"], &summary["package_bytes"]),
            (&json!("ab".repeat(32)), &json!(17))
        );
        assert_eq!(summary.get("routes"), None);
        let read = interpret(&record, Timestamp::EPOCH).unwrap();
        assert!(matches!(read.projection, Projection::None));
        assert_eq!((read.kind, read.created_at), (EvidenceKind::AuditPackage, now()));
    }

    proptest! {
        #[test]
        fn the_text_in_pieces_is_the_package_as_one_object(
            routes in any_routes(), filter in any_filter(), now in about_now(),
        ) {
            let package = package(&routes, &filter, now);
            let text = package.text();
            prop_assert_eq!(&text, &serde_json::to_string(&package).unwrap());
            let mut pieces = package.header.open();
            let entries: Vec<_> = package.routes.iter().map(|route| serde_json::to_string(route).unwrap()).collect();
            pieces.push_str(&entries.join(","));
            pieces.push_str(close());
            prop_assert_eq!(&pieces, &text);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value, serde_json::to_value(&package).unwrap());
        }

        #[test]
        fn states_and_suppressed_partition_the_package_and_the_population_adds_up(
            routes in any_routes(), filter in any_filter(), now in about_now(),
        ) {
            let package = package(&routes, &filter, now);
            let header = &package.header;
            let states = header.outstanding_count + header.acknowledged_count + header.escalated_count
                + header.dismissed_count + header.resolved_count;
            prop_assert_eq!(states, header.route_count);
            prop_assert_eq!(header.route_count + header.suppressed_count, package.routes.len() as u64);
            let population = &header.population;
            prop_assert_eq!(population.matched, package.routes.len() as u64);
            prop_assert_eq!(population.matched + population.left_out.total(), population.known);
            let breached = package.routes.iter().filter(|route| route.breached).count();
            prop_assert_eq!(breached as u64, header.breached_count);
        }
    }
}

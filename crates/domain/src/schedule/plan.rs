//! The notification plan: one route per owner and provider, and what is decided about it (contract wire 1.3, 1.4,
//! 3.1).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::policy::RoutingPolicy;
use super::read::{At, safe, sorted_unique, unsafe_at};
use super::report::{ScheduleReport, ScheduleSummary};
use super::routing::{ActiveWindows, Rules, Target, availability, targets};
use super::{ScheduleError, ScheduleStatus, fixed};
use crate::actor::Actor;
use crate::digest::{hex, sha256_of};
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::{PlanId, ScheduleId};
use crate::public_safe::{Field, Text};
use crate::route::{
    DEFAULT_ACKNOWLEDGEMENT_MINUTES, DEFAULT_OWNER, Level, MAX_NAME_CHARS, Provider, Route, RouteAction,
    RouteCategory, WindowNote,
};
use crate::time::Timestamp;

/// Schema of [`NotificationPlan`].
pub const NOTIFICATION_PLAN_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-notification-plan.v1";

/// The provider of a schedule that names none (contract wire 1.3).
pub const DEFAULT_PROVIDER: &str = "webhook";

/// The most routes that one plan may have. More is an error, never a shorter plan.
pub const MAX_ROUTES: usize = 100_000;

/// What holds for every plan, for people.
pub const CONTROLS: [&str; 4] = [
    "operator-owned-delivery",
    "no-stored-credentials",
    "public-safe-metadata",
    "append-only-evidence",
];

/// Which providers a request means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedProviders {
    /// Sorted by key, each once; `None` for all.
    only: Option<Vec<Provider>>,
}

impl RequestedProviders {
    /// Reads the `provider` of a request: `all` or nothing for every provider, else names with commas between
    /// them, compared by key.
    ///
    /// # Errors
    /// [`ScheduleError`] at `/provider` for an empty name, for `all` beside other names, and for a name that is
    /// not public-safe.
    pub fn parse(raw: &str) -> Result<Self, ScheduleError> {
        let refused = |expected| ScheduleError::Expected {
            pointer: "/provider".into(),
            expected,
        };
        if raw.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut only = Vec::new();
        for name in raw.split(',') {
            let provider = Provider::parse(name).map_err(|error| unsafe_at(At::Root("provider"), error))?;
            if provider.is_empty() {
                return Err(refused("`all`, or provider names with commas between them"));
            }
            only.push(provider);
        }
        let only = sorted_unique(only);
        if only.iter().all(|provider| provider.key() != "all") {
            return Ok(Self { only: Some(only) });
        }
        if only.len() > 1 {
            Err(refused("either `all` or provider names, not both"))
        } else {
            Ok(Self::default())
        }
    }

    /// The providers that the request names; none when it means all.
    pub(super) fn named(&self) -> impl Iterator<Item = &Provider> {
        self.only.iter().flatten()
    }

    /// Whether the request means this provider.
    pub fn includes(&self, provider: &Provider) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.binary_search_by(|one| one.key().cmp(provider.key())).is_ok())
    }
}

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct PlanRequest<'a> {
    /// The report about the schedule, made at `generated_at`.
    pub report: &'a ScheduleReport,
    /// The policy, completed from the same schedule.
    pub policy: &'a RoutingPolicy,
    /// The providers that are asked for.
    pub requested: &'a RequestedProviders,
    /// Notify although nothing is due. Windows and calendars still hold.
    pub force: bool,
    /// The plan's id.
    pub plan_id: PlanId,
    /// The time of the plan: windows and calendars are held against it, and the routes' clocks start.
    pub generated_at: Timestamp,
    /// Who asks for the plan; `generated_by` is this actor's name.
    pub actor: Actor,
}

/// `gordroute-` and the first 16 hexadecimal digits of the SHA-256 over `schedule|provider|owner` (contract wire
/// 1.4). Unlike a route's id it is the same in every cycle; it names a route to people and joins documents, and
/// nothing here depends on it being unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct RouteKey(String);

impl RouteKey {
    /// The key of a route.
    pub fn of(schedule_id: &ScheduleId, provider: &Provider, owner: &Text) -> Self {
        let digest = Sha256::digest(format!("{schedule_id}|{provider}|{owner}"));
        let mut hex = hex(&digest);
        hex.truncate(16);
        Self(format!("gordroute-{hex}"))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The maintenance window that a route falls into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RouteWindow {
    /// Its name.
    pub window_id: Text,
    /// Its first moment.
    pub start_at: Timestamp,
    /// Its last moment.
    pub end_at: Timestamp,
    /// Why; may be empty.
    pub reason: Text,
}

/// Whether the owner of a route can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OwnerAvailability {
    /// Whether the calendar lets the owner be notified.
    pub available: bool,
    /// Why, or why not.
    pub reason: Text,
    /// The first moment of the absence, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// The last moment of the absence, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_at: Option<Timestamp>,
}

/// A route before anything is decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OwnerRoute {
    /// The same in every cycle.
    pub route_key: RouteKey,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// Over what the owner is notified, as the schedule or the rule names it.
    pub provider: Provider,
    /// Who is notified.
    pub owner: Text,
    /// How long the owner has, in minutes; at least 1.
    pub acknowledgement_minutes: u32,
    /// Who hears of it when the owner does not answer.
    pub escalation_owner: Text,
    /// The first maintenance window that applies.
    pub maintenance_window: Option<RouteWindow>,
    /// What the owner's calendar says.
    pub owner_availability: OwnerAvailability,
}

/// A route and what is decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RouteDecision {
    /// The route.
    #[serde(flatten)]
    pub route: OwnerRoute,
    /// Delivered or suppressed.
    pub action: RouteAction,
    /// Why, for people.
    pub reason: Text,
    /// Why.
    pub category: RouteCategory,
}

/// A notification plan, and with it a new cycle of the schedule's routes (contract wire 1.3).
///
/// It has at least one route. Each pair of owner and provider key has exactly one; owners that the schedule names
/// twice count once, and so do two spellings of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotificationPlan {
    /// [`NOTIFICATION_PLAN_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// The cycle.
    pub plan_id: PlanId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// When the plan was made.
    pub generated_at: Timestamp,
    /// Who asked for it, for display.
    pub generated_by: Text,
    /// The state of the schedule.
    pub status: ScheduleStatus,
    /// How much attention that state asks for.
    pub alert_level: Level,
    /// The schedule's providers, each once, as far as they are asked for.
    pub eligible_providers: Vec<Provider>,
    /// The providers of delivered routes, sorted.
    pub selected_providers: Vec<Provider>,
    /// The same: every delivered route waits for an acknowledgement.
    pub acknowledgement_required_providers: Vec<Provider>,
    /// The providers of suppressed routes, sorted; if there are none, the eligible ones that are not selected.
    pub suppressed_providers: Vec<Provider>,
    /// The owners that the plan is for, each once: the schedule's, else `release-governance`.
    pub owners: Vec<Text>,
    /// The routes, by owner in the schedule's order and then by provider.
    pub owner_routes: Vec<OwnerRoute>,
    /// The same routes with their decisions.
    pub route_decisions: Vec<RouteDecision>,
    /// How many are delivered.
    pub deliverable_route_count: usize,
    /// How many are suppressed.
    pub suppressed_route_count: usize,
    /// Suppressed routes with a maintenance window.
    pub maintenance_suppressed_count: usize,
    /// Suppressed routes whose owner is not available. A route may count here and in
    /// `maintenance_suppressed_count`.
    pub calendar_suppressed_count: usize,
    /// When the drill is due; empty when unknown.
    pub next_due_at: Text,
    /// For people.
    pub reason: Text,
    /// Who asked for the plan.
    pub actor: Actor,
    /// [`CONTROLS`].
    pub controls: [&'static str; 4],
}

impl NotificationPlan {
    /// The routes of the cycle, as every view keeps them; in the order of `route_decisions`.
    pub fn routes(&self) -> Vec<Route> {
        let alert_level = fixed(self.alert_level.as_str());
        let route = |decision: &RouteDecision| {
            let route = &decision.route;
            Route {
                route_id: Route::id_for(&self.plan_id, self.generated_at, &route.provider, &route.owner),
                plan_id: self.plan_id.clone(),
                schedule_id: self.schedule_id.clone(),
                created_at: self.generated_at,
                alert_level: alert_level.clone(),
                provider: route.provider.clone(),
                owner: route.owner.clone(),
                escalation_owner: route.escalation_owner.clone(),
                action: decision.action,
                category: decision.category,
                reason: decision.reason.clone(),
                acknowledgement_minutes: route.acknowledgement_minutes,
                maintenance_window: route.maintenance_window.as_ref().map(|window| WindowNote {
                    window_id: window.window_id.clone(),
                    reason: window.reason.clone(),
                }),
                owner_available: route.owner_availability.available,
                owner_availability_reason: route.owner_availability.reason.clone(),
                next_due_at: self.next_due_at.clone(),
            }
        };
        self.route_decisions.iter().map(route).collect()
    }

    /// The evidence record that holds the plan (contract wire 1.1).
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::NotificationPlan,
            session_id: self.plan_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: u64::try_from(self.eligible_providers.len()).unwrap_or(u64::MAX),
            blocked_count: u64::from(self.alert_level == Level::Critical),
            approval_required_count: u64::from(self.alert_level == Level::Warning),
            fields: vec![
                ("plan_id", json!(self.plan_id)),
                ("schedule_id", json!(self.schedule_id)),
                ("alert_level", json!(self.alert_level)),
                ("selected_providers", json!(self.selected_providers)),
                (
                    "acknowledgement_required_providers",
                    json!(self.acknowledgement_required_providers),
                ),
                ("deliverable_route_count", json!(self.deliverable_route_count)),
                ("suppressed_route_count", json!(self.suppressed_route_count)),
                (
                    "maintenance_suppressed_count",
                    json!(self.maintenance_suppressed_count),
                ),
                ("calendar_suppressed_count", json!(self.calendar_suppressed_count)),
            ],
            payload: ("plan", serde_json::to_value(self).unwrap_or(Value::Null)),
        }
    }

    /// [`content_key`] of this plan, in hexadecimal.
    pub fn content_key(&self) -> String {
        let key = content_key(
            self.schedule_id.as_str(),
            self.status.as_str(),
            self.next_due_at.as_str(),
            &self.routes(),
        );
        hex(&key)
    }
}

/// A digest over everything that makes two plans say the same: schedule, status, due time, and of every route
/// provider, owner, escalation owner, action, category and minutes. Id, time, author and prose do not count, nor
/// the order of the routes, nor how a provider or the due time is spelt. Own and imported plans give the same key
/// for the same plan, so a plan that is sent again can be known before it resets the routes' clocks (contract
/// decisions 3).
///
/// `next_due_at` is the text of the plan; one that is no time counts as it stands.
pub fn content_key(schedule_id: &str, status: &str, next_due_at: &str, routes: &[Route]) -> [u8; 32] {
    let next_due_at =
        Timestamp::parse_published(next_due_at).map_or_else(|_| next_due_at.to_owned(), |at| at.to_string());
    let mut rows: Vec<_> = routes
        .iter()
        .map(|route| {
            let texts = [
                route.provider.key(),
                route.owner.as_str(),
                route.escalation_owner.as_str(),
                route.action.as_str(),
                route.category.as_str(),
            ];
            (texts, route.acknowledgement_minutes)
        })
        .collect();
    rows.sort_unstable();
    let minutes: Vec<String> = rows.iter().map(|(_, minutes)| minutes.to_string()).collect();
    let routes = rows
        .iter()
        .zip(&minutes)
        .flat_map(|((texts, _), minutes)| texts.iter().copied().chain([minutes.as_str()]));
    let head = ["cavra-plan-content-v1", schedule_id, status, &next_due_at];
    sha256_of(head.into_iter().chain(routes))
}

/// Why a route is suppressed, or that it is not (contract wire 1.4). Plans that are made here and plans that are
/// imported go through this one function; `own` is the category that a plan states itself, if any.
///
/// A route is suppressed if and only if its category is not [`RouteCategory::Deliver`].
pub fn category(
    action: RouteAction,
    has_window: bool,
    owner_available: bool,
    reason: &str,
    own: Option<RouteCategory>,
) -> RouteCategory {
    match action {
        RouteAction::Deliver => RouteCategory::Deliver,
        RouteAction::Suppress if has_window => RouteCategory::MaintenanceWindow,
        RouteAction::Suppress if !owner_available => RouteCategory::OwnerCalendar,
        RouteAction::Suppress if reason.to_lowercase().contains("healthy") => RouteCategory::HealthySchedule,
        RouteAction::Suppress => own
            .filter(|own| *own != RouteCategory::Deliver)
            .unwrap_or(RouteCategory::Other),
    }
}

/// Makes a plan (contract wire 3.1).
///
/// 1. The owners are the schedule's, else `release-governance`; the base providers are the schedule's, else
///    `webhook`.
/// 2. An owner's rule may replace the base providers, also by some that the schedule does not name. Then the
///    providers are restricted to those that are asked for. Each owner and provider is one route.
/// 3. The minutes are the rule's, else the policy's, else 60. The escalation owner is the rule's, else the owner.
/// 4. A route is suppressed when the schedule needs no notification and none is forced, when a maintenance window
///    applies, or when the owner is not available. Windows and absences include both of their ends.
///
/// # Errors
/// - [`ScheduleError::NotRequested`], [`ScheduleError::MissingScheduleId`]: there is nothing to plan.
/// - [`ScheduleError::UnknownProvider`]: a provider is asked for that no owner has, so the plan would leave out
///   what the request means.
/// - [`ScheduleError::TooManyRoutes`]: more than [`MAX_ROUTES`].
pub fn build_plan(request: &PlanRequest<'_>) -> Result<NotificationPlan, ScheduleError> {
    let report = request.report;
    let schedule = &report.schedule;
    if report.status == ScheduleStatus::NotRequested {
        return Err(ScheduleError::NotRequested);
    }
    if schedule.schedule_id.as_str().is_empty() {
        return Err(ScheduleError::MissingScheduleId);
    }
    let schedule_id = ScheduleId::parse(schedule.schedule_id.as_str())?;
    let owners = owners(schedule)?;
    let eligible = eligible_providers(schedule)?;
    let base = sorted_unique(eligible.clone());
    let rules = Rules::of(&request.policy.owner_routes);
    let targets = targets(&owners, &base, &rules, request.requested)?;

    let decide = Decide {
        schedule_id: &schedule_id,
        policy: request.policy,
        windows: ActiveWindows::of(
            &request.policy.maintenance_windows,
            &schedule_id,
            request.generated_at,
        ),
        notifies: request.force || report.status.notifies(),
        reasons: Reasons::of(report.status),
        now: request.generated_at,
    };
    let route_decisions: Vec<_> = targets.iter().flat_map(|target| decide.routes(target)).collect();

    let by_action = |action| {
        route_decisions
            .iter()
            .filter(move |decision| decision.action == action)
    };
    let suppressed = || by_action(RouteAction::Suppress);
    let selected = providers_of(by_action(RouteAction::Deliver));
    let eligible: Vec<_> = eligible
        .into_iter()
        .filter(|one| request.requested.includes(one))
        .collect();
    let mut suppressed_providers = providers_of(suppressed());
    if suppressed_providers.is_empty() {
        let chosen: BTreeSet<_> = selected.iter().map(Provider::key).collect();
        suppressed_providers = eligible
            .iter()
            .filter(|one| !chosen.contains(one.key()))
            .cloned()
            .collect();
    }
    let deliverable_route_count = by_action(RouteAction::Deliver).count();
    Ok(NotificationPlan {
        schema_version: NOTIFICATION_PLAN_SCHEMA,
        product: PRODUCT,
        plan_id: request.plan_id.clone(),
        generated_at: request.generated_at,
        generated_by: request.actor.actor.clone(),
        status: report.status,
        alert_level: report.status.alert_level(),
        eligible_providers: eligible,
        acknowledgement_required_providers: selected.clone(),
        selected_providers: selected,
        suppressed_providers,
        owner_routes: route_decisions
            .iter()
            .map(|decision| decision.route.clone())
            .collect(),
        deliverable_route_count,
        suppressed_route_count: suppressed().count(),
        maintenance_suppressed_count: suppressed()
            .filter(|one| one.route.maintenance_window.is_some())
            .count(),
        calendar_suppressed_count: suppressed()
            .filter(|one| !one.route.owner_availability.available)
            .count(),
        next_due_at: schedule.next_due_at.clone(),
        reason: fixed(if deliverable_route_count > 0 {
            "owners are to be notified and to acknowledge"
        } else {
            "every route is suppressed: nobody is to be notified"
        }),
        actor: request.actor.clone(),
        controls: CONTROLS,
        owners,
        route_decisions,
        schedule_id,
    })
}

/// The schedule's owners, each once, in order; the default owner when there is none.
fn owners(schedule: &ScheduleSummary) -> Result<Vec<Text>, ScheduleError> {
    let mut seen = BTreeSet::new();
    let mut owners: Vec<_> = schedule
        .owners
        .iter()
        .filter(|owner| seen.insert(owner.as_str()))
        .cloned()
        .collect();
    if owners.is_empty() {
        let field = Field::line("owner", MAX_NAME_CHARS);
        owners.push(safe(At::Root("schedule"), field, DEFAULT_OWNER)?);
    }
    Ok(owners)
}

/// The schedule's providers, each once, in order; the default provider when there is none.
fn eligible_providers(schedule: &ScheduleSummary) -> Result<Vec<Provider>, ScheduleError> {
    let mut seen = BTreeSet::new();
    let named = &schedule.notification_providers;
    let mut eligible: Vec<_> = named
        .iter()
        .filter(|provider| seen.insert(provider.key()))
        .cloned()
        .collect();
    if eligible.is_empty() {
        eligible.push(Provider::parse(DEFAULT_PROVIDER)?);
    }
    Ok(eligible)
}

/// The providers of some routes, each once, sorted by key.
fn providers_of<'a>(decisions: impl Iterator<Item = &'a RouteDecision>) -> Vec<Provider> {
    let mut providers = BTreeMap::new();
    for RouteDecision { route, .. } in decisions {
        providers.entry(route.provider.key()).or_insert(&route.provider);
    }
    providers.into_values().cloned().collect()
}

/// The reasons of a plan's routes, for people. Published clients take a suppressed route whose reason says
/// "healthy" for one that is suppressed by a healthy schedule, so no other reason says it.
struct Reasons {
    deliver: Text,
    window: Text,
    calendar: Text,
    healthy: Text,
}

impl Reasons {
    fn of(status: ScheduleStatus) -> Self {
        Self {
            deliver: fixed(match status {
                ScheduleStatus::DueSoon => "the rollback drill is due soon",
                ScheduleStatus::NeedsAttention => "the rollback drill schedule needs attention",
                ScheduleStatus::Ready | ScheduleStatus::NotRequested => {
                    "the notification is forced although no drill is due"
                }
            }),
            window: fixed("a maintenance window applies to the route"),
            calendar: fixed("the owner is not available"),
            healthy: fixed("the schedule is healthy: no drill is due"),
        }
    }
}

/// Everything that decides about the routes of one plan.
struct Decide<'a> {
    schedule_id: &'a ScheduleId,
    policy: &'a RoutingPolicy,
    windows: ActiveWindows<'a>,
    notifies: bool,
    reasons: Reasons,
    now: Timestamp,
}

impl Decide<'_> {
    /// The routes of one owner.
    fn routes(&self, target: &Target<'_>) -> Vec<RouteDecision> {
        let Target {
            owner,
            rule,
            providers,
        } = target;
        let availability = availability(self.policy.owner_calendars.get(*owner), self.now);
        let lower_owner = owner.as_str().to_lowercase();
        let minutes = rule
            .acknowledgement_minutes
            .or(self.policy.acknowledgement_minutes)
            .unwrap_or(DEFAULT_ACKNOWLEDGEMENT_MINUTES);
        let route = |provider: &Provider| OwnerRoute {
            route_key: RouteKey::of(self.schedule_id, provider, owner),
            schedule_id: self.schedule_id.clone(),
            provider: provider.clone(),
            owner: (*owner).clone(),
            acknowledgement_minutes: minutes,
            escalation_owner: rule.escalation_owner.unwrap_or(owner).clone(),
            maintenance_window: self
                .windows
                .first(&lower_owner, provider)
                .map(|window| RouteWindow {
                    window_id: window.window_id.clone(),
                    start_at: window.start_at,
                    end_at: window.end_at,
                    reason: window.reason.clone(),
                }),
            owner_availability: availability.clone(),
        };
        providers
            .iter()
            .map(|provider| self.decision(route(provider)))
            .collect()
    }

    fn decision(&self, route: OwnerRoute) -> RouteDecision {
        let (in_window, available) = (
            route.maintenance_window.is_some(),
            route.owner_availability.available,
        );
        let action = if self.notifies && !in_window && available {
            RouteAction::Deliver
        } else {
            RouteAction::Suppress
        };
        let reason = match action {
            RouteAction::Deliver => &self.reasons.deliver,
            RouteAction::Suppress if in_window => &self.reasons.window,
            RouteAction::Suppress if !available => &self.reasons.calendar,
            RouteAction::Suppress => &self.reasons.healthy,
        };
        let category = category(action, in_window, available, reason.as_str(), None);
        RouteDecision {
            route,
            action,
            reason: reason.clone(),
            category,
        }
    }
}

#[cfg(test)]
mod tests;

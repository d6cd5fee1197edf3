//! The notification plan: one route per owner and provider, and what is decided about it (contract wire 1.3, 1.4,
//! 3.1).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::policy::{MaintenanceWindow, OwnerCalendar, OwnerRoutes, OwnerRule, RoutingPolicy};
use super::read::{At, safe, sorted_unique, unsafe_at};
use super::report::{ScheduleReport, ScheduleSummary};
use super::{ScheduleError, ScheduleStatus, fixed};
use crate::actor::Actor;
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
pub const CONTROLS: [&str; 4] =
    ["operator-owned-delivery", "no-stored-credentials", "public-safe-metadata", "append-only-evidence"];

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
        let refused = |expected| ScheduleError::Expected { pointer: "/provider".into(), expected };
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
        if only.len() > 1 { Err(refused("either `all` or provider names, not both")) } else { Ok(Self::default()) }
    }

    /// Whether the request means this provider.
    pub fn includes(&self, provider: &Provider) -> bool {
        self.only.as_ref().is_none_or(|only| only.binary_search_by(|one| one.key().cmp(provider.key())).is_ok())
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
                maintenance_window: route
                    .maintenance_window
                    .as_ref()
                    .map(|window| WindowNote { window_id: window.window_id.clone(), reason: window.reason.clone() }),
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
                ("acknowledgement_required_providers", json!(self.acknowledgement_required_providers)),
                ("deliverable_route_count", json!(self.deliverable_route_count)),
                ("suppressed_route_count", json!(self.suppressed_route_count)),
                ("maintenance_suppressed_count", json!(self.maintenance_suppressed_count)),
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
    let mut hasher = Sha256::new();
    let mut part = |text: &str| {
        // The length in front keeps ("ab", "c") apart from ("a", "bc").
        hasher.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    ["cavra-plan-content-v1", schedule_id, status, &next_due_at].into_iter().for_each(&mut part);
    for (texts, minutes) in rows {
        texts.into_iter().for_each(&mut part);
        part(&minutes.to_string());
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        RouteAction::Suppress => {
            own.filter(|own| *own != RouteCategory::Deliver).unwrap_or(RouteCategory::Other)
        }
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
        windows: ActiveWindows::of(&request.policy.maintenance_windows, &schedule_id, request.generated_at),
        notifies: request.force || report.status.notifies(),
        reasons: Reasons::of(report.status),
        now: request.generated_at,
    };
    let route_decisions: Vec<_> = targets.iter().flat_map(|target| decide.routes(target)).collect();

    let by_action = |action| route_decisions.iter().filter(move |decision| decision.action == action);
    let suppressed = || by_action(RouteAction::Suppress);
    let selected = providers_of(by_action(RouteAction::Deliver));
    let eligible: Vec<_> = eligible.into_iter().filter(|one| request.requested.includes(one)).collect();
    let mut suppressed_providers = providers_of(suppressed());
    if suppressed_providers.is_empty() {
        let chosen: BTreeSet<_> = selected.iter().map(Provider::key).collect();
        suppressed_providers = eligible.iter().filter(|one| !chosen.contains(one.key())).cloned().collect();
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
        owner_routes: route_decisions.iter().map(|decision| decision.route.clone()).collect(),
        deliverable_route_count,
        suppressed_route_count: suppressed().count(),
        maintenance_suppressed_count: suppressed().filter(|one| one.route.maintenance_window.is_some()).count(),
        calendar_suppressed_count: suppressed().filter(|one| !one.route.owner_availability.available).count(),
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
    let mut owners: Vec<_> = schedule.owners.iter().filter(|owner| seen.insert(owner.as_str())).cloned().collect();
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
    let mut eligible: Vec<_> = named.iter().filter(|provider| seen.insert(provider.key())).cloned().collect();
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

/// An owner with the rule and the providers that the plan has for it.
struct Target<'a> {
    owner: &'a Text,
    rule: MergedRule<'a>,
    providers: Vec<&'a Provider>,
}

/// Who is notified over what; never empty.
fn targets<'a>(
    owners: &'a [Text],
    base: &'a [Provider],
    rules: &Rules<'a>,
    requested: &RequestedProviders,
) -> Result<Vec<Target<'a>>, ScheduleError> {
    // Each list of providers that some owner has, restricted once, however many owners have it.
    let mut lists: BTreeMap<Option<usize>, Vec<&Provider>> = BTreeMap::new();
    let mut reached: BTreeMap<&str, &Provider> = BTreeMap::new();
    let mut merged = Vec::with_capacity(owners.len());
    for owner in owners {
        let rule = rules.for_owner(owner);
        lists.entry(rule.providers_from).or_insert_with(|| {
            let all = rule.providers.unwrap_or(base);
            reached.extend(all.iter().map(|provider| (provider.key(), provider)));
            all.iter().filter(|provider| requested.includes(provider)).collect()
        });
        merged.push((owner, rule));
    }
    let unknown = requested.only.iter().flatten().find(|provider| !reached.contains_key(provider.key()));
    if let Some(name) = unknown {
        let eligible = reached.into_values().cloned().collect();
        return Err(ScheduleError::UnknownProvider { name: name.clone(), eligible });
    }
    let count =
        merged.iter().filter_map(|(_, rule)| lists.get(&rule.providers_from)).map(Vec::len).sum::<usize>();
    if count > MAX_ROUTES {
        return Err(ScheduleError::TooManyRoutes { count });
    }
    let target = |(owner, rule): (&'a Text, MergedRule<'a>)| Target {
        owner,
        providers: lists.get(&rule.providers_from).cloned().unwrap_or_default(),
        rule,
    };
    Ok(merged.into_iter().map(target).collect())
}

/// What holds for one owner after its rules are merged.
#[derive(Debug, Clone, Copy)]
struct MergedRule<'a> {
    /// The providers that replace the base; never an empty list.
    providers: Option<&'a [Provider]>,
    /// The rule that they come from.
    providers_from: Option<usize>,
    acknowledgement_minutes: Option<u32>,
    escalation_owner: Option<&'a Text>,
}

/// The last rule that names each part of the merged rule.
#[derive(Debug, Clone, Copy, Default)]
struct LastNamed {
    providers: Option<usize>,
    minutes: Option<usize>,
    escalation_owner: Option<usize>,
}

impl LastNamed {
    fn add(&mut self, index: usize, rule: &OwnerRule) {
        self.providers = rule.providers.is_some().then_some(index).or(self.providers);
        self.minutes = rule.acknowledgement_minutes.is_some().then_some(index).or(self.minutes);
        self.escalation_owner = rule.escalation_owner.is_some().then_some(index).or(self.escalation_owner);
    }

    fn later_of(self, other: Self) -> Self {
        Self {
            providers: self.providers.max(other.providers),
            minutes: self.minutes.max(other.minutes),
            escalation_owner: self.escalation_owner.max(other.escalation_owner),
        }
    }
}

/// The rules of a policy, indexed so that merging takes the same time however many there are.
struct Rules<'a> {
    rules: Vec<&'a OwnerRule>,
    for_all: LastNamed,
    by_owner: BTreeMap<&'a str, LastNamed>,
}

impl<'a> Rules<'a> {
    fn of(routes: &'a OwnerRoutes) -> Self {
        let mut index = Self { rules: Vec::new(), for_all: LastNamed::default(), by_owner: BTreeMap::new() };
        match routes {
            OwnerRoutes::ByOwner(rules) => {
                for (owner, rule) in rules {
                    index.add(std::slice::from_ref(owner), rule);
                }
            }
            OwnerRoutes::InOrder(rules) => {
                for rule in rules {
                    index.add(&rule.owners, rule);
                }
            }
        }
        index
    }

    fn add(&mut self, owners: &'a [Text], rule: &'a OwnerRule) {
        let index = self.rules.len();
        self.rules.push(rule);
        if owners.is_empty() {
            self.for_all.add(index, rule);
        }
        for owner in owners {
            self.by_owner.entry(owner.as_str()).or_default().add(index, rule);
        }
    }

    fn for_owner(&self, owner: &Text) -> MergedRule<'a> {
        let own = self.by_owner.get(owner.as_str()).copied().unwrap_or_default();
        let last = self.for_all.later_of(own);
        let rule = |index: Option<usize>| index.and_then(|index| self.rules.get(index).copied());
        let providers = rule(last.providers).and_then(|rule| rule.providers.as_deref()).filter(|all| !all.is_empty());
        MergedRule {
            providers,
            providers_from: last.providers.filter(|_| providers.is_some()),
            acknowledgement_minutes: rule(last.minutes)
                .and_then(|rule| rule.acknowledgement_minutes)
                .filter(|minutes| *minutes > 0),
            escalation_owner: rule(last.escalation_owner)
                .and_then(|rule| rule.escalation_owner.as_ref())
                .filter(|owner| !owner.as_str().is_empty()),
        }
    }
}

/// The windows that are on and mean the schedule, indexed by whom they mean.
struct ActiveWindows<'a> {
    windows: Vec<(&'a MaintenanceWindow, BTreeSet<&'a str>)>,
    /// Of the windows that mean every owner, the first for every provider, and the first for each.
    for_all: Option<usize>,
    by_provider: BTreeMap<&'a str, usize>,
    /// The windows that name an owner, by the owner in lower case.
    by_owner: BTreeMap<String, Vec<usize>>,
}

impl<'a> ActiveWindows<'a> {
    fn of(windows: &'a [MaintenanceWindow], schedule_id: &ScheduleId, now: Timestamp) -> Self {
        let schedule_id = schedule_id.as_str().to_lowercase();
        let means_schedule = |window: &MaintenanceWindow| {
            window.schedule_ids.is_empty()
                || window.schedule_ids.iter().any(|id| id.as_str().to_lowercase() == schedule_id)
        };
        let mut active =
            Self { windows: Vec::new(), for_all: None, by_provider: BTreeMap::new(), by_owner: BTreeMap::new() };
        for window in windows.iter().filter(|window| window.covers(now) && means_schedule(window)) {
            let index = active.windows.len();
            let providers: BTreeSet<_> = window.providers.iter().map(Provider::key).collect();
            if !window.owners.is_empty() {
                let owners: BTreeSet<_> = window.owners.iter().map(|owner| owner.as_str().to_lowercase()).collect();
                for owner in owners {
                    active.by_owner.entry(owner).or_default().push(index);
                }
            } else if providers.is_empty() {
                active.for_all.get_or_insert(index);
            } else {
                for provider in &providers {
                    active.by_provider.entry(provider).or_insert(index);
                }
            }
            active.windows.push((window, providers));
        }
        active
    }

    /// The first window in the policy's order that means the owner (in lower case) and the provider.
    fn first(&self, owner: &str, provider: &Provider) -> Option<&'a MaintenanceWindow> {
        let means_provider = |index: &&usize| {
            self.windows
                .get(**index)
                .is_some_and(|(_, providers)| providers.is_empty() || providers.contains(provider.key()))
        };
        let own = self.by_owner.get(owner).and_then(|windows| windows.iter().find(means_provider));
        let first =
            [own, self.for_all.as_ref(), self.by_provider.get(provider.key())].into_iter().flatten().min()?;
        self.windows.get(*first).map(|(window, _)| *window)
    }
}

/// Whether an owner can be reached (contract wire 3.1, step 8).
fn availability(calendar: Option<&OwnerCalendar>, now: Timestamp) -> OwnerAvailability {
    let absence = calendar.and_then(|calendar| calendar.unavailable_windows.iter().find(|one| one.covers(now)));
    let unavailable = absence.is_some() || calendar.is_some_and(|calendar| !calendar.available);
    let given = [absence.map(|absence| &absence.reason), calendar.map(|calendar| &calendar.reason)];
    let reason = match calendar {
        None => fixed("no calendar is kept for the owner"),
        Some(_) if !unavailable => fixed("the owner's calendar has no absence now"),
        Some(_) => given
            .into_iter()
            .flatten()
            .find(|reason| !reason.as_str().is_empty())
            .cloned()
            .unwrap_or_else(|| fixed("the owner's calendar says that the owner is not available")),
    };
    OwnerAvailability {
        available: !unavailable,
        reason,
        start_at: absence.map(|absence| absence.start_at),
        end_at: absence.map(|absence| absence.end_at),
    }
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
        let Target { owner, rule, providers } = target;
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
            maintenance_window: self.windows.first(&lower_owner, provider).map(|window| RouteWindow {
                window_id: window.window_id.clone(),
                start_at: window.start_at,
                end_at: window.end_at,
                reason: window.reason.clone(),
            }),
            owner_availability: availability.clone(),
        };
        providers.iter().map(|provider| self.decision(route(provider))).collect()
    }

    fn decision(&self, route: OwnerRoute) -> RouteDecision {
        let (in_window, available) = (route.maintenance_window.is_some(), route.owner_availability.available);
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
        RouteDecision { route, action, reason: reason.clone(), category }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Projection, interpret};
    use crate::schedule::{SCHEDULE_FILE_SCHEMA, ScheduleSettings};

    const DUE: &str = "2026-06-05T08:00:00Z";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn now() -> Timestamp {
        at("2026-06-01T08:00:00Z")
    }

    fn text(raw: &str) -> Text {
        Text::parse(Field::line("text", 200), raw).unwrap()
    }

    /// A schedule that is due soon, with two owners and two providers.
    fn schedule() -> Value {
        json!({
            "schema_version": SCHEDULE_FILE_SCHEMA, "schedule_id": "sched-1", "environment": "production",
            "status": "active", "interval_days": 30, "next_due_at": DUE, "owners": ["ben", "ana"],
            "notification_providers": ["teams", "slack"], "runbook_ref": "runbooks/drill.md",
        })
    }

    /// Everything that a test may vary.
    #[derive(Debug, Clone)]
    struct Case {
        schedule: Value,
        policy: Value,
        provider: &'static str,
        force: bool,
        now: Timestamp,
    }

    impl Default for Case {
        fn default() -> Self {
            Self { schedule: schedule(), policy: Value::Null, provider: "all", force: false, now: now() }
        }
    }

    impl Case {
        fn policy(policy: Value) -> Self {
            Self { policy, ..Self::default() }
        }

        /// A schedule that needs no notification: its drill is far away.
        fn healthy() -> Self {
            Self::default().set("next_due_at", json!("2026-12-01"))
        }

        fn set(mut self, key: &str, value: Value) -> Self {
            self.schedule[key] = value;
            self
        }

        fn try_plan(&self) -> Result<NotificationPlan, ScheduleError> {
            let report = ScheduleReport::build(Some(&self.schedule), None, &ScheduleSettings::default(), self.now)?;
            build_plan(&PlanRequest {
                report: &report,
                policy: &RoutingPolicy::parse(Some(&self.policy), &report.schedule)?,
                requested: &RequestedProviders::parse(self.provider)?,
                force: self.force,
                plan_id: PlanId::parse("gordn-1").unwrap(),
                generated_at: self.now,
                actor: Actor::local("generated_by", "carla").unwrap(),
            })
        }

        fn plan(&self) -> NotificationPlan {
            self.try_plan().unwrap()
        }

        fn refused(&self) -> String {
            self.try_plan().unwrap_err().to_string()
        }
    }

    /// Owner and provider of every route.
    fn pairs(plan: &NotificationPlan) -> Vec<(&str, &str)> {
        plan.owner_routes.iter().map(|route| (route.owner.as_str(), route.provider.as_str())).collect()
    }

    fn names(providers: &[Provider]) -> Vec<&str> {
        providers.iter().map(Provider::as_str).collect()
    }

    /// Owner, provider and category of every route.
    fn categories(plan: &NotificationPlan) -> Vec<(&str, &str, &str)> {
        plan.route_decisions
            .iter()
            .map(|one| (one.route.owner.as_str(), one.route.provider.as_str(), one.category.as_str()))
            .collect()
    }

    #[test]
    fn the_plan_has_every_published_key_in_order() {
        let case = Case::policy(json!({
            "owner_routes": { "ana": { "providers": "slack", "ack_minutes": 15, "manager": "lead" } },
            "maintenance_windows": [{
                "id": "move", "starts_at": "2026-06-01", "ends_at": "2026-06-02", "owners": ["ANA"], "description": "moving"
            }],
            "owner_calendars": { "ben": { "unavailable_windows": [
                { "start_at": "2026-05-30", "end_at": "2026-06-03", "reason": "leave" }
            ] } },
        }));
        let case = case.set("owners", json!(["ben", "ana", "eve"])).set("notification_providers", json!(["slack"]));
        let plan = serde_json::to_string_pretty(&case.plan()).unwrap();
        let ben = r#""route_key": "gordroute-BEN",
      "schedule_id": "sched-1",
      "provider": "slack",
      "owner": "ben",
      "acknowledgement_minutes": 60,
      "escalation_owner": "ben",
      "maintenance_window": null,
      "owner_availability": {
        "available": false,
        "reason": "leave",
        "start_at": "2026-05-30T00:00:00.000000Z",
        "end_at": "2026-06-03T00:00:00.000000Z"
      }"#;
        let ana = r#""route_key": "gordroute-ANA",
      "schedule_id": "sched-1",
      "provider": "slack",
      "owner": "ana",
      "acknowledgement_minutes": 15,
      "escalation_owner": "lead",
      "maintenance_window": {
        "window_id": "move",
        "start_at": "2026-06-01T00:00:00.000000Z",
        "end_at": "2026-06-02T00:00:00.000000Z",
        "reason": "moving"
      },
      "owner_availability": {
        "available": true,
        "reason": "no calendar is kept for the owner"
      }"#;
        let eve = r#""route_key": "gordroute-EVE",
      "schedule_id": "sched-1",
      "provider": "slack",
      "owner": "eve",
      "acknowledgement_minutes": 60,
      "escalation_owner": "eve",
      "maintenance_window": null,
      "owner_availability": {
        "available": true,
        "reason": "no calendar is kept for the owner"
      }"#;
        let expected = format!(
            r#"{{
  "schema_version": "cavra.go-backend-pilot.rollback-drill-notification-plan.v1",
  "product": "CAVRA",
  "plan_id": "gordn-1",
  "schedule_id": "sched-1",
  "generated_at": "2026-06-01T08:00:00.000000Z",
  "generated_by": "carla",
  "status": "due_soon",
  "alert_level": "warning",
  "eligible_providers": [
    "slack"
  ],
  "selected_providers": [
    "slack"
  ],
  "acknowledgement_required_providers": [
    "slack"
  ],
  "suppressed_providers": [
    "slack"
  ],
  "owners": [
    "ben",
    "ana",
    "eve"
  ],
  "owner_routes": [
    {{
      {ben}
    }},
    {{
      {ana}
    }},
    {{
      {eve}
    }}
  ],
  "route_decisions": [
    {{
      {ben},
      "action": "suppress",
      "reason": "the owner is not available",
      "category": "owner_calendar"
    }},
    {{
      {ana},
      "action": "suppress",
      "reason": "a maintenance window applies to the route",
      "category": "maintenance_window"
    }},
    {{
      {eve},
      "action": "deliver",
      "reason": "the rollback drill is due soon",
      "category": "deliver"
    }}
  ],
  "deliverable_route_count": 1,
  "suppressed_route_count": 2,
  "maintenance_suppressed_count": 1,
  "calendar_suppressed_count": 1,
  "next_due_at": "2026-06-05T08:00:00.000000Z",
  "reason": "owners are to be notified and to acknowledge",
  "actor": {{
    "actor": "carla",
    "subject": "carla",
    "issuer": "local",
    "groups": [],
    "repository": null,
    "verified": false
  }},
  "controls": [
    "operator-owned-delivery",
    "no-stored-credentials",
    "public-safe-metadata",
    "append-only-evidence"
  ]
}}"#
        );
        let key = |owner: &str| {
            let id = ScheduleId::parse("sched-1").unwrap();
            RouteKey::of(&id, &Provider::parse("slack").unwrap(), &text(owner)).as_str().to_owned()
        };
        let expected = expected
            .replace("gordroute-BEN", &key("ben"))
            .replace("gordroute-ANA", &key("ana"))
            .replace("gordroute-EVE", &key("eve"));
        assert_eq!(plan, expected);
    }

    #[test]
    fn the_schema_describes_every_key_of_the_plan() {
        let schema = serde_json::to_value(schemars::schema_for!(NotificationPlan)).unwrap();
        let described: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        let plan = serde_json::to_value(Case::default().plan()).unwrap();
        assert_eq!(described, plan.as_object().unwrap().keys().collect::<Vec<_>>());
    }

    #[test]
    fn the_route_key_is_the_published_one_and_uses_the_name_as_given() {
        let id = ScheduleId::parse("sched-1").unwrap();
        let key = |provider| RouteKey::of(&id, &Provider::parse(provider).unwrap(), &text("release-managers"));
        assert_eq!(key("slack").as_str(), "gordroute-cd11cc057e276949");
        assert_ne!(key("Slack"), key("slack"));
    }

    #[test]
    fn routes_go_by_owner_in_the_schedules_order_and_then_by_provider() {
        let plan = Case::default().plan();
        assert_eq!(pairs(&plan), [("ben", "slack"), ("ben", "teams"), ("ana", "slack"), ("ana", "teams")]);
        assert_eq!(names(&plan.eligible_providers), ["teams", "slack"]);
        assert_eq!(names(&plan.selected_providers), ["slack", "teams"]);
        assert_eq!(plan.acknowledgement_required_providers, plan.selected_providers);
        assert!(plan.suppressed_providers.is_empty());
    }

    #[test]
    fn owners_named_twice_and_providers_spelt_twice_are_one_route() {
        let plan = Case::default()
            .set("owners", json!(["ana", " ana", "Ana"]))
            .set("notification_providers", json!(["Pager-Duty", "pager_duty", "slack"]))
            .plan();
        assert_eq!(
            pairs(&plan),
            [("ana", "Pager-Duty"), ("ana", "slack"), ("Ana", "Pager-Duty"), ("Ana", "slack")]
        );
        assert_eq!(names(&plan.eligible_providers), ["Pager-Duty", "slack"]);
        assert_eq!(plan.record().decision_count, 2);
    }

    #[test]
    fn without_owners_and_providers_the_defaults_are_notified() {
        let plan = Case::default().set("owners", json!([])).set("notification_providers", json!("x")).plan();
        assert_eq!(pairs(&plan), [("release-governance", "webhook")]);
        assert_eq!((plan.status, plan.alert_level), (ScheduleStatus::NeedsAttention, Level::Critical));
        assert_eq!(plan.owners, [text("release-governance")]);
        let case = Case { provider: "slack", ..Case::default().set("notification_providers", json!([])) };
        assert_eq!(
            case.refused(),
            "`/provider` names `slack`, which no owner of the schedule has; there are webhook"
        );
    }

    #[test]
    fn a_rule_replaces_the_base_providers_also_by_some_outside_them() {
        let plan = Case::policy(json!({ "owner_routes": { "ana": { "providers": "pager,Mail , pager" } } })).plan();
        assert_eq!(pairs(&plan), [("ben", "slack"), ("ben", "teams"), ("ana", "Mail"), ("ana", "pager")]);
        assert_eq!(names(&plan.eligible_providers), ["teams", "slack"], "the schedule's, not the rule's");
        assert_eq!(names(&plan.selected_providers), ["Mail", "pager", "slack", "teams"]);
    }

    #[test]
    fn a_rule_without_providers_keeps_the_base_and_still_gives_minutes_and_escalation() {
        for none in [json!({}), json!({ "providers": [] }), json!({ "providers": "" }), json!({ "providers": null })] {
            let mut rule = none;
            rule["ack_minutes"] = json!(5);
            rule["manager"] = json!("lead");
            let plan = Case::policy(json!({ "owner_routes": { "ana": rule } })).plan();
            assert_eq!(pairs(&plan)[2..], [("ana", "slack"), ("ana", "teams")]);
            let escalation = |index: usize| {
                let route: &OwnerRoute = &plan.owner_routes[index];
                (route.acknowledgement_minutes, route.escalation_owner.as_str().to_owned())
            };
            assert_eq!((escalation(0), escalation(2)), ((60, "ben".into()), (5, "lead".into())));
        }
    }

    #[test]
    fn rules_in_a_list_merge_in_order_and_the_later_one_wins_part_by_part() {
        let rule = |rules: Value| {
            let plan = Case::policy(json!({ "owner_routes": rules })).plan();
            let ana: Vec<_> = plan.owner_routes.iter().filter(|route| route.owner.as_str() == "ana").collect();
            let providers: Vec<_> = ana.iter().map(|route| route.provider.as_str()).collect();
            (providers.join(" "), ana[0].acknowledgement_minutes, ana[0].escalation_owner.to_string())
        };
        let of = |providers: &str, minutes, escalation: &str| (providers.to_owned(), minutes, escalation.to_owned());
        let all = json!({ "providers": ["mail"], "acknowledgement_minutes": 10, "escalation_owner": "duty" });
        let own = json!({ "owners": ["ana"], "providers": ["pager"], "escalation_owner": "lead" });
        assert_eq!(rule(json!([all, own])), of("pager", 10, "lead"));
        assert_eq!(rule(json!([own, all])), of("mail", 10, "duty"), "a later rule for all wins as well");
        assert_eq!(rule(json!([all, { "owners": ["ben"], "providers": ["sms"] }])), of("mail", 10, "duty"));
        assert_eq!(rule(json!([all, { "owners": [], "ack_minutes": 7 }])), of("mail", 7, "duty"));
        // Named and empty: back to what holds without a rule.
        assert_eq!(rule(json!([all, { "providers": [] }])), of("slack teams", 10, "duty"));
        assert_eq!(rule(json!([all, { "ack_minutes": 0, "manager": "" }])), of("mail", 60, "ana"));
        assert_eq!(rule(json!([{ "owners": ["Ana"], "providers": ["sms"] }])), of("slack teams", 60, "ana"));
    }

    #[test]
    fn minutes_are_the_rules_then_the_policys_then_sixty() {
        let minutes = |policy: Value| Case::policy(policy).plan().owner_routes[2].acknowledgement_minutes;
        assert_eq!(minutes(json!(null)), 60);
        assert_eq!(minutes(json!({ "default_slo": { "acknowledgement_minutes": 30 } })), 30);
        assert_eq!(minutes(json!({ "acknowledgement_minutes": 20, "default_slo": { "acknowledgement_minutes": 30 } })), 20);
        let rule = |value: Value| {
            minutes(json!({ "acknowledgement_minutes": 20, "owner_routes": { "ana": { "acknowledgement_minutes": value } } }))
        };
        assert_eq!(rule(json!(5)), 5);
        assert_eq!(rule(json!("5")), 5);
        assert_eq!(rule(json!(0)), 20);
        assert_eq!(rule(json!("")), 20);
        assert_eq!(rule(json!(-5)), 60, "not the policy's");
        assert_eq!(rule(json!("soon")), 60, "not the policy's");
        assert_eq!(rule(json!(u32::MAX)), u32::MAX);
    }

    #[test]
    fn only_the_requested_providers_are_planned() {
        let requested = |provider| Case { provider, ..Case::default() }.plan();
        let plan = requested(" SLACK ,slack");
        assert_eq!(pairs(&plan), [("ben", "slack"), ("ana", "slack")]);
        assert_eq!(names(&plan.eligible_providers), ["slack"]);
        for all in ["all", " ALL ", "", " ", "all,all", "teams,slack"] {
            assert_eq!(requested(all).owner_routes.len(), 4, "{all}");
        }
    }

    #[test]
    fn a_provider_that_only_a_rule_has_can_be_requested() {
        let policy = json!({ "owner_routes": { "ana": { "providers": ["pager"] } } });
        let plan = Case { provider: "pager", ..Case::policy(policy) }.plan();
        assert_eq!(pairs(&plan), [("ana", "pager")]);
        assert!(plan.eligible_providers.is_empty(), "the schedule itself has no such provider");
        assert_eq!(names(&plan.selected_providers), ["pager"]);
    }

    #[test]
    fn a_requested_provider_that_nobody_has_is_refused_with_those_there_are() {
        let refused = |provider, policy| Case { provider, ..Case::policy(policy) }.refused();
        assert_eq!(
            refused("slack,pager", json!(null)),
            "`/provider` names `pager`, which no owner of the schedule has; there are slack, teams"
        );
        // In the schedule, but every owner has a rule that replaces it.
        assert_eq!(
            refused("teams", json!({ "routing_rules": [{ "providers": ["mail"] }] })),
            "`/provider` names `teams`, which no owner of the schedule has; there are mail"
        );
    }

    #[test]
    fn a_request_for_providers_that_makes_no_sense_is_refused() {
        let refused = |raw| RequestedProviders::parse(raw).unwrap_err();
        assert_eq!(refused("slack,").to_string(), "`/provider` must be `all`, or provider names with commas between them");
        assert_eq!(refused("slack,all").to_string(), "`/provider` must be either `all` or provider names, not both");
        let secret = refused("ghp_0123456789abcdefghij");
        assert!(matches!(secret, ScheduleError::NotPublicSafe(_)));
        assert_eq!(secret.pointer(), Some("/provider"));
    }

    #[test]
    fn a_maintenance_window_includes_both_of_its_ends() {
        let (start, end) = (at("2026-06-01T08:00:00Z"), at("2026-06-01T10:00:00Z"));
        let policy = json!({ "maintenance_windows": [{ "start_at": start, "end_at": end }] });
        let suppressed = |now| Case { now, ..Case::policy(policy.clone()) }.plan().suppressed_route_count;
        assert_eq!(suppressed(start.plus_micros(-1)), 0);
        assert_eq!(suppressed(start), 4);
        assert_eq!(suppressed(end), 4);
        assert_eq!(suppressed(end.plus_micros(1)), 0);
    }

    #[test]
    fn a_window_means_only_the_schedules_providers_and_owners_that_it_names() {
        let hit = |scope: Value| {
            let mut window = json!({ "start_at": "2026-06-01", "end_at": "2026-06-02" });
            window.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
            let plan = Case::policy(json!({ "maintenance_windows": [window] })).plan();
            let hit = plan.route_decisions.iter().filter(|one| one.category == RouteCategory::MaintenanceWindow);
            hit.map(|one| format!("{}/{}", one.route.owner, one.route.provider)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(hit(json!({})), "ben/slack ben/teams ana/slack ana/teams");
        assert_eq!(hit(json!({ "schedule_ids": ["other", "SCHED-1"] })), "ben/slack ben/teams ana/slack ana/teams");
        assert_eq!(hit(json!({ "schedule_ids": ["other"] })), "");
        assert_eq!(hit(json!({ "owners": ["ANA"] })), "ana/slack ana/teams");
        assert_eq!(hit(json!({ "providers": ["Slack"] })), "ben/slack ana/slack");
        assert_eq!(hit(json!({ "providers": ["Slack"], "owners": "ana" })), "ana/slack");
        assert_eq!(hit(json!({ "providers": ["Slack"], "owners": "ana", "schedule_ids": "x" })), "");
    }

    #[test]
    fn the_first_window_that_applies_counts() {
        let window = |id: &str, scope: Value| {
            let mut window = json!({ "id": id, "start_at": "2026-06-01", "end_at": "2026-06-02" });
            window.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
            window
        };
        let (all, own) = (window("all", json!({})), window("own", json!({ "owners": ["ana"] })));
        let (slack, past) = (window("slack", json!({ "providers": ["slack"] })), window("past", json!({ "end_at": "2026-06-01T07:00:00Z" })));
        let found = |windows: Value| {
            let plan = Case::policy(json!({ "maintenance_windows": windows })).plan();
            let id = |route: &OwnerRoute| route.maintenance_window.as_ref().map_or("-", |one| one.window_id.as_str()).to_owned();
            plan.owner_routes.iter().map(id).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found(json!([past, all, own, slack])), "all all all all");
        assert_eq!(found(json!([own, slack, all])), "slack all own own");
        assert_eq!(found(json!([slack, own, all])), "slack all slack own");
        assert_eq!(found(json!([slack, own])), "slack - slack own");
    }

    #[test]
    fn an_absence_includes_both_of_its_ends() {
        let (start, end) = (at("2026-06-01T08:00:00Z"), at("2026-06-01T10:00:00Z"));
        let calendar = json!({ "ana": { "reason": "part time", "unavailable_windows": [
            { "start_at": "2020-01-01", "end_at": "2020-01-02" }, { "start_at": start, "end_at": end, "reason": "leave" }
        ] } });
        let ana = |now| {
            let plan = Case { now, ..Case::policy(json!({ "owner_calendars": calendar })) }.plan();
            assert!(plan.owner_routes[0].owner_availability.available, "ben has no calendar");
            plan.owner_routes[2].owner_availability.clone()
        };
        for away in [start, end] {
            let expected =
                OwnerAvailability { available: false, reason: text("leave"), start_at: Some(start), end_at: Some(end) };
            assert_eq!(ana(away), expected);
        }
        for there in [start.plus_micros(-1), end.plus_micros(1)] {
            let reason = text("the owner's calendar has no absence now");
            assert_eq!(ana(there), OwnerAvailability { available: true, reason, start_at: None, end_at: None });
        }
    }

    #[test]
    fn an_owner_who_is_not_available_has_the_most_precise_reason_there_is() {
        let reason = |calendar: Value| {
            let plan = Case::policy(json!({ "owner_calendars": { "ana": calendar } })).plan();
            assert!(!plan.owner_routes[2].owner_availability.available);
            plan.owner_routes[2].owner_availability.reason.to_string()
        };
        let absence = json!([{ "start_at": "2026-06-01", "end_at": "2026-06-02" }]);
        assert_eq!(reason(json!({ "available": false, "reason": "left" })), "left");
        assert_eq!(reason(json!({ "available": true, "reason": "part time", "blackout_windows": absence })), "part time");
        assert_eq!(
            reason(json!({ "blackout_windows": absence })),
            "the owner's calendar says that the owner is not available"
        );
    }

    #[test]
    fn a_healthy_schedule_notifies_nobody_unless_it_is_forced() {
        let plan = Case::healthy().plan();
        assert_eq!((plan.status, plan.alert_level), (ScheduleStatus::Ready, Level::Healthy));
        assert!(plan.route_decisions.iter().all(|one| one.category == RouteCategory::HealthySchedule));
        assert!(plan.selected_providers.is_empty());
        assert_eq!(names(&plan.suppressed_providers), ["slack", "teams"]);
        assert_eq!(plan.reason.as_str(), "every route is suppressed: nobody is to be notified");
        let forced = Case { force: true, ..Case::healthy() }.plan();
        assert_eq!((forced.deliverable_route_count, forced.alert_level), (4, Level::Healthy));
        assert_eq!(
            forced.route_decisions[0].reason.as_str(),
            "the notification is forced although no drill is due"
        );
    }

    #[test]
    fn force_lifts_neither_windows_nor_calendars() {
        let policy = json!({
            "maintenance_windows": [{ "start_at": "2026-06-01", "end_at": "2026-06-02", "providers": ["slack"] }],
            "calendars": { "ana": { "available": false } },
        });
        let plan = Case { force: true, policy, ..Case::healthy() }.plan();
        assert_eq!(
            categories(&plan),
            [
                ("ben", "slack", "maintenance_window"),
                ("ben", "teams", "deliver"),
                ("ana", "slack", "maintenance_window"),
                ("ana", "teams", "owner_calendar"),
            ]
        );
        assert_eq!((plan.maintenance_suppressed_count, plan.calendar_suppressed_count), (2, 2));
        assert_eq!((names(&plan.selected_providers), names(&plan.suppressed_providers)), (vec!["teams"], vec!["slack", "teams"]));
    }

    #[test]
    fn a_suppressed_route_has_the_category_of_its_window_or_calendar_also_when_nothing_is_due() {
        let policy = json!({
            "maintenance_windows": [{ "start_at": "2026-06-01", "end_at": "2026-06-02", "owners": ["ben"] }],
            "calendars": { "ana": { "available": false } },
        });
        let plan = Case { policy, ..Case::healthy() }.plan();
        let of = |index: usize| plan.route_decisions[index].category;
        assert_eq!((of(0), of(2)), (RouteCategory::MaintenanceWindow, RouteCategory::OwnerCalendar));
    }

    #[test]
    fn the_category_of_a_published_decision_follows_the_published_order() {
        use RouteCategory::{Deliver, HealthySchedule, MaintenanceWindow, Other, OwnerCalendar};
        let suppress = RouteAction::Suppress;
        assert_eq!(category(RouteAction::Deliver, true, false, "healthy", Some(Other)), Deliver);
        assert_eq!(category(suppress, true, false, "healthy", Some(Other)), MaintenanceWindow);
        assert_eq!(category(suppress, false, false, "healthy", Some(Other)), OwnerCalendar);
        assert_eq!(category(suppress, false, true, "Schedule is HEALTHY.", Some(Other)), HealthySchedule);
        assert_eq!(category(suppress, false, true, "", Some(OwnerCalendar)), OwnerCalendar);
        assert_eq!(category(suppress, false, true, "", Some(Deliver)), Other);
        assert_eq!(category(suppress, false, true, "", None), Other);
    }

    #[test]
    fn a_published_client_finds_the_same_category_from_reason_window_and_calendar() {
        for status in ScheduleStatus::ALL {
            let reasons = Reasons::of(*status);
            let healthy = |text: &Text| text.as_str().contains("healthy");
            assert!(healthy(&reasons.healthy));
            assert!(![&reasons.deliver, &reasons.window, &reasons.calendar].into_iter().any(healthy));
        }
    }

    #[test]
    fn an_overdue_schedule_is_critical_and_the_record_counts_it() {
        let counts = |case: &Case| {
            let record = case.plan().record();
            (record.decision_count, record.blocked_count, record.approval_required_count)
        };
        assert_eq!(counts(&Case::default()), (2, 0, 1));
        assert_eq!(counts(&Case { now: at("2026-06-06T00:00:00Z"), ..Case::default() }), (2, 1, 0));
        assert_eq!(counts(&Case::healthy()), (2, 0, 0));
    }

    #[test]
    fn the_record_has_the_published_fields_in_order() {
        let record = Case::default().plan().record().into_value();
        let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys.join(" "),
            "schema_version product session_id created_at signer decision_count blocked_count approval_required_count \
             metadata_kind plan_id schedule_id alert_level selected_providers acknowledgement_required_providers \
             deliverable_route_count suppressed_route_count maintenance_suppressed_count calendar_suppressed_count plan"
        );
        assert_eq!((&record["session_id"], &record["signer"]), (&json!("gordn-1"), &json!("carla")));
        assert_eq!(record["plan"]["route_decisions"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn replaying_the_record_gives_the_same_routes_and_content() {
        let policy = json!({
            "owner_routes": { "ana": { "providers": ["Pager-Duty"], "ack_minutes": 15, "manager": "lead" } },
            "maintenance_windows": [{ "start_at": "2026-06-01", "end_at": "2026-06-02", "providers": ["slack"], "reason": "move" }],
            "calendars": { "ben": { "available": false, "reason": "leave" } },
        });
        for case in [Case::default(), Case::healthy(), Case::policy(policy)] {
            let plan = case.plan();
            let replayed = interpret(&plan.record().into_value(), now()).unwrap();
            let Projection::Plan(facts) = replayed.projection else { panic!("a plan is read as a plan") };
            assert_eq!(facts.routes, plan.routes());
            assert_eq!(hex(&facts.content_key), plan.content_key());
        }
    }

    #[test]
    fn id_time_and_author_do_not_make_another_plan() {
        let plan = Case::default().plan();
        let later = NotificationPlan {
            plan_id: PlanId::parse("gordn-2").unwrap(),
            generated_at: now().plus_minutes(5),
            generated_by: text("dora"),
            ..plan.clone()
        };
        assert_eq!(later.content_key(), plan.content_key());
        assert_ne!(later.routes()[0].route_id, plan.routes()[0].route_id);
    }

    #[test]
    fn anything_that_matters_makes_another_plan() {
        let routes = Case::default().plan().routes();
        let key = |change: fn(&mut Route)| {
            let mut routes = routes.clone();
            change(&mut routes[1]);
            content_key("sched-1", "due_soon", DUE, &routes)
        };
        let same = key(|_| {});
        assert_eq!(key(|route| route.provider = Provider::parse("TEAMS").unwrap()), same);
        assert_eq!(key(|route| route.reason = text("other prose")), same);
        assert_eq!(content_key("sched-1", "due_soon", "2026-06-05T10:00:00+02:00", &routes), same);
        let others = [
            key(|route| route.provider = Provider::parse("mail").unwrap()),
            key(|route| route.owner = text("eve")),
            key(|route| route.escalation_owner = text("eve")),
            key(|route| route.action = RouteAction::Suppress),
            key(|route| route.category = RouteCategory::Other),
            key(|route| route.acknowledgement_minutes = 61),
            content_key("sched-2", "due_soon", DUE, &routes),
            content_key("sched-1", "ready", DUE, &routes),
            content_key("sched-1", "due_soon", "", &routes),
            content_key("sched-1", "due_soon", "soon", &routes),
            content_key("sched-1", "due_soon", DUE, &routes[1..]),
        ];
        let distinct: BTreeSet<_> = others.iter().chain([&same]).collect();
        assert_eq!(distinct.len(), others.len() + 1);
    }

    #[test]
    fn the_content_key_stays_what_it_was() {
        assert_eq!(
            Case::default().plan().content_key(),
            "CONTENT_KEY"
        );
    }

    #[test]
    fn without_a_schedule_or_its_id_there_is_no_plan() {
        let report = ScheduleReport::build(None, None, &ScheduleSettings::default(), now()).unwrap();
        let plan = build_plan(&PlanRequest {
            report: &report,
            policy: &RoutingPolicy::default(),
            requested: &RequestedProviders::default(),
            force: true,
            plan_id: PlanId::parse("gordn-1").unwrap(),
            generated_at: now(),
            actor: Actor::local("generated_by", "carla").unwrap(),
        });
        assert_eq!(plan, Err(ScheduleError::NotRequested));
        for id in [json!(null), json!(" "), json!(5)] {
            assert_eq!(Case::default().set("schedule_id", id).try_plan(), Err(ScheduleError::MissingScheduleId));
        }
    }

    #[test]
    fn a_plan_has_at_most_a_hundred_thousand_routes() {
        let names = |name: &str, count: usize| (0..count).map(|index| format!("{name}{index}")).collect::<Vec<_>>();
        let case = |owners: usize| {
            Case::default()
                .set("owners", json!(names("owner", owners)))
                .set("notification_providers", json!(names("provider", 1_000)))
        };
        assert_eq!(case(100).plan().owner_routes.len(), MAX_ROUTES);
        assert_eq!(case(101).refused(), "the plan would have 101000 routes; one plan has at most 100000");
        // What is not asked for does not count.
        let asked = Case { provider: "provider7", ..case(101) }.plan();
        assert_eq!(asked.owner_routes.len(), 101);
    }

    mod laws {
        use proptest::prelude::*;

        use super::*;

        const OWNERS: [&str; 4] = ["ana", "Ana", "ben", "eve"];
        const PROVIDERS: [&str; 5] = ["slack", "Slack", "pager-duty", "Pager_Duty", "mail"];

        fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
            prop::collection::vec(prop::sample::select(names), 0..4)
        }

        fn rule() -> impl Strategy<Value = Value> {
            let parts = (some(&OWNERS), prop::option::of(some(&PROVIDERS)), prop::option::of(0_u32..90));
            parts.prop_map(|(owners, providers, minutes)| {
                json!({ "owners": owners, "providers": providers, "acknowledgement_minutes": minutes })
            })
        }

        fn window() -> impl Strategy<Value = Value> {
            let scope = (some(&OWNERS), some(&PROVIDERS), 0_u32..60, 0_u32..60);
            scope.prop_map(|(owners, providers, before, after)| {
                // Some windows begin or end exactly now, some lie beside it.
                let (start, end) = (now().plus_micros(i64::from(before) - 50), now().plus_micros(i64::from(after) - 5));
                json!({ "owners": owners, "providers": providers, "start_at": start.min(end), "end_at": end.max(start) })
            })
        }

        fn policy() -> impl Strategy<Value = Value> {
            let calendar = (any::<bool>(), prop::collection::vec(any::<bool>(), 0..2)).prop_map(|(available, absences)| {
                let end = |past: bool| now().plus_micros(if past { -1 } else { 0 });
                let absences: Vec<_> =
                    absences.iter().map(|past| json!({ "start_at": "2026-05-01", "end_at": end(*past) })).collect();
                json!({ "available": available, "blackout_windows": absences })
            });
            let calendars = prop::collection::btree_map(prop::sample::select(&OWNERS[..]), calendar, 0..3);
            let rules = prop::collection::vec(rule(), 0..4);
            (rules, prop::collection::vec(window(), 0..4), calendars).prop_map(|(rules, windows, calendars)| {
                json!({ "owner_routes": rules, "maintenance_windows": windows, "owner_calendars": calendars })
            })
        }

        fn case() -> impl Strategy<Value = Case> {
            let parts = (policy(), some(&OWNERS), some(&PROVIDERS), any::<bool>(), any::<bool>());
            parts.prop_map(|(policy, owners, providers, healthy, force)| {
                let case = if healthy { Case::healthy() } else { Case::default() };
                Case { policy, force, ..case.set("owners", json!(owners)).set("notification_providers", json!(providers)) }
            })
        }

        /// The routing rules of contract wire 3.1 once more, as plainly as they stand there.
        fn plain_providers(case: &Case, owner: &str, base: &[&str]) -> BTreeSet<String> {
            let keys = |list: &[&str]| list.iter().map(|name| crate::route::normalised(name)).collect();
            let texts = |value: &Value| -> Vec<String> {
                value.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
            };
            let mut merged = Value::Null;
            for rule in case.policy["owner_routes"].as_array().unwrap() {
                let owners = texts(&rule["owners"]);
                if owners.is_empty() || owners.iter().any(|one| one == owner) {
                    merged = rule["providers"].clone();
                }
            }
            let own = texts(&merged);
            let own: Vec<_> = own.iter().map(String::as_str).collect();
            if own.is_empty() { keys(base) } else { keys(&own) }
        }

        fn plain_window(case: &Case, owner: &str, provider: &Provider) -> Option<usize> {
            let list = |window: &Value, key: &str, name: &str, form: fn(&str) -> String| {
                let names = window[key].as_array().unwrap();
                names.is_empty() || names.iter().any(|one| form(one.as_str().unwrap()) == form(name))
            };
            case.policy["maintenance_windows"].as_array().unwrap().iter().position(|window| {
                let time = |key: &str| at(window[key].as_str().unwrap());
                time("start_at") <= now()
                    && now() <= time("end_at")
                    && list(window, "owners", owner, str::to_lowercase)
                    && list(window, "providers", provider.as_str(), crate::route::normalised)
            })
        }

        proptest! {
            #[test]
            fn every_pair_of_owner_and_provider_has_exactly_one_route(case in case()) {
                let plan = case.plan();
                let text_of = |value: &Value| -> Vec<String> {
                    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
                };
                let (mut owners, mut base) =
                    (text_of(&case.schedule["owners"]), text_of(&case.schedule["notification_providers"]));
                if owners.is_empty() {
                    owners.push(DEFAULT_OWNER.into());
                }
                if base.is_empty() {
                    base.push(DEFAULT_PROVIDER.into());
                }
                let base: Vec<_> = base.iter().map(String::as_str).collect();
                let owners: BTreeSet<_> = owners.into_iter().collect();
                let expected: BTreeSet<_> = owners
                    .iter()
                    .flat_map(|owner| plain_providers(&case, owner, &base).into_iter().map(move |key| (owner.clone(), key)))
                    .collect();
                let found: Vec<_> = plan
                    .owner_routes
                    .iter()
                    .map(|route| (route.owner.to_string(), route.provider.key().to_owned()))
                    .collect();
                prop_assert_eq!(found.len(), expected.len());
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
                let ids: BTreeSet<_> = plan.routes().into_iter().map(|route| route.route_id).collect();
                prop_assert_eq!(ids.len(), plan.owner_routes.len());
            }

            #[test]
            fn the_counts_partition_the_routes(case in case()) {
                let plan = case.plan();
                prop_assert!(!plan.route_decisions.is_empty());
                prop_assert_eq!(
                    plan.deliverable_route_count + plan.suppressed_route_count, plan.route_decisions.len()
                );
                let per_category: usize = RouteCategory::ALL
                    .iter()
                    .map(|category| plan.route_decisions.iter().filter(|one| one.category == *category).count())
                    .sum();
                prop_assert_eq!(per_category, plan.route_decisions.len());
                prop_assert!(plan.maintenance_suppressed_count <= plan.suppressed_route_count);
                prop_assert!(plan.calendar_suppressed_count <= plan.suppressed_route_count);
                let routes = plan.routes();
                prop_assert_eq!(routes.iter().filter(|route| route.awaits()).count(), plan.deliverable_route_count);
            }

            #[test]
            fn a_route_is_suppressed_exactly_when_something_says_so(case in case()) {
                let plan = case.plan();
                for one in &plan.route_decisions {
                    let suppressed = one.action == RouteAction::Suppress;
                    prop_assert_eq!(suppressed, one.category != RouteCategory::Deliver);
                    let notifies = case.force || plan.status.notifies();
                    let (window, available) =
                        (one.route.maintenance_window.is_some(), one.route.owner_availability.available);
                    prop_assert_eq!(suppressed, !notifies || window || !available);
                    prop_assert!(one.route.acknowledgement_minutes > 0);
                }
            }

            #[test]
            fn the_window_is_the_first_that_applies(case in case()) {
                let windows = case.policy["maintenance_windows"].as_array().unwrap();
                for route in case.plan().owner_routes {
                    let expected = plain_window(&case, route.owner.as_str(), &route.provider);
                    let found = route.maintenance_window.map(|window| (window.start_at, window.end_at));
                    let time = |index: usize, key: &str| at(windows[index][key].as_str().unwrap());
                    prop_assert_eq!(found, expected.map(|index| (time(index, "start_at"), time(index, "end_at"))));
                }
            }

            #[test]
            fn the_content_key_does_not_depend_on_the_order_of_the_routes(
                (routes, shuffled) in case().prop_flat_map(|case| {
                    let routes = case.plan().routes();
                    (Just(routes.clone()), Just(routes).prop_shuffle())
                }),
            ) {
                let key = |routes: &[Route]| content_key("sched-1", "due_soon", DUE, routes);
                prop_assert_eq!(key(&routes), key(&shuffled));
            }

            #[test]
            fn a_restricted_plan_is_a_part_of_the_whole_one(case in case(), index in any::<prop::sample::Index>()) {
                let whole = case.plan();
                let key = index.get(&whole.owner_routes).provider.key().to_owned();
                let mut spellings = PROVIDERS.into_iter().chain([DEFAULT_PROVIDER]);
                let provider = spellings.find(|name| crate::route::normalised(name) == key).unwrap();
                let part = Case { provider, ..case }.plan();
                let expected: Vec<_> =
                    whole.route_decisions.into_iter().filter(|one| one.route.provider.key() == key).collect();
                prop_assert_eq!(part.route_decisions, expected);
            }
        }
    }
}

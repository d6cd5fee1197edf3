//! Routes: what they are, what state they are in, and which of them a filter means.
//!
//! A route is schedule x provider x owner inside one notification plan, its cycle (contract decisions 3). Every
//! view (list, dashboard, escalation plan, package, bulk) asks the functions of this module; none has a rule of
//! its own.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use crate::acknowledgement::{AckState, Answer};
use crate::id::{PlanId, RouteId, ScheduleId, derived_uuid};
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::time::Timestamp;

/// Acknowledgement minutes of a route whose plan names none (contract wire 3.1, step 6).
pub const DEFAULT_ACKNOWLEDGEMENT_MINUTES: u32 = 60;

/// Owner of a route whose plan names none (contract wire 1.4).
pub const DEFAULT_OWNER: &str = "release-governance";

/// Longest provider or owner name, in characters.
pub const MAX_NAME_CHARS: usize = 200;

/// Declares an enum whose text lives once, in `as_str`.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The value as it is written in documents and requests.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Reads a value: trimmed, lower-cased, `-` taken as `_` (contract wire 1.5). `None` when unknown.
            pub fn parse(text: &str) -> Option<Self> {
                let text = $crate::route::normalised(text);
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;

/// The comparison form of provider and state names: trimmed, lower case, `-` equal to `_`.
pub fn normalised(text: &str) -> String {
    text.trim().to_lowercase().replace('-', "_")
}

/// A provider as it was named, with the key by which it is compared.
///
/// ```
/// use cavra_domain::route::Provider;
///
/// let (sent, stored) = (Provider::parse(" Pager-Duty ")?, Provider::parse("pager_duty")?);
/// assert_eq!(sent.key(), stored.key());
/// assert_eq!(sent.as_str(), "Pager-Duty");
/// # Ok::<(), cavra_domain::public_safe::NotPublicSafe>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provider {
    name: Text,
    key: String,
}

impl Provider {
    /// Takes a provider name; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`NotPublicSafe`] when the name is too long or holds what no document may hold.
    pub fn parse(raw: &str) -> Result<Self, NotPublicSafe> {
        let name = Text::parse(Field::line("provider", MAX_NAME_CHARS), raw.trim())?;
        let key = normalised(name.as_str());
        Ok(Self { name, key })
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        self.name.as_str()
    }

    /// The name as it is compared.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The name as text for a document.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// Whether no provider is named.
    pub fn is_empty(&self) -> bool {
        self.key.is_empty()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Provider {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for Provider {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Provider".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

text_enum! {
    /// What a plan does with a route.
    RouteAction {
        /// The owner is notified and an acknowledgement is awaited.
        Deliver = "deliver",
        /// Nobody is notified; the category says why.
        Suppress = "suppress",
    }
}

text_enum! {
    /// Why a route is suppressed, or that it is not (contract wire 1.4).
    RouteCategory {
        /// Not suppressed.
        Deliver = "deliver",
        /// Within a maintenance window.
        MaintenanceWindow = "maintenance_window",
        /// The owner's calendar says that the owner is away.
        OwnerCalendar = "owner_calendar",
        /// The schedule needs no notification now.
        HealthySchedule = "healthy_schedule",
        /// Any other reason.
        Other = "other",
    }
}

text_enum! {
    /// The state of a route that waits, or waited, for an acknowledgement.
    StateName {
        /// Nobody has answered.
        Outstanding = "outstanding",
        /// Somebody has taken note.
        Acknowledged = "acknowledged",
        /// Somebody has passed it on.
        Escalated = "escalated",
        /// Somebody has said that it needs no answer.
        Dismissed = "dismissed",
        /// Done; nothing but an undo leads away from it.
        Resolved = "resolved",
    }
}

impl StateName {
    /// Whether the published field `acknowledged` is true in this state (contract wire 1.7).
    pub const fn is_acknowledged(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Resolved)
    }

    /// Whether the deadline still matters in this state: only an outstanding or an escalated route can be
    /// breached (contract decisions 3).
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Outstanding | Self::Escalated)
    }

    /// What happens to a route in this state when an acknowledgement says `said`.
    pub const fn on(self, said: AckState) -> Transition {
        let next = said.state();
        match (self, next) {
            (Self::Outstanding, _) => Transition::Change,
            (Self::Resolved, Self::Resolved)
            | (Self::Acknowledged, Self::Acknowledged)
            | (Self::Escalated, Self::Escalated)
            | (Self::Dismissed, Self::Dismissed) => Transition::Repeat,
            (Self::Resolved, _) => Transition::Final,
            (Self::Acknowledged | Self::Escalated | Self::Dismissed, _) => Transition::Change,
        }
    }
}

/// What an acknowledgement does to a route (contract decisions 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// The state changes.
    Change,
    /// One more signature for the state that the route already has; nothing else changes.
    Repeat,
    /// The route is resolved, and resolved is final: nothing changes.
    Final,
}

text_enum! {
    /// How much attention a set of routes needs: one rule for every view.
    Level {
        /// Something is breached or escalated.
        Critical = "critical",
        /// Something is outstanding, within its time.
        Warning = "warning",
        /// Everything is answered.
        Healthy = "healthy",
    }
}

/// A maintenance window that a route falls into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowNote {
    /// The window's id.
    pub window_id: Text,
    /// Why there is a window.
    pub reason: Text,
}

/// One route of one plan: the part that never changes after the plan is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Derived from plan, provider key and owner: see [`Route::id_for`].
    pub route_id: RouteId,
    /// The cycle.
    pub plan_id: PlanId,
    /// The schedule that is due.
    pub schedule_id: ScheduleId,
    /// When the plan was made; the deadline counts from here.
    pub created_at: Timestamp,
    /// The plan's own level, as published: free text on imported plans.
    pub alert_level: Text,
    /// Over which provider the owner is notified.
    pub provider: Provider,
    /// Who has to acknowledge.
    pub owner: Text,
    /// Who hears of it when nobody does.
    pub escalation_owner: Text,
    /// Delivered or suppressed.
    pub action: RouteAction,
    /// Why.
    pub category: RouteCategory,
    /// Why, for people.
    pub reason: Text,
    /// How long the owner has.
    pub acknowledgement_minutes: u32,
    /// The maintenance window, if one applies.
    pub maintenance_window: Option<WindowNote>,
    /// Whether the owner's calendar shows the owner as available.
    pub owner_available: bool,
    /// What the calendar says.
    pub owner_availability_reason: Text,
    /// When the drill is due, as the plan wrote it.
    pub next_due_at: Text,
}

impl Route {
    /// The id of the route of `plan_id` for this provider and owner. It is derived, so that importing a plan
    /// again, or replaying the evidence elsewhere, names the same routes.
    pub fn id_for(plan_id: &PlanId, created_at: Timestamp, provider: &Provider, owner: &Text) -> RouteId {
        RouteId::from_uuid(derived_uuid(created_at, &["route", plan_id.as_str(), provider.key(), owner.as_str()]))
    }

    /// When the time to acknowledge is over.
    pub const fn deadline_at(&self) -> Timestamp {
        self.created_at.plus_minutes(self.acknowledgement_minutes)
    }

    /// Whether the route waits for an acknowledgement at all.
    pub const fn awaits(&self) -> bool {
        matches!(self.action, RouteAction::Deliver)
    }
}

/// The one breach rule: open, and the deadline has come (contract decisions 3; the boundary is inclusive).
pub const fn is_breached(state: StateName, deadline_at: Timestamp, now: Timestamp) -> bool {
    state.is_open() && now.micros() >= deadline_at.micros()
}

/// State and revision of a route: the part that changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteStatus {
    /// The answer that stands; none while the route is outstanding.
    pub answer: Option<Answer>,
    /// How often the state has changed. A selection made at one revision is out of date at the next.
    pub revision: u64,
}

impl RouteStatus {
    /// The state's name.
    pub fn state(&self) -> StateName {
        self.answer.as_ref().map_or(StateName::Outstanding, |answer| answer.said.state())
    }

    /// The status after one more acknowledgement. Applying a route's acknowledgements in their order, from
    /// [`RouteStatus::default`], gives its state; nothing else does.
    #[must_use]
    pub fn apply(self, answer: Answer) -> (Self, Transition) {
        let transition = self.state().on(answer.said);
        match transition {
            Transition::Change => (Self { revision: self.revision + 1, answer: Some(answer) }, transition),
            Transition::Repeat | Transition::Final => (self, transition),
        }
    }
}

/// A route with its status, as every view sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedRoute {
    /// What the plan says.
    pub route: Route,
    /// What people have answered since.
    pub status: RouteStatus,
    /// Whether the route belongs to its schedule's newest plan.
    pub current: bool,
}

impl TrackedRoute {
    /// The state; `None` for a suppressed route, which waits for nothing.
    pub fn state(&self) -> Option<StateName> {
        self.route.awaits().then(|| self.status.state())
    }

    /// Whether the route is breached at `now`.
    pub fn breached(&self, now: Timestamp) -> bool {
        self.state().is_some_and(|state| is_breached(state, self.route.deadline_at(), now))
    }
}

/// Counts over a set of routes. The five states partition `route_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteCounts {
    /// Routes that wait, or waited, for an acknowledgement.
    pub route_count: u64,
    /// Of those, nobody has answered.
    pub outstanding: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Of those, escalated.
    pub escalated: u64,
    /// Of those, dismissed.
    pub dismissed: u64,
    /// Of those, resolved.
    pub resolved: u64,
    /// Outstanding or escalated, and past the deadline.
    pub breached: u64,
    /// Suppressed routes; not part of `route_count`.
    pub suppressed: u64,
}

impl RouteCounts {
    /// Adds `count` routes in one state, of which `breached` are breached.
    pub fn add(&mut self, state: Option<StateName>, count: u64, breached: u64) {
        let Some(state) = state else {
            self.suppressed += count;
            return;
        };
        self.route_count += count;
        self.breached += breached;
        match state {
            StateName::Outstanding => self.outstanding += count,
            StateName::Acknowledged => self.acknowledged += count,
            StateName::Escalated => self.escalated += count,
            StateName::Dismissed => self.dismissed += count,
            StateName::Resolved => self.resolved += count,
        }
    }

    /// Counts routes one by one.
    pub fn of<'a>(routes: impl IntoIterator<Item = &'a TrackedRoute>, now: Timestamp) -> Self {
        let mut counts = Self::default();
        for route in routes {
            counts.add(route.state(), 1, u64::from(route.breached(now)));
        }
        counts
    }

    /// Every route of the set, suppressed ones included.
    pub const fn total(&self) -> u64 {
        self.route_count + self.suppressed
    }

    /// The one level rule (contract decisions 3).
    pub const fn level(&self) -> Level {
        if self.breached > 0 || self.escalated > 0 {
            Level::Critical
        } else if self.outstanding > 0 {
            Level::Warning
        } else {
            Level::Healthy
        }
    }
}

/// Which cycles a view speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cycles {
    /// Only routes of each schedule's newest plan.
    #[default]
    Current,
    /// Routes of earlier plans as well.
    All,
}

/// The terms of a filter, as text from a request; an empty text is no term.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilterTerms<'a> {
    /// Exact.
    pub schedule_id: &'a str,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    pub owner: &'a str,
    /// Compared as provider names are.
    pub provider: &'a str,
    /// A state name.
    pub state: &'a str,
    /// `deliver` or `suppress`.
    pub action: &'a str,
    /// A suppression category, or `deliver`.
    pub category: &'a str,
    /// Breached or not.
    pub breached: Option<bool>,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FilterError {
    /// A term has a value that does not exist.
    #[error("`{term}` must be one of {}", allowed.join(", "))]
    UnknownValue {
        /// The term.
        term: FilterTerm,
        /// What it may be.
        allowed: Vec<&'static str>,
    },
    /// A term is not public-safe.
    #[error(transparent)]
    NotPublicSafe(#[from] NotPublicSafe),
}

text_enum! {
    /// The terms of a route filter, in the order in which a route is held against them.
    FilterTerm {
        /// Exact schedule.
        ScheduleId = "schedule_id",
        /// Part of the owner's or escalation owner's name.
        Owner = "owner",
        /// Provider key.
        Provider = "provider",
        /// State name.
        State = "state",
        /// Deliver or suppress.
        Action = "action",
        /// Category.
        Category = "category",
        /// Breached or not.
        Breached = "breached",
    }
}

/// Which routes a list, a bulk, a package or the console means: one type, one matcher.
///
/// ```
/// use cavra_domain::route::{FilterTerms, RouteFilter};
///
/// let filter = RouteFilter::parse(&FilterTerms { provider: "Slack", state: "outstanding", ..FilterTerms::default() })?;
/// assert!(!filter.is_empty());
/// assert!(RouteFilter::parse(&FilterTerms { state: "forgotten", ..FilterTerms::default() }).is_err());
/// # Ok::<(), cavra_domain::route::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteFilter {
    /// Exact schedule.
    pub schedule_id: Option<ScheduleId>,
    /// Lower-cased part of the owner's or escalation owner's name.
    pub owner: Option<Text>,
    /// Provider, compared by key.
    pub provider: Option<Provider>,
    /// State.
    pub state: Option<StateName>,
    /// Action.
    pub action: Option<RouteAction>,
    /// Category.
    pub category: Option<RouteCategory>,
    /// Breached or not.
    pub breached: Option<bool>,
}

impl RouteFilter {
    /// Reads the terms. An empty text is no term; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`FilterError`] for a value that does not exist or is not public-safe: a misspelt filter never widens a
    /// scope.
    pub fn parse(terms: &FilterTerms<'_>) -> Result<Self, FilterError> {
        fn term<T>(
            term: FilterTerm,
            text: &str,
            allowed: &[T],
            parse: impl Fn(&str) -> Option<T>,
            as_str: impl Fn(&T) -> &'static str,
        ) -> Result<Option<T>, FilterError> {
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            parse(text)
                .map(Some)
                .ok_or_else(|| FilterError::UnknownValue { term, allowed: allowed.iter().map(as_str).collect() })
        }
        let owner = terms.owner.trim().to_lowercase();
        let (schedule, provider) = (terms.schedule_id.trim(), Provider::parse(terms.provider)?);
        Ok(Self {
            schedule_id: if schedule.is_empty() { None } else { Some(ScheduleId::parse(schedule)?) },
            owner: if owner.is_empty() {
                None
            } else {
                Some(Text::parse(Field::line("owner", MAX_NAME_CHARS), &owner)?)
            },
            provider: if provider.is_empty() { None } else { Some(provider) },
            state: term(FilterTerm::State, terms.state, StateName::ALL, StateName::parse, |v| v.as_str())?,
            action: term(FilterTerm::Action, terms.action, RouteAction::ALL, RouteAction::parse, |v| v.as_str())?,
            category: term(
                FilterTerm::Category,
                terms.category,
                RouteCategory::ALL,
                RouteCategory::parse,
                |v| v.as_str(),
            )?,
            breached: terms.breached,
        })
    }

    /// Whether the filter has no term, and so would mean everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same filter with `action` set to `deliver` unless it names one: the default of package and bulk
    /// (contract decisions 3).
    #[must_use]
    pub fn or_deliver(mut self) -> Self {
        self.action.get_or_insert(RouteAction::Deliver);
        self
    }

    /// The form of owner names that the owner term is a part of. The separator can be in no name.
    pub fn owner_haystack(owner: &str, escalation_owner: &str) -> String {
        format!("{}\u{1f}{}", owner.to_lowercase(), escalation_owner.to_lowercase())
    }

    /// The first term, in the order of [`FilterTerm::ALL`], that leaves the route out; `None` when it matches.
    pub fn left_out_by(&self, tracked: &TrackedRoute, now: Timestamp) -> Option<FilterTerm> {
        let route = &tracked.route;
        let holds = |term: &FilterTerm| match term {
            FilterTerm::ScheduleId => self.schedule_id.as_ref().is_none_or(|id| *id == route.schedule_id),
            FilterTerm::Owner => self.owner.as_ref().is_none_or(|part| {
                Self::owner_haystack(route.owner.as_str(), route.escalation_owner.as_str()).contains(part.as_str())
            }),
            FilterTerm::Provider => {
                self.provider.as_ref().is_none_or(|provider| provider.key() == route.provider.key())
            }
            FilterTerm::State => self.state.is_none_or(|state| tracked.state() == Some(state)),
            FilterTerm::Action => self.action.is_none_or(|action| action == route.action),
            FilterTerm::Category => self.category.is_none_or(|category| category == route.category),
            FilterTerm::Breached => self.breached.is_none_or(|breached| breached == tracked.breached(now)),
        };
        FilterTerm::ALL.iter().copied().find(|term| !holds(term))
    }

    /// Whether the filter means this route.
    pub fn matches(&self, tracked: &TrackedRoute, now: Timestamp) -> bool {
        self.left_out_by(tracked, now).is_none()
    }
}

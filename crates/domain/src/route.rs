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

/// Lower case letter by letter. [`str::to_lowercase`] writes a sigma at the end of a word in another way, so a part
/// of a name would not be found in the name.
fn caseless(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|letter| if letter == 'ς' { 'σ' } else { letter })
        .collect()
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
            (Self::Resolved, Self::Resolved)
            | (Self::Acknowledged, Self::Acknowledged)
            | (Self::Escalated, Self::Escalated)
            | (Self::Dismissed, Self::Dismissed) => Transition::Repeat,
            (Self::Resolved, _) => Transition::Final,
            (Self::Outstanding | Self::Acknowledged | Self::Escalated | Self::Dismissed, _) => {
                Transition::Change
            }
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
    /// An undo took back the acknowledgement that stood; what stood before it stands again.
    Undo,
    /// An undo of an acknowledgement that does not stand here, or no longer: nothing changes.
    Stale,
}

/// A route's state as the fold of its history: acknowledgements and undos, in the order in which they take effect.
/// `K` names an acknowledgement.
///
/// The acknowledgements that changed the state are kept in a stack. An undo takes the topmost one away, and only
/// if that is the one it names: what somebody else has changed since stays as it is.
///
/// ```
/// use cavra_domain::acknowledgement::AckState;
/// use cavra_domain::route::{Fold, StateName, Transition};
///
/// let mut fold = Fold::default();
/// fold.acknowledge(1, AckState::Acknowledged);
/// fold.acknowledge(2, AckState::Resolved);
/// assert_eq!(fold.undo(&1), Transition::Stale);
/// assert_eq!(fold.undo(&2), Transition::Undo);
/// assert_eq!((fold.state(), fold.standing()), (StateName::Acknowledged, Some(&1)));
/// ```
#[derive(Debug, Clone)]
pub struct Fold<K> {
    changes: Vec<(K, StateName)>,
    revision: u64,
}

impl<K> Default for Fold<K> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            revision: 0,
        }
    }
}

impl<K: PartialEq> Fold<K> {
    /// The state now.
    pub fn state(&self) -> StateName {
        self.changes
            .last()
            .map_or(StateName::Outstanding, |(_, state)| *state)
    }

    /// The acknowledgement that stands; none while the route is outstanding.
    pub fn standing(&self) -> Option<&K> {
        self.changes.last().map(|(key, _)| key)
    }

    /// The state in which an undo of the standing acknowledgement would leave the route.
    pub fn beneath(&self) -> StateName {
        self.changes
            .iter()
            .rev()
            .nth(1)
            .map_or(StateName::Outstanding, |(_, state)| *state)
    }

    /// How often the state has changed.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// One more acknowledgement.
    pub fn acknowledge(&mut self, key: K, said: AckState) -> Transition {
        let transition = self.state().on(said);
        if transition == Transition::Change {
            self.changes.push((key, said.state()));
            self.revision += 1;
        }
        transition
    }

    /// The undo of an acknowledgement.
    pub fn undo(&mut self, key: &K) -> Transition {
        if self.standing() != Some(key) {
            return Transition::Stale;
        }
        self.changes.pop();
        self.revision += 1;
        Transition::Undo
    }
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
        RouteId::from_uuid(derived_uuid(
            created_at,
            &["route", plan_id.as_str(), provider.key(), owner.as_str()],
        ))
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
        self.answer
            .as_ref()
            .map_or(StateName::Outstanding, |answer| answer.said.state())
    }

    /// The status after one more acknowledgement. Applying a route's acknowledgements in their order, from
    /// [`RouteStatus::default`], gives its state as long as none is undone; [`Fold`] knows undos too.
    #[must_use]
    pub fn apply(self, answer: Answer) -> (Self, Transition) {
        let transition = self.state().on(answer.said);
        match transition {
            Transition::Change => (
                Self {
                    revision: self.revision + 1,
                    answer: Some(answer),
                },
                transition,
            ),
            Transition::Repeat | Transition::Final | Transition::Undo | Transition::Stale => {
                (self, transition)
            }
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
        self.state()
            .is_some_and(|state| is_breached(state, self.route.deadline_at(), now))
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
            parse(text).map(Some).ok_or_else(|| FilterError::UnknownValue {
                term,
                allowed: allowed.iter().map(as_str).collect(),
            })
        }
        let owner = caseless(terms.owner.trim());
        let (schedule, provider) = (terms.schedule_id.trim(), Provider::parse(terms.provider)?);
        Ok(Self {
            schedule_id: if schedule.is_empty() {
                None
            } else {
                Some(ScheduleId::parse(schedule)?)
            },
            owner: if owner.is_empty() {
                None
            } else {
                Some(Text::parse(Field::line("owner", MAX_NAME_CHARS), &owner)?)
            },
            provider: if provider.is_empty() { None } else { Some(provider) },
            state: term(
                FilterTerm::State,
                terms.state,
                StateName::ALL,
                StateName::parse,
                |v| v.as_str(),
            )?,
            action: term(
                FilterTerm::Action,
                terms.action,
                RouteAction::ALL,
                RouteAction::parse,
                |v| v.as_str(),
            )?,
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
        format!("{}\u{1f}{}", caseless(owner), caseless(escalation_owner))
    }

    /// The first term, in the order of [`FilterTerm::ALL`], that leaves the route out; `None` when it matches.
    pub fn left_out_by(&self, tracked: &TrackedRoute, now: Timestamp) -> Option<FilterTerm> {
        let route = &tracked.route;
        let holds = |term: &FilterTerm| match term {
            FilterTerm::ScheduleId => self
                .schedule_id
                .as_ref()
                .is_none_or(|id| *id == route.schedule_id),
            FilterTerm::Owner => self.owner.as_ref().is_none_or(|part| {
                Self::owner_haystack(route.owner.as_str(), route.escalation_owner.as_str())
                    .contains(part.as_str())
            }),
            FilterTerm::Provider => self
                .provider
                .as_ref()
                .is_none_or(|provider| provider.key() == route.provider.key()),
            FilterTerm::State => self.state.is_none_or(|state| tracked.state() == Some(state)),
            FilterTerm::Action => self.action.is_none_or(|action| action == route.action),
            FilterTerm::Category => self.category.is_none_or(|category| category == route.category),
            FilterTerm::Breached => self
                .breached
                .is_none_or(|breached| breached == tracked.breached(now)),
        };
        FilterTerm::ALL.iter().copied().find(|term| !holds(term))
    }

    /// Whether the filter means this route.
    pub fn matches(&self, tracked: &TrackedRoute, now: Timestamp) -> bool {
        self.left_out_by(tracked, now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{
        about_now, ack_states, answer, any_filter, any_route, any_routes, now, plan_id, provider, route,
        schedule_id, status, suppressed, text, tracked,
    };

    /// Every spelling that a request may use for one value.
    fn spellings(text: &str) -> Vec<String> {
        let dashes = text.replace('_', "-");
        vec![
            text.to_owned(),
            format!(" \t{text}\n"),
            text.to_uppercase(),
            dashes.to_uppercase(),
            dashes,
        ]
    }

    /// Checks that each value of an enum comes back from its own text in any spelling, and that no two share it.
    macro_rules! assert_round_trip {
        ($($name:ty),*) => {$(
            let mut seen = std::collections::BTreeSet::new();
            for value in <$name>::ALL {
                assert!(seen.insert(value.as_str()), "{value:?} shares its text");
                assert_eq!(value.to_string(), value.as_str());
                assert_eq!(serde_json::to_value(value).unwrap(), value.as_str());
                for spelling in spellings(value.as_str()) {
                    assert_eq!(<$name>::parse(&spelling), Some(*value), "{spelling:?}");
                }
            }
            assert_eq!(<$name>::parse("no such value"), None);
        )*};
    }

    #[test]
    fn every_value_of_every_enum_comes_back_from_its_text_in_any_spelling() {
        assert_round_trip!(RouteAction, RouteCategory, StateName, Level, FilterTerm, AckState);
        assert_round_trip!(
            crate::bulk::BulkMode,
            crate::bulk::Outcome,
            crate::bulk::OutcomeReason
        );
        assert_round_trip!(crate::escalation::RecommendedAction);
        assert_round_trip!(crate::schedule::Mode, crate::schedule::ScheduleStatus);
    }

    #[test]
    fn an_acknowledgement_leads_to_the_state_of_the_same_name() {
        for said in AckState::ALL {
            assert_eq!(said.state().as_str(), said.as_str());
        }
    }

    #[test]
    fn every_state_answers_every_acknowledgement_as_the_table_says() {
        use Transition::{Change, Final, Repeat};
        let columns = [
            AckState::Acknowledged,
            AckState::Dismissed,
            AckState::Escalated,
            AckState::Resolved,
        ];
        let rows = [
            (StateName::Outstanding, [Change, Change, Change, Change]),
            (StateName::Acknowledged, [Repeat, Change, Change, Change]),
            (StateName::Dismissed, [Change, Repeat, Change, Change]),
            (StateName::Escalated, [Change, Change, Repeat, Change]),
            (StateName::Resolved, [Final, Final, Final, Repeat]),
        ];
        assert_eq!(
            (rows.len(), columns.len()),
            (StateName::ALL.len(), AckState::ALL.len())
        );
        for (state, expected) in rows {
            assert_eq!(columns.map(|said| state.on(said)), expected, "{state}");
        }
    }

    #[test]
    fn a_state_says_whether_it_is_acknowledged_and_whether_its_deadline_matters() {
        let says = |state: StateName| (state.is_acknowledged(), state.is_open());
        assert_eq!(
            [
                StateName::Outstanding,
                StateName::Acknowledged,
                StateName::Escalated,
                StateName::Dismissed,
                StateName::Resolved,
            ]
            .map(says),
            [
                (false, true),
                (true, false),
                (false, true),
                (false, false),
                (true, false)
            ]
        );
    }

    #[test]
    fn a_change_takes_the_answer_and_counts_one_revision() {
        assert_eq!(RouteStatus::default().state(), StateName::Outstanding);
        let (status, transition) = RouteStatus::default().apply(answer(AckState::Escalated, 1));
        assert_eq!(
            (status.state(), transition),
            (StateName::Escalated, Transition::Change)
        );
        let (status, transition) = status.apply(answer(AckState::Resolved, 2));
        assert_eq!(
            (status.state(), transition),
            (StateName::Resolved, Transition::Change)
        );
        assert_eq!(
            (status.revision, status.answer),
            (2, Some(answer(AckState::Resolved, 2)))
        );
    }

    #[test]
    fn a_second_signature_changes_neither_revision_nor_who_answered() {
        for said in AckState::ALL {
            let first = status(&[*said]);
            let (second, transition) = first.clone().apply(answer(*said, 2));
            assert_eq!((second, transition), (first, Transition::Repeat), "{said}");
        }
    }

    #[test]
    fn nothing_leads_away_from_resolved() {
        let resolved = status(&[AckState::Acknowledged, AckState::Resolved]);
        for said in [AckState::Acknowledged, AckState::Dismissed, AckState::Escalated] {
            let (after, transition) = resolved.clone().apply(answer(said, 3));
            assert_eq!(
                (after, transition),
                (resolved.clone(), Transition::Final),
                "{said}"
            );
        }
    }

    #[test]
    fn a_route_is_breached_from_the_very_microsecond_of_its_deadline() {
        let route = route("sched-a", "slack", "ana");
        let deadline = route.deadline_at();
        assert_eq!(
            deadline.micros_since(route.created_at),
            60 * crate::time::MICROS_PER_MINUTE
        );
        let outstanding = tracked(route, &[]);
        assert!(!outstanding.breached(deadline.plus_micros(-1)));
        assert!(outstanding.breached(deadline));
        assert!(outstanding.breached(deadline.plus_micros(1)));
    }

    #[test]
    fn only_an_open_route_that_waits_can_be_breached() {
        let late = now().plus_minutes(61);
        for state in StateName::ALL {
            assert_eq!(is_breached(*state, now(), late), state.is_open(), "{state}");
        }
        let route = route("sched-a", "slack", "ana");
        assert!(tracked(route.clone(), &[AckState::Escalated]).breached(late));
        assert!(!tracked(route.clone(), &[AckState::Dismissed]).breached(late));
        assert!(!tracked(suppressed(route, RouteCategory::OwnerCalendar), &[]).breached(late));
    }

    #[test]
    fn a_deadline_beyond_the_calendar_is_the_last_time_that_can_be_written() {
        let route = Route {
            acknowledgement_minutes: u32::MAX,
            ..route("sched-a", "slack", "ana")
        };
        assert_eq!(route.deadline_at(), Timestamp::MAX);
        assert!(!tracked(route, &[]).breached(now().plus_minutes(60)));
    }

    #[test]
    fn a_suppressed_route_has_no_state_even_if_somebody_answered_it() {
        let route = suppressed(route("sched-a", "slack", "ana"), RouteCategory::MaintenanceWindow);
        assert!(!route.awaits());
        assert_eq!(tracked(route.clone(), &[]).state(), None);
        assert_eq!(tracked(route, &[AckState::Resolved]).state(), None);
    }

    #[test]
    fn the_level_is_critical_before_warning_before_healthy() {
        let level = |outstanding, escalated, breached, answered| {
            RouteCounts {
                outstanding,
                escalated,
                breached,
                acknowledged: answered,
                dismissed: answered,
                resolved: answered,
                suppressed: answered,
                ..RouteCounts::default()
            }
            .level()
        };
        assert_eq!(level(0, 0, 0, 0), Level::Healthy);
        assert_eq!(level(0, 0, 0, 9), Level::Healthy);
        assert_eq!(level(1, 0, 0, 9), Level::Warning);
        assert_eq!(level(0, 1, 0, 9), Level::Critical);
        assert_eq!(level(1, 0, 1, 9), Level::Critical);
    }

    #[test]
    fn a_route_id_depends_on_plan_provider_key_and_owner_and_on_nothing_else() {
        let id = |plan: &str, over: &str, owner: &str| {
            Route::id_for(&plan_id(plan), now(), &provider(over), &text(owner))
        };
        let first = id("gordn-1", "Pager-Duty", "ana");
        assert_eq!(first, id("gordn-1", " pager_duty ", "ana"));
        for other in [
            id("gordn-2", "Pager-Duty", "ana"),
            id("gordn-1", "slack", "ana"),
            id("gordn-1", "Pager-Duty", "Ana"),
        ] {
            assert_ne!(first, other);
        }
        assert!(first.as_str().starts_with("gordroute-"));
    }

    #[test]
    fn providers_compare_without_regard_to_case_hyphen_and_outer_space() {
        let sent = provider("\u{a0}Pager-Duty ");
        assert_eq!((sent.as_str(), sent.key()), ("Pager-Duty", "pager_duty"));
        assert_eq!(
            (sent.to_string(), serde_json::to_value(&sent).unwrap()),
            ("Pager-Duty".into(), "Pager-Duty".into())
        );
        assert_ne!(provider("pager duty").key(), sent.key());
        assert!(provider("  ").is_empty());
        assert!(Provider::parse("a\u{0}b").is_err());
        assert!(Provider::parse(&"x".repeat(MAX_NAME_CHARS + 1)).is_err());
    }

    fn parse(terms: &FilterTerms<'_>) -> RouteFilter {
        RouteFilter::parse(terms).unwrap()
    }

    #[test]
    fn an_empty_text_is_no_term() {
        let blank = FilterTerms {
            schedule_id: " ",
            owner: "\t",
            provider: " ",
            state: "",
            action: "  ",
            category: "\n",
            breached: None,
        };
        assert!(parse(&blank).is_empty());
        assert!(parse(&FilterTerms::default()).is_empty());
        assert!(
            !parse(&FilterTerms {
                breached: Some(false),
                ..FilterTerms::default()
            })
            .is_empty()
        );
        assert!(
            !parse(&FilterTerms {
                owner: "a",
                ..FilterTerms::default()
            })
            .is_empty()
        );
    }

    #[test]
    fn terms_are_trimmed_and_read_in_any_spelling() {
        let filter = parse(&FilterTerms {
            schedule_id: " sched-a ",
            owner: " ANA ",
            provider: " Pager-Duty ",
            state: "Outstanding",
            action: " DELIVER",
            category: "Maintenance-Window",
            breached: Some(true),
        });
        assert_eq!(filter.schedule_id, Some(schedule_id("sched-a")));
        assert_eq!(filter.owner, Some(text("ana")));
        assert_eq!(filter.provider, Some(provider("Pager-Duty")));
        assert_eq!(filter.state, Some(StateName::Outstanding));
        assert_eq!(filter.action, Some(RouteAction::Deliver));
        assert_eq!(filter.category, Some(RouteCategory::MaintenanceWindow));
        assert_eq!(filter.breached, Some(true));
    }

    #[test]
    fn an_unknown_value_is_refused_and_the_error_names_the_allowed_ones() {
        let refused = |terms| RouteFilter::parse(&terms).unwrap_err().to_string();
        let none = FilterTerms::default();
        assert_eq!(
            refused(FilterTerms {
                state: "open",
                ..none
            }),
            "`state` must be one of outstanding, acknowledged, escalated, dismissed, resolved"
        );
        assert_eq!(
            refused(FilterTerms {
                action: "send",
                ..none
            }),
            "`action` must be one of deliver, suppress"
        );
        assert_eq!(
            refused(FilterTerms {
                category: "holiday",
                ..none
            }),
            "`category` must be one of deliver, maintenance_window, owner_calendar, healthy_schedule, other"
        );
    }

    #[test]
    fn a_term_that_is_not_public_safe_is_refused_without_its_text() {
        for terms in [
            FilterTerms {
                owner: "password=hunter2",
                ..FilterTerms::default()
            },
            FilterTerms {
                schedule_id: "password=hunter2",
                ..FilterTerms::default()
            },
            FilterTerms {
                provider: "password=hunter2",
                ..FilterTerms::default()
            },
        ] {
            let error = RouteFilter::parse(&terms).unwrap_err();
            assert!(matches!(error, FilterError::NotPublicSafe(_)), "{terms:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_owner_term_is_a_part_of_owner_or_escalation_owner_in_any_case() {
        let route = Route {
            escalation_owner: text("Leitstelle ÜBER"),
            ..route("sched-a", "slack", "Team ΟΔΟΣΑΝ")
        };
        let tracked = tracked(route, &[]);
        let finds = |owner| {
            parse(&FilterTerms {
                owner,
                ..FilterTerms::default()
            })
            .matches(&tracked, now())
        };
        for owner in ["team", "EAM", "ΟΔΟΣ", "οδος", "οδοσ", "ΣΑΝ", "über", "leitSTELLE"] {
            assert!(finds(owner), "{owner}");
        }
        for owner in ["teams", "ubER", "ΟΔΑ", "Leitstelle Team", "ΟΔΟΣΑΝ Leit"] {
            assert!(!finds(owner), "{owner}");
        }
    }

    #[test]
    fn a_suppressed_route_matches_no_state_but_is_not_breached() {
        let route = suppressed(route("sched-a", "slack", "ana"), RouteCategory::OwnerCalendar);
        let tracked = tracked(route, &[AckState::Acknowledged]);
        for state in StateName::ALL {
            let filter = RouteFilter {
                state: Some(*state),
                ..RouteFilter::default()
            };
            assert_eq!(
                filter.left_out_by(&tracked, now()),
                Some(FilterTerm::State),
                "{state}"
            );
        }
        let breached = |breached| RouteFilter {
            breached: Some(breached),
            ..RouteFilter::default()
        };
        assert!(breached(false).matches(&tracked, now().plus_minutes(120)));
        assert!(!breached(true).matches(&tracked, now().plus_minutes(120)));
    }

    #[test]
    fn a_route_is_left_out_by_the_first_term_that_does_not_hold() {
        let mut filter = parse(&FilterTerms {
            schedule_id: "sched-b",
            owner: "ben",
            provider: "teams",
            state: "resolved",
            action: "suppress",
            category: "other",
            breached: Some(true),
        });
        let tracked = tracked(route("sched-a", "slack", "ana"), &[]);
        for term in FilterTerm::ALL {
            assert_eq!(filter.left_out_by(&tracked, now()), Some(*term));
            match term {
                FilterTerm::ScheduleId => filter.schedule_id = None,
                FilterTerm::Owner => filter.owner = None,
                FilterTerm::Provider => filter.provider = None,
                FilterTerm::State => filter.state = None,
                FilterTerm::Action => filter.action = None,
                FilterTerm::Category => filter.category = None,
                FilterTerm::Breached => filter.breached = None,
            }
        }
        assert_eq!(
            (filter.left_out_by(&tracked, now()), filter.is_empty()),
            (None, true)
        );
    }

    #[test]
    fn a_scope_without_an_action_means_delivered_routes() {
        let filter = parse(&FilterTerms {
            provider: "slack",
            ..FilterTerms::default()
        });
        assert_eq!(
            filter.clone().or_deliver(),
            RouteFilter {
                action: Some(RouteAction::Deliver),
                ..filter.clone()
            }
        );
        let suppressed = RouteFilter {
            action: Some(RouteAction::Suppress),
            ..filter
        };
        assert_eq!(suppressed.clone().or_deliver(), suppressed);
    }

    /// The terms of `filter` that `keep` says, in the order of [`FilterTerm::ALL`].
    fn only(filter: &RouteFilter, keep: [bool; 7]) -> RouteFilter {
        let [schedule_id, owner, provider, state, action, category, breached] = keep;
        RouteFilter {
            schedule_id: filter.schedule_id.clone().filter(|_| schedule_id),
            owner: filter.owner.clone().filter(|_| owner),
            provider: filter.provider.clone().filter(|_| provider),
            state: filter.state.filter(|_| state),
            action: filter.action.filter(|_| action),
            category: filter.category.filter(|_| category),
            breached: filter.breached.filter(|_| breached),
        }
    }

    proptest! {
        #[test]
        fn five_states_and_the_suppressed_partition_any_routes(routes in any_routes(), now in about_now()) {
            let counts = RouteCounts::of(&routes, now);
            let states = [
                counts.outstanding, counts.acknowledged, counts.escalated, counts.dismissed, counts.resolved,
            ];
            prop_assert_eq!(states.iter().sum::<u64>(), counts.route_count);
            prop_assert_eq!(counts.total(), routes.len() as u64);
            prop_assert!(counts.breached <= counts.outstanding + counts.escalated);
            for (state, count) in StateName::ALL.iter().zip(states) {
                let filter = RouteFilter { state: Some(*state), ..RouteFilter::default() };
                let matched = routes.iter().filter(|tracked| filter.matches(tracked, now)).count();
                prop_assert_eq!(matched as u64, count, "{}", state);
            }
        }

        #[test]
        fn counting_one_by_one_and_in_groups_gives_the_same(routes in any_routes(), now in about_now()) {
            let mut grouped = RouteCounts::default();
            for state in StateName::ALL.iter().copied().map(Some).chain([None]) {
                let group: Vec<_> = routes.iter().filter(|tracked| tracked.state() == state).collect();
                let breached = group.iter().filter(|tracked| tracked.breached(now)).count();
                grouped.add(state, group.len() as u64, breached as u64);
            }
            prop_assert_eq!(grouped, RouteCounts::of(&routes, now));
        }

        #[test]
        fn no_sequence_of_acknowledgements_makes_an_illegal_step(said in ack_states()) {
            let mut status = RouteStatus::default();
            let mut changes = 0;
            for (number, said) in (1..).zip(said) {
                let before = status.clone();
                let (after, transition) = status.apply(answer(said, number));
                let moved = before.state() != after.state();
                prop_assert_eq!(moved, transition == Transition::Change);
                if moved {
                    changes += 1;
                    prop_assert_ne!(before.state(), StateName::Resolved);
                    prop_assert_ne!(after.state(), StateName::Outstanding);
                    prop_assert_eq!(after.answer.as_ref(), Some(&answer(said, number)));
                } else {
                    prop_assert_eq!(&before, &after);
                }
                prop_assert_eq!(after.revision, changes);
                status = after;
            }
        }

        #[test]
        fn time_alone_only_ever_breaches(route in any_route(), said in ack_states(), a in about_now(), b in about_now()) {
            let tracked = tracked(route, &said);
            let (earlier, later) = (a.min(b), a.max(b));
            prop_assert!(!tracked.breached(earlier) || tracked.breached(later));
        }

        #[test]
        fn a_route_matches_exactly_when_no_term_leaves_it_out(
            routes in any_routes(), filter in any_filter(), now in about_now(),
        ) {
            for tracked in &routes {
                let alone = |index: usize| {
                    let mut keep = [false; 7];
                    keep[index] = true;
                    only(&filter, keep).matches(tracked, now)
                };
                let failing = (0..7).find(|index| !alone(*index)).map(|index| FilterTerm::ALL[index]);
                prop_assert_eq!(filter.left_out_by(tracked, now), failing);
                prop_assert_eq!(filter.matches(tracked, now), failing.is_none());
            }
        }

        #[test]
        fn terms_are_all_required_so_that_adding_one_never_widens(
            routes in any_routes(), filter in any_filter(), keep in any::<[bool; 7]>(), now in about_now(),
        ) {
            let (some, others) = (only(&filter, keep), only(&filter, keep.map(|keep| !keep)));
            for tracked in &routes {
                prop_assert_eq!(
                    filter.matches(tracked, now),
                    some.matches(tracked, now) && others.matches(tracked, now)
                );
            }
        }

        #[test]
        fn any_part_of_an_owner_is_found_in_any_case(
            owner in "[a-zÀ-žΑ-ωА-я ]{1,12}", from in 0..12_usize, length in 1..12_usize, upper in any::<bool>(),
        ) {
            // Letters that come back from upper case as themselves, and the final sigma: not `ß`, not dotless `i`.
            prop_assume!(owner.chars().all(|letter| {
                let back = letter.to_uppercase().flat_map(char::to_lowercase);
                letter == 'ς' || back.eq(letter.to_lowercase())
            }));
            let part: String = owner.chars().skip(from).take(length).collect();
            let part = if upper { part.to_uppercase() } else { part.to_lowercase() };
            let filter = parse(&FilterTerms { owner: &part, ..FilterTerms::default() });
            prop_assert!(filter.matches(&tracked(route("sched-a", "slack", &owner), &[]), now()), "{}", part);
        }

        #[test]
        fn the_comparison_form_of_a_name_is_its_own(name in any::<String>()) {
            let once = normalised(&name);
            prop_assert_eq!(normalised(&once), once);
        }
    }
}

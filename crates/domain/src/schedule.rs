//! From a drill schedule to a notification plan: who is notified over what, and why somebody is not.
//!
//! Three steps, each a pure function:
//!
//! 1. [`ScheduleReport::build`] reads a schedule and a drill history, both untrusted JSON, and says in what state
//!    the schedule is (contract wire 1.2). A bad schedule is no error: the report says `valid: false` and what is
//!    wrong. Only a text that is not public-safe is one, because the report would carry it.
//! 2. [`RoutingPolicy::parse`] reads the routing policy of a request, and takes from the schedule what the request
//!    does not name.
//! 3. [`build_plan`] gives one route per owner and provider with the decision about it (contract wire 1.3, 1.4,
//!    3.1).
//!
//! # One reading, two manners
//! A schedule file and a request's policy have the same parts and are read by the same functions. In a request
//! the first thing wrong is an error that names its JSON pointer: a wrong type, an unknown key, two names of one
//! thing. In a schedule file, which is older than this service, each such thing is collected and makes the report
//! invalid, except where the contract lets published files differ: unknown keys are only listed in the
//! `operator_notes`, and of two names of one thing the first that says something counts.
//!
//! # Names
//! Names of owners, providers and schedules are trimmed. Owners compare exactly, in maintenance windows without
//! regard to upper and lower case; providers compare by [`Provider::key`](crate::route::Provider::key).
//!
//! # Times
//! RFC 3339 with any offset. As in the published system a time without an offset is UTC, and a date is its first
//! moment in UTC (contract wire 0.1).
//!
//! # Example
//! ```
//! use cavra_domain::actor::Actor;
//! use cavra_domain::id::{IdSource, PlanId, SequentialIds};
//! use cavra_domain::schedule::{
//!     PlanRequest, RequestedProviders, RoutingPolicy, ScheduleReport, ScheduleSettings, build_plan,
//! };
//! use cavra_domain::time::Timestamp;
//! use serde_json::json;
//!
//! let now = Timestamp::parse("2026-06-01T08:00:00Z")?;
//! let schedule = json!({
//!     "schema_version": "cavra.go-backend-rollback-drill-schedule.v1",
//!     "schedule_id": "sched-emea",
//!     "environment": "production",
//!     "status": "active",
//!     "interval_days": 30,
//!     "next_due_at": "2026-06-05T08:00:00Z",
//!     "owners": ["platform-oncall", "release-managers"],
//!     "notification_providers": ["slack"],
//!     "runbook_ref": "runbooks/rollback-drill.md",
//! });
//! let report = ScheduleReport::build(Some(&schedule), None, &ScheduleSettings::default(), now)?;
//! assert_eq!(report.status.as_str(), "due_soon");
//!
//! let policy = json!({ "owner_calendars": { "release-managers": { "available": false, "reason": "offsite" } } });
//! let policy = RoutingPolicy::parse(Some(&policy), &report.schedule)?;
//! let plan = build_plan(&PlanRequest {
//!     report: &report,
//!     policy: &policy,
//!     requested: &RequestedProviders::parse("all")?,
//!     force: false,
//!     plan_id: PlanId::from_uuid(SequentialIds::default().next(now)),
//!     generated_at: now,
//!     actor: Actor::local("generated_by", "ana")?,
//! })?;
//! assert_eq!((plan.deliverable_route_count, plan.suppressed_route_count), (1, 1));
//! assert_eq!(plan.route_decisions[1].category.as_str(), "owner_calendar");
//! assert_eq!(plan.routes().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod history;
mod plan;
mod policy;
mod read;
mod report;
mod routing;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Number;
use thiserror::Error;

pub use self::history::{HISTORY_MAX_AGE_DEFAULT, HistorySummary};
pub use self::plan::{
    CONTROLS, DEFAULT_PROVIDER, MAX_ROUTES, NOTIFICATION_PLAN_SCHEMA, NotificationPlan, OwnerAvailability,
    OwnerRoute, PlanRequest, RequestedProviders, RouteDecision, RouteKey, RouteWindow, build_plan, category,
    content_key,
};
pub use self::policy::{Absence, MaintenanceWindow, OwnerCalendar, OwnerRoutes, OwnerRule, RoutingPolicy};
pub use self::report::{
    CheckDetail, CheckStatus, DUE_SOON_DEFAULT, SCHEDULE_FILE_SCHEMA, SCHEDULE_REPORT_SCHEMA, ScheduleCheck,
    ScheduleFile, ScheduleReport, ScheduleSummary,
};
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::route::{Level, Provider, text_enum};
use crate::time::{MICROS_PER_DAY, TimeError};

/// How many names or problems a message lists before it only counts the rest.
const LISTED: usize = 10;

text_enum! {
    /// How far the Go backend pilot is (contract wire 1.2); it decides whether a schedule has to exist.
    Mode {
        /// Off.
        Disabled = "disabled",
        /// Runs beside the other backend without effect.
        Shadow = "shadow",
        /// Decides.
        Enforce = "enforce",
        /// In charge: rollback drills are due.
        Promoted = "promoted",
    }
}

impl Mode {
    /// The mode that a setting names; `disabled` when it names none (contract wire 1.2).
    pub fn of(setting: &str) -> Self {
        Self::parse(setting).unwrap_or(Self::Disabled)
    }
}

text_enum! {
    /// The state of a schedule (contract wire 1.2).
    ScheduleStatus {
        /// No schedule is given, and none has to be.
        NotRequested = "not_requested",
        /// Valid, and the drill is due within the configured days.
        DueSoon = "due_soon",
        /// Valid, and the drill is further away.
        Ready = "ready",
        /// Invalid or overdue.
        NeedsAttention = "needs_attention",
    }
}

impl ScheduleStatus {
    /// How much attention a plan made in this state asks for (contract wire 1.3).
    pub const fn alert_level(self) -> Level {
        match self {
            Self::NeedsAttention => Level::Critical,
            Self::DueSoon => Level::Warning,
            Self::Ready | Self::NotRequested => Level::Healthy,
        }
    }

    /// Whether a plan made in this state notifies anybody without being forced to (contract wire 1.3).
    pub const fn notifies(self) -> bool {
        matches!(self, Self::NeedsAttention | Self::DueSoon)
    }
}

/// A length of time in days, kept as whole microseconds so that no boundary depends on a float.
///
/// Outside it is a number of days, as published.
///
/// ```
/// use cavra_domain::schedule::Days;
///
/// assert_eq!(Days::parse(0.5).map(Days::micros), Some(12 * 60 * 60 * 1_000_000));
/// assert_eq!(Days::parse(f64::NAN), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Days(i64);

impl Days {
    /// The longest length in days, ten thousand Gregorian years: more than lies between any two times.
    pub const MAX_DAYS: i32 = 3_652_425;

    /// A whole number of days.
    pub const fn whole(days: u16) -> Self {
        Self(days as i64 * MICROS_PER_DAY)
    }

    /// A number of days, rounded to microseconds; it may be negative. `None` when it is not a number or its size
    /// is above [`Days::MAX_DAYS`].
    pub fn parse(days: f64) -> Option<Self> {
        if days.is_nan() || days.abs() > f64::from(Self::MAX_DAYS) {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "the microseconds of a day are far below 2^53"
        )]
        let micros = (days * MICROS_PER_DAY as f64).round();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the check above keeps it below 2^59"
        )]
        let micros = micros as i64;
        Some(Self(micros))
    }

    /// As [`Days::parse`], without rounding for whole numbers.
    fn of_number(number: &Number) -> Option<Self> {
        match number.as_i64() {
            Some(days) => i32::try_from(days)
                .ok()
                .filter(|days| days.unsigned_abs() <= Self::MAX_DAYS.unsigned_abs())
                .map(|days| Self(i64::from(days) * MICROS_PER_DAY)),
            None => number.as_f64().and_then(Self::parse),
        }
    }

    /// Microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Days, for people and documents, never for a decision.
    #[expect(clippy::cast_precision_loss, reason = "shown, not compared")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_DAY as f64
    }
}

impl Serialize for Days {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl JsonSchema for Days {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Days".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "description": "A number of days." })
    }
}

/// Days rounded half up to four decimals, as the published report writes them: for people, never for a decision.
#[expect(
    clippy::cast_precision_loss,
    reason = "ten-thousandths of days over 20,000 years stay below 2^53"
)]
fn rounded_days(micros: i64) -> f64 {
    const UNIT: i128 = MICROS_PER_DAY as i128 / 10_000;
    let units = (i128::from(micros) * 2 + UNIT).div_euclid(UNIT * 2);
    i64::try_from(units).unwrap_or(i64::MAX) as f64 / 10_000.0
}

/// What the operator of the service configures about schedules (contract wire 1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// How far the pilot is.
    pub mode: Mode,
    /// Where the schedule file is, as the report shows it; empty when none is configured.
    pub schedule_path: Text,
    /// A drill that is due within so many days is due soon; zero or less: never.
    pub due_soon_days: Days,
    /// A last drill within so many days is fresh.
    pub history_max_age_days: Days,
}

impl Default for ScheduleSettings {
    /// The published defaults: disabled, no file, 14 days, 90 days.
    fn default() -> Self {
        Self {
            mode: Mode::Disabled,
            schedule_path: Text::empty(),
            due_soon_days: DUE_SOON_DEFAULT,
            history_max_age_days: HISTORY_MAX_AGE_DEFAULT,
        }
    }
}

/// Why a policy cannot be used or a plan cannot be made; inside a schedule file, what is wrong with it.
///
/// Pointers are JSON pointers (RFC 6901) into the request: `/schedule`, `/history`, `/routing_policy`,
/// `/provider`. They only hold keys that are public-safe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// A value has the wrong type, or is empty where it may not be.
    #[error("`{pointer}` must be {expected}")]
    Expected {
        /// The value.
        pointer: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that means nothing here.
    #[error("`{pointer}` is not known; a misspelt key would change who is notified")]
    UnknownKey {
        /// The key.
        pointer: String,
    },
    /// A key and its alias are both given.
    #[error("`{first}` and `{second}` are two names of the same thing; give one of them")]
    TwoNames {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Two keys of one object are the same name after trimming.
    #[error("`{pointer}` is there more than once")]
    Repeated {
        /// The key.
        pointer: String,
    },
    /// A text is not a time.
    #[error("`{pointer}` is {cause}")]
    Time {
        /// The text.
        pointer: String,
        /// Why not.
        #[source]
        cause: TimeError,
    },
    /// A window ends before it starts.
    #[error("`{pointer}` ends before it starts")]
    Reversed {
        /// The window.
        pointer: String,
    },
    /// More minutes than a route can have.
    #[error("`{pointer}` must be at most {} minutes", u32::MAX)]
    MinutesTooLarge {
        /// The number.
        pointer: String,
    },
    /// A provider was asked for that no route of the plan has.
    #[error(
        "`/provider` names `{name}`, which no owner of the schedule has; there are {}",
        listed(eligible, ", ")
    )]
    UnknownProvider {
        /// The provider that was asked for.
        name: Provider,
        /// The providers that the schedule's owners have, sorted.
        eligible: Vec<Provider>,
    },
    /// There is no schedule to make a plan of.
    #[error("there is no schedule: none is given, none is configured, and the mode is not `promoted`")]
    NotRequested,
    /// The schedule has no id, so no route of it could be acknowledged.
    #[error("`/schedule/schedule_id` must be a non-empty text before a plan can be made")]
    MissingScheduleId,
    /// More routes than one plan may have.
    #[error("the plan would have {count} routes; one plan has at most {MAX_ROUTES}")]
    TooManyRoutes {
        /// How many there would be.
        count: usize,
    },
    /// A text is not public-safe; the error's `field` is the JSON pointer.
    #[error(transparent)]
    NotPublicSafe(#[from] NotPublicSafe),
}

impl ScheduleError {
    /// The JSON pointer of what is wrong, where it is one value.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            Self::Expected { pointer, .. }
            | Self::UnknownKey { pointer }
            | Self::Repeated { pointer }
            | Self::Time { pointer, .. }
            | Self::Reversed { pointer }
            | Self::MinutesTooLarge { pointer } => Some(pointer),
            Self::TwoNames { second, .. } => Some(second),
            Self::UnknownProvider { .. } => Some("/provider"),
            Self::MissingScheduleId => Some("/schedule/schedule_id"),
            Self::NotPublicSafe(error) => Some(&error.field),
            Self::NotRequested | Self::TooManyRoutes { .. } => None,
        }
    }
}

/// The first items, and how many more there are.
fn listed<T: std::fmt::Display>(items: &[T], separator: &str) -> String {
    let mut parts: Vec<_> = items.iter().take(LISTED).map(ToString::to_string).collect();
    if let Some(more) = items.len().checked_sub(LISTED).filter(|more| *more > 0) {
        parts.push(format!("and {more} more"));
    }
    parts.join(separator)
}

/// Prose of our own that holds nothing from outside.
fn fixed(prose: &'static str) -> Text {
    // Prose in the source holds nothing that the check could refuse, so the fallback is never taken.
    let text = Text::parse(Field::lines("message", 1_000), prose);
    debug_assert!(text.is_ok(), "{prose}");
    text.unwrap_or_default()
}

/// Prose of our own around names from outside.
fn prose(text: &str) -> Result<Text, NotPublicSafe> {
    Text::parse(Field::lines("message", 50_000), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_mode_is_disabled() {
        assert_eq!(Mode::of("Promoted "), Mode::Promoted);
        assert_eq!(Mode::of(""), Mode::Disabled);
        assert_eq!(Mode::of("production"), Mode::Disabled);
        for mode in Mode::ALL {
            assert_eq!(Mode::of(mode.as_str()), *mode);
        }
    }

    #[test]
    fn only_a_schedule_that_is_due_or_wrong_notifies() {
        let rows: Vec<_> = ScheduleStatus::ALL
            .iter()
            .map(|s| (s.as_str(), s.alert_level().as_str(), s.notifies()))
            .collect();
        assert_eq!(
            rows,
            [
                ("not_requested", "healthy", false),
                ("due_soon", "warning", true),
                ("ready", "healthy", false),
                ("needs_attention", "critical", true),
            ]
        );
        for status in ScheduleStatus::ALL {
            assert_eq!(ScheduleStatus::parse(status.as_str()), Some(*status));
        }
    }

    #[test]
    fn days_are_whole_microseconds() {
        assert_eq!(Days::parse(14.0), Some(Days::whole(14)));
        assert_eq!(Days::parse(-0.5).map(Days::micros), Some(-MICROS_PER_DAY / 2));
        for wrong in [f64::NAN, f64::INFINITY, f64::from(Days::MAX_DAYS) + 1.0, -1e300] {
            assert_eq!(Days::parse(wrong), None, "{wrong}");
        }
        let number = |text: &str| Days::of_number(&serde_json::from_str(text).unwrap());
        assert_eq!(number("30"), Some(Days::whole(30)));
        assert_eq!(number("1.5").map(Days::micros), Some(MICROS_PER_DAY * 3 / 2));
        assert_eq!(number("3652425").map(Days::as_f64), Some(3_652_425.0));
        for wrong in ["3652426", "-3652426", "18446744073709551615", "1e300"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        for days in [14.0, 0.1, 14.1, 90.25] {
            assert_eq!(
                serde_json::to_value(Days::parse(days)).unwrap(),
                serde_json::json!(days)
            );
        }
    }

    #[test]
    fn shown_days_have_four_decimals() {
        let shown = |micros| format!("{:?}", rounded_days(micros));
        assert_eq!(shown(4_319_999), "0.0");
        assert_eq!(shown(4_320_000), "0.0001");
        assert_eq!(shown(-1), "0.0");
        assert_eq!(shown(-MICROS_PER_DAY * 5 / 2), "-2.5");
        assert_eq!(shown(MICROS_PER_DAY * 4), "4.0");
    }

    #[test]
    fn a_long_list_says_how_many_it_leaves_out() {
        let numbers: Vec<_> = (1..=12).collect();
        assert_eq!(
            listed(&numbers, ", "),
            "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 2 more"
        );
        assert_eq!(
            listed(numbers.split_at(10).0, ", "),
            "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
        );
    }
}

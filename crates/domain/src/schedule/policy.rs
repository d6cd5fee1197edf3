//! The routing policy: rules per owner, maintenance windows, calendars (contract wire 2.3, 3.1).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::ScheduleError;
use super::read::{At, Reader, member, safe, sorted_unique};
use super::report::ScheduleSummary;
use crate::id::MAX_ID_CHARS;
use crate::public_safe::{Field, Text};
use crate::route::{MAX_NAME_CHARS, Provider};
use crate::time::Timestamp;

/// An owner's name.
pub(super) const OWNER: Field = Field::line("owner", MAX_NAME_CHARS);
const ESCALATION_OWNER: Field = Field::line("escalation_owner", MAX_NAME_CHARS);
const WINDOW_ID: Field = Field::line("window_id", MAX_ID_CHARS);
const SCHEDULE_ID: Field = Field::line("schedule_id", MAX_ID_CHARS);
const REASON: Field = Field::lines("reason", 1_000);

const OWNER_ROUTES: [&str; 2] = ["owner_routes", "routing_rules"];
const WINDOWS: [&str; 2] = ["maintenance_windows", "suppression_windows"];
const CALENDARS: [&str; 2] = ["owner_calendars", "calendars"];
const PROVIDERS: [&str; 2] = ["providers", "notification_providers"];
const MINUTES: [&str; 2] = ["acknowledgement_minutes", "ack_minutes"];
const ESCALATION: [&str; 2] = ["escalation_owner", "manager"];
const STARTS: [&str; 2] = ["start_at", "starts_at"];
const ENDS: [&str; 2] = ["end_at", "ends_at"];
const WINDOW_IDS: [&str; 2] = ["window_id", "id"];
const REASONS: [&str; 2] = ["reason", "description"];
const ABSENCES: [&str; 2] = ["unavailable_windows", "blackout_windows"];

/// What one rule says about the routes of an owner. A part that is `None` is not named; a part that is named and
/// empty (or zero) falls back to what would hold without any rule, also after an earlier rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct OwnerRule {
    /// The owners that the rule is for; none means all. Only in the list form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Text>,
    /// The providers that replace the schedule's, sorted by key, each once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<Provider>>,
    /// How long the owner has, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement_minutes: Option<u32>,
    /// Who hears of it when the owner does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation_owner: Option<Text>,
}

/// Rules per owner, in one of the two published forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OwnerRoutes {
    /// One rule for each owner.
    ByOwner(BTreeMap<Text, OwnerRule>),
    /// Rules in order. Those that name an owner, and those that name nobody, are merged part by part; the later
    /// one wins.
    InOrder(Vec<OwnerRule>),
}

impl Default for OwnerRoutes {
    fn default() -> Self {
        Self::ByOwner(BTreeMap::new())
    }
}

/// A time in which some routes are not notified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MaintenanceWindow {
    /// Its name; `maintenance-window` when none is given.
    pub window_id: Text,
    /// Its first moment.
    pub start_at: Timestamp,
    /// Its last moment.
    pub end_at: Timestamp,
    /// The schedules that it is for; none means all.
    pub schedule_ids: Vec<Text>,
    /// The providers that it is for; none means all.
    pub providers: Vec<Provider>,
    /// The owners that it is for; none means all.
    pub owners: Vec<Text>,
    /// Why; empty when not given.
    pub reason: Text,
}

impl MaintenanceWindow {
    /// Whether the window is on at `now`; both ends belong to it.
    pub fn covers(&self, now: Timestamp) -> bool {
        self.start_at <= now && now <= self.end_at
    }
}

/// When an owner cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OwnerCalendar {
    /// Whether the owner can be reached outside the listed absences.
    pub available: bool,
    /// Why not; empty when not given.
    pub reason: Text,
    /// When the owner cannot be reached.
    pub unavailable_windows: Vec<Absence>,
}

/// A time in which an owner cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Absence {
    /// Its first moment.
    pub start_at: Timestamp,
    /// Its last moment.
    pub end_at: Timestamp,
    /// Why; empty when not given.
    pub reason: Text,
}

impl Absence {
    /// Whether the owner is away at `now`; both ends belong to the absence.
    pub fn covers(&self, now: Timestamp) -> bool {
        self.start_at <= now && now <= self.end_at
    }
}

/// What decides about the routes of a plan, apart from the schedule's owners and providers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingPolicy {
    /// Acknowledgement minutes where no rule names any; `None` leaves the default.
    pub acknowledgement_minutes: Option<u32>,
    /// Rules per owner. A rule for somebody who is no owner of the schedule does nothing.
    pub owner_routes: OwnerRoutes,
    /// Windows, the first that applies counts.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Calendars by owner.
    pub owner_calendars: BTreeMap<Text, OwnerCalendar>,
}

impl RoutingPolicy {
    /// Reads the `routing_policy` of a request and completes it from the schedule.
    ///
    /// `owner_routes` (or `routing_rules`), `maintenance_windows` (or `suppression_windows`) and
    /// `owner_calendars` (or `calendars`) of the request replace the schedule's as a whole, also when they are
    /// empty; null counts as not named. The published system only let the first name of each do so (contract
    /// wire 6, W-15). `acknowledgement_minutes` counts before `default_slo.acknowledgement_minutes`.
    ///
    /// # Errors
    /// [`ScheduleError`] with a pointer below `/routing_policy`: a wrong type, an unknown key, two names of the
    /// same thing, a text that is not a time or not public-safe, a window that ends before it starts.
    pub fn parse(request: Option<&Value>, schedule: &ScheduleSummary) -> Result<Self, ScheduleError> {
        let mut policy = Self {
            acknowledgement_minutes: None,
            owner_routes: schedule.owner_routes.clone(),
            maintenance_windows: schedule.maintenance_windows.clone(),
            owner_calendars: schedule.owner_calendars.clone(),
        };
        let Some(request) = request.filter(|request| !request.is_null()) else {
            return Ok(policy);
        };
        let reader = &mut Reader::strict();
        let at = At::Root("routing_policy");
        let keys = [
            &OWNER_ROUTES[..],
            &WINDOWS,
            &CALENDARS,
            &["acknowledgement_minutes", "default_slo"],
        ]
        .concat();
        let Some(members) = reader.object(at, request, &keys)? else {
            return Ok(policy);
        };
        if let Some((key, rules)) = named(reader, at, members, OWNER_ROUTES)? {
            policy.owner_routes = owner_routes(reader, At::Key(&at, key), rules)?;
        }
        if let Some((key, windows)) = named(reader, at, members, WINDOWS)? {
            policy.maintenance_windows = maintenance_windows(reader, At::Key(&at, key), windows)?;
        }
        if let Some((key, calendars)) = named(reader, at, members, CALENDARS)? {
            policy.owner_calendars = owner_calendars(reader, At::Key(&at, key), calendars)?;
        }
        let minutes = |reader: &mut Reader, at: At<'_>, members: &Map<String, Value>| {
            let key = "acknowledgement_minutes";
            let minutes = reader.minutes(At::Key(&at, key), member(members, key))?;
            Ok::<_, ScheduleError>(minutes.filter(|minutes| *minutes > 0))
        };
        let own = minutes(reader, at, members)?;
        let default_slo = match member(members, "default_slo") {
            Value::Null => None,
            slo => {
                let at = At::Key(&at, "default_slo");
                match reader.object(at, slo, &["acknowledgement_minutes"])? {
                    Some(slo) => minutes(reader, at, slo)?,
                    None => None,
                }
            }
        };
        policy.acknowledgement_minutes = own.or(default_slo);
        Ok(policy)
    }
}

/// The member of one of two names that is there and not null.
fn named<'v>(
    reader: &mut Reader,
    at: At<'_>,
    members: &'v Map<String, Value>,
    names: [&'static str; 2],
) -> Result<Option<(&'static str, &'v Value)>, ScheduleError> {
    Ok(reader
        .either(at, members, names)?
        .filter(|(_, value)| !value.is_null()))
}

/// The rules of a schedule file: `owner_routes`, else `routing_rules` (contract wire 1.2).
pub(super) fn schedule_owner_routes(
    reader: &mut Reader,
    at: At<'_>,
    members: &Map<String, Value>,
) -> Result<OwnerRoutes, ScheduleError> {
    match reader.either(at, members, OWNER_ROUTES)? {
        Some((key, value)) => owner_routes(reader, At::Key(&at, key), value),
        None => Ok(OwnerRoutes::default()),
    }
}

fn owner_routes(reader: &mut Reader, at: At<'_>, value: &Value) -> Result<OwnerRoutes, ScheduleError> {
    match value {
        Value::Null => Ok(OwnerRoutes::default()),
        Value::Object(_) => Ok(OwnerRoutes::ByOwner(by_owner(
            reader,
            at,
            value,
            |reader, at, rule| owner_rule(reader, at, rule, false),
        )?)),
        Value::Array(rules) => {
            let mut read = Vec::with_capacity(rules.len());
            for (index, rule) in rules.iter().enumerate() {
                read.extend(owner_rule(reader, At::Index(&at, index), rule, true)?);
            }
            Ok(OwnerRoutes::InOrder(read))
        }
        _ => Ok(reader
            .wrong(at, "an object of rules by owner, or a list of rules")?
            .unwrap_or_default()),
    }
}

fn owner_rule(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
    in_list: bool,
) -> Result<Option<OwnerRule>, ScheduleError> {
    let owners: &[&str] = if in_list { &["owners"] } else { &[] };
    let keys = [&PROVIDERS[..], &MINUTES, &ESCALATION, owners].concat();
    let Some(members) = reader.object(at, value, &keys)? else {
        return Ok(None);
    };
    let mut rule = OwnerRule::default();
    if in_list {
        let key = At::Key(&at, "owners");
        // A rule whose owners cannot be read must not become a rule for all.
        let Some(owners) = reader.names(key, OWNER, member(members, "owners"))? else {
            return Ok(None);
        };
        rule.owners = owners;
    }
    if let Some((key, value)) = reader.either(at, members, PROVIDERS)? {
        rule.providers = reader.providers(At::Key(&at, key), value)?.map(sorted_unique);
    }
    if let Some((key, value)) = reader.either(at, members, MINUTES)? {
        rule.acknowledgement_minutes = reader.minutes(At::Key(&at, key), value)?;
    }
    if let Some((key, value)) = reader.either(at, members, ESCALATION)? {
        rule.escalation_owner = reader.text(At::Key(&at, key), ESCALATION_OWNER, value)?;
    }
    Ok(Some(rule))
}

/// The windows of a list.
pub(super) fn maintenance_windows(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
) -> Result<Vec<MaintenanceWindow>, ScheduleError> {
    list(reader, at, value, maintenance_window)
}

fn maintenance_window(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
) -> Result<Option<MaintenanceWindow>, ScheduleError> {
    let keys = [
        &WINDOW_IDS[..],
        &STARTS,
        &ENDS,
        &REASONS,
        &["schedule_ids", "providers", "owners"],
    ]
    .concat();
    let Some(members) = reader.object(at, value, &keys)? else {
        return Ok(None);
    };
    let time = reader.window(at, members, STARTS, ENDS)?;
    let schedule_ids = reader.names(
        At::Key(&at, "schedule_ids"),
        SCHEDULE_ID,
        member(members, "schedule_ids"),
    )?;
    let providers = reader.providers(At::Key(&at, "providers"), member(members, "providers"))?;
    let owners = reader.names(At::Key(&at, "owners"), OWNER, member(members, "owners"))?;
    let window_id = named_text(reader, at, members, WINDOW_IDS, WINDOW_ID)?;
    let reason = named_text(reader, at, members, REASONS, REASON)?;
    let (Some((start_at, end_at)), Some(schedule_ids), Some(providers), Some(owners)) =
        (time, schedule_ids, providers, owners)
    else {
        // A window of which a part cannot be read must not become a wider one.
        return Ok(None);
    };
    let window_id = if window_id.as_str().is_empty() {
        safe(at, WINDOW_ID, "maintenance-window")?
    } else {
        window_id
    };
    Ok(Some(MaintenanceWindow {
        window_id,
        start_at,
        end_at,
        schedule_ids,
        providers,
        owners,
        reason,
    }))
}

/// The calendars of an object.
pub(super) fn owner_calendars(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
) -> Result<BTreeMap<Text, OwnerCalendar>, ScheduleError> {
    by_owner(reader, at, value, owner_calendar)
}

fn owner_calendar(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
) -> Result<Option<OwnerCalendar>, ScheduleError> {
    let keys = [&["available", "reason"][..], &ABSENCES].concat();
    let Some(members) = reader.object(at, value, &keys)? else {
        return Ok(None);
    };
    let available = match member(members, "available") {
        Value::Null => true,
        Value::Bool(available) => *available,
        _ => reader
            .wrong(At::Key(&at, "available"), "true or false")?
            .unwrap_or(true),
    };
    let reason = reader.member_text(at, members, REASON)?;
    let unavailable_windows = match reader.either(at, members, ABSENCES)? {
        Some((key, value)) => list(reader, At::Key(&at, key), value, absence)?,
        None => Vec::new(),
    };
    Ok(Some(OwnerCalendar {
        available,
        reason,
        unavailable_windows,
    }))
}

fn absence(reader: &mut Reader, at: At<'_>, value: &Value) -> Result<Option<Absence>, ScheduleError> {
    let keys = [&STARTS[..], &ENDS, &REASONS].concat();
    let Some(members) = reader.object(at, value, &keys)? else {
        return Ok(None);
    };
    let time = reader.window(at, members, STARTS, ENDS)?;
    let reason = named_text(reader, at, members, REASONS, REASON)?;
    Ok(time.map(|(start_at, end_at)| Absence {
        start_at,
        end_at,
        reason,
    }))
}

/// A text under one of two names; empty when it is not there or wrong.
fn named_text(
    reader: &mut Reader,
    at: At<'_>,
    members: &Map<String, Value>,
    names: [&'static str; 2],
    field: Field,
) -> Result<Text, ScheduleError> {
    match reader.either(at, members, names)? {
        Some((key, value)) => Ok(reader.text(At::Key(&at, key), field, value)?.unwrap_or_default()),
        None => Ok(Text::empty()),
    }
}

/// How one item of a list or object is read; `None` for one that is wrong and was kept as a problem.
type ReadItem<T> = fn(&mut Reader, At<'_>, &Value) -> Result<Option<T>, ScheduleError>;

/// The items of a list that can be read.
fn list<T>(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
    read: ReadItem<T>,
) -> Result<Vec<T>, ScheduleError> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        _ => return Ok(reader.wrong(at, "a list")?.unwrap_or_default()),
    };
    let mut all = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        all.extend(read(reader, At::Index(&at, index), item)?);
    }
    Ok(all)
}

/// The items of an object by owner that can be read.
fn by_owner<T>(
    reader: &mut Reader,
    at: At<'_>,
    value: &Value,
    read: ReadItem<T>,
) -> Result<BTreeMap<Text, T>, ScheduleError> {
    let members = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(members) => members,
        _ => return Ok(reader.wrong(at, "an object by owner")?.unwrap_or_default()),
    };
    let mut all = BTreeMap::new();
    for (owner, item) in members {
        let owner = safe(at, OWNER, owner)?;
        if owner.as_str().is_empty() {
            reader.wrong::<()>(at, "an object whose keys are owners, none of them empty")?;
            continue;
        }
        match all.entry(owner) {
            Entry::Occupied(there) => {
                let pointer = At::Key(&at, there.key().as_str()).to_string();
                reader.problem(ScheduleError::Repeated { pointer })?;
            }
            Entry::Vacant(place) => {
                if let Some(item) = read(reader, At::Key(&at, place.key().as_str()), item)? {
                    place.insert(item);
                }
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(request: &Value) -> Result<RoutingPolicy, ScheduleError> {
        RoutingPolicy::parse(Some(request), &ScheduleSummary::default())
    }

    fn refused(request: &Value) -> String {
        parse(request).unwrap_err().to_string()
    }

    /// The summary of a schedule with one thing of each kind.
    fn schedule() -> ScheduleSummary {
        let own = parse(&json!({
            "owner_routes": { "ana": { "providers": ["slack"] } },
            "maintenance_windows": [{ "id": "w", "start_at": "2026-01-01", "end_at": "2026-01-02" }],
            "owner_calendars": { "ana": { "available": false } },
        }))
        .unwrap();
        ScheduleSummary {
            owner_routes: own.owner_routes,
            maintenance_windows: own.maintenance_windows,
            owner_calendars: own.owner_calendars,
            ..ScheduleSummary::default()
        }
    }

    #[test]
    fn without_a_policy_the_schedules_own_holds() {
        let schedule = schedule();
        for request in [
            None,
            Some(json!(null)),
            Some(json!({})),
            Some(json!({ "owner_routes": null, "calendars": null })),
        ] {
            let policy = RoutingPolicy::parse(request.as_ref(), &schedule).unwrap();
            assert_eq!(policy.owner_routes, schedule.owner_routes);
            assert_eq!(policy.maintenance_windows, schedule.maintenance_windows);
            assert_eq!(policy.owner_calendars, schedule.owner_calendars);
            assert_eq!(policy.acknowledgement_minutes, None);
        }
    }

    #[test]
    fn either_name_in_the_request_wins_over_the_schedule_even_when_empty() {
        let first = json!({ "owner_routes": {}, "maintenance_windows": [], "owner_calendars": {} });
        let second = json!({ "routing_rules": {}, "suppression_windows": [], "calendars": {} });
        for request in [first, second] {
            let policy = RoutingPolicy::parse(Some(&request), &schedule()).unwrap();
            assert_eq!(policy, RoutingPolicy::default(), "{request}");
        }
    }

    #[test]
    fn every_alias_means_the_same() {
        let names = json!({
            "owner_routes": [{
                "owners": ["ana"], "providers": "slack", "acknowledgement_minutes": 5, "escalation_owner": "lead"
            }],
            "maintenance_windows": [{
                "window_id": "w", "start_at": "2026-01-01", "end_at": "2026-01-02", "reason": "move"
            }],
            "owner_calendars": { "ana": { "unavailable_windows": [
                { "start_at": "2026-01-01", "end_at": "2026-01-02", "reason": "away" }
            ] } },
        });
        let aliases = json!({
            "routing_rules": [{
                "owners": "ana", "notification_providers": ["slack"], "ack_minutes": "5", "manager": "lead"
            }],
            "suppression_windows": [{
                "id": "w", "starts_at": "2026-01-01T00:00:00", "ends_at": "2026-01-02T00:00:00Z", "description": "move"
            }],
            "calendars": { "ana": { "blackout_windows": [
                { "starts_at": "2026-01-01", "ends_at": "2026-01-02", "description": "away" }
            ] } },
        });
        let policy = parse(&names).unwrap();
        assert_eq!(policy, parse(&aliases).unwrap());
        assert_eq!(policy.maintenance_windows.len(), 1);
        assert_eq!(policy.owner_calendars.len(), 1);
    }

    #[test]
    fn two_names_of_one_thing_are_refused() {
        let window = |extra: Value| {
            let mut window = json!({ "start_at": "2026-01-01", "end_at": "2026-01-02" });
            window
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            json!({ "maintenance_windows": [window] })
        };
        let cases = [
            (
                json!({ "owner_routes": {}, "routing_rules": {} }),
                "routing_rules",
            ),
            (
                json!({ "maintenance_windows": [], "suppression_windows": [] }),
                "suppression_windows",
            ),
            (json!({ "owner_calendars": {}, "calendars": {} }), "calendars"),
            (
                json!({ "owner_routes": { "a": { "providers": [], "notification_providers": [] } } }),
                "owner_routes/a/notification_providers",
            ),
            (
                json!({ "owner_routes": { "a": { "acknowledgement_minutes": 1, "ack_minutes": 1 } } }),
                "owner_routes/a/ack_minutes",
            ),
            (
                json!({ "owner_routes": [{ "escalation_owner": "b", "manager": "b" }] }),
                "owner_routes/0/manager",
            ),
            (
                window(json!({ "id": "a", "window_id": "a" })),
                "maintenance_windows/0/id",
            ),
            (
                window(json!({ "starts_at": "2026-01-01" })),
                "maintenance_windows/0/starts_at",
            ),
            (
                window(json!({ "ends_at": "2026-01-01" })),
                "maintenance_windows/0/ends_at",
            ),
            (
                window(json!({ "reason": "a", "description": "a" })),
                "maintenance_windows/0/description",
            ),
            (
                json!({ "calendars": { "a": { "unavailable_windows": [], "blackout_windows": [] } } }),
                "calendars/a/blackout_windows",
            ),
        ];
        for (request, pointer) in cases {
            let error = parse(&request).unwrap_err();
            assert!(
                matches!(error, ScheduleError::TwoNames { .. }),
                "{request}: {error}"
            );
            assert_eq!(
                error.pointer(),
                Some(format!("/routing_policy/{pointer}").as_str())
            );
        }
        assert_eq!(
            refused(&json!({ "calendars": {}, "owner_calendars": {} })),
            "`/routing_policy/owner_calendars` and `/routing_policy/calendars` are two names of the same thing; \
             give one of them"
        );
        assert!(
            parse(&json!({ "owner_routes": null, "routing_rules": {} })).is_ok(),
            "null names nothing"
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn a_wrong_type_is_refused_with_its_pointer() {
        let window = |key: &str, value: Value| {
            let mut window = json!({ "start_at": "2026-01-01", "end_at": "2026-01-02" });
            window[key] = value;
            json!({ "suppression_windows": [window] })
        };
        let cases = [
            (json!([]), "`/routing_policy` must be an object"),
            (json!("none"), "`/routing_policy` must be an object"),
            (
                json!({ "owner_routes": "ana" }),
                "`/routing_policy/owner_routes` must be an object of rules by owner, or a list of rules",
            ),
            (
                json!({ "owner_routes": { "ana/b": "slack" } }),
                "`/routing_policy/owner_routes/ana~1b` must be an object",
            ),
            (
                json!({ "owner_routes": { " ": {} } }),
                "`/routing_policy/owner_routes` must be an object whose keys are owners, none of them empty",
            ),
            (
                json!({ "owner_routes": { "ana": {}, " ana": {} } }),
                "`/routing_policy/owner_routes/ana` is there more than once",
            ),
            (
                json!({ "routing_rules": [null] }),
                "`/routing_policy/routing_rules/0` must be an object",
            ),
            (
                json!({ "routing_rules": [{ "owners": 5 }] }),
                "`/routing_policy/routing_rules/0/owners` must be a text or a list of texts",
            ),
            (
                json!({ "routing_rules": [{ "owners": ["ana", " "] }] }),
                "`/routing_policy/routing_rules/0/owners/1` must be a non-empty text",
            ),
            (
                json!({ "routing_rules": [{ "providers": {} }] }),
                "`/routing_policy/routing_rules/0/providers` must be a text or a list of texts",
            ),
            (
                json!({ "routing_rules": [{ "ack_minutes": true }] }),
                "`/routing_policy/routing_rules/0/ack_minutes` must be a number of minutes",
            ),
            (
                json!({ "routing_rules": [{ "manager": ["b"] }] }),
                "`/routing_policy/routing_rules/0/manager` must be a text",
            ),
            (
                json!({ "acknowledgement_minutes": [] }),
                "`/routing_policy/acknowledgement_minutes` must be a number of minutes",
            ),
            (
                json!({ "acknowledgement_minutes": 4_294_967_296_u64 }),
                "`/routing_policy/acknowledgement_minutes` must be at most 4294967295 minutes",
            ),
            (
                json!({ "default_slo": 5 }),
                "`/routing_policy/default_slo` must be an object",
            ),
            (
                json!({ "default_slo": { "acknowledgement_minutes": {} } }),
                "`/routing_policy/default_slo/acknowledgement_minutes` must be a number of minutes",
            ),
            (
                json!({ "suppression_windows": {} }),
                "`/routing_policy/suppression_windows` must be a list",
            ),
            (
                json!({ "maintenance_windows": [{ "end_at": "2026-01-01" }] }),
                "`/routing_policy/maintenance_windows/0/start_at` must be a time",
            ),
            (
                json!({ "maintenance_windows": [{ "starts_at": "2026-01-01" }] }),
                "`/routing_policy/maintenance_windows/0/end_at` must be a time",
            ),
            (
                window("start_at", json!(5)),
                "`/routing_policy/suppression_windows/0/start_at` must be a time",
            ),
            (
                window("start_at", json!("noon")),
                "`/routing_policy/suppression_windows/0/start_at` is not an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z",
            ),
            (
                window("start_at", json!("2026-01-03")),
                "`/routing_policy/suppression_windows/0` ends before it starts",
            ),
            (
                window("schedule_ids", json!(1)),
                "`/routing_policy/suppression_windows/0/schedule_ids` must be a text or a list of texts",
            ),
            (
                window("providers", json!([1])),
                "`/routing_policy/suppression_windows/0/providers/0` must be a non-empty text",
            ),
            (
                window("owners", json!(false)),
                "`/routing_policy/suppression_windows/0/owners` must be a text or a list of texts",
            ),
            (
                window("id", json!(7)),
                "`/routing_policy/suppression_windows/0/id` must be a text",
            ),
            (
                window("reason", json!({})),
                "`/routing_policy/suppression_windows/0/reason` must be a text",
            ),
            (
                json!({ "owner_calendars": [] }),
                "`/routing_policy/owner_calendars` must be an object by owner",
            ),
            (
                json!({ "calendars": { "ana": false } }),
                "`/routing_policy/calendars/ana` must be an object",
            ),
            (
                json!({ "calendars": { "ana": { "available": "false" } } }),
                "`/routing_policy/calendars/ana/available` must be true or false",
            ),
            (
                json!({ "calendars": { "ana": { "reason": 1 } } }),
                "`/routing_policy/calendars/ana/reason` must be a text",
            ),
            (
                json!({ "calendars": { "ana": { "blackout_windows": {} } } }),
                "`/routing_policy/calendars/ana/blackout_windows` must be a list",
            ),
            (
                json!({ "calendars": { "ana": { "blackout_windows": [{}] } } }),
                "`/routing_policy/calendars/ana/blackout_windows/0/start_at` must be a time",
            ),
        ];
        for (request, message) in cases {
            assert_eq!(refused(&request), message, "{request}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let cases = [
            (json!({ "maintenance_window": [] }), "maintenance_window"),
            (
                json!({ "owner_routes": { "ana": { "owners": [] } } }),
                "owner_routes/ana/owners",
            ),
            (
                json!({ "owner_routes": [{ "owner": "ana" }] }),
                "owner_routes/0/owner",
            ),
            (json!({ "default_slo": { "minutes": 5 } }), "default_slo/minutes"),
            (
                json!({ "maintenance_windows": [{ "recurrence": "weekly" }] }),
                "maintenance_windows/0/recurrence",
            ),
            (
                json!({ "owner_calendars": { "ana": { "timezone": "UTC" } } }),
                "owner_calendars/ana/timezone",
            ),
            (
                json!({ "calendars": { "a": { "blackout_windows": [{ "ends": "" }] } } }),
                "calendars/a/blackout_windows/0/ends",
            ),
        ];
        for (request, pointer) in cases {
            let pointer = format!("/routing_policy/{pointer}");
            assert_eq!(
                parse(&request),
                Err(ScheduleError::UnknownKey { pointer }),
                "{request}"
            );
        }
    }

    #[test]
    fn the_policys_minutes_count_before_the_default_slo() {
        let minutes = |request: Value| parse(&request).unwrap().acknowledgement_minutes;
        let slo = json!({ "acknowledgement_minutes": 30 });
        assert_eq!(
            minutes(json!({ "acknowledgement_minutes": 20, "default_slo": slo })),
            Some(20)
        );
        assert_eq!(
            minutes(json!({ "acknowledgement_minutes": 0, "default_slo": slo })),
            Some(30)
        );
        assert_eq!(
            minutes(json!({ "acknowledgement_minutes": "", "default_slo": slo })),
            Some(30)
        );
        assert_eq!(
            minutes(json!({ "acknowledgement_minutes": "soon", "default_slo": slo })),
            Some(60)
        );
        assert_eq!(
            minutes(json!({ "acknowledgement_minutes": -5, "default_slo": slo })),
            Some(60)
        );
        assert_eq!(minutes(json!({ "default_slo": null })), None);
        assert_eq!(minutes(json!({ "default_slo": {} })), None);
    }

    #[test]
    fn a_named_empty_part_differs_from_one_that_is_not_named() {
        let policy = parse(&json!({ "owner_routes": [
            {}, { "providers": [], "ack_minutes": 0, "manager": "" }, { "providers": null, "ack_minutes": null, "manager": null }
        ] }));
        let OwnerRoutes::InOrder(rules) = policy.unwrap().owner_routes else {
            panic!("a list stays a list")
        };
        assert_eq!(rules[0], OwnerRule::default());
        assert_eq!(rules[1].providers, Some(Vec::new()));
        assert_eq!(
            (
                rules[1].acknowledgement_minutes,
                rules[1].escalation_owner.clone()
            ),
            (Some(0), Some(Text::empty()))
        );
        assert_eq!(rules[1], rules[2]);
    }

    #[test]
    fn a_window_without_an_id_is_called_maintenance_window() {
        for id in [json!(null), json!(""), json!(" ")] {
            let policy =
                parse(&json!({ "maintenance_windows": [{ "id": id, "start_at": "2026-01-01", "end_at": "2026-01-01" }] }))
                    .unwrap();
            assert_eq!(
                policy.maintenance_windows[0].window_id.as_str(),
                "maintenance-window"
            );
            assert_eq!(
                policy.maintenance_windows[0].start_at,
                policy.maintenance_windows[0].end_at
            );
        }
    }

    #[test]
    fn a_secret_anywhere_is_refused_with_its_pointer_and_without_its_text() {
        let secret = "ghp_0123456789abcdefghij";
        let cases = [
            (json!({ secret: 1 }), ""),
            (json!({ "owner_routes": { secret: {} } }), "/owner_routes"),
            (
                json!({ "owner_routes": [{ "owners": [secret] }] }),
                "/owner_routes/0/owners/0",
            ),
            (
                json!({ "owner_routes": { "a": { "providers": secret } } }),
                "/owner_routes/a/providers",
            ),
            (
                json!({ "owner_routes": { "a": { "manager": secret } } }),
                "/owner_routes/a/manager",
            ),
            (
                json!({ "maintenance_windows": [{ "start_at": "2026-01-01", "end_at": "2026-01-01", "reason": secret }] }),
                "/maintenance_windows/0/reason",
            ),
            (
                json!({ "calendars": { "a": { "reason": secret } } }),
                "/calendars/a/reason",
            ),
        ];
        for (request, pointer) in cases {
            let error = parse(&request).unwrap_err();
            assert!(matches!(error, ScheduleError::NotPublicSafe(_)), "{request}");
            assert_eq!(
                error.pointer(),
                Some(format!("/routing_policy{pointer}").as_str())
            );
            assert!(!error.to_string().contains(secret));
        }
    }
}

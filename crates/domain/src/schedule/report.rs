//! The schedule file and the report about it (contract wire 1.2).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::policy::{
    MaintenanceWindow, OWNER, OwnerCalendar, OwnerRoutes, maintenance_windows, owner_calendars,
    schedule_owner_routes,
};
use super::read::{At, Reader, member};
use super::{
    Days, HistorySummary, Mode, ScheduleError, ScheduleSettings, ScheduleStatus, fixed, history, listed,
    prose, rounded_days,
};
use crate::evidence::PRODUCT;
use crate::id::MAX_ID_CHARS;
use crate::public_safe::{Field, Text};
use crate::route::{MAX_NAME_CHARS, Provider, text_enum};
use crate::time::Timestamp;

/// Schema of [`ScheduleReport`].
pub const SCHEDULE_REPORT_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-schedule.v1";

/// The schema that a schedule file has to name.
pub const SCHEDULE_FILE_SCHEMA: &str = "cavra.go-backend-rollback-drill-schedule.v1";

/// A drill is due soon within 14 days unless configured otherwise (contract wire 1.2).
pub const DUE_SOON_DEFAULT: Days = Days::whole(14);

/// The status of a schedule that is in use.
const ACTIVE: &str = "active";

const SCHEMA: Field = Field::line("schema_version", MAX_NAME_CHARS);
const SCHEDULE_ID: Field = Field::line("schedule_id", MAX_ID_CHARS);
const ENVIRONMENT: Field = Field::line("environment", MAX_NAME_CHARS);
const STATUS: Field = Field::line("status", MAX_NAME_CHARS);
const RUNBOOK_REF: Field = Field::line("runbook_ref", 1_000);

/// The keys of a schedule file.
const KEYS: [&str; 15] = [
    "schema_version",
    "product",
    "schedule_id",
    "environment",
    "status",
    "interval_days",
    "next_due_at",
    "owners",
    "notification_providers",
    "owner_routes",
    "routing_rules",
    "maintenance_windows",
    "owner_calendars",
    "runbook_ref",
    "controls",
];

/// A schedule as its file has it, as far as it can be read, and what is wrong with the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleFile {
    /// What the file says that it is.
    pub schema_version: Text,
    /// Names the schedule; trimmed.
    pub schedule_id: Text,
    /// Where drills are held.
    pub environment: Text,
    /// `active`, or anything else.
    pub status: Text,
    /// Days between drills, as written, and as a length; `None` when it is no positive number.
    pub interval_days: Option<(Number, Days)>,
    /// When the next drill is due, if the file says so.
    pub next_due_at: Option<Timestamp>,
    /// Who is notified; empty when any of them cannot be read.
    pub owners: Vec<Text>,
    /// Over what they are notified; empty when any of them cannot be read.
    pub notification_providers: Vec<Provider>,
    /// Rules per owner.
    pub owner_routes: OwnerRoutes,
    /// When nobody is notified.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// When owners are away.
    pub owner_calendars: BTreeMap<Text, OwnerCalendar>,
    /// How a drill is held.
    pub runbook_ref: Text,
    /// What is wrong with the file as a whole and with its plain texts.
    pub file_problems: Vec<ScheduleError>,
    /// What is wrong with `next_due_at`, where it is there.
    pub next_due_problems: Vec<ScheduleError>,
    /// What is wrong with owners, providers, rules, windows and calendars.
    pub routing_problems: Vec<ScheduleError>,
    /// JSON pointers of the keys that nothing was read from.
    pub unread_keys: Vec<String>,
}

impl ScheduleFile {
    /// Reads a schedule. What is wrong with it is kept, not raised.
    ///
    /// # Errors
    /// [`ScheduleError::NotPublicSafe`] with a pointer below `/schedule`; nothing else.
    pub fn parse(schedule: &Value) -> Result<Self, ScheduleError> {
        let mut reader = Reader::tolerant();
        let at = At::Root("schedule");
        let mut file = Self::default();
        if let Some(members) = reader.object(at, schedule, &KEYS)? {
            file.read_texts(&mut reader, at, members)?;
            file.file_problems = reader.take_problems();
            file.interval_days = interval(member(members, "interval_days"));
            let next_due = member(members, "next_due_at");
            if !next_due.is_null() && next_due.as_str() != Some("") {
                file.next_due_at = reader.time(At::Key(&at, "next_due_at"), next_due)?;
            }
            file.next_due_problems = reader.take_problems();
            file.read_routing(&mut reader, at, members)?;
            file.routing_problems = reader.take_problems();
        } else {
            file.file_problems = reader.take_problems();
        }
        file.unread_keys = reader.into_unread_keys();
        Ok(file)
    }

    fn read_texts(
        &mut self,
        reader: &mut Reader,
        at: At<'_>,
        members: &Map<String, Value>,
    ) -> Result<(), ScheduleError> {
        self.schema_version = reader.member_text(at, members, SCHEMA)?;
        self.schedule_id = reader.member_text(at, members, SCHEDULE_ID)?;
        self.environment = reader.member_text(at, members, ENVIRONMENT)?;
        self.status = reader.member_text(at, members, STATUS)?;
        self.runbook_ref = reader.member_text(at, members, RUNBOOK_REF)?;
        if self.schema_version.as_str() != SCHEDULE_FILE_SCHEMA {
            reader.wrong::<()>(
                At::Key(&at, SCHEMA.name),
                "`cavra.go-backend-rollback-drill-schedule.v1`",
            )?;
        }
        for (field, value) in [(SCHEDULE_ID, &self.schedule_id), (RUNBOOK_REF, &self.runbook_ref)] {
            if value.as_str().is_empty() {
                reader.wrong::<()>(At::Key(&at, field.name), "a non-empty text")?;
            }
        }
        Ok(())
    }

    fn read_routing(
        &mut self,
        reader: &mut Reader,
        at: At<'_>,
        members: &Map<String, Value>,
    ) -> Result<(), ScheduleError> {
        let (owners, providers) = (At::Key(&at, "owners"), At::Key(&at, "notification_providers"));
        if let Some(value) = filled_list(reader, owners, member(members, "owners"))? {
            self.owners = reader.names(owners, OWNER, value)?.unwrap_or_default();
        }
        if let Some(value) = filled_list(reader, providers, member(members, "notification_providers"))? {
            self.notification_providers = reader.providers(providers, value)?.unwrap_or_default();
        }
        self.owner_routes = schedule_owner_routes(reader, at, members)?;
        let windows = At::Key(&at, "maintenance_windows");
        self.maintenance_windows =
            maintenance_windows(reader, windows, member(members, "maintenance_windows"))?;
        let calendars = At::Key(&at, "owner_calendars");
        self.owner_calendars = owner_calendars(reader, calendars, member(members, "owner_calendars"))?;
        Ok(())
    }
}

fn filled_list<'v>(
    reader: &mut Reader,
    at: At<'_>,
    value: &'v Value,
) -> Result<Option<&'v Value>, ScheduleError> {
    match value {
        Value::Array(items) if !items.is_empty() => Ok(Some(value)),
        _ => reader.wrong(at, "a list of at least one text"),
    }
}

/// A positive number of days.
fn interval(value: &Value) -> Option<(Number, Days)> {
    let number = value.as_number()?;
    let days = Days::of_number(number)?;
    (days.micros() > 0).then(|| (number.clone(), days))
}

text_enum! {
    /// Whether a check holds.
    CheckStatus {
        /// It does.
        Pass = "pass",
        /// It does not; the message says why.
        Warn = "warn",
    }
}

/// One check of the report.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScheduleCheck {
    /// Its name.
    pub id: &'static str,
    /// Whether it holds.
    pub status: CheckStatus,
    /// For people.
    pub message: Text,
    /// What it looked at.
    #[serde(flatten)]
    pub detail: CheckDetail,
}

/// What a check looked at.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckDetail {
    /// `go_rollback_drill_schedule_requested`.
    Requested {
        /// How far the pilot is.
        mode: Mode,
    },
    /// `go_rollback_drill_schedule_file`.
    File {
        /// The configured file; empty when none is.
        path: Text,
        /// The schema that the file names.
        schedule_schema: Text,
    },
    /// `go_rollback_drill_schedule_active`.
    Active {},
    /// `go_rollback_drill_schedule_cadence`.
    Cadence {
        /// Days between drills; null when not a positive number.
        interval_days: Option<Number>,
    },
    /// `go_rollback_drill_schedule_next_due`.
    NextDue {
        /// When the next drill is due; empty when unknown.
        next_due_at: Text,
        /// In how many days.
        days_until_due: Option<f64>,
    },
    /// `go_rollback_drill_schedule_not_stale`.
    NotStale {
        /// Whether the drill is overdue, or nobody knows when it is due.
        stale: bool,
    },
    /// `go_rollback_drill_notification_routes`.
    Routes {
        /// Over what owners are notified.
        notification_providers: Vec<Provider>,
        /// Who is notified.
        owners: Vec<Text>,
    },
}

/// The schedule, as the report shows it. Rules, windows and calendars are shown as they were understood: under
/// their first names, with times in UTC, without what could not be read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the published shape")]
pub struct ScheduleSummary {
    /// Whether every check but the first passes.
    pub valid: bool,
    /// What the file says that it is.
    pub schema_version: Text,
    /// Names the schedule; empty when the file does not.
    pub schedule_id: Text,
    /// Where drills are held.
    pub environment: Text,
    /// What the file says.
    pub status: Text,
    /// Whether that is `active`.
    pub active: bool,
    /// Whether the interval is a positive number.
    pub cadence_valid: bool,
    /// Days between drills; null when not a positive number.
    pub interval_days: Option<Number>,
    /// When the next drill is due: as the file says, else one interval after the last; empty when unknown.
    pub next_due_at: Text,
    /// In how many days, rounded to four decimals; null when unknown.
    pub days_until_due: Option<f64>,
    /// Whether that moment is past, or unknown. The moment itself is not past.
    pub stale: bool,
    /// Whether it is not past and within the configured days, the last moment included.
    pub due_soon: bool,
    /// Whether owners and providers are named and rules, windows and calendars can be read.
    pub notification_routes_valid: bool,
    /// Who is notified; empty when any of them cannot be read.
    pub owners: Vec<Text>,
    /// Over what they are notified; empty when any of them cannot be read.
    pub notification_providers: Vec<Provider>,
    /// Rules per owner.
    pub owner_routes: OwnerRoutes,
    /// When nobody is notified.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// When owners are away.
    pub owner_calendars: BTreeMap<Text, OwnerCalendar>,
    /// How a drill is held.
    pub runbook_ref: Text,
    /// For people.
    pub message: Text,
    /// For people.
    pub active_message: Text,
    /// For people.
    pub cadence_message: Text,
    /// For people.
    pub next_due_message: Text,
    /// For people.
    pub stale_message: Text,
    /// For people.
    pub notification_message: Text,
}

/// The report about a schedule and its drill history.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScheduleReport {
    /// [`SCHEDULE_REPORT_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// How far the pilot is.
    pub mode: Mode,
    /// The state of the schedule.
    pub status: ScheduleStatus,
    /// The configured file; empty when none is.
    pub rollback_drill_schedule_path: Text,
    /// Within how many days a drill is due soon.
    pub rollback_drill_due_soon_days: Days,
    /// The checks, always the same seven in the same order.
    pub checks: Vec<ScheduleCheck>,
    /// The schedule.
    pub schedule: ScheduleSummary,
    /// The drill history.
    pub history: HistorySummary,
    /// For people.
    pub operator_notes: Vec<Text>,
}

impl ScheduleReport {
    /// Reports about a schedule as it is at `now`.
    ///
    /// `schedule` and `history` are untrusted JSON, `None` where there is none. A schedule that is given is
    /// requested, whatever the mode and without any path: it may come with a request (contract decisions 4).
    ///
    /// # Errors
    /// [`ScheduleError::NotPublicSafe`] for a text that the report would carry; nothing else.
    pub fn build(
        schedule: Option<&Value>,
        history: Option<&Value>,
        settings: &ScheduleSettings,
        now: Timestamp,
    ) -> Result<Self, ScheduleError> {
        let file = schedule.map(ScheduleFile::parse).transpose()?;
        let (history, last_drill_at) = history::summary(history, settings.history_max_age_days, now)?;
        let requested =
            file.is_some() || settings.mode == Mode::Promoted || !settings.schedule_path.as_str().is_empty();
        let mut operator_notes = vec![
            fixed(
                "this service plans notifications and keeps the answers; systems of the operator send them",
            ),
            fixed("a schedule that is invalid or overdue needs attention, and its plans are critical"),
        ];
        if let Some(file) = file.as_ref().filter(|file| !file.unread_keys.is_empty()) {
            let keys: Vec<_> = file
                .unread_keys
                .iter()
                .map(|pointer| format!("`{pointer}`"))
                .collect();
            operator_notes.push(prose(&format!("nothing is read from {}", listed(&keys, ", ")))?);
        }
        let (schedule, file_holds) = summary(file, last_drill_at, settings, now)?;
        let status = match &schedule {
            _ if !requested => ScheduleStatus::NotRequested,
            ScheduleSummary {
                valid: true,
                stale: false,
                due_soon: true,
                ..
            } => ScheduleStatus::DueSoon,
            ScheduleSummary {
                valid: true,
                stale: false,
                ..
            } => ScheduleStatus::Ready,
            _ => ScheduleStatus::NeedsAttention,
        };
        Ok(Self {
            schema_version: SCHEDULE_REPORT_SCHEMA,
            product: PRODUCT,
            mode: settings.mode,
            status,
            rollback_drill_schedule_path: settings.schedule_path.clone(),
            rollback_drill_due_soon_days: settings.due_soon_days,
            checks: checks(requested, file_holds, &schedule, settings),
            schedule,
            history,
            operator_notes,
        })
    }
}

/// The summary of a schedule, and whether the file as a whole is as it should be.
fn summary(
    file: Option<ScheduleFile>,
    last_drill_at: Option<Timestamp>,
    settings: &ScheduleSettings,
    now: Timestamp,
) -> Result<(ScheduleSummary, bool), ScheduleError> {
    let given = file.is_some();
    let file = file.unwrap_or_default();
    let say = |holds: bool, good: &'static str, bad: &'static str| fixed(if holds { good } else { bad });

    let active = file.status.as_str() == ACTIVE;
    let (interval_days, interval) = file.interval_days.unzip();
    let derived = || Some(last_drill_at?.plus_micros(interval?.micros()));
    let next_due = file.next_due_at.or_else(derived);
    let until_due = next_due.map(|due| due.micros_since(now));
    let stale = until_due.is_none_or(|micros| micros < 0);
    let soon = settings.due_soon_days.micros();
    let due_soon = !stale && soon > 0 && until_due.is_some_and(|micros| micros <= soon);

    let file_holds = given && file.file_problems.is_empty();
    let routes_valid = file.routing_problems.is_empty()
        && !file.owners.is_empty()
        && !file.notification_providers.is_empty();
    let valid = file_holds && active && interval.is_some() && next_due.is_some() && !stale && routes_valid;

    let message = match (given, file_holds, valid) {
        (false, ..) => fixed("no schedule is given, or its file cannot be read"),
        (_, false, _) => prose(&format!(
            "the schedule cannot be used: {}",
            listed(&file.file_problems, "; ")
        ))?,
        (.., true) => fixed("the schedule is valid"),
        (.., false) => fixed("the schedule can be read and is not valid; the checks say why"),
    };
    let next_due_message = match (&file.next_due_problems[..], file.next_due_at, next_due) {
        (_, Some(_), _) => fixed("the schedule says when the next drill is due"),
        ([], None, Some(_)) => fixed("the next drill is due one interval after the last one"),
        ([], None, None) => {
            fixed("neither the schedule nor a last drill with an interval says when the next drill is due")
        }
        (problems, None, Some(_)) => prose(&format!(
            "{}; the next drill is due one interval after the last one",
            listed(problems, "; ")
        ))?,
        (problems, None, None) => prose(&listed(problems, "; "))?,
    };
    let notification_message = match routes_valid {
        true => fixed("owners and providers are named, and the routing can be read"),
        false if file.routing_problems.is_empty() => fixed("no schedule names owners and providers"),
        false => prose(&listed(&file.routing_problems, "; "))?,
    };
    let summary = ScheduleSummary {
        valid,
        schema_version: file.schema_version,
        schedule_id: file.schedule_id,
        environment: file.environment,
        status: file.status,
        active,
        cadence_valid: interval.is_some(),
        interval_days,
        next_due_at: next_due
            .map(|due| prose(&due.to_string()))
            .transpose()?
            .unwrap_or_default(),
        days_until_due: until_due.map(rounded_days),
        stale,
        due_soon,
        notification_routes_valid: routes_valid,
        owners: file.owners,
        notification_providers: file.notification_providers,
        owner_routes: file.owner_routes,
        maintenance_windows: file.maintenance_windows,
        owner_calendars: file.owner_calendars,
        runbook_ref: file.runbook_ref,
        message,
        active_message: say(
            active,
            "the schedule is active",
            "the schedule's `status` is not `active`",
        ),
        cadence_message: say(
            interval.is_some(),
            "the schedule has an interval",
            "the schedule's `interval_days` is not a positive number of at most 3652425 days",
        ),
        next_due_message,
        stale_message: fixed(match (next_due, stale) {
            (None, _) => "nobody knows when the next drill is due",
            (Some(_), true) => "the drill is overdue",
            (Some(_), false) => "the drill is not overdue",
        }),
        notification_message,
    };
    Ok((summary, file_holds))
}

/// The seven checks in their published order.
fn checks(
    requested: bool,
    file_holds: bool,
    schedule: &ScheduleSummary,
    settings: &ScheduleSettings,
) -> Vec<ScheduleCheck> {
    let check = |id, holds, message: &Text, detail| ScheduleCheck {
        id,
        status: if holds {
            CheckStatus::Pass
        } else {
            CheckStatus::Warn
        },
        message: message.clone(),
        detail,
    };
    let requested_message = fixed(if requested {
        "a schedule is asked for"
    } else {
        "no schedule is asked for: none is given, none is configured, and the mode is not `promoted`"
    });
    let file_message = if file_holds {
        fixed("the schedule names its schema, its id and its runbook")
    } else {
        schedule.message.clone()
    };
    vec![
        check(
            "go_rollback_drill_schedule_requested",
            requested,
            &requested_message,
            CheckDetail::Requested { mode: settings.mode },
        ),
        check(
            "go_rollback_drill_schedule_file",
            file_holds,
            &file_message,
            CheckDetail::File {
                path: settings.schedule_path.clone(),
                schedule_schema: schedule.schema_version.clone(),
            },
        ),
        check(
            "go_rollback_drill_schedule_active",
            schedule.active,
            &schedule.active_message,
            CheckDetail::Active {},
        ),
        check(
            "go_rollback_drill_schedule_cadence",
            schedule.cadence_valid,
            &schedule.cadence_message,
            CheckDetail::Cadence {
                interval_days: schedule.interval_days.clone(),
            },
        ),
        check(
            "go_rollback_drill_schedule_next_due",
            schedule.days_until_due.is_some(),
            &schedule.next_due_message,
            CheckDetail::NextDue {
                next_due_at: schedule.next_due_at.clone(),
                days_until_due: schedule.days_until_due,
            },
        ),
        check(
            "go_rollback_drill_schedule_not_stale",
            !schedule.stale,
            &schedule.stale_message,
            CheckDetail::NotStale {
                stale: schedule.stale,
            },
        ),
        check(
            "go_rollback_drill_notification_routes",
            schedule.notification_routes_valid,
            &schedule.notification_message,
            CheckDetail::Routes {
                notification_providers: schedule.notification_providers.clone(),
                owners: schedule.owners.clone(),
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::MICROS_PER_DAY;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn now() -> Timestamp {
        at("2026-06-01T08:00:00Z")
    }

    fn good() -> Value {
        json!({
            "schema_version": SCHEDULE_FILE_SCHEMA, "schedule_id": "sched-1", "environment": "production",
            "status": "active", "interval_days": 30, "next_due_at": "2026-06-05T08:00:00Z",
            "owners": ["ana", "ben"], "notification_providers": ["slack", "teams"],
            "runbook_ref": "runbooks/drill.md",
        })
    }

    fn with(changes: &Value) -> Value {
        let mut schedule = good();
        schedule
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        schedule
    }

    fn report_at(schedule: &Value, now: Timestamp) -> ScheduleReport {
        ScheduleReport::build(Some(schedule), None, &ScheduleSettings::default(), now).unwrap()
    }

    fn report(schedule: &Value) -> ScheduleReport {
        report_at(schedule, now())
    }

    /// The names of the checks that warn, without what they have in common.
    fn warned(report: &ScheduleReport) -> Vec<&str> {
        let warned = report
            .checks
            .iter()
            .filter(|check| check.status == CheckStatus::Warn);
        warned
            .map(|check| {
                check
                    .id
                    .trim_start_matches("go_rollback_drill_")
                    .trim_start_matches("schedule_")
            })
            .collect()
    }

    #[test]
    fn the_report_has_every_published_key_in_order() {
        let settings = ScheduleSettings {
            mode: Mode::Promoted,
            schedule_path: Text::parse(Field::line("path", 100), "drills/schedule.json").unwrap(),
            ..ScheduleSettings::default()
        };
        let schedule = with(&json!({
            "owner_routes": { "ana": { "providers": ["teams", "slack"], "ack_minutes": "15" } },
            "maintenance_windows": [{ "id": "move", "starts_at": "2026-07-01", "ends_at": "2026-07-02", "owners": ["ben"] }],
            "owner_calendars": { "ben": { "blackout_windows": [{ "start_at": "2026-08-01", "end_at": "2026-08-02" }] } },
        }));
        let report = ScheduleReport::build(Some(&schedule), None, &settings, now()).unwrap();
        assert!(report.schedule.valid);
        let mut json = serde_json::to_value(&report).unwrap();
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            keys(&json),
            "schema_version product mode status rollback_drill_schedule_path rollback_drill_due_soon_days checks \
             schedule history operator_notes"
        );
        assert_eq!(
            (
                &json["schema_version"],
                &json["mode"],
                &json["status"],
                &json["rollback_drill_due_soon_days"]
            ),
            (
                &json!(SCHEDULE_REPORT_SCHEMA),
                &json!("promoted"),
                &json!("due_soon"),
                &json!(14.0)
            )
        );
        let prefix = "go_rollback_drill";
        assert_eq!(
            json["checks"],
            json!([
                {
                    "id": format!("{prefix}_schedule_requested"), "status": "pass", "message": "a schedule is asked for",
                    "mode": "promoted"
                },
                {
                    "id": format!("{prefix}_schedule_file"), "status": "pass",
                    "message": "the schedule names its schema, its id and its runbook",
                    "path": "drills/schedule.json", "schedule_schema": SCHEDULE_FILE_SCHEMA
                },
                { "id": format!("{prefix}_schedule_active"), "status": "pass", "message": "the schedule is active" },
                {
                    "id": format!("{prefix}_schedule_cadence"), "status": "pass", "message": "the schedule has an interval",
                    "interval_days": 30
                },
                {
                    "id": format!("{prefix}_schedule_next_due"), "status": "pass",
                    "message": "the schedule says when the next drill is due",
                    "next_due_at": "2026-06-05T08:00:00.000000Z", "days_until_due": 4.0
                },
                {
                    "id": format!("{prefix}_schedule_not_stale"), "status": "pass", "message": "the drill is not overdue",
                    "stale": false
                },
                {
                    "id": format!("{prefix}_notification_routes"), "status": "pass",
                    "message": "owners and providers are named, and the routing can be read",
                    "notification_providers": ["slack", "teams"], "owners": ["ana", "ben"]
                },
            ])
        );
        assert_eq!(
            serde_json::to_string(&json["schedule"].take()).unwrap(),
            concat!(
                r#"{"valid":true,"schema_version":"cavra.go-backend-rollback-drill-schedule.v1","schedule_id":"sched-1","#,
                r#""environment":"production","status":"active","active":true,"cadence_valid":true,"interval_days":30,"#,
                r#""next_due_at":"2026-06-05T08:00:00.000000Z","days_until_due":4.0,"stale":false,"due_soon":true,"#,
                r#""notification_routes_valid":true,"owners":["ana","ben"],"notification_providers":["slack","teams"],"#,
                r#""owner_routes":{"ana":{"providers":["slack","teams"],"acknowledgement_minutes":15}},"#,
                r#""maintenance_windows":[{"window_id":"move","start_at":"2026-07-01T00:00:00.000000Z","#,
                r#""end_at":"2026-07-02T00:00:00.000000Z","schedule_ids":[],"providers":[],"owners":["ben"],"reason":""}],"#,
                r#""owner_calendars":{"ben":{"available":true,"reason":"","unavailable_windows":["#,
                r#"{"start_at":"2026-08-01T00:00:00.000000Z","end_at":"2026-08-02T00:00:00.000000Z","reason":""}]}},"#,
                r#""runbook_ref":"runbooks/drill.md","message":"the schedule is valid","#,
                r#""active_message":"the schedule is active","cadence_message":"the schedule has an interval","#,
                r#""next_due_message":"the schedule says when the next drill is due","#,
                r#""stale_message":"the drill is not overdue","#,
                r#""notification_message":"owners and providers are named, and the routing can be read"}"#,
            )
        );
    }

    #[test]
    fn the_schema_describes_the_report() {
        let schema = serde_json::to_value(schemars::schema_for!(ScheduleReport)).unwrap();
        assert_eq!(schema["properties"].as_object().unwrap().len(), 10);
    }

    #[test]
    fn nothing_given_is_requested_only_by_path_or_promotion() {
        let status = |mode, path: &str| {
            let schedule_path = Text::parse(Field::line("path", 100), path).unwrap();
            let settings = ScheduleSettings {
                mode,
                schedule_path,
                ..ScheduleSettings::default()
            };
            let report = ScheduleReport::build(None, None, &settings, now()).unwrap();
            assert!(!report.schedule.valid);
            assert_eq!(
                report.schedule.message.as_str(),
                "no schedule is given, or its file cannot be read"
            );
            (report.status, report.checks[0].status)
        };
        for mode in [Mode::Disabled, Mode::Shadow, Mode::Enforce] {
            assert_eq!(
                status(mode, ""),
                (ScheduleStatus::NotRequested, CheckStatus::Warn)
            );
            assert_eq!(
                status(mode, "schedule.json"),
                (ScheduleStatus::NeedsAttention, CheckStatus::Pass)
            );
        }
        assert_eq!(
            status(Mode::Promoted, ""),
            (ScheduleStatus::NeedsAttention, CheckStatus::Pass)
        );
        // A schedule that comes with a request needs neither.
        assert_eq!(report(&good()).status, ScheduleStatus::DueSoon);
        assert_eq!(report(&json!({})).status, ScheduleStatus::NeedsAttention);
    }

    #[test]
    fn a_drill_due_now_is_due_soon_and_one_due_a_microsecond_ago_is_stale() {
        let due = at("2026-06-05T08:00:00Z");
        let state = |now| {
            let report = report_at(&good(), now);
            (
                report.status,
                report.schedule.stale,
                report.schedule.due_soon,
                report.schedule.valid,
            )
        };
        assert_eq!(state(due), (ScheduleStatus::DueSoon, false, true, true));
        assert_eq!(
            state(due.plus_micros(-1)),
            (ScheduleStatus::DueSoon, false, true, true)
        );
        assert_eq!(
            state(due.plus_micros(1)),
            (ScheduleStatus::NeedsAttention, true, false, false)
        );
        let late = report_at(&good(), due.plus_micros(1));
        assert_eq!(
            late.schedule.days_until_due,
            Some(0.0),
            "shown rounded, decided exactly"
        );
        assert_eq!(warned(&late), ["not_stale"]);
    }

    #[test]
    fn due_soon_includes_its_last_microsecond() {
        let due = at("2026-06-05T08:00:00Z");
        let edge = due.plus_micros(-14 * MICROS_PER_DAY);
        assert_eq!(report_at(&good(), edge).status, ScheduleStatus::DueSoon);
        assert_eq!(
            report_at(&good(), edge.plus_micros(-1)).status,
            ScheduleStatus::Ready
        );
        assert_eq!(
            report_at(&good(), edge.plus_micros(-1)).schedule.days_until_due,
            Some(14.0)
        );
        for never in [0.0, -1.0] {
            let settings = ScheduleSettings {
                due_soon_days: Days::parse(never).unwrap(),
                ..ScheduleSettings::default()
            };
            let report = ScheduleReport::build(Some(&good()), None, &settings, due).unwrap();
            assert_eq!(
                (report.status, report.schedule.due_soon),
                (ScheduleStatus::Ready, false),
                "{never}"
            );
        }
    }

    #[test]
    fn the_next_drill_is_due_one_interval_after_the_last_unless_the_schedule_says() {
        let history = json!({ "drills": [
            { "executed_at": "2026-05-12T08:00:00Z" }, { "executed_at": "2026-05-01T08:00:00Z" }
        ] });
        let due = |changes: Value| {
            let built = ScheduleReport::build(
                Some(&with(&changes)),
                Some(&history),
                &ScheduleSettings::default(),
                now(),
            );
            let schedule = built.unwrap().schedule;
            (
                schedule.next_due_at.to_string(),
                schedule.next_due_message.to_string(),
                schedule.valid,
            )
        };
        let derived = "2026-06-11T08:00:00.000000Z";
        let message = "the next drill is due one interval after the last one";
        assert_eq!(
            due(json!({ "next_due_at": "2026-06-05" })).0,
            "2026-06-05T00:00:00.000000Z"
        );
        for absent in [json!(null), json!("")] {
            assert_eq!(
                due(json!({ "next_due_at": absent })),
                (derived.into(), message.into(), true)
            );
        }
        assert_eq!(
            due(json!({ "next_due_at": "soon" })),
            (
                derived.into(),
                format!(
                    "`/schedule/next_due_at` is not an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z; {message}"
                ),
                true
            )
        );
        assert_eq!(
            due(json!({ "next_due_at": 5 })).1,
            format!("`/schedule/next_due_at` must be a time; {message}")
        );
        assert_eq!(
            due(json!({ "next_due_at": null, "interval_days": 30.5 })).0,
            "2026-06-11T20:00:00.000000Z"
        );
        let (text, _, valid) = due(json!({ "next_due_at": null, "interval_days": 0 }));
        assert_eq!((text.as_str(), valid), ("", false));
    }

    #[test]
    fn an_unknown_due_time_is_stale() {
        let report = report(&with(&json!({ "next_due_at": null })));
        assert_eq!(report.schedule.days_until_due, None);
        assert!(report.schedule.stale && !report.schedule.due_soon);
        assert_eq!(warned(&report), ["next_due", "not_stale"]);
        assert_eq!(
            report.schedule.stale_message.as_str(),
            "nobody knows when the next drill is due"
        );
    }

    #[test]
    fn the_interval_is_a_positive_number_and_nothing_else() {
        for good in [json!(1), json!(0.5), json!(3_652_425)] {
            let report = report(&with(&json!({ "interval_days": good })));
            assert_eq!(report.schedule.interval_days.map(Value::Number), Some(good));
        }
        for bad in [
            json!(0),
            json!(-1),
            json!(0.0),
            json!(true),
            json!("30"),
            json!(null),
            json!([30]),
            json!(3_652_426),
        ] {
            let report = report(&with(&json!({ "interval_days": bad })));
            assert_eq!(report.schedule.interval_days, None, "{bad}");
            assert_eq!(warned(&report), ["cadence"], "{bad}");
        }
    }

    #[test]
    fn each_thing_that_is_wrong_makes_the_schedule_invalid_and_is_said() {
        let list = "a list of at least one text";
        let cases = [
            (json!({ "schema_version": "v0" }), "file", "the schedule cannot be used: `/schedule/schema_version` must be `cavra.go-backend-rollback-drill-schedule.v1`".into()),
            (json!({ "schedule_id": " " }), "file", "the schedule cannot be used: `/schedule/schedule_id` must be a non-empty text".into()),
            (json!({ "runbook_ref": null }), "file", "the schedule cannot be used: `/schedule/runbook_ref` must be a non-empty text".into()),
            (json!({ "environment": 5 }), "file", "the schedule cannot be used: `/schedule/environment` must be a text".into()),
            (json!({ "status": "paused" }), "active", "the schedule's `status` is not `active`".into()),
            (json!({ "owners": [] }), "notification_routes", format!("`/schedule/owners` must be {list}")),
            (json!({ "owners": "ana" }), "notification_routes", format!("`/schedule/owners` must be {list}")),
            (json!({ "owners": ["ana", 5] }), "notification_routes", "`/schedule/owners/1` must be a non-empty text".into()),
            (json!({ "notification_providers": {} }), "notification_routes", format!("`/schedule/notification_providers` must be {list}")),
            (json!({ "notification_providers": [""] }), "notification_routes", "`/schedule/notification_providers/0` must be a non-empty text".into()),
            (json!({ "owner_routes": 5 }), "notification_routes", "`/schedule/owner_routes` must be an object of rules by owner, or a list of rules".into()),
            (json!({ "routing_rules": ["x"] }), "notification_routes", "`/schedule/routing_rules/0` must be an object".into()),
            (json!({ "maintenance_windows": {} }), "notification_routes", "`/schedule/maintenance_windows` must be a list".into()),
            (
                json!({ "maintenance_windows": [{ "start_at": "2026-01-02", "end_at": "2026-01-01" }] }),
                "notification_routes", "`/schedule/maintenance_windows/0` ends before it starts".into(),
            ),
            (json!({ "owner_calendars": [] }), "notification_routes", "`/schedule/owner_calendars` must be an object by owner".into()),
        ];
        for (changes, check, message) in cases {
            let report = report(&with(&changes));
            assert!(!report.schedule.valid, "{changes}");
            assert_eq!(report.status, ScheduleStatus::NeedsAttention, "{changes}");
            let warned: Vec<_> = report
                .checks
                .iter()
                .filter(|check| check.status == CheckStatus::Warn)
                .collect();
            assert_eq!(warned.len(), 1, "{changes}");
            assert!(warned[0].id.ends_with(check), "{changes}");
            assert_eq!(warned[0].message.as_str(), message, "{changes}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_schedule() {
        for schedule in [json!(null), json!([]), json!("x")] {
            let report = report(&schedule);
            assert_eq!(
                report.schedule.message.as_str(),
                "the schedule cannot be used: `/schedule` must be an object"
            );
            assert_eq!(
                warned(&report),
                [
                    "file",
                    "active",
                    "cadence",
                    "next_due",
                    "not_stale",
                    "notification_routes"
                ]
            );
        }
    }

    #[test]
    fn an_owner_that_cannot_be_read_leaves_no_owners() {
        let report = report(&with(&json!({ "owners": ["ana", null] })));
        assert!(report.schedule.owners.is_empty());
        assert_eq!(report.schedule.notification_providers.len(), 2);
    }

    #[test]
    fn of_two_names_in_a_file_the_first_that_says_something_counts() {
        let rules = |changes: Value| {
            let report = report(&with(&changes));
            assert!(report.schedule.valid, "{changes}");
            serde_json::to_value(&report.schedule.owner_routes).unwrap()
        };
        let (a, b) = (json!({ "ana": {} }), json!([{ "owners": ["ben"] }]));
        assert_eq!(rules(json!({ "owner_routes": a, "routing_rules": b })), a);
        assert_eq!(rules(json!({ "owner_routes": {}, "routing_rules": b })), b);
        assert_eq!(rules(json!({ "routing_rules": b })), b);
        assert_eq!(
            rules(json!({ "owner_routes": { "ana": { "escalation_owner": "", "manager": "lead" } } })),
            json!({ "ana": { "escalation_owner": "lead" } })
        );
    }

    #[test]
    fn a_rule_or_window_with_an_unreadable_scope_is_left_out_rather_than_widened() {
        let report = report(&with(&json!({
            "owner_routes": [{ "owners": 5, "providers": ["pager"] }, { "providers": ["mail"] }],
            "maintenance_windows": [{ "start_at": "2026-01-01", "end_at": "2027-01-01", "owners": {} }],
        })));
        let OwnerRoutes::InOrder(rules) = &report.schedule.owner_routes else {
            panic!("a list stays a list")
        };
        assert_eq!(rules.len(), 1);
        assert!(report.schedule.maintenance_windows.is_empty());
        assert_eq!(
            report.schedule.notification_message.as_str(),
            "`/schedule/owner_routes/0/owners` must be a text or a list of texts; \
             `/schedule/maintenance_windows/0/owners` must be a text or a list of texts"
        );
    }

    #[test]
    fn keys_that_nothing_is_read_from_are_named() {
        let report = report(&with(
            &json!({ "contact": "x", "owner_routes": { "ana": { "colour": 1 } } }),
        ));
        assert!(report.schedule.valid);
        assert_eq!(
            report.operator_notes.last().unwrap().as_str(),
            "nothing is read from `/schedule/contact`, `/schedule/owner_routes/ana/colour`"
        );
    }

    #[test]
    fn a_secret_anywhere_that_the_report_shows_is_an_error() {
        let secret = "ghp_0123456789abcdefghij";
        let cases = [
            (json!({ "schedule_id": secret }), "/schedule/schedule_id"),
            (json!({ "status": secret }), "/schedule/status"),
            (json!({ "owners": [secret] }), "/schedule/owners/0"),
            (
                json!({ "notification_providers": ["slack", secret] }),
                "/schedule/notification_providers/1",
            ),
            (
                json!({ "owner_calendars": { secret: {} } }),
                "/schedule/owner_calendars",
            ),
            (
                json!({ "runbook_ref": format!("https://example.org/?token={secret}") }),
                "/schedule/runbook_ref",
            ),
            (json!({ secret: 1 }), "/schedule"),
        ];
        for (changes, pointer) in cases {
            let built =
                ScheduleReport::build(Some(&with(&changes)), None, &ScheduleSettings::default(), now());
            let error = built.unwrap_err();
            assert!(matches!(error, ScheduleError::NotPublicSafe(_)), "{pointer}");
            assert_eq!(error.pointer(), Some(pointer));
            assert!(!error.to_string().contains(secret));
        }
    }

    mod laws {
        use proptest::prelude::*;

        use super::*;

        fn any_json() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                "[a-z0-9:T-]{0,12}".prop_map(Value::from),
                Just(json!("2026-06-05T08:00:00Z")),
            ];
            let key = prop_oneof![
                prop::sample::select(&KEYS[..]).prop_map(str::to_owned),
                prop::sample::select(
                    &[
                        "providers",
                        "ack_minutes",
                        "start_at",
                        "end_at",
                        "available",
                        "owners"
                    ][..]
                )
                .prop_map(str::to_owned),
                "[a-z]{1,4}",
            ];
            leaf.prop_recursive(3, 24, 6, move |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                    prop::collection::vec((key.clone(), inner), 0..6)
                        .prop_map(|members| Value::Object(members.into_iter().collect())),
                ]
            })
        }

        proptest! {
            #[test]
            fn any_schedule_gives_a_report_and_is_valid_when_every_check_passes(
                changes in prop::collection::vec((prop::sample::select(&KEYS[..]), any_json()), 0..4),
                history in any_json(),
            ) {
                let mut schedule = good();
                for (key, value) in changes {
                    schedule[key] = value;
                }
                let report =
                    ScheduleReport::build(Some(&schedule), Some(&history), &ScheduleSettings::default(), now()).unwrap();
                let passes = report.checks.iter().all(|check| check.status == CheckStatus::Pass);
                prop_assert_eq!(report.schedule.valid, passes);
                prop_assert_eq!(report.schedule.valid, !matches!(report.status, ScheduleStatus::NeedsAttention));
                prop_assert_eq!(report.checks.len(), 7);
            }

            #[test]
            fn any_json_at_all_gives_a_report(schedule in any_json()) {
                report(&schedule);
            }
        }
    }
}

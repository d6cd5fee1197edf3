//! The drill history: what the last drill showed (contract wire 1.2).
//!
//! The contract names the fields of the summary, not those of the file. A history is read as an object with a
//! `drills` list, or as that list alone; `environment`, `max_recovery_minutes` and `runbook_ref` come from the
//! last drill, else from the object.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::read::{At, Reader, member, published_time};
use super::{Days, ScheduleError, fixed, listed, prose, rounded_days};
use crate::id::MAX_ID_CHARS;
use crate::public_safe::{Field, Text};
use crate::route::{MAX_NAME_CHARS, normalised};
use crate::time::Timestamp;

/// A last drill is fresh for 90 days unless configured otherwise (contract wire 1.2).
pub const HISTORY_MAX_AGE_DEFAULT: Days = Days::whole(90);

const SCHEMA: Field = Field::line("schema_version", MAX_NAME_CHARS);
const ENVIRONMENT: Field = Field::line("environment", MAX_NAME_CHARS);
const DRILL_ID: Field = Field::line("drill_id", MAX_ID_CHARS);
const STATUS: Field = Field::line("status", MAX_NAME_CHARS);
const TARGET_MODE: Field = Field::line("target_mode", MAX_NAME_CHARS);
const RUNBOOK_REF: Field = Field::line("runbook_ref", 1_000);
const EVIDENCE_REF: Field = Field::line("evidence_refs", 1_000);

/// What a drill that went well says as its status, normalised.
const PASSED: [&str; 6] = ["passed", "pass", "success", "succeeded", "completed", "verified"];

/// What the last drill showed. It informs; only the time of the last drill counts for the schedule, where the
/// schedule does not say itself when the next one is due.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the published shape")]
pub struct HistorySummary {
    /// Whether the last drill is fresh and showed everything it should.
    pub valid: bool,
    /// What the file says.
    pub schema_version: Text,
    /// Where drills are held.
    pub environment: Text,
    /// How many drills the file has.
    pub drill_count: usize,
    /// The last drill: the one with the latest time, else the last in the list.
    pub latest_drill_id: Text,
    /// How it ended.
    pub latest_status: Text,
    /// The mode that it went back to.
    pub latest_target_mode: Text,
    /// When it was; empty when unknown.
    pub latest_executed_at: Text,
    /// Its age in days, rounded to four decimals.
    pub age_days: Option<f64>,
    /// Whether its age is within the configured days; false for a drill in the future.
    pub fresh: bool,
    /// Whether it showed that the other backend takes over.
    pub fallback_verified: bool,
    /// Whether recovery took no longer than it may.
    pub recovery_sla_met: bool,
    /// How long recovery took, in minutes.
    pub recovery_minutes: Option<Number>,
    /// How long it may take, in minutes.
    pub max_recovery_minutes: Option<Number>,
    /// How a drill is held.
    pub runbook_ref: Text,
    /// Where its evidence is.
    pub evidence_refs: Vec<Text>,
    /// For people.
    pub message: Text,
    /// For people.
    pub latest_status_message: Text,
    /// For people.
    pub target_mode_message: Text,
    /// For people.
    pub fallback_message: Text,
    /// For people.
    pub recovery_message: Text,
    /// For people.
    pub freshness_message: Text,
}

/// The drills of a history, with the object that they stand in.
struct Drills<'v> {
    holder: Option<&'v Map<String, Value>>,
    drills: &'v [Value],
}

/// The summary of a history, and when the last drill was.
pub(super) fn summary(
    history: Option<&Value>,
    max_age: Days,
    now: Timestamp,
) -> Result<(HistorySummary, Option<Timestamp>), ScheduleError> {
    let reader = &mut Reader::tolerant();
    let at = At::Root("history");
    let Drills { holder, drills } = match history {
        Some(Value::Array(drills)) => Drills { holder: None, drills },
        Some(Value::Object(holder)) => {
            let drills = match member(holder, "drills") {
                Value::Array(drills) => drills.as_slice(),
                _ => reader
                    .wrong(At::Key(&at, "drills"), "a list of drills")?
                    .unwrap_or_default(),
            };
            Drills {
                holder: Some(holder),
                drills,
            }
        }
        Some(_) => {
            let none = reader.wrong(at, "an object with `drills`, or a list of drills")?;
            Drills {
                holder: None,
                drills: none.unwrap_or_default(),
            }
        }
        None => Drills {
            holder: None,
            drills: &[],
        },
    };
    let mut summary = HistorySummary {
        drill_count: drills.len(),
        ..HistorySummary::default()
    };
    if let Some(holder) = holder {
        summary.schema_version = reader.member_text(at, holder, SCHEMA)?;
        summary.environment = reader.member_text(at, holder, ENVIRONMENT)?;
        summary.runbook_ref = reader.member_text(at, holder, RUNBOOK_REF)?;
        summary.max_recovery_minutes = holder
            .get("max_recovery_minutes")
            .and_then(Value::as_number)
            .cloned();
    }
    let mut executed_at = None;
    if let Some((index, time)) = latest(drills) {
        executed_at = time;
        let all = At::Key(&at, "drills");
        let at = if holder.is_some() {
            At::Index(&all, index)
        } else {
            At::Index(&at, index)
        };
        match drills.get(index) {
            Some(Value::Object(drill)) => last_drill(reader, at, drill, &mut summary)?,
            _ => _ = reader.wrong::<()>(at, "an object")?,
        }
    }
    if let Some(time) = executed_at {
        let age = now.micros_since(time);
        summary.latest_executed_at = prose(&time.to_string())?;
        summary.age_days = Some(rounded_days(age));
        summary.fresh = (0..=max_age.micros()).contains(&age);
    }
    judge(&mut summary, history.is_some(), &reader.take_problems())?;
    Ok((summary, executed_at))
}

/// The index of the last drill, and its time if it has a readable one. Of two at one time the later in the list.
fn latest(drills: &[Value]) -> Option<(usize, Option<Timestamp>)> {
    let time = |drill: &Value| published_time(drill.get("executed_at")?.as_str()?).ok();
    let timed = drills
        .iter()
        .enumerate()
        .filter_map(|(index, drill)| Some((time(drill)?, index)));
    match timed.max() {
        Some((time, index)) => Some((index, Some(time))),
        None => Some((drills.len().checked_sub(1)?, None)),
    }
}

fn last_drill(
    reader: &mut Reader,
    at: At<'_>,
    drill: &Map<String, Value>,
    summary: &mut HistorySummary,
) -> Result<(), ScheduleError> {
    summary.latest_drill_id = reader.member_text(at, drill, DRILL_ID)?;
    summary.latest_status = reader.member_text(at, drill, STATUS)?;
    summary.latest_target_mode = reader.member_text(at, drill, TARGET_MODE)?;
    for (field, value) in [
        (ENVIRONMENT, &mut summary.environment),
        (RUNBOOK_REF, &mut summary.runbook_ref),
    ] {
        let own = reader.member_text(at, drill, field)?;
        if !own.as_str().is_empty() {
            *value = own;
        }
    }
    let number = |key: &str| drill.get(key).and_then(Value::as_number).cloned();
    summary.fallback_verified = drill.get("fallback_verified") == Some(&Value::Bool(true));
    summary.recovery_minutes = number("recovery_minutes");
    summary.max_recovery_minutes = number("max_recovery_minutes").or(summary.max_recovery_minutes.take());
    let float = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64);
    summary.recovery_sla_met = match (
        float(&summary.recovery_minutes),
        float(&summary.max_recovery_minutes),
    ) {
        (Some(took), Some(may)) => took <= may,
        _ => drill.get("recovery_sla_met") == Some(&Value::Bool(true)),
    };
    let refs = At::Key(&at, "evidence_refs");
    summary.evidence_refs = reader
        .names(refs, EVIDENCE_REF, member(drill, "evidence_refs"))?
        .unwrap_or_default();
    Ok(())
}

/// Says of each part whether it is as it should be.
fn judge(summary: &mut HistorySummary, given: bool, problems: &[ScheduleError]) -> Result<(), ScheduleError> {
    let say = |holds: bool, good: &'static str, bad: &'static str| fixed(if holds { good } else { bad });
    let passed = PASSED.contains(&normalised(summary.latest_status.as_str()).as_str());
    summary.latest_status_message = say(
        passed,
        "the last drill passed",
        "the last drill does not say that it passed",
    );
    let mode_named = !summary.latest_target_mode.as_str().is_empty();
    summary.target_mode_message = say(
        mode_named,
        "the last drill names the mode that it went back to",
        "the last drill does not name the mode that it went back to",
    );
    summary.fallback_message = say(
        summary.fallback_verified,
        "the last drill verified the fallback",
        "the last drill did not verify the fallback",
    );
    summary.recovery_message = say(
        summary.recovery_sla_met,
        "the last drill recovered in time",
        "the last drill does not show that it recovered in time",
    );
    summary.freshness_message = fixed(match summary.age_days {
        _ if summary.fresh => "the last drill is recent enough",
        None => "the last drill has no readable `executed_at`",
        Some(age) if age < 0.0 => "the last drill lies in the future",
        Some(_) => "the last drill is not recent enough",
    });
    summary.valid = problems.is_empty()
        && passed
        && mode_named
        && summary.fallback_verified
        && summary.recovery_sla_met
        && summary.fresh;
    summary.message = match summary {
        _ if !given => fixed("no drill history is given"),
        _ if !problems.is_empty() => prose(&format!(
            "the drill history is not readable: {}",
            listed(problems, "; ")
        ))?,
        HistorySummary { drill_count: 0, .. } => fixed("the drill history has no drill"),
        HistorySummary { valid: true, .. } => fixed("the last drill is recent and showed what it should"),
        _ => fixed("the last drill leaves something open; the other messages say what"),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2026-06-01T08:00:00Z").unwrap()
    }

    fn read(history: &Value) -> (HistorySummary, Option<Timestamp>) {
        summary(Some(history), HISTORY_MAX_AGE_DEFAULT, now()).unwrap()
    }

    fn good_drill() -> Value {
        json!({
            "drill_id": "drill-7", "status": "passed", "target_mode": "shadow", "executed_at": "2026-05-20T08:00:00Z",
            "fallback_verified": true, "recovery_minutes": 12, "max_recovery_minutes": 15.0,
            "runbook_ref": "runbooks/drill.md", "evidence_refs": ["ev-1", "ev-2"],
        })
    }

    #[test]
    fn the_summary_has_every_published_key_in_order() {
        let history =
            json!({ "schema_version": "history.v1", "environment": "production", "drills": [good_drill()] });
        let (summary, time) = read(&history);
        assert_eq!(time.unwrap().to_string(), "2026-05-20T08:00:00.000000Z");
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            concat!(
                r#"{"valid":true,"schema_version":"history.v1","environment":"production","drill_count":1,"#,
                r#""latest_drill_id":"drill-7","latest_status":"passed","latest_target_mode":"shadow","#,
                r#""latest_executed_at":"2026-05-20T08:00:00.000000Z","age_days":12.0,"fresh":true,"#,
                r#""fallback_verified":true,"recovery_sla_met":true,"recovery_minutes":12,"max_recovery_minutes":15.0,"#,
                r#""runbook_ref":"runbooks/drill.md","evidence_refs":["ev-1","ev-2"],"#,
                r#""message":"the last drill is recent and showed what it should","#,
                r#""latest_status_message":"the last drill passed","#,
                r#""target_mode_message":"the last drill names the mode that it went back to","#,
                r#""fallback_message":"the last drill verified the fallback","#,
                r#""recovery_message":"the last drill recovered in time","#,
                r#""freshness_message":"the last drill is recent enough"}"#,
            )
        );
    }

    #[test]
    fn a_list_alone_is_a_history_and_nothing_is_one_without_drills() {
        assert!(read(&json!([good_drill()])).0.valid);
        let messages: Vec<_> = [
            json!([]),
            json!({ "drills": [] }),
            json!({}),
            json!("drills"),
            json!([1]),
        ]
        .iter()
        .map(|history| (read(history).0.valid, read(history).0.message.to_string()))
        .collect();
        let expected = [
            "the drill history has no drill",
            "the drill history has no drill",
            "the drill history is not readable: `/history/drills` must be a list of drills",
            "the drill history is not readable: `/history` must be an object with `drills`, or a list of drills",
            "the drill history is not readable: `/history/0` must be an object",
        ];
        assert_eq!(messages, expected.map(|message| (false, message.to_owned())));
        let (none, _) = summary(None, HISTORY_MAX_AGE_DEFAULT, now()).unwrap();
        assert_eq!(none.message.as_str(), "no drill history is given");
    }

    #[test]
    fn the_last_drill_has_the_latest_readable_time_else_the_last_place() {
        let drill = |id: &str, at: Value| json!({ "drill_id": id, "executed_at": at });
        let last = |drills: Value| read(&drills).0.latest_drill_id.to_string();
        let (late, early) = (json!("2026-05-02"), json!("2026-05-01T23:00:00-01:00"));
        assert_eq!(
            last(json!([
                drill("a", late.clone()),
                drill("b", json!("2026-05-01T22:00:00-01:00"))
            ])),
            "a"
        );
        assert_eq!(
            last(json!([
                drill("a", late),
                drill("b", early),
                drill("c", json!("soon"))
            ])),
            "b"
        );
        assert_eq!(
            last(json!([drill("a", json!("soon")), drill("b", json!(null))])),
            "b"
        );
    }

    #[test]
    fn freshness_includes_its_last_moment_and_excludes_the_future() {
        let fresh = |at: &str| {
            let mut drill = good_drill();
            drill["executed_at"] = json!(at);
            let (summary, _) = read(&json!([drill]));
            (summary.fresh, summary.freshness_message.to_string())
        };
        assert!(fresh("2026-03-03T08:00:00Z").0);
        assert_eq!(
            fresh("2026-03-03T07:59:59.999999Z"),
            (false, "the last drill is not recent enough".into())
        );
        assert!(fresh("2026-06-01T08:00:00Z").0);
        assert_eq!(
            fresh("2026-06-02T08:00:00Z"),
            (false, "the last drill lies in the future".into())
        );
        assert_eq!(
            fresh("soon"),
            (false, "the last drill has no readable `executed_at`".into())
        );
    }

    #[test]
    fn recovery_is_in_time_up_to_the_limit_and_the_limit_may_stand_outside() {
        let met = |took: Value, outside: Value, own: Value| {
            let drill = json!({ "recovery_minutes": took, "recovery_sla_met": own });
            read(&json!({ "max_recovery_minutes": outside, "drills": [drill] }))
                .0
                .recovery_sla_met
        };
        assert!(met(json!(15), json!(15), json!(false)));
        assert!(!met(json!(15.5), json!(15), json!(true)));
        assert!(met(json!(null), json!(15), json!(true)));
        assert!(!met(json!("15"), json!(15), json!("true")));
    }

    #[test]
    fn anything_missing_makes_the_history_invalid() {
        for key in [
            "status",
            "target_mode",
            "executed_at",
            "fallback_verified",
            "recovery_minutes",
        ] {
            let mut drill = good_drill();
            drill.as_object_mut().unwrap().remove(key);
            assert!(!read(&json!([drill])).0.valid, "{key}");
        }
        let mut drill = good_drill();
        drill["evidence_refs"] = json!([1]);
        assert!(!read(&json!([drill])).0.valid);
    }

    #[test]
    fn a_secret_of_the_last_drill_is_an_error() {
        let history = json!({ "drills": [{ "drill_id": "ghp_0123456789abcdefghij" }] });
        let error = summary(Some(&history), HISTORY_MAX_AGE_DEFAULT, now()).unwrap_err();
        assert_eq!(error.pointer(), Some("/history/drills/0/drill_id"));
    }
}

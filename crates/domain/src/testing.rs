//! Examples and proptest strategies that the tests of this crate share.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use crate::acknowledgement::{ACKNOWLEDGEMENT_SCHEMA, AckState, AcknowledgementDocument, Answer};
use crate::actor::Actor;
use crate::evidence::{EvidenceKind, PRODUCT};
use crate::id::{AcknowledgementId, BulkId, PlanId, ScheduleId, derived_uuid};
use crate::public_safe::{Field, Text};
use crate::route::{
    FilterTerms, Provider, Route, RouteAction, RouteCategory, RouteFilter, RouteStatus, StateName,
    TrackedRoute, WindowNote,
};
use crate::schedule::{
    NotificationPlan, PlanRequest, RequestedProviders, RoutingPolicy, SCHEDULE_FILE_SCHEMA, ScheduleReport,
    ScheduleSettings, build_plan,
};
use crate::time::Timestamp;

/// Names that differ only in what comparing has to look through, and some that differ for good.
pub(crate) const PROVIDERS: &[&str] = &["slack", "Slack", "Pager-Duty", "pager_duty", "webhook", "e mail"];
pub(crate) const OWNERS: &[&str] = &["ana", "Ana Ünal", "release-managers", "ΟΔΟΣ Α", "ΟΔΟΣΑΝ", "團隊"];
pub(crate) const SCHEDULES: &[&str] = &["sched-a", "sched-b"];

// ---- examples ----

/// The time of most examples.
pub(crate) fn now() -> Timestamp {
    at("2026-01-02T03:04:05.678901Z")
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn text(raw: &str) -> Text {
    Text::parse(Field::lines("text", 1_000), raw).unwrap()
}

pub(crate) fn provider(name: &str) -> Provider {
    Provider::parse(name).unwrap()
}

pub(crate) fn schedule_id(id: &str) -> ScheduleId {
    ScheduleId::parse(id).unwrap()
}

pub(crate) fn plan_id(id: &str) -> PlanId {
    PlanId::parse(id).unwrap()
}

pub(crate) fn actor(name: &str) -> Actor {
    Actor::local("acknowledged_by", name).unwrap()
}

/// An answer with a number of its own.
pub(crate) fn answer(said: AckState, number: u64) -> Answer {
    let at = now().plus_micros(i64::try_from(number).unwrap());
    Answer {
        acknowledgement_id: AcknowledgementId::from_uuid(derived_uuid(at, &["answer", &number.to_string()])),
        said,
        acknowledged_by: text(&format!("person {number}")),
        acknowledged_at: at,
        external_ref: text(&format!("CHG-{number}")),
        notes: text("seen"),
        issuer: text("local"),
        subject: text(&format!("person {number}")),
        verified: false,
    }
}

/// A delivered route of the plan `gordn-1`, made [`now`], with 60 minutes.
pub(crate) fn route(schedule: &str, over: &str, owner: &str) -> Route {
    let (plan_id, provider, owner) = (plan_id("gordn-1"), provider(over), text(owner));
    Route {
        route_id: Route::id_for(&plan_id, now(), &provider, &owner),
        plan_id,
        schedule_id: schedule_id(schedule),
        created_at: now(),
        alert_level: text("warning"),
        provider,
        escalation_owner: owner.clone(),
        owner,
        action: RouteAction::Deliver,
        category: RouteCategory::Deliver,
        reason: text("the rollback drill is due soon"),
        acknowledgement_minutes: 60,
        maintenance_window: None,
        owner_available: true,
        owner_availability_reason: Text::empty(),
        next_due_at: text("2026-01-09T00:00:00.000000Z"),
    }
}

/// The same route, suppressed.
pub(crate) fn suppressed(route: Route, category: RouteCategory) -> Route {
    Route {
        action: RouteAction::Suppress,
        category,
        ..route
    }
}

/// The status after these answers, one after the other.
pub(crate) fn status(said: &[AckState]) -> RouteStatus {
    (1..)
        .zip(said)
        .fold(RouteStatus::default(), |status, (number, said)| {
            status.apply(answer(*said, number)).0
        })
}

/// A current route after these answers.
pub(crate) fn tracked(route: Route, said: &[AckState]) -> TrackedRoute {
    TrackedRoute {
        route,
        status: status(said),
        current: true,
    }
}

// ---- strategies ----

/// A time within some hours of [`now`].
pub(crate) fn about_now() -> impl Strategy<Value = Timestamp> {
    let hours = 4 * 3_600_000_000_i64;
    prop_oneof![
        3 => (-hours..hours).prop_map(|micros| now().plus_micros(micros)),
        1 => Just(now()),
    ]
}

/// Any time that can be written.
pub(crate) fn any_time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.micros()..=Timestamp::MAX.micros())
        .prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

/// Text that a field of documents takes as it is.
pub(crate) fn safe_text(max_chars: usize) -> impl Strategy<Value = Text> {
    let any = vec(any::<char>(), 0..=max_chars).prop_map(String::from_iter);
    prop_oneof![
        2 => "[A-Za-z0-9 ./:#-]{0,24}",
        1 => any,
    ]
    .prop_filter_map("not public-safe", move |raw| {
        Text::parse(Field::line("text", max_chars.max(24)), &raw).ok()
    })
}

/// A text that names somebody or something: not empty, nothing to trim.
pub(crate) fn name() -> impl Strategy<Value = Text> {
    safe_text(40).prop_filter("blank or not trimmed", |name| {
        !name.as_str().is_empty() && name.as_str().trim() == name.as_str()
    })
}

pub(crate) fn any_provider() -> impl Strategy<Value = Provider> {
    prop_oneof![
        select(PROVIDERS).prop_map(provider),
        name().prop_filter_map("no provider", |name| Provider::parse(name.as_str()).ok()),
    ]
}

pub(crate) fn ack_states() -> impl Strategy<Value = Vec<AckState>> {
    vec(select(AckState::ALL), 0..6)
}

/// A route whose category says what its action says.
pub(crate) fn any_route() -> impl Strategy<Value = Route> {
    let names = (
        select(SCHEDULES),
        select(PROVIDERS),
        select(OWNERS),
        select(OWNERS),
        0..3_u8,
    );
    let window = option::of((safe_text(20), safe_text(20)))
        .prop_map(|window| window.map(|(window_id, reason)| WindowNote { window_id, reason }));
    (
        names,
        about_now(),
        select(RouteCategory::ALL),
        1..300_u32,
        window,
        any::<bool>(),
        safe_text(30),
    )
        .prop_map(
            |(
                names,
                created_at,
                category,
                acknowledgement_minutes,
                maintenance_window,
                owner_available,
                reason,
            )| {
                let (schedule, over, owner, escalation_owner, plan) = names;
                let plan_id = plan_id(&format!("gordn-{schedule}-{plan}"));
                let route = route(schedule, over, owner);
                Route {
                    route_id: Route::id_for(&plan_id, created_at, &route.provider, &route.owner),
                    plan_id,
                    created_at,
                    escalation_owner: text(escalation_owner),
                    action: if category == RouteCategory::Deliver {
                        RouteAction::Deliver
                    } else {
                        RouteAction::Suppress
                    },
                    category,
                    reason,
                    acknowledgement_minutes,
                    maintenance_window,
                    owner_available,
                    ..route
                }
            },
        )
}

/// A route after any answers. Imported acknowledgements may have answered a suppressed one.
pub(crate) fn any_tracked() -> impl Strategy<Value = TrackedRoute> {
    (any_route(), ack_states(), any::<bool>()).prop_map(|(route, said, current)| TrackedRoute {
        status: status(&said),
        route,
        current,
    })
}

/// Routes, each plan, provider and owner once.
pub(crate) fn any_routes() -> impl Strategy<Value = Vec<TrackedRoute>> {
    vec(any_tracked(), 0..24).prop_map(|mut routes| {
        let mut seen = BTreeSet::new();
        routes.retain(|tracked| {
            let route = &tracked.route;
            seen.insert((
                route.plan_id.clone(),
                route.provider.key().to_owned(),
                route.owner.clone(),
            ))
        });
        routes
    })
}

/// A filter with any terms, read from text as a request gives it.
pub(crate) fn any_filter() -> impl Strategy<Value = RouteFilter> {
    let part = (select(OWNERS), any::<[prop::sample::Index; 2]>()).prop_map(|(owner, ends)| {
        let letters: Vec<char> = owner.chars().collect();
        let [mut from, mut to] = ends.map(|end| end.index(letters.len() + 1));
        if from > to {
            (from, to) = (to, from);
        }
        letters[from..to].iter().collect::<String>().to_uppercase()
    });
    (
        option::of(select(SCHEDULES)),
        option::of(part),
        option::of(select(PROVIDERS)),
        option::of(select(StateName::ALL)),
        option::of(select(RouteAction::ALL)),
        option::of(select(RouteCategory::ALL)),
        option::of(any::<bool>()),
    )
        .prop_map(
            |(schedule_id, owner, provider, state, action, category, breached)| {
                RouteFilter::parse(&FilterTerms {
                    schedule_id: schedule_id.unwrap_or_default(),
                    owner: owner.as_deref().unwrap_or_default(),
                    provider: provider.unwrap_or_default(),
                    state: state.map_or("", StateName::as_str),
                    action: action.map_or("", RouteAction::as_str),
                    category: category.map_or("", RouteCategory::as_str),
                    breached,
                })
                .unwrap()
            },
        )
}

pub(crate) fn any_actor() -> impl Strategy<Value = Actor> {
    (
        safe_text(20),
        safe_text(20),
        safe_text(20),
        vec(safe_text(10), 0..3),
        any::<bool>(),
    )
        .prop_map(|(actor, subject, issuer, groups, verified)| Actor {
            actor,
            subject,
            issuer,
            groups,
            repository: None,
            verified,
        })
}

/// An acknowledgement as this service writes it.
pub(crate) fn any_acknowledgement() -> impl Strategy<Value = AcknowledgementDocument> {
    (
        (
            any::<u64>(),
            name(),
            option::of(name()),
            any_provider(),
            option::of(name()),
        ),
        (select(AckState::ALL), any_time(), safe_text(60), safe_text(60)),
        (any_actor(), any::<bool>()),
    )
        .prop_map(|(names, said, (actor, in_bulk))| {
            let (number, schedule, plan, provider, owner) = names;
            let (acknowledgement_state, acknowledged_at, external_ref, notes) = said;
            let uuid = derived_uuid(acknowledged_at, &[&number.to_string()]);
            AcknowledgementDocument {
                schema_version: ACKNOWLEDGEMENT_SCHEMA,
                product: PRODUCT,
                acknowledgement_id: AcknowledgementId::from_uuid(uuid),
                schedule_id: schedule_id(schedule.as_str()),
                plan_id: plan.map_or_else(|| PlanId::from_uuid(uuid), |id| plan_id(id.as_str())),
                provider,
                owner: owner.unwrap_or_default(),
                acknowledged_by: actor.actor.clone(),
                acknowledgement_state,
                acknowledged_at,
                external_ref,
                notes,
                actor,
                bulk_id: in_bulk.then(|| BulkId::from_uuid(uuid)),
            }
        })
}

/// A plan as this service makes it: any owners, providers, due time, rules, windows and calendars.
pub(crate) fn any_plan() -> impl Strategy<Value = NotificationPlan> {
    let names = || subsequence(OWNERS, 0..=OWNERS.len());
    let over = || subsequence(PROVIDERS, 0..=PROVIDERS.len());
    let window = (over(), names(), any::<bool>()).prop_map(|(providers, owners, named)| {
        let mut window = json!({
            "start_at": "2026-01-01T00:00:00Z", "end_at": "2026-01-03T00:00:00Z",
            "providers": providers, "owners": owners, "reason": "upgrade",
        });
        if named {
            window["window_id"] = json!("mw-1");
        }
        window
    });
    let rule = (select(OWNERS), over(), 0..200_u32, option::of(select(OWNERS)));
    (
        (names(), over(), -20..40_i64, any::<bool>()),
        vec(rule, 0..3),
        vec(window, 0..2),
        btree_set(select(OWNERS), 0..2),
    )
        .prop_map(|((owners, providers, due_in, force), rules, windows, away)| {
            let due = now().plus_micros(due_in * crate::time::MICROS_PER_DAY);
            let schedule = json!({
                "schema_version": SCHEDULE_FILE_SCHEMA, "schedule_id": "sched-a", "environment": "production",
                "status": "active", "interval_days": 30, "next_due_at": due, "owners": owners,
                "notification_providers": providers, "runbook_ref": "runbooks/drill.md",
            });
            let rules: Map<_, _> = rules
                .into_iter()
                .map(|(owner, providers, minutes, escalation_owner)| {
                    let rule = json!({
                        "providers": providers, "acknowledgement_minutes": minutes,
                        "escalation_owner": escalation_owner,
                    });
                    (owner.to_owned(), rule)
                })
                .collect();
            let away: Map<_, _> = away
                .into_iter()
                .map(|owner| {
                    (
                        owner.to_owned(),
                        json!({ "available": false, "reason": "offsite" }),
                    )
                })
                .collect();
            let policy =
                json!({ "owner_routes": rules, "maintenance_windows": windows, "owner_calendars": away });
            let report =
                ScheduleReport::build(Some(&schedule), None, &ScheduleSettings::default(), now()).unwrap();
            build_plan(&PlanRequest {
                report: &report,
                policy: &RoutingPolicy::parse(Some(&policy), &report.schedule).unwrap(),
                requested: &RequestedProviders::default(),
                force,
                plan_id: PlanId::from_uuid(derived_uuid(now(), &[&due.to_string()])),
                generated_at: now(),
                actor: actor("ana"),
            })
            .unwrap()
        })
}

/// Any JSON. Keys and texts are often those that mean something in a record.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    any_leaf().prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((any_key(), inner), 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A record with anything in it, nearer to being understood than [`any_json`].
pub(crate) fn any_record() -> impl Strategy<Value = Value> {
    let decision = prop_oneof![
        4 => vec((any_key(), any_leaf()), 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        1 => any_json(),
    ];
    let document = (
        vec((any_key(), any_json()), 0..6),
        option::of(vec(decision, 0..4)),
    )
        .prop_map(|(members, decisions)| {
            let mut document: Map<_, _> = members.into_iter().collect();
            if let Some(decisions) = decisions {
                document.insert("route_decisions".into(), Value::Array(decisions));
            }
            Value::Object(document)
        });
    (
        vec((any_key(), any_json()), 0..4),
        0..EvidenceKind::ALL.len() + 3,
        document,
        any::<[bool; 3]>(),
    )
        .prop_map(|(members, kind, document, keep)| {
            let kind = EvidenceKind::ALL
                .get(kind)
                .unwrap_or(&EvidenceKind::NotificationPlan);
            let mut record: Map<_, _> = members.into_iter().collect();
            let fixed = [
                ("session_id", "s-1"),
                ("created_at", "2026-01-02T03:04:05Z"),
                ("schedule_id", "sched-a"),
            ];
            for ((key, value), keep) in fixed.into_iter().zip(keep) {
                if keep {
                    record.insert(key.into(), json!(value));
                }
            }
            record.insert("metadata_kind".into(), json!(kind.as_str()));
            record.insert(kind.payload_key().into(), document);
            Value::Object(record)
        })
}

fn any_key() -> impl Strategy<Value = String> {
    let known = [
        "session_id",
        "created_at",
        "metadata_kind",
        "signer",
        "schedule_id",
        "plan_id",
        "provider",
        "owner",
        "owners",
        "action",
        "category",
        "reason",
        "status",
        "alert_level",
        "acknowledgement_state",
        "acknowledged_by",
        "acknowledged_at",
        "acknowledgement_minutes",
        "external_ref",
        "notes",
        "actor",
        "issuer",
        "subject",
        "verified",
        "escalation_owner",
        "maintenance_window",
        "window_id",
        "owner_availability",
        "available",
        "generated_at",
        "next_due_at",
        "route_decisions",
        "acknowledgement_required_providers",
        "providers",
        "routes",
        "schedule",
        "cadence",
        "audit_id",
        "event_id",
        "delivery_id",
        "delivery_success",
        "connector_delivery_source",
        "dry_run",
        "plan",
        "acknowledgement",
        "",
    ];
    prop_oneof![8 => select(known.as_slice().to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn any_leaf() -> impl Strategy<Value = Value> {
    let words = [
        "",
        " ",
        "slack",
        "Pager-Duty",
        "sched-a",
        "acknowledged",
        "resolved",
        "deliver",
        "suppress",
        "healthy",
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05",
        "yesterday",
        "60",
        "99999999999999999999",
        "a\u{0}b",
        "go_backend_rollback_drill_notification",
    ];
    prop_oneof![
        8 => select(words.as_slice().to_vec()).prop_map(|word| json!(word)),
        1 => any::<String>().prop_map(Value::String),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<u64>().prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
    ]
}

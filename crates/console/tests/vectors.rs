//! The cases to which the page's sample mode is held, answered by the domain. `UPDATE_GOLDEN=1` writes the answers anew;
//! `xtask/e2e/console/vectors.test.mjs` puts the same cases to the page's own script.
#![cfg(test)]

use std::path::PathBuf;

use cavra_domain::acknowledgement::{AckState, Answer};
use cavra_domain::audit_package::LeftOut;
use cavra_domain::bulk::{Outcome, decide};
use cavra_domain::id::{AcknowledgementId, PlanId, RouteId, ScheduleId};
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::route::{
    FilterTerm, FilterTerms, Provider, Route, RouteAction, RouteCategory, RouteCounts, RouteFilter,
    RouteStatus, StateName, TrackedRoute, Transition, is_breached,
};
use cavra_domain::time::Timestamp;
use serde_json::{Map, Value, json};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/console-vectors/rules.json")
}

fn text(value: &str) -> Text {
    Text::parse(Field::line("text", 200), value).unwrap()
}

fn at(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

fn route(value: &Value) -> TrackedRoute {
    let of = |name: &str| value[name].as_str().unwrap_or_default();
    let said = AckState::parse(of("state"));
    let created_at = at(&value["created_at"]);
    TrackedRoute {
        route: Route {
            route_id: RouteId::parse(of("route_id")).unwrap(),
            plan_id: PlanId::parse("plan").unwrap(),
            schedule_id: ScheduleId::parse(of("schedule_id")).unwrap(),
            created_at,
            alert_level: text("warning"),
            provider: Provider::parse(of("provider")).unwrap(),
            owner: text(of("owner")),
            escalation_owner: text(of("escalation_owner")),
            action: RouteAction::parse(of("action")).unwrap(),
            category: RouteCategory::parse(of("category")).unwrap(),
            reason: Text::default(),
            acknowledgement_minutes: value["acknowledgement_minutes"]
                .as_u64()
                .unwrap()
                .try_into()
                .unwrap(),
            maintenance_window: None,
            owner_available: true,
            owner_availability_reason: Text::default(),
            next_due_at: Text::default(),
        },
        status: RouteStatus {
            answer: said.map(|said| Answer {
                acknowledgement_id: AcknowledgementId::parse("gordack-1").unwrap(),
                said,
                acknowledged_by: text("ana"),
                acknowledged_at: created_at,
                external_ref: Text::default(),
                notes: Text::default(),
                issuer: text("local"),
                subject: text("ana"),
                verified: false,
            }),
            revision: 0,
        },
        current: true,
    }
}

fn filter(value: &Value) -> RouteFilter {
    let of = |name: &str| value[name].as_str().unwrap_or_default();
    RouteFilter::parse(&FilterTerms {
        schedule_id: of("schedule_id"),
        owner: of("owner"),
        provider: of("provider"),
        state: of("state"),
        action: of("action"),
        category: of("category"),
        breached: value["breached"].as_bool(),
    })
    .unwrap()
}

fn step(transition: Transition) -> &'static str {
    match transition {
        Transition::Change => "change",
        Transition::Repeat => "repeat",
        Transition::Final => "final",
        Transition::Undo | Transition::Stale => unreachable!("an acknowledgement is no undo"),
    }
}

/// A case with the answer that the domain gives.
fn answered(case: &Value, answer: Value) -> Value {
    let mut case: Map<String, Value> = case.as_object().unwrap().clone();
    case.insert("answer".to_owned(), answer);
    Value::Object(case)
}

fn filtered(case: &Value, routes: &[TrackedRoute], now: Timestamp) -> Value {
    let filter = filter(&case["filter"]);
    let left_out: Map<String, Value> = routes
        .iter()
        .map(|one| {
            let term = filter.left_out_by(one, now);
            (
                one.route.route_id.to_string(),
                json!(term.map(FilterTerm::as_str)),
            )
        })
        .collect();
    let meant: Vec<&TrackedRoute> = routes.iter().filter(|one| filter.matches(one, now)).collect();
    let counts = RouteCounts::of(meant, now);
    let level = counts.level().as_str();
    json!({
        "left_out_by": left_out,
        "level": level,
        "counts": {
            "route_count": counts.route_count,
            "outstanding_count": counts.outstanding,
            "acknowledged_count": counts.acknowledged,
            "escalated_count": counts.escalated,
            "dismissed_count": counts.dismissed,
            "resolved_count": counts.resolved,
            "breached_count": counts.breached,
            "suppressed_count": counts.suppressed,
        },
    })
}

fn bulk(case: &Value, routes: &[TrackedRoute], now: Timestamp) -> Value {
    let filter = filter(&case["filter"]).or_deliver();
    let said = AckState::parse(case["said"].as_str().unwrap()).unwrap();
    let outcomes: Vec<Value> = routes
        .iter()
        .filter(|one| case["everything"] == true || filter.matches(one, now))
        .map(|one| {
            let (outcome, reason) = decide(one, said);
            let state = match (one.state(), outcome) {
                (None, _) => "",
                (Some(_), Outcome::Changed) => said.state().as_str(),
                (Some(state), _) => state.as_str(),
            };
            json!({
                "route_id": one.route.route_id, "outcome": outcome.as_str(), "reason": reason.as_str(), "state": state,
            })
        })
        .collect();
    json!(outcomes)
}

/// What an audit package of a scope has in it, and what it says that it left out.
fn package(case: &Value, routes: &[TrackedRoute], now: Timestamp) -> Value {
    let filter = filter(&case["filter"]).or_deliver();
    let mut left_out = LeftOut::default();
    let mut matched = Vec::new();
    for one in routes {
        match filter.left_out_by(one, now) {
            Some(term) => left_out.add(term, 1),
            None => matched.push(one),
        }
    }
    let counts = RouteCounts::of(matched.iter().copied(), now);
    json!({
        "routes": matched.iter().map(|one| one.route.route_id.to_string()).collect::<Vec<_>>(),
        "population": { "known": routes.len(), "matched": matched.len(), "left_out": left_out },
        "route_count": counts.route_count, "outstanding_count": counts.outstanding,
        "breached_count": counts.breached, "suppressed_count": counts.suppressed,
        "alert_level": counts.level().as_str(),
    })
}

#[test]
fn the_domain_answers_every_case_as_the_file_says() {
    let held = std::fs::read_to_string(path()).unwrap();
    let mut file: Value = serde_json::from_str(&held).unwrap();
    let now = at(&file["now"]);
    let routes: Vec<TrackedRoute> = file["routes"].as_array().unwrap().iter().map(route).collect();
    let transitions: Vec<Value> = StateName::ALL
        .iter()
        .flat_map(|state| {
            ["acknowledged", "escalated", "dismissed", "resolved"].map(|said| {
                let does = step(state.on(AckState::parse(said).unwrap()));
                json!({ "state": state.as_str(), "said": said, "does": does })
            })
        })
        .collect();
    let breaches: Vec<Value> = StateName::ALL
        .iter()
        .flat_map(|state| {
            [-1_000_i64, 0, 1_000].map(|micros| {
                let breached = is_breached(*state, now, now.plus_micros(micros));
                json!({ "state": state.as_str(), "milliseconds_after_deadline": micros / 1_000, "breached": breached })
            })
        })
        .collect();
    let each = |name: &str, answer: &dyn Fn(&Value) -> Value| -> Value {
        let cases = file[name].as_array().unwrap();
        cases.iter().map(|case| answered(case, answer(case))).collect()
    };
    let filters = each("filters", &|case| filtered(case, &routes, now));
    let bulks = each("bulks", &|case| bulk(case, &routes, now));
    let packages = each("packages", &|case| package(case, &routes, now));
    for (name, value) in [
        ("transitions", json!(transitions)),
        ("breaches", json!(breaches)),
        ("filters", filters),
        ("bulks", bulks),
        ("packages", packages),
    ] {
        file[name] = value;
    }
    let now_written = format!("{file:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path(), now_written).unwrap();
    } else {
        assert_eq!(held, now_written, "UPDATE_GOLDEN=1 writes the answers anew");
    }
}

#[test]
fn the_cases_reach_every_state_every_term_and_every_outcome() {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap();
    let everything = file.to_string();
    for state in StateName::ALL {
        assert!(everything.contains(&format!("\"state\":\"{state}\"")), "{state}");
    }
    for term in [
        "schedule_id",
        "owner",
        "provider",
        "state",
        "action",
        "category",
        "breached",
    ] {
        let reached = file["filters"].as_array().unwrap().iter().any(|case| {
            case["answer"]["left_out_by"]
                .as_object()
                .unwrap()
                .values()
                .any(|by| by == term)
        });
        assert!(reached, "no route is left out by {term}");
    }
    for outcome in ["changed", "already", "refused"] {
        assert!(
            everything.contains(&format!("\"outcome\":\"{outcome}\"")),
            "{outcome}"
        );
    }
    for level in ["healthy", "warning", "critical"] {
        assert!(everything.contains(&format!("\"level\":\"{level}\"")), "{level}");
    }
}

//! Requests that cannot be taken: each gets its own 4xx with a problem document, and nothing is written.

use std::time::Duration;

use cavra_http::Limits;
use serde_json::{Value, json};

use crate::client::{Answer, Request, Then};
use crate::contract::Contract;
use crate::server::{B, Server, Written, b};

/// The largest JSON body is 16 MiB.
const TOO_LARGE: usize = 17 << 20;

/// A server, and what is written on it.
struct Unchanged {
    server: Server,
    contract: Contract,
    before: Written,
}

impl Unchanged {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let server = Server::with(limits);
        let (contract, before) = (Contract::of(&server), server.written());
        Self {
            server,
            contract,
            before,
        }
    }

    /// The request is refused with this status and code, in problem+json that names the request, and nothing is
    /// written.
    #[track_caller]
    fn refuses(&self, request: &Request, status: u16, code: &str) -> Value {
        let answer = self.server.send(request);
        assert_eq!(answer.status, status, "{request:?}: {:.600}", answer.text());
        if let Some(operation) = self.contract.operation_of(request.method(), request.path()) {
            let problems = self.contract.problems(operation, &answer);
            assert!(problems.is_empty(), "{problems:?}");
        }
        self.refused(&answer, status, code)
    }

    #[track_caller]
    fn refused(&self, answer: &Answer, status: u16, code: &str) -> Value {
        assert_eq!(answer.status, status, "{:.600}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem:#}");
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("application/problem+json")
        );
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:cavra:problem:{code}"));
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem:#}"
        );
        let id = answer
            .header("x-request-id")
            .expect("every answer names its request");
        assert_eq!(problem["request_id"], id);
        assert!(!id.is_empty());
        assert_eq!(self.server.written(), self.before);
        problem
    }

    #[track_caller]
    fn refuses_json(&self, path: &str, body: &Value, status: u16, code: &str) -> Value {
        self.refuses(&Request::post(&b(path), body.to_string()), status, code)
    }

    /// The same, for a bulk that would be fine but for these members.
    #[track_caller]
    fn refuses_bulk(&self, members: &Value, status: u16, code: &str) -> Value {
        self.refuses_json("/acknowledgements/bulk", &bulk(members), status, code)
    }

    /// The same, for an acknowledgement that would be fine but for these members.
    #[track_caller]
    fn refuses_acknowledgement(&self, members: &Value, status: u16, code: &str) -> Value {
        self.refuses_json(ACKNOWLEDGE, &acknowledgement(members), status, code)
    }
}

const ACKNOWLEDGE: &str = "/checkout-edge-weekly/acknowledgements";

fn with(mut body: Value, members: &Value) -> Value {
    for (key, value) in members.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn bulk(members: &Value) -> Value {
    with(json!({ "acknowledged_by": "ana@example.org" }), members)
}

fn acknowledgement(members: &Value) -> Value {
    with(
        json!({ "acknowledged_by": "ana@example.org", "provider": "slack" }),
        members,
    )
}

/// A token that looks like a real one. It is put together here, so that this file holds none.
fn secret() -> String {
    format!("{}_{}", "ghp", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8")
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect()
}

#[test]
fn the_bodies_that_the_other_tests_spoil_are_good() {
    let server = Server::start();
    let answer = server.post(&b(ACKNOWLEDGE), &acknowledgement(&json!({})));
    assert_eq!(
        answer.ok()["acknowledgement"]["acknowledgement_state"],
        "acknowledged"
    );
    let filter = json!({ "filter": { "schedule_id": "mobile-api-biweekly", "state": "outstanding" } });
    let answer = server.post(&b("/acknowledgements/bulk"), &bulk(&filter));
    assert!(answer.ok()["changed_count"].as_u64() > Some(0));
}

#[test]
fn a_missing_body_is_refused() {
    let unchanged = Unchanged::new();
    for path in [
        "/acknowledgements/bulk",
        ACKNOWLEDGE,
        "/deliver",
        "/escalation-plan",
        "/acknowledgements/audit-package",
    ] {
        let request = Request::new("POST", &b(path)).header("content-type", "application/json");
        unchanged.refuses(&request, 422, "malformed_body");
        unchanged.refuses(&request.body(""), 422, "malformed_body");
    }
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let unchanged = Unchanged::new();
    for body in [
        "{",
        "routes",
        "[]",
        "[{}]",
        "null",
        "\"text\"",
        "1",
        "{} {}",
        "{\"a\":}",
        "\u{feff}{}",
    ] {
        unchanged.refuses(
            &Request::post(&b("/acknowledgements/bulk"), body),
            422,
            "malformed_body",
        );
    }
    let not_text = Request::post(
        &b("/acknowledgements/bulk"),
        b"{\"notes\":\"\xff\xfe\"}".as_slice(),
    );
    unchanged.refuses(&not_text, 422, "malformed_body");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_its_place() {
    let unchanged = Unchanged::new();
    for (members, pointer) in [
        (json!({ "routes": {} }), "/routes"),
        (json!({ "routes": "all" }), "/routes"),
        (json!({ "routes": [1] }), "/routes/0"),
        (
            json!({ "routes": [{ "schedule_id": 1, "provider": "slack" }] }),
            "/routes/0/schedule_id",
        ),
        (json!({ "filter": [] }), "/filter"),
        (json!({ "filter": { "breached": "yes" } }), "/filter/breached"),
        (
            json!({ "filter": { "action": "deliver" }, "dry_run": "true" }),
            "/dry_run",
        ),
        (
            json!({ "filter": { "action": "deliver" }, "acknowledged_by": 5 }),
            "/acknowledged_by",
        ),
        (
            json!({ "filter": { "action": "deliver" }, "acknowledgement_state": ["acknowledged"] }),
            "/acknowledgement_state",
        ),
        (
            json!({ "filter": { "action": "deliver" }, "notes": { "text": "x" } }),
            "/notes",
        ),
    ] {
        let problem = unchanged.refuses_bulk(&members, 422, "malformed_body");
        assert_eq!(pointers(&problem), [pointer], "{problem:#}");
    }
}

#[test]
fn an_unknown_state_is_refused() {
    let unchanged = Unchanged::new();
    for state in ["done", "outstanding", "Acknowledged!", "acknowledged,resolved"] {
        let problem = unchanged.refuses_acknowledgement(
            &json!({ "acknowledgement_state": state }),
            400,
            "invalid_value",
        );
        assert_eq!(pointers(&problem), ["/acknowledgement_state"]);
        let members = json!({ "filter": { "action": "deliver" }, "acknowledgement_state": state });
        unchanged.refuses_bulk(&members, 400, "invalid_value");
    }
}

#[test]
fn what_is_missing_is_named_all_at_once() {
    let unchanged = Unchanged::new();
    let problem = unchanged.refuses_json(ACKNOWLEDGE, &json!({}), 400, "missing_value");
    assert_eq!(pointers(&problem), ["/provider", "/acknowledged_by"]);
    let members =
        json!({ "routes": [{ "provider": "slack" }, { "schedule_id": "a" }, {}], "acknowledged_by": " " });
    let problem = unchanged.refuses_bulk(&members, 400, "missing_value");
    let missing = [
        "/acknowledged_by",
        "/routes/0/schedule_id",
        "/routes/1/provider",
        "/routes/2/schedule_id",
        "/routes/2/provider",
    ];
    assert_eq!(pointers(&problem), missing);
}

#[test]
fn an_acknowledgement_of_something_unknown_is_refused() {
    let unchanged = Unchanged::new();
    unchanged.refuses_json(
        "/no-such-schedule/acknowledgements",
        &acknowledgement(&json!({})),
        404,
        "unknown_reference",
    );
    for members in [
        json!({ "provider": "carrier-pigeon" }),
        json!({ "owner": "nobody" }),
        json!({ "plan_id": "gordn-none" }),
        // A plan of another schedule.
        json!({ "plan_id": "gordn-310ceaea7b876bae" }),
    ] {
        unchanged.refuses_acknowledgement(&members, 404, "unknown_reference");
    }
}

#[test]
fn one_unknown_route_stops_a_strict_bulk_and_is_the_one_that_is_named() {
    let unchanged = Unchanged::new();
    let good = json!({ "schedule_id": "checkout-edge-weekly", "provider": "slack" });
    for (bad, reason) in [
        (
            json!({ "schedule_id": "no-such-schedule", "provider": "slack" }),
            "unknown_schedule",
        ),
        (
            json!({ "schedule_id": "checkout-edge-weekly", "provider": "carrier-pigeon" }),
            "unknown_route",
        ),
        (
            json!({ "schedule_id": "checkout-edge-weekly", "provider": "slack", "plan_id": "gordn-none" }),
            "unknown_plan",
        ),
    ] {
        let problem = unchanged.refuses_bulk(&json!({ "routes": [good, bad] }), 409, "bulk_blocked");
        let blocked = problem["outcomes"].as_array().unwrap();
        assert!(
            blocked.iter().any(|outcome| outcome["reason"] == reason),
            "{problem:#}"
        );
    }
}

#[test]
fn a_bulk_names_routes_or_a_filter_and_not_both_or_neither() {
    let unchanged = Unchanged::new();
    let route = json!({ "schedule_id": "checkout-edge-weekly", "provider": "slack" });
    unchanged.refuses_bulk(
        &json!({ "routes": [route], "filter": { "action": "deliver" } }),
        400,
        "invalid_value",
    );
    unchanged.refuses_bulk(&json!({}), 400, "missing_value");
    unchanged.refuses_bulk(&json!({ "routes": null, "filter": null }), 400, "missing_value");
    unchanged.refuses_bulk(&json!({ "routes": [] }), 400, "invalid_value");
}

#[test]
fn a_filter_without_any_term_never_means_everything() {
    let unchanged = Unchanged::new();
    for filter in [
        json!({}),
        json!({ "owner": "" }),
        json!({ "schedule_id": " ", "state": null, "breached": null }),
    ] {
        let problem = unchanged.refuses_bulk(&json!({ "filter": filter }), 400, "invalid_value");
        assert_eq!(pointers(&problem), ["/filter"], "{problem:#}");
    }
}

#[test]
fn a_misspelt_key_never_widens_a_scope() {
    let unchanged = Unchanged::new();
    for key in ["schedule", "owners", "State", "breached ", "state\u{200b}"] {
        let filter = with(json!({ "action": "deliver" }), &json!({ key: "x" }));
        unchanged.refuses_bulk(&json!({ "filter": filter }), 400, "unknown_key");
        unchanged.refuses_json(
            "/acknowledgements/audit-package",
            &json!({ key: "x" }),
            400,
            "unknown_key",
        );
    }
    let problem = unchanged.refuses_bulk(&json!({ "filter": { "onwer": "x" } }), 400, "unknown_key");
    assert_eq!(pointers(&problem), ["/filter/onwer"]);
    let problem = unchanged.refuses_acknowledgement(&json!({ "note": "x" }), 400, "unknown_key");
    assert_eq!(pointers(&problem), ["/note"]);
    unchanged.refuses_bulk(
        &json!({ "routes": [{ "schedule_id": "a", "provider": "b", "ower": "c" }] }),
        400,
        "unknown_key",
    );
    unchanged.refuses_json(
        "/escalation-plan",
        &json!({ "policy": { "acknowledgement_minute": 5 } }),
        400,
        "unknown_key",
    );
    unchanged.refuses_json("/deliver", &json!({ "schedul": {} }), 400, "unknown_key");
}

#[test]
fn more_listed_routes_than_ten_thousand_are_refused() {
    let unchanged = Unchanged::new();
    let route = json!({ "schedule_id": "checkout-edge-weekly", "provider": "slack" });
    let routes: Vec<Value> = std::iter::repeat_n(route, 10_001).collect();
    let problem = unchanged.refuses_bulk(&json!({ "routes": routes }), 413, "too_many_routes");
    assert_eq!(pointers(&problem), ["/routes"]);
}

#[test]
fn a_secret_is_refused_wherever_it_stands_and_never_repeated() {
    let unchanged = Unchanged::new();
    let secret = secret();
    let noted = format!("rolled back with {secret} at noon");
    let in_path = format!("/{secret}/acknowledgements");
    let schedule = |key: &str| json!({ "schedule": with(schedule(), &json!({ key: noted })) });
    let filter = |key: &str| bulk(&json!({ "filter": { key: noted } }));
    let bodies = [
        (ACKNOWLEDGE, acknowledgement(&json!({ "notes": noted }))),
        (ACKNOWLEDGE, acknowledgement(&json!({ "external_ref": secret }))),
        (
            ACKNOWLEDGE,
            acknowledgement(&json!({ "acknowledged_by": secret })),
        ),
        (ACKNOWLEDGE, acknowledgement(&json!({ "provider": secret }))),
        (ACKNOWLEDGE, acknowledgement(&json!({ "owner": secret }))),
        (ACKNOWLEDGE, acknowledgement(&json!({ "plan_id": secret }))),
        (in_path.as_str(), acknowledgement(&json!({}))),
        (
            "/acknowledgements/bulk",
            bulk(&json!({ "filter": { "action": "deliver" }, "notes": noted })),
        ),
        ("/acknowledgements/bulk", filter("owner")),
        ("/acknowledgements/bulk", filter("schedule_id")),
        (
            "/acknowledgements/bulk",
            bulk(&json!({ "routes": [{ "schedule_id": "a", "provider": "b", "notes": noted }] })),
        ),
        (
            "/acknowledgements/audit-package",
            json!({ "generated_by": secret }),
        ),
        ("/acknowledgements/audit-package", json!({ "owner": secret })),
        ("/escalation-plan", json!({ "generated_by": secret })),
        ("/deliver", schedule("runbook_ref")),
        ("/deliver", schedule("schedule_id")),
    ];
    for (path, body) in bodies {
        let problem = unchanged.refuses_json(path, &body, 422, "not_public_safe");
        assert!(!problem.to_string().contains(&secret), "{problem:#}");
        assert!(!pointers(&problem).is_empty(), "{problem:#}");
    }
    // Where nothing else can stand, the value is refused for what it is not, and not repeated either.
    for (path, body) in [
        (
            ACKNOWLEDGE,
            acknowledgement(&json!({ "acknowledgement_state": secret })),
        ),
        (
            "/acknowledgements/bulk",
            bulk(&json!({ "filter": { "state": secret } })),
        ),
        (
            "/acknowledgements/bulk",
            bulk(&json!({ "filter": { "action": "deliver" }, "mode": secret })),
        ),
        (
            "/acknowledgements/bulk",
            bulk(&json!({ "filter": { "action": "deliver" }, "dry_run": secret })),
        ),
        (
            "/acknowledgements/bulk",
            bulk(&json!({ "filter": { secret.as_str(): "x" } })),
        ),
    ] {
        let answer = unchanged.server.post(&b(path), &body);
        assert!((400..500).contains(&answer.status), "{path}");
        assert!(!answer.text().contains(&secret), "{}", answer.text());
    }
    for query in [
        "owner",
        "schedule_id",
        "provider",
        "cursor",
        "limit",
        "state",
        "access_token",
        "q",
    ] {
        for path in ["", "/routes", "/suppression-trends"] {
            let answer = unchanged
                .server
                .send(&Request::get(&b(&format!("{path}?{query}={secret}"))));
            assert!(
                (400..500).contains(&answer.status),
                "{path}?{query}: {}",
                answer.text()
            );
            assert!(!answer.text().contains(&secret), "{}", answer.text());
        }
    }
    let unknown = Request::get(&b(&format!("/acknowledgements/audit-packages/{secret}")));
    let problem = unchanged.refuses(&unknown, 422, "not_public_safe");
    assert!(!problem.to_string().contains(&secret));
    let nowhere = unchanged.refuses(&Request::get(&format!("/{secret}")), 404, "not_found");
    assert!(!nowhere.to_string().contains(&secret));
}

#[test]
fn control_and_direction_characters_are_refused() {
    let unchanged = Unchanged::new();
    for character in [
        '\u{0}', '\u{7}', '\u{1b}', '\u{7f}', '\u{85}', '\u{202e}', '\u{2066}',
    ] {
        let text = format!("before{character}after");
        for key in [
            "notes",
            "external_ref",
            "acknowledged_by",
            "owner",
            "provider",
            "plan_id",
        ] {
            let problem = unchanged.refuses_acknowledgement(&json!({ key: text }), 422, "not_public_safe");
            assert_eq!(pointers(&problem), [format!("/{key}")], "{character:?}");
        }
    }
    unchanged.refuses_acknowledgement(&json!({ "external_ref": "two\nlines" }), 422, "not_public_safe");
}

#[test]
fn a_note_of_a_megabyte_is_refused_and_not_cut() {
    let unchanged = Unchanged::new();
    let problem =
        unchanged.refuses_acknowledgement(&json!({ "notes": "x".repeat(1 << 20) }), 422, "not_public_safe");
    assert_eq!(pointers(&problem), ["/notes"]);
    assert!(problem.to_string().len() < 1_000);
    for (key, longest) in [
        ("notes", 4_000),
        ("external_ref", 500),
        ("acknowledged_by", 200),
        ("plan_id", 300),
    ] {
        // Characters count, not bytes.
        let problem = unchanged.refuses_acknowledgement(
            &json!({ key: "ü".repeat(longest + 1) }),
            422,
            "not_public_safe",
        );
        assert_eq!(pointers(&problem), [format!("/{key}")]);
    }
}

fn schedule() -> Value {
    json!({
        "schema_version": "cavra.go-backend-rollback-drill-schedule.v1",
        "schedule_id": "billing-export-weekly",
        "status": "active",
        "environment": "production",
        "owners": ["billing-oncall"],
        "notification_providers": ["slack"],
        "interval_days": 7,
        "next_due_at": "2026-06-02T12:00:00Z",
        "runbook_ref": "runbook://rollback/billing-export",
    })
}

/// Texts that are no RFC 3339 time.
const NO_TIMES: [&str; 6] = [
    "2026-06-31T12:00:00Z",
    "2026-06-01 25:00",
    "tomorrow",
    "1780315200",
    "2026-06-01T12:00:00+99:00",
    "2026-06-01T12:00:00.Z",
];

#[test]
fn a_routing_policy_with_a_time_that_is_none_is_refused() {
    let unchanged = Unchanged::new();
    for time in NO_TIMES {
        let window = json!({ "window_id": "w", "start_at": time, "end_at": "2026-06-03T12:00:00Z" });
        for (policy, pointer) in [
            (
                json!({ "maintenance_windows": [window] }),
                "/routing_policy/maintenance_windows/0/start_at",
            ),
            (
                json!({ "owner_calendars": { "billing-oncall": { "unavailable_windows": [window] } } }),
                "/routing_policy/owner_calendars/billing-oncall/unavailable_windows/0/start_at",
            ),
        ] {
            let body = json!({ "schedule": schedule(), "routing_policy": policy });
            let answer = unchanged.server.post(&b("/deliver"), &body);
            assert_eq!(answer.status, 400, "{time}: {}", answer.text());
            if pointer.contains("maintenance") {
                let problem = unchanged.refused(&answer, 400, "invalid_value");
                assert_eq!(pointers(&problem), [pointer], "{time}: {problem:#}");
            }
        }
    }
    let reversed = json!({ "start_at": "2026-06-03T12:00:00Z", "end_at": "2026-06-02T12:00:00Z" });
    let policy = json!({ "maintenance_windows": [reversed] });
    let body = json!({ "schedule": schedule(), "routing_policy": policy });
    unchanged.refuses_json("/deliver", &body, 400, "invalid_value");
}

/// A schedule file is reported about, as published; a fault in it is a failed check and suppresses nobody.
#[test]
fn a_schedule_with_a_time_that_is_none_is_reported_as_one_that_needs_attention() {
    for time in NO_TIMES {
        let window = json!({ "window_id": "w", "start_at": time, "end_at": "2026-06-03T12:00:00Z" });
        for members in [
            json!({ "next_due_at": time }),
            json!({ "maintenance_windows": [window] }),
        ] {
            let server = Server::start();
            let body = json!({ "schedule": with(schedule(), &members) });
            let made = server.post(&b("/deliver"), &body).ok();
            assert_eq!(made["schedule"]["status"], "needs_attention", "{made:#}");
            assert_eq!(made["plan"]["alert_level"], "critical", "{made:#}");
            assert_eq!(made["plan"]["suppressed_route_count"], 0, "{made:#}");
        }
    }
}

#[test]
fn a_plan_for_no_schedule_or_an_unknown_one_is_refused() {
    let unchanged = Unchanged::new();
    let problem = unchanged.refuses_json("/deliver", &json!({}), 400, "missing_value");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("search-index-weekly"),
        "two are configured: {problem:#}"
    );
    unchanged.refuses_json(
        "/deliver",
        &json!({ "schedule_id": "no-such-schedule" }),
        404,
        "unknown_reference",
    );
    unchanged.refuses_json("/deliver", &json!({ "schedule": {} }), 400, "missing_value");
    unchanged.refuses_json(
        "/deliver",
        &json!({ "schedule": schedule(), "schedule_id": "x" }),
        400,
        "invalid_value",
    );
    unchanged.refuses_json(
        "/deliver",
        &json!({ "schedule": schedule(), "provider": "carrier-pigeon" }),
        400,
        "invalid_value",
    );
    let schedule_report =
        Request::get("/runtime/go-pilot/rollback-drill-schedule?schedule_id=no-such-schedule");
    unchanged.refuses(&schedule_report, 404, "unknown_reference");
}

#[test]
fn minutes_that_are_none_are_refused() {
    let unchanged = Unchanged::new();
    for minutes in [json!(0), json!(5_256_001)] {
        unchanged.refuses_json(
            "/escalation-plan",
            &json!({ "policy": { "acknowledgement_minutes": minutes } }),
            400,
            "invalid_value",
        );
    }
    for minutes in [json!(-1), json!(1.5), json!("60"), json!(true)] {
        unchanged.refuses_json(
            "/escalation-plan",
            &json!({ "policy": { "acknowledgement_minutes": minutes } }),
            422,
            "malformed_body",
        );
    }
}

#[test]
fn a_limit_or_offset_that_is_none_is_refused() {
    let unchanged = Unchanged::new();
    for limit in [
        "0",
        "-1",
        "501",
        "99999999999999999999999",
        "ten",
        "1.5",
        "",
        "0x10",
        "1%00",
    ] {
        for path in ["", "/routes"] {
            unchanged.refuses(
                &Request::get(&b(&format!("{path}?limit={limit}"))),
                400,
                "invalid_value",
            );
        }
    }
    for offset in ["-1", "9007199254740992", "99999999999999999999999", "ten"] {
        unchanged.refuses(
            &Request::get(&b(&format!("/routes?offset={offset}"))),
            400,
            "invalid_value",
        );
    }
}

#[test]
fn a_cursor_that_was_never_given_out_is_refused() {
    let unchanged = Unchanged::new();
    for cursor in [
        "garbage",
        "h1.",
        "r1.",
        "h1.1.2",
        "h1.1.2.3.4",
        "h1.x.2.3",
        "r1.99999999999999999999.a",
        "h1.1.-2.3",
        "%00",
    ] {
        for path in ["", "/routes"] {
            unchanged.refuses(
                &Request::get(&b(&format!("{path}?cursor={cursor}"))),
                400,
                "invalid_value",
            );
        }
    }
    // A cursor of the other list.
    let routes = unchanged.server.get(&b("/routes?limit=1"));
    let cursor = routes["next_cursor"].as_str().unwrap();
    unchanged.refuses(
        &Request::get(&b(&format!("?cursor={cursor}"))),
        400,
        "invalid_value",
    );
    unchanged.refuses(
        &Request::get(&b(&format!("/routes?cursor={cursor}&offset=1"))),
        400,
        "invalid_value",
    );
}

#[test]
fn an_unknown_repeated_or_wrong_query_parameter_is_refused_by_name() {
    let unchanged = Unchanged::new();
    for path in ["", "/routes", "/dashboard", "/suppression-trends"] {
        let problem = unchanged.refuses(
            &Request::get(&b(&format!("{path}?stat=outstanding"))),
            400,
            "unknown_key",
        );
        assert_eq!(pointers(&problem), ["stat"]);
    }
    unchanged.refuses(&Request::get("/health?verbose=1"), 400, "unknown_key");
    unchanged.refuses(
        &Request::get(&b("/routes?state=outstanding&state=resolved")),
        400,
        "invalid_value",
    );
    for query in [
        "state=done",
        "action=send",
        "category=other%20thing",
        "breached=maybe",
        "cycle=last",
    ] {
        unchanged.refuses(
            &Request::get(&b(&format!("/routes?{query}"))),
            400,
            "invalid_value",
        );
    }
    for query in ["acknowledgement_state=done", "delivery_success=perhaps"] {
        unchanged.refuses(&Request::get(&b(&format!("?{query}"))), 400, "invalid_value");
    }
    let with_query = Request::post(
        &b("/acknowledgements/bulk?dry_run=true"),
        bulk(&json!({ "filter": { "action": "deliver" } })).to_string(),
    );
    unchanged.refuses(&with_query, 400, "unknown_key");
}

#[test]
fn a_query_that_is_no_text_is_refused() {
    let unchanged = Unchanged::new();
    for query in ["owner=%FF%FE", "owner=a%00b", "owner=a%0Ab", "owner=%E2%80%AEgro"] {
        let answer = unchanged
            .server
            .send(&Request::get(&b(&format!("/routes?{query}"))));
        assert!(matches!(answer.status, 400 | 422), "{query}: {}", answer.text());
    }
}

#[test]
fn a_token_in_the_address_is_refused() {
    let unchanged = Unchanged::new();
    for path in [
        B.to_owned(),
        b("/dashboard"),
        b("/routes"),
        "/console/session".to_owned(),
    ] {
        let problem = unchanged.refuses(
            &Request::get(&format!("{path}?access_token=abc")),
            400,
            "unknown_key",
        );
        assert_eq!(pointers(&problem), ["access_token"]);
    }
    let body = acknowledgement(&json!({})).to_string();
    unchanged.refuses(
        &Request::post(&b(&format!("{ACKNOWLEDGE}?access_token=abc")), body),
        400,
        "unknown_key",
    );
}

#[test]
fn an_identity_in_a_body_is_refused_in_every_shape() {
    let unchanged = Unchanged::new();
    let claims = [
        json!({}),
        json!({ "sub": "root" }),
        json!(null),
        json!("root"),
        json!([]),
    ];
    for path in [
        ACKNOWLEDGE,
        "/acknowledgements/bulk",
        "/acknowledgements/audit-package",
        "/escalation-plan",
        "/deliver",
    ] {
        for claims in &claims {
            for key in ["actor_claims", "actor_token"] {
                let problem = unchanged.refuses_json(
                    path,
                    &acknowledgement(&json!({ key: claims })),
                    400,
                    "actor_in_body",
                );
                assert_eq!(pointers(&problem), [format!("/{key}")]);
            }
        }
    }
    let evidence = Request::post("/evidence", json!({ "actor_claims": {} }).to_string());
    unchanged.refuses(&evidence, 400, "actor_in_body");
}

#[test]
fn duplicate_keys_unsafe_numbers_and_deep_nesting_are_refused() {
    let unchanged = Unchanged::new();
    let path = b("/acknowledgements/bulk");
    for body in [
        r#"{"acknowledged_by":"ana","acknowledged_by":"eve","filter":{"action":"deliver"}}"#.to_owned(),
        r#"{"acknowledged_by":"ana","filter":{"owner":"a","o\u0077ner":"b"}}"#.to_owned(),
        r#"{"acknowledged_by":"ana","filter":{"action":"deliver"},"n":9007199254740993}"#.to_owned(),
        r#"{"acknowledged_by":"ana","filter":{"action":"deliver"},"n":1e300}"#.to_owned(),
        format!("{}{}", r#"{"n":"#.repeat(200), "}".repeat(200)),
        format!("{{\"routes\":{}{}}}", "[".repeat(200), "]".repeat(200)),
        format!("{{\"routes\":{}", "[".repeat(1 << 20)),
        r#"{"acknowledged_by":"\ud800","filter":{"action":"deliver"}}"#.to_owned(),
    ] {
        unchanged.refuses(&Request::post(&path, body), 422, "malformed_body");
    }
}

#[test]
fn a_body_of_another_media_type_is_refused() {
    let unchanged = Unchanged::new();
    let body = acknowledgement(&json!({})).to_string();
    let request = || Request::new("POST", &b(ACKNOWLEDGE)).body(body.as_str());
    unchanged.refuses(&request(), 415, "unsupported_media_type");
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
    ] {
        unchanged.refuses(
            &request().header("content-type", media),
            415,
            "unsupported_media_type",
        );
    }
    for path in ["/evidence/import", "/evidence"] {
        let request = Request::new("POST", path).body("{}");
        unchanged.refuses(&request, 415, "unsupported_media_type");
        unchanged.refuses(
            &request.header("content-type", "text/plain"),
            415,
            "unsupported_media_type",
        );
    }
}

#[test]
fn a_media_type_may_be_written_in_any_case_and_with_a_charset() {
    let server = Server::start();
    let body = acknowledgement(&json!({})).to_string();
    let request = Request::new("POST", &b(ACKNOWLEDGE)).body(body);
    server
        .send(&request.header("Content-Type", "Application/JSON; charset=utf-8"))
        .ok();
}

#[test]
fn a_body_over_the_limit_is_refused_whether_it_is_announced_or_not() {
    let unchanged = Unchanged::new();
    for path in [
        b("/acknowledgements/bulk"),
        b(ACKNOWLEDGE),
        "/evidence".to_owned(),
    ] {
        let announced = Request::new("POST", &path)
            .header("content-type", "application/json")
            .header("content-length", &TOO_LARGE.to_string());
        unchanged.refuses(&announced, 413, "payload_too_large");
    }
    let piece = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let body = format!("{}0\r\n\r\n", piece.repeat(TOO_LARGE >> 20));
    let answer = chunked(&b("/acknowledgements/bulk"), "application/json")
        .send_with(unchanged.server.address, body.as_bytes(), Then::Wait)
        .expect("an answer although the body goes on");
    unchanged.refused(&answer, 413, "payload_too_large");
}

fn chunked(target: &str, media: &str) -> Request {
    Request::new("POST", target)
        .header("content-type", media)
        .header("transfer-encoding", "chunked")
}

#[test]
fn an_import_over_the_limit_is_refused_whether_it_is_announced_or_not() {
    let limits = Limits {
        import_bytes: 1 << 20,
        ..Limits::default()
    };
    let unchanged = Unchanged::with(limits);
    let announced = Request::new("POST", "/evidence/import")
        .header("content-type", "application/x-ndjson")
        .header("content-length", "1048577");
    unchanged.refuses(&announced, 413, "payload_too_large");
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2 << 20, "\n".repeat(2 << 20));
    let answer = chunked("/evidence/import", "application/x-ndjson")
        .send_with(unchanged.server.address, body.as_bytes(), Then::Wait)
        .expect("an answer although the body goes on");
    unchanged.refused(&answer, 413, "payload_too_large");
}

#[test]
fn a_body_that_stops_arriving_is_given_up() {
    let limits = Limits {
        body_pause: Duration::from_millis(50),
        ..Limits::default()
    };
    let unchanged = Unchanged::with(limits);
    for path in [b(ACKNOWLEDGE), "/evidence/import".to_owned()] {
        let request = Request::new("POST", &path)
            .header("content-type", "application/json")
            .header("content-length", "100");
        let answer = request
            .send_with(unchanged.server.address, b"{\"items\":[", Then::Wait)
            .expect("an answer although the body is not whole");
        unchanged.refused(&answer, 408, "request_timeout");
    }
}

/// What is cut may be answered or not: nobody is left to read it. It is never taken.
fn never_taken(unchanged: &Unchanged, request: &Request, sent: &[u8]) {
    if let Some(answer) = request.send_with(unchanged.server.address, sent, Then::Close) {
        assert!(
            (400..500).contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(unchanged.server.written(), unchanged.before);
}

#[test]
fn a_request_that_is_cut_off_is_never_taken() {
    let unchanged = Unchanged::new();
    let body = acknowledgement(&json!({})).to_string();
    // The bytes that are there are a whole object; only the length says that more was meant.
    let announced = Request::new("POST", &b(ACKNOWLEDGE))
        .header("content-type", "application/json")
        .header("content-length", &(body.len() + 10).to_string());
    never_taken(&unchanged, &announced, body.as_bytes());
    let piece = format!("{:x}\r\n{body}\r\n", body.len());
    let request = chunked(&b(ACKNOWLEDGE), "application/json");
    never_taken(&unchanged, &request, piece.as_bytes());
    never_taken(&unchanged, &request, format!("{piece}0\r\n").as_bytes());
    never_taken(&unchanged, &request, b"ffff\r\nabc");
    never_taken(&unchanged, &request, b"no size\r\n{}\r\n0\r\n\r\n");
}

#[test]
fn an_import_that_is_cut_takes_nothing() {
    let unchanged = Unchanged::new();
    let lines = (0..100)
        .map(|number| record(number).to_string())
        .collect::<Vec<_>>()
        .join("\n");
    let announced = Request::new("POST", "/evidence/import")
        .header("content-type", "application/x-ndjson")
        .header("content-length", &(lines.len() * 2).to_string());
    never_taken(&unchanged, &announced, lines.as_bytes());
    let piece = format!("{:x}\r\n{lines}\r\n", lines.len());
    never_taken(
        &unchanged,
        &chunked("/evidence/import", "application/x-ndjson"),
        piece.as_bytes(),
    );
    // Whole on the wire, cut in itself: between two records of a list, and inside a record of a line.
    let list = format!("{{\"items\":[{},{}", record(1), record(2));
    let request = |media: &str, body: &str| {
        Request::new("POST", "/evidence/import")
            .header("content-type", media)
            .body(body)
    };
    unchanged.refuses(&request("application/json", &list), 422, "malformed_body");
    let line = &lines[..lines.len() - 20];
    let problem = unchanged.refuses(&request("application/x-ndjson", line), 422, "import_refused");
    assert_eq!(problem["report"]["refused_count"], 1);
    assert_eq!(problem["report"]["refused"][0]["record"], 100);
}

fn record(number: u32) -> Value {
    json!({
        "schema_version": "cavra.evidence.metadata.v1",
        "product": "CAVRA",
        "session_id": format!("ppp-imported-{number}"),
        "created_at": "2026-05-01T12:00:00+00:00",
        "metadata_kind": "policy-pack-publication",
    })
}

#[test]
fn an_import_of_garbage_takes_nothing() {
    let unchanged = Unchanged::new();
    for (media, body, code) in [
        ("application/json", "", "malformed_body"),
        ("application/json", "   \n", "malformed_body"),
        ("application/json", "{\"items\": 5}", "malformed_body"),
        ("application/json", "{\"items\": [1, 2]}", "import_refused"),
        ("application/json", "{\"items\": []} []", "malformed_body"),
        ("application/json", "hello", "malformed_body"),
        ("application/x-ndjson", "not json\n", "import_refused"),
        ("application/x-ndjson", "{}\n", "import_refused"),
        ("application/x-ndjson", "{\"a\":1,\"a\":2}\n", "import_refused"),
        (
            "application/vnd.sqlite3",
            "SQLite format 3\u{0}and no more",
            "malformed_body",
        ),
    ] {
        let request = Request::new("POST", "/evidence/import")
            .header("content-type", media)
            .body(body);
        unchanged.refuses(&request, 422, code);
    }
    let not_text = Request::new("POST", "/evidence/import")
        .header("content-type", "application/x-ndjson")
        .body(b"\xff\xfe\x00\x01\n".as_slice());
    unchanged.refuses(&not_text, 422, "malformed_body");
}

#[test]
fn an_import_with_one_bad_record_takes_none_of_the_good_ones() {
    let unchanged = Unchanged::new();
    let secret = secret();
    let planted = with(record(2), &json!({ "summary": format!("token {secret}") }));
    let body = format!("{}\n{planted}\n{}\n", record(1), record(3));
    let request = Request::new("POST", "/evidence/import")
        .header("content-type", "application/x-ndjson")
        .body(body);
    let problem = unchanged.refuses(&request, 422, "import_refused");
    assert!(!problem.to_string().contains(&secret), "{problem:#}");
    assert_eq!(problem["report"]["refused"][0]["session_id"], "ppp-imported-2");
    // Evidence is never replaced.
    let changed =
        json!({ "session_id": "gordack-a3f420d7a98f9bb0", "created_at": "2026-05-02T12:11:17+00:00" });
    unchanged.refuses(
        &Request::post("/evidence", changed.to_string()),
        422,
        "import_refused",
    );
    unchanged.refuses(
        &Request::post("/evidence", planted.to_string()),
        422,
        "import_refused",
    );
}

#[test]
fn a_request_for_another_host_is_refused() {
    let unchanged = Unchanged::new();
    for host in [
        "evil.test",
        "evil.test:8000",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
        "[::2]",
        "169.254.169.254",
        "127.0.0.1@evil.test",
    ] {
        for path in [b("/dashboard"), "/health".to_owned(), "/nowhere".to_owned()] {
            unchanged.refuses(&Request::get(&path).host(host), 421, "host_not_allowed");
        }
        let body = acknowledgement(&json!({})).to_string();
        unchanged.refuses(
            &Request::post(&b(ACKNOWLEDGE), body).host(host),
            421,
            "host_not_allowed",
        );
    }
    // A name in the address does not help either, nor do headers of a proxy.
    unchanged.refuses(&Request::get("http://evil.test/health"), 421, "host_not_allowed");
    for header in ["x-forwarded-host", "forwarded"] {
        let value = if header == "forwarded" {
            "host=localhost"
        } else {
            "localhost"
        };
        unchanged.refuses(
            &Request::get("/health").host("evil.test").header(header, value),
            421,
            "host_not_allowed",
        );
    }
}

#[test]
fn the_names_of_this_machine_and_the_configured_ones_are_served() {
    let server = Server::start();
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "drills.internal",
    ] {
        server.send(&Request::get("/health").host(host)).ok();
        server
            .send(&Request::get("/health").host(&format!("{host}:{port}")))
            .ok();
    }
}

#[test]
fn headers_that_claim_an_identity_change_nothing() {
    let server = Server::start();
    let body = acknowledgement(&json!({})).to_string();
    let request = Request::post(&b(ACKNOWLEDGE), body)
        .header("x-forwarded-user", "root")
        .header("x-actor", "root")
        .header("x-remote-user", "root");
    let done = server.send(&request).ok();
    assert_eq!(done["actor"]["actor"], "ana@example.org");
    assert_eq!(done["actor"]["issuer"], "local");
    assert_eq!(done["actor"]["verified"], false);
    assert!(!done.to_string().contains("root"));
}

#[test]
fn a_schedule_id_in_a_path_may_hold_any_character_once_it_is_encoded() {
    let server = Server::start();
    for (id, path) in [
        ("billing/export eu", "billing%2Fexport%20eu"),
        ("100%25", "100%2525"),
        ("a+b", "a+b"),
        ("a?b#c", "a%3Fb%23c"),
        ("grün", "gr%C3%BCn"),
        ("acknowledgements", "acknowledgements"),
    ] {
        let made = server.post(
            &b("/deliver"),
            &json!({ "schedule": with(schedule(), &json!({ "schedule_id": id })) }),
        );
        assert_eq!(made.ok()["event_id"], id);
        let answer = server.post(
            &b(&format!("/{path}/acknowledgements")),
            &acknowledgement(&json!({})),
        );
        assert_eq!(answer.ok()["acknowledgement"]["schedule_id"], id, "{path}");
    }
}

#[test]
fn a_path_that_is_no_text_or_empty_leads_nowhere() {
    let unchanged = Unchanged::new();
    for segment in [
        "%FF",
        "%C3%28",
        "%00",
        "%ED%A0%80",
        "",
        "%20",
        "%0A",
        "..",
        "%2e%2e",
        "%2E%2E%2Fdashboard",
    ] {
        let path = b(&format!("/{segment}/acknowledgements"));
        let answer = unchanged.server.post(&path, &acknowledgement(&json!({})));
        assert!(
            matches!(answer.status, 400 | 404 | 405 | 422),
            "{segment}: {} {}",
            answer.status,
            answer.text()
        );
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        unchanged.refused(&answer, answer.status, &code);
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let unchanged = Unchanged::new();
    for path in [
        "/nowhere",
        "/runtime",
        "/HEALTH",
        "/health/",
        "//health",
        "/%2e%2e/health",
    ] {
        unchanged.refuses(&Request::get(path), 404, "not_found");
    }
    unchanged.refuses(&Request::post("/nowhere", "{}"), 404, "not_found");
    unchanged.refuses(
        &Request::get(&b("/acknowledgements/audit-packages/no-such-package")),
        404,
        "unknown_reference",
    );
}

#[test]
fn a_request_id_of_the_caller_is_used_when_it_is_plain_and_replaced_when_not() {
    let server = Server::start();
    let named = |id: &str| server.send(&Request::get("/nowhere").header("x-request-id", id));
    assert_eq!(named("build-17.a_b").json()["request_id"], "build-17.a_b");
    for id in ["", "two words", "<script>", &"x".repeat(65), "a\tb", "ü"] {
        let answer = named(id);
        let given = answer.header("x-request-id").unwrap();
        assert_ne!(given, id);
        assert_eq!(answer.json()["request_id"], given);
    }
}

#[test]
fn a_header_line_of_a_hundred_kilobytes_harms_nobody() {
    let unchanged = Unchanged::new();
    let body = acknowledgement(&json!({ "acknowledgement_state": "done" })).to_string();
    let request = Request::post(&b(ACKNOWLEDGE), body);
    unchanged.refuses(
        &request.clone().header("x-request-id", &"x".repeat(100_000)),
        400,
        "invalid_value",
    );
    for bytes in [200_000, 1 << 20] {
        // More than a head may have: refused before anything of it is looked at.
        let answer = request.clone().header("x-filler", &"x".repeat(bytes)).send_with(
            unchanged.server.address,
            &[],
            Then::Wait,
        );
        assert!(answer.is_none_or(|answer| matches!(answer.status, 400 | 413 | 431)));
    }
    assert_eq!(unchanged.server.written(), unchanged.before);
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let unchanged = Unchanged::new();
    for (method, target) in [
        ("GET", "no slash"),
        ("G E T", "/health"),
        ("", ""),
        ("\u{1}", "/health"),
    ] {
        let answer = Request::new(method, target).send_with(unchanged.server.address, &[], Then::Close);
        assert!(
            answer.is_none_or(|answer| (400..500).contains(&answer.status)),
            "{method} {target}"
        );
    }
    // Two lengths, or a length beside chunks: nobody knows where the next request begins.
    let smuggled = Request::post(&b(ACKNOWLEDGE), acknowledgement(&json!({})).to_string());
    for extra in [
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "gzip"),
    ] {
        let answer =
            smuggled
                .clone()
                .header(extra.0, extra.1)
                .send_with(unchanged.server.address, &[], Then::Close);
        assert!(
            answer.is_none_or(|answer| (400..500).contains(&answer.status)),
            "{extra:?}"
        );
    }
    assert_eq!(unchanged.server.written(), unchanged.before);
}

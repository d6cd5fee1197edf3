//! A release from the drill to the archive, over HTTP; and the requests about it that cannot be taken.

use serde_json::{Value, json};

use crate::client::Request;
use crate::server::{Server, b};

const EXPORT: &str = "/acknowledgements/audit-delivery/final-reporting-auditor-export";
const DELIVERIES: &str = "/acknowledgements/audit-delivery/final-reporting-auditor-export/deliveries";
const RETRY_PLAN: &str =
    "/acknowledgements/audit-delivery/final-reporting-auditor-export/delivery-retry-plan";
const REFERENCE: &str = "/acknowledgements/audit-delivery/final-reporting-immutable-archive-reference";
const HEALTH: &str = "/acknowledgements/audit-delivery/final-reporting-archive-reference-health";

fn post(server: &Server, path: &str, body: &Value) -> Value {
    server.post(&b(path), body).ok()
}

/// Provider, action and reason of every decision.
fn decisions(plan: &Value) -> Vec<[&str; 3]> {
    let decisions = plan["plan"]["retry_decisions"].as_array().unwrap();
    decisions
        .iter()
        .map(|decision| ["provider", "action", "reason_code"].map(|key| decision[key].as_str().unwrap()))
        .collect()
}

fn alerts(health: &Value) -> Vec<&str> {
    let alerts = health["health"]["alerts"].as_array().unwrap();
    alerts
        .iter()
        .map(|alert| alert["alert_id"].as_str().unwrap())
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one walk from beginning to end")]
fn a_release_goes_from_the_plan_over_its_export_to_a_healthy_archive() {
    let server = Server::empty();
    // Owners are to be notified; a release manager acknowledges them all; a platform owner makes the package.
    let planned = post(
        &server,
        "/deliver",
        &json!({ "schedule_id": "payments-ledger-monthly", "force": true }),
    );
    let routes = planned["plan"]["deliverable_route_count"].as_u64().unwrap();
    assert!(routes > 0);
    let bulk = post(
        &server,
        "/acknowledgements/bulk",
        &json!({ "filter": { "state": "outstanding" }, "acknowledged_by": "ana@example.org" }),
    );
    assert_eq!(bulk["changed_count"], routes);
    let package = post(&server, "/acknowledgements/audit-package", &json!({}));
    assert_eq!(package["audit_package"]["acknowledged_count"], routes);

    // The export is verified, and making it again makes no other.
    let named = json!({ "release_record_ref": "REL-2026-06", "generated_by": "ana@example.org" });
    let made = post(&server, EXPORT, &named);
    assert_eq!(made["export"]["verification_state"], "verified");
    assert_eq!(
        made["export"]["audit_package"]["audit_id"],
        package["audit_package"]["audit_id"]
    );
    let export_id = made["export"]["export_id"].as_str().unwrap();
    assert_eq!(post(&server, EXPORT, &named)["export"]["export_id"], export_id);

    // Three providers fail in three ways.
    let fail = |provider: &str, code: u16, completed_at: &str| {
        let report = json!({
            "export_id": export_id, "provider": provider, "success": false, "status_code": code,
            "completed_at": completed_at, "reported_by": "delivery-worker",
        });
        let recorded = post(&server, DELIVERIES, &report);
        assert_eq!(recorded["success"], false);
        assert_eq!(recorded["metadata"]["release_record_ref"], "REL-2026-06");
    };
    fail("webhook", 503, "2026-06-01T11:45:00Z");
    fail("splunk", 503, "2026-06-01T11:45:01Z");
    fail("jira", 410, "2026-06-01T11:00:00Z");
    let plan = post(&server, RETRY_PLAN, &json!({}));
    assert_eq!(
        decisions(&plan),
        [
            ["jira", "suppress", "permanent_failure"],
            ["splunk", "wait", "backoff"],
            ["webhook", "retry", "eligible"],
        ]
    );
    assert_eq!(plan["plan"]["alert_level"], "critical");

    // The worker sends again what may be sent, and reports; the others arrive by other means.
    for provider in ["webhook", "splunk", "jira"] {
        let report = json!({
            "export_id": export_id, "provider": provider, "success": true, "status_code": 200,
            "completed_at": "2026-06-01T12:00:00Z",
        });
        post(&server, DELIVERIES, &report);
    }
    let empty = post(&server, RETRY_PLAN, &json!({}));
    assert!(decisions(&empty).is_empty());
    assert_eq!(empty["plan"]["alert_level"], "healthy");

    // It is not in an archive; then badly; then well.
    let health = |expected: &[&str], level: &str| {
        let health = server.get(&b(&format!("{HEALTH}?persist=false")));
        assert_eq!(alerts(&health), expected);
        assert_eq!(health["health"]["alert_level"], level);
        let dashboard = server.get(&b("/dashboard"));
        assert_eq!(
            dashboard["acknowledgement_audit_delivery_final_reporting_archive_reference_health_alert_count"],
            expected.len()
        );
    };
    health(&["archive_reference_missing"], "critical");
    let mut reference = json!({
        "archive_ref": "worm://vault/rel-2026-06.json", "release_record_ref": "REL-2026-06",
        "archived_by": "archive-job",
    });
    let bound = post(&server, REFERENCE, &reference);
    assert_eq!(bound["reference"]["export_id"], export_id);
    assert_eq!(bound["reference"]["archive_hash"], "");
    health(&["archive_hash_missing", "retention_until_missing"], "warning");
    // What the archive hashes is what it was given.
    let path = format!("/acknowledgements/audit-delivery/final-reporting-auditor-exports/{export_id}");
    let bytes = server.send(&Request::get(&b(&path)));
    assert_eq!(bytes.status, 200);
    reference["archive_hash"] = made["export"]["export_hash"].clone();
    reference["retention_until"] = json!("2033-06-01T00:00:00Z");
    post(&server, REFERENCE, &reference);
    health(&[], "healthy");

    let dashboard = server.get(&b("/dashboard"));
    let count = |name: &str| {
        let key = format!("acknowledgement_audit_delivery_final_reporting_{name}");
        dashboard[key.as_str()]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(
        [
            count("auditor_export_count"),
            count("release_closure_packet_verified_count"),
            count("auditor_export_delivery_count"),
            count("auditor_export_delivery_retry_plan_count"),
            count("auditor_export_delivery_retryable_count"),
            count("immutable_archive_reference_count"),
            count("archive_reference_health_count"),
        ],
        [1, 1, 6, 2, 0, 2, 0]
    );
}

#[test]
fn history_shows_what_happened_to_a_release_under_its_source_and_provider() {
    let server = Server::start();
    post(&server, RETRY_PLAN, &json!({}));
    let of = |query: &str| -> Vec<Value> {
        let page = server.get(&b(&format!("?limit=500&{query}")));
        page["items"].as_array().unwrap().clone()
    };
    let source = "connector_delivery_source=go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export";
    let kinds: std::collections::BTreeSet<String> = of(source)
        .iter()
        .map(|item| item["metadata_kind"].as_str().unwrap().to_owned())
        .collect();
    for kind in [
        "auditor-export",
        "immutable-archive-reference",
        "retry-plan",
        "connector-delivery",
    ] {
        assert!(
            kinds.iter().any(|found| found.ends_with(kind)),
            "{kind}: {kinds:?}"
        );
    }
    let failed = of(&format!("{source}&delivery_success=false&provider=teams"));
    assert!(!failed.is_empty());
    for record in failed {
        assert_eq!(record["delivery_success"], false);
        assert!(
            record["providers"].as_array().unwrap().contains(&json!("teams")),
            "{record}"
        );
    }
}

/// Everything about releases that takes a body, with a good one.
fn good(export_id: &str) -> [(&'static str, Value); 5] {
    [
        (EXPORT, json!({ "release_record_ref": "REL-1" })),
        (
            DELIVERIES,
            json!({
                "export_id": export_id, "provider": "webhook", "success": false,
                "completed_at": "2026-06-01T11:00:00Z",
            }),
        ),
        (RETRY_PLAN, json!({})),
        (
            REFERENCE,
            json!({ "archive_ref": "worm://a", "export_id": export_id }),
        ),
        (HEALTH, json!({})),
    ]
}

/// A verified export of the quickstart data.
const VERIFIED: &str = "gordackfinalauditor-9c10d97eb5298c47";

#[test]
#[expect(clippy::too_many_lines, reason = "a table of bad values")]
fn a_body_that_cannot_be_taken_is_refused_and_writes_nothing() {
    // A token that looks like a real one, put together so that this file holds none.
    let secret = format!("{}_{}", "ghp", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let server = Server::start();
    let before = server.written();
    let mut cases: Vec<(&str, Value, u16, &str)> = Vec::new();
    for (path, body) in good(VERIFIED) {
        for (key, value, status, code) in [
            ("misspelt", json!(1), 400, "unknown_key"),
            ("actor_claims", json!({}), 400, "actor_in_body"),
            ("actor_token", json!("x"), 400, "actor_in_body"),
        ] {
            let mut bad = body.clone();
            bad[key] = value;
            cases.push((path, bad, status, code));
        }
        cases.push((path, json!([]), 422, "malformed_body"));
    }
    let changed = |index: usize, key: &str, value: Value| {
        let [(path, mut body)] = [good(VERIFIED)[index].clone()];
        body[key] = value;
        (path, body)
    };
    for (index, key, value, status, code) in [
        (0, "release_record_ref", json!(secret), 422, "not_public_safe"),
        (
            0,
            "release_record_ref",
            json!("x".repeat(501)),
            422,
            "not_public_safe",
        ),
        (0, "release_record_ref", json!(7), 422, "malformed_body"),
        (
            0,
            "audit_id",
            json!("gordackaudit-none"),
            404,
            "unknown_reference",
        ),
        (0, "generated_by", json!(secret), 422, "not_public_safe"),
        (
            1,
            "export_id",
            json!("gordackfinalauditor-none"),
            404,
            "unknown_reference",
        ),
        (1, "export_id", json!(""), 400, "missing_value"),
        (1, "provider", json!(" "), 400, "missing_value"),
        (1, "success", json!("false"), 422, "malformed_body"),
        (1, "success", json!(null), 400, "missing_value"),
        (1, "status_code", json!(1000), 400, "invalid_value"),
        (1, "status_code", json!(-1), 422, "malformed_body"),
        (1, "status_code", json!(200), 400, "invalid_value"),
        (1, "attempt_count", json!(0), 400, "invalid_value"),
        (1, "attempt_count", json!(1_000_001), 400, "invalid_value"),
        (
            1,
            "started_at",
            json!("2026-06-01T11:00:01Z"),
            400,
            "invalid_value",
        ),
        (1, "started_at", json!("yesterday"), 400, "invalid_value"),
        (
            1,
            "completed_at",
            json!("2026-06-01T11:00:00"),
            400,
            "invalid_value",
        ),
        (1, "completed_at", json!(null), 400, "missing_value"),
        (1, "error_class", json!("x".repeat(201)), 422, "not_public_safe"),
        (
            1,
            "error_class",
            json!(format!("token={secret}")),
            422,
            "not_public_safe",
        ),
        (1, "retry_after_seconds", json!(315_360_001), 400, "invalid_value"),
        (
            1,
            "request",
            json!({ "url": "https://hooks.example.net" }),
            400,
            "unknown_key",
        ),
        (2, "retry_policy", json!([]), 422, "malformed_body"),
        (
            2,
            "retry_policy",
            json!({ "max_attempts": 3 }),
            400,
            "unknown_key",
        ),
        (
            2,
            "retry_policy",
            json!({ "max_retries": -1 }),
            400,
            "invalid_value",
        ),
        (
            2,
            "retry_policy",
            json!({ "max_retries": 2, "max_retry_attempts": 2 }),
            400,
            "invalid_value",
        ),
        (
            2,
            "retry_policy",
            json!({ "allow_immediate_retry": "true" }),
            400,
            "invalid_value",
        ),
        (
            2,
            "retry_policy",
            json!({ "backoff_multiplier": 1.0001 }),
            400,
            "invalid_value",
        ),
        (3, "archive_ref", json!("  "), 400, "missing_value"),
        (
            3,
            "archive_ref",
            json!("https://bucket.example.net/x?X-Amz-Signature=0a1b2c3d4e5f"),
            422,
            "not_public_safe",
        ),
        (3, "archive_hash", json!("sha256:abc"), 400, "invalid_value"),
        (3, "retention_until", json!("2033-01-01"), 400, "invalid_value"),
        (3, "legal_hold", json!("yes"), 422, "malformed_body"),
        (
            3,
            "export_id",
            json!("gordackfinalauditor-none"),
            404,
            "unknown_reference",
        ),
        (
            3,
            "export_id",
            json!("gordackfinalauditor-faeb77ee2bbe0d25"),
            409,
            "export_not_verified",
        ),
        (3, "release_record_ref", json!("REL-118"), 400, "invalid_value"),
        (3, "notes", json!(secret), 422, "not_public_safe"),
        (4, "require_archive_hash", json!("false"), 422, "malformed_body"),
        (4, "expiring_within_days", json!(-1), 422, "malformed_body"),
        (4, "release_record_ref", json!(secret), 422, "not_public_safe"),
    ] {
        let (path, body) = changed(index, key, value);
        cases.push((path, body, status, code));
    }
    for (path, body, status, code) in cases {
        let answer = server.post(&b(path), &body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{path} {body}");
        assert!(!answer.text().contains(&secret), "{path} repeats a secret");
    }
    for query in [
        "require_hash=false",
        "persist=perhaps",
        "expiring_within_days=-1",
        "persist=true&persist=false",
    ] {
        let answer = server.send(&Request::get(&b(&format!("{HEALTH}?{query}"))));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    assert_eq!(server.written(), before);
    for (path, body) in good(VERIFIED) {
        server.post(&b(path), &body).ok();
    }
}

#[test]
fn a_health_report_is_stored_by_default_and_never_for_another_site() {
    let server = Server::start();
    let position = || {
        server.get(&b("/dashboard"))
        ["acknowledgement_audit_delivery_final_reporting_archive_reference_health_count"]
        .as_u64()
        .unwrap()
    };
    let before = position();
    let get = |query: &str, site: Option<&str>| {
        let mut request = Request::get(&b(&format!("{HEALTH}{query}")));
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        server.send(&request).ok()
    };
    for (query, site, stored) in [
        ("", None, true),
        ("?persist=true", None, true),
        ("?persist=false", None, false),
        ("", Some("same-origin"), true),
        ("", Some("same-site"), true),
        ("", Some("none"), true),
        ("", Some("cross-site"), false),
        ("?persist=true", Some("cross-site"), false),
    ] {
        let was = position();
        let answer = get(query, site);
        assert_eq!(answer["persisted"], stored, "{query} {site:?}");
        assert_eq!(answer["metadata"].is_null(), !stored, "{query} {site:?}");
        assert_eq!(position() - was, u64::from(stored), "{query} {site:?}");
    }
    let posted = post(&server, HEALTH, &json!({}));
    assert_eq!(posted["persisted"], true);
    assert_eq!(position() - before, 6);
    // A report of an earlier state is looked at, and never stored.
    let then = posted["health"]["evidence"]["log_position"].as_u64().unwrap();
    let seen = get(&format!("?as_of={then}"), None);
    assert_eq!(
        (&seen["persisted"], &seen["metadata"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(seen["health"]["evidence"], posted["health"]["evidence"]);
    for (query, told) in [
        (
            "?as_of=1&persist=true",
            "a report of an earlier state is not stored",
        ),
        ("?as_of=soon", "must be an RFC 3339 time or a position of the log"),
        ("?as_of=2999-01-01T00:00:00Z", "2999"),
    ] {
        let refused = server.send(&Request::get(&b(&format!("{HEALTH}{query}"))));
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.json()["errors"].to_string().contains("as_of"), "{query}");
        assert!(refused.text().contains(told), "{}", refused.text());
    }
    let beyond = server.send(&Request::get(&b(&format!("{HEALTH}?as_of=999999"))));
    assert_eq!(beyond.status, 404);
    assert_eq!(position() - before, 6);
    let id = posted["health"]["health_id"].as_str().unwrap();
    assert_eq!(server.get(&b(&format!("{HEALTH}/{id}"))), posted["health"]);
}

#[test]
fn the_short_answer_of_a_plan_and_of_a_report_is_its_record_also_when_it_is_given_again() {
    let server = Server::start();
    for (path, name, one, id) in [
        (RETRY_PLAN, "plan", format!("{RETRY_PLAN}s"), "retry_plan_id"),
        (HEALTH, "health", HEALTH.to_owned(), "health_id"),
    ] {
        let whole = post(&server, path, &json!({}));
        let request = || {
            Request::post(&b(path), "{}".to_owned())
                .header("prefer", "return=minimal")
                .header("idempotency-key", name)
        };
        let short = server.send(&request());
        assert_eq!(
            short.header("preference-applied").as_deref(),
            Some("return=minimal")
        );
        let (answer, members) = (short.json(), |value: &Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        });
        let mut expected = members(&whole);
        expected.retain(|member| member != name);
        assert_eq!(members(&answer), expected);
        let again = server.send(&request());
        assert_eq!(again.body, short.body);
        assert_eq!(
            again.header("preference-applied").as_deref(),
            Some("return=minimal")
        );
        let id = answer["metadata"][id].as_str().unwrap();
        let read = server.get(&b(&format!("{one}/{id}")));
        assert_eq!(members(&read), members(&whole[name]));
    }
}

//! The published browser client, unmodified: what it sends is taken, and what it reads is there (contract
//! sandbox-ui 2 and 3, pairs 8.1 to 8.12).

use serde_json::{Value, json};

use crate::client::{Request, encoded};
use crate::server::{B, ORIGIN, Server, b};

const PLAN_KIND: &str = "go-backend-rollback-drill-notification-plan";
const ACK_KIND: &str = "go-backend-rollback-drill-notification-ack";

/// The states that the client's State filter offers.
const STATES: [&str; 8] = [
    "acknowledged",
    "escalated",
    "resolved",
    "dismissed",
    "delivered",
    "delivery_failed",
    "critical",
    "healthy",
];

/// A `POST` as the client makes it.
fn post(server: &Server, path: &str, body: &Value) -> Value {
    let request = Request::post(path, body.to_string()).header("origin", ORIGIN);
    server.send(&request).ok()
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().expect("a list")
}

/// The client's derived status of a record (sandbox-ui 3.2).
fn status(item: &Value) -> &str {
    match (
        &item["acknowledgement_state"],
        &item["delivery_success"],
        &item["alert_level"],
    ) {
        (Value::String(state), ..) if !state.is_empty() => state,
        (_, Value::Bool(false), _) => "delivery_failed",
        (_, Value::Bool(true), _) => "delivered",
        (.., Value::String(level)) if !level.is_empty() => level,
        _ => "indexed",
    }
}

/// The rows of the client's Escalation Routes table (sandbox-ui 3.3).
fn escalation_rows(history: &Value) -> Vec<Value> {
    items(history)
        .iter()
        .filter_map(|item| item["escalation_plan"]["routes"].as_array())
        .flatten()
        .cloned()
        .collect()
}

/// The five requests that the client makes at every refresh, that this service serves.
fn refresh(server: &Server) -> Value {
    assert!(server.get(&b("/dashboard")).is_object());
    assert!(server.get(&b("/routes?limit=50"))["items"].is_array());
    assert!(server.get(&b("/suppression-trends"))["trend"].is_object());
    server.get(&b("?limit=50"))
}

#[test]
fn the_page_finds_its_configuration_and_its_session() {
    let server = Server::start();
    let config = server.get("/console/config");
    for key in ["api_base_url", "metadata_mode", "approval_oidc", "approval_rbac"] {
        assert!(config[key].is_string(), "{key}");
    }
    assert_eq!(config["cors_origins"], json!([ORIGIN]));
    assert!(config["endpoints"].is_object());
    let session = server.get("/console/session");
    assert_eq!(session["authenticated"], false);
    assert!(session["mode"].is_string() && session["permissions"].is_object());
    assert!(session["repository_permissions"].is_array() && session["operator_notes"].is_array());
}

#[test]
fn the_first_history_page_carries_one_current_escalation_plan_with_routes_as_they_are_now() {
    let server = Server::start();
    let history = refresh(&server);
    let with_routes = items(&history).iter().filter(|item| {
        item["escalation_plan"]["routes"]
            .as_array()
            .is_some_and(|routes| !routes.is_empty())
    });
    assert_eq!(
        with_routes.count(),
        1,
        "several plans would be duplicate rows and duplicate bulk entries"
    );
    let rows = escalation_rows(&history);
    let outstanding = server.get(&b("/routes?state=outstanding&limit=1"))["total"].as_u64();
    let waiting = rows
        .iter()
        .filter(|row| row["acknowledgement_state"] == "outstanding")
        .count();
    assert_eq!(u64::try_from(waiting).ok(), outstanding);
    for row in &rows {
        for key in [
            "schedule_id",
            "plan_id",
            "provider",
            "owner",
            "acknowledgement_state",
            "recommended_action",
        ] {
            assert!(row[key].is_string(), "{key}: {row}");
        }
        assert!(
            row["age_minutes"].is_number() && row["acknowledgement_minutes"].is_number(),
            "{row}"
        );
        assert!(
            row["acknowledged"].is_boolean() && row["breached"].is_boolean(),
            "{row}"
        );
    }
}

#[test]
fn the_history_filters_of_the_client_find_what_the_client_shows_under_them() {
    let server = Server::start();
    for state in STATES {
        let page = server.get(&b(&format!("?acknowledgement_state={state}&limit=500")));
        assert!(!items(&page).is_empty(), "{state}");
        for item in items(&page) {
            assert_eq!(status(item), state, "{item}");
        }
    }
    // Records without the field are filtered by the source that the client derives.
    let source = "go_backend_rollback_drill_notification";
    for kind in [PLAN_KIND, ACK_KIND] {
        let page = server.get(&b(&format!(
            "?connector_delivery_source={source}&metadata_kind={kind}&limit=50"
        )));
        assert_eq!(
            items(&page).len(),
            50.min(items(&server.get(&b(&format!("?metadata_kind={kind}&limit=50")))).len())
        );
    }
    let page = server.get(&b("?metadata_kind=release-connector-delivery&limit=50"));
    assert!(
        items(&page)
            .iter()
            .all(|item| item["metadata_kind"] == "release-connector-delivery")
    );
    let page = server.get(&b("?provider=slack&acknowledgement_state=delivered&limit=50"));
    assert!(items(&page).iter().all(|item| item.to_string().contains("slack")));
    // Every combination that the four controls can make is a request that is answered.
    for state in STATES {
        server.get(&b(&format!(
            "?provider=teams&metadata_kind={ACK_KIND}&connector_delivery_source={source}&acknowledgement_state={state}&limit=50"
        )));
    }
}

#[test]
fn the_routes_are_filtered_by_the_server_as_the_client_expects() {
    let server = Server::start();
    let page = server.get(&b("/routes?owner=platform&action=suppress&limit=50"));
    assert!(!items(&page).is_empty());
    for row in items(&page) {
        assert_eq!(row["action"], "suppress");
        let owners = format!("{} {}", row["owner"], row["escalation_owner"]);
        assert!(owners.contains("platform"), "{row}");
        for key in [
            "route_id",
            "schedule_id",
            "plan_id",
            "owner",
            "provider",
            "category",
            "reason",
        ] {
            assert!(row[key].is_string(), "{key}");
        }
    }
    let page = server.get(&b(
        "/routes?owner=payments+on&provider=slack&action=deliver&category=deliver&limit=50",
    ));
    assert!(page["items"].is_array());
    let trend = &server.get(&b("/suppression-trends?owner=payments&provider=slack"))["trend"];
    for key in ["category_counts", "owner_counts", "provider_counts"] {
        assert!(trend[key].is_object(), "{key}");
    }
    for key in ["maintenance_suppressed_count", "calendar_suppressed_count"] {
        assert!(trend[key].is_u64(), "{key}");
    }
    assert!(trend["trend_id"].is_string() && trend["generated_at"].is_string());
}

#[test]
fn the_row_buttons_acknowledge_escalate_and_resolve() {
    let server = Server::start();
    let rows = escalation_rows(&refresh(&server));
    let row = rows
        .iter()
        .find(|row| row["acknowledgement_state"] == "outstanding")
        .unwrap();
    for (state, notes) in [
        ("acknowledged", "Acknowledged from the console."),
        ("escalated", "Escalated from the console."),
        ("resolved", "Resolved from the console."),
    ] {
        let path = b(&format!(
            "/{}/acknowledgements",
            encoded(row["schedule_id"].as_str().unwrap())
        ));
        let body = json!({
            "provider": row["provider"], "plan_id": row["plan_id"], "acknowledged_by": "console-user",
            "acknowledgement_state": state, "external_ref": "", "notes": notes,
        });
        let done = post(&server, &path, &body);
        let acknowledgement = &done["acknowledgement"];
        for key in ["acknowledgement_id", "acknowledged_at"] {
            assert!(acknowledgement[key].is_string(), "{key}");
        }
        for key in ["schedule_id", "plan_id", "provider"] {
            assert_eq!(acknowledgement[key], row[key]);
        }
        assert_eq!(acknowledgement["acknowledged_by"], "console-user");
        assert_eq!(acknowledgement["acknowledgement_state"], state);
        assert_eq!(done["metadata"]["metadata_kind"], ACK_KIND);
        // The table of the next refresh shows it.
        let rows = escalation_rows(&refresh(&server));
        let now = rows.iter().find(|now| {
            now["schedule_id"] == row["schedule_id"]
                && now["provider"] == row["provider"]
                && now["owner"] == row["owner"]
        });
        assert_eq!(now.unwrap()["acknowledgement_state"], state);
    }
}

/// The body of the client's bulk buttons for some rows of its table.
fn bulk_body(rows: &[&Value], state: &str) -> Value {
    let routes: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "schedule_id": row["schedule_id"], "provider": row["provider"], "plan_id": row["plan_id"], "external_ref": "", "notes": "" }))
        .collect();
    json!({
        "acknowledged_by": "console-user", "acknowledgement_state": state, "external_ref": "CHG-9001",
        "notes": "weekly sweep", "routes": routes,
    })
}

#[test]
fn bulk_ack_outstanding_takes_the_whole_table_and_leaves_nothing_outstanding() {
    let server = Server::start();
    let rows = escalation_rows(&refresh(&server));
    let candidates: Vec<&Value> = rows
        .iter()
        .filter(|row| row["acknowledgement_state"] == "outstanding")
        .collect();
    assert!(candidates.len() > 5);
    let done = post(
        &server,
        &b("/acknowledgements/bulk"),
        &bulk_body(&candidates, "acknowledged"),
    );
    let acknowledgements = done["acknowledgements"].as_array().unwrap();
    assert_eq!(done["acknowledgement_count"], acknowledgements.len());
    for acknowledgement in acknowledgements {
        assert_eq!(acknowledgement["acknowledgement_state"], "acknowledged");
        assert_eq!(acknowledgement["external_ref"], "CHG-9001");
        assert_eq!(acknowledgement["notes"], "weekly sweep");
    }
    assert_eq!(server.get(&b("/routes?state=outstanding&limit=1"))["total"], 0);
    assert_eq!(
        server.get(&b("/dashboard"))["outstanding_acknowledgement_count"],
        0
    );
}

#[test]
fn bulk_escalate_breached_takes_the_breached_rows_of_the_table() {
    let server = Server::start();
    let rows = escalation_rows(&refresh(&server));
    let breached: Vec<&Value> = rows
        .iter()
        .filter(|row| row["breached"] == true && row["acknowledgement_state"] == "outstanding")
        .collect();
    assert!(!breached.is_empty());
    let done = post(
        &server,
        &b("/acknowledgements/bulk"),
        &bulk_body(&breached, "escalated"),
    );
    assert!(
        done["changed_count"].as_u64() >= u64::try_from(breached.len()).ok(),
        "{done:#}"
    );
    assert_eq!(
        server.get(&b("/routes?state=outstanding&breached=true&limit=1"))["total"],
        0
    );
}

#[test]
fn export_ack_audit_exports_the_scope_of_the_two_filters() {
    let server = Server::start();
    let done = post(
        &server,
        &b("/acknowledgements/audit-package"),
        &json!({ "owner": "payments", "provider": "", "generated_by": "console-user" }),
    );
    let package = &done["audit_package"];
    assert!(package["audit_id"].is_string() && package["generated_at"].is_string());
    assert_eq!(package["filters"]["owner"], "payments");
    assert_eq!(package["filters"]["provider"], "");
    assert_eq!(package["filters"]["schedule_id"], "");
    let routes = package["routes"].as_array().unwrap();
    assert_eq!(package["route_count"], routes.len());
    assert_eq!(
        routes.len(),
        items(&server.get(&b("/routes?owner=payments&action=deliver&limit=500"))).len()
    );
    for route in routes {
        for key in [
            "route_id",
            "schedule_id",
            "plan_id",
            "provider",
            "owner",
            "acknowledgement_state",
            "external_ref",
            "notes",
        ] {
            assert!(route[key].is_string(), "{key}");
        }
    }
}

#[test]
fn the_dashboard_answers_every_card_that_concerns_drills() {
    let server = Server::start();
    let dashboard = server.get(&b("/dashboard"));
    for key in [
        "plan_count",
        "delivery_count",
        "failed_delivery_count",
        "acknowledgement_count",
        "outstanding_acknowledgement_count",
    ] {
        assert!(dashboard[key].is_u64(), "{key}: {}", dashboard[key]);
    }
    assert!(dashboard["alert_level"].is_string());
    for row in dashboard["outstanding_acknowledgements"].as_array().unwrap() {
        for key in ["schedule_id", "plan_id", "provider"] {
            assert!(row[key].is_string(), "{key}");
        }
    }
}

#[test]
fn a_plan_is_made_as_published_clients_ask_for_it() {
    let server = Server::start();
    let body = json!({
        "schedule_id": "search-index-weekly", "provider": "all", "generated_by": "console-user", "force": false,
        "retries": 0, "timeout_seconds": 0.1,
    });
    let done = post(&server, &b("/deliver"), &body);
    assert_eq!(done["success"], true);
    assert_eq!(done["event_id"], "search-index-weekly");
    assert!(done["plan"]["plan_id"].is_string() && done["schedule"].is_object());
    assert_eq!(
        (&done["delivery"], &done["metadata"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn parts_of_the_published_system_that_do_not_exist_here_are_not_found() {
    let server = Server::start();
    for path in [
        "/api/sandbox/run",
        "/approvals",
        "/activity",
        "/runtime/go-pilot/summary",
    ] {
        let answer = server.send(&Request::get(path).header("origin", ORIGIN));
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(
            answer.header("access-control-allow-origin").as_deref(),
            Some(ORIGIN)
        );
    }
    let report = format!(
        "{B}/acknowledgements/audit-delivery/retry-recovery-report?recovery_slo_minutes=240&generated_by=console"
    );
    assert_eq!(server.send(&Request::get(&report)).status, 404);
}

const AD: &str = "/acknowledgements/audit-delivery";

#[test]
fn the_buttons_of_the_auditor_export_are_answered_as_the_client_needs() {
    let server = Server::start();
    let breached =
        json!({ "filter": { "breached": true }, "acknowledged_by": "console-user", "mode": "best_effort" });
    post(&server, &b("/acknowledgements/bulk"), &breached);
    post(
        &server,
        &b("/acknowledgements/audit-package"),
        &json!({ "generated_by": "console-user" }),
    );
    // Auditor Export (8.13): also sent before every archive reference, so it must not make one each time.
    let body = json!({ "generated_by": "console-user", "release_record_ref": "REL-local" });
    let export = b(&format!("{AD}/final-reporting-auditor-export"));
    let made = post(&server, &export, &body);
    for key in [
        "export_id",
        "verification_state",
        "release_record_ref",
        "markdown",
    ] {
        assert!(made["export"][key].is_string(), "{key}");
    }
    assert_eq!(made["export"]["verification_state"], "verified");
    assert_eq!(
        post(&server, &export, &body)["export"]["export_id"],
        made["export"]["export_id"]
    );
    // Plan Auditor Retry (8.15).
    let policy = json!({ "max_retry_attempts": 3, "retry_delay_minutes": 0, "allow_immediate_retry": true });
    let plan = post(
        &server,
        &b(&format!(
            "{AD}/final-reporting-auditor-export/delivery-retry-plan"
        )),
        &json!({ "generated_by": "console-user", "retry_policy": policy }),
    );
    assert!(plan["plan"]["retryable_count"].is_u64());
    // Archive Ref (8.17): the reference is only a time stamp, the release says which export it is for.
    let reference = post(
        &server,
        &b(&format!("{AD}/final-reporting-immutable-archive-reference")),
        &json!({
            "archived_by": "console-user", "release_record_ref": "REL-local", "legal_hold": false,
            "archive_ref": "immutable-archive://local/1780315200000", "archive_provider": "operator_archive",
            "notes": "recorded from the console",
        }),
    );
    assert_eq!(reference["reference"]["export_id"], made["export"]["export_id"]);
    assert!(reference["reference"]["reference_id"].is_string());
    // Archive Health (8.18): no token, no headers.
    let health = server.get(&b(&format!(
        "{AD}/final-reporting-archive-reference-health?generated_by=console-user"
    )));
    assert!(health["health"]["alert_level"].is_string() && health["health"]["alert_count"].is_u64());
    let endpoints = &server.get("/console/config")["endpoints"];
    for name in [
        "auditor_export",
        "auditor_export_delivery_retry_plan",
        "immutable_archive_reference",
        "archive_reference_health",
    ] {
        let key =
            format!("go_rollback_drill_notification_acknowledgement_audit_delivery_final_reporting_{name}");
        assert!(endpoints[&key].is_string(), "{key}");
    }
}

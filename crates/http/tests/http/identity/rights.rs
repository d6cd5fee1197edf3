//! Rows about rights, and the walk over all operations and all roles, taken from the served description: a new
//! operation is walked without a change here.

use cavra_rbac::{Permission, Role};
use serde_json::{Value, json};

use super::site::{Site, ack, claims};
use crate::client::Request;
use crate::server::{Server, b};

/// The operations that are for everybody. Whoever adds one has to say so here.
const OPEN: [&str; 11] = [
    "consoleConfig",
    "consoleSession",
    "health",
    "livez",
    "openapi",
    "readyz",
    "securityBoundary",
    "signIn",
    "signInCallback",
    "signOut",
    "version",
];

struct Operation {
    id: String,
    method: String,
    path: String,
    permission: Option<Permission>,
    media: Option<String>,
}

impl Operation {
    /// A request for it that gets past everything but rights; what it asks for need not make sense.
    fn request(&self) -> Request {
        let request = Request::new(&self.method, &self.path);
        match &self.media {
            Some(media) => request.header("content-type", media).body("{}"),
            None => request,
        }
    }
}

/// Every operation of the served description.
fn operations(server: &Server) -> Vec<Operation> {
    let document = server.send(&Request::get("/openapi.json")).ok();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut path = path.clone();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "path" {
                    let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
                    path = path.replace(&name, "x");
                }
            }
            assert!(!path.contains('{'), "{path}");
            let parameters = operation["parameters"].as_array();
            if parameters.is_some_and(|list| list.iter().any(|parameter| parameter["name"] == "follow")) {
                // A stream that goes on would never be answered to its end.
                path.push_str("?follow=false");
            }
            let permission = operation.get("x-cavra-permission").map(|name| {
                Permission::parse(name.as_str().unwrap()).expect("the description names a permission")
            });
            let media = operation["requestBody"]["content"]
                .as_object()
                .and_then(|content| content.keys().next().cloned());
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path,
                permission,
                media,
            });
        }
    }
    operations
}

fn group_of(role: Role) -> &'static str {
    match role {
        Role::PlatformOwner => "owners",
        Role::ReleaseManager => "managers",
        Role::IncidentCommander => "commanders",
        Role::Auditor => "auditors",
    }
}

#[test]
fn every_operation_names_a_permission_or_is_known_to_be_open() {
    let site = Site::start();
    let open: Vec<String> = operations(&site.server)
        .into_iter()
        .filter(|operation| operation.permission.is_none())
        .map(|operation| operation.id)
        .collect();
    let mut expected: Vec<&str> = OPEN.to_vec();
    let mut open: Vec<&str> = open.iter().map(String::as_str).collect();
    open.sort_unstable();
    expected.sort_unstable();
    assert_eq!(open, expected);
}

#[test]
fn all_operations_for_all_roles() {
    let site = Site::start();
    let operations = operations(&site.server);
    assert!(operations.len() > OPEN.len());
    for operation in &operations {
        let Some(permission) = operation.permission else {
            continue;
        };
        for role in Role::ALL {
            let token = site.es.sign(&claims(role.as_str(), &[group_of(*role)]));
            let answer = site.send(&operation.request().bearer(&token));
            let refused = matches!(answer.status, 401 | 403);
            assert_eq!(
                refused,
                !role.has(permission),
                "{} for {}: {} {}",
                operation.id,
                role.as_str(),
                answer.status,
                answer.text()
            );
            if refused {
                assert_eq!(answer.json()["code"], "insufficient_scope");
                assert_eq!(
                    answer.header("www-authenticate").unwrap(),
                    format!(
                        "Bearer error=\"insufficient_scope\", scope=\"{}\"",
                        permission.as_str()
                    )
                );
            }
        }
    }
}

#[test]
fn without_a_token_nothing_is_written_and_nothing_is_read() {
    let site = Site::start();
    for operation in operations(&site.server) {
        if operation.permission.is_some() {
            let answer = site.refused(&operation.request(), 401);
            assert_eq!(
                answer.header("www-authenticate").as_deref(),
                Some("Bearer"),
                "{}",
                operation.id
            );
            site.refused(&operation.request().bearer("bad.token.x"), 401);
        } else {
            let answer = site.send(&operation.request());
            assert!(
                !matches!(answer.status, 401),
                "{}: {}",
                operation.id,
                answer.status
            );
        }
    }
}

#[test]
fn row_56_a_valid_token_without_a_group() {
    let site = Site::start();
    let answer = site.refused(&ack().bearer(&site.nobody()), 403);
    assert_eq!(answer.json()["code"], "insufficient_scope");
    assert_eq!(
        answer.header("www-authenticate").as_deref(),
        Some("Bearer error=\"insufficient_scope\", scope=\"drill.ack\"")
    );
    // A group of the provider that is named like a role or a permission here gives nothing by its name.
    let token = site
        .es
        .sign(&claims("x", &["platform-owner", "operator", "drill.ack"]));
    site.refused(&ack().bearer(&token), 403);
}

#[test]
fn row_57_the_right_of_another_operation() {
    let site = Site::start();
    site.refused(&ack().bearer(&site.auditor()), 403);
    let bulk = Request::post(
        &b("/acknowledgements/bulk"),
        r#"{"filter":{"state":"outstanding"}}"#,
    );
    site.refused(&bulk.bearer(&site.operator()), 403);
}

#[test]
fn row_58_the_board_on_bulk_all_or_nothing() {
    let site = Site::start();
    let listing =
        Request::get(&b("/routes?action=deliver&state=outstanding&limit=100")).bearer(&site.board());
    let routes: Vec<Value> = site.send(&listing).ok()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| json!({ "schedule_id": route["schedule_id"], "provider": route["provider"], "owner": route["owner"] }))
        .collect();
    let bulk = |routes: &[Value]| {
        Request::post(
            &b("/acknowledgements/bulk"),
            json!({ "routes": routes }).to_string(),
        )
        .bearer(&site.board())
    };
    let mut one_bad = routes.clone();
    one_bad.push(json!({ "schedule_id": "no-such-schedule", "provider": "slack" }));
    // Decisions 5 in place of 400: a conflict, and nothing is written.
    site.refused(&bulk(&one_bad), 409);
    let many = vec![routes[0].clone(); 10_001];
    site.refused(&bulk(&many), 413);
    let answer = site.send(&bulk(&routes)).ok();
    assert_eq!(answer["changed_count"], json!(routes.len()));
    assert_eq!(answer["actor"]["subject"], "cab");
    assert_eq!(answer["actor"]["groups"], json!(["change-advisory-board"]));
}

#[test]
fn row_59_rights_in_another_claim_count_where_that_claim_is_configured() {
    let mut payload = claims("rolesonly", &[]);
    payload.as_object_mut().unwrap().remove("groups");
    payload["roles"] = json!(["release-operators"]);
    let site = Site::start();
    site.refused(&ack().bearer(&site.es.sign(&payload)), 403);
    let site = Site::with(&json!({ "groups_claim": "roles" }), false);
    site.taken(&ack().bearer(&site.es.sign(&payload)));
    site.refused(&ack().bearer(&site.operator()), 403);
}

#[test]
fn row_69_reading_needs_the_right_to_read_and_writes_nothing() {
    let site = Site::start();
    let commander = site.es.sign(&claims("commander", &["commanders"]));
    let reads = operations(&site.server).into_iter().filter(|operation| {
        operation.method == "GET" && operation.permission.is_some_and(Permission::only_reads)
    });
    let mut count = 0;
    for operation in reads {
        site.refused(&operation.request(), 401);
        let before = site.server.position();
        let answer = site.send(&operation.request().bearer(&commander));
        assert!(!matches!(answer.status, 401 | 403 | 500), "{}", operation.id);
        assert_eq!(site.server.position(), before, "{}", operation.id);
        count += 1;
    }
    assert!(count > 5);
    // Archive health stores its report for whoever may, and says so.
    let health = |token: &str, query: &str| {
        let path = "/acknowledgements/audit-delivery/final-reporting-archive-reference-health";
        Request::get(&b(&format!("{path}{query}"))).bearer(token)
    };
    assert_eq!(site.send(&health(&commander, "")).ok()["persisted"], false);
    site.refused(&health(&commander, "?persist=true"), 403);
    let before = site.server.position();
    assert_eq!(site.send(&health(&site.auditor(), "")).ok()["persisted"], true);
    assert!(site.server.position() > before);
}

#[test]
fn row_70_a_plan_is_not_made_for_whoever_proves_nothing() {
    let site = Site::start();
    let answer = site.refused(&Request::post(&b("/deliver"), "{}"), 401);
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
}

#[test]
fn row_71_everything_that_writes_is_refused_to_a_token_without_rights() {
    // Package, retry plan, archive reference and whatever else writes: by the description.
    let site = Site::start();
    let writes = operations(&site.server)
        .into_iter()
        .filter(|operation| operation.method == "POST" && operation.permission.is_some());
    let mut count = 0;
    for operation in writes {
        site.refused(&operation.request().bearer(&site.nobody()), 403);
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn with_anonymous_read_everybody_reads_and_nobody_writes_without_a_token() {
    let site = Site::with(&json!({}), true);
    for operation in operations(&site.server) {
        match operation.permission {
            Some(permission) if permission.only_reads() => {
                let answer = site.send(&operation.request());
                assert!(
                    !matches!(answer.status, 401 | 403),
                    "{}: {}",
                    operation.id,
                    answer.text()
                );
            }
            Some(_) => {
                site.refused(&operation.request(), 401);
            }
            None => {}
        }
    }
    // A bad token is told so, and not taken for none.
    site.refused(&Request::get(&b("/dashboard")).bearer("bad.token.x"), 401);
    let session = site.send(&Request::get("/console/session")).ok();
    assert_eq!(session["permissions"]["evidence.read"], true);
    assert_eq!(session["permissions"]["drill.ack"], false);
}

#[test]
fn the_flags_of_the_session_equal_what_the_routes_do() {
    let site = Site::start();
    for (groups, roles) in [
        (&["auditors"][..], &["auditor"][..]),
        (&["commanders"], &["incident-commander"]),
        (&["managers", "nobody-mapped-this"], &["release-manager"]),
        (&["owners"], &["platform-owner"]),
        (&["release-operators", "auditors"], &["auditor", "operator"]),
        (&[], &[]),
    ] {
        let token = site.es.sign(&claims("somebody", groups));
        let session = site.send(&Request::get("/console/session").bearer(&token)).ok();
        assert_eq!(session["roles"], json!(roles), "{groups:?}");
        for operation in operations(&site.server) {
            let Some(permission) = operation.permission else {
                continue;
            };
            let answer = site.send(&operation.request().bearer(&token));
            assert_eq!(
                session["permissions"][permission.as_str()],
                json!(answer.status != 403),
                "{groups:?} {}",
                operation.id
            );
        }
    }
}

#[test]
fn a_package_says_of_each_answer_whether_its_actor_was_proven() {
    let site = Site::start();
    site.taken(&ack().bearer(&site.operator()));
    let body = json!({ "schedule_id": "fraud-scoring-monthly", "generated_by": "somebody else" });
    let request =
        Request::post(&b("/acknowledgements/audit-package"), body.to_string()).bearer(&site.auditor());
    let answer = site.send(&request).ok();
    assert_eq!(answer["actor"]["subject"], "auditor");
    assert_eq!(answer["audit_package"]["generated_by"], "auditor@example.test");
    let proven: Vec<&Value> = answer["audit_package"]["routes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|route| route["acknowledgements"].as_array().unwrap())
        .filter(|answer| answer["verified"] == true)
        .collect();
    assert!(!proven.is_empty(), "{answer}");
    for answer in proven {
        assert_eq!(
            (&answer["issuer"], &answer["subject"]),
            (&json!(super::site::ISSUER), &json!("operator"))
        );
    }
}

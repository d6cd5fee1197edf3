//! The same request again, previews that bind, undo, and answers that a client has already.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};

use cavra_domain::time::Timestamp;
use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::contract::Contract;
use crate::server::{Server, b, fixture};

const KEY: &str = "idempotency-key";

fn bulk_body(state: &str) -> Value {
    json!({ "filter": { "action": "deliver" }, "acknowledged_by": "ana@example.org", "mode": "best_effort",
            "acknowledgement_state": state })
}

fn keyed(target: &str, body: &Value, key: &str) -> Request {
    Request::post(target, body.to_string()).header(KEY, key)
}

/// A request of the files in `fixtures/http` that succeeds, per operation that takes a body, with what comes before.
fn examples() -> BTreeMap<String, (Vec<Value>, Value)> {
    let mut examples = BTreeMap::new();
    for entry in std::fs::read_dir(fixture("http")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let pair: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let operation = name.split('-').next().unwrap().to_owned();
        let dry = pair["request"]["body"]["dry_run"] == true;
        if pair["status"] == 200 && pair["request"]["method"] == "POST" && !dry {
            let before = pair["before"].as_array().cloned().unwrap_or_default();
            examples.insert(operation, (before, pair["request"].clone()));
        }
    }
    examples
}

fn request(described: &Value) -> Request {
    let mut target = described["path"].as_str().unwrap().to_owned();
    for (number, (name, value)) in described["query"].as_object().into_iter().flatten().enumerate() {
        target = format!(
            "{target}{}{name}={}",
            if number == 0 { '?' } else { '&' },
            value.as_str().unwrap()
        );
    }
    let mut request = Request::new("POST", &target);
    for (name, value) in described["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    match &described["body"] {
        Value::String(text) => request.body(text.as_str()),
        body => request.body(body.to_string()),
    }
}

#[test]
fn every_operation_that_takes_a_body_has_one_effect_and_one_answer_per_key() {
    let examples = examples();
    let contract = Contract::of(&Server::start());
    let posts: Vec<String> = contract.posts().collect();
    assert!(posts.len() > 5);
    for operation in posts {
        let Some((before, described)) = examples.get(&operation) else {
            panic!("{operation} has no pair that succeeds");
        };
        let server = Server::start();
        for earlier in before {
            server.send(&request(earlier)).ok();
        }
        let request = request(described).header(KEY, "key-of-this-test");
        let first = server.send(&request);
        assert_eq!(first.status, 200, "{operation}: {:.300}", first.text());
        let expires = first.header("idempotency-key-expires");
        let expires = Timestamp::parse(&expires.unwrap_or_else(|| panic!("{operation} keeps no answer")));
        assert_eq!(
            expires.unwrap().to_string(),
            "2026-06-02T12:00:00.000000Z",
            "{operation}"
        );
        assert_eq!(first.header("idempotent-replayed"), None, "{operation}");
        let written = server.written();
        for _ in 0..2 {
            let again = server.send(&request);
            assert_eq!((again.status, &again.body), (200, &first.body), "{operation}");
            assert_eq!(
                again.header("content-type"),
                first.header("content-type"),
                "{operation}"
            );
            assert_eq!(
                again.header("idempotent-replayed").as_deref(),
                Some("true"),
                "{operation}"
            );
            assert_eq!(contract.problems(&operation, &again), Vec::<String>::new());
        }
        assert_eq!(server.written(), written, "{operation} has one effect");
    }
}

#[test]
fn a_hundred_duplicates_at_once_have_one_effect_and_equal_answers() {
    for (target, body) in [
        (b("/acknowledgements/bulk"), bulk_body("escalated")),
        (
            b("/search-index-weekly/acknowledgements"),
            json!({ "provider": "slack", "acknowledged_by": "ana" }),
        ),
        (
            b("/acknowledgements/audit-package"),
            json!({ "schedule_id": "fraud-scoring-monthly" }),
        ),
    ] {
        let server = Arc::new(Server::start());
        let before = server.position();
        let request = keyed(&target, &body, "once");
        let together = Arc::new(Barrier::new(100));
        let senders: Vec<_> = (0..100)
            .map(|_| {
                let (server, request, together) =
                    (Arc::clone(&server), request.clone(), Arc::clone(&together));
                std::thread::spawn(move || {
                    together.wait();
                    server.send(&request)
                })
            })
            .collect();
        let answers: Vec<Answer> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (200, &answers[0].body), "{target}");
        }
        let again = answers
            .iter()
            .filter(|answer| answer.header("idempotent-replayed").is_some())
            .count();
        assert_eq!(again, 99, "{target}");
        let changed = answers[0].json()["changed_count"]
            .as_u64()
            .map_or(1, |changed| changed + 1);
        assert_eq!(server.position() - before, changed, "{target}");
    }
}

#[test]
fn a_key_belongs_to_one_request_of_one_operation() {
    let server = Server::start();
    let bulk = b("/acknowledgements/bulk");
    let first = server.send(&keyed(&bulk, &bulk_body("escalated"), "k"));
    assert_eq!(first.status, 200);
    let written = server.written();
    let other_body = server.send(&keyed(&bulk, &bulk_body("dismissed"), "k"));
    assert_eq!(
        (other_body.status, &other_body.json()["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    let other_form =
        server.send(&keyed(&bulk, &bulk_body("escalated"), "k").header("prefer", "return=minimal"));
    assert_eq!(other_form.status, 422, "the answer would be another");
    assert_eq!(server.written(), written);
    // Another operation has keys of its own, and so has another path of the same one.
    let one = json!({ "provider": "slack", "acknowledged_by": "ana" });
    let answered = server.send(&keyed(&b("/search-index-weekly/acknowledgements"), &one, "k"));
    assert_eq!(answered.status, 200, "{}", answered.text());
    let elsewhere = server.send(&keyed(&b("/checkout-edge-weekly/acknowledgements"), &one, "k"));
    assert_eq!(elsewhere.status, 422, "the same key for another schedule");
}

#[test]
fn a_problem_is_not_kept_and_a_dry_run_is_not_either() {
    let server = Server::start();
    let target = b("/no-such-schedule/acknowledgements");
    let one = json!({ "provider": "slack", "acknowledged_by": "ana" });
    let unknown = server.send(&keyed(&target, &one, "k"));
    assert_eq!(
        (unknown.status, unknown.header("idempotency-key-expires")),
        (404, None)
    );
    // The key is free, so another request may have it.
    let other = server.send(&keyed(&b("/search-index-weekly/acknowledgements"), &one, "k"));
    assert_eq!(other.status, 200);
    let mut dry = bulk_body("escalated");
    dry["dry_run"] = json!(true);
    let preview = server.send(&keyed(&b("/acknowledgements/bulk"), &dry, "d"));
    assert_eq!(
        (preview.status, preview.header("idempotency-key-expires")),
        (200, None)
    );
    assert_eq!(
        server
            .send(&keyed(&b("/acknowledgements/bulk"), &bulk_body("escalated"), "d"))
            .status,
        200
    );
}

#[test]
fn a_key_that_is_none_is_refused() {
    let server = Server::start();
    let before = server.written();
    let request = Request::post(&b("/acknowledgements/bulk"), bulk_body("escalated").to_string());
    let long = "k".repeat(256);
    for key in ["", "two words", long.as_str(), "caf\u{e9}"] {
        let refused = server.send(&request.clone().header(KEY, key));
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (400, &json!("invalid_value")),
            "{key:?}"
        );
    }
    let twice = server.send(&request.header(KEY, "a").header(KEY, "a"));
    assert_eq!(twice.status, 400);
    assert_eq!(server.written(), before);
}

#[test]
fn a_bulk_that_changes_nothing_gives_the_same_answer_again_too() {
    let server = Server::start();
    server
        .send(&Request::post(
            &b("/acknowledgements/bulk"),
            bulk_body("escalated").to_string(),
        ))
        .ok();
    for prefer in ["return=representation", "return=minimal"] {
        let request =
            keyed(&b("/acknowledgements/bulk"), &bulk_body("escalated"), prefer).header("prefer", prefer);
        let first = server.send(&request);
        assert_eq!((first.status, &first.json()["changed_count"]), (200, &json!(0)));
        // What happens meanwhile does not show in an answer that was given.
        server
            .send(&keyed(
                &b("/acknowledgements/bulk"),
                &bulk_body("dismissed"),
                &format!("{prefer}-d"),
            ))
            .ok();
        let again = server.send(&request);
        assert_eq!((again.status, &again.body), (200, &first.body));
        server
            .send(&keyed(
                &b("/acknowledgements/bulk"),
                &bulk_body("escalated"),
                &format!("{prefer}-e"),
            ))
            .ok();
    }
}

#[test]
fn the_short_form_leaves_out_the_two_long_lists_and_says_so() {
    let server = Server::start();
    let request = Request::post(&b("/acknowledgements/bulk"), bulk_body("escalated").to_string());
    let short = server.send(&request.header("Prefer", "respond-async, return=minimal"));
    assert_eq!(
        short.header("preference-applied").as_deref(),
        Some("return=minimal")
    );
    let answer = short.json();
    assert!(answer.get("acknowledgements").is_none() && answer.get("metadata").is_none());
    let counted = answer["matched_count"].as_u64().unwrap();
    assert_eq!(answer["outcomes"].as_array().unwrap().len() as u64, counted);
    let whole = server.post(&b("/acknowledgements/bulk"), &bulk_body("dismissed"));
    assert_eq!(whole.header("preference-applied"), None);
    let answer = whole.json();
    assert_eq!(
        answer["acknowledgements"].as_array().unwrap().len() as u64,
        answer["changed_count"]
    );
    assert_eq!(
        answer["metadata"].as_array().unwrap().len() as u64,
        answer["changed_count"]
    );
}

#[test]
fn a_bulk_bound_to_a_preview_stops_when_something_has_changed_and_names_it() {
    let server = Server::start();
    let mut body = json!({ "filter": { "schedule_id": "fraud-scoring-monthly", "state": "outstanding" },
                           "acknowledged_by": "ana@example.org", "dry_run": true });
    let preview = server.post(&b("/acknowledgements/bulk"), &body).json();
    body["dry_run"] = json!(false);
    body["expected_digest"] = preview["selection_digest"].clone();
    let one = json!({ "provider": "email", "acknowledged_by": "carla@example.org" });
    assert_eq!(
        server
            .post(&b("/fraud-scoring-monthly/acknowledgements"), &one)
            .status,
        200
    );
    let written = server.written();
    let stopped = server.post(&b("/acknowledgements/bulk"), &body);
    assert_eq!(
        (stopped.status, &stopped.json()["code"]),
        (409, &json!("selection_changed"))
    );
    let difference = stopped.json()["difference"].clone();
    assert_eq!(difference["preview_known"], true);
    assert_eq!(
        (
            &difference["joined_count"],
            &difference["left_count"],
            &difference["changed_count"]
        ),
        (&json!(0), &json!(1), &json!(0))
    );
    let route = &difference["routes"][0];
    assert_eq!(
        (&route["change"], &route["provider"]),
        (&json!("left"), &json!("email"))
    );
    assert_eq!(
        (&route["state"], &route["acknowledged_by"]),
        (&json!("acknowledged"), &json!("carla@example.org"))
    );
    assert_eq!(server.written(), written);
    // Bound to what is there now, it goes through.
    body["expected_digest"] = difference["selection_digest"].clone();
    assert_eq!(
        server.post(&b("/acknowledgements/bulk"), &body).json()["changed_count"],
        1
    );
    body["expected_digest"] = json!("sha256:1");
    assert_eq!(server.post(&b("/acknowledgements/bulk"), &body).status, 400);
}

#[test]
fn undoing_gives_back_what_stood_before_and_an_undo_is_final() {
    let server = Server::start();
    let states =
        |server: &Server| server.get(&b("/routes?schedule_id=fraud-scoring-monthly"))["items"].clone();
    let stood = |items: &Value| -> Vec<Value> {
        let rows = items.as_array().unwrap().iter();
        rows.map(|row| json!([row["owner"], row["provider"], row["acknowledgement_state"]]))
            .collect()
    };
    let before = stood(&states(&server));
    let body = json!({ "filter": { "schedule_id": "fraud-scoring-monthly", "state": "outstanding" },
                       "acknowledged_by": "ana@example.org", "acknowledgement_state": "resolved" });
    let done = server.post(&b("/acknowledgements/bulk"), &body).json();
    let report = b(&format!(
        "/acknowledgements/bulk/{}",
        done["bulk_id"].as_str().unwrap()
    ));
    let undo = json!({ "reason": "the wrong drill", "undone_by": "ben@example.org" });
    let undone = server.post(&format!("{report}/undo"), &undo).json();
    assert_eq!(
        (&undone["changed_count"], &done["changed_count"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        stood(&states(&server)),
        before,
        "resolved is final for everything but an undo"
    );
    let told = server.get(&report);
    assert_eq!(told["outcomes"], done["outcomes"]);
    assert_eq!(told["undos"].as_array().unwrap().len(), 1);
    for path in [
        format!(
            "/acknowledgements/bulk/{}/undo",
            undone["bulk_undo_id"].as_str().unwrap()
        ),
        format!(
            "/acknowledgements/{}/undo",
            undone["metadata"][0]["session_id"].as_str().unwrap()
        ),
    ] {
        let refused = server.post(&b(&path), &undo);
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("undo_is_final")),
            "{path}"
        );
    }
    let again = server.post(&format!("{report}/undo"), &undo).json();
    assert_eq!(
        (&again["changed_count"], &again["already_count"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(again["undo_metadata"], Value::Null);
    let missing = server.post(&format!("{report}/undo"), &json!({ "undone_by": "ben" }));
    assert_eq!(
        (missing.status, &missing.json()["errors"][0]["pointer"]),
        (400, &json!("/reason"))
    );
    assert_eq!(
        server
            .post(&b("/acknowledgements/bulk/gordbulkack-none/undo"), &undo)
            .status,
        404
    );
    assert_eq!(
        server
            .post(&b("/acknowledgements/gordack-none/undo"), &undo)
            .status,
        404
    );
    // The whole story is in the history, and in the package.
    let found = server.get(&b("?acknowledgement_state=undone"));
    assert_eq!(found["total"], 3, "two undos and the undo of the bulk");
    let package = server.post(
        &b("/acknowledgements/audit-package"),
        &json!({ "schedule_id": "fraud-scoring-monthly", "state": "outstanding" }),
    );
    for route in package.json()["audit_package"]["routes"].as_array().unwrap() {
        let history = route["acknowledgements"].as_array().unwrap();
        let last: Vec<&Value> = history.iter().rev().take(2).collect();
        assert_eq!(
            (&last[0]["acknowledgement_state"], &last[0]["effect"]),
            (&json!("undone"), &json!("undo"))
        );
        assert_eq!(last[0]["undoes"], last[1]["acknowledgement_id"]);
        assert_eq!(last[0]["notes"], "the wrong drill");
    }
}

#[test]
fn a_client_that_has_the_answer_is_told_so_until_something_changes() {
    let server = Server::start();
    let bulk = server
        .post(&b("/acknowledgements/bulk"), &bulk_body("escalated"))
        .json();
    let report = b(&format!(
        "/acknowledgements/bulk/{}",
        bulk["bulk_id"].as_str().unwrap()
    ));
    for (target, state) in [
        (b("/dashboard"), "dismissed"),
        (b("/routes?limit=500"), "acknowledged"),
        (b("?limit=50"), "escalated"),
        (report.clone(), ""),
    ] {
        let first = server.send(&Request::get(&target));
        let tag = first
            .header("etag")
            .unwrap_or_else(|| panic!("{target} has no tag"));
        assert!(tag.starts_with("W/\""), "{tag}");
        let has = Request::get(&target).header("if-none-match", &format!("\"other\", {tag}"));
        server.forward_micros(700_000);
        let same = server.send(&has);
        assert_eq!(
            (same.status, same.body.len()),
            (304, 0),
            "{target}: only ages have changed"
        );
        assert_eq!(same.header("etag").as_deref(), Some(tag.as_str()));
        assert_eq!(
            server
                .send(&Request::get(&target).header("if-none-match", "\"other\""))
                .status,
            200
        );
        // Something happens.
        let undo = json!({ "reason": "to see it", "undone_by": "ben" });
        if target == report {
            server.post(&format!("{report}/undo"), &undo);
        } else {
            let one =
                json!({ "provider": "slack", "acknowledged_by": "ana", "acknowledgement_state": state });
            assert_eq!(
                server
                    .post(&b("/search-index-weekly/acknowledgements"), &one)
                    .status,
                200
            );
        }
        let after = server.send(&has);
        assert_eq!(after.status, 200, "{target}");
        assert_ne!(after.header("etag"), Some(tag), "{target}");
    }
}

#[test]
fn a_breach_by_the_passing_of_time_alone_is_seen_by_who_polls() {
    let server = Server::start();
    let open = server.get(&b("/routes?state=outstanding&breached=false&limit=500"));
    let rows = open["items"].as_array().unwrap();
    let deadline = rows
        .iter()
        .map(|row| row["deadline_at"].as_str().unwrap())
        .min()
        .expect("some are in time");
    for target in [b("/routes?state=outstanding&limit=500"), b("/dashboard")] {
        let first = server.send(&Request::get(&target));
        let has = Request::get(&target).header("if-none-match", &first.header("etag").unwrap());
        server.set_clock(deadline, -1);
        assert_eq!(server.send(&has).status, 304, "{target}");
        server.set_clock(deadline, 0);
        assert_eq!(server.send(&has).status, 200, "{target}");
        server.set_clock(crate::server::NOW, 0);
    }
}

#[test]
fn pages_by_cursor_neither_repeat_nor_miss_anything_while_records_arrive() {
    let server = Server::start();
    for (list, key) in [
        ("/routes?cycle=all&limit=20", "route_id"),
        ("?limit=20", "session_id"),
    ] {
        let known: Vec<String> = {
            let whole = server.get(&b(&list.replace("limit=20", "limit=500")));
            let items = whole["items"].as_array().unwrap().iter();
            items.map(|item| item[key].as_str().unwrap().to_owned()).collect()
        };
        let mut seen = Vec::new();
        let mut target = b(list);
        for number in 0.. {
            let page = server.get(&target);
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item[key].as_str().unwrap().to_owned()));
            let state = ["acknowledged", "escalated", "dismissed"][number % 3];
            let one =
                json!({ "provider": "slack", "acknowledged_by": "ana", "acknowledgement_state": state });
            server
                .post(&b("/search-index-weekly/acknowledgements"), &one)
                .ok();
            let schedule = std::fs::read(fixture("schedules/search-index-weekly.json")).unwrap();
            let mut schedule: Value = serde_json::from_slice(&schedule).unwrap();
            schedule["schedule_id"] = json!(format!("new-{}-{number}", key));
            server
                .post(&b("/deliver"), &json!({ "schedule": schedule, "force": true }))
                .ok();
            match page["next_cursor"].as_str() {
                Some(cursor) => target = b(&format!("{list}&cursor={cursor}")),
                None => break,
            }
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "{list}: nothing twice");
        let missed: Vec<&String> = known.iter().filter(|id| !seen.contains(id)).collect();
        assert!(missed.is_empty(), "{list}: {missed:?}");
    }
}

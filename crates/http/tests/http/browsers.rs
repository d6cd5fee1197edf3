//! What browsers need and what protects them (contract sandbox-ui 1.3, identity 13, 73).

use serde_json::json;

use crate::client::{Answer, Request};
use crate::server::{ORIGIN, Server, b};

fn preflight(server: &Server, origin: &str, method: &str, headers: &str) -> Answer {
    server.send(
        &Request::new("OPTIONS", &b("/acknowledgements/bulk"))
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", headers),
    )
}

/// A list in a header, in lower case.
fn list(answer: &Answer, header: &str) -> Vec<String> {
    let value = answer.header(header).unwrap_or_default().to_lowercase();
    value.split(',').map(|part| part.trim().to_owned()).collect()
}

#[track_caller]
fn holds(answer: &Answer, header: &str, wanted: &[&str]) {
    let list = list(answer, header);
    for value in wanted {
        assert!(list.contains(&(*value).to_owned()), "{header}: {list:?}");
    }
}

#[test]
fn a_listed_origin_may_post_with_a_token_and_json() {
    let server = Server::start();
    for headers in [
        "authorization,content-type",
        "content-type",
        "Authorization, Content-Type",
    ] {
        let answer = preflight(&server, ORIGIN, "POST", headers);
        assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
        assert!(answer.body.is_empty());
        assert_eq!(
            answer.header("access-control-allow-origin").as_deref(),
            Some(ORIGIN)
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        holds(
            &answer,
            "access-control-allow-methods",
            &["get", "post", "options"],
        );
        holds(
            &answer,
            "access-control-allow-headers",
            &["authorization", "content-type"],
        );
        holds(&answer, "vary", &["origin"]);
    }
    let answer = preflight(&server, ORIGIN, "GET", "authorization");
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
}

#[test]
fn an_unlisted_origin_may_do_nothing() {
    let server = Server::start();
    for origin in [
        "https://evil.test",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:51730",
        "https://127.0.0.1:5173",
        "http://localhost:5173",
        "http://127.0.0.1:5173.evil.test",
    ] {
        let answer = preflight(&server, origin, "POST", "authorization,content-type");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let answer = server.send(&Request::get(&b("/dashboard")).header("origin", origin));
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        holds(&answer, "vary", &["origin"]);
    }
}

#[test]
fn a_method_or_header_that_is_not_served_fails_the_preflight() {
    let server = Server::start();
    for (method, headers) in [("DELETE", "content-type"), ("POST", "x-actor")] {
        let answer = preflight(&server, ORIGIN, method, headers);
        let allowed = list(&answer, "access-control-allow-methods").contains(&method.to_lowercase())
            && list(&answer, "access-control-allow-headers").contains(&headers.to_owned());
        assert!(
            !allowed || answer.header("access-control-allow-origin").is_none(),
            "{method} {headers}"
        );
    }
}

#[test]
fn answers_to_a_listed_origin_can_be_read_and_so_can_errors() {
    let server = Server::start();
    let post = |path: &str, body: &str| Request::post(&b(path), body);
    for (request, status) in [
        (Request::get(&b("/dashboard")), 200),
        (Request::get("/console/config"), 200),
        (Request::get(&b("/routes?limit=0")), 400),
        (Request::get("/nowhere"), 404),
        (Request::new("PUT", "/health"), 405),
        (post("/acknowledgements/bulk", "{"), 422),
        (Request::new("POST", &b("/acknowledgements/bulk")).body("{}"), 415),
        (
            post(
                "/no-such-schedule/acknowledgements",
                r#"{"provider":"slack","acknowledged_by":"ana"}"#,
            ),
            404,
        ),
        (post("/acknowledgements/bulk", r#"{"actor_claims":{}}"#), 400),
        (Request::get("/health").host("evil.test"), 421),
    ] {
        let answer = server.send(&request.header("origin", ORIGIN));
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(
            answer.header("access-control-allow-origin").as_deref(),
            Some(ORIGIN),
            "{status}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        holds(&answer, "access-control-expose-headers", &["x-request-id"]);
        holds(&answer, "vary", &["origin"]);
    }
}

#[test]
fn a_page_elsewhere_cannot_post_without_a_preflight() {
    let server = Server::start();
    let before = server.written();
    let body = json!({ "filter": { "action": "deliver" }, "acknowledged_by": "eve" }).to_string();
    // What a form or a simple fetch can send.
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let request = Request::new("POST", &b("/acknowledgements/bulk"))
            .header("origin", "https://evil.test")
            .header("content-type", media)
            .body(body.as_str());
        assert_eq!(server.send(&request).status, 415);
    }
    assert_eq!(server.written(), before);
}

#[test]
fn every_answer_forbids_guessing_framing_and_caching() {
    let server = Server::start();
    for request in [
        Request::get("/health"),
        Request::get(&b("/dashboard")),
        Request::get("/metrics"),
        Request::get("/openapi.json"),
        Request::get("/nowhere"),
        Request::get(&b(
            "/acknowledgements/audit-packages/gordackaudit-2f759d2f334d6962",
        )),
        Request::new("PUT", "/health"),
        Request::post(&b("/acknowledgements/bulk"), "{"),
        Request::get("/health").host("evil.test"),
    ] {
        let answer = server.send(&request);
        let header = |name: &str| answer.header(name).unwrap_or_default();
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        assert!(header("content-security-policy").contains("default-src 'none'"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!header("x-request-id").is_empty());
        assert_eq!(answer.header("server"), None);
    }
}

#[test]
fn a_compressed_answer_is_the_same_answer() {
    let server = Server::start();
    let plain = server.send(&Request::get("/openapi.json"));
    let zipped = server.send(&Request::get("/openapi.json").header("accept-encoding", "gzip"));
    assert_eq!(zipped.header("content-encoding").as_deref(), Some("gzip"));
    assert!(zipped.body.len() * 4 < plain.body.len());
    holds(&zipped, "vary", &["accept-encoding"]);
    assert_eq!(plain.header("content-encoding"), None);
}

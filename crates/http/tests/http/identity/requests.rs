//! Rows about how a request carries its identity, and about open local mode.

use std::net::SocketAddr;

use cavra_http::ServeError;
use cavra_rbac::Access;
use serde_json::json;

use super::site::{Site, ack, ack_with};
use crate::client::Request;
use crate::server::{ORIGIN, Server, b};

#[test]
fn row_09_no_token_gets_a_bare_challenge() {
    let site = Site::start();
    let answer = site.refused(&ack(), 401);
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
    assert_eq!(answer.json()["code"], "token_required");
}

#[test]
fn row_10_no_token_in_open_local_mode_is_recorded_as_unverified() {
    let server = Server::start();
    let answer = server.send(&ack_with(&json!({ "acknowledged_by": "ana" }))).ok();
    let actor = &answer["actor"];
    assert_eq!(
        (&actor["issuer"], &actor["subject"], &actor["verified"]),
        (&json!("local"), &json!("ana"), &json!(false))
    );
}

#[test]
fn row_11_nothing_configured_is_open_on_this_machine_only() {
    // Decisions 10 in place of an opt-in flag: the address is what limits it.
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let address: SocketAddr = address.parse().unwrap();
        // A machine may have no IPv6; then the address is refused for that reason.
        if let Err(error) = cavra_http::bind(address, &Access::OpenLocal) {
            assert!(matches!(error, ServeError::Listen { .. }), "{error}");
        }
    }
}

#[test]
fn row_12_open_local_mode_does_not_start_on_an_address_that_others_reach() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = cavra_http::bind(address.parse().unwrap(), &Access::OpenLocal).unwrap_err();
        assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");
    }
}

#[test]
fn row_13_another_host_name_is_not_served() {
    let server = Server::start();
    let position = server.position();
    let answer = server.send(&ack_with(&json!({ "acknowledged_by": "ana" })).host("evil.test"));
    assert_eq!((answer.status, server.position()), (421, position));
    let site = Site::start();
    site.refused(&ack().host("evil.test").bearer(&site.operator()), 421);
}

#[test]
fn row_14_another_scheme_proves_nobody() {
    let site = Site::start();
    for value in [
        "Basic b3BlcmF0b3I6eA==",
        "Digest x",
        "Token abc",
        "BearerX abc",
        "DPoP abc",
    ] {
        let answer = site.refused(&ack().header("authorization", value), 401);
        assert_eq!(
            answer.header("www-authenticate").as_deref(),
            Some("Bearer"),
            "{value}"
        );
    }
}

#[test]
fn row_15_a_scheme_without_a_token_and_two_tokens() {
    let site = Site::start();
    for value in ["Bearer", "Bearer ", "Bearer    ", "bearer"] {
        site.refused(&ack().header("authorization", value), 401);
    }
    let token = site.operator();
    for value in [
        format!("Bearer {token} {token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token},{token}"),
    ] {
        let answer = site.refused(&ack().header("authorization", &value), 400);
        assert_eq!(answer.json()["code"], "invalid_request");
        assert_eq!(
            answer.header("www-authenticate").as_deref(),
            Some("Bearer error=\"invalid_request\"")
        );
    }
    let twice = ack().bearer(&token).bearer(&token);
    assert_eq!(site.refused(&twice, 400).json()["code"], "invalid_request");
}

#[test]
fn row_17_claims_in_the_body_without_a_token() {
    let claims = json!({ "actor_claims": { "sub": "root", "groups": ["release-operators"] } });
    // Authentication comes first where there is any; the body is not read.
    Site::start().refused(&ack_with(&claims), 401);
    let server = Server::start();
    let position = server.position();
    let answer = server.send(&ack_with(&claims));
    assert_eq!((answer.status, server.position()), (400, position));
    assert_eq!(answer.json()["code"], "actor_in_body");
}

#[test]
fn row_18_claims_in_the_body_next_to_a_token() {
    let site = Site::start();
    let request = ack_with(&json!({ "actor_claims": { "sub": "root" } })).bearer(&site.operator());
    assert_eq!(site.refused(&request, 400).json()["code"], "actor_in_body");
}

#[test]
fn row_19_empty_claims_in_the_body() {
    let site = Site::start();
    let request = ack_with(&json!({ "actor_claims": {} })).bearer(&site.operator());
    assert_eq!(site.refused(&request, 400).json()["code"], "actor_in_body");
}

#[test]
fn row_20_a_valid_token_in_the_body() {
    let site = Site::start();
    let body = json!({ "actor_token": site.operator() });
    site.refused(&ack_with(&body), 401);
    let answer = site.refused(&ack_with(&body).bearer(&site.operator()), 400);
    assert_eq!(answer.json()["code"], "actor_in_body");
    assert!(!answer.text().contains(&site.operator()[..40]));
}

#[test]
fn row_21_two_tokens_of_different_people() {
    let site = Site::start();
    let request = ack_with(&json!({ "actor_token": site.board() })).bearer(&site.operator());
    assert_eq!(site.refused(&request, 400).json()["code"], "actor_in_body");
}

#[test]
fn row_22_a_token_in_the_address_is_not_looked_at() {
    let site = Site::start();
    let path = b(&format!(
        "/fraud-scoring-monthly/acknowledgements?access_token={}",
        site.operator()
    ));
    let request = Request::post(&path, r#"{"provider":"email"}"#);
    let answer = site.refused(&request, 401);
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
    assert_eq!(
        site.refused(&request.bearer(&site.operator()), 400).json()["code"],
        "invalid_request"
    );
}

#[test]
fn row_23_headers_of_proxies_prove_nobody() {
    let site = Site::start();
    for name in [
        "x-forwarded-user",
        "x-actor",
        "x-remote-user",
        "x-auth-request-email",
        "x-forwarded-access-token",
    ] {
        site.refused(&ack().header(name, &site.operator()), 401);
        site.refused(&ack().header(name, "operator"), 401);
    }
}

#[test]
fn row_72_a_write_that_another_site_can_make_a_browser_send() {
    let site = Site::start();
    let body = r#"{"provider":"email"}"#;
    let request = |token: Option<String>| {
        let request = Request::new("POST", &b("/fraud-scoring-monthly/acknowledgements"))
            .header("content-type", "text/plain")
            .header("origin", "https://evil.test")
            .header("sec-fetch-site", "cross-site")
            .body(body);
        token.map_or_else(|| request.clone(), |token| request.clone().bearer(&token))
    };
    site.refused(&request(Some(site.operator())), 415);
    site.refused(&request(None), 401);
}

#[test]
fn row_73_preflights_of_unlisted_and_listed_origins() {
    let site = Site::start();
    let preflight = |origin: &str| {
        site.send(
            &Request::new("OPTIONS", &b("/acknowledgements/bulk"))
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,content-type"),
        )
    };
    let listed = preflight(ORIGIN);
    assert_eq!(
        listed.header("access-control-allow-origin").as_deref(),
        Some(ORIGIN)
    );
    assert!(
        listed
            .header("vary")
            .unwrap_or_default()
            .to_lowercase()
            .contains("origin")
    );
    assert_eq!(listed.header("access-control-allow-credentials"), None);
    assert_eq!(
        preflight("https://evil.test").header("access-control-allow-origin"),
        None
    );
}

#[test]
fn row_74_many_bad_tokens_from_one_address_and_a_valid_one_all_the_same() {
    let site = Site::with(&json!({ "bad_tokens_per_minute": 30 }), false);
    let statuses: Vec<u16> = (0..50)
        .map(|index| {
            let answer = site.send(&ack().bearer(&format!("bad.token.{index}")));
            if answer.status == 429 {
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=61).contains(&wait), "{wait}");
                assert_eq!(answer.json()["code"], "too_many_requests");
            }
            answer.status
        })
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 30);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 20);
    // From the very same address, and somebody without any token is not told to wait either.
    site.taken(&ack().bearer(&site.operator()));
    site.refused(&ack(), 401);
}

#[test]
fn bad_tokens_are_also_counted_by_the_subject_that_they_claim() {
    use cavra_rbac::{Access, Reason, Refusal};
    let clock = super::site::TestClock::new();
    let keys = super::signing::jwks(&[&super::signing::Signer::es256("e", 1)]);
    let oidc = json!({
        "issuer": super::site::ISSUER, "audience": "a", "jwks": keys, "bad_tokens_per_minute": 5,
    });
    let access = super::site::guard(
        &oidc,
        &super::site::rights(),
        false,
        std::sync::Arc::clone(&clock) as _,
    );
    let Access::Identity(guard) = access else {
        panic!("identity is configured");
    };
    let refusal = |subject: &str| Refusal {
        subject_hash: Some(subject.to_owned()),
        ..Refusal::bare(Reason::Signature)
    };
    let from = |last: u8| Some(std::net::IpAddr::from([192, 0, 2, last]));
    for address in 0..5 {
        assert_eq!(guard.count_bad_token(from(address), &refusal("ana")), None);
    }
    let wait = guard
        .count_bad_token(from(100), &refusal("ana"))
        .expect("too many for this subject");
    assert_eq!(guard.count_bad_token(from(101), &refusal("ben")), None);
    clock.forward(i64::try_from(wait).unwrap());
    assert_eq!(guard.count_bad_token(from(102), &refusal("ana")), None);
}

#[test]
fn row_76_the_session_without_with_and_with_a_bad_token() {
    let site = Site::start();
    let session = |token: Option<&str>| {
        let request = Request::get("/console/session");
        site.send(&token.map_or_else(|| request.clone(), |token| request.clone().bearer(token)))
    };
    let none = session(None);
    assert_eq!(none.header("cache-control").as_deref(), Some("no-store"));
    let none = none.ok();
    assert_eq!(
        (
            &none["mode"],
            &none["authenticated"],
            &none["auth_required"],
            &none["actor"]
        ),
        (&json!("auth_required"), &json!(false), &json!(true), &json!(null))
    );
    assert!(
        none["permissions"]
            .as_object()
            .unwrap()
            .values()
            .all(|value| *value == json!(false))
    );
    let valid = session(Some(&site.operator()));
    assert_eq!(valid.header("cache-control").as_deref(), Some("no-store"));
    let valid = valid.ok();
    assert_eq!(
        (&valid["mode"], &valid["authenticated"]),
        (&json!("authenticated"), &json!(true))
    );
    assert_eq!(valid["actor"]["subject"], "operator");
    assert_eq!(valid["permissions"]["drill.ack"], true);
    assert_eq!(valid["permissions"]["drill.ack.bulk"], false);
    assert_eq!(valid.get("csrf_token"), None);
    let bad = session(Some("bad.token.x"));
    assert_eq!(bad.status, 401);
    assert_eq!(bad.header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(
        bad.header("www-authenticate").as_deref(),
        Some("Bearer error=\"invalid_token\"")
    );
}

#[test]
fn row_77_the_session_of_nobody_says_no_and_so_does_the_route() {
    let site = Site::start();
    let session = site
        .send(&Request::get("/console/session").bearer(&site.nobody()))
        .ok();
    assert_eq!(session["authenticated"], true);
    assert_eq!(session["permissions"]["acknowledge_drill_notifications"], false);
    site.refused(&ack().bearer(&site.nobody()), 403);
}

#[test]
fn what_is_not_there_is_not_told_to_whoever_proves_nothing() {
    let site = Site::start();
    for request in [
        Request::get("/nowhere"),
        Request::new("PUT", &b("/dashboard")),
        Request::new("DELETE", &b("/acknowledgements/bulk")),
        Request::post(&b("/acknowledgements/bulk"), "{"),
        Request::new("POST", &b("/acknowledgements/bulk")),
        Request::get(&b("/routes?limit=0&nonsense=1")),
    ] {
        site.refused(&request, 401);
    }
    for (request, status) in [
        (Request::get("/nowhere"), 404),
        (Request::new("PUT", &b("/dashboard")), 405),
        (Request::get(&b("/routes?limit=0")), 400),
    ] {
        site.refused(&request.bearer(&site.operator()), status);
    }
    // Open paths are open, and a wrong method on them is told.
    assert_eq!(site.send(&Request::new("PUT", "/health")).status, 405);
}

#[test]
fn the_console_says_how_identity_is_configured_and_no_more() {
    let site = Site::start();
    let config = site.send(&Request::get("/console/config")).ok();
    assert_eq!(
        (
            &config["approval_oidc"],
            &config["approval_rbac"],
            &config["sign_in"]
        ),
        (&json!("configured"), &json!("configured"), &json!("disabled"))
    );
    let boundary = site.send(&Request::get("/console/security-boundary")).ok();
    assert_eq!(boundary["mode"], "oidc_rbac_ready");
    assert_eq!(
        boundary["oidc"]["supported_algorithms"],
        json!(["RS256", "ES256", "EdDSA"])
    );
    assert!(
        !boundary.to_string().contains(super::site::AUDIENCE),
        "{boundary}"
    );
    let open = Server::start().get("/console/security-boundary");
    assert_eq!(
        (&open["mode"], &open["oidc"]["configured"]),
        (&json!("local_or_demo"), &json!(false))
    );
    for path in [
        "/console/sign-in",
        "/console/callback?code=a&state=b&session_state=c",
    ] {
        assert_eq!(
            site.send(&Request::get(path)).json()["code"],
            "sign_in_not_configured",
            "{path}"
        );
    }
}

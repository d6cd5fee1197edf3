//! A server with identity configured, and the keys of its provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cavra_domain::time::{Clock, Timestamp};
use cavra_http::Limits;
use cavra_rbac::{Access, Guard};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::signing::{Signer, jwks};
use crate::client::{Answer, Request};
use crate::server::{NOW, Server, b};

pub(crate) const ISSUER: &str = "https://idp.example.test";
pub(crate) const AUDIENCE: &str = "https://drills.example.test/api";

/// A clock that a test sets forward.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Timestamp::parse(NOW).unwrap().micros())))
    }

    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// The seconds of the test's beginning.
pub(crate) fn now() -> i64 {
    Timestamp::parse(NOW).unwrap().micros() / 1_000_000
}

/// Writes both files and reads them as the program does.
pub(crate) fn guard(oidc: &Value, rbac: &Value, anonymous_read: bool, clock: Arc<dyn Clock>) -> Access {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let (oidc_path, rbac_path) = (folder.path().join("oidc.json"), folder.path().join("rbac.json"));
    std::fs::write(&oidc_path, oidc.to_string()).unwrap();
    std::fs::write(&rbac_path, rbac.to_string()).unwrap();
    Access::Identity(Arc::new(
        Guard::load(&oidc_path, Some(&rbac_path), anonymous_read, clock).expect("the files are right"),
    ))
}

/// The rights of contract identity 7.
pub(crate) fn rights() -> Value {
    json!({
        "group_mappings": {
            "release-operators": "operator", "change-advisory-board": "board", "auditors": "auditor",
            "owners": "platform-owner", "managers": "release-manager", "commanders": "incident-commander",
        },
        "roles": {
            "operator": ["drill.ack", "evidence.read"],
            "board": ["drill.ack.bulk", "evidence.read"],
        },
    })
}

pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) rs: Signer,
    pub(crate) es: Signer,
    pub(crate) ed: Signer,
}

impl Site {
    /// Keys out of the configuration, as published files have them.
    pub(crate) fn start() -> Self {
        Self::with(&json!({}), false)
    }

    /// With more in the OIDC file.
    pub(crate) fn with(more: &Value, anonymous_read: bool) -> Self {
        let (rs, es, ed) = (
            Signer::rs256("rs-1", 0),
            Signer::es256("es-1", 1),
            Signer::eddsa("ed-1", 1),
        );
        let mut oidc = json!({
            "issuer": ISSUER, "audience": AUDIENCE, "leeway_seconds": 30, "jwks": jwks(&[&rs, &es, &ed]),
            "algorithms": ["RS256", "ES256", "EdDSA"], "bad_tokens_per_minute": 100_000,
        });
        oidc.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let clock = TestClock::new();
        let access = guard(&oidc, &rights(), anonymous_read, Arc::clone(&clock) as _);
        Self {
            server: Server::with_access(Limits::default(), clock, access),
            rs,
            es,
            ed,
        }
    }

    pub(crate) fn operator(&self) -> String {
        self.es.sign(&claims("operator", &["release-operators"]))
    }

    pub(crate) fn board(&self) -> String {
        self.es.sign(&claims("cab", &["change-advisory-board"]))
    }

    pub(crate) fn auditor(&self) -> String {
        self.es.sign(&claims("auditor", &["auditors"]))
    }

    pub(crate) fn nobody(&self) -> String {
        self.es.sign(&claims("nobody", &[]))
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.server.send(request)
    }

    /// Whatever the request, it wrote nothing.
    #[track_caller]
    pub(crate) fn refused(&self, request: &Request, status: u16) -> Answer {
        let before = self.server.position();
        let answer = self.send(request);
        assert_eq!(answer.status, status, "{request:?} {}", answer.text());
        assert_eq!(self.server.position(), before, "something was written");
        answer
    }

    /// "401 it": the answer to every bad token, the same for all of them.
    #[track_caller]
    pub(crate) fn invalid(&self, token: &str) {
        let answer = self.refused(&ack().bearer(token), 401);
        assert_eq!(
            answer.header("www-authenticate").as_deref(),
            Some("Bearer error=\"invalid_token\"")
        );
        let body = answer.json();
        assert_eq!(body["code"], "invalid_token");
        assert_eq!(body["detail"], "the token is not valid");
        assert!(!answer.text().contains(token.get(..20).unwrap_or("no such text")));
    }

    /// The acknowledgement is taken; gives the recorded actor.
    #[track_caller]
    pub(crate) fn taken(&self, request: &Request) -> Value {
        let before = self.server.position();
        let answer = self.send(request).ok();
        assert!(self.server.position() > before, "nothing was written");
        answer["actor"].clone()
    }
}

/// The claims of an access token as RFC 9068 has them.
pub(crate) fn claims(subject: &str, groups: &[&str]) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "client_id": "cli", "jti": "j-1",
        "iat": now() - 10, "exp": now() + 290, "groups": groups, "email": format!("{subject}@example.test"),
    })
}

/// An acknowledgement without a name in it.
pub(crate) fn ack() -> Request {
    ack_with(&json!({}))
}

pub(crate) fn ack_with(more: &Value) -> Request {
    let mut body = json!({ "provider": "email" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Request::post(&b("/fraud-scoring-monthly/acknowledgements"), body.to_string())
}

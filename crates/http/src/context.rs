//! What goes with a request beside its body: an idempotency key, and what the caller prefers.
//!
//! The middleware sets it for every operation of the table that takes a body; the extractors add what they read; and
//! [`crate::handlers::run`] hands it to the use case. No handler has to know of it, so none can forget it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpRequest};
use cavra_app::once::{KeyedRequest, RequestDigest};
use cavra_domain::time::Timestamp;
use cavra_rbac::Caller;
use serde_json::json;

use crate::error::{Code, Problem};

/// The header that carries a request's key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that says until when it is kept.
pub(crate) const KEY_EXPIRES: HeaderName = HeaderName::from_static("idempotency-key-expires");

/// The header of an answer that was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What the caller prefers (RFC 7240).
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Which preference was followed.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Longest key, in characters.
const KEY_CHARS: usize = 255;

tokio::task_local! {
    /// The request that this task answers.
    pub(crate) static REQUEST: Arc<RequestContext>;
}

/// What goes with one request.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// Who, for what, under which key; none when there is no key.
    named: Option<(String, &'static str, String)>,
    /// What is asked, as far as it is read; taken when the use case begins.
    asked: Mutex<Option<RequestDigest>>,
    keyed: OnceLock<Arc<KeyedRequest>>,
    pub(crate) minimal: bool,
}

impl RequestContext {
    /// Reads the headers of a request for an operation that takes a body.
    pub(crate) fn of(
        request: &ServiceRequest,
        caller: &Caller,
        operation: &'static str,
    ) -> Result<Arc<Self>, Problem> {
        let minimal = minimal(request.headers());
        let key = key(request.headers())?;
        let asked = key.as_ref().map(|_| {
            // The path names what is acknowledged or undone, and the answer depends on the preference.
            let mut asked = RequestDigest::default();
            asked.part(request.path().as_bytes());
            asked.part(request.query_string().as_bytes());
            asked.part(&[u8::from(minimal)]);
            asked
        });
        Ok(Arc::new(Self {
            named: key.map(|key| (scope(caller), operation, key)),
            asked: Mutex::new(asked),
            keyed: OnceLock::new(),
            minimal,
        }))
    }

    /// The request as the use case needs it; none without a key.
    pub(crate) fn keyed(&self) -> Option<Arc<KeyedRequest>> {
        let (caller, operation, key) = self.named.as_ref()?;
        let keyed = self.keyed.get_or_init(|| {
            let asked = self
                .asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .unwrap_or_default();
            Arc::new(KeyedRequest::new(caller.clone(), operation, key.clone(), asked))
        });
        Some(Arc::clone(keyed))
    }

    /// Until when the answer is kept, if it is.
    pub(crate) fn kept_until(&self) -> Option<Timestamp> {
        self.keyed.get()?.kept_until()
    }
}

/// Whose keys they are: nobody uses up, or learns of, another's.
fn scope(caller: &Caller) -> String {
    match caller {
        Caller::Local => "local".to_owned(),
        Caller::Anonymous => "anonymous".to_owned(),
        Caller::Verified(verified) => {
            let identity = verified.identity();
            json!([identity.issuer().as_str(), identity.subject().as_str()]).to_string()
        }
    }
}

/// Adds a piece of the body to what is asked.
pub(crate) fn body(piece: &[u8]) {
    // Outside a request with a body nothing is asked.
    let _ = REQUEST.try_with(|request| {
        if let Some(asked) = request
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            asked.piece(piece);
        }
    });
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(&IDEMPOTENCY_KEY);
    let (key, more) = (given.next(), given.next());
    let Some(key) = key else { return Ok(None) };
    key.to_str()
        .ok()
        .filter(|key| {
            more.is_none()
                && (1..=KEY_CHARS).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            let detail = format!("must be one key of 1 to {KEY_CHARS} visible ASCII characters");
            Problem::at(Code::InvalidValue, "Idempotency-Key", detail)
        })
}

/// Whether the short form of the answer is preferred. What else is preferred is not known here, and ignored, as RFC
/// 7240 has it.
fn minimal(headers: &HeaderMap) -> bool {
    headers
        .get_all(&PREFER)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("return")
                .then(|| value.trim().trim_matches('"').to_owned())
        })
        .is_some_and(|value| value.eq_ignore_ascii_case("minimal"))
}

/// Whether the caller prefers the short form of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minimal(pub(crate) bool);

impl FromRequest for Minimal {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        std::future::ready(Ok(Self(minimal(request.headers()))))
    }
}

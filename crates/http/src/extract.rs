//! Reading requests: bodies and queries, strictly.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use cavra_domain::public_safe::{Field, Text};
use cavra_rbac::Caller;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::error::{Code, FieldError, Problem};

/// What requests may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest JSON body, in bytes.
    pub body_bytes: usize,
    /// Largest import, in bytes.
    pub import_bytes: u64,
    /// How long the pieces of a body may be apart.
    pub body_pause: Duration,
    /// How much of an import stays in memory before a temporary file takes over; `usize::MAX` never writes one.
    pub spool_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            import_bytes: 256 << 20,
            body_pause: Duration::from_secs(15),
            spool_bytes: 4 << 20,
        }
    }
}

/// Longest key that a problem repeats.
const SHOWN_KEY: Field = Field::line("key", 60);

/// The limits that the server was set up with.
pub(crate) fn limits(request: &HttpRequest) -> Limits {
    request.app_data::<Limits>().copied().unwrap_or_default()
}

/// The media type of a request's body, without parameters, in lower case.
pub(crate) fn media_type(request: &HttpRequest) -> String {
    let value = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The next piece of a body.
pub(crate) async fn next_piece(payload: &mut Payload, limits: &Limits) -> Result<Option<Bytes>, Problem> {
    match tokio::time::timeout(limits.body_pause, payload.next()).await {
        Err(_) => Err(Problem::new(Code::RequestTimeout, "the body stopped arriving")),
        Ok(None) => Ok(None),
        Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
        Ok(Some(Err(actix_web::error::PayloadError::Overflow))) => Err(too_large(limits.body_bytes)),
        Ok(Some(Err(_))) => Err(Problem::new(Code::MalformedBody, "the body is cut")),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::PayloadTooLarge,
        format!("the body is larger than {limit} bytes"),
    )
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (media_type, limits) = (media_type(request), limits(request));
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let mut payload = payload.take();
        Box::pin(async move {
            if media_type != "application/json" {
                return Err(
                    Problem::new(Code::UnsupportedMediaType, "the body must be application/json").into(),
                );
            }
            if announced.is_some_and(|length| length > limits.body_bytes) {
                return Err(too_large(limits.body_bytes).into());
            }
            let mut body = Vec::new();
            while let Some(piece) = next_piece(&mut payload, &limits).await? {
                if body.len() + piece.len() > limits.body_bytes {
                    return Err(too_large(limits.body_bytes).into());
                }
                body.extend_from_slice(&piece);
            }
            crate::context::body(&body);
            Ok(Self(decode(&body)?))
        })
    }
}

/// Reads a JSON object strictly into a request body.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(
            Code::MalformedBody,
            "the body is empty; a JSON object is expected",
        ));
    }
    let value = cavra_app::strict_json(body).map_err(|error| Problem::new(Code::MalformedBody, error))?;
    let Value::Object(members) = &value else {
        return Err(Problem::new(Code::MalformedBody, "the body is not a JSON object"));
    };
    for key in ["actor_claims", "actor_token"] {
        if members.contains_key(key) {
            let detail = "is refused: identity comes only from a verified bearer token";
            return Err(Problem::at(Code::ActorInBody, format!("/{key}"), detail));
        }
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        // The path ends with the key at fault, also when the key itself is.
        let pointer = pointer(error.path());
        let message = error.inner().to_string();
        if unknown_key(&message).is_some() {
            return Problem::at(
                Code::UnknownKey,
                pointer,
                "is not known; see /openapi.json for the keys of this body",
            );
        }
        // The message repeats what was sent; only what was expected is safe to say.
        let expected = message
            .rsplit_once("expected ")
            .map_or("of another type", |(_, expected)| expected);
        Problem::at(Code::MalformedBody, pointer, format!("must be {expected}"))
    })
}

fn unknown_key(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field `")?;
    rest.rsplit_once("`, expected")
        .or_else(|| rest.rsplit_once("`, there are no fields"))
        .map(|(key, _)| key)
}

/// A key as a problem may repeat it.
fn shown(key: &str) -> String {
    Text::parse(SHOWN_KEY, key).map_or_else(
        |_| "(a key that is not shown)".to_owned(),
        |key| key.as_str().replace('~', "~0").replace('/', "~1"),
    )
}

fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", shown(key)),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

/// A query string.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(query(request.query_string()).map(Self).map_err(Into::into))
    }
}

/// Reads a query string strictly: unknown and repeated parameters are refused by name.
fn query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let problem = |message: &str| {
        if let Some(key) = unknown_key(message) {
            return Problem::at(
                Code::UnknownKey,
                shown(key),
                "is not a parameter of this operation",
            );
        }
        if let Some(key) = message
            .strip_prefix("duplicate field `")
            .and_then(|rest| rest.strip_suffix('`'))
        {
            return Problem::at(Code::InvalidValue, shown(key), "is there more than once");
        }
        Problem::new(
            Code::InvalidValue,
            "a query parameter has a value of the wrong type or range",
        )
    };
    if !is_text(text) {
        return Err(Problem::new(Code::InvalidValue, "the query string is not UTF-8"));
    }
    // Pairs first, so that the parameter with the wrong value can be named.
    let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(text)
        .map_err(|_| Problem::new(Code::InvalidValue, "the query string cannot be read"))?;
    for (key, value) in pairs.iter() {
        if value.contains('\0') || value.chars().any(char::is_control) {
            return Err(Problem::at(
                Code::InvalidValue,
                shown(key),
                "holds a control character",
            ));
        }
    }
    actix_web::web::Query::<T>::from_query(text)
        .map(actix_web::web::Query::into_inner)
        .map_err(|error| problem(&query_message(&error)))
}

/// Whether a query's percent-encoded bytes are UTF-8; what is not would be read as another text.
fn is_text(query: &str) -> bool {
    let mut parts = query.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        // A sign without two digits behind it stands for itself.
        match part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => bytes.extend(part.bytes()),
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}

fn query_message(error: &actix_web::error::QueryPayloadError) -> String {
    match error {
        actix_web::error::QueryPayloadError::Deserialize(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The caller, whom the table's permission let in. `Caller::may` tells what else the caller may do.
#[derive(Debug, Clone)]
pub(crate) struct Permitted(pub(crate) Caller);

impl FromRequest for Permitted {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Set by the middleware for operations that name a permission, and only then.
        let caller = request.extensions().get::<Caller>().cloned();
        let missing = || Problem::new(Code::Internal, "the operation names no permission").into();
        std::future::ready(caller.map(Self).ok_or_else(missing))
    }
}

/// Gathers what is wrong with the values of a request, so that one answer names it all.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    invalid: Vec<FieldError>,
    missing: Vec<FieldError>,
    not_safe: Vec<FieldError>,
}

impl Checks {
    /// Notes a value that cannot be used.
    pub(crate) fn invalid(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.invalid.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    /// Notes a value that is missing.
    pub(crate) fn missing(&mut self, pointer: impl Into<String>) {
        self.missing.push(FieldError {
            pointer: pointer.into(),
            detail: "is missing".to_owned(),
        });
    }

    /// Takes a value that went through a public-safe check.
    pub(crate) fn safe<T>(
        &mut self,
        pointer: impl Into<String>,
        checked: Result<T, cavra_domain::public_safe::NotPublicSafe>,
    ) -> Option<T> {
        checked
            .map_err(|error| {
                let detail = match error.max_chars {
                    Some(max) => format!("is longer than {max} characters"),
                    None => error.kind.explanation().to_owned(),
                };
                self.not_safe.push(FieldError {
                    pointer: pointer.into(),
                    detail,
                });
            })
            .ok()
    }

    /// Takes a problem of one value.
    pub(crate) fn ok<T, E: Into<Problem>>(&mut self, prefix: &str, checked: Result<T, E>) -> Option<T> {
        checked
            .map_err(|error| {
                let problem: Problem = error.into();
                let list = match problem.code() {
                    Code::NotPublicSafe => &mut self.not_safe,
                    Code::MissingValue => &mut self.missing,
                    _ => &mut self.invalid,
                };
                list.extend(problem.into_errors().into_iter().map(|error| FieldError {
                    pointer: format!("{prefix}{}", error.pointer),
                    ..error
                }));
            })
            .ok()
    }

    /// Nothing wrong, or everything that is; what is not public-safe decides the status, then what is missing.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let code = if !self.not_safe.is_empty() {
            Code::NotPublicSafe
        } else if !self.missing.is_empty() {
            Code::MissingValue
        } else if !self.invalid.is_empty() {
            Code::InvalidValue
        } else {
            return Ok(());
        };
        let errors = self
            .not_safe
            .into_iter()
            .chain(self.missing)
            .chain(self.invalid)
            .collect();
        Err(Problem::of(code, errors))
    }
}

//! Problems: the only place that knows status codes (RFC 9457, contract decisions 12).

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use cavra_app::AppError;
use cavra_app::import::ImportReport;
use cavra_app::preview::SelectionDifference;
use cavra_domain::archive::ArchiveReferenceError;
use cavra_domain::bulk::{OutcomeCounts, RouteOutcome};
use cavra_domain::escalation::EscalationPolicyError;
use cavra_domain::public_safe::NotPublicSafe;
use cavra_domain::route::FilterError;
use cavra_domain::schedule::ScheduleError;
use schemars::JsonSchema;
use serde::Serialize;

/// How long a caller should wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: u64 = 2;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// What sort of problem: stable, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as a text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// A short sentence for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// Something that is needed is not there.
    MissingValue = "missing_value", 400, "A value is missing";
    /// A value cannot be used.
    InvalidValue = "invalid_value", 400, "A value cannot be used";
    /// A key or parameter that means nothing here.
    UnknownKey = "unknown_key", 400, "A key is not known";
    /// A body that claims an identity.
    ActorInBody = "actor_in_body", 400, "Identity never comes from a body";
    /// A token in several places, or several tokens in one.
    InvalidRequest = "invalid_request", 400, "The request carries its token in a way that is not understood";
    /// The operation needs a token.
    TokenRequired = "token_required", 401, "A bearer token is needed";
    /// The token proves nobody.
    InvalidToken = "invalid_token", 401, "The token is not valid";
    /// Proven, and without the right.
    InsufficientScope = "insufficient_scope", 403, "The caller may not do this";
    /// A write with a session's cookie that does not come from the console's own page.
    CrossSite = "cross_site", 403, "The request does not come from the console's own page";
    /// The sign-in did not work.
    SignInFailed = "sign_in_failed", 403, "The sign-in did not work";
    /// Nobody can sign in with a browser.
    NoSignIn = "sign_in_not_configured", 404, "Sign-in is not configured";
    /// No such path.
    NotFound = "not_found", 404, "There is nothing here";
    /// The request names something that does not exist.
    UnknownReference = "unknown_reference", 404, "The request names something that does not exist";
    /// The path is there, the method is not.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed here";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request took too long to arrive";
    /// The routes may not take this answer.
    RouteRefused = "route_refused", 409, "The route may not take this answer";
    /// A strict bulk was stopped.
    BulkBlocked = "bulk_blocked", 409, "Some selected routes cannot be changed";
    /// The selection is not what the preview showed.
    SelectionChanged = "selection_changed", 409, "The selection has changed since the preview";
    /// An undo is not undone.
    UndoIsFinal = "undo_is_final", 409, "An undo cannot be undone";
    /// Only a verified export can be archived.
    ExportNotVerified = "export_not_verified", 409, "The export is not verified";
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", 413, "The body is too large";
    /// More routes than one request may name or select.
    TooManyRoutes = "too_many_routes", 413, "Too many routes";
    /// The body's media type is not one that is read here.
    UnsupportedMediaType = "unsupported_media_type", 415, "The media type is not supported";
    /// The `Host` is not this service's.
    HostNotAllowed = "host_not_allowed", 421, "The host is not served here";
    /// The body is not the JSON that is expected.
    MalformedBody = "malformed_body", 422, "The body is not the expected JSON";
    /// A text holds what no document may hold.
    NotPublicSafe = "not_public_safe", 422, "A text is not public-safe";
    /// The idempotency key belongs to another request.
    KeyReused = "idempotency_key_reused", 422, "The idempotency key was used for another request";
    /// An import holds records that cannot be taken.
    ImportRefused = "import_refused", 422, "Records cannot be taken";
    /// Too many bad tokens from there.
    TooManyRequests = "too_many_requests", 429, "Too many requests with a bad token";
    /// The service failed.
    Internal = "internal", 500, "The service failed";
    /// The service cannot answer now.
    Unavailable = "unavailable", 503, "The service cannot answer now";
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or the name of a query parameter.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// Problem details (RFC 9457), with what this service adds.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "Problem")]
pub struct ProblemDocument {
    /// A URN that names the sort of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort of problem, for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This problem, for people.
    pub detail: String,
    /// The sort of problem, for programs.
    pub code: Code,
    /// The request, as the log names it.
    pub request_id: String,
    /// What is wrong, piece by piece.
    pub errors: Vec<FieldError>,
    /// What a stopped bulk would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<OutcomeCounts>,
    /// The routes that stopped a bulk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<RouteOutcome>>,
    /// What has changed since the preview that a bulk was bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Box<SelectionDifference>>,
    /// What a refused import found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<ImportReport>>,
}

/// A problem on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    more: Option<Box<More>>,
}

/// What only some problems carry.
#[derive(Debug, Clone)]
enum More {
    /// A stopped bulk: what would have happened, and the routes that stopped it.
    Bulk(OutcomeCounts, Vec<RouteOutcome>),
    /// What has changed since a preview.
    Difference(Box<SelectionDifference>),
    /// A refused import.
    Import(Box<ImportReport>),
    /// The methods that a path serves.
    Allow(String),
    /// Seconds until it makes sense to try again.
    RetryAfter(u64),
    /// The permission that a caller lacks.
    Needs(&'static str),
}

impl Problem {
    /// A problem with one sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            more: None,
        }
    }

    /// A problem of one member or parameter.
    pub fn at(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        };
        Self::of(code, vec![error])
    }

    /// A problem of several members; the first one is the sentence.
    pub fn of(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => code.title().to_owned(),
            [only] => format!("`{}` {}", only.pointer, only.detail),
            [first, rest @ ..] => format!("`{}` {}, and {} more", first.pointer, first.detail, rest.len()),
        };
        Self {
            errors,
            ..Self::new(code, detail)
        }
    }

    /// The methods that a 405 names.
    #[must_use]
    pub fn allowing(mut self, methods: String) -> Self {
        self.more = Some(Box::new(More::Allow(methods)));
        self
    }

    /// When a 429 or 503 may be tried again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.more = Some(Box::new(More::RetryAfter(seconds)));
        self
    }

    /// The permission that a 403 names.
    #[must_use]
    pub fn needing(mut self, permission: &'static str) -> Self {
        self.more = Some(Box::new(More::Needs(permission)));
        self
    }

    /// The challenge of RFC 6750 3: without an error where there was no token.
    fn challenge(&self) -> Option<String> {
        match (self.code, self.more.as_deref()) {
            (Code::TokenRequired, _) => Some("Bearer".to_owned()),
            (Code::InsufficientScope, Some(More::Needs(permission))) => Some(format!(
                "Bearer error=\"insufficient_scope\", scope=\"{permission}\""
            )),
            (Code::InvalidRequest | Code::InvalidToken | Code::InsufficientScope, _) => {
                Some(format!("Bearer error=\"{}\"", self.code.as_str()))
            }
            _ => None,
        }
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, piece by piece.
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    /// The whole answer, for a request.
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let (mut counts, mut outcomes, mut report, mut allow) = (None, None, None, None);
        let mut difference = None;
        match self.more.as_deref() {
            None | Some(More::RetryAfter(_) | More::Needs(_)) => {}
            Some(More::Bulk(of, blocked)) => (counts, outcomes) = (Some(*of), Some(blocked.clone())),
            Some(More::Difference(found)) => difference = Some(found.clone()),
            Some(More::Import(found)) => report = Some(found.clone()),
            Some(More::Allow(methods)) => allow = Some(methods),
        }
        let document = ProblemDocument {
            kind: format!("urn:cavra:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status(),
            detail: self.detail.clone(),
            code: self.code,
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
            counts,
            outcomes,
            difference,
            report,
        };
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        if matches!(self.code, Code::Unavailable | Code::TooManyRequests) {
            let seconds = match self.more.as_deref() {
                Some(More::RetryAfter(seconds)) => *seconds,
                _ => RETRY_AFTER_SECONDS,
            };
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(challenge) = self.challenge() {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        if let Some(methods) = allow {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        response.body(serde_json::to_vec(&document).unwrap_or_default())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Only a stand-in: the outermost middleware answers with the request's id.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.respond("")
    }
}

impl From<NotPublicSafe> for Problem {
    fn from(error: NotPublicSafe) -> Self {
        let pointer = if error.field.starts_with('/') {
            error.field.clone()
        } else {
            format!("/{}", error.field)
        };
        Self::at(Code::NotPublicSafe, pointer, error.kind.explanation())
    }
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        match error {
            FilterError::NotPublicSafe(error) => error.into(),
            FilterError::UnknownValue { term, allowed } => Self::at(
                Code::InvalidValue,
                format!("/{term}"),
                format!("must be one of {}", allowed.join(", ")),
            ),
        }
    }
}

impl From<ArchiveReferenceError> for Problem {
    fn from(error: ArchiveReferenceError) -> Self {
        let pointer = format!("/{}", error.field());
        match error {
            ArchiveReferenceError::NotPublicSafe(error) => error.into(),
            ArchiveReferenceError::ArchiveRefMissing => Self::at(Code::MissingValue, pointer, "is missing"),
            ArchiveReferenceError::ArchiveHashMalformed => Self::at(
                Code::InvalidValue,
                pointer,
                "must be what the archive observed: `sha256:` and 64 hexadecimal digits, or the digits alone",
            ),
            ArchiveReferenceError::RetentionUntilInvalid(error) => {
                Self::at(Code::InvalidValue, pointer, format!("is {error}"))
            }
            ArchiveReferenceError::ExportNotVerified(_) => {
                Self::at(Code::ExportNotVerified, pointer, error.to_string())
            }
        }
    }
}

impl From<EscalationPolicyError> for Problem {
    fn from(error: EscalationPolicyError) -> Self {
        let detail = "must be a whole number of minutes from 1 to 5256000";
        Self::at(Code::InvalidValue, format!("/policy/{}", error.field), detail)
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let code = match &error {
            ScheduleError::NotPublicSafe(error) => return error.clone().into(),
            ScheduleError::UnknownKey { .. } => Code::UnknownKey,
            ScheduleError::NotRequested | ScheduleError::MissingScheduleId => Code::MissingValue,
            ScheduleError::Expected { .. }
            | ScheduleError::TwoNames { .. }
            | ScheduleError::Repeated { .. }
            | ScheduleError::Time { .. }
            | ScheduleError::Reversed { .. }
            | ScheduleError::MinutesTooLarge { .. }
            | ScheduleError::UnknownProvider { .. }
            | ScheduleError::TooManyRoutes { .. } => Code::InvalidValue,
        };
        let mut problem = Self::new(code, error.to_string());
        if let Some(pointer) = error.pointer() {
            problem.errors.push(FieldError {
                pointer: pointer.to_owned(),
                detail: error.to_string(),
            });
        }
        problem
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let detail = error.to_string();
        match error {
            AppError::Unknown { .. }
            | AppError::TextElsewhere { .. }
            | AppError::NoSuchSize { .. }
            | AppError::NotOurs(_) => Self::new(Code::UnknownReference, detail),
            AppError::ExportNotVerified(_) => Self::at(Code::ExportNotVerified, "/export_id", detail),
            AppError::OtherRelease { .. } => Self::at(Code::InvalidValue, "/release_record_ref", detail),
            AppError::Ahead(_) => Self::at(Code::InvalidValue, "as_of", detail),
            AppError::Refused(_) => Self::new(Code::RouteRefused, detail),
            AppError::BulkBlocked { counts, blocked } => {
                let more = Some(Box::new(More::Bulk(counts, blocked)));
                Self {
                    more,
                    ..Self::new(Code::BulkBlocked, detail)
                }
            }
            AppError::SelectionChanged(difference) => {
                let more = Some(Box::new(More::Difference(difference)));
                Self {
                    more,
                    ..Self::new(Code::SelectionChanged, detail)
                }
            }
            AppError::UndoIsFinal => Self::new(Code::UndoIsFinal, detail),
            AppError::KeyReused => Self::new(Code::KeyReused, detail),
            // It has a way of its own out of a handler.
            AppError::GivenBefore(_) => Self::new(Code::Internal, detail),
            AppError::TooManyRoutes { .. } => Self::at(Code::TooManyRoutes, "/filter", detail),
            AppError::Contradiction(conflict) => Self::at(
                Code::InvalidValue,
                format!("/routes/{}", conflict.second),
                conflict.to_string(),
            ),
            AppError::Schedule(error) => error.into(),
            AppError::NoSchedule => Self::at(Code::MissingValue, "/schedule", detail),
            AppError::WhichSchedule(_) => Self::at(Code::MissingValue, "/schedule_id", detail),
            AppError::BadCursor => {
                Self::at(Code::InvalidValue, "cursor", "was not given out by this service")
            }
            AppError::ImportRefused(report) => {
                let more = Some(Box::new(More::Import(report)));
                Self {
                    more,
                    ..Self::new(Code::ImportRefused, detail)
                }
            }
            AppError::ImportUnreadable(_) => Self::new(Code::MalformedBody, detail),
            AppError::ScheduleFile(_) => {
                tracing::error!(problem = %detail, "a configured file cannot be read");
                Self::new(Code::Internal, detail)
            }
            AppError::Storage(error) => error.into(),
            AppError::Spool(_) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a document could not be put together"
                );
                Self::new(Code::Internal, "the document could not be put together")
            }
        }
    }
}

impl From<cavra_app::StorageError> for Problem {
    fn from(error: cavra_app::StorageError) -> Self {
        use cavra_app::StorageError as E;
        // The text of a database never reaches a caller; the log has it.
        tracing::error!(error = &error as &dyn std::error::Error, "storage failed");
        match error {
            E::Busy | E::Closed => Self::new(Code::Unavailable, "the database is busy, try again"),
            E::Full => Self::new(Code::Unavailable, "there is no room to write; nothing was stored"),
            E::ReadOnly(_) => Self::new(Code::Unavailable, "the database is read-only; nothing was stored"),
            E::Open { .. }
            | E::NotOurs(_)
            | E::Newer { .. }
            | E::Corrupt(_)
            | E::Conflict(_)
            | E::Record(_)
            | E::Canonical(_)
            | E::Engine(_)
            | E::Panicked
            | E::Input(_) => Self::new(
                Code::Internal,
                "the service could not store or read; nothing was changed",
            ),
        }
    }
}

//! What every request goes through: a request id, the host check, the permission of its operation, one log line,
//! metrics, and problems with the request's id in them.

use std::sync::Arc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use cavra_app::App;
use cavra_rbac::{Access, subject_hash};
use tracing::Instrument as _;

use crate::ServerInfo;
use crate::authenticate::{RequestName, permit};
use crate::context::{KEY_EXPIRES, REQUEST, RequestContext};
use crate::error::{Code, Problem};
use crate::handlers::GivenBefore;
use crate::metrics::Metrics;
use crate::routes::{Operation, is_open, operation};

/// The header that carries the request id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken from a caller.
const REQUEST_ID_CHARS: usize = 64;

/// The caller's id of the request when it is plain, else a new one.
fn request_id(request: &ServiceRequest, info: &ServerInfo) -> String {
    let given = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| {
            !id.is_empty()
                && id.len() <= REQUEST_ID_CHARS
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        });
    given.map_or_else(|| info.ids.next(info.clock.now()).to_string(), str::to_owned)
}

/// The host that a request is for, without its port: the one in an absolute request target, else the one `Host`
/// (RFC 9112 3.2). Nothing that a page could set, such as `X-Forwarded-Host`, has a say.
fn host_name(request: &ServiceRequest) -> Option<String> {
    let mut fields = request.headers().get_all(header::HOST);
    let host = match (request.uri().authority(), fields.next(), fields.next()) {
        (Some(authority), ..) => authority.as_str(),
        (None, Some(host), None) => host.to_str().ok()?,
        (None, ..) => return None,
    };
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (name, port) = rest.split_once(']')?;
        (format!("[{name}]"), port)
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        (name.to_owned(), port)
    };
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    is_port.then(|| name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase())
}

/// Calls the handler, with what goes beside the body at hand.
async fn called<B: MessageBody>(
    context: Option<Arc<RequestContext>>,
    next: Next<B>,
    request: ServiceRequest,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let answered = match context {
        None => next.call(request).await,
        Some(context) => {
            REQUEST
                .scope(context, async move { next.call(request).await })
                .await
        }
    };
    answered.map(ServiceResponse::map_into_left_body)
}

/// Whether the request may go on: the host is served, and the caller has the permission of the operation. Gives what
/// goes with it beside its body.
async fn admit(
    info: &ServerInfo,
    access: &Access,
    row: Option<&Operation>,
    request: &ServiceRequest,
    span: &tracing::Span,
) -> Result<Option<Arc<RequestContext>>, Problem> {
    if !host_name(request).is_some_and(|host| info.hosts.contains(&host)) {
        return Err(Problem::new(
            Code::HostNotAllowed,
            "this host name is not served; `allowed_hosts` lists further ones",
        ));
    }
    let open = match row {
        Some(row) => row.permission.is_none(),
        // Whoever proves nothing learns nothing of what else is or is not there.
        None => {
            matches!(access, Access::OpenLocal) || request.match_pattern().is_some_and(|path| is_open(&path))
        }
    };
    if open {
        return Ok(None);
    }
    let permission = row.and_then(|row| row.permission);
    let caller = permit(access, request.request(), permission)
        .instrument(span.clone())
        .await?;
    if let Some(caller) = caller.verified() {
        let identity = caller.identity();
        let hash = subject_hash(identity.issuer().as_str(), identity.subject().as_str());
        span.record("subject_hash", hash);
    }
    let context = row
        .filter(|row| row.takes_body())
        .map(|row| RequestContext::of(request, &caller, row.id))
        .transpose()?;
    request.extensions_mut().insert(caller);
    Ok(context)
}

/// The outermost middleware inside CORS.
pub(crate) async fn around(
    info: web::Data<ServerInfo>,
    metrics: web::Data<Metrics>,
    access: web::Data<Access>,
    app: web::Data<App>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = request_id(&request, &info);
    let row = request
        .match_pattern()
        .and_then(|pattern| operation(request.method().as_str(), &pattern));
    let name = row.map_or("none", |row| row.id);
    let begun = tokio::time::Instant::now();
    let span = tracing::info_span!("request", request_id = %id, method = %request.method(), operation = name, subject_hash = tracing::field::Empty);

    request.extensions_mut().insert(RequestName {
        id: id.clone(),
        operation: name,
    });
    let allowed = admit(&info, &access, row, &request, &span).await;
    let mut response = match allowed {
        Err(problem) => request.into_response(problem.respond(&id)),
        // The framework wants the only handle to the request here, so nothing of it is kept.
        Ok(context) => match called(context.clone(), next, request)
            .instrument(span.clone())
            .await
        {
            Ok(mut response) => {
                let given = response
                    .response()
                    .error()
                    .and_then(|error| error.as_error::<GivenBefore>().copied());
                if let Some(given) = given {
                    let minimal = context.is_some_and(|context| context.minimal);
                    let again = given.respond(&app, minimal).await;
                    let again = again.unwrap_or_else(|error| problem_of(&error, 500).respond(&id));
                    response = response.into_response(again).map_into_right_body();
                } else if let Some(until) = context.and_then(|context| context.kept_until())
                    && let Ok(until) = HeaderValue::from_str(&until.to_string())
                {
                    response.headers_mut().insert(KEY_EXPIRES, until);
                }
                let problem = response
                    .response()
                    .error()
                    .map(|error| problem_of(error, response.status().as_u16()));
                match problem {
                    Some(problem) => response.into_response(problem.respond(&id)),
                    None => response.map_into_boxed_body(),
                }
            }
            Err(error) => {
                let problem = problem_of(&error, error.as_response_error().status_code().as_u16());
                let response = problem.respond(&id);
                return Err(actix_web::error::InternalError::from_response(problem, response).into());
            }
        },
    };
    let status = response.status().as_u16();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The page brings a policy of its own; whatever else is opened in a browser may do nothing at all.
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        );
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    metrics.answered(name, status, seconds);
    span.in_scope(|| {
        if status >= 500 {
            tracing::error!(status, seconds, "answered");
        } else {
            tracing::info!(status, seconds, "answered");
        }
    });
    Ok(response)
}

/// Our own problem, or the one that stands for an error of the framework. Its text never reaches the caller.
fn problem_of(error: &actix_web::Error, status: u16) -> Problem {
    if let Some(problem) = error.as_error::<Problem>() {
        return problem.clone();
    }
    let (code, detail) = match status {
        404 => (Code::NotFound, "there is no such path; see /openapi.json"),
        405 => (Code::MethodNotAllowed, "the method is not served here"),
        408 => (Code::RequestTimeout, "the request took too long to arrive"),
        413 => (Code::PayloadTooLarge, "the body is too large"),
        415 => (Code::UnsupportedMediaType, "the media type is not supported"),
        400..=499 => (Code::InvalidValue, "the request cannot be read"),
        _ => {
            tracing::error!(%error, "an unexpected failure");
            (Code::Internal, "the service failed")
        }
    };
    Problem::new(code, detail)
}

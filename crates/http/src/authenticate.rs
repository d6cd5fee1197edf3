//! Who asks: one carrier, one answer, before anything else of the request is looked at (RFC 6750, contract identity 6).

use actix_web::http::{Method, header};
use actix_web::{HttpMessage as _, HttpRequest};
use cavra_rbac::{Access, Caller, Denied, Guard, Live, Permission, Reason, Refusal, Refused, Scope};

use crate::error::{Code, Problem};
use crate::metrics::Metrics;

/// The cookie of a session. The prefix makes browsers hold it to this host, to `Secure` and to the whole path.
pub(crate) const SESSION_COOKIE: &str = "__Host-cavra-session";

/// What a write with a session has to bring beside the cookie.
pub(crate) const CSRF_TOKEN: &str = "x-csrf-token";

/// What the log calls a request; the middleware keeps it with the request.
#[derive(Debug, Clone)]
pub(crate) struct RequestName {
    pub(crate) id: String,
    pub(crate) operation: &'static str,
}

/// Who presented what.
#[derive(Debug, Clone)]
pub(crate) enum Presented {
    /// Nothing that could prove anybody, and why not.
    Nothing(Reason),
    /// A valid token.
    Bearer(Caller),
    /// A session that is alive.
    Session(Caller, Live),
}

impl Presented {
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Nothing(_) => None,
            Self::Bearer(caller) | Self::Session(caller, _) => Some(caller),
        }
    }
}

/// The value of a cookie; nothing when it is there more than once, because then somebody else may have set it.
pub(crate) fn cookie(request: &HttpRequest, name: &str) -> Option<String> {
    let mut found = request
        .headers()
        .get_all(header::COOKIE)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(given, _)| *given == name)
        .map(|(_, value)| value.to_owned());
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// What a request's `Authorization` holds.
enum Authorization {
    None,
    Token(String),
    Refused(Code, Reason),
}

fn authorization(request: &HttpRequest) -> Authorization {
    let mut fields = request.headers().get_all(header::AUTHORIZATION);
    let value = match (fields.next(), fields.next()) {
        (None, _) => return Authorization::None,
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Authorization::Refused(Code::InvalidRequest, Reason::SeveralCarriers),
    };
    let Ok(value) = value.to_str() else {
        return Authorization::Refused(Code::InvalidToken, Reason::Malformed);
    };
    let value = value.trim();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    // RFC 9110 11.1: schemes know no case.
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Authorization::Refused(Code::TokenRequired, Reason::Scheme);
    }
    let token = token.trim();
    if token.contains([' ', ',', '\t']) {
        return Authorization::Refused(Code::InvalidRequest, Reason::SeveralCarriers);
    }
    Authorization::Token(token.to_owned())
}

/// Whether the address carries a token, which logs and histories would keep (RFC 6750 2.3, RFC 9700 4.3.2).
fn token_in_address(request: &HttpRequest) -> bool {
    request
        .query_string()
        .split('&')
        .any(|pair| pair.split('=').next() == Some("access_token"))
}

/// Who asks, by a token or a session. Every refusal is counted and has its line in the log.
pub(crate) async fn present(guard: &Guard, request: &HttpRequest) -> Result<Presented, Problem> {
    let in_address = token_in_address(request);
    let session = guard
        .has_sign_in()
        .then(|| cookie(request, SESSION_COOKIE))
        .flatten()
        .map(|cookie| guard.session(&cookie));
    let token = match authorization(request) {
        Authorization::Refused(code, reason) => {
            return Err(refuse(
                request,
                code,
                &Refusal::bare(reason),
                Problem::new(code, code.title()),
            ));
        }
        Authorization::None => None,
        Authorization::Token(token) => Some(token),
    };
    let alive = session.clone().flatten();
    let carriers = usize::from(token.is_some()) + usize::from(alive.is_some()) + usize::from(in_address);
    if carriers > 1 {
        let detail = "the request carries a token in more than one place: a header, a session or the address";
        let problem = Problem::new(Code::InvalidRequest, detail);
        let refusal = Refusal::bare(Reason::SeveralCarriers);
        return Err(refuse(request, Code::InvalidRequest, &refusal, problem));
    }
    if let Some((caller, live)) = alive {
        if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_own_page(request, &live) {
            let refusal = caller.verified().map_or_else(
                || Refusal::bare(Reason::CrossSite),
                |one| Refusal::of(Reason::CrossSite, one.identity()),
            );
            let detail =
                "a write with a session comes from the console's own origin, with the session's X-CSRF-Token";
            let problem = Problem::new(Code::CrossSite, detail);
            return Err(refuse(request, Code::CrossSite, &refusal, problem));
        }
        return Ok(Presented::Session(caller, live));
    }
    let Some(token) = token else {
        // Such a token is not even looked at.
        return Ok(Presented::Nothing(if session.is_some() {
            Reason::Session
        } else {
            Reason::Missing
        }));
    };
    match guard.bearer(&token).await {
        Ok(caller) => Ok(Presented::Bearer(caller)),
        Err(Refused::Unavailable(unavailable)) => {
            let problem = Problem::new(
                Code::Unavailable,
                "the identity provider's keys cannot be had now, so no token can be verified",
            );
            let refusal = Refusal::bare(Reason::KeysUnavailable);
            let problem = problem.retry_after(unavailable.retry_after);
            Err(refuse(request, Code::Unavailable, &refusal, problem))
        }
        Err(Refused::Token(refusal)) => Err(bad_token(guard, request, &refusal)),
    }
}

/// A token that proves nobody: 401, or 429 when there were too many.
fn bad_token(guard: &Guard, request: &HttpRequest, refusal: &Refusal) -> Problem {
    let address = request.peer_addr().map(|address| address.ip());
    match guard.count_bad_token(address, refusal) {
        None => {
            // One text for every reason: which check failed is for the log (RFC 6750 3.1, ASVS 16.5.1).
            let problem = Problem::new(Code::InvalidToken, "the token is not valid");
            refuse(request, Code::InvalidToken, refusal, problem)
        }
        Some(seconds) => {
            let problem = Problem::new(
                Code::TooManyRequests,
                "too many bad tokens, wait before the next one",
            );
            refuse(
                request,
                Code::TooManyRequests,
                refusal,
                problem.retry_after(seconds),
            )
        }
    }
}

/// Whether a write with a session's cookie comes from the console's own page: by what browsers say of it, and by a
/// value that only the session's own page can read.
fn is_own_page(request: &HttpRequest, live: &Live) -> bool {
    let text = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text("host").unwrap_or_default();
    let site = text("sec-fetch-site");
    let origin = text("origin");
    let same_site = site.is_none_or(|site| site == "same-origin");
    let same_origin = origin.is_none_or(|origin| {
        let authority = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    // Every browser sends at least one of them with a write.
    (site.is_some() || origin.is_some())
        && same_site
        && same_origin
        && text(CSRF_TOKEN).is_some_and(|given| live.is_csrf_token(given))
}

/// Lets somebody do what needs a permission, or says why not. Without a permission it is enough to be somebody.
pub(crate) async fn permit(
    access: &Access,
    request: &HttpRequest,
    permission: Option<Permission>,
) -> Result<Caller, Problem> {
    let Access::Identity(guard) = access else {
        return Ok(Caller::Local);
    };
    let presented = present(guard, request).await?;
    let Some(permission) = permission else {
        return match presented.caller() {
            Some(caller) => Ok(caller.clone()),
            None => Err(missing(request, &presented)),
        };
    };
    let anonymous = || guard.anonymous().filter(|caller| caller.may(permission));
    let Some(caller) = presented.caller().cloned().or_else(anonymous) else {
        return Err(missing(request, &presented));
    };
    match caller.decide(permission, Scope::Service) {
        Ok(grant) => Ok(caller.using(grant)),
        Err(denied) => Err(lacks(request, &caller, denied)),
    }
}

/// Refuses somebody who lacks a permission.
pub(crate) fn lacks(request: &HttpRequest, caller: &Caller, Denied(permission): Denied) -> Problem {
    let refusal = caller.verified().map_or_else(
        || Refusal::bare(Reason::Permission),
        |one| Refusal::of(Reason::Permission, one.identity()),
    );
    let detail = format!("this needs the permission `{}`", permission.as_str());
    let problem = Problem::new(Code::InsufficientScope, detail).needing(permission.as_str());
    refuse(request, Code::InsufficientScope, &refusal, problem)
}

fn missing(request: &HttpRequest, presented: &Presented) -> Problem {
    let reason = match presented {
        Presented::Nothing(reason) => *reason,
        Presented::Bearer(_) | Presented::Session(..) => Reason::Missing,
    };
    let problem = Problem::new(Code::TokenRequired, "this needs a bearer token or a session");
    refuse(request, Code::TokenRequired, &Refusal::bare(reason), problem)
}

/// Writes the audit line of a refusal, counts it, and gives the problem back.
pub(crate) fn refuse(request: &HttpRequest, code: Code, refusal: &Refusal, problem: Problem) -> Problem {
    let name = request.extensions().get::<RequestName>().cloned();
    let (id, operation) = name
        .as_ref()
        .map_or(("", "none"), |name| (name.id.as_str(), name.operation));
    if let Some(metrics) = request.app_data::<actix_web::web::Data<Metrics>>() {
        metrics.refused(refusal.reason.as_str());
    }
    let address = request.peer_addr().map(|address| address.ip().to_string());
    tracing::warn!(
        target: "cavra::audit",
        reason = refusal.reason.as_str(),
        status = code.status(),
        issuer = refusal.issuer.as_deref().unwrap_or("-"),
        subject_hash = refusal.subject_hash.as_deref().unwrap_or("-"),
        kid = refusal.kid.as_deref().unwrap_or("-"),
        method = %request.method(),
        operation,
        address = address.as_deref().unwrap_or("-"),
        request_id = id,
        "refused"
    );
    problem
}

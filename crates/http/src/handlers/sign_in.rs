//! Signing in and out with a browser (contract decisions 10).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use cavra_rbac::{Access, Callback, Guard, Refusal, Refused, return_path};
use schemars::JsonSchema;
use serde::Serialize;

use super::Answer;
use crate::authenticate::{Presented, SESSION_COOKIE, cookie, present, refuse};
use crate::error::{Code, Problem};
use crate::extract::Query;
use crate::wire::{CallbackQuery, NoQuery, SignInQuery};

/// Ties the provider's answer to the browser that asked. The answer comes from another site, so `Lax`.
const PENDING_COOKIE: &str = "__Host-cavra-sign-in";

/// How long the provider may take, in seconds; the server forgets at the same time.
const PENDING_SECONDS: u32 = 600;

/// The end of a session.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SignedOut {
    /// Whether there was a session to end.
    pub(crate) signed_out: bool,
}

/// A cookie that only this host gets back, and no script can read.
fn set(name: &str, value: &str, same_site: &str, age: Option<u32>) -> String {
    let age = age.map_or_else(String::new, |age| format!("; Max-Age={age}"));
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}{age}")
}

fn guard(access: &Access) -> Result<&Guard, Problem> {
    match access {
        Access::Identity(guard) if guard.has_sign_in() => Ok(guard),
        _ => Err(Problem::new(
            Code::NoSignIn,
            "nobody can sign in with a browser here",
        )),
    }
}

pub(crate) async fn begin(
    access: web::Data<Access>,
    Query(query): Query<SignInQuery>,
) -> Answer<HttpResponse> {
    let guard = guard(&access)?;
    let return_to = return_path(query.return_to.as_deref())
        .ok_or_else(|| Problem::at(Code::InvalidValue, "return_to", "must be a path of this service"))?;
    let begun = guard.begin_sign_in(return_to).await.map_err(|unavailable| {
        Problem::new(Code::Unavailable, "the identity provider cannot be asked now")
            .retry_after(unavailable.retry_after)
    })?;
    let begun =
        begun.ok_or_else(|| Problem::new(Code::NoSignIn, "nobody can sign in with a browser here"))?;
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, begun.location))
        .insert_header((
            header::SET_COOKIE,
            set(PENDING_COOKIE, &begun.cookie, "Lax", Some(PENDING_SECONDS)),
        ))
        .finish())
}

pub(crate) async fn finish(
    access: web::Data<Access>,
    request: HttpRequest,
    Query(query): Query<CallbackQuery>,
) -> Answer<HttpResponse> {
    let guard = guard(&access)?;
    let pending = cookie(&request, PENDING_COOKIE).unwrap_or_default();
    let callback = Callback {
        code: query.code,
        state: query.state,
        issuer: query.iss,
        error: query.error,
    };
    let signed_in = guard
        .finish_sign_in(pending, callback)
        .await
        .map_err(|refused| match refused {
            Refused::Unavailable(unavailable) => Problem::new(
                Code::Unavailable,
                "the identity provider's keys cannot be had now",
            )
            .retry_after(unavailable.retry_after),
            Refused::Token(refusal) => failed(&request, &refusal),
        })?;
    // Whoever signs in again leaves the session that was there.
    if let Some(before) = cookie(&request, SESSION_COOKIE) {
        guard.end_session(&before);
    }
    // Not a redirect: this answer belongs to a journey that another site began, on which a browser holds back a
    // `Strict` cookie. The page goes on by itself, and that journey is our own.
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Signed in</title>\
         <meta http-equiv=\"refresh\" content=\"0; url={0}\"></head>\
         <body><p>You are signed in. <a href=\"{0}\">Continue</a></p></body></html>\n",
        attribute(&signed_in.return_to)
    );
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .append_header((header::SET_COOKIE, set(PENDING_COOKIE, "", "Lax", Some(0))))
        .append_header((
            header::SET_COOKIE,
            set(SESSION_COOKIE, &signed_in.cookie, "Strict", None),
        ))
        .body(page))
}

/// A path in an attribute; [`return_path`] has refused quotes and angle brackets already.
fn attribute(path: &str) -> String {
    path.replace('&', "&amp;")
}

fn failed(request: &HttpRequest, refusal: &Refusal) -> Problem {
    let detail =
        "the sign-in did not work: begin again, in one browser and under the address that the provider knows";
    refuse(
        request,
        Code::SignInFailed,
        refusal,
        Problem::new(Code::SignInFailed, detail),
    )
}

pub(crate) async fn end(
    access: web::Data<Access>,
    request: HttpRequest,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let signed_out = match &**access {
        Access::OpenLocal => false,
        Access::Identity(guard) => match present(guard, &request).await? {
            Presented::Session(..) => {
                if let Some(value) = cookie(&request, SESSION_COOKIE) {
                    guard.end_session(&value);
                }
                true
            }
            Presented::Bearer(_) | Presented::Nothing(_) => false,
        },
    };
    let mut response = HttpResponse::Ok();
    if signed_out {
        response.insert_header((header::SET_COOKIE, set(SESSION_COOKIE, "", "Strict", Some(0))));
    }
    Ok(response.json(SignedOut { signed_out }))
}

//! Handlers: extract, one call of a use case, map.

use std::fmt;
use std::pin::Pin;

use actix_web::body::BoxBody;
use actix_web::error::BlockingError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use cavra_app::once::{GivenAnswer, RequestDigest};
use cavra_app::package::StoredDocument;
use cavra_app::text::LongText;
use cavra_app::{App, AppError};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::Value;

use crate::context::{KEY_EXPIRES, PREFERENCE_APPLIED, REPLAYED, REQUEST};
use crate::error::{Code, Problem};

pub(crate) mod acknowledgements;
pub(crate) mod console;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod log;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod release;
pub(crate) mod sign_in;

/// What a handler gives back.
pub(crate) type Answer<T> = Result<T, actix_web::Error>;

/// Runs a use case off the async threads. A request with a key that was answered before ends here.
pub(crate) async fn run<T: Send + 'static>(
    app: &web::Data<App>,
    job: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
) -> Answer<T> {
    let app = for_request(app);
    let done = web::block(move || {
        app.check_request()?;
        job(&app)
    });
    result_of(done.await)
}

/// Where the result of a use case goes that nobody waits for.
pub(crate) type End<T> = Box<dyn FnOnce(Result<T, AppError>) + Send>;

/// Begins a use case that is one write, and goes on when it is done: no thread waits for it. A request with a key that
/// was answered before ends here.
pub(crate) async fn later<T: Send + 'static>(
    app: &web::Data<App>,
    begin: impl FnOnce(&App, End<T>),
) -> Answer<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A caller that has gone away needs no answer.
    begin(&for_request(app), Box::new(move |result| drop(tell.send(result))));
    result_of(told.await)
}

/// The use cases for the request at hand.
fn for_request(app: &web::Data<App>) -> App {
    let keyed = REQUEST.try_with(|request| request.keyed()).ok().flatten();
    match keyed {
        Some(keyed) => app.for_request(keyed),
        None => App::clone(app),
    }
}

fn result_of<T, E>(done: Result<Result<T, AppError>, E>) -> Answer<T> {
    match done {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(AppError::GivenBefore(given))) => Err(GivenBefore(given).into()),
        Ok(Err(error)) => Err(Problem::from(error).into()),
        // The job panicked, or the server is going down.
        Err(_) => Err(Problem::new(Code::Internal, "the operation failed inside").into()),
    }
}

/// Reads what an answer is made from, off the async threads: the request's key has been looked up.
pub(crate) async fn aside<T: Send + 'static>(
    app: &web::Data<App>,
    job: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
) -> Answer<T> {
    let app = App::clone(app);
    match web::block(move || job(&app)).await {
        Ok(result) => Ok(result.map_err(Problem::from)?),
        Err(_) => Err(Problem::new(Code::Internal, "the operation failed inside").into()),
    }
}

/// The way out of a handler when the answer is there already; the middleware gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenBefore(GivenAnswer);

impl fmt::Display for GivenBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was answered before")
    }
}

impl ResponseError for GivenBefore {
    fn status_code(&self) -> StatusCode {
        StatusCode::OK
    }

    /// Only a stand-in: the outermost middleware answers.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::Ok().finish()
    }
}

impl GivenBefore {
    /// The answer, once more.
    pub(crate) async fn respond(self, app: &web::Data<App>, minimal: bool) -> Answer<HttpResponse> {
        let given = self.0;
        // The request was looked up; what is read now is the answer.
        let (text, short) = match web::block({
            let app = App::clone(app);
            move || app.given_text(&given, minimal)
        })
        .await
        {
            Ok(given) => given.map_err(Problem::from)?,
            Err(_) => return Err(Problem::new(Code::Internal, "the operation failed inside").into()),
        };
        let mut response = HttpResponse::Ok();
        response
            .insert_header((REPLAYED, "true"))
            .insert_header((KEY_EXPIRES, given.expires_at.to_string()));
        if short {
            response.insert_header((PREFERENCE_APPLIED, "return=minimal"));
        }
        Ok(response
            .content_type("application/json")
            .streaming(pieces(app.clone(), text)))
    }
}

/// The document that was the answer before, for a handler that gives it out in a form of its own, and what the answer
/// says about that. Any other error stays one.
pub(crate) async fn given_document(
    app: &web::Data<App>,
    error: actix_web::Error,
) -> Answer<(StoredDocument, Vec<(HeaderName, HeaderValue)>)> {
    let Some(GivenBefore(given)) = error.as_error::<GivenBefore>().copied() else {
        return Err(error);
    };
    let Some(position) = given.reference else {
        return Err(error);
    };
    let document = aside(app, move |app| app.recorded_document(position)).await?;
    let expires = HeaderValue::from_str(&given.expires_at.to_string())
        .map_err(|_| Problem::new(Code::Internal, "the operation failed inside"))?;
    let headers = vec![
        (REPLAYED, HeaderValue::from_static("true")),
        (KEY_EXPIRES, expires),
    ];
    Ok((document, headers))
}

/// Whether this request came with an idempotency key: its answer has to stay what it is.
pub(crate) fn is_keyed() -> bool {
    REQUEST
        .try_with(|request| request.keyed())
        .is_ok_and(|keyed| keyed.is_some())
}

/// A piece that is being read, and the text behind it.
type Reading =
    Pin<Box<dyn Future<Output = Result<(Result<Option<Vec<u8>>, AppError>, LongText), BlockingError>>>>;

/// Begins to read the next piece of a text.
fn read(app: &web::Data<App>, mut text: LongText) -> Reading {
    let reader = App::clone(app);
    Box::pin(web::block(move || {
        let piece = text.next(&reader);
        (piece, text)
    }))
}

/// A long text, piece by piece. While one piece is on its way to the caller the next is read, and no more than that: two
/// pieces are in memory, and a slow caller holds no thread.
pub(crate) fn pieces(app: web::Data<App>, text: LongText) -> impl Stream<Item = Answer<web::Bytes>> {
    let first = read(&app, text);
    stream::try_unfold((app, first), |(app, reading)| async move {
        match reading.await {
            Ok((Ok(Some(piece)), text)) => {
                let next = read(&app, text);
                Ok(Some((web::Bytes::from(piece), (app, next))))
            }
            Ok((Ok(None), _)) => Ok(None),
            Ok((Err(error), _)) => Err(Problem::from(error).into()),
            Err(_) => Err(Problem::new(Code::Internal, "the operation failed inside").into()),
        }
    })
}

/// Members that go on changing while nothing happens. A client that has the rest can work them out.
const VOLATILE: [&str; 3] = ["age_minutes", "generated_at", "routes_as_of"];

fn without_volatile(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in VOLATILE {
                members.shift_remove(name);
            }
            members.values_mut().for_each(without_volatile);
        }
        Value::Array(items) => items.iter_mut().for_each(without_volatile),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An answer with a weak entity tag, or 304 when the caller has it already. The tag is made from the answer itself,
/// without its ages: whatever a client would act on, a breach by the mere passing of time too, makes another tag.
pub(crate) fn conditional<T: Serialize>(request: &HttpRequest, answer: &T) -> Answer<HttpResponse> {
    let mut seen = serde_json::to_value(answer)?;
    without_volatile(&mut seen);
    let mut digest = RequestDigest::default();
    digest.piece(seen.to_string().as_bytes());
    let tag = format!("W/\"{}\"", digest.short());
    if holds(request, &tag) {
        return Ok(not_modified(&tag));
    }
    Ok(HttpResponse::Ok().insert_header((header::ETAG, tag)).json(answer))
}

/// The answer to a caller who has it already.
pub(crate) fn not_modified(tag: &str) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header((header::ETAG, tag))
        .finish()
}

/// Whether `If-None-Match` names this tag, compared weakly (RFC 9110 13.1.2).
pub(crate) fn holds(request: &HttpRequest, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|given| given.trim() == "*" || opaque(given) == opaque(tag))
}
